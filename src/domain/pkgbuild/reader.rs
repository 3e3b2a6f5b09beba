//! From text to events: commands, by bash's grammar.
//!
//! It takes less than bash does and nothing that bash would read in another way. What it does not take is
//! an error, and an error is for a person.

use std::borrow::Cow;
use std::ops::Range;

use super::event::{Event, Kind};

/// Deeper than any honest package, and no danger to the stack.
const DEEPEST: u32 = 60;

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Unread {
    /// What stands in the way.
    pub why: &'static str,
    /// Where, in bytes.
    pub at: usize,
}

pub(super) type Result<T> = std::result::Result<T, Unread>;

/// What a command at the top level is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Assignments and nothing else.
    Assignments,
    /// One definition of a function.
    Function,
    /// Anything else.
    Code,
}

/// A command at the top level and its events.
#[derive(Debug, Clone)]
pub(super) struct Top {
    pub shape: Shape,
    pub events: Range<usize>,
}

struct Pending {
    delimiter: String,
    quoted: bool,
    strip: bool,
}

pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    /// Where this (part of the) text ends.
    pub(super) end: usize,
    pub(super) events: Vec<Event<'a>>,
    /// Words that quotes split into pieces.
    pub(super) spliced: Vec<Range<usize>>,
    pending: Vec<Pending>,
    depth: u32,
}

const RESERVED: [&str; 20] = [
    "if", "then", "elif", "else", "fi", "for", "select", "while", "until", "do", "done", "case", "esac", "in",
    "function", "time", "coproc", "{", "}", "[[",
];

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let events = Vec::with_capacity(text.len() / 6);
        Self { text, at: 0, end: text.len(), events, spliced: Vec::new(), pending: Vec::new(), depth: 0 }
    }

    /// The whole text as a list of commands.
    pub(super) fn script(&mut self) -> Result<Vec<Top>> {
        let mut tops = Vec::new();
        loop {
            self.gap(true)?;
            if self.at == self.end {
                break;
            }
            let start = self.events.len();
            let shape = self.chain()?;
            self.separator(|reader| reader.at == reader.end)?;
            // With the `&` that may stand behind it.
            tops.push(Top { shape, events: start..self.events.len() });
        }
        if self.pending.is_empty() { Ok(tops) } else { self.fail("a here-document has no end") }
    }

    pub(super) fn fail<T>(&self, why: &'static str) -> Result<T> {
        Err(Unread { why, at: self.at })
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<u8> {
        let at = self.at + ahead;
        if at < self.end { self.text.as_bytes().get(at).copied() } else { None }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..self.end]
    }

    pub(super) fn looking_at(&self, text: &str) -> bool {
        self.rest().starts_with(text)
    }

    pub(super) fn emit(&mut self, kind: Kind, text: impl Into<Cow<'a, str>>) {
        self.events.push(Event { kind, text: text.into(), at: self.at });
    }

    pub(super) fn expect(&mut self, text: &str) -> Result<()> {
        if !self.looking_at(text) {
            return self.fail("something is not closed, or stands where bash does not allow it");
        }
        self.at += text.len();
        Ok(())
    }

    /// Runs `read` one level deeper, and not too deep.
    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEEPEST {
            return self.fail("it is nested too deeply");
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Skips blanks, comments and escaped line feeds; line feeds too if asked. Here-documents are read
    /// where their line ends.
    pub(super) fn gap(&mut self, lines: bool) -> Result<()> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\\') if self.peek_at(1) == Some(b'\n') => self.at += 2,
                Some(b'#') if self.begins_word() => {
                    self.at += self.rest().find('\n').unwrap_or(self.end - self.at);
                }
                Some(b'\n') if lines => self.line_feed()?,
                _ => return Ok(()),
            }
        }
    }

    /// Whether a word could begin here: only there does `#` begin a comment.
    fn begins_word(&self) -> bool {
        let before = self.text.as_bytes()[..self.at].last();
        let continued = self.text[..self.at].ends_with("\\\n");
        before.is_none_or(|byte| b" \t\n;&|()".contains(byte)) && (!continued || self.blank_before_continuation())
    }

    fn blank_before_continuation(&self) -> bool {
        let text = self.text[..self.at].trim_end_matches("\\\n");
        text.is_empty() || text.ends_with([' ', '\t', '\n'])
    }

    fn line_feed(&mut self) -> Result<()> {
        self.at += 1;
        for pending in std::mem::take(&mut self.pending) {
            self.here_document(&pending)?;
        }
        Ok(())
    }

    /// Commands until `stop` says that what follows is not one any more.
    fn list(&mut self, stop: fn(&Self) -> bool) -> Result<()> {
        let mut first = true;
        loop {
            let behind = self.at;
            self.gap(true)?;
            if stop(self) {
                return if first { self.fail("a command is missing") } else { Ok(()) };
            }
            if self.at == self.end {
                return self.fail("something is not closed");
            }
            if !first {
                self.events.push(Event { kind: Kind::Separator, text: "".into(), at: behind });
            }
            first = false;
            self.chain()?;
            self.separator(stop)?;
        }
    }

    /// What has to stand between a command and the next.
    fn separator(&mut self, stop: fn(&Self) -> bool) -> Result<()> {
        self.gap(false)?;
        match self.peek() {
            Some(b';') if !matches!(self.peek_at(1), Some(b';' | b'&')) => self.at += 1,
            Some(b'&') if self.peek_at(1) != Some(b'&') => {
                self.emit(Kind::Operator, "&");
                self.at += 1;
            }
            Some(b'\n') | None => {}
            // A closing bracket or `;;` may follow at once, a reserved word may not.
            Some(b')' | b';') if stop(self) => {}
            _ => return self.fail("two commands stand side by side"),
        }
        Ok(())
    }

    fn chain(&mut self) -> Result<Shape> {
        let mut shape = self.pipeline()?;
        loop {
            self.gap(false)?;
            let operator = if self.looking_at("&&") {
                "&&"
            } else if self.looking_at("||") {
                "||"
            } else {
                if self.peek() == Some(b'&') {
                    shape = Shape::Code;
                }
                return Ok(shape);
            };
            shape = Shape::Code;
            self.emit(Kind::Operator, operator);
            self.at += 2;
            self.gap(true)?;
            self.pipeline()?;
        }
    }

    fn pipeline(&mut self) -> Result<Shape> {
        let mut shape = None;
        while self.peek() == Some(b'!') && matches!(self.peek_at(1), Some(b' ' | b'\t')) {
            self.emit(Kind::Reserved, "!");
            self.at += 1;
            self.gap(false)?;
            shape = Some(Shape::Code);
        }
        let first = self.command()?;
        let mut shape = shape.unwrap_or(first);
        loop {
            self.gap(false)?;
            if self.peek() != Some(b'|') || self.peek_at(1) == Some(b'|') {
                return Ok(shape);
            }
            let operator = if self.peek_at(1) == Some(b'&') { "|&" } else { "|" };
            self.emit(Kind::Operator, operator);
            self.at += operator.len();
            self.gap(true)?;
            self.command()?;
            shape = Shape::Code;
        }
    }

    fn command(&mut self) -> Result<Shape> {
        self.deeper(Self::command_here)
    }

    fn command_here(&mut self) -> Result<Shape> {
        if self.peek() == Some(b'(') || self.bare_word().is_some_and(|word| RESERVED.contains(&word)) {
            if self.bare_word() == Some("function") {
                self.at += "function".len();
                self.gap(false)?;
                let Some(name) = self.bare_word() else {
                    return self.fail("a function has no name");
                };
                return self.function(name);
            }
            self.compound()?;
            self.redirections()?;
            return Ok(Shape::Code);
        }
        if let Some(name) = self.bare_word()
            && self.text[self.at + name.len()..self.end].trim_start_matches([' ', '\t']).starts_with('(')
            && self.assignment_name().is_none()
        {
            return self.function(name);
        }
        self.simple()
    }

    /// The word that begins here, if nothing in it is quoted or expanded.
    pub(super) fn bare_word(&self) -> Option<&'a str> {
        let rest = self.rest();
        let length = rest.bytes().position(|byte| b" \t\n;&|()<>".contains(&byte)).unwrap_or(rest.len());
        let word = &rest[..length];
        (!word.is_empty() && !word.contains(['\'', '"', '\\', '$', '`'])).then_some(word)
    }

    fn reserved(&mut self, word: &'static str) -> Result<()> {
        if self.bare_word() != Some(word) {
            return self.fail("a reserved word is missing, or stands where it may not");
        }
        self.emit(Kind::Reserved, word);
        self.at += word.len();
        Ok(())
    }

    fn at_reserved(&self, words: &[&str]) -> bool {
        self.bare_word().is_some_and(|word| words.contains(&word))
    }

    fn function(&mut self, name: &'a str) -> Result<Shape> {
        if RESERVED.contains(&name) || name.contains(['=', '*', '?', '[', '~', '{', '}', '#', '!']) {
            return self.fail("a function has a name that it cannot have");
        }
        self.emit(Kind::Function, name);
        self.at += name.len();
        self.gap(false)?;
        if self.peek() == Some(b'(') {
            self.at += 1;
            self.gap(false)?;
            self.expect(")")?;
        }
        self.gap(true)?;
        let block = self.peek() == Some(b'(') || self.at_reserved(&["{"]);
        if !block {
            return self.fail("the body of a function is neither `{…}` nor `(…)`");
        }
        self.compound()?;
        self.redirections()?;
        self.emit(Kind::End, "");
        Ok(Shape::Function)
    }

    fn compound(&mut self) -> Result<()> {
        if self.looking_at("((") {
            return self.arithmetic_command();
        }
        if self.peek() == Some(b'(') {
            self.emit(Kind::Reserved, "(");
            self.at += 1;
            self.list(|reader| reader.peek() == Some(b')'))?;
            self.expect(")")?;
            self.emit(Kind::Reserved, ")");
            return Ok(());
        }
        match self.bare_word() {
            Some("{") => {
                self.reserved("{")?;
                self.list(|reader| reader.at_reserved(&["}"]))?;
                self.reserved("}")
            }
            Some("if") => self.conditional(),
            Some("while") => self.loop_while("while"),
            Some("until") => self.loop_while("until"),
            Some("for") => self.loop_for(),
            Some("case") => self.case(),
            Some("[[") => self.test(),
            Some("time") => {
                self.reserved("time")?;
                self.gap(false)?;
                self.command().map(drop)
            }
            _ => self.fail("a reserved word stands where it may not"),
        }
    }

    fn conditional(&mut self) -> Result<()> {
        self.reserved("if")?;
        loop {
            self.list(|reader| reader.at_reserved(&["then"]))?;
            self.reserved("then")?;
            self.list(|reader| reader.at_reserved(&["elif", "else", "fi"]))?;
            if self.bare_word() != Some("elif") {
                break;
            }
            self.reserved("elif")?;
        }
        if self.bare_word() == Some("else") {
            self.reserved("else")?;
            self.list(|reader| reader.at_reserved(&["fi"]))?;
        }
        self.reserved("fi")
    }

    fn loop_while(&mut self, word: &'static str) -> Result<()> {
        self.reserved(word)?;
        self.list(|reader| reader.at_reserved(&["do"]))?;
        self.body()
    }

    fn body(&mut self) -> Result<()> {
        self.reserved("do")?;
        self.list(|reader| reader.at_reserved(&["done"]))?;
        self.reserved("done")
    }

    fn loop_for(&mut self) -> Result<()> {
        self.reserved("for")?;
        self.gap(false)?;
        if self.looking_at("((") {
            self.arithmetic_command()?;
        } else {
            let Some(name) = self.bare_word().filter(|name| is_name(name)) else {
                return self.fail("a loop has no variable");
            };
            self.emit(Kind::Operator, name);
            self.at += name.len();
            self.gap(true)?;
            if self.bare_word() == Some("in") {
                self.reserved("in")?;
                loop {
                    self.gap(false)?;
                    match self.peek() {
                        Some(b';' | b'\n') => break,
                        _ => self.word(false)?,
                    }
                }
            }
        }
        self.gap(false)?;
        if self.peek() == Some(b';') {
            self.at += 1;
        }
        self.gap(true)?;
        self.body()
    }

    fn case(&mut self) -> Result<()> {
        self.reserved("case")?;
        self.gap(false)?;
        self.word(true)?;
        self.gap(true)?;
        self.reserved("in")?;
        loop {
            self.gap(true)?;
            if self.bare_word() == Some("esac") {
                return self.reserved("esac");
            }
            if self.peek() == Some(b'(') {
                self.at += 1;
                self.gap(false)?;
            }
            loop {
                self.word(true)?;
                self.gap(false)?;
                match self.peek() {
                    Some(b'|') => {
                        self.emit(Kind::Operator, "|");
                        self.at += 1;
                        self.gap(false)?;
                    }
                    Some(b')') => break,
                    _ => return self.fail("a pattern of a case is not closed"),
                }
            }
            self.emit(Kind::Operator, ")");
            self.at += 1;
            self.case_body()?;
        }
    }

    fn case_body(&mut self) -> Result<()> {
        let stop =
            |reader: &Self| reader.looking_at(";;") || reader.looking_at(";&") || reader.bare_word() == Some("esac");
        self.gap(true)?;
        if !stop(self) {
            self.list(stop)?;
        }
        let operator = if self.looking_at(";;&") {
            ";;&"
        } else if self.looking_at(";&") {
            ";&"
        } else {
            ";;"
        };
        self.emit(Kind::Operator, operator);
        if self.bare_word() == Some("esac") {
            return Ok(());
        }
        self.expect(operator)
    }

    /// `[[ … ]]`. Quotes mean more here than elsewhere, so words are kept exactly as they are dressed.
    fn test(&mut self) -> Result<()> {
        self.reserved("[[")?;
        let mut regex = false;
        loop {
            self.gap(true)?;
            if self.bare_word() == Some("]]") {
                return self.reserved("]]");
            }
            let operators = ["&&", "||", "(", ")", "<", ">"];
            let operator = operators.into_iter().find(|operator| !regex && self.looking_at(operator));
            if let Some(operator) = operator {
                self.emit(Kind::Operator, operator);
                self.at += operator.len();
                continue;
            }
            let word = self.bare_word();
            if regex {
                self.regex()?;
            } else {
                self.word(true)?;
            }
            regex = word == Some("=~");
        }
    }

    /// Leading `name=value` and words, with redirections anywhere.
    fn simple(&mut self) -> Result<Shape> {
        let mut words = 0;
        let mut redirected = false;
        let mut declares = false;
        let start = self.at;
        loop {
            self.gap(false)?;
            match self.peek() {
                None | Some(b'\n' | b';' | b'|' | b')') => break,
                Some(b'&') if self.peek_at(1) != Some(b'>') => break,
                Some(b'(') => return self.fail("a bracket stands where bash does not allow it"),
                _ => {}
            }
            if self.redirection()? {
                redirected = true;
            } else if (words == 0 || declares) && self.assignment_name().is_some() {
                self.assignment()?;
                if !matches!(
                    self.peek(),
                    None | Some(b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b')' | b'<' | b'>' | b'\\')
                ) {
                    return self.fail("something stands directly behind an array");
                }
            } else {
                let declaration = ["declare", "typeset", "local", "export", "readonly"];
                declares |= words == 0 && self.bare_word().is_some_and(|word| declaration.contains(&word));
                words += 1;
                self.word(false)?;
            }
        }
        if self.at == start {
            return self.fail("a command is missing");
        }
        Ok(if words == 0 && !redirected { Shape::Assignments } else { Shape::Code })
    }

    fn redirections(&mut self) -> Result<()> {
        loop {
            self.gap(false)?;
            if !self.redirection()? {
                return Ok(());
            }
        }
    }

    /// Reads a redirection if one begins here.
    fn redirection(&mut self) -> Result<bool> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let operators = ["&>>", "&>", "<<<", "<<-", "<<", "<&", "<>", "<", ">>", ">&", ">|", ">"];
        let behind = &self.rest()[digits..];
        let process = digits == 0 && (behind.starts_with("<(") || behind.starts_with(">("));
        let Some(operator) = operators.into_iter().find(|operator| behind.starts_with(operator)) else {
            return Ok(false);
        };
        if process || (digits > 0 && operator.starts_with('&')) {
            return Ok(false);
        }
        self.emit(Kind::Operator, &self.rest()[..digits + operator.len()]);
        self.at += digits + operator.len();
        self.gap(false)?;
        if operator == "<<" || operator == "<<-" {
            self.delimiter(operator == "<<-")?;
        } else {
            self.word(false)?;
        }
        Ok(true)
    }

    fn delimiter(&mut self, strip: bool) -> Result<()> {
        let rest = self.rest();
        let length = rest.bytes().position(|byte| b" \t\n;&|()<>".contains(&byte)).unwrap_or(rest.len());
        let raw = &rest[..length];
        let inner = raw.trim_matches(['\'', '"']).trim_start_matches('\\');
        let plain =
            !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.!%@+".contains(&byte));
        let quotes = raw.len() - inner.len();
        let dressed = quotes == 0
            || raw.strip_prefix('\\') == Some(inner)
            || ['\'', '"']
                .iter()
                .any(|&quote| raw.strip_prefix(quote).and_then(|raw| raw.strip_suffix(quote)) == Some(inner));
        if !plain || !dressed {
            return self.fail("the end of a here-document is named in a way that is not read here");
        }
        self.emit(if quotes > 0 { Kind::Quoted } else { Kind::Bare }, inner);
        self.at += length;
        self.pending.push(Pending { delimiter: inner.to_owned(), quoted: quotes > 0, strip });
        Ok(())
    }

    fn here_document(&mut self, pending: &Pending) -> Result<()> {
        let start = self.at;
        let mut continued = false;
        loop {
            let rest = self.rest();
            if rest.is_empty() {
                return self.fail("a here-document has no end");
            }
            let length = rest.find('\n').unwrap_or(rest.len());
            let line = &rest[..length];
            let text = if pending.strip { line.trim_start_matches('\t') } else { line };
            if text == pending.delimiter && !continued {
                break;
            }
            continued = !pending.quoted && line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1;
            if continued && pending.strip {
                return self.fail("a here-document without tabs has a continued line");
            }
            self.at += length + usize::from(length < rest.len());
        }
        let (body, behind) = (start..self.at, self.at);
        self.at = start;
        self.emit(Kind::Here, if pending.strip { "-" } else { "" });
        if pending.quoted {
            self.emit(Kind::Quoted, &self.text[body]);
        } else {
            let end = std::mem::replace(&mut self.end, body.end);
            self.double_quoted(None)?;
            self.end = end;
        }
        self.at = behind;
        self.emit(Kind::End, "");
        // The line feed behind the delimiter, or the end of the text.
        self.at += self.rest().find('\n').map_or(self.end - self.at, |length| length + 1);
        Ok(())
    }

    /// The name that is assigned here: `name=`, `name+=`, `name[…`.
    pub(super) fn assignment_name(&self) -> Option<&'a str> {
        let rest = self.rest();
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let (name, behind) = rest.split_at(length);
        let assigns = behind.starts_with('=') || behind.starts_with("+=") || indexed(behind);
        (is_name(name) && assigns).then_some(name)
    }

    fn assignment(&mut self) -> Result<()> {
        let name = self.assignment_name().expect("asked before");
        let place = self.events.len();
        self.emit(Kind::Assign, name);
        self.at += name.len();
        if self.peek() == Some(b'[') {
            self.index()?;
        }
        if self.peek() == Some(b'+') {
            self.events[place].kind = Kind::Append;
            self.at += 1;
        }
        self.expect("=")?;
        match self.peek() {
            Some(b'(') => self.array()?,
            None | Some(b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b')') => {}
            Some(b'<' | b'>') if self.peek_at(1) != Some(b'(') => {}
            _ => self.word(false)?,
        }
        self.emit(Kind::End, "");
        Ok(())
    }

    fn array(&mut self) -> Result<()> {
        self.emit(Kind::Array, "");
        self.at += 1;
        loop {
            self.gap(true)?;
            match self.peek() {
                Some(b')') => break,
                Some(b'[') if indexed(self.rest()) => {
                    self.emit(Kind::Assign, "");
                    self.index()?;
                    self.expect("=")?;
                    if !matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b')')) {
                        self.word(false)?;
                    }
                    self.emit(Kind::End, "");
                }
                None | Some(b';' | b'&' | b'|' | b'(') => return self.fail("an array is not closed"),
                Some(b'<' | b'>') if self.peek_at(1) != Some(b'(') => return self.fail("an array is not closed"),
                _ => self.word(false)?,
            }
        }
        self.at += 1;
        self.emit(Kind::End, "");
        Ok(())
    }

    /// A list inside `$(`, `<(`, up to its bracket, which is consumed.
    pub(super) fn substituted(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let start = self.at;
        self.gap(true)?;
        if self.peek() != Some(b')') {
            self.list(|reader| reader.peek() == Some(b')'))?;
        }
        self.expect(")")?;
        if !self.pending.is_empty() || (!pending.is_empty() && self.text[start..self.at].contains('\n')) {
            return self.fail("a here-document and a substitution are interwoven");
        }
        self.pending = pending;
        Ok(())
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// Whether a subscript and an assignment to it follow.
fn indexed(rest: &str) -> bool {
    let mut depth = 0;
    if !rest.starts_with('[') {
        return false;
    }
    for (at, byte) in rest.bytes().enumerate().take(200) {
        match byte {
            b'[' => depth += 1,
            b']' => {
                depth -= 1;
                if depth == 0 {
                    return rest[at + 1..].starts_with('=') || rest[at + 1..].starts_with("+=");
                }
            }
            b'\n' => return false,
            _ => {}
        }
    }
    false
}

/// Whether it can be the name of a variable.
pub(super) fn is_name(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

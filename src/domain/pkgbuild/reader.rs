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

pub(super) struct Pending {
    pub delimiter: String,
    pub quoted: bool,
    pub strip: bool,
}

pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    /// Where this (part of the) text ends.
    pub(super) end: usize,
    pub(super) events: Vec<Event<'a>>,
    /// Words that quotes split into pieces.
    pub(super) spliced: Vec<Range<usize>>,
    pub(super) pending: Vec<Pending>,
    depth: u32,
}

pub(super) const RESERVED: [&str; 20] = [
    "if", "then", "elif", "else", "fi", "for", "select", "while", "until", "do", "done", "case", "esac", "in",
    "function", "time", "coproc", "{", "}", "[[",
];

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let events = Vec::with_capacity(text.len() / 6);
        Self { text, at: 0, end: text.len(), events, spliced: Vec::new(), pending: Vec::new(), depth: 0 }
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
    pub(super) fn begins_word(&self) -> bool {
        let before = self.text.as_bytes()[..self.at].last();
        let continued = self.text[..self.at].ends_with("\\\n");
        before.is_none_or(|byte| b" \t\n;&|()".contains(byte)) && (!continued || self.blank_before_continuation())
    }

    pub(super) fn blank_before_continuation(&self) -> bool {
        let text = self.text[..self.at].trim_end_matches("\\\n");
        text.is_empty() || text.ends_with([' ', '\t', '\n'])
    }

    pub(super) fn line_feed(&mut self) -> Result<()> {
        self.at += 1;
        for pending in std::mem::take(&mut self.pending) {
            self.here_document(&pending)?;
        }
        Ok(())
    }

    /// Commands until `stop` says that what follows is not one any more.
    pub(super) fn list(&mut self, stop: fn(&Self) -> bool) -> Result<()> {
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
    pub(super) fn separator(&mut self, stop: fn(&Self) -> bool) -> Result<()> {
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

    pub(super) fn chain(&mut self) -> Result<Shape> {
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

    pub(super) fn pipeline(&mut self) -> Result<Shape> {
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

    pub(super) fn command(&mut self) -> Result<Shape> {
        self.deeper(Self::command_here)
    }

    pub(super) fn command_here(&mut self) -> Result<Shape> {
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
        let ends = |byte: u8| {
            matches!(
                byte,
                b' ' | b'\t'
                    | b'\n'
                    | b';'
                    | b'&'
                    | b'|'
                    | b'('
                    | b')'
                    | b'<'
                    | b'>'
                    | b'\''
                    | b'"'
                    | b'\\'
                    | b'$'
                    | b'`'
            )
        };
        let length = rest.bytes().position(ends).unwrap_or(rest.len());
        let dressed = matches!(rest.as_bytes().get(length), Some(b'\'' | b'"' | b'\\' | b'$' | b'`'));
        (length > 0 && !dressed).then(|| &rest[..length])
    }

    pub(super) fn reserved(&mut self, word: &'static str) -> Result<()> {
        if self.bare_word() != Some(word) {
            return self.fail("a reserved word is missing, or stands where it may not");
        }
        self.emit(Kind::Reserved, word);
        self.at += word.len();
        Ok(())
    }

    pub(super) fn at_reserved(&self, words: &[&str]) -> bool {
        self.bare_word().is_some_and(|word| words.contains(&word))
    }

    /// Leading `name=value` and words, with redirections anywhere.
    pub(super) fn simple(&mut self) -> Result<Shape> {
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

/// Whether it can be the name of a variable.
pub(super) fn is_name(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

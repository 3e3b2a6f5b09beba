//! From text to events: words, and what is quoted or expanded in them.

use super::event::{Event, Kind};
use super::reader::{Reader, Result};

/// Operators inside `${…}`, the longer before the shorter.
const OPERATORS: [&str; 20] =
    [":-", ":=", ":?", ":+", "##", "%%", "//", "/#", "/%", "^^", ",,", "-", "=", "?", "+", "#", "%", "/", "^", ","];

impl Reader<'_> {
    /// A word. If it has to stay `exact`, the way in which it is quoted is kept.
    pub(super) fn word(&mut self, exact: bool) -> Result<()> {
        let (start, place) = (self.at, self.events.len());
        self.emit(Kind::Word, "");
        self.deeper(Self::word_here)?;
        if self.at == start {
            return self.fail("a word is missing");
        }
        if self.has_pending() && self.text[start..self.at].contains('\n') {
            return self.fail("a here-document begins beside a text of several lines");
        }
        if is_spliced(&self.events[place + 1..]) {
            self.spliced.push(start..self.at);
        }
        if !exact {
            undress(&mut self.events, place + 1);
        }
        self.emit(Kind::End, "");
        Ok(())
    }

    fn word_here(&mut self) -> Result<()> {
        let from = self.at;
        let mut bare = self.at;
        while let Some(byte) = self.peek() {
            let special = match byte {
                b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b')' => break,
                b'<' | b'>' if self.peek_at(1) == Some(b'(') => true,
                b'<' | b'>' if self.at > from && self.text.as_bytes()[self.at - 1] == b'}' => {
                    return self.fail("a redirection names a variable");
                }
                b'<' | b'>' => break,
                b'(' if self.at > from && b"?*+@!".contains(&self.text.as_bytes()[self.at - 1]) => true,
                b'(' => return self.fail("a bracket stands where bash does not allow it"),
                b'\\' | b'\'' | b'"' | b'$' | b'`' => true,
                _ => false,
            };
            if !special {
                self.at += 1;
                continue;
            }
            self.bare_text(bare);
            match byte {
                b'<' | b'>' => self.process()?,
                b'(' => self.extended_pattern()?,
                b'\\' if self.peek_at(1) == Some(b'\n') => {
                    if self.at > from && !matches!(self.peek_at(2), None | Some(b' ' | b'\t' | b'\n')) {
                        return self.fail("a word is broken across lines");
                    }
                    return Ok(());
                }
                _ => self.quoted_or_expanded()?,
            }
            bare = self.at;
        }
        self.bare_text(bare);
        Ok(())
    }

    fn bare_text(&mut self, from: usize) {
        if from < self.at {
            let text = &self.text[from..self.at];
            self.events.push(Event { kind: Kind::Bare, text: text.into(), at: from });
        }
    }

    /// What begins with `\`, a quote, `$` or a backtick outside double quotes.
    fn quoted_or_expanded(&mut self) -> Result<()> {
        match self.peek() {
            Some(b'\\') => self.escaped(),
            Some(b'\'') => self.single_quoted(),
            Some(b'"') => {
                self.at += 1;
                self.emit(Kind::Quoted, "");
                self.double_quoted(Some(b'"'))?;
                self.expect("\"")
            }
            Some(b'`') => self.backticks(),
            _ => self.dollar(false),
        }
    }

    fn escaped(&mut self) -> Result<()> {
        let Some(next) = self.text[self.at + 1..self.end].chars().next() else {
            return self.fail("the text ends with a backslash");
        };
        let text = &self.text[self.at + 1..self.at + 1 + next.len_utf8()];
        self.emit(Kind::Quoted, text);
        self.at += 1 + next.len_utf8();
        Ok(())
    }

    fn single_quoted(&mut self) -> Result<()> {
        let Some(length) = self.text[self.at + 1..self.end].find('\'') else {
            return self.fail("a quote is not closed");
        };
        let text = &self.text[self.at + 1..self.at + 1 + length];
        self.emit(Kind::Quoted, text);
        self.at += length + 2;
        Ok(())
    }

    /// What stands in double quotes (or a here-document, or arithmetic) up to `close` or the end.
    pub(super) fn double_quoted(&mut self, close: Option<u8>) -> Result<()> {
        let mut from = self.at;
        loop {
            let byte = self.peek();
            if byte.is_none() || byte == close {
                self.quoted_text(from);
                return Ok(());
            }
            match byte {
                Some(b'\\') => {
                    let escapes = match self.peek_at(1) {
                        Some(b'"') => close == Some(b'"'),
                        Some(b'$' | b'`' | b'\\' | b'\n') => true,
                        _ => false,
                    };
                    self.quoted_text(from);
                    if escapes {
                        from = self.at + usize::from(self.peek_at(1) != Some(b'\n'));
                        if from == self.at {
                            from = self.at + 2;
                        }
                        self.at += 2;
                    } else {
                        from = self.at;
                        self.at += 1;
                    }
                }
                Some(b'$') => {
                    self.quoted_text(from);
                    self.dollar(true)?;
                    from = self.at;
                }
                Some(b'`') => {
                    self.quoted_text(from);
                    self.backticks()?;
                    from = self.at;
                }
                _ => self.at += 1,
            }
        }
    }

    fn quoted_text(&mut self, from: usize) {
        if from < self.at {
            let text = &self.text[from..self.at];
            self.events.push(Event { kind: Kind::Quoted, text: text.into(), at: from });
        }
    }

    fn backticks(&mut self) -> Result<()> {
        let inner = &self.text[self.at + 1..self.end];
        let mut escaped = false;
        for (length, byte) in inner.bytes().enumerate() {
            match byte {
                b'`' if !escaped => {
                    self.emit(Kind::Backticks, &inner[..length]);
                    self.at += length + 2;
                    return Ok(());
                }
                b'\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        self.fail("a substitution is not closed")
    }

    fn process(&mut self) -> Result<()> {
        self.emit(Kind::Process, &self.text[self.at..=self.at]);
        self.at += 2;
        self.deeper(Self::substituted)?;
        self.emit(Kind::End, "");
        Ok(())
    }

    /// `@(a|b)`, whose first sign has been read: bare brackets and signs around words.
    fn extended_pattern(&mut self) -> Result<()> {
        self.emit(Kind::Bare, "(");
        self.at += 1;
        loop {
            if matches!(self.peek(), None | Some(b' ' | b'\t' | b'\n' | b';' | b'&' | b'<' | b'>' | b'(')) {
                return self.fail("a pattern is not closed");
            }
            self.deeper(Self::word_here)?;
            let sign = match self.peek() {
                Some(b'|') => "|",
                Some(b')') => ")",
                _ => return self.fail("a pattern is not closed"),
            };
            self.emit(Kind::Bare, sign);
            self.at += 1;
            if sign == ")" {
                return Ok(());
            }
        }
    }

    /// The right side of `=~`.
    pub(super) fn regex(&mut self) -> Result<()> {
        self.emit(Kind::Word, "");
        let start = self.at;
        let mut bare = self.at;
        loop {
            match self.peek() {
                None | Some(b' ' | b'\t' | b'\n') => break,
                Some(b';' | b'&' | b'<' | b'>') => return self.fail("a regular expression is not read here"),
                Some(b'\\' | b'\'' | b'"' | b'$' | b'`') => {
                    self.bare_text(bare);
                    if self.peek() == Some(b'$') && matches!(self.peek_at(1), Some(b' ' | b')' | b'|')) {
                        self.emit(Kind::Bare, "$");
                        self.at += 1;
                    } else {
                        self.quoted_or_expanded()?;
                    }
                    bare = self.at;
                }
                _ => self.at += 1,
            }
        }
        self.bare_text(bare);
        if self.at == start {
            return self.fail("a regular expression is missing");
        }
        self.emit(Kind::End, "");
        Ok(())
    }

    fn dollar(&mut self, quoted: bool) -> Result<()> {
        if self.looking_at("$((") && self.is_arithmetic(self.at + 1) {
            return self.arithmetic();
        }
        let next = self.peek_at(1);
        match next {
            Some(b'(') => {
                self.emit(if quoted { Kind::QuotedSubstitution } else { Kind::Substitution }, "");
                self.at += 2;
                self.deeper(Self::substituted)?;
                self.emit(Kind::End, "");
                Ok(())
            }
            Some(b'{') => self.deeper(|reader| reader.parameter(quoted)),
            Some(b'[') => self.fail("arithmetic in an old form is not read here"),
            Some(b'\'') if !quoted => self.ansi_quoted(),
            Some(b'"') if !quoted => self.fail("translated texts are not read here"),
            Some(byte) if byte.is_ascii_alphanumeric() || b"_@*#?$!-".contains(&byte) => {
                let rest = &self.text[self.at + 1..self.end];
                let named = byte.is_ascii_alphabetic() || byte == b'_';
                let in_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                let length = if named { rest.bytes().take_while(|&byte| in_name(byte)).count() } else { 1 };
                self.emit(if quoted { Kind::QuotedParam } else { Kind::Param }, &rest[..length]);
                self.at += 1 + length;
                if !quoted && named && self.looking_at("\\\n") && self.peek_at(2).is_some_and(in_name) {
                    return self.fail("a word is broken across lines");
                }
                if quoted && named && self.looking_at("\\\n") {
                    return self.fail("a name is broken across lines");
                }
                self.emit(Kind::End, "");
                Ok(())
            }
            Some(b'\\') if self.peek_at(2) == Some(b'\n') => self.fail("a name is broken across lines"),
            _ => {
                self.emit(Kind::Quoted, "$");
                self.at += 1;
                Ok(())
            }
        }
    }

    /// `$'…'`. Letters that are given by number are not worked out: the value is not known then.
    fn ansi_quoted(&mut self) -> Result<()> {
        let start = self.at;
        self.at += 2;
        let (mut text, mut known) = (String::new(), true);
        loop {
            let Some(next) = self.rest().chars().next() else {
                return self.fail("a quote is not closed");
            };
            self.at += next.len_utf8();
            match next {
                '\'' => break,
                '\\' => {
                    let Some(letter) = self.rest().chars().next() else {
                        return self.fail("a quote is not closed");
                    };
                    self.at += letter.len_utf8();
                    match letter {
                        'n' => text.push('\n'),
                        't' => text.push('\t'),
                        '\\' | '\'' | '"' => text.push(letter),
                        _ => known = false,
                    }
                }
                _ => text.push(next),
            }
        }
        if known {
            self.events.push(Event { kind: Kind::Quoted, text: text.into(), at: start });
        } else {
            let written = &self.text[start..self.at];
            self.events.push(Event { kind: Kind::Arithmetic, text: written.into(), at: start });
            self.emit(Kind::End, "");
        }
        Ok(())
    }

    /// `${…}`.
    fn parameter(&mut self, quoted: bool) -> Result<()> {
        let place = self.events.len();
        self.emit(if quoted { Kind::QuotedParam } else { Kind::Param }, "");
        self.at += 2;
        let prefix = self.peek();
        if matches!(prefix, Some(b'#' | b'!')) && self.peek_at(1) != Some(b'}') {
            self.events[place].kind = if prefix == Some(b'#') { Kind::Length } else { Kind::Indirect };
            self.at += 1;
        }
        let length = match self.peek() {
            Some(byte) if byte.is_ascii_alphabetic() || byte == b'_' => {
                self.rest().bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
            }
            Some(byte) if byte.is_ascii_digit() => self.rest().bytes().take_while(u8::is_ascii_digit).count(),
            Some(b'@' | b'*' | b'#' | b'?' | b'$' | b'!' | b'-') => 1,
            _ => return self.fail("an expansion names no variable"),
        };
        let name = &self.rest()[..length];
        self.events[place].text = name.into();
        self.at += length;
        if self.peek() == Some(b'[') {
            self.index()?;
        }
        if self.peek() != Some(b'}') {
            self.parameter_operator(quoted)?;
        }
        self.expect("}")?;
        self.emit(Kind::End, "");
        Ok(())
    }

    fn parameter_operator(&mut self, quoted: bool) -> Result<()> {
        if let Some(operator) = OPERATORS.into_iter().find(|operator| self.looking_at(operator)) {
            self.emit(Kind::ParamOp, operator);
            self.at += operator.len();
            let pattern = operator.starts_with(['#', '%', '/', '^', ',']);
            return self.operand(quoted, pattern, operator.starts_with('/').then_some(b'/'));
        }
        match self.peek() {
            Some(b':') => {
                self.emit(Kind::ParamOp, ":");
                self.at += 1;
                self.operand(quoted, true, Some(b':'))
            }
            Some(b'@' | b'*') => {
                let operator = &self.rest()[..self.rest().find('}').unwrap_or(0)];
                self.emit(Kind::ParamOp, operator);
                self.at += operator.len();
                Ok(())
            }
            _ => self.fail("an expansion is not read here"),
        }
    }

    /// What follows an operator up to `}`, with a second part behind the first `split`.
    fn operand(&mut self, quoted: bool, pattern: bool, split: Option<u8>) -> Result<()> {
        let mut split = split;
        let mut bare = self.at;
        loop {
            let Some(byte) = self.peek() else {
                return self.fail("an expansion is not closed");
            };
            match byte {
                b'}' => break,
                _ if split == Some(byte) => {
                    self.bare_text(bare);
                    self.emit(Kind::ParamPart, "");
                    self.at += 1;
                    bare = self.at;
                    split = None;
                }
                b'\'' if quoted && !pattern => self.at += 1,
                b'\\' if quoted && !pattern => {
                    self.bare_text(bare);
                    let special = self.peek_at(1).is_some_and(|next| b"$`\"\\}".contains(&next));
                    if !special {
                        return self.fail("a backslash in an expansion is not read here");
                    }
                    self.escaped()?;
                    bare = self.at;
                }
                b'$' if quoted => {
                    self.bare_text(bare);
                    self.dollar(true)?;
                    bare = self.at;
                }
                b'\\' if self.peek_at(1) == Some(b'\n') => return self.fail("a word is broken across lines"),
                b'\\' | b'\'' | b'"' | b'$' | b'`' => {
                    self.bare_text(bare);
                    self.quoted_or_expanded()?;
                    bare = self.at;
                }
                b'<' | b'>' if self.peek_at(1) == Some(b'(') => {
                    self.bare_text(bare);
                    self.process()?;
                    bare = self.at;
                }
                _ => self.at += 1,
            }
        }
        self.bare_text(bare);
        Ok(())
    }

    /// `[…]` behind a name.
    pub(super) fn index(&mut self) -> Result<()> {
        self.emit(Kind::Index, "");
        self.at += 1;
        let mut bare = self.at;
        loop {
            match self.peek() {
                None | Some(b'\n' | b'[' | b'\\') => return self.fail("a subscript is not read here"),
                Some(b']') => break,
                Some(b'\'' | b'"' | b'$' | b'`') => {
                    self.bare_text(bare);
                    self.deeper(Self::quoted_or_expanded)?;
                    bare = self.at;
                }
                _ => self.at += 1,
            }
        }
        self.bare_text(bare);
        self.at += 1;
        self.emit(Kind::End, "");
        Ok(())
    }

    /// Whether the bracket at `at` opens arithmetic: its partner is directly followed by another.
    fn is_arithmetic(&self, at: usize) -> bool {
        let bytes = &self.text.as_bytes()[..self.end];
        let (mut depth, mut quoted) = (0_usize, false);
        for (index, byte) in bytes.iter().enumerate().skip(at) {
            match byte {
                b'"' => quoted = !quoted,
                b'\n' | b'\'' | b'\\' => return false,
                b'(' if !quoted => depth += 1,
                b')' if !quoted => {
                    depth -= 1;
                    if depth == 1 {
                        return bytes.get(index + 1) == Some(&b')');
                    }
                }
                _ => {}
            }
        }
        false
    }

    /// `$((…))` on one line.
    fn arithmetic(&mut self) -> Result<()> {
        self.at += 1;
        self.arithmetic_command()
    }

    pub(super) fn arithmetic_command(&mut self) -> Result<()> {
        if !self.is_arithmetic(self.at) {
            return self.fail("two brackets that are not plain arithmetic");
        }
        self.emit(Kind::Arithmetic, "");
        self.at += 2;
        let (mut depth, mut from) = (0_u32, self.at);
        loop {
            match self.peek() {
                None => return self.fail("arithmetic is not closed"),
                Some(b'(') => depth += 1,
                Some(b')') if depth == 0 => break,
                Some(b')') => depth -= 1,
                Some(b'$' | b'`') => {
                    self.quoted_text(from);
                    if self.peek() == Some(b'`') {
                        self.backticks()?;
                    } else {
                        self.deeper(|reader| reader.dollar(true))?;
                    }
                    from = self.at;
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        self.quoted_text(from);
        self.expect("))")?;
        self.emit(Kind::End, "");
        Ok(())
    }
}

/// Letters that mean the same quoted or not, if nothing in the word is a pattern.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./:@%+-=".contains(&byte))
}

/// Whether quotes split a name into pieces: `'c''url'`, `c\url`, `cu""rl`.
fn is_spliced(parts: &[Event<'_>]) -> bool {
    let literal = |event: &Event<'_>| matches!(event.kind, Kind::Bare | Kind::Quoted);
    if parts.len() < 2 || !parts.iter().all(literal) {
        return false;
    }
    let whole = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte));
    let pieces: Vec<&str> = parts.iter().map(|part| &*part.text).filter(|text| !text.is_empty()).collect();
    let inside = |pair: &[&str]| {
        pair[0].ends_with(|c: char| c.is_ascii_alphabetic()) && pair[1].starts_with(|c: char| c.is_ascii_alphabetic())
    };
    pieces.iter().all(|piece| whole(piece)) && pieces.windows(2).any(inside)
}

/// Takes the dress from the word whose parts begin at `start`: quotes that change nothing.
fn undress(events: &mut Vec<Event<'_>>, start: usize) {
    let parts = &events[start..];
    let meaning = |event: &Event<'_>| event.kind == Kind::Bare && event.text.contains(['{', '~', '[', '(', '|']);
    if parts.iter().any(meaning) {
        return;
    }
    if let [part] = parts {
        if part.kind == Kind::Quoted && !part.text.is_empty() && is_plain(&part.text) {
            events[start].kind = Kind::Bare;
        }
        return;
    }
    let old = events.split_off(start);
    // An empty quote keeps an empty word alive; beside letters it means nothing.
    let mut depth = 0_usize;
    let has_text = old.iter().any(|event| {
        let text = depth == 0 && matches!(event.kind, Kind::Bare | Kind::Quoted) && !event.text.is_empty();
        depth = if event.kind == Kind::End { depth - 1 } else { depth + usize::from(event.kind.opens()) };
        text
    });
    let mut depth = 0_usize;
    for mut event in old {
        if event.kind == Kind::End {
            depth -= 1;
        } else if event.kind.opens() {
            depth += 1;
        } else if depth == 0 && matches!(event.kind, Kind::Bare | Kind::Quoted) {
            if event.text.is_empty() && has_text {
                continue;
            }
            if event.kind == Kind::Quoted && !event.text.is_empty() && is_plain(&event.text) {
                event.kind = Kind::Bare;
            }
            if events.len() > start
                && let Some(last) = events.last_mut()
                && last.kind == event.kind
                && !last.text.is_empty()
                && !event.text.is_empty()
            {
                last.text.to_mut().push_str(&event.text);
                continue;
            }
        }
        events.push(event);
    }
}

//! From text to events: what `$` begins.

use super::event::{Event, Kind};
use super::reader::{Reader, Result};

/// Operators inside `${…}`, the longer before the shorter.
const OPERATORS: [&str; 20] =
    [":-", ":=", ":?", ":+", "##", "%%", "//", "/#", "/%", "^^", ",,", "-", "=", "?", "+", "#", "%", "/", "^", ","];

/// Longer arithmetic is not read.
const LONGEST_ARITHMETIC: usize = 4096;

impl Reader<'_> {
    pub(super) fn dollar(&mut self, quoted: bool) -> Result<()> {
        if self.looking_at("$((") && self.is_arithmetic(self.at + 1)? {
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
    pub(super) fn ansi_quoted(&mut self) -> Result<()> {
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
    pub(super) fn parameter(&mut self, quoted: bool) -> Result<()> {
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

    pub(super) fn parameter_operator(&mut self, quoted: bool) -> Result<()> {
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
    pub(super) fn operand(&mut self, quoted: bool, pattern: bool, split: Option<u8>) -> Result<()> {
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
    pub(super) fn is_arithmetic(&self, at: usize) -> Result<bool> {
        let bytes = &self.text.as_bytes()[..self.end.min(at + LONGEST_ARITHMETIC)];
        let (mut depth, mut quoted) = (0_usize, false);
        for (index, byte) in bytes.iter().enumerate().skip(at) {
            match byte {
                b'"' => quoted = !quoted,
                b'\n' | b'\'' | b'\\' => return Ok(false),
                b'(' if !quoted => depth += 1,
                b')' if !quoted => {
                    depth -= 1;
                    if depth == 1 {
                        return Ok(self.text.as_bytes()[..self.end].get(index + 1) == Some(&b')'));
                    }
                }
                _ => {}
            }
        }
        if bytes.len() < self.end { self.fail("arithmetic is too long") } else { Ok(false) }
    }

    /// `$((…))` on one line.
    pub(super) fn arithmetic(&mut self) -> Result<()> {
        self.at += 1;
        self.arithmetic_command()
    }

    pub(super) fn arithmetic_command(&mut self) -> Result<()> {
        if !self.is_arithmetic(self.at)? {
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
                        self.backticks(true)?;
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

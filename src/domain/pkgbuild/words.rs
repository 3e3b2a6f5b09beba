//! From text to events: words, and what is quoted or expanded in them.

use super::dress::{is_spliced, undress};
use super::event::{Event, Kind};
use super::reader::{Reader, Result};

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
        // One part alone cannot be split.
        if self.events.len() > place + 2 && is_spliced(&self.events[place + 1..]) {
            self.spliced.push(start..self.at);
        }
        if !exact {
            undress(&mut self.events, place + 1);
        }
        self.emit(Kind::End, "");
        Ok(())
    }

    pub(super) fn word_here(&mut self) -> Result<()> {
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

    pub(super) fn bare_text(&mut self, from: usize) {
        if from < self.at {
            let text = &self.text[from..self.at];
            self.events.push(Event { kind: Kind::Bare, text: text.into(), at: from });
        }
    }

    /// What begins with `\`, a quote, `$` or a backtick outside double quotes.
    pub(super) fn quoted_or_expanded(&mut self) -> Result<()> {
        match self.peek() {
            Some(b'\\') => self.escaped(),
            Some(b'\'') => self.single_quoted(),
            Some(b'"') => {
                self.at += 1;
                self.emit(Kind::Quoted, "");
                self.double_quoted(Some(b'"'))?;
                self.expect("\"")
            }
            Some(b'`') => self.backticks(false),
            _ => self.dollar(false),
        }
    }

    pub(super) fn escaped(&mut self) -> Result<()> {
        let Some(next) = self.text[self.at + 1..self.end].chars().next() else {
            return self.fail("the text ends with a backslash");
        };
        let text = &self.text[self.at + 1..self.at + 1 + next.len_utf8()];
        self.emit(Kind::Quoted, text);
        self.at += 1 + next.len_utf8();
        Ok(())
    }

    pub(super) fn single_quoted(&mut self) -> Result<()> {
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
                    self.backticks(true)?;
                    from = self.at;
                }
                _ => self.at += 1,
            }
        }
    }

    pub(super) fn quoted_text(&mut self, from: usize) {
        if from < self.at {
            let text = &self.text[from..self.at];
            self.events.push(Event { kind: Kind::Quoted, text: text.into(), at: from });
        }
    }

    /// `` `…` ``: as `$(…)` where no backslash stands in it, and else as it is written.
    pub(super) fn backticks(&mut self, quoted: bool) -> Result<()> {
        let start = self.at;
        let inner = &self.text[start + 1..self.end];
        let mut escaped = false;
        let mut closes = |byte: &u8| {
            let closes = *byte == b'`' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            closes
        };
        let Some(length) = inner.as_bytes().iter().position(&mut closes) else {
            return self.fail("a substitution is not closed");
        };
        let (events, spliced) = (self.events.len(), self.spliced.len());
        // Behind the first of them `#` begins a comment.
        let odd = inner[..length].contains('\\') || inner.starts_with('#');
        if odd || self.in_backticks(length, quoted).is_err() {
            self.events.truncate(events);
            self.spliced.truncate(spliced);
            self.at = start;
            self.emit(Kind::Backticks, &inner[..length]);
        }
        self.at = start + length + 2;
        Ok(())
    }

    /// The commands between two backticks that are so far apart.
    fn in_backticks(&mut self, length: usize, quoted: bool) -> Result<()> {
        self.emit(if quoted { Kind::QuotedSubstitution } else { Kind::Substitution }, "");
        self.at += 1;
        let end = std::mem::replace(&mut self.end, self.at + length);
        let pending = std::mem::take(&mut self.pending);
        let commands = self.deeper(|reader| reader.list(|reader| reader.at == reader.end));
        let waiting = !std::mem::replace(&mut self.pending, pending).is_empty();
        self.end = end;
        self.emit(Kind::End, "");
        if waiting { self.fail("a here-document begins in backticks") } else { commands }
    }

    pub(super) fn process(&mut self) -> Result<()> {
        self.emit(Kind::Process, &self.text[self.at..=self.at]);
        self.at += 2;
        self.deeper(Self::substituted)?;
        self.emit(Kind::End, "");
        Ok(())
    }

    /// `@(a|b)`, whose first sign has been read: bare brackets and signs around words.
    pub(super) fn extended_pattern(&mut self) -> Result<()> {
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
}

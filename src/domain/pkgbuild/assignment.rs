//! From text to events: assignments and arrays.

use super::event::Kind;
use super::reader::{Reader, Result, is_name};

impl<'a> Reader<'a> {
    /// The name that is assigned here: `name=`, `name+=`, `name[…`.
    pub(super) fn assignment_name(&self) -> Option<&'a str> {
        let rest = self.rest();
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let (name, behind) = rest.split_at(length);
        let assigns = behind.starts_with('=') || behind.starts_with("+=") || indexed(behind);
        (is_name(name) && assigns).then_some(name)
    }

    pub(super) fn assignment(&mut self) -> Result<()> {
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

    pub(super) fn array(&mut self) -> Result<()> {
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

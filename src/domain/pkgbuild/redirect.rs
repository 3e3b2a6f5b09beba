//! From text to events: redirections and here-documents.

use super::event::Kind;
use super::reader::{Pending, Reader, Result};

impl Reader<'_> {
    pub(super) fn redirections(&mut self) -> Result<()> {
        loop {
            self.gap(false)?;
            if !self.redirection()? {
                return Ok(());
            }
        }
    }

    /// Reads a redirection if one begins here.
    pub(super) fn redirection(&mut self) -> Result<bool> {
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

    pub(super) fn delimiter(&mut self, strip: bool) -> Result<()> {
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

    pub(super) fn here_document(&mut self, pending: &Pending) -> Result<()> {
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
}

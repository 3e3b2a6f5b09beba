//! A PKGBUILD as bash reads it, without running anything.
//!
//! [`Pkgbuild::read`] gives the commands at the top level; [`Pkgbuild::evaluate`] works out what variables hold,
//! as far as literal assignments say it. What it does not know it marks, and never guesses.

mod assignment;
mod braces;
mod commands;
mod compound;
mod dress;
mod edit;
mod evaluate;
mod event;
mod expand;
mod expansion;
mod pattern;
mod reader;
mod redirect;
mod script;
mod source;
mod words;

use std::ops::Range;

pub use edit::{Uneditable, has_checksums, raise, with_checksums};
pub use evaluate::{Assigned, Evaluated, HOLE_END, HOLE_START, OPEN, Value, is_known};
pub use event::{Event, Kind, close, render, same, unmarked};
pub use reader::Unread;
pub use source::Source;

use reader::{Reader, Shape};
use script::Top;

/// Larger files are for a person.
pub const LARGEST: usize = 256 * 1024;

/// More commands at the top level are for a person.
pub const MOST_COMMANDS: usize = 4000;

/// Of longer lines only a part is shown.
const LONGEST_LINE: usize = 4096;

/// The commands of a PKGBUILD or a `.install` file.
#[derive(Debug, Clone)]
pub struct Pkgbuild<'a> {
    text: &'a str,
    /// Where lines end.
    ends: Vec<usize>,
    events: Vec<Event<'a>>,
    spliced: Vec<Range<usize>>,
    tops: Vec<Top>,
    /// What stands at the top level, in order.
    pub statements: Vec<Statement<'a>>,
}

/// What a statement at the top level is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role<'a> {
    /// An assignment to this name.
    Assign(&'a str),
    /// `: ${name:=value}` or `: ${name=value}`: an assignment unless the environment has one.
    Default(&'a str),
    /// A definition of this function.
    Function(&'a str),
    /// Anything else: it runs as soon as the file is read.
    Code,
}

/// One statement at the top level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'a> {
    /// What it is.
    pub role: Role<'a>,
    /// Its events.
    pub range: Range<usize>,
    /// Its text with all of its last line; empty if it shares that text with another.
    text: Range<usize>,
}

impl<'a> Pkgbuild<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Unread`] if it is too large, not text, or holds anything that bash would refuse or that is not
    /// read here.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Unread> {
        Self::read_after(bytes, None)
    }

    /// Reads a file of which an earlier state was read: what stands there as before is not read again.
    ///
    /// # Errors
    /// As for [`Pkgbuild::read`].
    pub fn read_after(bytes: &'a [u8], earlier: Option<&Self>) -> Result<Self, Unread> {
        if bytes.len() > LARGEST {
            return Err(Unread { why: "it is too large", at: 0 });
        }
        let text =
            std::str::from_utf8(bytes).map_err(|error| Unread { why: "it is not UTF-8", at: error.valid_up_to() })?;
        let odd = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | b'\x1b' | b'\x0c');
        if let Some(at) = bytes.iter().position(odd) {
            return Err(Unread { why: "it holds a control character", at });
        }
        let mut reader = Reader::new(text);
        let tops = reader.script(earlier)?;
        let (events, spliced) = (reader.events, reader.spliced);
        let statements = statements(&tops, &events);
        if let Some(beyond) = statements.get(MOST_COMMANDS) {
            return Err(Unread { why: "it has too many commands", at: events[beyond.range.start].at });
        }
        let ends = memchr::memchr_iter(b'\n', bytes).collect();
        Ok(Self { text, ends, events, spliced, tops, statements })
    }

    /// Whether a statement is written as one of another file is, letter by letter: then bash reads them the same.
    #[must_use]
    pub fn is_written_as(&self, ours: &Statement<'a>, other: &Self, theirs: &Statement<'a>) -> bool {
        !ours.text.is_empty() && self.text[ours.text.clone()] == other.text[theirs.text.clone()]
    }

    /// Whether bash reads the same from both: nothing differs but layout and comments.
    #[must_use]
    pub fn reads_as(&self, other: &Pkgbuild<'_>) -> bool {
        let roles = |it: &Pkgbuild<'_>| it.statements.iter().map(|one| format!("{:?}", one.role)).collect::<Vec<_>>();
        same(&self.events, &other.events) && roles(self) == roles(other)
    }

    /// Words that quotes split into pieces, as they are written, each with its place.
    pub fn spliced(&self) -> impl Iterator<Item = (&'a str, usize)> {
        self.spliced.iter().map(|range| (&self.text[range.clone()], range.start))
    }

    /// The events of a statement.
    #[must_use]
    pub fn events(&self, statement: &Statement<'a>) -> &[Event<'a>] {
        &self.events[statement.range.clone()]
    }

    /// The line of a place, from 1.
    #[must_use]
    pub fn line(&self, at: usize) -> u32 {
        u32::try_from(self.ends.partition_point(|&end| end < at) + 1).unwrap_or(u32::MAX)
    }

    /// The place where a line begins; lines count from 1.
    #[must_use]
    pub fn start_of(&self, line: u32) -> usize {
        let before = (line as usize).checked_sub(2);
        before.map_or(0, |before| self.ends.get(before).map_or(self.text.len(), |end| end + 1))
    }

    /// The text of the line of a place.
    #[must_use]
    pub fn text_at(&self, at: usize) -> &'a str {
        let at = at.min(self.text.len());
        // Of a very long line only what stands there is of use.
        let from = at.saturating_sub(LONGEST_LINE);
        let start = match memchr::memrchr(b'\n', &self.text.as_bytes()[from..at]) {
            Some(end) => from + end + 1,
            None if from > 0 => at,
            None => 0,
        };
        let behind = &self.text.as_bytes()[start..self.text.len().min(at + LONGEST_LINE)];
        let mut end = start + memchr::memchr(b'\n', behind).unwrap_or(behind.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.get(start..end).unwrap_or_default().trim()
    }

    /// The line on which a statement begins.
    #[must_use]
    pub fn line_of(&self, statement: &Statement<'a>) -> u32 {
        self.line(self.events[statement.range.start].at)
    }
}

/// The statements that commands at the top level are.
fn statements<'a>(tops: &[Top], events: &[Event<'a>]) -> Vec<Statement<'a>> {
    let mut statements = Vec::with_capacity(tops.len());
    for top in tops {
        let (range, text) = (top.events.clone(), top.text.clone());
        match top.shape {
            Shape::Code => {
                let role = default(&events[range.clone()]).map_or(Role::Code, Role::Default);
                statements.push(Statement { role, range, text });
            }
            Shape::Function => {
                statements.push(Statement { role: Role::Function(events[range.start].name()), range, text });
            }
            Shape::Assignments => {
                let mut at = range.start;
                while at < range.end {
                    let end = close(events, at);
                    let text = if (at..end) == range { text.clone() } else { 0..0 };
                    statements.push(Statement { role: Role::Assign(events[at].name()), range: at..end, text });
                    at = end;
                }
            }
        }
    }
    statements
}

/// The line of a place in a text, from 1.
#[must_use]
pub fn line_of(text: &[u8], at: usize) -> u32 {
    let lines = text[..at.min(text.len())].split(|&byte| byte == b'\n').count();
    u32::try_from(lines).unwrap_or(u32::MAX)
}

/// The name in `: ${name:=value}` or `: ${name=value}`, quoted or not.
fn default<'a>(events: &[Event<'a>]) -> Option<&'a str> {
    let [word, colon, end, argument, rest @ ..] = events else { return None };
    let is_colon = word.kind == Kind::Word && colon.kind == Kind::Bare && colon.text == ":" && end.kind == Kind::End;
    let [inner @ .., last] = rest else { return None };
    if !is_colon || argument.kind != Kind::Word || last.kind != Kind::End {
        return None;
    }
    let inner = match inner {
        [empty, inner @ ..] if empty.kind == Kind::Quoted && empty.text.is_empty() => inner,
        inner => inner,
    };
    let [param, operator, ..] = inner else { return None };
    let assigns = operator.kind == Kind::ParamOp && matches!(&*operator.text, ":=" | "=");
    let alone = matches!(param.kind, Kind::Param | Kind::QuotedParam) && close(inner, 0) == inner.len();
    (assigns && alone).then(|| param.name())
}

#[cfg(test)]
mod tests;

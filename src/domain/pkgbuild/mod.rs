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
mod source;
mod words;

use std::ops::Range;

pub use edit::{Uneditable, has_checksums, raise, with_checksums};
pub use evaluate::{Assigned, Evaluated, HOLE_END, HOLE_START, OPEN, Value, is_known};
pub use event::{Event, Kind, close, render, same};
pub use reader::Unread;
pub use source::Source;

use reader::{Reader, Shape};

/// Larger files are for a person.
pub const LARGEST: usize = 256 * 1024;

/// The commands of a PKGBUILD or a `.install` file.
#[derive(Debug, Clone)]
pub struct Pkgbuild<'a> {
    text: &'a str,
    /// Where lines end.
    ends: Vec<usize>,
    events: Vec<Event<'a>>,
    spliced: Vec<Range<usize>>,
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
}

impl<'a> Pkgbuild<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Unread`] if it is too large, not text, or holds anything that bash would refuse or that is not
    /// read here.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Unread> {
        if bytes.len() > LARGEST {
            return Err(Unread { why: "it is too large", at: 0 });
        }
        let text =
            std::str::from_utf8(bytes).map_err(|error| Unread { why: "it is not UTF-8", at: error.valid_up_to() })?;
        let odd = |byte: u8| byte < b' ' && !b"\t\n\r\x1b\x0c".contains(&byte);
        if let Some(at) = text.bytes().position(odd) {
            return Err(Unread { why: "it holds a control character", at });
        }
        let mut reader = Reader::new(text);
        let tops = reader.script()?;
        let (events, spliced) = (reader.events, reader.spliced);
        let mut statements = Vec::with_capacity(tops.len());
        for top in tops {
            match top.shape {
                Shape::Code => {
                    let role = default(&events[top.events.clone()]).map_or(Role::Code, Role::Default);
                    statements.push(Statement { role, range: top.events });
                }
                Shape::Function => {
                    let name = name(&events[top.events.start]);
                    statements.push(Statement { role: Role::Function(name), range: top.events });
                }
                Shape::Assignments => {
                    let mut at = top.events.start;
                    while at < top.events.end {
                        let end = close(&events, at);
                        if events[at].kind.opens() {
                            statements.push(Statement { role: Role::Assign(name(&events[at])), range: at..end });
                        }
                        at = end;
                    }
                }
            }
        }
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Ok(Self { text, ends, events, spliced, statements })
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

    /// The text of the line of a place.
    #[must_use]
    pub fn text_at(&self, at: usize) -> &'a str {
        let at = at.min(self.text.len());
        let start = self.text[..at].rfind('\n').map_or(0, |start| start + 1);
        self.text[start..].lines().next().unwrap_or_default().trim()
    }

    /// The line on which a statement begins.
    #[must_use]
    pub fn line_of(&self, statement: &Statement<'a>) -> u32 {
        self.line(self.events[statement.range.start].at)
    }
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
    (assigns && alone).then(|| name(param))
}

/// Names are never put together from pieces.
fn name<'a>(event: &Event<'a>) -> &'a str {
    match event.text {
        std::borrow::Cow::Borrowed(name) => name,
        std::borrow::Cow::Owned(_) => "",
    }
}

#[cfg(test)]
mod tests;

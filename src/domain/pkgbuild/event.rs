//! What the reader saw, as a flat stream: the same for two texts exactly if bash reads them the same.
//!
//! Blanks, comments, wrapping and the dress of a word (`'a'`, `"a"`, `a`; `$x`, `${x}`) leave no trace.

use std::borrow::Cow;

/// What an event is. Those with `Start` are closed by [`Kind::End`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A word of a command or an element of an array begins.
    Word,
    /// Text in which bash still gives a meaning to `*`, `?`, `[`, `{`, `~`.
    Bare,
    /// Text that stands for itself.
    Quoted,
    /// `$name` or `${name…}` begins; the text is the name.
    Param,
    /// The same inside double quotes.
    QuotedParam,
    /// `${#name…}` begins.
    Length,
    /// `${!name…}` begins.
    Indirect,
    /// The operator inside `${…}`.
    ParamOp,
    /// A second part of an operator inside `${…}`: the replacement, the length.
    ParamPart,
    /// A subscript begins.
    Index,
    /// `$(…)` begins.
    Substitution,
    /// The same inside double quotes.
    QuotedSubstitution,
    /// `` `…` ``, whole and as written.
    Backticks,
    /// `<(…)` or `>(…)` begins; the text is its first character.
    Process,
    /// `$((…))` or `((…))` begins.
    Arithmetic,
    /// An assignment begins; the text is the name.
    Assign,
    /// The same with `+=`.
    Append,
    /// The elements of an array begin.
    Array,
    /// A definition of a function begins; the text is its name.
    Function,
    /// Between two commands.
    Separator,
    /// An operator or a redirection.
    Operator,
    /// A reserved word.
    Reserved,
    /// The text of a here-document begins; the text is `-` if tabs are stripped.
    Here,
    /// What was opened last ends.
    End,
}

impl Kind {
    /// Whether it is closed by [`Kind::End`].
    #[must_use]
    pub const fn opens(self) -> bool {
        matches!(
            self,
            Self::Word
                | Self::Param
                | Self::QuotedParam
                | Self::Length
                | Self::Indirect
                | Self::Index
                | Self::Substitution
                | Self::QuotedSubstitution
                | Self::Process
                | Self::Arithmetic
                | Self::Assign
                | Self::Append
                | Self::Array
                | Self::Function
                | Self::Here
        )
    }

    /// Whether bash runs something here to get a text.
    #[must_use]
    pub const fn runs(self) -> bool {
        matches!(self, Self::Substitution | Self::QuotedSubstitution | Self::Backticks | Self::Process)
    }
}

/// One step of the stream.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its text, empty where the kind says all.
    pub text: Cow<'a, str>,
    /// Where it begins, in bytes.
    pub at: usize,
}

impl<'a> Event<'a> {
    /// The name that it begins with: names are never put together from pieces.
    #[must_use]
    pub fn name(&self) -> &'a str {
        if let Cow::Borrowed(name) = self.text { name } else { "" }
    }

    /// Equal but for the place.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.text == other.text
    }
}

/// Whether two streams are the same but for places.
#[must_use]
pub fn same(old: &[Event<'_>], new: &[Event<'_>]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| old.same(new))
}

/// The index behind the `End` that closes the event at `start`, or behind the event if it opens nothing.
#[must_use]
pub fn close(events: &[Event<'_>], start: usize) -> usize {
    let mut depth = 0_usize;
    for (index, event) in events.iter().enumerate().skip(start) {
        if event.kind.opens() {
            depth += 1;
        } else if event.kind == Kind::End {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 {
            return index + 1;
        }
    }
    events.len()
}

/// Stands before every event in a text that stands for a stream, with a letter for its kind. It cannot occur in a
/// text that was read.
const MARK: char = '\u{3}';

/// A text that stands for a stream wherever its value is not known: the same for the same stream, and for no other.
#[must_use]
pub fn render(events: &[Event<'_>]) -> String {
    let mut text = String::new();
    for event in events {
        let before = match event.kind {
            Kind::Word | Kind::Separator | Kind::Operator | Kind::Reserved => " ",
            Kind::Param | Kind::Length | Kind::Indirect => "${",
            Kind::QuotedParam => "\"${",
            Kind::Substitution => "$(",
            Kind::QuotedSubstitution => "\"$(",
            Kind::Quoted => "'",
            Kind::Arithmetic => "((",
            Kind::Array | Kind::Index => "[",
            Kind::Here => "<<",
            Kind::End => "}",
            _ => "",
        };
        text.extend([MARK, char::from(b'a' + event.kind as u8)]);
        text.push_str(before);
        text.push_str(&event.text);
    }
    text
}

/// What was rendered, for people.
#[must_use]
pub fn unmarked(text: &str) -> String {
    let mut parts = text.split(MARK);
    let first = parts.next().unwrap_or_default();
    std::iter::once(first).chain(parts.map(|part| part.get(1..).unwrap_or_default())).collect()
}

//! What people ask for in comments: `/pkgwarden rebuild foo`, as a line of its own.
//!
//! Not here: whether somebody may ask for that, and what comes of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Permission;
use super::markdown::code;
use crate::domain::finding::nearest;
use crate::domain::name::PkgBase;
use crate::domain::target::names;

/// What every command begins with.
pub const PREFIX: &str = "/pkgwarden";
/// So many commands of one comment are heard.
pub const MOST_COMMANDS: usize = 10;
/// So many packages are named by one command.
const MOST_PACKAGES: usize = 50;
/// The longest reason, in characters.
const LONGEST_REASON: usize = 500;
/// The longest command that is kept as it was written, in bytes.
const LONGEST_LINE: usize = 2_000;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Approve the update that waits.
    Approve,
    /// Reject it.
    Reject,
    /// Build as it is.
    Deploy,
    /// Raise the bump and build.
    Rebuild,
    /// Try the last build again.
    Retry,
    /// Build although something it needs has failed.
    Release,
    /// Take out of service.
    Hold,
    /// Take back into service.
    Lift,
    /// Ask all sources now.
    Run,
    /// Say how it stands.
    Explain,
    /// Say what can be asked for.
    Help,
}

impl Verb {
    /// All of them, in the order in which people are told.
    pub const ALL: [Self; 11] = [
        Self::Approve,
        Self::Reject,
        Self::Deploy,
        Self::Rebuild,
        Self::Retry,
        Self::Release,
        Self::Hold,
        Self::Lift,
        Self::Run,
        Self::Explain,
        Self::Help,
    ];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Deploy => "deploy",
            Self::Rebuild => "rebuild",
            Self::Retry => "retry",
            Self::Release => "release",
            Self::Hold => "hold",
            Self::Lift => "lift",
            Self::Run => "run",
            Self::Explain => "explain",
            Self::Help => "help",
        }
    }

    /// What stands behind it, and what it does.
    #[must_use]
    pub const fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::Approve => ("[PKG…] [--head COMMIT]", "approves the update that waits, as it was when you wrote"),
            Self::Reject => ("[REASON]", "rejects the update below whose review it stands"),
            Self::Deploy => ("[PKG…]", "builds packages as they are"),
            Self::Rebuild => ("[PKG…]", "raises their bump and builds them"),
            Self::Retry => ("[PKG…]", "tries their last build again"),
            Self::Release => ("[PKG…]", "builds them although something that they need has failed"),
            Self::Hold => ("[PKG…] [--reason TEXT]", "takes packages out of service"),
            Self::Lift => ("[PKG…] [--reason TEXT]", "takes them back into service"),
            Self::Run => ("", "asks all sources for updates now"),
            Self::Explain => ("[PKG…]", "says how packages stand"),
            Self::Help => ("", "says this"),
        }
    }

    /// What somebody has to be allowed to be heard.
    #[must_use]
    pub const fn needs(self) -> Permission {
        match self {
            Self::Explain | Self::Help => Permission::Read,
            _ => Permission::Write,
        }
    }

    /// Whether it is about packages.
    #[must_use]
    pub const fn takes_packages(self) -> bool {
        !matches!(self, Self::Run | Self::Help)
    }

    fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str().eq_ignore_ascii_case(word))
    }
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// What is to be done.
    pub verb: Verb,
    /// With which packages; those that the place speaks of if empty.
    pub packages: Vec<PkgBase>,
    /// The beginning of the commit that was looked at, in hexadecimal digits.
    pub head: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl Command {
    /// A command about packages, without more.
    #[must_use]
    pub fn about(verb: Verb, packages: impl IntoIterator<Item = PkgBase>) -> Self {
        Self { verb, packages: packages.into_iter().collect(), head: None, reason: None }
    }

    /// Reads what stands behind [`PREFIX`].
    ///
    /// # Errors
    /// What is wrong, as Markdown in which nothing acts.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (word, rest) = split(text);
        if word.is_empty() {
            return Ok(Self::about(Verb::Help, []));
        }
        let Some(verb) = Verb::read(word) else { return Err(unknown(word)) };
        let mut command = Self::about(verb, []);
        match verb {
            Verb::Reject => {
                let (option, reason) = split(rest);
                command.reason = because(if option == "--reason" { reason } else { rest });
            }
            Verb::Help => {}
            _ => command.read_words(rest)?,
        }
        Ok(command)
    }

    fn read_words(&mut self, mut rest: &str) -> Result<(), String> {
        let word = self.verb.as_str();
        loop {
            let (next, after) = split(rest);
            rest = after;
            match next {
                "" => return Ok(()),
                "--reason" if matches!(self.verb, Verb::Hold | Verb::Lift) => {
                    self.reason = because(rest);
                    return Ok(());
                }
                "--head" if self.verb == Verb::Approve => {
                    let (head, after) = split(rest);
                    rest = after;
                    self.read_head(head)?;
                }
                option if option.starts_with("--") => return Err(format!("`{word}` knows no {}", code(option))),
                _ if !self.verb.takes_packages() => return Err(format!("nothing belongs behind `{word}`")),
                listed => self.read_names(listed)?,
            }
        }
    }

    fn read_head(&mut self, head: &str) -> Result<(), String> {
        let is_id = (7..=40).contains(&head.len()) && head.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Err(format!("behind `--head` belongs a commit, and {} is none", code(head)));
        }
        self.head = Some(head.to_ascii_lowercase());
        Ok(())
    }

    fn read_names(&mut self, listed: &str) -> Result<(), String> {
        for name in names(listed) {
            let pkgbase = PkgBase::new(name).map_err(|_| format!("{} is no name of a package", code(name)))?;
            if !self.packages.contains(&pkgbase) {
                self.packages.push(pkgbase);
            }
        }
        if self.packages.len() > MOST_PACKAGES {
            return Err(format!("these are more than {MOST_PACKAGES} packages"));
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb.as_str())?;
        for pkgbase in &self.packages {
            write!(f, " {pkgbase}")?;
        }
        if let Some(head) = &self.head {
            write!(f, " --head {head}")?;
        }
        match &self.reason {
            Some(reason) if self.verb == Verb::Reject => write!(f, " {reason}"),
            Some(reason) => write!(f, " --reason {reason}"),
            None => Ok(()),
        }
    }
}

/// A line of a comment that is a command, or was meant to be one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The line as it was written, without [`PREFIX`], cut if it is long.
    pub written: String,
    /// What it means, or what is wrong with it, as Markdown in which nothing acts.
    pub command: Result<Command, String>,
}

/// The commands of a comment, in order. Only lines count that begin with [`PREFIX`]: not what is quoted, in a block of
/// code, hidden, or in the middle of a sentence.
#[must_use]
pub fn commands(text: &str) -> Vec<Asked> {
    let mut found = Vec::new();
    let mut lines = Lines::default();
    for line in text.lines() {
        let Some(written) = lines.shown(line).and_then(behind_prefix) else { continue };
        if found.len() == MOST_COMMANDS {
            let command = Err(format!("more than {MOST_COMMANDS} commands in one comment are not heard"));
            found.push(Asked { written: String::new(), command });
            break;
        }
        let kept = written[..written.floor_char_boundary(LONGEST_LINE)].to_owned();
        found.push(Asked { written: kept, command: Command::parse(written) });
    }
    found
}

/// What can be asked for, as Markdown.
#[must_use]
pub fn help() -> String {
    let line = |verb: Verb| {
        let (arguments, what) = verb.about();
        let arguments = if arguments.is_empty() { String::new() } else { format!(" {arguments}") };
        format!("- `{PREFIX} {}{arguments}` {what}", verb.as_str())
    };
    Verb::ALL.map(line).join("\n")
}

/// Where in a comment we are.
#[derive(Default)]
struct Lines {
    /// The sign and the length of what opened the block of code that we are in.
    fence: Option<(char, usize)>,
    /// What ends the piece of HTML that we are in.
    hidden: Option<&'static str>,
}

impl Lines {
    /// The line, if it is one that a reader sees as text.
    fn shown<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        if let Some(end) = self.hidden {
            let rest = line.find(end).map(|at| &line[at + end.len()..]);
            self.hidden = rest.map_or(Some(end), opens);
            return None;
        }
        let marks = unlisted(line);
        if let Some((sign, length)) = self.fence {
            let run = run_of(marks, sign);
            if run >= length && marks[run..].trim().is_empty() {
                self.fence = None;
            }
            return None;
        }
        let fence = ['`', '~'].map(|sign| (sign, run_of(marks, sign))).into_iter().find(|(_, length)| *length >= 3);
        // What stands in one line is a span of code.
        let fence = fence.filter(|(sign, length)| *sign == '~' || !marks[*length..].contains('`'));
        if fence.is_some() {
            self.fence = fence;
            return None;
        }
        self.hidden = opens(line);
        let indent = line.len() - line.trim_start_matches(' ').len();
        (indent < 4 && !line[indent..].starts_with('\t')).then(|| line.trim())
    }
}

/// What ends the comment or the preformatted text that is begun here and not ended.
fn opens(text: &str) -> Option<&'static str> {
    let mut rest = text;
    loop {
        let pieces = [("<!--", "-->"), ("<pre", "</pre>")].into_iter();
        let (at, begin, end) = pieces.filter_map(|(begin, end)| Some((rest.find(begin)?, begin, end))).min()?;
        let after = &rest[at + begin.len()..];
        match after.find(end) {
            Some(at) => rest = &after[at + end.len()..],
            None => return Some(end),
        }
    }
}

/// A line without its indentation and the signs of a list.
fn unlisted(line: &str) -> &str {
    let text = line.trim_start();
    let behind = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_numbered = behind.len() < text.len();
    let item = if is_numbered { behind.strip_prefix(['.', ')']) } else { text.strip_prefix(['-', '*', '+']) };
    item.filter(|rest| rest.starts_with([' ', '\t'])).map_or(text, str::trim_start)
}

fn run_of(text: &str, sign: char) -> usize {
    text.len() - text.trim_start_matches(sign).len()
}

fn behind_prefix(line: &str) -> Option<&str> {
    let (begin, rest) = line.split_at_checked(PREFIX.len())?;
    let is_one = begin.eq_ignore_ascii_case(PREFIX) && (rest.is_empty() || rest.starts_with(char::is_whitespace));
    is_one.then(|| rest.trim())
}

/// The first word, and what follows it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

fn because(text: &str) -> Option<String> {
    let reason: String = text.trim().chars().filter(|c| !c.is_control()).take(LONGEST_REASON).collect();
    let reason = reason.trim();
    (!reason.is_empty()).then(|| reason.to_owned())
}

fn unknown(word: &str) -> String {
    let meant = nearest(&word.to_ascii_lowercase(), Verb::ALL.map(Verb::as_str));
    let meant = meant.map_or_else(|| ".".to_owned(), |meant| format!("; did you mean `{meant}`?"));
    let all = Verb::ALL.map(|verb| format!("`{}`", verb.as_str())).join(", ");
    format!("there is no command {}{meant} There are {all}.", code(word))
}

#[cfg(test)]
mod tests;

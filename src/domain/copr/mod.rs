//! What COPR says of builds and their logs, and what follows from it.
//!
//! COPR tells of a build in states, and shows what it prints as a file on a web server, which grows, may begin anew,
//! and is packed in the end. Everything that can be decided about that without asking anybody is here.

pub mod lines;
pub mod pace;
pub mod tail;

use serde::{Deserialize, Serialize};

/// The state of a build, of one chroot of it, or of its source stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It failed.
    Failed,
    /// It succeeded.
    Succeeded,
    /// Somebody cancelled it.
    Canceled,
    /// It runs.
    Running,
    /// It waits for a builder.
    Pending,
    /// There was nothing to do.
    Skipped,
    /// A builder was found.
    Starting,
    /// The source package is taken over.
    Importing,
    /// It was taken over from another project.
    Forked,
    /// It waits for the source package.
    Waiting,
    /// One that we do not know; it is taken for one that passes.
    #[default]
    #[serde(other)]
    Unknown,
}

impl State {
    /// As COPR writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
            Self::Running => "running",
            Self::Pending => "pending",
            Self::Skipped => "skipped",
            Self::Starting => "starting",
            Self::Importing => "importing",
            Self::Forked => "forked",
            Self::Waiting => "waiting",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing follows it.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Failed | Self::Succeeded | Self::Canceled | Self::Skipped | Self::Forked)
    }

    /// Whether a builder is, or was, at work.
    #[must_use]
    pub const fn has_begun(self) -> bool {
        matches!(self, Self::Running | Self::Failed | Self::Succeeded)
    }

    /// Whether it ended as it should; only of terminal ones.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped | Self::Forked)
    }
}

/// A project: its owner, who is a person or `@group`, and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The owner.
    pub owner: String,
    /// The name.
    pub name: String,
}

impl Project {
    /// Reads `owner/name`; `None` if it is nothing like that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (owner, name) = text.split_once('/')?;
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
        let is_name = |text: &str| !text.is_empty() && text.chars().all(legal);
        let is_right = is_name(owner.strip_prefix('@').unwrap_or(owner)) && is_name(name);
        is_right.then(|| Self { owner: owner.to_owned(), name: name.to_owned() })
    }
}

impl std::fmt::Display for Project {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.owner, self.name)
    }
}

/// When logs are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// As they are written.
    Live,
    /// After the build, one after the other.
    After,
    /// Not at all.
    Never,
}

/// Bytes in a document: as base64.
pub mod as_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes them.
    ///
    /// # Errors
    /// What the serializer says.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    /// Reads them.
    ///
    /// # Errors
    /// If it is no base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(de::Error::custom)
    }
}

/// A name from COPR for the beginning of a line: nothing in it ends the line or steers a terminal, and it is short.
#[must_use]
pub fn label(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() && !"[]".contains(c) { c } else { '?' };
    name.chars().take(100).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [State; 11] = [
        State::Failed,
        State::Succeeded,
        State::Canceled,
        State::Running,
        State::Pending,
        State::Skipped,
        State::Starting,
        State::Importing,
        State::Forked,
        State::Waiting,
        State::Unknown,
    ];

    #[test]
    fn every_state_is_read_as_it_is_written_and_a_new_one_passes() {
        for state in ALL {
            let read: State = serde_json::from_value(state.as_str().into()).expect("a state");
            assert_eq!(read, state);
        }
        let new: State = serde_json::from_str("\"levitating\"").expect("a state");
        assert_eq!((new, new.is_terminal()), (State::Unknown, false));
    }

    #[test]
    fn five_states_are_terminal_and_three_of_them_are_good() {
        let terminal: Vec<_> = ALL.iter().filter(|state| state.is_terminal()).map(|state| state.as_str()).collect();
        assert_eq!(terminal, ["failed", "succeeded", "canceled", "skipped", "forked"]);
        let good: Vec<_> = ALL.iter().filter(|state| state.is_good()).map(|state| state.as_str()).collect();
        assert_eq!(good, ["succeeded", "skipped", "forked"]);
    }

    #[test]
    fn a_project_has_an_owner_and_a_name() {
        let project = |text: &str| Project::parse(text).map(|project| project.to_string());
        assert_eq!(project("me/tools").as_deref(), Some("me/tools"));
        assert_eq!(project("@team/tools-2.x").as_deref(), Some("@team/tools-2.x"));
        for wrong in ["tools", "/tools", "me/", "me/a/b", "me/a b", "me/../x", "@/x", "me/a?x=1"] {
            assert_eq!(project(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_label_cannot_end_its_line() {
        assert_eq!(label("fedora-42-x86_64"), "fedora-42-x86_64");
        assert_eq!(label("a\n::b] \u{1b}"), "a?::b???");
        assert_eq!(label(&"x".repeat(500)).len(), 100);
    }
}

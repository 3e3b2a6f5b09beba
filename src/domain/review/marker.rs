//! What is hidden in the text of a review, by which it is known again.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::group::GroupName;
use crate::domain::name::PkgBase;

const BEGIN: &str = "<!-- pkgwarden-review ";
const END: &str = " -->";

/// What a review is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// The update of one package.
    Package(PkgBase),
    /// All updates of a group that wait.
    Group(GroupName),
}

impl About {
    /// The branch that such a review proposes.
    #[must_use]
    pub fn branch(&self) -> String {
        match self {
            Self::Package(pkgbase) => pkgbase.review_branch(),
            Self::Group(name) => name.branch(),
        }
    }
}

/// What is hidden in the text of a review: forges do not show it to readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The package or group.
    pub about: About,
    /// Digest of the files that are proposed, without the monorepo's own.
    pub content: String,
    /// Digest of all that the review should have: as long as it is the same, people may change the text.
    pub text: String,
    /// Whether people were told that it cannot be merged as it is.
    pub conflict: bool,
}

impl Marker {
    /// The one that a text holds; of several the last, which is where we write it.
    #[must_use]
    pub fn find(body: &str) -> Option<Self> {
        body.lines().rev().find_map(|line| Self::parse(line.trim()))
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix(BEGIN)?.strip_suffix(END)?.split(' ');
        let about = match words.next()?.split_once('=')? {
            ("package", name) => About::Package(PkgBase::new(name).ok()?),
            ("group", name) => About::Group(GroupName::new(name).ok()?),
            _ => return None,
        };
        let mut value = |key: &str| words.next()?.strip_prefix(key)?.strip_prefix('=');
        Some(Self {
            about,
            content: value("content")?.to_owned(),
            text: value("text")?.to_owned(),
            conflict: value("conflict")? == "yes",
        })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { about, content, text, conflict } = self;
        let conflict = if *conflict { "yes" } else { "no" };
        let about = match about {
            About::Package(pkgbase) => format!("package={pkgbase}"),
            About::Group(name) => format!("group={name}"),
        };
        write!(f, "{BEGIN}{about} content={content} text={text} conflict={conflict}{END}")
    }
}

/// A short digest of texts, in hexadecimal.
#[must_use]
pub fn digest<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().iter().take(8).fold(String::with_capacity(16), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back_whatever_a_forge_does_to_line_ends() {
        let about = About::Package(PkgBase::new("lib++.x_@1").expect("legal"));
        let group = About::Group(GroupName::new("plasma-6").expect("legal"));
        let of_group = Marker { about: group, content: "c".into(), text: "t".into(), conflict: false };
        assert_eq!(Marker::find(&of_group.to_string()), Some(of_group));
        let marker = Marker { about, content: "c".repeat(64), text: digest(["a", "b"]), conflict: true };
        for body in [format!("text\n\n{marker}"), format!("text\r\n{marker}\r\n"), format!("{marker}\nedited")] {
            assert_eq!(Marker::find(&body), Some(marker.clone()), "{body}");
        }
        let earlier = format!("{}\n{marker}", Marker { conflict: false, ..marker.clone() });
        assert_eq!(Marker::find(&earlier), Some(marker), "the last counts");
    }

    #[test]
    fn what_is_no_marker_says_nothing() {
        for body in [
            "",
            "<!-- pkgwarden-review -->",
            "<!-- pkgwarden-review package=../x content=1 text=2 conflict=no -->",
            "<!-- pkgwarden-review maker=x content=1 text=2 conflict=no -->",
        ] {
            assert_eq!(Marker::find(body), None, "{body}");
        }
        assert_ne!(digest(["ab"]), digest(["a", "b"]));
    }
}

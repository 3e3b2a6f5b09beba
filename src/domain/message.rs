//! Commit messages that the program writes, as values.

use super::name::PkgBase;

/// One package in a commit, and why it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The package.
    pub pkgbase: PkgBase,
    /// Why, in a few words: `1.0-1 -> 1.1-1`.
    pub reason: String,
}

/// What a commit does, as the habit of the field has it in front of the colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Updates from the sources of packages.
    Update,
    /// Raised bumps.
    Bump,
    /// Packages that are new.
    Add,
    /// Packages that are gone.
    Drop,
}

impl Topic {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Update => "chore(update)",
            Self::Bump => "chore(bump)",
            Self::Add => "feat(add)",
            Self::Drop => "chore(drop)",
        }
    }
}

/// How many names fit into a subject.
const NAMES_IN_SUBJECT: usize = 4;

/// `chore(update): a, b`, or `chore(update): packages (N)` for more than four; each package with its
/// reason in the body.
#[must_use]
pub fn commit(topic: Topic, entries: &[Entry]) -> String {
    let names: Vec<&str> = entries.iter().map(|entry| entry.pkgbase.as_str()).collect();
    let subject = if names.len() <= NAMES_IN_SUBJECT {
        format!("{}: {}", topic.prefix(), names.join(", "))
    } else {
        format!("{}: packages ({})", topic.prefix(), names.len())
    };
    let body: Vec<String> = entries.iter().map(|entry| format!("- {}: {}", entry.pkgbase, entry.reason)).collect();
    format!("{subject}\n\n{}\n", body.join("\n"))
}

/// The entries of a message that [`commit`] wrote for this topic; `None` if it is somebody else's.
#[must_use]
pub fn entries_of(topic: Topic, message: &str) -> Option<Vec<Entry>> {
    let (subject, body) = message.split_once("\n\n")?;
    subject.strip_prefix(topic.prefix())?.strip_prefix(": ")?;
    body.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (name, reason) = line.strip_prefix("- ")?.split_once(": ")?;
            Some(Entry { pkgbase: PkgBase::new(name).ok()?, reason: reason.to_owned() })
        })
        .collect()
}

/// The message of a review branch's commit.
#[must_use]
pub fn review(entry: &Entry, reasons: &[String]) -> String {
    let reasons: Vec<String> = reasons.iter().map(|reason| format!("- {reason}")).collect();
    format!("chore(update): {}\n\n{}\n\nNeeds a person because:\n{}\n", entry.pkgbase, entry.reason, reasons.join("\n"))
}

/// The message of the commit that merges an approved review.
#[must_use]
pub fn approved(entry: &Entry) -> String {
    commit(Topic::Update, std::slice::from_ref(entry))
}

/// The message of a commit of the `state` branch, as Chaotic's scripts write it.
pub const STATE: &str = "chore(state): update state\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        Entry { pkgbase: PkgBase::new(name).expect("legal"), reason: "1.0-1 -> 1.1-1".into() }
    }

    #[test]
    fn up_to_four_names_stand_in_the_subject() {
        let four: Vec<_> = ["a", "b", "c", "d"].map(entry).into();
        assert!(commit(Topic::Update, &four).starts_with("chore(update): a, b, c, d\n\n- a: 1.0-1 -> 1.1-1\n"));
        let five: Vec<_> = ["a", "b", "c", "d", "e"].map(entry).into();
        assert!(commit(Topic::Update, &five).starts_with("chore(update): packages (5)\n\n- a: "));
    }

    #[test]
    fn our_own_messages_are_recognised_and_others_are_not() {
        let entries: Vec<_> = ["a", "c++"].map(entry).into();
        assert_eq!(entries_of(Topic::Update, &commit(Topic::Update, &entries)), Some(entries));
        assert_eq!(entries_of(Topic::Update, "chore(update): a\n"), None);
        assert_eq!(entries_of(Topic::Update, "fix(a): b\n\n- a: b\n"), None);
        assert_eq!(entries_of(Topic::Update, "chore(update): a\n\nby hand, because of this: that\n"), None);
    }
}

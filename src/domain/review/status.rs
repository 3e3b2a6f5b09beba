//! What a forge is told of builds beside the commit that is built.

use std::collections::BTreeSet;

use super::Vote;
use super::policy::StatusPolicy;
use crate::domain::build::BuildState;
use crate::domain::classify::text::shown;
use crate::domain::name::PkgBase;

/// The context of the line for all builds of a run.
pub const TOGETHER: &str = "pkgwarden/builds";
/// The context of what the gate says of a proposal.
pub const GATE: &str = "pkgwarden/gate";
/// The context of the test builds of a proposal.
pub const TRIAL: &str = "pkgwarden/build";

/// How a forge is told of the builds of a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Told {
    /// Of each package by itself.
    Each,
    /// Of all in one line.
    Together,
}

impl Told {
    /// How a wave of so many packages is told; `None` if it is not.
    #[must_use]
    pub fn of(policy: StatusPolicy, packages: usize) -> Option<Self> {
        let one = if packages <= policy.per_commit { Self::Each } else { Self::Together };
        policy.builds.then_some(one)
    }
}

/// The context of the builds of one package. No package has a slash in its name.
#[must_use]
pub fn context(pkgbase: &PkgBase) -> String {
    let plain = format!("pkgwarden/{pkgbase}");
    let is_taken = [TOGETHER, GATE, TRIAL].contains(&plain.as_str());
    if is_taken { format!("pkgwarden/packages/{pkgbase}") } else { plain }
}

/// How one build stands, and in a few words.
#[must_use]
pub fn of_build(state: BuildState, message: Option<&str>) -> (Vote, String) {
    use BuildState as S;
    let (vote, words) = match state {
        S::Waiting => (Vote::Pending, "It waits for what it needs"),
        S::Blocked => (Vote::Pending, "It waits for a package that could not be built"),
        S::Ready => (Vote::Pending, "It is queued"),
        S::Dispatched | S::Running => (Vote::Pending, "It is being built"),
        S::Succeeded => (Vote::Success, "It is built and published"),
        S::AlreadyBuilt => (Vote::Success, "This version is published already"),
        S::Skipped => (Vote::Success, "There is nothing to build"),
        S::Superseded => (Vote::Success, "A newer build takes its place"),
        S::Failed => (Vote::Failure, "It does not build"),
        S::TimedOut => (Vote::Failure, "It took too long"),
        S::Cancelled => (Vote::Failure, "It was cancelled"),
        S::Lost => (Vote::Failure, "It could not be built, through no fault of its own"),
    };
    let why = message.filter(|why| vote == Vote::Failure && !why.is_empty());
    let why = why.map(|why| format!(": {}", shown(why.as_bytes()))).unwrap_or_default();
    (vote, format!("{words}{why}"))
}

/// How many builds stand together, and in a few words.
#[must_use]
pub fn together(builds: &[(PkgBase, BuildState)]) -> (Vote, String) {
    let votes: Vec<(&PkgBase, Vote)> = builds.iter().map(|(name, state)| (name, of_build(*state, None).0)).collect();
    let of = |wanted: Vote| votes.iter().filter(|(_, vote)| *vote == wanted).count();
    let (pending, good) = (of(Vote::Pending), of(Vote::Success));
    let bad: BTreeSet<&str> =
        votes.iter().filter(|(_, vote)| *vote == Vote::Failure).map(|(name, _)| name.as_str()).collect();
    let vote = match (pending, bad.is_empty()) {
        (1.., _) => Vote::Pending,
        (0, true) => Vote::Success,
        (0, false) => Vote::Failure,
    };
    let mut parts = Vec::new();
    if pending > 0 {
        parts.push(format!("{pending} to come"));
    }
    if good > 0 {
        parts.push(format!("{good} good"));
    }
    if !bad.is_empty() {
        let names: Vec<&str> = bad.iter().copied().collect();
        parts.push(format!("{} failed ({})", names.len(), names.join(", ")));
    }
    (vote, format!("{} packages: {}", builds.len(), parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PkgBase {
        PkgBase::new(text).expect("legal")
    }

    #[test]
    fn every_end_of_a_build_is_a_vote_and_nothing_else_is() {
        for state in BuildState::ALL {
            let (vote, words) = of_build(state, Some("make\u{1b}[2J: Error 2"));
            assert_eq!(vote != Vote::Pending, state.is_final(), "{state:?}");
            assert!(!words.contains('\u{1b}'), "{words}");
        }
        let failed = of_build(BuildState::Failed, Some("no such file\n"));
        assert_eq!(failed, (Vote::Failure, r"It does not build: no such file\n".to_owned()));
    }

    #[test]
    fn many_builds_are_one_line_that_fails_only_when_all_have_ended() {
        let states = |ends: [BuildState; 3]| {
            let builds: Vec<_> = ["a", "b", "c"].map(name).into_iter().zip(ends).collect();
            together(&builds)
        };
        let (failed, good, ready) = (BuildState::Failed, BuildState::Succeeded, BuildState::Ready);
        let line = |vote, text: &str| (vote, text.to_owned());
        assert_eq!(states([good, failed, ready]), line(Vote::Pending, "3 packages: 1 to come, 1 good, 1 failed (b)"));
        assert_eq!(states([good, failed, failed]), line(Vote::Failure, "3 packages: 1 good, 2 failed (b, c)"));
        assert_eq!(states([good, good, good]), line(Vote::Success, "3 packages: 3 good"));
    }

    #[test]
    fn few_packages_have_a_line_each_and_no_name_takes_that_of_a_check() {
        let policy = StatusPolicy { builds: true, per_commit: 2 };
        let told = [1, 2, 3].map(|packages| Told::of(policy, packages));
        assert_eq!(told, [Some(Told::Each), Some(Told::Each), Some(Told::Together)]);
        assert_eq!(Told::of(StatusPolicy { builds: false, per_commit: 2 }, 1), None);
        assert_eq!(context(&name("foo")), "pkgwarden/foo");
        assert_eq!(["gate", "build", "builds"].map(|it| context(&name(it))).map(|it| it.matches('/').count()), [2; 3]);
    }
}

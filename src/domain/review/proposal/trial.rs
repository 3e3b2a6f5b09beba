//! Test builds of a proposal: which goes next, and what all of them say together.

use serde::Serialize;

use super::super::Vote;
use crate::domain::classify::text::shown;
use crate::domain::name::PkgBase;

/// Where a test build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrialState {
    /// It waits for its turn.
    Waiting,
    /// It runs.
    Running,
    /// It builds.
    Succeeded,
    /// It does not.
    Failed,
    /// Nobody wants it any more.
    Cancelled,
    /// It could not be told, through no fault of its own.
    Lost,
}

impl TrialState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled, Self::Lost];

    /// The word used in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }

    /// The state that [`TrialState::as_str`] gave a word for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

/// One test build, as far as others of its proposal have to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The package.
    pub pkgbase: PkgBase,
    /// What of the same proposal has to be built before.
    pub after: Vec<PkgBase>,
    /// Where it stands.
    pub state: TrialState,
    /// What there is to say about its end.
    pub message: Option<String>,
}

/// What a test build that waits does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is built.
    Build,
    /// It waits.
    Wait,
    /// It ends without being built.
    End(TrialState, String),
}

/// What `part` does next, seeing how the others of its proposal stand. One is built at a time: they install from each
/// other.
#[must_use]
pub fn next(part: &Part, all: &[Part]) -> Step {
    let needed = || all.iter().filter(|other| part.after.contains(&other.pkgbase));
    for state in [TrialState::Failed, TrialState::Lost, TrialState::Cancelled] {
        if let Some(bad) = needed().find(|other| other.state == state) {
            return Step::End(state, format!("it needs {}, which could not be built", bad.pkgbase));
        }
    }
    let must_wait = needed().any(|other| !other.state.is_final());
    let is_busy = all.iter().any(|other| other.state == TrialState::Running);
    if must_wait || is_busy { Step::Wait } else { Step::Build }
}

/// What all test builds of a proposal say together. What could not be told says nothing: the vote stays open.
#[must_use]
pub fn vote(parts: &[Part]) -> (Vote, String) {
    let of = |wanted: TrialState| parts.iter().filter(move |part| part.state == wanted);
    let open = parts.iter().filter(|part| !part.state.is_final()).count();
    let many = if parts.len() == 1 { "1 package".to_owned() } else { format!("{} packages", parts.len()) };
    if open > 0 {
        return (Vote::Pending, format!("{} of {many} built for a test", parts.len() - open));
    }
    if let Some(bad) = of(TrialState::Failed).next() {
        let why = shown(bad.message.as_deref().unwrap_or_default().as_bytes());
        let why = if why.is_empty() { why } else { format!(": {why}") };
        let more = match of(TrialState::Failed).count() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        return (Vote::Failure, format!("{}{more} did not build{why}", bad.pkgbase));
    }
    if of(TrialState::Lost).chain(of(TrialState::Cancelled)).next().is_some() {
        return (Vote::Pending, "It could not be built here, which says nothing about it".to_owned());
    }
    (Vote::Success, format!("{many} built for a test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts written as `a`, or `b:a` (b after a), each with its state.
    fn parts(written: &[(&str, TrialState)]) -> Vec<Part> {
        let name = |text: &str| PkgBase::new(text).expect("legal");
        let part = |(written, state): &(&str, TrialState)| {
            let (pkgbase, after) = written.split_once(':').unwrap_or((written, ""));
            let after = after.split(',').filter(|it| !it.is_empty()).map(name).collect();
            Part { pkgbase: name(pkgbase), after, state: *state, message: Some("no\tway".to_owned()) }
        };
        written.iter().map(part).collect()
    }

    fn last(written: &[(&str, TrialState)]) -> Step {
        let parts = parts(written);
        next(parts.last().expect("one"), &parts)
    }

    #[test]
    fn one_is_built_at_a_time_and_after_what_it_needs() {
        use TrialState::{Failed, Lost, Running, Succeeded, Waiting};
        assert_eq!(last(&[("a", Waiting), ("b:a", Waiting)]), Step::Wait);
        assert_eq!(last(&[("a", Running), ("b", Waiting)]), Step::Wait);
        assert_eq!(last(&[("a", Succeeded), ("b:a", Waiting)]), Step::Build);
        assert_eq!(last(&[("a", Failed), ("b", Waiting)]), Step::Build);
        let end = |state| Step::End(state, "it needs a, which could not be built".to_owned());
        assert_eq!(last(&[("a", Failed), ("b:a", Waiting)]), end(Failed));
        assert_eq!(last(&[("a", Lost), ("b:a", Waiting)]), end(Lost));
    }

    #[test]
    fn only_what_was_built_to_its_end_is_voted_about() {
        use TrialState::{Cancelled, Failed, Lost, Running, Succeeded};
        let told = |written: &[(&str, TrialState)]| {
            let (vote, words) = vote(&parts(written));
            format!("{vote:?}: {words}")
        };
        assert_eq!(told(&[("a", Succeeded), ("b", Running)]), "Pending: 1 of 2 packages built for a test");
        assert_eq!(told(&[("a", Succeeded)]), "Success: 1 package built for a test");
        assert_eq!(told(&[("a", Failed), ("b:a", Failed)]), r"Failure: a and 1 more did not build: no\tway");
        assert_eq!(told(&[("a", Failed), ("b", Lost)]), r"Failure: a did not build: no\tway");
        for nothing in [Lost, Cancelled] {
            assert!(told(&[("a", Succeeded), ("b", nothing)]).starts_with("Pending: It could not be built here"));
        }
    }

    #[test]
    fn every_state_is_found_again_by_its_word() {
        for state in TrialState::ALL {
            assert_eq!(TrialState::from_word(state.as_str()), Some(state));
        }
    }
}

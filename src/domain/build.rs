//! Builds: their states and the one function that moves between them.

use serde::{Deserialize, Serialize};

use super::name::{Oid, PkgBase};
use super::review::status::Told;
use super::schedule::Lane;

/// Why a package is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildReason {
    /// Its folder changed.
    Changed,
    /// A commit message asked for it.
    Directive,
    /// A person asked for it.
    Deploy,
    /// Its trigger fired.
    Trigger,
    /// Upstream has new commits.
    Upstream,
    /// Its bump was raised.
    Bump,
    /// Something it needs changed.
    Rebuild,
}

impl BuildReason {
    /// The word used in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Directive => "directive",
            Self::Deploy => "deploy",
            Self::Trigger => "trigger",
            Self::Upstream => "upstream",
            Self::Bump => "bump",
            Self::Rebuild => "rebuild",
        }
    }
}

/// Where a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildState {
    /// Something it needs is not built yet.
    Waiting,
    /// Something it needs has failed in the same wave.
    Blocked,
    /// It may be handed to an executor.
    Ready,
    /// An executor has it.
    Dispatched,
    /// It runs.
    Running,
    /// Built and published.
    Succeeded,
    /// The package does not build.
    Failed,
    /// It took too long.
    TimedOut,
    /// A person stopped it.
    Cancelled,
    /// A newer request took its place.
    Superseded,
    /// This version is published already.
    AlreadyBuilt,
    /// The package itself said that there is nothing to do.
    Skipped,
    /// Whoever ran it vanished, and the attempts are used up.
    Lost,
}

/// What happens to a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildEvent {
    /// Everything it needs is there.
    DependenciesMet,
    /// Something it needs has failed.
    DependencyFailed,
    /// What had failed is being built again.
    DependencyRetried,
    /// An executor took it.
    Submitted,
    /// The executor began.
    Started,
    /// It ended so.
    Ended(Outcome),
    /// An attempt ended through no fault of the package, and another is allowed.
    AttemptLost,
    /// A person stopped it.
    Cancel,
    /// A newer request took its place.
    Supersede,
    /// A person asks for another try.
    Retry,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Artefacts are there.
    Succeeded,
    /// This version is published already.
    AlreadyBuilt,
    /// The package said that there is nothing to do.
    Skipped,
    /// The package does not build.
    Failed,
    /// It took too long.
    TimedOut,
    /// It was stopped.
    Cancelled,
    /// The infrastructure failed, and no attempts are left.
    Lost,
}

impl Outcome {
    /// The word used in output and in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::AlreadyBuilt => "already_built",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

/// An event that makes no sense in a state: a defect of the caller, a message that came late, or a wish that a
/// person cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.words())]
pub struct IllegalTransition {
    /// Where the build stands.
    pub state: BuildState,
    /// What was said to have happened.
    pub event: BuildEvent,
}

impl IllegalTransition {
    fn words(&self) -> String {
        let state = self.state.as_str().replace('_', " ");
        match self.event {
            BuildEvent::Retry if self.state.is_final() => {
                format!("the build has ended: {state}; there is nothing to retry")
            }
            BuildEvent::Retry => format!("the build has not ended: {state}; only one that has ended can be retried"),
            BuildEvent::Cancel => format!("the build has ended already: {state}"),
            event => format!("a build that is {state} cannot take {event:?}"),
        }
    }

    /// What a person can do in place of it; empty if there is nothing sensible to say.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self.event {
            BuildEvent::Retry if self.state.is_final() => "`pkgwarden ctl deploy PKG` builds the package anew",
            BuildEvent::Retry => "`pkgwarden ctl cancel ID` stops it",
            BuildEvent::Cancel => "`pkgwarden ctl queue` shows what has not ended",
            _ => "",
        }
    }
}

impl BuildState {
    /// Every state.
    pub const ALL: [Self; 13] = [
        Self::Waiting,
        Self::Blocked,
        Self::Ready,
        Self::Dispatched,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Superseded,
        Self::AlreadyBuilt,
        Self::Skipped,
        Self::Lost,
    ];

    /// Whether nothing more happens by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Waiting | Self::Blocked | Self::Ready | Self::Dispatched | Self::Running => false,
            Self::Succeeded
            | Self::Failed
            | Self::TimedOut
            | Self::Cancelled
            | Self::Superseded
            | Self::AlreadyBuilt
            | Self::Skipped
            | Self::Lost => true,
        }
    }

    /// Whether an executor is busy with it.
    #[must_use]
    pub const fn is_underway(self) -> bool {
        matches!(self, Self::Dispatched | Self::Running)
    }

    /// Whether what depends on it may be built now.
    #[must_use]
    pub const fn satisfies_dependants(self) -> bool {
        matches!(self, Self::Succeeded | Self::AlreadyBuilt | Self::Skipped)
    }

    /// Whether what depends on it has to wait until somebody acts.
    #[must_use]
    pub const fn blocks_dependants(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::Cancelled | Self::Lost | Self::Blocked)
    }

    /// The state after an event: the only place where states change.
    ///
    /// # Errors
    /// [`IllegalTransition`] if the event makes no sense in this state.
    pub fn after(self, event: BuildEvent) -> Result<Self, IllegalTransition> {
        use BuildEvent as E;
        let next = match (self, event) {
            (Self::Waiting | Self::Blocked, E::DependenciesMet) => Some(Self::Ready),
            (Self::Waiting | Self::Ready, E::DependencyFailed) => Some(Self::Blocked),
            (Self::Blocked | Self::Ready, E::DependencyRetried) => Some(Self::Waiting),
            (Self::Ready, E::Submitted) => Some(Self::Dispatched),
            (Self::Dispatched, E::Started) => Some(Self::Running),
            (Self::Dispatched | Self::Running, E::Ended(outcome)) => Some(outcome.into()),
            (Self::Dispatched | Self::Running, E::AttemptLost) => Some(Self::Ready),
            (state, E::Cancel) if !state.is_final() => Some(Self::Cancelled),
            (state, E::Supersede) if !state.is_final() => Some(Self::Superseded),
            (
                Self::Failed | Self::TimedOut | Self::Cancelled | Self::Lost | Self::Skipped | Self::AlreadyBuilt,
                E::Retry,
            ) => Some(Self::Waiting),
            _ => None,
        };
        next.ok_or(IllegalTransition { state: self, event })
    }

    /// The word used in output and in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Ready => "ready",
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::AlreadyBuilt => "already_built",
            Self::Skipped => "skipped",
            Self::Lost => "lost",
        }
    }

    /// The state that [`BuildState::as_str`] gave a word for.
    #[must_use]
    pub fn from_str_exact(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl From<Outcome> for BuildState {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::AlreadyBuilt => Self::AlreadyBuilt,
            Outcome::Skipped => Self::Skipped,
            Outcome::Failed => Self::Failed,
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Lost => Self::Lost,
        }
    }
}

/// A build somebody wants: what a plan asks the queue for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRequest {
    /// What to build.
    pub pkgbase: PkgBase,
    /// The architecture to build for.
    pub arch: String,
    /// The class asked for.
    pub class: Option<super::policy::BuildClass>,
    /// Why.
    pub reason: BuildReason,
    /// How urgent it is.
    #[serde(default)]
    pub lane: Lane,
    /// The packages of the same wave that have to be built before, also through packages that are not
    /// in it.
    pub after: Vec<PkgBase>,
    /// What it needs of the repository outside the wave, also through others outside it: if one of them
    /// is in the queue already, it is waited for.
    #[serde(default)]
    pub needs: Vec<PkgBase>,
}

/// A wave: builds that one run asks for together, at one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// The repository.
    pub repository: String,
    /// The commit of the monorepo that is built.
    pub commit: Oid,
    /// What to build.
    pub builds: Vec<BuildRequest>,
    /// Packages that left the monorepo and have to leave the published repository.
    pub remove: Vec<PkgBase>,
    /// Packages whose builds are stopped, because they are held by a quarantine.
    #[serde(default)]
    pub stop: Vec<PkgBase>,
    /// How a forge is told of its builds; `None` if it is not.
    #[serde(default)]
    pub told: Option<Told>,
    /// The pipeline of GitLab by which it came, if it came so.
    #[serde(default)]
    pub pipeline: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_walks_from_waiting_to_succeeded() {
        let mut state = BuildState::Waiting;
        for event in [
            BuildEvent::DependenciesMet,
            BuildEvent::Submitted,
            BuildEvent::Started,
            BuildEvent::Ended(Outcome::Succeeded),
        ] {
            state = state.after(event).expect("legal");
        }
        assert_eq!(state, BuildState::Succeeded);
    }

    #[test]
    fn a_blocked_build_is_released_when_its_dependency_is_built_after_all() {
        let blocked = BuildState::Waiting.after(BuildEvent::DependencyFailed).expect("legal");
        assert_eq!(blocked, BuildState::Blocked);
        assert_eq!(blocked.after(BuildEvent::DependenciesMet), Ok(BuildState::Ready));
    }

    #[test]
    fn nothing_but_a_retry_moves_a_finished_build() {
        for state in BuildState::ALL.into_iter().filter(|state| state.is_final()) {
            for event in [
                BuildEvent::Submitted,
                BuildEvent::Started,
                BuildEvent::Cancel,
                BuildEvent::Supersede,
                BuildEvent::DependenciesMet,
            ] {
                assert!(state.after(event).is_err(), "{state:?} {event:?}");
            }
        }
        assert!(BuildState::Succeeded.after(BuildEvent::Retry).is_err());
    }

    #[test]
    fn what_a_person_cannot_have_is_said_in_words_with_what_can_be_done() {
        let said = |state: BuildState, event| state.after(event).map_err(|error| format!("{error}; {}", error.hint()));
        let said = |state, event| said(state, event).expect_err("illegal");
        insta::assert_snapshot!(said(BuildState::Succeeded, BuildEvent::Retry), @"the build has ended: succeeded; there is nothing to retry; `pkgwarden ctl deploy PKG` builds the package anew");
        insta::assert_snapshot!(said(BuildState::Running, BuildEvent::Retry), @"the build has not ended: running; only one that has ended can be retried; `pkgwarden ctl cancel ID` stops it");
        insta::assert_snapshot!(said(BuildState::TimedOut, BuildEvent::Cancel), @"the build has ended already: timed out; `pkgwarden ctl queue` shows what has not ended");
    }

    #[test]
    fn every_state_is_found_again_by_its_word() {
        for state in BuildState::ALL {
            assert_eq!(BuildState::from_str_exact(state.as_str()), Some(state));
        }
    }
}

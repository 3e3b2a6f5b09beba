//! The on-schedule part of a plan that is about no files: who may push to packages, and what they are built from.

use jiff::Timestamp;
use serde::Serialize;

use super::{Action, Draft, Heard};
use crate::domain::build::BuildReason;
use crate::domain::finding::Finding;
use crate::domain::name::PkgBase;
use crate::domain::observed::{Opinion, Upstream};
use crate::domain::revision::{Revision, Seen};
use crate::domain::state::PackageState;

/// Where what a package is built from stood when it was last handed to a build, and where it stands: what a build that
/// nobody asked for was decided by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// Who decided.
    pub by: Judge,
    /// Where its floating sources stood; null for one that was never seen.
    pub before: Vec<Option<Revision>>,
    /// Where they stand; null for one that could not be asked.
    pub after: Vec<Option<Revision>>,
    /// What its own script saw then.
    pub seen_before: Option<Seen>,
    /// What it sees now.
    pub seen_after: Option<Seen>,
}

/// Who decides whether what a package is built from has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Judge {
    /// Its floating sources are elsewhere than before.
    Revisions,
    /// Its `.CI/changed.sh`.
    Script,
}

impl Draft<'_> {
    /// Tells once of each change of who may push, whether there is an update or not.
    pub(super) fn tell_handovers(&mut self) {
        for (pkgbase, now) in &self.inputs.observations.keepers {
            let mut state = self.state(pkgbase);
            let Some(before) = state.told_keepers().filter(|before| before.people() != now.people()) else { continue };
            for handover in now.handovers_since(&before) {
                let finding = Finding::warning("keepers-changed", handover.to_string()).with_package(pkgbase);
                let newcomers = state.keepers().is_some_and(|merged| now.newcomers_since(&merged).is_some());
                let hint = if newcomers { "its next update waits for a person" } else { "nothing has to be done" };
                self.problems.push(finding.hint(hint));
            }
            state.set_told_keepers(now);
            self.put_state(pkgbase, state);
        }
    }

    /// Builds packages whose upstream has moved since they were last handed to a build.
    pub(super) fn follow_upstreams(&mut self) {
        let (observations, packages) = (self.inputs.observations, &self.inputs.snapshot.packages);
        for (pkgbase, opinion) in &observations.opinions {
            self.follow_script(pkgbase, opinion);
        }
        for (pkgbase, upstream) in &observations.upstream {
            if packages.get(pkgbase).is_some_and(|package| package.decides_itself()) {
                continue;
            }
            match upstream {
                Upstream::At(commits) if commits.is_empty() => {}
                Upstream::At(commits) => {
                    let seen: Vec<_> = commits.iter().cloned().map(Some).collect();
                    self.upstream_at(pkgbase, &seen, None);
                }
                Upstream::Partly { seen, error, retry_at } => {
                    let (of, unknown) = (seen.len(), seen.iter().filter(|seen| seen.is_none()).count());
                    let told = format!("{error} ({unknown} of its {of} upstreams not known)");
                    self.tell_unknown(pkgbase, &told, *retry_at);
                    self.upstream_at(pkgbase, seen, Some(&told));
                }
                Upstream::Unknown { error, retry_at } => {
                    self.tell_unknown(pkgbase, error, *retry_at);
                    self.upstream_unknown(pkgbase, error);
                }
            }
        }
    }

    fn tell_unknown(&mut self, pkgbase: &PkgBase, error: &str, retry_at: Option<Timestamp>) {
        let finding = Finding::warning("upstream-unknown", error).with_package(pkgbase);
        self.problems.push(finding.hint(asked_again(retry_at)));
    }

    /// A package of whose sources not all could be asked is not current.
    fn upstream_unknown(&mut self, pkgbase: &PkgBase, error: &str) {
        let decided = self.packages.get(pkgbase).map(|decision| (decision.observation, decision.action));
        if let None | Some((Heard::Current, _)) = decided {
            self.decide(pkgbase, Heard::Unknown, decided.map_or(Action::None, |(_, action)| action), error);
        }
    }

    /// What is known to have moved is built, whatever is not known beside it. That keeps its place, so that its
    /// commits are found when it answers again.
    fn upstream_at(&mut self, pkgbase: &PkgBase, seen: &[Option<Revision>], unknown: Option<&str>) {
        let mut state = self.state(pkgbase);
        let before = state.upstream();
        let after = moved_on(&before, seen);
        if before == after {
            match unknown {
                Some(error) => self.upstream_unknown(pkgbase, error),
                None => self.decide_unless_decided(pkgbase, Action::None, "its upstream has no new commits"),
            }
            return;
        }
        state.set_upstream(&after);
        self.note_watched(pkgbase, Judge::Revisions, &state);
        self.put_state(pkgbase, state);
        self.want_unless_triggered(pkgbase, BuildReason::Upstream);
        let first = before.is_empty();
        let why = if first { "its upstream is seen for the first time" } else { "its upstream has new commits" };
        let why = unknown.map_or_else(|| why.to_owned(), |error| format!("{why}, though {error}"));
        if self.packages.get(pkgbase).is_none_or(|decision| matches!(decision.action, Action::None | Action::State)) {
            self.decide(pkgbase, Heard::Changed, Action::State, &why);
        }
    }
}

impl Draft<'_> {
    /// Builds a package if its own script says so. What upstream commits there are is recorded with a build only, so
    /// that the script is always told where they stood when it last had one.
    fn follow_script(&mut self, pkgbase: &PkgBase, opinion: &Opinion) {
        match opinion {
            Opinion::Build { seen } => {
                let mut state = self.state(pkgbase);
                let now = self.inputs.observations.upstream.get(pkgbase).map(Upstream::seen).unwrap_or_default();
                state.set_upstream(&moved_on(&state.upstream(), &now));
                state.set_seen(seen.as_ref());
                let moved = state != self.state(pkgbase);
                self.note_watched(pkgbase, Judge::Script, &state);
                self.put_state(pkgbase, state);
                self.want_unless_triggered(pkgbase, BuildReason::Upstream);
                let why = "its .CI/changed.sh says that it has to be built";
                let taken = |action| matches!(action, Action::None | Action::State);
                if self.packages.get(pkgbase).is_none_or(|decision| taken(decision.action)) {
                    let action = if moved { Action::State } else { Action::None };
                    self.decide(pkgbase, Heard::Changed, action, why);
                }
            }
            Opinion::Unchanged => {
                let why = "its .CI/changed.sh says that nothing has changed";
                self.decide_unless_decided(pkgbase, Action::None, why);
            }
            Opinion::None { error } => {
                let finding = Finding::warning("changed-script-failed", error).with_package(pkgbase);
                self.problems.push(finding.hint("nothing is built for it; it is run again in the next run"));
                self.upstream_unknown(pkgbase, error);
            }
        }
    }

    /// Notes what a build is decided by, before the state after it is put.
    fn note_watched(&mut self, pkgbase: &PkgBase, by: Judge, after: &PackageState) {
        let before = self.inputs.snapshot.states.get(pkgbase).cloned().unwrap_or_default();
        let watched = Watched {
            by,
            before: before.upstream(),
            after: after.upstream(),
            seen_before: before.seen(),
            seen_after: after.seen(),
        };
        self.watched.insert(pkgbase.clone(), watched);
    }
}

/// Where sources stand, after some of them were seen. With another number of sources than before, nobody can tell
/// which is which.
fn moved_on(before: &[Option<Revision>], seen: &[Option<Revision>]) -> Vec<Option<Revision>> {
    if seen.is_empty() {
        return before.to_vec();
    }
    if before.len() != seen.len() {
        return seen.to_vec();
    }
    seen.iter().zip(before).map(|(now, before)| now.as_ref().or(before.as_ref()).cloned()).collect()
}

/// When something unknown is asked again, for people.
pub(super) fn asked_again(retry_at: Option<Timestamp>) -> String {
    retry_at.map_or_else(
        || "it is asked again in the next run".to_owned(),
        |at| format!("it is asked again in the first run after {at}"),
    )
}

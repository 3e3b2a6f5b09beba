//! The on-schedule part of a plan that is about no files: who may push to packages, and what they are built from.

use jiff::Timestamp;

use super::{Action, Draft, Heard};
use crate::domain::build::BuildReason;
use crate::domain::finding::Finding;
use crate::domain::name::PkgBase;
use crate::domain::observed::Upstream;
use crate::domain::revision::Revision;

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
        let observations = self.inputs.observations;
        for (pkgbase, upstream) in &observations.upstream {
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

/// Where sources stand, after some of them were seen. With another number of sources than before, nobody can tell
/// which is which.
fn moved_on(before: &[Option<Revision>], seen: &[Option<Revision>]) -> Vec<Option<Revision>> {
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

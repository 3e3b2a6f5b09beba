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
            let Some(before) = state.told_keepers().filter(|before| before != now) else { continue };
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
                Upstream::At(commits) => self.upstream_at(pkgbase, commits),
                Upstream::Unknown { error, retry_at } => {
                    let finding = Finding::warning("upstream-unknown", error.clone()).with_package(pkgbase);
                    self.problems.push(finding.hint(asked_again(*retry_at)));
                    self.upstream_unknown(pkgbase, error);
                }
            }
        }
    }

    /// A package half of whose sources could not be asked is not current.
    fn upstream_unknown(&mut self, pkgbase: &PkgBase, error: &str) {
        let decided = self.packages.get(pkgbase).map(|decision| (decision.observation, decision.action));
        if let None | Some((Heard::Current, _)) = decided {
            self.decide(pkgbase, Heard::Unknown, decided.map_or(Action::None, |(_, action)| action), error);
        }
    }

    fn upstream_at(&mut self, pkgbase: &PkgBase, commits: &[Revision]) {
        let mut state = self.state(pkgbase);
        if state.upstream() == commits {
            self.decide_unless_decided(pkgbase, Action::None, "its upstream has no new commits");
            return;
        }
        let known = !state.upstream().is_empty();
        state.set_upstream(commits);
        self.put_state(pkgbase, state);
        self.want_unless_triggered(pkgbase, BuildReason::Upstream);
        let why = if known { "its upstream has new commits" } else { "its upstream is seen for the first time" };
        if self.packages.get(pkgbase).is_none_or(|decision| matches!(decision.action, Action::None | Action::State)) {
            self.decide(pkgbase, Heard::Changed, Action::State, why);
        }
    }
}

/// When something unknown is asked again, for people.
pub(super) fn asked_again(retry_at: Option<Timestamp>) -> String {
    retry_at.map_or_else(
        || "it is asked again in the next run".to_owned(),
        |at| format!("it is asked again in the first run after {at}"),
    )
}

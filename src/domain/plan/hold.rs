//! Quarantine in a plan: what is taken out of service, what is held with it, and what is made up for when it ends.

use super::{Action, Draft, Heard};
use crate::domain::build::BuildReason;
use crate::domain::finding::Finding;
use crate::domain::name::PkgBase;
use crate::domain::quarantine::{Quarantine, held, sentence};
use crate::domain::schedule::Lane;

impl Draft<'_> {
    /// Takes packages out of service: they, and all that is built with them, are neither updated nor built.
    pub(super) fn quarantine(&mut self, packages: &[PkgBase], reason: &str) {
        let quarantine = Quarantine { since: Some(self.inputs.now), reason: reason.to_owned() };
        for pkgbase in packages {
            let mut state = self.state(pkgbase);
            if !self.inputs.snapshot.packages.contains_key(pkgbase) {
                self.problems
                    .push(super::since::unknown_package(pkgbase.as_str(), self.inputs.snapshot.packages.keys()));
            } else if state.quarantine().is_some() {
                let message = "it is in quarantine already";
                self.problems.push(Finding::warning("quarantined", message).with_package(pkgbase).hint(LIFT));
            } else {
                state.set_quarantine(Some(&quarantine));
                self.put_state(pkgbase, state);
                self.decide(pkgbase, Heard::Current, Action::State, &format!("quarantined: {reason}"));
            }
        }
        let before = std::mem::take(&mut self.held);
        self.hold_anew();
        let newly: Vec<PkgBase> = self.held.keys().filter(|it| !before.contains_key(*it)).cloned().collect();
        for pkgbase in newly {
            if let Some(why) = self.held_because(&pkgbase).filter(|_| !self.packages.contains_key(&pkgbase)) {
                self.decide(&pkgbase, Heard::Current, Action::Skip, &why);
            }
            if self.inputs.observations.in_queue.contains(&pkgbase) {
                let mut state = self.state(&pkgbase);
                state.set_build_held(true);
                self.put_state(&pkgbase, state);
                self.stop.push(pkgbase);
            }
        }
    }

    /// Takes packages back into service, and builds what was due meanwhile.
    pub(super) fn lift(&mut self, packages: &[PkgBase], reason: &str) {
        for pkgbase in packages {
            let mut state = self.state(pkgbase);
            if state.quarantine().is_none() {
                let hint = "`pkgwarden ctl quarantine` lists what is";
                let finding = Finding::error("not-quarantined", "it is not in quarantine").with_package(pkgbase);
                self.problems.push(finding.hint(hint));
                continue;
            }
            state.set_quarantine(None);
            self.put_state(pkgbase, state);
            self.decide(pkgbase, Heard::Current, Action::State, &format!("quarantine lifted: {reason}"));
        }
        let before = std::mem::take(&mut self.held);
        self.hold_anew();
        let free: Vec<PkgBase> = before.into_keys().filter(|pkgbase| !self.held.contains_key(pkgbase)).collect();
        for pkgbase in free {
            let mut state = self.state(&pkgbase);
            if state.build_is_held() {
                state.set_build_held(false);
                self.put_state(&pkgbase, state);
                let wanted = self.want_in(Lane::Security, &pkgbase, BuildReason::Rebuild, None);
                if !self.packages.contains_key(&pkgbase) {
                    self.decide_wanted(&pkgbase, wanted, "it was held, and a build was due");
                }
            }
        }
    }

    fn hold_anew(&mut self) {
        let snapshot = self.inputs.snapshot;
        let mut states = snapshot.states.clone();
        for (pkgbase, state) in &self.states {
            states.insert(pkgbase.clone(), state.clone().unwrap_or_default());
        }
        self.held = held(snapshot, states.iter(), self.inputs.arch, self.inputs.official);
    }

    /// Why a package is held, if it is.
    pub(super) fn held_because(&self, pkgbase: &PkgBase) -> Option<String> {
        let by = self.held.get(pkgbase)?;
        Some(sentence(pkgbase, by, self.state(by).quarantine().as_ref()))
    }

    /// Remembers that a build of a held package is due, and says that it is not begun. What somebody asked for
    /// by name and does not get is an error.
    pub(super) fn hold_back(&mut self, pkgbase: &PkgBase, reason: BuildReason) -> bool {
        let Some(why) = self.held_because(pkgbase) else { return false };
        let mut state = self.state(pkgbase);
        state.set_build_held(true);
        self.put_state(pkgbase, state);
        let finding = match reason {
            BuildReason::Deploy | BuildReason::Directive | BuildReason::Bump => Finding::error("quarantined", why),
            _ => Finding::warning("quarantined", why),
        };
        self.problems.push(finding.with_package(pkgbase).hint(LIFT));
        true
    }
}

/// The remedy.
pub(super) const LIFT: &str = "`pkgwarden ctl lift PKG --reason TEXT` ends it, and builds what was due";

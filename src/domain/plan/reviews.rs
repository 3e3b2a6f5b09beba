//! Reviews in a plan: opened, updated, closed, approved, rejected.

use super::Action;
use super::hold::LIFT;
use super::updates::movement;
use super::{Draft, Edit, Pipeline, ReviewStep, Since};
use crate::domain::build::BuildReason;
use crate::domain::classify::{Decision, Reason, Verdict, Weight};
use crate::domain::desired::ReviewBranch;
use crate::domain::finding::Finding;
use crate::domain::folder::Folder;
use crate::domain::message::{self, Entry, Topic};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::{Observation, Proposal};
use crate::domain::policy::Person;

/// Why a person reads an update that the gate would let in.
const FOUND_BY_NVCHECKER: &str = "the version was found by nvchecker, and CI_NVCHECKER_REVIEW is on";

/// A reason with its place: the message alone does not say which file is new, or gone.
fn placed(reason: &Reason) -> String {
    if reason.file.is_empty() {
        return reason.message.clone();
    }
    let line = reason.line.map(|line| format!(":{line}")).unwrap_or_default();
    format!("{}{line}: {}", reason.file, reason.message)
}

/// Whether a plan for this pipeline looks at what the review of a package proposes. Commits can make only
/// the reviews of the packages they change obsolete; a schedule goes over all, however old.
#[must_use]
pub fn considers_review(pipeline: &Pipeline, since: &Since, pkgbase: &PkgBase) -> bool {
    match pipeline {
        Pipeline::OnSchedule => true,
        Pipeline::OnCommit => since.changes.touch(pkgbase),
        Pipeline::Approve(reviewed, ..) | Pipeline::Reject(reviewed, _) => reviewed == pkgbase,
        Pipeline::Trigger(_)
        | Pipeline::Deploy(_)
        | Pipeline::Bump(_)
        | Pipeline::Quarantine(..)
        | Pipeline::Lift(..)
        | Pipeline::Add(..)
        | Pipeline::Drop(..) => false,
    }
}

impl<'a> Draft<'a> {
    /// Puts an update before a person, unless exactly this content waits already.
    pub(super) fn propose(&mut self, pkgbase: &PkgBase, verdict: Verdict, folder: Folder, content: &str) {
        let review = self.inputs.snapshot.reviews.get(pkgbase);
        if self.inputs.observations.waiting.get(pkgbase).is_some_and(|waiting| waiting == content) {
            self.decide_update(pkgbase, Action::Review, verdict, "it waits for a person");
            return;
        }
        let why = movement(&verdict);
        let heavy = verdict.reasons.iter().filter(|reason| reason.severity > Weight::Stronger);
        let mut reasons: Vec<String> = heavy.map(placed).collect();
        let read_anyway = self.is_read_anyway(pkgbase).then_some(FOUND_BY_NVCHECKER);
        reasons.extend(read_anyway.map(str::to_owned));
        let entry = Entry { pkgbase: pkgbase.clone(), reason: why.clone() };
        self.reviews.push(ReviewStep::Propose {
            pkgbase: pkgbase.clone(),
            folder,
            message: message::review(&entry, &reasons),
            replaces: review.map(|review| review.head),
        });
        let why = match read_anyway.filter(|_| verdict.verdict == Decision::Minor) {
            Some(because) => format!("{why} needs a person: {because}"),
            None => format!("{why} needs a person"),
        };
        self.decide_update(pkgbase, Action::Review, verdict, &why);
    }

    /// Closes reviews that nobody needs any more. What could not be asked closes nothing.
    pub(super) fn prune_reviews(&mut self) {
        let snapshot = self.inputs.snapshot;
        let since = self.inputs.since;
        for (pkgbase, review) in &snapshot.reviews {
            if !considers_review(&self.pipeline, since, pkgbase) {
                continue;
            }
            let replaced = self
                .reviews
                .iter()
                .any(|step| matches!(step, ReviewStep::Propose { pkgbase: proposed, .. } if proposed == pkgbase));
            if replaced {
                continue;
            }
            if let Some(why) = self.obsolete(pkgbase, review) {
                self.close(pkgbase, review.head, why);
            }
        }
    }

    fn obsolete(&self, pkgbase: &PkgBase, review: &ReviewBranch) -> Option<&'static str> {
        if !self.inputs.snapshot.packages.contains_key(pkgbase) {
            return Some("the package has left the repository");
        }
        if review.folder.is_none() {
            return Some("the branch does not hold the package");
        }
        if review.arrived {
            return Some("its content has reached the branch");
        }
        let committed = self.edits.iter().any(|edit| matches!(edit, Edit::Folder(changed, _) if changed == pkgbase));
        if committed {
            return Some("a newer update went in without a person");
        }
        match self.inputs.observations.files.get(pkgbase) {
            Some(Observation::Changed { incoming, present, .. })
                if self.as_committed(pkgbase, incoming).from_source() == present.from_source() =>
            {
                Some("the source went back to what the branch has")
            }
            _ => None,
        }
    }

    fn close(&mut self, pkgbase: &PkgBase, head: Oid, why: &str) {
        let mut state = self.state(pkgbase);
        state.set_proposed(None);
        state.set_approvals(None);
        state.set_proposed_keepers(None);
        if self.inputs.snapshot.packages.contains_key(pkgbase) {
            self.put_state(pkgbase, state);
        }
        self.reviews.push(ReviewStep::Close { pkgbase: pkgbase.clone(), head, why: why.to_owned() });
    }

    /// Counts an approval; the last that is needed merges exactly what was looked at, and builds it.
    pub(super) fn approve(&mut self, pkgbase: &PkgBase, head: Oid, person: &Person) {
        if let Some(why) = self.held_because(pkgbase) {
            self.problems.push(Finding::error("quarantined", why).with_package(pkgbase).hint(LIFT));
            return;
        }
        let Some(Proposal { base, present, proposed }) = self.waiting(pkgbase, head) else { return };
        if base.from_source() != present.from_source() {
            let message = "its folder has changed on the branch since the review was opened";
            self.problems.push(
                Finding::error("review-conflict", message)
                    .with_package(pkgbase)
                    .hint("the next on-schedule run proposes the update anew; or merge the branch by hand"),
            );
            return;
        }
        let folder = present.updated_to(proposed);
        let gate = &self.inputs.snapshot.gate;
        if gate.incomplete {
            let message = "it is not known how many approvals it needs: the policy cannot be read";
            let problem = Finding::error("policy-incomplete", message).with_package(pkgbase);
            self.problems.push(problem.hint("`pkgwarden check` says what is wrong in .ci/policy.toml"));
            return;
        }
        let verdict = self.judge(pkgbase, &self.state(pkgbase), present, &folder);
        let needed = usize::from(gate.approvals(&verdict, pkgbase.as_str(), self.inputs.now));
        let mut state = self.state(pkgbase);
        let mut people = state.approvals(head);
        people.insert(person.clone());
        let names = people.iter().map(Person::as_str).collect::<Vec<_>>().join(", ");
        if people.len() < needed {
            state.set_approvals(Some((head, &people)));
            self.put_state(pkgbase, state);
            let why = format!("approved by {names}; it needs {needed} people, {} more", needed - people.len());
            self.decide_update(pkgbase, Action::Review, verdict, &why);
            return;
        }
        let why = format!("{}, approved by {names}", movement(&verdict));
        self.entries.push((Topic::Update, Entry { pkgbase: pkgbase.clone(), reason: why.clone() }));
        self.edits.push(Edit::Folder(pkgbase.clone(), folder));
        self.hand_back(pkgbase);
        self.want(pkgbase, BuildReason::Changed, None);
        self.decide_update(pkgbase, Action::Commit, verdict, &why);
        let mut state = self.state(pkgbase);
        if let Some(keepers) = state.proposed_keepers() {
            state.set_keepers(Some(&keepers));
        }
        self.put_state(pkgbase, state);
        self.close(pkgbase, head, "a person approved it");
    }

    /// Closes a review and remembers its content, so that it is not proposed again.
    pub(super) fn reject(&mut self, pkgbase: &PkgBase, head: Oid) {
        let Some(Proposal { present, proposed, .. }) = self.waiting(pkgbase, head) else { return };
        self.close(pkgbase, head, "a person rejected it");
        let mut state = self.state(pkgbase);
        state.set_rejected(Some(&proposed.from_source().digest()));
        self.put_state(pkgbase, state);
        let verdict = self.judge(pkgbase, &self.state(pkgbase), present, &present.updated_to(proposed));
        self.decide_update(pkgbase, Action::Skip, verdict, "a person rejected it");
    }

    /// The review of a package, if it waits and is still what the person saw.
    fn waiting(&mut self, pkgbase: &PkgBase, head: Oid) -> Option<&'a Proposal> {
        let review = self.inputs.snapshot.reviews.get(pkgbase);
        let problem = match review.zip(self.inputs.observations.proposals.get(pkgbase)) {
            None => Finding::error("no-review", "no update of it waits for a person")
                .hint("`pkgwarden ctl review list` shows what waits"),
            Some((review, _)) if review.head != head => {
                Finding::error("review-moved", "its review has newer content than the one that was looked at")
                    .hint("look at it again")
            }
            Some((_, proposal)) => return Some(proposal),
        };
        self.problems.push(problem.with_package(pkgbase));
        None
    }
}

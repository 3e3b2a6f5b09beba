//! Reviews in a plan: opened, updated, closed, approved, rejected.

use std::collections::BTreeSet;

use super::Action;
use super::hold::LIFT;
use super::updates::movement;
use super::{Draft, Edit, Pipeline, Refusal, ReviewStep, Since};
use crate::domain::build::BuildReason;
use crate::domain::classify::text::shown;
use crate::domain::classify::{Decision, Reason, Verdict, Weight};
use crate::domain::desired::ReviewBranch;
use crate::domain::finding::Finding;
use crate::domain::folder::Folder;
use crate::domain::message::{self, Entry, Topic};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::{Observation, Proposal};
use crate::domain::policy::Person;
use crate::domain::review::hands;
use crate::domain::state::PackageState;

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

fn listed(people: &BTreeSet<String>) -> String {
    people.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Whether a plan for this pipeline looks at what the review of a package proposes. Commits can make only
/// the reviews of the packages they change obsolete; a schedule goes over all, however old.
#[must_use]
pub fn considers_review(pipeline: &Pipeline, since: &Since, pkgbase: &PkgBase) -> bool {
    match pipeline {
        Pipeline::OnSchedule => true,
        Pipeline::OnCommit => since.changes.touch(pkgbase),
        Pipeline::Approve(reviewed, ..) | Pipeline::Reject(reviewed, ..) => reviewed == pkgbase,
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
            let Some(why) = self.obsolete(pkgbase, review) else { continue };
            let people = self.people_on(pkgbase);
            let beyond = self.inputs.observations.handwork.get(pkgbase).is_some_and(|work| work.beyond);
            if !people.is_empty() && (beyond || !review.arrived) {
                self.keep(pkgbase, &people, why);
                continue;
            }
            if review.arrived {
                self.know_proposed_keepers(pkgbase);
            }
            self.close(pkgbase, review.head, why);
        }
    }

    /// The people whose work is on the branch of a review, where the plan would move or delete it.
    pub(super) fn people_on(&self, pkgbase: &PkgBase) -> BTreeSet<String> {
        let Some(work) = self.inputs.observations.handwork.get(pkgbase) else { return BTreeSet::new() };
        let snapshot = self.inputs.snapshot;
        let proposed = snapshot.states.get(pkgbase).and_then(PackageState::proposed);
        hands::people(work, &snapshot.settings.identity, proposed)
    }

    /// Leaves an update for later because people work on the branch that it would overwrite. The cursor stays, so
    /// that the next run is told of it again.
    pub(super) fn wait_behind(&mut self, pkgbase: &PkgBase, people: &BTreeSet<String>, verdict: Verdict) {
        let mut state = self.state(pkgbase);
        let version = verdict.new_version.as_ref().map_or_else(|| "?".to_owned(), |it| shown(it.as_str().as_bytes()));
        state.set_newer(Some(&version));
        self.put_state(pkgbase, state);
        let (movement, branch) = (movement(&verdict), pkgbase.review_branch());
        let why = format!("{movement} waits: `{branch}` has commits by {}", listed(people));
        self.decide_update(pkgbase, Action::Review, verdict, &why);
    }

    /// Says that a branch stays which would have gone, because of what people did there.
    fn keep(&mut self, pkgbase: &PkgBase, people: &BTreeSet<String>, why: &str) {
        let branch = pkgbase.review_branch();
        let message = format!("`{branch}` has commits by {} and is kept, although {why}", listed(people));
        let hint = "merge what is wanted of it, then delete the branch";
        self.problems.push(Finding::warning("review-kept", message).with_package(pkgbase).hint(hint));
    }

    /// Whoever accepted the content knows who could push it.
    fn know_proposed_keepers(&mut self, pkgbase: &PkgBase) {
        let mut state = self.state(pkgbase);
        if let Some(keepers) = state.proposed_keepers() {
            state.set_keepers(Some(&keepers));
            self.put_state(pkgbase, state);
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
            let nothing_differs = "its content has reached the branch";
            let only_ours = "its content has reached the branch, and only `.CI` differs";
            return Some(if review.identical { nothing_differs } else { only_ours });
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
        state.forget_proposal();
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
        if let Some(why) = self.needs_a_real_person(pkgbase, person, &verdict, proposed) {
            let problem = Finding::warning("automerge-refused", why).with_package(pkgbase);
            self.problems.push(problem.hint("`pkgwarden ctl review approve` is for people"));
            return;
        }
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
        self.know_proposed_keepers(pkgbase);
        let closed = if person.is_automatic() { "nobody objected to it in time" } else { "a person approved it" };
        self.close(pkgbase, head, closed);
    }

    /// Why time alone approves nothing here. What weighs more than *review* is always for people, and so is what
    /// nobody has weighed: old records, and commits by people.
    fn needs_a_real_person(
        &self,
        pkgbase: &PkgBase,
        person: &Person,
        verdict: &Verdict,
        proposed: &Folder,
    ) -> Option<String> {
        let state = self.state(pkgbase);
        let weighed = state.proposed_weight() == Some(Weight::Review.as_str());
        let same = state.proposed() == Some(proposed.from_source().digest().as_str());
        let light = verdict.severity <= Weight::Review && weighed && same;
        (person.is_automatic() && !light).then(|| "it does not go in by itself, however long it waits".to_owned())
    }

    /// Closes a review and remembers its content, so that it is not proposed again.
    pub(super) fn reject(&mut self, pkgbase: &PkgBase, head: Oid, refusal: &Refusal) {
        if !self.inputs.snapshot.refs.reviews.contains_key(pkgbase) && self.reject_vanished(pkgbase, refusal) {
            return;
        }
        let Some(Proposal { present, proposed, .. }) = self.waiting(pkgbase, head) else { return };
        self.close(pkgbase, head, &refusal.told());
        let mut state = self.state(pkgbase);
        state.set_rejected(Some(&proposed.from_source().digest()));
        self.put_state(pkgbase, state);
        let verdict = self.judge(pkgbase, &self.state(pkgbase), present, &present.updated_to(proposed));
        self.decide_update(pkgbase, Action::Skip, verdict, "a person rejected it");
    }

    /// Remembers what was rejected by somebody who deleted the branch at once, if it is what was proposed last.
    fn reject_vanished(&mut self, pkgbase: &PkgBase, refusal: &Refusal) -> bool {
        let mut state = self.state(pkgbase);
        let Some(content) = refusal.content.as_deref().filter(|&content| state.proposed() == Some(content)) else {
            return false;
        };
        state.set_rejected(Some(content));
        state.forget_proposal();
        self.put_state(pkgbase, state);
        self.decide_unless_decided(pkgbase, Action::Skip, &refusal.told());
        true
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

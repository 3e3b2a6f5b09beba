//! What is known about each update that waits for a person.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use crate::controller::observe;
use crate::controller::review::judged;
use crate::domain::classify::{Verdict, Weight};
use crate::domain::desired::Snapshot;
use crate::domain::folder::Folder;
use crate::domain::keepers::Keepers;
use crate::domain::name::PkgBase;
use crate::domain::observed::Proposal;
use crate::domain::policy::Person;
use crate::domain::review::hands::{self, Handwork};
use crate::domain::review::reconcile::Member;
use crate::domain::state::PackageState;
use crate::git::Repository;

/// An update that waits for a person.
#[derive(Debug)]
pub struct Waiting {
    /// What a decision is about.
    pub member: Member,
    /// Its files.
    pub proposed: Folder,
    /// Why it needs a person, as far as files and people show it.
    pub verdict: Verdict,
    /// What its commit says.
    pub message: String,
    /// Who may push to it, as it was seen when it was proposed.
    pub keepers: Option<Keepers>,
    /// Who could when something of it was merged last.
    pub keepers_before: Option<Keepers>,
    /// How many people have to approve it.
    pub needed: u8,
    /// Whether its folder has changed on the branch since.
    pub conflict: bool,
    /// People with commits on its branch.
    pub people: BTreeSet<String>,
    /// The version that waits because of them.
    pub newer: Option<String>,
    /// When it goes in by itself.
    pub goes_in_at: Option<Timestamp>,
}

/// What updates that wait are read from.
pub struct Waits<'a> {
    /// The monorepo.
    pub git: &'a Repository,
    /// What is known about it.
    pub snapshot: &'a Snapshot,
    /// What people did on branches of reviews.
    pub handwork: BTreeMap<PkgBase, Handwork>,
    /// Packages out of service.
    pub held: BTreeMap<PkgBase, PkgBase>,
    /// The time.
    pub now: Timestamp,
}

impl Waits<'_> {
    /// The update of a package; `None` if its branch proposes nothing that could be read.
    pub fn of(&self, pkgbase: &PkgBase, automerge_after: Option<SignedDuration>) -> Result<Option<Waiting>> {
        let Self { git, snapshot, now, .. } = *self;
        let Some(proposal) = observe::proposal(git, snapshot, pkgbase)? else { return Ok(None) };
        let head = snapshot.reviews[pkgbase].head;
        if proposal.present.from_source() == proposal.proposed.from_source() {
            return Ok(None);
        }
        let commit = git.commit_facts(head)?;
        let verdict = judged(snapshot, pkgbase, &proposal, now);
        let none = PackageState::default();
        let state = snapshot.states.get(pkgbase).unwrap_or(&none);
        let conflict = proposal.base.from_source() != proposal.present.from_source();
        let decidable = !conflict && !self.held.contains_key(pkgbase);
        let content = proposal.proposed.from_source().digest();
        let patient = decidable && is_light(state, &verdict, &content);
        let goes_in_at = automerge_after.filter(|_| patient).and_then(|it| commit.time.checked_add(it).ok());
        let approved = state.approvals(head).iter().map(Person::to_string).collect();
        let Proposal { proposed, .. } = proposal;
        Ok(Some(Waiting {
            needed: snapshot.gate.approvals(&verdict, pkgbase.as_str(), now),
            people: self.people(pkgbase, state),
            newer: state.newer().map(str::to_owned),
            keepers: state.proposed_keepers(),
            keepers_before: state.keepers(),
            message: commit.message,
            member: Member {
                pkgbase: pkgbase.clone(),
                head,
                content,
                proposed_at: commit.time,
                approved,
                patient,
                decidable,
            },
            proposed,
            verdict,
            conflict,
            goes_in_at,
        }))
    }

    fn people(&self, pkgbase: &PkgBase, state: &PackageState) -> BTreeSet<String> {
        let work = self.handwork.get(pkgbase);
        work.map(|work| hands::people(work, &self.snapshot.settings.identity, state.proposed())).unwrap_or_default()
    }
}

/// Whether it is what was weighed when it was proposed, and needs only reading.
fn is_light(state: &PackageState, verdict: &Verdict, content: &str) -> bool {
    let weighed = state.proposed_weight() == Some(Weight::Review.as_str());
    weighed && verdict.severity <= Weight::Review && state.proposed() == Some(content)
}

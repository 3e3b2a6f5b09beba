//! The reviews that there should be, from one look at the monorepo.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use crate::controller::review::{CONFLICT, judged};
use crate::controller::site::{Look, Site};
use crate::controller::{handwork, observe};
use crate::domain::classify::{Verdict, Weight};
use crate::domain::desired::Snapshot;
use crate::domain::graph::Graph;
use crate::domain::lint;
use crate::domain::name::PkgBase;
use crate::domain::policy::{Person, SourceKind};
use crate::domain::quarantine;
use crate::domain::review::Wanted;
use crate::domain::review::body::{self, Facts};
use crate::domain::review::hands::{self, Handwork};
use crate::domain::review::marker::{Marker, digest};
use crate::domain::review::policy::ReviewPolicy;
use crate::domain::review::reconcile::Desired;
use crate::domain::state::PackageState;
use crate::git::Repository;

/// Where people look at packages of the AUR.
const AUR: &str = "https://aur.archlinux.org";

/// The reviews that there should be, sorted by package.
pub(super) async fn desired(site: &Site, look: &Look, pages: Option<&str>, now: Timestamp) -> Result<Vec<Desired>> {
    let (snapshot, policy, arch) = (look.snapshot.clone(), site.policy.reviews.clone(), site.arch.clone());
    let pages = pages.map(|pages| pages.trim_end_matches('/').to_owned());
    site.with_git(move |git| {
        let official = lint::known_elsewhere(snapshot.version_state.as_deref());
        let waiting: Vec<PkgBase> = snapshot.waiting_reviews().cloned().collect();
        let writer = Writer {
            git,
            snapshot: &snapshot,
            policy: &policy,
            pages: pages.as_deref(),
            graph: Graph::build_for(&arch, snapshot.packages.values().map(AsRef::as_ref), &official),
            handwork: handwork::on(git, &snapshot, waiting.iter().cloned())?,
            held: quarantine::held(&snapshot, snapshot.states.iter(), &arch, &official),
            now,
        };
        let mut all = Vec::new();
        for pkgbase in &waiting {
            all.extend(writer.one(pkgbase)?);
        }
        Ok(all)
    })
    .await
}

/// What texts are made from.
struct Writer<'a> {
    git: &'a Repository,
    snapshot: &'a Snapshot,
    policy: &'a ReviewPolicy,
    pages: Option<&'a str>,
    graph: Graph,
    handwork: BTreeMap<PkgBase, Handwork>,
    held: BTreeMap<PkgBase, PkgBase>,
    now: Timestamp,
}

impl Writer<'_> {
    /// The review of a package; `None` if its branch proposes nothing that could be read.
    fn one(&self, pkgbase: &PkgBase) -> Result<Option<Desired>> {
        let Self { git, snapshot, policy, now, .. } = *self;
        let Some(proposal) = observe::proposal(git, snapshot, pkgbase)? else { return Ok(None) };
        let head = snapshot.reviews[pkgbase].head;
        let content = proposal.proposed.from_source();
        if proposal.present.from_source() == content {
            return Ok(None);
        }
        let commit = git.commit_facts(head)?;
        let verdict = judged(snapshot, pkgbase, &proposal, now);
        let none = PackageState::default();
        let state = snapshot.states.get(pkgbase).unwrap_or(&none);
        let approved: BTreeSet<String> = state.approvals(head).iter().map(Person::to_string).collect();
        let conflict = proposal.base.from_source() != proposal.present.from_source();
        let content = content.digest();
        let weighed = state.proposed_weight() == Some(Weight::Review.as_str());
        let decidable = !conflict && !self.held.contains_key(pkgbase);
        let patient =
            decidable && weighed && verdict.severity <= Weight::Review && state.proposed() == Some(content.as_str());
        let goes_in_at = policy.automerge_after.filter(|_| patient).and_then(|it| added(commit.time, it));
        let people = self.people(pkgbase, state);
        let (keepers, before) = (state.proposed_keepers(), state.keepers());
        let text = body::body(&Facts {
            pkgbase,
            base: &snapshot.refs.branch,
            head,
            verdict: &verdict,
            message: &commit.message,
            keepers: keepers.as_ref(),
            keepers_before: before.as_ref(),
            trusted: &snapshot.settings.trusted_maintainers,
            needed: snapshot.gate.approvals(&verdict, pkgbase.as_str(), now),
            approved: &approved,
            conflict: conflict.then_some(CONFLICT),
            people: &people,
            newer: state.newer(),
            needed_by: &self.graph.dependants(pkgbase),
            places: &self.places(pkgbase),
            goes_in_at,
        });
        let (wanted, marker) = self.wanted(pkgbase, &verdict, text, content, conflict);
        let weight = verdict.severity;
        let proposed_at = commit.time;
        let pkgbase = pkgbase.clone();
        Ok(Some(Desired { pkgbase, head, proposed_at, weight, wanted, marker, approved, patient, decidable }))
    }

    fn people(&self, pkgbase: &PkgBase, state: &PackageState) -> BTreeSet<String> {
        let work = self.handwork.get(pkgbase);
        work.map(|work| hands::people(work, &self.snapshot.settings.identity, state.proposed())).unwrap_or_default()
    }

    fn wanted(
        &self,
        pkgbase: &PkgBase,
        verdict: &Verdict,
        text: String,
        content: String,
        conflict: bool,
    ) -> (Wanted, Marker) {
        let Self { snapshot, policy, .. } = *self;
        let mut wanted = Wanted {
            branch: pkgbase.review_branch(),
            base: snapshot.refs.branch.clone(),
            title: body::title(pkgbase, verdict),
            body: String::new(),
            labels: policy.labels.clone(),
            assignees: policy.assignees.union(&snapshot.settings.review_assignees).cloned().collect(),
            reviewers: policy.reviewers.clone(),
        };
        if conflict {
            wanted.labels.extend(policy.conflict_label.clone());
        }
        let lists = [&wanted.labels, &wanted.assignees, &wanted.reviewers];
        let lists = lists.map(|list| list.iter().map(String::as_str).collect::<Vec<_>>().join("\n"));
        let texts = [wanted.title.as_str(), text.as_str()];
        let hash = digest(texts.into_iter().chain(lists.iter().map(String::as_str)));
        let marker = Marker { pkgbase: pkgbase.clone(), content, text: hash, conflict };
        wanted.body = format!("{}\n\n{marker}\n", text.trim_end());
        (wanted, marker)
    }

    /// Where more stands about an update.
    fn places(&self, pkgbase: &PkgBase) -> Vec<(&'static str, String)> {
        let page =
            self.pages.map(|pages| ("side by side, with what can be done", format!("{pages}/reviews/{pkgbase}")));
        let source = self.snapshot.packages.get(pkgbase).map(|package| &package.settings.source);
        let source = match source {
            Some(SourceKind::Aur) => vec![
                ("the package in the AUR", format!("{AUR}/pkgbase/{pkgbase}")),
                ("its history there", format!("{AUR}/cgit/aur.git/log/?h={pkgbase}")),
            ],
            Some(SourceKind::Git(folder)) => vec![("its source", folder.url.clone())],
            Some(SourceKind::Release(project)) => vec![("its source", project.to_string())],
            Some(SourceKind::Custom | SourceKind::Unset) | None => Vec::new(),
        };
        page.into_iter().chain(source).collect()
    }
}

fn added(time: Timestamp, length: SignedDuration) -> Option<Timestamp> {
    time.checked_add(length).ok()
}

//! The reviews that there should be, from one look at the monorepo.

use std::collections::BTreeSet;

use anyhow::Result;
use jiff::Timestamp;

use super::together::{self, Together};
use super::waiting::{Waiting, Waits};
use crate::controller::handwork;
use crate::controller::review::CONFLICT;
use crate::controller::site::{Look, Site};
use crate::domain::desired::Snapshot;
use crate::domain::graph::Graph;
use crate::domain::lint;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::SourceKind;
use crate::domain::quarantine;
use crate::domain::review::Wanted;
use crate::domain::review::body::{self, Facts, GroupFacts};
use crate::domain::review::marker::{About, Marker, digest};
use crate::domain::review::policy::ReviewPolicy;
use crate::domain::review::reconcile::Desired;
use crate::domain::review::wave::{self, Wave};

/// Where people look at packages of the AUR.
const AUR: &str = "https://aur.archlinux.org";

/// What there should be.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// The reviews. Those of groups stand on branches that may have to be written first.
    pub reviews: Vec<Desired>,
    /// What becomes of the branches of groups.
    pub branches: Vec<together::Move>,
}

/// The reviews that there should be, one for each update.
pub(super) async fn alone(site: &Site, look: &Look, now: Timestamp) -> Result<Vec<Desired>> {
    let writing = move |writer: &Writer<'_>| Ok(writer.waiting()?.iter().map(|it| writer.single(it)).collect());
    with_writer(site, look, None, now, writing).await
}

/// The reviews that there should be, where updates of one group have one together.
pub(super) async fn wants(site: &Site, look: &Look, pages: Option<&str>, now: Timestamp) -> Result<Wants> {
    with_writer(site, look, pages, now, everything).await
}

async fn with_writer<T: Send + 'static>(
    site: &Site,
    look: &Look,
    pages: Option<&str>,
    now: Timestamp,
    writing: impl FnOnce(&Writer<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (snapshot, policy, arch) = (look.snapshot.clone(), site.policy.reviews.clone(), site.arch.clone());
    let pages = pages.map(|pages| pages.trim_end_matches('/').to_owned());
    site.with_git(move |git| {
        let official = lint::known_elsewhere(snapshot.version_state.as_deref());
        let waiting: Vec<PkgBase> = snapshot.waiting_reviews().cloned().collect();
        writing(&Writer {
            waits: Waits {
                git,
                snapshot: &snapshot,
                handwork: handwork::on(git, &snapshot, waiting.iter().cloned())?,
                held: quarantine::held(&snapshot, snapshot.states.iter(), &arch, &official),
                now,
            },
            policy: &policy,
            pages: pages.as_deref(),
            graph: Graph::build_for(&arch, snapshot.packages.values().map(AsRef::as_ref), &official),
        })
    })
    .await
}

/// The reviews, alone and of groups.
fn everything(writer: &Writer<'_>) -> Result<Wants> {
    let (groups, alone) = together::grouped(writer.waiting()?, &writer.policy.groups);
    let mut wants = Wants { reviews: alone.iter().map(|it| writer.single(it)).collect(), branches: Vec::new() };
    for together in together::branches(writer.waits.git, writer.snapshot(), groups)? {
        wants.reviews.extend(together.head().map(|head| writer.group(&together, head)));
        wants.branches.extend(together.movement());
    }
    Ok(wants)
}

/// What texts are made from.
pub(super) struct Writer<'a> {
    waits: Waits<'a>,
    policy: &'a ReviewPolicy,
    pages: Option<&'a str>,
    graph: Graph,
}

impl Writer<'_> {
    fn snapshot(&self) -> &Snapshot {
        self.waits.snapshot
    }

    /// What waits, sorted by package, without branches that propose nothing that could be read.
    fn waiting(&self) -> Result<Vec<Waiting>> {
        let all = self.snapshot().waiting_reviews();
        all.filter_map(|pkgbase| self.waits.of(pkgbase, self.policy.automerge_after).transpose()).collect()
    }

    /// The review of one update.
    fn single(&self, waiting: &Waiting) -> Desired {
        let (wave, places) = (self.wave([&waiting.member.pkgbase]), self.places(&waiting.member.pkgbase));
        let text = body::body(&self.facts(waiting, &wave, &places));
        let about = About::Package(waiting.member.pkgbase.clone());
        let title = body::title(&waiting.member.pkgbase, &waiting.verdict);
        let marker = |text| Marker { about, content: waiting.member.content.clone(), text, conflict: waiting.conflict };
        let (wanted, marker) = self.wanted(title, &text, marker);
        let (members, head) = (vec![waiting.member.clone()], waiting.member.head);
        Desired { members, head, weight: waiting.verdict.severity, wanted, marker }
    }

    /// The review of all updates of a group.
    fn group(&self, together: &Together, head: Oid) -> Desired {
        let Together { name, waiting, standing, .. } = together;
        let wave = self.wave(waiting.iter().map(|it| &it.member.pkgbase));
        let places: Vec<_> = waiting.iter().map(|it| self.places(&it.member.pkgbase)).collect();
        let facts: Vec<Facts<'_>> =
            waiting.iter().zip(&places).map(|(it, places)| self.facts(it, &wave, places)).collect();
        let base = self.snapshot().refs.branch.as_str();
        let facts = GroupFacts { name, base, members: &facts, people: &standing.people, wave: &wave };
        let contents = waiting.iter().flat_map(|it| [it.member.pkgbase.as_str(), it.member.content.as_str()]);
        // What people left there is not what waits: when they delete it, nobody has rejected what is written anew.
        let content = if together.is_what_waits() { digest(contents) } else { digest([head.to_string().as_str()]) };
        let about = About::Group(name.clone());
        let marker = |text| Marker { about, content, text, conflict: false };
        let (wanted, marker) = self.wanted(body::group_title(&facts), &body::group(&facts), marker);
        let mut members: Vec<_> = waiting.iter().map(|it| it.member.clone()).collect();
        if !together.is_what_waits() {
            for member in &mut members {
                (member.decidable, member.patient) = (false, false);
            }
        }
        let weight = waiting.iter().map(|it| it.verdict.severity).max().expect("a group has members");
        Desired { members, head, weight, wanted, marker }
    }

    fn facts<'a>(&'a self, waiting: &'a Waiting, wave: &'a Wave, places: &'a [(&'static str, String)]) -> Facts<'a> {
        let snapshot = self.snapshot();
        Facts {
            pkgbase: &waiting.member.pkgbase,
            base: &snapshot.refs.branch,
            head: waiting.member.head,
            verdict: &waiting.verdict,
            message: &waiting.message,
            keepers: waiting.keepers.as_ref(),
            keepers_before: waiting.keepers_before.as_ref(),
            trusted: &snapshot.settings.trusted_maintainers,
            needed: waiting.needed,
            approved: &waiting.member.approved,
            conflict: waiting.conflict.then_some(CONFLICT),
            people: &waiting.people,
            newer: waiting.newer.as_deref(),
            wave,
            places,
            goes_in_at: waiting.goes_in_at,
        }
    }

    fn wave<'a>(&self, merged: impl IntoIterator<Item = &'a PkgBase>) -> Wave {
        let (packages, blacklist) = (&self.snapshot().packages, &self.snapshot().settings.rebuild_blacklist);
        wave::after_merging(packages, blacklist, &self.graph, &merged.into_iter().cloned().collect())
    }

    /// What a forge is told. `marker` is given the digest of it.
    fn wanted(&self, title: String, text: &str, marker: impl FnOnce(String) -> Marker) -> (Wanted, Marker) {
        let (policy, snapshot) = (self.policy, self.snapshot());
        let mut marker = marker(String::new());
        let mut wanted = Wanted {
            branch: marker.about.branch(),
            base: snapshot.refs.branch.clone(),
            title,
            body: String::new(),
            labels: policy.labels.clone(),
            labels_off: BTreeSet::new(),
            assignees: policy.assignees.union(&snapshot.settings.review_assignees).cloned().collect(),
            reviewers: policy.reviewers.clone(),
        };
        let label = policy.conflict_label.iter().filter(|label| !policy.labels.contains(*label)).cloned();
        let labels = if marker.conflict { &mut wanted.labels } else { &mut wanted.labels_off };
        labels.extend(label);
        let lists = [&wanted.labels, &wanted.assignees, &wanted.reviewers];
        let lists = lists.map(|list| list.iter().map(String::as_str).collect::<Vec<_>>().join("\n"));
        let texts = [wanted.title.as_str(), text];
        marker.text = digest(texts.into_iter().chain(lists.iter().map(String::as_str)));
        wanted.body = format!("{}\n\n{marker}\n", text.trim_end());
        (wanted, marker)
    }

    /// Where more stands about an update.
    fn places(&self, pkgbase: &PkgBase) -> Vec<(&'static str, String)> {
        let page =
            self.pages.map(|pages| ("side by side, with what can be done", format!("{pages}/reviews/{pkgbase}")));
        let source = self.snapshot().packages.get(pkgbase).map(|package| &package.settings.source);
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

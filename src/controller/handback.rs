//! Pushes packages back to the AUR whose files are kept in the monorepo (`CI_MANAGE_AUR`).
//!
//! A run that commits such a package leaves an entry in the outbox, in the transaction that settles its push. The
//! entry says which package, and not what: what is pushed is always what the branch has by then. So entries may be
//! tried late, twice and in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::apply::folder_at;
use super::range;
use super::run::Runner;
use super::site::{Look, Site};
use crate::domain::finding::Finding;
use crate::domain::folder::Folder;
use crate::domain::handback::{self, NotForTheAur, Step, There, Told};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::Plan;
use crate::git::{GitError, NewCommit, PushError, RefUpdate, Remote, Repository, tree_id};
use crate::store::outbox::{Entry, NewEntry};
use crate::telemetry::progress;

/// The kind of the entries.
const KIND: &str = "aur-push";
/// The only branch of a package in the AUR.
const MASTER: &str = "refs/heads/master";
/// How often it is tried again at once when somebody pushes there meanwhile.
const TRIES: usize = 2;
/// After so many in a row that could not be reached, the AUR itself is away.
const AWAY: usize = 3;
/// So many commits of a range are looked at for what the AUR may have.
const MOST_BEFORE: usize = 100;

/// Where packages go back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandBack {
    /// Nowhere: the operator wants it so.
    Off,
    /// Nowhere, because nobody has said how.
    Unset,
    /// There.
    To(AurPush),
}

/// How packages are pushed to the AUR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AurPush {
    /// The address of a package; `{pkgbase}` stands for its name.
    pub url: String,
    /// The command by which git reaches a host, if not the usual one.
    pub ssh: Option<String>,
    /// Where the pages are, if people can reach them.
    pub pages: Option<String>,
    /// How long one conversation may take.
    pub timeout: Duration,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Payload {
    pkgbase: PkgBase,
    /// Commits of the monorepo whose files the AUR may still have.
    before: Vec<Oid>,
}

/// How a push to the AUR ended.
#[derive(Debug)]
enum Ended {
    /// The AUR has these files.
    Done,
    /// It has not, and why.
    Not(Trouble),
}

#[derive(Debug)]
enum Trouble {
    /// It could not be reached, as perhaps nothing can.
    Away(String),
    /// It is tried again.
    Failed(String),
    /// A person has to do something.
    Person { code: &'static str, message: String, hint: String },
}

/// The entries that follow from a plan.
pub(super) fn entries(site: &Site, look: &Look, plan: &Plan, commit: Option<Oid>) -> Vec<NewEntry> {
    let (Some(commit), (HandBack::To(_), _)) = (commit, site.hand_back()) else { return Vec::new() };
    let refs = &look.snapshot.refs;
    let range = look.since.commits.iter().rev().take(MOST_BEFORE).map(|commit| commit.id);
    let before: Vec<Oid> = refs.scheduled.into_iter().chain(refs.main).chain(range).collect();
    let entry = |pkgbase: &PkgBase| NewEntry {
        repository: site.name.clone(),
        kind: KIND.to_owned(),
        key: format!("{KIND}/{}/{pkgbase}/{commit}", site.name),
        payload: serde_json::to_value(Payload { pkgbase: pkgbase.clone(), before: before.clone() })
            .expect("names and ids are JSON"),
    };
    plan.aur_push.iter().map(entry).collect()
}

/// Says what a plan does with packages that would go back to an AUR that nobody has named.
pub(super) fn settle_plan(plan: &mut Plan, hand_back: &HandBack) {
    if plan.aur_push.is_empty() {
        return;
    }
    match hand_back {
        HandBack::To(_) => {}
        HandBack::Off => plan.aur_push.clear(),
        HandBack::Unset => {
            let names: Vec<&str> = plan.aur_push.iter().map(PkgBase::as_str).collect();
            let message = format!("{} would be pushed to the AUR, and there is no key for it", names.join(", "));
            let hint = "set sources.aur.push_key_file; or sources.aur.push_url = \"\" to push nothing";
            plan.problems.push(Finding::warning("aur-push-unset", message).hint(hint));
        }
    }
}

impl Runner {
    /// Pushes what is due, and tells what is not pushed yet.
    pub(super) async fn hand_back(&self) -> Result<Vec<Finding>> {
        let open = self.store.outbox_open(&self.site.name, KIND).await?;
        let (HandBack::To(push), workspace) = self.site.hand_back() else { return Ok(Vec::new()) };
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let look = self.site.look().await?;
        let place = Place { site: &self.site, look: &look, push: &push, workspace };
        let _progress = progress::task("pushing to the AUR");
        let (mut findings, mut away) = (Vec::new(), 0);
        for (pkgbase, entries) in by_package(open) {
            let now = self.clock.now();
            let is_due = entries.iter().any(|(entry, _)| entry.not_before.is_none_or(|time| time <= now));
            if !is_due {
                let last = entries.iter().filter_map(|(entry, _)| entry.last_error.clone()).next_back();
                findings.push(waiting(&pkgbase, &last.unwrap_or_default()));
                continue;
            }
            let ended = if away < AWAY {
                place.one(&pkgbase, &entries).await
            } else {
                Ended::Not(Trouble::Failed(format!("{AWAY} others before it could not be reached")))
            };
            match &ended {
                Ended::Not(Trouble::Away(_)) => away += 1,
                _ if away < AWAY => away = 0,
                _ => {}
            }
            findings.extend(self.note(&pkgbase, &entries, ended, now).await?);
        }
        Ok(findings)
    }

    async fn note(
        &self,
        pkgbase: &PkgBase,
        entries: &[(Entry, Payload)],
        ended: Ended,
        now: Timestamp,
    ) -> Result<Option<Finding>> {
        let (message, finding) = match ended {
            Ended::Done => {
                for (entry, _) in entries {
                    self.store.outbox_done(entry.id, now).await?;
                }
                return Ok(None);
            }
            Ended::Not(Trouble::Away(message) | Trouble::Failed(message)) => {
                let finding = waiting(pkgbase, &message);
                (message, finding)
            }
            // It stays due: as soon as the person has done something, the next run sees it.
            Ended::Not(Trouble::Person { code, message, hint }) => {
                let told = format!("it is not pushed to the AUR: {message}");
                return Ok(Some(Finding::error(code, told).with_package(pkgbase).hint(hint)));
            }
        };
        for (entry, _) in entries {
            self.store.outbox_failed(entry.id, &message, now).await?;
        }
        Ok(Some(finding))
    }
}

fn waiting(pkgbase: &PkgBase, why: &str) -> Finding {
    let message = format!("it is not pushed to the AUR yet: {why}");
    Finding::warning("aur-push-failed", message).with_package(pkgbase).hint("later runs try it again")
}

/// Entries that say the same, together; one that cannot be read says nothing.
fn by_package(open: Vec<Entry>) -> BTreeMap<PkgBase, Vec<(Entry, Payload)>> {
    let mut found: BTreeMap<PkgBase, Vec<(Entry, Payload)>> = BTreeMap::new();
    for entry in open {
        match serde_json::from_value::<Payload>(entry.entry.payload.clone()) {
            Ok(payload) => found.entry(payload.pkgbase.clone()).or_default().push((entry, payload)),
            Err(error) => tracing::error!(entry = entry.id, error = %error, "an entry of the outbox cannot be read"),
        }
    }
    found
}

/// Where something is pushed from, and to.
struct Place<'a> {
    site: &'a Site,
    look: &'a Look,
    push: &'a AurPush,
    /// The repository that is pushed from.
    workspace: PathBuf,
}

/// What is pushed, prepared in the repository that it is pushed from.
struct Prepared {
    step: Step,
    commit: Option<Oid>,
    /// The commit that is there, in a few words.
    there: String,
}

impl Place<'_> {
    async fn one(&self, pkgbase: &PkgBase, entries: &[(Entry, Payload)]) -> Ended {
        let managed = self.look.snapshot.packages.get(pkgbase).is_some_and(|package| package.settings.manage_aur);
        if !managed {
            // It has left meanwhile, or is not kept for the AUR any more.
            return Ended::Done;
        }
        let (files, before) = match self.files(pkgbase, entries).await {
            Ok(Ok(found)) => found,
            Ok(Err(unfit)) => {
                let hint = "mend it in the monorepo; then it is pushed".to_owned();
                return Ended::Not(Trouble::Person { code: "aur-unfit", message: unfit.to_string(), hint });
            }
            Err(error) => return Ended::Not(Trouble::Failed(format!("{error:#}"))),
        };
        match self.push(pkgbase, files, before).await {
            Ok(ended) => ended,
            Err(error) => match error.downcast_ref::<GitError>() {
                Some(GitError::Unreachable { .. }) => Ended::Not(Trouble::Away(format!("{error:#}"))),
                _ => Ended::Not(Trouble::Failed(format!("{error:#}"))),
            },
        }
    }

    /// The files as the branch has them now, and the trees that the AUR may have of earlier ones.
    async fn files(
        &self,
        pkgbase: &PkgBase,
        entries: &[(Entry, Payload)],
    ) -> Result<Result<(Folder, BTreeSet<Oid>), NotForTheAur>> {
        let tip = self.look.snapshot.refs.main.context("there is no commit")?;
        let earlier: BTreeSet<Oid> = entries.iter().flat_map(|(_, payload)| payload.before.iter().copied()).collect();
        let pkgbase = pkgbase.clone();
        self.site
            .with_git(move |git| {
                let files = match handback::files(&pkgbase, &folder_at(git, tip, &pkgbase)?) {
                    Ok(files) => files,
                    Err(unfit) => return Ok(Err(unfit)),
                };
                let had = |commit: Oid| {
                    let folder = git.contains(commit).then(|| folder_at(git, commit, &pkgbase).ok()).flatten()?;
                    tree_id(&handback::files(&pkgbase, &folder).ok()?).ok()
                };
                Ok(Ok((files, earlier.into_iter().filter_map(had).collect())))
            })
            .await
    }

    async fn push(&self, pkgbase: &PkgBase, files: Folder, before: BTreeSet<Oid>) -> Result<Ended> {
        let workspace = self.workspace.clone();
        let mut remote = Remote::new(workspace.clone(), self.push.url.replace("{pkgbase}", pkgbase.as_str()));
        remote = remote.timeout(self.push.timeout).env("GIT_SSH_VARIANT", "ssh");
        if let Some(ssh) = &self.push.ssh {
            remote = remote.env("GIT_SSH_COMMAND", ssh);
        }
        Repository::create_workspace(&workspace, None)?;
        for _ in 0..TRIES {
            let head = remote.ls(&[MASTER.to_owned()]).await?.get(MASTER).copied();
            if head.is_some() {
                remote.fetch(&[format!("{MASTER}:refs/pkgwarden/aur/{pkgbase}")], Some(1)).await?;
            }
            let Prepared { step, commit, there } = self.prepare(pkgbase, &files, head, &before).await?;
            match step {
                Step::Nothing => return Ok(Ended::Done),
                Step::Conflict => return Ok(Ended::Not(conflict(&there))),
                Step::Push => {}
            }
            match remote.push(&[RefUpdate { name: MASTER.to_owned(), old: head, new: commit }], &[]).await {
                Ok(_) => {
                    fail::fail_point!("handback.pushed", |_| crate::sys::signal::die());
                    tracing::info!(%pkgbase, "pushed {pkgbase} to the AUR");
                    return Ok(Ended::Done);
                }
                Err(PushError::Stale(_)) => {}
                Err(PushError::Unreachable(error) | PushError::Git(error)) => return Err(error.into()),
                Err(error @ PushError::Rejected { .. }) => return Ok(Ended::Not(Trouble::Failed(error.to_string()))),
            }
        }
        Ok(Ended::Not(Trouble::Failed("somebody else pushes there at the same time".to_owned())))
    }

    async fn prepare(
        &self,
        pkgbase: &PkgBase,
        files: &Folder,
        head: Option<Oid>,
        before: &BTreeSet<Oid>,
    ) -> Result<Prepared> {
        let snapshot = &self.look.snapshot;
        let (tip, identity) = (snapshot.refs.main.context("there is no commit")?, snapshot.settings.identity.clone());
        let time = self.site.with_git(move |git| Ok(git.commit_facts(tip)?.time)).await?;
        let page = self.push.pages.as_ref().map(|pages| format!("{}/packages/{pkgbase}", pages.trim_end_matches('/')));
        let monorepo = self.site.remote.shown();
        let told = Told { pkgbase, commit: tip, monorepo: &monorepo, page: page.as_deref() };
        let message = handback::message(files, &told);
        let (workspace, files, before) = (self.workspace.clone(), files.clone(), before.clone());
        let work = move || {
            let git = Repository::open(&workspace)?;
            let tree = git.write_folder(&files)?;
            let there = head.map(|head| anyhow::Ok((git.tree_of(head)?, git.commit_facts(head)?))).transpose()?;
            let seen = there.as_ref().map(|(tree, facts)| There { tree: *tree, author: &facts.author });
            let step = handback::step(tree, seen.as_ref(), &identity.to_string(), &before);
            let parents = head.into_iter().collect();
            // The time of the monorepo's commit, so that the same is made again if it has to be.
            let commit = match step {
                Step::Push => Some(git.commit(&NewCommit { tree, parents, message, identity, time })?),
                Step::Nothing | Step::Conflict => None,
            };
            let there = there.map(|(_, facts)| range::in_words(&facts)).unwrap_or_default();
            anyhow::Ok(Prepared { step, commit, there })
        };
        tokio::task::spawn_blocking(work).await.context("preparing a push was interrupted")?
    }
}

fn conflict(there: &str) -> Trouble {
    let message = format!("somebody else changed it there, with {there}");
    let hint = "nothing is overwritten: commit to the monorepo exactly what the AUR has, and then what should be \
                different; or push to the AUR by hand"
        .to_owned();
    Trouble::Person { code: "aur-conflict", message, hint }
}

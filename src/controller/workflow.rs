//! Keeps the files current that have a CI service run this program, in a commit and a push of their own: a token that may
//! push packages may often not push these, and then the packages still go in.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::run::Runner;
use super::site::Look;
use crate::domain::finding::Finding;
use crate::domain::name::Oid;
use crate::domain::workflow::{SERVICES, Service, Step, step};
use crate::git::{NewCommit, PushError, RefUpdate, Remote, Repository, TreeEdit};
use crate::sys::scratch::Scratch;

/// The subject of the commit.
const MESSAGE: &str = "chore(ci): update CI from template\n";
/// The branch of a template repository that is read.
const BRANCH: &str = "main";
/// The largest file that is read, in bytes.
const MOST_BYTES: usize = 256 << 10;

/// The files of a template repository, by their paths; what it does not have is not there.
///
/// # Errors
/// If it cannot be fetched or read.
pub async fn templates(address: &str) -> Result<BTreeMap<&'static str, String>> {
    let scratch = Scratch::new()?;
    let workspace = scratch.path().join("template.git");
    Repository::create_workspace(&workspace, None)?;
    let remote = Remote::new(workspace.clone(), address.to_owned());
    remote.fetch(&[format!("refs/heads/{BRANCH}:refs/heads/{BRANCH}")], Some(1)).await?;
    let read = move || -> Result<_> {
        let git = Repository::open(&workspace)?;
        let tip = git.resolve(&format!("refs/heads/{BRANCH}"))?.context("it has no branch `main`")?;
        files(&git, git.tree_of(tip)?)
    };
    tokio::task::spawn_blocking(read).await?
}

/// The files of all services in a tree.
fn files(git: &Repository, tree: Oid) -> Result<BTreeMap<&'static str, String>> {
    let mut files = BTreeMap::new();
    for path in SERVICES.map(Service::path) {
        if let Some(bytes) = git.file(tree, path, MOST_BYTES)? {
            files.insert(path, String::from_utf8(bytes).with_context(|| format!("{path} is not UTF-8"))?);
        }
    }
    Ok(files)
}

impl Runner {
    /// Brings installed files up to date. What is in the way becomes a finding.
    pub(super) async fn refresh_workflows(&self, look: &Look) -> Vec<Finding> {
        match self.try_to_refresh(look).await {
            Ok(findings) => findings,
            Err(error) => {
                let message = format!("the files for CI services are not brought up to date: {error:#}");
                let hint = "GitHub takes changes of workflows only with a token that has the permission `workflows`; \
                            TEMPLATE_ENABLE_UPDATES=false in .ci/config leaves the files alone";
                vec![Finding::warning("ci-template", message).at(".ci/config", None).hint(hint)]
            }
        }
    }

    async fn try_to_refresh(&self, look: &Look) -> Result<Vec<Finding>> {
        let Some(tree) = look.snapshot.main.as_ref().map(|main| main.tree) else { return Ok(Vec::new()) };
        let present = self.site.with_git(move |git| files(git, tree)).await?;
        if present.is_empty() {
            return Ok(Vec::new());
        }
        let newest = match &look.snapshot.settings.template_repository {
            Some(address) => templates(address).await.context("TEMPLATE_REPO cannot be read")?,
            None => SERVICES.map(|service| (service.path(), service.template().to_owned())).into(),
        };
        let (mut findings, mut changes) = (Vec::new(), BTreeMap::new());
        for (path, text) in &present {
            match newest.get(path).map(|template| step(Some(text), template)) {
                Some(Step::Update(text) | Step::Install(text)) => drop(changes.insert(*path, text)),
                Some(Step::Changed) => findings.push(changed(path)),
                Some(Step::Current | Step::Foreign) | None => {}
            }
        }
        if !changes.is_empty() {
            self.push_workflows(look, changes).await?;
        }
        Ok(findings)
    }

    async fn push_workflows(&self, look: &Look, changes: BTreeMap<&'static str, String>) -> Result<()> {
        let (refs, identity) = (&look.snapshot.refs, look.snapshot.settings.identity.clone());
        let (old, base, time) = (refs.main, look.snapshot.main.as_ref().map(|main| main.tree), self.clock.now());
        let commit = move |git: &Repository| -> Result<Oid> {
            let edit = |(path, text): (&'static str, String)| {
                let id = git.write_blob(text.as_bytes())?;
                Ok(TreeEdit::Put { path: path.to_owned(), id, mode: 0o100_644 })
            };
            let edits = changes.into_iter().map(edit).collect::<Result<Vec<_>>>()?;
            let tree = git.write_tree(base, &edits)?;
            let parents = old.into_iter().collect();
            Ok(git.commit(&NewCommit { tree, parents, message: MESSAGE.to_owned(), identity, time })?)
        };
        let new = Some(self.site.with_git(commit).await?);
        let update = RefUpdate { name: format!("refs/heads/{}", refs.branch), old, new };
        match self.site.remote.push(&[update], &[]).await {
            // Somebody pushed first; the next run finds the same files.
            Ok(_) | Err(PushError::Stale(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn changed(path: &str) -> Finding {
    let message = "there is a newer version of this file, and somebody changed the one that is here";
    let hint = "take over what is new (`pkgwarden init --ci … --dry-run` prints it), or delete the first line to keep yours \
                for good; without the file, `init --ci` installs it anew";
    Finding::warning("ci-template", message).at(path, Some(1)).hint(hint)
}

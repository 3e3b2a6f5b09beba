//! Brings the files of AUR packages here: from a mirror, all of them in one negotiation, or from the AUR
//! itself, package by package.
//!
//! Not for deciding what they mean: that is [`super::rule`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::srcinfo::Srcinfo;
use crate::git::{GitError, Limits, Remote, Repository};
use crate::source::budget::Budget;
use crate::source::failure::Failure;
use crate::source::lsremote::{LsError, RefReader, host};
use crate::source::retry::{after_rest, again};
use crate::source::{Patience, error_text};

use super::rule::Seen;
use super::search::{Outcome, Search};

/// A package as a commit of its branch has it.
#[derive(Debug)]
pub struct Content {
    /// What the commit says about itself.
    pub seen: Seen,
    /// Its files.
    pub folder: Folder,
    /// Who says to have made it, `name <address>`.
    pub author: String,
}

/// Packages that were brought here, and those that could not be, with the reason.
pub type Contents = BTreeMap<PkgBase, Result<Content, Failure>>;

/// One repository with a branch for each pkgbase.
#[derive(Debug)]
pub struct Mirror {
    url: String,
    reader: RefReader,
    workspace: PathBuf,
    patience: Patience,
}

impl Mirror {
    /// The mirror at `url`; objects are kept in a bare repository at `workspace`.
    pub const fn new(url: String, reader: RefReader, workspace: PathBuf, patience: Patience) -> Self {
        Self { url, reader, workspace, patience }
    }

    /// The commits of the branches that exist, found with one request.
    pub async fn tips(&self, pkgbases: &BTreeSet<PkgBase>, budget: &Budget) -> Result<BTreeMap<PkgBase, Oid>, Failure> {
        let branches: Vec<String> = pkgbases.iter().filter(|name| can_be_branch(name)).map(branch).collect();
        let names: Vec<&str> = branches.iter().map(String::as_str).collect();
        let found = budget.ask(host(&self.url), again(|| self.reader.tips(&self.url, &names))).await?;
        let tip = |pkgbase: &PkgBase| Some((pkgbase.clone(), *found.get(&branch(pkgbase))?));
        Ok(pkgbases.iter().filter_map(tip).collect())
    }

    /// The files of these packages, whose branches are there. One fetch brings all of them; a branch that is broken
    /// is searched for, so that it does not stop the others. Nothing is fetched after the `end`.
    pub async fn contents(&self, tips: &BTreeMap<PkgBase, Oid>, end: Instant) -> Contents {
        let pkgbases: Vec<PkgBase> = tips.keys().cloned().collect();
        if let Err(error) = prepare(&self.workspace).await {
            return all_failed(pkgbases, &Failure::elsewhere(error));
        }
        let deadline = end.min(Instant::now() + self.patience.total);
        let mut search = Search::new(pkgbases);
        while let Some(batch) = search.next() {
            let outcome = match self.fetch(&batch, deadline).await {
                Ok(()) => Outcome::Fetched,
                Err(error) => outcome(error, tips, deadline),
            };
            search.learn(batch, outcome);
        }
        let (fetched, failed) = search.end();
        let mut contents = read_all(&self.workspace, fetched).await;
        contents.extend(failed.into_iter().map(|(pkgbase, failure)| (pkgbase, Err(failure))));
        contents
    }

    async fn fetch(&self, batch: &[PkgBase], deadline: Instant) -> Result<(), GitError> {
        let refspecs: Vec<String> = batch.iter().map(|name| format!("{}:{}", branch(name), kept_as(name))).collect();
        let left = Patience { total: deadline.duration_since(Instant::now()), ..self.patience };
        remote(&self.workspace, self.url.clone(), left).fetch(&refspecs, Some(1)).await
    }
}

/// What a failed fetch means for those that were to be fetched together.
fn outcome(error: GitError, tips: &BTreeMap<PkgBase, Oid>, deadline: Instant) -> Outcome {
    let text = error_text(&error);
    let named = |missing: &String| {
        tips.iter().find(|(pkgbase, tip)| branch(pkgbase) == *missing || tip.to_string() == *missing)
    };
    match error {
        _ if Instant::now() >= deadline => Outcome::Hopeless(Failure::elsewhere(text)),
        GitError::MissingRefs { refs, .. } => match refs.iter().find_map(named) {
            Some((pkgbase, _)) => Outcome::Lacks(pkgbase.clone(), Failure::passing(text)),
            None => Outcome::Failed(Failure::passing(text)),
        },
        GitError::Unreachable { .. } | GitError::Command { .. } => Outcome::Failed(Failure::passing(text)),
        _ => Outcome::Hopeless(Failure::elsewhere(text)),
    }
}

/// The AUR itself: one repository for each pkgbase.
#[derive(Debug)]
pub struct Direct {
    template: String,
    reader: RefReader,
    proxy: Option<String>,
    patience: Patience,
}

impl Direct {
    /// Repositories at `template`, in which `{pkgbase}` stands for the name, fetched through `proxy`.
    pub const fn new(template: String, reader: RefReader, proxy: Option<String>, patience: Patience) -> Self {
        Self { template, reader, proxy, patience }
    }

    /// The address of one package.
    #[must_use]
    pub fn url(&self, pkgbase: &PkgBase) -> String {
        self.template.replace("{pkgbase}", pkgbase.as_str())
    }

    /// The commit of the default branch; `None` if there is none.
    pub async fn tip(&self, pkgbase: &PkgBase, budget: &Budget) -> Result<Option<Oid>, Failure> {
        let url = self.url(pkgbase);
        let ask = after_rest(|| self.reader.tips(&url, &["HEAD"]));
        Ok(budget.try_on(host(&url), ask).await?.get("HEAD").copied())
    }

    /// Why the host of a package is not asked any more in this pass; `Ok` if it may be asked.
    pub fn refusal(&self, pkgbase: &PkgBase, budget: &Budget) -> Result<(), Failure> {
        budget.refusal(host(&self.url(pkgbase)))
    }

    /// The files of one package. No two calls may use the same workspace at once: git locks it.
    pub async fn content(&self, pkgbase: &PkgBase, workspace: &Path, budget: &Budget) -> Result<Content, Failure> {
        prepare(workspace).await.map_err(Failure::elsewhere)?;
        let refspec = format!("HEAD:{}", kept_as(pkgbase));
        let (remote, refspecs) = (self.remote(pkgbase, workspace), [refspec]);
        let fetched = async { remote.fetch(&refspecs, Some(1)).await.map_err(LsError::from) };
        budget.try_on(host(&self.url(pkgbase)), fetched).await?;
        let mut read = read_all(workspace, vec![pkgbase.clone()]).await;
        read.remove(pkgbase).expect("what is asked for is answered")
    }

    fn remote(&self, pkgbase: &PkgBase, workspace: &Path) -> Remote {
        let remote = remote(workspace, self.url(pkgbase), self.patience);
        let Some(proxy) = &self.proxy else { return remote };
        let through = |remote: Remote, variable: &str| remote.env(variable, proxy.as_str());
        ["http_proxy", "https_proxy", "all_proxy"].into_iter().fold(remote.env("no_proxy", ""), through)
    }
}

/// Whether git takes the name as a branch. The AUR takes names that git does not.
#[must_use]
pub fn can_be_branch(pkgbase: &PkgBase) -> bool {
    let name = pkgbase.as_str();
    let bad_end = [".", ".lock"].into_iter().any(|end| name.ends_with(end));
    !(bad_end || name.contains("..") || name == "@")
}

fn branch(pkgbase: &PkgBase) -> String {
    format!("refs/heads/{pkgbase}")
}

fn kept_as(pkgbase: &PkgBase) -> String {
    format!("refs/pkgwarden/aur/{pkgbase}")
}

/// A remote that is left when it sends next to nothing for too long.
fn remote(workspace: &Path, url: String, patience: Patience) -> Remote {
    let idle = patience.idle.as_secs().max(1).to_string();
    let remote = Remote::new(workspace.to_owned(), url).timeout(patience.total);
    remote.env("GIT_HTTP_LOW_SPEED_LIMIT", "1").env("GIT_HTTP_LOW_SPEED_TIME", idle)
}

fn all_failed(pkgbases: impl IntoIterator<Item = PkgBase>, failure: &Failure) -> Contents {
    pkgbases.into_iter().map(|pkgbase| (pkgbase, Err(failure.clone()))).collect()
}

async fn prepare(workspace: &Path) -> Result<(), String> {
    let workspace = workspace.to_owned();
    let created = tokio::task::spawn_blocking(move || Repository::create_workspace(&workspace, None).map(drop)).await;
    created.expect("creating a repository does not panic").map_err(|error| error_text(&error))
}

async fn read_all(workspace: &Path, pkgbases: Vec<PkgBase>) -> Contents {
    let workspace = workspace.to_owned();
    let read = tokio::task::spawn_blocking(move || match Repository::open(&workspace) {
        Ok(repository) => pkgbases
            .into_iter()
            .map(|pkgbase| {
                let content = read_one(&repository, &pkgbase).map_err(Failure::question);
                (pkgbase, content)
            })
            .collect(),
        Err(error) => all_failed(pkgbases, &Failure::elsewhere(error_text(&error))),
    });
    read.await.expect("reading a repository does not panic")
}

fn read_one(repository: &Repository, pkgbase: &PkgBase) -> Result<Content, String> {
    let text = |error: GitError| error_text(&error);
    let commit = repository.resolve(&kept_as(pkgbase)).map_err(text)?.ok_or("its branch vanished while it was read")?;
    let facts = repository.commit_facts(commit).map_err(text)?;
    let tree = repository.tree_of(commit).map_err(text)?;
    let folder = repository
        .folder(tree, &Limits::default())
        .map_err(|error| format!("the files of commit {} are not taken: {}", commit.short(), error_text(&error)))?;
    let srcinfo = folder.get(".SRCINFO").and_then(|text| Srcinfo::parse(text).ok());
    let seen = Seen { commit, time: facts.time.as_second(), version: srcinfo.map(|srcinfo| srcinfo.version) };
    Ok(Content { seen, folder, author: facts.author })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_does_not_take_as_a_branch_are_known() {
        for (name, legal) in
            [("foo", true), ("c++utilities", true), ("a..b", false), ("a.", false), ("a.lock", false), ("@", false)]
        {
            assert_eq!(can_be_branch(&PkgBase::new(name).expect("legal for makepkg")), legal, "{name}");
        }
    }
}

//! Finds in the packages, in open reviews, in what was recorded and in the past what indicators name.
//! Only reads.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::Result;

use super::Controller;
use super::face::{AuditRequest, ControllerError};
use super::query::not_looked;
use crate::domain::audit::{Audit, Found, Here, Match, Place, Searcher, gather};
use crate::domain::desired::Refs;
use crate::domain::name::{Oid, PkgBase};
use crate::git::{Entry, GitError, Repository};
use crate::telemetry::progress;

/// A larger file is not searched, and that is said.
const LARGEST: usize = 16 << 20;
/// Folders within folders deeper than this are not searched, and that is said.
const DEEPEST: usize = 32;
/// How many commits of the past are searched unless more are asked for.
pub const COMMITS: usize = 100_000;

/// Searches everything that is reached from these refs, and so many commits of the past, if any.
///
/// # Errors
/// If objects that must be there cannot be read, or the history cannot be listed.
pub fn audit(git: &Repository, refs: &Refs, searcher: &Searcher, commits: Option<usize>) -> Result<Audit> {
    let mut search = Search { git, searcher, found: Found::new(), searched: HashSet::new(), unsearched: Vec::new() };
    let (files, packages) = search.files(refs)?;
    search.read("searching files", files.iter().map(|file| (file.path.as_str(), file.id)))?;
    let history = match (commits, refs.main) {
        (Some(most), Some(main)) => {
            let _task = progress::task("listing the commits of the past");
            Some(git.history_files(main, most)?)
        }
        _ => None,
    };
    if let Some(history) = &history {
        let written = history.commits.iter().flat_map(|commit| &commit.files).map(|(path, id)| (path.as_str(), *id));
        search.read("searching files of the past", written)?;
        if !history.whole {
            let count = history.commits.len();
            search.unsearched.push(format!("commits before the last {count}; ask for more, or fetch them"));
        }
    }
    let past = history.as_ref().map(|history| &*history.commits);
    let (hits, affected) = gather(searcher, &files, past, &search.found);
    Ok(Audit {
        commit: refs.main,
        packages,
        reviews: refs.reviews.len(),
        commits: past.map(<[_]>::len),
        hits,
        affected,
        unsearched: search.unsearched,
    })
}

impl Controller {
    /// Searches every repository that is kept, as it was last looked at.
    pub(super) async fn audit_kept(&self, request: AuditRequest) -> Result<Audit, ControllerError> {
        let searcher = Arc::new(Searcher::new(request.indicators));
        let mut whole: Option<Audit> = None;
        for kept in self.kept() {
            let Some(look) = kept.looked().look else { continue };
            let (searcher, refs) = (searcher.clone(), look.snapshot.refs.clone());
            let found = kept.site().with_git(move |git| audit(git, &refs, &searcher, request.commits)).await?;
            whole = Some(match whole {
                Some(others) => others.and(found),
                None => found,
            });
        }
        whole.ok_or_else(not_looked)
    }
}

struct Search<'a> {
    git: &'a Repository,
    searcher: &'a Searcher,
    found: Found,
    searched: HashSet<Oid>,
    unsearched: Vec<String>,
}

/// How reading one content ended.
enum Read {
    Searched(Vec<Match>),
    Missing,
    TooLarge,
}

impl Search<'_> {
    /// Every file that is there, and how many folders are packages.
    fn files(&mut self, refs: &Refs) -> Result<(Vec<Here>, usize)> {
        let _task = progress::task("listing files");
        let mut files = Vec::new();
        let root = refs.main.map(|main| self.git.entries(self.git.tree_of(main)?)).transpose()?.unwrap_or_default();
        let is_package = |entry: &&Entry| entry.is_tree && PkgBase::new(&entry.name).is_ok();
        let packages = root.iter().filter(is_package).count();
        let listed = self.git.map(&root, list)?;
        self.take(&mut files, listed, Place::Current);
        let present: HashSet<(String, Oid)> = files.iter().map(|file| (file.path.clone(), file.id)).collect();
        let reviews: Vec<(&PkgBase, &Oid)> =
            refs.reviews.iter().filter(|(_, head)| self.git.contains(**head)).collect();
        let missing = refs.reviews.len() - reviews.len();
        if missing > 0 {
            self.unsearched.push(format!("{missing} reviews whose commits are not in this clone; fetch them"));
        }
        let proposed = self.git.map(&reviews, |git, (pkgbase, head)| {
            let folder = git.entry_at(git.tree_of(**head)?, pkgbase.as_str())?;
            folder.map_or_else(|| Ok(Listed::default()), |folder| list(git, &folder))
        })?;
        for ((pkgbase, head), mut listed) in reviews.into_iter().zip(proposed) {
            listed.files.retain(|file| !present.contains(file));
            let before = files.len();
            self.take(&mut files, vec![listed], Place::Review);
            files[before..].iter_mut().for_each(|file| file.review = Some((pkgbase.clone(), *head)));
        }
        let states = refs.state.map(|state| self.git.entries(self.git.tree_of(state)?)).transpose()?;
        let states = states.unwrap_or_default().into_iter().filter(|entry| !entry.is_tree);
        files.extend(states.map(|entry| Here { place: Place::State, review: None, path: entry.name, id: entry.id }));
        Ok((files, packages))
    }

    fn take(&mut self, files: &mut Vec<Here>, listed: Vec<Listed>, place: Place) {
        for Listed { files: found, too_deep } in listed {
            self.unsearched
                .extend(too_deep.into_iter().map(|path| format!("{}: too many folders", path.escape_debug())));
            files.extend(found.into_iter().map(|(path, id)| Here { place, review: None, path, id }));
        }
    }

    /// Searches contents that were not searched yet.
    fn read<'b>(&mut self, what: &'static str, files: impl Iterator<Item = (&'b str, Oid)>) -> Result<()> {
        let new: Vec<(&str, Oid)> = files.filter(|(_, id)| self.searched.insert(*id)).collect();
        let task = progress::counted(what, new.len());
        let searcher = self.searcher;
        let read = self.git.map(&new, |git, (_, id)| {
            task.advance();
            match git.blob(*id, LARGEST) {
                Ok(bytes) => Ok(Read::Searched(searcher.search(&bytes))),
                Err(GitError::MissingObject { .. }) => Ok(Read::Missing),
                Err(GitError::TooLarge { .. }) => Ok(Read::TooLarge),
                Err(error) => Err(error),
            }
        })?;
        let mut missing = 0_usize;
        for ((path, id), read) in new.into_iter().zip(read) {
            match read {
                Read::Searched(matches) if matches.is_empty() => {}
                Read::Searched(matches) => drop(self.found.insert(id, matches)),
                Read::Missing => missing += 1,
                Read::TooLarge => {
                    self.unsearched.push(format!("{}: more than {} MiB", path.escape_debug(), LARGEST >> 20));
                }
            }
        }
        if missing > 0 {
            self.unsearched.push(format!("{missing} files that are not in this clone; fetch them"));
        }
        Ok(())
    }
}

/// What lies under one entry.
#[derive(Default)]
struct Listed {
    files: Vec<(String, Oid)>,
    too_deep: Vec<String>,
}

fn list(git: &Repository, entry: &Entry) -> Result<Listed, GitError> {
    const FILE_TYPES: [u32; 2] = [0o100_000, 0o120_000];
    let mut listed = Listed::default();
    let mut folders = vec![(entry.name.clone(), entry.clone(), 0)];
    while let Some((path, entry, depth)) = folders.pop() {
        if !entry.is_tree {
            listed.files.extend(FILE_TYPES.contains(&(entry.mode & 0o170_000)).then_some((path, entry.id)));
        } else if depth == DEEPEST {
            listed.too_deep.push(path);
        } else {
            let below = git.entries(entry.id)?.into_iter();
            folders.extend(below.map(|entry| (format!("{path}/{}", entry.name), entry, depth + 1)));
        }
    }
    Ok(listed)
}

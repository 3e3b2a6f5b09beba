//! Reads snapshots from the object database. No work tree is involved, and what was parsed once is
//! remembered by the id of its git tree, so that a second look costs what has changed.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::config;
use crate::domain::desired::{Interfere, Package, Refs, ReviewBranch, Snapshot, Tip};
use crate::domain::finding::Finding;
use crate::domain::folder;
use crate::domain::library::{relink, versions};
use crate::domain::lint;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::RepositorySettings;
use crate::domain::srcinfo::Srcinfo;
use crate::domain::state::PackageState;
use crate::domain::{cache, classify};
use crate::git::{Entry, GitError, Repository};
use crate::source::nvchecker;

/// A `.SRCINFO`, `.CI/config` or state file larger than this is not one.
pub(super) const SMALL_FILE: usize = 4 << 20;

/// Reads snapshots, remembering what was parsed. Of what is remembered, only what the last snapshot held
/// is kept.
#[derive(Debug, Default)]
pub struct SnapshotReader {
    packages: Mutex<HashMap<(PkgBase, Oid), Arc<Package>>>,
    reviews: Mutex<HashMap<ReviewKey, ReviewBranch>>,
    states: Mutex<HashMap<Oid, PackageState>>,
}

/// What the facts about a review follow from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ReviewKey {
    pkgbase: PkgBase,
    head: Oid,
    /// The folder that the branch with the packages has now.
    present: Option<Oid>,
}

impl SnapshotReader {
    /// Reads everything at these refs.
    ///
    /// # Errors
    /// If an object that must be there cannot be read. What is wrong *in* files becomes a finding.
    pub fn read(&self, git: &Repository, repository: &str, refs: Refs) -> Result<Snapshot> {
        let snapshot = self.read_packages(git, repository, refs)?;
        self.add_reviews(git, snapshot, |_| true)
    }

    /// Reads everything at these refs but the reviews. Which there are, the refs tell.
    ///
    /// # Errors
    /// As [`SnapshotReader::read`].
    pub fn read_packages(&self, git: &Repository, repository: &str, refs: Refs) -> Result<Snapshot> {
        let mut findings = Vec::new();
        let main = refs.main.map(|commit| anyhow::Ok(Tip { commit, tree: git.tree_of(commit)? })).transpose()?;
        let root = main.map(|tip| git.entries(tip.tree)).transpose()?.unwrap_or_default();
        let (settings, gate) = read_settings(git, &root, &mut findings)?;
        let packages = self.read_folders(git, package_folders(root, &mut findings))?;
        let StateBranch { states, version_state, soname_state } = self.read_states(git, refs.state)?;
        Ok(Snapshot {
            repository: repository.to_owned(),
            refs,
            main,
            settings,
            gate,
            packages,
            reviews: BTreeMap::new(),
            states,
            version_state,
            soname_state,
            findings,
        })
    }

    /// Reads the reviews of packages that are `wanted`, too: where nothing is remembered, reviews can be
    /// the larger part of the work.
    ///
    /// # Errors
    /// As [`SnapshotReader::read`].
    pub fn add_reviews(
        &self,
        git: &Repository,
        snapshot: Snapshot,
        wanted: impl Fn(&PkgBase) -> bool,
    ) -> Result<Snapshot> {
        let heads = snapshot.refs.reviews.iter().filter(|(pkgbase, _)| wanted(pkgbase));
        let reviews = self.read_reviews(git, heads, &snapshot.packages)?;
        Ok(Snapshot { reviews, ..snapshot })
    }

    /// Reads the packages of a tree for a snapshot to come.
    ///
    /// # Errors
    /// As [`SnapshotReader::read`].
    pub fn remember(&self, git: &Repository, tree: Oid) -> Result<()> {
        self.read_folders(git, package_folders(git.entries(tree)?, &mut Vec::new())).map(drop)
    }

    fn read_folders(&self, git: &Repository, folders: Vec<(PkgBase, Oid)>) -> Result<BTreeMap<PkgBase, Arc<Package>>> {
        let remembered = &mut *self.packages.lock().expect("no reader panics");
        let configs = Configs::default();
        *remembered = recall(git, remembered, folders, |git, (pkgbase, tree)| {
            let package = read_package(git, &configs, pkgbase, *tree);
            Ok(Arc::new(package.with_context(|| format!("cannot read the folder `{pkgbase}`"))?))
        })?;
        Ok(remembered.iter().map(|((pkgbase, _), package)| (pkgbase.clone(), package.clone())).collect())
    }

    fn read_reviews<'a>(
        &self,
        git: &Repository,
        heads: impl Iterator<Item = (&'a PkgBase, &'a Oid)>,
        packages: &BTreeMap<PkgBase, Arc<Package>>,
    ) -> Result<BTreeMap<PkgBase, ReviewBranch>> {
        let key = |(pkgbase, &head): (&PkgBase, &Oid)| ReviewKey {
            pkgbase: pkgbase.clone(),
            head,
            present: packages.get(pkgbase).map(|package| package.tree),
        };
        let remembered = &mut *self.reviews.lock().expect("no reader panics");
        let mut keys: Vec<ReviewKey> = heads.map(key).collect();
        // Root trees are stored as differences from others of about the same time.
        keys.sort_by_cached_key(|key| {
            let unknown = !remembered.contains_key(key);
            unknown.then(|| git.commit_facts(key.head).map_or(Timestamp::MIN, |commit| commit.time))
        });
        *remembered = recall(git, remembered, keys, read_review)?;
        Ok(remembered.iter().map(|(key, review)| (key.pkgbase.clone(), review.clone())).collect())
    }

    fn read_states(&self, git: &Repository, state: Option<Oid>) -> Result<StateBranch> {
        let Some(commit) = state else { return Ok(StateBranch::default()) };
        let files = git.entries(git.tree_of(commit)?)?;
        let named = files.iter().filter(|entry| !entry.is_tree).filter_map(|entry| {
            let pkgbase = PkgBase::new(&entry.name).ok()?;
            Some((pkgbase, entry.id))
        });
        let named: Vec<(PkgBase, Oid)> = named.collect();
        let remembered = &mut *self.states.lock().expect("no reader panics");
        let read =
            |git: &Repository, id: &Oid| Ok(PackageState::parse(&String::from_utf8_lossy(&git.blob(*id, SMALL_FILE)?)));
        *remembered = recall(git, remembered, named.iter().map(|(_, id)| *id).collect(), read)?;
        let states = named.into_iter().map(|(pkgbase, id)| (pkgbase, remembered[&id].clone()));
        Ok(StateBranch {
            states: states.collect(),
            version_state: read_text(git, &files, versions::PATH)?,
            soname_state: read_text(git, &files, relink::PATH)?,
        })
    }
}

/// The files of the branch `state`.
#[derive(Debug, Default)]
struct StateBranch {
    states: BTreeMap<PkgBase, PackageState>,
    version_state: Option<String>,
    soname_state: Option<String>,
}

/// A value for each key: the remembered one, or else a new one.
fn recall<K: Clone + Eq + Hash + Sync, V: Clone + Send>(
    git: &Repository,
    remembered: &HashMap<K, V>,
    keys: Vec<K>,
    read: impl Fn(&Repository, &K) -> Result<V> + Sync,
) -> Result<HashMap<K, V>> {
    let mut values = HashMap::with_capacity(keys.len());
    let mut unknown = Vec::new();
    for key in keys {
        match remembered.get(&key) {
            Some(value) => drop(values.insert(key, value.clone())),
            None => unknown.push(key),
        }
    }
    let read = git.map(&unknown, read)?;
    values.extend(unknown.into_iter().zip(read));
    Ok(values)
}

/// The folders that can be packages.
pub(super) fn package_folders(root: Vec<Entry>, findings: &mut Vec<Finding>) -> Vec<(PkgBase, Oid)> {
    let mut folders = Vec::with_capacity(root.len());
    for entry in root.into_iter().filter(|entry| entry.is_tree && !entry.name.starts_with('.')) {
        match PkgBase::new(&entry.name) {
            Ok(pkgbase) => folders.push((pkgbase, entry.id)),
            Err(error) => {
                let hint = "rename the folder, or give it a leading dot to keep it out";
                findings.push(Finding::error("folder-name", error.to_string()).at(entry.name, None).hint(hint));
            }
        }
    }
    folders
}

fn read_review(git: &Repository, key: &ReviewKey) -> Result<ReviewBranch> {
    let ReviewKey { pkgbase, head, present } = key;
    let folder = git.entry_at(git.tree_of(*head)?, pkgbase.as_str())?.filter(|entry| entry.is_tree);
    let folder = folder.map(|folder| folder.id);
    let identical = folder.is_some() && folder == *present;
    let arrived = match folder.zip(*present) {
        Some((proposed, present)) => identical || from_source(git, proposed)? == from_source(git, present)?,
        None => false,
    };
    Ok(ReviewBranch { head: *head, folder, arrived, identical })
}

/// What a folder holds without the monorepo's own entries. No file is read: git names content by hash.
fn from_source(git: &Repository, tree: Oid) -> Result<Vec<Entry>> {
    let entries = git.entries(tree)?;
    Ok(entries.into_iter().filter(|entry| !folder::OWN_ENTRIES.contains(&entry.name.as_str())).collect())
}

fn read_settings(
    git: &Repository,
    root: &[Entry],
    findings: &mut Vec<Finding>,
) -> Result<(RepositorySettings, classify::Policy)> {
    let Some(ci) = root.iter().find(|entry| entry.is_tree && entry.name == ".ci") else {
        return Ok(Default::default());
    };
    let files = git.entries(ci.id)?;
    let config = read_text(git, &files, "config")?.unwrap_or_default();
    let maintainers = read_text(git, &files, "aur-maintainers")?;
    let (settings, mut found) = config::repository::parse(&config, maintainers.as_deref());
    findings.append(&mut found);
    let policy = read_text(git, &files, "policy.toml")?.unwrap_or_default();
    let (gate, mut found) = config::policy::read(&policy);
    findings.append(&mut found);
    Ok((settings, gate))
}

/// The texts of `.CI/config` that were read in one pass. Half of all packages have the same as another one.
#[derive(Debug, Default)]
struct Configs(Mutex<HashMap<Oid, Arc<str>>>);

impl Configs {
    /// The text, which is empty if there is none; `None` if it is too large.
    fn read(&self, git: &Repository, own: &[Entry]) -> Result<Option<Arc<str>>> {
        let Some(entry) = own.iter().find(|entry| !entry.is_tree && entry.name == "config") else {
            return Ok(Some(Arc::default()));
        };
        if let Some(known) = self.0.lock().expect("no reader panics").get(&entry.id) {
            return Ok(Some(known.clone()));
        }
        let Some(bytes) = small_file(git, entry.id)? else { return Ok(None) };
        let text: Arc<str> = String::from_utf8_lossy(&bytes).into();
        self.0.lock().expect("no reader panics").insert(entry.id, text.clone());
        Ok(Some(text))
    }
}

/// A file of a package; `None` if it is larger than such files are, which is that package's trouble and nobody else's.
fn small_file(git: &Repository, id: Oid) -> Result<Option<Vec<u8>>> {
    match git.blob(id, SMALL_FILE) {
        Err(GitError::TooLarge { .. }) => Ok(None),
        read => Ok(Some(read?)),
    }
}

/// What is wrong with the cache sets that a package declares; what is right about them is read when it is built.
fn cache_findings(git: &Repository, pkgbase: &PkgBase, own: &[Entry]) -> Result<Vec<Finding>> {
    let path = format!("{pkgbase}/{}", cache::PATH);
    let Some(entry) = own.iter().find(|entry| !entry.is_tree && path.ends_with(&format!("/{}", entry.name))) else {
        return Ok(Vec::new());
    };
    Ok(match small_file(git, entry.id)? {
        Some(text) => config::cache::parse(&String::from_utf8_lossy(&text), &path).1,
        None => vec![Finding::warning("cache", too_large()).at(path, None).hint("declare fewer sets")],
    })
}

fn too_large() -> String {
    format!("it is larger than {} MiB, so it is not read", SMALL_FILE >> 20)
}

/// The package of a folder, wherever it is proposed.
pub(super) fn package_at(git: &Repository, pkgbase: &PkgBase, tree: Oid) -> Result<Package> {
    let package = read_package(git, &Configs::default(), pkgbase, tree);
    package.with_context(|| format!("cannot read the folder `{pkgbase}`"))
}

fn read_package(git: &Repository, configs: &Configs, pkgbase: &PkgBase, tree: Oid) -> Result<Package> {
    let files = git.entries(tree)?;
    let own = match files.iter().find(|entry| entry.is_tree && entry.name == ".CI") {
        Some(own) => git.entries(own.id)?,
        None => Vec::new(),
    };
    let mut findings = Vec::new();
    let config_path = format!("{pkgbase}/.CI/config");
    let config = configs.read(git, &own)?;
    if config.is_none() {
        let hint = "restore it, or remove what does not belong there";
        findings.push(Finding::error("config-unreadable", too_large()).at(config_path.clone(), None).hint(hint));
    }
    let config = config.unwrap_or_default();
    let (settings, mut found) = config::package::parse(&config, &config_path);
    findings.append(&mut found);
    findings.append(&mut cache_findings(git, pkgbase, &own)?);
    let srcinfo = read_srcinfo(git, pkgbase, &files, &mut findings)?;
    let has_pkgbuild = files.iter().any(|entry| !entry.is_tree && entry.name == "PKGBUILD");
    if !has_pkgbuild {
        let hint = "add one, or remove the folder, or give its name a leading dot";
        findings.push(
            Finding::error("pkgbuild-missing", "the folder has no PKGBUILD, so it is not built")
                .at(format!("{pkgbase}/PKGBUILD"), None)
                .hint(hint),
        );
    }
    let version_file = version_file(&files, &own);
    findings.extend(lint::version_file(pkgbase, &settings, version_file.as_deref()));
    let interfere =
        Interfere::ALL.into_iter().filter(|kind| own.iter().any(|entry| entry.name == kind.file_name())).collect();
    let findings = findings.into_iter().map(|finding| finding.with_package(pkgbase)).collect();
    Ok(Package {
        pkgbase: pkgbase.clone(),
        tree,
        srcinfo,
        settings,
        config,
        interfere,
        has_pkgbuild,
        version_file,
        findings,
    })
}

/// The first of the places where the file may stand that says how the newest version is found.
fn version_file(files: &[Entry], own: &[Entry]) -> Option<String> {
    let is_there = |path: &&&str| {
        let (entries, name) = path.strip_prefix(".CI/").map_or((files, **path), |name| (own, name));
        entries.iter().any(|entry| !entry.is_tree && entry.name == name)
    };
    nvchecker::PLACES.iter().find(is_there).map(|&path| path.to_owned())
}

fn read_srcinfo(
    git: &Repository,
    pkgbase: &PkgBase,
    files: &[Entry],
    findings: &mut Vec<Finding>,
) -> Result<Option<Srcinfo>> {
    let path = format!("{pkgbase}/.SRCINFO");
    let remedy = "regenerate it with `makepkg --printsrcinfo > .SRCINFO`";
    let Some(entry) = files.iter().find(|entry| !entry.is_tree && entry.name == ".SRCINFO") else {
        findings.push(
            Finding::warning("srcinfo-missing", "there is no .SRCINFO, so its dependencies are unknown")
                .at(path, None)
                .hint(remedy),
        );
        return Ok(None);
    };
    let read = match small_file(git, entry.id)? {
        Some(bytes) => Srcinfo::parse(&bytes).map_err(|error| (error.message, error.line)),
        None => Err((too_large(), None)),
    };
    read.map(Some).or_else(|(message, line)| {
        findings.push(Finding::error("srcinfo-unreadable", message).at(path, line).hint(remedy));
        Ok(None)
    })
}

fn read_text(git: &Repository, files: &[Entry], name: &str) -> Result<Option<String>> {
    let Some(entry) = files.iter().find(|entry| !entry.is_tree && entry.name == name) else { return Ok(None) };
    Ok(Some(String::from_utf8_lossy(&git.blob(entry.id, SMALL_FILE)?).into_owned()))
}

#[cfg(test)]
mod tests;

//! Reads snapshots from the object database. No work tree is involved, and what was parsed once is
//! remembered by the id of its git tree, so that a second look costs what has changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};

use crate::config;
use crate::domain::desired::{Interfere, Package, Refs, ReviewBranch, Snapshot, Tip};
use crate::domain::finding::Finding;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::RepositorySettings;
use crate::domain::srcinfo::Srcinfo;
use crate::domain::state::PackageState;
use crate::git::{Entry, Limits, Repository};

/// A `.SRCINFO`, `.CI/config` or state file larger than this is not one.
pub(super) const SMALL_FILE: usize = 4 << 20;

/// Reads snapshots, remembering what was parsed.
#[derive(Debug, Default)]
pub struct SnapshotReader {
    packages: Mutex<HashMap<(PkgBase, Oid), Arc<Package>>>,
    digests: Mutex<HashMap<Oid, Arc<str>>>,
}

impl SnapshotReader {
    /// Reads everything at these refs.
    ///
    /// # Errors
    /// If an object that must be there cannot be read. What is wrong *in* files becomes a finding.
    pub fn read(&self, git: &Repository, repository: &str, refs: Refs) -> Result<Snapshot> {
        let mut findings = Vec::new();
        let main = refs.main.map(|commit| anyhow::Ok(Tip { commit, tree: git.tree_of(commit)? })).transpose()?;
        let root = main.map(|tip| git.entries(tip.tree)).transpose()?.unwrap_or_default();
        let settings = read_settings(git, &root, &mut findings)?;
        let packages = self.read_packages(git, &root, &mut findings)?;
        let reviews = self.read_reviews(git, &refs, &packages)?;
        let (states, version_state) = read_states(git, refs.state)?;
        Ok(Snapshot {
            repository: repository.to_owned(),
            refs,
            main,
            settings,
            packages,
            reviews,
            states,
            version_state,
            findings,
        })
    }

    fn read_packages(
        &self,
        git: &Repository,
        root: &[Entry],
        findings: &mut Vec<Finding>,
    ) -> Result<BTreeMap<PkgBase, Arc<Package>>> {
        let mut remembered = self.packages.lock().expect("no reader panics");
        let mut current = HashMap::with_capacity(root.len());
        let mut packages = BTreeMap::new();
        for entry in root.iter().filter(|entry| entry.is_tree && !entry.name.starts_with('.')) {
            let pkgbase = match PkgBase::new(&entry.name) {
                Ok(pkgbase) => pkgbase,
                Err(error) => {
                    let hint = "rename the folder, or give it a leading dot to keep it out";
                    findings
                        .push(Finding::error("folder-name", error.to_string()).at(entry.name.clone(), None).hint(hint));
                    continue;
                }
            };
            let key = (pkgbase.clone(), entry.id);
            let package = match remembered.remove(&key) {
                Some(package) => package,
                None => Arc::new(
                    read_package(git, &pkgbase, entry.id)
                        .with_context(|| format!("cannot read the folder `{pkgbase}`"))?,
                ),
            };
            current.insert(key, package.clone());
            packages.insert(pkgbase, package);
        }
        *remembered = current;
        Ok(packages)
    }

    fn read_reviews(
        &self,
        git: &Repository,
        refs: &Refs,
        packages: &BTreeMap<PkgBase, Arc<Package>>,
    ) -> Result<BTreeMap<PkgBase, ReviewBranch>> {
        let mut reviews = BTreeMap::new();
        for (pkgbase, &head) in &refs.reviews {
            let folder = git
                .entries(git.tree_of(head)?)?
                .into_iter()
                .find(|entry| entry.is_tree && entry.name == pkgbase.as_str());
            let content = folder.map(|folder| self.digest(git, folder.id));
            let present = packages.get(pkgbase).map(|package| self.digest(git, package.tree));
            reviews.insert(pkgbase.clone(), ReviewBranch { head, content, present });
        }
        Ok(reviews)
    }

    /// Digest of the files of a folder without the monorepo's own. A folder that must not be read (a
    /// person can push anything to a branch) gets a digest that equals nothing.
    fn digest(&self, git: &Repository, tree: Oid) -> String {
        let mut digests = self.digests.lock().expect("no reader panics");
        let digest = digests.entry(tree).or_insert_with(|| match git.folder(tree, &Limits::default()) {
            Ok(folder) => folder.from_source().digest().into(),
            Err(_) => format!("unreadable:{tree}").into(),
        });
        digest.to_string()
    }
}

fn read_settings(git: &Repository, root: &[Entry], findings: &mut Vec<Finding>) -> Result<RepositorySettings> {
    let Some(ci) = root.iter().find(|entry| entry.is_tree && entry.name == ".ci") else {
        return Ok(RepositorySettings::default());
    };
    let files = git.entries(ci.id)?;
    let config = read_text(git, &files, "config")?.unwrap_or_default();
    let maintainers = read_text(git, &files, "aur-maintainers")?;
    let (settings, mut found) = config::repository::parse(&config, maintainers.as_deref());
    findings.append(&mut found);
    Ok(settings)
}

fn read_package(git: &Repository, pkgbase: &PkgBase, tree: Oid) -> Result<Package> {
    let files = git.entries(tree)?;
    let own = match files.iter().find(|entry| entry.is_tree && entry.name == ".CI") {
        Some(own) => git.entries(own.id)?,
        None => Vec::new(),
    };
    let mut findings = Vec::new();
    let config = read_text(git, &own, "config")?.unwrap_or_default();
    let (settings, mut found) = config::package::parse(&config, &format!("{pkgbase}/.CI/config"));
    findings.append(&mut found);
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
    let interfere =
        Interfere::ALL.into_iter().filter(|kind| own.iter().any(|entry| entry.name == kind.file_name())).collect();
    let findings = findings.into_iter().map(|finding| finding.with_package(pkgbase)).collect();
    Ok(Package { pkgbase: pkgbase.clone(), tree, srcinfo, settings, config, interfere, has_pkgbuild, findings })
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
    match Srcinfo::parse(&git.blob(entry.id, SMALL_FILE)?) {
        Ok(srcinfo) => Ok(Some(srcinfo)),
        Err(error) => {
            findings.push(Finding::error("srcinfo-unreadable", error.message).at(path, error.line).hint(remedy));
            Ok(None)
        }
    }
}

/// The state files by package, and the text of `.version-state`.
fn read_states(git: &Repository, state: Option<Oid>) -> Result<(BTreeMap<PkgBase, PackageState>, Option<String>)> {
    let Some(commit) = state else { return Ok((BTreeMap::new(), None)) };
    let files = git.entries(git.tree_of(commit)?)?;
    let mut states = BTreeMap::new();
    for entry in files.iter().filter(|entry| !entry.is_tree) {
        if let Ok(pkgbase) = PkgBase::new(&entry.name) {
            let text = String::from_utf8_lossy(&git.blob(entry.id, SMALL_FILE)?).into_owned();
            states.insert(pkgbase, PackageState::parse(&text));
        }
    }
    Ok((states, read_text(git, &files, ".version-state")?))
}

fn read_text(git: &Repository, files: &[Entry], name: &str) -> Result<Option<String>> {
    let Some(entry) = files.iter().find(|entry| !entry.is_tree && entry.name == name) else { return Ok(None) };
    Ok(Some(String::from_utf8_lossy(&git.blob(entry.id, SMALL_FILE)?).into_owned()))
}

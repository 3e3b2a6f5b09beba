//! Asks sources, many at once, and turns their answers into observations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;

use super::apply::folder_at;
use super::versions::Checks;
use crate::domain::addition::Addition;
use crate::domain::desired::{Package, Snapshot};
use crate::domain::finding::Finding;
use crate::domain::folder::Folder;
use crate::domain::keepers::Keepers;
use crate::domain::library::Libraries;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::{Meant, Observation, Observations, Opinion, Proposal, Upstream};
use crate::domain::plan::{self, Pipeline, Request};
use crate::domain::standing::Standing;
use crate::git::{FolderError, Limits, Repository};
use crate::source::vcs::UpstreamRequest;
use crate::source::{Pass, SourceAnswer, SourceRequest, Sources};

/// What sources said, before it is compared with the monorepo: it stays valid when the monorepo moves.
#[derive(Debug, Default)]
pub struct Answers {
    pub(super) files: BTreeMap<PkgBase, SourceAnswer>,
    /// The trees of those whose files were made from what the monorepo had.
    pub(super) made_from: BTreeMap<PkgBase, Oid>,
    keepers: BTreeMap<PkgBase, Keepers>,
    standing: BTreeMap<PkgBase, Standing>,
    meant: BTreeMap<PkgBase, Meant>,
    pub(super) upstream: BTreeMap<PkgBase, Upstream>,
    /// What packages' own scripts say of whether they have to be built.
    pub(super) opinions: BTreeMap<PkgBase, Opinion>,
    /// Packages with builds that have not ended.
    pub(super) in_queue: BTreeSet<PkgBase>,
    /// The databases of `CI_LIB_DB`, and what we published ourselves.
    pub(super) libraries: Option<Libraries>,
    findings: Vec<Finding>,
}

/// Asks every source what a schedule has to know.
pub async fn ask(sources: &Sources, snapshot: &Snapshot, checks: Checks, now: Timestamp) -> Answers {
    let requests = plan::requests(snapshot).into_iter().map(|Request { pkgbase, source, cursor, version }| {
        let members = members(snapshot, &pkgbase);
        SourceRequest { pkgbase, kind: source, cursor, version, members }
    });
    let following = snapshot.packages.values().filter(|package| package.follows_upstream());
    let following: Vec<UpstreamRequest> =
        following.filter_map(|package| UpstreamRequest::new(&package.pkgbase, package.srcinfo.as_ref()?)).collect();
    ask_all(&sources.pass(now), requests.collect(), following, checks, now).await
}

/// Asks the sources of packages that are to be added.
pub async fn ask_for(sources: &Sources, additions: &[Addition], now: Timestamp) -> Answers {
    let request = |Addition { pkgbase, source, .. }: &Addition| SourceRequest {
        pkgbase: pkgbase.clone(),
        kind: source.clone(),
        cursor: None,
        version: None,
        members: vec![pkgbase.to_string()],
    };
    let requests = additions.iter().map(request).collect();
    ask_all(&sources.errand(now), requests, Vec::new(), Checks::default(), now).await
}

async fn ask_all(
    pass: &Pass<'_>,
    requests: Vec<SourceRequest>,
    following: Vec<UpstreamRequest>,
    checks: Checks,
    now: Timestamp,
) -> Answers {
    let (files, (versions, findings), upstream) =
        tokio::join!(pass.observe(&requests), checks.ask(pass, now), pass.upstream(&following));
    let mut answers = files.files;
    answers.extend(versions);
    for request in requests {
        // Never silently current: what nobody can ask yet is unknown.
        let error = || format!("sources of the kind `{}` are not asked by this version", request.kind.name());
        answers.entry(request.pkgbase).or_insert_with(|| SourceAnswer::unknown(error()));
    }
    let keepers = files.aur.iter().map(|(pkgbase, facts)| (pkgbase.clone(), facts.keepers())).collect();
    let standing = files.aur.iter().filter_map(|(pkgbase, facts)| Some((pkgbase.clone(), facts.standing()?))).collect();
    let findings = files.findings.into_iter().chain(findings).collect();
    let meant = files.meant;
    Answers { files: answers, keepers, standing, meant, upstream, findings, ..Answers::default() }
}

/// The packages that a folder yields.
fn members(snapshot: &Snapshot, pkgbase: &PkgBase) -> Vec<String> {
    let srcinfo = snapshot.packages.get(pkgbase).and_then(|package| package.srcinfo.as_ref());
    srcinfo.iter().flat_map(|srcinfo| &srcinfo.members).map(|member| member.name.to_string()).collect()
}

/// Compares answers with the monorepo.
///
/// # Errors
/// If the monorepo's objects cannot be read.
pub fn compare(git: &Repository, snapshot: &Snapshot, pipeline: &Pipeline, answers: &Answers) -> Result<Observations> {
    let mut observations = Observations {
        keepers: answers.keepers.clone(),
        standing: answers.standing.clone(),
        meant: answers.meant.clone(),
        upstream: answers.upstream.clone(),
        opinions: answers.opinions.clone(),
        in_queue: answers.in_queue.clone(),
        libraries: answers.libraries.clone(),
        findings: answers.findings.clone(),
        ..Observations::default()
    };
    for (pkgbase, answer) in &answers.files {
        if let (SourceAnswer::Files { packager, .. }, Some(keepers)) = (answer, observations.keepers.get_mut(pkgbase)) {
            keepers.packager.clone_from(packager);
        }
        if let Some(package) = snapshot.packages.get(pkgbase) {
            let present = || git.folder(package.tree, &Limits::default());
            let overtaken = answers.made_from.get(pkgbase).is_some_and(|tree| *tree != package.tree);
            let observation = if overtaken { overtaken_by_a_person() } else { observation(answer, present) };
            observations.files.insert(pkgbase.clone(), observation);
        } else if matches!(pipeline, Pipeline::Add(..)) {
            observations.files.insert(pkgbase.clone(), observation(answer, || Ok(Folder::default())));
        }
    }
    observations.waiting = waiting(git, snapshot, &observations.files);
    observations.upstream.retain(|pkgbase, _| snapshot.packages.contains_key(pkgbase));
    // Between question and answer somebody may have taken the script out.
    let decides = |pkgbase: &PkgBase| snapshot.packages.get(pkgbase).is_some_and(|package| package.decides_itself());
    observations.opinions.retain(|pkgbase, _| decides(pkgbase));
    if let Pipeline::Approve(pkgbase, ..) | Pipeline::Reject(pkgbase, ..) = pipeline
        && let Some(proposal) = proposal(git, snapshot, pkgbase)?
    {
        observations.proposals.insert(pkgbase.clone(), proposal);
    }
    Ok(observations)
}

/// What was made from the files before would undo what somebody pushed to them since.
fn overtaken_by_a_person() -> Observation {
    let error = "its files changed in the monorepo while they were being raised to a new version".to_owned();
    Observation::Unknown { error, retry_at: None }
}

/// What already waits for a person where the source of a package has something new. A folder that must
/// not be read (anybody can push anything to a branch) equals nothing.
fn waiting(git: &Repository, snapshot: &Snapshot, files: &BTreeMap<PkgBase, Observation>) -> BTreeMap<PkgBase, String> {
    let changed = files.iter().filter(|(_, observation)| matches!(observation, Observation::Changed { .. }));
    let digest = |(pkgbase, _): (&PkgBase, _)| {
        let tree = snapshot.reviews.get(pkgbase)?.folder?;
        let folder = git.folder(tree, &Limits::default()).ok()?;
        Some((pkgbase.clone(), folder.from_source().digest()))
    };
    changed.filter_map(digest).collect()
}

/// A folder of the monorepo that must not be read keeps its own package from being updated, and no other.
fn observation(answer: &SourceAnswer, present: impl FnOnce() -> Result<Folder, FolderError>) -> Observation {
    match answer {
        SourceAnswer::Unmoved { cursor } => Observation::Current { cursor: cursor.clone() },
        SourceAnswer::Files { cursor, folder, behind, .. } => match (present(), behind) {
            (Err(error), _) => Observation::Unknown {
                error: format!("an update cannot be compared with its folder: {error}"),
                retry_at: None,
            },
            (Ok(present), Some(why)) if present.from_source() == folder.from_source() => {
                Observation::Unknown { error: why.clone(), retry_at: None }
            }
            (Ok(present), _) => Observation::Changed { cursor: cursor.clone(), incoming: folder.clone(), present },
        },
        SourceAnswer::Newer { release, .. } => {
            let error = format!("version {} is out, and its files have not been made yet", release.version);
            Observation::Unknown { error, retry_at: None }
        }
        SourceAnswer::Unknown { error, retry_at, .. } => {
            Observation::Unknown { error: error.clone(), retry_at: *retry_at }
        }
        SourceAnswer::Gone => Observation::Gone,
    }
}

/// What keeps packages from being built: folders that must not be handed to anybody.
///
/// # Errors
/// If the object database cannot be read.
pub fn unbuildable<'a>(
    git: &Repository,
    snapshot: &Snapshot,
    pkgbases: impl IntoIterator<Item = &'a PkgBase>,
) -> Result<BTreeMap<PkgBase, Finding>> {
    let wanted: Vec<_> = pkgbases.into_iter().filter_map(|pkgbase| snapshot.packages.get(pkgbase)).collect();
    let look = |git: &Repository, package: &&Arc<Package>| match git.check_folder(package.tree, &Limits::default()) {
        Ok(()) => Ok(None),
        Err(FolderError::Git(error)) => Err(error),
        Err(error) => Ok(Some((package.pkgbase.clone(), unusable(&package.pkgbase, &error)))),
    };
    Ok(git.map(&wanted, look)?.into_iter().flatten().collect())
}

/// Says why the folder of a package is not used.
pub(super) fn unusable(pkgbase: &PkgBase, why: &FolderError) -> Finding {
    let path = why.path().map_or_else(|| pkgbase.to_string(), |path| format!("{pkgbase}/{}", path.escape_debug()));
    Finding::error("folder-unusable", why.to_string())
        .with_package(pkgbase)
        .at(path, None)
        .hint("mend it or take it out: such a folder is neither built nor published")
}

/// The three sides of the review of a package; `None` if it has none or a side cannot be read.
///
/// # Errors
/// If the object database cannot be read.
pub fn proposal(git: &Repository, snapshot: &Snapshot, pkgbase: &PkgBase) -> Result<Option<Proposal>> {
    let (Some(review), Some(tip)) = (snapshot.reviews.get(pkgbase), snapshot.main) else { return Ok(None) };
    let Some(base) = git.merge_base(tip.commit, review.head)? else { return Ok(None) };
    let sides = [base, tip.commit, review.head].map(|commit| folder_at(git, commit, pkgbase));
    let [Ok(base), Ok(present), Ok(proposed)] = sides else { return Ok(None) };
    Ok(Some(Proposal { base, present, proposed }))
}

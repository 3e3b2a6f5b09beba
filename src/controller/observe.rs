//! Asks sources, many at once, and turns their answers into observations.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;

use super::apply::folder_at;
use crate::domain::desired::Snapshot;
use crate::domain::finding::Finding;
use crate::domain::folder::Folder;
use crate::domain::name::PkgBase;
use crate::domain::observed::{Observation, Observations, Proposal, Upstream};
use crate::domain::plan::{self, Pipeline, Request};
use crate::git::{Limits, Repository};
use crate::source::vcs::UpstreamRequest;
use crate::source::{SourceAnswer, SourceRequest, Sources};

/// What sources said, before it is compared with the monorepo: it stays valid when the monorepo moves.
#[derive(Debug, Default)]
pub struct Answers {
    files: BTreeMap<PkgBase, SourceAnswer>,
    upstream: BTreeMap<PkgBase, Upstream>,
    findings: Vec<Finding>,
}

/// Asks what a pipeline has to know.
pub async fn ask(sources: &Sources, snapshot: &Snapshot, pipeline: &Pipeline, now: Timestamp) -> Answers {
    if *pipeline != Pipeline::OnSchedule {
        return Answers::default();
    }
    let requests = plan::requests(snapshot).into_iter().map(|Request { pkgbase, source, cursor }| SourceRequest {
        pkgbase,
        kind: source,
        cursor,
    });
    let requests: Vec<SourceRequest> = requests.collect();
    let following = snapshot.packages.values().filter(|package| package.follows_upstream());
    let following: Vec<UpstreamRequest> =
        following.filter_map(|package| UpstreamRequest::new(&package.pkgbase, package.srcinfo.as_ref()?)).collect();
    let (files, upstream) = tokio::join!(sources.observe(&requests, now), sources.upstream(&following));
    let mut answers = files.files;
    for request in requests {
        // Never silently current: what nobody can ask yet is unknown.
        let error = || format!("sources of the kind `{}` are not asked by this version", request.kind.name());
        answers.entry(request.pkgbase).or_insert_with(|| SourceAnswer::Unknown { error: error(), retry_at: None });
    }
    Answers { files: answers, upstream, findings: files.findings }
}

/// Compares answers with the monorepo.
///
/// # Errors
/// If the monorepo's objects cannot be read.
pub fn compare(git: &Repository, snapshot: &Snapshot, pipeline: &Pipeline, answers: &Answers) -> Result<Observations> {
    let mut observations = Observations {
        upstream: answers.upstream.clone(),
        findings: answers.findings.clone(),
        ..Observations::default()
    };
    for (pkgbase, answer) in &answers.files {
        if let Some(package) = snapshot.packages.get(pkgbase) {
            let present = || Ok::<Folder, anyhow::Error>(git.folder(package.tree, &Limits::default())?);
            observations.files.insert(pkgbase.clone(), observation(answer, present)?);
        }
    }
    observations.upstream.retain(|pkgbase, _| snapshot.packages.contains_key(pkgbase));
    if let Pipeline::Approve(pkgbase, _) | Pipeline::Reject(pkgbase, _) = pipeline
        && let Some(proposal) = proposal(git, snapshot, pkgbase)?
    {
        observations.proposals.insert(pkgbase.clone(), proposal);
    }
    Ok(observations)
}

fn observation(answer: &SourceAnswer, present: impl FnOnce() -> Result<Folder>) -> Result<Observation> {
    Ok(match answer {
        SourceAnswer::Unmoved { cursor } => Observation::Current { cursor: cursor.clone() },
        SourceAnswer::Files { cursor, folder, behind } => {
            let present = present()?;
            match behind {
                Some(why) if present.from_source() == folder.from_source() => {
                    Observation::Unknown { error: why.clone(), retry_at: None }
                }
                _ => Observation::Changed { cursor: cursor.clone(), incoming: folder.clone(), present },
            }
        }
        SourceAnswer::Unknown { error, retry_at } => Observation::Unknown { error: error.clone(), retry_at: *retry_at },
        SourceAnswer::Gone => Observation::Gone,
    })
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

//! The campaign detector on the real history of a repository: what it would have held, and when.
//!
//! ```text
//! cargo run --example campaign-history -- REPO [--commits N] [--hours H]
//! ```
//!
//! All commits of `H` hours (24 unless said) are taken for one run, which is far more than a run really sees,
//! so this finds more than a controller would.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use pkgwarden::controller::snapshot::SnapshotReader;
use pkgwarden::domain::campaign::{Known, Update, detect};
use pkgwarden::domain::desired::{Refs, Snapshot};
use pkgwarden::domain::folder::Folder;
use pkgwarden::domain::name::{Oid, PkgBase};
use pkgwarden::git::{Commit, Limits, Repository};

#[derive(Debug, Parser)]
#[command(name = "campaign-history", about = "The campaign detector on the real history of a repository")]
struct Args {
    /// The repository: a clone, or bare
    repository: PathBuf,
    /// How many commits, the newest first
    #[arg(long, default_value_t = 5_000)]
    commits: usize,
    /// How many hours are one run
    #[arg(long, default_value_t = 24)]
    hours: i64,
}

#[expect(clippy::print_stdout, reason = "it prints a report")]
fn main() -> Result<()> {
    let args = Args::parse();
    let git = Repository::discover(&args.repository)?;
    let tip = git.resolve("HEAD")?.context("there is no commit")?;
    let history = git.history(None, tip)?;
    let commits = &history[history.len().saturating_sub(args.commits)..];
    let window = |commit: &Commit| commit.time.as_second() / (args.hours * 3600);
    let (reader, mut runs, mut updated, mut largest, mut held) = (SnapshotReader::default(), 0, 0, 0, BTreeSet::new());
    for run in commits.chunk_by(|a, b| window(a) == window(b)) {
        let Some(before) = run[0].parents.first() else { continue };
        let [old, new] = [*before, run[run.len() - 1].id].map(|commit| snapshot(&git, &reader, commit));
        let (old, new) = (old?, new?);
        let changes = changed(&git, &old, &new)?;
        let updates: Vec<Update<'_>> = changes
            .iter()
            .map(|(pkgbase, old, new)| Update { pkgbase, folders: Some((old, new)), newcomers: BTreeSet::new() })
            .collect();
        (runs, updated, largest) = (runs + 1, updated + updates.len(), largest.max(updates.len()));
        for found in detect(&updates, &Known::of(&old, &BTreeSet::new())) {
            println!("{} {}", run[0].time.strftime("%F"), found.finding().message);
            held.extend(found.packages.into_iter().map(|pkgbase| (run[0].time, pkgbase)));
        }
    }
    println!("{runs} runs, {updated} updates, {largest} in the largest; {} of them would have been held", held.len());
    Ok(())
}

fn snapshot(git: &Repository, reader: &SnapshotReader, commit: Oid) -> Result<Snapshot> {
    let refs = Refs { main: Some(commit), ..Refs::default() };
    reader.read(git, "history", refs)
}

/// The packages whose folders differ, with both.
fn changed(git: &Repository, old: &Snapshot, new: &Snapshot) -> Result<Vec<(PkgBase, Folder, Folder)>> {
    let pairs = old.packages.iter().filter_map(|(pkgbase, before)| Some((pkgbase, before, new.packages.get(pkgbase)?)));
    let pairs: Vec<_> = pairs.filter(|(_, before, after)| before.tree != after.tree).collect();
    let read = |git: &Repository, tree| git.folder(tree, &Limits::default()).ok();
    let folders = git.map(&pairs, |git, (pkgbase, before, after)| {
        let sides = read(git, before.tree).zip(read(git, after.tree));
        Ok::<_, anyhow::Error>(sides.map(|(old, new)| ((*pkgbase).clone(), old, new)))
    })?;
    Ok(folders.into_iter().flatten().collect())
}

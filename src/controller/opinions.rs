//! Packages with a `.CI/changed.sh`: whether what they are built from has changed is for it to say.
//!
//! The script is told what the controller knows, since nothing of its own lasts from one run to the next: where the
//! package's floating sources stand and where they stood, and what it saw itself, when it last had a build.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::raise::{a_few_at_once, with_causes};
use crate::builder::refresh::Refresher;
use crate::builder::script::{Judged, ScriptError, last_lines};
use crate::domain::desired::{Package, Snapshot};
use crate::domain::folder::Folder;
use crate::domain::name::PkgBase;
use crate::domain::observed::{Opinion, Upstream};
use crate::domain::revision::{Revision, Seen};
use crate::git::{Limits, Repository};

/// What stands for a source whose place is not known.
const UNKNOWN: &str = "-";

/// A script that is to be run.
#[derive(Debug)]
pub struct Question {
    pkgbase: PkgBase,
    folder: Folder,
    network: bool,
    variables: Vec<(String, String)>,
}

/// Packages whose scripts are asked: all that have one, but those that nothing happens with.
fn asked<'a>(
    snapshot: &'a Snapshot,
    held: &'a BTreeMap<PkgBase, PkgBase>,
) -> impl Iterator<Item = &'a Arc<Package>> + 'a {
    snapshot.packages.values().filter(|package| package.decides_itself() && !held.contains_key(&package.pkgbase))
}

/// What is to be asked, and the packages whose folders must not be read.
pub fn questions(
    git: &Repository,
    snapshot: &Snapshot,
    held: &BTreeMap<PkgBase, PkgBase>,
    upstream: &BTreeMap<PkgBase, Upstream>,
) -> (Vec<Question>, BTreeMap<PkgBase, Opinion>) {
    let (mut questions, mut unreadable) = (Vec::new(), BTreeMap::new());
    for package in asked(snapshot, held) {
        let pkgbase = package.pkgbase.clone();
        match git.folder(package.tree, &Limits::default()) {
            Ok(folder) => questions.push(Question {
                folder,
                network: package.settings.update_network,
                variables: variables(snapshot, &pkgbase, upstream.get(&pkgbase)),
                pkgbase,
            }),
            Err(error) => {
                unreadable.insert(pkgbase, Opinion::None { error: format!("its folder is not read: {error}") });
            }
        }
    }
    (questions, unreadable)
}

/// What a script is told.
fn variables(snapshot: &Snapshot, pkgbase: &PkgBase, upstream: Option<&Upstream>) -> Vec<(String, String)> {
    let state = snapshot.states.get(pkgbase).cloned().unwrap_or_default();
    let now = upstream.map(Upstream::seen).unwrap_or_default();
    let seen = state.seen();
    let told = [
        ("UPSTREAM_BEFORE", listed(&state.upstream())),
        ("UPSTREAM", listed(&now)),
        ("SEEN_BEFORE", seen.as_ref().map_or("", Seen::as_str).to_owned()),
    ];
    told.map(|(name, value)| (name.to_owned(), value)).into()
}

fn listed(revisions: &[Option<Revision>]) -> String {
    let word = |revision: &Option<Revision>| revision.as_ref().map_or_else(|| UNKNOWN.to_owned(), Revision::to_string);
    revisions.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Runs scripts, each for so long at most, and says what each said.
pub async fn ask(refresher: &Refresher, questions: Vec<Question>, timeout: Duration) -> BTreeMap<PkgBase, Opinion> {
    let timed = &Refresher { timeout, ..refresher.clone() };
    let one = |question: Question| async move {
        let Question { pkgbase, folder, network, variables } = question;
        let opinion = match timed.judge(&pkgbase, folder, network, variables).await {
            Ok(Judged { opinion: Ok(opinion), .. }) => opinion,
            Ok(Judged { opinion: Err(error), printed }) => Opinion::None { error: complaint(&error, &printed, network) },
            Err(error) => {
                Opinion::None { error: format!("its .CI/changed.sh could not be run: {}", with_causes(&error)) }
            }
        };
        (pkgbase, opinion)
    };
    a_few_at_once("running .CI/changed.sh", questions, one).await
}

fn complaint(error: &ScriptError, printed: &[u8], network: bool) -> String {
    let last = Some(last_lines(printed)).filter(|last| !last.is_empty());
    let last = last.map(|last| format!(": {last}")).unwrap_or_default();
    let ended = matches!(error, ScriptError::Failed(_) | ScriptError::TooSlow(_));
    let without =
        if network || !ended { "" } else { "; it ran without network, which CI_UPDATE_NETWORK=true in .CI/config gives it" };
    format!("its .CI/changed.sh {error}{last}{without}")
}

/// Packages whose scripts were to be asked and were not, for the same reason.
pub fn none(snapshot: &Snapshot, held: &BTreeMap<PkgBase, PkgBase>, error: &str) -> BTreeMap<PkgBase, Opinion> {
    let opinion = |package: &Arc<Package>| (package.pkgbase.clone(), Opinion::None { error: error.to_owned() });
    asked(snapshot, held).map(opinion).collect()
}

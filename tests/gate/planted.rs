//! Ordinary updates in which something is planted: of the bases of the record, and of the packages of a
//! repository that `PKGWARDEN_GATE_REPOSITORY` names. However it is done, a person has to look.

use std::sync::LazyLock;

use pkgwarden::domain::classify::{Decision, classify};
use pkgwarden::domain::folder::Folder;
use pkgwarden::git::{Limits, Repository};
use pkgwarden::sys::env;
use proptest::prelude::*;
use proptest::sample::Index;

use super::mutate::{OPERATORS, Scene, places};
use super::{SRCINFO, case};

/// An update in which an operator planted something; `None` if the text has no place for it.
fn planted(
    (mut old, mut new): (Folder, Folder),
    operator: usize,
    summary: bool,
    choices: &[Index],
) -> Option<(Folder, Folder)> {
    if !summary {
        old.files.remove(SRCINFO);
        new.files.remove(SRCINFO);
    }
    let text = String::from_utf8(new.get("PKGBUILD")?.to_vec()).ok()?;
    let lines: Vec<_> = text.split('\n').map(str::to_owned).collect();
    let mut choices = choices.iter();
    let mut choose = |below: usize| choices.next().map_or(0, |choice| choice.index(below));
    let places = places(&lines);
    let text = (OPERATORS[operator].1)(&mut Scene { lines, places, choose: &mut choose })?;
    Some((old, new.with("PKGBUILD", text)))
}

/// A base, and its ordinary update if there is to be one.
fn of_base(base: &str, bump: bool) -> (Folder, Folder) {
    let (old, new) = case::bumped(base);
    if bump { (old, new) } else { (old.clone(), old) }
}

/// The packages of the repository that is named in the environment; none if none is named.
static REAL: LazyLock<Vec<(String, Folder)>> = LazyLock::new(|| {
    let Some(path) = env::var("PKGWARDEN_GATE_REPOSITORY") else { return Vec::new() };
    let git = Repository::discover(path.as_ref()).expect("a repository");
    let tip = git.resolve("HEAD").expect("readable").expect("there is a commit");
    let root = git.entries(git.tree_of(tip).expect("a tree")).expect("readable");
    let folder = |id| git.folder(id, &Limits::default()).expect("a package");
    let folders = root.into_iter().filter(|entry| entry.is_tree && !entry.name.starts_with('.'));
    let packages = folders.map(|entry| (entry.name, folder(entry.id)));
    packages.filter(|(_, folder)| folder.get("PKGBUILD").is_some()).collect()
});

#[test]
fn every_operator_has_a_place_in_most_bases() {
    let bases = case::bases();
    for (number, (name, _)) in OPERATORS.iter().enumerate() {
        let found = bases.iter().filter(|base| planted(of_base(base, true), number, true, &[]).is_some()).count();
        assert!(found * 2 > bases.len(), "{name}: only in {found} of {}", bases.len());
    }
}

/// At least 4096; `PROPTEST_CASES` asks for more.
fn more_cases() -> ProptestConfig {
    let config = ProptestConfig::default();
    // A long search throws away what an operator has no place in.
    ProptestConfig { cases: config.cases.max(4096), max_global_rejects: u32::MAX, ..config }
}

fn is_stopped(name: &str, operator: usize, (old, new): &(Folder, Folder)) -> Result<(), TestCaseError> {
    let verdict = classify(old, new);
    let text = String::from_utf8_lossy(new.get("PKGBUILD").expect("there")).into_owned();
    prop_assert_eq!(verdict.verdict, Decision::Major, "{} in {}:\n{}", OPERATORS[operator].0, name, text);
    Ok(())
}

proptest! {
    #![proptest_config(more_cases())]

    #[test]
    fn an_ordinary_update_in_which_something_is_planted_is_never_minor(
        base in prop::sample::select(case::bases()),
        operator in 0..OPERATORS.len(),
        bump in any::<bool>(),
        summary in any::<bool>(),
        choices in prop::collection::vec(any::<Index>(), 6),
    ) {
        let update = planted(of_base(&base, bump), operator, summary, &choices);
        prop_assume!(update.is_some());
        is_stopped(&base, operator, &update.expect("assumed"))?;
    }

    #[test]
    fn a_real_package_in_which_something_is_planted_is_never_minor(
        package in any::<Index>(),
        operator in 0..OPERATORS.len(),
        summary in any::<bool>(),
        choices in prop::collection::vec(any::<Index>(), 6),
    ) {
        if !REAL.is_empty() {
            let (name, folder) = package.get(&REAL);
            let update = planted((folder.clone(), folder.clone()), operator, summary, &choices);
            prop_assume!(update.is_some());
            is_stopped(name, operator, &update.expect("assumed"))?;
        }
    }
}

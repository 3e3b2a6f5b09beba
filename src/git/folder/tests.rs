//! Folders that somebody made to reach outside or to fill our memory.

use super::super::testing::{World, folder, git, link};
use super::*;

/// A tree exactly as given, which git itself would not write.
fn raw_tree(world: &World, entries: &[(&str, &[u8], Oid)]) -> Oid {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend_from_slice(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(id.as_bytes());
    }
    let id = git(&world.path("repo"), &["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], &bytes);
    id.trim().parse().expect("an id")
}

fn refusal(world: &World, entries: &[(&str, &[u8], Oid)]) -> String {
    let repository = Repository::open(&world.path("repo")).expect("opened");
    let tree = raw_tree(world, entries);
    let refusal = repository.folder(tree, &Limits::default()).expect_err("hostile").to_string();
    let checked = repository.check_folder(tree, &Limits::default()).expect_err("as hostile, if it is not read");
    assert_eq!(checked.to_string(), refusal);
    refusal
}

#[test]
fn names_that_would_reach_outside_are_refused() {
    let world = World::new();
    let repository = world.bare("repo");
    let file = repository.write_blob(b"x").expect("blob");
    let inner = repository.write_folder(&folder(&[("config", "x")])).expect("tree");
    let one = |name: &[u8]| refusal(&world, &[("100644", name, file)]);
    assert_eq!(one(b".."), "`..`: this name leads out of its folder");
    assert_eq!(one(b"."), "`.`: this name leads out of its folder");
    assert_eq!(one(b"a/b"), "`a/b`: this name leads out of its folder");
    assert_eq!(one(b"/etc/passwd"), "`/etc/passwd`: this name leads out of its folder");
    assert_eq!(one(b"a\nb"), "`a\\nb`: names must be UTF-8 without control characters");
    assert_eq!(one(b"a\x1b[2Jb"), "`a\\u{1b}[2Jb`: names must be UTF-8 without control characters");
    assert_eq!(one(b"a\xffb"), "`a\u{fffd}b`: names must be UTF-8 without control characters");
    assert_eq!(one(b".git"), "`.git`: git's own folder must not be part of a package");
    let up = refusal(&world, &[("40000", b"..", inner)]);
    assert_eq!(up, "`..`: this name leads out of its folder");
    let deep = raw_tree(&world, &[("40000", b".GiT", inner)]);
    let deep = refusal(&world, &[("40000", b"sub", deep)]);
    assert_eq!(deep, "`sub/.GiT`: git's own folder must not be part of a package");
}

#[test]
fn entries_that_are_not_files_or_folders_are_refused() {
    let world = World::new();
    let repository = world.bare("repo");
    let file = repository.write_blob(b"x").expect("blob");
    let submodule = refusal(&world, &[("160000", b"vendor", Oid::from_bytes([1; 20]))]);
    assert_eq!(submodule, "`vendor` is a submodule; a package folder must hold its files itself");
    assert_eq!(refusal(&world, &[("20644", b"device", file)]), "`device` has the unknown mode 20644");
    let disguised = refusal(&world, &[("40000", b"folder", file)]);
    assert_eq!(disguised, format!("cannot read object {file}"));
}

#[test]
fn two_entries_under_one_name_are_refused() {
    let world = World::new();
    let repository = world.bare("repo");
    let target = repository.write_blob(b"/etc").expect("blob");
    let inner = repository.write_folder(&folder(&[("cron.d", "x")])).expect("tree");
    let twice = refusal(&world, &[("120000", b"a", target), ("40000", b"a", inner)]);
    assert_eq!(twice, "`a` and `a` cannot both be there on every file system");
    let tree = repository.write_folder(&folder(&[("d/Readme", "1"), ("d/README", "2")])).expect("tree");
    let error = repository.folder(tree, &Limits::default()).expect_err("collides");
    assert_eq!(error.to_string(), "`d/README` and `d/Readme` cannot both be there on every file system");
}

#[test]
fn links_may_not_leave_the_folder_by_any_way() {
    let world = World::new();
    let repository = world.bare("repo");
    let check = |links: &[(&str, &str)]| {
        let files = folder(&[("file", "x"), ("deep/er/file", "y")]);
        let folder = links.iter().fold(files, |folder, (path, target)| link(folder, path, target));
        let tree = repository.write_folder(&folder).expect("tree");
        repository.folder(tree, &Limits::default()).map(|read| assert_eq!(read, folder)).map_err(|it| it.to_string())
    };
    let good =
        [("a", "file"), ("deep/b", "../file"), ("deep/er/c", "../../deep/er"), ("d", "not/there"), ("e", "d/../x")];
    check(&good).expect("inside");
    let bad = |links: &[(&str, &str)]| check(links).expect_err("outside");
    assert_eq!(bad(&[("a", "/etc/passwd")]), "`a` is a link to the absolute path `/etc/passwd`");
    assert_eq!(bad(&[("a", "..")]), "`a` is a link out of the folder, to `..`");
    assert_eq!(bad(&[("a", "deep/../../x")]), "`a` is a link out of the folder, to `deep/../../x`");
    assert_eq!(bad(&[("deep/a", "../../x")]), "`deep/a` is a link out of the folder, to `../../x`");
    // Looks harmless as text: `deep/er/up/..`. But `up` leads to the top, and `..` goes on from there.
    let chain = [("deep/er/up", "../.."), ("out", "deep/er/up/../x")];
    assert_eq!(bad(&chain), "`out` is a link out of the folder, to `deep/er/up/../x`");
    assert_eq!(bad(&[("a", "b"), ("b", "a")]), "`a` is a link that leads round in a circle");
}

#[test]
fn huge_trees_are_refused_before_they_fill_memory() {
    let world = World::new();
    let repository = world.bare("repo");
    let files = folder(&[("a", "12345"), ("b", "12345"), ("d/e/f", "1")]);
    let tree = repository.write_folder(&files).expect("tree");
    let exact = Limits { files: 3, bytes: 11, file_bytes: 5, depth: 2 };
    assert_eq!(repository.folder(tree, &exact).expect("fits"), files);
    repository.check_folder(tree, &exact).expect("fits");
    let error = |limits: Limits| {
        let error = repository.folder(tree, &limits).expect_err("too much").to_string();
        assert_eq!(repository.check_folder(tree, &limits).expect_err("too much").to_string(), error);
        error
    };
    assert_eq!(error(Limits { files: 2, ..exact }), "there are more than 2 files");
    assert_eq!(error(Limits { bytes: 10, ..exact }), "the files have more than 10 bytes together");
    assert_eq!(error(Limits { file_bytes: 4, ..exact }), "`a` has 5 bytes, and at most 4 are allowed");
    assert_eq!(error(Limits { depth: 1, ..exact }), "`d/e` is more than 1 folders deep");
}

#[test]
fn a_tree_bomb_is_refused_quickly() {
    let world = World::new();
    let repository = world.bare("repo");
    let file = repository.write_blob(b"x").expect("blob");
    // Ten levels of ten times the same folder: ten thousand million files in ten objects.
    let mut tree = file;
    for level in 0..10 {
        let mode = if level == 0 { "100644" } else { "40000" };
        let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let entries: Vec<(&str, &[u8], Oid)> = names.iter().map(|name| (mode, name.as_bytes(), tree)).collect();
        tree = raw_tree(&world, &entries);
    }
    let error = repository.folder(tree, &Limits::default()).expect_err("bomb");
    assert_eq!(error.to_string(), "there are more than 2000 files");
    // The same without a single file: nothing but folders.
    let mut tree = raw_tree(&world, &[]);
    for _ in 0..10 {
        let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let entries: Vec<(&str, &[u8], Oid)> = names.iter().map(|name| ("40000", name.as_bytes(), tree)).collect();
        tree = raw_tree(&world, &entries);
    }
    let error = repository.folder(tree, &Limits::default()).expect_err("bomb");
    assert_eq!(error.to_string(), "there are more than 2000 folders");
}

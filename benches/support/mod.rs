//! A package monorepo of the shape of the largest public one, made up: as many packages, the same
//! spread of names, keys, dependencies and file counts, 500 commits since `scheduled`, and a `state`
//! branch. Nothing in it is anybody's work.

use std::path::Path;

use git2::{FileMode, Oid, Repository, Signature, Time};

/// How many packages the public monorepo had when it was measured.
pub const PACKAGES: usize = 2_534;
/// How many commits lie between `scheduled` and the tip.
pub const COMMITS: usize = 500;

/// Numbers that look random and are the same in every run (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).expect("less than `sides`")
    }

    /// True `percent` times of a hundred.
    pub fn one_in_hundred(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }
}

/// One package, before it is written.
struct Sketch {
    name: String,
    version: usize,
    depends: Vec<String>,
    config: String,
    extra_files: usize,
    interfere: bool,
}

fn sketch(index: usize, dice: &mut Dice, earlier: &[String]) -> Sketch {
    let stems = ["lib", "python-", "ttf-", "lua-", "hypr", "kde-", "ruby-", "wine-", "linux-", "gnome-", ""];
    let suffix = match dice.roll(100) {
        0..32 => "-git",
        32..37 => "-bin",
        37..38 => "++",
        _ => "",
    };
    let name = format!("{}pkg{index}{suffix}", stems[dice.roll(stems.len())]);
    let mut depends: Vec<String> = (0..2 + dice.roll(6)).map(|_| format!("official{}", dice.roll(900))).collect();
    // A third of the packages need something of the same repository, seldom more than eight deep.
    if index > 200 && dice.one_in_hundred(36) {
        let layer = earlier.len() / 8;
        let from = (index / layer.max(1)).saturating_sub(1) * layer;
        depends.extend((0..=dice.roll(2)).map(|_| earlier[from + dice.roll(layer.max(1)).min(earlier.len() - from - 1)].clone()));
    }
    Sketch { config: config(dice), name, version: 1 + dice.roll(9), depends, extra_files: dice.roll(5), interfere: dice.one_in_hundred(18) }
}

fn config(dice: &mut Dice) -> String {
    let mut text = match dice.roll(100) {
        0..93 => "CI_PKGBUILD_SOURCE=aur\n".to_owned(),
        93..99 => "CI_PKGBUILD_SOURCE=custom\n".to_owned(),
        _ => "CI_PKGBUILD_SOURCE=https://example.org/pkg.git\n".to_owned(),
    };
    let keys = [(50, "CI_PACKAGE_BUMP=1.0-1/2"), (7, "CI_REBUILD_TRIGGERS=boost:icu"), (4, "BUILDER_CACHE_SOURCES=true"), (4, "BUILDER_CLASS=9"), (1, "CI_ON_TRIGGER=daily")];
    for (percent, line) in keys {
        if dice.one_in_hundred(percent) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

impl Sketch {
    fn srcinfo(&self) -> String {
        let Self { name, version, depends, .. } = self;
        let mut text = format!("pkgbase = {name}\n\tpkgdesc = Made up for a measurement\n\tpkgver = 1.{version}\n\tpkgrel = 1\n\turl = https://example.org/{name}\n\tarch = x86_64\n\tlicense = MIT\n");
        for (index, dependency) in depends.iter().enumerate() {
            text.push_str(&format!("\t{} = {dependency}\n", if index % 3 == 0 { "makedepends" } else { "depends" }));
        }
        if name.ends_with("-git") {
            text.push_str(&format!("\tsource = git+https://example.org/{name}.git\n\tsha256sums = SKIP\n"));
        } else {
            text.push_str(&format!("\tsource = https://example.org/{name}-1.{version}.tar.gz\n\tsha256sums = {:064x}\n", version * 7));
        }
        text.push_str(&format!("\npkgname = {name}\n"));
        text
    }

    fn pkgbuild(&self) -> String {
        let Self { name, version, depends, .. } = self;
        let body = "  # what a real recipe does here takes about this much text\n  cmake -B build -S . -DCMAKE_INSTALL_PREFIX=/usr\n".repeat(14);
        format!(
            "# Maintainer: nobody <nobody@example.org>\npkgname={name}\npkgver=1.{version}\npkgrel=1\npkgdesc='Made up for a measurement'\narch=(x86_64)\nurl='https://example.org'\nlicense=(MIT)\ndepends=({})\nsource=(\"https://example.org/$pkgname-$pkgver.tar.gz\")\nsha256sums=('{:064x}')\n\nbuild() {{\n{body}}}\n\npackage() {{\n  install -Dm755 build/x \"$pkgdir/usr/bin/x\"\n}}\n",
            depends.join(" "),
            version * 7
        )
    }

    fn write(&self, git: &Repository) -> Oid {
        let mut folder = git.treebuilder(None).expect("new tree");
        let mut put = |name: &str, text: &str| {
            let blob = git.blob(text.as_bytes()).expect("blob");
            folder.insert(name, blob, FileMode::Blob.into()).expect("entry");
        };
        put("PKGBUILD", &self.pkgbuild());
        put(".SRCINFO", &self.srcinfo());
        for file in 0..self.extra_files {
            put(&format!("{}-{file}.patch", self.name), &format!("--- a/{file}\n+++ b/{}\n", self.name));
        }
        let mut own = git.treebuilder(None).expect("new tree");
        own.insert("config", git.blob(self.config.as_bytes()).expect("blob"), FileMode::Blob.into()).expect("entry");
        own.insert("info", git.blob(b"REQ_ORIGIN=user\nREQ_REASON=request\n").expect("blob"), FileMode::Blob.into()).expect("entry");
        if self.interfere {
            own.insert("PKGBUILD.append", git.blob(b"options+=(!lto)\n").expect("blob"), FileMode::Blob.into()).expect("entry");
        }
        folder.insert(".CI", own.write().expect("tree"), FileMode::Tree.into()).expect("entry");
        folder.write().expect("tree")
    }
}

/// Writes a bare monorepo with this many packages and commits into an empty directory.
pub fn generate(path: &Path, packages: usize, commits: usize) {
    let git = Repository::init_bare(path).expect("an empty directory");
    let database = git.odb().expect("object database");
    let memory = database.add_new_mempack_backend(1_000).expect("in-memory objects");
    let mut dice = Dice::new(42);
    let mut names = Vec::new();
    let mut sketches = Vec::new();
    for index in 0..packages {
        let sketch = sketch(index, &mut dice, &names);
        names.push(sketch.name.clone());
        sketches.push(sketch);
    }
    let mut root = git.treebuilder(None).expect("new tree");
    for sketch in &sketches {
        root.insert(&sketch.name, sketch.write(&git), FileMode::Tree.into()).expect("entry");
    }
    let tree = root.write().expect("tree");
    let mut tip = commit(&git, tree, &[], "feat: init\n", 0);
    let scheduled = tip;
    let mut tree = tree;
    for number in 1..=commits {
        let sketch = &mut sketches[dice.roll(packages)];
        sketch.version += 1;
        let base = git.find_tree(tree).expect("written before");
        let mut root = git.treebuilder(Some(&base)).expect("tree");
        root.insert(&sketch.name, sketch.write(&git), FileMode::Tree.into()).expect("entry");
        tree = root.write().expect("tree");
        tip = commit(&git, tree, &[tip], &format!("chore(update): {}\n", sketch.name), number);
    }
    let state = state(&git, &names);
    let mut pack = git2::Buf::new();
    memory.dump(&git, &mut pack).expect("pack");
    let mut writer = database.packwriter().expect("pack writer");
    std::io::Write::write_all(&mut writer, &pack).expect("written");
    writer.commit().expect("indexed");
    git.reference("refs/heads/main", tip, true, "").expect("ref");
    git.reference("refs/tags/scheduled", scheduled, true, "").expect("ref");
    git.reference("refs/heads/state", state, true, "").expect("ref");
    git.set_head("refs/heads/main").expect("HEAD");
}

fn commit(git: &Repository, tree: Oid, parents: &[Oid], message: &str, minute: usize) -> Oid {
    let time = Time::new(1_780_000_000 + 60 * i64::try_from(minute).expect("small"), 0);
    let who = Signature::new("somebody", "somebody@example.org", &time).expect("legal");
    let parents: Vec<_> = parents.iter().map(|&id| git.find_commit(id).expect("written before")).collect();
    let tree = git.find_tree(tree).expect("written before");
    git.commit(None, &who, &who, message, &tree, &parents.iter().collect::<Vec<_>>()).expect("commit")
}

fn state(git: &Repository, names: &[String]) -> Oid {
    let mut root = git.treebuilder(None).expect("new tree");
    let mut versions = String::new();
    for (index, name) in names.iter().enumerate() {
        versions.push_str(&format!("{name}:1.0-1\n"));
        let mut text = format!("PKGWARDEN_SOURCE_COMMIT={index:040x}\nPKGWARDEN_SOURCE_STAMP=1780000000\n");
        if name.ends_with("-git") {
            text.push_str(&format!("CI_GIT_COMMIT={index:040x}\n"));
        }
        root.insert(name, git.blob(text.as_bytes()).expect("blob"), FileMode::Blob.into()).expect("entry");
    }
    root.insert(".version-state", git.blob(versions.as_bytes()).expect("blob"), FileMode::Blob.into()).expect("entry");
    let tree = root.write().expect("tree");
    commit(git, tree, &[], "chore(state): update state\n", 0)
}

//! A package monorepo of the shape of the largest public one, made up: as many packages, the same
//! spread of names, keys, dependencies and file counts, 500 commits since `scheduled`, a `state` branch,
//! and as many updates that wait for a person. Nothing in it is anybody's work.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use pkgwarden::sys::process::Program;

use crate::sketch::{self, Dice, Sketch};

/// How large a monorepo is made.
pub struct Shape {
    pub packages: usize,
    /// How many commits lie between `scheduled` and the tip.
    pub commits: usize,
    /// How many packages have an update that waits for a person.
    pub reviews: usize,
    /// How many packages the repositories that are built against have.
    pub elsewhere: usize,
}

impl Shape {
    /// The public monorepo when it was measured.
    pub const PUBLIC: Self = Self { packages: 2_534, commits: 500, reviews: 746, elsewhere: 14_673 };
    /// A size that no monorepo has.
    pub const HUGE: Self = Self { packages: 100_000, commits: 1, reviews: 0, elsewhere: 14_673 };
}

impl Sketch {
    fn srcinfo(&self) -> String {
        let Self { name, version, depends, .. } = self;
        let mut text = format!(
            "pkgbase = {name}\n\tpkgdesc = Made up for a measurement\n\tpkgver = 1.{version}\n\tpkgrel = 1\n\turl = https://example.org/{name}\n\tarch = x86_64\n\tlicense = MIT\n"
        );
        for (index, dependency) in depends.iter().enumerate() {
            let key = if index % 3 == 0 { "makedepends" } else { "depends" };
            let _ = writeln!(text, "\t{key} = {dependency}");
        }
        if name.ends_with("-git") {
            let _ = write!(text, "\tsource = git+https://example.org/{name}.git\n\tsha256sums = SKIP\n");
        } else {
            let sum = version * 7;
            let _ =
                write!(text, "\tsource = https://example.org/{name}-1.{version}.tar.gz\n\tsha256sums = {sum:064x}\n");
        }
        let _ = write!(text, "\npkgname = {name}\n");
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

    /// Every file of the folder, by its path in the monorepo.
    fn files(&self) -> Vec<(String, String)> {
        let name = &self.name;
        let mut files = vec![
            (format!("{name}/PKGBUILD"), self.pkgbuild()),
            (format!("{name}/.SRCINFO"), self.srcinfo()),
            (format!("{name}/.CI/config"), self.config.clone()),
            (format!("{name}/.CI/info"), "REQ_ORIGIN=user\nREQ_REASON=request\n".to_owned()),
        ];
        let patches = (0..self.extra_files)
            .map(|file| (format!("{name}/{name}-{file}.patch"), format!("--- a/{file}\n+++ b/{name}\n")));
        files.extend(patches);
        if self.interfere {
            files.push((format!("{name}/.CI/PKGBUILD.append"), "options+=(!lto)\n".to_owned()));
        }
        files
    }
}

/// Commits in the language of `git fast-import`.
#[derive(Default)]
struct Stream {
    text: String,
    minutes: u32,
}

impl Stream {
    /// One commit on a branch, upon `from` or upon what the branch has so far.
    fn commit(&mut self, branch: &str, from: Option<&str>, message: &str, files: &[(String, String)]) {
        let Self { text, minutes } = self;
        *minutes += 1;
        let time = 1_780_000_000 + 60 * *minutes;
        let _ = write!(
            text,
            "commit refs/heads/{branch}\ncommitter Somebody <somebody@example.org> {time} +0000\ndata {}\n{message}\n",
            message.len()
        );
        if let Some(from) = from {
            let _ = writeln!(text, "from {from}");
        }
        for (path, content) in files {
            let _ = write!(text, "M 100644 inline {path}\ndata {}\n{content}\n", content.len());
        }
    }

    fn reference(&mut self, name: &str, to: &str) {
        let _ = write!(self.text, "reset {name}\nfrom {to}\n\n");
    }
}

/// Writes a bare monorepo into an empty directory, packed as a fresh clone is.
pub fn generate(path: &Path, shape: &Shape) {
    let stream = stream(shape).text.into_bytes();
    git(path, &["init", "--quiet", "--bare", "--initial-branch=main"], Vec::new());
    git(path, &["fast-import", "--quiet"], stream);
    git(path, &["repack", "-a", "-d", "-q"], Vec::new());
    git(path, &["pack-refs", "--all"], Vec::new());
}

fn git(path: &Path, args: &[&str], input: Vec<u8>) {
    let program = Program::new("git").args(args).current_dir(path).stdin_bytes(input).timeout(Duration::from_mins(30));
    let output = program.run_blocking().expect("git");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn stream(shape: &Shape) -> Stream {
    let mut dice = Dice::new(42);
    let mut sketches = sketch::packages(shape.packages, &mut dice);
    let names: Vec<String> = sketches.iter().map(|sketch| sketch.name.clone()).collect();
    let mut stream = Stream::default();
    let all: Vec<_> = sketches.iter().flat_map(Sketch::files).collect();
    stream.commit("main", None, "feat: init", &all);
    stream.reference("refs/tags/scheduled", "refs/heads/main");
    for _ in 0..shape.commits {
        let sketch = &mut sketches[dice.roll(shape.packages)];
        sketch.version += 1;
        stream.commit("main", None, &format!("chore(update): {}", sketch.name), &sketch.files());
    }
    for sketch in &mut sketches[..shape.reviews] {
        sketch.version += 1;
        let files: Vec<_> = sketch.files();
        stream.commit(
            &format!("update-{}", sketch.name),
            Some("refs/heads/main"),
            &format!("chore(update): {}", sketch.name),
            &files,
        );
    }
    stream.commit("state", None, "chore(state): update state", &state(&names, shape.elsewhere));
    stream
}

/// What the branch `state` holds.
fn state(names: &[String], elsewhere: usize) -> Vec<(String, String)> {
    let mut versions = String::new();
    for number in 0..elsewhere {
        let _ = writeln!(versions, "official{number}:1.{number}-1");
    }
    let own = names.iter().enumerate().map(|(index, name)| {
        let mut text = format!("PKGWARDEN_SOURCE_COMMIT={index:040x}\nPKGWARDEN_SOURCE_STAMP=1780000000\n");
        if name.ends_with("-git") {
            let _ = writeln!(text, "CI_GIT_COMMIT={index:040x}");
        }
        (name.clone(), text)
    });
    own.chain([(".version-state".to_owned(), versions)]).collect()
}

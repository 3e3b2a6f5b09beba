//! The real binary in a sealed box: nothing of this machine's environment, a home of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pkgwarden::sys::process::Program;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::scene::Scene;

/// What came out of the program.
#[must_use = "compare the output or the status"]
#[derive(Debug)]
pub struct Ran {
    /// The exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    replaced: Vec<(String, String)>,
}

impl Ran {
    /// Standard output with everything replaced that differs from run to run.
    pub fn text(&self) -> String {
        self.stable(&self.stdout)
    }

    /// Standard error likewise.
    pub fn errors(&self) -> String {
        self.stable(&self.stderr)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    fn stable(&self, text: &str) -> String {
        let text = self.replaced.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        without_ids(&text)
    }
}

/// Hexadecimal ids, short ones in messages too, and ids of runs.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| {
        let hex = word.len() >= 10 && word.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        hex && word.chars().any(|c| c.is_ascii_digit())
    };
    let is_run = |word: &str| {
        let parts: Vec<usize> = word.split('-').map(str::len).collect();
        parts == [8, 6, 6] && word.chars().all(|c| c.is_ascii_digit() || c == '-')
    };
    let mut result = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() || c == '-' {
            word.push(c);
            continue;
        }
        result.push_str(if is_id(&word) {
            "<id>"
        } else if is_run(&word) {
            "<run>"
        } else {
            &word
        });
        word.clear();
        result.push(c);
    }
    result.pop();
    result
}

/// See [`Scene::everything`].
pub struct Everything(BTreeMap<PathBuf, String>);

impl Everything {
    /// Panics with the paths that differ, if any do.
    pub fn assert_same(&self, other: &Self) {
        let differs = |(path, facts): &(&PathBuf, &String)| other.0.get(*path) != Some(*facts);
        let written: Vec<_> = self.0.iter().filter(differs).map(|(path, _)| path).collect();
        let gone: Vec<_> = other.0.keys().filter(|path| !self.0.contains_key(*path)).collect();
        assert!(written.is_empty() && gone.is_empty(), "written: {written:?}, taken away or made: {gone:?}");
    }
}

impl Scene {
    /// Runs `pkgwarden ARGS` in the monorepo itself.
    pub async fn pkgwarden(&self, args: &[&str]) -> Ran {
        self.pkgwarden_in(self.monorepo.path(), args, &[]).await
    }

    /// `pkgwarden -C DIR ARGS` with more variables in its environment.
    pub fn program(&self, dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Program {
        self.sealed(Program::new(env!("CARGO_BIN_EXE_pkgwarden")), env).arg("-C").arg(dir).args(args)
    }

    /// `pkgwarden -C DIR ARGS` as somebody starts it who has left this file open as descriptor 7.
    pub fn program_with_open(&self, file: &Path, dir: &Path, args: &[&str]) -> Program {
        let shell = Program::new("/bin/sh").args(["-c", r#"exec 7<"$0" "$@""#]).arg(file);
        self.sealed(shell, &[]).arg(env!("CARGO_BIN_EXE_pkgwarden")).arg("-C").arg(dir).args(args)
    }

    /// A program with the environment of the scene.
    fn sealed(&self, program: Program, env: &[(&str, &str)]) -> Program {
        let mut program = program.env_clear();
        let path = pkgwarden::sys::env::var("PATH").unwrap_or_default();
        for (key, value) in [("PATH", path.as_str()), ("LANG", "C.UTF-8"), ("NO_COLOR", "1")] {
            program = program.env(key, value);
        }
        program = program.env("HOME", self.path("home")).env("TMPDIR", self.path("tmp"));
        program = self.env.iter().fold(program, |program, (key, value)| program.env(key, value));
        program = env.iter().fold(program, |program, (key, value)| program.env(key, value));
        program.current_dir(self.path("home"))
    }

    /// Runs `pkgwarden -C DIR ARGS` with more variables in its environment.
    pub async fn pkgwarden_in(&self, dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let output =
            self.program(dir, args, env).timeout(Duration::from_mins(2)).run().await.expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        Ran {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            replaced: self.replaced(),
        }
    }

    fn replaced(&self) -> Vec<(String, String)> {
        let address = self.world.as_ref().map(|world| (world.address().to_string(), "<address>".to_owned()));
        let root = self.path("");
        let dir = (root.display().to_string().trim_end_matches('/').to_owned(), "<dir>".to_owned());
        address.into_iter().chain([dir]).collect()
    }

    /// What is everywhere the program could write: every path with its kind, mode, time and content. Of
    /// TMPDIR itself the time does not count: what is made there and taken away again leaves nothing.
    pub fn everything(&self) -> Everything {
        let mut found = BTreeMap::new();
        for entry in walkdir::WalkDir::new(self.path("")).into_iter().map(|entry| entry.expect("readable")) {
            let meta = entry.metadata().expect("readable");
            let content =
                if meta.is_file() { digest(&std::fs::read(entry.path()).expect("read")) } else { String::new() };
            let time = meta.modified().ok().filter(|_| entry.path() != self.path("tmp"));
            let facts = format!("{:?} {:?} {time:?} {content}", meta.file_type(), meta.permissions());
            found.insert(entry.path().to_owned(), facts);
        }
        Everything(found)
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("{:?}", Sha256::digest(bytes))
}

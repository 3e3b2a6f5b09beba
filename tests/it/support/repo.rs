//! A git repository as people and git itself leave it, written with `git fast-import`.
//!
//! The program's own door to git is not used, so that a fault in it cannot hide behind itself.

#[cfg(feature = "failpoints")]
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pkgwarden::domain::folder::{FileMode, Folder};
use pkgwarden::sys::process::{Output, Program};

/// A git repository.
#[derive(Debug, Clone)]
pub struct Repo {
    path: PathBuf,
}

/// One change to the tree of a commit.
pub enum Change {
    /// Writes a file, or anything else git knows by a mode.
    Put { path: String, mode: FileMode, bytes: Vec<u8> },
    /// Removes a file or a folder.
    Remove(String),
    /// Moves a file or a folder.
    Rename(String, String),
}

impl Change {
    pub fn put(path: &str, text: impl AsRef<[u8]>) -> Self {
        Self::Put { path: path.to_owned(), mode: FileMode::Regular, bytes: text.as_ref().to_vec() }
    }

    pub fn link(path: &str, target: &str) -> Self {
        Self::Put { path: path.to_owned(), mode: FileMode::Symlink, bytes: target.into() }
    }

    /// Every file of `folder`, below `prefix` (`""` or `name/`).
    pub fn put_all(prefix: &str, folder: &Folder) -> Vec<Self> {
        let put = |(path, file): (&String, &pkgwarden::domain::folder::File)| Self::Put {
            path: format!("{prefix}{path}"),
            mode: file.mode,
            bytes: file.bytes.to_vec(),
        };
        folder.files.iter().map(put).collect()
    }
}

impl Repo {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub async fn init(path: &Path) -> Self {
        git_in(Path::new("/"), &["init", "-q", "--bare", "--initial-branch=main", &path.display().to_string()]).await;
        Self::at(path)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a git command prints, without the newline at the end; it has to succeed.
    pub async fn git(&self, args: &[&str]) -> String {
        git_in(&self.path, args).await
    }

    /// What a git command prints, if it succeeds.
    pub async fn tries(&self, args: &[&str]) -> Option<String> {
        let output = run(&self.path, args, Vec::new()).await;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// A commit of this tree with two parents, which no ref has yet.
    pub async fn merge_commit(&self, tree: &str, parents: [&str; 2], message: &str, time: Timestamp) -> String {
        let who = format!("Mira Vale <mira@example.org> {} +0000", time.as_second());
        let [one, other] = parents;
        let text = format!("tree {tree}\nparent {one}\nparent {other}\nauthor {who}\ncommitter {who}\n\n{message}\n");
        self.pipe(&["hash-object", "-w", "-t", "commit", "--stdin"], text).await
    }

    /// The commit a revision names, if it exists.
    pub async fn id(&self, rev: &str) -> Option<String> {
        let output = run(&self.path, &["rev-parse", "-q", "--verify", &format!("{rev}^{{commit}}")], Vec::new()).await;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A file at a revision, if it exists.
    pub async fn file(&self, rev: &str, path: &str) -> Option<String> {
        let output = run(&self.path, &["cat-file", "blob", &format!("{rev}:{path}")], Vec::new()).await;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Commits on top of `branch` (a full name), which may not exist yet. Returns the commit.
    pub async fn commit(&self, branch: &str, message: &str, changes: &[Change], time: Timestamp) -> String {
        let parent = self.id(branch).await;
        self.commit_on(branch, parent.as_deref(), message, changes, time).await
    }

    /// Points `branch` at a commit on top of `parent`, whatever it was before: a push with force.
    pub async fn commit_on(
        &self,
        branch: &str,
        parent: Option<&str>,
        message: &str,
        changes: &[Change],
        time: Timestamp,
    ) -> String {
        let who = format!("Mira Vale <mira@example.org> {} +0000", time.as_second());
        let mut stream = format!("reset {branch}\n").into_bytes();
        stream.extend(format!("commit {branch}\nmark :1\nauthor {who}\ncommitter {who}\n").bytes());
        data(&mut stream, message.as_bytes());
        stream.extend(parent.map_or_else(String::new, |parent| format!("from {parent}\n")).bytes());
        for change in changes {
            write_change(&mut stream, change);
        }
        stream.extend(b"\nget-mark :1\ndone\n");
        let output = run(&self.path, &["fast-import", "--quiet", "--done", "--force"], stream).await;
        assert!(output.status.success(), "git fast-import: {}", output.stderr_text());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits on top of many branches (full names) at once.
    pub async fn commit_all(&self, commits: &[(String, Vec<Change>)], message: &str, time: Timestamp) {
        let who = format!("Mira Vale <mira@example.org> {} +0000", time.as_second());
        let mut stream = Vec::new();
        for (branch, changes) in commits {
            stream.extend(format!("commit {branch}\nauthor {who}\ncommitter {who}\n").bytes());
            data(&mut stream, message.as_bytes());
            stream.extend(format!("from {branch}^0\n").bytes());
            for change in changes {
                write_change(&mut stream, change);
            }
            stream.push(b'\n');
        }
        stream.extend(b"done\n");
        let output = run(&self.path, &["fast-import", "--quiet", "--done", "--force"], stream).await;
        assert!(output.status.success(), "git fast-import: {}", output.stderr_text());
    }

    /// What a git command prints that reads `stdin`; it has to succeed.
    pub async fn pipe(&self, args: &[&str], stdin: String) -> String {
        let output = run(&self.path, args, stdin.into_bytes()).await;
        assert!(output.status.success(), "git {args:?}: {}", output.stderr_text());
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// A commit of exactly this tree, which no ref has yet.
    pub async fn commit_tree(&self, tree: &str, parent: &str, message: &str, seconds: i64) -> String {
        let who = format!("Pia Sand <pia@example.org> {seconds} +0000");
        let parent = self.id(parent).await.expect("a parent");
        let text = format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n{message}\n");
        self.pipe(&["hash-object", "-w", "-t", "commit", "--stdin"], text).await
    }

    /// Every ref with the subject of its commit, one a line.
    pub async fn refs(&self) -> String {
        self.git(&["for-each-ref", "--format=%(refname) %(contents:subject)"]).await
    }

    /// Every ref with all that matters behind it and nothing that depends on the moment: subjects and
    /// trees of its whole history.
    #[cfg(feature = "failpoints")]
    pub async fn picture(&self) -> String {
        let mut picture = String::new();
        for name in self.git(&["for-each-ref", "--format=%(refname)"]).await.lines() {
            let history = self.git(&["log", "--format=%T %s%n%b", name]).await;
            writeln!(picture, "{name}\n{history}").expect("memory");
        }
        picture
    }

    /// A copy of everything, as if it had always been there.
    #[cfg(feature = "failpoints")]
    pub async fn copy_to(&self, path: &Path) -> Self {
        let (from, to) = (self.path.display().to_string(), path.display().to_string());
        let output = Program::new("cp").args(["-a", &from, &to]).run().await.expect("cp runs");
        assert!(output.status.success(), "cp: {}", output.stderr_text());
        Self::at(path)
    }
}

fn write_change(stream: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Put { path, mode: FileMode::Submodule, .. } => {
            stream.extend(format!("M 160000 {} {}\n", "1".repeat(40), quoted(path)).bytes());
        }
        Change::Put { path, mode, bytes } => {
            stream.extend(format!("M {:o} inline {}\n", mode.as_octal(), quoted(path)).bytes());
            data(stream, bytes);
        }
        Change::Remove(path) => stream.extend(format!("D {}\n", quoted(path)).bytes()),
        Change::Rename(from, to) => stream.extend(format!("R {} {}\n", quoted(from), quoted(to)).bytes()),
    }
}

fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

fn data(stream: &mut Vec<u8>, bytes: &[u8]) {
    stream.extend(format!("data {}\n", bytes.len()).bytes());
    stream.extend(bytes);
    stream.push(b'\n');
}

pub async fn git_in(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, args, Vec::new()).await;
    assert!(output.status.success(), "git {args:?}: {}", output.stderr_text());
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// `git` with none of the user's settings.
async fn run(folder: &Path, args: &[&str], stdin: Vec<u8>) -> Output {
    Program::new("git")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .args(args)
        .current_dir(folder)
        .stdin_bytes(stdin)
        .run()
        .await
        .expect("git runs")
}

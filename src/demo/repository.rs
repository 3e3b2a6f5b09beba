//! Bare repositories written the way their owners' pushes would leave them: commits made with
//! `git fast-import`, each with its own author and time, read back with `git cat-file`.
//!
//! The product's own door to git is not used here, so that a fault in it cannot hide behind itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;

use crate::domain::folder::{FileMode, Folder};
use crate::domain::name::Oid;
use crate::domain::policy::Identity;
use crate::sys::process::{Output, Program};

const TIMEOUT: Duration = Duration::from_mins(1);
const OUTPUT_LIMIT: usize = 256 << 20;
/// How often a commit is tried again because somebody else pushed at the same moment.
const RACES: usize = 20;
/// What git says then: the branch moved before or while the new commit was stored.
const LOST_RACE: [&str; 2] = ["Not updating", "cannot lock ref"];

/// `git` with none of the user's settings.
pub(super) fn git() -> Program {
    Program::new("git")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_DEFAULT_REF_FORMAT", "files")
        .timeout(TIMEOUT)
        .output_limit(OUTPUT_LIMIT)
}

/// A bare repository.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    path: PathBuf,
}

/// One change to the tree of a commit.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Writes a file.
    Put { path: String, mode: FileMode, bytes: std::sync::Arc<[u8]> },
    /// Removes a file or a folder.
    Remove(String),
}

impl Change {
    /// Every file of `folder`, below `prefix` (`""` or `name/`).
    pub(super) fn put_all(prefix: &str, folder: &Folder) -> Vec<Self> {
        let put = |(path, file): (&String, &crate::domain::folder::File)| Self::Put {
            path: format!("{prefix}{path}"),
            mode: file.mode,
            bytes: file.bytes.clone(),
        };
        folder.files.iter().map(put).collect()
    }

    /// An ordinary file.
    pub(super) fn put(path: String, text: &str) -> Self {
        Self::Put { path, mode: FileMode::Regular, bytes: text.as_bytes().into() }
    }
}

/// A commit to be made at the tip of a branch.
pub(super) struct NewCommit<'a> {
    /// The full name of the ref.
    pub(super) branch: &'a str,
    pub(super) who: &'a Identity,
    pub(super) time: Timestamp,
    pub(super) message: &'a str,
    pub(super) changes: &'a [Change],
}

/// A ref and the commit it points at.
pub(super) struct Tip {
    /// The full name of the ref.
    pub(super) name: String,
    pub(super) commit: Oid,
    pub(super) time: Timestamp,
}

/// Instructions for `git fast-import`.
#[derive(Default)]
pub(super) struct Import(Vec<u8>);

impl Import {
    /// A commit on a branch that does not exist yet, or that this import has already written to.
    pub(super) fn commit(&mut self, commit: &NewCommit<'_>) -> &mut Self {
        self.write(commit, "")
    }

    /// A commit on top of what the branch is in the repository.
    fn commit_on_tip(&mut self, commit: &NewCommit<'_>) -> &mut Self {
        self.write(commit, &format!("from {}^0\n", commit.branch))
    }

    /// Points `reference` at what `target` is.
    pub(super) fn point(&mut self, reference: &str, target: &str) -> &mut Self {
        self.line(&format!("reset {reference}\nfrom {target}\n\n"))
    }

    fn write(&mut self, commit: &NewCommit<'_>, from: &str) -> &mut Self {
        let Identity { name, email } = commit.who;
        let who = format!("{name} <{email}> {} +0000", commit.time.as_second());
        self.line(&format!("commit {}\nmark :1\nauthor {who}\ncommitter {who}\n", commit.branch));
        self.data(commit.message.as_bytes()).line(from);
        for change in commit.changes {
            match change {
                Change::Put { path, mode, bytes } => {
                    self.line(&format!("M {:o} inline {path}\n", mode.as_octal())).data(bytes);
                }
                Change::Remove(path) => {
                    self.line(&format!("D {path}\n"));
                }
            }
        }
        self.line("\n")
    }

    fn line(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn data(&mut self, bytes: &[u8]) -> &mut Self {
        self.line(&format!("data {}\n", bytes.len()));
        self.0.extend_from_slice(bytes);
        self.line("\n")
    }
}

impl Repository {
    /// The repository at `path`; it need not exist yet.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates it, empty, with `branch` as its default.
    pub(super) async fn init(&self, branch: &str) -> Result<()> {
        let program = git().args(["init", "--quiet", "--bare", "--template=", "--initial-branch", branch]);
        let output = program.arg(&self.path).run().await?;
        succeeded(&output, "git init").map(drop)
    }

    /// Sets one value of the repository's configuration.
    pub(super) async fn configure(&self, key: &str, value: &str) -> Result<()> {
        self.run(&["config", key, value], Vec::new()).await.map(drop)
    }

    /// Carries out an import.
    pub(super) async fn import(&self, import: Import) -> Result<()> {
        let output = self.fast_import(import).await?;
        succeeded(&output, "git fast-import").map(drop)
    }

    /// Adds a commit to a branch, also when somebody else pushes to it meanwhile.
    pub(super) async fn commit(&self, commit: &NewCommit<'_>) -> Result<Oid> {
        for _ in 0..RACES {
            let mut import = Import::default();
            import.commit_on_tip(commit).line("get-mark :1\n");
            let output = self.fast_import(import).await?;
            let said = output.stderr_text();
            let lost = LOST_RACE.iter().any(|words| said.contains(words));
            if !lost {
                return Ok(succeeded(&output, "git fast-import")?.trim().parse()?);
            }
        }
        bail!("{} of {} moves too fast to commit to it", commit.branch, self.path.display())
    }

    async fn fast_import(&self, mut import: Import) -> Result<Output> {
        import.line("done\n");
        let program = git().args(["fast-import", "--quiet", "--done"]).current_dir(&self.path);
        Ok(program.stdin_bytes(import.0).run().await?)
    }

    /// The refs that match `pattern`, in the order of their names.
    pub(super) async fn tips(&self, pattern: &str) -> Result<Vec<Tip>> {
        let format = "--format=%(objectname) %(committerdate:unix) %(refname)";
        let text = self.run(&["for-each-ref", format, pattern], Vec::new()).await?;
        let tip_of = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let commit = words.next()?.parse().ok()?;
            let time = Timestamp::from_second(words.next()?.parse().ok()?).ok()?;
            Some(Tip { name: words.next()?.to_owned(), commit, time })
        };
        text.lines().map(|line| tip_of(line).with_context(|| format!("unexpected ref `{line}`"))).collect()
    }

    /// When the first commit of each ref that matches `pattern` was made, by the name of the ref.
    pub(super) async fn beginnings(&self, pattern: &str) -> Result<std::collections::BTreeMap<String, Timestamp>> {
        let glob = format!("--glob={pattern}");
        let args = ["log", &glob, "--max-parents=0", "--source", "--format=%ct %S"];
        let text = self.run(&args, Vec::new()).await?;
        let beginning = |line: &str| {
            let (seconds, name) = line.split_once(' ')?;
            Some((name.to_owned(), Timestamp::from_second(seconds.parse().ok()?).ok()?))
        };
        Ok(text.lines().filter_map(beginning).collect())
    }

    /// The names at the root of a commit.
    pub(super) async fn names(&self, rev: &str) -> Result<Vec<String>> {
        let text = self.run(&["ls-tree", "-z", "--name-only", rev], Vec::new()).await?;
        Ok(text.split_terminator('\0').map(str::to_owned).collect())
    }

    /// The text of one file; an error if there is none.
    pub(super) async fn text(&self, spec: &str) -> Result<String> {
        let mut blobs = self.blobs(&[spec.to_owned()]).await?;
        let bytes = blobs.pop().flatten().with_context(|| format!("{} has no {spec}", self.path.display()))?;
        String::from_utf8(bytes).with_context(|| format!("{spec} is not text"))
    }

    /// The content of each `rev:path`, `None` where there is none. One process for all of them.
    pub(super) async fn blobs(&self, specs: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let stdin = specs.iter().flat_map(|spec| [spec.as_str(), "\n"]).collect::<String>();
        let program = git().args(["cat-file", "--batch"]).current_dir(&self.path).stdin_bytes(stdin.into_bytes());
        let output = program.run().await?;
        ensure!(output.status.success(), "git cat-file: {}", output.stderr_text());
        read_batch(&output.stdout, specs.len())
    }

    async fn run(&self, args: &[&str], stdin: Vec<u8>) -> Result<String> {
        let output = git().args(args).current_dir(&self.path).stdin_bytes(stdin).run().await?;
        succeeded(&output, args.first().unwrap_or(&"git"))
    }
}

/// Reads `count` answers of `git cat-file --batch`.
fn read_batch(mut rest: &[u8], count: usize) -> Result<Vec<Option<Vec<u8>>>> {
    let mut blobs = Vec::with_capacity(count);
    for _ in 0..count {
        let end = rest.iter().position(|&byte| byte == b'\n').context("git cat-file ended early")?;
        let header = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        if header.ends_with(" missing") {
            blobs.push(None);
            continue;
        }
        let size: usize = header.rsplit(' ').next().unwrap_or_default().parse().context("git cat-file: no size")?;
        ensure!(rest.len() > size, "git cat-file ended early");
        blobs.push(Some(rest[..size].to_vec()));
        rest = &rest[size + 1..];
    }
    Ok(blobs)
}

fn succeeded(output: &Output, what: &str) -> Result<String> {
    ensure!(output.status.success(), "{what}: {}", output.stderr_text());
    String::from_utf8(output.stdout.clone()).with_context(|| format!("{what} answered something that is not text"))
}

//! Opening and creating repositories, and finding commits in them by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::{ErrorCode, ObjectType, RepositoryInitOptions, RepositoryOpenFlags};
use tempfile::TempDir;

use super::GitError;
use super::command::SecretSetting;
use crate::domain::name::Oid;
use crate::sys::fs::{FsError, age, write_atomic};

/// A lock file older than this belongs to a git that was killed.
const STALE_LOCK: Duration = Duration::from_mins(15);

/// An open repository. Opening one costs little as long as its refs are not listed, so whoever needs
/// one on another thread opens it again there.
pub struct Repository {
    pub(super) inner: git2::Repository,
    /// Keeps the stand-in of a repository that belongs to somebody else; see [`open_foreign`].
    stand_in: Option<TempDir>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repository({})", self.path().display())
    }
}

impl Repository {
    /// Opens the repository at exactly this path: bare, or the top of a work tree.
    ///
    /// # Errors
    /// [`GitError::NotARepository`].
    pub fn open(path: &Path) -> Result<Self, GitError> {
        Self::open_with(path, RepositoryOpenFlags::NO_SEARCH)
    }

    /// Opens the repository that holds this path, looking in parent folders as git does.
    ///
    /// # Errors
    /// [`GitError::NotARepository`].
    pub fn discover(path: &Path) -> Result<Self, GitError> {
        Self::open_with(path, RepositoryOpenFlags::CROSS_FS)
    }

    fn open_with(path: &Path, flags: RepositoryOpenFlags) -> Result<Self, GitError> {
        let no_ceiling: [&Path; 0] = [];
        match git2::Repository::open_ext(path, flags, no_ceiling) {
            Ok(inner) => Ok(Self { inner, stand_in: None }),
            Err(error) if error.code() == ErrorCode::Owner => open_foreign(path),
            Err(source) => Err(GitError::NotARepository { path: path.to_owned(), source }),
        }
    }

    /// Opens the bare repository at `path`, creating it if it is not there. It can read every object of
    /// the repository at `alternates`, and what is written goes into it alone.
    ///
    /// Lock files that a killed git left behind are removed from it.
    ///
    /// # Errors
    /// [`GitError`] if either repository cannot be opened, or this one not be written.
    pub fn create_workspace(path: &Path, alternates: Option<&Path>) -> Result<Self, GitError> {
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false).initial_head("main");
        let made = git2::Repository::init_opts(path, &options);
        let inner = made.map_err(GitError::library(format!("create a repository in {}", path.display())))?;
        if let Some(other) = alternates {
            let other = Self::open(other)?;
            let line = format!("{}\n", absolute(&other.common_dir().join("objects")).display());
            write_if_new(&inner.path().join("objects/info/alternates"), line.as_bytes())?;
            // Where the history of the other one is cut off, it is cut off here as well.
            if let Ok(cut) = std::fs::read(other.common_dir().join("shallow")) {
                write_if_new(&inner.path().join("shallow"), &cut)?;
            }
        }
        remove_stale_locks(inner.path());
        drop(inner);
        Self::open(path)
    }

    /// The folder with the repository's own files: itself if bare, else its `.git`.
    #[must_use]
    pub fn path(&self) -> &Path {
        if self.stand_in.is_some() { self.inner.commondir() } else { self.inner.path() }
    }

    fn common_dir(&self) -> &Path {
        self.inner.commondir()
    }

    /// The commit a revision names (`HEAD`, `main~3`, an id …); `None` if there is no such thing.
    ///
    /// # Errors
    /// [`GitError::BadRevision`] if it cannot be read as a revision, or is something other than a commit.
    pub fn resolve(&self, rev: &str) -> Result<Option<Oid>, GitError> {
        let absent = |error: &git2::Error| matches!(error.code(), ErrorCode::NotFound | ErrorCode::UnbornBranch);
        let object = match self.inner.revparse_single(rev) {
            Ok(object) => object,
            Err(error) if absent(&error) => return Ok(None),
            Err(source) => return Err(GitError::BadRevision { rev: rev.to_owned(), source }),
        };
        let commit = object.peel_to_commit();
        let commit = commit.map_err(|source| GitError::BadRevision { rev: rev.to_owned(), source })?;
        Ok(Some(from_git(commit.id())))
    }

    /// The root tree of a commit.
    ///
    /// # Errors
    /// [`GitError::MissingObject`], or what is wrong with the object.
    pub fn tree_of(&self, commit: Oid) -> Result<Oid, GitError> {
        let commit = self.inner.find_commit(to_git(commit)).map_err(GitError::object(commit))?;
        Ok(from_git(commit.tree_id()))
    }

    /// Every ref whose full name starts with `prefix`, with what it points at; a tag object is followed
    /// to what it tags. Reads all refs, so it costs more the more there are.
    ///
    /// # Errors
    /// [`GitError::Library`] if refs cannot be read.
    pub fn refs(&self, prefix: &str) -> Result<BTreeMap<String, Oid>, GitError> {
        let failed = || GitError::library(format!("list the refs of {}", self.path().display()));
        let mut found = BTreeMap::new();
        for reference in self.inner.references().map_err(failed())? {
            let reference = reference.map_err(failed())?;
            let Ok(name) = reference.name() else { continue };
            if !name.starts_with(prefix) {
                continue;
            }
            let Ok(target) = reference.peel(ObjectType::Any) else { continue };
            let target = target.peel(ObjectType::Commit).unwrap_or(target);
            found.insert(name.to_owned(), from_git(target.id()));
        }
        Ok(found)
    }

    /// The branch that `HEAD` stands on, by its short name, even if it has no commit yet; `None` if
    /// `HEAD` stands on a commit.
    #[must_use]
    pub fn head_branch(&self) -> Option<String> {
        let head = self.inner.find_reference("HEAD").ok()?;
        let target = head.symbolic_target().ok()??;
        target.strip_prefix("refs/heads/").map(str::to_owned)
    }

    /// The address of a configured remote; a relative path is made absolute. `None` if there is no
    /// remote of this name.
    #[must_use]
    pub fn remote_url(&self, name: &str) -> Option<String> {
        let remote = self.inner.find_remote(name).ok()?;
        let url = remote.url().ok()?.to_owned();
        if url.starts_with('/') || url.contains(':') {
            return Some(url);
        }
        let base = self.inner.workdir().unwrap_or(self.inner.path());
        Some(absolute(&base.join(url)).display().to_string())
    }

    /// What the repository's own configuration says about transports.
    pub(super) fn transport_settings(&self) -> Vec<SecretSetting> {
        let local = || self.inner.config()?.open_level(git2::ConfigLevel::Local);
        let mut settings = Vec::new();
        let Ok(config) = local() else { return settings };
        let Ok(mut entries) = config.entries(None) else { return settings };
        while let Some(Ok(entry)) = entries.next() {
            let (Ok(key), Ok(value)) = (entry.name(), entry.value()) else { continue };
            if key.starts_with("http.") || key.starts_with("credential.") || key == "core.sshcommand" {
                settings.push(SecretSetting { key: key.to_owned(), value: value.to_owned().into() });
            }
        }
        settings
    }
}

/// Opens a repository that belongs to another user.
///
/// The library refuses to, because git would run what such a repository configures. We only read
/// objects and refs through it, which runs nothing. So it is read as a work tree of its own would be:
/// through a folder of ours that points at it.
fn open_foreign(path: &Path) -> Result<Repository, GitError> {
    let not_one = |source| GitError::NotARepository { path: path.to_owned(), source };
    let file = |error| FsError::new("read", path, error);
    let real = [path.join(".git"), path.to_owned()].into_iter().find(|dir| dir.join("HEAD").is_file());
    let real = real.ok_or_else(|| not_one(git2::Error::from_str("it belongs to another user, and has no HEAD")))?;
    let stand_in = TempDir::new().map_err(file)?;
    std::fs::copy(real.join("HEAD"), stand_in.path().join("HEAD")).map_err(file)?;
    write_atomic(&stand_in.path().join("commondir"), format!("{}\n", absolute(&real).display()).as_bytes())?;
    let inner = git2::Repository::open_bare(stand_in.path()).map_err(not_one)?;
    Ok(Repository { inner, stand_in: Some(stand_in) })
}

fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn write_if_new(path: &Path, bytes: &[u8]) -> Result<(), GitError> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) { Ok(()) } else { Ok(write_atomic(path, bytes)?) }
}

/// Removes lock files nobody can still hold. What cannot be removed, git will report by its name.
fn remove_stale_locks(repository: &Path) {
    let mut folders = vec![repository.to_owned(), repository.join("refs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if folder != repository {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "lock")
                && age(&path).is_some_and(|age| age > STALE_LOCK)
            {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

pub(super) fn to_git(id: Oid) -> git2::Oid {
    git2::Oid::from_bytes(id.as_bytes()).expect("an id of git has 20 bytes")
}

pub(super) fn from_git(id: git2::Oid) -> Oid {
    Oid::from_bytes(id.as_bytes().try_into().expect("an id of git has 20 bytes"))
}

//! Opening and creating repositories, and finding commits in them by name.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Once;
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
    /// What has been written, while it is collected in memory.
    pub(super) written: Option<RefCell<BTreeSet<git2::Oid>>>,
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
        trust_own_objects();
        let no_ceiling: [&Path; 0] = [];
        match git2::Repository::open_ext(path, flags, no_ceiling) {
            Ok(inner) => Ok(Self { inner, stand_in: None, written: None }),
            Err(error) if error.code() == ErrorCode::Owner => open_foreign(path),
            Err(error) => Err(GitError::NotARepository { path: path.to_owned(), source: error.into() }),
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
        let inner = made.map_err(GitError::writing(path, format!("create a repository in {}", path.display())))?;
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

    /// The commits at which the history of a shallow clone is cut off: their parents are not there. None
    /// if the history is whole.
    #[must_use]
    pub fn cut_at(&self) -> BTreeSet<Oid> {
        let text = std::fs::read_to_string(self.common_dir().join("shallow")).unwrap_or_default();
        text.lines().filter_map(|line| line.trim().parse().ok()).collect()
    }

    pub(super) fn common_dir(&self) -> &Path {
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
            Err(error) => return Err(GitError::BadRevision { rev: rev.to_owned(), source: error.into() }),
        };
        let commit = object.peel_to_commit();
        let commit = commit.map_err(|error| GitError::BadRevision { rev: rev.to_owned(), source: error.into() })?;
        Ok(Some(from_git(commit.id())))
    }

    /// Deletes the refs that match, but for those that are kept.
    ///
    /// # Errors
    /// [`GitError::Library`] if they cannot be read or deleted.
    pub fn forget_refs(&self, glob: &str, kept: &BTreeSet<String>) -> Result<(), GitError> {
        let forget = || -> Result<(), git2::Error> {
            let mut refs = self.inner.references_glob(glob)?;
            let names: Vec<String> = refs.names().filter_map(|name| name.ok().map(str::to_owned)).collect();
            for name in names.iter().filter(|name| !kept.contains(*name)) {
                self.inner.find_reference(name)?.delete()?;
            }
            Ok(())
        };
        forget().map_err(GitError::library(format!("forget {glob}")))
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
            if let Some(target) = target_of(&reference, name) {
                found.insert(name.to_owned(), from_git(target));
            }
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

    /// What the repository's own configuration says about transports. Such settings can name programs to
    /// run, so those of a repository that belongs to somebody else do not count.
    pub(super) fn transport_settings(&self) -> Vec<SecretSetting> {
        let local = || self.inner.config()?.open_level(git2::ConfigLevel::Local);
        let mut settings = Vec::new();
        if self.stand_in.is_some() {
            return settings;
        }
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

/// What a ref leads to; a tag object is followed to what it tags. Branches name commits, so that no object
/// has to be read for them.
fn target_of(reference: &git2::Reference<'_>, name: &str) -> Option<git2::Oid> {
    if name.starts_with("refs/heads/") || name.starts_with("refs/remotes/") {
        return reference.resolve().ok()?.target();
    }
    let target = reference.peel(ObjectType::Any).ok()?;
    Some(target.peel(ObjectType::Commit).unwrap_or(target).id())
}

/// Objects are checked when they are fetched, by the git program. Like git itself, we do not hash them
/// again at every reading: that took a quarter of the time of a first look. Nor are they kept: what is made
/// of them is remembered.
fn trust_own_objects() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        git2::opts::strict_hash_verification(false);
        git2::opts::enable_caching(false);
    });
}

/// Opens a repository that belongs to another user.
///
/// The library refuses to, because git would run what such a repository configures. We only read
/// objects and refs through it, which runs nothing. So it is read as a work tree of its own would be:
/// through a folder of ours that points at it.
fn open_foreign(path: &Path) -> Result<Repository, GitError> {
    let not_one = |error: git2::Error| GitError::NotARepository { path: path.to_owned(), source: error.into() };
    let file = |error| FsError::new("read", path, error);
    let real = [path.join(".git"), path.to_owned()].into_iter().find(|dir| dir.join("HEAD").is_file());
    let real = real.ok_or_else(|| not_one(git2::Error::from_str("it belongs to another user, and has no HEAD")))?;
    let stand_in = TempDir::new().map_err(file)?;
    std::fs::copy(real.join("HEAD"), stand_in.path().join("HEAD")).map_err(file)?;
    write_atomic(&stand_in.path().join("commondir"), format!("{}\n", absolute(&real).display()).as_bytes())?;
    let inner = git2::Repository::open_bare(stand_in.path()).map_err(not_one)?;
    Ok(Repository { inner, stand_in: Some(stand_in), written: None })
}

fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Not synced to the disk, which takes longer than all the rest of making a repository: what is not there
/// after a crash is written again.
fn write_if_new(path: &Path, bytes: &[u8]) -> Result<(), GitError> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    Ok(std::fs::write(path, bytes).map_err(|error| FsError::new("write", path, error))?)
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

#[cfg(test)]
mod tests {
    use super::super::testing::{World, commit, git};
    use super::*;

    #[test]
    fn a_repository_is_opened_bare_or_with_a_work_tree_or_from_below() {
        let world = World::new();
        let bare = world.bare("repo");
        assert_eq!(Repository::open(&world.path("repo")).expect("opened").path(), bare.path());
        git(&world.path("."), &["init", "-q", "-b", "trunk", "tree"], &[]);
        let below = world.path("tree/a/b");
        std::fs::create_dir_all(&below).expect("folders");
        assert_eq!(Repository::open(&world.path("tree")).expect("opened").head_branch().as_deref(), Some("trunk"));
        assert!(Repository::discover(&below).expect("found").path().ends_with("tree/.git"));
        assert!(matches!(Repository::open(&below), Err(GitError::NotARepository { .. })));
        let error = Repository::open(&world.path("nothing")).expect_err("nothing there");
        assert_eq!(error.to_string(), format!("there is no git repository at {}", world.path("nothing").display()));
    }

    #[test]
    fn revisions_lead_to_commits() {
        let world = World::new();
        let repository = world.bare("repo");
        assert_eq!(repository.resolve("HEAD").expect("empty"), None);
        let first = commit(&repository, &[], &[("a", "1")]);
        let second = commit(&repository, &[first], &[("a", "2")]);
        world.set("repo", "refs/heads/main", second);
        world.git("repo", &["tag", "-a", "-m", "x", "scheduled", &first.to_string()]);
        for (rev, expected) in [
            ("HEAD", Some(second)),
            ("main", Some(second)),
            ("refs/heads/main", Some(second)),
            ("main~1", Some(first)),
            ("main~2", None),
            ("scheduled", Some(first)),
            ("nothing", None),
            ("ffffffffffffffffffffffffffffffffffffffff", None),
        ] {
            assert_eq!(repository.resolve(rev).expect(rev), expected, "{rev}");
        }
        assert_eq!(repository.resolve(&second.to_string()).expect("an id"), Some(second));
        let tree = repository.tree_of(first).expect("read").to_string();
        for bad in [tree.as_str(), "main^{", "main..main"] {
            assert!(matches!(repository.resolve(bad), Err(GitError::BadRevision { .. })), "{bad}");
        }
        let refs = repository.refs("refs/").expect("listed");
        let expected = [("refs/heads/main".to_owned(), second), ("refs/tags/scheduled".to_owned(), first)];
        assert_eq!(refs.into_iter().collect::<Vec<_>>(), expected);
        assert_eq!(repository.refs("refs/heads/up").expect("listed").len(), 0);
    }

    #[test]
    fn a_workspace_can_be_made_again_and_keeps_what_it_has() {
        let world = World::new();
        let (hub, work, first) = world.hub_and_workspace();
        let own = commit(&work, &[first], &[("a", "1")]);
        let again = Repository::create_workspace(&world.path("work"), Some(hub.path())).expect("made again");
        assert!(again.contains(own) && again.contains(first));
        let alternates = std::fs::read_to_string(world.path("work/objects/info/alternates")).expect("there");
        assert_eq!(alternates, format!("{}\n", absolute(&world.path("hub/objects")).display()));
        let missing = Repository::create_workspace(&world.path("other"), Some(&world.path("none")));
        assert!(matches!(missing, Err(GitError::NotARepository { .. })));
    }

    #[test]
    fn what_a_killed_git_left_locked_is_unlocked_when_it_is_old() {
        let world = World::new();
        world.bare("work");
        let lock = |name: &str, age: u64| {
            let path = world.path("work").join(name);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("folder");
            let file = std::fs::File::create(&path).expect("lock");
            let now = file.metadata().and_then(|it| it.modified()).expect("time");
            file.set_modified(now - Duration::from_secs(age)).expect("aged");
            path
        };
        let old = [lock("packed-refs.lock", 3600), lock("refs/pkgwarden/aur/x.lock", 3600), lock("shallow.lock", 3600)];
        let young = lock("refs/heads/main.lock", 1);
        Repository::create_workspace(&world.path("work"), None).expect("opened");
        assert!(old.iter().all(|path| !path.exists()));
        assert!(young.exists());
    }

    #[test]
    fn the_history_of_a_shallow_clone_ends_where_it_was_cut() {
        let world = World::new();
        let (_hub, _work, first) = world.hub_and_workspace();
        let hub = Repository::open(&world.path("hub")).expect("opened");
        let second = commit(&hub, &[first], &[("a", "2")]);
        world.set("hub", "refs/heads/main", second);
        let url = format!("file://{}", world.path("hub").display());
        git(&world.path("."), &["clone", "-q", "--depth=1", "--bare", &url, "shallow"], &[]);
        let work = Repository::create_workspace(&world.path("work2"), Some(&world.path("shallow"))).expect("created");
        let history = work.history(None, second).expect("ends");
        assert_eq!(history.iter().map(|commit| commit.id).collect::<Vec<_>>(), [second]);
        assert_eq!(work.cut_at(), BTreeSet::from([second]));
        assert_eq!(hub.cut_at(), BTreeSet::new());
    }

    #[test]
    fn a_repository_of_another_user_can_be_read() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let world = World::new();
        let hub = world.bare("hub");
        let first = commit(&hub, &[], &[("a", "1")]);
        world.set("hub", "refs/heads/main", first);
        world.git("hub", &["pack-refs", "--all"]);
        let other = Some(nix::unistd::Uid::from_raw(65_534));
        nix::unistd::chown(&world.path("hub"), other, None).expect("given away");
        let foreign = Repository::open(&world.path("hub")).expect("read");
        assert_eq!(foreign.resolve("HEAD").expect("resolved"), Some(first));
        assert_eq!(foreign.commit_facts(first).expect("read").message, "message");
        assert_eq!(foreign.head_branch().as_deref(), Some("main"));
        assert_eq!(absolute(foreign.path()), absolute(&world.path("hub")));
        let work = Repository::create_workspace(&world.path("work"), Some(&world.path("hub"))).expect("created");
        assert!(work.contains(first));
    }

    #[test]
    fn the_address_of_a_remote_is_absolute() {
        let world = World::new();
        world.bare("hub");
        let work = world.bare("work");
        for (name, url) in [("near", "../hub"), ("far", "https://example.org/x.git"), ("ssh", "git@example.org:x.git")]
        {
            world.git("work", &["config", &format!("remote.{name}.url"), url]);
        }
        assert_eq!(work.remote_url("near"), Some(absolute(&world.path("hub")).display().to_string()));
        assert_eq!(work.remote_url("far").as_deref(), Some("https://example.org/x.git"));
        assert_eq!(work.remote_url("ssh").as_deref(), Some("git@example.org:x.git"));
        assert_eq!(work.remote_url("none"), None);
    }

    #[test]
    fn refs_that_match_are_forgotten_but_for_those_that_are_kept() {
        use crate::git::testing::{World, commit, git};
        let world = World::new();
        let repository = world.bare("repo");
        let id = commit(&repository, &[], &[("a", "1")]).to_string();
        let names = ["refs/x/pull/1/head", "refs/x/pull/2/head", "refs/x/heads/pull"];
        for name in names {
            git(&world.path("repo"), &["update-ref", name, &id], b"");
        }
        repository.forget_refs("refs/x/pull/*", &[names[1].to_owned()].into()).expect("forgotten");
        let there = names.map(|name| repository.resolve(name).expect("read").is_some());
        assert_eq!(there, [false, true, true]);
    }
}

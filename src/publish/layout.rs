//! Where things lie in a published repository, and how one generation takes the place of another.
//!
//! ```text
//! foo-1-1-any.pkg.tar.zst         package files of every kept generation; never changed
//! NAME.db -> .current/NAME.db.tar.zst
//! NAME.db.sig -> .current/NAME.db.tar.zst.sig    where it is signed, and foo-1-1-any.pkg.tar.zst.sig
//! NAME.gpg                        the public key, where it is signed
//! .current -> .generations/7      renaming this link is what publishes
//! .generations/replaced.json      package files that no kept generation names, and since when
//! .generations/7/                 NAME.db.tar.zst  NAME.files.tar.zst  manifest.json  lastupdate
//!                                 pkgs.txt  pkgs.files.txt
//! .incoming/                      copies that are being checked and signed
//! archive/                        files that no kept generation names any more
//! ```
//!
//! A generation with a higher number than the current one was never published: whoever was writing it
//! has died, and the next to publish clears it away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use jiff::{SignedDuration, Timestamp};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::archived::Archive;
use super::database::{DatabaseEntry, DatabaseError};
use super::signer::{SUFFIX, signature_of};
use super::{Generation, PublishError, PublishedPackage, database};
use crate::domain::name::PkgBase;
use crate::domain::queue::BuildId;
use crate::sys::fs::{FsError, write_atomic};

const MANIFEST: &str = "manifest.json";
/// Package files that are still there for those who read an older database, in the folder of the generations.
const REPLACED: &str = "replaced.json";
/// The package files a generation brings, written down before they are put in place.
const PLACING: &str = "placing.json";

/// What the name of every database ends with.
const DATABASE: &str = ".db.tar.zst";
/// What is written beside the databases, in the order of [`Layout::texts`].
const TEXTS: [&str; 3] = ["lastupdate", "pkgs.txt", "pkgs.files.txt"];

#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub dir: PathBuf,
    /// The name of the repository, once it is known.
    pub name: Arc<OnceLock<String>>,
}

/// What a kept generation says of a package file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The package that it is a member of.
    pub base: PkgBase,
    /// Its checksum.
    pub sha256: String,
    /// The build that it came from.
    pub build: Option<BuildId>,
}

/// A package file that no kept generation names any more, and since when.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Replaced {
    since: Timestamp,
    #[serde(flatten)]
    kept: Kept,
}

/// How long things stay.
#[derive(Debug, Clone)]
pub(super) struct Stay {
    /// So many generations, the current one included.
    pub generations: usize,
    /// Package files after the last kept generation that named them.
    pub files: SignedDuration,
    /// Where they go then.
    pub archive: Option<Archive>,
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PublishError {
    move |source| FsError::new(action, path, source).into()
}

/// Nothing there is as good as removed.
pub(super) fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Layout {
    pub fn generation(&self, number: u64) -> PathBuf {
        self.dir.join(".generations").join(number.to_string())
    }

    pub fn incoming(&self) -> PathBuf {
        self.dir.join(".incoming")
    }

    /// The name of the repository: the one it was given, or else the one it is published under.
    pub fn name(&self) -> Option<&str> {
        if self.name.get().is_none()
            && let Some(published) = self.published_name()
        {
            return Some(self.name.get_or_init(|| published));
        }
        self.name.get().map(String::as_str)
    }

    fn published_name(&self) -> Option<String> {
        let folder = self.generation(self.current().ok()??);
        let mut names = fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.find_map(|file| file.strip_suffix(DATABASE).map(str::to_owned))
    }

    pub fn known_name(&self) -> Result<&str, PublishError> {
        self.name().ok_or_else(|| PublishError::NoName(self.dir.clone()))
    }

    pub fn database(&self, number: u64) -> Result<PathBuf, PublishError> {
        Ok(self.generation(number).join(self.database_name()?))
    }

    pub fn database_name(&self) -> Result<String, PublishError> {
        Ok(format!("{}{DATABASE}", self.known_name()?))
    }

    pub fn files_name(&self) -> Result<String, PublishError> {
        Ok(format!("{}.files.tar.zst", self.known_name()?))
    }

    /// A repository is not renamed: its clients would find nothing, and its packages would be lost.
    pub fn check_name(&self) -> Result<(), PublishError> {
        match (self.name(), self.published_name()) {
            (Some(wanted), Some(published)) if wanted != published => {
                let (dir, wanted) = (self.dir.clone(), wanted.to_owned());
                Err(PublishError::OtherName { dir, published, wanted })
            }
            _ => Ok(()),
        }
    }

    /// Makes sure that nobody else publishes here. The lock goes with its holder, however that ends.
    pub fn lock(&self) -> Result<Flock<fs::File>, PublishError> {
        fs::create_dir_all(self.dir.join(".generations")).map_err(failed("create the folder", &self.dir))?;
        let path = self.dir.join(".lock");
        let file = fs::File::create(&path).map_err(failed("create", &path))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| failed("lock", &path)(error.into()))
    }

    /// The number of the published generation.
    pub fn current(&self) -> Result<Option<u64>, PublishError> {
        let link = self.dir.join(".current");
        match fs::read_link(&link) {
            Ok(target) => {
                let number = target.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
                number.map(Some).ok_or_else(|| {
                    failed("understand", &link)(io::Error::other(format!("it leads to {}", target.display())))
                })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &link)(error)),
        }
    }

    /// The database of the published generation, or one that somebody else made and we take over.
    pub fn current_database(&self) -> Result<Option<PathBuf>, PublishError> {
        if self.name().is_none() {
            return Ok(None);
        }
        let Some(number) = self.current()? else { return self.of_others("db") };
        let path = self.database(number)?;
        Ok(path.is_file().then_some(path))
    }

    /// What pacman is given of a repository that somebody else made, `db` or `files`: packed in any way, and with or
    /// without a link of the short name.
    fn of_others(&self, ending: &str) -> Result<Option<PathBuf>, PublishError> {
        let served = self.dir.join(format!("{}.{ending}", self.known_name()?));
        let long = self.dir.join(format!("{}.{ending}.tar.zst", self.known_name()?));
        for path in [served, long] {
            match fs::read_link(&path) {
                // A link of ours, made for a first generation that never came.
                Ok(target) if target.starts_with(".current") => continue,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                _ => {}
            }
            // One that is there and cannot be read must not be replaced by an empty one.
            fs::File::open(&path).map_err(failed("read", &path))?;
            return Ok(Some(path));
        }
        Ok(None)
    }

    /// The numbers of all generations, newest first.
    pub fn numbers(&self) -> Result<Vec<u64>, PublishError> {
        let folder = self.dir.join(".generations");
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("list", &folder))?,
        };
        let mut numbers: Vec<u64> =
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }

    pub fn manifest(&self, number: u64) -> Result<Generation, PublishError> {
        let path = self.generation(number).join(MANIFEST);
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|source| PublishError::Manifest { path, source })
    }

    /// Clears away what a publisher that died has left.
    pub fn recover(&self) -> Result<(), PublishError> {
        let incoming = self.incoming();
        gone(fs::remove_dir_all(&incoming)).map_err(failed("clear", &incoming))?;
        let current = self.current()?.unwrap_or(0);
        for number in self.numbers()?.into_iter().filter(|&number| number > current) {
            self.abandon(number)?;
        }
        if current > 0 { self.link(true) } else { Ok(()) }
    }

    /// Begins a generation that brings these package files; those already here belong to others.
    pub fn begin(&self, number: u64, files: &[&str]) -> Result<(), PublishError> {
        let folder = self.generation(number);
        fs::create_dir(&folder).map_err(failed("create the folder", &folder))?;
        let new: Vec<_> = files.iter().filter(|file| !self.dir.join(file).exists()).collect();
        let text = serde_json::to_vec(&new).expect("names are JSON");
        write_synced(&folder.join(PLACING), &text)
    }

    /// Removes a generation that was never published, with the package files only it brought.
    pub fn abandon(&self, number: u64) -> Result<(), PublishError> {
        let folder = self.generation(number);
        for file in self.placing(number) {
            self.remove_file(&file)?;
        }
        fs::remove_dir_all(&folder).map_err(failed("remove", &folder))
    }

    pub fn remove_file(&self, file: &str) -> Result<(), PublishError> {
        for path in [self.dir.join(file), self.dir.join(format!("{file}.sig"))] {
            gone(fs::remove_file(&path)).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    /// Puts a checked file in place with its signature, unless a kept generation has one of that name: a published
    /// file never changes under those who are downloading it.
    pub fn place(&self, incoming: &Path, file: &str, published: &BTreeMap<String, Kept>) -> Result<(), PublishError> {
        let path = self.dir.join(file);
        if published.contains_key(file) && path.is_file() {
            return Ok(());
        }
        let (made, signature) = (signature_of(incoming), signature_of(&path));
        // What lay there was made by somebody else for another file.
        gone(fs::remove_file(&signature)).map_err(failed("remove", &signature))?;
        if made.is_file() {
            fs::rename(&made, &signature).map_err(failed("put in place", &signature))?;
        }
        fs::rename(incoming, &path).map_err(failed("put in place", &path))
    }

    /// The package files that kept generations name, each as the newest of them has it, and those that are still there
    /// for readers of older ones.
    pub fn published_files(&self) -> Result<BTreeMap<String, Kept>, PublishError> {
        // One that is being made has neither manifest nor database yet.
        let current = self.current()?.unwrap_or(0);
        let numbers: Vec<u64> = self.numbers()?.into_iter().filter(|&number| number <= current).collect();
        let mut files = self.files_of(&numbers)?;
        for (file, replaced) in self.replaced()? {
            files.entry(file).or_insert(replaced.kept);
        }
        Ok(files)
    }

    fn replaced(&self) -> Result<BTreeMap<String, Replaced>, PublishError> {
        let path = self.dir.join(".generations").join(REPLACED);
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
            read => serde_json::from_slice(&read.map_err(failed("read", &path))?)
                .map_err(|source| PublishError::Manifest { path, source }),
        }
    }

    fn write_replaced(&self, replaced: &BTreeMap<String, Replaced>) -> Result<(), PublishError> {
        let path = self.dir.join(".generations").join(REPLACED);
        if replaced.is_empty() {
            return gone(fs::remove_file(&path)).map_err(failed("remove", &path));
        }
        Ok(write_atomic(&path, &serde_json::to_vec_pretty(replaced).expect("a list is JSON"))?)
    }

    /// As [`Layout::published_files`], with those that a publication under way brings, or one that was cut off has left:
    /// its manifest and its database need not be there.
    pub fn known_files(&self) -> Result<BTreeSet<String>, PublishError> {
        let current = self.current()?.unwrap_or(0);
        let mut files: BTreeSet<String> = self.published_files()?.into_keys().collect();
        let unfinished = self.numbers()?.into_iter().filter(|&number| number > current);
        files.extend(unfinished.flat_map(|number| self.placing(number)));
        Ok(files)
    }

    /// The package files that a generation in the making brings.
    fn placing(&self, number: u64) -> Vec<String> {
        let written = fs::read(self.generation(number).join(PLACING));
        written.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// The package files that these generations name, the first of them first; where a manifest is damaged, the
    /// database tells.
    fn files_of(&self, numbers: &[u64]) -> Result<BTreeMap<String, Kept>, PublishError> {
        let mut files = BTreeMap::new();
        for &number in numbers {
            let named: Vec<(String, Kept)> = match self.manifest(number) {
                Ok(Generation { entries, .. }) => {
                    let kept = |one: PublishedPackage| Kept { base: one.base, sha256: one.sha256, build: one.build };
                    entries.into_iter().map(|entry| (entry.file.clone(), kept(entry))).collect()
                }
                Err(error) => {
                    tracing::warn!(number, %error, "the manifest of a generation is damaged; its database is read");
                    let kept = |one: DatabaseEntry| Kept { base: one.base, sha256: one.sha256, build: None };
                    let entries = database::read(&self.database(number)?)?.into_iter();
                    entries.map(|entry| (entry.file.clone(), kept(entry))).collect()
                }
            };
            for (file, kept) in named {
                files.entry(file).or_insert(kept);
            }
        }
        Ok(files)
    }

    /// Starts a generation from the database that is published.
    pub fn copy_database(&self, number: u64) -> Result<(), PublishError> {
        let (database, files) = match self.current()? {
            Some(current) => (Some(self.database(current)?), Some(self.generation(current).join(self.files_name()?))),
            None => (self.of_others("db")?, self.of_others("files")?),
        };
        for (source, name) in [(database, self.database_name()?), (files, self.files_name()?)] {
            let Some(source) = source else { continue };
            match fs::copy(&source, self.generation(number).join(name)) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                copied => drop(copied.map_err(failed("copy", &source))?),
            }
        }
        Ok(())
    }

    /// Writes everything of a generation to the disk that makes it complete.
    pub fn complete(&self, generation: &Generation) -> Result<(), PublishError> {
        let folder = self.generation(generation.number);
        for name in [self.database_name()?, self.files_name()?] {
            gone(fs::remove_file(folder.join(format!("{name}.old")))).map_err(failed("clear", &folder))?;
            sync(&folder.join(name))?;
        }
        let manifest = serde_json::to_vec_pretty(generation).expect("manifests are JSON");
        write_synced(&folder.join(MANIFEST), &manifest)?;
        for (name, text) in self.expected_texts(generation) {
            write_synced(&folder.join(name), text.as_bytes())?;
        }
        sync(&folder)?;
        sync(&self.dir.join(".generations"))?;
        sync(&self.dir)
    }

    /// What mirrors and people read beside a generation: each file's name with what has to stand in it now.
    pub fn expected_texts(&self, generation: &Generation) -> impl Iterator<Item = (&'static str, String)> {
        TEXTS.into_iter().zip(self.texts(generation))
    }

    /// When it was published, its packages with their versions, and its files: what mirrors and people read.
    fn texts(&self, generation: &Generation) -> [String; 3] {
        let packages = generation.entries.iter().map(|entry| format!("{}-{}/\n", entry.name, entry.version));
        let mut files: Vec<String> = generation.entries.iter().map(|entry| format!("{}\n", entry.file)).collect();
        let signatures = generation.entries.iter().map(|entry| format!("{}{SUFFIX}", entry.file));
        files.extend(signatures.filter(|file| self.dir.join(file).is_file()).map(|file| file + "\n"));
        files.sort();
        [format!("{}\n", generation.created.as_second()), packages.collect(), files.concat()]
    }

    /// Publishes a generation: database and list of files change in one step.
    pub fn swap(&self, number: u64) -> Result<(), PublishError> {
        self.set_link(".current", &format!(".generations/{number}"))?;
        sync(&self.dir)
    }

    /// Sees to the names that pacman asks for. Before the first swap, `replace` is false: files of
    /// somebody else are served until then.
    pub fn link(&self, replace: bool) -> Result<(), PublishError> {
        let (name, database, files) = (self.known_name()?, self.database_name()?, self.files_name()?);
        let same = |name: &str| (name.to_owned(), name.to_owned());
        let mut wanted = vec![
            (format!("{name}.db"), database.clone()),
            same(&database),
            (format!("{name}.files"), files.clone()),
            same(&files),
        ];
        let signatures: Vec<_> =
            wanted.iter().map(|(link, target)| (format!("{link}{SUFFIX}"), format!("{target}{SUFFIX}"))).collect();
        wanted.extend(TEXTS.map(same));
        for (name, target) in wanted {
            self.link_to(&name, &format!(".current/{target}"), replace)?;
        }
        for (name, target) in signatures {
            let target = format!(".current/{target}");
            if self.dir.join(&target).exists() || !replace {
                self.link_to(&name, &target, replace)?;
            } else {
                // A signature of a database that is not there any more would be one of another.
                gone(fs::remove_file(self.dir.join(&name))).map_err(failed("remove", &self.dir))?;
            }
        }
        Ok(())
    }

    fn link_to(&self, name: &str, target: &str, replace: bool) -> Result<(), PublishError> {
        match fs::read_link(self.dir.join(name)) {
            Ok(found) if found == Path::new(target) => Ok(()),
            Err(error) if error.kind() != ErrorKind::NotFound && !replace => Ok(()),
            Ok(_) if !replace => Ok(()),
            _ => self.set_link(name, target),
        }
    }

    fn set_link(&self, name: &str, target: &str) -> Result<(), PublishError> {
        let (link, new) = (self.dir.join(name), self.dir.join(format!(".{name}.new")));
        gone(fs::remove_file(&new)).map_err(failed("clear", &new))?;
        symlink(target, &new).map_err(failed("link", &new))?;
        fs::rename(&new, &link).map_err(failed("link", &link))
    }

    /// Removes the generations that do not stay, and package files whose time is over since no kept one names them, nor
    /// a database of somebody else in this folder. Those go to the archive, if there is one.
    pub fn prune(&self, stay: &Stay, now: Timestamp) -> Result<(), PublishError> {
        let numbers = self.numbers()?;
        let (kept, old) = numbers.split_at(stay.generations.max(1).min(numbers.len()));
        let mut replaced = self.replaced()?;
        if !old.is_empty() || !replaced.is_empty() {
            let (named, others) = (self.files_of(kept)?, self.named_by_others()?);
            let left = self.files_of(old)?.into_iter().map(|(file, kept)| (file, Replaced { since: now, kept }));
            for (file, left) in left {
                replaced.entry(file).or_insert(left);
            }
            replaced.retain(|file, _| !named.contains_key(file) && !others.contains(file));
            // What is not written down before its generation goes would lie there for ever.
            self.write_replaced(&replaced)?;
            for folder in old.iter().map(|&number| self.generation(number)) {
                fs::remove_dir_all(&folder).map_err(failed("remove", &folder))?;
            }
            self.remove_replaced(replaced, stay, now)?;
        }
        stay.archive.as_ref().map_or(Ok(()), |archive| archive.expire(now))
    }

    fn remove_replaced(
        &self,
        mut replaced: BTreeMap<String, Replaced>,
        stay: &Stay,
        now: Timestamp,
    ) -> Result<(), PublishError> {
        let over = |one: &Replaced| now.duration_since(one.since) >= stay.files;
        let leaving: Vec<String> = replaced.iter().filter(|(_, one)| over(one)).map(|(file, _)| file.clone()).collect();
        for file in &leaving {
            match &stay.archive {
                Some(archive) => archive.take(&self.dir, file)?,
                None => self.remove_file(file)?,
            }
            replaced.remove(file);
        }
        if leaving.is_empty() { Ok(()) } else { self.write_replaced(&replaced) }
    }

    /// The package files that databases in this folder name which are not ours.
    pub fn named_by_others(&self) -> Result<BTreeSet<String>, PublishError> {
        let own = self.known_name()?;
        let entries = fs::read_dir(&self.dir).map_err(failed("list", &self.dir))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let others = names.filter(|name| name.strip_suffix(".db").is_some_and(|name| name != own));
        let mut files = BTreeSet::new();
        for database in others {
            match database::read(&self.dir.join(database)) {
                // A link that leads nowhere names nothing.
                Err(DatabaseError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                entries => files.extend(entries?.into_iter().map(|entry| entry.file)),
            }
        }
        Ok(files)
    }
}

pub(super) fn sync(path: &Path) -> Result<(), PublishError> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(failed("sync", path))
}

pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    fs::write(path, bytes).map_err(failed("write", path))?;
    sync(path)
}

//! Where things lie in a published repository, and how one generation takes the place of another.
//!
//! ```text
//! foo-1-1-any.pkg.tar.zst         package files of every kept generation; never changed
//! NAME.db -> .current/NAME.db.tar.zst
//! NAME.db.sig -> .current/NAME.db.tar.zst.sig    where it is signed, and foo-1-1-any.pkg.tar.zst.sig
//! NAME.gpg                        the public key, where it is signed
//! .current -> .generations/7      renaming this link is what publishes
//! .generations/replaced.json      package files that no kept generation names, and since when
//! .generations/pkgwarden-scratch-…  where the databases of a generation are written, before they are put into it
//! .generations/7/                 NAME.db.tar.zst  NAME.files.tar.zst  manifest.json  lastupdate
//!                                 pkgs.txt  pkgs.files.txt
//! .incoming/                      copies that are being checked and signed
//! archive/                        files that no kept generation names any more
//! ```
//!
//! A generation with a higher number than the current one was never published: whoever was writing it
//! has died, and the next to publish clears it away.

mod files;
mod known;
mod links;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use nix::fcntl::{Flock, FlockArg};

pub(super) use self::files::{Kept, Stay};
use self::known::Known;
use super::signer::SUFFIX;
use super::{Generation, PublishError};
use crate::sys::fs::FsError;
use crate::sys::scratch::{self, Scratch};

const MANIFEST: &str = "manifest.json";
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
    known: Arc<Mutex<Known>>,
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
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, name: Arc::default(), known: Arc::default() }
    }

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
        scratch::remove_abandoned(&self.dir.join(".generations"));
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

    /// The package files that a generation in the making brings.
    fn placing(&self, number: u64) -> Vec<String> {
        let written = fs::read(self.generation(number).join(PLACING));
        written.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// A folder of its own for everybody who has databases written: whatever a publisher that was killed has left
    /// running goes on writing there, and not in what the next one publishes.
    pub fn workshop(&self) -> Result<Scratch, PublishError> {
        Ok(Scratch::within(&self.dir.join(".generations"))?)
    }

    /// Copies the databases that are published into a folder, under the names that ours have.
    pub fn copy_published(&self, to: &Path) -> Result<(), PublishError> {
        match self.current()? {
            Some(current) => self.copy_databases(current, to),
            None => self.copy(self.of_others("db")?, self.of_others("files")?, to),
        }
    }

    /// Copies the databases of a generation into a folder.
    pub fn copy_databases(&self, number: u64, to: &Path) -> Result<(), PublishError> {
        let files = self.generation(number).join(self.files_name()?);
        self.copy(Some(self.database(number)?), Some(files), to)
    }

    fn copy(&self, database: Option<PathBuf>, files: Option<PathBuf>, to: &Path) -> Result<(), PublishError> {
        for (source, name) in [(database, self.database_name()?), (files, self.files_name()?)] {
            let Some(source) = source else { continue };
            match fs::copy(&source, to.join(name)) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                copied => drop(copied.map_err(failed("copy", &source))?),
            }
        }
        Ok(())
    }

    /// Puts the databases that were written in a folder into a generation.
    pub fn take_databases(&self, from: &Path, number: u64) -> Result<(), PublishError> {
        for name in [self.database_name()?, self.files_name()?] {
            let written = from.join(&name);
            fs::rename(&written, self.generation(number).join(name)).map_err(failed("put in place", &written))?;
        }
        Ok(())
    }

    /// Writes everything of a generation to the disk that makes it complete.
    pub fn complete(&self, generation: &Generation) -> Result<(), PublishError> {
        let folder = self.generation(generation.number);
        for name in [self.database_name()?, self.files_name()?] {
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
}

pub(super) fn sync(path: &Path) -> Result<(), PublishError> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(failed("sync", path))
}

pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    fs::write(path, bytes).map_err(failed("write", path))?;
    sync(path)
}

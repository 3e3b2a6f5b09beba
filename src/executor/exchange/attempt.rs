//! One attempt: what is kept of it on disk, and who is bringing something now.
//!
//! ```text
//! record.json          what it may bring; with this, it is an attempt
//! files.tar            the files of the package
//! cancelled            if it is to stop
//! claim                whose it is, if a builder has claimed it: what is below is of that builder
//! promised/NAME        checksum and size that a file is to have
//! parts/NAME           what came of it so far
//! done/NAME            all of it, with that checksum
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::Wish;
use crate::builder::artefact::{Artefact, Expectation};
use crate::domain::upload::{ArtefactClaim, Checksum, Held, Limits, Refusal, Usage};
use crate::executor::kept::blocking;
use crate::sys::fs::{FsError, write_atomic};

/// The longest name of a file that file systems take.
const LONGEST_NAME: usize = 255;
/// How many pieces of a log may be on their way at once: one, and one that takes its place after a broken connection.
const LOGS_AT_ONCE: usize = 2;

/// What has to be known of an attempt until its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The packages it may make.
    pub expected: Expectation,
    /// How much it may bring.
    pub limits: Limits,
    /// Where what the builder prints begins in the log.
    pub log_begins: u64,
}

impl Record {
    /// What is known; `None` if there is no such attempt.
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join("record.json")).ok()?).ok()
    }

    /// The attempt is none any more.
    pub fn remove(dir: &Path) -> io::Result<()> {
        match fs::remove_file(dir.join("record.json")) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A file that is being brought, or was.
#[derive(Default)]
pub struct Upload {
    /// What is there of it.
    pub held: Option<Held>,
    /// Held by the one who writes it.
    pub turn: Arc<tokio::sync::Mutex<()>>,
    /// Ends the request that writes it.
    pub writing: CancellationToken,
}

/// An attempt that is open.
pub struct Attempt {
    dir: PathBuf,
    /// What it may bring.
    pub record: Record,
    /// Cancelled at its end.
    pub over: CancellationToken,
    /// Room for pieces of its log.
    pub logs: Arc<Semaphore>,
    /// Held by the one who adds to the log.
    pub logging: tokio::sync::Mutex<()>,
    /// Held by the builder that claims it now.
    pub claiming: tokio::sync::Mutex<()>,
    wish: Mutex<Option<watch::Sender<Wish>>>,
    desk: Mutex<Desk>,
}

/// Who brings something, and what.
struct Desk {
    /// The claim of the builder that has it; `None` as long as none has claimed it.
    holder: Option<String>,
    uploads: BTreeMap<String, Upload>,
}

impl Desk {
    fn check(&self, claim: Option<&str>) -> Result<(), Refusal> {
        let is_theirs = self.holder.is_some() && self.holder.as_deref() != claim;
        if is_theirs { Err(Refusal::Taken) } else { Ok(()) }
    }
}

impl Attempt {
    /// Writes down a new attempt; the record last, with which it is one.
    pub fn create(dir: &Path, files: &[u8], record: &Record) -> Result<(), FsError> {
        for name in ["", "promised", "parts", "done"] {
            let made = DirBuilder::new().mode(0o700).recursive(true).create(dir.join(name));
            made.map_err(|error| FsError::new("create", dir, error))?;
        }
        write_atomic(&dir.join("files.tar"), files)?;
        write_atomic(&dir.join("record.json"), &serde_json::to_vec(record).expect("names and numbers are JSON"))
    }

    /// The attempt as an earlier process left it.
    pub fn load(dir: PathBuf, record: Record) -> Result<Self, FsError> {
        let cancelled = dir.join("cancelled").exists();
        let wish = watch::Sender::new(if cancelled { Wish::Cancelled } else { Wish::GoOn });
        let uploads = found(&dir).map_err(|error| FsError::new("read", &dir, error))?;
        let desk = Desk { holder: fs::read_to_string(dir.join("claim")).ok(), uploads };
        Ok(Self {
            dir,
            record,
            over: CancellationToken::new(),
            logs: Arc::new(Semaphore::new(LOGS_AT_ONCE)),
            logging: tokio::sync::Mutex::default(),
            claiming: tokio::sync::Mutex::default(),
            wish: Mutex::new(Some(wish)),
            desk: Mutex::new(desk),
        })
    }

    pub fn files_path(&self) -> PathBuf {
        self.dir.join("files.tar")
    }

    pub fn part_path(&self, name: &str) -> PathBuf {
        self.dir.join("parts").join(name)
    }

    pub fn done_path(&self, name: &str) -> PathBuf {
        self.dir.join("done").join(name)
    }

    pub fn promise_path(&self, name: &str) -> PathBuf {
        self.dir.join("promised").join(name)
    }

    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Whether the build may make a file of this name. Such a name has no part that leads elsewhere.
    pub fn check_name(&self, name: &str) -> Result<(), Refusal> {
        if name.len() <= LONGEST_NAME && self.record.expected.allows(name) {
            return Ok(());
        }
        Err(Refusal::Foreign(name.to_owned()))
    }

    pub fn held(&self, name: &str) -> Option<Held> {
        self.desk().uploads.get(name).and_then(|upload| upload.held)
    }

    /// Whether a builder with this claim has the attempt, as far as anybody has claimed it.
    pub fn check_claim(&self, claim: Option<&str>) -> Result<(), Refusal> {
        self.desk().check(claim)
    }

    /// What there is beside a file.
    pub fn usage_beside(&self, name: &str) -> Usage {
        let desk = self.desk();
        let others = desk.uploads.iter().filter(|(other, _)| *other != name).filter_map(|(_, upload)| upload.held);
        others.fold(Usage::default(), |usage, held| Usage {
            others: usage.others.saturating_add(held.received),
            files: usage.files + 1,
        })
    }

    /// Changes what is known of a file.
    pub fn set_held(&self, name: &str, held: Option<Held>) {
        if let Some(upload) = self.desk().uploads.get_mut(name) {
            upload.held = held;
        }
    }

    /// Begins to write a file: whoever did so until now ends. Returns what its turn has to be waited for with, and what
    /// ends it in its turn.
    pub fn take_over(
        &self,
        name: &str,
        claim: Option<&str>,
    ) -> Result<(Arc<tokio::sync::Mutex<()>>, CancellationToken), Refusal> {
        let mut desk = self.desk();
        if self.is_over() {
            return Err(Refusal::Over);
        }
        desk.check(claim)?;
        let uploads = &mut desk.uploads;
        if !uploads.contains_key(name) && uploads.len() >= self.record.limits.files {
            return Err(Refusal::TooMany(self.record.limits.files));
        }
        let upload = uploads.entry(name.to_owned()).or_default();
        let mine = self.over.child_token();
        std::mem::replace(&mut upload.writing, mine.clone()).cancel();
        Ok((upload.turn.clone(), mine))
    }

    /// What was brought, if it is what was told of it.
    pub fn artefact(&self, claim: &ArtefactClaim) -> Result<Artefact, Refusal> {
        let untrue = |what: &str| Refusal::Untrue(format!("`{}` {what}", claim.name));
        let held = self.held(&claim.name).filter(|held| held.complete);
        let held = held.ok_or_else(|| untrue("was told of, but not brought"))?;
        if Checksum::from_hex(&claim.sha256) != Some(held.checksum) || claim.size != held.received {
            return Err(untrue("is not what was told of it"));
        }
        let (path, name) = (self.done_path(&claim.name), claim.name.clone());
        Ok(Artefact { path, name, size: held.received, sha256: held.checksum.to_string() })
    }

    pub fn wish(&self) -> Option<watch::Receiver<Wish>> {
        self.wishes().as_ref().map(watch::Sender::subscribe)
    }

    pub fn cancel(&self) -> Result<(), FsError> {
        write_atomic(&self.dir.join("cancelled"), b"")?;
        if let Some(wish) = self.wishes().as_ref() {
            wish.send_replace(Wish::Cancelled);
        }
        Ok(())
    }

    /// Ends it, and all requests that bring something for it.
    pub async fn end(&self) {
        self.over.cancel();
        self.wishes().take();
        self.quiet().await;
    }

    /// Gives it to the builder with this claim, unless it has it: nobody else brings anything from now on, and what
    /// others have brought is dropped. Their log stays. To be called by one at a time.
    pub async fn hand_over(&self, claim: &str) -> Result<(), FsError> {
        let before = {
            let mut desk = self.desk();
            if desk.holder.as_deref() == Some(claim) {
                return Ok(());
            }
            desk.uploads.values().for_each(|upload| upload.writing.cancel());
            desk.holder.replace(claim.to_owned())
        };
        if let Some(wish) = self.wishes().as_mut() {
            let same = *wish.borrow();
            *wish = watch::Sender::new(same);
        }
        self.quiet().await;
        let (dir, holder) = (self.dir.clone(), claim.to_owned());
        // The claim last: who has not heard that it counts claims it again.
        let kept =
            blocking(move || empty(&dir).and_then(|()| write_atomic(&dir.join("claim"), holder.as_bytes()))).await;
        let mut desk = self.desk();
        match &kept {
            Ok(()) => desk.uploads.clear(),
            Err(_) => desk.holder = before,
        }
        kept
    }

    /// Waits until nobody writes any more of those who were told to end.
    async fn quiet(&self) {
        let turns: Vec<_> = self.desk().uploads.values().map(|upload| upload.turn.clone()).collect();
        for turn in turns {
            drop(turn.lock().await);
        }
        drop(self.logging.lock().await);
    }

    fn wishes(&self) -> MutexGuard<'_, Option<watch::Sender<Wish>>> {
        self.wish.lock().expect("nobody panics while holding the wish")
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().expect("nobody panics while holding the map of files")
    }
}

/// What a file is to become.
pub struct Promise {
    /// Its checksum.
    pub checksum: Checksum,
    /// Its size, if that was said.
    pub total: Option<u64>,
}

impl Promise {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let checksum = Checksum::from_hex(words.next()?)?;
        Some(Self { checksum, total: words.next().and_then(|total| total.parse().ok()) })
    }
}

impl std::fmt::Display for Promise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.checksum)?;
        self.total.map_or(Ok(()), |total| write!(f, " {total}"))
    }
}

/// Removes all files that were brought, or begun.
fn empty(dir: &Path) -> Result<(), FsError> {
    for place in ["done", "parts", "promised"] {
        let place = dir.join(place);
        let files = fs::read_dir(&place).and_then(|mut files| files.try_for_each(|file| fs::remove_file(file?.path())));
        files.map_err(|error| FsError::new("empty", &place, error))?;
    }
    Ok(())
}

/// The files that were brought, or begun.
fn found(dir: &Path) -> io::Result<BTreeMap<String, Upload>> {
    let mut uploads = BTreeMap::new();
    for entry in fs::read_dir(dir.join("promised"))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(Promise { checksum, total }) = Promise::read(&fs::read_to_string(entry.path())?) else { continue };
        let length = |place: &str| fs::metadata(dir.join(place).join(&name)).map(|meta| meta.len()).ok();
        let held = match (length("done"), length("parts")) {
            (Some(received), _) => Some(Held { checksum, received, complete: true }),
            (None, Some(received)) => {
                // All of it came and was not checked: who brings its last byte again has it checked.
                let received = total.map_or(received, |total| received.min(total.saturating_sub(1)));
                File::options().write(true).open(dir.join("parts").join(&name))?.set_len(received)?;
                Some(Held { checksum, received, complete: false })
            }
            (None, None) => None,
        };
        uploads.insert(name, Upload { held, ..Upload::default() });
    }
    Ok(uploads)
}

/// Makes what was renamed in a directory last.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

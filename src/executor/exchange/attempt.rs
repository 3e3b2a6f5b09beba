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
//! earlier/…            the same of the builder that had it before
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

use super::{ExchangeError, Wish, earlier};
use crate::builder::artefact::{Artefact, Expectation};
use crate::domain::upload::{ArtefactClaim, Checksum, Held, Limits, Refusal, Usage};
use crate::executor::kept::blocking;
use crate::sys::fs::{FsError, write_atomic};

/// The longest name of a file that file systems take.
const LONGEST_NAME: usize = 255;
/// How many pieces of a log may be on their way at once: one, and one that takes its place after a broken connection.
const LOGS_AT_ONCE: usize = 2;
/// Where files are that were brought, or begun. Without the last, nothing of a file counts.
pub const PLACES: [&str; 3] = ["done", "parts", "promised"];

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
        make_places(dir).map_err(|error| FsError::new("create", dir, error))?;
        write_atomic(&dir.join("files.tar"), files)?;
        write_atomic(&dir.join("record.json"), &serde_json::to_vec(record).expect("names and numbers are JSON"))
    }

    /// The attempt as an earlier process left it.
    pub fn load(dir: PathBuf, record: Record) -> Result<Self, FsError> {
        let cancelled = dir.join("cancelled").exists();
        let wish = watch::Sender::new(if cancelled { Wish::Cancelled } else { Wish::GoOn });
        // They are missing if that process ended while it set aside what they held.
        let uploads = make_places(&dir).and_then(|()| found(&dir));
        let uploads = uploads.map_err(|error| FsError::new("read", &dir, error))?;
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

    /// How much of a file need not be brought: what is there of it, or was brought before this builder had the attempt.
    pub fn offered(&self, name: &str) -> Option<Held> {
        self.held(name).or_else(|| earlier::there(&self.dir, name).ok().flatten())
    }

    /// Makes what was brought before of a file part of this builder's, if it is the one that it promises. To be called
    /// in the turn of that file, or when nobody brings anything any more.
    pub fn adopt(&self, name: &str, checksum: Checksum) -> Result<Option<Held>, FsError> {
        let held =
            earlier::adopt(&self.dir, name, checksum).map_err(|error| FsError::new("take over", &self.dir, error))?;
        if held.is_some() {
            self.desk().uploads.entry(name.to_owned()).or_default().held = held;
        }
        Ok(held)
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

    /// Lets go of a file that [`Attempt::take_over`] was called for: one of which nothing was taken is as if nobody had
    /// asked for it, and leaves its place to another.
    pub fn let_go(&self, name: &str, turn: &Arc<tokio::sync::Mutex<()>>) {
        let mut desk = self.desk();
        // One here and one in the map: nobody else has asked for it.
        let is_last = |upload: &Upload| Arc::ptr_eq(&upload.turn, turn) && Arc::strong_count(turn) <= 2;
        if desk.uploads.get(name).is_some_and(|upload| upload.held.is_none() && is_last(upload)) {
            desk.uploads.remove(name);
        }
    }

    /// What was brought, if it is what was told of it.
    pub fn artefact(&self, claim: &ArtefactClaim) -> Result<Artefact, ExchangeError> {
        let untrue = |what: &str| Refusal::Untrue(format!("`{}` {what}", claim.name));
        let told = Checksum::from_hex(&claim.sha256);
        let held = match (self.held(&claim.name), told) {
            (None, Some(told)) => self.adopt(&claim.name, told)?,
            (held, _) => held,
        };
        let held = held.filter(|held| held.complete).ok_or_else(|| untrue("was told of, but not brought"))?;
        if told != Some(held.checksum) || claim.size != held.received {
            return Err(untrue("is not what was told of it").into());
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
    /// others have brought counts only if this one promises the same. Their log stays. To be called by one at a time.
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
        let (kept, left) = blocking(move || {
            // The claim last: who has not heard that it counts claims it again.
            let aside = earlier::set_aside(&dir);
            let kept = aside.and_then(|()| write_atomic(&dir.join("claim"), holder.as_bytes()));
            (kept, found(&dir).unwrap_or_default())
        })
        .await;
        let mut desk = self.desk();
        desk.uploads = left;
        if kept.is_err() {
            desk.holder = before;
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

/// Makes the directories of an attempt that are not there.
pub fn make_places(dir: &Path) -> io::Result<()> {
    let make = |place: PathBuf| DirBuilder::new().mode(0o700).recursive(true).create(place);
    make(dir.to_owned())?;
    PLACES.iter().try_for_each(|place| make(dir.join(place)))
}

/// The files that were brought, or begun.
fn found(dir: &Path) -> io::Result<BTreeMap<String, Upload>> {
    let mut uploads = BTreeMap::new();
    for entry in fs::read_dir(dir.join("promised"))? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let Some(held) = on_disk(dir, &name)? else { continue };
        let held = Some(trim(dir, &name, held)?);
        uploads.insert(name, Upload { held, ..Upload::default() });
    }
    Ok(uploads)
}

/// What there is of a file below this directory.
pub fn on_disk(dir: &Path, name: &str) -> io::Result<Option<Held>> {
    let promised = match fs::read_to_string(dir.join("promised").join(name)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        promised => promised?,
    };
    let Some(Promise { checksum, total }) = Promise::read(&promised) else { return Ok(None) };
    let length = |place: &str| fs::metadata(dir.join(place).join(name)).map(|meta| meta.len()).ok();
    Ok(match (length("done"), length("parts")) {
        (Some(received), _) => Some(Held { checksum, received, complete: true }),
        (None, Some(received)) => {
            // All of it came and was not checked: who brings its last byte again has it checked.
            let received = total.map_or(received, |total| received.min(total.saturating_sub(1)));
            Some(Held { checksum, received, complete: false })
        }
        (None, None) => None,
    })
}

/// Cuts a file that has only begun where it goes on.
pub fn trim(dir: &Path, name: &str, held: Held) -> io::Result<Held> {
    if !held.complete {
        File::options().write(true).open(dir.join("parts").join(name))?.set_len(held.received)?;
    }
    Ok(held)
}

/// Makes what was renamed in a directory last.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

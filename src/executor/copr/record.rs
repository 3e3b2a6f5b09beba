//! What is on the disk of one attempt, so that a controller that starts anew finds its build at COPR again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tailer::{Place, Sink, SinkError, Stream};
use super::wire::{Options, Source};
use crate::domain::copr::lines::prefixed;
use crate::domain::copr::{State, label};
use crate::executor::tracked::Reins;
use crate::logstore::{LogError, LogWriter};
use crate::sys::fs::{FsError, write_atomic};

/// What a build is asked for, written down before it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// What it is made from.
    pub source: Source,
    /// How.
    pub options: Options,
}

/// That COPR is about to be asked: from here on the build may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The last build of the project before: ours has a higher number.
    pub after: u64,
}

/// The build at COPR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Got {
    /// Its number.
    pub id: u64,
}

/// The directory of one attempt.
#[derive(Debug, Clone)]
pub struct Task {
    dir: PathBuf,
}

impl Task {
    /// That at this place.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// What is wanted; `None` if the attempt never came so far.
    pub fn wish(&self) -> Option<Wish> {
        self.read("wish.json")
    }

    /// Writes down what is wanted.
    pub fn set_wish(&self, wish: &Wish) -> Result<(), FsError> {
        self.write("wish.json", wish)
    }

    /// Since when the build may be there.
    pub fn asked(&self) -> Option<Asked> {
        self.read("asked.json")
    }

    /// Writes down that COPR is about to be asked.
    pub fn set_asked(&self, asked: Asked) -> Result<(), FsError> {
        self.write("asked.json", &asked)
    }

    /// The build.
    pub fn got(&self) -> Option<Got> {
        self.read("build.json")
    }

    /// Writes down which build it is.
    pub fn set_got(&self, got: Got) -> Result<(), FsError> {
        self.write("build.json", &got)
    }

    /// Marks that it is to be stopped, also for later processes.
    pub fn ask_to_stop(&self) -> Result<(), FsError> {
        write_atomic(&self.dir.join("stop"), b"")
    }

    /// Whether it is to be stopped.
    pub fn is_to_stop(&self) -> bool {
        self.dir.join("stop").exists()
    }

    /// How far its logs were read.
    pub fn progress(&self) -> Progress {
        self.read("progress.json").unwrap_or_default()
    }

    fn set_progress(&self, progress: &Progress) -> Result<(), FsError> {
        self.write("progress.json", progress)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.dir.join(name)).ok()?).ok()
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), FsError> {
        write_atomic(&self.dir.join(name), &serde_json::to_vec(value).expect("texts and numbers are JSON"))
    }
}

/// The builds that attempts below a directory have: none of them is another one's.
pub fn taken(work_dir: &Path) -> Vec<u64> {
    let entries = fs::read_dir(work_dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| Task::at(&entry.path()).got()).map(|got| got.id).collect()
}

/// How far the logs of a build were read, and what was about to be written of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Each log, by chroot and file.
    streams: BTreeMap<String, Stream>,
    /// What was told of the build and its chroots.
    told: BTreeMap<String, State>,
    /// Written down before it goes into the log, so that what a process did not finish is finished by the next.
    pending: Option<Pending>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    /// Where in the log of the attempt it begins.
    at: u64,
    #[serde(with = "crate::domain::copr::as_base64")]
    text: Vec<u8>,
}

/// Writes the logs of all parts of a build into the log of its attempt, every line once, whoever stops when.
pub struct Record<'a> {
    task: &'a Task,
    progress: Progress,
    log: &'a mut LogWriter,
    reins: &'a Reins,
}

impl<'a> Record<'a> {
    /// Goes on where it was left.
    pub fn open(task: &'a Task, log: &'a mut LogWriter, reins: &'a Reins) -> Self {
        Self { task, progress: task.progress(), log, reins }
    }

    /// Writes what was about to be written.
    pub fn settle(&mut self) -> Result<(), SinkError> {
        let Some(Pending { at, text }) = &self.progress.pending else { return Ok(()) };
        let written = usize::try_from(self.log.length().saturating_sub(*at)).unwrap_or(usize::MAX);
        match self.log.write(text.get(written..).unwrap_or_default()) {
            Ok(()) => {
                self.progress.pending = None;
                Ok(())
            }
            Err(LogError::LimitReached { .. }) => {
                self.progress.pending = None;
                Err(SinkError::Full)
            }
            Err(error) => Err(SinkError::Later(error.to_string())),
        }
    }

    /// Writes text and what it changes: both, or neither.
    fn write(&mut self, text: Vec<u8>, change: impl FnOnce(&mut Progress)) -> Result<(), SinkError> {
        self.settle()?;
        let mut next = self.progress.clone();
        next.pending = Some(Pending { at: self.log.length(), text });
        change(&mut next);
        self.task.set_progress(&next).map_err(|error| SinkError::Later(error.to_string()))?;
        self.progress = next;
        match self.settle() {
            // It is written down, and so will be written before anything else.
            Err(SinkError::Later(_)) => Ok(()),
            other => other,
        }
    }
}

fn key(place: &Place) -> String {
    format!("{} {}", place.chroot, place.file)
}

impl Sink for Record<'_> {
    fn left(&self, place: &Place) -> Option<Stream> {
        self.progress.streams.get(&key(place)).cloned()
    }

    fn lines(&mut self, place: &Place, lines: &[u8], stream: &Stream) -> Result<(), SinkError> {
        let (text, key, stream) = (prefixed(&place.label, lines), key(place), stream.clone());
        self.write(text, |progress| {
            progress.streams.insert(key, stream);
        })
    }

    fn state(&mut self, chroot: Option<&str>, state: State) -> Result<(), SinkError> {
        if state.has_begun() || state.is_terminal() {
            self.reins.tell_beginning();
        }
        let what = chroot.unwrap_or_default();
        if self.progress.told.get(what) == Some(&state) {
            return Ok(());
        }
        let who = chroot.map_or_else(|| "the build".to_owned(), label);
        let text = format!("==> {who} is {}\n", state.as_str()).into_bytes();
        self.write(text, |progress| {
            progress.told.insert(what.to_owned(), state);
        })
    }

    fn note(&mut self, text: &str) -> Result<(), SinkError> {
        self.write(format!("==> {text}\n").into_bytes(), |_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::copr::watch::LIVE;
    use crate::executor::tracked::Tracked;
    use crate::logstore::LogStore;

    fn place(chroot: &str) -> Place {
        Place { chroot: chroot.into(), file: LIVE, label: chroot.into() }
    }

    fn text(logs: &LogStore) -> String {
        String::from_utf8(logs.read("a1", 0, usize::MAX).expect("read")).expect("text")
    }

    /// A process that writes.
    fn process<T>(dir: &Path, logs: &LogStore, work: impl FnOnce(&mut Record<'_>) -> T) -> T {
        let (task, reins) = (Task::at(dir), Tracked::default().begin("a1").expect("the first time"));
        let mut log = logs.writer("a1").expect("a writer");
        let mut record = Record::open(&task, &mut log, &reins);
        work(&mut record)
    }

    #[test]
    fn what_a_process_did_not_finish_is_finished_by_the_next_once() {
        let dir = tempfile::tempdir().expect("a directory");
        for torn in 0..=b"[f42] two\n".len() {
            let work = dir.path().join(torn.to_string());
            fs::create_dir_all(&work).expect("made");
            let logs = LogStore::new(work.join("logs")).expect("opened");
            process(&work, &logs, |record| {
                record.lines(&place("f42"), b"one\n", &Stream::default()).expect("written");
                // The process ends in the middle of writing.
                let mut next = record.progress.clone();
                next.pending = Some(Pending { at: record.log.length(), text: b"[f42] two\n".to_vec() });
                record.task.set_progress(&next).expect("written");
                record.log.write(&b"[f42] two\n"[..torn]).expect("written");
            });
            process(&work, &logs, |record| {
                record.lines(&place("f43"), b"three\n", &Stream::default()).expect("written");
            });
            assert_eq!(text(&logs), "[f42] one\n[f42] two\n[f43] three\n", "{torn}");
        }
    }

    #[test]
    fn a_state_is_told_once_also_by_the_next_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let logs = LogStore::new(dir.path().join("logs")).expect("opened");
        for _ in 0..2 {
            process(dir.path(), &logs, |record| {
                record.state(None, State::Running).expect("written");
                record.state(Some("f42"), State::Running).expect("written");
            });
        }
        assert_eq!(text(&logs), "==> the build is running\n==> f42 is running\n");
    }

    #[test]
    fn a_log_that_is_full_takes_nothing_more_and_says_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let logs = LogStore::with_limit(dir.path().join("logs"), 20).expect("opened");
        process(dir.path(), &logs, |record| {
            record.lines(&place("f42"), b"12345\n", &Stream::default()).expect("fits");
            let full = record.lines(&place("f42"), b"1234567890\n", &Stream::default());
            assert!(matches!(full, Err(SinkError::Full)), "{full:?}");
            assert!(matches!(record.note("more"), Err(SinkError::Full)));
        });
        assert!(text(&logs).contains("reached its limit of 20 bytes"));
    }
}

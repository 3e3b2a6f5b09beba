//! What is on the disk of one attempt, so that a controller that starts anew finds the build again.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::builder::artefact::Expectation;
use crate::executor::ExecutorError;
use crate::executor::kept::Stop;
use crate::sys::fs::{FsError, write_atomic};
use crate::sys::process::Program;

/// Runs the program and writes down how it ended, whatever becomes of whoever started it. As long as anything of it
/// lives, the lock that it was given as its standard error stays locked. It is not the one to end on SIGTERM. Beside its
/// number stands what the kernel says of it, behind its name: when it began is among that.
const SUPERVISE: &str = r#"exec 9>&2 2>&1
trap : TERM
read -r stat </proc/$$/stat
echo "$$ ${stat##*) }" >pid.new && mv pid.new pid
"$@"
echo "$?" >status.new && mv status.new status"#;

/// What has to be known of a build until its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Where its output begins in its log.
    pub log_begins: u64,
    /// How long it may take from when it begins, in milliseconds.
    pub may_take: i64,
    /// The status that says that there is nothing to do.
    pub skip_exit_code: i32,
    /// What it may leave behind.
    pub expected: Expectation,
}

/// The directory of one attempt.
#[derive(Debug, Clone)]
pub struct Task {
    /// Where it is.
    pub dir: PathBuf,
}

impl Task {
    /// The attempt that has this directory.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// What it is given, as JSON.
    pub fn document(&self) -> PathBuf {
        self.dir.join("build.json")
    }

    /// The files of the package.
    pub fn package(&self) -> PathBuf {
        self.dir.join("package")
    }

    /// Where it leaves what it built.
    pub fn made(&self) -> PathBuf {
        self.dir.join("artefacts")
    }

    /// What was taken of that.
    pub fn taken(&self) -> PathBuf {
        self.dir.join("taken")
    }

    /// What it prints.
    pub fn output(&self) -> PathBuf {
        self.dir.join("output")
    }

    /// Writes down what has to be known. An attempt that has this was started, or is lost.
    pub fn write_record(&self, record: &Record) -> Result<(), FsError> {
        let json = serde_json::to_vec(record).expect("names and numbers are JSON");
        write_atomic(&self.dir.join("record.json"), &json)
    }

    /// What is known of the attempt; `None` if it never came so far.
    pub fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.dir.join("record.json")).ok()?).ok()
    }

    /// Puts back what a process took that ended before it could say so.
    pub fn give_back(&self) -> io::Result<()> {
        fs::create_dir_all(self.taken())?;
        for entry in fs::read_dir(self.taken())? {
            let entry = entry?;
            fs::rename(entry.path(), self.made().join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Starts the program.
    pub fn start(&self, program: &Program, words: &[String]) -> Result<(), ExecutorError> {
        let failed = |path: PathBuf| move |error| FsError::new("open", &path, error);
        let lock = self.lock().and_then(|lock| lock.lock().map(|()| lock)).map_err(failed(self.dir.join("lock")))?;
        let input = File::open(self.document()).map_err(failed(self.document()))?;
        let output = OpenOptions::new().create(true).append(true).open(self.output()).map_err(failed(self.output()))?;
        let supervised = program.clone().args(["-c", SUPERVISE, "supervise"]).args(words).current_dir(&self.dir);
        supervised.detach(input, output, lock).map_err(ExecutorError::from)
    }

    /// The status that the program ended with, as a shell counts it; `None` while it runs, and if that was lost.
    pub fn status(&self) -> Option<i32> {
        self.number("status")
    }

    /// Whether anything of it lives.
    pub fn lives(&self) -> bool {
        let lock = self.lock().map(|lock| lock.try_lock());
        matches!(lock, Ok(Err(TryLockError::WouldBlock)))
    }

    /// Sends a signal to all of it that is still in its group, if anything of it lives. A supervisor that has just been
    /// started may not be known yet.
    pub fn signal(&self, signal: Signal) {
        let Ok(known) = fs::read_to_string(self.dir.join("pid")) else { return };
        let (number, known) = known.split_once(' ').unwrap_or((&known, ""));
        let Some(group) = number.trim().parse().ok().filter(|pid: &i32| *pid > 1 && self.lives()) else { return };
        // The number may be somebody else's by now, when the supervisor is gone and what lives has left the group.
        let now = fs::read_to_string(format!("/proc/{group}/stat")).ok();
        let is_other = now.is_some_and(|now| {
            let now = now.rsplit_once(") ").map(|(_, now)| now).unwrap_or_default();
            began(known).is_some_and(|known| began(now) != Some(known))
        });
        if !is_other {
            // If all of it has ended meanwhile, that is what was wanted.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }

    /// Drops what it has printed so far; what it prints from now on stands at the beginning.
    pub fn drop_output(&self) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.output())?.set_len(0)
    }

    /// Marks that it is to be stopped, also for later processes.
    pub fn ask_to_stop(&self, stop: Stop) -> Result<(), FsError> {
        write_atomic(&self.dir.join("stop"), &serde_json::to_vec(&stop).expect("a word is JSON"))
    }

    /// Why it is to be stopped, if it is.
    pub fn stop(&self) -> Option<Stop> {
        let written = fs::read(self.dir.join("stop")).ok()?;
        // Until it was written down why, it was always this.
        Some(serde_json::from_slice(&written).unwrap_or(Stop::Cancelled))
    }

    /// When it began; the first time that this is asked with a time, that is it.
    pub fn began(&self, now: Option<Timestamp>) -> Option<Timestamp> {
        let path = self.dir.join("began");
        let known = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        known.or_else(|| {
            let now = now?;
            if let Err(error) = write_atomic(&path, now.to_string().as_bytes()) {
                tracing::warn!(error = &error as &dyn std::error::Error, "when a build began is not kept");
            }
            Some(now)
        })
    }

    fn lock(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.dir.join("lock"))
    }

    fn number(&self, name: &str) -> Option<i32> {
        fs::read_to_string(self.dir.join(name)).ok()?.trim().parse().ok()
    }
}

/// When a process began, out of what the kernel says of it behind its name.
fn began(stat: &str) -> Option<&str> {
    stat.split_whitespace().nth(19)
}

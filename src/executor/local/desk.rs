//! Answers `pkgwarden-cache` inside a build while it runs.
//!
//! The build drops requests into a directory and rings a bell; it is answered through a FIFO that it made. Everything it
//! leaves there may be something else by the time it is looked at: only ordinary files are read, no link is followed, and
//! a request can do no more than save or restore a set of this very package.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::time::Instant;

use super::caching::{Caching, Trouble, open_ordinary, restored};
use super::step::Limits;
use crate::builder::cache::Request;
use crate::builder::workspace::Workspace;
use crate::domain::cache::Set;
use crate::sys::fs::FsError;
use crate::telemetry::in_full;

/// A build that asks more often than this is told so, and nothing is done for it.
const MOST_REQUESTS: usize = 200;
/// The longest id of a request.
const LONGEST_ID: u64 = 64;

fn too_often() -> Answer {
    let text = format!("warning: this build has asked more than {MOST_REQUESTS} times, and nothing more is done");
    Answer { status: "problem", text }
}

/// Where a build asks.
pub struct Desk {
    bell: BufReader<pipe::Receiver>,
    requests: PathBuf,
    answers: PathBuf,
}

/// An answer: what the program does with it, and what it says.
struct Answer {
    status: &'static str,
    text: String,
}

impl Desk {
    /// Listens for the bell of a workspace.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(workspace: &Workspace) -> Result<Self, FsError> {
        let bell = workspace.path("bell");
        let opened = pipe::OpenOptions::new().read_write(true).open_receiver(&bell);
        let receiver = opened.map_err(|error| FsError::new("open", &bell, error))?;
        let (requests, answers) = (workspace.path("requests"), workspace.path("answers"));
        Ok(Self { bell: BufReader::new(receiver), requests, answers })
    }

    /// Answers until nobody waits for that any more.
    pub async fn serve(mut self, caching: &mut Caching, limits: &Limits) -> ! {
        let mut answered = 0;
        while let Some(id) = self.next().await {
            let answer = if answered < MOST_REQUESTS { self.answer(&id, caching, limits).await } else { too_often() };
            answered += 1;
            self.tell(&id, &answer);
        }
        std::future::pending().await
    }

    /// The id of the next request.
    async fn next(&mut self) -> Option<String> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.bell).take(LONGEST_ID).read_until(b'\n', &mut line).await.ok()?;
            let id = line.strip_suffix(b"\n").unwrap_or(&line);
            let sound = !id.is_empty() && id.iter().all(u8::is_ascii_alphanumeric);
            if let Some(id) = String::from_utf8(id.to_vec()).ok().filter(|_| sound && read > 0) {
                return Some(id);
            }
            // Whoever rings without end is heard no more often than anybody else is.
            tokio::task::yield_now().await;
        }
    }

    async fn answer(&self, id: &str, caching: &mut Caching, limits: &Limits) -> Answer {
        let problem = |text: String| Answer { status: "problem", text };
        let (name, is_save, packed) = match self.request(id) {
            Ok(Request::Save(name, packed)) => (name, true, packed.is_some()),
            Ok(Request::Restore(name)) => (name, false, true),
            Err(text) => return problem(text),
        };
        let set = match caching.plan.by_hand(&name) {
            Ok(set) => set,
            Err(text) => return problem(text),
        };
        let done = if is_save {
            self.save(id, &set, packed, caching, limits).await
        } else {
            self.restore(id, &set, caching).await
        };
        done.unwrap_or_else(|trouble| Answer {
            // That there is no room now is no reason to fail.
            status: if set.required && !(is_save && trouble.passes()) { "failed" } else { "problem" },
            text: format!("warning: {}: {}", set.name, in_full(&trouble)),
        })
    }

    fn request(&self, id: &str) -> Result<Request, String> {
        let mut words = Vec::new();
        let file = open_ordinary(&self.requests.join(format!("{id}.words")));
        let read = file.and_then(|file| file.take(1 << 20).read_to_end(&mut words));
        read.map_err(|error| format!("the request cannot be read: {error}"))?;
        Request::parse(&words).map_err(str::to_owned)
    }

    async fn save(
        &self,
        id: &str,
        set: &Set,
        packed: bool,
        caching: &mut Caching,
        limits: &Limits,
    ) -> Result<Answer, Trouble> {
        let began = Instant::now();
        let tar = self.requests.join(format!("{id}.tar"));
        let size = std::fs::symlink_metadata(&tar).map(|metadata| metadata.len()).unwrap_or_default();
        if !packed && size <= crate::builder::cache::longest_tar(set.max_bytes) {
            return Err(Trouble::Other("it could not be packed, so it is not saved".to_owned()));
        }
        let wanted = caching.wanted(set)?;
        let staged = caching.stage(set, &tar, &wanted, limits).await?;
        let text = format!(
            "{}: {} bytes in {} files ({} bytes packed) in {:.2} s, to be saved if this build succeeds",
            set.name,
            staged.content.bytes,
            staged.content.members,
            staged.size,
            began.elapsed().as_secs_f64()
        );
        caching.staged.insert(set.name.clone(), (staged, wanted));
        Ok(Answer { status: "done", text })
    }

    async fn restore(&self, id: &str, set: &Set, caching: &mut Caching) -> Result<Answer, Trouble> {
        let began = Instant::now();
        Ok(match caching.find(set, &self.answers.join(id)).await? {
            Ok(entry) => Answer {
                status: if set.required { "found-required" } else { "found" },
                text: format!("{}: {}", set.name, restored(&entry, began)),
            },
            Err(absent) => Answer { status: "absent", text: format!("{}: {absent}", set.name) },
        })
    }

    /// Tells the build, if it still listens.
    fn tell(&self, id: &str, answer: &Answer) {
        let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
        let path = self.requests.join(format!("{id}.answer"));
        let opened = OpenOptions::new().write(true).custom_flags(flags.bits()).open(path);
        let is_fifo = |file: &std::fs::File| file.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
        if let Some(mut fifo) = opened.ok().filter(is_fifo) {
            let text: String = answer.text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1_000).collect();
            // One that does not read has gone away.
            let _ = fifo.write_all(format!("{}\n{text}\n", answer.status).as_bytes());
        }
    }
}

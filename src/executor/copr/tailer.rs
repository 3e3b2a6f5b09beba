//! Follows one log from wherever it was left to its end, whatever its server does.
//!
//! What answers mean and when to ask again is decided in [`crate::domain::copr`]; here it is asked.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::logs::{Answer, Logs};
use crate::domain::copr::State;
use crate::domain::copr::lines::Lines;
use crate::domain::copr::pace::{End, Event, Going, Moment, Next, Pace};
use crate::domain::copr::tail::{Body, Brought, Differs, Form, Meaning, Tail};
use crate::sys::clock::Clock;

/// So much is gathered before it is passed on: 64 KiB.
const PIECE: usize = 64 << 10;
/// A log longer than this is given up: 4 GiB.
const LONGEST: u64 = 4 << 30;
/// What stands in a log where it began anew.
const RESTARTED: &[u8] = b"==> log restarted\n";

/// How far a log has been read, and what of it is not passed on because its line is not over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// How far.
    pub tail: Tail,
    /// What is not passed on.
    pub lines: Lines,
}

/// Which log it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The chroot, or [`super::watch::SOURCE`].
    pub chroot: String,
    /// The name of the file.
    pub file: &'static str,
    /// What its lines begin with.
    pub label: String,
}

/// Why something could not be passed on.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Nothing more is wanted.
    #[error("the log is full")]
    Full,
    /// Not now.
    #[error("the log cannot be written: {0}")]
    Later(String),
    /// Nobody reads any more.
    #[error("nobody reads the log any more")]
    Closed,
}

/// Where what is read goes.
pub trait Sink: Send {
    /// Where a log was left by an earlier process.
    fn left(&self, place: &Place) -> Option<Stream>;

    /// Takes whole lines of a log, which is then read as far as `stream` says. Both count, or neither.
    ///
    /// # Errors
    /// [`SinkError`]; then they will come again, except if it is full.
    fn lines(&mut self, place: &Place, lines: &[u8], stream: &Stream) -> Result<(), SinkError>;

    /// Takes the state of the build (no chroot) or of a chroot, as often as it is looked at.
    ///
    /// # Errors
    /// [`SinkError`]
    fn state(&mut self, chroot: Option<&str>, state: State) -> Result<(), SinkError>;

    /// Takes a line of our own.
    ///
    /// # Errors
    /// [`SinkError`]
    fn note(&mut self, text: &str) -> Result<(), SinkError>;
}

/// A sink for several logs.
pub type SharedSink<'s> = Arc<Mutex<dyn Sink + 's>>;

/// The sink, for a moment.
pub fn locked<'a, 's>(sink: &'a SharedSink<'s>) -> MutexGuard<'a, dyn Sink + 's> {
    sink.lock().expect("nobody panics while writing logs")
}

/// How it stands with the build of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The directory with the log.
    pub directory: Option<String>,
    /// It runs.
    pub is_running: bool,
    /// Nothing more will be printed.
    pub is_over: bool,
}

/// Follows one log.
pub struct Tailer<'s> {
    pub(super) place: Place,
    pub(super) logs: Logs,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) sink: SharedSink<'s>,
    pub(super) pace: Pace,
    pub(super) clock: Arc<dyn Clock>,
    /// Everything is to end soon: one more question, and no more.
    pub(super) stop: CancellationToken,
}

/// What became of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tailed {
    /// Which.
    pub place: Place,
    /// How it ended.
    pub end: End,
    /// Whether anything of it was ever read.
    pub has_any: bool,
}

impl Tailer<'_> {
    /// Follows it to its end.
    pub async fn run(mut self) -> Tailed {
        let left = locked(&self.sink).left(&self.place);
        let mut stream = left.unwrap_or_default();
        let end = self.follow(&mut stream).await;
        let mut rest = Vec::new();
        stream.lines.flush(&mut rest);
        if !rest.is_empty()
            && let Err(error) = locked(&self.sink).lines(&self.place, &rest, &stream)
        {
            tracing::debug!("the end of a log is not written: {error}");
        }
        self.tell(end, &stream);
        Tailed { has_any: stream.tail.has_any(), place: self.place, end }
    }

    async fn follow(&mut self, stream: &mut Stream) -> End {
        let (mut going, mut form) = (Going::default(), Form::Raw);
        loop {
            let is_last = self.stop.is_cancelled();
            let standing = self.standing.borrow_and_update().clone();
            let event = match self.ask(stream, form, standing.directory.as_deref()).await {
                Ok(event) => event,
                Err(SinkError::Full | SinkError::Closed) => return End::CutOff,
                Err(error) => {
                    tracing::warn!("a log is read again later: {error}");
                    Event::Fault(None)
                }
            };
            let now = self.clock.now();
            let moment = Moment { now, is_running: standing.is_running, is_over: standing.is_over };
            let (next, told) = going.after(event, stream.tail.has_any(), moment, self.pace);
            if let Some(times) = told {
                self.note(&format!("cannot be read, {times} times in a row; it is asked for on"));
            }
            match next {
                _ if is_last => return End::CutOff,
                _ if stream.tail.offset() > LONGEST => return End::GivenUp,
                Next::Done(end) => return end,
                Next::Ask(next, pause) => {
                    form = next;
                    self.rest(pause, standing.is_over, matches!(event, Event::Fault(_))).await;
                }
            }
        }
    }

    /// Until it is time, or there is a reason to ask at once: the end of the build, or ours.
    async fn rest(&mut self, pause: Duration, was_over: bool, is_fault: bool) {
        let standing = &mut self.standing;
        let over = async {
            // If nobody tells any more, nothing changes.
            if was_over || is_fault || standing.wait_for(|standing| standing.is_over).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = over => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn ask(&self, stream: &mut Stream, form: Form, directory: Option<&str>) -> Result<Event, SinkError> {
        let Some(url) = directory.and_then(|directory| self.logs.address(directory, self.place.file, form)) else {
            return Ok(Event::Missing);
        };
        let from = if form == Form::Raw { stream.tail.ask_from() } else { None };
        let Some(answer) = self.logs.ask(url, from).await else { return Ok(Event::Fault(None)) };
        match stream.tail.judge(form, answer.head) {
            Meaning::Missing => Ok(Event::Missing),
            Meaning::Fault => Ok(Event::Fault(answer.after)),
            Meaning::Shrunk => match stream.tail.shrunk() {
                Ok(()) => Ok(Event::Fault(None)),
                Err(Differs) => self.restart(stream),
            },
            Meaning::Body(body) => self.read(stream, form, body, answer).await,
        }
    }

    async fn read(&self, stream: &mut Stream, form: Form, body: Body, answer: Answer) -> Result<Event, SinkError> {
        let may_be_packed = form == Form::Packed || answer.head.is_packed;
        let feeder = Feeder {
            place: &self.place,
            sink: &self.sink,
            passed_on: stream.clone(),
            stream: stream.clone(),
            body,
            whole: Vec::new(),
            trouble: None,
        };
        let (feeder, came) = pour(answer, Mouth::Closed(feeder, may_be_packed)).await;
        self.conclude(stream, feeder, came, form)
    }

    /// What came of a body. What was passed on of it counts in any case.
    fn conclude(
        &self,
        stream: &mut Stream,
        mut feeder: Feeder<'_, '_>,
        came: Came,
        form: Form,
    ) -> Result<Event, SinkError> {
        let ended = match feeder.trouble.take() {
            Some(Trouble::Sink(error)) => {
                *stream = feeder.passed_on;
                return Err(error);
            }
            Some(Trouble::Differs) => Err(Differs),
            None => feeder.stream.tail.end(&feeder.body, came == Came::Whole),
        };
        if ended == Ok(Brought::Nothing) && form == Form::Raw {
            feeder.stream.lines.wait(&mut feeder.whole);
        }
        if let Err(error) = feeder.pass_on() {
            *stream = feeder.passed_on;
            return Err(error);
        }
        *stream = feeder.stream;
        match (ended, came) {
            (Err(Differs), _) => self.restart(stream),
            (Ok(_), Came::CutOff) => Ok(Event::CutOff),
            (Ok(Brought::News | Brought::Nothing), Came::Whole) if form == Form::Packed => Ok(Event::Whole),
            (Ok(Brought::News), _) if form == Form::Raw => Ok(Event::News),
            (Ok(Brought::Nothing), _) if form == Form::Raw => Ok(Event::Idle),
            (Ok(_), _) => Ok(Event::Fault(None)),
        }
    }

    /// The log began anew: what was read is kept, a line says so, and it is read from its beginning.
    fn restart(&self, stream: &mut Stream) -> Result<Event, SinkError> {
        let (mut lines, mut anew) = (Vec::new(), stream.clone());
        anew.lines.flush(&mut lines);
        lines.extend_from_slice(RESTARTED);
        anew.tail.restart();
        locked(&self.sink).lines(&self.place, &lines, &anew)?;
        *stream = anew;
        Ok(Event::Restarted(stream.tail.restarts()))
    }

    fn tell(&self, end: End, stream: &Stream) {
        let minutes = self.pace.patience.as_secs() / 60;
        match end {
            End::GivenUp if stream.tail.has_any() => self.note("is given up: it has no end"),
            End::GivenUp => self.note(&format!("is given up: there is none after {minutes} minutes of building")),
            End::Unreachable => self.note("cannot be read to its end: its server does not answer"),
            End::CutOff if !self.stop.is_cancelled() && stream.tail.has_any() => self.note("is cut off here"),
            End::Whole | End::CutOff | End::None => {}
        }
    }

    fn note(&self, text: &str) {
        let note = format!("[{}] the log {text}", self.place.label);
        if let Err(error) = locked(&self.sink).note(&note) {
            tracing::debug!("not written: {error}");
        }
    }
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Whole,
    Broken,
    /// It came to its end, and cannot be unpacked to its end.
    CutOff,
}

enum Trouble {
    Differs,
    Sink(SinkError),
}

/// Takes a body as it is unpacked and passes on what of it is new, in pieces of bounded size.
struct Feeder<'a, 's> {
    place: &'a Place,
    sink: &'a SharedSink<'s>,
    /// As it is known to the sink.
    passed_on: Stream,
    stream: Stream,
    body: Body,
    whole: Vec<u8>,
    trouble: Option<Trouble>,
}

impl Feeder<'_, '_> {
    fn pass_on(&mut self) -> Result<(), SinkError> {
        if !self.whole.is_empty() {
            locked(self.sink).lines(self.place, &self.whole, &self.stream)?;
            self.whole.clear();
            self.passed_on = self.stream.clone();
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let new = self.stream.tail.take(&mut self.body, bytes).map_err(|Differs| Trouble::Differs)?;
        self.stream.lines.push(new, &mut self.whole);
        if self.whole.len() >= PIECE {
            self.pass_on().map_err(Trouble::Sink)?;
        }
        Ok(())
    }
}

impl Write for Feeder<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.chunks(PIECE) {
            if self.stream.tail.offset() > LONGEST {
                break;
            }
            if let Err(trouble) = self.take(piece) {
                self.trouble = Some(trouble);
                return Err(io::Error::other("nothing more is taken"));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a body goes in: it is known at its first byte whether it is packed.
enum Mouth<'a, 's> {
    Closed(Feeder<'a, 's>, bool),
    Plain(Feeder<'a, 's>),
    Packed(Box<MultiGzDecoder<Valve<'a, 's>>>),
}

impl<'a, 's> Mouth<'a, 's> {
    fn open(self, first: u8) -> Self {
        match self {
            Self::Closed(feeder, true) if first == 0x1f => {
                Self::Packed(Box::new(MultiGzDecoder::new(Valve(Some(feeder)))))
            }
            Self::Closed(feeder, _) => Self::Plain(feeder),
            open => open,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Closed(feeder, _) | Self::Plain(feeder) => feeder.write_all(bytes),
            Self::Packed(decoder) => decoder.write_all(bytes),
        }
    }

    /// The body came to its end. A decoder that fails gives its inner part away all the same.
    fn close(self) -> (Feeder<'a, 's>, bool) {
        match self {
            Self::Closed(feeder, _) | Self::Plain(feeder) => (feeder, true),
            Self::Packed(mut decoder) => {
                let is_whole = decoder.try_finish().is_ok();
                (decoder.get_mut().0.take().expect("it is taken once"), is_whole)
            }
        }
    }
}

/// A feeder that can be taken away: what a decoder still has when it is thrown away goes nowhere.
struct Valve<'a, 's>(Option<Feeder<'a, 's>>);

impl Write for Valve<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(bytes.len()), |feeder| feeder.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Pours a body into a feeder.
async fn pour<'a, 's>(mut answer: Answer, mut mouth: Mouth<'a, 's>) -> (Feeder<'a, 's>, Came) {
    loop {
        match answer.piece().await {
            Ok(Some(piece)) => {
                let Some(first) = piece.first() else { continue };
                mouth = mouth.open(*first);
                if mouth.write(&piece).is_err() {
                    // If the feeder has no trouble, it cannot be unpacked.
                    return (mouth.close().0, Came::CutOff);
                }
            }
            Ok(None) => {
                let (feeder, is_whole) = mouth.close();
                return (feeder, if is_whole { Came::Whole } else { Came::CutOff });
            }
            Err(_) => {
                // What came before it broke off counts.
                return (mouth.close().0, Came::Broken);
            }
        }
    }
}

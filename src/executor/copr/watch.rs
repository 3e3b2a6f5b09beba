//! Follows one build to its end: how it stands, and the logs of all its parts at once.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::CoprError;
use super::client::Client;
use super::logs::Logs;
use super::tailer::{Place, SharedSink, SinkError, Standing, Tailed, Tailer, locked};
use super::wire::{Build, Chroot};
use crate::domain::copr::pace::Pace;
use crate::domain::copr::{Show, State, label};
use crate::executor::api::ApiError;
use crate::sys::clock::Clock;
use crate::telemetry::in_full;

/// What the stage that makes the source package is called, as COPR calls its directory.
pub const SOURCE: &str = "srpm-builds";
/// What a builder prints.
pub const LIVE: &str = "builder-live.log";
/// What COPR itself has to say of it.
const BACKEND: &str = "backend.log";
/// More chroots are not followed.
const MOST: usize = 256;
/// So many questions in a row without an answer are told: one may get lost.
const TOLD: u32 = 2;
/// How long the last look at logs may take when somebody wants to end.
const LAST_READ: Duration = Duration::from_secs(10);

/// How often things are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// How the build stands.
    pub status: Duration,
    /// Its logs.
    pub logs: Pace,
    /// How long logs may take after the end of the build, or after somebody wants to end.
    pub drain: Duration,
    /// How long COPR may give no answer.
    pub lost_after: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            status: Duration::from_secs(10),
            logs: Pace { every: Duration::from_secs(5), patience: Duration::from_mins(10) },
            drain: Duration::from_mins(10),
            lost_after: Duration::from_hours(24),
        }
    }
}

/// How following a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// With its end.
    Ended(State),
    /// Somebody wanted to end.
    Stopped,
}

/// Follows builds of one server.
#[derive(Clone)]
pub struct Watcher {
    /// The way to it.
    pub client: Client,
    /// The way to its logs.
    pub logs: Logs,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How often things are asked for.
    pub pacing: Pacing,
    /// When logs are shown.
    pub show: Show,
    /// What the labels of logs begin with.
    pub prefix: String,
}

/// What whoever has a build followed holds.
#[derive(Debug, Clone, Default)]
pub struct Control {
    /// It is to end soon; the build goes on.
    pub stop: CancellationToken,
    /// It is to be looked at once more now.
    pub look: Arc<Notify>,
}

/// What is known of a build.
struct Look {
    build: Build,
    chroots: Vec<Chroot>,
    source: Option<Chroot>,
}

impl Watcher {
    /// Follows a build to its end, with its logs.
    ///
    /// # Errors
    /// If COPR does not know it, or gave no answer for too long.
    pub async fn watch(&self, id: u64, sink: &SharedSink<'_>, control: &Control) -> Result<Watched, CoprError> {
        let (begin, begun) = mpsc::unbounded_channel();
        let mut following = Following { watcher: self, sink, control, standings: BTreeMap::new(), begin: Some(begin) };
        let tailed = Mutex::new(Vec::new());
        let mut tailing = pin!(tail_all(begun, &tailed));
        // As long as more may begin, they are not over.
        let ended = tokio::select! {
            ended = self.until_over(id, &mut following) => ended,
            () = &mut tailing => unreachable!("somebody may begin another one"),
        };
        following.end_all();
        let is_drained = tokio::select! {
            () = &mut tailing => true,
            () = out_of_patience(self.pacing.drain, control) => false,
        };
        if !is_drained {
            following.note("not all logs could be read to their end in time");
        }
        let Some(look) = ended? else { return Ok(Watched::Stopped) };
        if self.show != Show::Never {
            let tailed = std::mem::take(&mut *tailed.lock().expect("nobody panics with it"));
            self.post_mortem(&look, &tailed, sink, control).await;
        }
        Ok(Watched::Ended(look.build.state))
    }

    /// Looks at it until it is over, which is then returned, or until somebody wants to end.
    async fn until_over(&self, id: u64, following: &mut Following<'_, '_>) -> Result<Option<Look>, CoprError> {
        let (mut failures, mut failing_since, mut source) = (0, None, None);
        loop {
            let mut pause = self.pacing.status;
            match self.look(id, &mut source).await {
                Ok(look) => {
                    if failures >= TOLD {
                        following.note("COPR says again how the build stands");
                    }
                    (failures, failing_since) = (0, None);
                    following.see(&look);
                    if look.build.state.is_terminal() {
                        return Ok(Some(look));
                    }
                }
                Err(error) if error.is_gone() => return Err(error),
                Err(error) => {
                    failures += 1;
                    pause = error.api().and_then(ApiError::after).unwrap_or_default().max(pause * failures.min(6));
                    let since = *failing_since.get_or_insert_with(|| self.clock.now());
                    if self.is_too_long(since) {
                        return Err(error);
                    }
                    if failures == TOLD {
                        let why = in_full(&error);
                        let text =
                            format!("COPR does not say how the build stands, and is asked again and again: {why}");
                        following.note(&text);
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(jittered(pause, id)) => {}
                () = following.control.look.notified() => {}
                () = following.control.stop.cancelled() => return Ok(None),
            }
        }
    }

    fn is_too_long(&self, since: Timestamp) -> bool {
        let limit = SignedDuration::try_from(self.pacing.lost_after).unwrap_or(SignedDuration::MAX);
        self.clock.now().duration_since(since) >= limit
    }

    /// The build first: once it is over, so are the others, and their places are known.
    async fn look(&self, id: u64, source: &mut Option<Chroot>) -> Result<Look, CoprError> {
        let build = self.client.build(id).await?;
        let mut chroots = self.client.chroots(id).await?;
        chroots.truncate(MOST);
        if !source.as_ref().is_some_and(|source| source.state.is_terminal() && source.result_url.is_some()) {
            let stage = self.client.source_stage(id).await?;
            *source = stage.map(|stage| Chroot { name: SOURCE.to_owned(), ..stage });
        }
        Ok(Look { build, chroots, source: source.clone() })
    }

    fn place(&self, chroot: &str, file: &'static str) -> Place {
        let name = label(chroot);
        let label = if file == LIVE { name } else { format!("{name} {file}") };
        Place { chroot: chroot.to_owned(), file, label: format!("{}{label}", self.prefix) }
    }

    /// Shows what was not shown as it was written: logs of which nothing came, and where no chroot ever ran, what COPR
    /// itself says of it.
    async fn post_mortem(&self, look: &Look, tailed: &[Tailed], sink: &SharedSink<'_>, control: &Control) {
        let seen = |name: &str| tailed.iter().any(|it| it.place.chroot == name && it.place.file == LIVE && it.has_any);
        // Whether one that was cancelled ever ran, the place of its results says.
        let ran = |chroot: &Chroot| {
            chroot.state.has_begun() || (chroot.state == State::Canceled && chroot.result_url.is_some())
        };
        let none_ran = !look.chroots.iter().any(ran);
        for part in look.source.iter().chain(&look.chroots) {
            let (is_source, Some(directory)) = (part.name == SOURCE, part.result_url.clone()) else { continue };
            if !is_source && !ran(part) {
                continue;
            }
            let mut has_any = seen(&part.name);
            if !has_any {
                has_any = self.read_whole(part, &directory, LIVE, sink, control).await;
            }
            let is_mute = !has_any && !is_source;
            let has_failed = !look.build.state.is_good() && is_source && none_ran;
            if is_mute || has_failed {
                self.read_whole(part, &directory, BACKEND, sink, control).await;
            }
        }
    }

    /// Shows a log of what is over; whether there was anything in it.
    async fn read_whole(
        &self,
        part: &Chroot,
        directory: &str,
        file: &'static str,
        sink: &SharedSink<'_>,
        control: &Control,
    ) -> bool {
        let standing = Standing { directory: Some(directory.to_owned()), is_running: false, is_over: true };
        let (_keep, standing) = watch::channel(standing);
        let tailer = self.tailer(self.place(&part.name, file), standing, sink, control);
        let reading = tokio::time::timeout(self.pacing.drain, tailer.run()).await;
        reading.is_ok_and(|tailed| tailed.has_any)
    }

    fn tailer<'s>(
        &self,
        place: Place,
        standing: watch::Receiver<Standing>,
        sink: &SharedSink<'s>,
        control: &Control,
    ) -> Tailer<'s> {
        Tailer {
            place,
            logs: self.logs.clone(),
            standing,
            sink: sink.clone(),
            pace: self.pacing.logs,
            clock: self.clock.clone(),
            stop: control.stop.clone(),
        }
    }
}

/// Follows logs as they begin, until none is left and no other can begin.
async fn tail_all(mut begun: mpsc::UnboundedReceiver<Tailer<'_>>, tailed: &Mutex<Vec<Tailed>>) {
    let mut tailers = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(tailer) = begun.recv() => tailers.push(tailer.run()),
            Some(one) = tailers.next() => tailed.lock().expect("nobody panics with it").push(one),
            else => return,
        }
    }
}

/// Logs may take so long after the end of the build, and less after somebody wants to end.
async fn out_of_patience(patience: Duration, control: &Control) {
    let stopped = async {
        control.stop.cancelled().await;
        tokio::time::sleep(LAST_READ).await;
    };
    tokio::select! {
        () = tokio::time::sleep(patience) => {}
        () = stopped => {}
    }
}

/// A little earlier than asked for, and differently for each build, so that many are not asked for at once.
fn jittered(pause: Duration, id: u64) -> Duration {
    let part = u32::try_from(id.wrapping_mul(0x9e37_79b9) % 16).unwrap_or_default();
    pause.saturating_sub(pause * part / 64)
}

/// The logs that are followed of one build.
struct Following<'a, 's> {
    watcher: &'a Watcher,
    sink: &'a SharedSink<'s>,
    control: &'a Control,
    standings: BTreeMap<String, watch::Sender<Standing>>,
    /// Has another one followed.
    begin: Option<mpsc::UnboundedSender<Tailer<'s>>>,
}

impl Following<'_, '_> {
    /// Tells how everything stands, and follows logs that have a place now.
    fn see(&mut self, look: &Look) {
        let is_over = look.build.state.is_terminal();
        self.tell(None, look.build.state);
        for part in look.source.iter().chain(&look.chroots) {
            if part.name != SOURCE || part.result_url.is_some() {
                self.tell(Some(&part.name), part.state);
            }
            let standing = Standing {
                directory: part.result_url.clone().filter(|url| !url.is_empty()),
                is_running: part.state == State::Running,
                is_over: is_over || part.state.is_terminal(),
            };
            self.follow(&part.name, standing);
        }
    }

    fn follow(&mut self, name: &str, standing: Standing) {
        if self.watcher.show != Show::Live {
            return;
        }
        if let Some(known) = self.standings.get(name) {
            known.send_if_modified(|known| {
                let is_new = *known != standing;
                *known = standing;
                is_new
            });
        } else if standing.directory.is_some() {
            let (sender, standing) = watch::channel(standing);
            let place = self.watcher.place(name, LIVE);
            let tailer = self.watcher.tailer(place, standing, self.sink, self.control);
            if let Some(begin) = &self.begin {
                // Whoever follows logs does so as long as there is a sender.
                let _ = begin.send(tailer);
            }
            self.standings.insert(name.to_owned(), sender);
        }
    }

    /// Nobody tells any more how they stand, and no other begins: what is not over by now is taken for it.
    fn end_all(&mut self) {
        self.begin = None;
        for standing in self.standings.values() {
            standing.send_modify(|standing| standing.is_over = true);
        }
    }

    fn tell(&self, chroot: Option<&str>, state: State) {
        unless_closed(locked(self.sink).state(chroot, state), self.control);
    }

    fn note(&self, text: &str) {
        unless_closed(locked(self.sink).note(text), self.control);
    }
}

/// Without a reader there is nothing to follow for.
fn unless_closed(told: Result<(), SinkError>, control: &Control) {
    match told {
        Ok(()) => {}
        Err(SinkError::Closed) => control.stop.cancel(),
        Err(error) => tracing::debug!("not told: {error}"),
    }
}

//! `GET /api/v1/log`: the logs of all live builds in one stream. Each piece comes behind a line
//! `@ build-log ID LEN` and is exactly `LEN` bytes long, so nothing that a build prints can pass for a
//! line of ours.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Server;
use super::follow::Follower;
use crate::controller::face::{BuildFilter, ControllerError, Face};
use crate::controller::view::BuildView;
use crate::web::fault::Fault;
use crate::web::text::path_part;

/// How many frames may wait for a slow reader.
const WAITING: usize = 16;
/// How far back new builds are looked for.
const BUILDS: usize = 200;

/// Whether to go on.
#[derive(Debug, serde::Deserialize)]
pub struct FramesQuery {
    follow: Option<String>,
}

/// The handler.
pub async fn frames(State(server): State<Server>, Query(query): Query<FramesQuery>) -> Result<Response, Fault> {
    let follow = query.follow.is_some_and(|value| value != "0");
    let stop = server.stop().child_token();
    let (sender, receiver) = mpsc::channel(WAITING);
    let live = live_builds(server.face()).await?;
    let mut reader = Reader { face: server.shared_face(), sender, stop: stop.clone(), begun: HashSet::new() };
    if follow {
        tokio::spawn(async move { reader.follow(live).await });
    } else {
        tokio::spawn(async move { reader.print(live).await });
    }
    let guarded = (receiver, stop.drop_guard());
    let body = Body::from_stream(stream::unfold(
        guarded,
        async |(mut receiver, guard): (mpsc::Receiver<Bytes>, DropGuard)| {
            receiver.recv().await.map(|frame| (Ok::<_, std::convert::Infallible>(frame), (receiver, guard)))
        },
    ));
    Ok(([(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, "no-cache")], body).into_response())
}

async fn live_builds(face: &dyn Face) -> Result<Vec<BuildView>, ControllerError> {
    Ok(face.queue().await?.underway)
}

/// What one client gets.
struct Reader {
    face: Arc<dyn Face>,
    sender: mpsc::Sender<Bytes>,
    stop: CancellationToken,
    /// Attempts that are read or were there before.
    begun: HashSet<String>,
}

impl Reader {
    /// What the live builds have written so far.
    async fn print(&mut self, live: Vec<BuildView>) {
        for build in live {
            let Some(attempt) = build.attempt else { continue };
            let logs = self.face.logs();
            let Ok(position) = logs.position(&attempt) else { continue };
            let mut offset = 0;
            while offset < position.len {
                let wanted = usize::try_from(position.len - offset).unwrap_or(usize::MAX).min(64 * 1024);
                let Ok(bytes) = logs.read(&attempt, offset, wanted) else { break };
                offset += bytes.len() as u64;
                if bytes.is_empty() || self.sender.send(frame(&build.id, &bytes)).await.is_err() {
                    break;
                }
            }
        }
    }

    /// The live builds to their ends, and every build that begins meanwhile.
    async fn follow(&mut self, live: Vec<BuildView>) {
        let mut news = self.face.events();
        if let Ok(recent) = self.recent().await {
            let ended = recent.into_iter().filter(|build| !build.state.is_underway());
            self.begun.extend(ended.filter_map(|build| build.attempt));
        }
        self.begin(live);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = news.changed() => if changed.is_err() { return },
            }
            news.mark_unchanged();
            match self.recent().await {
                Ok(recent) => self.begin(recent),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "cannot see which builds run"),
            }
        }
    }

    async fn recent(&self) -> Result<Vec<BuildView>, ControllerError> {
        let mut builds = self.face.builds(BuildFilter { limit: BUILDS, ..BuildFilter::default() }).await?;
        builds.extend(live_builds(&*self.face).await?);
        Ok(builds)
    }

    fn begin(&mut self, builds: Vec<BuildView>) {
        for build in builds {
            let Some(attempt) = build.attempt.filter(|attempt| self.begun.insert(attempt.clone())) else { continue };
            match Follower::new(self.face.logs(), &attempt, 0, self.stop.clone()) {
                Ok(follower) => drop(tokio::spawn(send(follower, build.id, self.sender.clone(), self.stop.clone()))),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, attempt, "a log cannot be followed");
                }
            }
        }
    }
}

async fn send(mut follower: Follower, id: String, sender: mpsc::Sender<Bytes>, stop: CancellationToken) {
    while let Some(Ok(bytes)) = follower.next().await {
        tokio::select! {
            () = stop.cancelled() => return,
            sent = sender.send(frame(&id, &bytes)) => if sent.is_err() { return },
        }
    }
}

fn frame(id: &str, bytes: &[u8]) -> Bytes {
    let mut frame = format!("@ build-log {} {}\n", path_part(id), bytes.len()).into_bytes();
    frame.extend_from_slice(bytes);
    frame.into()
}

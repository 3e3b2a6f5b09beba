//! The server: API, streams, forms and the pages, over TCP and a unix socket.
//!
//! What is answered comes from the controller; who may change something is decided in [`access`].

pub mod access;
mod caches;
mod chaotic;
mod commands;
mod connections;
mod describe;
mod exchange;
mod follow;
mod forms;
mod frames;
mod health;
mod hooks;
mod host;
mod hub;
mod idempotency;
mod log;
mod problem;
mod read;
mod repo;
mod serve;
mod shelves;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router, middleware};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutLayer;

use self::access::{Access, Arrival};
use self::describe::{Answer, Described, Operation};
use self::hooks::Hooks;
use self::host::Hosts;
use self::hub::Hub;
use self::idempotency::Replies;
use self::repo::Published;
use crate::controller::builders::Builders;
use crate::controller::face::Face;
use crate::controller::inbox::Inbox;
use crate::sys::clock::Clock;
use crate::web::fault::Fault;
use crate::web::frame::Pages;
use crate::web::text::hex;

pub use self::access::Keys;
pub use self::serve::{ServeError, UnixSocket, serve};

/// How long a question may take to be answered. Streams and commands take as long as they take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the server is made from.
pub struct Options {
    /// Whom to ask.
    pub face: Arc<dyn Face>,
    /// Where deliveries of forges go, if any are taken.
    pub inbox: Option<Inbox>,
    /// Who serves builders elsewhere, if builds are carried out there.
    pub builders: Option<Builders>,
    /// The directories of published packages, by repository.
    pub published: BTreeMap<String, PathBuf>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What changes are allowed with.
    pub keys: Keys,
    /// The address that people use, if it is another one than we listen on.
    pub public_url: Option<String>,
    /// Names by which people reach it beside that.
    pub hosts: Vec<String>,
    /// Ends everything: streams, background work, listeners.
    pub stop: CancellationToken,
}

/// Everything requests share. Clones are cheap.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    pages: Pages,
    access: Access,
    hosts: Hosts,
    hub: Arc<Hub>,
    replies: Replies,
    hooks: Hooks,
    builders: Option<Builders>,
    /// Places for builders that wait for a change.
    waiting: Semaphore,
    published: Published,
    stop: CancellationToken,
    /// Tells one process from another, in ids of requests and events.
    epoch: String,
    requests: AtomicU64,
    document: serde_json::Value,
}

impl FromRef<Server> for Pages {
    fn from_ref(server: &Server) -> Self {
        server.0.pages.clone()
    }
}

impl Server {
    /// A server over a controller; it starts to watch what changes. Needs a running tokio.
    ///
    /// # Errors
    /// If the machine has no randomness.
    pub fn new(options: Options) -> Result<Self, ServeError> {
        let mut seed = [0; 40];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut seed))
            .map_err(ServeError::Randomness)?;
        let (secret, epoch) = seed.split_first_chunk::<32>().expect("the seed is 40 bytes long");
        let https = options.public_url.as_deref().is_some_and(|url| url.starts_with("https:"));
        Ok(Self(Arc::new(Inner {
            hub: Hub::start(Arc::clone(&options.face), options.stop.clone()),
            pages: Pages { face: options.face, clock: options.clock },
            access: Access::new(&options.keys, secret, https),
            hosts: Hosts::new(options.public_url.as_deref(), &options.hosts),
            replies: Replies::default(),
            hooks: Hooks::new(options.inbox),
            builders: options.builders,
            waiting: Semaphore::new(connections::MOST_WAITING),
            published: Published(options.published),
            stop: options.stop,
            epoch: hex(&epoch[..4]),
            requests: AtomicU64::new(1),
            document: describe::document(&api().into_paths()),
        })))
    }

    fn face(&self) -> &dyn Face {
        &*self.0.pages.face
    }

    fn shared_face(&self) -> Arc<dyn Face> {
        Arc::clone(&self.0.pages.face)
    }

    fn pages(&self) -> &Pages {
        &self.0.pages
    }

    fn access(&self) -> &Access {
        &self.0.access
    }

    fn hosts(&self) -> &Hosts {
        &self.0.hosts
    }

    fn hub(&self) -> &Hub {
        &self.0.hub
    }

    fn replies(&self) -> &Replies {
        &self.0.replies
    }

    fn hooks(&self) -> &Hooks {
        &self.0.hooks
    }

    fn builders(&self) -> Option<&Builders> {
        self.0.builders.as_ref()
    }

    fn waiting(&self) -> &Semaphore {
        &self.0.waiting
    }

    fn published(&self) -> &Published {
        &self.0.published
    }

    fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    fn epoch(&self) -> &str {
        &self.0.epoch
    }

    fn next_request_id(&self) -> String {
        format!("{}-{}", self.0.epoch, self.0.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets work end even if nobody waits for it any more.
    async fn detached<T, E, W, F>(&self, work: W) -> Result<T, Fault>
    where
        W: FnOnce(Arc<dyn Face>) -> F,
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Into<Fault> + Send + 'static,
    {
        idempotency::detached(work(self.shared_face())).await?.map_err(Into::into)
    }

    /// Every route, for requests that arrive in one way.
    pub fn router(&self, arrival: Arrival) -> Router {
        let (questions, streams, commands) = (questions(), streams(), commands());
        let document = self.0.document.clone();
        let commands = commands.router().layer(middleware::from_fn_with_state(self.clone(), idempotency::command));
        let timed = questions
            .router()
            .merge(crate::web::routes().with_state(self.0.pages.clone()))
            .route("/logs.html", get(chaotic::page))
            .route("/logs/logs.html", get(chaotic::page))
            .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, PATIENCE));
        let streams = match arrival {
            Arrival::Tcp => streams.router().layer(middleware::from_fn_with_state(
                Arc::new(Semaphore::new(connections::MOST_FOLLOWING)),
                connections::following,
            )),
            Arrival::Socket => streams.router(),
        };
        let exchange = exchange::routes().router();
        let exchange = match arrival {
            Arrival::Tcp => exchange.layer(middleware::from_fn_with_state(
                Arc::new(Semaphore::new(connections::MOST_OF_BUILDERS)),
                connections::of_builders,
            )),
            Arrival::Socket => exchange,
        };
        Router::new()
            .merge(timed)
            .merge(streams)
            .merge(commands)
            .merge(deliveries().router().layer(hooks::patience()))
            .merge(exchange)
            .merge(forms::routes())
            .route("/repo/{repository}/{*file}", get(repo::file))
            .route("/api/openapi.json", get(async move || Json(document)))
            .layer(DefaultBodyLimit::max(idempotency::MAX_BODY))
            .layer(middleware::from_fn_with_state(self.clone(), problem::outermost))
            .layer(axum::Extension(arrival))
            .with_state(self.clone())
    }
}

/// The whole API.
fn api() -> Described {
    let served = questions().and(streams()).and(commands()).and(deliveries()).and(exchange::routes());
    served
        .describing(&Operation::get("/api/openapi.json", "This document", Answer::Media("application/json")))
        .describing(&Operation::get(
            "/repo/{repository}/{file}",
            "A file of the published packages; for pacman, `Server = https://…/repo/REPOSITORY`",
            Answer::Media("application/octet-stream"),
        ))
}

fn questions() -> Described {
    let get = Operation::get;
    caches::questions()
        .and(shelves::questions())
        .route(&get("/healthz", "Whether the process answers", Answer::Media("text/plain")), health::alive)
        .route(&get("/readyz", "Whether the controller answers", Answer::Media("text/plain")), health::ready)
        .route(&get("/metrics", "Gauges and counters for Prometheus", Answer::Media("text/plain")), health::metrics)
        .route(
            &get("/api/v1/repositories", "The repositories that are kept", Answer::Many("Repository")),
            read::repositories,
        )
        .route(
            &get("/api/v1/packages", "Packages, by name", Answer::Many("Package")).query("q", "part of the name"),
            read::packages,
        )
        .route(
            &get("/api/v1/packages/{pkgbase}", "Everything about one package", Answer::One("PackageDetail")),
            read::package,
        )
        .route(
            &get(
                "/api/v1/packages/{pkgbase}/script-log",
                "What its .CI/update.sh printed when it was run last",
                Answer::Media("text/plain"),
            ),
            read::script_log,
        )
        .route(
            &get("/api/v1/runs", "Runs, newest first", Answer::Many("Run"))
                .query("limit", "at most so many; 100 unless given"),
            read::runs,
        )
        .route(&get("/api/v1/runs/{id}", "One run with its document", Answer::One("RunDetail")), read::run)
        .route(
            &get("/api/v1/builds", "Builds, newest first", Answer::Many("Build"))
                .query("state", "only those in this state")
                .query("pkgbase", "only those of this package")
                .query("run", "only those that this run asked for")
                .query("limit", "at most so many; 100 unless given"),
            read::builds,
        )
        .route(&get("/api/v1/builds/{id}", "One build with its attempts", Answer::One("BuildDetail")), read::build)
        .route(&get("/api/v1/queue", "Everything that is not final", Answer::One("Queue")), read::queue)
        .route(&get("/api/v1/reviews", "Updates that wait for a person", Answer::Many("Review")), read::reviews)
        .route(&get("/api/v1/reviews/{pkgbase}", "One of them, with its files", Answer::One("Review")), read::review)
        .route(
            &get("/api/v1/generations", "Published states of the package repository", Answer::Many("Generation")),
            read::generations,
        )
        .route(
            &get(
                "/api/v1/generations/{repository}/{number}",
                "One of them, with where each of its packages came from",
                Answer::One("GenerationDetail"),
            ),
            read::generation,
        )
        .route(
            &get("/api/v1/quarantine", "What a person has taken out of service", Answer::Many("Quarantine")),
            read::quarantine,
        )
        .route(&get("/api/v1/graph", "Who is built before whom", Answer::One("Graph")), read::graph)
        .route(
            &get("/api/queue/stats", "As Chaotic Manager's clients know it", Answer::One("ChaoticStats")),
            chaotic::stats,
        )
        .route(
            &get("/api/queue/packages", "As Chaotic Manager's clients know it", Answer::Many("ChaoticPackage")),
            chaotic::packages,
        )
}

fn streams() -> Described {
    let get = Operation::get;
    let attempt = "another attempt than the latest";
    caches::streams()
        .route(
            &get("/api/v1/builds/{id}/log", "The bytes of a log; understands `Range`", Answer::Media("text/plain"))
                .query("follow", "`1`: go on until the log ends")
                .query("offset", "begin at this byte")
                .query("attempt", attempt),
            log::log,
        )
        .route(
            &get(
                "/api/v1/builds/{id}/events",
                "A log as events `log` and at last `end`; ids are byte offsets, and `Last-Event-ID` wins over `offset`",
                Answer::Media("text/event-stream"),
            )
            .query("offset", "begin at this byte")
            .query("attempt", attempt)
            .query("styled", "`1`: pieces with classes for colours, in place of text"),
            stream::log_events,
        )
        .route(
            &get(
                "/api/v1/events",
                "Every state change as events `build`, `run`, `review`, `repository`; `reset` says to look at everything",
                Answer::Media("text/event-stream"),
            ),
            stream::events,
        )
        .route(
            &get("/api/v1/log", "The logs of all live builds in frames `@ build-log ID LEN`", Answer::Media("application/octet-stream"))
                .query("follow", "`1`: go on, with every build that begins"),
            frames::frames,
        )
        .route(&get("/api/logs/{id}", "As Chaotic Manager's clients know it", Answer::Media("text/plain")), chaotic::latest_log)
        .route(&get("/api/logs/{id}/{timestamp}", "As Chaotic Manager's clients know it", Answer::Media("text/plain")), chaotic::log)
}

fn deliveries() -> Described {
    Described::new().route(
        &Operation::delivery(
            "/hooks/{repository}",
            "Takes what the forge of a repository tells; it has to be signed with the webhook's secret",
            "Delivery",
        ),
        hooks::deliver,
    )
}

fn commands() -> Described {
    let post = Operation::post;
    caches::commands()
        .and(shelves::commands())
        .route(
            &post("/api/v1/deploy", "Builds packages now", Answer::One("RunDetail")).body("Packages"),
            commands::deploy,
        )
        .route(
            &post("/api/v1/bump", "Raises the bump of packages and builds them", Answer::One("RunDetail"))
                .body("Packages"),
            commands::bump,
        )
        .route(
            &post("/api/v1/add", "Takes packages into the monorepo and builds them", Answer::One("RunDetail"))
                .body("Newcomers"),
            commands::add,
        )
        .route(
            &post(
                "/api/v1/drop",
                "Takes packages out of the monorepo and of the published repository",
                Answer::One("RunDetail"),
            )
            .body("Leavers"),
            commands::drop,
        )
        .route(
            &post("/api/v1/run", "Runs a pipeline to its end", Answer::One("RunDetail")).body("RunRequest"),
            commands::run,
        )
        .route(
            &post("/api/v1/quarantine", "Takes packages out of service", Answer::One("RunDetail")).body("Because"),
            commands::quarantine,
        )
        .route(
            &post("/api/v1/lift", "Takes them back, and builds what was due", Answer::One("RunDetail")).body("Because"),
            commands::lift,
        )
        .route(
            &post("/api/v1/audit", "Where traces of a campaign are; may take minutes", Answer::One("Audit"))
                .body("AuditRequest"),
            commands::audit,
        )
        .route(&post("/api/v1/pause", "Stops schedules and polling", Answer::Many("Repository")), commands::pause)
        .route(&post("/api/v1/resume", "Takes them up again", Answer::Many("Repository")), commands::resume)
        .route(&post("/api/v1/builds/{id}/cancel", "Stops a build", Answer::One("BuildDetail")), commands::cancel)
        .route(
            &post("/api/v1/builds/{id}/retry", "Tries a build again that has ended", Answer::One("BuildDetail")),
            commands::retry,
        )
        .route(
            &post(
                "/api/v1/packages/{pkgbase}/release",
                "Builds a blocked package all the same",
                Answer::One("PackageDetail"),
            ),
            commands::release,
        )
        .route(
            &post(
                "/api/v1/reviews/{pkgbase}/approve",
                "Counts an approval of exactly this commit; the last that is needed merges and builds it",
                Answer::One("RunDetail"),
            )
            .body("Approval"),
            commands::approve,
        )
        .route(
            &post(
                "/api/v1/reviews/{pkgbase}/reject",
                "Closes the review and remembers its content",
                Answer::One("RunDetail"),
            )
            .body("Decision"),
            commands::reject,
        )
}

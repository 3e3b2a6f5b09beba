//! For machines that watch: is it alive, is it ready, how much of what.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Server;
use super::hub::Counters;
use crate::controller::view::{BuildView, GenerationView, QueueView, RepositoryView};
use crate::domain::build::BuildState;
use crate::web::fault::Fault;

/// How long the controller may take to answer a simple question.
const PATIENCE: Duration = Duration::from_secs(2);

/// `GET /healthz`: the process answers.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the controller answers.
pub async fn ready(State(server): State<Server>) -> Result<&'static str, Fault> {
    match tokio::time::timeout(PATIENCE, server.face().repositories()).await {
        Ok(Ok(_)) => Ok("ready\n"),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, "the controller does not answer in time")),
    }
}

/// `GET /metrics`
pub async fn metrics(State(server): State<Server>) -> Result<Response, Fault> {
    let face = server.face();
    let mut text = Exposition::default();
    text.family("pkgwarden_build_info", "gauge", "The version that runs.");
    text.sample("pkgwarden_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.queue(&face.queue().await?);
    text.repositories(&face.repositories().await?);
    text.generations(&face.generations().await?);
    text.counters(&server.hub().counters());
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0).into_response())
}

/// A gauge of repositories: its name, what it means, its value.
type Gauge = (&'static str, &'static str, fn(&RepositoryView) -> i64);

/// Text in Prometheus' format.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("writing to a string succeeds");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", quoted(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(self.0, "{name}{labels} {value}").expect("writing to a string succeeds");
    }

    fn queue(&mut self, queue: &QueueView) {
        self.family("pkgwarden_queue_builds", "gauge", "Builds that have not ended, by state.");
        let all: Vec<&BuildView> =
            [&queue.underway, &queue.ready, &queue.waiting, &queue.blocked].into_iter().flatten().collect();
        for state in BuildState::ALL.into_iter().filter(|state| !state.is_final()) {
            let count = all.iter().filter(|build| build.state == state).count();
            self.sample("pkgwarden_queue_builds", &[("state", state.as_str())], count);
        }
    }

    fn repositories(&mut self, repositories: &[RepositoryView]) {
        let each: [Gauge; 5] = [
            ("pkgwarden_packages", "Packages in the monorepo.", |repository| count(repository.packages)),
            ("pkgwarden_reviews_waiting", "Updates that wait for a person.", |repository| count(repository.reviews)),
            ("pkgwarden_paused", "1 while schedules and polling stand still.", |repository| {
                i64::from(repository.paused)
            }),
            ("pkgwarden_unreachable", "1 if the last look at the repository was in vain.", |repository| {
                repository.error.is_some().into()
            }),
            (
                "pkgwarden_looked_at_timestamp_seconds",
                "When the repository was last looked at; 0 if never.",
                |repository| repository.looked_at.map_or(0, jiff::Timestamp::as_second),
            ),
        ];
        for (name, help, value) in each {
            self.family(name, "gauge", help);
            for repository in repositories {
                self.sample(name, &[("repository", &repository.name)], value(repository));
            }
        }
    }

    fn generations(&mut self, generations: &[GenerationView]) {
        self.family("pkgwarden_published_packages", "gauge", "Packages that pacman sees now.");
        let current = generations.iter().find(|generation| generation.current);
        self.sample("pkgwarden_published_packages", &[], current.map_or(0, |current| current.packages));
    }

    fn counters(&mut self, counters: &Counters) {
        self.family("pkgwarden_builds_ended_total", "counter", "Builds that ended since the process began, by state.");
        for state in BuildState::ALL.into_iter().filter(|state| state.is_final()) {
            let count = counters.builds.get(state.as_str()).copied().unwrap_or(0);
            self.sample("pkgwarden_builds_ended_total", &[("state", state.as_str())], count);
        }
        self.family("pkgwarden_runs_ended_total", "counter", "Runs that ended since the process began.");
        for ((pipeline, state), count) in &counters.runs {
            self.sample("pkgwarden_runs_ended_total", &[("pipeline", pipeline), ("state", state)], count);
        }
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

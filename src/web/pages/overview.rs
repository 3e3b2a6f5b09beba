//! `/`: what needs a person first, then what happens by itself.

use askama::Template;
use axum::extract::{Extension, State};
use axum::response::Response;
use jiff::Timestamp;

use super::generations::HeldRow;
use super::reviews::{Task, task_of_review};
use super::{Who, page};
use crate::controller::face::{BuildFilter, Face, PackageFilter};
use crate::controller::view::{BuildView, GenerationView, PackageView, QueueView, RepositoryView, ReviewView};
use crate::domain::build::BuildState;
use crate::web::fault::Fault;
use crate::web::frame::{Frame, Pages};
use crate::web::link::run_href;
use crate::web::rows::{BuildRow, ProblemRow, RunRow};
use crate::web::time;

/// More than this is no longer read; the rest is a link away.
const MOST_TASKS: usize = 25;

#[derive(Template)]
#[template(path = "pages/overview.html")]
struct Overview {
    frame: Frame,
    repositories: Vec<RepositoryHead>,
    figures: Figures,
    held: Vec<HeldRow>,
    attention: Vec<Task>,
    more_attention: usize,
    problems: Vec<ProblemRow>,
    last_run: String,
    underway: Vec<BuildRow>,
    latest: Vec<BuildRow>,
    runs: Vec<RunRow>,
}

struct RepositoryHead {
    name: String,
    branch: String,
    main: String,
    packages: usize,
    looked_at: String,
    error: String,
}

struct Figures {
    building: usize,
    queued: usize,
    attention: usize,
    published: (String, String),
}

pub async fn overview(State(pages): State<Pages>, Extension(visitor): Who) -> Result<Response, Fault> {
    let (frame, repositories) = pages.frame(visitor, "/").await?;
    let (face, now) = (&*pages.face, frame.now);
    let queue = face.queue().await?;
    let mut attention = tasks(&face.reviews().await?, &face.packages(PackageFilter::default()).await?, &queue, now);
    let finished = face.builds(BuildFilter { limit: 60, ..BuildFilter::default() }).await?;
    let runs = face.runs(6).await?;
    let (last_run, problems) = last_problems(face, &runs).await?;
    let held = HeldRow::all(face.removals().await?);
    let figures = Figures {
        building: queue.underway.len(),
        queued: queue.ready.len() + queue.waiting.len() + queue.blocked.len(),
        attention: attention.len() + problems.len() + held.len(),
        published: published(&face.generations().await?),
    };
    let more_attention = attention.len().saturating_sub(MOST_TASKS);
    attention.truncate(MOST_TASKS);
    page(&Overview {
        repositories: repositories.iter().map(|repository| head(repository, now)).collect(),
        figures,
        held,
        attention,
        more_attention,
        problems,
        last_run,
        underway: BuildRow::all(&queue.underway, now),
        latest: finished
            .iter()
            .filter(|build| build.state.is_final())
            .take(10)
            .map(|build| BuildRow::new(build, now))
            .collect(),
        runs: runs.iter().map(|run| RunRow::new(run, now)).collect(),
        frame,
    })
}

fn head(repository: &RepositoryView, now: Timestamp) -> RepositoryHead {
    RepositoryHead {
        name: repository.name.clone(),
        branch: repository.branch.clone(),
        main: repository.main.map_or_else(|| "nothing yet".to_owned(), |main| main.short()),
        packages: repository.packages,
        looked_at: repository
            .looked_at
            .map_or_else(|| "not looked at yet".to_owned(), |at| format!("looked at {}", time::ago(at, now))),
        error: repository.error.clone().unwrap_or_default(),
    }
}

fn published(generations: &[GenerationView]) -> (String, String) {
    generations.iter().find(|generation| generation.current).map_or_else(
        || ("–".to_owned(), "published".to_owned()),
        |current| (current.packages.to_string(), format!("published, generation {}", current.number)),
    )
}

/// Everything that goes on only if somebody acts: reviews, the heaviest first, then failures, then what
/// they block.
fn tasks(reviews: &[ReviewView], packages: &[PackageView], queue: &QueueView, now: Timestamp) -> Vec<Task> {
    let mut reviews: Vec<_> = reviews.iter().collect();
    reviews.sort_by_key(|review| std::cmp::Reverse(review.verdict.severity));
    let in_queue = |pkgbase| {
        let live = [&queue.underway, &queue.ready, &queue.waiting, &queue.blocked];
        live.into_iter().flatten().any(|build| build.pkgbase == pkgbase)
    };
    let failed = packages
        .iter()
        .filter_map(|package| package.last_build.as_ref())
        .filter(|build| matches!(build.state, BuildState::Failed | BuildState::TimedOut | BuildState::Lost))
        .filter(|build| !in_queue(build.pkgbase.clone()));
    let mut tasks: Vec<_> = reviews.into_iter().map(task_of_review).collect();
    tasks.extend(failed.map(|build| task_of_build(build, "See why", now)));
    tasks.extend(queue.blocked.iter().map(|build| task_of_build(build, "Look", now)));
    tasks
}

fn task_of_build(build: &BuildView, action: &'static str, now: Timestamp) -> Task {
    let row = BuildRow::new(build, now);
    let note = if row.note.is_empty() { row.when.ago } else { format!("{} · {}", row.note, row.when.ago) };
    Task { badge: row.badge, href: row.href, pkgbase: row.pkgbase, versions: String::new(), note, action }
}

async fn last_problems(
    face: &dyn Face,
    runs: &[crate::controller::view::RunView],
) -> Result<(String, Vec<ProblemRow>), Fault> {
    let Some(last) = runs.iter().find(|run| run.ended.is_some()) else {
        return Ok((String::new(), Vec::new()));
    };
    let document = face.run(&last.id).await?.map(|run| run.document).unwrap_or_default();
    Ok((run_href(&last.id), ProblemRow::of_document(&document)))
}

//! `/generations` and `/generations/{repository}/{number}`: what was published when, and where each package came from.

use askama::Template;
use axum::extract::{Extension, Path, State};
use axum::response::Response;

use super::{Who, page};
use crate::controller::shelves::RemovalView;
use crate::controller::view::{EntryView, GenerationView};
use crate::web::fault::Fault;
use crate::web::frame::{Frame, Pages};
use crate::web::link::{Link, build_href, generation_href, run_href};
use crate::web::rows::Moment;
use crate::web::text::path_part;

#[derive(Template)]
#[template(path = "pages/generations.html")]
struct List {
    frame: Frame,
    held: Vec<HeldRow>,
    generations: Vec<GenerationRow>,
}

/// Packages that the guard against mass removal keeps published.
pub struct HeldRow {
    /// The monorepo that they left.
    pub repository: String,
    /// The packages.
    pub packages: Vec<String>,
    /// The package repository that would lose too much.
    pub from: String,
    /// How much it would lose.
    pub leaving: usize,
    /// How much it has.
    pub published: usize,
    /// What may go at once.
    pub limit: String,
    /// What to type to have them removed.
    pub confirm: String,
}

impl HeldRow {
    /// Those of these removals that somebody has to confirm.
    pub fn all(removals: Vec<RemovalView>) -> Vec<Self> {
        let row = |removal: RemovalView| {
            let held = removal.held?;
            Some(Self {
                repository: removal.repository,
                packages: removal.packages.iter().map(ToString::to_string).collect(),
                from: held.from,
                leaving: held.leaving,
                published: held.published,
                limit: held.limit,
                confirm: held.confirm,
            })
        };
        removals.into_iter().filter_map(row).collect()
    }
}

struct GenerationRow {
    repository: String,
    href: String,
    number: u64,
    current: bool,
    packages: usize,
    built: usize,
    reused: usize,
    restores: Option<u64>,
    published: Option<Moment>,
}

impl GenerationRow {
    fn new(view: &GenerationView, frame: &Frame) -> Self {
        Self {
            repository: view.repository.clone(),
            href: generation_href(&view.repository, view.number),
            number: view.number,
            current: view.current,
            packages: view.packages,
            built: view.built,
            reused: view.reused,
            restores: view.restores,
            published: view.published.map(|at| Moment::new(at, frame.now)),
        }
    }
}

pub async fn list(State(pages): State<Pages>, Extension(visitor): Who) -> Result<Response, Fault> {
    let (frame, _) = pages.frame(visitor, "/generations").await?;
    let generations = pages.face.generations().await?;
    page(&List {
        held: HeldRow::all(pages.face.removals().await?),
        generations: generations.iter().map(|view| GenerationRow::new(view, &frame)).collect(),
        frame,
    })
}

#[derive(Template)]
#[template(path = "pages/generation.html")]
struct One {
    frame: Frame,
    generation: GenerationRow,
    built: Vec<EntryRow>,
    reused: Vec<EntryRow>,
    removed: Vec<String>,
    document: String,
}

struct EntryRow {
    package: Link,
    name: String,
    version: String,
    file: String,
    sha256: String,
    build: Option<Link>,
    run: Option<String>,
}

impl EntryRow {
    fn new(entry: &EntryView) -> Self {
        Self {
            package: Link::package(entry.pkgbase.as_str()),
            name: entry.name.clone(),
            version: entry.version.to_string(),
            file: entry.file.clone(),
            sha256: entry.sha256.clone(),
            build: entry.build.as_ref().map(|build| Link { href: build_href(build), label: build.clone() }),
            run: entry.run.as_deref().map(run_href),
        }
    }
}

pub async fn one(
    State(pages): State<Pages>,
    Extension(visitor): Who,
    Path((repository, number)): Path<(String, u64)>,
) -> Result<Response, Fault> {
    let (frame, _) = pages.frame(visitor, "/generations").await?;
    let found = pages.face.generation(&repository, number).await?;
    let missing = || Fault::not_found(format!("there is no generation {number} of `{repository}`"));
    let found = found.ok_or_else(missing)?;
    let of = |origin: &str| {
        let entries = found.entries.iter().filter(|entry| entry.origin.as_str() == origin);
        entries.map(EntryRow::new).collect::<Vec<_>>()
    };
    page(&One {
        generation: GenerationRow::new(&found.generation, &frame),
        built: of("built"),
        reused: of("reused"),
        removed: found.removed.clone(),
        document: format!("/api/v1/generations/{}/{number}", path_part(&repository)),
        frame,
    })
}

//! One attempt from its order to its report.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::builder::artefact::{self, Artefact, Collected, Expectation};
use crate::builder::cache;
use crate::builder::interfere::{Interference, for_any_machine};
use crate::builder::makepkg::{Job, Phase};
use crate::builder::pacman::{PackageRepository, Server};
use crate::builder::tools;
use crate::builder::verdict::{Exit, Verdict, judge};
use crate::builder::workspace::{Workspace, WorkspaceError};
use crate::domain::build::Outcome;
use crate::domain::signature::{Decision, Signatures, mentions_signatures};
use crate::executor::kept::blocking;
use crate::executor::{AttemptReport, BuildOrder, Ending};
use crate::logstore::LogWriter;
use crate::sys::fs::{FsError, ensure_free};
use crate::sys::sandbox::System;
use crate::telemetry::in_full;

use super::caching::Caching;
use super::desk::Desk;
use super::hooks::is_failure;
use super::image::Image;
use super::step::{self, Limits, StepError};
use super::{Inner, proxies};

/// A build does not begin with less room than this: 64 MiB.
pub const MIN_FREE: u64 = 64 << 20;
/// How long it may take at least to take in what a build made, and what it keeps for the next one, once it is done.
const TAKING_IN: Duration = Duration::from_mins(10);

/// One attempt under way.
pub struct Attempt {
    pub inner: Arc<Inner>,
    pub order: Arc<BuildOrder>,
    pub log: LogWriter,
    pub limits: Limits,
    /// The files of the package folder with the keys that signatures are verified by, once that is decided.
    pub keys: Vec<String>,
    /// The image that it is done in, if it is done in one.
    pub image: Option<Arc<Image>>,
    /// What it keeps for the next build, and finds of an earlier one.
    pub caching: Caching,
}

/// Why an attempt went no further.
pub enum Stop {
    Verdict(Verdict, Option<i32>),
    Step(StepError),
    Fs(FsError),
    Package(String),
}

impl From<FsError> for Stop {
    fn from(error: FsError) -> Self {
        Self::Fs(error)
    }
}

impl From<WorkspaceError> for Stop {
    fn from(error: WorkspaceError) -> Self {
        match error {
            WorkspaceError::Fs(error) => Self::Fs(error),
            bad => Self::Package(bad.to_string()),
        }
    }
}

impl Attempt {
    /// Builds, cleans up and reports. Whatever happens is in the report.
    pub async fn run(mut self) -> (AttemptReport, LogWriter) {
        let dir = self.inner.attempt_dir(&self.order.attempt);
        let report = match self.build().await {
            Ok((artefacts, message)) => {
                AttemptReport { ending: Ending::Done(Outcome::Succeeded), artefacts, exit_code: Some(0), message }
            }
            Err(stop) => stop.report(),
        };
        let user = self.inner.user;
        let keep_artefacts = !report.artefacts.is_empty();
        let cleaned = blocking(move || {
            let workspace = Workspace::at(dir, user);
            if keep_artefacts { workspace.remove_tree() } else { workspace.remove() }
        });
        if let Err(error) = cleaned.await {
            tracing::warn!(attempt = %self.order.attempt, %error, "cannot clean up after a build");
        }
        (report, self.log)
    }

    /// What was made, and what there is to say about it.
    async fn build(&mut self) -> Result<(Vec<Artefact>, String), Stop> {
        self.choose_image().await?;
        let (workspace, job) = self.prepare().await?;
        if let Err(stop) = self.make(&workspace, &job).await {
            if is_failure(&stop) {
                self.hook(Phase::OnFailure, &workspace, &job).await;
            }
            return Err(stop);
        }
        let remark = self.hook(Phase::OnSuccess, &workspace, &job).await;
        if self.limits.cancel.is_cancelled() {
            return Err(Stop::Step(StepError::Cancelled));
        }
        // It was in time; what came after it takes none of that.
        self.limits.deadline = self.limits.deadline.max(Instant::now() + TAKING_IN);
        let artefacts = self.collect(&workspace).await?;
        self.save_sets(&workspace, &job).await?;
        Ok((artefacts, remark.unwrap_or_default()))
    }

    async fn make(&mut self, workspace: &Workspace, job: &Job) -> Result<(), Stop> {
        let mut interference = Interference::of(&self.order.files, self.order.bump.clone());
        rewrite_pkgbuild(workspace, for_any_machine)?;
        if interference.prepare {
            self.step(Phase::Prepare, workspace, job).await?;
        }
        if interference.patch {
            self.step(Phase::Patch, workspace, job).await?;
        }
        let pkgbuild = workspace.pkgbuild()?.unwrap_or_default();
        let pkgbuild = String::from_utf8_lossy(&pkgbuild);
        let has = |path: &str| job.system.has(path);
        interference.tools = tools::lacking(&self.order.pkgbase, &pkgbuild, &job.repositories, has);
        rewrite_pkgbuild(workspace, |original| interference.pkgbuild(original))?;
        let summary = self.inspect(workspace, job).await?;
        self.verify_signatures(&summary, workspace, job).await?;
        self.caching.know_sources(&summary);
        if !job.repositories.is_empty() {
            self.sync(workspace, job).await?;
        }
        self.restore_sets(true, workspace, job).await?;
        self.step(Phase::Fetch, workspace, job).await?;
        self.stage_sources(workspace, job).await?;
        self.restore_sets(false, workspace, job).await?;
        self.step(Phase::Build, workspace, job).await
    }

    /// Has pacman know what there is to install, and whom to trust.
    async fn sync(&mut self, workspace: &Workspace, job: &Job) -> Result<(), Stop> {
        if !job.keys().is_empty() {
            self.step(Phase::Trust, workspace, job).await?;
        }
        match self.step(Phase::Sync, workspace, job).await {
            // A database and its signature are two files, and may be replaced while the first is on its way.
            Err(Stop::Verdict(Verdict::Infrastructure(_), _)) => self.step(Phase::Sync, workspace, job).await,
            done => done,
        }
    }

    /// Sees to it that the image is there that builds are done in here, if they are done in one.
    async fn choose_image(&mut self) -> Result<(), Stop> {
        let inner = Arc::clone(&self.inner);
        let Some(images) = &inner.images else { return Ok(()) };
        let image = tokio::select! {
            biased;
            () = self.limits.cancel.cancelled() => Err(StepError::Cancelled),
            () = tokio::time::sleep_until(self.limits.deadline) => Err(StepError::TimedOut),
            image = images.current() => image.map_err(StepError::from),
        };
        let image = image.map_err(Stop::Step)?;
        self.note(&format!("in the image {} ({})", images.config().name, image.id))?;
        self.image = Some(image);
        Ok(())
    }

    /// Makes the directories of the attempt and everything in them that the steps need.
    async fn prepare(&mut self) -> Result<(Workspace, Job), Stop> {
        let (inner, order, image) = (Arc::clone(&self.inner), Arc::clone(&self.order), self.image.clone());
        blocking(move || {
            ensure_free(&inner.config.work_dir, MIN_FREE)?;
            let workspace = Workspace::create(inner.attempt_dir(&order.attempt), inner.user)?;
            workspace.write_package(&order.files)?;
            workspace.mark_published(&order.published)?;
            let image = image.as_deref();
            let installed = image.map(Image::installed).or_else(|| inner.config.installed.clone());
            workspace.know_installed(installed.as_deref())?;
            let keyring = inner.config.keyring.clone().or_else(|| image.and_then(Image::keyring));
            workspace.know_keyring(keyring.as_deref())?;
            cache::prepare(&workspace)?;
            let system = image.map_or_else(System::of_this_machine, Image::system);
            let job = job(&inner, &order, system, keyring.is_some());
            for (name, text) in job.config_files() {
                workspace.write_config(name, &text)?;
            }
            Ok((workspace, job))
        })
        .await
    }

    /// Has makepkg say what the PKGBUILD comes to, where something depends on that; otherwise says nothing.
    async fn inspect(&mut self, workspace: &Workspace, job: &Job) -> Result<String, Stop> {
        let pkgbuild = workspace.pkgbuild()?.unwrap_or_default();
        if !mentions_signatures(&String::from_utf8_lossy(&pkgbuild)) && !self.caching.keeps_verified() {
            return Ok(String::new());
        }
        self.step(Phase::Inspect, workspace, job).await?;
        let summary = workspace.take_printed()?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&summary).into_owned())
    }

    /// Sees to it that signatures are verified from here on, if they are to be.
    async fn verify_signatures(&mut self, summary: &str, workspace: &Workspace, job: &Job) -> Result<(), Stop> {
        let signatures = Signatures::of_summary(summary);
        match signatures.decide(&self.order.files, self.inner.config.pgp) {
            Decision::Nothing => Ok(()),
            Decision::Skip(why) => self.note(&format!("signatures are not verified: {why}")),
            Decision::Refuse(why) => Err(Stop::Package(format!("signatures cannot be verified: {why}"))),
            Decision::Verify(files) => {
                self.keys = files;
                self.step(Phase::Keys, workspace, job).await
            }
        }
    }

    pub(super) fn note(&mut self, line: &str) -> Result<(), Stop> {
        self.log.note(line).map_err(|error| Stop::Step(error.into()))
    }

    pub(super) async fn step(&mut self, phase: Phase, workspace: &Workspace, job: &Job) -> Result<(), Stop> {
        self.note(&format!("{}: {}", phase.name(), phase.command(&self.keys).join(" ")))?;
        let mut spec = job.sandbox(phase, workspace, &self.keys);
        let mut desk = None;
        if phase == Phase::Build {
            let open = self.caching.plan.commands;
            cache::offer(&mut spec, workspace, open, self.caching.plan.largest());
            desk = if open { Some(Desk::open(workspace)?) } else { None };
        }
        let program = step::sandboxed(&spec, self.inner.user);
        let running = step::run(&self.inner.launcher, program, &mut self.log, &self.limits);
        let end = match desk {
            Some(desk) => tokio::select! {
                end = running => end,
                never = desk.serve(&mut self.caching, &self.limits) => never,
            },
            None => running.await,
        };
        let end = end.map_err(Stop::Step)?;
        match judge(phase, end.exit, &end.printed, self.order.skip_exit_code) {
            Verdict::Next => Ok(()),
            verdict => Err(Stop::Verdict(verdict, code(end.exit))),
        }
    }

    async fn collect(&mut self, workspace: &Workspace) -> Result<Vec<Artefact>, Stop> {
        let expected = Expectation::of(&self.order.pkgbase, &self.order.arch, &self.order.files);
        let (from, to) = (workspace.path("pkgdest"), workspace.artefacts());
        let limits = self.limits.clone();
        let collected = blocking(move || {
            artefact::collect(&from, &to, &expected, || limits.check().is_ok()).map_err(|error| {
                let failed = |()| match error.kind() {
                    ErrorKind::InvalidData => Stop::Package(error.to_string()),
                    _ => Stop::Fs(FsError::new("collect packages from", &from, error)),
                };
                limits.check().map_or_else(Stop::Step, failed)
            })
        });
        let Collected { artefacts, ignored } = collected.await?;
        for name in &ignored {
            self.remark(&format!("left out `{name}`: it is not a package of {}", self.order.pkgbase));
        }
        if artefacts.is_empty() {
            let text = format!("makepkg ended well, but left no file that is a package of {}", self.order.pkgbase);
            return Err(Stop::Package(text));
        }
        Ok(artefacts)
    }
}

impl Stop {
    pub(super) fn report(self) -> AttemptReport {
        let (ending, exit_code, message) = match self {
            Self::Verdict(Verdict::Ended(outcome, message), code) => (Ending::Done(outcome), code, message),
            Self::Verdict(Verdict::Infrastructure(message), code) => (Ending::Infrastructure, code, message),
            Self::Verdict(Verdict::Next, _) => unreachable!("a step that may be followed by another stops nothing"),
            Self::Package(message) => (Ending::Done(Outcome::Failed), None, message),
            Self::Fs(error) => (Ending::Infrastructure, None, in_full(&error)),
            Self::Step(error) => (ending_of(&error), None, in_full(&error)),
        };
        AttemptReport::ended(ending, message).with_status(exit_code)
    }
}

fn ending_of(error: &StepError) -> Ending {
    match error {
        StepError::Cancelled => Ending::Done(Outcome::Cancelled),
        StepError::TimedOut => Ending::Done(Outcome::TimedOut),
        StepError::LogLimit { .. } => Ending::Done(Outcome::Failed),
        StepError::Image(_)
        | StepError::Sandbox(_)
        | StepError::Process(_)
        | StepError::Log(_)
        | StepError::Pipe(_) => Ending::Infrastructure,
    }
}

const fn code(exit: Exit) -> Option<i32> {
    match exit {
        Exit::Code(code) => Some(code),
        Exit::Signal(_) => None,
    }
}

fn job(inner: &Inner, order: &BuildOrder, system: System, verified: bool) -> Job {
    Job {
        system,
        arch: order.arch.clone(),
        repositories: order.package_repositories.iter().filter_map(usable).collect(),
        packager: inner.config.packager.clone(),
        source_date_epoch: order.source_date_epoch,
        skip_exit_code: order.skip_exit_code,
        allow_prohibited: order.allow_prohibited,
        jobs: inner.config.jobs,
        verified,
        proxies: proxies(),
        variables: order.caches.env(),
    }
}

/// A directory in which nothing was published yet is no repository. One that was is pinned to the
/// generation it shows now.
fn usable(repository: &PackageRepository) -> Option<PackageRepository> {
    match &repository.server {
        Server::Url(_) => Some(repository.clone()),
        Server::Directory(path) => {
            let real = path.canonicalize().ok()?;
            let has_database = real.join(format!("{}.db", repository.name)).exists();
            has_database.then(|| PackageRepository { server: Server::Directory(real), ..repository.clone() })
        }
    }
}

fn rewrite_pkgbuild(workspace: &Workspace, rewritten: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<(), Stop> {
    let Some(original) = workspace.pkgbuild()? else {
        return Err(Stop::Package("the package folder has no PKGBUILD that is an ordinary file".to_owned()));
    };
    let wanted = rewritten(&original);
    if wanted != original {
        workspace.replace_pkgbuild(&wanted)?;
    }
    Ok(())
}

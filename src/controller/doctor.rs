//! Whether this machine, these settings and the other ends of the network can do the work, and how to
//! mend what cannot.
//!
//! Looks and changes nothing. Not for what is wrong inside a monorepo: that is [`super::inspect`].

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::builder::user::BuildUser;
use crate::config::Settings;
use crate::config::settings::{ExecutorKind, ForgeKind, Repository};
use crate::domain::review::Permission;
use crate::executor::local::{keyring, probe};
use crate::forge::{Forge, ForgeError};
use crate::git::Remote;
use crate::sys::fs::free_space;
use crate::sys::http;
use crate::sys::lookup::startable;

mod trust;

/// How long one question to the network may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// With less room than this, nothing can be kept or published: 256 MiB.
const LEAST_ROOM: u64 = 256 << 20;

/// With less room than this, a large package will not build: 5 GiB.
const GOOD_ROOM: u64 = 5 << 30;

/// The oldest git whose push is what we need: major and minor version.
const OLDEST_GIT: (u32, u32) = (2, 31);

/// A time zone that every complete database has.
const WELL_KNOWN_ZONE: &str = "Europe/Berlin";

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All well.
    Ok,
    /// The work can be done, but somebody should look.
    Warning,
    /// Something that is needed is missing.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it belongs to: `tool`, `sandbox`, `directory`, `configuration`, `remote`, `forge`, `copr`,
    /// `redis`, `aur`, `time`.
    pub area: &'static str,
    /// What was looked at.
    pub subject: String,
    /// How it ended.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// How to mend it; empty if there is nothing to mend.
    pub hint: String,
}

impl Check {
    /// Something that is as it should be.
    pub fn found(area: &'static str, subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { area, subject: subject.into(), status: Status::Ok, detail: detail.into(), hint: String::new() }
    }

    /// The same, but something is wrong with it.
    #[must_use]
    pub fn but(self, status: Status, hint: impl Into<String>) -> Self {
        Self { status, hint: hint.into(), ..self }
    }

    /// Something that is needed and missing.
    pub fn error(
        area: &'static str,
        subject: impl Into<String>,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::found(area, subject, detail).but(Status::Error, hint)
    }

    fn warning(
        area: &'static str,
        subject: impl Into<String>,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::found(area, subject, detail).but(Status::Warning, hint)
    }
}

/// The programs that are needed, and the sandbox if packages are built here, which is tried as that user.
pub async fn tools(builds_as: Option<&str>) -> Vec<Check> {
    let reports = probe::probe(builds_as.unwrap_or("nobody")).await;
    let needed = |tool: &str| builds_as.is_some() || tool == "git";
    reports.into_iter().filter(|report| needed(report.tool)).map(tool).collect()
}

fn tool(report: probe::ToolReport) -> Check {
    let (area, subject) = if report.tool == "sandbox" { ("sandbox", "bubblewrap") } else { ("tool", report.tool) };
    if !report.usable {
        return Check::error(area, subject, report.detail, report.remedy.unwrap_or_default());
    }
    let too_old = report.tool == "git" && version(&report.detail).is_some_and(|version| version < OLDEST_GIT);
    let check = Check::found(area, subject, report.detail);
    if let Some(remedy) = report.remedy {
        return check.but(Status::Warning, remedy);
    }
    let (major, minor) = OLDEST_GIT;
    if too_old { check.but(Status::Error, format!("install git {major}.{minor} or newer")) } else { check }
}

/// Major and minor version in `git version 2.47.3`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The directories that are written to: for data, and for each repository's packages.
#[must_use]
pub fn directories(settings: &Settings) -> Vec<Check> {
    let user = build_user(settings).and_then(|name| BuildUser::resolve(name).ok());
    let mut checks = data_directory(settings, user.as_ref());
    for repository in settings.repositories.iter().filter(|repository| repository.executor.kind != ExecutorKind::None) {
        let subject = format!("publish.dir of {}", repository.name);
        checks.extend(directory(&subject, &repository.publish.dir, user.as_ref()));
    }
    checks
}

/// The directory for data, which that user has to enter.
#[must_use]
pub fn data_directory(settings: &Settings, user: Option<&BuildUser>) -> Vec<Check> {
    directory("server.data_dir", &settings.server.data_dir, user)
}

/// Who builds run as; `None` if nothing is built on this machine.
#[must_use]
pub fn build_user(settings: &Settings) -> Option<&str> {
    let local = |repository: &&Repository| repository.executor.kind == ExecutorKind::Local;
    let repository = settings.repositories.iter().find(local)?;
    Some(repository.executor.local.user.as_deref().unwrap_or("nobody"))
}

/// One directory, which need not be there yet: whether it can be written and entered, and how full it is.
fn directory(subject: &str, path: &Path, user: Option<&BuildUser>) -> Vec<Check> {
    let shown = path.display();
    let there = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    if !there.is_dir() {
        let detail = format!("{} is not a directory", there.display());
        return vec![Check::error("directory", subject, detail, "move it away, or name another directory")];
    }
    // A file without a name: nothing is left of it.
    if let Err(error) = tempfile::tempfile_in(there) {
        let detail = format!("{shown} cannot be written: {} says {error}", there.display());
        let hint = "give it to the user that runs pkgwarden, or name another directory";
        return vec![Check::error("directory", subject, detail, hint)];
    }
    let state = if there == path { "can be written" } else { "will be created" };
    let mut checks = vec![Check::found("directory", subject, format!("{shown} {state}")), room(subject, there)];
    if let Some(error) = user.and_then(|user| user.check_access(there).err()) {
        checks.push(Check::error(
            "directory",
            subject,
            error.to_string(),
            "or run pkgwarden as another user than root: builds then run as that user",
        ));
    }
    checks
}

fn room(subject: &str, there: &Path) -> Check {
    let free = match free_space(there) {
        Ok(free) => free,
        Err(error) => return Check::warning("directory", subject, format!("the free space is unknown: {error}"), ""),
    };
    let check = Check::found("directory", subject, format!("{} MiB are free", free >> 20));
    match free {
        ..LEAST_ROOM => check.but(Status::Error, "make room, or name a directory on another file system"),
        LEAST_ROOM..GOOD_ROOM => check.but(Status::Warning, "large packages will not build; make room"),
        GOOD_ROOM.. => check,
    }
}

/// Settings that are right by themselves and ask for something that is not there.
#[must_use]
pub fn configuration(settings: &Settings) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(path) = &settings.server.token_file {
        checks.push(secret_file("server.token_file", path));
    }
    for repository in settings.repositories.iter().filter(|it| it.forge.kind != ForgeKind::Local) {
        let forge = &repository.forge;
        let key = forge.app.as_ref().map(|app| ("forge.app_key_file", &app.key_file));
        let file = key.or_else(|| forge.token_file.as_ref().map(|file| ("forge.token_file", file)));
        checks.extend(file.map(|(name, path)| secret_file(&format!("{name} of {}", repository.name), path)));
    }
    let builds_alone =
        |it: &&Repository| it.executor.kind == ExecutorKind::Local && it.executor.local.repositories.is_empty();
    checks.extend(settings.repositories.iter().filter(builds_alone).map(builds_without_distribution));
    checks.extend(settings.repositories.iter().flat_map(|repository| trust::checks(repository, keyring().is_some())));
    for Repository { executor, .. } in &settings.repositories {
        match executor.kind {
            ExecutorKind::Command => checks.extend(executor.command.program.as_deref().map(program)),
            ExecutorKind::Bullmq if settings.server.public_url.is_none() => checks.push(unreachable_pages(settings)),
            _ => {}
        }
    }
    checks
}

fn program(program: &Path) -> Check {
    const SUBJECT: &str = "executor.command.program";
    match startable(&program.display().to_string()) {
        Ok(()) => Check::found("configuration", SUBJECT, format!("{} can be started", program.display())),
        Err(reason) => Check::error("configuration", SUBJECT, reason, "name a program by its whole path"),
    }
}

fn unreachable_pages(settings: &Settings) -> Check {
    let detail = format!(
        "not set: builders are told to fetch files and bring packages at http://{}, which only this machine may reach",
        settings.server.listen
    );
    let hint = "set it to the address at which builders reach this controller";
    Check::warning("configuration", "server.public_url", detail, hint)
}

fn builds_without_distribution(repository: &Repository) -> Check {
    let hint = "name those of the distribution, as [[executor.local.repository]] with `name` and `server`";
    let detail = "none: builds find only what this monorepo publishes";
    Check::warning("configuration", format!("executor.local.repository of {}", repository.name), detail, hint)
}

fn secret_file(subject: &str, path: &Path) -> Check {
    let opened = std::fs::File::open(path).and_then(|file| file.metadata());
    match opened {
        Err(error) => {
            let detail = format!("{} cannot be read: {error}", path.display());
            Check::error("configuration", subject, detail, "create it, readable by the user that runs pkgwarden")
        }
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            let detail = format!("{} can be read by other users", path.display());
            Check::warning("configuration", subject, detail, format!("chmod 600 {}", path.display()))
        }
        Ok(_) => Check::found("configuration", subject, format!("{} can be read", path.display())),
    }
}

/// The monorepo where it is hosted: whether it answers and has what a run works on.
pub async fn remote(repository: &str, remote: &Remote, branch: &str) -> Vec<Check> {
    let refs = match remote.refs(branch).await {
        Ok(refs) => refs,
        Err(error) => {
            let hint = "check the address, the network and the credentials: `git ls-remote` with it shows the same";
            return vec![Check::error("remote", repository, error.to_string(), hint)];
        }
    };
    let mut checks = vec![Check::found("remote", repository, "it answers")];
    checks.push(match refs.main {
        Some(tip) => Check::found("remote", repository, format!("branch {branch} is at {}", tip.short())),
        None => Check::error(
            "remote",
            repository,
            format!("it has no branch {branch}"),
            "set `branch` of the [[repository]], or push a first commit",
        ),
    });
    checks.push(match refs.scheduled {
        Some(id) => Check::found("remote", repository, format!("tag scheduled is at {}", id.short())),
        None => Check::warning(
            "remote",
            repository,
            "it has no tag scheduled",
            "the first run counts the newest commit only, and sets it; `pkgwarden run deploy all` builds everything",
        ),
    });
    checks.push(match refs.state {
        Some(id) => Check::found("remote", repository, format!("branch state is at {}", id.short())),
        None => Check::found("remote", repository, "it has no branch state yet; the first on-schedule run makes it"),
    });
    checks
}

/// Whether the forge knows us, and lets us do what reviews need.
pub async fn forge(repository: &str, forge: &dyn Forge) -> Vec<Check> {
    let failed = |error: &ForgeError| {
        let hint = error.hint().unwrap_or("check forge.api_url and forge.project, and the network");
        Check::error("forge", repository, error.to_string(), hint)
    };
    let me = match forge.me().await {
        Ok(me) => me,
        Err(error) => return vec![failed(&error)],
    };
    let mut checks = vec![Check::found("forge", repository, format!("{} knows us as {me}", forge.shown()))];
    match forge.offers().await {
        Ok(offers) => {
            checks.push(Check::found("forge", repository, format!("{} proposals of people are open", offers.len())));
        }
        Err(error) => checks.push(failed(&error)),
    }
    // An app has no account among those that are asked about.
    if !me.ends_with("[bot]") {
        checks.push(match forge.permission(me.clone()).await {
            Ok(Permission::Read) => {
                let hint = "give that account the right to push, or name a file with the token of another";
                Check::error("forge", repository, format!("{me} may only read {}", forge.shown()), hint)
            }
            Ok(Permission::Write | Permission::Admin) => {
                Check::found("forge", repository, format!("{me} may write to it"))
            }
            Err(error) => failed(&error),
        });
    }
    checks
}

/// Whether the index of the AUR answers. Nothing of it is read.
pub async fn aur_index(url: &str, shown: &str) -> Check {
    let hint = "until it answers, updates from the AUR are unknown and nothing is lost; see sources.aur.metadata_url";
    match http::client(PATIENCE).get(url).send().await {
        Ok(answer) if answer.status().is_success() => Check::found("aur", "index", format!("{shown} answers")),
        Ok(answer) => Check::error("aur", "index", format!("{shown} answers {}", answer.status()), hint),
        Err(error) => {
            let error = anyhow::Error::from(error.without_url());
            Check::error("aur", "index", format!("{shown} cannot be reached: {error:#}"), hint)
        }
    }
}

/// Whether the git repository with a branch for each AUR package answers.
pub async fn aur_mirror(remote: &Remote) -> Check {
    match remote.ls(&["refs/heads/main".to_owned()]).await {
        Ok(_) => Check::found("aur", "mirror", "it answers"),
        Err(error) => Check::error(
            "aur",
            "mirror",
            error.to_string(),
            "mend it, or set sources.aur.prefer = \"git\" to ask the AUR itself",
        ),
    }
}

/// Whether schedules may name time zones. Those that are configured have been found already.
#[must_use]
pub fn time_zones() -> Check {
    match jiff::tz::TimeZone::get(WELL_KNOWN_ZONE) {
        Ok(_) => Check::found("time", "time zones", "the database is there"),
        Err(_) => Check::warning(
            "time",
            "time zones",
            "there is no database of time zones, so schedules can only be in UTC",
            "install `tzdata`",
        ),
    }
}

#[cfg(test)]
mod tests;

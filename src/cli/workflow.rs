//! `pkgwarden init --ci`: installs the file that has a CI service run this program.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::context::{self, Context};
use super::error::CliError;
use super::exit::Exit;
use super::output::Format;
use super::pipeline::block_on;
use crate::config::repository;
use crate::controller::inspect::Inspection;
use crate::controller::workflow::templates;
use crate::domain::workflow::{Service, Step, step};
use crate::sys::fs;

/// The file of GitLab that includes ours.
const GITLAB_MAIN: &str = ".gitlab-ci.yml";

/// A service, as it is named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Wanted {
    /// GitHub Actions
    Github,
    /// GitLab CI
    Gitlab,
    /// The actions of Gitea and Forgejo
    Gitea,
}

impl From<Wanted> for Service {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Github => Self::GitHub,
            Wanted::Gitlab => Self::GitLab,
            Wanted::Gitea => Self::Gitea,
        }
    }
}

/// What was done.
#[derive(Serialize)]
struct Told {
    file: &'static str,
    /// `installed`, `updated` or `current`.
    done: &'static str,
    written: bool,
    /// What a person still has to do.
    next: Option<String>,
}

/// Installs the file of a service, or brings it up to date. One that somebody changed stays.
///
/// # Errors
/// If that is so, the file cannot be written, or the template repository cannot be read.
pub fn install(wanted: Wanted, dir: &Path, dry_run: bool, context: &mut Context) -> Result<Exit, CliError> {
    let inspection = context::open(dir)?;
    if !dir.join(".git").exists() {
        let message = format!("{} is not the top of a clone with its files", dir.display());
        return Err(CliError::from(anyhow::Error::msg(message)).hint("name the top of a clone, not a bare repository"));
    }
    let service = Service::from(wanted);
    let path = dir.join(service.path());
    let present = read(&path)?;
    let template = template(service, &inspection)?;
    let (done, text) = match step(present.as_deref(), &template) {
        Step::Install(text) => ("installed", Some(text)),
        Step::Update(text) => ("updated", Some(text)),
        Step::Current => ("current", None),
        Step::Changed | Step::Foreign if dry_run => ("kept", None),
        Step::Changed => return Err(kept(&path, "somebody changed it since it was installed")),
        Step::Foreign => return Err(kept(&path, "it was not installed by pkgwarden")),
    };
    if dry_run {
        context.output.text(text.as_deref().unwrap_or(&template))?;
        return Ok(Exit::Done);
    }
    if let Some(text) = &text {
        write(&path, text)?;
    }
    let next = if service == Service::GitLab { include(dir)? } else { None };
    let told = Told { file: service.path(), done, written: text.is_some(), next };
    match context.output.format {
        Format::Json => context.output.json(&told)?,
        Format::Text => {
            let next = told.next.map(|next| format!("{next}\n")).unwrap_or_default();
            let commit = if told.written { "look at it, then commit it\n" } else { "" };
            context.output.text(format_args!("{} {}\n{next}{commit}", told.done, path.display()))?;
        }
    }
    Ok(Exit::Done)
}

/// The newest file: that of the template repository which `.ci/config` names, or our own.
fn template(service: Service, inspection: &Inspection) -> Result<String, CliError> {
    let config = inspection.text("HEAD", repository::PATH)?.unwrap_or_default();
    let Some(address) = repository::parse(&config, None).0.template_repository else {
        return Ok(service.template().to_owned());
    };
    let mut files = block_on(async { templates(&address).await.context("TEMPLATE_REPO cannot be read") })?;
    Ok(files.remove(service.path()).unwrap_or_else(|| service.template().to_owned()))
}

fn kept(path: &Path, why: &str) -> CliError {
    let hint =
        "`--dry-run` prints the newest version, to take over what is new; delete the file to have it installed anew";
    CliError::from(anyhow::Error::msg(format!("{} is left as it is: {why}", path.display()))).hint(hint)
}

/// Has GitLab's own file include ours if there is none; else says what to add to it.
fn include(dir: &Path) -> Result<Option<String>, CliError> {
    let path = dir.join(GITLAB_MAIN);
    let line = format!("include:\n  - local: {}\n", Service::GitLab.path());
    match read(&path)? {
        None => {
            write(&path, &line)?;
            Ok(Some(format!("wrote {}, which includes it", path.display())))
        }
        Some(text) if text.contains(Service::GitLab.path()) => Ok(None),
        Some(_) => Ok(Some(format!("add to {}:\n{line}", path.display()))),
    }
}

fn read(path: &Path) -> Result<Option<String>, CliError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(anyhow::Error::from(error).context(format!("cannot read {}", path.display())).into()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let folder = path.parent().context("a file is in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the directory {}", folder.display()))?;
    Ok(fs::write_atomic(path, text.as_bytes()).map_err(anyhow::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Ran, pkgwarden};
    use super::*;
    use crate::domain::workflow::SERVICES;
    use crate::sys::process::Program;

    fn git(dir: &Path, args: &[&str]) {
        let identity = ["-c", "user.name=T", "-c", "user.email=t@example.org"];
        let program = Program::new("git").args(identity).args(args).current_dir(dir);
        let output = program.env("GIT_CONFIG_GLOBAL", "/dev/null").run_blocking().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", output.stderr_text());
    }

    fn clone() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        git(dir.path(), &["init", "--quiet", "--initial-branch=main"]);
        git(dir.path(), &["commit", "--quiet", "--allow-empty", "--message=first"]);
        dir
    }

    fn init(dir: &Path, args: &[&str]) -> Ran {
        pkgwarden(&[&["init", dir.to_str().expect("text"), "--ci"], args].concat(), &[])
    }

    #[test]
    fn a_file_is_installed_and_one_that_somebody_changed_stays() {
        for (word, service) in ["github", "gitlab", "gitea"].into_iter().zip(SERVICES) {
            let dir = clone();
            let path = dir.path().join(service.path());
            assert!(init(dir.path(), &[word, "--dry-run"]).stdout.contains("pkgwarden run") && !path.exists());
            let ran = init(dir.path(), &[word]);
            assert!(ran.exit == Exit::Done && ran.stdout.starts_with("installed "), "{}{}", ran.stdout, ran.stderr);
            let text = std::fs::read_to_string(&path).expect("it is there");
            assert!(text.ends_with(service.template()));
            assert!(init(dir.path(), &[word]).stdout.starts_with("current "));
            std::fs::write(&path, format!("{text}# mine\n")).expect("written");
            let ran = init(dir.path(), &[word]);
            assert!(ran.exit == Exit::Failed && ran.stderr.contains("somebody changed it"), "{}", ran.stderr);
            assert!(std::fs::read_to_string(&path).expect("there").ends_with("# mine\n"));
        }
    }

    #[test]
    fn gitlab_is_told_of_the_file_or_a_person_is() {
        let dir = clone();
        let _ = init(dir.path(), &["gitlab"]);
        let main = dir.path().join(GITLAB_MAIN);
        assert_eq!(
            std::fs::read_to_string(&main).expect("there"),
            "include:\n  - local: .ci/pkgwarden.gitlab-ci.yml\n"
        );
        std::fs::write(&main, "stages: [test]\n").expect("written");
        let ran = init(dir.path(), &["gitlab"]);
        assert!(ran.stdout.contains("add to ") && ran.stdout.contains("- local: .ci/pkgwarden.gitlab-ci.yml"));
        assert_eq!(std::fs::read_to_string(&main).expect("there"), "stages: [test]\n");
    }

    #[test]
    fn a_template_repository_has_the_newest_file() {
        let (dir, own) = (clone(), clone());
        let path = Service::GitHub.path();
        write(&own.path().join(path), "name: ours\n").expect("written");
        git(own.path(), &["add", "."]);
        git(own.path(), &["commit", "--quiet", "--message=ours"]);
        let config = format!("TEMPLATE_REPO=file://{}\n", own.path().display());
        write(&dir.path().join(repository::PATH), &config).expect("written");
        git(dir.path(), &["add", "."]);
        git(dir.path(), &["commit", "--quiet", "--message=config"]);
        let ran = init(dir.path(), &["github"]);
        assert_eq!(ran.exit, Exit::Done, "{}", ran.stderr);
        assert!(std::fs::read_to_string(dir.path().join(path)).expect("there").ends_with("\nname: ours\n"));
    }
}

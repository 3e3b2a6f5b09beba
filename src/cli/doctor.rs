//! `pkgwarden doctor`: whether everything that is needed is there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::context::{ConfigFile, Context};
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, number_of};
use super::pipeline;
use crate::app::examine;
use crate::config::{ConfigError, Settings, settings};
use crate::controller::doctor::{Check, Status};
use crate::telemetry::progress;

/// Find out whether everything that is needed is there, and how to mend what is not
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden doctor                         in the clone that is kept
  pkgwarden --config /etc/pkgwarden/pkgwarden.toml doctor
  pkgwarden doctor --format json

Looks at tools, sandbox, directories, settings, remotes, the AUR and time zones, and changes nothing.
Ends with status 1 if something that is needed is missing; warnings do not count.")]
pub struct Args {}

#[derive(Serialize)]
struct Report {
    errors: usize,
    warnings: usize,
    checks: Vec<Check>,
}

pub(super) fn run(_: Args, context: &mut Context) -> Result<Exit, CliError> {
    let file = context.config_file()?;
    let (settings, mut checks) = match settings::load(file.as_ref().map(ConfigFile::as_parts), &context.env) {
        Ok(settings) => (settings, vec![Check::found("configuration", origin(file.as_ref()), "nothing is wrong")]),
        Err(error) => (defaults()?, broken(&error)),
    };
    context.show_progress();
    let examining = progress::task("examining this machine");
    checks.extend(pipeline::block_on(examine::everything(&settings, &context.global.directory))?);
    drop(examining);
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let report = Report { errors: count(Status::Error), warnings: count(Status::Warning), checks };
    match context.output.format {
        Format::Json => context.output.json(&report)?,
        Format::Text => context.output.text(text(&report))?,
    }
    Ok(if report.errors == 0 { Exit::Done } else { Exit::Failed })
}

fn origin(file: Option<&ConfigFile>) -> &str {
    file.map_or("defaults and environment", |file| &file.path)
}

/// What is looked at if the configuration cannot be read: the rest may be wrong too.
fn defaults() -> Result<Settings, CliError> {
    Ok(settings::load(None, &BTreeMap::new())?)
}

fn broken(error: &ConfigError) -> Vec<Check> {
    let check = |problem: &crate::config::Problem| {
        let place = problem.position().map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
        let hint = if problem.hint.is_empty() { "`pkgwarden config check` shows the place" } else { &problem.hint };
        Check::error("configuration", format!("{}{place}", problem.origin_name()), &problem.message, hint)
    };
    error.problems.iter().map(check).collect()
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let dim = Style::new().dimmed();
    for check in &report.checks {
        let (word, style) = match check.status {
            Status::Ok => ("ok", AnsiColor::Green.on_default()),
            Status::Warning => ("warning", AnsiColor::Yellow.on_default().bold()),
            Status::Error => ("error", AnsiColor::Red.on_default().bold()),
        };
        let _ = writeln!(text, "{style}{word:<8}{style:#}{} {}: {}", check.area, check.subject, check.detail);
        if !check.hint.is_empty() {
            let _ = writeln!(text, "        {dim}{}{dim:#}", check.hint);
        }
    }
    let _ = writeln!(text, "{}, {}", number_of(report.errors, "error"), number_of(report.warnings, "warning"));
    text
}

#[cfg(test)]
mod tests {
    use super::super::testing::pkgwarden;
    use super::*;

    /// The environment of a test: data of its own, and neither network nor sandbox.
    fn sealed(data_dir: &str) -> [(&'static str, &str); 4] {
        [
            ("PKGWARDEN__SERVER__DATA_DIR", data_dir),
            ("PKGWARDEN__EXECUTOR__KIND", "none"),
            ("PKGWARDEN__SOURCES__AUR__METADATA_URL", "http://127.0.0.1:1/index"),
            ("PKGWARDEN__SOURCES__AUR__MIRROR_URL", ""),
        ]
    }

    #[test]
    fn what_is_missing_is_an_error_with_its_remedy_and_ends_with_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data").display().to_string();
        let empty = dir.path().display().to_string();
        let ran = pkgwarden(&["-C", &empty, "--format", "json", "doctor"], &sealed(&data));
        assert_eq!(ran.exit, Exit::Failed);
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let errors: Vec<_> =
            report["checks"].as_array().expect("checks").iter().filter(|check| check["status"] == "error").collect();
        assert_eq!(report["errors"], errors.len());
        let areas: Vec<_> = errors.iter().filter_map(|check| check["area"].as_str()).collect();
        assert_eq!(areas, ["remote", "aur"]);
        assert!(errors.iter().all(|check| check["hint"].as_str().is_some_and(|hint| !hint.is_empty())), "{errors:#?}");
        assert!(!dir.path().join("data").exists(), "nothing is changed");
    }

    #[test]
    fn each_mistake_in_the_configuration_is_one_check() {
        let file = ("pkgwarden.toml", "[server]\nlisen = \"127.0.0.1:0\"\npoll = 3\n");
        let error = settings::load(Some(file), &BTreeMap::new()).expect_err("two mistakes");
        let found = broken(&error);
        let found: Vec<_> = found.iter().map(|check| (check.subject.as_str(), check.hint.as_str())).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], ("pkgwarden.toml:2:1", "did you mean `listen`?"));
    }

    #[test]
    fn the_text_says_how_to_mend_it() {
        let checks = vec![
            Check::found("tool", "git", "git version 2.47.3"),
            Check::error("tool", "bwrap", "`bwrap` is not installed", "install it with `apt install bubblewrap`"),
        ];
        let report = Report { errors: 1, warnings: 0, checks };
        insta::assert_snapshot!(anstream::adapter::strip_str(&text(&report)), @"
        ok      tool git: git version 2.47.3
        error   tool bwrap: `bwrap` is not installed
                install it with `apt install bubblewrap`
        1 error, 0 warnings
        ");
    }
}

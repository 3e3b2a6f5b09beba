//! `pkgwarden doctor`: whether everything that is needed is there.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::context::{ConfigFile, Context};
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, number_of};
use super::pipeline;
use crate::app::examine;
use crate::config::{ConfigError, settings};
use crate::controller::doctor::{Check, Status};
use crate::telemetry::progress;

/// Find out whether everything that is needed is there, and how to mend what is not
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden doctor                         in the clone that is kept
  pkgwarden --config /etc/pkgwarden/pkgwarden.toml doctor
  pkgwarden doctor --builder               on a machine that builds for others
  pkgwarden doctor --format json

Looks at tools, sandbox, directories, settings, remotes, the AUR and time zones, and changes nothing.
Ends with status 1 if something that is needed is missing; warnings do not count.")]
pub struct Args {
    /// Look at what `pkgwarden builder` needs on this machine, and at nothing else [default: where the settings say
    /// nothing but `[executor.bullmq]`]
    #[arg(long)]
    builder: bool,
}

#[derive(Serialize)]
struct Report {
    errors: usize,
    warnings: usize,
    checks: Vec<Check>,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let file = context.config_file()?;
    let parts = file.as_ref().map(ConfigFile::as_parts);
    let checks = match settings::load(parts, &context.env) {
        Ok(settings) => {
            let only_builds = args.builder || is_builder(&settings::origins(parts, &context.env)?);
            context.show_progress();
            let examining = progress::task("examining this machine");
            let mut checks = vec![Check::found("configuration", origin(file.as_ref()), "nothing is wrong")];
            if only_builds {
                let detail = "this machine is looked at as one that only builds";
                checks.push(Check::found("configuration", "pkgwarden builder", detail));
                checks.extend(pipeline::block_on(examine::builder(&settings))?);
            } else {
                checks.extend(pipeline::block_on(examine::everything(&settings, &context.global.directory))?);
            }
            drop(examining);
            checks
        }
        Err(error) => broken(&error),
    };
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

/// Whether these settings are those of a machine that only builds: they say where the queue is, and nothing of what a
/// controller has to know.
fn is_builder(origins: &[(String, serde_json::Value, String)]) -> bool {
    let is_set = |name: &str| origins.iter().any(|(key, _, origin)| key.starts_with(name) && origin != "default");
    is_set("executor.bullmq.") && !["executor.kind", "repository", "forge.", "publish."].into_iter().any(is_set)
}

/// The mistakes. Nothing else is looked at: what the settings mean to ask for is not known.
fn broken(error: &ConfigError) -> Vec<Check> {
    let check = |problem: &crate::config::Problem| {
        let place = problem.position().map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
        let hint = if problem.hint.is_empty() { "`pkgwarden config check` shows the place" } else { &problem.hint };
        Check::error("configuration", format!("{}{place}", problem.origin_name()), &problem.message, hint)
    };
    let detail = "not looked at before the settings can be read";
    let rest =
        Check::found("configuration", "everything else", detail).but(Status::Warning, "mend them, and ask again");
    error.problems.iter().map(check).chain([rest]).collect()
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
    use std::collections::BTreeMap;

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
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], ("pkgwarden.toml:2:1", "did you mean `listen`?"));
        assert_eq!(found[2].0, "everything else", "it is not judged by defaults");
    }

    #[test]
    fn a_machine_that_only_builds_is_known_by_its_settings() {
        let only_builds = |text: &str| {
            is_builder(&settings::origins(Some(("pkgwarden.toml", text)), &BTreeMap::new()).expect("right settings"))
        };
        let queue = "[executor.bullmq]\nurl = \"redis://redis.example\"\n";
        assert!(only_builds(queue) && only_builds(&format!("server.data_dir = \"/srv/x\"\n{queue}")));
        assert!(!only_builds("") && !only_builds(&format!("[executor]\nkind = \"bullmq\"\n{queue}")));
        assert!(!only_builds(&format!("[[repository]]\nname = \"a\"\nurl = \"/srv/a.git\"\n{queue}")));
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

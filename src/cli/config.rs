//! `pkgwarden config`: check, describe and show the configuration.

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

use super::context::{ConfigFile, Context};
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, escaped, lines, table};
use crate::config::job::Job;
use crate::config::{self, ConfigError, settings};

/// Check, describe and show the configuration
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden config check pkgwarden.toml        every mistake, underlined
  pkgwarden config schema > pkgwarden.schema.json
  PKGWARDEN__SERVER__LISTEN=127.0.0.1:0 pkgwarden config show")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Find what is wrong with a configuration file, and with our variables in the environment
    Check {
        /// The file [default: the one that would be used]
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of a document
    Schema {
        /// Which document
        #[arg(long, value_enum, default_value_t = Document::Config)]
        of: Document,
    },
    /// Print what is in force: defaults, file and environment together; passwords are hidden
    Show {
        /// Say of each setting where it came from: a line of the file, the environment, the CI job, or the default
        #[arg(long)]
        origins: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Document {
    /// `pkgwarden.toml`
    Config,
    /// `.ci/policy.toml`
    Policy,
    /// `.CI/cache.toml`
    Cache,
    /// A build, as programs and workers are told of it
    Build,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    match args.action {
        Action::Check { file } => check(file, context),
        Action::Schema { of } => {
            match of {
                Document::Config => context.output.json(config::schema())?,
                Document::Policy => context.output.json(&config::policy_schema())?,
                Document::Cache => context.output.json(&config::cache_schema())?,
                Document::Build => context.output.json(&config::build_schema())?,
            }
            Ok(Exit::Done)
        }
        Action::Show { origins: true } => show_origins(context),
        Action::Show { origins: false } => show(context),
    }
}

/// What is wrong, for programs.
#[derive(Serialize)]
struct Report<'a> {
    errors: usize,
    warnings: usize,
    findings: Vec<ReportedProblem<'a>>,
}

#[derive(Serialize)]
struct ReportedProblem<'a> {
    file: &'a str,
    line: Option<usize>,
    column: Option<usize>,
    code: &'static str,
    severity: &'static str,
    message: &'a str,
    hint: &'a str,
}

impl<'a> Report<'a> {
    fn of(error: Option<&'a ConfigError>) -> Self {
        let problems = error.map(|error| error.problems.as_slice()).unwrap_or_default();
        let reported = |problem: &'a config::Problem| {
            let position = problem.position();
            ReportedProblem {
                file: problem.origin_name(),
                line: position.map(|(line, _)| line),
                column: position.map(|(_, column)| column),
                code: "configuration",
                severity: "error",
                message: &problem.message,
                hint: &problem.hint,
            }
        };
        Self { errors: problems.len(), warnings: 0, findings: problems.iter().map(reported).collect() }
    }
}

fn check(file: Option<PathBuf>, context: &mut Context) -> Result<Exit, CliError> {
    let file = match file {
        Some(path) => Some(ConfigFile::read(&path)?),
        None => context.config_file()?,
    };
    let result = settings::load(file.as_ref().map(ConfigFile::as_parts), &context.env);
    if context.output.format == Format::Json {
        context.output.json(&Report::of(result.as_ref().err()))?;
        return Ok(if result.is_ok() { Exit::Done } else { Exit::Usage });
    }
    result?;
    let checked = file.as_ref().map_or("the environment", |file| file.path.as_str());
    context.output.text(format_args!("{checked}: nothing is wrong\n"))?;
    Ok(Exit::Done)
}

fn show(context: &mut Context) -> Result<Exit, CliError> {
    let file = context.config_file()?;
    let in_force = settings::in_force(file.as_ref().map(ConfigFile::as_parts), &context.env)?;
    match context.output.format {
        Format::Json => context.output.json(&in_force)?,
        Format::Text => {
            let text = toml::to_string_pretty(&in_force).context("cannot show the configuration as TOML")?;
            let origin = file.as_ref().map_or("no file was found", |file| file.path.as_str());
            let job = Job::detect(&context.env).map(|job| format!("{}, ", job.service.name())).unwrap_or_default();
            context.output.text(format_args!("# In force: defaults, {job}{origin}, environment.\n{text}"))?;
        }
    }
    Ok(Exit::Done)
}

/// One setting, for programs.
#[derive(Serialize)]
struct Setting {
    key: String,
    value: serde_json::Value,
    origin: String,
}

fn show_origins(context: &mut Context) -> Result<Exit, CliError> {
    let file = context.config_file()?;
    let settings = settings::origins(file.as_ref().map(ConfigFile::as_parts), &context.env)?;
    let settings = settings.into_iter().map(|(key, value, origin)| Setting { key, value, origin });
    match context.output.format {
        Format::Json => context.output.json(&settings.collect::<Vec<_>>())?,
        Format::Text => {
            let mut table = table(&["setting", "value", "from"]);
            for Setting { key, value, origin } in settings {
                table.add_row([key, escaped(&value.to_string()), escaped(&origin)]);
            }
            context.output.text(lines(&table))?;
        }
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::super::testing::pkgwarden;
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pkgwarden.toml");
        std::fs::write(&path, text).expect("written");
        let path = path.to_str().expect("text").to_owned();
        (dir, path)
    }

    #[test]
    fn a_right_file_is_found_to_be_right() {
        let (_dir, path) = file("[server]\nlisten = \"127.0.0.1:0\"\n");
        let ran = pkgwarden(&["config", "check", &path], &[]);
        assert_eq!((ran.exit, ran.stdout), (Exit::Done, format!("{path}: nothing is wrong\n")));
    }

    #[test]
    fn a_mistake_is_underlined_and_ends_with_two() {
        let (_dir, path) = file("[server]\nlisen = \"127.0.0.1:0\"\n");
        let ran = pkgwarden(&["config", "check", &path], &[]);
        assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Usage, ""));
        insta::assert_snapshot!(ran.stderr.replace(&path, "FILE"), @r#"
          × there is no setting `lisen` in [server]
           ╭─[FILE:2:1]
         1 │ [server]
         2 │ lisen = "127.0.0.1:0"
           · ─────
           ╰────
          help: did you mean `listen`?

        1 problem in the configuration
        "#);
    }

    #[test]
    fn mistakes_are_listed_for_programs() {
        let (_dir, path) = file("[server]\nlisen = \"127.0.0.1:0\"\n");
        let variable = [("PKGWARDEN__PUBLISH__KEEP", "-1")];
        let ran = pkgwarden(&["--format", "json", "config", "check", &path], &variable);
        assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Usage, ""));
        insta::assert_snapshot!(ran.stdout.replace(&path, "FILE"), @r#"
        {
          "errors": 2,
          "warnings": 0,
          "findings": [
            {
              "file": "FILE",
              "line": 2,
              "column": 1,
              "code": "configuration",
              "severity": "error",
              "message": "there is no setting `lisen` in [server]",
              "hint": "did you mean `listen`?"
            },
            {
              "file": "PKGWARDEN__PUBLISH__KEEP",
              "line": null,
              "column": null,
              "code": "configuration",
              "severity": "error",
              "message": "-1 is out of range: from 0 to 1000",
              "hint": ""
            }
          ]
        }
        "#);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let ran = pkgwarden(&["--config", "/nowhere/x.toml", "config", "show"], &[]);
        assert_eq!(ran.exit, Exit::Usage);
        insta::assert_snapshot!(ran.stderr, @"
        error: cannot read the configuration file `/nowhere/x.toml`
          because: No such file or directory (os error 2)
        ");
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "it shows a whole configuration")]
    fn what_is_in_force_hides_passwords_and_can_be_read_back() {
        let (_dir, path) = file("[executor.bullmq]\nurl = \"redis://:s3cret@host/0\"\n");
        let ran = pkgwarden(&["--config", &path, "config", "show"], &[("PKGWARDEN__SERVER__POLL", "5m")]);
        assert!(!ran.stdout.contains("s3cret"));
        insta::assert_snapshot!(ran.stdout.replace(&path, "FILE"), @r#"
        # In force: defaults, FILE, environment.
        [[schedule]]
        cron = "*/30 * * * *"
        timezone = "UTC"
        run = "on-schedule"

        [server]
        listen = "127.0.0.1:8080"
        data_dir = "/var/lib/pkgwarden"
        hosts = []
        poll = "5m"

        [sources]
        timeout = "1m"
        script_timeout = "10m"

        [sources.aur]
        metadata_url = "https://aur.archlinux.org/packages-meta-ext-v1.json.gz"
        rpc_url = "https://aur.archlinux.org/rpc/v5"
        git_url = "https://aur.archlinux.org/{pkgbase}.git"
        mirror_url = "https://github.com/archlinux/aur.git"
        prefer = "mirror"

        [sources.nvchecker]
        mirror = []
        alpm_dir = "/var/lib/pacman"
        program = "nvchecker"
        commands = false

        [sources.gitlab]
        url = "https://gitlab.com/"

        [sources.github]
        url = "https://github.com/"
        api_url = "https://api.github.com/"

        [sources.gitea]

        [forge]
        kind = "local"

        [executor]
        kind = "local"
        timeout = "1h"
        log_mib = 64

        [executor.limits]

        [executor.uploads]
        file_mib = 4096
        build_mib = 8192
        files = 64

        [executor.local]
        pgp = "when-keys-are-there"
        cache_gib = 20
        engine = "podman"
        repository = []

        [executor.bullmq]
        url = "redis://:******@host/0"
        queue = "builds"
        prefix = "bull"

        [executor.chaotic]
        protocol = "moleculer"
        url = "redis://127.0.0.1:6379/0"

        [executor.copr]
        method = "scm"
        chroots = []
        background = false
        source_package = "rpkg"
        script_packages = []
        log_patience = "10m"

        [executor.command]
        arguments = []
        env = []

        [executor.buildomat]
        target = "archlinux"

        [publish]
        sign = false
        keep = 5
        keep_days = 7
        archive_days = 7
        staging = false
        official_databases = []
        allow_official = []
        allow_prohibited = []
        namcap = "report"
        max_removals = "10 %"

        [policy]
        unknown_directive = "report"
        overlap = "coalesce"
        rebuilds = "sonames"
        format = false

        [policy.reviews]
        labels = []
        assignees = []
        reviewers = []
        per_run = 30
        per_hour = 60
        timezone = "UTC"
        approvals = true

        [policy.dashboard]
        enabled = false
        title = "How the packages stand"

        [policy.proposals]
        classify = true
        test_build = "never"

        [policy.statuses]
        builds = true
        per_commit = 20

        [policy.caches]
        release = "verified"
        proposals = true
        "#);
        let (_dir, shown) = file(&ran.stdout);
        assert_eq!(pkgwarden(&["config", "check", &shown], &[]).exit, Exit::Done);
    }

    #[test]
    fn where_each_setting_came_from_is_told() {
        let (_dir, path) = file("[server]\npoll = \"5m\"\n[forge]\nproject = \"them/other\"\n");
        let env = [
            ("PKGWARDEN__SERVER__LOG", "info"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_API_URL", "https://api.github.com"),
            ("GITHUB_REPOSITORY", "them/packages"),
            ("GITHUB_TOKEN", "s3cret"),
        ];
        let ran = pkgwarden(&["--config", &path, "config", "show", "--origins"], &env);
        assert!(!ran.stdout.contains("s3cret"));
        let ours = |line: &&str| line.starts_with("server") || line.starts_with("forge");
        let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let told: Vec<_> = ran.stdout.lines().filter(ours).map(plain).collect();
        insta::assert_snapshot!(told.join("\n").replace(&path, "FILE"), @r#"
        forge.api_url "https://api.github.com/" GitHub Actions: GITHUB_API_URL
        forge.kind "github" GitHub Actions: GITHUB_ACTIONS
        forge.project "them/other" FILE:4
        forge.token_variable "GITHUB_TOKEN" GitHub Actions: GITHUB_TOKEN
        server.data_dir "/var/lib/pkgwarden" default
        server.hosts [] default
        server.listen "127.0.0.1:8080" default
        server.log "info" PKGWARDEN__SERVER__LOG
        server.poll "5m" FILE:2
        "#);
    }

    #[test]
    fn the_schema_is_json_and_describes_every_section() {
        let ran = pkgwarden(&["config", "schema"], &[]);
        let schema: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        for section in ["server", "sources", "forge", "executor", "publish", "policy", "schedule", "repository"] {
            assert!(schema["properties"][section].is_object(), "{section}");
        }
    }
}

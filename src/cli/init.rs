//! `pkgwarden init`: a first configuration for a repository that is there already.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::context::{self, Context};
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, number_of};
use super::workflow;
use crate::config::repository;
use crate::controller::inspect::Inspection;
use crate::domain::desired::Snapshot;
use crate::domain::finding::Finding;
use crate::domain::keyvalue::KeyValues;

/// The file with everything in comments.
const TEMPLATE: &str = include_str!("../../templates/pkgwarden.toml");

/// The name of the file that is written.
const FILE: &str = "pkgwarden.toml";

/// Write a commented configuration for an existing repository
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden init                           pkgwarden.toml in this clone
  pkgwarden init /srv/packages --from chaotic
  pkgwarden init --from chaotic --dry-run  what carries over
  pkgwarden init --ci github               .github/workflows/pkgwarden.yml

Never overwrites a file. With `--from chaotic`, .ci/config is read and it is told what of it \
carries over.")]
pub struct Args {
    /// The clone [default: the directory given with -C, else this one]
    dir: Option<PathBuf>,
    /// What has kept the repository so far
    #[arg(long, value_enum, value_name = "WHAT")]
    from: Option<From>,
    /// Install the file that has a CI service run pkgwarden, or bring it up to date, and nothing else
    #[arg(long, value_enum, value_name = "SERVICE", conflicts_with = "from")]
    ci: Option<workflow::Wanted>,
    /// Tell what would be written and what carries over, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// What has kept a repository so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// The scripts and the manager of Chaotic-AUR
    Chaotic,
}

/// What was done and found.
#[derive(Serialize)]
struct Report {
    file: String,
    /// Whether that has been written, and is not only what would be.
    written: bool,
    packages: usize,
    branch: String,
    has_scheduled: bool,
    has_state: bool,
    reviews: usize,
    settings: Vec<Note>,
    differences: Vec<&'static str>,
    problems: Vec<Finding>,
}

/// What becomes of one key of `.ci/config`.
#[derive(Debug, Serialize)]
struct Note {
    key: &'static str,
    becomes: Becomes,
    meaning: &'static str,
}

/// What becomes of a setting of the scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Becomes {
    /// It is read where it stands and means the same.
    Kept,
    /// It is read and means something else, or only sometimes counts.
    Different,
}

/// What becomes of each key.
const NOTES: [(&str, Becomes, &str); repository::KEYS.len()] = {
    use Becomes::{Different, Kept};
    [
        (
            "BUILD_REPO",
            Different,
            "only counts for a Chaotic Manager: executor.kind = \"chaotic\", or `run --emit-chaotic`",
        ),
        ("CI_AUR_PROXY", Kept, "requests to the AUR go through it"),
        ("CI_CLONE_DELAY", Kept, "the pause between fetches from the AUR's own git"),
        ("CI_CODE_SKIP", Kept, "the exit status with which a build says that there is nothing to build"),
        (
            "CI_DEFAULT_CLASS",
            Kept,
            "the class of builders; this machine takes every class unless executor.local.class is set",
        ),
        ("CI_HUMAN_REVIEW", Kept, "without it, risky updates wait for a person; policy.human_review overrides it"),
        ("CI_HUMAN_REVIEW_ASSIGNEE", Kept, "asked to care for reviews on a forge; branches have no assignee"),
        (
            "CI_LIB_DB",
            Kept,
            "what rebuilds follow; name .files databases to follow sonames. Builds use executor.local.repository",
        ),
        (
            "CI_MANAGE_AUR",
            Different,
            "what counts is the one in each package's .CI/config; see sources.aur.push_key_file",
        ),
        ("CI_MAX_PARALLEL", Kept, "sources.parallel overrides it"),
        ("CI_NVCHECKER_REVIEW", Kept, "unless it is false, updates to versions that nvchecker found wait for a person"),
        ("CI_OVERWRITE_COMMITS", Kept, "replaces the last automated commit if it has been handed to builds"),
        ("CI_REBUILD_BLACKLIST", Different, "changes of these packages rebuild nothing; the scripts did not read it"),
        ("CI_REBUILD_TRIGGERS", Different, "only counts in the .CI/config of a package"),
        ("GIT_AUTHOR_EMAIL", Kept, "the author of automated commits"),
        ("GIT_AUTHOR_NAME", Kept, "the author of automated commits"),
        ("REDIS_PORT", Different, "only counts in files for a Chaotic Manager"),
        ("REDIS_SSH_HOST", Different, "only counts in files for a Chaotic Manager"),
        ("REDIS_SSH_PORT", Different, "only counts in files for a Chaotic Manager"),
        ("REDIS_SSH_USER", Different, "only counts in files for a Chaotic Manager"),
        ("REPO_NAME", Kept, "written into pkgwarden.toml as publish.name"),
        ("TEMPLATE_ENABLE_UPDATES", Different, "keeps files current that `init --ci` installed, and nothing else"),
        ("TEMPLATE_REPO", Different, "where newer ones come from; without it, from this program"),
    ]
};

/// What is different for everybody, whatever the settings.
const DIFFERENCES: [&str; 9] = [
    "Stop the scripts' own jobs before the first run: both push the same branches and move the same tag.",
    "The branch `state` is read and written in the same format, with keys of ours (PKGWARDEN_...) beside CI_GIT_COMMIT.",
    "The watermark .ci/aur-state is neither read nor written: each package has its own cursor in `state`. So the \
     first on-schedule run asks about every AUR package once.",
    "Review branches keep their names (update-<pkgbase>). Those whose content is on the branch already are deleted by \
     the first on-schedule run.",
    "A package's .CI/update.sh runs in a sandbox, and reaches the network only with CI_UPDATE_NETWORK=true in its \
     .CI/config.",
    "An update is risky if anything but versions and checksums changes. The gate compares files and runs nothing of \
     them.",
    "A directive that names no package is reported and the rest still happens; policy.unknown_directive = \"stop\" gives \
     the old behaviour.",
    "A build gets the commit that was scheduled, not the newest one.",
    "An existing Chaotic Manager can go on building: executor.kind = \"chaotic\" with `serve`, or \"none\" and \
     `pkgwarden run ... --emit-chaotic DIR` in the CI job.",
];

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let dir = args.dir.as_deref().unwrap_or(&context.global.directory).to_owned();
    if let Some(wanted) = args.ci {
        return workflow::install(wanted, &dir, args.dry_run, context);
    }
    let inspection = context::open(&dir)?;
    let snapshot = inspection.snapshot("HEAD")?;
    let written = match args.from {
        Some(From::Chaotic) => Some(chaotic_config(&inspection)?),
        None => None,
    };
    let name = written.as_ref().and(snapshot.settings.target_repository.as_deref());
    let path = dir.join(FILE);
    if !args.dry_run {
        create(&path, &file(name))?;
    }
    let report = Report { written: !args.dry_run, ..report(&path, &snapshot, written.as_deref()) };
    match context.output.format {
        Format::Json => context.output.json(&report)?,
        Format::Text => context.output.text(text(&report, args.from.is_some()))?,
    }
    Ok(Exit::Done)
}

fn chaotic_config(inspection: &Inspection) -> Result<String, CliError> {
    let text = inspection.text("HEAD", repository::PATH)?;
    text.ok_or_else(|| {
        let message = format!("the newest commit has no {}, so nothing can be taken over", repository::PATH);
        CliError::from(anyhow::Error::msg(message)).hint("leave --from out to begin anew")
    })
}

/// The file that is written; with the name packages are published under, if it is known.
fn file(publish_name: Option<&str>) -> String {
    let Some(name) = publish_name else { return TEMPLATE.to_owned() };
    let (before, section) = TEMPLATE.split_once("#[publish]\n").expect("the template has the section");
    let section = section.replacen("#name = \"packages\"\n", &format!("name = \"{name}\"\n"), 1);
    format!("{before}[publish]\n{section}")
}

/// Writes a file that must not be there yet.
fn create(path: &Path, text: &str) -> Result<(), CliError> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let message = format!("{} is there already, and is left as it is", path.display());
            let hint = "`pkgwarden config check` looks for mistakes in it; --dry-run tells what carries over and writes nothing";
            return Err(CliError::from(anyhow::Error::msg(message)).hint(hint));
        }
        other => other.with_context(|| format!("cannot write {}", path.display()))?,
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    Ok(written.with_context(|| format!("cannot write {}", path.display()))?)
}

fn report(path: &Path, snapshot: &Snapshot, ci_config: Option<&str>) -> Report {
    let values = ci_config.map(KeyValues::parse);
    let is_set = |key: &str| values.as_ref().is_some_and(|values| values.get(key).is_some());
    let notes = NOTES.into_iter().filter(|(key, ..)| is_set(key));
    Report {
        file: path.display().to_string(),
        written: false,
        packages: snapshot.packages.len(),
        branch: snapshot.refs.branch.clone(),
        has_scheduled: snapshot.refs.scheduled.is_some(),
        has_state: snapshot.refs.state.is_some(),
        reviews: snapshot.refs.reviews.len(),
        settings: notes.map(|(key, becomes, meaning)| Note { key, becomes, meaning }).collect(),
        differences: if ci_config.is_some() { DIFFERENCES.to_vec() } else { Vec::new() },
        problems: ci_config.map(|text| repository::parse(text, None).1).unwrap_or_default(),
    }
}

fn text(report: &Report, from_chaotic: bool) -> String {
    let what = if report.written { "wrote" } else { "nothing is written; without --dry-run it would be" };
    let mut text = format!("{what} {}\n", report.file);
    let there = |is_there: bool| if is_there { "there" } else { "not there yet" };
    let _ = writeln!(
        text,
        "{} on {}; tag scheduled {}, branch state {}, {} review branch{}",
        number_of(report.packages, "package"),
        report.branch,
        there(report.has_scheduled),
        there(report.has_state),
        report.reviews,
        if report.reviews == 1 { "" } else { "es" }
    );
    for (becomes, title) in
        [(Becomes::Kept, "carries over from .ci/config, which stays where it is"), (Becomes::Different, "is different")]
    {
        let notes: Vec<&Note> = report.settings.iter().filter(|note| note.becomes == becomes).collect();
        if !notes.is_empty() {
            let _ = writeln!(text, "\n{title}:");
        }
        for note in notes {
            let _ = writeln!(text, "  {:<25} {}", note.key, note.meaning);
        }
    }
    if from_chaotic {
        text.push_str("\nwhat to know:\n");
    }
    for difference in &report.differences {
        let _ = writeln!(text, "  - {difference}");
    }
    if !report.problems.is_empty() {
        text.push_str("\nproblems:\n");
    }
    for problem in &report.problems {
        let place = problem.line.map(|line| format!("{}:{line}: ", repository::PATH)).unwrap_or_default();
        let _ = writeln!(text, "  {place}{}; {}", problem.message, problem.hint);
    }
    text.push_str("\nnext: `pkgwarden doctor`, then `pkgwarden plan on-schedule`, which writes nothing\n");
    text
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::super::testing::pkgwarden;
    use super::*;
    use crate::config::{schema, settings};
    use crate::sys::process::Program;

    /// The template with every setting in force.
    fn uncommented() -> String {
        let setting = |line: &str| {
            line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
        };
        let lines = TEMPLATE.lines().map(|line| if setting(line) { &line[1..] } else { line });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Every key that the schema knows, with its default. Lists of tables are shown by an example.
    fn keys(schema: &Value, path: &str, found: &mut BTreeMap<String, Option<Value>>) {
        for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}/{key}");
            if schema["properties"].is_object() {
                keys(schema, &path, found);
            } else {
                let is_example = path == "/executor/local/repository";
                found.insert(path, schema.get("default").cloned().filter(|_| !is_example));
            }
        }
    }

    #[test]
    fn the_template_is_a_right_configuration_with_and_without_its_comments() {
        for text in [TEMPLATE.to_owned(), file(Some("my-repo")), uncommented()] {
            let loaded = settings::load(Some((FILE, &text)), &BTreeMap::new());
            assert!(loaded.is_ok(), "{:?}", loaded.err());
        }
    }

    #[test]
    fn the_template_shows_every_setting_with_its_default() {
        let mut expected = BTreeMap::new();
        keys(schema(), "", &mut expected);
        let shown: Value = toml::from_str(&uncommented()).expect("TOML");
        assert!(expected.len() > 25, "{expected:?}");
        for (path, default) in expected {
            let value = shown.pointer(&path);
            assert!(value.is_some(), "{path} is missing in the template");
            assert!(default.is_none() || value == default.as_ref(), "{path}: {value:?} is not the default {default:?}");
        }
    }

    #[test]
    fn every_key_of_the_scripts_is_explained() {
        let explained: BTreeSet<&str> = NOTES.iter().map(|(key, ..)| *key).collect();
        assert_eq!(explained, repository::KEYS.into());
    }

    fn git(dir: &Path, args: &[&str]) {
        let identity = ["-c", "user.name=T", "-c", "user.email=t@example.org"];
        let program = Program::new("git").args(identity).args(args).current_dir(dir);
        let output = program.env("GIT_CONFIG_GLOBAL", "/dev/null").run_blocking().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", output.stderr_text());
    }

    /// A clone with one commit.
    fn world(ci_config: Option<&str>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        git(dir.path(), &["init", "--quiet", "--initial-branch=main"]);
        if let Some(text) = ci_config {
            std::fs::create_dir(dir.path().join(".ci")).expect("made");
            std::fs::write(dir.path().join(repository::PATH), text).expect("written");
            git(dir.path(), &["add", "."]);
        }
        git(dir.path(), &["commit", "--quiet", "--allow-empty", "--message=first"]);
        dir
    }

    #[test]
    fn a_file_is_written_and_never_overwritten() {
        let world = world(None);
        let dir = world.path().to_str().expect("text");
        let ran = pkgwarden(&["init", dir], &[]);
        assert_eq!(ran.exit, Exit::Done, "{}", ran.stderr);
        let path = world.path().join(FILE);
        assert_eq!(std::fs::read_to_string(&path).expect("written"), TEMPLATE);
        std::fs::write(&path, "mine").expect("written");
        let again = pkgwarden(&["-C", dir, "init"], &[]);
        assert_eq!(again.exit, Exit::Failed);
        assert!(again.stderr.contains("is there already") && again.stderr.contains("--dry-run"), "{}", again.stderr);
        let told = pkgwarden(&["-C", dir, "init", "--dry-run"], &[]);
        assert!(told.exit == Exit::Done && told.stdout.starts_with("nothing is written"), "{}", told.stdout);
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "mine");
    }

    #[test]
    fn what_comes_from_the_scripts_is_told() {
        let world = world(Some(
            "REPO_NAME=my-repo\nCI_HUMAN_REVIEW=true\nCI_MANAGE_AUR=true\nTEMPLATE_REPO=https://a.example/t\nTYPO=1\n",
        ));
        let dir = world.path().to_str().expect("text");
        let ran = pkgwarden(&["init", dir, "--from", "chaotic"], &[]);
        insta::assert_snapshot!(ran.stdout.replace(dir, "DIR"), @r#"
        wrote DIR/pkgwarden.toml
        0 packages on main; tag scheduled not there yet, branch state not there yet, 0 review branches

        carries over from .ci/config, which stays where it is:
          CI_HUMAN_REVIEW           without it, risky updates wait for a person; policy.human_review overrides it
          REPO_NAME                 written into pkgwarden.toml as publish.name

        is different:
          CI_MANAGE_AUR             what counts is the one in each package's .CI/config; see sources.aur.push_key_file
          TEMPLATE_REPO             where newer ones come from; without it, from this program

        what to know:
          - Stop the scripts' own jobs before the first run: both push the same branches and move the same tag.
          - The branch `state` is read and written in the same format, with keys of ours (PKGWARDEN_...) beside CI_GIT_COMMIT.
          - The watermark .ci/aur-state is neither read nor written: each package has its own cursor in `state`. So the first on-schedule run asks about every AUR package once.
          - Review branches keep their names (update-<pkgbase>). Those whose content is on the branch already are deleted by the first on-schedule run.
          - A package's .CI/update.sh runs in a sandbox, and reaches the network only with CI_UPDATE_NETWORK=true in its .CI/config.
          - An update is risky if anything but versions and checksums changes. The gate compares files and runs nothing of them.
          - A directive that names no package is reported and the rest still happens; policy.unknown_directive = "stop" gives the old behaviour.
          - A build gets the commit that was scheduled, not the newest one.
          - An existing Chaotic Manager can go on building: executor.kind = "chaotic" with `serve`, or "none" and `pkgwarden run ... --emit-chaotic DIR` in the CI job.

        problems:
          .ci/config:5: nothing reads the key TYPO; remove it, or check its spelling

        next: `pkgwarden doctor`, then `pkgwarden plan on-schedule`, which writes nothing
        "#);
        let text = std::fs::read_to_string(world.path().join(FILE)).expect("written");
        let settings = settings::load(Some((FILE, &text)), &BTreeMap::new()).expect("right");
        assert_eq!(settings.repositories[0].publish.name.as_deref(), Some("my-repo"));
    }

    #[test]
    fn nothing_is_written_where_nothing_can_be_taken_over() {
        let (world, empty) = (world(None), tempfile::tempdir().expect("a directory"));
        for (dir, expected) in [(world.path(), "has no .ci/config"), (empty.path(), "no git repository")] {
            let ran = pkgwarden(&["init", dir.to_str().expect("text"), "--from", "chaotic"], &[]);
            assert_eq!(ran.exit, Exit::Failed);
            assert!(ran.stderr.contains(expected), "{}", ran.stderr);
            assert!(!dir.join(FILE).exists());
        }
    }
}

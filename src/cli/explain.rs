//! `pkgwarden explain`: everything known about one package, and what a run would do with it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, escaped};
use crate::app::examine::libraries_unknown;
use crate::app::{self, Place};
use crate::controller::inspect::{self, Inspection};
use crate::controller::view::SourceView;
use crate::domain::build::BuildRequest;
use crate::domain::desired::{Package, Snapshot};
use crate::domain::finding::{Finding, nearest};
use crate::domain::graph::Graph;
use crate::domain::library::soname::Soname;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::Observations;
use crate::domain::plan::{self, Action, Pipeline};
use crate::domain::revision::Revision;
use crate::domain::state::PackageState;
use crate::sys::clock::{Clock as _, SystemClock};
use crate::web::text::one_line;
use crate::web::time;

/// The script that may keep a package up to date.
const UPDATE: &str = ".CI/update.sh";

/// Tell everything known about one package, and what a run would do with it and why
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden explain firefox
  pkgwarden -C repo.git explain libfoo --format json

Nothing is asked of sources: `plan on-schedule` does that. What earlier runs on this machine heard of them is shown; \
`ctl explain` tells it of a controller elsewhere.")]
pub struct Args {
    /// The package
    #[arg(value_name = "PKG")]
    package: String,
    /// The commit to look at
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    rev: String,
}

#[derive(Serialize)]
struct Explanation {
    pkgbase: PkgBase,
    pkgnames: Vec<String>,
    version: Option<String>,
    tree: Oid,
    source: &'static str,
    versions: Option<Versions>,
    script: Option<Script>,
    trigger: Option<String>,
    rebuild_triggers: Vec<String>,
    class: Option<String>,
    follows_upstream: bool,
    interfere: Vec<crate::domain::desired::Interfere>,
    needs: Vec<PkgBase>,
    /// Whether `needs` is known: its `.SRCINFO` can be read.
    needs_known: bool,
    needed_by: Vec<PkgBase>,
    /// Packages that may need it or not: their `.SRCINFO` cannot be read.
    perhaps_needed_by: Vec<PkgBase>,
    seen: Seen,
    /// Why it is not known which shared libraries its published files need, if it is not.
    libraries_unknown: Option<&'static str>,
    sources: Vec<SourceView>,
    keepers: Option<String>,
    review: Option<String>,
    on_commit: OnCommit,
    /// What an on-schedule run asks or runs for it before that.
    on_schedule: Vec<String>,
    problems: Vec<Finding>,
}

/// The file that says, in nvchecker's form, how the newest version is found.
#[derive(Serialize)]
struct Versions {
    file: Option<String>,
    /// Whether anybody goes by it: `CI_NVCHECKER`.
    asked: bool,
    /// Whether updates wait for a person whatever the gate says: `CI_NVCHECKER_REVIEW`.
    reviewed: bool,
}

impl Versions {
    fn of(package: &Package, snapshot: &Snapshot) -> Option<Self> {
        let (file, asked) = (package.version_file.clone(), package.settings.nvchecker);
        (asked || file.is_some()).then_some(Self { file, asked, reviewed: snapshot.settings.nvchecker_review })
    }

    fn text(&self) -> String {
        match (&self.file, self.asked) {
            (Some(file), true) if self.reviewed => format!("nvchecker, by {file}; a person reads each update"),
            (Some(file), true) => format!("nvchecker, by {file}"),
            (None, true) => "nvchecker, but there is no nvchecker.toml".to_owned(),
            (file, false) => {
                format!("{} is not used: CI_NVCHECKER is not set", file.as_deref().unwrap_or_default())
            }
        }
    }
}

/// The script of its own that keeps it up to date.
#[derive(Serialize)]
struct Script {
    file: &'static str,
    /// Whether it reaches the network: `CI_UPDATE_NETWORK`.
    network: bool,
}

/// What the `state` branch remembers.
#[derive(Serialize)]
struct Seen {
    source_commit: Option<Oid>,
    source_stamp: Option<i64>,
    source_version: Option<String>,
    upstream: Vec<Revision>,
    rejected: Option<String>,
    /// Libraries that are gone, and that it was rebuilt for.
    rebuilt_for: BTreeSet<Soname>,
}

impl Seen {
    fn of(state: &PackageState) -> Self {
        let cursor = state.cursor();
        Self {
            source_commit: cursor.as_ref().map(|cursor| cursor.commit),
            source_stamp: cursor.as_ref().and_then(|cursor| cursor.stamp),
            source_version: cursor.and_then(|cursor| cursor.version),
            upstream: state.upstream().into_iter().flatten().collect(),
            rejected: state.rejected().map(str::to_owned),
            rebuilt_for: state.rebuilt_for(),
        }
    }

    fn source(&self) -> String {
        match (self.source_commit, &self.source_version, self.source_stamp) {
            (Some(_), Some(version), _) => format!("version {version}"),
            (Some(commit), None, Some(_)) => commit.to_string(),
            (Some(commit), None, None) => format!("{commit}, to be confirmed"),
            (None, ..) => "never".to_owned(),
        }
    }
}

/// What an on-commit run would do with it.
#[derive(Serialize)]
struct OnCommit {
    action: Action,
    build: Option<BuildRequest>,
    why: String,
    /// Whether it has changed since builds were last handed out, as far as this clone knows.
    #[serde(skip)]
    is_due: bool,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let inspection = context.inspection()?;
    let snapshot = inspection.snapshot(&args.rev)?;
    let Some(package) = snapshot.packages.get(args.package.as_str()) else {
        let near = nearest(&args.package, snapshot.packages.keys().map(PkgBase::as_str));
        let hint =
            near.map_or_else(|| "`pkgwarden packages` lists them".into(), |near| format!("did you mean `{near}`?"));
        return Err(CliError::from(anyhow::anyhow!("there is no package `{}`", args.package)).hint(hint));
    };
    // What was asked is known where the settings say; without them, or without any run, nothing is known of it.
    let place = Place { dir: context.global.directory.clone(), remote: None, branch: None };
    let settings = context.settings().ok();
    let state = snapshot.states.get(&package.pkgbase).cloned().unwrap_or_default();
    let sources = app::heard_of(settings.as_ref(), &place, package, &state);
    let libraries = libraries_unknown(settings.as_ref(), &place);
    let explanation =
        Explanation { libraries_unknown: libraries, ..explain(&inspection, &snapshot, package, sources)? };
    match context.output.format {
        Format::Json => context.output.json(&explanation)?,
        Format::Text => context.output.text(text(&explanation))?,
    }
    Ok(Exit::Done)
}

fn explain(
    inspection: &Inspection,
    snapshot: &Snapshot,
    package: &Package,
    sources: Vec<SourceView>,
) -> Result<Explanation, CliError> {
    let official = inspect::recorded_names(snapshot);
    let graph = Graph::build(snapshot.packages.values().map(Arc::as_ref), &official);
    let state = snapshot.states.get(&package.pkgbase).cloned().unwrap_or_default();
    let members = package.srcinfo.iter().flat_map(|srcinfo| &srcinfo.members);
    let mut problems = package.findings.clone();
    let mut observations = Observations::default();
    let mut script = None;
    match inspection.files(package) {
        Ok(files) => {
            problems.extend(inspect::package_lints(package, &files));
            let network = package.settings.update_network;
            script = files.get(UPDATE).map(|_| Script { file: UPDATE, network });
        }
        Err(unusable) => {
            observations.unbuildable.insert(package.pkgbase.clone(), Finding::clone(&unusable));
            problems.push(*unusable);
        }
    }
    let versions = Versions::of(package, snapshot);
    let unknown =
        snapshot.packages.values().filter(|other| other.srcinfo.is_none() && other.pkgbase != package.pkgbase);
    Ok(Explanation {
        pkgbase: package.pkgbase.clone(),
        pkgnames: members.map(|member| member.name.to_string()).collect(),
        version: package.version().map(ToString::to_string),
        tree: package.tree,
        source: package.settings.source.name(),
        on_schedule: on_schedule(&sources, versions.as_ref(), script.as_ref()),
        versions,
        script,
        trigger: package.settings.trigger.clone(),
        rebuild_triggers: package.settings.rebuild_triggers.clone(),
        class: snapshot.class_of(package).map(|class| class.0),
        follows_upstream: package.follows_upstream(),
        interfere: package.interfere.clone(),
        needs: graph.direct(&package.pkgbase).to_vec(),
        needs_known: package.srcinfo.is_some(),
        perhaps_needed_by: unknown.map(|other| other.pkgbase.clone()).collect(),
        needed_by: graph.dependants(&package.pkgbase),
        seen: Seen::of(&state),
        libraries_unknown: None,
        sources,
        keepers: state.told_keepers().map(|keepers| keepers.people()),
        review: snapshot.refs.reviews.get(&package.pkgbase).map(|_| package.pkgbase.review_branch()),
        on_commit: on_commit(inspection, snapshot, package, &observations)?,
        problems,
    })
}

/// The decision of the same function that every run uses.
fn on_commit(
    inspection: &Inspection,
    snapshot: &Snapshot,
    package: &Package,
    observations: &Observations,
) -> Result<OnCommit, CliError> {
    let since = inspection.since_scheduled(&snapshot.refs)?;
    let official = inspect::recorded_names(snapshot);
    let inputs = plan::Inputs {
        snapshot,
        since: &since,
        observations,
        policy: &crate::domain::policy::Policy::default(),
        official: &official,
        arch: crate::domain::graph::DEFAULT_ARCH,
        now: SystemClock.now(),
    };
    let plan = plan::plan(&Pipeline::OnCommit, &inputs);
    let decision = plan.packages.iter().find(|decision| decision.pkgbase == package.pkgbase);
    Ok(OnCommit {
        action: decision.map_or(Action::None, |decision| decision.action),
        is_due: decision.is_some(),
        build: plan.builds.into_iter().find(|build| build.pkgbase == package.pkgbase),
        why: decision.map_or_else(
            || "it has not changed since builds were last handed out".to_owned(),
            |decision| decision.why.clone(),
        ),
    })
}

/// What an on-schedule run asks and runs to find updates of it.
fn on_schedule(sources: &[SourceView], versions: Option<&Versions>, script: Option<&Script>) -> Vec<String> {
    let asked = sources.iter().map(|source| match source.role {
        "upstream" => format!("asks its upstream {}", one_line(&source.source)),
        _ => format!("asks {}", one_line(&source.source)),
    });
    let version = versions.filter(|versions| versions.asked).and_then(|versions| versions.file.as_deref());
    let version = version.map(|file| format!("looks for versions by {}", one_line(file)));
    let script = script.map(|script| {
        let network = if script.network { "with" } else { "without" };
        format!("runs {} {network} network", script.file)
    });
    asked.chain(version).chain(script).collect()
}

/// What is known of asking a source.
fn asked(source: &SourceView) -> Vec<(&'static str, String)> {
    if source.asked.is_none() && source.error.is_none() {
        // Where its files come from stands above.
        let never = || vec![("upstream", format!("{}, not asked here yet", one_line(&source.source)))];
        return if source.role == "upstream" { never() } else { Vec::new() };
    }
    let asked = source.asked.map_or_else(|| "never".to_owned(), time::moment);
    let mut lines = vec![("asked", format!("{}: {asked}", one_line(&source.source)))];
    if let Some((answer, at)) = source.answer.as_deref().zip(source.answered) {
        lines.push(("answer", format!("{}, {}", one_line(answer), time::moment(at))));
    }
    if let Some(error) = &source.error {
        lines.push(("unknown", one_line(error)));
        lines.push(("next", source.next.map_or_else(|| "in the next run".to_owned(), time::moment)));
    }
    lines
}

fn list(names: &[PkgBase]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.iter().map(PkgBase::as_str).collect::<Vec<_>>().join(", ")
}

fn text(it: &Explanation) -> String {
    let mut text = format!("{} {}\n", it.pkgbase, it.version.as_deref().unwrap_or("(version unknown)"));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    line("packages", &it.pkgnames.join(", "));
    line("source", it.source);
    if let Some(versions) = &it.versions {
        line("versions", &versions.text());
    }
    if let Some(script) = &it.script {
        line("script", &format!("{}, {} network", script.file, if script.network { "with" } else { "without" }));
    }
    let unknown = "not known: there is no .SRCINFO that can be read";
    line("needs", if it.needs_known { list(&it.needs) } else { unknown.to_owned() }.as_str());
    line("needed by", &list(&it.needed_by));
    if let Some((first, more)) = it.perhaps_needed_by.split_first() {
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        line("", &format!("not known of {first}{more}, without a .SRCINFO that can be read"));
    }
    line("class", it.class.as_deref().unwrap_or("any"));
    if let Some(trigger) = &it.trigger {
        line("trigger", trigger);
    }
    if !it.rebuild_triggers.is_empty() {
        line("rebuilt with", &it.rebuild_triggers.join(", "));
    }
    if let Some(why) = it.libraries_unknown {
        line("libraries", why);
    }
    for soname in &it.seen.rebuilt_for {
        line("rebuilt for", &format!("{soname}, which is gone"));
    }
    line("source seen", &it.seen.source());
    for commit in &it.seen.upstream {
        line("upstream", &commit.to_string());
    }
    for source in &it.sources {
        for (name, value) in asked(source) {
            line(name, &value);
        }
    }
    if let Some(keepers) = &it.keepers {
        line("kept by", &one_line(keepers));
    }
    if let Some(branch) = &it.review {
        line("review", &format!("an update waits on {branch}"));
    }
    line("on-commit", &escaped(&it.on_commit.why));
    if it.on_commit.is_due {
        line("", "as this clone has it: if a run has been since, `git pull --tags` brings what it did");
    }
    let before = if it.on_schedule.is_empty() { "asks nothing about it".to_owned() } else { it.on_schedule.join(", ") };
    line("on-schedule", &format!("{before}; then as on-commit"));
    for problem in &it.problems {
        line("problem", &escaped(&problem.to_string()));
    }
    text
}

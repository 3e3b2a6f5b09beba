//! What `plan` and `run` have in common: the pipelines on the command line, and their document as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;

use anstyle::{AnsiColor, Style};

use super::classify::text::word;
use super::context::Context;
use super::error::CliError;
use super::output::{Format, escaped, number_of};
use crate::app::Place;
use crate::config::job::Job;
use crate::config::package::addition;
use crate::controller::run::Outcome;
use crate::domain::addition::Provenance;
use crate::domain::name::PkgBase;
use crate::domain::plan::{Action, Document, Heard, PackageDecision, Pipeline};
use crate::domain::target::Target;

/// The pipeline and the clone it works on.
#[derive(Debug, clap::Args)]
pub struct PipelineArgs {
    #[command(subcommand)]
    what: What,
    /// The remote to read and to push to, by name or address [default: origin, else the repository itself]
    #[arg(long, global = true, value_name = "NAME")]
    remote: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Hand what was committed since `scheduled` to builds
    OnCommit,
    /// That, and ask every source for updates
    OnSchedule,
    /// Build the packages whose `CI_ON_TRIGGER` has this name
    Trigger {
        /// The trigger
        name: String,
    },
    /// Build packages now
    Deploy {
        /// Packages, each perhaps with a build class; `all` for every one
        #[arg(required = true, value_name = "PKG[/CLASS]")]
        packages: Vec<String>,
    },
    /// Raise the pkgrel of packages and build them
    Bump {
        /// Packages; `all` for every one
        #[arg(required = true, value_name = "PKG")]
        packages: Vec<String>,
    },
    /// Take packages, and all that is built with them, out of service
    Quarantine(Because),
    /// Take packages back into service, and build what was due
    Lift(Because),
    /// Take packages into the monorepo, and build them
    Add(Newcomers),
    /// Take packages out of the monorepo and of the published repository
    Drop(Leavers),
}

/// Which packages are added, and who asked for them.
#[derive(Debug, clap::Args)]
pub struct Newcomers {
    /// PKG/aur, PKG/URL of a git repository (with #branch=NAME&subfolder=PATH, if need be), or PKG
    #[arg(required = true, value_name = "PKG/SOURCE")]
    pub packages: Vec<String>,
    /// Where packages come from that do not say it themselves [default: aur]
    #[arg(long, value_name = "aur|URL")]
    pub source: Option<String>,
    /// Who asked for them: `REQ_ORIGIN` of .CI/info
    #[arg(long, value_name = "TEXT")]
    pub origin: Option<String>,
    /// Why: `REQ_REASON` of .CI/info
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

impl Newcomers {
    fn pipeline(&self) -> Result<Pipeline, CliError> {
        let read = |text: &String| addition(text, self.source.as_deref());
        let additions = self.packages.iter().map(read).collect::<Result<_, _>>().map_err(CliError::usage)?;
        let provenance = Provenance::new(self.origin.as_deref(), self.reason.as_deref());
        Ok(Pipeline::Add(additions, provenance.map_err(|error| CliError::usage(error.to_string()))?))
    }
}

/// Which packages leave, and why.
#[derive(Debug, clap::Args)]
pub struct Leavers {
    /// Packages
    #[arg(required = true, value_name = "PKG")]
    pub packages: Vec<String>,
    /// Why, for whoever reads the commit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Which packages, and why.
#[derive(Debug, clap::Args)]
pub struct Because {
    /// Packages
    #[arg(required = true, value_name = "PKG", value_parser = package)]
    pub packages: Vec<PkgBase>,
    /// Why, for whoever reads it later
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
}

fn targets(packages: &[String]) -> Result<Vec<Target>, CliError> {
    let targets = Target::parse_all(packages.iter().map(String::as_str));
    let targets = targets.map_err(|error| CliError::usage(error.to_string()))?;
    if targets.is_empty() { Err(CliError::usage("no package is named".to_owned())) } else { Ok(targets) }
}

/// Reads the name of a package.
pub fn package(text: &str) -> Result<PkgBase, String> {
    PkgBase::new(text).map_err(|error| error.to_string())
}

impl PipelineArgs {
    /// The pipeline.
    ///
    /// # Errors
    /// If a package that is to be added does not say where from in a way that is understood, or a class is none.
    pub fn pipeline(&self) -> Result<Pipeline, CliError> {
        Ok(match &self.what {
            What::OnCommit => Pipeline::OnCommit,
            What::OnSchedule => Pipeline::OnSchedule,
            What::Trigger { name } => Pipeline::Trigger(name.clone()),
            What::Deploy { packages } => Pipeline::Deploy(targets(packages)?),
            What::Bump { packages } => Pipeline::Bump(targets(packages)?),
            What::Quarantine(Because { packages, reason }) => Pipeline::Quarantine(packages.clone(), reason.clone()),
            What::Lift(Because { packages, reason }) => Pipeline::Lift(packages.clone(), reason.clone()),
            What::Add(newcomers) => newcomers.pipeline()?,
            What::Drop(Leavers { packages, reason }) => Pipeline::Drop(packages.clone(), reason.clone()),
        })
    }

    /// The clone and its remote.
    pub fn place(&self, context: &Context) -> Place {
        let branch = Job::detect(&context.env).and_then(|job| job.branch);
        Place { dir: context.global.directory.clone(), remote: self.remote.clone(), branch }
    }
}

/// Waits for an asynchronous answer; an interrupt ends it.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from)?;
    runtime.block_on(async {
        tokio::select! {
            result = work => result.map_err(CliError::from),
            _ = tokio::signal::ctrl_c() => Err(CliError::interrupted()),
        }
    })
}

/// Shows the document of a plan, or of a run with what came of it.
pub fn show(document: &Document, outcome: Option<&Outcome>, context: &mut Context) -> Result<(), CliError> {
    match (context.output.format, outcome) {
        (Format::Json, None) => context.output.json(document)?,
        (Format::Json, Some(outcome)) => {
            let mut value = serde_json::to_value(document).map_err(anyhow::Error::from)?;
            value["outcome"] = serde_json::to_value(outcome).map_err(anyhow::Error::from)?;
            context.output.json(&value)?;
        }
        (Format::Text, _) => context.output.text(text(document, outcome))?,
    }
    Ok(())
}

fn text(document: &Document, outcome: Option<&Outcome>) -> String {
    let mut text = String::new();
    let bold = Style::new().bold();
    let _ = writeln!(text, "{bold}{} of {}{bold:#}", document.pipeline, document.repository);
    packages(&mut text, document);
    for build in &document.builds {
        let after: Vec<&str> = build.after.iter().map(PkgBase::as_str).collect();
        let after = if after.is_empty() { String::new() } else { format!(", after {}", after.join(", ")) };
        let class = build.class.as_ref().map(|class| format!(", class {class}")).unwrap_or_default();
        let _ = writeln!(text, "  build   {} ({}{class}{after})", build.pkgbase, build.reason.as_str());
    }
    for pkgbase in &document.remove {
        let _ = writeln!(text, "  remove  {pkgbase}");
    }
    for pkgbase in &document.stop {
        let _ = writeln!(text, "  stop    {pkgbase}");
    }
    for pkgbase in &document.aur_push {
        let _ = writeln!(text, "  aur     push {pkgbase}");
    }
    for review in &document.reviews {
        let why = if review.why.is_empty() { String::new() } else { format!(": {}", escaped(&review.why)) };
        let _ = writeln!(text, "  review  {} {}{why}", review.action, escaped(&review.branch));
    }
    closed(&mut text, document);
    for change in &document.refs {
        let _ = writeln!(text, "  ref     {} {}", change.change, escaped(&change.name));
    }
    problems(&mut text, document);
    match outcome {
        Some(outcome) => {
            let pushed = if outcome.pushed { "pushed" } else { "nothing to push" };
            let _ =
                writeln!(text, "{pushed}, {} enqueued, run {}", number_of(outcome.enqueued, "build"), outcome.run_id);
        }
        None if document.refs.is_empty() && document.builds.is_empty() && document.remove.is_empty() => {
            text.push_str("nothing to do\n");
        }
        None => {}
    }
    text
}

/// From so many on, branches that are deleted are counted as well.
const MANY: usize = 5;

/// How many branches are deleted, and why: in a long list nobody counts them.
fn closed(text: &mut String, document: &Document) {
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for review in document.reviews.iter().filter(|review| review.action == "close") {
        *counted.entry(&review.why).or_default() += 1;
    }
    let all: usize = counted.values().sum();
    if all < MANY {
        return;
    }
    let mut counted: Vec<(usize, &str)> = counted.into_iter().map(|(why, count)| (count, why)).collect();
    counted.sort_by_key(|(count, why)| (std::cmp::Reverse(*count), *why));
    let _ = writeln!(text, "  reviews {all} are closed and their branches deleted:");
    for (count, why) in counted {
        let _ = writeln!(text, "          {count:>5}  {}", escaped(why));
    }
}

/// How many packages are named of those whose sources could not be asked for the same reason.
const NAMED: usize = 5;

fn is_note(decision: &PackageDecision) -> bool {
    decision.observation == Heard::Unknown && matches!(decision.action, Action::None | Action::State)
}

/// Packages of which nothing is known for the very same reason, as when a server cannot be reached.
fn unknown_alike(document: &Document) -> BTreeMap<&str, Vec<&str>> {
    let mut alike: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for decision in document.packages.iter().filter(|decision| is_note(decision)) {
        alike.entry(&decision.why).or_default().push(decision.pkgbase.as_str());
    }
    alike.retain(|_, names| names.len() > NAMED);
    alike
}

/// Whether a problem says already why something is unknown.
fn is_told(document: &Document, why: &str) -> bool {
    document.problems.iter().any(|problem| !why.is_empty() && problem.message.contains(why))
}

/// Packages with which something happens; the others are only counted.
fn packages(text: &mut String, document: &Document) {
    let quiet = |heard, action| heard == Heard::Current && matches!(action, Action::None | Action::State);
    let current = document.packages.iter().filter(|decision| quiet(decision.observation, decision.action)).count();
    if current > 0 {
        let _ = writeln!(text, "  current {}", number_of(current, "package"));
    }
    let unknown = unknown_alike(document);
    for (why, names) in &unknown {
        let shown = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let why = if is_told(document, why) { "unknown, for the problem below".to_owned() } else { escaped(why) };
        let _ = writeln!(text, "  note    {shown} and {} more: {why}", names.len() - NAMED.min(names.len()));
    }
    let told = |decision: &PackageDecision| !is_note(decision) || !unknown.contains_key(decision.why.as_str());
    let loud = document.packages.iter().filter(|decision| !quiet(decision.observation, decision.action));
    for decision in loud.filter(|decision| told(decision)) {
        let action = match decision.action {
            Action::None | Action::State => "note",
            Action::Commit => "commit",
            Action::Review => "review",
            Action::Skip => "skip",
        };
        if is_note(decision) && is_told(document, &decision.why) {
            let _ = writeln!(text, "  {action:<7} {}: unknown, for the problem below", decision.pkgbase);
            continue;
        }
        let heaviest = decision.reasons.iter().map(|reason| reason.severity).max();
        let weight = heaviest.filter(|_| decision.action == Action::Review);
        let weight = weight.map(|weight| format!(" ({})", word(weight))).unwrap_or_default();
        let _ = writeln!(text, "  {action:<7} {}: {}{weight}", decision.pkgbase, escaped(&decision.why));
        let heavy =
            decision.reasons.iter().filter(|reason| reason.severity > crate::domain::classify::Weight::Stronger);
        for reason in heavy {
            let line = reason.line.map(|line| format!(":{line}")).unwrap_or_default();
            let (file, message) = (escaped(&reason.file), escaped(&reason.message));
            let _ = writeln!(text, "            {file}{line}: {message}");
        }
    }
}

fn problems(text: &mut String, document: &Document) {
    for problem in &document.problems {
        let style = match problem.severity {
            crate::domain::finding::Severity::Error => AnsiColor::Red.on_default(),
            crate::domain::finding::Severity::Warning => AnsiColor::Yellow.on_default(),
        };
        let package = problem.pkgbase.as_ref().map(|pkgbase| format!("{pkgbase}: ")).unwrap_or_default();
        let commit = problem.commit.map(|commit| format!(" (commit {})", commit.short())).unwrap_or_default();
        let hint = if problem.hint.is_empty() { String::new() } else { format!("; {}", escaped(&problem.hint)) };
        let message = escaped(&problem.message);
        let _ = writeln!(text, "  {style}problem{style:#} {package}{message}{commit}{hint}");
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::finding::Finding;
    use crate::domain::plan::{Base, ReviewChange};

    fn unknown(pkgbase: String, why: &str) -> PackageDecision {
        PackageDecision {
            pkgbase: PkgBase::new(&pkgbase).expect("legal"),
            observation: Heard::Unknown,
            action: Action::None,
            verdict: None,
            reasons: Vec::new(),
            trees: None,
            from_version: None,
            to_version: None,
            why: why.to_owned(),
        }
    }

    fn shown(packages: Vec<PackageDecision>, problems: &[Finding]) -> String {
        shown_with(packages, problems, Vec::new())
    }

    fn shown_with(packages: Vec<PackageDecision>, problems: &[Finding], reviews: Vec<ReviewChange>) -> String {
        let document = Document {
            repository: "own".to_owned(),
            pipeline: "on-schedule".to_owned(),
            now: Timestamp::UNIX_EPOCH,
            base: Base { main: None, state: None, scheduled: None },
            packages,
            refs: Vec::new(),
            builds: Vec::new(),
            remove: Vec::new(),
            stop: Vec::new(),
            reviews,
            aur_push: Vec::new(),
            problems: problems.iter().map(Into::into).collect(),
        };
        anstream::adapter::strip_str(&text(&document, None)).to_string()
    }

    #[test]
    fn what_a_problem_says_is_not_said_again_of_packages() {
        let packages =
            || vec![unknown("a".to_owned(), "it has a submodule"), unknown("b".to_owned(), "the AUR is down")];
        let many =
            || packages().into_iter().chain((0..6).map(|number| unknown(format!("p{number}"), "the AUR is down")));
        let problem = Finding::error("aur-mirror", "7 packages are unknown: the AUR is down");
        for packages in [packages(), many().collect()] {
            let text = shown(packages, std::slice::from_ref(&problem));
            assert_eq!(text.matches("the AUR is down").count(), 1, "{text}");
            assert!(text.contains("unknown, for the problem below") && text.contains("it has a submodule"), "{text}");
        }
    }

    #[test]
    fn many_branches_that_are_deleted_are_counted_by_their_reasons() {
        let close = |number: usize| {
            let pkgbase = PkgBase::new(&format!("p{number}")).expect("legal");
            let why = if number.is_multiple_of(3) {
                "the package has left the repository"
            } else {
                "its content has arrived"
            };
            ReviewChange { branch: pkgbase.review_branch(), pkgbase, action: "close", why: why.to_owned() }
        };
        let told = |count: usize| {
            let text = shown_with(Vec::new(), &[], (0..count).map(close).collect());
            text.lines().skip(count + 1).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(told(4), "nothing to do");
        insta::assert_snapshot!(told(7), @r"
          reviews 7 are closed and their branches deleted:
                      4  its content has arrived
                      3  the package has left the repository
        nothing to do
        ");
    }

    #[test]
    fn a_name_with_a_line_feed_ends_no_line() {
        let problem = Finding::error("bad-name", "`a\nb` is no name").at("a\nb", None).hint("rename\nit");
        let text = shown(Vec::new(), &[problem]);
        assert_eq!(text, "on-schedule of own\n  problem a\\nb: `a\\nb` is no name; rename\\nit\nnothing to do\n");
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_told_once() {
        let mut packages: Vec<_> = (0..9).map(|number| unknown(format!("p{number}"), "the AUR is down")).collect();
        packages.push(unknown("q".to_owned(), "it has a submodule"));
        assert_eq!(
            shown(packages, &[]),
            "on-schedule of own\n  note    p0, p1, p2, p3, p4 and 4 more: the AUR is down\n  \
             note    q: it has a submodule\nnothing to do\n"
        );
    }
}

//! View models that several pages share: badges, builds, runs, problems, reasons.

use jiff::Timestamp;
use serde_json::Value;

use super::text::path_part;
use super::time;
use crate::controller::view::{BuildView, RunView};
use crate::domain::build::{BuildReason, BuildState};
use crate::domain::classify::{Reason, Weight};
use crate::domain::finding::{Finding, Severity};

/// A word with a colour; the word alone says everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Badge {
    /// `ok`, `bad`, `warn`, `busy` or `idle`.
    pub tone: &'static str,
    /// The word, with a sign before it.
    pub label: &'static str,
}

/// The badge of a build.
#[must_use]
pub const fn build_badge(state: BuildState) -> Badge {
    let (tone, label) = match state {
        BuildState::Waiting => ("idle", "… waiting"),
        BuildState::Blocked => ("warn", "⊘ blocked"),
        BuildState::Ready => ("idle", "○ ready"),
        BuildState::Dispatched => ("busy", "● starting"),
        BuildState::Running => ("busy", "● running"),
        BuildState::Succeeded => ("ok", "✓ succeeded"),
        BuildState::Failed => ("bad", "✗ failed"),
        BuildState::TimedOut => ("bad", "✗ timed out"),
        BuildState::Cancelled => ("idle", "– cancelled"),
        BuildState::Superseded => ("idle", "– superseded"),
        BuildState::AlreadyBuilt => ("ok", "= already built"),
        BuildState::Skipped => ("idle", "– skipped"),
        BuildState::Lost => ("bad", "✗ lost"),
    };
    Badge { tone, label }
}

/// The badge of a run.
#[must_use]
pub fn run_badge(state: &str) -> Badge {
    let (tone, label) = match state {
        "running" => ("busy", "● running"),
        "done" => ("ok", "✓ done"),
        "failed" => ("bad", "✗ failed"),
        _ => ("idle", "? unknown"),
    };
    Badge { tone, label }
}

/// The badge of a weight.
#[must_use]
pub const fn weight_badge(weight: Weight) -> Badge {
    let (tone, label) = match weight {
        Weight::Cosmetic => ("idle", "cosmetic"),
        Weight::Version => ("ok", "version"),
        Weight::Stronger => ("ok", "stronger"),
        Weight::Review => ("warn", "! review"),
        Weight::Trust => ("bad", "!! trust"),
        Weight::Hostile => ("bad", "!!! hostile"),
    };
    Badge { tone, label }
}

const fn weight_meaning(weight: Weight) -> &'static str {
    match weight {
        Weight::Cosmetic => "nothing that makepkg would see",
        Weight::Version => "the version and what moves with it",
        Weight::Stronger => "verification becomes stronger",
        Weight::Review => "somebody should read it",
        Weight::Trust => "it changes whom or what is trusted",
        Weight::Hostile => "it looks like an attack",
    }
}

/// A moment, for `<time>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// For machines.
    pub iso: String,
    /// To the second.
    pub exact: String,
    /// As people say it.
    pub ago: String,
}

impl Moment {
    /// A moment seen from now.
    #[must_use]
    pub fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { iso: at.to_string(), exact: time::moment(at), ago: time::ago(at, now) }
    }
}

/// A link with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it leads.
    pub href: String,
    /// Its text.
    pub label: String,
}

impl Link {
    /// A link to the page of a package.
    #[must_use]
    pub fn package(name: &str) -> Self {
        Self { href: package_href(name), label: name.to_owned() }
    }
}

/// The page of a package.
#[must_use]
pub fn package_href(name: &str) -> String {
    format!("/packages/{}", path_part(name))
}

/// The page of a review.
#[must_use]
pub fn review_href(name: &str) -> String {
    format!("/reviews/{}", path_part(name))
}

/// The page of a build.
#[must_use]
pub fn build_href(id: &str) -> String {
    format!("/builds/{}", path_part(id))
}

/// The page of a run.
#[must_use]
pub fn run_href(id: &str) -> String {
    format!("/runs/{}", path_part(id))
}

/// A build in a list.
#[derive(Debug, Clone)]
pub struct BuildRow {
    /// Its page.
    pub href: String,
    /// The page of its package.
    pub package_href: String,
    /// Its package.
    pub pkgbase: String,
    /// The commit, short.
    pub commit: String,
    /// Where it stands.
    pub badge: Badge,
    /// Why it was asked for.
    pub reason: &'static str,
    /// The class asked for; may be empty.
    pub class: String,
    /// How long it took, or has taken; may be empty.
    pub took: String,
    /// When it ended, began or was asked for, whichever is latest.
    pub when: Moment,
    /// How it ended or what it waits for; may be empty.
    pub note: String,
}

impl BuildRow {
    /// The row of a build.
    #[must_use]
    pub fn new(build: &BuildView, now: Timestamp) -> Self {
        let waits: Vec<_> = build.waits_for.iter().map(crate::domain::name::PkgBase::as_str).collect();
        let note = match (&build.message, build.state) {
            (_, BuildState::Waiting) if !waits.is_empty() => format!("waits for {}", waits.join(", ")),
            (None, BuildState::Blocked) if !waits.is_empty() => format!("blocked by {}", waits.join(", ")),
            (message, _) => message.clone().unwrap_or_default(),
        };
        let took = build.started.map(|started| {
            let until = build.ended.or(build.state.is_underway().then_some(now));
            until.map(|until| time::took(started, until)).unwrap_or_default()
        });
        Self {
            href: build_href(&build.id),
            package_href: package_href(build.pkgbase.as_str()),
            pkgbase: build.pkgbase.to_string(),
            commit: build.commit.short(),
            badge: build_badge(build.state),
            reason: reason_text(build.reason),
            class: build.class.clone().unwrap_or_default(),
            took: took.unwrap_or_default(),
            when: Moment::new(build.ended.or(build.started).unwrap_or(build.created), now),
            note,
        }
    }

    /// The rows of builds.
    #[must_use]
    pub fn all(builds: &[BuildView], now: Timestamp) -> Vec<Self> {
        builds.iter().map(|build| Self::new(build, now)).collect()
    }
}

const fn reason_text(reason: BuildReason) -> &'static str {
    match reason {
        BuildReason::Changed => "changed",
        BuildReason::Directive => "directive",
        BuildReason::Deploy => "asked for",
        BuildReason::Trigger => "trigger",
        BuildReason::Upstream => "upstream",
        BuildReason::Bump => "bump",
        BuildReason::Rebuild => "rebuild",
    }
}

/// A run in a list.
#[derive(Debug, Clone)]
pub struct RunRow {
    /// Its page.
    pub href: String,
    /// The word for the pipeline.
    pub pipeline: String,
    /// How it stands.
    pub badge: Badge,
    /// What started it.
    pub trigger: String,
    /// One line.
    pub summary: String,
    /// How long it took; may be empty.
    pub took: String,
    /// When it began.
    pub when: Moment,
}

impl RunRow {
    /// The row of a run.
    #[must_use]
    pub fn new(run: &RunView, now: Timestamp) -> Self {
        Self {
            href: run_href(&run.id),
            pipeline: run.pipeline.clone(),
            badge: run_badge(&run.state),
            trigger: run.trigger.clone(),
            summary: run.summary.clone(),
            took: run.ended.map(|ended| time::took(run.started, ended)).unwrap_or_default(),
            when: Moment::new(run.started, now),
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone)]
pub struct ProblemRow {
    /// `bad` or `warn`.
    pub tone: &'static str,
    /// The word for how bad it is.
    pub severity: &'static str,
    /// The package it is about; may be empty.
    pub pkgbase: String,
    /// The page of that package; may be empty.
    pub href: String,
    /// The commit to blame, short; may be empty.
    pub commit: String,
    /// One sentence.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
    /// Its code.
    pub code: String,
}

impl ProblemRow {
    /// The row of a finding.
    #[must_use]
    pub fn from_finding(finding: &Finding) -> Self {
        let (tone, severity) = severity_words(finding.severity == Severity::Error);
        let place = match (&finding.file, finding.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            (None, _) => String::new(),
        };
        Self {
            tone,
            severity,
            pkgbase: String::new(),
            href: String::new(),
            commit: finding.commit.map(|commit| commit.short()).unwrap_or_default(),
            message: format!("{place}{}", finding.message),
            hint: finding.hint.clone(),
            code: finding.code.to_owned(),
        }
    }

    /// The problems of a run's document, errors first.
    #[must_use]
    pub fn of_document(document: &Value) -> Vec<Self> {
        let mut rows: Vec<_> = items(document, "problems").iter().map(Self::from_json).collect();
        rows.sort_by_key(|row| row.tone != "bad");
        rows
    }

    fn from_json(problem: &Value) -> Self {
        let (tone, severity) = severity_words(problem["severity"] == "error");
        let pkgbase = text(problem, "pkgbase");
        Self {
            tone,
            severity,
            href: if pkgbase.is_empty() { String::new() } else { package_href(&pkgbase) },
            pkgbase,
            commit: short(problem, "commit"),
            message: text(problem, "message"),
            hint: text(problem, "hint"),
            code: text(problem, "code"),
        }
    }
}

const fn severity_words(error: bool) -> (&'static str, &'static str) {
    if error { ("bad", "✗ error") } else { ("warn", "! warning") }
}

/// Reasons of one weight.
#[derive(Debug, Clone)]
pub struct ReasonGroup {
    /// The colour.
    pub tone: &'static str,
    /// The word for the weight.
    pub label: &'static str,
    /// What the weight means.
    pub meaning: &'static str,
    /// The reasons.
    pub reasons: Vec<ReasonRow>,
}

/// One reason.
#[derive(Debug, Clone)]
pub struct ReasonRow {
    /// Its code.
    pub code: String,
    /// `PKGBUILD:3`.
    pub place: String,
    /// What stood there; may be empty.
    pub old: String,
    /// What stands there; may be empty.
    pub new: String,
    /// One sentence.
    pub message: String,
}

/// Reasons by weight, heaviest first.
#[must_use]
pub fn reason_groups(reasons: &[Reason]) -> Vec<ReasonGroup> {
    let mut weights: Vec<_> = reasons.iter().map(|reason| reason.severity).collect();
    weights.sort_unstable();
    weights.dedup();
    weights.reverse();
    let group = |weight: Weight| {
        let badge = weight_badge(weight);
        let of_weight = reasons.iter().filter(|reason| reason.severity == weight);
        ReasonGroup {
            tone: badge.tone,
            label: badge.label,
            meaning: weight_meaning(weight),
            reasons: of_weight.map(ReasonRow::new).collect(),
        }
    };
    weights.into_iter().map(group).collect()
}

impl ReasonRow {
    fn new(reason: &Reason) -> Self {
        Self {
            code: reason.code.to_owned(),
            place: place(&reason.file, reason.line.map(u64::from)),
            old: reason.old.clone().unwrap_or_default(),
            new: reason.new.clone().unwrap_or_default(),
            message: reason.message.clone(),
        }
    }
}

fn place(file: &str, line: Option<u64>) -> String {
    line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"))
}

/// `1.0-1 → 1.1-1`, as far as it is known.
#[must_use]
pub fn versions(from: &str, to: &str) -> String {
    match (from.is_empty(), to.is_empty()) {
        (false, false) if from != to => format!("{from} → {to}"),
        (false, _) => from.to_owned(),
        (true, _) => to.to_owned(),
    }
}

/// What happens with a package in a run.
#[derive(Debug, Clone)]
pub struct DecisionRow {
    /// The package.
    pub pkgbase: String,
    /// Its page.
    pub href: String,
    /// What was heard.
    pub heard: String,
    /// What happens.
    pub badge: Badge,
    /// The versions.
    pub versions: String,
    /// One sentence.
    pub why: String,
    /// Whether nothing happens with it.
    pub quiet: bool,
    /// Whether its reasons matter enough to be open at once.
    pub open: bool,
    /// A line about the reasons.
    pub summary: String,
    /// What it rests on.
    pub reasons: Vec<ReasonGroup>,
}

impl DecisionRow {
    /// The decisions in a run's document.
    #[must_use]
    pub fn of_document(document: &Value) -> Vec<Self> {
        items(document, "packages").iter().map(Self::from_json).collect()
    }

    /// The row of a decision as a run's document has it.
    #[must_use]
    pub fn from_json(decision: &Value) -> Self {
        let pkgbase = text(decision, "pkgbase");
        let action = text(decision, "action");
        let reasons = items(decision, "reasons");
        Self {
            href: package_href(&pkgbase),
            pkgbase,
            heard: text(decision, "observation"),
            badge: action_badge(&action),
            versions: versions(&text(decision, "from_version"), &text(decision, "to_version")),
            why: text(decision, "why"),
            quiet: action == "none",
            open: action == "review",
            summary: reasons_summary(reasons.len()),
            reasons: groups_of_json(reasons),
        }
    }
}

fn reasons_summary(count: usize) -> String {
    format!("{count} {}", if count == 1 { "reason" } else { "reasons" })
}

const WEIGHTS: [(Weight, &str); 6] = [
    (Weight::Hostile, "hostile"),
    (Weight::Trust, "trust"),
    (Weight::Review, "review"),
    (Weight::Stronger, "stronger"),
    (Weight::Version, "version"),
    (Weight::Cosmetic, "cosmetic"),
];

fn groups_of_json(reasons: &[Value]) -> Vec<ReasonGroup> {
    let group = |(weight, word): (Weight, &str)| {
        let badge = weight_badge(weight);
        let rows = reasons.iter().filter(|reason| reason["severity"] == word).map(|reason| ReasonRow {
            code: text(reason, "code"),
            place: place(&text(reason, "file"), reason["line"].as_u64()),
            old: text(reason, "old"),
            new: text(reason, "new"),
            message: text(reason, "message"),
        });
        ReasonGroup { tone: badge.tone, label: badge.label, meaning: weight_meaning(weight), reasons: rows.collect() }
    };
    WEIGHTS.into_iter().map(group).filter(|group| !group.reasons.is_empty()).collect()
}

fn action_badge(action: &str) -> Badge {
    let (tone, label) = match action {
        "commit" => ("ok", "✓ committed"),
        "review" => ("warn", "! review"),
        "state" => ("idle", "= recorded"),
        "skip" => ("warn", "– held back"),
        _ => ("idle", "= nothing"),
    };
    Badge { tone, label }
}

/// A list in a document; empty if there is none.
#[must_use]
pub fn items<'a>(document: &'a Value, key: &str) -> &'a [Value] {
    document[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text in a document; empty if there is none.
#[must_use]
pub fn text(document: &Value, key: &str) -> String {
    document[key].as_str().unwrap_or_default().to_owned()
}

/// The first ten characters of an id in a document.
#[must_use]
pub fn short(document: &Value, key: &str) -> String {
    text(document, key).chars().take(10).collect()
}

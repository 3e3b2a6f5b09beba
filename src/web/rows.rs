//! Rows that several pages share: builds, runs, problems, decisions.

use jiff::Timestamp;
use serde_json::Value;

use super::badge::{Badge, action_badge, build_badge, run_badge};
use super::document::{items, short, text};
use super::link::{build_href, package_href, run_href};
use super::reasons::{ReasonGroup, groups_of_json};
use super::time;
use crate::controller::view::{BuildView, RunView};
use crate::domain::build::{BuildReason, BuildState};
use crate::domain::finding::{Finding, Severity};

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
    /// How urgent it is.
    pub lane: &'static str,
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
        let note = [build.nobody.clone().unwrap_or_default(), note];
        let note = note.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
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
            lane: build.lane.as_str(),
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
            badge: run_badge(&run.state, run.errors),
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

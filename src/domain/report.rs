//! What a run did, as CI services want to be told: a summary in Markdown, values for the next job, and problems at the
//! lines they are about.
//!
//! Much of what is told was written by strangers. None of it can be read as a command of the service, or as more Markdown
//! than words.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::classify::text::shown;
use super::finding::Severity;
use super::plan::{Action, Document, Problem, RefChange};
use super::review::markdown::{code, sentence};
use super::words::number_of;

/// So many lines of each kind stand in a summary; GitHub takes a mebibyte of them.
const MOST_LINES: usize = 200;
/// So many problems are shown at their lines; of more, services show none.
const MOST_ANNOTATIONS: usize = 50;

/// What came of a run.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// Whether anything was pushed.
    pub pushed: bool,
    /// How many builds were enqueued.
    pub enqueued: usize,
    /// Its id in the record.
    pub run_id: &'a str,
}

/// What the run did, in Markdown.
#[must_use]
pub fn summary(document: &Document, ending: Ending<'_>) -> String {
    let mut text = format!("### {} of {}\n\n", sentence(&document.pipeline), code(&document.repository));
    let pushed = if ending.pushed { "Pushed" } else { "Nothing to push" };
    let _ = writeln!(text, "{pushed}, {} enqueued.", number_of(ending.enqueued, "build"));
    let decided = document.packages.iter().filter_map(|decision| {
        let action = match decision.action {
            Action::Commit => "commit",
            Action::Review => "review",
            Action::Skip => "skip",
            Action::None | Action::State => return None,
        };
        Some(format!("{action} {}: {}", code(decision.pkgbase.as_str()), sentence(&decision.why)))
    });
    list(&mut text, "Packages", decided.collect());
    let builds = document.builds.iter();
    list(
        &mut text,
        "Builds",
        builds.map(|it| format!("{} ({})", code(it.pkgbase.as_str()), it.reason.as_str())).collect(),
    );
    list(&mut text, "Removed", document.remove.iter().map(|pkgbase| code(pkgbase.as_str())).collect());
    let problems = document.problems.iter().map(|problem| {
        let package = problem.pkgbase.as_ref().map(|it| format!("{}: ", code(it.as_str()))).unwrap_or_default();
        let hint = if problem.hint.is_empty() { String::new() } else { format!(" → {}", sentence(&problem.hint)) };
        format!("**{}** {package}{}{hint}", word(problem.severity), sentence(&problem.message))
    });
    list(&mut text, "Problems", problems.collect());
    text
}

fn list(text: &mut String, title: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n#### {title}\n");
    for line in lines.iter().take(MOST_LINES) {
        let _ = writeln!(text, "- {line}");
    }
    if lines.len() > MOST_LINES {
        let _ = writeln!(text, "- … and {} more", lines.len() - MOST_LINES);
    }
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// Values for the next job: names in lower case with underscores, values of one line.
#[must_use]
pub fn outputs(document: &Document, ending: Ending<'_>) -> Vec<(&'static str, String)> {
    let builds: Vec<_> = document.builds.iter().map(|build| build.pkgbase.as_str()).collect();
    let main = document.base.main;
    let is_main = |change: &&RefChange| change.name.starts_with("refs/heads/") && main.is_some() && change.old == main;
    let tip = document.refs.iter().find(is_main).and_then(|change| change.new);
    let tip = tip.or(main).map(|tip| tip.to_string());
    let errors = document.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let values = [
        ("run_id", ending.run_id.to_owned()),
        ("pushed", ending.pushed.to_string()),
        ("enqueued", ending.enqueued.to_string()),
        ("commit", tip.unwrap_or_default()),
        ("builds", builds.join(",")),
        ("reviews", document.reviews.len().to_string()),
        ("errors", errors.to_string()),
    ];
    // All of these are of one line by themselves; this keeps it so.
    values.map(|(name, value)| (name, shown(value.as_bytes()))).into()
}

/// Problems as commands of GitHub Actions, which shows them at their lines.
#[must_use]
pub fn workflow_commands(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems.iter().take(MOST_ANNOTATIONS) {
        let mut properties = vec![format!("title={}", property(problem.code))];
        if let Some(file) = &problem.file {
            properties.push(format!("file={}", property(file)));
            properties.extend(problem.line.map(|line| format!("line={line}")));
        }
        let hint = if problem.hint.is_empty() { String::new() } else { format!("\n{}", problem.hint) };
        let message = format!("{}{hint}", problem.message);
        let _ = writeln!(text, "::{} {}::{}", word(problem.severity), properties.join(","), data(&message));
    }
    text
}

/// One sentence about a run that failed, as a command of GitHub Actions.
#[must_use]
pub fn failure_command(message: &str) -> String {
    format!("::error title=pkgwarden::{}\n", data(message))
}

/// Text as data of a command: it ends no line, so that no command begins in it.
fn data(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| shown(line.as_bytes())).collect();
    lines.join("\n").replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Text as a property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Problems as GitLab reads them from a report on code quality.
#[must_use]
pub fn code_quality(problems: &[Problem]) -> Value {
    let entry = |problem: &Problem| {
        let package = problem.pkgbase.as_ref().map(|it| format!("{it}/PKGBUILD"));
        let path = problem.file.clone().or(package).unwrap_or_else(|| ".ci/config".to_owned());
        let (path, message) = (shown(path.as_bytes()), shown(problem.message.as_bytes()));
        let digest = Sha256::digest(format!("{}\n{path}\n{message}", problem.code));
        let fingerprint = digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let severity = if problem.severity == Severity::Error { "major" } else { "minor" };
        let hint =
            if problem.hint.is_empty() { String::new() } else { format!("; {}", shown(problem.hint.as_bytes())) };
        json!({
            "description": format!("{message}{hint}"),
            "check_name": problem.code,
            "fingerprint": fingerprint,
            "severity": severity,
            "location": {"path": path, "lines": {"begin": problem.line.unwrap_or(1)}},
        })
    };
    problems.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::finding::Finding;
    use crate::domain::name::PkgBase;
    use crate::domain::plan::{Base, Heard, PackageDecision};

    fn document(why: &str, problems: &[Finding]) -> Document {
        let decision = PackageDecision {
            pkgbase: PkgBase::new("foo").expect("legal"),
            observation: Heard::Changed,
            action: Action::Review,
            verdict: None,
            reasons: Vec::new(),
            trees: None,
            from_version: None,
            to_version: None,
            why: why.to_owned(),
        };
        Document {
            repository: "own".to_owned(),
            pipeline: "on-schedule".to_owned(),
            now: Timestamp::UNIX_EPOCH,
            base: Base { main: "1".repeat(40).parse().ok(), state: None, scheduled: None },
            packages: vec![decision],
            refs: Vec::new(),
            builds: Vec::new(),
            remove: Vec::new(),
            stop: Vec::new(),
            reviews: Vec::new(),
            aur_push: Vec::new(),
            problems: problems.iter().map(Into::into).collect(),
        }
    }

    const ENDING: Ending<'_> = Ending { pushed: true, enqueued: 1, run_id: "7" };

    #[test]
    fn a_summary_says_what_strangers_wrote_and_does_nothing_of_it() {
        let problem =
            Finding::error("bad", "`x` pings @mira\n::warning::x").at("foo/PKGBUILD", Some(3)).hint("mend it");
        let text = summary(&document("the host is new", &[problem]), ENDING);
        insta::assert_snapshot!(text, @r"
        ### on-schedule of `own`

        Pushed, 1 build enqueued.

        #### Packages

        - review `foo`: the host is new

        #### Problems

        - **error** ``foo/PKGBUILD:3: `x` pings @mira\n::warning::x`` → mend it
        ");
    }

    #[test]
    fn a_problem_is_shown_at_its_line_and_is_one_command() {
        let problem = Finding::error("bad-name", "no\n::set-output name=x::y").at("a,b:c\n/PKGBUILD", Some(3));
        let problems: Vec<_> = [problem.hint("100% sure")].iter().map(Problem::from).collect();
        insta::assert_snapshot!(workflow_commands(&problems), @"::error title=bad-name,file=a%2Cb%3Ac%0A/PKGBUILD,line=3::a,b:c%0A/PKGBUILD:3: no%0A::set-output name=x::y%0A100%25 sure");
        let report = code_quality(&problems);
        assert_eq!(report[0]["location"]["lines"]["begin"], 3);
        assert_eq!(report[0]["severity"], "major");
        assert_eq!(report[0]["fingerprint"].as_str().map(str::len), Some(64));
    }

    #[test]
    fn the_next_job_is_told_what_moved() {
        let outputs: Vec<_> =
            outputs(&document("", &[]), ENDING).iter().map(|(name, value)| format!("{name}={value}")).collect();
        let commit = format!("commit={}", "1".repeat(40));
        assert_eq!(outputs, ["run_id=7", "pushed=true", "enqueued=1", &commit, "builds=", "reviews=0", "errors=0"]);
    }

    proptest! {
        #[test]
        fn whatever_a_problem_says_it_is_one_line_and_one_command(text in any::<String>(), file in any::<String>()) {
            let finding = Finding::warning("code", text).at(file, Some(1));
            let commands = workflow_commands(&[Problem::from(&finding)]);
            prop_assert_eq!(commands.trim_end_matches('\n').chars().filter(|c| c.is_control()).count(), 0);
            prop_assert!(commands.starts_with("::warning title=code,file="));
            let properties = commands.split("::").nth(1).unwrap_or_default();
            prop_assert_eq!(properties.matches(',').count(), 2, "{}", commands);
        }
    }
}

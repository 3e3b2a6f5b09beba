//! Answers as text for people. Everything in them may come from strangers, so hidden characters are
//! shown.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, Color};
use jiff::Timestamp;
use serde_json::Value;

use super::cache::cache_uses;
use crate::cli::diff;
use crate::cli::output::{lines, number_of, paint, table};
use crate::controller::view::FileDiff;
use crate::web::diff::{FileView, view};
use crate::web::text::one_line;
use crate::web::time;

/// A text in an answer, on one line; empty if there is none.
pub fn text(value: &Value, key: &str) -> String {
    one_line(value[key].as_str().unwrap_or_default())
}

/// A list in an answer; empty if there is none.
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn moment(value: &Value, key: &str) -> Option<Timestamp> {
    value[key].as_str()?.parse().ok()
}

fn names(value: &Value, key: &str) -> String {
    list(value, key).iter().filter_map(Value::as_str).map(one_line).collect::<Vec<_>>().join(", ")
}

/// How to print. Colours are always written; the stream takes them out where nobody wants them.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// What time it is, for "3 min ago".
    pub now: Timestamp,
}

impl Look {
    fn when(self, at: Option<Timestamp>) -> Cell {
        Cell::new(at.map(|at| time::ago(at, self.now)).unwrap_or_default()).set_alignment(CellAlignment::Right)
    }

    /// Builds, one a line.
    pub fn builds(self, builds: &[Value]) -> String {
        if builds.is_empty() {
            return "No build.\n".to_owned();
        }
        let mut table = table(&["ID", "PACKAGE", "STATE", "WHY", "TOOK", "WHEN", "NOTE"]);
        for build in builds {
            let (started, ended) = (moment(build, "started"), moment(build, "ended"));
            let is_live = matches!(build["state"].as_str(), Some("running" | "dispatched"));
            let until = ended.or(is_live.then_some(self.now));
            let took = started.zip(until).map(|(from, until)| time::took(from, until)).unwrap_or_default();
            table.add_row(vec![
                Cell::new(text(build, "id")),
                Cell::new(text(build, "pkgbase")),
                state(build),
                Cell::new(text(build, "reason")),
                Cell::new(took).set_alignment(CellAlignment::Right),
                self.when(ended.or(started).or_else(|| moment(build, "created"))),
                Cell::new(remark(build)),
            ]);
        }
        lines(&table)
    }

    /// One build with its attempts.
    pub fn build(self, build: &Value) -> String {
        let mut out = self.builds(std::slice::from_ref(build));
        let _ = write!(
            out,
            "\ncommit {}\nfor    {} / {}\n",
            text(build, "commit"),
            text(build, "repository"),
            text(build, "arch")
        );
        if !build["why"].is_null() {
            let _ = writeln!(out, "why    {}", text(build, "why"));
        }
        out += &asked(&build["asked"]);
        for attempt in list(build, "attempts") {
            let outcome = attempt["outcome"].as_str().map_or_else(|| "running".to_owned(), one_line);
            let _ = writeln!(out, "attempt {}: {outcome} {}", text(attempt, "id"), text(attempt, "message"));
            out += &cache_uses(list(attempt, "caches"));
        }
        out
    }

    /// One package: its sources and how asking them goes, what the last run decided, its builds.
    pub fn package(self, package: &Value) -> String {
        let bold = Style::new().bold();
        let mut out = format!("{} {}\n", paint(bold, &text(package, "pkgbase")), text(package, "version"));
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "{name:<12} {value}");
        };
        let some = |value: String, none: &str| if value.is_empty() { none.to_owned() } else { value };
        line("published", some(text(package, "published"), "no"));
        line("needs", some(names(package, "needs"), "nothing of this repository"));
        line("needed by", some(names(package, "needed_by"), "nothing of this repository"));
        if !package["keepers"].is_null() {
            line("kept by", text(package, "keepers"));
        }
        if !package["held"].is_null() {
            line("held", text(package, "held"));
        }
        let decision = &package["decision"];
        if !decision.is_null() {
            line("last run", format!("{}: {}", text(decision, "action"), text(decision, "why")));
        }
        if !package["libraries_unknown"].is_null() {
            line("libraries", text(package, "libraries_unknown"));
        }
        if let Some(ran) = moment(&package["script"], "ran") {
            let name = text(package, "pkgbase");
            line(
                "script",
                format!("ran {}; `pkgwarden ctl logs {name} --script` shows what it printed", time::ago(ran, self.now)),
            );
        }
        for source in list(package, "sources") {
            out += &self.source(source);
        }
        out += &problems(list(package, "findings"));
        out + "\n" + &self.builds(list(package, "builds"))
    }

    fn source(self, source: &Value) -> String {
        let mut out = format!("{:<12} {}\n", text(source, "role"), text(source, "source"));
        let when =
            |key: &str| moment(source, key).map(|at| format!("{} ({})", time::moment(at), time::ago(at, self.now)));
        let mut line = |name: &str, value: Option<String>| {
            let _ = value.map(|value| writeln!(out, "  {name:<10} {value}"));
        };
        let said = |key: &str| source[key].as_str().map(one_line);
        line("asked", Some(when("asked").unwrap_or_else(|| "never".to_owned())));
        line("answer", said("answer").zip(when("answered")).map(|(answer, when)| format!("{answer}, {when}")));
        line("dealt with", said("cursor"));
        line("next", Some(when("next").unwrap_or_else(|| "in the next run".to_owned())));
        line("unknown", said("error"));
        out
    }

    /// Runs, one a line; and where they found something wrong, how to see that.
    pub fn runs(self, runs: &[Value]) -> String {
        if runs.is_empty() {
            return "No run.\n".to_owned();
        }
        let mut table = table(&["RUN", "PIPELINE", "STATE", "BY", "WHEN", "NOTE"]);
        for run in runs {
            table.add_row(vec![
                Cell::new(text(run, "id")),
                Cell::new(text(run, "pipeline")),
                state(run),
                Cell::new(text(run, "trigger")),
                self.when(moment(run, "started")),
                Cell::new(text(run, "summary")),
            ]);
        }
        let out = lines(&table);
        match runs.iter().find(|run| text(run, "summary").contains(" problem")) {
            Some(run) => format!("{out}`pkgwarden ctl runs {}` shows what that run found wrong\n", text(run, "id")),
            None => out,
        }
    }

    /// Repositories, one a line.
    pub fn repositories(self, repositories: &[Value]) -> String {
        let mut out = String::new();
        for repository in repositories {
            let main: String = text(repository, "main").chars().take(10).collect();
            let looked = moment(repository, "looked_at")
                .map_or("not looked at yet".to_owned(), |at| format!("looked at {}", time::ago(at, self.now)));
            let paused = if repository["paused"] == true {
                paint(AnsiColor::Yellow.on_default(), " · paused")
            } else {
                String::new()
            };
            let _ = writeln!(
                out,
                "{} · {} at {main} · {} · {looked}{paused}",
                paint(Style::new().bold(), &text(repository, "name")),
                text(repository, "branch"),
                number_of(
                    usize::try_from(repository["packages"].as_u64().unwrap_or_default()).unwrap_or_default(),
                    "package"
                ),
            );
            if !repository["error"].is_null() {
                let _ = writeln!(out, "{}: {}", paint(AnsiColor::Red.on_default(), "error"), text(repository, "error"));
            }
        }
        out
    }
}

/// What a build was asked for by.
fn asked(asked: &Value) -> String {
    if asked.is_null() {
        return String::new();
    }
    let mut out = format!("by     {}, started by {}\n", text(asked, "pipeline"), text(asked, "trigger"));
    let words = |value: &Value| match value {
        Value::Array(all) => all.iter().map(|one| one_line(one.as_str().unwrap_or("-"))).collect::<Vec<_>>().join(" "),
        one => one_line(one.as_str().unwrap_or("-")),
    };
    for (what, before, after) in [("upstream", "before", "after"), ("seen", "seen_before", "seen_after")] {
        let (before, after) = (words(&asked["watched"][before]), words(&asked["watched"][after]));
        if !matches!(after.as_str(), "" | "-") {
            let _ = writeln!(out, "{what} {before} -> {after}");
        }
    }
    out
}

impl Look {
    /// What is in quarantine, what is held with it, and what of that is published.
    pub fn quarantine(self, all: &[Value]) -> String {
        let mut out = String::new();
        for one in all {
            let since = moment(one, "since").map(|at| format!(" ({})", time::ago(at, self.now))).unwrap_or_default();
            let name = paint(AnsiColor::Yellow.on_default().bold(), &text(one, "pkgbase"));
            let _ = writeln!(out, "{name}: {}{since}", text(one, "reason"));
            let holds = names(one, "holds");
            if !holds.is_empty() {
                let _ = writeln!(out, "  holds {holds}");
            }
            for file in list(one, "published") {
                let place = if file["current"] == true { "published" } else { "in an earlier generation" };
                let build = file["build"].as_str().map(|id| format!(", build {}", one_line(id))).unwrap_or_default();
                let _ = writeln!(out, "  {place}: {} sha256 {}{build}", text(file, "file"), text(file, "sha256"));
            }
        }
        if all.is_empty() { "Nothing is in quarantine.\n".to_owned() } else { out }
    }
}

/// Files that a build made and that are published.
pub fn made(files: &[Value]) -> String {
    let line = |file: &Value| format!("made   {} sha256 {}\n", text(file, "file"), text(file, "sha256"));
    files.iter().map(line).collect()
}

fn problems(problems: &[Value]) -> String {
    let mut out = String::new();
    for problem in problems {
        let colour = if problem["severity"] == "error" { AnsiColor::Red } else { AnsiColor::Yellow };
        let severity = paint(colour.on_default().bold(), &text(problem, "severity"));
        let hint = text(problem, "hint");
        let hint = if hint.is_empty() { hint } else { format!("; {hint}") };
        let package = text(problem, "pkgbase");
        let package = if package.is_empty() { package } else { format!("{package}: ") };
        let _ = writeln!(out, "{severity}: {package}{}{hint}", text(problem, "message"));
    }
    out
}

/// Reviews, one a line.
pub fn reviews(reviews: &[Value]) -> String {
    if reviews.is_empty() {
        return "No update waits for a person.\n".to_owned();
    }
    let mut table = table(&["PACKAGE", "WEIGHT", "VERSION", "WHY"]);
    for review in reviews {
        let verdict = &review["verdict"];
        table.add_row(vec![
            Cell::new(text(review, "pkgbase")),
            Cell::new(text(verdict, "severity")).fg(weight_colour(verdict)),
            Cell::new(versions(verdict, "old_version", "new_version")),
            Cell::new(match review["group"].as_str() {
                Some(group) => format!("group {}: {}", one_line(group), why_it_waits(review)),
                None => why_it_waits(review),
            }),
        ]);
    }
    lines(&table)
}

/// What made an update wait: the heaviest difference, or what is no difference where the gate would let it in.
fn why_it_waits(review: &Value) -> String {
    let verdict = &review["verdict"];
    if verdict["verdict"] == "minor" {
        let message = review["message"].as_str().unwrap_or_default();
        let because = message.lines().rev().find_map(|line| line.strip_prefix("- "));
        return because.map_or_else(|| "it waits for a person".to_owned(), one_line);
    }
    let heaviest = list(verdict, "reasons").iter().find(|reason| reason["severity"] == verdict["severity"]);
    heaviest.map(placed).unwrap_or_default()
}

/// A reason behind its place.
fn placed(reason: &Value) -> String {
    let line = reason["line"].as_u64().map(|line| format!(":{line}")).unwrap_or_default();
    let file = text(reason, "file");
    let place = if file.is_empty() { file } else { format!("{file}{line}: ") };
    format!("{place}{}", text(reason, "message"))
}

/// One review: why, and what would change.
pub fn review(review: &Value) -> String {
    let verdict = &review["verdict"];
    let bold = Style::new().bold();
    let title = format!("{} {}", text(review, "pkgbase"), versions(verdict, "old_version", "new_version"));
    let (branch, head, trees) = (text(review, "branch"), text(review, "head"), &review["trees"]);
    let compared = format!("compared tree {} with {}", text(trees, "from"), text(trees, "to"));
    let group = review["group"].as_str().map(|group| format!("in the group {}\n", one_line(group))).unwrap_or_default();
    let mut out = format!("{}\n{branch} at {head}\n{group}{compared}\n\n", paint(bold, &title));
    for line in review["message"].as_str().unwrap_or_default().lines() {
        let _ = writeln!(out, "{}", format!("    {}", one_line(line)).trim_end());
    }
    out.push('\n');
    if !review["conflict"].is_null() {
        let _ =
            writeln!(out, "{}: {}\n", paint(AnsiColor::Red.on_default(), "cannot be merged"), text(review, "conflict"));
    }
    let (needed, by) = (&review["approvals"]["needed"], names(&review["approvals"], "by"));
    if needed != 1 {
        let by = if by.is_empty() { "nobody yet".to_owned() } else { by };
        let _ = writeln!(out, "needs {needed} approvals; approved by {by}\n");
    }
    for reason in list(verdict, "reasons") {
        let _ = writeln!(out, "[{}] {}", text(reason, "severity"), placed(reason));
    }
    for file in list(review, "files") {
        out += &diff::file(&file_of(file), "look at the branch with git");
    }
    out
}

/// What a run did.
pub fn run(run: &Value) -> String {
    let mut out = format!("{} run {}: {}\n", text(run, "pipeline"), text(run, "id"), text(run, "summary"));
    let document = &run["document"];
    let acted = list(document, "packages").iter().filter(|package| package["action"] != "none");
    let mut table = table(&["PACKAGE", "ACTION", "VERSION", "WHY"]);
    for package in acted {
        table.add_row(vec![
            Cell::new(text(package, "pkgbase")),
            Cell::new(text(package, "action")),
            Cell::new(versions(package, "from_version", "to_version")),
            Cell::new(text(package, "why")),
        ]);
    }
    if table.row_count() > 0 {
        out += &lines(&table);
    }
    let builds = names_of(list(document, "builds"));
    if !builds.is_empty() {
        let _ = writeln!(out, "builds: {builds}");
    }
    out + &problems(list(document, "problems"))
}

fn file_of(file: &Value) -> FileView {
    let content = |key: &str| file[key].as_str().map(str::to_owned);
    view(&FileDiff {
        path: file["path"].as_str().unwrap_or_default().to_owned(),
        old: content("old"),
        new: content("new"),
        binary: file["binary"] == true,
    })
}

/// Who builds, one a line, with what; empty where nobody says so.
pub fn builders(queue: &Value) -> String {
    let builders = list(queue, "builders");
    if builders.is_empty() {
        return String::new();
    }
    let mut table = table(&["BUILDER", "CLASS", "SLOTS", "BUILDS"]);
    for builder in builders {
        let number = |key: &str| builder[key].as_u64().map(|number| number.to_string());
        let class = number("class").unwrap_or_default();
        table.add_row(vec![
            Cell::new(text(builder, "name")),
            Cell::new(if builder["only"] == true { format!("{class} only") } else { class }),
            Cell::new(number("slots").unwrap_or_default()).set_alignment(CellAlignment::Right),
            Cell::new(names_of(list(builder, "builds"))),
        ]);
    }
    let mut out = format!("\nwho builds\n{}", lines(&table));
    for builder in builders.iter().filter(|builder| builder["trouble"].is_string()) {
        let name = paint(AnsiColor::Yellow.on_default(), &text(builder, "name"));
        let _ = writeln!(out, "{name} takes no builds now: {}", text(builder, "trouble"));
    }
    out
}

fn names_of(builds: &[Value]) -> String {
    builds.iter().map(|build| text(build, "pkgbase")).collect::<Vec<_>>().join(", ")
}

fn versions(value: &Value, from: &str, to: &str) -> String {
    match (text(value, from), text(value, to)) {
        (from, to) if from.is_empty() || from == to => to,
        (from, to) if to.is_empty() => from,
        (from, to) => format!("{from} → {to}"),
    }
}

fn remark(build: &Value) -> String {
    let parts = [text(build, "nobody"), how_it_stands(build)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

fn how_it_stands(build: &Value) -> String {
    match (build["state"].as_str(), names(build, "waits_for")) {
        (Some("waiting"), waits) if !waits.is_empty() => format!("waits for {waits}"),
        (Some("blocked"), waits) if !waits.is_empty() => format!("blocked by {waits}"),
        _ => text(build, "message"),
    }
}

fn state(value: &Value) -> Cell {
    let colour = match value["state"].as_str() {
        Some("succeeded" | "already_built" | "done") => Color::Green,
        Some("failed" | "timed_out" | "lost") => Color::Red,
        Some("blocked") => Color::Yellow,
        Some("running" | "dispatched") => Color::Blue,
        _ => Color::Reset,
    };
    Cell::new(text(value, "state")).fg(colour)
}

fn weight_colour(verdict: &Value) -> Color {
    match verdict["severity"].as_str() {
        Some("trust" | "hostile") => Color::Red,
        Some("review") => Color::Yellow,
        _ => Color::Reset,
    }
}

#[cfg(test)]
mod tests;

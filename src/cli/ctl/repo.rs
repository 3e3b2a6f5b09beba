//! `ctl repo`: published package repositories of a running controller.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::client::address;
use super::show::{list, text};
use super::{CliError, Exit, RepoCommand, Session};
use crate::cli::output::{lines, number_of, table};
use crate::cli::repo::Promote;

impl Session<'_> {
    pub(super) async fn repo(&mut self, command: RepoCommand) -> Result<Exit, CliError> {
        match command {
            RepoCommand::Generations => self.generations().await,
            RepoCommand::Generation { number, target } => self.generation(number, target).await,
            RepoCommand::Promote(what) => self.promote(&what).await,
            RepoCommand::Removals { confirm } => self.removals(confirm).await,
        }
    }

    async fn generations(&mut self) -> Result<Exit, CliError> {
        let all = self.client.get("/api/v1/generations").await?;
        self.print(&all, |_| generations(all.as_array().map(Vec::as_slice).unwrap_or_default()))?;
        Ok(Exit::Done)
    }

    /// The newest one of a repository that is named, or else of the main one, unless a number is given.
    async fn generation(&mut self, number: Option<u64>, target: Option<String>) -> Result<Exit, CliError> {
        let all = self.client.get("/api/v1/generations").await?;
        let mut ones = all.as_array().into_iter().flatten();
        // As `repo generation`: the main one, and not the one that is before it.
        let is_meant = |one: &&Value| match &target {
            Some(target) => one["repository"] == target.as_str(),
            None => !text(one, "repository").ends_with("-staging"),
        };
        let newest = ones.find(is_meant).or_else(|| all.get(0).filter(|_| target.is_none()));
        let newest = newest.cloned().unwrap_or_default();
        let repository = target.clone().unwrap_or_else(|| text(&newest, "repository"));
        let number = number.or_else(|| newest["number"].as_u64()).unwrap_or_default();
        let page = self.client.get(&address(&["generations", &repository, &number.to_string()])).await?;
        self.print(&page, |_| generation(&page))?;
        Ok(Exit::Done)
    }

    async fn promote(&mut self, what: &Promote) -> Result<Exit, CliError> {
        let body = json!({"repository": what.target, "packages": what.named(), "dry_run": what.dry_run});
        let done = self.client.post("/api/v1/promote", &body).await?;
        self.print(&done, |_| promotion(&done, what.dry_run))?;
        Ok(if list(&done, "missing").is_empty() { Exit::Done } else { Exit::NeedsPerson })
    }

    /// Lists what left and is still published; with `confirm`, has what the guard holds back removed: what is listed.
    async fn removals(&mut self, confirm: bool) -> Result<Exit, CliError> {
        let mut all = self.client.get("/api/v1/removals").await?;
        let seen = all.as_array().cloned().unwrap_or_default();
        if confirm {
            for removal in seen.iter().filter(|removal| !removal["held"].is_null()) {
                let body = json!({"repository": removal["repository"], "packages": removal["packages"]});
                all = self.client.post("/api/v1/removals/confirm", &body).await?;
            }
        }
        let left = all.as_array().cloned().unwrap_or_default();
        self.print(&all, |_| {
            let removed = if confirm { confirmed(&seen) } else { String::new() };
            removed + &removals(&left)
        })?;
        let held = left.iter().any(|removal| !removal["held"].is_null());
        Ok(if held { Exit::NeedsPerson } else { Exit::Done })
    }
}

fn count(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}

fn names(value: &Value) -> String {
    list(value, "packages").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

fn generations(all: &[Value]) -> String {
    if all.is_empty() {
        return "Nothing has been published yet.\n".to_owned();
    }
    let mut table = table(&["REPOSITORY", "GENERATION", "PUBLISHED", "PACKAGES", "BUILT", "REUSED", ""]);
    for one in all {
        let current = if one["current"] == true { "current" } else { "" };
        let number = |key| count(one, key).to_string();
        let (packages, built, reused) = (number("packages"), number("built"), number("reused"));
        let row = [text(one, "repository"), number("number"), text(one, "published"), packages, built, reused];
        table.add_row(row.into_iter().chain([current.to_owned()]));
    }
    lines(&table)
}

fn generation(page: &Value) -> String {
    let mut out = format!("{} generation {}\n", text(page, "repository"), count(page, "number"));
    let mut table = table(&["PACKAGE", "VERSION", "OF", "ORIGIN", "BUILD", "RUN"]);
    for entry in list(page, "entries") {
        table.add_row(["name", "version", "pkgbase", "origin", "build", "run"].map(|key| text(entry, key)));
    }
    out += &lines(&table);
    let removed: Vec<&str> = list(page, "removed").iter().filter_map(Value::as_str).collect();
    if !removed.is_empty() {
        let _ = writeln!(out, "left with it: {}", removed.join(" "));
    }
    out
}

fn promotion(done: &Value, dry_run: bool) -> String {
    let mut out = String::new();
    for missing in list(done, "missing") {
        let _ = writeln!(out, "{}", text(missing, "message"));
    }
    if dry_run && out.is_empty() {
        return "nothing is missing: they can move\n".to_owned();
    }
    if !dry_run {
        let (moved, repository) = (list(done, "packages").len(), text(done, "repository"));
        let _ = writeln!(out, "moved {} to {repository}", number_of(moved, "package"));
        for file in list(done, "not_replaced").iter().filter_map(Value::as_str) {
            let _ = writeln!(out, "{file} is there already with other content, and stays");
        }
    }
    out
}

fn confirmed(seen: &[Value]) -> String {
    let held = seen.iter().filter(|removal| !removal["held"].is_null());
    held.fold(String::new(), |mut out, removal| {
        let _ = writeln!(out, "removed from {}: {}", text(removal, "repository"), names(removal));
        out
    })
}

/// What left and is still published, and what to type where somebody has to confirm it.
pub fn removals(all: &[Value]) -> String {
    if all.is_empty() {
        return "Nothing waits to be removed.\n".to_owned();
    }
    all.iter().fold(String::new(), |mut out, removal| {
        let _ = writeln!(out, "{}: {}", text(removal, "repository"), names(removal));
        let held = &removal["held"];
        if held.is_null() {
            out += "  they go by themselves\n";
        } else {
            let (leaving, published) = (count(held, "leaving"), count(held, "published"));
            let _ = writeln!(
                out,
                "  held back: {} would lose {leaving} of {published} packages, and publish.max_removals is {}\n  if that \
                 is meant: {}",
                text(held, "from"),
                text(held, "limit"),
                text(held, "confirm"),
            );
        }
        out
    })
}

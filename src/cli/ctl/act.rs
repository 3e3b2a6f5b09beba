//! The commands that ask once or tell once.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::client::{CtlError, address};
use super::show::{self, Look, list, text};
use super::{Approval, CliError, Decision, Exit, Leavers, Newcomers, Rejection, RunKind, Session, Wanted, repo};
use crate::cli::audit;
use crate::domain::audit::Audit;
use crate::domain::name::PkgBase;
use crate::sys::clock::{Clock as _, SystemClock};
use crate::telemetry::progress;
use crate::web::text::path_part;

impl Session<'_> {
    /// Prints the API's JSON, or what `text` makes of it.
    pub(super) fn print(&mut self, answer: &Value, text: impl FnOnce(Look) -> String) -> Result<(), CliError> {
        if self.is_json() {
            self.out.json(answer)?;
        } else {
            self.out.text(text(Look { now: SystemClock.now() }))?;
        }
        Ok(self.out.finish()?)
    }

    pub(super) async fn status(&mut self) -> Result<Exit, CliError> {
        let repositories = self.client.get("/api/v1/repositories").await?;
        let queue = self.client.get("/api/v1/queue").await?;
        let reviews = self.client.get("/api/v1/reviews").await?;
        let quarantine = self.client.get("/api/v1/quarantine").await?;
        let removals = self.client.get("/api/v1/removals").await?;
        let runs = self.client.get("/api/v1/runs?limit=5").await?;
        let failed = failed(&self.client.get("/api/v1/packages").await?, &queue);
        let all = json!({
            "repositories": repositories, "queue": queue, "reviews": reviews, "quarantine": quarantine,
            "removals": removals, "runs": runs, "failed": failed,
        });
        self.print(&all, |look| {
            let mut out = look.repositories(list(&all, "repositories"));
            if !list(&all, "reviews").is_empty() {
                out += "\nwaiting for a person\n";
                out += &show::reviews(list(&all, "reviews"));
            }
            if !failed.is_empty() {
                out += "\nfailed, and not tried again by itself\n";
                out += &look.builds(&failed);
            }
            if !list(&all, "quarantine").is_empty() {
                out += "\nin quarantine\n";
                out += &look.quarantine(list(&all, "quarantine"));
            }
            if !list(&all, "removals").is_empty() {
                out += "\nleft the monorepo, and still published\n";
                out += &repo::removals(list(&all, "removals"));
            }
            let queued = in_queue(&queue);
            if !queued.is_empty() {
                out += "\nin the queue\n";
                out += &look.builds(&queued);
            }
            out += &show::builders(&queue);
            out += "\nlatest runs\n";
            out + &look.runs(list(&all, "runs"))
        })?;
        Ok(Exit::Done)
    }

    pub(super) async fn queue(&mut self) -> Result<Exit, CliError> {
        let queue = self.client.get("/api/v1/queue").await?;
        self.print(&queue, |look| match in_queue(&queue).as_slice() {
            [] => "The queue is empty.\n".to_owned() + &show::builders(&queue),
            builds => look.builds(builds) + &show::builders(&queue),
        })?;
        Ok(Exit::Done)
    }

    pub(super) async fn runs(&mut self, limit: usize) -> Result<Exit, CliError> {
        let runs = self.client.get(&format!("/api/v1/runs?limit={limit}")).await?;
        self.print(&runs, |look| look.runs(runs.as_array().map(Vec::as_slice).unwrap_or_default()))?;
        Ok(Exit::Done)
    }

    pub(super) async fn show_run(&mut self, id: &str) -> Result<Exit, CliError> {
        let run = self.client.get(&address(&["runs", id])).await?;
        self.print(&run, |_| show::run(&run))?;
        Ok(Exit::Done)
    }

    pub(super) async fn builds(
        &mut self,
        state: Option<String>,
        package: Option<String>,
        limit: usize,
    ) -> Result<Exit, CliError> {
        let mut path = format!("/api/v1/builds?limit={limit}");
        for (name, value) in [("state", state), ("pkgbase", package)] {
            if let Some(value) = value {
                path.extend(["&", name, "=", &path_part(&value)]);
            }
        }
        let builds = self.client.get(&path).await?;
        self.print(&builds, |look| look.builds(builds.as_array().map(Vec::as_slice).unwrap_or_default()))?;
        Ok(Exit::Done)
    }

    pub(super) async fn build(&mut self, id: &str) -> Result<Exit, CliError> {
        let id = self.find_build(id).await?;
        let build = self.client.get(&address(&["builds", &id])).await?;
        let made = if self.is_json() { Vec::new() } else { self.published_of(&build).await? };
        self.print(&build, |look| look.build(&build) + &show::made(&made))?;
        Ok(Exit::Done)
    }

    /// What a build made of the packages that are published now.
    async fn published_of(&self, build: &Value) -> Result<Vec<Value>, CtlError> {
        if build["state"] != "succeeded" {
            return Ok(Vec::new());
        }
        let generations = self.client.get("/api/v1/generations").await?;
        let mut made = Vec::new();
        for generation in generations.as_array().into_iter().flatten().filter(|it| it["current"] == true) {
            let number = generation["number"].to_string();
            let page = self.client.get(&address(&["generations", &text(generation, "repository"), &number])).await;
            let page = match page {
                // Another one is published meanwhile.
                Err(error) if error.is_not_found() => continue,
                page => page?,
            };
            made.extend(list(&page, "entries").iter().filter(|entry| entry["build"] == build["id"]).cloned());
        }
        Ok(made)
    }

    pub(super) async fn explain(&mut self, package: &str) -> Result<Exit, CliError> {
        let found = self.client.get(&address(&["packages", package])).await?;
        self.print(&found, |look| look.package(&found))?;
        Ok(Exit::Done)
    }

    /// The id of a build that is named by it, or by its package.
    pub(super) async fn find_build(&self, of: &str) -> Result<String, CtlError> {
        match self.client.get(&address(&["builds", of])).await {
            Ok(build) => Ok(build["id"].as_str().unwrap_or(of).to_owned()),
            Err(error) if error.is_not_found() => {
                let package = self.client.get(&address(&["packages", of])).await.map_err(|_| error)?;
                let latest = package["builds"][0]["id"].as_str().or_else(|| package["last_build"]["id"].as_str());
                latest.map(str::to_owned).ok_or_else(|| CtlError::Refused {
                    status: 404,
                    detail: format!("`{of}` has not been built yet"),
                    hint: format!("`pkgwarden ctl deploy {of}` builds it"),
                })
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn on_build(&mut self, of: &str, command: &str) -> Result<Exit, CliError> {
        let id = self.find_build(of).await?;
        let build = self.client.post(&address(&["builds", &id, command]), &json!({})).await?;
        let is_told = command == "cancel" && matches!(build["state"].as_str(), Some("running" | "dispatched"));
        let told = if is_told { "\nIt is told to stop; `pkgwarden ctl build` shows when it has.\n" } else { "" };
        self.print(&build, |look| look.build(&build) + told)?;
        Ok(Exit::Done)
    }

    /// Tries everything again that was lost. What cannot be tried again, because it has a newer build, is left out.
    pub(super) async fn retry_lost(&mut self) -> Result<Exit, CliError> {
        let (mut seen, mut retried) = (HashSet::new(), Vec::new());
        loop {
            let lost = self.client.get("/api/v1/builds?state=lost&limit=1000").await?;
            let ids = lost.as_array().into_iter().flatten().filter_map(|build| build["id"].as_str());
            let new: Vec<&str> = ids.filter(|id| seen.insert((*id).to_owned())).collect();
            if new.is_empty() {
                break;
            }
            for id in new {
                match self.client.post(&address(&["builds", id, "retry"]), &json!({})).await {
                    Err(CtlError::Refused { status: 409, .. }) => {}
                    answer => retried.push(answer?),
                }
            }
        }
        let retried = Value::Array(retried);
        self.print(&retried, |look| match retried.as_array().map(Vec::as_slice).unwrap_or_default() {
            [] => "No build that is the newest of its package is lost.\n".to_owned(),
            builds => look.builds(builds),
        })?;
        Ok(Exit::Done)
    }

    pub(super) async fn release(&mut self, package: &str) -> Result<Exit, CliError> {
        let package = self.client.post(&address(&["packages", package, "release"]), &json!({})).await?;
        self.print(&package, |look| look.builds(&list(&package, "builds")[..list(&package, "builds").len().min(1)]))?;
        Ok(Exit::Done)
    }

    pub(super) async fn run_pipeline(&mut self, kind: RunKind) -> Result<Exit, CliError> {
        let pipeline = match kind {
            RunKind::OnSchedule => "on-schedule",
            RunKind::OnCommit => "on-commit",
        };
        self.start("/api/v1/run", &json!({ "pipeline": pipeline })).await.map(|(_, ending)| ending)
    }

    pub(super) async fn trigger(&mut self, name: &str) -> Result<Exit, CliError> {
        let body = json!({"pipeline": "trigger", "name": name});
        self.start("/api/v1/run", &body).await.map(|(_, ending)| ending)
    }

    pub(super) async fn bump(&mut self, packages: Vec<String>) -> Result<Exit, CliError> {
        self.start("/api/v1/bump", &json!({ "packages": packages })).await.map(|(_, ending)| ending)
    }

    pub(super) async fn add(&mut self, newcomers: &Newcomers) -> Result<Exit, CliError> {
        let Newcomers { packages, source, origin, reason } = newcomers;
        let body = json!({"packages": packages, "source": source, "origin": origin, "reason": reason});
        self.start("/api/v1/add", &body).await.map(|(_, ending)| ending)
    }

    pub(super) async fn drop_packages(&mut self, Leavers { packages, reason }: &Leavers) -> Result<Exit, CliError> {
        let body = json!({"packages": packages, "reason": reason});
        self.start("/api/v1/drop", &body).await.map(|(_, ending)| ending)
    }

    /// Starts a run and prints what it did.
    pub(super) async fn start(&mut self, path: &str, body: &Value) -> Result<(Value, Exit), CliError> {
        let run = self.client.post(path, body).await?;
        self.print(&run, |_| show::run(&run))?;
        let exit = exit_of(&run);
        Ok((run, exit))
    }

    pub(super) async fn pause_or_resume(&mut self, command: &str) -> Result<Exit, CliError> {
        let repositories = self.client.post(&address(&[command]), &json!({})).await?;
        self.print(&repositories, |look| {
            look.repositories(repositories.as_array().map(Vec::as_slice).unwrap_or_default())
        })?;
        Ok(Exit::Done)
    }

    /// Quarantines packages, if any are named; then tells what is held and what is published already.
    pub(super) async fn quarantine(
        &mut self,
        packages: Vec<PkgBase>,
        reason: Option<String>,
    ) -> Result<Exit, CliError> {
        let mut exit = Exit::Done;
        if !packages.is_empty() {
            let run = self.client.post("/api/v1/quarantine", &json!({"packages": packages, "reason": reason})).await?;
            exit = exit_of(&run);
            if !self.is_json() {
                self.out.text(show::run(&run))?;
            }
        }
        let all = self.client.get("/api/v1/quarantine").await?;
        self.print(&all, |look| look.quarantine(all.as_array().map(Vec::as_slice).unwrap_or_default()))?;
        Ok(exit)
    }

    pub(super) async fn lift(&mut self, packages: Vec<PkgBase>, reason: &str) -> Result<Exit, CliError> {
        let body = json!({"packages": packages, "reason": reason});
        self.start("/api/v1/lift", &body).await.map(|(_, ending)| ending)
    }

    pub(super) async fn audit(&mut self, wanted: &Wanted, exit_code: bool) -> Result<Exit, CliError> {
        let indicators = wanted.indicators(|warning| tracing::warn!("{warning}"))?;
        let written: Vec<&str> = indicators.iter().map(|indicator| indicator.written.as_str()).collect();
        let body = json!({"indicators": written, "commits": wanted.commits()});
        let _task = progress::task("searching");
        let answer = self.client.post("/api/v1/audit", &body).await?;
        let found = !list(&answer, "hits").is_empty();
        let audit: Audit = serde_json::from_value(answer.clone()).map_err(anyhow::Error::from)?;
        self.print(&answer, |_| audit::text(&audit))?;
        Ok(if exit_code && found { Exit::NeedsPerson } else { Exit::Done })
    }

    pub(super) async fn reviews(&mut self) -> Result<Exit, CliError> {
        let reviews = self.client.get("/api/v1/reviews").await?;
        self.print(&reviews, |_| show::reviews(reviews.as_array().map(Vec::as_slice).unwrap_or_default()))?;
        Ok(Exit::Done)
    }

    pub(super) async fn review(&mut self, package: &str) -> Result<Exit, CliError> {
        let review = self.client.get(&address(&["reviews", package])).await?;
        self.print(&review, |_| show::review(&review))?;
        Ok(Exit::Done)
    }

    pub(super) async fn approve(&mut self, approval: Approval) -> Result<Exit, CliError> {
        let by = approval.by.or_else(|| self.user.clone());
        self.decide(&approval.decision, "approve", &json!({ "by": by })).await
    }

    pub(super) async fn reject(&mut self, rejection: Rejection) -> Result<Exit, CliError> {
        let Rejection { decision, reason, by } = rejection;
        let by = by.or_else(|| self.user.clone());
        self.decide(&decision, "reject", &json!({ "by": by, "reason": reason })).await
    }

    /// Decides about one review, or about all of a group, and ends as the worst of them.
    async fn decide(&mut self, decision: &Decision, command: &str, body: &Value) -> Result<Exit, CliError> {
        let mut worst = Exit::Done;
        for (package, head) in self.decided(decision).await? {
            let mut body = body.clone();
            body["head"] = head.into();
            let (_, ending) = self.start(&address(&["reviews", &package, command]), &body).await?;
            worst = if ending == Exit::Done { worst } else { ending };
        }
        Ok(worst)
    }

    /// The packages that are decided about, each with the commit.
    async fn decided(&self, decision: &Decision) -> Result<Vec<(String, String)>, CliError> {
        let package = decision.package.clone().unwrap_or_default();
        if let Some(head) = decision.head {
            return Ok(vec![(package, head.to_string())]);
        }
        let Some(group) = &decision.group else {
            let head = text(&self.client.get(&address(&["reviews", &package])).await?, "head");
            return Ok(vec![(package, head)]);
        };
        let reviews = self.client.get("/api/v1/reviews").await?;
        let of_it = reviews.as_array().into_iter().flatten().filter(|review| review["group"] == group.as_str());
        let found: Vec<_> = of_it.map(|review| (text(review, "pkgbase"), text(review, "head"))).collect();
        if found.is_empty() {
            let detail = format!("nothing of the group `{}` waits for a person", group.escape_debug());
            let hint = "`pkgwarden ctl review list` shows what waits".to_owned();
            return Err(CtlError::Refused { status: 404, detail, hint }.into());
        }
        Ok(found)
    }
}

/// How a run leaves the one who asked for it.
pub(super) fn exit_of(run: &Value) -> Exit {
    let wrong = list(&run["document"], "problems").iter().any(|problem| problem["severity"] == "error");
    match run["state"].as_str() {
        Some("failed") => Exit::Failed,
        _ if wrong => Exit::NeedsPerson,
        _ => Exit::Done,
    }
}

/// The latest builds of packages that have failed and that nothing in the queue makes good.
fn failed(packages: &Value, queue: &Value) -> Vec<Value> {
    let queued = in_queue(queue);
    let is_queued = |build: &Value| queued.iter().any(|queued| queued["pkgbase"] == build["pkgbase"]);
    let latest = packages.as_array().into_iter().flatten().map(|package| &package["last_build"]);
    latest
        .filter(|build| matches!(build["state"].as_str(), Some("failed" | "timed_out" | "lost")) && !is_queued(build))
        .cloned()
        .collect()
}

fn in_queue(queue: &Value) -> Vec<Value> {
    ["underway", "blocked", "ready", "waiting"].iter().flat_map(|part| list(queue, part)).cloned().collect()
}

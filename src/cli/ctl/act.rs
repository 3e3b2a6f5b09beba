//! The commands that ask once or tell once.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{CtlError, address};
use super::show::{Look, list, text};
use super::{Decision, Ending, RunKind, Session};
use crate::sys::clock::{Clock as _, SystemClock};
use crate::web::text::path_part;

impl Session<'_> {
    pub(super) fn look(&self) -> Look {
        Look { colour: self.around.colour, now: now() }
    }

    /// Prints the API's JSON, or what `text` makes of it.
    pub(super) fn print(&mut self, answer: &Value, text: impl FnOnce(Look) -> String) -> anyhow::Result<()> {
        if self.around.json {
            writeln!(self.out, "{answer:#}")?;
        } else {
            let text = text(self.look());
            self.out.write_all(text.as_bytes())?;
        }
        self.out.flush()?;
        Ok(())
    }

    pub(super) async fn status(&mut self) -> anyhow::Result<Ending> {
        let repositories = self.client.get("/api/v1/repositories").await?;
        let queue = self.client.get("/api/v1/queue").await?;
        let reviews = self.client.get("/api/v1/reviews").await?;
        let runs = self.client.get("/api/v1/runs?limit=5").await?;
        let all = json!({"repositories": repositories, "queue": queue, "reviews": reviews, "runs": runs});
        self.print(&all, |look| {
            let mut out = look.repositories(list(&all, "repositories"));
            if !list(&all, "reviews").is_empty() {
                out += "\nwaiting for a person\n";
                out += &look.reviews(list(&all, "reviews"));
            }
            let queued = in_queue(&queue);
            if !queued.is_empty() {
                out += "\nin the queue\n";
                out += &look.builds(&queued);
            }
            out += "\nlatest runs\n";
            out + &look.runs(list(&all, "runs"))
        })?;
        Ok(Ending::Done)
    }

    pub(super) async fn queue(&mut self) -> anyhow::Result<Ending> {
        let queue = self.client.get("/api/v1/queue").await?;
        self.print(&queue, |look| match in_queue(&queue).as_slice() {
            [] => "The queue is empty.\n".to_owned(),
            builds => look.builds(builds),
        })?;
        Ok(Ending::Done)
    }

    pub(super) async fn builds(
        &mut self,
        state: Option<String>,
        package: Option<String>,
        limit: usize,
    ) -> anyhow::Result<Ending> {
        let mut path = format!("/api/v1/builds?limit={limit}");
        for (name, value) in [("state", state), ("pkgbase", package)] {
            if let Some(value) = value {
                path.extend(["&", name, "=", &path_part(&value)]);
            }
        }
        let builds = self.client.get(&path).await?;
        self.print(&builds, |look| look.builds(builds.as_array().map(Vec::as_slice).unwrap_or_default()))?;
        Ok(Ending::Done)
    }

    pub(super) async fn build(&mut self, id: &str) -> anyhow::Result<Ending> {
        let build = self.client.get(&address(&["builds", id])).await?;
        self.print(&build, |look| look.build(&build))?;
        Ok(Ending::Done)
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

    pub(super) async fn on_build(&mut self, of: &str, command: &str) -> anyhow::Result<Ending> {
        let id = self.find_build(of).await?;
        let build = self.client.post(&address(&["builds", &id, command]), &json!({})).await?;
        self.print(&build, |look| look.build(&build))?;
        Ok(Ending::Done)
    }

    pub(super) async fn release(&mut self, package: &str) -> anyhow::Result<Ending> {
        let package = self.client.post(&address(&["packages", package, "release"]), &json!({})).await?;
        self.print(&package, |look| look.builds(&list(&package, "builds")[..list(&package, "builds").len().min(1)]))?;
        Ok(Ending::Done)
    }

    pub(super) async fn run_pipeline(&mut self, kind: RunKind) -> anyhow::Result<Ending> {
        let pipeline = match kind {
            RunKind::OnSchedule => "on-schedule",
            RunKind::OnCommit => "on-commit",
        };
        self.start("/api/v1/run", &json!({ "pipeline": pipeline })).await.map(|(_, ending)| ending)
    }

    pub(super) async fn trigger(&mut self, name: &str) -> anyhow::Result<Ending> {
        let body = json!({"pipeline": "trigger", "name": name});
        self.start("/api/v1/run", &body).await.map(|(_, ending)| ending)
    }

    pub(super) async fn bump(&mut self, packages: Vec<String>) -> anyhow::Result<Ending> {
        self.start("/api/v1/bump", &json!({ "packages": packages })).await.map(|(_, ending)| ending)
    }

    /// Starts a run and prints what it did.
    pub(super) async fn start(&mut self, path: &str, body: &Value) -> anyhow::Result<(Value, Ending)> {
        let run = self.client.post(path, body).await?;
        self.print(&run, |look| look.run(&run))?;
        let wrong = list(&run["document"], "problems").iter().any(|problem| problem["severity"] == "error");
        let ending = if wrong || run["state"] == "failed" { Ending::NeedsAPerson } else { Ending::Done };
        Ok((run, ending))
    }

    pub(super) async fn pause_or_resume(&mut self, command: &str) -> anyhow::Result<Ending> {
        let repositories = self.client.post(&address(&[command]), &json!({})).await?;
        self.print(&repositories, |look| {
            look.repositories(repositories.as_array().map(Vec::as_slice).unwrap_or_default())
        })?;
        Ok(Ending::Done)
    }

    pub(super) async fn reviews(&mut self) -> anyhow::Result<Ending> {
        let reviews = self.client.get("/api/v1/reviews").await?;
        self.print(&reviews, |look| look.reviews(reviews.as_array().map(Vec::as_slice).unwrap_or_default()))?;
        Ok(Ending::Done)
    }

    pub(super) async fn review(&mut self, package: &str) -> anyhow::Result<Ending> {
        let review = self.client.get(&address(&["reviews", package])).await?;
        self.print(&review, |look| look.review(&review))?;
        Ok(Ending::Done)
    }

    pub(super) async fn decide(&mut self, decision: Decision, command: &str) -> anyhow::Result<Ending> {
        let package = &decision.package;
        let head = match decision.head {
            Some(head) => head.to_string(),
            None => text(&self.client.get(&address(&["reviews", package])).await?, "head"),
        };
        let path = address(&["reviews", package, command]);
        self.start(&path, &json!({ "head": head })).await.map(|(_, ending)| ending)
    }
}

pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

fn in_queue(queue: &Value) -> Vec<Value> {
    ["underway", "blocked", "ready", "waiting"].iter().flat_map(|part| list(queue, part)).cloned().collect()
}

//! Statuses of a GitHub App: check runs, which have a text of their own and a page.
//!
//! Only apps may have them; whoever acts by a token puts commit statuses ([`super::talk`]).

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::GitHub;
use crate::domain::review::{Status, Vote};
use crate::forge::{ForgeError, encoded, shortened};

/// The longest summary that is shown in one line, in bytes.
const LONGEST_TITLE: usize = 140;

#[derive(Debug, Deserialize)]
struct Runs {
    check_runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct Run {
    id: u64,
    status: String,
    conclusion: Option<String>,
    details_url: Option<String>,
    output: Output,
}

#[derive(Debug, Deserialize)]
struct Output {
    title: Option<String>,
}

impl GitHub {
    /// Has a check run of ours say this.
    pub(super) async fn put_check(&self, app: u64, status: Status) -> Result<(), ForgeError> {
        let (state, conclusion) = match status.vote {
            Vote::Pending => ("in_progress", None),
            Vote::Success => ("completed", Some("success")),
            Vote::Failure => ("completed", Some("failure")),
        };
        let title = shortened(&status.summary, LONGEST_TITLE);
        let mut body = json!({"status": state, "output": {"title": title, "summary": as_code(&status.summary)}});
        if let Some(conclusion) = conclusion {
            body["conclusion"] = conclusion.into();
        }
        if let Some(url) = &status.url {
            body["details_url"] = url.as_str().into();
        }
        let what = format!("commit {}", status.commit.short());
        let name = encoded(&status.context);
        let rest = format!("/commits/{}/check-runs?check_name={name}&app_id={app}&filter=latest", status.commit);
        let found = self.api.get::<Runs>(&what, &self.api.path(&rest)).await?.check_runs;
        let is_same = |run: &Run| {
            run.status == state
                && run.conclusion.as_deref() == conclusion
                && run.output.title.as_deref() == Some(title.as_str())
                && (status.url.is_none() || run.details_url == status.url)
        };
        // One that has ended does not begin again: another of its name takes its place.
        let (method, rest) = match found.iter().max_by_key(|run| run.id) {
            Some(run) if is_same(run) => return Ok(()),
            Some(run) if run.conclusion.is_none() || conclusion.is_some() => {
                (Method::PATCH, format!("/check-runs/{}", run.id))
            }
            _ => {
                body["name"] = status.context.into();
                body["head_sha"] = Value::from(status.commit.to_string());
                (Method::POST, "/check-runs".to_owned())
            }
        };
        self.api.change(&what, method, &self.api.path(&rest), &body).await.map(drop)
    }
}

/// The summary of a check run is Markdown, and what it holds can be anybody's: indented, it is code.
fn as_code(text: &str) -> String {
    format!("    {}\n", text.replace('\n', "\n    "))
}

//! What is said on GitHub: comments, issues, statuses, and who may say what.

use http::Method;
use jiff::Timestamp;
use serde_json::json;

use super::GitHub;
use super::answers::{Combined, Issue, Line, Note, Standing};
use crate::domain::review::{Comment, Permission, Status, Thread, Vote};
use crate::forge::{ForgeError, encoded, made_or_found, mark, shortened};

/// The longest summary that GitHub takes, in bytes.
const LONGEST_SUMMARY: usize = 140;

impl GitHub {
    pub(super) async fn comments_since(&self, thread: Thread, since: Timestamp) -> Result<Vec<Comment>, ForgeError> {
        let number = thread.number();
        // It means when a comment was changed last.
        let path = self.api.path(&format!("/issues/{number}/comments?since={}", encoded(&since.to_string())));
        let notes: Vec<Note> = self.api.all(&format!("comments on {number}"), &path, |_| true).await?;
        let mut comments: Vec<_> = notes.into_iter().map(Note::comment).collect();
        comments.retain(|comment| comment.written_at >= since);
        comments.sort_by_key(|comment| (comment.written_at, comment.id));
        Ok(comments)
    }

    pub(super) async fn say_once(&self, thread: Thread, key: &str, text: &str) -> Result<(), ForgeError> {
        let number = thread.number();
        let text = mark::with_key(key, text);
        match self.said(number, key).await? {
            Some(comment) if mark::same(&comment.text, &text) => Ok(()),
            Some(comment) => {
                let path = self.api.path(&format!("/issues/comments/{}", comment.id));
                self.api.change("comment", Method::PATCH, &path, &json!({ "body": text })).await.map(drop)
            }
            None => {
                let path = self.api.path(&format!("/issues/{number}/comments"));
                let what = format!("pull request or issue {number}");
                let made = self.api.make(&what, Method::POST, &path, &json!({ "body": text })).await;
                made_or_found(made.map(Note::comment), self.said(number, key)).await.map(drop)
            }
        }
    }

    /// Our comment with a key.
    async fn said(&self, number: u64, key: &str) -> Result<Option<Comment>, ForgeError> {
        let me = self.api.me().await?;
        let path = self.api.path(&format!("/issues/{number}/comments"));
        let notes: Vec<Note> = self.api.all(&format!("comments on {number}"), &path, |_| true).await?;
        let ours = |comment: &Comment| comment.author == me && mark::has_key(&comment.text, key);
        Ok(notes.into_iter().map(Note::comment).find(ours))
    }

    pub(super) async fn permission_of(&self, person: &str) -> Result<Permission, ForgeError> {
        let path = self.api.path(&format!("/collaborators/{}/permission", encoded(person)));
        match self.api.get::<Standing>("account", &path).await {
            Ok(standing) => Ok(standing.permission()),
            Err(ForgeError::Missing { .. }) => Ok(Permission::Read),
            Err(error) => Err(error),
        }
    }

    /// Check runs are only for apps.
    pub(super) async fn put_status(&self, status: Status) -> Result<(), ForgeError> {
        match self.api.app() {
            Some(app) => self.put_check(app, status).await,
            None => self.put_commit_status(status).await,
        }
    }

    async fn put_commit_status(&self, status: Status) -> Result<(), ForgeError> {
        let state = match status.vote {
            Vote::Pending => "pending",
            Vote::Success => "success",
            Vote::Failure => "failure",
        };
        let line = Line {
            state: state.to_owned(),
            context: status.context,
            description: Some(shortened(&status.summary, LONGEST_SUMMARY)),
            target_url: status.url,
        };
        if self.lines(&status.commit.to_string()).await?.contains(&line) {
            return Ok(());
        }
        let mut body = json!({"state": line.state, "context": line.context, "description": line.description});
        if let Some(url) = line.target_url {
            body["target_url"] = url.into();
        }
        let path = self.api.path(&format!("/statuses/{}", status.commit));
        self.api.change(&format!("commit {}", status.commit.short()), Method::POST, &path, &body).await.map(drop)
    }

    /// The statuses of a commit that count.
    async fn lines(&self, commit: &str) -> Result<Vec<Line>, ForgeError> {
        let path = self.api.path(&format!("/commits/{commit}/status?per_page=100"));
        Ok(self.api.get::<Combined>("commit", &path).await?.statuses)
    }

    pub(super) async fn put_issue(&self, key: &str, title: &str, body: &str) -> Result<u64, ForgeError> {
        let body = mark::with_key(key, body);
        let wanted = json!({"title": title, "body": body});
        match self.kept_issue(key).await? {
            Some(issue) if issue.title == title && same_body(&issue, &body) => Ok(issue.number),
            Some(issue) => {
                let path = self.api.path(&format!("/issues/{}", issue.number));
                self.api.change("issue", Method::PATCH, &path, &wanted).await?;
                Ok(issue.number)
            }
            None => {
                let made = self.api.make("repository", Method::POST, &self.api.path("/issues"), &wanted).await;
                Ok(made_or_found(made, self.kept_issue(key)).await?.number)
            }
        }
    }

    /// Our open issue with a key.
    pub(super) async fn kept_issue(&self, key: &str) -> Result<Option<Issue>, ForgeError> {
        let me = self.api.me().await?;
        let path = self.api.path("/issues?state=open&sort=created&direction=asc");
        let issues: Vec<Issue> = self.api.all("issues", &path, |_| true).await?;
        let ours = |issue: &Issue| {
            issue.pull_request.is_none()
                && issue.author() == me
                && mark::has_key(issue.body.as_deref().unwrap_or_default(), key)
        };
        Ok(issues.into_iter().find(ours))
    }
}

fn same_body(issue: &Issue, body: &str) -> bool {
    mark::same(issue.body.as_deref().unwrap_or_default(), body)
}

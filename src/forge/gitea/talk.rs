//! What is said on Gitea and Forgejo: comments, issues, statuses, and who may say what.

use http::Method;
use jiff::Timestamp;
use serde_json::json;

use super::Gitea;
use super::answers::{Combined, Issue, Line, Note, Standing};
use crate::domain::review::{Comment, Permission, Status, Thread, Vote};
use crate::forge::{ForgeError, encoded, made_or_found, mark, shortened};

/// Longer summaries are not read by anybody, in bytes.
const LONGEST_SUMMARY: usize = 255;

impl Gitea {
    async fn notes(&self, number: u64, query: &str) -> Result<Vec<Comment>, ForgeError> {
        // All of them come at once.
        let path = format!("/issues/{number}/comments{query}");
        let notes: Vec<Note> = self.api.get(&format!("pull request {number}"), &path).await?;
        let mut comments: Vec<_> = notes.into_iter().map(Note::comment).collect();
        comments.sort_by_key(|comment| (comment.written_at, comment.id));
        Ok(comments)
    }

    pub(super) async fn comments_since(&self, thread: Thread, since: Timestamp) -> Result<Vec<Comment>, ForgeError> {
        let number = thread.number();
        // It means when a comment was changed last.
        let mut comments = self.notes(number, &format!("?since={}", encoded(&since.to_string()))).await?;
        comments.retain(|comment| comment.written_at >= since);
        Ok(comments)
    }

    pub(super) async fn say_once(&self, thread: Thread, key: &str, text: &str) -> Result<(), ForgeError> {
        let number = thread.number();
        let text = mark::with_key(key, text);
        let body = json!({ "body": text });
        match self.said(number, key).await? {
            Some(comment) if mark::same(&comment.text, &text) => Ok(()),
            Some(comment) => {
                let path = format!("/issues/comments/{}", comment.id);
                self.api.change("comment", Method::PATCH, &path, &body).await.map(drop)
            }
            None => {
                let path = format!("/issues/{number}/comments");
                let made = self.api.make(&format!("pull request {number}"), Method::POST, &path, &body).await;
                made_or_found(made.map(Note::comment), self.said(number, key)).await.map(drop)
            }
        }
    }

    /// Our comment with a key.
    async fn said(&self, number: u64, key: &str) -> Result<Option<Comment>, ForgeError> {
        let me = self.api.me().await?;
        let ours = |comment: &Comment| comment.author == me && mark::has_key(&comment.text, key);
        Ok(self.notes(number, "").await?.into_iter().find(ours))
    }

    pub(super) async fn permission_of(&self, person: &str) -> Result<Permission, ForgeError> {
        let path = format!("/collaborators/{}/permission", encoded(person));
        match self.api.get::<Standing>("account", &path).await {
            Ok(standing) => Ok(standing.permission()),
            Err(ForgeError::Missing { .. }) => Ok(Permission::Read),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn put_status(&self, status: Status) -> Result<(), ForgeError> {
        let word = match status.vote {
            Vote::Pending => "pending",
            Vote::Success => "success",
            Vote::Failure => "failure",
        };
        let line = Line {
            status: word.to_owned(),
            context: status.context,
            description: shortened(&status.summary, LONGEST_SUMMARY),
            target_url: status.url.unwrap_or_default(),
        };
        let what = format!("commit {}", status.commit.short());
        let known: Combined = self.api.get(&what, &format!("/commits/{}/status?limit=50", status.commit)).await?;
        if known.statuses.is_some_and(|lines| lines.contains(&line)) {
            return Ok(());
        }
        let body = json!({"state": line.status, "context": line.context, "description": line.description,
                          "target_url": line.target_url});
        self.api.change(&what, Method::POST, &format!("/statuses/{}", status.commit), &body).await.map(drop)
    }

    pub(super) async fn put_issue(&self, key: &str, title: &str, body: &str) -> Result<u64, ForgeError> {
        let body = mark::with_key(key, body);
        let wanted = json!({"title": title, "body": body});
        match self.kept_issue(key).await? {
            Some(issue) if issue.title == title && mark::same(issue.body.as_deref().unwrap_or_default(), &body) => {
                Ok(issue.number)
            }
            Some(issue) => {
                self.api.change("issue", Method::PATCH, &format!("/issues/{}", issue.number), &wanted).await?;
                Ok(issue.number)
            }
            None => {
                let made = self.api.make("repository", Method::POST, "/issues", &wanted).await;
                Ok(made_or_found(made, self.kept_issue(key)).await?.number)
            }
        }
    }

    /// Our open issue with a key.
    pub(super) async fn kept_issue(&self, key: &str) -> Result<Option<Issue>, ForgeError> {
        let me = self.api.me().await?;
        let path = format!("/issues?type=issues&state=open&created_by={}", encoded(me));
        let issues: Vec<Issue> = self.api.all("issues", &path, |_| true).await?;
        let ours =
            |issue: &Issue| issue.author() == me && mark::has_key(issue.body.as_deref().unwrap_or_default(), key);
        Ok(issues.into_iter().find(ours))
    }
}

//! What is said on GitLab: notes, issues, statuses, and who may say what.

use gitlab::api::common::SortOrder;
use gitlab::api::projects::issues::notes::{CreateIssueNote, EditIssueNote, IssueNotes};
use gitlab::api::projects::issues::{CreateIssue, EditIssue, IssueState, Issues};
use gitlab::api::projects::members::AllProjectMember;
use gitlab::api::projects::merge_requests::notes::{CreateMergeRequestNote, EditMergeRequestNote, MergeRequestNotes};
use gitlab::api::projects::repository::commits::{CommitStatusState, CommitStatuses, CreateCommitStatus};
use jiff::Timestamp;

use super::GitLab;
use super::answers::{Issue, Line, Member, Note};
use crate::domain::review::{Comment, Permission, Status, Thread, Vote};
use crate::forge::{ForgeError, made_or_found, mark, shortened};

/// Why building an endpoint cannot fail.
const WHOLE: &str = "everything that it needs was given";
/// The longest summary that GitLab takes, in bytes.
const LONGEST_SUMMARY: usize = 255;

/// A thread in the words of GitLab.
fn shown(thread: Thread) -> String {
    match thread {
        Thread::Review(number) => format!("merge request {number}"),
        Thread::Issue(number) => format!("issue {number}"),
    }
}

impl GitLab {
    /// Everything that people and we wrote, oldest first.
    async fn notes(&self, thread: Thread) -> Result<Vec<Comment>, ForgeError> {
        let (project, what) = (self.api.project.as_str(), shown(thread));
        let notes: Vec<Note> = match thread {
            Thread::Review(number) => {
                let mut endpoint = MergeRequestNotes::builder();
                endpoint.project(project).merge_request(number).sort(SortOrder::Ascending);
                self.api.all(&what, &endpoint.build().expect(WHOLE)).await?
            }
            Thread::Issue(number) => {
                let endpoint = IssueNotes::builder().project(project).issue(number).sort(SortOrder::Ascending).build();
                self.api.all(&what, &endpoint.expect(WHOLE)).await?
            }
        };
        let mut notes: Vec<_> = notes.into_iter().filter(|note| !note.system).map(Note::comment).collect();
        notes.sort_by_key(|comment| (comment.written_at, comment.id));
        Ok(notes)
    }

    pub(super) async fn comments_since(&self, thread: Thread, since: Timestamp) -> Result<Vec<Comment>, ForgeError> {
        let mut notes = self.notes(thread).await?;
        notes.retain(|comment| comment.written_at >= since);
        Ok(notes)
    }

    pub(super) async fn say_once(&self, thread: Thread, key: &str, text: &str) -> Result<(), ForgeError> {
        let text = mark::with_key(key, text);
        match self.said(thread, key).await? {
            Some(comment) if mark::same(&comment.text, &text) => Ok(()),
            Some(comment) => self.edit_note(thread, comment.id, text).await,
            None => {
                let made = self.write_note(thread, text).await;
                made_or_found(made.map(Note::comment), self.said(thread, key)).await.map(drop)
            }
        }
    }

    async fn edit_note(&self, thread: Thread, note: u64, text: String) -> Result<(), ForgeError> {
        let project = self.api.project.as_str();
        let edited = match thread {
            Thread::Review(number) => {
                let mut edit = EditMergeRequestNote::builder();
                edit.project(project).merge_request(number).note(note).body(text);
                self.api.change("comment", &edit.build().expect(WHOLE)).await
            }
            Thread::Issue(number) => {
                let edit = EditIssueNote::builder().project(project).issue(number).note(note).body(text).build();
                self.api.change("comment", &edit.expect(WHOLE)).await
            }
        };
        edited.map(drop)
    }

    async fn write_note(&self, thread: Thread, text: String) -> Result<Note, ForgeError> {
        let (project, what) = (self.api.project.as_str(), shown(thread));
        match thread {
            Thread::Review(number) => {
                let create =
                    CreateMergeRequestNote::builder().project(project).merge_request(number).body(text).build();
                self.api.get(&what, &create.expect(WHOLE)).await
            }
            Thread::Issue(number) => {
                let create = CreateIssueNote::builder().project(project).issue(number).body(text).build();
                self.api.get(&what, &create.expect(WHOLE)).await
            }
        }
    }

    /// Our comment with a key.
    async fn said(&self, thread: Thread, key: &str) -> Result<Option<Comment>, ForgeError> {
        let me = self.api.me().await?;
        let ours = |comment: &Comment| comment.author == me.username && mark::has_key(&comment.text, key);
        Ok(self.notes(thread).await?.into_iter().find(ours))
    }

    pub(super) async fn permission_of(&self, person: &str) -> Result<Permission, ForgeError> {
        let Some(account) = self.account(person).await? else { return Ok(Permission::Read) };
        let endpoint = AllProjectMember::builder().project(self.api.project.as_str()).user(account.id).build();
        match self.api.get::<Member>("member", &endpoint.expect(WHOLE)).await {
            Ok(member) => Ok(member.permission()),
            Err(ForgeError::Missing { .. }) => Ok(Permission::Read),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn put_status(&self, status: Status) -> Result<(), ForgeError> {
        // What was pending cannot become pending again.
        let (state, word) = match status.vote {
            Vote::Pending => (CommitStatusState::Running, "running"),
            Vote::Success => (CommitStatusState::Success, "success"),
            Vote::Failure => (CommitStatusState::Failed, "failed"),
        };
        let ours = self.pipeline.filter(|(_, commit)| *commit == status.commit).map(|(pipeline, _)| pipeline);
        let status = Status { pipeline: status.pipeline.or(ours), ..status };
        let summary = shortened(&status.summary, LONGEST_SUMMARY);
        let is_same = |line: &Line| {
            line.status == word && line.description.as_ref() == Some(&summary) && line.target_url == status.url
        };
        if self.newest_line(&status).await?.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let mut create = CreateCommitStatus::builder();
        create.project(self.api.project.as_str()).commit(status.commit.to_string()).state(state);
        create.name(status.context).description(summary);
        if let Some(url) = status.url {
            create.target_url(url);
        }
        if let Some(pipeline) = status.pipeline {
            create.pipeline_id(pipeline);
        }
        // An address can be too long for it.
        let create = create.build().map_err(|error| self.api.impossible(error.to_string()))?;
        self.api.change(&format!("commit {}", status.commit.short()), &create).await.map(drop)
    }

    async fn newest_line(&self, status: &Status) -> Result<Option<Line>, ForgeError> {
        let mut statuses = CommitStatuses::builder();
        statuses.project(self.api.project.as_str()).commit(status.commit.to_string()).name(status.context.as_str());
        if let Some(pipeline) = status.pipeline {
            statuses.pipeline_id(pipeline);
        }
        let lines: Vec<Line> = self.api.all("commit", &statuses.build().expect(WHOLE)).await?;
        Ok(lines.into_iter().max_by_key(|line| line.id))
    }

    pub(super) async fn put_issue(&self, key: &str, title: &str, body: &str) -> Result<u64, ForgeError> {
        let body = mark::with_key(key, body);
        let project = self.api.project.as_str();
        match self.kept_issue(key).await? {
            Some(issue)
                if issue.title == title && mark::same(issue.description.as_deref().unwrap_or_default(), &body) =>
            {
                Ok(issue.iid)
            }
            Some(issue) => {
                let edit =
                    EditIssue::builder().project(project).issue(issue.iid).title(title).description(body).build();
                self.api.change("issue", &edit.expect(WHOLE)).await?;
                Ok(issue.iid)
            }
            None => {
                let create = CreateIssue::builder().project(project).title(title).description(body).build();
                let made = self.api.get("project", &create.expect(WHOLE)).await;
                Ok(made_or_found(made, self.kept_issue(key)).await?.iid)
            }
        }
    }

    /// Our open issue with a key.
    pub(super) async fn kept_issue(&self, key: &str) -> Result<Option<Issue>, ForgeError> {
        let me = self.api.me().await?;
        let endpoint = Issues::builder().project(self.api.project.as_str()).state(IssueState::Opened).build();
        let issues: Vec<Issue> = self.api.all("issues", &endpoint.expect(WHOLE)).await?;
        let ours = |issue: &Issue| {
            issue.is_by(&me.username) && mark::has_key(issue.description.as_deref().unwrap_or_default(), key)
        };
        Ok(issues.into_iter().find(ours))
    }
}

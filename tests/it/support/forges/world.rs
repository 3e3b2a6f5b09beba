//! What is so on a forge, and what becomes of it when somebody does something; the same for all forges but for what
//! [`Kind`] says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::support::Repo;

/// Which forge it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    GitHub,
    GitLab,
    Gitea,
}

/// What somebody may do, as GitHub names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Read,
    Write,
    Admin,
}

#[derive(Debug, Clone)]
pub struct Person {
    pub id: u64,
    pub standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Open,
    Closed,
    Merged,
}

/// A pull or merge request.
#[derive(Debug, Clone)]
pub struct Review {
    pub number: u64,
    pub author: String,
    /// The project that its branch is in.
    pub project: String,
    pub branch: String,
    pub base: String,
    pub head: String,
    pub title: String,
    pub body: String,
    pub stage: Stage,
    pub closed_by: Option<String>,
    pub labels: BTreeSet<String>,
    pub assignees: BTreeSet<String>,
    pub reviewers: BTreeSet<String>,
    pub opinions: Vec<Opinion>,
    pub mergeable: bool,
    /// When its head was pushed.
    pub pushed_at: Timestamp,
    pub opened_at: Timestamp,
    pub updated_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub merged_as: Option<String>,
}

/// What somebody said of a review as a whole.
#[derive(Debug, Clone)]
pub struct Opinion {
    pub id: u64,
    pub author: String,
    pub approves: bool,
    pub head: String,
    pub at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct Issue {
    pub number: u64,
    pub author: String,
    pub title: String,
    pub body: String,
    pub is_open: bool,
    pub opened_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A comment below a review or an issue.
#[derive(Debug, Clone)]
pub struct Note {
    pub id: u64,
    pub number: u64,
    pub on_issue: bool,
    pub author: String,
    pub text: String,
    pub written_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A status of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub id: u64,
    pub commit: String,
    pub state: String,
    pub context: String,
    pub summary: String,
    pub url: Option<String>,
    pub pipeline: Option<u64>,
    pub author: String,
    pub at: Timestamp,
}

/// Why something is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NoSuch,
    NoSuchBranch,
    Exists(u64),
    Moved,
    Conflict,
    NotOpen,
}

/// One forge with one project.
#[derive(Debug)]
pub struct World {
    pub kind: Kind,
    /// `owner/name`.
    pub project: String,
    pub repo: Repo,
    /// Where it is reached.
    pub url: String,
    pub now: Timestamp,
    pub people: BTreeMap<String, Person>,
    pub reviews: BTreeMap<u64, Review>,
    pub issues: BTreeMap<u64, Issue>,
    pub notes: Vec<Note>,
    pub lines: Vec<Line>,
    pub labels: BTreeMap<String, u64>,
    last: u64,
    /// Whether one commit is in another, and whether it can be merged into it.
    compared: BTreeMap<(String, String), (bool, bool)>,
    /// When the project and its accounts were made.
    pub begun: Timestamp,
    /// Until when the tokens of apps are good; `None` for very long.
    pub tokens_until: Option<Timestamp>,
}

impl World {
    pub fn new(kind: Kind, project: &str, repo: Repo, url: String, now: Timestamp) -> Self {
        let person = |(id, (name, standing)): (u64, (&str, Standing))| (name.to_owned(), Person { id, standing });
        let people = [
            ("keeper", Standing::Write),
            ("mira", Standing::Admin),
            ("pia", Standing::Write),
            ("otto", Standing::Read),
        ];
        Self {
            kind,
            project: project.to_owned(),
            repo,
            url,
            now,
            begun: now,
            people: (1..).zip(people).map(person).collect(),
            reviews: BTreeMap::new(),
            issues: BTreeMap::new(),
            notes: Vec::new(),
            lines: Vec::new(),
            labels: BTreeMap::new(),
            last: 100,
            compared: BTreeMap::new(),
            tokens_until: None,
        }
    }

    /// A number that nothing has yet.
    pub fn id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The next number that people name a review or an issue by. GitLab counts them apart.
    fn number(&self, of_review: bool) -> u64 {
        let reviews = self.reviews.keys().next_back().copied().unwrap_or(0);
        let issues = self.issues.keys().next_back().copied().unwrap_or(0);
        1 + match (self.kind, of_review) {
            (Kind::GitLab, true) => reviews,
            (Kind::GitLab, false) => issues,
            (Kind::GitHub | Kind::Gitea, _) => reviews.max(issues),
        }
    }

    /// Sees what was pushed since then.
    pub async fn sees_pushes(&mut self) {
        let refs = self.repo.git(&["for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads"]).await;
        let refs: BTreeMap<&str, &str> = refs.lines().filter_map(|line| line.split_once(' ')).collect();
        let open: Vec<_> = self.reviews.values().filter(|it| it.stage == Stage::Open).map(|it| it.number).collect();
        for number in open {
            let review = &self.reviews[&number];
            let is_own = review.project == self.project;
            let tip = if is_own { refs.get(review.branch.as_str()).copied() } else { Some(review.head.as_str()) };
            let (tip, base) = (tip.map(str::to_owned), refs[review.base.as_str()].to_owned());
            match tip {
                Some(tip) => self.sees_push(number, tip, base).await,
                // GitLab keeps such a merge request; the others close it.
                None if self.kind == Kind::GitLab => {}
                None => self.end(number, Stage::Closed, Some("keeper")),
            }
        }
    }

    async fn sees_push(&mut self, number: u64, tip: String, base: String) {
        let pair = (tip.clone(), base.clone());
        let (is_in, mergeable) = match self.compared.get(&pair) {
            Some(known) => *known,
            None => (self.is_ancestor(&tip, &base).await, self.merged_tree(&base, &tip).await.is_some()),
        };
        self.compared.insert(pair, (is_in, mergeable));
        // Gitea leaves it open unless its projects say otherwise.
        if is_in && self.kind != Kind::Gitea {
            return self.end(number, Stage::Merged, None);
        }
        let now = self.now;
        let review = self.reviews.get_mut(&number).expect("it is there");
        review.mergeable = mergeable;
        if review.head != tip {
            (review.head, review.updated_at, review.pushed_at) = (tip.clone(), now, now);
            self.show(number, &tip).await;
        }
    }

    fn end(&mut self, number: u64, stage: Stage, by: Option<&str>) {
        let review = self.reviews.get_mut(&number).expect("it is there");
        review.stage = stage;
        review.closed_by = by.map(str::to_owned);
        (review.updated_at, review.ended_at) = (self.now, Some(self.now));
        if stage == Stage::Merged {
            review.merged_as.get_or_insert_with(|| review.head.clone());
        }
    }

    async fn is_ancestor(&self, one: &str, other: &str) -> bool {
        self.repo.tries(&["merge-base", "--is-ancestor", one, other]).await.is_some()
    }

    async fn merged_tree(&self, base: &str, head: &str) -> Option<String> {
        let tree = self.repo.tries(&["merge-tree", "--write-tree", base, head]).await?;
        Some(tree.lines().next().unwrap_or_default().to_owned())
    }

    /// Somebody opens a review of a branch in the project itself.
    pub async fn opens(
        &mut self,
        author: &str,
        (branch, base): (&str, &str),
        title: &str,
        body: &str,
    ) -> Result<u64, Refusal> {
        let head = self.repo.id(&format!("refs/heads/{branch}")).await.ok_or(Refusal::NoSuchBranch)?;
        let base_tip = self.repo.id(&format!("refs/heads/{base}")).await.ok_or(Refusal::NoSuchBranch)?;
        let is_same = |it: &&Review| it.stage == Stage::Open && it.branch == branch && it.project == self.project;
        if let Some(other) = self.reviews.values().find(is_same) {
            return Err(Refusal::Exists(other.number));
        }
        let mergeable = self.merged_tree(&base_tip, &head).await.is_some();
        let number = self.number(true);
        let review = self.review(number, author, (branch, base), &head, title);
        self.add(Review { body: body.to_owned(), mergeable, ..review });
        self.show(number, &head).await;
        Ok(number)
    }

    /// The ref that everybody can fetch a review by.
    async fn show(&self, number: u64, head: &str) {
        let folder = if self.kind == Kind::GitLab { "merge-requests" } else { "pull" };
        self.repo.git(&["update-ref", &format!("refs/{folder}/{number}/head"), head]).await;
    }

    /// Somebody proposes something from a copy of the project.
    pub async fn offers(&mut self, author: &str, branch: &str, title: &str, commit: &str) -> u64 {
        let number = self.number(true);
        let project = self.project.replace("them/", &format!("{author}/"));
        self.add(Review { project, ..self.review(number, author, (branch, "main"), commit, title) });
        self.show(number, commit).await;
        number
    }

    /// Somebody pushes to what they propose from a copy of the project.
    pub async fn repushes(&mut self, number: u64, commit: &str) {
        commit.clone_into(&mut self.touched(number).expect("it is there").head);
        self.show(number, commit).await;
    }

    fn add(&mut self, review: Review) {
        self.reviews.insert(review.number, review);
    }

    fn review(&self, number: u64, author: &str, (branch, base): (&str, &str), head: &str, title: &str) -> Review {
        Review {
            number,
            author: author.to_owned(),
            project: self.project.clone(),
            branch: branch.to_owned(),
            base: base.to_owned(),
            head: head.to_owned(),
            title: title.to_owned(),
            body: String::new(),
            stage: Stage::Open,
            closed_by: None,
            labels: BTreeSet::new(),
            assignees: BTreeSet::new(),
            reviewers: BTreeSet::new(),
            opinions: Vec::new(),
            mergeable: true,
            opened_at: self.now,
            pushed_at: self.now,
            updated_at: self.now,
            ended_at: None,
            merged_as: None,
        }
    }

    /// The review, if it is there, as changed now.
    pub fn touched(&mut self, number: u64) -> Result<&mut Review, Refusal> {
        let review = self.reviews.get_mut(&number).ok_or(Refusal::NoSuch)?;
        review.updated_at = self.now;
        Ok(review)
    }

    pub fn closes(&mut self, number: u64, who: &str) -> Result<(), Refusal> {
        let review = self.reviews.get(&number).ok_or(Refusal::NoSuch)?;
        if review.stage == Stage::Open {
            self.end(number, Stage::Closed, Some(who));
        }
        Ok(())
    }

    /// Merges a review if its head is that, with a commit that keeps both lines of history.
    pub async fn merges(&mut self, number: u64, head: Option<&str>) -> Result<String, Refusal> {
        let review = self.reviews.get(&number).ok_or(Refusal::NoSuch)?.clone();
        if review.stage != Stage::Open {
            return Err(Refusal::NotOpen);
        }
        if head.is_some_and(|head| head != review.head) {
            return Err(Refusal::Moved);
        }
        let branch = format!("refs/heads/{}", review.base);
        let base = self.repo.id(&branch).await.expect("a base");
        let tree = self.merged_tree(&base, &review.head).await.ok_or(Refusal::Conflict)?;
        let message = format!("Merge {}", review.branch);
        let commit = self.repo.merge_commit(&tree, [&base, &review.head], &message, self.now).await;
        self.repo.git(&["update-ref", &branch, &commit, &base]).await;
        self.reviews.get_mut(&number).expect("it is there").merged_as = Some(commit.clone());
        self.end(number, Stage::Merged, None);
        Ok(commit)
    }

    /// Somebody writes below a review.
    pub fn says(&mut self, author: &str, number: u64, text: &str) -> u64 {
        let on_issue = self.kind != Kind::GitLab && self.issues.contains_key(&number);
        self.writes(author, (number, on_issue), text)
    }

    /// Somebody writes below an issue.
    pub fn says_on_issue(&mut self, author: &str, number: u64, text: &str) -> u64 {
        self.writes(author, (number, true), text)
    }

    fn writes(&mut self, author: &str, (number, on_issue): (u64, bool), text: &str) -> u64 {
        let id = self.id();
        let note = Note {
            id,
            number,
            on_issue,
            author: author.to_owned(),
            text: text.to_owned(),
            written_at: self.now,
            updated_at: self.now,
        };
        self.notes.push(note);
        match (self.reviews.get_mut(&number), self.issues.get_mut(&number)) {
            (_, Some(issue)) if on_issue => issue.updated_at = self.now,
            (Some(review), _) => review.updated_at = self.now,
            _ => {}
        }
        id
    }

    pub fn approves(&mut self, author: &str, number: u64, approves: bool) {
        let (id, at) = (self.id(), self.now);
        let review = self.touched(number).expect("it is there");
        review.reviewers.remove(author);
        let (author, head) = (author.to_owned(), review.head.clone());
        review.opinions.push(Opinion { id, author, approves, head, at });
    }

    pub fn reports(&mut self, author: &str, title: &str, body: &str) -> u64 {
        let number = self.number(false);
        let issue = Issue {
            number,
            author: author.to_owned(),
            title: title.to_owned(),
            body: body.to_owned(),
            is_open: true,
            opened_at: self.now,
            updated_at: self.now,
        };
        self.issues.insert(number, issue);
        number
    }

    /// The statuses of a commit that count, by context.
    pub fn statuses(&self, commit: &str) -> Vec<&Line> {
        let of_commit = self.lines.iter().filter(|line| line.commit == commit);
        let newest: BTreeMap<_, _> = of_commit.map(|line| (line.context.as_str(), line)).collect();
        newest.into_values().collect()
    }
}

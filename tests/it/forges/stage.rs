//! A forge with a project, its client, and people.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use pkgwarden::domain::name::Oid;
use pkgwarden::domain::review::Wanted;
use pkgwarden::forge::Forge;
use pkgwarden::forge::gitea::Gitea;
use pkgwarden::forge::github::{GitHub, Identity};
use pkgwarden::forge::gitlab::GitLab;
use pkgwarden::sys::clock::{Clock as _, ManualClock};
use pkgwarden::sys::secret::SecretString;

use crate::support::forges::world::Kind;
use crate::support::forges::{Fake, KEEPER, PROJECT};
use crate::support::{Change, Repo};

pub const KINDS: [Kind; 3] = [Kind::GitHub, Kind::GitLab, Kind::Gitea];

pub struct Stage {
    pub fake: Fake,
    pub forge: Arc<dyn Forge>,
    pub repo: Repo,
    pub clock: Arc<ManualClock>,
    _dir: tempfile::TempDir,
}

impl Stage {
    /// A project with one commit on its branch `main`.
    pub async fn of(kind: Kind) -> Self {
        Self::below("", kind).await
    }

    /// The same below a path of its host.
    pub async fn below(path: &'static str, kind: Kind) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let repo = Repo::init(&dir.path().join("packages.git")).await;
        let clock = Arc::new(ManualClock::new("2026-05-01T12:00:00Z".parse().expect("a time")));
        repo.commit("refs/heads/main", "Begin", &[Change::put("foo/PKGBUILD", "pkgver=1\n")], clock.now()).await;
        let fake = Fake::start_below(path, kind, repo.clone(), clock.clone()).await;
        let forge = client(kind, &fake, clock.clone());
        Self { fake, forge, repo, clock, _dir: dir }
    }

    pub fn later(&self) {
        self.clock.advance(SignedDuration::from_hours(1));
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Pushes a commit to a branch, which begins at `main` if it is new.
    pub async fn push(&self, branch: &str, text: &str) -> Oid {
        let name = format!("refs/heads/{branch}");
        let parent = match self.repo.id(&name).await {
            Some(tip) => Some(tip),
            None => self.repo.id("refs/heads/main").await,
        };
        let change = Change::put("foo/PKGBUILD", text);
        let commit = self.repo.commit_on(&name, parent.as_deref(), "Update", &[change], self.now()).await;
        commit.parse().expect("a commit")
    }

    pub async fn delete(&self, branch: &str) {
        self.repo.git(&["update-ref", "-d", &format!("refs/heads/{branch}")]).await;
    }
}

/// The client that the program would make.
fn client(kind: Kind, fake: &Fake, clock: Arc<ManualClock>) -> Arc<dyn Forge> {
    let api = fake.api_url().parse().expect("an address");
    let token = SecretString::from(format!("token-of-{KEEPER}"));
    match kind {
        Kind::GitHub => Arc::new(GitHub::new(api, PROJECT, Identity::Token(token), clock)),
        Kind::GitLab => Arc::new(GitLab::new(api, PROJECT, &token, clock).expect("a token")),
        Kind::Gitea => Arc::new(Gitea::new(api, PROJECT, &token, clock).expect("a token")),
    }
}

/// A review of a branch, as it should be.
pub fn wanted(branch: &str) -> Wanted {
    Wanted {
        branch: branch.to_owned(),
        base: "main".to_owned(),
        title: format!("Update {branch}"),
        body: "What changes.\n\n| a | b |\n|---|---|\n".to_owned(),
        labels: ["update".to_owned()].into(),
        labels_off: BTreeSet::new(),
        assignees: ["mira".to_owned()].into(),
        reviewers: ["pia".to_owned()].into(),
    }
}

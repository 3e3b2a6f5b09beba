//! Where the reviews of a scene are: only in its branches, or on a forge as well. What people do there is the same
//! everywhere, so that one story can be told of all.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::{SignedDuration, Timestamp};
use pkgwarden::controller::tend::Hosted;
use pkgwarden::domain::name::Oid;
use pkgwarden::domain::plan::{Pipeline, Refusal};
use pkgwarden::domain::review::{Comment, Offer, OwnIssue, Permission, Seen, Stage, Status, Thread, Wanted};
use pkgwarden::forge::{Answer, Forge, ForgeError};
use pkgwarden::sys::clock::{Clock as _, ManualClock};
use pkgwarden::sys::process::Program;

use super::forges::world::{self, Kind, Review};
use super::forges::{Fake, PROJECT};
use super::scene::{MAIN, Scene, base, person};
use super::talking::Talks;

/// The account that the program acts as.
pub const ME: &str = "keeper-bot";

/// Where reviews are.
#[derive(Clone)]
pub enum Host {
    /// In branches only.
    Local,
    /// On a forge that does what forges do, in memory.
    Memory(Arc<MemoryForge>),
    /// On a forge that speaks its own language, on loopback.
    Fake(Arc<Fake>),
}

/// A forge in memory, over the scene's repository.
#[derive(Debug)]
pub struct MemoryForge {
    repository: std::path::PathBuf,
    clock: Arc<ManualClock>,
    world: Mutex<World>,
}

#[derive(Debug, Default)]
struct World {
    reviews: Vec<Seen>,
    talks: Talks,
    opened: u64,
    down: bool,
    takes_no_changes: bool,
    /// Threads of which every answer is too long.
    endless: BTreeSet<u64>,
    /// How far its clock is behind ours.
    behind: SignedDuration,
    /// Reviews that the next list leaves out, as one does that moves while its pages are read.
    unlisted: BTreeSet<u64>,
    /// What was changed, one thing a line.
    told: Vec<String>,
}

impl MemoryForge {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("nobody panics with it")
    }

    /// What was changed since the last call.
    pub fn told(&self) -> String {
        std::mem::take(&mut self.world().told).join("\n")
    }

    /// Somebody does something to the newest review of a branch.
    pub fn edit(&self, branch: &str, edit: impl FnOnce(&mut Seen)) {
        let mut world = self.world();
        let now = self.clock.now() - world.behind;
        let seen = world.reviews.iter_mut().rev().find(|seen| seen.branch == branch).expect("a review");
        edit(seen);
        seen.updated_at = now;
    }

    /// The newest review of a branch.
    pub async fn review(&self, branch: &str) -> Option<Seen> {
        self.refresh().await;
        self.world().reviews.iter().rev().find(|seen| seen.branch == branch).cloned()
    }

    /// What stands below the newest review of a branch.
    pub fn comments(&self, branch: &str) -> Vec<String> {
        let world = self.world();
        let number = world.reviews.iter().rev().find(|seen| seen.branch == branch).map(|seen| seen.number);
        let thread = Thread::Review(number.unwrap_or_default());
        world.talks.below(thread).map(|comment| comment.text.clone()).collect()
    }

    /// Does something with what was written.
    pub fn talks<T>(&self, what: impl FnOnce(&mut Talks) -> T) -> T {
        what(&mut self.world().talks)
    }

    /// Somebody writes below the newest review of a branch.
    pub fn is_written_to(&self, branch: &str, author: &str, text: &str) -> u64 {
        let (mut number, now) = (0, self.clock.now());
        self.edit(branch, |seen| number = seen.number);
        self.talks(|talks| talks.write(Thread::Review(number), author, text, now))
    }

    /// Somebody writes below an issue of ours.
    pub fn is_written_to_issue(&self, key: &str, author: &str, text: &str) {
        let now = self.clock.now();
        self.talks(|talks| {
            let number = talks.issue(key).expect("an issue").number;
            talks.write(Thread::Issue(number), author, text, now);
        });
    }

    async fn head(&self, branch: &str) -> Option<Oid> {
        let rev = format!("refs/heads/{branch}");
        let git = Program::new("git").args(["rev-parse", "-q", "--verify", &rev]).current_dir(&self.repository);
        String::from_utf8_lossy(&git.run().await.expect("git runs").stdout).trim().parse().ok()
    }

    /// Forges follow branches, and close what has none any more.
    async fn refresh(&self) {
        let open: Vec<String> = {
            let world = self.world();
            world.reviews.iter().filter(|seen| seen.stage == Stage::Open).map(|seen| seen.branch.clone()).collect()
        };
        for branch in open {
            let head = self.head(&branch).await;
            self.edit(&branch, |seen| match head {
                Some(head) if head != seen.head => {
                    seen.head = head;
                    seen.approved_by.clear();
                }
                Some(_) => {}
                None => seen.stage = Stage::Closed { by: Some(ME.to_owned()) },
            });
        }
    }

    fn check(&self) -> Result<(), ForgeError> {
        let message = "connection refused".to_owned();
        if self.world().down { Err(ForgeError::Unreachable { forge: "memory".into(), message }) } else { Ok(()) }
    }

    /// Its clock is so far behind ours.
    pub fn is_behind(&self, behind: SignedDuration) {
        self.world().behind = behind;
    }

    /// The next list leaves out the newest review of a branch.
    pub fn leaves_out(&self, branch: &str) {
        let mut world = self.world();
        let number = world.reviews.iter().rev().find(|seen| seen.branch == branch).expect("a review").number;
        world.unlisted.insert(number);
    }

    /// An administrator deletes all reviews of a branch.
    pub fn deletes(&self, branch: &str) {
        self.world().reviews.retain(|seen| seen.branch != branch);
    }

    /// From now on, it shows everything and answers no request that changes anything, or answers them again.
    pub fn takes_changes(&self, takes: bool) {
        self.world().takes_no_changes = !takes;
    }

    /// Every answer about this thread is too long from now on, or none is.
    pub fn is_endless(&self, number: Option<u64>) {
        self.world().endless = number.into_iter().collect();
    }

    fn check_thread(&self, number: u64) -> Result<(), ForgeError> {
        let message = "its answer is too long".to_owned();
        if self.world().endless.contains(&number) {
            return Err(ForgeError::Unreachable { forge: "memory".into(), message });
        }
        self.check()
    }

    fn check_change(&self) -> Result<(), ForgeError> {
        let message = "connection reset".to_owned();
        if self.world().takes_no_changes {
            return Err(ForgeError::Unreachable { forge: "memory".into(), message });
        }
        self.check()
    }

    fn at(&self, number: u64, edit: impl FnOnce(&mut Seen)) -> Result<Seen, ForgeError> {
        let mut world = self.world();
        let now = self.clock.now() - world.behind;
        let seen = world.reviews.iter_mut().find(|seen| seen.number == number);
        let seen = seen.ok_or_else(|| ForgeError::Missing { forge: "memory".into(), what: format!("#{number}") })?;
        edit(seen);
        seen.updated_at = now;
        Ok(seen.clone())
    }
}

impl Forge for MemoryForge {
    fn shown(&self) -> &'static str {
        "memory/packages"
    }

    fn me(&self) -> Answer<'_, String> {
        Box::pin(async { self.check().map(|()| ME.to_owned()) })
    }

    fn reviews(&self, since: Timestamp) -> Answer<'_, Vec<Seen>> {
        Box::pin(async move {
            self.check()?;
            self.refresh().await;
            let mut world = self.world();
            let unlisted = std::mem::take(&mut world.unlisted);
            let shown = world.reviews.iter().filter(|seen| seen.stage == Stage::Open || seen.updated_at >= since);
            let shown = shown.filter(|seen| !unlisted.contains(&seen.number));
            // Lists of forges do not say who approved what.
            Ok(shown.map(|seen| Seen { approved_by: BTreeSet::new(), ..seen.clone() }).collect())
        })
    }

    fn review(&self, number: u64) -> Answer<'_, Seen> {
        Box::pin(async move {
            self.check()?;
            let what = format!("#{number}");
            let world = self.world();
            let seen = world.reviews.iter().find(|seen| seen.number == number).cloned();
            seen.ok_or_else(|| ForgeError::Missing { forge: "memory".into(), what })
        })
    }

    fn open(&self, wanted: Wanted) -> Answer<'_, Seen> {
        Box::pin(async move {
            self.check_change()?;
            let head = self.head(&wanted.branch).await;
            let what = format!("branch {}", wanted.branch);
            let head = head.ok_or_else(|| ForgeError::Missing { forge: "memory".into(), what })?;
            let mut world = self.world();
            let now = self.clock.now() - world.behind;
            world.opened += 1;
            let number = world.opened;
            world.told.push(format!("open #{number} {}", wanted.branch));
            let seen = Seen {
                number,
                url: format!("https://forge.example/{number}"),
                branch: wanted.branch,
                head,
                stage: Stage::Open,
                author: ME.to_owned(),
                title: wanted.title,
                body: wanted.body,
                labels: wanted.labels,
                assignees: wanted.assignees,
                reviewers: wanted.reviewers,
                approved_by: BTreeSet::new(),
                mergeable: Some(true),
                opened_at: now,
                updated_at: now,
            };
            world.reviews.push(seen.clone());
            Ok(seen)
        })
    }

    fn update(&self, number: u64, wanted: Wanted) -> Answer<'_, Seen> {
        Box::pin(async move {
            self.check_change()?;
            self.world().told.push(format!("update #{number} {}", wanted.branch));
            self.at(number, |seen| {
                seen.title = wanted.title;
                seen.body = wanted.body;
                seen.labels.extend(wanted.labels);
                seen.labels.retain(|label| !wanted.labels_off.contains(label));
                seen.assignees.extend(wanted.assignees);
            })
        })
    }

    fn close(&self, number: u64, why: String) -> Answer<'_, ()> {
        Box::pin(async move {
            self.check_change()?;
            self.at(number, |seen| seen.stage = Stage::Closed { by: Some(ME.to_owned()) })?;
            let mut world = self.world();
            world.told.push(format!("close #{number}: {why}"));
            let now = self.clock.now();
            world.talks.say(Thread::Review(number), "", &why, now);
            Ok(())
        })
    }

    fn merge(&self, number: u64, _head: Oid) -> Answer<'_, ()> {
        Box::pin(async move { self.at(number, |seen| seen.stage = Stage::Merged).map(drop) })
    }

    fn comments(&self, thread: Thread, since: Timestamp) -> Answer<'_, Vec<Comment>> {
        Box::pin(async move {
            self.check_thread(thread.number())?;
            Ok(self.world().talks.below(thread).filter(|it| it.written_at >= since).cloned().collect())
        })
    }

    fn say(&self, thread: Thread, key: String, text: String) -> Answer<'_, ()> {
        Box::pin(async move {
            self.check_thread(thread.number())?;
            self.check_change()?;
            let mut world = self.world();
            world.told.push(format!("say #{} {key}: {text}", thread.number()));
            let now = self.clock.now();
            world.talks.say(thread, &key, &text, now);
            Ok(())
        })
    }

    fn permission(&self, person: String) -> Answer<'_, Permission> {
        Box::pin(
            async move { self.check().map(|()| if person == "otto" { Permission::Read } else { Permission::Write }) },
        )
    }

    fn offers(&self) -> Answer<'_, Vec<Offer>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn tell(&self, _status: Status) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn issue(&self, key: String, _title: String, body: String) -> Answer<'_, u64> {
        Box::pin(async move {
            self.check_change()?;
            self.world().told.push(format!("issue {key}"));
            let now = self.clock.now();
            Ok(self.talks(|talks| talks.keep_issue(key, body, now)))
        })
    }

    fn own_issue(&self, key: String) -> Answer<'_, Option<OwnIssue>> {
        Box::pin(async move { self.check().map(|()| self.talks(|talks| talks.issue(&key))) })
    }
}

impl Host {
    /// Has the program find this scene on a forge in memory.
    pub fn memory(scene: &mut Scene) -> Self {
        let forge = Arc::new(MemoryForge {
            repository: scene.monorepo.path().to_owned(),
            clock: scene.clock.clone(),
            world: Mutex::default(),
        });
        scene.hosted = Some(Hosted { forge: forge.clone(), pages: None });
        Self::Memory(forge)
    }

    /// Has the program find this scene on a forge on loopback, by its settings.
    pub async fn fake(scene: &mut Scene, kind: Kind) -> Self {
        let fake = Fake::start(kind, scene.monorepo.clone(), scene.clock.clone()).await;
        scene.env.extend(fake.env(&scene.path("forge-token")));
        Self::Fake(Arc::new(fake))
    }

    /// The newest review of a branch of the project on a forge.
    pub async fn newest(fake: &Fake, branch: &str) -> Option<Review> {
        let world = fake.world().await;
        let of_it = world.reviews.values().rev().find(|it| it.branch == branch && it.project == PROJECT);
        of_it.cloned()
    }

    /// Reviews that are open, one a line: the branch, and the version that it proposes.
    pub async fn open(&self, scene: &Scene) -> String {
        let mut lines = Vec::new();
        match self {
            Self::Local => {
                let refs = scene.monorepo.git(&["for-each-ref", "--format=%(refname)", "refs/heads/update-*"]).await;
                for name in refs.lines() {
                    lines.push((name.trim_start_matches("refs/heads/").to_owned(), name.to_owned()));
                }
            }
            Self::Memory(forge) => {
                forge.refresh().await;
                let world = forge.world();
                let open = world.reviews.iter().filter(|seen| seen.stage == Stage::Open);
                lines.extend(open.map(|seen| (seen.branch.clone(), seen.head.to_string())));
            }
            Self::Fake(fake) => {
                let world = fake.world().await;
                let open = world.reviews.values().filter(|review| review.stage == world::Stage::Open);
                lines.extend(open.map(|review| (review.branch.clone(), review.head.clone())));
            }
        }
        let mut text = String::new();
        for (branch, rev) in lines {
            let name = branch.trim_start_matches("update-");
            let recipe = scene.monorepo.file(&rev, &format!("{name}/PKGBUILD")).await.unwrap_or_default();
            let version = recipe.lines().find_map(|line| line.strip_prefix("pkgver=")).unwrap_or_default().to_owned();
            let _ = writeln!(text, "{branch} {version}");
        }
        text
    }

    /// What the text of the review of `foo` says, where it has one.
    pub async fn body(&self) -> Option<String> {
        self.body_on("update-foo").await
    }

    /// What the text of the review of a branch says, where it has one.
    pub async fn body_on(&self, branch: &str) -> Option<String> {
        match self {
            Self::Local => None,
            Self::Memory(forge) => forge.review(branch).await.map(|seen| seen.body),
            Self::Fake(fake) => Self::newest(fake, branch).await.map(|review| review.body),
        }
    }

    /// The labels of the review of a branch, where it has some.
    pub async fn labels_on(&self, branch: &str) -> Option<BTreeSet<String>> {
        match self {
            Self::Local => None,
            Self::Memory(forge) => forge.review(branch).await.map(|seen| seen.labels),
            Self::Fake(fake) => Self::newest(fake, branch).await.map(|review| review.labels),
        }
    }

    /// What stands below the review of `foo`, where something can.
    pub async fn comments(&self) -> Option<Vec<String>> {
        self.comments_on("update-foo").await
    }

    /// What stands below the review of a branch, where something can.
    pub async fn comments_on(&self, branch: &str) -> Option<Vec<String>> {
        // What is hidden in them is for machines.
        let shown = |text: &str| text.split("<!--").next().unwrap_or_default().trim().to_owned();
        match self {
            Self::Local => None,
            Self::Memory(forge) => Some(forge.comments(branch)),
            Self::Fake(fake) => {
                let number = Self::newest(fake, branch).await?.number;
                let world = fake.world().await;
                Some(world.notes.iter().filter(|note| note.number == number).map(|note| shown(&note.text)).collect())
            }
        }
    }

    /// Somebody merges the review of `foo`.
    pub async fn merges(&self, scene: &Scene) {
        self.merges_on(scene, "update-foo").await;
    }

    /// Somebody merges the review of a branch.
    pub async fn merges_on(&self, scene: &Scene, branch: &str) {
        if let Self::Fake(fake) = self {
            let number = Self::newest(fake, branch).await.expect("a review").number;
            drop(fake.world().await.merges(number, None).await.expect("it can be merged"));
            return;
        }
        let head = scene.monorepo.id(&format!("refs/heads/{branch}")).await.expect("a branch");
        let tree = scene.monorepo.git(&["rev-parse", &format!("{head}^{{tree}}")]).await;
        let commit = scene.monorepo.commit_tree(&tree, MAIN, &format!("Merge {branch}"), scene.now().as_second()).await;
        scene.monorepo.git(&["update-ref", MAIN, &commit]).await;
        if let Self::Memory(forge) = self {
            forge.edit(branch, |seen| seen.stage = Stage::Merged);
        }
    }

    /// Somebody closes the review of `foo` and does not want its content; perhaps deletes the branch as well.
    pub async fn closes(&self, scene: &Scene, deletes: bool) {
        self.closes_on(scene, "update-foo", deletes).await;
    }

    /// Somebody closes the review of a branch on a forge, or rejects `foo`.
    pub async fn closes_on(&self, scene: &Scene, branch: &str, deletes: bool) {
        self.is_closed_by("mira", scene, branch, deletes).await;
    }

    /// Somebody of this name closes the review of a branch on a forge, or rejects `foo`.
    pub async fn is_closed_by(&self, who: &str, scene: &Scene, branch: &str, deletes: bool) {
        let name = format!("refs/heads/{branch}");
        match self {
            Self::Local => {
                let head = scene.monorepo.id("refs/heads/update-foo").await.expect("a branch");
                let head = head.parse().expect("an id");
                scene.run(Pipeline::Reject(base("foo"), head, Refusal::default())).await;
            }
            Self::Memory(forge) => {
                forge.edit(branch, |seen| seen.stage = Stage::Closed { by: Some(who.to_owned()) });
                if deletes {
                    scene.monorepo.git(&["update-ref", "-d", &name]).await;
                }
            }
            Self::Fake(fake) => {
                let number = Self::newest(fake, branch).await.expect("a review").number;
                fake.world().await.closes(number, who).expect("it is open");
                if deletes {
                    scene.monorepo.git(&["update-ref", "-d", &name]).await;
                }
            }
        }
    }

    /// Somebody approves the review of `foo`, as it is.
    pub async fn approves(&self, scene: &Scene, who: &str) {
        self.approves_on(scene, "update-foo", who).await;
    }

    /// Somebody approves the review of a branch on a forge, or `foo`.
    pub async fn approves_on(&self, scene: &Scene, branch: &str, who: &str) {
        match self {
            Self::Local => {
                let head = scene.monorepo.id("refs/heads/update-foo").await.expect("a branch");
                scene.run(Pipeline::Approve(base("foo"), head.parse().expect("an id"), person(who))).await;
            }
            Self::Memory(forge) => {
                forge.refresh().await;
                forge.edit(branch, |seen| seen.approved_by.extend([who.to_owned()]));
            }
            Self::Fake(fake) => {
                let number = Self::newest(fake, branch).await.expect("a review").number;
                fake.world().await.approves(who, number, true);
            }
        }
    }

    /// From now on, the forge does not answer, or answers again.
    pub async fn answers(&self, answers: bool) {
        match self {
            Self::Local => {}
            Self::Memory(forge) => forge.world().down = !answers,
            Self::Fake(fake) if answers => fake.works_again().await,
            Self::Fake(fake) => fake.is_down().await,
        }
    }
}

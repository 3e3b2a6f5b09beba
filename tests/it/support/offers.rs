//! What people propose on a forge on loopback, and what stands beside their commits.

use std::fmt::Write as _;

use super::forges::Fake;
use super::forges::world::Kind;
use super::repo::Change;
use super::scene::{MAIN, Scene};

/// Where people without a branch in the project keep what they propose.
const COPY: &str = "refs/copies/proposed";

/// A forge on loopback, and what people do there by pull or merge requests of their own.
pub struct Offers {
    pub fake: Fake,
}

impl Offers {
    /// Has the program find this scene on such a forge.
    pub async fn on(scene: &mut Scene, kind: Kind) -> Self {
        let fake = Fake::start(kind, scene.monorepo.clone(), scene.clock.clone()).await;
        scene.env.extend(fake.env(&scene.path("forge-token")));
        Self { fake }
    }

    /// Somebody proposes this from a copy of the project. Returns its number and its commit.
    pub async fn proposes(&self, scene: &Scene, who: &str, changes: &[Change]) -> (u64, String) {
        let commit = self.commit(scene, changes).await;
        let number = self.fake.world().await.offers(who, "mine", "Take this @mira", &commit).await;
        (number, commit)
    }

    /// Somebody pushes this in place of what is proposed. Returns its commit.
    pub async fn repushes(&self, scene: &Scene, number: u64, changes: &[Change]) -> String {
        let commit = self.commit(scene, changes).await;
        self.fake.world().await.repushes(number, &commit).await;
        commit
    }

    async fn commit(&self, scene: &Scene, changes: &[Change]) -> String {
        let tip = scene.monorepo.id(MAIN).await;
        let commit = scene.monorepo.commit_on(COPY, tip.as_deref(), "feat: propose", changes, scene.now()).await;
        scene.monorepo.git(&["update-ref", "-d", COPY]).await;
        commit
    }

    /// What counts of the statuses of a commit, one a line: context, state, and what it says.
    pub async fn beside(&self, commit: &str) -> String {
        let world = self.fake.world().await;
        let mut text = String::new();
        for line in world.statuses(commit) {
            // Forges have words of their own for the same.
            let state = match line.state.as_str() {
                "running" => "pending",
                "failed" => "failure",
                other => other,
            };
            let _ = writeln!(text, "{} {state}: {}", line.context, line.summary);
        }
        text
    }

    /// How often anything was said beside a commit.
    pub async fn times(&self, commit: &str) -> usize {
        self.fake.world().await.lines.iter().filter(|line| line.commit == commit).count()
    }

    /// What stands below a proposal, without what is hidden for machines.
    pub async fn below(&self, number: u64) -> Vec<String> {
        let world = self.fake.world().await;
        let notes = world.notes.iter().filter(|note| note.number == number);
        notes.map(|note| note.text.split("<!--").next().unwrap_or_default().trim().to_owned()).collect()
    }
}

/// Tells each story on every forge.
macro_rules! on_every_fake {
    ($($story:ident)*) => {
        mod github {
            $(#[tokio::test] async fn $story() { super::$story(crate::support::forges::world::Kind::GitHub).await; })*
        }
        mod gitlab {
            $(#[tokio::test] async fn $story() { super::$story(crate::support::forges::world::Kind::GitLab).await; })*
        }
        mod gitea {
            $(#[tokio::test] async fn $story() { super::$story(crate::support::forges::world::Kind::Gitea).await; })*
        }
    };
}
pub(crate) use on_every_fake;

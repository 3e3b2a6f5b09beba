//! What people push to the AUR's stand-in beyond what the demo's world does: any tree at all.

use jiff::Timestamp;
use pkgwarden::demo::world::World;

use super::repo::{Change, Repo};

/// The AUR of a world: one repository in which each package is a namespace, and its branches the mirror.
pub struct Aur {
    repo: Repo,
}

impl Aur {
    pub fn of(world: &World) -> Self {
        let git = world.monorepo().parent().expect("it has a parent");
        Self { repo: Repo::at(git.join("aur.git")) }
    }

    /// Somebody pushes these changes to a package, which may be new. Returns the commit.
    pub async fn push(&self, pkgbase: &str, message: &str, changes: &[Change], time: Timestamp) -> String {
        let commit = self.repo.commit(&master(pkgbase), message, changes, time).await;
        self.show(pkgbase, &commit).await;
        commit
    }

    /// As [`Aur::push`], with a mirror that has not heard of it yet: [`Aur::mirror`] tells it.
    pub async fn push_ahead_of_mirror(&self, pkgbase: &str, changes: &[Change], time: Timestamp) {
        self.repo.commit(&master(pkgbase), "Update", changes, time).await;
    }

    /// Lets the mirror have what the package's own repository has.
    pub async fn mirror(&self, pkgbase: &str) {
        let commit = self.repo.id(&master(pkgbase)).await.expect("pushed");
        self.show(pkgbase, &commit).await;
    }

    /// A tree that no client of git would make, entry by entry as `git mktree` reads them.
    pub async fn push_tree(&self, pkgbase: &str, extra: &[&str]) {
        let master = master(pkgbase);
        let listed = self.repo.git(&["ls-tree", &master]).await;
        let lines = listed.lines().chain(extra.iter().copied()).collect::<Vec<_>>().join("\n") + "\n";
        let tree = self.repo.pipe(&["mktree", "--missing"], lines).await;
        let time = self.repo.git(&["log", "-1", "--format=%ct", &master]).await.parse::<i64>().expect("seconds") + 60;
        let commit = self.repo.commit_tree(&tree, &master, "Update", time).await;
        self.show(pkgbase, &commit).await;
    }

    /// Lets the package's own repository and the mirror have this commit.
    async fn show(&self, pkgbase: &str, commit: &str) {
        self.repo.git(&["update-ref", &master(pkgbase), commit]).await;
        self.repo.git(&["update-ref", &format!("refs/heads/{pkgbase}"), commit]).await;
        let head = self.repo.path().join("refs/namespaces").join(pkgbase).join("HEAD");
        std::fs::write(head, format!("ref: {}\n", master(pkgbase))).expect("written");
    }

    /// A blob of the AUR's repository, for trees that name it.
    pub async fn blob(&self, text: &str) -> String {
        self.repo.pipe(&["hash-object", "-w", "--stdin"], text.to_owned()).await
    }
}

fn master(pkgbase: &str) -> String {
    format!("refs/namespaces/{pkgbase}/refs/heads/master")
}

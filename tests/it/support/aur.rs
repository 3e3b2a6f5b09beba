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

    /// Somebody pushes to many packages at once; the mirror has not heard of it yet.
    pub async fn push_all_ahead_of_mirror(&self, pushes: Vec<(String, Vec<Change>)>, time: Timestamp) {
        let pushes: Vec<_> = pushes.into_iter().map(|(pkgbase, changes)| (master(&pkgbase), changes)).collect();
        self.repo.commit_all(&pushes, "Update", time).await;
    }

    /// Lets the mirror have what the repositories of these packages have.
    pub async fn mirror_all(&self, names: &[String]) {
        let known = self.repo.git(&["for-each-ref", "--format=%(objectname) %(refname)", "refs/namespaces"]).await;
        let commits: std::collections::BTreeMap<&str, &str> =
            known.lines().filter_map(|line| line.split_once(' ')).map(|(commit, name)| (name, commit)).collect();
        let lines = names.iter().map(|name| format!("update refs/heads/{name} {}\n", commits[master(name).as_str()]));
        self.repo.pipe(&["update-ref", "--stdin"], lines.collect()).await;
    }

    /// The mirror loses a package, or has something of it that nobody should take.
    pub async fn spoil_mirror(&self, lost: &[String], hostile: &[String], time: Timestamp) {
        let lines = lost.iter().map(|name| format!("delete refs/heads/{name}\n"));
        self.repo.pipe(&["update-ref", "--stdin"], lines.collect()).await;
        let link =
            |name: &String| (format!("refs/heads/{name}"), vec![Change::link("patch", "../../../../etc/passwd")]);
        self.repo.commit_all(&hostile.iter().map(link).collect::<Vec<_>>(), "Odd", time).await;
    }

    /// The AUR deletes packages. Their branches stay on the mirror.
    pub async fn delete(&self, names: &[String]) {
        let lines = names.iter().map(|name| format!("delete {}\n", master(name)));
        self.repo.pipe(&["update-ref", "--stdin"], lines.collect()).await;
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

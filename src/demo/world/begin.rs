//! How a world begins: what is there when people start to work in it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};

use super::{ADDRESS_FILE, Options, UPSTREAM, World, person, write};
use crate::demo::fixtures::{self, Package};
use crate::demo::repository::{Change, Import, NewCommit};
use crate::sys::clock::Clock;

/// The file that is there while a world is made.
const BEGUN_FILE: &str = "unfinished";

impl World {
    /// Makes a new world in `directory`, which must be empty or absent.
    ///
    /// The first commit of the monorepo is tagged `scheduled` and holds no package; the second one
    /// adds them all, so the first run over commits builds everything.
    ///
    /// # Errors
    /// The directory holds something, the address is taken, or git does not work.
    pub async fn create(directory: &Path, clock: Arc<dyn Clock>, options: Options) -> Result<Self> {
        let begun = directory.join(BEGUN_FILE);
        if begun.is_file() {
            // Somebody ended it before it was whole, and nobody has used it.
            tokio::fs::remove_dir_all(directory)
                .await
                .with_context(|| format!("cannot clear {}", directory.display()))?;
        }
        let is_empty = directory.read_dir().map_or(true, |mut entries| entries.next().is_none());
        ensure!(is_empty, "{} is not empty; name a directory that is, or remove it", directory.display());
        let sources = directory.join("sources");
        tokio::fs::create_dir_all(&sources).await.with_context(|| format!("cannot create {}", sources.display()))?;
        write(&begun, b"").await?;
        let world = Self::listening(directory, clock, options.listen)?;
        let address = world.address.to_string();
        let mut packages = fixtures::packages(&address);
        packages.extend(fixtures::pebbles(options.extra_packages));
        for tarball in packages.iter().filter_map(|package| package.tarball.as_ref()) {
            write(&sources.join(&tarball.name), &tarball.bytes).await?;
        }
        world.found_upstream().await?;
        world.found_aur(&packages).await?;
        world.found_monorepo(&packages).await?;
        // Last, because it is what makes the directory a world.
        write(&directory.join(ADDRESS_FILE), address.as_bytes()).await?;
        tokio::fs::remove_file(&begun).await.with_context(|| format!("cannot remove {}", begun.display()))?;
        Ok(world)
    }

    /// Upstream and the AUR are older than the monorepo, and all of them older than the demo.
    fn ago(&self, minutes: i64) -> Timestamp {
        self.clock.now().saturating_sub(SignedDuration::from_mins(minutes)).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    async fn found_upstream(&self) -> Result<()> {
        self.upstream.init("main").await?;
        let changes = Change::put_all("", &fixtures::upstream(UPSTREAM));
        let mut import = Import::default();
        import.commit(&NewCommit {
            branch: "refs/heads/main",
            who: &person("Sune Holm", "sune"),
            time: self.ago(120),
            message: "Watch the tide\n",
            changes: &changes,
        });
        self.upstream.import(import).await
    }

    async fn found_aur(&self, packages: &[Package]) -> Result<()> {
        let submitted = packages.iter().filter(|package| package.is_from_aur());
        let submitted: Vec<_> = submitted.map(|package| (&package.pkgbase, package.folder.from_source())).collect();
        self.aur.create(&submitted, self.ago(60)).await
    }

    async fn found_monorepo(&self, packages: &[Package]) -> Result<()> {
        self.monorepo.init("main").await?;
        let who = person("Mira Vale", "mira");
        let root = Change::put_all("", &fixtures::monorepo());
        let folder = |package: &Package| Change::put_all(&format!("{}/", package.pkgbase), &package.folder);
        let added: Vec<Change> = packages.iter().flat_map(folder).collect();
        let main = "refs/heads/main";
        let commit = |minutes, message, changes| NewCommit {
            branch: main,
            who: &who,
            time: self.ago(minutes),
            message,
            changes,
        };
        let mut import = Import::default();
        import.commit(&commit(30, "chore: begin a package repository\n", &root)).point("refs/tags/scheduled", main);
        import.commit(&commit(20, "feat(add): the first packages\n", &added));
        self.monorepo.import(import).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::testing::{log, scene};
    use crate::sys::clock::ManualClock;

    #[tokio::test]
    async fn a_world_that_was_not_finished_is_made_anew_and_nothing_else_is_touched() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new("2026-05-01T12:00:00Z".parse().unwrap()));
        let half = directory.path().join("half");
        let create = || World::create(&half, clock.clone(), Options::default());
        create().await.unwrap();
        std::fs::remove_file(half.join(ADDRESS_FILE)).unwrap();
        let error = create().await.map(drop).unwrap_err();
        assert!(error.to_string().contains("is not empty"), "{error}");
        std::fs::write(half.join(BEGUN_FILE), "").unwrap();
        let world = create().await.unwrap();
        assert!(World::exists(&half) && !half.join(BEGUN_FILE).exists());
        assert_eq!(world.packages().await.unwrap().len(), 14);
    }

    #[tokio::test]
    async fn the_first_commit_is_scheduled_and_the_second_adds_every_package() {
        let scene = scene(0).await;
        let range = ["log", "--format=%an %ct %s", "scheduled..main"];
        assert_eq!(log(&scene.world, &range).await, "Mira Vale 1777635600 feat(add): the first packages\n");
        let changed = log(&scene.world, &["diff", "--name-only", "scheduled", "main", "--", "*/PKGBUILD"]).await;
        assert_eq!(changed.lines().count(), scene.world.packages().await.unwrap().len());
        assert_eq!(changed.lines().count(), 14);
        let before = log(&scene.world, &["ls-tree", "--name-only", "scheduled"]).await;
        assert_eq!(before, ".ci\nREADME.md\n");
    }
}

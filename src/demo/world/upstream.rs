//! What people upstream do: on the AUR, and in the repository that the `-git` package follows.

use anyhow::{Context as _, Result};

use super::{World, person, recipe_files, write};
use crate::demo::fixtures;
use crate::demo::recipe::Recipe;
use crate::demo::repository::{Change, NewCommit};
use crate::domain::name::{Oid, PkgBase};

/// A second name of the loopback address, which curl knows without asking anybody.
const OTHER_HOST: &str = "mirror.localhost";

impl World {
    /// A maintainer on the AUR releases the next version: new tarball, new checksum, nothing else.
    ///
    /// # Errors
    /// The AUR has no such package, or nothing of it is released as a tarball.
    pub async fn aur_minor_update(&self, pkgbase: &PkgBase) -> Result<String> {
        let (recipe, version) = self.next_release(pkgbase).await?;
        let files = recipe_files("", &recipe);
        let message = format!("Update to {version}\n");
        self.aur.push(pkgbase, &message, &files, self.clock.now()).await?;
        Ok(version)
    }

    /// A maintainer on the AUR releases the next version from another host and builds it differently.
    ///
    /// # Errors
    /// As for [`World::aur_minor_update`].
    pub async fn aur_major_update(&self, pkgbase: &PkgBase) -> Result<String> {
        let (recipe, version) = self.next_release(pkgbase).await?;
        let (first, second) = (self.address.to_string(), format!("{OTHER_HOST}:{}", self.address.port()));
        let is_moved = recipe.pkgbuild.contains(&second);
        let (from, to) = if is_moved { (&second, &first) } else { (&first, &second) };
        let flags = "  export CFLAGS=";
        let line = format!("{flags}\"-O3 -DRELEASE={version}\"");
        let recipe = recipe.with_source_host(from, to).without_lines(flags).with_build_line(&line);
        let message = format!("Update to {version}, build with -O3\n");
        self.aur.push(pkgbase, &message, &recipe_files("", &recipe), self.clock.now()).await?;
        Ok(version)
    }

    /// Stops the mirror where it is, or lets it follow the AUR again, beginning with what it missed.
    ///
    /// # Errors
    /// The mirror cannot be written.
    pub async fn set_mirror_follows(&mut self, follows: bool) -> Result<()> {
        self.aur.set_mirror_follows(follows).await
    }

    /// The recipe for the next version, whose tarball is on the server when this returns.
    async fn next_release(&self, pkgbase: &PkgBase) -> Result<(Recipe, String)> {
        let (pkgbuild, srcinfo) =
            tokio::try_join!(self.aur.text(pkgbase, "PKGBUILD"), self.aur.text(pkgbase, ".SRCINFO"))?;
        let recipe = Recipe { pkgbuild, srcinfo };
        let version = recipe.next_version();
        let tarball = fixtures::release(pkgbase.as_str(), &version)
            .filter(|_| !pkgbase.is_vcs())
            .with_context(|| format!("`{pkgbase}` is not released as a tarball"))?;
        write(&self.directory.join("sources").join(&tarball.name), &tarball.bytes).await?;
        Ok((recipe.with_version(&version, &tarball.sha256), version))
    }

    /// Somebody measures a harbour again and commits it to the upstream of the `-git` package.
    ///
    /// # Errors
    /// The upstream cannot be written.
    pub async fn upstream_commit(&self) -> Result<Oid> {
        let harbour = self.upstream.text("refs/heads/main:harbour.txt").await?;
        let count = harbour.lines().count();
        let line = format!("S{count} 0.0{} {}.0000 1.{}\n", count % 9 + 1, 4 + count % 4, count % 10);
        let changes = [Change::put("harbour.txt".to_owned(), &format!("{harbour}{line}"))];
        let commit = NewCommit {
            branch: "refs/heads/main",
            who: &person("Sune Holm", "sune"),
            time: self.clock.now(),
            message: &format!("Add constituent {count} of the harbour\n"),
            changes: &changes,
        };
        self.upstream.commit(&commit).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::tarball;
    use crate::demo::testing::{dump, name, run, scene};

    #[tokio::test]
    async fn a_minor_update_comes_with_the_tarball_it_names() {
        let scene = scene(0).await;
        for expected in ["1.2.1", "1.2.2"] {
            assert_eq!(scene.world.aur_minor_update(&name("knotwork")).await.unwrap(), expected);
        }
        let srcinfo = scene.world.aur.text(&name("knotwork"), ".SRCINFO").await.unwrap();
        let value = |field: &str| srcinfo.lines().find_map(|line| line.trim().strip_prefix(field)).unwrap();
        let url = value("source = ");
        assert!(url.ends_with("/sources/knotwork-1.2.2.tar.gz"), "{url}");
        let client = crate::sys::http::client(Duration::from_secs(10));
        let tarball = client.get(url).send().await.unwrap().bytes().await.unwrap();
        assert_eq!(tarball::sha256(&tarball), value("sha256sums = "));
    }

    #[tokio::test]
    async fn a_major_update_moves_the_sources_and_changes_the_build() {
        let scene = scene(0).await;
        scene.world.aur_major_update(&name("banner")).await.unwrap();
        let port = scene.world.address().port();
        let pkgbuild = scene.world.aur.text(&name("banner"), "PKGBUILD").await.unwrap();
        assert!(pkgbuild.contains(&format!("source=(\"http://mirror.localhost:{port}/sources/")), "{pkgbuild}");
        assert!(pkgbuild.contains("build() {\n  export CFLAGS=\"-O3 -DRELEASE=3.0.2\"\n"), "{pkgbuild}");
        let srcinfo = scene.world.aur.text(&name("banner"), ".SRCINFO").await.unwrap();
        assert!(srcinfo.contains(&format!("\tsource = http://mirror.localhost:{port}/sources/banner-3.0.2.tar.gz")));
        assert!(srcinfo.contains(&format!("\turl = http://127.0.0.1:{port}/sources/")));

        scene.world.aur_major_update(&name("banner")).await.unwrap();
        let pkgbuild = scene.world.aur.text(&name("banner"), "PKGBUILD").await.unwrap();
        assert!(!pkgbuild.contains("mirror.localhost"), "the next one moves back: {pkgbuild}");
        assert_eq!(pkgbuild.matches("export CFLAGS").count(), 1, "{pkgbuild}");
    }

    #[tokio::test]
    async fn what_cannot_be_released_is_refused_by_name() {
        let scene = scene(0).await;
        let refused = |result: Result<String>| format!("{:#}", result.unwrap_err());
        let git = refused(scene.world.aur_minor_update(&name("tidewatch-git")).await);
        assert_eq!(git, "`tidewatch-git` is not released as a tarball");
        let own = refused(scene.world.aur_minor_update(&name("tally")).await);
        assert!(own.starts_with("`tally` is not in the demo's AUR"), "{own}");
    }

    #[tokio::test]
    async fn a_mirror_that_stays_behind_catches_up_later() {
        let mut scene = scene(0).await;
        let urls = scene.world.aur_urls();
        let own = urls.git_url.replace("{pkgbase}", "knotwork");
        let tip = async |url: &str, branch: &str| {
            run("git", &["ls-remote", url, &format!("refs/heads/{branch}")])
                .await
                .split('\t')
                .next()
                .unwrap()
                .to_owned()
        };
        let before = tip(&own, "master").await;
        scene.world.set_mirror_follows(false).await.unwrap();
        scene.world.aur_minor_update(&name("knotwork")).await.unwrap();
        let after = tip(&own, "master").await;
        assert_ne!(before, after);
        assert_eq!(tip(&urls.mirror_url, "knotwork").await, before);
        assert_eq!(dump(&scene.world).await["knotwork"]["Version"], "1.2.1-1", "the dump is ahead of the mirror");
        scene.world.set_mirror_follows(true).await.unwrap();
        assert_eq!(tip(&urls.mirror_url, "knotwork").await, after);
    }

    #[tokio::test]
    async fn the_upstream_moves_and_can_be_cloned() {
        let scene = scene(0).await;
        let tip = scene.world.upstream_commit().await.unwrap();
        let refs = run("git", &["ls-remote", &scene.world.upstream_url()]).await;
        assert_eq!(refs, format!("{tip}\tHEAD\n{tip}\trefs/heads/main\n"));
        let monorepo = format!("http://{}/packages.git", scene.world.address());
        assert!(run("git", &["ls-remote", &monorepo, "main"]).await.ends_with("\trefs/heads/main\n"));
    }
}

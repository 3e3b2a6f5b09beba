//! What the people of the monorepo do. Each returns the commit they pushed to `main`.

use anyhow::{Result, bail, ensure};

use super::{World, person, recipe_files};
use crate::demo::fixtures;
use crate::demo::recipe::Recipe;
use crate::demo::repository::{Change, NewCommit};
use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::srcinfo::Srcinfo;

/// What `break_package` puts into `build()`: the file was forgotten.
const BROKEN_LINE: &str = "  gcc -std=c99 -O2 -Wall -fPIC -c inertia.c";

impl World {
    /// An empty commit that asks for a build with `[deploy …]`.
    ///
    /// # Errors
    /// The monorepo cannot be written; so for all of these.
    pub async fn push_deploy(&self, pkgbase: &PkgBase) -> Result<Oid> {
        self.push(&format!("chore(pkg): build {pkgbase} again [deploy {pkgbase}]\n"), &[]).await
    }

    /// An empty commit that asks for a build of a package nobody has: `tally` without its first letter
    /// but one.
    ///
    /// # Errors
    /// As for [`World::push_deploy`].
    pub async fn typo_directive(&self) -> Result<Oid> {
        self.push("chore(pkg): one more build [deploy tlly]\n", &[]).await
    }

    /// A change of `pkgbase` that cannot be built, together with new releases of what depends on it.
    ///
    /// # Errors
    /// There is no such package, or it has no `build()`.
    pub async fn break_package(&self, pkgbase: &PkgBase) -> Result<Oid> {
        let recipe = self.recipe(pkgbase).await?;
        let broken = recipe.without_lines(BROKEN_LINE).with_build_line(BROKEN_LINE);
        ensure!(broken.has_line(BROKEN_LINE), "`{pkgbase}` has no build() to break");
        let mut changes = recipe_changes(pkgbase, &broken.released_again());
        let dependants = self.dependants(pkgbase).await?;
        for dependant in &dependants {
            changes.extend(recipe_changes(dependant, &self.recipe(dependant).await?.released_again()));
        }
        let names = dependants.iter().map(PkgBase::as_str).collect::<Vec<_>>().join(", ");
        let rebuilt = if names.is_empty() { String::new() } else { format!("\nReleased again with it: {names}.\n") };
        self.push(&format!("feat({pkgbase}): give things inertia\n{rebuilt}"), &changes).await
    }

    /// Takes back what [`World::break_package`] did to `pkgbase`.
    ///
    /// # Errors
    /// There is no such package.
    pub async fn fix_package(&self, pkgbase: &PkgBase) -> Result<Oid> {
        let fixed = self.recipe(pkgbase).await?.without_lines(BROKEN_LINE).released_again();
        let message = format!("fix({pkgbase}): leave inertia out until its file is here\n");
        self.push(&message, &recipe_changes(pkgbase, &fixed)).await
    }

    /// Removes the folder of a package.
    ///
    /// # Errors
    /// There is no such package.
    pub async fn remove_package(&self, pkgbase: &PkgBase) -> Result<Oid> {
        ensure!(self.packages().await?.contains(pkgbase), "the monorepo has no `{pkgbase}`");
        self.push(&format!("chore(drop): {pkgbase}\n"), &[Change::Remove(pkgbase.to_string())]).await
    }

    /// Adds a small package of the repository's own.
    ///
    /// # Errors
    /// There is one of this name already.
    pub async fn add_package(&self, pkgbase: &PkgBase) -> Result<Oid> {
        if self.packages().await?.contains(pkgbase) {
            bail!("the monorepo has `{pkgbase}` already");
        }
        let package = fixtures::pebble(pkgbase, "custom", None);
        self.push(&format!("feat(add): {pkgbase}\n"), &Change::put_all(&format!("{pkgbase}/"), &package.folder)).await
    }

    /// Any other commit: whole files by their path from the root of the monorepo.
    ///
    /// # Errors
    /// The monorepo cannot be written.
    pub async fn push_files(&self, message: &str, files: &Folder) -> Result<Oid> {
        self.push(message, &Change::put_all("", files)).await
    }

    async fn push(&self, message: &str, changes: &[Change]) -> Result<Oid> {
        let who = person("Mira Vale", "mira");
        let time = self.clock.now();
        self.monorepo.commit(&NewCommit { branch: "refs/heads/main", who: &who, time, message, changes }).await
    }

    async fn recipe(&self, pkgbase: &PkgBase) -> Result<Recipe> {
        let spec = |path: &str| format!("refs/heads/main:{pkgbase}/{path}");
        let (pkgbuild, srcinfo) = (spec("PKGBUILD"), spec(".SRCINFO"));
        let (pkgbuild, srcinfo) = tokio::try_join!(self.monorepo.text(&pkgbuild), self.monorepo.text(&srcinfo))?;
        Ok(Recipe { pkgbuild, srcinfo })
    }

    /// Packages that name a member of `pkgbase` among their dependencies.
    async fn dependants(&self, pkgbase: &PkgBase) -> Result<Vec<PkgBase>> {
        let packages = self.packages().await?;
        let specs = packages.iter().map(|name| format!("refs/heads/main:{name}/.SRCINFO")).collect::<Vec<_>>();
        let texts = self.monorepo.blobs(&specs).await?;
        let facts = |text: Option<Vec<u8>>| Srcinfo::parse(&text.unwrap_or_default()).ok();
        let all: Vec<_> = packages.into_iter().zip(texts.into_iter().map(facts)).collect();
        let own = all.iter().find(|(name, _)| name == pkgbase).and_then(|(_, facts)| facts.as_ref());
        let members: Vec<_> = own.iter().flat_map(|facts| &facts.members).map(|member| member.name.as_str()).collect();
        let needs = |facts: &Srcinfo| facts.dependencies.iter().any(|needed| members.contains(&needed.name.as_str()));
        let dependants = all.iter().filter(|(name, facts)| name != pkgbase && facts.as_ref().is_some_and(needs));
        Ok(dependants.map(|(name, _)| name.clone()).collect())
    }
}

fn recipe_changes(pkgbase: &PkgBase, recipe: &Recipe) -> Vec<Change> {
    Change::put_all("", &recipe_files(&format!("{pkgbase}/"), recipe))
}

#[cfg(test)]
mod tests {
    use crate::demo::testing::{log, name, scene};

    #[tokio::test]
    async fn a_package_breaks_together_with_its_dependants_and_is_mended_alone() {
        let scene = scene(0).await;
        let main = ["rev-parse", "main"];
        let healthy = log(&scene.world, &main).await;
        scene.world.break_package(&name("libspring")).await.unwrap();
        let broken = log(&scene.world, &main).await;
        let changed = |from: &str, to: &str| format!("{}..{}", from.trim(), to.trim());
        let names = log(&scene.world, &["diff", "--name-only", &changed(&healthy, &broken)]).await;
        let folders: std::collections::BTreeSet<_> = names.lines().filter_map(|path| path.split('/').next()).collect();
        assert_eq!(folders.into_iter().collect::<Vec<_>>(), ["libspring", "metronome", "pendulum"]);
        scene.world.fix_package(&name("libspring")).await.unwrap();
        let since = log(&scene.world, &["diff", &changed(&healthy, "main"), "--", "libspring"]).await;
        let edits: Vec<_> =
            since.lines().filter(|line| line.starts_with(['+', '-']) && line.contains("pkgrel")).collect();
        assert_eq!(edits, ["-\tpkgrel = 1", "+\tpkgrel = 3", "-pkgrel=1", "+pkgrel=3"]);
        assert!(!since.contains("inertia"), "{since}");
    }

    #[tokio::test]
    async fn people_push_directives_and_add_and_remove_folders() {
        let scene = scene(0).await;
        scene.world.push_deploy(&name("glyph")).await.unwrap();
        scene.world.typo_directive().await.unwrap();
        scene.world.add_package(&name("driftwood")).await.unwrap();
        let tip = scene.world.remove_package(&name("sundial")).await.unwrap();
        let told = log(&scene.world, &["log", "-4", "--format=%s", "--name-status"]).await.replace('\t', " ");
        insta::assert_snapshot!(told, @r"
        chore(drop): sundial

        D sundial/.CI/config
        D sundial/.SRCINFO
        D sundial/PKGBUILD
        D sundial/sundial.c
        feat(add): driftwood

        A driftwood/.CI/config
        A driftwood/.SRCINFO
        A driftwood/PKGBUILD
        chore(pkg): one more build [deploy tlly]
        chore(pkg): build glyph again [deploy glyph]
        ");
        assert_eq!(log(&scene.world, &["rev-parse", "main"]).await.trim(), tip.to_string());
        let again = scene.world.remove_package(&name("sundial")).await.unwrap_err();
        assert_eq!(again.to_string(), "the monorepo has no `sundial`");
    }

    #[tokio::test]
    async fn a_push_survives_somebody_else_pushing_at_the_same_time() {
        let scene = scene(0).await;
        let (world, names) = (&scene.world, ["glyph", "tally", "banner", "sundial"].map(name));
        let pushes = names.iter().map(|pkgbase| world.push_deploy(pkgbase));
        for pushed in futures_util::future::join_all(pushes).await {
            pushed.unwrap();
        }
        assert_eq!(log(world, &["rev-list", "--count", "scheduled..main"]).await, "5\n");
    }
}

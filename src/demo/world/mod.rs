//! A world in a directory: its repositories, its server, and what people do in it.
//!
//! Everything is kept in the directory, so a world can be opened again later at the same address.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};

use super::aur::Aur;
use super::fixtures::{self, Package};
use super::recipe::Recipe;
use super::repository::{Change, Import, NewCommit, Repository};
use super::server::{self, Server, Shown};
use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::Identity;
use crate::domain::srcinfo::Srcinfo;
use crate::sys::clock::Clock;

/// The project that the `-git` package follows.
const UPSTREAM: &str = "tidewatch";
/// A second name of the loopback address, which curl knows without asking anybody.
const OTHER_HOST: &str = "mirror.localhost";
/// What `break_package` puts into `build()`: the file was forgotten.
const BROKEN_LINE: &str = "  gcc -std=c99 -O2 -Wall -fPIC -c inertia.c";
/// The file that is there while a world is made.
const BEGUN_FILE: &str = "unfinished";
/// The file that remembers the address.
const ADDRESS_FILE: &str = "address";

/// What a world is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Where the world's server listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many small packages are added to the fixtures.
    pub extra_packages: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), extra_packages: 0 }
    }
}

/// Where the AUR of a world answers; the values of `sources.aur.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AurUrls {
    /// The metadata dump.
    pub metadata_url: String,
    /// One repository for each package; `{pkgbase}` stands for its name.
    pub git_url: String,
    /// One repository with a branch for each package.
    pub mirror_url: String,
}

/// A monorepo, an AUR, an upstream and a server of sources in one directory.
pub struct World {
    directory: PathBuf,
    clock: Arc<dyn Clock>,
    listener: Option<TcpListener>,
    address: SocketAddr,
    monorepo: Repository,
    upstream: Repository,
    aur: Aur,
}

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

    /// Opens the world that [`World::create`] made in `directory`, at the address it had.
    ///
    /// # Errors
    /// There is no world, or its address is taken.
    pub async fn open(directory: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let file = directory.join(ADDRESS_FILE);
        let text = tokio::fs::read_to_string(&file).await;
        let text = text.with_context(|| format!("there is no demo in {}", directory.display()))?;
        let address = text.trim().parse().with_context(|| format!("{} holds no address", file.display()))?;
        Self::listening(directory, clock, address)
    }

    /// Whether `directory` holds a world.
    #[must_use]
    pub fn exists(directory: &Path) -> bool {
        directory.join(ADDRESS_FILE).is_file()
    }

    fn listening(directory: &Path, clock: Arc<dyn Clock>, address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .with_context(|| format!("cannot listen on {address}; stop what does, or use another directory"))?;
        let directory = directory.canonicalize().with_context(|| format!("cannot find {}", directory.display()))?;
        let repository = |name: &str| Repository::at(directory.join("git").join(name));
        Ok(Self {
            address: listener.local_addr().context("a listener has an address")?,
            listener: Some(listener),
            clock,
            monorepo: repository("packages.git"),
            upstream: repository(&format!("upstream/{UPSTREAM}.git")),
            aur: Aur::new(repository("aur.git")),
            directory,
        })
    }

    /// Starts the world's server. It answers until the returned value is dropped.
    ///
    /// # Errors
    /// It is already started, or the system refuses.
    pub fn serve(&mut self) -> Result<Server> {
        let listener = self.listener.take().context("the world is already served")?;
        let shown =
            Shown { aur: self.aur.clone(), git: self.directory.join("git"), sources: self.directory.join("sources") };
        server::serve(listener, shown)
    }

    /// Where the world's server answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bare repository of packages, to be used as a remote.
    #[must_use]
    pub fn monorepo(&self) -> &Path {
        self.monorepo.path()
    }

    /// Where the AUR answers.
    #[must_use]
    pub fn aur_urls(&self) -> AurUrls {
        let base = format!("http://{}", self.address);
        AurUrls {
            metadata_url: format!("{base}/packages-meta-ext-v1.json.gz"),
            git_url: format!("{base}/aur/{{pkgbase}}.git"),
            mirror_url: format!("{base}/mirror/aur.git"),
        }
    }

    /// The upstream repository of the `-git` package.
    #[must_use]
    pub fn upstream_url(&self) -> String {
        format!("http://{}/upstream/{UPSTREAM}.git", self.address)
    }

    /// Every package of the monorepo as it is now, in alphabetical order.
    ///
    /// # Errors
    /// The monorepo cannot be read.
    pub async fn packages(&self) -> Result<Vec<PkgBase>> {
        let names = self.monorepo.names("refs/heads/main").await?;
        let folders = names.iter().filter(|name| !name.starts_with('.') && *name != "README.md");
        folders.map(|name| PkgBase::new(name).context("a folder of the demo")).collect()
    }
}

/// What people upstream do.
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

/// What the people of the monorepo do. Each returns the commit they pushed to `main`.
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

/// How the world begins.
impl World {
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

fn person(name: &str, account: &str) -> Identity {
    Identity { name: name.to_owned(), email: format!("{account}@example.org") }
}

fn recipe_files(prefix: &str, recipe: &Recipe) -> Folder {
    Folder::default()
        .with(&format!("{prefix}PKGBUILD"), &recipe.pkgbuild)
        .with(&format!("{prefix}.SRCINFO"), &recipe.srcinfo)
}

fn recipe_changes(pkgbase: &PkgBase, recipe: &Recipe) -> Vec<Change> {
    Change::put_all("", &recipe_files(&format!("{pkgbase}/"), recipe))
}

async fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    tokio::fs::write(path, bytes).await.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;
    use std::time::Duration;

    use jiff::SignedDuration;
    use serde_json::Value;

    use super::*;
    use crate::sys::clock::ManualClock;
    use crate::sys::process::Program;

    struct Scene {
        world: World,
        clock: Arc<ManualClock>,
        _server: Server,
        _directory: tempfile::TempDir,
    }

    async fn scene(extra_packages: usize) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new("2026-05-01T12:00:00Z".parse().unwrap()));
        let options = Options { extra_packages, ..Options::default() };
        let mut world = World::create(&directory.path().join("world"), clock.clone(), options).await.unwrap();
        let server = world.serve().unwrap();
        Scene { world, clock, _server: server, _directory: directory }
    }

    fn name(text: &str) -> PkgBase {
        PkgBase::new(text).unwrap()
    }

    async fn run(program: &str, args: &[&str]) -> String {
        let output = Program::new(program).args(args).run().await.unwrap();
        assert!(output.status.success(), "{program} {args:?}: {}", output.stderr_text());
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `git` prints about the monorepo.
    async fn log(world: &World, args: &[&str]) -> String {
        let path = world.monorepo().to_str().unwrap();
        run("git", &[&["-C", path][..], args].concat()).await
    }

    async fn dump(world: &World) -> BTreeMap<String, Value> {
        let client = crate::sys::http::client(Duration::from_secs(10));
        let bytes = client.get(world.aur_urls().metadata_url).send().await.unwrap().bytes().await.unwrap();
        let mut json = String::new();
        flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut json).unwrap();
        let entries: Vec<Value> = serde_json::from_str(&json).unwrap();
        entries.into_iter().map(|entry| (entry["Name"].as_str().unwrap().to_owned(), entry)).collect()
    }

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
    async fn every_package_of_the_aur_is_a_repository_and_a_branch_of_the_mirror() {
        let scene = scene(3).await;
        let urls = scene.world.aur_urls();
        let mirror = run("git", &["ls-remote", "--heads", &urls.mirror_url]).await;
        let tips: BTreeMap<&str, &str> = mirror
            .lines()
            .map(|line| line.split_once('\t').unwrap())
            .map(|(tip, reference)| (reference.strip_prefix("refs/heads/").unwrap(), tip))
            .collect();
        let names = ["abacus++", "banner", "knotwork", "libtally", "moonphase"];
        let others = ["pebble-0001", "pebble-0002", "pebble-0003", "tidewatch-git"];
        assert_eq!(tips.keys().copied().collect::<Vec<_>>(), [&names[..], &others].concat());
        for (pkgbase, tip) in tips {
            let own = run("git", &["ls-remote", &urls.git_url.replace("{pkgbase}", pkgbase)]).await;
            let own: std::collections::BTreeSet<_> = own.lines().collect();
            assert_eq!(own, [&*format!("{tip}\tHEAD"), &*format!("{tip}\trefs/heads/master")].into());
        }
        let unknown = run("git", &["ls-remote", &urls.git_url.replace("{pkgbase}", "no-such")]).await;
        assert_eq!(unknown, "", "as in the AUR, a package nobody has is an empty repository");
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
    async fn nothing_but_sources_is_served_as_a_source() {
        let scene = scene(0).await;
        let client = crate::sys::http::client(Duration::from_secs(10));
        for (path, status) in [
            ("sources/banner-3.0.1.tar.gz", 200),
            ("sources/..%2Faddress", 404),
            ("sources/no-such.tar.gz", 404),
            ("upstream/..%2F..%2Faddress.git/HEAD", 404),
            ("aur/..%2Faur.git/HEAD", 404),
            ("packages.git/..%2F..%2Faddress", 404),
        ] {
            let url = format!("http://{}/{path}", scene.world.address());
            assert_eq!(client.get(url).send().await.unwrap().status(), status, "{path}");
        }
    }

    #[tokio::test]
    async fn one_fetch_takes_many_packages_from_the_mirror() {
        // Enough of them that git compresses its request.
        let scene = scene(60).await;
        let clone = tempfile::tempdir().unwrap();
        let path = clone.path().to_str().unwrap();
        run("git", &["init", "--quiet", "--bare", path]).await;
        let mirror = scene.world.aur_urls().mirror_url;
        run("git", &["-C", path, "fetch", "--quiet", &mirror, "refs/heads/*:refs/heads/*"]).await;
        assert_eq!(run("git", &["-C", path, "for-each-ref"]).await.lines().count(), 66);
        let files = run("git", &["-C", path, "ls-tree", "--name-only", "refs/heads/abacus++"]).await;
        assert_eq!(files, ".SRCINFO\nPKGBUILD\n", "what belongs to the monorepo is not on the AUR");
    }

    #[tokio::test]
    async fn the_dump_tells_what_the_repositories_hold() {
        let scene = scene(0).await;
        let before = dump(&scene.world).await;
        let banner = &before["banner"];
        assert_eq!(banner["Version"], "1:3.0.1-1");
        assert_eq!(banner["Maintainer"], "bo");
        assert_eq!(banner["Depends"], serde_json::json!(["libglyph"]));
        assert_eq!(banner["LastModified"], scene.world.ago(60).as_second());
        assert_eq!(banner["OutOfDate"], Value::Null);

        scene.clock.advance(SignedDuration::from_hours(1));
        let version = scene.world.aur_minor_update(&name("banner")).await.unwrap();
        let after = dump(&scene.world).await;
        assert_eq!((version.as_str(), after["banner"]["Version"].as_str()), ("3.0.2", Some("1:3.0.2-1")));
        assert_eq!(after["banner"]["LastModified"], scene.clock.now().as_second());
        assert_eq!(after["banner"]["FirstSubmitted"], banner["FirstSubmitted"]);
        assert_eq!(after["knotwork"], before["knotwork"]);
    }

    #[tokio::test]
    async fn a_dump_that_did_not_change_is_answered_with_304() {
        let scene = scene(0).await;
        let client = crate::sys::http::client(Duration::from_secs(10));
        let ask = |header: &'static str, value: String| {
            let request = client.get(scene.world.aur_urls().metadata_url).header(header, value);
            async move { request.send().await.unwrap() }
        };
        let first = ask("accept", "*/*".to_owned()).await;
        let header = |name: &str| first.headers()[name].to_str().unwrap().to_owned();
        let (etag, modified) = (header("etag"), header("last-modified"));
        assert_eq!(modified, "Fri, 01 May 2026 11:00:00 GMT");
        assert_eq!(ask("if-none-match", etag.clone()).await.status(), 304);
        assert_eq!(ask("if-none-match", format!("\"old\", W/{etag}")).await.status(), 304);
        assert_eq!(ask("if-modified-since", modified.clone()).await.status(), 304);
        scene.world.aur_minor_update(&name("knotwork")).await.unwrap();
        assert_eq!(ask("if-none-match", etag).await.status(), 200);
        assert_eq!(ask("if-modified-since", modified).await.status(), 200);
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
        assert_eq!(super::super::tarball::sha256(&tarball), value("sha256sums = "));
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

    #[tokio::test]
    async fn the_upstream_moves_and_can_be_cloned() {
        let scene = scene(0).await;
        let tip = scene.world.upstream_commit().await.unwrap();
        let refs = run("git", &["ls-remote", &scene.world.upstream_url()]).await;
        assert_eq!(refs, format!("{tip}\tHEAD\n{tip}\trefs/heads/main\n"));
        let monorepo = format!("http://{}/packages.git", scene.world.address());
        assert!(run("git", &["ls-remote", &monorepo, "main"]).await.ends_with("\trefs/heads/main\n"));
    }

    #[tokio::test]
    async fn a_world_opens_again_at_its_address() {
        let directory = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new("2026-05-01T12:00:00Z".parse().unwrap()));
        let first = World::create(directory.path(), clock.clone(), Options::default()).await.unwrap();
        first.push_deploy(&name("glyph")).await.unwrap();
        let address = first.address();
        let taken = World::open(directory.path(), clock.clone()).await.err().unwrap();
        assert!(taken.to_string().starts_with(&format!("cannot listen on {address}")), "{taken}");
        drop(first);
        let again = World::open(directory.path(), clock.clone()).await.unwrap();
        assert_eq!(again.address(), address);
        assert!(log(&again, &["log", "-1", "--format=%s", "main"]).await.contains("[deploy glyph]"));
        let refused = World::create(directory.path(), clock, Options::default()).await.err().unwrap();
        assert!(refused.to_string().contains("is not empty"), "{refused}");
    }

    #[tokio::test]
    async fn the_story_can_be_told_over_and_over() {
        let mut scene = scene(0).await;
        let mut lines = Vec::new();
        for step in 0..24 {
            scene.clock.advance(SignedDuration::from_secs(10));
            lines.push(scene.world.next_event(step).await.unwrap().to_string());
        }
        insta::assert_snapshot!(lines[..12].join("\n"), @r"
        knotwork 1.2.1 is on the AUR, nothing else changed
        the upstream of tidewatch-git has a new commit
        somebody pushed [deploy glyph]
        moonphase 20260102 is on the AUR, nothing else changed
        somebody pushed a libspring that cannot be built
        banner 3.0.2 is on the AUR, from another host and with a changed build()
        somebody mended libspring
        abacus++ 0.9.5 is on the AUR, nothing else changed
        somebody pushed a directive with a typo
        somebody added driftwood-1
        libtally 2.1.1 is on the AUR, nothing else changed
        somebody removed driftwood-1
        ");
        assert_eq!(lines[12], "knotwork 1.2.2 is on the AUR, nothing else changed");
        assert_eq!(scene.world.packages().await.unwrap().len(), 14);
    }
}

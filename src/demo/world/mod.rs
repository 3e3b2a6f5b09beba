//! A world in a directory: its repositories and its server. What people do in it is in the modules below.
//!
//! Everything is kept in the directory, so a world can be opened again later at the same address.

mod begin;
mod maintainers;
mod upstream;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::aur::Aur;
use super::recipe::Recipe;
use super::repository::Repository;
use super::server::{self, Server, Shown};
use crate::domain::folder::Folder;
use crate::domain::name::PkgBase;
use crate::domain::policy::Identity;
use crate::sys::clock::Clock;

/// The project that the `-git` package follows.
const UPSTREAM: &str = "tidewatch";
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
    /// The RPC interface, which this AUR does not have.
    pub rpc_url: String,
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
            rpc_url: format!("{base}/rpc/v5"),
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

fn person(name: &str, account: &str) -> Identity {
    Identity { name: name.to_owned(), email: format!("{account}@example.org") }
}

fn recipe_files(prefix: &str, recipe: &Recipe) -> Folder {
    Folder::default()
        .with(&format!("{prefix}PKGBUILD"), &recipe.pkgbuild)
        .with(&format!("{prefix}.SRCINFO"), &recipe.srcinfo)
}

async fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    tokio::fs::write(path, bytes).await.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::testing::{log, name};
    use crate::sys::clock::ManualClock;

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
}

//! The AUR's stand-in: what its packages are, where they are kept, and the metadata dump it makes of
//! them.
//!
//! As in the AUR itself, one repository holds every package: each is a git namespace with a `master`,
//! which [`super::server`] serves as a repository of its own. The branches of that repository are the
//! mirror, which may stay behind.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use serde::Serialize;

use super::repository::{Change, Import, NewCommit, Repository, Tip};
use super::tarball::sha256;
use crate::domain::folder::Folder;
use crate::domain::name::PkgBase;
use crate::domain::policy::Identity;

/// The AUR: a repository and what is made from it.
#[derive(Debug, Clone)]
pub(super) struct Aur {
    repository: Repository,
    mirror_follows: bool,
}

/// Every `master`.
const MASTERS: &str = "refs/namespaces/*/refs/heads/master";

/// The metadata dump at one moment.
pub(super) struct Dump {
    /// JSON, compressed with gzip.
    pub(super) gzip: Vec<u8>,
    /// Identifies exactly this content.
    pub(super) etag: String,
    /// The newest change in it.
    pub(super) modified: Timestamp,
}

/// One entry of the dump, with the AUR's own field names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ID")]
    id: u32,
    name: String,
    #[serde(rename = "PackageBaseID")]
    package_base_id: u32,
    package_base: String,
    version: String,
    description: Option<String>,
    #[serde(rename = "URL")]
    url: Option<String>,
    num_votes: u32,
    popularity: f64,
    out_of_date: Option<i64>,
    maintainer: String,
    submitter: String,
    first_submitted: i64,
    last_modified: i64,
    #[serde(rename = "URLPath")]
    url_path: String,
    #[serde(flatten)]
    lists: serde_json::Map<String, serde_json::Value>,
}

impl Aur {
    /// The AUR that is kept in this repository.
    pub(super) fn new(repository: Repository) -> Self {
        Self { repository, mirror_follows: true }
    }

    /// Creates it with these packages, all submitted at `time`.
    pub(super) async fn create(&self, packages: &[(&PkgBase, Folder)], time: Timestamp) -> Result<()> {
        self.repository.init("master").await?;
        // The mirror shows branches only; inside a namespace this hides nothing.
        self.repository.configure("transfer.hideRefs", "refs/namespaces").await?;
        let mut import = Import::default();
        for (pkgbase, folder) in packages {
            let changes = Change::put_all("", folder);
            let who = maintainer(&folder_text(folder, "PKGBUILD"));
            let branch = master(pkgbase);
            let commit = NewCommit { branch: &branch, who: &who, time, message: "Initial import\n", changes: &changes };
            import.commit(&commit).point(&mirror_branch(pkgbase), &branch);
        }
        self.repository.import(import).await?;
        for (pkgbase, _) in packages {
            let head = self.repository.path().join("refs/namespaces").join(pkgbase.as_str()).join("HEAD");
            let target = format!("ref: {}\n", master(pkgbase));
            tokio::fs::write(&head, target).await.with_context(|| format!("cannot write {}", head.display()))?;
        }
        Ok(())
    }

    /// A file of a package as it is now.
    pub(super) async fn text(&self, pkgbase: &PkgBase, path: &str) -> Result<String> {
        let missing = || format!("`{pkgbase}` is not in the demo's AUR");
        self.repository.text(&format!("{}:{path}", master(pkgbase))).await.with_context(missing)
    }

    /// Pushes a new state of some files, as the package's maintainer.
    pub(super) async fn push(&self, pkgbase: &PkgBase, message: &str, files: &Folder, time: Timestamp) -> Result<()> {
        let who = maintainer(&folder_text(files, "PKGBUILD"));
        let (branch, changes) = (master(pkgbase), Change::put_all("", files));
        self.repository.commit(&NewCommit { branch: &branch, who: &who, time, message, changes: &changes }).await?;
        if self.mirror_follows { self.mirror([pkgbase.clone()]).await } else { Ok(()) }
    }

    /// Stops the mirror where it is, or lets it follow again, beginning with all it has missed.
    pub(super) async fn set_mirror_follows(&mut self, follows: bool) -> Result<()> {
        self.mirror_follows = follows;
        if !follows {
            return Ok(());
        }
        let tips = self.repository.tips(MASTERS).await?;
        let names = tips.iter().map(|tip| PkgBase::new(package_of(&tip.name)));
        self.mirror(names.collect::<Result<Vec<_>, _>>()?).await
    }

    async fn mirror(&self, packages: impl IntoIterator<Item = PkgBase>) -> Result<()> {
        let mut import = Import::default();
        for pkgbase in packages {
            import.point(&mirror_branch(&pkgbase), &format!("{}^0", master(&pkgbase)));
        }
        self.repository.import(import).await
    }

    /// The dump as the AUR would make it now.
    pub(super) async fn dump(&self) -> Result<Dump> {
        let tips = self.repository.tips(MASTERS).await?;
        let beginnings = self.repository.beginnings(MASTERS).await?;
        let specs = |path: &str| tips.iter().map(|tip| format!("{}:{path}", tip.commit)).collect::<Vec<_>>();
        let (srcinfos, pkgbuilds) = (specs(".SRCINFO"), specs("PKGBUILD"));
        let (srcinfos, pkgbuilds) =
            tokio::try_join!(self.repository.blobs(&srcinfos), self.repository.blobs(&pkgbuilds))?;
        let mut lines = Vec::new();
        for ((tip, srcinfo), pkgbuild) in tips.iter().zip(srcinfos).zip(pkgbuilds) {
            let account = account(&String::from_utf8_lossy(&pkgbuild.unwrap_or_default()));
            let begun = beginnings.get(&tip.name).copied().unwrap_or(tip.time);
            for entry in entries(tip, &String::from_utf8_lossy(&srcinfo.unwrap_or_default()), &account, begun) {
                lines.push(serde_json::to_string(&entry)?);
            }
        }
        let json = format!("[\n{}\n]", lines.join(",\n"));
        let modified = tips.iter().map(|tip| tip.time).max().unwrap_or(Timestamp::UNIX_EPOCH);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(json.as_bytes())?;
        Ok(Dump { gzip: gzip.finish()?, etag: format!("\"{}\"", &sha256(json.as_bytes())[..20]), modified })
    }
}

/// The branch of the mirror.
fn mirror_branch(pkgbase: &PkgBase) -> String {
    format!("refs/heads/{pkgbase}")
}

/// `master` of the package's own repository.
fn master(pkgbase: &PkgBase) -> String {
    format!("refs/namespaces/{pkgbase}/refs/heads/master")
}

/// The package whose `master` this is.
fn package_of(master: &str) -> &str {
    let name = master.strip_prefix("refs/namespaces/").unwrap_or(master);
    name.split('/').next().unwrap_or(name)
}

fn folder_text(folder: &Folder, path: &str) -> String {
    String::from_utf8_lossy(folder.get(path).unwrap_or_default()).into_owned()
}

/// Who the PKGBUILD says maintains it.
fn maintainer(pkgbuild: &str) -> Identity {
    let line = pkgbuild.lines().find_map(|line| line.strip_prefix("# Maintainer: ")).unwrap_or_default();
    let (name, email) = line.split_once(" <").unwrap_or(("nobody", "nobody@example.org>"));
    Identity { name: name.to_owned(), email: email.trim_end_matches('>').to_owned() }
}

/// The maintainer's account: the part of the address before the `@`.
fn account(pkgbuild: &str) -> String {
    let email = maintainer(pkgbuild).email;
    email.split('@').next().unwrap_or_default().to_owned()
}

/// Fields of a `.SRCINFO` that are lists, and what the dump calls them.
const LISTS: [(&str, &str); 9] = [
    ("depends", "Depends"),
    ("makedepends", "MakeDepends"),
    ("checkdepends", "CheckDepends"),
    ("optdepends", "OptDepends"),
    ("conflicts", "Conflicts"),
    ("provides", "Provides"),
    ("replaces", "Replaces"),
    ("groups", "Groups"),
    ("license", "License"),
];

/// An entry for each package of one `.SRCINFO`.
fn entries(tip: &Tip, srcinfo: &str, account: &str, begun: Timestamp) -> Vec<Entry> {
    let mut sections = srcinfo.split("\npkgname = ");
    let base = fields(sections.next().unwrap_or_default());
    let value = |name: &str| first(&base, name).unwrap_or_default();
    let epoch = first(&base, "epoch").map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let version = format!("{epoch}{}-{}", value("pkgver"), value("pkgrel"));
    let entry = |section: &str| {
        let (name, rest) = section.split_once('\n').unwrap_or((section, ""));
        let own = fields(rest);
        let told = |field: &str| first(&own, field).or_else(|| first(&base, field)).map(str::to_owned);
        Entry {
            id: number(&format!("{name} {version}")),
            name: name.to_owned(),
            package_base_id: number(package_of(&tip.name)),
            package_base: package_of(&tip.name).to_owned(),
            version: version.clone(),
            description: told("pkgdesc"),
            url: told("url"),
            num_votes: number(name) % 100,
            popularity: f64::from(number(name) % 1000) / 1000.0,
            out_of_date: None,
            maintainer: account.to_owned(),
            submitter: account.to_owned(),
            first_submitted: begun.as_second(),
            last_modified: tip.time.as_second(),
            url_path: format!("/cgit/aur.git/snapshot/{name}.tar.gz"),
            lists: lists(&base, &own),
        }
    };
    sections.map(entry).collect()
}

fn fields(section: &str) -> Vec<(&str, &str)> {
    section.lines().filter_map(|line| line.trim().split_once(" = ")).collect()
}

fn first<'a>(fields: &[(&'a str, &'a str)], wanted: &str) -> Option<&'a str> {
    fields.iter().find_map(|(name, value)| (*name == wanted).then_some(*value))
}

/// Lists that hold something; those of a package replace those of the base.
fn lists(base: &[(&str, &str)], own: &[(&str, &str)]) -> serde_json::Map<String, serde_json::Value> {
    let values = |fields: &[(&str, &str)], wanted: &str| {
        let found = fields.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| (*value).into());
        found.collect::<Vec<serde_json::Value>>()
    };
    let mut lists = serde_json::Map::from_iter([("Keywords".to_owned(), serde_json::Value::Array(Vec::new()))]);
    for (field, title) in LISTS {
        let mine = values(own, field);
        let list = if mine.is_empty() { values(base, field) } else { mine };
        if !list.is_empty() || title == "License" {
            lists.insert(title.to_owned(), list.into());
        }
    }
    lists
}

/// A number that belongs to this text; the AUR would count.
fn number(text: &str) -> u32 {
    u32::from_str_radix(&sha256(text.as_bytes())[..6], 16).expect("six hexadecimal digits")
}

//! Source `alpm`: the version of a package in a database of pacman on this machine.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use super::options::Options;
use super::release::{Release, Said};
use crate::sys::tarball::{self, Bounds};
use crate::sys::unpack::unpacked;

/// The repositories that are looked at if the file names none.
const REPOSITORIES: [&str; 3] = ["core", "extra", "multilib"];

/// More than any real database unpacks to.
const BOUNDS: Bounds = Bounds { bytes: 1 << 30, entries: 1_000_000 };

/// More than any real description of a package.
const MAX_DESC: u64 = 4 << 20;

/// What is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alpm {
    package: String,
    repositories: Vec<String>,
    provided: Option<String>,
    strip_release: bool,
    dbpath: Option<String>,
}

impl Alpm {
    /// Reads the options.
    ///
    /// # Errors
    /// The option that is wrong.
    pub fn read(entry: &str, options: Options<'_>) -> Result<Self, String> {
        let repositories = match (options.text("repo")?, options.texts("repos")?.filter(|repos| !repos.is_empty())) {
            (Some(repo), _) => vec![repo],
            (None, Some(repos)) => repos,
            (None, None) => REPOSITORIES.to_vec(),
        };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte);
        if let Some(wrong) = repositories.iter().find(|name| name.starts_with('.') || !name.bytes().all(legal)) {
            return Err(format!("`{}` is not the name of a repository", wrong.escape_debug()));
        }
        Ok(Self {
            package: options.text("alpm")?.unwrap_or(entry).to_owned(),
            repositories: repositories.into_iter().map(str::to_owned).collect(),
            provided: options.text("provided")?.map(str::to_owned),
            strip_release: options.flag("strip_release")?,
            dbpath: options.text("dbpath")?.map(str::to_owned),
        })
    }

    /// Looks it up. Reads files, and takes a while.
    ///
    /// # Errors
    /// If it is not there, or a database cannot be read.
    pub fn look_up(&self, dir: &Path) -> Result<Said, String> {
        if self.dbpath.as_ref().is_some_and(|path| Path::new(path) != dir) {
            return Err(format!(
                "`dbpath` is not taken from the file: the databases in {} are read, by sources.nvchecker.alpm_dir",
                dir.display()
            ));
        }
        for repository in &self.repositories {
            let path = dir.join("sync").join(format!("{repository}.db"));
            let found = find(&path, &self.package);
            let found =
                found.map_err(|error| format!("cannot read the pacman database {}: {error}", path.display()))?;
            if let Some(package) = found {
                return self.version(&package).map(|version| Said::One(Release::new(version)));
            }
        }
        Err(format!("{} have no package `{}`", self.repositories.join(", "), self.package))
    }

    fn version(&self, package: &Described) -> Result<String, String> {
        let version = match &self.provided {
            None => package.version.clone(),
            Some(wanted) => {
                let provided = package.provides.iter().rev().filter_map(|written| written.split_once('='));
                let found = provided.into_iter().find(|(name, _)| name == wanted);
                found.ok_or_else(|| format!("`{}` provides no version of `{wanted}`", self.package))?.1.to_owned()
            }
        };
        let stripped = if self.strip_release { version.split('-').next() } else { None };
        Ok(stripped.map_or(version.clone(), str::to_owned))
    }
}

/// What a database says about a package.
#[derive(Debug, Default, PartialEq, Eq)]
struct Described {
    version: String,
    provides: Vec<String>,
}

fn find(path: &Path, package: &str) -> io::Result<Option<Described>> {
    let mut found = None;
    tarball::read(unpacked(std::fs::File::open(path)?)?, BOUNDS, |entry| {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // `name-version-release/desc`: most are told by their folder alone.
        if !name.ends_with("/desc") || !name.trim_start_matches("./").starts_with(package) {
            return Ok(ControlFlow::Continue(()));
        }
        let mut text = String::new();
        entry.take(MAX_DESC).read_to_string(&mut text)?;
        if field(&text, "NAME").next() != Some(package) {
            return Ok(ControlFlow::Continue(()));
        }
        let version = field(&text, "VERSION").next().unwrap_or_default().to_owned();
        found = Some(Described { version, provides: field(&text, "PROVIDES").map(str::to_owned).collect() });
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// The lines under a heading.
fn field<'a>(text: &'a str, name: &'static str) -> impl Iterator<Item = &'a str> {
    let heading = move |line: &&str| line.strip_prefix('%').and_then(|line| line.strip_suffix('%')) != Some(name);
    text.lines().skip_while(heading).skip(1).take_while(|line| !line.is_empty())
}

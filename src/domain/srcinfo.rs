//! The facts of a `.SRCINFO` file that decisions are made from.
//!
//! Parsing is the `srcinfo` crate's; this module keeps what the program needs, in its own types.

use super::name::{PkgBase, PkgName};
use super::version::Version;

/// Why a package is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DependencyKind {
    /// At run time.
    Depends,
    /// To build.
    Makedepends,
    /// To run the tests.
    Checkdepends,
}

/// One entry of a dependency array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The name alone, without version constraint: a package or something provided (`libfoo.so`).
    pub name: String,
    /// As it was written: `foo>=1.2`.
    pub written: String,
    /// The array it stands in.
    pub kind: DependencyKind,
    /// The architecture it is limited to (`depends_x86_64`), if any.
    pub arch: Option<String>,
}

/// One entry of `source`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEntry {
    /// As it was written, with its `name::` prefix and `#fragment`.
    pub written: String,
    /// The architecture it is limited to, if any.
    pub arch: Option<String>,
}

/// One entry of a `provides` array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provided {
    /// The name alone, without its version.
    pub name: String,
    /// The architecture it is limited to (`provides_x86_64`), if any.
    pub arch: Option<String>,
}

/// One installable package of the PKGBUILD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: PkgName,
    /// What it provides beside its name.
    pub provides: Vec<Provided>,
    /// Architectures it is built for.
    pub arch: Vec<String>,
}

/// What a `.SRCINFO` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srcinfo {
    /// The name the file gives itself; a few folders are named differently.
    pub pkgbase: PkgBase,
    /// Full version `[epoch:]pkgver-pkgrel`.
    pub version: Version,
    /// Architectures of the base section.
    pub arch: Vec<String>,
    /// The packages it yields, in order.
    pub members: Vec<Member>,
    /// Every dependency of every section, base first, without duplicates.
    pub dependencies: Vec<Dependency>,
    /// Every source of every architecture, in order.
    pub sources: Vec<SourceEntry>,
}

/// A `.SRCINFO` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SrcinfoError {
    /// What is wrong.
    pub message: String,
    /// The line, from 1, where known.
    pub line: Option<u32>,
}

impl Srcinfo {
    /// Reads the text of a `.SRCINFO`.
    ///
    /// # Errors
    /// [`SrcinfoError`] with the line, if a required field is missing or a line cannot be read.
    pub fn parse(bytes: &[u8]) -> Result<Self, SrcinfoError> {
        let parsed = srcinfo::Srcinfo::from_buf(bytes).map_err(|error| unreadable(&error))?;
        let invalid = |error: super::name::InvalidName| SrcinfoError { message: error.to_string(), line: None };
        let members = parsed
            .pkgs
            .iter()
            .map(|package| {
                Ok(Member {
                    name: PkgName::new(&package.pkgname).map_err(invalid)?,
                    provides: entries(&package.provides)
                        .map(|(arch, written)| Provided { name: name_of(&written).to_owned(), arch })
                        .collect(),
                    arch: package.arch.clone(),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            pkgbase: PkgBase::new(&parsed.base.pkgbase).map_err(invalid)?,
            version: Version::new(parsed.version()),
            arch: parsed.pkg.arch.clone(),
            members,
            dependencies: dependencies(&parsed),
            sources: entries(&parsed.base.source).map(|(arch, written)| SourceEntry { written, arch }).collect(),
        })
    }

    /// Whether a source follows a branch of some repository, so that upstream can move without the
    /// files changing.
    #[must_use]
    pub fn has_floating_source(&self) -> bool {
        self.sources.iter().any(|source| source.floating().is_some())
    }
}

/// A version-control source that follows a branch (or the default branch).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FloatingSource<'a> {
    /// `git`, `hg`, `svn` or `bzr`.
    pub protocol: &'a str,
    /// The address without the `git+` prefix, fragment and query.
    pub url: &'a str,
    /// The branch after `#branch=`, if one is named.
    pub branch: Option<&'a str>,
}

impl SourceEntry {
    /// What it follows, if it follows something: not a file, and not pinned to a tag or commit.
    #[must_use]
    pub fn floating(&self) -> Option<FloatingSource<'_>> {
        let address = self.written.split_once("::").map_or(self.written.as_str(), |(_, address)| address);
        let (protocol, rest) = ["git", "hg", "svn", "bzr"].iter().find_map(|protocol| {
            let rest = address.strip_prefix(protocol)?;
            rest.strip_prefix('+').or_else(|| rest.starts_with("://").then_some(address)).map(|rest| (*protocol, rest))
        })?;
        let (rest, fragment) = rest.split_once('#').map_or((rest, ""), |(rest, fragment)| (rest, fragment));
        let url = rest.split_once('?').map_or(rest, |(url, _)| url);
        let fragment = fragment.split_once('?').map_or(fragment, |(fragment, _)| fragment);
        match fragment.split_once('=') {
            None => Some(FloatingSource { protocol, url, branch: None }),
            Some(("branch", branch)) => Some(FloatingSource { protocol, url, branch: Some(branch) }),
            Some(_) => None,
        }
    }
}

fn unreadable(error: &srcinfo::Error) -> SrcinfoError {
    let line = error.line.as_ref().and_then(|line| u32::try_from(line.number).ok());
    SrcinfoError { message: error.kind.to_string(), line }
}

fn entries(values: &srcinfo::ArchVecs) -> impl Iterator<Item = (Option<String>, String)> {
    values.iter().flat_map(|group| group.iter().map(|value| (group.arch().map(str::to_owned), value.to_owned())))
}

fn dependencies(parsed: &srcinfo::Srcinfo) -> Vec<Dependency> {
    let base = [
        (DependencyKind::Makedepends, &parsed.base.makedepends),
        (DependencyKind::Checkdepends, &parsed.base.checkdepends),
    ];
    let runtime =
        std::iter::once(&parsed.pkg).chain(&parsed.pkgs).map(|package| (DependencyKind::Depends, &package.depends));
    let mut seen = std::collections::HashSet::new();
    runtime
        .chain(base)
        .flat_map(|(kind, values)| entries(values).map(move |(arch, written)| (kind, arch, written)))
        .map(|(kind, arch, written)| Dependency { name: name_of(&written).to_owned(), written, kind, arch })
        .filter(|dependency| seen.insert((dependency.written.clone(), dependency.kind, dependency.arch.clone())))
        .collect()
}

/// The name in `name>=1`, `name: description` or `name`. A colon without white space after it is part of
/// the name: `lib:libfoo.so.1`.
#[must_use]
pub fn name_of(written: &str) -> &str {
    let described = written.match_indices(':').find(|(at, _)| written[at + 1..].starts_with(char::is_whitespace));
    let name = described.map_or(written, |(at, _)| &written[..at]);
    name[..name.find(['<', '>', '=']).unwrap_or(name.len())].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPLIT: &str = "pkgbase = foo\n\tpkgver = 1.0\n\tpkgrel = 2\n\tepoch = 1\n\tarch = x86_64\n\tmakedepends = cmake\n\t\
        depends = glibc>=2.30\n\tdepends_x86_64 = lib32-foo\n\tcheckdepends = python\n\tsource = git+https://host/foo.git#branch=dev\n\t\
        source = https://host/a.tar.gz\n\npkgname = foo\n\tprovides = libfoo.so=1-64\n\npkgname = foo-docs\n\tdepends = bar\n";

    #[test]
    fn every_section_and_architecture_counts() {
        let info = Srcinfo::parse(SPLIT.as_bytes()).expect("valid");
        assert_eq!(info.version.as_str(), "1:1.0-2");
        let names: Vec<_> = info.dependencies.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["glibc", "lib32-foo", "bar", "cmake", "python"]);
        assert_eq!(info.members[0].provides, [Provided { name: "libfoo.so".into(), arch: None }]);
        assert_eq!(info.members.len(), 2);
    }

    #[test]
    fn a_soname_is_a_name_with_its_prefix_and_without_its_version() {
        assert_eq!(name_of("libfoo.so=1-64"), "libfoo.so");
        assert_eq!(name_of("lib:libfoo.so.1"), "lib:libfoo.so.1");
        assert_eq!(name_of("foo>=1:2.0"), "foo");
        assert_eq!(name_of("foo: for bars = 1"), "foo");
    }

    #[test]
    fn floating_sources_are_branches_and_not_pins() {
        let entry = |written: &str| SourceEntry { written: written.to_owned(), arch: None };
        let floating = entry("x::git+https://host/r.git#branch=dev?signed");
        assert_eq!(
            floating.floating().map(|source| (source.url, source.branch)),
            Some(("https://host/r.git", Some("dev")))
        );
        assert!(entry("git://host/r.git").floating().is_some());
        assert!(entry("git+https://host/r.git#tag=v1").floating().is_none());
        assert!(entry("git+https://host/r.git#commit=abc").floating().is_none());
        assert!(entry("https://host/git.tar.gz").floating().is_none());
    }

    #[test]
    fn a_broken_file_names_its_line() {
        let error = Srcinfo::parse(b"pkgbase = foo\n\tpkgver = 1\n\tthis is not a field\n").expect_err("broken");
        assert_eq!(error.line, Some(3));
        assert!(Srcinfo::parse(b"").is_err());
    }
}

//! What goes back to the AUR from a package that is kept in the monorepo (`CI_MANAGE_AUR`): which files, with
//! which message, and whether what the AUR has may be replaced.

use std::collections::BTreeSet;

use super::folder::{FileMode, Folder};
use super::name::{Oid, PkgBase};
use super::srcinfo::Srcinfo;

const PKGBUILD: &str = "PKGBUILD";
const SRCINFO: &str = ".SRCINFO";
const NVCHECKER: &str = ".nvchecker.toml";

/// A folder that the AUR would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotForTheAur {
    /// A file that every package of the AUR has is missing.
    #[error("it has no {0}, which every package of the AUR has")]
    Missing(&'static str),
    /// `.SRCINFO` cannot be read.
    #[error("its .SRCINFO cannot be read: {0}")]
    Unreadable(String),
    /// The AUR knows a package by what `.SRCINFO` calls it.
    #[error("its .SRCINFO calls it `{0}`")]
    OtherName(String),
}

/// The files that go back: `PKGBUILD`, `.SRCINFO`, `.nvchecker.toml`, and what the summary names of local sources,
/// install files and changelogs. The rest is the monorepo's.
///
/// # Errors
/// [`NotForTheAur`].
pub fn files(pkgbase: &PkgBase, folder: &Folder) -> Result<Folder, NotForTheAur> {
    let summary = folder.get(SRCINFO).ok_or(NotForTheAur::Missing(SRCINFO))?;
    if folder.get(PKGBUILD).is_none() {
        return Err(NotForTheAur::Missing(PKGBUILD));
    }
    let facts = Srcinfo::parse(summary).map_err(|error| NotForTheAur::Unreadable(error.message))?;
    if facts.pkgbase != *pkgbase {
        return Err(NotForTheAur::OtherName(facts.pkgbase.to_string()));
    }
    let summary = String::from_utf8_lossy(summary);
    let named: BTreeSet<&str> = summary.lines().filter_map(local_file).chain([PKGBUILD, SRCINFO, NVCHECKER]).collect();
    let is_file = |mode: FileMode| matches!(mode, FileMode::Regular | FileMode::Executable);
    let kept = folder.files.iter().filter(|(path, file)| named.contains(path.as_str()) && is_file(file.mode));
    Ok(Folder { files: kept.map(|(path, file)| (path.clone(), file.clone())).collect() })
}

/// The file beside the PKGBUILD that a line of `.SRCINFO` names.
fn local_file(line: &str) -> Option<&str> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    let is_source = key == "source" || key.starts_with("source_");
    if !(is_source || matches!(key, "install" | "changelog")) {
        return None;
    }
    let value = value.trim();
    let place = if is_source { value.split_once("::").map_or(value, |(_, place)| place) } else { value };
    (!place.contains('/')).then_some(place)
}

/// What is told of a package that goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<'a> {
    /// The package.
    pub pkgbase: &'a PkgBase,
    /// The commit of the monorepo that its files are from.
    pub commit: Oid,
    /// The address of the monorepo, without a login.
    pub monorepo: &'a str,
    /// Where its page is, if people can reach one.
    pub page: Option<&'a str>,
}

/// The message of the commit in the AUR, with links where there are any.
#[must_use]
pub fn message(folder: &Folder, told: &Told<'_>) -> String {
    let Told { pkgbase, commit, monorepo, page } = told;
    let version = folder.get(SRCINFO).and_then(|bytes| Srcinfo::parse(bytes).ok()).map(|facts| facts.version);
    let subject =
        version.map_or_else(|| format!("chore: update {pkgbase}"), |it| format!("chore: update {pkgbase} to {it}"));
    let origin = match monorepo.split_once("://") {
        Some(("http" | "https", _)) => {
            let web = monorepo.trim_end_matches('/').trim_end_matches(".git");
            format!("The package is kept in another repository:\n{web}/commit/{commit}\n")
        }
        Some(("ssh" | "git", _)) => format!("The package is kept in another repository:\n{monorepo} at {commit}\n"),
        // A path of this machine says nothing to others.
        _ => format!("The package is kept in another repository, at its commit {commit}.\n"),
    };
    let page = page.map(|page| format!("\nUpdates and builds: {page}\n")).unwrap_or_default();
    format!("{subject}\n\n{origin}{page}")
}

/// What the AUR has of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct There<'a> {
    /// The tree of its last commit.
    pub tree: Oid,
    /// Who made that commit, as `name <address>`.
    pub author: &'a str,
}

/// What is done about a package that is to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The AUR has exactly these files.
    Nothing,
    /// A commit on top of what is there.
    Push,
    /// Somebody else has changed it there: that is never overwritten.
    Conflict,
}

/// Decides it. What is there may be replaced if it is ours, or what the monorepo had before.
#[must_use]
pub fn step(tree: Oid, there: Option<&There<'_>>, ours: &str, before: &BTreeSet<Oid>) -> Step {
    match there {
        Some(there) if there.tree == tree => Step::Nothing,
        Some(there) if there.author != ours && !before.contains(&there.tree) => Step::Conflict,
        _ => Step::Push,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> PkgBase {
        PkgBase::new("foo").expect("legal")
    }

    fn oid(digit: char) -> Oid {
        digit.to_string().repeat(40).parse().expect("valid")
    }

    fn folder(more: &str) -> Folder {
        let summary = format!(
            "pkgbase = foo\n\tpkgver = 1.1\n\tpkgrel = 2\n\tarch = x86_64\n{more}\npkgname = foo\n\tinstall = foo.install\n"
        );
        ["fix.patch", "foo.install", "NEWS", "notes.md", "x86.conf", ".nvchecker.toml", "sub/deep.patch", ".CI/config"]
            .into_iter()
            .fold(Folder::default().with("PKGBUILD", "x").with(".SRCINFO", summary), |folder, path| {
                folder.with(path, path)
            })
    }

    #[test]
    fn only_what_belongs_to_the_package_goes_back() {
        let more = "\tchangelog = NEWS\n\tsource = https://example.org/foo.tar.gz\n\tsource = new::fix.patch\n\
                    \tsource = git+https://h/notes.md\n\tsource_x86_64 = x86.conf\n\tsource = sub/deep.patch\n\
                    \tsource = gone.patch\n\tsource = ../PKGBUILD\n\tdepends = notes.md";
        let files = files(&name(), &folder(more)).expect("fit for the AUR");
        let names: Vec<&str> = files.files.keys().map(String::as_str).collect();
        assert_eq!(names, [".SRCINFO", ".nvchecker.toml", "NEWS", "PKGBUILD", "fix.patch", "foo.install", "x86.conf"]);
    }

    #[test]
    fn what_the_aur_would_refuse_is_told_before() {
        let without = |path: &str| {
            let mut folder = folder("");
            folder.files.remove(path);
            files(&name(), &folder).expect_err("incomplete").to_string()
        };
        assert_eq!(without(".SRCINFO"), "it has no .SRCINFO, which every package of the AUR has");
        assert_eq!(without("PKGBUILD"), "it has no PKGBUILD, which every package of the AUR has");
        let other = files(&PkgBase::new("bar").expect("legal"), &folder("")).expect_err("another name");
        assert_eq!(other, NotForTheAur::OtherName("foo".to_owned()));
        assert!(matches!(files(&name(), &folder("\tpkgver")), Err(NotForTheAur::Unreadable(_))));
    }

    #[test]
    fn the_message_links_to_where_it_comes_from_and_never_to_a_path() {
        let (pkgbase, folder) = (name(), folder(""));
        let told = Told {
            pkgbase: &pkgbase,
            commit: oid('a'),
            monorepo: "https://git.example/owner/packages.git",
            page: Some("https://packages.example/packages/foo"),
        };
        insta::assert_snapshot!(message(&folder, &told), @"
        chore: update foo to 1.1-2

        The package is kept in another repository:
        https://git.example/owner/packages/commit/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa

        Updates and builds: https://packages.example/packages/foo
        ");
        let local = message(&folder, &Told { monorepo: "/srv/git/packages.git", page: None, ..told });
        assert!(!local.contains("/srv"), "{local}");
    }

    #[test]
    fn what_somebody_else_pushed_is_never_replaced() {
        let (us, before) = ("Us <us@example.org>", BTreeSet::from([oid('1')]));
        let there = |tree, author| Some(There { tree: oid(tree), author });
        let step = |there: Option<There<'_>>| step(oid('2'), there.as_ref(), us, &before);
        assert_eq!(step(None), Step::Push);
        assert_eq!(step(there('2', "Them <them@example.org>")), Step::Nothing);
        assert_eq!(step(there('1', "Them <them@example.org>")), Step::Push);
        assert_eq!(step(there('3', us)), Step::Push);
        assert_eq!(step(there('3', "Them <them@example.org>")), Step::Conflict);
    }
}

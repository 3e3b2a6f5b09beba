//! Which sources of a package makepkg itself compares with a sum, so that it does not matter who kept them.
//!
//! Repositories of version control are none of them: makepkg believes what it finds there, and git even runs what
//! stands in their configuration.

use std::collections::{BTreeMap, BTreeSet};

/// The arrays of sums to which nobody can make another file fit. `cksums` is no such array.
const SUMS: [&str; 7] = ["md5sums", "sha1sums", "sha224sums", "sha256sums", "sha384sums", "sha512sums", "b2sums"];

/// What makepkg fetches with a program of its own.
const VERSION_CONTROL: [&str; 5] = ["bzr", "fossil", "git", "hg", "svn"];

/// The names under which makepkg keeps the sources that it compares, for builds on `arch`, from what
/// `makepkg --printsrcinfo` printed.
#[must_use]
pub fn compared(summary: &str, arch: &str) -> BTreeSet<String> {
    let mut lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    // What stands after the first package is of packages, which have no sources.
    let base = summary.lines().map(str::trim).take_while(|line| !line.starts_with("pkgname = "));
    for (name, value) in base.filter_map(|line| line.split_once(" = ")) {
        lists.entry(name).or_default().push(value);
    }
    let list = |name: &str| lists.get(name).map(Vec::as_slice).unwrap_or_default();
    let (mut good, mut bad) = (BTreeSet::new(), BTreeSet::new());
    for suffix in [String::new(), format!("_{arch}")] {
        for (at, source) in list(&format!("source{suffix}")).iter().enumerate() {
            let sums = SUMS.iter().filter_map(|sums| list(&format!("{sums}{suffix}")).get(at).copied());
            let is_compared = sums.into_iter().any(|sum| sum != "SKIP");
            match kept_as(source) {
                Some(name) if is_compared => drop(good.insert(name.to_owned())),
                Some(name) => drop(bad.insert(name.to_owned())),
                None => {}
            }
        }
    }
    good.retain(|name| !bad.contains(name));
    good
}

/// The file that makepkg fetches a source into; `None` if it is none, or is fetched by version control.
fn kept_as(source: &str) -> Option<&str> {
    let address = source.split_once("::").map_or(source, |(_, address)| address);
    let (protocol, _) = address.split_once("://")?;
    let protocol = protocol.split('+').next().unwrap_or_default();
    if VERSION_CONTROL.contains(&protocol) {
        return None;
    }
    let name = match source.split_once("::") {
        Some((name, _)) => name,
        None => source.rsplit('/').next().unwrap_or_default(),
    };
    (!matches!(name, "" | "." | "..") && !name.contains('/')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sources: &str) -> String {
        let summary =
            format!("pkgbase = x\n{sources}\npkgname = x\n\tsource = https://a.example/late\n\tmd5sums = 1\n");
        compared(&summary, "x86_64").into_iter().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_files_with_a_sum_are_kept_for_builds_that_are_published() {
        let sources = "\tsource = https://a.example/one.tar.gz\n\tsource = two.zip::ftp://a.example/2?x=1\n\
            \tsource = https://a.example/one.tar.gz.sig\n\tsource = local.patch\n\tsource = git+https://a.example/three.git#tag=v1\n\
            \tsource = four::git://a.example/four\n\tsource = five::hg+https://a.example/five\n\
            \tsha256sums = 11\n\tsha256sums = 22\n\tsha256sums = SKIP\n\tsha256sums = 33\n\tsha256sums = 44\n\
            \tsha256sums = 55\n\tsha256sums = 66";
        assert_eq!(names(sources), "one.tar.gz two.zip");
    }

    #[test]
    fn what_any_entry_leaves_unchecked_is_not_kept() {
        let of = |own: &str| names(&format!("\tsource = https://a.example/a\n\tsha512sums = 1\n{own}"));
        assert_eq!(of("\tsource_x86_64 = https://b.example/b\n\tb2sums_x86_64 = 2"), "a b");
        assert_eq!(of("\tsource_aarch64 = https://b.example/b\n\tb2sums_aarch64 = 2"), "a", "not built here");
        assert_eq!(of("\tsource_x86_64 = https://b.example/a\n\tb2sums_x86_64 = SKIP"), "");
        assert_eq!(of("\tsource_x86_64 = https://b.example/b"), "a", "without any sum");
        assert_eq!(names("\tsource = https://a.example/a\n\tcksums = 12345"), "", "another file can be made to fit");
        assert_eq!(names("\tsource = https://a.example/a\n\tmd5sums = SKIP\n\tsha256sums = 1"), "a");
    }

    #[test]
    fn no_name_leads_elsewhere() {
        for source in
            ["../x::https://a.example/x", "..::https://a.example/x", "https://a.example/", "a/b::https://c.example/d"]
        {
            assert_eq!(names(&format!("\tsource = {source}\n\tsha256sums = 1")), "", "{source}");
        }
    }
}

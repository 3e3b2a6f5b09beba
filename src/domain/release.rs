//! Which tag of a project is its newest release, and which version it stands for.
//!
//! Tags are written by strangers: a name is only ever compared, and a version is only taken from it if makepkg
//! would take it as `pkgver`.

use std::cmp::Ordering;

use super::name::Oid;
use super::version::vercmp;

/// A version that a source of versions knows, and what it stands for there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// As `pkgver` has it.
    pub version: String,
    /// The tag, as it is called there.
    pub tag: Option<String>,
    /// The commit of the tag.
    pub commit: Option<Oid>,
    /// The commit that the version of the monorepo stands for, if that is known.
    pub previous: Option<Oid>,
}

/// A tag of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its name, without `refs/tags/`.
    pub name: String,
    /// The commit it leads to.
    pub commit: Oid,
}

/// Words behind a version that say it is not released yet.
const PRERELEASE: [&str; 12] =
    ["alpha", "beta", "rc", "pre", "preview", "dev", "nightly", "snapshot", "canary", "test", "unstable", "m"];

/// Words before a version that say nothing.
const BEFORE: [&str; 7] = ["", "v", "r", "release", "version", "ver", "rel"];

/// Longer names are no versions.
const LONGEST: usize = 100;

/// Whether it says of itself that it is not released yet: `2.0rc1`, `1.0.beta2`, `3.1a1`.
#[must_use]
pub fn is_prerelease(version: &str) -> bool {
    let mut rest = version;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let word = &rest[start..];
        let length = word.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (letters, behind) = word.split_at(length);
        let letters = letters.to_ascii_lowercase();
        let short = matches!(letters.as_str(), "a" | "b") && behind.starts_with(|c: char| c.is_ascii_digit());
        if start > 0 && (PRERELEASE.contains(&letters.as_str()) || short) {
            return true;
        }
        rest = behind;
    }
    false
}

/// How the tags of a project spell versions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spelling {
    prefix: String,
    /// The sign that stands between numbers in place of the dot.
    dot: Option<char>,
}

impl Spelling {
    /// As the tag of this version spells it, if there is one. Of several, the shortest counts.
    fn of<'a>(tags: &'a [Tag], version: &str) -> Option<(Self, &'a Tag)> {
        let wanted = plain(version);
        let spelled = tags.iter().filter_map(|tag| {
            let (prefix, written) = tag.name.split_at(plain(&tag.name).strip_suffix(&wanted)?.len());
            let of_another = prefix.ends_with(|c: char| c.is_ascii_digit() || c == '.');
            let writes = |sign: &char| written != version && written.replace(*sign, ".") == version;
            let spelling = Self { prefix: prefix.to_owned(), dot: ['_', '-'].into_iter().find(writes) };
            (!of_another).then_some((spelling, tag))
        });
        spelled.min_by_key(|(spelling, _)| spelling.prefix.len())
    }

    /// What this tag stands for.
    fn version(&self, tag: &str) -> Option<String> {
        let rest = tag.strip_prefix(&self.prefix)?;
        let dotted = self.dot.map_or_else(|| rest.to_owned(), |dot| rest.replace(dot, "."));
        pkgver(&dotted)
    }
}

/// Lengths stay: a hyphen may not stand in `pkgver`, and packagers write `_` or `.` in its place.
fn plain(text: &str) -> String {
    text.replace(['-', '_'], ".")
}

/// A version as makepkg takes it; `None` if it begins with no number, or holds signs that makepkg refuses.
fn pkgver(text: &str) -> Option<String> {
    text.starts_with(|c: char| c.is_ascii_digit()).then(|| without_hyphens(text))?
}

/// A version as makepkg takes it; `None` if it holds signs that makepkg refuses.
fn without_hyphens(text: &str) -> Option<String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._+".contains(&byte);
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let mut version = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(sign) = rest.next() {
        // `1.0-rc1` is older than `1.0`, and `1.0_rc1` would be newer.
        let joins = rest.peek().is_some_and(char::is_ascii_alphabetic);
        match sign {
            '-' if joins => {}
            '-' => version.push('_'),
            _ => version.push(sign),
        }
    }
    version.bytes().all(legal).then_some(version)
}

/// What a tag stands for where no tag of the monorepo's version is known: words that say nothing, or the name
/// of the project, before a version.
fn by_habit(tag: &str, project: &str) -> Option<String> {
    let start = tag.find(|c: char| c.is_ascii_digit())?;
    let project = project.to_ascii_lowercase();
    let words = tag[..start].to_ascii_lowercase();
    let mut words = words.split(['-', '_', '/', '.', ' ']).filter(|word| !word.is_empty());
    words.all(|word| BEFORE.contains(&word) || project.split(['-', '_']).any(|part| part == word)).then_some(())?;
    pkgver(&tag[start..])
}

/// What a version that was found for a package at `current` is as its `pkgver`. A `v` before the number goes, as
/// Chaotic's scripts have it.
///
/// # Errors
/// [`NoVersion`] if makepkg would not take it, or it is nothing that could follow `current`.
pub fn as_pkgver(found: &str, current: &str) -> Result<String, NoVersion> {
    let begins_with_digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let numbered = found.strip_prefix(['v', 'V']).filter(|rest| begins_with_digit(rest) && begins_with_digit(current));
    let written = numbered.unwrap_or(found);
    let refuse = |why| Err(NoVersion { found: found.to_owned(), why });
    if written.len() == 40 && written.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return refuse("it is a commit; look for tags or releases");
    }
    if begins_with_digit(written) != begins_with_digit(current) {
        return refuse("the version of the package is of another kind; set `prefix` or `from_pattern`");
    }
    without_hyphens(written)
        .ok_or(NoVersion { found: found.to_owned(), why: "makepkg takes no such `pkgver`; set `from_pattern`" })
}

/// A version that was found, and is none for the package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` was found: {why}", found.escape_debug())]
pub struct NoVersion {
    /// As it was found.
    pub found: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Whether a date stands where numbers of versions stood.
fn is_sudden_date(version: &str, current: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    digits(version) >= 6 && digits(current) <= 4
}

/// The tags of a project that stand for versions a package at `current` (its `pkgver`) could have, the newest
/// version first.
///
/// Tags of other parts of the same project (`server-2.0` beside `client-1.0`) are told by how the tag of the
/// current version is written. Versions that say that they are not released yet are left out, unless the
/// current one is none either.
#[must_use]
pub fn candidates(tags: &[Tag], current: &str, project: &str) -> Vec<Release> {
    let known = Spelling::of(tags, current);
    let early = is_prerelease(current);
    let version = |tag: &Tag| match &known {
        Some((_, known)) if known.name == tag.name => Some(current.to_owned()),
        Some((spelling, _)) => spelling.version(&tag.name),
        None => by_habit(&tag.name, project),
    };
    let previous = known.as_ref().map(|(_, tag)| tag.commit);
    let mut newest: Vec<Release> = tags
        .iter()
        .filter_map(|tag| Some((tag, version(tag)?)))
        .filter(|(_, version)| (early || !is_prerelease(version)) && !is_sudden_date(version, current))
        .map(|(tag, version)| Release { version, tag: Some(tag.name.clone()), commit: Some(tag.commit), previous })
        .collect();
    newest.sort_by(|a, b| vercmp(&b.version, &a.version).then_with(|| a.tag.cmp(&b.tag)));
    newest
}

/// Whether a version is newer than the one the monorepo has: nothing is ever taken back.
#[must_use]
pub fn is_newer(version: &str, current: &str) -> bool {
    vercmp(version, current) == Ordering::Greater
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tags(names: &[&str]) -> Vec<Tag> {
        let id = |number: usize| Oid::from_bytes([u8::try_from(number).expect("few"); 20]);
        names.iter().enumerate().map(|(at, name)| Tag { name: (*name).to_owned(), commit: id(at) }).collect()
    }

    fn newest(names: &[&str], current: &str) -> Option<String> {
        candidates(&tags(names), current, "foo-bar").first().map(|release| release.version.clone())
    }

    #[test]
    fn the_newest_tag_is_the_newest_by_pacmans_order_and_not_by_its_place() {
        assert_eq!(newest(&["v1.9.0", "v1.10.0", "v1.2.0"], "1.9.0").as_deref(), Some("1.10.0"));
        assert_eq!(newest(&["1.9", "1.10"], "1.0").as_deref(), Some("1.10"));
    }

    #[test]
    fn what_is_not_released_yet_is_left_out_unless_the_package_has_such_a_version() {
        let names = ["v2.0-rc1", "v1.1", "v2.0-beta.2", "v1.0", "v2.0a1", "nightly"];
        assert_eq!(newest(&names, "1.0").as_deref(), Some("1.1"));
        assert_eq!(newest(&["v2.0-rc1", "v2.0-rc2", "v1.1"], "2.0rc1").as_deref(), Some("2.0rc2"));
        assert_eq!(newest(&["v2.0-rc1", "v2.0", "v1.1"], "2.0rc1").as_deref(), Some("2.0"));
    }

    #[test]
    fn tags_of_other_parts_of_the_project_do_not_count() {
        let names = ["server-v3.0", "client-v1.0", "client-v1.1", "v9"];
        assert_eq!(newest(&names, "1.0").as_deref(), Some("1.1"));
        assert_eq!(newest(&["foo-1.0", "foo-1.2", "baz-7"], "0.9").as_deref(), Some("1.2"), "by its name");
    }

    #[test]
    fn versions_are_read_as_the_tag_of_the_current_one_writes_them() {
        assert_eq!(newest(&["REL_1_2_3", "REL_1_10_0"], "1.2.3").as_deref(), Some("1.10.0"));
        assert_eq!(newest(&["release/1.2", "release/1.3"], "1.2").as_deref(), Some("1.3"));
        assert_eq!(newest(&["v1.2-1", "v1.2-3"], "1.2_1").as_deref(), Some("1.2_3"));
        assert_eq!(newest(&["11.2", "12.0"], "1.2").as_deref(), Some("12.0"), "11.2 is no tag of 1.2");
    }

    #[test]
    fn a_date_does_not_take_the_place_of_a_version() {
        assert_eq!(newest(&["v1.2", "v20260101", "v1.3"], "1.2").as_deref(), Some("1.3"));
        assert_eq!(newest(&["20250101", "20260101"], "20250101").as_deref(), Some("20260101"));
    }

    #[test]
    fn hostile_names_are_no_versions() {
        let hostile =
            ["--upload-pack=x", "v9$(id)", "v9;id", "v9 9", "v9/../../x", "v9\u{202e}", "9:1", "9\n1", "v", ""];
        assert_eq!(newest(&hostile, "1.0"), None);
        let long = format!("v{}", "9".repeat(200));
        assert_eq!(newest(&[&long, "v1.1"], "1.0").as_deref(), Some("1.1"));
    }

    #[test]
    fn what_was_found_becomes_a_version_of_the_package_or_says_why_not() {
        let cases = [
            ("v1.2", "1.0", Ok("1.2")),
            ("1.2-rc1", "1.0", Ok("1.2rc1")),
            ("1.2-3", "1.2_1", Ok("1.2_3")),
            ("3.2.0+260818", "3.1.0+1", Ok("3.2.0+260818")),
            ("b4321", "b4000", Ok("b4321")),
            ("v8", "v7", Ok("v8")),
            ("release-1.2", "1.0", Err("of another kind")),
            ("1.2", "r7", Err("of another kind")),
            ("1:2.0", "1.0", Err("no such `pkgver`")),
            ("1.0 $(id)", "1.0", Err("no such `pkgver`")),
            ("", "1.0", Err("of another kind")),
            ("3fa4e0d1b2c3a4958677889900aabbccddeeff01", "1.0", Err("a commit")),
        ];
        for (found, current, expected) in cases {
            let became = as_pkgver(found, current).map_err(|error| error.to_string());
            match expected {
                Ok(version) => assert_eq!(became.as_deref(), Ok(version), "{found}"),
                Err(why) => assert!(became.as_ref().is_err_and(|error| error.contains(why)), "{found}: {became:?}"),
            }
        }
    }

    #[test]
    fn the_commit_of_the_current_version_is_told_with_the_new_one() {
        let found = candidates(&tags(&["v1.0", "v1.1"]), "1.0", "foo");
        let ids: Vec<_> = tags(&["v1.0", "v1.1"]).into_iter().map(|tag| tag.commit).collect();
        assert_eq!((found[0].previous, found[0].commit), (Some(ids[0]), Some(ids[1])));
    }

    proptest! {
        #[test]
        fn no_names_make_it_panic_and_every_version_is_one_for_makepkg(
            names in proptest::collection::vec("\\PC{0,12}|[v0-9._/-]{0,9}(rc)?[0-9]?", 0..20), current in "[0-9.]{1,5}[a-z]?",
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            for release in candidates(&tags(&names), &current, "foo") {
                let legal = release.version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+".contains(&byte));
                prop_assert!(legal && !release.version.is_empty(), "{:?}", release);
            }
        }
    }
}

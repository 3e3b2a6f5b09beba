//! Reads the `.PKGINFO` of a built package.
//!
//! `repo-add` makes a shell variable of every key in it and copies every value into the database as a line of its own,
//! and believes both. What makepkg does not write is refused here: a key could run a command (`a[$(…)] = x`) where
//! packages are signed, an empty value ends a list in the database and `%REPLACES%` begins one, a carriage return becomes
//! a part of a version, and for each line `repo-add` starts a process while everybody waits for it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::ControlFlow;

use crate::domain::publication::file::Pkginfo;
use crate::sys::tarball::{self, Bounds};

/// Every key that makepkg writes once at most.
const SINGLE: [&str; 9] = ["arch", "builddate", "packager", "pkgbase", "pkgdesc", "pkgname", "pkgver", "size", "url"];
/// Those of them whose value may be empty.
const EMPTY: [&str; 3] = ["packager", "pkgdesc", "url"];
/// Every key that it writes for each value of a list.
const LISTS: [&str; 11] = [
    "backup",
    "checkdepend",
    "conflict",
    "depend",
    "group",
    "license",
    "makedepend",
    "optdepend",
    "provides",
    "replaces",
    "xdata",
];
/// Those whose values are compared with what stands in the database afterwards. Of what they begin or end with,
/// `repo-add` drops spaces and now and then an `=`, and it makes one space of several.
const COMPARED: [&str; 9] =
    ["arch", "conflict", "depend", "group", "pkgbase", "pkgname", "pkgver", "provides", "replaces"];
/// `.PKGINFO` is among the first entries: makepkg puts the files whose names begin with a dot first.
const MAX_ENTRIES: usize = 16;
/// How much of a package is unpacked to find it.
const BOUNDS: Bounds = Bounds { bytes: 256 << 20, entries: MAX_ENTRIES };
/// More than any real `.PKGINFO`.
pub(super) const MAX_BYTES: usize = 512 << 10;
/// The same in lines, of which `repo-add` reads some 700 in a second.
const MAX_LINES: usize = 2_000;

/// The bytes of the first `.PKGINFO` in a package.
pub(super) fn extract(package: impl Read) -> io::Result<Vec<u8>> {
    let decoder = zstd::Decoder::new(package)?;
    let (mut found, mut seen) = (None, 0);
    tarball::read(decoder, BOUNDS, |entry| {
        seen += 1;
        if &*entry.path_bytes() != b".PKGINFO" {
            return Ok(if seen < MAX_ENTRIES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) });
        }
        if !entry.header().entry_type().is_file() || entry.size() > MAX_BYTES as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its .PKGINFO is no ordinary file"));
        }
        let mut bytes = Vec::new();
        entry.take(MAX_BYTES as u64).read_to_end(&mut bytes)?;
        found = Some(bytes);
        Ok(ControlFlow::Break(()))
    })?;
    let missing = || io::Error::new(io::ErrorKind::InvalidData, "it has no .PKGINFO among its first files");
    found.ok_or_else(missing)
}

/// Reads the text of a `.PKGINFO`, or says what is wrong with it.
pub(super) fn parse(bytes: &[u8]) -> Result<Pkginfo, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let (mut single, mut lists) = (BTreeMap::new(), Pkginfo::default());
    for (number, line) in (1..).zip(text.split_terminator('\n')) {
        if number > MAX_LINES {
            return Err(format!("has more than {MAX_LINES} lines"));
        }
        let entry = entry(line).map_err(|problem| format!("line {number}: {problem}"))?;
        let Some((key, value)) = entry else { continue };
        match key {
            "group" => lists.groups.push(value.to_owned()),
            "replaces" => lists.replaces.push(value.to_owned()),
            "conflict" => lists.conflicts.push(value.to_owned()),
            "provides" => lists.provides.push(value.to_owned()),
            "depend" => lists.depends.push(value.to_owned()),
            key if SINGLE.contains(&key) && single.insert(key, value).is_some() => {
                return Err(format!("line {number}: `{key}` is there a second time"));
            }
            _ => {}
        }
    }
    let mut field = |key: &str| single.remove(key).map(str::to_owned).ok_or_else(|| format!("has no `{key}`"));
    Ok(Pkginfo {
        pkgname: field("pkgname")?,
        pkgbase: field("pkgbase")?,
        pkgver: field("pkgver")?,
        arch: field("arch")?,
        builddate: field("builddate")?,
        ..lists
    })
}

/// The key and the value of a line, if it has them: what we read in it is what `repo-add` reads in it, and what stands in
/// the database afterwards is one line that is no field of its own.
fn entry(line: &str) -> Result<Option<(&str, &str)>, String> {
    if let Some(control) = line.chars().find(|letter| letter.is_control()) {
        return Err(format!("it has a control character ({})", control.escape_default()));
    }
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (key, value) = line.split_once(" = ").unwrap_or((line, ""));
    if !SINGLE.contains(&key) && !LISTS.contains(&key) {
        return Err(format!("`{}` is not a key that makepkg writes", key.escape_debug()));
    }
    // repo-add trims what separates, too.
    let bare = value.trim_matches(|letter: char| letter.is_whitespace() || letter == '=');
    if bare.is_empty() && !(value.is_empty() && EMPTY.contains(&key)) {
        return Err(format!("`{key}` is empty"));
    }
    if COMPARED.contains(&key) && (bare != value || value.contains("  ")) {
        return Err(format!("`{value}` would stand otherwise in a database"));
    }
    if bare.starts_with('%') && bare.ends_with('%') {
        return Err(format!("`{value}` would be a field of its own in a database"));
    }
    Ok(Some((key, value)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "# Generated by makepkg 6.0.2\npkgname = foo\npkgbase = foo\nxdata = pkgtype=split\npkgver = 1:2.0-1\n\
                        pkgdesc = \nurl = \nbuilddate = 1700000000\npackager = A <a@b>\nsize = 3\narch = any\n";

    #[test]
    fn the_fields_that_say_which_package_it_is_are_read() {
        let info = parse(GOOD.as_bytes()).unwrap();
        assert_eq!((info.pkgname.as_str(), info.pkgver.as_str(), info.arch.as_str()), ("foo", "1:2.0-1", "any"));
    }

    #[test]
    fn a_key_that_would_run_a_command_is_refused() {
        for line in ["a[$(touch${IFS}/tmp/x)] = y", "  PATH = /tmp", "a[`id`]", "pkgname=foo", " depend = y", "=x"] {
            let error = parse(format!("{GOOD}{line}\n").as_bytes()).unwrap_err();
            assert!(error.starts_with("line 12: "), "{line:?}: {error}");
        }
    }

    #[test]
    fn what_would_be_more_than_one_line_of_its_field_in_a_database_is_refused() {
        for (line, problem) in [
            ("license = ", "`license` is empty"),
            ("license =", "`license =` is not a key that makepkg writes"),
            ("license =  = ", "`license` is empty"),
            ("depend = \u{2003}", "`depend` is empty"),
            ("license = %REPLACES%", "`%REPLACES%` would be a field of its own in a database"),
            ("pkgdesc = =%NAME% ", "`=%NAME% ` would be a field of its own in a database"),
            ("depend = bash=", "`bash=` would stand otherwise in a database"),
            ("provides =  foo", "` foo` would stand otherwise in a database"),
            ("group = a  b", "`a  b` would stand otherwise in a database"),
            ("license = GPL\r", "it has a control character (\\r)"),
            ("license = GPL\u{85}x", "it has a control character (\\u{85})"),
            ("\tlicense = GPL", "it has a control character (\\t)"),
        ] {
            let text = GOOD.replace("pkgdesc = \n", "");
            assert_eq!(parse(format!("{text}{line}\n").as_bytes()).unwrap_err(), format!("line 11: {problem}"));
        }
        assert_eq!(
            parse(format!("{GOOD}arch = any\n").as_bytes()).unwrap_err(),
            "line 12: `arch` is there a second time"
        );
        let long = format!("{GOOD}{}", "license = GPL\n".repeat(MAX_LINES));
        assert_eq!(parse(long.as_bytes()).unwrap_err(), "has more than 2000 lines");
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = parse(GOOD.replace("builddate = 1700000000\n", "").as_bytes()).unwrap_err();
        assert_eq!(error, "has no `builddate`");
        assert!(parse(b"\xff").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}") {
            let _ = parse(text.as_bytes());
        }
    }
}

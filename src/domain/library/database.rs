//! What is kept of a pacman database, and how its files are written.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::soname::Soname;
use crate::domain::version::Version;

/// What one pacman database says, as far as rebuilds need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryDatabase {
    /// By pkgbase: its version, the newest where members differ.
    pub versions: BTreeMap<String, Version>,
    /// The names of all packages, members included.
    pub names: BTreeSet<String>,
    /// Shared libraries that the linker finds by itself, with the pkgbase that has them.
    pub sonames: BTreeMap<Soname, String>,
    /// By pkgbase: shared libraries that its packages are declared to need and do not have themselves. Not all that
    /// they do need: what their files ask for stands in no database.
    pub needs: BTreeMap<String, BTreeSet<Soname>>,
    /// File names of shared libraries that lie in some folder of their own.
    pub elsewhere: BTreeSet<String>,
    /// Whether it lists the files of packages (`NAME.files`), so that a library it does not name is not there.
    pub lists_files: bool,
}

/// The fields of a `desc` or `files` file, in order: `%NAME%`, and the lines up to the next empty one.
pub fn fields(text: &str) -> impl Iterator<Item = (&str, impl Iterator<Item = &str>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            if let Some(name) = line.trim_end_matches('\r').strip_prefix('%').and_then(|line| line.strip_suffix('%')) {
                let (values, after) = split_at_empty_line(after);
                rest = after;
                return Some((name, values.lines()));
            }
            if after.is_empty() {
                return None;
            }
            rest = after;
        }
    })
}

fn split_at_empty_line(text: &str) -> (&str, &str) {
    if let Some(rest) = text.strip_prefix('\n') {
        return ("", rest);
    }
    text.split_once("\n\n").unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, Vec<String>)> {
        fields(text).map(|(name, values)| (name.to_owned(), values.map(str::to_owned).collect())).collect()
    }

    #[test]
    fn fields_end_with_an_empty_line_and_unknown_ones_are_read_alike() {
        let text = "%NAME%\nfoo\n\n%EMPTY%\n\n%PROVIDES%\na=1\nb\n\nstray\n%LAST%\nx";
        let all = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>();
        let expected =
            [("NAME", all(&["foo"])), ("EMPTY", all(&[])), ("PROVIDES", all(&["a=1", "b"])), ("LAST", all(&["x"]))];
        assert_eq!(read(text), expected.map(|(name, values)| (name.to_owned(), values)));
        assert_eq!(read(""), []);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic_or_go_on_for_ever(text in "(%[A-Z]*%|[a-z]|\n|\r){0,40}") {
            prop_assert!(read(&text).len() <= text.len());
        }
    }
}

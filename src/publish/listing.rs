//! The lists of files in `NAME.files`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::Path;

use crate::domain::library::database::fields;
use crate::sys::tarball::{self, Bounds};
use crate::sys::unpack::unpacked;

/// More than any real database unpacks to, and more than it has.
const BOUNDS: Bounds = Bounds { bytes: 8 << 30, entries: 2_000_000 };

/// What is in each package, by `name-version`: files without their folders' final slash.
///
/// # Errors
/// If it cannot be read.
pub(super) fn lists(files: &Path) -> io::Result<BTreeMap<String, BTreeSet<String>>> {
    let mut lists = BTreeMap::new();
    tarball::read(unpacked(std::fs::File::open(files)?)?, BOUNDS, |entry| {
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(package) = path.trim_start_matches("./").strip_suffix("/files").map(str::to_owned) else {
            return Ok(ControlFlow::Continue(()));
        };
        let mut text = Vec::new();
        entry.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let named = fields(&text).filter(|(field, _)| *field == "FILES").flat_map(|(_, values)| values);
        lists.insert(package, named.map(|name| name.trim_end_matches('/').to_owned()).collect());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(lists)
}

//! What builders brought that had an attempt before, set aside when another claims it. Whoever has the attempt now need
//! not bring it again if it makes the very same file, as a builder does that was started anew in the middle of an upload.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::attempt::{PLACES, make_places, on_disk, trim};
use crate::builder::workspace::remove_all;
use crate::domain::upload::{Checksum, Held};
use crate::sys::fs::FsError;

/// Lies in the directory of an attempt, with the same places in it.
const EARLIER: &str = "earlier";

/// Sets aside all that was brought, in place of what was set aside before: it takes no more room than one attempt may.
pub fn set_aside(dir: &Path) -> Result<(), FsError> {
    let aside = dir.join(EARLIER);
    let moved = remove_all(&aside).and_then(|()| fs::create_dir(&aside)).and_then(|()| {
        // What is promised comes last: without it, nothing of a file counts anywhere.
        PLACES.iter().try_for_each(|place| fs::rename(dir.join(place), aside.join(place)))
    });
    moved.and_then(|()| make_places(dir)).map_err(|error| FsError::new("empty", dir, error))
}

/// How much of a file was brought before. All of it counts as all but its last byte: whoever brings that says with it
/// that it is the same file.
pub fn there(dir: &Path, name: &str) -> io::Result<Option<Held>> {
    let found = on_disk(&dir.join(EARLIER), name)?;
    let begun = |held: Held| Held { received: held.received.saturating_sub(1), complete: false, ..held };
    Ok(found.map(|held| if held.complete { begun(held) } else { held }))
}

/// Takes what was brought before of a file, if it is the one that is promised now, and drops it if not.
pub fn adopt(dir: &Path, name: &str, checksum: Checksum) -> io::Result<Option<Held>> {
    let aside = dir.join(EARLIER);
    let same = on_disk(&aside, name)?.filter(|held| held.checksum == checksum);
    for place in PLACES {
        let (from, to) = (aside.join(place).join(name), dir.join(place).join(name));
        let moved = if same.is_some() { fs::rename(&from, &to) } else { fs::remove_file(&from) };
        match moved {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    same.map(|held| trim(dir, name, held)).transpose()
}

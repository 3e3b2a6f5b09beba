//! What an archive of a set may hold: files, directories and links that stay where builds write.
//!
//! Whoever made it may have meant harm, so each member is checked against all before it.

use std::collections::BTreeMap;

use super::ROOTS;

/// The most members.
const MOST_MEMBERS: usize = 500_000;
/// The most bytes of all paths together, also of directories that are only passed through: 64 MiB.
const MOST_TEXT: usize = 64 << 20;
/// The longest path, in bytes.
const LONGEST_PATH: usize = 4_000;
/// The most directories in each other.
const DEEPEST: usize = 100;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A file with so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link to there.
    Symlink(&'a str),
    /// Another name of a file.
    Hardlink(&'a str),
    /// Anything else, by its name: a device, a FIFO, …
    Other(&'static str),
}

/// A member that no archive may hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {reason}", path.escape_debug())]
pub struct Unsafe {
    /// Its path.
    pub path: String,
    /// What is wrong.
    pub reason: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    File,
    Directory,
    Symlink,
}

/// An archive while its members are looked at, one by one and in order.
#[derive(Debug)]
pub struct Members {
    known: BTreeMap<String, Known>,
    text: usize,
    count: usize,
    bytes: u64,
    max_bytes: u64,
}

impl Members {
    /// An archive that may hold so many bytes in its files.
    #[must_use]
    pub const fn new(max_bytes: u64) -> Self {
        Self { known: BTreeMap::new(), text: 0, count: 0, bytes: 0, max_bytes }
    }

    /// How many members there were.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// How many bytes their files have.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes in the next member, and says under which path.
    ///
    /// # Errors
    /// Why it may not be there.
    pub fn admit(&mut self, path: &str, kind: Kind<'_>) -> Result<String, Unsafe> {
        let fail = |reason| Unsafe { path: path.to_owned(), reason };
        let clean = cleaned(path).map_err(fail)?;
        self.count += 1;
        if self.count > MOST_MEMBERS {
            return Err(fail("is one file too many"));
        }
        self.enter(&clean).map_err(fail)?;
        let known = match kind {
            Kind::File(size) => {
                self.bytes = self.bytes.saturating_add(size);
                if self.bytes > self.max_bytes {
                    return Err(fail("makes it larger than it may be"));
                }
                Known::File
            }
            Kind::Directory => Known::Directory,
            Kind::Symlink(target) => {
                check_target(&clean, target).map_err(fail)?;
                Known::Symlink
            }
            Kind::Hardlink(target) => {
                let target = cleaned(target).map_err(|_| fail("is another name of something outside"))?;
                if self.known.get(&target) != Some(&Known::File) {
                    return Err(fail("is another name of a file that is not in the archive"));
                }
                Known::File
            }
            Kind::Other(what) => return Err(fail(what)),
        };
        match self.know(&clean, known).map_err(fail)? {
            None => Ok(clean),
            Some(Known::Directory) if known == Known::Directory => Ok(clean),
            Some(_) => Err(fail("is there twice")),
        }
    }

    /// Makes sure of the directories above a member.
    fn enter(&mut self, path: &str) -> Result<(), &'static str> {
        for (at, _) in path.match_indices('/') {
            match self.known.get(&path[..at]) {
                Some(Known::Directory) => {}
                Some(Known::File) => return Err("is inside a file"),
                Some(Known::Symlink) => return Err("is behind a symbolic link"),
                None => drop(self.know(&path[..at], Known::Directory)?),
            }
        }
        Ok(())
    }

    /// Notes a path, and says what it was until now.
    fn know(&mut self, path: &str, known: Known) -> Result<Option<Known>, &'static str> {
        self.text += path.len();
        if self.text > MOST_TEXT || self.known.len() >= MOST_MEMBERS {
            return Err("makes its paths too many, or too long altogether");
        }
        Ok(self.known.insert(path.to_owned(), known))
    }
}

/// A path as it is stored: relative to the root of the build, in one of the places that may be kept.
fn cleaned(path: &str) -> Result<String, &'static str> {
    if path.len() > LONGEST_PATH {
        return Err("has a path that is too long");
    }
    if path.starts_with('/') {
        return Err("is not relative");
    }
    let path = path.strip_prefix("./").unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains('\0') {
        return Err("has a path with `..`, `.` or an empty part");
    }
    if path.split('/').count() > DEEPEST {
        return Err("is too deep");
    }
    if is_inside(&format!("/{path}")) {
        Ok(path.to_owned())
    } else {
        Err("is not in a place that builds may keep anything of")
    }
}

fn is_inside(path: &str) -> bool {
    ROOTS.iter().any(|root| path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/')))
}

/// Where a symbolic link may lead: into the same places, or into the system, which is read-only.
///
/// `..` may only stand at the beginning, where it leads up through real directories: after a name it would lead up
/// from wherever that name points to.
fn check_target(link: &str, target: &str) -> Result<(), &'static str> {
    const OUTSIDE: &str = "is a symbolic link that leads out";
    if target.is_empty() || target.len() > LONGEST_PATH || target.contains('\0') {
        return Err(OUTSIDE);
    }
    let climbs = target.split('/').take_while(|part| *part == "..").count();
    let rest: Vec<&str> = target.split('/').skip(climbs).filter(|part| !matches!(*part, "" | ".")).collect();
    if rest.contains(&"..") {
        return Err(OUTSIDE);
    }
    let whole = if target.starts_with('/') {
        format!("/{}", rest.join("/"))
    } else {
        let mut above: Vec<&str> = link.split('/').collect();
        above.pop();
        let left = above.len().checked_sub(climbs).ok_or(OUTSIDE)?;
        format!("/{}", above.into_iter().take(left).chain(rest).collect::<Vec<_>>().join("/"))
    };
    let is_root = ROOTS.contains(&whole.as_str());
    if is_root || is_inside(&whole) || whole.starts_with("/usr/") { Ok(()) } else { Err(OUTSIDE) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(members: &[(&str, Kind<'_>)]) -> Option<String> {
        let mut all = Members::new(100);
        members.iter().find_map(|(path, kind)| all.admit(path, *kind).err()).map(|error| error.to_string())
    }

    const FILE: Kind<'static> = Kind::File(1);

    #[test]
    fn what_builds_keep_is_admitted() {
        let members = [
            ("home/build/.cargo/", Kind::Directory),
            ("./home/build/.cargo/a", FILE),
            ("home/build/.cargo/b", Kind::Hardlink("home/build/.cargo/a")),
            ("home/build/.cargo/c", Kind::Symlink("a")),
            ("home/build/.cargo/x/y/d", Kind::Symlink("../../a")),
            ("home/build/.cargo/e", Kind::Symlink("/usr/bin/python3")),
            ("srcdest/foo.git/HEAD", FILE),
            ("build/foo/src/target", Kind::Directory),
            ("build/foo/src/target/", Kind::Directory),
        ];
        assert_eq!(refused(&members), None);
    }

    #[test]
    fn everything_that_could_do_harm_is_refused() {
        let hostile: [&[(&str, Kind<'_>)]; 22] = [
            &[("/etc/passwd", FILE)],
            &[("../etc/passwd", FILE)],
            &[("home/build/../../etc/passwd", FILE)],
            &[("home/build", Kind::Symlink("/"))],
            &[("home/builder/x", FILE)],
            &[("startdir/PKGBUILD", FILE)],
            &[("pkgdest/evil.pkg.tar.zst", FILE)],
            &[("gnupg/pubring.kbx", FILE)],
            &[("home/build/x", Kind::Symlink("/etc")), ("home/build/x/passwd", FILE)],
            &[("home/build/x", Kind::Symlink("../../etc"))],
            &[("home/build/x", Kind::Symlink("a/../../../../etc"))],
            &[("home/build/x", Kind::Symlink("y")), ("home/build/x/z", FILE)],
            &[("home/build/x", Kind::Symlink("/usr/../etc"))],
            &[("home/build/x", Kind::Symlink(""))],
            &[("home/build/x", Kind::Hardlink("etc/passwd"))],
            &[("home/build/x", Kind::Hardlink("home/build/y"))],
            &[("home/build/x", Kind::Other("is a device"))],
            &[("home/build/x", FILE), ("home/build/x", Kind::Symlink("/usr/bin/sh"))],
            &[("home/build/x/y", FILE), ("home/build/x", Kind::Symlink("/usr/bin/sh"))],
            &[("home/build/x", FILE), ("home/build/x/y", FILE)],
            &[("home/build/x", Kind::File(60)), ("home/build/y", Kind::File(41))],
            &[("home/build/x", Kind::File(u64::MAX)), ("home/build/y", Kind::File(u64::MAX))],
        ];
        for members in hostile {
            assert!(refused(members).is_some(), "{members:?}");
        }
        // Each of these costs a hundred directories that are in no other: what is only passed through counts, too.
        let mut wide = Members::new(100);
        let paths = (0..).map(|number| format!("home/build/{}", format!("{number:036}/").repeat(97)));
        let admitted = paths.take_while(|path| wide.admit(&format!("{path}x"), Kind::File(0)).is_ok()).count();
        assert!((100..1_000).contains(&admitted), "{admitted}");

        let deep = format!("home/build/{}x", "d/".repeat(200));
        assert!(refused(&[(&deep, FILE)]).is_some());
        assert!(refused(&[(&format!("home/build/{}", "x".repeat(5_000)), FILE)]).is_some());
        insta::assert_snapshot!(refused(&[("home/build/\u{1b}x", Kind::Symlink("/etc"))]).unwrap(), @r"`home/build/\u{1b}x` is a symbolic link that leads out");
    }

    proptest! {
        /// Follows links as a kernel does, from the root of a build.
        #[test]
        fn no_admitted_link_leads_out_however_many_are_followed(
            links in proptest::collection::vec(("[abc](/[abc]){0,2}", "(\\.\\./){0,3}[abc](/[abc.]|/\\.\\.){0,3}"), 1..8)
        ) {
            let mut members = Members::new(100);
            let mut tree = BTreeMap::new();
            for (path, target) in &links {
                let path = format!("home/build/{path}");
                if members.admit(&path, Kind::Symlink(target)).is_ok() {
                    tree.insert(path, target.clone());
                }
            }
            for path in tree.keys() {
                let mut place: Vec<String> = Vec::new();
                let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
                let mut steps = 0;
                let mut entered = false;
                while let Some(part) = todo.pop() {
                    steps += 1;
                    if steps > 200 {
                        break;
                    }
                    match part.as_str() {
                        "." | "" => {}
                        ".." => { place.pop(); }
                        name => {
                            place.push(name.to_owned());
                            if let Some(target) = tree.get(&place.join("/")) {
                                place.pop();
                                todo.extend(target.split('/').rev().map(str::to_owned));
                            }
                        }
                    }
                    entered |= place.starts_with(&["home".to_owned(), "build".to_owned()]);
                    prop_assert!(!entered || place.len() >= 2, "{path} leads to /{}", place.join("/"));
                }
            }
        }
    }
}

//! How files of a build become an archive of a cache set, and are brought back.
//!
//! Both are done by `bsdtar` inside the sandbox, as the build user: nothing outside ever follows a path that a build
//! made, and what is brought back belongs to whoever builds. What may be in an archive, and whether one is kept, is
//! decided elsewhere.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use nix::sys::stat::Mode;
use sha2::{Digest, Sha256};

use super::workspace::{Workspace, make_enterable, remove_all};
use crate::domain::cache::key::hex;
use crate::domain::cache::{HOME, Set, expanded};
use crate::sys::fs::FsError;
use crate::sys::sandbox::{Access, Mount, Network, SandboxSpec};

/// The program with which a build saves and restores by itself.
const PROGRAM: &str = include_str!("cache.sh");

/// More than this in a set, and it is not saved.
const MOST_FILES: usize = 500_000;
/// Directories in each other.
const DEEPEST: usize = 100;
/// The longest request of a build: 64 KiB.
const LONGEST_REQUEST: usize = 64 << 10;
/// How much larger than its files a tar may be.
const BESIDE: u64 = 64 << 10;

/// The most bytes of the paths of a set together, and of where its links lead: 64 MiB.
const MOST_TEXT: usize = 64 << 20;
/// Where programs are that no package has brought.
const SYSTEM_PATH: &str = "/usr/bin:/bin";

/// Packs the files of a list, with no more than so many bytes.
const PACK: &str = "set -o pipefail; bsdtar -c -f - --format gnutar --no-acls --no-xattrs --no-fflags -n -C / --null \
                    -T /pkgwarden/list | head -c \"$1\" >\"/pkgwarden/requests/$2\"";

/// Says for each of some programs in one line what its version is.
const VERSIONS: &str = "for tool; do printf '%s\\t' \"$tool\"; { \"$tool\" --version || \"$tool\" version; } \
                        2>/dev/null </dev/null | head -n1 | tr -d '\\n'; echo; done >/pkgdest/printed";

/// Where the sandbox has what, beside what every step has.
const MOUNTS: [(&str, &str, Access); 3] = [
    ("requests", "/pkgwarden/requests", Access::Write),
    ("answers", "/pkgwarden/answers", Access::Read),
    ("bell", "/pkgwarden/bell", Access::Write),
];

/// What belongs to a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Paths as the build sees them, without the first `/`, sorted.
    pub paths: Vec<String>,
    /// Changes with every change of a file.
    pub fingerprint: String,
}

/// What a build asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To save what it has packed; `None` if it could not pack it.
    Save(String, Option<()>),
    /// To be given what was saved.
    Restore(String),
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > LONGEST_REQUEST {
            return Err("the request is too long");
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "the request is no UTF-8")?;
        let words: Vec<&str> = text.strip_suffix('\0').unwrap_or(text).split('\0').collect();
        match words.as_slice() {
            ["save", name, "packed"] => Ok(Self::Save((*name).to_owned(), Some(()))),
            ["save", name, "failed"] => Ok(Self::Save((*name).to_owned(), None)),
            ["restore", name, _] => Ok(Self::Restore((*name).to_owned())),
            _ => Err("the request is not one of `pkgwarden-cache`"),
        }
    }
}

/// How many bytes a tar of a set may have that holds at most `max_bytes`: what is longer is too large by its headers alone.
#[must_use]
pub const fn longest_tar(max_bytes: u64) -> u64 {
    max_bytes.saturating_mul(2).saturating_add(BESIDE)
}

/// Makes what the sandbox of a build needs to save and restore.
///
/// # Errors
/// If the disk says no.
pub fn prepare(workspace: &Workspace) -> Result<(), FsError> {
    let answers = workspace.path("answers");
    make_enterable(&answers).map_err(|error| FsError::new("create", &answers, error))?;
    workspace.write_config("pkgwarden-cache", PROGRAM)?;
    let program = workspace.path("etc/pkgwarden-cache");
    let runs = fs::set_permissions(&program, Permissions::from_mode(0o755));
    runs.map_err(|error| FsError::new("write", &program, error))?;
    let bell = workspace.path("bell");
    let made = nix::unistd::mkfifo(&bell, Mode::S_IRUSR).map_err(io::Error::from);
    // Whatever the umask says, the build may ring it, and only we hear it.
    let made = made.and_then(|()| fs::set_permissions(&bell, Permissions::from_mode(0o622)));
    made.map_err(|error| FsError::new("create", &bell, error))
}

/// Gives the sandbox of a build the program; if `open`, it is answered.
pub fn offer(spec: &mut SandboxSpec, workspace: &Workspace, open: bool, max_bytes: u64) {
    let from = workspace.path("etc/pkgwarden-cache");
    spec.mounts.push(Mount { from, to: "/opt/pkgwarden/pkgwarden-cache", access: Access::Read });
    if let Some(path) = spec.env.get_mut("PATH") {
        path.push_str(":/opt/pkgwarden");
    }
    if open {
        spec.mounts.extend(mounts(workspace));
        spec.env.insert("PKGWARDEN_CACHE_MAX".to_owned(), (longest_tar(max_bytes) + 1).to_string());
    }
}

/// Turns the sandbox of a build into one that packs what is selected into `requests/NAME`.
///
/// # Errors
/// If the list cannot be written.
pub fn packing(
    spec: &mut SandboxSpec,
    workspace: &Workspace,
    (selection, name): (&Selection, &str),
    max_bytes: u64,
) -> Result<(), FsError> {
    let list = format!("{name}.list");
    workspace.write_config(&list, &(selection.paths.join("\0") + "\0"))?;
    let list = workspace.path("etc").join(list);
    spec.mounts.push(Mount { from: list, to: "/pkgwarden/list", access: Access::Read });
    let max = (longest_tar(max_bytes) + 1).to_string();
    become_step(spec, workspace, ["/bin/bash", "-c", PACK, "pack", &max, name]);
    trust_only_the_system(spec);
    Ok(())
}

/// Turns the sandbox of a build into one that unpacks `answers/NAME`, or only what is of `directory`.
pub fn unpacking(spec: &mut SandboxSpec, workspace: &Workspace, name: &str, directory: Option<&str>) {
    let archive = format!("/pkgwarden/answers/{name}");
    become_step(spec, workspace, ["bsdtar", "-x", "-f", &archive, "-C", "/"].into_iter().chain(directory));
    trust_only_the_system(spec);
}

/// What packs and unpacks is the system's: what a build installed could make of it what it wants.
fn trust_only_the_system(spec: &mut SandboxSpec) {
    spec.env.retain(|name, _| matches!(name.as_str(), "HOME" | "LANG" | "LC_ALL" | "TZ"));
    spec.env.insert("PATH".to_owned(), SYSTEM_PATH.to_owned());
}

/// Turns the sandbox of a build into one that prints the versions of tools into `pkgdest/printed`.
pub fn asking_versions(spec: &mut SandboxSpec, workspace: &Workspace, tools: &[String]) {
    let words = ["/bin/sh", "-c", VERSIONS, "versions"].into_iter().chain(tools.iter().map(String::as_str));
    become_step(spec, workspace, words);
}

fn become_step<'a>(spec: &mut SandboxSpec, workspace: &Workspace, words: impl IntoIterator<Item = &'a str>) {
    spec.network = Network::None;
    spec.directory = "/";
    spec.command = words.into_iter().map(str::to_owned).collect();
    spec.mounts.extend(mounts(workspace).into_iter().take(2));
}

fn mounts(workspace: &Workspace) -> Vec<Mount> {
    MOUNTS.iter().map(|&(from, to, access)| Mount { from: workspace.path(from), to, access }).collect()
}

/// What of a build belongs to a set; of its sources only those files, if they are named. Nothing may be running in it.
///
/// # Errors
/// If it cannot be read, or is more than any set may hold.
pub fn select(workspace: &Workspace, set: &Set, sources: Option<&BTreeSet<String>>) -> Result<Selection, FsError> {
    let globs = |patterns: &[String]| {
        let failed =
            |error: globset::Error| FsError::new("match", Path::new(&set.name.to_string()), io::Error::other(error));
        glob_set(patterns).map_err(failed)
    };
    let (include, exclude) = (globs(&set.include)?, globs(&set.exclude)?);
    let mut walk = Walk { include, exclude, found: Vec::new(), seen: 0, text: 0 };
    for (inside, name) in [(HOME, "home"), ("/srcdest", "srcdest")] {
        if set.include.iter().any(|pattern| expanded(pattern).starts_with(inside)) {
            walk.enter(&workspace.path(name), Path::new(inside), 0)?;
        }
    }
    if let Some(sources) = sources {
        walk.found.retain(|(path, state)| {
            state.starts_with('f') && path.strip_prefix("srcdest/").is_some_and(|name| sources.contains(name))
        });
    }
    walk.found.sort();
    let mut hash = Sha256::new();
    for (path, state) in &walk.found {
        hash.update(path.as_bytes());
        hash.update([0]);
        hash.update(state.as_bytes());
        hash.update([0]);
    }
    let paths = walk.found.into_iter().map(|(path, _)| path).collect();
    Ok(Selection { paths, fingerprint: hex(&hash.finalize()) })
}

/// Removes what was restored beside these sources: what nobody compares with a sum before it is used.
///
/// # Errors
/// If the disk says no.
pub fn keep_sources(workspace: &Workspace, sources: &BTreeSet<String>) -> Result<(), FsError> {
    let dir = workspace.path("srcdest");
    let keep = || -> io::Result<()> {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let is_source = entry.file_name().to_str().is_some_and(|name| sources.contains(name));
            if !(is_source && entry.file_type()?.is_file()) {
                remove_all(&entry.path())?;
            }
        }
        Ok(())
    };
    keep().map_err(|error| FsError::new("clean", &dir, error))
}

/// Removes what belongs to a set, so that the build begins without it after all.
///
/// # Errors
/// If the disk says no.
pub fn clear(workspace: &Workspace, set: &Set) -> Result<(), FsError> {
    for path in select(workspace, set, None)?.paths.iter().rev() {
        let place = outside(workspace, path);
        let is_dir = fs::symlink_metadata(&place).is_ok_and(|metadata| metadata.is_dir());
        let removed = if is_dir { fs::remove_dir(&place) } else { fs::remove_file(&place) };
        removed.map_err(|error| FsError::new("remove", &place, error))?;
    }
    Ok(())
}

fn outside(workspace: &Workspace, path: &str) -> PathBuf {
    match path.strip_prefix("home/build/") {
        Some(rest) => workspace.path("home").join(rest),
        None => workspace.path(path),
    }
}

/// The globs, each with what is below it.
fn glob_set(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = expanded(pattern);
        let pattern = pattern.trim_end_matches("/**");
        for pattern in [pattern.to_owned(), format!("{pattern}/**")] {
            set.add(GlobBuilder::new(&pattern).literal_separator(true).build()?);
        }
    }
    set.build()
}

struct Walk {
    include: GlobSet,
    exclude: GlobSet,
    /// Paths as the build sees them, with what changes when the file does.
    found: Vec<(String, String)>,
    seen: usize,
    /// Bytes of what was found.
    text: usize,
}

impl Walk {
    fn enter(&mut self, dir: &Path, inside: &Path, depth: usize) -> Result<(), FsError> {
        let failed = |error| FsError::new("look into", dir, error);
        let too_much = || failed(io::Error::other("there is more than a cache set may hold"));
        if depth > DEEPEST {
            return Err(too_much());
        }
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            self.seen += 1;
            if self.seen > MOST_FILES {
                return Err(too_much());
            }
            let inside = inside.join(entry.file_name());
            if self.exclude.is_match(&inside) {
                continue;
            }
            let metadata = entry.metadata().map_err(failed)?;
            let kind = metadata.file_type();
            if let Some(path) = inside.to_str().filter(|_| self.include.is_match(&inside)) {
                let state = match () {
                    () if kind.is_file() => {
                        format!("f {} {}.{}", metadata.len(), metadata.mtime(), metadata.mtime_nsec())
                    }
                    () if kind.is_symlink() => format!("l {}", fs::read_link(entry.path()).map_err(failed)?.display()),
                    () if kind.is_dir() => "d".to_owned(),
                    // Sockets and the like mean nothing to another build.
                    () => continue,
                };
                self.text += path.len() + state.len();
                if self.text > MOST_TEXT {
                    return Err(too_much());
                }
                self.found.push((path.trim_start_matches('/').to_owned(), state));
            }
            if kind.is_dir() {
                self.enter(&entry.path(), &inside, depth + 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;
    use crate::builder::user::BuildUser;
    use crate::domain::cache::SetName;

    fn workspace() -> (tempfile::TempDir, Workspace) {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(dir.path().join("a"), BuildUser::resolve("nobody").unwrap()).unwrap();
        (dir, workspace)
    }

    fn set(include: &[&str], exclude: &[&str]) -> Set {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Set { include: owned(include), exclude: owned(exclude), ..Set::by_hand(SetName::new("x").unwrap()) }
    }

    #[test]
    fn globs_say_what_belongs_to_a_set() {
        let (_dir, workspace) = workspace();
        let home = workspace.path("home");
        for path in ["a/b/one.o", "a/b/two.tmp", "a/keep", "other/x"] {
            fs::create_dir_all(home.join(path).parent().unwrap()).unwrap();
            fs::write(home.join(path), path).unwrap();
        }
        fs::create_dir(home.join("a/empty")).unwrap();
        symlink("keep", home.join("a/link")).unwrap();
        nix::unistd::mkfifo(&home.join("a/fifo"), Mode::S_IRUSR).unwrap();
        fs::write(workspace.path("srcdest/src.tar"), "x").unwrap();
        let paths = |include: &[&str], exclude: &[&str]| {
            select(&workspace, &set(include, exclude), None).unwrap().paths.join(" ").replace("home/build", "~")
        };
        assert_eq!(paths(&["~/a"], &["~/a/b/*.tmp"]), "~/a ~/a/b ~/a/b/one.o ~/a/empty ~/a/keep ~/a/link");
        assert_eq!(paths(&["~/a/**"], &["~/a/b/**"]), "~/a ~/a/empty ~/a/keep ~/a/link");
        assert_eq!(paths(&["~/*/x", "/srcdest/**"], &[]), "~/other/x srcdest/src.tar");
        assert_eq!(paths(&["~/{a,other}/[kx]*"], &[]), "~/a/keep ~/other/x");
        assert_eq!(paths(&["/srcdest/none"], &[]), "");
        clear(&workspace, &set(&["~/a/b/**"], &[])).unwrap();
        assert_eq!(paths(&["~/a"], &[]), "~/a ~/a/empty ~/a/keep ~/a/link");
    }

    #[test]
    fn every_change_changes_the_fingerprint() {
        let (_dir, workspace) = workspace();
        let home = workspace.path("home");
        let print = || select(&workspace, &set(&["~/**"], &[]), None).unwrap().fingerprint;
        let mut seen = vec![print()];
        fs::write(home.join("a"), "1").unwrap();
        seen.push(print());
        assert_eq!(seen[1], print());
        fs::write(home.join("a"), "12").unwrap();
        seen.push(print());
        fs::rename(home.join("a"), home.join("b")).unwrap();
        seen.push(print());
        symlink("b", home.join("c")).unwrap();
        seen.push(print());
        let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len());
    }

    proptest! {
        /// A glob by its meaning: `*` stands for anything but `/`, and what is below a match belongs to it.
        #[test]
        fn a_glob_matches_what_it_says_and_all_below(pattern in "[ab*]{1,3}(/[ab*]{1,2}){0,2}", path in "[ab]{1,3}(/[ab]{1,3}){0,3}") {
            fn part(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.first(), text.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) if part(&pattern[1..], text) => true,
                    (Some(b'*'), Some(_)) => part(pattern, &text[1..]),
                    (Some(a), Some(b)) if a == b => part(&pattern[1..], &text[1..]),
                    _ => false,
                }
            }
            prop_assume!(!pattern.contains("**"));
            let globs = glob_set(&[format!("~/{pattern}")]).unwrap();
            let parts: Vec<&str> = pattern.split('/').collect();
            let names: Vec<&str> = path.split('/').collect();
            let meant = names.len() >= parts.len()
                && parts.iter().zip(&names).all(|(pattern, name)| part(pattern.as_bytes(), name.as_bytes()));
            prop_assert_eq!(globs.is_match(format!("{HOME}/{path}")), meant);
        }

        #[test]
        fn any_bytes_are_a_request_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Request::parse(&bytes);
        }
    }

    #[test]
    fn a_request_has_exactly_its_words() {
        assert_eq!(Request::parse(b"save\0x\0packed\0"), Ok(Request::Save("x".into(), Some(()))));
        assert_eq!(Request::parse(b"restore\0x\0-\0"), Ok(Request::Restore("x".into())));
        for bad in [&b""[..], b"save\0x", b"save\0x\0packed\0more\0", b"drop\0x\0y\0", b"\xff"] {
            assert!(Request::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Request::parse(&vec![b'a'; LONGEST_REQUEST + 1]).is_err());
    }
}

//! The changes a monorepo makes to a package before it is built, from the files in its `.CI` folder.
//!
//! In this order: what is done to every PKGBUILD, `prepare` (sourced by bash inside the sandbox), `interfere.patch`
//! (applied by `patch -p1` there), `PKGBUILD.prepend`, `PKGBUILD.append`, `CI_PACKAGE_BUMP`. The text of the PKGBUILD
//! is put together here.

use crate::domain::folder::Folder;
use crate::domain::policy::Bump;

/// The patch, in the package folder.
pub const PATCH: &str = ".CI/interfere.patch";
/// The script that is run before, in the package folder.
pub const PREPARE: &str = ".CI/prepare";
const PREPEND: &str = ".CI/PKGBUILD.prepend";
const APPEND: &str = ".CI/PKGBUILD.append";

/// What is changed before the build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interference {
    /// Whether there is a script to run first.
    pub prepare: bool,
    /// Whether there is a patch to apply first.
    pub patch: bool,
    /// What goes before the PKGBUILD.
    pub prepend: Vec<u8>,
    /// What goes after it.
    pub append: Vec<u8>,
    /// The rebuild asked for.
    pub bump: Option<Bump>,
    /// Packages that it is built with, whatever it says.
    pub tools: Vec<&'static str>,
}

impl Interference {
    /// Reads what the folder asks for.
    #[must_use]
    pub fn of(folder: &Folder, bump: Option<Bump>) -> Self {
        let bytes = |path| folder.get(path).unwrap_or_default().to_vec();
        let has = |path| folder.get(path).is_some();
        let (prepend, append, tools) = (bytes(PREPEND), bytes(APPEND), Vec::new());
        Self { prepare: has(PREPARE), patch: has(PATCH), prepend, append, bump, tools }
    }

    /// The PKGBUILD to build with.
    #[must_use]
    pub fn pkgbuild(&self, original: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(original.len() + self.prepend.len() + self.append.len());
        for part in [&self.prepend[..], original, &self.append] {
            text.extend(part);
            end_line(&mut text);
        }
        if !self.tools.is_empty() {
            text.extend(format!("makedepends+=({})\n", self.tools.join(" ")).into_bytes());
        }
        if sets_pkgext(&text) {
            text.extend(PKGEXT);
        }
        if let Some(bump) = &self.bump {
            text.extend(bump_code(bump).into_bytes());
        }
        text
    }
}

/// A PKGBUILD without what makes packages that only run on machines like the one they were built on.
#[must_use]
pub fn for_any_machine(pkgbuild: &[u8]) -> Vec<u8> {
    const NATIVE: &[u8] = b"-march=native";
    let mut text = Vec::with_capacity(pkgbuild.len());
    let mut rest = pkgbuild;
    while let Some(at) = rest.windows(NATIVE.len()).position(|window| window == NATIVE) {
        text.extend(&rest[..at]);
        rest = &rest[at + NATIVE.len()..];
    }
    text.extend(rest);
    text
}

/// A package format of the package's own would not be one that is published.
const PKGEXT: &[u8] = b"PKGEXT='.pkg.tar.zst'\n";

fn sets_pkgext(text: &[u8]) -> bool {
    text.split(|&byte| byte == b'\n').any(|line| {
        let line = line.trim_ascii_start();
        let line = line.strip_prefix(b"export ").unwrap_or(line);
        line.trim_ascii_start().starts_with(b"PKGEXT=")
    })
}

fn end_line(text: &mut Vec<u8>) {
    if text.last().is_some_and(|&byte| byte != b'\n') {
        text.push(b'\n');
    }
}

/// Code that raises pkgrel while the package still has the version the bump is meant for. A pkgrel with a
/// part after the dot has that part raised, as makepkg allows one such part only.
fn bump_code(bump: &Bump) -> String {
    let version = quoted(bump.version.as_str());
    let count = bump.count;
    format!(
        "if [[ $(vercmp {version} \"${{epoch:-0}}:$pkgver-$pkgrel\") == 0 ]]; then\n  \
           if [[ $pkgrel == *.* ]]; then\n    \
             pkgrel=\"${{pkgrel%%.*}}.$((10#${{pkgrel#*.}} + {count}))\"\n  \
           else\n    \
             pkgrel=\"$pkgrel.{count}\"\n  \
           fi\n\
         fi\n"
    )
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bump::effective_version;
    use crate::domain::version::Version;
    use crate::sys::process::Program;

    fn bump(version: &str, count: u32) -> Bump {
        Bump { version: Version::new(version), count }
    }

    #[test]
    fn pieces_keep_their_order_and_their_lines() {
        let folder = Folder::default().with(PREPEND, "_first=1").with(APPEND, "pkgdesc=last").with(PATCH, "");
        let interference = Interference::of(&folder, None);
        assert!(interference.patch);
        assert_eq!(interference.pkgbuild(b"pkgname=a"), b"_first=1\npkgname=a\npkgdesc=last\n");
    }

    #[test]
    fn tools_are_made_dependencies_after_everything_that_could_set_them() {
        let interference =
            Interference { append: b"makedepends=(x)".to_vec(), tools: vec!["git"], ..Interference::default() };
        assert_eq!(interference.pkgbuild(b"pkgname=a"), b"pkgname=a\nmakedepends=(x)\nmakedepends+=(git)\n");
    }

    #[test]
    fn a_package_that_asks_for_nothing_is_left_as_it_is() {
        let interference = Interference::of(&Folder::default(), None);
        assert_eq!(interference.pkgbuild(b"pkgname=a\n"), b"pkgname=a\n");
        assert!(!interference.patch);
    }

    #[test]
    fn nothing_is_built_for_one_machine_only() {
        let text = for_any_machine(b"CFLAGS+=' -march=native -O3'\nRUSTFLAGS=x\n# -march=native");
        assert_eq!(text, b"CFLAGS+='  -O3'\nRUSTFLAGS=x\n# ");
        assert_eq!(for_any_machine(b"pkgname=a"), b"pkgname=a");
    }

    #[test]
    fn a_format_of_its_own_is_overruled() {
        let text = Interference::default().pkgbuild(b"  export PKGEXT=.pkg.tar\nx=1\n");
        assert!(text.ends_with(b"\nPKGEXT='.pkg.tar.zst'\n"));
    }

    /// What bash makes of a PKGBUILD.
    fn version_after(pkgbuild: &str, bump: Bump) -> String {
        let interference = Interference { bump: Some(bump), ..Interference::default() };
        let mut script = interference.pkgbuild(pkgbuild.as_bytes());
        script.extend(br#"echo "${epoch:+$epoch:}$pkgver-$pkgrel""#);
        let output =
            Program::new("bash").args(["-eu", "-c", &String::from_utf8(script).unwrap()]).run_blocking().unwrap();
        assert!(output.stderr.is_empty(), "{}", output.stderr_text());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn bash_and_the_planner_agree_on_what_a_bump_makes() {
        for (pkgbuild, current) in [
            ("pkgver=1.0\npkgrel=1", "1.0-1"),
            ("epoch=2\npkgver=1.0\npkgrel=3", "2:1.0-3"),
            ("pkgver=1.0\npkgrel=1.1", "1.0-1.1"),
            ("pkgver=1.0\npkgrel=1.08", "1.0-1.08"),
        ] {
            for target in ["1.0-1", "0:1.0-1", "2:1.0-3", "1.0-1.1", "1.0-1.8", "9-9", "1.0'; exit 7; '-1"] {
                let expected = effective_version(&Version::new(current), Some(&bump(target, 3)));
                assert_eq!(version_after(pkgbuild, bump(target, 3)), expected.as_str(), "{current} {target}");
            }
        }
    }
}

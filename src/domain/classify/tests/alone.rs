//! What goes in alone, and how near to it a person is needed.

use super::*;

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
        u.sums("a1", "77");
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
        for folder in [&mut u.old, &mut u.new] {
            *folder = std::mem::take(folder).with("keys/pgp/0123456789ABCDEF0123456789ABCDEF01234567.asc", "a key");
        }
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

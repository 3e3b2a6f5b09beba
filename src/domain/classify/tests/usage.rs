//! Variables that move with the version: what they are used for decides whether they may.

use super::*;

/// An update from 1.2.3 to 1.2.4 in which a variable goes from one value to another, where a template has `@`.
fn moved(template: &str, was: &str, is: &str) -> Verdict {
    let folder = |version: &str, value: &str, sum: &str| {
        let sum = sum.repeat(64);
        let head = format!("pkgname=tool\npkgver={version}\npkgrel=1\narch=(any)\nsha256sums=({sum})\n");
        Folder::default().with(PKGBUILD, format!("{head}{}\n", template.replace('@', value)))
    };
    classify(&folder("1.2.3", was, "a"), &folder("1.2.4", is, "b"))
}

fn all_are(decision: Decision, cases: &[(&str, &str, &str)]) {
    let wrong = cases.iter().filter(|(template, was, is)| moved(template, was, is).verdict != decision);
    let wrong: Vec<_> = wrong
        .map(|(template, was, is)| format!("{template}: {was} {is}: {:?}", codes(&moved(template, was, is))))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const COMMIT: &str = "432eeb0812345678901234567890123456789abc";
const OTHER: &str = "99999999123456789012345678901234567890ef";
const GIT: &str = "_commit=@\nsource=(git+https://h.example/t.git#commit=$_commit)";

#[test]
fn what_pins_a_commit_goes_on_to_pin_one() {
    all_are(
        Decision::Minor,
        &[
            (GIT, COMMIT, OTHER),
            (GIT, "432eeb0", "99999ab"),
            ("_tag=@\nsource=(git+https://h.example/t.git#tag=$_tag)", "v5.1", "v5.2"),
        ],
    );
    let written = "source=(git+https://h.example/t.git#commit=@)";
    let part = "_ref=@\nsource=(git+https://h.example/t.git#commit=${_ref##*.})";
    all_are(
        Decision::Major,
        &[
            (GIT, COMMIT, "999999"),
            (GIT, COMMIT, "999.0-release"),
            (GIT, COMMIT, "9999999"),
            (GIT, COMMIT, "999999999999"),
            (GIT, &COMMIT[..7], "999"),
            (GIT, &COMMIT[..7], "99999999"),
            (GIT, COMMIT, &OTHER.repeat(2)[..64]),
            (written, COMMIT, "999999"),
            (written, COMMIT, "1.2.4"),
            (part, "r169.cc8bfc6", "r170.999"),
            ("_commit=@\nf() { git checkout $_commit; }", COMMIT, "999999"),
            ("_commit=@\nsource=(https://h.example/$_commit.tar.gz)", COMMIT, "999.0"),
        ],
    );
}

#[test]
fn a_number_that_says_what_is_fetched_is_no_version() {
    let (alone, beside) = (
        "_id=@\nsource=(https://h.example/file/$_id/t-$pkgver.xpi)",
        "_sub=@\nsource=(https://h.example/$pkgver.$_sub/t.deb)",
    );
    all_are(
        Decision::Major,
        &[
            (alone, "4614817", "4999999"),
            (alone, "f4614817", "f4999999"),
            (&alone.replace("_id", "_build"), "4614817", "4999999"),
            (&alone.replace("_id", "_filever"), "4614817", "4999999"),
            ("_id=@\nsource=(https://h.example/$_id-$pkgver.xpi)", "4614817", "4999999"),
            (&format!("{beside}\nsource_x86_64=(https://h.example/$_sub)"), "3715", "4332"),
        ],
    );
    all_are(
        Decision::Minor,
        &[
            (beside, "3715", "4332"),
            ("_revision=@\nsource=(https://h.example/t-$_revision-$pkgver.tgz)", "1308", "1310"),
            ("_date=@\nsource=(https://h.example/t-$_date.tgz)", "20250131", "20250201"),
            ("_date=@\nsource=(https://h.example/t-$_date.tgz)", "20250703124711", "20251009122226"),
            ("_electron=@\nsource=(https://h.example/v$_electron/t.tgz)", "32.1.0", "33.0.2"),
        ],
    );
}

#[test]
fn what_is_a_mode_or_a_host_is_no_version() {
    all_are(
        Decision::Major,
        &[
            ("_modver=@\nf() { x $_modver; }", "00644", "06755"),
            ("_modver=@\nf() { install -Dm$_modver a b; }", "11644", "16755"),
            ("_modver=@\nf() { chmod 0$_modver a; }", "10644", "16755"),
            ("_modver=@\n_m=$_modver\nf() { sudo chmod $_m a; }", "10644", "16755"),
            ("_ver=@\nf() { x $_ver; }", "127.0.0.1", "203.0.113.9"),
            ("_ver=@\nf() { curl https://$_ver/a; }", "5.1", "5.2"),
            ("_ver=@\nf() { curl $_ver/a; }", "5.1", "5.2"),
            ("_ver=@\nf() { exec 3<>/dev/tcp/$_ver/80; }", "5.1", "5.2"),
            ("_ver=@\n_u=https://$_ver/a\nf() { x $_u; }", "5.1", "5.2"),
            ("_ver=@\n_all=(a b c d)\nf() { ${_all[_ver]}; }", "1", "2"),
            ("_ver=@\n_all=(a b c d)\n_one=${_all[_ver]}\nf() { $_one; }", "1.0", "2.0"),
        ],
    );
    all_are(
        Decision::Minor,
        &[
            ("_ver=@\nf() { nvm install $_ver; }", "22", "24"),
            ("_ver=@\nf() { install -Dm644 t-$_ver.so b; }", "5.1", "5.2"),
            ("_ver=@\nf() { cd t-$_ver; make; }", "5.1", "5.2"),
        ],
    );
}

#[test]
fn a_name_that_something_else_may_give_a_value_to_is_more_than_a_name() {
    let folder = |before: &str, body: &str| {
        Folder::default()
            .with(PKGBUILD, format!("pkgname=tool\npkgver=1\npkgrel=1\narch=(any)\n{before}f() {{ {body}; }}\n"))
    };
    let verdict = |other: &str| {
        classify(&folder("", &format!("{other}\n x word")), &folder("_p=word\n", &format!("{other}\n x $_p")))
    };
    for other in [
        "export $_v=z",
        "read $_v",
        "read -r a \"$_v\" < b",
        "declare -g \"_$_v=z\"",
        "unset $_v",
        ". file",
        "source file",
        "eval x",
        "printf -v $_v z",
        "mapfile -t $_v",
        "readonly \"$@\"",
        "declare -n r=$1",
        "set -a",
        "$_v p",
        "\"$@\"",
        "(( $_v = 5 ))",
        "[[ $_v -eq 5 ]]",
        "x ${a[$_v]}",
        "x ${_v@P}",
        "getopts a: $_v",
        "declare -p",
    ] {
        assert_eq!(verdict(other).verdict, Decision::Major, "{other}: {:?}", codes(&verdict(other)));
    }
    for other in
        ["export A=z", "read -r line", "local a=$1", "make", "\"$srcdir/run\" x", "printf %s $_v", "unset CFLAGS"]
    {
        assert_eq!(verdict(other).verdict, Decision::Minor, "{other}: {:?}", codes(&verdict(other)));
    }
}

#[test]
fn a_summary_that_is_too_large_is_not_read() {
    let mut update = Update::ordinary();
    let long = format!("{}# {}\n", filled(SRCINFO_TEXT), "x".repeat(crate::domain::pkgbuild::LARGEST));
    update.add(SRCINFO, &long);
    assert!(codes(&update.verdict()).contains(&"unreadable"), "{:?}", codes(&update.verdict()));
}

//! Lines and elements that change places: nobody is needed only where bash has the same values behind them.

use super::*;

const HEAD: &str = "pkgname=tool\npkgver=1.2.3\npkgrel=1\narch=(any)\n";

fn told(old: &str, new: &str) -> Verdict {
    let folder = |text: &str| Folder::default().with(PKGBUILD, format!("{HEAD}{text}\n"));
    classify(&folder(old), &folder(new))
}

/// A name, and what stands behind a package's own lines before and after.
type Moved = (&'static str, &'static str, &'static str);

fn all_are(decision: Decision, cases: &[Moved]) {
    let wrong = cases.iter().filter(|(_, old, new)| told(old, new).verdict != decision);
    let wrong: Vec<_> = wrong.map(|(name, old, new)| format!("{name}: {:?}", codes(&told(old, new)))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_assignment_that_finds_other_values_where_it_stands_now_needs_a_person() {
    all_are(
        Decision::Major,
        &[
            ("a value between two others", "_o=a\n_p=$_o\n_o=b\nf() { $_p; }", "_o=a\n_o=b\n_p=$_o\nf() { $_p; }"),
            (
                "a path that loses what it is made of",
                "_v=1\n_d=$_v.$pkgver\nf() { x $_d; }",
                "_d=$_v.$pkgver\n_v=1\nf() { x $_d; }",
            ),
            (
                "keys that are emptied",
                "_k=(ABCD)\nvalidpgpkeys=(\"${_k[@]}\")",
                "validpgpkeys=(\"${_k[@]}\")\n_k=(ABCD)",
            ),
            ("a value through another", "_a=1\n_b=$_a\n_c=$_b\n_a=2", "_a=1\n_a=2\n_b=$_a\n_c=$_b"),
            ("a value that is not known", "_a=$(id)\n_b=x$_a\n_a=$(who)", "_a=$(id)\n_a=$(who)\n_b=x$_a"),
            ("what is appended", "_a=1\n_b=0\n_b+=$_a\n_a=2", "_a=1\n_b=0\n_a=2\n_b+=$_a"),
            ("signs between elements", "_a=(1 2)\n_b=\"${_a[*]}\"\nIFS=,", "_a=(1 2)\nIFS=,\n_b=\"${_a[*]}\""),
            ("a default in a value", "_a=${_b:=x}\n_c=$_b", "_c=$_b\n_a=${_b:=x}"),
            (
                "another name for a variable",
                "declare -n _r=_o\n_o=a\n_p=$_o\n_r=b",
                "declare -n _r=_o\n_o=a\n_r=b\n_p=$_o",
            ),
            (
                "a line across a command beside a new name",
                "_o=a\nmkdir $_o\n_o2=b\nf() { make x; }",
                "_n=x\n_o2=b\nmkdir $_o\n_o=a\nf() { make $_n; }",
            ),
            ("a name that comes behind the command that it is for", "mkdir x", "mkdir $_n\n_n=x"),
            ("a name that comes behind the call of its function", "f() { mkdir x; }\nf", "f() { mkdir $_n; }\nf\n_n=x"),
            (
                "a source before what it is made of",
                "_h=a\nsource=(https://h.example/$_h)\nsha256sums=(SKIP)",
                "source=(https://h.example/$_h)\n_h=a\nsha256sums=(SKIP)",
            ),
        ],
    );
}

#[test]
fn an_assignment_that_finds_the_same_values_may_stand_anywhere() {
    all_are(
        Decision::Minor,
        &[
            ("nothing of it is assigned between", "_o=a\n_p=$_o\n_q=b", "_o=a\n_q=b\n_p=$_o"),
            ("the same values, twice", "_o=a\n_p=$_o\n_o=a", "_o=a\n_o=a\n_p=$_o"),
            ("a value that is not known", "_a=$(id)\n_b=x$_a\n_c=1", "_a=$(id)\n_c=1\n_b=x$_a"),
            ("a name before the command that it is for", "mkdir x", "_n=x\nmkdir $_n"),
        ],
    );
    let source = |line: &str| line.replace('@', "source=(https://h.example/t-$_v.tgz)\nsha256sums=(SKIP)");
    let (old, new) = (source("_v=$pkgver\n@\n_x=1"), source("_v=$pkgver\n_x=1\n@"));
    assert_eq!(told(&old, &new).verdict, Decision::Minor);
}

#[test]
fn elements_change_places_alone_only_where_nothing_but_makepkg_reads_them() {
    let sources = "source=(a.patch b.patch)\nsha256sums=(SKIP SKIP)\n";
    let swapped = "source=(b.patch a.patch)\nsha256sums=(SKIP SKIP)\n";
    let readers = [
        "f() { patch < ../${source[1]}; }",
        "f() { patch < ../$source; }",
        "f() { for s in \"${source[@]}\"; do patch < $s; done; }",
        "f() { for s in ${!source[@]}; do x $s; done; }",
        "f() { x ${#source}; }",
        "f() { local -n s=source; x ${s[0]}; }",
        "f() { n=source; x ${!n}; }",
        "f() { eval \"x \\${sou\"'rce[0]}'; }",
        "f() { x $((source)); }",
        "f() { x ${sha256sums[0]}; }",
        "_first=${source[0]}\nf() { x $_first; }",
    ];
    for reader in readers {
        let verdict = told(&format!("{sources}{reader}"), &format!("{swapped}{reader}"));
        assert_eq!(verdict.verdict, Decision::Major, "{reader}: {:?}", codes(&verdict));
    }
    for reader in ["f() { x \"$srcdir/source\"; }", "f() { make; }"] {
        let verdict = told(&format!("{sources}{reader}"), &format!("{swapped}{reader}"));
        assert_eq!((verdict.verdict, codes(&verdict)), (Decision::Minor, vec!["order"]), "{reader}");
    }
    for (name, code) in
        [("makedepends", "${makedepends[0]}"), ("options", "${options[@]}"), ("depends", "${depends[*]:1}")]
    {
        let text = |elements: &str, code: &str| format!("{name}=({elements})\nf() {{ x {code}; }}");
        assert_eq!(told(&text("a b", code), &text("b a", code)).verdict, Decision::Major, "{name}");
        assert_eq!(told(&text("a b", "y"), &text("b a", "y")).verdict, Decision::Minor, "{name}");
    }
    let derived = |elements: &str| format!("depends=({elements})\nmakedepends=(\"${{depends[0]}}\")");
    assert_eq!(told(&derived("a b"), &derived("b a")).verdict, Decision::Major);
}

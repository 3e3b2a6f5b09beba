//! Only the tokens of the version change, and the gate has nothing against it.

use proptest::prelude::*;

use super::*;
use crate::domain::classify::{Decision, classify};
use crate::domain::folder::Folder;
use crate::domain::name::Oid;

fn release(version: &str) -> Release {
    Release {
        version: version.to_owned(),
        tag: Some(format!("v{version}")),
        commit: Some(Oid::from_bytes([0xb2; 20])),
        previous: Some(Oid::from_bytes([0xa1; 20])),
    }
}

fn raised(text: &str, version: &str) -> String {
    let raised = raise(text.as_bytes(), &release(version), |_| false).unwrap_or_else(|error| panic!("{error}: {text}"));
    String::from_utf8(raised).expect("text")
}

fn refused(text: &str, version: &str) -> String {
    raise(text.as_bytes(), &release(version), |_| false).expect_err("refused").to_string()
}

#[test]
fn helpers_commits_and_literal_versions_in_sources_move_with_the_version() {
    let old = "_pkgver=1.2.3\n_commit='a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1'\npkgver=${_pkgver}\npkgrel=2\n\
        # since 1.2.3\nsource=(\"https://example.org/1.2/foo-1.2.3.tar.gz\" git+https://h/r#commit=a1a1a1a1a1)\n\
        build() {\n  cd foo-1.2.3\n}\n";
    insta::assert_snapshot!(raised(old, "1.3.0"), @r#"
    _pkgver=1.3.0
    _commit='b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2'
    pkgver=${_pkgver}
    pkgrel=1
    # since 1.2.3
    source=("https://example.org/1.3/foo-1.3.0.tar.gz" git+https://h/r#commit=b2b2b2b2b2)
    build() {
      cd foo-1.2.3
    }
    "#);
}

#[test]
fn parts_of_a_version_are_told_by_their_names() {
    let old = "_major=1\n_minor=2\n_other=1\npkgver=$_major.$_minor\npkgrel=1\nsource=(https://h/$_other/$_major)\n";
    insta::assert_snapshot!(raised(old, "2.5"), @r"
    _major=2
    _minor=5
    _other=1
    pkgver=$_major.$_minor
    pkgrel=1
    source=(https://h/$_other/$_major)
    ");
}

#[test]
fn what_only_looks_like_the_version_stays() {
    let old = "pkgver=1.2.0\npkgrel=1\n_minver=1.2\n_docver=1.2.0\n_note=1.2.0\ndepends=(\"bar>=$_minver\" 'baz=1.2.0')\n\
        source=(https://h/1.2/other-9.tgz https://h/1.2/foo-$pkgver.tgz)\n";
    insta::assert_snapshot!(raised(old, "1.3.0"), @r#"
    pkgver=1.3.0
    pkgrel=1
    _minver=1.2
    _docver=1.3.0
    _note=1.2.0
    depends=("bar>=$_minver" 'baz=1.2.0')
    source=(https://h/1.2/other-9.tgz https://h/1.3/foo-$pkgver.tgz)
    "#);
}

#[test]
fn the_files_of_the_package_keep_their_names_and_hosts_stay() {
    let old = "pkgver=1.0\npkgrel=1\nsource=(fix-1.0.patch https://v1.0.example.org/1.0.tgz)\n";
    let new = raise(old.as_bytes(), &release("1.1"), |name| name == "fix-1.0.patch").expect("raised");
    insta::assert_snapshot!(String::from_utf8_lossy(&new), @r"
    pkgver=1.1
    pkgrel=1
    source=(fix-1.0.patch https://v1.0.example.org/1.1.tgz)
    ");
}

#[test]
fn what_is_not_understood_is_left_to_a_person_and_nothing_goes_back() {
    let cases = [
        "pkgver=2.0\npkgrel=1\n",
        "pkgver=$(date)\npkgrel=1\n",
        "pkgver=1.0\npkgver=1.1\npkgrel=1\n",
        "pkgver=1.0\npkgrel=$x\n",
        "_a=1\npkgver=$_a.0.7\npkgrel=1\n",
        "pkgver=1.0\npkgrel=1\nsource=(git+https://h/r#commit=cccccccccc)\n",
        "pkgver=1.0\npkgrel=1\nif\n",
    ];
    let said: Vec<String> = cases.iter().map(|text| refused(text, "1.5")).collect();
    let said = said.join("\n").replace("the PKGBUILD cannot be raised to the new version: ", "");
    insta::assert_snapshot!(said.replace("; raise it by hand", ""), @r"
    1.5 is not newer than 2.0
    what `pkgver` is cannot be worked out
    `pkgver` is not assigned exactly once
    `pkgrel` is not written out
    `pkgver` is put together from other variables, and would be 1.0.7
    a source is pinned to the commit cccccccccc, which the tag of the version is not known to be
    it cannot be read as bash reads it: something is not closed
    ");
}

#[test]
fn a_commit_that_is_not_known_is_not_guessed() {
    let text = "pkgver=1.0\npkgrel=1\n_commit=a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1\nsource=(git+https://h/r#commit=$_commit)\n";
    let unknown = Release { commit: None, previous: None, ..release("1.1") };
    let error = raise(text.as_bytes(), &unknown, |_| false).expect_err("not known");
    assert!(error.to_string().contains("which one 1.1 is, is not known"), "{error}");
}

#[test]
fn checksums_keep_their_places_and_skip_stays() {
    let old = "source=(a b c)\nsha256sums=('aaaaaaaa' # the first\n  SKIP \"cccccccc\")\nb2sums+=(11111111)\n";
    let computed = "sha256sums=('dddddddd'\n 'eeeeeeee'\n 'ffffffff')\nb2sums=('22222222')\n";
    let new = with_checksums(old.as_bytes(), computed.as_bytes()).expect("put in");
    insta::assert_snapshot!(String::from_utf8_lossy(&new), @r#"
    source=(a b c)
    sha256sums=('dddddddd' # the first
      SKIP "ffffffff")
    b2sums+=(22222222)
    "#);
    for computed in ["", "sha256sums=(aaaaaaaa)\n", "sha256sums=(x y z)\nb2sums=(11111111)\n", "rm -rf /; ("] {
        assert!(with_checksums(old.as_bytes(), computed.as_bytes()).is_err(), "{computed}");
    }
    assert!(with_checksums(b"sha256sums=($x)\n", b"sha256sums=(aaaaaaaa)\n").is_err());
}

#[test]
fn where_commands_could_change_the_version_the_one_that_is_written_counts() {
    let old = ": ${_jobs:=2}\npkgver=4.7.2\npkgrel=3\nsource=(https://h/$pkgver.tgz)\nfor i in a b; do\n  eval \"x+=($i)\"\ndone\n";
    let new = old.replace("pkgver=4.7.2\npkgrel=3", "pkgver=4.7.3\npkgrel=1");
    assert_eq!(raised(old, "4.7.3"), new);
}

#[test]
fn a_checksum_never_becomes_none() {
    let old = "pkgver=1\npkgrel=1\nsource=(a::git+https://h/r#tag=1 b)\nsha256sums=('aa' 'SKIP')\n";
    let error = with_checksums(old.as_bytes(), b"sha256sums=('SKIP'\n 'SKIP')\n").expect_err("weaker").to_string();
    assert!(error.contains("pacman 6.1"), "{error}");
    assert!(with_checksums(old.as_bytes(), b"sha256sums=('bb'\n 'SKIP')\n").is_ok());
}

/// The ways in which a PKGBUILD may be written. The same values give the same text at any version.
#[derive(Debug, Clone)]
struct Style {
    quote: &'static str,
    helper: usize,
    source: usize,
    comment: String,
    pinned: bool,
    tail: &'static str,
}

impl Style {
    fn text(&self, version: &str, release: u32, commit: &str, sum: &str) -> String {
        let Self { quote, comment, tail, .. } = self;
        let version_lines = match self.helper {
            0 => format!("pkgver={quote}{version}{quote}{tail}\n"),
            1 => format!("_pkgver={quote}{version}{quote}\npkgver=$_pkgver{tail}\n"),
            2 => format!("_ver={}\npkgver=${{_ver//_/.}}{tail}\n", version.replace('.', "_")),
            _ => format!("pkgver={quote}{version}{quote}{tail}\n_tag=\"v{version}\"\n"),
        };
        let commit = if self.pinned { format!("_commit={quote}{commit}{quote}\n") } else { String::new() };
        let at = if self.pinned { "$_commit" } else { "x" };
        let source = match (self.source, self.helper) {
            (0, _) => format!("\"https://example.org/{at}/$pkgver/foo.tar.gz\""),
            (1, _) => format!("\"foo-{version}.tar.gz::https://example.org/{at}/v{version}.tar.gz\""),
            (_, 3) => format!("\"https://example.org/{at}/$_tag.tar.gz\""),
            _ => format!("https://example.org/{}/foo_$pkgver.tgz", version.replace('.', "_")),
        };
        format!(
            "# {comment}\npkgname=foo\n{version_lines}pkgrel={release}{tail}\narch=(any)\n{commit}source=({source})\n\
             sha256sums=({quote}{sum}{quote}) # {comment}\nbuild() {{\n  : {comment}\n}}\n"
        )
    }
}

prop_compose! {
    fn style()(
        quote in prop::sample::select(vec!["", "'", "\""]), helper in 0_usize..4, source in 0_usize..3,
        comment in "[a-z 0-9.]{0,12}", pinned: bool, tail in prop::sample::select(vec!["", "  ", " # 1.2"]),
    ) -> Style {
        Style { quote, helper, source, comment, pinned, tail }
    }
}

proptest! {
    #[test]
    fn only_the_tokens_of_the_version_change_and_the_gate_says_minor(
        style in style(), old in (1_u32..40, 0_u32..40, 0_u32..40), step in 1_u32..9, release_number in 1_u32..9,
    ) {
        let (from, to) = (format!("{}.{}.{}", old.0, old.1, old.2), format!("{}.{}.{}", old.0, old.1 + step, old.2));
        let (a, b) = ("a1".repeat(20), "b2".repeat(20));
        let (sum, new_sum) = ("3".repeat(64), "4".repeat(64));
        let before = style.text(&from, release_number, &a, &sum);
        let after = raised(&before, &to);
        prop_assert_eq!(&after, &style.text(&to, 1, &b, &sum));
        let computed = format!("sha256sums=('{new_sum}')\n");
        let after = with_checksums(after.as_bytes(), computed.as_bytes()).expect("put in");
        prop_assert_eq!(String::from_utf8_lossy(&after), style.text(&to, 1, &b, &new_sum));
        let folder = |bytes: &[u8]| Folder::default().with("PKGBUILD", bytes);
        let verdict = classify(&folder(before.as_bytes()), &folder(&after));
        prop_assert_eq!(verdict.verdict, Decision::Minor, "{:#?}", verdict.reasons);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(pkgver|pkgrel|source|_commit|sha256sums|=|\\(|\\)|'|\"|1\\.0|\\$|\n| |a1a1a1a){0,40}") {
        let _ = raise(text.as_bytes(), &release("9"), |_| false);
        let _ = with_checksums(text.as_bytes(), text.as_bytes());
    }
}

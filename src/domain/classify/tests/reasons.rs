//! What reasons and verdicts say.

use super::*;
use crate::domain::classify::text::first_hidden;

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

/// Old and new text of the reason that a changed body gives.
fn lines(old: &str, new: &str) -> (u32, Option<String>, Option<String>) {
    let package = |body: &str| {
        let text = format!("pkgname=tool\npkgver=1\npkgrel=1\narch=(any)\nbuild() {{\n{body}\n}}\n");
        Folder::default().with(PKGBUILD, text)
    };
    let verdict = classify(&package(old), &package(new));
    let reason = verdict.reasons.into_iter().find(|reason| reason.code == "function-changed").expect("it differs");
    (reason.line.expect("a line"), reason.old, reason.new)
}

#[test]
fn a_changed_function_shows_the_first_line_that_differs_before_and_after() {
    for (old, new, line, before, after) in [
        ("  make", "  make CC=`id`", 6, Some("make"), Some("make CC=`id`")),
        ("  make CC=`id`", "  make", 6, Some("make CC=`id`"), Some("make")),
        ("  make\n  true", "  make -j2\n  true", 6, Some("make"), Some("make -j2")),
        ("  make -j2", "  make -j3", 6, Some("make -j2"), Some("make -j3")),
        ("  a\n  b", "  a\n  c\n  b", 7, None, Some("c")),
        ("  a", "  a\n  b", 7, None, Some("b")),
        ("  b", "  a\n  b", 6, None, Some("a")),
        ("  a\n  b\n  c", "  a\n  c", 7, Some("b"), None),
        ("  a\n  b", "  a", 6, Some("b"), None),
        ("  a\n  b\n  c", "  a\n  x\n  c", 7, Some("b"), Some("x")),
        ("  a 'x\n  y'", "  a 'x\n  z'", 7, Some("y'"), Some("z'")),
        ("  a && b", "  a || b", 6, Some("a && b"), Some("a || b")),
        ("  if a; then\n    b\n  fi", "  if a; then\n    b c\n  fi", 7, Some("b"), Some("b c")),
    ] {
        let expected = (line, before.map(str::to_owned), after.map(str::to_owned));
        assert_eq!(lines(old, new), expected, "{old} -> {new}");
    }
}

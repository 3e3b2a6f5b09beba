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

//! What the tables say of builds, updates and packages.

use serde_json::json;

use super::*;

#[test]
fn problems_name_their_package_and_reasons_their_file() {
    let problem = json!({"severity": "error", "pkgbase": "alib", "message": "it is not in quarantine", "hint": ""});
    let about_none = json!({"severity": "warning", "pkgbase": null, "message": "no tag", "hint": "set it"});
    let said = anstream::adapter::strip_str(&problems(&[problem, about_none])).to_string();
    assert_eq!(said, "error: alib: it is not in quarantine\nwarning: no tag; set it\n");
    let reason = json!({"file": "fix.patch", "line": null, "message": "the file is new"});
    assert_eq!(placed(&reason), "fix.patch: the file is new");
}

#[test]
fn a_build_says_what_it_waits_for_and_that_nobody_can_take_it() {
    let build = json!({"state": "waiting", "waits_for": ["a"], "nobody": "no builder of class 9 is there"});
    assert_eq!(remark(&build), "no builder of class 9 is there; waits for a");
    assert_eq!(remark(&json!({"state": "ready", "waits_for": [], "nobody": null, "message": null})), "");
}

#[test]
fn it_is_listed_who_builds_and_what() {
    let builders = json!({"builders": [
        {"name": "big", "class": 4, "only": false, "slots": 2, "builds": [{"id": "7", "pkgbase": "fern"}]},
        {"name": "workers of others", "class": 1, "only": true, "slots": 256, "builds": [],
            "trouble": "no sandbox\u{1b}[2J"}]});
    let said = anstream::adapter::strip_str(&super::builders(&builders)).to_string();
    insta::assert_snapshot!(said.trim_start(), @"
    who builds
    BUILDER            CLASS   SLOTS  BUILDS
    big                4           2  fern
    workers of others  1 only    256
    workers of others takes no builds now: no sandbox␛[2J
    ");
    assert_eq!(super::builders(&json!({"builders": null})), "");
}

#[test]
fn an_update_waits_for_its_heaviest_difference_or_for_what_is_none() {
    let reasons = json!([
        {"severity": "cosmetic", "file": ".SRCINFO", "line": null, "message": "it agrees"},
        {"severity": "review", "file": "PKGBUILD", "line": 3, "message": "another command"}]);
    let message = "chore(update): x\n\n1-1 -> 2-1\n\nNeeds a person because:\n- CI_NVCHECKER_REVIEW is on\n";
    let review = |decision: &str, severity: &str| json!({"message": message, "verdict": {"verdict": decision, "severity": severity, "reasons": reasons}});
    assert_eq!(why_it_waits(&review("major", "review")), "PKGBUILD:3: another command");
    assert_eq!(why_it_waits(&review("minor", "cosmetic")), "CI_NVCHECKER_REVIEW is on");
}

#[test]
fn a_package_is_told_with_what_was_heard_of_its_sources() {
    let look = Look { now: "2026-05-01T15:00:00Z".parse().expect("a time") };
    let source = json!({"role": "upstream", "source": "git+https://h/r", "asked": "2026-05-01T14:00:00Z",
        "answered": "2026-05-01T12:00:00Z", "answer": "at 1234", "cursor": "1234", "failures": 3,
        "next": "2026-05-01T16:00:00Z", "error": "https://h/r answers 404\u{1b}[31m"});
    let package = json!({"pkgbase": "x-git", "version": "1-1", "published": null, "needs": [], "needed_by": ["y"],
        "keepers": "ann,bob", "held": null, "decision": {"action": "none", "why": "it is unknown"},
        "sources": [source], "findings": [], "builds": []});
    let said = anstream::adapter::strip_str(&look.package(&package)).to_string();
    insta::assert_snapshot!(said, @"
        x-git 1-1
        published    no
        needs        nothing of this repository
        needed by    y
        kept by      ann,bob
        last run     none: it is unknown
        upstream     git+https://h/r
          asked      2026-05-01 14:00:00 UTC (1 h ago)
          answer     at 1234, 2026-05-01 12:00:00 UTC (3 h ago)
          dealt with 1234
          next       2026-05-01 16:00:00 UTC (in 1 h)
          unknown    https://h/r answers 404␛[31m

        No build.
        ");
}

//! Hostile sizes and depths: an answer, with bounded work.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_too_large_or_too_deep_is_unreadable() {
    for text in ["x".repeat(1_000_000), "(".repeat(100_000), "$(".repeat(100_000), "a=${b:-".repeat(30_000)] {
        let mut update = Update::ordinary();
        update.add(PKGBUILD, &text);
        assert!(codes(&update.verdict()).contains(&"unreadable"), "{}", &text[..10]);
    }
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

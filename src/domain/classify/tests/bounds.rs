//! Hostile sizes and depths: an answer, with bounded work and on a small stack.

use proptest::prelude::*;

use super::*;
use crate::domain::classify::forms::Forms;

/// In bytes. Threads have two megabytes, and a build for tests takes more of it than a release.
const STACK: usize = 1024 * 1024;

/// What is hostile to read: a name, and a text behind a package's own.
fn hostile() -> Vec<(&'static str, String)> {
    let deep = |open: &str, close: &str| format!("_x={}{}\n", open.repeat(100_000), close.repeat(100_000));
    let long = |text: &str| text.repeat((1 << 20) / text.len());
    let numbered = |count: usize, line: fn(usize) -> String| (0..count).map(line).collect::<String>();
    vec![
        ("a line of a megabyte", format!("_x={}\n", long("x"))),
        ("a comment of a megabyte", format!("# {}\n", long("x"))),
        ("a megabyte of continued lines", format!("_x=\\\n{}\n", long("\\\n"))),
        ("a megabyte of line feeds", long("\n")),
        ("a megabyte of quotes", format!("_x={}\n", long("'"))),
        ("nested substitutions", deep("$(", ")")),
        ("nested expansions", deep("${a:-", "}")),
        ("nested arithmetic", deep("$((", "))")),
        ("nested parentheses", format!("f() {}\n", "(".repeat(100_000))),
        ("nested subshells", format!("{}id{}\n", "( ".repeat(100_000), " )".repeat(100_000))),
        ("nested braces", format!("f() {}\n", "{ ".repeat(100_000))),
        ("brackets", format!("_x=({})\n", "[".repeat(100_000))),
        ("nested subscripts", format!("_x={}\n", "${a[".repeat(50_000))),
        ("choices in choices", format!("_x=({}a{})\n", "{a,".repeat(50_000), "}".repeat(50_000))),
        ("nested double quotes", format!("_x={}\n", "\"$(".repeat(100_000))),
        ("nested patterns", format!("case x in {}\n", "@(".repeat(100_000))),
        ("nested processes", format!("a {}\n", "<(".repeat(100_000))),
        ("nested conditions", "if ".repeat(80_000)),
        ("nested loops", "while true; do ".repeat(15_000)),
        ("nested cases", "case x in x) ".repeat(20_000)),
        ("nested functions", "f() { ".repeat(40_000)),
        ("nested times", "time ".repeat(50_000)),
        ("many here-documents on a line", "cat <<A; ".repeat(25_000)),
        ("many here-documents", format!("f() {{\n{}}}\n", "cat <<A\nA\n".repeat(20_000))),
        ("backticks", format!("_x={}\n", "`a`".repeat(80_000))),
        ("open backticks", format!("_x={}\n", "$(`(`".repeat(50_000))),
        ("brackets that may be arithmetic", format!("f() {{ {} }}\n", "$((${x#((((} ) ) ; ".repeat(12_000))),
        ("100,000 elements", format!("_x=({})\n", "x ".repeat(100_000))),
        ("100,000 functions", numbered(100_000, |number| format!("f{number}() {{ :; }}\n"))),
        ("100,000 commands on a line", "a;".repeat(100_000)),
        ("100,000 appended elements", "source+=(a)\n".repeat(100_000)),
        ("20,000 appended elements", "source+=(a)\n".repeat(20_000)),
        ("100,000 assignments on a line", format!("{}\n", "a=1 ".repeat(60_000))),
        (
            "values that double",
            format!("_x0=yyyy\n{}", numbered(60, |number| format!("_x{}=$_x{number}$_x{number}\n", number + 1))),
        ),
        ("values of values", format!("_x={}\n_y={}\n", "y".repeat(60_000), "$_x".repeat(60_000))),
        ("elements of elements", format!("_x=({})\n_y=({})\n", "x ".repeat(1900), "${_x[@]} ".repeat(20_000))),
        ("choices of choices", format!("_x=({})\n", "{a,b}{a,b}{a,b}{a,b} ".repeat(10_000))),
        ("patterns", format!("_x={}\n{}", "a".repeat(390), "_y=${_x//*a*a*a*b/}\n".repeat(3000))),
        ("substitutions in one value", format!("_x=({})\n", "$(a) ".repeat(40_000))),
        ("calls of a function that sets much", {
            let sets = numbered(10_000, |number| format!("a{number}=\n"));
            format!("f() {{\n{sets}}}\n{{\n{}}}\n", "f\n".repeat(50_000))
        }),
        ("commands that may set anything", format!("{{\n{}}}\n", "eval a\n".repeat(30_000))),
        ("printed assignments", format!("{{ {}:; }}\n", "printf a | ".repeat(20_000))),
        ("names that came", numbered(3500, |number| format!("_n{number}=1\n"))),
        (
            "sources of architectures",
            numbered(3500, |number| format!("source_a{number}=(https://a.example/{number})\n")),
        ),
        ("functions on a line", numbered(3500, |number| format!("f{number}() {{ $_x $_y; }}; "))),
    ]
}

fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run).expect("a thread");
    thread.join().expect("no panic");
}

#[test]
fn whatever_is_hostile_ends_as_major_on_a_small_stack() {
    on_a_small_stack(|| {
        for (name, text) in hostile() {
            let old = package();
            let new = old.clone().with(PKGBUILD, format!("{}{text}", filled(PKGBUILD_TEXT)));
            for verdict in [classify(&old, &new), classify(&new, &old)] {
                // A comment and empty lines change nothing, but a file of a megabyte is not read.
                assert_eq!(verdict.verdict, Decision::Major, "{name}");
                assert!(verdict.reasons.len() <= 500, "{name}");
            }
        }
    });
}

#[test]
fn a_hostile_file_that_only_moves_its_version_ends_too() {
    on_a_small_stack(|| {
        for (name, text) in hostile() {
            let mut update = Update::ordinary();
            update.always(PKGBUILD, "pkgbase=tool\n", &format!("pkgbase=tool\n{text}"));
            let unreadable = codes(&update.verdict()).contains(&"unreadable");
            assert!(unreadable || text.len() < 256 * 1024, "{name}");
        }
    });
}

#[test]
fn what_is_nested_too_deeply_is_unreadable() {
    for (name, text) in hostile().into_iter().filter(|(name, _)| name.starts_with("nested")) {
        let new = package().with(PKGBUILD, format!("{}{text}", filled(PKGBUILD_TEXT)));
        assert!(codes(&classify(&package(), &new)).contains(&"unreadable"), "{name}");
    }
}

#[test]
fn a_summary_of_any_size_ends_too() {
    let values: Vec<String> = (0..20_000).map(|number| format!("\tsource = {number}{}\n", "1".repeat(40))).collect();
    let values = values.concat();
    for text in ["x".repeat(1_000_000), "sha256sums=(\n".repeat(100_000), "pkgver=".repeat(100_000)] {
        let mut update = Update::ordinary();
        update.add(PKGBUILD, &text);
        update.add(SRCINFO, &format!("{}{values}", filled(SRCINFO_TEXT)));
        assert_eq!(update.verdict().verdict, Decision::Major);
    }
}

#[test]
fn versions_are_looked_for_until_too_much_was_compared() {
    let forms = Forms::new(Some(("1.1.1.1.1.1.1.1", "1.1.1.1.1.1.1.2")), None, &[]);
    let text = |last: &str| format!("{}-1.1.1.1.1.1.1.{last}", "1.".repeat(1900));
    assert!(forms.moved(&text("1"), &text("2")));
    let moved = (0..100_000).take_while(|_| forms.moved(&text("1"), &text("2"))).count();
    assert!(moved < 5000, "{moved} texts were compared whole");
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

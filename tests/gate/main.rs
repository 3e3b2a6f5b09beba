//! The gate against its own record: cases that need a person, cases that do not, and ordinary updates in
//! which something is planted.
//!
//! The cases are in `fixtures/gate`; `case` reads them, `mutate` plants, `planted` looks whether it is seen.

mod case;
mod mutate;
mod planted;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use pkgwarden::domain::classify::{Decision, classify};
use pkgwarden::domain::folder::{FileMode, Folder};
use pkgwarden::sys::process::Program;

use self::case::Case;

const SUITES: [&str; 2] = ["person", "alone"];

const SRCINFO: &str = ".SRCINFO";

#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    verdicts: usize,
    reasons: usize,
}

#[test]
fn nothing_that_needs_a_person_goes_in_without_one_and_the_rest_does() {
    let mut table: BTreeMap<String, Tally> = BTreeMap::new();
    let mut missed = Vec::new();
    for case in SUITES.iter().flat_map(|suite| case::suite(suite)) {
        let tally = table.entry(case.area().to_owned()).or_default();
        let verdict = classify(&case.old, &case.new);
        tally.cases += 1;
        if verdict.verdict != case.verdict {
            tally.verdicts += 1;
            missed.push(format!("verdict {}", case.name));
        } else if !case.is_explained_by(&verdict) {
            tally.reasons += 1;
            missed.push(format!("reasons {}", case.name));
        }
        if hangs_on_summary(&case) {
            missed.push(format!("summary {}", case.name));
        }
    }
    println!("{}", shown(&table));
    assert!(missed.is_empty(), "the gate is wrong about these: {missed:#?}");
}

/// Whether a case that needs a person gets one only because there is a summary. Whoever plants something can
/// write one that agrees.
fn hangs_on_summary(case: &Case) -> bool {
    let without = |folder: &Folder| {
        let mut folder = folder.clone();
        folder.files.remove(SRCINFO);
        folder
    };
    let about_summary = case.name.contains("srcinfo");
    let verdict = || classify(&without(&case.old), &without(&case.new)).verdict;
    case.verdict == Decision::Major && !about_summary && verdict() == Decision::Minor
}

fn shown(table: &BTreeMap<String, Tally>) -> String {
    let mut text = format!("{:24} {:>6} {:>13} {:>13}\n", "area", "cases", "wrong verdict", "wrong reasons");
    let mut row = |name: &str, tally: &Tally| {
        let _ = writeln!(text, "{name:24} {:6} {:13} {:13}", tally.cases, tally.verdicts, tally.reasons);
    };
    for suite in SUITES {
        let mut sum = Tally::default();
        for (area, tally) in table.iter().filter(|(area, _)| area.starts_with(suite)) {
            row(area, tally);
            sum.cases += tally.cases;
            sum.verdicts += tally.verdicts;
            sum.reasons += tally.reasons;
        }
        row(suite, &sum);
    }
    text
}

#[test]
fn both_suites_are_large_and_no_two_cases_are_the_same() {
    let mut seen = BTreeMap::new();
    for suite in SUITES {
        let cases = case::suite(suite);
        assert!(cases.len() >= 150, "only {} cases in {suite}", cases.len());
        for Case { name, old, new, .. } in cases {
            let twin = seen.insert((old.digest(), new.digest()), name.clone());
            assert!(twin.is_none(), "{name} is {twin:?} once more");
        }
    }
}

#[test]
fn a_case_that_does_not_fit_is_refused() {
    let good = "A title\nthreat: something\n\nbase: tarball\nverdict: major\nseverity: review\n\nafter:\n\
                @ PKGBUILD\n-pkgver=1.2.3\n+pkgver=main\n";
    assert!(case::parse("person/x/y", good).is_ok());
    for (from, to, complaint) in [
        ("-pkgver=1.2.3", "-pkgver=1.2", "the lines are not there"),
        ("-pkgver=1.2.3", "-}", "more than once"),
        ("-pkgver=1.2.3\n", "", "does not say where"),
        ("+pkgver=main", "+pkgver=1.2.3", "nothing changes"),
        ("@ PKGBUILD", "@ PKGBUILD2", "no such file"),
        ("@ PKGBUILD", "add PKGBUILD 100644", "only `+`"),
        ("@ PKGBUILD", "mend PKGBUILD", "not an edit"),
        ("verdict: major", "verdict: minor", "not that of the suite"),
        ("verdict: major\n", "", "`verdict:` is missing"),
        ("severity: review", "severity: bad", "not a severity"),
        ("base: tarball", "base: nothing", "nothing"),
        ("threat: ", "harmless: ", "begins with `threat: `"),
        ("after:", "later:", "edits begin with"),
    ] {
        let error = case::parse("person/x/y", &good.replacen(from, to, 1)).err();
        assert!(error.as_deref().is_some_and(|error| error.contains(complaint)), "{to}: {error:?}");
    }
}

#[test]
fn escapes_in_a_case_become_bytes() {
    let text = "A title\nthreat: something\n\nbase: tarball\nverdict: major\nseverity: review\n\nafter:\n\
                add x\\u{e9} 100755 escaped\n+a\\x00\\x20{3}\\r\\\\\\u{202e}\n+b\\c\nlink y x\nadd z 160000\n";
    let case = case::parse("person/x/y", text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(case.new.get("xé"), Some("a\0   \r\\\u{202e}\nb".as_bytes()));
    let mode = |path: &str| case.new.files.get(path).map(|file| file.mode);
    assert_eq!(mode("xé"), Some(FileMode::Executable));
    assert_eq!((mode("y"), mode("z")), (Some(FileMode::Symlink), Some(FileMode::Submodule)));
}

/// The `.SRCINFO` of a case that needs nobody says what makepkg would write, so that the verdict is about
/// the update and not about a mistake in the case.
#[tokio::test]
#[ignore = "runs makepkg for each case, some minutes; after a change of cases"]
async fn what_needs_nobody_is_what_makepkg_would_write() {
    let bumps = case::bases().into_iter().flat_map(|base| {
        let (old, new) = case::bumped(&base);
        [(format!("{base} before"), old), (format!("{base} after"), new)]
    });
    let cases = case::suite("alone").into_iter().map(|case| (case.name, case.new));
    let checks = bumps.chain(cases).map(|(name, folder)| async move { check_summary(&name, &folder).await });
    futures_util::stream::iter(checks).buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// How many makepkg run side by side.
const AT_ONCE: usize = 4;

async fn check_summary(name: &str, folder: &Folder) {
    const NOBODY: (u32, u32) = (65534, 65534);
    let directory = tempfile::tempdir().expect("a folder");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("set");
    write(folder, directory.path());
    let program = |name: &str, arg: &str| {
        let program = Program::new(name).args([arg]).current_dir(directory.path()).timeout(Duration::from_mins(1));
        if nix::unistd::geteuid().is_root() { program.user(NOBODY.0, NOBODY.1) } else { program }
    };
    let read = program("bash", "-n").arg("PKGBUILD").run().await.expect("bash runs");
    assert!(read.status.success(), "{name}: {}", read.stderr_text());
    let printed = program("makepkg", "--printsrcinfo").run().await.expect("makepkg runs");
    assert!(printed.status.success(), "{name}: {}", printed.stderr_text());
    if let Some(summary) = folder.get(SRCINFO) {
        assert_eq!(facts(summary), facts(&printed.stdout), "{name}");
    }
}

fn write(folder: &Folder, root: &Path) {
    for (path, file) in &folder.files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("inside")).expect("made");
        if file.mode == FileMode::Symlink {
            symlink(String::from_utf8_lossy(&file.bytes).as_ref(), &path).expect("linked");
        } else {
            fs::write(&path, &file.bytes).expect("written");
        }
    }
}

/// Lines without layout, comments and order.
fn facts(summary: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(summary);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_767_225_600;

fn facts(change: impl FnOnce(&mut FileFacts)) -> FileFacts {
    let text = str::to_owned;
    let info = Pkginfo {
        pkgbase: text("foo"),
        pkgname: text("foo"),
        pkgver: text("1:2-1.1"),
        arch: text("x86_64"),
        builddate: text("1700000000"),
        ..Pkginfo::default()
    };
    let mut facts = FileFacts { file: text("foo-1:2-1.1-x86_64.pkg.tar.zst"), info, content: Content::default() };
    change(&mut facts);
    facts
}

fn expected() -> Expected {
    Expected {
        pkgbase: PkgBase::new("foo").unwrap(),
        version: Some(Version::new("1:2-1.1")),
        arch: "x86_64".into(),
        members: [PkgName::new("foo").unwrap()].into(),
        build: None,
        allow_prohibited: false,
        official: std::sync::Arc::default(),
    }
}

fn around() -> Surroundings {
    let there = |base: &str, version: &str| There {
        base: PkgBase::new(base).unwrap(),
        version: Version::new(version),
        build_date: Some(1_700_000_001),
    };
    Surroundings {
        published: [(PkgName::new("victim").unwrap(), there("victim", "1-1"))].into(),
        official: ["glibc".to_owned()].into(),
        allowed_official: BTreeSet::new(),
        base_packages: ["bash".to_owned()].into(),
        last_publication: None,
    }
}

fn codes(files: &[FileFacts], expected: &Expected, around: &Surroundings) -> Vec<&'static str> {
    let findings = check(files, expected, around, Timestamp::from_second(NOW).unwrap());
    for finding in &findings {
        assert!(!finding.hint.is_empty() && finding.file.is_some() && finding.pkgbase.is_some(), "{finding:?}");
    }
    findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn a_file_that_is_the_builds_has_no_finding() {
    assert_eq!(codes(&[facts(|_| ())], &expected(), &around()), Vec::<&str>::new());
}

type Change = fn(&mut FileFacts);

#[test]
fn every_field_that_is_wrong_has_its_code() {
    let cases: [(Change, &[&str]); 18] = [
        (|f| f.info.pkgbase = "bar".into(), &["package-base"]),
        (|f| f.info.pkgname = "../foo".into(), &["package-name", "package-file-name"]),
        (|f| f.info.pkgver = "1:2-1".into(), &["package-version", "package-file-name"]),
        (|f| f.info.pkgver = "$(id)-1".into(), &["package-version", "package-version", "package-file-name"]),
        (|f| f.info.arch = "aarch64".into(), &["package-arch", "package-file-name"]),
        (|f| f.file = "foo.pkg.tar.zst".into(), &["package-file-name"]),
        (|f| f.info.builddate = "99999999999".into(), &["package-build-ahead"]),
        (|f| f.info.builddate = i64::MAX.to_string(), &["package-build-date"]),
        (|f| f.info.builddate = "soon".into(), &["package-build-date"]),
        (|f| f.info.builddate = "-5".into(), &["package-build-date"]),
        (|f| f.info.groups = vec!["base-devel".into()], &["package-prohibited-field"]),
        (|f| f.info.replaces = vec!["glibc".into()], &["package-prohibited-field"]),
        (|f| f.info.conflicts = vec!["bash>=5".into()], &["package-prohibited-field"]),
        (|f| f.content.escapes = vec!["../etc/passwd".into()], &["package-path-escape"]),
        (|f| f.content.devices = vec!["dev/sda".into()], &["package-device"]),
        (|f| f.content.twice = vec![".PKGINFO".into()], &["package-metadata-twice"]),
        (|f| f.content.setuid = vec!["usr/bin/su".into()], &["package-setuid"]),
        (|f| f.content.dotted = vec![".hidden".into()], &["package-dotfile"]),
    ];
    for (change, wanted) in cases {
        let file = facts(change);
        assert_eq!(codes(std::slice::from_ref(&file), &expected(), &around()), wanted, "{file:?}");
    }
}

#[test]
fn names_of_others_are_refused_until_they_are_allowed() {
    let named = |name: &str| {
        facts(|f| {
            f.info.pkgname = name.to_owned();
            f.file = format!("{name}-1:2-1.1-x86_64.pkg.tar.zst");
        })
    };
    let version = Version::new("1:2-1.1");
    let plain = Expected { version: Some(version), ..expected() };
    assert_eq!(codes(&[named("victim")], &plain, &around()), ["package-not-its-own"]);
    assert_eq!(codes(&[named("glibc")], &plain, &around()), ["package-official-name"]);
    let allowed = Surroundings { allowed_official: ["foo".to_owned()].into(), ..around() };
    assert_eq!(codes(&[named("glibc")], &plain, &allowed), Vec::<&str>::new());
    let moved = Expected { members: [PkgName::new("victim").unwrap()].into(), ..plain };
    assert_eq!(codes(&[named("victim")], &moved, &around()), Vec::<&str>::new());
}

#[test]
fn prohibited_fields_are_published_where_they_are_allowed() {
    let file = facts(|f| f.info.groups = vec!["x".into()]);
    let allowed = Expected { allow_prohibited: true, ..expected() };
    assert_eq!(codes(&[file], &allowed, &around()), Vec::<&str>::new());
}

#[test]
fn what_is_older_than_what_is_published_is_told_and_stops_nothing() {
    let there = |version: &str| {
        let mut around = around();
        let mine = There { base: expected().pkgbase, version: Version::new(version), build_date: Some(1_700_000_001) };
        around.published.insert(PkgName::new("foo").unwrap(), mine);
        around
    };
    for (version, wanted) in [("1:2-1.1", &["package-older"][..]), ("1:3-1", &["package-downgrade"]), ("9-1", &[])] {
        let findings = check(&[facts(|_| ())], &expected(), &there(version), Timestamp::from_second(NOW).unwrap());
        assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), wanted, "{version}");
        assert!(!refuses(&findings));
    }
}

#[test]
fn files_of_one_build_are_one_package_each_and_of_one_version() {
    let other = facts(|f| {
        f.info.pkgver = "1:3-1".into();
        f.file = "foo-1:3-1-x86_64.pkg.tar.zst".into();
    });
    let any = Expected { version: None, ..expected() };
    assert_eq!(codes(&[facts(|_| ()), other], &any, &around()), ["package-twice", "package-version"]);
}

proptest! {
    #[test]
    fn nothing_written_in_a_package_makes_the_checks_panic_or_brings_control_characters_into_messages(
        text in any::<String>(), other in "\\PC*",
    ) {
        let file = facts(|f| {
            f.info.pkgname.clone_from(&text);
            f.info.pkgver.clone_from(&other);
            f.info.groups = vec![text.clone()];
            f.content.escapes = vec![text.clone(); 9];
        });
        for finding in check(&[file], &expected(), &around(), Timestamp::from_second(NOW).unwrap()) {
            prop_assert!(!finding.message.contains(['\n', '\r', '\u{1b}']), "{:?}", finding.message);
        }
    }
}

#[test]
fn names_of_the_distribution_are_kept_from_names_and_from_unversioned_provides_unless_allowed() {
    let known = Expected { official: std::sync::Arc::new(["gtk3".to_owned(), "foo".to_owned()].into()), ..expected() };
    let provides = |all: &[&str]| facts(|file| file.info.provides = all.iter().map(|&text| text.to_owned()).collect());
    let unknown = Expected { official: std::sync::Arc::new(["gtk3".to_owned()].into()), ..expected() };
    let told = |all: &[&str]| codes(&[provides(all)], &unknown, &around());
    assert_eq!(told(&["gtk3"]), ["package-official-provides"]);
    assert_eq!(told(&["gtk3=1:2", "libgtk-3.so=0-64", "gtk4", "foo"]), Vec::<&str>::new());
    assert_eq!(told(&["glibc"]), ["package-official-provides"], "databases of pacman count, too");
    assert_eq!(codes(&[facts(|_| ())], &known, &around()), ["package-official-name"]);
    let allowed = Surroundings { allowed_official: ["foo".to_owned()].into(), ..around() };
    assert_eq!(codes(&[provides(&["gtk3"])], &known, &allowed), Vec::<&str>::new());
}

#[test]
fn a_clock_is_only_to_blame_where_all_else_is_right() {
    let now = Timestamp::from_second(NOW).unwrap();
    let built = |second: i64| facts(|f| f.info.builddate = second.to_string());
    let told = |file: FileFacts| check(&[file], &expected(), &around(), now);
    assert!(!refuses(&told(built(NOW + 24 * 3600))), "clocks are never quite right");
    assert!(are_only_ahead(&told(built(NOW + 24 * 3600 + 1))));
    let mut liar = built(NOW + 24 * 3600 + 1);
    assert!(!are_only_ahead(&told(facts(|_| ()))));
    liar.info.pkgbase = "bar".into();
    assert!(!are_only_ahead(&told(liar)));
    let after = |last: i64| {
        let last_publication = Some(Timestamp::from_second(last).unwrap());
        is_set_back(&Surroundings { last_publication, ..around() }, now)
    };
    assert_eq!([after(NOW - 1), after(NOW + 60), after(NOW + 3601)], [false, false, true]);
    assert!(!is_set_back(&around(), now));
}

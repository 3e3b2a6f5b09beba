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
    let cases: [(Change, &[&str]); 17] = [
        (|f| f.info.pkgbase = "bar".into(), &["package-base"]),
        (|f| f.info.pkgname = "../foo".into(), &["package-name", "package-file-name"]),
        (|f| f.info.pkgver = "1:2-1".into(), &["package-version", "package-file-name"]),
        (|f| f.info.pkgver = "$(id)-1".into(), &["package-version", "package-version", "package-file-name"]),
        (|f| f.info.arch = "aarch64".into(), &["package-arch", "package-file-name"]),
        (|f| f.file = "foo.pkg.tar.zst".into(), &["package-file-name"]),
        (|f| f.info.builddate = "99999999999".into(), &["package-build-date"]),
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

//! What stands in a database is what was checked, as the real `repo-add` writes it.

use proptest::prelude::*;

use super::*;
use crate::publish::database::DatabaseEntry;
use crate::publish::{making, pkginfo as reader, verify};

/// Packages of one case: `repo-add` takes a while to start.
const AT_ONCE: usize = 40;

/// Values as people write them, and as somebody would who wants them to be read in two ways.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9+]{1,8}((<|>|=|<=|>=)[0-9.:-]{1,6})?",
        3 => "[ -~]{1,10}",
        2 => "[a= %]{1,6}",
        1 => "\\PC{1,6}",
        1 => prop_oneof![
            Just("$(id)".to_owned()),
            Just("`id`".to_owned()),
            Just("(a b)".to_owned()),
            Just("[0]=a".to_owned()),
            Just("-n".to_owned()),
            Just("~".to_owned()),
            Just("a\\nb\\".to_owned()),
            Just("%REPLACES%".to_owned()),
            Just("'\"".to_owned()),
            Just("*".to_owned()),
            Just("a\u{a0}\u{2003}b".to_owned()),
        ],
    ]
}

const KEYS: [&str; 9] =
    ["group", "replaces", "conflict", "provides", "depend", "license", "optdepend", "makedepend", "checkdepend"];

fn lines() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    proptest::collection::vec((proptest::sample::select(&KEYS[..]), value()), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_passes_the_checks_stands_in_the_database_as_it_was_checked(
        packages in proptest::collection::vec((lines(), value()), AT_ONCE),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut wanted = Vec::new();
        for (number, (lines, described)) in packages.iter().enumerate() {
            let name = format!("p{number}");
            let mut text = pkginfo(&name, &name, "1:2-1").replace("pkgdesc = ", &format!("pkgdesc = {described}"));
            for (key, value) in lines {
                text.extend([*key, " = ", value.as_str(), "\n"]);
            }
            let Ok(info) = reader::parse(text.as_bytes()) else { continue };
            let path = pack(&dir.path().join(format!("{name}-1:2-1-any.pkg.tar.zst")), &text, "x");
            wanted.push(verify::verified(&path, info).unwrap());
        }
        prop_assert!(wanted.len() > AT_ONCE / 20, "{} of {AT_ONCE} passed", wanted.len());
        let paths: Vec<_> = wanted.iter().map(|file| file.path.clone()).collect();
        repo_tool::add(dir.path(), "test.db.tar.zst", &paths).unwrap();
        let entries = database::read(&dir.path().join("test.db.tar.zst")).unwrap();
        let wanted: Vec<&DatabaseEntry> = wanted.iter().map(|file| &file.entry).collect();
        let checked = making::is_as_checked(&entries, &[], &wanted);
        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
    }
}

type Change = fn(&mut DatabaseEntry);

#[test]
fn a_database_that_says_anything_else_is_refused_with_the_field() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "{}group = g\nreplaces = r\nconflict = c\nprovides = p=1\ndepend = d>=1\n",
        pkginfo("foo", "foo", "1-1")
    );
    let path = pack(&dir.path().join("foo-1-1-any.pkg.tar.zst"), &text, "x");
    repo_tool::add(dir.path(), "test.db.tar.zst", std::slice::from_ref(&path)).unwrap();
    let entries = database::read(&dir.path().join("test.db.tar.zst")).unwrap();
    let [entry] = entries.as_slice() else { panic!("one entry") };
    let wanted = verify::verified(&path, reader::parse(text.as_bytes()).unwrap()).unwrap().entry;
    making::is_as_checked(std::slice::from_ref(entry), &[], &[&wanted]).unwrap();
    let lies: [(&str, Change); 11] = [
        ("is not there as", |entry| entry.file = "bar-1-1-any.pkg.tar.zst".into()),
        ("%NAME%", |entry| entry.name = PkgName::new("bar").unwrap()),
        ("%BASE%", |entry| entry.base = base("bar")),
        ("%VERSION%", |entry| entry.version = Version::new("2-1")),
        ("%ARCH%", |entry| entry.arch = "x86_64".into()),
        ("%SHA256SUM%", |entry| entry.sha256 = "0".repeat(64)),
        ("%REPLACES%", |entry| entry.replaces.push("bash".into())),
        ("%CONFLICTS%", |entry| entry.conflicts.clear()),
        ("%PROVIDES%", |entry| entry.provides = vec!["p=2".into()]),
        ("%DEPENDS%", |entry| entry.depends.insert(0, "e".into())),
        ("%GROUPS%", |entry| entry.groups = vec!["h".into()]),
    ];
    for (field, lie) in lies {
        let mut says = entry.clone();
        lie(&mut says);
        for (staying, entering) in [(&[][..], &[&wanted][..]), (std::slice::from_ref(entry), &[][..])] {
            let error = making::is_as_checked(std::slice::from_ref(&says), staying, entering).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
            assert!(error.to_string().contains("the published one was left as it is"), "{error}");
            assert!(!error.is_the_builds_fault());
        }
    }
    let gone = making::is_as_checked(&[], &[], &[&wanted]).unwrap_err();
    assert!(gone.to_string().contains("`foo` is not there"), "{gone}");
    let more = making::is_as_checked(std::slice::from_ref(entry), &[], &[]).unwrap_err();
    assert!(more.to_string().contains("it has packages that nobody added"), "{more}");
}

/// It was published before what is in such files was looked at so closely.
#[tokio::test]
async fn an_old_file_that_would_say_what_it_likes_does_not_come_back() {
    let world = world();
    world.publish("foo", "1-1", &["foo"]).await.unwrap();
    world.publish("foo", "2-1", &["foo"]).await.unwrap();
    let strange = format!("{}license = \nlicense = %REPLACES%\nlicense = bash\n", pkginfo("foo", "foo", "1-1"));
    let old = world.publisher.dir().join("foo-1-1-any.pkg.tar.zst");
    pack(&old, &strange, "old");
    let manifest = world.publisher.layout.generation(1).join("manifest.json");
    let mut first = world.publisher.generation(Some(1)).unwrap().unwrap();
    first.entries[0].sha256 = sha256(&old).unwrap();
    std::fs::write(&manifest, serde_json::to_vec(&first).unwrap()).unwrap();
    let error = world.publish("foo", "1-1", &["foo"]).await.unwrap_err();
    assert_eq!(codes(&error), ["package-unreadable"], "{error}");
    assert!(error.to_string().contains("raise `pkgrel`"), "{error}");
    assert_eq!(world.published(), ["foo 2-1"]);
}

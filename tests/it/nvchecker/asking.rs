//! What asking costs, and what happens when it goes wrong.

use std::collections::BTreeMap;
use std::path::Path;

use pkgwarden::domain::name::PkgBase;
use pkgwarden::source::ledger::Book;
use pkgwarden::source::nvchecker::{CheckRequest, Newest};

use super::theirs::Real;
use super::upstream::{Served, Upstream};
use super::{config, newest_at, request};

/// When everything here happens.
const NOW: i64 = 1_700_000_000;

fn version(newest: &Newest) -> &str {
    match newest {
        Newest::Found(release) => &release.version,
        Newest::Unknown { error, .. } => panic!("{error}"),
    }
}

fn error(newest: &Newest) -> &str {
    match newest {
        Newest::Unknown { error, .. } => error,
        Newest::Found(release) => panic!("{release:?}"),
    }
}

/// Files of packages, by the name of the package.
fn requests(files: &[(&str, String)]) -> Vec<CheckRequest> {
    files.iter().map(|(name, file)| request(name, &format!("[{name}]\n{file}"))).collect()
}

async fn newest(upstream: &Upstream, dir: &Path, files: &[(&str, String)]) -> BTreeMap<String, Newest> {
    newest_at(&config(upstream, dir), &requests(files), NOW).await
}

fn page(path: &str, body: &str) -> Served {
    Served::text(format!("https://pages.example/{path}"), body)
}

fn regex(path: &str, regex: &str) -> String {
    format!("source = 'regex'\nurl = 'https://pages.example/{path}'\nregex = '''{regex}'''\n")
}

fn headers(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn each_distinct_request_is_made_once_however_many_packages_need_it() {
    let dir = tempfile::tempdir().expect("dir");
    let aur: Vec<_> = (0..150).map(|n| format!(r#"{{"Name":"a{n}","Version":"{n}-1","LastModified":1}}"#)).collect();
    let tags = r#"[{"ref":"refs/tags/v3","object":{"sha":"x"}}]"#;
    let served = vec![
        page("shared", "v1 w2"),
        Served::text("https://aur.archlinux.org/rpc/", format!(r#"{{"results":[{}]}}"#, aur.join(","))),
        Served::text("https://api.github.com/repos/o/r/git/refs/tags", tags),
    ];
    let upstream = Upstream::start(served).await;
    let tags = |prefix: &str| format!("source = 'github'\ngithub = 'o/r'\nuse_max_tag = true\nprefix = '{prefix}'\n");
    let mut files = vec![("p0", regex("shared", r"v(\d)")), ("p1", regex("shared", r"w(\d)"))];
    files.extend([("p2", regex("shared", r"v(\d)")), ("t0", tags("v")), ("t1", tags("")), ("t2", tags("v"))]);
    let names: Vec<String> = (0..150).map(|number| format!("a{number}")).collect();
    files.extend(names.iter().map(|name| (name.as_str(), "source = 'aur'\n".to_owned())));
    let found = newest(&upstream, dir.path(), &files).await;
    let versions = ["p0", "p1", "p2", "t0", "t1", "a7", "a149"].map(|name| version(&found[name]));
    assert_eq!(versions, ["1", "2", "1", "3", "v3", "7-1", "149-1"]);
    assert_eq!(upstream.asked().len(), 4, "a page, the tags, and twice a hundred packages: {:?}", upstream.asked());
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let dir = tempfile::tempdir().expect("dir");
    let tagged = |body: &str, tag: &str| Served { headers: headers(&[("etag", tag)]), ..page("index", body) };
    let upstream = Upstream::start(vec![tagged("v1", "\"one\"")]).await;
    let file = [("foo", regex("index", "v(.*)"))];
    assert_eq!(version(&newest(&upstream, dir.path(), &file).await["foo"]), "1");
    // Another body under the same tag would only be seen if it was sent.
    upstream.serve(tagged("v2", "\"one\""));
    assert_eq!(version(&newest(&upstream, dir.path(), &file).await["foo"]), "1");
    upstream.serve(tagged("v3", "\"three\""));
    assert_eq!(version(&newest(&upstream, dir.path(), &file).await["foo"]), "3");
}

#[tokio::test]
async fn a_host_that_is_asked_too_much_is_left_alone_until_it_says() {
    let dir = tempfile::tempdir().expect("dir");
    let reset = (NOW + 600).to_string();
    let limited = |project: &str| Served {
        status: Some(403),
        headers: headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &reset)]),
        ..Served::text(format!("https://api.github.com/repos/o/{project}/releases/latest"), "")
    };
    let upstream = Upstream::start(vec![limited("r"), limited("other"), page("fine", "v1")]).await;
    let mut config = config(&upstream, dir.path());
    config.parallel = Some(1);
    let release = |project: &str| format!("source = 'github'\ngithub = 'o/{project}'\nuse_latest_release = true\n");
    let files = [("a", release("r")), ("b", release("other")), ("c", regex("fine", "v(.*)"))];
    let found = newest_at(&config, &requests(&files), NOW).await;
    assert_eq!(version(&found["c"]), "1");
    for name in ["a", "b"] {
        let Newest::Unknown { error, retry_at } = &found[name] else { panic!("{name}") };
        assert!(error.contains("is asked too much"), "{error}");
        assert_eq!(retry_at.map(jiff::Timestamp::as_second), Some(NOW + 600));
    }
    assert_eq!(upstream.asked().iter().filter(|asked| asked.contains("github")).count(), 1);
}

/// As for every other source: what fails for good is asked ever more rarely, whoever asks.
#[tokio::test]
async fn what_keeps_failing_rests_longer_and_longer_in_every_process_and_is_asked_at_once_by_another_file() {
    let dir = tempfile::tempdir().expect("dir");
    let upstream = Upstream::start(vec![page("index", "none yet"), page("fine", "v1")]).await;
    let config = config(&upstream, dir.path());
    let at = |hour: i64| NOW + hour * 3600;
    let files = |expression: &str| requests(&[("foo", regex("index", expression)), ("good", regex("fine", "v(.*)"))]);
    let mut asked = Vec::new();
    for hour in 0..10 {
        let before = upstream.asked().len();
        let found = newest_at(&config, &files("v(.*)"), at(hour)).await;
        assert_eq!(version(&found["good"]), "1", "it waits for nobody");
        if upstream.asked().len() - before == 2 {
            asked.push(hour);
        } else {
            assert!(error(&found["foo"]).starts_with("not asked, because it failed "), "{found:?}");
        }
    }
    assert_eq!(asked, [0, 1, 2, 3, 5, 9]);
    let known = || Book::read(&config.cache_dir).version(&PkgBase::new("foo").expect("legal")).cloned();
    let foo = known().expect("known");
    assert_eq!((foo.failures, foo.next.map(jiff::Timestamp::as_second)), (6, Some(at(9 + 8))));
    assert_eq!(version(&newest_at(&config, &files("(none)"), at(10)).await["foo"]), "none", "it is another question");
    let foo = known().expect("known");
    assert_eq!((foo.failures, foo.next, foo.answer.as_deref()), (0, None, Some("version none")));
    newest_at(&config, &files("(none)")[1..], at(11)).await;
    assert_eq!(known(), None, "what is not followed any more is forgotten");
}

#[tokio::test]
async fn a_token_comes_from_the_keyfile_only_and_goes_to_its_host_only() {
    let dir = tempfile::tempdir().expect("dir");
    let release = r#"{"name":"1","tag_name":"v1","html_url":"u"}"#;
    let hosts = ["api.github.com", "api.evil.example"];
    let mut served =
        hosts.map(|host| Served::text(format!("https://{host}/repos/o/r/releases/latest"), release)).to_vec();
    served.push(page("x", "v1"));
    let upstream = Upstream::start(served).await;
    let keyfile = dir.path().join("keys.toml");
    std::fs::write(&keyfile, "[keys]\ngithub = 'good'\n'pages.example' = 'good'\n").expect("written");
    let mut config = config(&upstream, dir.path());
    config.nvchecker.keyfile = Some(keyfile);
    let github = "source = 'github'\ngithub = 'o/r'\nuse_latest_release = true\ntoken = 'bad'\n".to_owned();
    let evil = format!("{github}host = 'evil.example'\n");
    let page = regex("x", "v(.*)") + "httptoken = 'bad'\n";
    newest_at(&config, &requests(&[("a", github), ("b", evil), ("c", page)]), NOW).await;
    let mut asked = upstream.asked();
    asked.sort();
    insta::assert_snapshot!(asked.join("\n"), @"
    GET https://api.evil.example/repos/o/r/releases/latest
    GET https://api.github.com/repos/o/r/releases/latest with token good
    GET https://pages.example/x
    ");
}

#[tokio::test]
async fn a_keyfile_that_cannot_be_read_is_told_once_and_everything_is_asked_without() {
    let dir = tempfile::tempdir().expect("dir");
    let upstream = Upstream::start(vec![page("x", "v1")]).await;
    let mut config = config(&upstream, dir.path());
    config.nvchecker.keyfile = Some("/no/such/keys.toml".into());
    let sources = pkgwarden::source::Sources::new(&config);
    let now = jiff::Timestamp::from_second(NOW).expect("in range");
    let found = sources.pass(now).newest(&requests(&[("a", regex("x", "v(.*)"))]), now).await;
    let told: Vec<_> = found.findings.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["the keyfile /no/such/keys.toml is not used: No such file or directory (os error 2)"]);
    assert!(found.packages.values().all(|newest| version(newest) == "1"));
}

#[tokio::test]
async fn whatever_goes_wrong_is_the_answer_for_that_package_and_for_nobody_else() {
    let dir = tempfile::tempdir().expect("dir");
    let served = vec![page("ok", "v1"), page("many", &"1 ".repeat(60_000)), page("as", &"a".repeat(20_000))];
    let upstream = Upstream::start(served).await;
    upstream.serve(page("j", r#"{"a":[1,2,3]}"#));
    let jq = |filter: &str| format!("source = 'jq'\nurl = 'https://pages.example/j'\nfilter = '''{filter}'''\n");
    let files = [
        ("fine", regex("ok", "v(.*)")),
        ("many", regex("many", r"\d")),
        ("backtracks", regex("as", r"(?:(?=a)a*)*b(\w)\1$")),
        ("never-ends", jq("def f: f; f")),
        ("takes-all", jq("[range(1e12)] | length")),
        ("too-deep", jq("def f: 1 + f; f")),
        ("unknown-source", "source = 'cpan'\n".to_owned()),
        ("not-toml", "source = \n".to_owned()),
        ("git-option", "source = 'git'\ngit = '--upload-pack=id'\n".to_owned()),
        ("git-shell", "source = 'git'\ngit = 'https://git.example/r; id'\n".to_owned()),
        ("runs", "source = 'cmd'\ncmd = 'id'\n".to_owned()),
    ];
    let mut found = newest(&upstream, dir.path(), &files).await;
    assert_eq!(version(&found.remove("fine").expect("asked")), "1");
    let told: Vec<_> = found.iter().map(|(name, newest)| format!("{name}: {}", error(newest))).collect();
    let host = upstream.mirrors()[0].1.split('/').nth(2).expect("a host").to_owned();
    insta::assert_snapshot!(told.join("\n").replace(&host, "HOST"), @r#"
    backtracks: the expression takes too long: Error executing regex: Max limit for backtracking count exceeded
    git-option: nvchecker.toml:3: [git-option]: `git`: address `--upload-pack=id` refused: it has no `scheme://`
    git-shell: nvchecker.toml:3: [git-shell]: `git`: address `https://git.example/r; id` refused: it contains spaces or control characters
    many: the expression finds more than 50000 versions
    never-ends: searching the answer took too much time or memory; write a simpler expression
    not-toml: nvchecker.toml:2: it is not TOML: string values must be quoted, expected literal string
    runs: source = "cmd" runs a command that stands in the file; set sources.nvchecker.commands = true to allow that, in the sandbox
    takes-all: searching the answer took too much time or memory; write a simpler expression
    too-deep: searching the answer took too much time or memory; write a simpler expression
    unknown-source: source = "cpan" is only known to the program nvchecker, which is not installed: install it with `apt install nvchecker` (Debian) or `pacman -S nvchecker` (Arch)
    "#);
}

#[tokio::test]
async fn a_source_that_is_not_known_here_is_left_to_the_real_program_in_a_sandbox() {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let dir = tempfile::Builder::new().permissions(mode).tempdir().expect("dir");
    let Some(program) = Real::find().await.open_to_everybody(dir.path()).await else {
        println!("root's own Python cannot be run by a user without rights: nvchecker is not tried in the sandbox");
        return;
    };
    let upstream = Upstream::start(vec![page("ok", "v1")]).await;
    let mut config = config(&upstream, dir.path());
    config.nvchecker.program = program;
    let file = "source = 'combiner'\nfrom = ['a', 'b']\nformat = '$1+$2'\nprefix = 'v'\n\
                [a]\nsource = 'manual'\nmanual = 'v1'\n[b]\nsource = 'manual'\nmanual = '2'\n";
    let found = newest_at(&config, &requests(&[("foo", file.to_owned())]), NOW).await;
    assert_eq!(version(&found["foo"]), "1+2");
}

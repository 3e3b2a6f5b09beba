//! Reading real repositories: which refs, in how many negotiations, and what is said when it fails.

use super::super::testing::{World, commit, folder};
use super::*;

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn one_question_answers_which_refs_matter() {
    let world = World::new();
    let (hub, _work, first) = world.hub_and_workspace();
    let second = commit(&hub, &[first], &[("a", "2")]);
    for (name, id) in [
        ("refs/heads/main", second),
        ("refs/heads/state", first),
        ("refs/heads/update-foo", second),
        ("refs/heads/update-c++x", first),
        ("refs/heads/update-.bad", first),
        ("refs/heads/other", first),
        ("refs/heads/deep/refs/heads/main", first),
        ("refs/tags/v1", first),
    ] {
        world.set("hub", name, id);
    }
    world.git("hub", &["tag", "-a", "-m", "handed to builds", "scheduled", &first.to_string()]);
    let trace = world.path("trace");
    let refs = world.remote().env("GIT_TRACE2_EVENT", trace.display().to_string()).refs("main").await.expect("answers");
    assert_eq!((refs.branch.as_str(), refs.main, refs.state), ("main", Some(second), Some(first)));
    assert_eq!(refs.scheduled, Some(first), "an annotated tag leads to its commit");
    let reviews: Vec<_> = refs.reviews.iter().map(|(name, id)| (name.as_str(), *id)).collect();
    assert_eq!(reviews, [("c++x", first), ("foo", second)]);
    assert_eq!(upload_packs(&trace), 1);
}

/// How often git asked the remote: each time it starts `upload-pack` there.
fn upload_packs(trace: &std::path::Path) -> usize {
    let trace = std::fs::read_to_string(trace).expect("traced");
    let starts = trace.lines().filter(|line| line.contains(r#""event":"cmd_name""#));
    starts.filter(|line| line.contains(r#""name":"upload-pack""#)).count()
}

#[tokio::test]
async fn an_empty_repository_is_not_an_error() {
    let world = World::new();
    world.bare("hub");
    world.bare("work");
    let refs = world.remote().refs("main").await.expect("answers");
    assert_eq!(refs, Refs { branch: "main".to_owned(), ..Refs::default() });
}

#[tokio::test]
async fn patterns_match_whole_names() {
    let world = World::new();
    let (_hub, _work, first) = world.hub_and_workspace();
    for name in ["refs/heads/a", "refs/heads/ab", "refs/x/refs/heads/a"] {
        world.set("hub", name, first);
    }
    let remote = world.remote();
    let names =
        async |patterns: &[&str]| remote.ls(&strings(patterns)).await.expect("answers").into_keys().collect::<Vec<_>>();
    assert_eq!(names(&["refs/heads/a"]).await, ["refs/heads/a"]);
    assert_eq!(names(&["refs/heads/a*"]).await, ["refs/heads/a", "refs/heads/ab"]);
    assert_eq!(names(&["HEAD", "refs/none"]).await, ["HEAD"]);
    assert_eq!(names(&[]).await.len(), 5);
}

#[tokio::test]
async fn two_hundred_refs_come_in_one_negotiation() {
    let world = World::new();
    let hub = world.bare("hub");
    let work = world.bare("work");
    let mut expected = Vec::new();
    let mut updates = Vec::new();
    for number in 0..200 {
        let tip = commit(&hub, &[], &[("PKGBUILD", &format!("pkgver={number}"))]);
        updates.push(format!("create refs/heads/package-{number} {tip}"));
        expected.push(tip);
    }
    super::super::testing::git(&world.path("hub"), &["update-ref", "--stdin"], (updates.join("\n") + "\n").as_bytes());
    let refspecs: Vec<String> =
        (0..200).map(|number| format!("refs/heads/package-{number}:refs/pkgwarden/aur/package-{number}")).collect();
    let trace = world.path("trace");
    let remote = world.remote().env("GIT_TRACE2_EVENT", trace.display().to_string());
    remote.fetch(&refspecs, Some(1)).await.expect("fetched");
    assert_eq!(upload_packs(&trace), 1);
    let refs = work.refs("refs/").expect("listed");
    assert_eq!(refs.len(), 200, "no tags, no branches of its own");
    for (number, tip) in expected.iter().enumerate() {
        assert_eq!(refs.get(&format!("refs/pkgwarden/aur/package-{number}")), Some(tip));
        let read = work.folder(work.tree_of(*tip).expect("tree"), &super::super::Limits::default()).expect("read");
        assert_eq!(read, folder(&[("PKGBUILD", &format!("pkgver={number}"))]));
    }
    assert!(!world.path("work/FETCH_HEAD").exists());
}

#[tokio::test]
async fn a_fetched_ref_follows_a_branch_that_was_rewritten() {
    let world = World::new();
    let (hub, work, first) = world.hub_and_workspace();
    let refspec = strings(&["refs/heads/main:refs/hub/main"]);
    world.remote().fetch(&refspec, None).await.expect("fetched");
    assert_eq!(work.resolve("refs/hub/main").expect("there"), Some(first));
    let rewritten = commit(&hub, &[], &[("other", "root")]);
    world.set("hub", "refs/heads/main", rewritten);
    world.remote().fetch(&refspec, None).await.expect("fetched");
    assert_eq!(work.resolve("refs/hub/main").expect("there"), Some(rewritten));
    let by_id = commit(&hub, &[rewritten], &[("by", "id")]);
    world.set("hub", "refs/hidden/x", by_id);
    world.bare("other");
    let other = Remote::new(world.path("other"), world.path("hub").display().to_string());
    other.fetch(&[by_id.to_string()], None).await.expect("fetched by its id");
    assert!(Repository::open(&world.path("other")).expect("opened").contains(by_id));
}

#[tokio::test]
async fn a_missing_ref_is_reported_and_the_others_can_still_be_had() {
    let world = World::new();
    let (_hub, work, first) = world.hub_and_workspace();
    let refspecs =
        strings(&["refs/heads/gone:refs/x/gone", "refs/heads/main:refs/x/main", "refs/heads/lost:refs/x/lost"]);
    let error = world.remote().fetch(&refspecs, None).await.expect_err("missing");
    assert!(matches!(&error, GitError::MissingRefs { refs, .. } if refs == &["refs/heads/gone"]), "{error}");
    assert_eq!(work.refs("refs/x/").expect("listed").len(), 0);
    let missing = world.remote().fetch_existing(&refspecs, None).await.expect("fetched");
    assert_eq!(missing, [refspecs[0].clone(), refspecs[2].clone()]);
    assert_eq!(work.resolve("refs/x/main").expect("there"), Some(first));
    let missing = world.remote().fetch_existing(&refspecs[1..2], None).await.expect("fetched");
    assert_eq!(missing, Vec::<String>::new());
    world.remote().fetch(&[], None).await.expect("nothing to do");
}

#[tokio::test]
async fn a_remote_that_cannot_be_reached_is_named_with_a_remedy() {
    let world = World::new();
    world.bare("work");
    let nowhere = world.path("nowhere").display().to_string();
    let to = |url: &str| Remote::new(world.path("work"), url.to_owned());
    let error = to(&nowhere).refs("main").await.expect_err("nothing there");
    assert!(matches!(error, GitError::Unreachable { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "{nowhere} cannot be reached: '{nowhere}' does not appear to be a git repository; Could not read from \
             remote repository.; check that the address is right and the repository exists"
        )
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://bot:hunter2@{}/x.git", listener.local_addr().expect("address"));
    let silent = to(&url).timeout(Duration::from_millis(300)).ls(&[]).await.expect_err("no answer");
    assert!(matches!(&silent, GitError::Unreachable { message, .. } if message == "no end after 0.3 s"), "{silent}");
    // Taken, so that nobody else comes to listen there.
    let taken = tokio::net::TcpSocket::new_v4().expect("a socket");
    taken.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let url = format!("http://bot:hunter2@{}/x.git", taken.local_addr().expect("address"));
    let error = to(&url).ls(&[]).await.expect_err("nobody listens");
    assert!(matches!(&error, GitError::Unreachable { hint, .. } if hint.contains("the server runs")), "{error}");
    assert!(!format!("{error} {error:?} {silent:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_token_reaches_the_server_and_nobody_else() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::new();
    world.bare("work");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}/x.git", listener.local_addr().expect("address"));
    let trace = world.path("trace");
    let remote = Remote::new(world.path("work"), url).token("bot", "hunter2".into());
    let remote = remote.env("GIT_TRACE2_EVENT", trace.display().to_string());
    let serve = async {
        let (mut stream, _) = listener.accept().await.expect("asked");
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.expect("read");
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.expect("answered");
        String::from_utf8_lossy(&request[..read]).into_owned()
    };
    let (answer, request) = tokio::join!(remote.ls(&[]), serve);
    assert!(request.contains("Authorization: Basic Ym90Omh1bnRlcjI="), "{request}");
    let error = answer.expect_err("forbidden");
    assert!(error.to_string().ends_with("check the token and what it is allowed to do"), "{error}");
    let trace = std::fs::read_to_string(trace).expect("traced");
    assert!(!trace.contains("hunter2") && !trace.contains("Ym90Omh1bnRlcjI="));
}

#[tokio::test]
async fn settings_a_ci_system_left_in_the_clone_are_used() {
    let world = World::new();
    let hub = world.bare("hub");
    world.bare("work");
    world.git("hub", &["config", "http.https://example.org/.extraheader", "AUTHORIZATION: basic abc"]);
    world.git("hub", &["config", "core.sshCommand", "ssh -i key"]);
    world.git("hub", &["config", "alias.x", "!touch pwned"]);
    let remote = world.remote().settings_of(&hub);
    let keys: Vec<&str> = remote.settings.iter().map(|setting| setting.key.as_str()).collect();
    assert_eq!(keys, ["core.sshcommand", "http.https://example.org/.extraheader"]);
    assert!(!format!("{remote:?}").contains("basic abc"));
    remote.ls(&[]).await.expect("still works");
}

#[tokio::test]
async fn a_remote_may_be_called_by_the_name_the_workspace_knows() {
    let world = World::new();
    let (_hub, _work, first) = world.hub_and_workspace();
    world.git("work", &["config", "remote.origin.url", "../hub"]);
    let origin = Remote::new(world.path("work"), "origin".to_owned());
    assert_eq!(origin.refs("main").await.expect("answers").main, Some(first));
}

#[tokio::test]
async fn packs_do_not_pile_up_in_the_workspace() {
    let world = World::new();
    let (_hub, work, first) = world.hub_and_workspace();
    let mut last = first;
    for number in 0..55 {
        let files: Vec<(String, String)> = (0..70).map(|it| (format!("f{it}"), format!("{number} {it}"))).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        last = work.write_at_once(|work| Ok::<_, GitError>(commit(work, &[last], &files))).expect("written");
    }
    world.set("work", "refs/keep", last);
    let packs = || std::fs::read_dir(world.path("work/objects/pack")).expect("there").count();
    let before = packs();
    world.remote().tidy_workspace().await.expect("tidied");
    assert!(packs() < 10 && before > 100, "{before} files, then {}", packs());
    assert_eq!(work.history(Some(first), last).expect("all there, also for who had it open").len(), 55);
}

#[tokio::test]
async fn nothing_is_smuggled_into_the_arguments() {
    let world = World::new();
    let (_hub, _work, _first) = world.hub_and_workspace();
    for name in ["--upload-pack=touch pwned", "-x", "a\nb", "", "a..b", "refs/heads/a b", "a:b:c"] {
        let refused = |error: GitError| matches!(error, GitError::RefusedRef { .. });
        assert!(refused(world.remote().ls(&strings(&[name])).await.expect_err(name)), "{name}");
        assert!(refused(world.remote().fetch(&strings(&[name]), None).await.expect_err(name)), "{name}");
        let target = format!("refs/heads/main:{name}");
        assert!(refused(world.remote().fetch(&[target], None).await.expect_err(name)), "{name}");
    }
    let bad = Remote::new(world.path("work"), "ext::sh -c touch% pwned".to_owned());
    assert!(matches!(bad.ls(&[]).await, Err(GitError::RefusedUrl { .. })));
    // Even if an address got that far, git is told which transports there are.
    let address = Address::parse("/x").expect("legal");
    let output = bad.git(&address).args(["ls-remote", "ext::sh -c touch% pwned"]).run().await.expect("runs");
    assert!(output.stderr_text().contains("transport 'ext' not allowed"), "{}", output.stderr_text());
}

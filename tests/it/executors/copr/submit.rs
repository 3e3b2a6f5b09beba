//! What COPR is asked, and that it is asked once.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use pkgwarden::domain::build::Outcome;
use pkgwarden::domain::copr::Project;
use pkgwarden::domain::folder::Folder;
use pkgwarden::executor::api::ApiError;
use pkgwarden::executor::copr::client::Client;
use pkgwarden::executor::copr::login::Login;
use pkgwarden::executor::copr::method::Method;
use pkgwarden::executor::copr::wire::{Options, Source};
use pkgwarden::executor::copr::{CoprError, CoprExecutor};
use pkgwarden::executor::{AttemptReport, BuildOrder, Ending, Executor as _, ExecutorError, Handle};
use serde_json::json;
use url::Url;

use super::super::conformance;
use super::{CHROOT, open, open_with, script};
use crate::support::copr::{Build, Copr, Fault, Style};

fn order(attempt: &str) -> BuildOrder {
    conformance::order(attempt, Folder::default().with("PKGBUILD", "x").with("small.src.rpm", "an srpm"), Vec::new())
}

fn scm() -> Method {
    Method::Scm { clone_url: None, spec: "{pkgbase}.spec".to_owned(), srpm: "make_srpm".to_owned() }
}

/// A COPR that builds everything at once.
async fn quick() -> Copr {
    let copr = Copr::start(Style::Lighttpd).await;
    copr.live(at_once);
    copr
}

fn at_once(build: &mut Build) {
    if build.chroots.is_empty() {
        build.imported(&[CHROOT]);
        build.chroot(CHROOT).run();
        build.chroot(CHROOT).live.print("built\n");
        build.chroot(CHROOT).end("succeeded");
    }
}

async fn built(copr: &Copr, method: Method, order: BuildOrder) -> AttemptReport {
    let dir = tempfile::tempdir().unwrap();
    let (executor, _) = open(copr, dir.path(), method);
    let handle = executor.submit(order).await.unwrap();
    executor.finished(&handle).await.unwrap()
}

fn succeeded(report: &AttemptReport) {
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}");
}

#[tokio::test]
async fn each_method_asks_for_the_commit_in_its_way() {
    let copr = quick().await;
    succeeded(&built(&copr, scm(), order("1-1")).await);
    let url = "https://h.example/{pkgbase}-{commit}.src.rpm".to_owned();
    succeeded(&built(&copr, Method::Url(url), order("1-2")).await);
    succeeded(&built(&copr, Method::Upload, order("1-3")).await);
    let dir = tempfile::tempdir().unwrap();
    succeeded(&built(&copr, script(dir.path()), BuildOrder { proposal: Some(5), ..order("1-4") }).await);
    let world = copr.world();
    let [by_scm, by_url, by_upload, by_script] = world.builds.as_slice() else { panic!("{}", world.builds.len()) };
    let commit = "0707070707070707070707070707070707070707";
    assert_eq!(
        by_scm.asked,
        json!({"ownername": "me", "projectname": "tools", "clone_url": "https://git.example/packages.git", "committish": commit,
               "subdirectory": "small", "spec": "small.spec", "scm_type": "git", "source_build_method": "make_srpm",
               "timeout": 600})
    );
    assert_eq!(by_url.asked["pkgs"], json!([format!("https://h.example/small-{commit}.src.rpm")]));
    assert_eq!(
        (by_upload.upload.as_slice(), &by_upload.source_dict["pkg"]),
        (&b"an srpm"[..], &json!("pkgwarden-1-3.src.rpm"))
    );
    assert_eq!(by_script.asked["project_dirname"], "tools:pr:5", "what people propose is published apart");
    let text = by_script.asked["script"].as_str().unwrap();
    assert!(
        text.starts_with("#!/bin/bash\nexport PKGWARDEN_ATTEMPT='1-4'\n") && text.ends_with("\"$PKGWARDEN_URL\"\n"),
        "{text}"
    );
}

#[tokio::test]
async fn what_cannot_be_asked_for_says_why() {
    let copr = quick().await;
    let dir = tempfile::tempdir().unwrap();
    let refused = async |method: Method, order: BuildOrder| {
        let (executor, _) = open(&copr, dir.path(), method);
        match executor.submit(order).await {
            Err(ExecutorError::BadOrder { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    };
    let reason = refused(scm(), BuildOrder { url: None, ..order("1-1") }).await;
    assert!(reason.contains("executor.copr.clone_url"), "{reason}");
    let reason = refused(Method::Url("https://h/{version}.src.rpm".into()), order("1-2")).await;
    assert!(reason.contains("is not known before it is built"), "{reason}");
    let reason = refused(Method::Upload, BuildOrder { files: Folder::default(), ..order("1-3") }).await;
    assert!(reason.contains("holds 0 files *.src.rpm"), "{reason}");
    assert_eq!(copr.world().asked.len(), 0);
}

#[tokio::test]
async fn a_build_whose_answer_is_lost_is_found_and_not_asked_for_again() {
    let copr = quick().await;
    let dir = tempfile::tempdir().unwrap();
    copr.world().ail("POST", [Fault::Lost]);
    succeeded(&built(&copr, scm(), order("1-1")).await);
    copr.world().ail("POST", [Fault::Lost]);
    succeeded(&built(&copr, script(dir.path()), order("1-2")).await);
    assert_eq!(copr.world().builds.len(), 2);
    assert_eq!(copr.world().asked_for("/build/create/").len(), 2);
}

#[tokio::test]
async fn what_others_asked_for_is_not_ours() {
    let copr = quick().await;
    let dir = tempfile::tempdir().unwrap();
    let (executor, logs) = open(&copr, dir.path(), scm());
    // Each answer is lost, and somebody else builds the same at the same time.
    copr.world().ail("POST", [Fault::Lost, Fault::Lost]);
    let mut foreign = false;
    copr.live(move |build| {
        foreign |= build.submitter != "me";
        assert!(!foreign, "nobody looks at what is not ours");
        at_once(build);
    });
    let handles = [executor.submit(order("1-1")).await.unwrap(), executor.submit(order("1-2")).await.unwrap()];
    for handle in &handles {
        succeeded(&executor.finished(handle).await.unwrap());
    }
    let first_line = |attempt: &str| {
        let log = String::from_utf8(logs.read(attempt, 0, usize::MAX).unwrap()).unwrap();
        log.lines().find(|line| line.starts_with("==> build ")).unwrap().to_owned()
    };
    assert_ne!(first_line("1-1"), first_line("1-2"), "the same sources, and each its own build");
    assert_eq!(copr.world().builds.len(), 2);
}

#[tokio::test]
async fn killed_after_any_request_nothing_is_lost_and_nothing_is_built_twice() {
    for requests in 0..9 {
        let copr = quick().await;
        let dir = tempfile::tempdir().unwrap();
        let login = Login::read(&copr.login(dir.path())).unwrap();
        let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (login_there, dir_there) = (login.clone(), dir.path().to_owned());
        let handle = process
            .spawn(async move {
                let (executor, _) = open_with(login_there, &dir_there, scm());
                executor.submit(order("1-1")).await.unwrap()
            })
            .await
            .unwrap();
        while copr.world().asked.len() < requests {
            tokio::task::yield_now().await;
        }
        conformance::end_at_once(process);

        let (executor, logs) = open_with(login, dir.path(), scm());
        // As after a start: whoever asked does not know whether it was taken.
        let report = executor.finished(&handle).await.unwrap();
        succeeded(&report);
        assert_eq!(copr.world().builds.len(), 1, "after {requests} requests");
        let log = String::from_utf8(logs.read("1-1", 0, usize::MAX).unwrap()).unwrap();
        assert_eq!(log.matches("] built\n").count(), 1, "after {requests} requests: {log}");
    }
}

#[tokio::test]
async fn what_copr_refuses_is_told_with_a_remedy_and_tried_again_later() {
    let copr = quick().await;
    for (fault, said) in [
        (Fault::Status(401), "logins end after 180 days"),
        (Fault::Status(403), "ask the owner of the project"),
        (Fault::Status(404), "status 404"),
    ] {
        copr.world().ail("POST", [fault]);
        let report = built(&copr, scm(), order("1-1")).await;
        assert_eq!(report.ending, Ending::Infrastructure);
        assert!(report.message.contains(said) && !report.message.contains("<html>"), "{report:?}");
    }
    assert_eq!(copr.world().builds.len(), 0);
    // Who is told to come again does, and is not taken for another one.
    copr.world().ail("POST", [Fault::Later(429, 0), Fault::Later(429, 0)]);
    succeeded(&built(&copr, scm(), order("1-2")).await);
    assert_eq!(copr.world().builds.len(), 1);
}

#[tokio::test]
async fn what_copr_says_is_understood() {
    let copr = quick().await;
    let dir = tempfile::tempdir().unwrap();
    let login = Login::read(&copr.login(dir.path())).unwrap();
    let client = Client::new(login.url.clone(), Some(login)).unwrap();
    assert_eq!(client.who_am_i().await.unwrap(), "me");
    let project = Project::parse("me/tools").unwrap();
    let options = Options { chroots: vec!["nope-x86_64".into()], ..Options::default() };
    let refused = client.submit(&project, &Source::Url("x.src.rpm".into()), &options).await.unwrap_err();
    assert!(refused.to_string().contains("'nope-x86_64' is not a valid choice"), "{refused}");
    assert!(matches!(refused, CoprError::Api(ApiError::Refused { status: 400, .. })) && !refused.may_have_worked());
    let ids = client.submit(&project, &Source::Url("x.src.rpm".into()), &Options::default()).await.unwrap();
    assert_eq!(ids, [101], "an answer that is a list");
    assert_eq!(client.source_stage(101).await.unwrap(), None, "an error, until there is a place");
    client.cancel(101).await.unwrap();
    client.cancel(101).await.expect("409 says that it is over");
    assert!(client.build(999).await.unwrap_err().is_gone());
    let anonymous = Client::new(Url::parse(&copr.url).unwrap(), None).unwrap();
    assert!(matches!(anonymous.submit(&project, &Source::Url("x".into()), &options).await, Err(CoprError::NoLogin)));
    assert_eq!(anonymous.build(101).await.unwrap().id, 101);
}

#[tokio::test]
async fn a_login_goes_nowhere_else() {
    let (copr, elsewhere) = (quick().await, quick().await);
    let dir = tempfile::tempdir().unwrap();
    let login = Login::read(&copr.login(dir.path())).unwrap();
    let insecure = Client::new(Url::parse("http://copr.example").unwrap(), Some(login.clone())).unwrap_err();
    assert!(matches!(insecure, CoprError::Api(ApiError::Insecure { .. })), "{insecure}");
    copr.world().ail("GET /api_3/auth-check", [Fault::Redirect(format!("{}/api_3/auth-check", elsewhere.url))]);
    let client = Client::new(login.url.clone(), Some(login)).unwrap();
    let moved = client.who_am_i().await.unwrap_err();
    assert!(moved.to_string().contains(&elsewhere.url), "{moved}");
    assert_eq!(elsewhere.world().asked.len(), 0);
    let sent = base64::engine::general_purpose::STANDARD.encode("me-login:me-token");
    assert_eq!(copr.world().asked[0].authorization.as_deref(), Some(format!("Basic {sent}").as_str()));
    assert!(!format!("{client:?} {moved:?}").contains("me-token"));
}

#[tokio::test]
async fn a_build_that_waits_for_copr_can_be_cancelled() {
    let copr = quick().await;
    let dir = tempfile::tempdir().unwrap();
    copr.world().ail("GET /api_3/build/list", vec![Fault::Status(503); 100_000]);
    let (executor, _) = open(&copr, dir.path(), scm());
    let handle = executor.submit(order("1-1")).await.unwrap();
    while copr.world().asked.is_empty() {
        tokio::task::yield_now().await;
    }
    executor.cancel(&handle).await.unwrap();
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Cancelled), "{report:?}");
    assert_eq!(copr.world().builds.len(), 0);
}

/// The end of a build that nothing may hold up.
async fn soon(executor: &CoprExecutor, handle: &Handle) -> AttemptReport {
    let ended = tokio::time::timeout(Duration::from_mins(1), executor.finished(handle)).await;
    ended.expect("it ends").unwrap()
}

#[tokio::test]
async fn a_build_that_waits_for_its_turn_can_be_cancelled() {
    let copr = quick().await;
    let dir = tempfile::tempdir().unwrap();
    copr.world().ail("GET /api_3/build/list", vec![Fault::Later(503, u64::MAX); 100]);
    let (executor, _) = open(&copr, dir.path(), scm());
    for attempt in ["1-1", "1-2"] {
        executor.submit(order(attempt)).await.unwrap();
    }
    while copr.world().asked.is_empty() {
        tokio::task::yield_now().await;
    }
    for attempt in ["1-2", "1-1"] {
        let handle = Handle { executor: "copr".into(), attempt: attempt.into() };
        executor.cancel(&handle).await.unwrap();
        let report = soon(&executor, &handle).await;
        assert_eq!(report.ending, Ending::Done(Outcome::Cancelled), "{attempt}: {report:?}");
    }
}

#[tokio::test]
async fn who_has_to_come_again_lets_others_have_their_turn() {
    let copr = quick().await;
    let dir = tempfile::tempdir().unwrap();
    for requests in ["GET /api_3/build/list", "POST /api_3/build/create"] {
        copr.world().ail(requests, [Fault::Later(429, 3600)]);
    }
    let (executor, _) = open(&copr, dir.path(), scm());
    for attempt in ["1-1", "1-2"] {
        executor.submit(order(attempt)).await.unwrap();
    }
    // The first two are sent away.
    while copr.world().asked.len() < 3 {
        tokio::task::yield_now().await;
    }
    let handle = executor.submit(order("1-3")).await.unwrap();
    succeeded(&soon(&executor, &handle).await);
    assert_eq!(copr.world().builds.len(), 1);
}

#[tokio::test]
async fn what_copr_has_built_before_is_already_built() {
    let copr = Copr::start(Style::Nginx).await;
    copr.live(|build| {
        build.imported(&[CHROOT]);
        build.chroot(CHROOT).state = "skipped";
    });
    let report = built(&copr, scm(), order("1-1")).await;
    assert_eq!(report.ending, Ending::Done(Outcome::AlreadyBuilt), "{report:?}");
    let handle = Handle { executor: "copr".into(), attempt: "9-9".into() };
    let dir = tempfile::tempdir().unwrap();
    let (executor, _) = open(&copr, dir.path(), scm());
    let unknown = Arc::new(executor).finished(&handle).await.unwrap();
    assert_eq!(unknown.ending, Ending::Infrastructure, "nobody ever asked for it");
}

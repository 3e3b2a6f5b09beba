//! What is found on a machine that is well, and on one that lacks something.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::config::settings;
use crate::git::Repository as Git;

pub(super) fn load(text: &str) -> Settings {
    settings::load(Some(("pkgwarden.toml", text)), &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"))
}

fn statuses(checks: &[Check]) -> Vec<(&str, Status)> {
    checks.iter().map(|check| (check.subject.as_str(), check.status)).collect()
}

#[tokio::test]
async fn only_git_is_needed_where_nothing_is_built() {
    let checks = tools(None).await;
    assert_eq!(statuses(&checks), [("git", Status::Ok)]);
    let checks = tools(Some("nobody")).await;
    assert!(checks.iter().any(|check| check.area == "sandbox"), "{checks:#?}");
}

#[test]
fn an_old_git_is_refused() {
    let report = |detail: &str| probe::ToolReport {
        tool: "git",
        usable: true,
        detail: format!("git version {detail}"),
        remedy: None,
    };
    assert_eq!(tool(report("2.31.0")).status, Status::Ok);
    assert_eq!(tool(report("3.0.1 (Apple)")).status, Status::Ok);
    let old = tool(report("2.30.9"));
    assert_eq!((old.status, old.hint.as_str()), (Status::Error, "install git 2.31 or newer"));
}

#[test]
fn what_could_be_better_is_a_warning() {
    let (detail, remedy) = ("works as nobody, but …".to_owned(), Some("install bubblewrap 0.8 or newer".to_owned()));
    let check = tool(probe::ToolReport { tool: "sandbox", usable: true, detail, remedy });
    assert_eq!(
        (check.area, check.status, check.hint.as_str()),
        ("sandbox", Status::Warning, "install bubblewrap 0.8 or newer")
    );
}

#[test]
fn a_directory_may_be_made_later_and_nothing_is_left_in_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let checks = directory("x", &dir.path().join("not/yet"), None);
    assert!(checks.iter().all(|check| check.status != Status::Error), "{checks:#?}");
    assert!(checks[0].detail.ends_with("will be created"), "{checks:#?}");
    assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0);
}

#[test]
fn a_file_in_the_place_of_a_directory_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    let checks = directory("x", &file.join("data"), None);
    assert_eq!(checks.len(), 1);
    assert_eq!(checks[0].detail, format!("{} is not a directory", file.display()));
}

#[test]
fn a_directory_the_build_user_cannot_enter_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).expect("mode");
    let stranger = BuildUser { uid: 4_000_000, gid: 4_000_000, switch: true };
    let checks = directory("server.data_dir", &dir.path().join("data"), Some(&stranger));
    let closed = checks.last().expect("checks");
    assert_eq!(closed.status, Status::Error);
    assert!(closed.detail.starts_with("the build user 4000000:4000000 cannot enter"), "{closed:?}");
}

#[test]
fn a_file_for_a_token_that_is_not_there_is_an_error() {
    let elsewhere = "[executor]\nkind = \"none\"\n";
    let found = configuration(&load(&format!("[server]\ntoken_file = \"/nowhere/token\"\n{elsewhere}")));
    assert_eq!(statuses(&found), [("server.token_file", Status::Error)]);
    assert!(found.iter().all(|check| !check.hint.is_empty()));
    assert_eq!(configuration(&load(elsewhere)), []);
}

#[test]
fn a_program_that_is_not_there_is_an_error_and_pages_that_builders_cannot_reach_are_a_warning() {
    let command = |program: &str| format!("executor = {{ kind = \"command\", command.program = \"{program}\" }}\n");
    let [found] = configuration(&load(&command("/nowhere/build"))).try_into().expect("one");
    let Check { subject, status, detail, .. } = found;
    assert_eq!((subject.as_str(), status), ("executor.command.program", Status::Error));
    assert!(detail.starts_with("`/nowhere/build` cannot be started: No such file"), "{detail}");
    assert_eq!(statuses(&configuration(&load(&command("sh")))), [("executor.command.program", Status::Ok)]);
    let fleet = "[executor]\nkind = \"bullmq\"\n";
    assert_eq!(statuses(&configuration(&load(fleet))), [("server.public_url", Status::Warning)]);
    let known = format!("server.public_url = \"https://builds.example/\"\n{fleet}");
    assert_eq!(configuration(&load(&known)), []);
}

#[test]
fn builds_that_find_no_packages_of_the_distribution_are_a_warning() {
    let here = "[[repository]]\nname = \"own\"\nurl = \"/srv/own.git\"\n";
    let core = "[[executor.local.repository]]\nname = \"core\"\nserver = \"https://mirror.example/core\"\n";
    let arch = format!("{core}sig_level = \"Required\"\n");
    let found = configuration(&load(here));
    assert_eq!(statuses(&found), [("executor.local.repository of own", Status::Warning)]);
    assert_eq!(configuration(&load(&format!("{here}{arch}"))), []);
    assert_eq!(configuration(&load(&format!("{here}[executor]\nkind = \"none\"\n"))), []);
}

#[test]
fn a_token_that_others_can_read_is_a_warning() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::set_permissions(file.path(), Permissions::from_mode(0o644)).expect("mode");
    assert_eq!(secret_file("x", file.path()).status, Status::Warning);
    fs::set_permissions(file.path(), Permissions::from_mode(0o600)).expect("mode");
    assert_eq!(secret_file("x", file.path()).status, Status::Ok);
}

#[tokio::test]
async fn a_remote_without_commits_says_what_it_lacks() {
    let dir = tempfile::tempdir().expect("a directory");
    let (hub, workspace) = (dir.path().join("hub.git"), dir.path().join("workspace.git"));
    for path in [&hub, &workspace] {
        Git::create_workspace(path, None).expect("made");
    }
    let checks = remote("packages", &Remote::new(workspace, hub.display().to_string()), "main").await;
    let found: Vec<_> = checks.iter().map(|check| (check.status, check.detail.as_str())).collect();
    assert_eq!(
        found,
        [
            (Status::Ok, "it answers"),
            (Status::Error, "it has no branch main"),
            (Status::Warning, "it has no tag scheduled"),
            (Status::Ok, "it has no branch state yet; the first on-schedule run makes it"),
        ]
    );
}

#[tokio::test]
async fn a_remote_that_is_not_there_is_one_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let workspace = dir.path().join("workspace.git");
    Git::create_workspace(&workspace, None).expect("made");
    let address = dir.path().join("nowhere.git").display().to_string();
    let checks = remote("packages", &Remote::new(workspace.clone(), address.clone()), "main").await;
    assert_eq!(statuses(&checks), [("packages", Status::Error)]);
    assert_eq!(aur_mirror(&Remote::new(workspace, address)).await.status, Status::Error);
}

#[tokio::test]
async fn an_index_that_answers_something_else_is_an_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}/index", listener.local_addr().expect("an address"));
    let answers = ["200 OK", "404 Not Found"];
    let server = tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let asked = stream.read(&mut [0; 4096]).await.expect("a request");
            assert!(asked > 0);
            let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
    });
    assert_eq!(aur_index(&url, "X").await.status, Status::Ok);
    assert_eq!(aur_index(&url, "X").await.detail, "X answers 404 Not Found");
    server.await.expect("done");
    let gone = aur_index(&url, "X").await;
    assert_eq!(gone.status, Status::Error);
    assert!(gone.detail.starts_with("X cannot be reached: "), "{gone:?}");
}

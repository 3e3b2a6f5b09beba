//! What git printed in the cases that we met, and lines that it would never print.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const A: &str = "6756354ef5cab42f3cceb48b48888c6481309998";
const B: &str = "4ea522939b9fe10aeb3895b135f5e951ebb45304";

fn id(text: &str) -> Oid {
    text.parse().expect("an id")
}

#[test]
fn a_full_disk_is_the_one_of_this_machine_unless_the_remote_says_so() {
    let here = "error: unable to write loose object file: No space left on device\nfatal: unpack-objects failed";
    assert!(says_full(here));
    assert!(!says_full("remote: fatal: write error: No space left on device\nfatal: the remote end hung up"));
}

#[test]
fn refs_of_a_remote_are_read_with_annotated_tags() {
    let text = format!("{A}\tHEAD\n{A}\trefs/heads/main\n{B}\trefs/tags/scheduled\n{A}\trefs/tags/scheduled^{{}}\n");
    let refs = ls_remote(&text).expect("well formed");
    let seen: Vec<_> = refs.iter().map(|one| (one.name.as_str(), one.id, one.peeled)).collect();
    let expected = [
        ("HEAD", id(A), false),
        ("refs/heads/main", id(A), false),
        ("refs/tags/scheduled", id(B), false),
        ("refs/tags/scheduled", id(A), true),
    ];
    assert_eq!(seen, expected);
    assert_eq!(ls_remote("").expect("an empty repository"), []);
}

#[test]
fn a_line_that_is_not_a_ref_is_not_passed_over() {
    let sha256 = format!("{}\trefs/heads/main", "a".repeat(64));
    for line in [sha256.as_str(), "nonsense", &format!("{A}\t"), &format!("{A} refs/heads/main"), "\u{1b}[2J"] {
        let text = format!("{A}\tHEAD\n{line}\n");
        assert_eq!(ls_remote(&text), Err(line.escape_debug().to_string()));
    }
}

/// Stdout and stderr of a push, its refs as they were read, and which of them were stale.
type PushCase = (&'static str, &'static str, &'static [(&'static str, bool, &'static str)], &'static [&'static str]);

/// What `git push --porcelain` 2.47 printed, and what it means.
const PUSHES: &[PushCase] = &[
    (
        "To ../up.git\n*\t6756354:refs/heads/main\t[new branch]\n+\t6756354:refs/tags/scheduled\t6756354...4ea5229 \
         (forced update)\n=\t6756354:refs/heads/x\t[up to date]\n \t6756354:refs/heads/y\t6756354..4ea5229\n\
         -\t:refs/heads/z\t[deleted]\nDone\n",
        "",
        &[
            ("refs/heads/main", true, ""),
            ("refs/tags/scheduled", true, ""),
            ("refs/heads/x", true, ""),
            ("refs/heads/y", true, ""),
            ("refs/heads/z", true, ""),
        ],
        &[],
    ),
    (
        "To ../up.git\n!\t33c25b0:refs/heads/main\t[rejected] (stale info)\n\
         !\t33c25b0:refs/heads/new\t[rejected] (atomic push failed)\nDone\n",
        "error: atomic push failed for ref refs/heads/main. status: 7\nfatal: the remote end hung up unexpectedly",
        &[("refs/heads/main", false, "stale info"), ("refs/heads/new", false, "atomic push failed")],
        &["refs/heads/main"],
    ),
    (
        "To ../up.git\n!\t(delete):refs/heads/new\t[rejected] (stale info)\nDone\n",
        "",
        &[("refs/heads/new", false, "stale info")],
        &["refs/heads/new"],
    ),
    (
        "!\t4ea5229:refs/heads/main\t[remote rejected] (atomic transaction failed)\n\
         !\t6756354:refs/tags/scheduled\t[remote rejected] (atomic transaction failed)\n",
        "remote: error: cannot lock ref 'refs/heads/main': is at 6756354ef5cab42f3cceb48b48888c6481309998 but \
         expected 33c25b0758407f627e619b90539be4aeeffb1237        \nerror: failed to push some refs to '../up.git'",
        &[
            ("refs/heads/main", false, "atomic transaction failed"),
            ("refs/tags/scheduled", false, "atomic transaction failed"),
        ],
        &["refs/heads/main"],
    ),
    (
        "!\t4ea5229:refs/heads/fresh\t[remote rejected] (atomic transaction failed)\n",
        "remote: error: cannot lock ref 'refs/heads/fresh': reference already exists        ",
        &[("refs/heads/fresh", false, "atomic transaction failed")],
        &["refs/heads/fresh"],
    ),
    (
        "!\t4ea5229:refs/heads/main\t[remote rejected] (pre-receive hook declined)\n",
        "remote: no way        \nerror: failed to push some refs to '../up.git'",
        &[("refs/heads/main", false, "pre-receive hook declined")],
        &[],
    ),
    (
        "!\t33c25b0:refs/heads/a/b\t[remote rejected] (atomic transaction failed)\n",
        "remote: error: cannot lock ref 'refs/heads/a': cannot process 'refs/heads/a' and 'refs/heads/a/b' at the \
         same time",
        &[("refs/heads/a/b", false, "atomic transaction failed")],
        &[],
    ),
];

#[test]
fn the_report_of_a_push_is_read() {
    for (stdout, stderr, refs, moved) in PUSHES {
        let report = push(stdout);
        let seen: Vec<_> = report.iter().map(|it| (it.name.as_str(), it.accepted, it.reason.as_str())).collect();
        assert_eq!(seen, *refs, "{stdout}");
        assert_eq!(stale(&report, stderr), *moved, "{stdout}");
    }
}

#[test]
fn a_failure_is_told_in_one_line_with_a_remedy() {
    let no_repository = "fatal: '/nowhere' does not appear to be a git repository\nfatal: Could not read from remote \
         repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.";
    let no_host = "ssh: Could not resolve hostname nohost.invalid: Name or service not known\nfatal: Could not read \
         from remote repository.";
    let no_server = "fatal: unable to access 'http://127.0.0.1:9/x/': Failed to connect to 127.0.0.1 port 9 after 0 \
         ms: Couldn't connect to server";
    let no_daemon = "fatal: unable to connect to 127.0.0.1:\n127.0.0.1[0: 127.0.0.1]: errno=Connection refused";
    let no_token = "fatal: could not read Username for 'https://github.com': terminal prompts disabled";
    let no_transport = "fatal: transport 'ext' not allowed";
    for (stderr, said, remedy) in [
        (
            no_repository,
            "'/nowhere' does not appear to be a git repository; Could not read from remote repository.",
            Some("check that the address is right and the repository exists"),
        ),
        (
            no_host,
            "ssh: Could not resolve hostname nohost.invalid: Name or service not known; Could not read from \
         remote repository.",
            Some("check the name of the host and the name service of this machine"),
        ),
        (no_server, &no_server[7..], Some("check that the server runs and that no firewall or proxy is in the way")),
        (
            no_daemon,
            "unable to connect to 127.0.0.1:; 127.0.0.1[0: 127.0.0.1]: errno=Connection refused",
            Some("check that the server runs and that no firewall or proxy is in the way"),
        ),
        (no_token, &no_token[7..], Some("check the token and what it is allowed to do")),
        (no_transport, &no_transport[7..], None),
    ] {
        assert!(is_unreachable(stderr), "{stderr}");
        assert_eq!(is_silence(message(stderr).as_str()), [no_host, no_server, no_daemon].contains(&stderr));
        assert_eq!((message(stderr).as_str(), hint(stderr)), (said, remedy));
    }
    for reachable in [
        "fatal: couldn't find remote ref refs/heads/nope",
        "fatal: the receiving end does not support --atomic push\nfatal: the remote end hung up unexpectedly",
        "error: cannot lock ref 'refs/x'",
    ] {
        assert!(!is_unreachable(reachable), "{reachable}");
    }
}

#[test]
fn a_ref_that_is_not_there_is_found_in_the_message() {
    for (stderr, missing) in [
        ("fatal: couldn't find remote ref refs/heads/nope", Some("refs/heads/nope")),
        (
            &format!("fatal: git upload-pack: not our ref {A}\nfatal: remote error: upload-pack: not our ref {A}"),
            Some(A),
        ),
        (&format!("error: Server does not allow request for unadvertised object {A}"), Some(A)),
        ("fatal: unable to access 'x'", None),
    ] {
        assert_eq!(missing_ref(stderr).as_deref(), missing);
    }
}

#[test]
fn a_rejection_has_a_remedy_that_fits() {
    for (reason, stderr, part) in [
        ("branch is currently checked out", "", "bare repository"),
        ("protected branch hook declined", "remote: error: GH006: Protected branch update failed", "protected"),
        ("pre-receive hook declined", "remote: GitLab: You are not allowed to push to protected branches", "protected"),
        ("pre-receive hook declined", "remote: no way", "a hook"),
        ("non-fast-forward", "", "denyNonFastForwards"),
        ("deletion prohibited", "", "denyDeletes"),
        ("unpacker error", "remote: fatal: write error: No space left on device", "disk"),
        ("atomic transaction failed", "cannot process 'refs/heads/a' and 'refs/heads/a/b'", "in the way"),
        ("whatever", "", "what the server says"),
    ] {
        assert!(rejection_hint(reason, stderr).contains(part), "{reason}: {}", rejection_hint(reason, stderr));
    }
}

#[test]
fn what_a_hostile_server_says_is_shown_escaped_and_short() {
    let says = remote_says("remote: \u{1b}[31mred        \nremote: error: two\nnoise");
    assert_eq!(says, "\\u{1b}[31mred two");
    assert_eq!(message(&"x".repeat(10_000)).chars().count(), MAX_MESSAGE + 1);
}

proptest! {
    #[test]
    fn listed_refs_come_back(refs in vec((any::<[u8; 20]>(), "refs/[a-z/]{1,20}", any::<bool>()), 0..20)) {
        let refs: Vec<RemoteRef> = refs
            .into_iter()
            .map(|(bytes, name, peeled)| RemoteRef { name, id: Oid::from_bytes(bytes), peeled })
            .collect();
        let line = |it: &RemoteRef| format!("{}\t{}{}\n", it.id, it.name, if it.peeled { "^{}" } else { "" });
        prop_assert_eq!(ls_remote(&refs.iter().map(line).collect::<String>()), Ok(refs));
    }

    #[test]
    fn pushed_refs_come_back(names in vec("refs/[a-z/()]{1,20}", 0..10), flag in "[-+*= !]", reason in "[a-z ]{0,20}") {
        let lines: Vec<String> = names.iter().map(|name| format!("{flag}\t{A}:{name}\t[x] ({reason})")).collect();
        let report = push(&format!("To x:y\n{}\nDone\n", lines.join("\n")));
        prop_assert_eq!(report.iter().map(|one| one.name.clone()).collect::<Vec<_>>(), names);
        prop_assert!(report.iter().all(|one| one.accepted != (flag == "!")));
        prop_assert!(report.iter().all(|one| one.accepted || one.reason == reason));
    }

    #[test]
    fn nothing_a_server_says_breaks_out_of_its_line(text in any::<String>()) {
        let _ = ls_remote(&text);
        let report = push(&text);
        let _ = stale(&report, &text);
        for shown in [message(&text), remote_says(&text), missing_ref(&text).unwrap_or_default()] {
            prop_assert!(!shown.chars().any(char::is_control), "{:?}", shown);
        }
        prop_assert!(report.iter().all(|one| !one.reason.chars().any(char::is_control)));
    }
}

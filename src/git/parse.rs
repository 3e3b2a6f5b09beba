//! Reads what the git program prints. Pure; all of it may come from a hostile server.

use crate::domain::name::Oid;

/// Of a long message only this many characters are shown.
const MAX_MESSAGE: usize = 500;

/// One line of `git ls-remote`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteRef {
    /// Its full name.
    pub(super) name: String,
    /// What it points at.
    pub(super) id: Oid,
    /// Whether `id` is what the annotated tag of this name tags, not the tag itself.
    pub(super) peeled: bool,
}

/// Reads what `git ls-remote` prints.
///
/// # Errors
/// The first line that cannot be read; passing it over would make a ref look absent.
pub(super) fn ls_remote(text: &str) -> Result<Vec<RemoteRef>, String> {
    text.lines().map(|line| remote_ref(line).ok_or_else(|| line.escape_debug().to_string())).collect()
}

fn remote_ref(line: &str) -> Option<RemoteRef> {
    let (id, name) = line.split_once('\t')?;
    let id = id.parse().ok()?;
    let (name, peeled) = name.strip_suffix("^{}").map_or((name, false), |name| (name, true));
    if name.is_empty() { None } else { Some(RemoteRef { name: name.to_owned(), id, peeled }) }
}

/// What became of one ref in a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PushedRef {
    /// Its full name at the remote.
    pub(super) name: String,
    /// Whether it now is as it was asked to be.
    pub(super) accepted: bool,
    /// Why not, if git or the remote says so.
    pub(super) reason: String,
}

/// Reads what `git push --porcelain` prints about refs. Lines about anything else are passed over.
pub(super) fn push(text: &str) -> Vec<PushedRef> {
    text.lines().filter_map(pushed_ref).collect()
}

/// `FLAG TAB FROM:TO TAB SUMMARY [(REASON)]`.
fn pushed_ref(line: &str) -> Option<PushedRef> {
    let mut fields = line.splitn(3, '\t');
    let flag = fields.next().filter(|flag| matches!(*flag, " " | "+" | "-" | "*" | "!" | "="))?;
    let (_, name) = fields.next()?.split_once(':')?;
    let summary = fields.next()?;
    let reason = summary.split_once('(').map_or(summary, |(_, reason)| reason.strip_suffix(')').unwrap_or(reason));
    let accepted = flag != "!";
    let reason = if accepted { String::new() } else { clean(reason) };
    Some(PushedRef { name: name.to_owned(), accepted, reason })
}

/// What a remote says when a ref is not where the push expected it: git before it sends anything, or
/// the server when another push came in between.
const STALE: [&str; 9] = [
    "stale info",
    "but expected",
    "incorrect old value provided",
    "reference already exists",
    "reference is missing",
    "unable to resolve reference",
    "expected object",
    ".lock': File exists",
    "failed to lock",
];

/// Which refs of a failed push were not where they were expected.
pub(super) fn stale(refs: &[PushedRef], stderr: &str) -> Vec<String> {
    let says_stale = |text: &str| STALE.iter().any(|sign| text.contains(sign));
    let told: Vec<&str> = stderr.lines().filter(|line| says_stale(line)).collect();
    let quoted = |name: &str| told.iter().any(|line| line.contains(&format!("'{name}'")));
    let rejected = refs.iter().filter(|one| !one.accepted);
    rejected.filter(|one| says_stale(&one.reason) || quoted(&one.name)).map(|one| one.name.clone()).collect()
}

/// Whether a ref was rejected only because another one was.
pub(super) fn is_bystander(reason: &str) -> bool {
    matches!(reason, "atomic push failed" | "atomic push failure")
}

/// The ref that a fetch asked for in vain, if that is why it failed.
pub(super) fn missing_ref(stderr: &str) -> Option<String> {
    const SIGNS: [&str; 3] = [
        "couldn't find remote ref ",
        "upload-pack: not our ref ",
        "Server does not allow request for unadvertised object ",
    ];
    let after = |line: &str| SIGNS.iter().find_map(|sign| line.split_once(sign).map(|(_, name)| clean(name)));
    stderr.lines().find_map(after)
}

/// Whether the remote knows no push options.
pub(super) fn lacks_push_options(stderr: &str) -> bool {
    stderr.contains("does not support push options")
}

/// Whether what failed is reaching the remote: the address, the network, or being let in.
pub(super) fn is_unreachable(stderr: &str) -> bool {
    const SIGNS: [&str; 15] = [
        "Could not read from remote repository",
        "does not appear to be a git repository",
        "unable to access",
        "unable to connect",
        "Unable to look up",
        "unable to look up",
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "dubious ownership",
        "the remote end hung up",
        "early EOF",
        "RPC failed",
        "remote error:",
        "transport '",
    ];
    // git hangs up by itself when the remote cannot do what it is asked to.
    if stderr.contains("the receiving end does not support") {
        return false;
    }
    stderr.contains("repository '") && stderr.contains("not found") || SIGNS.iter().any(|sign| stderr.contains(sign))
}

/// Whether git says that nobody answered.
pub(super) fn is_silence(message: &str) -> bool {
    NO_NAME.iter().chain(NO_SERVER).chain([NO_END].iter()).any(|sign| message.contains(sign))
}

/// How too slow a conversation is described.
pub(super) const NO_END: &str = "no end after ";

const NO_NAME: &[&str] = &[
    "Could not resolve host",
    "Name or service not known",
    "Unable to look up",
    "unable to look up",
    "Temporary failure in name",
];

const NO_SERVER: &[&str] = &[
    "Connection refused",
    "Couldn't connect",
    "Could not connect",
    "Connection timed out",
    "Network is unreachable",
    "No route to host",
];

/// What to do about a failure that git describes like this.
pub(super) fn hint(stderr: &str) -> Option<&'static str> {
    HINTS.iter().find(|(signs, _)| signs.iter().any(|sign| stderr.contains(sign))).map(|(_, hint)| *hint)
}

/// Whether the disk of this machine is full. A remote says the same of its own.
pub(super) fn says_full(text: &str) -> bool {
    let full = |line: &str| FULL.iter().any(|sign| line.contains(sign));
    text.lines().any(|line| !line.starts_with("remote:") && full(line))
}

const FULL: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

const HINTS: [(&[&str], &str); 12] = [
    (&["dubious ownership"], "it belongs to another user: run as its owner, or give it to the user this runs as"),
    (NO_NAME, "check the name of the host and the name service of this machine"),
    (NO_SERVER, "check that the server runs and that no firewall or proxy is in the way"),
    (&["Host key verification failed"], "add the server to known_hosts, for example with `ssh-keyscan`"),
    (
        &["Permission denied (publickey", "Permission denied, please try again"],
        "the server does not accept the ssh key of this user",
    ),
    (
        &["SSL certificate", "server certificate", "certificate verif"],
        "check the certificates of this machine (`ca-certificates`, SSL_CERT_FILE)",
    ),
    (
        &[
            "returned error: 403",
            "returned error: 401",
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "terminal prompts disabled",
        ],
        "check the token and what it is allowed to do",
    ),
    (
        &["returned error: 404", "not found", "Repository not found"],
        "check the address; a private repository also looks like this without a token",
    ),
    (&["returned error: 429", "Too Many Requests"], "the server is asked too often; wait and ask less"),
    (
        &["does not support --atomic push"],
        "the server cannot change several refs at once; allow it with `receive.advertiseAtomic`, or use another server",
    ),
    (&["does not appear to be a git repository"], "check that the address is right and the repository exists"),
    (&[".lock': File exists"], "another git is at work there; if none is, remove the lock file"),
];

/// What to do when a remote refuses a push for this reason.
pub(super) fn rejection_hint(reason: &str, stderr: &str) -> &'static str {
    let says = |sign: &str| reason.contains(sign) || stderr.contains(sign);
    if says("branch is currently checked out") || says("refusing to update checked out branch") {
        "push to a bare repository, or set receive.denyCurrentBranch to updateInstead there"
    } else if says("rotected branch") || says("rotected ref") || says("GH006") || says("GH013") {
        "the branch is protected: allow this user to push to it, or unprotect it"
    } else if reason == "non-fast-forward" || says("deletion prohibited") {
        "the server forbids this change to every user: see receive.denyNonFastForwards and receive.denyDeletes there"
    } else if says("hook declined") {
        "a hook of the server refused it; what it says is in the message"
    } else if says("unpack") || says("No space left on device") {
        "the server could not store the objects; its disk may be full"
    } else if says("cannot process '") || says("cannot create '") {
        "one ref cannot be named like the folder of another; delete the one that is in the way"
    } else {
        "see what the server says"
    }
}

/// What the remote itself said, in one line.
pub(super) fn remote_says(stderr: &str) -> String {
    let lines = stderr.lines().filter_map(|line| line.strip_prefix("remote:"));
    let lines = lines.map(|line| line.trim().trim_start_matches("error: ")).filter(|line| !line.is_empty());
    clean(&lines.collect::<Vec<_>>().join(" "))
}

/// What git says about a failure, in one line without what is said after every failure.
pub(super) fn message(stderr: &str) -> String {
    const NOISE: [&str; 4] =
        ["Please make sure you have", "and the repository exists", "error: failed to push some refs", "hint:"];
    let lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.filter(|line| !NOISE.iter().any(|noise| line.starts_with(noise)));
    let strip =
        |line: &str| ["fatal: ", "error: "].iter().find_map(|it| line.strip_prefix(it)).unwrap_or(line).to_owned();
    clean(&lines.map(strip).collect::<Vec<_>>().join("; "))
}

/// Text of a stranger, fit to be shown in a line: no control characters, not too long.
fn clean(text: &str) -> String {
    let shown: String = text.chars().take(MAX_MESSAGE).flat_map(escaped).collect();
    if text.chars().nth(MAX_MESSAGE).is_some() { format!("{shown}…") } else { shown }
}

fn escaped(char: char) -> impl Iterator<Item = char> {
    let (escape, plain) = if char.is_control() { (Some(char.escape_debug()), None) } else { (None, Some(char)) };
    escape.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
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
        let text =
            format!("{A}\tHEAD\n{A}\trefs/heads/main\n{B}\trefs/tags/scheduled\n{A}\trefs/tags/scheduled^{{}}\n");
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
    type PushCase =
        (&'static str, &'static str, &'static [(&'static str, bool, &'static str)], &'static [&'static str]);

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
            (
                no_server,
                &no_server[7..],
                Some("check that the server runs and that no firewall or proxy is in the way"),
            ),
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
            (
                "pre-receive hook declined",
                "remote: GitLab: You are not allowed to push to protected branches",
                "protected",
            ),
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
}

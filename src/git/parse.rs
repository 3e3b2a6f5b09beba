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
mod tests;

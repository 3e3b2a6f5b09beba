//! Talking to another repository: what it has, getting objects from it, moving its refs.
//!
//! Done by the git program, which knows every transport, and above all `--atomic` and leases.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::command::{self, Ending, SecretSetting};
use super::parse::{self, RemoteRef};
use super::url::{self, Address};
use super::{GitError, Repository};
use crate::domain::desired::Refs;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::review::group::GroupName;
use crate::sys::fs::FsError;
use crate::sys::process::{Output, Program};
use crate::sys::secret::SecretString;

/// How long one conversation with a remote may take.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(10);

/// A repository somewhere else, seen from a workspace. Cheap to make and to clone.
#[derive(Debug, Clone)]
pub struct Remote {
    workspace: PathBuf,
    address: String,
    token: Option<(String, SecretString)>,
    settings: Vec<SecretSetting>,
    env: BTreeMap<String, String>,
    timeout: Duration,
}

impl Remote {
    /// The repository at an address, or the one that the workspace knows by this name. Nothing is asked
    /// of it, and nothing checked, before it is used. The workspace must be there, and bare.
    #[must_use]
    pub const fn new(workspace: PathBuf, url_or_name: String) -> Self {
        Self {
            workspace,
            address: url_or_name,
            token: None,
            settings: Vec::new(),
            env: BTreeMap::new(),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// The address, or the name the workspace knows it by, for people: without a login.
    #[must_use]
    pub fn shown(&self) -> String {
        url::without_password(&self.address)
    }

    /// Gives up on a conversation after this time; ten minutes by default.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Shows this user and token to an HTTP server.
    #[must_use]
    pub fn token(mut self, user: impl Into<String>, token: SecretString) -> Self {
        self.token = Some((user.into(), token));
        self
    }

    /// Uses the settings for transports that another repository has in its own configuration, such as
    /// the `http.extraHeader` that CI systems leave in a clone.
    #[must_use]
    pub fn settings_of(mut self, other: &Repository) -> Self {
        self.settings.extend(other.transport_settings());
        self
    }

    /// Sets a variable of the git program.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// The refs that matter, found with one question: the branch, `state`, `scheduled` and the branches
    /// of reviews. An annotated tag is followed to the commit it tags.
    ///
    /// # Errors
    /// [`GitError::Unreachable`] and others. A repository without commits is not an error.
    pub async fn refs(&self, branch: &str) -> Result<Refs, GitError> {
        let main = format!("refs/heads/{branch}");
        let patterns =
            [main.as_str(), "refs/heads/state", "refs/tags/scheduled", "refs/heads/update-*", "refs/heads/updates-*"];
        let found = self.ls(&patterns.map(str::to_owned)).await?;
        let review = |(name, id): (&String, &Oid)| {
            let branch = name.strip_prefix("refs/heads/")?;
            Some((PkgBase::from_review_branch(branch)?, *id))
        };
        let group =
            |(name, id): (&String, &Oid)| Some((GroupName::from_branch(name.strip_prefix("refs/heads/")?)?, *id));
        Ok(Refs {
            branch: branch.to_owned(),
            main: found.get(&main).copied(),
            state: found.get("refs/heads/state").copied(),
            scheduled: found.get("refs/tags/scheduled").copied(),
            reviews: found.iter().filter_map(review).collect(),
            groups: found.iter().filter_map(group).collect(),
        })
    }

    /// The refs whose full names match one of the patterns, in which `*` stands for any text; without
    /// patterns, all of them. Annotated tags are followed to what they tag.
    ///
    /// # Errors
    /// [`GitError::Unreachable`] and others. That nothing matches is not an error.
    pub async fn ls(&self, patterns: &[String]) -> Result<BTreeMap<String, Oid>, GitError> {
        let mut found = BTreeMap::new();
        // What an annotated tag tags comes after the tag itself, and so takes its place.
        found.extend(self.ls_raw(patterns).await?.into_iter().map(|one| (one.name, one.id)));
        Ok(found)
    }

    /// The tags, by their full names. An annotated tag has its own id, and not that of what it tags.
    ///
    /// # Errors
    /// As [`Remote::ls`].
    pub async fn tags(&self) -> Result<Vec<(String, Oid)>, GitError> {
        let mut found: Vec<_> =
            self.ls_raw(&["refs/tags/*".to_owned()]).await?.into_iter().map(|one| (one.name, one.id)).collect();
        // What an annotated tag tags comes right after the tag itself, under the same name.
        found.dedup_by(|later, earlier| later.0 == earlier.0);
        Ok(found)
    }

    async fn ls_raw(&self, patterns: &[String]) -> Result<Vec<RemoteRef>, GitError> {
        let address = self.address()?;
        let mut program = self.git(&address).args(["ls-remote", "--end-of-options", address.url()]);
        for pattern in patterns {
            check_name(pattern)?;
            program = program.arg(pattern);
            if pattern.starts_with("refs/tags/") && !pattern.ends_with('*') {
                program = program.arg(format!("{pattern}^{{}}"));
            }
        }
        let output = match command::run(program).await? {
            Ending::Done(output) => output,
            Ending::Failed(output) => return Err(failed("ls-remote", &address, &output)),
            Ending::TooSlow(after) => return Err(too_slow(&address, after)),
        };
        let strange = |message: String| GitError::Command { command: "ls-remote", message, hint: String::new() };
        if output.truncated {
            return Err(strange(format!("{} has too many refs to be listed", address.shown())));
        }
        let found = parse::ls_remote(&String::from_utf8_lossy(&output.stdout)).map_err(|line| {
            strange(format!("{} answers `{line}`, which is not a ref with a SHA-1 id", address.shown()))
        })?;
        Ok(found.into_iter().filter(|one| matches(patterns, &one.name)).collect())
    }

    /// Gets objects, and moves refs of the workspace to them, in one negotiation. A refspec is
    /// `REF:LOCAL-REF`, or `REF` to get objects only; local refs always follow. No tags come along, and
    /// no `FETCH_HEAD` is written. With a depth, only so many commits of each history come.
    ///
    /// # Errors
    /// [`GitError::MissingRefs`] if a ref is not there, and then nothing has been fetched; [`GitError::File`] if
    /// the disk is full; [`GitError::Unreachable`] and others.
    pub async fn fetch(&self, refspecs: &[String], depth: Option<u32>) -> Result<(), GitError> {
        if refspecs.is_empty() {
            return Ok(());
        }
        let address = self.address()?;
        for refspec in refspecs {
            check_refspec(refspec)?;
        }
        let mut program = self
            .git(&address)
            .args(["fetch", "--stdin", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"])
            .args(["--force", "--no-show-forced-updates", "--quiet"]);
        if let Some(depth) = depth {
            program = program.arg(format!("--depth={depth}"));
        }
        let list = refspecs.join("\n") + "\n";
        let program = program.args(["--end-of-options", address.url()]).stdin_bytes(list.into_bytes());
        match command::run(program).await? {
            Ending::Done(_) => Ok(()),
            Ending::TooSlow(after) => Err(too_slow(&address, after)),
            Ending::Failed(output) if parse::says_full(&output.stderr_text()) => Err(self.disk_full()),
            Ending::Failed(output) => match parse::missing_ref(&output.stderr_text()) {
                Some(missing) => Err(GitError::MissingRefs { url: address.shown(), refs: vec![missing] }),
                None => Err(failed("fetch", &address, &output)),
            },
        }
    }

    /// Packs up what many fetches have left in the workspace, if it has become much. Objects nobody
    /// refers to stay for two weeks.
    ///
    /// # Errors
    /// [`GitError::File`] if the disk is full, [`GitError::Command`] if git cannot do it otherwise.
    pub async fn tidy_workspace(&self) -> Result<(), GitError> {
        let program = command::git(&self.workspace, &[], self.timeout);
        let program = program.args(["-c", "gc.auto=6700", "-c", "gc.autoDetach=false", "gc", "--auto", "--quiet"]);
        let failed = |message, hint| Err(GitError::Command { command: "gc", message, hint });
        match command::run(program).await? {
            Ending::Done(_) => Ok(()),
            Ending::Failed(output) if parse::says_full(&output.stderr_text()) => Err(self.disk_full()),
            Ending::Failed(output) => {
                let (message, hint) = command::explain(&output);
                failed(message, hint)
            }
            Ending::TooSlow(after) => failed(format!("no end after {} s", after.as_secs_f64()), String::new()),
        }
    }

    /// Fetches those of the refspecs whose refs are there, and returns the others. Usually one
    /// negotiation; only when something is missing the remote is asked what it has.
    ///
    /// # Errors
    /// As [`Remote::fetch`], but for missing refs only if they vanish in between.
    pub async fn fetch_existing(&self, refspecs: &[String], depth: Option<u32>) -> Result<Vec<String>, GitError> {
        match self.fetch(refspecs, depth).await {
            Err(GitError::MissingRefs { .. }) => {}
            other => return other.map(|()| Vec::new()),
        }
        let sources: BTreeSet<String> = refspecs.iter().map(|refspec| source(refspec).to_owned()).collect();
        let there = self.ls(&sources.into_iter().collect::<Vec<_>>()).await?;
        let is_there = |refspec: &String| there.contains_key(source(refspec));
        let (existing, missing): (Vec<String>, Vec<String>) = refspecs.iter().cloned().partition(is_there);
        self.fetch(&existing, depth).await?;
        Ok(missing)
    }

    pub(super) fn git(&self, address: &Address) -> Program {
        let mut settings = self.settings.clone();
        settings.extend(address.authorization(self.token.as_ref()));
        let program = command::git(&self.workspace, &settings, self.timeout);
        self.env.iter().fold(program, |program, (key, value)| program.env(key, value))
    }

    fn disk_full(&self) -> GitError {
        FsError::full(&self.workspace).into()
    }

    pub(super) fn open_workspace(&self) -> Result<Repository, GitError> {
        Repository::open(&self.workspace)
    }

    pub(super) fn address(&self) -> Result<Address, GitError> {
        let known =
            if self.address.contains(['/', ':']) { None } else { self.open_workspace()?.remote_url(&self.address) };
        Address::parse(known.as_deref().unwrap_or(&self.address))
    }

    /// The commits behind annotated tags, with the ids of the tags themselves.
    pub(super) async fn tag_objects(&self, tags: &[String]) -> Result<BTreeMap<String, (Oid, Oid)>, GitError> {
        let mut tag_ids = BTreeMap::new();
        let mut found = BTreeMap::new();
        for one in self.ls_raw(tags).await? {
            if !one.peeled {
                tag_ids.insert(one.name, one.id);
            } else if let Some(tag) = tag_ids.get(&one.name) {
                found.insert(one.name, (one.id, *tag));
            }
        }
        Ok(found)
    }
}

pub(super) fn failed(command: &'static str, address: &Address, output: &Output) -> GitError {
    let (message, hint) = command::explain(output);
    if parse::is_unreachable(&output.stderr_text()) {
        return GitError::Unreachable { url: address.shown(), message, hint };
    }
    GitError::Command { command, message, hint }
}

pub(super) fn too_slow(address: &Address, after: Duration) -> GitError {
    GitError::Unreachable {
        url: address.shown(),
        message: format!("{}{} s", parse::NO_END, after.as_secs_f64()),
        hint: "; check the network, or allow more time".to_owned(),
    }
}

/// `ls-remote` also matches the ends of longer names; this does not.
fn matches(patterns: &[String], name: &str) -> bool {
    let one = |pattern: &String| match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end),
    };
    patterns.is_empty() || patterns.iter().any(one)
}

fn source(refspec: &str) -> &str {
    let refspec = refspec.strip_prefix('+').unwrap_or(refspec);
    refspec.split_once(':').map_or(refspec, |(source, _)| source)
}

fn check_refspec(refspec: &str) -> Result<(), GitError> {
    let plain = refspec.strip_prefix('+').unwrap_or(refspec);
    let (source, target) = plain.split_once(':').unwrap_or((plain, "refs/none"));
    check_name(source)?;
    if target.starts_with("refs/") { check_name(target) } else { Err(refused(refspec)) }
}

/// Refuses what git could take for an option, for several lines, or for something else than a name.
pub(super) fn check_name(name: &str) -> Result<(), GitError> {
    let strange = |char: char| char.is_control() || " ~^:?[\\".contains(char);
    let bad = name.is_empty() || name.starts_with('-') || name.contains("..") || name.contains(strange);
    if bad { Err(refused(name)) } else { Ok(()) }
}

pub(super) fn refused(name: &str) -> GitError {
    GitError::RefusedRef { name: name.escape_debug().to_string() }
}

#[cfg(test)]
mod tests {
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
        let refs =
            world.remote().env("GIT_TRACE2_EVENT", trace.display().to_string()).refs("main").await.expect("answers");
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
        let names = async |patterns: &[&str]| {
            remote.ls(&strings(patterns)).await.expect("answers").into_keys().collect::<Vec<_>>()
        };
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
        super::super::testing::git(
            &world.path("hub"),
            &["update-ref", "--stdin"],
            (updates.join("\n") + "\n").as_bytes(),
        );
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
        assert!(
            matches!(&silent, GitError::Unreachable { message, .. } if message == "no end after 0.3 s"),
            "{silent}"
        );
        drop(listener);
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
}

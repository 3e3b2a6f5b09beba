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
mod tests;

//! Moving refs of a remote: all of them or none, and only from where they are believed to be.

use std::collections::BTreeMap;

use super::command::{self, Ending};
use super::parse::{self, PushedRef};
use super::remote::{check_name, failed, refused, too_slow};
use super::url::Address;
use super::{GitError, Remote};
use crate::domain::name::Oid;
use crate::sys::process::Output;

/// What one ref is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// Its full name, such as `refs/heads/main`.
    pub name: String,
    /// Where it is believed to be; `None` if it is believed not to exist. For an annotated tag, the
    /// commit it tags will do.
    pub old: Option<Oid>,
    /// Where it is to be; `None` deletes it. If equal to `old`, the push only goes through while the ref
    /// is still there.
    pub new: Option<Oid>,
}

/// A push that went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The refs that are now as asked for, those that already were among them.
    pub refs: Vec<String>,
    /// Whether the options were given to the remote; some remotes know none.
    pub options_sent: bool,
}

/// A ref that the remote did not want to move, and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Its full name.
    pub name: String,
    /// What the remote says.
    pub reason: String,
}

/// A push that changed nothing, unless it is [`PushError::Unreachable`]: then nobody knows, and the
/// remote is to be asked.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// These refs were not where they were believed to be: somebody else was faster.
    #[error("{} moved in the meantime", .0.join(", "))]
    Stale(Vec<String>),
    /// The remote does not allow it.
    #[error("{url} refuses {}{message}; {hint}", listed(refs))]
    Rejected {
        /// The remote, without credentials.
        url: String,
        /// The refs it refuses, without those that only fall with others.
        refs: Vec<Rejection>,
        /// What else it says, beginning with `: `, or nothing.
        message: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The remote did not answer, or not to the end. Perhaps the refs have moved.
    #[error(transparent)]
    Unreachable(GitError),
    /// Anything else.
    #[error(transparent)]
    Git(GitError),
}

fn listed(refs: &[Rejection]) -> String {
    let one = |it: &Rejection| format!("{} ({})", it.name, it.reason);
    refs.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl From<GitError> for PushError {
    fn from(error: GitError) -> Self {
        match error {
            GitError::Unreachable { .. } => Self::Unreachable(error),
            other => Self::Git(other),
        }
    }
}

impl Remote {
    /// Moves all these refs, or none. Each moves only if it is where `old` says. What is true already
    /// counts as done, so a push may be repeated.
    ///
    /// Options are for the remote (such as `ci.skip`); if it knows none, they are left out.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn push(&self, updates: &[RefUpdate], options: &[String]) -> Result<Pushed, PushError> {
        let updates: Vec<&RefUpdate> = updates.iter().filter(|it| it.old.is_some() || it.new.is_some()).collect();
        if updates.is_empty() {
            return Ok(Pushed { refs: Vec::new(), options_sent: true });
        }
        check(&updates)?;
        self.has_all(&updates)?;
        let mut leases: BTreeMap<String, Option<Oid>> = updates.iter().map(|it| (it.name.clone(), it.old)).collect();
        match self.push_once(&updates, &leases, options).await {
            // The lease on an annotated tag is about the tag itself, and `old` may be what it tags.
            Err(PushError::Stale(refs)) if self.lease_tags(&mut leases, &refs).await? => {
                self.push_once(&updates, &leases, options).await
            }
            other => other,
        }
    }

    /// Checks that what is to be pushed is here: of an object that is not, git only says that the remote
    /// could not unpack something.
    fn has_all(&self, updates: &[&RefUpdate]) -> Result<(), GitError> {
        let workspace = self.open_workspace()?;
        match updates.iter().filter_map(|update| update.new).find(|id| !workspace.contains(*id)) {
            Some(id) => Err(GitError::MissingObject { id }),
            None => Ok(()),
        }
    }

    /// Changes the leases of annotated tags that do tag what was believed; whether it changed any.
    async fn lease_tags(&self, leases: &mut BTreeMap<String, Option<Oid>>, stale: &[String]) -> Result<bool, GitError> {
        let tags: Vec<String> = stale.iter().filter(|name| name.starts_with("refs/tags/")).cloned().collect();
        if tags.is_empty() {
            return Ok(false);
        }
        let mut changed = false;
        for (name, (commit, tag)) in self.tag_objects(&tags).await? {
            let lease = leases.get_mut(&name).filter(|lease| **lease == Some(commit));
            changed |= lease.map(|lease| *lease = Some(tag)).is_some();
        }
        Ok(changed)
    }

    async fn push_once(
        &self,
        updates: &[&RefUpdate],
        leases: &BTreeMap<String, Option<Oid>>,
        options: &[String],
    ) -> Result<Pushed, PushError> {
        let address = self.address()?;
        let mut program = self.git(&address).args(["push", "--atomic", "--porcelain", "--no-follow-tags"]);
        program = program.args(["--no-verify", "--no-signed", "--recurse-submodules=no"]);
        for option in options {
            program = program.arg(format!("--push-option={option}"));
        }
        for (name, old) in leases {
            // An empty id means: it must not exist.
            let old = old.map_or_else(String::new, |id| id.to_string());
            program = program.arg(format!("--force-with-lease={name}:{old}"));
        }
        program = program.args(["--end-of-options", address.url()]);
        for RefUpdate { name, new, .. } in updates {
            // Never with a `+`: it would silently overrule the lease.
            let new = new.map_or_else(String::new, |id| id.to_string());
            program = program.arg(format!("{new}:{name}"));
        }
        match command::run(program).await.map_err(GitError::from)? {
            Ending::Done(output) => pushed(updates, &output, &address, !options.is_empty()),
            Ending::TooSlow(after) => Err(too_slow(&address, after).into()),
            Ending::Failed(output) if !options.is_empty() && parse::lacks_push_options(&output.stderr_text()) => {
                let pushed = Box::pin(self.push_once(updates, leases, &[])).await?;
                Ok(Pushed { options_sent: false, ..pushed })
            }
            Ending::Failed(output) => Err(not_pushed(&output, &address)),
        }
    }
}

fn check(updates: &[&RefUpdate]) -> Result<(), GitError> {
    for (index, RefUpdate { name, .. }) in updates.iter().enumerate() {
        check_name(name)?;
        let twice = updates[..index].iter().any(|other| other.name == *name);
        if twice || !name.starts_with("refs/") || name.contains('*') {
            return Err(refused(name));
        }
    }
    Ok(())
}

/// Believes a success only if it says so of every ref.
fn pushed(updates: &[&RefUpdate], output: &Output, address: &Address, options_sent: bool) -> Result<Pushed, PushError> {
    let report = parse::push(&String::from_utf8_lossy(&output.stdout));
    let accepted = |name: &str| report.iter().any(|one| one.accepted && one.name == name);
    match updates.iter().find(|update| !accepted(&update.name)) {
        None => Ok(Pushed { refs: updates.iter().map(|update| update.name.clone()).collect(), options_sent }),
        Some(silent) => Err(PushError::Unreachable(GitError::Unreachable {
            url: address.shown(),
            message: format!("it does not say what became of {}", silent.name),
            hint: String::new(),
        })),
    }
}

fn not_pushed(output: &Output, address: &Address) -> PushError {
    let stderr = output.stderr_text();
    let report = parse::push(&String::from_utf8_lossy(&output.stdout));
    let stale = parse::stale(&report, &stderr);
    if !stale.is_empty() {
        return PushError::Stale(stale);
    }
    let rejected = |one: &PushedRef| Rejection { name: one.name.clone(), reason: one.reason.clone() };
    let refs = report.iter().filter(|one| !one.accepted);
    let refs: Vec<Rejection> = refs.filter(|one| !parse::is_bystander(&one.reason)).map(rejected).collect();
    if refs.is_empty() {
        return failed("push", address, output).into();
    }
    let says = parse::remote_says(&stderr);
    let message = if says.is_empty() { String::new() } else { format!(": {says}") };
    let hint = parse::rejection_hint(&refs[0].reason, &stderr);
    PushError::Rejected { url: address.shown(), refs, message, hint }
}

#[cfg(test)]
mod tests;

//! Does on a forge what was decided, as far as the forge lets us.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::ledger::Ledger;
use super::{Hosted, Tended, later};
use crate::domain::finding::Finding;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::{Pipeline, Refusal};
use crate::domain::policy::Person;
use crate::domain::review::reconcile::{Reconciled, Step};
use crate::domain::review::{Permission, Thread};
use crate::forge::ForgeError;

/// One pass over the reviews of a forge.
pub struct Pass<'a> {
    /// Where.
    pub hosted: &'a Hosted,
    /// The account that we act as.
    me: &'a str,
    ledger: &'a mut Ledger,
    now: Timestamp,
    findings: Vec<Finding>,
    permissions: BTreeMap<String, Permission>,
    stopped: bool,
}

impl<'a> Pass<'a> {
    pub fn new(hosted: &'a Hosted, me: &'a str, ledger: &'a mut Ledger, now: Timestamp) -> Self {
        Self { hosted, me, ledger, now, findings: Vec::new(), permissions: BTreeMap::new(), stopped: false }
    }

    /// Whether the forge has to be left alone: it is away, or asked for it.
    pub fn has_to_stop(&self) -> bool {
        self.stopped
    }

    pub fn note(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Notes a failure: of one review, or of the forge as a whole.
    pub fn failed(&mut self, branch: Option<&str>, error: &ForgeError) {
        match (branch, error) {
            (_, ForgeError::Limited { .. } | ForgeError::Unreachable { .. }) => {
                self.ledger.forge_failed(error, self.now);
                self.stopped = true;
            }
            (Some(branch), _) => self.ledger.branch_failed(branch, error, self.now),
            (None, _) => {}
        }
        self.findings.push(told(branch, error));
    }

    /// Branches with which something failed too short a time ago.
    pub fn resting(&self) -> BTreeSet<String> {
        let resting = self.ledger.branches.iter().filter(|(_, rest)| rest.until > self.now);
        resting.map(|(branch, _)| branch.clone()).collect()
    }

    /// Does all steps. What is left undone follows again from the next look, but for what people decided by closing:
    /// lists do not show that for ever, so it is heard even where the forge goes away meanwhile.
    pub async fn perform(mut self, reconciled: Reconciled) -> Tended {
        let mut decisions = Vec::new();
        for step in reconciled.steps {
            match step {
                Step::Reject { pkgbase, head, content, by } => {
                    let reason = Some(format!("closed on {}", self.hosted.forge.shown()));
                    let refusal = Refusal { by, reason, content: Some(content) };
                    decisions.push(Pipeline::Reject(pkgbase, head, refusal));
                }
                Step::Automerge { pkgbase, head } => {
                    decisions.push(Pipeline::Approve(pkgbase, head, Person::automatic()));
                }
                _ if self.stopped => {}
                Step::Approve { pkgbase, head, by } => decisions.extend(self.approval(pkgbase, head, by).await),
                step => self.tell(step).await,
            }
        }
        for (branch, why) in reconciled.later {
            tracing::info!(branch, "the review is left for later: {why}");
        }
        Tended { findings: self.findings, decisions }
    }

    /// Whoever may push here may approve; others are not heard.
    async fn approval(&mut self, pkgbase: PkgBase, head: Oid, by: String) -> Option<Pipeline> {
        let permission = match self.permissions.get(&by) {
            Some(known) => *known,
            None => match self.hosted.forge.permission(by.clone()).await {
                Ok(permission) => permission,
                Err(ForgeError::Missing { .. }) => Permission::Read,
                Err(error) => {
                    self.failed(None, &error);
                    return None;
                }
            },
        };
        self.permissions.insert(by.clone(), permission);
        if permission < Permission::Write {
            return None;
        }
        match Person::new(&by) {
            Ok(person) if !person.is_automatic() => Some(Pipeline::Approve(pkgbase, head, person)),
            _ => {
                let message = format!("an approval is not counted: nobody can be recorded as `{}`", by.escape_debug());
                let hint = "approve as a person, or with `pkgwarden ctl review approve`";
                self.note(Finding::warning("approval-unnamed", message).with_package(&pkgbase).hint(hint));
                None
            }
        }
    }

    async fn tell(&mut self, step: Step) {
        let forge = &self.hosted.forge;
        let me = self.me;
        let (branch, done) = match step {
            Step::Open(wanted) => {
                let opened = forge.open(wanted.clone()).await;
                (wanted.branch, opened.map(|seen| self.ledger.know(&[seen], me)))
            }
            Step::Update(number, wanted) => (wanted.branch.clone(), forge.update(number, wanted).await.map(drop)),
            Step::Close { number, branch, why } => (branch, forge.close(number, format!("Closed: {why}.")).await),
            Step::Say { number, branch, key, text } => {
                (branch, forge.say(Thread::Review(number), key.to_owned(), text).await)
            }
            Step::Reject { .. } | Step::Approve { .. } | Step::Automerge { .. } => return,
        };
        match done {
            Ok(()) => drop(self.ledger.branches.remove(&branch)),
            Err(error) => self.failed(Some(&branch), &error),
        }
    }
}

/// A failure as a person reads it.
pub fn told(branch: Option<&str>, error: &ForgeError) -> Finding {
    let pkgbase = branch.and_then(PkgBase::from_review_branch);
    let finding = match (branch, error) {
        (_, ForgeError::Refused { hint, .. }) => Finding::error("forge-refused", error.to_string()).hint(hint.clone()),
        (Some(branch), _) => later(&format!("the review of `{branch}` is not up to date: {error}")),
        (None, _) => later(&format!("reviews are not up to date: {error}")),
    };
    match pkgbase {
        Some(pkgbase) => finding.with_package(&pkgbase),
        None => finding,
    }
}

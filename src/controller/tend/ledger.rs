//! What is remembered between two looks at a forge: what failed, and how long it rests. Losing it costs questions.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::later;
use crate::domain::finding::Finding;
use crate::domain::name::PkgBase;
use crate::domain::review::reconcile::Desired;
use crate::domain::review::{Seen, Stage};
use crate::forge::ForgeError;
use crate::store::outbox::retry_delay;
use crate::store::{Store, StoreError};

/// So many reviews of which something changed are looked at one by one.
const FRESH: usize = 100;
/// And so many others.
const OTHERS: usize = 20;

/// What is remembered about one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// When the forge showed its reviews last, and all that followed was done or noted.
    pub asked_at: Option<Timestamp>,
    /// The forge itself rests.
    pub forge: Option<Rest>,
    /// The number of the last review that was looked at although nothing seemed to have changed.
    pub looked_at: u64,
    /// What failed, by branch.
    pub branches: BTreeMap<String, Rest>,
    /// The number of the newest review of ours that was seen on a branch.
    pub numbers: BTreeMap<String, u64>,
}

/// Something that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// How often in a row.
    pub failures: u32,
    /// When it is tried again.
    pub until: Timestamp,
    /// What happened the last time.
    pub error: String,
}

impl Rest {
    /// After one more failure.
    pub fn after(before: Option<&Self>, error: &ForgeError, now: Timestamp) -> Self {
        let failures = before.map_or(1, |rest| rest.failures.saturating_add(1));
        let until = now.checked_add(rest(failures, error)).unwrap_or(Timestamp::MAX);
        Self { failures, until, error: error.to_string() }
    }
}

/// How long what failed so often is left alone: at least as long as the forge asks for.
pub fn rest(failures: u32, error: &ForgeError) -> SignedDuration {
    let least = match error {
        ForgeError::Limited { after, .. } => SignedDuration::try_from(*after).unwrap_or(SignedDuration::MAX),
        _ => SignedDuration::ZERO,
    };
    retry_delay(failures).max(least)
}

impl Ledger {
    /// Reads what is remembered; what cannot be read is nothing.
    pub async fn read(store: &Store, repository: &str) -> Result<Self, StoreError> {
        let text = store.cached(&key(repository)).await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// Remembers it.
    pub async fn write(&self, store: &Store, repository: &str, now: Timestamp) -> Result<(), StoreError> {
        let text = serde_json::to_string(self).expect("times and words are JSON");
        store.cache(&key(repository), &text, now).await
    }

    /// The forge as a whole could not be asked.
    pub fn forge_failed(&mut self, error: &ForgeError, now: Timestamp) {
        self.forge = Some(Rest::after(self.forge.as_ref(), error, now));
    }

    /// The reviews that are looked at one by one, which costs questions: those of which something changed, and of the
    /// others some each time, so that nothing is missed for ever.
    pub fn choose(&mut self, reviews: &[Seen], desired: &[Desired], since: Timestamp) -> BTreeSet<u64> {
        let wanted: BTreeSet<&str> = desired.iter().map(|it| it.wanted.branch.as_str()).collect();
        let open = reviews.iter().filter(|seen| seen.stage == Stage::Open && wanted.contains(seen.branch.as_str()));
        let (mut fresh, others): (Vec<&Seen>, Vec<&Seen>) = open.partition(|seen| seen.updated_at >= since);
        fresh.sort_by_key(|seen| std::cmp::Reverse(seen.updated_at));
        let mut chosen: BTreeSet<u64> = fresh.iter().take(FRESH).map(|seen| seen.number).collect();
        let others: BTreeSet<u64> = others.iter().map(|seen| seen.number).collect();
        let after = others.range(self.looked_at.saturating_add(1)..);
        let turn: Vec<u64> = after.chain(&others).take(OTHERS.min(others.len())).copied().collect();
        self.looked_at = turn.last().copied().unwrap_or(0);
        chosen.extend(turn);
        chosen
    }

    /// Reviews that are known and not among these, of those branches.
    pub fn absent(&self, reviews: &[Seen], branches: &BTreeSet<String>) -> Vec<(String, u64)> {
        let shown: BTreeSet<u64> = reviews.iter().map(|seen| seen.number).collect();
        let is_absent = |(branch, number): &(&String, &u64)| branches.contains(*branch) && !shown.contains(number);
        let absent = self.numbers.iter().filter(is_absent);
        absent.map(|(branch, number)| (branch.clone(), *number)).collect()
    }

    /// Remembers the newest review of ours on each branch.
    pub fn know(&mut self, reviews: &[Seen], me: &str) {
        for seen in reviews.iter().filter(|seen| seen.author == me) {
            let number = self.numbers.entry(seen.branch.clone()).or_insert(seen.number);
            *number = seen.number.max(*number);
        }
    }

    /// Keeps what is known of these branches only.
    pub fn keep(&mut self, branches: &BTreeSet<String>) {
        self.numbers.retain(|branch, _| branches.contains(branch));
    }

    /// There is no review of this branch any more.
    pub fn forget(&mut self, branch: &str) {
        self.numbers.remove(branch);
    }

    /// Something about one review could not be done.
    pub fn branch_failed(&mut self, branch: &str, error: &ForgeError, now: Timestamp) {
        let rest = Rest::after(self.branches.get(branch), error, now);
        self.branches.insert(branch.to_owned(), rest);
    }

    /// What is said of a branch that rests.
    pub fn resting(&self, branch: &str, now: Timestamp) -> Option<Finding> {
        let rest = self.branches.get(branch).filter(|rest| rest.until > now)?;
        let finding = later(&format!("its review is left alone before {}: {}", rest.until, rest.error));
        Some(match PkgBase::from_review_branch(branch) {
            Some(pkgbase) => finding.with_package(&pkgbase),
            None => finding,
        })
    }
}

fn key(repository: &str) -> String {
    format!("reviews/{repository}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_failed_rests_longer_each_time_and_as_long_as_the_forge_asks_even_across_restarts() {
        let now: Timestamp = "2026-05-01T12:00:00Z".parse().expect("a time");
        let down = ForgeError::Unreachable { forge: "forge".into(), message: "no answer".into() };
        let limited = ForgeError::Limited { forge: "forge".into(), after: Duration::from_mins(20) };
        let mut ledger = Ledger::default();
        ledger.branch_failed("update-foo", &down, now);
        ledger.branch_failed("update-foo", &down, now);
        ledger.forge_failed(&limited, now);
        let store = Store::in_memory().expect("a record");
        ledger.write(&store, "r", now).await.expect("written");
        let read = Ledger::read(&store, "r").await.expect("read");
        assert_eq!(read, ledger);
        let wait = |rest: &Rest| rest.until.duration_since(now).as_secs();
        assert_eq!((wait(&read.branches["update-foo"]), wait(read.forge.as_ref().expect("rests"))), (60, 1200));
        assert_eq!(Ledger::read(&store, "other").await.expect("read"), Ledger::default());
        let finding = read.resting("update-foo", now).expect("it rests");
        assert_eq!(
            finding.message,
            "its review is left alone before 2026-05-01T12:01:00Z: forge could not be asked: no answer"
        );
        assert_eq!(read.resting("update-foo", now + SignedDuration::from_mins(1)), None);
    }
}

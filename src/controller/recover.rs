//! Finishes what a crash left between two steps of an apply.
//!
//! An intent in the record says which refs a push was to move. If the remote shows that it did, the
//! builds it promised are enqueued now; if not, the intent is dropped and the next run decides anew.

use anyhow::Result;

use super::run::Runner;
use crate::domain::name::Oid;
use crate::git::{RefUpdate, Repository};
use crate::store::intents::Intent;

/// What became of an interrupted push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The refs moved.
    Pushed,
    /// They did not.
    NotPushed,
}

impl Runner {
    /// Settles or drops the intents of runs that a crash interrupted.
    ///
    /// # Errors
    /// If the remote cannot be asked: it is not known then what happened, so nothing is decided.
    pub async fn recover(&self) -> Result<()> {
        self.store.interrupt_runs(Some(&self.site.name), self.clock.now()).await?;
        for intent in self.store.pending_intents(&self.site.name).await? {
            let now = self.clock.now();
            match self.fate(&intent).await? {
                Fate::Pushed => {
                    tracing::warn!(run = intent.intent.run_id, "finishing a run that was interrupted after its push");
                    self.store.settle_intent(intent.id, self.site.policy.overlap, now).await?;
                }
                Fate::NotPushed => {
                    tracing::warn!(run = intent.intent.run_id, "dropping a run that was interrupted before its push");
                    self.store.drop_intent(intent.id, now).await?;
                }
            }
        }
        Ok(())
    }

    async fn fate(&self, intent: &Intent) -> Result<Fate> {
        let updates: Vec<RefUpdate> = intent
            .intent
            .refs
            .iter()
            .map(|change| RefUpdate { name: change.name.clone(), old: change.old, new: change.new })
            .collect();
        if updates.is_empty() {
            // Nothing was to be pushed, so the builds were promised as soon as the intent was recorded.
            return Ok(Fate::Pushed);
        }
        self.site.look().await?;
        let names: Vec<String> = updates.iter().map(|update| update.name.clone()).collect();
        let current = self.site.remote.ls(&names).await?;
        self.site.with_git(move |git| fate_in(git, &updates, |name| current.get(name).copied())).await
    }
}

/// Decides from what the remote has now. `current` gives the id of a ref, `contains` says whether the
/// first commit is the second or one of its ancestors.
///
/// The push was atomic, so one ref that moved proves all. Since then others may have moved the refs
/// further, so a ref also proves it by containing what was pushed.
pub fn fate(
    refs: &[RefUpdate],
    current: impl Fn(&str) -> Option<Oid>,
    contains: impl Fn(Oid, Oid) -> Result<bool>,
) -> Result<Fate> {
    for update in refs {
        let now = current(&update.name);
        let moved = match (update.new, now) {
            (Some(new), Some(now)) => new == now || contains(new, now)?,
            (None, now) => now.is_none(),
            (Some(_), None) => false,
        };
        if moved && update.old != update.new {
            return Ok(Fate::Pushed);
        }
    }
    Ok(Fate::NotPushed)
}

/// [`fate`] against a repository that has fetched what the remote has.
///
/// # Errors
/// If the object database cannot be read.
pub fn fate_in(git: &Repository, refs: &[RefUpdate], current: impl Fn(&str) -> Option<Oid>) -> Result<Fate> {
    fate(refs, current, |new, now| Ok(git.contains(new) && git.contains(now) && git.is_ancestor(new, now)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oid(digit: char) -> Oid {
        digit.to_string().repeat(40).parse().expect("valid")
    }

    fn update(old: Option<char>, new: Option<char>) -> RefUpdate {
        RefUpdate { name: "refs/heads/main".into(), old: old.map(oid), new: new.map(oid) }
    }

    fn fate_of(refs: &[RefUpdate], now: Option<char>, ancestors: &[(char, char)]) -> Fate {
        let contains = |a: Oid, b: Oid| Ok(ancestors.iter().any(|&(x, y)| oid(x) == a && oid(y) == b));
        fate(refs, |_| now.map(oid), contains).expect("no I/O")
    }

    #[test]
    fn a_ref_at_its_new_place_proves_the_push() {
        assert_eq!(fate_of(&[update(Some('a'), Some('b'))], Some('b'), &[]), Fate::Pushed);
        assert_eq!(fate_of(&[update(Some('a'), Some('b'))], Some('a'), &[]), Fate::NotPushed);
    }

    #[test]
    fn somebody_who_pushed_on_top_of_us_hides_nothing() {
        assert_eq!(fate_of(&[update(Some('a'), Some('b'))], Some('c'), &[('b', 'c')]), Fate::Pushed);
        assert_eq!(fate_of(&[update(Some('a'), Some('b'))], Some('c'), &[]), Fate::NotPushed);
    }

    #[test]
    fn a_branch_that_was_to_go_and_is_gone_proves_it_too() {
        assert_eq!(fate_of(&[update(Some('a'), None)], None, &[]), Fate::Pushed);
        assert_eq!(fate_of(&[update(Some('a'), None)], Some('a'), &[]), Fate::NotPushed);
    }
}

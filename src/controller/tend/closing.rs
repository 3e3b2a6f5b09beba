//! Tells a forge why reviews end that a run closed. The reason is an entry of the outbox, which becomes visible in
//! the transaction that settles the push that deletes the branch.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Shown;
use super::perform::Pass;
use crate::controller::run::Runner;
use crate::domain::name::Oid;
use crate::domain::plan::{Plan, ReviewStep};
use crate::domain::review::markdown::sentence;
use crate::domain::review::{Seen, Stage, Thread};
use crate::forge::ForgeError;
use crate::store::outbox::{Entry, NewEntry};

/// The kind of the entries.
const KIND: &str = "review-close";
/// What the comment is known by where a forge closed the review itself, because its branch is gone.
const KEY: &str = "closed";

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Payload {
    branch: String,
    head: Oid,
    why: String,
}

/// The entries that follow from a plan.
pub(in crate::controller) fn entries(repository: &str, plan: &Plan) -> Vec<NewEntry> {
    let entry = |step: &ReviewStep| {
        let ReviewStep::Close { pkgbase, head, why } = step else { return None };
        let branch = pkgbase.review_branch();
        let key = format!("{KIND}/{repository}/{branch}/{head}");
        let payload = Payload { branch, head: *head, why: why.clone() };
        let payload = serde_json::to_value(payload).expect("names and ids are JSON");
        Some(NewEntry { repository: repository.to_owned(), kind: KIND.to_owned(), key, payload })
    };
    plan.reviews.iter().filter_map(entry).collect()
}

impl Runner {
    /// Closes what runs decided to close. Returns the branches of all such reviews, told or not.
    pub(super) async fn bid_farewell(&self, pass: &mut Pass<'_>, shown: &Shown) -> Result<BTreeSet<String>> {
        let mut closing = BTreeSet::new();
        for entry in self.store.outbox_open(&self.site.name, KIND).await? {
            let now = self.clock.now();
            let Ok(payload) = serde_json::from_value::<Payload>(entry.entry.payload.clone()) else {
                tracing::error!(entry = entry.id, "an entry of the outbox cannot be read");
                continue;
            };
            closing.insert(payload.branch.clone());
            if entry.not_before.is_some_and(|time| time > now) || pass.has_to_stop() {
                pass.note(waiting(&payload, &entry));
                continue;
            }
            match tell(pass, &payload, shown).await {
                Ok(()) => self.store.outbox_done(entry.id, now).await?,
                Err(error) => {
                    pass.failed(None, &error);
                    self.store.outbox_failed(entry.id, &error.to_string(), now).await?;
                }
            }
        }
        Ok(closing)
    }
}

/// Closes the review of exactly this head, if there is one; a branch can have a new one by now.
async fn tell(pass: &Pass<'_>, payload: &Payload, shown: &Shown) -> Result<(), ForgeError> {
    let is_it = |seen: &&Seen| seen.branch == payload.branch && seen.head == payload.head;
    let Some(seen) = shown.reviews.iter().filter(is_it).max_by_key(|seen| seen.number) else { return Ok(()) };
    let why = format!("Closed: {}.", sentence(&payload.why));
    let forge = &pass.hosted.forge;
    let told = match seen.stage {
        Stage::Open => forge.close(seen.number, why).await,
        Stage::Closed { .. } => forge.say(Thread::Review(seen.number), KEY.to_owned(), why).await,
        Stage::Merged => Ok(()),
    };
    match told {
        Err(ForgeError::Missing { .. }) => Ok(()),
        told => told,
    }
}

fn waiting(payload: &Payload, entry: &Entry) -> crate::domain::finding::Finding {
    let Payload { branch, why, .. } = payload;
    let error = entry.last_error.as_deref().unwrap_or("the forge has to be left alone");
    super::later(&format!("the review of `{branch}` is not closed yet, because {why}: {error}"))
}

//! Of several builders that one after the other have been given an attempt, only the last brings something: it claims
//! the attempt, and from then on every request has to name that claim.
//!
//! A builder that stood still for longer than its hold on a build lasts does not know that another has it. Who does know is
//! asked before a claim counts, so that neither a late claim nor a late request takes the build back.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::attempt::Attempt;
use super::{Exchange, ExchangeError};
use crate::domain::upload::Refusal;

/// Who asks for something or brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The attempt.
    pub attempt: &'a str,
    /// What the builder has claimed it with, if it has.
    pub claim: Option<&'a str>,
}

impl<'a> From<&'a str> for Caller<'a> {
    fn from(attempt: &'a str) -> Self {
        Self { attempt, claim: None }
    }
}

/// What is known of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Who claims the attempt has it.
    Holds,
    /// Somebody else has it.
    Lost,
    /// It cannot be told now, and why.
    Unsure(String),
}

/// Knows which builder has an attempt.
pub trait Judge: Send + Sync {
    /// Whether who claims an attempt so has it.
    fn judge<'a>(&'a self, attempt: &'a str, claim: &'a str) -> BoxFuture<'a, Verdict>;
}

impl Exchange {
    /// Has claims judged from now on, and builders told where to claim. The first that is told counts.
    pub fn judged_by(&self, judge: Arc<dyn Judge>) {
        let _ = self.0.judge.set(judge);
    }

    /// Gives the attempt to the builder with this claim, if it has the build: whoever had it before brings nothing more,
    /// and what it brought counts only if this builder makes the same. Said twice, it is the same.
    ///
    /// # Errors
    /// [`Refusal::Taken`] if another builder has it, [`ExchangeError::Unsure`] if that cannot be told.
    pub async fn claim(&self, attempt: &str, claim: &str) -> Result<(), ExchangeError> {
        let open = self.attempt(attempt)?;
        let _turn = open.claiming.lock().await;
        if let Some(judge) = self.0.judge.get() {
            match judge.judge(attempt, claim).await {
                Verdict::Holds => {}
                Verdict::Lost => return Err(Refusal::Taken.into()),
                Verdict::Unsure(reason) => return Err(ExchangeError::Unsure(reason)),
            }
        }
        Ok(open.hand_over(claim).await?)
    }

    /// The attempt, if it is the caller's.
    pub(super) fn served(&self, caller: Caller<'_>) -> Result<Arc<Attempt>, ExchangeError> {
        let open = self.attempt(caller.attempt)?;
        open.check_claim(caller.claim)?;
        Ok(open)
    }
}

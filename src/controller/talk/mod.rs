//! What people say on a forge to this program, and what it says to them: commands in comments, and the dashboard with
//! its boxes.
//!
//! What is heard is put on record first, once for each comment, and then done; that it was done is told by the record
//! of runs, so that a program that is killed in between does nothing twice. What could not be done rests and is
//! tried again. Decisions are those that `ctl` and the pages lead to: a command becomes a pipeline.

mod board;
mod explain;
mod ledger;
mod listen;
mod obey;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::ledger::{Ledger, Talk};
use super::run::Runner;
use super::tend::{Hosted, Rest};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::Pipeline;
use crate::domain::review::command::Asked;
use crate::domain::review::dashboard::Edition;
use crate::domain::review::{Thread, answer};
use crate::forge::{ForgeError, Patience};

/// The kind of the entries of the outbox.
const KIND: &str = "command";
/// What our comments with answers are known by.
const ANSWERS: &str = "answers";
/// What the dashboard is known by.
const BOARD: &str = "dashboard";

/// What somebody asked for, as it is put on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    /// Below what it was written.
    thread: Thread,
    /// The package that this is about.
    about: Option<PkgBase>,
    /// Below the review of a group: the updates that it is about.
    #[serde(default)]
    members: Vec<PkgBase>,
    /// Of what is decided about, what has its review with a group: the branch of that.
    #[serde(default)]
    together: BTreeMap<PkgBase, String>,
    /// How it was asked.
    way: Way,
    /// The commands.
    asked: Vec<Asked>,
}

/// How something was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "way", rename_all = "kebab-case")]
enum Way {
    /// Somebody wrote it.
    Comment {
        /// The forge's id of the comment.
        id: u64,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
        /// Whether it was changed afterwards, by whomever.
        edited: bool,
        /// The tips of the reviews that are decided about, as far as it is known which ones the writer has seen.
        seen: BTreeMap<PkgBase, Oid>,
    },
    /// Somebody ticked a box of the dashboard.
    Tick {
        /// In which text.
        edition: Edition,
        /// Who changed the text, as far as the forge told: one of them ticked it.
        by: BTreeSet<String>,
    },
}

impl Runner {
    /// Does what people asked for on the forge, answers, and keeps the dashboard. Returns what they decided meanwhile. Nothing
    /// here stops a run: what does not work now rests.
    pub(super) async fn converse(&self) -> VecDeque<Pipeline> {
        let mut decisions = VecDeque::new();
        let Some(hosted) = &self.hosted else { return decisions };
        let talked = async {
            if self.forge_rests().await? {
                return Ok(());
            }
            self.obey(hosted, &mut decisions).await?;
            // Where there can be no issues, people are answered all the same.
            let kept = self.keep_board(hosted, &mut decisions).await;
            self.say_answers(hosted).await.and(kept)
        };
        if let Err(error) = talked.await {
            tracing::warn!(
                repository = self.site.name,
                error = format!("{error:#}"),
                "what people ask for on the forge waits for the next look"
            );
        }
        decisions
    }

    /// Says what has not been said yet.
    async fn say_answers(&self, hosted: &Hosted) -> Result<()> {
        let mut ledger = self.talk_ledger().await?;
        let (now, mut patience) = (self.clock.now(), Patience::default());
        let is_due = |talk: &&Talk| !talk.said && talk.unsaid.as_ref().is_none_or(|rest| rest.until <= now);
        let unsaid: BTreeSet<Thread> = ledger.talks.iter().filter(is_due).map(|talk| talk.thread).collect();
        for thread in unsaid {
            let talk = ledger.talks.iter_mut().find(|talk| talk.thread == thread).expect("it was there");
            let said = hosted.forge.say(thread, ANSWERS.to_owned(), answer::comment(&talk.answers)).await;
            fail::fail_point!("talk.said", |_| crate::sys::signal::die());
            match said {
                Ok(()) | Err(ForgeError::Missing { .. }) => {
                    patience.answered();
                    (talk.said, talk.unsaid) = (true, None);
                }
                Err(error) => {
                    talk.unsaid = Some(Rest::after(talk.unsaid.as_ref(), &error, now));
                    self.remember(&ledger).await?;
                    if patience.ends_with(&error) {
                        return Err(error.into());
                    }
                    tracing::warn!(repository = self.site.name, %thread, %error, "an answer is said later");
                    continue;
                }
            }
            self.remember(&ledger).await?;
        }
        Ok(())
    }

    async fn talk_ledger(&self) -> Result<Ledger> {
        Ok(Ledger::read(&self.store, &self.site.name).await?)
    }

    async fn remember(&self, ledger: &Ledger) -> Result<()> {
        Ok(ledger.write(&self.store, &self.site.name, self.clock.now()).await?)
    }
}

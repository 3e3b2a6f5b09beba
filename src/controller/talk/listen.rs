//! Reads what people wrote since the last look, and puts the commands in it on record.
//!
//! Webhooks only say where to look at once; what they say themselves is not believed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::ledger::Ledger;
use super::{BOARD, KIND, Order, Way};
use crate::controller::run::Runner;
use crate::controller::site::Look;
use crate::controller::tend::Hosted;
use crate::domain::event::{Event, EventKind};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::review::command::{Asked, Verb, commands};
use crate::domain::review::dashboard::Edition;
use crate::domain::review::{Comment, Seen, Thread};
use crate::forge::{ForgeError, Patience};
use crate::store::outbox::NewEntry;

/// Comments below so many reviews, proposals and issues are read at once; the others come later.
const MOST: usize = 100;
/// So many deliveries are looked at at once.
const MOST_DELIVERIES: u32 = 1_000;
/// Comments that were changed so soon after they were written were changed by nobody: forges write them in steps.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(2);

/// An approval counts for what had been seen there for so long when it was written: a page that a person reads shows what
/// was there when it was opened, and whoever pushes while they read must not have that approved with it.
pub(super) const LOOKED_AT: SignedDuration = SignedDuration::from_mins(15);

/// Something below which people may have written.
struct Place {
    thread: Thread,
    changed_at: Timestamp,
    about: Option<PkgBase>,
    members: Vec<PkgBase>,
}

impl Runner {
    /// Reads what people wrote since the last look, below open reviews, proposals and the dashboard.
    ///
    /// Answers what the forge said of threads that could not be read, which are tried again later.
    ///
    /// # Errors
    /// What the forge said, if it is away; what could be read was put on record.
    pub(in crate::controller) async fn listen(
        &self,
        hosted: &Hosted,
        look: &Look,
        me: &str,
        reviews: &[Seen],
        together: &BTreeMap<PkgBase, String>,
    ) -> Result<Result<Vec<ForgeError>, ForgeError>> {
        let (mut ledger, now) = (self.talk_ledger().await?, self.clock.now());
        ledger.note_heads(&look.snapshot, reviews, now);
        ledger.together.clone_from(together);
        // Who changed issues matters to the dashboard only.
        let kinds = if self.site.policy.dashboard.is_some() { &[EventKind::Comment] } else { &EventKind::ASKING[..] };
        let told = self.store.open_deliveries(&self.site.name, kinds, MOST_DELIVERIES).await?;
        let places = match self.places(hosted, reviews, together).await {
            Ok(places) => places,
            Err(error) => {
                self.remember(&ledger).await?;
                return Ok(Err(error));
            }
        };
        ledger.keep(&places.iter().map(|place| place.thread).collect::<Vec<_>>());
        if ledger.begun_at.is_none() {
            // What is older was said to somebody else.
            ledger.begun_at = Some(now);
            for place in &places {
                ledger.has_read(place.thread, place.changed_at, now);
            }
        }
        let woken: BTreeSet<Thread> = told.iter().filter_map(|delivery| thread_of(&delivery.event)).collect();
        let read = self.read_all(hosted, &mut ledger, &places, &woken, me).await?;
        self.remember(&ledger).await?;
        if read.is_ok() {
            self.store.deliveries_done(told.iter().map(|delivery| delivery.number).collect(), now).await?;
        }
        Ok(read)
    }

    async fn places(
        &self,
        hosted: &Hosted,
        reviews: &[Seen],
        together: &BTreeMap<PkgBase, String>,
    ) -> Result<Vec<Place>, ForgeError> {
        let members = |seen: &Seen| {
            let of_it = together.iter().filter(|(_, branch)| **branch == seen.branch);
            of_it.map(|(pkgbase, _)| pkgbase.clone()).collect()
        };
        let review = |seen: &Seen| Place {
            thread: Thread::Review(seen.number),
            changed_at: seen.updated_at,
            about: PkgBase::from_review_branch(&seen.branch),
            members: members(seen),
        };
        let mut places: Vec<_> = reviews.iter().map(review).collect();
        let offers = hosted.forge.offers().await?;
        places.extend(offers.iter().map(|offer| Place {
            thread: Thread::Review(offer.number),
            changed_at: offer.updated_at,
            about: None,
            members: Vec::new(),
        }));
        if self.site.policy.dashboard.is_some() {
            match hosted.forge.own_issue(BOARD.to_owned()).await {
                Ok(Some(it)) => {
                    let (thread, changed_at) = (Thread::Issue(it.number), it.updated_at);
                    places.push(Place { thread, changed_at, about: None, members: Vec::new() });
                }
                // Where there can be no issues, reviews are listened to all the same.
                Ok(None) | Err(ForgeError::Missing { .. } | ForgeError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        places.sort_by_key(|place| std::cmp::Reverse(place.changed_at));
        Ok(places)
    }

    async fn read_all(
        &self,
        hosted: &Hosted,
        ledger: &mut Ledger,
        places: &[Place],
        woken: &BTreeSet<Thread>,
        me: &str,
    ) -> Result<Result<Vec<ForgeError>, ForgeError>> {
        let (mut asked, mut patience, mut unread) = (0, Patience::default(), Vec::new());
        for place in places {
            let begun = ledger.begun_at.filter(|_| woken.contains(&place.thread));
            let Some(since) = ledger.news_since(place.thread, place.changed_at).or(begun) else { continue };
            let now = self.clock.now();
            if ledger.rests(place.thread, now) {
                continue;
            }
            if asked == MOST {
                break;
            }
            asked += 1;
            let comments = match hosted.forge.comments(place.thread, since).await {
                Ok(comments) => comments,
                Err(ForgeError::Missing { .. }) => Vec::new(),
                Err(error) => {
                    ledger.not_read(place.thread, &error, now);
                    if patience.ends_with(&error) {
                        return Ok(Err(error));
                    }
                    unread.push(error);
                    continue;
                }
            };
            patience.answered();
            let heard = comments.into_iter().filter(|it| it.written_at >= since && !it.author.eq_ignore_ascii_case(me));
            let entries = heard.filter_map(|comment| self.order(ledger, place, comment)).collect();
            self.store.outbox_put(entries, now).await?;
            ledger.has_read(place.thread, place.changed_at, now);
        }
        Ok(Ok(unread))
    }

    fn order(&self, ledger: &Ledger, place: &Place, comment: Comment) -> Option<NewEntry> {
        let asked = commands(&comment.text);
        if asked.is_empty() {
            return None;
        }
        let Comment { id, author: by, written_at: at, changed_at, .. } = comment;
        let edited = changed_at.duration_since(at) > AT_ONCE;
        let seen = seen(ledger, place, &asked, at);
        let key = format!("{KIND}/{}/{}/{id}", self.site.name, place.thread);
        let way = Way::Comment { id, by, at, edited, seen };
        let decided: BTreeSet<&PkgBase> = decided(place, &asked).collect();
        let together = ledger.together.iter().filter(|(pkgbase, _)| decided.contains(pkgbase));
        let together = together.map(|(pkgbase, branch)| (pkgbase.clone(), branch.clone())).collect();
        let Place { thread, about, members, .. } = place;
        let (about, members) = (about.clone(), members.clone());
        let order = Order { thread: *thread, about, members, together, way, asked };
        Some(order.entry(&self.site.name, key))
    }
}

impl Order {
    /// What a tick on the dashboard asks for.
    pub(super) fn ticked(thread: Thread, edition: Edition, by: BTreeSet<String>, asked: Vec<Asked>) -> Self {
        let way = Way::Tick { edition, by };
        Self { thread, about: None, members: Vec::new(), together: BTreeMap::new(), way, asked }
    }

    /// As an entry of the outbox.
    pub(super) fn entry(&self, repository: &str, key: String) -> NewEntry {
        let payload = serde_json::to_value(self).expect("names and texts are JSON");
        NewEntry { repository: repository.to_owned(), kind: KIND.to_owned(), key, payload }
    }
}

/// What the writer of a comment has seen of the reviews that are decided about. Who approves something is held to that for
/// all of the comment.
fn seen(ledger: &Ledger, place: &Place, asked: &[Asked], at: Timestamp) -> BTreeMap<PkgBase, Oid> {
    let approves = |asked: &Asked| asked.command.as_ref().is_ok_and(|command| command.verb == Verb::Approve);
    let before = if asked.iter().any(approves) { LOOKED_AT } else { SignedDuration::ZERO };
    let read_at = at.checked_sub(before).unwrap_or(Timestamp::MIN);
    let packages = decided(place, asked);
    packages.filter_map(|pkgbase| Some((pkgbase.clone(), ledger.head_at(pkgbase, read_at)?))).collect()
}

/// The packages that are decided about.
fn decided<'a>(place: &'a Place, asked: &'a [Asked]) -> impl Iterator<Item = &'a PkgBase> {
    let decides = |asked: &&Asked| {
        asked.command.as_ref().is_ok_and(|command| matches!(command.verb, Verb::Approve | Verb::Reject))
    };
    let named = asked.iter().filter(decides).filter_map(|asked| asked.command.as_ref().ok());
    named.flat_map(|command| command.packages.iter()).chain(&place.about).chain(&place.members)
}

fn thread_of(event: &Event) -> Option<Thread> {
    let Event::Comment(comment) = event else { return None };
    Some(if comment.on_review { Thread::Review(comment.number) } else { Thread::Issue(comment.number) })
}

//! Does what people asked for on a forge, if they may, and once.

use std::collections::{BTreeSet, VecDeque};

use anyhow::Result;
use serde_json::Value;

use super::listen::LOOKED_AT;
use super::{KIND, Order, Way};
use crate::controller::run::Runner;
use crate::controller::tend::Hosted;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::{Pipeline, Refusal};
use crate::domain::policy::Person;
use crate::domain::review::Permission;
use crate::domain::review::answer::{Answer, told};
use crate::domain::review::command::{Asked, Command, PREFIX, Verb, help};
use crate::domain::review::dashboard::Done;
use crate::domain::review::markdown::{code, sentence};
use crate::domain::target::Target;
use crate::forge::ForgeError;
use crate::store::StoreError;
use crate::store::outbox::Entry;

/// So many orders are seen to at once; the others come later.
const MOST: usize = 50;
/// So often something is tried that does not work, half a minute to an hour apart.
const TRIES: u32 = 8;
/// Whose the runs are that a tick starts.
const TICK: &str = "a tick on the dashboard";

/// One order, as it is carried out.
struct Task<'a> {
    order: &'a Order,
    /// What the run is known by, which is how it is found again.
    cause: String,
    /// What people decided on the forge while it ran.
    decisions: &'a mut VecDeque<Pipeline>,
}

impl Runner {
    /// Sees to what is on record and due.
    pub(super) async fn obey(&self, hosted: &Hosted, decisions: &mut VecDeque<Pipeline>) -> Result<()> {
        let now = self.clock.now();
        let open = self.store.outbox_open(&self.site.name, KIND).await?;
        for entry in open.iter().filter(|entry| entry.not_before.is_none_or(|time| time <= now)).take(MOST) {
            let Ok(order) = serde_json::from_value::<Order>(entry.entry.payload.clone()) else {
                tracing::error!(entry = entry.id, "an entry of the outbox cannot be read");
                continue;
            };
            let texts = match self.carry_out(hosted, &order, decisions).await {
                Ok(texts) => texts,
                Err(error) => match self.put_off(entry, error).await? {
                    Some(text) => order.asked.iter().map(|_| text.clone()).collect(),
                    None => continue,
                },
            };
            fail::fail_point!("talk.acted", |_| crate::sys::signal::die());
            self.settle(entry, &order, texts).await?;
        }
        Ok(())
    }

    /// Has something that did not work tried again later; or what to say if that is in vain.
    async fn put_off(&self, entry: &Entry, error: anyhow::Error) -> Result<Option<String>> {
        let from_forge = error.downcast_ref::<ForgeError>();
        let is_away = matches!(from_forge, Some(ForgeError::Limited { .. } | ForgeError::Unreachable { .. }));
        let is_refused = matches!(from_forge, Some(ForgeError::Refused { .. }));
        if is_refused || (!is_away && entry.attempts + 1 >= TRIES) {
            return Ok(Some(format!("it does not work: {}", sentence(&format!("{error:#}")))));
        }
        self.store.outbox_failed(entry.id, &format!("{error:#}"), self.clock.now()).await?;
        if is_away { Err(error) } else { Ok(None) }
    }

    /// First what is to be said, then that nothing is to be done any more.
    async fn settle(&self, entry: &Entry, order: &Order, texts: Vec<String>) -> Result<()> {
        let (mut ledger, now) = (self.talk_ledger().await?, self.clock.now());
        let all = order.asked.iter().zip(texts);
        match &order.way {
            Way::Comment { id, by, at, .. } => {
                let answer = |(place, (asked, text)): (usize, (&Asked, String))| {
                    let (written, by) = (asked.written.clone(), by.clone());
                    Answer { comment: *id, place, written, by, at: *at, text }
                };
                ledger.answer(order.thread, all.enumerate().map(answer).collect(), now);
            }
            Way::Tick { .. } => {
                for (asked, text) in all {
                    ledger.done(Done { command: asked.written.clone(), at: now, text: in_a_line(&text) });
                }
            }
        }
        self.remember(&ledger).await?;
        fail::fail_point!("talk.remembered", |_| crate::sys::signal::die());
        Ok(self.store.outbox_done(entry.id, now).await?)
    }

    /// What came of each command.
    ///
    /// # Errors
    /// If it did not work, and may later.
    async fn carry_out(
        &self,
        hosted: &Hosted,
        order: &Order,
        decisions: &mut VecDeque<Pipeline>,
    ) -> Result<Vec<String>> {
        let needs = |asked: &Asked| match &asked.command {
            Ok(command) => command.verb.needs(),
            Err(_) => Permission::Read,
        };
        let may = match &order.way {
            Way::Comment { by, .. } if order.asked.iter().any(|it| needs(it) > Permission::Read) => {
                hosted.forge.permission(by.clone()).await?
            }
            Way::Comment { .. } => Permission::Read,
            Way::Tick { by, .. } => self.weakest(hosted, by).await?,
        };
        let mut texts = Vec::new();
        for (place, asked) in order.asked.iter().enumerate() {
            let text = match (&asked.command, &order.way) {
                (Err(wrong), _) => wrong.clone(),
                (Ok(_), Way::Comment { edited: true, .. }) => EDITED.to_owned(),
                (Ok(command), way) if may < command.verb.needs() => {
                    format!("refused: {} may not push to this project", way.people())
                }
                (Ok(command), way) => {
                    let task = Task { order, cause: way.cause(place, &asked.written), decisions: &mut *decisions };
                    self.act(task, command).await?
                }
            };
            texts.push(text);
        }
        Ok(texts)
    }

    /// What the one of these people may who may least. Where nobody is named, only those can have changed the text
    /// whom the forge lets do it, and nothing that a box does needs more.
    async fn weakest(&self, hosted: &Hosted, people: &BTreeSet<String>) -> Result<Permission> {
        let mut least = Permission::Write;
        for person in people {
            least = least.min(hosted.forge.permission(person.clone()).await?);
        }
        Ok(least)
    }

    async fn act(&self, mut task: Task<'_>, command: &Command) -> Result<String> {
        let packages = meant(task.order, command);
        if packages.is_empty() && command.verb.takes_packages() {
            return Ok(format!("name the packages: `{} PKG…`", command.verb.as_str()));
        }
        let targets = || packages.iter().map(Target::package).collect::<Vec<_>>();
        let because = || {
            let by = task.order.way.by();
            command.reason.as_ref().map_or_else(|| format!("asked for by {by}"), |why| format!("{why} ({by})"))
        };
        let pipeline = match command.verb {
            Verb::Help => return Ok(format!("this is what can be asked for\n\n{}", help())),
            Verb::Explain => return self.explain(&packages).await,
            Verb::Retry => return self.each(&packages, Verb::Retry).await,
            Verb::Release => return self.each(&packages, Verb::Release).await,
            Verb::Approve | Verb::Reject => return self.decide(task, command, &packages).await,
            Verb::Deploy => Pipeline::Deploy(targets()),
            Verb::Rebuild => Pipeline::Bump(targets()),
            Verb::Hold => Pipeline::Quarantine(packages.clone(), because()),
            Verb::Lift => Pipeline::Lift(packages.clone(), because()),
            Verb::Run => Pipeline::OnSchedule,
        };
        let document = self.once(&mut task, &pipeline).await?;
        Ok(told(&document, &packages.into_iter().collect()))
    }

    /// The document of the run that was made for this, now or by a program that was killed before it could say so.
    async fn once(&self, task: &mut Task<'_>, pipeline: &Pipeline) -> Result<Value> {
        if let Some(run) = self.store.performed_run(&self.site.name, pipeline.name(), &task.cause).await? {
            return Ok(run.document.unwrap_or_default());
        }
        let (report, decisions) = Box::pin(self.recorded(pipeline, &task.cause, true)).await?;
        task.decisions.extend(decisions);
        Ok(serde_json::to_value(report)?)
    }

    /// Approves or rejects what the writer has seen.
    async fn decide(&self, mut task: Task<'_>, command: &Command, packages: &[PkgBase]) -> Result<String> {
        let Way::Comment { by, seen, .. } = &task.order.way else { return Ok(NOT_BY_TICK.to_owned()) };
        if command.verb == Verb::Approve && !self.site.policy.reviews.approvals {
            return Ok(NOT_HERE.to_owned());
        }
        let person = match Person::new(by) {
            Ok(person) if !person.is_automatic() => person,
            _ => return Ok(format!("nobody can be recorded as {}: ask with `pkgwarden ctl review`", code(by))),
        };
        let heads = self.site.look().await?.snapshot.refs.reviews.clone();
        let cause = task.cause.clone();
        let mut texts = Vec::new();
        for pkgbase in packages {
            if let Some(why) = approves_together(task.order, command.verb, pkgbase) {
                texts.push((pkgbase, why));
                continue;
            }
            let head = match decided_head(heads.get(pkgbase), seen.get(pkgbase), command.head.as_deref()) {
                Ok(head) => head,
                Err(Undecided::Because(why)) => {
                    texts.push((pkgbase, why));
                    continue;
                }
                Err(Undecided::Unseen(now)) => {
                    let is_about = task.order.about.as_ref() == Some(pkgbase);
                    let why = unseen(command.verb, Some(pkgbase).filter(|_| !is_about), now);
                    texts.push((pkgbase, why));
                    continue;
                }
            };
            let pipeline = if command.verb == Verb::Approve {
                Pipeline::Approve(pkgbase.clone(), head, person.clone())
            } else {
                let refusal = Refusal { by: Some(by.clone()), reason: command.reason.clone(), content: None };
                Pipeline::Reject(pkgbase.clone(), head, refusal)
            };
            task.cause = format!("{cause}: {pkgbase}");
            let document = self.once(&mut task, &pipeline).await?;
            texts.push((pkgbase, told(&document, &[pkgbase.clone()].into())));
        }
        Ok(joined(texts))
    }

    /// Tries builds again, or lets blocked ones go.
    async fn each(&self, packages: &[PkgBase], verb: Verb) -> Result<String> {
        let held = self.held().await?;
        let mut texts = Vec::new();
        for pkgbase in packages {
            let text = match held.get(pkgbase) {
                Some(why) => format!("nothing is built: {}", sentence(why)),
                None => self.build_again(pkgbase, verb).await?,
            };
            texts.push((pkgbase, text));
        }
        Ok(joined(texts))
    }

    async fn build_again(&self, pkgbase: &PkgBase, verb: Verb) -> Result<String> {
        let now = self.clock.now();
        let Some(build) = self.store.last_builds(&self.site.name, pkgbase, 1).await?.pop() else {
            return Ok("there is no build of it".to_owned());
        };
        let done = match verb {
            Verb::Retry => self.store.retry_build(build.id, now).await.map(drop),
            _ => self.store.release_build(build.id, now).await.map(drop),
        };
        match done {
            Ok(()) => Ok("it is built as soon as there is room".to_owned()),
            Err(error @ (StoreError::Illegal(_) | StoreError::Refused(_) | StoreError::NotFound { .. })) => {
                Ok(sentence(&error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }
}

const EDITED: &str = "the comment was changed after it was written, and forges do not say by whom: write it anew";
const NOT_HERE: &str = "approvals on the forge do not count here: approve with `pkgwarden ctl review approve`";
const NOT_BY_TICK: &str = "that takes a comment, because nobody knows who ticked it";

impl Way {
    /// Who asked.
    fn by(&self) -> &str {
        match self {
            Self::Comment { by, .. } => by,
            Self::Tick { .. } => TICK,
        }
    }

    /// All who may have asked, as Markdown.
    fn people(&self) -> String {
        match self {
            Self::Comment { by, .. } => code(by),
            Self::Tick { by, .. } => by.iter().map(|by| code(by)).collect::<Vec<_>>().join(" or "),
        }
    }

    /// What the run is known by that is made for the command at this place.
    fn cause(&self, place: usize, written: &str) -> String {
        let more = if place == 0 { String::new() } else { format!(", {}", place + 1) };
        match self {
            Self::Comment { id, by, .. } => format!("comment {id} by {}{more}", by.escape_debug()),
            Self::Tick { edition, .. } => format!("{TICK} ({}): {written}", edition.0),
        }
    }
}

/// Why nothing is decided.
#[derive(Debug, PartialEq, Eq)]
enum Undecided {
    Because(String),
    /// The writer cannot have looked at what is there now.
    Unseen(Oid),
}

/// The packages that a command means. What is decided about below the review of a group is all that it shows; what is
/// done with packages otherwise is not meant for all of them.
fn meant(order: &Order, command: &Command) -> Vec<PkgBase> {
    match (&order.about, command.verb) {
        _ if !command.packages.is_empty() => command.packages.clone(),
        (Some(about), _) => vec![about.clone()],
        (None, Verb::Approve | Verb::Reject | Verb::Explain) => order.members.clone(),
        (None, _) => Vec::new(),
    }
}

/// Why a comment does not approve an update that has its review with a group. What the branch of the group holds may be
/// something else than what would be merged: commits of people, or what waited before.
fn approves_together(order: &Order, verb: Verb, pkgbase: &PkgBase) -> Option<String> {
    let branch = order.together.get(pkgbase).filter(|_| verb == Verb::Approve)?;
    let branch = code(branch);
    Some(format!(
        "not approved: its review is the one of the group, on {branch}, and comments do not approve that: approve the review \
         itself on the forge, or one update with `pkgwarden ctl review approve`"
    ))
}

/// The commit that is decided about; or why none is.
fn decided_head(now: Option<&Oid>, seen: Option<&Oid>, named: Option<&str>) -> Result<Oid, Undecided> {
    let Some(now) = now else { return Err(Undecided::Because("no update of it waits".to_owned())) };
    match (named, seen) {
        (Some(named), _) if now.to_string().starts_with(named) => Ok(*now),
        (Some(named), _) => {
            Err(Undecided::Because(format!("its review is at {now}, and not at {named}: look at it again")))
        }
        (None, Some(seen)) if seen == now => Ok(*now),
        (None, _) => Err(Undecided::Unseen(*now)),
    }
}

/// What to do about something that the writer cannot have looked at. The package is named where it has to be.
fn unseen(verb: Verb, pkgbase: Option<&PkgBase>, now: Oid) -> String {
    if verb != Verb::Approve {
        return "its review has changed since the comment was written, or shortly before: look at it again".to_owned();
    }
    let named = pkgbase.map(|pkgbase| format!(" {pkgbase}")).unwrap_or_default();
    let minutes = LOOKED_AT.as_mins();
    format!(
        "its review has changed since the comment was written, or less than {minutes} minutes before: look at it again; \
         for what is there now, write `{PREFIX} approve{named} --head {now}`"
    )
}

fn joined(texts: Vec<(&PkgBase, String)>) -> String {
    match texts.as_slice() {
        [(_, text)] => text.clone(),
        _ => texts.into_iter().fold("done".to_owned(), |all, (pkgbase, text)| {
            format!("{all}\n- {}: {}", code(pkgbase.as_str()), in_a_line(&text))
        }),
    }
}

fn in_a_line(text: &str) -> String {
    let lines: Vec<_> =
        text.lines().map(|line| line.trim_start_matches("- ")).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;
    use crate::domain::review::Thread;

    #[test]
    fn only_what_was_seen_or_named_is_decided_about() {
        let [old, new] = [1, 2].map(|byte| Oid::from_bytes([byte; 20]));
        assert_eq!(decided_head(Some(&new), Some(&new), None), Ok(new));
        assert_eq!(decided_head(Some(&new), None, Some("0202020")), Ok(new));
        for (now, seen) in [(Some(&new), Some(&old)), (Some(&new), None)] {
            assert_eq!(decided_head(now, seen, None), Err(Undecided::Unseen(new)));
        }
        for (now, seen, named, why) in [
            (None, Some(&old), None, "no update of it waits"),
            (Some(&new), Some(&new), Some("0101010"), "and not at 0101010"),
        ] {
            let told = decided_head(now, seen, named).unwrap_err();
            assert!(matches!(&told, Undecided::Because(told) if told.contains(why)), "{told:?}");
        }
        let foo = PkgBase::new("foo").unwrap();
        let told = [None, Some(&foo)].map(|named| unseen(Verb::Approve, named, new));
        assert!(told[0].ends_with(&format!("write `/pkgwarden approve --head {new}`")), "{told:?}");
        assert!(told[1].ends_with(&format!("write `/pkgwarden approve foo --head {new}`")), "{told:?}");
        assert!(!unseen(Verb::Reject, None, new).contains("--head"));
    }

    #[test]
    fn below_the_review_of_a_group_all_of_it_is_rejected_and_nothing_approved() {
        let [bar, foo] = ["bar", "foo"].map(|name| PkgBase::new(name).expect("legal"));
        let mut order =
            Order::ticked(Thread::Review(1), crate::domain::review::dashboard::Edition(3), BTreeSet::new(), Vec::new());
        order.members = vec![bar.clone(), foo.clone()];
        order.together = order.members.iter().map(|it| (it.clone(), "updates-pair".to_owned())).collect();
        let meant = |text: &str| meant(&order, &Command::parse(text).expect("a command"));
        assert_eq!(meant("reject too risky"), [bar.clone(), foo.clone()]);
        assert_eq!(meant("approve foo"), std::slice::from_ref(&foo));
        assert_eq!(meant("hold"), [], "that is not meant for all");
        assert_eq!(approves_together(&order, Verb::Reject, &foo), None);
        let told = approves_together(&order, Verb::Approve, &foo).expect("it is refused");
        assert!(told.contains("`updates-pair`") && told.contains("approve the review itself"), "{told}");
        let baz = PkgBase::new("baz").expect("legal");
        assert_eq!(approves_together(&order, Verb::Approve, &baz), None);
    }

    #[test]
    fn runs_of_different_commands_have_different_causes() {
        let comment = Way::Comment {
            id: 7,
            by: "mira".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            edited: false,
            seen: BTreeMap::new(),
        };
        assert_eq!([0, 1].map(|place| comment.cause(place, "deploy")), ["comment 7 by mira", "comment 7 by mira, 2"]);
        let tick = Way::Tick { edition: crate::domain::review::dashboard::Edition(3), by: BTreeSet::new() };
        assert_ne!(tick.cause(0, "rebuild a"), tick.cause(0, "rebuild b"));
    }
}

//! Keeps the dashboard: one issue whose text says how the repository stands, and whose boxes act when they are ticked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::Result;
use serde_json::Value;

use super::ledger::Ledger;
use super::{BOARD, KIND, Order};
use crate::controller::run::Runner;
use crate::controller::site::Look;
use crate::controller::tend::Hosted;
use crate::domain::build::BuildState;
use crate::domain::event::{Event, EventKind};
use crate::domain::name::PkgBase;
use crate::domain::plan::Pipeline;
use crate::domain::review::command::{Asked, Command};
use crate::domain::review::dashboard::{Edition, Facts, Failing, Remark, Waiting, dashboard, ticks};
use crate::domain::review::{OwnIssue, Thread};
use crate::domain::state::PackageState;
use crate::store::builds::Build;
use crate::store::deliveries::Delivery;

/// What somebody ticks while other ticks are seen to is looked for so often before the text is written.
const ROUNDS: usize = 3;
/// So many deliveries are looked at at once.
const MOST_DELIVERIES: u32 = 1_000;
/// So many runs are searched for the last one that asked all sources.
const RUNS_SEARCHED: u32 = 50;

impl Runner {
    /// Sees to what people ticked, and writes the text if it says something else by now.
    pub(super) async fn keep_board(&self, hosted: &Hosted, decisions: &mut VecDeque<Pipeline>) -> Result<()> {
        let Some(title) = &self.site.policy.dashboard else { return Ok(()) };
        let me = hosted.forge.me().await?;
        let mut issue = hosted.forge.own_issue(BOARD.to_owned()).await?;
        for _ in 0..ROUNDS {
            let Some(shown) = &issue else { break };
            let told = self.store.open_deliveries(&self.site.name, &[EventKind::Issue], MOST_DELIVERIES).await?;
            let by = editors(&told, shown.number, &me);
            let noted = self.note_ticks(shown, &by).await?;
            let told = told.iter().map(|delivery| delivery.number).collect();
            self.store.deliveries_done(told, self.clock.now()).await?;
            if !noted {
                break;
            }
            self.obey(hosted, decisions).await?;
            issue = hosted.forge.own_issue(BOARD.to_owned()).await?;
        }
        let mut ledger = self.talk_ledger().await?;
        let facts = self.facts(&ledger).await?;
        let shown = issue.as_ref().map(|issue| edition(&ledger, issue));
        if let (Some(issue), Some(shown)) = (&issue, shown)
            && says(&issue.body, &dashboard(&facts, shown))
        {
            return Ok(());
        }
        let last = ledger.board.written.iter().map(|(edition, _)| *edition).chain(shown).max().unwrap_or_default();
        let next = Edition(last.0 + 1);
        let text = dashboard(&facts, next);
        // First, so that whatever becomes of it, the ticks in it can be told.
        ledger.board.written.retain(|(edition, _)| Some(*edition) == shown);
        ledger.board.written.push((next, text.clone()));
        self.remember(&ledger).await?;
        hosted.forge.issue(BOARD.to_owned(), title.clone(), text).await?;
        Ok(())
    }

    /// Puts ticks on record, each once for each of our texts. Says whether there are any that wait to be seen to.
    async fn note_ticks(&self, issue: &OwnIssue, by: &BTreeSet<String>) -> Result<bool> {
        let ledger = self.talk_ledger().await?;
        let edition = edition(&ledger, issue);
        let Some((_, old)) = ledger.board.written.iter().find(|(written, _)| *written == edition) else {
            return Ok(false);
        };
        let thread = Thread::Issue(issue.number);
        let entry = |command: Command| {
            let key = format!("{KIND}/{}/tick/{}/{}/{command}", self.site.name, issue.number, edition.0);
            let asked = vec![Asked { written: command.to_string(), command: Ok(command) }];
            Order::ticked(thread, edition, by.clone(), asked).entry(&self.site.name, key)
        };
        let entries: Vec<_> = ticks(old, &issue.body).into_iter().map(entry).collect();
        let keys: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        let now = self.clock.now();
        self.store.outbox_put(entries, now).await?;
        let open = self.store.outbox_open(&self.site.name, KIND).await?;
        Ok(open.iter().any(|it| it.not_before.is_none_or(|time| time <= now) && keys.contains(&it.entry.key)))
    }

    async fn facts(&self, ledger: &Ledger) -> Result<Facts> {
        let look = self.site.look().await?;
        let name = &self.site.name;
        let newest = self.store.newest_builds(name).await?;
        let document = self.last_pass().await?;
        let mut outdated = decisions(&document, |it| it["observation"] == "changed" && it["action"] == "skip");
        outdated.extend(newer(&look));
        let held = self.held_in(&look).into_iter();
        Ok(Facts {
            repository: name.clone(),
            pages: self.page("").map(|page| page.trim_end_matches('/').to_owned()),
            waiting: self.waiting(&look, ledger).await?,
            failing: newest.values().filter_map(|build| self.failing(build)).collect(),
            blocked: blocked(&newest),
            outdated,
            unknown: decisions(&document, |it| it["observation"] == "unknown"),
            held: held.map(|(pkgbase, text)| Remark { pkgbase: Some(pkgbase), text }).collect(),
            problems: problems(&document),
            done: ledger.board.done.clone(),
        })
    }

    /// What the last run left that asked all sources.
    async fn last_pass(&self) -> Result<Value> {
        let runs = self.store.runs(Some(&self.site.name), None, RUNS_SEARCHED).await?;
        let pass = runs.iter().find(|run| run.pipeline == Pipeline::OnSchedule.name() && run.finished_at.is_some());
        let Some(pass) = pass else { return Ok(Value::Null) };
        Ok(self.store.run(&pass.id).await?.and_then(|run| run.document).unwrap_or_default())
    }

    async fn waiting(&self, look: &Look, ledger: &Ledger) -> Result<Vec<Waiting>> {
        let snapshot = look.snapshot.clone();
        let reviews: Vec<_> = snapshot
            .waiting_reviews()
            .filter_map(|pkgbase| Some((pkgbase.clone(), snapshot.reviews.get(pkgbase)?.head)))
            .collect();
        let since = self.site.with_git(move |git| {
            let times = reviews.iter().map(|(pkgbase, head)| Ok((pkgbase.clone(), git.commit_facts(*head)?.time)));
            times.collect::<Result<Vec<_>>>()
        });
        let one = |(pkgbase, since)| {
            let state = look.snapshot.states.get(&pkgbase);
            let weight = state.and_then(PackageState::proposed_weight).map(str::to_owned);
            let url = ledger.heads.get(&pkgbase).and_then(|head| head.url.clone());
            Waiting { pkgbase, since, weight, url }
        };
        let mut waiting: Vec<Waiting> = since.await?.into_iter().map(one).collect();
        waiting.sort_by(|a, b| (a.since, &a.pkgbase).cmp(&(b.since, &b.pkgbase)));
        Ok(waiting)
    }

    fn failing(&self, build: &Build) -> Option<Failing> {
        let failed = matches!(build.state, BuildState::Failed | BuildState::TimedOut | BuildState::Lost);
        failed.then(|| Failing {
            pkgbase: build.pkgbase.clone(),
            state: build.state.as_str(),
            at: build.finished_at.unwrap_or(build.changed_at),
            message: build.message.clone(),
            url: self.page(&format!("builds/{}", build.id)),
        })
    }
}

/// Who changed an issue, beside ourselves, as far as the forge told.
fn editors(told: &[Delivery], number: u64, me: &str) -> BTreeSet<String> {
    let editor = |delivery: &Delivery| match &delivery.event {
        Event::Issue(issue) if issue.number == number && !issue.by.eq_ignore_ascii_case(me) => Some(issue.by.clone()),
        _ => None,
    };
    told.iter().filter_map(editor).collect()
}

fn blocked(newest: &BTreeMap<PkgBase, Build>) -> Vec<Remark> {
    let blocked = newest.values().filter(|build| build.state == BuildState::Blocked);
    let text = || "something that it needs has failed".to_owned();
    blocked.map(|build| Remark { pkgbase: Some(build.pkgbase.clone()), text: text() }).collect()
}

/// Versions that wait because people work on the branch that they would overwrite.
fn newer(look: &Look) -> Vec<Remark> {
    let newer = look.snapshot.states.iter().filter_map(|(pkgbase, state)| Some((pkgbase, state.newer()?)));
    let text = |version| format!("{version} waits because people have commits on the branch of its review");
    newer.map(|(pkgbase, version)| Remark { pkgbase: Some(pkgbase.clone()), text: text(version) }).collect()
}

fn decisions(document: &Value, wanted: impl Fn(&Value) -> bool) -> Vec<Remark> {
    let all = document["packages"].as_array().into_iter().flatten();
    all.filter(|it| wanted(it)).filter_map(|it| remark(it, &it["why"])).collect()
}

fn problems(document: &Value) -> Vec<Remark> {
    let failed = document["error"].as_str().map(|error| Remark { pkgbase: None, text: error.to_owned() });
    let mut all: Vec<&Value> = document["problems"].as_array().into_iter().flatten().collect();
    all.sort_by_key(|it| it["severity"] != "error");
    failed.into_iter().chain(all.into_iter().filter_map(|it| remark(it, &it["message"]))).collect()
}

fn remark(it: &Value, text: &Value) -> Option<Remark> {
    let pkgbase = it["pkgbase"].as_str().and_then(|name| PkgBase::new(name).ok());
    Some(Remark { pkgbase, text: text.as_str()?.to_owned() })
}

/// Which of our texts an issue shows; the newest if somebody took away what tells it.
fn edition(ledger: &Ledger, issue: &OwnIssue) -> Edition {
    let newest = || ledger.board.written.last().map(|(edition, _)| *edition).unwrap_or_default();
    Edition::of(&issue.body).unwrap_or_else(newest)
}

/// Whether an issue shows this text and nothing else, but for what the forge's adapter hides in it.
fn says(body: &str, text: &str) -> bool {
    let mut shown = body.trim_end().lines().map(str::trim_end);
    let same = text.trim_end().lines().all(|line| shown.next() == Some(line.trim_end()));
    same && shown.all(|line| line.is_empty() || line.starts_with("<!-- pkgwarden:"))
}

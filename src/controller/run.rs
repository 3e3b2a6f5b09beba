//! One run: look, ask, decide, apply; again if somebody pushed in between.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::Serialize;

use super::apply;
use super::handback;
use super::linkage;
use super::observe::Answers;
use super::recover::{self, Fate};
use super::site::{Look, Site};
use super::tend::{self, Hosted, Tended};
use super::turn::Turns;
use crate::domain::build::Wave;
use crate::domain::chaotic::{self, Schedule};
use crate::domain::finding::Finding;
use crate::domain::graph::Graph;
use crate::domain::library::Published;
use crate::domain::lint;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::{Document, Pipeline, Plan, Problem};
use crate::domain::review::status::Told;
use crate::git::{PushError, RefUpdate};
use crate::publish::outlets::Outlets;
use crate::store::Store;
use crate::store::intents::{Enqueued, Intent, NewIntent, RefChange};
use crate::store::runs::RunOutcome;
use crate::sys::clock::Clock;
use crate::sys::fs;
use crate::telemetry::progress;

/// How often a run is planned anew because somebody pushed while it was under way.
const REPLANS: usize = 5;

/// So many decisions of people on the forge are followed after one run.
const MOST_DECISIONS: usize = 50;
/// What such runs are started by.
const FORGE: &str = "forge";

/// What `run` prints: the plan and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The plan as it was performed.
    #[serde(flatten)]
    pub document: Document,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Whether any ref moved.
    pub pushed: bool,
    /// The id of the run in the record.
    pub run_id: String,
    /// How many builds were enqueued.
    pub enqueued: usize,
    /// Packages that were being built, so that this request was dropped: the policy wants it so.
    pub discarded: Vec<PkgBase>,
}

/// Performs runs on one repository.
#[derive(Clone)]
pub struct Runner {
    /// The repository.
    pub site: Arc<Site>,
    /// The record.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether builds are handed out from the record; if not, somebody else schedules them.
    enqueues: bool,
    /// Where the files for an existing Chaotic Manager are written.
    emit_to: Option<PathBuf>,
    /// What is published from here.
    outlets: Option<Outlets>,
    /// Where the monorepo is hosted, if reviews are opened there.
    pub(super) hosted: Option<Hosted>,
    /// The pipeline of GitLab in which runs are performed, if they are, and the commit that it is for.
    pipeline: Option<(u64, Oid)>,
    /// One run at a time.
    pub(super) turns: Turns,
    /// The forge is told one thing at a time.
    pub(super) telling: Turns,
}

impl Runner {
    /// A runner for one repository.
    #[must_use]
    pub fn new(site: Arc<Site>, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            site,
            store,
            clock,
            enqueues: true,
            emit_to: None,
            outlets: None,
            hosted: None,
            pipeline: None,
            turns: Turns::default(),
            telling: Turns::default(),
        }
    }

    /// Whether runs enqueue the builds they plan.
    #[must_use]
    pub fn enqueues(self, enqueues: bool) -> Self {
        Self { enqueues, ..self }
    }

    /// Whether what runs plan is built and published by somebody else.
    #[must_use]
    pub const fn leaves_builds_to_others(&self) -> bool {
        !self.enqueues
    }

    /// Has runs look at which libraries what is published here needs.
    #[must_use]
    pub fn looks_at(self, outlets: Outlets) -> Self {
        Self { outlets: Some(outlets), ..self }
    }

    /// Has runs look after the reviews on a forge.
    #[must_use]
    pub fn hosted_on(self, hosted: Option<Hosted>) -> Self {
        Self { hosted, ..self }
    }

    /// Says in which pipeline of GitLab runs are performed, and for which commit: statuses on that commit belong to it.
    #[must_use]
    pub fn in_pipeline(self, pipeline: Option<(u64, Oid)>) -> Self {
        Self { pipeline, ..self }
    }

    /// Has every run write files for an existing Chaotic Manager into this directory.
    #[must_use]
    pub fn emits_to(self, dir: Option<PathBuf>) -> Self {
        Self { emit_to: dir, ..self }
    }

    /// Has runs take turns with those of other processes, by locking this file. Whatever is recorded as
    /// under way while it is our turn, was interrupted.
    #[must_use]
    pub fn takes_turns_by(self, lock: PathBuf) -> Self {
        let telling = Turns::by_file(lock.with_extension("statuses.lock"));
        Self { turns: Turns::by_file(lock), telling, ..self }
    }

    /// Finishes what a crash interrupted, then performs one run and records it, and runs that follow from what
    /// people decided on the forge.
    ///
    /// # Errors
    /// If the remote cannot be reached, or refuses the push, or the record cannot be written. Nothing
    /// has moved then, and the next run finds everything again.
    pub async fn run(&self, pipeline: &Pipeline, cause: &str) -> Result<Report> {
        let _turn = self.turns.take().await?;
        self.recover().await?;
        let (report, decisions) = self.recorded(pipeline, cause, true).await?;
        self.follow(decisions, vec![pipeline.clone()]).await;
        let decisions = self.converse().await;
        self.follow(decisions, Vec::new()).await;
        Ok(report)
    }

    /// Looks at the forge without a run of its own: what people decided and asked for there is done. Says whether
    /// anything was.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub async fn attend_forge(&self) -> Result<bool> {
        if self.hosted.is_none() {
            return Ok(false);
        }
        let _turn = self.turns.take().await?;
        self.recover().await?;
        let before = self.store.runs(Some(&self.site.name), None, 1).await?;
        let tended = self.tend().await?;
        for finding in &tended.findings {
            tracing::warn!(repository = self.site.name, "{finding}");
        }
        self.follow(tended.decisions.into(), Vec::new()).await;
        let decisions = self.converse().await;
        self.follow(decisions, Vec::new()).await;
        Ok(self.store.runs(Some(&self.site.name), None, 1).await? != before)
    }

    /// Performs what people decided on the forge, but what has been performed just now.
    async fn follow(&self, mut decisions: VecDeque<Pipeline>, mut performed: Vec<Pipeline>) {
        while let Some(decision) = decisions.pop_front() {
            if performed.contains(&decision) || performed.len() > MOST_DECISIONS {
                continue;
            }
            performed.push(decision.clone());
            // Of decisions that come together, the last shows on the forge what all of them have led to.
            match self.recorded(&decision, FORGE, decisions.is_empty()).await {
                Ok((_, more)) => decisions.extend(more),
                // It is in the record; the first run went well all the same.
                Err(error) => tracing::warn!(error = format!("{error:#}"), "a decision on the forge is not followed"),
            }
        }
    }

    /// Performs one run and records it. Returns what people decided on the forge meanwhile, if it `tends` reviews.
    pub(super) async fn recorded(
        &self,
        pipeline: &Pipeline,
        cause: &str,
        tends: bool,
    ) -> Result<(Report, VecDeque<Pipeline>)> {
        let run_id = self.store.begin_run(&self.site.name, pipeline.name(), cause, self.clock.now()).await?;
        let mut result = self.attempt(pipeline, &run_id).await;
        let mut decisions = VecDeque::new();
        if let Ok(report) = &mut result {
            // Whatever comes of it, what was to be done here is done.
            let findings = self.hand_back().await.unwrap_or_else(|error| {
                vec![Finding::warning("aur-push-failed", format!("nothing is pushed to the AUR: {error:#}"))]
            });
            report.document.problems.extend(findings.iter().map(Problem::from));
            let tended = if tends { self.tend().await } else { Ok(Tended::default()) };
            let tended = tended.unwrap_or_else(|error| {
                let message = format!("reviews are not looked after: {error:#}");
                Tended { findings: vec![Finding::warning("forge-later", message)], ..Tended::default() }
            });
            report.document.problems.extend(tended.findings.iter().map(Problem::from));
            report.document.problems.extend(self.look_around().await.iter().map(Problem::from));
            decisions = tended.decisions.into();
        }
        let (outcome, document) = match &result {
            Ok(report) => (RunOutcome::Done, serde_json::to_value(report)?),
            Err(error) => (RunOutcome::Failed, serde_json::json!({"error": format!("{error:#}")})),
        };
        self.store.finish_run(&run_id, outcome, &document, self.clock.now()).await?;
        result.map(|report| (report, decisions))
    }

    /// Looks after what people propose, and tells the forge what there is to tell.
    async fn look_around(&self) -> Vec<Finding> {
        let mut findings = self.attend_proposals().await.unwrap_or_else(|error| {
            vec![Finding::warning("forge-later", format!("proposals are not looked at: {error:#}"))]
        });
        if let Err(error) = self.tell().await {
            findings.push(Finding::warning("forge-later", format!("statuses are not told: {error:#}")));
        }
        findings
    }

    async fn attempt(&self, pipeline: &Pipeline, run_id: &str) -> Result<Report> {
        let mut answers: Option<Arc<Answers>> = None;
        let mut findings = Vec::new();
        for _ in 0..REPLANS {
            let now = self.clock.now();
            let mut look = self.site.look().await?;
            if answers.is_none() && *pipeline == Pipeline::OnSchedule && look.snapshot.settings.template_updates {
                findings = self.refresh_workflows(&look).await;
                look = self.site.look().await?;
            }
            let heard = match &answers {
                Some(answers) => answers.clone(),
                None => Arc::new(self.ask(&look, pipeline, now).await?),
            };
            answers = Some(heard.clone());
            let plan = self.site.decide(&look, pipeline, &heard, now).await?;
            if let Some(mut report) = self.apply(look, plan, run_id).await? {
                report.document.problems.extend(findings.iter().map(Problem::from));
                return Ok(report);
            }
            tracing::info!(repository = self.site.name, "somebody pushed during the run; planning anew");
        }
        bail!("somebody pushed to {} during each of {REPLANS} tries; the next run goes on", self.site.remote.shown())
    }

    /// Asks the sources, or the record, what a pipeline has to know.
    async fn ask(&self, look: &Look, pipeline: &Pipeline, now: Timestamp) -> Result<Answers> {
        let mut answers = self.site.ask(look, pipeline, now).await;
        if let Some(libraries) = &mut answers.libraries {
            libraries.published = match (pipeline, &self.outlets) {
                (Pipeline::OnSchedule, _) => self.published(now).await?,
                (_, Some(outlets)) => linkage::versions(outlets.clone()).await,
                (_, None) => Published::default(),
            };
        }
        if matches!(pipeline, Pipeline::Quarantine(..)) {
            let queue = self.store.queue(Some(&self.site.name)).await?;
            answers.in_queue = queue.into_iter().map(|queued| queued.build.pkgbase).collect();
        }
        Ok(answers)
    }

    /// What we published ourselves, by soname. A repository that cannot be read is one of which not all is known.
    async fn published(&self, now: Timestamp) -> Result<Published> {
        let name = &self.site.name;
        let complete = match &self.outlets {
            Some(outlets) => linkage::survey(outlets, &self.store, name, None, now).await.unwrap_or_else(|error| {
                tracing::warn!(error = format!("{error:#}"), "not all is known of what is published");
                false
            }),
            None => true,
        };
        linkage::recorded(&self.store, name, complete).await
    }

    /// Performs a plan. `None` if somebody else moved a ref first: nothing has happened then.
    async fn apply(&self, look: Look, plan: Plan, run_id: &str) -> Result<Option<Report>> {
        let plan = Arc::new(plan);
        let progress = progress::task("writing commits, opening and pruning reviews");
        let (snapshot, written) = (look.snapshot.clone(), plan.clone());
        let updates = self.site.with_git(move |git| apply::write_objects(git, &snapshot, &written)).await?;
        drop(progress);
        fail::fail_point!("apply.objects-written", |_| crate::sys::signal::die());
        let wave = self.wave(&look, &plan, &updates);
        let mut document = plan.document(&look.snapshot);
        name_new_ids(&mut document, &updates);
        if updates.is_empty() && plan.builds.is_empty() && plan.remove.is_empty() && plan.stop.is_empty() {
            return Ok(Some(Report {
                document,
                outcome: Outcome { pushed: false, run_id: run_id.to_owned(), enqueued: 0, discarded: Vec::new() },
            }));
        }
        // Before the push: a crash after it must not leave moved tags without the files that act on them.
        self.emit(&look, &plan, (!plan.builds.is_empty()).then_some(wave.commit))?;
        let mut outbox = handback::entries(&self.site, &look, &plan, tip_after(&look, &updates));
        if self.hosted.is_some() {
            outbox.extend(tend::entries(&self.site.name, &plan));
        }
        let intent = NewIntent { outbox, ..self.intent(run_id, &updates, wave) };
        let intent = self.store.record_intent(intent, self.clock.now()).await?;
        fail::fail_point!("apply.intent-recorded", |_| crate::sys::signal::die());
        if !updates.is_empty() {
            let _progress = progress::task(format!("pushing {} refs of {}", updates.len(), self.site.name));
            match self.site.remote.push(&updates, &[]).await {
                Ok(_) => {}
                Err(PushError::Stale(refs)) => {
                    tracing::debug!(?refs, "refs moved first");
                    self.store.drop_intent(intent, self.clock.now()).await?;
                    return Ok(None);
                }
                Err(error) => return self.push_failed(intent, error).await,
            }
        }
        fail::fail_point!("apply.pushed", |_| crate::sys::signal::die());
        let settled = self.store.settle_intent(intent, self.site.policy.overlap, self.clock.now()).await?;
        fail::fail_point!("apply.settled", |_| crate::sys::signal::die());
        let discarded: Vec<PkgBase> = settled.enqueued.iter().filter_map(Enqueued::discarded).cloned().collect();
        document.problems.extend(discarded.iter().map(|pkgbase| Problem::from(&dropped(pkgbase))));
        let enqueued = settled.enqueued.len() - discarded.len();
        let outcome = Outcome { pushed: !updates.is_empty(), run_id: run_id.to_owned(), enqueued, discarded };
        Ok(Some(Report { document, outcome }))
    }

    /// A push that failed in an unclear way may have moved the refs all the same: the intent stays, and
    /// the next run finds out. One that was refused has not.
    async fn push_failed(&self, intent: i64, error: PushError) -> Result<Option<Report>> {
        if matches!(error, PushError::Rejected { .. }) {
            self.store.drop_intent(intent, self.clock.now()).await?;
        }
        Err(error).with_context(|| format!("the push to {} failed", self.site.remote.shown()))
    }

    fn wave(&self, look: &Look, plan: &Plan, updates: &[RefUpdate]) -> Wave {
        let commit = tip_after(look, updates);
        let told = self.hosted.as_ref().and_then(|_| Told::of(self.site.policy.statuses, plan.builds.len()));
        Wave {
            told,
            pipeline: super::statuses::pipeline_of(self.pipeline, commit),
            repository: self.site.name.clone(),
            // An empty repository has nothing to build, so no build ever carries this id.
            commit: commit.unwrap_or(Oid::from_bytes([0; 20])),
            builds: if self.enqueues { plan.builds.clone() } else { Vec::new() },
            remove: if self.enqueues { plan.remove.clone() } else { Vec::new() },
            stop: plan.stop.clone(),
        }
    }

    /// Writes the files an existing Chaotic Manager is scheduled with.
    fn emit(&self, look: &Look, plan: &Plan, commit: Option<Oid>) -> Result<()> {
        let Some(dir) = &self.emit_to else { return Ok(()) };
        let snapshot = &look.snapshot;
        let keep = || plan.packages_after(snapshot).map(|package| &package.pkgbase).collect::<BTreeSet<_>>();
        let keep = (!plan.remove.is_empty()).then(|| keep().into_iter().collect());
        let schedule = Schedule { settings: &snapshot.settings, commit, builds: &plan.builds, keep };
        let official = lint::known_elsewhere(snapshot.version_state.as_deref());
        let graph = Graph::build_for(&self.site.arch, plan.packages_after(snapshot), &official);
        fs::write_atomic(&dir.join(chaotic::PARAMS_FILE), schedule.params().as_bytes())?;
        fs::write_atomic(&dir.join(chaotic::DEPTREE_FILE), format!("{}\n", graph.deptree_text()).as_bytes())?;
        Ok(())
    }

    fn intent(&self, run_id: &str, updates: &[RefUpdate], wave: Wave) -> NewIntent {
        let refs =
            updates.iter().map(|update| RefChange { name: update.name.clone(), old: update.old, new: update.new });
        NewIntent {
            run_id: run_id.to_owned(),
            repository: self.site.name.clone(),
            refs: refs.collect(),
            wave,
            outbox: Vec::new(),
        }
    }

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
        self.site.with_git(move |git| recover::fate_in(git, &updates, |name| current.get(name).copied())).await
    }
}

/// The commit of the branch with the packages once these refs have moved.
fn tip_after(look: &Look, updates: &[RefUpdate]) -> Option<Oid> {
    let branch = format!("refs/heads/{}", look.snapshot.refs.branch);
    let committed = updates.iter().find(|update| update.name == branch).and_then(|update| update.new);
    committed.or(look.snapshot.refs.main)
}

/// Says that a build was not enqueued.
fn dropped(pkgbase: &PkgBase) -> Finding {
    let message = "it is being built, and policy.overlap discards what is asked for meanwhile";
    let hint = format!("`pkgwarden ctl deploy {pkgbase}` builds it when that has ended");
    Finding::warning("build-discarded", message).with_package(pkgbase).hint(hint)
}

/// Puts the ids of the commits that were made in the place of those that were only foreseen.
fn name_new_ids(document: &mut Document, updates: &[RefUpdate]) {
    for change in &mut document.refs {
        if let Some(update) = updates.iter().find(|update| update.name == change.name) {
            change.new = update.new;
        }
    }
}

//! A Chaotic Manager of the time before Moleculer, with three queues of `BullMQ`: what is put into `dispatch` it puts
//! into `builds`, whose workers put what they have built into `database`. Names, ids and data are exactly those of its own
//! programs, and what becomes of a build is read from the events of the queues, which stay when jobs are removed.

use bullmq::Queue;
use bullmq::types::RemoveOnFinish;
use serde_json::{Value, json};

use super::course::{Course, Told};
use super::sight::{End, Sight, Stage};
use super::state::{Mark, Record};
use super::{Kept, Trouble};
use crate::executor::bullmq::bounded::{self, Found};
use crate::executor::bullmq::link::Link;

/// What its job is called that asks for builds.
const ADD_JOB: &str = "add-job";
/// What its job is called that removes packages.
const REMOVE: &str = "auto-repo-remove";
/// So many events are read at once.
const PIECE: usize = 1000;
/// What is read of them.
const FIELDS: [&str; 5] = ["event", "jobId", "name", "returnvalue", "failedReason"];
/// Where jobs are that are not over.
const OPEN: [&str; 5] = ["wait", "paused", "active", "delayed", "prioritized"];
/// A request for one build is never as long: 16 KiB.
const REQUEST: usize = 16 << 10;
/// As much is read of what a manager gives its builder, with the names of all that a package depends on: 1 MiB.
const BUILD: usize = 1 << 20;

/// The queues.
#[derive(Clone)]
pub struct Queues {
    /// The connection.
    pub link: Link,
}

impl Queues {
    /// Has everything removed that is not kept.
    ///
    /// # Errors
    /// If that cannot be asked for now.
    pub async fn remove_others(&self, kept: &Kept) -> Result<(), Trouble> {
        let queue = self.link.queue("database").await?;
        let id = format!("{}/repo-remove/internal", kept.repo);
        let data = json!({"arch": kept.arch, "repo": kept.repo, "pkgbases": kept.packages});
        let job = queue.add(REMOVE, &data).job_id(id.clone());
        job.remove_on_complete(RemoveOnFinish::Bool(true))
            .remove_on_fail(RemoveOnFinish::Bool(true))
            .await
            .map_err(|error| self.failed(&error))?;
        // Where one is waiting, another is not taken.
        let found = bounded::job(&self.link, "database", &id, ["data"], 2 * data.to_string().len()).await?;
        if !matches!(&found, Found::Nothing) && read(&found).as_ref() != Some(&data) {
            return Err(Trouble::Away("an earlier removal of Chaotic Manager is not over yet".to_owned()));
        }
        Ok(())
    }

    fn failed(&self, error: &bullmq::Error) -> Trouble {
        Trouble::from(self.link.config().unusable(error))
    }

    /// The id of the newest event of a queue.
    async fn newest(&self, queue: &str) -> Result<String, Trouble> {
        Ok(bounded::events(&self.link, queue, None, None, [], 1).await?.last)
    }

    /// What happened to a job in a queue after this, with which the reader goes on.
    async fn after(&self, queue: &str, from: &mut String, job: &str) -> Result<Vec<Told>, Trouble> {
        let mut told = Vec::new();
        loop {
            let heard = bounded::events(&self.link, queue, Some(from), Some(job), FIELDS, PIECE).await?;
            *from = heard.last;
            told.extend(heard.events.iter().filter_map(|event| {
                let fields = FIELDS.into_iter().zip(event).filter(|(_, text)| !text.is_empty());
                Told::read(queue, job, &fields.map(|(name, text)| (name.to_owned(), text.clone())).collect())
            }));
            if !heard.more {
                return Ok(told);
            }
        }
    }
}

/// One build in the queues.
pub struct InQueues {
    queues: Queues,
    record: Record,
    course: Option<Course>,
}

impl InQueues {
    /// Nothing is known of it yet.
    pub fn new(queues: Queues, record: Record) -> Self {
        Self { queues, record, course: None }
    }

    /// What is there before it is asked for.
    pub async fn mark(&self) -> Result<Mark, Trouble> {
        let (builds, database) = (self.queues.newest("builds").await?, self.queues.newest("database").await?);
        Ok(Mark { log: None, builds, database })
    }

    /// Asks for the build, unless that was done and nobody has taken it up yet.
    pub async fn ask(&self) -> Result<(), Trouble> {
        let queue = self.dispatch().await?;
        if self.asked(&queue).await?.is_some() {
            return Ok(());
        }
        let job = queue.add(ADD_JOB, self.request());
        let job = job.remove_on_complete(RemoveOnFinish::Bool(true)).remove_on_fail(RemoveOnFinish::Bool(true));
        job.await.map(drop).map_err(|error| self.queues.failed(&error))
    }

    /// How far it is.
    pub async fn look(&mut self, mark: &Mark) -> Result<Sight, Trouble> {
        self.hear(mark).await?;
        let course = self.course.get_or_insert_with(|| Course::after(mark));
        let sight = course.sight();
        let queue = match (&sight.stage, course.is_in_database()) {
            (Stage::Over(_), _) => return Ok(sight),
            (_, true) => "database",
            (_, false) => "builds",
        };
        if sight.stage != Stage::Missing && self.is_in(queue).await? {
            return Ok(sight);
        }
        // Between two queues, or in none.
        self.hear(mark).await?;
        let sight = self.course.get_or_insert_with(|| Course::after(mark)).sight();
        if matches!(sight.stage, Stage::Over(_)) {
            return Ok(sight);
        }
        let is_asked = sight.stage == Stage::Missing && self.asked(&*self.dispatch().await?).await?.is_some();
        Ok(Sight { stage: if is_asked { Stage::Queued } else { Stage::Missing }, ..sight })
    }

    /// Takes the build out of the queue that it waits in, or has its builder told; what is built already is published.
    pub async fn stop(&mut self, stage: &Stage) -> Result<(), Trouble> {
        let dispatch = self.dispatch().await?;
        if let Some(id) = self.asked(&dispatch).await? {
            dispatch.remove(&id).await.map_err(|error| self.queues.failed(&error))?;
        }
        let Some(course) = self.course.as_mut().filter(|course| !course.is_in_database()) else { return Ok(()) };
        match stage {
            Stage::Queued if course.sight().log.is_some() => {
                let queue = self.queues.link.queue("builds").await?;
                if queue.remove(&self.id()).await.map_err(|error| self.queues.failed(&error))? {
                    self.course.as_mut().expect("it is there").end(End::Cancelled);
                }
            }
            Stage::Running(_) => {
                self.queues.link.ask::<()>(redis::cmd("PUBLISH").arg("cancel-job").arg(self.id())).await?;
            }
            Stage::Queued | Stage::Missing | Stage::Over(_) => {}
        }
        Ok(())
    }

    /// What the job of the build is called in `builds`, and then in `database`.
    fn id(&self) -> String {
        format!("{}/{}", self.record.route.target, self.record.pkgbase)
    }

    fn request(&self) -> Value {
        let Record { pkgbase, arch, commit, route, .. } = &self.record;
        let data = json!({
            "target_repo": route.target,
            "source_repo": route.source,
            "commit": commit,
            "arch": arch,
            "packages": [{"pkgbase": pkgbase}],
        });
        json!({"type": ADD_JOB, "data": data})
    }

    async fn dispatch(&self) -> Result<std::sync::Arc<Queue>, Trouble> {
        Ok(self.queues.link.queue("dispatch").await?)
    }

    /// The job that asks for exactly this build, as long as it is there.
    async fn asked(&self, dispatch: &Queue) -> Result<Option<String>, Trouble> {
        let request = self.request();
        let is_ours = |data: &str| serde_json::from_str::<Value>(data).is_ok_and(|data| data == request);
        Ok(bounded::find_job(&self.queues.link, dispatch.name(), &OPEN, REQUEST, is_ours).await?)
    }

    async fn is_in(&self, queue: &str) -> Result<bool, Trouble> {
        let key = format!("{}:{queue}:{}", self.queues.link.prefix(), self.id());
        Ok(self.queues.link.ask(redis::cmd("EXISTS").arg(key)).await?)
    }

    /// Reads what happened since.
    async fn hear(&mut self, mark: &Mark) -> Result<(), Trouble> {
        let id = self.id();
        let mut course = self.course.take().unwrap_or_else(|| Course::after(mark));
        let heard = self.hear_into(&mut course, &id).await;
        self.course = Some(course);
        heard
    }

    async fn hear_into(&self, course: &mut Course, id: &str) -> Result<(), Trouble> {
        for told in self.queues.after("builds", &mut course.builds, id).await? {
            let is_ours = match &told {
                Told::Added(log) => self.is_ours(*log).await?,
                _ => Some(true),
            };
            course.take(told, is_ours);
        }
        for told in self.queues.after("database", &mut course.database, id).await? {
            course.take(told, Some(true));
        }
        Ok(())
    }

    /// Whether the job that was added with this number is of our commit; of one that is gone, nobody knows.
    async fn is_ours(&self, log: u64) -> Result<Option<bool>, Trouble> {
        let found = bounded::job(&self.queues.link, "builds", &self.id(), ["data"], BUILD).await?;
        let Some(job) = read(&found).filter(|job| job["timestamp"] == log) else { return Ok(None) };
        let commit = job["commit"].as_str().and_then(|commit| commit.split(':').next());
        Ok(Some(commit == Some(&self.record.commit)))
    }
}

/// What a job was given, if it can be read.
fn read(found: &Found<1>) -> Option<Value> {
    let Found::Job([data]) = found else { return None };
    serde_json::from_str(data.text()?).ok()
}

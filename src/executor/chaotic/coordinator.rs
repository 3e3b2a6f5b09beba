//! The coordinator of a Chaotic Manager of today, on Moleculer's bus: its actions with their exact parameters, and what
//! it tells and answers of one build.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::bus::{Bus, CallError, Event};
use super::logs::Logs;
use super::sight::{End, Sight, Stage, end_in_log, is_upload};
use super::state::{Mark, Record};
use super::{Kept, Trouble};
use crate::domain::schedule::BuilderInfo;

/// How long a removal may take there: packages are taken out of the database one by one.
const REMOVAL: Duration = Duration::from_mins(30);
/// Tells that a removal was carried out, with the packages that stayed.
const REMOVED: &str = "database.removalComplete";

/// The coordinator.
#[derive(Clone)]
pub struct Coordinator {
    /// Our node.
    pub bus: Arc<Bus>,
    /// The logs of builds.
    pub logs: Logs,
}

impl Coordinator {
    /// The builders that are there. Each of their processes builds one package at once, and is called after its machine.
    pub fn builders(&self) -> Vec<BuilderInfo> {
        let nodes = self.bus.with_service("builder").into_iter().filter(|(_, node)| node.is_current);
        // What is for named builders only has no class.
        nodes
            .map(|(id, node)| BuilderInfo {
                name: machine(&id).to_owned(),
                class: Some(node.class.unwrap_or_default()),
                slots: 1,
                ..BuilderInfo::default()
            })
            .collect()
    }

    /// Whether somebody is there to ask.
    pub fn is_there(&self) -> bool {
        !self.bus.with_service("coordinator").is_empty()
    }

    /// Has everything removed that is not kept.
    ///
    /// # Errors
    /// If it was not.
    pub async fn remove_others(&self, kept: &Kept) -> Result<(), Trouble> {
        let mut events = self.bus.listen();
        let params = json!({"pkgbases": kept.packages, "arch": kept.arch, "repo": kept.repo});
        let answer = self.bus.call_for(REMOVAL, "coordinator.autoRepoRemove", &params).await;
        answer.map_err(Trouble::from)?;
        // The answer is the same when it went wrong; only then nothing was told before it.
        loop {
            match events.try_recv() {
                Ok(event) if event.name == REMOVED && event.data == json!(kept.packages) => return Ok(()),
                Ok(_) | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => {
                    return Err(Trouble::Refused(
                        "Chaotic Manager could not remove packages; its log says why".to_owned(),
                    ));
                }
            }
        }
    }
}

/// What a node is called without what makes its id unique.
fn machine(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(name, _)| name)
}

/// One build at the coordinator.
pub struct AtCoordinator {
    coordinator: Coordinator,
    record: Record,
    events: broadcast::Receiver<Arc<Event>>,
    /// Ends that were told: of which log.
    told: Vec<(u64, End)>,
    /// The log in which an end stood when it was last looked at, and nobody had told of it.
    untold: Option<u64>,
}

/// What stands in the coordinator's queue under the id of a build.
struct Entry {
    node: Option<String>,
    is_ours: bool,
}

impl AtCoordinator {
    /// Hears of the build from now on.
    pub fn new(coordinator: Coordinator, record: Record) -> Self {
        let events = coordinator.bus.listen();
        Self { coordinator, record, events, told: Vec::new(), untold: None }
    }

    /// What is there before it is asked.
    pub async fn mark(&self) -> Result<Mark, Trouble> {
        if !self.coordinator.is_there() {
            return Err(CallError::Nobody("coordinator".to_owned()).into());
        }
        Ok(Mark { log: self.coordinator.logs.newest(&self.record.pkgbase).await?, ..Mark::default() })
    }

    /// Asks for the build.
    pub async fn ask(&self) -> Result<(), Trouble> {
        match self.coordinator.bus.call("coordinator.addJobsToQueue", &self.params()).await {
            // Whether it heard is looked for.
            Ok(_) | Err(CallError::Silent(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What stands for nothing is left out, as JSON of theirs leaves it out.
    fn params(&self) -> Value {
        let Record { pkgbase, arch, commit, class, route } = &self.record;
        let class =
            class.as_deref().map(|class| class.parse::<u64>().map_or_else(|_| json!(class), |class| json!(class)));
        let mut params = json!({
            "arch": arch,
            "commit": commit,
            "packages": [{"pkgbase": pkgbase, "build_class": class}],
            "source_repo": route.source,
            "target_repo": route.target,
        });
        if let Some(mirror) = &route.mirror {
            params["arch_mirror"] = json!(mirror);
        }
        params
    }

    /// How far it is. `log` is the number of its log, as far as that is known.
    pub async fn look(&mut self, mark: &Mark, log: Option<u64>) -> Result<Sight, Trouble> {
        while let Ok(event) = self.events.try_recv() {
            self.take(&event);
        }
        let told = |(told, _): &&(u64, End)| log.map_or(Some(*told) > mark.log, |log| log == *told);
        if let Some((log, end)) = self.told.iter().rev().find(told).cloned() {
            return self.over(log, end).await;
        }
        let entry = self.entry().await?;
        if let Some(Entry { node, is_ours: true }) = entry {
            let stage = node.map_or(Stage::Queued, |node| Stage::Running(Some(node)));
            return Ok(Sight { stage, log: self.log_in_queue(mark, log).await? });
        }
        let newest = self.newer(mark).await?;
        if let Some(of) = log.or(newest) {
            let tail = self.coordinator.logs.tail(&self.record.pkgbase, of).await?;
            if let Some(end) = end_in_log(&tail, &self.id()) {
                // The log comes first, and says less than what is told next: it is believed when nothing was.
                if self.untold.replace(of) == Some(of) {
                    return self.over(of, end).await;
                }
                return Ok(Sight { stage: Stage::Missing, log: Some(of) });
            }
        }
        let replaced = entry.is_some() && log.is_some();
        Ok(Sight { stage: if replaced { Stage::Over(End::Replaced) } else { Stage::Missing }, log })
    }

    /// Waits until something was told that may be of this build.
    pub async fn news(&mut self) {
        loop {
            match self.events.recv().await {
                Ok(event) if self.take(&event) => return,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Has whoever builds it stop. What waits in the queue of the coordinator cannot be taken out of it.
    pub async fn stop(&self, stage: &Stage) -> Result<(), Trouble> {
        let Stage::Running(Some(node)) = stage else { return Ok(()) };
        match self.coordinator.bus.call_at(node, "builder.cancelBuild", &Value::Null).await {
            // The answer comes when everything is cleared up there.
            Ok(_) | Err(CallError::Silent(_) | CallError::Nobody(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What the coordinator calls the build.
    fn id(&self) -> String {
        format!("{}/{}/{}", self.record.route.target, self.record.arch, self.record.pkgbase)
    }

    /// Remembers an end of this build; whether the event is of it.
    fn take(&mut self, event: &Event) -> bool {
        let (data, record) = (&event.data, &self.record);
        let is_ours = event.name.starts_with("builds.")
            && data["pkgname"] == record.pkgbase.as_str()
            && data["target_repo"] == record.route.target.as_str()
            && data["arch"] == record.arch.as_str()
            && is_commit(&data["commit"], &record.commit);
        let end = match event.name.strip_prefix("builds.") {
            Some("success") => End::Succeeded,
            Some("alreadyBuilt") => End::AlreadyBuilt,
            Some("skipped") => End::Skipped,
            Some("failed") => End::Failed,
            Some("timeout") => End::TimedOut,
            Some("canceled") => End::Cancelled,
            Some("softwareFailure") => {
                End::Broken("Chaotic Manager itself failed while it built or published".to_owned())
            }
            // It is built again, or another build took its place: its queue tells which.
            _ => return is_ours,
        };
        if let Some(log) = data["timestamp"].as_u64().filter(|_| is_ours) {
            self.told.push((log, end));
        }
        is_ours
    }

    async fn over(&self, log: u64, end: End) -> Result<Sight, Trouble> {
        let mut end = end;
        if end == End::Failed && is_upload(&self.coordinator.logs.tail(&self.record.pkgbase, log).await?) {
            end = End::Broken("the packages could not be brought to Chaotic Manager".to_owned());
        }
        Ok(Sight { stage: Stage::Over(end), log: Some(log) })
    }

    async fn entry(&self) -> Result<Option<Entry>, Trouble> {
        let queue = self.coordinator.bus.call("coordinator.getQueue", &json!({})).await?;
        let found = queue.as_array().into_iter().flatten().find(|entry| {
            let (job, record) = (&entry["jobData"], &self.record);
            job["pkgbase"] == record.pkgbase.as_str()
                && job["target_repo"] == record.route.target.as_str()
                && job["arch"] == record.arch.as_str()
        });
        Ok(found.map(|entry| Entry {
            node: entry["node"].as_str().map(str::to_owned),
            is_ours: is_commit(&entry["jobData"]["commit"], &self.record.commit),
        }))
    }

    /// The log of what stands in the queue: the one that is known, or a newer one if the coordinator has begun anew.
    async fn log_in_queue(&self, mark: &Mark, log: Option<u64>) -> Result<Option<u64>, Trouble> {
        for log in [log, self.newer(mark).await?].into_iter().flatten() {
            let params = json!({"pkgbase": self.record.pkgbase, "timestamp": log});
            if self.coordinator.bus.call("coordinator.jobExists", &params).await? == Value::Bool(true) {
                return Ok(Some(log));
            }
        }
        Ok(log)
    }

    /// The newest log of the package, if it is newer than what was there before.
    async fn newer(&self, mark: &Mark) -> Result<Option<u64>, Trouble> {
        Ok(self.coordinator.logs.newest(&self.record.pkgbase).await?.filter(|log| Some(*log) > mark.log))
    }
}

/// Whether this is the commit, with or without the pipeline that asked for it.
fn is_commit(said: &Value, commit: &str) -> bool {
    said.as_str().is_some_and(|said| said.split(':').next() == Some(commit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_may_bring_its_pipeline() {
        assert!(is_commit(&json!("abc"), "abc") && is_commit(&json!("abc:17"), "abc"));
        assert!(!is_commit(&json!("abcd"), "abc") && !is_commit(&Value::Null, "abc"));
    }

    #[test]
    fn a_builder_is_called_as_its_machine() {
        assert_eq!((machine("cat-builder-ab1c2"), machine("rook")), ("cat-builder", "rook"));
    }
}

//! What happens by itself: polling, schedules. Each repository has a loop of its own, so that one whose
//! remote hangs holds up no other.

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Controller, Kept};
use crate::config::settings::ScheduledRun;
use crate::domain::name::Oid;
use crate::domain::plan::Pipeline;

/// The longest sleep: a clock that is set must not silence a schedule for long.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);

/// Starts the loops of every repository. They end soon after `stop`, a run that is under way first.
pub fn start(controller: &Controller, poll: Duration, tracker: &TaskTracker, stop: &CancellationToken) {
    for name in controller.0.kept.keys() {
        tracker.spawn(poll_loop(controller.clone(), name.clone(), poll, stop.clone()));
        tracker.spawn(schedule_loop(controller.clone(), name.clone(), stop.clone()));
    }
}

/// Looks at the remote now and then; commits that have not been handed out start a run.
async fn poll_loop(controller: Controller, name: String, poll: Duration, stop: CancellationToken) {
    let kept = &controller.0.kept[&name];
    let mut handled = None;
    while !stop.is_cancelled() {
        if !controller.is_paused() {
            handled = poll_once(&controller, kept, handled).await;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(poll) => {}
        }
    }
}

/// The tip for which a run has been made, so that one that cannot move `scheduled` is not repeated for
/// ever.
async fn poll_once(controller: &Controller, kept: &Kept, handled: Option<Oid>) -> Option<Oid> {
    let look = match kept.look(controller.0.clock.now()).await {
        Ok(look) => look,
        Err(error) => {
            tracing::warn!(
                repository = kept.site().name,
                error = format!("{error:#}"),
                "the remote cannot be looked at"
            );
            return handled;
        }
    };
    let refs = &look.snapshot.refs;
    if refs.main.is_none() || refs.main == refs.scheduled || refs.main == handled {
        return handled;
    }
    match controller.perform(kept, &Pipeline::OnCommit, "poll").await {
        Ok(report) => report.document.base.main,
        Err(error) => {
            tracing::error!(
                repository = kept.site().name,
                error = format!("{error:#}"),
                "the on-commit run failed; it is tried again"
            );
            handled
        }
    }
}

/// Runs what schedules ask for. A time that passed while a run was under way counts once.
async fn schedule_loop(controller: Controller, name: String, stop: CancellationToken) {
    let kept = &controller.0.kept[&name];
    let mut since = controller.0.clock.now();
    while !stop.is_cancelled() {
        let now = controller.0.clock.now();
        for schedule in
            kept.schedules.iter().filter(|schedule| schedule.next_after(since).is_some_and(|due| due <= now))
        {
            if !controller.is_paused() && !stop.is_cancelled() {
                run_scheduled(&controller, kept, &schedule.run).await;
            }
        }
        since = now;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(until_next(kept, since, controller.0.clock.now())) => {}
        }
    }
}

fn until_next(kept: &Kept, since: Timestamp, now: Timestamp) -> Duration {
    let due = kept.schedules.iter().filter_map(|schedule| schedule.next_after(since)).min();
    let wait = due.map_or(LONGEST_SLEEP, |due| Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO));
    wait.min(LONGEST_SLEEP)
}

async fn run_scheduled(controller: &Controller, kept: &Kept, run: &ScheduledRun) {
    let pipeline = match run {
        ScheduledRun::OnSchedule => Pipeline::OnSchedule,
        ScheduledRun::Trigger(name) => Pipeline::Trigger(name.clone()),
    };
    if let Err(error) = controller.perform(kept, &pipeline, "schedule").await {
        tracing::error!(
            repository = kept.site().name,
            pipeline = pipeline.name(),
            error = format!("{error:#}"),
            "a scheduled run failed"
        );
    }
}

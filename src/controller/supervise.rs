//! What happens by itself: polling, schedules, what forges tell. Each repository has a loop of its own, so that one whose
//! remote hangs holds up no other.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Controller, Kept};
use crate::config::settings::{Schedule, ScheduledRun};
use crate::domain::event::EventKind;
use crate::domain::name::Oid;
use crate::domain::plan::Pipeline;
use crate::store::{Store, events};

/// The longest sleep: a clock that is set must not silence a schedule for long.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);
/// How long deliveries are gathered after one look before they cause the next: a burst becomes few runs.
const BREATH: Duration = Duration::from_secs(1);
/// How often the forge is looked at that delivers nothing.
const LISTEN: SignedDuration = SignedDuration::from_mins(5);

/// Starts the loops of every repository. They end soon after `stop`, a run that is under way first.
pub fn start(controller: &Controller, tracker: &TaskTracker, stop: &CancellationToken) {
    for name in controller.0.kept.keys() {
        tracker.spawn(poll_loop(controller.clone(), name.clone(), stop.clone()));
        tracker.spawn(schedule_loop(controller.clone(), name.clone(), stop.clone()));
        tracker.spawn(status_loop(controller.clone(), name.clone(), stop.clone()));
    }
    tracker.spawn(forget_loop(controller.0.store.clone(), events::KEPT, stop.clone()));
}

/// Forgets every day what nobody follows any more.
async fn forget_loop(store: Store, kept: u64, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = store.prune_events(kept).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "old events stay on record until tomorrow");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(DAY) => {}
        }
    }
}

/// Looks at the remote now and then, and when its forge says that something has happened; commits that have not been
/// handed out start a run.
async fn poll_loop(controller: Controller, name: String, stop: CancellationToken) {
    let kept = &controller.0.kept[&name];
    let mut poll = controller.0.poll.subscribe();
    let (mut handled, mut listened) = (None, None);
    while !stop.is_cancelled() {
        if !controller.is_paused() {
            let (looked, told) = attend(&controller, kept, handled).await;
            handled = looked;
            listened = listen(&controller, kept, listened.filter(|_| !told)).await;
        }
        let pause = *poll.borrow_and_update();
        // Begins now: while deliveries pour in, they are gathered.
        let breath = tokio::time::sleep(BREATH);
        let woken = async {
            controller.0.inbox.woken(&name).await;
            breath.await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
            () = woken => {}
            _ = poll.changed() => {}
        }
    }
}

/// Looks at the forge if it was not looked at for a while. Returns when it was looked at last.
async fn listen(controller: &Controller, kept: &Kept, last: Option<Timestamp>) -> Option<Timestamp> {
    let now = controller.0.clock.now();
    if last.is_some_and(|last| now.duration_since(last) < LISTEN) {
        return last;
    }
    let name = kept.site().name.as_str();
    match kept.runner.attend_forge().await {
        Ok(false) => {}
        Ok(true) => {
            if let Err(error) = controller.look(kept).await {
                tracing::warn!(repository = name, error = format!("{error:#}"), "the remote cannot be looked at");
            }
        }
        Err(error) => tracing::warn!(repository = name, error = format!("{error:#}"), "the forge is not looked at"),
    }
    Some(now)
}

/// Looks once, for the clock and for everything that was delivered before, and says whether anything was. What was delivered counts as seen to only
/// if nothing went wrong, so that it outlives an hour without the remote, and the end of this process.
async fn attend(controller: &Controller, kept: &Kept, handled: Option<Oid>) -> (Option<Oid>, bool) {
    let (store, name) = (&controller.0.store, kept.site().name.as_str());
    let last = store.last_open_delivery(name, &EventKind::WAKING).await.unwrap_or_else(|error| {
        tracing::error!(repository = name, error = &error as &dyn std::error::Error, "deliveries cannot be read");
        None
    });
    let cause = if last.is_some() { "webhook" } else { "poll" };
    let asked = store.last_open_delivery(name, &EventKind::ASKING).await.ok().flatten();
    let told = last.or(asked).is_some();
    let Some(looked) = poll_once(controller, kept, handled, cause).await else { return (handled, told) };
    let seen_to = async {
        let now = controller.0.clock.now();
        if let Some(last) = last {
            store.see_to_deliveries(name, &EventKind::WAKING, last, now).await?;
        }
        store.forget_deliveries(now).await
    };
    if let Err(error) = seen_to.await {
        tracing::error!(repository = name, error = &error as &dyn std::error::Error, "deliveries cannot be settled");
    }
    (looked, told)
}

/// The tip for which a run has been made, so that one that cannot move `scheduled` is not repeated for
/// ever; `None` if something went wrong.
async fn poll_once(controller: &Controller, kept: &Kept, handled: Option<Oid>, cause: &str) -> Option<Option<Oid>> {
    let look = match controller.look(kept).await {
        Ok(look) => look,
        Err(error) => {
            tracing::warn!(
                repository = kept.site().name,
                error = format!("{error:#}"),
                "the remote cannot be looked at"
            );
            return None;
        }
    };
    let refs = &look.snapshot.refs;
    if refs.main.is_none() || refs.main == refs.scheduled || refs.main == handled {
        attend_proposals(kept).await;
        return Some(handled);
    }
    match controller.perform(kept, &Pipeline::OnCommit, cause).await {
        Ok(report) => Some(report.document.base.main),
        Err(error) => {
            tracing::error!(
                repository = kept.site().name,
                error = format!("{error:#}"),
                "the on-commit run failed; it is tried again"
            );
            None
        }
    }
}

/// Looks at what people propose where no run does it. What could not be looked at is, the next time.
async fn attend_proposals(kept: &Kept) {
    let repository = &kept.site().name;
    match kept.runner.attend().await {
        Ok(findings) => findings.iter().for_each(|finding| tracing::warn!(repository, "{finding}")),
        Err(error) => tracing::error!(repository, error = format!("{error:#}"), "proposals cannot be looked at"),
    }
}

/// Tells the forge how things stand whenever something changes. What changes quickly is told once.
async fn status_loop(controller: Controller, name: String, stop: CancellationToken) {
    let runner = &controller.0.kept[&name].runner;
    let mut changes = controller.0.store.subscribe();
    while runner.tells() && !stop.is_cancelled() {
        changes.mark_unchanged();
        let pause = runner.tell().await.unwrap_or_else(|error| {
            tracing::error!(repository = name, error = format!("{error:#}"), "statuses cannot be told");
            LONGEST_SLEEP
        });
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
            _ = changes.changed() => tokio::time::sleep(BREATH).await,
        }
    }
}

/// Runs what schedules ask for. A time that passed while a run was under way counts once.
async fn schedule_loop(controller: Controller, name: String, stop: CancellationToken) {
    let kept = &controller.0.kept[&name];
    let mut reconfigured = controller.0.poll.subscribe();
    let mut since = controller.0.clock.now();
    let mut schedules = kept.schedules();
    let mut woken = false;
    while !stop.is_cancelled() {
        let now = controller.0.clock.now();
        for (run, cause) in to_run(&schedules, since, now, std::mem::take(&mut woken)) {
            if !controller.is_paused() && !stop.is_cancelled() {
                run_scheduled(&controller, kept, run, cause).await;
            }
        }
        since = now;
        // Only here, so that times that have passed are judged by the schedules that were in force then.
        reconfigured.mark_unchanged();
        schedules = kept.schedules();
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(until_next(&schedules, since, controller.0.clock.now())) => {}
            () = kept.wake.notified() => woken = true,
            _ = reconfigured.changed() => {}
        }
    }
}

/// What is run now, and what starts it. Who is woken does what would be done at the next time of a schedule; a
/// repository without such a schedule is left to people.
fn to_run(
    schedules: &[Schedule],
    since: Timestamp,
    now: Timestamp,
    woken: bool,
) -> impl Iterator<Item = (&ScheduledRun, &'static str)> {
    let is_pass = |schedule: &&Schedule| schedule.run == ScheduledRun::OnSchedule;
    let is_due = due(schedules, since, now).any(|schedule| is_pass(&schedule));
    let early = schedules.iter().find(is_pass).filter(|_| woken && !is_due);
    let early = early.map(|schedule| (&schedule.run, "library"));
    due(schedules, since, now).map(|schedule| (&schedule.run, "schedule")).chain(early)
}

/// The schedules with a time after `since` and not after `now`; each once, however many times passed.
fn due(schedules: &[Schedule], since: Timestamp, now: Timestamp) -> impl Iterator<Item = &Schedule> {
    schedules.iter().filter(move |schedule| schedule.next_after(since).is_some_and(|due| due <= now))
}

fn until_next(schedules: &[Schedule], since: Timestamp, now: Timestamp) -> Duration {
    let due = schedules.iter().filter_map(|schedule| schedule.next_after(since)).min();
    let wait = due.map_or(LONGEST_SLEEP, |due| Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO));
    wait.min(LONGEST_SLEEP)
}

async fn run_scheduled(controller: &Controller, kept: &Kept, run: &ScheduledRun, cause: &str) {
    let pipeline = match run {
        ScheduledRun::OnSchedule => Pipeline::OnSchedule,
        ScheduledRun::Trigger(name) => Pipeline::Trigger(name.clone()),
    };
    if let Err(error) = controller.perform(kept, &pipeline, cause).await {
        tracing::error!(
            repository = kept.site().name,
            pipeline = pipeline.name(),
            error = format!("{error:#}"),
            "a scheduled run failed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn schedules(text: &str) -> Vec<Schedule> {
        let settings = config::load(Some(("pkgwarden.toml", text)), &std::collections::BTreeMap::new());
        settings.expect("right settings").repositories.remove(0).schedules
    }

    fn at(time: &str) -> Timestamp {
        time.parse().expect("a time")
    }

    fn names<'a>(due: impl Iterator<Item = &'a Schedule>) -> Vec<String> {
        let name = |schedule: &Schedule| match &schedule.run {
            ScheduledRun::OnSchedule => "on-schedule".to_owned(),
            ScheduledRun::Trigger(name) => name.clone(),
        };
        due.map(name).collect()
    }

    #[test]
    fn times_that_passed_while_a_run_was_under_way_count_once() {
        let schedules = schedules("[[schedule]]\ncron = \"*/5 * * * *\"\nrun = \"on-schedule\"\n");
        let began = at("2026-06-01T12:00:00Z");
        assert_eq!(names(due(&schedules, began, at("2026-06-01T12:04:59Z"))), [""; 0]);
        assert_eq!(names(due(&schedules, began, at("2026-06-01T12:26:00Z"))), ["on-schedule"]);
        assert_eq!(names(due(&schedules, at("2026-06-01T12:26:00Z"), at("2026-06-01T12:26:01Z"))), [""; 0]);
    }

    #[test]
    fn who_is_woken_does_the_next_pass_at_once_and_nothing_twice() {
        let pass = "[[schedule]]\ncron = \"0 3 * * *\"\nrun = \"on-schedule\"\n";
        let daily = "[[schedule]]\ncron = \"0 3 * * *\"\nrun = \"trigger\"\nname = \"daily\"\n";
        let (began, noon, later) = (at("2026-06-01T10:00:00Z"), at("2026-06-01T12:00:00Z"), at("2026-06-02T04:00:00Z"));
        let told = |written: &str, now, woken| -> Vec<&str> {
            to_run(&schedules(written), began, now, woken).map(|(_, cause)| cause).collect()
        };
        let both = format!("{pass}{daily}");
        assert_eq!(told(&both, noon, false), [""; 0]);
        assert_eq!(told(&both, noon, true), ["library"]);
        assert_eq!(told(&both, later, true), ["schedule"; 2], "it is due anyway");
        assert_eq!(told(daily, noon, true), [""; 0], "nobody wants such passes");
    }

    #[test]
    fn each_schedule_goes_by_its_own_time_zone_and_by_summer_time() {
        let written = "[[schedule]]\ncron = \"0 3 * * *\"\ntimezone = \"Europe/Berlin\"\nrun = \"trigger\"\nname = \"berlin\"\n\
                       [[schedule]]\ncron = \"0 3 * * *\"\ntimezone = \"UTC\"\nrun = \"trigger\"\nname = \"utc\"\n";
        let schedules = schedules(written);
        let hour = |time: &str| {
            let end = at(time);
            names(due(&schedules, end - jiff::SignedDuration::from_hours(1), end))
        };
        assert_eq!(hour("2026-01-10T02:00:00Z"), ["berlin"], "winter");
        assert_eq!(hour("2026-01-10T03:00:00Z"), ["utc"]);
        assert_eq!(hour("2026-07-10T01:00:00Z"), ["berlin"], "summer");
        // On 29 March 2026 the clocks of Berlin go from 02:00 to 03:00, on 25 October from 03:00 to 02:00.
        assert_eq!(hour("2026-03-29T01:00:00Z"), ["berlin"], "the day with 23 hours");
        assert_eq!(hour("2026-10-25T02:00:00Z"), ["berlin"], "the day with 25 hours");
        assert_eq!(hour("2026-10-25T01:00:00Z"), [""; 0], "not in the hour that comes twice");
    }

    #[test]
    fn a_sleep_ends_at_the_next_time_and_never_lasts_long() {
        let schedules = schedules("[[schedule]]\ncron = \"0 * * * *\"\nrun = \"on-schedule\"\n");
        let until = |now: &str| until_next(&schedules, at(now), at(now));
        assert_eq!(until("2026-06-01T12:59:50Z"), Duration::from_secs(10));
        assert_eq!(until("2026-06-01T12:30:00Z"), LONGEST_SLEEP);
        assert_eq!(until_next(&[], at("2026-06-01T12:30:00Z"), at("2026-06-01T12:30:00Z")), LONGEST_SLEEP);
        let late = until_next(&schedules, at("2026-06-01T12:59:00Z"), at("2026-06-01T13:10:00Z"));
        assert_eq!(late, Duration::ZERO, "what became due meanwhile is run at once");
    }

    /// The record would grow for ever.
    #[tokio::test(start_paused = true)]
    async fn old_events_are_forgotten_every_day() {
        use crate::domain::policy::Overlap;
        use crate::store::testing::wave;
        let store = Store::in_memory().unwrap();
        let stop = CancellationToken::new();
        let forgetting = tokio::spawn(forget_loop(store.clone(), 1, stop.clone()));
        for number in 1..4 {
            store.give(wave(number, &["a"]), Overlap::Coalesce).await;
            while store.events_after(0, 99).await.unwrap().len() > 1 {
                tokio::time::sleep(DAY).await;
            }
        }
        stop.cancel();
        forgetting.await.unwrap();
    }
}

//! When a log is asked for again, in which form, and when it is over.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::tail::Form;

/// Pauses grow to this, whatever goes wrong.
const LONGEST: Duration = Duration::from_mins(1);
/// So many failures in a row are told.
const TOLD: u32 = 5;
/// So often a log that is over is asked for without anything new.
const LAST_TRIES: u32 = 8;
/// So often the raw log has to bring nothing new after the end. The first time may be out of a cache.
const QUIET: u32 = 2;
/// A log that begins anew more often than that is not one.
const RESTARTS: u32 = 20;

/// How often logs are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// While all is well.
    pub every: Duration,
    /// How long there may be no log while its build runs.
    pub patience: Duration,
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// New bytes came.
    News,
    /// Nothing new came.
    Idle,
    /// The packed log came, to its end and as what was read before.
    Whole,
    /// The packed log came as far as it can be unpacked.
    CutOff,
    /// There is no such file.
    Missing,
    /// The log began anew so many times until now.
    Restarted(u32),
    /// Nothing was learned; the server may have said when to come again.
    Fault(Option<Duration>),
}

/// How a build stands that has the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time.
    pub now: Timestamp,
    /// It runs.
    pub is_running: bool,
    /// Nothing more will be printed.
    pub is_over: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask for this form, after a pause.
    Ask(Form, Duration),
    /// Nothing more.
    Done(End),
}

/// How the reading of a log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With its last byte.
    Whole,
    /// Where it is cut off.
    CutOff,
    /// There is none.
    None,
    /// It was given up, because there was none for too long, or it changed all the time.
    GivenUp,
    /// Its server could not be asked.
    Unreachable,
}

/// Whether something is to be told, beside what is to be done.
pub type Told = Option<u32>;

/// How it goes with one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Going {
    faults: u32,
    missing: u32,
    /// Since when it is missing though its build runs.
    missing_since: Option<Timestamp>,
    /// After the end: how often the raw log brought nothing new.
    quiet: u32,
    /// After the end: how often nothing came of asking.
    tries: u32,
    is_packed: bool,
    is_cut_off: bool,
}

impl Going {
    /// What is to be done after something came of a question, and how many failures in a row are to be told.
    pub fn after(&mut self, event: Event, has_any: bool, moment: Moment, pace: Pace) -> (Next, Told) {
        self.faults = if matches!(event, Event::Fault(_)) { self.faults + 1 } else { 0 };
        self.missing = if event == Event::Missing { self.missing + 1 } else { 0 };
        if event != Event::Missing || !moment.is_running || has_any {
            self.missing_since = None;
        }
        let told = (self.faults == TOLD).then_some(self.faults);
        if let Event::Restarted(times) = event {
            let next = Next::Ask(self.form(), pace.every);
            return (if times > RESTARTS { Next::Done(End::GivenUp) } else { next }, told);
        }
        let next =
            if moment.is_over { self.at_the_end(event, has_any, pace) } else { self.on(event, has_any, moment, pace) };
        (next, told)
    }

    const fn form(&self) -> Form {
        if self.is_packed { Form::Packed } else { Form::Raw }
    }

    fn on(&mut self, event: Event, has_any: bool, moment: Moment, pace: Pace) -> Next {
        let pause = match event {
            Event::Fault(wanted) => wanted.unwrap_or_default().max(grown(pace.every, self.faults)),
            Event::Missing if !has_any => {
                if moment.is_running {
                    let since = *self.missing_since.get_or_insert(moment.now);
                    let patience = SignedDuration::try_from(pace.patience).unwrap_or(SignedDuration::MAX);
                    if moment.now.duration_since(since) >= patience {
                        return Next::Done(End::GivenUp);
                    }
                }
                grown(pace.every, self.missing)
            }
            _ => pace.every,
        };
        Next::Ask(Form::Raw, pause)
    }

    fn at_the_end(&mut self, event: Event, has_any: bool, pace: Pace) -> Next {
        self.tries = if event == Event::News { 0 } else { self.tries + 1 };
        let pause = match event {
            Event::Whole => return Next::Done(End::Whole),
            Event::News => Duration::ZERO,
            Event::Idle => {
                self.quiet += 1;
                self.is_packed = self.quiet >= QUIET;
                if self.is_packed { Duration::ZERO } else { pace.every }
            }
            // The raw log is still there, and all of it was read.
            Event::Missing if self.is_packed && self.quiet >= QUIET => return Next::Done(End::Whole),
            Event::Missing => {
                self.is_packed = !self.is_packed;
                if self.is_packed { Duration::ZERO } else { grown(pace.every, self.missing / 2) }
            }
            Event::CutOff => {
                self.is_cut_off = true;
                grown(pace.every, self.tries)
            }
            Event::Fault(wanted) => wanted.unwrap_or_default().max(grown(pace.every, self.faults)),
            Event::Restarted(_) => pace.every,
        };
        if self.tries < LAST_TRIES {
            return Next::Ask(self.form(), pause);
        }
        Next::Done(match event {
            _ if self.is_cut_off => End::CutOff,
            Event::Fault(_) => End::Unreachable,
            _ if has_any => End::CutOff,
            _ => End::None,
        })
    }
}

/// A pause, twice as long after each failure but the first.
fn grown(every: Duration, failures: u32) -> Duration {
    every.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(LONGEST.max(every))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACE: Pace = Pace { every: Duration::from_secs(5), patience: Duration::from_mins(10) };

    fn moment(minute: i64, is_running: bool, is_over: bool) -> Moment {
        Moment { now: Timestamp::from_second(minute * 60).expect("a time"), is_running, is_over }
    }

    fn raw(seconds: u64) -> Next {
        Next::Ask(Form::Raw, Duration::from_secs(seconds))
    }

    fn packed(seconds: u64) -> Next {
        Next::Ask(Form::Packed, Duration::from_secs(seconds))
    }

    #[test]
    fn l5_waiting_in_a_queue_costs_no_patience_and_running_without_a_log_does() {
        let mut going = Going::default();
        let pauses: Vec<_> =
            (0..7).map(|hour| going.after(Event::Missing, false, moment(hour * 60, false, false), PACE).0).collect();
        assert_eq!(pauses, [raw(5), raw(10), raw(20), raw(40), raw(60), raw(60), raw(60)]);
        assert_eq!(going.after(Event::Missing, false, moment(1000, true, false), PACE).0, raw(60));
        assert_eq!(going.after(Event::Missing, false, moment(1009, true, false), PACE).0, raw(60));
        let given_up = going.after(Event::Missing, false, moment(1010, true, false), PACE);
        assert_eq!(given_up, (Next::Done(End::GivenUp), None));
    }

    #[test]
    fn l11_failures_are_told_once_in_a_row_and_end_nothing() {
        let mut going = Going::default();
        let mut told = Vec::new();
        for _ in 0..30 {
            let (next, tell) = going.after(Event::Fault(None), true, moment(0, true, false), PACE);
            assert!(matches!(next, Next::Ask(Form::Raw, pause) if pause <= LONGEST));
            told.extend(tell);
        }
        assert_eq!(told, [5]);
        assert_eq!(going.after(Event::Idle, true, moment(0, true, false), PACE).0, raw(5));
        let asked = going.after(Event::Fault(Some(Duration::from_secs(90))), true, moment(0, true, false), PACE);
        assert_eq!(asked.0, raw(90), "who says when to come again is believed");
    }

    #[test]
    fn l7_the_end_comes_after_the_raw_log_was_quiet_and_the_packed_one_was_read() {
        let mut going = Going::default();
        let over = moment(0, false, true);
        assert_eq!(going.after(Event::News, true, over, PACE).0, raw(0));
        assert_eq!(going.after(Event::Idle, true, over, PACE).0, raw(5), "it may be out of a cache");
        assert_eq!(going.after(Event::Idle, true, over, PACE).0, packed(0));
        let mut other = going.clone();
        assert_eq!(going.after(Event::Whole, true, over, PACE).0, Next::Done(End::Whole));
        assert_eq!(other.after(Event::Missing, true, over, PACE).0, Next::Done(End::Whole), "nobody packs it");
    }

    #[test]
    fn l7_a_raw_log_that_is_gone_leaves_its_packed_form() {
        let (mut going, over) = (Going::default(), moment(0, false, true));
        assert_eq!(going.after(Event::Missing, true, over, PACE).0, packed(0));
        assert_eq!(going.after(Event::Missing, true, over, PACE).0, raw(5), "it is being packed");
        assert_eq!(going.after(Event::Missing, true, over, PACE).0, packed(0));
        assert_eq!(going.after(Event::Whole, true, over, PACE).0, Next::Done(End::Whole));
    }

    #[test]
    fn l13_a_packed_log_that_stays_cut_off_is_accepted() {
        let (mut going, over) = (Going::default(), moment(0, false, true));
        going.after(Event::Missing, true, over, PACE);
        let end = (0..20).find_map(|_| match going.after(Event::CutOff, true, over, PACE).0 {
            Next::Done(end) => Some(end),
            Next::Ask(form, _) => {
                assert_eq!(form, Form::Packed);
                None
            }
        });
        assert_eq!(end, Some(End::CutOff));
    }

    proptest! {
        #[test]
        fn l10_after_the_end_it_ends_whatever_comes(events in proptest::collection::vec(0usize..6, 200)) {
            let mut going = Going::default();
            let mut restarts = 0;
            let ended = events.into_iter().any(|event| {
                restarts += u32::from(event == 5);
                let event = [
                    Event::Idle, Event::Missing, Event::CutOff, Event::Fault(None), Event::Whole, Event::Restarted(restarts),
                ][event];
                matches!(going.after(event, false, moment(0, false, true), PACE).0, Next::Done(_))
            });
            prop_assert!(ended);
        }
    }
}

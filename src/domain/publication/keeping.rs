//! Which generations of a repository stay, so that people can go back to them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

const SECONDS_OF_A_DAY: i64 = 24 * 3600;

/// Which generations stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// So many of the newest, the current one included. It stays in any case.
    pub newest: usize,
    /// Beside them, the last one of each day (UTC) for so many days: a wave of publications, each of which makes a
    /// generation, does not push out what was there before it.
    pub days: u32,
}

impl Keeping {
    /// Those of these generations that stay. Where it is not known when one was made, it counts for no day.
    #[must_use]
    pub fn staying(self, made: &BTreeMap<u64, Option<Timestamp>>, now: Timestamp) -> BTreeSet<u64> {
        let newest = made.keys().rev().take(self.newest.max(1)).copied();
        newest.chain(self.last_of_days(made, day(now)).into_values()).collect()
    }

    fn last_of_days(self, made: &BTreeMap<u64, Option<Timestamp>>, today: i64) -> BTreeMap<i64, u64> {
        if self.days == 0 {
            return BTreeMap::new();
        }
        let days = made.iter().filter_map(|(&number, &made)| Some((day(made?), number)));
        // A day that has not come yet is that of a clock which was set back since: nothing goes because of that.
        days.filter(|(day, _)| today - day <= i64::from(self.days)).collect()
    }
}

fn day(time: Timestamp) -> i64 {
    time.as_second().div_euclid(SECONDS_OF_A_DAY)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn made(times: &[&str]) -> BTreeMap<u64, Option<Timestamp>> {
        (1..).zip(times.iter().map(|time| Some(time.parse().expect("a time")))).collect()
    }

    #[test]
    fn the_newest_stay_and_the_last_of_each_day() {
        let made = made(&[
            "2026-05-24T10:00:00Z",
            "2026-05-25T10:00:00Z",
            "2026-05-25T23:59:59Z",
            "2026-05-30T00:00:00Z",
            "2026-05-30T12:00:00Z",
            "2026-06-01T08:00:00Z",
            "2026-06-01T09:00:00Z",
            "2026-06-01T10:00:00Z",
        ]);
        let staying = |newest, days| {
            let now = "2026-06-01T12:00:00Z".parse().expect("a time");
            Keeping { newest, days }.staying(&made, now).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(staying(2, 7), [3, 5, 7, 8]);
        assert_eq!(staying(2, 8), [1, 3, 5, 7, 8]);
        assert_eq!(staying(1, 1), [8], "nothing was published on the day before");
        assert_eq!(staying(3, 0), [6, 7, 8]);
        assert_eq!(staying(0, 0), [8], "what is published stays");
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_go() {
        let made = made(&["2026-06-01T08:00:00Z", "2026-06-02T08:00:00Z", "2026-06-03T08:00:00Z"]);
        let then = "2026-01-01T00:00:00Z".parse().expect("a time");
        assert_eq!(Keeping { newest: 1, days: 7 }.staying(&made, then).len(), 3);
    }

    fn histories() -> impl Strategy<Value = BTreeMap<u64, Option<Timestamp>>> {
        let time = proptest::option::weighted(0.95, 0_i64..20 * SECONDS_OF_A_DAY);
        proptest::collection::btree_map(1_u64..200, time, 1..60).prop_map(|history| {
            let at = |second| Timestamp::from_second(second).expect("in range");
            history.into_iter().map(|(number, time)| (number, time.map(at))).collect()
        })
    }

    proptest! {
        #[test]
        fn what_stays_is_little_and_lets_people_go_back_to_each_day(
            history in histories(), newest in 0_usize..10, days in 0_u32..10, now in 0_i64..25 * SECONDS_OF_A_DAY,
            later in 0_i64..5 * SECONDS_OF_A_DAY,
        ) {
            let keeping = Keeping { newest, days };
            let now = Timestamp::from_second(now).expect("in range");
            let staying = keeping.staying(&history, now);
            prop_assert!(staying.iter().all(|number| history.contains_key(number)));
            prop_assert!(history.keys().rev().take(newest.max(1)).all(|number| staying.contains(number)));
            let of_day = |number: &u64| history[number].map(day);
            for (number, made) in history.iter().filter_map(|(number, made)| Some((number, (*made)?))) {
                let age = day(now) - day(made);
                let is_last = !history.keys().any(|other| other > number && of_day(other) == Some(day(made)));
                if days > 0 && is_last && age <= i64::from(days) {
                    prop_assert!(staying.contains(number), "{number} is the last of its day");
                }
            }
            let past: Vec<i64> = staying.iter().filter_map(of_day).filter(|made| *made <= day(now)).collect();
            let most = newest.max(1) + usize::try_from(days).expect("a few") + 1;
            prop_assert!(past.len() <= most);
            // Neither doing it again nor time brings one back, so that what went is never missed.
            let left: BTreeMap<_, _> =
                history.iter().filter(|(number, _)| staying.contains(number)).map(|(&n, &made)| (n, made)).collect();
            prop_assert_eq!(&keeping.staying(&left, now), &staying);
            prop_assert!(keeping.staying(&history, now + SignedDuration::from_secs(later)).is_subset(&staying));
        }
    }
}

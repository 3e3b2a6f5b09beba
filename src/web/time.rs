//! Times and lengths of time as people say them. Pure: `now` is given.

use jiff::{SignedDuration, Timestamp};

/// `3 min ago`, `in 2 h`, `just now`.
#[must_use]
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let passed = now.duration_since(then);
    match passed.as_secs() {
        -1..=4 => "just now".to_owned(),
        seconds if seconds < 0 => format!("in {}", span(-passed)),
        _ => format!("{} ago", span(passed)),
    }
}

/// How long something took, to the second: `1 min 12 s`.
#[must_use]
pub fn took(from: Timestamp, until: Timestamp) -> String {
    let seconds = until.duration_since(from).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// The moment to the second, in UTC: `2026-11-21 03:19:05 UTC`.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn span(passed: SignedDuration) -> String {
    let seconds = passed.as_secs();
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let before = |seconds| now - SignedDuration::from_secs(seconds);
        let said = [2, 30, 90, 7_200, 400_000, -600].map(|seconds| ago(before(seconds), now));
        assert_eq!(said, ["just now", "30 s ago", "1 min ago", "2 h ago", "4 days ago", "in 10 min"]);
        assert_eq!([took(before(72), now), took(before(5_000), now)], ["1 min 12 s", "1 h 23 min"]);
        assert_eq!(moment(now), "2001-09-09 01:46:40 UTC");
    }
}

//! Times in a zone with its changes of the clock, and addresses that are refused.

use proptest::prelude::*;

use super::*;

fn fires(line: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let line: CronLine = line.parse().expect("a cron line");
    let zone: Zone = zone.parse().expect("a time zone");
    let mut now: Timestamp = after.parse().expect("a time");
    let mut times = Vec::new();
    for _ in 0..count {
        now = line.next_after(now, &zone).expect("it fires again");
        times.push(now.to_string());
    }
    times
}

#[test]
fn hours_are_two_different_times() {
    for good in ["22:00-07:00", "09:30-17:00"] {
        assert_eq!(good.parse::<Hours>().expect(good).to_string(), good);
    }
    assert_eq!("9:00 - 17:00".parse::<Hours>().expect("spaces").to_string(), "09:00-17:00");
    for bad in ["", "22:00", "24:00-07:00", "7-8", "07:00-07:00"] {
        assert!(bad.parse::<Hours>().is_err(), "{bad}");
    }
}

#[test]
fn monday_is_day_one() {
    assert_eq!(fires("0 6 * * 1", "UTC", "2026-06-10T00:00:00Z", 1), ["2026-06-15T06:00:00Z"]);
}

#[test]
fn a_time_in_the_spring_gap_fires_when_the_gap_ends() {
    let times = fires("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
    assert_eq!(times, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
}

#[test]
fn a_time_in_the_autumn_fold_fires_once() {
    let times = fires("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
    assert_eq!(times, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
}

#[test]
fn half_hours_stay_in_order_through_the_fold() {
    let times = fires("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", 5);
    let mut sorted = times.clone();
    sorted.sort();
    assert_eq!((times.len(), &times), (5, &sorted));
    assert_eq!(times[4], "2026-10-25T02:00:00Z");
}

#[test]
fn lines_that_are_not_cron_are_refused() {
    for bad in ["", "* * * *", "* * * * * *", "61 * * * *", "@often", "0 0 * * FOO"] {
        assert!(bad.parse::<CronLine>().is_err(), "{bad}");
    }
}

#[test]
fn a_day_that_never_comes_has_no_next_time() {
    let line: CronLine = "0 0 30 2 *".parse().expect("five fields");
    assert_eq!(line.next_after(Timestamp::UNIX_EPOCH, &"UTC".parse().expect("known")), None);
}

#[test]
fn periods_need_a_unit_and_a_positive_length() {
    let seconds = |text: &str| text.parse::<Period>().map(|period| period.duration().as_secs());
    assert_eq!(seconds("60s"), Ok(60));
    assert_eq!(seconds("1h 30m"), Ok(5400));
    assert_eq!(seconds("2 days"), Ok(172_800));
    for bad in ["", "60", "0s", "-5m", "soon", "9999 days"] {
        assert!(seconds(bad).is_err(), "{bad}");
    }
}

#[test]
fn listening_needs_an_address_and_a_port() {
    assert_eq!("localhost:0".parse::<Listen>().map(|listen| listen.to_string()), Ok("127.0.0.1:0".into()));
    assert_eq!("[::1]:80".parse::<Listen>().map(|listen| listen.to_string()), Ok("[::1]:80".into()));
    for bad in ["8080", "host:80", "127.0.0.1:99999", "127.0.0.1"] {
        assert!(bad.parse::<Listen>().is_err(), "{bad}");
    }
}

#[test]
fn a_password_is_used_but_never_shown() {
    let address: Address = "redis://:s3cret@h:6379/0".parse().expect("a URL");
    assert!(address.as_str().contains("s3cret"));
    assert!(!format!("{address} {address:?}").contains("s3cret"));
}

#[test]
fn a_git_address_cannot_run_a_program() {
    assert!("ext::sh -c id".parse::<GitAddress>().is_err());
    assert!("--upload-pack=x".parse::<GitAddress>().is_err());
    assert!("git@host:path".parse::<GitAddress>().is_ok());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_panic(text in "\\PC{0,24}") {
        let _ = (text.parse::<CronLine>(), text.parse::<Period>(), text.parse::<Listen>());
        let _ = (text.parse::<Address>(), text.parse::<Zone>(), text.parse::<Name>());
    }

    #[test]
    fn a_period_is_read_back_as_it_is_written(seconds in 1_u32..30_000_000) {
        let period: Period = format!("{seconds}s").parse().expect("positive");
        prop_assert_eq!(period.to_string().parse::<Period>(), Ok(period));
    }
}

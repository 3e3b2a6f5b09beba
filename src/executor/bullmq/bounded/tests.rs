//! What hostile hands write into a real Redis, and how little of it comes over to us.

use super::*;
use crate::domain::build::Outcome;
use crate::domain::upload::LONGEST_ANSWER;
use crate::executor::bullmq::roster::{self, Announcement};
use crate::executor::bullmq::tests::{Redis, controller, order};
use crate::executor::{Ending, Executor as _};

/// 64 MiB.
const HUGE: usize = 64 << 20;
/// As much may come over while something huge is there: a sixteenth of it.
const LITTLE: u64 = 4 << 20;

/// Runs a script on the server, where `huge` is 64 MiB long, however long that takes.
fn run(redis: &Redis, script: &str) {
    let script = format!("local huge = 'x' for _ = 1, 26 do huge = huge .. huge end\n{script}");
    let mut connection = redis::Client::open(redis.url.as_str()).unwrap().get_connection().unwrap();
    redis::cmd("EVAL").arg(script).arg(0).exec(&mut connection).unwrap();
}

/// How many bytes the server has sent to anybody.
async fn sent(link: &Link) -> u64 {
    let said: String = link.ask(redis::cmd("INFO").arg("stats")).await.unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap();
    line.trim().parse().unwrap()
}

async fn waiting(link: &Link, count: usize) -> Vec<String> {
    let all = async {
        loop {
            let ids: Vec<String> = link.ask(redis::cmd("LRANGE").arg("bull:builds:wait").arg(0).arg(-1)).await.unwrap();
            if ids.len() == count {
                return ids;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), all).await.expect("they are put into the queue")
}

#[tokio::test]
async fn what_is_too_long_is_refused_unread_and_other_builds_go_on() {
    let (redis, dir) = (Redis::start(&[]).await, tempfile::tempdir().unwrap());
    let link = redis.link();
    let (executor, _exchange) = controller(dir.path(), &redis.url);
    let mut handles = Vec::new();
    for attempt in ["a1", "a2", "a3", "a4"] {
        handles.push(executor.submit(order(attempt)).await.unwrap());
    }
    waiting(&link, 4).await;
    let before = sent(&link).await;
    run(
        &redis,
        "for _, id in ipairs(redis.call('LRANGE', 'bull:builds:wait', 0, -1)) do
           local job, attempt = 'bull:builds:' .. id, string.sub(id, -2)
           redis.call('LREM', 'bull:builds:wait', 0, id)
           if attempt == 'a1' then
             for _, field in ipairs({'returnvalue', 'data', 'progress', 'ats'}) do redis.call('HSET', job, field, huge) end
             redis.call('XADD', 'bull:builds:events', '*', 'event', 'completed', 'jobId', huge, 'returnvalue', huge)
             redis.call('RPUSH', job .. ':logs', huge)
           end
           if attempt == 'a2' then redis.call('HSET', job, 'failedReason', huge) end
           if attempt == 'a3' then redis.call('HSET', job, 'returnvalue', '{\"status\":\"already_built\"}') end
           if attempt == 'a4' then redis.call('HSET', job, 'returnvalue', '\\255') end
           local how = attempt == 'a2' and 'failed' or 'completed'
           redis.call('ZADD', 'bull:builds:' .. how, 1, id)
           redis.call('XADD', 'bull:builds:events', '*', 'event', how, 'jobId', id)
         end",
    );
    let mut reports = Vec::new();
    for handle in &handles {
        reports.push(executor.finished(handle).await.unwrap());
    }
    let [returned, threw, built, odd] = reports.as_slice() else { panic!("{reports:?}") };
    for (report, what) in [(returned, "returned"), (threw, "threw")] {
        assert_eq!(report.ending, Ending::Infrastructure, "{report:?}");
        let said = format!(
            "the builder broke off: what it {what} has {HUGE} bytes, and no more than {LONGEST_ANSWER} are read"
        );
        assert_eq!(report.message, said);
    }
    assert_eq!(built.ending, Ending::Done(Outcome::AlreadyBuilt), "{built:?}");
    assert_eq!(odd.ending, Ending::Infrastructure, "what is no text makes no sense, and ends all the same: {odd:?}");
    // Heard again by now: what came after the events is.
    for attempt in ["a5", "a6"] {
        executor.submit(order(attempt)).await.unwrap();
    }
    waiting(&link, 2).await;
    let came = sent(&link).await - before;
    assert!(came < LITTLE, "{came} bytes came over");
}

#[tokio::test]
async fn builders_are_seen_beside_announcements_of_any_size() {
    let redis = Redis::start(&[]).await;
    let link = redis.link();
    let said = Announcement {
        name: "one".to_owned(),
        class: 2,
        slots: 4,
        version: "1".to_owned(),
        builds: vec!["a1".to_owned()],
        process: "p1".to_owned(),
        trouble: None,
    };
    roster::announce(&link, &said).await.unwrap();
    run(
        &redis,
        "for index = 1, 300 do
           local name = 'many' .. index
           redis.call('SADD', 'bull:pkgwarden:builders', name)
           redis.call('SET', 'bull:pkgwarden:builder:' .. name, string.rep('x', 60000))
         end
         redis.call('SADD', 'bull:pkgwarden:builders', 'huge', 'list', 'gone', huge)
         redis.call('SET', 'bull:pkgwarden:builder:huge', huge)
         redis.call('LPUSH', 'bull:pkgwarden:builder:list', 'x')",
    );
    let before = sent(&link).await;
    assert_eq!(roster::said_as(&link, "huge").await.unwrap(), None);
    let found = builders(&link, "bull:pkgwarden:builders", "bull:pkgwarden:builder:").await.unwrap();
    let length: usize = found.iter().map(|(name, said)| name.len() + said.len()).sum();
    assert!(found.len() < 100 && length <= ANNOUNCEMENTS, "{} builders, {length} bytes", found.len());
    let came = sent(&link).await - before;
    assert!(came < 2 * LITTLE, "{came} bytes came over");
    for many in 1..=300 {
        roster::withdraw(&link, &format!("many{many}")).await.unwrap();
    }
    assert_eq!(roster::present(&link).await.unwrap(), [said]);
}

#[tokio::test]
async fn who_has_a_lock_is_told_in_a_word() {
    let redis = Redis::start(&[]).await;
    let link = redis.link();
    assert_eq!(holder(&link, "builds", "j").await.unwrap(), "");
    run(&redis, "redis.call('SET', 'bull:builds:j:lock', huge)");
    let before = sent(&link).await;
    assert_eq!(holder(&link, "builds", "j").await.unwrap().len(), LOCK);
    assert!(sent(&link).await - before < LITTLE);
}

#[tokio::test]
async fn events_are_read_in_portions_and_what_is_long_in_them_is_cut() {
    let redis = Redis::start(&[]).await;
    let link = redis.link();
    let none = events(&link, "builds", None, None, ["jobId"], 9).await.unwrap();
    assert_eq!((none.last.as_str(), none.events.len()), ("0-0", 0));
    run(
        &redis,
        "for index = 1, 5 do
           local job = index % 2 == 0 and 'even' or 'odd'
           redis.call('XADD', 'bull:builds:events', index .. '-0', 'event', 'failed', 'jobId', job, 'failedReason', string.sub(huge, 1, 8000))
         end
         redis.call('XADD', 'bull:builds:events', '6-0', 'event', '\\255', 'jobId', 'even')
         redis.call('XADD', 'bull:builds:events', '7-0', 'event', huge, 'jobId', 'odd')
         redis.call('XADD', 'bull:builds:events', '8-0', 'event', 'last', 'jobId', 'even')",
    );
    let before = sent(&link).await;
    let newest = events(&link, "builds", None, None, ["jobId"], 9).await.unwrap();
    assert_eq!((newest.last.as_str(), newest.events.len()), ("8-0", 0));
    let first = events(&link, "builds", Some("0-0"), Some("even"), ["event", "failedReason"], 4).await.unwrap();
    assert_eq!((first.last.as_str(), first.more, first.events.len()), ("4-0", true, 2));
    assert_eq!((first.events[0][0].as_str(), first.events[0][1].len()), ("failed", EVENT));
    let heavy = events(&link, "builds", Some("4-0"), Some("even"), ["event", "failedReason"], 4).await.unwrap();
    assert_eq!(heavy.events, [["\u{fffd}".to_owned(), String::new()]]);
    assert_eq!((heavy.last.as_str(), heavy.more), ("7-0", true), "one that is heavy ends a portion");
    let rest = events(&link, "builds", Some("7-0"), None, ["event"], 4).await.unwrap();
    assert_eq!((rest.events, rest.more), (vec![["last".to_owned()]], false));
    assert!(sent(&link).await - before < LITTLE);
}

#[tokio::test]
async fn a_job_is_found_among_many_by_what_it_was_given() {
    let redis = Redis::start(&[]).await;
    let link = redis.link();
    run(
        &redis,
        "for index = 1, 120 do
           redis.call('RPUSH', 'bull:dispatch:wait', index)
           redis.call('HSET', 'bull:dispatch:' .. index, 'data', index == 60 and huge or 'job ' .. index)
         end
         redis.call('RPUSH', 'bull:dispatch:wait', 'gone')
         redis.call('SET', 'bull:dispatch:active', 'no list')
         redis.call('ZADD', 'bull:dispatch:prioritized', 1, 'late')
         redis.call('HSET', 'bull:dispatch:late', 'data', 'job 121')",
    );
    let before = sent(&link).await;
    let states = ["active", "wait", "delayed", "prioritized"];
    let find = async |data: &str| find_job(&link, "dispatch", &states, 99, |found| found == data).await.unwrap();
    assert_eq!(find("job 119").await.as_deref(), Some("119"));
    assert_eq!(find("job 121").await.as_deref(), Some("late"));
    assert_eq!(find("job 60").await, None);
    assert!(sent(&link).await - before < LITTLE);
}

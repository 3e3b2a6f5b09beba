//! Keeping hold of a job while it is built, also where Redis has forgotten it.
//!
//! `BullMQ`'s own renewal extends a lock that is there. A builder outlives more: a Redis that was away for longer than the
//! lock lasts, or that was emptied. As long as nobody else has the job, it is put back as it was, active and locked by
//! this builder, so that the build need not begin anew.

use std::time::Duration;

use bullmq::{Job, QueueKeys};

use super::link::Link;
use super::server::RedisError;

/// In one step: extends our lock, or takes the job (back) that nobody has.
const HOLD: &str = r#"
local job, lock, active, wait, paused, prioritized, delayed, stalled, completed, failed, events = unpack(KEYS)
local token, duration, id, restore = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local holder = redis.call("GET", lock)
if holder and holder ~= token then return string.sub(holder, 1, 256) end
if not holder then
  if redis.call("ZSCORE", completed, id) or redis.call("ZSCORE", failed, id) then return "over" end
  if redis.call("EXISTS", job) == 0 then
    if restore ~= "1" then return "gone" end
    redis.call("HSET", job, unpack(ARGV, 5))
  end
  redis.call("LREM", active, 0, id)
  redis.call("LREM", wait, 0, id)
  redis.call("LREM", paused, 0, id)
  redis.call("ZREM", prioritized, id)
  redis.call("ZREM", delayed, id)
  redis.call("LPUSH", active, id)
  redis.call("XADD", events, "MAXLEN", "~", 10000, "*", "event", "active", "jobId", id, "prev", "waiting")
end
redis.call("SET", lock, token, "PX", duration)
redis.call("SREM", stalled, id)
return "held"
"#;

/// How it stands with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It is ours for as long again as the lock lasts.
    Ours,
    /// Redis does not know it.
    Gone,
    /// It has ended.
    Over,
    /// Somebody else has it: whose lock it is.
    Theirs(String),
}

/// A job that somebody builds.
#[derive(Clone)]
pub struct Hold {
    link: Link,
    keys: Vec<String>,
    id: String,
    token: String,
    lock: Duration,
    fields: Vec<(String, String)>,
}

impl Hold {
    /// A job as it was taken with this token.
    #[must_use]
    pub fn of(link: &Link, queue: &str, job: &Job, token: &str, lock: Duration) -> Self {
        let keys = QueueKeys::new(queue, Some(link.prefix()));
        let id = job.id().to_owned();
        let job_key = keys.job_key(&id);
        let places = [keys.active(), keys.wait(), keys.paused(), keys.prioritized(), keys.delayed(), keys.stalled()];
        let ended = [keys.completed(), keys.failed(), keys.events()];
        let keys = [job_key.clone(), format!("{job_key}:lock")].into_iter().chain(places).chain(ended).collect();
        let mut fields = job.to_redis_hash();
        let began = job.processed_on().map(|time| ("processedOn".to_owned(), time.to_string()));
        let builder = job.processed_by().map(|name| ("pb".to_owned(), name.to_owned()));
        fields.extend(began.into_iter().chain(builder));
        Self { link: link.clone(), keys, id, token: token.to_owned(), lock, fields }
    }

    /// Keeps it for as long again as the lock lasts. With `restore`, also if Redis does not know it any more.
    ///
    /// # Errors
    /// If Redis does not answer: nothing is known then.
    pub async fn keep(&self, restore: bool) -> Result<Held, RedisError> {
        let mut command = redis::cmd("EVAL");
        command.arg(HOLD).arg(self.keys.len()).arg(&self.keys);
        command.arg(&self.token).arg(self.lock.as_millis().to_string()).arg(&self.id).arg(u8::from(restore));
        for (name, value) in &self.fields {
            command.arg(name).arg(value);
        }
        let answer: String = self.link.ask(&command).await?;
        Ok(match answer.as_str() {
            "held" => Held::Ours,
            "gone" => Held::Gone,
            "over" => Held::Over,
            _ => Held::Theirs(answer),
        })
    }
}

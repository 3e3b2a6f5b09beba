//! Reads what others have written into Redis, and never more of it than is of use: whoever may write there may write
//! hundreds of MiB, and what is read is in our memory before it can be refused.
//!
//! Scripts ask how long a thing is on the server, and send what is not too long. Names of connections (`CLIENT LIST`) can
//! be looked at by no script.

#[cfg(test)]
mod tests;

use bullmq::QueueKeys;

use super::link::Link;
use super::server::RedisError;

/// The longest field of an event that is read; a longer one is cut. Ids of jobs, numbers and one line of people's words.
const EVENT: usize = 1 << 10;
/// The longest announcement of a builder: some 40 bytes for each of 256 builds at once, and room for more.
const ANNOUNCEMENT: usize = 64 << 10;
/// As much as all announcements may have together. Theirs are some hundred bytes each.
const ANNOUNCEMENTS: usize = 4 << 20;
/// So many names of builders are gone through: those that ended without a word stay among them.
const NAMES: usize = 100_000;
/// The longest word that tells who has a lock.
const LOCK: usize = 256;

/// Some fields of a job, as long as they are not too long.
const JOB: &str = r#"
local kind = redis.call("TYPE", KEYS[1]).ok
if kind ~= "hash" then return kind end
local found = {}
for index = 2, #ARGV do
  local length = redis.call("HSTRLEN", KEYS[1], ARGV[index])
  found[index - 1] = length > tonumber(ARGV[1]) and length or redis.call("HGET", KEYS[1], ARGV[index])
end
return found
"#;

/// Some fields of the next events of a stream, of one job or of all: the id to go on from, whether there may be more, and
/// the events. Without an id to begin from, only the newest. The server cannot look at a part of an event: so that it is
/// not busy for too long, what is more than 16 MiB waits for the next time.
const EVENTS: &str = r#"
local from, longest, most, job = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local left = 16777216
if from == "" then
  local newest = redis.call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 1)[1]
  return {newest and newest[1] or "0-0", 0, {}}
end
local told = {}
for _ = 1, most do
  local event = redis.call("XRANGE", KEYS[1], "(" .. from, "+", "COUNT", 1)[1]
  if not event then return {from, 0, told} end
  from = event[1]
  local fields = {}
  for at = 1, #event[2], 2 do
    fields[event[2][at]] = string.sub(event[2][at + 1], 1, longest)
    left = left - #event[2][at] - #event[2][at + 1]
  end
  if job == "" or fields.jobId == job then
    local wanted = {}
    for index = 5, #ARGV do wanted[#wanted + 1] = fields[ARGV[index]] or "" end
    told[#told + 1] = wanted
  end
  if left < 0 then break end
end
return {from, 1, told}
"#;

/// What builders say that are there, each with its name.
const BUILDERS: &str = r#"
local longest, left, names = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found, cursor = {}, "0"
repeat
  local page = redis.call("SSCAN", KEYS[1], cursor, "COUNT", 100)
  cursor = page[1]
  for _, name in ipairs(page[2]) do
    names = names - 1
    local length = redis.pcall("STRLEN", ARGV[1] .. name)
    if type(length) == "number" and length > 0 and #name <= longest and length <= longest and length + #name <= left then
      found[#found + 1] = {name, redis.call("GET", ARGV[1] .. name)}
      left = left - length - #name
    end
  end
until cursor == "0" or names <= 0
return found
"#;

/// Jobs of a list or a sorted set with their data, where that is not too long: how many were looked at, and then each id
/// with its data.
const JOBS: &str = r#"
local kind, from, to = redis.call("TYPE", KEYS[1]).ok, ARGV[2], ARGV[3]
if kind ~= "list" and kind ~= "zset" then return {0, {}} end
local ids = redis.call(kind == "list" and "LRANGE" or "ZRANGE", KEYS[1], from, to)
local found = {}
for _, id in ipairs(ids) do
  local length = redis.pcall("HSTRLEN", ARGV[1] .. id, "data")
  if type(length) == "number" and length > 0 and length <= tonumber(ARGV[4]) and #id <= tonumber(ARGV[4]) then
    found[#found + 1] = {id, redis.call("HGET", ARGV[1] .. id, "data")}
  end
end
return {#ids, found}
"#;

/// Names of things with what is said of them.
type Named = Vec<(Vec<u8>, Vec<u8>)>;

/// A field of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// There is none.
    Absent,
    /// What it says.
    Text(String),
    /// It is longer than what was asked for: so many bytes.
    TooLong(u64),
}

impl Field {
    /// What it says, if anything that was read.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// What is where a job belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<const N: usize> {
    /// Nothing.
    Nothing,
    /// Something that is no job.
    Strange,
    /// A job: its fields, as they were asked for.
    Job([Field; N]),
}

/// Some fields of a job, each of at most so many bytes.
///
/// # Errors
/// If Redis does not answer.
pub async fn job<const N: usize>(
    link: &Link,
    queue: &str,
    id: &str,
    fields: [&str; N],
    longest: usize,
) -> Result<Found<N>, RedisError> {
    let key = QueueKeys::new(queue, Some(link.prefix())).job_key(id);
    let mut command = script(JOB, &key);
    command.arg(longest).arg(&fields);
    let said = match link.ask::<redis::Value>(&command).await? {
        redis::Value::Array(said) => said,
        redis::Value::BulkString(kind) if kind == b"none" => return Ok(Found::Nothing),
        _ => return Ok(Found::Strange),
    };
    let mut said = said.into_iter();
    Ok(Found::Job(fields.map(|_| match said.next() {
        Some(redis::Value::BulkString(bytes)) => Field::Text(text(&bytes)),
        Some(redis::Value::Int(length)) => Field::TooLong(length.unsigned_abs()),
        _ => Field::Absent,
    })))
}

/// What happened in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard<const N: usize> {
    /// The event to go on from.
    pub last: String,
    /// There may be more.
    pub more: bool,
    /// Fields of each event, as they were asked for; empty where it has none of that name.
    pub events: Vec<[String; N]>,
}

/// What happened in a queue since, to one job or to all; `None` tells only where the newest event is.
///
/// # Errors
/// If Redis does not answer.
pub async fn events<const N: usize>(
    link: &Link,
    queue: &str,
    since: Option<&str>,
    job: Option<&str>,
    fields: [&str; N],
    most: usize,
) -> Result<Heard<N>, RedisError> {
    let stream = QueueKeys::new(queue, Some(link.prefix())).events();
    let mut command = script(EVENTS, &stream);
    command.arg(since.unwrap_or_default()).arg(EVENT).arg(most).arg(job.unwrap_or_default()).arg(&fields);
    let (last, more, told): (String, bool, Vec<Vec<Vec<u8>>>) = link.ask(&command).await?;
    let event = |said: Vec<Vec<u8>>| {
        let mut said = said.into_iter();
        fields.map(|_| said.next().map(|bytes| text(&bytes)).unwrap_or_default())
    };
    Ok(Heard { last, more, events: told.into_iter().map(event).collect() })
}

/// What builders say that are there, each with its name: `names` is the set of those, and `said` what the keys begin with
/// under which they say it.
///
/// # Errors
/// If Redis does not answer.
pub async fn builders(link: &Link, names: &str, said: &str) -> Result<Vec<(String, String)>, RedisError> {
    let mut command = script(BUILDERS, names);
    command.arg(said).arg(ANNOUNCEMENT).arg(ANNOUNCEMENTS).arg(NAMES);
    let said: Named = link.ask(&command).await?;
    Ok(said.iter().map(|(name, said)| (text(name), text(said))).collect())
}

/// What one builder says.
///
/// # Errors
/// If Redis does not answer.
pub async fn builder(link: &Link, said: &str) -> Result<String, RedisError> {
    range(link, said, ANNOUNCEMENT).await
}

/// Who has the lock of a job; nobody where it is empty.
///
/// # Errors
/// If Redis does not answer.
pub async fn holder(link: &Link, queue: &str, id: &str) -> Result<String, RedisError> {
    let job = QueueKeys::new(queue, Some(link.prefix())).job_key(id);
    range(link, &format!("{job}:lock"), LOCK).await
}

/// The first job with this data that `is` right in one of the states of a queue; data beyond `longest` is none of ours.
/// They are read in portions.
///
/// # Errors
/// If Redis does not answer.
pub async fn find_job(
    link: &Link,
    queue: &str,
    states: &[&str],
    longest: usize,
    is: impl Fn(&str) -> bool,
) -> Result<Option<String>, RedisError> {
    /// So many at once, of so many.
    const PORTION: usize = 50;
    const MOST: usize = 100_000;
    let keys = QueueKeys::new(queue, Some(link.prefix()));
    for state in states {
        for from in (0..MOST).step_by(PORTION) {
            let mut command = script(JOBS, &keys.get(state));
            command.arg(keys.key_prefix()).arg(from).arg(from + PORTION - 1).arg(longest);
            let (seen, jobs): (usize, Named) = link.ask(&command).await?;
            if let Some((id, _)) = jobs.iter().find(|(_, data)| is(&text(data))) {
                return Ok(Some(text(id)));
            }
            if seen < PORTION {
                break;
            }
        }
    }
    Ok(None)
}

/// The beginning of a text; empty where there is none.
///
/// # Errors
/// If Redis does not answer.
pub async fn range(link: &Link, key: &str, longest: usize) -> Result<String, RedisError> {
    let said: Vec<u8> = link.ask(redis::cmd("GETRANGE").arg(key).arg(0).arg(longest.saturating_sub(1))).await?;
    Ok(text(&said))
}

fn script(text: &str, key: &str) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(1).arg(key);
    command
}

/// What is not UTF-8 makes no sense, and must not keep the rest from being read.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

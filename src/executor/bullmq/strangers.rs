//! Whether workers are there that others have written. They do not say what they are: it is told from the names of the
//! connections to Redis.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;

use super::link::Link;
use super::roster::{Announcement, BEAT};
use super::server::RedisError;

/// How long a builder that fell silent is still known by its name, as after Redis was emptied.
const KNOWN: Duration = Duration::from_mins(1);

/// The names of those that take from a queue, empty where one has none; `None` if the server does not tell.
///
/// # Errors
/// If the server is away.
pub async fn workers(link: &Link, queue: &str) -> Result<Option<Vec<String>>, RedisError> {
    let Some(list) = link.ask_if_allowed::<String>(redis::cmd("CLIENT").arg("LIST")).await? else { return Ok(None) };
    Ok(Some(read(&list, link.prefix(), queue)))
}

/// As `BullMQ` names its connections: `PREFIX:BASE64`, with `:w:NAME` behind it where a worker has a name.
fn read(list: &str, prefix: &str, queue: &str) -> Vec<String> {
    let unnamed = format!("{prefix}:{}", STANDARD.encode(queue));
    let named = format!("{unnamed}:w:");
    let name = |line: &str| -> Option<String> {
        let client = line.split(' ').find_map(|word| word.strip_prefix("name="))?;
        if client == unnamed { Some(String::new()) } else { client.strip_prefix(&named).map(str::to_owned) }
    };
    list.lines().filter_map(name).collect()
}

/// Tells workers of others from builders, which say themselves that they are there.
#[derive(Debug, Default)]
pub struct Strangers {
    /// When builders were heard last.
    heard: HashMap<String, Instant>,
    /// Since when workers are there that are none of them.
    since: HashMap<String, Instant>,
}

impl Strangers {
    /// Whether some are there. Who has just come may be a builder that has not said so yet.
    pub fn are_there(&mut self, announced: &[Announcement], workers: Option<&[String]>, now: Instant) -> bool {
        self.heard.extend(announced.iter().map(|builder| (builder.name.clone(), now)));
        self.heard.retain(|_, heard| now.duration_since(*heard) < KNOWN);
        // Where the server does not tell, they would never get anything if they were not taken to be there.
        let Some(workers) = workers else { return true };
        self.since.retain(|name, _| workers.contains(name) && !self.heard.contains_key(name));
        for name in workers.iter().filter(|name| !self.heard.contains_key(*name)) {
            self.since.entry(name.clone()).or_insert(now);
        }
        self.since.values().any(|since| now.duration_since(*since) >= BEAT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(name: &str) -> Announcement {
        let (name, version) = (name.to_owned(), String::new());
        Announcement { name, class: 0, slots: 1, version, builds: Vec::new() }
    }

    #[test]
    fn workers_are_known_by_the_names_of_their_connections() {
        let list = "id=3 addr=127.0.0.1:1 name=bull:YnVpbGRz:w:one age=1 cmd=bzpopmin\n\
                    id=4 name=bull:YnVpbGRz age=1\nid=5 name=bull:YnVpbGRz:qe age=1\nid=6 name= age=1\n\
                    id=7 name=bull:b3RoZXI=:w:two age=1\nid=8 name=tull:YnVpbGRz:w:three age=1\n";
        assert_eq!(read(list, "bull", "builds"), ["one", ""]);
    }

    #[test]
    fn a_builder_that_redis_forgot_or_that_just_comes_is_no_stranger() {
        let (mut strangers, begin) = (Strangers::default(), Instant::now());
        let mut look = |announced: &[&str], workers: &[&str], seconds| {
            let announced: Vec<_> = announced.iter().map(|name| builder(name)).collect();
            let workers: Vec<_> = workers.iter().map(ToString::to_string).collect();
            strangers.are_there(&announced, Some(&workers), begin + Duration::from_secs(seconds))
        };
        assert!(!look(&["one"], &["one"], 0));
        assert!(!look(&[], &["one"], 5), "Redis was emptied");
        assert!(!look(&["one"], &["one", "one"], 9), "two of one name");
        assert!(!look(&["one"], &["one", "new"], 10), "it may say in a moment that it is a builder");
        assert!(!look(&["one", "new"], &["one", "new"], 12));
        assert!(!look(&["one", "new"], &["one", "new", ""], 20));
        assert!(look(&["one", "new"], &["one", "new", ""], 23), "one that says nothing");
        assert!(!look(&["one", "new"], &["one", "new"], 24), "and is gone");
        assert!(!look(&[], &["one"], 70));
        assert!(!look(&[], &["one"], 100), "forgotten by now, so it is as one that comes");
        assert!(look(&[], &["one"], 104));
    }

    #[test]
    fn where_nobody_tells_workers_are_taken_to_be_there() {
        assert!(Strangers::default().are_there(&[], None, Instant::now()));
    }
}

//! Whether workers are there that others have written. They do not say what they are: it is told from the names of the
//! connections to Redis.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;

use super::link::Link;
use super::roster::{Announcement, BEAT};
use super::server::RedisError;
use crate::domain::lane::{Lane, Lanes};

/// How long a builder that fell silent is still known by its name, as after Redis was emptied.
const KNOWN: Duration = Duration::from_mins(1);

/// A worker by its connection: which lane it takes from, and its name, empty where it has none.
pub type Worker = (Lane, String);

/// Those that take from the queues of a fleet; `None` if the server does not tell.
///
/// # Errors
/// If the server is away.
pub async fn workers(link: &Link, lanes: &Lanes) -> Result<Option<Vec<Worker>>, RedisError> {
    let Some(list) = link.ask_if_allowed::<String>(redis::cmd("CLIENT").arg("LIST")).await? else { return Ok(None) };
    Ok(Some(read(&list, link.prefix(), lanes)))
}

/// As `BullMQ` names its connections: `PREFIX:BASE64`, with `:w:NAME` behind it where a worker has a name.
fn read(list: &str, prefix: &str, lanes: &Lanes) -> Vec<Worker> {
    let worker = |line: &str| -> Option<Worker> {
        let client = line.split(' ').find_map(|word| word.strip_prefix("name="))?;
        let client = client.strip_prefix(prefix)?.strip_prefix(':')?;
        let (queue, name) = client.split_once(":w:").unwrap_or((client, ""));
        let queue = String::from_utf8(STANDARD.decode(queue).ok()?).ok()?;
        Some((lanes.called(&queue)?, name.to_owned()))
    };
    list.lines().filter_map(worker).collect()
}

/// Tells workers of others from builders, which say themselves that they are there.
#[derive(Debug, Default)]
pub struct Strangers {
    /// When builders were heard last.
    heard: HashMap<String, Instant>,
    /// Since when workers are there that are none of them.
    since: HashMap<Worker, Instant>,
}

impl Strangers {
    /// Which lanes some of them take from. Who has just come may be a builder that has not said so yet.
    pub fn lanes(&mut self, announced: &[Announcement], workers: Option<&[Worker]>, now: Instant) -> BTreeSet<Lane> {
        self.heard.extend(announced.iter().map(|builder| (builder.name.clone(), now)));
        self.heard.retain(|_, heard| now.duration_since(*heard) < KNOWN);
        // Where the server does not tell, they would never get anything if they were not taken to be there.
        let Some(workers) = workers else { return BTreeSet::from([Lane::Class(0)]) };
        self.since.retain(|worker, _| workers.contains(worker) && !self.heard.contains_key(&worker.1));
        for worker in workers.iter().filter(|(_, name)| !self.heard.contains_key(name)) {
            self.since.entry(worker.clone()).or_insert(now);
        }
        let settled = self.since.iter().filter(|(_, since)| now.duration_since(**since) >= BEAT);
        settled.map(|((lane, _), _)| lane.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(name: &str) -> Announcement {
        let (name, version) = (name.to_owned(), String::new());
        Announcement { name, class: 0, slots: 1, version, builds: Vec::new(), process: String::new(), trouble: None }
    }

    #[test]
    fn workers_are_known_by_the_names_of_their_connections() {
        let list = "id=3 addr=127.0.0.1:1 name=bull:YnVpbGRz:w:one age=1 cmd=bzpopmin\n\
                    id=4 name=bull:YnVpbGRz age=1\nid=5 name=bull:YnVpbGRz:qe age=1\nid=6 name= age=1\n\
                    id=7 name=bull:b3RoZXI=:w:two age=1\nid=8 name=tull:YnVpbGRz:w:three age=1\n\
                    id=9 name=bull:YnVpbGRzLWNsYXNzLTE= age=1\nid=10 name=bull:YnVpbGRzLWF0LWZvdXI=:w:four age=1\n";
        let workers = read(list, "bull", &Lanes { base: "builds".to_owned() });
        let found: Vec<_> = workers.iter().map(|(lane, name)| (lane, name.as_str())).collect();
        let (any, one, named) = (Lane::Class(0), Lane::Class(1), Lane::Builder("four".to_owned()));
        assert_eq!(found, [(&any, "one"), (&any, ""), (&one, ""), (&named, "four")]);
    }

    #[test]
    fn a_builder_that_redis_forgot_or_that_just_comes_is_no_stranger() {
        let (mut strangers, begin) = (Strangers::default(), Instant::now());
        let mut look = |announced: &[&str], workers: &[&str], seconds| {
            let announced: Vec<_> = announced.iter().map(|name| builder(name)).collect();
            let workers: Vec<_> = workers.iter().map(|name| (Lane::Class(0), (*name).to_owned())).collect();
            let lanes = strangers.lanes(&announced, Some(&workers), begin + Duration::from_secs(seconds));
            !lanes.is_empty()
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
    fn strangers_are_counted_in_every_lane_that_they_take_from() {
        let (mut strangers, begin) = (Strangers::default(), Instant::now());
        let workers =
            [(Lane::Class(0), String::new()), (Lane::Class(1), String::new()), (Lane::Class(4), "our".into())];
        let mut look =
            |seconds| strangers.lanes(&[builder("our")], Some(&workers), begin + Duration::from_secs(seconds));
        assert_eq!(look(0), BTreeSet::new());
        assert_eq!(look(3), BTreeSet::from([Lane::Class(0), Lane::Class(1)]));
    }

    #[test]
    fn where_nobody_tells_workers_are_taken_to_be_there() {
        let lanes = Strangers::default().lanes(&[], None, Instant::now());
        assert_eq!(lanes, BTreeSet::from([Lane::Class(0)]));
    }
}

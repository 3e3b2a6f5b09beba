//! Whether a Redis server is one that queues can live on, by what it says of itself; and what may be wrong with one that
//! says nothing.

/// The oldest server that the scripts of `BullMQ` are right for: major and minor version.
const OLDEST: (u32, u32) = (6, 2);

/// The command that `BullMQ` can do without.
const LISTING: &str = "client list";

/// What a server says of itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What it answers to `INFO`; `None` if we may not ask.
    pub info: Option<String>,
    /// `save` of its configuration: when it writes snapshots; `None` if we may not ask.
    pub save: Option<String>,
    /// Commands that we need and may not give, or why that cannot be told: scripts are refused.
    pub refused: Result<Vec<String>, String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Good,
    /// Builds go on, but somebody should look.
    Doubtful,
    /// Builds do not go on, or not for long.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub detail: String,
    /// How to mend it; empty if there is nothing to mend.
    pub hint: &'static str,
}

impl Finding {
    fn new(level: Level, detail: impl Into<String>, hint: &'static str) -> Self {
        Self { level, detail: detail.into(), hint }
    }

    fn good(detail: impl Into<String>) -> Self {
        Self::new(Level::Good, detail, "")
    }
}

/// All that is to be said of a server that answers.
#[must_use]
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let Some(info) = facts.info.as_deref().map(Info) else {
        let detail = "its user may not ask for INFO: version, memory and persistence are not known";
        let hint = "give its user `+info`, or look at maxmemory-policy and appendonly yourself";
        return vec![Finding::new(Level::Doubtful, detail, hint), rights(&facts.refused)];
    };
    let mut found = vec![version(info), memory(info), persistence(info, facts.save.as_deref())];
    // What cannot be done elsewhere says nothing of rights.
    found.push(role(info).unwrap_or_else(|| rights(&facts.refused)));
    found
}

/// `INFO`: lines of `name:value`.
#[derive(Clone, Copy)]
struct Info<'a>(&'a str);

impl<'a> Info<'a> {
    fn get(self, name: &str) -> Option<&'a str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    fn is(self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }
}

fn version(info: Info<'_>) -> Finding {
    let shown = info.get("redis_version").unwrap_or_default();
    let mut numbers = shown.split('.').map_while(|number| number.parse::<u32>().ok());
    let hint = "install Redis 6.2 or newer, or Valkey";
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => Finding::good(format!("it is of version {shown}")),
        (Some(_), Some(_)) => {
            Finding::new(Level::Bad, format!("version {shown} lacks what the scripts of BullMQ need"), hint)
        }
        _ => Finding::new(Level::Doubtful, "it does not say of which version it is", hint),
    }
}

/// Only what is wrong with its place among others.
fn role(info: Info<'_>) -> Option<Finding> {
    if info.is("role", "slave") {
        let hint = "name the master in executor.bullmq.url, or sentinels: redis-sentinel://HOST,HOST/MASTER";
        return Some(Finding::new(Level::Bad, "it is a replica, which takes nothing", hint));
    }
    info.is("cluster_enabled", "1").then(|| {
        let detail = "it is part of a cluster, where the keys of a queue would lie on several servers";
        Finding::new(Level::Bad, detail, "use a server that is none, with sentinels if it may not be away")
    })
}

fn memory(info: Info<'_>) -> Finding {
    let policy = info.get("maxmemory_policy").unwrap_or("unknown");
    if policy == "noeviction" {
        return Finding::good("it keeps every key (maxmemory-policy noeviction)");
    }
    let hint = "set `maxmemory-policy noeviction` in redis.conf, and with `CONFIG SET` now";
    if info.is("maxmemory", "0") {
        let detail = format!("maxmemory-policy is {policy}, which does nothing as long as maxmemory is 0");
        return Finding::new(Level::Doubtful, detail, hint);
    }
    Finding::new(Level::Bad, format!("maxmemory-policy is {policy}: it drops jobs when its memory is full"), hint)
}

fn persistence(info: Info<'_>, save: Option<&str>) -> Finding {
    const HINT: &str = "set `appendonly yes` in redis.conf, and with `CONFIG SET` now";
    let failed = |what: &str| {
        let hint = "look into its log: the disk may be full, or its directory not writable";
        Finding::new(Level::Bad, format!("{what}: it may take nothing until it can"), hint)
    };
    if info.is("aof_enabled", "1") {
        return if info.is("aof_last_write_status", "err") {
            failed("it cannot write its log")
        } else {
            Finding::good("it keeps what it has on disk (appendonly yes)")
        };
    }
    match save {
        Some("") => {
            Finding::new(Level::Doubtful, "it keeps nothing on disk: what waits is put back after a restart", HINT)
        }
        _ if info.is("rdb_last_bgsave_status", "err") => failed("it cannot write its snapshot"),
        Some(_) => {
            Finding::new(Level::Doubtful, "it writes snapshots only: a restart brings back what was true then", HINT)
        }
        None => Finding::new(
            Level::Doubtful,
            "it has no log (appendonly no), and does not say whether it writes snapshots",
            HINT,
        ),
    }
}

fn rights(refused: &Result<Vec<String>, String>) -> Finding {
    let hint = "give its user `~PREFIX:*` for the keys, with executor.bullmq.prefix, and `+@all -@admin +client|list`";
    match refused {
        Ok(refused) if refused.is_empty() => Finding::good("its user may do all that queues need"),
        Ok(refused) if *refused == [LISTING] => Finding::new(
            Level::Doubtful,
            "its user may not list clients: it is taken that workers of others are there",
            "give its user `+client|list`",
        ),
        Ok(refused) => Finding::new(Level::Bad, format!("its user may not: {}", refused.join(", ")), hint),
        Err(said) => Finding::new(Level::Bad, format!("scripts are refused there: {said}"), hint),
    }
}

/// What to look at, by what was said when a server could not be used.
#[must_use]
pub fn remedy(said: &str, tls: bool) -> &'static str {
    let said = said.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(&["wrongpass", "invalid username-password", "password authentication failed"]) {
        "check the user in executor.bullmq.url and the password: that of executor.bullmq.password_file wins over the URL's"
    } else if says(&["noauth", "authentication required"]) {
        "it wants a password: write it into a file, and name that as executor.bullmq.password_file"
    } else if says(&["noperm", "no permissions"]) {
        "its user may not do this: give it `~PREFIX:*` for the keys, with executor.bullmq.prefix, and `+@all -@admin +client|list`"
    } else if says(&["protected mode"]) {
        "it takes connections from its own machine only: give it a password, or let it listen where we come from"
    } else if says(&["none of the sentinels"]) {
        "check hosts and ports of the sentinels, and that `SENTINEL masters` there names the master so"
    } else if says(&["connection refused", "no route", "network is unreachable", "failed to lookup", "name or service"])
    {
        "check host and port in executor.bullmq.url, that it runs, and that it listens there (`bind`)"
    } else if tls {
        "for TLS: name the certificates that vouch for it as executor.bullmq.ca_file, use the name that its own \
         certificate has, and its tls-port; if it speaks no TLS, write redis://"
    } else {
        "check host and port in executor.bullmq.url; if it speaks TLS only, write rediss://"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\ncluster_enabled:0\r\nmaxmemory:0\r\n\
                        maxmemory_policy:noeviction\r\naof_enabled:1\r\naof_last_write_status:ok\r\n\
                        rdb_last_bgsave_status:ok\r\n";

    fn worst(info: &str) -> Vec<(Level, String)> {
        let facts = Facts { info: Some(info.to_owned()), save: Some("3600 1".to_owned()), refused: Ok(Vec::new()) };
        let found = findings(&facts).into_iter();
        assert!(found.clone().all(|it| (it.level == Level::Good) == it.hint.is_empty()), "each says how to mend it");
        found.filter(|it| it.level != Level::Good).map(|it| (it.level, it.detail)).collect()
    }

    #[test]
    fn a_server_that_is_too_old_is_told_from_one_that_is_not() {
        assert_eq!(worst(GOOD), []);
        for old in ["6.0.16", "5.0.14", "2.8.9999", "6.1.240"] {
            let found = worst(&GOOD.replace("7.0.15", old));
            assert_eq!(found, [(Level::Bad, format!("version {old} lacks what the scripts of BullMQ need"))]);
        }
        for new in ["6.2.0", "7.4.1", "8.0.0", "10.0.0", "6.2.7-debian"] {
            assert_eq!(worst(&GOOD.replace("7.0.15", new)), [], "{new}");
        }
        assert_eq!(worst(&GOOD.replace("7.0.15", "unstable"))[0].0, Level::Doubtful);
    }

    #[test]
    fn a_disk_that_cannot_be_written_is_found() {
        let log = worst(&GOOD.replace("aof_last_write_status:ok", "aof_last_write_status:err"));
        let snapshot = worst(&GOOD.replace("aof_enabled:1", "aof_enabled:0").replace("status:ok", "status:err"));
        assert_eq!((log[0].0, snapshot[0].0), (Level::Bad, Level::Bad), "{log:?} {snapshot:?}");
    }

    #[test]
    fn a_policy_without_a_limit_is_a_doubt_only() {
        let policy = GOOD.replace("noeviction", "allkeys-lru");
        assert_eq!(worst(&policy)[0].0, Level::Doubtful);
        assert_eq!(worst(&policy.replace("maxmemory:0", "maxmemory:1000"))[0].0, Level::Bad);
    }

    #[test]
    fn who_may_not_ask_hears_what_is_not_known() {
        let facts = Facts { info: None, save: None, refused: Err("NOPERM".to_owned()) };
        let levels: Vec<_> = findings(&facts).into_iter().map(|it| it.level).collect();
        assert_eq!(levels, [Level::Doubtful, Level::Bad]);
    }
}

//! Asks a server for what is to be known before queues are put there. Changes nothing.

use std::collections::HashMap;

use super::link::Link;
use super::server::{RedisConfig, RedisError};
use crate::domain::redis::health::Facts;

/// What builders, the controller and workers of others do there; `KEY` is one of ours.
const NEEDED: [&str; 30] = [
    "hset KEY a b",
    "hget KEY a",
    "hgetall KEY",
    "hstrlen KEY a",
    "type KEY",
    "strlen KEY",
    "getrange KEY 0 1",
    "del KEY",
    "exists KEY",
    "set KEY a",
    "get KEY",
    "pexpire KEY 1",
    "lpush KEY a",
    "lrange KEY 0 1",
    "lrem KEY 0 a",
    "rpoplpush KEY KEY",
    "zadd KEY 1 a",
    "zrange KEY 0 1",
    "bzpopmin KEY 1",
    "sadd KEY a",
    "sscan KEY 0",
    "xadd KEY * a b",
    "xread streams KEY 0",
    "xrange KEY - +",
    "xrevrange KEY + -",
    "eval a 0",
    "evalsha 0 0",
    "script load a",
    "client setname a",
    "client list",
];
/// Which of them the user may not give, without giving one. Servers before 7.0 cannot say.
const CHECK: &str = r#"
local refused = {}
if redis.acl_check_cmd then
  for _, line in ipairs(ARGV) do
    local words = {}
    for word in string.gmatch(line, "%S+") do words[#words + 1] = word == "KEY" and KEYS[1] or word end
    if not redis.acl_check_cmd(unpack(words)) then refused[#refused + 1] = line end
  end
end
return refused
"#;

/// Looks at a server.
///
/// # Errors
/// If it cannot be used at all.
pub async fn look(config: RedisConfig, prefix: &str) -> Result<Facts, RedisError> {
    let link = Link::new(config, prefix.to_owned());
    link.ask::<String>(&redis::cmd("PING")).await?;
    let info: Option<String> = link.ask(&redis::cmd("INFO")).await.ok();
    let config: Option<HashMap<String, String>> = link.ask(redis::cmd("CONFIG").arg("GET").arg("save")).await.ok();
    let mut check = redis::cmd("EVAL");
    check.arg(CHECK).arg(1).arg(format!("{prefix}:pkgwarden:builders")).arg(&NEEDED);
    let refused: Result<Vec<String>, _> = link.ask(&check).await;
    let refused = refused.map(|lines| lines.iter().map(|line| name(line)).collect());
    let save = config.and_then(|mut config| config.remove("save"));
    Ok(Facts { info, save, refused: refused.map_err(|error| error.reason()) })
}

/// What a command is called, as people give rights to it.
fn name(line: &str) -> String {
    let words = if line.starts_with("client ") || line.starts_with("script ") { 2 } else { 1 };
    line.split(' ').take(words).collect::<Vec<_>>().join(" ")
}

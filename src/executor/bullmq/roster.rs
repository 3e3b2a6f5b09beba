//! Which builders there are: each says so itself, again and again, and is forgotten when it falls silent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bounded;
use super::link::Link;
use super::server::RedisError;

/// How often a builder says that it is there.
pub const BEAT: Duration = Duration::from_secs(3);
/// How long it is believed.
const LASTS: Duration = Duration::from_secs(12);

/// What a builder says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// What it is called.
    pub name: String,
    /// Its class: it takes builds that ask for this or less.
    pub class: u32,
    /// How many builds it takes at once.
    pub slots: usize,
    /// Of pkgwarden.
    pub version: String,
    /// The attempts that it builds now.
    #[serde(default)]
    pub builds: Vec<String>,
    /// Drawn at its start, to tell it from another with its name.
    #[serde(default)]
    pub process: String,
    /// Why it takes no build now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

fn names(link: &Link) -> String {
    format!("{}:pkgwarden:builders", link.prefix())
}

fn key(link: &Link, name: &str) -> String {
    format!("{}:pkgwarden:builder:{name}", link.prefix())
}

/// Says that a builder is there.
///
/// # Errors
/// If Redis does not take it.
pub async fn announce(link: &Link, said: &Announcement) -> Result<(), RedisError> {
    let json = serde_json::to_string(said).expect("texts and numbers are JSON");
    link.ask::<()>(redis::cmd("SADD").arg(names(link)).arg(&said.name)).await?;
    let mut set = redis::cmd("SET");
    set.arg(key(link, &said.name)).arg(json).arg("PX").arg(LASTS.as_millis().to_string());
    link.ask(&set).await
}

/// What is said under the name of a builder now, by it or by another with its name.
///
/// # Errors
/// If Redis does not answer.
pub async fn said_as(link: &Link, name: &str) -> Result<Option<Announcement>, RedisError> {
    let said = bounded::builder(link, &key(link, name)).await?;
    Ok(serde_json::from_str(&said).ok())
}

/// Says that a builder has gone.
///
/// # Errors
/// If Redis does not take it.
pub async fn withdraw(link: &Link, name: &str) -> Result<(), RedisError> {
    link.ask::<()>(redis::cmd("SREM").arg(names(link)).arg(name)).await?;
    link.ask(redis::cmd("DEL").arg(key(link, name))).await
}

/// The builders that are there, sorted by name. What is no announcement of ours is passed over.
///
/// # Errors
/// If Redis does not answer.
pub async fn present(link: &Link) -> Result<Vec<Announcement>, RedisError> {
    let said = bounded::builders(link, &names(link), &key(link, "")).await?;
    let said = said.iter().filter_map(|(name, said)| {
        let said: Announcement = serde_json::from_str(said).ok()?;
        (said.name == *name).then_some((said.name.clone(), said))
    });
    Ok(said.collect::<BTreeMap<_, _>>().into_values().collect())
}

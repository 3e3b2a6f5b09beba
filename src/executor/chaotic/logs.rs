//! The logs that a Chaotic Manager keeps in Redis: a text for each build, which grows.

use super::Trouble;
use crate::executor::bullmq::bounded::range;
use crate::executor::bullmq::link::Link;

/// So many bytes are read at once: 1 MiB.
const PIECE: u64 = 1 << 20;
/// No number has more digits.
const NUMBER: usize = 32;
/// So much is the end of a log.
const TAIL: &str = "-4096";

/// The logs.
#[derive(Clone)]
pub struct Logs {
    link: Link,
}

impl Logs {
    /// Those in this Redis.
    pub fn new(link: Link) -> Self {
        Self { link }
    }

    /// The number of the newest log of a package, milliseconds since 1970.
    pub async fn newest(&self, pkgbase: &str) -> Result<Option<u64>, Trouble> {
        Ok(range(&self.link, &key(pkgbase, "default"), NUMBER).await?.parse().ok())
    }

    /// What follows in a log; nothing if there is no more now.
    pub async fn read(&self, pkgbase: &str, log: u64, offset: u64) -> Result<Vec<u8>, Trouble> {
        let mut range = redis::cmd("GETRANGE");
        range.arg(key(pkgbase, &log.to_string())).arg(offset).arg(offset + PIECE - 1);
        Ok(self.link.ask(&range).await?)
    }

    /// The last lines of a log.
    pub async fn tail(&self, pkgbase: &str, log: u64) -> Result<String, Trouble> {
        let mut range = redis::cmd("GETRANGE");
        range.arg(key(pkgbase, &log.to_string())).arg(TAIL).arg(-1);
        let bytes: Vec<u8> = self.link.ask(&range).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn key(pkgbase: &str, log: &str) -> String {
    format!("build-logs:{pkgbase}:{log}")
}

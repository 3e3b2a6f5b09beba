//! Real sentinels, which watch a master and its replica.

use std::path::Path;
use std::time::Duration;

use pkgwarden::sys::process::{Child, Program};

use super::redis::{Redis, free_port};

/// How many there are; two of them decide.
const COUNT: usize = 3;
/// What they call the master.
const MASTER: &str = "warden";

/// Running sentinels; killed when they are dropped.
pub struct Sentinels {
    ports: Vec<u16>,
    _children: Vec<Child>,
}

impl Sentinels {
    /// Starts them, and waits until they know each other and the replica, and it has all that the master has.
    pub async fn watch(dir: &Path, master: &Redis) -> Self {
        let (mut ports, mut children) = (Vec::new(), Vec::new());
        for number in 0..COUNT {
            let (port, dir) = (free_port(), dir.join(format!("sentinel-{number}")));
            std::fs::create_dir(&dir).unwrap();
            let config = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nlogfile sentinel.log\n\
                 sentinel monitor {MASTER} 127.0.0.1 {} 2\nsentinel down-after-milliseconds {MASTER} 1000\n\
                 sentinel failover-timeout {MASTER} 10000\n",
                dir.display(),
                master.port
            );
            std::fs::write(dir.join("sentinel.conf"), config).unwrap();
            let program = Program::new("redis-server").arg(dir.join("sentinel.conf")).arg("--sentinel");
            children.push(program.current_dir(&dir).spawn().expect("redis-server is installed"));
            ports.push(port);
        }
        let sentinels = Self { ports, _children: children };
        let ready = async {
            while !sentinels.are_ready().await
                || !master.ask::<String>(&["INFO", "replication"]).await.contains("state=online")
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), ready).await.expect("they find each other");
        sentinels
    }

    /// Where clients are told to ask.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis-sentinel://{}/{MASTER}", hosts.join(","))
    }

    /// Waits until all of them name this server as the master.
    pub async fn name(&self, master: &Redis) {
        let named = async {
            for port in &self.ports {
                let wanted = Some(("127.0.0.1".to_owned(), master.port.to_string()));
                while asked(*port, &["SENTINEL", "get-master-addr-by-name", MASTER]).await != wanted {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        tokio::time::timeout(Duration::from_mins(2), named).await.expect("another takes over");
    }

    async fn are_ready(&self) -> bool {
        for port in &self.ports {
            let quorum: Option<String> = asked(*port, &["SENTINEL", "ckquorum", MASTER]).await;
            let replicas: Option<Vec<redis::Value>> = asked(*port, &["SENTINEL", "replicas", MASTER]).await;
            let others: Option<Vec<redis::Value>> = asked(*port, &["SENTINEL", "sentinels", MASTER]).await;
            let known = |list: Option<Vec<_>>| list.map_or(0, |list| list.len());
            if quorum.is_none() || known(replicas) != 1 || known(others) != COUNT - 1 {
                return false;
            }
        }
        true
    }
}

async fn asked<T: redis::FromRedisValue>(port: u16, words: &[&str]) -> Option<T> {
    let client = redis::Client::open(("127.0.0.1", port)).ok()?;
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.ok()
}

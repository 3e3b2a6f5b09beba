//! A real Redis server of a test's own: on a free loopback port, in a directory of its own, killed and started again at
//! will.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use pkgwarden::sys::process::{Child, Program};

/// A running `redis-server`; killed when it is dropped.
pub struct Redis {
    dir: PathBuf,
    pub port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

/// What says that a port is this process's; the system takes it away with the process.
static OURS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port that nobody listens on, and on which nobody will but whoever asked, also while a server is away that is to come
/// back: it is none of those that the system gives out by itself, and other tests ask here, too.
pub fn free_port() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let given_out: u16 = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    let (first, last) = if given_out > 20_000 { (10_000, given_out - 1) } else { (10_000, u16::MAX) };
    let mut ports = (first..=last).cycle().skip(std::process::id() as usize % usize::from(last - first));
    ports.find(|port| is_ours(*port)).unwrap()
}

/// Takes a port if nobody has it.
fn is_ours(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("pkgwarden-test-port-{port}")).unwrap();
    let Ok(taken) = UnixListener::bind_addr(&name) else { return false };
    OURS.lock().unwrap().push(taken);
    std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
}

impl Redis {
    /// Starts one that keeps what it has in `dir`, with more arguments.
    pub async fn start(dir: &Path, arguments: &[&str]) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut redis = Self { dir: dir.to_owned(), port: free_port(), arguments, child: None };
        redis.begin().await;
        redis
    }

    /// Starts it again where it was.
    pub async fn begin(&mut self) {
        let (port, dir) = (self.port.to_string(), self.dir.display().to_string());
        let program = Program::new("redis-server").args(["--port", &port, "--bind", "127.0.0.1", "--dir", &dir]);
        let program =
            program.args(["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"]);
        let program = program.args(["--maxmemory-policy", "noeviction", "--logfile", "redis.log"]);
        self.child =
            Some(program.args(&self.arguments).current_dir(&self.dir).spawn().expect("redis-server is installed"));
        let up = async {
            while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() || self.is_loading().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), up).await.expect("it comes up");
    }

    async fn is_loading(&self) -> bool {
        let Ok(mut connection) = self.connect().await else { return false };
        let ping: redis::RedisResult<String> = redis::cmd("PING").query_async(&mut connection).await;
        ping.is_err_and(|error| error.to_string().contains("LOADING"))
    }

    /// Kills it at once.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill();
            child.wait().await.unwrap();
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    async fn connect(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        redis::Client::open(self.url())?.get_multiplexed_async_connection().await
    }

    /// Asks something.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.connect().await.expect("it is there");
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// All keys that match, sorted.
    pub async fn keys(&self, pattern: &str) -> Vec<String> {
        let mut keys: Vec<String> = self.ask(&["KEYS", pattern]).await;
        keys.sort();
        keys
    }
}

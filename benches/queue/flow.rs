//! The other side: a flow of `BullMQ`, worked off by one worker that does nothing, on a Redis that writes its log.
//!
//! A job of a flow has one parent, and a build may be needed by many: of each build's dependants only the first
//! waits for it here. The flow has less to keep than the record.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bullmq::options::RedisConnectionOptions;
use bullmq::{FlowJob, FlowProducer, FlowProducerOptions, Queue, QueueOptions, Worker, WorkerOptions};
use pkgwarden::domain::build::BuildRequest;
use pkgwarden::domain::name::PkgBase;
use pkgwarden::sys::process::{Child, Program};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::Pass;

const QUEUE: &str = "builds";
/// Trees that are added together.
const TOGETHER: usize = 100;

/// A whole pass.
pub async fn pass(builds: &[BuildRequest]) -> Pass {
    let dir = tempfile::tempdir().expect("a directory");
    let (_redis, url) = redis(dir.path()).await;
    let connection = RedisConnectionOptions { url, ..RedisConnectionOptions::default() };
    let options = FlowProducerOptions::new().connection(connection.clone());
    let producer = FlowProducer::with_options(options).await.expect("connected");
    let mut trees = trees(builds);
    let begun = Instant::now();
    while !trees.is_empty() {
        let rest = trees.split_off(trees.len().min(TOGETHER));
        producer.add_bulk(std::mem::replace(&mut trees, rest)).await.expect("added");
    }
    let add = begun.elapsed();
    Pass { add, work: work(connection, builds.len()).await }
}

async fn work(connection: RedisConnectionOptions, builds: usize) -> Duration {
    let options = QueueOptions { connection: connection.clone(), ..QueueOptions::default() };
    let queue = Queue::with_options(QUEUE, options).await.expect("connected");
    let begun = Instant::now();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let build = move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok(json!({"status": "succeeded"})) }
    };
    let options = WorkerOptions { connection, concurrency: 1, ..WorkerOptions::default() };
    let worker = Worker::with_options(QUEUE, build, options).await.expect("connected");
    if !worker.is_running() {
        worker.run().await.expect("it works");
    }
    while queue.get_completed_count().await.expect("readable") < builds as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    assert_eq!(taken.load(Ordering::Relaxed), builds);
    worker.close(1000).await.expect("closed");
    took
}

/// What can be said of the wave in flows: each build is the child of the first that needs it.
fn trees(builds: &[BuildRequest]) -> Vec<FlowJob> {
    let mut parents: HashMap<&PkgBase, &PkgBase> = HashMap::new();
    for build in builds {
        for needed in &build.after {
            parents.entry(needed).or_insert(&build.pkgbase);
        }
    }
    let (mut children, mut roots): (HashMap<&PkgBase, Vec<FlowJob>>, _) = (HashMap::new(), Vec::new());
    for build in builds {
        let data = json!({"repository": "repo", "pkgbase": build.pkgbase, "arch": build.arch});
        let job = FlowJob::new("build", QUEUE, data).expect("JSON");
        let job = match children.remove(&build.pkgbase) {
            Some(children) => job.children(children),
            None => job,
        };
        match parents.get(&build.pkgbase) {
            Some(parent) => children.entry(parent).or_default().push(job),
            None => roots.push(job),
        }
    }
    roots
}

async fn redis(dir: &Path) -> (Child, String) {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port().to_string();
    let mut child = Program::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir"])
        .arg(dir.display().to_string())
        .args(["--port", &free])
        .spawn()
        .expect("redis-server is installed");
    let mut lines = BufReader::new(child.stdout().expect("piped")).lines();
    while let Some(line) = lines.next_line().await.expect("readable") {
        if line.contains("Ready to accept connections") {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (child, format!("redis://127.0.0.1:{free}"));
        }
    }
    panic!("redis-server did not start")
}

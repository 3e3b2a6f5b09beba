//! Programs in JavaScript beside a fleet: the documented worker, and people who look at its queues, each with the npm
//! package `bullmq` that `.ci/setup --tests` installs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pkgwarden::sys::process::Program;
use serde_json::Value;

use super::fleet::Fleet;
use super::serving::Serve;

/// Where the programs and packages of others are that `.ci/setup --tests` installs.
pub fn services() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/services-3");
    assert!(dir.join("complete").exists(), "{} is missing; `.ci/setup --tests` installs it", dir.display());
    dir
}

/// A directory of the scene with these files, in which packages are found as after `npm install`.
fn installed(fleet: &Fleet, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = fleet.scene.path(name);
    if !dir.exists() {
        std::fs::create_dir(&dir).unwrap();
        std::os::unix::fs::symlink(services().join("node_modules"), dir.join("node_modules")).unwrap();
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
    }
    dir
}

fn node(fleet: &Fleet, script: &Path) -> Program {
    let path = pkgwarden::sys::env::var("PATH").unwrap_or_default();
    let program = Program::new(services().join("node_modules/node/bin/node")).env_clear().arg(script);
    let program = program.env("PATH", path).env("LANG", "C.UTF-8").env("HOME", fleet.scene.path("home"));
    program.env("TMPDIR", fleet.scene.path("tmp")).env("REDIS_URL", fleet.redis.url())
}

impl Fleet {
    /// Starts the worker of `examples/bullmq-worker`, which takes so many builds at once from each of these queues.
    pub async fn begin_foreign(&self, queues: &str, slots: usize) -> Serve {
        let files = [
            ("worker.js", include_str!("../../../examples/bullmq-worker/worker.js")),
            ("controller.js", include_str!("../../../examples/bullmq-worker/controller.js")),
            ("makepkg.js", include_str!("../../../examples/bullmq-worker/makepkg.js")),
            ("package.json", include_str!("../../../examples/bullmq-worker/package.json")),
        ];
        let dir = installed(self, "worker", &files);
        let worker = node(self, &dir.join("worker.js")).env("SLOTS", slots.to_string()).env("QUEUES", queues);
        let mut worker = Serve::of(worker);
        worker.says("takes builds from builds").await;
        worker
    }

    fn outsider(&self, words: &[&str]) -> Program {
        let files = [("outsider.js", include_str!("outsider.js")), ("package.json", r#"{"type":"module"}"#)];
        let dir = installed(self, "outsider", &files);
        node(self, &dir.join("outsider.js")).args(words)
    }

    /// Somebody who is there as a worker, and takes nothing.
    pub async fn begin_idle(&self) -> Serve {
        let mut idle = Serve::of(self.outsider(&["idle"]));
        idle.says("ready").await;
        idle
    }

    /// What somebody does with the queue who only knows `BullMQ`, and what that one sees.
    pub async fn asks(&self, words: &[&str]) -> Value {
        let ran = self.outsider(words).timeout(Duration::from_mins(1)).run().await.unwrap();
        assert!(ran.status.success(), "{words:?}: {}", ran.stderr_text());
        assert_eq!(ran.stderr_text(), "", "{words:?}");
        serde_json::from_slice(&ran.stdout).unwrap()
    }
}

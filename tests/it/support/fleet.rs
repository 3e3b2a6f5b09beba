//! A controller, its Redis, and builders as processes of their own.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use pkgwarden::store::builds::Build;
use pkgwarden::store::queries::BuildFilter;

use super::redis::{Redis, free_port};
use super::scene::names_in;
use super::serving::Serve;
use super::{Pkg, Scene};

/// How long a whole wave may take before a test counts as failed.
const PATIENCE: Duration = Duration::from_mins(40);

/// All of it.
pub struct Fleet {
    pub scene: Scene,
    pub redis: Redis,
    pub serve: Option<Serve>,
    pub builders: Vec<(String, Serve)>,
}

impl Fleet {
    /// A controller that has these packages to build, and nobody who builds them yet.
    pub async fn of(packages: &[Pkg], redis: &[&str]) -> Self {
        let scene = Scene::of(packages).await;
        let redis = Redis::start(&scene.path("redis"), redis).await;
        let url = redis.url();
        Self::on(scene, packages, redis, &url).await
    }

    /// The same in this scene, with a Redis that is reached there.
    pub async fn on(mut scene: Scene, packages: &[Pkg], redis: Redis, redis_url: &str) -> Self {
        scene.env.retain(|key, _| !key.starts_with("PKGWARDEN__EXECUTOR"));
        let url = scene.monorepo.path().display().to_string();
        let config = format!(
            "[[repository]]\nname = \"packages\"\nurl = \"{url}\"\n[server]\nlisten = \"127.0.0.1:{}\"\npoll = \"1s\"\n\
             [executor]\nkind = \"bullmq\"\nslots = 16\n[executor.bullmq]\nurl = \"{redis_url}\"\n",
            // Builders find it there also when it has been started anew.
            free_port(),
        );
        std::fs::write(scene.path("pkgwarden.toml"), config).unwrap();
        let released: Vec<_> = packages.iter().flat_map(|package| package.clone().release("2").changes()).collect();
        scene.push("feat: two", &released).await;
        let serve = Some(Self::serve(&scene));
        Self { scene, redis, serve, builders: Vec::new() }
    }

    fn serve(scene: &Scene) -> Serve {
        scene.serve(&["--config", scene.path("pkgwarden.toml").to_str().unwrap()], &[])
    }

    /// Starts a builder.
    pub fn begin(&mut self, name: &str, arguments: &[&str]) {
        self.begin_with(name, arguments, &[]);
    }

    /// Starts a builder with more variables in its environment.
    pub fn begin_with(&mut self, name: &str, arguments: &[&str], env: &[(&str, &str)]) {
        let config = self.scene.path("pkgwarden.toml").display().to_string();
        let words = [&["--config", &config, "builder", "--name", name][..], arguments].concat();
        let builder = self.scene.start(&words, env);
        self.builders.push((name.to_owned(), builder));
    }

    /// Kills a builder at once, and starts another in its place.
    pub async fn replace(&mut self, index: usize, arguments: &[&str]) {
        let (name, builder) = self.builders.remove(index);
        builder.signal(Signal::SIGKILL);
        builder.ended().await;
        self.begin(&name, arguments);
    }

    /// Kills the controller at once, and starts another in its place.
    pub async fn restart_controller(&mut self) {
        let old = self.serve.take().unwrap();
        old.signal(Signal::SIGKILL);
        old.ended().await;
        self.serve = Some(Self::serve(&self.scene));
    }

    pub async fn builds(&self) -> Vec<Build> {
        self.scene.store().builds(BuildFilter::default(), 1000).await.unwrap_or_default()
    }

    /// The directory in which a builder builds an attempt, as soon as that has begun.
    pub async fn begun(&self, builder: &str, attempt: &str) -> PathBuf {
        let place = self.scene.path("data/builders").join(builder);
        let tree = place.join("work").join(attempt).join("tree/start");
        let log = place.join("logs").join(format!("{attempt}.log"));
        let wait = async {
            while !std::fs::read_to_string(&log).is_ok_and(|log| log.contains("Starting build()")) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let begun = tokio::time::timeout(Duration::from_mins(4), wait).await;
        assert!(begun.is_ok(), "{builder} never began {attempt}");
        tree
    }

    /// The last attempt at a package.
    pub async fn attempt(&self, package: &str) -> pkgwarden::store::attempts::Attempt {
        let builds = self.builds().await;
        let of_it = builds.iter().filter(|build| build.pkgbase.as_str() == package);
        let build = of_it.max_by_key(|build| build.id).unwrap();
        self.scene.store().build(build.id).await.unwrap().unwrap().attempts.pop().expect("it was tried")
    }

    /// The packages that pacman sees.
    pub fn published(&self) -> Vec<String> {
        let mut names = names_in(&self.scene.path("published/packages"));
        names.retain(|name| name.ends_with(".pkg.tar.zst"));
        names
    }

    /// Waits until all builds are as it says.
    pub async fn until(&self, what: &str, is_so: impl Fn(&[Build]) -> bool) -> Vec<Build> {
        let wait = async {
            loop {
                let builds = self.builds().await;
                if !builds.is_empty() && is_so(&builds) {
                    return builds;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let Ok(builds) = tokio::time::timeout(PATIENCE, wait).await else {
            panic!("{what} never came: {:#?}", self.builds().await)
        };
        builds
    }

    /// What is left of jobs in Redis: the keys that are not those of a queue itself.
    pub async fn left_in_redis(&self) -> Vec<String> {
        let keys = self.redis.keys("bull:*").await;
        let of_queue = ["meta", "events", "stalled-check", "marker", "pc", "id"];
        keys.into_iter().filter(|key| !of_queue.iter().any(|end| key.ends_with(&format!(":{end}")))).collect()
    }

    /// Ends everybody, and looks that nothing is left of the builds.
    pub async fn end(self) {
        let Self { scene, redis, serve, builders } = self;
        let mut places: Vec<PathBuf> = ["data/queued", "data/attempts"].map(|place| scene.path(place)).into();
        for (name, builder) in builders {
            builder.signal(Signal::SIGTERM);
            let (code, said) = builder.ended().await;
            assert_eq!(code, Some(0), "{name}: {said}");
            places.extend(["work", "logs", "unsent"].map(|part| scene.path(&format!("data/builders/{name}/{part}"))));
        }
        assert_eq!(redis.keys("bull:pkgwarden:*").await, [""; 0], "builders that have gone");
        let cleared = async {
            while places.iter().any(|place| !names_in(place).is_empty()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let cleared = tokio::time::timeout(Duration::from_mins(2), cleared).await;
        assert!(cleared.is_ok(), "left: {:?}", places.iter().map(|place| names_in(place)).collect::<Vec<_>>());
        let serve = serve.unwrap();
        serve.signal(Signal::SIGTERM);
        let (code, said) = serve.ended().await;
        assert_eq!(code, Some(0), "{said}");
        let place = scene.path("data").display().to_string();
        let lines = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let lines = lines.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        let ours = |line: &Vec<u8>| String::from_utf8_lossy(line).contains(&place);
        assert_eq!(lines.filter(ours).count(), 0, "processes are left");
        scene.ends().await;
    }
}

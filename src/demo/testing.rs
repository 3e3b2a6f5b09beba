//! A served world for the tests of this folder.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::server::Server;
use super::world::{Options, World};
use crate::domain::name::PkgBase;
use crate::sys::clock::ManualClock;
use crate::sys::process::Program;

/// A world at noon.
pub struct Scene {
    pub world: World,
    pub clock: Arc<ManualClock>,
    _server: Server,
    _directory: tempfile::TempDir,
}

pub async fn scene(extra_packages: usize) -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new("2026-05-01T12:00:00Z".parse().unwrap()));
    let options = Options { extra_packages, ..Options::default() };
    let mut world = World::create(&directory.path().join("world"), clock.clone(), options).await.unwrap();
    let server = world.serve().unwrap();
    Scene { world, clock, _server: server, _directory: directory }
}

pub fn name(text: &str) -> PkgBase {
    PkgBase::new(text).unwrap()
}

pub async fn run(program: &str, args: &[&str]) -> String {
    let output = Program::new(program).args(args).run().await.unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", output.stderr_text());
    String::from_utf8(output.stdout).unwrap()
}

/// What `git` prints about the monorepo.
pub async fn log(world: &World, args: &[&str]) -> String {
    let path = world.monorepo().to_str().unwrap();
    run("git", &[&["-C", path][..], args].concat()).await
}

pub async fn dump(world: &World) -> BTreeMap<String, Value> {
    let client = crate::sys::http::client(Duration::from_secs(10));
    let bytes = client.get(world.aur_urls().metadata_url).send().await.unwrap().bytes().await.unwrap();
    let mut json = String::new();
    flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut json).unwrap();
    let entries: Vec<Value> = serde_json::from_str(&json).unwrap();
    entries.into_iter().map(|entry| (entry["Name"].as_str().unwrap().to_owned(), entry)).collect()
}

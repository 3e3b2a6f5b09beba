//! What a pass over sources costs beside the network: everybody who is asked answers at once, on loopback or from
//! this disk.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Uri};
use criterion::{BatchSize, BenchmarkId, Criterion};
use jiff::Timestamp;
use pkgwarden::domain::name::PkgBase;
use pkgwarden::domain::observed::Upstream;
use pkgwarden::domain::policy::SourceKind;
use pkgwarden::source::forge::ForgesConfig;
use pkgwarden::source::nvchecker::NvcheckerConfig;
use pkgwarden::source::vcs::{Followed, System, UpstreamRequest};
use pkgwarden::source::{AurConfig, SourceAnswer, SourceRequest, Sources, SourcesConfig};
use pkgwarden::sys::process::Program;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Packages of the largest public monorepo that are built from upstream commits.
const FOLLOWING: usize = 810;
/// Packages on the mirror.
const MIRRORED: usize = 2_500;
/// How many of them are new to us.
const CHANGED: usize = 200;
/// When everything was pushed, in unix seconds.
const PUSHED: i64 = 1_700_000_000;

pub fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let outside = Outside::start(&runtime);
    let mut group = criterion.benchmark_group("sources");
    group.sample_size(10);
    let following = outside.following();
    group.bench_function(BenchmarkId::new("vcs-pass", "generated"), |bencher| {
        let cache = TempDir::new().expect("a temporary directory");
        let sources = Sources::new(&outside.config(cache.path()));
        bencher.iter(|| {
            let answers = runtime.block_on(Box::pin(sources.pass(now()).upstream(black_box(&following))));
            assert!(answers.values().all(|answer| matches!(answer, Upstream::At(_))), "everybody answers");
        });
    });
    let changed: Vec<SourceRequest> = (0..CHANGED).map(|number| request(&name(number))).collect();
    group.bench_function(BenchmarkId::new("aur-fetch", "generated"), |bencher| {
        let fetch = |cache: TempDir| {
            let sources = Sources::new(&outside.config(cache.path()));
            let answers = runtime.block_on(Box::pin(sources.pass(now()).observe(&changed)));
            let files = answers.files.values().filter(|answer| matches!(answer, SourceAnswer::Files { .. }));
            assert_eq!(files.count(), CHANGED, "all of them are fetched");
            cache
        };
        bencher.iter_batched(|| TempDir::new().expect("a temporary directory"), fetch, BatchSize::PerIteration);
    });
    group.finish();
}

fn now() -> Timestamp {
    Timestamp::from_second(PUSHED + 86_400).expect("in range")
}

fn name(number: usize) -> String {
    format!("pkg{number:04}")
}

fn base(name: &str) -> PkgBase {
    PkgBase::new(name).expect("legal")
}

fn request(name: &str) -> SourceRequest {
    SourceRequest { pkgbase: base(name), kind: SourceKind::Aur, cursor: None, version: None, members: Vec::new() }
}

/// Everybody who is asked.
struct Outside {
    url: String,
    mirror: TempDir,
}

impl Outside {
    fn start(runtime: &Runtime) -> Self {
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("bound");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let index = index();
        let answer = move |uri: Uri| {
            let is_index = uri.path() == "/index.json.gz";
            let (kind, body) =
                if is_index { ("application/gzip", index.clone()) } else { (ADVERTISEMENT, refs().into_bytes()) };
            std::future::ready(([(CONTENT_TYPE, HeaderValue::from_static(kind))], body))
        };
        let app = axum::Router::new().fallback(answer);
        runtime.spawn(async move { axum::serve(listener, app).await.expect("serves") });
        let mirror = TempDir::new().expect("a temporary directory");
        runtime.block_on(fill(mirror.path()));
        Self { url, mirror }
    }

    /// As `serve` asks them.
    fn config(&self, cache_dir: &Path) -> SourcesConfig {
        SourcesConfig {
            aur: AurConfig {
                metadata_url: format!("{}/index.json.gz", self.url),
                rpc_url: format!("{}/rpc", self.url),
                mirror_url: Some(format!("file://{}", self.mirror.path().display())),
                git_url: None,
                prefer_mirror: true,
                proxy: None,
                clone_delay: Duration::ZERO,
                max_parallel: 8,
            },
            nvchecker: NvcheckerConfig::default(),
            forges: ForgesConfig::default(),
            cache_dir: cache_dir.to_owned(),
            timeout: Duration::from_secs(30),
            parallel: Some(8),
            per_host: 4,
            pass: Duration::from_mins(15),
        }
    }

    fn following(&self) -> Vec<UpstreamRequest> {
        let follow = |number: usize| {
            let followed = Followed { system: System::Git, url: format!("{}/r{number}.git", self.url), branch: None };
            UpstreamRequest { pkgbase: base(&format!("{}-git", name(number))), followed: vec![followed] }
        };
        (0..FOLLOWING).map(follow).collect()
    }
}

const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";

/// A repository with one branch, as git servers say it first.
fn refs() -> String {
    let packet = |line: &str| format!("{:04x}{line}", line.len() + 4);
    let id = "1".repeat(40);
    let refs = packet(&format!("{id} HEAD\0agent=git\n")) + &packet(&format!("{id} refs/heads/main\n"));
    packet("# service=git-upload-pack\n") + "0000" + &refs + "0000"
}

/// The index of the AUR.
fn index() -> Vec<u8> {
    let entry = |number| {
        let name = name(number);
        format!(r#"{{"Name":"{name}","PackageBase":"{name}","Version":"1.0-1","LastModified":{PUSHED}}}"#)
    };
    let text = format!("[{}]", (0..MIRRORED).map(entry).collect::<Vec<_>>().join(","));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).expect("memory");
    packed.finish().expect("memory")
}

/// A branch for each package, with the files that a package has at least.
async fn fill(mirror: &Path) {
    let mut stream = String::new();
    for name in (0..MIRRORED).map(name) {
        let pkgbuild = format!("pkgname={name}\npkgver=1.0\npkgrel=1\narch=(any)\n");
        let srcinfo = format!("pkgbase = {name}\n\tpkgver = 1.0\n\tpkgrel = 1\n\tarch = any\n\npkgname = {name}\n");
        let _ = write!(
            stream,
            "commit refs/heads/{name}\ncommitter Nobody <nobody@example.org> {PUSHED} +0000\ndata 5\nBegin\n\
             M 100644 inline PKGBUILD\ndata {}\n{pkgbuild}\nM 100644 inline .SRCINFO\ndata {}\n{srcinfo}\n",
            pkgbuild.len(),
            srcinfo.len()
        );
    }
    let git = |args: &[&str]| Program::new("git").args(args).current_dir(mirror);
    for program in [git(&["init", "--quiet", "--bare"]), git(&["fast-import", "--quiet"]).stdin_bytes(stream.into())] {
        let ran = program.run().await.expect("git runs");
        assert!(ran.status.success(), "git: {}", ran.stderr_text());
    }
}

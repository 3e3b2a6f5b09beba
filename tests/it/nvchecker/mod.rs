//! The newest versions of packages, by the `nvchecker.toml` in their folders.

mod agreement;
mod asking;
mod fixtures;
mod hostile;
mod theirs;
mod upstream;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use pkgwarden::domain::name::PkgBase;
use pkgwarden::source::forge::ForgesConfig;
use pkgwarden::source::nvchecker::{CheckRequest, Newest, NvcheckerConfig};
use pkgwarden::source::{AurConfig, Sources, SourcesConfig};

use upstream::Upstream;

/// Sources that ask these services and nobody else.
fn config(upstream: &Upstream, dir: &Path) -> SourcesConfig {
    SourcesConfig {
        aur: AurConfig {
            metadata_url: "http://127.0.0.1:1/".to_owned(),
            rpc_url: "http://127.0.0.1:1/rpc/v5".to_owned(),
            mirror_url: None,
            git_url: Some("http://127.0.0.1:1/{pkgbase}".to_owned()),
            prefer_mirror: false,
            proxy: None,
            clone_delay: Duration::ZERO,
            max_parallel: 1,
        },
        nvchecker: NvcheckerConfig {
            mirrors: upstream.mirrors().into_iter().collect(),
            alpm_dir: dir.join("pacman"),
            program: "/no/such/nvchecker".into(),
            own_program: env!("CARGO_BIN_EXE_pkgwarden").into(),
            ..NvcheckerConfig::default()
        },
        forges: ForgesConfig::default(),
        cache_dir: dir.join("cache"),
        timeout: Duration::from_secs(30),
        parallel: Some(8),
        per_host: 8,
        pass: Duration::from_mins(10),
    }
}

fn request(pkgbase: &str, file: &str) -> CheckRequest {
    let pkgbase = PkgBase::new(pkgbase).expect("legal");
    CheckRequest { pkgbase, path: "nvchecker.toml".to_owned(), file: file.as_bytes().to_vec() }
}

/// One pass, at the given second.
async fn newest_at(config: &SourcesConfig, requests: &[CheckRequest], second: i64) -> BTreeMap<String, Newest> {
    let sources = Sources::new(config);
    let now = Timestamp::from_second(second).expect("in range");
    let found = sources.pass(now).newest(requests, now).await;
    assert_eq!(found.findings, []);
    found.packages.into_iter().map(|(pkgbase, newest)| (pkgbase.to_string(), newest)).collect()
}

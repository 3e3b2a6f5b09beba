//! What tests of executors and of what serves them are given to build.

use std::time::Duration;

use super::BuildOrder;
use crate::domain::cache::Plan;
use crate::domain::chaotic::Route;
use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};

/// An order for a package `foo` that asks for nothing special.
pub fn order(attempt: &str) -> BuildOrder {
    BuildOrder {
        attempt: attempt.to_owned(),
        repository: "mine".to_owned(),
        url: None,
        arch: "x86_64".to_owned(),
        pkgbase: PkgBase::new("foo").unwrap(),
        commit: Oid::from_bytes([7; 20]),
        proposal: None,
        files: Folder::default().with("PKGBUILD", "pkgname=foo\n"),
        expected_version: None,
        class: None,
        bump: None,
        package_repositories: Vec::new(),
        published: Vec::new(),
        timeout: Duration::from_mins(1),
        extra_timeout: 1.0,
        cache_sources: false,
        allow_prohibited: false,
        caches: Plan::default(),
        source_date_epoch: 0,
        skip_exit_code: 123,
        route: Route::default(),
    }
}

//! The style sheet, the script and the icon, compiled in.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::text::hex;

const STYLE: &str = include_str!("../../templates/assets/style.css");
const SCRIPT: &str = include_str!("../../templates/assets/live.js");
const ICON: &str = include_str!("../../templates/assets/icon.svg");

static FINGERPRINT: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha256::new().chain_update(STYLE).chain_update(SCRIPT).finalize();
    hex(&digest[..6])
});

/// Changes whenever a file here does; part of the addresses, so that they can be kept for long.
#[must_use]
pub fn fingerprint() -> &'static str {
    &FINGERPRINT
}

/// The routes of the files.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/assets/style.css", get(async || asset("text/css; charset=utf-8", STYLE)))
        .route("/assets/live.js", get(async || asset("text/javascript; charset=utf-8", SCRIPT)))
        .route("/assets/icon.svg", get(async || asset("image/svg+xml", ICON)))
}

fn asset(kind: &'static str, body: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "public, max-age=86400")], body)
}

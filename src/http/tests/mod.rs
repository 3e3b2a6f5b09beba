//! The server over real HTTP on loopback, with a small world behind it.

mod access;
mod api;
mod connections;
mod logs;
mod pages;
mod streams;

use std::time::Duration;

use serde_json::Value;

/// A client that follows nothing and ends in time.
fn client() -> reqwest::Client {
    crate::sys::http::client(Duration::from_secs(20))
}

async fn get(url: &str) -> reqwest::Response {
    client().get(url).send().await.unwrap()
}

async fn json(url: &str) -> Value {
    let response = get(url).await;
    assert_eq!(response.status(), 200, "{url}");
    response.json().await.unwrap()
}

/// Reads a stream until it holds what is wanted.
async fn read_until(response: &mut reqwest::Response, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut seen = Vec::new();
    while !wanted(&seen) {
        match response.chunk().await.unwrap() {
            Some(chunk) => seen.extend_from_slice(&chunk),
            None => panic!("the stream ended at {:?}", String::from_utf8_lossy(&seen)),
        }
    }
    seen
}

async fn read_text(response: &mut reqwest::Response, wanted: &str) -> String {
    let seen = read_until(response, |seen| String::from_utf8_lossy(seen).contains(wanted)).await;
    String::from_utf8(seen).unwrap()
}

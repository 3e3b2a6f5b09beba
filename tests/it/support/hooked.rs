//! A forge that delivers to the program.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use pkgwarden::sys::http;
use pkgwarden::web::text::hex;
use serde_json::{Value, json};
use sha2::Sha256;

use super::Scene;

/// The secret that forge and program share.
pub const SECRET: &str = "It's a Secret to Everybody";

/// The webhook of a forge: where it delivers to.
#[derive(Clone)]
pub struct Webhook {
    client: reqwest::Client,
    server: String,
    /// So many of the next deliveries never arrive.
    lost: Arc<AtomicUsize>,
}

impl Webhook {
    /// A webhook to a server, for the repository `packages`.
    pub fn to(server: &str) -> Self {
        Self { client: http::client(Duration::from_mins(1)), server: server.to_owned(), lost: Arc::default() }
    }

    /// Waits until the server has looked at the repository by itself, as it does when it starts: of what happens after
    /// that, it knows by what is delivered.
    pub async fn first_look(&self) {
        let never = "pkgwarden_looked_at_timestamp_seconds{repository=\"packages\"} 0\n";
        let metrics = async || {
            let answer = self.client.get(format!("{}/metrics", self.server)).send().await.expect("answered");
            answer.text().await.expect("text")
        };
        while metrics().await.contains(never) {
            tokio::task::yield_now().await;
        }
    }

    /// The next so many deliveries are lost on their way: to the forge, they were never answered.
    pub fn loses(&self, deliveries: usize) {
        self.lost.store(deliveries, Ordering::SeqCst);
    }

    /// Delivers as GitHub does. Returns the status and what was answered.
    pub async fn deliver(&self, id: &str, event: &str, payload: &Value) -> (u16, Value) {
        let body = payload.to_string();
        let signature = format!("sha256={}", sign(SECRET, body.as_bytes()));
        let headers = [("x-github-delivery", id), ("x-github-event", event), ("x-hub-signature-256", &signature)];
        self.send(&headers, body).await
    }

    /// Sends JSON with these headers. The status of a delivery that is lost is 0.
    pub async fn send(&self, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> (u16, Value) {
        let lose = |lost: usize| lost.checked_sub(1);
        if self.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok() {
            return (0, Value::Null);
        }
        let url = format!("{}/hooks/packages", self.server);
        let mut request = self.client.post(url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("answered");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("JSON"))
    }
}

/// The hexadecimal digits of the HMAC-SHA256 of a body.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body);
    hex(&mac.finalize().into_bytes())
}

/// A push to the branch with the packages.
pub fn push(before: &str, after: &str) -> Value {
    json!({"ref": "refs/heads/main", "before": before, "after": after, "sender": {"login": "alice"}})
}

impl Scene {
    /// The file with the secrets, which holds these.
    pub fn secrets(&self, secrets: &[&str]) -> PathBuf {
        let path = self.path("webhook-secret");
        std::fs::write(&path, secrets.join("\n")).expect("written");
        path
    }

    /// The environment of a program that takes webhooks of a kind of forge, and looks by itself every so often.
    pub fn hooked(&mut self, kind: &str, poll: &str) {
        let secrets = self.secrets(&[SECRET]);
        let mut set = |key: &str, value: &str| drop(self.env.insert(format!("PKGWARDEN__{key}"), value.to_owned()));
        set("SERVER__LISTEN", "127.0.0.1:0");
        set("SERVER__POLL", poll);
        set("EXECUTOR__KIND", "none");
        set("FORGE__KIND", kind);
        set("FORGE__WEBHOOK_SECRET_FILE", &secrets.display().to_string());
    }
}

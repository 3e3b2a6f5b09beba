//! Hears from the controller whether to go on.

use std::time::Duration;

use reqwest::{Method, StatusCode};

use super::{Came, Client, refused};

/// How long the controller may think about one question.
const WAIT: Duration = Duration::from_secs(50);
/// How long to rest before asking again after no answer, or one that came too early.
const REST: Duration = Duration::from_secs(1);

/// Why a build is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwanted {
    /// Somebody cancelled it; the controller wants to hear of its end.
    Cancelled,
    /// The attempt is over; nobody takes anything of it.
    Over,
}

#[derive(serde::Deserialize)]
struct Wish {
    wish: String,
}

impl Client {
    /// Waits until the build is to stop; for ever, if it is not. While the controller is away, or somebody else answers in
    /// its place, the build goes on.
    pub async fn until_unwanted(&self) -> Unwanted {
        let url = format!("{}?wait={}", self.places.wish, WAIT.as_secs());
        let mut told = false;
        loop {
            let begun = tokio::time::Instant::now();
            let request = self.request(Method::GET, &url).timeout(WAIT + Duration::from_secs(20));
            match self.ask(request).await {
                Came::Answer(answer) if answer.status() == StatusCode::GONE => return Unwanted::Over,
                Came::Answer(answer) if answer.status().is_success() => {
                    if answer.json::<Wish>().await.is_ok_and(|wish| wish.wish == "cancelled") {
                        return Unwanted::Cancelled;
                    }
                }
                // Nobody has said that it is to stop, and stopping it could not be undone.
                Came::Answer(answer) if !told => {
                    told = true;
                    let error = refused("to say whether to go on", answer).await;
                    tracing::warn!(error = &error as &dyn std::error::Error, "the build goes on meanwhile");
                }
                Came::Answer(_) => {}
                Came::Nothing(_) => {}
            }
            if begun.elapsed() < REST {
                tokio::time::sleep(REST).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::http::header::CONTENT_TYPE;
    use serde_json::json;

    use super::*;
    use crate::domain::job::Job;

    const PAGE: &str = "text/html";
    const PROBLEM: &str = "application/problem+json";

    /// A client whose controller gives these answers, one after the other, and how many are left.
    async fn client(answers: &[(u16, &'static str, &'static str)]) -> (Client, Arc<Mutex<VecDeque<Answer>>>) {
        let left: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(answers.iter().copied().collect()));
        let given = Arc::clone(&left);
        let answer = move || async move {
            let (status, kind, body) = given.lock().unwrap().pop_front().expect("nobody asks further");
            (StatusCode::from_u16(status).unwrap(), [(CONTENT_TYPE, kind)], body)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
        let job: Job = serde_json::from_value(json!({
            "schema": 1, "attempt": "a", "repository": "r", "commit": "c", "pkgbase": "p", "arch": "x86_64",
            "pacman_repositories": [], "published": [], "timeout_s": 1, "cache_sources": false,
            "source_date_epoch": 0, "skip_exit_code": 0, "token": "t", "files": format!("{address}/files"),
            "log": format!("{address}/log"), "artefacts": address, "wish": format!("{address}/wish"),
        }))
        .unwrap();
        (Client::of(&job).unwrap(), left)
    }

    type Answer = (u16, &'static str, &'static str);

    #[tokio::test]
    async fn only_the_controller_stops_a_build() {
        let odd = [(404, PAGE, "no backend"), (401, PROBLEM, "{}"), (302, PAGE, "sign in"), (200, PAGE, "sign in")];
        let said = [(200, "application/json", r#"{"wish":"go_on"}"#), (410, PROBLEM, "{}")];
        let (client, left) = client(&[&odd[..], &said].concat()).await;
        assert_eq!(client.until_unwanted().await, Unwanted::Over);
        assert!(left.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_a_gate_says_in_the_place_of_the_controller_is_waited_out() {
        let (client, left) = client(&[(404, PAGE, "no backend"), (204, "", "")]).await;
        assert_eq!(client.log_length().await.unwrap(), 0);
        assert!(left.lock().unwrap().is_empty());
        let refused = [(404, PROBLEM, r#"{"detail":"nothing of that name"}"#)];
        left.lock().unwrap().extend(refused);
        assert!(client.log_length().await.unwrap_err().to_string().ends_with("nothing of that name"));
    }
}

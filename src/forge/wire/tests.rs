//! The way to a forge, tried on servers that answer as they are told to.

use std::sync::Mutex as StdMutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::sys::clock::ManualClock;

/// A server that gives these answers, one for each connection, and keeps what it was asked.
async fn server(answers: Vec<String>) -> (Url, Arc<StdMutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url: Url = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("an address");
    let asked = Arc::new(StdMutex::new(Vec::new()));
    let (kept, own) = (asked.clone(), url.to_string());
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut buffer = vec![0; 8192];
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            kept.lock().expect("whole").push(String::from_utf8_lossy(&buffer[..read]).into_owned());
            let answer = answer.replace("SELF", own.trim_end_matches('/'));
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (url, asked)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

fn wire(api: Url) -> Wire {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let place = Place { forge: "Forge".to_owned(), api, scopes: "everything" };
    Wire::new(place, Some(bearer("sesame").expect("a header")), Duration::from_mins(1), clock)
}

async fn send(wire: &Wire, method: Method, path: &str) -> Result<String, ForgeError> {
    let request = Request::builder().method(method).uri(path).body(Bytes::new()).expect("well formed");
    let response = wire.send(request).await?;
    Ok(String::from_utf8_lossy(response.body()).into_owned())
}

#[tokio::test]
async fn a_token_does_not_follow_a_redirect_to_another_host() {
    let (elsewhere, stolen) = server(vec![answer("200 OK", "", "thanks")]).await;
    let leads = format!("location: {elsewhere}x\r\n");
    let (url, _) = server(vec![answer("302 Found", &leads, ""); 3]).await;
    let error = send(&wire(url), Method::GET, "/x").await.expect_err("refused");
    assert!(error.to_string().contains("it leads to 127.0.0.1, where our token does not belong"), "{error}");
    assert_eq!(stolen.lock().expect("whole").len(), 0, "nobody came there, not even without the token");
}

#[tokio::test]
async fn a_redirect_within_the_address_is_followed_with_the_token() {
    let moved = answer("301 Moved Permanently", "location: /repositories/7\r\n", "");
    let (url, asked) = server(vec![moved, answer("200 OK", "", "here")]).await;
    assert_eq!(send(&wire(url), Method::GET, "/repos/o/p").await.expect("followed"), "here");
    let asked = asked.lock().expect("whole").clone();
    assert!(asked[1].starts_with("GET /repositories/7 "), "{asked:?}");
    assert!(asked.iter().all(|request| request.contains("authorization: Bearer sesame")), "{asked:?}");
}

#[tokio::test]
async fn a_change_is_not_made_where_a_redirect_leads() {
    let (url, asked) = server(vec![answer("301 Moved Permanently", "location: /y\r\n", "")]).await;
    let error = send(&wire(url), Method::POST, "/x").await.expect_err("refused");
    assert!(error.to_string().contains("name the new one in forge.project"), "{error}");
    assert_eq!(asked.lock().expect("whole").len(), 1);
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let (url, asked) = server(vec![answer("302 Found", "location: SELF/again\r\n", ""); 40]).await;
    let error = send(&wire(url), Method::GET, "/x").await.expect_err("a loop");
    assert!(error.to_string().contains("it leads in circles"), "{error}");
    assert_eq!(asked.lock().expect("whole").len(), (HOPS + 1) * (AGAIN + 1));
}

#[tokio::test]
async fn an_address_of_another_forge_is_not_asked() {
    let (url, asked) = server(vec![answer("200 OK", "", "here")]).await;
    let error = send(&wire(url), Method::GET, "http://other.example/x").await.expect_err("refused");
    assert!(error.to_string().contains("`http://other.example/x` is not its address"), "{error}");
    assert_eq!(asked.lock().expect("whole").len(), 0);
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let half = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 100\r\n\r\n[1, 2".to_owned();
    let (url, asked) = server(vec![half; 3]).await;
    let error = send(&wire(url.clone()), Method::GET, "/x").await.expect_err("half");
    assert!(matches!(error, ForgeError::Unreachable { .. }), "{error:?}");
    assert!(!error.to_string().contains("127.0.0.1"), "addresses with what they hold are not shown: {error}");
    assert_eq!(asked.lock().expect("whole").len(), 1 + AGAIN);
}

#[tokio::test]
async fn what_was_answered_before_is_asked_for_by_its_tag() {
    let first = answer("200 OK", "etag: \"a\"\r\n", "one");
    let same = "HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n".to_owned();
    let (url, asked) = server(vec![first, same, answer("200 OK", "etag: \"b\"\r\n", "two")]).await;
    let wire = wire(url);
    for expected in ["one", "one", "two"] {
        assert_eq!(send(&wire, Method::GET, "/x").await.expect("answered"), expected);
    }
    let asked = asked.lock().expect("whole").clone();
    assert!(!asked[0].contains("if-none-match") && asked[1].contains("if-none-match: \"a\""), "{asked:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("an address");
    let place = Place { forge: "Forge".to_owned(), api: url, scopes: "everything" };
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let wire = Wire::new(place, None, Duration::from_millis(50), clock);
    let error = send(&wire, Method::POST, "/x").await.expect_err("silence");
    assert!(matches!(error, ForgeError::Unreachable { .. }), "{error:?}");
}

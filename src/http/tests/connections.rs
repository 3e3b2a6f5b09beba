//! Who connects and says nothing, or not all.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::connections::{MOST, MOST_FOLLOWING};
use super::client;
use crate::http::world::garden;

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

async fn connected(url: &str) -> TcpStream {
    TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap()
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_head_never_ends_is_closed() {
    let served = garden().serve(None).await;
    let mut slow = connected(&served.url).await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await.unwrap();
    let begun = tokio::time::Instant::now();
    let text = answer(&mut slow).await;
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    assert!(begun.elapsed() > std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_every_connection_and_says_nothing_loses_them_to_others() {
    let served = garden().serve(None).await;
    let mut silent = Vec::new();
    for _ in 0..MOST {
        silent.push(connected(&served.url).await);
    }
    let mut asking = connected(&served.url).await;
    asking.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut asking).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn those_who_follow_leave_places_for_those_who_ask() {
    let served = garden().serve(None).await;
    let follow = async || client().get(format!("{}/api/v1/events", served.url)).send().await.unwrap();
    let mut following = Vec::new();
    for _ in 0..MOST_FOLLOWING {
        following.push(follow().await);
    }
    let refused = follow().await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "30"));
    assert_eq!(client().get(format!("{}/healthz", served.url)).send().await.unwrap().status(), 200);
    following.pop();
    while follow().await.status() != 200 {
        tokio::task::yield_now().await;
    }
}

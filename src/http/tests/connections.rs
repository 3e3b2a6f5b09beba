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

/// How much of a large file comes to somebody who rests for so long after each piece.
async fn read_resting(rest: std::time::Duration) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    std::fs::File::create(dir.path().join("large.db")).unwrap().set_len(LARGE).unwrap();
    let served = garden().serve_published("garden", dir.path()).await;
    let mut reading = connected(&served.url).await;
    reading.write_all(b"GET /repo/garden/large.db HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let (mut piece, mut came) = (vec![0; 4 << 20], 0);
    while came < LARGE {
        tokio::time::sleep(rest).await;
        match reading.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(read) => came += read as u64,
        }
    }
    came
}

const LARGE: u64 = 64 << 20;

#[tokio::test(start_paused = true)]
async fn whoever_takes_nothing_of_an_answer_loses_the_connection() {
    let came = read_resting(std::time::Duration::from_mins(2)).await;
    assert!((1..LARGE).contains(&came), "{came}");
}

#[tokio::test]
async fn whoever_reads_on_gets_all_of_an_answer() {
    assert!(read_resting(std::time::Duration::ZERO).await >= LARGE);
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

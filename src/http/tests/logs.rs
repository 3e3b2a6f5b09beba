//! Logs as bytes: whole, in part, as they grow, and many in one stream.

use super::*;
use crate::controller::face::Face as _;
use crate::domain::build::BuildState;
use crate::http::world::{World, build, garden};

/// A world with one build whose log is this.
fn with_log(state: BuildState, log: &[u8]) -> std::sync::Arc<World> {
    let world = World::empty();
    world.add_build(build("b1", "hedge", state));
    world.write("b1.1", log);
    if state.is_final() {
        world.logs().finish("b1.1").unwrap();
    }
    world
}

async fn ranged(url: &str, range: &str) -> (u16, String, String) {
    let response = client().get(format!("{url}/api/v1/builds/b1/log")).header("range", range).send().await.unwrap();
    let content_range = response.headers().get("content-range").map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), content_range.unwrap_or_default(), response.text().await.unwrap())
}

fn answer(status: u16, range: &str, body: &str) -> (u16, String, String) {
    (status, range.into(), body.into())
}

#[tokio::test]
async fn a_part_of_a_log_is_given_as_the_standard_says() {
    let served = with_log(BuildState::Succeeded, b"0123456789").serve(None).await;
    let url = &served.url;
    assert_eq!(ranged(url, "bytes=2-4").await, answer(206, "bytes 2-4/10", "234"));
    assert_eq!(ranged(url, "bytes=7-").await, answer(206, "bytes 7-9/10", "789"));
    assert_eq!(ranged(url, "bytes=-4").await, answer(206, "bytes 6-9/10", "6789"));
    assert_eq!(ranged(url, "bytes=0-999").await, answer(206, "bytes 0-9/10", "0123456789"));
    assert_eq!(ranged(url, "bytes=10-").await, answer(416, "bytes */10", ""));
    assert_eq!(ranged(url, "bytes=-0").await, answer(416, "bytes */10", ""));
    assert_eq!(ranged(url, "bytes=1-2,4-5").await, answer(200, "", "0123456789"));
    assert_eq!(ranged(url, "bytes=5-2").await, answer(200, "", "0123456789"));
    let beyond = get(&format!("{url}/api/v1/builds/b1/log?offset=11")).await;
    assert_eq!(beyond.status(), 416);
    assert_eq!(get(&format!("{url}/api/v1/builds/b1/log?offset=8")).await.text().await.unwrap(), "89");
}

#[tokio::test]
async fn a_log_has_a_tag_once_it_is_whole() {
    let growing = with_log(BuildState::Running, b"01234").serve(None).await;
    let response = get(&format!("{}/api/v1/builds/b1/log", growing.url)).await;
    assert!(response.headers().get("etag").is_none());
    assert_eq!(ranged(&growing.url, "bytes=1-2").await, answer(206, "bytes 1-2/*", "12"));

    let served = with_log(BuildState::Failed, b"0123456789").serve(None).await;
    let url = format!("{}/api/v1/builds/b1/log", served.url);
    let whole = get(&url).await;
    let tag = whole.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let known = client().get(&url).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!((known.status().as_u16(), known.text().await.unwrap()), (304, String::new()));
    let same = client().get(&url).header("range", "bytes=0-0").header("if-range", &tag).send().await.unwrap();
    assert_eq!(same.status(), 206);
    let other = client().get(&url).header("range", "bytes=0-0").header("if-range", "\"other\"").send().await.unwrap();
    assert_eq!(other.status(), 200);
    let head = client().head(&url).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], "10");
}

#[tokio::test]
async fn a_build_that_ended_before_it_began_has_an_empty_log() {
    let world = World::empty();
    let mut cancelled = build("b1", "hedge", BuildState::Cancelled);
    cancelled.attempt = None;
    world.add_build(cancelled);
    let served = world.serve(None).await;
    for query in ["", "?follow=1"] {
        let response = get(&format!("{}/api/v1/builds/b1/log{query}", served.url)).await;
        assert_eq!((response.status().as_u16(), response.text().await.unwrap()), (200, String::new()));
    }
    assert_eq!(ranged(&served.url, "bytes=0-").await.0, 200);
}

#[tokio::test]
async fn a_log_is_followed_from_an_offset_to_its_end_without_loss() {
    let world = with_log(BuildState::Running, b"begin ");
    let served = world.serve(None).await;
    let response = get(&format!("{}/api/v1/builds/b1/log?follow=1&offset=3", served.url)).await;
    let writing = tokio::task::spawn_blocking({
        let world = world.clone();
        move || {
            let mut writer = world.logs().writer("b1.1").unwrap();
            let mut all = Vec::new();
            for number in 0..4_000 {
                let line = format!("{number} {}\n", "x".repeat(number % 200));
                writer.write(line.as_bytes()).unwrap();
                all.extend_from_slice(line.as_bytes());
            }
            writer.finish().unwrap();
            all
        }
    });
    let read = response.bytes().await.unwrap();
    let written = writing.await.unwrap();
    assert_eq!(&read[..3], b"in ");
    assert!(read[3..] == written[..], "{} of {} bytes", read.len() - 3, written.len());
}

#[tokio::test]
async fn who_follows_a_build_that_waits_gets_its_log_when_it_begins() {
    let world = World::empty();
    world.add_build(build("b1", "hedge", BuildState::Ready));
    let served = world.serve(None).await;
    let url = format!("{}/api/v1/builds/b1/log?follow=1", served.url);
    let reading = tokio::spawn(async move { get(&url).await.text().await.unwrap() });
    world.set_state("b1", BuildState::Running, Some("b1.1"));
    world.write("b1.1", b"here I am\n");
    world.logs().finish("b1.1").unwrap();
    assert_eq!(reading.await.unwrap(), "here I am\n");
}

/// Takes a framed stream apart: the bytes of each build.
fn unframe(mut stream: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(end) = stream.iter().position(|&byte| byte == b'\n') {
        let header = std::str::from_utf8(&stream[..end]).unwrap();
        let [at, kind, id, length] = header.split(' ').collect::<Vec<_>>()[..] else { panic!("{header:?}") };
        assert_eq!((at, kind), ("@", "build-log"));
        let length: usize = length.parse().unwrap();
        let Some(body) = stream.get(end + 1..end + 1 + length) else { break };
        frames.push((id.to_owned(), body.to_vec()));
        stream = &stream[end + 1 + length..];
    }
    frames
}

fn bytes_of(stream: &[u8], id: &str) -> Vec<u8> {
    unframe(stream).into_iter().filter(|(of, _)| of == id).flat_map(|(_, bytes)| bytes).collect()
}

#[tokio::test]
async fn a_build_cannot_forge_the_log_of_another() {
    let world = garden();
    let evil = b"@ build-log b9 5\nowned\n@ build-log b9 999999\n";
    world.write("b3.1", evil);
    let served = world.serve(None).await;
    let printed = get(&format!("{}/api/v1/log", served.url)).await.bytes().await.unwrap();
    assert_eq!(bytes_of(&printed, "b9"), b"");
    assert!(bytes_of(&printed, "b3").ends_with(evil));

    let mut following = get(&format!("{}/api/v1/log?follow=1", served.url)).await;
    let seen = read_until(&mut following, |seen| bytes_of(seen, "b3").ends_with(evil)).await;
    assert_eq!(bytes_of(&seen, "b9"), b"");
    world.add_build(build("b6", "mulch", BuildState::Running));
    world.write("b6.1", b"new\n");
    world.write("b3.1", b"more\n");
    let more =
        read_until(&mut following, |seen| bytes_of(seen, "b6") == b"new\n" && bytes_of(seen, "b3") == b"more\n").await;
    assert_eq!(bytes_of(&more, "b2"), b"", "what had ended before is not repeated");
}

#[tokio::test]
async fn streams_end_when_the_program_does() {
    let world = garden();
    let served = world.serve(None).await;
    let mut open = Vec::new();
    for path in [
        "/api/v1/builds/b3/log?follow=1",
        "/api/v1/builds/b3/events",
        "/api/v1/events",
        "/api/v1/log?follow=1",
        "/api/logs/trellis",
    ] {
        open.push(get(&format!("{}{path}", served.url)).await);
    }
    drop(served);
    for response in open {
        let path = response.url().path().to_owned();
        let text = response.text().await.unwrap();
        assert!(!text.contains("event: end"), "{path} says that the log has ended");
    }
}

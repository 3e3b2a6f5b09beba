//! Server-sent events: state changes, and logs as text.

use super::*;
use crate::controller::face::Face as _;
use crate::domain::build::BuildState;
use crate::http::world::{World, build, garden, oid};

/// The events in a stream: kind, id, data.
fn events(text: &str) -> Vec<(String, String, Value)> {
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    text.split("\n\n")
        .filter(|block| block.contains("event:"))
        .map(|block| {
            (field(block, "event:"), field(block, "id:"), serde_json::from_str(&field(block, "data:")).unwrap())
        })
        .collect()
}

async fn listen(url: &str, last: Option<&str>) -> reqwest::Response {
    let request = client().get(url);
    last.map_or(client().get(url), |last| request.header("last-event-id", last)).send().await.unwrap()
}

fn text_of(events: &[(String, String, Value)]) -> String {
    events.iter().filter_map(|(_, _, data)| data["text"].as_str()).collect()
}

#[tokio::test]
async fn every_state_change_is_told_and_a_listener_goes_on_where_it_was() {
    let world = garden();
    let served = world.serve(None).await;
    let url = format!("{}/api/v1/events", served.url);
    let mut stream = listen(&url, None).await;
    read_text(&mut stream, "event: reset").await;
    world.set_state("b5", BuildState::Ready, None);
    let first = events(&read_text(&mut stream, "\"ready\"").await);
    let (kind, id, data) = first.last().unwrap().clone();
    assert_eq!(
        (kind.as_str(), &data["pkgbase"], &data["previous"]),
        ("build", &Value::from("arbour"), &Value::from("waiting"))
    );
    drop(stream);

    world.set_state("b5", BuildState::Dispatched, Some("b5.1"));
    world.change(|state| state.reviews[0].head = oid(0x77));
    world.change(|state| state.repositories[0].paused = true);
    let mut resumed = listen(&url, Some(&id)).await;
    let missed = events(&read_text(&mut resumed, "event: review").await);
    let kinds: Vec<_> = missed.iter().map(|(kind, _, _)| kind.as_str()).collect();
    assert!(!kinds.contains(&"reset"), "{kinds:?}");
    assert!(kinds.contains(&"build") && kinds.contains(&"repository"), "{kinds:?}");

    let mut stranger = listen(&url, Some("00000000-5")).await;
    read_text(&mut stranger, "event: reset").await;
}

#[tokio::test]
async fn log_events_carry_offsets_and_the_last_one_known_wins() {
    let world = World::empty();
    world.add_build(build("b1", "hedge", BuildState::Running));
    world.write("b1.1", "ä1\n".as_bytes());
    let served = world.serve(None).await;
    let url = format!("{}/api/v1/builds/b1/events", served.url);
    let mut stream = listen(&url, None).await;
    let first = events(&read_text(&mut stream, "\n\n").await);
    assert_eq!((first[0].1.as_str(), &first[0].2["text"]), ("4", &Value::from("ä1\n")));
    drop(stream);

    world.write("b1.1", b"second\n");
    world.logs().finish("b1.1").unwrap();
    let rest = listen(&format!("{url}?offset=0"), Some("4")).await.text().await.unwrap();
    let rest = events(&rest);
    assert_eq!(text_of(&rest), "second\n");
    assert_eq!((rest.last().unwrap().0.as_str(), rest.last().unwrap().1.as_str()), ("end", "11"));
}

#[tokio::test]
async fn a_character_that_is_split_between_writes_survives() {
    let world = World::empty();
    world.add_build(build("b1", "hedge", BuildState::Running));
    world.write("b1.1", b"a\xf0\x9f");
    let served = world.serve(None).await;
    let url = format!("{}/api/v1/builds/b1/events", served.url);
    let mut stream = listen(&url, None).await;
    let first = events(&read_text(&mut stream, "\n\n").await);
    assert_eq!((first[0].1.as_str(), text_of(&first).as_str()), ("1", "a"));
    world.write("b1.1", b"\x8c\xb1b\xff");
    let second = events(&read_text(&mut stream, "\n\n").await);
    assert_eq!(text_of(&second), "\u{1f331}b\u{fffd}");
    // The listener that lost the connection in the middle begins before the character.
    let mut again = listen(&url, Some("1")).await;
    assert_eq!(text_of(&events(&read_text(&mut again, "\n\n").await)), "\u{1f331}b\u{fffd}");
}

#[tokio::test]
async fn styled_events_show_what_a_browser_could_not() {
    let world = World::empty();
    world.add_build(build("b1", "hedge", BuildState::Succeeded));
    world.write("b1.1", "\u{1b}[1;31mred\u{1b}[0m \u{202e}x\u{1b}]0;t\u{7}\n".as_bytes());
    world.logs().finish("b1.1").unwrap();
    let served = world.serve(None).await;
    let text = listen(&format!("{}/api/v1/builds/b1/events?styled=1", served.url), None).await.text().await.unwrap();
    let first = &events(&text)[0].2;
    assert_eq!(
        first["pieces"],
        serde_json::json!([{"style": "b c1", "text": "red"}, {"style": "", "text": " ⟨U+202E⟩x␛]0;t␇\n"}])
    );
}

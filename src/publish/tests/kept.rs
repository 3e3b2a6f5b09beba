//! Generations that stay, and how often they are read.

use super::*;
use crate::publish::prove::{Against, prove};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn numbers(publisher: &Publisher) -> Vec<u64> {
    publisher.summaries().unwrap().iter().map(|one| one.number).collect()
}

fn is_whole(publisher: &Publisher) -> bool {
    prove(publisher, &Against::default()).unwrap().findings.is_empty()
}

/// Each publication of a wave makes a generation, and what people want back is from the evening before.
#[tokio::test]
async fn people_go_back_to_before_a_wave_that_made_more_generations_than_are_kept() {
    let mut world = world();
    let clock = Arc::new(ManualClock::new(Timestamp::from_second(NOW).unwrap()));
    world.publisher = world.publisher.clone().keep_generations(2).keep_days(3).with_clock(clock.clone());
    for version in ["1-1", "2-1"] {
        world.publish("foo", version, &["foo"]).await.unwrap();
        clock.advance(HOUR);
    }
    clock.advance(24 * HOUR);
    for package in ["a", "b", "c", "d"] {
        world.publish(package, "1-1", &[package]).await.unwrap();
        clock.advance(HOUR);
    }
    assert_eq!(numbers(&world.publisher), [6, 5, 2], "of the first day, the last; of the second, the newest");
    assert_eq!(world.files().len(), 5, "{:?}", world.files());
    let back = world.publisher.roll_back(2).await.unwrap();
    assert_eq!((back.restores, world.published()), (Some(2), vec!["foo 2-1".to_owned()]));
    assert!(is_whole(&world.publisher));
    clock.advance(2 * 24 * HOUR);
    world.publish("foo", "3-1", &["foo"]).await.unwrap();
    assert_eq!(numbers(&world.publisher), [8, 7, 2]);
    clock.advance(24 * HOUR);
    world.publish("foo", "4-1", &["foo"]).await.unwrap();
    assert_eq!(numbers(&world.publisher), [9, 8, 7], "its day is over");
    assert!(is_whole(&world.publisher));
}

/// There may be dozens of them, with thousands of packages each, and every page and every publication asks.
#[tokio::test]
async fn a_generation_is_read_again_only_if_it_was_changed() {
    let world = world();
    for version in ["1-1", "2-1", "3-1"] {
        world.publish("foo", version, &["foo"]).await.unwrap();
    }
    assert_eq!(numbers(&world.publisher), [3, 2, 1]);
    let manifest = world.publisher.layout.generation(1).join("manifest.json");
    let metadata = std::fs::metadata(&manifest).unwrap();
    let damaged = vec![b'x'; usize::try_from(metadata.len()).unwrap()];
    std::fs::write(&manifest, damaged).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&manifest).unwrap();
    file.set_modified(metadata.modified().unwrap()).unwrap();
    assert_eq!(numbers(&world.publisher), [3, 2, 1], "it is not looked into");
    file.set_modified(metadata.modified().unwrap() + std::time::Duration::from_secs(1)).unwrap();
    assert_eq!(numbers(&world.publisher), [3, 2], "somebody has changed it");
    // Its database still says which file is its.
    world.publish("foo", "4-1", &["foo"]).await.unwrap();
    assert!(world.files().contains(&"foo-1-1-any.pkg.tar.zst".to_owned()));
    // Another process publishes, and removes what it does not keep.
    let other = Publisher::new(world.publisher.dir(), "test").keep_generations(1);
    other.publish(&[world.member("bar", "bar", "1-1")], &expected("bar", "1-1", &["bar"])).await.unwrap();
    assert_eq!(numbers(&world.publisher), [5]);
    assert_eq!(world.publisher.generations().unwrap(), other.generations().unwrap());
}

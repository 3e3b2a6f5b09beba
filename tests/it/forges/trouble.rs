//! What becomes of questions when a forge is down, slow, full, or breaks off.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pkgwarden::domain::review::{Stage as Come, Thread};
use pkgwarden::forge::ForgeError;

use super::stage::{KINDS, Stage, wanted};
use crate::support::forges::http::Trouble;
use crate::support::forges::world::Kind;

/// Where reviews are opened.
fn reviews(kind: Kind) -> &'static str {
    if kind == Kind::GitLab { "/merge_requests" } else { "/pulls" }
}

/// Where comments are written.
fn comments(kind: Kind) -> &'static str {
    if kind == Kind::GitLab { "/notes" } else { "/comments" }
}

#[tokio::test]
async fn a_review_whose_opening_was_not_answered_is_found() {
    for kind in KINDS {
        for trouble in [Trouble::Lost, Trouble::Truncated] {
            let stage = Stage::of(kind).await;
            stage.push("update-foo", "pkgver=2\n").await;
            stage.fake.spoils("POST", reviews(kind), trouble, 1).await;
            let opened = stage.forge.open(wanted("update-foo")).await.unwrap();
            assert_eq!(stage.fake.world().await.reviews.len(), 1, "{kind:?}: it was opened once");
            assert_eq!(opened.labels, ["update".to_owned()].into(), "and is complete");
        }
    }
}

#[tokio::test]
async fn a_comment_whose_writing_was_not_answered_is_not_written_again() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        let number = stage.forge.open(wanted("update-foo")).await.unwrap().number;
        stage.fake.spoils("POST", comments(kind), Trouble::Lost, 1).await;
        stage.forge.say(Thread::Review(number), "answer".to_owned(), "Done.".to_owned()).await.unwrap();
        let written = stage.forge.comments(Thread::Review(number), Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(written.len(), 1, "{kind:?}: {written:?}");
    }
}

#[tokio::test]
async fn an_issue_whose_making_was_not_answered_is_found() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.fake.spoils("POST", "/issues", Trouble::Lost, 1).await;
        stage.forge.issue("board".to_owned(), "Packages".to_owned(), "all well".to_owned()).await.unwrap();
        assert_eq!(stage.fake.world().await.issues.len(), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_merge_that_was_not_answered_is_done() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        let head = stage.push("update-foo", "pkgver=2\n").await;
        let number = stage.forge.open(wanted("update-foo")).await.unwrap().number;
        stage.fake.spoils("", "/merge", Trouble::Lost, 1).await;
        stage.forge.merge(number, head).await.unwrap();
        assert_eq!(stage.repo.file("refs/heads/main", "foo/PKGBUILD").await.as_deref(), Some("pkgver=2\n"), "{kind:?}");
    }
}

#[tokio::test]
async fn a_list_that_did_not_come_is_asked_for_again() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        stage.forge.open(wanted("update-foo")).await.unwrap();
        for trouble in [Trouble::status(502), Trouble::Truncated, Trouble::Lost] {
            stage.fake.spoils("GET", reviews(kind), trouble, 2).await;
            assert_eq!(stage.forge.reviews(Timestamp::UNIX_EPOCH).await.unwrap().len(), 1, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn half_a_list_and_none_at_all_are_errors() {
    for kind in KINDS {
        for trouble in [Trouble::status(500), Trouble::Truncated, Trouble::Lost] {
            let stage = Stage::of(kind).await;
            stage.fake.spoils("GET", reviews(kind), trouble, usize::MAX).await;
            let error = stage.forge.reviews(Timestamp::UNIX_EPOCH).await.unwrap_err();
            assert!(matches!(error, ForgeError::Unreachable { .. }), "{kind:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_question_that_changes_something_anew_each_time_is_asked_once() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        stage.fake.spoils("POST", reviews(kind), Trouble::status(500), usize::MAX).await;
        let error = stage.forge.open(wanted("update-foo")).await.unwrap_err();
        assert!(matches!(error, ForgeError::Unreachable { .. }), "{kind:?}: {error:?}");
        let posts = stage.fake.told().await.iter().filter(|line| line.starts_with("POST")).count();
        assert_eq!(posts, 1, "{kind:?}");
    }
}

#[tokio::test]
async fn what_does_not_fit_now_is_a_conflict_and_goes_well_later() {
    for kind in KINDS {
        for status in [409, 422] {
            let stage = Stage::of(kind).await;
            stage.push("update-foo", "pkgver=2\n").await;
            let number = stage.forge.open(wanted("update-foo")).await.unwrap().number;
            stage.fake.spoils("POST", comments(kind), Trouble::status(status), 1).await;
            let say = || stage.forge.say(Thread::Review(number), "answer".to_owned(), "Done.".to_owned());
            let error = say().await.unwrap_err();
            assert!(matches!(error, ForgeError::Conflict { .. }), "{kind:?} {status}: {error:?}");
            assert_eq!(stage.fake.world().await.notes.len(), 0, "{kind:?} {status}");
            say().await.unwrap();
            assert_eq!(stage.fake.world().await.notes.len(), 1, "{kind:?} {status}");
        }
    }
}

#[tokio::test]
async fn who_wants_to_be_left_alone_is_left_alone_with_everything() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        stage.fake.spoils("POST", reviews(kind), Trouble::secondary(40), 1).await;
        let limited = |after| Some(Duration::from_secs(after));
        let after = |error: ForgeError| if let ForgeError::Limited { after, .. } = error { Some(after) } else { None };
        assert_eq!(after(stage.forge.open(wanted("update-foo")).await.unwrap_err()), limited(40), "{kind:?}");
        stage.fake.told().await;
        stage.clock.advance(SignedDuration::from_secs(10));
        assert_eq!(after(stage.forge.offers().await.unwrap_err()), limited(30), "{kind:?}");
        assert_eq!(stage.fake.told().await, [""; 0], "nothing came to it");
        stage.clock.advance(SignedDuration::from_secs(30));
        stage.forge.open(wanted("update-foo")).await.unwrap();
    }
}

#[tokio::test]
async fn the_last_answer_of_the_hour_counts_and_no_more_are_asked_for() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.fake.spoils("GET", reviews(kind), Trouble::Last(600), 1).await;
        assert_eq!(stage.forge.offers().await.unwrap(), [], "{kind:?}");
        let error = stage.forge.offers().await.unwrap_err();
        assert!(matches!(error, ForgeError::Limited { after, .. } if after.as_secs() == 600), "{kind:?}: {error:?}");
    }
}

#[tokio::test]
async fn what_did_not_change_is_not_told_again() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        stage.forge.open(wanted("update-foo")).await.unwrap();
        let first = stage.forge.reviews(Timestamp::UNIX_EPOCH).await.unwrap();
        stage.fake.told().await;
        assert_eq!(stage.forge.reviews(Timestamp::UNIX_EPOCH).await.unwrap(), first, "{kind:?}");
        let told = stage.fake.told().await;
        assert!(told.iter().all(|line| line.ends_with(" 304")), "{kind:?}: {told:?}");
        stage.push("update-foo", "pkgver=3\n").await;
        assert_ne!(stage.forge.reviews(Timestamp::UNIX_EPOCH).await.unwrap(), first, "{kind:?}: it is noticed");
    }
}

/// Lists are read one after the other. What ends in between was not missed, or it would be opened again.
#[tokio::test]
async fn what_is_closed_between_two_lists_is_shown_as_closed() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        let number = stage.forge.open(wanted("update-foo")).await.unwrap().number;
        stage.fake.spoils("GET", reviews(kind), Trouble::Meanwhile(number, "mira"), 1).await;
        let seen = stage.forge.reviews(Timestamp::UNIX_EPOCH).await.unwrap();
        let stages: Vec<_> = seen.into_iter().map(|seen| seen.stage).collect();
        assert_eq!(stages, [Come::Closed { by: Some("mira".to_owned()) }], "{kind:?}");
    }
}

#[tokio::test]
async fn who_is_refused_is_told_what_to_do() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        for (status, hint) in [(401, "the token is wrong or has expired"), (403, "the token needs ")] {
            stage.fake.spoils("GET", "", Trouble::status(status), 1).await;
            let error = stage.forge.offers().await.unwrap_err();
            assert!(error.hint().is_some_and(|told| told.starts_with(hint)), "{kind:?}: {error:?}");
        }
        stage.fake.spoils("GET", "", Trouble::status(404), 1).await;
        let error = stage.forge.offers().await.unwrap_err();
        assert!(matches!(error, ForgeError::Missing { .. }), "{kind:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_forge_that_was_down_or_slow_is_spoken_to_again() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.fake.is_down().await;
        let error = stage.forge.offers().await.unwrap_err();
        assert!(matches!(error, ForgeError::Unreachable { .. }), "{kind:?}: {error:?}");
        stage.fake.works_again().await;
        stage.fake.spoils("GET", reviews(kind), Trouble::Slow(Duration::from_millis(50)), 1).await;
        assert_eq!(stage.forge.offers().await.unwrap(), [], "{kind:?}");
    }
}

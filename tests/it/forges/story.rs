//! One story for every forge: a review from its opening to its end, and what is said on the way.

use jiff::Timestamp;
use pkgwarden::domain::review::{Permission, Seen, Stage as Come, Status, Thread, Vote, Wanted};
use pkgwarden::forge::gitlab::GitLab;
use pkgwarden::forge::{Forge as _, ForgeError};

use super::stage::{KINDS, Stage, wanted};
use crate::support::forges::world::{Kind, Stage as Fate};
use crate::support::forges::{KEEPER, PROJECT};

async fn only(stage: &Stage) -> Seen {
    let mut reviews = stage.forge.reviews(Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(reviews.len(), 1, "{reviews:?}");
    reviews.remove(0)
}

#[tokio::test]
async fn a_review_is_opened_once_and_shown_as_it_is() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        let head = stage.push("update-foo", "pkgver=2\n").await;
        let opened = stage.forge.open(wanted("update-foo")).await.unwrap();
        let again = stage.forge.open(wanted("update-foo")).await.unwrap();
        assert_eq!((opened.number, opened.head, opened.author.as_str()), (again.number, head, KEEPER), "{kind:?}");
        let seen = only(&stage).await;
        assert_eq!((seen.branch.as_str(), &seen.stage), ("update-foo", &Come::Open));
        assert_eq!(seen.title, "Update update-foo");
        assert_eq!(seen.body.trim_end(), wanted("").body.trim_end());
        assert_eq!(seen.labels, ["update".to_owned()].into());
        assert_eq!(seen.assignees, ["mira".to_owned()].into(), "{kind:?}");
        assert_eq!(seen.reviewers, ["pia".to_owned()].into(), "{kind:?}");
        assert_eq!(seen.opened_at, stage.now());
        assert_eq!(stage.forge.review(seen.number).await.unwrap().mergeable, Some(true));
        assert_eq!(stage.forge.me().await.unwrap(), KEEPER);
    }
}

#[tokio::test]
async fn an_update_changes_what_differs_and_leaves_what_people_added() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        let number = stage.forge.open(wanted("update-foo")).await.unwrap().number;
        stage.fake.world().await.touched(number).unwrap().labels.insert("theirs".to_owned());
        stage.later();
        let head = stage.push("update-foo", "pkgver=3\n").await;
        let mut newer = wanted("update-foo");
        "Update foo to 3".clone_into(&mut newer.title);
        newer.labels.insert("major".to_owned());
        newer.reviewers.insert("nobody-here".to_owned());
        let updated = stage.forge.update(number, newer.clone()).await.unwrap();
        assert_eq!((updated.head, updated.title.as_str()), (head, "Update foo to 3"), "{kind:?}");
        let seen = only(&stage).await;
        assert_eq!(seen.labels, ["major", "theirs", "update"].map(str::to_owned).into(), "{kind:?}");
        assert_eq!(seen.reviewers, ["pia".to_owned()].into(), "who cannot be asked keeps nobody from being asked");

        newer.reviewers.remove("nobody-here");
        stage.fake.told().await;
        stage.forge.update(number, newer).await.unwrap();
        let told = stage.fake.told().await;
        assert!(told.iter().all(|line| line.starts_with("GET ")), "nothing differs any more: {told:?}");
    }
}

#[tokio::test]
async fn a_label_that_is_wrong_by_now_is_taken_off_and_those_of_people_stay() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        let number = stage.forge.open(wanted("update-foo")).await.unwrap().number;
        let labelled = Wanted { labels: ["in conflict", "update"].map(str::to_owned).into(), ..wanted("update-foo") };
        stage.forge.update(number, labelled).await.unwrap();
        stage.fake.world().await.touched(number).unwrap().labels.insert("theirs".to_owned());
        let mended =
            Wanted { labels_off: ["in conflict", "never there"].map(str::to_owned).into(), ..wanted("update-foo") };
        stage.forge.update(number, mended.clone()).await.unwrap();
        assert_eq!(only(&stage).await.labels, ["theirs", "update"].map(str::to_owned).into(), "{kind:?}");
        stage.fake.told().await;
        stage.forge.update(number, mended).await.unwrap();
        let told = stage.fake.told().await;
        assert!(told.iter().all(|line| line.starts_with("GET ")), "nothing differs any more: {told:?}");
    }
}

#[tokio::test]
async fn a_review_is_closed_with_its_reason_and_only_once() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        let number = stage.forge.open(wanted("update-foo")).await.unwrap().number;
        stage.later();
        for _ in 0..2 {
            stage.forge.close(number, "The update became minor.".to_owned()).await.unwrap();
        }
        let seen = only(&stage).await;
        assert_eq!(seen.stage, Come::Closed { by: Some(KEEPER.to_owned()) }, "{kind:?}");
        let comments = stage.forge.comments(Thread::Review(number), Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(comments.len(), 1);
        assert!(comments[0].text.starts_with("The update became minor.\n\n<!-- "), "{comments:?}");
        stage.later();
        assert_eq!(stage.forge.reviews(stage.now()).await.unwrap(), [], "it was closed before that");
    }
}

#[tokio::test]
async fn what_people_do_to_a_review_is_seen() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        let first = stage.push("update-bar", "pkgver=2\n").await;
        let closed = stage.forge.open(wanted("update-foo")).await.unwrap().number;
        let approved = stage.forge.open(wanted("update-bar")).await.unwrap().number;
        stage.fake.world().await.closes(closed, "mira").unwrap();
        stage.fake.world().await.approves("pia", approved, true);
        let seen = stage.forge.review(approved).await.unwrap();
        assert_eq!((seen.head, seen.approved_by), (first, ["pia".to_owned()].into()), "{kind:?}");
        let reviews = stage.forge.reviews(Timestamp::UNIX_EPOCH).await.unwrap();
        let by = reviews.iter().find(|seen| seen.number == closed).map(|seen| seen.stage.clone());
        assert_eq!(by, Some(Come::Closed { by: Some("mira".to_owned()) }), "{kind:?}");
    }
}

#[tokio::test]
async fn reviews_follow_what_is_pushed_as_each_forge_has_it() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        for name in ["update-gone", "update-in"] {
            stage.push(name, &format!("pkgver={name}\n")).await;
            stage.forge.open(wanted(name)).await.unwrap();
        }
        stage.delete("update-gone").await;
        stage.repo.git(&["update-ref", "refs/heads/main", "refs/heads/update-in"]).await;
        let reviews = stage.forge.reviews(Timestamp::UNIX_EPOCH).await.unwrap();
        let come = |name: &str| reviews.iter().find(|seen| seen.branch == name).unwrap().stage.clone();
        match kind {
            Kind::GitHub => {
                assert!(matches!(come("update-gone"), Come::Closed { .. }));
                assert_eq!(come("update-in"), Come::Merged);
            }
            Kind::GitLab => assert_eq!((come("update-gone"), come("update-in")), (Come::Open, Come::Merged)),
            Kind::Gitea => assert_eq!(come("update-in"), Come::Open),
        }
    }
}

#[tokio::test]
async fn a_push_over_the_forges_own_address_is_seen() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        stage.forge.open(wanted("update-foo")).await.unwrap();
        let head = stage.push("elsewhere", "pkgver=3\n").await;
        stage.repo.git(&["push", "-q", &stage.fake.git_url(), "elsewhere:update-foo", "--force"]).await;
        assert_eq!(only(&stage).await.head, head, "{kind:?}");
    }
}

#[tokio::test]
async fn a_review_is_merged_only_at_the_head_that_was_looked_at() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        let old = stage.push("update-foo", "pkgver=2\n").await;
        let number = stage.forge.open(wanted("update-foo")).await.unwrap().number;
        let new = stage.push("update-foo", "pkgver=3\n").await;
        let error = stage.forge.merge(number, old).await.unwrap_err();
        assert!(matches!(error, ForgeError::Conflict { .. }), "{kind:?}: {error:?}");
        stage.forge.merge(number, new).await.unwrap();
        stage.forge.merge(number, new).await.unwrap();
        assert_eq!(only(&stage).await.stage, Come::Merged);
        assert_eq!(stage.repo.file("refs/heads/main", "foo/PKGBUILD").await.as_deref(), Some("pkgver=3\n"));
    }
}

#[tokio::test]
async fn one_comment_of_ours_is_edited_and_those_of_people_are_read() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        let number = stage.forge.open(wanted("update-foo")).await.unwrap().number;
        stage.fake.world().await.says("pia", number, "before");
        stage.later();
        let since = stage.now();
        let asked = stage.fake.world().await.says("mira", number, "/pkgwarden explain\r\nplease");
        for text in ["Thinking.", "It is so.", "It is so."] {
            stage.forge.say(Thread::Review(number), "answer-1".to_owned(), text.to_owned()).await.unwrap();
        }
        let comments = stage.forge.comments(Thread::Review(number), since).await.unwrap();
        let told: Vec<_> = comments.iter().map(|it| (it.author.as_str(), it.text.lines().next().unwrap())).collect();
        assert_eq!(told, [("mira", "/pkgwarden explain"), (KEEPER, "It is so.")], "{kind:?}");
        assert_eq!((comments[0].id, comments[0].written_at), (asked, since));
    }
}

/// GitLab gives an issue and a merge request the same number.
#[tokio::test]
async fn what_stands_below_an_issue_is_not_what_stands_below_a_review() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        let review = Thread::Review(stage.forge.open(wanted("update-foo")).await.unwrap().number);
        let issue = stage.forge.issue("board".to_owned(), "Packages".to_owned(), "- [ ] foo".to_owned()).await.unwrap();
        let issue = Thread::Issue(issue);
        assert_eq!(review.number() == issue.number(), kind == Kind::GitLab);
        {
            let mut world = stage.fake.world().await;
            world.says("mira", review.number(), "of the review");
            world.says_on_issue("pia", issue.number(), "of the issue");
        }
        for text in ["Thinking.", "It is so."] {
            stage.forge.say(issue, "answers".to_owned(), text.to_owned()).await.unwrap();
        }
        let told = async |thread| {
            let comments = stage.forge.comments(thread, Timestamp::UNIX_EPOCH).await.unwrap();
            comments.iter().map(|it| it.text.lines().next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(told(review).await, ["of the review"], "{kind:?}");
        assert_eq!(told(issue).await, ["of the issue", "It is so."], "{kind:?}");
    }
}

#[tokio::test]
async fn what_people_may_do_is_asked_of_the_forge() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        for (who, may) in [
            ("mira", Permission::Admin),
            ("pia", Permission::Write),
            ("otto", Permission::Read),
            ("no-such/person?", Permission::Read),
        ] {
            assert_eq!(stage.forge.permission(who.to_owned()).await.unwrap(), may, "{kind:?} {who}");
        }
    }
}

#[tokio::test]
async fn proposals_of_people_are_told_from_reviews() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.push("update-foo", "pkgver=2\n").await;
        let review = stage.forge.open(wanted("update-foo")).await.unwrap().number;
        let commit = stage.push("theirs", "pkgver=7\n").await;
        let number = {
            let mut world = stage.fake.world().await;
            world.offers("otto", "update-foo", "Mend foo", &commit.to_string()).await
        };
        let offers = stage.forge.offers().await.unwrap();
        assert_eq!(offers.len(), 1, "{kind:?}: {offers:?}");
        let offer = &offers[0];
        assert_eq!((offer.number, offer.head, offer.author.as_str()), (number, commit, "otto"));
        assert_eq!(stage.repo.id(&offer.fetch).await, Some(commit.to_string()), "{kind:?}: it can be fetched there");
        assert_eq!(only(&stage).await.number, review, "a branch of that name in a copy is no review");
    }
}

#[tokio::test]
async fn a_status_is_put_beside_a_commit_once() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        let commit = stage.push("update-foo", "pkgver=2\n").await;
        let status = |vote, summary: &str| Status {
            commit,
            context: "pkgwarden/foo".to_owned(),
            vote,
            summary: summary.to_owned(),
            url: Some("https://ci.example/builds/7".to_owned()),
            pipeline: None,
        };
        stage.forge.tell(status(Vote::Pending, "It is built.")).await.unwrap();
        for _ in 0..2 {
            stage.forge.tell(status(Vote::Success, &"It is good. ".repeat(40))).await.unwrap();
        }
        let world = stage.fake.world().await;
        let states: Vec<_> = world.lines.iter().map(|line| (line.state.as_str(), line.context.as_str())).collect();
        let context = "pkgwarden/foo";
        let running = if kind == Kind::GitLab { "running" } else { "pending" };
        assert_eq!(states, [(running, context), ("success", context)], "{kind:?}");
        drop(world);
        let nowhere = Status { commit: "1".repeat(40).parse().unwrap(), ..status(Vote::Success, "") };
        assert!(stage.forge.tell(nowhere).await.is_err(), "{kind:?}");
    }
}

#[tokio::test]
async fn what_is_told_of_the_commit_of_a_pipeline_stands_in_that_pipeline() {
    let stage = Stage::of(Kind::GitLab).await;
    let (ours, other) = (stage.push("update-foo", "pkgver=2\n").await, stage.push("update-bar", "pkgver=3\n").await);
    let (api, token) = (stage.fake.api_url().parse().unwrap(), format!("token-of-{KEEPER}").into());
    let gitlab = GitLab::new(api, PROJECT, &token, stage.clock.clone()).unwrap().within(Some((4711, ours)));
    for (commit, pipeline) in [(ours, None), (other, None), (ours, Some(8))] {
        let (context, summary) = (format!("x{pipeline:?}"), "so".to_owned());
        let status = Status { commit, context, vote: Vote::Success, summary, url: None, pipeline };
        gitlab.tell(status).await.unwrap();
    }
    let pipelines: Vec<_> = stage.fake.world().await.lines.iter().map(|line| line.pipeline).collect();
    assert_eq!(pipelines, [Some(4711), None, Some(8)]);
}

#[tokio::test]
async fn one_issue_of_ours_is_kept() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        stage.fake.world().await.reports("mira", "Mine", "<!-- pkgwarden:dashboard -->");
        let key = || "dashboard".to_owned();
        assert_eq!(stage.forge.own_issue(key()).await.unwrap(), None, "that of somebody else is none");
        let first = stage.forge.issue(key(), "Packages".to_owned(), "- [ ] foo\n".to_owned()).await.unwrap();
        stage.fake.world().await.issues.get_mut(&first).unwrap().body =
            "- [x] foo\r\n\r\n<!-- pkgwarden:dashboard -->".to_owned();
        let ticked = stage.forge.own_issue(key()).await.unwrap().unwrap();
        assert!(ticked.body.starts_with("- [x] foo") && ticked.number == first, "{kind:?}: {ticked:?}");
        let second = stage.forge.issue(key(), "Packages".to_owned(), "- [ ] bar\n".to_owned()).await.unwrap();
        assert_eq!(first, second);
        stage.fake.told().await;
        stage.forge.issue(key(), "Packages".to_owned(), "- [ ] bar\n".to_owned()).await.unwrap();
        let told = stage.fake.told().await;
        assert!(told.iter().all(|line| line.starts_with("GET ")), "{kind:?}: nothing differs: {told:?}");
    }
}

#[tokio::test]
async fn a_forge_may_be_below_a_path_of_its_host() {
    for kind in KINDS {
        let stage = Stage::below("/forge", kind).await;
        assert!(stage.fake.api_url().contains("/forge/api/"), "{}", stage.fake.api_url());
        stage.push("update-foo", "pkgver=2\n").await;
        let number = stage.forge.open(wanted("update-foo")).await.unwrap().number;
        stage.forge.say(Thread::Review(number), "key".to_owned(), "Hello.".to_owned()).await.unwrap();
        assert_eq!(only(&stage).await.number, number, "{kind:?}");
        stage.forge.close(number, "Done.".to_owned()).await.unwrap();
        assert!(matches!(only(&stage).await.stage, Come::Closed { .. }), "{kind:?}");
    }
}

#[tokio::test]
async fn many_reviews_are_all_listed() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        let commit = stage.push("update-0", "pkgver=2\n").await.to_string();
        let first = stage.forge.open(wanted("update-0")).await.unwrap().number;
        {
            let mut world = stage.fake.world().await;
            let model = world.reviews[&first].clone();
            for number in first + 1..first + 260 {
                let branch = format!("update-{number}");
                let stage = if number < first + 250 { Fate::Open } else { Fate::Closed };
                let review = super::super::support::forges::world::Review { number, branch, stage, ..model.clone() };
                world.reviews.insert(number, review);
            }
            let lines = (first + 1..first + 260).map(|it| format!("create refs/heads/update-{it} {commit}\n"));
            world.repo.pipe(&["update-ref", "--stdin"], lines.collect()).await;
        }
        let reviews = stage.forge.reviews(Timestamp::UNIX_EPOCH).await.unwrap();
        let numbers: std::collections::BTreeSet<_> = reviews.iter().map(|seen| seen.number).collect();
        assert_eq!(reviews.iter().filter(|seen| seen.stage == Come::Open).count(), 250, "{kind:?}");
        assert_eq!((reviews.len(), numbers.len()), (260, 260), "{kind:?}");
    }
}

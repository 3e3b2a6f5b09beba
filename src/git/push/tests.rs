//! Pushing to real repositories, alone and against other writers.

use super::super::testing::{World, commit};
use super::*;

fn update(name: &str, old: Option<Oid>, new: Option<Oid>) -> RefUpdate {
    RefUpdate { name: name.to_owned(), old, new }
}

fn stale(result: Result<Pushed, PushError>) -> Vec<String> {
    match result {
        Err(PushError::Stale(refs)) => refs,
        other => panic!("not stale: {other:?}"),
    }
}

const MAIN: &str = "refs/heads/main";
const STATE: &str = "refs/heads/state";
const SCHEDULED: &str = "refs/tags/scheduled";

#[tokio::test]
async fn refs_are_made_moved_rewritten_and_deleted() {
    let world = World::new();
    let (_hub, work, first) = world.hub_and_workspace();
    let second = commit(&work, &[first], &[("a", "2")]);
    let orphan = commit(&work, &[], &[("state", "1")]);
    let rewritten = commit(&work, &[], &[("state", "2")]);
    let made = [
        update(MAIN, Some(first), Some(second)),
        update(STATE, None, Some(orphan)),
        update(SCHEDULED, None, Some(first)),
    ];
    let pushed = world.remote().push(&made, &[]).await.expect("pushed");
    assert_eq!(pushed.refs, [MAIN, STATE, SCHEDULED]);
    let moved = [update(STATE, Some(orphan), Some(rewritten)), update(SCHEDULED, Some(first), Some(second))];
    world.remote().push(&moved, &[]).await.expect("a rewritten branch and a moved tag");
    assert_eq!(world.get("hub", MAIN), Some(second));
    assert_eq!(world.get("hub", STATE), Some(rewritten));
    assert_eq!(world.get("hub", SCHEDULED), Some(second));
    world.remote().push(&[update(STATE, Some(rewritten), None)], &[]).await.expect("deleted");
    assert_eq!(world.get("hub", STATE), None);
    assert_eq!(world.git("work", &["for-each-ref"]), "", "the workspace has no refs of its own from this");
}

#[tokio::test]
async fn if_one_ref_is_stale_none_moves() {
    let world = World::new();
    let (hub, work, first) = world.hub_and_workspace();
    let human = commit(&hub, &[first], &[("human", "was faster")]);
    world.set("hub", MAIN, human);
    world.set("hub", STATE, first);
    let ours = commit(&work, &[first], &[("a", "2")]);
    let updates = [update(STATE, Some(first), Some(ours)), update(MAIN, Some(first), Some(ours))];
    let error = world.remote().push(&updates, &[]).await.expect_err("stale");
    assert_eq!(error.to_string(), "refs/heads/main moved in the meantime");
    assert_eq!((world.get("hub", MAIN), world.get("hub", STATE)), (Some(human), Some(first)));
}

#[tokio::test]
async fn a_ref_that_must_not_exist_is_made_only_if_it_does_not() {
    let world = World::new();
    let (_hub, work, first) = world.hub_and_workspace();
    let ours = commit(&work, &[first], &[("a", "2")]);
    world.remote().push(&[update(STATE, None, Some(ours))], &[]).await.expect("made");
    let again = commit(&work, &[ours], &[("a", "3")]);
    assert_eq!(stale(world.remote().push(&[update(STATE, None, Some(again))], &[]).await), [STATE]);
    let gone = update("refs/heads/gone", Some(first), None);
    assert_eq!(stale(world.remote().push(&[gone], &[]).await), ["refs/heads/gone"]);
    assert_eq!(world.get("hub", STATE), Some(ours));
}

/// A `+` in a refspec silently overrules the lease, so a push must never have one.
#[tokio::test]
async fn a_lease_is_not_overruled() {
    let world = World::new();
    let (_hub, work, first) = world.hub_and_workspace();
    let ours = commit(&work, &[], &[("unrelated", "root")]);
    let wrong = Oid::from_bytes([1; 20]);
    let lease = format!("--force-with-lease={MAIN}:{wrong}");
    let hub = world.path("hub").display().to_string();
    assert_eq!(stale(world.remote().push(&[update(MAIN, Some(wrong), Some(ours))], &[]).await), [MAIN]);
    assert_eq!(world.get("hub", MAIN), Some(first));
    world.git("work", &["push", "-q", "--atomic", &lease, &hub, &format!("+{ours}:{MAIN}")]);
    assert_eq!(world.get("hub", MAIN), Some(ours), "this is the trap");
}

#[tokio::test]
async fn a_writer_who_comes_in_between_makes_it_stale() {
    let world = World::new();
    let (hub, work, first) = world.hub_and_workspace();
    let human = commit(&hub, &[first], &[("human", "x")]);
    let ours = commit(&work, &[first], &[("a", "2")]);
    // The hook runs after git has compared the lease, and before the refs move.
    world.hook("pre-receive", &format!("unset GIT_QUARANTINE_PATH; git update-ref {MAIN} {human}"));
    let updates = [update(MAIN, Some(first), Some(ours)), update(STATE, None, Some(ours))];
    assert_eq!(stale(world.remote().push(&updates, &[]).await), [MAIN]);
    assert_eq!((world.get("hub", MAIN), world.get("hub", STATE)), (Some(human), None));
    world.hook("pre-receive", &format!("unset GIT_QUARANTINE_PATH; git update-ref {STATE} {human}"));
    assert_eq!(stale(world.remote().push(&[update(STATE, None, Some(ours))], &[]).await), [STATE]);
    assert_eq!(world.get("hub", STATE), Some(human));
    world.hook("pre-receive", &format!("unset GIT_QUARANTINE_PATH; git update-ref -d {STATE}"));
    assert_eq!(stale(world.remote().push(&[update(STATE, Some(human), Some(ours))], &[]).await), [STATE]);
    assert_eq!(world.get("hub", STATE), None);
}

#[tokio::test]
async fn of_many_writers_exactly_one_wins() {
    let world = World::new();
    let (_hub, work, first) = world.hub_and_workspace();
    let rivals: Vec<Oid> = (0..6).map(|number| commit(&work, &[first], &[("n", &number.to_string())])).collect();
    let pushes = rivals.iter().map(|&ours| {
        let remote = world.remote();
        async move {
            let updates = [update(MAIN, Some(first), Some(ours)), update(STATE, None, Some(ours))];
            (ours, remote.push(&updates, &[]).await)
        }
    });
    let mut winners = Vec::new();
    for (ours, result) in futures_util::future::join_all(pushes).await {
        match result {
            Ok(_) => winners.push(ours),
            Err(PushError::Stale(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!((world.get("hub", MAIN), world.get("hub", STATE)), (Some(winners[0]), Some(winners[0])));
}

#[tokio::test]
async fn a_push_may_be_repeated() {
    let world = World::new();
    let (_hub, work, first) = world.hub_and_workspace();
    let ours = commit(&work, &[first], &[("a", "2")]);
    let updates = [update(MAIN, Some(first), Some(ours)), update(STATE, None, Some(first))];
    for _ in 0..2 {
        assert_eq!(world.remote().push(&updates, &[]).await.expect("done or already so").refs, [MAIN, STATE]);
    }
}

#[tokio::test]
async fn an_annotated_tag_is_leased_by_the_commit_it_tags() {
    let world = World::new();
    let (_hub, work, first) = world.hub_and_workspace();
    world.git("hub", &["tag", "-a", "-m", "x", "scheduled", &first.to_string()]);
    let second = commit(&work, &[first], &[("a", "2")]);
    let wrong = update(SCHEDULED, Some(second), Some(second));
    assert_eq!(stale(world.remote().push(&[wrong], &[]).await), [SCHEDULED]);
    let right = [update(MAIN, Some(first), Some(second)), update(SCHEDULED, Some(first), Some(second))];
    world.remote().push(&right, &[]).await.expect("pushed");
    assert_eq!(world.get("hub", SCHEDULED), Some(second));
}

#[tokio::test]
async fn a_ref_can_be_held_where_it_is() {
    let world = World::new();
    let (_hub, work, first) = world.hub_and_workspace();
    let ours = commit(&work, &[first], &[("a", "2")]);
    let held = [update(MAIN, Some(first), Some(first)), update(STATE, None, Some(ours))];
    world.remote().push(&held, &[]).await.expect("main is where it was");
    let moved = [update(MAIN, Some(ours), Some(ours)), update(STATE, Some(ours), None)];
    assert_eq!(stale(world.remote().push(&moved, &[]).await), [MAIN]);
    assert_eq!(world.get("hub", STATE), Some(ours));
}

#[tokio::test]
async fn a_refusal_says_why_and_what_to_do() {
    let world = World::new();
    let (_hub, work, first) = world.hub_and_workspace();
    let ours = commit(&work, &[first], &[("a", "2")]);
    let updates = [update(MAIN, Some(first), Some(ours)), update(STATE, None, Some(ours))];
    let push = async || world.remote().push(&updates, &[]).await.expect_err("refused").to_string();
    let hub = world.path("hub").display().to_string();
    world.hook("update", &format!("[ $1 != {MAIN} ] || {{ echo 'not today' >&2; exit 1; }}"));
    assert_eq!(
        push().await,
        format!(
            "{hub} refuses refs/heads/main (hook declined): not today hook declined to update refs/heads/main; \
             a hook of the server refused it; what it says is in the message"
        )
    );
    std::fs::remove_file(world.path("hub/hooks/update")).expect("removed");
    assert_eq!(world.get("hub", STATE), None);
    world.git("hub", &["config", "core.bare", "false"]);
    world.git("hub", &["config", "core.worktree", &world.path("elsewhere").display().to_string()]);
    std::fs::create_dir(world.path("elsewhere")).expect("folder");
    let error = push().await;
    assert!(error.contains("refs/heads/main (branch is currently checked out)"), "{error}");
    assert!(error.ends_with("push to a bare repository, or set receive.denyCurrentBranch to updateInstead there"));
    world.git("hub", &["config", "core.bare", "true"]);
    world.git("hub", &["config", "--unset", "core.worktree"]);
    world.git("hub", &["config", "receive.advertiseAtomic", "false"]);
    assert!(push().await.contains("the server cannot change several refs at once"));
}

#[tokio::test]
async fn options_are_given_to_a_remote_that_knows_some_and_left_out_otherwise() {
    let world = World::new();
    let (_hub, work, first) = world.hub_and_workspace();
    let options = ["ci.skip".to_owned()];
    let second = commit(&work, &[first], &[("a", "2")]);
    let pushed = world.remote().push(&[update(MAIN, Some(first), Some(second))], &options).await.expect("pushed");
    assert!(!pushed.options_sent);
    world.git("hub", &["config", "receive.advertisePushOptions", "true"]);
    world.hook("pre-receive", &format!("echo $GIT_PUSH_OPTION_0 > {}", world.path("seen").display()));
    let third = commit(&work, &[second], &[("a", "3")]);
    let pushed = world.remote().push(&[update(MAIN, Some(second), Some(third))], &options).await.expect("pushed");
    assert!(pushed.options_sent);
    assert_eq!(std::fs::read_to_string(world.path("seen")).expect("hook ran"), "ci.skip\n");
}

#[tokio::test]
async fn what_is_not_the_name_of_a_ref_is_refused() {
    let world = World::new();
    let (_hub, work, first) = world.hub_and_workspace();
    let ours = commit(&work, &[first], &[("a", "2")]);
    for name in ["main", "--force", "+refs/heads/main", "refs/heads/*", "refs/heads/a:refs/heads/b", "refs/heads/a\nb"]
    {
        let error = world.remote().push(&[update(name, None, Some(ours))], &[]).await.expect_err(name);
        assert!(matches!(error, PushError::Git(GitError::RefusedRef { .. })), "{name}: {error}");
    }
    let twice = [update(MAIN, Some(first), Some(ours)), update(MAIN, Some(first), None)];
    assert!(matches!(world.remote().push(&twice, &[]).await, Err(PushError::Git(GitError::RefusedRef { .. }))));
    let nothing = world.remote().push(&[update(MAIN, None, None)], &[]).await.expect("nothing to do");
    assert!(nothing.refs.is_empty());
}

#[tokio::test]
async fn an_unreachable_remote_is_told_apart() {
    let world = World::new();
    let work = world.bare("work");
    let ours = commit(&work, &[], &[("a", "2")]);
    let updates = [update(MAIN, None, Some(ours))];
    let error = world.remote().push(&updates, &[]).await.expect_err("no hub");
    assert!(matches!(error, PushError::Unreachable(_)), "{error}");
    let absent = [update(MAIN, None, Some(Oid::from_bytes([3; 20])))];
    world.bare("hub");
    let error = world.remote().push(&absent, &[]).await.expect_err("no such commit");
    assert!(matches!(error, PushError::Git(GitError::MissingObject { .. })), "{error}");
}

#[tokio::test]
async fn hundreds_of_refs_move_at_once() {
    let world = World::new();
    let (_hub, work, first) = world.hub_and_workspace();
    let ours = commit(&work, &[first], &[("a", "2")]);
    let name = |number: usize| format!("refs/heads/update-package-with-a-rather-long-name-{number}");
    let updates: Vec<RefUpdate> = (0..750).map(|number| update(&name(number), None, Some(ours))).collect();
    let pushed = world.remote().push(&updates, &[]).await.expect("pushed");
    assert_eq!(pushed.refs.len(), 750);
    assert_eq!(world.git("hub", &["for-each-ref", "refs/heads/update-*"]).lines().count(), 750);
}

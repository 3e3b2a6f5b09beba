//! What `.ci/policy.toml` and `CI_PKGBUILD_CHANGE_ALLOW_REGEX` change about updates.

use jiff::SignedDuration;
use pkgwarden::controller::face::Face as _;
use pkgwarden::domain::plan::Pipeline;

use crate::support::scene::{MAIN, base, person};
use crate::support::{Change, Pkg, Scene};

/// A scene with `foo`, kept from the AUR, and this policy.
async fn under(policy: &str) -> Scene {
    let scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("foo")]).await;
    scene.push("feat: a policy", &[Change::put(".ci/policy.toml", policy)]).await;
    scene.hand_out().await;
    scene
}

fn with_dependency() -> Pkg {
    Pkg::from_aur("foo").version("1.1").needs(&["zlib"])
}

#[tokio::test]
async fn a_rule_lets_an_update_in_and_is_named_in_the_commit() {
    let rule = "[[allow]]\npackage = \"foo\"\ncode = \"dependency-added\"\nfield = \"depends\"\nnew = \"zlib\"\n\
                because = \"it links to it\"\nuntil = 2026-05-03T00:00:00Z\n";
    let scene = under(rule).await;
    scene.aur_release(&with_dependency()).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit foo [minor]: 1.0-1 -> 1.1-1 (.ci/policy.toml:1: it links to it)
    build foo (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.monorepo.git(&["log", "-1", "--format=%B", MAIN]).await, @"
    chore(update): foo

    - foo: 1.0-1 -> 1.1-1 (.ci/policy.toml:1: it links to it)
    ");
    scene.clock.advance(SignedDuration::from_hours(48));
    scene.aur_release(&with_dependency().version("1.2").needs(&["zlib", "xz"])).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    review foo [major]: 1.1-1 -> 1.2-1 needs a person
    open update-foo
    update refs/heads/state
    create refs/heads/update-foo
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): foo
    refs/heads/state chore(state): update state
    refs/heads/update-foo chore(update): foo
    refs/tags/scheduled chore(update): foo
    ");
}

#[tokio::test]
async fn a_rule_that_has_ended_lets_nothing_in() {
    let rule = "[[allow]]\npackage = \"foo\"\ncode = \"dependency-added\"\nbecause = \"x\"\n\
                until = 2026-05-01T12:00:00Z\n";
    let scene = under(rule).await;
    scene.aur_release(&with_dependency()).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    review foo [major]: 1.0-1 -> 1.1-1 needs a person
    open update-foo
    update refs/heads/state
    create refs/heads/update-foo
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: a policy
    refs/heads/state chore(state): update state
    refs/heads/update-foo chore(update): foo
    refs/tags/scheduled feat: a policy
    ");
}

#[tokio::test]
async fn chaotics_expression_lets_a_source_in_that_nothing_verifies_and_no_other() {
    let scene = Scene::with_aur().await;
    let nightly = "https://example.org/nightly/foo.tar.gz";
    let config =
        "CI_PKGBUILD_SOURCE=aur\nCI_PKGBUILD_CHANGE_ALLOW_REGEX=^source[^)]*https://example\\.org/nightly/foo\n";
    let package = Pkg::from_aur("foo").sources(&[nightly]).config(config);
    scene.keeps(std::slice::from_ref(&package)).await;
    scene.aur_release(&package.clone().version("1.1")).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @r"
    commit foo [minor]: 1.0-1 -> 1.1-1 (foo/.CI/config: CI_PKGBUILD_CHANGE_ALLOW_REGEX has `^source[^)]*https://example\.org/nightly/foo`)
    build foo (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    let beside = [nightly, "https://example.org/nightly/foo-evil"];
    scene.aur_release(&package.version("1.2").sources(&beside)).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @r"
    review foo [major]: 1.1-1 -> 1.2-1 (foo/.CI/config: CI_PKGBUILD_CHANGE_ALLOW_REGEX has `^source[^)]*https://example\.org/nightly/foo`) needs a person
    open update-foo
    update refs/heads/state
    create refs/heads/update-foo
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): foo
    refs/heads/state chore(state): update state
    refs/heads/update-foo chore(update): foo
    refs/tags/scheduled chore(update): foo
    ");
}

#[tokio::test]
async fn an_update_waits_for_its_age_and_newer_content_begins_anew() {
    let scene = under("minimum_age = \"2 days\"\n").await;
    let update = Pkg::from_aur("foo").version("1.1");
    scene.aur_release(&update).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    skip foo [minor]: it waits until 2026-05-03T15:00:00Z: updates have to be 48h old
    update refs/heads/state
    ");
    scene.clock.advance(SignedDuration::from_hours(24));
    scene.aur_release(&update.clone().version("1.2")).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    skip foo [minor]: it waits until 2026-05-04T16:00:00Z: updates have to be 48h old
    update refs/heads/state
    ");
    scene.clock.advance(SignedDuration::from_hours(47));
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"skip foo [minor]: it waits until 2026-05-04T16:00:00Z: updates have to be 48h old");
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit foo [minor]: 1.0-1 -> 1.2-1
    build foo (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    scene.aur_release(&update.version("1.3").needs(&["zlib"])).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    review foo [major]: 1.2-1 -> 1.3-1 needs a person
    open update-foo
    update refs/heads/state
    create refs/heads/update-foo
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): foo
    refs/heads/state chore(state): update state
    refs/heads/update-foo chore(update): foo
    refs/tags/scheduled chore(update): foo
    ");
}

#[tokio::test]
async fn a_package_may_have_another_age() {
    let own = "minimum_age = \"2 days\"\n[package.foo]\nminimum_age = \"0s\"\nbecause = \"it is ours\"\n";
    let scene = under(own).await;
    scene.aur_release(&Pkg::from_aur("foo").version("1.1")).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit foo [minor]: 1.0-1 -> 1.1-1
    build foo (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): foo
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): foo
    ");
}

#[tokio::test]
async fn as_many_people_have_to_approve_as_the_policy_says() {
    let scene = under("[approvals]\nreview = 2\n").await;
    scene.aur_release(&with_dependency()).await;
    scene.run(Pipeline::OnSchedule).await;
    let head = scene.monorepo.id("refs/heads/update-foo").await.unwrap().parse().unwrap();
    let approve = |name| Pipeline::Approve(base("foo"), head, person(name));
    insta::assert_snapshot!(scene.told(approve("mira")).await, @"
    review foo [major]: approved by mira; it needs 2 people, 1 more
    update refs/heads/state
    ");
    insta::assert_snapshot!(scene.told(approve("mira")).await, @"review foo [major]: approved by mira; it needs 2 people, 1 more");
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    let approvals = serving.controller.review(&base("foo")).await.unwrap().unwrap().approvals;
    assert_eq!((approvals.needed, approvals.by), (2, [person("mira")].into()));
    drop(serving);
    insta::assert_snapshot!(scene.told(approve("noa")).await, @"
    commit foo [major]: 1.0-1 -> 1.1-1, approved by mira, noa
    build foo (changed)
    close update-foo: a person approved it
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    delete refs/heads/update-foo
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): foo
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): foo
    ");
}

#[tokio::test]
async fn approvals_are_of_one_content() {
    let scene = under("[approvals]\nreview = 2\n").await;
    scene.aur_release(&with_dependency()).await;
    scene.run(Pipeline::OnSchedule).await;
    let head = async || scene.monorepo.id("refs/heads/update-foo").await.unwrap().parse().unwrap();
    scene.run(Pipeline::Approve(base("foo"), head().await, person("mira"))).await;
    scene.aur_release(&with_dependency().version("1.2")).await;
    scene.run(Pipeline::OnSchedule).await;
    let moved = head().await;
    insta::assert_snapshot!(scene.told(Pipeline::Approve(base("foo"), moved, person("noa"))).await, @"
    review foo [major]: approved by noa; it needs 2 people, 1 more
    update refs/heads/state
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: a policy
    refs/heads/state chore(state): update state
    refs/heads/update-foo chore(update): foo
    refs/tags/scheduled feat: a policy
    ");
}

/// The rule is for a source that only one person has to look at; without it, it would take two.
#[tokio::test]
async fn an_expected_move_to_another_host_takes_one_approval() {
    let rule = "[approvals]\ntrust = 2\n\n[[allow]]\npackage = \"foo\"\ncode = \"source-host\"\n\
                from = \"old.example\"\nto = \"new.example\"\nbecause = \"upstream has moved\"\n";
    let scene = Scene::with_aur().await;
    let package = Pkg::from_aur("foo").sources(&["git+https://old.example/foo.git#tag=v$pkgver"]);
    scene.keeps(std::slice::from_ref(&package)).await;
    scene.push("feat: a policy", &[Change::put(".ci/policy.toml", rule)]).await;
    scene.hand_out().await;
    let moved = |host: &str| package.clone().sources(&[&format!("git+https://{host}/foo.git#tag=v$pkgver")]);
    let head = async || scene.monorepo.id("refs/heads/update-foo").await.unwrap().parse().unwrap();
    scene.aur_release(&moved("other.example").version("1.1")).await;
    scene.run(Pipeline::OnSchedule).await;
    let other = head().await;
    insta::assert_snapshot!(scene.told(Pipeline::Approve(base("foo"), other, person("mira"))).await, @"
    review foo [major]: approved by mira; it needs 2 people, 1 more
    update refs/heads/state
    ");
    scene.aur_release(&moved("new.example").version("1.2")).await;
    scene.run(Pipeline::OnSchedule).await;
    let expected = head().await;
    insta::assert_snapshot!(scene.told(Pipeline::Approve(base("foo"), expected, person("mira"))).await, @"
    commit foo [major]: 1.0-1 -> 1.2-1 (.ci/policy.toml:4: upstream has moved), approved by mira
    build foo (changed)
    close update-foo: a person approved it
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    delete refs/heads/update-foo
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): foo
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): foo
    ");
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_lets_nothing_in_by_itself() {
    let scene = under("minimum_age = \"soon\"\n").await;
    scene.aur_release(&Pkg::from_aur("foo").version("1.1")).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    skip foo [minor]: it waits until .ci/policy.toml can be read
    error [policy] .ci/policy.toml:1: `soon` is not an age such as 36h or 2 days -> docs/policy.md describes every key
    ");
    scene.push("fix: the policy", &[Change::put(".ci/policy.toml", "")]).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit foo [minor]: 1.0-1 -> 1.1-1
    build foo (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): foo
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): foo
    ");
}

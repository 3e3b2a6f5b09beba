//! Decisions as stories: a small monorepo, what happened, and what follows.

use std::sync::Arc;

use super::*;
use crate::domain::desired::{Package, Refs, ReviewBranch, Tip};
use crate::domain::library::database::LibraryDatabase;
use crate::domain::library::soname::{Bits, Soname};
use crate::domain::library::{Consulted, Libraries, Linkage, Published, versions};
use crate::domain::observed::{Observation, Proposal, Upstream};
use crate::domain::policy::{PackageSettings, Person, SourceKind, Target, UnknownDirective};
use crate::domain::srcinfo::Srcinfo;
use crate::domain::state::Cursor;

fn oid(digit: char) -> Oid {
    digit.to_string().repeat(40).parse().expect("valid")
}

fn person() -> Person {
    Person::new("mira").expect("legal")
}

fn name(text: &str) -> PkgBase {
    PkgBase::new(text).expect("legal")
}

/// The files of a package at a version, needing others.
fn files(pkgbase: &str, version: &str, depends: &[&str]) -> Folder {
    let (pkgver, pkgrel) = version.split_once('-').expect("a release");
    let sum = format!("{:064x}", pkgver.len() * 31 + usize::from(pkgver.as_bytes()[pkgver.len() - 1]));
    let depends_lines = depends.iter().map(|name| format!("\tdepends = {name}\n")).collect::<Vec<_>>().concat();
    let srcinfo = format!(
        "pkgbase = {pkgbase}\n\tpkgver = {pkgver}\n\tpkgrel = {pkgrel}\n\tarch = x86_64\n{depends_lines}\tsource = https://host/{pkgbase}.tar.gz\n\tsha256sums = {sum}\n\npkgname = {pkgbase}\n"
    );
    let pkgbuild = format!(
        "pkgname={pkgbase}\npkgver={pkgver}\npkgrel={pkgrel}\narch=(x86_64)\ndepends=({})\nsource=(https://host/{pkgbase}.tar.gz)\nsha256sums=('{sum}')\nbuild() {{\n  make\n}}\n",
        depends.join(" ")
    );
    Folder::default().with("PKGBUILD", pkgbuild).with(".SRCINFO", srcinfo)
}

fn with_other_build(folder: &Folder) -> Folder {
    let text = String::from_utf8_lossy(folder.get("PKGBUILD").expect("there")).replace("  make\n", "  make CC=evil\n");
    folder.clone().with("PKGBUILD", text)
}

/// A monorepo, what people did to it, and what sources said.
struct Story {
    snapshot: Snapshot,
    since: Since,
    observations: Observations,
    policy: Policy,
    folders: BTreeMap<PkgBase, Folder>,
}

impl Story {
    fn new() -> Self {
        let refs = Refs {
            branch: "main".into(),
            main: Some(oid('a')),
            scheduled: Some(oid('a')),
            state: Some(oid('b')),
            ..Refs::default()
        };
        let head = Commit { id: oid('a'), parents: vec![oid('9')], author: "somebody".into(), message: "x\n".into() };
        Self {
            snapshot: Snapshot {
                repository: "test".into(),
                refs,
                main: Some(Tip { commit: oid('a'), tree: oid('c') }),
                settings: crate::domain::policy::RepositorySettings::default(),
                gate: crate::domain::classify::Policy::default(),
                packages: BTreeMap::new(),
                reviews: BTreeMap::new(),
                states: BTreeMap::new(),
                version_state: None,
                soname_state: None,
                findings: Vec::new(),
            },
            since: Since {
                base: RangeBase::Scheduled(oid('a')),
                commits: Vec::new(),
                changes: Changes::default(),
                head: Some(head),
            },
            observations: Observations::default(),
            policy: Policy::default(),
            folders: BTreeMap::new(),
        }
    }

    fn package(mut self, pkgbase: &str, version: &str, depends: &[&str]) -> Self {
        let folder = files(pkgbase, version, depends);
        let package = Package {
            pkgbase: name(pkgbase),
            tree: oid('d'),
            srcinfo: Srcinfo::parse(folder.get(".SRCINFO").expect("there")).ok(),
            settings: PackageSettings { source: SourceKind::Aur, ..PackageSettings::default() },
            config: "CI_PKGBUILD_SOURCE=aur\n".into(),
            interfere: Vec::new(),
            has_pkgbuild: true,
            version_file: None,
            findings: Vec::new(),
        };
        self.snapshot.packages.insert(name(pkgbase), Arc::new(package));
        self.folders.insert(name(pkgbase), folder);
        let mut state = PackageState::default();
        state.set_cursor(&Cursor { commit: oid('1'), stamp: Some(1), version: None });
        self.snapshot.states.insert(name(pkgbase), state);
        self
    }

    fn configured(mut self, pkgbase: &str, change: impl FnOnce(&mut Package)) -> Self {
        let package = self.snapshot.packages.get_mut(pkgbase).expect("there");
        change(Arc::make_mut(package));
        self
    }

    fn committed(mut self, message: &str) -> Self {
        let id = oid(char::from_digit(u32::try_from(self.since.commits.len() + 2).expect("few"), 16).expect("few"));
        self.since.commits.push(Commit { id, parents: vec![], author: "somebody".into(), message: message.into() });
        self.since.base = RangeBase::Scheduled(oid('9'));
        self.snapshot.refs.scheduled = Some(oid('9'));
        self
    }

    fn changed(mut self, pkgbase: &str) -> Self {
        self.since.changes.changed.push(name(pkgbase));
        self
    }

    fn source_has(mut self, pkgbase: &str, incoming: Folder) -> Self {
        let present = self.folders[&name(pkgbase)].clone();
        let cursor = Cursor { commit: oid('2'), stamp: Some(2), version: None };
        self.observations.files.insert(name(pkgbase), Observation::Changed { cursor, incoming, present });
        self
    }

    fn plan(&self, pipeline: &Pipeline) -> Plan {
        let official = BTreeSet::new();
        plan(
            pipeline,
            &Inputs {
                snapshot: &self.snapshot,
                since: &self.since,
                observations: &self.observations,
                policy: &self.policy,
                official: &official,
                arch: "x86_64",
                now: Timestamp::UNIX_EPOCH,
            },
        )
    }
}

fn built(plan: &Plan) -> Vec<&str> {
    plan.builds.iter().map(|build| build.pkgbase.as_str()).collect()
}

fn decision<'a>(plan: &'a Plan, pkgbase: &str) -> &'a PackageDecision {
    plan.packages.iter().find(|decision| decision.pkgbase.as_str() == pkgbase).expect("decided")
}

fn codes(plan: &Plan) -> Vec<&str> {
    plan.problems.iter().map(|problem| problem.code).collect()
}

#[test]
fn a_changed_folder_is_built_and_scheduled_moves() {
    let story = Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).committed("fix(a): x").changed("a");
    let plan = story.plan(&Pipeline::OnCommit);
    assert_eq!(built(&plan), ["a"]);
    assert_eq!(plan.scheduled, Scheduled::Tip);
    assert!(plan.commit.is_none() && plan.states.is_empty());
}

#[test]
fn every_directive_of_every_commit_counts() {
    let story = Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).package("c", "1.0-1", &[]);
    let story = story.committed("x [deploy a] [deploy b/9]").committed("y\n\n[deploy c]");
    let plan = story.plan(&Pipeline::OnCommit);
    assert_eq!(built(&plan), ["a", "b", "c"]);
    assert_eq!(plan.builds[1].class, Some(crate::domain::policy::BuildClass("9".into())));
}

#[test]
fn an_unknown_directive_is_reported_and_stops_nothing() {
    let story = Story::new()
        .package("firefox", "1.0-1", &[])
        .package("b", "1.0-1", &[])
        .committed("[deploy firefx]")
        .changed("b");
    let plan = story.plan(&Pipeline::OnCommit);
    assert_eq!(built(&plan), ["b"]);
    assert_eq!(codes(&plan), ["unknown-directive"]);
    assert!(plan.problems[0].hint.contains("firefox"), "{}", plan.problems[0].hint);
    assert_eq!(plan.scheduled, Scheduled::Tip);
}

#[test]
fn the_policy_stop_holds_everything_until_the_directive_is_mended() {
    let mut story = Story::new().package("a", "1.0-1", &[]).committed("[deploy nope]").changed("a");
    story.policy.unknown_directive = UnknownDirective::Stop;
    let plan = story.plan(&Pipeline::OnCommit);
    assert!(plan.is_empty(&story.snapshot) && plan.needs_a_person());
}

#[test]
fn a_skip_keeps_a_changed_folder_from_being_built() {
    let story = Story::new()
        .package("a", "1.0-1", &[])
        .package("b", "1.0-1", &[])
        .committed("[skip a]")
        .changed("a")
        .changed("b");
    let plan = story.plan(&Pipeline::OnCommit);
    assert_eq!(built(&plan), ["b"]);
    assert_eq!(decision(&plan, "a").action, Action::Skip);
    assert_eq!(plan.scheduled, Scheduled::Tip);
}

#[test]
fn a_folder_that_must_not_be_handed_out_is_a_problem_and_no_build() {
    let mut story = Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).committed("x").changed("a");
    let problem = Finding::error("folder-unusable", "`l` is a link out of the folder").with_package(&name("a"));
    story.observations.unbuildable.insert(name("a"), problem);
    for pipeline in [
        Pipeline::OnCommit,
        Pipeline::Deploy(vec![Target::parse("a")]),
        Pipeline::Bump(vec![Target::parse("a")]),
        Pipeline::Trigger("daily".into()),
    ] {
        story = story.configured("a", |package| package.settings.trigger = Some("daily".into()));
        let plan = story.plan(&pipeline);
        assert_eq!((built(&plan), codes(&plan)), (vec![], vec!["folder-unusable"]), "{pipeline:?}");
        assert_eq!(decision(&plan, "a").action, Action::Skip, "{pipeline:?}");
        assert!(plan.commit.is_none(), "{pipeline:?}");
    }
}

#[test]
fn builds_come_after_what_they_need() {
    let story = Story::new()
        .package("app", "1.0-1", &["lib"])
        .package("lib", "1.0-1", &[])
        .committed("x")
        .changed("app")
        .changed("lib");
    let plan = story.plan(&Pipeline::OnCommit);
    assert_eq!(built(&plan), ["lib", "app"]);
    assert_eq!(plan.builds[1].after, [name("lib")]);
}

#[test]
fn a_version_bump_is_committed_with_its_cursor_and_built() {
    let story = Story::new().package("a", "1.0-1", &[]).source_has("a", files("a", "1.1-1", &[]));
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(decision(&plan, "a").action, Action::Commit);
    assert_eq!(built(&plan), ["a"]);
    let commit = plan.commit.as_ref().expect("a commit");
    assert_eq!(commit.message, "chore(update): a\n\n- a: 1.0-1 -> 1.1-1\n");
    assert_eq!(commit.parents, [oid('a')]);
    let state = plan.states[&name("a")].as_ref().expect("kept");
    assert_eq!(state.cursor().expect("moved").commit, oid('2'));
}

#[test]
fn a_changed_build_function_waits_for_a_person() {
    let story = Story::new().package("a", "1.0-1", &[]).source_has("a", with_other_build(&files("a", "1.1-1", &[])));
    let plan = story.plan(&Pipeline::OnSchedule);
    let decision = decision(&plan, "a");
    assert_eq!((decision.action, decision.verdict), (Action::Review, Some(Decision::Major)));
    assert!(!decision.reasons.is_empty() && plan.needs_a_person());
    assert!(plan.commit.is_none() && plan.builds.is_empty());
    assert!(matches!(&plan.reviews[..], [ReviewStep::Propose { replaces: None, .. }]));
    assert!(plan.states[&name("a")].as_ref().expect("kept").proposed().is_some());
}

#[test]
fn an_identical_review_is_not_pushed_again_and_newer_content_updates_it() {
    let proposed = with_other_build(&files("a", "1.1-1", &[]));
    let mut story = Story::new().package("a", "1.0-1", &[]).source_has("a", proposed.clone());
    let review = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: false };
    story.snapshot.reviews.insert(name("a"), review);
    story.observations.waiting.insert(name("a"), proposed.digest());
    let plan = story.plan(&Pipeline::OnSchedule);
    assert!(plan.reviews.is_empty());
    assert_eq!(decision(&plan, "a").action, Action::Review);

    let story = story.source_has("a", with_other_build(&files("a", "1.2-1", &[])));
    let plan = story.plan(&Pipeline::OnSchedule);
    assert!(matches!(&plan.reviews[..], [ReviewStep::Propose { replaces: Some(head), .. }] if *head == oid('e')));
}

#[test]
fn rejected_content_is_not_proposed_again_until_it_changes() {
    let proposed = with_other_build(&files("a", "1.1-1", &[]));
    let mut story = Story::new().package("a", "1.0-1", &[]).source_has("a", proposed.clone());
    story.snapshot.states.get_mut("a").expect("there").set_rejected(Some(&proposed.digest()));
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(decision(&plan, "a").action, Action::Skip);
    assert!(plan.reviews.is_empty());

    let story = story.source_has("a", with_other_build(&files("a", "1.2-1", &[])));
    assert_eq!(story.plan(&Pipeline::OnSchedule).reviews.len(), 1);
}

#[test]
fn what_could_not_be_asked_is_unknown_and_moves_nothing() {
    let mut story =
        Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).source_has("b", files("b", "1.1-1", &[]));
    let unknown = Observation::Unknown { error: "the mirror does not answer".into(), retry_at: None };
    story.observations.files.insert(name("a"), unknown);
    let review = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: false };
    story.snapshot.reviews.insert(name("a"), review);
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(decision(&plan, "a").observation, Heard::Unknown);
    assert!(!plan.states.contains_key(&name("a")));
    assert!(plan.reviews.is_empty(), "a failed answer closes no review");
    assert_eq!(built(&plan), ["b"]);
}

#[test]
fn obsolete_review_branches_are_pruned_however_old() {
    let mut story = Story::new().package("a", "1.0-1", &[]);
    let merged = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: true };
    let orphan = ReviewBranch { head: oid('f'), folder: Some(oid('d')), arrived: false };
    story.snapshot.reviews.insert(name("a"), merged);
    story.snapshot.reviews.insert(name("left"), orphan);
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(plan.reviews.len(), 2);
    assert!(plan.reviews.iter().all(|step| matches!(step, ReviewStep::Close { .. })));
    assert!(!plan.states.contains_key(&name("left")));
}

#[test]
fn commits_prune_the_reviews_of_the_packages_they_change() {
    let mut story = Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).changed("a");
    let merged = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: true };
    for pkgbase in ["a", "b", "left"] {
        story.snapshot.reviews.insert(name(pkgbase), merged.clone());
    }
    story.since.changes.removed.push(name("left"));
    let closed = |pipeline: &Pipeline| {
        let steps = story.plan(pipeline).reviews.into_iter();
        let closed = steps.map(|step| match step {
            ReviewStep::Close { pkgbase, .. } | ReviewStep::Propose { pkgbase, .. } => pkgbase.to_string(),
        });
        closed.collect::<Vec<_>>()
    };
    assert_eq!(closed(&Pipeline::OnCommit), ["a", "left"]);
    assert_eq!(closed(&Pipeline::OnSchedule), ["a", "b", "left"]);
    assert!(closed(&Pipeline::Trigger("x".into())).is_empty());
}

#[test]
fn a_review_ends_when_its_update_becomes_minor() {
    let mut story = Story::new().package("a", "1.0-1", &[]).source_has("a", files("a", "1.1-1", &[]));
    let review = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: false };
    story.snapshot.reviews.insert(name("a"), review);
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(decision(&plan, "a").action, Action::Commit);
    assert!(matches!(&plan.reviews[..], [ReviewStep::Close { .. }]));
}

#[test]
fn a_deleted_review_branch_loses_no_update() {
    let mut story = Story::new().package("a", "1.0-1", &[]);
    story.snapshot.states.get_mut("a").expect("there").set_proposed(Some("digest"));
    assert_eq!(requests(&story.snapshot)[0].cursor, None);
    let review = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: false };
    story.snapshot.reviews.insert(name("a"), review);
    assert!(requests(&story.snapshot)[0].cursor.is_some());
}

#[test]
fn an_upstream_commit_builds_and_is_recorded_in_the_same_run() {
    let mut story = Story::new().package("x-git", "1.0-1", &[]);
    story.snapshot.states.get_mut("x-git").expect("there").set_upstream(&[oid('3').into()]);
    story.observations.upstream.insert(name("x-git"), Upstream::At(vec![oid('4').into()]));
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(plan.builds[0].reason, crate::domain::build::BuildReason::Upstream);
    assert_eq!(plan.states[&name("x-git")].as_ref().expect("kept").upstream(), [oid('4').into()]);
}

#[test]
fn an_upstream_that_does_not_answer_keeps_the_recorded_commit() {
    let mut story = Story::new().package("x-git", "1.0-1", &[]);
    story.snapshot.states.get_mut("x-git").expect("there").set_upstream(&[oid('3').into()]);
    story.observations.upstream.insert(name("x-git"), Upstream::Unknown { error: "timed out".into(), retry_at: None });
    let plan = story.plan(&Pipeline::OnSchedule);
    assert!(plan.states.is_empty() && plan.builds.is_empty());
    assert_eq!(codes(&plan), ["upstream-unknown"]);
    assert_eq!(decision(&plan, "x-git").observation, Heard::Unknown, "by itself");
    story.observations.files.insert(name("x-git"), Observation::Current { cursor: None });
    let plan = story.plan(&Pipeline::OnSchedule);
    let decision = decision(&plan, "x-git");
    assert_eq!((decision.observation, decision.why.as_str()), (Heard::Unknown, "timed out"), "with current files");
}

#[test]
fn updates_of_a_package_with_a_trigger_are_committed_and_built_when_it_fires() {
    let story = Story::new().package("heavy", "1.0-1", &[]).source_has("heavy", files("heavy", "1.1-1", &[]));
    let story = story.configured("heavy", |package| package.settings.trigger = Some("daily".into()));
    let plan = story.plan(&Pipeline::OnSchedule);
    assert!(plan.commit.is_some() && plan.builds.is_empty());
    assert_eq!(built(&story.plan(&Pipeline::Trigger("daily".into()))), ["heavy"]);
    let wrong = story.plan(&Pipeline::Trigger("daly".into()));
    assert!(wrong.problems[0].hint.contains("daily") && wrong.needs_a_person());
}

#[test]
fn commits_of_people_are_handed_out_by_a_scheduled_run_too() {
    let story = Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]);
    let story = story.committed("fix(a): x").changed("a").source_has("b", files("b", "1.1-1", &[]));
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(built(&plan), ["a", "b"]);
    assert_eq!(plan.scheduled, Scheduled::Tip);
}

#[test]
fn an_automated_tip_is_overwritten_and_its_names_are_kept() {
    let mut story =
        Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).source_has("a", files("a", "1.1-1", &[]));
    story.snapshot.settings.overwrite_commits = true;
    let head = story.since.head.as_mut().expect("there");
    head.author = story.snapshot.settings.identity.to_string();
    head.message = "chore(update): b\n\n- b: 0.9-1 -> 1.0-1\n".into();
    let commit = story.plan(&Pipeline::OnSchedule).commit.expect("a commit");
    assert_eq!(commit.parents, [oid('9')]);
    assert_eq!(commit.message, "chore(update): a, b\n\n- a: 1.0-1 -> 1.1-1\n- b: 0.9-1 -> 1.0-1\n");

    story.since.head.as_mut().expect("there").author = "a person".into();
    assert_eq!(story.plan(&Pipeline::OnSchedule).commit.expect("a commit").parents, [oid('a')]);
}

#[test]
fn a_bump_counts_on_and_keeps_the_rest_of_the_configuration() {
    let story = Story::new().package("a", "1:1.0-1", &[]).configured("a", |package| {
        package.config = "# why\nCI_PKGBUILD_SOURCE=aur\nCI_PACKAGE_BUMP=1:1.0-1/2\n".into();
        package.settings.bump = Some(crate::domain::policy::Bump { version: Version::new("1:1.0-1"), count: 2 });
    });
    let mut story = story;
    let srcinfo = Arc::make_mut(story.snapshot.packages.get_mut("a").expect("there")).srcinfo.as_mut().expect("parsed");
    srcinfo.version = Version::new("1:1.0-1");
    let plan = story.plan(&Pipeline::Bump(vec![Target::parse("a")]));
    let commit = plan.commit.as_ref().expect("a commit");
    let [Edit::File(path, bytes)] = &commit.edits[..] else { panic!("one file") };
    assert_eq!(path, "a/.CI/config");
    assert_eq!(String::from_utf8_lossy(bytes), "# why\nCI_PKGBUILD_SOURCE=aur\nCI_PACKAGE_BUMP=1:1.0-1/3\n");
    assert_eq!(built(&plan), ["a"]);
}

#[test]
fn an_approval_merges_what_was_seen_and_refuses_what_moved() {
    let present = files("a", "1.0-1", &[]).with(".CI/config", "CI_PKGBUILD_SOURCE=aur\n");
    let proposed = with_other_build(&files("a", "1.1-1", &[])).with(".CI/config", "CI_PKGBUILD_SOURCE=aur\n");
    let mut story = Story::new().package("a", "1.0-1", &[]);
    let review = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: false };
    story.snapshot.reviews.insert(name("a"), review);
    let proposal = Proposal { base: present.clone(), present: present.clone(), proposed: proposed.clone() };
    story.observations.proposals.insert(name("a"), proposal);

    let plan = story.plan(&Pipeline::Approve(name("a"), oid('e'), person()));
    let [Edit::Folder(_, folder)] = &plan.commit.as_ref().expect("a commit").edits[..] else { panic!("one folder") };
    assert_eq!(*folder, proposed);
    assert_eq!(built(&plan), ["a"]);
    assert!(matches!(&plan.reviews[..], [ReviewStep::Close { .. }]));

    assert_eq!(codes(&story.plan(&Pipeline::Approve(name("a"), oid('f'), person()))), ["review-moved"]);
    story.observations.proposals.get_mut("a").expect("there").present = files("a", "1.0-2", &[]);
    let conflict = story.plan(&Pipeline::Approve(name("a"), oid('e'), person()));
    assert_eq!(codes(&conflict), ["review-conflict"]);
    assert!(conflict.commit.is_none());
}

#[test]
fn a_rejection_is_remembered_and_closes_the_review() {
    let folder = files("a", "1.0-1", &[]);
    let mut story = Story::new().package("a", "1.0-1", &[]);
    let review = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: false };
    story.snapshot.reviews.insert(name("a"), review);
    let proposal = Proposal { base: folder.clone(), present: folder.clone(), proposed: with_other_build(&folder) };
    story.observations.proposals.insert(name("a"), proposal);
    let plan = story.plan(&Pipeline::Reject(name("a"), oid('e'), Refusal::default()));
    assert_eq!(plan.states[&name("a")].as_ref().expect("kept").rejected(), Some(&*with_other_build(&folder).digest()));
    assert!(matches!(&plan.reviews[..], [ReviewStep::Close { .. }]));
    assert_eq!(plan.scheduled, Scheduled::Stays);
}

#[test]
fn the_first_look_at_a_source_adopts_what_only_a_formatter_changed() {
    let indented =
        String::from_utf8_lossy(files("a", "1.0-1", &[]).get("PKGBUILD").expect("there")).replace("  make", "\tmake");
    let mut story =
        Story::new().package("a", "1.0-1", &[]).source_has("a", files("a", "1.0-1", &[]).with("PKGBUILD", &indented));
    story.snapshot.states.remove("a");
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(decision(&plan, "a").action, Action::State);
    assert!(plan.commit.is_none() && plan.reviews.is_empty());

    let mut story = story.source_has("a", with_other_build(&files("a", "1.0-1", &[])));
    story.snapshot.states.remove("a");
    assert_eq!(decision(&story.plan(&Pipeline::OnSchedule), "a").action, Action::Review);
}

#[test]
fn a_missing_tag_and_a_rewritten_branch_are_said() {
    let mut story = Story::new().package("a", "1.0-1", &[]).committed("x").changed("a");
    story.since.base = RangeBase::LastCommit;
    assert_eq!(codes(&story.plan(&Pipeline::OnCommit)), ["scheduled-missing"]);
    story.since.base = RangeBase::Rewritten(oid('9'));
    let plan = story.plan(&Pipeline::OnCommit);
    assert_eq!(codes(&plan), ["scheduled-not-ancestor"]);
    assert_eq!(built(&plan), ["a"]);
}

#[test]
fn an_empty_repository_plans_nothing() {
    let mut story = Story::new();
    story.snapshot.main = None;
    story.snapshot.refs = Refs { branch: "main".into(), ..Refs::default() };
    story.since = Since { base: RangeBase::Empty, commits: Vec::new(), changes: Changes::default(), head: None };
    let plan = story.plan(&Pipeline::OnSchedule);
    assert!(plan.is_empty(&story.snapshot));
    assert_eq!(codes(&plan), ["repository-empty"]);
}

#[test]
fn a_deploy_of_an_unknown_name_builds_the_others() {
    let story = Story::new().package("a", "1.0-1", &[]);
    let plan = story.plan(&Pipeline::Deploy(vec![Target::parse("a/7"), Target::parse("bb")]));
    assert_eq!(built(&plan), ["a"]);
    assert_eq!(codes(&plan), ["unknown-package"]);
    assert_eq!(plan.scheduled, Scheduled::Stays);
}

#[test]
fn the_document_names_every_ref_that_moves() {
    let story = Story::new().package("a", "1.0-1", &[]).source_has("a", files("a", "1.1-1", &[]));
    let document = story.plan(&Pipeline::OnSchedule).document(&story.snapshot);
    let names: Vec<_> = document.refs.iter().map(|change| (change.name.as_str(), change.change)).collect();
    assert_eq!(
        names,
        [("refs/heads/main", "update"), ("refs/heads/state", "update"), ("refs/tags/scheduled", "update")]
    );
    let json = serde_json::to_value(&document).expect("serialisable");
    for key in [
        "repository",
        "pipeline",
        "now",
        "base",
        "packages",
        "refs",
        "builds",
        "remove",
        "reviews",
        "aur_push",
        "problems",
    ] {
        assert!(json.get(key).is_some(), "{key}");
    }
}

impl Story {
    /// What was looked at for rebuilds: `boost` moved from 1-1 to 2-1, and a package of ours needs libraries.
    fn libraries(mut self, boost: &str, published: &[(&str, &str, &str)], has: &[&str]) -> Self {
        let soname = |name: &str| Soname::new(name, Bits::B64).expect("a soname");
        let linkage = |&(pkgbase, version, needs): &(&str, &str, &str)| {
            let needs = needs.split_whitespace().map(soname).collect();
            (name(pkgbase), Linkage { version: Version::new(version), needs, provides: BTreeSet::new() })
        };
        let database = LibraryDatabase {
            versions: [("boost".to_owned(), Version::new(boost))].into(),
            sonames: has.iter().map(|name| (soname(name), "boost".to_owned())).collect(),
            lists_files: true,
            ..LibraryDatabase::default()
        };
        self.observations.libraries = Some(Libraries {
            consulted: vec![Consulted { origin: "http://host/extra.files".into(), answer: Ok(Arc::new(database)) }],
            published: Published { packages: published.iter().map(linkage).collect(), complete: true },
        });
        self
    }

    /// What the next run finds of what this plan wrote into the branch `state`.
    fn after(mut self, plan: &Plan) -> Self {
        for (pkgbase, state) in &plan.states {
            self.snapshot.states.insert(pkgbase.clone(), state.clone().unwrap_or_default());
        }
        for (&path, text) in &plan.state_files {
            match path {
                versions::PATH => self.snapshot.version_state = Some(text.clone()),
                _ => self.snapshot.soname_state = Some(text.clone()),
            }
        }
        self
    }
}

fn triggered(package: &mut Package) {
    package.settings.rebuild_triggers = vec!["boost".into()];
}

fn moved_boost(story: Story) -> Story {
    let mut story = story.libraries("2-1", &[], &[]);
    story.snapshot.version_state = Some("boost:1-1\n".into());
    story
}

/// The bump that a plan writes for a package, wherever it writes it.
fn bump_of(plan: &Plan, pkgbase: &str) -> Option<String> {
    let text = plan.commit.as_ref()?.edits.iter().find_map(|edit| match edit {
        Edit::File(path, bytes) if *path == format!("{pkgbase}/.CI/config") => Some(bytes.clone()),
        Edit::Folder(changed, folder) if changed.as_str() == pkgbase => Some(folder.get(".CI/config")?.to_vec()),
        _ => None,
    })?;
    let text = String::from_utf8(text).expect("text");
    text.lines().find_map(|line| line.strip_prefix("CI_PACKAGE_BUMP=")).map(str::to_owned)
}

#[test]
fn an_update_with_a_new_version_needs_no_bump_and_one_without_does() {
    let present = files("b", "1.0-1", &[]);
    let text = String::from_utf8_lossy(present.get("PKGBUILD").expect("there")).replace("  make\n", "  # x\n  make\n");
    let story = Story::new()
        .package("a", "1.0-1", &[])
        .package("b", "1.0-1", &[])
        .configured("a", triggered)
        .configured("b", triggered)
        .source_has("a", files("a", "1.1-1", &[]))
        .source_has("b", present.clone().with("PKGBUILD", text));
    let plan = moved_boost(story).plan(&Pipeline::OnSchedule);
    assert_eq!((bump_of(&plan, "a"), bump_of(&plan, "b").as_deref()), (None, Some("1.0-1/1")));
    assert_eq!(built(&plan), ["a", "b"]);
    let why = &decision(&plan, "b").why;
    assert_eq!(why, "files changed at 1.0-1; bumped to 1.0-1.1: boost 1-1 -> 2-1");
    let message = &plan.commit.as_ref().expect("a commit").message;
    assert!(message.contains("- b: files changed at 1.0-1; bumped to 1.0-1.1: boost 1-1 -> 2-1\n"), "{message}");
}

#[test]
fn a_package_that_cannot_be_built_now_is_bumped_all_the_same_so_that_the_rebuild_is_not_lost() {
    let mut held = PackageState::default();
    held.set_quarantine(Some(&quarantine::Quarantine { since: None, reason: "a test".into() }));
    let mut story = moved_boost(Story::new().package("a", "1.0-1", &[]).configured("a", triggered));
    story.snapshot.states.insert(name("a"), held);
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!((built(&plan), bump_of(&plan, "a").as_deref()), (vec![], Some("1.0-1/1")));
    assert!(plan.states[&name("a")].as_ref().expect("kept").build_is_held());
    let story = moved_boost(Story::new().package("a", "1.0-1", &[]).configured("a", |package| {
        triggered(package);
        package.srcinfo = None;
    }));
    assert_eq!(codes(&story.plan(&Pipeline::OnSchedule)), ["rebuild-impossible"]);
}

#[test]
fn a_vcs_package_is_bumped_from_the_version_that_was_built() {
    let story = Story::new().package("a-git", "r1.a-1", &[]).configured("a-git", triggered);
    let mut story = story.libraries("2-1", &[("a-git", "r9.f-1.2", "")], &[]);
    story.snapshot.version_state = Some("boost:1-1\n".into());
    assert_eq!(bump_of(&story.plan(&Pipeline::OnSchedule), "a-git").as_deref(), Some("r9.f-1/3"));
}

#[test]
fn a_library_that_is_gone_rebuilds_once_until_it_is_back() {
    let app = |version| [("a", version, "libboost.so.1")];
    let story = Story::new().package("a", "1.0-1", &[]).libraries("1-1", &app("1.0-1"), &["libboost.so.1"]);
    let first = story.plan(&Pipeline::OnSchedule);
    assert!(built(&first).is_empty() && codes(&first).is_empty());
    let story = story.after(&first).libraries("2-1", &app("1.0-1"), &["libboost.so.2"]);
    let gone = story.plan(&Pipeline::OnSchedule);
    assert_eq!(built(&gone), ["a"]);
    assert_eq!(decision(&gone, "a").why, "bumped to 1.0-1.1: libboost.so.1 is gone, boost 2-1 has libboost.so.2");
    // The build failed, or is a prebuilt program that asks for the old library for ever.
    let story = story.after(&gone);
    for _ in 0..2 {
        let again = story.plan(&Pipeline::OnSchedule);
        assert_eq!((built(&again), codes(&again)), (vec![], vec!["library-missing"]));
        assert!(again.commit.is_none() && again.states.is_empty() && again.state_files.is_empty());
    }
    let story = story.libraries("1-1", &app("1.0-1.1"), &["libboost.so.1"]);
    let back = story.plan(&Pipeline::OnSchedule);
    assert!(built(&back).is_empty() && codes(&back).is_empty());
    let story = story.after(&back).libraries("2-1", &app("1.0-1.1"), &["libboost.so.2"]);
    assert_eq!(built(&story.plan(&Pipeline::OnSchedule)), ["a"]);
}

#[test]
fn libraries_of_packages_on_the_blacklist_rebuild_nothing_and_are_told() {
    let mut story = Story::new().package("a", "1.0-1", &[]).configured("a", triggered);
    story.snapshot.settings.rebuild_blacklist.insert("boost".into());
    story.snapshot.version_state = Some("boost:1-1\n".into());
    let plan =
        story.libraries("2-1", &[("a", "1.0-1", "libboost.so.1")], &["libboost.so.2"]).plan(&Pipeline::OnSchedule);
    assert_eq!((built(&plan), codes(&plan)), (vec![], vec!["library-missing"]));
}

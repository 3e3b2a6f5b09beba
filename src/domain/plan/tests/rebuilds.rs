//! Packages that are built anew as they are: bumps, and what they are built against.

use super::*;
use crate::domain::addition::Provenance;
use crate::domain::policy::Rebuilds;

#[test]
fn a_bump_counts_on_and_keeps_the_rest_of_the_configuration() {
    let story = Story::new().package("a", "1:1.0-1", &[]).configured("a", |package| {
        package.config = "# why\nCI_PKGBUILD_SOURCE=aur\nCI_PACKAGE_BUMP=1:1.0-1/2\n".into();
        package.settings.bump = Some(crate::domain::policy::Bump { version: Version::new("1:1.0-1"), count: 2 });
    });
    let mut story = story;
    let srcinfo = Arc::make_mut(story.snapshot.packages.get_mut("a").expect("there")).srcinfo.as_mut().expect("parsed");
    srcinfo.version = Version::new("1:1.0-1");
    let plan = story.plan(&Pipeline::Bump(vec![Target::parse("a").expect("no class, or a right one")]));
    let commit = plan.commit.as_ref().expect("a commit");
    let [Edit::File(path, bytes)] = &commit.edits[..] else { panic!("one file") };
    assert_eq!(path, "a/.CI/config");
    assert_eq!(String::from_utf8_lossy(bytes), "# why\nCI_PKGBUILD_SOURCE=aur\nCI_PACKAGE_BUMP=1:1.0-1/3\n");
    assert_eq!(built(&plan), ["a"]);
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
    pub(super) fn after(mut self, plan: &Plan) -> Self {
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

/// By hand as by a library: one rule.
#[test]
fn a_person_bumps_a_vcs_package_from_the_version_that_was_built() {
    let story = || Story::new().package("a-git", "r1.a-1", &[]).package("b", "1.0-1", &[]);
    let bump = Pipeline::Bump(vec![
        Target::parse("a-git").expect("no class, or a right one"),
        Target::parse("b").expect("no class, or a right one"),
    ]);
    let published = [("a-git", "1:r9.f-1.2", ""), ("b", "1.0-1.6", "")];
    let here = story().libraries("1-1", &published, &[]);
    let mut elsewhere = story();
    elsewhere.snapshot.version_state = Some("a-git-extra:7-1\na-git:1:r9.f-1.2\nb:1.0-1.6\n".into());
    let directed = story().libraries("1-1", &published, &[]).committed("x [bump a-git] [bump b]");
    for (story, pipeline) in [(&here, &bump), (&elsewhere, &bump), (&directed, &Pipeline::OnCommit)] {
        let plan = story.plan(pipeline);
        assert_eq!(bump_of(&plan, "a-git").as_deref(), Some("1:r9.f-1/3"));
        assert_eq!(bump_of(&plan, "b").as_deref(), Some("1.0-1/7"));
        assert_eq!(decision(&plan, "a-git").why, "bumped to 1:r9.f-1.3");
        assert_eq!(built(&plan), ["a-git", "b"]);
    }
    let unknown = story().plan(&bump);
    assert_eq!(bump_of(&unknown, "a-git").as_deref(), Some("r1.a-1/1"), "where nothing is known to be published");
}

#[test]
fn versions_that_are_published_are_looked_up_where_bumps_are_counted_and_only_there() {
    let asked = |message: &str, pipeline: &Pipeline, rebuilds| {
        needs_published(pipeline, &Story::new().committed(message).since, rebuilds)
    };
    let wanted = |message: &str, pipeline: &Pipeline| asked(message, pipeline, Rebuilds::Sonames);
    assert!(wanted("x", &Pipeline::Bump(vec![])) && wanted("x", &Pipeline::OnSchedule));
    assert!(
        wanted("x [bump a]", &Pipeline::OnCommit)
            && wanted("x\n\n[bump all]", &Pipeline::Add(vec![], Provenance::default()))
    );
    assert!(!wanted("chore(bump): a", &Pipeline::OnCommit) && !wanted("x [deploy a]", &Pipeline::OnCommit));
    assert!(asked("x", &Pipeline::OnCommit, Rebuilds::Always) && !asked("x", &Pipeline::Deploy(vec![]), Rebuilds::Always));
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

/// What a schedule builds under a policy, after `lib` was changed by a person and `boost` by its source.
fn rebuilt_under(rebuilds: Rebuilds) -> Vec<String> {
    let mut story = Story::new()
        .package("lib", "1.0-1", &[])
        .package("tool", "1.0-1", &["lib"])
        .package("app", "1.0-1", &["tool"])
        .package("linked", "1.0-1", &[])
        .package("other", "1.0-1", &[])
        .libraries("1-1", &[("linked", "1.0-1", "libboost.so.1")], &["libboost.so.1"]);
    story.policy.rebuilds = rebuilds;
    let first = story.plan(&Pipeline::OnSchedule);
    assert!(built(&first).is_empty(), "{:?}", first.builds);
    let story = story.after(&first).libraries("2-1", &[("linked", "1.0-1", "libboost.so.1")], &["libboost.so.2"]);
    let plan = story.committed("fix(lib): build").changed("lib").plan(&Pipeline::OnSchedule);
    let told = |build: &BuildRequest| format!("{} {:?} after {:?}", build.pkgbase, build.reason, texts(&build.after));
    plan.builds.iter().map(told).collect()
}

fn texts(names: &[PkgBase]) -> Vec<&str> {
    names.iter().map(PkgBase::as_str).collect()
}

#[test]
fn the_policy_says_whether_dependants_are_built_anew_never_for_a_library_or_always_and_in_order() {
    let lib = "lib Changed after []";
    assert_eq!(rebuilt_under(Rebuilds::Never), [lib]);
    let linked = "linked Rebuild after []";
    assert_eq!(rebuilt_under(Rebuilds::Sonames), [lib, linked]);
    let (tool, app) = ("tool Rebuild after [\"lib\"]", "app Rebuild after [\"tool\"]");
    let mut all = rebuilt_under(Rebuilds::Always);
    assert!(all.iter().position(|one| one == tool) < all.iter().position(|one| one == app), "{all:?}");
    all.sort();
    assert_eq!(all, [app, lib, linked, tool]);
}

#[test]
fn what_is_built_anew_for_a_change_is_committed_with_a_bump_and_a_blacklisted_change_builds_nothing() {
    let story = || {
        let mut story = Story::new().package("lib", "1.0-1", &[]).package("app", "1.0-1", &["lib"]);
        story.policy.rebuilds = Rebuilds::Always;
        story.committed("fix(lib): build").changed("lib")
    };
    let plan = story().plan(&Pipeline::OnCommit);
    assert_eq!((built(&plan), bump_of(&plan, "app").as_deref()), (vec!["lib", "app"], Some("1.0-1/1")));
    assert_eq!(decision(&plan, "app").why, "bumped to 1.0-1.1: lib is built");
    let mut blacklisted = story();
    blacklisted.snapshot.settings.rebuild_blacklist.insert("lib".into());
    assert_eq!(built(&blacklisted.plan(&Pipeline::OnCommit)), ["lib"]);
    let deployed = story().plan(&Pipeline::Deploy(vec![Target::parse("lib").expect("a target")]));
    assert_eq!(built(&deployed), ["lib"], "who asks for one package gets one");
}

//! What a proof finds in a published repository that somebody broke, and generations under random treatment.

use proptest::prelude::*;

use super::*;
use crate::domain::publication::guard::RemovalLimit;
use crate::publish::archived::Archive;
use crate::publish::prove::{Against, prove};

fn codes_in(publisher: &Publisher) -> Vec<&'static str> {
    let proof = prove(publisher, &Against::default()).unwrap();
    for finding in &proof.findings {
        assert!(!finding.hint.is_empty() && finding.file.is_some(), "{finding:?}");
    }
    proof.findings.iter().map(|finding| finding.code).collect()
}

type Breakage = fn(&Path);

#[tokio::test]
async fn every_way_in_which_a_tree_can_be_broken_is_found() {
    const FOO: &str = "foo-2-1-any.pkg.tar.zst";
    let breakages: [(Breakage, &[&str]); 14] = [
        (|_| (), &[]),
        (|dir| std::fs::remove_file(dir.join(FOO)).unwrap(), &["repo-file-missing"]),
        (|dir| std::fs::write(dir.join(FOO), "short").unwrap(), &["repo-file-size"]),
        (
            |dir| {
                let mut bytes = std::fs::read(dir.join(FOO)).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                std::fs::write(dir.join(FOO), bytes).unwrap();
            },
            &["repo-file-checksum"],
        ),
        (|dir| std::fs::write(dir.join("stray-1-1-any.pkg.tar.zst"), "").unwrap(), &["repo-orphan"]),
        (|dir| std::fs::write(dir.join("stray-1-1-any.pkg.tar.zst.sig"), "").unwrap(), &["repo-orphan"]),
        (|dir| std::fs::remove_file(dir.join("foo-1-1-any.pkg.tar.zst")).unwrap(), &["repo-generation-hole"]),
        (|dir| std::fs::write(dir.join(".generations/3/manifest.json"), "{").unwrap(), &["repo-manifest"]),
        (
            |dir| {
                std::fs::copy(
                    dir.join(".generations/2/test.files.tar.zst"),
                    dir.join(".generations/3/test.files.tar.zst"),
                )
                .unwrap();
            },
            &["repo-files-database"],
        ),
        (
            |dir| {
                std::fs::remove_file(dir.join("test.files")).unwrap();
                symlink(".generations/2/test.files.tar.zst", dir.join("test.files")).unwrap();
            },
            &["repo-link", "repo-files-database"],
        ),
        (|dir| change(&dir.join("pkgs.txt"), |text| text.replace("foo-2-1", "foo-3-1")), &["repo-list"]),
        (|dir| change(&dir.join("pkgs.files.txt"), |text| text + "more-1-1-any.pkg.tar.zst\n"), &["repo-list"]),
        (|dir| change(&dir.join("lastupdate"), |_| "17\n".to_owned()), &["repo-list"]),
        (|dir| std::fs::remove_file(dir.join(".generations/3/pkgs.txt")).unwrap(), &["repo-list"]),
    ];
    for (number, (breakage, wanted)) in breakages.into_iter().enumerate() {
        let world = world();
        world.publish("bar", "1-1", &["bar"]).await.unwrap();
        world.publish("foo", "1-1", &["foo"]).await.unwrap();
        world.publish("foo", "2-1", &["foo"]).await.unwrap();
        breakage(world.publisher.dir());
        let found = codes_in(&world.publisher);
        assert!(wanted.iter().all(|code| found.contains(code)), "{number}: {found:?}");
        assert_eq!(found.is_empty(), wanted.is_empty(), "{number}: {found:?}");
    }
}

fn change(file: &Path, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, change(text)).unwrap();
}

#[tokio::test]
async fn a_list_that_differs_is_told_with_the_line() {
    const FOO: &str = "foo-1-1-any.pkg.tar.zst";
    let world = world();
    world.publish("foo", "1-1", &["foo"]).await.unwrap();
    let told = |text: &str| {
        std::fs::write(world.publisher.dir().join("pkgs.files.txt"), text).unwrap();
        let proof = prove(&world.publisher, &Against::default()).unwrap();
        proof.findings.iter().map(|finding| finding.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(&format!("{FOO}\n")), Vec::<String>::new());
    assert_eq!(told(""), [format!("it has no line `{FOO}`")]);
    assert_eq!(told("x\u{1b}[1m\n"), [format!("it has no line `{FOO}`, and one `x\\u{{1b}}[1m`")]);
    assert_eq!(told(&format!("{FOO}\n{FOO}\n")), ["its lines are in another order, or there more than once"]);
}

#[tokio::test]
async fn a_proof_beside_a_publication_under_way_finds_nothing() {
    for step in Step::ALL {
        let mut world = world();
        world.publish("foo", "1-1", &["foo"]).await.unwrap();
        let sound = world.publisher.clone();
        world.publisher.stop_after = Some(step);
        world.publish("bar", "1-1", &["bar"]).await.unwrap_err();
        assert_eq!(codes_in(&sound), Vec::<&str>::new(), "{step:?}");
    }
}

#[tokio::test]
async fn a_generation_that_is_being_made_is_in_no_proofs_way() {
    let mut world = world();
    world.publish("foo", "1-1", &["foo"]).await.unwrap();
    world.publisher.stop_after = Some(Step::Begun);
    world.publish("foo", "2-1", &["foo"]).await.unwrap_err();
    assert_eq!(codes_in(&world.publisher), Vec::<&str>::new());
}

/// As `repo-add` alone publishes it.
#[tokio::test]
async fn a_package_whose_entry_may_say_what_it_likes_is_found() {
    let world = world();
    let dir = world.publisher.dir();
    std::fs::create_dir_all(dir).unwrap();
    let info =
        format!("{}license = A\nlicense = \nlicense = %REPLACES%\nlicense = bash\n", pkginfo("foo", "foo", "1-1"));
    let package = pack(&dir.join("foo-1-1-any.pkg.tar.zst"), &info, "x");
    let added = Program::new("repo-add").arg(dir.join("test.db.tar.zst")).arg(package).run_blocking().unwrap();
    assert!(added.status.success());
    assert!(codes_in(&world.publisher).contains(&"repo-file-strange"));
}

#[tokio::test]
async fn a_dependency_that_is_nowhere_is_found() {
    let world = world();
    let with = |needs: &str| format!("{}depend = {needs}\n", pkginfo("app", "app", "1-1"));
    world.publish("lib", "1-1", &["lib"]).await.unwrap();
    let app = world.pack("app-1-1-any.pkg.tar.zst", &with("lib>=2"), "x");
    world.publisher.publish(&[app], &expected("app", "1-1", &["app"])).await.unwrap();
    assert_eq!(codes_in(&world.publisher), ["repo-dependency"]);
    world.publish("lib", "2-1", &["lib"]).await.unwrap();
    assert_eq!(codes_in(&world.publisher), Vec::<&str>::new());
}

#[tokio::test]
async fn what_is_replaced_goes_to_the_archive_and_what_another_database_names_stays() {
    let mut world = world();
    let archive = Archive { dir: world.publisher.dir().join("archive"), days: 7, versions: None };
    world.publisher = world.publisher.clone().keep_generations(1).archives(Some(archive.clone()));
    world.publish("foo", "1-1", &["foo"]).await.unwrap();
    world.publish("bar", "1-1", &["bar"]).await.unwrap();
    let dir = world.publisher.dir().to_owned();
    repo_tool::add(&dir, "other.db.tar.zst", &[dir.join("bar-1-1-any.pkg.tar.zst")]).unwrap();
    world.publish("foo", "2-1", &["foo"]).await.unwrap();
    world.publish("bar", "2-1", &["bar"]).await.unwrap();
    assert_eq!(world.files(), ["bar-1-1-any.pkg.tar.zst", "bar-2-1-any.pkg.tar.zst", "foo-2-1-any.pkg.tar.zst"]);
    let kept: Vec<_> = archive.list(world.publisher.clock.now()).unwrap().into_iter().map(|one| one.file).collect();
    assert_eq!(kept, ["foo-1-1-any.pkg.tar.zst"]);
    assert!(dir.join("archive/index.json").is_file());
    // A database that cannot be read may name anything: nothing goes.
    std::fs::write(dir.join("broken.db"), "x").unwrap();
    world.publish("foo", "3-1", &["foo"]).await.unwrap();
    assert!(world.files().contains(&"foo-2-1-any.pkg.tar.zst".to_owned()));
    assert_eq!(codes_in(&world.publisher), ["repo-other-database"]);
    // One that is a link to nowhere names nothing.
    std::fs::remove_file(dir.join("broken.db")).unwrap();
    symlink("nowhere", dir.join("broken.db")).unwrap();
    world.publish("foo", "4-1", &["foo"]).await.unwrap();
    assert!(!world.files().contains(&"foo-2-1-any.pkg.tar.zst".to_owned()));
    assert_eq!(codes_in(&world.publisher), Vec::<&str>::new());
}

#[tokio::test]
async fn a_file_that_only_another_database_names_is_not_replaced() {
    let world = world();
    let dir = world.publisher.dir().to_owned();
    std::fs::create_dir_all(&dir).unwrap();
    let theirs = pack(&dir.join("foo-1-1-any.pkg.tar.zst"), &pkginfo("foo", "foo", "1-1"), "theirs");
    repo_tool::add(&dir, "other.db.tar.zst", std::slice::from_ref(&theirs)).unwrap();
    let before = sha256(&theirs).unwrap();
    let error = world.publish("foo", "1-1", &["foo"]).await.unwrap_err();
    assert_eq!((codes(&error), sha256(&theirs).unwrap()), (vec!["package-not-its-own"], before));
    world.publish("foo", "1-2", &["foo"]).await.unwrap();
}

#[tokio::test]
async fn a_removal_of_too_much_waits_until_it_is_confirmed() {
    let mut world = world();
    let rules = Rules { max_removals: RemovalLimit::Count(1), ..Rules::default() };
    world.publisher = world.publisher.clone().by_rules(rules);
    world.publish("foo", "1-1", &["foo", "foo-docs"]).await.unwrap();
    let error = world.publisher.remove(&[base("foo")]).await.unwrap_err();
    assert!(matches!(error, PublishError::TooManyRemovals { leaving: 2, published: 2, .. }), "{error}");
    assert_eq!(world.published().len(), 2);
    world.publisher.remove_confirmed(&[base("foo")]).await.unwrap().unwrap();
    assert_eq!(world.published(), Vec::<String>::new());
}

#[tokio::test]
async fn names_of_the_distribution_are_kept_for_it() {
    let mut world = world();
    let official = world.root.path().join("official");
    std::fs::create_dir_all(&official).unwrap();
    let base_info = format!("{}depend = bash>=5\n", pkginfo("base", "base", "1-1"));
    let files = [world.pack("base-1-1-any.pkg.tar.zst", &base_info, "x"), world.member("glibc", "glibc", "2-1")];
    repo_tool::add(&official, "core.db.tar.zst", &files).unwrap();
    let rules = |allow: &[&str]| Rules {
        official_databases: vec![official.join("core.db.tar.zst")],
        allow_official: allow.iter().map(|&name| name.to_owned()).collect(),
        ..Rules::default()
    };
    let publisher = world.publisher.clone();
    world.publisher = publisher.clone().by_rules(rules(&[]));
    let error = world.publish("evil", "1-1", &["glibc"]).await.unwrap_err();
    assert_eq!(codes(&error), ["package-official-name"]);
    let pushes = format!("{}conflict = bash\n", pkginfo("evil", "evil", "1-1"));
    let file = world.pack("evil-1-1-any.pkg.tar.zst", &pushes, "x");
    let error = world.publisher.publish(&[file], &expected("evil", "1-1", &["evil"])).await.unwrap_err();
    assert_eq!(codes(&error), ["package-prohibited-field"]);
    world.publisher = publisher.by_rules(rules(&["evil"]));
    world.publish("evil", "1-1", &["glibc"]).await.unwrap();
}

#[tokio::test]
async fn what_namcap_says_is_kept_and_stops_a_build_only_where_it_is_to() {
    use crate::publish::namcap::{Namcap, Strictness};
    let mut world = world();
    let program = world.root.path().join("namcap");
    std::fs::write(&program, "#!/bin/sh\necho 'foo W: Unused shared library'\necho 'foo E: Dependency missing'\n")
        .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let publisher = world.publisher.clone();
    let with = |strictness| Rules { namcap: Namcap { program: program.clone(), strictness }, ..Rules::default() };
    world.publisher = publisher.clone().by_rules(with(Strictness::Refuse));
    let error = world.publish("foo", "1-1", &["foo"]).await.unwrap_err();
    assert!(error.to_string().contains("Dependency missing") && error.is_the_builds_fault(), "{error}");
    world.publisher = publisher.by_rules(with(Strictness::Report));
    let generation = world.publish("foo", "1-1", &["foo"]).await.unwrap();
    let told: Vec<_> = generation.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(told, ["namcap: foo W: Unused shared library", "namcap: foo E: Dependency missing"]);
}

#[tokio::test]
async fn going_back_publishes_what_was_there_as_a_new_generation() {
    let world = world();
    world.publish("foo", "1-1", &["foo", "foo-docs"]).await.unwrap();
    world.publish("foo", "2-1", &["foo"]).await.unwrap();
    world.publish("bar", "1-1", &["bar"]).await.unwrap();
    let back = world.publisher.roll_back(1).await.unwrap();
    assert_eq!((back.number, back.restores), (4, Some(1)));
    assert_eq!(back.removed.iter().map(PkgName::as_str).collect::<Vec<_>>(), ["bar"]);
    assert!(back.entries.iter().all(|entry| entry.origin == Origin::Reused && entry.build == Some(BuildId(7))));
    assert_eq!(world.published(), ["foo 1-1", "foo-docs 1-1"]);
    assert_eq!(codes_in(&world.publisher), Vec::<&str>::new());
    assert!(matches!(world.publisher.roll_back(9).await.unwrap_err(), PublishError::NoGeneration(9)));
}

#[tokio::test]
async fn staged_packages_move_together_or_not_at_all() {
    let world = world();
    let staging = Publisher::new(world.root.path().join("repo/staging"), "test-staging");
    world.publish("lib", "1-1", &["lib"]).await.unwrap();
    let app_info = format!("{}depend = lib>=2\n", pkginfo("app", "app", "1-1"));
    let app = world.pack("app-1-1-any.pkg.tar.zst", &app_info, "x");
    staging.publish(&[app], &expected("app", "1-1", &["app"])).await.unwrap();
    let lib = [world.member("lib", "lib", "2-1"), world.member("lib", "lib-docs", "2-1")];
    staging.publish(&lib, &expected("lib", "2-1", &["lib", "lib-docs"])).await.unwrap();

    let error = world.publisher.promote(&staging, Some(&[base("app")])).await.unwrap_err();
    assert!(error.to_string().contains("`app` needs `lib>=2`, which only `lib` 2-1 has"), "{error}");
    assert!(matches!(error, PublishError::NotClosed { .. }));
    assert_eq!(world.published(), ["lib 1-1"]);
    let error = world.publisher.promote(&staging, Some(&[base("other")])).await.unwrap_err();
    assert!(matches!(error, PublishError::NotStaged(_)), "{error}");

    let moved = world.publisher.promote(&staging, None).await.unwrap();
    assert_eq!(moved.packages, [base("app"), base("lib")]);
    assert_eq!(world.published(), ["app 1-1", "lib 2-1", "lib-docs 2-1"]);
    assert!(staging.current().unwrap().is_empty());
    let current = world.publisher.generations().unwrap().remove(0);
    assert!(current.entries.iter().all(|entry| entry.origin == Origin::Built && entry.build == Some(BuildId(7))));
    assert_eq!(codes_in(&world.publisher), Vec::<&str>::new());
    assert_eq!(world.publisher.promote(&staging, None).await.unwrap().generation, None);
}

/// Builds go to staging or to a target, and what they may not take is anywhere in the monorepo's repositories.
#[tokio::test]
async fn what_comes_in_is_compared_with_every_repository_of_the_monorepo() {
    use crate::domain::publication::target::Target;
    use crate::publish::outlets::{Outlet, Outlets};
    let world = world();
    let at = |folder: &str, name| Publisher::new(world.root.path().join("repo").join(folder), name);
    let main = Outlet { release: world.publisher.clone(), staging: Some(at("staging", "test-staging")) };
    let extra = Outlet { release: at("extra", "extra"), staging: None };
    let outlets = Outlets::new(main, vec![(Target::new("extra", &["extra-*".to_owned()]).unwrap(), extra)]);
    world.publish("foo", "2-1", &["foo", "victim"]).await.unwrap();
    for thief in ["evil", "extra-evil"] {
        let files = [world.member(thief, "victim", "3-1")];
        let unknown = expected(thief, "3-1", &[thief]);
        let error = outlets.entrance(&base(thief)).publish(&files, &unknown).await.unwrap_err();
        assert_eq!(codes(&error), ["package-not-its-own"], "{thief}");
    }
    let entrance = outlets.entrance(&base("foo"));
    let older = [world.member("foo", "foo", "1-1")];
    let generation = entrance.publish(&older, &expected("foo", "1-1", &["foo"])).await.unwrap();
    let told: Vec<_> = generation.findings.iter().map(|finding| finding.code).collect();
    assert_eq!((entrance.dir().ends_with("staging"), told), (true, vec!["package-downgrade"]));
    // Then what is in staging is what counts.
    let generation = entrance.publish(&[world.member("foo", "foo", "1-2")], &expected("foo", "1-2", &["foo"])).await;
    assert!(generation.unwrap().findings.is_empty());
}

/// pacman takes the first repository that has a package: an old copy would hide the new one for ever.
#[tokio::test]
async fn a_package_that_goes_to_another_target_leaves_the_one_before() {
    use crate::domain::publication::target::Target;
    use crate::publish::outlets::{Outlet, Outlets};
    let world = world();
    let at = |folder: &str, name| Publisher::new(world.root.path().join("repo").join(folder), name);
    let extra = Outlet { release: at("extra", "extra"), staging: None };
    let target = Target::new("extra", &["foo".to_owned()]).unwrap();
    world.publish("foo", "1-1", &["foo", "foo-docs"]).await.unwrap();
    world.publish("bar", "1-1", &["bar"]).await.unwrap();
    let outlets = Outlets::new(Outlet { release: world.publisher.clone(), staging: None }, vec![(target, extra)]);
    assert!(!outlets.remove_elsewhere(&base("bar")).await.unwrap());
    let files = [world.member("foo", "foo", "1-2")];
    outlets.entrance(&base("foo")).publish(&files, &expected("foo", "1-2", &["foo"])).await.unwrap();
    assert!(outlets.remove_elsewhere(&base("foo")).await.unwrap());
    assert_eq!(world.published(), ["bar 1-1"]);
    assert!(!outlets.remove_elsewhere(&base("foo")).await.unwrap());
    // On its way through staging, it stays where people have it from.
    let staged = Outlet { release: world.publisher.clone(), staging: Some(at("staging", "test-staging")) };
    let outlets = Outlets::new(staged, vec![(Target::new("extra", &[]).unwrap(), outlets.of(&base("foo")).clone())]);
    let files = [world.member("foo", "foo", "1-3")];
    outlets.entrance(&base("foo")).publish(&files, &expected("foo", "1-3", &["foo"])).await.unwrap();
    assert!(!outlets.remove_elsewhere(&base("foo")).await.unwrap());
    world.publisher.promote(&at("staging", "test-staging"), None).await.unwrap();
    assert!(outlets.remove_elsewhere(&base("foo")).await.unwrap());
    assert_eq!(world.published(), ["bar 1-1", "foo 1-3"]);
}

/// What was checked is what the release gets: a package that it has with other content does not move.
#[tokio::test]
async fn a_staged_file_that_the_release_has_otherwise_stays_and_keeps_others_from_breaking_it() {
    let world = world();
    let staging = Publisher::new(world.root.path().join("repo/staging"), "test-staging");
    world.publish("lib", "1-1", &["lib"]).await.unwrap();
    let app = |needs: &str| {
        let info = format!("{}depend = {needs}\n", pkginfo("app", "app", "1-1"));
        [world.pack("app-1-1-any.pkg.tar.zst", &info, needs)]
    };
    world.publisher.publish(&app("lib=1"), &expected("app", "1-1", &["app"])).await.unwrap();
    staging.publish(&[world.member("lib", "lib", "2-1")], &expected("lib", "2-1", &["lib"])).await.unwrap();
    staging.publish(&app("lib=2"), &expected("app", "1-1", &["app"])).await.unwrap();
    let released = world.published();

    let both = [base("app"), base("lib")];
    let error = world.publisher.promote(&staging, Some(&both)).await.unwrap_err().to_string();
    assert!(error.contains("`app` needs `lib=1`, which `lib` 1-1 had"), "{error}");
    assert!(error.contains("raise the `pkgrel` of `app`"), "{error}");
    let moved = world.publisher.promote(&staging, Some(&both[..1])).await.unwrap();
    assert_eq!((moved.packages.len(), moved.not_replaced.as_slice()), (0, &["app-1-1-any.pkg.tar.zst".to_owned()][..]));
    assert_eq!(world.published(), released);
    assert_eq!(staging.current().unwrap().len(), 2, "the good one is still there");
    // What does not need it moves without it.
    staging.publish(&[world.member("new", "new", "1-1")], &expected("new", "1-1", &["new"])).await.unwrap();
    let moved = world.publisher.promote(&staging, Some(&[base("app"), base("new")])).await.unwrap();
    assert_eq!((moved.packages, moved.not_replaced.len()), (vec![base("new")], 1));
}

/// Killed between the release and the clearing of staging, the next promotion finishes it.
#[tokio::test]
async fn a_promotion_that_was_cut_off_is_finished_by_the_next() {
    for step in Step::ALL {
        let mut world = world();
        let staging = Publisher::new(world.root.path().join("repo/staging"), "test-staging");
        world.publish("foo", "1-1", &["foo"]).await.unwrap();
        staging.publish(&[world.member("foo", "foo", "2-1")], &expected("foo", "2-1", &["foo"])).await.unwrap();
        let sound = world.publisher.clone();
        world.publisher.stop_after = Some(step);
        let stopped = world.publisher.promote(&staging, None).await;
        // Nothing is checked again on this way.
        assert_eq!(stopped.is_ok(), step == Step::Checked);
        world.publisher = sound;
        world.publisher.promote(&staging, None).await.unwrap();
        assert_eq!(world.published(), ["foo 2-1"], "{step:?}");
        assert!(staging.current().unwrap().is_empty(), "{step:?}");
        assert_eq!(codes_in(&world.publisher), Vec::<&str>::new(), "{step:?}");
    }
}

#[derive(Debug, Clone)]
enum Deed {
    Publish(usize, u8),
    Remove(usize),
    GoBack(u64),
}

fn deeds() -> impl Strategy<Value = Vec<(Deed, Option<usize>)>> {
    let deed = prop_oneof![
        4 => (0usize..3, 1u8..4).prop_map(|(package, version)| Deed::Publish(package, version)),
        1 => (0usize..3).prop_map(Deed::Remove),
        1 => (1u64..6).prop_map(Deed::GoBack),
    ];
    proptest::collection::vec((deed, proptest::option::weighted(0.4, 0..Step::ALL.len())), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn no_generation_ever_has_a_hole_whatever_happens_when(deeds in deeds()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = world();
            let sound = world.publisher.clone().keep_generations(3);
            for (deed, cut) in deeds {
                world.publisher = sound.clone();
                world.publisher.stop_after = cut.map(|step| Step::ALL[step]);
                let before = world.published();
                let name = |package: usize| ["a", "b", "c"][package];
                let outcome = match &deed {
                    Deed::Publish(package, version) => {
                        let name = name(*package);
                        let docs = format!("{name}-docs");
                        // Every second version has another member.
                        let members: &[&str] = if version % 2 == 0 { &[name, &docs] } else { &[name] };
                        world.publish(name, &format!("{version}-1"), members).await.map(drop)
                    }
                    Deed::Remove(package) => world.publisher.remove(&[base(name(*package))]).await.map(drop),
                    Deed::GoBack(number) => world.publisher.roll_back(*number).await.map(drop),
                };
                let cut_before_swap = cut.is_some_and(|step| Step::ALL[step] != Step::Swapped);
                if outcome.is_err() && cut_before_swap {
                    assert_eq!(world.published(), before, "{deed:?}");
                }
                // A reader sees a whole repository at every moment; what lies around may wait for the next.
                if !world.published().is_empty() || sound.has_published() {
                    let findings = codes_in(&sound);
                    let holes: Vec<_> = findings.iter().filter(|code| **code != "repo-orphan").collect();
                    assert!(holes.is_empty(), "{deed:?} {cut:?}: {holes:?}");
                }
            }
            world.publisher = sound;
            world.publish("last", "1-1", &["last"]).await.unwrap();
            assert_eq!(codes_in(&world.publisher), Vec::<&str>::new());
        });
    }
}

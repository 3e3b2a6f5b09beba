//! Settings as they come out of a file, and mistakes that only the whole shows.

use std::path::Path;

use super::*;
use crate::domain::policy::Overlap;

fn load_text(text: &str) -> Settings {
    load(Some(("pkgwarden.toml", text)), &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn without_anything_one_repository_is_kept_on_this_machine() {
    let settings = load(None, &BTreeMap::new()).expect("defaults are right");
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.server.poll, Duration::from_mins(1));
    let [repository] = settings.repositories.as_slice() else { panic!("{:?}", settings.repositories) };
    assert_eq!((repository.name.as_str(), &repository.url, repository.branch.as_deref()), ("packages", &None, None));
    assert_eq!((repository.forge.kind, repository.executor.kind), (ForgeKind::Local, ExecutorKind::Local));
    assert_eq!(repository.publish.dir, PathBuf::from("/var/lib/pkgwarden/published/packages"));
    assert_eq!(repository.policy, Policy::default());
    let noon = "2026-06-01T12:00:00Z".parse().expect("a time");
    let half_past = "2026-06-01T12:30:00Z".parse().expect("a time");
    assert_eq!(repository.schedules.iter().filter_map(|schedule| schedule.next_after(noon)).min(), Some(half_past));
}

#[test]
fn what_the_monorepo_may_decide_is_left_open() {
    let repository = &load_text("").repositories[0];
    assert_eq!((repository.sources.parallel, &repository.publish.name), (None, &None));
    assert_eq!(repository.policy.human_review, None);
}

#[test]
fn a_repository_overrides_single_keys_and_keeps_the_rest() {
    let settings = load_text(
        "[sources]\nparallel = 4\ntimeout = \"2h\"\n[publish]\ndir = \"/srv/x\"\nkeep = 2\n\
         [[repository]]\nname = \"a\"\nurl = \"/srv/a.git\"\nsources.parallel = 1\npolicy.overlap = \"queue\"\n\
         [[repository]]\nname = \"b\"\nurl = \"git@h:b\"\nbranch = \"master\"\nschedule = []\n\
         publish.dir = \"/srv/b\"\n",
    );
    let [a, b] = settings.repositories.as_slice() else { panic!("{:?}", settings.repositories) };
    assert_eq!((a.sources.parallel, b.sources.parallel), (Some(1), Some(4)));
    assert_eq!((a.sources.timeout, b.sources.timeout), (Duration::from_hours(2), Duration::from_hours(2)));
    assert_eq!((a.policy.overlap, b.policy.overlap), (Overlap::Queue, Overlap::Coalesce));
    assert_eq!((a.schedules.len(), b.schedules.len()), (1, 0));
    assert_eq!((a.branch.as_deref(), b.branch.as_deref()), (None, Some("master")));
    assert_eq!((a.publish.keep, b.publish.keep), (2, 2));
}

#[test]
fn builds_of_several_repositories_are_set_up_once() {
    let two = |first: &str, second: &str| {
        let text = format!(
            "[[repository]]\nname = \"a\"\nurl = \"a\"\n{first}\n[[repository]]\nname = \"b\"\nurl = \"b\"\n{second}\n"
        );
        load(Some(("pkgwarden.toml", &text)), &BTreeMap::new()).map(drop).map_err(|error| error.to_string())
    };
    let differs = two("", "executor.slots = 3").expect_err("one of them would not count");
    assert_eq!(
        differs,
        "pkgwarden.toml:8:1: this version runs all builds alike, and those of `a` have other settings; set them once, in \
         [executor]"
    );
    assert_eq!(two("executor.slots = 3", "executor.slots = 3"), Ok(()));
    assert_eq!(two("executor.kind = \"none\"", "executor.slots = 3"), Ok(()));
}

#[test]
fn the_builds_of_a_fleet_are_bounded_where_that_is_written() {
    let slots = |text: &str| load_text(&format!("[executor]\n{text}")).repositories[0].executor.slots;
    assert_eq!(slots(""), 1);
    assert_eq!(slots("kind = \"bullmq\""), usize::MAX, "its builders count");
    assert_eq!(slots("kind = \"bullmq\"\nslots = 16"), 16);
}

#[test]
fn two_repositories_never_share_a_directory_by_accident() {
    let settings = load_text(
        "[publish]\ndir = \"/srv/x\"\n[[repository]]\nname = \"a\"\nurl = \"a\"\n\
         [[repository]]\nname = \"b\"\nurl = \"b\"\n",
    );
    let dirs: Vec<_> = settings.repositories.iter().map(|repository| repository.publish.dir.as_path()).collect();
    assert_eq!(dirs, [Path::new("/srv/x/a"), Path::new("/srv/x/b")]);
}

#[test]
fn without_a_mirror_each_package_is_asked_for() {
    let aur = load_text("[sources.aur]\nmirror_url = \"\"\nrpc_url = \"http://127.0.0.1:1/rpc/\"\n");
    let aur = &aur.repositories[0].sources.aur;
    assert_eq!((&aur.mirror_url, aur.prefer), (&None, AurTransport::Git));
    assert_eq!(aur.rpc_url, "http://127.0.0.1:1/rpc");
    assert_eq!(load_text("").repositories[0].sources.aur.prefer, AurTransport::Mirror);
}

#[test]
fn a_trigger_has_its_own_schedule() {
    let text =
        "[[schedule]]\ncron = \"0 4 * * *\"\ntimezone = \"Europe/Berlin\"\nrun = \"trigger\"\nname = \"daily\"\n";
    let settings = load_text(text);
    let [schedule] = settings.repositories[0].schedules.as_slice() else { panic!("one schedule") };
    assert_eq!(schedule.run, ScheduledRun::Trigger("daily".into()));
    let after = "2026-07-01T00:00:00Z".parse().expect("a time");
    assert_eq!(schedule.next_after(after).map(|next| next.to_string()), Some("2026-07-01T02:00:00Z".into()));
}

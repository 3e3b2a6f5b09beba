//! Cache sets in real builds: one test for each of the requirements P1 to P12.

use std::path::PathBuf;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::*;
use crate::caches::{Action, Caches, Place, Use};
use crate::domain::cache::policy::{CachePolicy, RefClass, ReleaseCaches};
use crate::domain::cache::{Plan, Set, SetName, ready};
use crate::sys::clock::SystemClock;

/// A set of files in the home of the build.
const MODELS: &str = "[[set]]\nname = \"models\"\ninclude = [\"~/models/**\"]\nexclude = [\"~/models/*.tmp\"]\n";

/// Says what it finds, and leaves something for the next build.
const REMEMBERS: &str = "build() {\n echo \"found: $(cat ~/models/*/number 2>/dev/null || echo nothing)\"\n\
     mkdir -p ~/models/deep; echo \"$ATTEMPT\" >~/models/deep/number; echo x >~/models/y.tmp\n}";

/// Lets every build of the branch keep everything.
const OPEN: CachePolicy = CachePolicy { release: ReleaseCaches::All, proposals: true };

impl World {
    fn caches(&self) -> Caches {
        let config = LocalConfig::under(self.dir.path()).caches;
        Caches::open(config, std::sync::Arc::new(SystemClock)).unwrap()
    }

    /// An order for a package with these functions and this `.CI/cache.toml`, under the policy, at a commit of its own.
    fn caching(&self, attempt: &str, (functions, declared): (&str, &str), policy: CachePolicy) -> BuildOrder {
        let order = self.small(attempt, &format!("{}\n{PACKAGE}", functions.replace("$ATTEMPT", attempt)));
        let files = order.files.clone().with(".CI/cache.toml", declared);
        let sets = sets_in(declared);
        let commit = Oid::from_bytes([attempt.bytes().last().unwrap(); 20]);
        BuildOrder { files, commit, caches: policy.plan(sets, RefClass::Release), ..order }
    }

    fn uses(&self, attempt: &str) -> Vec<Use> {
        self.caches().uses(&[attempt.to_owned()]).unwrap()
    }

    /// What builds did with sets: `created models` and the like.
    fn did(&self, attempt: &str) -> Vec<String> {
        let said = |one: &Use| format!("{} {}", one.action.as_str(), one.entry.place.set);
        self.uses(attempt).iter().map(said).collect()
    }

    /// What the build itself said it found.
    fn found(&self, attempt: &str) -> String {
        let log = self.log(attempt);
        let found = log.lines().find_map(|line| line.strip_prefix("found: "));
        found.unwrap_or_else(|| panic!("{log}")).to_owned()
    }

    fn object(&self, attempt: &str) -> PathBuf {
        let sha256 = self.uses(attempt)[0].entry.sha256.clone();
        self.dir.path().join(format!("caches/objects/{}/{sha256}.tar.zst", &sha256[..2]))
    }
}

/// The sets that a `.CI/cache.toml` declares; whoever gives the order reads it.
fn sets_in(text: &str) -> Vec<Set> {
    let mut document: toml::Table = text.parse().unwrap();
    let sets: Vec<toml::Table> = document.remove("set").map_or_else(Vec::new, |sets| sets.try_into().unwrap());
    let set = |mut set: toml::Table| {
        let most = set.remove("max_mib").map(|mib| u64::try_from(mib.as_integer().unwrap()).unwrap() << 20);
        let most = most.unwrap_or_else(|| Set::by_hand(name("any")).max_bytes);
        set.insert("max_bytes".to_owned(), toml::Value::Integer(most.try_into().unwrap()));
        set.try_into().unwrap()
    };
    let ready: Vec<String> = document.remove("use").map_or_else(Vec::new, |names| names.try_into().unwrap());
    sets.into_iter().map(set).chain(ready.iter().map(|name| ready::set(name).unwrap())).collect()
}

/// The same, as a test build of a proposal.
fn proposed(number: u64, order: BuildOrder) -> BuildOrder {
    let sets = sets_in(&String::from_utf8_lossy(order.files.get(".CI/cache.toml").unwrap()));
    let caches = OPEN.plan(sets, RefClass::Proposal(number));
    BuildOrder { proposal: Some(number), caches, ..order }
}

/// Lines of a log that are about caches.
fn about_caches(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("cache")).collect()
}

fn name(name: &str) -> SetName {
    SetName::new(name).unwrap()
}

#[tokio::test]
async fn p1_without_a_declaration_a_build_begins_with_nothing() {
    let world = World::new();
    for attempt in ["a1", "a2"] {
        world.succeed(world.caching(attempt, (REMEMBERS, ""), OPEN)).await;
        assert_eq!((world.found(attempt).as_str(), world.did(attempt)), ("nothing", vec![]));
    }
    assert_eq!(world.caches().list().unwrap(), []);
}

#[tokio::test]
async fn p2_declared_globs_and_commands_drive_one_mechanism() {
    let world = World::new();
    world.succeed(world.caching("a1", (REMEMBERS, MODELS), OPEN)).await;
    let by_hand = "build() {\n pkgwarden-cache restore deps\n echo \"found: $(cat ~/deps/x src.txt 2>/dev/null || echo nothing)\"\n\
         mkdir -p ~/deps; echo kept >~/deps/x; echo mine >src.txt; pkgwarden-cache save deps ~/deps src.txt\n}";
    world.succeed(world.caching("a2", (by_hand, ""), OPEN)).await;
    world.succeed(world.caching("a3", (by_hand, ""), OPEN)).await;
    assert_eq!(
        (world.did("a1"), world.did("a2")),
        (vec!["created models".to_owned()], vec!["created deps".to_owned()])
    );
    assert_eq!((world.found("a2").as_str(), world.found("a3").as_str()), ("nothing", "kept"), "{}", world.log("a3"));
    assert_eq!(world.did("a3"), ["used deps"], "what is there stays: {}", world.log("a3"));
    let told = world.executor.caches_of(&handle("a3")).await;
    let used = world.uses("a3").remove(0).entry;
    assert_eq!(told.iter().map(|one| (one.action, &one.sha256)).collect::<Vec<_>>(), [(Action::Used, &used.sha256)]);
    // Both are found in one list, by keys of one kind.
    let listed = world.caches().list().unwrap();
    assert_eq!(listed.iter().map(|entry| entry.key.len()).collect::<Vec<_>>(), [64, 64]);
}

#[tokio::test]
async fn p3_what_a_failing_build_saves_is_discarded() {
    let world = World::new();
    let failing = format!("{}\n", REMEMBERS.replace("\n}", "\npkgwarden-cache save deps ~/models\nfalse\n}"));
    let report = world.build(world.caching("a1", (&failing, MODELS), OPEN)).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed));
    assert!(world.log("a1").contains("to be saved if this build succeeds"), "{}", world.log("a1"));
    assert_eq!((world.caches().list().unwrap(), world.did("a1")), (vec![], vec![]));
    let incoming = fs::read_dir(world.dir.path().join("caches/incoming")).unwrap();
    assert_eq!(incoming.count(), 0, "nothing of it is left");
    world.succeed(world.caching("a2", (REMEMBERS, MODELS), OPEN)).await;
    assert_eq!(world.found("a2"), "nothing");
}

#[tokio::test]
async fn p4_a_set_is_restored_before_the_build_at_its_paths_and_its_absence_is_no_error() {
    let world = World::new();
    let keeps = "prepare() { echo \"found: $(cat ~/models/deep/number || echo nothing) $(ls ~/models 2>/dev/null)\"\n\
         mkdir -p ~/models/deep; echo 1 >~/models/deep/number; chmod 700 ~/models/deep/number\n\
         ln -sf deep/number ~/models/link; ln ~/models/deep/number ~/models/hard 2>/dev/null || true; }";
    world.succeed(world.caching("a1", (keeps, MODELS), OPEN)).await;
    assert!(world.log("a1").contains("cache: models: there is nothing to restore"), "{}", world.log("a1"));
    let looks = "prepare() { echo \"found: $(cat ~/models/link) $(stat -c '%u %a' ~/models/deep/number)\"; }";
    world.succeed(world.caching("a2", (looks, MODELS), OPEN)).await;
    assert_eq!(world.found("a2"), "1 1000 700", "{}", world.log("a2"));
}

#[tokio::test]
async fn p5_errors_are_told_and_fail_only_a_build_that_requires_the_set() {
    let world = World::new();
    let large = "build() { mkdir -p ~/models; head -c 3000000 /dev/urandom >~/models/x; }";
    let declared = format!("{MODELS}max_mib = 1\n");
    world.succeed(world.caching("a1", (large, &declared), OPEN)).await;
    let log = world.log("a1");
    assert!(log.contains("cache: warning: cannot save the cache set `models`"), "{log}");
    let report = world.build(world.caching("a2", (large, &format!("{declared}required = true\n")), OPEN)).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed), "{report:?}");
    assert!(report.message.contains("cannot save the cache set `models`"), "{report:?}");
    let by_hand = "build() { mkdir -p ~/models; head -c 3000000 /dev/urandom >~/models/x\n\
         pkgwarden-cache save models ~/models; echo \"found: $?\"; }";
    let declared = "[[set]]\nname = \"models\"\nmax_mib = 1\n";
    world.succeed(world.caching("a3", (by_hand, declared), OPEN)).await;
    assert_eq!(world.found("a3"), "0", "{}", world.log("a3"));
    let report = world.build(world.caching("a4", (by_hand, &format!("{declared}required = true\n")), OPEN)).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed), "{}", world.log("a4"));
}

#[tokio::test]
async fn p6_what_a_proposal_saves_is_never_restored_into_a_release() {
    let world = World::new();
    let order = |attempt| world.caching(attempt, (REMEMBERS, MODELS), OPEN);
    world.succeed(proposed(1, order("p1"))).await;
    world.succeed(order("a1")).await;
    world.succeed(proposed(1, order("p2"))).await;
    world.succeed(proposed(2, order("p3"))).await;
    let found = |attempt| world.found(attempt);
    assert_eq!((found("a1").as_str(), found("p2").as_str(), found("p3").as_str()), ("nothing", "p1", "a1"));
    // By default a release finds and saves nothing but sources.
    let closed = world.caching("a2", (REMEMBERS, MODELS), CachePolicy::default());
    assert_eq!(closed.caches, Plan::default());
    world.succeed(closed).await;
    assert_eq!((found("a2").as_str(), world.did("a2")), ("nothing", vec![]));
    let asks = "build() { pkgwarden-cache save deps ~/x; pkgwarden-cache restore deps; echo \"found: $?\"; }";
    world.succeed(world.caching("a3", (asks, ""), CachePolicy::default())).await;
    assert!(world.log("a3").contains("caches are off for this build") && found("a3") == "0", "{}", world.log("a3"));
    let sources = world.caching("a4", (REMEMBERS, "use = [\"srcdest\", \"ccache\"]"), CachePolicy::default());
    assert_eq!(sources.caches.sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>(), ["srcdest"]);
}

/// `build()` is where upstream's code runs; what it leaves among the sources may be anything.
#[tokio::test]
async fn what_a_build_makes_of_its_sources_no_later_build_finds() {
    let world = World::new();
    let served = served("tarball").await;
    let sum = crate::domain::cache::key::hex(&<sha2::Sha256 as sha2::Digest>::digest("tarball"));
    let lines = |build: &str| {
        format!(
            "source=(a.txt::http://{served}/a http://{served}/b.sig)\nsha256sums=({sum} SKIP)\n\
             DLAGENTS=('http::/usr/bin/curl -sS -o %o %u')\n\
             build() {{ {build}; }}\n{PACKAGE}"
        )
    };
    let order = |attempt: &str, lines: &str| {
        let commit = Oid::from_bytes([attempt.bytes().last().unwrap(); 20]);
        BuildOrder { cache_sources: true, commit, ..world.small(attempt, lines) }
    };
    let poison = "mkdir -p $SRCDEST/upstream/hooks; echo evil >$SRCDEST/upstream/config; echo evil >$SRCDEST/a.txt\n\
         echo evil >$SRCDEST/b.sig; echo evil >$SRCDEST/other";
    world.succeed(order("a1", &lines(poison))).await;
    let looks = "echo \"found: $(cd $SRCDEST; ls | tr '\\n' ' ') $(cat $SRCDEST/a.txt)\"";
    world.succeed(order("a2", &lines(looks))).await;
    assert_eq!(world.found("a2"), "a.txt b.sig  tarball", "{}", world.log("a2"));
    assert_eq!(world.did("a2"), ["used srcdest"], "{}", world.log("a2"));
    let entry = &world.uses("a2")[0].entry;
    assert_eq!((entry.content.members, entry.content.bytes), (1, 7), "a file without a sum is fetched anew");
    assert!(world.log("a2").contains("Found a.txt"), "{}", world.log("a2"));
    assert!(world.log("a2").contains("Downloading b.sig"), "{}", world.log("a2"));
}

/// What was kept under a policy that lets everything through, or by an older program, is not believed either.
#[tokio::test]
async fn repositories_and_files_without_a_sum_are_not_restored_where_sources_have_to_be_verified() {
    let world = World::new();
    let lines = "build() { echo \"found: $(cd $SRCDEST; find . -mindepth 1 | tr '\\n' ' ')\"; }";
    let fetches = "mkdir -p $SRCDEST/upstream; echo evil >$SRCDEST/upstream/config; echo evil >$SRCDEST/planted";
    let declared = "use = [\"srcdest\"]";
    world.succeed(world.caching("a1", (&format!("{fetches}\n{lines}"), declared), OPEN)).await;
    assert_eq!(world.did("a1"), ["created srcdest"], "{}", world.log("a1"));
    world.succeed(world.caching("a2", (lines, declared), CachePolicy::default())).await;
    assert_eq!((world.did("a2"), world.found("a2").as_str()), (vec!["used srcdest".to_owned()], ""));
}

#[tokio::test]
async fn a_build_that_asks_without_end_is_told_so_and_comes_to_its_own() {
    let world = World::new();
    let asks = "build() { for _ in {1..205}; do pkgwarden-cache restore none; done; echo \"found: an end\"; }";
    let order = world.caching("a1", (asks, ""), OPEN);
    world.succeed(BuildOrder { timeout: Duration::from_mins(5), ..order }).await;
    assert_eq!(world.found("a1"), "an end");
    let log = world.log("a1");
    assert_eq!(log.matches("none: there is nothing to restore").count(), 200, "{log}");
    assert_eq!(log.matches("has asked more than 200 times").count(), 5, "{log}");
}

/// Serves these bytes under every path, for as long as the test runs.
async fn served(bytes: &'static str) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await;
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{bytes}", bytes.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn p7_after_an_invalidation_no_build_finds_the_old_set_not_even_one_under_way() {
    let world = World::with(2, crate::logstore::DEFAULT_LIMIT);
    let order = |attempt| world.caching(attempt, (REMEMBERS, MODELS), OPEN);
    world.succeed(order("a1")).await;
    // One that has begun, and has not come to its sets yet: its sources are still being fetched.
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let waits = format!(
        "source=(http://{}/x)\nsha256sums=(SKIP)\nDLAGENTS=('http::/usr/bin/curl -sS -o %o %u')\n{REMEMBERS}",
        gate.local_addr().unwrap()
    );
    let underway = world.executor.submit(world.caching("a2", (&waits, MODELS), OPEN)).await.unwrap();
    let (mut asked, _) = gate.accept().await.unwrap();
    assert_eq!(world.caches().invalidate(&name("models"), Some("mine"), Some("small")).unwrap(), 1);
    let mut request = BufReader::new(&mut asked).lines();
    while request.next_line().await.unwrap().is_some_and(|line| !line.is_empty()) {}
    asked.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx").await.unwrap();
    drop(asked);
    let report = world.executor.finished(&underway).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{}", world.log("a2"));
    assert_eq!((world.found("a2").as_str(), world.did("a2")), ("nothing", vec![]), "{}", world.log("a2"));
    assert!(world.log("a2").contains("it was invalidated during this build"), "{}", world.log("a2"));
    world.succeed(order("a3")).await;
    world.succeed(order("a4")).await;
    assert_eq!((world.found("a3").as_str(), world.found("a4").as_str()), ("nothing", "a3"));
    // Another epoch, another file, another tool: another key.
    for (attempt, more) in [("a5", "epoch = 1"), ("a6", "files = [\"PKGBUILD\"]"), ("a7", "tools = [\"bash\"]")] {
        world.succeed(world.caching(attempt, (REMEMBERS, &format!("{MODELS}{more}\n")), OPEN)).await;
        assert_eq!(world.found(attempt), "nothing", "{more}");
    }
}

/// The machine has never heard of it: a builder elsewhere.
#[tokio::test]
async fn what_was_condemned_by_whoever_gives_the_order_is_found_by_no_build() {
    let world = World::new();
    let order = |attempt, condemned| {
        let order = world.caching(attempt, (REMEMBERS, MODELS), OPEN);
        BuildOrder { caches: Plan { condemned, ..order.caches.clone() }, ..order }
    };
    for (attempt, condemned, found) in [("a1", 0, "nothing"), ("a2", 0, "a1"), ("a3", 1, "nothing"), ("a4", 1, "a3")] {
        world.succeed(order(attempt, condemned)).await;
        assert_eq!(world.found(attempt), found, "{attempt}");
    }
    let invalidated = |order: BuildOrder, set| BuildOrder {
        caches: Plan { invalidated: [(name(set), 1)].into(), ..order.caches.clone() },
        ..order
    };
    world.succeed(invalidated(order("a5", 1), "others")).await;
    world.succeed(invalidated(order("a6", 1), "models")).await;
    assert_eq!((world.found("a5").as_str(), world.found("a6").as_str()), ("a3", "nothing"), "P7, also elsewhere");
}

/// What another build is about to save takes all the room there is.
#[tokio::test]
async fn a_build_is_not_thrown_away_because_there_is_no_room_for_a_set_even_if_it_is_required() {
    let mut world = World::new();
    let config = LocalConfig::under(world.dir.path());
    let caches = crate::caches::CacheConfig { quota: 40_000, ..config.caches.clone() };
    world.executor =
        LocalExecutor::open(LocalConfig { installed: None, caches, ..config }, world.logs.clone()).unwrap();
    fs::write(world.dir.path().join("caches/incoming/of another"), vec![0; 39_000]).unwrap();
    let (large, required) = ("head -c 15000 /dev/urandom", format!("{MODELS}required = true\n"));
    let by_itself = format!("build() {{ mkdir -p ~/models; {large} >~/models/x; }}");
    let report = world.succeed(world.caching("a1", (&by_itself, &required), OPEN)).await;
    assert_eq!(report.artefacts.len(), 1);
    let log = world.log("a1");
    assert!(log.contains("cache: warning: cannot save the cache set `models`: builds are about to save"), "{log}");
    let by_hand = format!("build() {{ {large} >x; pkgwarden-cache save deps x; echo \"found: $?\"; }}");
    world.succeed(world.caching("a2", (&by_hand, "[[set]]\nname = \"deps\"\nrequired = true\n"), OPEN)).await;
    assert_eq!((world.found("a2").as_str(), world.did("a2")), ("0", vec![]), "{}", world.log("a2"));
}

#[tokio::test]
async fn p8_of_builds_at_once_the_first_one_saves_and_its_archive_never_changes() {
    let world = World::with(3, crate::logstore::DEFAULT_LIMIT);
    let order = |attempt| world.caching(attempt, (REMEMBERS, MODELS), OPEN);
    let builds = ["a1", "a2", "a3"].map(|attempt| world.succeed(order(attempt)));
    futures_util::future::join_all(builds).await;
    let created: Vec<_> = ["a1", "a2", "a3"]
        .into_iter()
        .filter(|attempt| world.did(attempt).contains(&"created models".to_owned()))
        .collect();
    let [first] = created.as_slice() else { panic!("{created:?}") };
    let bytes = fs::read(world.object(first)).unwrap();
    world.succeed(order("a4")).await;
    assert_eq!(world.found("a4"), *first);
    assert_eq!(fs::read(world.object(first)).unwrap(), bytes);
}

#[tokio::test]
async fn p9_the_record_tells_what_was_used_and_created_and_damage_is_found() {
    let mut world = World::new();
    for attempt in ["a1", "a2"] {
        world.succeed(world.caching(attempt, (REMEMBERS, MODELS), OPEN)).await;
    }
    world.reopen(crate::domain::signature::Verification::default());
    let (created, used) = (world.uses("a1").remove(0), world.uses("a2").remove(0));
    assert_eq!((created.action, used.action), (Action::Created, Action::Used));
    assert_eq!((&used.entry.key, &used.entry.sha256), (&created.entry.key, &created.entry.sha256));
    assert_eq!((used.entry.origin.as_str(), used.kept), ("a1", true));
    assert_eq!(used.entry.place, Place { repository: "mine".into(), pkgbase: "small".into(), set: name("models") });
    let object = world.object("a1");
    let mut bytes = fs::read(&object).unwrap();
    assert_eq!(created.entry.size, bytes.len() as u64);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&object, bytes).unwrap();
    world.succeed(world.caching("a3", (REMEMBERS, MODELS), OPEN)).await;
    assert_eq!((world.found("a3").as_str(), world.did("a3")), ("nothing", vec!["created models".to_owned()]));
    assert!(
        world.log("a3").contains("cache: warning: cannot restore the cache set `models`: what was saved is damaged")
    );
}

#[tokio::test]
async fn p10_what_was_unused_for_longest_goes_and_never_what_is_used() {
    let mut world = World::new();
    let config = LocalConfig::under(world.dir.path());
    let caches = crate::caches::CacheConfig { quota: 40_000, ..config.caches.clone() };
    world.executor =
        LocalExecutor::open(LocalConfig { installed: None, caches, ..config }, world.logs.clone()).unwrap();
    let keeps = |set: &str| {
        let build = format!(
            "build() {{ echo found: $(ls ~/{set} 2>/dev/null); mkdir -p ~/{set}; head -c 15000 /dev/urandom >~/{set}/x; }}"
        );
        (build, format!("[[set]]\nname = \"{set}\"\ninclude = [\"~/{set}/**\"]\n"))
    };
    for (attempt, set) in [("a1", "one"), ("a2", "two"), ("a3", "one"), ("a4", "three")] {
        let (build, declared) = keeps(set);
        world.succeed(world.caching(attempt, (&build, &declared), OPEN)).await;
    }
    let left: Vec<String> = world.caches().list().unwrap().iter().map(|entry| entry.place.set.to_string()).collect();
    assert_eq!(left, ["three", "one"], "`two` was unused for longest");
    assert_eq!(world.found("a3"), "x");
}

#[tokio::test]
async fn p11_nothing_in_an_archive_leads_out_of_the_build() {
    let world = World::new();
    let evil = "build() {\n mkdir -p ~/models ~/deps; echo x >~/models/ok; echo x >~/deps/ok; ln -s /etc ~/models/link\n\
         ln -s ../../../etc/passwd ~/deps/link; pkgwarden-cache save deps ~/deps; pkgwarden-cache save etc /etc/passwd\n\
         pkgwarden-cache save up ~/../../startdir/PKGBUILD; pkgwarden-cache save ../x ~/deps/ok\n\
         pkgwarden-cache save srcdest ~/deps/ok; echo /pkgwarden/bell >/pkgwarden/requests/x.words; echo x >/pkgwarden/bell\n\
         ln -s /etc/shadow /pkgwarden/requests/y.words; echo y >/pkgwarden/bell; echo ../../etc >/pkgwarden/bell\n\
         touch /pkgwarden/answers/z && echo written; rm -f /pkgwarden/bell && echo removed; true\n}";
    world.succeed(world.caching("a1", (evil, MODELS), OPEN)).await;
    let log = world.log("a1");
    assert_eq!((world.caches().list().unwrap(), world.did("a1")), (vec![], vec![]), "{log}");
    assert!(!log.contains("\nwritten") && !log.contains("\nremoved"), "{log}");
    assert!(
        log.contains("is a symbolic link that leads out") && log.contains("is not in a place that builds may keep"),
        "{log}"
    );
    assert!(log.contains("ready-made set") && log.contains("cannot be the name of a cache set"), "{log}");
}

#[tokio::test]
async fn p12_the_log_tells_time_and_bytes() {
    let world = World::new();
    for attempt in ["a1", "a2"] {
        world.succeed(world.caching(attempt, (REMEMBERS, MODELS), OPEN)).await;
    }
    let told = |attempt: &str| {
        let log = world.log(attempt);
        about_caches(&log).join("\n")
    };
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d+\.\d\d s", "[time]");
    settings.add_filter(r"\d+ bytes packed", "[size] bytes packed");
    settings.add_filter(r"(key|sha256) [0-9a-f]{12}", "$1 [hex]");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "[when]");
    settings.bind(|| {
        insta::assert_snapshot!(told("a1"), @r"
        ==> cache: models: there is nothing to restore
        ==> cache: models: saved 3 bytes in 3 files ([size] bytes packed), key [hex], sha256 [hex], in [time]
        ");
        insta::assert_snapshot!(told("a2"), @r"
        ==> cache: models: restored 3 bytes in 3 files ([size] bytes packed), key [hex], sha256 [hex] in [time]; saved at [when] UTC by a1
        ==> cache: models: what was restored stays: it has the same key or content, in [time]
        ");
    });
}

/// What the tests above prove, for whoever reads their output.
#[test]
fn a_table_of_the_requirements() {
    let text = include_str!("caching.rs");
    let proofs: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("async fn p")?.split('(').next()).collect();
    println!("| requirement | shown by |\n|---|---|");
    for (number, proof) in (1..).zip(&proofs) {
        println!("| P{number} | `p{proof}` |");
        assert!(proof.starts_with(&format!("{number}_")), "{proof}");
    }
    assert_eq!(proofs.len(), 12);
}

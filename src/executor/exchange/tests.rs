//! What builders bring, and what becomes of it, also over restarts.

use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::builder::bundle::unbundle;
use crate::builder::pacman::PackageRepository;
use crate::domain::folder::Folder;
use crate::domain::upload::{Bulk, Checksum, Put};
use crate::executor::testing;

const NAME: &str = "foo-1-1-any.pkg.tar.zst";
const SRCINFO: &str = "pkgbase = foo\n\tpkgver = 1\n\tpkgrel = 1\n\tarch = any\n\npkgname = foo\n";
const OTHER: &str = "foo-2-1-any.pkg.tar.zst";

/// A controller's exchange, with one attempt.
struct World {
    dir: tempfile::TempDir,
    logs: LogStore,
    exchange: Exchange,
}

impl World {
    fn new() -> Self {
        Self::with_limits(Limits { file: 100, attempt: 150, files: 3 })
    }

    fn with_limits(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (logs, exchange) = Self::open(dir.path());
        let exchange = exchange.with_limits(limits);
        exchange.admit(&order("1-1-a")).unwrap();
        Self { dir, logs, exchange }
    }

    fn open(dir: &Path) -> (LogStore, Exchange) {
        let logs = LogStore::with_limit(dir.join("logs"), 40).unwrap();
        let key = Key::keep(&dir.join("key")).unwrap();
        let published = BTreeMap::from([(dir.join("repo"), "mine".to_owned())]);
        let exchange = Exchange::open(dir.join("attempts"), logs.clone(), key, published).unwrap();
        (logs, exchange)
    }

    /// The controller ends without a word, and another one begins.
    fn restart(self) -> Self {
        let dir = self.dir;
        let (logs, exchange) = Self::open(dir.path());
        Self { dir, logs, exchange }
    }

    async fn put(&self, name: &str, put: &Put, pieces: &[&[u8]]) -> Result<Received, Refusal> {
        let body = pieces.iter().map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece))).collect::<Vec<_>>();
        refusal(self.exchange.receive("1-1-a", name, put, stream::iter(body)).await)
    }

    /// What is left in the directory of the attempt beside what every attempt has.
    fn left(&self) -> Vec<String> {
        let all = ["parts", "done", "promised"].map(|place| {
            let entries = fs::read_dir(self.dir.path().join("attempts/1-1-a").join(place)).unwrap();
            entries.map(move |entry| format!("{place}/{}", entry.unwrap().file_name().display())).collect::<Vec<_>>()
        });
        all.concat()
    }
}

fn refusal<T>(result: Result<T, ExchangeError>) -> Result<T, Refusal> {
    result.map_err(|error| match error {
        ExchangeError::Refused(refusal) => refusal,
        error => panic!("{error}"),
    })
}

fn order(attempt: &str) -> BuildOrder {
    let server = |server| PackageRepository { name: "x".into(), server, sig_level: None, keys: None };
    BuildOrder {
        files: Folder::default().with("PKGBUILD", "pkgname=foo\n").with(".SRCINFO", SRCINFO),
        package_repositories: vec![
            server(Server::Directory("/srv/repo".into())),
            server(Server::Directory("/srv/trials/7".into())),
            server(Server::Url("https://mirror.example/$repo".into())),
        ],
        ..testing::order(attempt)
    }
}

fn checksum(bytes: &[u8]) -> Checksum {
    let header = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(bytes)));
    Checksum::from_header(&header).unwrap()
}

fn whole(bytes: &[u8]) -> Put {
    Put { range: None, total: None, checksum: checksum(bytes) }
}

fn part(first: u64, end: u64, all: &[u8]) -> Put {
    Put { range: Some(first..end), total: Some(all.len() as u64), checksum: checksum(all) }
}

fn claim(name: &str, bytes: &[u8]) -> ArtefactClaim {
    ArtefactClaim { name: name.into(), size: bytes.len() as u64, sha256: checksum(bytes).to_string() }
}

#[tokio::test]
async fn a_file_arrives_in_parts_over_restarts_and_is_given_out_as_it_was() {
    let all = b"0123456789";
    let world = World::new();
    assert_eq!(world.put(NAME, &part(0, 4, all), &[b"01", b"23"]).await, Ok(Received::Part(4)));
    let world = world.restart();
    let held = world.exchange.held("1-1-a", NAME).unwrap().unwrap();
    assert_eq!((held.received, held.complete), (4, false));
    assert_eq!(world.put(NAME, &part(6, 10, all), &[b"6789"]).await, Err(Refusal::Elsewhere { at: 4 }));
    assert_eq!(world.put(NAME, &part(4, 10, all), &[b"456789"]).await, Ok(Received::Complete));
    let world = world.restart();
    assert_eq!(world.put(NAME, &whole(all), &[all]).await, Ok(Received::Known));
    let made = world.exchange.artefacts("1-1-a", &[claim(NAME, all)]).unwrap();
    assert_eq!((fs::read(&made[0].path).unwrap(), made[0].size), (all.to_vec(), 10));
    assert_eq!(world.left(), [format!("done/{NAME}"), format!("promised/{NAME}")]);
    world.exchange.close("1-1-a").await.unwrap();
    assert_eq!(fs::read_dir(world.dir.path().join("attempts")).unwrap().count(), 0);
    assert_eq!(world.put(NAME, &whole(all), &[all]).await, Err(Refusal::Over));
}

#[tokio::test]
async fn all_of_a_file_that_was_not_checked_before_the_end_is_asked_for_its_last_byte() {
    let all = b"0123456789";
    let world = World::new();
    world.put(NAME, &part(0, 9, all), &[&all[..9]]).await.unwrap();
    fs::write(world.dir.path().join("attempts/1-1-a/parts").join(NAME), all).unwrap();
    let world = world.restart();
    assert_eq!(world.exchange.held("1-1-a", NAME).unwrap().unwrap().received, 9);
    assert_eq!(world.put(NAME, &part(9, 10, all), &[b"9"]).await, Ok(Received::Complete));
}

#[tokio::test]
async fn what_is_not_what_it_was_said_to_be_is_dropped() {
    let world = World::new();
    let found = checksum(b"evil");
    let lie = Refusal::Lie { name: NAME.into(), found };
    assert_eq!(world.put(NAME, &whole(b"good"), &[b"evil"]).await, Err(lie.clone()));
    // A part that is called all of it.
    let truncated = Put { total: Some(4), ..part(0, 4, b"evil twin") };
    assert_eq!(world.put(NAME, &truncated, &[b"evil"]).await, Err(lie));
    assert_eq!(world.left(), [""; 0]);
    assert_eq!(world.exchange.held("1-1-a", NAME).unwrap(), None);
    assert_eq!(world.put(NAME, &whole(b"good"), &[b"good"]).await, Ok(Received::Complete));
    let settled = Refusal::Settled { name: NAME.into(), checksum: checksum(b"good") };
    assert_eq!(world.put(NAME, &whole(b"evil"), &[b"evil"]).await, Err(settled));
}

#[tokio::test]
async fn nothing_grows_beyond_its_limits_however_it_is_sent() {
    let world = World::new();
    let large = |what, limit| Err(Refusal::TooLarge { what, limit });
    assert_eq!(world.put(NAME, &part(0, 101, &[0; 101]), &[]).await, large(Bulk::File, 100));
    let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(b"more ")));
    let came = refusal(world.exchange.receive("1-1-a", NAME, &whole(b""), endless).await);
    assert_eq!(came, large(Bulk::File, 100));
    assert_eq!(world.exchange.held("1-1-a", NAME).unwrap().unwrap().received, 100, "what came is known");
    assert_eq!(world.put(OTHER, &whole(&[1; 60]), &[&[1; 60]]).await, large(Bulk::Attempt, 150));
    let longer = world.put(OTHER, &part(0, 2, b"abc"), &[b"abc"]).await;
    assert!(matches!(longer, Err(Refusal::Broken(_))), "{longer:?}");
    world.put("foo-3-1-any.pkg.tar.zst", &part(0, 1, b"abc"), &[b"a"]).await.unwrap();
    let fourth = world.put("foo-4-1-any.pkg.tar.zst", &part(0, 1, b"abc"), &[b"a"]).await;
    assert_eq!(fourth, Err(Refusal::TooMany(3)));
}

#[tokio::test]
async fn a_body_that_does_not_come_on_ends_and_what_came_is_kept() {
    let world = World::new();
    let patience = Patience { idle: Duration::from_millis(20), request: Duration::from_mins(1) };
    let exchange = world.exchange.clone().with_patience(patience);
    let begun = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"012"))]).chain(stream::pending());
    let came = refusal(exchange.receive("1-1-a", NAME, &part(0, 9, b"0123456789"), begun).await);
    assert_eq!(came, Err(Refusal::Slow));
    assert_eq!(exchange.held("1-1-a", NAME).unwrap().unwrap().received, 3);
    // A byte now and then does not hold it up for ever either.
    let patience = Patience { idle: Duration::from_mins(1), request: Duration::from_millis(20) };
    let exchange = world.exchange.clone().with_patience(patience);
    let drops = stream::unfold((), |()| async {
        tokio::task::yield_now().await;
        Some((Ok::<_, Infallible>(Bytes::new()), ()))
    });
    let came = refusal(exchange.receive("1-1-a", OTHER, &part(0, 9, b"0123456789"), drops).await);
    assert_eq!(came, Err(Refusal::Slow));
}

#[tokio::test]
async fn who_brings_a_file_again_takes_the_place_of_a_request_that_hangs() {
    let world = World::new();
    let all = b"0123456789";
    let (sender, body) = tokio::sync::mpsc::unbounded_channel();
    let body = stream::unfold(body, |mut body| async { body.recv().await.map(|piece| (piece, body)) });
    let (exchange, put) = (world.exchange.clone(), part(0, 10, all));
    let hanging = tokio::spawn(async move { refusal(exchange.receive("1-1-a", NAME, &put, body).await) });
    sender.send(Ok::<_, Infallible>(Bytes::from_static(b"012"))).unwrap();
    while world.exchange.held("1-1-a", NAME).unwrap().is_none_or(|held| held.received < 3) {
        tokio::task::yield_now().await;
    }
    let at = world.put(NAME, &part(0, 10, all), &[all]).await;
    assert_eq!(at, Err(Refusal::Elsewhere { at: 3 }));
    assert_eq!(hanging.await.unwrap(), Err(Refusal::Overtaken));
    assert_eq!(world.put(NAME, &part(3, 10, all), &[&all[3..]]).await, Ok(Received::Complete));
}

#[tokio::test]
async fn the_end_of_an_attempt_ends_what_is_on_its_way() {
    let world = World::new();
    let (exchange, put) = (world.exchange.clone(), part(0, 10, b"0123456789"));
    let endless = stream::pending::<Result<Bytes, Infallible>>();
    let hanging = tokio::spawn(async move { refusal(exchange.receive("1-1-a", NAME, &put, endless).await) });
    while world.exchange.held("1-1-a", NAME).unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let mut wish = world.exchange.wish("1-1-a").unwrap();
    world.exchange.close("1-1-a").await.unwrap();
    assert_eq!(hanging.await.unwrap(), Err(Refusal::Over));
    assert!(wish.changed().await.is_err());
    assert_eq!(fs::read_dir(world.dir.path().join("attempts")).unwrap().count(), 0);
}

#[tokio::test]
async fn only_what_was_told_is_given_out_and_only_if_all_of_it_is_there() {
    let world = World::new();
    world.put(NAME, &whole(b"one"), &[b"one"]).await.unwrap();
    world.put(OTHER, &part(0, 2, b"two"), &[b"tw"]).await.unwrap();
    let given = |told: &[ArtefactClaim]| refusal(world.exchange.artefacts("1-1-a", told)).map(|given| given.len());
    assert_eq!(given(&[claim(NAME, b"one")]), Ok(1));
    assert_eq!(given(&[]), Ok(0));
    let untrue: [&[ArtefactClaim]; 4] = [
        &[claim(NAME, b"one"), claim(OTHER, b"two")],
        &[claim(NAME, b"one"), claim(NAME, b"one")],
        &[claim(NAME, b"six")],
        &[ArtefactClaim { size: 4, ..claim(NAME, b"one") }],
    ];
    for told in untrue {
        assert!(matches!(given(told), Err(Refusal::Untrue(_))), "{told:?}");
    }
    for name in ["glibc-9-1-any.pkg.tar.zst", "../../key", "/etc/passwd", "foo-1-1-any.pkg.tar.zst/../x", ""] {
        assert_eq!(given(&[claim(name, b"one")]), Err(Refusal::Foreign(name.into())));
        assert_eq!(world.put(name, &whole(b"one"), &[b"one"]).await, Err(Refusal::Foreign(name.into())));
    }
    let long = format!("foo-{}-1-any.pkg.tar.zst", "1".repeat(300));
    assert_eq!(world.put(&long, &whole(b"one"), &[b"one"]).await, Err(Refusal::Foreign(long)));
}

#[tokio::test]
async fn a_log_has_every_byte_once_whatever_is_sent_again_and_never_more_than_it_may() {
    let world = World::new();
    world.logs.writer("1-1-b").unwrap().note("by somebody").unwrap();
    world.exchange.admit(&order("1-1-b")).unwrap();
    let add = async |offset, bytes: &[u8]| refusal(world.exchange.append_log("1-1-b", offset, bytes).await);
    assert_eq!(add(0, b"one\n").await, Ok(4));
    assert_eq!(add(2, b"e\ntwo\n").await, Ok(8));
    assert_eq!(add(0, b"one").await, Ok(8));
    assert_eq!(add(9, b"four\n").await, Err(Refusal::Elsewhere { at: 8 }));
    let log = || String::from_utf8(world.logs.read("1-1-b", 0, 999).unwrap()).unwrap();
    assert_eq!(log(), "==> by somebody\none\ntwo\n");
    let full = Err(Refusal::TooLarge { what: Bulk::Log, limit: 40 });
    assert_eq!(add(8, &[b'x'; 99]).await, full);
    let length = log().len();
    let there = length as u64 - 16;
    assert_eq!(add(there, &[b'y'; 99]).await, full, "and so each time");
    assert_eq!(log().len(), length);
    world.logs.finish("1-1-b").unwrap();
    assert_eq!(add(there, b"z").await, Err(Refusal::Over));
}

/// Knows who has the attempt; nothing, if that cannot be told.
#[derive(Default)]
struct Told(Mutex<Option<&'static str>>);

impl Judge for Told {
    fn judge<'a>(&'a self, _: &'a str, claim: &'a str) -> futures_util::future::BoxFuture<'a, Verdict> {
        let verdict = match *self.0.lock().unwrap() {
            Some(holder) if holder == claim => Verdict::Holds,
            Some(_) => Verdict::Lost,
            None => Verdict::Unsure("nobody knows".to_owned()),
        };
        Box::pin(std::future::ready(verdict))
    }
}

fn by(claim: &str) -> Caller<'_> {
    Caller { attempt: "1-1-a", claim: Some(claim) }
}

async fn bring(exchange: &Exchange, caller: Caller<'_>, bytes: &[u8]) -> Result<Received, Refusal> {
    let body = stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(bytes))]);
    refusal(exchange.receive(caller, NAME, &whole(bytes), body).await)
}

#[tokio::test]
async fn who_has_lost_an_attempt_brings_nothing_more_and_nothing_of_it_counts() {
    let (world, told) = (World::new(), Arc::new(Told::default()));
    world.exchange.judged_by(told.clone());
    let claim = async |claim| refusal(world.exchange.claim("1-1-a", claim).await);
    world.put(OTHER, &part(0, 1, b"12"), &[b"1"]).await.unwrap();
    *told.0.lock().unwrap() = Some("one");
    assert_eq!(claim("one").await, Ok(()));
    assert_eq!(world.left(), [""; 0], "what somebody brought without a claim");
    assert_eq!(bring(&world.exchange, by("one"), b"one").await, Ok(Received::Complete));
    assert_eq!(claim("one").await, Ok(()), "said twice, it is the same");
    world.exchange.append_log(by("one"), 0, b"one\n").await.unwrap();
    let mut wish = world.exchange.wish(by("one")).unwrap();
    assert_eq!(claim("two").await, Err(Refusal::Taken), "it does not have it yet");

    *told.0.lock().unwrap() = Some("two");
    assert_eq!(claim("two").await, Ok(()));
    assert_eq!(claim("one").await, Err(Refusal::Taken), "a late claim takes nothing back");
    assert!(wish.changed().await.is_err(), "whoever waits for a wish hears of it");
    let world = world.restart();
    let exchange = &world.exchange;
    for late in [by("one"), Caller::from("1-1-a")] {
        let refused = [
            bring(exchange, late, b"one").await.map(drop),
            refusal(exchange.held(late, NAME)).map(drop),
            refusal(exchange.files(late)).map(drop),
            refusal(exchange.wish(late)).map(drop),
            refusal(exchange.log_room(late)).map(drop),
            refusal(exchange.append_log(late, 4, b"late\n").await).map(drop),
        ];
        assert!(refused.iter().all(|refused| *refused == Err(Refusal::Taken)), "{late:?}: {refused:?}");
    }
    assert_eq!(world.left(), [""; 0]);
    assert!(exchange.artefacts("1-1-a", &[claimed(b"two")]).is_err(), "it makes another one");
    assert_eq!(refusal(exchange.append_log(by("two"), 4, b"two\n").await), Ok(8), "the log goes on");
    assert_eq!(bring(exchange, by("two"), b"two").await, Ok(Received::Complete));
    assert_eq!(exchange.artefacts("1-1-a", &[claimed(b"two")]).unwrap().len(), 1);
}

fn claimed(bytes: &[u8]) -> ArtefactClaim {
    claim(NAME, bytes)
}

#[tokio::test]
async fn what_was_brought_before_goes_on_for_a_builder_that_makes_the_same() {
    let (all, done) = (b"0123456789", b"done");
    let world = World::new();
    let bring = async |world: &World, claim, name, put: &Put, bytes: &[u8]| {
        let body = stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(bytes))]);
        refusal(world.exchange.receive(by(claim), name, put, body).await)
    };
    let there = |world: &World, claim, name| {
        world.exchange.held(by(claim), name).unwrap().map(|held| (held.received, held.complete))
    };
    world.exchange.claim("1-1-a", "one").await.unwrap();
    assert_eq!(bring(&world, "one", NAME, &part(0, 4, all), b"0123").await, Ok(Received::Part(4)));
    assert_eq!(bring(&world, "one", OTHER, &whole(done), done).await, Ok(Received::Complete));
    world.exchange.claim("1-1-a", "two").await.unwrap();
    let world = world.restart();
    assert_eq!((there(&world, "two", NAME), there(&world, "two", OTHER)), (Some((4, false)), Some((3, false))));
    assert_eq!(world.left(), [""; 0], "nothing counts that nobody has promised");
    assert_eq!(bring(&world, "two", NAME, &part(4, 10, all), b"456789").await, Ok(Received::Complete));
    assert_eq!(bring(&world, "two", OTHER, &part(3, 4, done), b"e").await, Ok(Received::Known));
    let made = world.exchange.artefacts("1-1-a", &[claim(NAME, all), claim(OTHER, done)]).unwrap();
    assert_eq!(made.iter().map(|made| fs::read(&made.path).unwrap()).collect::<Vec<_>>(), [&all[..], done]);

    // Another file of that name begins anew, and nothing is left of the one before.
    world.exchange.claim("1-1-a", "three").await.unwrap();
    let other = b"9876543210";
    assert_eq!(bring(&world, "three", NAME, &part(9, 10, other), b"0").await, Err(Refusal::Elsewhere { at: 0 }));
    assert_eq!(there(&world, "three", NAME), None);
    assert_eq!(bring(&world, "three", NAME, &part(0, 10, other), other).await, Ok(Received::Complete));
}

#[tokio::test]
async fn a_claim_that_cannot_be_kept_takes_nothing_from_whoever_had_the_attempt() {
    let world = World::new();
    world.exchange.claim("1-1-a", "one").await.unwrap();
    assert_eq!(bring(&world.exchange, by("one"), b"one").await, Ok(Received::Complete));
    let place = world.dir.path().join("attempts/1-1-a/claim");
    fs::remove_file(&place).unwrap();
    fs::create_dir_all(place.join("in the way")).unwrap();
    let failed = world.exchange.claim("1-1-a", "two").await;
    assert!(matches!(failed, Err(ExchangeError::Fs(_))), "{failed:?}");
    assert_eq!(bring(&world.exchange, by("two"), b"two").await, Err(Refusal::Taken));
    let made = world.exchange.artefacts("1-1-a", &[claimed(b"one")]).unwrap();
    assert_eq!(fs::read(&made[0].path).unwrap(), b"one");
}

#[tokio::test]
async fn files_of_which_nothing_was_taken_leave_their_places_to_others() {
    let world = World::new();
    for release in 0..10 {
        let name = format!("foo-1-{release}-any.pkg.tar.zst");
        let refused = world.put(&name, &part(0, 101, &[b'x'; 101]), &[b"x"]).await;
        assert_eq!(refused, Err(Refusal::TooLarge { what: Bulk::File, limit: 100 }));
        let lie = world.put(&name, &whole(b"good"), &[b"evil"]).await;
        assert!(matches!(lie, Err(Refusal::Lie { .. })), "{lie:?}");
    }
    assert_eq!(world.put(NAME, &whole(b"good"), &[b"good"]).await, Ok(Received::Complete));
}

#[tokio::test]
async fn a_claim_ends_what_another_builder_is_bringing() {
    let world = World::new();
    world.exchange.claim("1-1-a", "one").await.unwrap();
    let (exchange, put) = (world.exchange.clone(), part(0, 10, b"0123456789"));
    let endless = stream::pending::<Result<Bytes, Infallible>>();
    let hanging = tokio::spawn(async move { refusal(exchange.receive(by("one"), NAME, &put, endless).await) });
    while world.exchange.held(by("one"), NAME).unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    world.exchange.claim("1-1-a", "two").await.unwrap();
    assert_eq!(hanging.await.unwrap(), Err(Refusal::Overtaken));
    assert_eq!(world.left(), [""; 0]);
    assert_eq!(bring(&world.exchange, by("one"), b"one").await, Err(Refusal::Taken));
}

#[tokio::test]
async fn where_nobody_can_tell_who_has_an_attempt_it_stays_with_whoever_had_it() {
    let (world, told) = (World::new(), Arc::new(Told(Mutex::new(Some("one")))));
    world.exchange.judged_by(told.clone());
    world.exchange.claim("1-1-a", "one").await.unwrap();
    *told.0.lock().unwrap() = None;
    let unsure = world.exchange.claim("1-1-a", "two").await;
    assert!(matches!(unsure, Err(ExchangeError::Unsure(_))), "{unsure:?}");
    assert_eq!(bring(&world.exchange, by("one"), b"one").await, Ok(Received::Complete));
}

#[tokio::test]
async fn a_wish_outlives_the_controller_and_an_order_is_admitted_once() {
    let world = World::new();
    world.exchange.cancel("1-1-a").unwrap();
    world.exchange.cancel("9-9-unknown").unwrap();
    let world = world.restart();
    let token = world.exchange.admit(&order("1-1-a")).unwrap().token;
    assert_eq!(*world.exchange.wish("1-1-a").unwrap().borrow(), Wish::Cancelled, "it is not begun anew");
    assert!(world.exchange.accepts("1-1-a", token.reveal()) && !world.exchange.accepts("1-1-b", token.reveal()));
    world.exchange.admit(&order("1-1-b")).unwrap();
    fs::create_dir(world.dir.path().join("attempts/.odd")).unwrap();
    world.exchange.keep_only(&BTreeSet::from(["1-1-b".to_owned()])).await.unwrap();
    let left = fs::read_dir(world.dir.path().join("attempts")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["1-1-b"]);
    assert!(world.exchange.wish("../1-1-b").is_err());
}

#[test]
fn a_builder_elsewhere_is_told_of_nothing_that_only_this_machine_has() {
    let world = World::new();
    let mut order = order("1-1-a");
    let repo = world.dir.path().join("repo");
    order.package_repositories[0].server = Server::Directory(repo.clone());
    let grant = world.exchange.admit(&order).unwrap();
    assert!(world.exchange.job(&order, &grant).is_none(), "nobody knows where it would bring anything");
    world.exchange.reached_at("https://packages.example/");
    let servers = |job: &Job| job.pacman_repositories.iter().map(|one| one.server.clone()).collect::<Vec<_>>();
    let first = world.exchange.job(&order, &grant).unwrap();
    assert_eq!(servers(&first), ["https://mirror.example/$repo"], "nothing is published yet");
    fs::create_dir(&repo).unwrap();
    fs::write(repo.join("x.db"), "").unwrap();
    let job = world.exchange.job(&order, &grant).unwrap();
    let shown = serde_json::to_string(&job).unwrap();
    assert!(shown.contains(grant.token.reveal()) && !format!("{job:?} {grant:?}").contains(grant.token.reveal()));
    assert_eq!(servers(&job), ["https://packages.example/repo/mine", "https://mirror.example/$repo"]);
    assert_eq!(job.places.unwrap().wish, "https://packages.example/api/v1/attempts/1-1-a/wish");
    let files = fs::File::open(world.exchange.files("1-1-a").unwrap()).unwrap();
    assert_eq!(unbundle(files).unwrap(), order.files);
}

/// It may hand the build on to another machine, or carry it out itself.
#[test]
fn a_program_here_is_told_of_what_is_served_as_others_reach_it_and_of_what_only_it_sees() {
    let world = World::new();
    let mut order = order("1-1-a");
    let (repo, overlay) = (world.dir.path().join("repo"), world.dir.path().join("overlay"));
    order.package_repositories[0].server = Server::Directory(repo.clone());
    order.package_repositories[1].server = Server::Directory(overlay.clone());
    order.package_repositories.truncate(2);
    world.exchange.reached_at("https://packages.example/");
    let grant = world.exchange.admit(&order).unwrap();
    let told = || {
        let job = world.exchange.job_of_program(&order, &grant).unwrap();
        assert_eq!(job.places.unwrap().log, None);
        job.pacman_repositories.into_iter().map(|one| one.server).collect::<Vec<_>>()
    };
    let own = format!("file://{}", overlay.display());
    assert_eq!(told(), [own.as_str()], "nothing is published yet");
    fs::create_dir(&repo).unwrap();
    fs::write(repo.join("x.db"), "").unwrap();
    assert_eq!(told(), ["https://packages.example/repo/mine", own.as_str()]);
}

#[test]
fn a_builder_elsewhere_is_given_the_key_of_what_is_signed_here() {
    let world = World::new();
    let (mut order, repo) = (order("1-1-a"), world.dir.path().join("repo"));
    order.package_repositories[0].server = Server::Directory(repo.clone());
    world.exchange.reached_at("https://packages.example/");
    let grant = world.exchange.admit(&order).unwrap();
    let told = || {
        let job = world.exchange.job(&order, &grant).unwrap();
        let names = job.pacman_keyrings.iter().map(|keyring| keyring.name.clone()).collect::<Vec<_>>();
        (job.pacman_repositories[0].sig_level.clone().unwrap(), names)
    };
    fs::create_dir(&repo).unwrap();
    fs::write(repo.join("x.db"), "").unwrap();
    let unsigned = ("Never".to_owned(), vec![]);
    assert_eq!(told(), unsigned);
    fs::write(repo.join("x.gpg"), [0x98, 0x33, 0xff]).unwrap();
    assert_eq!(told(), unsigned, "the key was there before the first signature, or after the last");
    fs::write(repo.join("x.db.sig"), "").unwrap();
    assert_eq!(told(), ("Required".to_owned(), vec!["x".to_owned()]));
    fs::write(repo.join("x.gpg"), "no key").unwrap();
    assert_eq!(told(), ("Required".to_owned(), vec![]), "nobody may take the signatures away by breaking the key");
}

#[tokio::test]
async fn what_is_more_than_the_limits_is_refused_before_it_comes_and_when_nobody_said_so() {
    let world = World::with_limits(Limits { file: 10, attempt: 15, files: 2 });
    let large = [b'x'; 11];
    let file = Err(Refusal::TooLarge { what: Bulk::File, limit: 10 });
    let said = Put { total: Some(11), ..whole(&large) };
    assert_eq!(world.put(NAME, &said, &[]).await, file, "it says so");
    assert_eq!(world.put(NAME, &whole(&large), &[&large]).await, file, "it does not");
    assert_eq!(world.put(NAME, &whole(&large[..10]), &[&large[..10]]).await, Ok(Received::Complete));
    let all = Err(Refusal::TooLarge { what: Bulk::Attempt, limit: 15 });
    assert_eq!(world.put(OTHER, &whole(&large[..6]), &[&large[..6]]).await, all);
    let told = Refusal::TooLarge { what: Bulk::Attempt, limit: 15 }.to_string();
    assert_eq!(told, "all files of an attempt may have 15 bytes; executor.uploads.build_mib of the controller says so");
    // The limits of an attempt are those that it was admitted with.
    let world = world.restart();
    assert_eq!(world.put(OTHER, &whole(&large[..6]), &[&large[..6]]).await, all);
    assert_eq!(world.put(OTHER, &whole(&large[..5]), &[&large[..5]]).await, Ok(Received::Complete));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn however_a_file_is_cut_and_interrupted_it_arrives_as_it_is(
        all in proptest::collection::vec(any::<u8>(), 1..90),
        cuts in proptest::collection::vec((1_u64..40, any::<bool>()), 1..12),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut world = World::new();
        let (total, mut at, mut turn) = (all.len() as u64, 0, cuts.iter().cycle());
        while at < total {
            let (length, restarts) = *turn.next().unwrap();
            let end = (at + length).min(total);
            let bytes = &all[usize::try_from(at).unwrap()..usize::try_from(end).unwrap()];
            let came = runtime.block_on(world.put(NAME, &part(at, end, &all), &[bytes])).unwrap();
            prop_assert_eq!(came, if end == total { Received::Complete } else { Received::Part(end) });
            at = end;
            if restarts {
                world = world.restart();
            }
        }
        let made = world.exchange.artefacts("1-1-a", &[claim(NAME, &all)]).unwrap();
        prop_assert_eq!(fs::read(&made[0].path).unwrap(), all);
    }
}

#[tokio::test]
async fn a_package_with_many_members_may_bring_all_of_them() {
    let world = World::new();
    let names: Vec<String> = (0..70).map(|number| format!("foo-{number}")).collect();
    let members = names.iter().fold(String::new(), |text, name| text + &format!("\npkgname = {name}\n"));
    let srcinfo = format!("pkgbase = foo\n\tpkgver = 1\n\tpkgrel = 1\n\tarch = any\n{members}");
    let files = Folder::default().with("PKGBUILD", "").with(".SRCINFO", srcinfo);
    world.exchange.admit(&BuildOrder { files, ..order("1-1-b") }).unwrap();
    for name in names.iter().map(String::as_str).chain(["foo-debug"]) {
        let body = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"x"))]);
        let file = format!("{name}-1-1-any.pkg.tar.zst");
        assert_eq!(refusal(world.exchange.receive("1-1-b", &file, &whole(b"x"), body).await), Ok(Received::Complete));
    }
    let body = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"x"))]);
    let more = world.exchange.receive("1-1-b", "foo-0-2-1-any.pkg.tar.zst", &whole(b"x"), body).await;
    assert_eq!(refusal(more), Err(Refusal::TooMany(71)));
}

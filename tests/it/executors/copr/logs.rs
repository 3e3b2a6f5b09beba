//! Logs, from servers that do all that they can do.

use std::sync::{Arc, Mutex};

use pkgwarden::domain::copr::{Show, State};
use pkgwarden::executor::copr::client::Client;
use pkgwarden::executor::copr::logs::Logs;
use pkgwarden::executor::copr::tailer::{Place, SharedSink, Sink, SinkError, Stream};
use pkgwarden::executor::copr::watch::{Control, Watched, Watcher};
use pkgwarden::sys::clock::ManualClock;
use url::Url;

use super::{CHROOT, pacing};
use crate::support::copr::{Build, Copr, Fault, Log, Style, next, once, packed};

const OTHER: &str = "fedora-rawhide-x86_64";
const STYLES: [Style; 2] = [Style::Lighttpd, Style::Nginx];

/// All that was told, in order.
#[derive(Default)]
struct Seen {
    text: String,
    /// Each piece of whole lines, with the label of its log.
    pieces: Vec<(String, Vec<u8>)>,
    notes: Vec<String>,
}

impl Sink for Seen {
    fn left(&self, _: &Place) -> Option<Stream> {
        None
    }

    fn lines(&mut self, place: &Place, lines: &[u8], _: &Stream) -> Result<(), SinkError> {
        for line in String::from_utf8_lossy(lines).lines() {
            self.text.extend(["[", &place.label, "] ", line, "\n"]);
        }
        self.pieces.push((place.label.clone(), lines.to_owned()));
        Ok(())
    }

    fn state(&mut self, _: Option<&str>, _: State) -> Result<(), SinkError> {
        Ok(())
    }

    fn note(&mut self, text: &str) -> Result<(), SinkError> {
        self.notes.push(text.to_owned());
        Ok(())
    }
}

impl Seen {
    /// All of one log.
    fn of(&self, label: &str) -> String {
        let pieces = self.pieces.iter().filter(|(of, _)| of == label);
        String::from_utf8(pieces.flat_map(|(_, lines)| lines.clone()).collect()).unwrap()
    }
}

fn watcher(copr: &Copr, clock: &Arc<ManualClock>) -> Watcher {
    let url = Url::parse(&copr.url).unwrap();
    Watcher {
        client: Client::new(url.clone(), None).unwrap(),
        logs: Logs::of(&url),
        clock: clock.clone(),
        pacing: pacing(),
        show: Show::Live,
        prefix: String::new(),
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new("2026-05-01T12:00:00Z".parse().unwrap()))
}

/// Follows the build to its end.
async fn watched(copr: &Copr) -> (State, Seen) {
    let (ended, seen) = watched_by(&watcher(copr, &clock()), copr.put(), Arc::default()).await;
    let Watched::Ended(state) = ended else { panic!("{ended:?}") };
    (state, seen)
}

async fn watched_by(watcher: &Watcher, id: u64, seen: Arc<Mutex<Seen>>) -> (Watched, Seen) {
    let sink: SharedSink<'_> = seen.clone();
    let ended = watcher.watch(id, &sink, &Control::default()).await.unwrap();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (ended, seen)
}

fn has_given_up(seen: &Mutex<Seen>) -> bool {
    seen.lock().unwrap().notes.iter().any(|note| note.contains("given up"))
}

fn live(build: &mut Build) -> &mut Log {
    &mut build.chroot(CHROOT).live
}

/// The log has been asked for so often since the last turn that all of it has been read.
fn read(build: &mut Build) -> bool {
    let log = live(build);
    let is_read = log.asked >= 2 && log.faults.is_empty();
    if is_read {
        log.asked = 0;
    }
    is_read
}

/// The build runs, and has printed something.
fn running(text: &'static str) -> impl Fn(&mut Build) {
    move |build| {
        build.imported(&[CHROOT]);
        build.chroot(CHROOT).run();
        live(build).print(text);
    }
}

fn print(text: &'static str) -> impl Fn(&mut Build) {
    move |build| live(build).print(text)
}

fn end(build: &mut Build) {
    build.chroot(CHROOT).end("succeeded");
}

#[tokio::test]
async fn l2_chroots_come_from_the_list_which_is_empty_at_first() {
    let copr = Copr::start(Style::Lighttpd).await;
    let looked = |build: &mut Build| build.looks >= 3;
    copr.happens([once(looked, running("one\n")), once(read, end)]);
    let (state, seen) = watched(&copr).await;
    assert_eq!((state, seen.of(CHROOT).as_str()), (State::Succeeded, "one\n"));
    let world = copr.world();
    let asked = world.asked_for(&format!("/results/me/tools/{CHROOT}/"));
    assert!(asked.iter().all(|asked| asked.path.contains("/00000101-small/builder-live.log")), "{asked:?}");
    let lists = world.asked_for("/build-chroot/list").len();
    assert_eq!(lists, world.builds[0].looks, "with each look");
}

#[tokio::test]
async fn l3_the_source_stage_is_followed_though_it_is_an_error_at_first() {
    let copr = Copr::start(Style::Lighttpd).await;
    let is_read = |build: &mut Build| build.source.live.asked >= 2;
    copr.happens([
        next(|build| build.source.state = "starting"),
        next(|build| {
            build.source.run();
            build.source.live.print("cloning\n");
        }),
        once(is_read, |build| build.source.live.print("srpm made\n")),
        next(running("built\n")),
        once(read, end),
    ]);
    let (_, seen) = watched(&copr).await;
    assert_eq!(seen.text.lines().next(), Some("[srpm-builds] cloning"));
    assert_eq!((seen.of("srpm-builds").as_str(), seen.of(CHROOT).as_str()), ("cloning\nsrpm made\n", "built\n"));
}

#[tokio::test]
async fn l4_only_what_is_new_is_asked_for_and_every_byte_comes_once() {
    for style in STYLES {
        let copr = Copr::start(style).await;
        copr.happens([
            next(running("one\n")),
            once(read, |build| live(build).print("two\n".repeat(200))),
            once(read, |build| live(build).ail([Fault::Whole, Fault::Stale(3), Fault::Stale(500), Fault::Reset(2)])),
            once(read, print("three\n")),
            once(read, |build| live(build).ail([Fault::Reset(258), Fault::Page, Fault::Status(503)])),
            once(read, print("four\n")),
            once(read, end),
        ]);
        let (_, seen) = watched(&copr).await;
        assert_eq!(seen.of(CHROOT), format!("one\n{}three\nfour\n", "two\n".repeat(200)), "{style:?}");
        let world = copr.world();
        let asked = world.asked_for(&format!("{CHROOT}/00000101-small/builder-live.log"));
        assert!(asked.iter().all(|asked| asked.encoding.as_deref() == Some("identity")));
        assert!(asked.iter().all(|asked| asked.authorization.is_none()), "logs are public");
        let ranges: Vec<_> = asked.iter().filter_map(|asked| asked.range.as_deref()).collect();
        assert!(ranges.contains(&"bytes=0-") && ranges.contains(&"bytes=548-"), "{ranges:?}");
    }
}

#[tokio::test]
async fn l5_a_log_that_never_comes_is_given_up_and_the_build_is_not() {
    for style in STYLES {
        let copr = Copr::start(style).await;
        let (clock, seen) = (clock(), Arc::new(Mutex::new(Seen::default())));
        let (later, told) = (clock.clone(), seen.clone());
        let asked = |build: &mut Build| live(build).asked >= 2;
        copr.happens([
            next(|build| build.imported(&[CHROOT])),
            next(|build| build.chroot(CHROOT).run()),
            once(asked, move |_| later.advance(jiff::SignedDuration::from_mins(10))),
            once(move |_| has_given_up(&told), end),
        ]);
        let (ended, seen) = watched_by(&watcher(&copr, &clock), copr.put(), seen).await;
        assert_eq!(ended, Watched::Ended(State::Succeeded));
        let given_up = format!("[{CHROOT}] the log is given up: there is none after 10 minutes of building");
        assert_eq!(seen.notes, [given_up], "{style:?}");
    }
}

#[tokio::test]
async fn l6_logs_change_places_only_between_lines_and_no_line_is_left_out() {
    let copr = Copr::start(Style::Lighttpd).await;
    copr.happens([
        next(|build| {
            build.imported(&[CHROOT, OTHER]);
            build.chroot(CHROOT).run();
            build.chroot(OTHER).run();
            live(build).print("half a ");
            build.chroot(OTHER).live.print("whole\nand a ");
        }),
        once(read, |build| build.chroot(OTHER).live.print("half\n")),
        next(print("line\nand one without end")),
        // So long nothing comes that the unfinished line is shown.
        once(
            |build| live(build).asked >= 12,
            |build| {
                build.chroot(OTHER).end("succeeded");
                end(build);
            },
        ),
    ]);
    let (_, seen) = watched(&copr).await;
    let of = |label: &str| {
        let start = format!("[{label}] ");
        seen.text.lines().filter_map(|line| line.strip_prefix(&start)).collect::<Vec<_>>().join("|")
    };
    assert!(of(CHROOT).replace('|', "").starts_with("half a line"), "{}", seen.text);
    assert!(of(CHROOT).ends_with("and one without end"), "{}", seen.text);
    assert_eq!(of(OTHER), "whole|and a half");
    assert!(seen.pieces.iter().all(|(_, lines)| lines.ends_with(b"\n")));
}

#[tokio::test]
async fn l7_what_only_the_packed_log_has_comes_too_and_416_is_no_end() {
    for style in STYLES {
        let copr = Copr::start(style).await;
        copr.happens([
            next(running("one\n")),
            once(read, |build| live(build).ail([Fault::Status(416), Fault::Status(416)])),
            once(read, print("two\n")),
            once(read, |build| {
                // All of it is printed, and only packed it can be had.
                live(build).print("three\n");
                end(build);
            }),
        ]);
        let (_, seen) = watched(&copr).await;
        assert_eq!(seen.of(CHROOT), "one\ntwo\nthree\n", "{style:?}");
        assert_eq!(seen.notes, [""; 0]);
    }
}

#[tokio::test]
async fn l7_a_log_that_is_not_packed_yet_is_read_as_it_is() {
    let copr = Copr::start(Style::Lighttpd).await;
    copr.happens([
        next(running("one\n")),
        once(read, |build| {
            live(build).print("two\n");
            build.chroot(CHROOT).state = "succeeded";
        }),
    ]);
    let (_, seen) = watched(&copr).await;
    assert_eq!((seen.of(CHROOT).as_str(), seen.notes.len()), ("one\ntwo\n", 0));
}

#[tokio::test]
async fn l7_a_cancelled_build_ends_though_its_chroots_wait_for_ever() {
    let copr = Copr::start(Style::Lighttpd).await;
    copr.happens([next(running("one\n")), once(read, |build| build.is_canceled = true)]);
    let (state, seen) = watched(&copr).await;
    assert_eq!((state, seen.of(CHROOT).as_str()), (State::Canceled, "one\n"));
    assert_eq!(copr.world().builds[0].chroots[0].state, "running");
}

#[tokio::test]
async fn l8_a_chroot_that_ends_does_not_end_the_others() {
    let copr = Copr::start(Style::Lighttpd).await;
    let is_quiet = |build: &mut Build| build.chroot(OTHER).live.asked >= 3;
    copr.happens([
        next(|build| {
            build.imported(&[CHROOT, OTHER]);
            build.chroot(CHROOT).run();
            build.chroot(OTHER).run();
            live(build).print("one\n");
            build.chroot(OTHER).live.print("other\n");
        }),
        once(is_quiet, |build| build.chroot(OTHER).end("failed")),
        once(read, print("two\n")),
        once(read, end),
    ]);
    let (state, seen) = watched(&copr).await;
    assert_eq!(state, State::Failed);
    assert_eq!((seen.of(CHROOT).as_str(), seen.of(OTHER).as_str()), ("one\ntwo\n", "other\n"));
}

#[tokio::test]
async fn l9_a_log_server_that_never_answers_changes_nothing() {
    let copr = Copr::start(Style::Lighttpd).await;
    copr.happens([
        next(|build| {
            build.imported(&[CHROOT]);
            build.chroot(CHROOT).run();
            live(build).ail(vec![Fault::Status(502); 1000]);
        }),
        once(|build| live(build).asked >= 7, end),
    ]);
    let (state, seen) = watched(&copr).await;
    assert_eq!((state, seen.of(CHROOT).as_str()), (State::Succeeded, ""));
    assert!(seen.notes.iter().any(|note| note.contains("its server does not answer")), "{:?}", seen.notes);
}

#[tokio::test]
async fn l11_what_passes_is_waited_for_and_told_once() {
    let copr = Copr::start(Style::Nginx).await;
    copr.world().ail("GET /api_3/build/101", [Fault::Status(504), Fault::Reset(0), Fault::Later(429, 0)]);
    copr.happens([
        next(running("one\n")),
        once(read, |build| {
            live(build).ail(vec![
                Fault::Status(500),
                Fault::Reset(0),
                Fault::Page,
                Fault::Status(503),
                Fault::Later(429, 0),
                Fault::Status(502),
            ]);
        }),
        once(read, print("two\n")),
        once(read, end),
    ]);
    let (state, seen) = watched(&copr).await;
    assert_eq!((state, seen.of(CHROOT).as_str()), (State::Succeeded, "one\ntwo\n"));
    let (of_log, of_copr): (Vec<_>, Vec<_>) = seen.notes.iter().partition(|note| note.starts_with('['));
    assert_eq!(of_log, [&format!("[{CHROOT}] the log cannot be read, 5 times in a row; it is asked for on")]);
    assert!(of_copr[0].starts_with("COPR does not say how the build stands, and is asked again"), "{of_copr:?}");
    assert_eq!(of_copr[1..], ["COPR says again how the build stands"]);
}

#[tokio::test]
async fn l12_where_no_chroot_ever_ran_copr_itself_says_why() {
    let copr = Copr::start(Style::Lighttpd).await;
    copr.happens([
        next(|build| {
            build.source.run();
            build.source.live.print("cloning\n");
            build.source.backend.print("import failed: no spec file\n");
        }),
        once(|build| build.source.live.asked >= 2, |build| build.source.end("failed")),
    ]);
    let (state, seen) = watched(&copr).await;
    assert_eq!(state, State::Failed);
    assert_eq!(seen.of("srpm-builds"), "cloning\n");
    assert_eq!(seen.of("srpm-builds backend.log"), "import failed: no spec file\n");
}

#[tokio::test]
async fn l13_a_log_that_begins_anew_goes_on_after_a_line_that_says_so() {
    for style in STYLES {
        for text in ["short\n".to_owned(), "another host, and a longer log than before\n".repeat(20)] {
            let copr = Copr::start(style).await;
            let anew = text.clone();
            copr.happens([
                next(running("one host\nand then a line that is not ov")),
                once(read, |build| live(build).print("er\n".repeat(120))),
                once(read, move |build| live(build).raw = Some(anew.clone().into_bytes())),
                once(|build| live(build).asked >= 8, end),
            ]);
            let (_, seen) = watched(&copr).await;
            let (before, after) =
                seen.of(CHROOT).split_once("==> log restarted\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            assert_eq!(before, format!("one host\nand then a line that is not ov{}", "er\n".repeat(120)));
            assert_eq!(after, text, "{style:?}");
        }
    }
}

#[tokio::test]
async fn l13_a_log_that_is_cut_off_is_taken_as_far_as_it_goes() {
    let copr = Copr::start(Style::Lighttpd).await;
    copr.happens([
        next(running("one\n")),
        once(read, |build| {
            let text = (0..20_000).map(|number| format!("line {number}\n")).collect::<Vec<_>>().concat();
            let gz = packed(format!("one\n{text}").as_bytes());
            let log = live(build);
            (log.raw, log.gz) = (None, Some(gz[..gz.len() / 2].to_owned()));
            build.chroot(CHROOT).state = "failed";
        }),
    ]);
    let (state, seen) = watched(&copr).await;
    assert_eq!(state, State::Failed);
    let log = seen.of(CHROOT);
    assert!(log.starts_with("one\nline 0\nline 1\n") && log.lines().count() > 1000, "{}", log.len());
    let whole: Vec<_> = log.lines().skip(1).enumerate().take(1000).collect();
    assert!(whole.iter().all(|(number, line)| *line == format!("line {number}")), "every line once");
    assert_eq!(seen.notes, [format!("[{CHROOT}] the log is cut off here")]);
}

#[tokio::test]
async fn l14_what_could_not_be_followed_is_shown_after_the_build() {
    let copr = Copr::start(Style::Lighttpd).await;
    let (clock, seen) = (clock(), Arc::new(Mutex::new(Seen::default())));
    let (later, told) = (clock.clone(), seen.clone());
    copr.happens([
        next(|build| {
            build.imported(&[CHROOT, OTHER]);
            build.chroot(CHROOT).run();
        }),
        once(|build| live(build).asked >= 2, move |_| later.advance(jiff::SignedDuration::from_mins(10))),
        once(
            move |_| has_given_up(&told),
            |build| {
                live(build).print("it was there all the time\n");
                build.chroot(OTHER).run();
                build.chroot(OTHER).backend.print("no builder came\n");
                build.chroot(OTHER).end("failed");
                end(build);
            },
        ),
    ]);
    let (_, seen) = watched_by(&watcher(&copr, &clock), copr.put(), seen).await;
    assert_eq!(seen.of(CHROOT), "it was there all the time\n");
    assert_eq!(seen.of(&format!("{OTHER} backend.log")), "no builder came\n");
}

#[tokio::test]
async fn a_log_that_leads_elsewhere_is_not_followed_there() {
    let copr = Copr::start(Style::Lighttpd).await;
    let elsewhere = Copr::start(Style::Lighttpd).await;
    let to = format!("{}/results/x", elsewhere.url);
    copr.happens([
        next(move |build| {
            running("one\n")(build);
            live(build).ail([Fault::Redirect(to.clone())]);
        }),
        once(read, end),
    ]);
    let (_, seen) = watched(&copr).await;
    assert_eq!(seen.of(CHROOT), "one\n");
    assert_eq!(elsewhere.world().asked.len(), 0);
}

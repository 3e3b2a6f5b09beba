//! The AUR as a source: its index says which packages to ask about, git has their files.
//!
//! One conditional request tells whether anything is announced at all. Only if something is, one listing
//! of the mirror's branches and one fetch follow, however many packages it is about.

pub mod dump;
mod git;
mod metadata;
pub mod rule;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use self::dump::Facts;
use self::git::{Contents, Direct, Mirror, can_be_branch};
use self::metadata::{IndexError, Metadata};
use self::rule::{Announced, Origin, Verdict};
use super::budget::Budget;
use super::lsremote::RefReader;
use super::order::Order;
use super::{Answers, AurConfig, Patience, SourceAnswer, SourceRequest, SourcesConfig, error_text};
use crate::domain::finding::Finding;
use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::state::Cursor;
use crate::sys::http;
use crate::telemetry::progress;

/// The index may take this long while it moves: it is some ten megabytes.
const INDEX_TIMEOUT: Duration = Duration::from_mins(5);

/// Fetching files may take this long while it moves: the first time, it is all of them.
const FETCH_TIMEOUT: Duration = Duration::from_mins(10);

const BEHIND: &str = "the AUR announces a newer push than the mirror has";

/// The AUR, ready to be asked.
#[derive(Debug)]
pub struct Aur {
    metadata: Metadata,
    access: Access,
}

/// Where files come from.
#[derive(Debug)]
enum Access {
    Mirror(Mirror),
    Direct(Box<Workers>),
}

/// Those who ask the AUR itself, a few at once, each in a workspace of its own.
#[derive(Debug)]
struct Workers {
    direct: Direct,
    delay: Duration,
    order: Order,
    permits: Semaphore,
    workspaces: Mutex<Vec<PathBuf>>,
}

/// A package that git has to be asked about.
#[derive(Debug)]
struct Asked<'a> {
    pkgbase: &'a PkgBase,
    cursor: Option<&'a Cursor>,
    /// What the index says; `None` if there is no index.
    announced: Option<Announced>,
}

type Files = BTreeMap<PkgBase, SourceAnswer>;

impl Aur {
    /// Prepares everything; asks nobody yet. The error says what is wrong with the configuration.
    pub fn new(config: &SourcesConfig) -> Result<Self, String> {
        let folder = config.cache_dir.join("aur");
        let patience = Patience::new(config.timeout, INDEX_TIMEOUT);
        let (client, url) = (client(&config.aur, patience.total)?, config.aur.metadata_url.clone());
        let metadata = Metadata::new(client, url, patience, Some(folder.join("index.json")));
        Ok(Self { metadata, access: Access::new(config, &folder)? })
    }

    /// What the AUR says about every requested package; no package may be requested twice.
    pub async fn observe(&self, requests: &[&SourceRequest], budget: &Budget, now: Timestamp) -> Answers {
        let wanted: BTreeSet<PkgBase> = requests.iter().map(|request| request.pkgbase.clone()).collect();
        let facts = {
            let _progress = progress::task("reading the index of the AUR");
            self.metadata.facts(&wanted, budget.deadline()).await
        };
        match facts {
            Ok(facts) => self.with_index(requests, facts, budget, now).await,
            Err(error) => self.without_index(requests, &error, budget, now).await,
        }
    }

    async fn with_index(
        &self,
        requests: &[&SourceRequest],
        facts: Arc<Facts>,
        budget: &Budget,
        now: Timestamp,
    ) -> Answers {
        let mut answers = Answers::default();
        let asked = sort_out(requests, &facts, self.origin(), now, &mut answers.files);
        answers.aur = facts;
        match &self.access {
            _ if asked.is_empty() => {}
            Access::Mirror(mirror) => match from_mirror(mirror, &asked, budget, now).await {
                Ok(files) => answers.files.extend(files),
                Err(error) => answers.silent(&asked, "aur-mirror", &format!("the AUR mirror cannot be asked: {error}")),
            },
            Access::Direct(workers) => answers.files.extend(workers.ask_all(&asked, budget, now).await),
        }
        answers
    }

    /// Without the index, the mirror's list of branches tells what has moved at the price of one request.
    /// Asking the AUR itself about every package would be an attack on it.
    async fn without_index(
        &self,
        requests: &[&SourceRequest],
        error: &IndexError,
        budget: &Budget,
        now: Timestamp,
    ) -> Answers {
        let mut answers = Answers::default();
        let asked: Vec<_> = requests.iter().map(|request| Asked::new(request, None)).collect();
        let error = error_text(error);
        match &self.access {
            Access::Mirror(mirror) => match from_mirror(mirror, &asked, budget, now).await {
                Ok(files) => {
                    answers.files = files;
                    let message = format!("{error}; the branches of the mirror were compared in its place");
                    answers.findings.push(Finding::warning("aur-index", message));
                }
                Err(mirror) => {
                    answers.silent(&asked, "aur-index", &format!("{error}, nor can the AUR mirror be asked: {mirror}"));
                }
            },
            Access::Direct(_) => answers.silent(&asked, "aur-index", &error),
        }
        answers
    }

    const fn origin(&self) -> Origin {
        match self.access {
            Access::Mirror(_) => Origin::Mirror,
            Access::Direct(_) => Origin::Aur,
        }
    }
}

/// A client for the AUR's own servers.
fn client(aur: &AurConfig, timeout: Duration) -> Result<reqwest::Client, String> {
    match &aur.proxy {
        None => Ok(http::client(timeout)),
        Some(proxy) => http::client_through(proxy, timeout)
            .map_err(|error| format!("CI_AUR_PROXY cannot be used: {}", error_text(&error))),
    }
}

impl Access {
    fn new(config: &SourcesConfig, folder: &Path) -> Result<Self, String> {
        let aur = &config.aur;
        let patience = Patience::new(config.timeout, FETCH_TIMEOUT);
        let mirror = aur.mirror_url.as_ref().filter(|_| aur.prefer_mirror || aur.git_url.is_none());
        if let Some(url) = mirror {
            let workspace = folder.join("mirror.git");
            let reader = RefReader::new(http::client(config.timeout), workspace.clone(), config.timeout);
            return Ok(Self::Mirror(Mirror::new(url.clone(), reader, workspace, patience)));
        }
        let template = aur.git_url.clone().ok_or("neither sources.aur.mirror_url nor sources.aur.git_url is set")?;
        if !template.contains("{pkgbase}") {
            return Err(format!("sources.aur.git_url is `{template}`; it must contain `{{pkgbase}}`"));
        }
        let reader = RefReader::new(client(aur, config.timeout)?, folder.join("listing.git"), config.timeout);
        let direct = Direct::new(template, reader, aur.proxy.clone(), patience);
        Ok(Self::Direct(Box::new(Workers::new(direct, aur.clone_delay, aur.max_parallel, folder))))
    }
}

impl Answers {
    /// Nobody answers: what was asked is unknown, and one finding says so.
    fn silent(&mut self, asked: &[Asked<'_>], code: &'static str, error: &str) {
        self.files.extend(asked.iter().map(|asked| (asked.pkgbase.clone(), SourceAnswer::unknown(error))));
        let finding = Finding::error(code, format!("{} packages of the AUR are unknown: {error}", asked.len()));
        self.findings.push(finding.hint("it is asked again in the next pass"));
    }
}

impl<'a> Asked<'a> {
    const fn new(request: &'a SourceRequest, announced: Option<Announced>) -> Self {
        Self { pkgbase: &request.pkgbase, cursor: request.cursor.as_ref(), announced }
    }

    fn judge_tip(&self, tip: Oid, origin: Origin) -> Option<SourceAnswer> {
        rule::from_tip(tip, self.announced.as_ref(), self.cursor, origin).map(|verdict| answer(verdict, None))
    }

    fn judge(&self, contents: &mut Contents, origin: Origin, now: Timestamp) -> SourceAnswer {
        match contents.remove(self.pkgbase).expect("what is asked for is answered") {
            Ok(content) => {
                let announced = self.announced.as_ref();
                let verdict = rule::from_commit(&content.seen, announced, self.cursor, origin, now);
                answer(verdict, Some(content.folder))
            }
            Err(error) => SourceAnswer::unknown(error),
        }
    }
}

/// Answers by the index alone where that is possible; returns those that git has to be asked about.
fn sort_out<'a>(
    requests: &[&'a SourceRequest],
    facts: &Facts,
    origin: Origin,
    now: Timestamp,
    files: &mut Files,
) -> Vec<Asked<'a>> {
    let mut asked = Vec::new();
    for request in requests {
        let Some(facts) = facts.get(&request.pkgbase) else {
            files.insert(request.pkgbase.clone(), SourceAnswer::Gone);
            continue;
        };
        let announced = facts.announced();
        if rule::must_ask(&announced, request.cursor.as_ref(), origin, now) {
            asked.push(Asked::new(request, Some(announced)));
        } else {
            files.insert(request.pkgbase.clone(), SourceAnswer::Unmoved { cursor: None });
        }
    }
    asked
}

fn answer(verdict: Verdict, folder: Option<Folder>) -> SourceAnswer {
    match verdict {
        Verdict::Unmoved(cursor) => SourceAnswer::Unmoved { cursor },
        Verdict::Moved { cursor, behind } => {
            let folder = folder.expect("only a commit that was read is said to have moved");
            SourceAnswer::Files { cursor, folder, behind: behind.then(|| BEHIND.to_owned()) }
        }
        Verdict::Behind => SourceAnswer::unknown(BEHIND),
    }
}

/// One listing and one fetch. The error is about the mirror as a whole.
async fn from_mirror(mirror: &Mirror, asked: &[Asked<'_>], budget: &Budget, now: Timestamp) -> Result<Files, String> {
    let progress = progress::task("listing the branches of the AUR's mirror");
    let pkgbases = asked.iter().map(|asked| asked.pkgbase.clone()).collect();
    let tips = mirror.tips(&pkgbases, budget).await?;
    drop(progress);
    let mut files = Files::new();
    let mut to_read = Vec::new();
    for asked in asked {
        let settled = match tips.get(asked.pkgbase) {
            Some(&tip) => asked.judge_tip(tip, Origin::Mirror),
            None => Some(SourceAnswer::unknown(no_branch(asked.pkgbase))),
        };
        match settled {
            Some(answer) => drop(files.insert(asked.pkgbase.clone(), answer)),
            None => to_read.push(asked),
        }
    }
    let _progress = progress::task(format!("fetching {} packages from the AUR's mirror", to_read.len()));
    let mut contents =
        mirror.contents(to_read.iter().map(|asked| asked.pkgbase.clone()).collect(), budget.deadline()).await;
    for asked in to_read {
        files.insert(asked.pkgbase.clone(), asked.judge(&mut contents, Origin::Mirror, now));
    }
    Ok(files)
}

fn no_branch(pkgbase: &PkgBase) -> String {
    if can_be_branch(pkgbase) {
        format!("the mirror has no branch `{pkgbase}` (yet)")
    } else {
        format!("`{pkgbase}` cannot be the name of a git branch; set sources.aur.prefer to `git`")
    }
}

impl Workers {
    fn new(direct: Direct, delay: Duration, count: usize, folder: &Path) -> Self {
        let count = count.max(1);
        let workspaces = (0..count).map(|number| folder.join(format!("direct-{number}.git"))).collect();
        let order = Order::new(folder.join("direct.next"));
        Self { direct, delay, order, permits: Semaphore::new(count), workspaces: Mutex::new(workspaces) }
    }

    async fn ask_all(&self, asked: &[Asked<'_>], budget: &Budget, now: Timestamp) -> Files {
        let progress = progress::counted("asking the AUR for packages", asked.len());
        let ask = async |asked: &Asked<'_>| {
            let answer = self.ask(asked, budget, now).await;
            progress.advance();
            answer
        };
        let failed = |answer: &SourceAnswer| matches!(answer, SourceAnswer::Unknown { .. });
        let answers = self.order.ask_all(asked, |asked| asked.pkgbase.as_str(), budget, ask, failed).await;
        answers.into_iter().map(|(asked, answer)| (asked.pkgbase.clone(), answer)).collect()
    }

    async fn ask(&self, asked: &Asked<'_>, budget: &Budget, now: Timestamp) -> SourceAnswer {
        let _permit = self.permits.acquire().await.expect("never closed");
        if let Err(reason) = self.direct.refusal(asked.pkgbase, budget) {
            return SourceAnswer::unknown(reason);
        }
        tokio::time::sleep(self.delay).await;
        match self.direct.tip(asked.pkgbase, budget).await {
            Err(error) => SourceAnswer::unknown(error),
            Ok(None) => SourceAnswer::unknown(format!("{} has no commits", self.direct.url(asked.pkgbase))),
            Ok(Some(tip)) => match asked.judge_tip(tip, Origin::Aur) {
                Some(answer) => answer,
                None => self.read(asked, budget, now).await,
            },
        }
    }

    async fn read(&self, asked: &Asked<'_>, budget: &Budget, now: Timestamp) -> SourceAnswer {
        let workspace = Workspace::take(&self.workspaces);
        let content = self.direct.content(asked.pkgbase, &workspace.path, budget).await;
        asked.judge(&mut Contents::from([(asked.pkgbase.clone(), content)]), Origin::Aur, now)
    }
}

/// A workspace in use; it is given back when this is dropped, also when the work is cut short.
struct Workspace<'a> {
    free: &'a Mutex<Vec<PathBuf>>,
    path: PathBuf,
}

impl<'a> Workspace<'a> {
    fn take(free: &'a Mutex<Vec<PathBuf>>) -> Self {
        let path = free.lock().unwrap_or_else(PoisonError::into_inner).pop().expect("as many workspaces as permits");
        Self { free, path }
    }
}

impl Drop for Workspace<'_> {
    fn drop(&mut self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::folder::{File, FileMode};
    use crate::source::budget::SILENCES;
    use crate::source::forge::ForgesConfig;
    use crate::source::testing::{Mood, World, asking, at, name, package};

    const PUSHED: i64 = 1_750_000_000;
    const DAY: i64 = 24 * 3600;
    const HOUR: Duration = Duration::from_hours(1);

    /// One pass, as the controller would make it: answers, and the cursors it leaves behind.
    async fn pass(aur: &Aur, cursors: &mut BTreeMap<PkgBase, Option<Cursor>>, now: i64) -> Answers {
        let requests: Vec<_> = cursors.iter().map(|(name, cursor)| asking(name.as_str(), cursor.clone())).collect();
        let answers = aur.observe(&requests.iter().collect::<Vec<_>>(), &Budget::new(8, 4, HOUR), at(now)).await;
        for (name, answer) in &answers.files {
            if let SourceAnswer::Files { cursor, .. } | SourceAnswer::Unmoved { cursor: Some(cursor) } = answer {
                cursors.insert(name.clone(), Some(cursor.clone()));
            }
        }
        answers
    }

    fn nothing_known(names: &[&str]) -> BTreeMap<PkgBase, Option<Cursor>> {
        names.iter().map(|pkgbase| (name(pkgbase), None)).collect()
    }

    fn pkgver(answer: &SourceAnswer) -> Option<&str> {
        let SourceAnswer::Files { folder, .. } = answer else { return None };
        std::str::from_utf8(folder.get("PKGBUILD")?).ok()?.trim().strip_prefix("pkgver=")
    }

    const UNMOVED: SourceAnswer = SourceAnswer::Unmoved { cursor: None };

    #[tokio::test]
    async fn an_unchanged_index_costs_one_conditional_request() {
        let world = World::start().await;
        for number in 0..5 {
            world.announce(&format!("p{number}"), "1-1", PUSHED);
            world.mirror(&format!("p{number}"), "1-1", PUSHED);
        }
        let mut cursors = nothing_known(&["p0", "p1", "p2", "p3", "p4"]);
        let aur = Aur::new(&world.config()).expect("configured");
        let first = pass(&aur, &mut cursors, PUSHED + 2 * DAY).await;
        assert!(first.files.values().all(|answer| pkgver(answer) == Some("1")), "{first:?}");
        assert_eq!(first.aur["p3"].maintainer.as_deref(), Some("ann"));
        world.requests();

        let second = pass(&aur, &mut cursors, PUSHED + 2 * DAY).await;
        assert!(second.files.values().all(|answer| *answer == UNMOVED), "{second:?}");
        assert_eq!(world.requests(), ["GET index (conditional)"]);

        let restarted = Aur::new(&world.config()).expect("configured");
        let third = pass(&restarted, &mut cursors, PUSHED + 2 * DAY).await;
        assert!(third.files.values().all(|answer| *answer == UNMOVED), "{third:?}");
        assert_eq!(world.requests(), ["GET index (conditional)"], "also after a restart");
        assert_eq!(third.aur, first.aur);

        cursors.insert(name("p5"), None);
        world.announce("p5", "1-1", PUSHED);
        world.mirror("p5", "1-1", PUSHED);
        let fourth = pass(&restarted, &mut cursors, PUSHED + 2 * DAY).await;
        assert_eq!(pkgver(&fourth.files["p5"]), Some("1"));
        assert_eq!(world.requests()[0], "GET index", "about a new package the kept index says nothing");
    }

    #[tokio::test]
    async fn an_update_in_the_window_between_index_and_mirror_is_not_lost() {
        let world = World::start().await;
        world.announce("foo", "1-1", PUSHED);
        world.mirror("foo", "1-1", PUSHED);
        let aur = Aur::new(&world.config()).expect("configured");
        let mut cursors = nothing_known(&["foo"]);
        pass(&aur, &mut cursors, PUSHED + 60).await;

        world.announce("foo", "2-1", PUSHED + 600);
        let before = cursors.clone();
        let lagging = pass(&aur, &mut cursors, PUSHED + 900).await;
        assert_eq!(lagging.files["foo"], SourceAnswer::unknown(BEHIND));
        assert_eq!(cursors, before, "what is unknown moves no cursor");

        world.mirror("foo", "2-1", PUSHED + 600);
        let arrived = pass(&aur, &mut cursors, PUSHED + 1200).await;
        assert_eq!(pkgver(&arrived.files["foo"]), Some("2"));

        world.announce("foo", "2-1", PUSHED + 1300);
        world.mirror("foo", "2-1", PUSHED + 1300);
        let second_push = pass(&aur, &mut cursors, PUSHED + 1400).await;
        assert_eq!(pkgver(&second_push.files["foo"]), Some("2"), "a push without a new version");
        assert_eq!(pass(&aur, &mut cursors, PUSHED + 3 * DAY).await.files["foo"], UNMOVED);
    }

    #[tokio::test]
    async fn two_hundred_changed_packages_cost_one_fetch() {
        let world = World::start().await;
        let names: Vec<_> = (0..200).map(|number| format!("p{number}")).collect();
        for pkgbase in &names {
            world.announce(pkgbase, "1-1", PUSHED);
            world.mirror(pkgbase, "1-1", PUSHED);
        }
        let mut cursors = nothing_known(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let answers = pass(&Aur::new(&world.config()).expect("configured"), &mut cursors, PUSHED + DAY).await;
        assert_eq!(answers.files.values().filter(|answer| pkgver(answer) == Some("1")).count(), 200);
        let requests = world.requests();
        assert_eq!(requests.iter().filter(|request| request.ends_with("fetch")).count(), 1, "{requests:?}");
        assert!(requests.len() <= 6, "{requests:?}");
    }

    #[tokio::test]
    async fn one_broken_package_does_not_stop_the_others() {
        let world = World::start().await;
        let names = ["a", "broken", "c", "gone", "hostile", "late", "x.lock"];
        for pkgbase in names {
            world.announce(pkgbase, "1-1", PUSHED);
        }
        world.withdraw("gone");
        for pkgbase in ["a", "broken", "c", "gone"] {
            world.mirror(pkgbase, "1-1", PUSHED);
        }
        world.break_branch("broken");
        let mut hostile = package("hostile", "1-1");
        let link = File { mode: FileMode::Symlink, bytes: b"../../../etc/passwd"[..].into() };
        hostile.files.insert("patch".to_owned(), link);
        world.commit("mirror.git", "hostile", &hostile, PUSHED);

        let mut cursors = nothing_known(&names);
        let answers = pass(&Aur::new(&world.config()).expect("configured"), &mut cursors, PUSHED + DAY).await;
        assert_eq!((pkgver(&answers.files["a"]), pkgver(&answers.files["c"])), (Some("1"), Some("1")), "{answers:?}");
        assert_eq!(answers.files["gone"], SourceAnswer::Gone);
        let unknown = |pkgbase: &str| match &answers.files[pkgbase] {
            SourceAnswer::Unknown { error, .. } => error.clone(),
            other => panic!("{pkgbase}: {other:?}"),
        };
        assert!(unknown("hostile").contains("patch"), "{}", unknown("hostile"));
        assert_eq!(unknown("late"), "the mirror has no branch `late` (yet)");
        assert!(unknown("x.lock").contains("cannot be the name of a git branch"));
        assert!(!unknown("broken").is_empty());
        assert!(world.fetches() <= 8);
    }

    #[tokio::test]
    async fn without_the_index_the_mirror_tells_what_moved() {
        let world = World::start().await;
        let aur = Aur::new(&world.config()).expect("configured");
        for pkgbase in ["still", "moving"] {
            world.announce(pkgbase, "1-1", PUSHED);
            world.mirror(pkgbase, "1-1", PUSHED);
        }
        let mut cursors = nothing_known(&["moving", "still"]);
        pass(&aur, &mut cursors, PUSHED + DAY).await;
        world.mirror("moving", "2-1", PUSHED + DAY);
        world.requests();
        for mood in [Mood::Status(500), Mood::Status(404), Mood::Page, Mood::Truncated] {
            world.set_mood(mood);
            let mut cursors = cursors.clone();
            let answers = pass(&aur, &mut cursors, PUSHED + DAY + 60).await;
            assert_eq!(answers.files["still"], UNMOVED, "{mood:?}");
            assert_eq!(pkgver(&answers.files["moving"]), Some("2"), "{mood:?}");
            assert_eq!(cursors["moving"].as_ref().expect("moved").stamp, None, "{mood:?}");
            assert_eq!(answers.findings.len(), 1, "{mood:?}: {:?}", answers.findings);
        }
    }

    #[tokio::test]
    async fn when_nobody_answers_everything_is_unknown_and_one_finding_says_so() {
        let world = World::start().await;
        world.set_mood(Mood::Status(503));
        let mut config = world.config();
        config.aur.mirror_url = Some(world.url("git/nowhere.git"));
        let mut cursors = nothing_known(&["a", "b"]);
        let answers = pass(&Aur::new(&config).expect("configured"), &mut cursors, PUSHED).await;
        assert!(answers.files.values().all(|answer| matches!(answer, SourceAnswer::Unknown { .. })), "{answers:?}");
        assert_eq!(answers.files.len(), 2);
        let [finding] = answers.findings.as_slice() else { panic!("{:?}", answers.findings) };
        insta::assert_snapshot!(finding.to_string().replace(&world.url(""), "URL/"), @"2 packages of the AUR are unknown: the AUR index URL/index.json.gz answers 503 Service Unavailable, nor can the AUR mirror be asked: URL/git/nowhere.git answers 404 Not Found: the repository is private, has moved, or is gone; it is asked again in the next pass");

        config.aur.prefer_mirror = false;
        let answers = pass(&Aur::new(&config).expect("configured"), &mut cursors, PUSHED).await;
        assert!(answers.files.values().all(|answer| matches!(answer, SourceAnswer::Unknown { .. })), "{answers:?}");
        assert_eq!(world.fetches(), 0, "the AUR itself is not asked about every package");
    }

    #[tokio::test]
    async fn the_aur_itself_is_asked_package_by_package() {
        let world = World::start().await;
        let mut config = world.config();
        config.aur.prefer_mirror = false;
        let names: Vec<_> = (0..9).map(|number| format!("p{number}")).collect();
        for pkgbase in &names {
            world.announce(pkgbase, "1-1", PUSHED);
            world.commit(&format!("{pkgbase}.git"), "main", &package(pkgbase, "1-1"), PUSHED - DAY);
        }
        let aur = Aur::new(&config).expect("configured");
        let mut cursors = nothing_known(&names.iter().map(String::as_str).collect::<Vec<_>>());
        cursors.insert(name("missing"), None);
        world.announce("missing", "1-1", PUSHED);
        let answers = pass(&aur, &mut cursors, PUSHED + 60).await;
        let read = answers.files.values().filter(|answer| pkgver(answer) == Some("1"));
        assert_eq!(read.count(), 9, "{answers:?}");
        assert!(matches!(answers.files["missing"], SourceAnswer::Unknown { .. }));
        world.requests();

        cursors.remove("missing");
        let again = pass(&aur, &mut cursors, PUSHED + 60).await;
        assert!(again.files.values().all(|answer| *answer == UNMOVED), "{again:?}");
        world.announce("p1", "1-1", PUSHED + 30);
        let confirmed = pass(&aur, &mut cursors, PUSHED + 60).await;
        assert!(matches!(confirmed.files["p1"], SourceAnswer::Unmoved { cursor: Some(_) }), "{confirmed:?}");
        assert_eq!(world.fetches(), 0, "its commit is known");
    }

    #[tokio::test]
    async fn the_proxy_is_used_for_the_index_and_for_the_aur_itself() {
        let world = World::start().await;
        world.announce("foo", "1-1", PUSHED);
        world.commit("foo.git", "main", &package("foo", "1-1"), PUSHED);
        let mut config = world.config();
        config.aur.metadata_url = "http://aur.invalid/index.json.gz".to_owned();
        config.aur.git_url = Some("http://aur.invalid/git/{pkgbase}.git".to_owned());
        config.aur.prefer_mirror = false;
        config.aur.proxy = Some(world.url(""));
        let answers = pass(&Aur::new(&config).expect("configured"), &mut nothing_known(&["foo"]), PUSHED).await;
        assert_eq!(pkgver(&answers.files["foo"]), Some("1"), "{answers:?}");
    }

    #[tokio::test]
    async fn a_git_server_that_hangs_is_unknown_in_bounded_time() {
        let world = World::start().await;
        world.announce("foo", "1-1", PUSHED);
        world.mirror("foo", "1-1", PUSHED);
        world.hang();
        let config = SourcesConfig { timeout: Duration::from_secs(1), ..world.config() };
        let aur = Aur::new(&config).expect("configured");
        let mut cursors = nothing_known(&["foo"]);
        let answering = pass(&aur, &mut cursors, PUSHED + DAY);
        let answers = tokio::time::timeout(Duration::from_secs(30), answering).await.expect("in bounded time");
        assert!(matches!(answers.files["foo"], SourceAnswer::Unknown { .. }), "{answers:?}");
    }

    #[tokio::test]
    async fn an_aur_that_is_down_is_not_asked_for_every_package() {
        let world = World::start().await;
        let mut config = world.config();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        config.aur.git_url = Some(format!("http://{}/{{pkgbase}}.git", listener.local_addr().expect("bound")));
        config.aur.prefer_mirror = false;
        drop(listener);
        let names: Vec<String> = (0..20).map(|number| format!("p{number}")).collect();
        for name in &names {
            world.announce(name, "1-1", PUSHED);
        }
        let mut cursors = nothing_known(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let aur = Aur::new(&config).expect("configured");
        let answers = pass(&aur, &mut cursors, PUSHED + DAY).await;
        let unknown = |answer: &SourceAnswer| matches!(answer, SourceAnswer::Unknown { .. });
        assert!(answers.files.values().all(unknown), "{answers:?}");
        let alone = |answer: &&SourceAnswer| matches!(answer, SourceAnswer::Unknown { error, .. } if error.contains("is left alone"));
        let alone = answers.files.values().filter(alone).count();
        assert!(alone > 20 - SILENCES - config.aur.max_parallel, "{alone}");
    }

    #[tokio::test]
    async fn files_older_than_what_is_announced_say_so() {
        let world = World::start().await;
        world.announce("foo", "2-1", PUSHED);
        world.mirror("foo", "1-1", PUSHED - DAY);
        let mut cursors = nothing_known(&["foo"]);
        let answers = pass(&Aur::new(&world.config()).expect("configured"), &mut cursors, PUSHED + 60).await;
        assert!(matches!(&answers.files["foo"], SourceAnswer::Files { behind: Some(_), .. }), "{answers:?}");
        assert_eq!(cursors["foo"].as_ref().expect("moved").stamp, None);
    }

    #[tokio::test]
    async fn packages_that_settle_are_listed_again_and_not_fetched_again() {
        let world = World::start().await;
        world.announce("foo", "1-1", PUSHED);
        world.mirror("foo", "1-1", PUSHED);
        let aur = Aur::new(&world.config()).expect("configured");
        let mut cursors = nothing_known(&["foo"]);
        pass(&aur, &mut cursors, PUSHED + 60).await;
        world.requests();
        assert_eq!(pass(&aur, &mut cursors, PUSHED + 120).await.files["foo"], UNMOVED);
        assert_eq!(world.requests(), ["GET index (conditional)", "GET /mirror.git/info/refs"]);
    }

    #[test]
    fn a_configuration_that_cannot_work_says_what_is_missing() {
        let mut config = SourcesConfig {
            aur: AurConfig {
                metadata_url: "http://localhost/".to_owned(),
                mirror_url: None,
                git_url: None,
                prefer_mirror: true,
                proxy: None,
                clone_delay: Duration::ZERO,
                max_parallel: 1,
            },
            nvchecker: super::super::nvchecker::NvcheckerConfig::default(),
            forges: ForgesConfig::default(),
            cache_dir: PathBuf::from("unused"),
            timeout: Duration::from_secs(1),
            parallel: 1,
            per_host: 1,
            pass: HOUR,
        };
        let error = |config: &SourcesConfig| Aur::new(config).expect_err("cannot work");
        assert_eq!(error(&config), "neither sources.aur.mirror_url nor sources.aur.git_url is set");
        config.aur.git_url = Some("https://aur.archlinux.org/".to_owned());
        assert!(error(&config).contains("it must contain `{pkgbase}`"));
        config.aur.proxy = Some("not a proxy".to_owned());
        assert!(error(&config).starts_with("CI_AUR_PROXY cannot be used"));
    }
}

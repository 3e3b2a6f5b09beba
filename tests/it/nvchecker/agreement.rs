//! The real nvchecker and pkgwarden are asked the same, and have to find the same.

use std::collections::{BTreeMap, BTreeSet};

use pkgwarden::source::nvchecker::{Newest, NvcheckerConfig, Release};
use toml::{Table, Value};

use super::theirs::{Found, Real};
use super::upstream::Upstream;
use super::{config, fixtures, newest_at, request};

/// A token for whoever wants one.
const KEYS: &str = "[keys]\ngithub = \"token-of-the-test\"\n";

#[tokio::test]
async fn nvchecker_and_pkgwarden_find_the_same_versions() {
    let real = Real::find().await;
    let dir = tempfile::tempdir().expect("dir");
    let pacman = dir.path().join("pacman");
    fixtures::pacman_databases(&pacman);
    let (known, unknown): (Table, Table) =
        fixtures::cases(&pacman).into_iter().partition(|(_, case)| real.knows(case.as_table().expect("a table")));
    let mut upstream = Upstream::start(fixtures::served(dir.path()).await).await;
    let ours = ours(&known, &upstream, dir.path()).await;
    let (proxy, certificate) = upstream.proxy(dir.path()).await;
    let theirs = real.ask(&known, dir.path(), &proxy, &certificate, KEYS).await;
    let row = |(name, case): (&String, &Value)| Row::new(name, case, theirs.get(name), &ours[name]);
    let rows: Vec<Row> = known.iter().map(row).collect();
    let different = print(&rows);
    if !unknown.is_empty() {
        println!("not compared, because nvchecker lacks {:?} here: {} cases", real.missing(), unknown.len());
    }
    assert_eq!(different, 0);
    assert!(rows.iter().filter(|row| row.theirs.is_some()).count() > rows.len() / 2, "most cases have a version");
}

async fn ours(cases: &Table, upstream: &Upstream, dir: &std::path::Path) -> BTreeMap<String, Newest> {
    let keyfile = dir.join("our-keys.toml");
    std::fs::write(&keyfile, KEYS).expect("written");
    let mut config = config(upstream, dir);
    config.nvchecker = NvcheckerConfig { keyfile: Some(keyfile), ..config.nvchecker };
    let file = |name: &String, case: &Value| Table::from_iter([(name.clone(), case.clone())]).to_string();
    let requests: Vec<_> = cases.iter().map(|(name, case)| request(name, &file(name, case))).collect();
    newest_at(&config, &requests, 1_700_000_000).await
}

/// One case.
struct Row {
    name: String,
    source: String,
    theirs: Option<Found>,
    ours: Result<Release, String>,
}

impl Row {
    fn new(name: &str, case: &Value, theirs: Option<&Found>, ours: &Newest) -> Self {
        let ours = match ours {
            Newest::Found(release) => Ok(release.clone()),
            Newest::Unknown { error, .. } => Err(error.clone()),
        };
        let source = case["source"].as_str().expect("every case has a source").to_owned();
        Self { name: name.to_owned(), source, theirs: theirs.cloned(), ours }
    }

    /// Whatever they say has to be what we say. That we know more is no difference.
    fn equal(&self) -> bool {
        let same = |theirs: &Option<String>, ours: &Option<String>| theirs.is_none() || theirs == ours;
        match (&self.theirs, &self.ours) {
            (None, Err(_)) => true,
            (Some(theirs), Ok(ours)) => {
                let created = theirs.creation_time.as_ref().and_then(|time| time.parse().ok());
                theirs.version == ours.version
                    && same(&theirs.gitref, &ours.gitref)
                    && same(&theirs.revision, &ours.revision)
                    && same(&theirs.url, &ours.url)
                    && (created.is_none() || created == ours.created)
            }
            _ => false,
        }
    }

    fn ours(&self) -> String {
        match &self.ours {
            Ok(release) => release.version.clone(),
            Err(error) => format!("unknown: {}", error.chars().take(60).collect::<String>()),
        }
    }
}

/// The table, with everything about those that differ; how many those are.
#[expect(clippy::print_stdout, reason = "the table is there to be seen")]
fn print(rows: &[Row]) -> usize {
    println!("{:<38} {:<44} {:<44} equal", "case", "nvchecker", "pkgwarden");
    for row in rows {
        let theirs = row.theirs.as_ref().map_or("no version", |found| &found.version);
        let equal = if row.equal() { "yes" } else { "NO" };
        println!("{:<38} {theirs:<44} {:<44} {equal}", row.name, row.ours());
    }
    let different: Vec<&Row> = rows.iter().filter(|row| !row.equal()).collect();
    for row in &different {
        println!("{}: {:#?}\n{:#?}", row.name, row.theirs, row.ours);
    }
    let sources: BTreeSet<&str> = rows.iter().map(|row| row.source.as_str()).collect();
    println!("\n{:<12} {:>5} {:>5} {:>9}", "source", "tried", "equal", "different");
    for source in sources {
        let of_source = rows.iter().filter(|row| row.source == source);
        let (tried, equal) =
            of_source.fold((0, 0), |(tried, equal), row| (tried + 1, equal + usize::from(row.equal())));
        println!("{source:<12} {tried:>5} {equal:>5} {:>9}", tried - equal);
    }
    println!("{:<12} {:>5} {:>5} {:>9}", "all", rows.len(), rows.len() - different.len(), different.len());
    different.len()
}

//! What both programs are asked about: the cases that are written down, and lists of versions that are made up.

use std::fmt::Write as _;
use std::path::Path;

use pkgwarden::sys::process::Program;
use serde::Deserialize;
use toml::{Table, Value};

use super::upstream::Served;
use crate::support::Repo;

/// How many lists of versions are made up for each order.
const LISTS: usize = 60;

/// The cases by name, each a table of an `nvchecker.toml`.
pub fn cases(pacman: &Path) -> Table {
    let mut cases: Table = include_str!("../../../fixtures/nvchecker/cases.toml").parse().expect("TOML");
    for (_, case) in &mut cases {
        let case = case.as_table_mut().expect("a table");
        if case["source"].as_str() == Some("alpm") {
            case.insert("dbpath".to_owned(), Value::String(pacman.display().to_string()));
        }
    }
    for order in ["parse_version", "vercmp"] {
        for number in 0..LISTS {
            let mut case = Table::new();
            case.insert("source".into(), "regex".into());
            case.insert("url".into(), format!("https://pages.example/{order}/{number}").into());
            case.insert("regex".into(), r"(?m)^(\S+)$".into());
            case.insert("sort_version_key".into(), order.into());
            cases.insert(format!("order-{order}-{number}"), Value::Table(case));
        }
    }
    cases
}

/// What the services answer.
pub async fn served(dir: &Path) -> Vec<Served> {
    #[derive(Deserialize)]
    struct File {
        served: Vec<Served>,
    }
    let text = include_str!("../../../fixtures/nvchecker/served.toml");
    let mut served = toml::from_str::<File>(text).expect("TOML").served;
    served.extend(repositories(dir).await);
    let mut random = Random(42);
    for order in ["parse_version", "vercmp"] {
        for number in 0..LISTS {
            served.push(Served::text(format!("https://pages.example/{order}/{number}"), list(&mut random)));
        }
    }
    served
}

/// Git repositories: how many tags of which kind, and branches.
async fn repositories(dir: &Path) -> Vec<Served> {
    let tags = ["1.8", "v1.9.0", "v1.9.1", "v1.10.0", "v1.10.0-alpha", "v2.0.0-rc1", "release_3_1", "release_3_10"];
    let mut served = Vec::new();
    for (name, tags) in [("tags", tags.as_slice()), ("bare", &[])] {
        let path = dir.join(format!("{name}.git"));
        let repo = Repo::init(&path).await;
        let begin = "2024-01-01T00:00:00Z".parse().expect("a time");
        for branch in ["main", "dev"] {
            repo.commit(branch, &format!("On {branch}"), &[], begin).await;
        }
        for tag in tags {
            // An annotated tag has an id of its own.
            let annotated = tag.starts_with("v1.9");
            let args = if annotated {
                vec!["-c", "user.name=x", "-c", "user.email=x@x", "tag", "-a", "-m", "x", tag, "main"]
            } else {
                vec!["tag", tag, "dev"]
            };
            repo.git(&args).await;
        }
        served.push(advertised(&path, name).await);
    }
    served
}

/// What a git server says first about a repository.
async fn advertised(path: &Path, name: &str) -> Served {
    let program = Program::new("git").args(["upload-pack", "--advertise-refs", "--stateless-rpc"]).arg(path);
    let refs = program.run().await.expect("git runs");
    assert!(refs.status.success(), "{}", refs.stderr_text());
    Served {
        url: format!("https://git.example/{name}.git/info/refs?service=git-upload-pack"),
        bytes: [b"001e# service=git-upload-pack\n0000", refs.stdout.as_slice()].concat(),
        kind: Some("application/x-git-upload-pack-advertisement".to_owned()),
        ..Served::default()
    }
}

/// A database of pacman for each of two repositories.
pub fn pacman_databases(dir: &Path) {
    let desc = |name: &str, version: &str, provides: &str| {
        format!("%NAME%\n{name}\n\n%VERSION%\n{version}\n\n%FILENAME%\n{name}.pkg.tar.zst\n\n{provides}")
    };
    let provides = "%PROVIDES%\nlibproject.so=4-64\nproject-api\n\n";
    let packages = [
        ("core", "project", "1:2.0-1", provides),
        ("core", "project-libs", "9-9", ""),
        ("extra", "project", "3.0-2", ""),
        ("multilib", "lib32-project", "1-1", ""),
    ];
    std::fs::create_dir_all(dir.join("sync")).expect("made");
    std::fs::create_dir_all(dir.join("local")).expect("made");
    std::fs::write(dir.join("local/ALPM_DB_VERSION"), "9\n").expect("written");
    for repository in ["core", "extra", "multilib"] {
        let mut archive = tar::Builder::new(Vec::new());
        for (_, name, version, provides) in packages.iter().filter(|(of, ..)| *of == repository) {
            let text = desc(name, version, provides);
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, format!("{name}-{version}/desc"), text.as_bytes()).expect("written");
        }
        let bytes = archive.into_inner().expect("written");
        std::fs::write(dir.join("sync").join(format!("{repository}.db")), bytes).expect("written");
    }
}

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }

    fn one_of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }
}

/// Versions that are like each other, one a line.
fn list(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..=random.below(12) + 1 {
        writeln!(text, "{}", version(random)).expect("text");
    }
    text
}

fn version(random: &mut Random) -> String {
    let mut version = random.one_of(&["", "", "", "v", "V", "release-", "1!", "0"]).to_owned();
    version.push_str(random.one_of(&["1", "1.0", "1.0.0", "1.2", "1.10", "2", "01.2", "2024.1", "20240131"]));
    for _ in 0..random.below(4) {
        version.push_str(random.one_of(&[".", "-", "_", ".", "+", ""]));
        version.push_str(
            random.one_of(&["a", "b1", "rc", "rc2", "c1", "alpha", "beta2", "pre", "preview1", "dev", "dev3"]),
        );
        version.push_str(random.one_of(&["", "", ".1", "-1", "post1", ".post", "r5", "0", "x", "final", "+abc.5"]));
    }
    version
}

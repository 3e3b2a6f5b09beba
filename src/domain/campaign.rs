//! Sees what only all updates of one run together show: the same new thing in several packages at once.
//!
//! Each wave of 2026 changed hundreds of packages within hours, and all of them alike: the same package of
//! npm, the same host, the same account. One such update is something to read; several are an attack until
//! a person says otherwise. What packages have in common because they are released together (a version, the
//! host they always had, a dependency that somebody here has already) is not new, and so no trait.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::audit::disguise;
use super::classify::{Reason, Weight};
use super::desired::Snapshot;
use super::finding::Finding;
use super::folder::Folder;
use super::name::PkgBase;
use super::srcinfo::Srcinfo;

/// So many packages with the same new thing are a campaign. Variants of one package (`foo`, `foo-git`,
/// `foo-bin`) count once: they change together because they are one thing.
pub const PACKAGES: usize = 3;

/// Of a file larger than this only the beginning is looked at: it is data.
const LARGEST: usize = 256 << 10;

/// Hosts on which everybody has a place of their own: the first folder of the path belongs to the name.
const SHARED_HOSTS: [&str; 14] = [
    "github.com",
    "raw.githubusercontent.com",
    "gist.github.com",
    "gist.githubusercontent.com",
    "codeload.github.com",
    "gitlab.com",
    "codeberg.org",
    "bitbucket.org",
    "gitea.com",
    "git.sr.ht",
    "framagit.org",
    "huggingface.co",
    "storage.googleapis.com",
    "s3.amazonaws.com",
];

/// Programs that fetch packages of a language, and how they are told to.
const INSTALLERS: [&str; 16] = [
    "npm", "npx", "pnpm", "pnpx", "yarn", "bun", "bunx", "deno", "pip", "pip3", "pipx", "uv", "uvx", "gem", "cargo",
    "go",
];
const VERBS: [&str; 9] = ["install", "i", "add", "a", "ci", "x", "dlx", "exec", "get"];

/// What several updates can have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A package that a package manager of a language is told to fetch.
    Word,
    /// A host, or an account on a shared one.
    Host,
    /// A dependency that no package here had.
    Dependency,
    /// Somebody who may push to packages and could not when they were merged last.
    Person,
}

impl Kind {
    /// How much it weighs. Fetching the same foreign package in several recipes has no innocent reading.
    const fn weight(self) -> Weight {
        match self {
            Self::Word => Weight::Hostile,
            Self::Host | Self::Dependency | Self::Person => Weight::Trust,
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Word => "package fetched by a package manager",
            Self::Host => "host",
            Self::Dependency => "dependency",
            Self::Person => "maintainer",
        }
    }
}

/// Something new in an update.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Trait {
    /// What it is.
    pub kind: Kind,
    /// The thing itself.
    pub text: String,
}

/// An update, as far as campaigns are concerned.
#[derive(Debug, Clone)]
pub struct Update<'a> {
    /// The package.
    pub pkgbase: &'a PkgBase,
    /// Its files now, and as they would be.
    pub folders: Option<(&'a Folder, &'a Folder)>,
    /// People who may push to it, and could not when it was merged last.
    pub newcomers: BTreeSet<String>,
}

/// The same new thing in several packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Campaign {
    /// What it is.
    #[serde(flatten)]
    pub common: Trait,
    /// The packages, sorted.
    pub packages: Vec<PkgBase>,
    /// How much it weighs.
    pub weight: Weight,
}

/// What is here already, so that it is nothing new.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    hosts: BTreeSet<String>,
    names: BTreeSet<String>,
}

impl Known {
    /// What the packages of a monorepo have, and the names that the repositories they build against have.
    #[must_use]
    pub fn of(snapshot: &Snapshot, official: &BTreeSet<String>) -> Self {
        let mut known = Self { hosts: BTreeSet::new(), names: official.clone() };
        for srcinfo in snapshot.packages.values().filter_map(|package| package.srcinfo.as_ref()) {
            known.add(srcinfo);
        }
        known
    }

    /// What one package has.
    pub fn add(&mut self, srcinfo: &Srcinfo) {
        self.hosts.extend(srcinfo.sources.iter().flat_map(|source| hosts(source.written.as_bytes())));
        self.names.extend(srcinfo.dependencies.iter().map(|dependency| dependency.name.clone()));
        for member in &srcinfo.members {
            self.names.insert(member.name.to_string());
            self.names.extend(member.provides.iter().map(|provided| provided.name.clone()));
        }
    }

    fn has(&self, it: &Trait) -> bool {
        match it.kind {
            Kind::Host => self.hosts.contains(&it.text),
            Kind::Dependency => self.names.contains(&it.text),
            Kind::Word | Kind::Person => false,
        }
    }
}

/// Finds what several updates of one run have in common that none of them had before.
#[must_use]
pub fn detect(updates: &[Update<'_>], known: &Known) -> Vec<Campaign> {
    let mut by_trait: BTreeMap<Trait, BTreeSet<&PkgBase>> = BTreeMap::new();
    for update in updates {
        for it in traits(update) {
            by_trait.entry(it).or_default().insert(update.pkgbase);
        }
    }
    let is_campaign = |(it, packages): &(Trait, BTreeSet<&PkgBase>)| families(packages) >= PACKAGES && !known.has(it);
    let found = by_trait.into_iter().filter(is_campaign);
    let campaign = |(common, packages): (Trait, BTreeSet<&PkgBase>)| Campaign {
        weight: common.kind.weight(),
        common,
        packages: packages.into_iter().cloned().collect(),
    };
    found.map(campaign).collect()
}

/// How many things packages are, variants of the same one counted once.
fn families(packages: &BTreeSet<&PkgBase>) -> usize {
    const VARIANTS: [&str; 14] = [
        "-git",
        "-bin",
        "-svn",
        "-hg",
        "-nightly",
        "-beta",
        "-alpha",
        "-dev",
        "-stable",
        "-lts",
        "-appimage",
        "-electron",
        "-wayland",
        "-debug",
    ];
    let family = |pkgbase: &&PkgBase| {
        let mut name = pkgbase.as_str();
        while let Some(shorter) = VARIANTS.iter().find_map(|variant| name.strip_suffix(variant)) {
            name = shorter;
        }
        name.to_owned()
    };
    packages.iter().map(family).collect::<BTreeSet<_>>().len()
}

/// What is new in one update.
fn traits(update: &Update<'_>) -> BTreeSet<Trait> {
    let mut found: BTreeSet<Trait> =
        update.newcomers.iter().map(|name| Trait { kind: Kind::Person, text: name.clone() }).collect();
    if let Some((old, new)) = update.folders {
        let before = in_folder(old, new);
        found.extend(in_folder(new, old).into_iter().filter(|it| !before.contains(it)));
    }
    found
}

/// Everything in the files of a folder that differ from another's.
fn in_folder(folder: &Folder, other: &Folder) -> BTreeSet<Trait> {
    let mut found = BTreeSet::new();
    let mut add = |kind, texts: Vec<String>| found.extend(texts.into_iter().map(|text| Trait { kind, text }));
    for (path, file) in folder.from_source().files.iter().filter(|(path, file)| other.files.get(*path) != Some(*file)) {
        let bytes = &file.bytes[..file.bytes.len().min(LARGEST)];
        add(Kind::Host, hosts(bytes));
        if path == ".SRCINFO" {
            let srcinfo = Srcinfo::parse(bytes).ok();
            // Which library of a package is used is found out anew with each rebuild.
            let packages = srcinfo.iter().flat_map(|it| &it.dependencies).filter(|it| !it.name.contains(".so"));
            let names = packages.map(|it| it.name.clone());
            add(Kind::Dependency, names.collect());
        } else if !bytes.contains(&0) {
            let plain = disguise::plain(bytes).map_or_else(|| bytes.to_vec(), |plain| plain.bytes);
            let text = String::from_utf8_lossy(&plain);
            add(Kind::Word, text.lines().flat_map(words).collect());
        }
    }
    found
}

/// The hosts of all addresses in a text, with the account on a shared one.
fn hosts(text: &[u8]) -> Vec<String> {
    let part = |bytes: &[u8], more: &[u8]| {
        let legal = |byte: &&u8| byte.is_ascii_alphanumeric() || more.contains(byte);
        let count = bytes.iter().take_while(legal).count();
        String::from_utf8_lossy(&bytes[..count]).to_ascii_lowercase()
    };
    let host = |at: usize| {
        let mut rest = &text[at + 3..];
        let authority = rest.iter().position(|byte| b"/\"' \t\n)?#".contains(byte)).unwrap_or(rest.len());
        rest = &rest[memchr::memrchr(b'@', &rest[..authority]).map_or(0, |at| at + 1)..];
        let host = part(rest, b".-");
        let host = host.trim_matches('.').to_owned();
        let path = rest.iter().position(|&byte| byte == b'/').map_or(&rest[..0], |slash| &rest[slash + 1..]);
        if SHARED_HOSTS.contains(&host.as_str()) {
            let account = part(path, b"._-~");
            return (!account.is_empty()).then(|| format!("{host}/{account}"));
        }
        host.contains('.').then_some(host)
    };
    memchr::memmem::find_iter(text, "://").filter_map(host).collect()
}

/// What a line tells package managers to fetch.
fn words(line: &str) -> Vec<String> {
    let commands = line.split(|c: char| ";&|`".contains(c));
    commands.flat_map(fetched).collect()
}

/// What one command fetches.
fn fetched(command: &str) -> Vec<String> {
    let mut tokens = command.split(|c: char| c.is_whitespace() || "(){}".contains(c)).filter(|token| !token.is_empty());
    let program = |token: &str| token.rsplit('/').next().unwrap_or(token).to_owned();
    let Some(installer) = tokens.by_ref().map(program).find(|program| INSTALLERS.contains(&program.as_str())) else {
        return Vec::new();
    };
    let runs_at_once = matches!(installer.as_str(), "npx" | "pnpx" | "bunx" | "uvx");
    let mut rest: Vec<&str> = tokens.collect();
    // Options may stand before the verb, as in `npm --global install x`.
    let verb = rest.iter().position(|token| !token.starts_with('-'));
    match verb.filter(|&at| VERBS.contains(&rest[at])) {
        Some(at) => drop(rest.drain(..=at)),
        None if !runs_at_once => return Vec::new(),
        None => {}
    }
    rest.into_iter().filter_map(name_of_package).collect()
}

/// The name in `name@1.2`, `name==1.2`, `@scope/name`; none for options, files, variables, verbs.
fn name_of_package(token: &str) -> Option<String> {
    let end = token.char_indices().skip(1).find(|(_, c)| "@=<>~[".contains(*c)).map_or(token.len(), |(at, _)| at);
    let name = &token[..end];
    let legal = |c: char| c.is_ascii_alphanumeric() || "@/._-".contains(c);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    let is_file = name.starts_with(['.', '/', '-']) || matches!(ending, Some("txt" | "whl"));
    let fits = name.len() > 1 && name.chars().all(legal) && name.contains(|c: char| c.is_ascii_alphabetic());
    let known = VERBS.contains(&name) || INSTALLERS.contains(&name);
    (fits && !is_file && !known).then(|| name.to_ascii_lowercase())
}

impl Campaign {
    /// The reason that holds one of its packages.
    #[must_use]
    pub fn reason(&self, pkgbase: &PkgBase) -> Reason {
        let others: Vec<&str> =
            self.packages.iter().filter(|other| *other != pkgbase).map(PkgBase::as_str).take(NAMED).collect();
        let more = self.packages.len() - 1 - others.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let noun = self.common.kind.noun();
        Reason {
            code: "campaign",
            severity: self.weight,
            file: "PKGBUILD".to_owned(),
            line: None,
            field: None,
            rule: None,
            old: None,
            new: Some(super::classify::text::shown(self.common.text.as_bytes())),
            message: format!(
                "the same new {noun} came to other packages at the same time: {}{more}",
                others.join(", ")
            ),
        }
    }

    /// What the run as a whole says about it, once.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let names: Vec<&str> = self.packages.iter().take(NAMED).map(PkgBase::as_str).collect();
        let more = self.packages.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!(
            "{} packages got the same new {} in one run, `{}`: {}{more}; their updates are held",
            self.packages.len(),
            self.common.kind.noun(),
            super::classify::text::shown(self.common.text.as_bytes()),
            names.join(", ")
        );
        Finding::error("campaign", message)
            .hint("read their reviews together; `pkgwarden audit` finds where else it is")
    }
}

/// How many packages are named.
const NAMED: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn base(name: &str) -> PkgBase {
        PkgBase::new(name).expect("legal")
    }

    fn recipe(version: &str, body: &str) -> Folder {
        Folder::default()
            .with("PKGBUILD", format!("pkgver={version}\nurl=https://old.example/\nbuild() {{\n  {body}\n}}\n"))
    }

    fn told(updates: &[(&str, Folder, Folder)]) -> Vec<String> {
        let names: Vec<PkgBase> = updates.iter().map(|(name, ..)| base(name)).collect();
        let updates: Vec<Update<'_>> = updates
            .iter()
            .zip(&names)
            .map(|((_, old, new), pkgbase)| Update { pkgbase, folders: Some((old, new)), newcomers: BTreeSet::new() })
            .collect();
        let found = detect(&updates, &Known::default());
        found
            .iter()
            .map(|it| format!("{:?} {} {:?} {}", it.common.kind, it.common.text, it.weight, it.packages.len()))
            .collect()
    }

    fn alike(names: &[&str], body: &str) -> Vec<String> {
        let updates: Vec<_> = names.iter().map(|&name| (name, recipe("1", "make"), recipe("2", body))).collect();
        told(&updates)
    }

    #[test]
    fn the_waves_are_seen_however_they_are_spelt() {
        let three = ["a", "b", "c"];
        assert_eq!(alike(&three, "npm install atomic-lockfile"), ["Word atomic-lockfile Hostile 3"]);
        assert_eq!(alike(&three, "'b''u''n' a\"dd\" js-digest@1.2"), ["Word js-digest Hostile 3"]);
        assert_eq!(alike(&three, "python -m pip install --user evil==1"), ["Word evil Hostile 3"]);
        assert_eq!(alike(&three, "curl https://x:y@EVIL.example:8/z"), ["Host evil.example Trust 3"]);
        assert_eq!(alike(&three, "git clone https://github.com/Mallory/x"), ["Host github.com/mallory Trust 3"]);
    }

    #[test]
    fn a_release_of_forty_packages_together_is_none() {
        let update = |number: usize| {
            let url = |version: &str| recipe(version, &format!("curl https://old.example/{version}/x; cmake -B build"));
            (format!("kde-{number}"), url("6.1.0"), url("6.1.1"))
        };
        let updates: Vec<_> = (0..40).map(update).collect();
        let updates: Vec<_> =
            updates.iter().map(|(name, old, new)| (name.as_str(), old.clone(), new.clone())).collect();
        assert_eq!(told(&updates), [""; 0]);
    }

    #[test]
    fn two_packages_or_three_variants_of_one_are_none() {
        assert_eq!(alike(&["a", "b"], "npm i evil"), [""; 0]);
        assert_eq!(alike(&["a", "a-git", "a-nightly-bin"], "npm i evil"), [""; 0]);
        assert_eq!(alike(&["a", "a-git", "b", "c"], "npm i evil"), ["Word evil Hostile 4"]);
    }

    #[test]
    fn what_somebody_here_has_already_is_nothing_new() {
        let srcinfo = |text: &str| {
            let text = format!("pkgbase = a\n\tpkgver = 1\n\tpkgrel = 1\n\tarch = any\n{text}\npkgname = a\n");
            text.into_bytes()
        };
        let old = Folder::default().with(".SRCINFO", srcinfo(""));
        let new =
            Folder::default().with(".SRCINFO", srcinfo("\tdepends = qt7-base>=7\n\tsource = https://new.example/a\n"));
        let names = [base("a"), base("b"), base("c")];
        let updates: Vec<Update<'_>> = names
            .iter()
            .map(|pkgbase| Update { pkgbase, folders: Some((&old, &new)), newcomers: BTreeSet::new() })
            .collect();
        assert_eq!(detect(&updates, &Known::default()).len(), 2);
        let mut known = Known::default();
        known.add(&Srcinfo::parse(new.get(".SRCINFO").expect("there")).expect("right"));
        assert_eq!(detect(&updates, &known), []);
    }

    #[test]
    fn somebody_who_adopts_many_packages_is_seen_even_without_a_change() {
        let names = [base("a"), base("b"), base("c")];
        let newcomers: BTreeSet<String> = ["eve".to_owned()].into();
        let updates: Vec<Update<'_>> =
            names.iter().map(|pkgbase| Update { pkgbase, folders: None, newcomers: newcomers.clone() }).collect();
        let found = detect(&updates, &Known::default());
        insta::assert_snapshot!(found[0].finding(), @"3 packages got the same new maintainer in one run, `eve`: a, b, c; their updates are held; read their reviews together; `pkgwarden audit` finds where else it is");
        insta::assert_snapshot!(found[0].reason(&names[1]).message, @"the same new maintainer came to other packages at the same time: a, c");
    }

    #[test]
    fn only_names_of_packages_are_words() {
        assert_eq!(words("npm ci --ignore-scripts"), [""; 0]);
        assert_eq!(words("npm run build; make install c"), [""; 0]);
        assert_eq!(words("pip install -r requirements.txt . ./x \"$wheel\""), [""; 0]);
        assert_eq!(words("cd x && yarn --silent add @Evil/a bb@1 && make install c"), ["@evil/a", "bb"]);
        assert_eq!(words("(npx evil)"), ["evil"]);
        assert_eq!(words("install -Dm644 npm.conf"), [""; 0]);
    }
}

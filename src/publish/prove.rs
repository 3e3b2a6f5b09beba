//! Proves a published repository whole, from what lies on the disk and nothing else.
//!
//! Every entry of the database has its file, with that size, checksum and, where it is signed, a good signature; the
//! list of files agrees; nothing lies there that nothing names; what packages need of each other is there; the links
//! lead where they should, `pkgs.txt`, `pkgs.files.txt` and `lastupdate` say the same, and no kept generation has a hole.
//! Nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::database::{self, DatabaseEntry};
use super::difference::sha256;
use super::layout::failed;
use super::signer::{SUFFIX, gpg, signature_of};
use super::{Generation, PublishError, Publisher, archive, listing, pkginfo};
use crate::domain::finding::Finding;
use crate::domain::publication::key::Fingerprint;
use crate::domain::publication::need::{Need, Offer, offer};
use crate::telemetry::in_full;

/// What is compared with a published repository.
#[derive(Debug, Clone, Default)]
pub struct Against {
    /// A public key as gpg exports it; without it, the one that is published, if there is one.
    pub keyring: Option<PathBuf>,
    /// The key that has to have signed.
    pub key: Option<Fingerprint>,
    /// Databases of the distribution; without any, only what packages of this repository need of each other is looked
    /// at.
    pub official_databases: Vec<PathBuf>,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Proof {
    /// The name of the repository.
    pub name: String,
    /// The generation that is published; `None` if somebody else made the repository.
    pub generation: Option<u64>,
    /// How many packages it has.
    pub packages: usize,
    /// Whether signatures were looked at.
    pub signed: bool,
    /// What is wrong; empty if it is whole.
    pub findings: Vec<Finding>,
}

/// Looks at the repository in a folder.
///
/// # Errors
/// If there is none, or it cannot be read at all.
pub fn prove(publisher: &Publisher, against: &Against) -> Result<Proof, PublishError> {
    let name = publisher.layout.known_name()?.to_owned();
    let exported = publisher.dir().join(format!("{name}.gpg"));
    let keyring = against.keyring.clone().or_else(|| exported.is_file().then_some(exported));
    let mut prover = Prover { publisher, name, keyring, key: against.key.clone(), findings: Vec::new() };
    let database = prover.database()?;
    let entries = database::read(&database)?;
    prover.databases(&database, &entries);
    for entry in &entries {
        prover.file(entry);
    }
    prover.generations(&entries)?;
    prover.strays(&entries)?;
    prover.needs(&entries, &against.official_databases)?;
    Ok(Proof {
        generation: publisher.layout.current()?,
        packages: entries.len(),
        signed: prover.keyring.is_some(),
        name: prover.name,
        findings: prover.findings,
    })
}

struct Prover<'a> {
    publisher: &'a Publisher,
    name: String,
    keyring: Option<PathBuf>,
    key: Option<Fingerprint>,
    findings: Vec<Finding>,
}

impl Prover<'_> {
    fn tell(&mut self, code: &'static str, file: &str, message: String, hint: &str) {
        self.findings.push(Finding::error(code, message).at(file, None).hint(hint));
    }

    /// The database that pacman is given, which has to be the one of the current generation.
    fn database(&mut self) -> Result<PathBuf, PublishError> {
        let layout = &self.publisher.layout;
        let served = self.publisher.dir().join(format!("{}.db", self.name));
        if !served.is_file() {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(failed("read", &served)(missing));
        }
        let Some(number) = layout.current()? else { return Ok(served) };
        let database = layout.database(number)?;
        let files = layout.generation(number).join(layout.files_name()?);
        let links = [
            (format!("{}.db", self.name), &database),
            (layout.database_name()?, &database),
            (format!("{}.files", self.name), &files),
            (layout.files_name()?, &files),
        ];
        for (link, target) in links {
            let path = self.publisher.dir().join(&link);
            if fs::canonicalize(&path).ok() != fs::canonicalize(target).ok() {
                let message = format!("it does not lead to generation {number}");
                self.tell(
                    "repo-link",
                    &link,
                    message,
                    "publish something, or run `pkgwarden repo rollback` to the current",
                );
            }
        }
        Ok(served)
    }

    fn databases(&mut self, database: &Path, entries: &[DatabaseEntry]) {
        let files = self.publisher.dir().join(format!("{}.files", self.name));
        for path in [database, &files] {
            self.signature(path);
        }
        let named = |entries: &[DatabaseEntry]| -> BTreeSet<(String, String)> {
            entries.iter().map(|entry| (entry.file.clone(), entry.sha256.clone())).collect()
        };
        match database::read(&files) {
            Ok(listed) if named(&listed) == named(entries) => self.lists(&files, entries),
            Ok(_) => {
                let message = "it does not name the same packages as the database".to_owned();
                self.tell("repo-files-database", &verify_name(&files), message, REPUBLISH);
            }
            Err(error) => self.tell("repo-files-database", &verify_name(&files), error.to_string(), REPUBLISH),
        }
    }

    /// What the list of files says is in each package.
    fn lists(&mut self, files: &Path, entries: &[DatabaseEntry]) {
        let Ok(lists) = listing::lists(files) else {
            return self.tell("repo-files-database", &verify_name(files), "it cannot be read".to_owned(), REPUBLISH);
        };
        for entry in entries {
            let path = self.publisher.dir().join(&entry.file);
            let Ok(inside) = fs::File::open(&path).and_then(archive::names) else { continue };
            if lists.get(&format!("{}-{}", entry.name, entry.version)) != Some(&inside) {
                let message = format!("it does not list what is in `{}`", entry.file);
                self.tell("repo-files-database", &verify_name(files), message, REPUBLISH);
            }
        }
    }

    fn signature(&mut self, path: &Path) {
        let Some(keyring) = self.keyring.clone() else { return };
        let (name, signature) = (verify_name(path), signature_of(path));
        if !signature.is_file() {
            return self.tell("repo-signature-missing", &name, "it has no signature".to_owned(), REPUBLISH);
        }
        if let Err(problem) = gpg::verify(path, &signature, &keyring, self.key.as_ref()) {
            let message = format!("its signature is not good: {problem}");
            self.tell(
                "repo-signature-bad",
                &name,
                message,
                "remove the signature, and publish something: it is signed again",
            );
        }
    }

    fn file(&mut self, entry: &DatabaseEntry) {
        let path = self.publisher.dir().join(&entry.file);
        let Ok(metadata) = fs::metadata(&path) else {
            let message = format!("the database names it for `{}`, and it is not there", entry.name);
            return self.tell("repo-file-missing", &entry.file, message, RESTORE);
        };
        if let Some(size) = entry.size.filter(|&size| size != metadata.len()) {
            let message = format!("it has {} bytes, and the database says {size}", metadata.len());
            return self.tell("repo-file-size", &entry.file, message, RESTORE);
        }
        // What is packed otherwise was published before us.
        let info = fs::File::open(&path).and_then(pkginfo::extract);
        if let Some(problem) = info.ok().and_then(|info| pkginfo::parse(&info).err()) {
            let message = format!("its .PKGINFO {problem}, so that its entry in the database may say what it likes");
            self.tell("repo-file-strange", &entry.file, message, "remove the package, and build it again");
        }
        match sha256(&path) {
            Ok(found) if found == entry.sha256 || entry.sha256.is_empty() => {
                self.signature(&path);
                if entry.signed_otherwise(self.publisher.dir()).is_some() {
                    let message = "the database has another signature of it, and pacman goes by that".to_owned();
                    self.tell("repo-signature-database", &entry.file, message, REPUBLISH);
                }
            }
            Ok(found) => {
                let message = format!("its checksum is {found}, and the database says {}", entry.sha256);
                self.tell("repo-file-checksum", &entry.file, message, RESTORE);
            }
            Err(error) => self.tell("repo-file-checksum", &entry.file, error.to_string(), RESTORE),
        }
    }

    /// The manifest of the current generation says the same, and no kept one has a hole.
    fn generations(&mut self, entries: &[DatabaseEntry]) -> Result<(), PublishError> {
        let layout = self.publisher.layout.clone();
        let Some(current) = layout.current()? else { return Ok(()) };
        for number in layout.numbers()?.into_iter().filter(|&number| number <= current) {
            let at = format!(".generations/{number}");
            let generation = match layout.manifest(number) {
                Ok(generation) => generation,
                Err(error) => {
                    self.tell("repo-manifest", &at, error.to_string(), REPUBLISH);
                    continue;
                }
            };
            let named: BTreeSet<_> =
                generation.entries.iter().map(|one| (one.file.as_str(), one.sha256.as_str())).collect();
            let published: BTreeSet<_> = entries.iter().map(|one| (one.file.as_str(), one.sha256.as_str())).collect();
            if number == current {
                if named != published {
                    let message = "its manifest does not name what the database names".to_owned();
                    self.tell("repo-manifest", &at, message, REPUBLISH);
                }
                self.texts(&generation);
            }
            for entry in generation.entries.iter().filter(|_| number != current) {
                if !self.publisher.dir().join(&entry.file).is_file() {
                    let message = format!("it names `{}`, which is not there", entry.file);
                    self.tell("repo-generation-hole", &at, message, RESTORE);
                }
            }
        }
        Ok(())
    }

    /// The lists beside the database, as they are served, say the same as the manifest.
    fn texts(&mut self, generation: &Generation) {
        for (name, wanted) in self.publisher.layout.expected_texts(generation) {
            let message = match fs::read(self.publisher.dir().join(name)) {
                Ok(found) if found == wanted.as_bytes() => continue,
                Ok(found) => differs(&String::from_utf8_lossy(&found), &wanted),
                Err(error) => format!("it cannot be read: {error}"),
            };
            self.tell("repo-list", name, message, REPUBLISH);
        }
    }

    /// Files that nothing names.
    fn strays(&mut self, entries: &[DatabaseEntry]) -> Result<(), PublishError> {
        let layout = &self.publisher.layout;
        let mut named = layout.known_files()?;
        match layout.named_by_others() {
            Ok(others) => named.extend(others),
            // It may name any of the files, so that none of them is known to be a stray.
            Err(error) => {
                let hint = "mend or remove that database: until then, no file is removed from the folder";
                self.tell("repo-other-database", ".", in_full(&error), hint);
                return Ok(());
            }
        }
        named.extend(entries.iter().map(|entry| entry.file.clone()));
        let dir = self.publisher.dir();
        let there = fs::read_dir(dir).map_err(failed("list", dir))?;
        let mut there: Vec<String> = there.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        there.sort();
        for file in there.into_iter().filter(|file| file.contains(".pkg.tar")) {
            if !named.contains(file.strip_suffix(SUFFIX).unwrap_or(&file)) {
                self.tell(
                    "repo-orphan",
                    &file,
                    "no database names it".to_owned(),
                    "remove it, or move it to the archive",
                );
            }
        }
        Ok(())
    }

    /// What packages need of each other, and of the distribution where its databases are known.
    fn needs(&mut self, entries: &[DatabaseEntry], official: &[PathBuf]) -> Result<(), PublishError> {
        let others = official.iter().map(|path| database::read(path)).collect::<Result<Vec<_>, _>>()?.concat();
        let mut offers: BTreeMap<&str, Vec<Offer<'_>>> = BTreeMap::new();
        for entry in entries.iter().chain(&others) {
            offers.entry(entry.name.as_str()).or_default().push((entry.name.as_str(), Some(entry.version.clone())));
            for written in &entry.provides {
                let offer = offer(written);
                offers.entry(offer.0).or_default().push(offer);
            }
        }
        for entry in entries {
            for written in &entry.depends {
                let need = Need::parse(written);
                let there = offers.get(need.name);
                let known = there.is_some() || !official.is_empty();
                if known && !there.is_some_and(|offers| offers.iter().any(|offer| need.is_met_by(offer))) {
                    let message = format!("it needs `{written}`, which nothing provides");
                    let hint = format!("rebuild `{}`, or publish what it needs", entry.base);
                    self.tell("repo-dependency", &entry.file, message, &hint);
                }
            }
        }
        Ok(())
    }
}

const REPUBLISH: &str = "publish anything: database, signatures and manifest are written anew";
const RESTORE: &str = "take the file from a mirror, or build the package again with a higher pkgrel";

/// How a list differs from what it has to be, by the first line that does.
fn differs(found: &str, wanted: &str) -> String {
    let named = |line: &str| format!("`{}`", line.chars().take(120).collect::<String>().escape_debug());
    let (there, due): (BTreeSet<&str>, BTreeSet<&str>) = (found.lines().collect(), wanted.lines().collect());
    match (due.difference(&there).next(), there.difference(&due).next()) {
        (Some(missing), Some(odd)) => format!("it has no line {}, and one {}", named(missing), named(odd)),
        (Some(missing), None) => format!("it has no line {}", named(missing)),
        (None, Some(odd)) => format!("it has a line {}, which nothing that is published stands for", named(odd)),
        (None, None) => "its lines are in another order, or there more than once".to_owned(),
    }
}

fn verify_name(path: &Path) -> String {
    super::verify::file_name(path)
}

//! Makes one generation after another: places files, has databases written and signed, and swaps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::database::{self, DatabaseEntry};
use super::difference::{Difference, sha256};
use super::generation::published;
use super::layout::{failed, write_synced};
use super::signer::{Signing, gpg, signature_of};
use super::{Generation, PublishError, PublishedPackage, Publisher, Step, repo_tool, verify};
use crate::domain::name::PkgName;
use crate::sys::fs::write_atomic;

/// The public key that signatures are verified with before they are published.
const KEYRING: &str = "key.gpg";

impl Publisher {
    /// Makes the next generation and publishes it.
    pub(super) fn make(
        &self,
        before: &[PublishedPackage],
        mut difference: Difference,
    ) -> Result<Generation, PublishError> {
        let layout = &self.layout;
        let number = self.next_number()?;
        let kept_files = layout.published_files()?;
        // What cannot be read keeps files from being removed, and nothing else.
        let others = layout.named_by_others().unwrap_or_default();
        difference.give_way(&layout.dir, &kept_files, &others)?;
        let keyring = self.fetch_key()?;
        self.sign_packages(before, &difference, keyring.as_deref())?;
        self.reached(Step::Signed)?;
        let files: Vec<_> = difference.added.iter().map(|added| added.entry.file.as_str()).collect();
        layout.begin(number, &files)?;
        self.reached(Step::Begun)?;
        for added in &difference.added {
            layout.place(&added.path, &added.entry.file, &kept_files)?;
        }
        self.reached(Step::Placed)?;
        let entries = self.write_database(number, &difference)?;
        self.reached(Step::Written)?;
        let known = layout.current()?.and_then(|number| layout.manifest(number).ok());
        let Difference { builds, removed, unexpected, not_replaced, findings, .. } = difference;
        let generation = Generation {
            number,
            created: self.clock.now(),
            entries: published(entries, known.as_ref(), &difference.added, &builds),
            removed,
            unexpected,
            not_replaced,
            findings,
            restores: None,
        };
        self.finish(generation, keyring.as_deref())
    }

    /// Makes a generation of what an earlier one had, and publishes it.
    pub(super) fn restore(&self, earlier: u64) -> Result<Generation, PublishError> {
        let layout = &self.layout;
        let current = layout.current()?.unwrap_or(0);
        let then = match layout.manifest(earlier) {
            Ok(then) if earlier <= current => then,
            _ => return Err(PublishError::NoGeneration(earlier)),
        };
        for entry in &then.entries {
            self.is_there(&entry.file, &entry.sha256)?;
        }
        let (number, keyring) = (self.next_number()?, self.fetch_key()?);
        self.sign_packages(&then.entries, &Difference::default(), keyring.as_deref())?;
        layout.begin(number, &[])?;
        self.reached(Step::Begun)?;
        let entries = self.restore_database(earlier, number)?;
        self.reached(Step::Written)?;
        let now: BTreeSet<PkgName> = self.current()?.into_iter().map(|package| package.name).collect();
        let then_names: BTreeSet<PkgName> = then.entries.iter().map(|package| package.name.clone()).collect();
        let generation = Generation {
            number,
            created: self.clock.now(),
            entries: published(entries, Some(&then), &[], &BTreeMap::new()),
            removed: now.difference(&then_names).cloned().collect(),
            unexpected: Vec::new(),
            not_replaced: Vec::new(),
            findings: Vec::new(),
            restores: Some(earlier),
        };
        self.finish(generation, keyring.as_deref())
    }

    /// Signs the databases of a generation, completes it, and makes it the current one.
    fn finish(&self, generation: Generation, keyring: Option<&Path>) -> Result<Generation, PublishError> {
        let (layout, number) = (&self.layout, generation.number);
        self.sign_databases(number, keyring)?;
        self.reached(Step::Sealed)?;
        layout.complete(&generation)?;
        self.reached(Step::Completed)?;
        layout.link(false)?;
        layout.swap(number)?;
        self.reached(Step::Swapped)?;
        self.tidy();
        Ok(generation)
    }

    fn next_number(&self) -> Result<u64, PublishError> {
        let layout = &self.layout;
        Ok(layout.numbers()?.first().copied().max(layout.current()?).unwrap_or(0) + 1)
    }

    /// Gets the public key, so that a signer that is away is noticed before anything is changed.
    fn fetch_key(&self) -> Result<Option<PathBuf>, PublishError> {
        let Some(signing) = &self.signing else { return Ok(None) };
        let (incoming, public) = (self.layout.incoming(), signing.public_key()?);
        std::fs::create_dir_all(&incoming).map_err(failed("create the folder", &incoming))?;
        let keyring = incoming.join(KEYRING);
        write_synced(&keyring, &public)?;
        Ok(Some(keyring))
    }

    /// Signs what is new, and what is to be published without a good signature by this key.
    fn sign_packages(
        &self,
        before: &[PublishedPackage],
        difference: &Difference,
        keyring: Option<&Path>,
    ) -> Result<(), PublishError> {
        let (Some(signing), Some(keyring)) = (&self.signing, keyring) else { return Ok(()) };
        for added in &difference.added {
            signing.sign(&added.path, &signature_of(&added.path), keyring)?;
        }
        let exported = self.layout.dir.join(format!("{}.gpg", self.layout.known_name()?));
        let public = std::fs::read(keyring).map_err(failed("read", keyring))?;
        let same_key = std::fs::read(&exported).is_ok_and(|known| known == public);
        let sure = if same_key { self.signed_files()? } else { BTreeSet::new() };
        let leaves = |name: &PkgName| {
            difference.removed.contains(name) || difference.entering().any(|entering| entering.name == *name)
        };
        let staying = before.iter().filter(|package| !leaves(&package.name));
        let staying = staying.map(|package| (&package.file, &package.sha256));
        let again = difference.again.iter().map(|file| (&file.entry.file, &file.entry.sha256));
        for (file, sha256) in staying.chain(again).filter(|(file, _)| !sure.contains(*file)) {
            self.sign_again(signing, file, sha256, keyring)?;
        }
        if !same_key {
            write_atomic(&exported, &public)?;
        }
        Ok(())
    }

    /// The files of the current generation that have a signature, if its database has one: then each was verified with
    /// the key that was published then.
    fn signed_files(&self) -> Result<BTreeSet<String>, PublishError> {
        let Some(number) = self.layout.current()? else { return Ok(BTreeSet::new()) };
        if !signature_of(&self.layout.database(number)?).is_file() {
            return Ok(BTreeSet::new());
        }
        let files = self.current()?.into_iter().map(|package| package.file);
        Ok(files.filter(|file| signature_of(&self.layout.dir.join(file)).is_file()).collect())
    }

    /// Signs a published file, unless its signature is good. What a signer that went away left done stays done.
    fn sign_again(&self, signing: &Signing, file: &str, sha256: &str, keyring: &Path) -> Result<(), PublishError> {
        let path = self.layout.dir.join(file);
        let signature = signature_of(&path);
        if signature.is_file() && gpg::verify(&path, &signature, keyring, Some(&signing.key)).is_ok() {
            return Ok(());
        }
        self.is_there(file, sha256)?;
        let made = self.layout.incoming().join(signature.file_name().expect("it has a name"));
        signing.sign(&path, &made, keyring)?;
        std::fs::rename(&made, &signature).map_err(failed("put in place", &signature))
    }

    /// Whether a published file is what its database says.
    fn is_there(&self, file: &str, wanted: &str) -> Result<(), PublishError> {
        let path = self.layout.dir.join(file);
        if !path.is_file() {
            return Err(PublishError::Damaged { file: path, problem: "it is gone".to_owned() });
        }
        let found = sha256(&path)?;
        if found == wanted {
            return Ok(());
        }
        Err(PublishError::Damaged { file: path, problem: format!("its checksum is {found}, not {wanted}") })
    }

    fn sign_databases(&self, number: u64, keyring: Option<&Path>) -> Result<(), PublishError> {
        let (Some(signing), Some(keyring)) = (&self.signing, keyring) else { return Ok(()) };
        for name in [self.layout.database_name()?, self.layout.files_name()?] {
            let path = self.layout.generation(number).join(name);
            signing.sign(&path, &signature_of(&path), keyring)?;
        }
        Ok(())
    }

    /// Writes the database of the next generation, and gives what it says.
    fn write_database(&self, number: u64, difference: &Difference) -> Result<Vec<DatabaseEntry>, PublishError> {
        let (workshop, name) = (self.layout.workshop()?, self.layout.database_name()?);
        let (folder, database) = (workshop.path(), workshop.path().join(&name));
        self.layout.copy_published(folder)?;
        let before = read_if_there(&database)?;
        if !difference.removed.is_empty() {
            repo_tool::remove(folder, &name, difference.removed.iter().map(PkgName::as_str))?;
        }
        let leaves = |name: &PkgName| {
            difference.removed.contains(name) || difference.entering().any(|entering| entering.name == *name)
        };
        let staying = before.into_iter().filter(|entry| !leaves(&entry.name)).collect();
        let (staying, again) = self.signed_again(staying)?;
        let wanted: Vec<&DatabaseEntry> = difference.entering().chain(&again).collect();
        let paths: BTreeSet<PathBuf> = wanted.iter().map(|entry| self.layout.dir.join(&entry.file)).collect();
        repo_tool::add(folder, &name, &paths.into_iter().collect::<Vec<_>>())?;
        let entries = database::read(&database)?;
        is_as_checked(&entries, &staying, &wanted)?;
        self.layout.take_databases(folder, number)?;
        Ok(entries)
    }

    /// Writes the database of a generation that has what an earlier one had, and gives what it says.
    fn restore_database(&self, earlier: u64, number: u64) -> Result<Vec<DatabaseEntry>, PublishError> {
        let (workshop, name) = (self.layout.workshop()?, self.layout.database_name()?);
        let (folder, database) = (workshop.path(), workshop.path().join(&name));
        self.layout.copy_databases(earlier, folder)?;
        let (staying, again) = self.signed_again(database::read(&database)?)?;
        let paths: Vec<PathBuf> = again.iter().map(|entry| self.layout.dir.join(&entry.file)).collect();
        repo_tool::add(folder, &name, &paths)?;
        let entries = database::read(&database)?;
        is_as_checked(&entries, &staying, &again.iter().collect::<Vec<_>>())?;
        self.layout.take_databases(folder, number)?;
        Ok(entries)
    }

    /// Parts entries into those that stay as they are, and those whose signature is not the one beside their file: pacman
    /// goes by the database, so that the files have to be added again. Of these, what the database has to say then: what
    /// is written in the file, unless it is of a kind that somebody else published before us.
    fn signed_again(
        &self,
        entries: Vec<DatabaseEntry>,
    ) -> Result<(Vec<DatabaseEntry>, Vec<DatabaseEntry>), PublishError> {
        if self.signing.is_none() {
            return Ok((entries, Vec::new()));
        }
        let (mut staying, mut again) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry.signed_otherwise(&self.layout.dir) {
                None => staying.push(entry),
                Some(path) => again.push(match verify::info(&path) {
                    Ok(info) => verify::verified(&path, info)?.entry,
                    Err(_) => entry,
                }),
            }
        }
        Ok((staying, again))
    }
}

fn read_if_there(database: &Path) -> Result<Vec<DatabaseEntry>, PublishError> {
    if database.is_file() { Ok(database::read(database)?) } else { Ok(Vec::new()) }
}

/// A database says of what came into it what was checked of it, of everything else what it said before, and nothing
/// more. `repo-add` reads a package by itself, and pacman believes what it writes: that one package replaces another.
pub(super) fn is_as_checked(
    entries: &[DatabaseEntry],
    staying: &[DatabaseEntry],
    entering: &[&DatabaseEntry],
) -> Result<(), PublishError> {
    let found: BTreeMap<&str, &DatabaseEntry> = entries.iter().map(|entry| (entry.file.as_str(), entry)).collect();
    for wanted in staying.iter().chain(entering.iter().copied()) {
        let Some(&entry) = found.get(wanted.file.as_str()) else {
            let problem = format!("`{}` is not there as `{}`", wanted.name, wanted.file);
            return Err(PublishError::WrongDatabase(problem));
        };
        // Nearly all of them, and quickly told.
        if entry == wanted {
            continue;
        }
        if let Some((field, says, checked)) = entry.differs_from(wanted) {
            let problem = format!("of `{}`, it says %{field}% `{says}`, and `{checked}` was checked", wanted.file);
            return Err(PublishError::WrongDatabase(problem));
        }
    }
    if entries.len() > staying.len() + entering.len() {
        return Err(PublishError::WrongDatabase("it has packages that nobody added".to_owned()));
    }
    Ok(())
}

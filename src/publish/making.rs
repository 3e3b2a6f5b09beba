//! Makes one generation after another: places files, has databases written and signed, and swaps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::database::{self, DatabaseEntry};
use super::difference::{Difference, sha256};
use super::generation::published;
use super::layout::{Kept, failed, write_synced};
use super::signer::{Signing, gpg, signature_of};
use super::verify::Verified;
use super::{Generation, PublishError, PublishedPackage, Publisher, Step, repo_tool};
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
        self.sign_packages(before, &difference, &kept_files, keyring.as_deref())?;
        self.reached(Step::Signed)?;
        let files: Vec<_> = difference.added.iter().map(|added| added.file.as_str()).collect();
        layout.begin(number, &files)?;
        self.reached(Step::Begun)?;
        for added in &difference.added {
            layout.place(&added.path, &added.file, &kept_files)?;
        }
        self.reached(Step::Placed)?;
        let entries = self.write_database(number, before, &difference)?;
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
        self.sign_packages(&then.entries, &Difference::default(), &BTreeMap::new(), keyring.as_deref())?;
        layout.begin(number, &[])?;
        self.reached(Step::Begun)?;
        for name in [layout.database_name()?, layout.files_name()?] {
            let (from, to) = (layout.generation(earlier).join(&name), layout.generation(number).join(&name));
            std::fs::copy(&from, &to).map_err(failed("copy", &from))?;
        }
        repo_tool::add(
            &layout.generation(number),
            &layout.database_name()?,
            &self.signed_otherwise(number, |_| false)?,
        )?;
        self.reached(Step::Written)?;
        let now: BTreeSet<PkgName> = self.current()?.into_iter().map(|package| package.name).collect();
        let then_names: BTreeSet<PkgName> = then.entries.iter().map(|package| package.name.clone()).collect();
        let entries = database::read(&layout.database(number)?)?;
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
        kept: &BTreeMap<String, Kept>,
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
        let again = difference.again.iter().filter_map(|file| Some((&file.file, &kept.get(&file.file)?.sha256)));
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

    /// Files whose signature in a database is not the one beside them; of packages that leave it, none. pacman goes by
    /// the database, so that they have to be added again.
    fn signed_otherwise(&self, number: u64, leaves: impl Fn(&PkgName) -> bool) -> Result<Vec<PathBuf>, PublishError> {
        let database = self.layout.database(number)?;
        if self.signing.is_none() || !database.is_file() {
            return Ok(Vec::new());
        }
        let entries = database::read(&database)?.into_iter().filter(|entry| !leaves(&entry.name));
        Ok(entries.filter_map(|entry| entry.signed_otherwise(&self.layout.dir)).collect())
    }

    fn write_database(
        &self,
        number: u64,
        before: &[PublishedPackage],
        difference: &Difference,
    ) -> Result<Vec<DatabaseEntry>, PublishError> {
        self.layout.copy_database(number)?;
        let (folder, database) = (self.layout.generation(number), self.layout.database_name()?);
        if !difference.removed.is_empty() {
            repo_tool::remove(&folder, &database, difference.removed.iter().map(PkgName::as_str))?;
        }
        let mut paths: BTreeSet<_> = difference.entering().map(|file| self.layout.dir.join(&file.file)).collect();
        let leave = |name: &PkgName| difference.entering().any(|entering| entering.name == *name);
        paths.extend(self.signed_otherwise(number, leave)?);
        let paths: Vec<_> = paths.into_iter().collect();
        repo_tool::add(&folder, &database, &paths)?;
        let entries = database::read(&self.layout.database(number)?)?;
        let mut wanted: BTreeMap<&str, &str> =
            before.iter().map(|package| (package.name.as_str(), package.file.as_str())).collect();
        wanted.retain(|name, _| !difference.removed.iter().any(|removed| removed.as_str() == *name));
        wanted.extend(difference.entering().map(|file| (file.name.as_str(), file.file.as_str())));
        let found: BTreeMap<&str, &str> =
            entries.iter().map(|entry| (entry.name.as_str(), entry.file.as_str())).collect();
        is_as_checked(&entries, difference)?;
        match wanted.iter().find(|&(name, file)| found.get(name) != Some(file)) {
            Some((name, file)) => Err(PublishError::WrongDatabase(format!("`{name}` is not there as `{file}`"))),
            None if found.len() > wanted.len() => {
                Err(PublishError::WrongDatabase("it has packages that nobody added".to_owned()))
            }
            None => Ok(entries),
        }
    }
}

/// What stands in the database of what comes into it is what was checked of it.
fn is_as_checked(entries: &[DatabaseEntry], difference: &Difference) -> Result<(), PublishError> {
    let by_file: BTreeMap<&str, &DatabaseEntry> = entries.iter().map(|entry| (entry.file.as_str(), entry)).collect();
    let differs = |checked: &&Verified| {
        let entry = by_file.get(checked.file.as_str());
        let is_it = |entry: &DatabaseEntry| {
            entry.name == checked.name
                && entry.base == checked.base
                && entry.version.as_str() == checked.version.as_str()
        };
        !entry.is_some_and(|entry| is_it(entry))
    };
    match difference.entering().find(differs) {
        None => Ok(()),
        Some(checked) => {
            let Verified { name, base, version, file, .. } = checked;
            let problem = format!("it does not say of `{file}` that it is `{name}` {version} of `{base}`");
            Err(PublishError::WrongDatabase(problem))
        }
    }
}

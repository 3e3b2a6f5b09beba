//! Publishes built packages as generations of a pacman repository.
//!
//! What is published is checked first: a file has to be the build's. A generation is complete on the
//! disk before one rename makes it the current one, so that whoever reads sees the old or the new one,
//! whatever happens in between. Earlier generations are kept for a while. `layout` shows what lies where.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::SignedDuration;

use crate::domain::name::PkgBase;
use crate::domain::publication::guard::RemovalLimit;
use crate::domain::publication::keeping::Keeping;
use crate::sys::clock::{Clock, SystemClock};
use crate::sys::fs::{FsError, ensure_free};

mod archive;
pub mod archived;
pub mod database;
mod difference;
mod error;
mod generation;
mod layout;
pub mod linkage;
mod listing;
mod making;
pub mod namcap;
pub mod outlets;
mod pkginfo;
mod promote;
pub mod prove;
mod repo_tool;
mod rules;
pub mod signer;
#[cfg(test)]
pub(crate) mod testing;
mod verify;

use archived::Archive;
use difference::Difference;
pub use error::PublishError;
use generation::published;
pub use generation::{Generation, Origin, PublishedPackage, Summary};
use layout::{Layout, Stay};
pub use promote::Promotion;
pub use rules::Rules;
use signer::Signing;

pub use crate::domain::publication::file::Expected;
use crate::domain::publication::file::Surroundings;

/// How many generations are kept unless said otherwise.
const DEFAULT_KEPT: usize = 5;
/// Room for the database beside the package files.
const SPARE_BYTES: u64 = 16 << 20;

/// What happens between the begin and the end of a publication: where it may be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The artefacts were copied and checked.
    Checked,
    /// The packages are signed, if they are to be.
    Signed,
    /// The new generation has begun.
    Begun,
    /// Package files are in place.
    Placed,
    /// The database is written.
    Written,
    /// The database is signed, if it is to be.
    Sealed,
    /// The generation is complete.
    Completed,
    /// It is the current one.
    Swapped,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 8] = [
        Self::Checked,
        Self::Signed,
        Self::Begun,
        Self::Placed,
        Self::Written,
        Self::Sealed,
        Self::Completed,
        Self::Swapped,
    ];

    /// The name of the fail point after it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checked => "publish::checked",
            Self::Signed => "publish::signed",
            Self::Begun => "publish::begun",
            Self::Placed => "publish::placed",
            Self::Written => "publish::written",
            Self::Sealed => "publish::sealed",
            Self::Completed => "publish::completed",
            Self::Swapped => "publish::swapped",
        }
    }
}

/// A removal of so much that somebody has to confirm it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guarded {
    /// How many packages would leave, with all they are split into.
    pub leaving: usize,
    /// How many are published.
    pub published: usize,
    /// The setting.
    pub limit: RemovalLimit,
}

/// A pacman repository in a folder. Cheap to clone; publications take turns, also between processes.
#[derive(Clone)]
pub struct Publisher {
    layout: Layout,
    stay: Stay,
    signing: Option<Signing>,
    rules: Arc<Rules>,
    /// Further repositories that what comes in is compared with.
    beside: Vec<Self>,
    clock: Arc<dyn Clock>,
    #[cfg(test)]
    stop_after: Option<Step>,
}

impl Publisher {
    /// The repository `name` in the folder `dir`, which need not exist. A database that somebody else's
    /// `repo-add` made there is taken over with the first publication.
    pub fn new(dir: impl Into<PathBuf>, name: &str) -> Self {
        let publisher = Self::unnamed(dir);
        publisher.layout.name.get_or_init(|| name.to_owned());
        publisher
    }

    /// The repository in the folder `dir`. It keeps the name it is published under; if there is none yet,
    /// it takes the first that [`Publisher::settle_name`] is given.
    pub fn unnamed(dir: impl Into<PathBuf>) -> Self {
        Self {
            layout: Layout::new(dir.into()),
            stay: Stay {
                generations: Keeping { newest: DEFAULT_KEPT, days: 0 },
                files: SignedDuration::ZERO,
                archive: None,
            },
            signing: None,
            rules: Arc::default(),
            beside: Vec::new(),
            clock: Arc::new(SystemClock),
            #[cfg(test)]
            stop_after: None,
        }
    }

    /// Keeps this many generations, the current one included.
    #[must_use]
    pub fn keep_generations(self, kept: usize) -> Self {
        let generations = Keeping { newest: kept, ..self.stay.generations };
        Self { stay: Stay { generations, ..self.stay }, ..self }
    }

    /// Keeps besides the last generation of each day (UTC) for so many days.
    #[must_use]
    pub fn keep_days(self, days: u32) -> Self {
        let generations = Keeping { days, ..self.stay.generations };
        Self { stay: Stay { generations, ..self.stay }, ..self }
    }

    /// Leaves package files where they are for so long after the last kept generation that named them: mirrors and
    /// machines still read its database.
    #[must_use]
    pub fn keep_files(self, files: SignedDuration) -> Self {
        Self { stay: Stay { files, ..self.stay }, ..self }
    }

    /// Has packages and databases signed, if somebody is named.
    #[must_use]
    pub fn signed_by(self, signing: Option<Signing>) -> Self {
        Self { signing, ..self }
    }

    /// Keeps files that were replaced, if an archive is named.
    #[must_use]
    pub fn archives(self, archive: Option<Archive>) -> Self {
        Self { stay: Stay { archive, ..self.stay }, ..self }
    }

    /// Goes by these rules.
    #[must_use]
    pub fn by_rules(self, rules: Rules) -> Self {
        Self { rules: Arc::new(rules), ..self }
    }

    /// Compares what comes in with what these have, too. Where several have a package, the first of them counts.
    #[must_use]
    pub fn beside(self, others: Vec<Self>) -> Self {
        Self { beside: others, ..self }
    }

    /// Takes the time from this clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.layout.dir
    }

    /// The name of the repository, as pacman's configuration has it in brackets; `None` if it is not known
    /// yet.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.layout.name()
    }

    /// How many packages may be removed at once without somebody confirming it.
    #[must_use]
    pub fn max_removals(&self) -> RemovalLimit {
        self.rules.max_removals
    }

    /// Whether anything was ever published here.
    #[must_use]
    pub fn has_published(&self) -> bool {
        self.layout.current_database().is_ok_and(|database| database.is_some())
    }

    /// Names the repository, if it has no name.
    pub fn settle_name(&self, name: &str) {
        if self.layout.name().is_none() {
            self.layout.name.get_or_init(|| name.to_owned());
        }
    }

    /// Publishes the files of one build, all or none, and takes members away that the build no longer
    /// yields. The files are copied. Publishing the same again changes nothing and gives the current
    /// generation.
    ///
    /// Dropping the future does not stop it half-way.
    ///
    /// # Errors
    /// [`PublishError::NotTheBuilds`] if a file is not what the build was to yield. After any error the
    /// published generation is what it was.
    pub async fn publish(
        &self,
        artefacts: &[impl AsRef<Path>],
        expected: &Expected,
    ) -> Result<Generation, PublishError> {
        let artefacts: Vec<_> = artefacts.iter().map(|path| path.as_ref().to_owned()).collect();
        let (publisher, expected) = (self.clone(), expected.clone());
        blocking(move || publisher.locked(|| publisher.publish_now(&artefacts, &expected))).await
    }

    /// Removes all members of these packages; `None` if none of them is published.
    ///
    /// # Errors
    /// As [`Publisher::publish`], and [`PublishError::TooManyRemovals`] if they are more than may be removed at once.
    pub async fn remove(&self, pkgbases: &[PkgBase]) -> Result<Option<Generation>, PublishError> {
        self.take_out(pkgbases, false).await
    }

    /// As [`Publisher::remove`], however many they are: somebody has confirmed it.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn remove_confirmed(&self, pkgbases: &[PkgBase]) -> Result<Option<Generation>, PublishError> {
        self.take_out(pkgbases, true).await
    }

    /// Why the guard against mass removal keeps these packages published, if it does.
    ///
    /// # Errors
    /// As [`Publisher::current`].
    pub fn guards(&self, pkgbases: &[PkgBase]) -> Result<Option<Guarded>, PublishError> {
        let current = self.current()?;
        let leaving = current.iter().filter(|package| pkgbases.contains(&package.base)).count();
        let (limit, published) = (self.rules.max_removals, current.len());
        Ok((!limit.allows(leaving, published)).then_some(Guarded { leaving, published, limit }))
    }

    async fn take_out(&self, pkgbases: &[PkgBase], confirmed: bool) -> Result<Option<Generation>, PublishError> {
        let (publisher, pkgbases) = (self.clone(), pkgbases.to_vec());
        blocking(move || publisher.locked(|| publisher.remove_now(&pkgbases, confirmed))).await
    }

    /// Publishes what an earlier generation had, as a new one. Its files are there as long as it is kept.
    ///
    /// # Errors
    /// [`PublishError::NoGeneration`] if it is not kept, and as [`Publisher::publish`].
    pub async fn roll_back(&self, generation: u64) -> Result<Generation, PublishError> {
        let publisher = self.clone();
        blocking(move || publisher.locked(|| publisher.restore(generation))).await
    }

    /// What is published, sorted by name. Reads the database; takes some 20 ms for 5,000 packages.
    ///
    /// # Errors
    /// [`PublishError::Database`] if it cannot be read.
    pub fn current(&self) -> Result<Vec<PublishedPackage>, PublishError> {
        let Some(database) = self.layout.current_database()? else { return Ok(Vec::new()) };
        let known = self.layout.current()?.and_then(|number| self.layout.manifest(number).ok());
        Ok(published(database::read(&database)?, known.as_ref(), &[], &BTreeMap::new()))
    }

    fn locked<T>(&self, work: impl FnOnce() -> Result<T, PublishError>) -> Result<T, PublishError> {
        let _lock = self.layout.lock()?;
        self.layout.check_name()?;
        self.layout.recover()?;
        let answer = work();
        #[cfg(test)]
        if matches!(answer, Err(PublishError::Stopped(_))) {
            return answer;
        }
        if answer.is_err()
            && let Err(error) = self.layout.recover()
        {
            tracing::warn!(%error, "cannot clear away what a failed publication has left; the next one will");
        }
        answer
    }

    fn publish_now(&self, artefacts: &[PathBuf], expected: &Expected) -> Result<Generation, PublishError> {
        // A signature of a builder says nothing: what is published is signed here.
        let is_package = |path: &&PathBuf| path.extension().is_none_or(|ending| ending != "sig");
        let artefacts: Vec<PathBuf> = artefacts.iter().filter(is_package).cloned().collect();
        if artefacts.is_empty() {
            return Err(PublishError::Nothing(expected.pkgbase.clone()));
        }
        let current = self.current()?;
        let mut there = self.entries()?;
        for other in &self.beside {
            there.extend(other.entries()?);
        }
        let last_publication = self.summaries()?.first().map(|generation| generation.created);
        let around = Surroundings { last_publication, ..self.rules.around(&there)? };
        let allowed = self.rules.allow_prohibited.contains(expected.pkgbase.as_str());
        let expected = &Expected { allow_prohibited: expected.allow_prohibited || allowed, ..expected.clone() };
        let copies = self.take_in(&artefacts)?;
        let (verified, findings) = verify::check(&copies, expected, &around, &self.rules.namcap, self.clock.now())?;
        self.reached(Step::Checked)?;
        let mut difference = Difference::of(verified, expected, &current);
        difference.findings.splice(..0, findings);
        if difference.added.is_empty()
            && difference.removed.is_empty()
            && let Some(number) = self.layout.current()?
            && let Ok(generation) = self.layout.manifest(number)
        {
            self.layout.recover()?;
            let Difference { not_replaced, findings, .. } = difference;
            return Ok(Generation { not_replaced, findings, ..generation });
        }
        self.make(&current, difference)
    }

    fn remove_now(&self, pkgbases: &[PkgBase], confirmed: bool) -> Result<Option<Generation>, PublishError> {
        let current = self.current()?;
        let leaves = |package: &&PublishedPackage| pkgbases.contains(&package.base);
        let removed: Vec<_> = current.iter().filter(leaves).map(|package| package.name.clone()).collect();
        if removed.is_empty() {
            return Ok(None);
        }
        if let Some(Guarded { leaving, published, limit }) = self.guards(pkgbases)?.filter(|_| !confirmed) {
            return Err(PublishError::TooManyRemovals { leaving, published, limit });
        }
        self.make(&current, Difference { removed, ..Difference::default() }).map(Some)
    }

    /// Copies artefacts to where nobody else can change them between the check and the publication.
    fn take_in(&self, artefacts: &[PathBuf]) -> Result<Vec<PathBuf>, PublishError> {
        let failed = |action, path: &Path, error: io::Error| PublishError::Fs(FsError::new(action, path, error));
        let incoming = self.layout.incoming();
        std::fs::create_dir(&incoming).map_err(|error| failed("create the folder", &incoming, error))?;
        let mut copies = Vec::with_capacity(artefacts.len());
        for path in artefacts {
            let size = std::fs::metadata(path).map_err(|error| failed("read", path, error))?.len();
            ensure_free(&incoming, size + SPARE_BYTES)?;
            let copy = incoming.join(path.file_name().unwrap_or_default());
            std::fs::copy(path, &copy).map_err(|error| failed("copy", path, error))?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            std::fs::set_permissions(&copy, mode).map_err(|error| failed("change", &copy, error))?;
            layout::sync(&copy)?;
            copies.push(copy);
        }
        Ok(copies)
    }

    /// What has to be done after a publication and cannot undo it.
    fn tidy(&self) {
        let tidied = self.layout.link(true).and_then(|()| self.layout.prune(&self.stay, self.clock.now()));
        let incoming = std::fs::remove_dir_all(self.layout.incoming());
        if let Err(error) = tidied {
            tracing::warn!(%error, "published; old generations are removed with the next publication");
        }
        if let Err(error) = incoming
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "published; copies are removed with the next publication");
        }
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "only tests stop here"))]
    #[cfg_attr(
        not(any(test, feature = "failpoints")),
        expect(clippy::unnecessary_wraps, reason = "only tests stop here")
    )]
    fn reached(&self, step: Step) -> Result<(), PublishError> {
        tracing::trace!(step = step.name(), "publishing");
        fail::fail_point!(step.name(), |_| crate::sys::signal::die());
        #[cfg(test)]
        if self.stop_after == Some(step) {
            return Err(PublishError::Stopped(step));
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PublishError> + Send + 'static,
) -> Result<T, PublishError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests;

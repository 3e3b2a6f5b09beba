//! What a package saved is never found again where it, or something that it is built with, turned out not to be trusted.
//!
//! What was condemned stays, so that somebody can look at it, until its room is needed. Builders elsewhere are told how often a
//! package was condemned, and how often each of its sets was invalidated, so that by their keys, too, nothing from before is
//! found.

use std::collections::BTreeMap;

use super::{CacheError, Caches, index};
use crate::domain::cache::SetName;
use crate::domain::name::PkgBase;

impl Caches {
    /// How often what was saved of a package was condemned: part of the keys of its sets, wherever it is built.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn condemnations(&self, repository: &str, pkgbase: &PkgBase) -> Result<u64, CacheError> {
        Ok(index::condemnations(&self.index(), repository, pkgbase.as_str())?)
    }

    /// How often each set of a package was invalidated, of those that were: part of their keys, wherever it is built.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn invalidations(&self, repository: &str, pkgbase: &PkgBase) -> Result<BTreeMap<SetName, u64>, CacheError> {
        Ok(index::invalidations(&self.index(), repository, pkgbase.as_str())?)
    }

    /// Whether a builder elsewhere has told that it used or saved a set. Without a repository or a package, any of that
    /// name is meant.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn is_told(&self, set: &SetName, repository: Option<&str>, pkgbase: Option<&str>) -> Result<bool, CacheError> {
        Ok(index::is_told(&self.index(), set, repository, pkgbase)?)
    }

    /// Makes sure that nobody finds what was saved of a package until now, and says how many archives that were. Builds that
    /// are under way neither find it any more nor save what they may have made with it.
    ///
    /// # Errors
    /// If the index cannot be written.
    pub fn condemn(&self, repository: &str, pkgbase: &PkgBase, why: &str) -> Result<usize, CacheError> {
        let mut index = self.index();
        let transaction = index::begin(&mut index)?;
        let condemned = index::condemn(&transaction, repository, pkgbase.as_str(), why)?;
        transaction.commit()?;
        Ok(condemned)
    }

    /// Condemns what was saved of the packages of a repository that are held since this was last told, and says how many
    /// archives that were of each. `held` are all that are held now, with why.
    ///
    /// # Errors
    /// If the index cannot be written.
    pub fn hold(
        &self,
        repository: &str,
        held: &BTreeMap<PkgBase, String>,
    ) -> Result<Vec<(PkgBase, usize)>, CacheError> {
        let mut index = self.index();
        let known = index::holds(&index, repository)?;
        let is_known = |(pkgbase, why): (&PkgBase, &String)| known.get(pkgbase.as_str()) == Some(why);
        if held.len() == known.len() && held.iter().all(is_known) {
            return Ok(Vec::new());
        }
        let transaction = index::begin(&mut index)?;
        let mut condemned = Vec::new();
        for (pkgbase, why) in held.iter().filter(|one| !is_known(*one)) {
            let archives = index::condemn(&transaction, repository, pkgbase.as_str(), why)?;
            index::set_hold(&transaction, repository, pkgbase.as_str(), why)?;
            condemned.push((pkgbase.clone(), archives));
        }
        for pkgbase in known.keys().filter(|known| !held.keys().any(|held| held.as_str() == *known)) {
            index::set_hold(&transaction, repository, pkgbase, "")?;
        }
        transaction.commit()?;
        Ok(condemned)
    }
}

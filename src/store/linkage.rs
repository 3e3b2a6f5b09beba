//! What published packages need and have by soname.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::params;

use super::sql::Millis;
use super::{Store, StoreError};
use crate::domain::library::soname::Soname;
use crate::domain::name::PkgBase;
use crate::domain::version::Version;

/// What one published file needs and has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLinkage {
    /// The name of the file.
    pub file: String,
    /// Its checksum in hexadecimal.
    pub sha256: String,
    /// The package it is a member of.
    pub pkgbase: PkgBase,
    /// Its version.
    pub version: Version,
    /// Shared libraries that it needs and does not have.
    pub needs: BTreeSet<Soname>,
    /// Shared libraries that others find in it.
    pub provides: BTreeSet<Soname>,
}

impl Store {
    /// Everything that is recorded about a repository, sorted by file.
    pub async fn linkage(&self, repository: &str) -> Result<Vec<FileLinkage>, StoreError> {
        let repository = repository.to_owned();
        self.read(move |connection| {
            let sql = "SELECT file, sha256, pkgbase, version, needs, provides FROM linkage
                       WHERE repository = ? ORDER BY file";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([repository], |row| {
                Ok(FileLinkage {
                    file: row.get("file")?,
                    sha256: row.get("sha256")?,
                    pkgbase: row.get("pkgbase")?,
                    version: Version::new(row.get::<_, String>("version")?),
                    needs: sonames(&row.get::<_, String>("needs")?),
                    provides: sonames(&row.get::<_, String>("provides")?),
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Records what files need and have, in place of what was known of files of the same name, and forgets every
    /// file of the repository that is not `published` any more.
    pub async fn record_linkage(
        &self,
        repository: &str,
        read: Vec<FileLinkage>,
        published: Vec<String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let repository = repository.to_owned();
        self.write(move |tx| {
            let published: BTreeSet<&str> = published.iter().map(String::as_str).collect();
            let mut known = tx.prepare_cached("SELECT file FROM linkage WHERE repository = ?")?;
            let known = known.query_map([&repository], |row| row.get::<_, String>(0))?;
            let known = known.collect::<Result<Vec<_>, _>>()?;
            let mut forget = tx.prepare_cached("DELETE FROM linkage WHERE repository = ? AND file = ?")?;
            for file in known.iter().filter(|file| !published.contains(file.as_str())) {
                forget.execute(params![repository, file])?;
            }
            let sql = "INSERT INTO linkage (repository, file, sha256, pkgbase, version, needs, provides, recorded_at)
                       VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                       ON CONFLICT (repository, file) DO UPDATE SET sha256 = excluded.sha256,
                           pkgbase = excluded.pkgbase, version = excluded.version, needs = excluded.needs,
                           provides = excluded.provides, recorded_at = excluded.recorded_at";
            let mut record = tx.prepare_cached(sql)?;
            for it in &read {
                let (needs, provides) = (text(&it.needs), text(&it.provides));
                let version = it.version.as_str();
                record.execute(params![
                    repository,
                    it.file,
                    it.sha256,
                    it.pkgbase,
                    version,
                    needs,
                    provides,
                    Millis(now)
                ])?;
            }
            Ok(())
        })
        .await
    }
}

fn text(sonames: &BTreeSet<Soname>) -> String {
    sonames.iter().map(Soname::to_text).collect::<Vec<_>>().join(" ")
}

fn sonames(text: &str) -> BTreeSet<Soname> {
    text.split_ascii_whitespace().filter_map(|soname| soname.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::at;
    use super::*;

    fn linkage(file: &str, sha256: &str, needs: &str) -> FileLinkage {
        let pkgbase = PkgBase::new("foo").unwrap();
        let (file, sha256, version) = (file.to_owned(), sha256.to_owned(), Version::new("1:1-1"));
        FileLinkage { file, sha256, pkgbase, version, needs: sonames(needs), provides: sonames("lib32:libx.so") }
    }

    #[tokio::test]
    async fn what_was_read_last_stays_as_long_as_it_is_published() {
        let store = Store::in_memory().unwrap();
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let record = async |read: Vec<FileLinkage>, published: &[&str]| {
            store.record_linkage("repo", read, names(published), at(1)).await.unwrap();
            store.linkage("repo").await.unwrap()
        };
        let (a, b) = (linkage("a", "1", "lib:libc.so.6 lib:liba.so.1"), linkage("b", "1", ""));
        assert_eq!(record(vec![b.clone(), a.clone()], &["a", "b"]).await, [a, b.clone()]);
        let newer = linkage("a", "2", "lib:liba.so.2");
        assert_eq!(record(vec![newer.clone()], &["a", "b"]).await, [newer, b.clone()]);
        assert_eq!(record(vec![], &["b"]).await, [b]);
        assert_eq!(store.linkage("other").await.unwrap(), []);
    }
}

//! What the operator allows in a published repository, and what files are compared with.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::PublishError;
use super::database::{self, DatabaseEntry};
use super::namcap::Namcap;
use crate::domain::publication::file::{Surroundings, There};
use crate::domain::publication::guard::RemovalLimit;
use crate::domain::publication::need::Need;

/// The package that names those which everybody has installed.
const BASE: &str = "base";

/// What the operator allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Databases of the distribution, whose names no package may take.
    pub official_databases: Vec<PathBuf>,
    /// Packages that may.
    pub allow_official: BTreeSet<String>,
    /// Packages that may have `groups` and `replaces`.
    pub allow_prohibited: BTreeSet<String>,
    /// How namcap is asked.
    pub namcap: Namcap,
    /// How many packages may be removed at once.
    pub max_removals: RemovalLimit,
}

impl Rules {
    /// What the files of a build are compared with; of entries of one name, the first counts.
    pub(super) fn around(&self, published: &[DatabaseEntry]) -> Result<Surroundings, PublishError> {
        let mut around = Surroundings { allowed_official: self.allow_official.clone(), ..Surroundings::default() };
        for path in &self.official_databases {
            for entry in database::read(path)? {
                if entry.name.as_str() == BASE {
                    around.base_packages.extend(entry.depends.iter().map(|need| Need::parse(need).name.to_owned()));
                }
                around.official.insert(entry.name.to_string());
            }
        }
        if !around.base_packages.is_empty() {
            around.base_packages.insert(BASE.to_owned());
        }
        around.published = published
            .iter()
            .rev()
            .map(|entry| {
                let there =
                    There { base: entry.base.clone(), version: entry.version.clone(), build_date: entry.build_date };
                (entry.name.clone(), there)
            })
            .collect();
        Ok(around)
    }
}

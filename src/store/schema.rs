//! The schema of the record, as a list of migrations that are only ever added to.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// One step of the schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The file it stands in.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

macro_rules! migration {
    ($name:literal) => {
        Migration { name: $name, sql: include_str!(concat!("../../migrations/", $name)) }
    };
}

/// Every migration in order; the schema of a record is the number of those it has seen.
pub const MIGRATIONS: &[Migration] = &[
    migration!("0001_record.sql"),
    migration!("0002_linkage.sql"),
    migration!("0003_deliveries.sql"),
    migration!("0004_statuses.sql"),
    migration!("0005_schedule.sql"),
    migration!("0006_commits.sql"),
    migration!("0007_turns.sql"),
];

/// The newest schema this program knows.
#[expect(clippy::cast_possible_truncation, reason = "there are not four billion migrations")]
pub const NEWEST: u32 = MIGRATIONS.len() as u32;

/// Applies what is missing, each migration in a transaction of its own.
///
/// # Errors
/// [`StoreError::NewerSchema`] if the record is ahead of this program; then nothing was touched.
pub fn migrate(connection: &mut Connection, shown: &str) -> Result<(), StoreError> {
    migrate_to(connection, shown, NEWEST)
}

/// Applies what is missing up to the given schema; [`migrate`] goes to the newest.
///
/// # Errors
/// As [`migrate`].
pub fn migrate_to(connection: &mut Connection, shown: &str, target: u32) -> Result<(), StoreError> {
    loop {
        // The version is read under the write lock: two processes may open the record at once.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > NEWEST {
            return Err(StoreError::NewerSchema { path: shown.to_owned(), found, known: NEWEST });
        }
        if found >= target {
            return Ok(());
        }
        let migration = MIGRATIONS[found as usize];
        tracing::debug!(record = shown, migration = migration.name, "bringing the record up to date");
        transaction.execute_batch(migration.sql)?;
        transaction.pragma_update(None, "user_version", found + 1)?;
        transaction.commit()?;
    }
}

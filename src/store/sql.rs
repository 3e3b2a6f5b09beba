//! How the words of the domain are written in columns.

use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as WordError, StrDeserializer};

use crate::domain::build::{BuildReason, BuildState, Outcome};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::queue::{BuildId, WaitKind};

/// A time in a column: milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Millis(pub Timestamp);

impl ToSql for Millis {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_millisecond().into())
    }
}

impl FromSql for Millis {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Timestamp::from_millisecond(value.as_i64()?).map(Self).map_err(FromSqlError::other)
    }
}

/// Reads a column that may hold a time.
pub(super) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<Millis>>(column)?.map(|millis| millis.0))
}

/// Reads a column that always holds a time.
pub(super) fn some_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    row.get::<_, Millis>(column).map(|millis| millis.0)
}

impl ToSql for BuildId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for BuildId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

impl ToSql for PkgBase {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_str().to_sql()
    }
}

impl FromSql for PkgBase {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_str()?).map_err(FromSqlError::other)
    }
}

impl ToSql for Oid {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

impl FromSql for Oid {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(FromSqlError::other)
    }
}

impl ToSql for BuildState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_str().to_sql()
    }
}

impl FromSql for BuildState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::from_str_exact(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for BuildReason {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_str().to_sql()
    }
}

impl FromSql for BuildReason {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        word(value)
    }
}

impl ToSql for WaitKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_str().to_sql()
    }
}

impl FromSql for WaitKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        word(value)
    }
}

impl FromSql for Outcome {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        word(value)
    }
}

/// Reads the word that serde would write.
fn word<'de, T: Deserialize<'de>>(value: ValueRef<'de>) -> FromSqlResult<T> {
    let text: StrDeserializer<'de, WordError> = value.as_str()?.into_deserializer();
    T::deserialize(text).map_err(FromSqlError::other)
}

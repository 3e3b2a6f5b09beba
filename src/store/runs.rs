//! Runs: one pass of a pipeline each, with the document that says what it decided.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::sql::{Millis, some_time, time};
use super::{Store, StoreError, events};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunOutcome {
    /// It did what it had planned, which may be nothing.
    Done,
    /// It failed; its document says why.
    Failed,
    /// The program ended in the middle of it.
    Interrupted,
}

impl RunOutcome {
    /// The word used in output and in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    fn from_word(word: &str) -> Self {
        [Self::Done, Self::Failed].into_iter().find(|outcome| outcome.as_str() == word).unwrap_or(Self::Interrupted)
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// Its id: sorts by time.
    pub id: String,
    /// The repository it was for.
    pub repository: String,
    /// What it was for: `on-commit`, `on-schedule`, …
    pub pipeline: String,
    /// Who or what started it.
    pub cause: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it runs.
    pub finished_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<RunOutcome>,
    /// Its plan and outcome; left out of lists, but for what a line of a list tells of it.
    pub document: Option<Value>,
}

impl Store {
    /// Begins a run and gives its id.
    ///
    /// Ids sort in the order of their runs, and a record that was lost does not give them again.
    pub async fn begin_run(
        &self,
        repository: &str,
        pipeline: &str,
        cause: &str,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        let (repository, pipeline, cause) = (repository.to_owned(), pipeline.to_owned(), cause.to_owned());
        self.write(move |tx| {
            let next: i64 = tx.query_row("SELECT coalesce(max(seq), 0) + 1 FROM runs", [], |row| row.get(0))?;
            let id = format!("{}-{next:06}", now.strftime("%Y%m%d-%H%M%S"));
            tx.execute(
                "INSERT INTO runs (seq, id, repository, pipeline, cause, started_at) VALUES (?, ?, ?, ?, ?, ?)",
                params![next, id, repository, pipeline, cause, Millis(now)],
            )?;
            events::note(tx, now, "run", &id, &json!({"repository": repository, "pipeline": pipeline}))?;
            Ok(id)
        })
        .await
    }

    /// Ends a run with its document.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such run.
    pub async fn finish_run(
        &self,
        id: &str,
        outcome: RunOutcome,
        document: &Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, document) = (id.to_owned(), document.to_string());
        self.write(move |tx| {
            let changed = tx.execute(
                "UPDATE runs SET finished_at = ?, outcome = ?, document = ? WHERE id = ?",
                params![Millis(now), outcome.as_str(), document, id],
            )?;
            if changed == 0 {
                return Err(StoreError::not_found("run", &id));
            }
            Ok(events::note(tx, now, "run", &id, &json!({"outcome": outcome}))?)
        })
        .await
    }

    /// Marks every run of a repository (of all if `None`) that has no end as interrupted: called while
    /// nobody else runs on it.
    pub async fn interrupt_runs(&self, repository: Option<&str>, now: Timestamp) -> Result<usize, StoreError> {
        let repository = repository.map(str::to_owned);
        self.write(move |tx| {
            let sql = "UPDATE runs SET finished_at = ?, outcome = ?
                       WHERE finished_at IS NULL AND (?3 IS NULL OR repository = ?3)";
            Ok(tx.execute(sql, params![Millis(now), RunOutcome::Interrupted.as_str(), repository])?)
        })
        .await
    }

    /// One run with its document.
    pub async fn run(&self, id: &str) -> Result<Option<Run>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let run = connection
                .prepare_cached("SELECT * FROM runs WHERE id = ?")?
                .query_row([id], |row| Ok((read(row)?, row.get::<_, Option<String>>("document")?)))
                .optional()?;
            run.map(|(run, document)| {
                Ok(Run { document: document.map(|text| serde_json::from_str(&text)).transpose()?, ..run })
            })
            .transpose()
        })
        .await
    }

    /// The newest run of a repository with exactly this pipeline and cause that did what it was for: it came to its
    /// end, or was killed after what it had pushed counted. The document is missing then.
    pub async fn performed_run(
        &self,
        repository: &str,
        pipeline: &str,
        cause: &str,
    ) -> Result<Option<Run>, StoreError> {
        let [repository, pipeline, cause] = [repository, pipeline, cause].map(str::to_owned);
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT * FROM runs WHERE repository = ? AND pipeline = ? AND cause = ? AND (outcome = 'done' OR EXISTS
                   (SELECT 1 FROM intents WHERE intents.run_id = runs.id AND intents.status = 'done'))
                 ORDER BY seq DESC LIMIT 1",
            )?;
            let found = statement
                .query_row([repository, pipeline, cause], |row| {
                    Ok((read(row)?, row.get::<_, Option<String>>("document")?))
                })
                .optional()?;
            let Some((run, document)) = found else { return Ok(None) };
            let document = document.map(|text| serde_json::from_str(&text)).transpose()?;
            Ok(Some(Run { document, ..run }))
        })
        .await
    }

    /// Runs of a repository (all if `None`), newest first, without their documents. `before` is the id of
    /// the last run of the page before.
    pub async fn runs(
        &self,
        repository: Option<&str>,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Run>, StoreError> {
        let (repository, before) = (repository.map(str::to_owned), before.map(str::to_owned));
        self.read(move |connection| list(connection, repository.as_deref(), before.as_deref(), limit)).await
    }

    /// The newest runs of all repositories. Of their documents only what a line of a list tells is there: a document
    /// holds every package that was looked at.
    pub async fn summarised_runs(&self, limit: u32) -> Result<Vec<Run>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(SUMMARISED)?;
            let rows =
                statement.query_map([limit], |row| Ok((read(row)?, row.get::<_, Option<String>>("summary")?)))?;
            rows.map(|row| {
                let (run, summary) = row?;
                Ok(Run { document: summary.map(|text| serde_json::from_str(&text)).transpose()?, ..run })
            })
            .collect()
        })
        .await
    }
}

const SUMMARISED: &str = "
    SELECT *, CASE WHEN document IS NOT NULL THEN json_object(
        'pipeline', json_extract(document, '$.pipeline'), 'error', json_extract(document, '$.error'),
        'builds', json_extract(document, '$.builds'), 'reviews', json_extract(document, '$.reviews'),
        'remove', json_extract(document, '$.remove'), 'refs', json_extract(document, '$.refs'),
        'problems', json_extract(document, '$.problems')) END AS summary
    FROM runs ORDER BY seq DESC LIMIT ?";

fn list(
    connection: &Connection,
    repository: Option<&str>,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Run>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM runs WHERE (?1 IS NULL OR repository = ?1)
         AND (?2 IS NULL OR seq < (SELECT seq FROM runs WHERE id = ?2)) ORDER BY seq DESC LIMIT ?3",
    )?;
    let rows = statement.query_map(params![repository, before, limit], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        id: row.get("id")?,
        repository: row.get("repository")?,
        pipeline: row.get("pipeline")?,
        cause: row.get("cause")?,
        started_at: some_time(row, "started_at")?,
        finished_at: time(row, "finished_at")?,
        outcome: row.get::<_, Option<String>>("outcome")?.map(|word| RunOutcome::from_word(&word)),
        document: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::at;
    use super::*;

    #[tokio::test]
    async fn run_ids_sort_by_time_and_are_the_same_for_the_same_clock() {
        let store = Store::in_memory().unwrap();
        let mut ids = Vec::new();
        for second in [0, 0, 1] {
            ids.push(store.begin_run("repo", "on-commit", "test", at(second)).await.unwrap());
        }
        assert_eq!(ids, ["20260101-000000-000001", "20260101-000000-000002", "20260101-000001-000003"]);
        let listed = store.runs(Some("repo"), None, 2).await.unwrap();
        assert_eq!(listed.iter().map(|run| &run.id).collect::<Vec<_>>(), [&ids[2], &ids[1]]);
        let rest = store.runs(None, Some(&ids[1]), 9).await.unwrap();
        assert_eq!(rest.iter().map(|run| &run.id).collect::<Vec<_>>(), [&ids[0]]);
        assert!(store.runs(Some("other"), None, 9).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_list_tells_of_a_run_what_its_line_needs() {
        let store = Store::in_memory().unwrap();
        let id = store.begin_run("repo", "deploy", "test", at(0)).await.unwrap();
        store.begin_run("repo", "deploy", "test", at(1)).await.unwrap();
        let document =
            json!({"pipeline": "deploy", "packages": [1, 2], "problems": [{"severity": "error"}], "refs": []});
        store.finish_run(&id, RunOutcome::Done, &document, at(2)).await.unwrap();
        let runs = store.summarised_runs(9).await.unwrap();
        let summary = runs[1].document.as_ref().unwrap();
        assert_eq!((&summary["problems"], &summary["refs"]), (&document["problems"], &document["refs"]));
        assert!(summary.get("packages").is_none() && runs[0].document.is_none());
    }

    #[tokio::test]
    async fn a_run_keeps_its_document() {
        let store = Store::in_memory().unwrap();
        let id = store.begin_run("repo", "on-commit", "test", at(0)).await.unwrap();
        let lost = store.begin_run("repo", "on-commit", "test", at(0)).await.unwrap();
        store.finish_run(&id, RunOutcome::Done, &json!({"pushed": true}), at(2)).await.unwrap();
        assert_eq!(store.interrupt_runs(None, at(3)).await.unwrap(), 1);
        let run = store.run(&id).await.unwrap().unwrap();
        assert_eq!((run.outcome, run.document), (Some(RunOutcome::Done), Some(json!({"pushed": true}))));
        assert_eq!(store.run(&lost).await.unwrap().unwrap().outcome, Some(RunOutcome::Interrupted));
        let missing = store.finish_run("nothing", RunOutcome::Done, &json!({}), at(2)).await;
        assert!(matches!(missing, Err(StoreError::NotFound { .. })));
    }
}

//! The one way to buildomat: its API.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::wire::{Job, JobAddInput, JobAddInputResult, JobEvent, JobOutput, JobSubmit, Jobs, Made};
use crate::executor::api::{Api, ApiError};

/// The tag that our jobs are found by.
pub const TAG: &str = "pkgwarden.attempt";
/// How long events are listened for before they are asked for anew.
const WATCH: Duration = Duration::from_mins(10);
/// How long a file may take.
const TRANSFER: Duration = Duration::from_hours(2);
/// How many jobs can be there of one attempt: one.
const ENOUGH: &str = "2";

/// What can be asked of buildomat.
#[derive(Debug, Clone)]
pub struct Client {
    api: Api,
}

impl Client {
    /// A client for this service.
    #[must_use]
    pub const fn new(api: Api) -> Self {
        Self { api }
    }

    /// What buildomat calls us.
    pub async fn who_am_i(&self) -> Result<String, ApiError> {
        let told: Value = self.api.json("say who we are", self.api.ask(Method::GET, &["0", "whoami"], &[])).await?;
        Ok(told.get("name").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Makes a job.
    pub async fn submit(&self, job: &JobSubmit) -> Result<String, ApiError> {
        let made: Made = self.api.json("make a job", self.api.ask(Method::POST, &["0", "jobs"], &[]).json(job)).await?;
        Ok(made.id)
    }

    /// The job that was made for an attempt, if one was.
    pub async fn find(&self, attempt: &str) -> Result<Option<String>, ApiError> {
        let tag = format!("{TAG}={attempt}");
        let query = [("tag", tag.as_str()), ("limit", ENOUGH), ("recent_first", "false")];
        let request = self.api.ask(Method::GET, &["1", "jobs"], &query);
        let found: Jobs = self.api.json("find a job", request).await?;
        Ok(found.items.into_iter().next().map(|job| job.id))
    }

    /// How a job stands; `None` if it is gone.
    pub async fn job(&self, job: &str) -> Result<Option<Job>, ApiError> {
        match self.api.json("tell of a job", self.api.ask(Method::GET, &["0", "job", job], &[])).await {
            Ok(job) => Ok(Some(job)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives a piece of a file to a job that waits for it.
    pub async fn add_chunk(&self, job: &str, bytes: Vec<u8>) -> Result<String, ApiError> {
        let request = self.api.ask(Method::POST, &["0", "jobs", job, "chunk"], &[]).timeout(TRANSFER).body(bytes);
        let made: Made =
            self.api.json("take a piece of a file", request.header("content-type", "application/octet-stream")).await?;
        Ok(made.id)
    }

    /// Makes a file of the pieces.
    pub async fn add_input(&self, job: &str, input: &JobAddInput) -> Result<JobAddInputResult, ApiError> {
        self.api.json("take a file", self.api.ask(Method::POST, &["1", "jobs", job, "input"], &[]).json(input)).await
    }

    /// The next events, from this number on.
    pub async fn events(&self, job: &str, from: u64) -> Result<Vec<JobEvent>, ApiError> {
        let request = self.api.ask(Method::GET, &["0", "jobs", job, "events"], &[("minseq", &from.to_string())]);
        self.api.json("tell what a job printed", request).await
    }

    /// Events as they happen, from this number on.
    pub async fn watch(&self, job: &str, from: u64) -> Result<Response, ApiError> {
        let request = self.api.ask(Method::GET, &["0", "jobs", job, "watch"], &[("minseq", &from.to_string())]);
        self.api.answer("tell what a job prints", request.timeout(WATCH)).await
    }

    /// Cancels a job; one that is over stays as it is.
    pub async fn cancel(&self, job: &str) -> Result<(), ApiError> {
        match self.api.answer("cancel a job", self.api.ask(Method::POST, &["0", "jobs", job, "cancel"], &[])).await {
            Err(error @ ApiError::Refused { status: 401 | 403, .. }) => Err(error),
            Ok(_) | Err(ApiError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What a job left.
    pub async fn outputs(&self, job: &str) -> Result<Vec<JobOutput>, ApiError> {
        self.api.json("tell what a job left", self.api.ask(Method::GET, &["0", "jobs", job, "outputs"], &[])).await
    }

    /// Writes what a job left into a new file.
    pub async fn fetch(&self, job: &str, output: &JobOutput, to: &Path) -> Result<(), ApiError> {
        const WHAT: &str = "give what a job left";
        let nonsense = |reason: String| self.api.nonsense(WHAT, reason);
        let request = self.api.ask(Method::GET, &["0", "jobs", job, "outputs", &output.id], &[]).timeout(TRANSFER);
        let mut response = self.api.answer(WHAT, request).await?;
        let mut file = tokio::fs::File::create(to).await.map_err(|error| nonsense(error.to_string()))?;
        let mut left = output.size;
        while let Some(piece) = response.chunk().await.map_err(|error| self.api.unreachable(WHAT, error))? {
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| nonsense(format!("it is longer than the {} bytes it has", output.size)))?;
            file.write_all(&piece).await.map_err(|error| nonsense(error.to_string()))?;
        }
        file.flush().await.map_err(|error| nonsense(error.to_string()))?;
        if left > 0 { Err(nonsense(format!("it is {left} bytes too short"))) } else { Ok(()) }
    }
}

//! What buildomat is told and what it answers, as its `OpenAPI` document has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A job to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobSubmit {
    /// What it is called.
    pub name: String,
    /// The kind of machine.
    pub target: String,
    /// What of it is kept.
    pub output_rules: Vec<String>,
    /// What it does, in order.
    pub tasks: Vec<TaskSubmit>,
    /// Files that it waits for.
    pub inputs: Vec<String>,
    /// What it is found again by.
    pub tags: BTreeMap<String, String>,
}

/// A step of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskSubmit {
    /// What it is called.
    pub name: String,
    /// The script that is run.
    pub script: String,
    /// Whether it has no variables but these.
    pub env_clear: bool,
    /// Variables.
    pub env: BTreeMap<String, String>,
}

/// Something that was made and has an id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Made {
    /// Its id.
    pub id: String,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Job {
    /// `waiting` (for its inputs), `queued`, `running`, `completed` or `failed`.
    pub state: String,
    /// Whether somebody cancelled it.
    pub cancelled: bool,
    /// Its steps.
    pub tasks: Vec<Task>,
}

impl Job {
    /// Whether nothing happens to it any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "failed")
    }

    /// Whether a machine has it, or had.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.is_over() || self.state == "running"
    }
}

/// A step of a job, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Task {
    /// `pending`, `completed` or `failed`.
    pub state: String,
}

/// A page of jobs.
#[derive(Debug, Clone, Deserialize)]
pub struct Jobs {
    /// The jobs.
    pub items: Vec<Made>,
}

/// Something that a job printed, or that is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct JobEvent {
    /// Its number; they rise.
    pub seq: u64,
    /// `stdout`, `stderr`, or who tells: `task`, `worker`, `control`, …
    pub stream: String,
    /// A line, without its end.
    pub payload: String,
}

impl JobEvent {
    /// As it stands in the log.
    #[must_use]
    pub fn line(&self) -> String {
        let is_output = self.stream == "stdout" || self.stream == "stderr" || self.stream.starts_with("bg.");
        let mark = if is_output { "" } else { "==> " };
        format!("{mark}{}\n", self.payload)
    }

    /// The status that a step ended with, if this tells it.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        let told = (self.stream == "task").then_some(self.payload.as_str())?;
        let (said, code) = told.rsplit_once("exit code ")?;
        said.starts_with("process exited").then(|| code.trim().parse().ok())?
    }
}

/// A file that a job left.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct JobOutput {
    /// Its id.
    pub id: String,
    /// Where it was.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Pieces that make a file that a job waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobAddInput {
    /// What the file is called.
    pub name: String,
    /// The pieces, in order.
    pub chunks: Vec<String>,
    /// Asked for again with the same, it is the same file.
    pub commit_id: String,
    /// Its size in bytes.
    pub size: u64,
}

/// How far a file has come.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct JobAddInputResult {
    /// Whether it is done with.
    pub complete: bool,
    /// Why it is of no use.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(stream: &str, payload: &str) -> JobEvent {
        JobEvent { seq: 1, stream: stream.to_owned(), payload: payload.to_owned() }
    }

    #[test]
    fn only_the_agent_tells_how_a_step_ended() {
        let told = "process exited: duration 1203 ms, exit code 4";
        assert_eq!(event("task", told).exit_code(), Some(4));
        assert_eq!(event("stdout", told).exit_code(), None, "a build may print what it likes");
        assert_eq!(event("task", "process exited: killed by a signal").exit_code(), None);
    }

    #[test]
    fn what_others_say_is_told_apart_from_output() {
        assert_eq!(event("stderr", "half").line(), "half\n");
        assert_eq!(event("worker", "job assigned").line(), "==> job assigned\n");
    }
}

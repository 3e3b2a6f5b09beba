//! What a builder elsewhere says at the end of a build: the value it returns, or the failure it throws.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::build::Outcome;
use super::upload::{ArtefactClaim, LONGEST_ANSWER};

/// As much is shown of a failure that is none of ours, in characters.
const SHOWN: usize = 300;
/// What `BullMQ` says of a job whose builders were lost again and again.
const STALLED: &str = "job stalled more than allowable limit";

/// What a builder returns of a build that did not fail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Returned {
    /// How it ended.
    pub status: Success,
    /// What it made and has uploaded; empty unless it succeeded.
    #[serde(default)]
    pub artefacts: Vec<ArtefactClaim>,
    /// How long it took, in seconds.
    #[serde(default)]
    pub duration_s: f64,
}

/// How a build ends that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Success {
    /// There are packages.
    Succeeded,
    /// They are published already.
    AlreadyBuilt,
    /// There was nothing to do.
    Skipped,
}

/// What a builder throws, as JSON in the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Thrown {
    /// How it ended.
    pub status: Failure,
    /// Whose fault it is.
    pub kind: Kind,
    /// The exit status of the step that ended it, where there was one.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// The reason, in a sentence for people.
    #[serde(default)]
    pub message: String,
}

/// How a build fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// It does not build.
    Failed,
    /// It took too long.
    TimedOut,
    /// It was stopped because that was wished.
    Cancelled,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The package's: it will fail again.
    Package,
    /// The machine's or the network's: another try may succeed.
    Infrastructure,
}

/// Reads what a builder returned.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub fn returned(json: &str) -> Result<Returned, String> {
    if json.len() > LONGEST_ANSWER {
        return Err(format!("what the builder returned is longer than {} KiB", LONGEST_ANSWER >> 10));
    }
    let read: Returned = serde_json::from_str(json)
        .map_err(|error| format!("what the builder returned is not the value that builds return: {error}"))?;
    if read.status == Success::Succeeded && read.artefacts.is_empty() {
        return Err("the builder says that the build succeeded, and names no package".to_owned());
    }
    Ok(read)
}

/// Reads what a builder threw. What is none of our failures is the machine's: the package has said nothing.
#[must_use]
pub fn thrown(text: &str) -> Thrown {
    let text = text.trim();
    if text.len() <= LONGEST_ANSWER
        && let Ok(read) = serde_json::from_str(text)
    {
        return read;
    }
    let message = if text == STALLED {
        "builders were lost again and again while they built it".to_owned()
    } else {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
        format!("the builder broke off: {}", if line.is_empty() { "it gave no reason" } else { &line })
    };
    Thrown { status: Failure::Failed, kind: Kind::Infrastructure, exit_code: None, message }
}

impl Thrown {
    /// What it means for the build; `None` where another try may succeed.
    #[must_use]
    pub const fn outcome(&self) -> Option<Outcome> {
        match (self.status, self.kind) {
            (Failure::Cancelled, _) => Some(Outcome::Cancelled),
            (_, Kind::Infrastructure) => None,
            (Failure::Failed, Kind::Package) => Some(Outcome::Failed),
            (Failure::TimedOut, Kind::Package) => Some(Outcome::TimedOut),
        }
    }
}

impl From<Success> for Outcome {
    fn from(success: Success) -> Self {
        match success {
            Success::Succeeded => Self::Succeeded,
            Success::AlreadyBuilt => Self::AlreadyBuilt,
            Success::Skipped => Self::Skipped,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_contract_says_is_read() {
        let read = returned(
            r#"{"status":"succeeded","artefacts":[{"name":"a","size":3,"sha256":"00"}],"duration_s":1.5,"x":1}"#,
        );
        assert_eq!(read.expect("right").artefacts[0].size, 3);
        assert_eq!(returned(r#"{"status":"already_built"}"#).expect("right").status, Success::AlreadyBuilt);
        let thrown = thrown(r#"{"status":"failed","kind":"package","exit_code":4,"message":"no"}"#);
        assert_eq!((thrown.outcome(), thrown.exit_code, &*thrown.message), (Some(Outcome::Failed), Some(4), "no"));
    }

    #[test]
    fn a_success_that_proves_nothing_is_none() {
        for text in [
            "null",
            "{}",
            "\"succeeded\"",
            r#"{"status":"succeeded"}"#,
            r#"{"status":"failed"}"#,
            r#"{"status":"succeeded","artefacts":[{"name":"a","size":-1,"sha256":""}]}"#,
        ] {
            returned(text).expect_err(text);
        }
        assert!(returned(&format!("\"{}\"", "x".repeat(LONGEST_ANSWER))).is_err());
    }

    #[test]
    fn a_failure_of_no_known_form_is_not_the_packages() {
        for text in ["", "boom\n\u{1b}[31m", STALLED, r#"{"status":"failed"}"#, &"x".repeat(1 << 20)] {
            let thrown = thrown(text);
            assert_eq!(thrown.outcome(), None, "{text:.20}");
            assert!(!thrown.message.is_empty() && thrown.message.chars().count() < 400);
            assert!(!thrown.message.contains(char::is_control));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC{0,80}") {
            let _ = returned(&text);
            prop_assert_eq!(thrown(&text).outcome(), None);
        }
    }
}

//! Words with a colour, for states and decisions.

use crate::domain::build::BuildState;
use crate::domain::classify::Weight;

/// A word with a colour; the word alone says everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Badge {
    /// `ok`, `bad`, `warn`, `busy` or `idle`.
    pub tone: &'static str,
    /// The word, with a sign before it.
    pub label: &'static str,
}

/// The badge of a build.
#[must_use]
pub const fn build_badge(state: BuildState) -> Badge {
    let (tone, label) = match state {
        BuildState::Waiting => ("idle", "… waiting"),
        BuildState::Blocked => ("warn", "⊘ blocked"),
        BuildState::Ready => ("idle", "○ ready"),
        BuildState::Dispatched => ("busy", "● starting"),
        BuildState::Running => ("busy", "● running"),
        BuildState::Succeeded => ("ok", "✓ succeeded"),
        BuildState::Failed => ("bad", "✗ failed"),
        BuildState::TimedOut => ("bad", "✗ timed out"),
        BuildState::Cancelled => ("idle", "– cancelled"),
        BuildState::Superseded => ("idle", "– superseded"),
        BuildState::AlreadyBuilt => ("ok", "= already built"),
        BuildState::Skipped => ("idle", "– skipped"),
        BuildState::Lost => ("bad", "✗ lost"),
    };
    Badge { tone, label }
}

/// The badge of a run.
#[must_use]
pub fn run_badge(state: &str, errors: usize) -> Badge {
    let (tone, label) = match state {
        "running" => ("busy", "● running"),
        "done" if errors > 0 => ("warn", "⚠ done, with errors"),
        "done" => ("ok", "✓ done"),
        "failed" => ("bad", "✗ failed"),
        _ => ("idle", "? unknown"),
    };
    Badge { tone, label }
}

/// The badge of a weight.
#[must_use]
pub const fn weight_badge(weight: Weight) -> Badge {
    let (tone, label) = match weight {
        Weight::Cosmetic => ("idle", "cosmetic"),
        Weight::Version => ("ok", "version"),
        Weight::Stronger => ("ok", "stronger"),
        Weight::Review => ("warn", "! review"),
        Weight::Trust => ("bad", "!! trust"),
        Weight::Hostile => ("bad", "!!! hostile"),
    };
    Badge { tone, label }
}

/// The badge of what happens with a package in a run.
#[must_use]
pub fn action_badge(action: &str) -> Badge {
    let (tone, label) = match action {
        "commit" => ("ok", "✓ committed"),
        "review" => ("warn", "! review"),
        "state" => ("idle", "= recorded"),
        "skip" => ("warn", "– held back"),
        _ => ("idle", "= nothing"),
    };
    Badge { tone, label }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_met_errors_is_not_shown_as_well_done() {
        assert_eq!(run_badge("done", 0).tone, "ok");
        assert_eq!(run_badge("done", 1), Badge { tone: "warn", label: "⚠ done, with errors" });
        assert_eq!(run_badge("failed", 1).tone, "bad");
    }
}

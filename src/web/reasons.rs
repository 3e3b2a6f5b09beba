//! The reasons of a decision, by weight.

use serde_json::Value;

use super::badge::weight_badge;
use super::document::text;
use crate::domain::classify::{Reason, Weight};

/// Reasons of one weight.
#[derive(Debug, Clone)]
pub struct ReasonGroup {
    /// The colour.
    pub tone: &'static str,
    /// The word for the weight.
    pub label: &'static str,
    /// What the weight means.
    pub meaning: &'static str,
    /// The reasons.
    pub reasons: Vec<ReasonRow>,
}

/// One reason.
#[derive(Debug, Clone)]
pub struct ReasonRow {
    /// Its code.
    pub code: String,
    /// `PKGBUILD:3`.
    pub place: String,
    /// What stood there; may be empty.
    pub old: String,
    /// What stands there; may be empty.
    pub new: String,
    /// One sentence.
    pub message: String,
}

/// Reasons by weight, heaviest first.
#[must_use]
pub fn reason_groups(reasons: &[Reason]) -> Vec<ReasonGroup> {
    let mut weights: Vec<_> = reasons.iter().map(|reason| reason.severity).collect();
    weights.sort_unstable();
    weights.dedup();
    weights.reverse();
    let group = |weight: Weight| {
        let badge = weight_badge(weight);
        let of_weight = reasons.iter().filter(|reason| reason.severity == weight);
        ReasonGroup {
            tone: badge.tone,
            label: badge.label,
            meaning: weight_meaning(weight),
            reasons: of_weight.map(ReasonRow::new).collect(),
        }
    };
    weights.into_iter().map(group).collect()
}

impl ReasonRow {
    fn new(reason: &Reason) -> Self {
        Self {
            code: reason.code.to_owned(),
            place: place(&reason.file, reason.line.map(u64::from)),
            old: reason.old.clone().unwrap_or_default(),
            new: reason.new.clone().unwrap_or_default(),
            message: reason.message.clone(),
        }
    }
}

fn place(file: &str, line: Option<u64>) -> String {
    line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"))
}

const WEIGHTS: [(Weight, &str); 6] = [
    (Weight::Hostile, "hostile"),
    (Weight::Trust, "trust"),
    (Weight::Review, "review"),
    (Weight::Stronger, "stronger"),
    (Weight::Version, "version"),
    (Weight::Cosmetic, "cosmetic"),
];

/// Reasons in the document of a run by weight, heaviest first.
#[must_use]
pub fn groups_of_json(reasons: &[Value]) -> Vec<ReasonGroup> {
    let group = |(weight, word): (Weight, &str)| {
        let badge = weight_badge(weight);
        let rows = reasons.iter().filter(|reason| reason["severity"] == word).map(|reason| ReasonRow {
            code: text(reason, "code"),
            place: place(&text(reason, "file"), reason["line"].as_u64()),
            old: text(reason, "old"),
            new: text(reason, "new"),
            message: text(reason, "message"),
        });
        ReasonGroup { tone: badge.tone, label: badge.label, meaning: weight_meaning(weight), reasons: rows.collect() }
    };
    WEIGHTS.into_iter().map(group).filter(|group| !group.reasons.is_empty()).collect()
}

const fn weight_meaning(weight: Weight) -> &'static str {
    match weight {
        Weight::Cosmetic => "nothing that makepkg would see",
        Weight::Version => "the version and what moves with it",
        Weight::Stronger => "verification becomes stronger",
        Weight::Review => "somebody should read it",
        Weight::Trust => "it changes whom or what is trusted",
        Weight::Hostile => "it looks like an attack",
    }
}

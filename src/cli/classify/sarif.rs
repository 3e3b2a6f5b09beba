//! Verdicts as SARIF 2.1.0, for forges that show findings beside the lines of a change.
//!
//! Every reason is a result. One that a rule of the policy let in is there too, as suppressed.

use serde_json::{Value, json};

use crate::domain::classify::{Reason, Verdict, Weight};
use crate::web::text::path_part;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A log while reasons are added to it.
#[derive(Debug, Default)]
pub struct Log {
    codes: Vec<&'static str>,
    results: Vec<Value>,
}

impl Log {
    /// Adds every reason of a verdict about files in this folder.
    pub fn add(&mut self, folder: &str, verdict: &Verdict) {
        for reason in &verdict.reasons {
            let index = self.codes.iter().position(|code| *code == reason.code).unwrap_or_else(|| {
                self.codes.push(reason.code);
                self.codes.len() - 1
            });
            self.results.push(result(index, folder, reason));
        }
    }

    /// The whole document.
    pub fn document(self) -> Value {
        let rules: Vec<Value> = self.codes.iter().map(|code| json!({"id": code})).collect();
        json!({
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": {"driver": {"name": "pkgwarden", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
                "columnKind": "unicodeCodePoints",
                "results": self.results,
            }],
        })
    }
}

fn result(index: usize, folder: &str, reason: &Reason) -> Value {
    let path = format!("{folder}/{}", reason.file);
    let uri = path.split('/').map(path_part).collect::<Vec<_>>().join("/");
    let mut location = json!({"artifactLocation": {"uri": uri}});
    if let Some(line) = reason.line {
        location["region"] = json!({"startLine": line});
    }
    let mut result = json!({
        "ruleId": reason.code,
        "ruleIndex": index,
        "level": level(reason.severity),
        "message": {"text": reason.message},
        "locations": [{"physicalLocation": location}],
        "properties": {"severity": reason.severity, "field": reason.field, "old": reason.old, "new": reason.new},
    });
    if let Some(rule) = reason.rule.as_ref().filter(|_| reason.severity <= Weight::Stronger) {
        result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": rule}]);
    }
    result
}

const fn level(weight: Weight) -> &'static str {
    match weight {
        Weight::Hostile | Weight::Trust => "error",
        Weight::Review => "warning",
        Weight::Stronger | Weight::Version | Weight::Cosmetic => "note",
    }
}

//! What a list tells of a run, read from the document that is kept of it.

use crate::domain::name::PkgBase;
use crate::domain::words::number_of;

/// One line about what a run did.
pub(super) fn summary(document: &serde_json::Value) -> String {
    if let Some(error) = document["error"].as_str() {
        return error.to_owned();
    }
    let count = |key: &str| document[key].as_array().map_or(0, Vec::len);
    let parts = [("builds", "build"), ("reviews", "review"), ("remove", "removal"), ("problems", "problem")];
    let said: Vec<String> =
        parts.iter().filter(|(key, _)| count(key) > 0).map(|(key, word)| number_of(count(key), word)).collect();
    match document["pipeline"].as_str() {
        _ if !said.is_empty() => said.join(", "),
        _ if count("refs") == 0 => "nothing to do".to_owned(),
        Some("quarantine") => "taken out of service".to_owned(),
        Some("lift") => "taken back into service".to_owned(),
        _ => "noted what was seen".to_owned(),
    }
}

/// How many of its problems are errors.
pub(super) fn errors(document: &serde_json::Value) -> usize {
    let problems = document["problems"].as_array();
    problems.map_or(0, |problems| problems.iter().filter(|problem| problem["severity"] == "error").count())
}

/// What a run's document says of one package.
pub(super) fn decision_about<'a>(document: &'a serde_json::Value, pkgbase: &PkgBase) -> Option<&'a serde_json::Value> {
    let decisions = document.get("packages")?.as_array()?;
    decisions.iter().find(|decision| decision["pkgbase"] == pkgbase.as_str())
}

/// What a run's document says of the build that it asked for of one package.
pub(super) fn build_of<'a>(document: &'a serde_json::Value, pkgbase: &PkgBase) -> Option<&'a serde_json::Value> {
    document.get("builds")?.as_array()?.iter().find(|build| build["pkgbase"] == pkgbase.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_line_tells_what_a_run_did_and_how_much_is_wrong() {
        let problem = json!({"severity": "error"});
        let said = |pipeline: &str, builds: usize, problems: &[_], refs: &[&str]| {
            let builds = vec![0; builds];
            summary(&json!({"pipeline": pipeline, "builds": builds, "problems": problems, "refs": refs}))
        };
        assert_eq!(said("deploy", 0, std::slice::from_ref(&problem), &[]), "1 problem");
        assert_eq!(said("deploy", 2, &[], &[]), "2 builds");
        assert_eq!(said("on-commit", 0, &[], &[]), "nothing to do");
        assert_eq!(said("quarantine", 0, &[], &["refs/heads/state"]), "taken out of service");
        assert_eq!(errors(&json!({"problems": [problem, {"severity": "warning"}]})), 1);
    }
}

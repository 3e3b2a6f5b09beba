//! What `fixtures/forges/gitlab.json` says of GitLab's answers, compared with the types of `@gitbeaker/core`, a client that
//! other people wrote. What we ask is made by the crate `gitlab`, also of other people.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::node::services;

/// Endpoints, and the type that the client has for their answers.
const TYPES: [(&str, &str); 12] = [
    ("GET /user", "ExpandedUserSchema"),
    ("GET /users", "UserSchema"),
    ("GET /projects/{id}/merge_requests", "MergeRequestSchema"),
    ("GET /projects/{id}/merge_requests/{iid}", "ExpandedMergeRequestSchema"),
    ("GET /projects/{id}/merge_requests/{iid}/approvals", "MergeRequestLevelMergeRequestApprovalSchema"),
    ("GET /projects/{id}/merge_requests/{iid}/versions", "MergeRequestDiffVersionsSchema"),
    ("GET /projects/{id}/merge_requests/{iid}/notes", "MergeRequestNoteSchema"),
    ("PUT /projects/{id}/merge_requests/{iid}/notes/{note}", "MergeRequestNoteSchema"),
    ("GET /projects/{id}/members/all/{user}", "MemberSchema"),
    ("GET /projects/{id}/issues", "IssueSchema"),
    ("GET /projects/{id}/repository/commits/{sha}/statuses", "CommitStatusSchema"),
    ("POST /projects/{id}/statuses/{sha}", "CommitStatusSchema"),
];

/// Fields that GitLab's pages show, and the types do not have yet. Nothing that is read here is among them.
const NEWER: [&str; 16] = [
    "allow_collaboration",
    "approved",
    "assignee",
    "confidential",
    "coverage",
    "created_at",
    "imported",
    "imported_from",
    "internal",
    "locked",
    "merge_after",
    "merge_user",
    "patch_id_sha",
    "pipeline_id",
    "public_email",
    "type",
];

/// The fields of a type and of those that it extends, with their types.
fn fields<'a>(source: &'a str, name: &str) -> BTreeMap<&'a str, &'a str> {
    let begin = source.find(&format!("interface {name} ")).unwrap_or_else(|| panic!("there is no type {name}"));
    let (header, rest) = source[begin..].split_once("{\n").expect("a body");
    let parents = header.split(|c: char| !c.is_ascii_alphanumeric()).skip(2).filter(|word| word.ends_with("Schema"));
    let mut found: BTreeMap<_, _> = parents.flat_map(|parent| fields(source, parent)).collect();
    for line in rest.lines().take_while(|line| *line != "}") {
        // What is deeper belongs to another field.
        let field = line.strip_prefix("    ").filter(|line| !line.starts_with([' ', '}', '/', '*']));
        found.extend(field.and_then(|field| field.split_once(": ")).map(|(name, is)| (name.trim_end_matches('?'), is)));
    }
    found
}

/// Whether a value can be of a type; of types with names nothing is known here.
fn fits(value: &Value, is: &str) -> bool {
    let word = match value {
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        Value::Null | Value::Array(_) | Value::Object(_) => return true,
    };
    is.contains(word) || is.contains('\'') || is.starts_with(|c: char| c.is_ascii_uppercase())
}

#[test]
fn gitlabs_answers_are_what_another_client_expects() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let types = services().join("node_modules/@gitbeaker/core/dist/index.d.ts");
    let source = std::fs::read_to_string(&types)
        .unwrap_or_else(|error| panic!("{}: {error}; `.ci/setup --tests` installs it", types.display()));
    let text = std::fs::read_to_string(root.join("fixtures/forges/gitlab.json")).unwrap();
    let fixture: Value = serde_json::from_str(&text).unwrap();
    println!("\nGitLab, types of @gitbeaker/core 43.8.0 (npm)\n{:<66} {:>6}  newer", "endpoint", "fields");
    for (endpoint, name) in TYPES {
        let (method, path) = endpoint.split_once(' ').unwrap();
        let answer = &fixture[path][method.to_ascii_lowercase()]["answer"];
        let answer = answer.get(0).unwrap_or(answer).as_object().unwrap_or_else(|| panic!("{endpoint} has no example"));
        let known = fields(&source, name);
        let newer: Vec<_> = answer.keys().filter(|key| !known.contains_key(key.as_str())).map(String::as_str).collect();
        println!("{endpoint:<66} {:>6}  {}", answer.len(), newer.join(" "));
        for (key, value) in answer {
            match known.get(key.as_str()) {
                Some(is) => assert!(fits(value, is), "{endpoint}: {key} is {value}, and {is} there"),
                None => assert!(NEWER.contains(&key.as_str()), "{endpoint}: nobody knows of {key}"),
            }
        }
        assert!(known.len() > 4 && newer.len() * 2 < answer.len(), "{endpoint}: {known:?}");
    }
}

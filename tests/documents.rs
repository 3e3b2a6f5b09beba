//! What the documents name is there: tests in SECURITY.md, files and functions in ARCHITECTURE.md.

use std::fmt::Write as _;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every line of Rust of the project.
fn source() -> String {
    let mut text = String::new();
    for folder in ["src", "tests"] {
        for entry in walkdir::WalkDir::new(root().join(folder)) {
            let entry = entry.expect("the source can be listed");
            if entry.path().extension().is_some_and(|extension| extension == "rs") {
                let file = std::fs::read_to_string(entry.path()).expect("the source can be read");
                writeln!(text, "{file}").expect("text grows");
            }
        }
    }
    text
}

/// What stands between backticks, outside of blocks.
fn quoted(text: &str) -> Vec<String> {
    let mut in_block = false;
    let prose = text.lines().filter(|line| {
        let fence = line.starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    });
    let prose = prose.collect::<Vec<_>>().join("\n");
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn is_defined(source: &str, name: &str) -> bool {
    ["(", "<"].iter().any(|after| source.contains(&format!("fn {name}{after}")))
}

#[test]
fn every_test_that_security_names_is_there() {
    let source = source();
    let is_test = |name: &&String| name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let names = quoted(&read("SECURITY.md"));
    let tests: Vec<_> = names.iter().filter(is_test).collect();
    let missing: Vec<_> = tests.iter().filter(|name| !is_defined(&source, name)).collect();
    assert!(tests.len() > 50, "only {} were found", tests.len());
    assert!(missing.is_empty(), "SECURITY.md names tests that are not there: {missing:#?}");
}

#[test]
fn every_function_and_file_that_architecture_names_is_there() {
    let source = source();
    let names = quoted(&read("ARCHITECTURE.md"));
    let functions: Vec<_> = names.iter().filter_map(|name| name.strip_suffix("()")).collect();
    let name = |path: &&&str| path.rsplit([':', '.']).next().is_some_and(|name| !is_defined(&source, name));
    let missing: Vec<_> = functions.iter().filter(name).collect();
    let is_path = |name: &&String| {
        ["src/", "tests/", "templates/", "migrations/", "fixtures/", "docs/"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let gone: Vec<_> = names.iter().filter(is_path).filter(|path| !root().join(path).exists()).collect();
    assert!(functions.len() > 30, "only {} were found", functions.len());
    assert!(missing.is_empty(), "ARCHITECTURE.md names functions that are not there: {missing:#?}");
    assert!(gone.is_empty(), "ARCHITECTURE.md names files that are not there: {gone:#?}");
}

/// The folders of modules right below this one.
fn modules_below(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).expect("the source can be listed");
    let paths = entries.map(|entry| entry.expect("the source can be listed").path());
    let names = paths.filter(|path| path.join("mod.rs").is_file()).filter_map(|path| {
        let name = path.file_name()?.to_str()?;
        Some(format!("{folder}/{name}"))
    });
    names.collect()
}

#[test]
fn architecture_describes_every_folder_of_modules() {
    let text = read("ARCHITECTURE.md");
    let folders = [modules_below("src"), modules_below("src/domain")].concat();
    let missing: Vec<_> = folders.iter().filter(|folder| !text.contains(&format!("\n| `{folder}` | "))).collect();
    assert!(folders.len() > 20, "only {} were found", folders.len());
    assert!(missing.is_empty(), "ARCHITECTURE.md does not describe {missing:#?}");
}

/// The blocks of a document in this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

#[test]
fn the_examples_of_policies_are_right_and_every_key_is_described() {
    let text = read("docs/policy.md");
    let examples = blocks(&text, "toml");
    assert!(examples.len() >= 4, "only {} were found", examples.len());
    for example in &examples {
        let policy = pkgwarden::config::policy::load("docs/policy.md", example);
        let policy = policy.unwrap_or_else(|error| panic!("{error}\n{example}"));
        let mut packages: std::collections::BTreeSet<&str> = policy.package.keys().map(String::as_str).collect();
        packages.extend(policy.allow.iter().filter_map(|rule| rule.package.as_deref()));
        assert_eq!(policy.lints(&packages, jiff::Timestamp::UNIX_EPOCH), [], "{example}");
    }
    let schema = pkgwarden::config::policy_schema();
    let mut keys: Vec<&String> = schema["properties"].as_object().expect("a table").keys().collect();
    keys.extend(schema["properties"]["allow"]["items"]["properties"].as_object().expect("a table").keys());
    let missing: Vec<_> =
        keys.iter().filter(|key| !["`", "[", "[["].iter().any(|sign| text.contains(&format!("{sign}{key}")))).collect();
    assert!(missing.is_empty(), "docs/policy.md does not describe {missing:?}");
}

#[test]
fn docs_of_the_policy_list_the_codes_that_the_gate_gives() {
    let text = read("docs/policy.md");
    let section = text.split("### Codes").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the list");
    let given: Vec<&str> = pkgwarden::domain::classify::codes_of_rules().collect();
    let is_code = |text: &String| text.contains('-') || given.contains(&text.as_str());
    let listed: Vec<String> = quoted(section).into_iter().filter(is_code).collect();
    let missing: Vec<_> = given.iter().filter(|code| !listed.iter().any(|it| it == *code)).collect();
    let unknown: Vec<_> = listed.iter().filter(|code| !given.contains(&code.as_str())).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}, unknown: {unknown:?}");
}

#[test]
fn the_page_of_the_gate_has_every_code_and_no_other() {
    let page = quoted(&read("docs/gate.md"));
    let source: String = walkdir::WalkDir::new(root().join("src/domain/classify"))
        .into_iter()
        .map(|entry| entry.expect("the source can be listed"))
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "rs"))
        .map(|entry| std::fs::read_to_string(entry.path()).expect("the source can be read"))
        .collect();
    let is_code = |name: &&String| name.contains('-') && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let named: Vec<_> = page.iter().filter(is_code).filter(|name| *name != "gate-history").collect();
    let unknown: Vec<_> = named.iter().filter(|name| !source.contains(&format!("\"{name}\""))).collect();
    // A code stands in front of its weight, or in front of its message.
    let given = source.match_indices("Weight::").filter_map(|(at, _)| source[..at].rsplit('"').nth(1));
    let missing = given.filter(|code| is_code(&&(*code).to_owned()) && !page.iter().any(|name| name == code));
    assert!(named.len() > 50, "only {} were found", named.len());
    assert!(unknown.is_empty(), "docs/gate.md names codes that are not there: {unknown:#?}");
    let missing: std::collections::BTreeSet<_> = missing.collect();
    assert!(missing.is_empty(), "docs/gate.md does not name these codes: {missing:#?}");
}

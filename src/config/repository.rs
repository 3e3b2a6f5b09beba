//! `.ci/config` and `.ci/aur-maintainers`: what the whole monorepo asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::keyfile::{KeyFile, printable};
use super::package::parse_class;
use crate::domain::finding::Finding;
use crate::domain::policy::{Identity, MANAGER_DEFAULTS, RepositorySettings};

/// Where the settings stand in the monorepo.
pub const PATH: &str = ".ci/config";

/// Where the trusted AUR accounts stand in the monorepo.
pub const MAINTAINERS_PATH: &str = ".ci/aur-maintainers";

/// The keys of `.ci/config`. Those about Redis belong to Chaotic's own scripts: they are known, kept, and only
/// read for the files that are written for them.
pub const KEYS: [&str; 23] = [
    "BUILD_REPO",
    "CI_AUR_PROXY",
    "CI_CLONE_DELAY",
    "CI_CODE_SKIP",
    "CI_DEFAULT_CLASS",
    "CI_HUMAN_REVIEW",
    "CI_HUMAN_REVIEW_ASSIGNEE",
    "CI_LIB_DB",
    "CI_MANAGE_AUR",
    "CI_MAX_PARALLEL",
    "CI_NVCHECKER_REVIEW",
    "CI_OVERWRITE_COMMITS",
    "CI_REBUILD_BLACKLIST",
    "CI_REBUILD_TRIGGERS",
    "GIT_AUTHOR_EMAIL",
    "GIT_AUTHOR_NAME",
    "REDIS_PORT",
    "REDIS_SSH_HOST",
    "REDIS_SSH_PORT",
    "REDIS_SSH_USER",
    "REPO_NAME",
    "TEMPLATE_ENABLE_UPDATES",
    "TEMPLATE_REPO",
];

/// Longest pause between two clones that is taken seriously, in seconds.
const LONGEST_DELAY: f64 = 3600.0;

/// Most requests at once that are taken seriously.
const MOST_PARALLEL: usize = 512;

/// A value that could not be read: what is wrong with it, and the remedy.
type Unreadable = (String, &'static str);

/// Reads both files; a missing list of maintainers trusts nobody. Whatever is wrong becomes a finding,
/// and the setting keeps its default.
#[must_use]
pub fn parse(ci_config: &str, aur_maintainers: Option<&str>) -> (RepositorySettings, Vec<Finding>) {
    let defaults = RepositorySettings::default();
    let mut file = KeyFile::new(ci_config, PATH, &KEYS);
    let (trusted_maintainers, complaints) = maintainers(aur_maintainers.unwrap_or_default());
    let settings = RepositorySettings {
        target_repository: file.parsed("REPO_NAME", parse_name),
        source_repository: file.parsed("BUILD_REPO", parse_name).unwrap_or(defaults.source_repository),
        identity: Identity {
            name: file.parsed("GIT_AUTHOR_NAME", parse_person).unwrap_or(defaults.identity.name),
            email: file.parsed("GIT_AUTHOR_EMAIL", parse_person).unwrap_or(defaults.identity.email),
        },
        human_review: file.flag("CI_HUMAN_REVIEW"),
        review_assignees: file.list("CI_HUMAN_REVIEW_ASSIGNEE", separates_names).into_iter().collect(),
        overwrite_commits: file.flag("CI_OVERWRITE_COMMITS").unwrap_or(defaults.overwrite_commits),
        default_class: file.parsed("CI_DEFAULT_CLASS", parse_class),
        skip_exit_code: file.parsed("CI_CODE_SKIP", parse_exit_code).unwrap_or(defaults.skip_exit_code),
        manage_aur: file.flag("CI_MANAGE_AUR").unwrap_or(defaults.manage_aur),
        nvchecker_review: file.flag("CI_NVCHECKER_REVIEW").unwrap_or(defaults.nvchecker_review),
        max_parallel: file.parsed("CI_MAX_PARALLEL", parse_parallel).unwrap_or(defaults.max_parallel),
        clone_delay: file.parsed("CI_CLONE_DELAY", parse_delay).unwrap_or(defaults.clone_delay),
        aur_proxy: file.parsed("CI_AUR_PROXY", parse_proxy),
        library_databases: library_databases(&mut file),
        rebuild_blacklist: file.list("CI_REBUILD_BLACKLIST", |c| c == ':').into_iter().collect(),
        manager_variables: manager_variables(&mut file),
        template_updates: file.flag("TEMPLATE_ENABLE_UPDATES").unwrap_or(defaults.template_updates),
        template_repository: file.parsed("TEMPLATE_REPO", parse_repository),
        trusted_maintainers,
    };
    let mut findings = file.into_findings();
    findings.extend(complaints);
    (settings, findings)
}

fn separates_names(c: char) -> bool {
    c.is_whitespace() || c == ','
}

/// With the defaults of Chaotic's scripts.
fn manager_variables(file: &mut KeyFile<'_>) -> BTreeMap<String, String> {
    let variable =
        |(key, default): (&'static str, &str)| (key.to_owned(), file.text(key).unwrap_or_else(|| default.to_owned()));
    MANAGER_DEFAULTS.map(variable).into()
}

/// One account a line; `#` begins a comment.
fn maintainers(text: &str) -> (BTreeSet<String>, Vec<Finding>) {
    let mut names = BTreeSet::new();
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let name = line.split('#').next().unwrap_or_default().trim();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !name.is_empty() && name.bytes().all(legal) {
            names.insert(name.to_owned());
        } else if !name.is_empty() {
            let shown = printable(&name.chars().take(60).collect::<String>());
            let finding = Finding::warning("config-maintainer", format!("`{shown}` is not an AUR account"));
            findings.push(finding.at(MAINTAINERS_PATH, Some(number)).hint("write one account a line"));
        }
    }
    (names, findings)
}

fn library_databases(file: &mut KeyFile<'_>) -> Vec<String> {
    const KEY: &str = "CI_LIB_DB";
    let (usable, bad): (Vec<_>, Vec<_>) =
        file.list(KEY, char::is_whitespace).into_iter().partition(|url| has_scheme(url, &["https", "http", "file"]));
    for url in bad {
        file.complain(
            KEY,
            &format!("`{url}` is not a URL and is left out"),
            "write the URLs of .db files with spaces between them",
        );
    }
    usable
}

fn has_scheme(url: &str, schemes: &[&str]) -> bool {
    url.split_once("://").is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty())
}

/// The rule of pacman for the name of a repository, and nothing that could be a path.
fn parse_name(text: &str) -> Result<String, Unreadable> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte);
    if text.bytes().all(legal) && !text.starts_with(['.', '-']) {
        return Ok(text.to_owned());
    }
    Err((format!("`{text}` is not the name of a repository"), "use letters, digits and @._+-"))
}

/// What git accepts in an identity.
fn parse_person(text: &str) -> Result<String, Unreadable> {
    if text.contains(['<', '>']) || text.chars().any(char::is_control) {
        return Err(("git accepts neither angle brackets nor control characters here".into(), "leave them out"));
    }
    Ok(text.to_owned())
}

fn parse_exit_code(text: &str) -> Result<i32, Unreadable> {
    match text.parse() {
        Ok(code @ 1..=255) => Ok(code),
        _ => Err((format!("`{text}` is not an exit status"), "write a number from 1 to 255")),
    }
}

fn parse_parallel(text: &str) -> Result<usize, Unreadable> {
    match text.parse() {
        Ok(count @ 1..=MOST_PARALLEL) => Ok(count),
        _ => Err((format!("`{text}` requests at once are not possible"), "write a number from 1 to 512")),
    }
}

fn parse_delay(text: &str) -> Result<f64, Unreadable> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST_DELAY).contains(&seconds) => Ok(seconds),
        _ => Err((format!("`{text}` is not a pause"), "write seconds, from 0 to 3600")),
    }
}

fn parse_proxy(text: &str) -> Result<String, Unreadable> {
    if has_scheme(text, &["http", "https", "socks5", "socks5h"]) {
        return Ok(text.to_owned());
    }
    Err((format!("`{text}` is not the URL of a proxy"), "write http://host:port or socks5h://host:port"))
}

fn parse_repository(text: &str) -> Result<String, Unreadable> {
    if has_scheme(text, &["https", "http", "ssh", "git", "file"]) {
        return Ok(text.to_owned());
    }
    Err((format!("`{text}` is not the URL of a git repository"), "write https://host/path or ssh://git@host/path"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::BuildClass;

    #[test]
    fn a_real_configuration_is_read_without_complaint() {
        let text = "BUILD_REPO=packages\nCI_CODE_SKIP=123\nCI_DEFAULT_CLASS=5\nCI_HUMAN_REVIEW=true\n\
             CI_LIB_DB=\"https://a.example/core.db  https://a.example/extra.db\"\nCI_MANAGE_AUR=true\n\
             CI_NVCHECKER_REVIEW=false\n\
             CI_REBUILD_BLACKLIST=\"glibc:gcc-libs\"\nGIT_AUTHOR_EMAIL=ci@a.example\nGIT_AUTHOR_NAME=\"The CI\"\n\
             REDIS_SSH_HOST=b.example\nREDIS_SSH_PORT=270\nREDIS_SSH_USER=deployer\nREPO_NAME=my-repo\n\
             TEMPLATE_ENABLE_UPDATES=true\n";
        let (settings, findings) = parse(text, Some("# trusted\nalice\n  bob  # since 2024\n# mallory\n"));
        assert_eq!(findings, []);
        let expected = RepositorySettings {
            target_repository: Some("my-repo".into()),
            source_repository: "packages".into(),
            identity: Identity { name: "The CI".into(), email: "ci@a.example".into() },
            human_review: Some(true),
            default_class: Some(BuildClass("5".into())),
            manage_aur: true,
            nvchecker_review: false,
            library_databases: vec!["https://a.example/core.db".into(), "https://a.example/extra.db".into()],
            rebuild_blacklist: ["glibc".to_owned(), "gcc-libs".to_owned()].into(),
            manager_variables: [
                ("REDIS_PORT", "6379"),
                ("REDIS_SSH_HOST", "b.example"),
                ("REDIS_SSH_PORT", "270"),
                ("REDIS_SSH_USER", "deployer"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
            template_updates: true,
            trusted_maintainers: ["alice".to_owned(), "bob".to_owned()].into(),
            ..RepositorySettings::default()
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse("", None), (RepositorySettings::default(), vec![]));
    }

    #[test]
    fn every_known_key_is_accepted() {
        let text = KEYS.join("=\n") + "=\n";
        assert_eq!(parse(&text, None).1, []);
    }

    #[test]
    fn bad_values_are_reported_and_leave_the_default() {
        let text = "CI_MAX_PARALLEL=many\nCI_CODE_SKIP=0\nCI_CLONE_DELAY=-1\nREPO_NAME=../etc\nCI_AUR_PROXY=proxy\n\
             GIT_AUTHOR_NAME=A <a@b>\nCI_HUMAN_REVIEW=yes\nCI_LIB_DB=core.db\nCI_MAX_PARALEL=4\n";
        let (settings, findings) = parse(text, Some("not a name\n"));
        assert_eq!(settings, RepositorySettings::default());
        let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(findings.join("\n"), @"
        .ci/config:1: CI_MAX_PARALLEL: `many` requests at once are not possible; the default is used; write a number from 1 to 512
        .ci/config:2: CI_CODE_SKIP: `0` is not an exit status; the default is used; write a number from 1 to 255
        .ci/config:3: CI_CLONE_DELAY: `-1` is not a pause; the default is used; write seconds, from 0 to 3600
        .ci/config:4: REPO_NAME: `../etc` is not the name of a repository; the default is used; use letters, digits and @._+-
        .ci/config:5: CI_AUR_PROXY: `proxy` is not the URL of a proxy; the default is used; write http://host:port or socks5h://host:port
        .ci/config:6: GIT_AUTHOR_NAME: git accepts neither angle brackets nor control characters here; the default is used; leave them out
        .ci/config:7: CI_HUMAN_REVIEW: `yes` is neither true nor false; the default is used; write CI_HUMAN_REVIEW=true or CI_HUMAN_REVIEW=false
        .ci/config:8: CI_LIB_DB: `core.db` is not a URL and is left out; write the URLs of .db files with spaces between them
        .ci/config:9: nothing reads the key CI_MAX_PARALEL; did you mean CI_MAX_PARALLEL?
        .ci/aur-maintainers:1: `not a name` is not an AUR account; write one account a line
        ");
    }
}

//! The files that have a CI service run this program: what is installed, and when a newer one takes its place.
//!
//! The first line of an installed file is a seal over the rest. A file whose seal fits is as it was installed, so a newer
//! one may replace it; one that a person changed is that person's.

use sha2::{Digest as _, Sha256};

/// How a seal begins.
const SEAL: &str = "# Installed by pkgwarden, and kept current while nobody changes it: sha256 ";

/// Whose CI runs this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// GitHub Actions.
    GitHub,
    /// GitLab CI.
    GitLab,
    /// The actions of Gitea and Forgejo.
    Gitea,
}

/// All of them.
pub const SERVICES: [Service; 3] = [Service::GitHub, Service::GitLab, Service::Gitea];

impl Service {
    /// Where its file stands in the monorepo.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::GitHub => ".github/workflows/pkgwarden.yml",
            Self::GitLab => ".ci/pkgwarden.gitlab-ci.yml",
            Self::Gitea => ".gitea/workflows/pkgwarden.yml",
        }
    }

    /// The file that comes with this program.
    #[must_use]
    pub const fn template(self) -> &'static str {
        match self {
            Self::GitHub | Self::Gitea => include_str!("../../templates/ci/github.yml"),
            Self::GitLab => include_str!("../../templates/ci/gitlab.yml"),
        }
    }
}

/// What is to be done about an installed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is missing: this is written.
    Install(String),
    /// It is as it was installed, and there is a newer one: this is written.
    Update(String),
    /// It is the newest one.
    Current,
    /// A person changed it since it was installed. It stays.
    Changed,
    /// It was never installed by this program. It stays.
    Foreign,
}

/// What is to be done where `present` stands, if the newest is `template`; it may have a seal of its own.
#[must_use]
pub fn step(present: Option<&str>, template: &str) -> Step {
    let wanted = sealed(unsealed(template).map_or(template, |(rest, _)| rest));
    match present.map(|text| (text, unsealed(text))) {
        None => Step::Install(wanted),
        Some((text, Some((_, true)))) if text == wanted => Step::Current,
        Some((_, Some((_, true)))) => Step::Update(wanted),
        Some((_, Some((_, false)))) => Step::Changed,
        Some((_, None)) => Step::Foreign,
    }
}

/// A file with its seal.
fn sealed(text: &str) -> String {
    format!("{SEAL}{}\n{text}", digest(text))
}

/// What is below a seal, and whether it fits; `None` if there is no seal.
fn unsealed(text: &str) -> Option<(&str, bool)> {
    let (seal, rest) = text.strip_prefix(SEAL)?.split_once('\n')?;
    Some((rest, seal.trim() == digest(rest)))
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_only_as_long_as_nobody_changed_it() {
        let Step::Install(first) = step(None, "one: 1\n") else { panic!("there was none") };
        assert_eq!(first.lines().nth(1), Some("one: 1"));
        assert_eq!(step(Some(&first), "one: 1\n"), Step::Current);
        let Step::Update(second) = step(Some(&first), "two: 2\n") else { panic!("there is a newer one") };
        assert_eq!(step(Some(&second), "two: 2\n"), Step::Current);
        assert_eq!(step(Some(&second), &first), Step::Update(first.clone()), "a template may be sealed itself");
        assert_eq!(step(Some(&format!("{first}# mine\n")), "two: 2\n"), Step::Changed);
        assert_eq!(step(Some(&first.replace("one: 1", "one: 2")), "one: 1\n"), Step::Changed);
        assert_eq!(step(Some("one: 1\n"), "one: 1\n"), Step::Foreign);
        assert_eq!(step(Some(""), "one: 1\n"), Step::Foreign);
    }

    #[test]
    fn no_template_puts_what_strangers_wrote_into_a_script() {
        for service in SERVICES {
            let mut in_script = None;
            for line in service.template().lines() {
                let indent = line.len() - line.trim_start().len();
                let begins = ["run: |", "- |"].iter().any(|begin| line.trim_end().ends_with(begin));
                in_script = in_script.filter(|begun| line.trim().is_empty() || indent > *begun);
                assert!(in_script.is_none() || !line.contains("${{"), "{service:?}: {line}");
                in_script = in_script.or(begins.then_some(indent));
            }
        }
    }

    #[test]
    fn every_action_is_pinned_and_no_job_may_do_more_than_it_needs() {
        let text = Service::GitHub.template();
        let uses: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("uses: ")).collect();
        assert_eq!(uses.len(), 2, "{uses:?}");
        for action in uses {
            let pin = action.split_once('@').and_then(|(_, pin)| pin.split(' ').next()).unwrap_or_default();
            assert!(pin.len() == 40 && pin.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
        }
        assert!(text.contains("\npermissions: {}\n") && text.contains("concurrency:"));
    }
}

//! What a maintainer allows beyond the default, and what is known about who changed a package.
//!
//! Both work on the reasons of a finished comparison. A policy can make lighter what needs reading
//! ([`Weight::Review`]) and nothing above it; what is known about people can make everything heavier.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::text::shown;
use super::{Reason, Verdict, Weight, configuration};
use crate::domain::folder::{File, FileMode, Folder};
use crate::domain::keepers::Newcomers;

/// What may go in beyond the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Texts that are only shown: description and licence.
    pub descriptions: bool,
    /// Kernel configurations in which drivers and numbers changed, and nothing that protects.
    pub kernel_configurations: bool,
    /// Files that are neither built nor run: a log of changes, a licence, a README, settings of nvchecker.
    pub inert_files: bool,
    /// Single permissions.
    pub allow: Vec<Permission>,
}

/// One kind of difference that may go in, for a reason and, perhaps, for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// The package; all if nothing is said.
    #[serde(default)]
    pub package: Option<String>,
    /// The code of the reason: `dependency-added`.
    pub code: String,
    /// The file; any if nothing is said.
    #[serde(default)]
    pub file: Option<String>,
    /// The whole new text; any if nothing is said.
    #[serde(default)]
    pub new: Option<String>,
    /// Why it is allowed.
    pub because: String,
    /// The end of the permission.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
}

/// What is known about who changed a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// All its maintainers are trusted: what needs reading may go in.
    pub trusted: bool,
    /// Somebody may push to it who could not when it was merged last: nobody is trusted, and everything
    /// weighs more.
    pub newcomers: Option<Newcomers>,
}

/// A verdict, and the permissions that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The verdict under the policy.
    pub verdict: Verdict,
    /// The places in [`Policy::allow`] of permissions that were used.
    pub used: Vec<usize>,
}

/// The update that is judged.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The name of the package.
    pub package: &'a str,
    /// The folder as it was.
    pub old: &'a Folder,
    /// The folder as it would be.
    pub new: &'a Folder,
    /// The time of the decision, for permissions that end.
    pub now: Timestamp,
}

/// Applies a policy and what is known about people to a verdict.
#[must_use]
pub fn judge(verdict: Verdict, subject: Subject<'_>, policy: &Policy, context: &Context) -> Judged {
    let mut used = Vec::new();
    let trusted = context.trusted && context.newcomers.is_none();
    let (old_version, new_version) = (verdict.old_version, verdict.new_version);
    let mut reasons = verdict.reasons;
    for reason in reasons.iter_mut().filter(|reason| reason.severity == Weight::Review) {
        let permission = policy.allow.iter().position(|permission| permission.covers(reason, subject));
        used.extend(permission);
        if permission.is_some() || trusted || policy.knob(reason, subject) {
            reason.severity = Weight::Stronger;
        }
    }
    if let Some(newcomers) = &context.newcomers {
        for reason in &mut reasons {
            reason.severity = heavier(reason.severity);
        }
        reasons.push(newcomers_reason(newcomers));
    }
    used.sort_unstable();
    used.dedup();
    Judged { verdict: Verdict::from_reasons(reasons, old_version, new_version), used }
}

fn newcomers_reason(newcomers: &Newcomers) -> Reason {
    let names = newcomers.names.iter().cloned().collect::<Vec<_>>().join(", ");
    let (code, message) = if newcomers.adopted {
        ("orphan-adopted", "the package had no maintainer when it was merged last, and has been adopted since")
    } else {
        ("maintainer-changed", "somebody may push to the package who could not when it was merged last")
    };
    Reason {
        code,
        severity: Weight::Review,
        file: super::PKGBUILD.to_owned(),
        line: None,
        old: Some(shown(newcomers.before.as_bytes())),
        new: Some(shown(names.as_bytes())),
        message: message.to_owned(),
    }
}

/// One step up of: goes in, to be read, trust, attack.
fn heavier(weight: Weight) -> Weight {
    match weight {
        Weight::Cosmetic | Weight::Version | Weight::Stronger => Weight::Review,
        Weight::Review => Weight::Trust,
        Weight::Trust | Weight::Hostile => Weight::Hostile,
    }
}

impl Permission {
    fn covers(&self, reason: &Reason, subject: Subject<'_>) -> bool {
        let fits = |wanted: &Option<String>, is: Option<&str>| wanted.as_deref().is_none_or(|text| Some(text) == is);
        self.code == reason.code
            && fits(&self.package, Some(subject.package))
            && fits(&self.file, Some(&reason.file))
            && fits(&self.new, reason.new.as_deref())
            && self.until.is_none_or(|until| subject.now < until)
    }
}

impl Policy {
    fn knob(&self, reason: &Reason, subject: Subject<'_>) -> bool {
        let path = reason.file.as_str();
        let (old, new) = (subject.old.files.get(path), subject.new.files.get(path));
        match reason.code {
            "description-changed" => self.descriptions,
            "file-changed" if self.kernel_configurations && configuration::is_configuration(path) => {
                old.zip(new).is_some_and(|(old, new)| configuration::only_drivers_changed(&old.bytes, &new.bytes))
            }
            "file-changed" | "file-added" | "file-removed" => {
                let plain = |file: &File| file.mode == FileMode::Regular;
                let named = |folder: &Folder| names(folder.get(super::PKGBUILD).unwrap_or_default(), path);
                self.inert_files
                    && is_inert(path)
                    && old.is_none_or(plain)
                    && new.is_none_or(plain)
                    && !named(subject.old)
                    && !named(subject.new)
            }
            _ => false,
        }
    }
}

/// Whether a PKGBUILD speaks of a file, other than as its log of changes.
fn names(pkgbuild: &[u8], path: &str) -> bool {
    let text = String::from_utf8_lossy(pkgbuild);
    let name = path.rsplit('/').next().unwrap_or(path);
    text.lines().any(|line| line.contains(name) && !line.starts_with("changelog="))
}

fn is_inert(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let stem = name.split('.').next().unwrap_or_default();
    let ending = name.rsplit('.').next().unwrap_or_default();
    let text = name == stem || matches!(ending, "md" | "txt" | "changelog" | "rst");
    name == ".nvchecker.toml"
        || (text && matches!(stem, "readme" | "changelog" | "license" | "copying" | "news" | "authors"))
        || (ending == "changelog" && name != stem)
}

#[cfg(test)]
mod tests {
    use super::super::{Decision, classify};
    use super::*;

    const TEXT: &str =
        "pkgname=a\npkgver=1\npkgrel=1\npkgdesc='x'\narch=(any)\ndepends=(b)\nsource=('https://a.example/x')\n";

    fn folder(text: &str) -> Folder {
        Folder::default()
            .with("PKGBUILD", text)
            .with("README.md", "1")
            .with("config", "CONFIG_A=y\nCONFIG_SECURITY=y\n")
    }

    fn judged(new: &Folder, policy: &Policy, context: &Context) -> Judged {
        let old = folder(TEXT);
        let subject = Subject { package: "a", old: &old, new, now: Timestamp::UNIX_EPOCH };
        judge(classify(&old, new), subject, policy, context)
    }

    fn permission(code: &str, new: Option<&str>) -> Policy {
        let new = new.map(str::to_owned);
        let because = "it is ours".to_owned();
        let permission = Permission { package: None, code: code.to_owned(), file: None, new, because, until: None };
        Policy { allow: vec![permission], ..Policy::default() }
    }

    #[test]
    fn a_permission_covers_a_whole_element_and_is_reported_as_used() {
        let new = folder(&TEXT.replace("(b)", "(b c)"));
        let allowed = judged(&new, &permission("dependency-added", Some("c")), &Context::default());
        assert_eq!((allowed.verdict.verdict, allowed.used), (Decision::Minor, vec![0]));
        let other = judged(&new, &permission("dependency-added", Some("cc")), &Context::default());
        assert_eq!((other.verdict.verdict, other.used), (Decision::Major, vec![]));
    }

    #[test]
    fn a_permission_ends() {
        let new = folder(&TEXT.replace("(b)", "(b c)"));
        let mut policy = permission("dependency-added", None);
        policy.allow[0].until = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(judged(&new, &policy, &Context::default()).verdict.verdict, Decision::Major);
    }

    #[test]
    fn nothing_makes_trust_or_attacks_lighter() {
        let trusted = Context { trusted: true, newcomers: None };
        let host = folder(&TEXT.replace("a.example", "b.example"));
        assert_eq!(judged(&host, &permission("source-host", None), &trusted).verdict.severity, Weight::Trust);
        let hostile = folder(&TEXT.replace("pkgver=1", "pkgver=$(id)"));
        assert_eq!(judged(&hostile, &permission("substitution", None), &trusted).verdict.severity, Weight::Hostile);
        let dependency = folder(&TEXT.replace("(b)", "(b c)"));
        assert_eq!(judged(&dependency, &Policy::default(), &trusted).verdict.verdict, Decision::Minor);
    }

    #[test]
    fn a_changed_maintainer_makes_everything_heavier() {
        let names = ["eve".to_owned()].into();
        let newcomers = Some(Newcomers { names, before: "ann".to_owned(), adopted: false });
        let changed = Context { trusted: true, newcomers };
        let bump = folder(&TEXT.replace("pkgrel=1", "pkgrel=2"));
        assert_eq!(judged(&bump, &Policy::default(), &changed).verdict.verdict, Decision::Major);
        let host = folder(&TEXT.replace("a.example", "b.example"));
        assert_eq!(judged(&host, &Policy::default(), &changed).verdict.severity, Weight::Hostile);
    }

    #[test]
    fn files_that_nobody_builds_go_in_only_if_asked_for_and_only_if_nobody_names_them() {
        let policy = Policy { inert_files: true, kernel_configurations: true, descriptions: true, ..Policy::default() };
        let verdict = |new: &Folder, policy: &Policy| judged(new, policy, &Context::default()).verdict.verdict;
        let readme = folder(TEXT).with("README.md", "2");
        assert_eq!(verdict(&readme, &Policy::default()), Decision::Major);
        assert_eq!(verdict(&readme, &policy), Decision::Minor);
        let text = format!("{TEXT}package() {{ . ./README.md; }}\n");
        let named = folder(&text).with("README.md", "2");
        assert_eq!(verdict(&named, &policy), Decision::Major);
        let drivers = folder(TEXT).with("config", "CONFIG_A=m\n# CONFIG_B is not set\nCONFIG_SECURITY=y\n");
        assert_eq!(verdict(&drivers, &policy), Decision::Minor);
        let weaker = folder(TEXT).with("config", "CONFIG_A=y\n# CONFIG_SECURITY is not set\n");
        assert_eq!(verdict(&weaker, &policy), Decision::Major);
        assert_eq!(verdict(&folder(&TEXT.replace("'x'", "'y'")), &policy), Decision::Minor);
    }
}

//! What a maintainer allows beyond the default, and what is known about who changed a package.
//!
//! Both work on the reasons of a finished comparison. A policy can make lighter what needs reading
//! ([`Weight::Review`]) and nothing above it; what is known about people can make everything heavier.
//! How often an update has to be approved, and how old it has to be, is said here too, and counted in
//! `domain::plan`.

mod codes;
mod lint;
mod pattern;
mod permission;

use std::collections::BTreeMap;
use std::num::NonZeroU8;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::text::shown;
use super::{Reason, Verdict, Weight, configuration};
use crate::domain::folder::{File, FileMode, Folder};
use crate::domain::keepers::Newcomers;

pub use codes::codes_of_rules;
pub use pattern::{LineRules, PathPattern, Whole};
pub use permission::{Permission, Place};

/// What may go in beyond the default, and what has to be waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Texts that are only shown: description and licence.
    pub descriptions: bool,
    /// Kernel configurations in which drivers and numbers changed, and nothing that protects.
    pub kernel_configurations: bool,
    /// Files that are neither built nor run: a log of changes, a licence, a README, settings of nvchecker.
    pub inert_files: bool,
    /// How old an update has to be before it goes in without a person: `36h`, `2 days`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub minimum_age: Option<Age>,
    /// How many people have to approve an update, by the weight of its heaviest reason.
    pub approvals: Approvals,
    /// Single permissions.
    pub allow: Vec<Permission>,
    /// What is different for single packages, by name.
    pub package: BTreeMap<String, PackagePolicy>,
    /// Whether something in it that asks for more than the default could not be read.
    #[serde(skip)]
    pub incomplete: bool,
}

/// What is different for one package, for a reason and, perhaps, for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackagePolicy {
    /// In place of the general one; `0s` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub minimum_age: Option<Age>,
    /// In place of the general ones.
    #[serde(default)]
    pub approvals: Approvals,
    /// Why.
    pub because: String,
    /// The end of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// Where it begins.
    #[serde(skip)]
    pub place: Place,
}

/// How many people have to approve an update whose heaviest reason has this weight; one if nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Approvals {
    /// It has to be read, or what weighs more was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<NonZeroU8>,
    /// It changes whom or what is trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<NonZeroU8>,
    /// It looks like an attack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostile: Option<NonZeroU8>,
}

impl Approvals {
    const fn of(self, weight: Weight) -> Option<NonZeroU8> {
        match weight {
            Weight::Hostile => self.hostile,
            Weight::Trust => self.trust,
            Weight::Review | Weight::Stronger | Weight::Version | Weight::Cosmetic => self.review,
        }
    }
}

/// A length of time, at most a year; days have 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Age(pub SignedDuration);

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = text.parse::<jiff::Span>().ok();
        let length = span.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok());
        let sensible = |length: &SignedDuration| !length.is_negative() && length.as_hours() <= 366 * 24;
        length.filter(sensible).map(Self).ok_or_else(|| format!("`{text}` is not an age such as 36h or 2 days"))
    }
}

impl TryFrom<String> for Age {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Age> for String {
    fn from(age: Age) -> Self {
        age.to_string()
    }
}

impl std::fmt::Display for Age {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
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

/// A verdict, and the rules that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The verdict under the policy.
    pub verdict: Verdict,
    /// Where the rules stand that were used, once each.
    pub used: Vec<Place>,
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
    /// Its `CI_PKGBUILD_CHANGE_ALLOW_REGEX`.
    pub line_rules: &'a LineRules,
    /// The time of the decision, for rules that end.
    pub now: Timestamp,
}

/// Reasons that say that there was nothing to compare: nobody is trusted so far.
const NOT_COMPARED: [&str; 2] = ["unreadable", "pkgbuild-missing"];

/// Applies a policy and what is known about people to a verdict.
#[must_use]
pub fn judge(verdict: Verdict, subject: Subject<'_>, policy: &Policy, context: &Context) -> Judged {
    let mut used = Vec::new();
    let trusted = context.trusted && context.newcomers.is_none();
    let (old_version, new_version) = (verdict.old_version, verdict.new_version);
    let mut reasons = verdict.reasons;
    for reason in reasons.iter_mut().filter(|reason| matches!(reason.severity, Weight::Review | Weight::Trust)) {
        match policy.rule_for(reason, subject) {
            Some(rule) => {
                reason.follow(&rule);
                used.push(rule.place);
            }
            None if trusted && reason.severity == Weight::Review && !NOT_COMPARED.contains(&reason.code) => {
                reason.severity = Weight::Stronger;
            }
            None => {}
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

/// A rule that covers a reason.
struct Rule {
    place: Place,
    because: String,
}

impl Reason {
    /// Becomes as light as a rule can make it, and says why.
    fn follow(&mut self, rule: &Rule) {
        let said = shown(format!("{}: {}", rule.place, rule.because).as_bytes());
        let effect = if self.severity == Weight::Review {
            self.severity = Weight::Stronger;
            "allowed"
        } else {
            "it was expected"
        };
        self.message = format!("{}; {effect} by {said}", self.message);
        self.rule = Some(said);
    }
}

fn newcomers_reason(newcomers: &Newcomers) -> Reason {
    let names = newcomers.names.iter().cloned().collect::<Vec<_>>().join(", ");
    let (code, message) = if newcomers.adopted {
        ("orphan-adopted", "the package had no maintainer when it was merged last, and has been adopted since")
    } else {
        ("maintainer-changed", "somebody may push to the package who could not when it was merged last")
    };
    let (before, now) = (Some(newcomers.before.as_bytes()), Some(names.as_bytes()));
    super::reason(code, Weight::Review, (super::PKGBUILD, None), before, now, message)
}

/// One step up of: goes in, to be read, trust, attack.
fn heavier(weight: Weight) -> Weight {
    match weight {
        Weight::Cosmetic | Weight::Version | Weight::Stronger => Weight::Review,
        Weight::Review => Weight::Trust,
        Weight::Trust | Weight::Hostile => Weight::Hostile,
    }
}

impl Policy {
    /// The same without what has ended: as long as it is equal, so are its verdicts.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> Self {
        let mut policy = self.clone();
        policy.allow.retain(|permission| permission.counts(now));
        policy.package.retain(|_, package| package.until.is_none_or(|until| now < until));
        policy
    }

    /// How old an update of a package has to be to go in without a person.
    #[must_use]
    pub fn minimum_age(&self, package: &str, now: Timestamp) -> Option<Age> {
        let own = self.of_package(package, now).and_then(|own| own.minimum_age);
        own.or(self.minimum_age).filter(|age| age.0.is_positive())
    }

    /// How many people have to approve an update of a package. What was expected counts as what needs reading.
    #[must_use]
    pub fn approvals(&self, verdict: &Verdict, package: &str, now: Timestamp) -> u8 {
        let own = self.of_package(package, now).map(|own| own.approvals).unwrap_or_default();
        let needed = |reason: &Reason| {
            let weight = if reason.rule.is_some() { Weight::Review } else { reason.severity };
            own.of(weight).or(self.approvals.of(weight)).map_or(1, NonZeroU8::get)
        };
        verdict.reasons.iter().filter(|reason| reason.severity > Weight::Stronger).map(needed).max().unwrap_or(1)
    }

    fn of_package(&self, package: &str, now: Timestamp) -> Option<&PackagePolicy> {
        self.package.get(package).filter(|own| own.until.is_none_or(|until| now < until))
    }

    fn rule_for(&self, reason: &Reason, subject: Subject<'_>) -> Option<Rule> {
        if let Some(permission) = self.allow.iter().find(|permission| permission.covers(reason, subject)) {
            return Some(Rule { place: permission.place.clone(), because: permission.because.clone() });
        }
        if reason.severity != Weight::Review {
            return None;
        }
        if permission::can_permit(reason.code)
            && let Some(expression) = subject.line_rules.covering(reason)
        {
            let place = Place { file: format!("{}/.CI/config", subject.package), line: None };
            return Some(Rule { place, because: format!("CI_PKGBUILD_CHANGE_ALLOW_REGEX has `{expression}`") });
        }
        let switch = self.switch_for(reason, subject)?;
        let place = Place { file: "the policy".to_owned(), line: None };
        Some(Rule { place, because: format!("`{switch}` is true") })
    }

    /// The switch that lets a difference in.
    fn switch_for(&self, reason: &Reason, subject: Subject<'_>) -> Option<&'static str> {
        let path = reason.file.as_str();
        let (old, new) = (subject.old.files.get(path), subject.new.files.get(path));
        let plain = |file: &File| file.mode == FileMode::Regular;
        let named = |folder: &Folder| names(folder.get(super::PKGBUILD).unwrap_or_default(), path);
        match reason.code {
            "description-changed" => self.descriptions.then_some("descriptions"),
            "file-changed" if self.kernel_configurations && configuration::is_configuration(path) => {
                let (old, new) = old.zip(new)?;
                configuration::only_drivers_changed(&old.bytes, &new.bytes).then_some("kernel_configurations")
            }
            "file-changed" | "file-added" | "file-removed" => (self.inert_files
                && is_inert(path)
                && old.is_none_or(plain)
                && new.is_none_or(plain)
                && !named(subject.old)
                && !named(subject.new))
            .then_some("inert_files"),
            _ => None,
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
        let line_rules = &LineRules::default();
        let subject = Subject { package: "a", old: &old, new, line_rules, now: Timestamp::UNIX_EPOCH };
        judge(classify(&old, new), subject, policy, context)
    }

    fn permission(code: &str, new: Option<&str>) -> Policy {
        let new = new.map(str::to_owned);
        let mut permission = Permission::about(code, "it is ours");
        permission.place = Place { file: "policy.toml".to_owned(), line: Some(3) };
        Policy { allow: vec![Permission { new, ..permission }], ..Policy::default() }
    }

    #[test]
    fn a_permission_covers_a_whole_element_and_is_reported_as_used() {
        let new = folder(&TEXT.replace("(b)", "(b c)"));
        let allowed = judged(&new, &permission("dependency-added", Some("c")), &Context::default());
        let place = Place { file: "policy.toml".to_owned(), line: Some(3) };
        assert_eq!((allowed.verdict.verdict, allowed.used), (Decision::Minor, vec![place]));
        let said: Vec<_> = allowed.verdict.reasons.iter().filter_map(|reason| reason.rule.as_deref()).collect();
        assert_eq!(said, ["policy.toml:3: it is ours"]);
        let other = judged(&new, &permission("dependency-added", Some("cc")), &Context::default());
        assert_eq!((other.verdict.verdict, other.used), (Decision::Major, vec![]));
    }

    #[test]
    fn a_permission_ends() {
        let new = folder(&TEXT.replace("(b)", "(b c)"));
        let mut policy = permission("dependency-added", None);
        policy.allow[0].until = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(judged(&new, &policy, &Context::default()).verdict.verdict, Decision::Major);
        assert_eq!(policy.in_force(Timestamp::UNIX_EPOCH), Policy::default());
        assert_eq!(policy.in_force(Timestamp::MIN), policy);
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
    fn what_could_not_be_compared_is_for_a_person_whoever_made_it() {
        let trusted = Context { trusted: true, newcomers: None };
        let unreadable = folder(&format!("{TEXT}("));
        let judged = judged(&unreadable, &permission("unreadable", None), &trusted);
        assert_eq!((judged.verdict.verdict, judged.used), (Decision::Major, vec![]));
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

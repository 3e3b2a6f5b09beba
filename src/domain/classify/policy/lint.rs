//! What is wrong with rules that can be read: they have ended, say the same twice, or can do nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::codes::{self, CODES, Effect, Shows};
use super::{Permission, Policy};
use crate::domain::finding::{Finding, nearest};

impl Policy {
    /// Rules that somebody should look at. `packages` are the names of all packages.
    #[must_use]
    pub fn lints(&self, packages: &BTreeSet<&str>, now: Timestamp) -> Vec<Finding> {
        let mut findings: Vec<Finding> =
            self.allow.iter().flat_map(|permission| of_permission(permission, packages, now)).collect();
        for (index, permission) in self.allow.iter().enumerate() {
            let others = self.allow.iter().enumerate().filter(|(other, _)| *other != index);
            // Of two that are equal, the later one is told.
            let wider = |(other, wide): &(usize, &Permission)| {
                wide.includes(permission) && (*other < index || !permission.includes(wide))
            };
            if let Some((_, wide)) = others.clone().find(wider) {
                let message = format!("everything that it allows is allowed by {} too", wide.place);
                findings.push(at(permission, "rule-overlaps", &message).hint("remove one of them"));
            }
        }
        for (name, own) in &self.package {
            let told = |code, message: &str| Finding::warning(code, message).at(&own.place.file, own.place.line);
            findings.extend(ended(own.until, now).map(|message| told("rule-expired", &message).hint("remove it")));
            findings.extend(
                unknown_package(name, packages).map(|(message, hint)| told("rule-package", &message).hint(hint)),
            );
            if own.minimum_age.is_none() && own.approvals == super::Approvals::default() {
                findings.push(
                    told("rule-idle", "it changes nothing").hint("give it `minimum_age` or `approvals`, or remove it"),
                );
            }
        }
        findings
    }
}

fn at(permission: &Permission, code: &'static str, message: &str) -> Finding {
    Finding::warning(code, message).at(&permission.place.file, permission.place.line)
}

fn ended(until: Option<Timestamp>, now: Timestamp) -> Option<String> {
    until.filter(|until| *until <= now).map(|until| format!("it has ended at {until}"))
}

fn unknown_package(name: &str, packages: &BTreeSet<&str>) -> Option<(String, String)> {
    if packages.contains(name) {
        return None;
    }
    let hint = nearest(name, packages.iter().copied())
        .map_or_else(|| "remove it".to_owned(), |near| format!("did you mean `{near}`?"));
    Some((format!("there is no package `{name}`"), hint))
}

fn of_permission(permission: &Permission, packages: &BTreeSet<&str>, now: Timestamp) -> Vec<Finding> {
    let told = |code, message: &str| at(permission, code, message);
    let mut findings = Vec::new();
    findings.extend(ended(permission.until, now).map(|message| told("rule-expired", &message).hint("remove it")));
    let package = permission.package.as_deref();
    let unknown = package.and_then(|name| unknown_package(name, packages));
    findings.extend(unknown.map(|(message, hint)| told("rule-package", &message).hint(hint)));
    let code = permission.code.as_str();
    let Some((effect, shows)) = codes::of(code) else {
        let hint = nearest(code, CODES.iter().map(|(name, ..)| *name));
        let hint =
            hint.map_or_else(|| "docs/policy.md lists them".to_owned(), |near| format!("did you mean `{near}`?"));
        findings.push(told("rule-code", &format!("no reason has the code `{code}`")).hint(hint));
        return findings;
    };
    match effect {
        Effect::Needless => {
            let message = format!("`{code}` goes in without a rule");
            findings.push(told("rule-idle", &message).hint("remove it"));
        }
        Effect::Forbidden => {
            let message = format!("no rule can let `{code}` in");
            findings.push(told("rule-idle", &message).hint("remove it; such an update is for a person"));
        }
        Effect::Expects if !permission.is_narrow() => {
            let message = format!("`{code}` changes what is trusted: only one thing in one package can be expected");
            findings
                .push(told("rule-idle", &message).hint("name the package, and the text with `new`, `matches` or `to`"));
        }
        Effect::Permits | Effect::Expects if permission.names_texts() && shows == Shows::Part => {
            let message = format!("`{code}` does not show all that changed, so its text cannot be compared");
            findings.push(told("rule-idle", &message).hint("leave out `old`, `new` and `matches`; name the `file`"));
        }
        Effect::Permits if permission.is_broad() => {
            let message = format!("it lets every `{code}` of every package in");
            findings.push(told("rule-broad", &message).hint("name the package, or what exactly may change"));
        }
        Effect::Permits | Effect::Expects => {}
    }
    findings
}

impl Permission {
    /// Whether nothing but the code is said.
    fn is_broad(&self) -> bool {
        self.package.is_none() && !self.names_texts() && self.file.is_none() && self.field.is_none()
    }

    /// Whether it covers everything that the other covers, as far as their texts tell.
    fn includes(&self, other: &Self) -> bool {
        let wider = |ours: &Option<String>, theirs: &Option<String>| ours.is_none() || ours == theirs;
        let new = |text: &Option<String>| {
            text.as_deref().is_some_and(|text| self.matches.as_ref().is_some_and(|regex| regex.fits(text)))
        };
        self.code == other.code
            && wider(&self.package, &other.package)
            && wider(&self.field, &other.field)
            && (self.file.is_none() || self.file == other.file)
            && wider(&self.old, &other.old)
            && wider(&self.new, &other.new)
            && (self.matches.is_none() || self.matches == other.matches || new(&other.new))
            && wider(&self.from, &other.from)
            && wider(&self.to, &other.to)
            && self.until.is_none_or(|until| other.until.is_some_and(|other| other <= until))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PackagePolicy, Place, Whole};
    use super::*;

    fn rule(code: &str, line: u32) -> Permission {
        let place = Place { file: ".ci/policy.toml".to_owned(), line: Some(line) };
        Permission { place, ..Permission::about(code, "because") }
    }

    fn told(allow: Vec<Permission>) -> String {
        let policy = Policy { allow, ..Policy::default() };
        let findings = policy.lints(&BTreeSet::from(["firefox"]), Timestamp::UNIX_EPOCH);
        let lines = findings.iter().map(|finding| format!("{}: {finding}", finding.code));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn rules_that_can_do_nothing_are_told() {
        let right = Permission { package: Some("firefox".into()), ..rule("dependency-added", 1) };
        assert_eq!(told(vec![right.clone()]), "");
        insta::assert_snapshot!(told(vec![
            Permission { until: Some(Timestamp::UNIX_EPOCH), ..right.clone() },
            Permission { package: Some("firefx".into()), ..rule("dependency-added", 2) },
            rule("dependncy-added", 3),
            rule("version-forward", 4),
            rule("substitution", 5),
            rule("source-host", 6),
            Permission { new: Some("make".into()), ..rule("function-changed", 7) },
            rule("dependency-added", 8),
        ]), @"
        rule-expired: .ci/policy.toml:1: it has ended at 1970-01-01T00:00:00Z; remove it
        rule-package: .ci/policy.toml:2: there is no package `firefx`; did you mean `firefox`?
        rule-code: .ci/policy.toml:3: no reason has the code `dependncy-added`; did you mean `dependency-added`?
        rule-idle: .ci/policy.toml:4: `version-forward` goes in without a rule; remove it
        rule-idle: .ci/policy.toml:5: no rule can let `substitution` in; remove it; such an update is for a person
        rule-idle: .ci/policy.toml:6: `source-host` changes what is trusted: only one thing in one package can be expected; name the package, and the text with `new`, `matches` or `to`
        rule-idle: .ci/policy.toml:7: `function-changed` does not show all that changed, so its text cannot be compared; leave out `old`, `new` and `matches`; name the `file`
        rule-broad: .ci/policy.toml:8: it lets every `dependency-added` of every package in; name the package, or what exactly may change
        rule-overlaps: .ci/policy.toml:1: everything that it allows is allowed by .ci/policy.toml:8 too; remove one of them
        rule-overlaps: .ci/policy.toml:2: everything that it allows is allowed by .ci/policy.toml:8 too; remove one of them
        ");
    }

    #[test]
    fn of_rules_that_say_the_same_the_narrower_or_later_is_told() {
        let narrow =
            Permission { new: Some("zlib".into()), package: Some("firefox".into()), ..rule("dependency-added", 1) };
        let wide = Permission { package: Some("firefox".into()), ..rule("dependency-added", 2) };
        insta::assert_snapshot!(told(vec![narrow.clone(), wide.clone(), rule_at(&wide, 3)]), @"
        rule-overlaps: .ci/policy.toml:1: everything that it allows is allowed by .ci/policy.toml:2 too; remove one of them
        rule-overlaps: .ci/policy.toml:3: everything that it allows is allowed by .ci/policy.toml:2 too; remove one of them
        ");
        let matching = Permission { matches: Whole::new("z.*").ok(), ..rule_at(&wide, 4) };
        insta::assert_snapshot!(told(vec![narrow.clone(), matching]), @"rule-overlaps: .ci/policy.toml:1: everything that it allows is allowed by .ci/policy.toml:4 too; remove one of them");
        let shorter = Permission { until: Timestamp::MAX.into(), ..rule_at(&wide, 5) };
        assert_eq!(told(vec![narrow, shorter]), "", "the wider one ends earlier");
    }

    fn rule_at(rule: &Permission, line: u32) -> Permission {
        Permission { place: Place { line: Some(line), ..rule.place.clone() }, ..rule.clone() }
    }

    #[test]
    fn tables_of_packages_are_looked_at_too() {
        let own = PackagePolicy {
            minimum_age: None,
            approvals: super::super::Approvals::default(),
            because: "x".to_owned(),
            until: Some(Timestamp::UNIX_EPOCH),
            place: Place { file: "p".to_owned(), line: Some(1) },
        };
        let policy = Policy { package: [("fox".to_owned(), own)].into(), ..Policy::default() };
        let findings = policy.lints(&BTreeSet::new(), Timestamp::UNIX_EPOCH);
        assert_eq!(
            findings.iter().map(|it| it.code).collect::<Vec<_>>(),
            ["rule-expired", "rule-package", "rule-idle"]
        );
    }
}

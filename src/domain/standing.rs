//! What the AUR knows about a package beside its files: how old it is, who votes for it, what else its
//! maintainer changed today. Anybody can have any of this, so it never makes an update lighter.

use jiff::{SignedDuration, Timestamp};

use super::classify::text::shown;
use super::classify::{Reason, Weight};
use super::name::PkgBase;
use super::observed::Observations;

/// A package younger than this is young. The trojans of July 2025 were new packages, found after two days.
const YOUNG: SignedDuration = SignedDuration::from_hours(14 * 24);
/// With so many votes somebody has looked at it, however young it is.
const VOTES: u32 = 10;
/// How long changes by one person belong together.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Whoever changes so many other packages within a day is worth a word.
const OTHERS: usize = 5;
/// How many packages are named.
const NAMED: usize = 5;

/// What the index of the AUR says about a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// When it was brought in.
    pub submitted: Timestamp,
    /// When it was changed last.
    pub changed: Timestamp,
    /// How many accounts voted for it.
    pub votes: u32,
}

/// What a person who reads an update of the package should know.
#[must_use]
pub fn reasons(pkgbase: &PkgBase, observations: &Observations, now: Timestamp) -> Vec<Reason> {
    let young = observations.standing.get(pkgbase).and_then(|standing| young(*standing, now));
    young.into_iter().chain(busy(pkgbase, observations, now)).collect()
}

fn young(standing: Standing, now: Timestamp) -> Option<Reason> {
    let age = now.duration_since(standing.submitted);
    let message = format!("the package came to the AUR {} days ago; votes: {}", age.as_hours() / 24, standing.votes);
    (age < YOUNG && standing.votes < VOTES).then(|| reason("young-package", Weight::Trust, None, message))
}

/// The other packages here that the same maintainer changed within the day.
fn busy(pkgbase: &PkgBase, observations: &Observations, now: Timestamp) -> Option<Reason> {
    let maintainer = |pkgbase: &PkgBase| observations.keepers.get(pkgbase)?.maintainer.as_deref();
    let person = maintainer(pkgbase)?;
    let today = |standing: &Standing| now.duration_since(standing.changed) < DAY;
    let others: Vec<&str> = observations
        .standing
        .iter()
        .filter(|(other, standing)| *other != pkgbase && today(standing) && maintainer(other) == Some(person))
        .map(|(other, _)| other.as_str())
        .collect();
    let more = others.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named = others.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let message = format!("its maintainer changed {} other packages within a day: {named}{more}", others.len());
    let who = Some(shown(person.as_bytes()));
    (others.len() >= OTHERS).then(|| reason("busy-maintainer", Weight::Review, who, message))
}

fn reason(code: &'static str, severity: Weight, new: Option<String>, message: String) -> Reason {
    Reason { code, severity, file: "PKGBUILD".to_owned(), line: None, field: None, rule: None, old: None, new, message }
}

#[cfg(test)]
mod tests {
    use super::super::keepers::Keepers;
    use super::*;

    fn told(days: i64, votes: u32, others: usize, by: &str) -> Vec<String> {
        let now: Timestamp = "2026-06-12T08:00:00Z".parse().expect("a time");
        let ago = |days: i64| now - SignedDuration::from_hours(24 * days);
        let mut observations = Observations::default();
        let mut add = |name: &str, standing: Standing, keeper: &str| {
            let pkgbase = PkgBase::new(name).expect("legal");
            observations.standing.insert(pkgbase.clone(), standing);
            observations.keepers.insert(pkgbase, Keepers::parse(keeper));
        };
        add("it", Standing { submitted: ago(days), changed: now, votes }, "eve");
        for number in 0..others {
            add(&format!("other-{number}"), Standing { submitted: ago(900), changed: now, votes: 50 }, by);
        }
        add("old", Standing { submitted: ago(900), changed: ago(1), votes: 50 }, "eve");
        let reasons = reasons(&PkgBase::new("it").expect("legal"), &observations, now);
        reasons.into_iter().map(|reason| reason.message).collect()
    }

    #[test]
    fn a_young_package_is_told_unless_many_vote_for_it() {
        insta::assert_snapshot!(told(3, 1, 0, "eve").join("\n"), @"the package came to the AUR 3 days ago; votes: 1");
        assert_eq!(told(3, 10, 0, "eve"), [""; 0]);
        assert_eq!(told(14, 0, 0, "eve"), [""; 0]);
    }

    #[test]
    fn somebody_who_changes_many_packages_within_a_day_is_told() {
        insta::assert_snapshot!(told(900, 50, 7, "eve").join("\n"), @"its maintainer changed 7 other packages within a day: other-0, other-1, other-2, other-3, other-4 and 2 more");
        assert_eq!(told(900, 50, 4, "eve"), [""; 0]);
        assert_eq!(told(900, 50, 7, "ann"), [""; 0], "that is somebody else");
        assert_eq!(told(900, 50, 7, "-"), [""; 0], "nobody's packages are not one person's");
    }
}

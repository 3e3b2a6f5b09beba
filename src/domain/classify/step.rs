//! How the version moved, and what may move with it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::entries::is_sums;
use super::fields::is_own;
use super::forms::{Form, Forms};
use super::helper::{explained, is_commit, is_word};
use super::order::follows;
use super::recipe::{Recipe, ingredients};
use super::{PKGBUILD, Reason, Weight, reason, shape};
use crate::domain::pkgbuild::{Event, Kind, Role, Value, same};
use crate::domain::policy::is_release;
use crate::domain::version::vercmp;

/// The movement from one version to another.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// pkgver is plainly newer, and the epoch is the same.
    pub forward: bool,
    /// The texts that moved with it.
    pub forms: Forms,
    /// Variables that the version or the sources are put together from.
    pub feeding: BTreeSet<String>,
    /// Variables whose new values are explained by the movement.
    pub explained: BTreeMap<String, &'static str>,
}

/// The version as it is plainly written: `[epoch:]pkgver-pkgrel`.
pub(super) fn version(recipe: &Recipe<'_>) -> Option<String> {
    let (pkgver, pkgrel) = (recipe.evaluated.text("pkgver")?, recipe.evaluated.text("pkgrel")?);
    let epoch = match recipe.evaluated.values.get("epoch") {
        None => String::new(),
        Some(_) => format!("{}:", recipe.evaluated.text("epoch").filter(|epoch| is_number(epoch))?),
    };
    (is_pkgver(pkgver) && is_release(pkgrel)).then(|| format!("{epoch}{pkgver}-{pkgrel}"))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Values that mean the same wherever they are put: no white space, no quotes, nothing bash or a URL
/// gives a meaning to.
pub(super) fn is_pkgver(value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+".contains(&byte);
    let dotted = value.contains("..");
    value.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) && value.bytes().all(allowed) && !dotted
}

/// The movement, and a reason for every part of the version that differs.
pub(super) fn step(old: &Recipe<'_>, new: &Recipe<'_>) -> (Step, Vec<Reason>) {
    let mut reasons = Vec::new();
    let epoch = epoch(old, new);
    let same_epoch = epoch.is_none();
    reasons.extend(epoch);
    let moved = pkgver(old, new, &mut reasons);
    pkgrel(old, new, moved, &mut reasons);
    for name in ["pkgver", "pkgrel", "epoch"] {
        let differs = old.elements(name) != new.elements(name);
        if differs && (old.assignments(name) > 1 || new.assignments(name) > 1) {
            let message = "the version is assigned in more than one place, so it is not clear which one counts";
            let place = (PKGBUILD, new.line_of(name));
            reasons.push(reason("version-ambiguous", Weight::Review, place, None, None, message));
        }
    }
    let forward = same_epoch && moved == Some(Ordering::Greater);
    let text = |recipe: &Recipe<'_>, name| recipe.evaluated.text(name).unwrap_or_default().to_owned();
    let (versions, releases) = ((text(old, "pkgver"), text(new, "pkgver")), (text(old, "pkgrel"), text(new, "pkgrel")));
    let version = (moved.is_some()).then_some((versions.0.as_str(), versions.1.as_str()));
    let release = Some((releases.0.as_str(), releases.1.as_str()));
    let plain = Forms::new(version.or(Some((&versions.0, &versions.0))), release, &[]);
    let feeding = feeding(new);
    let explained = if forward { helpers(old, new, &plain, &feeding) } else { BTreeMap::new() };
    let moved_names = explained.keys().filter_map(|name| moved_texts(old, new, name));
    let mut others: Vec<Form> = moved_names.take(MOST_NAMES).collect();
    others.extend(others.iter().flat_map(shortened).collect::<Vec<_>>());
    if forward {
        others.extend(sums(old, new));
    }
    let forms = Forms::new(version.or(Some((&versions.0, &versions.0))), release, &others);
    let derived: Vec<Form> = derived(old, new, &explained);
    let forms = if derived.is_empty() { forms } else { Forms::new(version, release, &[others, derived].concat()) };
    (Step { forward, forms, feeding, explained }, reasons)
}

fn epoch(old: &Recipe<'_>, new: &Recipe<'_>) -> Option<Reason> {
    let (before, after) = (old.elements("epoch"), new.elements("epoch"));
    let zero = |elements: &[String]| elements.is_empty() || elements == ["0"] || elements == [""];
    if before == after || (zero(before) && zero(after)) {
        return None;
    }
    let message = "the epoch changed: it overrides every comparison of versions from now on";
    let (was, is) = (before.first().map(String::as_bytes), after.first().map(String::as_bytes));
    Some(reason("epoch-changed", Weight::Trust, (PKGBUILD, new.line_of("epoch")), was, is, message))
}

/// How pkgver compares with the one before; `None` if it is the same, or not known.
fn pkgver(old: &Recipe<'_>, new: &Recipe<'_>, reasons: &mut Vec<Reason>) -> Option<Ordering> {
    let (before, after) = (old.elements("pkgver").first(), new.elements("pkgver").first());
    if before == after && old.elements("pkgver") == new.elements("pkgver") {
        return None;
    }
    let place = (PKGBUILD, new.line_of("pkgver"));
    let texts = (before.map(String::as_bytes), after.map(String::as_bytes));
    let (Some(was), Some(is)) = (before.filter(|text| is_pkgver(text)), after.filter(|text| is_pkgver(text))) else {
        let weight = Weight::Trust;
        let message = "pkgver is not plainly a version";
        reasons.push(reason("version-shape", weight, place, texts.0, texts.1, message));
        return None;
    };
    let order = vercmp(is, was);
    let (code, weight, message) = if order != Ordering::Greater {
        ("version-back", Weight::Trust, "pkgver is not newer than before; pacman would not take it as an update")
    } else if !is_shape_kept((was, is), old, new) {
        let message = "pkgver has another form than before: it may name a commit or a branch in place of a release";
        ("version-shape", Weight::Trust, message)
    } else {
        ("version-forward", Weight::Version, "pkgver moved forward")
    };
    reasons.push(reason(code, weight, place, texts.0, texts.1, message));
    Some(order)
}

fn is_shape_kept((was, is): (&str, &str), old: &Recipe<'_>, new: &Recipe<'_>) -> bool {
    let described = || is_described(old) && is_described(new) && shape::begins_alike(was, is);
    (shape::is_kept(was, is) && shape::keeps_words(was, is)) || described()
}

/// Whether makepkg works pkgver out anew from what was fetched, and nothing is fetched by it: then it may name a
/// commit, as `git describe` does where no tag is.
fn is_described(recipe: &Recipe<'_>) -> bool {
    let statements = || recipe.pkgbuild.statements.iter();
    let is_used = |event: &Event<'_>| event.kind != Kind::Function && event.text == "pkgver";
    let in_code =
        || statements().any(|found| found.role == Role::Code && recipe.pkgbuild.events(found).iter().any(is_used));
    let worked_out = statements().any(|found| found.role == Role::Function("pkgver"));
    worked_out && !in_code() && !ingredients(recipe, &sources(recipe)).contains("pkgver")
}

fn sources<'a>(recipe: &Recipe<'a>) -> Vec<&'a str> {
    recipe.evaluated.values.keys().copied().filter(|name| name.starts_with("source")).collect()
}

fn pkgrel(old: &Recipe<'_>, new: &Recipe<'_>, moved: Option<Ordering>, reasons: &mut Vec<Reason>) {
    let (before, after) = (old.elements("pkgrel"), new.elements("pkgrel"));
    if before == after {
        return;
    }
    let place = (PKGBUILD, new.line_of("pkgrel"));
    let texts = (before.first().map(String::as_bytes), after.first().map(String::as_bytes));
    let plain = |elements: &[String]| matches!(elements, [text] if is_release(text));
    let (code, weight, message) = if !plain(before) || !plain(after) {
        ("version-shape", Weight::Trust, "pkgrel is not plainly a number")
    } else {
        match (moved, vercmp(&after[0], &before[0])) {
            (_, Ordering::Greater) => ("release-forward", Weight::Version, "pkgrel was raised"),
            (Some(_), _) => ("release-reset", Weight::Version, "pkgrel starts anew with the new version"),
            (None, _) => ("version-back", Weight::Trust, "pkgrel is not higher than before, at the same version"),
        }
    };
    reasons.push(reason(code, weight, place, texts.0, texts.1, message));
}

/// More variables than this are not looked for elsewhere.
const MOST_NAMES: usize = 50;

/// More checksums than this are not looked for elsewhere.
const MOST_SUMS: usize = 20;

/// Variables of the packager's own that hold (part of) a version or a commit, and moved with pkgver.
fn helpers(
    old: &Recipe<'_>,
    new: &Recipe<'_>,
    forms: &Forms,
    feeding: &BTreeSet<String>,
) -> BTreeMap<String, &'static str> {
    let changed: Vec<&str> = {
        let assigned = new.evaluated.assigned.iter().map(|assigned| assigned.name);
        let own = assigned.filter(|name| is_own(name));
        let mut names: Vec<_> = own.filter(|name| old.elements(name) != new.elements(name)).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let explain = |name: &&str| {
        let code = explained(name, (old, new), forms, feeding.contains(*name))?;
        Some(((*name).to_owned(), code))
    };
    changed.iter().filter_map(explain).collect()
}

fn feeding(recipe: &Recipe<'_>) -> BTreeSet<String> {
    let mut roots = sources(recipe);
    roots.push("pkgver");
    ingredients(recipe, &roots)
}

/// Whether everything that a variable is put together from is as before or moved with the version.
pub(super) fn flows(name: &str, old: &Recipe<'_>, new: &Recipe<'_>, step: &Step) -> bool {
    let unchanged = |name: &str| {
        let statements = |recipe: &Recipe<'_>| -> Vec<usize> {
            let assigned = recipe.evaluated.assigned.iter().filter(|assigned| assigned.name == name);
            assigned.map(|assigned| assigned.statement).collect()
        };
        let (before, after) = (statements(old), statements(new));
        before.len() == after.len()
            && before.iter().zip(&after).all(|(was, is)| same(old.assignment(*was), new.assignment(*is)))
    };
    let moved = |name: &str| name == "pkgver" || name == "pkgrel" || step.explained.contains_key(name);
    let secured = |name: &str| match (old.elements(name), new.elements(name)) {
        ([was], [is]) => {
            let once = old.assignments(name) == 1 && new.assignments(name) == 1;
            once && was.strip_prefix("http://").is_some_and(|rest| is.strip_prefix("https://") == Some(rest))
        }
        _ => false,
    };
    step.forward && ingredients(new, &[name]).iter().all(|name| moved(name) || unchanged(name) || secured(name))
}

fn moved_texts(old: &Recipe<'_>, new: &Recipe<'_>, name: &str) -> Option<Form> {
    let (was, is) = (old.elements(name).first()?, new.elements(name).first()?);
    (was.len() >= 2 && was.bytes().any(|byte| byte.is_ascii_digit())).then(|| (was.clone(), is.clone()))
}

/// The first digits of a commit, which stand for it in names of files and folders.
fn shortened((was, is): &Form) -> Vec<Form> {
    let lengths = if is_commit(was) && is_commit(is) { 7..13 } else { 0..0 };
    lengths.map(|length| (was[..length].to_owned(), is[..length].to_owned())).collect()
}

/// Checksums that moved, each in its place: some packages compare them once more.
fn sums(old: &Recipe<'_>, new: &Recipe<'_>) -> Vec<Form> {
    let names: BTreeSet<_> = new.evaluated.values.keys().filter(|name| is_sums(name)).collect();
    let pairs = names.into_iter().flat_map(|name| old.elements(name).iter().zip(new.elements(name)));
    let is_long = |text: &str| text.len() >= 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let moved = pairs.filter(|(was, is)| was != is && was.len() == is.len() && is_long(was) && is_long(is));
    moved.map(|(was, is)| (was.clone(), is.clone())).take(MOST_SUMS).collect()
}

/// Variables whose assignment is the same and whose value follows from what moved.
fn derived(old: &Recipe<'_>, new: &Recipe<'_>, explained: &BTreeMap<String, &'static str>) -> Vec<Form> {
    let mut forms = Vec::new();
    let all_before: HashMap<&str, usize> =
        old.evaluated.assigned.iter().rev().map(|assigned| (assigned.name, assigned.statement)).collect();
    for assigned in &new.evaluated.assigned {
        let name = assigned.name;
        if !is_own(name) || explained.contains_key(name) || forms.len() == MOST_NAMES {
            continue;
        }
        let before = old.evaluated.values.get(name).map(|value| &**value);
        let (Some(Value::Scalar(was)), Value::Scalar(is)) = (before, &*assigned.value) else {
            continue;
        };
        if was != is && is_word(was) && is_word(is) && old.assignments(name) == 1 && new.assignments(name) == 1 {
            let unchanged = all_before.get(name).is_some_and(|before| {
                let (before, after) = ((old, *before), (new, assigned.statement));
                same(old.assignment(before.1), new.assignment(after.1)) && follows(before, after)
            });
            if unchanged && was.len() >= 2 {
                forms.push((was.clone(), is.clone()));
            }
        }
    }
    forms
}

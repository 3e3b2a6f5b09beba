//! What the variables of two PKGBUILDs say: dependencies, names, texts, and the packager's own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::entries::is_source_field;
use super::naming::is_only_a_name;
use super::recipe::{Recipe, shown_value, substitutions};
use super::step::Step;
use super::{PKGBUILD, Reason, Weight, reason};
use crate::domain::pkgbuild::{Assigned, Source, Value, same};

/// What a variable is to makepkg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// Compared elsewhere.
    Elsewhere,
    /// Names of packages, with bounds.
    Dependencies,
    /// Texts that are only shown.
    Description,
    /// The home page.
    Address,
    /// Who has to have signed.
    Keys,
    /// What the package is called.
    Name,
    /// Elements in no order, which say how it is built or installed.
    List,
    /// The script that runs on machines.
    Scriptlet,
    /// A variable of the packager's own.
    Own,
    /// A variable that may steer makepkg or a program.
    Environment,
}

fn sort(name: &str) -> Sort {
    let base = ["depends", "makedepends", "checkdepends", "optdepends", "provides", "conflicts", "replaces"];
    let first = name.split('_').next().unwrap_or(name);
    match name {
        "pkgver" | "pkgrel" | "epoch" => Sort::Elsewhere,
        _ if is_source_field(name) => Sort::Elsewhere,
        "pkgdesc" | "license" => Sort::Description,
        "url" => Sort::Address,
        "validpgpkeys" => Sort::Keys,
        "pkgname" | "pkgbase" => Sort::Name,
        "install" | "changelog" => Sort::Scriptlet,
        "arch" | "groups" | "options" | "backup" | "noextract" => Sort::List,
        _ if base.contains(&first) => Sort::Dependencies,
        _ if STEERING.contains(&name) => Sort::Environment,
        _ if name.starts_with('_')
            || name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') =>
        {
            Sort::Own
        }
        _ => Sort::Environment,
    }
}

/// Names in small letters that steer programs.
const STEERING: [&str; 10] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "rsync_proxy",
    "all_proxy",
    "no_proxy",
    "srcdir",
    "pkgdir",
    "startdir",
    "pkgfile",
];

/// Whether it is a variable of the packager's own.
pub(super) fn is_own(name: &str) -> bool {
    sort(name) == Sort::Own
}

/// Everything that differs in assignments.
pub(super) fn compare(old: &Recipe<'_>, new: &Recipe<'_>, step: &Step) -> Vec<Reason> {
    let (old_all, new_all) = (by_name(old), by_name(new));
    let names: BTreeSet<&str> = old_all.keys().chain(new_all.keys()).copied().collect();
    let of_name = |name| {
        let before = old_all.get(name).cloned().unwrap_or_default();
        let after = new_all.get(name).cloned().unwrap_or_default();
        variable(name, (old, &before), (new, &after), step).into_iter().map(move |reason| reason.about(name))
    };
    names.into_iter().flat_map(of_name).collect()
}

fn variable(
    name: &str,
    (old, before): (&Recipe<'_>, &[&Assigned<'_>]),
    (new, after): (&Recipe<'_>, &[&Assigned<'_>]),
    step: &Step,
) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = running((old, before), (new, after)).into_iter().collect();
    if sort(name) == Sort::Elsewhere {
        reasons.extend(unclear(name, (old, before), (new, after)));
    } else if before.len() == after.len() {
        let pairs = before.iter().zip(after);
        reasons.extend(pairs.flat_map(|(was, is)| assignment(name, (old, was), (new, is), step)));
    } else {
        reasons.extend(counted(name, (old, before), (new, after), step));
    }
    reasons
}

type Assignments<'r, 'a> = Vec<&'r Assigned<'a>>;

fn by_name<'r, 'a>(recipe: &'r Recipe<'a>) -> BTreeMap<&'r str, Assignments<'r, 'a>> {
    let mut all: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for assigned in &recipe.evaluated.assigned {
        all.entry(assigned.name).or_default().push(assigned);
    }
    all
}

/// A version, source or checksum that changed where the end does not show it: something else may overwrite it,
/// or use it before.
fn unclear(
    name: &str,
    (old, before): (&Recipe<'_>, &[&Assigned<'_>]),
    (new, after): (&Recipe<'_>, &[&Assigned<'_>]),
) -> Option<Reason> {
    let shows =
        |recipe: &Recipe<'_>, assigned: &Assigned<'_>| recipe.elements(name).starts_with(assigned.value.elements());
    let hidden =
        |(was, is): (&&Assigned<'_>, &&Assigned<'_>)| was.value != is.value && !(shows(old, was) && shows(new, is));
    let guilty = before.iter().zip(after).any(hidden);
    let message = format!("`{name}` changed where it cannot be worked out what becomes of it");
    let place = (PKGBUILD, after.last().map(|is| new.line(is.statement)));
    guilty.then(|| reason("unclear-change", Weight::Review, place, None, None, &message))
}

/// A declaration that would run something.
fn running(
    (old, before): (&Recipe<'_>, &[&Assigned<'_>]),
    (new, after): (&Recipe<'_>, &[&Assigned<'_>]),
) -> Option<Reason> {
    let runs = |is: &&&Assigned<'_>| new.assignment(is.statement).iter().any(|event| event.kind.runs());
    let mut running = after.iter().filter(runs).peekable();
    running.peek()?;
    let known: HashSet<String> = before.iter().flat_map(|was| substitutions(old.assignment(was.statement))).collect();
    let guilty = running.find(|is| !substitutions(new.assignment(is.statement)).is_subset(&known))?;
    let events = new.assignment(guilty.statement);
    let text = new.pkgbuild.text_at(events[0].at);
    let place = (PKGBUILD, Some(new.line(guilty.statement)));
    let message = "a declaration would run a command as soon as the PKGBUILD is read";
    Some(reason("substitution", Weight::Hostile, place, None, Some(text.as_bytes()), message))
}

/// A variable that is assigned more or less often than before.
fn counted(
    name: &str,
    (old, before): (&Recipe<'_>, &[&Assigned<'_>]),
    (new, after): (&Recipe<'_>, &[&Assigned<'_>]),
    step: &Step,
) -> Vec<Reason> {
    let empty: &[String] = &[];
    let was = before.last().map_or(empty, |last| last.value.elements());
    let is = after.last().map_or(empty, |last| last.value.elements());
    let line = after.last().map(|last| new.line(last.statement)).or_else(|| Some(old.line(before.last()?.statement)));
    let sides = if before.is_empty() { (old, new) } else { (new, old) };
    if before.len() + after.len() == 1 && is_only_a_name(name, sides) {
        let message = format!("`{name}` only names what is compared where it stands");
        return vec![reason("layout", Weight::Cosmetic, (PKGBUILD, line), None, None, &message)];
    }
    if before.len() <= 1 && after.len() <= 1 {
        // It came or went as a whole.
        return changed(name, (was, is), (old, new), line, step, true);
    }
    let message = format!("`{name}` is assigned {} times and not {}", after.len(), before.len());
    let (was, is) = (shown_value(was), shown_value(is));
    let weight = weight_of(name);
    vec![reason("assigned-again", weight, (PKGBUILD, line), Some(was.as_bytes()), Some(is.as_bytes()), &message)]
}

fn weight_of(name: &str) -> Weight {
    match sort(name) {
        Sort::Keys | Sort::Name | Sort::Environment => Weight::Trust,
        _ => Weight::Review,
    }
}

fn assignment(
    name: &str,
    (old, was): (&Recipe<'_>, &Assigned<'_>),
    (new, is): (&Recipe<'_>, &Assigned<'_>),
    step: &Step,
) -> Vec<Reason> {
    if was.value == is.value || same(old.assignment(was.statement), new.assignment(is.statement)) {
        return Vec::new();
    }
    let kind = |value: &Value| std::mem::discriminant(value);
    let retyped = kind(&was.value) != kind(&is.value) && (sort(name) == Sort::Own || sort(name) == Sort::Environment);
    if !retyped && was.value.elements() == is.value.elements() {
        // makepkg takes a text for a list of one.
        return Vec::new();
    }
    changed(name, (was.value.elements(), is.value.elements()), (old, new), Some(new.line(is.statement)), step, retyped)
}

fn changed(
    name: &str,
    (was, is): (&[String], &[String]),
    recipes: (&Recipe<'_>, &Recipe<'_>),
    line: Option<u32>,
    step: &Step,
    whole: bool,
) -> Vec<Reason> {
    let place = (PKGBUILD, line);
    let (before, after) = (shown_value(was), shown_value(is));
    let of = |code, weight, message: &str| {
        let (was, is) = ((!was.is_empty()).then_some(before.as_bytes()), (!is.is_empty()).then_some(after.as_bytes()));
        vec![reason(code, weight, place, was, is, message)]
    };
    let follows = was.len() == is.len() && was.iter().zip(is).all(|(was, is)| step.forms.moved(was, is));
    match sort(name) {
        Sort::Elsewhere => Vec::new(),
        Sort::Dependencies | Sort::List => list(name, (was, is), recipes, step),
        Sort::Name => of("package-renamed", Weight::Trust, "the package has other names"),
        Sort::Keys => list(name, (was, is), recipes, step),
        Sort::Scriptlet => {
            of("install-changed", Weight::Review, "another script runs on machines, or a log of changes")
        }
        Sort::Description if follows && !whole => {
            of("version-literal", Weight::Version, "a version in a text moved too")
        }
        Sort::Description => of("description-changed", Weight::Review, "a text that describes the package changed"),
        Sort::Address if follows && !whole => {
            of("version-literal", Weight::Version, "a version in the address of the project moved too")
        }
        Sort::Address => project(was, is, step, of),
        Sort::Own => own(name, was, step, of),
        Sort::Environment => {
            of("variable-changed", Weight::Trust, &format!("`{name}` changed, which may steer makepkg or a program"))
        }
    }
}

/// Another address of the project.
fn project(
    was: &[String],
    is: &[String],
    step: &Step,
    of: impl Fn(&'static str, Weight, &str) -> Vec<Reason>,
) -> Vec<Reason> {
    let secure = was.len() == 1
        && is.len() == 1
        && was[0].strip_prefix("http:") == is[0].strip_prefix("https:")
        && was[0].starts_with("http:");
    if secure {
        return of("https", Weight::Stronger, "the address of the project is reached over https now");
    }
    let place = |texts: &[String]| {
        let source = Source::split(texts.first()?);
        Some((source.authority.to_owned(), source.owner().map(str::to_owned)))
    };
    let only_shown = place(was) == place(is) && !step.feeding.contains("url");
    let weight = if only_shown { Weight::Review } else { Weight::Trust };
    of("url-changed", weight, "the address of the project changed")
}

fn own(name: &str, was: &[String], step: &Step, of: impl Fn(&'static str, Weight, &str) -> Vec<Reason>) -> Vec<Reason> {
    match step.explained.get(name) {
        Some(code @ &"commit-moved") => of(code, Weight::Version, "a pinned commit moved with the version"),
        Some(code) => of(code, Weight::Version, "a part of the version moved with it"),
        None => {
            let hex = |elements: &[String]| matches!(elements, [text] if text.len() >= 7 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
            if hex(was) {
                of("source-pin", Weight::Trust, &format!("`{name}` pinned a commit, and changed without the version"))
            } else {
                let weight = if step.feeding.contains(name) { Weight::Trust } else { Weight::Review };
                of("variable-changed", weight, &format!("`{name}` changed, and not plainly with the version"))
            }
        }
    }
}

/// Elements that came, went or moved with the version. Their order means nothing.
fn list(
    name: &str,
    (was, is): (&[String], &[String]),
    (old, recipe): (&Recipe<'_>, &Recipe<'_>),
    step: &Step,
) -> Vec<Reason> {
    let line = recipe.line_of(name).or_else(|| old.line_of(name));
    let line_of = |element: &String| {
        let index = is.iter().position(|other| other == element);
        index.and_then(|index| recipe.line_of_element(name, index)).or(line)
    };
    let (mut gone, mut come) = (only_here(was, is), only_here(is, was));
    let place = (PKGBUILD, line);
    let mut reasons = Vec::new();
    if gone.is_empty() && come.is_empty() {
        return if was == is { Vec::new() } else { vec![in_another_order(name, is, (old, recipe), place)] };
    }
    let few = gone.len() * come.len() <= MOST_PAIRS;
    come.retain(|new| {
        let moves = |old: &&String| follows(name, old, new, step);
        let Some(found) = few.then(|| gone.iter().position(moves)).flatten() else { return true };
        let old = gone.remove(found);
        let place = (PKGBUILD, line_of(new));
        let message = format!("a version in `{name}` moved too");
        reasons.push(reason(
            "version-literal",
            Weight::Version,
            place,
            Some(old.as_bytes()),
            Some(new.as_bytes()),
            &message,
        ));
        false
    });
    let stays = |(was, is): (&String, &String)| was == is || follows(name, was, is, step);
    let same_elements = gone.is_empty() && come.is_empty();
    if same_elements && !was.iter().zip(is).all(stays) && !is_only_declared(name, (old, recipe)) {
        reasons.push(reordered(name, place));
    }
    come.sort_by_key(|element| !is_dangerous(name, element));
    reasons.extend(come.into_iter().take(REPORTED).map(|element| came(name, element, (PKGBUILD, line_of(element)))));
    reasons.extend(gone.into_iter().take(REPORTED).map(|element| went(name, element, place)));
    reasons
}

/// A list has an element that it had not.
fn came(name: &str, element: &String, place: (&str, Option<u32>)) -> Reason {
    let (code, what) = match sort(name) {
        Sort::Keys => ("keys-changed", "an element"),
        Sort::Dependencies => ("dependency-added", "a dependency"),
        _ => ("element-added", "an element"),
    };
    let weight = if is_dangerous(name, element) { Weight::Trust } else { weight_of(name) };
    let shown = shown_value(std::slice::from_ref(element));
    reason(code, weight, place, None, Some(shown.as_bytes()), &format!("`{name}` has {what} that it had not"))
}

/// A list has an element no more.
fn went(name: &str, element: &String, place: (&str, Option<u32>)) -> Reason {
    let (code, what) = match sort(name) {
        Sort::Keys => ("keys-changed", "an element"),
        Sort::Dependencies => ("dependency-removed", "a dependency"),
        _ => ("element-removed", "an element"),
    };
    let shown = shown_value(std::slice::from_ref(element));
    reason(code, weight_of(name), place, Some(shown.as_bytes()), None, &format!("`{name}` has lost {what}"))
}

/// Whether a package would keep files by which machines decide who may do what.
fn is_dangerous(name: &str, element: &str) -> bool {
    let secret = ["etc/sudoers", "etc/pam.d", "etc/shadow", "etc/passwd"];
    name == "backup" && secret.iter().any(|path| element.starts_with(path))
}

/// The same elements stand in another order.
fn in_another_order(
    name: &str,
    is: &[String],
    recipes: (&Recipe<'_>, &Recipe<'_>),
    place: (&str, Option<u32>),
) -> Reason {
    if name == "options" && contradict(is) {
        let message = "the last of two options that contradict each other counts, and it is another";
        return reason("element-added", Weight::Review, place, None, None, message);
    }
    if !is_only_declared(name, recipes) {
        return reordered(name, place);
    }
    let message = format!("the elements of `{name}` stand in another order");
    reason("order", Weight::Cosmetic, place, None, None, &message)
}

/// Whether nothing but makepkg looks into an array, to which its order means nothing.
pub(super) fn is_only_declared(name: &str, (old, new): (&Recipe<'_>, &Recipe<'_>)) -> bool {
    old.mentions().is_only_declared(name) && new.mentions().is_only_declared(name)
}

/// Elements that something else than makepkg may take by their places.
pub(super) fn reordered(name: &str, place: (&str, Option<u32>)) -> Reason {
    let message = format!("the elements of `{name}` stand in another order, and the PKGBUILD itself reads them");
    reason("order-changed", Weight::Review, place, None, None, &message)
}

/// Whether an option is both on and off.
fn contradict(options: &[String]) -> bool {
    options.iter().any(|option| option.strip_prefix('!').is_some_and(|name| options.iter().any(|other| other == name)))
}

/// More elements of one list than this say nothing new.
const REPORTED: usize = 40;

/// More pairs than this are not compared.
const MOST_PAIRS: usize = 10_000;

/// The elements of the one that the other does not have, or not so often.
fn only_here<'e>(ours: &'e [String], theirs: &[String]) -> Vec<&'e String> {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for element in theirs {
        *left.entry(element.as_str()).or_default() += 1;
    }
    let is_left = |element: &&String| match left.get_mut(element.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    ours.iter().filter(is_left).collect()
}

/// Whether an element is the old one with the new version at a place where it may stand.
fn follows(name: &str, old: &str, new: &str, step: &Step) -> bool {
    match sort(name) {
        Sort::Dependencies => {
            let end = |value: &str| value.find(['<', '>', '=', ':']).unwrap_or(value.len());
            let (end_old, end_new) = (end(old), end(new));
            old[..end_old] == new[..end_new] && step.forms.moved(&old[end_old..], &new[end_new..])
        }
        Sort::List if name == "noextract" => step.forms.moved(old, new),
        _ => false,
    }
}

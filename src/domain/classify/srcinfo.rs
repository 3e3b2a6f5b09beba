//! `.SRCINFO` against the PKGBUILD, and against the one before.
//!
//! The PKGBUILD is the truth and the `.SRCINFO` its summary. What the PKGBUILD plainly says the summary has to
//! say too; elsewhere it may differ from the one before only in places that quote the version.

use std::collections::{BTreeMap, BTreeSet};

use super::entries::is_sums;
use super::forms::Forms;
use super::recipe::Recipe;
use super::step::Step;
use super::text::{lines, shown};
use super::{Reason, SRCINFO, Weight, reason};
use crate::domain::pkgbuild::{LARGEST, Role, Statement, same};
use crate::domain::srcinfo::Srcinfo;

/// More disagreements than this say nothing new.
const REPORTED: usize = 20;

#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub value: &'a str,
    pub line: u32,
}

/// Fields by section (0 is the base, then the packages in order) and key, each with its values in order.
pub(super) type Fields<'a> = BTreeMap<(usize, &'a str), Vec<Field<'a>>>;

/// Everything that differs between two `.SRCINFO`, and everything in which the new one contradicts the new
/// PKGBUILD.
pub(super) fn compare(
    (old, new): (&[u8], &[u8]),
    (recipe_old, recipe): (Option<&Recipe<'_>>, Option<&Recipe<'_>>),
    step: &Step,
) -> Vec<Reason> {
    if new.len() > LARGEST {
        let message = "it is too large to be read";
        return vec![reason("unreadable", Weight::Review, (SRCINFO, None), None, None, message)];
    }
    if let Err(error) = Srcinfo::parse(new) {
        return vec![disagrees(error.line, None, None, &format!("it cannot be read: {error}"))];
    }
    let Some(after) = fields(new) else {
        return vec![disagrees(None, None, None, "it has lines that are not `key = value`")];
    };
    let before = fields(old).filter(|_| Srcinfo::parse(old).is_ok()).unwrap_or_default();
    let mut reasons = Vec::new();
    let functions_changed = match (recipe_old, recipe) {
        (Some(old), Some(new)) => functions_differ(old, new),
        _ => false,
    };
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
    let declared = recipe.map(|recipe| declared(recipe, &after, &before)).unwrap_or_default();
    let forms = &caught_up(&before, &after, &declared).joined(&step.forms);
    let missing = declared.keys().map(|&name| (0, name)).filter(|key| !keys.contains(key));
    for key in keys.iter().copied().chain(missing) {
        let (was, is) = (values(&before, key), values(&after, key));
        match declared.get(key.1).filter(|_| key.0 == 0 && key.1 != "pkgname") {
            Some(expected) => {
                let stale = || recipe_old.is_some_and(|recipe| expected_of(recipe, key.1).as_ref() == Some(expected));
                let agrees = texts(is).eq(expected.iter().map(String::as_str));
                let inherited = || {
                    let before = recipe_old.and_then(|recipe| expected_of(recipe, key.1));
                    before.is_some_and(|before| is_inherited(key.1, (&before, was), (expected, is), forms))
                };
                if !agrees && (texts(was).ne(texts(is)) || !stale()) && !inherited() {
                    reasons.push(contradicts(key.1, expected, is));
                }
            }
            None if key.1 == "pkgname" => {
                if texts(was).ne(texts(is)) && !expects_name(recipe, &after, key, is) {
                    reasons.push(disagrees(is.first().map(|field| field.line), None, None, "it names other packages"));
                }
            }
            None if key.0 > 0 && functions_changed => reasons.extend(of_function(differs(key.1, was, is, forms))),
            None => {
                let parts = recipe.filter(|_| key.0 == 0).map_or(&[][..], |recipe| recipe.elements(key.1));
                reasons.extend(partly_known(key.1, parts, (was, is), forms));
            }
        }
    }
    reasons.truncate(REPORTED);
    if reasons.is_empty() && old != new {
        reasons.push(harmless(&before, &after));
    }
    reasons
}

/// What to say of a summary that differs in nothing there is a word to say against.
fn harmless(before: &Fields<'_>, after: &Fields<'_>) -> Reason {
    let equal =
        before.len() == after.len() && before.iter().zip(after).all(|(a, b)| a.0 == b.0 && texts(a.1).eq(texts(b.1)));
    let (code, weight, message) = if equal {
        ("srcinfo-layout", Weight::Cosmetic, "only comments, white space or the order of fields changed")
    } else {
        ("srcinfo-regenerated", Weight::Version, "the summary was regenerated and agrees with the PKGBUILD")
    };
    reason(code, weight, (SRCINFO, None), None, None, message)
}

/// How the version moved from one summary to the other, which may have stayed behind the PKGBUILD.
fn caught_up(before: &Fields<'_>, after: &Fields<'_>, declared: &Declared<'_>) -> Forms {
    let first = |fields: &Fields<'_>, name| texts(values(fields, (0, name))).next().unwrap_or_default().to_owned();
    let plain = ["pkgver", "pkgrel"].iter().all(|name| declared.contains_key(*name));
    if !plain {
        return Forms::default();
    }
    let versions = (first(before, "pkgver"), first(after, "pkgver"));
    let releases = (first(before, "pkgrel"), first(after, "pkgrel"));
    Forms::new(Some((&versions.0, &versions.1)), Some((&releases.0, &releases.1)), &[])
}

/// Fields that makepkg writes for the base, each with every value.
const FIELDS: [&str; 22] = [
    "pkgdesc",
    "pkgver",
    "pkgrel",
    "epoch",
    "url",
    "install",
    "changelog",
    "arch",
    "groups",
    "license",
    "checkdepends",
    "makedepends",
    "depends",
    "optdepends",
    "provides",
    "conflicts",
    "replaces",
    "noextract",
    "options",
    "backup",
    "source",
    "validpgpkeys",
];

/// Fields that there may be one of for each architecture.
const BY_ARCHITECTURE: [&str; 8] =
    ["source", "depends", "optdepends", "makedepends", "checkdepends", "provides", "conflicts", "replaces"];

/// What makepkg would write for the base, by field.
type Declared<'a> = BTreeMap<&'a str, Vec<String>>;

/// What the PKGBUILD plainly says for the base. Fields that stand neither there nor in a summary are left out.
fn declared<'a>(recipe: &Recipe<'a>, after: &Fields<'a>, before: &Fields<'a>) -> Declared<'a> {
    let written = after.keys().chain(before.keys()).filter(|(section, _)| *section == 0).map(|(_, name)| *name);
    let assigned = recipe.certain().values.keys().copied();
    let names: BTreeSet<&str> =
        written.chain(assigned).filter(|name| is_field(name, recipe.elements("arch"))).collect();
    let all = names.into_iter().chain(["pkgbase"]);
    all.filter_map(|name| Some((name, expected_of(recipe, name)?))).collect()
}

/// Whether makepkg writes it for the base of a package of these architectures.
fn is_field(name: &str, architectures: &[String]) -> bool {
    let by_architecture = |name: &str| BY_ARCHITECTURE.contains(&name) || is_plain_sums(name);
    let (front, architecture) = name.split_once('_').unwrap_or((name, ""));
    match architecture {
        "" => FIELDS.contains(&name) || is_plain_sums(name),
        "any" => false,
        _ => by_architecture(front) && architectures.iter().any(|known| known == architecture),
    }
}

fn is_plain_sums(name: &str) -> bool {
    is_sums(name) && !name.contains('_')
}

/// What makepkg would write for a field; `None` if that is not known.
pub(super) fn expected_of(recipe: &Recipe<'_>, name: &str) -> Option<Vec<String>> {
    let value = match recipe.certain().values.get(name) {
        Some(value) => value,
        None if name == "pkgbase" => recipe.certain().values.get("pkgname")?,
        // What is not named anywhere is not written either.
        None if !recipe.certain().lost && recipe.assignments(name) == 0 => return Some(Vec::new()),
        None => return None,
    };
    if !value.is_known() {
        return None;
    }
    let one = matches!(name, "pkgbase" | "pkgdesc" | "pkgver" | "pkgrel" | "epoch" | "url" | "install" | "changelog");
    let elements = value.elements().iter().take(if one { 1 } else { usize::MAX });
    let plain = elements.map(|element| element.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
    Some(plain.filter(|element| !element.is_empty()).collect())
}

fn contradicts(name: &str, expected: &[String], is: &[Field<'_>]) -> Reason {
    let message = format!("`{}` is not what the PKGBUILD says", shown(name.as_bytes()));
    let first = expected.iter().zip(is).find(|(expected, is)| *expected != is.value);
    match first {
        Some((expected, is)) => disagrees(Some(is.line), Some(expected), Some(is.value), &message),
        None => disagrees(is.first().map(|field| field.line), None, None, &message),
    }
}

/// Whether the summary disagrees only where it did before, and there in the same way but for the version.
fn is_inherited(
    key: &str,
    (expected_before, was): (&[String], &[Field<'_>]),
    (expected, is): (&[String], &[Field<'_>]),
    forms: &Forms,
) -> bool {
    let lengths = [expected_before.len(), was.len(), expected.len(), is.len()];
    let same_length = lengths.iter().all(|length| *length == lengths[0]);
    let follows = |was: &str, is: &str| match () {
        () if is_sums(key) => was == is && !was.bytes().all(|byte| byte.is_ascii_hexdigit()) && was != "SKIP",
        () => key.starts_with("source") && follows(key, was, is, forms),
    };
    let old = expected_before.iter().zip(was);
    let new = expected.iter().zip(is);
    same_length
        && old.zip(new).all(|((before, was), (expected, is))| {
            expected == is.value || (before != was.value && follows(was.value, is.value))
        })
}

/// Whether the functions that say what is special to a package of several are not the same.
fn functions_differ(old: &Recipe<'_>, new: &Recipe<'_>) -> bool {
    fn functions<'r, 'a>(recipe: &'r Recipe<'a>) -> impl Iterator<Item = &'r Statement<'a>> {
        let statements = recipe.pkgbuild.statements.iter();
        statements.filter(|statement| matches!(statement.role, Role::Function(name) if name.contains("package")))
    }
    functions(old).count() != functions(new).count()
        || functions(old).zip(functions(new)).any(|(was, is)| {
            !old.pkgbuild.is_written_as(was, &new.pkgbuild, is)
                && !same(old.pkgbuild.events(was), new.pkgbuild.events(is))
        })
}

/// What differs because a function says something else, which is a reason of its own.
fn of_function(reasons: Vec<Reason>) -> Vec<Reason> {
    reasons.into_iter().map(|reason| Reason { severity: Weight::Review, ..reason }).collect()
}

/// Whether the PKGBUILD names the package of this section.
fn expects_name(recipe: Option<&Recipe<'_>>, after: &Fields<'_>, key: (usize, &str), is: &[Field<'_>]) -> bool {
    let names = recipe.map_or(&[][..], |recipe| recipe.elements("pkgname"));
    let sections = after.keys().filter(|(_, name)| *name == "pkgname").count();
    names.len() == sections && key.0 > 0 && texts(is).eq(names.get(key.0 - 1).map(String::as_str))
}

fn disagrees(line: Option<u32>, old: Option<&str>, new: Option<&str>, message: &str) -> Reason {
    let (old, new) = (old.map(str::as_bytes), new.map(str::as_bytes));
    let message = format!(".SRCINFO: {message}");
    reason("srcinfo-disagrees", Weight::Trust, (SRCINFO, line), old, new, &message)
}

/// `None` if a line is neither blank, a comment, nor `key = value`.
pub(super) fn fields(bytes: &[u8]) -> Option<Fields<'_>> {
    let mut fields = Fields::new();
    let mut section = 0;
    for (number, line) in (1..).zip(lines(bytes)) {
        let line = std::str::from_utf8(line.trim_ascii()).ok()?;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=')?;
        let (key, value) = (key.trim_ascii_end(), value.trim_ascii_start());
        section += usize::from(key == "pkgname");
        fields.entry((section, key)).or_default().push(Field { value, line: number });
    }
    Some(fields)
}

fn values<'f, 'a>(fields: &'f Fields<'a>, key: (usize, &'a str)) -> &'f [Field<'a>] {
    fields.get(&key).map_or(&[], Vec::as_slice)
}

fn texts<'a>(fields: &'a [Field<'_>]) -> impl Iterator<Item = &'a str> {
    fields.iter().map(|field| field.value)
}

/// What differs where the PKGBUILD is known only in `parts`: a value has to come from it or to be there already.
fn partly_known(key: &str, parts: &[String], (was, is): (&[Field<'_>], &[Field<'_>]), forms: &Forms) -> Vec<Reason> {
    if parts.is_empty() || was.len() != is.len() {
        return differs(key, was, is, forms);
    }
    let named = |field: &Field<'_>| parts.iter().any(|part| part == field.value);
    let (was, is): (Vec<_>, Vec<_>) = was.iter().zip(is).filter(|(_, is)| !named(is)).unzip();
    differs(key, &was, &is, forms)
}

/// What differs between the values of one key, apart from the version in places where it may stand.
fn differs(key: &str, old: &[Field<'_>], new: &[Field<'_>], forms: &Forms) -> Vec<Reason> {
    let shown_key = shown(key.as_bytes());
    if old.len() != new.len() {
        let message = format!("`{shown_key}` has {} values in place of {}", new.len(), old.len());
        return vec![disagrees(new.first().map(|field| field.line), None, None, &message)];
    }
    let pairs = old.iter().zip(new).filter(|(old, new)| !follows(key, old.value, new.value, forms));
    let differs = |(old, new): (&Field<'_>, &Field<'_>)| {
        let message = format!("`{shown_key}` changed, and not with the version");
        disagrees(Some(new.line), Some(old.value), Some(new.value), &message)
    };
    pairs.map(differs).collect()
}

/// Whether a value is the old one with the new version in it, at a place where this key may have it.
fn follows(key: &str, old: &str, new: &str, forms: &Forms) -> bool {
    if old == new {
        return true;
    }
    match key.split('_').next().unwrap_or(key) {
        "provides" | "depends" | "makedepends" | "checkdepends" | "optdepends" | "conflicts" | "replaces" => {
            let name = |value: &str| value.find(['<', '>', '=', ':']).unwrap_or(value.len());
            let (end_old, end_new) = (name(old), name(new));
            old[..end_old] == new[..end_new] && forms.moved(&old[end_old..], &new[end_new..])
        }
        "source" | "url" | "noextract" | "pkgdesc" => forms.moved(old, new),
        _ => false,
    }
}

//! `.SRCINFO` against `.SRCINFO`, and against what the PKGBUILD plainly says.
//!
//! The PKGBUILD is the truth and the `.SRCINFO` its summary. Where the PKGBUILD changed nothing but
//! versions and checksums, the summary may differ in these and in places that quote the version.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Reason, Weight};
use super::pkgbuild::Facts;
use super::text::{lines, shown};
use super::{SRCINFO, reason};
use crate::domain::srcinfo::Srcinfo;

/// Values longer than this are not searched for versions.
const LONGEST_VALUE: usize = 4096;

/// More disagreements than this say nothing new.
const REPORTED: usize = 20;

#[derive(Debug, Clone, Copy)]
struct Field<'a> {
    value: &'a str,
    line: u32,
}

/// Fields by section (0 is the base, then the packages in order) and key, each with its values in order.
type Fields<'a> = BTreeMap<(usize, &'a str), Vec<Field<'a>>>;

/// Everything that differs between two `.SRCINFO`, and everything in which the new one contradicts the new
/// PKGBUILD.
pub(super) fn compare(old: &[u8], new: &[u8], pkgbuild: &Facts<'_>) -> Vec<Reason> {
    if let Err(error) = Srcinfo::parse(new) {
        return vec![disagrees(error.line, None, None, &format!("it cannot be read: {error}"))];
    }
    let Some(after) = fields(new) else {
        return vec![disagrees(None, None, None, "it has lines that are not `key = value`")];
    };
    let before = match fields(old) {
        Some(before) if Srcinfo::parse(old).is_ok() => before,
        _ => {
            return vec![disagrees(
                None,
                None,
                None,
                "the one before cannot be read, so there is nothing to compare with",
            )];
        }
    };
    let forms = forms(&before, &after);
    let mut reasons = contradictions(&before, &after, pkgbuild);
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
    for key in keys.into_iter().filter(|(_, name)| !is_checked_elsewhere(name)) {
        let (old, new) = (values(&before, key), values(&after, key));
        reasons.extend(differs(key.1, old, new, &forms));
    }
    reasons.truncate(REPORTED);
    let agrees = reasons.is_empty();
    if !texts(values(&before, (0, "pkgver"))).eq(texts(values(&after, (0, "pkgver")))) {
        reasons.extend(unverified(&after));
    }
    if agrees && old != new {
        let same = before.len() == after.len()
            && before.iter().zip(&after).all(|(a, b)| a.0 == b.0 && texts(a.1).eq(texts(b.1)));
        reasons.push(if same {
            let message = "only comments, white space or the order of fields changed";
            reason("srcinfo-layout", Weight::Cosmetic, (SRCINFO, None), None, None, message)
        } else {
            let message = "the summary was regenerated and agrees with the PKGBUILD";
            reason("srcinfo-regenerated", Weight::Version, (SRCINFO, None), None, None, message)
        });
    }
    reasons
}

fn disagrees(line: Option<u32>, old: Option<&str>, new: Option<&str>, message: &str) -> Reason {
    let (old, new) = (old.map(str::as_bytes), new.map(str::as_bytes));
    let message = format!(".SRCINFO: {message}");
    reason("srcinfo-disagrees", Weight::Trust, (SRCINFO, line), old, new, &message)
}

/// `None` if a line is neither blank, a comment, nor `key = value`.
fn fields(bytes: &[u8]) -> Option<Fields<'_>> {
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

fn is_checked_elsewhere(key: &str) -> bool {
    key == "pkgver" || key == "pkgrel" || is_sums(key)
}

fn is_sums(key: &str) -> bool {
    key.split_once("sums").is_some_and(|(algorithm, rest)| {
        ["ck", "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "b2"].contains(&algorithm)
            && (rest.is_empty() || rest.starts_with('_'))
    })
}

/// Where the new summary says another version or other checksums than the PKGBUILD. What the PKGBUILD does
/// not say plainly must be as it was.
fn contradictions(before: &Fields<'_>, after: &Fields<'_>, pkgbuild: &Facts<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for (name, plain) in [("pkgver", pkgbuild.pkgver), ("pkgrel", pkgbuild.pkgrel)] {
        let new = values(after, (0, name));
        let expected = plain.map(|plain| plain.value).or_else(|| texts(values(before, (0, name))).next());
        if !texts(new).eq(expected) {
            let message = format!("{name} is not the one of the PKGBUILD");
            let line = new.first().map(|field| field.line);
            reasons.push(disagrees(line, expected, texts(new).next(), &message));
        }
    }
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).filter(|(_, name)| is_sums(name)).copied().collect();
    for key in keys {
        let (old, new) = (values(before, key), values(after, key));
        let written = pkgbuild.sums.get(key.1).filter(|_| key.0 == 0);
        let agrees = match written {
            Some(written) => !old.is_empty() && sorted(written.iter().copied()) == sorted(texts(new)),
            None => texts(old).eq(texts(new)),
        };
        if !agrees {
            let message = format!("{} are not those of the PKGBUILD", shown(key.1.as_bytes()));
            reasons.push(disagrees(new.first().map(|field| field.line), None, None, &message));
        }
    }
    reasons
}

/// Downloads of a new version that nothing verifies: no checksum, no signature, and not a version-control
/// source, which has its own.
fn unverified(fields: &Fields<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let in_base = fields.iter().filter(|((section, _), _)| *section == 0);
    for ((_, key), sources) in in_base.filter(|((_, key), _)| key.split('_').next() == Some("source")) {
        let suffix = key.trim_start_matches("source");
        let sums: Vec<_> = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "b2"]
            .iter()
            .map(|algorithm| format!("{algorithm}sums{suffix}"))
            .map(|key| texts(values(fields, (0, key.as_str()))).map(|sum| sum != "SKIP").collect::<Vec<_>>())
            .filter(|sums| sums.len() == sources.len())
            .collect();
        let signed = signed(sources, fields);
        for (index, source) in sources.iter().enumerate() {
            let has_sum = sums.iter().any(|sums| sums[index]);
            if !has_sum && is_download(source.value) && !signed.contains(address_of(source.value)) {
                let message = "nothing verifies what this address gives for the new version";
                let (place, new) = ((SRCINFO, Some(source.line)), Some(source.value.as_bytes()));
                reasons.push(reason("source-unverified", Weight::Review, place, None, new, message));
            }
        }
    }
    reasons.truncate(REPORTED);
    reasons
}

/// Whether it is fetched as a file, and is not itself a signature.
fn is_download(source: &str) -> bool {
    let address = address_of(source);
    let versioned = ["git+", "hg+", "svn+", "bzr+", "fossil+", "git://", "hg://", "svn://", "bzr://", "fossil://"];
    let signature = SIGNATURES.iter().any(|ending| address.ends_with(ending));
    address.contains("://") && !signature && !versioned.iter().any(|scheme| address.starts_with(scheme))
}

const SIGNATURES: [&str; 3] = [".sig", ".asc", ".sign"];

/// The addresses whose signatures are fetched too, if these have to be by named keys.
fn signed<'a>(sources: &[Field<'a>], fields: &Fields<'_>) -> BTreeSet<&'a str> {
    if values(fields, (0, "validpgpkeys")).is_empty() {
        return BTreeSet::new();
    }
    let of = |source: &Field<'a>| SIGNATURES.iter().find_map(|ending| address_of(source.value).strip_suffix(ending));
    sources.iter().filter_map(of).collect()
}

fn address_of(source: &str) -> &str {
    source.split_once("::").map_or(source, |(_, address)| address)
}

fn sorted<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values
}

/// What differs between the values of one key, apart from the version in places where it may stand.
fn differs(key: &str, old: &[Field<'_>], new: &[Field<'_>], forms: &[Form]) -> Vec<Reason> {
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

/// One way to write the version, before and after.
type Form = (String, String);

/// The ways in which packagers put a version into other values: whole, with other separators, its first
/// parts, its last part, with the release behind it.
fn forms(before: &Fields<'_>, after: &Fields<'_>) -> Vec<Form> {
    let first = |fields: &Fields<'_>, name| texts(values(fields, (0, name))).next().unwrap_or_default().to_owned();
    let (old, new) = (first(before, "pkgver"), first(after, "pkgver"));
    let mut forms: BTreeSet<Form> = BTreeSet::new();
    let spellings =
        [(".", "_"), (".", "-"), (".", ""), ("_", "-"), ("_", "."), ("_", ""), ("+", "%2B"), ("+", "-"), ("+", "_")];
    forms.extend(spellings.iter().map(|(from, to)| (old.replace(from, to), new.replace(from, to))));
    for separator in ['.', '_', '+'] {
        let (old_parts, new_parts): (Vec<_>, Vec<_>) = (old.split(separator).collect(), new.split(separator).collect());
        let length = old_parts.len().min(new_parts.len()).min(8);
        let glue = separator.to_string();
        forms.extend((1..=length).map(|count| (old_parts[..count].join(&glue), new_parts[..count].join(&glue))));
        forms.extend(old_parts.last().zip(new_parts.last()).map(|(old, new)| ((*old).to_owned(), (*new).to_owned())));
    }
    forms.insert((format!("{old}-{}", first(before, "pkgrel")), format!("{new}-{}", first(after, "pkgrel"))));
    forms.insert((old, new));
    let mut forms: Vec<_> = forms.into_iter().filter(|(old, new)| old != new && !old.is_empty()).collect();
    forms.sort_by_key(|(old, new)| std::cmp::Reverse((old.len(), new.len())));
    forms
}

/// Whether a value is the old one with the new version in it, at a place where this key may have it.
fn follows(key: &str, old: &str, new: &str, forms: &[Form]) -> bool {
    if old == new {
        return true;
    }
    match key.split('_').next().unwrap_or(key) {
        "provides" | "depends" | "makedepends" | "checkdepends" | "optdepends" | "conflicts" | "replaces" => {
            let name = |value: &str| value.find(['<', '>', '=', ':']).unwrap_or(value.len());
            let (end_old, end_new) = (name(old), name(new));
            old[..end_old] == new[..end_new] && is_moved(&old[end_old..], &new[end_new..], forms)
        }
        "source" | "url" | "noextract" | "pkgdesc" => is_moved(old, new, forms),
        _ => false,
    }
}

/// Whether `new` is `old` with old forms of the version replaced by the new ones, never in a host name.
fn is_moved(old: &str, new: &str, forms: &[Form]) -> bool {
    if old.len().max(new.len()) > LONGEST_VALUE {
        return false;
    }
    let host = host_of(old);
    let (before, after) = (old.as_bytes(), new.as_bytes());
    let (mut i, mut j) = (0, 0);
    while i < before.len() {
        let form = forms.iter().find(|(from, to)| {
            !host.contains(&i)
                && before[i..].starts_with(from.as_bytes())
                && after[j..].starts_with(to.as_bytes())
                && stands_alone(before, i, from)
                && stands_alone(after, j, to)
        });
        if let Some((from, to)) = form {
            i += from.len();
            j += to.len();
        } else if after.get(j) == Some(&before[i]) {
            i += 1;
            j += 1;
        } else {
            return false;
        }
    }
    j == after.len()
}

/// The bytes of the host (with user and port) in `scheme://host/`, and the sign that ends it.
fn host_of(value: &str) -> std::ops::Range<usize> {
    let Some(start) = value.find("://").map(|start| start + "://".len()) else {
        return 0..0;
    };
    let length = value[start..].find(['/', '?', '#']).map_or(value.len() - start, |length| length + 1);
    start..start + length
}

/// Whether the version at this place is not part of a longer one. A form without a separator (`2` of
/// `2.0`) is found by chance more easily: it has to begin a word, or to follow a `v` or `r`, and no other
/// part of a version may follow.
fn stands_alone(text: &[u8], at: usize, form: &str) -> bool {
    let is_digit = |index: usize| text.get(index).is_some_and(u8::is_ascii_digit);
    let end = at + form.len();
    let single = form.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let continues = is_digit(end) || (single && text.get(end) == Some(&b'.') && is_digit(end + 1));
    let free = match at.checked_sub(1).map(|index| text[index]) {
        None => true,
        Some(byte) if byte.is_ascii_digit() => false,
        Some(byte) => !single || !byte.is_ascii_alphanumeric() || b"vVrR".contains(&byte),
    };
    free && !continues
}

//! PKGBUILD against PKGBUILD, line by line on raw bytes.
//!
//! A line may only differ where both sides are a plain `pkgver=`, a plain `pkgrel=`, or checksums of
//! one and the same algorithm in the same dress. So whatever the other lines mean to bash, they mean
//! the same as before.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::super::{Reason, Weight};
use super::text::{lines, shown};
use super::{PKGBUILD, reason, shape};
use crate::domain::policy::is_release;
use crate::domain::version::vercmp;

/// Checksum arrays: name, digits of one checksum, strength.
const ALGORITHMS: [(&str, usize, u8); 7] = [
    ("md5", 32, 1),
    ("sha1", 40, 2),
    ("sha224", 56, 3),
    ("sha256", 64, 4),
    ("sha384", 96, 4),
    ("sha512", 128, 4),
    ("b2", 128, 4),
];

const SKIP: &[u8] = b"SKIP";

/// What can be read from a PKGBUILD without understanding bash.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    pub pkgver: Option<Literal<'a>>,
    pub pkgrel: Option<Literal<'a>>,
    pub epoch: Option<Literal<'a>>,
    /// By array: its entries. An array that is assigned twice, or holds anything else, is not here.
    pub sums: BTreeMap<&'a str, Vec<&'a str>>,
    lines: Vec<Line<'a>>,
}

/// A value that is assigned once in the file, and plainly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Literal<'a> {
    pub value: &'a str,
    /// From 1.
    pub line: u32,
}

#[derive(Debug)]
struct Line<'a> {
    bytes: &'a [u8],
    role: Role<'a>,
}

#[derive(Debug)]
enum Role<'a> {
    Pkgver,
    Pkgrel,
    Sums(Sums<'a>),
    Other,
}

/// A line of a checksum array.
#[derive(Debug)]
struct Sums<'a> {
    /// `sha256sums_x86_64`.
    array: &'a str,
    strength: u8,
    /// Where the checksums (or `SKIP`) stand in the line.
    entries: Vec<Range<usize>>,
}

impl<'a> Facts<'a> {
    pub fn read(bytes: &'a [u8]) -> Self {
        let mut facts = Self::default();
        let mut array = None;
        let mut assigned: BTreeMap<&str, usize> = BTreeMap::new();
        for bytes in lines(bytes) {
            let role = role(bytes, &mut array, &mut assigned);
            if let Role::Sums(sums) = &role {
                let entries = sums.entries.iter().map(|range| text(&bytes[range.clone()]));
                facts.sums.entry(sums.array).or_default().extend(entries);
            }
            facts.lines.push(Line { bytes, role });
        }
        facts.sums.retain(|array, _| assigned.get(array) == Some(&1));
        facts.pkgver = facts.literal("pkgver", is_pkgver);
        facts.pkgrel = facts.literal("pkgrel", is_release);
        facts.epoch = facts.literal("epoch", |value| !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()));
        facts
    }

    /// `[epoch:]pkgver-pkgrel`, if all of it is plain.
    pub fn version(&self) -> Option<String> {
        let (pkgver, pkgrel) = (self.pkgver?.value, self.pkgrel?.value);
        let epoch = self.epoch.map(|epoch| format!("{}:", epoch.value)).unwrap_or_default();
        Some(format!("{epoch}{pkgver}-{pkgrel}"))
    }

    fn literal(&self, name: &str, plain: fn(&str) -> bool) -> Option<Literal<'a>> {
        let mut assignments = (1..).zip(&self.lines).filter(|(_, line)| assigns(line.bytes, name));
        let (line, Line { bytes, .. }) = assignments.next()?;
        let value = value_of(bytes, name).filter(|value| plain(value))?;
        assignments.next().is_none().then_some(Literal { value, line })
    }
}

/// Everything that differs, in the order of lines.
pub(super) fn compare(old: &Facts<'_>, new: &Facts<'_>) -> Vec<Reason> {
    let mut reasons = versions(old, new);
    let forward = match (old.pkgver, new.pkgver) {
        (Some(old), Some(new)) => vercmp(new.value, old.value) == Ordering::Greater,
        _ => false,
    };
    if old.lines.len() == new.lines.len() {
        for (number, (before, after)) in (1..).zip(old.lines.iter().zip(&new.lines)) {
            if before.bytes != after.bytes {
                reasons.extend(line_reasons(number, (before, after), (old, new), forward));
            }
        }
    } else {
        reasons.push(block(old, new));
        reasons.extend(arrays(old, new));
    }
    reasons
}

/// How pkgver and pkgrel moved, where both sides say it plainly.
fn versions(old: &Facts<'_>, new: &Facts<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut moved = None;
    if let (Some(before), Some(after)) = (old.pkgver, new.pkgver)
        && before.value != after.value
    {
        moved = Some(vercmp(after.value, before.value));
        reasons.push(pkgver_moved(before, after));
    }
    if let (Some(before), Some(after)) = (old.pkgrel, new.pkgrel)
        && before.value != after.value
    {
        let order = vercmp(after.value, before.value);
        let (code, weight, message) = match (moved, order) {
            (_, Ordering::Greater) => ("release-forward", Weight::Version, "pkgrel was raised"),
            (Some(_), _) => ("release-reset", Weight::Version, "pkgrel starts anew with the new version"),
            (None, _) => ("version-back", Weight::Trust, "pkgrel is not higher than before, at the same version"),
        };
        reasons.push(of_literals(code, weight, before, after, message));
    }
    reasons
}

fn pkgver_moved(before: Literal<'_>, after: Literal<'_>) -> Reason {
    if vercmp(after.value, before.value) != Ordering::Greater {
        let message = "pkgver is not newer than before; pacman would not take it as an update";
        return of_literals("version-back", Weight::Trust, before, after, message);
    }
    if !shape::is_kept(before.value, after.value) {
        let message = "pkgver has another form than before: it may name a commit or a branch in place of a release";
        return of_literals("version-shape", Weight::Trust, before, after, message);
    }
    of_literals("version-forward", Weight::Version, before, after, "pkgver moved forward")
}

fn of_literals(code: &'static str, weight: Weight, old: Literal<'_>, new: Literal<'_>, message: &str) -> Reason {
    let (before, after) = (old.value.as_bytes(), new.value.as_bytes());
    reason(code, weight, (PKGBUILD, Some(new.line)), Some(before), Some(after), message)
}

/// The reasons for one line that differs from the line in the same place.
fn line_reasons(
    number: u32,
    (before, after): (&Line<'_>, &Line<'_>),
    (old, new): (&Facts<'_>, &Facts<'_>),
    forward: bool,
) -> Vec<Reason> {
    let place = (PKGBUILD, Some(number));
    let plain = |old: Option<Literal<'_>>, new: Option<Literal<'_>>| {
        [old, new].iter().all(|literal| literal.is_some_and(|literal| literal.line == number))
    };
    match (&before.role, &after.role) {
        (Role::Pkgver, Role::Pkgver) if plain(old.pkgver, new.pkgver) => Vec::new(),
        (Role::Pkgrel, Role::Pkgrel) if plain(old.pkgrel, new.pkgrel) => Vec::new(),
        (Role::Pkgver, Role::Pkgver) | (Role::Pkgrel, Role::Pkgrel) => {
            let message = "the version is assigned in more than one place, so it is not clear which one counts";
            vec![reason("version-ambiguous", Weight::Review, place, Some(before.bytes), Some(after.bytes), message)]
        }
        (Role::Sums(old), Role::Sums(new)) if dress(before.bytes, old) == dress(after.bytes, new) => {
            let pairs = old.entries.iter().zip(&new.entries);
            let texts = pairs.map(|(old, new)| (&before.bytes[old.clone()], &after.bytes[new.clone()]));
            texts.filter(|(old, new)| old != new).map(|(old, new)| checksum(number, old, new, forward)).collect()
        }
        (Role::Sums(old), other) => vec![sums_rewritten(place, (before, old), after.bytes, other)],
        _ => vec![other_line(place, before.bytes, after.bytes)],
    }
}

/// One checksum in place of another of the same array.
fn checksum(number: u32, old: &[u8], new: &[u8], forward: bool) -> Reason {
    let (code, weight, message) = match (old == SKIP, new == SKIP) {
        (_, true) => ("checksum-skip", Weight::Trust, "a checksum was replaced by SKIP: nothing verifies this source"),
        (true, false) => ("checksum-stronger", Weight::Stronger, "a source that was not verified now is"),
        (false, false) if forward => ("checksum-updated", Weight::Version, "a checksum moved with the version"),
        (false, false) => {
            ("retag", Weight::Trust, "a checksum changed although the version did not plainly move forward")
        }
    };
    reason(code, weight, (PKGBUILD, Some(number)), Some(old), Some(new), message)
}

/// A line of checksums that became something else than the same line with other checksums.
fn sums_rewritten(
    place: (&str, Option<u32>),
    (before, old): (&Line<'_>, &Sums<'_>),
    after: &[u8],
    role: &Role<'_>,
) -> Reason {
    let skipped =
        |line: &[u8], sums: &Sums<'_>| sums.entries.iter().filter(|range| line[(*range).clone()] == *SKIP).count();
    let kept = matches!(role, Role::Sums(new) if new.strength >= old.strength
        && new.entries.len() >= old.entries.len()
        && skipped(after, new) <= skipped(before.bytes, old));
    let (code, weight, message) = if kept {
        ("checksum-layout", Weight::Review, "checksums are written in another way, or with another algorithm")
    } else {
        ("checksum-weaker", Weight::Trust, "checksums were removed, cut short, or replaced by a weaker algorithm")
    };
    reason(code, weight, place, Some(before.bytes), Some(after), message)
}

fn other_line(place: (&str, Option<u32>), old: &[u8], new: &[u8]) -> Reason {
    let (code, weight, message) = weigh(old, new);
    reason(code, weight, place, Some(old), Some(new), message)
}

/// How much a changed line weighs. It is major in any case; this says how loudly.
fn weigh(old: &[u8], new: &[u8]) -> (&'static str, Weight, &'static str) {
    let runs = |line: &[u8]| [&b"$("[..], b"`", b"<(", b">("].iter().any(|needle| contains(line, needle));
    let fetches = |line: &[u8]| {
        let start = line.trim_ascii_start();
        [&b"source"[..], b"url=", b"validpgpkeys", b"DLAGENTS", b"VCSCLIENTS"]
            .iter()
            .any(|word| start.starts_with(word))
    };
    let declares = ["pkgver", "pkgrel", "epoch", "pkgname", "pkgbase"].iter().any(|name| assigns(new, name));
    if declares && runs(new) && !runs(old) {
        ("substitution", Weight::Hostile, "a declaration would run a command as soon as the PKGBUILD is read")
    } else if assigns(old, "epoch") || assigns(new, "epoch") {
        ("epoch-changed", Weight::Trust, "the epoch changed: it overrides every comparison of versions from now on")
    } else if fetches(old) || fetches(new) || contains(new, b"://") {
        ("line-changed", Weight::Trust, "what is fetched, or whom it is trusted from, changed")
    } else {
        ("line-changed", Weight::Review, "a line changed that is neither a version nor a checksum")
    }
}

/// What lies between the lines that both have at the start and at the end, as one reason that weighs as
/// much as the heaviest line that only one of them has.
fn block<'a>(old: &Facts<'a>, new: &Facts<'a>) -> Reason {
    let bytes = |facts: &Facts<'a>| facts.lines.iter().map(|line| line.bytes).collect::<Vec<_>>();
    let (before, after) = (bytes(old), bytes(new));
    let start = before.iter().zip(&after).take_while(|(old, new)| old == new).count();
    let room = before.len().min(after.len()) - start;
    let end = before.iter().rev().zip(after.iter().rev()).take(room).take_while(|(old, new)| old == new).count();
    let (before, after) = (&before[start..before.len() - end], &after[start..after.len() - end]);
    let only = |ours: &[&'a [u8]], theirs: &[&[u8]]| {
        let theirs: HashSet<_> = theirs.iter().copied().collect();
        ours.iter().copied().filter(|line| !theirs.contains(line)).collect::<Vec<_>>()
    };
    let removed = only(before, after).into_iter().map(|line| weigh(line, b""));
    let added = only(after, before).into_iter().map(|line| weigh(b"", line));
    let (code, weight, why) =
        removed.chain(added).max_by_key(|&(_, weight, _)| weight).unwrap_or_else(|| weigh(b"", b""));
    let message = format!("lines were added or removed: {why}");
    let line = u32::try_from(start + 1).ok();
    reason(code, weight, (PKGBUILD, line), Some(&before.join(&b'\n')), Some(&after.join(&b'\n')), &message)
}

/// What happened to checksum arrays, where lines cannot be compared one by one.
fn arrays(old: &Facts<'_>, new: &Facts<'_>) -> Vec<Reason> {
    let skipped = |entries: &[&str]| entries.iter().filter(|entry| entry.as_bytes() == SKIP).count();
    let judge = |(array, before): (&&str, &Vec<&str>)| {
        let (code, message) = match new.sums.get(array) {
            Some(after) if skipped(after) > skipped(before) => {
                ("checksum-skip", "has more sources that nothing verifies")
            }
            Some(after) if after.len() >= before.len() => return None,
            _ => ("checksum-weaker", "has fewer checksums than before"),
        };
        let message = format!("`{}` {message}", shown(array.as_bytes()));
        Some(reason(code, Weight::Trust, (PKGBUILD, None), None, None, &message))
    };
    old.sums.iter().filter_map(judge).collect()
}

/// What a line is. `array` is the checksum array that is open at its beginning, and is moved on;
/// `assigned` counts how often each array is assigned.
fn role<'a>(
    line: &'a [u8],
    array: &mut Option<(&'a str, usize, u8)>,
    assigned: &mut BTreeMap<&'a str, usize>,
) -> Role<'a> {
    if value_of(line, "pkgver").is_some_and(is_pkgver) {
        *array = None;
        return Role::Pkgver;
    }
    if value_of(line, "pkgrel").is_some_and(is_release) {
        *array = None;
        return Role::Pkgrel;
    }
    let mut start = 0;
    if let Some(opened) = opening(line) {
        *assigned.entry(opened.0).or_default() += 1;
        start = opened.0.len() + "=(".len();
        *array = Some(opened);
    } else if let Some(name) = appended(line) {
        *assigned.entry(name).or_default() += 1;
        *array = None;
    }
    let Some((name, digits, strength)) = *array else {
        return Role::Other;
    };
    let Some((entries, closed)) = entries(line, start, digits) else {
        // Something else stands in the array; it does not count as read.
        *assigned.entry(name).or_default() += 1;
        *array = None;
        return Role::Other;
    };
    if closed {
        *array = None;
    }
    Role::Sums(Sums { array: name, strength, entries })
}

/// The array whose plain assignment begins on this line: name, digits of a checksum, strength.
fn opening(line: &[u8]) -> Option<(&str, usize, u8)> {
    let end = line.iter().position(|&byte| byte == b'=').filter(|&end| line.get(end + 1) == Some(&b'('))?;
    algorithm(&line[..end])
}

/// The array that is assigned or extended on this line in some other way.
fn appended(line: &[u8]) -> Option<&str> {
    let start = line.iter().position(|&byte| !is_blank(byte))?;
    let word = &line[start..];
    let end = word.iter().position(|&byte| !byte.is_ascii_alphanumeric() && byte != b'_')?;
    let extends = [&b"="[..], b"+=", b"["].iter().any(|sign| word[end..].starts_with(sign));
    algorithm(&word[..end]).filter(|_| extends).map(|(name, ..)| name)
}

fn algorithm(name: &[u8]) -> Option<(&str, usize, u8)> {
    let name = std::str::from_utf8(name).ok()?;
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    ALGORITHMS.into_iter().find_map(|(prefix, digits, strength)| {
        let rest = name.strip_prefix(prefix)?.strip_prefix("sums")?;
        let fits = rest.is_empty() || (rest.len() > 1 && rest.starts_with('_') && rest.bytes().all(word));
        fits.then_some((name, digits, strength))
    })
}

/// Reads checksums from `start` to the end of the line; `true` if the array is closed on it. `None` if
/// anything stands there that is not a full checksum, `SKIP`, white space or a comment.
fn entries(line: &[u8], start: usize, digits: usize) -> Option<(Vec<Range<usize>>, bool)> {
    let mut found = Vec::new();
    let mut at = start;
    loop {
        let gap = line[at..].iter().take_while(|&&byte| is_blank(byte)).count();
        at += gap;
        match line.get(at) {
            None => return Some((found, false)),
            Some(b'#') if gap > 0 || at == start => return Some((found, false)),
            Some(b')') => return is_rest(&line[at + 1..]).then_some((found, true)),
            Some(&first) => {
                let quoted = usize::from(first == b'\'' || first == b'"');
                let begin = at + quoted;
                let length = line[begin..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
                let end = begin + length;
                let entry = &line[begin..end];
                let full = length == digits && entry.iter().all(u8::is_ascii_hexdigit);
                let closed = quoted == 0 || line.get(end) == Some(&first);
                at = end + quoted;
                let apart = line.get(at).is_none_or(|&byte| is_blank(byte) || byte == b')');
                if !((full || entry == SKIP) && closed && apart) {
                    return None;
                }
                found.push(begin..end);
            }
        }
    }
}

/// Whether only white space and a comment follow.
fn is_rest(rest: &[u8]) -> bool {
    let gap = rest.iter().take_while(|&&byte| is_blank(byte)).count();
    rest.len() == gap || (gap > 0 && rest[gap] == b'#')
}

/// The line with its entries taken out, and the array it belongs to: what must not differ.
fn dress<'a>(line: &'a [u8], sums: &Sums<'a>) -> (&'a str, Vec<&'a [u8]>) {
    let mut pieces = Vec::with_capacity(sums.entries.len() + 1);
    let mut from = 0;
    for entry in &sums.entries {
        pieces.push(&line[from..entry.start]);
        from = entry.end;
    }
    pieces.push(&line[from..]);
    (sums.array, pieces)
}

/// What follows `name=` on a line that begins with it.
fn value_of<'a>(line: &'a [u8], name: &str) -> Option<&'a str> {
    std::str::from_utf8(line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?).ok()
}

/// Whether a line looks as if it assigned a variable, anywhere on it: `name=`, `name+=`, `name[`, at the
/// beginning of a word. Comments do not count.
fn assigns(line: &[u8], name: &str) -> bool {
    let name = name.as_bytes();
    let starts_word = |at: usize| at == 0 || b" \t;&|({".contains(&line[at - 1]);
    let sign = |rest: &[u8]| [&b"="[..], b"+=", b"["].iter().any(|sign| rest.starts_with(sign));
    let comment = line.trim_ascii_start().first() == Some(&b'#');
    let mut places = line.windows(name.len()).enumerate().filter(|(_, window)| *window == name);
    !comment && places.any(|(at, _)| starts_word(at) && sign(&line[at + name.len()..]))
}

/// Values that mean the same wherever they are put: no white space, no quotes, nothing bash or a URL
/// gives a meaning to.
fn is_pkgver(value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+".contains(&byte);
    let dotted = value.contains("..");
    value.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) && value.bytes().all(allowed) && !dotted
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn contains(line: &[u8], needle: &[u8]) -> bool {
    line.windows(needle.len()).any(|window| window == needle)
}

/// Text of bytes that are known to be ASCII.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("only ASCII was accepted")
}

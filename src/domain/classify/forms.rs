//! The ways in which a version stands in other texts, and whether a text is the old one with the new version.

use std::cell::Cell;

/// Values longer than this are not searched for versions.
const LONGEST_VALUE: usize = 4096;

/// More bytes than this are not compared to find versions, in all values of an update.
const MOST_STEPS: usize = 50_000_000;

/// One way to write something that moved, before and after.
pub(in crate::domain) type Form = (String, String);

/// Everything that moved, longest first.
#[derive(Debug, Clone, Default)]
pub(in crate::domain) struct Forms {
    moves: Vec<Form>,
    /// The whole version as it may be written.
    whole: Vec<Form>,
    /// Bytes that were compared with the beginnings of forms.
    steps: Cell<usize>,
}

impl Forms {
    /// The ways in which packagers put a version into other values: whole, with other separators, its first
    /// parts, its last part, with the release behind it; and whatever else moved as a whole.
    pub fn new(version: Option<(&str, &str)>, releases: Option<(&str, &str)>, others: &[Form]) -> Self {
        let mut forms = others.to_vec();
        let whole = version.map(|(old, new)| Self::whole(old, new).moves).unwrap_or_default();
        if let Some((old, new)) = version {
            spellings(old, new, &mut forms);
            if let Some((old_release, new_release)) = releases {
                forms.push((format!("{old}-{old_release}"), format!("{new}-{new_release}")));
            }
        }
        for (old, new) in others {
            if old.contains(['.', '_']) {
                spellings(old, new, &mut forms);
            }
        }
        Self { whole, ..Self::sorted(forms) }
    }

    /// Whether a text held the old version, and does not hold the new one.
    pub fn left_behind(&self, old: &str, new: &str) -> bool {
        let left = |(from, to): &Form| from.len() >= 3 && old.contains(from.as_str()) && !new.contains(to.as_str());
        self.whole.iter().any(left)
    }

    /// The ways to write a whole version: what an editor may replace wherever it stands.
    pub(in crate::domain) fn whole(old: &str, new: &str) -> Self {
        let mut forms = vec![(old.to_owned(), new.to_owned())];
        whole_spellings(old, new, &mut forms);
        Self::sorted(forms)
    }

    /// These, and the first parts of the version where they are several: what an editor may replace beside it.
    pub(in crate::domain) fn with_parts(old: &str, new: &str) -> Self {
        let mut forms = Vec::new();
        spellings(old, new, &mut forms);
        forms.retain(|(from, _)| from == old || from.contains(['.', '_', '-']) || from.len() >= 4);
        Self::sorted(forms)
    }

    /// The text with every old form at its place replaced by the new one, never in a host name.
    pub(in crate::domain) fn applied(&self, text: &str) -> String {
        let (host, bytes) = (host_of(text), text.as_bytes());
        let (mut result, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(first) = rest.chars().next() {
            let at = text.len() - rest.len();
            let stands = |from: &str| rest.starts_with(from) && !host.contains(&at) && stands_alone(bytes, at, from);
            let (written, length) = match self.moves.iter().find(|(from, _)| stands(from)) {
                Some((from, to)) => (to.as_str(), from.len()),
                None => (&rest[..first.len_utf8()], first.len_utf8()),
            };
            result.push_str(written);
            rest = &rest[length..];
        }
        result
    }

    /// Only those that are too long to be met by chance in a text that is code.
    pub fn for_code(&self) -> Self {
        let telling = |text: &str| {
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            text.len() >= 3 && digits >= 2 && (text.len() >= 5 || text.contains(['.', '_', '-']))
        };
        let forms = self.moves.iter().filter(|(old, new)| telling(old) && telling(new)).cloned().collect();
        Self { moves: forms, ..Self::default() }
    }

    /// These and others.
    pub fn joined(&self, other: &Self) -> Self {
        Self::sorted(self.moves.iter().chain(&other.moves).cloned().collect())
    }

    fn sorted(mut forms: Vec<Form>) -> Self {
        forms.retain(|(old, new)| old != new && !old.is_empty());
        forms.sort_unstable_by(|a, b| (b.0.len(), b.1.len()).cmp(&(a.0.len(), a.1.len())).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { moves: forms, ..Self::default() }
    }

    /// Whether `new` is `old` with old forms replaced by the new ones, never in a host name.
    pub fn moved(&self, old: &str, new: &str) -> bool {
        if old == new {
            return true;
        }
        if self.moves.is_empty() || old.len().max(new.len()) > LONGEST_VALUE {
            return false;
        }
        let host = host_of(old);
        let (before, after) = (old.as_bytes(), new.as_bytes());
        let (mut i, mut j) = (0, 0);
        while i < before.len() {
            if self.is_tired() {
                return false;
            }
            let form = self.moves.iter().find(|(from, to)| {
                from.as_bytes()[0] == before[i]
                    && !host.contains(&i)
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
}

impl Forms {
    /// Whether too much was compared: what is not compared has not moved.
    fn is_tired(&self) -> bool {
        self.steps.set(self.steps.get() + self.moves.len());
        self.steps.get() > MOST_STEPS
    }
}

/// The whole version with other signs between its parts.
fn whole_spellings(old: &str, new: &str, forms: &mut Vec<Form>) {
    let signs = [
        (".", "_"),
        (".", "-"),
        (".", ""),
        ("_", "-"),
        ("_", "."),
        ("_", ""),
        ("+", "%2B"),
        ("+", "-"),
        ("+", "_"),
        ("_", "+"),
        ("_", "%2B"),
    ];
    let signs = signs.iter().filter(|(from, _)| old.contains(from) || new.contains(from));
    forms.extend(signs.map(|(from, to)| (old.replace(from, to), new.replace(from, to))));
    for sign in ["-", "_", "."] {
        forms.push((with_candidate_apart(old, sign), with_candidate_apart(new, sign)));
    }
}

fn spellings(old: &str, new: &str, forms: &mut Vec<Form>) {
    whole_spellings(old, new, forms);
    for separator in ['.', '_', '+'] {
        let (old_parts, new_parts): (Vec<_>, Vec<_>) = (old.split(separator).collect(), new.split(separator).collect());
        let length = old_parts.len().min(new_parts.len()).min(8);
        if length <= 1 && !old.contains(separator) && !new.contains(separator) {
            continue;
        }
        for glue in [&*separator.to_string(), ".", "_", "-"] {
            forms.extend((1..=length).map(|count| (old_parts[..count].join(glue), new_parts[..count].join(glue))));
        }
        forms.extend(old_parts.last().zip(new_parts.last()).map(|(old, new)| ((*old).to_owned(), (*new).to_owned())));
    }
    forms.push((old.to_owned(), new.to_owned()));
}

/// `1.2rc1` as `1.2-rc1`: pkgver may not have the sign that stands in the name of the tag.
fn with_candidate_apart(version: &str, sign: &str) -> String {
    let place = ["rc", "beta", "alpha", "pre"].iter().find_map(|word| version.find(word));
    match place.filter(|&at| at > 0 && version.as_bytes()[at - 1].is_ascii_digit()) {
        Some(at) => format!("{}{sign}{}", &version[..at], &version[at..]),
        None => version.to_owned(),
    }
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

//! Variables of the packager's own that moved with the version: is what they hold explained by that?

use super::forms::Forms;
use super::recipe::Recipe;
use super::shape;
use crate::domain::pkgbuild::is_known;

/// Words in a name that say it is not a version, whatever it holds.
const NAMES: [&str; 12] =
    ["name", "owner", "repo", "user", "host", "url", "org", "author", "site", "mirror", "path", "dir"];
/// Words in a name that say it is a key, which looks like a commit.
const KEYS: [&str; 8] = ["key", "finger", "fpr", "gpg", "pgp", "sign", "signer", "trust"];
/// Words in a name that say it is a version, even beside those that say it is not.
const HINTS: [&str; 9] = ["ver", "version", "tag", "commit", "rev", "date", "hash", "sha", "stamp"];
/// Words in a name that say it is a part of one.
const PARTS: [&str; 7] = ["rel", "release", "build", "minor", "major", "patch", "micro"];
/// Words that only look as if such a word were in them.
const OTHERS: [&str; 10] =
    ["cover", "driver", "prev", "relay", "reverse", "server", "share", "update", "verbose", "verify"];

/// What the name of a variable says of its value.
struct Told {
    /// It is a version, a commit, or a part of one.
    hinted: bool,
    /// It is something else.
    other: bool,
    /// It is a key.
    key: bool,
}

fn told(name: &str) -> Told {
    let name = name.to_ascii_lowercase();
    let words = || name.split('_').filter(|word| !word.is_empty() && !OTHERS.contains(word));
    let says =
        |hints: &[&str]| words().any(|word| hints.iter().any(|hint| word.starts_with(hint) || word.ends_with(hint)));
    let other = NAMES.iter().any(|word| name.contains(word)) && !says(&HINTS);
    Told { hinted: says(&HINTS) || (says(&PARTS) && !other), other, key: KEYS.iter().any(|word| name.contains(word)) }
}

/// The code of the reason for a variable that changed with the version, if that explains it. `feeds` says that the
/// version or an address is put together from it.
pub(super) fn explained(
    name: &str,
    (old, new): (&Recipe<'_>, &Recipe<'_>),
    forms: &Forms,
    feeds: bool,
) -> Option<&'static str> {
    let once = |recipe: &Recipe<'_>| recipe.assignments(name) == 1;
    let (before, after) = (old.elements(name), new.elements(name));
    let alike = before.len() == after.len() && (before.len() == 1 || (is_parts(before) && is_parts(after)));
    let (was, is) = (&before.join("."), &after.join("."));
    let both = |fits: fn(&str) -> bool| fits(was) && fits(is);
    if !once(old) || !once(new) || !alike || !both(is_word) || !both(is_known) {
        return None;
    }
    if !keeps_pin(was, is) {
        return None;
    }
    if forms.moved(was, is) {
        return Some("helper-moved");
    }
    let told = told(name);
    if told.other || (told.key && both(is_commit)) || !(feeds || told.hinted) {
        return None;
    }
    if both(is_commit) && was.len() == is.len() {
        return Some("commit-moved");
    }
    let used = |recipe: &Recipe<'_>, value: &str| recipe.usage().allows(name, value);
    if !used(old, was) || !used(new, is) || !both(is_no_address) || !both(is_no_padded_number) {
        return None;
    }
    // It counts within a version, so it begins anew with the next.
    let counts = feeds && told.hinted && both(is_count);
    let fits = (feeds || both(is_no_mode))
        && (told.hinted || both(shape::is_bare))
        && !(feeds && is_id(was) && !is_behind_version(is, new));
    let newer = fits && is_newer_version(was, is) && !forms.left_behind(was, is);
    let short = is_short_commit(was, is) && (told.hinted || is_behind_version(is, new));
    (counts || newer || short).then_some("helper-moved")
}

/// Whether both are versions of the same form, and the second is newer.
fn is_newer_version(was: &str, is: &str) -> bool {
    let numbered = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit());
    numbered(was)
        && numbered(is)
        && shape::is_kept(was, is)
        && shape::keeps_words(was, is)
        && shape::is_newer(was, is)
        && !shape::is_hostlike(was)
        && !shape::is_hostlike(is)
}

/// Whether a text that pins a commit goes on to pin one: a name in place of its digits may be that of anything.
pub(super) fn keeps_pin(was: &str, is: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let letters = was.bytes().any(|byte| byte.is_ascii_alphabetic());
    let pins = is_commit(was) || (hex(was) && letters && was.len() >= SHORTEST_COMMIT);
    !pins || (hex(is) && is.len() == was.len())
}

/// Shorter digits of a commit are not taken for one.
const SHORTEST_COMMIT: usize = 7;

/// Whether a text is no address of a machine: four numbers below 256.
fn is_no_address(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    parts.len() != 4 || !parts.iter().all(|part| part.parse::<u8>().is_ok())
}

/// Whether a text is no number with noughts before it, as modes have them.
fn is_no_padded_number(text: &str) -> bool {
    let octal = text.bytes().all(|byte| (b'0'..b'8').contains(&byte));
    !octal || !(3..=5).contains(&text.len()) || !text.starts_with('0')
}

/// Whether a text is a number that says nothing but which of many things is meant. A day is none, nor a time of it.
fn is_id(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let single = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    single && digits > 3 && !is_day(text)
}

/// Whether a text is a day, as `20260131`, or a time of one.
fn is_day(text: &str) -> bool {
    let number = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<u32>().ok());
    let within = |from, to, range: std::ops::Range<u32>| number(from, to).is_some_and(|number| range.contains(&number));
    let day = within(0, 4, 1990..2100) && within(4, 6, 1..13) && within(6, 8, 1..32);
    let (hour, minute, second) = (within(8, 10, 0..24), within(10, 12, 0..60), within(12, 14, 0..61));
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let time = match text.len() {
        8 => true,
        12 => hour && minute,
        14 => hour && minute && second,
        _ => false,
    };
    plain && day && time
}

/// Whether a number only goes on where the version stands, wherever an address holds it: `1.2.3.4567`. Else it alone
/// may say what is fetched.
fn is_behind_version(number: &str, recipe: &Recipe<'_>) -> bool {
    let Some(version) = recipe.evaluated.text("pkgver") else { return false };
    let sources = recipe.evaluated.values.iter().filter(|(name, _)| name.starts_with("source"));
    let mut texts = sources.flat_map(|(_, value)| value.elements());
    let sign = |text: char| "._-+".contains(text);
    let goes_on = |text: &str, at: usize| {
        let (front, behind) = (&text[..at], &text[at + number.len()..]);
        let follows = front.strip_suffix(sign).is_some_and(|front| front.ends_with(version));
        // What begins a part of a path is often all that a server looks at.
        let named = front.strip_suffix(sign).is_some_and(|front| front.ends_with(|c: char| c.is_ascii_alphanumeric()));
        follows || (named && behind.strip_prefix(sign).is_some_and(|behind| behind.starts_with(version)))
    };
    is_known(version) && texts.all(|text| is_known(text) && text.match_indices(number).all(|(at, _)| goes_on(text, at)))
}

fn is_count(text: &str) -> bool {
    text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text that a function is given cannot be the mode of a file.
fn is_no_mode(text: &str) -> bool {
    !matches!(text.len(), 3 | 4) || !text.bytes().all(|byte| (b'0'..b'8').contains(&byte))
}

fn is_short_commit(was: &str, is: &str) -> bool {
    let fits = |text: &str| (7..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = was.bytes().all(|byte| byte.is_ascii_digit());
    fits(was) && fits(is) && was.len() == is.len() && !number
}

/// Whether an array holds the parts of a version: together they are one.
fn is_parts(elements: &[String]) -> bool {
    let is_part = |text: &String| {
        let digit = text.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
        digit && text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    elements.len() <= 8 && elements.iter().all(is_part)
}

/// Nothing in it has a meaning to bash, a path or an address.
pub(super) fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    first && text.len() <= 100 && text.bytes().all(allowed) && !text.contains("..")
}

pub(super) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn a_name_says_what_a_variable_holds() {
        for name in ["_pkgver", "_tag", "_gitcommit", "_reponame_tag", "_build", "_srcrel", "_version_date"] {
            assert!(told(name).hinted, "{name}");
        }
        for name in ["_buildhost", "_relay", "_server", "_stage", "_share_dir", "_relpath", "_x"] {
            assert!(!told(name).hinted, "{name}");
        }
        assert!(told("_buildhost").other && !told("_tagname").other && told("_signed_hash").key);
    }
}

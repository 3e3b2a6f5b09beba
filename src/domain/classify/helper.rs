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
    // It counts within a version, so it begins anew with the next.
    let counts = feeds && told.hinted && both(is_count);
    let fits = (feeds || both(is_no_mode)) && (told.hinted || both(shape::is_bare));
    let newer = fits && is_newer_version(was, is) && !forms.left_behind(was, is);
    (counts || newer || is_short_commit(was, is)).then_some("helper-moved")
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

fn is_count(text: &str) -> bool {
    text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text that a function is given cannot be the mode of a file.
fn is_no_mode(text: &str) -> bool {
    !matches!(text.len(), 3 | 4) || !text.bytes().all(|byte| (b'0'..b'8').contains(&byte))
}

fn is_short_commit(was: &str, is: &str) -> bool {
    let fits = |text: &str| (7..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits(was) && fits(is) && was.len() == is.len()
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

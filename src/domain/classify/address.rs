//! Where a source comes from, and whether that is where it came from before.

use super::entries::Entry;
use super::helper::{is_commit, keeps_pin};
use super::recipe::shown_value;
use super::step::Step;
use super::{PKGBUILD, Reason, Weight, reason};
use crate::domain::folder::Folder;
use crate::domain::pkgbuild::Source;

/// Hosts that are not what they look like, and paths that lead elsewhere.
pub(super) fn is_disguised(text: &str) -> bool {
    let source = Source::split(text);
    let path = source.path.to_ascii_lowercase();
    let climbs = path.split('/').any(|part| part == "..") || path.contains("%2e");
    let elsewhere = source.name.is_some_and(|name| name.contains('/'));
    source.is_remote()
        && (source.authority.contains(['@', '\\']) || !source.authority.is_ascii() || climbs || elsewhere)
}

/// What happened to the address of one source.
pub(super) fn address(
    was: &Entry<'_>,
    is: &Entry<'_>,
    (step, flows): (&Step, bool),
    (known, line): (&Folder, Option<u32>),
) -> Option<Reason> {
    if was.text == is.text {
        return None;
    }
    let (before, after) = (was.source(), is.source());
    let shown = |entry: &Entry<'_>| shown_value(&[entry.text.to_owned()]);
    let of = |code, weight, message: &str| {
        let (was, is) = (shown(was), shown(is));
        Some(reason(code, weight, (PKGBUILD, line), Some(was.as_bytes()), Some(is.as_bytes()), message))
    };
    if is_disguised(is.text) && !is_disguised(was.text) {
        return of("path-escape", Weight::Hostile, "an address is disguised, or climbs out of its path");
    }
    if !after.is_remote() && !before.is_remote() {
        // A file that was there already is another one, whatever it is called.
        let follows = (flows || step.forms.moved(was.text, is.text)) && known.get(after.file()).is_none();
        return if follows {
            None
        } else {
            of("source-changed", Weight::Review, "another file of the package is used")
        };
    }
    if before.authority != after.authority || before.is_remote() != after.is_remote() || before.vcs != after.vcs {
        return of("source-host", Weight::Trust, "a source is fetched from another place");
    }
    if before.owner() != after.owner() && !owner_kept(before.owner(), after.owner(), step) {
        return of("source-owner", Weight::Trust, "a source is fetched from another account or project");
    }
    if before.scheme != after.scheme
        && (before.scheme, after.scheme) != ("http", "https")
        && (before.scheme, after.scheme) != ("git", "https")
    {
        return of("source-scheme", Weight::Trust, "a source is fetched by a protocol that protects less");
    }
    let kind =
        |source: &Source<'_>| source.fragment.map(|fragment| fragment.split('=').next().unwrap_or_default().to_owned());
    if kind(&before) != kind(&after) || before.query != after.query && before.vcs.is_some() {
        return of("source-pin", Weight::Trust, "what pins the source to a state is of another kind, or gone");
    }
    if !keeps_pins((&before, was.text), (&after, is.text)) {
        return of("source-pin", Weight::Trust, "the source was pinned to a commit, and is pinned to a name now");
    }
    let rest = |source: &Source<'_>| {
        let owner = source.owner().map_or(0, str::len);
        [
            source.path[owner.min(source.path.len())..].to_owned(),
            source.query.unwrap_or_default().to_owned(),
            source.name.unwrap_or_default().to_owned(),
        ]
    };
    let kept = before.query.is_some() == after.query.is_some() && before.name.is_some() == after.name.is_some();
    let follows = kept && rest(&before).iter().zip(&rest(&after)).all(|(was, is)| moved(was, is, step));
    let pinned = moved(before.fragment.unwrap_or_default(), after.fragment.unwrap_or_default(), step);
    if !pinned && !flows {
        return of("source-pin", Weight::Trust, "the source is pinned to another state, and not with the version");
    }
    if !follows && !flows {
        return of("source-changed", Weight::Trust, "the address changed, and not only with the version");
    }
    if before.scheme == after.scheme {
        None
    } else {
        of("https", Weight::Stronger, "a source is fetched over https now")
    }
}

/// Whether an address that names a commit goes on to name one: a name in its place may be that of anything.
fn keeps_pins((before, was): (&Source<'_>, &str), (after, is): (&Source<'_>, &str)) -> bool {
    let lengths = |text: &str| -> Vec<usize> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        words.filter(|word| is_commit(word)).map(str::len).collect()
    };
    let pinned = |source: &Source<'_>| {
        let (kind, pin) = source.fragment?.split_once('=')?;
        matches!(kind, "commit" | "revision").then(|| pin.to_owned())
    };
    let short = match (pinned(before), pinned(after)) {
        (Some(was), Some(is)) => keeps_pin(&was, &is),
        _ => true,
    };
    short && lengths(was) == lengths(is)
}

/// Owner and repository may not move, apart from a version in the name of the repository.
pub(super) fn owner_kept(before: Option<&str>, after: Option<&str>, step: &Step) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    let (Some((owner, was)), Some((same, is))) = (before.split_once('/'), after.split_once('/')) else { return false };
    owner == same && step.forms.moved(was, is)
}

/// Whether a text moved with the version, whole commit ids included.
pub(super) fn moved(was: &str, is: &str, step: &Step) -> bool {
    step.forms.moved(was, is) || (step.forward && step.forms.moved(was, &with_commits_of(was, is)))
}

/// The text with the whole commit ids of another that stand in the same places.
fn with_commits_of(was: &str, is: &str) -> String {
    let words = |text: &str| -> Vec<String> {
        text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()).map(str::to_owned).collect()
    };
    let (before, after) = (words(was), words(is));
    if before.len() != after.len() {
        return is.to_owned();
    }
    let bare = |word: &str| word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    let kept = |(was, is): (&String, &String)| {
        let (commit_old, commit_new) = (bare(was), bare(is));
        let pins = is_commit(&commit_old) && is_commit(&commit_new) && commit_old.len() == commit_new.len();
        if pins { commit_old + &is[commit_new.len()..] } else { is.clone() }
    };
    before.iter().zip(&after).map(kept).collect()
}

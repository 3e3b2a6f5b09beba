//! Decides, per package, what the AUR's index and a git branch together mean: pure functions, no I/O.
//!
//! The index and the git repository are two views of one thing that are taken at different times. The
//! AUR's own git server is never behind the index. A mirror may be behind it by minutes or, when it is
//! ill, by days; and it may be ahead of it, since the index is only written every few minutes. A commit
//! id is therefore what decides. Times decide two lesser things only: how long a package is asked about
//! again although nothing new is announced, and how an answer is called meanwhile.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};

use crate::domain::name::Oid;
use crate::domain::state::Cursor;
use crate::domain::version::Version;

/// For this long after a change is announced, a package on a mirror is asked about in every pass, even
/// if what is announced has been dealt with: two pushes with one version between two updates of the
/// mirror look like one.
pub const SETTLING: SignedDuration = SignedDuration::from_hours(24);

/// Where the commits are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A copy that may be behind the index.
    Mirror,
    /// The AUR itself.
    Aur,
}

/// What the index says about a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// When the AUR took the last push, in unix seconds.
    pub stamp: i64,
    /// The version of that push.
    pub version: Version,
}

/// What a commit says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The commit the branch points to.
    pub commit: Oid,
    /// When it was made, by the clock of whoever made it, in unix seconds.
    pub time: i64,
    /// The version its `.SRCINFO` gives; `None` if that cannot be read.
    pub version: Option<Version>,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The files are those that were dealt with. The cursor is there if it is to be moved.
    Unmoved(Option<Cursor>),
    /// There are files to deal with.
    Moved {
        /// What to remember afterwards.
        cursor: Cursor,
        /// The index announces a newer version than these files have.
        behind: bool,
    },
    /// What was announced is not there yet.
    Behind,
}

/// Whether the git side has to be asked, given what the index says.
#[must_use]
pub fn must_ask(announced: &Announced, cursor: Option<&Cursor>, origin: Origin, now: Timestamp) -> bool {
    let dealt_with = cursor.is_some_and(|cursor| cursor.stamp == Some(announced.stamp));
    !dealt_with || (origin == Origin::Mirror && is_settling(announced.stamp, now))
}

/// Whether the branch being at `tip` settles the matter without reading the commit.
#[must_use]
pub fn from_tip(tip: Oid, announced: Option<&Announced>, cursor: Option<&Cursor>, origin: Origin) -> Option<Verdict> {
    let cursor = cursor.filter(|cursor| cursor.commit == tip)?;
    match announced {
        None => Some(Verdict::Unmoved(None)),
        Some(announced) if cursor.stamp == Some(announced.stamp) => Some(Verdict::Unmoved(None)),
        Some(announced) if origin == Origin::Aur => Some(Verdict::Unmoved(Some(stamped(tip, Some(announced.stamp))))),
        Some(_) => None,
    }
}

/// What the commit at the tip of the branch means.
#[must_use]
pub fn from_commit(
    seen: &Seen,
    announced: Option<&Announced>,
    cursor: Option<&Cursor>,
    origin: Origin,
    now: Timestamp,
) -> Verdict {
    if let Some(verdict) = from_tip(seen.commit, announced, cursor, origin) {
        return verdict;
    }
    let known = cursor.filter(|cursor| cursor.commit == seen.commit);
    match (announced, origin) {
        (None, _) => Verdict::Moved { cursor: stamped(seen.commit, None), behind: false },
        (Some(announced), Origin::Aur) => {
            Verdict::Moved { cursor: stamped(seen.commit, Some(announced.stamp)), behind: false }
        }
        (Some(announced), Origin::Mirror) => match known {
            Some(cursor) => known_on_mirror(seen, announced, cursor.stamp, now),
            None => new_on_mirror(seen, announced),
        },
    }
}

/// A commit that has not been dealt with. If its version is not the announced one, the announced push is
/// still to come or the index is still to be written: the cursor gets no stamp, so it is asked again.
fn new_on_mirror(seen: &Seen, announced: &Announced) -> Verdict {
    let order = seen.version.as_ref().map_or(Ordering::Equal, |version| version.cmp(&announced.version));
    let stamp = (order == Ordering::Equal).then_some(announced.stamp);
    Verdict::Moved { cursor: stamped(seen.commit, stamp), behind: order == Ordering::Less }
}

/// The commit that was dealt with last, while the index announces something that was not known then.
fn known_on_mirror(seen: &Seen, announced: &Announced, stamp: Option<i64>, now: Timestamp) -> Verdict {
    let order = seen.version.as_ref().map_or(Ordering::Equal, |version| version.cmp(&announced.version));
    let confirmed = Verdict::Unmoved(Some(stamped(seen.commit, Some(announced.stamp))));
    match (stamp, order) {
        // The mirror was ahead of the index when the commit was dealt with, if it was made after what the
        // index had then. Otherwise a push without a new version is still to come.
        (Some(stamp), Ordering::Equal) if stamp < seen.time && seen.time <= announced.stamp => confirmed,
        (Some(_), _) | (None, Ordering::Less) => Verdict::Behind,
        (None, Ordering::Equal) if !is_settling(announced.stamp, now) => confirmed,
        (None, Ordering::Equal | Ordering::Greater) => Verdict::Unmoved(None),
    }
}

fn is_settling(stamp: i64, now: Timestamp) -> bool {
    Timestamp::from_second(stamp).is_ok_and(|changed| now.duration_since(changed) < SETTLING)
}

const fn stamped(commit: Oid, stamp: Option<i64>) -> Cursor {
    Cursor { commit, stamp, version: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;
    /// The index says that the last push was at this second.
    const PUSHED: i64 = 1_750_000_000;

    fn oid(digit: char) -> Oid {
        digit.to_string().repeat(40).parse().expect("valid")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn announced() -> Announced {
        Announced { stamp: PUSHED, version: Version::new("2-1") }
    }

    fn seen(commit: char, time: i64, version: &str) -> Seen {
        Seen { commit: oid(commit), time, version: Some(Version::new(version)) }
    }

    fn moved(commit: char, stamp: Option<i64>, behind: bool) -> Verdict {
        Verdict::Moved { cursor: stamped(oid(commit), stamp), behind }
    }

    #[test]
    fn only_what_the_index_announces_is_asked_and_a_mirror_for_a_day_longer() {
        let known = stamped(oid('a'), Some(PUSHED));
        let soon = at(PUSHED + 3600);
        let later = at(PUSHED + DAY);
        let table = [
            ("never seen", None, Origin::Aur, soon, true),
            ("no stamp", Some(stamped(oid('a'), None)), Origin::Mirror, later, true),
            ("another stamp", Some(stamped(oid('a'), Some(PUSHED - 1))), Origin::Aur, soon, true),
            ("a stamp from the future", Some(stamped(oid('a'), Some(PUSHED + 1))), Origin::Aur, soon, true),
            ("dealt with", Some(known.clone()), Origin::Aur, soon, false),
            ("dealt with, and the mirror may hold a second push", Some(known.clone()), Origin::Mirror, soon, true),
            ("dealt with, and settled", Some(known), Origin::Mirror, later, false),
        ];
        for (case, cursor, origin, now, expected) in table {
            assert_eq!(must_ask(&announced(), cursor.as_ref(), origin, now), expected, "{case}");
        }
    }

    #[test]
    fn the_aur_itself_is_never_behind_its_index() {
        let now = at(PUSHED + 60);
        let old = stamped(oid('a'), Some(PUSHED - DAY));
        let verdict = |commit, version| {
            from_commit(&seen(commit, PUSHED - 9 * DAY, version), Some(&announced()), Some(&old), Origin::Aur, now)
        };
        assert_eq!(verdict('a', "1-1"), Verdict::Unmoved(Some(stamped(oid('a'), Some(PUSHED)))));
        assert_eq!(verdict('b', "2-1"), moved('b', Some(PUSHED), false));
    }

    #[test]
    fn a_mirror_is_believed_by_commit_and_version() {
        let soon = at(PUSHED + 3600);
        let later = at(PUSHED + 2 * DAY);
        let unstamped = Some(stamped(oid('a'), None));
        let before = Some(stamped(oid('a'), Some(PUSHED - DAY)));
        let same = Some(stamped(oid('a'), Some(PUSHED)));
        let kept = Verdict::Unmoved(None);
        let confirmed = Verdict::Unmoved(Some(stamped(oid('a'), Some(PUSHED))));
        let table = [
            ("first sight", None, seen('a', PUSHED, "2-1"), soon, moved('a', Some(PUSHED), false)),
            ("first sight, mirror behind", None, seen('a', PUSHED - DAY, "1-1"), soon, moved('a', None, true)),
            ("the push arrived", before.clone(), seen('b', PUSHED, "2-1"), soon, moved('b', Some(PUSHED), false)),
            ("an earlier push arrived", before.clone(), seen('b', PUSHED, "1.5-1"), soon, moved('b', None, true)),
            ("the mirror is ahead", before.clone(), seen('b', PUSHED + 9, "3-1"), soon, moved('b', None, false)),
            (
                "a second push, same version",
                same.clone(),
                seen('b', PUSHED, "2-1"),
                soon,
                moved('b', Some(PUSHED), false),
            ),
            ("dealt with", same, seen('a', PUSHED, "2-1"), soon, kept.clone()),
            ("announced, not there", before.clone(), seen('a', PUSHED - DAY, "1-1"), soon, Verdict::Behind),
            ("still not there days later", before.clone(), seen('a', PUSHED - DAY, "1-1"), later, Verdict::Behind),
            ("announced without a new version", before.clone(), seen('a', PUSHED - DAY, "2-1"), later, Verdict::Behind),
            ("was ahead, index caught up", before.clone(), seen('a', PUSHED - 9, "2-1"), soon, confirmed.clone()),
            ("made in the future", before, seen('a', PUSHED + DAY, "2-1"), soon, Verdict::Behind),
            ("unstamped, settling", unstamped.clone(), seen('a', PUSHED, "2-1"), soon, kept),
            ("unstamped, settled", unstamped.clone(), seen('a', PUSHED - 9 * DAY, "2-1"), later, confirmed),
            (
                "unstamped, index still older",
                unstamped.clone(),
                seen('a', PUSHED, "3-1"),
                later,
                Verdict::Unmoved(None),
            ),
            ("unstamped, newer announced", unstamped, seen('a', PUSHED, "1-1"), later, Verdict::Behind),
        ];
        for (case, cursor, seen, now, expected) in table {
            let verdict = from_commit(&seen, Some(&announced()), cursor.as_ref(), Origin::Mirror, now);
            assert_eq!(verdict, expected, "{case}");
        }
    }

    #[test]
    fn a_version_that_cannot_be_read_contradicts_nothing() {
        let seen = Seen { commit: oid('b'), time: PUSHED, version: None };
        let verdict = from_commit(&seen, Some(&announced()), None, Origin::Mirror, at(PUSHED + 60));
        assert_eq!(verdict, moved('b', Some(PUSHED), false));
    }

    #[test]
    fn without_the_index_the_commit_alone_decides_and_no_stamp_is_written() {
        let cursor = stamped(oid('a'), Some(PUSHED));
        let verdict =
            |commit| from_commit(&seen(commit, PUSHED, "2-1"), None, Some(&cursor), Origin::Mirror, at(PUSHED + DAY));
        assert_eq!(verdict('a'), Verdict::Unmoved(None));
        assert_eq!(verdict('b'), moved('b', None, false));
    }

    /// Whatever a mirror shows and whenever, a package whose newest push has not been dealt with is asked
    /// about again: the update between index and mirror is never lost.
    #[test]
    fn an_update_in_the_window_between_index_and_mirror_is_not_lost() {
        for delay in [60, 3600, 20 * 3600] {
            for (first, second) in [("1-1", "2-1"), ("2-1", "2-1")] {
                let mut cursor = Some(stamped(oid('0'), Some(PUSHED - DAY)));
                let newest = Announced { stamp: PUSHED + 30, version: Version::new(second) };
                for now in [at(PUSHED + 40), at(PUSHED + delay), at(PUSHED + delay + 3600)] {
                    let caught_up = now >= at(PUSHED + delay) && now > at(PUSHED + 40);
                    let tip = if caught_up { seen('2', PUSHED + 30, second) } else { seen('1', PUSHED, first) };
                    if must_ask(&newest, cursor.as_ref(), Origin::Mirror, now) {
                        match from_commit(&tip, Some(&newest), cursor.as_ref(), Origin::Mirror, now) {
                            Verdict::Moved { cursor: next, .. } | Verdict::Unmoved(Some(next)) => cursor = Some(next),
                            Verdict::Unmoved(None) | Verdict::Behind => {}
                        }
                    }
                }
                assert_eq!(cursor.map(|cursor| cursor.commit), Some(oid('2')), "{delay} {first} {second}");
            }
        }
    }
}

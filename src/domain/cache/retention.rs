//! What goes first where room is short.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

/// Of archives that replace each other, so many of the newest are kept.
const KEPT_OF_A_KIND: usize = 2;

/// An archive as far as this decision goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its number in the index.
    pub id: i64,
    /// The object with its content, which others may share.
    pub sha256: String,
    /// The size of the object in bytes.
    pub size: u64,
    /// Which archives replace each other: those of the same kind, if it is one that is renewed.
    pub kind: Option<String>,
    /// When it was saved.
    pub created: Timestamp,
    /// When a build last used it.
    pub last_used: Timestamp,
    /// Whether a build uses it now.
    pub in_use: bool,
    /// Whether nobody finds it any more.
    pub condemned: bool,
    /// Of which package it is.
    pub package: String,
    /// Whether a test build of a proposal saved it.
    pub proposed: bool,
}

/// For whom room is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// For builds that are published, and to keep what there is within its limits.
    Releases,
    /// For test builds of proposals: whoever may propose takes no room from what is published.
    Proposals,
}

/// How much of the room for all caches one package may be about to save, or all test builds of proposals together.
#[must_use]
pub const fn share(quota: u64, whom: Whom) -> u64 {
    match whom {
        Whom::Releases => quota / 2,
        Whom::Proposals => quota / 4,
    }
}

/// The numbers of those that have to go, so that all objects together have no more than `quota` bytes: first what has
/// been replaced, then what is condemned, then what proposals have saved, then what a package has beyond its share of
/// `all`, then the rest; of each, what has been unused for longest. What is in use never goes, and for proposals nothing
/// goes but theirs.
#[must_use]
pub fn evicted(held: &[Held], quota: u64, all: u64, whom: Whom) -> BTreeSet<i64> {
    let may_go = |archive: &Held| !archive.in_use && (archive.proposed || whom == Whom::Releases);
    let mut gone = replaced(held);
    gone.retain(|id| held.iter().any(|archive| archive.id == *id && may_go(archive)));
    let mut references = BTreeMap::<&str, (u64, usize)>::new();
    for archive in held.iter().filter(|archive| !gone.contains(&archive.id)) {
        references.entry(&archive.sha256).or_insert((archive.size, 0)).1 += 1;
    }
    let mut total: u64 = references.values().map(|(size, _)| size).sum();
    let beyond = beyond_share(held, share(all, Whom::Releases));
    let mut by_use: Vec<&Held> = held.iter().filter(|archive| may_go(archive) && !gone.contains(&archive.id)).collect();
    by_use.sort_by_key(|archive| (turn(archive, &beyond), archive.last_used, archive.id));
    for archive in by_use {
        if total <= quota {
            break;
        }
        gone.insert(archive.id);
        let (size, count) = references.get_mut(&*archive.sha256).expect("it was counted");
        *count -= 1;
        if *count == 0 {
            total -= *size;
        }
    }
    gone
}

/// Who goes before whom, beside when they were used.
fn turn(archive: &Held, beyond: &BTreeSet<i64>) -> u8 {
    match archive {
        _ if archive.condemned => 0,
        _ if archive.proposed => 1,
        _ if beyond.contains(&archive.id) => 2,
        _ => 3,
    }
}

/// What packages have beyond so many bytes each: what they used last is within.
fn beyond_share(held: &[Held], share: u64) -> BTreeSet<i64> {
    let mut last_first: Vec<&Held> = held.iter().collect();
    last_first.sort_by_key(|archive| std::cmp::Reverse((archive.last_used, archive.id)));
    let mut have = BTreeMap::<&str, u64>::new();
    let beyond = last_first.into_iter().filter(|archive| {
        let has = have.entry(&archive.package).or_default();
        *has = has.saturating_add(archive.size);
        *has > share
    });
    beyond.map(|archive| archive.id).collect()
}

fn replaced(held: &[Held]) -> BTreeSet<i64> {
    let mut kinds = BTreeMap::<&str, Vec<&Held>>::new();
    for archive in held {
        if let Some(kind) = &archive.kind {
            kinds.entry(kind).or_default().push(archive);
        }
    }
    let old = kinds.into_values().flat_map(|mut archives| {
        archives.sort_by_key(|archive| std::cmp::Reverse((archive.created, archive.id)));
        archives.into_iter().skip(KEPT_OF_A_KIND)
    });
    old.filter(|archive| !archive.in_use).map(|archive| archive.id).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn archive() -> impl Strategy<Value = Held> {
        (0..6u8, 0..40u64, proptest::option::of("[ab]"), 0..50i64, 0..50i64, any::<[bool; 3]>(), "[pq]").prop_map(
            |(sha, size, kind, created, last_used, [in_use, condemned, proposed], package)| Held {
                id: 0,
                sha256: format!("{sha}/{size}"),
                size,
                kind,
                created: Timestamp::from_second(created).unwrap(),
                last_used: Timestamp::from_second(last_used).unwrap(),
                in_use,
                condemned,
                package,
                proposed,
            },
        )
    }

    fn size(held: &[Held]) -> u64 {
        held.iter().map(|archive| (&archive.sha256, archive.size)).collect::<BTreeMap<_, _>>().into_values().sum()
    }

    proptest! {
        #[test]
        fn what_is_left_fits_and_nothing_in_use_goes(mut held in proptest::collection::vec(archive(), 0..20), quota in 0..200u64) {
            for (id, archive) in (1..).zip(&mut held) {
                archive.id = id;
            }
            let gone = evicted(&held, quota, quota, Whom::Releases);
            let beyond = beyond_share(&held, quota / 2);
            prop_assert!(held.iter().all(|archive| !(archive.in_use && gone.contains(&archive.id))));
            let left: Vec<_> = held.iter().filter(|archive| !gone.contains(&archive.id)).cloned().collect();
            let (used, free): (Vec<_>, Vec<_>) = left.iter().cloned().partition(|archive| archive.in_use);
            prop_assert!(size(&left) <= quota || free.is_empty(), "{} of {quota}, {used:?}", size(&left));
            // Whatever went without being replaced was condemned, or had been unused for at least as long as what stayed.
            let replaced = replaced(&held);
            let went = held.iter().filter(|archive| gone.contains(&archive.id) && !replaced.contains(&archive.id));
            for went in went {
                let place = |archive: &Held| (turn(archive, &beyond), archive.last_used);
                prop_assert!(free.iter().all(|stayed| place(went) <= place(stayed)));
            }
            let for_proposals = evicted(&held, quota, quota, Whom::Proposals);
            prop_assert!(held.iter().all(|archive| archive.proposed || !for_proposals.contains(&archive.id)));
        }
    }

    #[test]
    fn of_what_replaces_each_other_the_newest_two_stay() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let held: Vec<Held> = (1..=4)
            .map(|id| Held {
                id,
                sha256: id.to_string(),
                size: 1,
                kind: Some("k".into()),
                created: at(id),
                last_used: at(9 - id),
                in_use: id == 1,
                condemned: false,
                package: "p".into(),
                proposed: false,
            })
            .collect();
        assert_eq!(evicted(&held, 100, 100, Whom::Releases), [2].into());
        assert_eq!(evicted(&[], 0, 0, Whom::Releases), BTreeSet::new());
    }

    #[test]
    fn a_package_that_has_more_than_its_share_makes_room_for_others_with_its_own() {
        let held = |id, package: &str, proposed, used| Held {
            id,
            sha256: id.to_string(),
            size: 30,
            kind: None,
            created: Timestamp::UNIX_EPOCH,
            last_used: Timestamp::from_second(used).unwrap(),
            in_use: false,
            condemned: false,
            package: package.into(),
            proposed,
        };
        let mut all = vec![held(1, "small", false, 1), held(2, "large", false, 2), held(3, "large", false, 3)];
        assert_eq!(evicted(&all, 60, 100, Whom::Releases), [2].into(), "though `small` was unused for longer");
        all.push(held(4, "large", true, 9));
        assert_eq!(evicted(&all, 90, 100, Whom::Releases), [4].into(), "what is proposed goes before");
        assert_eq!(evicted(&all, 0, 100, Whom::Proposals), [4].into());
    }
}

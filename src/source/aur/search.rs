//! Finds out which of many branches can be fetched, when they cannot all be fetched at once: pure, no I/O.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::name::PkgBase;
use crate::source::failure::{Cause, Failure};

/// Fetches in one pass at most.
const MOST: usize = 200;
/// After so many single branches that failed before anything succeeded, the mirror itself is what is broken.
const IN_VAIN: usize = 3;

/// What came of one fetch.
#[derive(Debug)]
pub enum Outcome {
    /// Everything was brought here.
    Fetched,
    /// Nothing was, because of this one.
    Lacks(PkgBase, Failure),
    /// Nothing was, and fewer branches may succeed.
    Failed(Failure),
    /// Nothing was, and nothing will be.
    Hopeless(Failure),
}

/// One search. It takes all at once first, and halves what fails, so that what works arrives early.
#[derive(Debug)]
pub struct Search {
    batches: VecDeque<Vec<PkgBase>>,
    fetched: Vec<PkgBase>,
    failed: BTreeMap<PkgBase, Failure>,
    fetches: usize,
}

impl Search {
    /// A search for these.
    pub fn new(pkgbases: Vec<PkgBase>) -> Self {
        let batches = VecDeque::from([pkgbases]);
        Self { batches, fetched: Vec::new(), failed: BTreeMap::new(), fetches: 0 }
    }

    /// What to fetch next.
    pub fn next(&mut self) -> Option<Vec<PkgBase>> {
        self.batches.retain(|batch| !batch.is_empty());
        self.batches.pop_front()
    }

    /// Learns what came of fetching what [`Search::next`] gave.
    pub fn learn(&mut self, mut batch: Vec<PkgBase>, outcome: Outcome) {
        self.fetches += 1;
        match outcome {
            Outcome::Fetched => self.fetched.append(&mut batch),
            Outcome::Lacks(pkgbase, failure) if batch.contains(&pkgbase) && self.fetches < MOST => {
                batch.retain(|other| *other != pkgbase);
                self.failed.insert(pkgbase, failure);
                self.batches.push_front(batch);
            }
            Outcome::Failed(failure) | Outcome::Lacks(_, failure) if self.fetches < MOST => {
                if batch.len() > 1 {
                    let rest = batch.split_off(batch.len() / 2);
                    self.batches.push_front(rest);
                    self.batches.push_front(batch);
                    return;
                }
                let cause = Cause::Question;
                self.failed.extend(batch.into_iter().map(|pkgbase| (pkgbase, Failure { cause, ..failure.clone() })));
                if self.fetched.is_empty() && self.failed.len() >= IN_VAIN {
                    self.give_up(&failure);
                }
            }
            Outcome::Failed(failure) | Outcome::Lacks(_, failure) | Outcome::Hopeless(failure) => {
                self.batches.push_front(batch);
                self.give_up(&failure);
            }
        }
    }

    /// What was brought here, and why the others were not.
    pub fn end(self) -> (Vec<PkgBase>, BTreeMap<PkgBase, Failure>) {
        (self.fetched, self.failed)
    }

    /// The fault does not lie in what is left; nor in what failed before, if nothing ever succeeded.
    fn give_up(&mut self, failure: &Failure) {
        let passing = Failure::passing(failure.text.clone());
        if self.fetched.is_empty() {
            self.failed.values_mut().for_each(|failure| failure.cause = Cause::Passing);
        }
        let left = self.batches.drain(..).flatten();
        self.failed.extend(left.map(|pkgbase| (pkgbase, passing.clone())));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(number: usize) -> PkgBase {
        PkgBase::new(&format!("p{number:03}")).expect("legal")
    }

    /// Searches among so many, of which some are broken: fetches, those that arrived, those that did not.
    fn search(count: usize, broken: &[usize], names_it: bool) -> (usize, Vec<PkgBase>, BTreeMap<PkgBase, Failure>) {
        let broken: Vec<PkgBase> = broken.iter().map(|&number| name(number)).collect();
        let mut search = Search::new((0..count).map(name).collect());
        while let Some(batch) = search.next() {
            let found = batch.iter().find(|pkgbase| broken.contains(pkgbase)).cloned();
            let outcome = match found {
                None => Outcome::Fetched,
                Some(pkgbase) if names_it => Outcome::Lacks(pkgbase, Failure::passing("gone")),
                Some(_) => Outcome::Failed(Failure::passing("the remote end hung up")),
            };
            search.learn(batch, outcome);
        }
        let fetches = search.fetches;
        let (fetched, failed) = search.end();
        (fetches, fetched, failed)
    }

    #[test]
    fn without_trouble_there_is_one_fetch_and_with_a_name_one_more_for_each() {
        assert_eq!(search(200, &[], false).0, 1);
        let (fetches, fetched, failed) = search(200, &[3, 50, 199], true);
        assert_eq!((fetches, fetched.len(), failed.len()), (4, 197, 3));
        assert_eq!(search(0, &[], false).0, 0);
    }

    #[test]
    fn twenty_broken_branches_of_two_hundred_stop_none_of_the_others() {
        let broken: Vec<usize> = (0..20).map(|number| number * 10 + number % 7).collect();
        let (fetches, fetched, failed) = search(200, &broken, false);
        assert_eq!((fetched.len(), failed.len()), (180, 20));
        assert!(failed.values().all(|failure| failure.cause == Cause::Question), "{failed:?}");
        assert!(fetches <= MOST, "{fetches}");
    }

    #[test]
    fn a_mirror_that_gives_nothing_is_soon_given_up_and_no_package_is_blamed() {
        let (fetches, fetched, failed) = search(200, &(0..200).collect::<Vec<_>>(), false);
        assert!(fetches < 15, "{fetches}");
        assert_eq!((fetched.len(), failed.len()), (0, 200));
        assert!(failed.values().all(|failure| failure.cause == Cause::Passing));
        let mut hopeless = Search::new((0..9).map(name).collect());
        let batch = hopeless.next().expect("all of them");
        hopeless.learn(batch, Outcome::Hopeless(Failure::elsewhere("the disk is full")));
        assert!(hopeless.next().is_none());
        assert_eq!(hopeless.end().1.len(), 9);
    }

    proptest! {
        #[test]
        fn everybody_has_exactly_one_answer(broken in prop::collection::btree_set(0_usize..60, 0..60), names_it: bool) {
            let (fetches, fetched, failed) = search(60, &broken.into_iter().collect::<Vec<_>>(), names_it);
            prop_assert!(fetches <= MOST);
            prop_assert_eq!(fetched.len() + failed.len(), 60);
            prop_assert!(fetched.iter().all(|pkgbase| !failed.contains_key(pkgbase)));
        }
    }
}

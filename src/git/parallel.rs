//! Reading much of a repository on every core.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{GitError, Repository};

/// Fewer than this are not worth a thread, which opens the repository anew.
const WORTH_A_THREAD: usize = 100;
/// More threads than this wait for memory.
const MAX_THREADS: usize = 8;
/// Items are taken this many at a time: neighbours are often stored as differences from each other.
const AT_ONCE: usize = 50;

impl Repository {
    /// Does the same work for every item on several threads, and gives the results in the order of the
    /// items. The work is handed a repository that is its thread's own, which does not see what this one
    /// collects in memory.
    ///
    /// # Errors
    /// The first error in the order of the items, or that the repository cannot be opened again.
    pub fn map<T, R, E>(&self, items: &[T], work: impl Fn(&Self, &T) -> Result<R, E> + Sync) -> Result<Vec<R>, E>
    where
        T: Sync,
        R: Send,
        E: From<GitError> + Send,
    {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
        let threads = threads.min(items.len() / WORTH_A_THREAD).max(1);
        let (next, path, work) = (&AtomicUsize::new(0), self.common_dir(), &work);
        let mut done = std::thread::scope(|scope| {
            let other = || Ok::<_, GitError>(take(&Self::open(path)?, items, next, work));
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(other)).collect();
            let mut done = take(self, items, next, work);
            for other in others {
                done.extend(other.join().expect("the work does not panic")?);
            }
            Ok::<_, GitError>(done)
        })?;
        done.sort_by_key(|(number, _)| *number);
        let mut results = Vec::with_capacity(items.len());
        for (_, batch) in done {
            results.append(&mut batch?);
        }
        Ok(results)
    }
}

/// Takes batch after batch until there are no more. A thread that is held up, by another process perhaps,
/// takes fewer than the others.
fn take<T, R, E>(
    git: &Repository,
    items: &[T],
    next: &AtomicUsize,
    work: &impl Fn(&Repository, &T) -> Result<R, E>,
) -> Vec<(usize, Result<Vec<R>, E>)> {
    let batch = |number: usize| items.chunks(AT_ONCE).nth(number).map(|batch| (number, batch));
    let taken = std::iter::from_fn(|| batch(next.fetch_add(1, Ordering::Relaxed)));
    taken.map(|(number, batch)| (number, batch.iter().map(|item| work(git, item)).collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;
    use crate::domain::name::Oid;

    #[test]
    fn results_come_in_the_order_of_the_items_and_the_first_error_wins() {
        let world = World::new();
        let repository = world.bare("repo");
        let write = |number: usize| repository.write_blob(number.to_string().as_bytes()).expect("written");
        for count in [0, 1, WORTH_A_THREAD, 2 * WORTH_A_THREAD, 10 * WORTH_A_THREAD + 1] {
            let ids: Vec<_> = (0..count).map(write).collect();
            let read = repository.map(&ids, |git, id| git.blob(*id, 10)).expect("read");
            let expected: Vec<_> = (0..count).map(|number| number.to_string().into_bytes()).collect();
            assert_eq!(read, expected);
        }
        let numbers: Vec<usize> = (0..10 * WORTH_A_THREAD).collect();
        let failing = |_: &Repository, &number: &usize| match number {
            7 | 800 => Err(GitError::TooLarge { id: Oid::from_bytes([0; 20]), size: number, max: 0 }),
            _ => Ok(()),
        };
        assert!(matches!(repository.map(&numbers, failing), Err(GitError::TooLarge { size: 7, .. })));
    }
}

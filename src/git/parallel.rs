//! Reading much of a repository on every core.

use std::num::NonZero;

use super::{GitError, Repository};

/// Fewer than this are not worth a thread, which opens the repository anew.
const WORTH_A_THREAD: usize = 100;
/// More threads than this wait for memory.
const MAX_THREADS: usize = 8;

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
        let (own, others) = items.split_at(items.len() / threads);
        let (path, work) = (self.common_dir().to_owned(), &work);
        std::thread::scope(|scope| {
            let chunks = others.chunks(others.len().div_ceil(threads.max(2) - 1).max(1));
            let others: Vec<_> = chunks
                .map(|chunk| {
                    let path = &path;
                    scope.spawn(move || {
                        let git = Self::open(path)?;
                        chunk.iter().map(|item| work(&git, item)).collect::<Result<Vec<R>, E>>()
                    })
                })
                .collect();
            let mut results = own.iter().map(|item| work(self, item)).collect::<Result<Vec<R>, E>>()?;
            for other in others {
                results.append(&mut other.join().expect("the work does not panic")?);
            }
            Ok(results)
        })
    }
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

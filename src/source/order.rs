//! In which order a pass asks about many things.
//!
//! A pass that runs out of time leaves some out. The next one begins with them, also in another process:
//! otherwise those at the end would never be asked.

use std::path::PathBuf;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::budget::Budget;
use crate::sys::fs::{FsError, write_atomic};

/// Remembers where a pass stopped.
#[derive(Debug)]
pub struct Order {
    file: PathBuf,
}

impl Order {
    /// Remembers it in this file, which may be deleted at any time.
    pub const fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// Asks about everything at once, in the order in which turns are taken: beginning where the last pass
    /// stopped. `items` are sorted by `name`; `failed` tells what may have been left out.
    pub async fn ask_all<'a, T, A, F: Future<Output = A>>(
        &self,
        items: &'a [T],
        name: impl Fn(&T) -> &str,
        budget: &Budget,
        ask: impl Fn(&'a T) -> F,
        failed: impl Fn(&A) -> bool,
    ) -> Vec<(&'a T, A)> {
        let first = self.first();
        let (sooner, later) = items.split_at(items.partition_point(|item| name(item) < first.as_str()));
        let (ask, failed) = (&ask, &failed);
        let running = FuturesUnordered::new();
        for (place, item) in later.iter().chain(sooner).enumerate() {
            running.push(async move {
                let answer = ask(item).await;
                let left_out = failed(&answer) && budget.is_over();
                (item, answer, left_out.then_some(place))
            });
        }
        let answers: Vec<_> = running.collect().await;
        let left_out = answers.iter().filter_map(|(item, _, place)| Some((place.as_ref()?, item)));
        self.remember(left_out.min_by_key(|(place, _)| **place).map(|(_, item)| name(item)));
        answers.into_iter().map(|(item, answer, _)| (item, answer)).collect()
    }

    /// Who was left out first; empty if nobody was, as far as it is known.
    fn first(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap_or_default()
    }

    fn remember(&self, left_out: Option<&str>) {
        let result = match left_out {
            Some(name) => write_atomic(&self.file, name.as_bytes()),
            None if self.file.exists() => {
                std::fs::remove_file(&self.file).map_err(|error| FsError::new("remove", &self.file, error))
            }
            None => Ok(()),
        };
        if let Err(error) = result {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the next pass asks in the same order as this one"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    /// One pass over single letters by a process of its own: who is asked, in order. Those after the first
    /// `answers` get none, for which the pass has `time` or not.
    async fn pass(dir: &tempfile::TempDir, letters: &str, answers: usize, time: Duration) -> String {
        let order = Order::new(dir.path().join("cache/next"));
        let letters: Vec<String> = letters.chars().map(String::from).collect();
        let asked = Mutex::new(String::new());
        let ask = async |letter: &String| {
            let mut asked = asked.lock().unwrap();
            asked.push_str(letter);
            if asked.len() <= answers { Ok(()) } else { Err(()) }
        };
        let budget = Budget::new(1, 1, time);
        let answered = order.ask_all(&letters, |letter| letter, &budget, ask, Result::is_err).await;
        assert_eq!(answered.len(), letters.len());
        asked.into_inner().unwrap()
    }

    #[tokio::test]
    async fn a_pass_begins_where_the_last_one_stopped_and_all_have_their_turn() {
        let dir = tempfile::tempdir().unwrap();
        let mut orders = Vec::new();
        for answers in [2, 2, 2, 0, 5, 5] {
            orders.push(pass(&dir, "abcde", answers, Duration::ZERO).await);
        }
        assert_eq!(orders, ["abcde", "cdeab", "eabcd", "bcdea", "bcdea", "abcde"]);
    }

    #[tokio::test]
    async fn whoever_was_left_out_and_is_gone_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        pass(&dir, "abcd", 2, Duration::ZERO).await;
        assert_eq!(pass(&dir, "abd", 0, Duration::ZERO).await, "dab");
        assert_eq!(pass(&dir, "ab", 0, Duration::ZERO).await, "ab");
    }

    #[tokio::test]
    async fn failures_for_which_there_was_time_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            assert_eq!(pass(&dir, "abc", 1, Duration::from_hours(1)).await, "abc");
        }
    }
}

//! Asks the AUR itself package by package: a few at once, each in a workspace of its own, and with the pauses that
//! the monorepo asks for.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::git::{Contents, Direct};
use super::rule::Origin;
use super::{Asked, Files};
use crate::source::SourceAnswer;
use crate::source::budget::Budget;
use crate::source::failure::Failure;
use crate::source::order::Order;
use crate::telemetry::progress;

/// Those who ask.
#[derive(Debug)]
pub struct Workers {
    direct: Direct,
    delay: Duration,
    order: Order,
    permits: Semaphore,
    workspaces: Mutex<Vec<PathBuf>>,
}

impl Workers {
    /// As many as `count`, each of whom waits for `delay` before each package.
    pub fn new(direct: Direct, delay: Duration, count: usize, folder: &Path) -> Self {
        let count = count.max(1);
        let workspaces = (0..count).map(|number| folder.join(format!("direct-{number}.git"))).collect();
        let order = Order::new(folder.join("direct.next"));
        Self { direct, delay, order, permits: Semaphore::new(count), workspaces: Mutex::new(workspaces) }
    }

    /// What the AUR has for these packages.
    pub async fn ask_all(&self, asked: &[Asked<'_>], budget: &Budget, now: Timestamp) -> Files {
        let progress = progress::counted("asking the AUR for packages", asked.len());
        let ask = async |asked: &Asked<'_>| {
            let answer = self.ask(asked, budget, now).await;
            progress.advance();
            answer
        };
        let failed = |answer: &SourceAnswer| matches!(answer, SourceAnswer::Unknown { .. });
        let answers = self.order.ask_all(asked, |asked| asked.pkgbase.as_str(), budget, ask, failed).await;
        answers.into_iter().map(|(asked, answer)| (asked.pkgbase.clone(), answer)).collect()
    }

    async fn ask(&self, asked: &Asked<'_>, budget: &Budget, now: Timestamp) -> SourceAnswer {
        let _permit = self.permits.acquire().await.expect("never closed");
        if let Err(reason) = self.direct.refusal(asked.pkgbase, budget) {
            return reason.into();
        }
        tokio::time::sleep(self.delay).await;
        match self.direct.tip(asked.pkgbase, budget).await {
            Err(failure) => failure.into(),
            Ok(None) => Failure::question(format!("{} has no commits", self.direct.url(asked.pkgbase))).into(),
            Ok(Some(tip)) => match asked.judge_tip(tip, Origin::Aur) {
                Some(answer) => answer,
                None => self.read(asked, budget, now).await,
            },
        }
    }

    async fn read(&self, asked: &Asked<'_>, budget: &Budget, now: Timestamp) -> SourceAnswer {
        let workspace = Workspace::take(&self.workspaces);
        let content = self.direct.content(asked.pkgbase, &workspace.path, budget).await;
        asked.judge(&mut Contents::from([(asked.pkgbase.clone(), content)]), Origin::Aur, now)
    }
}

/// A workspace in use; it is given back when this is dropped, also when the work is cut short.
struct Workspace<'a> {
    free: &'a Mutex<Vec<PathBuf>>,
    path: PathBuf,
}

impl<'a> Workspace<'a> {
    fn take(free: &'a Mutex<Vec<PathBuf>>) -> Self {
        let path = free.lock().unwrap_or_else(PoisonError::into_inner).pop().expect("as many workspaces as permits");
        Self { free, path }
    }
}

impl Drop for Workspace<'_> {
    fn drop(&mut self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.path));
    }
}

//! Builds by buildomat, each as a job with one step, whose package folder is its input and whose packages are its
//! outputs.
//!
//! A job is made once: before buildomat is asked for it, that is written down, and after a restart it is looked for by
//! a tag that has the id of the attempt.

mod client;
mod follow;
mod state;
mod supply;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

pub use self::client::Client;
use self::follow::Followed;
use self::state::{Record, State};
use super::elsewhere::{Attempt, Carrier, Elsewhere};
use super::{AttemptReport, BuildOrder, ExecutorError};
use crate::builder::artefact::Expectation;
use crate::builder::bundle::bundle;
use crate::domain::upload::Limits;
use crate::logstore::LogStore;
use crate::sys::clock::Clock;
use crate::sys::fs::write_atomic;

/// The name of this executor in handles.
pub const NAME: &str = "buildomat";

/// The script that builds where no other is given: as root on Arch Linux.
pub const SCRIPT: &str = include_str!("../../../examples/command/build.sh");

/// How long is waited where nothing else is said.
pub const PAUSE: Duration = Duration::from_secs(1);

/// How long a build may be out of sight where nothing else is said.
pub const LOST_AFTER: Duration = Duration::from_hours(24);

/// No build begins with less room than this for what it makes: 64 MiB.
const MIN_FREE: u64 = 64 << 20;

/// How builds are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Making {
    /// The kind of machine.
    pub target: String,
    /// What is run there. It finds the build in `PKGWARDEN_BUILD`, or in the file that `PKGWARDEN_BUILD_FILE` names if it
    /// is long, the package folder as a tar archive in `/input/package.tar`, and leaves packages in `/out`.
    pub script: String,
}

/// Has packages built by buildomat.
pub type BuildomatExecutor = Elsewhere<Buildomat>;

/// A buildomat server.
pub struct Buildomat {
    /// The way to it.
    pub client: Client,
    /// How builds are made.
    pub making: Making,
    /// How much a job may leave.
    pub limits: Limits,
    /// How long to wait before something is looked at again that nobody tells of, and at first before something is
    /// asked again that was not answered.
    pub pause: Duration,
    /// How long a build may be out of sight until it counts as lost: because buildomat is away, or because what it
    /// prints cannot be written down.
    pub lost_after: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Carrier for Buildomat {
    fn name(&self) -> &'static str {
        NAME
    }

    fn min_free(&self) -> u64 {
        MIN_FREE
    }

    fn has(&self, dir: &Path) -> bool {
        State::at(dir).record().is_some()
    }

    fn accept(&self, order: &BuildOrder, dir: &Path, logs: &LogStore) -> Result<(), ExecutorError> {
        let state = State::at(dir);
        let bad = |reason: String| ExecutorError::BadOrder { attempt: order.attempt.clone(), reason };
        let package = bundle(&order.files).map_err(|error| bad(error.to_string()))?;
        write_atomic(&state.package(), &package)?;
        let mut log = logs.writer(&order.attempt)?;
        log.note(&format!("by buildomat, on {}", self.making.target))?;
        drop(log);
        state.write_record(&Record {
            name: format!("{}-{}", order.pkgbase, order.attempt),
            build: serde_json::to_string(&order.job()).expect("texts and numbers are JSON"),
            log_begins: logs.position(&order.attempt)?.len,
            may_take: i64::try_from(order.may_take().as_millis()).unwrap_or(i64::MAX),
            skip_exit_code: order.skip_exit_code,
            expected: Expectation::of(&order.pkgbase, &order.arch, &order.files),
        })?;
        Ok(())
    }

    fn follow<'a>(&'a self, attempt: &'a mut Attempt) -> BoxFuture<'a, AttemptReport> {
        let state = State::at(&attempt.dir);
        async move {
            match state.record() {
                Some(record) => Followed::new(self, state, record, attempt).see_through().await,
                None => AttemptReport::lost("what was known of the build is gone from the disk"),
            }
        }
        .boxed()
    }

    /// The end of what nobody waits for is on record, so its job is over, or was cancelled.
    fn abandon(&self, _dir: &Path) {}
}

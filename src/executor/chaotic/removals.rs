//! Removals that a manager carries out, which may take longer than anybody here waits.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::Trouble;
use crate::executor::Kept;

/// How long it is waited after one that the manager refused.
const REFUSED: Duration = Duration::from_mins(10);
/// How long it is waited for a manager that is away.
const AWAY: Duration = Duration::from_secs(5);

/// The removals, by repository.
#[derive(Default)]
pub struct Removals(Mutex<HashMap<String, Removal>>);

enum Removal {
    /// The manager is at it.
    Underway(Kept, AbortOnDropHandle<Result<(), Trouble>>),
    /// It went wrong, and is tried again then.
    Waits(Instant),
}

impl Removals {
    /// Has a removal carried out by this; whether it is done. To be called again until it is.
    pub async fn carry_out<F>(&self, kept: Kept, remove: impl FnOnce(Kept) -> F) -> bool
    where
        F: Future<Output = Result<(), Trouble>> + Send + 'static,
    {
        let repo = kept.repo.clone();
        let known = self.0.lock().expect("nobody panics with it").remove(&repo);
        let next = match known {
            Some(Removal::Underway(asked, task)) if task.is_finished() => match ended(task).await {
                Ok(()) if asked == kept => return true,
                // Others have left since.
                Ok(()) => begin(kept, remove),
                // That it is away is told by whoever waits for builds.
                Err(Trouble::Away(_)) => Removal::Waits(Instant::now() + AWAY),
                Err(trouble) => {
                    tracing::error!(repository = repo, "packages that left stay published: {trouble}");
                    Removal::Waits(Instant::now() + REFUSED)
                }
            },
            Some(Removal::Waits(until)) if until > Instant::now() => Removal::Waits(until),
            Some(underway @ Removal::Underway(..)) => underway,
            Some(Removal::Waits(_)) | None => begin(kept, remove),
        };
        self.0.lock().expect("nobody panics with it").insert(repo, next);
        false
    }
}

fn begin<F>(kept: Kept, remove: impl FnOnce(Kept) -> F) -> Removal
where
    F: Future<Output = Result<(), Trouble>> + Send + 'static,
{
    Removal::Underway(kept.clone(), AbortOnDropHandle::new(tokio::spawn(remove(kept))))
}

async fn ended(task: AbortOnDropHandle<Result<(), Trouble>>) -> Result<(), Trouble> {
    task.await.unwrap_or_else(|error| Err(Trouble::Away(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::PkgBase;

    fn kept(names: &[&str]) -> Kept {
        let packages = names.iter().map(|name| PkgBase::new(name).unwrap()).collect();
        Kept { repo: "repo".into(), arch: "x86_64".into(), packages }
    }

    #[tokio::test(start_paused = true)]
    async fn a_removal_is_done_when_the_manager_says_so_and_what_was_refused_is_tried_again_later() {
        let removals = Removals::default();
        let good = |_| async { Ok(()) };
        let bad = |_| async { Err(Trouble::Refused("no".to_owned())) };
        let over = || tokio::time::sleep(Duration::from_millis(1));
        assert!(!removals.carry_out(kept(&["a"]), bad).await);
        over().await;
        assert!(!removals.carry_out(kept(&["a"]), good).await, "this hears that it was refused");
        over().await;
        assert!(!removals.carry_out(kept(&["a"]), good).await, "it is not tried again at once");
        tokio::time::sleep(REFUSED).await;
        assert!(!removals.carry_out(kept(&["a"]), good).await);
        over().await;
        assert!(removals.carry_out(kept(&["a"]), good).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_left_while_a_removal_was_under_way_is_asked_for_too() {
        let removals = Removals::default();
        let good = |_| async { Ok(()) };
        let over = || tokio::time::sleep(Duration::from_millis(1));
        assert!(!removals.carry_out(kept(&["a", "b"]), good).await);
        over().await;
        assert!(!removals.carry_out(kept(&["a"]), good).await);
        over().await;
        assert!(removals.carry_out(kept(&["a"]), good).await);
    }
}

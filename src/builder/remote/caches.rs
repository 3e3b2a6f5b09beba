//! Tells the controller which archives a build used and saved on this machine.

use std::time::Duration;

use reqwest::Method;

use super::{Came, Client, RemoteError, Rest, refused};
use crate::domain::cache::told::Told;

/// How long the controller is waited for. It is told for people to see, and nothing depends on it.
const PATIENCE: Duration = Duration::from_secs(30);

impl Client {
    /// Tells it, if there is anything to tell and somebody who wants to know; told twice, it is the same.
    ///
    /// # Errors
    /// [`RemoteError`], if the controller does not want to know.
    pub async fn tell_caches(&self, told: &[Told]) -> Result<(), RemoteError> {
        let Some(place) = self.places.used_caches.as_ref().filter(|_| !told.is_empty()) else { return Ok(()) };
        let telling = async {
            let mut rest = Rest::default();
            loop {
                match self.ask(self.request(Method::PUT, place).json(told)).await {
                    Came::Answer(answer) if answer.status().is_success() => return Ok(()),
                    Came::Answer(answer) => return Err(refused("to hear of caches", answer).await),
                    Came::Nothing(after) => rest.take(after).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, telling).await.unwrap_or(Ok(()))
    }
}

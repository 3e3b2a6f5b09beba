//! Tells the controller that this builder has the build, and no other.

use reqwest::Method;

use super::{Came, Client, RemoteError, Rest, accepted};

/// The header of every request with it.
pub const HEADER: &str = "claim";

impl Client {
    /// The same, for a builder that has the build by this word: that of its lock.
    #[must_use]
    pub fn holding(self, claim: &str) -> Self {
        let claim = self.places.claim.is_some().then(|| claim.to_owned());
        Self { claim, ..self }
    }

    /// Has the controller serve nobody else from now on, where it knows of such claims. To be done before anything else.
    ///
    /// # Errors
    /// [`RemoteError::Over`] if another builder has the build; an absent controller is waited for.
    pub async fn claim(&self) -> Result<(), RemoteError> {
        let Some(url) = &self.places.claim else { return Ok(()) };
        let mut rest = Rest::default();
        loop {
            match self.ask(self.request(Method::PUT, url)).await {
                Came::Answer(answer) => return accepted("the claim", answer).await.map(drop),
                Came::Nothing(after) => rest.take(after).await,
            }
        }
    }
}

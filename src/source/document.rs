//! The body of an answer, in bounded memory.

use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;

use super::lsremote::LsError;

/// A longer document is not read: 16 MiB.
pub const LARGEST: usize = 16 << 20;

/// The JSON document that a server answers with. `url` is shown in errors.
pub async fn json<T: DeserializeOwned>(response: Response, url: &str) -> Result<T, LsError> {
    let body = body(response, url).await?;
    serde_json::from_slice(&body).map_err(|error| unusable(url, error.to_string()))
}

/// The document that a server answers with.
pub async fn body(mut response: Response, url: &str) -> Result<Vec<u8>, LsError> {
    if response.status() != StatusCode::OK {
        return Err(LsError::status(url.to_owned(), &response));
    }
    let mut body = Vec::new();
    let unreachable =
        |source: reqwest::Error| LsError::Unreachable { url: url.to_owned(), source: source.without_url() };
    while let Some(piece) = response.chunk().await.map_err(unreachable)? {
        if body.len() + piece.len() > LARGEST {
            return Err(unusable(url, format!("it is longer than {LARGEST} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// An answer that cannot be used.
pub fn unusable(url: &str, reason: impl Into<String>) -> LsError {
    LsError::Answer { url: url.to_owned(), reason: reason.into() }
}

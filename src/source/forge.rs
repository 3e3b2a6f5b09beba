//! Asks the APIs of forges, each with its own address and token: a token never goes to another host.

use std::path::PathBuf;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use serde::de::DeserializeOwned;

use super::error_text;
use super::lsremote::{LsError, host, shown};
use crate::sys::secret::{self, ExposeSecret as _, SecretString};

/// A longer answer is not read: 16 MiB.
const LARGEST: usize = 16 << 20;

/// Where a forge is, and how it knows us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgeConfig {
    /// Its address, without a slash at the end. Repositories are below it.
    pub url: String,
    /// Its API, without a slash at the end.
    pub api_url: String,
    /// File with an access token.
    pub token_file: Option<PathBuf>,
}

/// The forges that projects are on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgesConfig {
    /// GitLab, where a source names no other.
    pub gitlab: ForgeConfig,
    /// GitHub.
    pub github: ForgeConfig,
    /// The Gitea or Forgejo that the token is for.
    pub gitea: ForgeConfig,
}

/// Asks for documents.
#[derive(Debug)]
pub struct Forges {
    client: reqwest::Client,
    tokens: Vec<(String, Result<SecretString, String>)>,
}

impl Forges {
    /// Reads the tokens. One that cannot be read is told when its forge is asked.
    pub fn new(client: reqwest::Client, config: &ForgesConfig) -> Self {
        let token = |forge: &ForgeConfig| {
            let file = forge.token_file.as_ref()?;
            Some((host(&forge.api_url).to_owned(), secret::from_file(file).map_err(|error| error_text(&error))))
        };
        Self { client, tokens: [&config.gitlab, &config.github, &config.gitea].into_iter().filter_map(token).collect() }
    }

    /// Why a forge cannot be asked at all; `Ok` if it can.
    pub fn usable(&self, url: &str) -> Result<(), String> {
        let token = self.tokens.iter().find(|(known, _)| known == host(url));
        token.map_or(Ok(()), |(_, token)| token.as_ref().map(drop).map_err(Clone::clone))
    }

    /// The document at an address.
    pub async fn json<T: DeserializeOwned>(&self, url: &str) -> Result<T, LsError> {
        let shown = || shown(url.split('?').next().unwrap_or(url));
        let unreachable = |source: reqwest::Error| LsError::Unreachable { url: shown(), source: source.without_url() };
        let mut request = self.client.get(url).header(ACCEPT, "application/json");
        if let Some((_, Ok(token))) = self.tokens.iter().find(|(known, _)| known == host(url))
            && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
        {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let mut response = request.send().await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(LsError::Status { url: shown(), status: response.status() });
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            if body.len() + piece.len() > LARGEST {
                return Err(LsError::Answer { url: shown(), reason: format!("it is longer than {LARGEST} bytes") });
            }
            body.extend_from_slice(&piece);
        }
        serde_json::from_slice(&body).map_err(|error| LsError::Answer { url: shown(), reason: error.to_string() })
    }
}

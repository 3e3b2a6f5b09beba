//! Asks the APIs of forges, each with its own address and token: a token never goes to another host.

use std::path::PathBuf;

use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::de::DeserializeOwned;

use super::lsremote::{LsError, host, shown};
use super::{document, error_text};
use crate::sys::secret::{self, ExposeSecret as _, SecretString};

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

    /// Whether there is a token for the forge at this address.
    pub fn has_token(&self, url: &str) -> bool {
        self.tokens.iter().any(|(known, token)| known == host(url) && token.is_ok())
    }

    /// The document at an address.
    pub async fn json<T: DeserializeOwned>(&self, url: &str) -> Result<T, LsError> {
        self.answer(self.client.get(url), url).await
    }

    /// What an interface for queries answers to this one.
    pub async fn query<T: DeserializeOwned>(&self, url: &str, query: &str) -> Result<T, LsError> {
        let body = serde_json::json!({ "query": query }).to_string();
        self.answer(self.client.post(url).header(CONTENT_TYPE, "application/json").body(body), url).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder, url: &str) -> Result<T, LsError> {
        let shown = shown(url.split('?').next().unwrap_or(url));
        let mut request = request.header(ACCEPT, "application/json");
        if let Some((_, Ok(token))) = self.tokens.iter().find(|(known, _)| known == host(url))
            && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
        {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        match request.send().await {
            Ok(response) => document::json(response, &shown).await,
            Err(source) => Err(LsError::Unreachable { url: shown, source: source.without_url() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Json;
    use axum::http::HeaderMap;

    use super::*;
    use crate::source::document::LARGEST;
    use crate::sys::http;

    /// A forge that answers with the token it was shown, and under `/long` with more than anybody reads.
    async fn forge() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shown = |headers: HeaderMap| async move {
            Json(headers.get(AUTHORIZATION).map(|value| value.to_str().expect("text").to_owned()))
        };
        let long = || async { vec![b' '; LARGEST + 1] };
        let app = axum::Router::new().route("/long", axum::routing::get(long)).fallback(shown);
        tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        url
    }

    #[tokio::test]
    async fn a_token_is_shown_to_its_own_forge_only_and_a_missing_one_is_told() {
        let (ours, other) = (forge().await, forge().await);
        let dir = tempfile::tempdir().expect("dir");
        let token_file = dir.path().join("token");
        std::fs::write(&token_file, "hush-hush\n").expect("written");
        let config = |token_file| ForgesConfig {
            gitlab: ForgeConfig { url: ours.clone(), api_url: format!("{ours}/api/v4"), token_file: Some(token_file) },
            ..ForgesConfig::default()
        };
        let forges = Forges::new(http::client(Duration::from_secs(20)), &config(token_file));
        let shown = async |url: &str| forges.json::<Option<String>>(&format!("{url}/x")).await.expect("answered");
        assert_eq!(shown(&ours).await.as_deref(), Some("Bearer hush-hush"));
        assert_eq!(shown(&other).await, None);
        let without = Forges::new(http::client(Duration::from_secs(20)), &config(dir.path().join("none")));
        assert!(without.usable(&ours).expect_err("no token").contains("cannot read the secret"));
        assert_eq!(without.usable(&other), Ok(()));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_end_is_not_read_to_its_end() {
        let url = forge().await;
        let forges = Forges::new(http::client(Duration::from_mins(1)), &ForgesConfig::default());
        let error = forges.json::<Vec<String>>(&format!("{url}/long?page=1")).await.expect_err("too long");
        let expected = format!("the answer of {url}/long cannot be used: it is longer than {LARGEST} bytes");
        assert_eq!(error.to_string(), expected);
    }
}

//! Asks a git repository somewhere for the commits of a few refs: over HTTP by ourselves, without a
//! process for each, and through the git program for everything else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};
use tokio::sync::OnceCell;

use super::advert::{Advert, AdvertError, Progress};
use super::failure::{Cause, rest_asked_for};
use super::vcs::program::ProgramError;
use crate::domain::name::Oid;
use crate::git::{GitError, Remote, Repository};
use crate::sys::http;
use crate::sys::process::ProcessError;

/// More of a ref list is not read: some 800,000 refs.
const ADVERT_LIMIT: usize = 64 << 20;

const SMART: &str = "application/x-git-upload-pack-advertisement";

/// Schemes that are asked. Others may make git run programs (`ext::`), or cannot be cloned by makepkg.
const SCHEMES: [&str; 5] = ["http", "https", "git", "ssh", "file"];

/// A repository that could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum LsError {
    /// The address is not one that is ever asked.
    #[error("address `{url}` refused: {reason}")]
    Refused {
        /// The address, safe to show.
        url: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("cannot reach {url}")]
    Unreachable {
        /// The address, safe to show.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server answers with something else than refs.
    #[error("{url} answers {status}{}", remedy(*status))]
    Status {
        /// The address, safe to show.
        url: String,
        /// The answer.
        status: StatusCode,
        /// For how long it wants to be left alone, if it says so.
        after: Option<Duration>,
    },
    /// It takes too long.
    #[error("{url} did not answer within {} s", after.as_secs_f64())]
    TooSlow {
        /// The address, safe to show.
        url: String,
        /// The time it was given.
        after: Duration,
    },
    /// What it answers cannot be used.
    #[error("{url}: {source}")]
    Advert {
        /// The address, safe to show.
        url: String,
        /// Why.
        source: AdvertError,
    },
    /// The document it answers with cannot be used.
    #[error("the answer of {url} cannot be used: {reason}")]
    Answer {
        /// The address, safe to show.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The git program had no success.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The program of another version control system had no success.
    #[error("{url}: {source}")]
    Program {
        /// The address, safe to show.
        url: String,
        /// Why not.
        source: ProgramError,
    },
}

impl LsError {
    /// Whether nobody answered at all: the name does not resolve, nobody listens, nothing comes. A refusal
    /// is an answer.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !source.is_redirect(),
            Self::TooSlow { .. } => true,
            Self::Git(error) => error.is_silence(),
            Self::Program { source, .. } => source.is_silence(),
            Self::Refused { .. } | Self::Status { .. } | Self::Advert { .. } | Self::Answer { .. } => false,
        }
    }

    /// The error for an answer of a server that is none.
    pub fn status(url: String, response: &Response) -> Self {
        Self::Status { url, status: response.status(), after: rest_asked_for(response.headers()) }
    }

    /// Whose doing it is.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::Status { after: Some(after), .. } => Cause::Wait(Some(*after)),
            Self::Status { status: StatusCode::TOO_MANY_REQUESTS, .. } => Cause::Wait(None),
            Self::Status { status, .. } if status.is_server_error() => Cause::Server,
            Self::Program { source: ProgramError::Process(ProcessError::Missing { .. }), .. } => Cause::Elsewhere,
            _ if self.is_silence() => Cause::Server,
            _ => Cause::Question,
        }
    }
}

fn remedy(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            ": the repository is private, has moved, or is gone"
        }
        StatusCode::TOO_MANY_REQUESTS => ": it is asked too often",
        _ => "",
    }
}

/// Asks repositories for refs.
#[derive(Debug, Clone)]
pub struct RefReader {
    client: reqwest::Client,
    workspace: PathBuf,
    timeout: Duration,
    /// Whether the workspace is there: two that make it at once are in each other's way.
    ready: Arc<OnceCell<()>>,
}

impl RefReader {
    /// Gives each repository `timeout`. The git program runs in the bare repository `workspace`.
    #[must_use]
    pub fn new(client: reqwest::Client, workspace: PathBuf, timeout: Duration) -> Self {
        Self { client, workspace, timeout, ready: Arc::default() }
    }

    /// The commits of those of `refs` (full names, or `HEAD`) that exist. An address that a stranger wrote
    /// goes through [`check`] before.
    pub async fn tips(&self, url: &str, refs: &[&str]) -> Result<BTreeMap<String, Oid>, LsError> {
        let ask = async {
            if is_http(url)
                && let Some(read) = self.over_http(url, Advert::new(refs.iter().copied(), ADVERT_LIMIT)).await?
            {
                return Ok(read.found());
            }
            let patterns: Vec<String> = refs.iter().map(|&name| name.to_owned()).collect();
            Ok(self.remote(url).await?.ls(&patterns).await?)
        };
        self.in_time(url, ask).await
    }

    /// The tags, by their full names in the order of the server. An annotated tag has its own id. An address
    /// that a stranger wrote goes through [`check`] before.
    pub async fn tags(&self, url: &str) -> Result<Vec<(String, Oid)>, LsError> {
        let ask = async {
            if is_http(url)
                && let Some(read) = self.over_http(url, Advert::listing("refs/tags/", ADVERT_LIMIT)).await?
            {
                return Ok(read.listed());
            }
            Ok(self.remote(url).await?.tags().await?)
        };
        self.in_time(url, ask).await
    }

    async fn in_time<T>(&self, url: &str, ask: impl Future<Output = Result<T, LsError>>) -> Result<T, LsError> {
        let slow = || LsError::TooSlow { url: shown(url), after: self.timeout };
        tokio::time::timeout(self.timeout, ask).await.unwrap_or_else(|_| Err(slow()))
    }

    /// `None` if the server only hands out files ("dumb" HTTP): the git program can cope with that.
    async fn over_http(&self, url: &str, mut advert: Advert) -> Result<Option<Advert>, LsError> {
        let unreachable =
            |source: reqwest::Error| LsError::Unreachable { url: shown(url), source: source.without_url() };
        let address = format!("{}/info/refs?service=git-upload-pack", url.trim_end_matches('/'));
        let mut response = self.client.get(address).send().await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(LsError::status(shown(url), &response));
        }
        if response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != SMART) {
            return Ok(None);
        }
        let broken = |source| LsError::Advert { url: shown(url), source };
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            if advert.push(&piece).map_err(broken)? == Progress::Done {
                return Ok(Some(advert));
            }
        }
        Err(broken(AdvertError::Truncated))
    }

    /// The repository, for the git program.
    async fn remote(&self, url: &str) -> Result<Remote, LsError> {
        let create = || async {
            let workspace = self.workspace.clone();
            let created = tokio::task::spawn_blocking(move || Repository::create_workspace(&workspace, None).map(drop));
            created.await.expect("creating a repository does not panic")
        };
        self.ready.get_or_try_init(create).await?;
        Ok(Remote::new(self.workspace.clone(), url.to_owned()).timeout(self.timeout))
    }
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

/// Refuses addresses that nobody needs in a PKGBUILD and that could make git do something else than ask.
pub fn check(url: &str) -> Result<(), LsError> {
    let refuse = |reason| LsError::Refused { url: shown(url), reason };
    if url.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(refuse("it contains spaces or control characters"));
    }
    let (scheme, rest) = url.split_once("://").ok_or_else(|| refuse("it has no `scheme://`"))?;
    if !SCHEMES.contains(&scheme) {
        return Err(refuse("only http, https, git, ssh and file are asked"));
    }
    if rest.starts_with('-') || host(url).starts_with('-') {
        return Err(refuse("its host begins with a hyphen"));
    }
    if url::Url::parse(url).is_ok_and(|url| http::is_link_local(&url)) {
        return Err(refuse("it is link-local"));
    }
    if host(url).is_empty() && scheme != "file" {
        return Err(refuse("it names no host"));
    }
    Ok(())
}

/// The host part of an address; empty for files.
pub fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// The address without user and password and without control characters, cut to a sensible length.
pub fn shown(url: &str) -> String {
    let without_user = match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let start = rest[..end].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[start..])
        }
        None => url.to_owned(),
    };
    without_user.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_could_make_git_run_something_are_refused() {
        let hostile = [
            "--upload-pack=touch /tmp/x",
            "-x://host/r",
            "ext::sh -c id",
            "ext::sh://x",
            "ssh://-oProxyCommand=id/r",
            "ssh://git@-oProxyCommand=id/r",
            "https://host/a\nb",
            "https:///r.git",
            "ftp://host/r",
            "user@host:r.git",
            "http://169.254.169.254/r",
            "",
        ];
        for url in hostile {
            assert!(matches!(check(url), Err(LsError::Refused { .. })), "{url}");
        }
        for url in ["https://host/r.git", "ssh://git@host:22/r", "git://host/r", "file:///srv/r.git"] {
            assert!(check(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(shown("https://user:pa@ss@host/r@x"), "https://host/r@x");
        assert_eq!(shown("https://host/\u{1b}[31m"), "https://host/\u{fffd}[31m");
        assert_eq!(host("https://user:pw@host:8080/r"), "host:8080");
    }
}

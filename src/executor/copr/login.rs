//! The file with the API login, as COPR hands it out and `copr-cli` reads it.

use std::path::Path;

use url::Url;

use super::CoprError;
use crate::sys::secret::{self, ExposeSecret as _, SecretString};

/// The section of the file.
const SECTION: &str = "[copr-cli]";

/// Who we are at a COPR server.
#[derive(Debug, Clone)]
pub struct Login {
    /// The server.
    pub url: Url,
    /// Our name there; empty if the file does not say it.
    pub username: String,
    /// The two halves of what proves it.
    pub login: SecretString,
    /// The second of them.
    pub token: SecretString,
}

impl Login {
    /// Reads the file.
    ///
    /// # Errors
    /// [`CoprError::Login`] if it cannot be read, or something is missing in it.
    pub fn read(path: &Path) -> Result<Self, CoprError> {
        let bad = |reason: String| CoprError::Login { path: path.to_owned(), reason };
        let text = secret::from_file(path).map_err(|error| bad(error.to_string()))?;
        parse(text.expose_secret()).map_err(bad)
    }

    /// The same login, for another address.
    #[must_use]
    pub fn at(self, url: Option<Url>) -> Self {
        Self { url: url.unwrap_or(self.url), ..self }
    }
}

fn parse(text: &str) -> Result<Login, String> {
    let value = |wanted: &str| {
        let lines = text.lines().map(str::trim).skip_while(|line| *line != SECTION).skip(1);
        let mut keys = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
        let found = keys.find(|(key, _)| key.trim() == wanted).map(|(_, value)| value.trim().to_owned());
        found.filter(|value| !value.is_empty())
    };
    if !text.lines().any(|line| line.trim() == SECTION) {
        return Err(format!("it has no section {SECTION}"));
    }
    let (Some(login), Some(token)) = (value("login"), value("token")) else {
        let gssapi = if value("gssapi").is_some() { "; a ticket (gssapi) is of no use here" } else { "" };
        return Err(format!("`login` and `token` have to be in it{gssapi}"));
    };
    let url = value("copr_url").ok_or("`copr_url` has to be in it")?;
    let url = Url::parse(&url).map_err(|error| format!("`copr_url` is no address: {error}"))?;
    let username = value("username").unwrap_or_default();
    Ok(Login { url, username, login: login.into(), token: token.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_read_as_copr_hands_it_out() {
        let text = "# expires 2026-12-01\n[copr-cli]\nlogin = abc\nusername = me\ntoken = de=f\n\
                    copr_url = https://copr.example\n# done\n[other]\ntoken = x\n";
        let login = parse(text).expect("a login");
        assert_eq!((login.login.expose_secret(), login.token.expose_secret()), ("abc", "de=f"));
        assert_eq!((login.url.as_str(), login.username.as_str()), ("https://copr.example/", "me"));
        assert!(!format!("{login:?}").contains("de=f"));
    }

    #[test]
    fn what_is_missing_is_said_without_what_is_there() {
        for (text, said) in [
            ("token = secret", "no section [copr-cli]"),
            ("[copr-cli]\ntoken = secret\n[x]\nlogin = y", "`login` and `token` have to be in it"),
            ("[copr-cli]\ngssapi = true", "a ticket (gssapi) is of no use"),
            ("[copr-cli]\ntoken = secret\nlogin = a", "`copr_url` has to be in it"),
            ("[copr-cli]\ntoken = secret\nlogin = a\ncopr_url = copr", "no address"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(said) && !error.contains("secret"), "{error}");
        }
    }
}

//! Addresses of repositories: which are handed to git, and how they are shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use super::GitError;
use super::command::SecretSetting;

/// Schemes that git may be told to use.
const SCHEMES: [&str; 5] = ["file", "git", "http", "https", "ssh"];

/// An address that may be handed to git, taken apart from the password that was in it.
#[derive(Debug, Clone)]
pub(super) struct Address {
    url: String,
    login: Option<(String, SecretString)>,
}

impl Address {
    /// Refuses what git would take for an option, or for the name of a program to run.
    pub(super) fn parse(text: &str) -> Result<Self, GitError> {
        let refuse =
            |reason| Err(GitError::RefusedUrl { url: without_password(text).escape_debug().to_string(), reason });
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.starts_with('-') {
            return refuse("it starts with a hyphen");
        }
        if text.chars().any(char::is_control) {
            return refuse("it has control characters");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text.split_once("::") {
                // `host::path` and `[::1]:path` do not exist as paths either, so nothing is lost.
                Some(_) => refuse("`NAME::` addresses can run programs"),
                None => Ok(Self { url: text.to_owned(), login: None }),
            };
        };
        if !SCHEMES.contains(&scheme) {
            return refuse("only file, git, http, https and ssh are allowed");
        }
        if rest.starts_with('-') || rest.contains("@-") {
            return refuse("its host starts with a hyphen");
        }
        if rest.is_empty() {
            return refuse("it names no host");
        }
        Ok(Self::split(scheme, rest).unwrap_or_else(|| Self { url: text.to_owned(), login: None }))
    }

    /// Takes the password out of `http://user:password@host/…`.
    fn split(scheme: &str, rest: &str) -> Option<Self> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, host) = authority.rsplit_once('@').filter(|_| scheme.starts_with("http"))?;
        let (user, password) = login.split_once(':')?;
        let secret = SecretString::from(percent_decoded(password));
        Some(Self { url: format!("{scheme}://{host}/{path}"), login: Some((percent_decoded(user), secret)) })
    }

    /// The address for git, without a password.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The address for people.
    pub(super) fn shown(&self) -> String {
        self.url.clone()
    }

    /// The setting that shows the token, or else the password from the address, to this server alone.
    pub(super) fn authorization(&self, token: Option<&(String, SecretString)>) -> Option<SecretSetting> {
        let (user, secret) = token.or(self.login.as_ref())?;
        let (scheme, rest) = self.url.split_once("://").filter(|(scheme, _)| scheme.starts_with("http"))?;
        let host = rest.split('/').next().unwrap_or(rest);
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let login = STANDARD.encode(format!("{user}:{}", secret.expose_secret()));
        Some(SecretSetting {
            key: format!("http.{scheme}://{host}/.extraHeader"),
            value: format!("Authorization: Basic {login}").into(),
        })
    }
}

/// The text without anything between `://` and `@`, for messages.
pub(super) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    path.map_or_else(|| format!("{scheme}://{host}"), |path| format!("{scheme}://{host}/{path}"))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> String {
        Address::parse(text).expect_err(text).to_string()
    }

    #[test]
    fn addresses_that_git_would_read_as_something_else_are_refused() {
        for text in [
            "",
            "-oProxyCommand=touch pwned",
            "--upload-pack=touch pwned",
            "ext::sh -c touch% pwned",
            "EXT::x",
            "fd::17",
            "name::https://example.org/x",
            "https://example.org/x\n--upload-pack=y",
            "ssh://-oProxyCommand=x/y",
            "ssh://git@-oProxyCommand=x/y",
            "ftp://example.org/x",
            "gopher://example.org/x",
            "https://",
            "a\0b",
        ] {
            let error = Address::parse(text).expect_err(text);
            assert!(matches!(error, GitError::RefusedUrl { .. }), "{text}: {error}");
        }
        let shown = refusal("ftp://user:hunter2@example.org/x");
        assert_eq!(
            shown,
            "`ftp://example.org/x` is refused as the address of a repository: only file, git, http, https and ssh are \
             allowed"
        );
    }

    #[test]
    fn ordinary_addresses_pass_as_they_are() {
        for text in [
            "https://aur.archlinux.org/foo.git",
            "https://user@example.org/x",
            "http://127.0.0.1:8080/x",
            "ssh://aur@aur.archlinux.org/foo.git",
            "git@github.com:owner/repo.git",
            "git://example.org/x",
            "file:///srv/git/x",
            "/srv/my git/x.git",
            "../x",
        ] {
            assert_eq!(Address::parse(text).expect(text).url(), text);
        }
    }

    #[test]
    fn a_password_leaves_the_address_and_goes_to_that_server_only() {
        let address = Address::parse("https://ci:hun%2Fter@example.org:8443/a/b.git").expect("legal");
        assert_eq!(address.url(), "https://example.org:8443/a/b.git");
        let setting = address.authorization(None).expect("has a password");
        assert_eq!(setting.key, "http.https://example.org:8443/.extraHeader");
        assert_eq!(setting.value.expose_secret(), &format!("Authorization: Basic {}", STANDARD.encode("ci:hun/ter")));
        let printed = format!("{address:?} {setting:?}");
        assert!(!printed.contains("hun/ter") && !printed.contains(setting.value.expose_secret()), "{printed}");
        let token = ("bot".to_owned(), SecretString::from("t"));
        let setting = address.authorization(Some(&token)).expect("has a token");
        assert_eq!(setting.value.expose_secret(), &format!("Authorization: Basic {}", STANDARD.encode("bot:t")));
        for other in ["/srv/x", "ssh://git@example.org/x", "git@example.org:x"] {
            assert!(Address::parse(other).expect("legal").authorization(Some(&token)).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_password_is_ever_shown(user in "[a-z]{1,5}", password in "[!-.0-9;-~]{6,12}", host in "[a-z]{1,8}") {
            prop_assume!(!password.contains(['@', '/']));
            let text = format!("https://{user}:{password}@{host}/x");
            match Address::parse(&text) {
                Ok(address) => prop_assert_eq!(address.shown(), format!("https://{host}/x")),
                Err(error) => prop_assert!(!error.to_string().contains(&password)),
            }
        }

        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC{0,40}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert!(!address.url().starts_with('-') && !address.url().is_empty());
            }
        }
    }
}

//! One request to a service as a value, and what it may depend on: tokens and mirrors.

use std::collections::BTreeMap;

use crate::sys::secret::SecretString;

/// One HTTP request.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// Where to, before mirrors.
    pub url: String,
    /// Headers that may be seen.
    pub headers: Vec<(&'static str, String)>,
    /// The value of `Authorization`.
    pub authorization: Option<SecretString>,
    /// What is sent, and what that is; `None` only asks.
    pub post: Option<Post>,
}

/// What a request sends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Post {
    /// Its media type.
    pub kind: String,
    /// The body.
    pub body: String,
}

impl Call {
    /// Asks for a document.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With `Authorization`, if there is a token.
    #[must_use]
    pub fn authorized(mut self, scheme: &str, token: Option<&SecretString>) -> Self {
        use crate::sys::secret::ExposeSecret as _;
        self.authorization = token.map(|token| format!("{scheme} {}", token.expose_secret()).into());
        self
    }

    /// Sending this.
    #[must_use]
    pub fn post(mut self, kind: impl Into<String>, body: impl Into<String>) -> Self {
        self.post = Some(Post { kind: kind.into(), body: body.into() });
        self
    }

    /// What tells it from every other request. There is one token for each host, so it has no part in it.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{} {:?} {} {:?}", self.url, self.headers, self.authorization.is_some(), self.post)
    }
}

/// Tokens for services, as in a keyfile of nvchecker: by the host in small letters, or by the name of the service.
#[derive(Debug, Clone, Default)]
pub struct Keys(BTreeMap<String, SecretString>);

impl Keys {
    /// Reads a keyfile: a table `[keys]` of texts.
    ///
    /// # Errors
    /// What is wrong with it, without showing any of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write `[keys]`, and under it lines like `\"github.com\" = \"<token>\"`";
        let table: toml::Table = text.parse().map_err(|_| format!("it is not TOML; {FORM}"))?;
        let keys =
            table.get("keys").and_then(toml::Value::as_table).ok_or_else(|| format!("it has no keys; {FORM}"))?;
        let key = |(name, value): (&String, &toml::Value)| {
            let token = value.as_str().map(str::trim).filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
            let token = token.ok_or_else(|| format!("the key `{}` is no token; {FORM}", name.escape_debug()))?;
            Ok((name.to_lowercase(), SecretString::from(token)))
        };
        keys.iter().map(key).collect::<Result<_, String>>().map(Self)
    }

    /// The token for a host. The name of the service stands for its public host only: a package may name any
    /// other host, and must not be sent that token.
    #[must_use]
    pub fn get(&self, service: &str, host: &str, public: &str) -> Option<&SecretString> {
        let host = host.to_ascii_lowercase();
        let named = || self.0.get(&format!("{service}_{host}"));
        self.0.get(&host).or_else(named).or_else(|| self.0.get(service).filter(|_| host == public))
    }
}

/// Addresses asked in place of others: by the beginning of an address, the longest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors(Vec<(String, String)>);

impl Mirrors {
    /// From what an address begins with to what it begins with then. Both end between two parts of the path.
    #[must_use]
    pub fn new(mirrors: &BTreeMap<String, String>) -> Self {
        let trimmed = |text: &String| text.trim_end_matches('/').to_owned();
        let mut mirrors: Vec<_> = mirrors.iter().map(|(from, to)| (trimmed(from), trimmed(to))).collect();
        mirrors.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        Self(mirrors)
    }

    /// The address to ask.
    #[must_use]
    pub fn apply(&self, url: &str) -> String {
        let found = self.0.iter().find_map(|(from, to)| Some((to, rest(url, from)?)));
        found.map_or_else(|| url.to_owned(), |(to, rest)| format!("{to}{rest}"))
    }
}

fn rest<'a>(url: &'a str, start: &str) -> Option<&'a str> {
    let rest = url.strip_prefix(start)?;
    (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
}

/// A text as a part of a query or a path.
#[must_use]
pub fn quoted(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A host, perhaps with a port, that can stand in an address without changing the rest of it.
///
/// # Errors
/// If it cannot.
pub fn host(text: &str) -> Result<&str, String> {
    let (name, port) = text.split_once(':').unwrap_or((text, "1"));
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let fits =
        !name.is_empty() && name.bytes().all(legal) && !name.starts_with(['-', '.']) && port.parse::<u16>().is_ok();
    if fits { Ok(text) } else { Err(format!("`host`: `{}` is not the name of a host", text.escape_debug())) }
}

/// `owner/repository`, or more parts where groups are nested.
///
/// # Errors
/// If it is something else.
pub fn project<'a>(key: &str, text: &'a str, deepest: usize) -> Result<&'a str, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+~".contains(&byte);
    let part = |part: &str| !part.is_empty() && part.bytes().all(legal) && part != "." && part != "..";
    let parts = text.split('/').count();
    if text.split('/').all(part) && (2..=deepest).contains(&parts) {
        return Ok(text);
    }
    Err(format!("`{key}`: `{}` is not of the form owner/repository", text.escape_debug()))
}

/// The name of a package in some registry.
///
/// # Errors
/// If it could change the rest of the address.
pub fn package<'a>(key: &str, text: &'a str) -> Result<&'a str, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+@/~".contains(&byte);
    if !text.is_empty() && text.bytes().all(legal) && !text.split('/').any(|part| part == "." || part == "..") {
        return Ok(text);
    }
    Err(format!("`{key}`: `{}` is not the name of a package", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::secret::ExposeSecret as _;

    #[test]
    fn a_token_goes_to_its_host_only() {
        let keys =
            Keys::parse("[keys]\ngithub = 'a'\n'Git.Example' = 'b'\ngitlab_gl.example = 'c'\n").expect_err("dotted");
        assert!(keys.contains("gitlab_gl"), "{keys}");
        let keys =
            Keys::parse("[keys]\ngithub = 'a'\n'Git.Example' = 'b'\n'gitlab_gl.example' = 'c'\n").expect("valid");
        let get = |service, host| keys.get(service, host, "github.com").map(|token| token.expose_secret().to_owned());
        assert_eq!(get("github", "github.com").as_deref(), Some("a"));
        assert_eq!(get("github", "evil.example"), None);
        assert_eq!(get("github", "git.example").as_deref(), Some("b"));
        assert_eq!(get("gitlab", "GL.example").as_deref(), Some("c"));
    }

    #[test]
    fn a_keyfile_that_is_wrong_does_not_show_what_is_in_it() {
        for text in ["token", "[keys]\na = 1", "a = 'secret'", "[keys]\na = 'se cret'"] {
            let error = Keys::parse(text).expect_err(text);
            assert!(!error.contains("secret") && error.contains("write"), "{error}");
        }
    }

    #[test]
    fn the_longest_beginning_decides_and_ends_between_parts() {
        let mirrors = [("https://a.example", "http://m/a/"), ("https://a.example/b/", "http://m/b")];
        let mirrors = Mirrors::new(&mirrors.map(|(from, to)| (from.to_owned(), to.to_owned())).into());
        let cases = [
            ("https://a.example/x?y", "http://m/a/x?y"),
            ("https://a.example/b/c", "http://m/b/c"),
            ("https://a.example?q", "http://m/a?q"),
            ("https://a.example.evil/x", "https://a.example.evil/x"),
            ("https://other/", "https://other/"),
        ];
        for (from, to) in cases {
            assert_eq!(mirrors.apply(from), to);
        }
    }

    #[test]
    fn what_could_change_an_address_is_refused() {
        for text in ["", "a b", "a/b", "a?b", "-a", "a:b", "a@b", "a#"] {
            assert!(host(text).is_err(), "{text}");
        }
        for text in ["a", "a/b/c", "../x", "a/..", "a/b?c", "a//b", "/a"] {
            assert!(project("github", text, 2).is_err(), "{text}");
        }
        assert!(project("gitlab", "a/b/c", 10).is_ok() && host("git.example:8443").is_ok());
        assert!(package("npm", "@scope/name").is_ok() && package("npm", "../x").is_err());
    }
}

//! Where a Redis server is: its URL in parts. Not how it is reached.

pub mod health;

use std::fmt;
use std::str::FromStr;

/// The port of Redis where none is written.
const PORT: u16 = 6379;
/// The port of Sentinel where none is written.
const SENTINEL_PORT: u16 = 26379;

/// A URL of Redis: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `rediss://` for TLS, or
/// `redis-sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]]…/MASTER[/DB]`. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The user to log in as, where it is not the default one.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// The server; with a master, the sentinels. Never empty.
    pub hosts: Vec<(String, u16)>,
    /// What the sentinels call the master.
    pub master: Option<String>,
    /// The number of the database.
    pub db: u8,
}

/// A text that is not the URL of a Redis server. Does not hold the text: there may be a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not the address of a Redis server: {0}; write redis://HOST:6379/0, rediss:// for TLS, or redis-sentinel://HOST,HOST/MASTER"
)]
pub struct BadRedisUrl(&'static str);

impl FromStr for RedisUrl {
    type Err = BadRedisUrl;

    fn from_str(text: &str) -> Result<Self, BadRedisUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadRedisUrl("it has no scheme"))?;
        let (tls, sentinel) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis-sentinel" => (false, true),
            "rediss-sentinel" => return Err(BadRedisUrl("TLS through Sentinel is not supported")),
            _ => return Err(BadRedisUrl("its scheme is not one of Redis")),
        };
        if rest.contains(['?', '#']) {
            return Err(BadRedisUrl("it has parameters, which nobody reads"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let (user, password) = login.map(read_login).transpose()?.unwrap_or_default();
        let default = if sentinel { SENTINEL_PORT } else { PORT };
        let hosts = hosts.split(',').map(|host| read_host(host, default)).collect::<Result<Vec<_>, _>>()?;
        if !sentinel && hosts.len() > 1 {
            return Err(BadRedisUrl("only sentinels may be several"));
        }
        let (master, db) = if sentinel { read_master(path)? } else { (None, path) };
        Ok(Self { tls, user, password, hosts, master, db: read_db(db)? })
    }
}

/// `USER`, `USER:PASSWORD` or `:PASSWORD`, with `%XX` for characters that mean something else.
fn read_login(login: &str) -> Result<(Option<String>, Option<String>), BadRedisUrl> {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let text = |part: &str| -> Result<Option<String>, BadRedisUrl> {
        if part.is_empty() { Ok(None) } else { unescape(part).map(Some) }
    };
    Ok((text(user)?, text(password)?))
}

fn unescape(text: &str) -> Result<String, BadRedisUrl> {
    const WRONG: BadRedisUrl = BadRedisUrl("`%` in the login is not followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)).ok_or(WRONG)?;
        let digits = std::str::from_utf8(digits).map_err(|_| WRONG)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| WRONG)?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| BadRedisUrl("the login is not UTF-8"))
}

fn read_host(text: &str, default: u16) -> Result<(String, u16), BadRedisUrl> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(BadRedisUrl("`[` is not closed"))?;
            (host, after.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    if host.is_empty() || !host.chars().all(legal) || (host.contains(':') && !text.starts_with('[')) {
        return Err(BadRedisUrl("it has no host that can be used"));
    }
    let port = port.map_or(Ok(default), str::parse).ok().filter(|port| *port != 0);
    Ok((host.to_owned(), port.ok_or(BadRedisUrl("its port is not a number up to 65535"))?))
}

fn read_master(path: &str) -> Result<(Option<String>, &str), BadRedisUrl> {
    let (master, db) = path.split_once('/').unwrap_or((path, ""));
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if master.is_empty() || !master.chars().all(legal) {
        return Err(BadRedisUrl("the name of the master is missing behind the sentinels"));
    }
    Ok((Some(master.to_owned()), db))
}

fn read_db(text: &str) -> Result<u8, BadRedisUrl> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text {
        "" => Ok(0),
        _ if digits => text.parse().map_err(|_| BadRedisUrl("its database is not a number up to 255")),
        _ => Err(BadRedisUrl("its database is not a number")),
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (&self.master, self.tls) {
            (Some(_), _) => "redis-sentinel",
            (None, true) => "rediss",
            (None, false) => "redis",
        };
        let host = |(host, port): &(String, u16)| {
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        };
        let hosts = self.hosts.iter().map(host).collect::<Vec<_>>().join(",");
        let master = self.master.as_ref().map(|master| format!("/{master}")).unwrap_or_default();
        write!(f, "{scheme}://{hosts}{master}/{}", self.db)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> RedisUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn each_part_is_found_and_the_password_is_never_shown() {
        let url = read("rediss://warden:p%40ss%3Aw@redis.example:7000/3");
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("warden"), Some("p@ss:w")));
        assert_eq!((url.tls, &url.hosts[..], url.db), (true, &[("redis.example".to_owned(), 7000)][..], 3));
        assert_eq!(format!("{url} {url:?}"), "rediss://redis.example:7000/3 rediss://redis.example:7000/3");
        assert_eq!(read("redis://:s3cret@host").password.as_deref(), Some("s3cret"));
        assert_eq!(read("redis://[::1]:1/0").hosts, [("::1".to_owned(), 1)]);
    }

    #[test]
    fn sentinels_are_several_and_name_a_master() {
        let url = read("redis-sentinel://:pw@one,two:7/warden/2");
        assert_eq!(url.hosts, [("one".to_owned(), 26379), ("two".to_owned(), 7)]);
        assert_eq!((url.master.as_deref(), url.db), (Some("warden"), 2));
        assert_eq!(url.to_string(), "redis-sentinel://one:26379,two:7/warden/2");
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_repeating_it() {
        for text in [
            "host",
            "http://host",
            "redis://",
            "redis://a,b",
            "redis://h:0",
            "redis://h:99999",
            "redis://h/x",
            "redis://h/300",
            "redis://u:%zz@h",
            "redis://h?x=1",
            "redis-sentinel://h",
            "rediss-sentinel://h/m",
            "redis://[::1",
            "redis://a:b:c",
        ] {
            let error = text.parse::<RedisUrl>().expect_err(text).to_string();
            assert!(error.contains("redis://HOST:6379/0"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_shown_is_read_as_the_same(text in "(redis(s|-sentinel)?://)?.{0,40}") {
            if let Ok(url) = text.parse::<RedisUrl>() {
                let plain = RedisUrl { user: None, password: None, ..url.clone() };
                prop_assert_eq!(url.to_string().parse::<RedisUrl>(), Ok(plain));
            }
        }

        #[test]
        fn a_login_survives_being_escaped(user in "\\PC{1,12}", password in "\\PC{1,12}") {
            let escape = |text: &str| text.bytes().fold(String::new(), |out, byte| format!("{out}%{byte:02x}"));
            let url = read(&format!("redis://{}:{}@h", escape(&user), escape(&password)));
            prop_assert_eq!((url.user, url.password), (Some(user), Some(password)));
        }
    }
}

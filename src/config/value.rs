//! Values of `pkgwarden.toml` that are more than text: each is checked once, where it is read, and the
//! type carries the proof from there on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::redis::RedisUrl;
use crate::domain::review::policy::Quiet;
use crate::domain::signature::is_sig_level;

/// Text that is not the value a setting needs: what is wrong, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(String);

fn invalid<T>(message: impl Into<String>) -> Result<T, InvalidValue> {
    Err(InvalidValue(message.into()))
}

/// Lets a type with `FromStr` and `Display` stand in the configuration as text.
macro_rules! as_text {
    ($type:ident) => {
        impl TryFrom<String> for $type {
            type Error = InvalidValue;
            fn try_from(text: String) -> Result<Self, InvalidValue> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}

as_text!(Address);
as_text!(RedisAddress);
as_text!(GitAddress);
as_text!(Listen);
as_text!(Period);
as_text!(CronLine);
as_text!(Zone);
as_text!(Name);
as_text!(Hours);
as_text!(SigLevel);

/// The URL of a service. Shown without its password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Address(Url);

impl Address {
    /// The whole URL, password included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL in its parts.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for Address {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        // The text is left out of the messages: it may hold a password.
        match Url::parse(text) {
            Ok(url) if ["http", "https", "redis", "rediss"].contains(&url.scheme()) && url.has_host() => Ok(Self(url)),
            Ok(_) => invalid("this URL has no scheme and host that can be used, such as https://host"),
            Err(cause) => invalid(format!("this is not a URL: {cause}")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&super::error::without_passwords(self.0.as_str()))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a Redis server is. Shown without its password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct RedisAddress(String, #[serde(skip)] RedisUrl);

impl RedisAddress {
    /// The address in its parts.
    #[must_use]
    pub const fn url(&self) -> &RedisUrl {
        &self.1
    }
}

impl FromStr for RedisAddress {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.parse() {
            Ok(url) => Ok(Self(text.to_owned(), url)),
            Err(error) => invalid(error.to_string()),
        }
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&super::error::without_passwords(&self.0))
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The address of a git repository, as git takes it: a URL, `git@host:path`, or a path. Empty for none.
/// Shown without its password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct GitAddress(String);

impl GitAddress {
    /// The whole address, password included; empty for none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GitAddress {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text.starts_with('-') || text.contains("::") || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return invalid("this is not the address of a git repository, such as https://host/path.git");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for GitAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&super::error::without_passwords(&self.0))
    }
}

impl fmt::Debug for GitAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where to listen: an IP address and a port, or `localhost` and a port. Port 0 picks a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Listen(SocketAddr);

impl Listen {
    /// As the operating system takes it.
    #[must_use]
    pub const fn socket_address(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for Listen {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        const FORM: &str = "write an IP address and a port, such as 127.0.0.1:8080";
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        match text.rsplit_once(':') {
            Some((host, port)) => match port.parse() {
                Ok(port) if host == "localhost" => Ok(Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))),
                Ok(_) => invalid(format!("`{host}` is not an IP address: {FORM}")),
                Err(_) => invalid(format!("`{port}` is not a port from 0 to 65535: {FORM}")),
            },
            None => invalid(format!("`{text}` has no port: {FORM}")),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A length of time, longer than none and at most a year: `60s`, `1h 30m`, `2 days`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Period(SignedDuration);

impl Period {
    const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

    /// As `std` and tokio take it.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0.unsigned_abs()
    }
}

impl Period {
    /// As times are counted with.
    #[must_use]
    pub const fn signed(self) -> SignedDuration {
        self.0
    }
}

impl FromStr for Period {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        const FORM: &str = "write a number and a unit, such as 60s, 30m or 1h";
        match parse_duration(text) {
            None => invalid(format!("`{text}` is not a length of time: {FORM}")),
            Some(length) if length <= SignedDuration::ZERO => invalid(format!("`{text}` is no time at all: {FORM}")),
            Some(length) if length > Self::LONGEST => invalid(format!("`{text}` is longer than a year")),
            Some(length) => Ok(Self(length)),
        }
    }
}

/// Reads jiff's friendly form; days have 24 hours.
fn parse_duration(text: &str) -> Option<SignedDuration> {
    let span: jiff::Span = text.parse().ok()?;
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

/// A time table in the five fields of cron: minute, hour, day of the month, month, day of the week.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct CronLine {
    text: String,
    #[schemars(skip)]
    cron: croner::Cron,
}

impl CronLine {
    /// The first time after `now` at which it fires in this time zone. A time that a change of clocks
    /// leaves out fires when the gap ends, and one that comes twice fires once.
    #[must_use]
    pub fn next_after(&self, now: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let now = now.to_zoned(zone.0.clone());
        self.cron.find_next_occurrence(&now, false).ok().map(|next| next.timestamp())
    }
}

impl PartialEq for CronLine {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CronLine {}

impl FromStr for CronLine {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        match parser.parse(text) {
            Ok(cron) => Ok(Self { text: text.to_owned(), cron }),
            Err(cause) => invalid(format!("`{text}` is not a cron line of five fields, such as */30 * * * *: {cause}")),
        }
    }
}

impl fmt::Display for CronLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// A time zone by its IANA name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl FromStr for Zone {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text == "UTC" {
            return Ok(Self::default());
        }
        if jiff::tz::db().is_definitively_empty() {
            return invalid("this machine has no time zone database: install the package tzdata, or write UTC");
        }
        match TimeZone::get(text) {
            Ok(zone) => Ok(Self(zone)),
            Err(_) => invalid(format!("`{text}` is not a time zone: write its IANA name, such as Europe/Berlin")),
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.iana_name().unwrap_or("UTC"))
    }
}

/// Hours of the day, such as `22:00-07:00`; they may go over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    from: Time,
    until: Time,
}

impl Hours {
    /// The hours at a place.
    #[must_use]
    pub fn at(self, zone: Zone) -> Quiet {
        Quiet { from: self.from, until: self.until, zone: zone.0 }
    }
}

impl FromStr for Hours {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let time = |text: &str| Time::strptime("%H:%M", text.trim()).ok();
        let both = text.split_once('-').and_then(|(from, until)| Some((time(from)?, time(until)?)));
        match both {
            Some((from, until)) if from != until => Ok(Self { from, until }),
            _ => invalid(format!("`{text}` are no hours of the day: write two times, such as 22:00-07:00")),
        }
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from.strftime("%H:%M"), self.until.strftime("%H:%M"))
    }
}

/// The name of a repository: it appears in paths, URLs and pacman's configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte);
        if text.is_empty() || text.starts_with(['.', '-']) || !text.bytes().all(legal) {
            return invalid(format!("`{text}` is not a name: use letters, digits and @._+-"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What pacman demands of the signatures of a repository: its `SigLevel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct SigLevel(String);

impl FromStr for SigLevel {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if !is_sig_level(text) {
            return invalid(format!(
                "`{text}` is no SigLevel: write as in pacman.conf, such as `Required DatabaseOptional`"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SigLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests;

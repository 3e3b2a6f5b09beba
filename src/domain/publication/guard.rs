//! The guard against a removal of most of a repository by mistake.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// So many may always be removed where the limit is a share, but not more than half of what is published.
const ALWAYS: usize = 10;

/// How many packages may leave a repository at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum RemovalLimit {
    /// So many.
    Count(usize),
    /// So many per cent of what is published, and never less than ten, or than half where that is less.
    Percent(u8),
}

impl Default for RemovalLimit {
    fn default() -> Self {
        Self::Percent(10)
    }
}

/// Text that is no such limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no limit of removals: write a number such as 25, or a share such as \"10 %\"")]
pub struct InvalidLimit(String);

impl RemovalLimit {
    /// Whether `leaving` of `published` packages may be removed without somebody confirming it.
    #[must_use]
    pub fn allows(self, leaving: usize, published: usize) -> bool {
        leaving <= self.of(published)
    }

    /// How many of so many published packages may be removed.
    #[must_use]
    pub fn of(self, published: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                (published.saturating_mul(percent.into()) / 100).max(ALWAYS.min(published.div_ceil(2)))
            }
        }
    }
}

impl FromStr for RemovalLimit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let invalid = || InvalidLimit(text.to_owned());
        match text.trim().strip_suffix('%') {
            Some(share) => match share.trim().parse() {
                Ok(share @ 0..=100) => Ok(Self::Percent(share)),
                _ => Err(invalid()),
            },
            None => text.trim().parse().map(Self::Count).map_err(|_| invalid()),
        }
    }
}

impl fmt::Display for RemovalLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent} %"),
        }
    }
}

/// Written as text, or as the bare number.
struct Written;

impl Visitor<'_> for Written {
    type Value = RemovalLimit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number such as 25, or a share such as \"10 %\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RemovalLimit, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<RemovalLimit, E> {
        count.to_string().parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<RemovalLimit, E> {
        count.to_string().parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for RemovalLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

impl From<RemovalLimit> for String {
    fn from(limit: RemovalLimit) -> Self {
        limit.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_never_stops_ten_or_half_and_stops_more_than_itself() {
        let tenth = RemovalLimit::default();
        assert!(tenth.allows(1, 1) && tenth.allows(2, 3) && tenth.allows(5, 10) && tenth.allows(10, 20));
        assert!(!tenth.allows(2, 2) && !tenth.allows(6, 10) && !tenth.allows(11, 11) && !tenth.allows(11, 100));
        assert!(tenth.allows(250, 2534) && !tenth.allows(254, 2534));
        assert!(RemovalLimit::Count(3).allows(3, 3) && !RemovalLimit::Count(3).allows(4, 9999));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_the_way_to_write_one() {
        for text in ["", "%", "101 %", "-1", "ten", "1.5", "10 percent"] {
            let error = text.parse::<RemovalLimit>().unwrap_err().to_string();
            assert!(error.contains("write a number"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(count in any::<usize>(), percent in 0u8..=100) {
            for limit in [RemovalLimit::Count(count), RemovalLimit::Percent(percent)] {
                prop_assert_eq!(limit.to_string().parse::<RemovalLimit>().unwrap(), limit);
            }
        }

        #[test]
        fn one_more_than_allowed_is_not_allowed(published in 0usize..100_000, percent in 0u8..=100) {
            let limit = RemovalLimit::Percent(percent);
            prop_assert!(limit.allows(limit.of(published), published));
            prop_assert!(!limit.allows(limit.of(published) + 1, published));
        }
    }
}

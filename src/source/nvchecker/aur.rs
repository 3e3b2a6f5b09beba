//! Source `aur`: the versions of packages in the AUR, up to a hundred in one request.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::call::{Call, package, quoted};
use super::options::Options;
use super::release::{Release, Said};

/// Where the AUR is asked.
const RPC: &str = "https://aur.archlinux.org/rpc/?v=5&type=info";

/// As many packages as the AUR takes in one request without its address becoming too long.
const BATCH: usize = 100;

/// What is asked of the AUR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aur {
    /// The package there.
    pub name: String,
    strip_release: bool,
    use_last_modified: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Package>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Package {
    name: String,
    version: String,
    last_modified: i64,
}

impl Aur {
    /// Reads the options.
    ///
    /// # Errors
    /// The option that is wrong.
    pub fn read(entry: &str, options: Options<'_>) -> Result<Self, String> {
        let name = package("aur", options.text("aur")?.unwrap_or(entry))?.to_owned();
        let strip_release = options.flag("strip_release")?;
        Ok(Self { name, strip_release, use_last_modified: options.flag("use_last_modified")? })
    }

    /// The requests that answer for all of these packages: for each of them, which one.
    #[must_use]
    pub fn calls(names: &BTreeSet<&str>) -> Vec<(BTreeSet<String>, Call)> {
        let names: Vec<&str> = names.iter().copied().collect();
        let call = |names: &[&str]| {
            let arguments: Vec<_> = names.iter().map(|name| format!("&arg[]={}", quoted(name))).collect();
            (names.iter().map(|&name| name.to_owned()).collect(), Call::get(format!("{RPC}{}", arguments.concat())))
        };
        names.chunks(BATCH).map(call).collect()
    }

    /// The version in an answer.
    ///
    /// # Errors
    /// If the package is not there, or the answer cannot be read.
    pub fn answer(&self, body: &[u8]) -> Result<Said, String> {
        let answer: Answer = super::service::json(body)?;
        if let Some(error) = answer.error {
            return Err(format!("the AUR answers: {}", error.escape_debug()));
        }
        let found = answer.results.into_iter().find(|package| package.name == self.name);
        let Package { mut version, last_modified, .. } =
            found.ok_or_else(|| format!("the AUR has no package `{}`", self.name))?;
        if self.use_last_modified {
            let time = Timestamp::from_second(last_modified).map_err(|_| "the AUR answers with an impossible time")?;
            version = format!("{version}-{}", time.to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M%S"));
        }
        if self.strip_release
            && let Some((stripped, _)) = version.rsplit_once('-')
        {
            version.truncate(stripped.len());
        }
        let url = Some(format!("https://aur.archlinux.org/packages/{}", self.name));
        Ok(Said::One(Release { url, ..Release::new(version) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(options: &str, body: &str) -> Result<String, String> {
        let table = options.parse().expect("TOML");
        let said = Aur::read("foo", Options::new(&table))?.answer(body.as_bytes())?;
        let Said::One(release) = said else { panic!("one") };
        Ok(release.version)
    }

    #[test]
    fn release_and_time_are_taken_away_and_added() {
        let body = r#"{"results":[{"Name":"foo","Version":"1:2.0-3","LastModified":1700000000}]}"#;
        assert_eq!(answer("", body).as_deref(), Ok("1:2.0-3"));
        assert_eq!(answer("strip_release = true", body).as_deref(), Ok("1:2.0"));
        assert_eq!(answer("use_last_modified = true", body).as_deref(), Ok("1:2.0-3-20231114221320"));
        assert_eq!(answer("use_last_modified = true\nstrip_release = true", body).as_deref(), Ok("1:2.0-3"));
        assert!(answer("aur = 'bar'", body).expect_err("not there").contains("no package `bar`"));
        assert!(answer("", r#"{"error":"Too many"}"#).expect_err("an error").contains("Too many"));
    }

    #[test]
    fn a_hundred_packages_are_one_request() {
        let names: Vec<String> = (0..250).map(|number| format!("p{number}+x")).collect();
        let calls = Aur::calls(&names.iter().map(String::as_str).collect());
        assert_eq!(calls.len(), 3);
        assert!(calls[0].1.url.contains("&arg[]=p0%2Bx"));
        assert_eq!(calls.iter().map(|(names, _)| names.len()).sum::<usize>(), 250);
    }
}

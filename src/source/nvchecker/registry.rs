//! Sources `pypi`, `cratesio`, `npm` and `archpkg`: registries of packages.

use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

use super::call::{Call, Keys, package, quoted};
use super::options::Options;
use super::order::Pep440;
use super::release::{Release, Said};
use super::service::{Pairs, Service, json, time};

/// The name of the package: the option, or else the name of the entry.
fn named(key: &'static str, entry: &str, options: Options<'_>) -> Result<String, String> {
    let name = options.text(key)?.filter(|name| !name.is_empty()).unwrap_or(entry);
    package(key, name).map(str::to_owned)
}

/// A package of Python.
#[derive(Debug, Clone)]
pub struct Pypi {
    name: String,
    use_pre_release: bool,
}

impl Pypi {
    /// Reads the options.
    ///
    /// # Errors
    /// The option that is wrong.
    pub fn read(entry: &str, options: Options<'_>) -> Result<Self, String> {
        Ok(Self { name: named("pypi", entry, options)?, use_pre_release: options.flag("use_pre_release")? })
    }
}

impl Service for Pypi {
    fn call(&self, _: &Keys) -> Result<Call, String> {
        Ok(Call::get(format!("https://pypi.org/pypi/{}/json", self.name)))
    }

    fn answer(&self, body: &[u8]) -> Result<Said, String> {
        #[derive(Deserialize)]
        struct Project {
            releases: Pairs<Vec<File>>,
        }
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            yanked: bool,
            upload_time_iso_8601: Option<String>,
        }
        let release = |(version, files): (String, Vec<File>)| {
            let parsed = Pep440::parse(&version)?;
            let yanked = files.first().is_some_and(|file| file.yanked);
            if yanked || (parsed.is_prerelease() && !self.use_pre_release) {
                return None;
            }
            let first = files.into_iter().filter_map(|file| file.upload_time_iso_8601).min();
            let url = Some(format!("https://pypi.org/project/{}/{version}/", self.name));
            Some(Release { url, created: time(first.as_deref()), ..Release::new(version) })
        };
        Ok(Said::Many(json::<Project>(body)?.releases.0.into_iter().filter_map(release).collect()))
    }
}

/// A crate of Rust.
#[derive(Debug, Clone)]
pub struct Cratesio {
    name: String,
    use_pre_release: bool,
}

impl Cratesio {
    /// Reads the options.
    ///
    /// # Errors
    /// The option that is wrong.
    pub fn read(entry: &str, options: Options<'_>) -> Result<Self, String> {
        Ok(Self { name: named("cratesio", entry, options)?, use_pre_release: options.flag("use_pre_release")? })
    }
}

/// A version by semver.org; its first group is what makes it a prerelease.
static SEMVER: LazyLock<Regex> = LazyLock::new(|| {
    let grammar = r"(?x) ^ (?: (?:0|[1-9][0-9]*) \. ){2} (?:0|[1-9][0-9]*)
        (?: - ( (?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*) (?: \. (?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*) )* ) )?
        (?: \+ [0-9A-Za-z-]+ (?: \.[0-9A-Za-z-]+ )* )? $";
    Regex::new(grammar).expect("a valid expression")
});

impl Service for Cratesio {
    fn call(&self, _: &Keys) -> Result<Call, String> {
        Ok(Call::get(format!("https://crates.io/api/v1/crates/{}", self.name)))
    }

    fn answer(&self, body: &[u8]) -> Result<Said, String> {
        #[derive(Deserialize)]
        struct Crate {
            versions: Vec<Published>,
        }
        #[derive(Deserialize)]
        struct Published {
            num: String,
            yanked: bool,
            created_at: Option<String>,
        }
        let release = |found: Published| {
            let parts = SEMVER.captures(&found.num)?;
            if found.yanked || (parts.get(1).is_some() && !self.use_pre_release) {
                return None;
            }
            let url = Some(format!("https://crates.io/crates/{}/{}", self.name, found.num));
            Some(Release { url, created: time(found.created_at.as_deref()), ..Release::new(found.num) })
        };
        Ok(Said::Many(json::<Crate>(body)?.versions.into_iter().filter_map(release).collect()))
    }
}

/// A package of JavaScript.
#[derive(Debug, Clone)]
pub struct Npm {
    name: String,
}

impl Npm {
    /// Reads the options.
    ///
    /// # Errors
    /// The option that is wrong.
    pub fn read(entry: &str, options: Options<'_>) -> Result<Self, String> {
        Ok(Self { name: named("npm", entry, options)? })
    }
}

/// What npm says first about a package, before what may be megabytes about each of its versions.
static DIST_TAGS: LazyLock<regex::bytes::Regex> =
    LazyLock::new(|| regex::bytes::Regex::new(r#""dist-tags":(\{.*?\})"#).expect("a valid expression"));

impl Service for Npm {
    fn call(&self, _: &Keys) -> Result<Call, String> {
        let call = Call::get(format!("https://registry.npmjs.org/{}", self.name));
        Ok(call.header("accept", "application/vnd.npm.install-v1+json").header("range", "bytes=0-1023"))
    }

    fn answer(&self, body: &[u8]) -> Result<Said, String> {
        #[derive(Deserialize)]
        struct Tags {
            latest: Option<String>,
        }
        let found = DIST_TAGS.captures(body).ok_or("npm does not say which version is the latest")?;
        let latest = json::<Tags>(&found[1])?.latest.ok_or("the package has no latest version")?;
        let url = Some(format!("https://www.npmjs.com/package/{}/v/{latest}", self.name));
        Ok(Said::One(Release { url, ..Release::new(latest) }))
    }
}

/// A package of Arch Linux.
#[derive(Debug, Clone)]
pub struct Archpkg {
    name: String,
    strip_release: bool,
    provided: Option<String>,
}

impl Archpkg {
    /// Reads the options.
    ///
    /// # Errors
    /// The option that is wrong.
    pub fn read(entry: &str, options: Options<'_>) -> Result<Self, String> {
        Ok(Self {
            name: named("archpkg", entry, options)?,
            strip_release: options.flag("strip_release")?,
            provided: options.text("provided")?.filter(|name| !name.is_empty()).map(str::to_owned),
        })
    }
}

#[derive(Deserialize)]
struct ArchPackage {
    repo: String,
    arch: String,
    pkgname: String,
    pkgver: String,
    pkgrel: String,
    #[serde(default)]
    provides: Vec<String>,
}

impl Service for Archpkg {
    fn call(&self, _: &Keys) -> Result<Call, String> {
        Ok(Call::get(format!("https://archlinux.org/packages/search/json/?name={}", quoted(&self.name))))
    }

    fn answer(&self, body: &[u8]) -> Result<Said, String> {
        #[derive(Deserialize)]
        struct Found {
            results: Vec<ArchPackage>,
        }
        let found = json::<Found>(body)?.results.into_iter().find(|package| package.repo != "testing");
        let found = found.ok_or_else(|| format!("Arch Linux has no package `{}`", self.name))?;
        let version = match &self.provided {
            Some(wanted) => {
                let provided = found.provides.iter().rev().filter_map(|written| written.split_once('='));
                let version = provided.into_iter().find(|(name, _)| name == wanted).map(|(_, version)| version);
                let version = version.ok_or_else(|| format!("`{}` provides no version of `{wanted}`", self.name))?;
                let stripped = if self.strip_release { version.split('-').next() } else { None };
                stripped.unwrap_or(version).to_owned()
            }
            None if self.strip_release => found.pkgver.clone(),
            None => format!("{}-{}", found.pkgver, found.pkgrel),
        };
        let url = format!("https://archlinux.org/packages/{}/{}/{}/", found.repo, found.arch, found.pkgname);
        Ok(Said::One(Release { url: Some(url), ..Release::new(version) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(service: &dyn Service, body: &str) -> Vec<String> {
        match service.answer(body.as_bytes()).expect("an answer") {
            Said::One(release) => vec![release.version],
            Said::Many(releases) => releases.into_iter().map(|release| release.version).collect(),
        }
    }

    #[test]
    fn yanked_versions_and_prereleases_are_passed_over() {
        let body = r#"{"releases":{"1.0":[{"yanked":false,"upload_time_iso_8601":"2024-01-01T00:00:00Z"}],
            "1.1":[{"yanked":true}],"1.2rc1":[{"yanked":false}],"odd-hg":[],"0.9":[]}}"#;
        let pypi = |use_pre_release| Pypi { name: "foo".to_owned(), use_pre_release };
        assert_eq!(versions(&pypi(false), body), ["1.0", "0.9"]);
        assert_eq!(versions(&pypi(true), body), ["1.0", "1.2rc1", "0.9"]);
        let body = r#"{"versions":[{"num":"1.0.0","yanked":false},{"num":"1.1.0-rc.1+x","yanked":false},
            {"num":"1.2.0","yanked":true},{"num":"01.0.0","yanked":false}]}"#;
        let crates = |use_pre_release| Cratesio { name: "foo".to_owned(), use_pre_release };
        assert_eq!(versions(&crates(false), body), ["1.0.0"]);
        assert_eq!(versions(&crates(true), body), ["1.0.0", "1.1.0-rc.1+x"]);
    }

    #[test]
    fn npm_is_read_from_its_beginning() {
        let npm = Npm { name: "@s/n".to_owned() };
        assert_eq!(
            versions(&npm, r#"{"name":"@s/n","dist-tags":{"next":"2","latest":"1.5.0"},"versions":{"1.0"#),
            ["1.5.0"]
        );
        assert!(npm.answer(b"{}").is_err() && npm.answer(br#""dist-tags":{"next":"1"}"#).is_err());
    }

    #[test]
    fn a_package_of_arch_is_taken_from_the_first_repository_that_is_not_testing() {
        let body = r#"{"results":[{"repo":"testing","arch":"any","pkgname":"f","pkgver":"2","pkgrel":"1"},
            {"repo":"extra","arch":"any","pkgname":"f","pkgver":"1","pkgrel":"3","provides":["x=4-1","y"]}]}"#;
        let package = |strip_release, provided: Option<&str>| Archpkg {
            name: "f".to_owned(),
            strip_release,
            provided: provided.map(str::to_owned),
        };
        assert_eq!(versions(&package(false, None), body), ["1-3"]);
        assert_eq!(versions(&package(true, None), body), ["1"]);
        assert_eq!(versions(&package(true, Some("x")), body), ["4"]);
        assert!(package(false, Some("y")).answer(body.as_bytes()).is_err());
        assert!(package(false, None).answer(br#"{"results":[]}"#).is_err());
    }
}

//! From what a source says to the one version that is meant: the options for lists (`include_regex`,
//! `exclude_regex`, `ignored`, `sort_version_key`), then those for the version itself (`prefix`,
//! `from_pattern`, `to_pattern`).

use std::collections::BTreeSet;

use super::options::Options;
use super::order::VersionOrder;
use super::python::{Pattern, Template};
use super::release::{Release, Said};

/// A longer version is none.
const LONGEST: usize = 200;

/// The options that choose and rewrite.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    include: Option<Pattern>,
    exclude: Option<Pattern>,
    ignored: BTreeSet<String>,
    order: VersionOrder,
    prefix: Option<String>,
    rewrite: Option<(Pattern, Template)>,
}

impl Choice {
    /// Reads the options. `None` in place of them if the versions are to be put into an order that is not
    /// known here.
    ///
    /// # Errors
    /// The option that is wrong, and how.
    pub fn read(options: Options<'_>) -> Result<Option<Self>, String> {
        let pattern = |key: &'static str| {
            let written = options.text(key)?.filter(|written| !written.is_empty());
            written.map(|written| Pattern::new(written).map_err(|error| format!("`{key}`: {error}"))).transpose()
        };
        let order = match options.text("sort_version_key")? {
            None | Some("parse_version") => VersionOrder::ParseVersion,
            Some("vercmp") => VersionOrder::Vercmp,
            Some("awesomeversion" | "portage") => return Ok(None),
            Some(other) => return Err(format!("`sort_version_key`: there is no order `{}`", other.escape_debug())),
        };
        let rewrite = match (pattern("from_pattern")?, options.text("to_pattern")?) {
            (None, _) => None,
            (Some(_), None) => return Err("`from_pattern` needs a `to_pattern`".to_owned()),
            (Some(from), Some(to)) => {
                let template = Template::new(to, &from).map_err(|error| format!("`to_pattern`: {error}"))?;
                Some((from, template))
            }
        };
        let ignored = options.text("ignored")?.unwrap_or_default();
        Ok(Some(Self {
            include: pattern("include_regex")?,
            exclude: pattern("exclude_regex")?,
            ignored: ignored.split_whitespace().map(str::to_owned).collect(),
            order,
            prefix: options.text("prefix")?.map(str::to_owned),
            rewrite,
        }))
    }

    /// Whether expressions are tried on the versions, which can take seconds.
    #[must_use]
    pub const fn searches(&self) -> bool {
        self.include.is_some() || self.exclude.is_some() || self.rewrite.is_some()
    }

    /// The version that is meant.
    ///
    /// # Errors
    /// If none is left, or what is left is no version.
    pub fn choose(&self, said: Said) -> Result<Release, String> {
        let release = match said {
            Said::One(release) => release,
            Said::Many(releases) => self.newest(releases)?,
        };
        let version = self.rewritten(&release.version.replace('\n', " "))?;
        check(&version)?;
        Ok(Release { version, ..release })
    }

    fn newest(&self, mut releases: Vec<Release>) -> Result<Release, String> {
        if releases.is_empty() {
            return Err("upstream has no version".to_owned());
        }
        let count = releases.len();
        if let Some(include) = &self.include {
            let kept = matched(include, &releases)?;
            releases.retain(|release| kept.contains(&release.version));
            if releases.is_empty() {
                return Err(format!("`include_regex` matches none of {count} versions"));
            }
        }
        if let Some(exclude) = &self.exclude {
            let dropped = matched(exclude, &releases)?;
            releases.retain(|release| !dropped.contains(&release.version));
        }
        releases.retain(|release| !self.ignored.contains(&release.version));
        let newest = self.order.greatest(releases, |release| &release.version);
        newest.ok_or_else(|| format!("`exclude_regex` and `ignored` leave none of {count} versions"))
    }

    fn rewritten(&self, version: &str) -> Result<String, String> {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let version = version.strip_prefix(prefix).unwrap_or(version);
        match &self.rewrite {
            Some((from, to)) => from.replace_all(version, to).map_err(|error| format!("`from_pattern`: {error}")),
            None => Ok(version.to_owned()),
        }
    }
}

fn matched(pattern: &Pattern, releases: &[Release]) -> Result<BTreeSet<String>, String> {
    let distinct: BTreeSet<&str> = releases.iter().map(|release| release.version.as_str()).collect();
    let distinct: Vec<&str> = distinct.into_iter().collect();
    Ok(pattern.full_matches(&distinct)?.into_iter().map(|&version| version.to_owned()).collect())
}

fn check(version: &str) -> Result<(), String> {
    if version.is_empty() {
        return Err("upstream has no version".to_owned());
    }
    if version.len() > LONGEST || version.chars().any(char::is_control) {
        let start: String = version.chars().take(60).collect();
        return Err(format!("what upstream has is no version: `{}…`", start.escape_debug()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn choice(options: &str) -> Result<Choice, String> {
        let table = options.parse().expect("TOML");
        Choice::read(Options::new(&table)).map(|choice| choice.expect("a known order"))
    }

    fn chosen(options: &str, versions: &[&str]) -> Result<String, String> {
        let releases = versions.iter().map(|&version| Release::new(version)).collect();
        choice(options)?.choose(Said::Many(releases)).map(|release| release.version)
    }

    #[test]
    fn lists_are_filtered_and_ordered() {
        let versions = ["v1.9", "v1.10", "v2.0-rc1", "nightly", "v1.11"];
        let cases = [
            ("", "v2.0-rc1"),
            (r"include_regex = 'v[\d.]+'", "v1.11"),
            ("exclude_regex = '.*rc.*'", "v1.11"),
            ("exclude_regex = '.*rc.*'\nignored = 'v1.11 v1.10'", "v1.9"),
            ("sort_version_key = 'vercmp'\nignored = 'v2.0-rc1'", "v1.11"),
            ("exclude_regex = '.*rc.*'\nprefix = 'v'", "1.11"),
            (r"exclude_regex = '.*rc.*'\nprefix = 'v'\nfrom_pattern = '(\d+)\.(\d+)'\nto_pattern = '\2_\1'", "11_1"),
        ];
        for (options, expected) in cases {
            let options = options.replace("\\n", "\n");
            assert_eq!(chosen(&options, &versions).as_deref(), Ok(expected), "{options}");
        }
    }

    #[test]
    fn a_single_version_is_rewritten_but_not_filtered() {
        let choice = choice("include_regex = 'x'\nprefix = 'v'").expect("valid");
        assert_eq!(choice.choose(Said::One(Release::new("v1"))).map(|release| release.version), Ok("1".to_owned()));
    }

    #[test]
    fn what_leaves_no_version_says_so() {
        let told = |options: &str, versions: &[&str]| chosen(options, versions).expect_err("nothing is left");
        insta::assert_snapshot!(
            [
                told("", &[]),
                told("include_regex = 'v'", &["1", "2"]),
                told("exclude_regex = '.*'", &["1"]),
                told("from_pattern = 'x'", &["1"]),
                told("from_pattern = '(x'\nto_pattern = ''", &["1"]),
                told("from_pattern = 'x'\nto_pattern = '\\1'", &["1"]),
                told("sort_version_key = 'size'", &["1"]),
                told("prefix = 'v'", &["v"]),
                told("prefix = 1", &["v"]),
                told("", &["a\u{1b}[31m"]),
            ]
            .join("\n"),
            @r"
            upstream has no version
            `include_regex` matches none of 2 versions
            `exclude_regex` and `ignored` leave none of 1 versions
            `from_pattern` needs a `to_pattern`
            `from_pattern`: the expression `(x` cannot be used: a parenthesis is not closed
            `to_pattern`: the pattern has no group 1
            `sort_version_key`: there is no order `size`
            upstream has no version
            `prefix` is 1, but has to be a text in quotes
            what upstream has is no version: `a\u{1b}[31m…`
            "
        );
    }

    proptest! {
        #[test]
        fn the_answer_is_one_of_the_list_and_none_is_greater(versions in proptest::collection::vec("[0-9a-z.-]{1,8}", 1..8)) {
            let listed: Vec<&str> = versions.iter().map(String::as_str).collect();
            let newest = chosen("", &listed).expect("one");
            prop_assert!(versions.contains(&newest));
            prop_assert!(versions.iter().all(|version| VersionOrder::ParseVersion.compare(version, &newest).is_le()));
        }

        #[test]
        fn including_and_excluding_the_same_are_opposites(versions in proptest::collection::vec("[0-9]\\.[0-9]", 1..8)) {
            let listed: Vec<&str> = versions.iter().map(String::as_str).collect();
            let included = chosen(r"include_regex = '1\..*'", &listed);
            let excluded = chosen(r"exclude_regex = '1\..*'", &listed);
            prop_assert_eq!(included.is_ok(), versions.iter().any(|version| version.starts_with('1')));
            prop_assert_eq!(excluded.is_ok(), versions.iter().any(|version| !version.starts_with('1')));
        }
    }
}

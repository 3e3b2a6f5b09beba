//! `<pkgbase>/.CI/config`: what one package asks for. And `.CI/info`, which only people read.

use super::keyfile::KeyFile;
use super::source::parse_source;
use crate::domain::addition::Addition;
use crate::domain::classify::LineRules;
use crate::domain::finding::Finding;
use crate::domain::folder::Folder;
use crate::domain::name::PkgBase;
use crate::domain::policy::{BuildClass, Bump, PackageSettings, SourceKind};

/// The keys of `.CI/config`.
pub const KEYS: [&str; 13] = [
    "CI_PKGBUILD_SOURCE",
    "CI_PACKAGE_BUMP",
    "CI_FORCE_VCS",
    "CI_ON_TRIGGER",
    "CI_MANAGE_AUR",
    "CI_NVCHECKER",
    "CI_PKGBUILD_CHANGE_ALLOW_REGEX",
    "CI_REBUILD_TRIGGERS",
    "BUILDER_CACHE_SOURCES",
    "BUILDER_EXTRA_TIMEOUT",
    "BUILDER_CLASS",
    "BUILDER_ALLOW_PROHIBITED",
    "CI_UPDATE_NETWORK",
];

/// The keys of `.CI/info`: who asked for the package, and why.
pub const INFO_KEYS: [&str; 2] = ["REQ_ORIGIN", "REQ_REASON"];

/// No build may take longer than this many times the usual.
const MOST_EXTRA_TIMEOUT: f64 = 100.0;

/// A value that could not be read: what is wrong with it, and the remedy.
pub(super) type Unreadable = (String, &'static str);

/// Reads a build class.
pub(super) fn parse_class(text: &str) -> Result<BuildClass, Unreadable> {
    BuildClass::new(text).map_err(|error| (error.to_string(), "write a number such as 5, or the name of a class"))
}

/// Reads a `.CI/config`. Whatever is wrong in it becomes a finding that names `path` and the line, and
/// the setting keeps its default.
#[must_use]
pub fn parse(text: &str, path: &str) -> (PackageSettings, Vec<Finding>) {
    let mut file = KeyFile::new(text, path, &KEYS);
    let settings = PackageSettings {
        source: file.parsed("CI_PKGBUILD_SOURCE", parse_source).unwrap_or(SourceKind::Unset),
        trigger: file.text("CI_ON_TRIGGER"),
        class: file.parsed("BUILDER_CLASS", parse_class),
        bump: file.parsed("CI_PACKAGE_BUMP", parse_bump),
        force_vcs: file.flag("CI_FORCE_VCS").unwrap_or(false),
        manage_aur: file.flag("CI_MANAGE_AUR").unwrap_or(false),
        nvchecker: file.flag("CI_NVCHECKER").unwrap_or(false),
        rebuild_triggers: file.list("CI_REBUILD_TRIGGERS", |c| c == ':'),
        line_rules: line_rules(&mut file),
        extra_timeout: file.parsed("BUILDER_EXTRA_TIMEOUT", parse_extra_timeout).unwrap_or(1.0),
        cache_sources: file.flag("BUILDER_CACHE_SOURCES").unwrap_or(false),
        allow_prohibited: file.flag("BUILDER_ALLOW_PROHIBITED").unwrap_or(false),
        update_network: file.flag("CI_UPDATE_NETWORK").unwrap_or(false),
    };
    (settings, file.into_findings())
}

/// Reads `PKG/aur`, `PKG/URL` or `PKG`, which comes from `source`, or else from the AUR.
///
/// # Errors
/// What is wrong with it, and the remedy.
pub fn addition(text: &str, source: Option<&str>) -> Result<Addition, String> {
    let (name, behind) = text.split_once('/').map_or((text, None), |(name, behind)| (name, Some(behind)));
    let pkgbase = PkgBase::new(name).map_err(|error| error.to_string())?;
    let written = match (behind, source) {
        (Some(one), Some(other)) if one != other => {
            return Err(format!("`{name}` cannot come from `{one}` and from `{other}`"));
        }
        (one, other) => one.or(other).unwrap_or("aur"),
    };
    let source = parse_source(written).map_err(|(message, hint)| format!("{message}; {hint}"))?;
    match source {
        SourceKind::Aur | SourceKind::Git(_) => Ok(Addition { pkgbase, source, written: written.to_owned() }),
        SourceKind::Release(_) | SourceKind::Custom | SourceKind::Unset => Err(format!(
            "`{written}` has no PKGBUILD to begin with; write {name}/aur or {name}/URL of a git repository, or commit the \
             folder yourself"
        )),
    }
}

/// What is wrong with a `.CI/info`. Its values are for people, so any text will do.
#[must_use]
pub fn check_info(text: &str, path: &str) -> Vec<Finding> {
    KeyFile::new(text, path, &INFO_KEYS).into_findings()
}

/// The expressions in the `.CI/config` of a package folder; without one, or if it cannot be read, none.
#[must_use]
pub fn line_rules_of(folder: &Folder) -> LineRules {
    let config = folder.get(".CI/config").and_then(|bytes| std::str::from_utf8(bytes).ok());
    config.map(|text| parse(text, ".CI/config").0.line_rules).unwrap_or_default()
}

fn line_rules(file: &mut KeyFile<'_>) -> LineRules {
    const KEY: &str = "CI_PKGBUILD_CHANGE_ALLOW_REGEX";
    let (rules, wrong) = LineRules::parse(&file.text(KEY).unwrap_or_default());
    for error in wrong {
        file.complain(KEY, &format!("{error}; it is left out"), "write expressions with `;` between them");
    }
    rules
}

fn parse_bump(text: &str) -> Result<Bump, Unreadable> {
    const FORM: &str = "write [epoch:]pkgver-pkgrel/N, such as 1:2.0-1/3";
    Bump::parse(text).map_err(|error| (format!("`{}` is not a bump: {}", error.text, error.reason), FORM))
}

fn parse_extra_timeout(text: &str) -> Result<f64, Unreadable> {
    const RANGE: &str = "write how many times as long the build may take: a number from 1 to 100";
    match text.parse::<f64>() {
        Ok(factor) if (1.0..=MOST_EXTRA_TIMEOUT).contains(&factor) => Ok(factor),
        Ok(_) => Err((format!("`{text}` is out of range"), RANGE)),
        Err(_) => Err((format!("`{text}` is not a number"), RANGE)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::policy::{GitFolder, Project};
    use crate::domain::version::Version;

    fn settings(text: &str) -> PackageSettings {
        let (settings, findings) = parse(text, "foo/.CI/config");
        assert_eq!(findings, [], "{text}");
        settings
    }

    fn findings(text: &str) -> Vec<String> {
        let (settings, findings) = parse(text, "foo/.CI/config");
        assert_eq!(settings, PackageSettings::default(), "a bad value must leave the default");
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_key_reaches_its_setting() {
        let text = "CI_PKGBUILD_SOURCE=aur\nCI_PACKAGE_BUMP=1:2.0-1/3\nCI_FORCE_VCS=true\nCI_ON_TRIGGER=daily\n\
             CI_MANAGE_AUR=true\nCI_NVCHECKER=true\nCI_PKGBUILD_CHANGE_ALLOW_REGEX=^source[^)]*x=y\n\
             CI_REBUILD_TRIGGERS=boost:libxml2\nBUILDER_CACHE_SOURCES=true\nBUILDER_EXTRA_TIMEOUT=2\n\
             BUILDER_CLASS=catbuilder\nBUILDER_ALLOW_PROHIBITED=true\nCI_UPDATE_NETWORK=true\n";
        let expected = PackageSettings {
            source: SourceKind::Aur,
            trigger: Some("daily".into()),
            class: Some(BuildClass("catbuilder".into())),
            bump: Some(Bump { version: Version::new("1:2.0-1"), count: 3 }),
            force_vcs: true,
            manage_aur: true,
            nvchecker: true,
            rebuild_triggers: vec!["boost".into(), "libxml2".into()],
            line_rules: LineRules::parse("^source[^)]*x=y").0,
            extra_timeout: 2.0,
            cache_sources: true,
            allow_prohibited: true,
            update_network: true,
        };
        assert_eq!(settings(text), expected);
        assert!(KEYS.iter().all(|key| text.contains(key)), "a key is missing from this test");
    }

    #[test]
    fn a_comment_after_a_value_is_fine() {
        let bump = settings("CI_PACKAGE_BUMP=1.0-1/3   # soname of libfoo\n").bump;
        assert_eq!(bump, Some(Bump { version: Version::new("1.0-1"), count: 3 }));
    }

    #[test]
    fn sources_are_told_apart() {
        let source = |text: &str| settings(&format!("CI_PKGBUILD_SOURCE={text}")).source;
        assert_eq!(source("custom"), SourceKind::Custom);
        assert_eq!(source(""), SourceKind::Unset);
        assert_eq!(
            source("gitlab:278964"),
            SourceKind::Release(Project::Gitlab { base: None, project: "278964".into() })
        );
        for url in ["https://aur.archlinux.org/x.git", "git@github.com:a/b.git", "file:///srv/git/x", "ssh://h/x"] {
            assert_eq!(source(url), SourceKind::Git(GitFolder { url: url.into(), branch: None, folder: None }));
        }
    }

    #[test]
    fn a_bad_source_is_reported_and_left_unset() {
        for bad in ["aru", "gitlab:foo", "ext::sh -c id", "--upload-pack=x", "https://", "https://-x", "../other"] {
            assert_eq!(findings(&format!("CI_PKGBUILD_SOURCE={bad}")).len(), 1, "{bad}");
        }
        insta::assert_snapshot!(findings("CI_PKGBUILD_SOURCE=arr").join("\n"), @"foo/.CI/config:1: CI_PKGBUILD_SOURCE: `arr` is no source that can be followed; the default is used; write aur, custom, the URL of a git repository, gitlab:<project id>, github:<owner>/<repository>, gitea:<host>/<owner>/<repository>, or tags:<URL of a git repository>");
    }

    #[test]
    fn bad_values_are_reported_with_line_and_remedy() {
        let text = "BUILDER_EXTRA_TIMEOUT=abc\nCI_FORCE_VCS=maybe\nCI_PACKAGE_BUMP=3\n";
        insta::assert_snapshot!(findings(text).join("\n"), @"
        foo/.CI/config:1: BUILDER_EXTRA_TIMEOUT: `abc` is not a number; the default is used; write how many times as long the build may take: a number from 1 to 100
        foo/.CI/config:2: CI_FORCE_VCS: `maybe` is neither true nor false; the default is used; write CI_FORCE_VCS=true or CI_FORCE_VCS=false
        foo/.CI/config:3: CI_PACKAGE_BUMP: `3` is not a bump: pkgrel is missing or not a number; the default is used; write [epoch:]pkgver-pkgrel/N, such as 1:2.0-1/3
        ");
    }

    #[test]
    fn an_extra_timeout_may_be_a_fraction_but_not_shorten_the_build() {
        assert_eq!(settings("BUILDER_EXTRA_TIMEOUT=1.5").extra_timeout.to_string(), "1.5");
        for bad in ["0", "-1", "inf", "NaN", "1e9"] {
            assert_eq!(findings(&format!("BUILDER_EXTRA_TIMEOUT={bad}")).len(), 1, "{bad}");
        }
    }

    #[test]
    fn info_has_its_own_keys() {
        assert_eq!(check_info("REQ_ORIGIN=telegram\nREQ_REASON=a request\n", "foo/.CI/info"), []);
        assert_eq!(check_info("REQ_RAESON=x\n", "foo/.CI/info")[0].hint, "did you mean REQ_REASON?");
    }

    #[test]
    fn a_package_that_is_to_be_added_says_where_it_comes_from() {
        let read = |text: &str, source| addition(text, source).map(|it| format!("{} {}", it.pkgbase, it.written));
        assert_eq!(read("foo", None).as_deref(), Ok("foo aur"));
        assert_eq!(read("foo/aur", Some("aur")).as_deref(), Ok("foo aur"));
        assert_eq!(read("foo/https://h/r.git#branch=a/b", None).as_deref(), Ok("foo https://h/r.git#branch=a/b"));
        assert_eq!(read("foo", Some("https://h/r.git")).as_deref(), Ok("foo https://h/r.git"));
        let wrong = [("foo/aur", Some("https://h/r")), ("fo o", None), ("/aur", None), ("foo/--upload-pack=x", None)];
        let wrong = wrong.into_iter().chain([("foo/custom", None), ("foo/github:a/b", None), ("foo/", None)]);
        for (text, source) in wrong {
            assert!(read(text, source).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "((CI_PACKAGE_BUMP|CI_PKGBUILD_SOURCE|BUILDER_EXTRA_TIMEOUT)=)?\\PC{0,30}") {
            let (_, findings) = parse(&text, "x");
            prop_assert!(findings.iter().all(|finding| finding.line.is_some()));
        }
    }
}

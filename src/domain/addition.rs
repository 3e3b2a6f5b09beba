//! A package that somebody wants in the monorepo: where its files come from, who asked for it, and why.

use std::sync::Arc;

use super::desired::Package;
use super::folder::Folder;
use super::keyvalue::KeyValues;
use super::name::{Oid, PkgBase};
use super::policy::{PackageSettings, SourceKind};
use super::srcinfo::Srcinfo;

/// The settings of a package, inside its folder.
const CONFIG: &str = ".CI/config";
/// What people want to know about it, inside its folder.
const INFO: &str = ".CI/info";

/// A package that is to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// Its name.
    pub pkgbase: PkgBase,
    /// Where its files come from.
    pub source: SourceKind,
    /// The same as it is written in `CI_PKGBUILD_SOURCE`.
    pub written: String,
}

/// Who asked for a package, and why: what stands in `.CI/info`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    origin: Option<String>,
    reason: Option<String>,
}

/// A text that `.CI/info` cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` does not fit into .CI/info; write one line", .0.escape_debug())]
pub struct InvalidProvenance(String);

impl Provenance {
    /// Who asked (`REQ_ORIGIN`) and why (`REQ_REASON`). Nothing, or only blanks, is left out.
    ///
    /// # Errors
    /// [`InvalidProvenance`] if a text would not be read back as it is.
    pub fn new(origin: Option<&str>, reason: Option<&str>) -> Result<Self, InvalidProvenance> {
        let told = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let provenance = Self { origin: told(origin), reason: told(reason) };
        let texts = provenance.origin.iter().chain(&provenance.reason);
        match texts.into_iter().find(|text| assigned(text).is_none()) {
            None => Ok(provenance),
            Some(text) => Err(InvalidProvenance(text.clone())),
        }
    }

    /// The text of `.CI/info`; `None` if there is nothing to say.
    fn info(&self) -> Option<String> {
        let keys = [("REQ_ORIGIN", &self.origin), ("REQ_REASON", &self.reason)];
        let lines = keys.iter().filter_map(|(key, text)| Some(format!("{key}={}\n", assigned(text.as_deref()?)?)));
        Some(lines.collect::<String>()).filter(|text| !text.is_empty())
    }
}

/// `, asked for by ORIGIN (REASON)`, or nothing.
impl std::fmt::Display for Provenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.origin, &self.reason) {
            (Some(origin), Some(reason)) => write!(f, ", asked for by {origin} ({reason})"),
            (Some(origin), None) => write!(f, ", asked for by {origin}"),
            (None, Some(reason)) => write!(f, ", because of: {reason}"),
            (None, None) => Ok(()),
        }
    }
}

/// The text as a value that is read back unchanged: as it is, or in quotes. `None` if neither is.
fn assigned(text: &str) -> Option<String> {
    let reads_back = |value: &String| {
        let file = KeyValues::parse(&format!("KEY={value}\n"));
        file.get("KEY") == Some(text)
    };
    let plain = !text.contains(char::is_control);
    [text.to_owned(), format!("\"{text}\"")].into_iter().find(|value| plain && reads_back(value))
}

impl Addition {
    /// The folder it gets: the files of its source, and our own settings.
    #[must_use]
    pub fn folder(&self, incoming: &Folder, provenance: &Provenance) -> Folder {
        let folder = Folder::default().updated_to(incoming).with(CONFIG, self.config());
        match provenance.info() {
            Some(info) => folder.with(INFO, info),
            None => folder,
        }
    }

    /// What it is once it is there.
    #[must_use]
    pub fn package(&self, folder: &Folder) -> Arc<Package> {
        Arc::new(Package {
            pkgbase: self.pkgbase.clone(),
            // It has none before it is written, and nobody asks before.
            tree: Oid::from_bytes([0; 20]),
            srcinfo: folder.get(".SRCINFO").and_then(|bytes| Srcinfo::parse(bytes).ok()),
            settings: PackageSettings { source: self.source.clone(), ..PackageSettings::default() },
            config: self.config().into(),
            interfere: Vec::new(),
            has_pkgbuild: folder.get("PKGBUILD").is_some(),
            version_file: None,
            findings: Vec::new(),
        })
    }

    fn config(&self) -> String {
        format!("CI_PKGBUILD_SOURCE={}\n", self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(origin: Option<&str>, reason: Option<&str>) -> Option<String> {
        Provenance::new(origin, reason).expect("fits").info()
    }

    #[test]
    fn what_is_told_is_read_back_as_it_was_told() {
        assert_eq!(info(None, Some(" ")), None);
        assert_eq!(info(Some("github/42"), None).as_deref(), Some("REQ_ORIGIN=github/42\n"));
        let text = info(Some("a # b"), Some("a friend's \"wish\"")).expect("both");
        assert_eq!(text, "REQ_ORIGIN=\"a # b\"\nREQ_REASON=a friend's \"wish\"\n");
        assert_eq!(KeyValues::parse(&text).get("REQ_ORIGIN"), Some("a # b"));
        for wrong in ["two\nlines", "tab\there", "bell\u{7}"] {
            assert!(Provenance::new(None, Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_source_brings_files_and_never_settings() {
        let addition = Addition {
            pkgbase: PkgBase::new("foo").expect("legal"),
            source: SourceKind::Aur,
            written: "aur".to_owned(),
        };
        let incoming = Folder::default()
            .with("PKGBUILD", "pkgname=foo\n")
            .with(".CI/config", "CI_MANAGE_AUR=true\n")
            .with(".CI/prepare", "rm -rf /\n")
            .with(".gitignore", "*\n");
        let folder = addition.folder(&incoming, &Provenance::new(Some("me"), None).expect("fits"));
        let paths: Vec<&str> = folder.files.keys().map(String::as_str).collect();
        assert_eq!(paths, [".CI/config", ".CI/info", "PKGBUILD"]);
        assert_eq!(folder.get(".CI/config"), Some(&b"CI_PKGBUILD_SOURCE=aur\n"[..]));
        let package = addition.package(&folder);
        assert!(package.has_pkgbuild && package.srcinfo.is_none());
    }
}

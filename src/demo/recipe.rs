//! Changes to a PKGBUILD and its `.SRCINFO`, as the people of the demo would make them by hand.
//!
//! This is not how the product edits recipes: it only needs to understand the fixtures.

use anyhow::{Context as _, Result};

use crate::domain::folder::Folder;

/// A PKGBUILD and the `.SRCINFO` that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The text of `PKGBUILD`.
    pub pkgbuild: String,
    /// The text of `.SRCINFO`.
    pub srcinfo: String,
}

impl Recipe {
    /// The recipe of a package folder.
    ///
    /// # Errors
    /// One of the two files is missing or is not text.
    pub fn from_folder(folder: &Folder) -> Result<Self> {
        let text = |path: &str| {
            let bytes = folder.get(path).with_context(|| format!("{path} is missing"))?;
            String::from_utf8(bytes.to_vec()).with_context(|| format!("{path} is not text"))
        };
        Ok(Self { pkgbuild: text("PKGBUILD")?, srcinfo: text(".SRCINFO")? })
    }

    /// `pkgver`.
    #[must_use]
    pub fn version(&self) -> &str {
        self.fact("pkgver")
    }

    /// The next version: the last run of digits counts one further.
    #[must_use]
    pub fn next_version(&self) -> String {
        let version = self.version();
        let digits = version.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (head, number) = version.split_at(version.len() - digits);
        format!("{head}{}", number.parse::<u64>().unwrap_or(0) + 1)
    }

    /// A new version whose first source has the checksum `sha256`; the release starts again at 1.
    #[must_use]
    pub fn with_version(&self, version: &str, sha256: &str) -> Self {
        let (old, old_sum) = (self.version(), self.fact("sha256sums"));
        let sum = |text: String| if old_sum.is_empty() { text } else { text.replace(old_sum, sha256) };
        let pkgbuild = sum(edit_lines(&self.pkgbuild, |line| match line.split_once('=') {
            Some(("pkgver", _)) => Some(format!("pkgver={version}")),
            Some(("pkgrel", _)) => Some("pkgrel=1".to_owned()),
            _ => None,
        }));
        let srcinfo = sum(edit_lines(&self.srcinfo, |line| match line.trim_start().split_once(" = ") {
            Some(("pkgver", _)) => Some(format!("\tpkgver = {version}")),
            Some(("pkgrel", _)) => Some("\tpkgrel = 1".to_owned()),
            Some(("source", source)) => Some(format!("\tsource = {}", source.replace(old, version))),
            _ => None,
        }));
        Self { pkgbuild, srcinfo }
    }

    /// The same version, released once more.
    #[must_use]
    pub fn released_again(&self) -> Self {
        let release = self.fact("pkgrel").parse::<u64>().unwrap_or(0) + 1;
        Self {
            pkgbuild: edit_lines(&self.pkgbuild, |line| {
                line.starts_with("pkgrel=").then(|| format!("pkgrel={release}"))
            }),
            srcinfo: edit_lines(&self.srcinfo, |line| {
                line.starts_with("\tpkgrel = ").then(|| format!("\tpkgrel = {release}"))
            }),
        }
    }

    /// Sources fetched from `new` in place of `old`; the home page stays.
    #[must_use]
    pub fn with_source_host(&self, old: &str, new: &str) -> Self {
        let edit = |line: &str| {
            let is_source = line.trim_start().starts_with("source") || line.contains("/sources/$pkgname-");
            (is_source && line.contains(old)).then(|| line.replace(old, new))
        };
        Self { pkgbuild: edit_lines(&self.pkgbuild, edit), srcinfo: edit_lines(&self.srcinfo, edit) }
    }

    /// Whether the PKGBUILD has this line.
    #[must_use]
    pub fn has_line(&self, wanted: &str) -> bool {
        self.pkgbuild.lines().any(|line| line == wanted)
    }

    /// `line` as the first one of `build()`.
    #[must_use]
    pub fn with_build_line(&self, line: &str) -> Self {
        let pkgbuild = edit_lines(&self.pkgbuild, |old| (old == "build() {").then(|| format!("{old}\n{line}")));
        Self { pkgbuild, srcinfo: self.srcinfo.clone() }
    }

    /// Without the lines of the PKGBUILD that begin like this.
    #[must_use]
    pub fn without_lines(&self, beginning: &str) -> Self {
        let kept = self.pkgbuild.lines().filter(|line| !line.starts_with(beginning));
        Self { pkgbuild: kept.flat_map(|line| [line, "\n"]).collect(), srcinfo: self.srcinfo.clone() }
    }

    /// The first value of a field of the `.SRCINFO`; empty if there is none.
    fn fact(&self, field: &str) -> &str {
        let mut fields = self.srcinfo.lines().filter_map(|line| line.trim_start().split_once(" = "));
        fields.find_map(|(name, value)| (name == field).then_some(value)).unwrap_or_default()
    }
}

/// Each line as `edit` returns it, or as it was.
fn edit_lines(text: &str, edit: impl Fn(&str) -> Option<String>) -> String {
    text.lines().map(|line| edit(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        let folder = Folder::default()
            .with(
                "PKGBUILD",
                "pkgver=1.9\npkgrel=4\nurl=\"http://a:1/\"\nsource=(\"http://a:1/sources/$pkgname-$pkgver.tgz\"\n        \
                 \"fix.patch\")\nsha256sums=('aaa'\n            'bbb')\n\nbuild() {\n  make\n}\n",
            )
            .with(
                ".SRCINFO",
                "pkgbase = x\n\tpkgver = 1.9\n\tpkgrel = 4\n\turl = http://a:1/\n\
                 \tsource = http://a:1/sources/x-1.9.tgz\n\tsource = fix.patch\n\tsha256sums = aaa\n\
                 \tsha256sums = bbb\n\npkgname = x\n",
            );
        Recipe::from_folder(&folder).unwrap()
    }

    #[test]
    fn a_version_brings_its_checksum_and_starts_the_release_again() {
        let next = recipe().with_version(&recipe().next_version(), "ccc");
        insta::assert_snapshot!(next.pkgbuild, @r#"
        pkgver=1.10
        pkgrel=1
        url="http://a:1/"
        source=("http://a:1/sources/$pkgname-$pkgver.tgz"
                "fix.patch")
        sha256sums=('ccc'
                    'bbb')

        build() {
          make
        }
        "#);
        insta::assert_snapshot!(next.srcinfo, @r"
        pkgbase = x
        	pkgver = 1.10
        	pkgrel = 1
        	url = http://a:1/
        	source = http://a:1/sources/x-1.10.tgz
        	source = fix.patch
        	sha256sums = ccc
        	sha256sums = bbb

        pkgname = x
        ");
    }

    #[test]
    fn a_line_put_into_build_can_be_taken_out_again() {
        let broken = recipe().with_build_line("  gcc missing.c");
        assert!(broken.has_line("  gcc missing.c"));
        assert_eq!(broken.without_lines("  gcc missing.c"), recipe());
    }

    #[test]
    fn only_sources_move_to_another_host() {
        let moved = recipe().with_source_host("a:1", "b:2");
        assert!(moved.pkgbuild.contains("url=\"http://a:1/\""));
        assert!(moved.pkgbuild.contains("source=(\"http://b:2/sources/$pkgname-$pkgver.tgz\""));
        assert!(moved.srcinfo.contains("\tsource = http://b:2/sources/x-1.9.tgz"));
    }

    #[test]
    fn a_rebuild_raises_the_release_alone() {
        let again = recipe().released_again();
        assert_eq!(again.pkgbuild, recipe().pkgbuild.replace("pkgrel=4", "pkgrel=5"));
        assert_eq!(again.srcinfo, recipe().srcinfo.replace("pkgrel = 4", "pkgrel = 5"));
    }
}

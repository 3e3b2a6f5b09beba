//! Small packages: a PKGBUILD and the `.SRCINFO` that belongs to it.

use std::fmt::Write as _;

use pkgwarden::domain::folder::Folder;

use super::repo::Change;

/// A package as its maintainer thinks of it.
#[derive(Debug, Clone)]
pub struct Pkg {
    pub base: String,
    members: Vec<String>,
    epoch: Option<u32>,
    version: String,
    release: String,
    needs: Vec<String>,
    sources: Vec<String>,
    config: String,
    build: String,
    package: String,
    srcinfo: Option<String>,
}

impl Pkg {
    /// A package kept by people in the monorepo, at 1.0-1.
    pub fn new(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            members: vec![base.to_owned()],
            epoch: None,
            version: "1.0".to_owned(),
            release: "1".to_owned(),
            needs: Vec::new(),
            sources: Vec::new(),
            config: "CI_PKGBUILD_SOURCE=custom\n".to_owned(),
            build: "  true".to_owned(),
            package: "  true".to_owned(),
            srcinfo: None,
        }
    }

    /// A package that comes from the AUR.
    pub fn from_aur(base: &str) -> Self {
        Self::new(base).config("CI_PKGBUILD_SOURCE=aur\n")
    }

    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    pub fn release(mut self, release: &str) -> Self {
        release.clone_into(&mut self.release);
        self
    }

    pub fn epoch(mut self, epoch: u32) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// The names it yields, if not its own.
    pub fn members(mut self, names: &[&str]) -> Self {
        self.members = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    pub fn needs(mut self, names: &[&str]) -> Self {
        self.needs = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Its `source=()`.
    pub fn sources(mut self, sources: &[&str]) -> Self {
        self.sources = sources.iter().map(|&source| source.to_owned()).collect();
        self
    }

    /// The text of `.CI/config`.
    pub fn config(mut self, text: &str) -> Self {
        text.clone_into(&mut self.config);
        self
    }

    /// The one line of `build()`.
    pub fn built_by(mut self, line: &str) -> Self {
        self.build = format!("  {line}");
        self
    }

    /// The one line of `package()`, if it has but one member.
    pub fn packed_by(mut self, line: &str) -> Self {
        self.package = format!("  {line}");
        self
    }

    /// Exactly this text as `.SRCINFO`.
    pub fn srcinfo(mut self, text: &str) -> Self {
        self.srcinfo = Some(text.to_owned());
        self
    }

    /// The files that its source has: without `.CI`.
    pub fn source(&self) -> Folder {
        let srcinfo = self.srcinfo.clone().unwrap_or_else(|| self.right_srcinfo());
        Folder::default().with("PKGBUILD", self.pkgbuild()).with(".SRCINFO", srcinfo)
    }

    /// The files in the monorepo.
    pub fn folder(&self) -> Folder {
        self.source().with(".CI/config", &self.config)
    }

    /// What adds it to the monorepo, or updates it there.
    pub fn changes(&self) -> Vec<Change> {
        Change::put_all(&format!("{}/", self.base), &self.folder())
    }

    fn pkgbuild(&self) -> String {
        let mut text = format!("# Maintainer: Pia Sand <pia@example.org>\npkgbase={}\n", self.base);
        let _ = writeln!(text, "pkgname=({})", list(&self.members));
        let _ = writeln!(text, "pkgver={}\npkgrel={}", self.version, self.release);
        text.push_str(&self.epoch.map(|epoch| format!("epoch={epoch}\n")).unwrap_or_default());
        text.push_str("pkgdesc=\"A thing\"\narch=('any')\nurl=\"https://example.org\"\nlicense=('MIT')\n");
        if !self.needs.is_empty() {
            let _ = writeln!(text, "depends=({})", list(&self.needs));
        }
        if !self.sources.is_empty() {
            let _ = writeln!(text, "source=({})\nsha256sums=({})", list(&self.sources), self.skips().join(" "));
        }
        let _ = write!(text, "\nbuild() {{\n{}\n}}\n", self.build);
        if self.members == [self.base.clone()] {
            let _ = write!(text, "\npackage() {{\n{}\n}}\n", self.package);
        } else {
            self.members.iter().for_each(|name| {
                let _ = write!(text, "\npackage_{name}() {{\n  true\n}}\n");
            });
        }
        text
    }

    fn skips(&self) -> Vec<&'static str> {
        vec!["SKIP"; self.sources.len()]
    }

    fn right_srcinfo(&self) -> String {
        let mut text = format!("pkgbase = {}\n\tpkgdesc = A thing\n", self.base);
        let _ = write!(text, "\tpkgver = {}\n\tpkgrel = {}\n", self.version, self.release);
        text.push_str(&self.epoch.map(|epoch| format!("\tepoch = {epoch}\n")).unwrap_or_default());
        text.push_str("\turl = https://example.org\n\tarch = any\n\tlicense = MIT\n");
        self.needs.iter().for_each(|name| {
            let _ = writeln!(text, "\tdepends = {name}");
        });
        for (source, sum) in self.sources.iter().zip(self.skips()) {
            let _ = write!(text, "\tsource = {source}\n\tsha256sums = {sum}\n");
        }
        self.members.iter().for_each(|name| {
            let _ = write!(text, "\npkgname = {name}\n");
        });
        text
    }
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(" ")
}

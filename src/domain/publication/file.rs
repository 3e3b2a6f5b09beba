//! Whether a package file is what a build was to yield, from what is written in it.
//!
//! Every finding has a code that never changes, says what is wrong and what to do. An error keeps the whole build
//! from being published; a warning is kept with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::domain::finding::{Finding, Severity};
use crate::domain::name::{PkgBase, PkgName};
use crate::domain::queue::BuildId;
use crate::domain::version::Version;

/// A clock of a builder, or of whoever made a commit, may be wrong by this much.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(24);
/// Our own clock is corrected by less than this while all is well.
const OWN_SKEW: SignedDuration = SignedDuration::from_hours(1);
/// The code of a file that was built in the future.
const AHEAD: &str = "package-build-ahead";
/// How many names of files a finding tells.
const TOLD: usize = 5;

/// What a build was to yield.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The package.
    pub pkgbase: PkgBase,
    /// Its version; `None` if only the build could tell it (`-git` packages).
    pub version: Option<Version>,
    /// The architecture it was built for; files for `any` are right as well.
    pub arch: String,
    /// The packages it is known to consist of. Others are accepted and reported, unless they are another
    /// package's.
    pub members: BTreeSet<PkgName>,
    /// The build, for the manifest.
    pub build: Option<BuildId>,
    /// Whether it may have `groups` and `replaces`: `BUILDER_ALLOW_PROHIBITED`.
    pub allow_prohibited: bool,
    /// Names of the distribution, as far as they are known from `CI_LIB_DB`: no package may take them.
    pub official: Arc<BTreeSet<String>>,
}

/// What `.PKGINFO` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pkginfo {
    /// `pkgbase`.
    pub pkgbase: String,
    /// `pkgname`.
    pub pkgname: String,
    /// `pkgver`: the whole version, with epoch and release.
    pub pkgver: String,
    /// `arch`.
    pub arch: String,
    /// `builddate` as written.
    pub builddate: String,
    /// Every `group`.
    pub groups: Vec<String>,
    /// Every `replaces`.
    pub replaces: Vec<String>,
    /// Every `conflict`.
    pub conflicts: Vec<String>,
    /// Every `provides`.
    pub provides: Vec<String>,
    /// Every `depend`.
    pub depends: Vec<String>,
}

/// What is in the archive, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Names that lead out of the folder it is unpacked in, or links that do.
    pub escapes: Vec<String>,
    /// Files that run as somebody else than who starts them.
    pub setuid: Vec<String>,
    /// Devices and pipes.
    pub devices: Vec<String>,
    /// Names of metadata that are there more than once.
    pub twice: Vec<String>,
    /// Files beside those that makepkg writes whose name begins with a dot.
    pub dotted: Vec<String>,
}

/// A package file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Its name.
    pub file: String,
    /// What it says of itself.
    pub info: Pkginfo,
    /// What is in it.
    pub content: Content,
}

/// What is published of a package now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct There {
    /// The package it is a member of.
    pub base: PkgBase,
    /// Its version.
    pub version: Version,
    /// When it was built, in unix seconds, if that is known.
    pub build_date: Option<i64>,
}

/// What files are compared with beside the build.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// What is published, by name.
    pub published: BTreeMap<PkgName, There>,
    /// Names of the distribution that no package may take, unless it is in `allowed_official`.
    pub official: BTreeSet<String>,
    /// Packages that may take names of the distribution.
    pub allowed_official: BTreeSet<String>,
    /// Packages that everybody has installed: nothing may push them out.
    pub base_packages: BTreeSet<String>,
    /// When something was published last, by the clock of then.
    pub last_publication: Option<Timestamp>,
}

/// Checks all files of a build. They may be published if no finding is an error.
#[must_use]
pub fn check(files: &[FileFacts], expected: &Expected, around: &Surroundings, now: Timestamp) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        files.iter().flat_map(|file| Check { file, expected, around, now, found: Vec::new() }.all()).collect();
    findings.extend(together(files));
    for finding in &mut findings {
        finding.pkgbase = Some(expected.pkgbase.clone());
    }
    findings
}

/// Whether any of them keeps a build from being published.
#[must_use]
pub fn refuses(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// Whether files are the build's in all but the time, which is in the future: a clock is wrong, and neither is it known
/// whose nor is that the package's fault. They may not be published: then every later build would be the older one.
#[must_use]
pub fn are_only_ahead(findings: &[Finding]) -> bool {
    refuses(findings)
        && findings.iter().filter(|finding| finding.severity == Severity::Error).all(|finding| finding.code == AHEAD)
}

/// Whether it is our own clock that is wrong: it is behind what it was when something was published last.
#[must_use]
pub fn is_set_back(around: &Surroundings, now: Timestamp) -> bool {
    around.last_publication.is_some_and(|last| last.duration_since(now) > OWN_SKEW)
}

/// What only shows when all files are seen together.
fn together(files: &[FileFacts]) -> Vec<Finding> {
    let mut names = BTreeSet::new();
    let mut findings = Vec::new();
    for FileFacts { file, info, .. } in files {
        if !names.insert(&info.pkgname) {
            let message = format!("`{}` is there twice", info.pkgname.escape_debug());
            findings.push(Finding::error("package-twice", message).at(file, None).hint("yield each package once"));
        }
        if info.pkgver != files[0].info.pkgver {
            let message =
                format!("its version is `{}`, and other files of the build have another", info.pkgver.escape_debug());
            findings.push(
                Finding::error("package-version", message).at(file, None).hint("remove what an earlier build has left"),
            );
        }
    }
    findings
}

struct Check<'a> {
    file: &'a FileFacts,
    expected: &'a Expected,
    around: &'a Surroundings,
    now: Timestamp,
    found: Vec<Finding>,
}

impl Check<'_> {
    fn all(mut self) -> Vec<Finding> {
        self.identity();
        self.file_name();
        self.build_date();
        self.ownership();
        self.prohibited();
        self.content();
        self.found
    }

    fn error(&mut self, code: &'static str, message: String, hint: &str) {
        self.found.push(Finding::error(code, message).at(&self.file.file, None).hint(hint));
    }

    fn warning(&mut self, code: &'static str, message: String, hint: &str) {
        self.found.push(Finding::warning(code, message).at(&self.file.file, None).hint(hint));
    }

    fn differs(&mut self, code: &'static str, what: &str, found: &str, wanted: &str, hint: &str) {
        self.error(code, format!("its {what} is `{}`, not `{wanted}`", found.escape_debug()), hint);
    }

    fn identity(&mut self) {
        let (info, expected) = (&self.file.info, self.expected);
        if info.pkgbase != expected.pkgbase.as_str() {
            let hint = "a build yields only its own package";
            self.differs("package-base", "pkgbase", &info.pkgbase, expected.pkgbase.as_str(), hint);
        }
        if let Err(error) = PkgName::new(&info.pkgname) {
            self.error("package-name", format!("its name cannot be used: {error}"), "correct `pkgname`");
        }
        // It becomes the name of a file and of a folder in the database.
        let odd = |byte: u8| !byte.is_ascii_graphic() || b"/\\*?[]{}'\"`$;&|<>()!#".contains(&byte);
        if info.pkgver.bytes().any(odd) || !info.pkgver.contains('-') {
            let message = format!("`{}` is not a version", info.pkgver.escape_debug());
            self.error("package-version", message, "correct `pkgver`");
        }
        if let Some(version) = &expected.version
            && version.as_str().trim_start_matches("0:") != info.pkgver
        {
            let hint = "the version is that of the commit, with its bump";
            self.differs("package-version", "version", &info.pkgver, version.as_str(), hint);
        }
        if info.arch != "any" && info.arch != expected.arch {
            self.differs("package-arch", "architecture", &info.arch, &expected.arch, "build it for the repository's");
        }
    }

    fn file_name(&mut self) {
        let FileFacts { file, info, .. } = self.file;
        let wanted = format!("{}-{}-{}.pkg.tar.zst", info.pkgname, info.pkgver, info.arch);
        if *file != wanted {
            self.differs(
                "package-file-name",
                "name",
                file,
                &wanted.escape_debug().to_string(),
                "leave it as makepkg named it",
            );
        }
    }

    fn build_date(&mut self) {
        let written = &self.file.info.builddate;
        let date = written.parse::<i64>().ok().filter(|&date| date > 0);
        let Some(built) = date.and_then(|date| Timestamp::from_second(date).ok()) else {
            let message = format!("its build date `{}` is no time", written.escape_debug());
            return self.error("package-build-date", message, "build it with makepkg");
        };
        if built.duration_since(self.now) > CLOCK_SKEW {
            return self.ahead(built);
        }
        let date = built.as_second();
        let Some(there) = self.there() else { return };
        let (version, published) = (there.version.clone(), there.build_date);
        let ours = Version::new(self.file.info.pkgver.clone());
        if ours == version && published.is_some_and(|published| date < published) {
            let message = format!("it was built before the `{version}` that is published");
            self.warning("package-older", message, "what is published stays; raise `pkgrel` to publish another");
        } else if ours < version {
            let message = format!("its version `{ours}` is lower than the published `{version}`");
            self.warning(
                "package-downgrade",
                message,
                "those who have the other keep it; raise `epoch` if that is not meant",
            );
        }
    }

    fn ahead(&mut self, built: Timestamp) {
        let now = self.now.strftime("%FT%TZ");
        let message = format!("it says that it was built at {built}, and it is {now} by the clock of this machine");
        if let Some(last) = self.around.last_publication.filter(|_| is_set_back(self.around, self.now)) {
            let message = format!("{message}, by which something was published at {}", last.strftime("%FT%TZ"));
            return self.error(AHEAD, message, "set the clock of this machine");
        }
        let hint = "set the clock that is wrong: of this machine, of the builder, or of whoever made the commit, whose time \
                    makepkg writes; then build it again";
        self.error(AHEAD, message, hint);
    }

    fn there(&self) -> Option<&There> {
        self.around.published.get(self.file.info.pkgname.as_str())
    }

    fn ownership(&mut self) {
        let name = self.file.info.pkgname.clone();
        let member = self.expected.members.iter().any(|member| member.as_str() == name);
        if let Some(owner) = self.there().map(|there| there.base.clone())
            && owner != self.expected.pkgbase
            && !member
        {
            let message = format!("`{}` belongs to the package `{owner}`", name.escape_debug());
            self.error("package-not-its-own", message, "name it in .SRCINFO if the package has moved");
        }
        if self.is_official(&name) && !self.may_be_official() {
            let message =
                format!("the distribution has a package `{}`, which this one would replace", name.escape_debug());
            let hint = format!("rename it, or add `{}` to publish.allow_official", self.expected.pkgbase);
            self.error("package-official-name", message, &hint);
        }
        self.provided();
    }

    /// Whoever provides a package of the distribution without saying which version stands in for any of them.
    fn provided(&mut self) {
        let taken = |name: &&String| {
            !name.contains(['=', '<', '>']) && **name != self.file.info.pkgname && self.is_official(name)
        };
        let taken: Vec<String> = self.file.info.provides.iter().filter(taken).cloned().collect();
        if !taken.is_empty() && !self.may_be_official() {
            let message = format!("it provides packages of the distribution without a version ({})", listed(&taken));
            let hint = format!(
                "write provides=(\"{}=$pkgver\"), or add `{}` to publish.allow_official",
                taken[0].escape_debug(),
                self.expected.pkgbase
            );
            self.warning("package-official-provides", message, &hint);
        }
    }

    fn is_official(&self, name: &str) -> bool {
        self.around.official.contains(name) || self.expected.official.contains(name)
    }

    fn may_be_official(&self) -> bool {
        self.around.allowed_official.contains(self.expected.pkgbase.as_str())
    }

    fn prohibited(&mut self) {
        if self.expected.allow_prohibited {
            return;
        }
        let hint = "remove it, or write BUILDER_ALLOW_PROHIBITED=true into .CI/config or the package into \
                    publish.allow_prohibited";
        let info = &self.file.info;
        for (field, values) in [("groups", &info.groups), ("replaces", &info.replaces)] {
            if !values.is_empty() {
                let message = format!("it has {field} ({}), which change what others install", listed(values));
                self.error("package-prohibited-field", message, hint);
            }
        }
        let base = &self.around.base_packages;
        let pushed: Vec<String> =
            info.conflicts.iter().filter(|name| base.contains(super::need::Need::parse(name).name)).cloned().collect();
        if !pushed.is_empty() {
            let message = format!("it conflicts with packages that everybody has ({})", listed(&pushed));
            self.error("package-prohibited-field", message, hint);
        }
    }

    fn content(&mut self) {
        let content = &self.file.content;
        let errors = [
            ("package-path-escape", "it has files that leave the folder it is unpacked in", &content.escapes),
            ("package-device", "it has devices or pipes", &content.devices),
            ("package-metadata-twice", "it has metadata twice, so that readers may differ", &content.twice),
        ];
        for (code, what, names) in errors.into_iter().filter(|(.., names)| !names.is_empty()) {
            self.error(code, format!("{what} ({})", listed(names)), "build it with makepkg");
        }
        let warnings = [
            ("package-setuid", "it has files that run as somebody else (setuid, setgid)", &content.setuid),
            ("package-dotfile", "it has files at its root whose name begins with a dot", &content.dotted),
        ];
        for (code, what, names) in warnings.into_iter().filter(|(.., names)| !names.is_empty()) {
            self.warning(code, format!("{what} ({})", listed(names)), "see that this is meant");
        }
    }
}

/// The first names, and how many more there are.
fn listed(names: &[String]) -> String {
    let told: Vec<String> = names
        .iter()
        .take(TOLD)
        .map(|name| name.chars().take(120).collect::<String>().escape_debug().to_string())
        .collect();
    let more = names.len().saturating_sub(TOLD);
    if more > 0 { format!("{} and {more} more", told.join(", ")) } else { told.join(", ") }
}

#[cfg(test)]
mod tests;

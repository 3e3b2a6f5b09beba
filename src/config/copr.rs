//! What the settings of builds on COPR are, and what they need of each other.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::settings::ExecutorKind;
use super::value::{Address, GitAddress};
use super::written::{WrittenCopr, WrittenExecutor};
use crate::domain::copr::Project;

/// Something that is missing or does not fit: the place that it is shown at, what is wrong, and what to do.
type Fault = (Vec<&'static str>, String, &'static str);

/// Builds on COPR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copr {
    /// The server; `None` leaves it to the file with the login.
    pub url: Option<Address>,
    /// The project; always there with that kind.
    pub project: Option<Project>,
    /// File with the API login; `None` for the usual place.
    pub login_file: Option<PathBuf>,
    /// What the source package is made from.
    pub method: Method,
    /// The chroots, as patterns; none for all of the project.
    pub chroots: Vec<String>,
    /// Whether builds give way to others.
    pub background: bool,
    /// Whether builds may use the network; `None` leaves it to the project.
    pub enable_net: Option<bool>,
    /// Of `Scm`: where COPR clones from; `None` for the address of the monorepo.
    pub clone_url: Option<String>,
    /// Of `Scm`: the spec file in the folder; empty if COPR is to look for it.
    pub spec: String,
    /// Of `Scm`: what makes the source package.
    pub source_package: SourcePackage,
    /// Of `Url`: the address; always there with that method.
    pub source_url: String,
    /// Of `Custom`: the file with the script; always there with that method.
    pub script: PathBuf,
    /// Of `Custom`: the chroot of the script; empty if COPR is to take one.
    pub script_chroot: String,
    /// Of `Custom`: what is installed for it.
    pub script_packages: Vec<String>,
    /// Of `Custom`: where it leaves the sources; empty for where it runs.
    pub script_results: String,
    /// How long there may be no log while a build runs.
    pub log_patience: Duration,
}

/// What COPR makes a source package from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The folder of the package in the monorepo, which it clones.
    Scm,
    /// A source package at an address.
    Url,
    /// The source package that lies in the folder.
    Upload,
    /// What a script makes.
    Custom,
}

/// What makes a source package of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourcePackage {
    /// rpkg, from a spec file or a template of one.
    Rpkg,
    /// tito, at its last tag.
    Tito,
    /// tito, at the commit.
    TitoTest,
    /// `make srpm` in `.copr/Makefile`.
    MakeSrpm,
}

impl SourcePackage {
    /// As COPR writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rpkg => "rpkg",
            Self::Tito => "tito",
            Self::TitoTest => "tito_test",
            Self::MakeSrpm => "make_srpm",
        }
    }
}

/// What is wrong with them, if builds are made there.
pub(super) fn faults(executor: &WrittenExecutor) -> Vec<Fault> {
    const PROJECT: &str = "write executor.copr.project = \"OWNER/NAME\", or \"@GROUP/NAME\"";
    if executor.kind != Some(ExecutorKind::Copr) {
        return Vec::new();
    }
    let (copr, mut faults) = (&executor.copr, Vec::new());
    match &copr.project {
        None => {
            faults.push((vec!["executor", "kind"], "executor.kind = \"copr\" needs a project".to_owned(), PROJECT));
        }
        Some(project) if Project::parse(project).is_none() => {
            let message = format!("`{project}` is no project with its owner");
            faults.push((vec!["executor", "copr", "project"], message, PROJECT));
        }
        Some(_) => {}
    }
    let missing = match copr.method {
        Some(Method::Url) if copr.source_url.is_none() => {
            Some(("method = \"url\" needs an address", "write it as executor.copr.source_url, with {pkgbase} in it"))
        }
        Some(Method::Custom) if copr.script.is_none() => {
            Some(("method = \"custom\" needs a script", "name the file as executor.copr.script"))
        }
        _ => None,
    };
    faults.extend(missing.map(|(message, hint)| (vec!["executor", "copr", "method"], message.to_owned(), hint)));
    faults
}

pub(super) fn resolve(copr: WrittenCopr) -> Copr {
    const GIVEN: &str = "defaults.toml gives this key";
    Copr {
        url: copr.url,
        project: copr.project.as_deref().and_then(Project::parse),
        login_file: copr.login_file,
        method: copr.method.expect(GIVEN),
        chroots: copr.chroots.expect(GIVEN),
        background: copr.background.expect(GIVEN),
        enable_net: copr.enable_net,
        clone_url: copr.clone_url.as_ref().map(GitAddress::as_str).map(str::to_owned),
        spec: copr.spec.unwrap_or_default(),
        source_package: copr.source_package.expect(GIVEN),
        source_url: copr.source_url.unwrap_or_default(),
        script: copr.script.unwrap_or_default(),
        script_chroot: copr.script_chroot.unwrap_or_default(),
        script_packages: copr.script_packages.expect(GIVEN),
        script_results: copr.script_results.unwrap_or_default(),
        log_patience: copr.log_patience.expect(GIVEN).duration(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::load;

    fn told(text: &str) -> String {
        let text = format!("[executor]\nkind = \"copr\"\n[executor.copr]\n{text}");
        match load(Some(("pkgwarden.toml", &text)), &BTreeMap::new()) {
            Ok(settings) => format!("{:?}", settings.repositories[0].executor.copr.method),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_builds_on_copr_need_is_said_at_its_place() {
        assert_eq!(told("project = \"me/tools\""), "Scm");
        assert_eq!(told("project = \"@team/tools\"\nmethod = \"upload\""), "Upload");
        insta::assert_snapshot!(told(""), @r#"pkgwarden.toml:2:8: executor.kind = "copr" needs a project; write executor.copr.project = "OWNER/NAME", or "@GROUP/NAME""#);
        insta::assert_snapshot!(told("project = \"tools\"\nmethod = \"custom\""), @r#"
        pkgwarden.toml:4:11: `tools` is no project with its owner; write executor.copr.project = "OWNER/NAME", or "@GROUP/NAME"
        pkgwarden.toml:5:10: method = "custom" needs a script; name the file as executor.copr.script
        "#);
        insta::assert_snapshot!(told("project = \"me/tools\"\nmethod = \"url\""), @r#"pkgwarden.toml:5:10: method = "url" needs an address; write it as executor.copr.source_url, with {pkgbase} in it"#);
    }
}

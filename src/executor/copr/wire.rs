//! What COPR answers, as far as it is needed, and what it is asked to build.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::domain::copr::{Project, State};

/// A build.
#[derive(Debug, Clone, Deserialize)]
pub struct Build {
    /// Its number.
    pub id: u64,
    /// How it stands.
    #[serde(default)]
    pub state: State,
    /// Who asked for it; nobody if a webhook did.
    #[serde(default)]
    pub submitter: Option<String>,
    /// The part of the project that it is in.
    #[serde(default)]
    pub project_dirname: Option<String>,
}

/// A chroot of a build, or its source stage.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Chroot {
    /// What it is called; empty for the source stage.
    #[serde(default)]
    pub name: String,
    /// How it stands.
    #[serde(default)]
    pub state: State,
    /// The directory of its results, once there is one.
    #[serde(default)]
    pub result_url: Option<String>,
}

/// A page of a list.
#[derive(Debug, Clone, Deserialize)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
}

/// From what a build was made.
#[derive(Debug, Clone, Deserialize)]
pub struct SourceConfig {
    /// `scm`, `link`, `upload`, `custom` and others.
    #[serde(default)]
    pub source_type: String,
    /// What was asked for.
    #[serde(default)]
    pub source_dict: Map<String, Value>,
}

/// What a build is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A directory of a git repository.
    Scm {
        /// Its address.
        clone_url: String,
        /// The commit, branch or tag; empty for the default branch.
        committish: String,
        /// The directory; empty for the top.
        subdirectory: String,
        /// The spec file in it; empty if COPR is to find it.
        spec: String,
        /// `rpkg`, `tito`, `tito_test` or `make_srpm`.
        method: String,
    },
    /// A source package or a spec file on a web server.
    Url(String),
    /// A source package of ours.
    Upload {
        /// What it is called there.
        name: String,
        /// Where it is.
        path: std::path::PathBuf,
    },
    /// A script that makes the sources.
    Custom {
        /// Its text.
        script: String,
        /// The chroot that it runs in; empty for the one that COPR takes.
        chroot: String,
        /// What is installed there, separated by blanks.
        builddeps: String,
        /// Where it leaves the sources; empty for the directory that it runs in.
        resultdir: String,
    },
}

impl Source {
    /// Where a build of it is asked for, below `build/create`.
    pub(super) const fn endpoint(&self) -> &'static str {
        match self {
            Self::Scm { .. } => "scm",
            Self::Url(_) => "url",
            Self::Upload { .. } => "upload",
            Self::Custom { .. } => "custom",
        }
    }

    /// What is asked, beside the options.
    pub(super) fn fields(&self) -> Value {
        match self {
            Self::Scm { clone_url, committish, subdirectory, spec, method } => json!({
                "clone_url": clone_url, "committish": committish, "subdirectory": subdirectory, "spec": spec,
                "scm_type": "git", "source_build_method": method,
            }),
            Self::Url(url) => json!({"pkgs": [url]}),
            Self::Upload { .. } => json!({}),
            Self::Custom { script, chroot, builddeps, resultdir } => {
                let mut fields = json!({"script": script});
                let given = [("chroot", chroot), ("builddeps", builddeps), ("resultdir", resultdir)];
                for (key, value) in given.into_iter().filter(|(_, value)| !value.is_empty()) {
                    fields[key] = json!(value);
                }
                fields
            }
        }
    }

    /// Whether a build was made from this.
    #[must_use]
    pub fn made(&self, config: &SourceConfig) -> bool {
        let said = |key: &str| config.source_dict.get(key).and_then(Value::as_str).unwrap_or_default();
        match self {
            Self::Scm { clone_url, committish, subdirectory, spec, .. } => {
                config.source_type == "scm"
                    && said("clone_url") == clone_url
                    && said("committish") == committish
                    && said("subdirectory") == subdirectory
                    && said("spec") == spec
            }
            Self::Url(url) => config.source_type == "link" && said("url") == url,
            Self::Upload { name, .. } => config.source_type == "upload" && said("pkg") == name,
            // COPR may change the ends of lines.
            Self::Custom { script, .. } => config.source_type == "custom" && said("script").lines().eq(script.lines()),
        }
    }
}

/// How a build is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The chroots, patterns allowed; all of the project's if there are none.
    pub chroots: Vec<String>,
    /// How long it may take, in seconds; COPR's own limit if it is not said.
    pub timeout: Option<u64>,
    /// Whether it gives way to others.
    pub background: bool,
    /// Whether it may use the network; as the project says if it is not said.
    pub enable_net: Option<bool>,
    /// A part of the project with a repository of its own (`project:pr:5`).
    pub dirname: Option<String>,
}

impl Options {
    /// The whole of what is asked.
    pub(super) fn body(&self, project: &Project, source: &Source) -> Value {
        let mut body = source.fields();
        body["ownername"] = json!(project.owner);
        body["projectname"] = json!(project.name);
        if !self.chroots.is_empty() {
            body["chroots"] = json!(self.chroots);
        }
        if let Some(timeout) = self.timeout {
            body["timeout"] = json!(timeout);
        }
        if self.background {
            body["background"] = json!(true);
        }
        if let Some(enable_net) = self.enable_net {
            body["enable_net"] = json!(enable_net);
        }
        if let Some(dirname) = &self.dirname {
            body["project_dirname"] = json!(dirname);
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_left_to_copr() {
        let project = Project::parse("me/tools").expect("a project");
        let source = Source::Url("https://h.example/a.src.rpm".into());
        insta::assert_snapshot!(Options::default().body(&project, &source), @r#"{"ownername":"me","pkgs":["https://h.example/a.src.rpm"],"projectname":"tools"}"#);
        let options = Options {
            chroots: vec!["fedora-*-x86_64".into()],
            timeout: Some(60),
            background: true,
            enable_net: Some(false),
            dirname: Some("tools:pr:5".into()),
        };
        let script = Source::Custom {
            script: "#!/bin/sh\n".into(),
            chroot: String::new(),
            builddeps: "git".into(),
            resultdir: String::new(),
        };
        insta::assert_snapshot!(options.body(&project, &script), @r##"{"background":true,"builddeps":"git","chroots":["fedora-*-x86_64"],"enable_net":false,"ownername":"me","project_dirname":"tools:pr:5","projectname":"tools","script":"#!/bin/sh\n","timeout":60}"##);
    }

    #[test]
    fn a_build_is_known_again_by_what_it_was_made_from() {
        let config = |kind: &str, dict: Value| SourceConfig {
            source_type: kind.into(),
            source_dict: dict.as_object().expect("a table").clone(),
        };
        let scm = Source::Scm {
            clone_url: "https://git.example/p.git".into(),
            committish: "abc".into(),
            subdirectory: "small".into(),
            spec: String::new(),
            method: "rpkg".into(),
        };
        let dict = json!({"type": "git", "clone_url": "https://git.example/p.git", "committish": "abc",
                          "subdirectory": "small", "spec": "", "srpm_build_method": "rpkg"});
        assert!(scm.made(&config("scm", dict.clone())));
        let mut other = dict.clone();
        other["subdirectory"] = json!("large");
        assert!(!scm.made(&config("scm", other)) && !scm.made(&config("custom", dict)));
        let upload = Source::Upload { name: "pkgwarden-a1.src.rpm".into(), path: "/x".into() };
        assert!(upload.made(&config("upload", json!({"tmp": "x", "pkg": "pkgwarden-a1.src.rpm"}))));
        assert!(!upload.made(&config("upload", json!({"pkg": "pkgwarden-a2.src.rpm"}))));
    }
}

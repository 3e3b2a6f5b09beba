//! What COPR is asked to build for a package.

use std::path::{Path, PathBuf};

use super::wire::{Options, Source};
use crate::domain::folder::{File, FileMode};
use crate::executor::BuildOrder;

/// The longest time that COPR takes, in seconds.
const LONGEST: u64 = 108_000;
/// What a source package is called.
const SOURCE_PACKAGE: &str = ".src.rpm";

/// How COPR comes to the sources of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// It clones the monorepo at the commit and makes a source package of the folder of the package.
    Scm {
        /// The address it clones from; that of the monorepo if there is none.
        clone_url: Option<String>,
        /// The spec file in the folder; empty if COPR is to find it.
        spec: String,
        /// How the source package is made: `rpkg`, `tito`, `tito_test` or `make_srpm`.
        srpm: String,
    },
    /// It takes the source package from an address, with `{pkgbase}`, `{version}`, `{commit}` and `{arch}` in it.
    Url(String),
    /// It is sent the source package that lies in the folder of the package.
    Upload,
    /// It runs a script, which knows what it is for by its environment.
    Custom {
        /// The file with the script.
        script: PathBuf,
        /// The chroot that it runs in; empty for the one that COPR takes.
        chroot: String,
        /// What is installed there, separated by blanks.
        builddeps: String,
        /// Where it leaves the sources; empty for the directory that it runs in.
        resultdir: String,
    },
}

impl Method {
    /// What is asked for; files are left in `dir`.
    ///
    /// # Errors
    /// A sentence that says why it cannot be asked for.
    pub fn source(&self, order: &BuildOrder, dir: &Path) -> Result<Source, String> {
        match self {
            Self::Scm { clone_url, spec, srpm } => {
                let clone_url = clone_url.as_ref().or(order.url.as_ref()).ok_or(
                    "COPR cannot clone a monorepo that only this machine has; name its address as executor.copr.clone_url",
                )?;
                Ok(Source::Scm {
                    clone_url: clone_url.clone(),
                    committish: order.commit.to_string(),
                    subdirectory: order.pkgbase.to_string(),
                    spec: filled(spec, order)?,
                    method: srpm.clone(),
                })
            }
            Self::Url(address) => Ok(Source::Url(filled(address, order)?)),
            Self::Upload => upload(order, dir),
            Self::Custom { script, chroot, builddeps, resultdir } => {
                let text = std::fs::read_to_string(script)
                    .map_err(|error| format!("cannot read executor.copr.script {}: {error}", script.display()))?;
                Ok(Source::Custom {
                    script: knowing(&text, order),
                    chroot: chroot.clone(),
                    builddeps: builddeps.clone(),
                    resultdir: resultdir.clone(),
                })
            }
        }
    }
}

/// How it is asked for. A test build goes into a part of the project of its own.
#[must_use]
pub fn options(project: &str, order: &BuildOrder, common: &Options) -> Options {
    Options {
        timeout: Some(order.may_take().as_secs().clamp(1, LONGEST)),
        dirname: order.proposal.map(|number| format!("{project}:pr:{number}")),
        ..common.clone()
    }
}

fn filled(text: &str, order: &BuildOrder) -> Result<String, String> {
    let version = order.expected_version.as_ref().map(ToString::to_string);
    if text.contains("{version}") && version.is_none() {
        return Err(format!(
            "`{text}` asks for the version of {}, which is not known before it is built",
            order.pkgbase
        ));
    }
    Ok(text
        .replace("{version}", &version.unwrap_or_default())
        .replace("{pkgbase}", order.pkgbase.as_str())
        .replace("{commit}", &order.commit.to_string())
        .replace("{arch}", &order.arch))
}

/// The one source package in the folder of the package.
fn upload(order: &BuildOrder, dir: &Path) -> Result<Source, String> {
    let is_one = |path: &str, file: &File| {
        !path.contains('/') && path.ends_with(SOURCE_PACKAGE) && file.mode == FileMode::Regular
    };
    let found: Vec<_> = order.files.files.iter().filter(|(path, file)| is_one(path, file)).collect();
    let [(_, file)] = found.as_slice() else {
        let count = found.len();
        return Err(format!(
            "the folder of {} holds {count} files *{SOURCE_PACKAGE}, and has to hold one",
            order.pkgbase
        ));
    };
    // COPR keeps the name, by which the build is known again.
    let name = format!("pkgwarden-{}{SOURCE_PACKAGE}", order.attempt);
    let path = dir.join(&name);
    std::fs::write(&path, &file.bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(Source::Upload { name, path })
}

/// A script that has its environment at its top.
fn knowing(script: &str, order: &BuildOrder) -> String {
    let quoted = |value: &str| format!("'{}'", value.replace('\'', r"'\''"));
    let version = order.expected_version.as_ref().map(ToString::to_string).unwrap_or_default();
    let known = [
        ("ATTEMPT", order.attempt.clone()),
        ("URL", order.url.clone().unwrap_or_default()),
        ("COMMIT", order.commit.to_string()),
        ("PKGBASE", order.pkgbase.to_string()),
        ("VERSION", version),
        ("BUMP", order.bump.as_ref().map(|bump| bump.count.to_string()).unwrap_or_default()),
        ("SOURCE_DATE_EPOCH", order.source_date_epoch.to_string()),
    ];
    let export = |(name, value): &(&str, String)| format!("export PKGWARDEN_{name}={}\n", quoted(value));
    let exports = known.iter().map(export).collect::<Vec<_>>().concat();
    match script.strip_prefix("#!").and_then(|rest| rest.split_once('\n')) {
        Some((interpreter, rest)) => format!("#!{interpreter}\n{exports}{rest}"),
        None => format!("#!/bin/sh\n{exports}{script}"),
    }
}

//! Whether this machine can build packages, for `doctor` and for the error that says why not.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::builder::user::BuildUser;
use crate::executor::ExecutorError;
use crate::sys::install::what_to_install;
use crate::sys::process::Program;
use crate::sys::sandbox::{ANSWER, Network, SandboxSpec, System, explain, forbids_user_namespaces};

use super::image::ImageConfig;
use super::step;

/// How long a tool may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// The programs a build runs inside its sandbox, where only `/usr` is seen.
const INSIDE: [&str; 6] = ["makepkg", "pacman", "fakeroot", "bsdtar", "zstd", "prlimit"];

/// How to have sandboxes forbid user namespaces.
const FORBIDDING: &str =
    "install bubblewrap 0.8 or newer; in a container, let it write /proc/sys/user/max_user_namespaces";

/// Every program that building and publishing need, with the argument that makes it say its version.
const TOOLS: [&str; 11] =
    ["bwrap", "makepkg", "pacman", "repo-add", "fakeroot", "bsdtar", "zstd", "git", "patch", "gpg", "prlimit"];

/// What was found out about one tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolReport {
    /// The tool, or `sandbox` for whether bubblewrap can do its work here.
    pub tool: &'static str,
    /// Whether it can be used.
    pub usable: bool,
    /// Its version, or what is wrong.
    pub detail: String,
    /// How to mend it; also of a tool that can be used, if it could be better.
    pub remedy: Option<String>,
}

/// Looks at every tool that building needs, and tries the sandbox as `user`.
pub async fn probe(user: &str) -> Vec<ToolReport> {
    let mut reports = Vec::new();
    for tool in TOOLS {
        reports.push(version_of(tool).await);
    }
    reports.push(try_sandbox(user).await);
    reports
}

async fn version_of(tool: &'static str) -> ToolReport {
    match Program::new(tool).arg("--version").timeout(PATIENCE).run().await {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr_text();
            let versioned = |line: &&str| line.contains(|c: char| c.is_ascii_digit());
            let detail =
                text.lines().map(|line| line.trim_matches([' ', '-', '|', '.', '_', '\\', '/'])).find(versioned);
            ToolReport { tool, usable: true, detail: detail.unwrap_or("installed").to_owned(), remedy: None }
        }
        Err(error) => unusable(tool, error.to_string(), what_to_install(tool).trim_start_matches(": ")),
    }
}

async fn try_sandbox(user: &str) -> ToolReport {
    let user = match BuildUser::resolve(user) {
        Ok(user) => user,
        Err(error) => {
            return unusable("sandbox", error.to_string(), "name the user that builds run as in the settings");
        }
    };
    let spec = SandboxSpec {
        system: System::of_this_machine(),
        network: Network::None,
        mounts: Vec::new(),
        repositories: Vec::new(),
        env: BTreeMap::new(),
        directory: "/",
        command: vec!["/usr/bin/true".to_owned()],
    };
    match step::sandboxed(&spec, user).stdin_bytes(ANSWER.to_vec()).timeout(PATIENCE).run().await {
        Ok(output) if output.status.success() => {
            let (detail, remedy) = if forbids_user_namespaces() {
                (format!("works as {user}"), None)
            } else {
                let detail = format!("works as {user}, but builds can make user namespaces, and be root in them");
                (detail, Some(FORBIDDING.to_owned()))
            };
            ToolReport { tool: "sandbox", usable: true, detail, remedy }
        }
        Ok(output) => unusable("sandbox", explain(&output.stderr_text()), "mend what is said there, and ask again"),
        Err(error) => unusable("sandbox", error.to_string(), what_to_install("bwrap").trim_start_matches(": ")),
    }
}

fn unusable(tool: &'static str, detail: String, remedy: &str) -> ToolReport {
    ToolReport { tool, usable: false, detail, remedy: Some(remedy.to_owned()) }
}

/// Checks that the programs a build needs are there. Those that run inside its sandbox are the image's if there is one,
/// which is looked at when it is unpacked.
///
/// # Errors
/// [`ExecutorError::MissingPrograms`]
pub fn require_programs(image: Option<&ImageConfig>) -> Result<(), ExecutorError> {
    let path = crate::sys::env::var("PATH").unwrap_or_default();
    let is_here = |program: &&str| path.split(':').any(|dir| Path::new(dir).join(program).is_file());
    let (mut missing, outside) = match image {
        None => (missing_inside(Path::new("/")), vec!["bwrap"]),
        Some(image) => (Vec::new(), vec!["bwrap", "bsdtar", &image.engine]),
    };
    missing.extend(outside.into_iter().filter(|program| !is_here(program)));
    complain(&missing, image)
}

/// Tries the sandbox as the user that builds run as: who cannot set it up would take builds from those who can.
///
/// # Errors
/// [`ExecutorError::NoSandbox`]
pub async fn require_sandbox(user: &str) -> Result<(), ExecutorError> {
    let report = try_sandbox(user).await;
    if report.usable { Ok(()) } else { Err(ExecutorError::NoSandbox(report.detail)) }
}

/// Which programs that run inside of a sandbox a system does not have.
#[must_use]
pub fn missing_inside(root: &Path) -> Vec<&'static str> {
    INSIDE.into_iter().filter(|program| !root.join("usr/bin").join(program).is_file()).collect()
}

fn complain(missing: &[&str], image: Option<&ImageConfig>) -> Result<(), ExecutorError> {
    if missing.is_empty() {
        return Ok(());
    }
    let remedy = match image {
        None => "`apt install makepkg pacman-package-manager libarchive-tools fakeroot bubblewrap zstd` (Debian) or \
                 `pacman -S --needed base-devel bubblewrap` (Arch)"
            .to_owned(),
        Some(ImageConfig { engine, .. }) => format!(
            "builds are done in an image, so install {engine}, bubblewrap and bsdtar (`libarchive-tools` on Debian, \
             `libarchive` on Arch), or take `executor.local.image` out of the settings"
        ),
    };
    Err(ExecutorError::MissingPrograms {
        missing: format!("{} {}", missing.join(", "), if missing.len() == 1 { "is" } else { "are" }),
        remedy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_to_install() {
        assert!(complain(&[], None).is_ok());
        let error = complain(&["makepkg", "bwrap"], None).unwrap_err();
        insta::assert_snapshot!(error, @"this machine cannot build packages: makepkg, bwrap are not installed; `apt install makepkg pacman-package-manager libarchive-tools fakeroot bubblewrap zstd` (Debian) or `pacman -S --needed base-devel bubblewrap` (Arch)");
    }

    #[tokio::test]
    async fn this_machine_can_build() {
        let reports = probe("nobody").await;
        let broken: Vec<_> = reports.iter().filter(|report| !report.usable).collect();
        assert!(broken.is_empty(), "{broken:#?}");
        assert!(reports.iter().any(|report| report.tool == "makepkg" && report.detail.contains("makepkg")));
        assert!(require_programs(None).is_ok());
    }

    #[tokio::test]
    async fn an_unknown_build_user_is_reported() {
        if nix::unistd::geteuid().is_root() {
            let report = try_sandbox("no-such-user").await;
            assert!(!report.usable && report.detail.contains("no-such-user"), "{report:?}");
            let error = require_sandbox("no-such-user").await.unwrap_err().to_string();
            assert!(error.starts_with("this machine cannot build packages: "), "{error}");
        }
    }
}

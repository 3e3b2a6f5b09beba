//! Sources that are left to the real nvchecker: the program is run for one entry, in a sandbox that holds
//! nothing but the system, the program and that entry.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::entry::Program as Check;
use super::release::Release;
use super::service::time;
use crate::source::error_text;
use crate::source::failure::Failure;
use crate::sys::env;
use crate::sys::install::what_to_install;
use crate::sys::process::{Output, Program};
use crate::sys::sandbox::{ANSWER, Access, Mount, Network, SandboxSpec, System, explain};
use crate::sys::scratch::Scratch;

/// How long one check may take.
const TIME: Duration = Duration::from_secs(90);

/// How much of its output is read.
const OUTPUT: usize = 4 << 20;

/// Who runs it if the controller is root.
const NOBODY: u32 = 65_534;

/// Where the entry is seen inside.
const PLACE: &str = "/check";

/// The file there.
const FILE: &str = "nvchecker.toml";

/// The program, and what it may do.
#[derive(Debug, Clone)]
pub struct RealNvchecker {
    /// Its path, or its name in `PATH`.
    pub program: PathBuf,
    /// Whether commands of packages are run.
    pub commands: bool,
}

impl RealNvchecker {
    /// Runs one check.
    ///
    /// # Errors
    /// What it says is wrong, or why it is not run.
    pub async fn check(&self, name: &str, check: &Check) -> Result<Release, Failure> {
        let because = &check.because;
        if check.command && !self.commands {
            return Err(Failure::elsewhere(format!(
                "{because} runs a command that stands in the file; set sources.nvchecker.commands = true to allow \
                 that, in the sandbox"
            )));
        }
        let program = find(&self.program).ok_or_else(|| {
            let hint = what_to_install("nvchecker");
            let missing = format!("{because} is only known to the program nvchecker, which is not installed{hint}");
            Failure::elsewhere(missing)
        })?;
        let output = self.run(&program, check).await?;
        if !output.status.success() && !output.stderr.is_empty() {
            return Err(Failure::question(explain(&output.stderr_text())));
        }
        Ok(result(name, &String::from_utf8_lossy(&output.stdout))?)
    }

    async fn run(&self, program: &Path, check: &Check) -> Result<Output, String> {
        let prepared = Scratch::new().map_err(|error| error_text(&error))?;
        let write = || {
            std::fs::write(prepared.path().join(FILE), check.file.to_string())?;
            // So that nobody can read it, who is who runs the program if we are root.
            std::fs::set_permissions(prepared.path(), Permissions::from_mode(0o755))
        };
        write().map_err(|error| format!("cannot write the file for nvchecker: {error}"))?;
        let spec = sandbox(program, prepared.path());
        let mut bwrap = Program::new("bwrap").args(spec.arguments()).stdin_bytes(ANSWER.to_vec());
        if env::is_root() {
            bwrap = bwrap.user(NOBODY, NOBODY);
        }
        bwrap.timeout(TIME).output_limit(OUTPUT).run().await.map_err(|error| error_text(&error))
    }
}

fn sandbox(program: &Path, prepared: &Path) -> SandboxSpec {
    let mut variables = BTreeMap::from([("HOME", "/tmp"), ("PATH", "/usr/local/bin:/usr/bin"), ("LANG", "C.UTF-8")]);
    variables.insert("PYTHONDONTWRITEBYTECODE", "1");
    SandboxSpec {
        system: System::of_this_machine(),
        network: Network::Shared,
        mounts: vec![Mount { from: prepared.to_owned(), to: PLACE, access: Access::Read }],
        repositories: homes(program).into_iter().map(|dir| (dir.clone(), dir.to_string_lossy().into_owned())).collect(),
        env: variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        directory: PLACE,
        command: [&*program.to_string_lossy(), "--logger", "json", "--file", FILE].map(str::to_owned).to_vec(),
    }
}

/// The program's path; `None` if it is not there.
fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = env::var("PATH").unwrap_or_default();
    path.split(':').map(|dir| Path::new(dir).join(program)).find(|candidate| candidate.is_file())
}

/// Directories that the program needs beside `/usr`: its virtual environment, and where that has Python from.
fn homes(program: &Path) -> Vec<PathBuf> {
    let prefix = |path: &Path| Some(path.parent()?.parent()?.to_owned());
    let real = program.canonicalize().ok();
    let interpreter = real.as_ref().and_then(|real| {
        let text =
            String::from_utf8_lossy(&std::fs::read(real).ok()?.into_iter().take(200).collect::<Vec<_>>()).into_owned();
        let path = text.strip_prefix("#!")?.lines().next()?.trim().to_owned();
        Path::new(&path).canonicalize().ok()
    });
    let found = [Some(program.to_owned()), real, interpreter].into_iter().flatten().filter_map(|path| prefix(&path));
    let mut homes: Vec<PathBuf> = found.filter(|dir| !dir.starts_with("/usr") && *dir != Path::new("/")).collect();
    homes.sort();
    homes.dedup();
    homes
}

/// A line of what nvchecker prints.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    event: String,
    level: String,
    name: Option<String>,
    version: Option<String>,
    error: Option<String>,
    rich_result: Option<Rich>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rich {
    gitref: Option<String>,
    revision: Option<String>,
    url: Option<String>,
    creation_time: Option<String>,
}

/// What nvchecker found, or what it says is wrong.
fn result(name: &str, printed: &str) -> Result<Release, String> {
    let lines: Vec<Line> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let ours = |line: &&Line| line.name.as_deref() == Some(name);
    if let Some(line) = lines.iter().filter(ours).find(|line| line.event == "updated" && line.version.is_some()) {
        let rich = line.rich_result.as_ref();
        let field = |pick: fn(&Rich) -> &Option<String>| rich.and_then(|rich| pick(rich).clone());
        return Ok(Release {
            version: line.version.clone().expect("looked for"),
            gitref: field(|rich| &rich.gitref),
            revision: field(|rich| &rich.revision),
            url: field(|rich| &rich.url),
            created: time(field(|rich| &rich.creation_time).as_deref()),
        });
    }
    let complaint = lines.iter().filter(ours).find(|line| line.level == "error");
    let told = complaint.map(|line| line.error.clone().unwrap_or_else(|| line.event.clone()));
    let last = || printed.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing").trim().to_owned();
    let told: String = told.unwrap_or_else(last).chars().take(300).collect();
    Err(format!("nvchecker says: {}", told.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::failure::Cause;

    fn check(command: bool) -> Check {
        let file = "[foo]\nsource = 'cpan'\n".parse().expect("TOML");
        Check { because: "source = \"cpan\"".to_owned(), command, file }
    }

    /// A program that stands in for nvchecker, where everybody can run it.
    fn standing_in(dir: &Path, script: &str) -> PathBuf {
        std::fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("ours");
        let bin = dir.join("venv/bin");
        std::fs::create_dir_all(&bin).expect("made");
        let program = bin.join("nvchecker");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("ours");
        program
    }

    #[tokio::test]
    async fn what_is_not_installed_says_what_to_install() {
        let real = RealNvchecker { program: "/no/such/nvchecker".into(), commands: false };
        let error = real.check("foo", &check(false)).await.expect_err("not there");
        assert_eq!(error.cause, Cause::Elsewhere, "once it is installed, it is run at once");
        insta::assert_snapshot!(error, @r#"source = "cpan" is only known to the program nvchecker, which is not installed: install it with `apt install nvchecker` (Debian) or `pacman -S nvchecker` (Arch)"#);
    }

    #[tokio::test]
    async fn a_command_of_the_file_is_not_run_unless_the_operator_allows_it() {
        let dir = tempfile::tempdir().expect("dir");
        let program = standing_in(dir.path(), r#"echo '{"event":"updated","name":"foo","version":"1"}'"#);
        let real = RealNvchecker { program: program.clone(), commands: false };
        let error = real.check("foo", &check(true)).await.expect_err("not allowed");
        assert!(error.text.contains("sources.nvchecker.commands = true"), "{error}");
        assert_eq!(error.cause, Cause::Elsewhere, "once it is allowed, it is run at once");
        let real = RealNvchecker { program, commands: true };
        assert_eq!(real.check("foo", &check(true)).await, Ok(Release::new("1")));
    }

    #[tokio::test]
    async fn the_program_sees_its_file_and_nothing_of_this_machine() {
        let dir = tempfile::tempdir().expect("dir");
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "x").expect("written");
        let script = format!(
            r#"[ -e {secret} ] && echo '{{"event":"updated","name":"foo","version":"escaped"}}'
grep -q cpan {FILE} && [ -z "$PKGWARDEN_TOKEN" ] && printf '%s\n' '{{"event":"updated","name":"foo","version":"2","rich_result":{{"revision":"abc"}}}}'"#,
            secret = secret.display()
        );
        let real = RealNvchecker { program: standing_in(dir.path(), &script), commands: false };
        let release = real.check("foo", &check(false)).await.expect("it runs");
        assert_eq!((release.version.as_str(), release.revision.as_deref()), ("2", Some("abc")));
    }

    #[test]
    fn what_it_says_is_wrong_is_passed_on() {
        let printed = "{\"event\":\"version string not found.\",\"level\":\"error\",\"name\":\"foo\"}\n\
                       {\"event\":\"no-result\",\"level\":\"error\",\"name\":\"foo\",\"error\":\"GetVersionError\"}\n";
        assert_eq!(result("foo", printed), Err("nvchecker says: version string not found.".to_owned()));
        assert_eq!(result("foo", "Error: No module\n"), Err("nvchecker says: Error: No module".to_owned()));
        assert_eq!(result("foo", ""), Err("nvchecker says: nothing".to_owned()));
    }
}

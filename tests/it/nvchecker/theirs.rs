//! The real nvchecker, as it is on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pkgwarden::sys::env;
use pkgwarden::sys::process::Program;
use serde::Deserialize;
use toml::Table;

/// The variable that names it where it is not in `PATH`.
const VARIABLE: &str = "PKGWARDEN_TEST_NVCHECKER";

/// What it found for one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    pub version: String,
    pub gitref: Option<String>,
    pub revision: Option<String>,
    pub url: Option<String>,
    pub creation_time: Option<String>,
}

/// What Python needs for a source or an order.
const MODULES: [(&str, &str); 4] = [("jq", "jq"), ("pypi", "packaging"), ("alpm", "pyalpm"), ("vercmp", "pyalpm")];

/// The program.
pub struct Real {
    program: PathBuf,
    missing: BTreeSet<&'static str>,
}

impl Real {
    /// The one that the variable names, the one that `.ci/setup --tests` installs, or the one in `PATH`.
    pub async fn find() -> Self {
        let program = named().or_else(installed).or_else(in_path);
        let program = program.unwrap_or_else(|| {
            panic!(
                "nvchecker is missing, with which this test compares: `.ci/setup --tests` installs it from PyPI; \
                    or name one in {VARIABLE}"
            )
        });
        let mut missing = BTreeSet::new();
        for (what, module) in MODULES {
            let import = Program::new(interpreter(&program)).args(["-c", &format!("import {module}")]);
            if !import.run().await.expect("Python runs").status.success() {
                missing.insert(what);
            }
        }
        Self { program, missing }
    }

    /// A copy of its virtual environment in a directory that everybody may enter, as far as it is in one; `None` if
    /// its Python is where only we may go.
    pub async fn open_to_everybody(&self, dir: &Path) -> Option<PathBuf> {
        let python = Path::new(&interpreter(&self.program)).canonicalize().expect("it runs");
        let open = |path: &Path| path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o005 == 0o005);
        if env::is_root() && !python.ancestors().all(open) {
            return None;
        }
        let home = self.program.ancestors().nth(2).expect("it is in a `bin`");
        if !home.join("pyvenv.cfg").is_file() {
            return Some(self.program.clone());
        }
        let copy = dir.join("venv");
        let copied = Program::new("cp").args(["-r", "--"]).arg(home).arg(&copy).run().await.expect("cp runs");
        assert!(copied.status.success(), "{}", copied.stderr_text());
        let script = std::fs::read_to_string(&self.program).expect("readable");
        let (_, rest) = script.split_once('\n').expect("a script");
        let program = copy.join("bin/nvchecker");
        std::fs::write(&program, format!("#!{}\n{rest}", copy.join("bin/python").display())).expect("written");
        Some(program)
    }

    /// What cannot be compared, because what nvchecker needs for it is not installed.
    pub fn missing(&self) -> &BTreeSet<&'static str> {
        &self.missing
    }

    /// Whether it can be asked this, with what is installed.
    pub fn knows(&self, case: &Table) -> bool {
        let option = |key: &str| case.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        !self.missing.contains(option("source")) && !self.missing.contains(option("sort_version_key"))
    }

    /// Asks it everything, through a proxy.
    pub async fn ask(
        &self,
        cases: &Table,
        dir: &Path,
        proxy: &str,
        certificate: &Path,
        keys: &str,
    ) -> BTreeMap<String, Found> {
        let (file, keyfile) = (dir.join("theirs.toml"), dir.join("keys.toml"));
        let text = format!("{cases}\n[__config__]\nproxy = \"{proxy}\"\n");
        std::fs::write(&file, text).expect("written");
        std::fs::write(&keyfile, keys).expect("written");
        let output = Program::new(&self.program)
            .args(["--logger", "json", "--file"])
            .arg(&file)
            .arg("--keyfile")
            .arg(&keyfile)
            // Git is asked by a program of its own.
            .env("https_proxy", format!("http://{proxy}"))
            .env("no_proxy", "")
            .env("NO_PROXY", "")
            .env("GIT_SSL_CAINFO", certificate)
            .env("SSL_CERT_FILE", certificate)
            .env("HOME", dir)
            .run()
            .await
            .expect("nvchecker runs");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{printed}\n{}", output.stderr_text());
        std::fs::write(dir.join("theirs.log"), &output.stdout).expect("written");
        printed.lines().filter_map(read).collect()
    }
}

fn named() -> Option<PathBuf> {
    let path = PathBuf::from(env::var(VARIABLE).filter(|path| !path.is_empty())?);
    assert!(path.is_file(), "{VARIABLE} names {}, which is not there", path.display());
    Some(path)
}

fn installed() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").read_dir().ok()?;
    let programs = target.filter_map(|entry| Some(entry.ok()?.path().join("bin/nvchecker")));
    programs.filter(|path| path.to_string_lossy().contains("/nvchecker-") && path.is_file()).max()
}

fn in_path() -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    path.split(':').map(|dir| Path::new(dir).join("nvchecker")).find(|it| it.is_file())
}

/// The Python that a script begins with.
fn interpreter(script: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(script).expect("readable")).into_owned();
    let first = text.lines().next().and_then(|line| line.strip_prefix("#!")).expect("a script");
    first.split_whitespace().next().expect("an interpreter").to_owned()
}

fn read(line: &str) -> Option<(String, Found)> {
    #[derive(Deserialize)]
    struct Line {
        event: String,
        name: String,
        rich_result: Found,
    }
    let line: Line = serde_json::from_str(line).ok()?;
    (line.event == "updated").then_some((line.name, line.rich_result))
}

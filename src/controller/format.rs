//! Formats the PKGBUILDs of updates with shfmt, if the operator wants that. The gate sees them as they came, and
//! what is committed has to mean the same.

use std::path::Path;
use std::time::Duration;

use crate::domain::finding::Finding;
use crate::domain::name::PkgBase;
use crate::domain::observed::{Observation, Observations};
use crate::domain::pkgbuild::Pkgbuild;
use crate::sys::process::{ProcessError, Program};

const PKGBUILD: &str = "PKGBUILD";

/// The style of Chaotic's template: two blanks, operators in front, indented cases, blanks behind redirections.
const STYLE: [&str; 7] = ["-i", "2", "-ln", "bash", "-bn", "-ci", "-sr"];

/// How long it may take for one file.
const PATIENCE: Duration = Duration::from_secs(10);
/// Nothing longer is taken from it.
const LONGEST: usize = 1 << 20;

/// Why a file stays as it came.
#[derive(Debug, thiserror::Error)]
enum Unformatted {
    /// There is no shfmt, so there is no point in asking it again.
    #[error(transparent)]
    Missing(ProcessError),
    /// It cannot be run, or does not end.
    #[error(transparent)]
    Process(ProcessError),
    /// It cannot read the file.
    #[error("shfmt does not understand it: {0}")]
    Refused(String),
    /// What it makes of it would be read otherwise, or cannot be read.
    #[error("it would not mean the same when formatted")]
    Changed,
}

/// Adds how PKGBUILDs that have changed are committed, and what could not be formatted.
pub(super) fn format(observations: &mut Observations) {
    let changed = |(pkgbase, observation): (&PkgBase, &Observation)| match observation {
        Observation::Changed { incoming, present, .. } => {
            let bytes = incoming.get(PKGBUILD).filter(|bytes| Some(*bytes) != present.get(PKGBUILD))?;
            Some((pkgbase.clone(), bytes.to_vec()))
        }
        _ => None,
    };
    let files: Vec<(PkgBase, Vec<u8>)> = observations.files.iter().filter_map(changed).collect();
    for (pkgbase, bytes) in files {
        match formatted(Path::new("shfmt"), &bytes) {
            Ok(new) if new == bytes => {}
            Ok(new) => drop(observations.formatted.insert(pkgbase, new)),
            Err(error @ Unformatted::Missing(_)) => {
                let message = format!("no PKGBUILD is formatted: {error}");
                let hint = "install it, or set policy.format = false";
                observations.findings.push(Finding::warning("format", message).hint(hint));
                return;
            }
            Err(error) => {
                let message = format!("its PKGBUILD is committed as it came: {error}");
                observations.findings.push(Finding::warning("format", message).with_package(&pkgbase));
            }
        }
    }
}

/// The text after formatting; it means the same.
fn formatted(shfmt: &Path, bytes: &[u8]) -> Result<Vec<u8>, Unformatted> {
    let program = Program::new(shfmt).args(STYLE).stdin_bytes(bytes.to_vec());
    let output = match program.timeout(PATIENCE).output_limit(LONGEST).run_blocking() {
        Ok(output) => output,
        Err(error @ ProcessError::Missing { .. }) => return Err(Unformatted::Missing(error)),
        Err(error) => return Err(Unformatted::Process(error)),
    };
    if !output.status.success() || output.truncated {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        return Err(Unformatted::Refused(output.stderr_text().chars().map(plain).take(200).collect()));
    }
    let same = match (Pkgbuild::read(bytes), Pkgbuild::read(&output.stdout)) {
        (Ok(before), Ok(after)) => before.reads_as(&after),
        _ => false,
    };
    if same { Ok(output.stdout) } else { Err(Unformatted::Changed) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const WRITTEN: &str = "pkgname=foo   # a name\npkgver=1\nbuild() {\n\tmake &&\n\t\tmake check >log\n}\n";

    /// What a formatter makes of a file that says this.
    fn with(script: &str) -> Result<String, String> {
        let dir = tempfile::tempdir().expect("a folder");
        let program = dir.path().join("shfmt");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("ours");
        let made = formatted(&program, WRITTEN.as_bytes()).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(made).expect("text"))
    }

    #[test]
    fn another_layout_is_taken_and_another_meaning_is_not() {
        let tabs = with("sed 's/\t/  /g'").expect("only layout");
        assert_eq!(tabs, WRITTEN.replace('\t', "  "));
        assert_eq!(with("sed 's/   # a name//'").expect("only a comment"), WRITTEN.replace("   # a name", ""));
        let changed = Err("it would not mean the same when formatted".to_owned());
        for script in
            ["sed 's/make check/make install/'", "sed 's/=1/=2/'", "sed '/pkgver/d'", "true", "echo '('", "cat; cat"]
        {
            let script = if script == "cat; cat" { "cat; echo evil" } else { script };
            assert_eq!(with(script), changed, "{script}");
        }
    }

    #[test]
    fn the_real_shfmt_lays_out_anew_and_every_fixture_means_the_same() {
        let made = formatted(Path::new("shfmt"), WRITTEN.as_bytes()).expect("`.ci/setup --tests` installs it");
        let expected = "pkgname=foo # a name\npkgver=1\nbuild() {\n  make \\\n    && make check > log\n}\n";
        assert_eq!(String::from_utf8_lossy(&made), expected);
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/demo/packages");
        let mut seen = 0;
        for folder in std::fs::read_dir(packages).expect("fixtures") {
            let Ok(text) = std::fs::read(folder.expect("readable").path().join(PKGBUILD)) else { continue };
            formatted(Path::new("shfmt"), &text).expect("it means the same");
            seen += 1;
        }
        assert!(seen > 5, "{seen}");
    }

    #[test]
    fn a_formatter_that_fails_or_is_not_there_says_so() {
        assert_eq!(
            with("echo '3:1: reached EOF' >&2; exit 1"),
            Err("shfmt does not understand it: 3:1: reached EOF".to_owned())
        );
        let missing = formatted(Path::new("/nowhere/shfmt"), b"").expect_err("it is not there");
        assert!(matches!(missing, Unformatted::Missing(_)), "{missing}");
    }
}

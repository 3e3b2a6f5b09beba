//! The ready-made sets: what they hold, and the variables that make programs use it.

use super::{DEFAULT_MAX, Set, SetName};

/// The sources of a package.
pub const SRCDEST: &str = "srcdest";

/// The names of all ready-made sets.
pub const NAMES: [&str; 5] = [SRCDEST, "ccache", "sccache", "cargo-registry", "go-modules"];

/// The ready-made set of that name.
#[must_use]
pub fn set(name: &str) -> Option<Set> {
    let (include, tools, env): (&[&str], &[&str], &[(&str, &str)]) = match name {
        SRCDEST => (&["/srcdest/**"], &[], &[]),
        "ccache" => (
            &["~/.cache/ccache/**"],
            &["gcc", "clang"],
            &[("CCACHE_DIR", "/home/build/.cache/ccache"), ("CCACHE_MAXSIZE", "1G")],
        ),
        "sccache" => (
            &["~/.cache/sccache/**"],
            &["gcc", "clang", "rustc"],
            &[("SCCACHE_DIR", "/home/build/.cache/sccache"), ("SCCACHE_CACHE_SIZE", "1G")],
        ),
        "cargo-registry" => (
            &["~/.cargo/registry/index/**", "~/.cargo/registry/cache/**", "~/.cargo/git/db/**"],
            &[],
            &[("CARGO_HOME", "/home/build/.cargo")],
        ),
        "go-modules" => {
            (&["~/go/pkg/mod/cache/**"], &[], &[("GOPATH", "/home/build/go"), ("GOMODCACHE", "/home/build/go/pkg/mod")])
        }
        _ => return None,
    };
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Some(Set {
        include: owned(include),
        tools: owned(tools),
        env: env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        renew: true,
        // Large sources are kept for years without a word about their size.
        max_bytes: if name == SRCDEST { 16 << 30 } else { DEFAULT_MAX },
        ..Set::by_hand(SetName::new(name).expect("ready-made names are names"))
    })
}

/// The sources of a package.
#[must_use]
pub fn srcdest() -> Set {
    set(SRCDEST).expect("it is one of them")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cache::fault_of;

    #[test]
    fn every_ready_made_set_is_a_sound_one() {
        for name in NAMES {
            let set = set(name).unwrap();
            assert_eq!(set.name.as_str(), name);
            assert!(!set.include.is_empty() && set.renew, "{name}");
            assert!(set.include.iter().all(|pattern| fault_of(pattern).is_none()), "{name}");
            assert_eq!(set.is_early(), name == SRCDEST);
        }
        assert_eq!(set("ccache2"), None);
    }
}

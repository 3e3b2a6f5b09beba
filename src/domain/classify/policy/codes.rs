//! What a rule can do about each kind of reason.

/// What a rule about a kind of reason does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::domain::classify) enum Effect {
    /// Nothing: the difference goes in anyway.
    Needless,
    /// Lets it in where it only needs reading.
    Permits,
    /// Says that it was expected; it is for a person all the same.
    Expects,
    /// Nothing: it looks like an attack, or could not be compared at all.
    Forbidden,
}

/// What `new` is in reasons of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::domain::classify) enum Shows {
    /// The whole element.
    Element,
    /// A part of what changed, or nothing: a rule must not rest on it.
    Part,
}

use Effect::{Expects, Forbidden, Needless, Permits};
use Shows::{Element, Part};

/// Every code, what a rule about it does, and what `new` is.
pub(in crate::domain::classify) const CODES: [(&str, Effect, Shows); 66] = [
    ("assigned-again", Forbidden, Part),
    ("checksum-layout", Needless, Element),
    ("checksum-order", Permits, Element),
    ("checksum-skip", Expects, Element),
    ("checksum-stronger", Needless, Element),
    ("checksum-updated", Needless, Element),
    ("checksum-weaker", Permits, Element),
    ("code-changed", Expects, Part),
    ("commit-moved", Needless, Element),
    ("configuration-noted", Needless, Part),
    ("control-characters", Forbidden, Part),
    ("dependency-added", Permits, Element),
    ("dependency-removed", Permits, Element),
    ("description-changed", Permits, Element),
    ("element-added", Permits, Element),
    ("element-removed", Permits, Element),
    ("epoch-changed", Expects, Element),
    ("file-added", Permits, Part),
    ("file-changed", Permits, Part),
    ("file-removed", Permits, Part),
    ("function-added", Permits, Part),
    ("function-changed", Permits, Part),
    ("function-removed", Permits, Part),
    ("git-directory", Forbidden, Part),
    ("helper-moved", Needless, Element),
    ("https", Needless, Element),
    ("install-changed", Permits, Element),
    ("keys-changed", Expects, Element),
    ("layout", Needless, Part),
    ("long-line", Forbidden, Part),
    ("maintainer-changed", Forbidden, Part),
    ("mode-changed", Permits, Element),
    ("obfuscation", Forbidden, Part),
    ("order", Needless, Part),
    ("order-changed", Permits, Part),
    ("package-renamed", Expects, Element),
    ("path-escape", Forbidden, Part),
    ("pkgbuild-missing", Forbidden, Part),
    ("release-forward", Needless, Element),
    ("release-reset", Needless, Element),
    ("retag", Expects, Element),
    ("scriptlet-network", Forbidden, Part),
    ("source-added", Expects, Element),
    ("source-changed", Permits, Element),
    ("source-host", Expects, Element),
    ("source-moved", Needless, Part),
    ("source-owner", Expects, Element),
    ("source-pin", Expects, Element),
    ("source-removed", Expects, Element),
    ("source-scheme", Expects, Element),
    ("source-unverified", Permits, Element),
    ("srcinfo-disagrees", Permits, Element),
    ("srcinfo-layout", Needless, Part),
    ("srcinfo-regenerated", Needless, Part),
    ("submodule", Forbidden, Part),
    ("substitution", Forbidden, Part),
    ("symlink", Expects, Element),
    ("unclear-change", Forbidden, Part),
    ("unreadable", Forbidden, Part),
    ("url-changed", Permits, Element),
    ("variable-changed", Permits, Element),
    ("version-ambiguous", Permits, Part),
    ("version-back", Expects, Element),
    ("version-forward", Needless, Element),
    ("version-literal", Needless, Element),
    ("version-shape", Expects, Element),
];

/// The codes that people have to know: of differences that do not go in anyway.
pub fn codes_of_rules() -> impl Iterator<Item = &'static str> {
    CODES.iter().filter(|(_, effect, _)| *effect != Needless).map(|(code, ..)| *code)
}

/// What a rule about this code does, and what `new` is there; `None` if no reason has this code.
pub(in crate::domain::classify) fn of(code: &str) -> Option<(Effect, Shows)> {
    CODES.iter().find(|(name, ..)| *name == code).map(|&(_, effect, shows)| (effect, shows))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts in quotes in the source of the gate that look like codes beside a weight.
    fn written() -> Vec<String> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain/classify");
        let code = regex::Regex::new(r#""([a-z]+(?:-[a-z]+)*)",\s*(?:Weight::|weight\b|")"#).expect("right");
        let files = std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("read").path());
        let parts = files.filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.is_file() && !matches!(&*name, "tests.rs" | "mutations.rs")
        });
        let texts = parts.map(|path| std::fs::read_to_string(path).expect("text"));
        let found = |text: String| {
            let codes = code.captures_iter(&text).map(|found| found[1].to_owned());
            codes.filter(|code| code.contains('-')).collect::<Vec<_>>()
        };
        texts.flat_map(found).collect()
    }

    #[test]
    fn the_list_is_sorted_and_has_every_code_that_is_given() {
        assert!(CODES.is_sorted_by_key(|(name, ..)| *name));
        let written = written();
        assert!(written.len() > 60, "only {} were found", written.len());
        let missing: Vec<_> = written.iter().filter(|code| of(code).is_none()).collect();
        assert!(missing.is_empty(), "codes that the list has not: {missing:?}");
    }
}

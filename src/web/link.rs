//! Where the pages of things are.

use super::text::path_part;

/// A link with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it leads.
    pub href: String,
    /// Its text.
    pub label: String,
}

impl Link {
    /// A link to the page of a package.
    #[must_use]
    pub fn package(name: &str) -> Self {
        Self { href: package_href(name), label: name.to_owned() }
    }
}

/// The page of a package.
#[must_use]
pub fn package_href(name: &str) -> String {
    format!("/packages/{}", path_part(name))
}

/// The page of a review.
#[must_use]
pub fn review_href(name: &str) -> String {
    format!("/reviews/{}", path_part(name))
}

/// The page of a build.
#[must_use]
pub fn build_href(id: &str) -> String {
    format!("/builds/{}", path_part(id))
}

/// The page of a generation of a package repository.
#[must_use]
pub fn generation_href(repository: &str, number: u64) -> String {
    format!("/generations/{}/{number}", path_part(repository))
}

/// The page of a run.
#[must_use]
pub fn run_href(id: &str) -> String {
    format!("/runs/{}", path_part(id))
}

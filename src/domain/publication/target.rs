//! Which of several package repositories a package goes to.

use globset::GlobMatcher;

use crate::domain::name::PkgBase;

/// A package repository beside the main one, and the packages that go to it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub name: String,
    packages: Vec<GlobMatcher>,
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        let globs =
            |target: &Self| target.packages.iter().map(|glob| glob.glob().glob().to_owned()).collect::<Vec<_>>();
        self.name == other.name && globs(self) == globs(other)
    }
}

impl Eq for Target {}

impl Target {
    /// The repository `name`, to which packages go whose name matches one of these patterns.
    ///
    /// # Errors
    /// What is wrong with a pattern.
    pub fn new(name: impl Into<String>, patterns: &[String]) -> Result<Self, globset::Error> {
        let packages = patterns.iter().map(|text| Ok(globset::Glob::new(text)?.compile_matcher()));
        Ok(Self { name: name.into(), packages: packages.collect::<Result<_, globset::Error>>()? })
    }

    /// Whether the package goes there.
    #[must_use]
    pub fn takes(&self, pkgbase: &PkgBase) -> bool {
        self.packages.iter().any(|glob| glob.is_match(pkgbase.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_goes_where_a_pattern_names_it() {
        let target = Target::new("testing", &["foo-*".to_owned(), "bar".to_owned()]).unwrap();
        let takes = |name| target.takes(&PkgBase::new(name).unwrap());
        assert!(takes("foo-git") && takes("bar"));
        assert!(!takes("foo") && !takes("bar2"));
        assert!(Target::new("x", &["[".to_owned()]).is_err());
    }
}

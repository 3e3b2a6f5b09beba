//! Names that travel through the whole program, each with its own type.
//!
//! A raw string is turned into one of these once, at the edge where it enters.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name that makepkg would refuse as a package name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a package name: {reason}")]
pub struct InvalidName {
    /// The text as it was given.
    pub name: String,
    /// Which rule it breaks.
    pub reason: &'static str,
}

/// Checks the rules of `makepkg` (`lint_pkgbuild/pkgname.sh`): ASCII letters, digits and `@._+-`,
/// not starting with a hyphen or a dot.
fn check(name: &str) -> Result<(), InvalidName> {
    let fail = |reason| Err(InvalidName { name: name.to_owned(), reason });
    match name.as_bytes().first() {
        None => return fail("it is empty"),
        Some(b'-') => return fail("it starts with a hyphen"),
        Some(b'.') => return fail("it starts with a dot"),
        Some(_) => {}
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte);
    if name.bytes().all(legal) { Ok(()) } else { fail("only letters, digits and `@._+-` are allowed") }
}

macro_rules! package_name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Accepts what makepkg accepts as a package name.
            ///
            /// # Errors
            /// [`InvalidName`] with the rule that is broken.
            pub fn new(name: &str) -> Result<Self, InvalidName> {
                check(name).map(|()| Self(name.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(&name)
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidName;
            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.to_string()
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

package_name! {
    /// The name of a package folder: what one PKGBUILD calls `pkgbase`.
    PkgBase
}

package_name! {
    /// The name of one installable package; a split PKGBUILD yields several.
    PkgName
}

impl PkgBase {
    /// The branch on which an update of this package waits for a person.
    #[must_use]
    pub fn review_branch(&self) -> String {
        format!("update-{self}")
    }

    /// The package whose review branch this is, if it is one.
    #[must_use]
    pub fn from_review_branch(branch: &str) -> Option<Self> {
        branch.strip_prefix("update-").and_then(|name| Self::new(name).ok())
    }

    /// Whether the name itself promises a package built from version control.
    #[must_use]
    pub fn is_vcs(&self) -> bool {
        ["-git", "-hg", "-svn", "-bzr"].iter().any(|suffix| self.0.ends_with(suffix))
    }
}

/// The id of a git object (SHA-1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Oid([u8; 20]);

/// Text that is not 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a git object id")]
pub struct InvalidOid(pub String);

impl Oid {
    /// Wraps the raw bytes of an id.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The raw bytes of the id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The first ten digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..10].to_owned()
    }
}

impl std::str::FromStr for Oid {
    type Err = InvalidOid;

    fn from_str(text: &str) -> Result<Self, InvalidOid> {
        let invalid = || InvalidOid(text.to_owned());
        if text.len() != 40 || !text.is_ascii() {
            return Err(invalid());
        }
        let mut bytes = [0; 20];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).map_err(|_| invalid())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Oid {
    type Error = InvalidOid;
    fn try_from(text: String) -> Result<Self, InvalidOid> {
        text.parse()
    }
}

impl From<Oid> for String {
    fn from(id: Oid) -> Self {
        id.to_string()
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_makepkg() {
        for good in ["bash", "c++utilities", "guile1.8", "python-jaraco.vcs", "_dev", "a@b", "R"] {
            assert!(PkgBase::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".git", "-x", "a b", "a/b", "ä", "a\nb"] {
            assert!(PkgBase::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_review_branch_leads_back_to_its_package() {
        let base = PkgBase::new("c++utilities").expect("legal");
        assert_eq!(PkgBase::from_review_branch(&base.review_branch()), Some(base));
        assert_eq!(PkgBase::from_review_branch("main"), None);
    }

    #[test]
    fn object_ids_round_trip() {
        let text = "a547a1caa3754fa8342f4bb4259016588eacc0b0";
        assert_eq!(text.parse::<Oid>().expect("valid").to_string(), text);
        assert!("a547".parse::<Oid>().is_err());
        assert!("+547a1caa3754fa8342f4bb4259016588eacc0b".parse::<Oid>().is_err());
        assert!("éa547a1caa3754fa8342f4bb4259016588eacc0b".parse::<Oid>().is_err());
    }
}

//! What people ask to be built: packages, perhaps with a class, on the command line, in directives and by the API.

use super::name::PkgBase;
use super::policy::BuildClass;

/// A package and, perhaps, the class to build it with: `PKG[/CLASS]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What to build.
    pub selection: Selection,
    /// The class asked for in place of the configured one.
    pub class: Option<BuildClass>,
}

/// One package, or every package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every package of the repository.
    All,
    /// The package of this name; it may not exist.
    Named(String),
}

/// A class that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{written}` is no build class: a class is a number or a name of letters, digits, `_`, `.` and `-`, 64 at most"
)]
pub struct BadClass {
    /// As it was written, in one line and not too long.
    pub written: String,
}

impl BuildClass {
    /// Reads a class.
    ///
    /// # Errors
    /// [`BadClass`] if it is not a number or a name of at most 64 letters, digits, `_`, `.` and `-`.
    pub fn new(text: &str) -> Result<Self, BadClass> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(legal) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        Err(BadClass { written: shown })
    }
}

impl Target {
    /// Reads `NAME`, `NAME/CLASS` or `all`.
    ///
    /// # Errors
    /// [`BadClass`] if what stands behind the name is no class.
    pub fn parse(text: &str) -> Result<Self, BadClass> {
        let (name, class) = text.split_once('/').map_or((text, None), |(name, class)| (name, Some(class)));
        let selection = if name == "all" { Selection::All } else { Selection::Named(name.to_owned()) };
        Ok(Self { selection, class: class.filter(|class| !class.is_empty()).map(BuildClass::new).transpose()? })
    }

    /// Reads what was written in several words, each perhaps with several targets between commas, as directives have
    /// them.
    ///
    /// # Errors
    /// [`BadClass`] for the first class that is none.
    pub fn parse_all<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Vec<Self>, BadClass> {
        words.into_iter().flat_map(names).map(Self::parse).collect()
    }

    /// The target that is this one package.
    #[must_use]
    pub fn package(pkgbase: &PkgBase) -> Self {
        Self { selection: Selection::Named(pkgbase.to_string()), class: None }
    }
}

/// The parts of a list that is separated by commas or white space.
pub fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(|c: char| c == ',' || c.is_whitespace()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_a_number_or_a_name() {
        let longest = "a".repeat(64);
        for class in ["5", "heavy", "cat-builder_2.x", &longest] {
            let target = Target::parse(&format!("alpha/{class}")).unwrap();
            assert_eq!(target.class, Some(BuildClass(class.to_owned())), "{class}");
        }
        for class in ["../../x", "heavy,beta", "<b>", "a\nb", "a b", "é", &format!("{longest}a")] {
            let error = Target::parse(&format!("alpha/{class}")).unwrap_err();
            assert!(!error.to_string().contains('\n') && error.to_string().contains("is no build class"), "{error}");
        }
        assert_eq!(Target::parse("alpha/").unwrap(), Target::parse("alpha").unwrap());
    }

    #[test]
    fn commas_separate_targets_as_in_directives() {
        let read = Target::parse_all(["a,b/heavy,", "c"]).unwrap();
        let shown: Vec<_> =
            read.iter().map(|it| (&it.selection, it.class.as_ref().map(|class| class.0.as_str()))).collect();
        let named = |name: &str| Selection::Named(name.to_owned());
        assert_eq!(shown, [(&named("a"), None), (&named("b"), Some("heavy")), (&named("c"), None)]);
        assert!(Target::parse_all(["a/heavy,b/<x>"]).is_err());
    }
}

//! The names by which programs ask for shared libraries.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longer ones are no file names.
const LONGEST: usize = 255;

/// For which kind of program a library is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bits {
    /// 64 bit.
    B64,
    /// 32 bit.
    B32,
}

/// A shared library as programs ask for it: `libfoo.so.1`, and for which kind of program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Soname {
    name: Box<str>,
    bits: Bits,
}

/// A text that is no soname.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `lib:NAME` or `lib32:NAME`")]
pub struct InvalidSoname(String);

impl Soname {
    /// A file name that ends in `.so`, or has `.so.` and a version in it; `None` if it is something else.
    #[must_use]
    pub fn new(name: &str, bits: Bits) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
        let fits = (1..=LONGEST).contains(&name.len()) && name.bytes().all(plain) && library_of(name).is_some();
        fits.then(|| Self { name: name.into(), bits })
    }

    /// Reads what makepkg writes into `depend` and `provides`: `libfoo.so=1-64`, `lib:libfoo.so.1`,
    /// `lib32:libfoo.so.1`. A package, or a library without its version, is `None`.
    #[must_use]
    pub fn of_dependency(written: &str) -> Option<Self> {
        if let Some((prefix, name)) = written.split_once(':') {
            let bits = bits_of(prefix)?;
            return Self::new(name, bits);
        }
        let (library, version) = written.split_once('=')?;
        let (version, bits) = version.rsplit_once('-')?;
        let bits = match bits {
            "64" => Bits::B64,
            "32" => Bits::B32,
            _ => return None,
        };
        library.strip_suffix(".so")?;
        // A library without a version in its soname is written with the soname in the version's place.
        let name = if version.contains(".so") { version.to_owned() } else { format!("{library}.{version}") };
        Self::new(&name, bits)
    }

    /// The library that a file is which the linker finds by itself: one directly in `usr/lib` or `usr/lib32`.
    #[must_use]
    pub fn of_file(path: &str) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/')?;
        match folder {
            "usr/lib" => Self::new(name, Bits::B64),
            "usr/lib32" => Self::new(name, Bits::B32),
            _ => None,
        }
    }

    /// The file name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For which kind of program it is.
    #[must_use]
    pub const fn bits(&self) -> Bits {
        self.bits
    }

    /// The library without its version: `libfoo.so`.
    #[must_use]
    pub fn library(&self) -> &str {
        library_of(&self.name).expect("checked when it was made")
    }

    /// Whether `other` is the same library in another version. The name without any version is none: it is a link
    /// for those who compile.
    #[must_use]
    pub fn is_other_version(&self, other: &Self) -> bool {
        let versioned = |it: &Self| it.name.len() > it.library().len();
        self != other
            && self.bits == other.bits
            && self.library() == other.library()
            && versioned(self)
            && versioned(other)
    }

    /// How it is written down: `lib:libfoo.so.1`, `lib32:libfoo.so.1`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let prefix = match self.bits {
            Bits::B64 => "lib",
            Bits::B32 => "lib32",
        };
        format!("{prefix}:{}", self.name)
    }
}

/// As people read it.
impl fmt::Display for Soname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits {
            Bits::B64 => f.pad(&self.name),
            Bits::B32 => write!(f, "{} (32-bit)", self.name),
        }
    }
}

impl std::str::FromStr for Soname {
    type Err = InvalidSoname;

    fn from_str(text: &str) -> Result<Self, InvalidSoname> {
        let read = || Self::new(text.split_once(':')?.1, bits_of(text.split_once(':')?.0)?);
        read().ok_or_else(|| InvalidSoname(text.to_owned()))
    }
}

impl TryFrom<String> for Soname {
    type Error = InvalidSoname;

    fn try_from(text: String) -> Result<Self, InvalidSoname> {
        text.parse()
    }
}

impl From<Soname> for String {
    fn from(soname: Soname) -> Self {
        soname.to_text()
    }
}

fn bits_of(prefix: &str) -> Option<Bits> {
    match prefix {
        "lib" => Some(Bits::B64),
        "lib32" => Some(Bits::B32),
        _ => None,
    }
}

/// Up to `.so`, if what follows is nothing or a version.
fn library_of(name: &str) -> Option<&str> {
    let version = |rest: &str| rest.is_empty() || rest.strip_prefix('.').is_some_and(|rest| !rest.is_empty());
    let ends = name.match_indices(".so").map(|(at, found)| at + found.len());
    let end = ends.filter(|&end| end > ".so".len()).find(|&end| version(&name[end..]))?;
    Some(&name[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn soname(name: &str) -> Soname {
        Soname::new(name, Bits::B64).expect(name)
    }

    #[test]
    fn what_makepkg_writes_is_read_in_every_form() {
        let read = |text: &str| Soname::of_dependency(text).map(|it| it.to_text());
        for (written, meant) in [
            ("libfoo.so=1-64", "lib:libfoo.so.1"),
            ("libboost_x.so=1.86.0-64", "lib:libboost_x.so.1.86.0"),
            ("libfoo.so=2-32", "lib32:libfoo.so.2"),
            ("libfoo-1.so=libfoo-1.so-64", "lib:libfoo-1.so"),
            ("lib:libfoo.so.1", "lib:libfoo.so.1"),
            ("lib32:libfoo.so.1", "lib32:libfoo.so.1"),
        ] {
            assert_eq!(read(written).as_deref(), Some(meant), "{written}");
        }
        for other in ["glibc>=2.40", "libfoo.so", "foo=1.0-1", "python:x", "libfoo.so=1-x", "lib:foo", "a:1-64", ""] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn only_files_that_the_linker_finds_by_itself_are_libraries_for_everybody() {
        let read = |path: &str| Soname::of_file(path).map(|it| it.to_text());
        assert_eq!(read("usr/lib/libfoo.so.1").as_deref(), Some("lib:libfoo.so.1"));
        assert_eq!(read("usr/lib32/libfoo.so.1").as_deref(), Some("lib32:libfoo.so.1"));
        assert_eq!(read("usr/lib/ld-linux-x86-64.so.2").as_deref(), Some("lib:ld-linux-x86-64.so.2"));
        for other in ["usr/lib/firefox/libxul.so", "opt/x/libfoo.so.1", "usr/lib/libfoo.a", "usr/lib/", "libfoo.so.1"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn versions_of_one_library_are_told_from_other_libraries() {
        assert!(soname("libfoo.so.1").is_other_version(&soname("libfoo.so.2")));
        for other in ["libfoo.so.1", "libfoo.so", "libfoobar.so.2"] {
            assert!(!soname("libfoo.so.1").is_other_version(&soname(other)), "{other}");
        }
        let narrow = Soname::new("libfoo.so.2", Bits::B32).expect("legal");
        assert!(!soname("libfoo.so.1").is_other_version(&narrow));
        assert_eq!(soname("libx.something.so.4.2").library(), "libx.something.so");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic_and_what_is_written_is_read_back(
            text in "(lib|lib32|x)?:?[a-z/ ]{0,4}(\\.so|=|-|:){0,3}[.0-9\\PC]{0,6}",
        ) {
            let all = [Soname::of_dependency(&text), Soname::of_file(&text), Soname::new(&text, Bits::B32)];
            for soname in all.into_iter().flatten() {
                prop_assert_eq!(soname.to_text().parse::<Soname>(), Ok(soname.clone()));
                prop_assert!(!soname.library().is_empty());
            }
        }
    }
}

//! PGP signatures of sources: which of a package's sources are signed, by whose keys, and whether the package
//! folder brings these keys, so that a build can verify them.
//!
//! Nothing is verified here; makepkg does that, with gpg.

use super::folder::Folder;

/// Where a package folder keeps the public keys of those who sign its sources: as Arch Linux does, and where an
/// update from elsewhere does not remove them.
pub const KEY_FOLDERS: [&str; 2] = ["keys/pgp", ".CI/keys/pgp"];

/// When builds verify PGP signatures (`executor.local.pgp`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verification {
    /// Where the package folder brings every key that its PKGBUILD names.
    #[default]
    WhenKeysAreThere,
    /// Always: a build without the keys fails.
    Always,
    /// Never.
    Never,
}

/// What makepkg knows about the signatures of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures {
    /// The sources that are signatures, or whose commits or tags are signed.
    pub sources: Vec<String>,
    /// The fingerprints of those who may sign.
    pub keys: Vec<String>,
}

/// What a build does about signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// There are none.
    Nothing,
    /// They are verified with the keys in these files of the folder.
    Verify(Vec<String>),
    /// They are not verified, for this reason.
    Skip(String),
    /// They have to be verified, and cannot be, for this reason.
    Refuse(String),
}

impl Signatures {
    /// Reads what `makepkg --printsrcinfo` printed.
    #[must_use]
    pub fn of_summary(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.trim().split_once(" = ") else { continue };
            match name {
                "validpgpkeys" => found.keys.push(value.to_owned()),
                _ if (name == "source" || name.starts_with("source_")) && is_signature(value) => {
                    found.sources.push(value.to_owned());
                }
                _ => {}
            }
        }
        found
    }

    /// What a build of a package with these files does.
    #[must_use]
    pub fn decide(&self, folder: &Folder, wanted: Verification) -> Decision {
        if self.sources.is_empty() {
            return Decision::Nothing;
        }
        if wanted == Verification::Never {
            return Decision::Skip("`executor.local.pgp` is \"never\"".to_owned());
        }
        let lack = if self.keys.is_empty() {
            "the PKGBUILD names nobody who may sign; name the fingerprints in `validpgpkeys`".to_owned()
        } else {
            match key_files(folder, &self.keys) {
                Ok(files) => return Decision::Verify(files),
                Err(missing) => missing_text(&missing),
            }
        };
        if wanted == Verification::Always { Decision::Refuse(lack) } else { Decision::Skip(lack) }
    }
}

/// The files of a folder with these keys, each a whole fingerprint; otherwise the keys that it does not bring.
///
/// # Errors
/// The keys that have no file of their own in any of [`KEY_FOLDERS`].
pub fn key_files(folder: &Folder, keys: &[String]) -> Result<Vec<String>, Vec<String>> {
    let (mut files, mut missing) = (Vec::new(), Vec::new());
    for key in keys {
        let paths = KEY_FOLDERS.iter().map(|above| format!("{above}/{key}.asc"));
        match paths.into_iter().find(|path| is_fingerprint(key) && folder.get(path).is_some()) {
            Some(path) => files.push(path),
            None => missing.push(key.clone()),
        }
    }
    if missing.is_empty() { Ok(files) } else { Err(missing) }
}

/// Whether a PKGBUILD may have signed sources. Asking makepkg is for those that do.
#[must_use]
pub fn mentions_signatures(pkgbuild: &str) -> bool {
    ["validpgpkeys", "sig", "asc"].iter().any(|word| pkgbuild.contains(word))
}

/// Whether pacman takes this for a `SigLevel`.
#[must_use]
pub fn is_sig_level(text: &str) -> bool {
    let is_word = |word: &str| {
        let rest = word.strip_prefix("Package").or_else(|| word.strip_prefix("Database")).unwrap_or(word);
        ["Never", "Optional", "Required", "TrustedOnly", "TrustAll"].contains(&rest)
    };
    text.split(' ').all(is_word)
}

/// Whether makepkg would take this for a whole fingerprint. Everything shorter can be made to fit another key.
fn is_fingerprint(key: &str) -> bool {
    matches!(key.len(), 40 | 64) && key.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte))
}

fn missing_text(missing: &[String]) -> String {
    let [first, ..] = missing else { return String::new() };
    if !missing.iter().all(|key| is_fingerprint(key)) {
        return "`validpgpkeys` has what is not a whole fingerprint of 40 capital hexadecimal digits".to_owned();
    }
    let more = if missing.len() > 1 { format!(" and {} more", missing.len() - 1) } else { String::new() };
    format!(
        "the package folder does not bring the key {first}{more}; put what `gpg --armor --export {first}` prints into \
         {}/{first}.asc, or into {} where updates do not remove it",
        KEY_FOLDERS[0], KEY_FOLDERS[1]
    )
}

/// Whether makepkg takes this source for a signature, or for one whose signature it verifies.
fn is_signature(source: &str) -> bool {
    let (name, address) = source.split_once("::").unwrap_or((source, source));
    let signed = address.split_once('?').is_some_and(|(_, query)| query.split('#').next() == Some("signed"));
    signed || [".sig", ".sign", ".asc"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

    fn signed(keys: &[&str]) -> Signatures {
        Signatures { sources: vec!["x.sig".into()], keys: keys.iter().map(|&key| key.to_owned()).collect() }
    }

    #[test]
    fn signatures_and_signed_repositories_are_told_from_other_sources() {
        let text = format!(
            "pkgbase = a\n\tsource = x.tar.gz\n\tsource = x.tar.gz.sig\n\tsource_x86_64 = y.asc::https://h/download?id=1\n\
             \tsource = git+https://h/r.git?signed#tag=v1\n\tsource = git+https://h/r#tag=v1?signed\n\
             \tsource = ascii.txt\n\tsource = https://h/z.sign\n\tvalidpgpkeys = {KEY}\n\npkgname = a\n"
        );
        let found = Signatures::of_summary(&text);
        let expected = [
            "x.tar.gz.sig",
            "y.asc::https://h/download?id=1",
            "git+https://h/r.git?signed#tag=v1",
            "git+https://h/r#tag=v1?signed",
            "https://h/z.sign",
        ];
        assert_eq!(found, Signatures { sources: expected.map(str::to_owned).into(), keys: vec![KEY.into()] });
    }

    #[test]
    fn signatures_are_verified_only_if_every_key_is_there() {
        let (one, other) = (KEY, "F".repeat(40));
        let folder = Folder::default().with(&format!("keys/pgp/{one}.asc"), "x");
        let decide = |signatures: &Signatures, wanted| signatures.decide(&folder, wanted);
        let verified = Decision::Verify(vec![format!("keys/pgp/{one}.asc")]);
        for wanted in [Verification::WhenKeysAreThere, Verification::Always] {
            assert_eq!(decide(&signed(&[one]), wanted), verified);
            assert_eq!(decide(&Signatures::default(), wanted), Decision::Nothing);
        }
        assert!(matches!(decide(&signed(&[one]), Verification::Never), Decision::Skip(why) if why.contains("never")));
        for keys in [&[one, other.as_str()][..], &[], &["../../x"], &["01234567"]] {
            let signatures = signed(keys);
            assert!(matches!(decide(&signatures, Verification::WhenKeysAreThere), Decision::Skip(_)), "{keys:?}");
            assert!(matches!(decide(&signatures, Verification::Always), Decision::Refuse(_)), "{keys:?}");
        }
    }

    #[test]
    fn a_missing_key_is_named_with_the_place_for_it() {
        let Decision::Skip(why) = signed(&[KEY]).decide(&Folder::default(), Verification::default()) else { panic!() };
        insta::assert_snapshot!(why, @"the package folder does not bring the key 0123456789ABCDEF0123456789ABCDEF01234567; put what `gpg --armor --export 0123456789ABCDEF0123456789ABCDEF01234567` prints into keys/pgp/0123456789ABCDEF0123456789ABCDEF01234567.asc, or into .CI/keys/pgp where updates do not remove it");
        let own = Folder::default().with(&format!(".CI/keys/pgp/{KEY}.asc"), "x");
        assert_eq!(key_files(&own, &[KEY.into()]), Ok(vec![format!(".CI/keys/pgp/{KEY}.asc")]));
    }
}

//! What the settings of images are that builds are done in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of an image, as podman and docker take it: registry, path, tag and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName(String);

impl TryFrom<String> for ImageName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/@".contains(&byte);
        let is_name = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) && text.bytes().all(legal);
        if is_name {
            Ok(Self(text))
        } else {
            Err(format!(
                "`{text}` is not the name of an image; write one like `docker.io/library/archlinux:base-devel`"
            ))
        }
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> Self {
        name.0
    }
}

/// Who knows images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// podman.
    #[default]
    Podman,
    /// docker.
    Docker,
}

impl Engine {
    /// Its program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Docker => "docker",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_no_engine_takes_for_something_else() {
        let digest = format!("archlinux@sha256:{}", "0".repeat(64));
        for name in ["archlinux", "docker.io/library/archlinux:base-devel", "localhost:5000/build", &digest] {
            assert_eq!(ImageName::try_from(name.to_owned()).map(String::from), Ok(name.to_owned()));
        }
        for text in ["", "-v", "--privileged", "a b", "a;b", "/a", "a\n"] {
            assert!(ImageName::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}

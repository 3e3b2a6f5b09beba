//! Services that answer one request in JSON, and the list of those that are known.

use std::fmt::Debug;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};

use super::call::{Call, Keys};
use super::gitea::Gitea;
use super::github::Github;
use super::gitlab::Gitlab;
use super::options::Options;
use super::registry::{Archpkg, Cratesio, Npm, Pypi};
use super::release::Said;

/// One question to a service: a request, and how its answer is read.
pub trait Service: Debug + Send + Sync {
    /// The request.
    ///
    /// # Errors
    /// If it cannot be asked like that.
    fn call(&self, keys: &Keys) -> Result<Call, String>;

    /// The versions in the answer.
    ///
    /// # Errors
    /// If there are none, or it cannot be read.
    fn answer(&self, body: &[u8]) -> Result<Said, String>;
}

/// The services that are known.
#[derive(Debug)]
pub struct Services;

impl Services {
    /// The question that an entry asks; `None` if its source is not one of these.
    ///
    /// # Errors
    /// The option that is wrong.
    pub fn read(kind: &str, entry: &str, options: Options<'_>) -> Result<Option<Box<dyn Service>>, String> {
        Ok(Some(match kind {
            "github" => Box::new(Github::read(options)?),
            "gitlab" => Box::new(Gitlab::read(options)?),
            "gitea" => Box::new(Gitea::read(options)?),
            "pypi" => Box::new(Pypi::read(entry, options)?),
            "cratesio" => Box::new(Cratesio::read(entry, options)?),
            "npm" => Box::new(Npm::read(entry, options)?),
            "archpkg" => Box::new(Archpkg::read(entry, options)?),
            _ => return Ok(None),
        }))
    }
}

/// Reads an answer.
///
/// # Errors
/// If it is not JSON of that form; with its beginning, which is a web page more often than not.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| {
        let start: String = String::from_utf8_lossy(&body[..body.len().min(60)]).escape_debug().collect();
        format!("the answer is not of the expected form: {error}; it begins with `{start}`")
    })
}

/// A time as services write it; `None` if it is something else.
#[must_use]
pub fn time(written: Option<&str>) -> Option<Timestamp> {
    written.and_then(|written| written.parse().ok())
}

/// A JSON object in the order in which it was written.
#[derive(Debug)]
pub struct Pairs<T>(pub Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Reader(std::marker::PhantomData))
    }
}

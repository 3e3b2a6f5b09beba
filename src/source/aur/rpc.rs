//! Asks the AUR's RPC interface (version 5) about packages, many at once: for when the metadata dump cannot be had.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::dump::{Entry, Facts, keep};
use crate::domain::name::PkgBase;
use crate::source::SourceRequest;
use crate::source::budget::Budget;
use crate::source::document;
use crate::source::failure::Failure;
use crate::source::lsremote::{LsError, host, shown};
use crate::source::retry::again;

/// Packages in one question.
const AT_ONCE: usize = 150;
/// Bytes of an address; the AUR takes some 4,400.
const LONGEST: usize = 4000;

/// The RPC interface.
#[derive(Debug)]
pub struct Rpc {
    client: reqwest::Client,
    url: String,
}

/// What it said.
#[derive(Debug, Default)]
pub struct Told {
    /// By package. A package that was answered for and is missing here is not in the AUR.
    pub facts: Facts,
    /// Packages about which there is no answer, and why.
    pub silent: BTreeMap<PkgBase, Failure>,
}

/// What it answers with, in success and in failure.
#[derive(Deserialize)]
struct Answer {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    resultcount: Option<usize>,
    #[serde(default)]
    results: Vec<Entry>,
    #[serde(default)]
    error: Option<String>,
}

impl Rpc {
    /// The interface whose version 5 is at `url`.
    pub const fn new(client: reqwest::Client, url: String) -> Self {
        Self { client, url }
    }

    /// What it says about these packages. It knows packages by the names that are installed, and a split package
    /// by any of them.
    pub async fn ask(&self, requests: &[&SourceRequest], budget: &Budget) -> Told {
        let mut told = Told::default();
        let wanted: BTreeSet<PkgBase> = requests.iter().map(|request| request.pkgbase.clone()).collect();
        let mut failed = None;
        // What it allows is counted apart from what the git server beside it does.
        let place = format!("{}/rpc", host(&self.url));
        for batch in batches(requests) {
            let answer = match &failed {
                None => budget.ask(&place, again(|| self.one(&batch))).await,
                // Whoever does not answer one question is not asked all the others.
                Some(failure) => Err(Failure::clone(failure)),
            };
            match answer {
                Ok(entries) => take(&mut told.facts, &wanted, entries),
                Err(failure) => {
                    let asked = batch.iter().map(|request| (request.pkgbase.clone(), failure.clone()));
                    told.silent.extend(asked);
                    failed = Some(failure);
                }
            }
        }
        if told.facts.is_empty() && wanted.len() > 1 && told.silent.is_empty() {
            let failure = Failure::passing(format!("{} lists none of the {} packages", shown(&self.url), wanted.len()));
            told.silent = wanted.into_iter().map(|pkgbase| (pkgbase, failure.clone())).collect();
        }
        told
    }

    /// The beginning of a question: version 5 has an address of its own, beside the older one for all versions.
    fn question(&self) -> String {
        if self.url.ends_with("/v5") { format!("{}/info?", self.url) } else { format!("{}/?v=5&type=info&", self.url) }
    }

    async fn one(&self, batch: &[&SourceRequest]) -> Result<Vec<Entry>, LsError> {
        let question = self.question();
        let shown = shown(question.split('?').next().unwrap_or(&question));
        let names: Vec<String> = batch.iter().flat_map(|request| names(request)).map(argument).collect();
        let response = self.client.get(question + &names.join("&")).send().await;
        let unreachable =
            |source: reqwest::Error| LsError::Unreachable { url: shown.clone(), source: source.without_url() };
        let answer: Answer = document::json(response.map_err(unreachable)?, &shown).await?;
        if answer.kind == "error" || answer.error.is_some() {
            let error: String =
                answer.error.unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
            return Err(document::unusable(&shown, format!("it says `{error}`")));
        }
        if answer.resultcount != Some(answer.results.len()) {
            return Err(document::unusable(&shown, "it does not hold as many results as it says"));
        }
        Ok(answer.results)
    }
}

fn take(facts: &mut Facts, wanted: &BTreeSet<PkgBase>, entries: Vec<Entry>) {
    for entry in entries {
        if let Some(pkgbase) = wanted.get(entry.pkgbase()) {
            keep(facts, pkgbase, entry.into());
        }
    }
}

/// The names by which a package may be known.
fn names(request: &SourceRequest) -> impl Iterator<Item = &str> {
    let base = request.pkgbase.as_str();
    let members = request.members.iter().map(String::as_str).filter(move |name| *name != base);
    std::iter::once(base).chain(members.take(AT_ONCE - 1))
}

fn argument(name: &str) -> String {
    // In a query, `+` is a blank.
    format!("arg[]={}", name.replace('+', "%2B"))
}

/// Questions that are not too long.
fn batches<'a>(requests: &[&'a SourceRequest]) -> Vec<Vec<&'a SourceRequest>> {
    let mut batches: Vec<Vec<&SourceRequest>> = Vec::new();
    let (mut count, mut length) = (0, 0);
    for &request in requests {
        let here = names(request).count();
        let bytes: usize = names(request).map(|name| argument(name).len() + 1).sum();
        if batches.is_empty() || count + here > AT_ONCE || length + bytes > LONGEST {
            batches.push(Vec::new());
            (count, length) = (0, 0);
        }
        count += here;
        length += bytes;
        batches.last_mut().expect("there is one").push(request);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::asking;

    #[test]
    fn questions_are_of_a_length_that_servers_take_and_leave_nobody_out() {
        let requests: Vec<_> = (0..1000).map(|number| asking(&format!("a-rather-long-name+{number}"), None)).collect();
        let requests: Vec<_> = requests.iter().collect();
        let batches = batches(&requests);
        assert_eq!(batches.iter().flatten().count(), 1000);
        let longest = |batch: &Vec<&SourceRequest>| {
            batch.iter().flat_map(|it| names(it)).map(argument).map(|it| it.len() + 1).sum::<usize>()
        };
        assert!(batches.iter().all(|batch| batch.len() <= AT_ONCE && longest(batch) <= LONGEST));
        assert!(batches.len() < 15, "{}", batches.len());
        assert_eq!(argument("c++"), "arg[]=c%2B%2B");
    }

    #[test]
    fn a_split_package_is_asked_for_by_all_its_names() {
        let mut request = asking("base", None);
        request.members = vec!["base".to_owned(), "base-docs".to_owned()];
        assert_eq!(names(&request).collect::<Vec<_>>(), ["base", "base-docs"]);
    }
}

//! Documents and lists, asked for over a way to a forge.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use serde::de::DeserializeOwned;

use super::{Wire, answer};
use crate::forge::ForgeError;

/// What every answer should be.
pub const JSON: &str = "application/json";
/// A list with more pages than this is none that we asked for.
pub const MOST_PAGES: usize = 500;

impl Wire {
    /// An answer that is none of the errors.
    pub async fn ask(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<(&'static str, Vec<u8>)>,
    ) -> Result<Response<Bytes>, ForgeError> {
        let request = Request::builder().method(method).uri(path).header(ACCEPT, HeaderValue::from_static(JSON));
        let request = match body {
            Some((kind, body)) => request.header(CONTENT_TYPE, kind).body(Bytes::from(body)),
            None => request.body(Bytes::new()),
        };
        let request = request.map_err(|error| self.unreachable(format!("`{path}` cannot be asked for: {error}")))?;
        answer::judge(self.place(), what, self.send(request).await?)
    }

    /// The document in an answer.
    pub fn document<T: DeserializeOwned>(&self, what: &str, response: &Response<Bytes>) -> Result<T, ForgeError> {
        answer::document(self.place(), what, response)
    }

    /// A list with all of its pages, as long as `goes_on` says so of the last of each. `size` asks for as many at once as
    /// the forge gives: `per_page=100`.
    pub async fn pages<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        size: &str,
        goes_on: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, ForgeError> {
        let mut all = Vec::new();
        let mark = if path.contains('?') { '&' } else { '?' };
        for page in 1..=MOST_PAGES {
            let response = self.ask(what, Method::GET, &format!("{path}{mark}{size}&page={page}"), None).await?;
            all.extend(self.document::<Vec<T>>(what, &response)?);
            if !answer::has_next(&response) || !all.last().is_some_and(&goes_on) {
                return Ok(all);
            }
        }
        Err(self.unreachable(format!("its list of {what} has more than {MOST_PAGES} pages")))
    }
}

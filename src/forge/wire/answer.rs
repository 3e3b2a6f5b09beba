//! What an answer of a forge means: a document, or an error with what a person can do about it.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Place;
use crate::forge::ForgeError;

/// So much of what a forge says is repeated, in characters.
const QUOTED: usize = 300;

/// An answer that is none of the errors. `what` was asked for, as in "GitHub has no `what`".
///
/// # Errors
/// Every status outside 200 to 299.
pub fn judge(place: &Place, what: &str, response: Response<Bytes>) -> Result<Response<Bytes>, ForgeError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let forge = place.forge.clone();
    let message = told(&response);
    let refused = |hint: String| ForgeError::Refused { forge: place.forge.clone(), message: message.clone(), hint };
    Err(match status {
        StatusCode::UNAUTHORIZED => {
            refused("the token is wrong or has expired; write another into its file".to_owned())
        }
        StatusCode::FORBIDDEN => refused(format!("the token needs {}", place.scopes)),
        StatusCode::NOT_FOUND | StatusCode::GONE => ForgeError::Missing { forge, what: what.to_owned() },
        StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::CONFLICT
        | StatusCode::PRECONDITION_FAILED
        | StatusCode::UNPROCESSABLE_ENTITY
        | StatusCode::LOCKED
        | StatusCode::BAD_REQUEST => ForgeError::Conflict { forge, message },
        _ => ForgeError::Unreachable { forge, message },
    })
}

/// The document in an answer.
///
/// # Errors
/// If it is another: nothing follows from it.
pub fn document<T: DeserializeOwned>(place: &Place, what: &str, response: &Response<Bytes>) -> Result<T, ForgeError> {
    serde_json::from_slice(response.body()).map_err(|error| ForgeError::Unreachable {
        forge: place.forge.clone(),
        message: format!("its answer about {what} cannot be understood: {error}"),
    })
}

/// Status and message of an answer, for people.
pub fn told(response: &Response<Bytes>) -> String {
    let status = response.status();
    let said = serde_json::from_slice(response.body()).map_or_else(|_| String::new(), |body| said(&body));
    let said: String = said.chars().filter(|c| !c.is_control()).take(QUOTED).collect();
    if said.is_empty() { format!("it answers {status}") } else { format!("it answers {status}: {said}") }
}

/// The message in a document: `message` or `error`, with the particulars that forges put beside or into it.
fn said(body: &Value) -> String {
    let message = ["message", "error"].iter().find_map(|key| body.get(key)).map(flat);
    let particulars = body.get("errors").map(flat);
    let parts: Vec<_> = [message, particulars].into_iter().flatten().filter(|part| !part.is_empty()).collect();
    parts.join("; ")
}

fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(flat).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => match fields.get("message") {
            Some(message) => flat(message),
            None => {
                fields.iter().map(|(name, value)| format!("{name}: {}", flat(value))).collect::<Vec<_>>().join(", ")
            }
        },
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Whether an answer says that there is a page after it.
pub fn has_next(response: &Response<Bytes>) -> bool {
    let links = response.headers().get_all(http::header::LINK);
    links
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|link| link.split(';').skip(1).any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        let api = "https://forge.example".parse().expect("an address");
        Place { forge: "Forge at forge.example".to_owned(), api, scopes: "the scope `all`" }
    }

    fn answer(status: u16, body: &'static str) -> Response<Bytes> {
        Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).expect("well formed")
    }

    fn error(status: u16, body: &'static str) -> String {
        judge(&place(), "review 7", answer(status, body)).expect_err("an error").to_string()
    }

    #[test]
    fn errors_say_what_the_forge_said() {
        let github = "{\"message\":\"Validation Failed\",\"errors\":[{\"message\":\"A pull request already exists\"},\
                      {\"field\":\"head\",\"code\":\"invalid\"}]}";
        insta::assert_snapshot!(error(422, github), @"Forge at forge.example cannot do that now: it answers 422 Unprocessable Entity: Validation Failed; A pull request already exists, code: invalid, field: head");
        let gitlab = "{\"message\":{\"source_branch\":[\"is taken\",\"is odd\"]}}";
        insta::assert_snapshot!(error(409, gitlab), @"Forge at forge.example cannot do that now: it answers 409 Conflict: source_branch: is taken, is odd");
        insta::assert_snapshot!(error(403, "<html>\u{7}"), @"Forge at forge.example refuses: it answers 403 Forbidden");
        insta::assert_snapshot!(error(404, "{\"error\":\"404 Not Found\"}"), @"Forge at forge.example has no review 7");
        insta::assert_snapshot!(error(418, "{}"), @"Forge at forge.example could not be asked: it answers 418 I'm a teapot");
    }

    #[test]
    fn who_is_refused_is_told_what_to_do() {
        let hint = |status| match judge(&place(), "x", answer(status, "")) {
            Err(ForgeError::Refused { hint, .. }) => hint,
            other => panic!("{other:?}"),
        };
        assert_eq!(hint(401), "the token is wrong or has expired; write another into its file");
        assert_eq!(hint(403), "the token needs the scope `all`");
    }

    #[test]
    fn another_document_is_no_answer() {
        let result: Result<Vec<u8>, _> = document(&place(), "reviews", &answer(200, "{\"an\": \"object\"}"));
        assert!(matches!(result, Err(ForgeError::Unreachable { .. })), "{result:?}");
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        let linked = |link: &str| {
            let response = Response::builder().header("link", link).body(Bytes::new()).expect("well formed");
            has_next(&response)
        };
        assert!(linked("<https://x/?page=1>; rel=\"prev\", <https://x/?page=3>; rel=\"next\""));
        assert!(!linked("<https://x/?page=1>; rel=\"prev\", <https://x/?rel=next>; rel=\"last\""));
        assert!(!has_next(&answer(200, "")));
    }
}

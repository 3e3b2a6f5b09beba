//! Sources `regex` and `jq`: a page or a document that is searched for versions.

use super::call::Call;
use super::extract::{Encoding, Extract};
use super::options::Options;
use super::python::Pattern;

/// What `regex` asks for, and how the answer is searched.
///
/// # Errors
/// The option that is wrong.
pub fn regex(options: Options<'_>) -> Result<(Call, Extract), String> {
    let written = options.needed("regex")?;
    let pattern = Pattern::new(written).map_err(|error| format!("`regex`: {error}"))?;
    if pattern.groups() > 1 {
        return Err("`regex` has more than one group; write `(?:…)` for those that are not the version".to_owned());
    }
    let encoding = match options.text("encoding")? {
        None => Encoding::Latin1,
        Some(label) => {
            Encoding::named(label).ok_or_else(|| format!("`encoding`: `{}` is not known", label.escape_debug()))?
        }
    };
    let missing_ok = options.flag("missing_ok")?;
    let extract = Extract::Regex { pattern: written.to_owned(), encoding, missing_ok };
    Ok((call(options, "application/x-www-form-urlencoded")?, extract))
}

/// What `jq` asks for, and how the answer is searched.
///
/// # Errors
/// The option that is wrong.
pub fn jq(options: Options<'_>) -> Result<(Call, Extract), String> {
    let filter = options.text("filter")?.unwrap_or(".").to_owned();
    let extract = Extract::Jq { filter, missing_ok: options.flag("missing_ok")? };
    Ok((call(options, "application/json")?, extract))
}

fn call(options: Options<'_>, kind: &str) -> Result<Call, String> {
    let url = options.needed("url")?;
    let parsed = url::Url::parse(url).map_err(|error| format!("`url`: {error}"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err("`url`: only http and https are asked".to_owned());
    }
    let mut call = Call::get(url);
    if let Some(agent) = options.text("user_agent")? {
        if agent.bytes().any(|byte| byte.is_ascii_control()) {
            return Err("`user_agent` has control characters".to_owned());
        }
        call = call.header("user-agent", agent);
    }
    if let Some(body) = options.text("post_data")?.filter(|body| !body.is_empty()) {
        call = call.post(options.text("post_data_type")?.unwrap_or(kind), body);
    }
    Ok(call)
}

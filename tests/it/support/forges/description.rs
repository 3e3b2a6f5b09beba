//! The forges' own descriptions of their APIs, and whether what was said fits to them.
//!
//! GitHub's is `OpenAPI` 3, Gitea's and Forgejo's are Swagger 2 (`.ci/setup` fetches them); for GitLab there is no package
//! that holds one, so its documented examples stand in `fixtures/forges/gitlab.json`, each with its page.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Exchange;
use super::http::Asked;

/// What a schema is made of, as far as it restricts anything.
const KEYWORDS: [&str; 14] = [
    "type",
    "required",
    "enum",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "pattern",
    "items",
    "allOf",
    "oneOf",
    "anyOf",
    "not",
    "additionalProperties",
];

/// What is known of an API.
pub enum Description {
    OpenApi(Value),
    Examples(Value),
}

/// One endpoint, and how often what was said about it fitted.
#[derive(Debug, Default)]
pub struct Row {
    pub requests: usize,
    pub answers: BTreeMap<u16, usize>,
    pub faults: Vec<String>,
}

impl Description {
    /// Reads an `OpenAPI` or Swagger document.
    ///
    /// # Panics
    /// If it is not there: nothing is skipped without a word.
    pub fn open_api(path: &Path) -> Self {
        Self::OpenApi(read(path))
    }

    /// Reads documented examples.
    pub fn examples(path: &Path) -> Self {
        Self::Examples(read(path))
    }

    /// Compares everything that was said, by endpoint.
    pub fn compare(&self, exchanges: &[Exchange]) -> BTreeMap<String, Row> {
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for exchange in exchanges {
            let method = exchange.asked.method.as_str();
            let Some((template, operation)) = self.operation(&exchange.asked) else {
                let row = rows.entry(format!("{method} {}", exchange.asked.raw_path)).or_default();
                row.faults.push("there is no such endpoint".to_owned());
                continue;
            };
            let row = rows.entry(format!("{method} {template}")).or_default();
            row.requests += 1;
            *row.answers.entry(exchange.reply.status).or_default() += 1;
            row.faults.extend(match self {
                Self::OpenApi(document) => described(document, operation, exchange),
                Self::Examples(_) => exemplified(operation, exchange),
            });
        }
        rows
    }

    /// The endpoint that was asked: the one with most of its parts as they are.
    fn operation(&self, asked: &Asked) -> Option<(String, &Value)> {
        let method = asked.method.as_str().to_ascii_lowercase();
        let paths = match self {
            Self::OpenApi(document) => document["paths"].as_object()?,
            Self::Examples(document) => document.as_object()?,
        };
        let fits = |template: &str| {
            let parts: Vec<_> = template.split('/').filter(|part| !part.is_empty()).collect();
            let is_same = |(part, said): (&&str, &String)| part.starts_with('{') || part == said;
            parts.len() == asked.path.len() && parts.iter().zip(&asked.path).all(is_same)
        };
        let variables = |template: &str| template.matches('{').count();
        let found = paths.iter().filter(|(template, _)| fits(template)).min_by_key(|(template, _)| variables(template));
        let (template, methods) = found?;
        Some((template.clone(), methods.get(&method)?))
    }
}

fn read(path: &Path) -> Value {
    let text = std::fs::read(path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}; `.ci/setup --tests` fetches it", path.display()));
    serde_json::from_slice(&text).expect("a document")
}

/// What does not fit to an operation of an `OpenAPI` or Swagger document.
fn described(document: &Value, operation: &Value, exchange: &Exchange) -> Vec<String> {
    let mut faults = Vec::new();
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let parameters: Vec<_> = parameters.iter().map(|parameter| resolved(document, parameter)).collect();
    for (name, value) in &exchange.asked.query {
        let known = parameters.iter().find(|it| it["in"] == "query" && it["name"] == name.as_str());
        // Pages are everywhere, described or not.
        match known {
            None if name != "page" && name != "per_page" && name != "limit" => {
                faults.push(format!("there is no parameter `{name}`"));
            }
            Some(parameter) => {
                let choices = parameter["schema"]["enum"].as_array().or_else(|| parameter["enum"].as_array());
                if choices.is_some_and(|choices| !choices.contains(&json!(value))) {
                    faults.push(format!("`{name}` cannot be `{value}`"));
                }
            }
            None => {}
        }
    }
    let open_api = operation.pointer("/requestBody/content/application~1json/schema").cloned();
    let swagger = parameters.iter().find(|it| it["in"] == "body").map(|it| it["schema"].clone());
    match open_api.or(swagger) {
        Some(schema) if !exchange.asked.body.is_null() => {
            faults.extend(misfits(document, &closed(document, &schema), &exchange.asked.body, false));
        }
        None if !exchange.asked.body.is_null() && exchange.asked.body != json!({}) => {
            faults.push("nothing is sent there".to_owned());
        }
        _ => {}
    }
    faults.extend(answer_faults(document, operation, exchange));
    faults
}

fn answer_faults(document: &Value, operation: &Value, exchange: &Exchange) -> Vec<String> {
    let status = exchange.reply.status;
    let Some(response) = operation["responses"].get(status.to_string()) else {
        let told = format!("it never answers {status}");
        // Errors of all endpoints are not repeated at each.
        return if status >= 400 { Vec::new() } else { vec![told] };
    };
    let response = resolved(document, response);
    let is_swagger = document.get("swagger").is_some();
    let schema =
        if is_swagger { response.get("schema") } else { response.pointer("/content/application~1json/schema") };
    schema.map_or_else(Vec::new, |schema| misfits(document, schema, &exchange.reply.body, is_swagger))
}

/// Follows a reference.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let reference = value.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix('#'));
    reference.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

/// The schema of a request, in which a name that is not known is a slip.
fn closed(document: &Value, schema: &Value) -> Value {
    let mut schema = resolved(document, schema).clone();
    if schema.get("properties").is_some() {
        schema["additionalProperties"] = false.into();
    }
    schema
}

/// What does not fit to a schema.
fn misfits(document: &Value, schema: &Value, value: &Value, may_lack: bool) -> Vec<String> {
    let mut definitions = Map::new();
    let mut schema = converted(document, schema, &mut definitions, may_lack);
    schema["$defs"] = Value::Object(definitions);
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    validator.iter_errors(value).map(|error| format!("{}: {error:.300}", error.instance_path())).collect()
}

/// A schema as JSON Schema has it, with what it refers to. Swagger 2 cannot say that something may be null, and Gitea
/// answers null for what is not there: that is what `may_lack` allows.
fn converted(document: &Value, schema: &Value, definitions: &mut Map<String, Value>, may_lack: bool) -> Value {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or_default().to_owned();
        if !definitions.contains_key(&name) {
            definitions.insert(name.clone(), true.into());
            let target = converted(document, resolved(document, schema), definitions, may_lack);
            definitions.insert(name.clone(), target);
        }
        return json!({"$ref": format!("#/$defs/{name}")});
    }
    let Some(fields) = schema.as_object() else { return schema.clone() };
    let mut result = Map::new();
    for (key, value) in fields.iter().filter(|(key, _)| KEYWORDS.contains(&key.as_str())) {
        let value = match value {
            Value::Array(values) if matches!(key.as_str(), "allOf" | "oneOf" | "anyOf") => {
                values.iter().map(|value| converted(document, value, definitions, may_lack)).collect::<Vec<_>>().into()
            }
            Value::Object(_) => converted(document, value, definitions, may_lack),
            _ => value.clone(),
        };
        result.insert(key.clone(), value);
    }
    if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
        let property = |(name, value): (&String, &Value)| {
            let value = converted(document, value, definitions, may_lack);
            (name.clone(), if may_lack { json!({"anyOf": [value, {"type": "null"}]}) } else { value })
        };
        result.insert("properties".to_owned(), Value::Object(properties.iter().map(property).collect()));
    }
    if fields.get("nullable") == Some(&Value::Bool(true)) {
        return json!({"anyOf": [result, {"type": "null"}]});
    }
    Value::Object(result)
}

/// What does not fit to a documented example: `{page, parameters, status, answer}`.
fn exemplified(example: &Value, exchange: &Exchange) -> Vec<String> {
    let mut faults = Vec::new();
    assert!(example["page"].as_str().is_some_and(|page| page.starts_with("https://docs.gitlab.com/")), "{example}");
    let known = example["parameters"].as_array().cloned().unwrap_or_default();
    let sent = exchange.asked.body.as_object().into_iter().flat_map(Map::keys);
    for name in exchange.asked.query.keys().chain(sent).filter(|name| *name != "page" && *name != "per_page") {
        if !known.contains(&json!(name)) {
            faults.push(format!("there is no parameter `{name}`"));
        }
    }
    if exchange.reply.status < 400 {
        if example["status"] != exchange.reply.status {
            faults.push(format!("it never answers {}", exchange.reply.status));
        }
        differences("", &example["answer"], &exchange.reply.body, &mut faults);
    }
    faults
}

/// Where an answer has what the example has not, or something of another kind.
fn differences(place: &str, example: &Value, value: &Value, faults: &mut Vec<String>) {
    match (example, value) {
        (_, Value::Null) | (Value::Null, _) => {}
        (Value::Object(example), Value::Object(value)) => {
            for (name, value) in value {
                let place = format!("{place}/{name}");
                match example.get(name) {
                    Some(example) => differences(&place, example, value, faults),
                    None => faults.push(format!("{place}: the example has no such field")),
                }
            }
        }
        (Value::Array(example), Value::Array(values)) => {
            for value in values {
                let Some(example) = example.first() else { continue };
                differences(&format!("{place}[]"), example, value, faults);
            }
        }
        (example, value) if std::mem::discriminant(example) != std::mem::discriminant(value) => {
            faults.push(format!("{place}: {value} is of another kind than {example}"));
        }
        _ => {}
    }
}

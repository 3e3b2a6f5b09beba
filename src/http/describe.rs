//! Routes and their description as one thing: what is not described is not served.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};
use serde_json::{Map, Value, json};

use super::Server;

/// The schemas that operations refer to.
const SCHEMAS: &str = include_str!("schemas.json");

/// What an operation answers with when it succeeds.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// One object of a schema.
    One(&'static str),
    /// An array of a schema.
    Many(&'static str),
    /// Something that is not JSON.
    Media(&'static str),
    /// Nothing but its status and headers.
    Empty,
}

/// One method of one route.
#[derive(Debug, Clone)]
pub struct Operation {
    method: Method,
    path: &'static str,
    summary: &'static str,
    answer: Answer,
    query: Vec<(&'static str, &'static str)>,
    body: Option<&'static str>,
    /// Whether it proves itself by a signature, and is answered before it was seen to.
    signed: bool,
    /// Whether it wants the token of one build.
    builder: bool,
}

impl Operation {
    /// Something that a builder asks for or brings, with the token of its build.
    pub fn of_builder(method: Method, path: &'static str, summary: &'static str, answer: Answer) -> Self {
        Self { method, builder: true, ..Self::get(path, summary, answer) }
    }

    /// Something to read.
    pub fn get(path: &'static str, summary: &'static str, answer: Answer) -> Self {
        Self {
            method: Method::GET,
            path,
            summary,
            answer,
            query: Vec::new(),
            body: None,
            signed: false,
            builder: false,
        }
    }

    /// Something that changes the world.
    pub fn post(path: &'static str, summary: &'static str, answer: Answer) -> Self {
        Self { method: Method::POST, ..Self::get(path, summary, answer) }
    }

    /// Something that others tell by themselves.
    pub fn delivery(path: &'static str, summary: &'static str, answer: &'static str) -> Self {
        Self { signed: true, ..Self::post(path, summary, Answer::One(answer)) }
    }

    /// A parameter after the question mark.
    pub fn query(mut self, name: &'static str, meaning: &'static str) -> Self {
        self.query.push((name, meaning));
        self
    }

    /// The schema of what has to be sent.
    pub fn body(mut self, schema: &'static str) -> Self {
        self.body = Some(schema);
        self
    }

    fn describe(&self) -> Value {
        let in_path = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let mut parameters: Vec<Value> = in_path
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        parameters.extend(self.query.iter().map(|(name, meaning)| {
            json!({"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}})
        }));
        let changes = self.method == Method::POST && !self.signed;
        let status = if self.signed { "202" } else { "200" };
        if changes {
            parameters.push(json!({"$ref": "#/components/parameters/IdempotencyKey"}));
        }
        let mut operation = json!({
            "summary": self.summary,
            "parameters": parameters,
            "responses": {status: self.success(), "default": {"$ref": "#/components/responses/Problem"}},
        });
        if let Some(schema) = self.body {
            let content = json!({"application/json": {"schema": reference(schema)}});
            operation["requestBody"] = json!({"required": true, "content": content});
        }
        if self.builder {
            operation["security"] = json!([{"build": []}]);
        }
        if changes {
            operation["security"] = json!([{"token": []}]);
        }
        operation
    }

    fn success(&self) -> Value {
        let (media, schema) = match self.answer {
            Answer::One(name) => ("application/json", reference(name)),
            Answer::Many(name) => ("application/json", json!({"type": "array", "items": reference(name)})),
            Answer::Media(media) => (media, json!({"type": "string"})),
            Answer::Empty => return json!({"description": "done"}),
        };
        let content = Map::from_iter([(media.to_owned(), json!({ "schema": schema }))]);
        json!({"description": "done", "content": content})
    }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// Routes with their descriptions.
pub struct Described {
    router: Router<Server>,
    paths: Map<String, Value>,
}

impl Described {
    /// No routes.
    pub fn new() -> Self {
        Self { router: Router::new(), paths: Map::new() }
    }

    /// One more.
    pub fn route<H, T>(mut self, operation: &Operation, handler: H) -> Self
    where
        H: Handler<T, Server>,
        T: 'static,
    {
        let filter = match operation.method {
            Method::POST => MethodFilter::POST,
            Method::PUT => MethodFilter::PUT,
            Method::HEAD => MethodFilter::HEAD,
            _ => MethodFilter::GET,
        };
        self.router = self.router.route(operation.path, on(filter, handler));
        self.describe(operation);
        self
    }

    /// The description of a route that is served elsewhere.
    pub fn describing(mut self, operation: &Operation) -> Self {
        self.describe(operation);
        self
    }

    /// These and others.
    pub fn and(mut self, others: Self) -> Self {
        self.router = self.router.merge(others.router);
        self.paths.extend(others.paths);
        self
    }

    fn describe(&mut self, operation: &Operation) {
        let path = self.paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.as_str().to_lowercase()] = operation.describe();
    }

    /// The routes.
    pub fn router(&self) -> Router<Server> {
        self.router.clone()
    }

    /// The paths of the `OpenAPI` document.
    pub fn into_paths(self) -> Map<String, Value> {
        self.paths
    }
}

/// The `OpenAPI` document over these paths.
pub fn document(paths: &Map<String, Value>) -> Value {
    let schemas: Value = serde_json::from_str(SCHEMAS).expect("the schemas are JSON");
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "pkgwarden",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the controller keeps, and how to tell it what to do. Reading needs nothing; \
                            changing needs the token, or the unix socket `control.sock` in the data directory.",
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "build": {"type": "http", "scheme": "bearer", "description": "The token of one build, from its document."},
            },
            "parameters": {"IdempotencyKey": {
                "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 200},
                "description": "A request that comes again with the same key gets the same answer and does nothing.",
            }},
            "responses": {"Problem": {
                "description": "it did not work",
                "content": {"application/problem+json": {"schema": reference("Problem")}},
            }},
        },
    })
}

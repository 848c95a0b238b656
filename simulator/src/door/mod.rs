//! The simulator's own door: GraphQL that drives the world.

pub(crate) mod mutation;
pub(crate) mod query;
pub(crate) mod types;

use crate::engine::Engine;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{EmptySubscription, Request, Schema, Variables};
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mutation::Mutation;
use query::Query;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

const LARGEST_BODY: usize = 4 << 20;
const LONGEST_QUERY: usize = 64 << 10;
const DEEPEST_NESTING: usize = 64;
const MOST_FRAGMENTS: usize = 100;
const MOST_FIELDS: usize = 20_000;

/// The schema with its world.
pub(crate) type Door = Schema<Query, Mutation, EmptySubscription>;

/// Builds the schema on top of a running engine.
pub(crate) fn build(engine: Arc<Engine>) -> Door {
    Schema::build(Query, Mutation, EmptySubscription).data(engine).finish()
}

#[derive(Deserialize)]
struct Asked {
    query: String,
    #[serde(default)]
    variables: Option<Value>,
    #[serde(default, rename = "operationName")]
    operation_name: Option<String>,
}

/// Answers `POST /graphql`.
pub(crate) async fn answer(State(door): State<Door>, headers: HeaderMap, body: Body) -> Response {
    let mime = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !mime.starts_with("application/json") {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json");
    }
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 4 MB");
    };
    let asked: Asked = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => {
            return refuse(StatusCode::BAD_REQUEST, &format!("the body is no GraphQL request: {error}"));
        }
    };
    match read(asked) {
        Ok(request) => {
            let response = door.execute(request).await;
            match serde_json::to_vec(&response) {
                Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
                Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            }
        }
        Err(message) => refuse(StatusCode::BAD_REQUEST, &message),
    }
}

fn refuse(status: StatusCode, message: &str) -> Response {
    let body = json!({ "errors": [{ "message": message }] }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Reads a query, refusing what could only hurt.
fn read(asked: Asked) -> Result<Request, String> {
    if asked.query.len() > LONGEST_QUERY {
        return Err("the query is longer than 64 KB; use variables".to_owned());
    }
    if !is_flat_enough(&asked.query) {
        return Err(format!("the query is nested deeper than {DEEPEST_NESTING} levels"));
    }
    let document = parse_query(&asked.query).map_err(|error| error.to_string())?;
    if document.fragments.len() > MOST_FRAGMENTS {
        return Err(format!("the query has more than {MOST_FRAGMENTS} fragments"));
    }
    let mut known = HashMap::new();
    let mut fields = 0_usize;
    for (_, operation) in document.operations.iter() {
        match expanded(&document, &operation.node.selection_set.node, &mut known) {
            Some(count) => fields = fields.saturating_add(count),
            None => return Err("a fragment of the query leads back to itself".to_owned()),
        }
    }
    if fields > MOST_FIELDS {
        return Err(format!("the query asks for more than {MOST_FIELDS} fields"));
    }
    let variables = asked.variables.filter(|v| !v.is_null()).map(Variables::from_json).unwrap_or_default();
    let mut request = Request::new(asked.query).variables(variables);
    if let Some(name) = asked.operation_name.filter(|name| !name.is_empty()) {
        request = request.operation_name(name);
    }
    request.set_parsed_query(document);
    Ok(request)
}

/// Whether no brackets stand deeper in each other than the parser can bear. Strings and comments do not count.
fn is_flat_enough(query: &str) -> bool {
    let mut depth = 0_usize;
    let mut rest = query.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b'{' | b'[' | b'(' => {
                depth += 1;
                if depth > DEEPEST_NESTING {
                    return false;
                }
                after
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                after
            }
            b'#' => {
                let end = after.iter().position(|c| matches!(c, b'\n' | b'\r')).unwrap_or(after.len());
                after.get(end..).unwrap_or_default()
            }
            b'"' => match after.strip_prefix(b"\"\"") {
                Some(block) => skip_block(block),
                None => skip_string(after),
            },
            _ => after,
        };
    }
    true
}

fn skip_string(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest {
            [] => return rest,
            [b'"', after @ ..] => return after,
            [b'\\', _, after @ ..] | [_, after @ ..] => after,
        };
    }
}

fn skip_block(mut rest: &[u8]) -> &[u8] {
    loop {
        if let Some(after) = rest.strip_prefix(b"\\\"\"\"") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix(b"\"\"\"") {
            return after;
        } else if let Some((_, after)) = rest.split_first() {
            rest = after;
        } else {
            return rest;
        }
    }
}

/// How many fields a selection comes to once its fragments are written out. Each fragment is counted once; nothing if
/// one of them contains itself.
fn expanded<'d>(
    document: &'d ExecutableDocument,
    set: &'d SelectionSet,
    known: &mut HashMap<&'d str, Option<usize>>,
) -> Option<usize> {
    let mut total = 0_usize;
    for item in &set.items {
        let count = match &item.node {
            Selection::Field(field) => {
                expanded(document, &field.node.selection_set.node, known)?.saturating_add(1)
            }
            Selection::InlineFragment(inline) => expanded(document, &inline.node.selection_set.node, known)?,
            Selection::FragmentSpread(spread) => {
                let name = spread.node.fragment_name.node.as_str();
                match known.get(name) {
                    Some(count) => (*count)?,
                    None => {
                        known.insert(name, None);
                        let count = match document.fragments.get(name) {
                            Some(fragment) => expanded(document, &fragment.node.selection_set.node, known)?,
                            None => 0,
                        };
                        known.insert(name, Some(count));
                        count
                    }
                }
            }
        };
        total = total.saturating_add(count);
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::{Asked, is_flat_enough, read};

    fn asked(query: &str) -> Asked {
        Asked { query: query.to_owned(), variables: None, operation_name: None }
    }

    #[test]
    fn deep_nesting_is_refused_and_strings_do_not_count() {
        assert!(!is_flat_enough(&"{a".repeat(65)));
        assert!(is_flat_enough(&format!("{{ a(b: \"{}\\\"[\") }} # {}", "[".repeat(99), "{".repeat(99))));
        assert!(is_flat_enough(&format!("{{ a(b: \"\"\"{}\\\"\"\"\"\"\") }}", "[".repeat(99))));
    }

    #[test]
    fn fragments_that_grow_are_refused() {
        let mut query = "{ ...f0 }".to_owned();
        for n in 0..24 {
            query.push_str(&format!(" fragment f{n} on Query {{ ...f{0} ...f{0} }}", n + 1));
        }
        query.push_str(" fragment f24 on Query { clock }");
        assert!(read(asked(&query)).is_err());
        assert!(read(asked("{ ...a } fragment a on Query { ...a }")).is_err());
        assert!(read(asked("{ ...a } fragment a on Query { clock }")).is_ok());
    }
}

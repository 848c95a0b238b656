//! Meta's Graph API, as far as WhatsApp needs it: under any version prefix or none, with Meta's answers and errors.

pub(crate) mod apps;
pub(crate) mod error;
pub(crate) mod form;
pub(crate) mod media;
pub(crate) mod numbers;
pub(crate) mod send;
pub(crate) mod templates;
pub(crate) mod tokens;

use crate::engine::Engine;
use crate::number::Number;
use crate::world::phone::Phone;
use crate::world::{GraphCall, Planned, World, real_ms};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use error::GraphError;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The version that the service is told to use.
pub(crate) const VERSION: &str = "v25.0";
/// The largest body: a document of 100 MB with its wrapping.
const LARGEST_BODY: usize = 104 << 20;
/// How long an answer is held back that is to look lost.
const HELD_BACK: Duration = Duration::from_secs(40);

/// A call, taken apart.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The path without its version, in pieces.
    pub(crate) path: Vec<String>,
    /// What stood in the address, a form or a JSON object.
    pub(crate) given: Map<String, Value>,
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
    pub(crate) token: Option<String>,
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) mime: String,
    pub(crate) body: Bytes,
    /// To be held back until the caller has lost patience.
    pub(crate) held: bool,
}

impl Reply {
    pub(crate) fn json(body: &Value) -> Self {
        Self { status: 200, mime: "application/json".into(), body: body.to_string().into(), held: false }
    }

    pub(crate) fn success() -> Self {
        Self::json(&json!({ "success": true }))
    }
}

impl Call {
    /// A given value as text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name).and_then(Value::as_str)
    }

    /// A given whole number, or `otherwise`.
    pub(crate) fn number(&self, name: &str, otherwise: usize) -> usize {
        match self.given.get(name) {
            Some(Value::String(text)) => text.parse().unwrap_or(otherwise),
            Some(value) => value.as_u64().map_or(otherwise, |n| n as usize),
            None => otherwise,
        }
    }

    /// The names after `fields`.
    pub(crate) fn fields(&self) -> Vec<&str> {
        self.text("fields")
            .map(|f| f.split(',').map(str::trim).filter(|f| !f.is_empty()).collect())
            .unwrap_or_default()
    }

    /// Whether the caller shows the app's own token.
    pub(crate) fn is_app(&self, world: &World) -> bool {
        let app = &world.development;
        self.token.as_deref() == Some(&format!("{}|{}", app.app_id, app.app_secret))
    }

    /// The phone that the caller's token was given for.
    pub(crate) fn business(&self, world: &World) -> Option<Number> {
        world.tokens.get(self.token.as_deref()?).map(|token| token.phone)
    }

    /// The caller's phone, if `id` is that of its number.
    pub(crate) fn phone<'w>(&self, world: &'w World, id: &str) -> Result<&'w Phone, GraphError> {
        self.owned(world, world.by_number_id.get(id), id)
    }

    /// The caller's phone, if `id` is that of its WhatsApp Business Account.
    pub(crate) fn account<'w>(&self, world: &'w World, id: &str) -> Result<&'w Phone, GraphError> {
        self.owned(world, world.by_waba.get(id), id)
    }

    fn owned<'w>(&self, world: &'w World, found: Option<&Number>, id: &str) -> Result<&'w Phone, GraphError> {
        let mine = self.business(world).ok_or_else(GraphError::token)?;
        found
            .filter(|number| **number == mine)
            .and_then(|number| world.phones.get(number))
            .ok_or_else(|| GraphError::unknown(self.method.as_str(), id))
    }
}

/// Takes a request apart; the version prefix is no part of the path.
async fn read(request: Request) -> Result<Call, GraphError> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_BODY)
        .await
        .map_err(|_| GraphError::parameter("the body is too large or was cut off").status(413))?;
    let mut path: Vec<String> =
        parts.uri.path().split('/').filter(|piece| !piece.is_empty()).map(str::to_owned).collect();
    if path.first().is_some_and(|piece| is_version(piece)) {
        path.remove(0);
    }
    let header = |name: header::HeaderName| {
        parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
    };
    let content_type = header(header::CONTENT_TYPE);
    let mut given = form::pairs(parts.uri.query().unwrap_or_default().as_bytes());
    if content_type.starts_with("application/x-www-form-urlencoded") {
        given.extend(form::pairs(&body));
    } else if content_type.starts_with("application/json") && !body.is_empty() {
        match serde_json::from_slice(&body) {
            Ok(Value::Object(object)) => given.extend(object),
            _ => return Err(GraphError::parameter("the body is no JSON object")),
        }
    }
    let token = header(header::AUTHORIZATION)
        .strip_prefix("Bearer ")
        .map(str::to_owned)
        .or_else(|| given.get("access_token").and_then(Value::as_str).map(str::to_owned));
    Ok(Call { method: parts.method, path, given, content_type, body, token })
}

fn is_version(piece: &str) -> bool {
    piece.strip_prefix('v').and_then(|rest| rest.split_once('.')).is_some_and(|(major, minor)| {
        [major, minor].iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    })
}

async fn dispatch(engine: &Arc<Engine>, call: &Call) -> Result<Reply, GraphError> {
    // Those of sends are written down as arrivals first.
    let is_send = call.path.last().is_some_and(|piece| piece == "messages");
    if let Some(error) = (!is_send).then(|| engine.note(|world, _| refusal(world, call)).0).flatten() {
        return Err(error);
    }
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let method = call.method.as_str();
    match (method, path.as_slice()) {
        ("GET" | "POST", ["oauth", "access_token"]) => tokens::exchange(engine, call).await,
        ("GET", ["debug_token"]) => engine.read(|world| tokens::debug(world, call)),
        ("GET", [media::DOWNLOADS, id]) => engine.read(|world| media::download(world, call, id)),
        ("GET" | "POST", [app, "subscriptions"]) => apps::subscriptions(engine, call, app).await,
        ("GET", [waba, "phone_numbers"]) => engine.read(|world| numbers::list(world, call, waba)),
        (_, [waba, "subscribed_apps"]) => apps::subscribed(engine, call, waba).await,
        (_, [waba, "message_templates"]) => templates::answer(engine, call, waba).await,
        ("POST", [id, "smb_app_data"]) => numbers::sync(engine, call, id).await,
        ("POST", [id, "messages"]) => send::answer(engine, call, id).await,
        ("GET" | "POST", [id, "whatsapp_business_profile"]) => numbers::profile(engine, call, id).await,
        ("GET", [id, "message_history"]) => engine.read(|world| numbers::message_history(world, call, id)),
        ("POST", [id, "media"]) => media::upload(engine, call, id).await,
        ("POST", [id, "register" | "deregister"]) => numbers::register(engine, call, id).await,
        ("GET" | "DELETE", [id]) => node(engine, call, id).await,
        (_, path) => Err(GraphError::unknown(method, path.first().unwrap_or(&""))),
    }
}

/// The error that was asked for by `refuse`, if it is for this call.
fn refusal(world: &mut World, call: &Call) -> Option<GraphError> {
    let last = call.path.last()?;
    let to = call.text("to").and_then(Number::from_wire);
    let meant = |planned: &&mut Planned| {
        planned.times > 0 && planned.path == *last && planned.to.is_none_or(|number| to == Some(number))
    };
    let planned = world.planned.iter_mut().find(meant)?;
    planned.times -= 1;
    let code = planned.code;
    world.planned.retain(|planned| planned.times > 0);
    Some(GraphError::coded(code, "Refused on purpose").details("as the simulator was told"))
}

/// An object by its id alone: a number, an account or a file.
async fn node(engine: &Arc<Engine>, call: &Call, id: &str) -> Result<Reply, GraphError> {
    let is_media = engine.read(|world| world.media.contains_key(id));
    if is_media {
        media::answer(engine, call, id).await
    } else if call.method == Method::GET {
        engine.read(|world| numbers::show(world, call, id))
    } else {
        Err(GraphError::unknown(call.method.as_str(), id))
    }
}

/// Answers a call to Meta.
pub(crate) async fn answer(State(engine): State<Arc<Engine>>, request: Request) -> Response {
    let slow = engine.read(|world| world.settings.trouble.graph_slow_ms);
    if slow > 0 {
        engine.pause(Duration::from_millis(slow)).await;
    }
    let method = request.method().to_string();
    let path = request.uri().path().to_owned();
    let reply = match read(request).await {
        Ok(call) => dispatch(&engine, &call).await.unwrap_or_else(GraphError::into_reply),
        Err(error) => error.into_reply(),
    };
    let at = real_ms();
    engine.note(|world, _| world.record_call(GraphCall { at, method, path, status: reply.status }));
    if reply.held {
        engine.pause(HELD_BACK).await;
    }
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(mime) = HeaderValue::from_str(&reply.mime) {
        response.headers_mut().insert(header::CONTENT_TYPE, mime);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn versions_are_recognised() {
        assert!(is_version("v25.0"));
        assert!(!is_version("v25"));
        assert!(!is_version("v.0"));
        assert!(!is_version("123"));
    }
}

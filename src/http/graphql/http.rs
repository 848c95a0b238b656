//! GraphQL over HTTP: `GET` and `POST`, answered in one piece.

use std::{panic::AssertUnwindSafe, time::Duration};

use async_graphql::{Executor, ServerError, parser::types::OperationType};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Redirect, Response},
};
use futures_util::{FutureExt, future::join_all};
use serde_json::value::RawValue;

use super::{
    Door,
    access::{Access, AccessError},
    error::{Answer, Code, panicked},
    guard::{Checked, Params},
};

/// The media types of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    /// `application/json`: errors of a well-formed request come with 200, as clients of old expect.
    Json,
    /// `application/graphql-response+json`: the status says whether anything was executed.
    GraphQl,
    /// `text/event-stream`: the answers of a subscription as they come.
    Events,
}

impl Media {
    const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
    const GRAPHQL: HeaderValue = HeaderValue::from_static("application/graphql-response+json; charset=utf-8");

    /// What the client takes, by its `Accept`; `None`: nothing that we have.
    fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        let mut asked = false;
        for range in headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
        {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            if name.is_empty() {
                continue;
            }
            asked = true;
            let media = match name.to_ascii_lowercase().as_str() {
                "application/graphql-response+json" => Self::GraphQl,
                "application/json" | "application/*" | "*/*" => Self::Json,
                "text/event-stream" => Self::Events,
                _ => continue,
            };
            let (mut quality, mut utf8) = (1.0_f32, true);
            for (key, value) in parts.filter_map(|part| part.split_once('=')) {
                match key.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0),
                    "charset" => utf8 = is_utf8(value),
                    _ => {}
                }
            }
            if utf8 && quality > 0.0 && best.is_none_or(|(known, _)| quality > known) {
                best = Some((quality, media));
            }
        }
        if asked { best.map(|(_, media)| media) } else { Some(Self::Json) }
    }

    /// Of an answer in one piece: what refuses an event stream is one, too.
    fn content_type(self) -> HeaderValue {
        match self {
            Self::Json | Self::Events => Self::JSON,
            Self::GraphQl => Self::GRAPHQL,
        }
    }
}

fn is_utf8(charset: &str) -> bool {
    matches!(charset.trim().trim_matches('"').to_ascii_lowercase().as_str(), "utf-8" | "utf8")
}

/// An answer before GraphQL has anything to say, or instead of it.
struct Refusal {
    status: StatusCode,
    error: Box<ServerError>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    fn new(status: StatusCode, error: ServerError) -> Self {
        Self { status, error: Box::new(error), header: None }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::BadUserInput.error(message))
    }

    fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    fn into_response(self, media: Media) -> Response {
        let mut response = reply(media, self.status, &Answer::from(*self.error));
        response.headers_mut().extend(self.header);
        response
    }
}

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        let refusal = |status| Self::new(status, error.to_error());
        match &error {
            AccessError::Unauthenticated => refusal(StatusCode::UNAUTHORIZED)
                .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"graphql\"")),
            AccessError::RateLimited { retry_after } => {
                refusal(StatusCode::TOO_MANY_REQUESTS).with(header::RETRY_AFTER, whole_seconds(*retry_after))
            }
            AccessError::Unavailable { retry_after } => refusal(StatusCode::SERVICE_UNAVAILABLE)
                .with(header::RETRY_AFTER, whole_seconds(*retry_after)),
        }
    }
}

/// Rounded up: who comes back a moment too early is refused again.
fn whole_seconds(duration: Duration) -> HeaderValue {
    HeaderValue::from(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}

fn reply(media: Media, status: StatusCode, body: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (
            status,
            [
                (header::CONTENT_TYPE, media.content_type()),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ],
            bytes,
        )
            .into_response(),
        Err(error) => {
            tracing::error!(error = %error, "An answer could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What was asked: one request, or several at once.
enum Asked {
    One(Params),
    Batch(Vec<Params>),
}

impl<E: Executor, A: Access> Door<E, A> {
    /// Answers one HTTP request.
    pub(super) async fn over_http(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        if parts.method == Method::GET && is_page_visit(&parts.headers, &parts.uri) {
            return Redirect::to("/graphiql").into_response();
        }
        let media = Media::negotiate(&parts.headers);
        let answering = self.answer(media, &parts.method, &parts.uri, &parts.headers, body);
        let answered = tokio::time::timeout(self.limits.request_timeout, Box::pin(answering)).await;
        answered
            .unwrap_or_else(|_| Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, self.timed_out())))
            .unwrap_or_else(|refusal| refusal.into_response(media.unwrap_or(Media::Json)))
    }

    pub(super) fn timed_out(&self) -> ServerError {
        let seconds = self.limits.request_timeout.as_secs_f32();
        Code::Timeout.error(format!(
            "Not done within {seconds} seconds. What a mutation has begun may still take effect."
        ))
    }

    async fn answer(
        &self,
        media: Option<Media>,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, Refusal> {
        let media = media.ok_or_else(|| {
            Refusal::new(
                StatusCode::NOT_ACCEPTABLE,
                Code::BadUserInput.error(
                    "Answers are application/graphql-response+json, application/json or text/event-stream.",
                ),
            )
        })?;
        let get = method == Method::GET || method == Method::HEAD;
        if !get {
            json_body(headers)?;
        }
        let authorization = headers.get(header::AUTHORIZATION);
        let authorization = authorization
            .map(|value| value.to_str().map_err(|_| AccessError::Unauthenticated))
            .transpose()?;
        let caller = self.access.authenticate(authorization).await?;
        let asked = if get { Asked::One(from_query(uri)?) } else { self.read_body(body).await? };
        match asked {
            Asked::One(params) => {
                if params.query.is_none() && params.extensions.is_none() {
                    return Err(Refusal::bad("The parameter `query` is missing."));
                }
                let checked = self.guard.check(params);
                if get && matches!(&checked, Ok(checked) if checked.kind == OperationType::Mutation) {
                    return Err(Refusal::new(
                        StatusCode::METHOD_NOT_ALLOWED,
                        Code::BadUserInput.error("A mutation is sent by POST."),
                    )
                    .with(header::ALLOW, HeaderValue::from_static("POST")));
                }
                if media == Media::Events {
                    return Ok(self.over_events(caller, checked, headers)?);
                }
                let answer = match checked {
                    Ok(checked) => self.run(&caller, checked).await,
                    Err(refused) => ServerError::from(refused).into(),
                };
                let status = match media {
                    Media::GraphQl if answer.is_request_error() => StatusCode::BAD_REQUEST,
                    _ => StatusCode::OK,
                };
                Ok(reply(media, status, &answer))
            }
            Asked::Batch(_) if media == Media::Events => {
                Err(Refusal::bad("An event stream answers one request, not a batch."))
            }
            Asked::Batch(batch) => {
                let answers = join_all(batch.into_iter().map(|params| async {
                    match self.guard.check(params) {
                        Ok(checked) => self.run(&caller, checked).await,
                        Err(refused) => ServerError::from(refused).into(),
                    }
                }))
                .await;
                Ok(reply(media, StatusCode::OK, &answers))
            }
        }
    }

    /// Executes a query or a mutation.
    pub(super) async fn run(&self, caller: &A::Caller, checked: Checked) -> Answer {
        if checked.kind == OperationType::Subscription {
            return Code::BadUserInput
                .error(
                    "Subscriptions run over a WebSocket on this path, with the sub-protocol graphql-transport-ws, or as \
                     server-sent events with `Accept: text/event-stream`.",
                )
                .into();
        }
        let request = match checked.prepared(|request| self.access.prepare(caller, request)) {
            Ok(request) => request,
            Err(refused) => return ServerError::from(refused).into(),
        };
        let name = request.operation_name.clone().unwrap_or_default();
        AssertUnwindSafe(self.executor.execute(request))
            .catch_unwind()
            .await
            .map_or_else(|_| panicked(&name).into(), Answer::from)
    }

    async fn read_body(&self, body: Body) -> Result<Asked, Refusal> {
        let bytes = axum::body::to_bytes(body, self.limits.body_bytes).await.map_err(|error| {
            // The only failure besides the limit is a connection that broke, and then nobody reads this.
            tracing::debug!(error = %error, "A body was not read to its end");
            Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                Code::QueryTooComplex
                    .error(format!("The body is longer than {} bytes.", self.limits.body_bytes)),
            )
        })?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Refusal::bad("The body is not UTF-8."))?;
        if !text.trim_start().starts_with('[') {
            return Ok(Asked::One(params(text)?));
        }
        let parts: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
        if parts.is_empty() {
            return Err(Refusal::bad("The batch is empty."));
        }
        if parts.len() > self.limits.batch {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                Code::QueryTooComplex.error(format!("A batch holds at most {} requests.", self.limits.batch)),
            ));
        }
        parts.into_iter().map(|part| params(part.get())).collect::<Result<_, _>>().map(Asked::Batch)
    }
}

/// A browser that was sent here by hand.
fn is_page_visit(headers: &HeaderMap, uri: &Uri) -> bool {
    let html = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| {
        accept.split(',').next().is_some_and(|first| first.trim().starts_with("text/html"))
    });
    html && uri.query().is_none_or(str::is_empty)
}

/// Anything but JSON is refused, so that no form on a foreign page can post here.
fn json_body(headers: &HeaderMap) -> Result<(), Refusal> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = value.split(';');
    let json = parts.next().is_some_and(|name| name.trim().eq_ignore_ascii_case("application/json"));
    let utf8 = parts
        .filter_map(|part| part.split_once('='))
        .all(|(key, value)| !key.trim().eq_ignore_ascii_case("charset") || is_utf8(value));
    if json && utf8 {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::BadUserInput.error("A request's body is application/json in UTF-8."),
    ))
}

fn not_json(error: &serde_json::Error) -> Refusal {
    Refusal::bad(format!("Not a GraphQL request in JSON: {error}."))
}

fn params(text: &str) -> Result<Params, Refusal> {
    // A struct would read an array too, field by field.
    if !text.trim_start().starts_with('{') {
        return Err(Refusal::bad("A GraphQL request is a JSON object."));
    }
    serde_json::from_str(text).map_err(|error| not_json(&error))
}

fn from_query(uri: &Uri) -> Result<Params, Refusal> {
    let mut params = Params::default();
    for (key, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let wrong =
            |error: serde_json::Error| Refusal::bad(format!("`{key}` is not a JSON object: {error}."));
        match &*key {
            "query" => params.query = Some(value.into_owned()),
            "operationName" => params.operation_name = Some(value.into_owned()),
            "variables" if !value.is_empty() => {
                params.variables = serde_json::from_str(&value).map_err(wrong)?;
            }
            "extensions" if !value.is_empty() => {
                params.extensions = serde_json::from_str(&value).map_err(wrong)?;
            }
            _ => {}
        }
    }
    Ok(params)
}

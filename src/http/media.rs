//! Files: `POST /media` takes a partner's, `GET /media/{token}` gives one to whoever has its address.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart, MultipartRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::SecondsFormat;
use entity::{ClientId, MediaId, blob, media};
use http_range_header::parse_range_header;
use serde::Deserialize;
use serde_json::json;

use crate::app::App;
use crate::auth::{Scope, Unauthenticated};
use crate::clock::{Clock, to_datetime};
use crate::ids::PublicId;
use crate::media::links::{self, Said};
use crate::media::upload::{NewFile, NotTaken, Uploaded, receive};
use crate::media::{kinds, queries};
use crate::messages::content::MediaKind;

/// What a form has beside its file.
const FORM: usize = 64 << 10;
/// The largest field of a form that is no file.
const WORD: usize = 256;
/// How long the rest of a form is listened to that was answered already.
const REST: Duration = Duration::from_secs(10);

pub(super) fn router(app: Arc<App>) -> Router {
    let largest = usize::try_from(kinds::LARGEST).unwrap_or(usize::MAX).saturating_add(FORM);
    Router::new()
        .route("/media", post(upload).layer(DefaultBodyLimit::max(largest)))
        .route(&format!("{}{{token}}", links::PATH), get(serve))
        .with_state(app)
}

/// An answer that says what is wrong.
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID", message)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        let mut response = (self.status, Json(body)).into_response();
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<NotTaken> for Refused {
    fn from(error: NotTaken) -> Self {
        let (status, code) = match &error {
            NotTaken::Forbidden => (StatusCode::FORBIDDEN, "FORBIDDEN"),
            NotTaken::NoClient => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            NotTaken::Empty | NotTaken::BrokenOff => (StatusCode::BAD_REQUEST, "INVALID"),
            NotTaken::TypeMismatch { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "MEDIA_TYPE_MISMATCH"),
            NotTaken::TypeNotSupported { .. } => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "MEDIA_TYPE_NOT_SUPPORTED")
            }
            NotTaken::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "MEDIA_TOO_LARGE"),
            NotTaken::Busy | NotTaken::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED"),
            NotTaken::TooSlow => (StatusCode::REQUEST_TIMEOUT, "TIMEOUT"),
            NotTaken::Store(_) | NotTaken::Database(_) => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        };
        if code == "UNAVAILABLE" {
            let cause = anyhow::Error::new(error);
            tracing::error!("an upload cannot be kept: {cause:#}");
            return Self::new(status, code, cause.to_string());
        }
        Self::new(status, code, error.to_string())
    }
}

/// What can stand in the address, or in the form before the file.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    client_id: Option<String>,
    kind: Option<String>,
}

async fn upload(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, Refused> {
    let scope = caller(&app, &headers).await?;
    let mut form = form.map_err(|_| Refused::invalid("The body has to be multipart/form-data."))?;
    let patience = Duration::from_secs(app.config.media.timeout_seconds);
    let done = tokio::time::timeout(patience, read(&app, &scope, asked, &mut form)).await;
    // Whoever still sends would never see the answer; but they do not send for ever.
    let _ = tokio::time::timeout(REST, pass_over(&mut form)).await;
    let done = done.unwrap_or_else(|_| Err(NotTaken::TooSlow.into()));
    let Uploaded { id, kind, mime_type, size, sha256, expires_at } = done?;
    let expires = expires_at.map(|at| to_datetime(at).to_rfc3339_opts(SecondsFormat::AutoSi, true));
    let body = json!({
        "id": id.public(), "kind": kind.word().to_uppercase(), "mimeType": mime_type, "sizeBytes": size, "sha256": sha256,
        "expiresAt": expires,
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn caller(app: &App, headers: &HeaderMap) -> Result<Scope, Refused> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    app.keys.authenticate(&app.db, &app.key, authorization).await.map_err(|error| match error {
        Unauthenticated::Missing | Unauthenticated::Refused => {
            Refused::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", error.to_string())
        }
        Unauthenticated::Unavailable(_) => {
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", error.to_string())
        }
    })
}

/// Reads the form up to its file, and takes that.
async fn read(app: &App, scope: &Scope, mut asked: Asked, form: &mut Multipart) -> Result<Uploaded, Refused> {
    let broken = |_| Refused::from(NotTaken::BrokenOff);
    while let Some(mut field) = form.next_field().await.map_err(broken)? {
        match field.name() {
            Some("clientId") => asked.client_id = Some(word(&mut field).await?),
            Some("kind") => asked.kind = Some(word(&mut field).await?),
            Some("file") => {
                let new = NewFile {
                    client: client(asked.client_id.as_deref())?,
                    kind: kind(asked.kind.as_deref())?,
                    declared: field.content_type().map(str::to_owned),
                    filename: field.file_name().map(str::to_owned),
                };
                return Ok(receive(app, scope, new, &mut field).await?);
            }
            _ => {
                return Err(Refused::invalid(
                    "The form has the fields clientId, kind and file, and no others.",
                ));
            }
        }
    }
    Err(Refused::invalid("The form has no field `file`."))
}

async fn pass_over(form: &mut Multipart) {
    while let Ok(Some(mut field)) = form.next_field().await {
        while let Ok(Some(_)) = field.chunk().await {}
    }
}

async fn word(field: &mut Field<'_>) -> Result<String, Refused> {
    let mut word = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|_| NotTaken::BrokenOff)? {
        word.extend_from_slice(&chunk);
        if word.len() > WORD {
            return Err(Refused::invalid("clientId and kind are short words."));
        }
    }
    String::from_utf8(word).map_err(|_| Refused::invalid("clientId and kind are short words."))
}

fn client(id: Option<&str>) -> Result<ClientId, Refused> {
    let missing = || {
        Refused::invalid("Name the client: ?clientId=… in the address, or a field clientId before the file.")
    };
    ClientId::parse(id.ok_or_else(missing)?).ok_or_else(|| NotTaken::NoClient.into())
}

fn kind(word: Option<&str>) -> Result<Option<MediaKind>, Refused> {
    let Some(word) = word else { return Ok(None) };
    let unknown = || Refused::invalid("kind is IMAGE, VIDEO, AUDIO, DOCUMENT or STICKER.");
    MediaKind::parse(word).map(Some).ok_or_else(unknown)
}

/// What keeps a file from doing anything in a browser but being shown: no scripts, no origin of ours, no guessing of types.
const HARMLESS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    (header::ACCEPT_RANGES, "bytes"),
];

async fn serve(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let id = match links::read(&app.key, &token, Clock::real_now()) {
        Said::File(id) => id,
        Said::Expired => {
            let text = "This address has ended. Read the message again: its url is a new one.";
            return Err(Refused::new(StatusCode::GONE, "MEDIA_URL_EXPIRED", text));
        }
        Said::Nothing => {
            return Err(Refused::new(StatusCode::NOT_FOUND, "NOT_FOUND", "There is no such file."));
        }
    };
    match give(&app, id, &headers).await {
        Ok(Some(response)) => Ok(response),
        Ok(None) => Err(Refused::new(StatusCode::GONE, "MEDIA_EXPIRED", "The file is no longer kept.")),
        Err(error) => {
            tracing::error!("a file cannot be served: {error:#}");
            let text = "The file cannot be read right now; try again.";
            Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", text))
        }
    }
}

/// The file, or the part of it that was asked for; none if it is gone.
async fn give(app: &App, id: MediaId, headers: &HeaderMap) -> anyhow::Result<Option<Response>> {
    let Some((file, bytes)) = queries::served(app, id).await? else { return Ok(None) };
    let size = u64::try_from(bytes.size_bytes).unwrap_or(0);
    let tag = format!("\"{}\"", bytes.sha256.as_deref().unwrap_or_default());
    let asked = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let mut response = if asked(header::IF_NONE_MATCH).is_some_and(|tags| tags.contains(&tag) || tags == "*")
    {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        // A part of another version is of no use.
        let range = asked(header::RANGE).filter(|_| asked(header::IF_RANGE).is_none_or(|known| known == tag));
        part(app, &bytes, range, size).await?
    };
    let told = response.headers_mut();
    for (name, value) in HARMLESS {
        told.insert(name, HeaderValue::from_static(value));
    }
    told.insert(header::ETAG, HeaderValue::try_from(tag)?);
    told.insert(
        header::CACHE_CONTROL,
        HeaderValue::try_from(format!("private, max-age={}", app.config.media.url_seconds))?,
    );
    let mime = file.mime_type.as_deref().unwrap_or("application/octet-stream");
    let mime = if mime == "text/plain" { "text/plain; charset=utf-8" } else { mime };
    told.insert(header::CONTENT_TYPE, HeaderValue::try_from(mime)?);
    told.insert(header::CONTENT_DISPOSITION, HeaderValue::try_from(disposition(&file))?);
    Ok(Some(response))
}

async fn part(app: &App, bytes: &blob::Model, range: Option<&str>, size: u64) -> anyhow::Result<Response> {
    let (status, range) = match wanted(range, size) {
        Wanted::All => (StatusCode::OK, 0..size),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Nothing => {
            let all = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, all).into_response());
        }
    };
    let stream = app.media.store.read(bytes.id, range.clone()).await?;
    let mut response = (status, Body::from_stream(stream)).into_response();
    let told = response.headers_mut();
    told.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    if status == StatusCode::PARTIAL_CONTENT {
        let value = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        told.insert(header::CONTENT_RANGE, HeaderValue::try_from(value)?);
    }
    Ok(response)
}

/// What of a file is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    Nothing,
}

/// Reads a Range header. Several parts at once are answered with the whole, as every server may; so is nonsense.
fn wanted(range: Option<&str>, size: u64) -> Wanted {
    let Some(range) = range.filter(|range| range.starts_with("bytes=")) else { return Wanted::All };
    let Ok(parsed) = parse_range_header(range) else { return Wanted::All };
    if parsed.ranges.len() != 1 {
        return Wanted::All;
    }
    // More of the end than there is: all of it.
    if let http_range_header::StartPosition::FromLast(last) = parsed.ranges[0].start {
        return if last == 0 || size == 0 {
            Wanted::Nothing
        } else {
            Wanted::Part(size.saturating_sub(last)..size)
        };
    }
    match parsed.validate(size) {
        Ok(parts) => match parts.first() {
            Some(part) if *part.start() < size => Wanted::Part(*part.start()..part.end().saturating_add(1)),
            _ => Wanted::Nothing,
        },
        Err(_) => Wanted::Nothing,
    }
}

/// Whether it is shown or saved, and under which name.
fn disposition(file: &media::Model) -> String {
    let shown = file.mime_type.as_deref().is_some_and(kinds::shows);
    let way = if shown { "inline" } else { "attachment" };
    let Some(name) = &file.filename else { return way.to_owned() };
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{way}; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_browsers_write_it() {
        for (range, found) in [
            (None, Wanted::All),
            (Some("bytes=0-"), Wanted::Part(0..10)),
            (Some("bytes=2-4"), Wanted::Part(2..5)),
            (Some("bytes=9-99"), Wanted::Part(9..10)),
            (Some("bytes=-3"), Wanted::Part(7..10)),
            (Some("bytes=-30"), Wanted::Part(0..10)),
            (Some("bytes=-0"), Wanted::All),
            (Some("bytes=10-"), Wanted::Nothing),
            (Some("bytes=5-2"), Wanted::Nothing),
            (Some("bytes=0-1,4-5"), Wanted::All),
            (Some("lines=0-1"), Wanted::All),
            (Some("bytes=x"), Wanted::All),
        ] {
            assert_eq!(wanted(range, 10), found, "{range:?}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
    }
}

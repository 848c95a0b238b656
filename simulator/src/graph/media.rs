//! Files: uploaded, looked up, downloaded, deleted.

use super::error::GraphError;
use super::form::parts;
use super::{Call, Reply};
use crate::chance::Chance;
use crate::engine::Engine;
use crate::store::Kind;
use crate::world::media::Media;
use crate::world::{World, real_ms};
use axum::http::Method;
use serde_json::json;

/// Where downloads begin.
pub(crate) const DOWNLOADS: &str = "media-downloads";
/// How long an address works, in milliseconds of real time.
const ADDRESS_LIVES_MS: i64 = 5 * 60_000;
const LARGEST_FILE: usize = 100 << 20;

impl World {
    /// The address from which a file can be downloaded for five minutes.
    pub(crate) fn media_url(&self, id: &str) -> String {
        format!("{}/{DOWNLOADS}/{id}?until={}", self.url, real_ms() + ADDRESS_LIVES_MS)
    }

    /// A file of the caller that has not grown too old.
    fn media_of(&self, call: &Call, id: &str) -> Result<&Media, GraphError> {
        let mine = call.business(self).ok_or_else(GraphError::token)?;
        self.media
            .get(id)
            .filter(|media| media.phone == mine && media.until > self.now_ms())
            .ok_or_else(|| GraphError::unknown(call.method.as_str(), id))
    }
}

/// The trouble that was asked for.
fn may_fail(engine: &Engine) -> Result<(), GraphError> {
    let fails = engine.read(|world| world.settings.trouble.media_fails);
    if Chance::fresh().hits(fails) {
        return Err(GraphError::coded(131_016, "Service unavailable").status(503));
    }
    Ok(())
}

/// `POST /{number}/media`
pub(crate) async fn upload(engine: &Engine, call: &Call, id: &str) -> Result<Reply, GraphError> {
    may_fail(engine)?;
    let number = engine.read(|world| Ok::<_, GraphError>(call.phone(world, id)?.card.number))?;
    let parts = parts(&call.content_type, &call.body)
        .ok_or_else(|| GraphError::parameter("the body must be multipart/form-data"))?;
    let text = |name: &str| {
        let part = parts.iter().find(|part| part.name == name)?;
        std::str::from_utf8(part.body).ok().map(str::to_owned)
    };
    if text("messaging_product").as_deref() != Some("whatsapp") {
        return Err(GraphError::parameter("messaging_product must be whatsapp"));
    }
    let file = parts
        .iter()
        .find(|part| part.name == "file")
        .ok_or_else(|| GraphError::parameter("the part file is missing"))?;
    let mime = text("type").or_else(|| file.mime.clone());
    let Some(mime) = mime.filter(|mime| mime.contains('/') && *mime != "application/octet-stream") else {
        return Err(
            GraphError::coded(131_053, "Media upload error").details("the file's type is missing or unknown")
        );
    };
    if file.body.len() > LARGEST_FILE {
        return Err(
            GraphError::coded(131_053, "Media upload error").details("the file is larger than 100 MB")
        );
    }
    let id = engine.change(|world, ledger| world.keep_media(ledger, number, mime, file.body)).await?;
    Ok(Reply::json(&json!({ "id": id })))
}

/// `GET` and `DELETE /{media}`
pub(crate) async fn answer(engine: &Engine, call: &Call, id: &str) -> Result<Reply, GraphError> {
    if call.method == Method::DELETE {
        return engine
            .change(|world, ledger| {
                world.media_of(call, id)?;
                world.media.remove(id);
                ledger.erase(Kind::Media, "", id);
                Ok(Reply::success())
            })
            .await?;
    }
    may_fail(engine)?;
    engine.read(|world| {
        let media = world.media_of(call, id)?;
        if let Some(number_id) = call.text("phone_number_id") {
            call.phone(world, number_id)?;
        }
        Ok(Reply::json(&json!({
            "messaging_product": "whatsapp", "id": id, "url": world.media_url(id),
            "mime_type": media.mime, "sha256": media.sha256, "file_size": media.size,
        })))
    })
}

/// The file itself.
pub(crate) fn download(world: &World, call: &Call, id: &str) -> Result<Reply, GraphError> {
    let media = world.media_of(call, id)?;
    let until = call.text("until").and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
    if until < real_ms() {
        return Err(GraphError::unknown("GET", id).status(404));
    }
    Ok(Reply { mime: media.mime.clone(), body: media.bytes(id).into(), ..Reply::success() })
}

//! Pictures, sounds and files: what the media endpoints serve.

use super::{Ledger, Refusal, World, digits_of};
use crate::chance::Chance;
use crate::number::Number;
use crate::store::Kind;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const DAY_MS: i64 = 86_400_000;

/// How long the id of a received file works.
pub(crate) const RECEIVED_FOR_MS: i64 = 7 * DAY_MS;
/// How long the id of an uploaded file works.
pub(crate) const UPLOADED_FOR_MS: i64 = 30 * DAY_MS;

/// A picture of one transparent pixel.
const PIXEL: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0x1f, 0x15, 0xc4, 0x89, 0x00,
    0x00, 0x00, 0x0d, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x64, 0xf8, 0xcf, 0x50, 0x0f, 0x00, 0x03,
    0x86, 0x01, 0x80, 0x5a, 0x34, 0x7d, 0x6b, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42,
    0x60, 0x82,
];

/// A file that WhatsApp holds for a number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Media {
    pub(crate) phone: Number,
    pub(crate) mime: String,
    pub(crate) sha256: String,
    pub(crate) size: usize,
    /// Milliseconds, simulated time.
    pub(crate) until: i64,
    /// What was uploaded, as base64; a file without is made up from its kind and id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uploaded: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// What the writer said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) written: Option<WrittenFile>,
}

/// A file as its writer describes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct WrittenFile {
    pub(crate) mime: Option<String>,
    pub(crate) name: Option<String>,
    /// What stands in it.
    pub(crate) text: Option<String>,
    /// How large it is at least.
    pub(crate) size: Option<usize>,
}

/// The format in which customers send this kind of file.
pub(crate) fn mime_of(kind: &str) -> Result<&'static str, Refusal> {
    Ok(match kind {
        "image" => "image/png",
        "video" => "video/mp4",
        "audio" => "audio/ogg; codecs=opus",
        "document" => "application/pdf",
        "sticker" => "image/webp",
        _ => {
            return Err(Refusal(format!(
                "{kind:?} is no kind of media; use image, video, audio, document or sticker"
            )));
        }
    })
}

/// What a made-up file of this kind holds.
fn made_up(kind: &str, id: &str) -> Vec<u8> {
    let mut bytes = match kind {
        "image" => PIXEL.to_vec(),
        "audio" => b"OggS".to_vec(),
        "document" => b"%PDF-1.4\n%".to_vec(),
        "sticker" => b"RIFF\0\0\0\0WEBP".to_vec(),
        _ => b"\0\0\0\x18ftypmp42".to_vec(),
    };
    bytes.extend_from_slice(id.as_bytes());
    bytes
}

impl Media {
    /// The bytes that a download gives.
    pub(crate) fn bytes(&self, id: &str) -> Vec<u8> {
        if let Some(text) = &self.uploaded {
            return STANDARD.decode(text).unwrap_or_default();
        }
        let written = self.written.clone().unwrap_or_default();
        let mut bytes = match written.text {
            Some(text) => text.into_bytes(),
            None => made_up(self.kind.as_deref().unwrap_or("image"), id),
        };
        if let Some(size) = written.size.filter(|size| *size > bytes.len()) {
            bytes.resize(size, b'.');
        }
        bytes
    }
}

impl World {
    /// Makes a file as a customer or the app would send it, and tells its id.
    pub(crate) fn make_media(
        &mut self,
        ledger: &mut Ledger,
        phone: Number,
        kind: &str,
        written: Option<WrittenFile>,
    ) -> Result<String, Refusal> {
        let usual = mime_of(kind)?.to_owned();
        let id = digits_of(Chance::fresh().next());
        let mut media = Media {
            phone,
            mime: written.as_ref().and_then(|file| file.mime.clone()).unwrap_or(usual),
            sha256: String::new(),
            size: 0,
            until: ledger.now_ms + RECEIVED_FOR_MS,
            uploaded: None,
            kind: Some(kind.to_owned()),
            written,
        };
        let bytes = media.bytes(&id);
        media.sha256 = hex::encode(Sha256::digest(&bytes));
        media.size = bytes.len();
        ledger.put(Kind::Media, "", &id, &media);
        self.media.insert(id.clone(), media);
        Ok(id)
    }

    /// Keeps what the service uploads, and tells its id.
    pub(crate) fn keep_media(
        &mut self,
        ledger: &mut Ledger,
        phone: Number,
        mime: String,
        bytes: &[u8],
    ) -> String {
        let id = digits_of(Chance::fresh().next());
        let media = Media {
            phone,
            mime,
            sha256: hex::encode(Sha256::digest(bytes)),
            size: bytes.len(),
            until: ledger.now_ms + UPLOADED_FOR_MS,
            uploaded: Some(STANDARD.encode(bytes)),
            kind: None,
            written: None,
        };
        ledger.put(Kind::Media, "", &id, &media);
        self.media.insert(id.clone(), media);
        id
    }
}

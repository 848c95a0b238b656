//! Cursors: a place in one partner's stream, opaque outside, ordered, valid on every transport.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::PartnerId;
use uuid::Uuid;

const LENGTH: usize = 1 + 8 + 16 + 8;
const VERSION: u8 = 1;

/// A place in a partner's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Of the log: a restored or copied database begins another one.
    pub epoch: i64,
    /// Whose stream.
    pub partner: PartnerId,
    /// Everything up to here was seen.
    pub position: i64,
}

impl Cursor {
    /// As callers see it.
    pub fn encode(self) -> String {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(self.partner.0.as_bytes());
        bytes.extend_from_slice(&self.position.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// From what a caller gave; none if it is broken.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; LENGTH] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (version, rest) = bytes.split_first()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (partner, rest) = rest.split_first_chunk::<16>()?;
        let position = i64::from_be_bytes(rest.try_into().ok()?);
        (*version == VERSION && position >= 0).then(|| Self {
            epoch: i64::from_be_bytes(*epoch),
            partner: PartnerId(Uuid::from_bytes(*partner)),
            position,
        })
    }
}

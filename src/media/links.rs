//! Addresses of files: each names one file until one instant, and proves that it was made here. Nothing in it can be guessed
//! or changed, and it needs no other credential: it can stand in a page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::{MediaId, Timestamp};
use uuid::Uuid;

use crate::app::App;
use crate::clock::Clock;
use crate::secrets::InstallationKey;

/// What addresses begin with.
pub const PATH: &str = "/media/";

/// An address, and until when it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Absolute.
    pub url: String,
    /// By real time, a whole minute.
    pub expires_at: Timestamp,
}

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// This file may be had.
    File(MediaId),
    /// It was made here, but its time is over.
    Expired,
    /// It was not made here.
    Nothing,
}

/// An address for a file that the caller may see. The same within a minute, so that browsers ask once.
pub fn of(app: &App, id: MediaId) -> Link {
    let until = Clock::real_now().plus_seconds(app.config.media.url_seconds).seconds();
    let until = until.saturating_add(59).div_euclid(60).saturating_mul(60);
    let url = format!("{}{PATH}{}", app.public_url, token(&app.key, id, until));
    Link { url, expires_at: Timestamp::from_seconds(until) }
}

/// The last part of an address: the file, the second, the proof.
pub fn token(key: &InstallationKey, id: MediaId, until: i64) -> String {
    let mut bytes = [id.0.as_bytes().as_slice(), &until.to_be_bytes()].concat();
    bytes.extend(key.sign_link(&bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads it back.
pub fn read(key: &InstallationKey, token: &str, now: Timestamp) -> Said {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else { return Said::Nothing };
    let Some((said, proof)) = bytes.split_at_checked(24) else { return Said::Nothing };
    if !key.is_link(said, proof) {
        return Said::Nothing;
    }
    let Some((id, until)) = said.split_first_chunk::<16>() else { return Said::Nothing };
    let until = until.try_into().map(i64::from_be_bytes).unwrap_or(0);
    if Timestamp::from_seconds(until) <= now {
        return Said::Expired;
    }
    Said::File(MediaId(Uuid::from_bytes(*id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_that_was_made_here_opens_and_only_in_its_time() {
        let key = InstallationKey::for_tests(7);
        let id = MediaId(Uuid::from_u128(42));
        let token = token(&key, id, 1_000);
        let at = Timestamp::from_seconds;
        assert_eq!(read(&key, &token, at(999)), Said::File(id));
        assert_eq!(read(&key, &token, at(1_000)), Said::Expired);
        assert_eq!(read(&InstallationKey::for_tests(8), &token, at(999)), Said::Nothing);
        for place in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[place] = if other[place] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            assert_eq!(read(&key, &other, at(999)), Said::Nothing, "{place}");
        }
        for none in ["", "A", &token[1..], &format!("{token}A"), "!"] {
            assert_eq!(read(&key, none, at(999)), Said::Nothing, "{none}");
        }
    }
}

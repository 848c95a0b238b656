//! WhatsApp's message ids.
//!
//! The text after `wamid.` is base64 of a few bytes, the address of the other side (its number or its user id) and a
//! token of upper-case hex digits. One message can be seen under two ids that differ in the address alone.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

const TOKEN_DIGITS: usize = 32;

/// The id of the message `token` as it is written with `address`.
pub(crate) fn wamid(address: &str, token: u128) -> String {
    let mut bytes = Vec::with_capacity(address.len() + TOKEN_DIGITS + 9);
    bytes.extend_from_slice(&[0x1c, 0x18, address.len() as u8]);
    bytes.extend_from_slice(address.as_bytes());
    bytes.extend_from_slice(&[0x15, 0x02, 0x00, 0x11, 0x18, TOKEN_DIGITS as u8]);
    bytes.extend_from_slice(format!("{token:032X}").as_bytes());
    bytes.push(0);
    format!("wamid.{}", STANDARD.encode(bytes))
}

/// The token inside an id, whichever address it was written with.
pub(crate) fn token_of(id: &str) -> Option<u128> {
    let text = id.strip_prefix("wamid.")?.trim_end_matches('=');
    let bytes = STANDARD_NO_PAD.decode(text).ok()?;
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    let token = bytes.get(bytes.len().checked_sub(TOKEN_DIGITS)?..)?;
    if token.iter().any(u8::is_ascii_lowercase) {
        return None;
    }
    u128::from_str_radix(std::str::from_utf8(token).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{token_of, wamid};

    #[test]
    fn two_ids_of_a_message_share_their_token() {
        let (by_number, by_user_id) = (wamid("491700000002", 7), wamid("DE.10000000000000000042", 7));
        assert_ne!(by_number, by_user_id);
        assert_eq!(token_of(&by_number), Some(7));
        assert_eq!(token_of(&by_user_id), Some(7));
        assert_eq!(token_of("wamid.unknown"), None);
    }
}

//! What can be read out of a WhatsApp id.
//!
//! The text after `wamid.` is base64 of an address part and a message token. The same message is seen under ids
//! with different address parts (the number in one webhook, the user id in another); the token stays the same.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Shorter ones are not unique enough: they may be a counter, or digits of a number.
const SHORTEST_TOKEN: usize = 16;

/// Padding is optional, and a cut last character does no harm.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The token at the end of a WhatsApp id: its longest trailing run of upper-case hex, if that has at least 16
/// characters. Zero bytes after it, which WhatsApp writes, do not count.
///
/// It recognises a message only inside one conversation, and only if exactly one message there has it.
pub fn message_token(whatsapp_id: &str) -> Option<String> {
    let encoded = whatsapp_id.trim().strip_prefix("wamid.")?.trim_end_matches('=');
    let standard = encoded.replace('-', "+").replace('_', "/");
    let decoded = BASE64.decode(standard).ok()?;
    let end = decoded.iter().rposition(|byte| *byte != 0)? + 1;
    let written = &decoded[..end];
    let start = written.iter().rposition(|byte| !is_token(*byte)).map_or(0, |before| before + 1);
    let token = std::str::from_utf8(&written[start..]).ok()?;
    (token.len() >= SHORTEST_TOKEN).then(|| token.to_owned())
}

/// What all WhatsApp ids of one message have in common: their token; an id without one shares nothing with any other, and
/// stands for itself.
pub fn common_part(whatsapp_id: &str) -> String {
    message_token(whatsapp_id).unwrap_or_else(|| whatsapp_id.to_owned())
}

fn is_token(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'F')
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "3EB0C431FA7729D05B21";

    /// An id as WhatsApp builds it: an address, some bytes of its own, the token behind its length, a zero.
    fn bytes(address: &str, token: &str) -> Vec<u8> {
        let mut bytes = vec![0x1c, 0x18, u8::try_from(address.len()).unwrap_or(0)];
        bytes.extend(address.bytes());
        bytes.extend([0x15, 0x02, 0x00, 0x12, 0x18, u8::try_from(token.len()).unwrap_or(0)]);
        bytes.extend(token.bytes());
        bytes.push(0);
        bytes
    }

    #[test]
    fn webhook_ids_of_one_message_share_the_token() {
        let by_number = format!("wamid.{}", BASE64_STANDARD.encode(bytes("4917099900011", TOKEN)));
        let by_user_id = format!("wamid.{}", BASE64_STANDARD.encode(bytes("DE.77000000000000000312", TOKEN)));
        assert_ne!(by_number, by_user_id);
        assert_eq!(message_token(&by_number).as_deref(), Some(TOKEN));
        assert_eq!(message_token(&by_user_id).as_deref(), Some(TOKEN));
    }

    #[test]
    fn webhook_ids_are_read_in_either_alphabet_and_without_padding() {
        let mut bytes = vec![0xfb, 0xff, 0xbe];
        bytes.extend(TOKEN.bytes());
        let url_safe = format!("wamid.{}", BASE64_URL_SAFE_NO_PAD.encode(&bytes));
        assert!(url_safe.contains('-') || url_safe.contains('_'));
        assert_eq!(message_token(&url_safe).as_deref(), Some(TOKEN));
        let standard = format!("wamid.{}", BASE64_STANDARD.encode(&bytes));
        assert_eq!(message_token(standard.trim_end_matches('=')).as_deref(), Some(TOKEN));
        assert_eq!(message_token(&standard).as_deref(), Some(TOKEN));
    }

    #[test]
    fn webhook_ids_without_a_token_have_none() {
        let short = format!("wamid.{}", BASE64_STANDARD.encode(bytes("4917099900011", "1182086267")));
        let only_an_address = {
            let mut bytes = b"\x1c\x18\x17DE.77000000000000000312".to_vec();
            bytes.extend([0x15, 0x02]);
            format!("wamid.{}", BASE64_STANDARD.encode(bytes))
        };
        let lower = format!("wamid.{}", BASE64_STANDARD.encode(bytes("4917", "3eb0c431fa7729d05b21")));
        for id in [&short, &only_an_address, &lower, "", "wamid.", "wamid.A", "wamid.…", "wacid.ABC", TOKEN]
        {
            assert_eq!(message_token(id), None, "{id}");
        }
    }

    proptest! {
        #[test]
        fn webhook_ids_of_any_text_never_panic(id in ".*", tail in "[A-Za-z0-9+/_=-]{0,80}") {
            let _ = message_token(&id);
            let _ = message_token(&format!("wamid.{tail}"));
        }
    }
}

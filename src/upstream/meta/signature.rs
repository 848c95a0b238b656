//! The signature of a webhook: `X-Hub-Signature-256: sha256=<hex>`, an HMAC over the raw bytes of the body with the
//! app secret.

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// Before the hex digits.
const PREFIX: &str = "sha256=";

/// Why a body is not accepted as WhatsApp's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No header.
    #[error("the body is not signed")]
    Missing,
    /// A header, but not `sha256=` and 64 hex digits.
    #[error("the signature is not of the form sha256=<64 hex digits>")]
    Malformed,
    /// None of the secrets made this signature for this body.
    #[error("the signature does not fit the body")]
    Mismatch,
}

/// Whether one of `secrets` signed `body` (several, so that the app secret can be rotated). Compares in constant
/// time. An empty secret signs nothing: anybody could.
pub fn verify(secrets: &[SecretString], header: Option<&str>, body: &[u8]) -> Result<(), SignatureError> {
    let digits = header.ok_or(SignatureError::Missing)?.trim();
    let digits = digits.strip_prefix(PREFIX).ok_or(SignatureError::Malformed)?;
    let mut told = [0_u8; 32];
    hex::decode_to_slice(digits, &mut told).map_err(|_| SignatureError::Malformed)?;
    let signed = secrets
        .iter()
        .filter(|secret| !secret.expose_secret().is_empty())
        .any(|secret| mac(secret, body).verify_slice(&told).is_ok());
    if signed { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// The header for `body`, as WhatsApp would send it.
pub fn sign(secret: &SecretString, body: &[u8]) -> String {
    format!("{PREFIX}{}", hex::encode(mac(secret, body).finalize().into_bytes()))
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn mac(secret: &SecretString, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("a key");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"object":"whatsapp_business_account","entry":[]}"#;

    #[test]
    fn webhook_signature_is_the_published_hmac() {
        // Test case 2 of RFC 4231.
        let header = sign(&"Jefe".into(), b"what do ya want for nothing?");
        assert_eq!(header, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn webhook_signed_with_any_of_the_secrets_is_accepted() {
        let secrets: [SecretString; 2] = ["the new one".into(), "the old one".into()];
        for secret in &secrets {
            let header = sign(secret, BODY);
            assert_eq!(verify(&secrets, Some(&header), BODY), Ok(()));
            assert_eq!(verify(&secrets, Some(&header.to_uppercase().replace("SHA", "sha")), BODY), Ok(()));
        }
    }

    #[test]
    fn webhook_with_another_signature_is_refused() {
        let secrets: [SecretString; 1] = ["the right one".into()];
        let wrong = sign(&"the wrong one".into(), BODY);
        let right = sign(&secrets[0], BODY);
        assert_eq!(verify(&secrets, Some(&wrong), BODY), Err(SignatureError::Mismatch));
        assert_eq!(verify(&secrets, Some(&right), b"{}"), Err(SignatureError::Mismatch));
        assert_eq!(verify(&[], Some(&right), BODY), Err(SignatureError::Mismatch));
        assert_eq!(verify(&secrets, None, BODY), Err(SignatureError::Missing));
        let digits = &right["sha256=".len()..];
        for header in
            ["", "sha256=", "sha1=00", digits, &format!("sha256={digits}00"), &right[..60], "sha256=é"]
        {
            assert_eq!(verify(&secrets, Some(header), BODY), Err(SignatureError::Malformed), "{header}");
        }
    }

    #[test]
    fn webhook_signed_with_an_empty_secret_is_refused() {
        let empty: SecretString = "".into();
        let header = sign(&empty, BODY);
        assert_eq!(verify(&[empty], Some(&header), BODY), Err(SignatureError::Mismatch));
    }
}

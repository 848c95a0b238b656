//! Signatures by the Standard Webhooks specification (standardwebhooks.com): HMAC-SHA256 over id, timestamp and body, so
//! that every library of that name verifies them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Random bytes of a secret; the specification wants 24 to 64.
const LENGTH: usize = 32;

/// A new secret.
pub fn new_secret() -> SecretString {
    let mut bytes = [0u8; LENGTH];
    rand::rng().fill_bytes(&mut bytes);
    SecretString::from(format!("{PREFIX}{}", STANDARD.encode(bytes)))
}

/// The value of `webhook-signature`: one signature for each secret.
///
/// # Errors
/// When a secret is not one of ours.
pub fn sign(secrets: &[SecretString], id: &str, timestamp: i64, body: &[u8]) -> anyhow::Result<String> {
    let mut value = String::new();
    for secret in secrets {
        let text = secret.expose_secret().strip_prefix(PREFIX).unwrap_or_default();
        let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(text)?)?;
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        if !value.is_empty() {
            value.push(' ');
        }
        value.push_str("v1,");
        value.push_str(&STANDARD.encode(mac.finalize().into_bytes()));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn a_signature_is_what_the_specification_says() {
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let value =
            sign(std::slice::from_ref(&secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body).unwrap();
        assert_eq!(value, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = sign(&[secret, new_secret()], "x", 1, body).unwrap();
        assert_eq!(both.split(' ').count(), 2);
        assert!(both.split(' ').all(|one| one.starts_with("v1,")));
    }

    #[test]
    fn secrets_differ() {
        let (one, other) = (new_secret(), new_secret());
        assert!(one.expose_secret().starts_with("whsec_") && one.expose_secret().len() == 50);
        assert_ne!(one.expose_secret(), other.expose_secret());
    }
}

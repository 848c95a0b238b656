//! Secrets at rest (invariant 9): what must be read again is sealed, what need only be recognised is hashed.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::config::Config;

/// The file in `data_dir` that holds the key made for development.
const KEY_FILE: &str = "installation.key";
const NONCE: usize = 24;

/// The installation's key. Seals with XChaCha20-Poly1305, hashes with HMAC-SHA256.
pub struct InstallationKey {
    cipher: XChaCha20Poly1305,
    mac: Hmac<Sha256>,
    links: Hmac<Sha256>,
    id: u8,
}

impl InstallationKey {
    /// The configured key; in development one is made in `data_dir` the first time.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no key.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let configured = config.installation_key.expose_secret();
        let text = if configured.is_empty() {
            made_for_development(&config.data_dir)?
        } else {
            configured.to_owned()
        };
        let bytes = hex::decode(text.trim()).ok().filter(|bytes| bytes.len() == 32);
        let Some(bytes) = bytes else {
            bail!("{} does not hold 64 hexadecimal digits", config.data_dir.join(KEY_FILE).display());
        };
        Self::from_bytes(&bytes)
    }

    fn from_bytes(bytes: &[u8]) -> anyhow::Result<Self> {
        let derived = |purpose: &[u8]| -> anyhow::Result<_> {
            let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(bytes)?;
            mac.update(purpose);
            Ok(mac.finalize().into_bytes())
        };
        let seal: [u8; 32] = derived(b"tandem seal")?.into();
        let hash: [u8; 32] = derived(b"tandem hash")?.into();
        let links: [u8; 32] = derived(b"tandem links")?.into();
        Ok(Self {
            cipher: XChaCha20Poly1305::new(&Key::from(seal)),
            mac: <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&hash)?,
            links: <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&links)?,
            id: seal[0],
        })
    }

    /// One of many, for tests.
    #[cfg(test)]
    pub(crate) fn for_tests(seed: u8) -> Self {
        match Self::from_bytes(&[seed; 32]) {
            Ok(key) => key,
            Err(error) => unreachable!("32 bytes are a key: {error}"),
        }
    }

    /// Seals a secret for one place; `place` (such as the row's id) must be given again to open it, so that a sealed
    /// value copied to another row stays closed.
    ///
    /// # Errors
    /// When the cipher refuses, which it does not for short texts.
    pub fn seal(&self, place: &[u8], secret: &SecretString) -> anyhow::Result<Vec<u8>> {
        let mut nonce = [0u8; NONCE];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: place };
        let sealed =
            self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| anyhow::anyhow!("cannot seal"))?;
        Ok([&[self.id][..], &nonce, &sealed].concat())
    }

    /// Opens what `seal` made.
    ///
    /// # Errors
    /// When it was sealed under another key or for another place.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> anyhow::Result<SecretString> {
        let (id, rest) = sealed.split_first().context("nothing is sealed here")?;
        let (nonce, sealed) = rest.split_at_checked(NONCE).context("the sealed value is cut short")?;
        let nonce: [u8; NONCE] = nonce.try_into()?;
        let opened =
            self.cipher.decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad: place }).map_err(|_| {
                anyhow::anyhow!("sealed under another installation key (id {id}) or for another place")
            })?;
        Ok(SecretString::from(String::from_utf8(opened)?))
    }

    /// A hash by which a secret is recognised.
    pub fn hash(&self, secret: &str) -> Vec<u8> {
        let mut mac = self.mac.clone();
        mac.update(secret.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    /// What proves that an address was made here.
    pub fn sign_link(&self, link: &[u8]) -> [u8; 32] {
        let mut mac = self.links.clone();
        mac.update(link);
        mac.finalize().into_bytes().into()
    }

    /// Whether it does; takes the same time whatever is wrong.
    pub fn is_link(&self, link: &[u8], signature: &[u8]) -> bool {
        let mut mac = self.links.clone();
        mac.update(link);
        mac.verify_slice(signature).is_ok()
    }
}

/// `bytes` random bytes in hexadecimal.
pub fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0u8; bytes];
    rand::rng().fill_bytes(&mut buffer);
    hex::encode(buffer)
}

fn made_for_development(data_dir: &Path) -> anyhow::Result<String> {
    let path = data_dir.join(KEY_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => return Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
    let key = random_hex(32);
    match write_private(&path, &key) {
        Ok(()) => Ok(key),
        // Two commands at once: the first one's key holds.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(std::fs::read_to_string(&path)?),
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}

/// Writes a new file that only its owner can read; whole or not at all.
///
/// # Errors
/// `AlreadyExists` when it is there.
pub fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_only_in_its_place_and_under_its_key() {
        let key = InstallationKey::from_bytes(&[7; 32]).unwrap();
        let sealed = key.seal(b"row 1", &SecretString::from("token")).unwrap();
        assert_eq!(key.open(b"row 1", &sealed).unwrap().expose_secret(), "token");
        assert!(key.open(b"row 2", &sealed).is_err());
        assert!(InstallationKey::from_bytes(&[8; 32]).unwrap().open(b"row 1", &sealed).is_err());
        assert!(key.open(b"row 1", &sealed[..10]).is_err());
    }
}

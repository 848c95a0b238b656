//! What it takes to speak to WhatsApp for a client.

use entity::client;
use secrecy::SecretString;

use crate::failure::Failure;
use crate::ids::PublicId;
use crate::secrets::InstallationKey;

/// What it takes to speak to WhatsApp for a client.
#[derive(Debug)]
pub struct Access {
    /// WhatsApp's id of the number.
    pub number: String,
    /// WhatsApp's id of the account that the number lives in.
    pub account: String,
    /// The permission that the client gave.
    pub token: SecretString,
}

/// Why nobody can speak to WhatsApp for a client.
#[derive(Debug, thiserror::Error)]
pub enum NoAccess {
    /// It is not connected, or not any more.
    #[error("the client has no number, account or token")]
    Missing,
    /// Sealed under another key, or damaged.
    #[error("the client's token cannot be opened")]
    Unreadable(#[source] anyhow::Error),
}

impl Access {
    /// Opens a client's token.
    ///
    /// # Errors
    /// See [`NoAccess`]; that a token cannot be opened is logged here, once for each try.
    pub fn of(key: &InstallationKey, client: &client::Model) -> Result<Self, NoAccess> {
        let (Some(number), Some(account), Some(sealed)) =
            (&client.phone_number_id, &client.waba_id, &client.token_sealed)
        else {
            return Err(NoAccess::Missing);
        };
        let token = key.open(client.id.uuid().as_bytes(), sealed).map_err(|error| {
            tracing::error!(
                client.id = %client.id.public(),
                error = format!("{error:#}"),
                "a client's token cannot be opened: it was sealed under another `installation_key`, or it is damaged"
            );
            NoAccess::Unreadable(error)
        })?;
        Ok(Self { number: number.clone(), account: account.clone(), token })
    }
}

impl From<NoAccess> for Failure {
    fn from(error: NoAccess) -> Self {
        Self::Internal(error.into())
    }
}

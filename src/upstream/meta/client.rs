//! Calls to the Graph API.

use secrecy::SecretString;

/// What is needed to speak to Meta.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base address with version: `https://graph.facebook.com/v25.0`.
    pub base: String,
    /// The app.
    pub app_id: String,
    /// Its secrets, the current one first.
    pub app_secrets: Vec<SecretString>,
    /// Presented by Meta when it verifies the webhook address.
    pub verify_token: SecretString,
    /// Of Embedded Signup.
    pub config_id: String,
    /// The simulator's own door, when the upstream is the simulator.
    pub simulator: Option<String>,
}

/// Meta, as an upstream.
pub struct Meta {
    /// What it was made with.
    pub settings: Settings,
}

//! Meta's Cloud API: the wire of WhatsApp itself. The simulator speaks it too.

pub mod check;
pub mod client;
pub mod signature;
pub mod wamid;
pub mod webhook;

pub use client::{Meta, Settings};
pub use wamid::{common_part, message_token};

/// The webhook fields without which coexistence does not work: live traffic, the phone's own traffic, both imports, and
/// the end of the connection.
pub const NEEDED_FIELDS: [&str; 5] =
    ["messages", "smb_message_echoes", "smb_app_state_sync", "history", "account_update"];

/// The same of a number that lives on the API alone.
pub const NEEDED_FIELDS_WITHOUT_APP: [&str; 2] = ["messages", "account_update"];

/// All that this service makes something of: what it needs, and what makes it see sooner (a new name, R17; what
/// became of a template) or at all (who wants no marketing).
pub const KNOWN_FIELDS: [&str; 11] = [
    "messages",
    "smb_message_echoes",
    "smb_app_state_sync",
    "history",
    "account_update",
    "phone_number_name_update",
    "message_template_status_update",
    "message_template_quality_update",
    "message_template_components_update",
    "template_category_update",
    "user_preferences",
];

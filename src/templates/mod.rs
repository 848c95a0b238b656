//! Message templates of clients' accounts.
//!
//! A template belongs to an account at WhatsApp (WABA), and several clients, even of several partners, may share one. Here
//! each client has rows of its own: what a partner may see and is told follows from the client alone, as everywhere
//! (invariant 8), and no row ever belongs to two tenants. The price is a copy of a few hundred small rows for each further
//! number of an account. A client that is disconnected hears nothing more of its account; its rows stay as they were.
//!
//! Rows are kept in step by webhooks and by reading the whole list: once after each connection, then every
//! `templates.refresh_hours`, and whenever a webhook says that something changed without saying all of it. No rule asks what
//! came last: each value has a stamp, and the later one holds (`state`).

pub mod create;
mod draft;
pub mod fill;
pub mod queries;
pub mod refresh;
pub mod state;

use entity::{EventType, client, template};
use serde_json::json;

use crate::events::NewEvent;
use crate::ids::PublicId;

pub use draft::{Authentication, Button, Draft, Example, Header, HeaderFile, Words};
pub use refresh::Reads;

/// Its review went well: it can be sent.
pub const APPROVED: &str = "APPROVED";
/// Being reviewed.
pub const PENDING: &str = "PENDING";
/// On its way out; it cannot be sent any more.
pub const PENDING_DELETION: &str = "PENDING_DELETION";
/// Gone.
pub const DELETED: &str = "DELETED";
/// The category that people can stop.
pub const MARKETING: &str = "MARKETING";

/// The category of codes to sign in with, whose words are WhatsApp's own.
pub const AUTHENTICATION: &str = "AUTHENTICATION";

/// TEMPLATE_CHANGED.
fn changed(client: &client::Model, row: &template::Model, at: entity::Timestamp) -> NewEvent {
    NewEvent {
        partner: client.partner_id,
        kind: EventType::TemplateChanged,
        occurred_at: at,
        client: Some(client.id),
        subject: Some(row.id.uuid()),
        data: Some(json!({ "status": row.status })),
    }
}

/// The names of the places in a text, `{{…}}`, each once, in order.
pub(crate) fn places(text: &str) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        if !found.contains(&name.trim()) {
            found.push(name.trim());
        }
        rest = after;
    }
    found
}

/// Whether a place is numbered rather than named.
pub(crate) fn is_number(place: &str) -> bool {
    !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit())
}

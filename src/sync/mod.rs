//! Imports after connection: contacts, then history. Asked for once, watched until they end.

pub mod queries;

use entity::{ClientId, SyncKind, client};

use crate::app::App;
use crate::auth::Scope;
use crate::failure::{Failure, Outcome};

/// Asks WhatsApp for an import.
///
/// # Errors
/// NOT_FOUND, CLIENT_NOT_CONNECTED, SYNC_ALREADY_REQUESTED, SYNC_DEADLINE_PASSED, INVALID (history: NEVER).
pub async fn request(app: &App, scope: &Scope, client: ClientId, kind: SyncKind) -> Outcome<(client::Model, i64)> {
    let _ = (app, scope, client, kind);
    Err(Failure::Internal(anyhow::anyhow!("not there yet")))
}

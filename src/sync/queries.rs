//! Reads of imports.

use std::collections::HashMap;

use entity::{
    ClientId, ClientMode, ClientStatus, HistoryImport, SyncKind, SyncState, Timestamp, client, sync,
};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};

use crate::config::SyncConfig;
use crate::db::Db;

/// The imports of these clients, which came through the scope.
///
/// # Errors
/// When the database is away.
pub async fn of_clients(db: &Db, clients: &[ClientId]) -> Result<HashMap<ClientId, Vec<sync::Model>>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "imports of clients that came through the scope")]
    let rows =
        db.rows(sync::Entity::find().filter(sync::Column::ClientId.is_in(clients.iter().copied()))).await?;
    let mut by_client: HashMap<ClientId, Vec<sync::Model>> = HashMap::new();
    for row in rows {
        by_client.entry(row.client_id).or_default().push(row);
    }
    Ok(by_client)
}

/// An import as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub state: SyncState,
    /// 0 to 100.
    pub percent: i32,
    /// When WhatsApp accepted the request.
    pub requested_at: Option<Timestamp>,
    /// After this instant it accepts none.
    pub deadline_at: Option<Timestamp>,
    /// Messages or contacts so far.
    pub items: i64,
    /// When the first ones came.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// WhatsApp's words, when it refused, or did not take the request yet.
    pub refusal: Option<String>,
    /// What to do next, when a person is needed.
    pub remedy: Option<&'static str>,
}

/// What remains when WhatsApp takes no request for this connection any more.
const ANEW: &str = "WhatsApp takes no request for this connection any more. The client ends the connection in the app (Settings, \
    Account, Business Platform) and connects anew: createOnboarding with its clientId makes a link.";

/// One import of a client; `row` is what is recorded of it, if anything is.
pub fn progress(
    client: &client::Model,
    kind: SyncKind,
    row: Option<&sync::Model>,
    config: &SyncConfig,
    now: Timestamp,
) -> Progress {
    let connected = matches!(client.status, ClientStatus::Connected | ClientStatus::Paused);
    let nothing_to_ask = client.mode == ClientMode::ApiOnly
        || (kind == SyncKind::History && client.history_import == HistoryImport::Never);
    let state = match row {
        Some(row) => row.state,
        None if nothing_to_ask => SyncState::Unavailable,
        None => SyncState::NotRequested,
    };
    let deadline_at = match row {
        Some(row) => row.deadline_at,
        None if nothing_to_ask || !connected => None,
        None => client.connected_at.map(|at| at.plus_seconds(config.deadline_seconds)),
    };
    let too_late = deadline_at.is_some_and(|deadline| deadline < now);
    let refused = row.is_some_and(|row| row.refusal.is_some() && row.requested_at.is_none());
    let wished = row.is_some_and(|row| row.intent_at.is_some() && row.refusal.is_none());
    let remedy = match state {
        SyncState::Stalled if refused => Some(ANEW),
        SyncState::Stalled => Some(
            "Nothing came for a while. Ask the client to open the WhatsApp Business app on the phone and to leave it \
             in the foreground for a few minutes: the import then goes on by itself. If there is nothing to import, \
             nothing comes.",
        ),
        SyncState::Declined => Some(
            "The client chose not to share its chats. It can choose again only when it is connected anew: it ends the \
             connection in the app, and createOnboarding with its clientId makes a new link.",
        ),
        SyncState::NotRequested if connected && too_late => Some(ANEW),
        SyncState::NotRequested if connected && wished => {
            Some("WhatsApp did not take the request yet. It is asked again by itself until deadlineAt.")
        }
        SyncState::NotRequested
            if connected
                && kind == SyncKind::History
                && client.history_import == HistoryImport::OnRequest =>
        {
            Some("The import waits to be asked for: call requestHistorySync before deadlineAt.")
        }
        SyncState::NotRequested
        | SyncState::Requested
        | SyncState::Running
        | SyncState::Done
        | SyncState::Unavailable => None,
    };
    Progress {
        state,
        percent: row.map_or(0, |row| row.percent.clamp(0, 100)),
        requested_at: row.and_then(|row| row.requested_at),
        deadline_at,
        items: row.map_or(0, |row| row.items),
        started_at: row.and_then(|row| row.started_at),
        finished_at: row.and_then(|row| row.finished_at),
        refusal: row.and_then(|row| row.refusal.clone().or_else(|| row.last_failure.clone())),
        remedy,
    }
}

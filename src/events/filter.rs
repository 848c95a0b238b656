//! Which entries of a log a reader wants: the same for every way of reading it.

use std::collections::HashSet;

use entity::{ClientId, EventType, MessageStatus, event};
use sea_orm::DbErr;
use serde_json::Value;
use uuid::Uuid;

use crate::app::App;
use crate::auth::Scope;
use crate::lookup;

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only what happened to these clients; none: whatever the scope admits.
    pub clients: Option<HashSet<ClientId>>,
    /// Only of these kinds.
    pub types: Option<HashSet<EventType>>,
    /// Only about this message, contact or onboarding.
    pub subject: Option<Uuid>,
    /// Only those that carry one of these statuses.
    pub statuses: Option<HashSet<MessageStatus>>,
}

impl Filter {
    /// These clients, which came through the scope, under whatever ids they had then.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn clients(
        app: &App,
        scope: &Scope,
        clients: impl IntoIterator<Item = ClientId>,
    ) -> Result<HashSet<ClientId>, DbErr> {
        let bare: Vec<Uuid> = clients.into_iter().map(|client| client.0).collect();
        let all = lookup::with_former_ids(&app.db, scope.partner(), &bare).await?;
        Ok(all.into_iter().map(ClientId).collect())
    }

    /// Whether an entry is wanted.
    pub fn admits(&self, row: &event::Model) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&row.kind))
            && self
                .clients
                .as_ref()
                .is_none_or(|clients| row.client_id.is_some_and(|id| clients.contains(&id)))
            && self.subject.is_none_or(|subject| row.subject_id == Some(subject))
            && self
                .statuses
                .as_ref()
                .is_none_or(|statuses| status(row).is_some_and(|status| statuses.contains(&status)))
    }

    /// A client that goes on under another id is still the one that was asked for.
    pub fn follow(&mut self, row: &event::Model) {
        if row.kind != EventType::ClientMerged {
            return;
        }
        let merged = row.data.as_ref().and_then(|data| data.get("mergedId")).and_then(Value::as_str);
        let merged = merged.and_then(|id| Uuid::try_parse(id).ok()).map(ClientId);
        if let (Some(clients), Some(merged), Some(goes_on)) = (&mut self.clients, merged, row.client_id)
            && clients.contains(&merged)
        {
            clients.insert(goes_on);
        }
    }

    /// Whether it leaves anything out.
    pub fn is_narrow(&self) -> bool {
        self.clients.is_some() || self.types.is_some() || self.subject.is_some() || self.statuses.is_some()
    }
}

fn status(row: &event::Model) -> Option<MessageStatus> {
    let status = row.data.as_ref()?.get("status")?;
    serde::Deserialize::deserialize(status).ok()
}

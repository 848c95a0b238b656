//! Imports.

use async_graphql::SimpleObject;

use super::clamp;
use super::enums::SyncState;
use crate::graphql::scalars::DateTime;
use crate::sync::queries::Progress;

/// An import, as something to watch. Imports are quiet: they open no window, count nothing as unread, and raise
/// SYNC_PROGRESS events but none for single messages.
#[derive(Clone, Debug, SimpleObject)]
pub struct SyncProgress {
    /// Where it stands.
    state: SyncState,
    /// How much of it has come, 0 to 100, as WhatsApp says.
    percent: i32,
    /// When WhatsApp accepted the request. Null: it has not.
    requested_at: Option<DateTime>,
    /// After this instant (24 hours after connection) WhatsApp accepts no request. Null: there is nothing to ask for.
    deadline_at: Option<DateTime>,
    /// Messages, or contacts, that have come so far and were not known before: of a client that came back, what is new.
    items: i32,
    /// When the first ones came. Null: none came yet.
    started_at: Option<DateTime>,
    /// When it ended. Null: it has not.
    finished_at: Option<DateTime>,
    /// WhatsApp's own words, when it refused for good, or did not take the request yet. Null: it did not.
    refusal: Option<String>,
    /// What to do next, in words, when a person is needed. Null: nothing.
    remedy: Option<&'static str>,
}

impl From<Progress> for SyncProgress {
    fn from(progress: Progress) -> Self {
        let Progress {
            state,
            percent,
            requested_at,
            deadline_at,
            items,
            started_at,
            finished_at,
            refusal,
            remedy,
        } = progress;
        Self {
            state: state.into(),
            percent,
            requested_at: requested_at.map(DateTime),
            deadline_at: deadline_at.map(DateTime),
            items: clamp(items),
            started_at: started_at.map(DateTime),
            finished_at: finished_at.map(DateTime),
            refusal,
            remedy,
        }
    }
}

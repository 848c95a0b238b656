//! A reader of the feed as a stream: first what came after its cursor, then one sign that it caught up, then live. It
//! holds a place in the log and a few events read ahead, whatever its consumer does.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use entity::{ClientId, EventType, MessageStatus, event};
use futures_util::Stream;
use futures_util::stream::unfold;
use sea_orm::DbErr;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use super::Feed;
use crate::app::App;
use crate::auth::Scope;
use crate::events::queries::{self, CursorError};

/// Which events.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only what happened to these clients.
    pub clients: Option<HashSet<ClientId>>,
    /// Only of these kinds.
    pub types: Option<HashSet<EventType>>,
    /// Only about this message, contact or onboarding.
    pub subject: Option<Uuid>,
    /// Only those that carry one of these statuses.
    pub statuses: Option<HashSet<MessageStatus>>,
}

impl Filter {
    fn admits(&self, row: &event::Model) -> bool {
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
    fn follow(&mut self, row: &event::Model) {
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
}

fn status(row: &event::Model) -> Option<MessageStatus> {
    let status = row.data.as_ref()?.get("status")?;
    serde::Deserialize::deserialize(status).ok()
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum Item {
    /// Something happened.
    Event(Arc<event::Model>),
    /// All that had happened when the reader came was told; from here on it is live.
    CaughtUp(i64),
}

/// A place at the head of a partner's stream, taken before anything else is asked: what happens from here on will be
/// told, however long the rest of the preparations takes.
pub struct Joined {
    app: Arc<App>,
    scope: Scope,
    feed: Arc<Feed>,
    watch: watch::Receiver<i64>,
    head: i64,
}

impl Joined {
    /// Joins the feed of the scope's partner.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn new(app: &Arc<App>, scope: &Scope) -> Result<Self, DbErr> {
        let feed = app.hub.feed(scope.partner()).await?;
        let watch = feed.watch();
        let head = feed.head();
        Ok(Self { app: app.clone(), scope: scope.clone(), feed, watch, head })
    }

    /// Reads: with a cursor everything after it, without one what happened since joining. The stream ends when the
    /// process does, or with its first error.
    ///
    /// # Errors
    /// When the cursor is of no use, or the database is away.
    pub async fn read(
        self,
        after: Option<&str>,
        filter: Filter,
    ) -> Result<impl Stream<Item = Result<Item, CursorError>> + Send + use<>, CursorError> {
        let Self { app, scope, feed, watch, head } = self;
        let (position, catch_up_at) = match after {
            Some(cursor) => {
                let position = queries::resume(&app, &scope, Some(cursor)).await?;
                (position, Some(head.max(position)))
            }
            None => (head, None),
        };
        queries::note_reader(&app, &scope).await?;
        let ahead = VecDeque::new();
        let reader = Reader { app, scope, feed, watch, filter, position, catch_up_at, ahead, ended: false };
        Ok(unfold(reader, |mut reader| async move {
            let item = reader.next().await?;
            Some((item, reader))
        }))
    }
}

struct Reader {
    app: Arc<App>,
    scope: Scope,
    feed: Arc<Feed>,
    watch: watch::Receiver<i64>,
    filter: Filter,
    /// Everything up to here was told or passed over.
    position: i64,
    catch_up_at: Option<i64>,
    /// Read from the log, not yet told.
    ahead: VecDeque<Arc<event::Model>>,
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Item, CursorError>> {
        if self.ended {
            return None;
        }
        let stopping = self.app.tasks.stopping().clone();
        let item = tokio::select! {
            biased;
            () = stopping.cancelled() => return None,
            item = self.read() => item?,
        };
        self.ended = item.is_err();
        Some(item)
    }

    async fn read(&mut self) -> Option<Result<Item, CursorError>> {
        loop {
            if let Some(place) = self.catch_up_at.filter(|place| self.position >= *place) {
                self.catch_up_at = None;
                return Some(Ok(Item::CaughtUp(place)));
            }
            if let Some(row) = self.ahead.pop_front() {
                if row.position != self.position + 1 {
                    // The stream has no gaps: what is missing was too old to be kept.
                    return Some(Err(self.expired().await));
                }
                self.position = row.position;
                self.filter.follow(&row);
                if queries::admits(&self.scope, &row) && self.filter.admits(&row) {
                    return Some(Ok(Item::Event(row)));
                }
                continue;
            }
            // Marked as seen before reading: what comes in between wakes at once.
            self.watch.borrow_and_update();
            match self.feed.after(&self.app.db, self.position).await {
                Ok(rows) if rows.is_empty() => {
                    if self.feed.head() > self.position {
                        // The log was cut off between what is known of its head and what was read of it.
                        return Some(Err(self.expired().await));
                    }
                    self.watch.changed().await.ok()?;
                }
                Ok(rows) => self.ahead.extend(rows),
                Err(error) => return Some(Err(error.into())),
            }
        }
    }

    async fn expired(&self) -> CursorError {
        let cursor = self.app.cursor(self.scope.partner(), self.position);
        match queries::resume(&self.app, &self.scope, Some(&cursor)).await {
            Err(error) => error,
            Ok(position) => {
                let gap = format!("the log has a gap after position {position}");
                CursorError::Database(DbErr::RecordNotFound(gap))
            }
        }
    }
}

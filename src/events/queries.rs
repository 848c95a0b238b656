//! Reads of the log: where a reader may go on, and pages of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use entity::{ClientId, EventType, event};
use sea_orm::{ColumnTrait, DbErr, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::cursor::Cursor;
use crate::app::App;
use crate::auth::Scope;
use crate::db::Db;
use crate::ids::EventId;
use crate::lookup;
use crate::partners;

/// Entries looked at for one page: a rare filter finds nothing for long, and a page must end.
const SCAN: i64 = 10_000;

/// Why a cursor is of no use.
#[derive(Debug)]
pub enum CursorError {
    /// It is not one, or it is another partner's.
    Broken,
    /// Its place is not in the stream (any more): it is older than what is kept, or of another database.
    Expired {
        /// The oldest place from which one can read on.
        oldest: String,
    },
    /// It could not be checked.
    Database(DbErr),
}

impl From<DbErr> for CursorError {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

/// The place after which a reader with this cursor goes on: the one check for all readers of the log. Without a cursor
/// that is the oldest entry kept.
///
/// # Errors
/// See [`CursorError`].
pub async fn resume(app: &App, scope: &Scope, cursor: Option<&str>) -> Result<i64, CursorError> {
    let oldest = oldest(app, scope).await?;
    let Some(text) = cursor else { return Ok(oldest) };
    let cursor =
        Cursor::decode(text).filter(|cursor| cursor.partner == scope.partner()).ok_or(CursorError::Broken)?;
    let gone = cursor.epoch != app.epoch
        || cursor.position < oldest
        || cursor.position > app.hub.head(scope.partner()).await?;
    if gone {
        Err(CursorError::Expired { oldest: app.cursor(scope.partner(), oldest) })
    } else {
        Ok(cursor.position)
    }
}

/// Notes that the partner reads its stream (S8), the first time that it does.
///
/// # Errors
/// When the database is away.
pub async fn note_reader(app: &App, scope: &Scope) -> Result<(), DbErr> {
    if partners::listens(&app.db, scope.partner()).await? {
        return Ok(());
    }
    partners::stream_opened(&app.db, scope.partner(), app.now()).await
}

/// The place before the oldest entry kept.
async fn oldest(app: &App, scope: &Scope) -> Result<i64, DbErr> {
    // Before the entries: of an empty log this is its end, and what comes in between lies after it.
    let head = app.hub.head(scope.partner()).await?;
    let first: Option<i64> = scope
        .find_partner::<event::Entity>()
        .select_only()
        .column(event::Column::Position)
        .order_by_asc(event::Column::Position)
        .limit(1)
        .into_tuple()
        .one(app.db.read())
        .await?;
    Ok(first.map_or(head, |first| first - 1))
}

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only what happened to these clients; none: whatever the scope admits.
    pub clients: Option<HashSet<ClientId>>,
    /// Only of these kinds.
    pub types: Option<HashSet<EventType>>,
}

impl Filter {
    /// Only what happened to these clients, which came through the scope: under whatever ids they had then.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn clients(app: &App, scope: &Scope, clients: &[ClientId]) -> Result<HashSet<ClientId>, DbErr> {
        let bare: Vec<Uuid> = clients.iter().map(|client| client.0).collect();
        let all = lookup::with_former_ids(&app.db, scope.partner(), &bare).await?;
        Ok(all.into_iter().map(ClientId).collect())
    }
}

/// Whether the scope admits an entry. What concerns no client is for those who may see all.
pub fn admits(scope: &Scope, row: &event::Model) -> bool {
    match row.client_id {
        Some(client) => scope.admits(client),
        None => scope.clients().is_none(),
    }
}

/// Entries that the scope admits, by their ids.
///
/// # Errors
/// When the database is away.
pub async fn by_ids(
    db: &Db,
    scope: &Scope,
    ids: &[EventId],
) -> Result<HashMap<EventId, Arc<event::Model>>, DbErr> {
    let own = ids.iter().filter(|id| id.partner == scope.partner()).map(|id| id.position);
    let rows = scope
        .find_partner::<event::Entity>()
        .filter(event::Column::Position.is_in(own))
        .all(db.read())
        .await?;
    let admitted = rows.into_iter().filter(|row| admits(scope, row));
    let id = |row: &event::Model| EventId { partner: row.partner_id, position: row.position };
    Ok(admitted.map(|row| (id(&row), Arc::new(row))).collect())
}

/// A page of the log.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The entries, oldest first.
    pub rows: Vec<event::Model>,
    /// The place up to which the log was looked through; reading goes on after it.
    pub end: i64,
    /// Whether there may be more after it.
    pub has_next: bool,
}

/// Entries after a place, oldest first. Looks at so many at most: then `has_next` is true with fewer entries than were
/// asked for, or none.
///
/// # Errors
/// When the database is away.
pub async fn page(
    app: &App,
    scope: &Scope,
    after: i64,
    filter: &Filter,
    size: usize,
) -> Result<EventPage, DbErr> {
    use event::Column;
    // Before the rows: what is committed in between belongs to the next page.
    let head = app.hub.head(scope.partner()).await?;
    let last = head.min(after.saturating_add(SCAN));
    let mut select = scope
        .find_partner::<event::Entity>()
        .filter(Column::Position.gt(after))
        .filter(Column::Position.lte(last));
    if let Some(clients) = scope.clients() {
        select = select.filter(Column::ClientId.is_in(clients.iter().copied()));
    }
    if let Some(clients) = &filter.clients {
        select = select.filter(Column::ClientId.is_in(clients.iter().copied()));
    }
    if let Some(types) = &filter.types {
        select = select.filter(Column::Kind.is_in(types.iter().copied()));
    }
    let fetch = u64::try_from(size).unwrap_or(u64::MAX).saturating_add(1);
    let mut rows = select.order_by_asc(Column::Position).limit(fetch).all(app.db.read()).await?;
    if rows.len() > size {
        rows.truncate(size);
        let end = rows.last().map_or(after, |row| row.position);
        return Ok(EventPage { rows, end, has_next: true });
    }
    Ok(EventPage { rows, end: last.max(after), has_next: last < head })
}

//! Reads of the log: where a reader may go on, and pages of it.

use std::cmp::{max, min};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use entity::{ClientId, EventType, event};
use sea_orm::sea_query::{Expr, ExprTrait, Func, Query, SelectStatement, SimpleExpr, UnionType};
use sea_orm::{
    ColumnTrait, DbErr, EntityTrait, IntoSimpleExpr, QueryFilter, QueryOrder, QuerySelect, Select,
};

use super::cursor::Cursor;
use super::filter::Filter;
use crate::app::{App, Installation};
use crate::auth::Scope;
use crate::db::Db;
use crate::feed::Bounds;
use crate::ids::EventId;
use crate::partners;

/// Places looked at by one statement: few at first, more while nothing is found.
const FEWEST: i64 = 2_000;
/// The most of them: what a statement may sort.
const MOST: i64 = 65_536;
/// Statements for one page: a rare filter finds nothing for long, and a page must end.
const ROUNDS: usize = 32;
/// More clients than this are no longer looked for one by one.
const FEW_CLIENTS: usize = 200;
/// More types than this are no longer looked for one by one.
const FEW_TYPES: usize = 8;

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
pub async fn resume(
    installation: &Installation,
    scope: &Scope,
    cursor: Option<&str>,
) -> Result<i64, CursorError> {
    let partner = scope.partner();
    let cursor = cursor.map(|text| {
        Cursor::decode(text).filter(|cursor| cursor.partner == partner).ok_or(CursorError::Broken)
    });
    let cursor = cursor.transpose()?;
    let bounds = Bounds::of(&installation.db, partner).await?;
    let Some(cursor) = cursor else { return Ok(bounds.floor) };
    let epoch = installation.epoch.load(Ordering::Relaxed);
    if cursor.epoch != epoch || !(bounds.floor..=bounds.head).contains(&cursor.position) {
        return Err(CursorError::Expired { oldest: installation.cursor(partner, bounds.floor) });
    }
    Ok(cursor.position)
}

/// Whether all that follows a place is kept. To be asked after reading: what was there before may be gone by then, never
/// the other way round.
///
/// # Errors
/// Expired, or when the database is away.
pub async fn is_kept(app: &App, scope: &Scope, position: i64) -> Result<(), CursorError> {
    let floor = app.hub.bounds(scope.partner()).await?.floor;
    if position < floor {
        return Err(CursorError::Expired { oldest: app.cursor(scope.partner(), floor) });
    }
    Ok(())
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
    let rows =
        db.rows(scope.find_partner::<event::Entity>().filter(event::Column::Position.is_in(own))).await?;
    let admitted = rows.into_iter().filter(|row| admits(scope, row));
    let id = |row: &event::Model| EventId { partner: row.partner_id, position: row.position };
    Ok(admitted.map(|row| (id(&row), Arc::new(row))).collect())
}

/// Looks through the log for the entries that a scope and a filter admit, by the index that finds them with the least
/// reading.
#[derive(Clone, Debug)]
pub struct Search {
    /// Looked through up to here.
    pub position: i64,
    places: i64,
}

impl Search {
    /// From a place on.
    pub fn after(position: i64) -> Self {
        Self { position, places: FEWEST }
    }

    /// The next entries, oldest first, at most `most`, none of them after `last`; with one statement. Moves on to the last
    /// of them, or as far as it looked.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn next(
        &mut self,
        db: &Db,
        scope: &Scope,
        filter: &Filter,
        last: i64,
        most: usize,
    ) -> Result<Vec<event::Model>, DbErr> {
        let until = min(last, self.position.saturating_add(self.places));
        let limit = u64::try_from(most).unwrap_or(u64::MAX);
        let mut rows = db.rows(select(scope, filter, self.position, until).limit(limit)).await?;
        if rows.len() == most {
            self.position = rows.last().map_or(until, |row| row.position);
            self.places = max(self.places / 2, FEWEST);
        } else {
            self.position = max(until, self.position);
            self.places = min(self.places * 2, MOST);
        }
        rows.retain(|row| admits(scope, row) && filter.admits(row));
        Ok(rows)
    }
}

/// The entries between two places. Which index finds them is decided here, since without statistics SQLite always walks
/// the primary key: few clients by theirs, few types by theirs, anything else by the primary key.
fn select(scope: &Scope, filter: &Filter, after: i64, until: i64) -> Select<event::Entity> {
    use event::Column;
    let range = |column: SimpleExpr| column.clone().gt(after).and(column.lte(until));
    let clients: Option<BTreeSet<ClientId>> = match (scope.clients(), &filter.clients) {
        (None, None) => None,
        (Some(own), None) => Some(own.clone()),
        (None, Some(wanted)) => Some(wanted.iter().copied().collect()),
        (Some(own), Some(wanted)) => Some(own.iter().copied().filter(|id| wanted.contains(id)).collect()),
    };
    let types: Option<Vec<EventType>> = filter.types.as_ref().map(|types| types.iter().copied().collect());
    let in_range = range(Column::Position.into_simple_expr());
    let select = match (&clients, &types) {
        (Some(clients), _) if clients.len() <= FEW_CLIENTS => {
            let partner = Column::PartnerId.into_simple_expr();
            // By a way that no index knows, so that the one by client is taken.
            let partner = Expr::expr(Func::coalesce([partner.clone(), partner]));
            #[expect(clippy::disallowed_methods, reason = "the scope's own conditions follow")]
            event::Entity::find().filter(partner.eq(scope.partner())).filter(in_range)
        }
        (_, Some(types)) if types.len() <= FEW_TYPES => {
            let mut places = types.iter().map(|kind| {
                Query::select()
                    .column(Column::Position)
                    .from(event::Entity)
                    .and_where(Column::PartnerId.eq(scope.partner()))
                    .and_where(Column::Kind.eq(*kind))
                    .and_where(range(Column::Position.into_simple_expr()))
                    .take()
            });
            let places = match places.next() {
                Some(mut first) => first.unions(places.map(|rest| (UnionType::All, rest))).take(),
                None => SelectStatement::new().expr(Expr::val(0)).take(),
            };
            scope.find_partner::<event::Entity>().filter(Column::Position.in_subquery(places))
        }
        _ => scope.find_partner::<event::Entity>().filter(in_range),
    };
    let select = match clients {
        Some(clients) => select.filter(Column::ClientId.is_in(clients)),
        None => select,
    };
    let select = match types {
        Some(types) => select.filter(Column::Kind.is_in(types)),
        None => select,
    };
    let select = match filter.subject {
        Some(subject) => select.filter(Column::SubjectId.eq(subject)),
        None => select,
    };
    select.order_by_asc(Column::Position)
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

/// Entries after a place, oldest first. Of a very long log it looks through a part: then `has_next` is true with fewer
/// entries than were asked for, or none.
///
/// # Errors
/// See [`CursorError`].
pub async fn page(
    app: &App,
    scope: &Scope,
    after: i64,
    filter: &Filter,
    size: usize,
) -> Result<EventPage, CursorError> {
    // Before the rows: what is committed in between belongs to the next page.
    let head = app.hub.bounds(scope.partner()).await?.head;
    let mut search = Search::after(after);
    let mut rows = Vec::new();
    for _ in 0..ROUNDS {
        if rows.len() > size || search.position >= head {
            break;
        }
        rows.extend(search.next(&app.db, scope, filter, head, size + 1 - rows.len()).await?);
    }
    is_kept(app, scope, after).await?;
    if rows.len() > size {
        rows.truncate(size);
        let end = rows.last().map_or(after, |row| row.position);
        return Ok(EventPage { rows, end, has_next: true });
    }
    Ok(EventPage { rows, end: search.position, has_next: search.position < head })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use entity::PartnerId;
    use migration::{Migrator, MigratorTrait};
    use sea_orm::{ConnectionTrait, Database, DatabaseBackend, QueryTrait, Statement};
    use uuid::Uuid;

    use super::*;

    /// How SQLite finds what a filter admits, in its own words.
    async fn plan(scope: &Scope, filter: &Filter) -> String {
        let db = Database::connect("sqlite::memory:").await.unwrap();
        Migrator::up(&db, None).await.unwrap();
        let Statement { sql, values, .. } = select(scope, filter, 0, 10_000).build(DatabaseBackend::Sqlite);
        let sql = format!("EXPLAIN QUERY PLAN {sql}");
        let explain = Statement { sql, values, db_backend: DatabaseBackend::Sqlite };
        let rows = db.query_all_raw(explain).await.unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
        lines.join("; ")
    }

    #[tokio::test]
    async fn few_clients_and_few_types_are_found_by_their_indexes() {
        let partner = PartnerId(Uuid::nil());
        let all = Scope::for_tests(partner, None);
        let client = ClientId(Uuid::nil());
        let by_client = "INDEX event_client_id_position (client_id=? AND position>? AND position<?)";
        let by_type = "COVERING INDEX event_partner_id_kind_position (partner_id=? AND kind=? AND position>? AND position<?)";
        let clients = Filter { clients: Some(HashSet::from([client])), ..Filter::default() };
        assert!(plan(&all, &clients).await.contains(by_client));
        let types = HashSet::from([EventType::ClientPaused, EventType::ClientResumed]);
        let types = Filter { types: Some(types), ..Filter::default() };
        let told = plan(&all, &types).await;
        assert_eq!(told.matches(by_type).count(), 2, "{told}");
        assert!(told.contains("(partner_id=? AND position=?)"), "{told}");
        // A key that sees few clients is as cheap, whatever it asks for.
        let own = Scope::for_tests(partner, Some(BTreeSet::from([client])));
        for filter in [Filter::default(), types] {
            assert!(plan(&own, &filter).await.contains(by_client));
        }
        let told = plan(&all, &Filter::default()).await;
        assert!(told.contains("PRIMARY KEY (partner_id=? AND position>? AND position<?)"), "{told}");
    }
}

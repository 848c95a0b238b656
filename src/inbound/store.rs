//! The bodies on the disk: what waits, what became of it, and for how long it is kept.

use entity::{InboundId, InboundState, Timestamp, inbound, inbound_unknown};
use sea_orm::sea_query::{Expr, ExprTrait, Func, OnConflict, SimpleExpr};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};

use crate::db::{self, Db, SelectExt, Sql, WriteExt};
use crate::upstream::change::Unknown;

/// What became of a body.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Which body.
    pub id: InboundId,
    /// What became of it.
    pub state: InboundState,
    /// Why, when it was not applied.
    pub error: Option<String>,
    /// Something in it is not understood.
    pub partly_unknown: bool,
}

/// Bodies that wait. Written into the statement, not bound to it: else SQLite cannot tell that their index serves.
fn waits() -> SimpleExpr {
    inbound::Column::State.into_expr().eq(Expr::cust("'PENDING'"))
}

/// Bodies that were applied whole: few will ask for them again. Written like the condition of their index, as [`waits`] is.
fn is_whole() -> SimpleExpr {
    Expr::cust("state = 'APPLIED' AND NOT partly_unknown")
}

/// Bodies that are settled, but not applied whole. Written like the condition of their index, as [`waits`] is.
fn is_troubled() -> SimpleExpr {
    Expr::cust("settled_at IS NOT NULL AND (state <> 'APPLIED' OR partly_unknown)")
}

/// How many bodies wait.
///
/// # Errors
/// When the database is away.
pub async fn count_pending(db: &Db) -> Result<i64, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "raw bodies belong to no tenant yet")]
    let count = inbound::Entity::find().filter(waits()).count(db.read()).await?;
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Live bodies that wait, from one of them on, oldest first: which, and how many bytes each.
///
/// # Errors
/// When the database is away.
pub async fn waiting(db: &Db, from: InboundId, most: usize) -> Result<Vec<(InboundId, usize)>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "raw bodies belong to no tenant yet")]
    let rows: Vec<(InboundId, i32)> = inbound::Entity::find()
        .select_only()
        .column(inbound::Column::Id)
        .expr(Func::cust("octet_length").arg(inbound::Column::Body.into_expr()))
        .filter(waits())
        .filter(inbound::Column::History.eq(false))
        .filter(inbound::Column::Id.gte(from))
        .order_by_asc(inbound::Column::Id)
        .limit(most as u64)
        .into_tuple()
        .all(db.read())
        .await?;
    Ok(rows.into_iter().map(|(id, size)| (id, usize::try_from(size).unwrap_or(0))).collect())
}

/// Bodies by their ids, oldest first.
///
/// # Errors
/// When the database is away.
pub async fn bodies(db: &Db, ids: Vec<InboundId>) -> Result<Vec<inbound::Model>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "raw bodies belong to no tenant yet")]
    inbound::Entity::find()
        .filter(inbound::Column::Id.is_in(db::padded(ids)))
        .order_by_asc(inbound::Column::Id)
        .rows(&db.reads())
        .await
}

/// The oldest import that waits.
///
/// # Errors
/// When the database is away.
pub async fn import(db: &Db) -> Result<Option<inbound::Model>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "raw bodies belong to no tenant yet")]
    inbound::Entity::find()
        .filter(waits())
        .filter(inbound::Column::History.eq(true))
        .order_by_asc(inbound::Column::Id)
        .row(&db.reads())
        .await
}

/// Keeps bodies.
///
/// # Errors
/// When the database refuses or is away.
pub async fn insert<C: Sql>(tx: &C, bodies: &[inbound::Model]) -> Result<(), DbErr> {
    db::insert::<inbound::Entity, _>(tx, bodies.to_vec()).await
}

/// Records what became of bodies, with one statement for each kind of verdict.
///
/// # Errors
/// When the database is away: then they wait still, and are applied once more, which changes nothing.
pub async fn settle<C: Sql>(tx: &C, verdicts: Vec<Verdict>, now: Timestamp) -> Result<(), DbErr> {
    let mut groups: Vec<(Verdict, Vec<InboundId>)> = Vec::new();
    for verdict in verdicts {
        let same = groups.iter_mut().find(|(group, _)| {
            group.state == verdict.state
                && group.error == verdict.error
                && group.partly_unknown == verdict.partly_unknown
        });
        match same {
            Some((_, ids)) => ids.push(verdict.id),
            None => {
                let id = verdict.id;
                groups.push((verdict, vec![id]));
            }
        }
    }
    for (verdict, ids) in groups {
        for chunk in ids.chunks(1000) {
            #[expect(clippy::disallowed_methods, reason = "raw bodies belong to no tenant yet")]
            inbound::Entity::update_many()
                .set(inbound::ActiveModel {
                    state: Set(verdict.state),
                    error: Set(verdict.error.clone()),
                    partly_unknown: Set(verdict.partly_unknown),
                    settled_at: Set(Some(now)),
                    ..Default::default()
                })
                .filter(inbound::Column::Id.is_in(db::padded(chunk.iter().copied())))
                .write(tx)
                .await?;
        }
    }
    Ok(())
}

/// Counts what was not understood.
///
/// # Errors
/// When the database is away.
pub async fn count_unknown(db: &Db, unknown: Vec<Unknown>, now: Timestamp) -> Result<(), DbErr> {
    let mut counts: std::collections::BTreeMap<(String, String), i64> = std::collections::BTreeMap::new();
    for one in unknown {
        *counts.entry((one.what, one.value)).or_default() += 1;
    }
    let rows = counts.into_iter().map(|((what, value), count)| inbound_unknown::ActiveModel {
        what: Set(what),
        value: Set(value),
        count: Set(count),
        last_seen_at: Set(now),
    });
    let conflict = OnConflict::columns([inbound_unknown::Column::What, inbound_unknown::Column::Value])
        .value(
            inbound_unknown::Column::Count,
            Expr::col((inbound_unknown::Entity, inbound_unknown::Column::Count))
                .add(Expr::cust("excluded.\"count\"")),
        )
        .update_column(inbound_unknown::Column::LastSeenAt)
        .to_owned();
    inbound_unknown::Entity::insert_many(rows).on_conflict(conflict).put(db.write()).await?;
    Ok(())
}

/// A body, as `tandem inbound list` shows it: without its content.
#[derive(Clone, Debug, FromQueryResult, serde::Serialize)]
pub struct Listed {
    /// Which.
    pub id: InboundId,
    /// When it came.
    pub received_at: Timestamp,
    /// What became of it.
    pub state: InboundState,
    /// Why.
    pub error: Option<String>,
    /// Something in it is not understood.
    pub partly_unknown: bool,
}

/// The newest bodies that were not applied whole, those that wait among them.
///
/// # Errors
/// When the database is away.
pub async fn troubled(db: &Db, most: u64) -> Result<Vec<Listed>, DbErr> {
    let mut troubled = listed(db, is_troubled(), inbound::Column::SettledAt, most).await?;
    troubled.extend(listed(db, waits(), inbound::Column::Id, most).await?);
    troubled.sort_unstable_by_key(|body| std::cmp::Reverse(body.id));
    troubled.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok(troubled)
}

async fn listed(
    db: &Db,
    which: SimpleExpr,
    newest_by: inbound::Column,
    most: u64,
) -> Result<Vec<Listed>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "raw bodies belong to no tenant yet")]
    inbound::Entity::find()
        .select_only()
        .columns([
            inbound::Column::Id,
            inbound::Column::ReceivedAt,
            inbound::Column::State,
            inbound::Column::Error,
            inbound::Column::PartlyUnknown,
        ])
        .filter(which)
        .order_by_desc(newest_by)
        .limit(most)
        .into_model()
        .all(db.read())
        .await
}

/// Lets bodies wait again: those for a number that was just connected, or what an operator wants tried once more.
/// `received_since` bounds how far back. Says how many.
///
/// # Errors
/// When the database is away.
pub async fn again<C: Sql>(
    connection: &C,
    states: &[InboundState],
    received_since: Timestamp,
) -> Result<u64, DbErr> {
    let mut condition = inbound::Column::State.is_in(states.iter().copied());
    if states.contains(&InboundState::Failed) {
        condition = condition.or(inbound::Column::PartlyUnknown.eq(true));
    }
    #[expect(clippy::disallowed_methods, reason = "raw bodies belong to no tenant yet")]
    let done = inbound::Entity::update_many()
        .set(inbound::ActiveModel {
            state: Set(InboundState::Pending),
            error: Set(None),
            partly_unknown: Set(false),
            settled_at: Set(None),
            ..Default::default()
        })
        .filter(condition)
        // What came since then was settled since then, too: that is what the index knows.
        .filter(is_troubled())
        .filter(inbound::Column::SettledAt.gte(received_since))
        .filter(inbound::Column::ReceivedAt.gte(received_since))
        .write(connection)
        .await?;
    Ok(done)
}

/// Deletes bodies that were kept long enough; a bounded number at a time. Says how many went.
///
/// # Errors
/// When the database is away.
pub async fn prune(db: &Db, applied_before: Timestamp, others_before: Timestamp) -> Result<u64, DbErr> {
    let mut ids = settled_before(db, is_whole(), applied_before).await?;
    ids.extend(settled_before(db, is_troubled(), others_before).await?);
    if ids.is_empty() {
        return Ok(0);
    }
    #[expect(clippy::disallowed_methods, reason = "raw bodies belong to no tenant yet")]
    let gone =
        inbound::Entity::delete_many().filter(inbound::Column::Id.is_in(ids)).write(db.write()).await?;
    Ok(gone)
}

async fn settled_before(db: &Db, which: SimpleExpr, before: Timestamp) -> Result<Vec<InboundId>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "raw bodies belong to no tenant yet")]
    inbound::Entity::find()
        .select_only()
        .column(inbound::Column::Id)
        .filter(which)
        .filter(inbound::Column::SettledAt.lt(before))
        .order_by_asc(inbound::Column::SettledAt)
        .limit(500)
        .into_tuple()
        .all(db.read())
        .await
}

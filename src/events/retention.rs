//! How long the log is kept. Now and then it is noted how far each partner's log goes; what was told before a note of
//! `events.keep_days` ago goes, in small steps, and the place up to which it went stays.

use entity::{PartnerId, Timestamp, event, event_head, event_mark};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::app::App;
use crate::db::{self, SelectExt, Sql, Tx, WriteExt};

/// Entries that go in one transaction: a few milliseconds.
const STEP: i64 = 500;
/// Steps of one call; the next one goes on.
const STEPS: usize = 40;
const DAY: i64 = 86_400;

/// Notes how far each partner's log goes, where it has moved since the last note.
///
/// # Errors
/// When the database is away.
pub async fn mark(app: &App, now: Timestamp) -> Result<(), DbErr> {
    let noted = Query::select()
        .expr(Expr::val(1))
        .from(event_mark::Entity)
        .and_where(
            Expr::col((event_mark::Entity, event_mark::Column::PartnerId))
                .equals((event_head::Entity, event_head::Column::PartnerId)),
        )
        .and_where(
            Expr::col((event_mark::Entity, event_mark::Column::Position))
                .gte(Expr::col((event_head::Entity, event_head::Column::Head))),
        )
        .take();
    let heads = Query::select()
        .column((event_head::Entity, event_head::Column::PartnerId))
        .expr(Expr::val(now.0))
        .column((event_head::Entity, event_head::Column::Head))
        .from(event_head::Entity)
        .and_where(Expr::exists(noted).not())
        .take();
    let columns = [event_mark::Column::PartnerId, event_mark::Column::At, event_mark::Column::Position];
    let conflict =
        sea_orm::sea_query::OnConflict::columns([event_mark::Column::PartnerId, event_mark::Column::At])
            .update_column(event_mark::Column::Position)
            .to_owned();
    let insert = Query::insert()
        .into_table(event_mark::Entity)
        .columns(columns)
        .select_from(heads)
        .map_err(|error| DbErr::Custom(error.to_string()))?
        .on_conflict(conflict)
        .to_owned();
    app.db.write().put(db::built(app.db.write(), &insert)).await?;
    Ok(())
}

/// Deletes what was told too long ago; a bounded number of entries. Says how many went.
///
/// # Errors
/// When the database is away.
pub async fn prune(app: &App, now: Timestamp) -> Result<usize, DbErr> {
    let before = now.plus_seconds(-app.config.events.keep_days * DAY);
    #[expect(clippy::disallowed_methods, reason = "upkeep of all partners' logs")]
    let due: Vec<event_mark::Model> = event_mark::Entity::find()
        .filter(event_mark::Column::At.lte(before))
        .order_by_asc(event_mark::Column::At)
        .limit(100)
        .rows(&app.db.reads())
        .await?;
    let (mut gone, mut steps) = (0, 0);
    for mark in due {
        while steps < STEPS && !step(app, &mark, &mut gone).await? {
            steps += 1;
            tokio::task::yield_now().await;
        }
    }
    Ok(gone)
}

/// One step towards a mark; true when it is reached.
async fn step(app: &App, mark: &event_mark::Model, gone: &mut usize) -> Result<bool, DbErr> {
    let partner = mark.partner_id;
    let floor = app.hub.bounds(partner).await?.floor;
    let next = std::cmp::min(mark.position, floor.saturating_add(STEP));
    let tx = app.db.begin_write().await?;
    if next > floor {
        *gone += cut(&tx, partner, floor, next).await?;
    }
    let reached = next == mark.position || floor >= mark.position;
    if reached {
        #[expect(clippy::disallowed_methods, reason = "upkeep, by the mark's own key")]
        event_mark::Entity::delete_by_id((partner, mark.at)).put(&tx).await?;
    }
    tx.commit().await?;
    Ok(reached)
}

/// The place moves together with what goes: a reader that sees a gap also sees why.
async fn cut(tx: &Tx, partner: PartnerId, floor: i64, next: i64) -> Result<usize, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "upkeep, by the partner's own id")]
    event_head::Entity::update_many()
        .col_expr(event_head::Column::Floor, Expr::val(next))
        .filter(event_head::Column::PartnerId.eq(partner))
        .filter(event_head::Column::Floor.eq(floor))
        .put(tx)
        .await?;
    #[expect(clippy::disallowed_methods, reason = "upkeep, by the partner's own id")]
    let done = event::Entity::delete_many()
        .filter(event::Column::PartnerId.eq(partner))
        .filter(event::Column::Position.lte(next))
        .write(tx)
        .await?;
    Ok(usize::try_from(done).unwrap_or(0))
}

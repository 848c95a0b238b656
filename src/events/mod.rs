//! The event log (invariants 5 and 6): each partner's stream, numbered without gaps in the order of commits.

pub mod cursor;
pub mod filter;
pub mod queries;
pub mod retention;

use std::collections::BTreeMap;

use entity::{ClientId, EventType, PartnerId, Timestamp, event, event_head};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{DbErr, FromQueryResult};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::db::{self, Sql, Tx};
use crate::feed::Hub;

/// Something that happened, not yet in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// Whose stream.
    pub partner: PartnerId,
    /// What.
    pub kind: EventType,
    /// When it happened, which may be long before it was told.
    pub occurred_at: Timestamp,
    /// To which client; none for what concerns the partner itself.
    pub client: Option<ClientId>,
    /// The message, contact or onboarding, by kind.
    pub subject: Option<Uuid>,
    /// The changed values: status, error, step, percent. No words of people.
    pub data: Option<Value>,
}

/// The new heads of the streams that a transaction wrote to.
pub type Heads = BTreeMap<PartnerId, i64>;

/// Ends a transaction: numbers the events, writes them, commits, and only then tells the feed. The one way for events
/// into the log. Nothing slow may stand between: the counters are locked from here to the commit.
///
/// # Errors
/// When the database refuses or is away; then nothing was written.
pub async fn commit(hub: &Hub, tx: Tx, events: Vec<NewEvent>) -> Result<Heads, DbErr> {
    number(tx, events).await?.commit(hub).await
}

/// A transaction whose events have their places, but which is not committed: for rows that must hold the places of their
/// own events. One insert, then `commit`; nothing slower.
pub struct Numbered {
    tx: Tx,
    heads: Heads,
    positions: Vec<i64>,
}

/// Numbers the events and writes them.
///
/// # Errors
/// When the database refuses or is away; then nothing was written.
pub async fn number(tx: Tx, events: Vec<NewEvent>) -> Result<Numbered, DbErr> {
    let (heads, positions) = append(&tx, events).await?;
    Ok(Numbered { tx, heads, positions })
}

impl Numbered {
    /// The transaction.
    pub fn tx(&self) -> &Tx {
        &self.tx
    }

    /// The new heads.
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// The places of the events, in the order in which they were given.
    pub fn positions(&self) -> &[i64] {
        &self.positions
    }

    /// Commits, and only then tells the feed.
    ///
    /// # Errors
    /// When the database refuses or is away; then nothing was written.
    pub async fn commit(self, hub: &Hub) -> Result<Heads, DbErr> {
        self.tx.commit().await?;
        for (partner, head) in &self.heads {
            hub.hint(*partner, *head);
        }
        Ok(self.heads)
    }
}

#[derive(Deserialize, FromQueryResult)]
struct Bumped {
    head: i64,
}

async fn append(tx: &Tx, events: Vec<NewEvent>) -> Result<(Heads, Vec<i64>), DbErr> {
    let mut positions = vec![0; events.len()];
    let mut by_partner: BTreeMap<PartnerId, Vec<(&mut i64, NewEvent)>> = BTreeMap::new();
    for (place, event) in positions.iter_mut().zip(events) {
        by_partner.entry(event.partner).or_default().push((place, event));
    }
    let mut heads = Heads::new();
    let mut rows = Vec::new();
    // Ascending, so that two transactions never wait for each other in a circle.
    for (partner, events) in by_partner {
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let bump = Query::insert()
            .into_table(event_head::Entity)
            .columns([event_head::Column::PartnerId, event_head::Column::Head, event_head::Column::Floor])
            .values_panic([Expr::val(partner.0), Expr::val(count), Expr::val(0_i64)])
            .on_conflict(
                OnConflict::column(event_head::Column::PartnerId)
                    .value(
                        event_head::Column::Head,
                        Expr::col((event_head::Entity, event_head::Column::Head)).add(count),
                    )
                    .to_owned(),
            )
            .returning_col(event_head::Column::Head)
            .to_owned();
        let bumped: Vec<Bumped> = tx.read(db::built(tx, &bump)).await?;
        let Some(Bumped { head }) = bumped.into_iter().next() else { return Err(DbErr::RecordNotInserted) };
        let first = head - count + 1;
        for (position, (place, event)) in (first..).zip(events) {
            *place = position;
            rows.push(event::Model {
                partner_id: partner,
                position,
                kind: event.kind,
                occurred_at: event.occurred_at,
                client_id: event.client,
                subject_id: event.subject,
                data: event.data,
            });
        }
        heads.insert(partner, head);
    }
    db::insert::<event::Entity, _>(tx, rows).await?;
    Ok((heads, positions))
}

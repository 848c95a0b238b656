//! The event log (invariants 5 and 6): each partner's stream, numbered without gaps in the order of commits.

pub mod cursor;
pub mod epoch;
pub mod filter;
pub mod queries;
pub mod retention;

use std::collections::{BTreeMap, BTreeSet};

use entity::{ClientId, EventType, PartnerId, Timestamp, event, event_head};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{DbErr, Statement};
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
/// into the log.
///
/// # Errors
/// When the database refuses or is away; then nothing was written.
pub async fn commit(hub: &Hub, tx: Tx, events: Vec<NewEvent>) -> Result<Heads, DbErr> {
    Ok(commit_with(hub, tx, events, BTreeSet::new(), |_| Vec::new()).await?.heads)
}

/// The places of a transaction's events.
#[derive(Debug, Default)]
pub struct Numbered {
    /// The new heads.
    pub heads: Heads,
    /// Of each event, in the order in which they were given.
    pub positions: Vec<i64>,
}

#[derive(Deserialize)]
struct Bumped {
    partner_id: PartnerId,
    head: i64,
}

/// The same for rows that must hold the places of their own events, or those of other partners' heads: `rest` writes them.
/// Nothing slow may be in it: the counters are locked from here to the commit.
///
/// # Errors
/// When the database refuses or is away; then nothing was written.
pub async fn commit_with(
    hub: &Hub,
    tx: Tx,
    events: Vec<NewEvent>,
    others: BTreeSet<PartnerId>,
    rest: impl FnOnce(&Numbered) -> Vec<Statement> + Send + 'static,
) -> Result<Numbered, DbErr> {
    let mut counts: BTreeMap<PartnerId, i64> = others.into_iter().map(|partner| (partner, 0)).collect();
    for event in &events {
        *counts.entry(event.partner).or_default() += 1;
    }
    if counts.is_empty() {
        tx.commit().await?;
        return Ok(Numbered::default());
    }
    let mut bump = Query::insert();
    bump.into_table(event_head::Entity).columns([
        event_head::Column::PartnerId,
        event_head::Column::Head,
        event_head::Column::Floor,
    ]);
    // Ascending, so that two transactions never wait for each other in a circle.
    for (partner, count) in &counts {
        bump.values_panic([Expr::val(partner.0), Expr::val(*count), Expr::val(0_i64)]);
    }
    let head = Expr::col((event_head::Entity, event_head::Column::Head)).add(Expr::cust("excluded.head"));
    bump.on_conflict(
        OnConflict::column(event_head::Column::PartnerId).value(event_head::Column::Head, head).to_owned(),
    );
    bump.returning(Query::returning().columns([event_head::Column::PartnerId, event_head::Column::Head]));
    let (backend, bump) = (tx.backend(), db::built(&tx, &bump));
    let written = tx.commit_with(bump, move |bumped: Vec<Bumped>| {
        let heads: Heads = bumped.into_iter().map(|row| (row.partner_id, row.head)).collect();
        let (rows, positions) = number(&heads, counts, events)?;
        let mut statements = db::inserts::<event::Entity>(backend, &rows);
        let numbered = Numbered { heads, positions };
        statements.extend(rest(&numbered));
        Ok((numbered, statements))
    });
    let numbered = written.await?;
    for (partner, head) in &numbered.heads {
        hub.hint(*partner, *head);
    }
    Ok(numbered)
}

/// The events' rows, and their places.
fn number(
    heads: &Heads,
    counts: BTreeMap<PartnerId, i64>,
    events: Vec<NewEvent>,
) -> Result<(Vec<event::Model>, Vec<i64>), DbErr> {
    let mut next = counts;
    for (partner, count) in &mut next {
        let head = heads.get(partner).ok_or(DbErr::RecordNotInserted)?;
        *count = head - *count + 1;
    }
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        let next = next.get_mut(&event.partner).ok_or(DbErr::RecordNotInserted)?;
        rows.push(event::Model {
            partner_id: event.partner,
            position: *next,
            kind: event.kind,
            occurred_at: event.occurred_at,
            client_id: event.client,
            subject_id: event.subject,
            data: event.data,
        });
        *next += 1;
    }
    let positions = rows.iter().map(|row| row.position).collect();
    Ok((rows, positions))
}

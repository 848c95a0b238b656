//! What a round writes: everything or nothing, with a constant number of statements.

use std::sync::atomic::Ordering;

use entity::{
    EventType, PartnerId, Timestamp, WebhookDeliveryId, WebhookDeliveryStatus, WebhookDisabledReason,
    WebhookEndpointId, WebhookReplayId, api_key, webhook_attempt, webhook_delivery, webhook_endpoint,
    webhook_replay,
};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, Statement, Value};
use serde_json::json;
use uuid::Uuid;

use super::Counters;
use crate::app::App;
use crate::db::{self, Sql, WriteExt};
use crate::events::{self, NewEvent};

/// Rows in one statement.
const CHUNK: usize = 500;

/// Where a delivery stands after an attempt, or because there is nothing to attempt.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) id: WebhookDeliveryId,
    pub(super) status: WebhookDeliveryStatus,
    pub(super) attempts: i32,
    pub(super) alone: bool,
    pub(super) first_attempt_at: Option<Timestamp>,
    pub(super) next_attempt_at: Timestamp,
    pub(super) settled_at: Option<Timestamp>,
}

/// A body that was made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) id: WebhookDeliveryId,
    pub(super) data: String,
    pub(super) client_key_sealed: Option<Vec<u8>>,
}

/// How an endpoint does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    pub(super) last_success_at: Option<Timestamp>,
    pub(super) failing_since: Option<Timestamp>,
}

/// What is not written yet.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) position: i64,
    pub(super) replays: Vec<(WebhookReplayId, i64)>,
    pub(super) replays_over: Vec<WebhookReplayId>,
    pub(super) new: Vec<webhook_delivery::Model>,
    pub(super) made: Vec<Made>,
    pub(super) keys: Vec<api_key::Model>,
    pub(super) standings: Vec<Standing>,
    pub(super) attempts: Vec<webhook_attempt::Model>,
    /// How the endpoint does; none: nothing was heard of it.
    pub(super) health: Option<Health>,
    pub(super) disable: Option<WebhookDisabledReason>,
}

/// Whether this process still works for the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Everything was written.
    Yes,
    /// Nothing was: the endpoint is gone, or somebody else's.
    Lost,
}

impl Writes {
    /// Whether there is something that must not wait.
    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty()
            && self.made.is_empty()
            && self.standings.is_empty()
            && self.attempts.is_empty()
            && self.replays.is_empty()
            && self.replays_over.is_empty()
            && self.disable.is_none()
    }

    /// Counts what has been written; `pending` is how many deliveries of the endpoint waited before.
    pub(super) fn count(&self, counters: &Counters, pending: &mut u64) {
        let count = |status| self.standings.iter().filter(|one| one.status == status).count() as u64;
        let taken = count(WebhookDeliveryStatus::Delivered);
        let given_up = count(WebhookDeliveryStatus::Failed);
        let failed = self.attempts.iter().filter(|attempt| attempt.error.is_some()).count() as u64;
        counters.taken.fetch_add(taken, Ordering::Relaxed);
        counters.given_up.fetch_add(given_up, Ordering::Relaxed);
        counters.failed_attempts.fetch_add(failed, Ordering::Relaxed);
        let settled = taken + given_up + count(WebhookDeliveryStatus::Canceled);
        let after = (*pending + self.new.len() as u64).saturating_sub(settled);
        // One value for what came and what went, so that nobody sees a half of it.
        counters.pending.fetch_add(after.wrapping_sub(*pending), Ordering::Relaxed);
        *pending = after;
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// When the database is away; then nothing was written, and it can be tried again.
    pub(super) async fn write(
        &self,
        app: &App,
        partner: PartnerId,
        endpoint: WebhookEndpointId,
        owner: Uuid,
    ) -> Result<Written, DbErr> {
        let now = app.now();
        let tx = app.db.begin_write().await?;
        // First of all: whoever took the endpoint over, or deleted it, makes everything below void.
        let mut row = webhook_endpoint::ActiveModel {
            position: sea_orm::ActiveValue::Set(self.position),
            ..Default::default()
        };
        if let Some(health) = self.health {
            row.last_success_at = sea_orm::ActiveValue::Set(health.last_success_at);
            row.failing_since = sea_orm::ActiveValue::Set(health.failing_since);
        }
        if let Some(reason) = self.disable {
            row.enabled = sea_orm::ActiveValue::Set(false);
            row.disabled_at = sea_orm::ActiveValue::Set(Some(now));
            row.disabled_reason = sea_orm::ActiveValue::Set(Some(reason));
        }
        #[expect(clippy::disallowed_methods, reason = "the engine's own endpoint, by its id and owner")]
        let held = webhook_endpoint::Entity::update_many()
            .set(row)
            .filter(webhook_endpoint::Column::Id.eq(endpoint))
            .filter(webhook_endpoint::Column::Owner.eq(owner))
            .write(&tx)
            .await?;
        if held == 0 {
            return Ok(Written::Lost);
        }
        db::insert::<api_key::Entity, _>(&tx, self.keys.clone()).await?;
        for chunk in self.new.chunks(CHUNK) {
            let rows = chunk.iter().map(|row| row.clone().into_active_model());
            webhook_delivery::Entity::insert_many(rows).put(&tx).await?;
        }
        for chunk in self.made.chunks(CHUNK) {
            keep_bodies(&tx, chunk).await?;
        }
        for chunk in self.standings.chunks(CHUNK) {
            settle(&tx, chunk).await?;
        }
        for chunk in self.attempts.chunks(CHUNK) {
            let rows = chunk.iter().map(|row| row.clone().into_active_model());
            webhook_attempt::Entity::insert_many(rows).put(&tx).await?;
        }
        self.write_replays(&tx).await?;
        let events = self.disable.map(|reason| NewEvent {
            partner,
            kind: EventType::WebhookEndpointDisabled,
            occurred_at: now,
            client: None,
            subject: Some(endpoint.0),
            data: Some(json!({ "reason": reason })),
        });
        events::commit(&app.hub, tx, events.into_iter().collect()).await?;
        Ok(Written::Yes)
    }

    #[expect(clippy::disallowed_methods, reason = "the engine's own replays, by their ids")]
    async fn write_replays<C: Sql>(&self, tx: &C) -> Result<(), DbErr> {
        // A handful at most: webhooks.replays_per_endpoint.
        for (id, position) in &self.replays {
            webhook_replay::Entity::update_many()
                .col_expr(webhook_replay::Column::Position, Expr::value(*position))
                .filter(webhook_replay::Column::Id.eq(*id))
                .put(tx)
                .await?;
        }
        if !self.replays_over.is_empty() {
            webhook_replay::Entity::delete_many()
                .filter(webhook_replay::Column::Id.is_in(self.replays_over.iter().copied()))
                .put(tx)
                .await?;
        }
        Ok(())
    }
}

/// `($1, $2, …), (…)`.
fn rows(count: usize, columns: &[&str]) -> String {
    let mut sql = String::new();
    for row in 0..count {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for (column, kind) in columns.iter().enumerate() {
            if column > 0 {
                sql.push_str(", ");
            }
            sql.push_str(&format!("CAST(${} AS {kind})", row * columns.len() + column + 1));
        }
        sql.push(')');
    }
    sql
}

async fn settle<C: Sql>(tx: &C, standings: &[Standing]) -> Result<(), DbErr> {
    let backend = tx.backend();
    let sqlite = backend == sea_orm::DatabaseBackend::Sqlite;
    let uuid = if sqlite { "BLOB" } else { "uuid" };
    let (number, flag) = if sqlite { ("INTEGER", "INTEGER") } else { ("bigint", "boolean") };
    let columns = [uuid, "text", number, flag, number, number, number];
    // What is settled needs the client's key no more.
    let sql = format!(
        "UPDATE webhook_delivery SET status = v.column2, attempts = v.column3, alone = v.column4, \
         first_attempt_at = v.column5, next_attempt_at = v.column6, settled_at = v.column7, \
         client_key_sealed = CASE WHEN v.column7 IS NULL THEN webhook_delivery.client_key_sealed END \
         FROM (VALUES {}) AS v WHERE webhook_delivery.id = v.column1",
        rows(standings.len(), &columns)
    );
    let mut values: Vec<Value> = Vec::with_capacity(standings.len() * columns.len());
    for standing in standings {
        values.extend([
            standing.id.0.into(),
            standing.status.word().into(),
            i64::from(standing.attempts).into(),
            standing.alone.into(),
            standing.first_attempt_at.map(|at| at.0).into(),
            standing.next_attempt_at.0.into(),
            standing.settled_at.map(|at| at.0).into(),
        ]);
    }
    tx.put(Statement::from_sql_and_values(backend, sql, values)).await
}

async fn keep_bodies<C: Sql>(tx: &C, made: &[Made]) -> Result<(), DbErr> {
    let backend = tx.backend();
    let sqlite = backend == sea_orm::DatabaseBackend::Sqlite;
    let (uuid, bytes) = if sqlite { ("BLOB", "BLOB") } else { ("uuid", "bytea") };
    let columns = [uuid, "text", bytes];
    let sql = format!(
        "UPDATE webhook_delivery SET data = v.column2, client_key_sealed = v.column3 \
         FROM (VALUES {}) AS v WHERE webhook_delivery.id = v.column1",
        rows(made.len(), &columns)
    );
    let mut values: Vec<Value> = Vec::with_capacity(made.len() * columns.len());
    for one in made {
        values.extend([one.id.0.into(), one.data.as_str().into(), one.client_key_sealed.clone().into()]);
    }
    tx.put(Statement::from_sql_and_values(backend, sql, values)).await
}

//! For how long deliveries are kept, and what is erased; in steps that hold the database for milliseconds.

use entity::{
    ClientId, ContactId, PartnerId, Timestamp, WebhookDeliveryId, WebhookDeliveryStatus, WebhookEndpointId,
    webhook_attempt, webhook_delivery, webhook_endpoint, webhook_replay,
};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement};

use crate::app::App;
use crate::db::{Db, SelectExt, Sql, WriteExt};
use crate::failure::Outcome;

/// Deliveries of one step.
const STEP: u64 = 200;
const DAY: i64 = 86_400;

/// Takes a step: deletes deliveries that were kept long enough, and those of endpoints that are gone. Says how many.
///
/// # Errors
/// When the database is away.
pub async fn prune(app: &App) -> Outcome<usize> {
    let settings = &app.config.webhooks;
    let now = app.now();
    use webhook_delivery::Column;
    let arrived = Column::Status
        .eq(WebhookDeliveryStatus::Delivered)
        .and(Column::SettledAt.lt(now.plus_seconds(-settings.keep_delivered_days * DAY)));
    let others = Column::SettledAt.lt(now.plus_seconds(-settings.keep_failed_days * DAY));
    let old = ids(&app.db, Condition::any().add(arrived).add(others)).await?;
    let mut gone = remove(&app.db, old).await?;
    #[expect(clippy::disallowed_methods, reason = "upkeep over all partners")]
    let deleted = webhook_endpoint::Entity::find()
        .filter(webhook_endpoint::Column::DeletedAt.is_not_null())
        .limit(1)
        .row(&app.db.reads())
        .await?;
    if let Some(endpoint) = deleted {
        let left = ids(&app.db, Condition::all().add(Column::EndpointId.eq(endpoint.id))).await?;
        if left.is_empty() {
            end(&app.db, endpoint.id).await?;
        }
        gone += remove(&app.db, left).await?;
    }
    Ok(gone)
}

async fn ids(db: &Db, which: Condition) -> Result<Vec<WebhookDeliveryId>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "upkeep over all partners")]
    webhook_delivery::Entity::find()
        .select_only()
        .column(webhook_delivery::Column::Id)
        .filter(which)
        .limit(STEP)
        .into_tuple()
        .all(db.read())
        .await
}

#[expect(clippy::disallowed_methods, reason = "upkeep over all partners, by ids that were just selected")]
async fn remove(db: &Db, ids: Vec<WebhookDeliveryId>) -> Result<usize, DbErr> {
    if ids.is_empty() {
        return Ok(0);
    }
    let count = ids.len();
    let tx = db.begin_write().await?;
    webhook_attempt::Entity::delete_many()
        .filter(webhook_attempt::Column::DeliveryId.is_in(ids.iter().copied()))
        .put(&tx)
        .await?;
    webhook_delivery::Entity::delete_many().filter(webhook_delivery::Column::Id.is_in(ids)).put(&tx).await?;
    tx.commit().await?;
    Ok(count)
}

#[expect(clippy::disallowed_methods, reason = "upkeep, by the id of an endpoint that was deleted")]
async fn end(db: &Db, endpoint: WebhookEndpointId) -> Result<(), DbErr> {
    let tx = db.begin_write().await?;
    webhook_replay::Entity::delete_many()
        .filter(webhook_replay::Column::EndpointId.eq(endpoint))
        .put(&tx)
        .await?;
    webhook_endpoint::Entity::delete_by_id(endpoint).put(&tx).await?;
    tx.commit().await
}

/// Erases the bodies that show a contact, whether they were delivered or not: what waits is never sent. For the
/// transaction that erases the contact itself, before its rows go.
///
/// # Errors
/// When the database is away.
pub async fn erase_contact<C: Sql>(
    tx: &C,
    partner: PartnerId,
    client: ClientId,
    contact: ContactId,
) -> Result<u64, DbErr> {
    // Deliveries name the message or contact as it was called then: what was merged counts as what it was merged into.
    let sql = "UPDATE webhook_delivery SET data = NULL, client_key_sealed = NULL \
         WHERE partner_id = $1 AND client_id = $2 AND data IS NOT NULL AND subject_id IN ( \
           WITH RECURSIVE about(id) AS ( \
             SELECT c.id FROM contact c WHERE c.id = $3 AND c.partner_id = $1 AND c.client_id = $2 \
             UNION SELECT m.id FROM conversation v JOIN message m ON m.conversation_id = v.id \
               WHERE v.contact_id = $3 AND v.partner_id = $1 AND v.client_id = $2 \
             UNION SELECT a.id FROM alias a JOIN about b ON a.target = b.id WHERE a.partner_id = $1) \
           SELECT id FROM about)";
    let values = [partner.0.into(), client.0.into(), contact.0.into()];
    let statement = Statement::from_sql_and_values(tx.backend(), sql, values);
    tx.change(statement).await
}

/// Which failed deliveries an operator wants tried once more.
#[derive(Clone, Debug, Default)]
pub struct Retry {
    /// Only of this endpoint.
    pub endpoint: Option<WebhookEndpointId>,
    /// Only these.
    pub deliveries: Vec<WebhookDeliveryId>,
    /// Only those that failed then or later.
    pub since: Option<Timestamp>,
}

/// Lets failed deliveries wait again, each on its own and with its three days anew. Says how many; what was erased stays.
///
/// # Errors
/// When the database is away.
#[expect(clippy::disallowed_methods, reason = "the operator's command, over all partners")]
pub async fn retry(db: &Db, which: &Retry, now: Timestamp) -> Result<usize, DbErr> {
    use webhook_delivery::Column;
    let mut filter = Condition::all()
        .add(Column::Status.eq(WebhookDeliveryStatus::Failed))
        .add(Column::Data.is_not_null());
    if let Some(endpoint) = which.endpoint {
        filter = filter.add(Column::EndpointId.eq(endpoint));
    }
    if !which.deliveries.is_empty() {
        filter = filter.add(Column::Id.is_in(which.deliveries.iter().copied()));
    }
    if let Some(since) = which.since {
        filter = filter.add(Column::SettledAt.gte(since));
    }
    let mut count = 0;
    loop {
        let rows: Vec<(WebhookDeliveryId, WebhookEndpointId)> = webhook_delivery::Entity::find()
            .select_only()
            .columns([Column::Id, Column::EndpointId])
            .filter(filter.clone())
            .order_by_asc(Column::Id)
            .limit(STEP)
            .into_tuple()
            .all(db.read())
            .await?;
        if rows.is_empty() {
            return Ok(count);
        }
        count += rows.len();
        let tx = db.begin_write().await?;
        webhook_delivery::Entity::update_many()
            .set(webhook_delivery::ActiveModel {
                status: sea_orm::ActiveValue::Set(WebhookDeliveryStatus::Pending),
                alone: sea_orm::ActiveValue::Set(true),
                first_attempt_at: sea_orm::ActiveValue::Set(None),
                next_attempt_at: sea_orm::ActiveValue::Set(now),
                settled_at: sea_orm::ActiveValue::Set(None),
                ..Default::default()
            })
            .filter(Column::Id.is_in(rows.iter().map(|(id, _)| *id)))
            .write(&tx)
            .await?;
        webhook_endpoint::Entity::update_many()
            .col_expr(webhook_endpoint::Column::Version, Expr::col(webhook_endpoint::Column::Version).add(1))
            .filter(webhook_endpoint::Column::Id.is_in(rows.iter().map(|(_, endpoint)| *endpoint)))
            .put(&tx)
            .await?;
        tx.commit().await?;
    }
}

//! What partners read of their endpoints.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use entity::{
    ClientId, PartnerId, WebhookDeliveryId, WebhookDeliveryStatus, WebhookEndpointId, webhook_attempt,
    webhook_delivery, webhook_endpoint,
};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::auth::Scope;
use crate::db::page::{Ordering, Page, PageArgs, page};
use crate::db::{Db, SelectExt};

/// Whether a credential may see an endpoint: one for some clients sees only endpoints for no others.
pub fn admits(scope: &Scope, endpoint: &webhook_endpoint::Model) -> bool {
    if endpoint.partner_id != scope.partner() {
        return false;
    }
    let Some(allowed) = scope.clients() else { return true };
    let named = endpoint.client_ids.clone().map(serde_json::from_value::<BTreeSet<ClientId>>);
    matches!(named, Some(Ok(named)) if named.is_subset(allowed))
}

/// All endpoints that the scope admits, oldest first. There are few: `webhooks.endpoints_per_partner`.
///
/// # Errors
/// When the database is away.
pub async fn all(db: &Db, scope: &Scope) -> Result<Vec<webhook_endpoint::Model>, DbErr> {
    let rows = db
        .rows(
            scope
                .find_partner::<webhook_endpoint::Entity>()
                .filter(webhook_endpoint::Column::DeletedAt.is_null())
                .order_by_asc(webhook_endpoint::Column::Id),
        )
        .await?;
    Ok(rows.into_iter().filter(|row| admits(scope, row)).collect())
}

/// Endpoints that the scope admits, by their ids.
///
/// # Errors
/// When the database is away.
pub async fn by_ids(
    db: &Db,
    scope: &Scope,
    ids: &[WebhookEndpointId],
) -> Result<HashMap<WebhookEndpointId, Arc<webhook_endpoint::Model>>, DbErr> {
    let rows = db
        .rows(
            scope
                .find_partner::<webhook_endpoint::Entity>()
                .filter(webhook_endpoint::Column::Id.is_in(ids.iter().copied()))
                .filter(webhook_endpoint::Column::DeletedAt.is_null()),
        )
        .await?;
    Ok(rows.into_iter().filter(|row| admits(scope, row)).map(|row| (row.id, Arc::new(row))).collect())
}

/// One endpoint that the scope admits.
///
/// # Errors
/// When the database is away.
pub async fn one(
    db: &Db,
    scope: &Scope,
    id: WebhookEndpointId,
) -> Result<Option<Arc<webhook_endpoint::Model>>, DbErr> {
    Ok(by_ids(db, scope, &[id]).await?.remove(&id))
}

/// Whose endpoint it is: for operators, who know ids alone.
///
/// # Errors
/// When the database is away.
pub async fn partner_of(db: &Db, id: WebhookEndpointId) -> Result<Option<PartnerId>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the operator's commands, over all partners")]
    let row = webhook_endpoint::Entity::find_by_id(id).row(&db.reads()).await?;
    Ok(row.map(|row| row.partner_id))
}

/// Deliveries of an endpoint that came through the scope, newest first. Not filtered by the partner as well: see
/// [`Scope::of_client`].
///
/// # Errors
/// When the database is away.
pub async fn deliveries(
    db: &Db,
    endpoint: &webhook_endpoint::Model,
    status: Option<WebhookDeliveryStatus>,
    args: PageArgs,
) -> Result<Page<webhook_delivery::Model>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "of an endpoint that came through the scope")]
    let mut select =
        webhook_delivery::Entity::find().filter(webhook_delivery::Column::EndpointId.eq(endpoint.id));
    if let Some(status) = status {
        select = select.filter(webhook_delivery::Column::Status.eq(status));
    }
    let ordering = Ordering { key: None, id: webhook_delivery::Column::Id, descending: true };
    page(db, select, ordering, args).await
}

/// One delivery, to an endpoint that the scope admits.
///
/// # Errors
/// When the database is away.
pub async fn delivery(
    db: &Db,
    scope: &Scope,
    id: WebhookDeliveryId,
) -> Result<Option<webhook_delivery::Model>, DbErr> {
    let row = scope
        .find_partner::<webhook_delivery::Entity>()
        .filter(webhook_delivery::Column::Id.eq(id))
        .row(&db.reads())
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(one(db, scope, row.endpoint_id).await?.map(|_| row))
}

/// The attempts of deliveries that came through the scope, first to last.
///
/// # Errors
/// When the database is away.
pub async fn attempts(
    db: &Db,
    deliveries: &[WebhookDeliveryId],
) -> Result<HashMap<WebhookDeliveryId, Vec<webhook_attempt::Model>>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "of deliveries that came through the scope")]
    let rows = db
        .rows(
            webhook_attempt::Entity::find()
                .filter(webhook_attempt::Column::DeliveryId.is_in(deliveries.iter().copied()))
                .order_by_asc(webhook_attempt::Column::DeliveryId)
                .order_by_asc(webhook_attempt::Column::Number),
        )
        .await?;
    let mut attempts: HashMap<WebhookDeliveryId, Vec<webhook_attempt::Model>> = HashMap::new();
    for row in rows {
        attempts.entry(row.delivery_id).or_default().push(row);
    }
    Ok(attempts)
}

/// How many deliveries of each of these endpoints wait. The endpoints came through the scope; one without any is left
/// out.
///
/// # Errors
/// When the database is away.
pub async fn pending(
    db: &Db,
    endpoints: &[WebhookEndpointId],
) -> Result<HashMap<WebhookEndpointId, i64>, DbErr> {
    use webhook_delivery::Column;
    #[expect(clippy::disallowed_methods, reason = "counts for endpoints that came through the scope")]
    let counts: Vec<(WebhookEndpointId, i64)> = webhook_delivery::Entity::find()
        .select_only()
        .column(Column::EndpointId)
        .column_as(Column::Id.count(), "pending")
        .filter(Column::EndpointId.is_in(endpoints.iter().copied()))
        .filter(Column::Status.eq(WebhookDeliveryStatus::Pending))
        .group_by(Column::EndpointId)
        .into_tuple()
        .all(db.read())
        .await?;
    Ok(counts.into_iter().collect())
}

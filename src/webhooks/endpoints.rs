//! What partners do with their endpoints. All of it needs the scope ADMIN.

use std::collections::BTreeSet;

use entity::{
    ClientId, EventType, PartnerId, Timestamp, WebhookDisabledReason, WebhookEndpointId, WebhookReplayId,
    webhook_endpoint, webhook_replay,
};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, IntoActiveModel, PaginatorTrait,
    QueryFilter,
};
use secrecy::SecretString;

use super::{queries, signing};
use crate::app::{App, Installation};
use crate::auth::{Permission, Scope};
use crate::clients;
use crate::db::{self, Db, SelectExt, Sql, UpdateExt, WriteExt};
use crate::events::queries::{CursorError, resume};
use crate::events::{self, NewEvent};
use crate::failure::{Failure, Outcome, Refusal, RefusalCode};
use crate::feed::Bounds;
use crate::ids::PublicId;

/// Seconds for which a former secret still signs.
const FORMER: i64 = 86_400;
/// Longest description, characters.
const DESCRIPTION: usize = 500;
/// Most clients of an endpoint.
const CLIENTS: usize = 100;

/// What an endpoint shall be. On a change, what is none stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Where to.
    pub url: Option<String>,
    /// For people; inner none: none.
    pub description: Option<Option<String>>,
    /// Only of these types; inner none: all.
    pub event_types: Option<Option<Vec<EventType>>>,
    /// Only of these clients; inner none: all.
    pub clients: Option<Option<Vec<ClientId>>>,
    /// CLIENT_CONNECTED carries a key of the client.
    pub include_client_key: Option<bool>,
    /// In any order.
    pub parallel: Option<bool>,
    /// On or off.
    pub enabled: Option<bool>,
}

fn refuse<T>(code: RefusalCode, field: &str, message: impl Into<String>) -> Outcome<T> {
    Err(Refusal::new(code, field, message).into())
}

/// Makes an endpoint; it gets what happens from now on. The secret is told this once.
///
/// # Errors
/// INVALID, NOT_FOUND, URL_NOT_ALLOWED.
pub async fn create(
    app: &App,
    scope: &Scope,
    wanted: Wanted,
) -> Outcome<(webhook_endpoint::Model, SecretString)> {
    scope.require(Permission::Admin)?;
    let id = WebhookEndpointId::generate();
    let secret = signing::new_secret();
    let sealed = app.key.seal(id.0.as_bytes(), &secret).map_err(Failure::Internal)?;
    let mut row = webhook_endpoint::Model {
        id,
        partner_id: scope.partner(),
        url: String::new(),
        description: None,
        event_types: None,
        client_ids: None,
        client_key_of: None,
        parallel: false,
        enabled: true,
        disabled_at: None,
        disabled_reason: None,
        secret_sealed: sealed,
        former_secret_sealed: None,
        former_secret_until: None,
        position: app.hub.head(scope.partner()).await?,
        last_success_at: None,
        failing_since: None,
        version: 1,
        owner: None,
        owned_until: 0,
        created_at: app.now(),
        deleted_at: None,
    };
    if wanted.url.is_none() {
        return refuse(RefusalCode::Invalid, "url", "url is missing; it needs an address");
    }
    let wanted = Wanted { clients: Some(wanted.clients.flatten()), ..wanted };
    apply(app, scope, wanted, &mut row).await?;
    let tx = app.db.begin_write().await?;
    let most = app.config.webhooks.endpoints_per_partner;
    let count = scope
        .find_partner::<webhook_endpoint::Entity>()
        .filter(webhook_endpoint::Column::DeletedAt.is_null())
        .rows(&tx)
        .await?
        .len();
    if count >= most {
        let message = format!("there are {most} endpoints already, which is the limit; delete one first");
        return refuse(RefusalCode::Invalid, "", message);
    }
    let inserted =
        webhook_endpoint::Entity::insert(row.clone().into_active_model().reset_all()).write(&tx).await;
    inserted.map_err(key_is_taken)?;
    tx.commit().await?;
    app.webhooks_wake.notify_one();
    Ok((row, secret))
}

/// Changes an endpoint.
///
/// # Errors
/// INVALID, NOT_FOUND, URL_NOT_ALLOWED.
pub async fn update(
    app: &App,
    scope: &Scope,
    id: WebhookEndpointId,
    wanted: Wanted,
) -> Outcome<webhook_endpoint::Model> {
    let before = named(&app.db, scope, id).await?;
    let mut row = before.clone();
    apply(app, scope, wanted, &mut row).await?;
    let mut change = webhook_endpoint::ActiveModel {
        url: Set(row.url),
        description: Set(row.description),
        event_types: Set(row.event_types),
        client_ids: Set(row.client_ids),
        client_key_of: Set(row.client_key_of),
        parallel: Set(row.parallel),
        ..Default::default()
    };
    if row.enabled != before.enabled {
        change.enabled = Set(row.enabled);
        change.disabled_at = Set(row.disabled_at);
        change.disabled_reason = Set(row.disabled_reason);
        change.failing_since = Set(None);
    }
    write(app, id, change).await
}

/// Ends an endpoint. What waits for it is never sent; its deliveries and their attempts go in small steps.
///
/// # Errors
/// NOT_FOUND.
pub async fn delete(app: &App, scope: &Scope, id: WebhookEndpointId) -> Outcome<webhook_endpoint::Model> {
    named(&app.db, scope, id).await?;
    let change = webhook_endpoint::ActiveModel {
        enabled: Set(false),
        client_key_of: Set(None),
        // Nobody works for it any more, from this instant on.
        owner: Set(None),
        former_secret_sealed: Set(None),
        deleted_at: Set(Some(app.now())),
        ..Default::default()
    };
    write(app, id, change).await
}

/// Draws a new secret, told this once; the former one signs too for 24 hours.
///
/// # Errors
/// NOT_FOUND.
pub async fn rotate_secret(
    app: &App,
    scope: &Scope,
    id: WebhookEndpointId,
) -> Outcome<(webhook_endpoint::Model, SecretString)> {
    let row = named(&app.db, scope, id).await?;
    let secret = signing::new_secret();
    let sealed = app.key.seal(id.0.as_bytes(), &secret).map_err(Failure::Internal)?;
    let change = webhook_endpoint::ActiveModel {
        secret_sealed: Set(sealed),
        former_secret_sealed: Set(Some(row.secret_sealed)),
        former_secret_until: Set(Some(app.now().plus_seconds(FORMER))),
        ..Default::default()
    };
    Ok((write(app, id, change).await?, secret))
}

/// Puts a TEST entry into the stream, which this endpoint gets whatever else it wants.
///
/// # Errors
/// NOT_FOUND; INVALID for one that is off.
pub async fn send_test(
    app: &App,
    scope: &Scope,
    id: WebhookEndpointId,
) -> Outcome<(webhook_endpoint::Model, i64)> {
    let row = named(&app.db, scope, id).await?;
    require_enabled(&row)?;
    let event = NewEvent {
        partner: row.partner_id,
        kind: EventType::Test,
        occurred_at: app.now(),
        client: None,
        subject: Some(id.0),
        data: None,
    };
    let tx = app.db.begin_write().await?;
    let heads = events::commit(&app.hub, tx, vec![event]).await?;
    let position = heads.get(&row.partner_id).copied().unwrap_or(0);
    Ok((row, position))
}

/// Which part of the stream an endpoint gets once more.
#[derive(Clone, Debug)]
pub struct Part {
    /// Only what follows this place.
    pub after: i64,
    /// Up to this one.
    pub until_position: i64,
    /// What happened then or later.
    pub since: Option<Timestamp>,
    /// What happened before.
    pub until: Option<Timestamp>,
    /// Only of these types.
    pub types: Option<Vec<EventType>>,
}

impl Part {
    /// What lies between two places, of any time and type. Without the first: from the oldest entry that is kept; without
    /// the last: up to now.
    ///
    /// # Errors
    /// See [`CursorError`].
    pub async fn between(
        installation: &Installation,
        scope: &Scope,
        after: Option<&str>,
        up_to: Option<&str>,
    ) -> Result<Self, CursorError> {
        let until_position = match up_to {
            Some(_) => resume(installation, scope, up_to).await?,
            None => Bounds::of(&installation.db, scope.partner()).await?.head,
        };
        let after = resume(installation, scope, after).await?;
        Ok(Self { after, until_position, since: None, until: None, types: None })
    }
}

/// Sends a part of the stream once more, beside what happens now. Whoever delivers sees it at its next look at the
/// endpoints, in whichever process that is.
///
/// # Errors
/// NOT_FOUND; INVALID for one that is off, or has too many replays waiting.
pub async fn replay(
    installation: &Installation,
    scope: &Scope,
    id: WebhookEndpointId,
    part: Part,
) -> Outcome<webhook_endpoint::Model> {
    let row = named(&installation.db, scope, id).await?;
    require_enabled(&row)?;
    if part.since.zip(part.until).is_some_and(|(since, until)| since >= until) {
        return refuse(RefusalCode::Invalid, "until", "until is not after since");
    }
    let types = part.types.map(|types| types_json("types", types)).transpose()?;
    let tx = installation.db.begin_write().await?;
    #[expect(clippy::disallowed_methods, reason = "of an endpoint that came through the scope")]
    let waiting = webhook_replay::Entity::find()
        .filter(webhook_replay::Column::EndpointId.eq(id))
        .rows(&tx)
        .await?
        .len();
    let most = installation.config.webhooks.replays_per_endpoint;
    if waiting >= most {
        let message = format!("{most} replays wait for this endpoint already; try again when one is over");
        return refuse(RefusalCode::Invalid, "endpointId", message);
    }
    let replay = webhook_replay::Model {
        id: WebhookReplayId::generate(),
        partner_id: row.partner_id,
        endpoint_id: id,
        position: part.after,
        until_position: part.until_position,
        since: part.since,
        until: part.until,
        event_types: types,
        created_at: installation.clock.now(),
    };
    db::insert::<webhook_replay::Entity, _>(&tx, vec![replay]).await?;
    let row = changed(&tx, id, Default::default()).await?;
    tx.commit().await?;
    Ok(row)
}

/// Whether a partner has an endpoint that gets something (S8).
///
/// # Errors
/// When the database is away.
pub async fn any(app: &App, partner: PartnerId) -> Result<bool, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "filtered by the partner right here")]
    let count = webhook_endpoint::Entity::find()
        .filter(webhook_endpoint::Column::PartnerId.eq(partner))
        .filter(webhook_endpoint::Column::Enabled.eq(true))
        .count(app.db.read())
        .await?;
    Ok(count > 0)
}

/// The endpoint that a command names.
async fn named(db: &Db, scope: &Scope, id: WebhookEndpointId) -> Outcome<webhook_endpoint::Model> {
    scope.require(Permission::Admin)?;
    match queries::one(db, scope, id).await? {
        Some(row) => Ok(row.as_ref().clone()),
        None => refuse(RefusalCode::NotFound, "endpointId", "there is no such endpoint"),
    }
}

fn require_enabled(row: &webhook_endpoint::Model) -> Outcome<()> {
    if row.enabled {
        return Ok(());
    }
    refuse(
        RefusalCode::Invalid,
        "endpointId",
        "the endpoint is off; enable it with updateWebhookEndpoint first",
    )
}

/// Puts what is wanted into a row, checked.
async fn apply(app: &App, scope: &Scope, wanted: Wanted, row: &mut webhook_endpoint::Model) -> Outcome<()> {
    let Wanted { url, description, event_types, clients, include_client_key, parallel, enabled } = wanted;
    if let Some(clients) = clients {
        row.client_ids = match clients {
            Some(ids) => Some(clients_json(app, scope, &ids).await?),
            None if scope.clients().is_some() => {
                let message = "this credential is for some clients only; name among them those that the endpoint is for";
                return refuse(RefusalCode::Invalid, "clientIds", message);
            }
            None => None,
        };
    }
    if let Some(types) = event_types {
        row.event_types = types.map(|types| types_json("eventTypes", types)).transpose()?;
    }
    if let Some(description) = description {
        if description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION) {
            return refuse(
                RefusalCode::Invalid,
                "description",
                "description is too long; it may have 500 characters",
            );
        }
        row.description = description;
    }
    if let Some(include) = include_client_key {
        if include && scope.clients().is_some() {
            let message =
                "this credential is for some clients only; an endpoint that gets keys needs one for all";
            return refuse(RefusalCode::Invalid, "includeClientKey", message);
        }
        row.client_key_of = include.then_some(row.partner_id);
    }
    if let Some(parallel) = parallel {
        row.parallel = parallel;
    }
    if let Some(enabled) = enabled
        && enabled != row.enabled
    {
        row.enabled = enabled;
        row.disabled_at = (!enabled).then(|| app.now());
        row.disabled_reason = (!enabled).then_some(WebhookDisabledReason::ByPartner);
    }
    if let Some(url) = url {
        row.url = app.webhook_policy().check(&url).await?.into();
    }
    Ok(())
}

async fn clients_json(app: &App, scope: &Scope, ids: &[ClientId]) -> Outcome<serde_json::Value> {
    if ids.is_empty() || ids.len() > CLIENTS {
        let message = format!("clientIds has {} entries; it may have 1 to {CLIENTS}, or be null", ids.len());
        return refuse(RefusalCode::Invalid, "clientIds", message);
    }
    match clients::queries::all(&app.db, scope, ids).await? {
        Some(known) => {
            let ids: Vec<ClientId> = known.iter().map(|client| client.id).collect();
            Ok(serde_json::to_value(ids)?)
        }
        None => refuse(RefusalCode::NotFound, "clientIds", "clientIds names a client that you do not have"),
    }
}

fn types_json(field: &str, types: Vec<EventType>) -> Outcome<serde_json::Value> {
    if types.is_empty() {
        return refuse(RefusalCode::Invalid, field, format!("{field} is empty; leave it out for all types"));
    }
    let types: BTreeSet<EventType> = types.into_iter().collect();
    Ok(serde_json::to_value(types)?)
}

async fn write(
    app: &App,
    id: WebhookEndpointId,
    change: webhook_endpoint::ActiveModel,
) -> Outcome<webhook_endpoint::Model> {
    let row = changed(app.db.write(), id, change).await?;
    app.webhooks_wake.notify_one();
    Ok(row)
}

/// Changes the row of an endpoint that came through the scope, so that whoever delivers hears of it.
async fn changed<C: Sql>(
    connection: &C,
    id: WebhookEndpointId,
    change: webhook_endpoint::ActiveModel,
) -> Outcome<webhook_endpoint::Model> {
    use webhook_endpoint::Column;
    #[expect(clippy::disallowed_methods, reason = "its id came through the scope")]
    let rows = webhook_endpoint::Entity::update_many()
        .set(change)
        .col_expr(Column::Version, Expr::col(Column::Version).add(1))
        .filter(Column::Id.eq(id))
        .filter(Column::DeletedAt.is_null())
        .write_and_tell(connection)
        .await
        .map_err(key_is_taken)?;
    match rows.into_iter().next() {
        Some(row) => Ok(row),
        None => refuse(RefusalCode::NotFound, "endpointId", "there is no such endpoint"),
    }
}

/// One endpoint a partner gets the clients' keys.
fn key_is_taken(error: DbErr) -> Failure {
    if db::is_taken(&error) {
        let message = "another endpoint of yours gets the clients' keys already; only one does";
        return Refusal::new(RefusalCode::Invalid, "includeClientKey", message).into();
    }
    error.into()
}

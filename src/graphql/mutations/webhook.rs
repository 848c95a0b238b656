//! Mutations of webhook endpoints.

use std::sync::Arc;

use async_graphql::{Context, InputObject, MaybeUndefined, SimpleObject};
use entity::{ClientId, WebhookEndpointId, webhook_endpoint};
use secrecy::{ExposeSecret, SecretString};

use super::client::cursor;
use crate::auth::Permission;
use crate::failure::Outcome;
use crate::graphql::context::ContextExt;
use crate::graphql::error::{Result, UserError, settle};
use crate::graphql::scalars::{DateTime, EventCursor, Given};
use crate::graphql::types::WebhookEndpoint;
use crate::graphql::types::enums::EventType;
use crate::webhooks::endpoints::{self, Part, Wanted};

/// A new endpoint. It gets what happens from now on.
#[derive(Debug, InputObject)]
pub struct CreateWebhookEndpointInput {
    /// Where to post: https, at most 2,048 bytes, without user and password, at a public address. In development http and
    /// this machine are allowed too.
    pub url: String,
    /// For people, at most 500 characters.
    pub description: Option<String>,
    /// Only events of these types. Null: of all, later ones too.
    pub event_types: Option<Vec<EventType>>,
    /// Only events of these clients, at most 100. Null: of all, later ones too, and what concerns you alone.
    pub client_ids: Option<Vec<Given<ClientId>>>,
    /// CLIENT_CONNECTED carries a key of the client, with the scopes READ and SEND: one endpoint of yours can ask for it.
    #[graphql(default)]
    pub include_client_key: bool,
    /// Events of one client may come in any order, many at once.
    #[graphql(default)]
    pub parallel: bool,
}

/// What an endpoint shall be. What is left out stays as it is.
#[derive(Debug, InputObject)]
pub struct UpdateWebhookEndpointInput {
    /// The endpoint.
    pub endpoint_id: Given<WebhookEndpointId>,
    /// Where to post.
    pub url: Option<String>,
    /// For people, at most 500 characters. Null: none.
    pub description: MaybeUndefined<String>,
    /// Only events of these types. Null: of all.
    pub event_types: MaybeUndefined<Vec<EventType>>,
    /// Only events of these clients, at most 100. Null: of all.
    pub client_ids: MaybeUndefined<Vec<Given<ClientId>>>,
    /// Whether CLIENT_CONNECTED carries a key of the client.
    pub include_client_key: Option<bool>,
    /// Whether events of one client may come in any order.
    pub parallel: Option<bool>,
    /// Off: nothing is posted, and what happens waits in the stream. On: it goes on from there.
    pub enabled: Option<bool>,
}

/// Which endpoint.
#[derive(Debug, InputObject)]
pub struct WebhookEndpointInput {
    /// The endpoint.
    pub endpoint_id: Given<WebhookEndpointId>,
}

/// Which part of the stream an endpoint gets once more. All conditions hold at once.
#[derive(Debug, InputObject)]
pub struct ReplayWebhooksInput {
    /// The endpoint.
    pub endpoint_id: Given<WebhookEndpointId>,
    /// Only what happened at this instant or later. Null: from the oldest entry kept, or from `after`.
    pub since: Option<DateTime>,
    /// Only what happened before this instant. Null: up to now.
    pub until: Option<DateTime>,
    /// Only what follows this place.
    pub after: Option<EventCursor>,
    /// Only what lies up to this place, itself included. Null: up to now.
    pub up_to: Option<EventCursor>,
    /// Only of these types. Null: of all that the endpoint gets.
    pub types: Option<Vec<EventType>>,
}

/// An endpoint, after a mutation.
#[derive(SimpleObject)]
pub struct WebhookEndpointPayload {
    /// The endpoint. Null: the mutation was refused.
    endpoint: Option<WebhookEndpoint>,
    /// What signatures are made with, shown this once. Null: no new one was drawn.
    secret: Option<String>,
    /// Where the stream shows what was changed. Null: nothing was told.
    event_cursor: Option<EventCursor>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// A replay, after it was asked for.
#[derive(SimpleObject)]
pub struct ReplayWebhooksPayload {
    /// The endpoint. Null: the mutation was refused.
    endpoint: Option<WebhookEndpoint>,
    /// The place up to which is replayed. Null: the mutation was refused.
    up_to: Option<EventCursor>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

fn payload(
    outcome: Outcome<(webhook_endpoint::Model, Option<SecretString>)>,
) -> Result<WebhookEndpointPayload> {
    let (done, user_errors) = settle(outcome)?;
    let (endpoint, secret) = done.unzip();
    Ok(WebhookEndpointPayload {
        endpoint: endpoint.map(|row| WebhookEndpoint(Arc::new(row))),
        secret: secret.flatten().map(|secret| secret.expose_secret().to_owned()),
        event_cursor: None,
        user_errors,
    })
}

fn clients(given: Option<Vec<Given<ClientId>>>) -> Outcome<Option<Vec<ClientId>>> {
    given.map(|ids| ids.into_iter().map(|id| id.of("clientIds")).collect()).transpose()
}

fn types(given: Option<Vec<EventType>>) -> Option<Vec<entity::EventType>> {
    given.map(|types| types.into_iter().map(Into::into).collect())
}

/// Makes an endpoint.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn create(ctx: &Context<'_>, input: CreateWebhookEndpointInput) -> Result<WebhookEndpointPayload> {
    let CreateWebhookEndpointInput {
        url,
        description,
        event_types,
        client_ids,
        include_client_key,
        parallel,
    } = input;
    let outcome = async {
        ctx.scope().require(Permission::Admin)?;
        let wanted = Wanted {
            url: Some(url),
            description: Some(description),
            event_types: Some(types(event_types)),
            clients: Some(clients(client_ids)?),
            include_client_key: Some(include_client_key),
            parallel: Some(parallel),
            enabled: None,
        };
        let (row, secret) = Box::pin(endpoints::create(ctx.app(), ctx.scope(), wanted)).await?;
        Ok((row, Some(secret)))
    };
    payload(outcome.await)
}

/// Changes an endpoint.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn update(ctx: &Context<'_>, input: UpdateWebhookEndpointInput) -> Result<WebhookEndpointPayload> {
    let UpdateWebhookEndpointInput {
        endpoint_id,
        url,
        description,
        event_types,
        client_ids,
        include_client_key,
        parallel,
        enabled,
    } = input;
    let outcome = async {
        ctx.scope().require(Permission::Admin)?;
        let id = endpoint_id.of("endpointId")?;
        let wanted = Wanted {
            url,
            description: given(description),
            event_types: given(event_types).map(types),
            clients: given(client_ids).map(clients).transpose()?,
            include_client_key,
            parallel,
            enabled,
        };
        let row = Box::pin(endpoints::update(ctx.app(), ctx.scope(), id, wanted)).await?;
        Ok((row, None))
    };
    payload(outcome.await)
}

fn given<T>(value: MaybeUndefined<T>) -> Option<Option<T>> {
    match value {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}

/// Ends an endpoint.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn delete(ctx: &Context<'_>, input: WebhookEndpointInput) -> Result<WebhookEndpointPayload> {
    let outcome = async {
        ctx.scope().require(Permission::Admin)?;
        let id = input.endpoint_id.of("endpointId")?;
        Ok((Box::pin(endpoints::delete(ctx.app(), ctx.scope(), id)).await?, None))
    };
    payload(outcome.await)
}

/// Draws a new secret.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn rotate(ctx: &Context<'_>, input: WebhookEndpointInput) -> Result<WebhookEndpointPayload> {
    let outcome = async {
        ctx.scope().require(Permission::Admin)?;
        let id = input.endpoint_id.of("endpointId")?;
        let (row, secret) = Box::pin(endpoints::rotate_secret(ctx.app(), ctx.scope(), id)).await?;
        Ok((row, Some(secret)))
    };
    payload(outcome.await)
}

/// Sends a TEST event.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn send_test(ctx: &Context<'_>, input: WebhookEndpointInput) -> Result<WebhookEndpointPayload> {
    let mut told = None;
    let outcome = async {
        ctx.scope().require(Permission::Admin)?;
        let id = input.endpoint_id.of("endpointId")?;
        let (row, position) = Box::pin(endpoints::send_test(ctx.app(), ctx.scope(), id)).await?;
        told = Some(position);
        Ok((row, None))
    };
    let payload = payload(outcome.await)?;
    Ok(WebhookEndpointPayload { event_cursor: told.map(|position| cursor(ctx, position)), ..payload })
}

/// Sends a part of the stream once more.
///
/// # Errors
/// FORBIDDEN, BAD_USER_INPUT, CURSOR_EXPIRED, UNAVAILABLE.
pub async fn replay(ctx: &Context<'_>, input: ReplayWebhooksInput) -> Result<ReplayWebhooksPayload> {
    let ReplayWebhooksInput { endpoint_id, since, until, after, up_to, types: only } = input;
    let (app, scope) = (ctx.app(), ctx.scope());
    scope.require(Permission::Admin)?;
    let [after, up_to] = [&after, &up_to].map(|place| place.as_ref().map(|cursor| cursor.0.as_str()));
    let part = Part::between(app, scope, after, up_to).await?;
    let part = Part { since: since.map(|at| at.0), until: until.map(|at| at.0), types: types(only), ..part };
    let until_position = part.until_position;
    let outcome = async {
        let id = endpoint_id.of("endpointId")?;
        Box::pin(endpoints::replay(app, scope, id, part)).await
    };
    let (done, user_errors) = settle(outcome.await)?;
    let up_to = done.as_ref().map(|_| cursor(ctx, until_position));
    Ok(ReplayWebhooksPayload { endpoint: done.map(|row| WebhookEndpoint(Arc::new(row))), up_to, user_errors })
}

//! Mutations of a client.

use std::sync::Arc;

use async_graphql::{Context, InputObject, SimpleObject};
use entity::{ClientId, client};

use crate::failure::Outcome;
use crate::graphql::context::ContextExt;
use crate::graphql::error::{Result, UserError, settle};
use crate::graphql::scalars::{EventCursor, Given, Url};
use crate::graphql::types::{Client, SyncProgress};
use crate::{clients, presence, sync};

/// Which client.
#[derive(Debug, InputObject)]
pub struct ClientInput {
    /// The client.
    pub client_id: Given<ClientId>,
}

/// A client's profile. What is left out stays as it is.
#[derive(Debug, InputObject)]
pub struct UpdateProfileInput {
    /// The client.
    pub client_id: Given<ClientId>,
    /// The name that customers see: changed in WhatsApp Manager, never here.
    pub display_name: Option<String>,
    /// The line beside the name, at most 139 characters.
    pub about: Option<String>,
    /// What the business does, at most 512 characters.
    pub description: Option<String>,
    /// Where it is, at most 256 characters.
    pub address: Option<String>,
    /// Its mail address, at most 128 characters.
    pub email: Option<String>,
    /// Its websites, two at most.
    pub websites: Option<Vec<Url>>,
}

/// A client, after a mutation.
#[derive(SimpleObject)]
pub struct ClientPayload {
    /// The client. Null: the mutation was refused.
    client: Option<Client>,
    /// Where the stream shows what was changed. Null: nothing was told.
    event_cursor: Option<EventCursor>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// An import, after it was asked for.
#[derive(SimpleObject)]
pub struct SyncPayload {
    /// The client. Null: the mutation was refused.
    client: Option<Client>,
    /// The import. Null: the mutation was refused.
    sync: Option<SyncProgress>,
    /// Where the stream shows what was changed. Null: the mutation was refused.
    event_cursor: Option<EventCursor>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// Asks WhatsApp for an import.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn request_sync(
    ctx: &Context<'_>,
    input: ClientInput,
    kind: entity::SyncKind,
) -> Result<SyncPayload> {
    let outcome = async {
        let client = input.client_id.of("clientId")?;
        Box::pin(sync::request(ctx.app(), ctx.scope(), client, kind)).await
    };
    let (done, user_errors) = settle(outcome.await)?;
    let Some((row, position)) = done else {
        return Ok(SyncPayload { client: None, sync: None, event_cursor: None, user_errors });
    };
    let client = Client(Arc::new(row));
    let sync = Some(client.sync(ctx, kind).await?);
    Ok(SyncPayload { client: Some(client), sync, event_cursor: Some(cursor(ctx, position)), user_errors })
}

/// A person says that the app was opened.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn confirm_app_visit(ctx: &Context<'_>, input: ClientInput) -> Result<ClientPayload> {
    let outcome = async {
        let client = input.client_id.of("clientId")?;
        Box::pin(presence::confirm_visit(ctx.app(), ctx.scope(), client)).await
    };
    after(ctx, outcome.await)
}

/// Lets a paused client send again.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn resume(ctx: &Context<'_>, input: ClientInput) -> Result<ClientPayload> {
    let outcome = async {
        let client = input.client_id.of("clientId")?;
        Box::pin(clients::connection::resume(ctx.app(), ctx.scope(), client)).await
    };
    after(ctx, outcome.await)
}

/// Ends a client's connection.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn disconnect(ctx: &Context<'_>, input: ClientInput) -> Result<ClientPayload> {
    let outcome = async {
        let client = input.client_id.of("clientId")?;
        Box::pin(clients::connection::disconnect(ctx.app(), ctx.scope(), client)).await
    };
    after(ctx, outcome.await)
}

fn after(ctx: &Context<'_>, outcome: Outcome<(client::Model, i64)>) -> Result<ClientPayload> {
    let (done, user_errors) = settle(outcome)?;
    let (row, position) = done.unzip();
    Ok(ClientPayload {
        client: row.map(|row| Client(Arc::new(row))),
        event_cursor: position.map(|position| cursor(ctx, position)),
        user_errors,
    })
}

/// Changes the profile, where that can be done.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn update_profile(ctx: &Context<'_>, input: UpdateProfileInput) -> Result<ClientPayload> {
    let UpdateProfileInput { client_id, display_name, about, description, address, email, websites } = input;
    let websites = websites.map(|sites| sites.into_iter().map(|site| site.0).collect());
    let change = clients::profile::Change { display_name, about, description, address, email, websites };
    let outcome = async {
        let client = client_id.of("clientId")?;
        Box::pin(clients::update_profile(ctx.app(), ctx.scope(), client, &change)).await
    };
    let (row, user_errors) = settle(outcome.await)?;
    Ok(ClientPayload { client: row.map(|row| Client(Arc::new(row))), event_cursor: None, user_errors })
}

/// The cursor of a place in the caller's stream.
pub fn cursor(ctx: &Context<'_>, position: i64) -> EventCursor {
    EventCursor(ctx.app().cursor(ctx.scope().partner(), position))
}

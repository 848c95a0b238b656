//! Makes and deletes templates at WhatsApp.

use std::sync::Arc;

use entity::{ClientId, ClientStatus, TemplateId, Timestamp, client, template};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::state::{self, Owner};
use super::{DELETED, Draft, PENDING, changed, refresh};
use crate::app::App;
use crate::auth::{Permission, Scope};
use crate::clients::profile::asked;
use crate::clients::{Access, named, require_connected};
use crate::db::{SelectExt, Tx};
use crate::events;
use crate::failure::{Failure, Outcome, Refusal, RefusalCode};
use crate::upstream::meta::client::{CallError, MadeTemplate};

/// A template after it was made or deleted, and the place in the stream that tells of it.
pub type Done = (template::Model, i64);

/// Makes a template. WhatsApp reviews it, and tells what came of it later.
///
/// # Errors
/// NOT_FOUND, CLIENT_NOT_CONNECTED, INVALID, UPSTREAM_REJECTED; unavailable when nobody knows whether it was made: then the
/// list is read again, and shows it.
pub async fn create(app: &Arc<App>, scope: &Scope, client: ClientId, draft: Draft) -> Outcome<Done> {
    scope.require(Permission::Admin)?;
    let client = named(app, scope, client).await?;
    draft.check()?;
    let service = app.clone();
    app.tasks.to_its_end(async move { Box::pin(make(&service, client, &draft)).await }).await
}

async fn make(app: &App, client: client::Model, draft: &Draft) -> Outcome<Done> {
    let Access { account, token, .. } = access(app, &client)?;
    let asked_at = app.now();
    let made = app.upstream.create_template(&account, &token, &draft.wire()).await;
    let made = match made {
        Ok(made) => made,
        Err(error) => return Err(refused(app, client.id, error).await?),
    };
    let held = app.db.hold([client.id]).await;
    let tx = app.db.begin_for(&held).await?;
    let MadeTemplate { id, status, category } = made;
    // A webhook may have told of it before its own answer.
    let known = by_upstream_id(&tx, client.id, &id).await?;
    let owner = Owner { partner: client.partner_id, client: client.id, waba_id: &account };
    let now = app.now();
    let mut row = known.unwrap_or_else(|| state::blank(owner, &id, &draft.name, &draft.language, now));
    let stamp = asked(asked_at);
    state::set_status(&mut row, status.as_deref().unwrap_or(PENDING), None, stamp);
    state::set_category(&mut row, category.as_deref().unwrap_or(&draft.category), stamp);
    row.parameter_format = Some(draft.parameter_format().to_owned());
    // Words that are Meta's own are read from its list.
    row.components = draft.listed().or(row.components);
    row.changed_at = row.changed_at.max(now);
    let needs_words = row.components.is_none();
    let done = write(app, tx, &client, row, now).await?;
    drop(held);
    if needs_words {
        refresh::due(app, client.id, Timestamp(0)).await?;
    }
    Ok(done)
}

/// Deletes a template in its language. Asked twice, it is deleted once.
///
/// # Errors
/// NOT_FOUND, CLIENT_NOT_CONNECTED, UPSTREAM_REJECTED; unavailable when WhatsApp cannot be reached.
pub async fn delete(app: &Arc<App>, scope: &Scope, id: TemplateId) -> Outcome<Done> {
    scope.require(Permission::Admin)?;
    let (service, scope) = (app.clone(), scope.clone());
    app.tasks.to_its_end(async move { Box::pin(remove(&service, &scope, id)).await }).await
}

async fn remove(app: &App, scope: &Scope, id: TemplateId) -> Outcome<Done> {
    let not_found = || Refusal::new(RefusalCode::NotFound, "templateId", "There is no such template.");
    let row = scope
        .find::<template::Entity>()
        .filter(template::Column::Id.eq(id))
        .row(&app.db.reads())
        .await?
        .ok_or_else(not_found)?;
    if row.status == DELETED {
        let position = app.hub.head(scope.partner()).await?;
        return Ok((row, position));
    }
    let client = named(app, scope, row.client_id).await?;
    let Access { account, token, .. } = access(app, &client)?;
    if account != row.waba_id {
        return Err(not_found().into());
    }
    if let Err(error) = app.upstream.delete_template(&account, &token, &row.name, &row.upstream_id).await {
        return Err(refused(app, client.id, error).await?);
    }
    let held = app.db.hold([client.id]).await;
    let tx = app.db.begin_for(&held).await?;
    let now = app.now();
    let mut row = by_upstream_id(&tx, client.id, &row.upstream_id).await?.unwrap_or(row);
    // Our own doing: it holds over whatever was told of it before, also if WhatsApp's clock is ahead.
    let at = Ord::max(now, Timestamp(row.status_at.0.saturating_add(1)));
    state::set_status(&mut row, DELETED, None, at);
    row.changed_at = row.changed_at.max(now);
    write(app, tx, &client, row, now).await
}

async fn write(
    app: &App,
    tx: Tx,
    client: &client::Model,
    row: template::Model,
    now: Timestamp,
) -> Outcome<Done> {
    crate::db::upsert::<template::Entity, _>(&tx, vec![row.clone()]).await?;
    let heads = events::commit(&app.hub, tx, vec![changed(client, &row, now)]).await?;
    Ok((row, heads.get(&client.partner_id).copied().unwrap_or_default()))
}

/// The account of a client that has a connection, and what it takes to speak for it.
fn access(app: &App, client: &client::Model) -> Outcome<Access> {
    // Paused ones have a connection too.
    if client.status != ClientStatus::Paused {
        require_connected(client)?;
    }
    Ok(Access::of(&app.key, client)?)
}

/// Why it was not done. Where it may have been, the list is read again.
async fn refused(app: &App, client: ClientId, error: CallError) -> Outcome<Failure> {
    if let Some(refusal) = error.refusal().filter(|refusal| !refusal.is_retryable()) {
        return Ok(Refusal::new(RefusalCode::UpstreamRejected, "", refusal.to_string()).into());
    }
    if matches!(error, CallError::Unclear(_)) {
        refresh::due(app, client, Timestamp(0)).await?;
    }
    Ok(Failure::Unavailable(error.into()))
}

#[expect(clippy::disallowed_methods, reason = "of a client that came through Scope")]
async fn by_upstream_id(tx: &Tx, client: ClientId, id: &str) -> Outcome<Option<template::Model>> {
    Ok(template::Entity::find()
        .filter(template::Column::ClientId.eq(client))
        .filter(template::Column::UpstreamId.eq(id))
        .row(tx)
        .await?)
}

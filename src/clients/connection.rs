//! What a partner does to a connection: ends it, or lets a paused one go on.

use std::sync::Arc;

use entity::{ClientId, ClientStatus, EventType, client};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::disconnection::{self, Reason};
use super::{Access, named, require_connected};
use crate::app::App;
use crate::auth::{Permission, Scope};
use crate::db::{SelectExt, Tx};
use crate::events::{self, NewEvent};
use crate::failure::{Failure, Outcome, Refusal, RefusalCode, chain};
use crate::lanes;

/// The rank of a removal among the changes of an account, whoever removes: the last word of a connection, whatever WhatsApp
/// tells of it later.
pub const REMOVED: i32 = 3;

/// A paused client sends again: for whoever removed the cause. If it is still there, the next send pauses it again.
///
/// # Errors
/// NOT_FOUND, CLIENT_NOT_CONNECTED, INVALID when it is not paused.
pub async fn resume(app: &App, scope: &Scope, client: ClientId) -> Outcome<(client::Model, i64)> {
    scope.require(Permission::Admin)?;
    let id = named(app, scope, client).await?.id;
    let now = app.now();
    let held = app.db.hold([id]).await;
    let tx = app.db.begin_for(&held).await?;
    let mut row = held_row(&tx, id).await?;
    if row.status != ClientStatus::Paused {
        require_connected(&row)?;
        return Err(Refusal::new(RefusalCode::Invalid, "clientId", "The client is not paused.").into());
    }
    // The stamp of WhatsApp's last word stays: what it says after that still holds.
    row.status = ClientStatus::Connected;
    row.pause_reason = None;
    crate::db::upsert::<client::Entity, _>(&tx, vec![row.clone()]).await?;
    let told = NewEvent {
        partner: row.partner_id,
        kind: EventType::ClientResumed,
        occurred_at: now,
        client: Some(id),
        subject: None,
        data: None,
    };
    let heads = events::commit(&app.hub, tx, vec![told]).await?;
    app.lanes_wake.client(id);
    Ok((row.clone(), heads.get(&row.partner_id).copied().unwrap_or_default()))
}

/// Ends a connection: nothing more is sent or heard, what waits is canceled, the token is dropped. The app on the phone goes
/// on showing it until the client ends it there.
///
/// WhatsApp is told first, so that a failure changes nothing and can be tried again: without the token nobody could.
///
/// # Errors
/// NOT_FOUND, CLIENT_NOT_CONNECTED; unavailable when WhatsApp cannot be reached.
pub async fn disconnect(app: &Arc<App>, scope: &Scope, client: ClientId) -> Outcome<(client::Model, i64)> {
    scope.require(Permission::Admin)?;
    let (service, scope) = (app.clone(), scope.clone());
    app.tasks.to_its_end(async move { Box::pin(end(&service, &scope, client)).await }).await
}

async fn end(app: &App, scope: &Scope, client: ClientId) -> Outcome<(client::Model, i64)> {
    let row = named(app, scope, client).await?;
    require_connection(&row)?;
    let before = row.clone();
    let unsubscribed = unsubscribe(app, &row).await?;
    let (id, now) = (row.id, app.now());
    let held = app.db.hold([id]).await;
    let tx = app.db.begin_for(&held).await?;
    let mut row = held_row(&tx, id).await?;
    // Again: it may have ended by itself meanwhile.
    require_connection(&row)?;
    row.account_at = Ord::max(row.account_at, now.floor_second());
    row.account_rank = REMOVED;
    let data = disconnection::end(&mut row, now, &Reason::by_partner());
    crate::db::upsert::<client::Entity, _>(&tx, vec![row.clone()]).await?;
    let mut news = vec![NewEvent {
        partner: row.partner_id,
        kind: EventType::ClientDisconnected,
        occurred_at: now,
        client: Some(id),
        subject: None,
        data: Some(data),
    }];
    news.extend(lanes::cancel_all(&tx, id, now).await?);
    let heads = events::commit(&app.hub, tx, news).await?;
    drop(held);
    if unsubscribed {
        hears_still(app, &before).await?;
    }
    Ok((row.clone(), heads.get(&row.partner_id).copied().unwrap_or_default()))
}

/// Paused ones have a connection too.
fn require_connection(row: &client::Model) -> Outcome<()> {
    if row.status == ClientStatus::Paused { Ok(()) } else { require_connected(row) }
}

/// Whether somebody else's connected number lives in the client's account.
async fn is_shared(app: &App, row: &client::Model) -> Outcome<bool> {
    let Some(waba) = &row.waba_id else { return Ok(false) };
    #[expect(clippy::disallowed_methods, reason = "whether anybody shares the account, whoever it is")]
    let shared = client::Entity::find()
        .filter(client::Column::WabaId.eq(waba))
        .filter(client::Column::Id.ne(row.id))
        .filter(client::Column::Status.is_in([ClientStatus::Connected, ClientStatus::Paused]))
        .row(&app.db.reads())
        .await?;
    Ok(shared.is_some())
}

/// Somebody's number of the same account may have been connected while the subscription was ended: it is made again. Who is
/// connected later than this looks for themselves.
async fn hears_still(app: &App, before: &client::Model) -> Outcome<()> {
    let Ok(Access { account, token, .. }) = Access::of(&app.key, before) else { return Ok(()) };
    if !is_shared(app, before).await? {
        return Ok(());
    }
    if let Err(error) = app.upstream.subscribe(&account, &token).await {
        tracing::error!(
            error = chain(&error),
            account,
            "an account with a connected number may not be subscribed any more"
        );
    }
    Ok(())
}

/// Lets the app hear of the client's account no longer, unless somebody else's number lives in the same account. Says whether
/// it was asked for.
async fn unsubscribe(app: &App, row: &client::Model) -> Outcome<bool> {
    // Without a token WhatsApp cannot be told; the client is disconnected all the same.
    let Ok(Access { account, token, .. }) = Access::of(&app.key, row) else { return Ok(false) };
    if is_shared(app, row).await? {
        return Ok(false);
    }
    match app.upstream.unsubscribe(&account, &token).await {
        Ok(()) => Ok(true),
        Err(error) => match error.refusal() {
            // It no longer listens to us: there is nothing to end.
            Some(refusal) if !refusal.is_retryable() => {
                tracing::warn!(%refusal, "a client is disconnected whose account WhatsApp does not unsubscribe");
                Ok(false)
            }
            Some(_) | None => Err(Failure::Unavailable(error.into())),
        },
    }
}

async fn held_row(tx: &Tx, id: ClientId) -> Outcome<client::Model> {
    #[expect(clippy::disallowed_methods, reason = "its id came through Scope")]
    let row = client::Entity::find_by_id(id).row(tx).await?;
    row.ok_or_else(|| Refusal::new(RefusalCode::NotFound, "clientId", "there is no such client").into())
}

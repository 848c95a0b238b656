//! Reads the lists of clients' accounts: after each connection, now and then, and when a webhook told less than all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use entity::{ClientId, ClientStatus, Timestamp, client, template};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DatabaseBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::state::{self, Owner};
use super::{DELETED, changed};
use crate::app::App;
use crate::clients::Access;
use crate::clients::profile::asked;
use crate::db::{Reader, SelectExt, WriteExt};
use crate::events::{self, NewEvent};
use crate::failure::{Failure, Outcome};
use crate::ids::PublicId;
use crate::upstream::meta::client::Templates;

/// Clients whose lists are read in one round.
const ROUND: u64 = 10;
/// Lists that callers wait for at once: the rest waits for its turn.
const AT_ONCE: usize = 4;
/// Seconds until a list that could not be read is asked for again.
const RETRY: i64 = 60;
/// Templates that are gone and forgotten in one round.
const FORGET: u64 = 500;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// Bounds the lists that callers make us read.
pub struct Reads(tokio::sync::Semaphore);

impl Default for Reads {
    fn default() -> Self {
        Self(tokio::sync::Semaphore::new(AT_ONCE))
    }
}

/// Reads what is due, until the process ends.
pub async fn run(app: Arc<App>) {
    let every = Duration::from_secs(app.config.upkeep.interval_seconds);
    while !app.tasks.stopping().is_cancelled() {
        let done = async {
            forget(&app).await?;
            refresh_due(&app).await
        };
        if let Err(Failure::Internal(error) | Failure::Unavailable(error)) = done.await {
            tracing::warn!(%error, "templates cannot be looked after right now");
        }
        app.tasks.rest(every).await;
    }
}

async fn refresh_due(app: &App) -> Outcome<()> {
    #[expect(clippy::disallowed_methods, reason = "upkeep over all partners")]
    let due = client::Entity::find()
        .filter(client::Column::Status.is_in([ClientStatus::Connected, ClientStatus::Paused]))
        .filter(client::Column::TemplatesDueAt.lte(app.now()))
        .order_by_asc(client::Column::TemplatesDueAt)
        .limit(ROUND)
        .rows(&app.db.reads())
        .await?;
    for client in due {
        if app.tasks.stopping().is_cancelled() {
            break;
        }
        match refresh(app, &client).await {
            Err(Failure::Unavailable(error)) => {
                let error = format!("{error:#}");
                tracing::warn!(client = %client.id.public(), error, "a client's templates cannot be read right now");
            }
            done => done?,
        }
    }
    Ok(())
}

/// Makes sure that a client's templates were read since it was connected. The first one who needs them waits.
///
/// # Errors
/// Unavailable, when WhatsApp does not give them right now.
pub async fn ensure(app: &App, client: &client::Model) -> Outcome<()> {
    let connected = matches!(client.status, ClientStatus::Connected | ClientStatus::Paused);
    if client.templates_at != Timestamp(0) || !connected {
        return Ok(());
    }
    let _permit = app.template_reads.0.acquire().await.map_err(|error| Failure::Internal(error.into()))?;
    // Somebody else may have had them read meanwhile.
    let Some(client) = by_id(app, client.id).await? else { return Ok(()) };
    if client.templates_at != Timestamp(0) {
        return Ok(());
    }
    if client.templates_due_at > app.now() {
        let error = anyhow::anyhow!("WhatsApp did not tell the client's templates a moment ago");
        return Err(Failure::Unavailable(error));
    }
    refresh(app, &client).await
}

async fn by_id(app: &App, id: ClientId) -> Outcome<Option<client::Model>> {
    #[expect(clippy::disallowed_methods, reason = "a client that came through Scope, by its id")]
    Ok(client::Entity::find_by_id(id).row(&app.db.reads()).await?)
}

/// Reads a client's list and keeps it.
///
/// # Errors
/// Unavailable, when WhatsApp does not give it right now; then it is asked again in a minute.
pub async fn refresh(app: &App, of: &client::Model) -> Outcome<()> {
    let asked_at = app.now();
    let listed = match Access::of(&app.key, of) {
        Ok(access) => app.upstream.templates(&access.account, &access.token).await.map_err(Into::into),
        Err(error) => Err(error.into()),
    };
    match listed {
        Ok(listed) => keep(app, of, asked_at, &listed).await,
        Err(error) => {
            due(app, of.id, asked_at.plus_seconds(RETRY)).await?;
            Err(Failure::Unavailable(error))
        }
    }
}

/// When a list that WhatsApp contradicts is read again: as soon as can be, but not again and again.
pub(crate) fn soonest(of: &client::Model) -> Timestamp {
    of.templates_at.plus_seconds(RETRY)
}

/// A client's list is to be read then.
pub(super) async fn due(app: &App, client: ClientId, at: Timestamp) -> Outcome<()> {
    let held = app.db.hold([client]).await;
    let tx = app.db.begin_for(&held).await?;
    #[expect(clippy::disallowed_methods, reason = "the client whose list cannot be read, by its id")]
    client::Entity::update_many()
        .col_expr(client::Column::TemplatesDueAt, Expr::value(at))
        .filter(client::Column::Id.eq(client))
        .put(&tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

/// Keeps a list, and tells what differs. Of the first list after a connection what is new is not told: it is no news.
async fn keep(app: &App, of: &client::Model, asked_at: Timestamp, listed: &Templates) -> Outcome<()> {
    let held = app.db.hold([of.id]).await;
    // On SQLite everything is read and reckoned before the one writer is taken.
    let early = match app.db.backend() {
        DatabaseBackend::Sqlite => None,
        _ => Some(app.db.begin_for(&held).await?),
    };
    let reads = early.as_ref().map_or(app.db.reads(), Reader::Within);
    #[expect(clippy::disallowed_methods, reason = "the client whose list was read")]
    let Some(mut client) = client::Entity::find_by_id(of.id).row(&reads).await? else { return Ok(()) };
    let Some(waba) = client.waba_id.clone().filter(|waba| Some(waba) == of.waba_id.as_ref()) else {
        return Ok(());
    };
    #[expect(clippy::disallowed_methods, reason = "the templates of the client whose list was read")]
    let rows = template::Entity::find().filter(template::Column::ClientId.eq(client.id)).rows(&reads).await?;
    let is_first = client.templates_at == Timestamp(0);
    let owner = Owner { partner: client.partner_id, client: client.id, waba_id: &waba };
    let Compared { rows, news, doubts } = compare(&client, owner, rows, listed, asked_at, is_first);
    // Whoever made it due meanwhile wants another look.
    if client.templates_due_at == of.templates_due_at {
        let wait = if doubts { RETRY } else { app.config.templates.refresh_hours.saturating_mul(HOUR) };
        client.templates_due_at = asked_at.plus_seconds(wait);
    }
    client.templates_at = asked_at;
    let tx = match early {
        Some(tx) => tx,
        None => app.db.begin_for(&held).await?,
    };
    crate::db::upsert::<template::Entity, _>(&tx, rows).await?;
    crate::db::upsert::<client::Entity, _>(&tx, vec![client]).await?;
    events::commit(&app.hub, tx, news).await?;
    Ok(())
}

/// What a list changes.
#[derive(Default)]
struct Compared {
    rows: Vec<template::Model>,
    news: Vec<NewEvent>,
    /// Something is not in the list of which we heard after it was asked for: it is gone, or too new.
    doubts: bool,
}

/// The rows that a list changes, and what is told of it.
fn compare(
    client: &client::Model,
    owner: Owner<'_>,
    rows: Vec<template::Model>,
    listed: &Templates,
    asked_at: Timestamp,
    is_first: bool,
) -> Compared {
    let stamp = asked(asked_at);
    let mut known: HashMap<String, template::Model> =
        rows.into_iter().map(|row| (row.upstream_id.clone(), row)).collect();
    let Compared { rows: mut written, mut news, mut doubts } = Compared::default();
    for told in &listed.all {
        let before = known.remove(&told.id);
        let is_new = before.is_none();
        let mut row = before
            .clone()
            .unwrap_or_else(|| state::blank(owner, &told.id, &told.name, &told.language, asked_at));
        owner.waba_id.clone_into(&mut row.waba_id);
        if state::take_listed(&mut row, told, stamp) {
            row.changed_at = row.changed_at.max(asked_at);
            if !(is_new && is_first) {
                news.push(changed(client, &row, asked_at));
            }
        }
        if before.as_ref() != Some(&row) {
            written.push(row);
        }
    }
    // What a whole list does not show is gone, unless it was made after it was asked for.
    let missing = known.into_values().filter(|row| listed.complete && row.status != DELETED);
    for mut row in missing {
        if row.created_at <= asked_at && state::set_status(&mut row, DELETED, None, stamp) {
            row.changed_at = row.changed_at.max(asked_at);
            news.push(changed(client, &row, asked_at));
            written.push(row);
        } else {
            doubts = true;
        }
    }
    Compared { rows: written, news, doubts }
}

/// Forgets templates that were gone before the oldest event that may tell of them.
async fn forget(app: &App) -> Outcome<()> {
    let before = app.now().plus_seconds(-app.config.events.keep_days * DAY);
    #[expect(clippy::disallowed_methods, reason = "upkeep over all partners")]
    let gone: Vec<entity::TemplateId> = template::Entity::find()
        .select_only()
        .column(template::Column::Id)
        .filter(template::Column::Status.eq(DELETED))
        .filter(template::Column::StatusAt.lt(before))
        .filter(template::Column::CreatedAt.lt(before))
        .limit(FORGET)
        .into_tuple()
        .all(app.db.read())
        .await?;
    if gone.is_empty() {
        return Ok(());
    }
    #[expect(clippy::disallowed_methods, reason = "upkeep over all partners")]
    template::Entity::delete_many()
        .filter(template::Column::Id.is_in(gone))
        .filter(template::Column::Status.eq(DELETED))
        .put(app.db.write())
        .await?;
    Ok(())
}

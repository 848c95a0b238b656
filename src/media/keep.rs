//! Rows of files and of bytes: how they come, are shared and go.
//!
//! Bytes have a row from before their first byte is written, free from the beginning: if the process dies they go by
//! themselves. They are in use from the transaction in which a file refers to them. Files that are the same share them: who
//! comes second finds the first one's by their hash, and lets its own go.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use entity::{BlobId, ClientId, MediaId, MediaState, MessageId, PartnerId, Timestamp, blob, media, message};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseBackend, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect, Statement,
};
use serde_json::Value;

use super::kinds;
use super::store::Written;
use crate::app::App;
use crate::clock::Clock;
use crate::db::{SelectExt, Sql, Tx, UpdateExt, WriteExt};
use crate::ids::PublicId;

/// How long WhatsApp's id of a file that came in lives, seconds.
const UPSTREAM_KEEPS: i64 = 7 * 86_400;
/// Bytes that are being written are free only so long after the longest transfer, seconds.
const GRACE: i64 = 3_600;
/// Rows in one statement, and removed at a time.
const AT_ONCE: usize = 200;
/// Between two looks at what is to go.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks at how much each partner has, seconds.
const MINUTE: i64 = 60;

/// Before bytes are written: their row, by whose id they are written.
///
/// # Errors
/// When the database refuses or is away.
pub async fn begin(app: &App) -> Result<BlobId, DbErr> {
    let now = Clock::real_now();
    let longest = i64::try_from(app.config.media.timeout_seconds).unwrap_or(i64::MAX).saturating_add(GRACE);
    let row = blob::Model {
        id: BlobId::generate(),
        sha256: None,
        size_bytes: 0,
        free_at: Some(now.plus_seconds(longest)),
        created_at: now,
    };
    let id = row.id;
    blob::Entity::insert(row.into_active_model().reset_all()).put(app.db.write()).await?;
    Ok(id)
}

/// Bytes that are not needed after all go with the next round.
///
/// # Errors
/// When the database refuses or is away: then they go later.
#[expect(clippy::disallowed_methods, reason = "bytes that nobody refers to, by the id that they were given")]
pub async fn abandon(app: &App, id: BlobId) -> Result<(), DbErr> {
    blob::Entity::update_many()
        .col_expr(blob::Column::FreeAt, Expr::value(Clock::real_now()))
        .filter(blob::Column::Id.eq(id))
        .filter(blob::Column::FreeAt.is_not_null())
        .put(app.db.write())
        .await?;
    Ok(())
}

/// After bytes were written: in use, by the file that this transaction writes. Gives the id that the file shall refer to:
/// theirs, or that of the same bytes that were here before.
///
/// # Errors
/// When the database refuses or is away.
#[expect(clippy::disallowed_methods, reason = "bytes belong to nobody: they are found by their hash")]
pub async fn settle(tx: &Tx, id: BlobId, written: &Written) -> Result<BlobId, DbErr> {
    one_at_a_time(tx, &written.sha256).await?;
    let same = blob::Entity::update_many()
        .col_expr(blob::Column::FreeAt, Expr::value(Option::<Timestamp>::None))
        .filter(blob::Column::Sha256.eq(written.sha256.clone()))
        .write_and_tell(tx)
        .await?;
    if let Some(known) = same.into_iter().next() {
        blob::Entity::update_many()
            .col_expr(blob::Column::FreeAt, Expr::value(Clock::real_now()))
            .filter(blob::Column::Id.eq(id))
            .put(tx)
            .await?;
        return Ok(known.id);
    }
    blob::Entity::update_many()
        .col_expr(blob::Column::FreeAt, Expr::value(Option::<Timestamp>::None))
        .col_expr(blob::Column::Sha256, Expr::value(written.sha256.clone()))
        .col_expr(blob::Column::SizeBytes, Expr::value(i64::try_from(written.size).unwrap_or(i64::MAX)))
        .filter(blob::Column::Id.eq(id))
        .put(tx)
        .await?;
    Ok(id)
}

/// Of the same bytes only one transaction settles at a time: SQLite has one writer, Postgres a lock.
async fn one_at_a_time(tx: &Tx, sha256: &str) -> Result<(), DbErr> {
    let backend = tx.backend();
    if backend == DatabaseBackend::Sqlite {
        return Ok(());
    }
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    tx.put(Statement::from_sql_and_values(backend, sql, [sha256.into()])).await?;
    Ok(())
}

/// The file that a message speaks of, to be fetched; none if there is nothing to fetch it by.
pub fn of_message(message: &message::Model, now: Timestamp) -> Option<media::Model> {
    let content = &message.content;
    if content.get("kind").and_then(Value::as_str) != Some("media") {
        return None;
    }
    let text = |name: &str| content.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(media::Model {
        id: MediaId::generate(),
        partner_id: message.partner_id,
        client_id: message.client_id,
        message_id: Some(message.id),
        upstream_id: Some(text("upstreamId")?),
        upstream_until: now.plus_seconds(UPSTREAM_KEEPS),
        state: MediaState::Pending,
        imported: message.imported,
        mime_type: text("mimeType").as_deref().and_then(kinds::essence),
        filename: text("filename"),
        blob_id: None,
        size_bytes: 0,
        attempts: 0,
        next_try_at: now,
        claimed_until: Timestamp(0),
        error: None,
        used_at: now,
        created_at: now,
    })
}

/// Writes files that messages speak of; one that is known under the same id stays as it is.
///
/// # Errors
/// When the database refuses or is away.
pub async fn tell_of<C: Sql>(tx: &C, rows: Vec<media::Model>) -> Result<(), DbErr> {
    for chunk in rows.chunks(AT_ONCE) {
        let rows = chunk.iter().cloned().map(|row| row.into_active_model().reset_all());
        let known = OnConflict::new().do_nothing().to_owned();
        media::Entity::insert_many(rows).on_conflict(known).put(tx).await?;
    }
    Ok(())
}

/// Two messages proved to be one: so are their files.
///
/// # Errors
/// When the database refuses or is away.
#[expect(clippy::disallowed_methods, reason = "the files of two messages that the engine merges")]
pub async fn merge<C: Sql>(tx: &C, stays: MessageId, gone: MessageId) -> Result<(), DbErr> {
    let known = Query::select()
        .column(media::Column::UpstreamId)
        .from(media::Entity)
        .and_where(media::Column::MessageId.eq(stays))
        .to_owned();
    let doubles = media::Entity::find()
        .filter(media::Column::MessageId.eq(gone))
        .filter(media::Column::UpstreamId.in_subquery(known))
        .rows(tx)
        .await?;
    release(tx, &doubles).await?;
    let doubles = doubles.into_iter().map(|row| row.id);
    media::Entity::delete_many().filter(media::Column::Id.is_in(doubles)).put(tx).await?;
    media::Entity::update_many()
        .col_expr(media::Column::MessageId, Expr::value(stays))
        .filter(media::Column::MessageId.eq(gone))
        .put(tx)
        .await?;
    Ok(())
}

/// Messages were deleted for everyone: so are their files.
///
/// # Errors
/// When the database refuses or is away.
pub async fn let_go<C: Sql>(tx: &C, messages: &BTreeSet<MessageId>) -> Result<(), DbErr> {
    let messages: Vec<MessageId> = messages.iter().copied().collect();
    for chunk in messages.chunks(AT_ONCE) {
        #[expect(clippy::disallowed_methods, reason = "the files of messages that the engine deletes")]
        let rows = media::Entity::find()
            .filter(media::Column::MessageId.is_in(chunk.iter().copied()))
            .rows(tx)
            .await?;
        release(tx, &rows).await?;
    }
    Ok(())
}

/// Takes files their bytes; those that no other file refers to are free.
#[expect(clippy::disallowed_methods, reason = "rows that the caller names, of whichever partner")]
async fn release<C: Sql>(tx: &C, rows: &[media::Model]) -> Result<(), DbErr> {
    if rows.is_empty() {
        return Ok(());
    }
    media::Entity::update_many()
        .col_expr(media::Column::State, Expr::value(MediaState::Expired))
        .col_expr(media::Column::BlobId, Expr::value(Option::<BlobId>::None))
        .filter(media::Column::Id.is_in(rows.iter().map(|row| row.id)))
        .put(tx)
        .await?;
    let blobs: BTreeSet<BlobId> = rows.iter().filter_map(|row| row.blob_id).collect();
    if blobs.is_empty() {
        return Ok(());
    }
    blob::Entity::update_many()
        .col_expr(blob::Column::FreeAt, Expr::value(Clock::real_now()))
        .filter(blob::Column::Id.is_in(blobs))
        .filter(blob::Column::FreeAt.is_null())
        .filter(Expr::exists(references()).not())
        .put(tx)
        .await?;
    Ok(())
}

/// Files that refer to the bytes of the statement around it.
fn references() -> sea_orm::sea_query::SelectStatement {
    Query::select()
        .expr(Expr::val(1))
        .from(media::Entity)
        .and_where(Expr::col((media::Entity, media::Column::BlobId)).equals((blob::Entity, blob::Column::Id)))
        .to_owned()
}

/// Removes what is to go, until the process ends.
pub async fn run(app: Arc<App>) {
    let mut counted = None;
    while !app.tasks.stopping().is_cancelled() {
        if let Err(error) = round(&app, &mut counted).await {
            let error = format!("{error:#}");
            tracing::warn!(error, "files that are to go cannot be removed right now");
        }
        app.tasks.rest(LOOK).await;
    }
}

/// One round: files that are too old, once a minute those beyond a partner's limit, and bytes that nobody refers to; a
/// bounded number of each. `counted`: when partners were looked at last, by the service's clock.
///
/// # Errors
/// When the database or the store is away.
pub async fn round(app: &App, counted: &mut Option<Timestamp>) -> anyhow::Result<()> {
    let (now, config) = (app.now(), &app.config.media);
    if config.keep_days > 0 {
        too_old(app, now.plus_seconds(-config.keep_days.saturating_mul(86_400))).await?;
    }
    if config.partner_bytes > 0 && counted.is_none_or(|at| now >= at.plus_seconds(MINUTE)) {
        too_much(app, config.partner_bytes).await?;
        *counted = Some(now);
    }
    remove_free(app).await
}

async fn too_old(app: &App, before: Timestamp) -> Result<(), DbErr> {
    #[expect(clippy::disallowed_methods, reason = "upkeep of all partners' files, by age")]
    let rows = media::Entity::find()
        .filter(media::Column::State.eq(MediaState::Ready))
        .filter(media::Column::UsedAt.lt(before))
        .order_by_asc(media::Column::UsedAt)
        .limit(AT_ONCE as u64)
        .rows(&app.db.reads())
        .await?;
    expire(app, &rows).await
}

/// The oldest files of partners that have more than they may.
async fn too_much(app: &App, most: i64) -> Result<(), DbErr> {
    let backend = app.db.backend();
    let sql = "SELECT partner_id, CAST(SUM(size_bytes) AS bigint) AS bytes FROM media WHERE state = 'READY' \
         GROUP BY partner_id HAVING SUM(size_bytes) > $1";
    let over = app.db.read();
    let over = over.query_all_raw(Statement::from_sql_and_values(backend, sql, [most.into()])).await?;
    for row in over {
        let partner = PartnerId(row.try_get("", "partner_id")?);
        let mut excess = row.try_get::<i64>("", "bytes")? - most;
        while excess > 0 {
            #[expect(clippy::disallowed_methods, reason = "upkeep of one partner's files, by age")]
            let oldest = media::Entity::find()
                .filter(media::Column::PartnerId.eq(partner))
                .filter(media::Column::State.eq(MediaState::Ready))
                .order_by_asc(media::Column::UsedAt)
                .limit(AT_ONCE as u64)
                .rows(&app.db.reads())
                .await?;
            let mut going = Vec::new();
            for row in oldest {
                if excess <= 0 {
                    break;
                }
                excess -= row.size_bytes;
                going.push(row);
            }
            if going.is_empty() {
                break;
            }
            expire(app, &going).await?;
        }
        tracing::info!(partner.id = %partner.public(), "a partner's oldest files were removed: media.partner_bytes");
    }
    Ok(())
}

async fn expire(app: &App, rows: &[media::Model]) -> Result<(), DbErr> {
    if rows.is_empty() {
        return Ok(());
    }
    let tx = app.db.begin_write().await?;
    release(&tx, rows).await?;
    tx.commit().await
}

/// Bytes that are free go in three steps, each of which can be done again: nobody finds them any more, they are gone, so is
/// their row.
#[expect(clippy::disallowed_methods, reason = "bytes that nobody refers to belong to nobody")]
async fn remove_free(app: &App) -> anyhow::Result<()> {
    let now = Clock::real_now();
    let free: Vec<BlobId> = blob::Entity::find()
        .select_only()
        .column(blob::Column::Id)
        .filter(blob::Column::FreeAt.lte(now))
        .order_by_asc(blob::Column::FreeAt)
        .limit(AT_ONCE as u64)
        .into_tuple()
        .all(app.db.read())
        .await?;
    for id in free {
        let hidden = blob::Entity::update_many()
            .col_expr(blob::Column::Sha256, Expr::value(Option::<String>::None))
            .filter(blob::Column::Id.eq(id))
            .filter(blob::Column::FreeAt.lte(now))
            .filter(Expr::exists(references()).not())
            .write(app.db.write())
            .await?;
        if hidden == 0 {
            // A file that is the same came meanwhile.
            blob::Entity::update_many()
                .col_expr(blob::Column::FreeAt, Expr::value(Option::<Timestamp>::None))
                .filter(blob::Column::Id.eq(id))
                .filter(Expr::exists(references()))
                .put(app.db.write())
                .await?;
            continue;
        }
        app.media.store.delete(id).await?;
        blob::Entity::delete_by_id(id).put(app.db.write()).await?;
    }
    Ok(())
}

/// The client of a file, if it is there.
pub(super) async fn client(app: &App, id: ClientId) -> Result<Option<entity::client::Model>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the client of a file that the engine moves")]
    entity::client::Entity::find_by_id(id).row(&app.db.reads()).await
}

/// What is known of bytes.
pub(super) async fn blob(app: &App, id: BlobId) -> Result<Option<blob::Model>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the bytes of a file that the caller may see")]
    blob::Entity::find_by_id(id).row(&app.db.reads()).await
}

/// Files by their message, the best of each: one that is here before one that may come.
pub(super) fn best(rows: Vec<media::Model>) -> HashMap<MessageId, media::Model> {
    let rank = |row: &media::Model| {
        let state = match row.state {
            MediaState::Ready => 3,
            MediaState::Pending => 2,
            MediaState::Expired => 1,
            MediaState::Failed => 0,
        };
        (state, row.created_at, row.id)
    };
    let mut best: HashMap<MessageId, media::Model> = HashMap::with_capacity(rows.len());
    for row in rows {
        let Some(message) = row.message_id else { continue };
        if best.get(&message).is_none_or(|known| rank(known) < rank(&row)) {
            best.insert(message, row);
        }
    }
    best
}

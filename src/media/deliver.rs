//! A partner's upload, handed to WhatsApp when a message needs it first, and again when WhatsApp keeps it no longer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use entity::{MediaState, Timestamp, media};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};

use super::fetch::{put_off, way};
use super::transfers::{Miss, next_try};
use crate::app::App;
use crate::db::WriteExt;
use crate::events;
use crate::ids::PublicId;
use crate::lanes;
use crate::messages::errors;
use crate::upstream::change::ReportedError;
use crate::upstream::meta::client::CallError;

/// WhatsApp keeps uploads for 30 days; they are used for one day less, so that none ends on its way. Seconds.
const UPSTREAM_KEEPS: i64 = 29 * 86_400;
/// Meta's code for a file that cannot be uploaded.
const UPLOAD_FAILED: i64 = 131_053;

/// Hands a file over, and writes down what became of it; messages that wait for it go on.
///
/// # Errors
/// When that cannot be written: then it is tried again.
pub(super) async fn one(app: &App, row: &media::Model) -> Result<(), DbErr> {
    match deliver(app, row).await {
        Ok(upstream_id) => delivered(app, row, &upstream_id).await,
        Err(Miss::Stopped(why)) => stopped(app, row, &why).await,
        Err(miss) => {
            let refusal = match &miss {
                Miss::Refused(CallError::Refused(error)) => Some(error.clone()),
                _ => None,
            };
            let (why, again) = miss.settle(row.attempts);
            tracing::info!(media.id = %row.id.public(), attempts = row.attempts, again, "a file cannot be uploaded: {why}");
            let error = match refusal {
                Some(error) => {
                    ReportedError { code: error.code, title: error.message, details: error.details }
                }
                None => ReportedError {
                    code: UPLOAD_FAILED,
                    title: "Media upload error".to_owned(),
                    details: Some(why.clone()),
                },
            };
            let at = next_try(app.now(), row.attempts);
            if again {
                put_off(app.db.write(), row, at, &why).await
            } else {
                give_up(app, row, &error, &why).await
            }
        }
    }
}

async fn deliver(app: &App, row: &media::Model) -> Result<String, Miss> {
    let gone = || Miss::Never("the file is no longer here".to_owned());
    if row.state != MediaState::Ready {
        return Err(gone());
    }
    let (number, token) = way(app, row).await?;
    let blob = row.blob_id.ok_or_else(gone)?;
    let size = u64::try_from(row.size_bytes).unwrap_or(0);
    let bytes = app.media.store.read(blob, 0..size).await?;
    let mime = row.mime_type.as_deref().unwrap_or("application/octet-stream");
    let name = row.filename.as_deref().unwrap_or("file");
    let patience = Duration::from_secs(app.config.media.timeout_seconds);
    let body = reqwest::Body::wrap_stream(bytes);
    let uploaded = app.upstream.upload(&number, &token, mime, name, body, size, patience).await;
    uploaded.map_err(|error| match error.refusal().and_then(errors::stops) {
        Some(why) => Miss::Stopped(why),
        None => error.into(),
    })
}

/// No send of this client would be taken either: it pauses, as after a send, and what waits for the file goes on waiting. The
/// next try is due as soon as the client sends again.
#[expect(clippy::disallowed_methods, reason = "the engine's own file, by its id")]
async fn stopped(app: &App, row: &media::Model, why: &str) -> Result<(), DbErr> {
    let held = app.db.hold([row.client_id]).await;
    let tx = app.db.begin_for(&held).await?;
    let paused = lanes::pause(&tx, row.partner_id, row.client_id, why, app.now()).await?;
    media::Entity::update_many()
        .col_expr(media::Column::Attempts, Expr::value(0))
        .col_expr(media::Column::NextTryAt, Expr::value(Timestamp(0)))
        .col_expr(media::Column::ClaimedUntil, Expr::value(0_i64))
        .col_expr(media::Column::Error, Expr::value(why))
        .filter(media::Column::Id.eq(row.id))
        .put(&tx)
        .await?;
    events::commit(&app.hub, tx, paused.into_iter().collect()).await?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the engine's own file, by its id")]
async fn delivered(app: &App, row: &media::Model, upstream_id: &str) -> Result<(), DbErr> {
    media::Entity::update_many()
        .col_expr(media::Column::UpstreamId, Expr::value(upstream_id))
        .col_expr(media::Column::UpstreamUntil, Expr::value(app.now().plus_seconds(UPSTREAM_KEEPS)))
        .col_expr(media::Column::Attempts, Expr::value(0))
        .col_expr(media::Column::NextTryAt, Expr::value(Timestamp(0)))
        .col_expr(media::Column::ClaimedUntil, Expr::value(0_i64))
        .col_expr(media::Column::Error, Expr::value(Option::<String>::None))
        .filter(media::Column::Id.eq(row.id))
        .put(app.db.write())
        .await?;
    app.media.delivered.fetch_add(1, Ordering::Relaxed);
    app.lanes_wake.client(row.client_id);
    Ok(())
}

/// Messages that wait for it fail: nothing was sent. Whoever sends it next tries anew.
#[expect(clippy::disallowed_methods, reason = "the engine's own file, by its id")]
async fn give_up(app: &App, row: &media::Model, error: &ReportedError, why: &str) -> Result<(), DbErr> {
    let held = app.db.hold([row.client_id]).await;
    let tx = app.db.begin_for(&held).await?;
    let failed = lanes::fail_waiting_for(&tx, row.client_id, row.id, error, app.now()).await?;
    media::Entity::update_many()
        .col_expr(media::Column::Attempts, Expr::value(0))
        .col_expr(media::Column::ClaimedUntil, Expr::value(0_i64))
        .col_expr(media::Column::Error, Expr::value(why))
        .filter(media::Column::Id.eq(row.id))
        .put(&tx)
        .await?;
    events::commit(&app.hub, tx, failed).await?;
    app.media.given_up.fetch_add(1, Ordering::Relaxed);
    app.lanes_wake.client(row.client_id);
    Ok(())
}

//! A file that came with a message: fetched from WhatsApp. Its id lives a week, an address that leads to it five minutes: each
//! try asks for a new one.

use std::sync::atomic::Ordering;
use std::time::Duration;

use entity::{EventType, MediaState, Timestamp, media};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use secrecy::SecretString;

use super::store::Written;
use super::transfers::{Miss, next_try};
use super::{keep, kinds};
use crate::app::App;
use crate::clients::{Access, NoAccess};
use crate::db::{Sql, Tx, UpdateExt, WriteExt};
use crate::events::{self, NewEvent};
use crate::ids::PublicId;
use crate::messages::errors;

/// What was fetched.
struct Fetched {
    blob: entity::BlobId,
    written: Written,
    mime_type: Option<String>,
}

/// Fetches a file, and writes down what became of it.
///
/// # Errors
/// When that cannot be written: then it is tried again.
pub(super) async fn one(app: &App, row: &media::Model) -> Result<(), DbErr> {
    let now = app.now();
    if now >= row.upstream_until {
        return over(app, row, MediaState::Expired, "WhatsApp keeps files for a week").await;
    }
    match fetch(app, row).await {
        Ok(fetched) => arrived(app, row, fetched).await,
        Err(miss) => {
            let (why, again) = miss.settle(row.attempts);
            tracing::info!(media.id = %row.id.public(), attempts = row.attempts, again, "a file cannot be fetched: {why}");
            if again { later(app, row, &why).await } else { over(app, row, MediaState::Failed, &why).await }
        }
    }
}

async fn fetch(app: &App, row: &media::Model) -> Result<Fetched, Miss> {
    let (number, token) = way(app, row).await?;
    let id = row.upstream_id.as_deref().unwrap_or_default();
    let patience = Duration::from_secs(app.config.media.timeout_seconds);
    let about = app.upstream.media(&number, &token, id).await?;
    let too_large = || Miss::Never("it has more than 100 MB".to_owned());
    if about.file_size.is_some_and(|size| size > kinds::LARGEST) {
        return Err(too_large());
    }
    let mut response = app.upstream.download(&about.url, &token, patience).await?;
    let blob = keep::begin(app).await?;
    let mut writing = app.media.store.write(blob).await?;
    loop {
        let chunk = match response.chunk().await {
            Ok(chunk) => chunk,
            Err(error) => {
                writing.abort().await;
                return Err(Miss::Later(format!("the file was cut off: {}", error.without_url())));
            }
        };
        let Some(chunk) = chunk else { break };
        writing.put(&chunk).await?;
        if writing.size() > kinds::LARGEST {
            writing.abort().await;
            return Err(too_large());
        }
    }
    let written = writing.finish().await?;
    if about.sha256.is_some_and(|told| is_another(&told, &written.sha256)) {
        keep::abandon(app, blob).await?;
        return Err(Miss::Later("the file is not the one that WhatsApp speaks of".to_owned()));
    }
    let mime_type = row.mime_type.clone().or_else(|| about.mime_type.as_deref().and_then(kinds::essence));
    Ok(Fetched { blob, written, mime_type })
}

/// The number's id and the client's token.
pub(super) async fn way(app: &App, row: &media::Model) -> Result<(String, SecretString), Miss> {
    let client = keep::client(app, row.client_id).await?;
    let none = || Miss::Later("the client is not connected".to_owned());
    let client = client.ok_or_else(none)?;
    match Access::of(&app.key, &client) {
        Ok(access) => Ok((access.number, access.token)),
        Err(NoAccess::Missing) => Err(none()),
        Err(NoAccess::Unreadable(_)) => Err(Miss::Stopped(errors::unreadable_token())),
    }
}

/// Whether a hash as WhatsApp tells it, hexadecimal or base64, is that of other bytes.
fn is_another(told: &str, sha256: &str) -> bool {
    use base64::Engine as _;
    let hex = hex::decode(told).ok();
    let told = hex.or_else(|| base64::engine::general_purpose::STANDARD.decode(told).ok());
    told.is_some_and(|told| told.len() == 32 && hex::encode(told) != sha256)
}

#[expect(clippy::disallowed_methods, reason = "the engine's own file, by its id")]
async fn arrived(app: &App, row: &media::Model, fetched: Fetched) -> Result<(), DbErr> {
    let Fetched { blob, written, mime_type } = fetched;
    let tx = app.db.begin_write().await?;
    let blob = keep::settle(&tx, blob, &written).await?;
    let rows = media::Entity::update_many()
        .col_expr(media::Column::State, Expr::value(MediaState::Ready))
        .col_expr(media::Column::BlobId, Expr::value(blob))
        .col_expr(media::Column::SizeBytes, Expr::value(i64::try_from(written.size).unwrap_or(i64::MAX)))
        .col_expr(media::Column::MimeType, Expr::value(mime_type))
        .col_expr(media::Column::Attempts, Expr::value(0))
        .col_expr(media::Column::ClaimedUntil, Expr::value(0_i64))
        .col_expr(media::Column::Error, Expr::value(Option::<String>::None))
        .filter(media::Column::Id.eq(row.id))
        .filter(media::Column::State.eq(MediaState::Pending))
        .write_and_tell(&tx)
        .await?;
    if rows.is_empty() {
        // Its message was deleted meanwhile: nothing refers to the bytes, and they go.
        drop(tx);
        return Ok(());
    }
    app.media.fetched.fetch_add(1, Ordering::Relaxed);
    tell(app, tx, rows).await
}

async fn later(app: &App, row: &media::Model, why: &str) -> Result<(), DbErr> {
    put_off(app.db.write(), row, next_try(app.now(), row.attempts), why).await
}

/// Another try, at another time.
#[expect(clippy::disallowed_methods, reason = "the engine's own file, by its id")]
pub(super) async fn put_off<C: Sql>(
    connection: &C,
    row: &media::Model,
    at: Timestamp,
    why: &str,
) -> Result<(), DbErr> {
    media::Entity::update_many()
        .col_expr(media::Column::NextTryAt, Expr::value(at))
        .col_expr(media::Column::ClaimedUntil, Expr::value(0_i64))
        .col_expr(media::Column::Error, Expr::value(why))
        .filter(media::Column::Id.eq(row.id))
        .put(connection)
        .await?;
    Ok(())
}

/// It will not come.
#[expect(clippy::disallowed_methods, reason = "the engine's own file, by its id")]
async fn over(app: &App, row: &media::Model, state: MediaState, why: &str) -> Result<(), DbErr> {
    let tx = app.db.begin_write().await?;
    let rows = media::Entity::update_many()
        .col_expr(media::Column::State, Expr::value(state))
        .col_expr(media::Column::ClaimedUntil, Expr::value(0_i64))
        .col_expr(media::Column::Error, Expr::value(why))
        .filter(media::Column::Id.eq(row.id))
        .filter(media::Column::State.eq(MediaState::Pending))
        .write_and_tell(&tx)
        .await?;
    app.media.given_up.fetch_add(1, Ordering::Relaxed);
    tell(app, tx, rows).await
}

async fn tell(app: &App, tx: Tx, rows: Vec<media::Model>) -> Result<(), DbErr> {
    let told = |row: media::Model| {
        Some(NewEvent {
            partner: row.partner_id,
            kind: EventType::MessageUpdated,
            occurred_at: app.now(),
            client: Some(row.client_id),
            subject: Some(row.message_id?.uuid()),
            data: None,
        })
    };
    events::commit(&app.hub, tx, rows.into_iter().filter_map(told).collect()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_another;

    #[test]
    fn a_hash_is_told_in_either_way_and_nonsense_says_nothing() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let base64 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert!(!is_another(hex, hex) && !is_another(base64, hex) && !is_another("x", hex));
        assert!(is_another(&hex.replace('e', "f"), hex));
    }
}

//! What readers see of files.

use std::collections::HashMap;
use std::sync::Arc;

use entity::{MediaId, MediaState, MessageId, blob, media};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};

use super::keep;
use crate::app::App;
use crate::auth::Scope;
use crate::db::{Db, SelectExt, padded};
use crate::ids::PublicId;

/// The files of messages that came through the scope.
///
/// # Errors
/// When the database is away.
pub async fn of_messages(db: &Db, ids: &[MessageId]) -> Result<HashMap<MessageId, media::Model>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the files of messages that came through the scope")]
    let rows = db
        .rows(media::Entity::find().filter(media::Column::MessageId.is_in(padded(ids.iter().copied()))))
        .await?;
    Ok(keep::best(rows))
}

/// Files by their ids.
///
/// # Errors
/// When the database is away.
pub async fn by_ids(
    db: &Db,
    scope: &Scope,
    ids: &[MediaId],
) -> Result<HashMap<MediaId, Arc<media::Model>>, DbErr> {
    let ids = ids.iter().map(|id| id.uuid());
    let rows = db.rows(scope.among::<media::Entity>(media::Column::Id, ids)).await?;
    Ok(rows.into_iter().map(|row| (row.id, Arc::new(row))).collect())
}

/// A file that a signed address names, with its bytes; none if they are gone.
///
/// # Errors
/// When the database is away.
pub async fn served(app: &App, id: MediaId) -> Result<Option<(media::Model, blob::Model)>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the signed address is the credential for this one file")]
    let row = media::Entity::find_by_id(id).row(&app.db.reads()).await?;
    let Some(row) = row.filter(|row| row.state == MediaState::Ready) else { return Ok(None) };
    let Some(id) = row.blob_id else { return Ok(None) };
    Ok(keep::blob(app, id).await?.map(|blob| (row, blob)))
}

//! The ordered, rate-limited queue of one client's sends.

use entity::{ClientId, Timestamp};
use sea_orm::{DatabaseTransaction, DbErr};

use crate::events::NewEvent;

/// Cancels what waits.
///
/// # Errors
/// When the database is away.
pub async fn cancel_all(tx: &DatabaseTransaction, client: ClientId, now: Timestamp) -> Result<Vec<NewEvent>, DbErr> {
    let _ = (tx, client, now);
    Ok(Vec::new())
}
/// stub
pub async fn run(app: std::sync::Arc<crate::app::App>) { app.tasks.stopping().cancelled().await; }

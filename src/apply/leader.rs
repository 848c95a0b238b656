//! Who applies, when several processes share a Postgres database: one of them, so that a client's webhooks are applied by one
//! worker in the order of their receipt. Held by a session's advisory lock: whoever dies gives it up with its connection,
//! and another process goes on within a second. On SQLite there is one process.

use sea_orm::DatabaseBackend;
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{self, Postgres};
use tokio::time::Instant;

use super::engine::LOOK;
use crate::db::Db;

/// Any number that no client's lock has by design: "TANDEM" and a one.
const LOCK: i64 = 0x5441_4E44_454D_0001;

/// This process's claim to apply.
#[derive(Default)]
pub(super) struct Leader {
    session: Option<(PoolConnection<Postgres>, Instant)>,
}

impl Leader {
    /// Whether this process applies; tries to become the one if nobody is.
    pub(super) async fn holds(&mut self, db: &Db) -> bool {
        if db.backend() != DatabaseBackend::Postgres {
            return true;
        }
        match &mut self.session {
            Some((_, checked)) if checked.elapsed() < LOOK => true,
            Some((connection, checked)) => {
                let alive = sqlx::query("SELECT 1").execute(&mut **connection).await.is_ok();
                *checked = Instant::now();
                if !alive {
                    tracing::warn!("the connection that lets this process apply webhooks is gone");
                    self.session = None;
                }
                alive
            }
            None => {
                self.session = claim(db).await;
                self.session.is_some()
            }
        }
    }

    /// Lets another process go on at once.
    pub(super) async fn resign(&mut self) {
        if let Some((mut connection, _)) = self.session.take() {
            // It goes back to the pool.
            let _ = sqlx::query("RESET idle_session_timeout").execute(&mut *connection).await;
            let given_up =
                sqlx::query("SELECT pg_advisory_unlock($1)").bind(LOCK).execute(&mut *connection).await;
            if let Err(error) = given_up {
                tracing::debug!(%error, "the lock goes with the connection");
            }
        }
    }
}

async fn claim(db: &Db) -> Option<(PoolConnection<Postgres>, Instant)> {
    let mut connection = db.write().postgres_pool()?.acquire().await.ok()?;
    let got: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut *connection)
        .await
        .unwrap_or(false);
    if !got {
        return None;
    }
    // Should this process be frozen or cut off, its session ends, and the lock with it: asked each second, it is never idle.
    let ends = sqlx::query("SET idle_session_timeout = '30s'").execute(&mut *connection).await;
    if let Err(error) = ends {
        tracing::warn!(%error, "should this process freeze, no other one takes over before the system notices");
    }
    Some((connection, Instant::now()))
}

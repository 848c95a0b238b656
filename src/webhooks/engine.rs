//! Who works for which endpoint: one worker each, in one process at a time. The lease guards order and saves work; that
//! nothing is lost rests on the endpoint's place in the log alone.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use entity::{WebhookEndpointId, webhook_endpoint};
use futures_util::FutureExt;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DatabaseBackend, DbErr, EntityTrait, ExprTrait, QueryFilter, QuerySelect};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Render;
use super::sender::Sender;
use super::worker::{Shared, Worker};
use crate::app::App;
use crate::db::{UpdateExt, WriteExt, clock};
use crate::ids::PublicId;

/// How often endpoints are looked at without a hint.
const LOOK: Duration = Duration::from_secs(1);
/// How long a lease lives, microseconds.
const LIFE: i64 = 10_000_000;
/// When leases are renewed.
const RENEW: Duration = Duration::from_secs(3);

/// A worker that was started.
struct Working {
    version: i64,
    stop: CancellationToken,
}

/// Delivers webhooks until the process ends.
pub async fn run(app: Arc<App>, render: Arc<dyn Render>) {
    let timeout = Duration::from_secs(app.config.webhooks.timeout_seconds);
    let sender = match Sender::new(app.webhook_policy(), timeout) {
        Ok(sender) => sender,
        Err(error) => {
            tracing::error!(%error, "no HTTP client for webhooks can be made");
            return;
        }
    };
    let shared = Arc::new(Shared {
        wire: Semaphore::new(app.config.webhooks.process_concurrency),
        owner: Uuid::from_u128(rand::random()),
        app: app.clone(),
        render,
        sender,
    });
    let stopping = app.tasks.stopping().clone();
    let (ended, mut over) = mpsc::unbounded_channel::<WebhookEndpointId>();
    let mut working: HashMap<WebhookEndpointId, Working> = HashMap::new();
    let mut renew_at = Instant::now() + RENEW;
    while !stopping.is_cancelled() {
        if let Err(error) = look(&shared, &mut working, &ended).await {
            tracing::warn!(%error, "webhook endpoints cannot be looked at right now");
        }
        if Instant::now() >= renew_at {
            renew_at = Instant::now() + RENEW;
            if let Err(error) = renew(&shared, working.len()).await {
                tracing::warn!(%error, "webhook endpoints cannot be kept right now");
            }
        }
        tokio::select! {
            Some(id) = over.recv() => {
                working.remove(&id);
            }
            () = app.webhooks_wake.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = stopping.cancelled() => {}
        }
    }
    while !working.is_empty() {
        let Some(id) = over.recv().await else { break };
        working.remove(&id);
    }
    if let Err(error) = release(&shared).await {
        tracing::debug!(%error, "the leases of webhook endpoints end by themselves");
    }
}

/// Starts what should run, stops what should not. One that changed is stopped, and started when it has ended.
async fn look(
    shared: &Arc<Shared>,
    working: &mut HashMap<WebhookEndpointId, Working>,
    ended: &mpsc::UnboundedSender<WebhookEndpointId>,
) -> Result<(), DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the engine's own look at all endpoints")]
    let versions: Vec<(WebhookEndpointId, i64)> = webhook_endpoint::Entity::find()
        .select_only()
        .column(webhook_endpoint::Column::Id)
        .column(webhook_endpoint::Column::Version)
        .filter(webhook_endpoint::Column::Enabled.eq(true))
        .into_tuple()
        .all(shared.app.db.read())
        .await?;
    let versions: HashMap<WebhookEndpointId, i64> = versions.into_iter().collect();
    for (id, one) in &*working {
        if versions.get(id) != Some(&one.version) {
            one.stop.cancel();
        }
    }
    let wanted: Vec<WebhookEndpointId> =
        versions.into_keys().filter(|id| !working.contains_key(id)).collect();
    for chunk in wanted.chunks(500) {
        for endpoint in claim(shared, chunk).await? {
            start(shared, working, ended, endpoint);
        }
    }
    Ok(())
}

fn start(
    shared: &Arc<Shared>,
    working: &mut HashMap<WebhookEndpointId, Working>,
    ended: &mpsc::UnboundedSender<WebhookEndpointId>,
    endpoint: webhook_endpoint::Model,
) {
    let id = endpoint.id;
    let stop = shared.app.tasks.stopping().child_token();
    working.insert(id, Working { version: endpoint.version, stop: stop.clone() });
    let (shared, ended) = (shared.clone(), ended.clone());
    shared.app.tasks.clone().spawn(async move {
        let work = async {
            match Worker::load(&shared, endpoint, stop.clone()).await {
                Ok(worker) => worker.run().await,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(endpoint = id.public(), error, "an endpoint cannot be served");
                    tokio::select! {
                        () = tokio::time::sleep(RENEW) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        };
        if AssertUnwindSafe(work).catch_unwind().await.is_err() {
            tracing::error!(endpoint = id.public(), "an endpoint's worker broke off; it begins anew");
            tokio::time::sleep(LOOK).await;
        }
        // The engine outlives its workers.
        let _ = ended.send(id);
    });
}

/// Takes endpoints that nobody works for. On SQLite there is one process: whoever owned one before is gone.
async fn claim(shared: &Shared, ids: &[WebhookEndpointId]) -> Result<Vec<webhook_endpoint::Model>, DbErr> {
    use webhook_endpoint::Column;
    let backend = shared.app.db.backend();
    let now = clock(backend);
    #[expect(clippy::disallowed_methods, reason = "the engine's own leases")]
    let mut update = webhook_endpoint::Entity::update_many()
        .col_expr(Column::Owner, Expr::value(shared.owner))
        .col_expr(Column::OwnedUntil, Expr::cust(format!("{now} + {LIFE}")))
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Column::Enabled.eq(true));
    if backend != DatabaseBackend::Sqlite {
        let free = Column::Owner
            .is_null()
            .or(Column::Owner.eq(shared.owner))
            .or(Expr::col(Column::OwnedUntil).lte(Expr::cust(now)));
        update = update.filter(free);
    }
    update.write_and_tell(shared.app.db.write()).await
}

async fn renew(shared: &Shared, working: usize) -> Result<(), DbErr> {
    let backend = shared.app.db.backend();
    if working == 0 || backend == DatabaseBackend::Sqlite {
        return Ok(());
    }
    #[expect(clippy::disallowed_methods, reason = "the engine's own leases")]
    webhook_endpoint::Entity::update_many()
        .col_expr(webhook_endpoint::Column::OwnedUntil, Expr::cust(format!("{} + {LIFE}", clock(backend))))
        .filter(webhook_endpoint::Column::Owner.eq(shared.owner))
        .put(shared.app.db.write())
        .await?;
    Ok(())
}

async fn release(shared: &Shared) -> Result<(), DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the engine's own leases")]
    webhook_endpoint::Entity::update_many()
        .col_expr(webhook_endpoint::Column::Owner, Expr::value(Option::<Uuid>::None))
        .filter(webhook_endpoint::Column::Owner.eq(shared.owner))
        .put(shared.app.db.write())
        .await?;
    Ok(())
}

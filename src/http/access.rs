//! How the GraphQL door sees the service.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_graphql::{Executor, Request};
use entity::PartnerId;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::graphql::{Access, AccessError, EndReason, Item};
use super::shared::Groups;
use crate::app::App;
use crate::auth::{Scope, Unauthenticated};
use crate::clock::Clock;

/// How often an open socket's key is asked for anew.
const RECHECK: Duration = Duration::from_secs(2);
/// When to come back while credentials cannot be checked.
const LATER: Duration = Duration::from_secs(1);

/// The service behind the door.
#[derive(Clone)]
pub(super) struct Door {
    app: Arc<App>,
    sockets: Arc<Mutex<HashMap<PartnerId, usize>>>,
    groups: Groups,
}

impl Door {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app, sockets: Arc::default(), groups: Groups::default() }
    }
}

/// A place among a partner's sockets and event streams; dropping it gives it back.
pub(super) struct SocketPermit {
    partner: PartnerId,
    sockets: Arc<Mutex<HashMap<PartnerId, usize>>>,
}

impl Drop for SocketPermit {
    fn drop(&mut self) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = sockets.get_mut(&self.partner) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                sockets.remove(&self.partner);
            }
        }
    }
}

impl Access for Door {
    type Caller = Scope;
    type SocketPermit = SocketPermit;

    async fn authenticate(&self, authorization: Option<&str>) -> Result<Scope, AccessError> {
        let app = &self.app;
        app.keys.authenticate(&app.db, &app.key, authorization).await.map_err(|error| match error {
            Unauthenticated::Missing | Unauthenticated::Refused => AccessError::Unauthenticated,
            Unauthenticated::Unavailable(error) => {
                tracing::error!(%error, "credentials cannot be checked");
                AccessError::Unavailable { retry_after: LATER }
            }
        })
    }

    fn prepare(&self, caller: &Scope, request: Request) -> Request {
        crate::graphql::prepare(&self.app, caller, request)
    }

    fn subscribe<E: Executor>(
        &self,
        executor: &E,
        caller: &Scope,
        request: Request,
    ) -> BoxStream<'static, Item> {
        self.groups.follow(&self.app, executor, caller, request)
    }

    async fn ends(&self, caller: &Scope) -> EndReason {
        loop {
            let until_end =
                caller.expires_at().map_or(i64::MAX, |at| at.0.saturating_sub(Clock::real_now().0));
            let until_end = Duration::from_micros(u64::try_from(until_end).unwrap_or(0));
            tokio::time::sleep(until_end.min(RECHECK)).await;
            if caller.is_expired(Clock::real_now()) {
                return EndReason::Expired;
            }
            // A database that is away ends no socket.
            if let Ok(false) = self.app.keys.still_holds(&self.app.db, caller.key()).await {
                return EndReason::Revoked;
            }
        }
    }

    fn admit_socket(&self, caller: &Scope) -> Option<SocketPermit> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sockets.entry(caller.partner()).or_default();
        if *count >= self.app.config.graphql.sockets_per_partner {
            return None;
        }
        *count += 1;
        Some(SocketPermit { partner: caller.partner(), sockets: self.sockets.clone() })
    }

    fn shutdown(&self) -> CancellationToken {
        self.app.tasks.stopping().clone()
    }

    fn tracker(&self) -> TaskTracker {
        self.app.tasks.tracker().clone()
    }
}

//! What resolvers know of the request: the one place that touches the context's data.

use std::hash::Hash;
use std::sync::Arc;

use async_graphql::Context;
use async_graphql::dataloader::Loader;

use super::Loaders;
use super::error::{ApiError, Result};
use super::loaders::Rows;
use crate::app::App;
use crate::auth::{Permission, Scope};
use crate::feed::CursorTap;

/// Who is asking, and whom.
#[derive(Clone)]
pub struct Caller {
    /// The service.
    pub app: Arc<App>,
    /// What the caller may do and see.
    pub scope: Scope,
}

/// What resolvers know of the request.
pub trait ContextExt {
    /// The service.
    fn app(&self) -> &Arc<App>;

    /// What the caller may do and see.
    fn scope(&self) -> &Scope;

    /// The same, for reading.
    ///
    /// # Errors
    /// FORBIDDEN without the scope READ.
    fn reader(&self) -> Result<&Scope>;

    /// The same, for managing webhooks.
    ///
    /// # Errors
    /// FORBIDDEN without the scope ADMIN.
    fn admin(&self) -> Result<&Scope>;

    /// The request's loaders.
    fn rows(&self) -> &Loaders;

    /// Where a subscription leaves the cursor of its next item, if the transport asks for it.
    fn cursor_tap(&self) -> Option<CursorTap>;

    /// A row, together with those that other fields ask for.
    ///
    /// # Errors
    /// When the database is away.
    fn load<K>(&self, key: K) -> impl Future<Output = Result<Option<<Rows as Loader<K>>::Value>>> + Send
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        Rows: Loader<K, Error = ApiError>;
}

impl ContextExt for Context<'_> {
    fn app(&self) -> &Arc<App> {
        &self.data_unchecked::<Caller>().app
    }

    fn scope(&self) -> &Scope {
        &self.data_unchecked::<Caller>().scope
    }

    fn reader(&self) -> Result<&Scope> {
        let scope = self.scope();
        scope.require(Permission::Read)?;
        Ok(scope)
    }

    fn admin(&self) -> Result<&Scope> {
        let scope = self.scope();
        scope.require(Permission::Admin)?;
        Ok(scope)
    }

    fn rows(&self) -> &Loaders {
        self.data_unchecked()
    }

    fn cursor_tap(&self) -> Option<CursorTap> {
        self.data_opt::<CursorTap>().cloned()
    }

    async fn load<K>(&self, key: K) -> Result<Option<<Rows as Loader<K>>::Value>>
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        Rows: Loader<K, Error = ApiError>,
    {
        // In a box, so that a field that could ask for a row takes no room for it (measured: a tenth of a page).
        Box::pin(self.rows().load_one(key)).await
    }
}

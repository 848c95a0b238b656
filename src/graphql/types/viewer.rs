//! Who is asking.

use async_graphql::{Context, ID, Object};

use super::enums::{CredentialKind, Scope};
use super::required;
use crate::graphql::context::ContextExt;
use crate::graphql::error::Result;
use crate::graphql::scalars::{DateTime, EventCursor, public};
use crate::partners;

/// Who is asking.
pub struct Viewer;

/// Who is asking, and what they may do.
#[Object]
impl Viewer {
    /// The partner.
    async fn partner(&self, ctx: &Context<'_>) -> Result<Partner> {
        let row = required(partners::queries::own(&ctx.app().db, ctx.scope()).await?, "partner")?;
        Ok(Partner(row))
    }

    /// What kind of credential was presented.
    async fn credential(&self) -> CredentialKind {
        CredentialKind::ApiKey
    }

    /// The id of the credential.
    async fn credential_id(&self, ctx: &Context<'_>) -> ID {
        public(ctx.scope().key())
    }

    /// What the credential may do.
    async fn scopes(&self, ctx: &Context<'_>) -> Vec<Scope> {
        ctx.scope().permissions().iter().map(|permission| (*permission).into()).collect()
    }

    /// The only clients that it may see. Null: all of the partner's, later ones too.
    async fn client_ids(&self, ctx: &Context<'_>) -> Option<Vec<ID>> {
        ctx.scope().clients().map(|clients| clients.iter().map(|client| public(*client)).collect())
    }

    /// When it ends, by real time. Null: when it is revoked.
    async fn expires_at(&self, ctx: &Context<'_>) -> Option<DateTime> {
        ctx.scope().expires_at().map(DateTime)
    }

    /// Where the event stream stands now. Read it before you read lists, and subscribe with `after` it: then nothing that
    /// happens in between is missed.
    async fn event_cursor(&self, ctx: &Context<'_>) -> Result<EventCursor> {
        let scope = ctx.scope();
        let app = ctx.app();
        let head = app.hub.head(scope.partner()).await?;
        Ok(EventCursor(app.cursor(scope.partner(), head)))
    }
}

/// A company that sells the service to its clients.
pub struct Partner(entity::partner::Model);

/// A company that sells the service to its clients: a tenant of this installation.
#[Object]
impl Partner {
    /// Begins with `prt_`.
    pub async fn id(&self) -> ID {
        public(self.0.id)
    }

    /// For people.
    async fn name(&self) -> &str {
        &self.0.name
    }
}

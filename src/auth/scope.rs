//! The only door to a tenant's rows (invariant 8).

use std::collections::BTreeSet;
use std::sync::Arc;

use entity::{
    ApiKeyId, ClientId, PartnerId, Timestamp, api_key, client, contact, conversation, event, media, message,
    onboarding, template, webhook_delivery, webhook_endpoint,
};
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{ColumnTrait, EntityTrait, IntoSimpleExpr, QueryFilter, Select};
use serde::{Deserialize, Serialize};

use uuid::Uuid;

use crate::db::padded;
use crate::failure::Failure;

/// What a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Permission {
    /// See everything that the scope admits.
    Read,
    /// Send messages and mark them read.
    Send,
    /// Onboarding, syncs, keys, endpoints.
    Admin,
}

impl Permission {
    /// All of them.
    pub const ALL: [Permission; 3] = [Permission::Read, Permission::Send, Permission::Admin];

    /// Its name in the API.
    pub fn word(self) -> &'static str {
        match self {
            Permission::Read => "READ",
            Permission::Send => "SEND",
            Permission::Admin => "ADMIN",
        }
    }

    /// From its name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.word().eq_ignore_ascii_case(word.trim()))
    }
}

/// Whose rows, which of them, what may be done, until when. Made by authentication, never by hand.
#[derive(Clone, Debug)]
pub struct Scope {
    partner: PartnerId,
    key: ApiKeyId,
    clients: Option<Arc<BTreeSet<ClientId>>>,
    permissions: Arc<BTreeSet<Permission>>,
    expires_at: Option<Timestamp>,
}

/// A table whose rows belong to a client.
pub trait OfClient: OfPartner {
    /// The column that names the client.
    const CLIENT: Self::Column;
}

/// A table whose rows belong to a partner.
pub trait OfPartner: EntityTrait {
    /// The column that names the partner.
    const PARTNER: Self::Column;
}

macro_rules! owned {
    ($($table:ident: $client:ident),+ $(,)?) => {
        $(
            impl OfPartner for $table::Entity {
                const PARTNER: Self::Column = $table::Column::PartnerId;
            }
            impl OfClient for $table::Entity {
                const CLIENT: Self::Column = $table::Column::$client;
            }
        )+
    };
}

owned!(
    client: Id,
    onboarding: ClientId,
    contact: ClientId,
    conversation: ClientId,
    message: ClientId,
    media: ClientId,
    template: ClientId,
);

impl OfPartner for api_key::Entity {
    const PARTNER: Self::Column = api_key::Column::PartnerId;
}

impl OfPartner for event::Entity {
    const PARTNER: Self::Column = event::Column::PartnerId;
}

impl OfPartner for webhook_endpoint::Entity {
    const PARTNER: Self::Column = webhook_endpoint::Column::PartnerId;
}

impl OfPartner for webhook_delivery::Entity {
    const PARTNER: Self::Column = webhook_delivery::Column::PartnerId;
}

impl Scope {
    /// The scope of a key; none if it was revoked or its row makes no sense.
    pub(super) fn of_key(row: &api_key::Model) -> Option<Self> {
        if row.revoked_at.is_some() {
            return None;
        }
        let permissions = row.scopes.split(',').map(Permission::parse).collect::<Option<BTreeSet<_>>>()?;
        let clients = match &row.client_ids {
            None => None,
            Some(ids) => Some(Arc::new(serde_json::from_value::<BTreeSet<ClientId>>(ids.clone()).ok()?)),
        };
        Some(Self {
            partner: row.partner_id,
            key: row.id,
            clients,
            permissions: Arc::new(permissions),
            expires_at: row.expires_at,
        })
    }

    /// Of a partner, for tests of what is asked with it.
    #[cfg(test)]
    pub(crate) fn for_tests(partner: PartnerId, clients: Option<BTreeSet<ClientId>>) -> Self {
        let permissions = Arc::new(BTreeSet::from(Permission::ALL));
        Self {
            partner,
            key: ApiKeyId(Uuid::nil()),
            clients: clients.map(Arc::new),
            permissions,
            expires_at: None,
        }
    }

    /// The scope of what is done for a partner's own webhook endpoints without a credential: their bodies are made, and an
    /// operator asks for a replay. It reads; it sends nothing.
    pub fn of_webhooks(partner: PartnerId) -> Self {
        Self {
            partner,
            key: ApiKeyId(Uuid::nil()),
            clients: None,
            permissions: Arc::new(BTreeSet::from([Permission::Read, Permission::Admin])),
            expires_at: None,
        }
    }

    /// The tenant.
    pub fn partner(&self) -> PartnerId {
        self.partner
    }

    /// The credential.
    pub fn key(&self) -> ApiKeyId {
        self.key
    }

    /// What it may do.
    pub fn permissions(&self) -> &BTreeSet<Permission> {
        &self.permissions
    }

    /// The only clients that it may see; none: all of the partner's, later ones too.
    pub fn clients(&self) -> Option<&BTreeSet<ClientId>> {
        self.clients.as_deref()
    }

    /// When it ends.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Whether it ended before `now`, by real time.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Whether it may see this client, if the client is the partner's.
    pub fn admits(&self, client: ClientId) -> bool {
        self.clients.as_ref().is_none_or(|clients| clients.contains(&client))
    }

    /// Refuses what the credential may not do.
    ///
    /// # Errors
    /// [`Failure::Forbidden`].
    pub fn require(&self, permission: Permission) -> Result<(), Failure> {
        if self.permissions.contains(&permission) {
            Ok(())
        } else {
            Err(Failure::Forbidden(permission.word()))
        }
    }

    /// The rows of a client's table that the scope admits.
    pub fn find<E: OfClient>(&self) -> Select<E> {
        let select = self.find_partner::<E>();
        match &self.clients {
            None => select,
            Some(clients) => select.filter(E::CLIENT.is_in(clients.iter().copied())),
        }
    }

    /// The rows of a table that belong to one client; none, if the scope does not admit it. Of the client's row its id and
    /// its partner are looked at.
    pub fn of_client<E: OfClient>(&self, client: &client::Model) -> Select<E> {
        self.belonging(E::CLIENT.eq(client.id), client.partner_id, client.id)
    }

    /// The messages of one conversation; none, if the scope does not admit it. Of the conversation's row its id, its client
    /// and its partner are looked at.
    pub fn of_conversation(&self, conversation: &conversation::Model) -> Select<message::Entity> {
        let of = message::Column::ConversationId.eq(conversation.id);
        self.belonging(of, conversation.partner_id, conversation.client_id)
    }

    /// What belongs to a row of this partner's and this client's. The scope's conditions are asked of that row, not of each
    /// that belongs to it: Postgres would multiply how rare a client is with how rare its partner is, expect next to nothing,
    /// and read and sort all that the client has instead of walking the index that has it in order (measured: thirty
    /// milliseconds for a page that takes a third of one).
    fn belonging<E: EntityTrait>(&self, of: Expr, partner: PartnerId, client: ClientId) -> Select<E> {
        #[expect(clippy::disallowed_methods, reason = "of a row that the scope admits")]
        let select = E::find().filter(of);
        let admitted = partner == self.partner && self.admits(client);
        if admitted { select } else { select.filter(Expr::val(false)) }
    }

    /// The rows that the scope admits among some that are named by their ids. The same as [`Scope::find`], written so that
    /// no database looks for the partner's rows first: without statistics SQLite takes an index on the partner for better
    /// than fifty ids, and reads all that the partner has (measured: a page of messages ten times as slow).
    pub fn among<E: OfClient>(&self, id: E::Column, ids: impl IntoIterator<Item = Uuid>) -> Select<E> {
        // The column's own value, by a way that no index knows.
        let unindexed = |column: E::Column| {
            Expr::expr(Func::coalesce([column.into_simple_expr(), column.into_simple_expr()]))
        };
        #[expect(clippy::disallowed_methods, reason = "the scope's own conditions follow")]
        let select = E::find().filter(id.is_in(padded(ids))).filter(unindexed(E::PARTNER).eq(self.partner));
        match &self.clients {
            None => select,
            Some(clients) => select.filter(unindexed(E::CLIENT).is_in(clients.iter().copied())),
        }
    }

    /// The rows of a partner's table. For tables without a client only; others: [`Scope::find`].
    pub fn find_partner<E: OfPartner>(&self) -> Select<E> {
        #[expect(clippy::disallowed_methods, reason = "this is the way that the lint points to")]
        E::find().filter(E::PARTNER.eq(self.partner))
    }
}

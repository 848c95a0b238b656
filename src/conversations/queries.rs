//! Reads of conversations.

use std::collections::HashMap;
use std::sync::Arc;

use entity::{ClientId, ContactId, Timestamp, client, contact, conversation};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, Condition, DbErr, QueryFilter};

use super::window::OPEN_FOR;
use crate::auth::Scope;
use crate::contacts::{self, phone};
use crate::db::page::{Ordering, Page, PageArgs, page_with};
use crate::db::{Columns, Db, Join, Joined, Shared, search};

/// Which conversations.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those with unread messages, or only the others.
    pub unread: Option<bool>,
    /// Only those with an open window, or only the others.
    pub window_open: Option<bool>,
    /// Words that a name or the number of the contact contains.
    pub search: Option<String>,
    /// With something in them at or after this instant.
    pub active_since: Option<Timestamp>,
}

/// A conversation, and its contact if that is wanted and there.
pub type Row = Joined<conversation::Model, Shared<contact::Model>>;

/// What is read of conversations.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of their columns, the id, the instant and the contact's id among them.
    pub columns: Columns<conversation::Entity>,
    /// Of their contacts, the id among it. None: nothing.
    pub contact: Option<Columns<contact::Entity>>,
}

impl Wanted {
    /// What stands beside a conversation.
    pub fn joins(&self) -> Vec<Join> {
        let contact = |columns| {
            Join::new::<contact::Entity>(conversation::Column::ContactId, contact::Column::Id, columns)
        };
        self.contact.iter().map(contact).collect()
    }
}

/// Conversations, latest activity first: of these clients, or of all that the scope admits. The clients' rows say whose they
/// are: see [`Scope::of_client`].
///
/// # Errors
/// When the database is away.
pub async fn list(
    db: &Db,
    scope: &Scope,
    clients: Option<&[Arc<client::Model>]>,
    filter: &Filter,
    now: Timestamp,
    wanted: &Wanted,
    args: PageArgs,
) -> Result<Page<Row>, DbErr> {
    use conversation::Column;
    let mut select = match clients {
        None => scope.find::<conversation::Entity>(),
        Some([client]) => scope.of_client(client),
        Some(clients) => scope.find().filter(Column::ClientId.is_in(clients.iter().map(|client| client.id))),
    };
    match filter.unread {
        None => {}
        Some(true) => select = select.filter(Column::UnreadCount.gt(0)),
        Some(false) => select = select.filter(Column::UnreadCount.eq(0)),
    }
    if let Some(open) = filter.window_open {
        select = select.filter(if open { has_window(now) } else { has_window(now).not() });
    }
    if let Some(since) = filter.active_since {
        select = select.filter(Column::LastActivityAt.gte(since));
    }
    if let Some(words) = filter.search.as_ref().filter(|words| !words.trim().is_empty()) {
        let number = phone::part(words);
        let people = Query::select()
            .expr(Expr::val(1))
            .from(contact::Entity)
            .and_where(
                Expr::col((contact::Entity, contact::Column::Id))
                    .equals((conversation::Entity, Column::ContactId)),
            )
            .cond_where(search::contains_lowered(contact::Column::Search, number.as_deref().unwrap_or(words)))
            .to_owned();
        select = select.filter(Expr::exists(people));
    }
    let ordering = Ordering { key: Some(Column::LastActivityAt), id: Column::Id, descending: true };
    page_with(db, select, &wanted.columns, wanted.joins(), ordering, args).await
}

/// The rule of [`super::window::is_open`] as the database asks it. Never null, so that its opposite is not either.
fn has_window(now: Timestamp) -> Condition {
    use conversation::Column;
    let second = 1_000_000_i64;
    let opened = || Expr::col((conversation::Entity, Column::WindowOpenedAt));
    // Instants are after 1970: division rounds them down to their second, on both databases.
    let connected = Expr::col((client::Entity, client::Column::ConnectedAt)).div(second).mul(second);
    let since_connection = Query::select()
        .expr(Expr::val(1))
        .from(client::Entity)
        .and_where(
            Expr::col((client::Entity, client::Column::Id)).equals((conversation::Entity, Column::ClientId)),
        )
        .and_where(Expr::col((client::Entity, client::Column::ConnectedAt)).is_not_null())
        .and_where(connected.lte(opened()))
        .to_owned();
    let not_refused = Condition::any()
        .add(Column::WindowRefusedAt.is_null())
        .add(Expr::col((conversation::Entity, Column::WindowRefusedAt)).lt(opened()));
    Condition::all()
        .add(Column::WindowOpenedAt.is_not_null())
        .add(Column::WindowOpenedAt.gt(now.plus_seconds(-OPEN_FOR)))
        .add(not_refused)
        .add(Expr::exists(since_connection))
}

/// The conversations of these contacts, by contact.
///
/// # Errors
/// When the database is away.
pub async fn of_contacts(
    db: &Db,
    scope: &Scope,
    contacts: &[ContactId],
) -> Result<HashMap<ContactId, Arc<conversation::Model>>, DbErr> {
    let ids = contacts.iter().map(|id| id.0);
    let rows = db.rows(scope.among::<conversation::Entity>(conversation::Column::ContactId, ids)).await?;
    Ok(rows.into_iter().map(|row| (row.contact_id, Arc::new(row))).collect())
}

/// The conversation of a client, which came through the scope, with a number or a WhatsApp user id.
///
/// # Errors
/// When the database is away.
pub async fn with(
    db: &Db,
    scope: &Scope,
    client: ClientId,
    name: &str,
) -> Result<Option<Arc<conversation::Model>>, DbErr> {
    let Some(contact) = contacts::queries::known_as(db, client, name).await? else { return Ok(None) };
    Ok(of_contacts(db, scope, &[contact]).await?.remove(&contact))
}

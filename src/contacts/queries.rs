//! Reads of contacts.

use entity::{ClientId, ContactId, ContactKeyKind, Timestamp, client, contact, contact_key, conversation};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};

use super::phone;
use crate::auth::Scope;
use crate::db::page::{Ordering, Page, PageArgs, page_with};
use crate::db::{Columns, Db, search};

/// Which contacts.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Words that a name or the number contains.
    pub search: Option<String>,
    /// Only those in the phone book, or only the others.
    pub in_phone_book: Option<bool>,
}

/// The contacts of a client, oldest first; of their columns those that are needed: the id among them. The client's row says
/// whose it is: see [`Scope::of_client`].
///
/// # Errors
/// When the database is away.
pub async fn list(
    db: &Db,
    scope: &Scope,
    client: &client::Model,
    filter: &Filter,
    columns: &Columns<contact::Entity>,
    args: PageArgs,
) -> Result<Page<contact::Model>, DbErr> {
    let mut select = scope.of_client::<contact::Entity>(client);
    // Of some people only a name is known, from a status or a reaction: rows that matter to matching alone.
    let of_contact = Expr::col((conversation::Entity, conversation::Column::ContactId))
        .equals((contact::Entity, contact::Column::Id));
    let written =
        Query::select().expr(Expr::val(1)).from(conversation::Entity).and_where(of_contact).to_owned();
    select = select.filter(contact::Column::BookAt.gt(Timestamp(0)).or(Expr::exists(written)));
    if let Some(words) = &filter.search {
        // A number is kept without what people write between its digits.
        let number = phone::part(words);
        select = select
            .filter(search::contains_lowered(contact::Column::Search, number.as_deref().unwrap_or(words)));
    }
    if let Some(present) = filter.in_phone_book {
        select = select.filter(contact::Column::InPhoneBook.eq(present));
    }
    let ordering = Ordering { key: None, id: contact::Column::Id, descending: false };
    page_with(db, select, columns, Vec::new(), ordering, args).await
}

/// The contact that this client knows under a number or a WhatsApp user id. The client came through the scope.
///
/// # Errors
/// When the database is away.
pub async fn known_as(db: &Db, client: ClientId, name: &str) -> Result<Option<ContactId>, DbErr> {
    let (value, kinds) = match phone::normalize(name) {
        Some(number) => (number, vec![ContactKeyKind::Phone]),
        None => (name.trim().to_owned(), vec![ContactKeyKind::UserId, ContactKeyKind::ParentUserId]),
    };
    #[expect(clippy::disallowed_methods, reason = "names within one client, which came through the scope")]
    let mut rows = db
        .rows(
            contact_key::Entity::find()
                .filter(contact_key::Column::Value.eq(value))
                .filter(contact_key::Column::Kind.is_in(kinds))
                .filter(contact_key::Column::ClientId.eq(client)),
        )
        .await?;
    // A user id itself names before its parent form.
    rows.sort_by_key(|row| row.kind);
    Ok(rows.first().map(|row| row.contact_id))
}

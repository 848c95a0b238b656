//! Reads of templates.

use entity::{ClientId, client, template};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, Select};

use super::{APPROVED, DELETED};
use crate::auth::Scope;
use crate::db::Db;
use crate::db::page::{Ordering, Page, PageArgs, page};

/// A client's templates, in the order in which they were seen first; those that are gone are left out. The client's row says
/// whose it is: see [`Scope::of_client`].
///
/// # Errors
/// When the database is away.
pub async fn list(
    db: &Db,
    scope: &Scope,
    client: &client::Model,
    args: PageArgs,
) -> Result<Page<template::Model>, DbErr> {
    use template::Column;
    let select = scope.of_client::<template::Entity>(client).filter(Column::Status.ne(DELETED));
    page(db, select, Ordering { key: None, id: Column::Id, descending: false }, args).await
}

/// The templates of these clients that have these names, in all languages.
#[expect(clippy::disallowed_methods, reason = "of clients that came through Scope")]
pub fn named(clients: &[ClientId], names: Vec<&str>) -> Select<template::Entity> {
    template::Entity::find()
        .filter(template::Column::ClientId.is_in(clients.iter().copied()))
        .filter(template::Column::Name.is_in(names))
        .filter(template::Column::Status.ne(DELETED))
}

/// Of templates of one name the one in a language: an approved one, if there is one.
pub fn in_language<'a>(rows: &[&'a template::Model], language: &str) -> Option<&'a template::Model> {
    let mut rows: Vec<&template::Model> =
        rows.iter().copied().filter(|row| row.language == language).collect();
    rows.sort_by_key(|row| (row.status == APPROVED, row.status_at));
    rows.last().copied()
}

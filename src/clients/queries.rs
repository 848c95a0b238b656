//! Reads of clients.

use std::collections::HashMap;
use std::sync::Arc;

use entity::{ClientId, ClientMode, ClientStatus, client, lane_entry};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};

use crate::auth::Scope;
use crate::contacts::phone;
use crate::db::page::{Ordering, Page, PageArgs, page_with};
use crate::db::{Columns, Db, search};
use crate::lookup;

/// Which clients.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In one of these states.
    pub status: Option<Vec<ClientStatus>>,
    /// Only of this kind.
    pub mode: Option<ClientMode>,
    /// Words that a name, the number or the partner's own key contains.
    pub search: Option<String>,
}

/// A client that the scope admits; the id of one that was merged into another leads to that one.
///
/// # Errors
/// When the database is away.
pub async fn one(db: &Db, scope: &Scope, id: ClientId) -> Result<Option<Arc<client::Model>>, DbErr> {
    lookup::by_id::<client::Entity>(db, scope, id).await
}

/// Clients that the scope admits, each once, in the order that they were asked for; none if one of them is not there. Of their
/// columns id and partner are read.
///
/// # Errors
/// When the database is away.
pub async fn all(db: &Db, scope: &Scope, ids: &[ClientId]) -> Result<Option<Vec<Arc<client::Model>>>, DbErr> {
    let columns = Columns::Some(vec![client::Column::PartnerId]);
    let rows = lookup::by_ids_with::<client::Entity>(db, scope, ids, columns).await?;
    let mut known: Vec<Arc<client::Model>> = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(row) = rows.get(id) else { return Ok(None) };
        if known.iter().all(|other| other.id != row.id) {
            known.push(row.clone());
        }
    }
    Ok(Some(known))
}

/// Clients, oldest first; of their columns these, the id among them.
///
/// # Errors
/// When the database is away.
pub async fn list(
    db: &Db,
    scope: &Scope,
    filter: &Filter,
    columns: &Columns<client::Entity>,
    args: PageArgs,
) -> Result<Page<client::Model>, DbErr> {
    use client::Column;
    let mut select = scope.find::<client::Entity>();
    if let Some(statuses) = &filter.status {
        select = select.filter(Column::Status.is_in(statuses.iter().copied()));
    }
    if let Some(mode) = filter.mode {
        select = select.filter(Column::Mode.eq(mode));
    }
    if let Some(words) = &filter.search {
        let number = phone::part(words);
        let columns = [
            Column::DisplayName,
            Column::BusinessName,
            Column::Reference,
            Column::PhoneNumber,
            Column::TemporaryNumber,
        ];
        select = select.filter(search::contains(&columns, number.as_deref().unwrap_or(words)));
    }
    let ordering = Ordering { key: None, id: Column::Id, descending: false };
    page_with(db, select, columns, Vec::new(), ordering, args).await
}

/// How many messages of these clients wait in their lanes, those on the wire included. The clients came through the
/// scope; one without any is left out.
///
/// # Errors
/// When the database is away.
pub async fn queued(db: &Db, clients: &[ClientId]) -> Result<HashMap<ClientId, i64>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "counts for clients that came through the scope")]
    let counts: Vec<(ClientId, i64)> = lane_entry::Entity::find()
        .select_only()
        .column(lane_entry::Column::ClientId)
        .column_as(lane_entry::Column::Id.count(), "queued")
        .filter(lane_entry::Column::ClientId.is_in(clients.iter().copied()))
        .group_by(lane_entry::Column::ClientId)
        .into_tuple()
        .all(db.read())
        .await?;
    Ok(counts.into_iter().collect())
}

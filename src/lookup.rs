//! Rows by id. The id of what was merged into something else keeps resolving to it, everywhere: this is the one place
//! that follows it. A merged row itself is gone from its table, so that only an id that leads nowhere costs the second
//! statement.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use entity::{
    ClientId, ContactId, ConversationId, MessageId, OnboardingId, PartnerId, TemplateId, alias, client,
    contact, conversation, message, onboarding, template,
};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use uuid::Uuid;

use crate::auth::{OfClient, Scope};
use crate::db::{Columns, Db, Found};
use crate::ids::PublicId;

/// Merges of merges are followed so far.
const HOPS: usize = 8;

/// A table whose rows are found by an id of one column.
pub trait Identified: OfClient<Model: Found + Sync> {
    /// Its ids.
    type Id: PublicId + Ord + Hash;

    /// That column.
    const ID: Self::Column;

    /// Of a row.
    fn id(row: &Self::Model) -> Self::Id;
}

macro_rules! identified {
    ($($id:ident => $table:ident),+ $(,)?) => {
        $(impl Identified for $table::Entity {
            type Id = $id;

            const ID: Self::Column = $table::Column::Id;

            fn id(row: &Self::Model) -> $id {
                row.id
            }
        })+
    };
}

/// Gives a macro these tables, each with its ids.
macro_rules! each_identified {
    ($each:ident) => {
        $each!(
            ClientId => client,
            OnboardingId => onboarding,
            ContactId => contact,
            ConversationId => conversation,
            MessageId => message,
            TemplateId => template,
        );
    };
}
pub(crate) use each_identified;

each_identified!(identified);

/// The rows that the scope admits, each under the id that it was asked by.
///
/// # Errors
/// When the database is away.
pub async fn by_ids<E: Identified>(
    db: &Db,
    scope: &Scope,
    ids: &[E::Id],
) -> Result<HashMap<E::Id, Arc<E::Model>>, DbErr> {
    by_ids_with::<E>(db, scope, ids, Columns::All).await
}

/// The same, where only some columns are needed beside the id.
///
/// # Errors
/// When the database is away.
pub async fn by_ids_with<E: Identified>(
    db: &Db,
    scope: &Scope,
    ids: &[E::Id],
    columns: Columns<E>,
) -> Result<HashMap<E::Id, Arc<E::Model>>, DbErr> {
    let columns = columns.and(Columns::Some(vec![E::ID]));
    let read = async |ids: Vec<Uuid>| db.rows_with(scope.among::<E>(E::ID, ids), &columns, Vec::new()).await;
    let rows = read(ids.iter().map(|id| id.uuid()).collect()).await?;
    let mut found: HashMap<E::Id, Arc<E::Model>> =
        rows.into_iter().map(|row| (E::id(&row), Arc::new(row))).collect();
    // What is gone under the ids that are looked at now, and what it was asked by at first.
    let mut gone: HashMap<Uuid, Vec<E::Id>> =
        ids.iter().filter(|id| !found.contains_key(id)).map(|id| (id.uuid(), vec![*id])).collect();
    for _ in 0..HOPS {
        if gone.is_empty() {
            break;
        }
        let mut merged: HashMap<Uuid, Vec<E::Id>> = HashMap::new();
        for (id, target) in targets(db, scope.partner(), gone.keys().copied()).await? {
            merged.entry(target).or_default().extend(gone.remove(&id).unwrap_or_default());
        }
        if merged.is_empty() {
            break;
        }
        for row in read(merged.keys().copied().collect()).await? {
            let asked = merged.remove(&E::id(&row).uuid()).unwrap_or_default();
            let row = Arc::new(row);
            found.extend(asked.into_iter().map(|id| (id, row.clone())));
        }
        gone = merged;
    }
    Ok(found)
}

/// One row that the scope admits.
///
/// # Errors
/// When the database is away.
pub async fn by_id<E: Identified>(db: &Db, scope: &Scope, id: E::Id) -> Result<Option<Arc<E::Model>>, DbErr> {
    Ok(by_ids::<E>(db, scope, &[id]).await?.remove(&id))
}

/// All ids under which these rows were ever told: their own and those of what was merged into them.
///
/// # Errors
/// When the database is away.
pub async fn with_former_ids(db: &Db, partner: PartnerId, ids: &[Uuid]) -> Result<HashSet<Uuid>, DbErr> {
    let mut all: HashSet<Uuid> = ids.iter().copied().collect();
    let mut newest: Vec<Uuid> = ids.to_vec();
    for _ in 0..HOPS {
        if newest.is_empty() {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "filtered by the partner right here")]
        let rows = db
            .rows(
                alias::Entity::find()
                    .filter(alias::Column::PartnerId.eq(partner))
                    .filter(alias::Column::Target.is_in(newest)),
            )
            .await?;
        newest = rows.into_iter().map(|row| row.id).filter(|id| all.insert(*id)).collect();
    }
    Ok(all)
}

async fn targets(
    db: &Db,
    partner: PartnerId,
    ids: impl Iterator<Item = Uuid>,
) -> Result<Vec<(Uuid, Uuid)>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "filtered by the partner right here")]
    let rows = db
        .rows(
            alias::Entity::find()
                .filter(alias::Column::PartnerId.eq(partner))
                .filter(alias::Column::Id.is_in(ids)),
        )
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.target)).collect())
}

//! Rows by id. The id of what was merged into something else keeps resolving to it, everywhere: this is the one place
//! that follows it. A merged row itself is gone from its table, so that only an id that leads nowhere costs the second
//! statement.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use entity::{PartnerId, alias, client, contact, conversation, message, onboarding, template};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::auth::{OfClient, Scope};
use crate::db::{Columns, Db};

/// Merges of merges are followed so far.
const HOPS: usize = 8;

/// A table whose rows are found by an id of one column.
pub trait Identified: OfClient {
    /// That column.
    const ID: Self::Column;

    /// Of a row.
    fn id(row: &Self::Model) -> Uuid;
}

macro_rules! identified {
    ($($table:ident),+ $(,)?) => {
        $(impl Identified for $table::Entity {
            const ID: Self::Column = $table::Column::Id;

            fn id(row: &Self::Model) -> Uuid {
                row.id.0
            }
        })+
    };
}

identified!(client, onboarding, contact, conversation, message, template);

/// The rows that the scope admits, each under the id that it was asked by.
///
/// # Errors
/// When the database is away.
pub async fn by_ids<E>(db: &Db, scope: &Scope, ids: &[Uuid]) -> Result<HashMap<Uuid, Arc<E::Model>>, DbErr>
where
    E: Identified,
    E::Model: DeserializeOwned + Send + Sync + 'static,
{
    by_ids_with::<E>(db, scope, ids, &Columns::All).await
}

/// The same, where only some columns are needed: the id among them.
///
/// # Errors
/// When the database is away.
pub async fn by_ids_with<E>(
    db: &Db,
    scope: &Scope,
    ids: &[Uuid],
    columns: &Columns<E>,
) -> Result<HashMap<Uuid, Arc<E::Model>>, DbErr>
where
    E: Identified,
    E::Model: DeserializeOwned + Send + Sync + 'static,
{
    let mut found = HashMap::with_capacity(ids.len());
    // What is asked for now, and under which ids it was asked for at first.
    let mut wanted: HashMap<Uuid, Vec<Uuid>> = ids.iter().map(|id| (*id, vec![*id])).collect();
    for _ in 0..=HOPS {
        let among = scope.among::<E>(E::ID, wanted.keys().copied());
        let rows = db.rows_with(among, columns).await?;
        for row in rows {
            let row = Arc::new(row);
            for asked in wanted.remove(&E::id(&row)).unwrap_or_default() {
                found.insert(asked, row.clone());
            }
        }
        if wanted.is_empty() {
            break;
        }
        let targets = targets(db, scope.partner(), wanted.keys().copied()).await?;
        let mut next: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        for (id, target) in targets {
            if let Some(asked) = wanted.remove(&id) {
                next.entry(target).or_default().extend(asked);
            }
        }
        if next.is_empty() {
            break;
        }
        wanted = next;
    }
    Ok(found)
}

/// One row that the scope admits.
///
/// # Errors
/// When the database is away.
pub async fn by_id<E>(db: &Db, scope: &Scope, id: Uuid) -> Result<Option<Arc<E::Model>>, DbErr>
where
    E: Identified,
    E::Model: DeserializeOwned + Send + Sync + 'static,
{
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

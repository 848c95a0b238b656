//! Batched writes.

use sea_orm::sea_query::{Func, FunctionCall, IntoIden, OnConflict, SimpleExpr};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseBackend, DbErr, EntityTrait, IntoActiveModel, Iterable,
    ModelTrait, PrimaryKeyToColumn,
};

/// SQLite takes at most 32,766 values in a statement; Postgres 65,535.
const BINDS: usize = 30_000;

/// Writes whole rows, new or known, in as few statements as can be.
///
/// # Errors
/// When the database refuses or is away.
pub async fn upsert<E, C>(connection: &C, rows: Vec<E::Model>) -> Result<(), DbErr>
where
    E: EntityTrait,
    C: ConnectionTrait,
    E::Model: IntoActiveModel<E::ActiveModel> + ModelTrait<Entity = E>,
    E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
{
    if rows.is_empty() {
        return Ok(());
    }
    let keys: Vec<E::Column> = E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column).collect();
    let others: Vec<E::Column> =
        E::Column::iter().filter(|column| !keys.iter().any(|key| same(*key, *column))).collect();
    let per_statement = (BINDS / (keys.len() + others.len())).clamp(1, 500);
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let chunk: Vec<E::ActiveModel> =
            rows.by_ref().take(per_statement).map(|row| row.into_active_model().reset_all()).collect();
        let mut conflict = OnConflict::columns(keys.iter().copied());
        if others.is_empty() {
            conflict.do_nothing()
        } else {
            conflict.update_columns(others.iter().copied())
        };
        E::insert_many(chunk).on_conflict(conflict).exec_without_returning(connection).await?;
    }
    Ok(())
}

fn same(a: impl IntoIden, b: impl IntoIden) -> bool {
    a.into_iden() == b.into_iden()
}

/// The smaller of two values: `min` on SQLite, `least` on Postgres.
pub fn least(backend: DatabaseBackend, a: impl Into<SimpleExpr>, b: impl Into<SimpleExpr>) -> FunctionCall {
    let name = if backend == DatabaseBackend::Sqlite { "min" } else { "least" };
    Func::cust(name).arg(a).arg(b)
}

//! Batched writes, and lists of values, in few different statements: a statement that was seen before is neither built nor
//! planned again (measured: a third of the time of a write), and what drivers keep of statements stays small.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use sea_orm::sea_query::{Func, FunctionCall, IntoIden, OnConflict, SimpleExpr};
use sea_orm::{
    ActiveModelTrait, DatabaseBackend, DbErr, EntityTrait, IntoActiveModel, Iterable, ModelTrait,
    PrimaryKeyToColumn, QueryTrait, Statement, Value,
};

use super::tx::Sql;

/// Rows in one statement, at most. What a driver keeps of a statement grows with them (measured: with four times as many an
/// import takes 20 MB more, and no less time).
const ROWS: usize = 32;

/// What happens to a row that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Known {
    Replaced,
    /// All but these columns, a bit for each.
    ReplacedBut(u64),
    Refused,
}

/// The text of a statement: it depends on nothing else.
type Shape = (TypeId, Known, usize, bool);

static TEXTS: LazyLock<RwLock<HashMap<Shape, Arc<str>>>> = LazyLock::new(RwLock::default);

/// Writes whole rows, new or known.
///
/// # Errors
/// When the database refuses or is away.
pub async fn upsert<E, C>(connection: &C, rows: Vec<E::Model>) -> Result<(), DbErr>
where
    E: EntityTrait,
    C: Sql,
    E::Model: IntoActiveModel<E::ActiveModel> + ModelTrait<Entity = E>,
    E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
{
    write::<E, C>(connection, rows, Known::Replaced).await
}

/// Writes whole rows that are known, and whose values in some columns are what they were. Indexes of these alone are left as
/// they are: an upsert takes a row out of each of its indexes and puts it back.
///
/// # Errors
/// When the database refuses or is away.
pub async fn update<E, C>(
    connection: &C,
    rows: Vec<E::Model>,
    same_as_before: &[E::Column],
) -> Result<(), DbErr>
where
    E: EntityTrait,
    C: Sql,
    E::Model: IntoActiveModel<E::ActiveModel> + ModelTrait<Entity = E>,
    E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
{
    let bits = E::Column::iter().enumerate().filter(|(_, column)| is_one_of::<E>(same_as_before, *column));
    let bits = bits.fold(0, |bits, (place, _)| bits | 1 << place);
    write::<E, C>(connection, rows, Known::ReplacedBut(bits)).await
}

/// Writes new rows.
///
/// # Errors
/// When one is there already, or the database refuses otherwise or is away.
pub async fn insert<E, C>(connection: &C, rows: Vec<E::Model>) -> Result<(), DbErr>
where
    E: EntityTrait,
    C: Sql,
    E::Model: IntoActiveModel<E::ActiveModel> + ModelTrait<Entity = E>,
    E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
{
    write::<E, C>(connection, rows, Known::Refused).await
}

/// Statements that write new rows; see [`insert`].
pub fn inserts<E>(backend: DatabaseBackend, rows: &[E::Model]) -> Vec<Statement>
where
    E: EntityTrait,
    E::Model: IntoActiveModel<E::ActiveModel> + ModelTrait<Entity = E>,
    E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
{
    statements::<E>(backend, rows, Known::Refused)
}

async fn write<E, C>(connection: &C, rows: Vec<E::Model>, known: Known) -> Result<(), DbErr>
where
    E: EntityTrait,
    C: Sql,
    E::Model: IntoActiveModel<E::ActiveModel> + ModelTrait<Entity = E>,
    E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
{
    let statements = statements::<E>(connection.backend(), &rows, known);
    drop(rows);
    for statement in statements {
        connection.put(statement).await?;
    }
    Ok(())
}

fn statements<E>(backend: DatabaseBackend, mut rest: &[E::Model], known: Known) -> Vec<Statement>
where
    E: EntityTrait,
    E::Model: IntoActiveModel<E::ActiveModel> + ModelTrait<Entity = E>,
    E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
{
    let mut statements = Vec::new();
    while !rest.is_empty() {
        // A power of two: of every table at most six different statements are ever seen.
        let count = (1 << rest.len().ilog2()).min(ROWS);
        let (chunk, others) = rest.split_at(count);
        rest = others;
        let shape = (TypeId::of::<E>(), known, count, backend == DatabaseBackend::Sqlite);
        let text = TEXTS.read().unwrap_or_else(PoisonError::into_inner).get(&shape).cloned();
        let text = text.unwrap_or_else(|| {
            let text: Arc<str> = text_of::<E>(chunk, known, backend).into();
            TEXTS.write().unwrap_or_else(PoisonError::into_inner).insert(shape, text.clone());
            text
        });
        let values: Vec<Value> =
            chunk.iter().flat_map(|row| E::Column::iter().map(|column| row.get(column))).collect();
        statements.push(Statement::from_sql_and_values(backend, &*text, values));
    }
    statements
}

/// The statement that writes so many rows; all columns, in their order.
fn text_of<E>(rows: &[E::Model], known: Known, backend: DatabaseBackend) -> String
where
    E: EntityTrait,
    E::Model: IntoActiveModel<E::ActiveModel>,
    E::ActiveModel: ActiveModelTrait<Entity = E>,
{
    let keys: Vec<E::Column> = E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column).collect();
    let but = if let Known::ReplacedBut(bits) = known { bits } else { 0 };
    let others: Vec<E::Column> = E::Column::iter()
        .enumerate()
        .filter(|(place, column)| but >> place & 1 == 0 && !is_one_of::<E>(&keys, *column))
        .map(|(_, column)| column)
        .collect();
    let mut insert = E::insert_many(rows.iter().cloned().map(|row| row.into_active_model().reset_all()));
    if known != Known::Refused {
        let mut conflict = OnConflict::columns(keys);
        if others.is_empty() {
            conflict.do_nothing()
        } else {
            conflict.update_columns(others)
        };
        insert = insert.on_conflict(conflict);
    }
    insert.build(backend).sql
}

fn is_one_of<E: EntityTrait>(columns: &[E::Column], one: E::Column) -> bool {
    columns.iter().any(|column| column.into_iden() == one.into_iden())
}

/// Values for an IN list, the last one repeated until their number is a power of two.
pub fn padded<T: Clone>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    if let Some(last) = values.last().cloned() {
        values.resize(values.len().next_power_of_two(), last);
    }
    values
}

/// The smaller of two values: `min` on SQLite, `least` on Postgres.
pub fn least(backend: DatabaseBackend, a: impl Into<SimpleExpr>, b: impl Into<SimpleExpr>) -> FunctionCall {
    let name = if backend == DatabaseBackend::Sqlite { "min" } else { "least" };
    Func::cust(name).arg(a).arg(b)
}

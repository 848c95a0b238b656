//! What statements run through: a transaction, the writer for one statement alone, a connection that reads. The same on both
//! databases.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use sea_orm::sea_query::Query;
use sea_orm::sqlx::PgPool;
use sea_orm::{
    ConnectionTrait, DatabaseBackend, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, Iterable,
    QuerySelect, QueryTrait, Select, Statement, StatementBuilder, UpdateMany,
};
use serde::de::DeserializeOwned;

use super::Db;
use super::decode::{Extent, Failed, models_of};
use super::writer::{self, Transaction, Writer};

/// What a statement finds, whichever driver reads it: a model, or a struct whose fields are the columns in their order.
pub trait Found: DeserializeOwned + Send + 'static {}

impl<M: DeserializeOwned + Send + 'static> Found for M {}

/// What statements run through.
pub trait Sql: Sync {
    /// Which kind of database it is.
    fn backend(&self) -> DatabaseBackend;

    /// What a statement finds, or returns of what it changed.
    ///
    /// # Errors
    /// When the database refuses or is away; within a transaction also when something that was put before it was refused.
    fn read<M: Found>(&self, statement: Statement) -> impl Future<Output = Result<Vec<M>, DbErr>> + Send;

    /// Changes rows, and tells how many.
    ///
    /// # Errors
    /// As [`Sql::read`].
    fn change(&self, statement: Statement) -> impl Future<Output = Result<u64, DbErr>> + Send;

    /// Changes rows, with nothing to tell but that it failed: which a transaction may tell with a later statement, or when
    /// it is committed. What needs no answer goes this way: on SQLite it waits for nobody.
    ///
    /// # Errors
    /// As [`Sql::read`].
    fn put(&self, statement: Statement) -> impl Future<Output = Result<(), DbErr>> + Send;
}

/// Selects, run through [`Sql`].
pub trait SelectExt: QueryTrait + Sized {
    /// What is found.
    type Row: Found;

    /// All rows.
    ///
    /// # Errors
    /// As [`Sql::read`].
    fn rows<C: Sql>(self, through: &C) -> impl Future<Output = Result<Vec<Self::Row>, DbErr>> + Send;

    /// All rows of a select that names its columns.
    ///
    /// # Errors
    /// As [`Sql::read`].
    fn rows_as<M: Found, C: Sql>(self, through: &C) -> impl Future<Output = Result<Vec<M>, DbErr>> + Send {
        through.read(self.build(through.backend()))
    }

    /// The first row.
    ///
    /// # Errors
    /// As [`Sql::read`].
    fn row<C: Sql>(self, through: &C) -> impl Future<Output = Result<Option<Self::Row>, DbErr>> + Send;
}

impl<E> SelectExt for Select<E>
where
    E: EntityTrait,
    E::Model: Found,
{
    type Row = E::Model;

    fn rows<C: Sql>(self, through: &C) -> impl Future<Output = Result<Vec<E::Model>, DbErr>> + Send {
        through.read(self.build(through.backend()))
    }

    async fn row<C: Sql>(self, through: &C) -> Result<Option<E::Model>, DbErr> {
        let found = through.read(self.limit(1).build(through.backend()));
        Ok(found.await?.into_iter().next())
    }
}

/// Inserts, updates and deletes, run through [`Sql`].
pub trait WriteExt: QueryTrait + Sized {
    /// Changes rows, and tells how many.
    ///
    /// # Errors
    /// As [`Sql::read`].
    fn write<C: Sql>(self, through: &C) -> impl Future<Output = Result<u64, DbErr>> + Send {
        through.change(self.build(through.backend()))
    }

    /// Changes rows; see [`Sql::put`].
    ///
    /// # Errors
    /// As [`Sql::read`].
    fn put<C: Sql>(self, through: &C) -> impl Future<Output = Result<(), DbErr>> + Send {
        through.put(self.build(through.backend()))
    }
}

impl<T: QueryTrait> WriteExt for T {}

/// Updates that give back what they changed.
pub trait UpdateExt {
    /// A row that was changed.
    type Row: Found;

    /// Changes rows, and gives them as they are then.
    ///
    /// # Errors
    /// As [`Sql::read`].
    fn write_and_tell<C: Sql>(
        self,
        through: &C,
    ) -> impl Future<Output = Result<Vec<Self::Row>, DbErr>> + Send;
}

impl<E> UpdateExt for UpdateMany<E>
where
    E: EntityTrait,
    E::Model: Found,
{
    type Row = E::Model;

    fn write_and_tell<C: Sql>(
        mut self,
        through: &C,
    ) -> impl Future<Output = Result<Vec<E::Model>, DbErr>> + Send {
        QueryTrait::query(&mut self).returning(Query::returning().columns(E::Column::iter()));
        through.read(self.build(through.backend()))
    }
}

/// What a statement finds on Postgres.
pub(super) async fn read<M: Found>(
    through: &impl ConnectionTrait,
    statement: Statement,
    extent: Extent,
) -> Result<Vec<M>, DbErr> {
    models_of(&through.query_all_raw(statement).await?, extent)
}

/// Statements that were built without an entity.
pub fn built<S: StatementBuilder>(through: &impl Sql, statement: &S) -> Statement {
    through.backend().build(statement)
}

/// A transaction that writes; dropped without [`Tx::commit`], it rolls back.
pub struct Tx {
    kind: Kind,
    statements: Arc<AtomicU64>,
}

enum Kind {
    Sqlite(Transaction),
    /// Its connection counts by itself.
    Postgres(DatabaseTransaction),
}

impl Tx {
    /// Makes it last.
    ///
    /// # Errors
    /// When the database refuses or is away: then nothing was written.
    pub async fn commit(self) -> Result<(), DbErr> {
        match self.kind {
            Kind::Sqlite(transaction) => transaction.commit().await,
            Kind::Postgres(transaction) => transaction.commit().await,
        }
    }

    /// Runs a statement, makes of what it found what else is to be written, writes that and makes all of it last: on SQLite
    /// in one go, without a way back in between.
    ///
    /// # Errors
    /// When the database refuses or is away: then nothing was written.
    pub async fn commit_with<M, R, F>(self, statement: Statement, then: F) -> Result<R, DbErr>
    where
        M: Found,
        R: Send + 'static,
        F: FnOnce(Vec<M>) -> Result<(R, Vec<Statement>), DbErr> + Send + 'static,
    {
        match self.kind {
            Kind::Sqlite(transaction) => {
                let statements = self.statements;
                let run = move |connection: &Connection| {
                    let (done, rest) = then(writer::read(connection, &statement)?).map_err(Failed::value)?;
                    statements.fetch_add(1 + rest.len() as u64, Ordering::Relaxed);
                    for statement in &rest {
                        writer::change(connection, statement)?;
                    }
                    Ok(done)
                };
                transaction.commit_after(run).await
            }
            Kind::Postgres(transaction) => {
                let found = read(&transaction, statement, Extent::Whole).await?;
                let (done, rest) = then(found)?;
                for statement in rest {
                    transaction.execute_raw(statement).await?;
                }
                transaction.commit().await?;
                Ok(done)
            }
        }
    }

    /// Waits until all that was put is written, though not for good.
    ///
    /// # Errors
    /// When some of it was refused.
    pub async fn flush(&self) -> Result<(), DbErr> {
        match &self.kind {
            Kind::Sqlite(transaction) => transaction.run(|_| Ok(())).await,
            Kind::Postgres(_) => Ok(()),
        }
    }

    fn count(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }
}

impl Sql for Tx {
    fn backend(&self) -> DatabaseBackend {
        match &self.kind {
            Kind::Sqlite(_) => DatabaseBackend::Sqlite,
            Kind::Postgres(_) => DatabaseBackend::Postgres,
        }
    }

    async fn read<M: Found>(&self, statement: Statement) -> Result<Vec<M>, DbErr> {
        match &self.kind {
            Kind::Sqlite(transaction) => {
                self.count();
                transaction.run(move |connection| writer::read(connection, &statement)).await
            }
            Kind::Postgres(transaction) => read(transaction, statement, Extent::Whole).await,
        }
    }

    async fn change(&self, statement: Statement) -> Result<u64, DbErr> {
        match &self.kind {
            Kind::Sqlite(transaction) => {
                self.count();
                transaction.run(move |connection| writer::change(connection, &statement)).await
            }
            Kind::Postgres(transaction) => Ok(transaction.execute_raw(statement).await?.rows_affected()),
        }
    }

    async fn put(&self, statement: Statement) -> Result<(), DbErr> {
        match &self.kind {
            Kind::Sqlite(transaction) => {
                self.count();
                transaction.post(statement);
                Ok(())
            }
            Kind::Postgres(transaction) => transaction.execute_raw(statement).await.map(drop),
        }
    }
}

/// The writer, for statements that are alone.
#[derive(Clone)]
pub struct Single {
    kind: SingleKind,
    statements: Arc<AtomicU64>,
}

#[derive(Clone)]
enum SingleKind {
    Sqlite(Arc<Writer>),
    /// Its connections count by themselves.
    Postgres(DatabaseConnection),
}

impl Single {
    pub(super) fn sqlite(writer: Arc<Writer>, statements: &Arc<AtomicU64>) -> Self {
        Self { kind: SingleKind::Sqlite(writer), statements: statements.clone() }
    }

    pub(super) fn postgres(pool: DatabaseConnection) -> Self {
        Self { kind: SingleKind::Postgres(pool), statements: Arc::default() }
    }

    pub(super) async fn begin(&self) -> Result<Tx, DbErr> {
        let kind = match &self.kind {
            SingleKind::Sqlite(writer) => Kind::Sqlite(writer.begin()),
            SingleKind::Postgres(pool) => {
                #[expect(clippy::disallowed_methods, reason = "this is the way that the lint points to")]
                let transaction = sea_orm::TransactionTrait::begin(pool).await?;
                Kind::Postgres(transaction)
            }
        };
        Ok(Tx { kind, statements: self.statements.clone() })
    }

    /// Postgres' connections; none on SQLite.
    pub fn postgres_pool(&self) -> Option<&PgPool> {
        match &self.kind {
            SingleKind::Sqlite(_) => None,
            SingleKind::Postgres(pool) => Some(pool.get_postgres_connection_pool()),
        }
    }

    pub(super) async fn close(&self) -> Result<(), DbErr> {
        match &self.kind {
            SingleKind::Sqlite(writer) => {
                writer.close().await;
                Ok(())
            }
            SingleKind::Postgres(pool) => pool.close_by_ref().await,
        }
    }

    fn count(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }
}

impl Sql for Single {
    fn backend(&self) -> DatabaseBackend {
        match &self.kind {
            SingleKind::Sqlite(_) => DatabaseBackend::Sqlite,
            SingleKind::Postgres(_) => DatabaseBackend::Postgres,
        }
    }

    async fn read<M: Found>(&self, statement: Statement) -> Result<Vec<M>, DbErr> {
        match &self.kind {
            SingleKind::Sqlite(writer) => {
                self.count();
                writer.single(move |connection| writer::read(connection, &statement)).await
            }
            SingleKind::Postgres(pool) => read(pool, statement, Extent::Whole).await,
        }
    }

    async fn change(&self, statement: Statement) -> Result<u64, DbErr> {
        match &self.kind {
            SingleKind::Sqlite(writer) => {
                self.count();
                writer.single(move |connection| writer::change(connection, &statement)).await
            }
            SingleKind::Postgres(pool) => Ok(pool.execute_raw(statement).await?.rows_affected()),
        }
    }

    async fn put(&self, statement: Statement) -> Result<(), DbErr> {
        self.change(statement).await.map(drop)
    }
}

/// Where a look happens, and what it marks: in a transaction that is open already, or each statement by itself.
#[derive(Clone, Copy)]
pub enum Reader<'a> {
    /// Beside the writer: what is committed.
    Beside(&'a Db),
    /// Within a transaction.
    Within(&'a Tx),
}

impl Sql for Reader<'_> {
    fn backend(&self) -> DatabaseBackend {
        match self {
            Self::Beside(db) => db.backend(),
            Self::Within(tx) => tx.backend(),
        }
    }

    async fn read<M: Found>(&self, statement: Statement) -> Result<Vec<M>, DbErr> {
        match self {
            Self::Beside(db) => db.found(statement, Extent::Whole).await,
            Self::Within(tx) => tx.read(statement).await,
        }
    }

    async fn change(&self, statement: Statement) -> Result<u64, DbErr> {
        match self {
            Self::Beside(db) => db.write().change(statement).await,
            Self::Within(tx) => tx.change(statement).await,
        }
    }

    async fn put(&self, statement: Statement) -> Result<(), DbErr> {
        match self {
            Self::Beside(db) => db.write().put(statement).await,
            Self::Within(tx) => tx.put(statement).await,
        }
    }
}

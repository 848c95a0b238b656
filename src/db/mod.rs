//! The database: how it is opened, how a writing transaction begins, how lists are paged.

mod alone;
mod decode;
pub mod page;
mod rows;
pub mod search;
mod write;

use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use entity::ClientId;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseBackend, DatabaseConnection, DatabaseTransaction,
    DbErr, EntityTrait, QueryTrait, RuntimeErr, Select, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait,
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::sync::OwnedMutexGuard;
use tokio::task::coop::unconstrained;

pub use alone::Alone;
use rows::Rows;
pub use write::{insert, least, padded, update, upsert};

/// What a database is for: how many read it beside the writer, and how much of it each connection keeps in memory. SQLite
/// only: Postgres has one pool for both, and a memory of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Rows that are looked up all the time.
    Rows,
    /// Bodies that are written once and read once, if at all.
    Queue,
}

impl Purpose {
    fn readers(self) -> u32 {
        match self {
            Purpose::Rows => 4,
            Purpose::Queue => 1,
        }
    }

    /// MB of pages.
    fn caches(self) -> (u32, u32) {
        match self {
            // A transaction's worth for the writer: more made nothing faster (measured).
            Purpose::Rows => (4, 4),
            Purpose::Queue => (2, 1),
        }
    }
}

/// Connections to Postgres.
const POOL: u32 = 16;

/// An open database.
#[derive(Clone)]
pub struct Db {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    rows: Option<Arc<Rows>>,
    locks: Locks,
    statements: Arc<AtomicU64>,
}

impl Db {
    /// Opens it. On SQLite: one writer and some readers over the same file, write-ahead log, and every commit on the
    /// disk before it returns (invariant 1).
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(url: &SecretString, purpose: Purpose) -> Result<Self, DbErr> {
        let statements = Arc::new(AtomicU64::new(0));
        let url = url.expose_secret();
        if url.starts_with("sqlite") {
            let (writer, reader) = purpose.caches();
            let writer = connect(url, 1, writer, &statements).await?;
            let (reader, rows) = if url.contains(":memory:") {
                (writer.clone(), None)
            } else {
                let file =
                    url.parse().map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))))?;
                let rows = Rows::new(&file, purpose.readers(), reader);
                (connect(url, purpose.readers(), reader, &statements).await?, Some(rows))
            };
            Ok(Self { writer, reader, rows, locks: Locks::default(), statements })
        } else {
            let pool = connect(url, POOL, 0, &statements).await?;
            Ok(Self { writer: pool.clone(), reader: pool, rows: None, locks: Locks::default(), statements })
        }
    }

    /// For reading. Never held between two pages of anything.
    pub fn read(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// All rows of a select: for lists and whatever else reads many. The same as `select.all(db.read())`, several times
    /// cheaper on SQLite.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn rows<E>(&self, select: Select<E>) -> Result<Vec<E::Model>, DbErr>
    where
        E: EntityTrait,
        E::Model: DeserializeOwned + 'static,
    {
        let Some(rows) = &self.rows else { return select.all(self.read()).await };
        self.statements.fetch_add(1, Ordering::Relaxed);
        rows.read(select.build(DatabaseBackend::Sqlite)).await
    }

    /// The same within a transaction, if there is one already.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn rows_within<E>(
        &self,
        tx: Option<&DatabaseTransaction>,
        select: Select<E>,
    ) -> Result<Vec<E::Model>, DbErr>
    where
        E: EntityTrait,
        E::Model: DeserializeOwned + 'static,
    {
        match tx {
            Some(tx) => select.all(tx).await,
            None => self.rows(select).await,
        }
    }

    /// For single statements that write.
    pub fn write(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// Begins a transaction that writes; dropped without `commit`, it rolls back. The only way to open one: on SQLite
    /// it takes the write lock at once, since a transaction that first reads and then writes fails under load.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn begin_write(&self) -> Result<DatabaseTransaction, DbErr> {
        #[expect(clippy::disallowed_methods, reason = "this is the way that the lint points to")]
        self.writer
            .begin_with_options(TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), // ignored by Postgres
                ..Default::default()
            })
            .await
    }

    /// Waits until nobody else in this process writes to these clients' rows: whoever is polled first is first with every
    /// client. Never while a transaction is open or another client is held: whoever holds a client may be waiting for it.
    pub async fn hold(&self, clients: impl IntoIterator<Item = ClientId>) -> HeldClients {
        self.locks.hold(clients.into_iter().collect()).await
    }

    /// Of these clients those that nobody holds right now.
    pub fn hold_free(&self, clients: impl IntoIterator<Item = ClientId>) -> HeldClients {
        let free = clients.into_iter().collect::<BTreeSet<ClientId>>().into_iter();
        let (clients, locks) =
            free.filter_map(|client| Some((client, self.locks.of(client).try_lock_owned().ok()?))).unzip();
        HeldClients { clients, _locks: locks }
    }

    /// Begins a transaction that writes to clients that are held; see [`Db::begin_write`].
    ///
    /// # Errors
    /// When the database is away.
    pub async fn begin_for(&self, held: &HeldClients) -> Result<DatabaseTransaction, DbErr> {
        let tx = self.begin_write().await?;
        lock_clients(&tx, &held.clients).await?;
        Ok(tx)
    }

    /// Which kind it is.
    pub fn backend(&self) -> DatabaseBackend {
        self.writer.get_database_backend()
    }

    /// Statements run since it was opened: what tests and the benchmark hold constant per page.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// What SQLite's `PRAGMA synchronous` says on the writer: 2 is FULL. None on Postgres.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn synchronous(&self) -> Result<Option<i64>, DbErr> {
        if self.backend() != DatabaseBackend::Sqlite {
            return Ok(None);
        }
        let row = self
            .writer
            .query_one_raw(Statement::from_string(DatabaseBackend::Sqlite, "PRAGMA synchronous"))
            .await?;
        row.map(|row| row.try_get_by_index(0)).transpose()
    }

    /// Closes all connections.
    ///
    /// # Errors
    /// When closing fails.
    pub async fn close(self) -> Result<(), DbErr> {
        if let Some(rows) = &self.rows {
            rows.close().await;
        }
        self.writer.close_by_ref().await?;
        self.reader.close_by_ref().await
    }
}

/// The database's own clock as SQL, microseconds since 1970: for leases, which several processes must read alike.
pub fn clock(backend: DatabaseBackend) -> &'static str {
    match backend {
        DatabaseBackend::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        _ => "CAST(extract(epoch from clock_timestamp()) * 1000000 AS bigint)",
    }
}

/// Clients whose rows nobody else writes until this is dropped. What reads rows, changes them in memory and writes them back
/// must hold their clients from before the first look until after the commit.
pub struct HeldClients {
    clients: BTreeSet<ClientId>,
    _locks: Vec<OwnedMutexGuard<()>>,
}

impl HeldClients {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Whether a client is among them.
    pub fn holds(&self, client: ClientId) -> bool {
        self.clients.contains(&client)
    }
}

/// One lock for each client that is being written to, within this process.
#[derive(Clone, Default)]
struct Locks(Arc<Mutex<HashMap<ClientId, Arc<tokio::sync::Mutex<()>>>>>);

impl Locks {
    /// Locks above this number are looked through for those that nobody holds.
    const TIDY: usize = 1024;

    fn of(&self, client: ClientId) -> Arc<tokio::sync::Mutex<()>> {
        Self::among(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), client)
    }

    fn among(
        locks: &mut HashMap<ClientId, Arc<tokio::sync::Mutex<()>>>,
        client: ClientId,
    ) -> Arc<tokio::sync::Mutex<()>> {
        if locks.len() >= Self::TIDY {
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        locks.entry(client).or_default().clone()
    }

    /// Gets in all clients' lines at one instant, so that nobody waits in a circle, and nobody who came later is served
    /// earlier by any of them.
    async fn hold(&self, clients: BTreeSet<ClientId>) -> HeldClients {
        let (mut held, mut waiting) = (Vec::with_capacity(clients.len()), Vec::new());
        poll_fn(|context| {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for client in &clients {
                // Without tokio's budget: a task that has done enough would not even get in line.
                let mut turn = Box::pin(unconstrained(Self::among(&mut locks, *client).lock_owned()));
                match turn.as_mut().poll(context) {
                    Poll::Ready(lock) => held.push(lock),
                    Poll::Pending => waiting.push(turn),
                }
            }
            Poll::Ready(())
        })
        .await;
        for turn in waiting {
            held.push(turn.await);
        }
        HeldClients { clients, _locks: held }
    }
}

/// The same between processes that share a Postgres database, until the transaction ends.
async fn lock_clients(tx: &DatabaseTransaction, clients: &BTreeSet<ClientId>) -> Result<(), DbErr> {
    if tx.get_database_backend() == DatabaseBackend::Sqlite {
        return Ok(());
    }
    for client in clients {
        let (high, low) = client.0.as_u64_pair();
        let key = i64::from_ne_bytes((high ^ low).to_ne_bytes());
        tx.execute_raw(Statement::from_sql_and_values(
            DatabaseBackend::Postgres,
            "SELECT pg_advisory_xact_lock($1)",
            [key.into()],
        ))
        .await?;
    }
    Ok(())
}

async fn connect(
    url: &str,
    connections: u32,
    cache_mb: u32,
    statements: &Arc<AtomicU64>,
) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(10))
        .sqlx_logging(false)
        .test_before_acquire(false)
        .map_sqlx_sqlite_opts(move |sqlite| {
            sqlite
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(5))
                .foreign_keys(true)
                .pragma("cache_size", format!("-{}", cache_mb * 1024))
                .pragma("temp_store", "memory")
                // 40 MB of log before it is copied back: each page is then copied once for many commits.
                .pragma("wal_autocheckpoint", "10000")
                .row_buffer_size(256)
                .statement_cache_capacity(256)
        })
        // LIMIT is a parameter: a plan made without its value reads whole conversations (measured at half the speed).
        .map_sqlx_postgres_opts(|postgres| postgres.options([("plan_cache_mode", "force_custom_plan")]));
    let mut connection = Database::connect(options).await?;
    let statements = statements.clone();
    connection.set_metric_callback(move |_| {
        statements.fetch_add(1, Ordering::Relaxed);
    });
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn who_waits_first_is_first_with_every_client() {
        let [one, two] = [1, 2].map(|id| ClientId(uuid::Uuid::from_u128(id)));
        let locks = Locks::default();
        let first = locks.hold([one].into()).await;
        let mut second = Box::pin(locks.hold([one, two].into()));
        assert!(poll!(&mut second).is_pending());
        let mut third = Box::pin(locks.hold([two].into()));
        assert!(poll!(&mut third).is_pending(), "two is free, and the second's");
        drop(first);
        let second = second.await;
        assert!(second.holds(one) && second.holds(two));
        assert!(poll!(&mut third).is_pending());
        drop(second);
        third.await;
    }
}

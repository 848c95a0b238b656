//! The database: how it is opened, how a writing transaction begins, how lists are paged.

mod alone;
mod bound;
mod decode;
mod join;
pub mod page;
mod rows;
pub mod search;
mod tx;
mod write;
mod writer;

use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use entity::ClientId;
use migration::MigratorTrait;
use sea_orm::sqlx;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, Database, DatabaseBackend, DatabaseConnection, DbErr, EntityTrait, IdenStatic, Iterable,
    QuerySelect, QueryTrait, RuntimeErr, Select, Statement,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::OwnedMutexGuard;
use tokio::task::coop::unconstrained;

pub use alone::Alone;
use decode::Extent;
pub use join::{Join, Joined, Shared};
use rows::Rows;
pub use tx::{Found, Reader, SelectExt, Single, Sql, Tx, UpdateExt, WriteExt, built};
pub use write::{insert, inserts, least, padded, update, upsert};
use writer::Writer;

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

/// Which columns of its rows a look needs.
#[derive(Clone, Debug)]
pub enum Columns<E: EntityTrait> {
    /// All.
    All,
    /// These. The other fields of a model are then empty, without a sign of it (zero, no text, the first of an enum's words):
    /// for what is known to look at these alone.
    Some(Vec<E::Column>),
}

impl<E: EntityTrait> Columns<E> {
    /// None of them: whether there is a row is all that matters.
    pub fn none() -> Self {
        Self::Some(Vec::new())
    }

    /// These and those.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        match (self, others) {
            (Self::Some(mut some), Self::Some(others)) => {
                some.extend(others);
                Self::Some(some)
            }
            _ => Self::All,
        }
    }

    /// In the table's order. A sixth of a page's time went into values that nobody had asked for.
    fn needed(&self) -> impl Iterator<Item = E::Column> {
        E::Column::iter().filter(move |column| match self {
            Self::All => true,
            Self::Some(wanted) => wanted.iter().any(|wanted| wanted.as_str() == column.as_str()),
        })
    }
}

/// An open database.
#[derive(Clone)]
pub struct Db {
    writer: Single,
    reader: DatabaseConnection,
    rows: Option<Arc<Rows>>,
    locks: Locks,
    statements: Arc<AtomicU64>,
}

impl Db {
    /// Opens it and brings its schema up to date. On SQLite: one writer and some readers over the same file, write-ahead
    /// log, and every commit on the disk before it returns (invariant 1).
    ///
    /// # Errors
    /// When it cannot be opened, or not be brought up to date.
    pub async fn open<M: MigratorTrait>(url: &SecretString, purpose: Purpose) -> Result<Self, DbErr> {
        let statements = Arc::new(AtomicU64::new(0));
        let url = url.expose_secret();
        let (connections, (writer_cache, reader_cache)) =
            if url.starts_with("sqlite") { (purpose.readers(), purpose.caches()) } else { (POOL, (0, 0)) };
        make_private(url);
        let pool = connect(url, connections, reader_cache, &statements).await?;
        M::up(&pool, None).await?;
        let (writer, rows) = if pool.get_database_backend() == DatabaseBackend::Sqlite {
            let file = url.parse().map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))))?;
            let rows = Rows::new(&file, purpose.readers(), reader_cache);
            (Single::sqlite(Writer::open(&file, writer_cache)?, &statements), Some(rows))
        } else {
            (Single::postgres(pool.clone()), None)
        };
        Ok(Self { writer, reader: pool, rows, locks: Locks::default(), statements })
    }

    /// SeaORM's own connections that read: for counts, sums and tuples. Whole rows are read several times cheaper through
    /// [`Db::reads`]. Never held between two pages of anything.
    pub fn read(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// All rows of a select, beside the writer: for lists and whatever else reads many.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn rows<E>(&self, select: Select<E>) -> Result<Vec<E::Model>, DbErr>
    where
        E: EntityTrait,
        E::Model: Found,
    {
        self.found(select.build(self.backend()), Extent::Whole).await
    }

    /// All rows of a select, of which only some columns are needed, each beside what it leads to: models, or [`Joined`].
    ///
    /// # Errors
    /// When the database is away.
    pub async fn rows_with<E, M>(
        &self,
        select: Select<E>,
        columns: &Columns<E>,
        joins: Vec<Join>,
    ) -> Result<Vec<M>, DbErr>
    where
        E: EntityTrait,
        M: Found,
    {
        let is_whole = matches!(columns, Columns::All) && joins.is_empty();
        let mut select = match columns {
            Columns::Some(_) => select.select_only().columns(columns.needed()),
            Columns::All => select,
        };
        for join in joins {
            join.add_to(QueryTrait::query(&mut select));
        }
        let extent = if is_whole { Extent::Whole } else { Extent::Part };
        self.found(select.build(self.backend()), extent).await
    }

    async fn found<M: Found>(&self, statement: Statement, extent: Extent) -> Result<Vec<M>, DbErr> {
        let Some(rows) = &self.rows else { return tx::read(&self.reader, statement, extent).await };
        self.statements.fetch_add(1, Ordering::Relaxed);
        rows.read(statement, extent).await
    }

    /// Looks beside the writer: what is committed.
    pub fn reads(&self) -> Reader<'_> {
        Reader::Beside(self)
    }

    /// For looks at rows of clients that are held, before a transaction writes any of them: beside it on SQLite, where
    /// nobody waits for that; within it on Postgres, where another process may have written until it began.
    pub fn beside<'a>(&'a self, tx: &'a Tx) -> Reader<'a> {
        match self.rows {
            Some(_) => Reader::Beside(self),
            None => Reader::Within(tx),
        }
    }

    /// For single statements that write.
    pub fn write(&self) -> &Single {
        &self.writer
    }

    /// Begins a transaction that writes; dropped without `commit`, it rolls back. The only way to open one: on SQLite
    /// it takes the write lock with its first statement, since a transaction that first reads and then writes fails under load.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn begin_write(&self) -> Result<Tx, DbErr> {
        self.writer.begin().await
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
    pub async fn begin_for(&self, held: &HeldClients) -> Result<Tx, DbErr> {
        let tx = self.begin_write().await?;
        lock_clients(&tx, &held.clients).await?;
        Ok(tx)
    }

    /// Which kind it is.
    pub fn backend(&self) -> DatabaseBackend {
        self.writer.backend()
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
        let asked = Statement::from_string(DatabaseBackend::Sqlite, "PRAGMA synchronous");
        let found: Vec<Synchronous> = self.writer.read(asked).await?;
        Ok(found.first().map(|row| row.synchronous))
    }

    /// Closes all connections.
    ///
    /// # Errors
    /// When closing fails.
    pub async fn close(self) -> Result<(), DbErr> {
        if let Some(rows) = &self.rows {
            rows.close().await;
        }
        self.writer.close().await?;
        self.reader.close_by_ref().await
    }
}

/// Makes a SQLite file that is not there yet, readable by its owner alone; SQLite gives the files beside it the same mode.
/// What goes wrong here is told by whoever opens it.
fn make_private(url: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let Some((path, "mode=rwc")) = url.strip_prefix("sqlite://").and_then(|rest| rest.split_once('?')) else {
        return;
    };
    let _ = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
}

/// Whether a row was refused because one with its key is there already.
pub fn is_taken(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}

/// Whether the database is away, locked, full or shutting down: a state that passes, and no fault of what was asked. By codes,
/// since Postgres speaks the language of its server.
pub fn is_away(error: &DbErr) -> bool {
    let (DbErr::Exec(error) | DbErr::Query(error)) = error else {
        return matches!(error, DbErr::Conn(_) | DbErr::ConnectionAcquire(_));
    };
    let RuntimeErr::SqlxError(error) = error else { return false };
    let Some(refused) = error.as_database_error() else {
        use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        return matches!(&**error, Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed | WorkerCrashed);
    };
    let Some(code) = refused.code() else { return false };
    match (code.len(), code.parse::<i32>()) {
        // Postgres: a connection that broke, resources that ran out, an operator who intervened, a disk that fails; a server
        // that became a standby, transactions that were idle too long or in each other's way, locks that took too long.
        (5, _) => {
            ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                || ["25006", "25P03", "25P04", "40001", "40P01", "55P03"].contains(&&*code)
        }
        // SQLite's extended codes have the primary one in their lowest byte: BUSY, LOCKED, NOMEM, IOERR, FULL, CANTOPEN.
        (_, Ok(code)) => [5, 6, 7, 10, 13, 14].contains(&(code & 0xff)),
        _ => false,
    }
}

/// The database's own clock as SQL, microseconds since 1970: for leases, which several processes must read alike.
pub fn clock(backend: DatabaseBackend) -> &'static str {
    match backend {
        DatabaseBackend::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        _ => "CAST(extract(epoch from clock_timestamp()) * 1000000 AS bigint)",
    }
}

#[derive(Deserialize)]
struct Synchronous {
    synchronous: i64,
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

/// Waits until no other transaction has this name: for what no row stands for yet. On SQLite only one writes anyway.
///
/// # Errors
/// When the database is away.
pub async fn lock_name(tx: &Tx, name: &str) -> Result<(), DbErr> {
    if tx.backend() == DatabaseBackend::Sqlite {
        return Ok(());
    }
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    tx.put(Statement::from_sql_and_values(DatabaseBackend::Postgres, sql, [name.into()])).await
}

/// The same between processes that share a Postgres database, until the transaction ends.
async fn lock_clients(tx: &Tx, clients: &BTreeSet<ClientId>) -> Result<(), DbErr> {
    if tx.backend() == DatabaseBackend::Sqlite {
        return Ok(());
    }
    for client in clients {
        let (high, low) = client.0.as_u64_pair();
        let key = i64::from_ne_bytes((high ^ low).to_ne_bytes());
        tx.put(Statement::from_sql_and_values(
            DatabaseBackend::Postgres,
            "SELECT pg_advisory_xact_lock($1)",
            [key.into()],
        ))
        .await?;
    }
    Ok(())
}

/// How sessions on Postgres are set. A process that is frozen or cut off must not keep others waiting: what it holds ends with
/// its transaction, and its connections are found to be dead.
const POSTGRES: [(&str, &str); 6] = [
    // LIMIT is a parameter: a plan made without its value reads whole conversations (measured at half the speed).
    ("plan_cache_mode", "force_custom_plan"),
    ("idle_in_transaction_session_timeout", "20s"),
    ("lock_timeout", "10s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

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
                .row_buffer_size(256)
                .statement_cache_capacity(256)
        })
        .map_sqlx_postgres_opts(|postgres| postgres.options(POSTGRES));
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

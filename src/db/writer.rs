//! SQLite's one writer: a connection on a thread of its own. The way to that thread and back is most of what a small
//! transaction costs on a busy machine, as everybody else waits meanwhile: so what a transaction writes is gathered where it
//! is made, and handed over in one piece, with the look or the commit that needs an answer.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use sea_orm::sqlx::error::{DatabaseError, ErrorKind};
use sea_orm::sqlx::sqlite::SqliteConnectOptions;
use sea_orm::{DbErr, RuntimeErr, Statement, sqlx};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::time::timeout;

use super::bound::bind;
use super::decode::{Extent, Failed, models};

/// How long the database may be locked by somebody else.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a transaction may wait for its turn.
const TURN: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce(&Connection) + Send>;
type Answer<R> = oneshot::Receiver<Result<R, Failed>>;

/// The thread and its connection; ends when it is closed, or nobody knows it any more.
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Whose transaction it is; first come, first served. What ends one takes the turn along to the thread, and gives it to the
    /// next as soon as that is done there.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Writer {
    /// Opens the file of these options, which exists.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(options: &SqliteConnectOptions, cache_mb: u32) -> Result<Arc<Self>, DbErr> {
        let connection = connect(options, cache_mb).map_err(|error| DbErr::Conn(said(error)))?;
        let (jobs, line) = mpsc::channel::<Job>();
        let work = move || {
            for job in line {
                // One that panics fails alone: without this thread nobody could write until the next start.
                if catch_unwind(AssertUnwindSafe(|| job(&connection))).is_err() {
                    undo(&connection);
                }
            }
        };
        let thread = thread::Builder::new().name("sqlite-writer".to_owned()).spawn(work);
        let thread = thread.map_err(|error| DbErr::Conn(RuntimeErr::Internal(error.to_string())))?;
        Ok(Arc::new(Self {
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
            turn: Arc::default(),
        }))
    }

    async fn turn(&self) -> Result<OwnedMutexGuard<()>, DbErr> {
        let turn = timeout(TURN, self.turn.clone().lock_owned()).await;
        turn.map_err(|_| DbErr::ConnectionAcquire(sea_orm::ConnAcquireErr::Timeout))
    }

    /// A transaction, which begins when something of it is handed over.
    pub(super) fn begin(self: &Arc<Self>) -> Transaction {
        Transaction { writer: self.clone(), state: Mutex::default() }
    }

    /// Runs one thing for itself.
    pub(super) async fn single<R, F>(&self, run: F) -> Result<R, DbErr>
    where
        F: FnOnce(&Connection) -> Result<R, Failed> + Send + 'static,
        R: Send + 'static,
    {
        let turn = self.turn().await?;
        let done = self.hand_over(move |connection| {
            let done = run(connection);
            drop(turn);
            done
        })?;
        answer(done).await
    }

    fn send(&self, job: Job) -> Result<(), DbErr> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or_else(closed)
    }

    fn hand_over<R, F>(&self, run: F) -> Result<Answer<R>, DbErr>
    where
        F: FnOnce(&Connection) -> Result<R, Failed> + Send + 'static,
        R: Send + 'static,
    {
        let (reply, done) = oneshot::channel();
        self.send(Box::new(move |connection| {
            // Who went away does not want to know.
            let _ = reply.send(run(connection));
        }))?;
        Ok(done)
    }

    /// Ends it, and waits until the file is closed.
    pub(super) async fn close(&self) {
        let turn = self.turn.lock().await;
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(turn);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// A transaction that writes. What is posted is written before the next thing that has an answer; what was not committed
/// when this is dropped is undone.
pub(super) struct Transaction {
    writer: Arc<Writer>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    posted: Vec<Statement>,
    /// Once it has begun.
    turn: Option<OwnedMutexGuard<()>>,
    /// Something failed: this must not be committed.
    broken: bool,
}

impl Transaction {
    /// Writes it later, before anything else.
    pub(super) fn post(&self, statement: Statement) {
        self.state().posted.push(statement);
    }

    /// Runs something, after all that was posted.
    pub(super) async fn run<R, F>(&self, run: F) -> Result<R, DbErr>
    where
        F: FnOnce(&Connection) -> Result<R, Failed> + Send + 'static,
        R: Send + 'static,
    {
        let (posted, begins) = self.take().await?;
        let done = self.writer.hand_over(move |connection| {
            play(connection, begins, posted)?;
            run(connection)
        })?;
        let done = answer(done).await;
        // As on Postgres: what goes on after a failure may rest on what is not there.
        self.state().broken = done.is_err();
        done
    }

    /// Makes it last.
    pub(super) async fn commit(self) -> Result<(), DbErr> {
        let empty = {
            let state = self.state();
            state.turn.is_none() && state.posted.is_empty()
        };
        if empty { Ok(()) } else { self.commit_after(|_| Ok(())).await }
    }

    /// Runs something after all that was posted, and makes it last.
    pub(super) async fn commit_after<R, F>(self, run: F) -> Result<R, DbErr>
    where
        F: FnOnce(&Connection) -> Result<R, Failed> + Send + 'static,
        R: Send + 'static,
    {
        let (posted, begins) = self.take().await?;
        // From here on the thread ends it, whatever becomes of the caller.
        let turn = self.state().turn.take();
        let done = self.writer.hand_over(move |connection| {
            let done = play(connection, begins, posted).and_then(|()| run(connection)).and_then(|done| {
                connection.prepare_cached("COMMIT")?.execute([])?;
                Ok(done)
            });
            if done.is_err() {
                undo(connection);
            }
            drop(turn);
            done
        })?;
        answer(done).await
    }

    /// What is to be handed over, and whether the transaction begins with it.
    async fn take(&self) -> Result<(Vec<Statement>, bool), DbErr> {
        let begins = self.state().turn.is_none();
        if begins {
            let turn = self.writer.turn().await?;
            self.state().turn = Some(turn);
        }
        let mut state = self.state();
        if state.broken {
            return Err(DbErr::Exec(RuntimeErr::Internal("a part of the transaction failed".to_owned())));
        }
        Ok((std::mem::take(&mut state.posted), begins))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(turn) = self.state().turn.take() {
            // If the thread is gone, so is the transaction.
            let _ = self.writer.send(Box::new(move |connection| {
                undo(connection);
                drop(turn);
            }));
        }
    }
}

async fn answer<R>(done: Answer<R>) -> Result<R, DbErr> {
    let unanswered = |_| DbErr::Exec(RuntimeErr::Internal("the database's thread gave no answer".to_owned()));
    done.await.map_err(unanswered)?.map_err(failed)
}

fn undo(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::error!(%error, "a transaction could not be undone");
    }
}

/// Begins if that is due, and writes what was posted.
fn play(connection: &Connection, begins: bool, posted: Vec<Statement>) -> Result<(), Failed> {
    if begins {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    } else if connection.is_autocommit() {
        // What a full disk does; what comes now would be committed by itself.
        return Err(Failed::Over);
    }
    posted.into_iter().try_for_each(|statement| change(connection, &statement).map(drop))
}

/// Runs a statement for what it changes; gives the number of rows.
pub(super) fn change(connection: &Connection, statement: &Statement) -> Result<u64, Failed> {
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    bind(&mut prepared, statement)?;
    let mut rows = prepared.raw_query();
    while rows.next()?.is_some() {}
    Ok(connection.changes())
}

/// Runs a statement for what it finds, or returns of what it changed.
pub(super) fn read<M: DeserializeOwned>(
    connection: &Connection,
    statement: &Statement,
) -> Result<Vec<M>, Failed> {
    read_as(connection, statement, Extent::Whole)
}

/// The same, of rows that may hold a part only.
pub(super) fn read_as<M: DeserializeOwned>(
    connection: &Connection,
    statement: &Statement,
    extent: Extent,
) -> Result<Vec<M>, Failed> {
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    bind(&mut prepared, statement)?;
    models(prepared.raw_query(), extent)
}

fn connect(options: &SqliteConnectOptions, cache_mb: u32) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(options.get_filename(), flags)?;
    connection.busy_timeout(PATIENCE)?;
    // Every commit is on the disk before it returns (invariant 1).
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -i64::from(cache_mb * 1024))?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // 40 MB of log before it is copied back: each page is then copied once for many commits.
    connection.pragma_update(None, "wal_autocheckpoint", 10_000)?;
    connection.set_prepared_statement_cache_capacity(256);
    Ok(connection)
}

/// What SQLite refused, with its code.
#[derive(Debug)]
struct Refused {
    error: rusqlite::Error,
    text: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl DatabaseError for Refused {
    fn message(&self) -> &str {
        &self.text
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        self.error.sqlite_error().map(|error| error.extended_code.to_string().into())
    }

    fn kind(&self) -> ErrorKind {
        use rusqlite::ffi;
        match self.error.sqlite_error().map(|error| error.extended_code) {
            Some(ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => {
                ErrorKind::UniqueViolation
            }
            Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => ErrorKind::ForeignKeyViolation,
            Some(ffi::SQLITE_CONSTRAINT_NOTNULL) => ErrorKind::NotNullViolation,
            Some(ffi::SQLITE_CONSTRAINT_CHECK) => ErrorKind::CheckViolation,
            _ => ErrorKind::Other,
        }
    }
}

pub(super) fn said(error: rusqlite::Error) -> RuntimeErr {
    let text = error.to_string();
    RuntimeErr::SqlxError(Arc::new(sqlx::Error::Database(Box::new(Refused { error, text }))))
}

fn failed(error: Failed) -> DbErr {
    match error {
        Failed::Database(error) => DbErr::Exec(said(error)),
        other => DbErr::Exec(RuntimeErr::Internal(other.to_string())),
    }
}

fn closed() -> DbErr {
    DbErr::Conn(RuntimeErr::Internal("the database is closed".to_owned()))
}

#[cfg(test)]
mod tests {
    use entity::{PartnerId, Timestamp, partner};
    use futures_util::poll;
    use migration::Migrator;
    use sea_orm::{DatabaseBackend, DbErr, EntityTrait, Statement};
    use tempfile::TempDir;

    use super::{Failed, Writer};
    use crate::db::{self, Db, Purpose, SelectExt, Sql, Tx};
    use crate::ids::PublicId;

    async fn open() -> (Db, TempDir) {
        let place = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", place.path().join("db.sqlite").display());
        (Db::open::<Migrator>(&url.into(), Purpose::Rows).await.unwrap(), place)
    }

    fn shop(name: &str) -> partner::Model {
        let (id, created_at) = (PartnerId::generate(), Timestamp(1));
        partner::Model { id, name: name.to_owned(), stream_opened_at: None, created_at }
    }

    async fn put(tx: &Tx, row: &partner::Model) -> Result<(), DbErr> {
        db::insert::<partner::Entity, _>(tx, vec![row.clone()]).await
    }

    async fn names(through: &impl Sql) -> Vec<String> {
        #[expect(clippy::disallowed_methods, reason = "all that the test wrote")]
        let rows = partner::Entity::find().rows(through).await.unwrap();
        rows.into_iter().map(|row| row.name).collect()
    }

    fn sql(text: &str, values: [&str; 2]) -> Statement {
        Statement::from_sql_and_values(DatabaseBackend::Sqlite, text, values.map(Into::into))
    }

    #[tokio::test]
    async fn what_is_put_is_there_for_its_transaction_at_once_and_for_others_when_it_is_committed() {
        let (db, _place) = open().await;
        let tx = db.begin_write().await.unwrap();
        put(&tx, &shop("one")).await.unwrap();
        assert_eq!(names(&tx).await, ["one"]);
        put(&tx, &shop("two")).await.unwrap();
        assert_eq!(names(&db.reads()).await, [""; 0]);
        tx.commit().await.unwrap();
        assert_eq!(names(&db.reads()).await, ["one", "two"]);
        db.begin_write().await.unwrap().commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_transaction_of_which_a_part_was_refused_writes_nothing() {
        let (db, _place) = open().await;
        let row = shop("one");
        for looks in [false, true] {
            let tx = db.begin_write().await.unwrap();
            put(&tx, &shop("before")).await.unwrap();
            put(&tx, &row).await.unwrap();
            put(&tx, &row).await.unwrap();
            put(&tx, &shop("after")).await.unwrap();
            if looks {
                assert!(db::is_taken(&tx.flush().await.unwrap_err()));
                assert!(tx.flush().await.is_err(), "it stays so");
                assert!(tx.commit().await.is_err());
            } else {
                assert!(db::is_taken(&tx.commit().await.unwrap_err()));
            }
            assert_eq!(names(&db.reads()).await, [""; 0]);
        }
        let tx = db.begin_write().await.unwrap();
        put(&tx, &row).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(names(db.write()).await, ["one"]);
    }

    #[tokio::test]
    async fn what_is_dropped_is_undone_and_whoever_waits_goes_on() {
        let (db, _place) = open().await;
        let tx = db.begin_write().await.unwrap();
        put(&tx, &shop("one")).await.unwrap();
        assert_eq!(names(&tx).await, ["one"]);
        let next = db.begin_write().await.unwrap();
        let mut found = Box::pin(names(&next));
        let mut alone =
            Box::pin(db.write().put(sql("UPDATE partner SET name = $2 WHERE name = $1", ["one", "1"])));
        assert!(poll!(&mut found).is_pending() && poll!(&mut alone).is_pending());
        drop(tx);
        assert_eq!(found.await, [""; 0]);
        put(&next, &shop("two")).await.unwrap();
        assert!(poll!(&mut alone).is_pending());
        next.commit().await.unwrap();
        alone.await.unwrap();
        assert_eq!(names(&db.reads()).await, ["two"]);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_a_whole_transaction_or_none() {
        let (db, _place) = open().await;
        let tx = db.begin_write().await.unwrap();
        put(&tx, &shop("one")).await.unwrap();
        // Handed over; whether the answer was there already, nobody asked.
        let _ = poll!(Box::pin(tx.commit()));
        let tx = db.begin_write().await.unwrap();
        assert_eq!(names(&tx).await, ["one"]);
        put(&tx, &shop("two")).await.unwrap();
        let _ = poll!(Box::pin(tx.flush()));
        drop(tx);
        assert_eq!(names(db.write()).await, ["one"]);
    }

    #[tokio::test]
    async fn values_are_bound_by_their_numbers() {
        let (db, _place) = open().await;
        let tx = db.begin_write().await.unwrap();
        put(&tx, &shop("one")).await.unwrap();
        let update = |text| tx.change(sql(text, ["one", "two"]));
        assert_eq!(update("UPDATE partner SET name = $2 WHERE name = $1").await.unwrap(), 1);
        assert_eq!(update("UPDATE partner SET name = ? WHERE name = ?").await.unwrap(), 1);
        assert!(update("UPDATE partner SET name = $3").await.is_err());
    }

    #[tokio::test]
    async fn what_panics_fails_alone() {
        let (db, place) = open().await;
        let options = format!("sqlite://{}", place.path().join("db.sqlite").display()).parse().unwrap();
        let writer = Writer::open(&options, 1).unwrap();
        let tx = writer.begin();
        tx.post(sql(
            "INSERT INTO partner (id, name, created_at) VALUES ($1, $2, 1)",
            ["0123456789abcdef", "one"],
        ));
        assert!(tx.run(|_| -> Result<(), Failed> { panic!("a mistake of ours") }).await.is_err());
        drop(tx);
        assert!(writer.single(|connection| Ok(connection.is_autocommit())).await.unwrap());
        assert_eq!(names(&db.reads()).await, [""; 0]);
    }

    #[tokio::test]
    async fn what_is_closed_says_so() {
        let (db, _place) = open().await;
        let tx = db.begin_write().await.unwrap();
        assert_eq!(names(&tx).await, [""; 0]);
        let mut closing = Box::pin(db.clone().close());
        assert!(poll!(&mut closing).is_pending(), "a transaction is open");
        tx.commit().await.unwrap();
        closing.await.unwrap();
        let tx = db.begin_write().await.unwrap();
        put(&tx, &shop("two")).await.unwrap();
        assert!(matches!(tx.commit().await.unwrap_err(), DbErr::Conn(_)));
    }
}

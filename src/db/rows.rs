//! Whole rows from SQLite. The driver beneath SeaORM copies each value of each row by itself, hands every row to another
//! thread, and looks columns up by name (measured: a third of a page of messages). Here the same statements, built by SeaORM
//! as ever, run on connections that read only, and models are made where the rows are.
//!
//! What an index finds in memory is read faster than handed to another thread and back (measured: a sixth of a page), so a
//! statement runs at once, where it is asked; one that takes longer than a moment is broken off, and starts again on a thread
//! that may wait.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use sea_orm::sqlx::sqlite::SqliteConnectOptions;
use sea_orm::{DbErr, RuntimeErr, Statement};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::decode::{Extent, Failed};
use super::writer;

/// How long a statement may keep a thread from other requests.
const MOMENT: Duration = Duration::from_millis(2);
/// Steps of SQLite's machine between two looks at the clock: some ten rows.
const STEPS: i32 = 500;
/// How long a statement may wait for a lock, where it may wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections that read rows of one file.
pub(super) struct Rows {
    file: PathBuf,
    cache_mb: u32,
    /// The one used last is used next: what it keeps in memory is the freshest.
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
    most: u32,
}

impl Rows {
    /// Of the file of these options, which exists; at most so many connections, each opened when it is needed.
    pub(super) fn new(options: &SqliteConnectOptions, connections: u32, cache_mb: u32) -> Arc<Self> {
        Arc::new(Self {
            file: options.get_filename().to_path_buf(),
            cache_mb,
            idle: Mutex::default(),
            turns: Arc::new(Semaphore::new(connections as usize)),
            most: connections,
        })
    }

    /// All rows of a statement, whose columns are the model's fields, or some of them, in their order.
    ///
    /// # Errors
    /// When the database is away, or a row is no such model.
    pub(super) async fn read<M>(
        self: &Arc<Self>,
        statement: Statement,
        extent: Extent,
    ) -> Result<Vec<M>, DbErr>
    where
        M: DeserializeOwned + Send + 'static,
    {
        let turn = self.turns.clone().acquire_owned().await.map_err(closed)?;
        match self.run(&statement, extent, Some(MOMENT)) {
            Err(Failed::Database(error)) if is_broken_off(&error) => {}
            done => return done.map_err(failed),
        }
        let rows = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let read = rows.run(&statement, extent, None);
            drop(turn);
            read
        });
        read.await.map_err(|error| DbErr::Query(RuntimeErr::Internal(error.to_string())))?.map_err(failed)
    }

    /// Runs a statement, for so long at most.
    fn run<M: DeserializeOwned>(
        &self,
        statement: &Statement,
        extent: Extent,
        most: Option<Duration>,
    ) -> Result<Vec<M>, Failed> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open()?,
        };
        let read = read(&connection, statement, extent, most);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        read
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.file, flags)?;
        connection.pragma_update(None, "cache_size", -i64::from(self.cache_mb * 1024))?;
        connection.pragma_update(None, "temp_store", "memory")?;
        connection.set_prepared_statement_cache_capacity(256);
        Ok(connection)
    }

    /// Ends what reads, and waits for it.
    pub(super) async fn close(&self) {
        let all = self.turns.acquire_many(self.most).await;
        self.turns.close();
        drop(all);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn read<M: DeserializeOwned>(
    connection: &Connection,
    statement: &Statement,
    extent: Extent,
    most: Option<Duration>,
) -> Result<Vec<M>, Failed> {
    let began = Instant::now();
    connection.progress_handler(STEPS, most.map(|most| move || began.elapsed() > most))?;
    connection.busy_timeout(most.map_or(PATIENCE, |_| Duration::ZERO))?;
    writer::read_as(connection, statement, extent)
}

/// Whether a statement only needs more time.
fn is_broken_off(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::OperationInterrupted | ErrorCode::DatabaseBusy))
}

fn failed(error: Failed) -> DbErr {
    match error {
        Failed::Database(error) => DbErr::Query(writer::said(error)),
        other => DbErr::Query(RuntimeErr::Internal(other.to_string())),
    }
}

fn closed(error: impl std::error::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use entity::{PartnerId, Timestamp, partner};
    use migration::Migrator;
    use sea_orm::sea_query::Expr;
    use sea_orm::{EntityTrait, QueryFilter, QueryTrait, Select};
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::super::{Db, Purpose, insert};
    use super::*;

    async fn open() -> (Db, TempDir) {
        let place = tempfile::tempdir().unwrap();
        // Characters that mean something in an address.
        let file = place.path().join("a file%20 #1.sqlite");
        let name = file.to_str().unwrap().replace('%', "%25").replace(' ', "%20").replace('#', "%23");
        let url = format!("sqlite://{name}?mode=rwc").into();
        let db = Db::open::<Migrator>(&url, Purpose::Rows).await.unwrap();
        assert!(file.exists());
        (db, place)
    }

    #[expect(clippy::disallowed_methods, reason = "all that the test wrote")]
    fn partners() -> Select<partner::Entity> {
        partner::Entity::find()
    }

    fn a_partner() -> partner::Model {
        partner::Model {
            id: PartnerId(Uuid::nil()),
            name: "Acme".into(),
            stream_opened_at: None,
            created_at: Timestamp(1),
        }
    }

    #[tokio::test]
    async fn connections_that_read_see_every_commit_and_write_nothing() {
        let (db, _place) = open().await;
        let rows = db.rows.clone().unwrap();
        assert_eq!(db.rows(partners()).await.unwrap(), []);
        insert::<partner::Entity, _>(db.write(), vec![a_partner()]).await.unwrap();
        assert_eq!(db.rows(partners()).await.unwrap(), [a_partner()]);
        let delete = Statement::from_string(sea_orm::DatabaseBackend::Sqlite, "DELETE FROM partner");
        let refused = rows.read::<partner::Model>(delete, Extent::Whole).await.unwrap_err();
        assert!(refused.to_string().contains("readonly"), "{refused}");
        assert_eq!(db.rows(partners()).await.unwrap().len(), 1);
        db.clone().close().await.unwrap();
        assert!(matches!(db.rows(partners()).await, Err(DbErr::Conn(_))));
    }

    #[tokio::test]
    async fn what_takes_longer_than_a_moment_is_read_elsewhere_and_whole() {
        let (db, _place) = open().await;
        insert::<partner::Entity, _>(db.write(), vec![a_partner()]).await.unwrap();
        let counted = "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) \
            SELECT count(*) FROM n) = 300000";
        let slow = partners().filter(Expr::cust(counted));
        let statement = slow.build(sea_orm::DatabaseBackend::Sqlite);
        let rows = db.rows.clone().unwrap();
        let broken_off =
            rows.run::<partner::Model>(&statement, Extent::Whole, Some(Duration::ZERO)).unwrap_err();
        assert!(matches!(broken_off, Failed::Database(error) if is_broken_off(&error)));
        assert_eq!(db.rows(slow).await.unwrap(), [a_partner()]);
        // Whoever is next has all the time again.
        assert_eq!(db.rows(partners()).await.unwrap(), [a_partner()]);
    }
}

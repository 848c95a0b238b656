//! Where the world is kept: one SQLite file of rows that are read once, at start.
//!
//! Each row is a piece of the world as JSON under (kind, owner, key). Every change of the world hands its rows to one
//! writer, which puts whatever has queued up into one transaction; a mutation answers once its rows are committed,
//! so nothing that was told to anybody is forgotten by a killed process.

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement,
    TransactionTrait,
};
use std::collections::HashMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

const FILE: &str = "simulator.sqlite";
/// Rows in one statement and in one transaction.
const ROWS_PER_STATEMENT: usize = 2_000;
const ROWS_PER_TRANSACTION: usize = 50_000;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Setting,
    Phone,
    Person,
    Message,
    Template,
    Due,
    Arrival,
    Token,
    Code,
    Media,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Setting => "setting",
            Self::Phone => "phone",
            Self::Person => "person",
            Self::Message => "message",
            Self::Template => "template",
            Self::Due => "due",
            Self::Arrival => "arrival",
            Self::Token => "token",
            Self::Code => "code",
            Self::Media => "media",
        }
    }
}

/// Where a row stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) owner: String,
    pub(crate) key: String,
}

/// One row to be written, or erased when it has no body.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) place: Place,
    pub(crate) body: Option<String>,
}

/// The rows of one change of the world.
pub(crate) struct Submission {
    pub(crate) sequence: u64,
    pub(crate) rows: Vec<Row>,
    /// Who waits for these rows to be on disk.
    pub(crate) wake: Vec<Arc<Notify>>,
}

/// The open file.
pub(crate) struct Store {
    db: DatabaseConnection,
}

impl Store {
    /// Opens the file in `dir`, making both if missing.
    pub(crate) async fn open(dir: &Path) -> Result<Self, DbErr> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|e| DbErr::Custom(format!("{}: {e}", dir.display())))?;
        let path = dir.join(FILE);
        let mut options = ConnectOptions::new("sqlite::memory:");
        options.max_connections(1).sqlx_logging(false);
        options.map_sqlx_sqlite_opts(move |o| {
            o.filename(&path)
                .in_memory(false)
                .shared_cache(false)
                .create_if_missing(true)
                .pragma("journal_mode", "WAL")
                .pragma("synchronous", "NORMAL")
                .busy_timeout(Duration::from_secs(5))
        });
        let db = Database::connect(options).await?;
        db.execute_unprepared(
            "CREATE TABLE IF NOT EXISTS kept (kind TEXT NOT NULL, owner TEXT NOT NULL, key TEXT NOT NULL, \
             body TEXT NOT NULL, PRIMARY KEY (kind, owner, key)) WITHOUT ROWID",
        )
        .await?;
        Ok(Self { db })
    }

    /// Every row of `kind`, ordered by owner and key.
    pub(crate) async fn load(&self, kind: Kind) -> Result<Vec<(String, String, String)>, DbErr> {
        let statement = Statement::from_sql_and_values(
            DbBackend::Sqlite,
            "SELECT owner, key, body FROM kept WHERE kind = ? ORDER BY owner, key",
            [kind.name().into()],
        );
        let rows = self.db.query_all_raw(statement).await?;
        rows.into_iter()
            .map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?)))
            .collect()
    }

    /// Writes `rows` in one transaction; of several rows in one place the last counts.
    #[expect(
        clippy::disallowed_methods,
        reason = "the simulator shares no code with the service, and one connection writes this file: nothing can deadlock"
    )]
    async fn write(&self, rows: &[Row]) -> Result<(), DbErr> {
        let mut last: HashMap<&Place, &Option<String>> = HashMap::with_capacity(rows.len());
        for row in rows {
            last.insert(&row.place, &row.body);
        }
        let (mut put, mut erase) = (Vec::new(), Vec::new());
        for (place, body) in last {
            let kind = place.kind.name();
            match body {
                Some(body) => put.push((kind, &place.owner, &place.key, body)),
                None => erase.push((kind, &place.owner, &place.key)),
            }
        }
        let transaction = self.db.begin().await?;
        for chunk in put.chunks(ROWS_PER_STATEMENT) {
            let sql = "INSERT INTO kept (kind, owner, key, body) SELECT value ->> 0, value ->> 1, value ->> 2, \
                       value ->> 3 FROM json_each(?) WHERE true \
                       ON CONFLICT (kind, owner, key) DO UPDATE SET body = excluded.body";
            run(&transaction, sql, serde_json::to_string(chunk)).await?;
        }
        for chunk in erase.chunks(ROWS_PER_STATEMENT) {
            let sql = "DELETE FROM kept WHERE (kind, owner, key) IN \
                       (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))";
            run(&transaction, sql, serde_json::to_string(chunk)).await?;
        }
        transaction.commit().await
    }
}

async fn run(
    db: &impl ConnectionTrait,
    sql: &str,
    rows: Result<String, serde_json::Error>,
) -> Result<(), DbErr> {
    let rows = rows.map_err(|e| DbErr::Custom(e.to_string()))?;
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, sql, [rows.into()])).await?;
    Ok(())
}

/// Writes what comes in until `stop`, and then what is still there. Says in `committed` how far it has come.
pub(crate) async fn keep(
    store: Store,
    mut incoming: mpsc::UnboundedReceiver<Submission>,
    committed: watch::Sender<u64>,
    stop: CancellationToken,
) {
    loop {
        let first = tokio::select! {
            biased;
            submission = incoming.recv() => submission,
            () = stop.cancelled() => None,
        };
        let Some(first) = first else { break };
        let (mut sequence, mut rows, mut wake) = (first.sequence, first.rows, first.wake);
        while rows.len() < ROWS_PER_TRANSACTION {
            let Ok(more) = incoming.try_recv() else { break };
            sequence = more.sequence;
            rows.extend(more.rows);
            wake.extend(more.wake);
        }
        while let Err(error) = store.write(&rows).await {
            tracing::error!(%error, "the simulator's world could not be written; trying again");
            if stop.is_cancelled() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        committed.send_replace(sequence);
        for waiting in wake {
            waiting.notify_one();
        }
    }
    if let Err(error) = store.db.close().await {
        tracing::warn!(%error, "the simulator's file was not closed in order");
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Place, Row, Store};

    fn row(key: &str, body: Option<&str>) -> Row {
        let place = Place { kind: Kind::Message, owner: "o'\"".into(), key: key.into() };
        Row { place, body: body.map(str::to_owned) }
    }

    #[tokio::test]
    async fn the_last_row_of_a_place_counts() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        store
            .write(&[row("1", Some("a")), row("2", Some("{\"ü\":\"👍\\n\"}")), row("1", None)])
            .await
            .unwrap();
        store.write(&[row("3", Some("c")), row("3", Some("d"))]).await.unwrap();
        drop(store);
        let store = Store::open(dir.path()).await.unwrap();
        let rows = store.load(Kind::Message).await.unwrap();
        let bodies: Vec<_> = rows.iter().map(|(_, key, body)| (key.as_str(), body.as_str())).collect();
        assert_eq!(bodies, [("2", "{\"ü\":\"👍\\n\"}"), ("3", "d")]);
    }
}

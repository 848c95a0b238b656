//! What SQLite alone needs for the rows that the service wrote: copied from its files into fresh ones with the same
//! tables and indexes, in batches as large, each on the disk before the next begins. No decoding, no look-ups.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};

use crate::stand::Stand;

/// Messages in a commit when applying, as the service's applier has it.
pub(crate) const CHANGES: usize = 200;
/// Longest copy of a kind.
const LONGEST: Duration = Duration::from_secs(5);

/// Webhooks a second.
pub(crate) struct Floors {
    /// Raw bodies, as accepting writes them.
    pub(crate) bodies: f64,
    /// Bodies in a commit: while one half of the connections waits for a commit, the other half sends.
    pub(crate) bodies_batch: usize,
    /// Messages, their keys, rungs, events and conversations, as applying writes them.
    pub(crate) rows: f64,
}

/// Copies; the service is idle meanwhile.
pub(crate) async fn measure(stand: &Stand, connections: usize) -> anyhow::Result<Floors> {
    let bodies_batch = (connections / 2).max(1);
    let bodies =
        Copy::open(stand.directory(), "bodies", &stand.inbound_file(), &["inbound"], "inbound", "id").await?;
    let bodies_floor = bodies
        .run(
            bodies_batch,
            &["INSERT INTO inbound SELECT s.* FROM picked p CROSS JOIN src.inbound s ON s.id = p.id"],
        )
        .await?;
    let tables = ["message", "message_key", "message_status", "event", "conversation"];
    let rows = Copy::open(stand.directory(), "rows", &stand.main_file(), &tables, "message", "id").await?;
    let rows_floor = rows
        .run(
            CHANGES,
            &[
                "INSERT INTO message SELECT s.* FROM picked p CROSS JOIN src.message s ON s.id = p.id",
                "INSERT INTO message_key SELECT s.* FROM picked p CROSS JOIN src.message_key s ON s.message_id = p.id",
                "INSERT INTO message_status SELECT s.* FROM picked p CROSS JOIN src.message_status s ON s.message_id = p.id",
                "INSERT INTO event SELECT s.* FROM told p CROSS JOIN src.event s
                    ON s.partner_id = p.partner_id AND s.position = p.position",
                "INSERT OR REPLACE INTO conversation SELECT s.* FROM (SELECT DISTINCT m.conversation_id AS id FROM picked p
                    CROSS JOIN src.message m ON m.id = p.id) c CROSS JOIN src.conversation s ON s.id = c.id",
            ],
        )
        .await?;
    Ok(Floors { bodies: bodies_floor, bodies_batch, rows: rows_floor })
}

/// A fresh file beside the service's.
struct Copy {
    database: DatabaseConnection,
    rows: usize,
}

impl Copy {
    async fn open(
        directory: &Path,
        name: &str,
        source: &Path,
        tables: &[&str],
        ordered: &str,
        by: &str,
    ) -> anyhow::Result<Self> {
        let file = directory.join(name);
        let options = ConnectOptions::new(format!("sqlite://{}?mode=rwc", file.display()))
            .max_connections(1)
            .sqlx_logging(false)
            .to_owned();
        let database = Database::connect(options).await?;
        database
            .execute_unprepared(&format!(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;
                 PRAGMA temp_store = memory; PRAGMA foreign_keys = OFF; ATTACH '{}' AS src",
                source.display()
            ))
            .await?;
        for table in tables {
            let sql = format!(
                "SELECT sql FROM src.sqlite_master WHERE tbl_name = '{table}' AND sql IS NOT NULL ORDER BY type DESC"
            );
            for row in database.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql)).await? {
                let sql: String = row.try_get("", "sql")?;
                database.execute_unprepared(&sql).await?;
            }
        }
        database
            .execute_unprepared(&format!(
                "CREATE TEMP TABLE list AS SELECT {by} AS id FROM src.{ordered} ORDER BY {by};
                 CREATE TEMP TABLE picked (id BLOB PRIMARY KEY) WITHOUT ROWID;
                 CREATE TEMP TABLE told (partner_id BLOB, position INTEGER)"
            ))
            .await?;
        if tables.contains(&"event") {
            database
                .execute_unprepared(
                    "CREATE TEMP TABLE tale AS SELECT partner_id, position FROM src.event ORDER BY partner_id, position",
                )
                .await?;
        }
        let row = database
            .query_one_raw(Statement::from_string(DbBackend::Sqlite, "SELECT count(*) AS n FROM list"))
            .await?;
        let rows: i64 = row.context("no count")?.try_get("", "n")?;
        Ok(Self { database, rows: usize::try_from(rows)? })
    }

    /// Rows a second. Picking which rows come next is not counted.
    async fn run(self, batch: usize, statements: &[&str]) -> anyhow::Result<f64> {
        let transaction = format!("BEGIN IMMEDIATE; {}; COMMIT", statements.join("; "));
        let (mut done, mut spent) = (0, Duration::ZERO);
        while done < self.rows && spent < LONGEST {
            let last = (done + batch).min(self.rows);
            let mut pick = format!(
                "DELETE FROM picked; DELETE FROM told;
                 INSERT INTO picked SELECT id FROM list WHERE rowid > {done} AND rowid <= {last}"
            );
            if transaction.contains("told") {
                pick.push_str(&format!(
                    "; INSERT INTO told SELECT partner_id, position FROM tale WHERE rowid > {done} AND rowid <= {last}"
                ));
            }
            self.database.execute_unprepared(&pick).await?;
            let begun = Instant::now();
            self.database.execute_unprepared(&transaction).await?;
            spent += begun.elapsed();
            done = last;
        }
        self.database.close().await?;
        Ok(done as f64 / spent.as_secs_f64())
    }
}

//! The log's epoch (invariant 6), which every cursor carries. A database that is a copy of another one, or that was restored
//! from a backup, begins a new one: its log goes on differently than the one that cursors were given out for, so a reader has
//! to hear `CURSOR_EXPIRED` instead of silently missing what it was never told.
//!
//! How it is noticed: the database holds the place where it lived when its epoch began. On Postgres that is the server, its
//! timeline (a new one with each recovery and each failover), the database and the table, as far as the server tells them. On
//! SQLite it is the file; and since a backup may be written over the file itself, how far the log went is noted beside it, too:
//! a database that is behind that note, or has none, is another one. What brings back everything at once, such as a snapshot of
//! a disk, cannot be noticed: `tandem restored` says so by hand.
//!
//! With the new epoch, in the same transaction, all that was queued and due is called sent, perhaps (invariant 7).

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::Context;
use entity::installation;
use sea_orm::sea_query::{Expr, OnConflict, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseBackend, DbErr, EntityTrait, QueryFilter, Statement};

use crate::app::Installation;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{self, Db, Sql, WriteExt};
use crate::lanes;

/// Where a Postgres database lives; then the same for servers that do not tell of themselves.
const POSTGRES: [&str; 2] = [
    "SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || \
     substring(pg_walfile_name(pg_current_wal_lsn()) for 8) || '/' || \
     (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || 'installation'::regclass::oid AS here",
    "SELECT (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || 'installation'::regclass::oid \
     AS here",
];

/// What the database says of itself.
struct Found {
    epoch: i64,
    /// Where it lived when the epoch began.
    place: String,
    /// Where it lives.
    here: String,
    /// Entries of all partners' logs, those that are gone by now included. SQLite alone.
    told: i64,
}

/// The epoch of a database; the first one is drawn here. Commands leave it at that.
///
/// # Errors
/// When the database is away.
pub async fn read(db: &Db, config: &Config) -> anyhow::Result<i64> {
    let file = config.database_file();
    let here = here(db, file.as_deref()).await?;
    let first = Query::insert()
        .into_table(installation::Entity)
        .columns([
            installation::Column::Id,
            installation::Column::Epoch,
            installation::Column::Place,
            installation::Column::CreatedAt,
        ])
        .values_panic([Expr::val(1), Expr::val(draw()), Expr::val(here), Expr::val(Clock::real_now().0)])
        .on_conflict(OnConflict::column(installation::Column::Id).do_nothing().to_owned())
        .to_owned();
    db.write().put(db::built(db.write(), &first)).await?;
    Ok(look(db, file.as_deref()).await?.epoch)
}

/// Begins a new epoch if the database is not the one that the present one began in, and takes over one that another process
/// began. Says whether it is another one than before.
///
/// # Errors
/// When the database is away, or the note beside it cannot be written.
pub async fn settle(installation: &Installation) -> anyhow::Result<bool> {
    let file = installation.config.database_file();
    let note = file.as_deref().map(note_beside);
    let mut found = look(&installation.db, file.as_deref()).await?;
    let noted = match &note {
        Some(path) => noted(path).await?,
        None => Noted::Unreadable,
    };
    let is_another = match noted {
        Noted::Told(told) => told > found.told,
        Noted::Missing => found.told > 0,
        Noted::Unreadable => false,
    };
    if found.place != found.here || is_another {
        begin(&installation.db, &found).await?;
        found = look(&installation.db, file.as_deref()).await?;
    }
    if let Some(path) = &note
        && noted != Noted::Told(found.told)
    {
        let written = tokio::fs::write(path, found.told.to_string()).await;
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(installation.epoch.swap(found.epoch, Ordering::Relaxed) != found.epoch)
}

/// Begins a new epoch whatever is noticed: an operator knows that this is a restored database. Not beside a service.
///
/// # Errors
/// When the database is away.
pub async fn restored(installation: &Installation) -> anyhow::Result<()> {
    let file = installation.config.database_file();
    let found = look(&installation.db, file.as_deref()).await?;
    Ok(begin(&installation.db, &found).await?)
}

/// Of several processes that notice it at once, one begins it. By real time: whoever restores has no simulator to wait for.
async fn begin(db: &Db, found: &Found) -> Result<(), DbErr> {
    let tx = db.begin_write().await?;
    #[expect(clippy::disallowed_methods, reason = "the installation's own row")]
    let begun = installation::Entity::update_many()
        .col_expr(installation::Column::Epoch, Expr::value(draw()))
        .col_expr(installation::Column::Place, Expr::value(found.here.clone()))
        .filter(installation::Column::Epoch.eq(found.epoch))
        .write(&tx)
        .await?;
    if begun == 0 {
        return Ok(());
    }
    let doubted = lanes::doubt(&tx, Clock::real_now()).await?;
    tx.commit().await?;
    tracing::warn!(
        messages = doubted,
        "this database is a copy, or was restored: cursors from before are refused from now on, and {doubted} messages that \
         were queued here may have been sent from elsewhere"
    );
    Ok(())
}

fn draw() -> i64 {
    rand::random_range(1..=i64::MAX)
}

async fn look(db: &Db, file: Option<&Path>) -> anyhow::Result<Found> {
    let told = match db.backend() {
        DatabaseBackend::Sqlite => "(SELECT COALESCE(SUM(head), 0) FROM event_head)",
        _ => "CAST(0 AS bigint)",
    };
    let sql = format!("SELECT epoch, place, {told} AS told FROM installation WHERE id = 1");
    let row = db.read().query_one_raw(Statement::from_string(db.backend(), sql)).await?;
    let row = row.context("the installation has no row")?;
    Ok(Found {
        epoch: row.try_get("", "epoch")?,
        place: row.try_get("", "place")?,
        told: row.try_get("", "told")?,
        here: here(db, file).await?,
    })
}

async fn here(db: &Db, file: Option<&Path>) -> anyhow::Result<String> {
    if let Some(file) = file {
        let found = tokio::fs::metadata(file).await;
        let found = found.with_context(|| format!("cannot look at {}", file.display()))?;
        return Ok(found.ino().to_string());
    }
    let mut refused = None;
    for asked in POSTGRES {
        match db.read().query_one_raw(Statement::from_string(db.backend(), asked)).await {
            Ok(row) => {
                return Ok(row.context("the database does not say where it lives")?.try_get("", "here")?);
            }
            Err(error) if db::is_away(&error) => return Err(error.into()),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.map_or_else(|| anyhow::anyhow!("the database does not say where it lives"), Into::into))
}

fn note_beside(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".told");
    PathBuf::from(path)
}

/// How far the log went, as noted beside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    Told(i64),
    /// There is no note: none was written yet, or the file came from elsewhere.
    Missing,
    /// It makes no sense: it is not synced, and power may go at any time. Or there is none for this kind of database.
    Unreadable,
}

async fn noted(path: &Path) -> anyhow::Result<Noted> {
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Ok(text.trim().parse().map_or(Noted::Unreadable, Noted::Told)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Noted::Missing),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

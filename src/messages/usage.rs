//! What was sent and received, counted by the database.

use crate::db::{Db, padded};
use std::collections::HashMap;

use entity::{ClientId, MessageOrigin, Timestamp};
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;

/// So many messages of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// Days since 1970-01-01, UTC.
    pub day: i64,
    /// Who made them.
    pub origin: MessageOrigin,
    /// WhatsApp's word; none: not told.
    pub category: Option<String>,
    /// Whether they cost anything; none: not told.
    pub billable: Option<bool>,
    /// How many.
    pub count: i64,
}

/// Messages of these clients between two instants, by day, origin, category and whether they cost anything. With one
/// statement, whatever there is; the clients came through the scope.
///
/// What counts: messages that were seen live. Of what the API sent only what WhatsApp took: not what waits, was taken back
/// or failed, nor what nobody knows of. What the app sent is free whatever was told of it; so is what customers wrote.
///
/// # Errors
/// When the database is away.
pub async fn of_clients(
    db: &Db,
    clients: &[ClientId],
    since: Timestamp,
    until: Timestamp,
) -> Result<HashMap<ClientId, Vec<Count>>, DbErr> {
    let mut found: HashMap<ClientId, Vec<Count>> =
        clients.iter().map(|client| (*client, Vec::new())).collect();
    if clients.is_empty() {
        return Ok(found);
    }
    let connection = db.read();
    let statement = statement(connection.get_database_backend(), clients, since, until);
    for row in connection.query_all_raw(statement).await? {
        let client = ClientId(row.try_get("", "client_id")?);
        if let Some(counts) = found.get_mut(&client) {
            counts.push(count(&row)?);
        }
    }
    for counts in found.values_mut() {
        counts.sort_unstable();
    }
    Ok(found)
}

/// The same without the days.
pub fn total(by_day: &[Count]) -> Vec<Count> {
    let mut total: Vec<Count> = Vec::new();
    for one in by_day {
        let kind = |count: &Count| (count.origin, count.category.clone(), count.billable);
        match total.iter_mut().find(|known| kind(known) == kind(one)) {
            Some(known) => known.count = known.count.saturating_add(one.count),
            None => total.push(Count { day: 0, ..one.clone() }),
        }
    }
    total.sort_unstable();
    total
}

fn statement(
    backend: sea_orm::DatabaseBackend,
    clients: &[ClientId],
    since: Timestamp,
    until: Timestamp,
) -> Statement {
    let clients = padded(clients.iter().copied());
    let places: Vec<String> = (0..clients.len()).map(|place| format!("${}", place + 3)).collect();
    // `billable` is 1 or 0 on SQLite, true or false on Postgres.
    let sql = format!(
        "SELECT client_id, sent_at / {DAY} AS day, origin, pricing ->> 'category' AS category, \
         CASE WHEN origin <> 'API' THEN 0 \
         WHEN CAST(pricing ->> 'billable' AS TEXT) IN ('1', 'true') THEN 1 \
         WHEN CAST(pricing ->> 'billable' AS TEXT) IN ('0', 'false') THEN 0 END AS billable, \
         count(*) AS count \
         FROM message WHERE client_id IN ({}) AND sent_at >= $1 AND sent_at < $2 AND imported = FALSE \
         AND status NOT IN ('QUEUED', 'SENDING', 'UNKNOWN', 'CANCELED', 'FAILED') \
         GROUP BY 1, 2, 3, 4, 5",
        places.join(", ")
    );
    let mut values: Vec<sea_orm::Value> = vec![since.0.into(), until.0.into()];
    values.extend(clients.into_iter().map(|client| client.0.into()));
    Statement::from_sql_and_values(backend, sql, values)
}

fn count(row: &QueryResult) -> Result<Count, DbErr> {
    let billable: Option<i32> = row.try_get("", "billable")?;
    Ok(Count {
        day: row.try_get("", "day")?,
        origin: row.try_get("", "origin")?,
        category: row.try_get("", "category")?,
        billable: billable.map(|billable| billable == 1),
        count: row.try_get("", "count")?,
    })
}

#[cfg(test)]
mod tests {
    use migration::{Migrator, MigratorTrait};
    use sea_orm::{Database, DatabaseBackend};
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn an_index_finds_the_messages_that_are_counted() {
        let db = Database::connect("sqlite::memory:").await.unwrap();
        Migrator::up(&db, None).await.unwrap();
        let clients = [ClientId(Uuid::from_u128(1)), ClientId(Uuid::from_u128(2))];
        for clients in [&clients[..1], &clients] {
            let Statement { sql, values, .. } =
                statement(DatabaseBackend::Sqlite, clients, Timestamp(0), Timestamp(DAY));
            let sql = format!("EXPLAIN QUERY PLAN {sql}");
            let explain = Statement { sql, values, db_backend: DatabaseBackend::Sqlite };
            let rows = db.query_all_raw(explain).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
            let by_index = "INDEX message_client_id_sent_at_id (client_id=? AND sent_at>? AND sent_at<?)";
            assert!(plan.join("; ").contains(by_index), "{plan:?}");
        }
    }

    #[test]
    fn the_total_is_the_sum_of_the_days() {
        let count = |day, billable, count| Count {
            day,
            origin: MessageOrigin::Api,
            category: Some("utility".into()),
            billable,
            count,
        };
        let by_day = [count(1, Some(true), 2), count(1, None, 1), count(2, Some(true), 5)];
        assert_eq!(total(&by_day), [count(0, None, 1), count(0, Some(true), 7)]);
    }
}

//! Who sends for a client: a lease by the database's clock, with a fencing token that grows with each owner. It guards
//! order and rate; that nothing is sent twice rests on SENDING alone (invariant 7).

use crate::db::{Db, Reader, SelectExt, Sql, clock};
use std::collections::HashMap;
use std::time::Duration;

use entity::{ClientId, lane};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, Statement, Value};
use serde::Deserialize;
use uuid::Uuid;

/// How long a lease lives.
const LIFE: Duration = Duration::from_secs(10);
/// When it is renewed.
pub(super) const RENEW: Duration = Duration::from_secs(3);
/// Leases in one statement.
const AT_ONCE: usize = 500;

/// A lease that was taken or renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) fence: i64,
    /// Somebody else held it before and did not give it back: what they sent in the last second is not known.
    pub(super) taken_over: bool,
}

#[derive(Deserialize)]
struct Leased {
    client_id: ClientId,
    fence: i64,
}

/// Takes or renews leases. Clients that are missing in the answer are somebody else's. `before` looks at who had them.
pub(super) async fn hold<C: Sql>(
    tx: &C,
    before: &Reader<'_>,
    owner: Uuid,
    clients: &[ClientId],
) -> Result<HashMap<ClientId, Held>, DbErr> {
    let backend = tx.backend();
    let mut held = HashMap::with_capacity(clients.len());
    for chunk in clients.chunks(AT_ONCE) {
        #[expect(clippy::disallowed_methods, reason = "the engine's own leases")]
        let owners = lane::Entity::find().filter(lane::Column::ClientId.is_in(chunk.iter().copied()));
        let owners: HashMap<ClientId, lane::Model> =
            owners.rows(before).await?.into_iter().map(|row| (row.client_id, row)).collect();

        let now = clock(backend);
        let rows: Vec<String> =
            (0..chunk.len()).map(|n| format!("(${}, $1, 1, {now} + $2)", n + 3)).collect();
        let sql = format!(
            "INSERT INTO lane (client_id, owner, fence, until) VALUES {} ON CONFLICT (client_id) DO UPDATE SET \
             owner = excluded.owner, until = excluded.until, \
             fence = CASE WHEN lane.owner = excluded.owner THEN lane.fence ELSE lane.fence + 1 END \
             WHERE lane.owner = excluded.owner OR lane.until <= {now} RETURNING client_id, fence",
            rows.join(", ")
        );
        let life = i64::try_from(LIFE.as_micros()).unwrap_or(i64::MAX);
        let mut values: Vec<Value> = vec![owner.into(), life.into()];
        values.extend(chunk.iter().map(|client| Value::from(client.0)));
        for Leased { client_id, fence } in
            tx.read(Statement::from_sql_and_values(backend, sql, values)).await?
        {
            let taken_over =
                owners.get(&client_id).and_then(|row| row.owner).is_some_and(|other| other != owner);
            held.insert(client_id, Held { fence, taken_over });
        }
    }
    Ok(held)
}

/// Takes the leases of a former process over, for whoever is sure to be alone: they need not end first. What it sent in its
/// last second still counts.
///
/// # Errors
/// When the database refuses or is away.
pub async fn inherit(db: &Db) -> Result<(), DbErr> {
    let backend = db.backend();
    let sql = format!("UPDATE lane SET until = {} WHERE owner IS NOT NULL", clock(backend));
    db.write().put(Statement::from_string(backend, sql)).await
}

/// Gives all leases back; whoever takes one next waits until the last second's sends are over.
pub(super) async fn release<C: Sql>(connection: &C, owner: Uuid) -> Result<(), DbErr> {
    let backend = connection.backend();
    let sql = format!("UPDATE lane SET owner = NULL, until = {} + 1000000 WHERE owner = $1", clock(backend));
    connection.put(Statement::from_sql_and_values(backend, sql, [owner.into()])).await
}

//! Raw webhook bodies. On SQLite this step runs on a file of its own.

use sea_orm_migration::prelude::*;

use crate::column::{bigint, boolean, bytes, create, drop, index, optional, table, text, uuid};

/// Raw webhook bodies. On SQLite this step runs on a file of its own.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(
            manager,
            vec![
                table(
                    "inbound",
                    vec![
                        uuid("id"),
                        bigint("received_at"),
                        boolean("history"),
                        text("state"),
                        bytes("body"),
                        optional(text("error")),
                        boolean("partly_unknown"),
                        optional(bigint("settled_at")),
                    ],
                    &["id"],
                ),
                table(
                    "inbound_unknown",
                    vec![text("what"), text("value"), bigint("count"), bigint("last_seen_at")],
                    &["what", "value"],
                ),
            ],
            // Few wait, most are done: the index holds those that wait alone.
            vec![index("inbound", &["history", "id"]).and_where(Expr::cust("state = 'PENDING'")).take()],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["inbound", "inbound_unknown"]).await
    }
}

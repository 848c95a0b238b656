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
                        boolean("partly_unknown"),
                        optional(bigint("settled_at")),
                        optional(text("error")),
                        // Last: what stands behind it costs reading it.
                        bytes("body"),
                    ],
                    &["id"],
                ),
                table(
                    "inbound_unknown",
                    vec![text("what"), text("value"), bigint("count"), bigint("last_seen_at")],
                    &["what", "value"],
                ),
            ],
            // Each body is in one of these: it waits, it is done, or it is kept for longer.
            vec![
                index("inbound", &["history", "id"]).and_where(Expr::cust("state = 'PENDING'")).take(),
                index("inbound", &["settled_at"])
                    .name("inbound_whole")
                    .and_where(Expr::cust("state = 'APPLIED' AND NOT partly_unknown"))
                    .take(),
                index("inbound", &["settled_at"])
                    .name("inbound_troubled")
                    .and_where(Expr::cust(
                        "settled_at IS NOT NULL AND (state <> 'APPLIED' OR partly_unknown)",
                    ))
                    .take(),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["inbound", "inbound_unknown"]).await
    }
}

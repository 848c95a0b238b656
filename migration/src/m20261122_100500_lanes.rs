//! Who sends for a client, and what waits.

use sea_orm_migration::prelude::*;

use crate::column::{bigint, boolean, create, drop, index, integer, json, optional, table, text, uuid};

/// Who sends for a client, and what waits.
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
                    "lane",
                    vec![uuid("client_id"), optional(uuid("owner")), bigint("fence"), bigint("until")],
                    &["client_id"],
                ),
                table(
                    "lane_entry",
                    vec![
                        uuid("id"),
                        text("kind"),
                        uuid("message_id"),
                        uuid("client_id"),
                        uuid("partner_id"),
                        uuid("conversation_id"),
                        boolean("urgent"),
                        bigint("due_at"),
                        boolean("sending"),
                        bigint("fence"),
                        integer("attempts"),
                        bigint("not_before"),
                        json("request"),
                        optional(uuid("media_id")),
                    ],
                    &["id"],
                ),
                table(
                    "send_key",
                    vec![
                        uuid("client_id"),
                        text("key"),
                        text("request_hash"),
                        uuid("message_id"),
                        bigint("position"),
                        bigint("created_at"),
                    ],
                    &["client_id", "key"],
                ),
            ],
            vec![
                index("lane_entry", &["client_id", "urgent", "due_at", "id"]),
                index("lane_entry", &["conversation_id", "due_at", "id"]),
                index("lane_entry", &["conversation_id"]).and_where(Expr::cust("sending")).take(),
                index("lane_entry", &["client_id", "sending"]),
                index("lane_entry", &["message_id"]),
                index("lane_entry", &["media_id"]),
                index("send_key", &["created_at"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["lane", "lane_entry", "send_key"]).await
    }
}

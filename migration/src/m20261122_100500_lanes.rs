//! Who sends for a client, and what waits.

use sea_orm_migration::prelude::*;

use crate::column::{bigint, boolean, create, drop, index, integer, json, optional, table, uuid};

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
                    vec![
                        uuid("client_id"),
                        optional(uuid("owner")),
                        bigint("fence"),
                        bigint("until"),
                    ],
                    &["client_id"],
                ),
                table(
                    "lane_entry",
                    vec![
                        uuid("message_id"),
                        uuid("client_id"),
                        uuid("partner_id"),
                        uuid("conversation_id"),
                        boolean("sending"),
                        bigint("fence"),
                        integer("attempts"),
                        bigint("not_before"),
                        json("request"),
                    ],
                    &["message_id"],
                ),
            ],
            vec![
                index("lane_entry", &["client_id", "sending", "message_id"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["lane", "lane_entry"]).await
    }
}

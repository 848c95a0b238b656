//! Partners, their keys, the place of each one's newest event.

use sea_orm_migration::prelude::*;

use crate::column::{bigint, bytes, create, drop, index, integer, json, optional, table, text, unique, uuid};

/// Partners, their keys, the place of each one's newest event.
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
                    "installation",
                    vec![integer("id"), bigint("epoch"), text("place"), bigint("created_at")],
                    &["id"],
                ),
                table(
                    "partner",
                    vec![
                        uuid("id"),
                        text("name"),
                        optional(bigint("stream_opened_at")),
                        bigint("created_at"),
                    ],
                    &["id"],
                ),
                table(
                    "api_key",
                    vec![
                        uuid("id"),
                        uuid("partner_id"),
                        text("name"),
                        bytes("secret_hash"),
                        text("scopes"),
                        optional(json("client_ids")),
                        optional(bigint("expires_at")),
                        optional(bigint("revoked_at")),
                        bigint("created_at"),
                    ],
                    &["id"],
                ),
                table(
                    "event_head",
                    vec![uuid("partner_id"), bigint("head"), bigint("floor")],
                    &["partner_id"],
                ),
            ],
            vec![unique("api_key", &["secret_hash"]), index("api_key", &["partner_id", "id"])],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["installation", "partner", "api_key", "event_head"]).await
    }
}

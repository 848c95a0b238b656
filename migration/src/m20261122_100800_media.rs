//! Files of messages, and their bytes in the store.

use sea_orm_migration::prelude::*;

use crate::column::{bigint, boolean, create, drop, index, integer, optional, table, text, unique, uuid};

/// Files of messages, and their bytes in the store.
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
                    "media",
                    vec![
                        uuid("id"),
                        uuid("partner_id"),
                        uuid("client_id"),
                        optional(uuid("message_id")),
                        optional(text("upstream_id")),
                        bigint("upstream_until"),
                        text("state"),
                        boolean("imported"),
                        optional(text("mime_type")),
                        optional(text("filename")),
                        optional(uuid("blob_id")),
                        bigint("size_bytes"),
                        integer("attempts"),
                        bigint("next_try_at"),
                        bigint("claimed_until"),
                        optional(text("error")),
                        bigint("used_at"),
                        bigint("created_at"),
                    ],
                    &["id"],
                ),
                table(
                    "blob",
                    vec![
                        uuid("id"),
                        optional(text("sha256")),
                        bigint("size_bytes"),
                        optional(bigint("free_at")),
                        bigint("created_at"),
                    ],
                    &["id"],
                ),
            ],
            vec![
                unique("media", &["message_id", "upstream_id"]),
                // What is to be fetched, in its order.
                index("media", &["state", "imported", "next_try_at"]),
                // What is to go: by age, and of a partner that has too much.
                index("media", &["state", "used_at"]),
                index("media", &["partner_id", "state", "used_at", "size_bytes"]),
                index("media", &["blob_id"]),
                unique("blob", &["sha256"]),
                index("blob", &["free_at"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["media", "blob"]).await
    }
}

//! Webhooks to partners: receivers, what goes to them, every attempt.

use sea_orm_migration::prelude::*;

use crate::column::{
    bigint, boolean, bytes, create, drop, index, integer, json, optional, table, text, unique, uuid,
};

/// Webhooks to partners: receivers, what goes to them, every attempt.
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
                    "webhook_endpoint",
                    vec![
                        uuid("id"),
                        uuid("partner_id"),
                        text("url"),
                        optional(text("description")),
                        optional(json("event_types")),
                        optional(json("client_ids")),
                        optional(uuid("client_key_of")),
                        boolean("parallel"),
                        boolean("enabled"),
                        optional(bigint("disabled_at")),
                        optional(text("disabled_reason")),
                        bytes("secret_sealed"),
                        optional(bytes("former_secret_sealed")),
                        optional(bigint("former_secret_until")),
                        bigint("position"),
                        optional(bigint("last_success_at")),
                        optional(bigint("failing_since")),
                        bigint("version"),
                        optional(uuid("owner")),
                        bigint("owned_until"),
                        bigint("created_at"),
                        optional(bigint("deleted_at")),
                    ],
                    &["id"],
                ),
                table(
                    "webhook_delivery",
                    vec![
                        uuid("id"),
                        uuid("partner_id"),
                        uuid("endpoint_id"),
                        bigint("position"),
                        text("kind"),
                        bigint("occurred_at"),
                        optional(uuid("client_id")),
                        optional(uuid("subject_id")),
                        boolean("replay"),
                        text("status"),
                        boolean("alone"),
                        integer("attempts"),
                        optional(bigint("first_attempt_at")),
                        bigint("next_attempt_at"),
                        optional(bigint("settled_at")),
                        optional(text("data")),
                        optional(bytes("client_key_sealed")),
                    ],
                    &["id"],
                ),
                table(
                    "webhook_attempt",
                    vec![
                        uuid("delivery_id"),
                        integer("number"),
                        bigint("at"),
                        integer("duration_ms"),
                        optional(integer("http_status")),
                        optional(text("error")),
                    ],
                    &["delivery_id", "number"],
                ),
                table(
                    "webhook_replay",
                    vec![
                        uuid("id"),
                        uuid("partner_id"),
                        uuid("endpoint_id"),
                        bigint("position"),
                        bigint("until_position"),
                        optional(bigint("since")),
                        optional(bigint("until")),
                        optional(json("event_types")),
                        bigint("created_at"),
                    ],
                    &["id"],
                ),
            ],
            vec![
                unique("webhook_endpoint", &["client_key_of"]),
                index("webhook_endpoint", &["partner_id", "id"]),
                index("webhook_delivery", &["endpoint_id", "status", "id"]),
                index("webhook_delivery", &["endpoint_id", "id"]),
                index("webhook_delivery", &["settled_at"]),
                index("webhook_delivery", &["subject_id"]),
                index("webhook_replay", &["endpoint_id", "id"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = ["webhook_endpoint", "webhook_delivery", "webhook_attempt", "webhook_replay"];
        drop(manager, &tables).await
    }
}

//! Messages, their WhatsApp ids, statuses and reactions; what waits for a message.

use sea_orm_migration::prelude::*;

use crate::column::{bigint, boolean, create, drop, index, integer, json, optional, table, text, uuid};

/// Messages, their WhatsApp ids, statuses and reactions; what waits for a message.
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
                    "message",
                    vec![
                        uuid("id"),
                        uuid("partner_id"),
                        uuid("client_id"),
                        uuid("conversation_id"),
                        optional(text("whatsapp_id")),
                        text("direction"),
                        text("origin"),
                        boolean("imported"),
                        boolean("in_history"),
                        boolean("opens_window"),
                        bigint("sent_at"),
                        json("content"),
                        integer("substance"),
                        bigint("content_at"),
                        optional(text("text")),
                        text("status"),
                        bigint("status_at"),
                        optional(json("error")),
                        optional(json("pricing")),
                        optional(text("reply_to")),
                        optional(uuid("reply_to_id")),
                        boolean("forwarded"),
                        optional(bigint("edited_at")),
                        optional(bigint("deleted_at")),
                        optional(text("idempotency_key")),
                        optional(text("request_hash")),
                        optional(json("sent_by")),
                        bigint("created_at"),
                    ],
                    &["id"],
                ),
                table(
                    "message_key",
                    vec![text("token"), uuid("client_id"), text("whatsapp_id"), uuid("message_id")],
                    &["token", "client_id", "whatsapp_id"],
                ),
                table(
                    "message_status",
                    vec![uuid("message_id"), text("status"), bigint("at"), optional(json("error"))],
                    &["message_id", "status"],
                ),
                table(
                    "reaction",
                    vec![uuid("message_id"), text("by"), optional(text("emoji")), bigint("at")],
                    &["message_id", "by"],
                ),
                table(
                    "pending",
                    vec![
                        uuid("client_id"),
                        text("target"),
                        text("hash"),
                        text("token"),
                        json("change"),
                        bigint("received_at"),
                        optional(bigint("retry_at")),
                    ],
                    &["client_id", "target", "hash"],
                ),
                table("alias", vec![uuid("id"), text("kind"), uuid("target"), uuid("partner_id")], &["id"]),
            ],
            vec![
                index("message", &["client_id", "sent_at", "id"]),
                index("message", &["conversation_id", "sent_at", "id"]),
                index("message_key", &["message_id"]),
                index("pending", &["token"]),
                index("pending", &["received_at"]),
                index("pending", &["retry_at"]).and_where(Expr::cust("retry_at IS NOT NULL")).take(),
                index("alias", &["target"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["message", "message_key", "message_status", "reaction", "pending", "alias"]).await
    }
}

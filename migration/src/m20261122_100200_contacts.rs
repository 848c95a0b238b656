//! People, and the conversations with them.

use sea_orm_migration::prelude::*;

use crate::column::{bigint, boolean, create, drop, index, integer, optional, table, text, unique, uuid};

/// People, and the conversations with them.
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
                    "contact",
                    vec![
                        uuid("id"),
                        uuid("partner_id"),
                        uuid("client_id"),
                        optional(text("phone_number")),
                        bigint("phone_at"),
                        optional(text("wa_user_id")),
                        bigint("user_id_at"),
                        optional(text("username")),
                        bigint("username_at"),
                        optional(text("profile_name")),
                        bigint("profile_name_at"),
                        optional(text("full_name")),
                        optional(text("first_name")),
                        boolean("in_phone_book"),
                        bigint("book_at"),
                        boolean("marketing_stopped"),
                        bigint("marketing_at"),
                        boolean("ambiguous"),
                        boolean("announced"),
                        text("search"),
                        bigint("changed_at"),
                        bigint("created_at"),
                    ],
                    &["id"],
                ),
                table(
                    "contact_key",
                    vec![
                        text("value"),
                        text("kind"),
                        uuid("client_id"),
                        uuid("contact_id"),
                        bigint("seen_at"),
                    ],
                    &["value", "kind", "client_id"],
                ),
                table(
                    "conversation",
                    vec![
                        uuid("id"),
                        uuid("partner_id"),
                        uuid("client_id"),
                        uuid("contact_id"),
                        bigint("last_activity_at"),
                        optional(uuid("last_message_id")),
                        optional(bigint("window_opened_at")),
                        optional(uuid("window_message_id")),
                        optional(bigint("window_refused_at")),
                        bigint("read_at"),
                        integer("unread_count"),
                        bigint("created_at"),
                    ],
                    &["id"],
                ),
            ],
            vec![
                index("contact", &["client_id", "id"]),
                index("contact_key", &["contact_id"]),
                unique("conversation", &["contact_id"]),
                index("conversation", &["client_id", "last_activity_at", "id"]),
                index("conversation", &["partner_id", "last_activity_at", "id"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["contact", "contact_key", "conversation"]).await
    }
}

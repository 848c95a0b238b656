//! The event log.

use sea_orm_migration::prelude::*;

use crate::column::{bigint, create, drop, index, json, optional, table, text, uuid};

/// The event log.
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
                    "event",
                    vec![
                        uuid("partner_id"),
                        bigint("position"),
                        text("kind"),
                        bigint("occurred_at"),
                        optional(uuid("client_id")),
                        optional(uuid("subject_id")),
                        optional(json("data")),
                    ],
                    &["partner_id", "position"],
                ),
                table(
                    "event_mark",
                    vec![uuid("partner_id"), bigint("at"), bigint("position")],
                    &["partner_id", "at"],
                ),
            ],
            // A rare client or type is found without walking the log: about 5 µs and 95 bytes an entry.
            vec![
                index("event", &["client_id", "position"]),
                index("event", &["partner_id", "kind", "position"]),
                index("event_mark", &["at"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["event", "event_mark"]).await
    }
}

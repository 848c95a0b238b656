//! The event log.

use sea_orm_migration::prelude::*;

use crate::column::{bigint, create, drop, json, optional, table, text, uuid};

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
            vec![table(
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
            )],
            vec![],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["event"]).await
    }
}

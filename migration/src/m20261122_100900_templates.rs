//! Templates of clients' accounts.

use sea_orm_migration::prelude::*;

use crate::column::{bigint, create, drop, index, json, optional, table, text, unique, uuid};

/// Templates of clients' accounts.
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
                "template",
                vec![
                    uuid("id"),
                    uuid("partner_id"),
                    uuid("client_id"),
                    text("waba_id"),
                    text("upstream_id"),
                    text("name"),
                    text("language"),
                    text("status"),
                    bigint("status_at"),
                    optional(text("reason")),
                    text("category"),
                    bigint("category_at"),
                    optional(text("next_category")),
                    optional(bigint("next_category_at")),
                    optional(text("quality")),
                    bigint("quality_at"),
                    optional(text("parameter_format")),
                    optional(json("components")),
                    bigint("created_at"),
                    bigint("changed_at"),
                ],
                &["id"],
            )],
            vec![
                unique("template", &["client_id", "upstream_id"]),
                index("template", &["client_id", "name"]),
                index("template", &["status", "status_at"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["template"]).await
    }
}

//! Business numbers and how they come to be connected.

use sea_orm_migration::prelude::*;

use crate::column::{
    bigint, boolean, bytes, create, drop, index, integer, json, optional, table, text, unique, uuid,
};

/// Business numbers and how they come to be connected.
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
                    "client",
                    vec![
                        uuid("id"),
                        uuid("partner_id"),
                        text("mode"),
                        text("status"),
                        text("temporary_number"),
                        optional(text("phone_number")),
                        optional(text("phone_number_id")),
                        optional(text("waba_id")),
                        optional(text("display_name")),
                        bigint("display_name_at"),
                        optional(json("profile")),
                        bigint("profile_at"),
                        bigint("templates_at"),
                        bigint("templates_due_at"),
                        text("business_name"),
                        optional(text("business_email")),
                        optional(text("reference")),
                        optional(bytes("token_sealed")),
                        optional(bytes("pin_sealed")),
                        optional(bigint("token_expires_at")),
                        text("history_import"),
                        optional(boolean("shares_history")),
                        optional(bigint("first_connected_at")),
                        optional(bigint("connected_at")),
                        bigint("account_at"),
                        integer("account_rank"),
                        optional(bigint("disconnected_at")),
                        optional(text("disconnect_reason")),
                        optional(text("disconnect_upstream_reason")),
                        optional(text("disconnect_initiated_by")),
                        optional(text("pause_reason")),
                        optional(bigint("last_seen_at")),
                        optional(text("last_seen_basis")),
                        integer("visit_raised_days"),
                        bigint("created_at"),
                    ],
                    &["id"],
                ),
                table(
                    "onboarding",
                    vec![
                        uuid("id"),
                        uuid("partner_id"),
                        uuid("client_id"),
                        text("mode"),
                        text("status"),
                        text("link_token"),
                        text("history_import"),
                        optional(text("reference")),
                        optional(text("locale")),
                        optional(json("branding")),
                        optional(text("success_url")),
                        optional(text("failure_url")),
                        optional(boolean("shares_history")),
                        optional(text("failure_code")),
                        optional(text("failure_message")),
                        optional(text("failure_upstream_code")),
                        optional(text("failure_session_id")),
                        optional(bytes("pin_sealed")),
                        optional(text("idempotency_key")),
                        optional(text("request_hash")),
                        bigint("created_at"),
                        bigint("expires_at"),
                    ],
                    &["id"],
                ),
                table(
                    "onboarding_step",
                    vec![uuid("onboarding_id"), text("status"), bigint("at")],
                    &["onboarding_id", "status"],
                ),
                table(
                    "sync",
                    vec![
                        uuid("client_id"),
                        text("kind"),
                        text("state"),
                        integer("percent"),
                        bigint("items"),
                        optional(bigint("intent_at")),
                        optional(bigint("requested_at")),
                        optional(text("request_id")),
                        optional(bigint("deadline_at")),
                        optional(bigint("next_attempt_at")),
                        integer("attempts"),
                        optional(text("refusal")),
                        optional(text("last_failure")),
                        optional(bigint("started_at")),
                        optional(bigint("finished_at")),
                        optional(bigint("last_chunk_at")),
                        boolean("complete_seen"),
                    ],
                    &["client_id", "kind"],
                ),
                table(
                    "sync_chunk",
                    vec![uuid("client_id"), integer("phase"), integer("chunk_order"), bigint("connected_at")],
                    &["client_id", "phase", "chunk_order"],
                ),
            ],
            vec![
                unique("client", &["temporary_number"]),
                index("client", &["partner_id", "id"]),
                index("client", &["phone_number_id"]),
                index("client", &["waba_id"]),
                index("client", &["phone_number"]),
                unique("onboarding", &["link_token"]),
                index("onboarding", &["partner_id", "id"]),
                index("onboarding", &["client_id"]),
                unique("onboarding", &["partner_id", "idempotency_key"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["client", "onboarding", "onboarding_step", "sync", "sync_chunk"]).await
    }
}

//! `data` of webhooks, made by the schema itself: what a webhook says is what the API says.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, bail};
use async_graphql::parser::parse_query;
use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{Executor, Request, Value, Variables};
use entity::{EventType, PartnerId};
use futures_util::future::{BoxFuture, FutureExt};
use serde_json::json;

use super::{Engine, Mutation, Query, Schema, Subscription, prepare};
use crate::app::App;
use crate::auth::Scope;
use crate::ids::EventId;
use crate::webhooks::{Place, Render};

/// The operations, one for each type that events have in the schema.
const OPERATIONS: &str = include_str!("webhook_data.graphql");

/// Makes `data` of webhooks.
pub struct WebhookData {
    /// Without limits: the operations are ours.
    engine: Engine,
    document: ExecutableDocument,
}

impl Default for WebhookData {
    fn default() -> Self {
        Self::new()
    }
}

impl WebhookData {
    /// Over the schema of the API.
    pub fn new() -> Self {
        let document = match parse_query(OPERATIONS) {
            Ok(document) => document,
            Err(error) => unreachable!("webhook_data.graphql: {error}"),
        };
        Self { engine: Engine::new(Schema::new(Query, Mutation, Subscription)), document }
    }

    async fn group(
        &self,
        app: &Arc<App>,
        partner: PartnerId,
        operation: &str,
        positions: &[i64],
        made: &mut HashMap<i64, String>,
    ) -> anyhow::Result<()> {
        let ids: Vec<String> =
            positions.iter().map(|position| EventId { partner, position: *position }.public()).collect();
        let mut request =
            Request::new("").operation_name(operation).variables(Variables::from_json(json!({ "ids": ids })));
        request.set_parsed_query(self.document.clone());
        let response = self.engine.execute(prepare(app, &Scope::of_webhooks(partner), request)).await;
        if let Some(error) = response.errors.first() {
            bail!("{operation}: {}", error.message);
        }
        let Value::Object(mut data) = response.data else { bail!("{operation}: no data") };
        let Some(Value::List(nodes)) = data.swap_remove("nodes") else { bail!("{operation}: no nodes") };
        for (position, node) in positions.iter().zip(nodes) {
            if let Value::Object(_) = node {
                made.insert(*position, serde_json::to_string(&node).context("a node is no JSON")?);
            }
        }
        Ok(())
    }
}

impl Render for WebhookData {
    fn render<'a>(
        &'a self,
        app: &'a Arc<App>,
        partner: PartnerId,
        entries: Vec<Place>,
    ) -> BoxFuture<'a, anyhow::Result<HashMap<i64, String>>> {
        async move {
            let mut groups: HashMap<&str, Vec<i64>> = HashMap::new();
            for Place { position, kind } in entries {
                groups.entry(operation(kind)).or_default().push(position);
            }
            let mut made = HashMap::new();
            for (operation, mut positions) in groups {
                positions.sort_unstable();
                positions.dedup();
                self.group(app, partner, operation, &positions, &mut made).await?;
            }
            Ok(made)
        }
        .boxed()
    }
}

/// Which operation tells of this.
fn operation(kind: EventType) -> &'static str {
    match kind {
        EventType::MessageIncoming => "IncomingMessage",
        EventType::MessageOutgoing => "OutgoingMessage",
        EventType::MessageStatus => "MessageStatus",
        EventType::MessageQueued
        | EventType::MessageEdited
        | EventType::MessageDeleted
        | EventType::MessageReaction
        | EventType::MessageUpdated
        | EventType::MessageMerged => "MessageChanged",
        EventType::ContactAdded
        | EventType::ContactUpdated
        | EventType::ContactRemoved
        | EventType::ContactMerged => "Contact",
        EventType::OnboardingChanged => "Onboarding",
        EventType::SyncProgress => "Sync",
        EventType::ClientConnected
        | EventType::ClientPaused
        | EventType::ClientResumed
        | EventType::ClientDisconnected
        | EventType::ClientProfileChanged
        | EventType::ClientMerged
        | EventType::AppVisitDue => "Client",
        EventType::TemplateChanged => "Template",
        EventType::WebhookEndpointDisabled | EventType::Test => "WebhookEndpoint",
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::Iterable;

    use super::*;

    #[test]
    fn every_type_of_event_has_an_operation() {
        let document = WebhookData::new().document;
        let operations = document.operations;
        for kind in EventType::iter() {
            let name = operation(kind);
            assert!(operations.iter().any(|(known, _)| known.is_some_and(|known| known == name)), "{name}");
        }
    }
}

//! `data` of webhooks, made by the schema itself: what a webhook says is what the API says.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, bail};
use async_graphql::parser::parse_query;
use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{Executor, Request, Value, Variables};
use entity::PartnerId;
use futures_util::future::{BoxFuture, FutureExt};
use serde_json::json;

use super::{Engine, Mutation, Query, Schema, Subscription, prepare};
use crate::app::App;
use crate::auth::Scope;
use crate::ids::EventId;
use crate::webhooks::{Place, Render};

const DOCUMENT: &str = concat!(include_str!("webhook_data.graphql"), include_str!("event_data.graphql"));

/// Makes `data` of webhooks.
pub struct WebhookData {
    /// Without limits: the document is ours.
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
        let document = match parse_query(DOCUMENT) {
            Ok(document) => document,
            Err(error) => unreachable!("the document of webhooks: {error}"),
        };
        Self { engine: Engine::new(Schema::new(Query, Mutation, Subscription)), document }
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
            let mut positions: Vec<i64> = entries.iter().map(|entry| entry.position).collect();
            positions.sort_unstable();
            positions.dedup();
            let ids: Vec<String> =
                positions.iter().map(|position| EventId { partner, position: *position }.public()).collect();
            let mut request = Request::new("").variables(Variables::from_json(json!({ "ids": ids })));
            request.set_parsed_query(self.document.clone());
            let response = self.engine.execute(prepare(app, &Scope::of_webhooks(partner), request)).await;
            if let Some(error) = response.errors.first() {
                bail!("the data of events: {}", error.message);
            }
            let Value::Object(mut data) = response.data else { bail!("the data of events: none") };
            let Some(Value::List(nodes)) = data.swap_remove("nodes") else {
                bail!("the data of events: no nodes")
            };
            let mut made = HashMap::with_capacity(positions.len());
            for (position, node) in positions.iter().zip(nodes) {
                if let Value::Object(_) = node {
                    made.insert(*position, serde_json::to_string(&node).context("a node is no JSON")?);
                }
            }
            Ok(made)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_event_tells_what_it_is_about() {
        let sdl = crate::graphql::sdl();
        let implements =
            |line: &str| Some(line.strip_prefix("type ")?.split_once(" implements ")?.0.to_owned());
        let types: Vec<String> =
            sdl.lines().filter_map(implements).filter(|name| name.ends_with("Event")).collect();
        assert!(types.len() > 5, "{types:?}");
        for name in types {
            assert!(DOCUMENT.contains(&format!("... on {name} {{")), "{name}");
        }
    }
}

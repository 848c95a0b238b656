//! What can be seen of the world.

use super::types::{Arrival, Development, File, GraphCall, PhoneNode, PhoneNumber, engine, instant};
use async_graphql::{Context, ID, Object, Result};
use chrono::{DateTime, Utc};

/// What can be seen of the world.
pub(crate) struct Query;

/// What can be seen of the world.
#[Object]
impl Query {
    /// One phone.
    async fn phone(&self, ctx: &Context<'_>, phone_number: PhoneNumber) -> Result<Option<PhoneNode>> {
        let known = engine(ctx)?.read(|world| world.phones.contains_key(&phone_number.0));
        Ok(known.then_some(PhoneNode(phone_number.0)))
    }

    /// All phones, in the order in which they were made.
    async fn phones(&self, ctx: &Context<'_>) -> Result<Vec<PhoneNode>> {
        let mut phones: Vec<_> = engine(ctx)?
            .read(|world| world.phones.values().map(|phone| (phone.card.made, phone.card.number)).collect());
        phones.sort_unstable();
        Ok(phones.into_iter().map(|(_, number)| PhoneNode(number)).collect())
    }

    /// What the service has sent to the simulator's Graph endpoints, oldest first: for counting rates and doubles.
    async fn arrivals(&self, ctx: &Context<'_>, phone_number: PhoneNumber) -> Result<Vec<Arrival>> {
        Ok(engine(ctx)?.read(|world| {
            world.phone(phone_number.0).map(|p| p.arrivals.iter().map(Arrival::from).collect())
        })?)
    }

    /// The last 10,000 calls to Meta's endpoints, oldest first; with `path`, those whose path contains it.
    async fn graph_calls(&self, ctx: &Context<'_>, path: Option<String>) -> Result<Vec<GraphCall>> {
        let path = path.unwrap_or_default();
        Ok(engine(ctx)?.read(|world| {
            world
                .calls
                .iter()
                .filter(|call| call.path.contains(&path))
                .map(|call| GraphCall {
                    at: call.at as f64,
                    method: call.method.clone(),
                    path: call.path.clone(),
                    status: i32::from(call.status),
                })
                .collect()
        }))
    }

    /// A file that WhatsApp holds, by its media id.
    async fn file(&self, ctx: &Context<'_>, id: ID) -> Result<Option<File>> {
        Ok(engine(ctx)?.read(|world| {
            world.media.get(id.as_str()).map(|media| File {
                mime_type: media.mime.clone(),
                sha256: media.sha256.clone(),
                size_bytes: media.size,
            })
        }))
    }

    /// Simulated now.
    async fn clock(&self, ctx: &Context<'_>) -> Result<DateTime<Utc>> {
        Ok(instant(engine(ctx)?.read(|world| world.now_ms())))
    }

    /// What the service must know of the app that it signs in with. Made once per world.
    async fn development(&self, ctx: &Context<'_>) -> Result<Development> {
        let app = engine(ctx)?.read(|world| world.development.clone());
        Ok(Development {
            app_id: app.app_id,
            app_secret: app.app_secret,
            verify_token: app.verify_token,
            config_id: app.config_id,
            graph_version: crate::graph::VERSION.to_owned(),
        })
    }
}

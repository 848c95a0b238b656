//! Rows that many fields of a request ask for, read together. One key type for each way to a row.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use entity::{
    ClientId, ContactId, ConversationId, MediaId, MessageId, OnboardingId, TemplateId, Timestamp,
    WebhookDeliveryId, WebhookEndpointId, client, contact, conversation, event, media, message,
    message_status, onboarding, onboarding_step, reaction, sync, template, webhook_attempt, webhook_endpoint,
};

use super::context::Caller;
use super::error::{ApiError, Result};
use crate::clients;
use crate::conversations;
use crate::events;
use crate::ids::EventId;
use crate::lookup;
use crate::messages;
use crate::messages::queries::WhatsappId;
use crate::messages::usage::Count;
use crate::webhooks;
use crate::{onboarding as onboardings, sync as syncs};

/// Reads rows for one caller, through that caller's scope.
pub struct Rows {
    caller: Caller,
}

impl Rows {
    /// For one caller.
    pub fn new(caller: Caller) -> Self {
        Self { caller }
    }
}

macro_rules! by_id {
    ($($id:ident => $table:ident),+ $(,)?) => {
        $(impl Loader<$id> for Rows {
            type Value = Arc<$table::Model>;
            type Error = ApiError;

            async fn load(&self, ids: &[$id]) -> Result<HashMap<$id, Self::Value>> {
                Ok(lookup::by_ids::<$table::Entity>(&self.caller.app.db, &self.caller.scope, ids).await?)
            }
        })+
    };
}

lookup::each_identified!(by_id);

impl Loader<WhatsappId> for Rows {
    type Value = Arc<message::Model>;
    type Error = ApiError;

    async fn load(&self, ids: &[WhatsappId]) -> Result<HashMap<WhatsappId, Self::Value>> {
        Ok(messages::queries::by_whatsapp_ids(&self.caller.app.db, &self.caller.scope, ids).await?)
    }
}

impl Loader<EventId> for Rows {
    type Value = Arc<event::Model>;
    type Error = ApiError;

    async fn load(&self, ids: &[EventId]) -> Result<HashMap<EventId, Self::Value>> {
        Ok(events::queries::by_ids(&self.caller.app.db, &self.caller.scope, ids).await?)
    }
}

impl Loader<WebhookEndpointId> for Rows {
    type Value = Arc<webhook_endpoint::Model>;
    type Error = ApiError;

    async fn load(&self, ids: &[WebhookEndpointId]) -> Result<HashMap<WebhookEndpointId, Self::Value>> {
        Ok(webhooks::queries::by_ids(&self.caller.app.db, &self.caller.scope, ids).await?)
    }
}

impl Loader<MediaId> for Rows {
    type Value = Arc<media::Model>;
    type Error = ApiError;

    async fn load(&self, ids: &[MediaId]) -> Result<HashMap<MediaId, Self::Value>> {
        Ok(crate::media::queries::by_ids(&self.caller.app.db, &self.caller.scope, ids).await?)
    }
}

/// The conversation with a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConversationOf(pub ContactId);

impl Loader<ConversationOf> for Rows {
    type Value = Arc<conversation::Model>;
    type Error = ApiError;

    async fn load(&self, keys: &[ConversationOf]) -> Result<HashMap<ConversationOf, Self::Value>> {
        let contacts: Vec<ContactId> = keys.iter().map(|key| key.0).collect();
        let rows =
            conversations::queries::of_contacts(&self.caller.app.db, &self.caller.scope, &contacts).await?;
        Ok(rows.into_iter().map(|(contact, row)| (ConversationOf(contact), row)).collect())
    }
}

/// What a client, which came through the scope, sent and received between two instants, by day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UsageOf {
    /// The client.
    pub client: ClientId,
    /// From this instant on.
    pub since: Timestamp,
    /// Up to this instant.
    pub until: Timestamp,
}

impl Loader<UsageOf> for Rows {
    type Value = Vec<Count>;
    type Error = ApiError;

    async fn load(&self, keys: &[UsageOf]) -> Result<HashMap<UsageOf, Self::Value>> {
        let mut spans: HashMap<(Timestamp, Timestamp), Vec<ClientId>> = HashMap::new();
        for key in keys {
            spans.entry((key.since, key.until)).or_default().push(key.client);
        }
        let mut found = HashMap::with_capacity(keys.len());
        for ((since, until), clients) in spans {
            let counts = messages::usage::of_clients(&self.caller.app.db, &clients, since, until).await?;
            found.extend(
                counts.into_iter().map(|(client, counts)| (UsageOf { client, since, until }, counts)),
            );
        }
        Ok(found)
    }
}

/// Loads lists that belong to rows which came through the scope.
macro_rules! parts {
    ($($(#[$doc:meta])* $key:ident($id:ident) -> $row:ty = $load:path;)+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub struct $key(pub $id);

            impl Loader<$key> for Rows {
                type Value = $row;
                type Error = ApiError;

                async fn load(&self, keys: &[$key]) -> Result<HashMap<$key, Self::Value>> {
                    let ids: Vec<$id> = keys.iter().map(|key| key.0).collect();
                    let parts = $load(&self.caller.app.db, &ids).await?;
                    Ok(parts.into_iter().map(|(id, part)| ($key(id), part)).collect())
                }
            }
        )+
    };
}

parts!(
    /// What became of a message, rung by rung.
    StatusesOf(MessageId) -> Vec<message_status::Model> = messages::queries::statuses;
    /// The file that came with a message.
    FilesOf(MessageId) -> media::Model = crate::media::queries::of_messages;
    /// The reactions to a message.
    ReactionsOf(MessageId) -> Vec<reaction::Model> = messages::queries::reactions;
    /// The imports of a client.
    SyncsOf(ClientId) -> Vec<sync::Model> = syncs::queries::of_clients;
    /// The steps of an onboarding.
    StepsOf(OnboardingId) -> Vec<onboarding_step::Model> = onboardings::queries::steps;
    /// How many messages of a client wait.
    QueuedOf(ClientId) -> i64 = clients::queries::queued;
    /// The attempts of a delivery.
    AttemptsOf(WebhookDeliveryId) -> Vec<webhook_attempt::Model> = webhooks::queries::attempts;
    /// How many deliveries of an endpoint wait.
    PendingOf(WebhookEndpointId) -> i64 = webhooks::queries::pending;
);

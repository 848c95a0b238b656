//! What has an id.

use std::sync::Arc;

use async_graphql::{Context, ID, Interface};
use entity::{
    ClientId, ContactId, ConversationId, MessageId, OnboardingId, TemplateId, WebhookDeliveryId,
    WebhookEndpointId,
};

use super::event::{
    self, ClientEvent, ContactEvent, IncomingMessageEvent, MessageChangedEvent, MessageStatusEvent,
    OnboardingEvent, OutgoingMessageEvent, SyncEvent, TemplateEvent, WebhookEndpointEvent,
};
use super::{
    Client, Contact, Conversation, Event, Message, Onboarding, Template, WebhookDelivery, WebhookEndpoint,
};
use crate::auth::Permission;
use crate::graphql::context::ContextExt;
use crate::graphql::error::Result;
use crate::ids::{EventId, PublicId};
use crate::webhooks;

/// Something with an id of its own, unique over all types. Ids are opaque and begin with a word for their type; the id of
/// what was merged into something else keeps leading to it.
#[derive(Clone, Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Opaque; begins with a word for the type, such as `msg_`."))]
pub enum Node {
    /// A business number.
    Client(Client),
    /// The journey from a link to a connected number.
    Onboarding(Onboarding),
    /// A person, as one client knows them.
    Contact(Contact),
    /// One client with one contact.
    Conversation(Conversation),
    /// A message.
    Message(Message),
    /// A message template of one client's account.
    Template(Template),
    /// A receiver of webhooks.
    WebhookEndpoint(WebhookEndpoint),
    /// One event for one receiver.
    WebhookDelivery(WebhookDelivery),
    /// An entry of the stream.
    IncomingMessageEvent(IncomingMessageEvent),
    /// An entry of the stream.
    OutgoingMessageEvent(OutgoingMessageEvent),
    /// An entry of the stream.
    MessageStatusEvent(MessageStatusEvent),
    /// An entry of the stream.
    MessageChangedEvent(MessageChangedEvent),
    /// An entry of the stream.
    ContactEvent(ContactEvent),
    /// An entry of the stream.
    OnboardingEvent(OnboardingEvent),
    /// An entry of the stream.
    SyncEvent(SyncEvent),
    /// An entry of the stream.
    TemplateEvent(TemplateEvent),
    /// An entry of the stream.
    ClientEvent(ClientEvent),
    /// An entry of the stream.
    WebhookEndpointEvent(WebhookEndpointEvent),
}

impl From<Event> for Node {
    fn from(event: Event) -> Self {
        match event {
            Event::Incoming(event) => Self::IncomingMessageEvent(event),
            Event::Outgoing(event) => Self::OutgoingMessageEvent(event),
            Event::Status(event) => Self::MessageStatusEvent(event),
            Event::Changed(event) => Self::MessageChangedEvent(event),
            Event::Contact(event) => Self::ContactEvent(event),
            Event::Onboarding(event) => Self::OnboardingEvent(event),
            Event::Sync(event) => Self::SyncEvent(event),
            Event::Template(event) => Self::TemplateEvent(event),
            Event::Client(event) => Self::ClientEvent(event),
            Event::WebhookEndpoint(event) => Self::WebhookEndpointEvent(event),
        }
    }
}

/// What an id names; none if it names nothing that the caller may see.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn resolve(ctx: &Context<'_>, id: &str) -> Result<Option<Node>> {
    ctx.reader()?;
    let prefix = id.split('_').next().unwrap_or_default();
    Ok(match prefix {
        ClientId::PREFIX => match ClientId::parse(id) {
            Some(id) => ctx.load(id).await?.map(|row| Client(row).into()),
            None => None,
        },
        OnboardingId::PREFIX => match OnboardingId::parse(id) {
            Some(id) => ctx.load(id).await?.map(|row| Onboarding(row).into()),
            None => None,
        },
        ContactId::PREFIX => match ContactId::parse(id) {
            Some(id) => ctx.load(id).await?.map(|row| Contact(row).into()),
            None => None,
        },
        ConversationId::PREFIX => match ConversationId::parse(id) {
            Some(id) => ctx.load(id).await?.map(|row| Conversation::alone(row).into()),
            None => None,
        },
        MessageId::PREFIX => match MessageId::parse(id) {
            Some(id) => ctx.load(id).await?.map(|row| Message::alone(row).into()),
            None => None,
        },
        TemplateId::PREFIX => match TemplateId::parse(id) {
            Some(id) => ctx.load(id).await?.map(|row| Template(row).into()),
            None => None,
        },
        // Endpoints need the scope ADMIN: without it they are as if they were not there.
        WebhookEndpointId::PREFIX | WebhookDeliveryId::PREFIX
            if !ctx.scope().permissions().contains(&Permission::Admin) =>
        {
            None
        }
        WebhookEndpointId::PREFIX => match WebhookEndpointId::parse(id) {
            Some(id) => ctx.load(id).await?.map(|row| WebhookEndpoint(row).into()),
            None => None,
        },
        WebhookDeliveryId::PREFIX => match WebhookDeliveryId::parse(id) {
            Some(id) => {
                let row = webhooks::queries::delivery(&ctx.app().db, ctx.scope(), id).await?;
                row.map(|row| WebhookDelivery(Arc::new(row)).into())
            }
            None => None,
        },
        EventId::PREFIX => match EventId::parse(id) {
            Some(id) => event::by_id(ctx, id).await?.map(Node::from),
            None => None,
        },
        _ => None,
    })
}

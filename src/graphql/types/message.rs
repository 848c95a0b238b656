//! Messages.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};
use entity::message::{self, Column};
use serde::Deserialize;
use serde_json::Value;

use super::content::{FileOf, MessageContent};
use super::enums::{CredentialKind, MessageDirection, MessageOrigin, MessageStatus, ReactionBy};
use super::{Client, Conversation, required};
use crate::db::page::Place;
use crate::graphql::beside::{Beside, MadeOf};
use crate::graphql::context::ContextExt;
use crate::graphql::error::Result;
use crate::graphql::loaders::{FilesOf, ReactionsOf, StatusesOf};
use crate::graphql::pagination::Listed;
use crate::graphql::scalars::{DateTime, PhoneNumber, public};
use crate::messages::errors::is_retryable;
use crate::messages::queries::WhatsappId;
use crate::upstream::change::{ReportedError, ReportedPricing};

/// A message.
#[derive(Clone)]
pub struct Message(pub Arc<message::Model>, pub Beside);

impl Listed for Message {
    const KIND: u8 = b'm';

    fn place(&self) -> Place {
        Place { key: self.0.sent_at.0, id: self.0.id.0 }
    }
}

impl MadeOf for Message {
    type Table = message::Entity;

    const ALWAYS: &'static [message::Column] =
        &[Column::Id, Column::ClientId, Column::ConversationId, Column::SentAt];

    fn columns(field: &str) -> Option<&'static [message::Column]> {
        Some(match field {
            "__typename" | "id" | "client" | "conversation" | "sentAt" | "reactions" => &[],
            "whatsappId" => &[Column::WhatsappId],
            "direction" | "from" | "to" => &[Column::Direction],
            "origin" => &[Column::Origin],
            "imported" => &[Column::Imported],
            "text" => &[Column::Text],
            "status" => &[Column::Status],
            "statusAt" => &[Column::StatusAt],
            "statusHistory" => &[Column::Status, Column::StatusAt, Column::Error],
            "pricing" => &[Column::Origin, Column::Pricing],
            "error" => &[Column::Error],
            "replyTo" => &[Column::ReplyTo, Column::ReplyToId],
            "forwarded" => &[Column::Forwarded],
            "idempotencyKey" => &[Column::IdempotencyKey],
            "sentBy" => &[Column::SentBy],
            "editedAt" => &[Column::EditedAt],
            "deletedAt" => &[Column::DeletedAt],
            _ => return None,
        })
    }
}

impl Message {
    /// One that is not an item of a list.
    pub fn alone(row: Arc<message::Model>) -> Self {
        Self(row, Beside::default())
    }

    async fn number(&self, ctx: &Context<'_>, of_client: bool) -> Result<Option<PhoneNumber>> {
        if of_client {
            let client = self.1.client(ctx, self.0.client_id).await?;
            return Ok(client.and_then(|client| client.phone_number.clone()).map(PhoneNumber));
        }
        let Some(conversation) = self.1.conversation(ctx, self.0.conversation_id).await? else {
            return Ok(None);
        };
        let contact = self.1.contact(ctx, conversation.contact_id).await?;
        Ok(contact.and_then(|contact| contact.phone_number.clone()).map(PhoneNumber))
    }

    /// A key without READ sees what this API sent; what others wrote is not shown to it by a mutation either.
    fn readable(&self, ctx: &Context<'_>) -> Result<()> {
        if self.0.origin != entity::MessageOrigin::Api {
            ctx.reader()?;
        }
        Ok(())
    }

    fn is_inbound(&self) -> bool {
        self.0.direction == entity::MessageDirection::Inbound
    }
}

/// A message: one, however often and under however many ids WhatsApp tells of it.
#[Object]
impl Message {
    /// Begins with `msg_`.
    pub async fn id(&self) -> ID {
        public(self.0.id)
    }

    /// Whose message it is.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        ctx.reader()?;
        required(self.1.client(ctx, self.0.client_id).await?, "client").map(Client)
    }

    /// The conversation that it belongs to.
    async fn conversation(&self, ctx: &Context<'_>) -> Result<Conversation> {
        ctx.reader()?;
        let row = required(self.1.conversation(ctx, self.0.conversation_id).await?, "conversation")?;
        Ok(Conversation(row, self.1.clone()))
    }

    /// The id that WhatsApp gave it: of several always the same one, whichever was told first. Null: none yet.
    fn whatsapp_id(&self) -> Option<&str> {
        self.0.whatsapp_id.as_deref()
    }

    /// Which way it went.
    fn direction(&self) -> MessageDirection {
        self.0.direction.into()
    }

    /// Who made it: the customer, the client in the phone app, or this API.
    fn origin(&self) -> MessageOrigin {
        self.0.origin.into()
    }

    /// It came with the imported six months, and was not seen live.
    fn imported(&self) -> bool {
        self.0.imported
    }

    /// The number that it was sent from. Null: WhatsApp hides it.
    async fn from(&self, ctx: &Context<'_>) -> Option<Result<PhoneNumber>> {
        if let Err(error) = self.readable(ctx) {
            return Some(Err(error));
        }
        self.number(ctx, !self.is_inbound()).await.transpose()
    }

    /// The number that it was sent to. Null: WhatsApp hides it.
    async fn to(&self, ctx: &Context<'_>) -> Option<Result<PhoneNumber>> {
        self.number(ctx, self.is_inbound()).await.transpose()
    }

    /// What it says.
    async fn content(&self, ctx: &Context<'_>) -> Result<Box<MessageContent>> {
        self.readable(ctx)?;
        let file = match FileOf::read(&self.0) {
            Some(FileOf::Message) => ctx.load(FilesOf(self.0.id)).await?.map(Arc::new),
            Some(FileOf::Upload(id)) => ctx.load(id).await?,
            None => return Ok(Box::new(MessageContent::read(&self.0))),
        };
        Ok(Box::new(MessageContent::read(&self.0).with_file(ctx.app(), file.as_deref())))
    }

    /// The words, whatever the content: body, caption, title of a button. Null: there are none.
    fn text(&self, ctx: &Context<'_>) -> Result<Option<&str>> {
        self.readable(ctx)?;
        Ok(self.0.text.as_deref())
    }

    /// What became of it.
    fn status(&self) -> MessageStatus {
        self.0.status.into()
    }

    /// When it got its status.
    fn status_at(&self) -> DateTime {
        self.0.status_at.into()
    }

    /// Every status that it is known to have had, lowest first. WhatsApp may leave some out.
    async fn status_history(&self, ctx: &Context<'_>) -> Result<Vec<MessageStatusChange>> {
        let mut rungs = ctx.load(StatusesOf(self.0.id)).await?.unwrap_or_default();
        if !rungs.iter().any(|rung| rung.status == self.0.status) {
            rungs.push(entity::message_status::Model {
                message_id: self.0.id,
                status: self.0.status,
                at: self.0.status_at,
                error: self.0.error.clone(),
            });
        }
        rungs.sort_by_key(|rung| rung.status.rank());
        Ok(rungs
            .into_iter()
            .map(|rung| MessageStatusChange {
                status: rung.status.into(),
                at: rung.at.into(),
                error: rung.error.as_ref().and_then(MessageError::read),
            })
            .collect())
    }

    /// WhatsApp's whole second, or the instant of `sendMessage`; it never changes.
    fn sent_at(&self) -> DateTime {
        self.0.sent_at.into()
    }

    /// What WhatsApp says about its price; never an amount. Traffic of the app is never billable. Null: nothing was told.
    fn pricing(&self) -> Option<MessagePricing> {
        MessagePricing::of(&self.0)
    }

    /// Why it failed. Null: it did not.
    fn error(&self) -> Option<MessageError> {
        self.0.error.as_ref().and_then(MessageError::read)
    }

    /// The message that it answers. Null: none, or it is not known here.
    async fn reply_to(&self, ctx: &Context<'_>) -> Option<Result<Message>> {
        let load = async {
            ctx.reader()?;
            if let Some(id) = self.0.reply_to_id {
                return Ok(ctx.load(id).await?.map(Message::alone));
            }
            let Some(id) = self.0.reply_to.clone() else { return Ok(None) };
            let (client, conversation) = (self.0.client_id, self.0.conversation_id);
            Ok(ctx.load(WhatsappId { client, conversation, id }).await?.map(Message::alone))
        };
        Box::pin(load).await.transpose()
    }

    /// Whether it was forwarded.
    fn forwarded(&self) -> bool {
        self.0.forwarded
    }

    /// The reactions to it, at most one of each side. A reaction lives here, not as a message of its own.
    async fn reactions(&self, ctx: &Context<'_>) -> Result<Vec<Reaction>> {
        let reactions = ctx.load(ReactionsOf(self.0.id)).await?.unwrap_or_default();
        Ok(reactions
            .into_iter()
            .filter_map(|row| Some(Reaction { emoji: row.emoji?, by: row.by.into(), at: row.at.into() }))
            .collect())
    }

    /// The key that `sendMessage` was called with: match an optimistic bubble by it when the event overtakes the answer.
    /// Null: it was not sent through the API.
    fn idempotency_key(&self) -> Option<&str> {
        self.0.idempotency_key.as_deref()
    }

    /// The credential that sent it. Null: it was not sent through the API.
    fn sent_by(&self) -> Option<Sender> {
        self.0.sent_by.as_ref().map(Sender::read)
    }

    /// When its words were changed last. Null: never.
    fn edited_at(&self) -> Option<DateTime> {
        self.0.edited_at.map(DateTime)
    }

    /// When it was deleted for everyone; its words are gone then. Null: it was not.
    fn deleted_at(&self) -> Option<DateTime> {
        self.0.deleted_at.map(DateTime)
    }
}

/// A status that a message had.
#[derive(Clone, Debug, SimpleObject)]
pub struct MessageStatusChange {
    /// Which.
    status: MessageStatus,
    /// Since when.
    at: DateTime,
    /// Why it failed. Null: it did not.
    error: Option<MessageError>,
}

/// Why a message failed, in WhatsApp's terms.
#[derive(Clone, Debug, PartialEq, SimpleObject)]
pub struct MessageError {
    /// WhatsApp's code, such as 131047.
    code: i32,
    /// WhatsApp's words.
    message: String,
    /// WhatsApp's further explanation. Null: it gave none.
    details: Option<String>,
    /// Whether sending the same again, perhaps later, can help.
    retryable: bool,
}

impl MessageError {
    /// From what is stored; none if it makes no sense.
    pub fn read(stored: &Value) -> Option<Self> {
        let ReportedError { code, title, details } = ReportedError::deserialize(stored).ok()?;
        Some(Self { code: super::clamp(code), message: title, details, retryable: is_retryable(code) })
    }
}

/// What WhatsApp says about a message's price.
#[derive(Clone, Debug, PartialEq, SimpleObject)]
pub struct MessagePricing {
    /// Whether it costs anything. Null: not told.
    billable: Option<bool>,
    /// `marketing`, `utility`, `authentication`, `service` or a newer word. Null: not told.
    category: Option<String>,
    /// `PMP` (by message), `CBP` (by conversation) or a newer word. Null: not told.
    model: Option<String>,
    /// `regular`, `free_customer_service`, `free_entry_point` or a newer word. Null: not told.
    #[graphql(name = "type")]
    kind: Option<String>,
}

impl MessagePricing {
    fn of(row: &message::Model) -> Option<Self> {
        let told = row.pricing.as_ref().and_then(|pricing| ReportedPricing::deserialize(pricing).ok());
        if row.origin == entity::MessageOrigin::App {
            let ReportedPricing { billable: _, model, kind, category } = told.unwrap_or_default();
            return Some(Self { billable: Some(false), category, model, kind });
        }
        let ReportedPricing { billable, model, kind, category } = told?;
        Some(Self { billable, category, model, kind })
    }
}

/// A reaction to a message.
#[derive(Clone, Debug, SimpleObject)]
pub struct Reaction {
    /// One emoji.
    emoji: String,
    /// Who reacted.
    by: ReactionBy,
    /// When.
    at: DateTime,
}

/// The credential that sent a message.
#[derive(Clone, Debug, SimpleObject)]
pub struct Sender {
    /// What kind of credential.
    kind: CredentialKind,
    /// Whom the credential was made for. Null: nobody was named, as with every API key.
    subject: Option<String>,
}

impl Sender {
    fn read(stored: &Value) -> Self {
        let text = |key: &str| stored.get(key).and_then(Value::as_str);
        Self {
            kind: text("kind").and_then(CredentialKind::parse).unwrap_or(CredentialKind::ApiKey),
            subject: text("subject").map(str::to_owned),
        }
    }
}

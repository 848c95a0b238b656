//! Mutations of messages.

use std::sync::Arc;

use async_graphql::{Context, InputObject, SimpleObject};
use entity::{ClientId, MessageId};

use super::client::cursor;
use super::content::MessageContentInput;
use crate::failure::Outcome;
use crate::graphql::context::ContextExt;
use crate::graphql::error::{Result, UserError, settle};
use crate::graphql::scalars::{DateTime, EventCursor, Given};
use crate::graphql::types::Message;
use crate::messages::queue;
use crate::messages::send::{self, Send, Sent};

/// A message to send.
#[derive(Debug, InputObject)]
pub struct SendMessageInput {
    /// From whom.
    pub client_id: Given<ClientId>,
    /// A phone number with its plus sign, or a contact's WhatsApp user id when the number is hidden.
    pub to: String,
    /// What.
    pub content: MessageContentInput,
    /// The message that it answers. Null: none.
    pub reply_to: Option<Given<MessageId>>,
    /// Sending twice with one key sends once and answers with the first message. 1 to 256 characters, kept 24 hours at
    /// least.
    pub idempotency_key: String,
    /// Not before this instant, at most 30 days ahead. Null: at once.
    pub send_at: Option<DateTime>,
}

/// Which message.
#[derive(Debug, InputObject)]
pub struct MessageInput {
    /// A message that this API sent or was to send.
    pub message_id: Given<MessageId>,
}

/// Which message to mark as read.
#[derive(Debug, InputObject)]
pub struct MarkAsReadInput {
    /// A customer's message; it and all before it are marked as read, in WhatsApp and here.
    pub message_id: Given<MessageId>,
    /// Shows the customer that an answer is being typed, for 25 seconds or until it comes.
    #[graphql(default = false)]
    pub typing: bool,
}

/// A message that was queued.
#[derive(SimpleObject)]
pub struct SendMessagePayload {
    /// The message; for a reaction, the message reacted to. Null: the mutation was refused.
    message: Option<Message>,
    /// Where the stream shows it: when you have seen this place, the message is in what you read. Null: the mutation was
    /// refused.
    event_cursor: Option<EventCursor>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// A message, after a mutation.
#[derive(SimpleObject)]
pub struct MessagePayload {
    /// The message. Null: the mutation was refused.
    message: Option<Message>,
    /// Where the stream shows what was changed. Null: the mutation was refused.
    event_cursor: Option<EventCursor>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// Queues a message.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn send(ctx: &Context<'_>, input: SendMessageInput) -> Result<SendMessagePayload> {
    let outcome = async {
        let SendMessageInput { client_id, to, content, reply_to, idempotency_key, send_at } = input;
        let message = Send {
            client: client_id.of("clientId")?,
            to,
            content: content.read()?,
            reply_to: reply_to.map(|message| message.of("replyTo")).transpose()?,
            idempotency_key,
            send_at: send_at.map(|at| at.0),
        };
        Box::pin(send::send(ctx.app(), ctx.scope(), message)).await
    };
    let (sent, user_errors) = settle(outcome.await)?;
    let (message, position) = sent.map(|sent| (sent.message, sent.position)).unzip();
    Ok(SendMessagePayload {
        message: message.map(|row| Message::alone(Arc::new(row))),
        event_cursor: position.map(|position| cursor(ctx, position)),
        user_errors,
    })
}

/// Marks a customer's message as read.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn mark_as_read(ctx: &Context<'_>, input: MarkAsReadInput) -> Result<MessagePayload> {
    let outcome = async {
        let message = input.message_id.of("messageId")?;
        Box::pin(send::mark_as_read(ctx.app(), ctx.scope(), message, input.typing)).await
    };
    after(ctx, outcome.await)
}

/// Takes a message back that still waits.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn cancel(ctx: &Context<'_>, input: MessageInput) -> Result<MessagePayload> {
    let outcome = async {
        let message = input.message_id.of("messageId")?;
        Box::pin(queue::cancel(ctx.app(), ctx.scope(), message)).await
    };
    after(ctx, outcome.await)
}

/// Sends a message once more.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn resend(ctx: &Context<'_>, input: MessageInput) -> Result<MessagePayload> {
    let outcome = async {
        let message = input.message_id.of("messageId")?;
        Box::pin(queue::resend(ctx.app(), ctx.scope(), message)).await
    };
    after(ctx, outcome.await)
}

fn after(ctx: &Context<'_>, outcome: Outcome<Sent>) -> Result<MessagePayload> {
    let (sent, user_errors) = settle(outcome)?;
    let (message, position) = sent.map(|sent| (sent.message, sent.position)).unzip();
    Ok(MessagePayload {
        message: message.map(|row| Message::alone(Arc::new(row))),
        event_cursor: position.map(|position| cursor(ctx, position)),
        user_errors,
    })
}

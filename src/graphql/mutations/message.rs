//! Mutations of messages.

use std::sync::Arc;

use async_graphql::{Context, Enum, InputObject, OneofObject, SimpleObject};
use entity::{ClientId, MessageId};
use serde_json::{Map, Value, json};

use super::client::cursor;
use crate::failure::{Failure, Outcome, Refusal, RefusalCode};
use crate::graphql::context::ContextExt;
use crate::graphql::error::{Result, UserError, settle};
use crate::graphql::scalars::{DateTime, EventCursor, Given, Url};
use crate::graphql::types::Message;
use crate::messages::send::{self, Outgoing, Send};

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

/// What to send: exactly one of these.
#[derive(Debug, OneofObject)]
pub enum MessageContentInput {
    /// Words. Needs an open window.
    Text(TextInput),
    /// An approved template: the one thing that needs no window.
    Template(TemplateMessageInput),
    /// A reaction to a message, or the end of one. Needs an open window.
    Reaction(ReactionInput),
}

/// Words.
#[derive(Debug, InputObject)]
pub struct TextInput {
    /// The words, 1 to 4096 characters.
    pub body: String,
    /// Whether to show a preview of the first link.
    #[graphql(default = false)]
    pub preview_url: bool,
}

/// An approved template, filled in.
#[derive(Debug, InputObject)]
pub struct TemplateMessageInput {
    /// Its name.
    pub name: String,
    /// Its language code, such as `de` or `en_US`.
    pub language: String,
    /// What is filled in. Null: the template has nothing to fill in.
    pub components: Option<Vec<TemplateComponentInput>>,
}

/// What is filled into one part of a template.
#[derive(Debug, InputObject)]
pub struct TemplateComponentInput {
    /// Which part.
    #[graphql(name = "type")]
    pub kind: TemplateComponentType,
    /// BUTTON: what kind of button. Null for other parts.
    pub sub_type: Option<TemplateButtonType>,
    /// BUTTON: which one, from 0. Null for other parts.
    pub index: Option<i32>,
    /// The values, in the order of the template's places; with names, in any order.
    pub parameters: Vec<TemplateParameterInput>,
}

/// Parts of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum TemplateComponentType {
    /// Above the words.
    Header,
    /// The words.
    Body,
    /// A button.
    Button,
}

/// Buttons of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum TemplateButtonType {
    /// Opens an address, of which the end is filled in.
    Url,
    /// Answers with its words.
    QuickReply,
    /// Copies a coupon code.
    CopyCode,
    /// Opens a form.
    Flow,
}

/// A value in a template. Which fields it needs depends on `type`.
#[derive(Debug, InputObject)]
pub struct TemplateParameterInput {
    /// What kind of value.
    #[graphql(name = "type", default_with = "TemplateParameterType::Text")]
    pub kind: TemplateParameterType,
    /// The place's name, for templates whose places have names. Null: places are numbered.
    pub parameter_name: Option<String>,
    /// TEXT: the words. CURRENCY and DATE_TIME: what is shown where the value cannot be.
    pub text: Option<String>,
    /// PAYLOAD: what comes back when the button is pressed.
    pub payload: Option<String>,
    /// COUPON_CODE: the code.
    pub coupon_code: Option<String>,
    /// CURRENCY: the code of the currency, such as `EUR`.
    pub currency: Option<String>,
    /// CURRENCY: the amount times 1000.
    pub amount1000: Option<i32>,
    /// IMAGE, VIDEO, DOCUMENT: where WhatsApp fetches the file.
    pub link: Option<Url>,
    /// DOCUMENT: its name. Null: none is shown.
    pub filename: Option<String>,
    /// LOCATION: degrees north.
    pub latitude: Option<f64>,
    /// LOCATION: degrees east.
    pub longitude: Option<f64>,
    /// LOCATION: what the place is called.
    pub name: Option<String>,
    /// LOCATION: its address.
    pub address: Option<String>,
}

/// Kinds of values in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum TemplateParameterType {
    /// Words.
    Text,
    /// An amount of money.
    Currency,
    /// A date, as words.
    DateTime,
    /// An image above the words.
    Image,
    /// A video above the words.
    Video,
    /// A document above the words.
    Document,
    /// A place above the words.
    Location,
    /// What a quick reply sends back.
    Payload,
    /// What a COPY_CODE button copies.
    CouponCode,
}

/// A reaction.
#[derive(Debug, InputObject)]
pub struct ReactionInput {
    /// The message reacted to, at most 30 days old.
    pub message_id: Given<MessageId>,
    /// One emoji. Null or empty: takes the reaction away.
    pub emoji: Option<String>,
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
            content: outgoing(content)?,
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
    let (sent, user_errors) = settle(outcome.await)?;
    let (message, position) = sent.map(|sent| (sent.message, sent.position)).unzip();
    Ok(MessagePayload {
        message: message.map(|row| Message::alone(Arc::new(row))),
        event_cursor: position.map(|position| cursor(ctx, position)),
        user_errors,
    })
}

fn outgoing(content: MessageContentInput) -> Outcome<Outgoing> {
    Ok(match content {
        MessageContentInput::Text(TextInput { body, preview_url }) => Outgoing::Text { body, preview_url },
        MessageContentInput::Template(TemplateMessageInput { name, language, components }) => {
            let components = components.map(|components| {
                components.into_iter().enumerate().map(|(place, component)| wire(place, component)).collect()
            });
            let components = components.transpose()?.map(Value::Array);
            Outgoing::Template { name, language, components }
        }
        MessageContentInput::Reaction(ReactionInput { message_id, emoji }) => Outgoing::Reaction {
            message: message_id.of("content.reaction.messageId")?,
            emoji: emoji.filter(|emoji| !emoji.is_empty()),
        },
    })
}

/// A component as it goes over Meta's wire.
fn wire(place: usize, component: TemplateComponentInput) -> Outcome<Value> {
    let TemplateComponentInput { kind, sub_type, index, parameters } = component;
    let at = format!("content.template.components.{place}");
    let mut wire = Map::new();
    let word = match kind {
        TemplateComponentType::Header => "header",
        TemplateComponentType::Body => "body",
        TemplateComponentType::Button => "button",
    };
    wire.insert("type".to_owned(), word.into());
    if kind == TemplateComponentType::Button {
        let sub_type = match needed(sub_type, &at, "subType")? {
            TemplateButtonType::Url => "url",
            TemplateButtonType::QuickReply => "quick_reply",
            TemplateButtonType::CopyCode => "copy_code",
            TemplateButtonType::Flow => "flow",
        };
        let index = needed(index.filter(|index| (0..10).contains(index)), &at, "index")?;
        wire.insert("sub_type".to_owned(), sub_type.into());
        wire.insert("index".to_owned(), index.to_string().into());
    }
    let parameters: Outcome<Vec<Value>> = parameters
        .into_iter()
        .enumerate()
        .map(|(place, parameter)| parameter.wire(&format!("{at}.parameters.{place}")))
        .collect();
    wire.insert("parameters".to_owned(), Value::Array(parameters?));
    Ok(Value::Object(wire))
}

impl TemplateParameterInput {
    fn wire(self, at: &str) -> Outcome<Value> {
        let Self {
            kind,
            parameter_name,
            text,
            payload,
            coupon_code,
            currency,
            amount1000,
            link,
            filename,
            latitude,
            longitude,
            name,
            address,
        } = self;
        let file = |link: Option<Url>, filename: Option<String>| {
            let link = needed(link, at, "link")?.0;
            Ok::<Value, Failure>(match filename {
                Some(filename) => json!({ "link": link, "filename": filename }),
                None => json!({ "link": link }),
            })
        };
        let mut wire = match kind {
            TemplateParameterType::Text => json!({ "type": "text", "text": needed(text, at, "text")? }),
            TemplateParameterType::Currency => json!({ "type": "currency", "currency": {
                "fallback_value": needed(text, at, "text")?,
                "code": needed(currency, at, "currency")?,
                "amount_1000": needed(amount1000, at, "amount1000")?,
            } }),
            TemplateParameterType::DateTime => {
                json!({ "type": "date_time", "date_time": { "fallback_value": needed(text, at, "text")? } })
            }
            TemplateParameterType::Image => json!({ "type": "image", "image": file(link, None)? }),
            TemplateParameterType::Video => json!({ "type": "video", "video": file(link, None)? }),
            TemplateParameterType::Document => {
                json!({ "type": "document", "document": file(link, filename)? })
            }
            TemplateParameterType::Location => json!({ "type": "location", "location": {
                "latitude": needed(latitude, at, "latitude")?.to_string(),
                "longitude": needed(longitude, at, "longitude")?.to_string(),
                "name": name,
                "address": address,
            } }),
            TemplateParameterType::Payload => {
                json!({ "type": "payload", "payload": needed(payload, at, "payload")? })
            }
            TemplateParameterType::CouponCode => {
                json!({ "type": "coupon_code", "coupon_code": needed(coupon_code, at, "couponCode")? })
            }
        };
        if let (Some(name), Value::Object(wire)) = (parameter_name, &mut wire) {
            wire.insert("parameter_name".to_owned(), name.into());
        }
        Ok(wire)
    }
}

fn needed<T>(value: Option<T>, at: &str, field: &str) -> Outcome<T> {
    value.ok_or_else(|| {
        let message = format!("A parameter or button of this type needs {field}.");
        Refusal::new(RefusalCode::Invalid, &format!("{at}.{field}"), message).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: Option<&str>, text: Option<&str>) -> TemplateParameterInput {
        TemplateParameterInput {
            kind: TemplateParameterType::Text,
            parameter_name: name.map(str::to_owned),
            text: text.map(str::to_owned),
            payload: None,
            coupon_code: None,
            currency: None,
            amount1000: None,
            link: None,
            filename: None,
            latitude: None,
            longitude: None,
            name: None,
            address: None,
        }
    }

    #[test]
    fn components_become_the_wires_own() {
        let body = TemplateComponentInput {
            kind: TemplateComponentType::Body,
            sub_type: None,
            index: None,
            parameters: vec![text(Some("first_name"), Some("Ada"))],
        };
        assert_eq!(
            wire(0, body).unwrap(),
            json!({ "type": "body", "parameters": [ { "type": "text", "parameter_name": "first_name", "text": "Ada" } ] })
        );
        let button = TemplateComponentInput {
            kind: TemplateComponentType::Button,
            sub_type: Some(TemplateButtonType::Url),
            index: Some(0),
            parameters: vec![text(None, Some("abc"))],
        };
        assert_eq!(
            wire(1, button).unwrap(),
            json!({ "type": "button", "sub_type": "url", "index": "0", "parameters": [ { "type": "text", "text": "abc" } ] })
        );
    }

    #[test]
    fn what_is_missing_is_named_with_its_path() {
        let body = TemplateComponentInput {
            kind: TemplateComponentType::Body,
            sub_type: None,
            index: None,
            parameters: vec![text(None, None)],
        };
        let Err(Failure::Refused(refusal)) = wire(2, body) else { panic!("it is refused") };
        assert_eq!(refusal.code, RefusalCode::Invalid);
        assert_eq!(refusal.field.join("."), "content.template.components.2.parameters.0.text");
    }
}

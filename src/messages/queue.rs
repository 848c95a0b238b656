//! A message of this API in its queue: taken back before it leaves, or put in again after it failed.

use entity::{
    ContactId, EventType, MessageDirection, MessageId, MessageOrigin, MessageStatus, contact, conversation,
    message,
};
use sea_orm::{ColumnTrait, QueryFilter};
use serde::Deserialize;
use serde_json::json;

use super::content::Content;
use super::outgoing::Outgoing;
use super::send::{Send, Sent, scoped, send};
use crate::app::App;
use crate::auth::{Permission, Scope};
use crate::db::SelectExt;
use crate::events::{self, NewEvent};
use crate::failure::{Failure, Outcome, Refusal, RefusalCode};
use crate::ids::PublicId;
use crate::lanes::{self, Canceled};

/// Takes a message back that still waits, or the reactions to it that do. One that is canceled already stays so, and nothing
/// is told again.
///
/// # Errors
/// NOT_FOUND; INVALID when it has left, or may have.
pub async fn cancel(app: &App, scope: &Scope, id: MessageId) -> Outcome<Sent> {
    scope.require(Permission::Send)?;
    let found = named(app, scope, id).await?;
    let now = app.now();
    let held = app.db.hold([found.client_id]).await;
    let tx = app.db.begin_for(&held).await?;
    // Again: its turn may have come meanwhile.
    let message = scoped::<message::Entity>(scope, message::Column::Id, found.id.uuid())
        .row(&tx)
        .await?
        .ok_or_else(not_found)?;
    if message.status == MessageStatus::Canceled {
        drop(tx);
        let position = app.hub.head(message.partner_id).await?;
        return Ok(Sent { message, position });
    }
    let (message, kind) = match lanes::cancel_one(&tx, &message, now).await? {
        Some(Canceled::Message(canceled)) => (*canceled, EventType::MessageStatus),
        // They have no rows to hold what became of them: who watches hears it here.
        Some(Canceled::Reactions) => (message, EventType::MessageReaction),
        None => {
            let text = format!(
                "Only a message that still waits (QUEUED) can be taken back; this one is {}, and no reaction to it waits.",
                message.status.word()
            );
            return Err(refuse(text));
        }
    };
    let told = NewEvent {
        partner: message.partner_id,
        kind,
        occurred_at: now,
        client: Some(message.client_id),
        subject: Some(message.id.uuid()),
        data: Some(json!({ "status": MessageStatus::Canceled.word() })),
    };
    let heads = events::commit(&app.hub, tx, vec![told]).await?;
    // Whoever waits behind it goes next.
    app.lanes_wake.client(message.client_id);
    let position = heads.get(&message.partner_id).copied().unwrap_or_default();
    Ok(Sent { message, position })
}

/// Sends what a message says once more, as a new message with a key of its own, which the id of the first one makes: asked
/// twice, it is sent once more once. One whose outcome is unknown may reach the customer twice.
///
/// # Errors
/// NOT_FOUND; INVALID unless it is UNKNOWN or FAILED and was sent by this API; all that `send` refuses.
pub async fn resend(app: &App, scope: &Scope, id: MessageId) -> Outcome<Sent> {
    scope.require(Permission::Send)?;
    let message = named(app, scope, id).await?;
    let sent_here = message.origin == MessageOrigin::Api && message.direction == MessageDirection::Outbound;
    if !sent_here || !matches!(message.status, MessageStatus::Unknown | MessageStatus::Failed) {
        let text = format!(
            "Only a message of this API that is UNKNOWN or FAILED can be sent again; this one is {}.",
            message.status.word()
        );
        return Err(refuse(text));
    }
    let Some(content) = Outgoing::again(Content::deserialize(&message.content)?) else {
        return Err(refuse("What this message said is gone; it cannot be sent again."));
    };
    let to = recipient(app, scope, &message).await?;
    let again = Send {
        client: message.client_id,
        to,
        content,
        reply_to: message.reply_to_id,
        idempotency_key: format!("resend {}", message.id.public()),
        send_at: None,
    };
    Box::pin(send(app, scope, again)).await.map_err(|failure| match failure {
        // The caller named one thing only.
        Failure::Refused(refusal) => Refusal { field: vec!["messageId".to_owned()], ..refusal }.into(),
        other => other,
    })
}

/// Whom a message was for, by the name that they have now.
async fn recipient(app: &App, scope: &Scope, message: &message::Model) -> Outcome<String> {
    let gone = || Failure::Internal(anyhow::anyhow!("a message without its conversation or contact"));
    let conversation = scope
        .find::<conversation::Entity>()
        .filter(conversation::Column::Id.eq(message.conversation_id))
        .row(&app.db.reads())
        .await?
        .ok_or_else(gone)?;
    let id: ContactId = conversation.contact_id;
    let contact = scope
        .find::<contact::Entity>()
        .filter(contact::Column::Id.eq(id))
        .row(&app.db.reads())
        .await?
        .ok_or_else(gone)?;
    contact.phone_number.or(contact.wa_user_id).ok_or_else(gone)
}

async fn named(app: &App, scope: &Scope, id: MessageId) -> Outcome<message::Model> {
    scoped::<message::Entity>(scope, message::Column::Id, id.uuid())
        .row(&app.db.reads())
        .await?
        .ok_or_else(not_found)
}

fn not_found() -> Failure {
    Refusal::new(RefusalCode::NotFound, "messageId", "There is no such message.").into()
}

fn refuse(text: impl Into<String>) -> Failure {
    Refusal::new(RefusalCode::Invalid, "messageId", text).into()
}

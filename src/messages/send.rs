//! `sendMessage`: checks what can be checked before the money is spent, then queues.

use entity::{
    ClientId, ClientStatus, ContactId, EventType, LaneEntryId, LaneEntryKind, MediaId, MediaState,
    MessageDirection, MessageId, MessageOrigin, MessageStatus, Timestamp, alias, client, contact,
    conversation, event_head, lane_entry, media, message, message_status, send_key, template,
};
use sea_orm::sea_query::{Expr, ExprTrait, Func, Query, SimpleExpr};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::app::App;
use crate::auth::{OfClient, Permission, Scope};
use crate::clock::{Clock, to_datetime};
use crate::contacts::phone;
use crate::contacts::resolve::{self, Fresh, Named};
use crate::conversations::window;
use crate::db::{self, Db};
use crate::events::{self, NewEvent};
use crate::failure::{Failure, Outcome, Refusal, RefusalCode};
use crate::ids::PublicId;
use crate::lanes;
use crate::media::kinds;
use crate::messages::content::Content;
use crate::messages::outgoing::{Outgoing, Upload};
use crate::templates::fill::fill;
use crate::templates::{self, refresh};

/// Longest idempotency key, characters.
const LONGEST_KEY: usize = 256;
/// How far ahead a message can be scheduled, and how old a message to react to may be.
const DAYS_30: i64 = 30 * 86_400;
/// How far `sendAt` may lie behind: clocks differ.
const LENIENCE: i64 = 60;
/// Stands in for a number until a client is connected (S1). Nobody has it.
const TEMPORARY: &str = "+97257";

/// A message to send.
#[derive(Clone, Debug)]
pub struct Send {
    /// From whom.
    pub client: ClientId,
    /// A phone number, or a contact's WhatsApp user id when the number is hidden.
    pub to: String,
    /// What.
    pub content: Outgoing,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// Sending twice with one key sends once. 1 to 256 characters.
    pub idempotency_key: String,
    /// Not before; at most 30 days ahead.
    pub send_at: Option<Timestamp>,
}

/// A queued message, and the place in the stream at which that is visible.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The message; a reaction has no row of its own: then the message reacted to.
    pub message: message::Model,
    /// Place in the stream.
    pub position: i64,
}

/// Queues a message.
///
/// # Errors
/// NOT_FOUND, CLIENT_NOT_CONNECTED, INVALID, GROUPS_NOT_SUPPORTED, WINDOW_CLOSED, TEMPLATE_NOT_APPROVED,
/// RECIPIENT_OPTED_OUT, IDEMPOTENCY_CONFLICT; unavailable while WhatsApp does not tell which templates there are.
pub async fn send(app: &App, scope: &Scope, mut input: Send) -> Outcome<Sent> {
    scope.require(Permission::Send)?;
    let now = app.now();
    let person = recipient(&input.to)?;
    check(&input, now)?;
    let hash = request_hash(&input, &person);
    // Before the transaction, so that what cannot be found never waits for the one writer.
    let client = scoped::<client::Entity>(scope, client::Column::Id, input.client.uuid())
        .one(app.db.read())
        .await?
        .ok_or_else(|| refuse(RefusalCode::NotFound, "clientId", "There is no such client."))?;
    if matches!(input.content, Outgoing::Template { .. })
        && client.templates_at == Timestamp(0)
        && used_key(app.db.read(), client.id, &input.idempotency_key).await?.is_none()
    {
        refresh::ensure(app, &client).await?;
    }

    let held = app.db.hold([client.id]).await;
    let tx = app.db.begin_for(&held).await?;
    if let Some(first) = used_key(&tx, client.id, &input.idempotency_key).await? {
        return answer_again(app, scope, tx, &first, &hash).await;
    }
    // Again: it may have been disconnected meanwhile, and then nothing may be queued behind the cancellation.
    let client = scope
        .find::<client::Entity>()
        .filter(client::Column::Id.eq(client.id))
        .one(&tx)
        .await?
        .ok_or_else(|| refuse(RefusalCode::NotFound, "clientId", "There is no such client."))?;
    check_client(&client)?;
    check_recipient(&client, &person)?;
    if let Some(upload) = input.content.upload() {
        let name = check_upload(&tx, scope, client.id, &upload, input.send_at.unwrap_or(now)).await?;
        if let Some(name) = name {
            input.content.name_document(&name);
        }
    }

    let known = resolve::conversation_with(&tx, client.id, &person).await?;
    let (conversation, fresh) = match known {
        Some(conversation) => (conversation, None),
        None => {
            let fresh = resolve::begin_with(&tx, &client, &person, now).await?.ok_or_else(|| {
                refuse(RefusalCode::NotFound, "to", "This client has no contact with this WhatsApp user id.")
            })?;
            (fresh.conversation.clone(), Some(fresh))
        }
    };
    let target = match (&input.content, input.reply_to) {
        (Outgoing::Reaction { message, .. }, _) => {
            Some(target(&tx, scope, &conversation, *message, "content.reaction.messageId").await?)
        }
        (_, Some(message)) => Some(target(&tx, scope, &conversation, message, "replyTo").await?),
        (_, None) => None,
    };
    if input.content.needs_window() {
        check_window(&conversation, &client, now)?;
    }
    let words = match &input.content {
        Outgoing::Template { name, language, components } => {
            let template = template(&tx, &client, name, language).await?;
            if template.category == templates::MARKETING {
                check_wants_marketing(&tx, &conversation).await?;
            }
            Some(fill(&template, components.as_ref())?)
        }
        _ => None,
    };
    let draft = Draft { input: &input, person: &person, hash, client: &client, target, words, now };
    match &input.content {
        Outgoing::Reaction { emoji, .. } => {
            queue_reaction(app, tx, draft, &conversation, emoji.as_deref()).await
        }
        _ => queue_message(app, scope, tx, draft, conversation, fresh).await,
    }
}

/// Marks a customer's message and all before it as read, in WhatsApp and here; `typing` shows the typing indicator.
///
/// # Errors
/// NOT_FOUND, INVALID (not a customer's message), CLIENT_NOT_CONNECTED, UPSTREAM_REJECTED.
pub async fn mark_as_read(app: &App, scope: &Scope, message: MessageId, typing: bool) -> Outcome<Sent> {
    scope.require(Permission::Send)?;
    let not_found = || refuse(RefusalCode::NotFound, "messageId", "There is no such message.");
    let message = scoped::<message::Entity>(scope, message::Column::Id, message.uuid())
        .one(app.db.read())
        .await?
        .ok_or_else(not_found)?;
    let incoming = message.direction == MessageDirection::Inbound;
    let Some(whatsapp_id) = message.whatsapp_id.as_deref().filter(|_| incoming) else {
        return Err(refuse(
            RefusalCode::Invalid,
            "messageId",
            "Only a message from a customer can be marked as read.",
        ));
    };
    let client = scope
        .find::<client::Entity>()
        .filter(client::Column::Id.eq(message.client_id))
        .one(app.db.read())
        .await?
        .ok_or_else(not_found)?;
    check_client(&client)?;
    let (Some(number), Some(sealed)) = (&client.phone_number_id, &client.token_sealed) else {
        return Err(Failure::Internal(anyhow::anyhow!("a connected client has no number or token")));
    };
    let token = app.key.open(client.id.0.as_bytes(), sealed).map_err(Failure::Internal)?;
    // It can be said twice without harm, so a failure of any kind may simply be tried again.
    app.upstream.mark_read(number, &token, whatsapp_id, typing).await.map_err(|error| {
        match error.refusal() {
            Some(refusal) if !refusal.is_retryable() => {
                refuse(RefusalCode::UpstreamRejected, "messageId", refusal.to_string())
            }
            Some(_) | None => Failure::Unavailable(error.into()),
        }
    })?;
    let held = app.db.hold([client.id]).await;
    let tx = app.db.begin_for(&held).await?;
    mark_read(&tx, &message).await?;
    tx.commit().await?;
    let position = app.hub.head(message.partner_id).await?;
    Ok(Sent { message, position })
}

/// What is checked so far, ready to be queued.
struct Draft<'a> {
    input: &'a Send,
    person: &'a Named,
    hash: String,
    client: &'a client::Model,
    target: Option<message::Model>,
    /// Of a template: the filled-in body.
    words: Option<String>,
    now: Timestamp,
}

impl Draft<'_> {
    /// What goes on the wire. `id` comes back with each status.
    fn request(&self, id: &str) -> Value {
        let mut request = json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "biz_opaque_callback_data": id,
        });
        match self.person {
            Named::Phone(number) => request["to"] = json!(number),
            Named::UserId(id) => request["recipient"] = json!(id),
        }
        let target = self.target.as_ref().and_then(|message| message.whatsapp_id.as_deref());
        let (kind, content) = self.input.content.wire(target);
        request["type"] = json!(kind);
        request[kind] = content;
        if matches!(self.input.content, Outgoing::Reaction { .. }) {
            return request;
        }
        if let Some(target) = target {
            request["context"] = json!({ "message_id": target });
        }
        request
    }

    /// The upload that it sends.
    fn media(&self) -> Option<MediaId> {
        self.input.content.upload().map(|upload| upload.id)
    }

    /// Not before `sendAt`.
    fn due_at(&self) -> Timestamp {
        self.input.send_at.map_or(self.now, |send_at| Ord::max(send_at, self.now))
    }

    fn entry(
        &self,
        id: Uuid,
        kind: LaneEntryKind,
        message: MessageId,
        conversation: &conversation::Model,
    ) -> lane_entry::Model {
        let callback = match kind {
            LaneEntryKind::Message => message.public(),
            // Not the message's own id: a status of the reaction is none of the message.
            LaneEntryKind::Reaction => LaneEntryId(id).public(),
        };
        lane_entry::Model {
            id: LaneEntryId(id),
            kind,
            message_id: message,
            client_id: self.client.id,
            partner_id: self.client.partner_id,
            conversation_id: conversation.id,
            urgent: self.input.content.needs_window(),
            due_at: self.due_at(),
            sending: false,
            fence: 0,
            attempts: 0,
            not_before: self.due_at(),
            request: self.request(&callback),
            media_id: self.media(),
        }
    }

    fn key(&self, message: MessageId, position: i64) -> send_key::Model {
        send_key::Model {
            client_id: self.client.id,
            key: self.input.idempotency_key.clone(),
            request_hash: self.hash.clone(),
            message_id: message,
            position,
            created_at: Clock::real_now(),
        }
    }
}

async fn queue_message(
    app: &App,
    scope: &Scope,
    tx: DatabaseTransaction,
    draft: Draft<'_>,
    mut conversation: conversation::Model,
    fresh: Option<Fresh>,
) -> Outcome<Sent> {
    let Some(mut content) = draft.input.content.content() else {
        return Err(Failure::Internal(anyhow::anyhow!("a reaction is no message")));
    };
    if let Content::Template { text, .. } = &mut content {
        text.clone_from(&draft.words);
    }
    let (client, now) = (draft.client, draft.now);
    let message = message::Model {
        id: MessageId::generate(),
        partner_id: client.partner_id,
        client_id: client.id,
        conversation_id: conversation.id,
        whatsapp_id: None,
        direction: MessageDirection::Outbound,
        origin: MessageOrigin::Api,
        imported: false,
        in_history: false,
        opens_window: false,
        sent_at: now,
        content: serde_json::to_value(&content)?,
        substance: content.substance() as i32,
        content_at: now,
        text: content.text().map(str::to_owned),
        status: MessageStatus::Queued,
        status_at: now,
        error: None,
        pricing: None,
        reply_to: draft.target.as_ref().and_then(|target| target.whatsapp_id.clone()),
        reply_to_id: draft.target.as_ref().map(|target| target.id),
        forwarded: false,
        edited_at: None,
        deleted_at: None,
        idempotency_key: Some(draft.input.idempotency_key.clone()),
        request_hash: Some(draft.hash.clone()),
        sent_by: Some(json!({ "kind": "API_KEY", "id": scope.key().public() })),
        created_at: now,
    };
    let newest = (conversation.last_activity_at, conversation.last_message_id);
    let is_newest = (now, Some(message.id)) > newest;
    if is_newest {
        conversation.last_activity_at = now;
        conversation.last_message_id = Some(message.id);
    }
    // Answered: what came before is read.
    conversation.read_at = Ord::max(conversation.read_at, now);
    if is_newest {
        conversation.unread_count = 0;
    } else if conversation.unread_count > 0 {
        conversation.unread_count = unread(&tx, &conversation).await?;
    }
    if let Some(fresh) = &fresh {
        fresh.write_contact(&tx).await?;
    }
    let rung = message_status::Model { message_id: message.id, status: message.status, at: now, error: None };
    let entry = draft.entry(message.id.uuid(), LaneEntryKind::Message, message.id, &conversation);
    let mut news = Vec::with_capacity(2);
    if announce(&tx, conversation.contact_id).await? {
        news.push(NewEvent {
            partner: client.partner_id,
            kind: EventType::ContactAdded,
            occurred_at: now,
            client: Some(client.id),
            subject: Some(conversation.contact_id.uuid()),
            data: None,
        });
    }
    db::upsert::<conversation::Entity, _>(&tx, vec![conversation]).await?;
    insert::<message::Entity>(&tx, message.clone()).await?;
    insert::<message_status::Entity>(&tx, rung).await?;
    lanes::queue(&tx, entry).await?;
    // Last: the head is its place.
    news.push(NewEvent {
        partner: client.partner_id,
        kind: EventType::MessageQueued,
        occurred_at: now,
        client: Some(client.id),
        subject: Some(message.id.uuid()),
        data: None,
    });
    let numbered = events::number(tx, news).await?;
    let position = numbered.heads().get(&client.partner_id).copied().unwrap_or_default();
    insert::<send_key::Entity>(numbered.tx(), draft.key(message.id, position)).await?;
    numbered.commit(&app.hub).await?;
    app.lanes_wake.client(client.id);
    if draft.media().is_some() {
        app.media.wake.notify_one();
    }
    Ok(Sent { message, position })
}

/// Whoever is written to is shown with the message: told as a contact, if nobody was told of them yet, so that a later
/// merge of contacts is told too. Says whether there is something to tell.
async fn announce(tx: &DatabaseTransaction, contact: ContactId) -> Result<bool, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the contact of a conversation that came through Scope")]
    let done = contact::Entity::update_many()
        .col_expr(contact::Column::Announced, Expr::value(true))
        .filter(contact::Column::Id.eq(contact))
        .filter(contact::Column::Announced.eq(false))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// A reaction has no row of history: it lives on its target once WhatsApp took it, and waits in the lane until then.
async fn queue_reaction(
    app: &App,
    tx: DatabaseTransaction,
    draft: Draft<'_>,
    conversation: &conversation::Model,
    emoji: Option<&str>,
) -> Outcome<Sent> {
    let Some(target) = draft.target.clone() else {
        return Err(Failure::Internal(anyhow::anyhow!("a reaction without its message")));
    };
    if emoji.is_some() && target.deleted_at.is_some() {
        let text = "The message was deleted; nobody can react to it any more.";
        return Err(refuse(RefusalCode::Invalid, "content.reaction.messageId", text));
    }
    if target.sent_at < draft.now.plus_seconds(-DAYS_30) {
        let text = "WhatsApp takes reactions to messages of the last 30 days only.";
        return Err(refuse(RefusalCode::Invalid, "content.reaction.messageId", text));
    }
    let entry = draft.entry(LaneEntryId::generate().uuid(), LaneEntryKind::Reaction, target.id, conversation);
    lanes::queue(&tx, entry).await?;
    let position = head(&tx, draft.client).await?;
    insert::<send_key::Entity>(&tx, draft.key(target.id, position)).await?;
    tx.commit().await?;
    app.lanes_wake.client(draft.client.id);
    Ok(Sent { message: target, position })
}

/// The answer to a key that was used before: the first one, if the same was asked.
async fn answer_again(
    app: &App,
    scope: &Scope,
    tx: DatabaseTransaction,
    first: &send_key::Model,
    hash: &str,
) -> Outcome<Sent> {
    drop(tx);
    if first.request_hash != hash {
        return Err(refuse(
            RefusalCode::IdempotencyConflict,
            "idempotencyKey",
            "This key was used for another message of this client. Use a new key for each message, and the same one \
             only to ask again after a failure.",
        ));
    }
    let message = scoped::<message::Entity>(scope, message::Column::Id, first.message_id.uuid())
        .one(app.db.read())
        .await?
        .ok_or_else(|| {
            refuse(RefusalCode::NotFound, "idempotencyKey", "The message of this key was erased.")
        })?;
    Ok(Sent { message, position: first.position })
}

/// A row by its id, or by the id of what was merged into it.
pub(super) fn scoped<E: OfClient>(scope: &Scope, column: E::Column, id: Uuid) -> sea_orm::Select<E> {
    let heir = Query::select()
        .column(alias::Column::Target)
        .from(alias::Entity)
        .and_where(alias::Column::Id.eq(id))
        .and_where(alias::Column::PartnerId.eq(scope.partner()))
        .to_owned();
    let present = Func::coalesce([SimpleExpr::from(heir), Expr::val(id)]);
    scope.find::<E>().filter(Expr::col((E::default(), column)).eq(present))
}

async fn used_key<C: ConnectionTrait>(
    tx: &C,
    client: ClientId,
    key: &str,
) -> Result<Option<send_key::Model>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "by a client that came through Scope")]
    send_key::Entity::find_by_id((client, key.to_owned())).one(tx).await
}

/// Forgets keys that were used before this instant of real time, the oldest first, about 500 at a time. Says how many
/// went.
///
/// # Errors
/// When the database is away.
pub async fn forget_keys(db: &Db, before: Timestamp) -> Result<usize, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "upkeep of all clients' keys")]
    let oldest: Vec<Timestamp> = send_key::Entity::find()
        .select_only()
        .column(send_key::Column::CreatedAt)
        .filter(send_key::Column::CreatedAt.lt(before))
        .order_by_asc(send_key::Column::CreatedAt)
        .limit(500)
        .into_tuple()
        .all(db.read())
        .await?;
    let Some(until) = oldest.last() else { return Ok(0) };
    #[expect(clippy::disallowed_methods, reason = "upkeep of all clients' keys")]
    let done = send_key::Entity::delete_many()
        .filter(send_key::Column::CreatedAt.lte(*until))
        .exec(db.write())
        .await?;
    Ok(usize::try_from(done.rows_affected).unwrap_or(0))
}

async fn head<C: ConnectionTrait>(tx: &C, client: &client::Model) -> Result<i64, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the caller's own partner")]
    let row = event_head::Entity::find_by_id(client.partner_id).one(tx).await?;
    Ok(row.map_or(0, |row| row.head))
}

/// A file that was uploaded here: it has to be this client's, here, and one that WhatsApp takes as this kind. It is kept
/// until after the message leaves. Gives the name under which it came.
async fn check_upload<C: ConnectionTrait>(
    tx: &C,
    scope: &Scope,
    client: ClientId,
    upload: &Upload,
    leaves_at: Timestamp,
) -> Outcome<Option<String>> {
    let Upload { id, kind, voice, at } = upload;
    let field = |name: &str| format!("{at}.{name}");
    let none = || {
        let text =
            "This client has no such file. Files are kept for a while (media.keep_days): upload it again.";
        refuse(RefusalCode::NotFound, &field("mediaId"), text)
    };
    let known = scope
        .find::<media::Entity>()
        .filter(media::Column::Id.eq(*id))
        .filter(media::Column::ClientId.eq(client))
        .filter(media::Column::MessageId.is_null())
        .one(tx)
        .await?
        .ok_or_else(none)?;
    #[expect(clippy::disallowed_methods, reason = "the file that came through Scope, by its id")]
    let used = media::Entity::update_many()
        .col_expr(media::Column::UsedAt, Expr::value(Ord::max(known.used_at, leaves_at)))
        .filter(media::Column::Id.eq(*id))
        .filter(media::Column::State.eq(MediaState::Ready))
        .exec(tx)
        .await?;
    if used.rows_affected == 0 {
        return Err(none());
    }
    let mime = known.mime_type.as_deref().unwrap_or_default();
    let largest = kinds::largest(*kind);
    if !kinds::takes(*kind, mime) || u64::try_from(known.size_bytes).is_ok_and(|size| size > largest) {
        let text = format!(
            "The file is {mime} with {} bytes; WhatsApp takes {} with at most {largest} bytes as {}.",
            known.size_bytes,
            kinds::words(*kind),
            kind.word()
        );
        return Err(refuse(RefusalCode::Invalid, &field("mediaId"), text));
    }
    if *voice && mime != "audio/ogg" {
        let text = format!("The file is {mime}; a voice note has to be ogg with OPUS.");
        return Err(refuse(RefusalCode::Invalid, &field("voice"), text));
    }
    Ok(known.filename)
}

/// The message that is answered or reacted to.
async fn target<C: ConnectionTrait>(
    tx: &C,
    scope: &Scope,
    conversation: &conversation::Model,
    id: MessageId,
    field: &str,
) -> Outcome<message::Model> {
    let message = scoped::<message::Entity>(scope, message::Column::Id, id.uuid())
        .filter(message::Column::ClientId.eq(conversation.client_id))
        .one(tx)
        .await?
        .ok_or_else(|| refuse(RefusalCode::NotFound, field, "This client has no such message."))?;
    if message.conversation_id != conversation.id {
        return Err(refuse(
            RefusalCode::Invalid,
            field,
            "The message belongs to the conversation with somebody else.",
        ));
    }
    if message.whatsapp_id.is_none() {
        let text = "The message has not been taken by WhatsApp yet; wait until its status is ACCEPTED.";
        return Err(refuse(RefusalCode::Invalid, field, text));
    }
    Ok(message)
}

async fn insert<E>(tx: &DatabaseTransaction, row: E::Model) -> Result<(), DbErr>
where
    E: EntityTrait,
    E::Model: IntoActiveModel<E::ActiveModel>,
    E::ActiveModel: ActiveModelTrait<Entity = E>,
{
    E::insert(row.into_active_model().reset_all()).exec_without_returning(tx).await?;
    Ok(())
}

/// Live customer messages after the read mark.
fn unread_after(conversation: SimpleExpr, read_at: SimpleExpr) -> sea_orm::sea_query::SelectStatement {
    Query::select()
        .expr(Expr::cust("count(*)"))
        .from(message::Entity)
        .and_where(Expr::col((message::Entity, message::Column::ConversationId)).eq(conversation))
        .and_where(Expr::col((message::Entity, message::Column::SentAt)).gt(read_at))
        .and_where(message::Column::Direction.eq(MessageDirection::Inbound))
        .and_where(message::Column::Imported.eq(false))
        .to_owned()
}

async fn unread(tx: &DatabaseTransaction, conversation: &conversation::Model) -> Result<i32, DbErr> {
    let count = unread_after(Expr::val(conversation.id), Expr::val(conversation.read_at));
    let row = tx.query_one(&count).await?;
    let count: i64 = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default();
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

/// Moves the read mark up to a message, never down, and counts anew.
async fn mark_read(tx: &DatabaseTransaction, message: &message::Model) -> Result<(), DbErr> {
    use conversation::Column::{Id, ReadAt, UnreadCount};
    let read_at = Expr::case(Expr::col(ReadAt).lt(message.sent_at), Expr::val(message.sent_at))
        .finally(Expr::col(ReadAt));
    #[expect(clippy::disallowed_methods, reason = "the conversation of a message that came through Scope")]
    conversation::Entity::update_many()
        .col_expr(ReadAt, read_at.into())
        .filter(Id.eq(message.conversation_id))
        .exec(tx)
        .await?;
    let count =
        unread_after(Expr::col((conversation::Entity, Id)), Expr::col((conversation::Entity, ReadAt)));
    #[expect(clippy::disallowed_methods, reason = "the conversation of a message that came through Scope")]
    conversation::Entity::update_many()
        .col_expr(UnreadCount, SimpleExpr::from(count))
        .filter(Id.eq(message.conversation_id))
        .exec(tx)
        .await?;
    Ok(())
}

fn refuse(code: RefusalCode, field: &str, message: impl Into<String>) -> Failure {
    Refusal::new(code, field, message).into()
}

/// Reads whom a message is for.
fn recipient(to: &str) -> Outcome<Named> {
    let to = to.trim();
    if is_group(to) {
        let text = "Groups stay in the app: with coexistence WhatsApp neither tells of them nor takes messages to them.";
        return Err(refuse(RefusalCode::GroupsNotSupported, "to", text));
    }
    if is_user_id(to) {
        return Ok(Named::UserId(to.to_owned()));
    }
    let Some(number) = phone::normalize(to) else {
        let text = "It needs a phone number with its country code, such as +49 1512 0000001, or a contact's WhatsApp user id.";
        return Err(refuse(RefusalCode::Invalid, "to", text));
    };
    if number.starts_with(TEMPORARY) {
        let text = "Numbers that begin with +97257 stand in for clients that are not connected yet; nobody has them.";
        return Err(refuse(RefusalCode::Invalid, "to", text));
    }
    Ok(Named::Phone(number))
}

/// `…@g.us`, the older `creator-instant`, and the opaque ids of the Groups API (base64 of `capi_group:…`).
fn is_group(to: &str) -> bool {
    let creator_and_instant = to.split_once('-').is_some_and(|(creator, instant)| {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        digits(creator) && digits(instant) && creator.len() >= 6 && creator.len() + instant.len() > 15
    });
    to.to_ascii_lowercase().ends_with("@g.us") || creator_and_instant || to.starts_with("Y2FwaV9ncm91c")
}

/// `DE.1234`, or the parent form `DE.ENT.1234`.
fn is_user_id(to: &str) -> bool {
    let Some((country, rest)) = to.split_once('.') else { return false };
    let id = rest.strip_prefix("ENT.").unwrap_or(rest);
    country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Everything that can be said without looking anything up.
fn check(input: &Send, now: Timestamp) -> Outcome<()> {
    let invalid = |field: &str, text: &str| Err(refuse(RefusalCode::Invalid, field, text));
    let key = &input.idempotency_key;
    if key.is_empty() || key.chars().count() > LONGEST_KEY || key.contains('\0') {
        return invalid("idempotencyKey", "It needs 1 to 256 characters.");
    }
    if let Some(send_at) = input.send_at {
        if send_at < now.plus_seconds(-LENIENCE) {
            return invalid("sendAt", "It is in the past.");
        }
        if send_at > now.plus_seconds(DAYS_30) {
            return invalid("sendAt", "It is more than 30 days ahead.");
        }
    }
    if matches!(input.content, Outgoing::Reaction { .. }) && input.reply_to.is_some() {
        return invalid("replyTo", "A reaction answers nothing: it names its message itself.");
    }
    input.content.check()
}

fn check_client(client: &client::Model) -> Outcome<()> {
    let message = match client.status {
        ClientStatus::Connected => return Ok(()),
        ClientStatus::Onboarding => {
            "The client has no number yet. Let it finish its onboarding: its link is onboarding(id).link."
                .to_owned()
        }
        ClientStatus::Disconnected => {
            "The client is disconnected. Reconnect it with createOnboarding(clientId: …); its \
             contacts and messages are kept."
                .to_owned()
        }
        ClientStatus::Paused => format!(
            "Sending is paused: {}. It goes on when WhatsApp says so, or with resumeClient once the cause is gone.",
            client.pause_reason.as_deref().unwrap_or("no reason was told").trim_end_matches('.')
        ),
    };
    Err(refuse(RefusalCode::ClientNotConnected, "clientId", message))
}

fn check_recipient(client: &client::Model, person: &Named) -> Outcome<()> {
    match person {
        Named::Phone(number) if client.phone_number.as_deref() == Some(number) => Err(refuse(
            RefusalCode::Invalid,
            "to",
            "This is the client's own number; nobody can write to themselves here.",
        )),
        Named::Phone(_) | Named::UserId(_) => Ok(()),
    }
}

fn check_window(conversation: &conversation::Model, client: &client::Model, now: Timestamp) -> Outcome<()> {
    let why = match window::closes_at(conversation, client) {
        Some(closes_at) if now < closes_at => return Ok(()),
        Some(closed_at) => {
            format!("The customer service window closed at {}.", to_datetime(closed_at).format("%Y-%m-%dT%H:%M:%SZ"))
        }
        None => "There is no customer service window: the customer has not written since the number was connected.".to_owned(),
    };
    let message = format!("{why} Send an approved template, or wait until the customer writes.");
    Err(refuse(RefusalCode::WindowClosed, "content", message))
}

/// The template that can be sent under this name in this language.
async fn template<C: ConnectionTrait>(
    tx: &C,
    client: &client::Model,
    name: &str,
    language: &str,
) -> Outcome<template::Model> {
    let rows = templates::queries::named(tx, client, name).await?;
    let not_approved = |field: &str, text: String| Err(refuse(RefusalCode::TemplateNotApproved, field, text));
    let Some(row) = templates::queries::in_language(&rows, language) else {
        let mut languages: Vec<&str> = rows.iter().map(|row| row.language.as_str()).collect();
        languages.sort_unstable();
        languages.dedup();
        return match languages.as_slice() {
            [] => not_approved(
                "content.template.name",
                "The client's account has no template of this name; `templates` lists them.".to_owned(),
            ),
            known => not_approved(
                "content.template.language",
                format!("The template is not there in this language, but in {}.", known.join(", ")),
            ),
        };
    };
    if row.status != templates::APPROVED {
        let why = row.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let text = format!(
            "Only an approved template can be sent; this one is {}{why}. Wait for WhatsApp, or use another.",
            row.status
        );
        return not_approved("content.template.name", text);
    }
    if row.components.is_none() {
        return Err(Failure::Unavailable(anyhow::anyhow!("the words of a new template are not read yet")));
    }
    Ok(row.clone())
}

/// People can stop marketing messages; WhatsApp would refuse them with 131050.
async fn check_wants_marketing<C: ConnectionTrait>(
    tx: &C,
    conversation: &conversation::Model,
) -> Outcome<()> {
    #[expect(clippy::disallowed_methods, reason = "the contact of a conversation that came through Scope")]
    let contact = contact::Entity::find_by_id(conversation.contact_id).one(tx).await?;
    match contact {
        Some(contact) if contact.marketing_stopped => {
            let since = to_datetime(contact.marketing_at).format("%Y-%m-%dT%H:%M:%SZ");
            let text = format!(
                "This person stopped marketing messages at {since}; templates of the category MARKETING do not reach them. \
                 Others do."
            );
            Err(refuse(RefusalCode::RecipientOptedOut, "to", text))
        }
        Some(_) | None => Ok(()),
    }
}

/// Of all that makes a request the same one, however it was written.
fn request_hash(input: &Send, person: &Named) -> String {
    let to = match person {
        Named::Phone(number) => number,
        Named::UserId(id) => id,
    };
    let content = match &input.content {
        // By its own id: WhatsApp's is not known yet.
        Outgoing::Reaction { message, emoji } => json!({ "reaction": message, "emoji": emoji }),
        content => {
            let (kind, content) = content.wire(None);
            json!({ kind: content })
        }
    };
    let request = json!({ "to": to, "content": content, "replyTo": input.reply_to, "sendAt": input.send_at });
    let mut text = String::new();
    canonical(&request, &mut text);
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// JSON with its keys in order.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            text.push('{');
            for name in names {
                canonical(&Value::from(name.as_str()), text);
                text.push(':');
                canonical(&fields[name.as_str()], text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &str) -> Send {
        Send {
            client: ClientId(Uuid::nil()),
            to: "+4915120000001".into(),
            content: Outgoing::Text { body: body.into(), preview_url: false },
            reply_to: None,
            idempotency_key: "k".into(),
            send_at: None,
        }
    }

    fn code(outcome: Outcome<impl std::fmt::Debug>) -> RefusalCode {
        match outcome {
            Err(Failure::Refused(refusal)) => refusal.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_recipient_is_a_number_or_a_user_id_and_never_a_group() {
        assert_eq!(recipient(" +49 (1512) 000-0001").unwrap(), Named::Phone("+4915120000001".into()));
        assert_eq!(recipient("0491512-0000001").unwrap(), Named::Phone("+04915120000001".into()));
        for id in ["DE.10000000000000000042", "DE.ENT.77"] {
            assert_eq!(recipient(id).unwrap(), Named::UserId(id.into()));
        }
        for group in [
            "120363012345678901@g.us",
            "4915120000001-1612345678@G.US",
            "4915120000001-1612345678",
            "Y2FwaV9ncm91cDoxMjM",
        ] {
            assert_eq!(code(recipient(group)), RefusalCode::GroupsNotSupported, "{group}");
        }
        for none in ["", "hello", "de.123", "DE.", "DE.1-2", "+97257 123 456", "12345"] {
            assert_eq!(code(recipient(none)), RefusalCode::Invalid, "{none}");
        }
    }

    #[test]
    fn what_whatsapp_would_refuse_is_refused_at_once() {
        let now = Timestamp::from_seconds(1_000_000_000);
        assert!(check(&text("hi"), now).is_ok());
        assert!(check(&text(&"ä".repeat(4096)), now).is_ok());
        for body in ["", "  \n", "a\0b", &"ä".repeat(4097)] {
            assert_eq!(code(check(&text(body), now)), RefusalCode::Invalid);
        }
        let keyed = |key: &str| Send { idempotency_key: key.into(), ..text("hi") };
        assert!(check(&keyed(&"ü".repeat(256)), now).is_ok());
        assert_eq!(code(check(&keyed(""), now)), RefusalCode::Invalid);
        assert_eq!(code(check(&keyed(&"u".repeat(257)), now)), RefusalCode::Invalid);
        let at = |seconds| Send { send_at: Some(now.plus_seconds(seconds)), ..text("hi") };
        assert!(check(&at(-59), now).is_ok() && check(&at(DAYS_30), now).is_ok());
        assert_eq!(code(check(&at(-61), now)), RefusalCode::Invalid);
        assert_eq!(code(check(&at(DAYS_30 + 1), now)), RefusalCode::Invalid);
        let template = |name: &str, language: &str, components| Send {
            content: Outgoing::Template { name: name.into(), language: language.into(), components },
            ..text("")
        };
        assert!(check(&template("order_1", "en_US", Some(json!([]))), now).is_ok());
        for bad in [
            template("Order", "de", None),
            template("", "de", None),
            template("a", "", None),
            template("a", "de", Some(json!({}))),
            template("a", "de", Some(json!(["a\0"]))),
        ] {
            assert_eq!(code(check(&bad, now)), RefusalCode::Invalid);
        }
    }

    #[test]
    fn the_same_request_has_the_same_hash_however_it_was_written() {
        let hash = |input: &Send| request_hash(input, &recipient(&input.to).unwrap());
        let spaced = Send { to: "+49 1512 0000001".into(), ..text("hi") };
        assert_eq!(hash(&text("hi")), hash(&spaced));
        assert_ne!(hash(&text("hi")), hash(&text("ho")));
        assert_ne!(hash(&text("hi")), hash(&Send { send_at: Some(Timestamp(1)), ..text("hi") }));
        let (mut a, mut b) = (String::new(), String::new());
        canonical(&serde_json::from_str(r#"{"a":1,"b":[{"c":"x","d":null}]}"#).unwrap(), &mut a);
        canonical(&serde_json::from_str(r#"{"b":[{"d":null,"c":"x"}],"a":1}"#).unwrap(), &mut b);
        assert_eq!(a, b);
    }
}

//! `sendMessage`: checks what can be checked before the money is spent, then queues.

use entity::{
    ClientId, ClientStatus, MediaState, MessageDirection, MessageId, Timestamp, alias, client, conversation,
    media, message, send_key, template,
};
use sea_orm::sea_query::{Expr, ExprTrait, Func, Query, SimpleExpr};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::accept::{Reply, Request};
use crate::app::App;
use crate::auth::{OfClient, Permission, Scope};
use crate::clients::Access;
use crate::clock::to_datetime;
use crate::contacts::phone;
use crate::contacts::resolve::Named;
use crate::conversations::window;
use crate::db::{self, Db, SelectExt, Sql, Tx, WriteExt};
use crate::failure::{Failure, Outcome, Refusal, RefusalCode};
use crate::ids::PublicId;
use crate::media::kinds;
use crate::messages::outgoing::{Outgoing, Upload};
use crate::templates::{self, refresh};

/// Longest idempotency key, characters.
const LONGEST_KEY: usize = 256;
/// How far ahead a message can be scheduled, and how old a message to react to may be.
pub(super) const DAYS_30: i64 = 30 * 86_400;
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
        .row(&app.db.reads())
        .await?
        .ok_or_else(|| refuse(RefusalCode::NotFound, "clientId", "There is no such client."))?;
    if matches!(input.content, Outgoing::Template { .. })
        && client.templates_at == Timestamp(0)
        && used_key(&app.db.reads(), client.id, &input.idempotency_key).await?.is_none()
    {
        refresh::ensure(app, &client).await?;
    }

    input.client = client.id;
    let request = Request { scope: scope.clone(), input, person, hash };
    let hash = request.hash.clone();
    match app.acceptor.accept(request).await? {
        Reply::Queued(sent) => Ok(*sent),
        Reply::Known(first) => answer_again(app, scope, &first, &hash).await,
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
        .row(&app.db.reads())
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
        .row(&app.db.reads())
        .await?
        .ok_or_else(not_found)?;
    check_client(&client)?;
    let access = Access::of(&app.key, &client)?;
    // It can be said twice without harm, so a failure of any kind may simply be tried again.
    app.upstream.mark_read(&access.number, &access.token, whatsapp_id, typing).await.map_err(|error| {
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

/// The answer to a key that was used before: the first one, if the same was asked.
async fn answer_again(app: &App, scope: &Scope, first: &send_key::Model, hash: &str) -> Outcome<Sent> {
    if first.request_hash != hash {
        return Err(refuse(
            RefusalCode::IdempotencyConflict,
            "idempotencyKey",
            "This key was used for another message of this client. Use a new key for each message, and the same one \
             only to ask again after a failure.",
        ));
    }
    let message = scoped::<message::Entity>(scope, message::Column::Id, first.message_id.uuid())
        .row(&app.db.reads())
        .await?
        .ok_or_else(|| {
            refuse(RefusalCode::NotFound, "idempotencyKey", "The message of this key is not there any more.")
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

async fn used_key<C: Sql>(tx: &C, client: ClientId, key: &str) -> Result<Option<send_key::Model>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "by a client that came through Scope")]
    send_key::Entity::find_by_id((client, key.to_owned())).row(tx).await
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
        .write(db.write())
        .await?;
    Ok(usize::try_from(done).unwrap_or(0))
}

/// A file that was uploaded here: it has to be this client's, here, and one that WhatsApp takes as this kind. It is kept
/// until after the message leaves. Gives the name under which it came.
pub(super) async fn check_upload<C: Sql>(
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
        .row(tx)
        .await?
        .ok_or_else(none)?;
    #[expect(clippy::disallowed_methods, reason = "the file that came through Scope, by its id")]
    let used = media::Entity::update_many()
        .col_expr(media::Column::UsedAt, Expr::value(Ord::max(known.used_at, leaves_at)))
        .filter(media::Column::Id.eq(*id))
        .filter(media::Column::State.eq(MediaState::Ready))
        .write(tx)
        .await?;
    if used == 0 {
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
pub(super) async fn target<C: Sql>(
    tx: &C,
    scope: &Scope,
    conversation: &conversation::Model,
    id: MessageId,
    field: &str,
) -> Outcome<message::Model> {
    let message = scoped::<message::Entity>(scope, message::Column::Id, id.uuid())
        .filter(message::Column::ClientId.eq(conversation.client_id))
        .row(tx)
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

#[derive(Deserialize)]
struct Unread {
    unread: i64,
}

/// Live customer messages after the read mark.
fn unread_after(conversation: SimpleExpr, read_at: SimpleExpr) -> sea_orm::sea_query::SelectStatement {
    Query::select()
        .expr_as(Expr::cust("count(*)"), "unread")
        .from(message::Entity)
        .and_where(Expr::col((message::Entity, message::Column::ConversationId)).eq(conversation))
        .and_where(Expr::col((message::Entity, message::Column::SentAt)).gt(read_at))
        .and_where(message::Column::Direction.eq(MessageDirection::Inbound))
        .and_where(message::Column::Imported.eq(false))
        .to_owned()
}

pub(super) async fn unread<C: Sql>(tx: &C, conversation: &conversation::Model) -> Result<i32, DbErr> {
    let count = unread_after(Expr::val(conversation.id), Expr::val(conversation.read_at));
    let found: Vec<Unread> = tx.read(db::built(tx, &count)).await?;
    Ok(found.first().map_or(0, |row| i32::try_from(row.unread).unwrap_or(i32::MAX)))
}

/// Moves the read mark up to a message, never down, and counts anew.
async fn mark_read(tx: &Tx, message: &message::Model) -> Result<(), DbErr> {
    use conversation::Column::{Id, ReadAt, UnreadCount};
    let read_at = Expr::case(Expr::col(ReadAt).lt(message.sent_at), Expr::val(message.sent_at))
        .finally(Expr::col(ReadAt));
    #[expect(clippy::disallowed_methods, reason = "the conversation of a message that came through Scope")]
    conversation::Entity::update_many()
        .col_expr(ReadAt, read_at.into())
        .filter(Id.eq(message.conversation_id))
        .put(tx)
        .await?;
    let count =
        unread_after(Expr::col((conversation::Entity, Id)), Expr::col((conversation::Entity, ReadAt)));
    #[expect(clippy::disallowed_methods, reason = "the conversation of a message that came through Scope")]
    conversation::Entity::update_many()
        .col_expr(UnreadCount, SimpleExpr::from(count))
        .filter(Id.eq(message.conversation_id))
        .put(tx)
        .await?;
    Ok(())
}

pub(super) fn refuse(code: RefusalCode, field: &str, message: impl Into<String>) -> Failure {
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

pub(super) fn check_client(client: &client::Model) -> Outcome<()> {
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

pub(super) fn check_recipient(client: &client::Model, person: &Named) -> Outcome<()> {
    match person {
        Named::Phone(number) if client.phone_number.as_deref() == Some(number) => Err(refuse(
            RefusalCode::Invalid,
            "to",
            "This is the client's own number; nobody can write to themselves here.",
        )),
        Named::Phone(_) | Named::UserId(_) => Ok(()),
    }
}

pub(super) fn check_window(
    conversation: &conversation::Model,
    client: &client::Model,
    now: Timestamp,
) -> Outcome<()> {
    let why = match window::closes_at(conversation, client) {
        Some(closes_at) if now < closes_at => return Ok(()),
        Some(closed_at) => {
            format!("The customer service window closed at {}.", to_datetime(closed_at).format("%Y-%m-%dT%H:%M:%SZ"))
        }
        None if window::is_refused(conversation, client) => {
            "WhatsApp refused a message because it knows of no open window (131047), whatever came from the customer before."
                .to_owned()
        }
        None => "There is no customer service window: the customer has not written since the number was connected.".to_owned(),
    };
    let message = format!("{why} Send an approved template, or wait until the customer writes.");
    Err(refuse(RefusalCode::WindowClosed, "content", message))
}

/// Of these templates the one that can be sent under this name in this language.
pub(super) fn pick<'a>(
    rows: &'a [template::Model],
    client: &client::Model,
    name: &str,
    language: &str,
) -> Outcome<&'a template::Model> {
    let of_account = |row: &&template::Model| {
        row.client_id == client.id && row.name == name && Some(&row.waba_id) == client.waba_id.as_ref()
    };
    let rows: Vec<&template::Model> = rows.iter().filter(of_account).collect();
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
    Ok(row)
}

/// People can stop marketing messages; WhatsApp would refuse them with 131050.
pub(super) fn check_wants_marketing(stopped: bool, at: Timestamp) -> Outcome<()> {
    if !stopped {
        return Ok(());
    }
    let since = to_datetime(at).format("%Y-%m-%dT%H:%M:%SZ");
    let text = format!(
        "This person stopped marketing messages at {since}; templates of the category MARKETING do not reach them. Others do."
    );
    Err(refuse(RefusalCode::RecipientOptedOut, "to", text))
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
        assert_eq!(recipient("0049 1512-0000001").unwrap(), Named::Phone("+4915120000001".into()));
        assert_eq!(code(recipient("01512-0000001")), RefusalCode::Invalid, "no country's code begins with 0");
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

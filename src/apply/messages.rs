//! Messages and what happens to them (invariants 2, 3 and 10).

use entity::{
    AppPresenceBasis, ClientId, ContactId, ConversationId, EventType, MessageDirection, MessageId,
    MessageOrigin, MessageStatus, ReactionBy, SyncKind, Timestamp, message, reaction,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::waiting::Named;
use super::work::{Row, Work};
use super::{Halt, Interrupt, Span, account, contacts, sync, templates};
use crate::clock::Clock;
use crate::ids::PublicId;
use crate::messages::content::{Content, Media, Substance};
use crate::messages::errors::Lesson;
use crate::upstream::change::{
    Author, DeleteSeen, EditSeen, MessageSeen, Party, ReactionSeen, ReportedStatus, StatusSeen, Via,
};
use crate::upstream::meta::message_token;

/// Seconds that an echo waits for the outcome of a send to the same person.
const ECHO_WAITS: i64 = 60;

/// A change as it waits for its message.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase")]
pub(crate) enum Waiting {
    /// A status.
    Status { seen: StatusSeen, at: Timestamp },
    /// An edit.
    Edit { seen: EditSeen, at: Timestamp },
    /// A deletion.
    Delete { seen: DeleteSeen, at: Timestamp },
    /// A reaction.
    Reaction { seen: ReactionSeen, at: Timestamp },
    /// A message that cannot be placed yet: an echo that may be of a send whose answer is not there, or a medium of the
    /// history that names nobody.
    Seen { seen: Box<MessageSeen>, at: Timestamp },
}

/// A message was seen: live, as an echo, or in the history.
pub(super) fn seen(
    work: &mut Work<'_>,
    client: ClientId,
    seen: &MessageSeen,
    at: Timestamp,
    waited: bool,
    span: &mut Span,
) -> Result<(), Halt> {
    let contact = contacts::resolve(work, client, &seen.customer, at)?;
    let known = find(work, client, &seen.whatsapp_id, contact)?;
    let conversation = match (known, contact) {
        (Some(id), _) => work.conversation_of_message(id),
        (None, Some(contact)) => work.conversation_with(client, contact),
        (None, None) => {
            // It can only complete a message that is there.
            let medium = serde_json::to_value(Waiting::Seen { seen: Box::new(seen.clone()), at })?;
            work.wait(client, &seen.whatsapp_id, &medium, None);
            return Ok(());
        }
    };
    let Some(conversation) = conversation else { return Ok(()) };
    let live = seen.via == Via::Live;
    let from_app = live && seen.author == Author::App;
    if known.is_none() && from_app && !waited && work.may_be_ours(conversation, &seen.content) {
        let echo = serde_json::to_value(Waiting::Seen { seen: Box::new(seen.clone()), at })?;
        let retry_at = Clock::real_now().plus_seconds(ECHO_WAITS);
        work.wait(client, &seen.whatsapp_id, &echo, Some(retry_at));
        return Ok(());
    }
    if live && let Some(contact) = contact {
        contacts::announce(work, client, contact, at);
    }

    let (id, fresh) = match known {
        Some(id) => (id, false),
        None => {
            let Some(model) = first_sight(work, client, conversation, seen, at)? else { return Ok(()) };
            (work.add_message(model), true)
        }
    };
    work.key(client, &seen.whatsapp_id, id);
    let Some(mut row) = work.messages.remove(&id) else { return Ok(()) };
    let outcome = take_in(&mut row, seen, at, fresh);
    let message = Standing::of(&row.model);
    work.messages.insert(id, row);
    let outcome = outcome?;
    if fresh || outcome.filled {
        work.tell_content(id);
    }
    // An echo of our own send says nothing of the phone.
    if from_app && message.origin == MessageOrigin::App {
        account::sign_of_life(work, client, AppPresenceBasis::OutgoingMessage, at);
    }

    if !live && outcome.first_in_history {
        sync::count(work, client, SyncKind::History, 1);
        span.add(message.sent_at, message.conversation);
    }
    if outcome.first_live && message.origin != MessageOrigin::Api {
        let kind = match message.direction {
            MessageDirection::Inbound => EventType::MessageIncoming,
            MessageDirection::Outbound => EventType::MessageOutgoing,
        };
        work.tell(client, kind, message.sent_at, Some(id.uuid()), None);
    } else if outcome.filled && !fresh {
        work.tell(client, EventType::MessageUpdated, at, Some(id.uuid()), None);
    }
    settle_conversation(work, message, at, outcome.first_live);
    if outcome.older {
        work.refresh(message.conversation);
    }
    if let Some(rung) = first_rung(seen, message.origin).filter(|_| !fresh) {
        climb(work, client, id, rung, at, None, None, true);
    }
    Ok(())
}

/// The rung at which seeing a message puts it: what the history says; else it has left, as everything that the app shows. Of
/// our own sends the answer and the statuses tell. None: it is the customer's.
fn first_rung(seen: &MessageSeen, origin: MessageOrigin) -> Option<MessageStatus> {
    match (seen.author, seen.status.filter(|_| seen.via == Via::History), origin) {
        (Author::Customer, ..) | (Author::App, None, MessageOrigin::Api) => None,
        (Author::App, Some(status), _) => Some(rung(status)),
        (Author::App, None, _) => Some(MessageStatus::Sent),
    }
}

/// The row of a message that was never seen before.
fn first_sight(
    work: &Work<'_>,
    client: ClientId,
    conversation: ConversationId,
    seen: &MessageSeen,
    at: Timestamp,
) -> Result<Option<message::Model>, serde_json::Error> {
    let Some(partner_id) = work.partner(client) else { return Ok(None) };
    let (direction, origin) = match seen.author {
        Author::Customer => (MessageDirection::Inbound, MessageOrigin::Customer),
        Author::App => (MessageDirection::Outbound, MessageOrigin::App),
    };
    let status = first_rung(seen, origin).unwrap_or(MessageStatus::Received);
    Ok(Some(message::Model {
        id: MessageId::generate(),
        partner_id,
        client_id: client,
        conversation_id: conversation,
        whatsapp_id: Some(seen.whatsapp_id.clone()),
        direction,
        origin,
        imported: true,
        in_history: false,
        opens_window: false,
        sent_at: at,
        content: serde_json::to_value(&seen.content)?,
        substance: seen.content.substance() as i32,
        content_at: at,
        text: seen.content.text().map(str::to_owned),
        status,
        status_at: at,
        error: None,
        pricing: None,
        reply_to: None,
        reply_to_id: None,
        forwarded: false,
        edited_at: None,
        deleted_at: None,
        idempotency_key: None,
        request_hash: None,
        sent_by: None,
        created_at: work.now,
    }))
}

/// Of a message what its conversation asks for.
#[derive(Clone, Copy)]
struct Standing {
    id: MessageId,
    conversation: ConversationId,
    direction: MessageDirection,
    origin: MessageOrigin,
    imported: bool,
    opens_window: bool,
    sent_at: Timestamp,
}

impl Standing {
    fn of(message: &message::Model) -> Self {
        Self {
            id: message.id,
            conversation: message.conversation_id,
            direction: message.direction,
            origin: message.origin,
            imported: message.imported,
            opens_window: message.opens_window,
            sent_at: message.sent_at,
        }
    }
}

/// What seeing a message changed.
struct TakenIn {
    first_live: bool,
    first_in_history: bool,
    filled: bool,
    older: bool,
}

fn take_in(
    row: &mut Row<message::Model>,
    seen: &MessageSeen,
    at: Timestamp,
    fresh: bool,
) -> Result<TakenIn, serde_json::Error> {
    let message = &mut row.model;
    // A new row is written anyway.
    let before = (!fresh).then(|| message.clone());
    let first_live = seen.via == Via::Live && message.imported;
    let first_in_history = seen.via == Via::History && !message.in_history;
    message.imported &= seen.via == Via::History;
    message.in_history |= seen.via == Via::History;
    message.forwarded |= seen.forwarded;
    let names = (Some(seen.whatsapp_id.clone()), seen.reply_to.clone());
    join_names(message, names);
    let mut filled = false;
    if message.origin != MessageOrigin::Api {
        message.opens_window |= seen.author == Author::Customer && seen.content.opens_window();
        message.sent_at = message.sent_at.min(at);
        if message.direction == MessageDirection::Inbound {
            message.status_at = message.sent_at;
        }
        filled = !fresh && improve(message, &seen.content, seen.content.substance() as i32, at)?;
    }
    let older = before.as_ref().is_some_and(|before| message.sent_at < before.sent_at);
    row.dirty |= before.is_some_and(|before| *message != before);
    Ok(TakenIn { first_live, first_in_history, filled, older })
}

/// Of several WhatsApp ids the smallest is shown, whichever was seen first: that of the message, and that of the one it
/// answers. A send keeps those that it has.
pub(super) fn join_names(message: &mut message::Model, other: (Option<String>, Option<String>)) {
    let keeps = message.origin == MessageOrigin::Api;
    for (holds, other) in [(&mut message.whatsapp_id, other.0), (&mut message.reply_to, other.1)] {
        if holds.is_none() || (!keeps && other.is_some() && other < *holds) {
            *holds = other;
        }
    }
}

/// Puts a version of the content in place if it is the greater one: by substance, then by stamp, then by bytes. Says
/// whether the shown content changed.
pub(super) fn improve(
    message: &mut message::Model,
    content: &Content,
    substance: i32,
    at: Timestamp,
) -> Result<bool, serde_json::Error> {
    let holds: Content = serde_json::from_value(message.content.clone())?;
    let new_wins = match (substance, at).cmp(&(message.substance, message.content_at)) {
        std::cmp::Ordering::Equal => without_file(content)? > without_file(&holds)?,
        order => order.is_gt(),
    };
    let mut winner = if new_wins { content.clone() } else { holds.clone() };
    join_file(&mut winner, if new_wins { &holds } else { content })?;
    let changed = winner != holds;
    if new_wins {
        message.substance = substance;
        message.content_at = at;
    }
    if changed {
        message.text = winner.text().map(str::to_owned);
        message.content = serde_json::to_value(&winner)?;
    }
    Ok(changed)
}

/// The bytes by which two versions are told apart: the file is no part of them, since versions share it.
fn without_file(content: &Content) -> Result<String, serde_json::Error> {
    match content {
        Content::Media(media) => {
            let caption = media.caption.clone();
            serde_json::to_string(&Content::Media(Media { caption, ..Media::default() }))
        }
        content => serde_json::to_string(content),
    }
}

/// An edit of a caption comes without the file: what another version knows of it is kept. Of two files, which are the same
/// one under two ids, the greater is.
fn join_file(winner: &mut Content, loser: &Content) -> Result<(), serde_json::Error> {
    let (Content::Media(winner), Content::Media(loser)) = (winner, loser) else { return Ok(()) };
    let file = |media: &Media| {
        let file = Media { caption: None, ..media.clone() };
        serde_json::to_string(&file)
            .map(|bytes| (media.upstream_id.is_some() || media.link.is_some() || media.file.is_some(), bytes))
    };
    if file(loser)? > file(winner)? {
        *winner = Media { caption: winner.caption.take(), ..loser.clone() };
    }
    Ok(())
}

/// What a message means to its conversation: latest activity, window, unread, read.
fn settle_conversation(work: &mut Work<'_>, message: Standing, at: Timestamp, first_live: bool) {
    let Some(conversation) = work.conversation_mut(message.conversation) else { return };
    let newest = (conversation.last_activity_at, conversation.last_message_id.map(PublicId::uuid));
    if (message.sent_at, Some(message.id.uuid())) > newest {
        conversation.last_activity_at = message.sent_at;
        conversation.last_message_id = Some(message.id);
    }
    if message.direction == MessageDirection::Inbound {
        if !message.imported && message.opens_window {
            let opened = (conversation.window_opened_at, conversation.window_message_id.map(PublicId::uuid));
            if (Some(message.sent_at), Some(message.id.uuid())) > opened {
                conversation.window_opened_at = Some(message.sent_at);
                conversation.window_message_id = Some(message.id);
            }
        }
        if first_live && message.sent_at > conversation.read_at {
            conversation.unread_count = conversation.unread_count.saturating_add(1);
        }
    } else if at > conversation.read_at {
        // Answered: what came before is read.
        conversation.read_at = at;
        if conversation.unread_count > 0 {
            work.recount(message.conversation);
        }
    }
}

/// The rung that a report speaks of.
fn rung(status: ReportedStatus) -> MessageStatus {
    match status {
        ReportedStatus::Pending => MessageStatus::Unknown,
        ReportedStatus::Sent => MessageStatus::Sent,
        ReportedStatus::Failed => MessageStatus::Failed,
        ReportedStatus::Delivered => MessageStatus::Delivered,
        ReportedStatus::Read => MessageStatus::Read,
        ReportedStatus::Played => MessageStatus::Played,
    }
}

/// Climbs the ladder, never down; of one rung the earliest instant holds. The rung that holds is in the message itself, only
/// the others have rows: most messages need none. Says whether it climbed.
fn climb_row(
    work: &mut Work<'_>,
    message: &mut message::Model,
    status: MessageStatus,
    at: Timestamp,
    error: Option<Value>,
) -> bool {
    if status == message.status {
        message.status_at = message.status_at.min(at);
        return false;
    }
    if status.rank() < message.status.rank() {
        work.note_status(message.id, status, at, error);
        return false;
    }
    let error = message.error.clone().filter(|_| message.status == MessageStatus::Failed);
    work.note_status(message.id, message.status, message.status_at, error);
    message.status = status;
    message.status_at = at;
    true
}

#[expect(clippy::too_many_arguments, reason = "one report, as it is")]
fn climb(
    work: &mut Work<'_>,
    client: ClientId,
    id: MessageId,
    status: MessageStatus,
    at: Timestamp,
    error: Option<Value>,
    pricing: Option<Value>,
    quiet: bool,
) {
    let Some(mut row) = work.messages.remove(&id) else { return };
    if row.model.direction != MessageDirection::Outbound {
        work.messages.insert(id, row);
        return;
    }
    let before = row.model.clone();
    let message = &mut row.model;
    let failed = status == MessageStatus::Failed;
    join_error(&mut message.error, error.clone().filter(|_| failed));
    let holds = message.error.clone().filter(|_| failed);
    let climbed = climb_row(work, message, status, at, holds);
    // Told with `sent` and with one of delivered or read: the later rung's word holds.
    join_pricing(
        &mut message.pricing,
        pricing.map(|mut pricing| {
            if let Some(fields) = pricing.as_object_mut() {
                fields.insert("rank".to_owned(), json!(status.rank()));
            }
            pricing
        }),
    );
    row.dirty |= row.model != before;
    work.messages.insert(id, row);
    if climbed && !quiet {
        let mut data = json!({ "status": status.word() });
        if let Some(error) = error {
            data["error"] = error;
        }
        work.tell(client, EventType::MessageStatus, at, Some(id.uuid()), Some(data));
    }
}

/// Of two errors the greater by its bytes holds.
pub(super) fn join_error(holds: &mut Option<Value>, other: Option<Value>) {
    let rank = |error: &Option<Value>| error.as_ref().map(Value::to_string);
    if rank(&other) > rank(holds) {
        *holds = other;
    }
}

/// Of two words about the price that of the higher rung holds.
pub(super) fn join_pricing(holds: &mut Option<Value>, other: Option<Value>) {
    let rank = |pricing: &Option<Value>| {
        pricing.as_ref().map(|pricing| (pricing["rank"].as_u64(), pricing.to_string()))
    };
    if rank(&other) > rank(holds) {
        *holds = other;
    }
}

/// The message that a change speaks of, if it is there: by this very id, or by another of its ids in the chat with this
/// person. The id stands for the message from then on, so that whatever comes under it finds the message by it alone.
///
/// An id belongs to one chat, and so does a message: where an id that is known is told of another person, the two are one
/// person; where two messages of a chat share an id's trailing part, they are one message. Both are merged first, so that it
/// makes no difference which of them was told of before.
fn find(
    work: &mut Work<'_>,
    client: ClientId,
    whatsapp_id: &str,
    contact: Option<ContactId>,
) -> Result<Option<MessageId>, Halt> {
    let known = work.message_by(client, whatsapp_id);
    let Some(contact) = contact else {
        let only = || match work.alike(client, whatsapp_id, None)[..] {
            [only] => Some(only),
            _ => None,
        };
        return Ok(known.or_else(only));
    };
    let conversation = match known {
        Some(id) => {
            let conversation = work.conversation_of_message(id);
            let with = conversation.and_then(|conversation| work.contact_of(conversation));
            // Only what is built like an id of WhatsApp's is sure to be given once.
            if let Some(with) = with
                && contacts::may_be_one(work, with, contact)
                && message_token(whatsapp_id).is_some()
            {
                return Err(Halt::Interrupt(Interrupt::Contacts(client, with, contact)));
            }
            conversation
        }
        None => work.conversation_of(contact),
    };
    let Some(conversation) = conversation else { return Ok(known) };
    let alike = work.alike(client, whatsapp_id, Some(conversation));
    let Some(id) = known.or(alike.first().copied()) else { return Ok(None) };
    if let Some(twin) = alike.into_iter().find(|twin| *twin != id) {
        return Err(Halt::Interrupt(Interrupt::Messages(client, id, twin)));
    }
    work.key(client, whatsapp_id, id);
    Ok(Some(id))
}

/// The message that a change speaks of, in the conversation that its party names.
fn target(
    work: &mut Work<'_>,
    client: ClientId,
    whatsapp_id: &str,
    party: &Party,
    at: Timestamp,
) -> Result<Option<MessageId>, Halt> {
    let contact = contacts::resolve(work, client, party, at)?;
    find(work, client, whatsapp_id, contact)
}

/// What became of a message.
pub(super) fn status(
    work: &mut Work<'_>,
    client: ClientId,
    seen: &StatusSeen,
    at: Timestamp,
) -> Result<(), Halt> {
    let mut id = target(work, client, &seen.whatsapp_id, &seen.customer, at)?;
    // The answer to the send is not recorded yet, or never came: the status tells which message it is.
    let sent = seen.callback_data.as_deref().and_then(MessageId::parse).filter(|id| {
        let row = work.messages.get(id);
        row.is_some_and(|row| row.model.client_id == client && row.model.origin == MessageOrigin::Api)
    });
    match (id, sent) {
        (Some(id), Some(sent)) if id != sent => {
            return Err(Halt::Interrupt(Interrupt::Messages(client, sent, id)));
        }
        (None, Some(sent)) => {
            work.key(client, &seen.whatsapp_id, sent);
            if let Some(row) = work.messages.get_mut(&sent)
                && row.model.whatsapp_id.is_none()
            {
                row.model.whatsapp_id = Some(seen.whatsapp_id.clone());
                row.dirty = true;
            }
            id = Some(sent);
        }
        _ => {}
    }
    let Some(id) = id else {
        let change = serde_json::to_value(Waiting::Status { seen: seen.clone(), at })?;
        work.wait(client, &seen.whatsapp_id, &change, None);
        return Ok(());
    };
    let error = seen.error.as_ref().map(serde_json::to_value).transpose()?;
    let pricing = seen.pricing.as_ref().map(serde_json::to_value).transpose()?;
    match seen.error.as_ref().and_then(|error| Lesson::of(error.code)) {
        Some(Lesson::WindowClosed) => refuse_window(work, id, at),
        Some(Lesson::MarketingStopped) => contacts::preference(work, client, &seen.customer, true, at)?,
        Some(Lesson::TemplatesChanged) => templates::doubt(work, client),
        None => {}
    }
    climb(work, client, id, rung(seen.status), at, error, pricing, false);
    Ok(())
}

/// WhatsApp says that there is no window (131047): it knows.
fn refuse_window(work: &mut Work<'_>, id: MessageId, at: Timestamp) {
    let Some(conversation) = work.messages.get(&id).map(|row| row.model.conversation_id) else { return };
    if let Some(conversation) = work.conversation_mut(conversation) {
        conversation.window_refused_at = conversation.window_refused_at.max(Some(at));
    }
}

/// A message got other words.
pub(super) fn edit(
    work: &mut Work<'_>,
    client: ClientId,
    seen: &EditSeen,
    at: Timestamp,
) -> Result<(), Halt> {
    if seen.by == Author::App && seen.via == Via::Live {
        account::sign_of_life(work, client, AppPresenceBasis::OutgoingMessage, at);
    }
    let Some(id) = target(work, client, &seen.target, &seen.customer, at)? else {
        let change = serde_json::to_value(Waiting::Edit { seen: seen.clone(), at })?;
        work.wait(client, &seen.target, &change, None);
        return Ok(());
    };
    let Some(row) = work.messages.get_mut(&id) else { return Ok(()) };
    let before = row.model.clone();
    improve(&mut row.model, &seen.content, Substance::Edited as i32, at)?;
    row.model.edited_at = row.model.edited_at.max(Some(at));
    if row.model != before {
        row.dirty = true;
        work.tell_content(id);
        // Imports are quiet (invariant 10), but who was told of the message hears what became of it.
        if before.deleted_at.is_none() && (seen.via == Via::Live || !before.imported) {
            work.tell(client, EventType::MessageEdited, at, Some(id.uuid()), None);
        }
    }
    Ok(())
}

/// A message was deleted for everyone: its words go, as they went on the phones.
pub(super) fn delete(
    work: &mut Work<'_>,
    client: ClientId,
    seen: &DeleteSeen,
    at: Timestamp,
) -> Result<(), Halt> {
    if seen.by == Author::App && seen.via == Via::Live {
        account::sign_of_life(work, client, AppPresenceBasis::OutgoingMessage, at);
    }
    let Some(id) = target(work, client, &seen.target, &seen.customer, at)? else {
        let change = serde_json::to_value(Waiting::Delete { seen: seen.clone(), at })?;
        work.wait(client, &seen.target, &change, None);
        return Ok(());
    };
    let Some(row) = work.messages.get_mut(&id) else { return Ok(()) };
    let before = row.model.clone();
    let first = row.model.deleted_at.is_none();
    row.model.deleted_at = Some(row.model.deleted_at.map_or(at, |deleted_at| deleted_at.min(at)));
    row.model.content = serde_json::to_value(Content::Deleted)?;
    row.model.substance = Substance::Deleted as i32;
    row.model.content_at = Timestamp(i64::MAX);
    row.model.text = None;
    row.dirty |= row.model != before;
    if first {
        work.forget_content(id);
        if seen.via == Via::Live || !before.imported {
            work.tell(client, EventType::MessageDeleted, at, Some(id.uuid()), None);
        }
    }
    Ok(())
}

/// A reaction was set, replaced or taken away.
pub(super) fn reaction(
    work: &mut Work<'_>,
    client: ClientId,
    seen: &ReactionSeen,
    at: Timestamp,
) -> Result<(), Halt> {
    if seen.by == Author::App && seen.via == Via::Live {
        account::sign_of_life(work, client, AppPresenceBasis::OutgoingMessage, at);
    }
    let Some(id) = target(work, client, &seen.target, &seen.customer, at)? else {
        let change = serde_json::to_value(Waiting::Reaction { seen: seen.clone(), at })?;
        work.wait(client, &seen.target, &change, None);
        return Ok(());
    };
    let by = match seen.by {
        Author::Customer => ReactionBy::Customer,
        Author::App => ReactionBy::Business,
    };
    // Later beats earlier, remove beats add, then the bytes decide.
    let rank = |at: Timestamp, emoji: &Option<String>| (at, emoji.is_none(), emoji.clone());
    let holds = work.reactions.get(&(id, by)).map(|row| rank(row.model.at, &row.model.emoji));
    if holds.is_some_and(|holds| holds >= rank(at, &seen.emoji)) {
        return Ok(());
    }
    let model = reaction::Model { message_id: id, by, emoji: seen.emoji.clone(), at };
    work.reactions.insert((id, by), Row::new(model));
    if seen.via == Via::Live {
        work.tell(client, EventType::MessageReaction, at, Some(id.uuid()), None);
    }
    Ok(())
}

/// What waited for the ids that stand for a message only now.
pub(super) fn apply_waiting(work: &mut Work<'_>, span: &mut Span) -> Result<(), Halt> {
    // Ends: each round is for an id that is new, and there are as many as changes that wait, and one.
    while let Some(Named { client, whatsapp_id }) = work.named.front().cloned() {
        for place in work.waiting_for(client, &whatsapp_id) {
            let Some(change) = work.take_waiting(place) else { continue };
            let outcome = match serde_json::from_value(change)? {
                Waiting::Status { seen, at } => status(work, client, &seen, at),
                Waiting::Edit { seen, at } => edit(work, client, &seen, at),
                Waiting::Delete { seen, at } => delete(work, client, &seen, at),
                Waiting::Reaction { seen, at } => reaction(work, client, &seen, at),
                Waiting::Seen { seen: message, at } => seen(work, client, &message, at, false, span),
            };
            if let Err(halt) = outcome {
                work.put_back_waiting(place);
                return Err(halt);
            }
        }
        work.named.pop_front();
    }
    Ok(())
}

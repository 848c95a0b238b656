//! Messages and what happens to them (invariants 2, 3 and 10).

use entity::{
    AppPresenceBasis, ClientId, ConversationId, EventType, MessageDirection, MessageId, MessageOrigin,
    MessageStatus, ReactionBy, SyncKind, Timestamp, message, reaction,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::work::{Row, Within, Work};
use super::{Halt, Interrupt, Span, account, contacts, sync};
use crate::clock::Clock;
use crate::ids::PublicId;
use crate::messages::content::{Content, Media, Substance};
use crate::upstream::change::{
    Author, DeleteSeen, EditSeen, MessageSeen, Party, ReactionSeen, ReportedStatus, StatusSeen, Via,
};

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
    /// An echo that may be of a send whose answer is not there yet.
    Echo { seen: Box<MessageSeen>, at: Timestamp },
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
    let conversation = match contact {
        Some(contact) => work.conversation_with(client, contact),
        // It names nobody (a medium of the history may): it can only complete a message that is there.
        None => work
            .message_by(client, &seen.whatsapp_id, Within::Anywhere)
            .and_then(|id| work.messages.get(&id))
            .map(|row| row.model.conversation_id),
    };
    let Some(conversation) = conversation else { return Ok(()) };
    let live = seen.via == Via::Live;
    let known = work.message_by(client, &seen.whatsapp_id, Within::Conversation(conversation));
    if let Some(id) = known
        && let Some(twin) = work.twin_of(client, &seen.whatsapp_id, id)
    {
        return Err(Halt::Interrupt(Interrupt::Messages(client, id, twin)));
    }
    if known.is_none() && live && seen.author == Author::App && !waited && work.is_unsettled(conversation) {
        let echo = serde_json::to_value(Waiting::Echo { seen: Box::new(seen.clone()), at })?;
        let retry_at = Clock::real_now().plus_seconds(ECHO_WAITS);
        work.wait(client, &seen.whatsapp_id, &echo, Some(retry_at));
        return Ok(());
    }
    if live {
        if let Some(contact) = contact {
            contacts::announce(work, client, contact, at);
        }
        if seen.author == Author::App {
            account::sign_of_life(work, client, AppPresenceBasis::OutgoingMessage, at);
        }
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
    let outcome = take_in(work, &mut row, seen, at, fresh);
    let message = Standing::of(&row.model);
    work.messages.insert(id, row);
    let outcome = outcome?;

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
    settle_conversation(work, message, outcome.first_live);
    if let Some(status) = seen.status.filter(|_| message.direction == MessageDirection::Outbound) {
        climb(work, client, id, rung(status), message.sent_at, None, None, true)?;
    }
    apply_waiting(work, client, &seen.whatsapp_id)
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
    let (direction, origin, status) = match seen.author {
        Author::Customer => (MessageDirection::Inbound, MessageOrigin::Customer, MessageStatus::Received),
        Author::App => (
            MessageDirection::Outbound,
            MessageOrigin::App,
            seen.status.filter(|_| seen.via == Via::History).map_or(MessageStatus::Sent, rung),
        ),
    };
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
}

fn take_in(
    work: &mut Work<'_>,
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
    if message.whatsapp_id.is_none() {
        message.whatsapp_id = Some(seen.whatsapp_id.clone());
    }
    if message.reply_to.is_none() {
        message.reply_to.clone_from(&seen.reply_to);
    }
    let mut filled = false;
    if message.origin != MessageOrigin::Api {
        message.opens_window |= seen.author == Author::Customer && seen.content.opens_window();
        message.sent_at = message.sent_at.min(at);
        filled = !fresh && improve(message, &seen.content, seen.content.substance(), at)?;
        if message.origin == MessageOrigin::App && seen.via == Via::Live {
            // An echo is a message that has left.
            climb_row(work, message, MessageStatus::Sent, at, None);
        }
    }
    row.dirty |= before.is_some_and(|before| *message != before);
    Ok(TakenIn { first_live, first_in_history, filled })
}

/// Puts a version of the content in place if it is the greater one: by substance, then by stamp, then by bytes. Says
/// whether the shown content changed.
fn improve(
    message: &mut message::Model,
    content: &Content,
    substance: Substance,
    at: Timestamp,
) -> Result<bool, serde_json::Error> {
    let holds: Content = serde_json::from_value(message.content.clone())?;
    let text = |content: &Content| serde_json::to_string(content);
    let new_rank = (substance as i32, at);
    let old_rank = (message.substance, message.content_at);
    let new_wins = match new_rank.cmp(&old_rank) {
        std::cmp::Ordering::Equal => text(content)? > text(&holds)?,
        order => order.is_gt(),
    };
    let (mut winner, loser) = if new_wins { (content.clone(), &holds) } else { (holds.clone(), content) };
    complete(&mut winner, loser);
    if winner == holds && (!new_wins || new_rank == old_rank) {
        return Ok(false);
    }
    let changed = winner != holds;
    if new_wins {
        message.substance = substance as i32;
        message.content_at = at;
    }
    message.text = winner.text().map(str::to_owned);
    message.content = serde_json::to_value(&winner)?;
    Ok(changed)
}

/// An edit of a caption comes without the file: what the other version knows of it is kept.
fn complete(winner: &mut Content, loser: &Content) {
    let (Content::Media(winner), Content::Media(loser)) = (winner, loser) else { return };
    if winner.upstream_id.is_some() || loser.upstream_id.is_none() {
        return;
    }
    *winner = Media { caption: winner.caption.take(), ..loser.clone() };
}

/// What a message means to its conversation: latest activity, window, unread, read.
fn settle_conversation(work: &mut Work<'_>, message: Standing, first_live: bool) {
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
    } else if message.sent_at > conversation.read_at {
        // Answered: what came before is read.
        conversation.read_at = message.sent_at;
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
) -> Result<(), Halt> {
    let Some(mut row) = work.messages.remove(&id) else { return Ok(()) };
    let before = row.model.clone();
    let message = &mut row.model;
    let outbound = message.direction == MessageDirection::Outbound;
    let climbed = outbound && climb_row(work, message, status, at, error.clone());
    let words = |error: &Option<Value>| error.as_ref().map(Value::to_string);
    if outbound && status == MessageStatus::Failed && words(&error) > words(&message.error) {
        message.error.clone_from(&error);
    }
    // Told with `sent` and with one of delivered or read: the later rung's word holds.
    if let Some(mut pricing) = pricing.filter(|_| outbound) {
        if let Some(fields) = pricing.as_object_mut() {
            fields.insert("rank".to_owned(), json!(status.rank()));
        }
        let rank = |pricing: &Value| (pricing["rank"].as_u64(), pricing.to_string());
        if message.pricing.as_ref().is_none_or(|holds| rank(&pricing) > rank(holds)) {
            message.pricing = Some(pricing);
        }
    }
    row.dirty |= row.model != before;
    work.messages.insert(id, row);
    if climbed && !quiet {
        let mut data = json!({ "status": status.word() });
        if let Some(error) = error {
            data["error"] = error;
        }
        work.tell(client, EventType::MessageStatus, at, Some(id.uuid()), Some(data));
    }
    Ok(())
}

fn names_nobody(party: &Party) -> bool {
    party.phone_number.is_none() && party.user_id.is_none() && party.parent_user_id.is_none()
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
    let within = match contact.and_then(|contact| work.conversation_of(contact)) {
        Some(conversation) => Within::Conversation(conversation),
        None if names_nobody(party) => Within::Anywhere,
        None => Within::Nowhere,
    };
    Ok(work.message_by(client, whatsapp_id, within))
}

/// What became of a message.
pub(super) fn status(
    work: &mut Work<'_>,
    client: ClientId,
    seen: &StatusSeen,
    at: Timestamp,
) -> Result<bool, Halt> {
    let mut id = target(work, client, &seen.whatsapp_id, &seen.customer, at)?;
    if id.is_none() {
        // The answer to the send is not recorded yet, or never came: the status tells which message it is.
        let named = seen.callback_data.as_deref().and_then(MessageId::parse);
        id = named.filter(|id| {
            work.messages
                .get(id)
                .is_some_and(|row| row.model.client_id == client && row.model.origin == MessageOrigin::Api)
        });
        if let Some(id) = id {
            work.key(client, &seen.whatsapp_id, id);
            if let Some(row) = work.messages.get_mut(&id)
                && row.model.whatsapp_id.is_none()
            {
                row.model.whatsapp_id = Some(seen.whatsapp_id.clone());
                row.dirty = true;
            }
            apply_waiting(work, client, &seen.whatsapp_id)?;
        }
    }
    let Some(id) = id else {
        let change = serde_json::to_value(Waiting::Status { seen: seen.clone(), at })?;
        work.wait(client, &seen.whatsapp_id, &change, None);
        return Ok(false);
    };
    let error = seen.error.as_ref().map(serde_json::to_value).transpose()?;
    let pricing = seen.pricing.as_ref().map(serde_json::to_value).transpose()?;
    if seen.error.as_ref().is_some_and(|error| error.code == crate::upstream::meta::WINDOW_CLOSED) {
        refuse_window(work, id, at);
    }
    climb(work, client, id, rung(seen.status), at, error, pricing, false)?;
    Ok(true)
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
) -> Result<bool, Halt> {
    if seen.by == Author::App {
        account::sign_of_life(work, client, AppPresenceBasis::OutgoingMessage, at);
    }
    let Some(id) = target(work, client, &seen.target, &seen.customer, at)? else {
        let change = serde_json::to_value(Waiting::Edit { seen: seen.clone(), at })?;
        work.wait(client, &seen.target, &change, None);
        return Ok(false);
    };
    let Some(row) = work.messages.get_mut(&id) else { return Ok(true) };
    let before = row.model.clone();
    improve(&mut row.model, &seen.content, Substance::Edited, at)?;
    row.model.edited_at = row.model.edited_at.max(Some(at));
    if row.model != before {
        row.dirty = true;
        if row.model.deleted_at.is_none() {
            work.tell(client, EventType::MessageEdited, at, Some(id.uuid()), None);
        }
    }
    Ok(true)
}

/// A message was deleted for everyone: its words go, as they went on the phones.
pub(super) fn delete(
    work: &mut Work<'_>,
    client: ClientId,
    seen: &DeleteSeen,
    at: Timestamp,
) -> Result<bool, Halt> {
    if seen.by == Author::App {
        account::sign_of_life(work, client, AppPresenceBasis::OutgoingMessage, at);
    }
    let Some(id) = target(work, client, &seen.target, &seen.customer, at)? else {
        let change = serde_json::to_value(Waiting::Delete { seen: seen.clone(), at })?;
        work.wait(client, &seen.target, &change, None);
        return Ok(false);
    };
    let Some(row) = work.messages.get_mut(&id) else { return Ok(true) };
    let before = row.model.clone();
    let first = row.model.deleted_at.is_none();
    row.model.deleted_at = Some(row.model.deleted_at.map_or(at, |deleted_at| deleted_at.min(at)));
    row.model.content = serde_json::to_value(Content::Deleted)?;
    row.model.substance = Substance::Deleted as i32;
    row.model.content_at = Timestamp(i64::MAX);
    row.model.text = None;
    row.dirty |= row.model != before;
    if first {
        work.tell(client, EventType::MessageDeleted, at, Some(id.uuid()), None);
    }
    Ok(true)
}

/// A reaction was set, replaced or taken away.
pub(super) fn reaction(
    work: &mut Work<'_>,
    client: ClientId,
    seen: &ReactionSeen,
    at: Timestamp,
) -> Result<bool, Halt> {
    if seen.by == Author::App && seen.via == Via::Live {
        account::sign_of_life(work, client, AppPresenceBasis::OutgoingMessage, at);
    }
    let Some(id) = target(work, client, &seen.target, &seen.customer, at)? else {
        let change = serde_json::to_value(Waiting::Reaction { seen: seen.clone(), at })?;
        work.wait(client, &seen.target, &change, None);
        return Ok(false);
    };
    let by = match seen.by {
        Author::Customer => ReactionBy::Customer,
        Author::App => ReactionBy::Business,
    };
    // Later beats earlier, remove beats add, then the bytes decide.
    let rank = |at: Timestamp, emoji: &Option<String>| (at, emoji.is_none(), emoji.clone());
    let holds = work.reactions.get(&(id, by)).map(|row| rank(row.model.at, &row.model.emoji));
    if holds.is_some_and(|holds| holds >= rank(at, &seen.emoji)) {
        return Ok(true);
    }
    let model = reaction::Model { message_id: id, by, emoji: seen.emoji.clone(), at };
    work.reactions.insert((id, by), Row::new(model));
    if seen.via == Via::Live {
        work.tell(client, EventType::MessageReaction, at, Some(id.uuid()), None);
    }
    Ok(true)
}

/// What waited for a message, now that it is there.
pub(super) fn apply_waiting(work: &mut Work<'_>, client: ClientId, whatsapp_id: &str) -> Result<(), Halt> {
    for place in work.waiting_for(client, whatsapp_id) {
        let Some(change) = work.waiting(place) else { continue };
        let applied = match serde_json::from_value(change)? {
            Waiting::Status { seen, at } => status(work, client, &seen, at)?,
            Waiting::Edit { seen, at } => edit(work, client, &seen, at)?,
            Waiting::Delete { seen, at } => delete(work, client, &seen, at)?,
            Waiting::Reaction { seen, at } => reaction(work, client, &seen, at)?,
            // The send's answer named this id: the echo is of that message, which is told already.
            Waiting::Echo { .. } => true,
        };
        if applied {
            work.waited(place);
        }
    }
    Ok(())
}

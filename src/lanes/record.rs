//! What became of the sends of a round, written in its transaction. What is known of a message only ever climbs the
//! ladder, so that an answer that comes late, twice, or after its status does no harm; only the way back into the queue
//! needs the entry to be still ours.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use entity::{
    ClientId, ClientStatus, ContactKeyKind, ConversationId, EventType, LaneEntryId, LaneEntryKind, MessageId,
    MessageStatus, ReactionBy, Timestamp, client, contact_key, conversation, lane_entry, message,
    message_key, message_status, reaction,
};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{ActiveModelTrait, ColumnTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter};
use serde_json::{Value, json};

use super::claim::{IN_LIST, forget};
use super::lessons;
use super::queue::pause;
use super::verdict::{Outcome, Verdict};
use crate::apply::merge;
use crate::apply::waiting::Named;
use crate::db::{self, Reader, SelectExt, Sql, Tx, WriteExt};
use crate::events::NewEvent;
use crate::ids::PublicId;
use crate::messages::PLACE;
use crate::messages::errors::Lesson;
use crate::upstream::change::ReportedError;
use crate::upstream::meta::client::Accepted;
use crate::upstream::meta::common_part;

/// A send that is over.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) entry: lane_entry::Model,
    pub(super) outcome: Outcome,
    /// By the service's clock.
    pub(super) at: Timestamp,
}

/// A send that is over, and what to do about it.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) entry: lane_entry::Model,
    pub(super) verdict: Verdict,
    pub(super) at: Timestamp,
}

impl From<Done> for Judged {
    fn from(done: Done) -> Self {
        Self { verdict: Verdict::of(&done.entry, done.outcome), entry: done.entry, at: done.at }
    }
}

/// What a round has to tell after it is committed.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) events: Vec<NewEvent>,
    /// WhatsApp ids that messages got: changes may wait for them.
    pub(super) named: Vec<Named>,
}

/// Everything that is written, gathered first.
#[derive(Default)]
struct Writes<'a> {
    messages: BTreeMap<MessageId, message::Model>,
    rungs: Vec<message_status::Model>,
    keys: Vec<message_key::Model>,
    reactions: Vec<reaction::Model>,
    over: Vec<LaneEntryId>,
    lessons: Vec<(Lesson, &'a Judged)>,
    learnt: Vec<(ClientId, ConversationId, ContactKeyKind, String, Timestamp)>,
}

/// Records outcomes. `reads` looks at the messages as they are by now.
pub(super) async fn outcomes(
    tx: &Tx,
    reads: &Reader<'_>,
    judged: &[Judged],
    clients: &HashMap<ClientId, client::Model>,
) -> Result<Recorded, DbErr> {
    let mut recorded = Recorded::default();
    if judged.is_empty() {
        return Ok(recorded);
    }
    let ids: BTreeSet<MessageId> = judged
        .iter()
        .filter(|one| one.entry.kind == LaneEntryKind::Message)
        .map(|one| one.entry.message_id)
        .collect();
    let mut writes = Writes { messages: read_messages(reads, &ids).await?, ..Writes::default() };
    let before = writes.messages.clone();
    for one in judged {
        let disconnected = clients
            .get(&one.entry.client_id)
            .is_none_or(|client| client.status == ClientStatus::Disconnected);
        match &one.verdict {
            Verdict::Accepted(accepted) => writes.accepted(one, accepted, &mut recorded)?,
            Verdict::Failed { error, lesson } => {
                writes.lessons.extend(lesson.map(|lesson| (lesson, one)));
                writes.ended(one, MessageStatus::Failed, Some(error), &mut recorded.events)?;
            }
            Verdict::Unknown { reason } => {
                tracing::warn!(message.id = %one.entry.message_id.public(), reason, "the outcome of a send is unknown");
                writes.ended(one, MessageStatus::Unknown, None, &mut recorded.events)?;
            }
            Verdict::Again { .. } | Verdict::Pause { .. } if disconnected => {
                writes.canceled(one, &mut recorded.events)?;
            }
            Verdict::Again { after, .. } => {
                put_back(tx, one, one.at.plus_seconds(*after), 1, &mut writes).await?;
            }
            Verdict::Pause { reason } => {
                put_back(tx, one, one.at, 0, &mut writes).await?;
                let paused = pause(tx, one.entry.partner_id, one.entry.client_id, reason, one.at).await?;
                recorded.events.extend(paused);
            }
        }
    }
    writes.flush(tx, &before, &mut recorded.events).await?;
    Ok(recorded)
}

/// Sends that a former owner of the lane marked, and nobody knows of: they may have left, so nobody sends them again.
#[expect(
    clippy::disallowed_methods,
    reason = "the engine's own entries, of the clients whose lanes it holds"
)]
pub(super) async fn abandoned(
    tx: &Tx,
    fences: &HashMap<ClientId, i64>,
    flying: &BTreeSet<LaneEntryId>,
    clients: &HashMap<ClientId, client::Model>,
    now: Timestamp,
) -> Result<Recorded, DbErr> {
    let ids: Vec<ClientId> = fences.keys().copied().collect();
    let mut judged = Vec::new();
    for chunk in ids.chunks(IN_LIST) {
        let rows = lane_entry::Entity::find()
            .filter(lane_entry::Column::ClientId.is_in(chunk.iter().copied()))
            .filter(lane_entry::Column::Sending.eq(true))
            .rows(tx)
            .await?;
        for entry in rows.into_iter().filter(|entry| !flying.contains(&entry.id)) {
            // Ours, but not on the wire: it was marked by a transaction of which we never heard that it was committed,
            // and so never left.
            let never_left = fences.get(&entry.client_id) == Some(&entry.fence);
            let verdict = match never_left {
                true => Verdict::Again { after: 0, slows_lane: false },
                false => Verdict::Unknown { reason: "the process that sent it is gone".to_owned() },
            };
            judged.push(Judged { entry, verdict, at: now });
        }
    }
    outcomes(tx, &Reader::Within(tx), &judged, clients).await
}

impl Writes<'_> {
    fn accepted(&mut self, one: &Judged, accepted: &Accepted, recorded: &mut Recorded) -> Result<(), DbErr> {
        let entry = &one.entry;
        self.over.push(entry.id);
        self.learn_names(entry, accepted, one.at);
        if entry.kind == LaneEntryKind::Reaction {
            let emoji = entry.request.pointer("/reaction/emoji").and_then(Value::as_str);
            self.reactions.push(reaction::Model {
                message_id: entry.message_id,
                by: ReactionBy::Business,
                emoji: emoji.filter(|emoji| !emoji.is_empty()).map(str::to_owned),
                at: one.at,
            });
            recorded.events.push(event(entry, EventType::MessageReaction, one.at, None));
            return Ok(());
        }
        let Some(message) = self.messages.get_mut(&entry.message_id) else { return Ok(()) };
        if message.whatsapp_id.is_none() {
            message.whatsapp_id = Some(accepted.message_id.clone());
        }
        self.keys.push(message_key::Model {
            token: common_part(&accepted.message_id),
            client_id: entry.client_id,
            whatsapp_id: accepted.message_id.clone(),
            message_id: entry.message_id,
        });
        recorded.named.push(Named { client: entry.client_id, whatsapp_id: accepted.message_id.clone() });
        self.climb(one, MessageStatus::Accepted, None, &mut recorded.events)
    }

    /// Final, for better or worse.
    fn ended(
        &mut self,
        one: &Judged,
        status: MessageStatus,
        error: Option<&ReportedError>,
        events: &mut Vec<NewEvent>,
    ) -> Result<(), DbErr> {
        let entry = &one.entry;
        self.over.push(entry.id);
        let error =
            error.map(serde_json::to_value).transpose().map_err(|error| DbErr::Json(error.to_string()))?;
        if entry.kind == LaneEntryKind::Reaction {
            // It has no row to hold what became of it: who watches hears it here.
            let data = with_error(json!({ "status": status.word() }), error);
            events.push(event(entry, EventType::MessageReaction, one.at, Some(data)));
            return Ok(());
        }
        self.climb(one, status, error, events)
    }

    /// Back from the wire, but the client is gone.
    fn canceled(&mut self, one: &Judged, events: &mut Vec<NewEvent>) -> Result<(), DbErr> {
        if let Some(message) = self.messages.get_mut(&one.entry.message_id)
            && message.status == MessageStatus::Sending
        {
            message.status = MessageStatus::Queued;
        }
        self.ended(one, MessageStatus::Canceled, Some(&disconnected()), events)
    }

    fn climb(
        &mut self,
        one: &Judged,
        status: MessageStatus,
        error: Option<Value>,
        events: &mut Vec<NewEvent>,
    ) -> Result<(), DbErr> {
        let Some(message) = self.messages.get_mut(&one.entry.message_id) else { return Ok(()) };
        let climbs = status.rank() > message.status.rank();
        // Nobody wants to know of a doubt that is over.
        if climbs || status != MessageStatus::Unknown {
            self.rungs.push(message_status::Model {
                message_id: message.id,
                status,
                at: one.at,
                error: error.clone(),
            });
        }
        if !climbs {
            return Ok(());
        }
        message.status = status;
        message.status_at = one.at;
        if error.is_some() {
            message.error.clone_from(&error);
        }
        let data = with_error(json!({ "status": status.word() }), error);
        events.push(event(&one.entry, EventType::MessageStatus, one.at, Some(data)));
        Ok(())
    }

    /// WhatsApp may know the recipient by another number than was dialled, and tells the user id.
    fn learn_names(&mut self, entry: &lane_entry::Model, accepted: &Accepted, at: Timestamp) {
        let asked = |field: &str| entry.request.get(field).and_then(Value::as_str).unwrap_or_default();
        let number = accepted.wa_id.as_deref().and_then(crate::contacts::phone::normalize);
        let mut learn = |kind, value: String| {
            self.learnt.push((entry.client_id, entry.conversation_id, kind, value, at));
        };
        if let Some(number) = number.filter(|number| number != asked("to")) {
            learn(ContactKeyKind::Phone, number);
        }
        if let Some(id) = accepted.user_id.as_deref().filter(|id| *id != asked("recipient")) {
            learn(ContactKeyKind::UserId, id.to_owned());
        }
    }

    async fn flush(
        self,
        tx: &Tx,
        before: &BTreeMap<MessageId, message::Model>,
        events: &mut Vec<NewEvent>,
    ) -> Result<(), DbErr> {
        let changed =
            self.messages.into_iter().filter(|(id, row)| before.get(id) != Some(row)).map(|(_, row)| row);
        db::update::<message::Entity, _>(tx, changed.collect(), &PLACE).await?;
        insert_rungs(tx, self.rungs).await?;
        forget(tx, self.over).await?;
        name_messages(tx, self.keys, events).await?;
        react(tx, self.reactions).await?;
        lessons::keep(tx, &self.lessons, events).await?;
        for (client, conversation, kind, value, at) in self.learnt {
            learn_name(tx, client, conversation, kind, value, at).await?;
        }
        Ok(())
    }
}

fn event(entry: &lane_entry::Model, kind: EventType, at: Timestamp, data: Option<Value>) -> NewEvent {
    NewEvent {
        partner: entry.partner_id,
        kind,
        occurred_at: at,
        client: Some(entry.client_id),
        subject: Some(entry.message_id.uuid()),
        data,
    }
}

fn with_error(mut data: Value, error: Option<Value>) -> Value {
    if let Some(error) = error {
        data["error"] = error;
    }
    data
}

/// Why a message is canceled.
pub(super) fn disconnected() -> ReportedError {
    ReportedError {
        code: 0,
        title: "CLIENT_DISCONNECTED".to_owned(),
        details: Some(
            "The client was disconnected before the message's turn came; nothing was sent".to_owned(),
        ),
    }
}

#[expect(clippy::disallowed_methods, reason = "the messages of the engine's own entries, by their ids")]
async fn read_messages<C: Sql>(
    tx: &C,
    ids: &BTreeSet<MessageId>,
) -> Result<BTreeMap<MessageId, message::Model>, DbErr> {
    let ids: Vec<MessageId> = ids.iter().copied().collect();
    let mut messages = BTreeMap::new();
    for chunk in ids.chunks(IN_LIST) {
        let rows =
            message::Entity::find().filter(message::Column::Id.is_in(chunk.iter().copied())).rows(tx).await?;
        messages.extend(rows.into_iter().map(|row| (row.id, row)));
    }
    Ok(messages)
}

/// Back to its place in the queue, if it is still ours.
async fn put_back<C: Sql>(
    tx: &C,
    one: &Judged,
    not_before: Timestamp,
    attempts: i32,
    writes: &mut Writes<'_>,
) -> Result<(), DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the engine's own entry, by its id and fence")]
    let done = lane_entry::Entity::update_many()
        .col_expr(lane_entry::Column::Sending, Expr::value(false))
        .col_expr(lane_entry::Column::NotBefore, Expr::value(not_before))
        .col_expr(lane_entry::Column::Attempts, Expr::col(lane_entry::Column::Attempts).add(attempts))
        .filter(lane_entry::Column::Id.eq(one.entry.id))
        .filter(lane_entry::Column::Fence.eq(one.entry.fence))
        .filter(lane_entry::Column::Sending.eq(true))
        .write(tx)
        .await?;
    if done == 1
        && let Some(message) = writes.messages.get_mut(&one.entry.message_id)
        && message.status == MessageStatus::Sending
    {
        message.status = MessageStatus::Queued;
        message.status_at = one.at;
    }
    Ok(())
}

/// Gives messages the ids that WhatsApp answered. Where an id belongs to another row, an echo overtook the answer: the
/// two are one message.
async fn name_messages(
    tx: &Tx,
    keys: Vec<message_key::Model>,
    events: &mut Vec<NewEvent>,
) -> Result<(), DbErr> {
    for chunk in keys.chunks(IN_LIST) {
        let rows = chunk.iter().cloned().map(|row| row.into_active_model().reset_all());
        let conflict = OnConflict::new().do_nothing().to_owned();
        let new = message_key::Entity::insert_many(rows).on_conflict(conflict).write(tx).await?;
        if usize::try_from(new).is_ok_and(|new| new == chunk.len()) {
            continue;
        }
        let tokens = chunk.iter().map(|key| key.token.clone());
        #[expect(clippy::disallowed_methods, reason = "ids that WhatsApp answered to the engine's own sends")]
        let known =
            message_key::Entity::find().filter(message_key::Column::Token.is_in(tokens)).rows(tx).await?;
        for key in chunk {
            let same = |row: &&message_key::Model| {
                row.client_id == key.client_id
                    && row.whatsapp_id == key.whatsapp_id
                    && row.message_id != key.message_id
            };
            if let Some(other) = known.iter().find(same) {
                merge::messages(tx, key.client_id, key.message_id, other.message_id, events).await?;
            }
        }
    }
    Ok(())
}

/// Of one rung the earliest instant holds, whoever told it first.
pub(super) async fn insert_rungs<C: Sql>(tx: &C, rows: Vec<message_status::Model>) -> Result<(), DbErr> {
    let at = |table: &str| Expr::cust(format!("{table}.\"at\""));
    let earliest = db::least(tx.backend(), at("message_status"), at("excluded"));
    let conflict = OnConflict::columns([message_status::Column::MessageId, message_status::Column::Status])
        .value(message_status::Column::At, earliest)
        .to_owned();
    let unique: BTreeMap<_, _> = rows.into_iter().map(|row| ((row.message_id, row.status), row)).collect();
    let rows: Vec<_> = unique.into_values().collect();
    for chunk in rows.chunks(IN_LIST) {
        let rows = chunk.iter().cloned().map(|row| row.into_active_model().reset_all());
        message_status::Entity::insert_many(rows).on_conflict(conflict.clone()).put(tx).await?;
    }
    Ok(())
}

/// The later reaction holds.
async fn react<C: Sql>(tx: &C, rows: Vec<reaction::Model>) -> Result<(), DbErr> {
    for row in rows {
        let older = Expr::col((reaction::Entity, reaction::Column::At)).lte(row.at);
        let conflict = OnConflict::columns([reaction::Column::MessageId, reaction::Column::By])
            .update_columns([reaction::Column::Emoji, reaction::Column::At])
            .action_and_where(older)
            .to_owned();
        let row = row.into_active_model().reset_all();
        reaction::Entity::insert(row).on_conflict(conflict).put(tx).await?;
    }
    Ok(())
}

/// Lets a name stand for the contact of a conversation, unless it stands for somebody already.
async fn learn_name<C: Sql>(
    tx: &C,
    client: ClientId,
    conversation: ConversationId,
    kind: ContactKeyKind,
    value: String,
    at: Timestamp,
) -> Result<(), DbErr> {
    let contact = Query::select()
        .expr(Expr::val(value))
        .expr(Expr::val(kind))
        .expr(Expr::val(client))
        .column(conversation::Column::ContactId)
        .expr(Expr::val(at))
        .from(conversation::Entity)
        .and_where(conversation::Column::Id.eq(conversation))
        .to_owned();
    let mut insert = Query::insert();
    insert
        .into_table(contact_key::Entity)
        .columns([
            contact_key::Column::Value,
            contact_key::Column::Kind,
            contact_key::Column::ClientId,
            contact_key::Column::ContactId,
            contact_key::Column::SeenAt,
        ])
        .on_conflict(OnConflict::new().do_nothing().to_owned());
    insert.select_from(contact).map_err(|error| DbErr::Custom(error.to_string()))?;
    tx.put(db::built(tx, &insert)).await
}

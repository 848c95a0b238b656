//! One transaction's worth of messages for the queue: what they name is read at once, each is judged by itself in the order
//! in which they came, and what they leave is written at once.

use std::collections::{BTreeSet, HashMap};

use entity::{
    ClientId, ContactId, ContactKeyKind, EventType, LaneEntryId, LaneEntryKind, MessageDirection, MessageId,
    MessageOrigin, MessageStatus, PartnerId, Timestamp, client, contact, contact_key, conversation,
    lane_entry, message, message_status, send_key, template,
};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DatabaseBackend, DbErr, EntityTrait, QueryFilter, QuerySelect};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::accept::{Reply, Request};
use super::content::Content;
use super::outgoing::Outgoing;
use super::send::{
    DAYS_30, Sent, check_client, check_recipient, check_upload, check_wants_marketing, check_window, pick,
    refuse, target, unread,
};
use crate::app::App;
use crate::clock::Clock;
use crate::contacts::resolve::{self, Named};
use crate::db::{self, HeldClients, Reader, SelectExt, Sql, Tx, WriteExt};
use crate::events::{self, NewEvent, Numbered};
use crate::failure::{Failure, Outcome, RefusalCode};
use crate::ids::PublicId;
use crate::lanes;
use crate::templates;
use crate::templates::fill::fill;

/// Judges messages, and puts those that nothing is wrong with into the queue.
///
/// On SQLite it reads before it takes the one writer: others write meanwhile, and nobody else touches what is held. On
/// Postgres the clients are held only within a transaction.
///
/// # Errors
/// When the database refuses or is away: then nothing was queued.
pub(super) async fn commit(
    app: &App,
    held: &HeldClients,
    requests: &[Request],
) -> Result<Vec<Outcome<Reply>>, DbErr> {
    // A file is marked as used while it is judged.
    let uploads = requests.iter().any(|request| request.input.content.upload().is_some());
    let mut opened = None;
    if uploads || app.db.backend() != DatabaseBackend::Sqlite {
        opened = Some(app.db.begin_for(held).await?);
    }
    let reads = match &opened {
        Some(tx) => Reader::Within(tx),
        None => app.db.reads(),
    };
    let mut batch = Batch::load(&reads, app.now(), requests).await?;
    let mut judged = Vec::with_capacity(requests.len());
    for request in requests {
        judged.push(batch.judge(&reads, request).await);
    }
    if batch.keys.is_empty() {
        let unwritten = |_| Err(Failure::Internal(anyhow::anyhow!("queued without a key")));
        return Ok(judged.into_iter().map(|one| one.and_then(|one| one.reply(unwritten))).collect());
    }
    let tx = match opened {
        Some(tx) => tx,
        None => app.db.begin_for(held).await?,
    };
    let clients: BTreeSet<ClientId> = batch.entries.iter().map(|entry| entry.client_id).collect();
    let files = batch.entries.iter().any(|entry| entry.media_id.is_some());
    let positions = batch.write(app, tx).await?;
    for client in clients {
        app.lanes_wake.client(client);
    }
    if files {
        app.media.wake.notify_one();
    }
    let position = |place: usize| {
        let position = positions.get(place).copied();
        position.ok_or_else(|| Failure::Internal(anyhow::anyhow!("a key without a place")))
    };
    Ok(judged.into_iter().map(|one| one.and_then(|one| one.reply(position))).collect())
}

/// What was found right.
enum Judged {
    /// Its key was used before.
    Known(send_key::Model),
    /// The message, or the one reacted to; which of the batch's keys is its own.
    Queued(Box<message::Model>, usize),
}

impl Judged {
    fn reply(self, position: impl Fn(usize) -> Outcome<i64>) -> Outcome<Reply> {
        match self {
            Judged::Known(key) => Ok(Reply::Known(key)),
            Judged::Queued(message, place) => {
                Ok(Reply::Queued(Box::new(Sent { message: *message, position: position(place)? })))
            }
        }
    }
}

/// Where in the stream a key's answer is visible.
#[derive(Clone, Copy)]
enum Place {
    /// At an event of the batch.
    Event(usize),
    /// After so many of the batch's events of its partner.
    After(PartnerId, i64),
}

/// A conversation in memory.
struct Talk {
    row: conversation::Model,
    changed: bool,
}

/// What is asked of a contact.
#[derive(Deserialize)]
struct Person {
    id: ContactId,
    announced: bool,
    marketing_stopped: bool,
    marketing_at: Timestamp,
}

/// What the messages name, and what they leave.
struct Batch {
    now: Timestamp,
    used: HashMap<(ClientId, String), send_key::Model>,
    clients: HashMap<ClientId, client::Model>,
    names: HashMap<(ClientId, ContactKeyKind, String), ContactId>,
    people: HashMap<ContactId, Person>,
    talks: HashMap<ContactId, Talk>,
    templates: Vec<template::Model>,

    strangers: Vec<(contact::Model, contact_key::Model)>,
    announced: Vec<ContactId>,
    messages: Vec<message::Model>,
    entries: Vec<lane_entry::Model>,
    events: Vec<NewEvent>,
    /// Events of each partner.
    told: HashMap<PartnerId, i64>,
    keys: Vec<(send_key::Model, Place)>,
}

#[expect(clippy::disallowed_methods, reason = "rows of clients that came through the scopes of the requests")]
impl Batch {
    async fn load(reads: &Reader<'_>, now: Timestamp, requests: &[Request]) -> Result<Self, DbErr> {
        let clients: BTreeSet<ClientId> = requests.iter().map(|request| request.input.client).collect();
        let ids = db::padded(clients);
        let keys = db::padded(requests.iter().map(|request| request.input.idempotency_key.clone()));
        let used = send_key::Entity::find()
            .filter(send_key::Column::ClientId.is_in(ids.clone()))
            .filter(send_key::Column::Key.is_in(keys));
        let used = used.rows(reads).await?;
        let clients = client::Entity::find().filter(client::Column::Id.is_in(ids.clone()));
        let clients = clients.rows(reads).await?;
        let names: BTreeSet<&str> = requests.iter().map(|request| request.person.keys().0).collect();
        let names = contact_key::Entity::find()
            .filter(contact_key::Column::Value.is_in(db::padded(names)))
            .filter(contact_key::Column::ClientId.is_in(ids.clone()));
        let names = names.rows(reads).await?;
        let contacts: BTreeSet<ContactId> = names.iter().map(|key| key.contact_id).collect();
        let contacts = db::padded(contacts);
        let mut batch = Self {
            now,
            used: used.into_iter().map(|row| ((row.client_id, row.key.clone()), row)).collect(),
            clients: clients.into_iter().map(|row| (row.id, row)).collect(),
            names: names
                .into_iter()
                .map(|row| ((row.client_id, row.kind, row.value), row.contact_id))
                .collect(),
            people: HashMap::new(),
            talks: HashMap::new(),
            templates: Vec::new(),
            strangers: Vec::new(),
            announced: Vec::new(),
            messages: Vec::new(),
            entries: Vec::new(),
            events: Vec::new(),
            told: HashMap::new(),
            keys: Vec::new(),
        };
        if !contacts.is_empty() {
            let people = contact::Entity::find()
                .select_only()
                .columns([
                    contact::Column::Id,
                    contact::Column::Announced,
                    contact::Column::MarketingStopped,
                    contact::Column::MarketingAt,
                ])
                .filter(contact::Column::Id.is_in(contacts.clone()));
            let people: Vec<Person> = people.rows_as(reads).await?;
            batch.people = people.into_iter().map(|person| (person.id, person)).collect();
            let talks = conversation::Entity::find().filter(conversation::Column::ContactId.is_in(contacts));
            let talks = talks.rows(reads).await?;
            batch.talks =
                talks.into_iter().map(|row| (row.contact_id, Talk { row, changed: false })).collect();
        }
        let templates: BTreeSet<&str> =
            requests.iter().filter_map(|request| request.input.content.template()).collect();
        if !templates.is_empty() {
            let named = templates::queries::named(&ids, db::padded(templates));
            batch.templates = named.rows(reads).await?;
        }
        Ok(batch)
    }

    async fn judge(&mut self, reads: &Reader<'_>, request: &Request) -> Outcome<Judged> {
        let Request { scope, input, person, .. } = request;
        if let Some(known) = self.used.get(&(input.client, input.idempotency_key.clone())) {
            return Ok(Judged::Known(known.clone()));
        }
        let client = self.clients.get(&input.client).cloned();
        let client =
            client.ok_or_else(|| refuse(RefusalCode::NotFound, "clientId", "There is no such client."))?;
        check_client(&client)?;
        check_recipient(&client, person)?;
        let mut content = input.content.clone();
        if let Some(upload) = content.upload() {
            let leaves_at = input.send_at.unwrap_or(self.now);
            if let Some(name) = check_upload(reads, scope, client.id, &upload, leaves_at).await? {
                content.name_document(&name);
            }
        }
        let (mut talk, stranger) = self.talk_with(&client, person)?;
        let target = match (&content, input.reply_to) {
            (Outgoing::Reaction { message, .. }, _) => {
                Some(target(reads, scope, &talk, *message, "content.reaction.messageId").await?)
            }
            (_, Some(message)) => Some(target(reads, scope, &talk, message, "replyTo").await?),
            (_, None) => None,
        };
        if content.needs_window() {
            check_window(&talk, &client, self.now)?;
        }
        let mut words = None;
        if let Outgoing::Template { name, language, components } = &content {
            let template = pick(&self.templates, &client, name, language)?;
            if template.category == templates::MARKETING
                && let Some(person) = self.people.get(&talk.contact_id)
            {
                check_wants_marketing(person.marketing_stopped, person.marketing_at)?;
            }
            words = Some(fill(template, components.as_ref())?);
        }
        let draft = Draft { request, content: &content, client: &client, target, words, now: self.now };
        if let Outgoing::Reaction { emoji, .. } = &content {
            return self.queue_reaction(&draft, &talk, emoji.as_deref());
        }
        let message = draft.message(&talk)?;
        let is_newest = (self.now, Some(message.id)) > (talk.last_activity_at, talk.last_message_id);
        if is_newest {
            talk.last_activity_at = self.now;
            talk.last_message_id = Some(message.id);
        }
        // Answered: what came before is read.
        talk.read_at = Ord::max(talk.read_at, self.now);
        if is_newest {
            talk.unread_count = 0;
        } else if talk.unread_count > 0 {
            talk.unread_count = unread(reads, &talk).await?;
        }
        Ok(self.queue_message(&draft, message, talk, stranger))
    }

    /// The conversation with a person, and their rows if nothing was known of them. Somebody who is known by number alone may
    /// be new; a user id that is not known cannot be written to.
    fn talk_with(
        &self,
        client: &client::Model,
        person: &Named,
    ) -> Outcome<(conversation::Model, Option<(contact::Model, contact_key::Model)>)> {
        let (value, kinds) = person.keys();
        let known = |kind: &ContactKeyKind| self.names.get(&(client.id, *kind, value.to_owned())).copied();
        let known: Vec<ContactId> = kinds.iter().filter_map(known).collect();
        if let Some(talk) = known.iter().find_map(|contact| self.talks.get(contact)) {
            return Ok((talk.row.clone(), None));
        }
        match (known.first(), person) {
            (Some(contact), _) => Ok((resolve::blank(client, *contact, self.now), None)),
            (None, Named::Phone(number)) => {
                let rows = resolve::stranger(client, number, self.now);
                Ok((resolve::blank(client, rows.0.id, self.now), Some(rows)))
            }
            (None, Named::UserId(_)) => {
                let text = "This client has no contact with this WhatsApp user id.";
                Err(refuse(RefusalCode::NotFound, "to", text))
            }
        }
    }

    fn queue_message(
        &mut self,
        draft: &Draft<'_>,
        message: message::Model,
        talk: conversation::Model,
        stranger: Option<(contact::Model, contact_key::Model)>,
    ) -> Judged {
        if let Some((contact, key)) = stranger {
            let person = Person {
                id: contact.id,
                announced: false,
                marketing_stopped: false,
                marketing_at: contact.marketing_at,
            };
            self.people.insert(contact.id, person);
            self.names.insert((key.client_id, key.kind, key.value.clone()), contact.id);
            self.strangers.push((contact, key));
        }
        // Whoever is written to is shown with the message: told as a contact, if nobody was told of them yet, so that a
        // later merge of contacts is told too.
        if let Some(person) = self.people.get_mut(&talk.contact_id)
            && !person.announced
        {
            person.announced = true;
            self.announced.push(talk.contact_id);
            self.tell(draft, EventType::ContactAdded, talk.contact_id.uuid());
        }
        self.entries.push(draft.entry(message.id.uuid(), LaneEntryKind::Message, message.id, &talk));
        self.talks.insert(talk.contact_id, Talk { row: talk, changed: true });
        let event = self.tell(draft, EventType::MessageQueued, message.id.uuid());
        self.messages.push(message.clone());
        self.keys.push((draft.key(message.id), Place::Event(event)));
        Judged::Queued(Box::new(message), self.keys.len() - 1)
    }

    /// A reaction has no row of history: it lives on its target once WhatsApp took it, and waits in the lane until then.
    fn queue_reaction(
        &mut self,
        draft: &Draft<'_>,
        talk: &conversation::Model,
        emoji: Option<&str>,
    ) -> Outcome<Judged> {
        let Some(target) = draft.target.clone() else {
            return Err(Failure::Internal(anyhow::anyhow!("a reaction without its message")));
        };
        if emoji.is_some() && target.deleted_at.is_some() {
            let text = "The message was deleted; nobody can react to it any more.";
            return Err(refuse(RefusalCode::Invalid, "content.reaction.messageId", text));
        }
        if target.sent_at < self.now.plus_seconds(-DAYS_30) {
            let text = "WhatsApp takes reactions to messages of the last 30 days only.";
            return Err(refuse(RefusalCode::Invalid, "content.reaction.messageId", text));
        }
        let id = LaneEntryId::generate().uuid();
        self.entries.push(draft.entry(id, LaneEntryKind::Reaction, target.id, talk));
        let partner = draft.client.partner_id;
        let place = Place::After(partner, self.told.get(&partner).copied().unwrap_or_default());
        self.keys.push((draft.key(target.id), place));
        Ok(Judged::Queued(Box::new(target), self.keys.len() - 1))
    }

    fn tell(&mut self, draft: &Draft<'_>, kind: EventType, subject: Uuid) -> usize {
        let partner = draft.client.partner_id;
        *self.told.entry(partner).or_default() += 1;
        self.events.push(NewEvent {
            partner,
            kind,
            occurred_at: self.now,
            client: Some(draft.client.id),
            subject: Some(subject),
            data: None,
        });
        self.events.len() - 1
    }

    /// Writes it all, and gives the keys' places in the stream.
    async fn write(self, app: &App, tx: Tx) -> Result<Vec<i64>, DbErr> {
        let fresh: BTreeSet<ContactId> = self.strangers.iter().map(|(contact, _)| contact.id).collect();
        let (contacts, names): (Vec<contact::Model>, Vec<contact_key::Model>) =
            self.strangers.into_iter().unzip();
        let told = |contact: contact::Model| contact::Model { announced: true, ..contact };
        db::insert::<contact::Entity, _>(&tx, contacts.into_iter().map(told).collect()).await?;
        db::insert::<contact_key::Entity, _>(&tx, names).await?;
        let announced: Vec<ContactId> =
            self.announced.into_iter().filter(|contact| !fresh.contains(contact)).collect();
        if !announced.is_empty() {
            contact::Entity::update_many()
                .col_expr(contact::Column::Announced, Expr::value(true))
                .filter(contact::Column::Id.is_in(db::padded(announced)))
                .put(&tx)
                .await?;
        }
        let talks = self.talks.into_values().filter(|talk| talk.changed).map(|talk| talk.row);
        db::upsert::<conversation::Entity, _>(&tx, talks.collect()).await?;
        let rung = |message: &message::Model| message_status::Model {
            message_id: message.id,
            status: message.status,
            at: self.now,
            error: None,
        };
        let rungs = self.messages.iter().map(rung).collect();
        db::insert::<message::Entity, _>(&tx, self.messages).await?;
        db::insert::<message_status::Entity, _>(&tx, rungs).await?;
        lanes::queue(&tx, self.entries).await?;
        let others = self.keys.iter().filter_map(|(_, place)| match place {
            Place::Event(_) => None,
            Place::After(partner, _) => Some(*partner),
        });
        let (others, backend) = (others.collect(), tx.backend());
        let (keys, told) = (self.keys, self.told);
        let places: Vec<Place> = keys.iter().map(|(_, place)| *place).collect();
        let at = move |place: Place, numbered: &Numbered| match place {
            Place::Event(event) => numbered.positions.get(event).copied().unwrap_or_default(),
            Place::After(partner, before) => {
                let head = numbered.heads.get(&partner).copied().unwrap_or_default();
                head - told.get(&partner).copied().unwrap_or_default() + before
            }
        };
        let position = at.clone();
        let rest = move |numbered: &Numbered| {
            let row = |(key, place)| send_key::Model { position: position(place, numbered), ..key };
            let rows: Vec<send_key::Model> = keys.into_iter().map(row).collect();
            db::inserts::<send_key::Entity>(backend, &rows)
        };
        let numbered = events::commit_with(&app.hub, tx, self.events, others, rest).await?;
        Ok(places.into_iter().map(|place| at(place, &numbered)).collect())
    }
}

/// A message that is checked, ready to be queued.
struct Draft<'a> {
    request: &'a Request,
    content: &'a Outgoing,
    client: &'a client::Model,
    target: Option<message::Model>,
    /// Of a template: the filled-in body.
    words: Option<String>,
    now: Timestamp,
}

impl Draft<'_> {
    fn message(&self, talk: &conversation::Model) -> Outcome<message::Model> {
        let Some(mut content) = self.content.content() else {
            return Err(Failure::Internal(anyhow::anyhow!("a reaction is no message")));
        };
        if let Content::Template { text, .. } = &mut content {
            text.clone_from(&self.words);
        }
        let Request { scope, input, hash, .. } = self.request;
        Ok(message::Model {
            id: MessageId::generate(),
            partner_id: self.client.partner_id,
            client_id: self.client.id,
            conversation_id: talk.id,
            whatsapp_id: None,
            direction: MessageDirection::Outbound,
            origin: MessageOrigin::Api,
            imported: false,
            in_history: false,
            opens_window: false,
            sent_at: self.now,
            content: serde_json::to_value(&content)?,
            substance: content.substance() as i32,
            content_at: self.now,
            text: content.text().map(str::to_owned),
            status: MessageStatus::Queued,
            status_at: self.now,
            error: None,
            pricing: None,
            reply_to: self.target.as_ref().and_then(|target| target.whatsapp_id.clone()),
            reply_to_id: self.target.as_ref().map(|target| target.id),
            forwarded: false,
            edited_at: None,
            deleted_at: None,
            idempotency_key: Some(input.idempotency_key.clone()),
            request_hash: Some(hash.clone()),
            sent_by: Some(json!({ "kind": "API_KEY", "id": scope.key().public() })),
            created_at: self.now,
        })
    }

    /// What goes on the wire. `id` comes back with each status.
    fn wire(&self, id: &str) -> Value {
        let mut request = json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "biz_opaque_callback_data": id,
        });
        match &self.request.person {
            Named::Phone(number) => request["to"] = json!(number),
            Named::UserId(id) => request["recipient"] = json!(id),
        }
        let target = self.target.as_ref().and_then(|message| message.whatsapp_id.as_deref());
        let (kind, content) = self.content.wire(target);
        request["type"] = json!(kind);
        request[kind] = content;
        if matches!(self.content, Outgoing::Reaction { .. }) {
            return request;
        }
        if let Some(target) = target {
            request["context"] = json!({ "message_id": target });
        }
        request
    }

    /// Not before `sendAt`.
    fn due_at(&self) -> Timestamp {
        self.request.input.send_at.map_or(self.now, |send_at| Ord::max(send_at, self.now))
    }

    fn entry(
        &self,
        id: Uuid,
        kind: LaneEntryKind,
        message: MessageId,
        talk: &conversation::Model,
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
            conversation_id: talk.id,
            urgent: self.content.needs_window(),
            due_at: self.due_at(),
            sending: false,
            fence: 0,
            attempts: 0,
            not_before: self.due_at(),
            request: self.wire(&callback),
            media_id: self.content.upload().map(|upload| upload.id),
        }
    }

    /// Its place in the stream is not known before it is written.
    fn key(&self, message: MessageId) -> send_key::Model {
        send_key::Model {
            client_id: self.client.id,
            key: self.request.input.idempotency_key.clone(),
            request_hash: self.request.hash.clone(),
            message_id: message,
            position: 0,
            created_at: Clock::real_now(),
        }
    }
}

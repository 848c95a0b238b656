//! The rows that a batch of changes works on: read at once, changed in memory, written back at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;

use entity::{
    ClientId, ContactId, ContactKeyKind, ConversationId, EventType, LaneEntryKind, MessageId, MessageStatus,
    PartnerId, ReactionBy, SyncKind, Timestamp, client, contact, contact_key, conversation, lane_entry,
    message, message_key, message_status, pending, reaction, sync, template,
};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query, SelectStatement};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, Select, Set,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::waiting::{Named, as_change};
use super::{ApplyError, Halt, Interrupt, Routed};
use crate::app::App;
use crate::db::{self, Reader, SelectExt, Sql, Tx, WriteExt};
use crate::events::NewEvent;
use crate::ids::PublicId;
use crate::media::keep;
use crate::messages::PLACE;
use crate::messages::content::Content;
use crate::upstream::change::{Author, ChangeKind, Party, Via};
use crate::upstream::meta::{common_part, message_token};

/// Values in one IN list: far below SQLite's and Postgres's limits on parameters.
const IN_LIST: usize = 1024;

/// A row in memory.
#[derive(Clone, Debug)]
pub(crate) struct Row<M> {
    pub(crate) model: M,
    /// Differs from the database.
    pub(crate) dirty: bool,
}

impl<M> Row<M> {
    fn stored(model: M) -> Self {
        Self { model, dirty: false }
    }

    pub(crate) fn new(model: M) -> Self {
        Self { model, dirty: true }
    }
}

/// A change that waits for its message.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) model: pending::Model,
    /// Not in the database yet.
    fresh: bool,
    /// Its message came: it is gone.
    done: bool,
}

type ContactName = (ClientId, ContactKeyKind, String);

/// The values of [`PLACE`].
type Place = (ClientId, ConversationId, Timestamp);

fn place(message: &message::Model) -> Place {
    (message.client_id, message.conversation_id, message.sent_at)
}

/// The rows of a batch.
pub struct Work<'a> {
    pub(crate) app: &'a App,
    /// None while the writer is not taken yet: nothing may be written beside the rows that are held here.
    pub(crate) tx: Option<&'a Tx>,
    reads: Reader<'a>,
    pub(crate) now: Timestamp,
    pub(crate) clients: HashMap<ClientId, Row<client::Model>>,
    contact_keys: HashMap<ContactName, Row<contact_key::Model>>,
    pub(crate) contacts: HashMap<ContactId, Row<contact::Model>>,
    conversations: HashMap<ConversationId, Row<conversation::Model>>,
    conversation_of: HashMap<ContactId, ConversationId>,
    message_keys: HashMap<(ClientId, String), MessageId>,
    new_keys: Vec<message_key::Model>,
    tokens: HashMap<(ClientId, String), BTreeSet<MessageId>>,
    pub(crate) messages: HashMap<MessageId, Row<message::Model>>,
    /// Where messages stood in the database.
    places: HashMap<MessageId, Place>,
    pub(crate) reactions: HashMap<(MessageId, ReactionBy), Row<reaction::Model>>,
    waiting: Vec<Waiting>,
    syncs: HashMap<(ClientId, SyncKind), Row<sync::Model>>,
    /// By the upstream's ids.
    pub(crate) templates: HashMap<(ClientId, String), Row<template::Model>>,
    statuses: BTreeMap<(MessageId, &'static str), message_status::Model>,
    /// What API sends say that have no WhatsApp id yet: an echo that says the same waits.
    unsettled: HashMap<ConversationId, Vec<Content>>,
    /// Messages whose content is new: it may speak of a file.
    told: BTreeSet<MessageId>,
    /// Messages whose words are gone: their files go too.
    deleted: BTreeSet<MessageId>,
    recount: BTreeSet<ConversationId>,
    refresh: BTreeSet<ConversationId>,
    /// Contacts that took a name over from another: what waits under it may find their messages now.
    renamed: BTreeSet<ContactId>,
    /// Clients whose phone book was heard of for the first time: told once all that came along is counted.
    pub(super) phone_books: BTreeSet<ClientId>,
    /// WhatsApp ids that name a message now and did not before: what waits for them is applied next.
    pub(crate) named: VecDeque<Named>,
    pub(crate) events: Vec<NewEvent>,
}

/// What the changes of a batch speak of.
#[derive(Default)]
struct Names {
    clients: BTreeSet<ClientId>,
    contacts: BTreeSet<String>,
    /// Of WhatsApp ids what all ids of a message have in common.
    tokens: BTreeSet<String>,
    callbacks: BTreeSet<MessageId>,
    /// The upstream's ids.
    templates: BTreeSet<String>,
    has_echo: bool,
    needs_syncs: bool,
}

impl Names {
    fn party(&mut self, party: &Party) {
        for name in [&party.phone_number, &party.user_id, &party.parent_user_id].into_iter().flatten() {
            self.contacts.insert(name.clone());
        }
    }

    fn message(&mut self, whatsapp_id: &str) {
        self.tokens.insert(common_part(whatsapp_id));
    }

    fn of(changes: &[Routed]) -> Self {
        let mut names = Self::default();
        for routed in changes {
            names.clients.insert(routed.client);
            names.change(&routed.change.kind);
        }
        names
    }

    fn change(&mut self, kind: &ChangeKind) {
        match kind {
            ChangeKind::Message(seen) => {
                self.party(&seen.customer);
                self.message(&seen.whatsapp_id);
                self.has_echo |= seen.via == Via::Live && seen.author == Author::App;
                self.needs_syncs |= seen.via == Via::History;
            }
            ChangeKind::Status(status) => {
                self.party(&status.customer);
                self.message(&status.whatsapp_id);
                self.callbacks.extend(status.callback_data.as_deref().and_then(MessageId::parse));
            }
            ChangeKind::Edit(edit) => {
                self.party(&edit.customer);
                self.message(&edit.target);
            }
            ChangeKind::Delete(delete) => {
                self.party(&delete.customer);
                self.message(&delete.target);
            }
            ChangeKind::Reaction(reaction) => {
                self.party(&reaction.customer);
                self.message(&reaction.target);
            }
            ChangeKind::PhoneBook(entry) => {
                self.party(&entry.party);
                self.needs_syncs = true;
            }
            ChangeKind::Identity(identity) => {
                self.party(&identity.before);
                self.party(&identity.after);
            }
            ChangeKind::Preference(preference) => self.party(&preference.customer),
            ChangeKind::Template(template) => {
                self.templates.insert(template.upstream_id.clone());
            }
            ChangeKind::HistoryChunk(_) | ChangeKind::HistoryDeclined(_) => self.needs_syncs = true,
            ChangeKind::Account(_) | ChangeKind::Notice(_) | ChangeKind::Ignored(_) => {}
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the engine addresses rows by client and by names that its bodies carry"
)]
impl<'a> Work<'a> {
    /// Reads all rows that the changes name, within the transaction or before it. `named`: ids that were given to messages
    /// elsewhere.
    pub(crate) async fn load(
        app: &'a App,
        tx: Option<&'a Tx>,
        changes: &[Routed],
        named: VecDeque<Named>,
    ) -> Result<Self, ApplyError> {
        let mut names = Names::of(changes);
        for one in &named {
            names.clients.insert(one.client);
            names.message(&one.whatsapp_id);
        }
        let mut work = Self {
            app,
            tx,
            reads: tx.map_or(app.db.reads(), Reader::Within),
            now: app.now(),
            clients: HashMap::new(),
            contact_keys: HashMap::new(),
            contacts: HashMap::new(),
            conversations: HashMap::new(),
            conversation_of: HashMap::new(),
            message_keys: HashMap::new(),
            new_keys: Vec::new(),
            tokens: HashMap::new(),
            messages: HashMap::new(),
            places: HashMap::new(),
            reactions: HashMap::new(),
            waiting: Vec::new(),
            syncs: HashMap::new(),
            templates: HashMap::new(),
            statuses: BTreeMap::new(),
            unsettled: HashMap::new(),
            told: BTreeSet::new(),
            deleted: BTreeSet::new(),
            recount: BTreeSet::new(),
            refresh: BTreeSet::new(),
            renamed: BTreeSet::new(),
            phone_books: BTreeSet::new(),
            named,
            events: Vec::new(),
        };
        work.load_clients(&names).await?;
        if names.needs_syncs {
            let clients = names.clients.iter().copied();
            let rows = work.rows(sync::Entity::find().filter(sync::Column::ClientId.is_in(clients))).await?;
            work.syncs.extend(rows.into_iter().map(|row| ((row.client_id, row.kind), Row::stored(row))));
        }
        work.load_templates(&names).await?;
        work.load_waiting(&names).await?;
        for waiting in &work.waiting {
            names.change(&as_change(&waiting.model)?.change.kind);
        }
        let known = work.load_keys(&names).await?;
        work.load_messages(&names, known).await?;
        work.load_contacts(&names).await?;
        if names.has_echo {
            work.load_unsettled().await?;
        }
        Ok(work)
    }

    async fn rows<E>(&self, select: Select<E>) -> Result<Vec<E::Model>, DbErr>
    where
        E: EntityTrait,
        E::Model: DeserializeOwned + 'static,
    {
        select.rows(&self.reads).await
    }

    async fn load_clients(&mut self, names: &Names) -> Result<(), DbErr> {
        let ids: Vec<ClientId> = names.clients.iter().copied().collect();
        for chunk in ids.chunks(IN_LIST) {
            let found =
                client::Entity::find().filter(client::Column::Id.is_in(db::padded(chunk.iter().copied())));
            let rows = self.rows(found).await?;
            self.clients.extend(rows.into_iter().map(|row| (row.id, Row::stored(row))));
        }
        Ok(())
    }

    async fn load_templates(&mut self, names: &Names) -> Result<(), DbErr> {
        let clients: Vec<ClientId> = names.clients.iter().copied().collect();
        for chunk in chunks(&names.templates) {
            let found = template::Entity::find()
                .filter(template::Column::ClientId.is_in(db::padded(clients.iter().copied())))
                .filter(template::Column::UpstreamId.is_in(chunk));
            let rows = self.rows(found).await?.into_iter();
            self.templates
                .extend(rows.map(|row| ((row.client_id, row.upstream_id.clone()), Row::stored(row))));
        }
        Ok(())
    }

    /// Message keys; returns the messages they name.
    async fn load_keys(&mut self, names: &Names) -> Result<BTreeSet<MessageId>, DbErr> {
        let mut known = BTreeSet::new();
        let mut rows = Vec::new();
        for chunk in chunks(&names.tokens) {
            let found = message_key::Entity::find().filter(message_key::Column::Token.is_in(chunk));
            rows.extend(self.rows(found).await?);
        }
        for row in rows {
            if names.clients.contains(&row.client_id) {
                known.insert(row.message_id);
                self.remember_key(&row);
            }
        }
        Ok(known)
    }

    fn remember_key(&mut self, row: &message_key::Model) {
        self.tokens.entry((row.client_id, row.token.clone())).or_default().insert(row.message_id);
        self.message_keys.insert((row.client_id, row.whatsapp_id.clone()), row.message_id);
    }

    async fn load_waiting(&mut self, names: &Names) -> Result<(), DbErr> {
        let mut seen = HashSet::new();
        let mut rows = Vec::new();
        for chunk in chunks(&names.tokens) {
            let found = pending::Entity::find().filter(pending::Column::Token.is_in(chunk));
            rows.extend(self.rows(found).await?);
        }
        for model in rows {
            if names.clients.contains(&model.client_id)
                && seen.insert((model.client_id, model.target.clone(), model.hash.clone()))
            {
                self.waiting.push(Waiting { model, fresh: false, done: false });
            }
        }
        Ok(())
    }

    async fn load_messages(&mut self, names: &Names, known: BTreeSet<MessageId>) -> Result<(), DbErr> {
        let ids: Vec<MessageId> = known.into_iter().chain(names.callbacks.iter().copied()).collect();
        for chunk in ids.chunks(IN_LIST) {
            let found =
                message::Entity::find().filter(message::Column::Id.is_in(db::padded(chunk.iter().copied())));
            let rows = self.rows(found).await?;
            for row in rows.into_iter().filter(|row| names.clients.contains(&row.client_id)) {
                self.places.insert(row.id, place(&row));
                self.messages.insert(row.id, Row::stored(row));
            }
            let found = reaction::Entity::find()
                .filter(reaction::Column::MessageId.is_in(db::padded(chunk.iter().copied())));
            for row in self.rows(found).await? {
                self.reactions.insert((row.message_id, row.by), Row::stored(row));
            }
        }
        Ok(())
    }

    async fn load_contacts(&mut self, names: &Names) -> Result<(), DbErr> {
        let mut ids = BTreeSet::new();
        for chunk in chunks(&names.contacts) {
            let found = contact_key::Entity::find().filter(contact_key::Column::Value.is_in(chunk));
            for row in
                self.rows(found).await?.into_iter().filter(|row| names.clients.contains(&row.client_id))
            {
                ids.insert(row.contact_id);
                self.contact_keys.insert((row.client_id, row.kind, row.value.clone()), Row::stored(row));
            }
        }
        let conversations: BTreeSet<ConversationId> =
            self.messages.values().map(|row| row.model.conversation_id).collect();
        let conversations: Vec<ConversationId> = conversations.into_iter().collect();
        for chunk in conversations.chunks(IN_LIST) {
            let found = conversation::Entity::find()
                .filter(conversation::Column::Id.is_in(db::padded(chunk.iter().copied())));
            for row in self.rows(found).await? {
                ids.insert(row.contact_id);
                self.remember_conversation(row);
            }
        }
        let ids: Vec<ContactId> = ids.into_iter().collect();
        for chunk in ids.chunks(IN_LIST) {
            let found =
                contact::Entity::find().filter(contact::Column::Id.is_in(db::padded(chunk.iter().copied())));
            self.contacts.extend(self.rows(found).await?.into_iter().map(|row| (row.id, Row::stored(row))));
            let found = conversation::Entity::find()
                .filter(conversation::Column::ContactId.is_in(db::padded(chunk.iter().copied())));
            for row in self.rows(found).await? {
                self.remember_conversation(row);
            }
        }
        Ok(())
    }

    fn remember_conversation(&mut self, row: conversation::Model) {
        self.conversation_of.insert(row.contact_id, row.id);
        self.conversations.entry(row.id).or_insert_with(|| Row::stored(row));
    }

    /// What the conversations' API sends say whose WhatsApp id is not known yet (invariant 2).
    async fn load_unsettled(&mut self) -> Result<(), DbErr> {
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        let recently = self.now.plus_seconds(-60);
        for chunk in ids.chunks(IN_LIST) {
            let on_the_wire: SelectStatement = Query::select()
                .column(lane_entry::Column::MessageId)
                .from(lane_entry::Entity)
                .and_where(lane_entry::Column::ConversationId.is_in(db::padded(chunk.iter().copied())))
                .and_where(lane_entry::Column::Sending.eq(true))
                .and_where(lane_entry::Column::Kind.eq(LaneEntryKind::Message))
                .to_owned();
            let sending: SelectStatement = Query::select()
                .columns([message::Column::ConversationId, message::Column::Content])
                .from(message::Entity)
                .and_where(message::Column::Id.in_subquery(on_the_wire))
                .to_owned();
            let unknown: SelectStatement = Query::select()
                .columns([message::Column::ConversationId, message::Column::Content])
                .from(message::Entity)
                .and_where(message::Column::ConversationId.is_in(db::padded(chunk.iter().copied())))
                .and_where(message::Column::SentAt.gt(recently.plus_seconds(-3600)))
                .and_where(message::Column::Status.eq(MessageStatus::Unknown))
                .and_where(message::Column::StatusAt.gt(recently))
                .and_where(message::Column::WhatsappId.is_null())
                .to_owned();
            for sent in [sending, unknown] {
                for row in self.reads.read::<Unsettled>(db::built(&self.reads, &sent)).await? {
                    let content =
                        Content::deserialize(&row.content).map_err(|error| DbErr::Json(error.to_string()))?;
                    self.unsettled.entry(row.conversation_id).or_default().push(content);
                }
            }
        }
        Ok(())
    }

    /// Writes everything back. The events go to the caller: they are numbered last. Returns the conversations whose contact
    /// took a name over.
    pub(crate) async fn flush(
        self,
        tx: &Tx,
        events: &mut Vec<NewEvent>,
    ) -> Result<Vec<(ClientId, ConversationId)>, ApplyError> {
        let renamed = self
            .renamed
            .iter()
            .filter_map(|contact| {
                Some((self.contacts.get(contact)?.model.client_id, *self.conversation_of.get(contact)?))
            })
            .collect();
        let told = self.told.iter().filter_map(|id| self.messages.get(id));
        let files = told.filter_map(|row| keep::of_message(&row.model, self.now)).collect();
        keep::tell_of(tx, files).await?;
        keep::let_go(tx, &self.deleted).await?;
        db::upsert::<client::Entity, _>(tx, dirty(self.clients)).await?;
        db::upsert::<sync::Entity, _>(tx, dirty(self.syncs)).await?;
        db::upsert::<template::Entity, _>(tx, dirty(self.templates)).await?;
        db::upsert::<contact::Entity, _>(tx, dirty(self.contacts)).await?;
        db::upsert::<contact_key::Entity, _>(tx, dirty(self.contact_keys)).await?;
        db::upsert::<conversation::Entity, _>(tx, dirty(self.conversations)).await?;
        let (stayed, moved): (Vec<_>, Vec<_>) = dirty(self.messages)
            .into_iter()
            .partition(|row| self.places.get(&row.id).is_some_and(|before| *before == place(row)));
        db::update::<message::Entity, _>(tx, stayed, &PLACE).await?;
        db::upsert::<message::Entity, _>(tx, moved).await?;
        db::upsert::<message_key::Entity, _>(tx, self.new_keys).await?;
        db::upsert::<reaction::Entity, _>(tx, dirty(self.reactions)).await?;
        write_statuses(self.app, tx, self.statuses.into_values().collect()).await?;
        let (fresh, done): (Vec<_>, Vec<_>) = self
            .waiting
            .into_iter()
            .filter(|waiting| waiting.fresh != waiting.done)
            .partition(|waiting| waiting.fresh);
        db::upsert::<pending::Entity, _>(tx, fresh.into_iter().map(|waiting| waiting.model).collect())
            .await?;
        for waiting in done {
            let key = (waiting.model.client_id, waiting.model.target, waiting.model.hash);
            pending::Entity::delete_by_id(key).put(tx).await?;
        }
        recount_unread(tx, &self.recount).await?;
        refresh(tx, &self.refresh).await?;
        events.extend(self.events);
        Ok(renamed)
    }
}

impl<'a> Work<'a> {
    /// The transaction, for a change that writes more than the rows that it names. Before there is one the batch stops and
    /// comes again with it.
    pub(crate) fn transaction(&self) -> Result<&'a Tx, Halt> {
        self.tx.ok_or(Halt::Interrupt(Interrupt::Transaction))
    }

    /// The partner of a client in this batch.
    pub(crate) fn partner(&self, client: ClientId) -> Option<PartnerId> {
        self.clients.get(&client).map(|row| row.model.partner_id)
    }

    /// Tells something, when the transaction commits.
    pub(crate) fn tell(
        &mut self,
        client: ClientId,
        kind: EventType,
        occurred_at: Timestamp,
        subject: Option<Uuid>,
        data: Option<Value>,
    ) {
        if let Some(partner) = self.partner(client) {
            self.events.push(NewEvent { partner, kind, occurred_at, client: Some(client), subject, data });
        }
    }

    /// The contact that a name stands for.
    pub(crate) fn contact_by(
        &self,
        client: ClientId,
        kind: ContactKeyKind,
        value: &str,
    ) -> Option<ContactId> {
        self.contact_keys.get(&(client, kind, value.to_owned())).map(|row| row.model.contact_id)
    }

    /// When a name was last seen with its contact.
    pub(crate) fn name_seen_at(&self, client: ClientId, kind: ContactKeyKind, value: &str) -> Timestamp {
        self.contact_keys.get(&(client, kind, value.to_owned())).map_or(Timestamp(0), |row| row.model.seen_at)
    }

    /// Lets a name stand for a contact from now on.
    pub(crate) fn name(
        &mut self,
        client: ClientId,
        kind: ContactKeyKind,
        value: &str,
        contact: ContactId,
        seen_at: Timestamp,
    ) {
        let model = contact_key::Model {
            value: value.to_owned(),
            kind,
            client_id: client,
            contact_id: contact,
            seen_at,
        };
        let known = self.contact_keys.insert((client, kind, value.to_owned()), Row::new(model));
        // A new name needs no second look: whoever is named has a row from then on, so nothing waits under it.
        if known.is_some_and(|known| known.model.contact_id != contact) {
            self.renamed.insert(contact);
        }
    }

    /// Adds a contact.
    pub(crate) fn add_contact(&mut self, model: contact::Model) -> ContactId {
        let id = model.id;
        self.contacts.insert(id, Row::new(model));
        id
    }

    /// The conversation with a contact, made if there is none.
    pub(crate) fn conversation_with(
        &mut self,
        client: ClientId,
        contact: ContactId,
    ) -> Option<ConversationId> {
        if let Some(id) = self.conversation_of.get(&contact) {
            return Some(*id);
        }
        let model = conversation::Model {
            id: ConversationId::generate(),
            partner_id: self.partner(client)?,
            client_id: client,
            contact_id: contact,
            last_activity_at: Timestamp(0),
            last_message_id: None,
            window_opened_at: None,
            window_message_id: None,
            window_refused_at: None,
            read_at: Timestamp(0),
            unread_count: 0,
            created_at: self.now,
        };
        let id = model.id;
        self.conversation_of.insert(contact, id);
        self.conversations.insert(id, Row::new(model));
        Some(id)
    }

    /// The conversation with a contact, if there is one.
    pub(crate) fn conversation_of(&self, contact: ContactId) -> Option<ConversationId> {
        self.conversation_of.get(&contact).copied()
    }

    /// Changes a conversation.
    pub(crate) fn conversation_mut(&mut self, id: ConversationId) -> Option<&mut conversation::Model> {
        let row = self.conversations.get_mut(&id)?;
        row.dirty = true;
        Some(&mut row.model)
    }

    /// Whether an echo may be that of an API send in this conversation that has no WhatsApp id yet.
    pub(crate) fn may_be_ours(&self, id: ConversationId, echo: &Content) -> bool {
        self.unsettled.get(&id).is_some_and(|sent| sent.iter().any(|sent| sent.may_show_as(echo)))
    }

    /// The message that goes by this very WhatsApp id.
    pub(crate) fn message_by(&self, client: ClientId, whatsapp_id: &str) -> Option<MessageId> {
        self.message_keys.get(&(client, whatsapp_id.to_owned())).copied()
    }

    /// Messages with the same trailing part of an id, in one conversation or in all of the client's. Several in one
    /// conversation are rows that prove to be one (invariant 2).
    pub(crate) fn alike(
        &self,
        client: ClientId,
        whatsapp_id: &str,
        within: Option<ConversationId>,
    ) -> Vec<MessageId> {
        let Some(alike) = message_token(whatsapp_id).and_then(|token| self.tokens.get(&(client, token)))
        else {
            return Vec::new();
        };
        let fits =
            |id: &&MessageId| within.is_none_or(|within| self.conversation_of_message(**id) == Some(within));
        alike.iter().filter(fits).copied().collect()
    }

    /// The conversation that a message belongs to.
    pub(crate) fn conversation_of_message(&self, id: MessageId) -> Option<ConversationId> {
        self.messages.get(&id).map(|row| row.model.conversation_id)
    }

    /// The person of a conversation.
    pub(crate) fn contact_of(&self, id: ConversationId) -> Option<ContactId> {
        self.conversations.get(&id).map(|row| row.model.contact_id)
    }

    /// Lets a WhatsApp id stand for a message.
    pub(crate) fn key(&mut self, client: ClientId, whatsapp_id: &str, message: MessageId) {
        if self.message_keys.contains_key(&(client, whatsapp_id.to_owned())) {
            return;
        }
        let row = message_key::Model {
            token: common_part(whatsapp_id),
            client_id: client,
            whatsapp_id: whatsapp_id.to_owned(),
            message_id: message,
        };
        self.remember_key(&row);
        self.new_keys.push(row);
        self.named.push_back(Named { client, whatsapp_id: whatsapp_id.to_owned() });
    }

    /// Adds a message.
    pub(crate) fn add_message(&mut self, model: message::Model) -> MessageId {
        let id = model.id;
        self.messages.insert(id, Row::new(model));
        id
    }

    /// Notes a rung of the ladder.
    pub(crate) fn note_status(
        &mut self,
        message: MessageId,
        status: MessageStatus,
        at: Timestamp,
        error: Option<Value>,
    ) {
        let row = self.statuses.entry((message, status.word())).or_insert_with(|| message_status::Model {
            message_id: message,
            status,
            at,
            error: None,
        });
        row.at = Ord::min(row.at, at);
        // The message holds the greatest of its errors: the last word is the greatest one.
        row.error = error.or(row.error.take());
    }

    /// The content of a message is new.
    pub(crate) fn tell_content(&mut self, id: MessageId) {
        self.told.insert(id);
    }

    /// The content of a message is gone.
    pub(crate) fn forget_content(&mut self, id: MessageId) {
        self.deleted.insert(id);
    }

    /// Customer messages of this conversation are counted anew when the batch is written.
    pub(crate) fn recount(&mut self, conversation: ConversationId) {
        self.recount.insert(conversation);
    }

    /// A message of this conversation proved to be older than it looked: what follows from its messages is found anew when
    /// the batch is written.
    pub(crate) fn refresh(&mut self, conversation: ConversationId) {
        self.refresh.insert(conversation);
    }

    /// Lets a change wait for its message, or wait on.
    pub(crate) fn wait(
        &mut self,
        client: ClientId,
        target: &str,
        change: &Value,
        retry_at: Option<Timestamp>,
    ) {
        use sha2::Digest;
        let hash = hex::encode(sha2::Sha256::digest(change.to_string().as_bytes()));
        let known = self.waiting.iter_mut().find(|waiting| {
            waiting.model.client_id == client && waiting.model.target == target && waiting.model.hash == hash
        });
        if let Some(known) = known {
            known.done = false;
        } else {
            let model = pending::Model {
                client_id: client,
                target: target.to_owned(),
                hash,
                token: common_part(target),
                change: change.clone(),
                received_at: self.now,
                retry_at,
            };
            self.waiting.push(Waiting { model, fresh: true, done: false });
        }
    }

    /// The changes that wait for this message, by any of its ids: their places, for [`Work::waiting`].
    pub(crate) fn waiting_for(&self, client: ClientId, whatsapp_id: &str) -> Vec<usize> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let token = common_part(whatsapp_id);
        let fits = |waiting: &Waiting| {
            waiting.model.client_id == client && waiting.model.token == token && !waiting.done
        };
        self.waiting.iter().enumerate().filter(|(_, waiting)| fits(waiting)).map(|(place, _)| place).collect()
    }

    /// A change that waits, taken out; none if it no longer does. Where it still does not fit, it is made to wait on.
    pub(crate) fn take_waiting(&mut self, place: usize) -> Option<Value> {
        let waiting = self.waiting.get_mut(place).filter(|waiting| !waiting.done)?;
        waiting.done = true;
        Some(waiting.model.change.clone())
    }

    /// It could not be applied yet.
    pub(crate) fn put_back_waiting(&mut self, place: usize) {
        if let Some(waiting) = self.waiting.get_mut(place) {
            waiting.done = false;
        }
    }

    /// An import of a client, if it has a row.
    pub(crate) fn sync_mut(&mut self, client: ClientId, kind: SyncKind) -> Option<&mut sync::Model> {
        let row = self.syncs.get_mut(&(client, kind))?;
        row.dirty = true;
        Some(&mut row.model)
    }
}

/// Rungs of the ladder: each once, with the earliest instant that was told, and the error that the message holds.
pub(crate) async fn write_statuses<C: Sql>(
    app: &App,
    tx: &C,
    rows: Vec<message_status::Model>,
) -> Result<(), DbErr> {
    if rows.is_empty() {
        return Ok(());
    }
    let at = |table: &str| Expr::cust(format!("{table}.\"at\""));
    let earliest = db::least(app.db.backend(), at("message_status"), at("excluded"));
    let conflict = OnConflict::columns([message_status::Column::MessageId, message_status::Column::Status])
        .value(message_status::Column::At, earliest)
        .value(message_status::Column::Error, Expr::cust("coalesce(excluded.error, message_status.error)"))
        .to_owned();
    for chunk in rows.chunks(IN_LIST) {
        let rows = chunk.iter().cloned().map(|row| row.into_active_model().reset_all());
        message_status::Entity::insert_many(rows).on_conflict(conflict.clone()).put(tx).await?;
    }
    Ok(())
}

/// Counts the unread customer messages of conversations whose read mark moved.
pub(crate) async fn recount_unread<C: Sql>(
    tx: &C,
    conversations: &BTreeSet<ConversationId>,
) -> Result<(), DbErr> {
    if conversations.is_empty() {
        return Ok(());
    }
    let unread = Query::select()
        .expr(Expr::cust("count(*)"))
        .from(message::Entity)
        .and_where(
            Expr::col((message::Entity, message::Column::ConversationId))
                .equals((conversation::Entity, conversation::Column::Id)),
        )
        .and_where(
            Expr::col((message::Entity, message::Column::SentAt))
                .gt(Expr::col((conversation::Entity, conversation::Column::ReadAt))),
        )
        .and_where(message::Column::Direction.eq(entity::MessageDirection::Inbound))
        .and_where(message::Column::Imported.eq(false))
        .to_owned();
    let update = Query::update()
        .table(conversation::Entity)
        .value(conversation::Column::UnreadCount, Expr::from(unread))
        .and_where(conversation::Column::Id.is_in(conversations.iter().copied()))
        .to_owned();
    tx.put(db::built(tx, &update)).await
}

#[derive(Deserialize)]
struct Newest {
    sent_at: Timestamp,
    id: MessageId,
}

/// A message on the wire, or one of which nobody knows whether it arrived.
#[derive(Deserialize)]
struct Unsettled {
    conversation_id: ConversationId,
    content: Value,
}

/// Finds anew what conversations say of their messages: the last one, the one that opened the window, how many are unread.
pub(crate) async fn refresh<C: Sql>(tx: &C, conversations: &BTreeSet<ConversationId>) -> Result<(), DbErr> {
    for id in conversations {
        let newest = |of: Condition| {
            #[expect(
                clippy::disallowed_methods,
                reason = "the messages of a conversation of the batch, by its id"
            )]
            let newest = message::Entity::find()
                .select_only()
                .columns([message::Column::SentAt, message::Column::Id])
                .filter(message::Column::ConversationId.eq(*id))
                .filter(of)
                .order_by_desc(message::Column::SentAt)
                .order_by_desc(message::Column::Id)
                .limit(1);
            newest.rows_as::<Newest, _>(tx)
        };
        let last = newest(Condition::all()).await?.into_iter().next();
        let opens = Condition::all()
            .add(message::Column::Direction.eq(entity::MessageDirection::Inbound))
            .add(message::Column::Imported.eq(false))
            .add(message::Column::OpensWindow.eq(true));
        let window = newest(opens).await?.into_iter().next();
        let found = conversation::ActiveModel {
            last_activity_at: Set(last.as_ref().map_or(Timestamp(0), |last| last.sent_at)),
            last_message_id: Set(last.map(|last| last.id)),
            window_opened_at: Set(window.as_ref().map(|window| window.sent_at)),
            window_message_id: Set(window.map(|window| window.id)),
            ..Default::default()
        };
        #[expect(clippy::disallowed_methods, reason = "a conversation of the batch, by its id")]
        conversation::Entity::update_many()
            .set(found)
            .filter(conversation::Column::Id.eq(*id))
            .put(tx)
            .await?;
    }
    recount_unread(tx, conversations).await
}

fn chunks(names: &BTreeSet<String>) -> Vec<Vec<String>> {
    let names: Vec<String> = names.iter().cloned().collect();
    names.chunks(IN_LIST).map(|chunk| db::padded(chunk.iter().cloned())).collect()
}

fn dirty<K: Hash + Eq, M>(rows: HashMap<K, Row<M>>) -> Vec<M> {
    rows.into_values().filter(|row| row.dirty).map(|row| row.model).collect()
}

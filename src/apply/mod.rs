//! From what an upstream tells to rows and events, in one transaction (invariants 2 to 5 and 10).
//!
//! Every rule here is idempotent and commutative: the same changes in any order, any number of times and in any split
//! into batches end in the same rows. What makes it so is that no rule asks "what came last?", only "which is
//! greater?": by WhatsApp's own stamp, then by kind, then by bytes. What cannot be compared yet, because the message it
//! speaks of is not there, waits in `pending`.
//!
//! A batch is a [`work::Work`]: all rows that its changes name are read with a constant number of statements, changed in
//! memory, and written back with a constant number. Two rows that prove to be one interrupt it: what was done so far is
//! written, the rows are merged by statements of their own, and the rest goes on with what is then in the database.

mod account;
mod contacts;
pub mod engine;
mod leader;
pub mod merge;
mod messages;
mod route;
mod sync;
pub mod work;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use entity::{ClientId, Timestamp};
use sea_orm::{DatabaseTransaction, DbErr};
use thiserror::Error;

use crate::app::App;
use crate::events::{self, NewEvent};
use crate::upstream::change::{Change, ChangeKind};

pub(crate) use sync::{progress, settles};
use work::Work;

/// A change and whom it concerns.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The client.
    pub client: ClientId,
    /// The change.
    pub change: Change,
    /// When its body was received, by the service's clock: stands in for a stamp that cannot be read.
    pub received_at: Timestamp,
    /// It waited for the outcome of a send long enough: it is taken for what it looks like.
    pub waited: bool,
}

/// Why changes could not be applied.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The database.
    #[error("the database refused")]
    Database(#[from] DbErr),
    /// A row that makes no sense.
    #[error("cannot read or write a stored document")]
    Document(#[from] serde_json::Error),
}

/// What an interrupted batch asks for before it goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interrupt {
    /// Two contacts proved to be one.
    Contacts(ClientId, entity::ContactId, entity::ContactId),
    /// Two messages proved to be one.
    Messages(ClientId, entity::MessageId, entity::MessageId),
}

/// Why a change stopped half way.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Merge first; the change has not touched anything yet.
    Interrupt(Interrupt),
    /// It failed.
    Failed(ApplyError),
}

impl From<DbErr> for Halt {
    fn from(error: DbErr) -> Self {
        Halt::Failed(error.into())
    }
}

impl From<serde_json::Error> for Halt {
    fn from(error: serde_json::Error) -> Self {
        Halt::Failed(error.into())
    }
}

/// What a history import brought so far, for its event: gathered over the transactions of one body.
#[derive(Debug, Default)]
pub struct Span {
    /// Oldest message.
    pub since: Option<Timestamp>,
    /// Newest message.
    pub until: Option<Timestamp>,
    /// Conversations that changed, at most [`Span::MOST`].
    pub conversations: BTreeSet<entity::ConversationId>,
}

impl Span {
    /// Conversations named in one event.
    pub const MOST: usize = 500;

    fn add(&mut self, at: Timestamp, conversation: entity::ConversationId) {
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        self.until = Some(self.until.map_or(at, |until| until.max(at)));
        if self.conversations.len() < Self::MOST {
            self.conversations.insert(conversation);
        }
    }
}

/// Applies changes in one transaction and tells them.
///
/// # Errors
/// When the database refuses or is away: then nothing was applied.
pub async fn apply(app: &App, changes: &[Routed], span: &mut Span) -> Result<(), ApplyError> {
    let held = app.db.hold(changes.iter().map(|routed| routed.client)).await;
    let tx = app.db.begin_for(&held).await?;
    let mut events = Vec::new();
    apply_within(app, &tx, changes, span, &mut events).await?;
    let told: HashSet<entity::EventType> = events.iter().map(|event| event.kind).collect();
    events::commit(&app.hub, tx, events).await?;
    if told.contains(&entity::EventType::ClientResumed)
        || told.contains(&entity::EventType::ClientDisconnected)
    {
        app.lanes_wake.notify_one();
    }
    Ok(())
}

async fn apply_within(
    app: &App,
    tx: &DatabaseTransaction,
    changes: &[Routed],
    span: &mut Span,
    events: &mut Vec<NewEvent>,
) -> Result<(), ApplyError> {
    let mut rest = Cow::Borrowed(changes);
    // Ends: each round applies at least one change, or merges two rows into one, or takes up what waited for a name that
    // is known now.
    while !rest.is_empty() {
        let mut work = Work::load(app, tx, &rest).await?;
        let mut interrupted = None;
        for (index, routed) in rest.iter().enumerate() {
            match one(&mut work, routed, span).await {
                Ok(()) => {}
                Err(Halt::Interrupt(interrupt)) => {
                    interrupted = Some((index, interrupt));
                    break;
                }
                Err(Halt::Failed(error)) => return Err(error),
            }
        }
        let mut named = work.flush(events).await?;
        let mut left = match interrupted {
            None => Vec::new(),
            Some((index, interrupt)) => {
                match interrupt {
                    Interrupt::Contacts(client, a, b) => {
                        let conversation = merge::contacts(tx, client, a, b, events).await?;
                        named.extend(conversation.map(|conversation| (client, conversation)));
                    }
                    Interrupt::Messages(client, a, b) => merge::messages(tx, client, a, b, events).await?,
                }
                rest[index..].to_vec()
            }
        };
        for (client, conversation) in named {
            left.extend(engine::take_up(tx, client, conversation).await?);
        }
        rest = Cow::Owned(left);
    }
    Ok(())
}

async fn one(work: &mut Work<'_>, routed: &Routed, span: &mut Span) -> Result<(), Halt> {
    let client = routed.client;
    if !work.clients.contains_key(&client) {
        return Ok(());
    }
    let at = |stamp: Option<Timestamp>| stamp.unwrap_or_else(|| routed.received_at.floor_second());
    match &routed.change.kind {
        ChangeKind::Message(seen) => messages::seen(work, client, seen, at(seen.at), routed.waited, span)?,
        ChangeKind::Status(status) => drop(messages::status(work, client, status, at(status.at))?),
        ChangeKind::Edit(edit) => drop(messages::edit(work, client, edit, at(edit.at))?),
        ChangeKind::Delete(delete) => drop(messages::delete(work, client, delete, at(delete.at))?),
        ChangeKind::Reaction(reaction) => drop(messages::reaction(work, client, reaction, at(reaction.at))?),
        ChangeKind::PhoneBook(entry) => contacts::phone_book(work, client, entry, at(entry.at))?,
        ChangeKind::Identity(identity) => contacts::identity(work, client, identity, at(identity.at))?,
        ChangeKind::HistoryChunk(chunk) => sync::chunk(work, client, *chunk, span).await?,
        ChangeKind::HistoryDeclined(error) => sync::declined(work, client, error).await?,
        ChangeKind::Account(seen) => account::seen(work, client, seen, at(seen.at)).await?,
        ChangeKind::Notice(_) | ChangeKind::Ignored(_) => {}
    }
    Ok(())
}

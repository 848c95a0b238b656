//! From what an upstream tells to rows and events, in one transaction (invariants 2 to 5 and 10).
//!
//! Every rule here is idempotent and commutative: the same changes in any order, any number of times and in any split
//! into batches end in the same rows. What makes it so is that no rule asks "what came last?", only "which is
//! greater?": by WhatsApp's own stamp, then by kind, then by bytes. What cannot be compared yet, because the message it
//! speaks of is not there, waits in `pending`.
//!
//! Names only ever grow together. A person's names that are told together are one contact's; a person and an id of a
//! message that are told together are of one chat; ids of one chat that share their trailing part are one message's
//! (`contacts::resolve`, `messages::find`). So the same things are one in the end, whichever was told first, and a change
//! that waits can begin to fit for two reasons only: a message got one more id, or two contacts became one.
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
mod templates;
pub mod waiting;
pub mod work;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet, VecDeque};

use entity::{ClientId, Timestamp};
use sea_orm::{DatabaseBackend, DbErr};
use thiserror::Error;

use crate::app::App;
use crate::db::{HeldClients, Tx};
use crate::events::{self, NewEvent};
use crate::upstream::change::{Change, ChangeKind};

pub(crate) use sync::{progress, settles};
use waiting::Named;
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
    /// The change writes more than the rows that it names: it needs the transaction.
    Transaction,
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

/// Applies changes in one transaction and tells them; and what waits for ids that messages were given elsewhere.
///
/// # Errors
/// When the database refuses or is away: then nothing was applied.
pub async fn apply(
    app: &App,
    changes: &[Routed],
    named: &[Named],
    span: &mut Span,
) -> Result<(), ApplyError> {
    let clients = changes.iter().map(|routed| routed.client).chain(named.iter().map(|one| one.client));
    let held = app.db.hold(clients).await;
    apply_holding(app, &held, changes, named, span).await
}

/// The same, of clients that are held.
///
/// # Errors
/// As [`apply`].
async fn apply_holding(
    app: &App,
    held: &HeldClients,
    changes: &[Routed],
    named: &[Named],
    span: &mut Span,
) -> Result<(), ApplyError> {
    let mut events = Vec::new();
    let Some(tx) = written(app, held, changes, named, span, &mut events).await? else { return Ok(()) };
    let told: HashSet<entity::EventType> = events.iter().map(|event| event.kind).collect();
    events::commit(&app.hub, tx, events).await?;
    if changes.iter().any(|routed| brings_file(&routed.change.kind)) {
        app.media.wake.notify_one();
    }
    if told.contains(&entity::EventType::ClientResumed)
        || told.contains(&entity::EventType::ClientDisconnected)
    {
        app.lanes_wake.notify_one();
    }
    Ok(())
}

/// Whether there may be a file to fetch.
fn brings_file(kind: &ChangeKind) -> bool {
    use crate::messages::content::Content;
    matches!(kind, ChangeKind::Message(seen) if matches!(seen.content, Content::Media(_)))
}

/// Gives the transaction in which all is written, if there was anything to do.
///
/// On SQLite the first round reads, and reckons, before it takes the one writer: others write meanwhile, and nobody
/// else touches what is held. On Postgres the clients are held only within a transaction.
async fn written(
    app: &App,
    held: &HeldClients,
    changes: &[Routed],
    named: &[Named],
    span: &mut Span,
    events: &mut Vec<NewEvent>,
) -> Result<Option<Tx>, ApplyError> {
    let mut opened = match app.db.backend() {
        DatabaseBackend::Sqlite => None,
        _ => Some(app.db.begin_for(held).await?),
    };
    let mut rest = Cow::Borrowed(changes);
    let mut named: VecDeque<Named> = named.iter().cloned().collect();
    // Ends: each round applies at least one change, or merges two rows into one, or takes up what waited for a name that
    // is known now.
    while !rest.is_empty() || !named.is_empty() {
        let within = opened.as_ref();
        let mut work = Work::load(app, within, &rest, std::mem::take(&mut named)).await?;
        let (applied, halt) = until_halt(&mut work, &rest, span).await;
        if let Some(Halt::Failed(error)) = halt {
            return Err(error);
        }
        // Ids whose turn did not come: what waits for them is looked at when the merge is done.
        named = std::mem::take(&mut work.named);
        let mut begun = None;
        let tx = match within {
            Some(tx) => tx,
            None => begun.insert(app.db.begin_for(held).await?),
        };
        let mut grown = work.flush(tx, events).await?;
        let mut left = rest[applied..].to_vec();
        match halt {
            Some(Halt::Interrupt(Interrupt::Contacts(client, a, b))) => {
                let conversation = merge::contacts(tx, client, a, b, events).await?;
                grown.extend(conversation.map(|conversation| (client, conversation)));
            }
            Some(Halt::Interrupt(Interrupt::Messages(client, a, b))) => {
                merge::messages(tx, client, a, b, events).await?;
            }
            None | Some(Halt::Interrupt(Interrupt::Transaction) | Halt::Failed(_)) => {}
        }
        for (client, conversation) in grown {
            left.extend(waiting::take_up(tx, client, conversation).await?);
        }
        rest = Cow::Owned(left);
        opened = begun.or(opened);
    }
    Ok(opened)
}

/// Applies change after change, and after each what waited for the ids that it gave. Says how many were applied, and what
/// stopped the next.
async fn until_halt(work: &mut Work<'_>, changes: &[Routed], span: &mut Span) -> (usize, Option<Halt>) {
    let done = in_turn(work, changes, span).await;
    sync::tell_phone_books(work);
    done
}

async fn in_turn(work: &mut Work<'_>, changes: &[Routed], span: &mut Span) -> (usize, Option<Halt>) {
    if let Err(halt) = messages::apply_waiting(work, span) {
        return (0, Some(halt));
    }
    for (index, routed) in changes.iter().enumerate() {
        let mut outcome = one(work, routed, span).await;
        if outcome.is_ok() {
            outcome = messages::apply_waiting(work, span);
        }
        if let Err(halt) = outcome {
            return (index, Some(halt));
        }
    }
    (changes.len(), None)
}

async fn one(work: &mut Work<'_>, routed: &Routed, span: &mut Span) -> Result<(), Halt> {
    let client = routed.client;
    if !work.clients.contains_key(&client) {
        return Ok(());
    }
    let at = |stamp: Option<Timestamp>| stamp.unwrap_or_else(|| routed.received_at.floor_second());
    match &routed.change.kind {
        ChangeKind::Message(seen) => messages::seen(work, client, seen, at(seen.at), routed.waited, span)?,
        ChangeKind::Status(status) => messages::status(work, client, status, at(status.at))?,
        ChangeKind::Edit(edit) => messages::edit(work, client, edit, at(edit.at))?,
        ChangeKind::Delete(delete) => messages::delete(work, client, delete, at(delete.at))?,
        ChangeKind::Reaction(reaction) => messages::reaction(work, client, reaction, at(reaction.at))?,
        ChangeKind::PhoneBook(entry) => contacts::phone_book(work, client, entry, at(entry.at))?,
        ChangeKind::Identity(identity) => contacts::identity(work, client, identity, at(identity.at))?,
        ChangeKind::Preference(seen) => {
            contacts::preference(work, client, &seen.customer, seen.stopped, at(seen.at))?;
        }
        ChangeKind::Template(seen) => templates::seen(work, client, seen, at(seen.at)),
        ChangeKind::Notice(_) | ChangeKind::Ignored(_) => {}
        ChangeKind::HistoryChunk(chunk) => {
            sync::chunk(work, work.transaction()?, client, *chunk, span).await?;
        }
        ChangeKind::HistoryDeclined(error) => {
            sync::declined(work, work.transaction()?, client, error).await?;
        }
        ChangeKind::Account(seen) => {
            account::seen(work, work.transaction()?, client, seen, at(seen.at)).await?;
        }
    }
    Ok(())
}

//! A file of a partner, to be sent in messages: checked while it comes, written as it comes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use entity::{ClientId, MediaId, MediaState, PartnerId, Timestamp, client, media};
use futures_util::{Stream, StreamExt};
use sea_orm::{ActiveModelTrait, DbErr, EntityTrait, IntoActiveModel};
use thiserror::Error;

use super::store::{StoreError, Writing, Written};
use super::{keep, kinds};
use crate::app::App;
use crate::auth::{Permission, Scope};
use crate::db::WriteExt;
use crate::ids::PublicId;
use crate::lookup;
use crate::messages::content::MediaKind;

/// Longest name of a file, characters.
const LONGEST_NAME: usize = 256;

/// What is said of a file before its first byte.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Whose.
    pub client: ClientId,
    /// What it is to be sent as; none: what its type is sent as usually.
    pub kind: Option<MediaKind>,
    /// Its type, if it was told.
    pub declared: Option<String>,
    /// Its name, if it has one: that of a document which the customer sees.
    pub filename: Option<String>,
}

/// A file that is here.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// By which messages name it.
    pub id: MediaId,
    /// What it can be sent as.
    pub kind: MediaKind,
    /// What it is.
    pub mime_type: String,
    /// How large it is.
    pub size: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// When it goes, if no message is sent with it until then; none: it stays.
    pub expires_at: Option<Timestamp>,
}

/// Why a file was not taken.
#[derive(Debug, Error)]
pub enum NotTaken {
    /// The credential lacks a scope.
    #[error("The credential lacks the scope SEND.")]
    Forbidden,
    /// There is none, or it is another partner's.
    #[error("There is no such client.")]
    NoClient,
    /// Nothing came.
    #[error("The file is empty.")]
    Empty,
    /// Its bytes are of another type than was told.
    #[error(
        "The file is declared as {declared}, but its first bytes say {found}. Declare it as what it is, or as application/octet-stream to leave that to its bytes."
    )]
    TypeMismatch {
        /// What was told.
        declared: String,
        /// What it looks like.
        found: String,
    },
    /// WhatsApp takes no such files.
    #[error("WhatsApp takes no {found} as {kind}: it takes {takes}.")]
    TypeNotSupported {
        /// What it looks like.
        found: String,
        /// What it was to be sent as.
        kind: &'static str,
        /// The formats that would do.
        takes: String,
    },
    /// More bytes than WhatsApp takes of this kind.
    #[error("A file of the kind {kind} has at most {largest} bytes.")]
    TooLarge {
        /// What it was to be sent as.
        kind: &'static str,
        /// The limit.
        largest: u64,
    },
    /// As many uploads as may run at once.
    #[error("Too many files are being uploaded right now; try again in a moment.")]
    Busy,
    /// As many uploads as the partner may have at once.
    #[error(
        "You upload {most} files already, as many as may be at once; try again when one of them is done."
    )]
    TooMany {
        /// The limit.
        most: usize,
    },
    /// It took longer than `media.timeout_seconds`.
    #[error("The file did not come in time; try again.")]
    TooSlow,
    /// The caller's connection broke off, or what it sent makes no sense.
    #[error("The file broke off.")]
    BrokenOff,
    /// The store of files.
    #[error("The file cannot be kept right now; try again.")]
    Store(#[from] StoreError),
    /// The database.
    #[error("The file cannot be kept right now; try again.")]
    Database(#[from] DbErr),
}

/// Places for uploads: so many at once, and of those so many for each partner, so that none takes them all.
#[derive(Debug)]
pub(crate) struct Places {
    all: usize,
    each: usize,
    taken: Mutex<HashMap<PartnerId, usize>>,
}

/// One of them; dropping it gives it back.
#[derive(Debug)]
struct Place<'a> {
    of: &'a Places,
    partner: PartnerId,
}

impl Places {
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Self { all, each, taken: Mutex::default() }
    }

    fn take(&self, partner: PartnerId) -> Result<Place<'_>, NotTaken> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get(&partner).is_some_and(|count| *count >= self.each) {
            return Err(NotTaken::TooMany { most: self.each });
        }
        // As few partners as places.
        if taken.values().sum::<usize>() >= self.all {
            return Err(NotTaken::Busy);
        }
        *taken.entry(partner).or_default() += 1;
        Ok(Place { of: self, partner })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.partner) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.partner);
            }
        }
    }
}

/// Takes a file. Its bytes are never all in memory. How long that may take is the caller's to say.
///
/// # Errors
/// See [`NotTaken`].
pub async fn receive<S, E>(app: &App, scope: &Scope, new: NewFile, bytes: S) -> Result<Uploaded, NotTaken>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    scope.require(Permission::Send).map_err(|_| NotTaken::Forbidden)?;
    let client = lookup::by_id::<client::Entity>(&app.db, scope, new.client).await?;
    let client = client.ok_or(NotTaken::NoClient)?;
    let _place = app.media.uploads.take(client.partner_id)?;
    take(app, &client, new, bytes).await
}

async fn take<S, E>(
    app: &App,
    client: &client::Model,
    new: NewFile,
    mut bytes: S,
) -> Result<Uploaded, NotTaken>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let mut head = Vec::with_capacity(kinds::HEAD);
    while head.len() < kinds::HEAD {
        match bytes.next().await {
            Some(chunk) => head.extend_from_slice(&chunk.map_err(|_| NotTaken::BrokenOff)?),
            None => break,
        }
    }
    let (kind, mime_type) = judge(&head, new.kind, new.declared.as_deref())?;
    let blob = keep::begin(app).await?;
    let mut writing = app.media.store.write(blob).await?;
    let all = all(&mut writing, kind, &head, bytes).await;
    drop(head);
    if let Err(error) = all {
        writing.abort().await;
        keep::abandon(app, blob).await?;
        return Err(error);
    }
    let written = writing.finish().await?;
    let filename =
        new.filename.map(|name| name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect());
    let row = row_of(client, &mime_type, filename, &written, app.now());
    let id = row.id;
    let tx = app.db.begin_write().await?;
    let blob = keep::settle(&tx, blob, &written).await?;
    let row = media::Model { blob_id: Some(blob), ..row };
    media::Entity::insert(row.into_active_model().reset_all()).put(&tx).await?;
    tx.commit().await?;
    let days = app.config.media.keep_days;
    let expires_at = (days > 0).then(|| app.now().plus_seconds(days.saturating_mul(86_400)));
    Ok(Uploaded { id, kind, mime_type, size: written.size, sha256: written.sha256, expires_at })
}

async fn all<S, E>(writing: &mut Writing, kind: MediaKind, head: &[u8], mut rest: S) -> Result<(), NotTaken>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let largest = kinds::largest(kind);
    let too_large = || NotTaken::TooLarge { kind: kind.word(), largest };
    if head.len() as u64 > largest {
        return Err(too_large());
    }
    writing.put(head).await?;
    while let Some(chunk) = rest.next().await {
        let chunk = chunk.map_err(|_| NotTaken::BrokenOff)?;
        if writing.size() + chunk.len() as u64 > largest {
            return Err(too_large());
        }
        writing.put(&chunk).await?;
    }
    Ok(())
}

/// What a file is, and what it can be sent as.
fn judge(
    head: &[u8],
    kind: Option<MediaKind>,
    declared: Option<&str>,
) -> Result<(MediaKind, String), NotTaken> {
    if head.is_empty() {
        return Err(NotTaken::Empty);
    }
    let essence = declared.and_then(kinds::essence).filter(|mime| mime != "application/octet-stream");
    let head = head.get(..kinds::HEAD).unwrap_or(head);
    let found = kinds::sniff(head, essence.as_deref());
    let found = found.unwrap_or_else(|| "application/octet-stream".to_owned());
    if let Some(declared) = essence.filter(|declared| *declared != found) {
        return Err(NotTaken::TypeMismatch { declared, found });
    }
    let kind = kind.or_else(|| kinds::kind_of(&found)).unwrap_or(MediaKind::Document);
    if !kinds::takes(kind, &found) {
        return Err(NotTaken::TypeNotSupported { found, kind: kind.word(), takes: kinds::words(kind) });
    }
    Ok((kind, found))
}

fn row_of(
    client: &client::Model,
    mime_type: &str,
    filename: Option<String>,
    written: &Written,
    now: Timestamp,
) -> media::Model {
    media::Model {
        id: MediaId::generate(),
        partner_id: client.partner_id,
        client_id: client.id,
        message_id: None,
        upstream_id: None,
        upstream_until: Timestamp(0),
        state: MediaState::Ready,
        imported: false,
        mime_type: Some(mime_type.to_owned()),
        filename,
        blob_id: None,
        size_bytes: i64::try_from(written.size).unwrap_or(i64::MAX),
        attempts: 0,
        next_try_at: Timestamp(0),
        claimed_until: Timestamp(0),
        error: None,
        used_at: now,
        created_at: now,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn no_partner_takes_all_places() {
        let places = Places::new(3, 2);
        let [a, b] = [1, 2].map(|n| PartnerId(Uuid::from_u128(n)));
        let first = places.take(a).unwrap();
        let _second = places.take(a).unwrap();
        assert!(matches!(places.take(a), Err(NotTaken::TooMany { most: 2 })));
        let _third = places.take(b).unwrap();
        assert!(matches!(places.take(b), Err(NotTaken::Busy)));
        drop(first);
        let _fourth = places.take(b).unwrap();
        assert!(matches!(places.take(a), Err(NotTaken::Busy)));
        assert!(matches!(places.take(b), Err(NotTaken::TooMany { .. })));
    }
}

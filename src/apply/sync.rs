//! Imports, as their webhooks come in (S7, invariant 10).

use std::collections::{BTreeMap, BTreeSet};

use entity::{
    ClientId, EventType, OnboardingStatus, SyncKind, SyncState, Timestamp, onboarding, onboarding_step, sync,
    sync_chunk,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use serde_json::json;

use super::work::Work;
use super::{Halt, Span};
use crate::db::{self, SelectExt, Tx};
use crate::ids::PublicId;
use crate::upstream::change::{HistoryChunk, ReportedError};

/// So many more items were seen.
pub(super) fn count(work: &mut Work<'_>, client: ClientId, kind: SyncKind, items: i64) {
    if let Some(sync) = work.sync_mut(client, kind) {
        sync.items += items;
    }
}

/// The phone book was heard of: with the first such webhook after the request, the import of contacts is done. WhatsApp
/// tells no end; later ones are applied all the same.
pub(super) fn phone_book_heard(work: &mut Work<'_>, client: ClientId) {
    let now = work.now;
    let Some(sync) = work.sync_mut(client, SyncKind::Contacts) else { return };
    if sync.intent_at.is_none() || sync.state == SyncState::Done {
        return;
    }
    sync.state = SyncState::Done;
    sync.percent = 100;
    sync.started_at = sync.started_at.or(Some(now));
    sync.finished_at = Some(now);
    work.phone_books.insert(client);
}

/// Tells of phone books that have come, with the entries that came along.
pub(super) fn tell_phone_books(work: &mut Work<'_>) {
    let now = work.now;
    for client in std::mem::take(&mut work.phone_books) {
        let Some(sync) = work.sync_mut(client, SyncKind::Contacts) else { continue };
        let data = progress(sync, &Span::default());
        work.tell(client, EventType::SyncProgress, now, None, Some(data));
    }
}

/// What a SYNC_PROGRESS event says.
pub(crate) fn progress(sync: &sync::Model, span: &Span) -> serde_json::Value {
    let mut data = json!({
        "kind": sync.kind.word(),
        "state": sync.state.word(),
        "percent": sync.percent,
        "items": sync.items,
    });
    if let (Some(since), Some(until)) = (span.since, span.until) {
        data["since"] = json!(since);
        data["until"] = json!(until);
        data["conversationIds"] = json!(span.conversations);
    }
    data
}

/// A chunk of the history was applied: its messages stand before it in the same body.
#[expect(clippy::disallowed_methods, reason = "the engine addresses chunks by their client")]
pub(super) async fn chunk(
    work: &mut Work<'_>,
    tx: &Tx,
    client: ClientId,
    chunk: HistoryChunk,
    span: &mut Span,
) -> Result<(), Halt> {
    let Some(connected_at) = work.clients.get(&client).and_then(|row| row.model.connected_at) else {
        return Ok(());
    };
    let now = work.now;
    let row = sync_chunk::Model {
        client_id: client,
        phase: chunk.phase,
        chunk_order: chunk.chunk_order.unwrap_or(0),
        connected_at,
    };
    let of_client = sync_chunk::Entity::find().filter(sync_chunk::Column::ClientId.eq(client));
    let of_connection = of_client.filter(sync_chunk::Column::ConnectedAt.eq(connected_at));
    let mut chunks = of_connection.rows(tx).await?;
    if !chunks.contains(&row) {
        chunks.push(row.clone());
        db::upsert::<sync_chunk::Entity, _>(tx, vec![row]).await?;
    }
    history_chosen(work, tx, client, true).await?;
    let Some(sync) = work.sync_mut(client, SyncKind::History) else { return Ok(()) };
    sync.percent = sync.percent.max(chunk.progress.clamp(0, 100));
    sync.complete_seen |= chunk.progress >= 100;
    sync.started_at = Some(sync.started_at.map_or(now, |at| at.min(now)));
    sync.last_chunk_at = Some(now);
    if sync.state != SyncState::Done {
        sync.state = SyncState::Running;
        if sync.complete_seen && is_whole(&chunks) {
            sync.state = SyncState::Done;
            sync.percent = 100;
            sync.finished_at = Some(now);
        }
    }
    let data = progress(sync, span);
    *span = Span::default();
    work.tell(client, EventType::SyncProgress, now, None, Some(data));
    Ok(())
}

/// Whether no gap shows that a chunk is missing: each phase begins at its first chunk, has no gap, and no phase before
/// the last one seen is unheard of. A phase without chats gives no webhook, so this may stay false for ever: then the
/// import is done when no further chunk came for a while (`sync.settle_seconds`).
fn is_whole(chunks: &[sync_chunk::Model]) -> bool {
    let mut phases: BTreeMap<i32, BTreeSet<i32>> = BTreeMap::new();
    for chunk in chunks {
        phases.entry(chunk.phase).or_default().insert(chunk.chunk_order);
    }
    if phases.is_empty() || !phases.keys().copied().eq((0..).take(phases.len())) {
        return false;
    }
    let dense = |orders: &[i32]| {
        orders.first().is_some_and(|first| (0..=1).contains(first))
            && orders.windows(2).all(|pair| pair[1] == pair[0] + 1)
    };
    // Orders begin anew in each phase, or go on through all of them; not now this, now that.
    let each: Vec<Vec<i32>> = phases.into_values().map(|orders| orders.into_iter().collect()).collect();
    let anew = !each.is_empty() && each.iter().all(|orders| dense(orders));
    anew || dense(&each.concat())
}

/// The client does not share its history: known, final until the next connection.
pub(super) async fn declined(
    work: &mut Work<'_>,
    tx: &Tx,
    client: ClientId,
    error: &ReportedError,
) -> Result<(), Halt> {
    let now = work.now;
    let shares = work.clients.get(&client).and_then(|row| row.model.shares_history);
    if shares == Some(true) {
        return Ok(());
    }
    history_chosen(work, tx, client, false).await?;
    let Some(sync) = work.sync_mut(client, SyncKind::History) else { return Ok(()) };
    if sync.state == SyncState::Declined {
        return Ok(());
    }
    sync.state = SyncState::Declined;
    sync.finished_at = Some(now);
    sync.refusal = Some(error.details.clone().unwrap_or_else(|| error.title.clone()));
    let data = progress(sync, &Span::default());
    work.tell(client, EventType::SyncProgress, now, None, Some(data));
    Ok(())
}

/// The first history webhook or the refusal shows what the client chose: a step of its onboarding (S4).
#[expect(clippy::disallowed_methods, reason = "the engine addresses the onboarding by its client")]
async fn history_chosen(work: &mut Work<'_>, tx: &Tx, client: ClientId, shares: bool) -> Result<(), Halt> {
    let now = work.now;
    let Some(row) = work.clients.get_mut(&client) else { return Ok(()) };
    if row.model.shares_history == Some(shares) {
        return Ok(());
    }
    let first = row.model.shares_history.is_none();
    row.model.shares_history = Some(shares);
    row.dirty = true;
    let of_client = onboarding::Entity::find().filter(onboarding::Column::ClientId.eq(client));
    let connected = of_client.filter(onboarding::Column::Status.eq(OnboardingStatus::Connected));
    let Some(mut latest) = connected.order_by_desc(onboarding::Column::Id).rows(tx).await?.into_iter().next()
    else {
        return Ok(());
    };
    latest.shares_history = Some(shares);
    let id = latest.id;
    db::upsert::<onboarding::Entity, _>(tx, vec![latest]).await?;
    if first {
        let step =
            onboarding_step::Model { onboarding_id: id, status: OnboardingStatus::HistoryChosen, at: now };
        db::upsert::<onboarding_step::Entity, _>(tx, vec![step]).await?;
        let data = json!({ "status": OnboardingStatus::HistoryChosen.word() });
        work.tell(client, EventType::OnboardingChanged, now, Some(id.uuid()), Some(data));
    }
    Ok(())
}

/// The import of the history is over although a chunk seems missing: nothing came for `settle_seconds` after 100.
pub(crate) fn settles(sync: &sync::Model, now: Timestamp, settle_seconds: i64) -> bool {
    sync.kind == SyncKind::History
        && sync.state == SyncState::Running
        && sync.complete_seen
        && sync.last_chunk_at.is_some_and(|at| now >= at.plus_seconds(settle_seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(orders: &[(i32, i32)]) -> Vec<sync_chunk::Model> {
        let row = |(phase, chunk_order): &(i32, i32)| sync_chunk::Model {
            client_id: ClientId::generate(),
            phase: *phase,
            chunk_order: *chunk_order,
            connected_at: Timestamp(0),
        };
        orders.iter().map(row).collect()
    }

    #[test]
    fn s07_an_import_is_whole_only_when_no_gap_shows() {
        assert!(is_whole(&chunks(&[(0, 1), (1, 1), (1, 2), (2, 1)])));
        assert!(is_whole(&chunks(&[(0, 1), (1, 2), (1, 3), (2, 4)])), "orders may go on from phase to phase");
        assert!(!is_whole(&chunks(&[(2, 3)])), "the last chunk came first");
        assert!(!is_whole(&chunks(&[(0, 1), (1, 1), (1, 3)])), "a gap");
        assert!(!is_whole(&chunks(&[(0, 1), (1, 2), (2, 1)])), "the first of the second phase is missing");
        assert!(!is_whole(&chunks(&[(0, 1), (1, 2), (2, 4)])), "the third of all is missing");
        assert!(!is_whole(&chunks(&[])), "nothing came");
        assert!(!is_whole(&chunks(&[(0, 1), (2, 1)])), "a phase is missing, or empty: time will tell");
    }
}

//! What happens to the account and the number: disconnected, paused, back, renamed (R15, R16, R17).

use entity::{AppPresenceBasis, ClientId, ClientMode, ClientStatus, EventType, Timestamp};
use serde_json::json;

use super::Halt;
use super::work::Work;
use crate::clients::connection::REMOVED;
use crate::clients::disconnection::{self, Reason};
use crate::db::Tx;
use crate::lanes;
use crate::upstream::change::{AccountEvent, AccountSeen};

/// Of two changes with one stamp the graver one holds.
const RESUMED: i32 = 1;
const PAUSED: i32 = 2;
const DELETED: i32 = 4;

/// A sign that the app on the phone is alive: the latest one counts.
pub(super) fn sign_of_life(work: &mut Work<'_>, client: ClientId, basis: AppPresenceBasis, at: Timestamp) {
    let Some(row) = work.clients.get_mut(&client) else { return };
    let seen = (row.model.last_seen_at, row.model.last_seen_basis);
    if row.model.mode == ClientMode::Coexistence && (Some(at), Some(basis)) > seen {
        row.model.last_seen_at = Some(at);
        row.model.last_seen_basis = Some(basis);
        row.model.visit_raised_days = 0;
        row.dirty = true;
    }
}

/// An account change. Of several the latest holds, whatever order they come in; of one instant the graver one.
pub(super) async fn seen(
    work: &mut Work<'_>,
    tx: &Tx,
    client: ClientId,
    seen: &AccountSeen,
    at: Timestamp,
) -> Result<(), Halt> {
    match &seen.event {
        AccountEvent::PartnerAdded | AccountEvent::Restricted { .. } => {}
        AccountEvent::DisplayName { decision, name } => {
            if decision == "APPROVED"
                && let Some(name) = name
            {
                rename(work, client, name, at);
            }
        }
        AccountEvent::PartnerRemoved { reason, initiated_by } => {
            let reason = Reason::of_whatsapp(reason.as_deref(), initiated_by.as_deref());
            disconnect(work, tx, client, at, REMOVED, &reason).await?;
        }
        AccountEvent::Deleted => {
            disconnect(work, tx, client, at, DELETED, &Reason::account_deleted()).await?;
        }
        AccountEvent::Offboarded => {
            let why = "The phone was changed or the app was installed again; WhatsApp restores the connection by itself, \
                       usually within minutes.";
            pause(work, client, at, PAUSED, why);
        }
        AccountEvent::Reconnected => resume(work, client, at, RESUMED),
        AccountEvent::Ban { state } => match state.as_str() {
            "DISABLE" => pause(
                work,
                client,
                at,
                PAUSED,
                "WhatsApp has disabled the account; appeal in WhatsApp Manager.",
            ),
            "REINSTATE" => resume(work, client, at, RESUMED),
            _ => {}
        },
    }
    Ok(())
}

/// Whether an account change holds: it is not older than the last connection, nor than the change that holds. A removal
/// is the last word of a connection, whatever pauses and returns are stamped later: only a new one ends it.
fn takes(work: &Work<'_>, client: ClientId, at: Timestamp, rank: i32) -> bool {
    work.clients.get(&client).is_some_and(|row| {
        let since = row.model.connected_at.map_or(Timestamp(i64::MAX), Timestamp::floor_second);
        let final_word = |rank: i32| rank >= REMOVED;
        let holds = (row.model.account_at, row.model.account_rank);
        at >= since && (final_word(rank), at, rank) > (final_word(holds.1), holds.0, holds.1)
    })
}

async fn disconnect(
    work: &mut Work<'_>,
    tx: &Tx,
    client: ClientId,
    at: Timestamp,
    rank: i32,
    reason: &Reason,
) -> Result<(), Halt> {
    if !takes(work, client, at, rank) {
        return Ok(());
    }
    let now = work.now;
    let Some(row) = work.clients.get_mut(&client) else { return Ok(()) };
    let was = row.model.status;
    row.dirty = true;
    row.model.account_at = at;
    row.model.account_rank = rank;
    let data = disconnection::end(&mut row.model, at, reason);
    if was != ClientStatus::Disconnected {
        work.tell(client, EventType::ClientDisconnected, at, None, Some(data));
        let canceled = lanes::cancel_all(tx, client, now).await?;
        work.events.extend(canceled);
    }
    Ok(())
}

fn pause(work: &mut Work<'_>, client: ClientId, at: Timestamp, rank: i32, why: &str) {
    if !takes(work, client, at, rank) {
        return;
    }
    let Some(row) = work.clients.get_mut(&client) else { return };
    row.dirty = true;
    row.model.account_at = at;
    row.model.account_rank = rank;
    let was = row.model.status;
    row.model.status = ClientStatus::Paused;
    row.model.pause_reason = Some(why.to_owned());
    if was == ClientStatus::Connected {
        work.tell(client, EventType::ClientPaused, at, None, Some(json!({ "reason": why })));
    }
}

fn resume(work: &mut Work<'_>, client: ClientId, at: Timestamp, rank: i32) {
    if !takes(work, client, at, rank) {
        return;
    }
    let Some(row) = work.clients.get_mut(&client) else { return };
    row.dirty = true;
    row.model.account_at = at;
    row.model.account_rank = rank;
    if row.model.status == ClientStatus::Paused {
        row.model.status = ClientStatus::Connected;
        row.model.pause_reason = None;
        work.tell(client, EventType::ClientResumed, at, None, None);
    }
}

fn rename(work: &mut Work<'_>, client: ClientId, name: &str, at: Timestamp) {
    let Some(row) = work.clients.get_mut(&client) else { return };
    if (at, Some(name)) <= (row.model.display_name_at, row.model.display_name.as_deref()) {
        return;
    }
    row.dirty = true;
    row.model.display_name_at = at;
    row.model.profile_at = Timestamp(0); // what else changed with it is read anew
    if row.model.display_name.as_deref() != Some(name) {
        row.model.display_name = Some(name.to_owned());
        work.tell(client, EventType::ClientProfileChanged, at, None, None);
    }
}

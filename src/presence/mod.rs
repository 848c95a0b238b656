//! Whether the app on the phone still keeps the connection alive (R16): an estimate that says so.

pub mod estimate;

use entity::{AppPresenceBasis, ClientId, ClientMode, ClientStatus, EventType, Timestamp, client};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;

use crate::app::App;
use crate::auth::{Permission, Scope};
use crate::db::SelectExt;
use crate::events::{self, NewEvent};
use crate::failure::{Outcome, Refusal, RefusalCode};

/// Seconds in a day.
const DAY: i64 = 86_400;
/// Clients looked at in one round.
const ROUND: u64 = 200;

/// A person says that the app was opened.
///
/// # Errors
/// NOT_FOUND, CLIENT_NOT_CONNECTED, INVALID (there is no app).
pub async fn confirm_visit(app: &App, scope: &Scope, client: ClientId) -> Outcome<(client::Model, i64)> {
    scope.require(Permission::Admin)?;
    let named = crate::clients::named(app, scope, client).await?;
    crate::clients::require_connected(&named)?;
    if named.mode == ClientMode::ApiOnly {
        let why = "this number lives on the API alone: there is no app to open";
        return Err(Refusal::new(RefusalCode::Invalid, "clientId", why).into());
    }
    let now = app.now();
    let held = app.db.hold([named.id]).await;
    let tx = app.db.begin_for(&held).await?;
    #[expect(clippy::disallowed_methods, reason = "its id came through Scope")]
    let row = client::Entity::find_by_id(named.id).row(&tx).await?;
    let mut row = row.unwrap_or(named);
    row.last_seen_at = row.last_seen_at.max(Some(now));
    row.last_seen_basis = Some(AppPresenceBasis::Confirmed);
    row.visit_raised_days = 0;
    crate::db::upsert::<client::Entity, _>(&tx, vec![row.clone()]).await?;
    events::commit(&app.hub, tx, Vec::new()).await?;
    let position = app.hub.head(row.partner_id).await?;
    Ok((row, position))
}

/// Raises APP_VISIT_DUE for clients whose app gave no sign of life; a jump over several steps raises only the last.
///
/// # Errors
/// When the database is away.
pub async fn raise_due(app: &App) -> Outcome<usize> {
    let now = app.now();
    if app.config.presence.due_days.is_empty() {
        return Ok(0);
    }
    let mut due = Condition::any();
    for step in &app.config.presence.due_days {
        let silent = Condition::all()
            .add(client::Column::LastSeenAt.lte(now.plus_seconds(-step * DAY)))
            .add(client::Column::VisitRaisedDays.lt(*step));
        due = due.add(silent);
    }
    #[expect(clippy::disallowed_methods, reason = "upkeep over all partners")]
    let due = client::Entity::find()
        .filter(client::Column::Status.eq(ClientStatus::Connected))
        .filter(client::Column::Mode.eq(ClientMode::Coexistence))
        .filter(due)
        .order_by_asc(client::Column::LastSeenAt)
        .limit(ROUND)
        .rows(&app.db.reads())
        .await?;
    if due.is_empty() {
        return Ok(0);
    }
    let ids: Vec<ClientId> = due.iter().map(|client| client.id).collect();
    let held = app.db.hold(ids.iter().copied()).await;
    let tx = app.db.begin_for(&held).await?;
    #[expect(clippy::disallowed_methods, reason = "the clients that are due, read again under their locks")]
    let rows = client::Entity::find().filter(client::Column::Id.is_in(ids)).rows(&tx).await?;
    let (mut raised, mut events) = (Vec::new(), Vec::new());
    for mut row in rows {
        let Some((step, days)) = step_due(&app.config.presence.due_days, &row, now) else { continue };
        row.visit_raised_days = step;
        events.push(NewEvent {
            partner: row.partner_id,
            kind: EventType::AppVisitDue,
            occurred_at: now,
            client: Some(row.id),
            subject: None,
            data: Some(json!({
                "days": days,
                "daysLeft": (app.config.meta.app_visit_days - days).max(0),
                "daysLeftMeta": (app.config.meta.app_visit_days_meta - days).max(0),
            })),
        });
        raised.push(row);
    }
    let count = raised.len();
    crate::db::upsert::<client::Entity, _>(&tx, raised).await?;
    events::commit(&app.hub, tx, events).await?;
    Ok(count)
}

/// The step that is due and not raised yet, and the days without a sign.
fn step_due(steps: &[i64], client: &client::Model, now: Timestamp) -> Option<(i32, i64)> {
    let seen = client.last_seen_at?;
    let days = (now.seconds() - seen.seconds()).div_euclid(DAY);
    let step = steps.iter().copied().filter(|step| *step <= days).max()?;
    let step = i32::try_from(step).ok()?;
    (step > client.visit_raised_days).then_some((step, days))
}

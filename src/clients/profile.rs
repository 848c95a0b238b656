//! Name and profile, as the client sets them in the app (R17): read at connection, when WhatsApp tells of a new name, and
//! once a day.

use entity::{ClientId, ClientStatus, EventType, Timestamp, client};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::app::App;
use crate::events::{self, NewEvent};
use crate::failure::{Failure, Outcome};
use crate::ids::PublicId;

/// Seconds between two looks.
const DAY: i64 = 86_400;
/// Clients looked at in one round.
const ROUND: u64 = 10;

/// Reads the profiles that are due. Says how many were.
///
/// # Errors
/// When the database is away. That WhatsApp does not answer is no error: it is asked again tomorrow.
pub async fn refresh_due(app: &App) -> Outcome<usize> {
    #[expect(clippy::disallowed_methods, reason = "upkeep over all partners")]
    let due = client::Entity::find()
        .filter(client::Column::Status.eq(ClientStatus::Connected))
        .filter(client::Column::ProfileAt.lte(app.now().plus_seconds(-DAY)))
        .limit(ROUND)
        .all(app.db.read())
        .await?;
    for client in &due {
        refresh(app, client).await?;
    }
    Ok(due.len())
}

async fn refresh(app: &App, client: &client::Model) -> Outcome<()> {
    let asked_at = app.now();
    let (Some(number), Some(waba), Some(sealed)) =
        (&client.phone_number_id, &client.waba_id, &client.token_sealed)
    else {
        return read_at(app, client.id, asked_at, None, None).await;
    };
    let token = app.key.open(client.id.uuid().as_bytes(), sealed).map_err(Failure::Internal)?;
    let name = match app.upstream.phone_numbers(waba, &token).await {
        Ok(numbers) => {
            numbers.into_iter().find(|known| known.id == *number).and_then(|number| number.verified_name)
        }
        Err(error) => {
            tracing::warn!(client = %client.id.public(), %error, "a client's name cannot be read right now");
            None
        }
    };
    let profile = match app.upstream.profile(number, &token).await {
        Ok(profile) => Some(profile),
        Err(error) => {
            tracing::warn!(client = %client.id.public(), %error, "a client's profile cannot be read right now");
            None
        }
    };
    read_at(app, client.id, asked_at, name, profile).await
}

/// Keeps what was read, and tells it if it differs.
async fn read_at(
    app: &App,
    id: ClientId,
    asked_at: Timestamp,
    name: Option<String>,
    profile: Option<serde_json::Value>,
) -> Outcome<()> {
    let tx = app.db.begin_write().await?;
    crate::db::lock_clients(&tx, &std::collections::BTreeSet::from([id])).await?;
    #[expect(clippy::disallowed_methods, reason = "the client whose profile is due")]
    let Some(mut row) = client::Entity::find_by_id(id).one(&tx).await? else { return Ok(()) };
    let before = row.clone();
    row.profile_at = asked_at;
    if let Some(name) = name.filter(|_| row.display_name_at <= asked_at) {
        row.display_name = Some(name);
    }
    row.profile = profile.or(row.profile);
    // The first look after a connection tells nobody anything new.
    let differs = before.profile.is_some()
        && (before.display_name != row.display_name || before.profile != row.profile);
    let event = NewEvent {
        partner: row.partner_id,
        kind: EventType::ClientProfileChanged,
        occurred_at: asked_at,
        client: Some(id),
        subject: None,
        data: None,
    };
    crate::db::upsert::<client::Entity, _>(&tx, vec![row]).await?;
    events::commit(&app.hub, tx, if differs { vec![event] } else { Vec::new() }).await?;
    Ok(())
}

//! Name and profile, as the client sets them in the app (R17): read at connection, when WhatsApp tells of a new name, and
//! once a day. Without an app the profile is set here.

use std::sync::Arc;
use std::time::Duration;

use entity::{ClientStatus, EventType, Timestamp, client};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::clients::{Access, require_connected};
use crate::db::SelectExt;
use crate::events::{self, NewEvent};
use crate::failure::{Failure, Outcome, Refusal, RefusalCode, chain};
use crate::ids::PublicId;

/// Seconds between two looks.
const DAY: i64 = 86_400;
/// Clients looked at in one round.
const ROUND: u64 = 10;

/// A profile's new values; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The name: WhatsApp does not take it this way.
    pub display_name: Option<String>,
    /// 1 to 139 characters.
    pub about: Option<String>,
    /// At most 512 characters.
    pub description: Option<String>,
    /// At most 256 characters.
    pub address: Option<String>,
    /// At most 128 characters.
    pub email: Option<String>,
    /// At most two, of 256 characters.
    pub websites: Option<Vec<String>>,
}

/// Changes the profile of a number that lives on the API alone, and reads it back.
///
/// # Errors
/// INVALID, CLIENT_NOT_CONNECTED, UPSTREAM_REJECTED; unavailable when WhatsApp cannot be reached.
pub async fn change(app: &App, client: &client::Model, change: &Change) -> Outcome<()> {
    let change = wire(change)?;
    require_connected(client)?;
    let access = Access::of(&app.key, client)?;
    app.upstream.set_profile(&access.number, &access.token, change).await.map_err(|error| {
        match error.refusal() {
            Some(refusal) if !refusal.is_retryable() => {
                Refusal::new(RefusalCode::UpstreamRejected, "", refusal.to_string()).into()
            }
            Some(_) | None => Failure::Unavailable(error.into()),
        }
    })?;
    refresh(app, client).await
}

/// The values as they go on the wire.
fn wire(change: &Change) -> Result<Value, Refusal> {
    let Change { display_name, about, description, address, email, websites } = change;
    let invalid = |field: &str, text: &str| Err(Refusal::new(RefusalCode::Invalid, field, text));
    if display_name.is_some() {
        return invalid("displayName", "WhatsApp takes another name in WhatsApp Manager only.");
    }
    if about.as_ref().is_some_and(String::is_empty) {
        return invalid("about", "It needs 1 to 139 characters.");
    }
    let mut wire = Map::new();
    for (field, value, most) in [
        ("about", about, 139),
        ("description", description, 512),
        ("address", address, 256),
        ("email", email, 128),
    ] {
        let Some(value) = value else { continue };
        if value.chars().count() > most || value.contains('\0') {
            return invalid(field, &format!("It takes at most {most} characters."));
        }
        wire.insert(field.to_owned(), json!(value));
    }
    if let Some(websites) = websites {
        if websites.len() > 2 || websites.iter().any(|site| site.len() > 256) {
            return invalid("websites", "It takes two addresses at most, of 256 characters.");
        }
        wire.insert("websites".to_owned(), json!(websites));
    }
    if wire.is_empty() {
        return invalid("", "Nothing is to be changed.");
    }
    Ok(Value::Object(wire))
}

/// Keeps profiles up to date, until the process ends. An engine of its own: it waits for WhatsApp, and upkeep must not.
pub async fn run(app: Arc<App>) {
    let every = Duration::from_secs(app.config.upkeep.interval_seconds);
    while !app.tasks.stopping().is_cancelled() {
        if let Err(Failure::Internal(error) | Failure::Unavailable(error)) = refresh_due(&app).await {
            tracing::warn!(error = format!("{error:#}"), "profiles cannot be looked after right now");
        }
        app.tasks.rest(every).await;
    }
}

/// Reads the profiles that are due.
///
/// # Errors
/// When the database is away. That WhatsApp does not answer is no error: it is asked again tomorrow.
async fn refresh_due(app: &App) -> Outcome<()> {
    #[expect(clippy::disallowed_methods, reason = "upkeep over all partners")]
    let due = client::Entity::find()
        .filter(client::Column::Status.eq(ClientStatus::Connected))
        .filter(client::Column::ProfileAt.lte(app.now().plus_seconds(-DAY)))
        .order_by_asc(client::Column::ProfileAt)
        .limit(ROUND)
        .rows(&app.db.reads())
        .await?;
    for client in &due {
        if app.tasks.stopping().is_cancelled() {
            break;
        }
        refresh(app, client).await?;
    }
    Ok(())
}

/// Which instant a name has that was asked for then. WhatsApp stamps changes with whole seconds: one that has the same
/// second is newer.
pub fn asked(at: Timestamp) -> Timestamp {
    Timestamp(at.floor_second().0 - 1)
}

async fn refresh(app: &App, client: &client::Model) -> Outcome<()> {
    let asked_at = app.now();
    let Ok(access) = Access::of(&app.key, client) else {
        // The next client is not to wait for this one: it is looked at again tomorrow.
        return read_at(app, client, asked_at, None, None).await;
    };
    let name = match app.upstream.phone_numbers(&access.account, &access.token).await {
        Ok(numbers) => numbers
            .into_iter()
            .find(|known| known.id == access.number)
            .and_then(|number| number.verified_name),
        Err(error) => {
            let (client, error) = (client.id.public(), chain(&error));
            tracing::warn!(%client, error, "a client's name cannot be read right now");
            None
        }
    };
    let profile = match app.upstream.profile(&access.number, &access.token).await {
        Ok(profile) => Some(profile),
        Err(error) => {
            let (client, error) = (client.id.public(), chain(&error));
            tracing::warn!(%client, error, "a client's profile cannot be read right now");
            None
        }
    };
    read_at(app, client, asked_at, name, profile).await
}

/// Keeps what was read, and tells it if it differs.
async fn read_at(
    app: &App,
    of: &client::Model,
    asked_at: Timestamp,
    name: Option<String>,
    profile: Option<Value>,
) -> Outcome<()> {
    let held = app.db.hold([of.id]).await;
    let tx = app.db.begin_for(&held).await?;
    #[expect(clippy::disallowed_methods, reason = "the client whose profile is due")]
    let Some(mut row) = client::Entity::find_by_id(of.id).row(&tx).await? else { return Ok(()) };
    let before = row.clone();
    // Whoever made it due meanwhile wants another look.
    if row.profile_at == of.profile_at {
        row.profile_at = asked_at;
    }
    if let Some(name) = name.filter(|_| row.display_name_at <= asked(asked_at)) {
        row.display_name = Some(name);
    }
    row.profile = profile.or(row.profile);
    let shown = |row: &client::Model| (row.display_name.clone(), row.profile.clone().map(lasting));
    let event = NewEvent {
        partner: row.partner_id,
        kind: EventType::ClientProfileChanged,
        occurred_at: asked_at,
        client: Some(of.id),
        subject: None,
        data: None,
    };
    let differs = shown(&before) != shown(&row);
    crate::db::upsert::<client::Entity, _>(&tx, vec![row]).await?;
    events::commit(&app.hub, tx, if differs { vec![event] } else { Vec::new() }).await?;
    Ok(())
}

/// A profile without what differs each time that it is read: the picture's address carries a permission that ends.
fn lasting(mut profile: Value) -> Value {
    if let Some(url) = profile.get_mut("pictureUrl")
        && let Some((address, _)) = url.as_str().and_then(|url| url.split_once('?'))
    {
        *url = address.into();
    }
    profile
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r17_the_same_picture_under_another_permission_is_no_change() {
        let profile = |picture: &str| serde_json::json!({ "about": "x?y", "pictureUrl": picture });
        assert_eq!(lasting(profile("https://a/b?c=1")), lasting(profile("https://a/b?c=2")));
        assert_ne!(lasting(profile("https://a/b?c=1")), lasting(profile("https://a/d?c=1")));
        assert_eq!(lasting(profile("https://a/b")), profile("https://a/b"));
    }
}

//! Business numbers.

mod access;
pub mod capabilities;
pub mod connection;
pub mod disconnection;
pub mod profile;
pub mod queries;

use entity::{AliasKind, ClientId, ClientMode, ClientStatus, client};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

pub use access::{Access, NoAccess};

use crate::app::App;
use crate::auth::{Permission, Scope};
use crate::db::SelectExt;
use crate::failure::{Failure, Outcome, Refusal, RefusalCode};
use crate::ids::PublicId;

/// The client that a caller names, by its id or by one that was merged into it.
///
/// # Errors
/// NOT_FOUND, another partner's included.
pub async fn named(app: &App, scope: &Scope, id: ClientId) -> Outcome<client::Model> {
    let db = &app.db.reads();
    let by_id = |id: ClientId| scope.find::<client::Entity>().filter(client::Column::Id.eq(id)).row(db);
    if let Some(row) = by_id(id).await? {
        return Ok(row);
    }
    #[expect(clippy::disallowed_methods, reason = "only tells which id to ask Scope for")]
    let alias = entity::alias::Entity::find_by_id(id.uuid()).row(db).await?;
    if let Some(alias) = alias.filter(|alias| alias.kind == AliasKind::Client)
        && let Some(row) = by_id(ClientId(alias.target)).await?
    {
        return Ok(row);
    }
    Err(Refusal::new(RefusalCode::NotFound, "clientId", "there is no such client").into())
}

/// Refuses what needs a connection.
///
/// # Errors
/// CLIENT_NOT_CONNECTED, saying what to do.
pub fn require_connected(client: &client::Model) -> Result<(), Failure> {
    let why = match client.status {
        ClientStatus::Connected => return Ok(()),
        ClientStatus::Onboarding => {
            "the client is not connected yet: it finishes the onboarding's link first".to_owned()
        }
        ClientStatus::Paused => format!(
            "the client is paused: {}",
            client.pause_reason.as_deref().unwrap_or("WhatsApp does not take its messages right now")
        ),
        ClientStatus::Disconnected => {
            let remedy = disconnection::of(client).map_or("", |ended| ended.reason.remedy());
            format!("the client is disconnected: {remedy}")
        }
    };
    Err(Refusal::new(RefusalCode::ClientNotConnected, "clientId", why).into())
}

/// Changes the profile: refused in coexistence, where only the client can, in the app (R17).
///
/// # Errors
/// NOT_FOUND, MANAGED_IN_APP; on the API alone INVALID, CLIENT_NOT_CONNECTED, UPSTREAM_REJECTED.
pub async fn update_profile(
    app: &App,
    scope: &Scope,
    client: ClientId,
    change: &profile::Change,
) -> Outcome<client::Model> {
    scope.require(Permission::Admin)?;
    let row = named(app, scope, client).await?;
    if row.mode == ClientMode::ApiOnly {
        profile::change(app, &row, change).await?;
        return named(app, scope, client).await;
    }
    Err(Refusal::new(
        RefusalCode::ManagedInApp,
        "",
        "name, picture and profile of a number in coexistence are set by the client in the WhatsApp Business app, and only \
         there; what is set there is shown here",
    )
    .into())
}

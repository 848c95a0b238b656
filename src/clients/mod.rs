//! Business numbers.

pub mod capabilities;
pub mod disconnection;
pub mod queries;

use entity::{ClientId, client};

use crate::app::App;
use crate::auth::Scope;
use crate::failure::{Failure, Outcome};

/// Changes the profile: refused in coexistence, where only the client can, in the app (R17).
///
/// # Errors
/// NOT_FOUND, MANAGED_IN_APP.
pub async fn update_profile(app: &App, scope: &Scope, client: ClientId) -> Outcome<client::Model> {
    let _ = (app, scope, client);
    Err(Failure::Internal(anyhow::anyhow!("not there yet")))
}

//! Whether the app on the phone still keeps the connection alive (R16): an estimate that says so.

pub mod estimate;

use entity::{ClientId, client};

use crate::app::App;
use crate::auth::Scope;
use crate::failure::{Failure, Outcome};

/// A person says that the app was opened.
///
/// # Errors
/// NOT_FOUND, CLIENT_NOT_CONNECTED.
pub async fn confirm_visit(app: &App, scope: &Scope, client: ClientId) -> Outcome<(client::Model, i64)> {
    let _ = (app, scope, client);
    Err(Failure::Internal(anyhow::anyhow!("not there yet")))
}

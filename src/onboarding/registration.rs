//! Numbers that live on the API alone are registered there: the only place that ever does. Registering a number that is in the
//! app would take it off the phone, so whoever comes here has been told by WhatsApp that it is not.

use entity::{ClientId, onboarding};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use secrecy::SecretString;

use super::complete::{Confirmed, Stop, linked, of_number, taken};
use crate::app::App;
use crate::db::{SelectExt, WriteExt};
use crate::failure::{Failure, Outcome};
use crate::ids::PublicId;

/// What a registered number says of itself.
const REGISTERED: &str = "CLOUD_API";

/// Registers the number, unless it is already. The PIN is on the disk before it is used: without it nobody could register
/// the number again.
pub(super) async fn register(
    app: &App,
    onboarding: &onboarding::Model,
    confirmed: &Confirmed,
) -> Outcome<Result<(), Stop>> {
    let holders = of_number(&confirmed.number.id).rows(&app.db.reads()).await?;
    let linked = linked(&app.db.reads(), onboarding).await?;
    // Said before anything is done to somebody else's number, and again when it is made the client's.
    if let Some(failure) = taken(onboarding, &linked, &holders, &confirmed.number) {
        return Ok(Err(Stop::Failed(failure)));
    }
    if confirmed.number.platform_type.as_deref() == Some(REGISTERED) {
        return Ok(Ok(()));
    }
    let known = holders.iter().find(|holder| holder.partner_id == onboarding.partner_id);
    let pin = match known.and_then(|known| Some((known.id, known.pin_sealed.as_deref()?))) {
        Some((client, sealed)) => {
            app.key.open(client.uuid().as_bytes(), sealed).map_err(Failure::Internal)?
        }
        None => own_pin(app, onboarding).await?,
    };
    let done = app.upstream.register(&confirmed.number.id, &confirmed.token, &pin).await;
    Ok(done
        .map_err(|error| Stop::of(error, "REGISTRATION_REFUSED", "The number was not registered on the API")))
}

/// The PIN of an onboarding: that of an earlier try, or a new one.
async fn own_pin(app: &App, onboarding: &onboarding::Model) -> Outcome<SecretString> {
    let place = onboarding.id.uuid();
    if let Some(sealed) = &onboarding.pin_sealed {
        return app.key.open(place.as_bytes(), sealed).map_err(Failure::Internal);
    }
    let digits: u32 = rand::random_range(0..1_000_000);
    let pin = SecretString::from(format!("{digits:06}"));
    let sealed = app.key.seal(place.as_bytes(), &pin).map_err(Failure::Internal)?;
    let tx = app.db.begin_write().await?;
    #[expect(clippy::disallowed_methods, reason = "its id came through Scope")]
    let kept = onboarding::Entity::update_many()
        .col_expr(onboarding::Column::PinSealed, Expr::value(sealed))
        .filter(onboarding::Column::Id.eq(onboarding.id))
        .filter(onboarding::Column::PinSealed.is_null())
        .write(&tx)
        .await?;
    tx.commit().await?;
    if kept == 0 {
        return Err(Failure::Unavailable(anyhow::anyhow!("the same onboarding is completed twice at once")));
    }
    Ok(pin)
}

/// The PIN of an onboarding, sealed for the client that the number belongs to now.
pub(super) fn handed_over(
    app: &App,
    onboarding: &onboarding::Model,
    client: ClientId,
) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(sealed) = &onboarding.pin_sealed else { return Ok(None) };
    let pin = app.key.open(onboarding.id.uuid().as_bytes(), sealed)?;
    app.key.seal(client.uuid().as_bytes(), &pin).map(Some)
}

//! Phones come into the world.

use crate::engine::Engine;
use crate::number::Number;
use crate::world::Refusal;
use crate::world::past::{Plan, make};
use crate::world::phone::AppKind;
use std::sync::Arc;

/// Makes a phone as planned.
pub(crate) async fn create_phone(engine: &Arc<Engine>, plan: Plan) -> Result<Number, Refusal> {
    let (known, made, now_ms) =
        engine.note(|world, _| (world.phones.contains_key(&plan.number), world.fresh_id(), world.now_ms())).0;
    if known {
        return Err(Refusal(format!("there is already a phone {}; choose another number", plan.number)));
    }
    // A long past takes a moment: not on a thread that others wait for.
    let (phone, rows) = tokio::task::spawn_blocking(move || make(&plan, made, now_ms))
        .await
        .map_err(|_| Refusal::new("the phone could not be made; try a smaller one"))?;
    engine.admit(phone, rows).await
}

/// The shop that an empty world begins with, and a number that is not in the Business app yet.
pub(crate) async fn demo_shop(engine: &Arc<Engine>) -> Result<(), Refusal> {
    let shop = Plan {
        number: Number(4_915_120_000_001),
        display_name: "Café Sonnenschein".to_owned(),
        app: AppKind::Business,
        app_version: "2.25.30".to_owned(),
        contacts: 25,
        messages: 240,
        groups: 1,
        days: 180,
        seed: 1,
    };
    let regular = Plan {
        number: Number(4_915_120_000_002),
        display_name: "Blumen Yıldız".to_owned(),
        app: AppKind::Regular,
        app_version: "2.25.30".to_owned(),
        contacts: 12,
        messages: 80,
        groups: 1,
        days: 180,
        seed: 2,
    };
    create_phone(engine, shop).await?;
    create_phone(engine, regular).await?;
    Ok(())
}

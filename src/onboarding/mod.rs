//! Onboarding: from a link to a connected number (S1 to S7, R1, R2, R15).

mod complete;
mod create;
pub mod failure;
pub mod queries;
mod registration;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use entity::{
    ClientId, EventType, HistoryImport, OnboardingId, OnboardingStatus, Timestamp, onboarding,
    onboarding_step,
};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, ColumnTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect};
use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;

use crate::app::App;
use crate::auth::{Permission, Scope};
use crate::db::{SelectExt, Sql, WriteExt};
use crate::events::{self, NewEvent};
use crate::failure::{Outcome, Refusal, RefusalCode};
use crate::ids::PublicId;

pub use complete::complete;
pub use create::create;

/// What a new onboarding shall be.
#[derive(Clone, Debug)]
pub struct Create {
    /// The client keeps the app (S1).
    pub coexistence: bool,
    /// Name of the business; not empty.
    pub business_name: String,
    /// Its mail address.
    pub business_email: Option<String>,
    /// What the client is called until its own display name is known.
    pub display_name: Option<String>,
    /// The partner's own key.
    pub reference: Option<String>,
    /// Language of the page, such as `de`.
    pub locale: Option<String>,
    /// logoUrl, message, buttonLabel, successText, failureText.
    pub branding: Option<Value>,
    /// Where the browser goes afterwards.
    pub success_url: Option<String>,
    /// Where the browser goes when it failed.
    pub failure_url: Option<String>,
    /// Whether to import the six months (R3).
    pub history: HistoryImport,
    /// Reconnects a known client.
    pub client: Option<ClientId>,
    /// Life of the link, seconds.
    pub expires_in: Option<i64>,
    /// The same key makes one onboarding.
    pub idempotency_key: Option<String>,
}

/// A new onboarding.
#[derive(Clone, Debug)]
pub struct Created {
    /// It.
    pub onboarding: onboarding::Model,
    /// What the partner should know: such as that nobody listens to the stream (S8).
    pub warnings: Vec<String>,
    /// Place in the stream at which it is visible.
    pub position: i64,
}

/// What the browser got from Embedded Signup; either part may be missing.
#[derive(Clone, Debug)]
pub struct Complete {
    /// Which.
    pub onboarding: OnboardingId,
    /// Lives 30 seconds, works once.
    pub code: Option<String>,
    /// From the event; not to be trusted.
    pub waba_id: Option<String>,
    /// From the event; not to be trusted.
    pub phone_number_id: Option<String>,
    /// The event's name, such as `FINISH_WHATSAPP_BUSINESS_APP_ONBOARDING`.
    pub event: Option<String>,
    /// Where the client left the flow.
    pub current_step: Option<String>,
    /// The error that the client reported.
    pub error: Option<SignupError>,
}

/// An error of Embedded Signup.
#[derive(Clone, Debug)]
pub struct SignupError {
    /// Meta's code, such as `2655095`.
    pub code: String,
    /// Meta's words.
    pub message: Option<String>,
    /// For Meta's support.
    pub session_id: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
}

/// One signup at a time for each onboarding, within this process.
#[derive(Default)]
pub struct Signups(Mutex<HashMap<OnboardingId, Arc<tokio::sync::Mutex<()>>>>);

impl Signups {
    async fn turn(&self, onboarding: OnboardingId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(onboarding).or_default().clone()
        };
        turn.lock_owned().await
    }
}

/// An onboarding after a command, and the place in the stream at which that is visible.
#[derive(Clone, Debug)]
pub struct Changed {
    /// It.
    pub onboarding: onboarding::Model,
    /// Place in the stream.
    pub position: i64,
}

/// Whether nothing more can come of it.
pub fn is_closed(onboarding: &onboarding::Model, now: Timestamp) -> bool {
    is_final(onboarding.status) || now >= onboarding.expires_at
}

fn is_final(status: OnboardingStatus) -> bool {
    match status {
        OnboardingStatus::Connected | OnboardingStatus::Revoked | OnboardingStatus::Expired => true,
        OnboardingStatus::Created
        | OnboardingStatus::Opened
        | OnboardingStatus::SignedIn
        | OnboardingStatus::NumberConfirmed
        | OnboardingStatus::HistoryChosen
        | OnboardingStatus::Failed => false,
    }
}

fn closed(onboarding: &onboarding::Model) -> Refusal {
    let why = match onboarding.status {
        OnboardingStatus::Connected => "is finished: the client is connected",
        OnboardingStatus::Revoked => "was revoked",
        _ => "has expired",
    };
    Refusal::new(
        RefusalCode::OnboardingClosed,
        "onboardingId",
        format!("this onboarding {why}; make a new one"),
    )
}

/// The onboarding that a caller names.
async fn named(app: &App, scope: &Scope, id: OnboardingId) -> Outcome<onboarding::Model> {
    let row =
        scope.find::<onboarding::Entity>().filter(onboarding::Column::Id.eq(id)).row(&app.db.reads()).await?;
    row.ok_or_else(|| {
        Refusal::new(RefusalCode::NotFound, "onboardingId", "there is no such onboarding").into()
    })
}

/// The event of a step.
fn told(onboarding: &onboarding::Model, status: OnboardingStatus, at: Timestamp) -> NewEvent {
    NewEvent {
        partner: onboarding.partner_id,
        kind: EventType::OnboardingChanged,
        occurred_at: at,
        client: Some(onboarding.client_id),
        subject: Some(onboarding.id.uuid()),
        data: Some(json!({ "status": status.word() })),
    }
}

/// Writes an onboarding and the step that it took; a step keeps its first instant.
async fn record<C: Sql>(
    tx: &C,
    onboarding: onboarding::Model,
    step: OnboardingStatus,
    at: Timestamp,
) -> Result<(), DbErr> {
    let id = onboarding.id;
    crate::db::upsert::<onboarding::Entity, _>(tx, vec![onboarding]).await?;
    let row = onboarding_step::Model { onboarding_id: id, status: step, at }.into_active_model().reset_all();
    let first = OnConflict::columns([onboarding_step::Column::OnboardingId, onboarding_step::Column::Status])
        .do_nothing()
        .to_owned();
    onboarding_step::Entity::insert(row).on_conflict(first).put(tx).await?;
    Ok(())
}

/// Takes a step, unless the onboarding was closed meanwhile.
async fn advance(app: &App, id: OnboardingId, step: OnboardingStatus) -> Outcome<Changed> {
    change(app, id, step, |_| {}).await
}

/// Takes a step and changes what else the step means, unless the onboarding was closed meanwhile.
async fn change(
    app: &App,
    id: OnboardingId,
    step: OnboardingStatus,
    also: impl FnOnce(&mut onboarding::Model) + Send,
) -> Outcome<Changed> {
    let now = app.now();
    let tx = app.db.begin_write().await?;
    #[expect(clippy::disallowed_methods, reason = "its id came through Scope, or from its own link")]
    let row = onboarding::Entity::find_by_id(id).lock_exclusive().row(&tx).await?;
    let Some(mut row) = row else {
        return Err(Refusal::new(RefusalCode::NotFound, "onboardingId", "there is no such onboarding").into());
    };
    let in_time = now < row.expires_at || step == OnboardingStatus::Expired;
    if is_final(row.status) || !in_time {
        return Err(closed(&row).into());
    }
    row.status = step;
    also(&mut row);
    record(&tx, row.clone(), step, now).await?;
    let event = told(&row, step, now);
    let heads = events::commit(&app.hub, tx, vec![event]).await?;
    Ok(Changed { position: heads.get(&row.partner_id).copied().unwrap_or(0), onboarding: row })
}

/// Ends an onboarding that is not finished.
///
/// # Errors
/// NOT_FOUND, ONBOARDING_CLOSED.
pub async fn revoke(app: &App, scope: &Scope, id: OnboardingId) -> Outcome<Changed> {
    scope.require(Permission::Admin)?;
    let row = named(app, scope, id).await?;
    advance(app, row.id, OnboardingStatus::Revoked).await
}

/// The onboarding that a link belongs to.
///
/// # Errors
/// When the database is away.
pub async fn by_link(app: &App, token: &str) -> Result<Option<onboarding::Model>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the link's 128 random bits are the credential")]
    onboarding::Entity::find().filter(onboarding::Column::LinkToken.eq(token)).row(&app.db.reads()).await
}

/// The link was opened: a step, the first time.
///
/// # Errors
/// When the database is away.
pub async fn opened(app: &App, onboarding: &onboarding::Model) -> Outcome<()> {
    if onboarding.status == OnboardingStatus::Created && !is_closed(onboarding, app.now()) {
        advance(app, onboarding.id, OnboardingStatus::Opened).await?;
    }
    Ok(())
}

/// Closes what is too late. Says how many.
///
/// # Errors
/// When the database is away.
pub async fn expire(app: &App) -> Outcome<usize> {
    let open = [
        OnboardingStatus::Created,
        OnboardingStatus::Opened,
        OnboardingStatus::SignedIn,
        OnboardingStatus::NumberConfirmed,
        OnboardingStatus::Failed,
    ];
    #[expect(clippy::disallowed_methods, reason = "upkeep over all partners")]
    let due: Vec<OnboardingId> = onboarding::Entity::find()
        .select_only()
        .column(onboarding::Column::Id)
        .filter(onboarding::Column::Status.is_in(open))
        .filter(onboarding::Column::ExpiresAt.lte(app.now()))
        .limit(100)
        .into_tuple()
        .all(app.db.read())
        .await?;
    for id in &due {
        advance(app, *id, OnboardingStatus::Expired).await?;
    }
    Ok(due.len())
}

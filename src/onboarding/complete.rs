//! From what the browser got to a connected number (S2 to S5, R1, R2, R15). Judged by what WhatsApp says, never by what the
//! browser says. Only [`registration`] registers a number, and never one that is in the app: that would
//! take it off the phone.

use std::sync::Arc;

use entity::{
    AliasKind, AppPresenceBasis, ClientMode, ClientStatus, EventType, HistoryImport, OnboardingId,
    OnboardingStatus, SyncKind, SyncState, Timestamp, client, onboarding, sync,
};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::failure::SignupFailure;
use super::{Changed, Complete, advance, change, closed, is_closed, named, record, registration, told};
use crate::app::App;
use crate::apply::merge::stands_for;
use crate::auth::{Permission, Scope};
use crate::clients::profile;
use crate::clock::Clock;
use crate::db::{self, HeldClients, SelectExt, Sql, Tx, WriteExt};
use crate::events::{self, NewEvent};
use crate::failure::{Failure, Outcome, Refusal, RefusalCode};
use crate::ids::PublicId;
use crate::inbound;
use crate::upstream::meta::client::{CallError, PhoneNumber, TokenInfo};

/// The finish of a signup that keeps the app, and that of one without.
const FINISHED_WITH_APP: &str = "FINISH_WHATSAPP_BUSINESS_APP_ONBOARDING";
const FINISHED: &str = "FINISH";
/// What a token must allow.
const SCOPES: [&str; 2] = ["whatsapp_business_management", "whatsapp_business_messaging"];

/// A number that WhatsApp confirmed, and what it takes to speak for it.
pub(super) struct Confirmed {
    waba_id: String,
    pub(super) number: PhoneNumber,
    pub(super) token: SecretString,
    token_expires_at: Option<Timestamp>,
    /// When name and profile were asked for.
    asked_at: Timestamp,
    /// None: it cannot be read right now, and is read again.
    profile: Option<Value>,
}

/// Takes what the browser got from Embedded Signup as far as it goes, whether or not the caller still waits for it.
///
/// # Errors
/// NOT_FOUND, INVALID, ONBOARDING_CLOSED. A failed signup is not an error: it is the onboarding's state, and the same link can
/// be tried again.
pub async fn complete(app: &Arc<App>, scope: &Scope, input: Complete) -> Outcome<Changed> {
    scope.require(Permission::Admin)?;
    check(&input)?;
    let (service, scope) = (app.clone(), scope.clone());
    app.tasks.to_its_end(async move { Box::pin(go_on(&service, &scope, input)).await }).await
}

/// What a browser reports is short: an INVALID says which part is not.
fn check(input: &Complete) -> Result<(), Refusal> {
    let error = input.error.as_ref();
    for (field, value, most) in [
        ("code", input.code.as_deref(), 4096),
        ("wabaId", input.waba_id.as_deref(), 64),
        ("phoneNumberId", input.phone_number_id.as_deref(), 64),
        ("event", input.event.as_deref(), 128),
        ("currentStep", input.current_step.as_deref(), 128),
        ("error.code", error.map(|error| error.code.as_str()), 64),
        ("error.message", error.and_then(|error| error.message.as_deref()), 2000),
        ("error.sessionId", error.and_then(|error| error.session_id.as_deref()), 256),
    ] {
        if value.is_some_and(|value| value.chars().count() > most) {
            return Err(Refusal::new(
                RefusalCode::Invalid,
                field,
                format!("it takes at most {most} characters"),
            ));
        }
    }
    Ok(())
}

async fn go_on(app: &App, scope: &Scope, input: Complete) -> Outcome<Changed> {
    // A code works once: of two requests that bring the same one at once, the second finds out what became of the first.
    let _turn = app.signups.turn(input.onboarding).await;
    let onboarding = named(app, scope, input.onboarding).await?;
    if is_closed(&onboarding, app.now()) {
        return Err(closed(&onboarding).into());
    }
    let mode = onboarding.mode;
    if let Some(failure) = failure_of(app, mode, &input) {
        return fail(app, onboarding.id, failure).await;
    }
    let Some(code) = input.code.as_deref().filter(|code| !code.is_empty()) else {
        // The event came alone: the code, which alone proves anything, may follow.
        let position = app.hub.head(scope.partner()).await?;
        return Ok(Changed { onboarding, position });
    };
    advance(app, onboarding.id, OnboardingStatus::SignedIn).await?;
    let confirmed = match confirm(app, mode, &input, code).await {
        Ok(confirmed) => confirmed,
        Err(Stop::Failed(failure)) => return fail(app, onboarding.id, failure).await,
        Err(Stop::Unavailable(error)) => return Err(Failure::Unavailable(error)),
    };
    advance(app, onboarding.id, OnboardingStatus::NumberConfirmed).await?;
    let ready = match subscribe(app, &confirmed).await {
        Ok(()) if mode == ClientMode::ApiOnly => registration::register(app, &onboarding, &confirmed).await?,
        done => done,
    };
    match ready {
        Ok(()) => {}
        Err(Stop::Failed(failure)) => return fail(app, onboarding.id, failure).await,
        Err(Stop::Unavailable(error)) => return Err(Failure::Unavailable(error)),
    }
    match connect(app, onboarding.id, &confirmed).await? {
        Ok(changed) => Ok(changed),
        Err(failure) => fail(app, onboarding.id, failure).await,
    }
}

/// Why it goes no further.
pub(super) enum Stop {
    /// For this try.
    Failed(SignupFailure),
    /// WhatsApp cannot be reached; the browser's code may still be good.
    Unavailable(anyhow::Error),
}

impl Stop {
    /// A call failed.
    pub(super) fn of(error: CallError, code: &'static str, doing: &str) -> Self {
        match error {
            CallError::NotConnected(error) => Stop::Unavailable(error),
            CallError::Refused(error) => Stop::Failed(SignupFailure {
                code,
                message: format!("{doing}: {error}"),
                upstream_code: Some(error.code.to_string()),
                session_id: None,
            }),
            CallError::Unclear(why) => Stop::Failed(SignupFailure::new(
                code,
                format!("{doing}: WhatsApp gave no clear answer ({why})"),
            )),
        }
    }
}

/// What the browser reports as failed.
fn failure_of(app: &App, mode: ClientMode, input: &Complete) -> Option<SignupFailure> {
    if let Some(error) = &input.error {
        let failure = SignupFailure::of_meta(&error.code, error.message.as_deref(), &app.config.meta);
        return Some(SignupFailure { session_id: error.session_id.clone(), ..failure });
    }
    let refuse = |code, message: &str, event: &str| {
        let upstream_code = Some(event.to_owned());
        Some(SignupFailure { upstream_code, ..SignupFailure::new(code, message) })
    };
    match (mode, input.event.as_deref()) {
        (_, None)
        | (ClientMode::Coexistence, Some(FINISHED_WITH_APP))
        | (ClientMode::ApiOnly, Some(FINISHED)) => None,
        (_, Some("CANCEL")) => {
            let step = input.current_step.as_deref().map(|step| format!(" at {step}")).unwrap_or_default();
            Some(SignupFailure::new("CANCELED", format!("The signup was left{step}.")))
        }
        (_, Some("ERROR")) => Some(SignupFailure::new("OTHER", "WhatsApp ended the signup with an error.")),
        (ClientMode::Coexistence, Some(other)) => refuse(
            "NOT_COEXISTENCE",
            "The signup ended without the WhatsApp Business app: a number on the API alone is not what was asked for. Nothing \
             was registered.",
            other,
        ),
        (ClientMode::ApiOnly, Some(FINISHED_WITH_APP)) => refuse(
            "IN_BUSINESS_APP",
            "The signup connected a number that stays in the WhatsApp Business app: one on the API alone was asked for. \
             Nothing was registered.",
            FINISHED_WITH_APP,
        ),
        (ClientMode::ApiOnly, Some(other)) => {
            refuse("OTHER", "The signup ended without a number that could be used.", other)
        }
    }
}

async fn fail(app: &App, id: OnboardingId, failure: SignupFailure) -> Outcome<Changed> {
    change(app, id, OnboardingStatus::Failed, |row| {
        row.failure_code = Some(failure.code.to_owned());
        row.failure_message = Some(failure.message);
        row.failure_upstream_code = failure.upstream_code;
        row.failure_session_id = failure.session_id;
    })
    .await
}

/// Code to token, token to account, account to number.
async fn confirm(app: &App, mode: ClientMode, input: &Complete, code: &str) -> Result<Confirmed, Stop> {
    let upstream = &app.upstream;
    let refused = "TOKEN_REFUSED";
    let token = upstream
        .exchange_code(code)
        .await
        .map_err(|e| Stop::of(e, refused, "The signup's code was not accepted"))?;
    let info = upstream
        .debug_token(&token.secret)
        .await
        .map_err(|e| Stop::of(e, refused, "WhatsApp's permission could not be checked"))?;
    let accounts = accounts(app, input, &info).map_err(Stop::Failed)?;
    let token_expires_at =
        info.expires_at.or_else(|| token.expires_in.map(|seconds| Clock::real_now().plus_seconds(seconds)));
    let asked_at = app.now();
    let mut found: Option<(String, PhoneNumber)> = None;
    let mut in_app = false;
    for waba in accounts {
        let numbers = upstream
            .phone_numbers(&waba, &token.secret)
            .await
            .map_err(|e| Stop::of(e, "OTHER", "WhatsApp did not name the number"))?;
        let named = |n: &PhoneNumber| input.phone_number_id.as_ref() == Some(&n.id);
        for number in numbers {
            in_app |= number.is_on_biz_app == Some(true);
            let fits = match mode {
                ClientMode::Coexistence => number.is_on_biz_app == Some(true),
                // Where Meta does not tell, the signup's own word must be that this number goes without the app.
                ClientMode::ApiOnly => {
                    let said = named(&number) && input.event.as_deref() == Some(FINISHED);
                    number.is_on_biz_app.map_or(said, |in_app| !in_app)
                }
            };
            if !fits {
                continue;
            }
            let better = found.as_ref().is_none_or(|(_, known)| {
                (named(&number), number.last_onboarded_time) > (named(known), known.last_onboarded_time)
            });
            if better {
                found = Some((waba.clone(), number));
            }
        }
    }
    let Some((waba_id, number)) = found else {
        let (code, message) = match mode {
            ClientMode::Coexistence => {
                ("NOT_COEXISTENCE", "The account has no number that lives in the WhatsApp Business app.")
            }
            ClientMode::ApiOnly if in_app => (
                "IN_BUSINESS_APP",
                "The account's number lives in the WhatsApp Business app. Nothing was registered.",
            ),
            ClientMode::ApiOnly => ("OTHER", "The account has no number that could be used."),
        };
        return Err(Stop::Failed(SignupFailure::new(code, message)));
    };
    let profile = upstream.profile(&number.id, &token.secret).await;
    let profile = profile
        .inspect_err(|error| tracing::warn!(%error, "a new client's profile cannot be read right now"))
        .ok();
    Ok(Confirmed { waba_id, number, token: token.secret, token_expires_at, asked_at, profile })
}

/// The accounts that the token speaks for. The browser's word counts only where the token agrees.
fn accounts(app: &App, input: &Complete, info: &TokenInfo) -> Result<Vec<String>, SignupFailure> {
    let refuse = |why: &str| Err(SignupFailure::new("TOKEN_REFUSED", why));
    if !info.is_valid || info.app_id != app.upstream.settings.app_id {
        return refuse("WhatsApp's permission is not valid for this service.");
    }
    let missing: Vec<&str> =
        SCOPES.into_iter().filter(|scope| !info.scopes.iter().any(|have| have == scope)).collect();
    if !missing.is_empty() {
        return refuse(&format!("The signup did not grant {}.", missing.join(" and ")));
    }
    match &input.waba_id {
        Some(waba) if info.waba_ids.is_empty() || info.waba_ids.contains(waba) => Ok(vec![waba.clone()]),
        Some(_) => refuse("The signup granted another account than the browser named."),
        None if info.waba_ids.is_empty() => {
            refuse("WhatsApp named no account: send the wabaId of the signup's event too.")
        }
        None => Ok(info.waba_ids.clone()),
    }
}

/// Subscribes to the account's webhooks and reads it back: without, the imports would be lost for good.
async fn subscribe(app: &App, confirmed: &Confirmed) -> Result<(), Stop> {
    let stop = |error| Stop::of(error, "OTHER", "The account's webhooks could not be subscribed");
    app.upstream.subscribe(&confirmed.waba_id, &confirmed.token).await.map_err(stop)?;
    if app.upstream.subscribed(&confirmed.waba_id, &confirmed.token).await.map_err(stop)? {
        return Ok(());
    }
    Err(Stop::Failed(SignupFailure::new(
        "OTHER",
        "WhatsApp did not keep the subscription to the account's webhooks.",
    )))
}

/// Makes the number the client's, in one transaction; or says why it cannot be.
async fn connect(
    app: &App,
    id: OnboardingId,
    confirmed: &Confirmed,
) -> Outcome<Result<Changed, SignupFailure>> {
    let now = app.now();
    let missing = || Refusal::new(RefusalCode::NotFound, "onboardingId", "there is no such onboarding");
    #[expect(clippy::disallowed_methods, reason = "its id came through Scope")]
    let by_id = onboarding::Entity::find_by_id(id);
    let linked = by_id.clone().row(&app.db.reads()).await?.ok_or_else(missing)?.client_id;
    let others = of_number(&confirmed.number.id).rows(&app.db.reads()).await?;
    // Held, then read: what the applier may write meanwhile is not overwritten.
    let held = app.db.hold(others.iter().map(|row| row.id).chain([linked])).await;
    let tx = app.db.begin_for(&held).await?;
    // Two that are the first to connect a number have no client in common to wait for.
    db::lock_name(&tx, &confirmed.number.id).await?;
    let mut onboarding = by_id.lock_exclusive().row(&tx).await?.ok_or_else(missing)?;
    if is_closed(&onboarding, now) {
        return Err(closed(&onboarding).into());
    }
    let mut events = Vec::new();
    let client = match owner(&tx, &held, &mut onboarding, confirmed, now, &mut events).await? {
        Ok(client) => client,
        Err(failure) => return Ok(Err(failure)),
    };
    let client = connected(app, client, &onboarding, confirmed, now)?;
    let syncs = syncs(app, &client, now);
    crate::db::upsert::<client::Entity, _>(&tx, vec![client.clone()]).await?;
    crate::db::upsert::<sync::Entity, _>(&tx, syncs).await?;
    onboarding.status = OnboardingStatus::Connected;
    onboarding.pin_sealed = None;
    onboarding.failure_code = None;
    onboarding.failure_message = None;
    onboarding.failure_upstream_code = None;
    onboarding.failure_session_id = None;
    record(&tx, onboarding.clone(), OnboardingStatus::Connected, now).await?;
    events.push(told(&onboarding, OnboardingStatus::Connected, now));
    events.push(NewEvent {
        partner: client.partner_id,
        kind: EventType::ClientConnected,
        occurred_at: now,
        client: Some(client.id),
        subject: None,
        data: None,
    });
    let heads = events::commit(&app.hub, tx, events).await?;
    drop(held);
    // What WhatsApp told before we knew the number. At once: what is told from now on is to find it in its order.
    let since = Ord::max(onboarding.created_at, inbound::unmatched_since(app));
    inbound::try_unmatched(app, since).await?;
    app.lanes_wake.notify_one();
    hears_still(app, confirmed).await;
    // Before the answer: whoever hears "connected" can rely on the imports being asked for.
    crate::sync::ask_now(app, client.id).await?;
    // Once more: a batch that was routed before the number was known may have been settled since.
    inbound::try_unmatched(app, since).await?;
    let position = heads.get(&onboarding.partner_id).copied().unwrap_or(0);
    Ok(Ok(Changed { onboarding, position }))
}

/// Whoever ended the connection of another number of the account may have ended the subscription too, while this number was
/// not connected yet. From now on they see that it is.
async fn hears_still(app: &App, confirmed: &Confirmed) {
    let (waba, token) = (&confirmed.waba_id, &confirmed.token);
    let done = match app.upstream.subscribed(waba, token).await {
        Ok(true) => return,
        Ok(false) => app.upstream.subscribe(waba, token).await,
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        tracing::warn!(%error, "it is not known whether a new client's webhooks are still subscribed");
    }
}

/// Whoever has or had a number.
pub(super) fn of_number(phone_number_id: &str) -> sea_orm::Select<client::Entity> {
    #[expect(clippy::disallowed_methods, reason = "whether anybody holds the number, whoever it is")]
    client::Entity::find().filter(client::Column::PhoneNumberId.eq(phone_number_id))
}

/// The client that the number belongs to: the link's, or the one that had it before (R15). A number is connected with one
/// partner of the installation at a time; nothing is told about the other.
async fn owner(
    tx: &Tx,
    held: &HeldClients,
    onboarding: &mut onboarding::Model,
    confirmed: &Confirmed,
    now: Timestamp,
    events: &mut Vec<NewEvent>,
) -> Outcome<Result<client::Model, SignupFailure>> {
    let holders = of_number(&confirmed.number.id).rows(tx).await?;
    if !holders.iter().all(|holder| held.holds(holder.id)) {
        return Err(Failure::Unavailable(anyhow::anyhow!(
            "the number was connected elsewhere this very moment"
        )));
    }
    let linked = linked(tx, onboarding).await?;
    if let Some(failure) = taken(onboarding, &linked, &holders, &confirmed.number) {
        return Ok(Err(failure));
    }
    let known = holders.into_iter().find(|holder| holder.partner_id == onboarding.partner_id);
    match known {
        Some(known) if known.id == linked.id => Ok(Ok(known)),
        None => Ok(Ok(linked)),
        Some(known) => {
            merge(tx, onboarding, &linked, &known, now, events).await?;
            // What the partner said of the client with the fresh link, where it had said nothing yet.
            Ok(Ok(client::Model {
                reference: known.reference.or(linked.reference),
                business_email: known.business_email.or(linked.business_email),
                ..known
            }))
        }
    }
}

/// The client of the link.
pub(super) async fn linked<C: Sql>(
    connection: &C,
    onboarding: &onboarding::Model,
) -> Result<client::Model, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the onboarding's own client")]
    let linked = client::Entity::find_by_id(onboarding.client_id).row(connection).await?;
    linked.ok_or_else(|| DbErr::RecordNotFound("the onboarding's client".to_owned()))
}

/// Why a number cannot be connected through a link; none: it can.
pub(super) fn taken(
    onboarding: &onboarding::Model,
    linked: &client::Model,
    holders: &[client::Model],
    number: &PhoneNumber,
) -> Option<SignupFailure> {
    let elsewhere = holders.iter().any(|holder| {
        holder.partner_id != onboarding.partner_id
            && matches!(holder.status, ClientStatus::Connected | ClientStatus::Paused)
    });
    if elsewhere {
        return Some(SignupFailure::new("NUMBER_IN_USE", "The number is connected already."));
    }
    let other = linked.phone_number_id.as_ref().is_some_and(|id| *id != number.id);
    let own = linked.phone_number.as_deref().unwrap_or_default();
    other.then(|| {
        let message = format!(
            "This link reconnects {own}, but {} was connected; make a new onboarding for the other number.",
            number.display_phone_number
        );
        SignupFailure::new("OTHER", message)
    })
}

/// The client that was made for the link is closed: its id goes on answering with the one that is known already.
#[expect(clippy::disallowed_methods, reason = "rows of the two clients, by their own ids")]
async fn merge(
    tx: &Tx,
    onboarding: &mut onboarding::Model,
    linked: &client::Model,
    known: &client::Model,
    now: Timestamp,
    events: &mut Vec<NewEvent>,
) -> Result<(), DbErr> {
    onboarding::Entity::update_many()
        .col_expr(onboarding::Column::ClientId, Expr::value(known.id))
        .filter(onboarding::Column::ClientId.eq(linked.id))
        .put(tx)
        .await?;
    onboarding.client_id = known.id;
    client::Entity::delete_by_id(linked.id).put(tx).await?;
    stands_for(tx, known.partner_id, AliasKind::Client, linked.id.uuid(), known.id.uuid()).await?;
    events.push(NewEvent {
        partner: known.partner_id,
        kind: EventType::ClientMerged,
        occurred_at: now,
        client: Some(known.id),
        subject: None,
        data: Some(json!({ "mergedId": linked.id })),
    });
    Ok(())
}

/// The client's row, from now on.
fn connected(
    app: &App,
    client: client::Model,
    onboarding: &onboarding::Model,
    confirmed: &Confirmed,
    now: Timestamp,
) -> Outcome<client::Model> {
    let token = app.key.seal(client.id.uuid().as_bytes(), &confirmed.token).map_err(Failure::Internal)?;
    let pin_sealed = match &client.pin_sealed {
        Some(known) => Some(known.clone()),
        None => registration::handed_over(app, onboarding, client.id).map_err(Failure::Internal)?,
    };
    let with_app = onboarding.mode == ClientMode::Coexistence;
    Ok(client::Model {
        mode: onboarding.mode,
        pin_sealed,
        status: ClientStatus::Connected,
        phone_number: Some(confirmed.number.display_phone_number.clone()),
        phone_number_id: Some(confirmed.number.id.clone()),
        waba_id: Some(confirmed.waba_id.clone()),
        display_name: confirmed.number.verified_name.clone().or(client.display_name),
        display_name_at: profile::asked(confirmed.asked_at),
        profile: confirmed.profile.clone().or(client.profile),
        profile_at: if confirmed.profile.is_some() { confirmed.asked_at } else { Timestamp(0) },
        // It may be another account, and nothing was heard of it meanwhile.
        templates_at: Timestamp(0),
        templates_due_at: Timestamp(0),
        token_sealed: Some(token),
        token_expires_at: confirmed.token_expires_at,
        history_import: onboarding.history_import,
        shares_history: None,
        first_connected_at: client.first_connected_at.or(Some(now)),
        connected_at: Some(now),
        account_at: now.floor_second(),
        account_rank: 0,
        disconnected_at: None,
        disconnect_reason: None,
        disconnect_upstream_reason: None,
        disconnect_initiated_by: None,
        pause_reason: None,
        last_seen_at: with_app.then_some(now),
        last_seen_basis: with_app.then_some(AppPresenceBasis::Connection),
        visit_raised_days: 0,
        ..client
    })
}

/// Both imports, at their beginning. Contacts are asked for wherever there is an app; the history as the partner chose (R3),
/// which is never without one.
fn syncs(app: &App, client: &client::Model, now: Timestamp) -> Vec<sync::Model> {
    let begin = |kind, wanted: bool, state| sync::Model {
        client_id: client.id,
        kind,
        state,
        percent: 0,
        items: 0,
        intent_at: wanted.then_some(now),
        requested_at: None,
        request_id: None,
        deadline_at: Some(now.plus_seconds(app.config.sync.deadline_seconds)),
        // The first try is made right here; should the process end before it, the engine makes it then.
        next_attempt_at: wanted.then(|| now.plus_seconds(app.config.sync.retry_seconds)),
        attempts: 0,
        refusal: None,
        last_failure: None,
        started_at: None,
        finished_at: None,
        last_chunk_at: None,
        complete_seen: false,
    };
    let history = match client.history_import {
        HistoryImport::Automatic => begin(SyncKind::History, true, SyncState::NotRequested),
        HistoryImport::OnRequest => begin(SyncKind::History, false, SyncState::NotRequested),
        HistoryImport::Never => begin(SyncKind::History, false, SyncState::Unavailable),
    };
    let contacts = match client.mode {
        ClientMode::Coexistence => begin(SyncKind::Contacts, true, SyncState::NotRequested),
        ClientMode::ApiOnly => begin(SyncKind::Contacts, false, SyncState::Unavailable),
    };
    vec![contacts, history]
}

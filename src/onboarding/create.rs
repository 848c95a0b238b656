//! A new onboarding: checked, then a link, and a place for its client (S1).

use entity::{
    ClientId, ClientMode, ClientStatus, HistoryImport, OnboardingId, OnboardingStatus, Timestamp, client,
    onboarding,
};
use sea_orm::{ColumnTrait, DbErr, QueryFilter};
use sha2::Digest;

use super::{Create, Created, record, told};
use crate::app::App;
use crate::auth::{Permission, Scope};
use crate::clients;
use crate::db::{self, SelectExt, Tx};
use crate::events;
use crate::failure::{Failure, Outcome, Refusal, RefusalCode};
use crate::ids::PublicId;
use crate::partners;
use crate::secrets::random_hex;
use crate::upstream::meta::{Meta, NEEDED_FIELDS, NEEDED_FIELDS_WITHOUT_APP};
use crate::webhooks;

/// A link lives at most this long.
const LONGEST: i64 = 30 * 86_400;
/// And at least this long.
const SHORTEST: i64 = 60;
/// How often a temporary number is drawn anew when it is taken: of ten million, with room for all.
const DRAWS: usize = 20;

/// Makes an onboarding and the place for its client.
///
/// # Errors
/// INVALID, NOT_FOUND (client), UPSTREAM_NOT_LISTENING, IDEMPOTENCY_CONFLICT.
pub async fn create(app: &App, scope: &Scope, input: Create) -> Outcome<Created> {
    scope.require(Permission::Admin)?;
    check(&input)?;
    let hash = request_hash(&input);
    if let Some(key) = &input.idempotency_key
        && let Some(known) = by_key(app, scope, key).await?
    {
        return again(app, scope, known, &hash).await;
    }
    let known = match input.client {
        None if scope.clients().is_some() => {
            return Err(Refusal::new(
                RefusalCode::Invalid,
                "clientId",
                "this key is restricted to some clients: it can reconnect one of them, not make a new one",
            )
            .into());
        }
        None => None,
        Some(id) => {
            let client = clients::named(app, scope, id).await?;
            if client.status == ClientStatus::Connected {
                return Err(Refusal::new(
                    RefusalCode::Invalid,
                    "clientId",
                    "this client is connected already",
                )
                .into());
            }
            Some(client)
        }
    };
    listening(&app.upstream, mode(&input)).await?;

    let now = app.now();
    let mut warnings = Vec::new();
    if !partners::listens(&app.db, scope.partner()).await?
        && !webhooks::endpoints::any(app, scope.partner()).await?
    {
        warnings.push(
            "Nobody listens yet: open a subscription (or make a webhook endpoint) before the client connects, so that you \
             hear what the client sends from the app and what becomes of it."
                .to_owned(),
        );
    }
    for draw in 1..=DRAWS {
        let fresh = known.is_none();
        let row = known.clone().unwrap_or_else(|| new_client(scope, &input, now));
        let onboarding = new_onboarding(app, scope, &input, row.id, &hash, now);
        let tx = app.db.begin_write().await?;
        if fresh && let Err(error) = write_client(&tx, row.clone()).await {
            let taken = db::is_taken(&error);
            if taken && draw < DRAWS {
                continue;
            }
            return Err(error.into());
        }
        let id = onboarding.id;
        if let Err(error) = write_onboarding(&tx, onboarding.clone(), now).await {
            // Two requests with one key at once: the first one's answer is ours too.
            drop(tx);
            let taken = db::is_taken(&error);
            if let Some(key) = &input.idempotency_key
                && taken
                && let Some(known) = by_key(app, scope, key).await?
                && known.id != id
            {
                return again(app, scope, known, &hash).await;
            }
            return Err(error.into());
        }
        let event = told(&onboarding, OnboardingStatus::Created, now);
        let heads = events::commit(&app.hub, tx, vec![event]).await?;
        let position = heads.get(&scope.partner()).copied().unwrap_or(0);
        return Ok(Created { onboarding, warnings, position });
    }
    Err(Failure::Internal(anyhow::anyhow!("no temporary number is free")))
}

/// Returns when it is known whether there is one with its temporary number.
async fn write_client(tx: &Tx, row: client::Model) -> Result<(), DbErr> {
    db::upsert::<client::Entity, _>(tx, vec![row]).await?;
    tx.flush().await
}

/// Returns when it is known whether there is one with its idempotency key.
async fn write_onboarding(tx: &Tx, row: onboarding::Model, now: Timestamp) -> Result<(), DbErr> {
    record(tx, row, OnboardingStatus::Created, now).await?;
    tx.flush().await
}

fn check(input: &Create) -> Outcome<()> {
    let invalid = |field: &str, message: &str| Err(Refusal::new(RefusalCode::Invalid, field, message).into());
    let name = input.business_name.trim();
    if name.is_empty() || name.chars().count() > 256 {
        return invalid("businessName", "it needs 1 to 256 characters");
    }
    for (field, value, most) in [
        ("displayName", &input.display_name, 256),
        ("reference", &input.reference, 256),
        ("businessEmail", &input.business_email, 254),
        ("locale", &input.locale, 35),
        ("idempotencyKey", &input.idempotency_key, 256),
    ] {
        if value.as_ref().is_some_and(|value| value.trim().is_empty() || value.chars().count() > most) {
            return invalid(field, &format!("it needs 1 to {most} characters, or to be left out"));
        }
    }
    if input.business_email.as_ref().is_some_and(|mail| !mail.contains('@')) {
        return invalid("businessEmail", "it is not a mail address");
    }
    for (field, value) in [("successUrl", &input.success_url), ("failureUrl", &input.failure_url)] {
        let good = |text: &String| {
            text.len() <= 2048
                && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        };
        if value.as_ref().is_some_and(|value| !good(value)) {
            return invalid(field, "it needs an absolute http or https address of at most 2048 characters");
        }
    }
    for (field, most) in [
        ("message", 2000),
        ("buttonLabel", 100),
        ("successText", 2000),
        ("failureText", 2000),
        ("logoUrl", 2048),
    ] {
        let text = input.branding.as_ref().and_then(|branding| branding.get(field)?.as_str());
        if text.is_some_and(|text| text.chars().count() > most) {
            return invalid(&format!("branding.{field}"), &format!("it takes at most {most} characters"));
        }
    }
    if input.expires_in.is_some_and(|seconds| !(SHORTEST..=LONGEST).contains(&seconds)) {
        return invalid("expiresInSeconds", "it needs 60 to 2592000 seconds (30 days)");
    }
    Ok(())
}

/// What the client shall be.
fn mode(input: &Create) -> ClientMode {
    if input.coexistence { ClientMode::Coexistence } else { ClientMode::ApiOnly }
}

/// Without an app there is nothing to import.
fn history(input: &Create) -> HistoryImport {
    if input.coexistence { input.history } else { HistoryImport::Never }
}

/// Whether WhatsApp tells us all that is needed; asked each time, since an onboarding that misses its history cannot get it
/// again.
async fn listening(upstream: &Meta, mode: ClientMode) -> Outcome<()> {
    let needed: &[&str] = match mode {
        ClientMode::Coexistence => &NEEDED_FIELDS,
        ClientMode::ApiOnly => &NEEDED_FIELDS_WITHOUT_APP,
    };
    let fields = match upstream.app_subscriptions().await {
        Ok(fields) => fields,
        Err(error) => return Err(Failure::Unavailable(anyhow::anyhow!(error))),
    };
    let missing: Vec<&str> =
        needed.iter().copied().filter(|field| !fields.iter().any(|known| known == field)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::UpstreamNotListening,
        "",
        format!(
            "the WhatsApp app is not subscribed to the webhook fields {}: without them history, contacts or messages would be \
             lost; subscribe to them in the app's dashboard, then try again",
            missing.join(", ")
        ),
    )
    .into())
}

fn new_client(scope: &Scope, input: &Create, now: Timestamp) -> client::Model {
    let digits: u32 = rand::random_range(0..10_000_000);
    client::Model {
        id: ClientId::generate(),
        partner_id: scope.partner(),
        mode: mode(input),
        status: ClientStatus::Onboarding,
        temporary_number: format!("+97257{digits:07}"),
        phone_number: None,
        phone_number_id: None,
        waba_id: None,
        display_name: input.display_name.clone(),
        display_name_at: Timestamp(0),
        profile: None,
        profile_at: Timestamp(0),
        templates_at: Timestamp(0),
        templates_due_at: Timestamp(0),
        business_name: input.business_name.trim().to_owned(),
        business_email: input.business_email.clone(),
        reference: input.reference.clone(),
        token_sealed: None,
        token_expires_at: None,
        pin_sealed: None,
        history_import: history(input),
        shares_history: None,
        first_connected_at: None,
        connected_at: None,
        account_at: Timestamp(0),
        account_rank: 0,
        disconnected_at: None,
        disconnect_reason: None,
        disconnect_upstream_reason: None,
        disconnect_initiated_by: None,
        pause_reason: None,
        last_seen_at: None,
        last_seen_basis: None,
        visit_raised_days: 0,
        created_at: now,
    }
}

fn new_onboarding(
    app: &App,
    scope: &Scope,
    input: &Create,
    client: ClientId,
    hash: &str,
    now: Timestamp,
) -> onboarding::Model {
    onboarding::Model {
        id: OnboardingId::generate(),
        partner_id: scope.partner(),
        client_id: client,
        mode: mode(input),
        status: OnboardingStatus::Created,
        link_token: random_hex(16),
        history_import: history(input),
        reference: input.reference.clone(),
        locale: input.locale.clone(),
        branding: input.branding.clone(),
        success_url: input.success_url.clone(),
        failure_url: input.failure_url.clone(),
        shares_history: None,
        failure_code: None,
        failure_message: None,
        failure_upstream_code: None,
        failure_session_id: None,
        pin_sealed: None,
        idempotency_key: input.idempotency_key.clone(),
        request_hash: input.idempotency_key.as_ref().map(|_| hash.to_owned()),
        created_at: now,
        expires_at: now.plus_seconds(input.expires_in.unwrap_or(app.config.onboarding.expires_seconds)),
    }
}

fn request_hash(input: &Create) -> String {
    let Create {
        coexistence,
        business_name,
        business_email,
        display_name,
        reference,
        locale,
        branding,
        success_url,
        failure_url,
        history,
        client,
        expires_in,
        idempotency_key: _,
    } = input;
    let history: &HistoryImport = history;
    let request = serde_json::json!([
        coexistence,
        business_name,
        business_email,
        display_name,
        reference,
        locale,
        branding,
        success_url,
        failure_url,
        history,
        client,
        expires_in,
    ]);
    hex::encode(sha2::Sha256::digest(request.to_string().as_bytes()))
}

async fn by_key(app: &App, scope: &Scope, key: &str) -> Outcome<Option<onboarding::Model>> {
    let of_key = onboarding::Column::IdempotencyKey.eq(key);
    Ok(scope.find_partner::<onboarding::Entity>().filter(of_key).row(&app.db.reads()).await?)
}

async fn again(app: &App, scope: &Scope, known: onboarding::Model, hash: &str) -> Outcome<Created> {
    if !scope.admits(known.client_id) || known.request_hash.as_deref() != Some(hash) {
        return Err(Refusal::new(
            RefusalCode::IdempotencyConflict,
            "idempotencyKey",
            "this key made an onboarding with other values; use a new key",
        )
        .into());
    }
    let position = app.hub.head(scope.partner()).await?;
    Ok(Created { onboarding: known, warnings: Vec::new(), position })
}

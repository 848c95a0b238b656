//! Mutations of onboardings.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, SimpleObject};
use entity::{ClientId, OnboardingId};
use serde::Serialize;

use super::client::cursor;
use crate::graphql::context::ContextExt;
use crate::graphql::error::{Result, UserError, settle};
use crate::graphql::scalars::{DateTime, EventCursor, Given, Url};
use crate::graphql::types::Onboarding;
use crate::graphql::types::enums::HistoryImport;
use crate::onboarding;

/// A new onboarding.
#[derive(Debug, InputObject)]
pub struct CreateOnboardingInput {
    /// true: the client keeps the WhatsApp Business app (the provider's whatsapp=1). false: the number lives on the API
    /// alone, without any app; it is registered there, and imports nothing. Until a number is connected, a temporary one that
    /// begins with +97257 stands in.
    #[graphql(default = true)]
    pub coexistence: bool,
    /// The name of the business.
    pub business_name: String,
    /// Its mail address, filled in for the client in WhatsApp's signup.
    pub business_email: Option<String>,
    /// What the client is called until its own display name is known.
    pub display_name: Option<String>,
    /// Your own key for the client: found again by `onboardings(filter: {reference})`.
    pub reference: Option<String>,
    /// The language of the page, such as `de`. Null: the browser's.
    pub locale: Option<String>,
    /// How the page looks. Null: plain.
    pub branding: Option<BrandingInput>,
    /// Where the browser goes when the number is connected. Null: it stays on the page.
    pub success_url: Option<Url>,
    /// Where the browser goes when the onboarding failed. Null: it stays on the page.
    pub failure_url: Option<Url>,
    /// Whether to import the six months: at once, when requestHistorySync asks for it (within 24 hours of connection), or
    /// not at all.
    #[graphql(default_with = "HistoryImport::Automatic")]
    pub history: HistoryImport,
    /// Reconnects a known client instead of making a new one.
    pub client_id: Option<Given<ClientId>>,
    /// How long the link works, in seconds. Null: 7 days (a setting).
    pub expires_in_seconds: Option<i32>,
    /// Calling twice with one key makes one onboarding, at most 256 characters. Null: every call makes one.
    pub idempotency_key: Option<String>,
}

/// How the page of an onboarding looks.
#[derive(Debug, InputObject, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrandingInput {
    /// Your logo. Null: none.
    #[serde(serialize_with = "address")]
    pub logo_url: Option<Url>,
    /// What the page says first. Null: its own words.
    pub message: Option<String>,
    /// What is on the button. Null: its own words.
    pub button_label: Option<String>,
    /// What the page says at the end. Null: its own words.
    pub success_text: Option<String>,
    /// What the page says when it failed. Null: its own words.
    pub failure_text: Option<String>,
}

fn address<S: serde::Serializer>(url: &Option<Url>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_ref().map(|url| url.0.as_str()).serialize(serializer)
}

/// Which onboarding.
#[derive(Debug, InputObject)]
pub struct RevokeOnboardingInput {
    /// The onboarding.
    pub onboarding_id: Given<OnboardingId>,
}

/// What the browser got from Embedded Signup: the code and the WA_EMBEDDED_SIGNUP event, in any order, either may be
/// missing.
#[derive(Debug, InputObject)]
pub struct CompleteOnboardingInput {
    /// The onboarding.
    pub onboarding_id: Given<OnboardingId>,
    /// The code that the signup ended with. It lives 30 seconds and works once.
    pub code: Option<String>,
    /// From the event: the WhatsApp Business Account.
    pub waba_id: Option<ID>,
    /// From the event: the number.
    pub phone_number_id: Option<ID>,
    /// The event's name, such as `FINISH_WHATSAPP_BUSINESS_APP_ONBOARDING`.
    pub event: Option<String>,
    /// From the event of a signup that was left: where.
    pub current_step: Option<String>,
    /// From the event of a signup that failed: why.
    pub error: Option<SignupErrorInput>,
}

/// An error of Embedded Signup.
#[derive(Debug, InputObject)]
pub struct SignupErrorInput {
    /// WhatsApp's code, such as `2655095`.
    pub code: String,
    /// WhatsApp's words.
    pub message: Option<String>,
    /// For WhatsApp's support.
    pub session_id: Option<String>,
    /// When.
    pub at: Option<DateTime>,
}

/// An onboarding that was made.
#[derive(SimpleObject)]
pub struct CreateOnboardingPayload {
    /// The onboarding. Null: the mutation was refused.
    onboarding: Option<Onboarding>,
    /// What you should know, in words: such as that nobody listens to the stream yet.
    warnings: Vec<String>,
    /// Where the stream shows it. Null: the mutation was refused.
    event_cursor: Option<EventCursor>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

macro_rules! changed {
    ($($(#[$doc:meta])* $name:ident)+) => {
        $(
            $(#[$doc])*
            #[derive(SimpleObject)]
            pub struct $name {
                /// The onboarding. Null: the mutation was refused.
                onboarding: Option<Onboarding>,
                /// Where the stream shows what was changed. Null: the mutation was refused.
                event_cursor: Option<EventCursor>,
                /// Why it was refused; empty when it was not.
                user_errors: Vec<UserError>,
            }

            impl $name {
                fn new(
                    ctx: &Context<'_>,
                    changed: Option<onboarding::Changed>,
                    user_errors: Vec<UserError>,
                ) -> Self {
                    let (row, position) = changed.map(|changed| (changed.onboarding, changed.position)).unzip();
                    Self {
                        onboarding: row.map(|row| Onboarding(Arc::new(row))),
                        event_cursor: position.map(|position| cursor(ctx, position)),
                        user_errors,
                    }
                }
            }
        )+
    };
}

changed! {
    /// An onboarding that was called back.
    RevokeOnboardingPayload
    /// An onboarding that went on. A signup that failed is no user error: it is the onboarding's state.
    CompleteOnboardingPayload
}

/// Makes an onboarding.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn create(ctx: &Context<'_>, input: CreateOnboardingInput) -> Result<CreateOnboardingPayload> {
    let outcome = async {
        let CreateOnboardingInput {
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
            client_id,
            expires_in_seconds,
            idempotency_key,
        } = input;
        let input = onboarding::Create {
            coexistence,
            business_name,
            business_email,
            display_name,
            reference,
            locale,
            branding: branding.map(serde_json::to_value).transpose()?,
            success_url: success_url.map(|url| url.0),
            failure_url: failure_url.map(|url| url.0),
            history: history.into(),
            client: client_id.map(|client| client.of("clientId")).transpose()?,
            expires_in: expires_in_seconds.map(i64::from),
            idempotency_key,
        };
        Box::pin(onboarding::create(ctx.app(), ctx.scope(), input)).await
    };
    let (created, user_errors) = settle(outcome.await)?;
    let Some(onboarding::Created { onboarding, warnings, position }) = created else {
        return Ok(CreateOnboardingPayload {
            onboarding: None,
            warnings: Vec::new(),
            event_cursor: None,
            user_errors,
        });
    };
    Ok(CreateOnboardingPayload {
        onboarding: Some(Onboarding(Arc::new(onboarding))),
        warnings,
        event_cursor: Some(cursor(ctx, position)),
        user_errors,
    })
}

/// Calls a link back.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn revoke(ctx: &Context<'_>, input: RevokeOnboardingInput) -> Result<RevokeOnboardingPayload> {
    let outcome = async {
        let onboarding = input.onboarding_id.of("onboardingId")?;
        Box::pin(onboarding::revoke(ctx.app(), ctx.scope(), onboarding)).await
    };
    let (changed, user_errors) = settle(outcome.await)?;
    Ok(RevokeOnboardingPayload::new(ctx, changed, user_errors))
}

/// Takes what the browser got from Embedded Signup.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn complete(
    ctx: &Context<'_>,
    input: CompleteOnboardingInput,
) -> Result<CompleteOnboardingPayload> {
    let outcome = async {
        let CompleteOnboardingInput {
            onboarding_id,
            code,
            waba_id,
            phone_number_id,
            event,
            current_step,
            error,
        } = input;
        let error = error.map(|error| {
            let SignupErrorInput { code, message, session_id, at } = error;
            onboarding::SignupError { code, message, session_id, at: at.map(|at| at.0) }
        });
        let input = onboarding::Complete {
            onboarding: onboarding_id.of("onboardingId")?,
            code,
            waba_id: waba_id.map(|id| id.0),
            phone_number_id: phone_number_id.map(|id| id.0),
            event,
            current_step,
            error,
        };
        Box::pin(onboarding::complete(ctx.app(), ctx.scope(), input)).await
    };
    let (changed, user_errors) = settle(outcome.await)?;
    Ok(CompleteOnboardingPayload::new(ctx, changed, user_errors))
}

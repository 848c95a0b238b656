//! Onboardings.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use entity::onboarding;

use super::enums::{HistoryImport, OnboardingFailureCode, OnboardingStatus};
use super::{Client, required};
use crate::db::page::Place;
use crate::graphql::context::ContextExt;
use crate::graphql::error::Result;
use crate::graphql::loaders::StepsOf;
use crate::graphql::pagination::Listed;
use crate::graphql::scalars::{DateTime, Url, public};
use crate::onboarding::{failure, queries};

/// The journey from a link to a connected number.
#[derive(Clone)]
pub struct Onboarding(pub Arc<onboarding::Model>);

impl Listed for Onboarding {
    const KIND: u8 = b'o';

    fn place(&self) -> Place {
        Place { key: 0, id: self.0.id.0 }
    }
}

/// The journey from a link to a connected number.
#[Object]
impl Onboarding {
    /// Begins with `onb_`.
    pub async fn id(&self) -> ID {
        public(self.0.id)
    }

    /// The client that it connects. If the number turned out to be a known one: that client.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        ctx.reader()?;
        required(ctx.load(self.0.client_id).await?, "client").map(Client)
    }

    /// Where it stands.
    async fn status(&self) -> OnboardingStatus {
        self.0.status.into()
    }

    /// What the client opens in a browser.
    async fn link(&self, ctx: &Context<'_>) -> Url {
        Url(queries::link(&ctx.app().public_url, &self.0))
    }

    /// When the link ends.
    async fn expires_at(&self) -> DateTime {
        self.0.expires_at.into()
    }

    /// When the link was made.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Whether the six months of chats are to be imported.
    async fn history_import(&self) -> HistoryImport {
        self.0.history_import.into()
    }

    /// Whether the client shares its chats. Null: not known yet; WhatsApp tells by sending the first of them, or by
    /// refusing.
    async fn shares_history(&self) -> Option<bool> {
        self.0.shares_history
    }

    /// Why the last try failed. Null: none did, or a later one went further.
    async fn failure(&self) -> Option<OnboardingFailure> {
        let code = failure::OnboardingFailureCode::parse(self.0.failure_code.as_deref()?);
        Some(OnboardingFailure {
            code: code.into(),
            message: self.0.failure_message.clone().unwrap_or_else(|| code.word().to_owned()),
            remedy: code.remedy(),
            upstream_code: self.0.failure_upstream_code.clone(),
            session_id: self.0.failure_session_id.clone(),
        })
    }

    /// The steps taken so far, in the order of their evidence.
    async fn steps(&self, ctx: &Context<'_>) -> Result<Vec<OnboardingStep>> {
        let steps = ctx.load(StepsOf(self.0.id)).await?.unwrap_or_default();
        Ok(steps
            .into_iter()
            .map(|step| OnboardingStep { status: step.status.into(), at: step.at.into() })
            .collect())
    }
}

/// Which onboardings. All conditions hold at once.
#[derive(Debug, Default, InputObject)]
pub struct OnboardingFilter {
    /// In one of these states. Null: in any.
    pub status: Option<Vec<OnboardingStatus>>,
    /// Of the client with this key of the partner's. Null: of any.
    pub reference: Option<String>,
}

/// Why an onboarding failed.
#[derive(Clone, Debug, SimpleObject)]
pub struct OnboardingFailure {
    /// Why.
    code: OnboardingFailureCode,
    /// The same in words, WhatsApp's where it gave any.
    message: String,
    /// What to do, in words.
    remedy: &'static str,
    /// WhatsApp's own code. Null: it gave none.
    upstream_code: Option<String>,
    /// The browser's session at WhatsApp, which its support asks for. Null: it gave none.
    session_id: Option<String>,
}

/// A step of an onboarding.
#[derive(Clone, Debug, SimpleObject)]
pub struct OnboardingStep {
    /// Which.
    status: OnboardingStatus,
    /// When there was evidence for it.
    at: DateTime,
}

//! Templates.

use std::sync::Arc;

use async_graphql::{Context, ID, Json, Object, SimpleObject};
use entity::template;
use serde_json::Value;

use super::enums::{TemplateCategory, TemplateQuality, TemplateStatus};
use super::{Client, required};
use crate::db::page::Place;
use crate::graphql::context::ContextExt;
use crate::graphql::error::Result;
use crate::graphql::pagination::Listed;
use crate::graphql::scalars::{DateTime, public};

/// A message template of a client's account.
#[derive(Clone)]
pub struct Template(pub Arc<template::Model>);

impl Listed for Template {
    const KIND: u8 = b't';

    fn place(&self) -> Place {
        Place { key: 0, id: self.0.id.0 }
    }
}

impl Template {
    fn component(&self, kind: &str) -> Option<&Value> {
        let components = self.0.components.as_ref()?.as_array()?;
        components.iter().find(|component| {
            component["type"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(kind))
        })
    }
}

/// A message template of a client's account at WhatsApp: the only thing that can be sent outside the customer service
/// window. Clients whose numbers share an account each have their own view of it, under an id of its own.
#[Object]
impl Template {
    /// Begins with `tpl_`. One language of a template is one template.
    pub async fn id(&self) -> ID {
        public(self.0.id)
    }

    /// Whose.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        ctx.reader()?;
        required(ctx.load(self.0.client_id).await?, "client").map(Client)
    }

    /// WhatsApp's id of it.
    async fn whatsapp_id(&self) -> &str {
        &self.0.upstream_id
    }

    /// Its name, which `sendMessage` asks for.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Its language code, such as `de` or `en_US`, which `sendMessage` asks for too.
    async fn language(&self) -> &str {
        &self.0.language
    }

    /// Where it stands. Only APPROVED ones can be sent.
    async fn status(&self) -> TemplateStatus {
        TemplateStatus::of(&self.0.status)
    }

    /// Why it stands there, in WhatsApp's words. Null: not told.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// What it is for, as WhatsApp sees it: decides what it costs, and whether people can stop it.
    async fn category(&self) -> TemplateCategory {
        TemplateCategory::of(&self.0.category)
    }

    /// The category that it will have: WhatsApp has announced a change. Null: none is announced.
    async fn upcoming_category(&self) -> Option<TemplateCategory> {
        self.0.next_category.as_deref().map(TemplateCategory::of)
    }

    /// From when on it will have it. Null: not told, or none is announced.
    async fn upcoming_category_at(&self) -> Option<DateTime> {
        self.0.next_category_at.map(DateTime)
    }

    /// How people take it. Null: not told.
    async fn quality(&self) -> Option<TemplateQuality> {
        self.0.quality.as_deref().map(TemplateQuality::of)
    }

    /// What stands above the words. Null: nothing.
    async fn header(&self) -> Option<TemplateHeader> {
        let header = self.component("HEADER")?;
        let text = |key: &str| header[key].as_str().map(str::to_owned);
        Some(TemplateHeader {
            format: text("format").unwrap_or_else(|| "TEXT".to_owned()),
            text: text("text"),
        })
    }

    /// The words, with their places: `{{1}}` or `{{first_name}}`. Null: not read yet.
    async fn body(&self) -> Option<&str> {
        self.component("BODY")?["text"].as_str()
    }

    /// The small words below. Null: there are none.
    async fn footer(&self) -> Option<&str> {
        self.component("FOOTER")?["text"].as_str()
    }

    /// The buttons, in their order: the first one has the index 0.
    async fn buttons(&self) -> Vec<TemplateButton> {
        let buttons = self.component("BUTTONS").and_then(|buttons| buttons["buttons"].as_array());
        buttons.map(Vec::as_slice).unwrap_or_default().iter().map(TemplateButton::read).collect()
    }

    /// All parts, as on WhatsApp's wire. Null: not read yet.
    async fn components(&self) -> Option<Json<&Value>> {
        self.0.components.as_ref().map(Json)
    }

    /// When anything of it changed last.
    async fn changed_at(&self) -> DateTime {
        self.0.changed_at.into()
    }
}

/// What stands above the words of a template.
#[derive(Clone, Debug, SimpleObject)]
pub struct TemplateHeader {
    /// WhatsApp's word: `TEXT`, `IMAGE`, `VIDEO`, `DOCUMENT`, `LOCATION` or a newer one.
    format: String,
    /// TEXT: the words, with their place. Null for others.
    text: Option<String>,
}

/// A button of a template.
#[derive(Clone, Debug, SimpleObject)]
pub struct TemplateButton {
    /// WhatsApp's word: `QUICK_REPLY`, `URL`, `PHONE_NUMBER`, `COPY_CODE`, `OTP`, `FLOW` or a newer one.
    #[graphql(name = "type")]
    kind: String,
    /// What stands on it. Null: WhatsApp's own words.
    text: Option<String>,
    /// URL: the address, which may end with a place. Null for others.
    url: Option<String>,
    /// PHONE_NUMBER: the number. Null for others.
    phone_number: Option<String>,
}

impl TemplateButton {
    fn read(button: &Value) -> Self {
        let text = |key: &str| button[key].as_str().map(str::to_owned);
        Self {
            kind: text("type").unwrap_or_default().to_ascii_uppercase(),
            text: text("text"),
            url: text("url"),
            phone_number: text("phone_number"),
        }
    }
}

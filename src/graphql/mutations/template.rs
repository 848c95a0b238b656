//! Mutations of templates.

use std::sync::Arc;

use async_graphql::{Context, InputObject, OneofObject, SimpleObject};
use entity::{ClientId, TemplateId};

use super::client::cursor;
use crate::failure::{Outcome, Refusal, RefusalCode};
use crate::graphql::context::ContextExt;
use crate::graphql::error::{Result, UserError, settle};
use crate::graphql::scalars::{EventCursor, Given};
use crate::graphql::types::Template;
use crate::graphql::types::enums::TemplateCategory;
use crate::templates::create::{self, Done};
use crate::templates::{AUTHENTICATION, Authentication, Button, Draft, Example, Header, HeaderFile, Words};

/// A template to be made.
#[derive(Debug, InputObject)]
pub struct CreateTemplateInput {
    /// For whose account.
    pub client_id: Given<ClientId>,
    /// 1 to 512 lower-case letters, digits and underscores.
    pub name: String,
    /// Its language code, such as `de` or `en_US`.
    pub language: String,
    /// What it is for: MARKETING, UTILITY or AUTHENTICATION; WhatsApp may decide otherwise.
    pub category: TemplateCategory,
    /// What stands above the words. Null: nothing.
    pub header: Option<TemplateHeaderInput>,
    /// The words, 1 to 1024 characters. Places must not begin or end them, nor stand side by side. Null in AUTHENTICATION,
    /// and there alone.
    pub body: Option<TemplateTextInput>,
    /// AUTHENTICATION: what can be chosen; the words are WhatsApp's own. Null for others.
    pub authentication: Option<TemplateAuthenticationInput>,
    /// Small words below, 1 to 60 characters in one line, without places. Null: none.
    pub footer: Option<String>,
    /// At most 10, of which two addresses, one number and one code; quick replies stand together.
    #[graphql(default)]
    pub buttons: Vec<TemplateButtonInput>,
    /// How long a message may wait for its recipient's phone, until it is dropped: UTILITY 30 to 43200 seconds,
    /// AUTHENTICATION 30 to 900. Null: WhatsApp's own time (30 days; codes 10 minutes); always in MARKETING.
    pub lifetime_seconds: Option<i32>,
}

/// What can be chosen of a template for codes to sign in with. When it is sent, the code is filled in twice: into the BODY, and
/// into the BUTTON with the index 0 (subType URL).
#[derive(Debug, InputObject)]
pub struct TemplateAuthenticationInput {
    /// Whether it says that nobody should be told the code.
    #[graphql(default = false)]
    pub security_recommendation: bool,
    /// Minutes after which the code is no good any more, 1 to 90: it says so. Null: it does not.
    pub code_expires_minutes: Option<i32>,
    /// What stands on the button that copies the code, 1 to 25 characters.
    pub button_text: String,
}

/// Words with places: numbered `{{1}}`, `{{2}}` …, or named `{{first_name}}` with small letters, digits and underscores.
#[derive(Debug, InputObject)]
pub struct TemplateTextInput {
    /// The words.
    pub text: String,
    /// What may stand in each place: for WhatsApp's reviewers, who refuse places without.
    #[graphql(default)]
    pub examples: Vec<TemplateExampleInput>,
}

/// What may stand in a place.
#[derive(Debug, InputObject)]
pub struct TemplateExampleInput {
    /// The place's name. Null: places are numbered, and the order counts.
    pub name: Option<String>,
    /// What may stand there.
    pub value: String,
}

/// What stands above the words: exactly one of these.
#[derive(Debug, OneofObject)]
pub enum TemplateHeaderInput {
    /// Words, 1 to 60 characters in one line, with one place at most.
    Text(TemplateTextInput),
    /// An image, which each message brings.
    Image(TemplateHeaderFileInput),
    /// A video, which each message brings.
    Video(TemplateHeaderFileInput),
    /// A document, which each message brings.
    Document(TemplateHeaderFileInput),
    /// A place on the map, which each message brings: true.
    Location(bool),
}

/// A file above the words.
#[derive(Debug, InputObject)]
pub struct TemplateHeaderFileInput {
    /// Meta's handle of an example: the `h` that its Resumable Upload API answered.
    pub example_handle: String,
}

/// A button: exactly one of these.
#[derive(Debug, OneofObject)]
pub enum TemplateButtonInput {
    /// Answers with its words.
    QuickReply(TemplateQuickReplyInput),
    /// Opens an address.
    Url(TemplateUrlButtonInput),
    /// Calls a number.
    PhoneNumber(TemplatePhoneButtonInput),
    /// Copies a code, which each message brings.
    CopyCode(TemplateCodeButtonInput),
}

/// A button that answers with its words.
#[derive(Debug, InputObject)]
pub struct TemplateQuickReplyInput {
    /// What stands on it, 1 to 25 characters.
    pub text: String,
}

/// A button that opens an address.
#[derive(Debug, InputObject)]
pub struct TemplateUrlButtonInput {
    /// What stands on it, 1 to 25 characters.
    pub text: String,
    /// The address, at most 2000 characters; may end with a place: `https://example.org/orders/{{1}}`.
    pub url: String,
    /// A whole address as it may be: needed with a place. Null: there is none.
    pub example: Option<String>,
}

/// A button that calls a number.
#[derive(Debug, InputObject)]
pub struct TemplatePhoneButtonInput {
    /// What stands on it, 1 to 25 characters.
    pub text: String,
    /// The number with its plus sign, at most 20 characters.
    pub phone_number: String,
}

/// A button that copies a code.
#[derive(Debug, InputObject)]
pub struct TemplateCodeButtonInput {
    /// A code as it may be, at most 15 characters.
    pub example: String,
}

/// Which template.
#[derive(Debug, InputObject)]
pub struct TemplateInput {
    /// The template.
    pub template_id: Given<TemplateId>,
}

/// A template, after a mutation.
#[derive(SimpleObject)]
pub struct TemplatePayload {
    /// The template. Null: the mutation was refused.
    template: Option<Template>,
    /// Where the stream shows what was changed. Null: the mutation was refused.
    event_cursor: Option<EventCursor>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// Makes a template.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn create(ctx: &Context<'_>, input: CreateTemplateInput) -> Result<TemplatePayload> {
    let outcome = async {
        let client = input.client_id.of("clientId")?;
        let draft = input.read()?;
        Box::pin(create::create(ctx.app(), ctx.scope(), client, draft)).await
    };
    after(ctx, outcome.await)
}

/// Deletes a template.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE.
pub async fn delete(ctx: &Context<'_>, input: TemplateInput) -> Result<TemplatePayload> {
    let outcome = async {
        let template = input.template_id.of("templateId")?;
        Box::pin(create::delete(ctx.app(), ctx.scope(), template)).await
    };
    after(ctx, outcome.await)
}

fn after(ctx: &Context<'_>, outcome: Outcome<Done>) -> Result<TemplatePayload> {
    let (done, user_errors) = settle(outcome)?;
    let (row, position) = done.unzip();
    Ok(TemplatePayload {
        template: row.map(|row| Template(Arc::new(row))),
        event_cursor: position.map(|position| cursor(ctx, position)),
        user_errors,
    })
}

impl CreateTemplateInput {
    fn read(self) -> Outcome<Draft> {
        let Self {
            client_id: _,
            name,
            language,
            category,
            header,
            body,
            authentication,
            footer,
            buttons,
            lifetime_seconds,
        } = self;
        let category = match category {
            TemplateCategory::Marketing => "MARKETING",
            TemplateCategory::Utility => "UTILITY",
            TemplateCategory::Authentication => AUTHENTICATION,
            TemplateCategory::Other => {
                let text = "It needs MARKETING, UTILITY or AUTHENTICATION.";
                return Err(Refusal::new(RefusalCode::Invalid, "category", text).into());
            }
        };
        Ok(Draft {
            name,
            language,
            category: category.to_owned(),
            header: header.map(TemplateHeaderInput::read).transpose()?,
            body: body.map(Words::from),
            authentication: authentication.map(Authentication::from),
            footer,
            buttons: buttons.into_iter().map(Button::from).collect(),
            lifetime: lifetime_seconds.map(i64::from),
        })
    }
}

impl TemplateHeaderInput {
    fn read(self) -> Outcome<Header> {
        let file =
            |kind, TemplateHeaderFileInput { example_handle }| Header::File { kind, handle: example_handle };
        Ok(match self {
            Self::Text(text) => Header::Text(text.into()),
            Self::Image(given) => file(HeaderFile::Image, given),
            Self::Video(given) => file(HeaderFile::Video, given),
            Self::Document(given) => file(HeaderFile::Document, given),
            Self::Location(true) => Header::Location,
            Self::Location(false) => {
                let text = "It is true, or left out.";
                return Err(Refusal::new(RefusalCode::Invalid, "header.location", text).into());
            }
        })
    }
}

impl From<TemplateAuthenticationInput> for Authentication {
    fn from(input: TemplateAuthenticationInput) -> Self {
        let TemplateAuthenticationInput { security_recommendation, code_expires_minutes, button_text } =
            input;
        let expires_minutes = code_expires_minutes.map(i64::from);
        Self { security_recommendation, expires_minutes, button: button_text }
    }
}

impl From<TemplateTextInput> for Words {
    fn from(input: TemplateTextInput) -> Self {
        let TemplateTextInput { text, examples } = input;
        let example = |TemplateExampleInput { name, value }| Example { name, value };
        Self { text, examples: examples.into_iter().map(example).collect() }
    }
}

impl From<TemplateButtonInput> for Button {
    fn from(input: TemplateButtonInput) -> Self {
        match input {
            TemplateButtonInput::QuickReply(TemplateQuickReplyInput { text }) => Self::QuickReply { text },
            TemplateButtonInput::Url(TemplateUrlButtonInput { text, url, example }) => {
                Self::Url { text, url, example }
            }
            TemplateButtonInput::PhoneNumber(TemplatePhoneButtonInput { text, phone_number }) => {
                Self::Phone { text, number: phone_number }
            }
            TemplateButtonInput::CopyCode(TemplateCodeButtonInput { example }) => Self::CopyCode { example },
        }
    }
}

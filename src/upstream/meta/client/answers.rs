//! The shapes of Meta's answers, tolerant of what is missing and what is new, and what is made of them.

use chrono::{DateTime, Utc};
use entity::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::clock::from_datetime;

/// A client's token.
#[derive(Clone, Debug, Deserialize)]
pub struct Token {
    /// The token itself.
    #[serde(rename = "access_token")]
    pub secret: SecretString,
    /// Seconds of real time that it lives; none: it does not end.
    #[serde(default)]
    pub expires_in: Option<i64>,
}

/// What a token may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// The app that it was made for.
    pub app_id: String,
    /// Whether it works.
    pub is_valid: bool,
    /// Such as `whatsapp_business_messaging`.
    pub scopes: Vec<String>,
    /// By real time; none: it does not end.
    pub expires_at: Option<Timestamp>,
    /// The accounts that it reaches, each once; empty when Meta does not limit it.
    pub waba_ids: Vec<String>,
}

/// A number of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneNumber {
    /// Meta's id of it.
    pub id: String,
    /// Digits with a plus.
    pub display_phone_number: String,
    /// The name that customers see.
    pub verified_name: Option<String>,
    /// Whether it lives in the Business app; none where Meta does not tell.
    pub is_on_biz_app: Option<bool>,
    /// `CLOUD_API`, `NOT_APPLICABLE` …
    pub platform_type: Option<String>,
    /// When it was last connected, by WhatsApp's clock.
    pub last_onboarded_time: Option<Timestamp>,
}

/// WhatsApp took a message. That it was delivered is another matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// WhatsApp's id of the message.
    pub message_id: String,
    /// The recipient's number as WhatsApp knows it, digits only. Absent when it was sent to a user id.
    pub wa_id: Option<String>,
    /// The recipient's WhatsApp user id.
    pub user_id: Option<String>,
}

/// A template as its account's list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Meta's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its language code.
    pub language: String,
    /// Meta's word: `APPROVED`, `PENDING` …
    pub status: String,
    /// Meta's word: `MARKETING`, `UTILITY` …
    pub category: String,
    /// `NAMED` or `POSITIONAL`, where told.
    pub parameter_format: Option<String>,
    /// `GREEN`, `YELLOW`, `RED` or `UNKNOWN`, where told.
    pub quality: Option<String>,
    /// Its parts, a JSON array.
    pub components: Value,
}

/// The templates of an account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Templates {
    /// In Meta's order.
    pub all: Vec<Template>,
    /// Whether that is all of them: what is missing then is gone.
    pub complete: bool,
}

/// A template that was made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MadeTemplate {
    /// Meta's id of it.
    #[serde(deserialize_with = "text_or_number")]
    pub id: String,
    /// Where its review stands, where told.
    #[serde(default)]
    pub status: Option<String>,
    /// The category that it got, which may be another than was asked for.
    #[serde(default)]
    pub category: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct TemplateShown {
    #[serde(deserialize_with = "text_or_number")]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    language: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    parameter_format: Option<String>,
    #[serde(default)]
    quality_score: Option<QualityScore>,
    #[serde(default)]
    components: Vec<Value>,
}

#[derive(Deserialize)]
struct QualityScore {
    #[serde(default)]
    score: Option<String>,
}

impl From<TemplateShown> for Template {
    fn from(shown: TemplateShown) -> Self {
        let TemplateShown {
            id,
            name,
            language,
            status,
            category,
            parameter_format,
            quality_score,
            components,
        } = shown;
        Self {
            id,
            name,
            language,
            status,
            category,
            parameter_format,
            quality: quality_score.and_then(|quality| quality.score),
            components: Value::Array(components),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Data<T> {
    pub(super) data: T,
}

/// What `whatsapp_business_profile` shows.
#[derive(Deserialize, Default)]
pub(super) struct Profile {
    #[serde(default)]
    about: Option<String>,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    websites: Option<Vec<String>>,
    #[serde(default)]
    profile_picture_url: Option<String>,
}

impl Profile {
    /// As clients hold it; what is empty or missing is left out.
    pub(super) fn known(self) -> Value {
        let Self { about, address, description, email, websites, profile_picture_url } = self;
        let mut known = json!({ "websites": websites.unwrap_or_default() });
        for (name, text) in [
            ("about", about),
            ("address", address),
            ("description", description),
            ("email", email),
            ("pictureUrl", profile_picture_url),
        ] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                known[name] = Value::String(text);
            }
        }
        known
    }
}

#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    #[serde(default)]
    pub(super) paging: Option<Paging>,
}

#[derive(Deserialize)]
pub(super) struct Paging {
    #[serde(default)]
    cursors: Option<Cursors>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Cursors {
    #[serde(default)]
    after: Option<String>,
}

impl Paging {
    /// The cursor of the next page. The last page has a cursor too, but no `next`.
    pub(super) fn next(self) -> Option<String> {
        self.next?;
        self.cursors?.after
    }
}

#[derive(Deserialize)]
pub(super) struct DebugToken {
    #[serde(default, deserialize_with = "text_or_number")]
    app_id: String,
    #[serde(default)]
    is_valid: bool,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    expires_at: i64,
    #[serde(default)]
    granular_scopes: Vec<GranularScope>,
}

#[derive(Deserialize)]
struct GranularScope {
    #[serde(default)]
    scope: String,
    #[serde(default)]
    target_ids: Option<Vec<String>>,
}

impl From<DebugToken> for TokenInfo {
    fn from(answer: DebugToken) -> Self {
        let mut waba_ids: Vec<String> = answer
            .granular_scopes
            .into_iter()
            .filter(|granular| granular.scope.starts_with("whatsapp_business"))
            .flat_map(|granular| granular.target_ids.unwrap_or_default())
            .collect();
        waba_ids.sort_unstable();
        waba_ids.dedup();
        Self {
            app_id: answer.app_id,
            is_valid: answer.is_valid,
            scopes: answer.scopes,
            expires_at: (answer.expires_at > 0).then(|| Timestamp::from_seconds(answer.expires_at)),
            waba_ids,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Number {
    #[serde(deserialize_with = "text_or_number")]
    id: String,
    #[serde(default)]
    display_phone_number: String,
    #[serde(default)]
    verified_name: Option<String>,
    #[serde(default)]
    is_on_biz_app: Option<bool>,
    #[serde(default)]
    platform_type: Option<String>,
    #[serde(default)]
    last_onboarded_time: Option<String>,
}

impl From<Number> for PhoneNumber {
    fn from(answer: Number) -> Self {
        let digits: String = answer.display_phone_number.chars().filter(char::is_ascii_digit).collect();
        Self {
            id: answer.id,
            display_phone_number: format!("+{digits}"),
            verified_name: answer.verified_name.filter(|name| !name.is_empty()),
            is_on_biz_app: answer.is_on_biz_app,
            platform_type: answer.platform_type,
            last_onboarded_time: answer.last_onboarded_time.as_deref().and_then(instant),
        }
    }
}

/// Graph writes zones without a colon (`+0000`).
fn instant(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%z")
        .or_else(|_| DateTime::parse_from_rfc3339(text))
        .ok()
        .map(|at| from_datetime(at.to_utc()))
}

#[derive(Deserialize)]
pub(super) struct SubscribedApp {
    pub(super) whatsapp_business_api_data: ApiData,
}

#[derive(Deserialize)]
pub(super) struct ApiData {
    #[serde(deserialize_with = "text_or_number")]
    pub(super) id: String,
}

#[derive(Deserialize)]
pub(super) struct Subscription {
    #[serde(default)]
    pub(super) object: String,
    #[serde(default = "yes")]
    pub(super) active: bool,
    #[serde(default)]
    pub(super) fields: Vec<Field>,
}

fn yes() -> bool {
    true
}

/// Both shapes are seen.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Field {
    Named { name: String },
    Bare(String),
}

impl Field {
    pub(super) fn name(self) -> String {
        match self {
            Field::Named { name } | Field::Bare(name) => name,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct SyncRequest {
    #[serde(default)]
    pub(super) request_id: String,
}

#[derive(Deserialize)]
pub(super) struct Sent {
    #[serde(default)]
    contacts: Vec<SentTo>,
    #[serde(default)]
    messages: Vec<SentMessage>,
}

#[derive(Deserialize)]
struct SentTo {
    #[serde(default)]
    wa_id: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
}

#[derive(Deserialize)]
struct SentMessage {
    id: String,
}

impl Sent {
    pub(super) fn accepted(self) -> Option<Accepted> {
        let message_id = self.messages.into_iter().next()?.id;
        let to = self.contacts.into_iter().next();
        let (wa_id, user_id) = to.map_or((None, None), |to| (to.wa_id, to.user_id));
        let given = |text: &String| !text.is_empty();
        given(&message_id).then(|| Accepted {
            message_id,
            wa_id: wa_id.filter(given),
            user_id: user_id.filter(given),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct ClockAnswer {
    pub(super) data: ClockData,
}

#[derive(Deserialize)]
pub(super) struct ClockData {
    pub(super) clock: DateTime<Utc>,
}

#[derive(Deserialize)]
pub(super) struct Development {
    pub(super) data: DevelopmentData,
}

#[derive(Deserialize)]
pub(super) struct DevelopmentData {
    pub(super) development: Shared,
}

/// What the simulator and the service share.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shared {
    pub(super) app_id: String,
    pub(super) app_secret: SecretString,
    pub(super) verify_token: SecretString,
    pub(super) config_id: String,
    pub(super) graph_version: String,
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u64),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_is_read_as_meta_writes_it() {
        let number: Number = serde_json::from_value(
            json!({ "id": "109900000000001", "display_phone_number": "+49 1512 0000001",
            "verified_name": "Haar und Co", "platform_type": "CLOUD_API", "is_on_biz_app": true,
            "last_onboarded_time": "2026-10-02T08:11:09+0000", "quality_rating": "GREEN" }),
        )
        .unwrap();
        let number = PhoneNumber::from(number);
        assert_eq!(number.display_phone_number, "+4915120000001");
        assert_eq!(number.last_onboarded_time, Some(Timestamp::from_seconds(1_790_928_669)));
        assert_eq!(number.is_on_biz_app, Some(true));
    }

    #[test]
    fn the_accounts_of_a_token_are_named_once() {
        let answer: DebugToken = serde_json::from_value(json!({ "app_id": 7, "is_valid": true, "expires_at": 0,
            "scopes": ["whatsapp_business_management"], "granular_scopes": [
                { "scope": "whatsapp_business_management", "target_ids": ["2", "1"] },
                { "scope": "whatsapp_business_messaging", "target_ids": ["1"] }, { "scope": "public_profile" }] }))
        .unwrap();
        let info = TokenInfo::from(answer);
        assert_eq!((info.app_id.as_str(), info.expires_at), ("7", None));
        assert_eq!(info.waba_ids, ["1", "2"]);
    }

    #[test]
    fn the_answer_to_a_send_names_message_and_recipient() {
        let sent: Sent = serde_json::from_value(json!({ "messaging_product": "whatsapp",
            "contacts": [{ "input": "DE.1", "user_id": "DE.1" }], "messages": [{ "id": "wamid.N" }] }))
        .unwrap();
        let accepted = Accepted { message_id: "wamid.N".into(), wa_id: None, user_id: Some("DE.1".into()) };
        assert_eq!(sent.accepted(), Some(accepted));
        let odd: Sent = serde_json::from_value(json!({ "messages": [] })).unwrap();
        assert_eq!(odd.accepted(), None);
    }
}

//! Calls to the Graph API: each once, with a time-out, its answer bounded, its failure typed.

mod answers;
mod error;
mod media;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use entity::SyncKind;
use reqwest::{Method, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::clock::{Clock, from_datetime};
use crate::config::Config;
use crate::failure::chain;
use crate::upstream::http::{Reach, http_client};

pub use answers::{Accepted, MadeTemplate, PhoneNumber, Template, Templates, Token, TokenInfo};
pub use error::{
    CallError, Class, GraphError, MARKETING_STOPPED, PAIR_LIMIT, SYNC_ALREADY_REQUESTED,
    SYNC_DEADLINE_PASSED, SYNC_DECLINED, WINDOW_CLOSED,
};
pub use media::AboutMedia;

/// The largest answer that is read.
const LARGEST_ANSWER: usize = 4 << 20;
/// Pages of a list that are followed at most.
const MOST_PAGES: usize = 20;
/// Templates on a page of theirs. 30 pages hold the 6,000 that an account has at most.
const TEMPLATES: &str = "200";
/// Pages of templates that are followed at most.
const MOST_TEMPLATE_PAGES: usize = 30;
/// The object whose webhooks are WhatsApp's.
const WEBHOOK_OBJECT: &str = "whatsapp_business_account";
/// By how much the simulator's clock is ahead of real time.
const CLOCK_HEADER: &str = "x-simulator-clock-offset-ms";

/// What is needed to speak to Meta.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base address with version: `https://graph.facebook.com/v25.0`.
    pub base: String,
    /// The app.
    pub app_id: String,
    /// Its secrets, the current one first.
    pub app_secrets: Vec<SecretString>,
    /// Presented by Meta when it verifies the webhook address.
    pub verify_token: SecretString,
    /// Of Embedded Signup.
    pub config_id: String,
    /// The simulator's own address, without a slash at its end, when the upstream is the simulator.
    pub simulator: Option<String>,
    /// Longest wait for the answer to a send.
    pub send_timeout: Duration,
}

impl Settings {
    /// The real Meta, as configured.
    pub fn from_config(config: &Config) -> Self {
        let meta = &config.meta;
        Self {
            base: format!("{}/{}", meta.graph_url.as_str().trim_end_matches('/'), meta.graph_version),
            app_id: meta.app_id.clone(),
            app_secrets: meta.app_secrets.clone(),
            verify_token: meta.verify_token.clone(),
            config_id: meta.config_id.clone(),
            simulator: None,
            send_timeout: Duration::from_secs(config.lanes.timeout_seconds),
        }
    }

    /// A simulator that runs at this address: what the two share is random, and read from its door.
    ///
    /// # Errors
    /// When it does not answer, or is none.
    pub async fn from_simulator(url: &str, config: &Config) -> anyhow::Result<Self> {
        let url = url.trim_end_matches('/');
        let ask = json!({ "query": "{ development { appId appSecret verifyToken configId graphVersion } }" });
        let http = http_client(Reach::Beside)?;
        let response = http.post(format!("{url}/graphql")).json(&ask).send().await;
        let response = response.with_context(|| format!("the simulator at {url} does not answer"))?;
        let (_, body) = read(response).await?;
        let told: answers::Development = serde_json::from_slice(&body)
            .with_context(|| format!("what answers at {url} is not a simulator that this version knows"))?;
        let told = told.data.development;
        Ok(Self {
            base: format!("{url}/{}", told.graph_version),
            app_id: told.app_id,
            app_secrets: vec![told.app_secret],
            verify_token: told.verify_token,
            config_id: told.config_id,
            simulator: Some(url.to_owned()),
            send_timeout: Duration::from_secs(config.lanes.timeout_seconds),
        })
    }
}

/// Meta, as an upstream.
pub struct Meta {
    /// What it was made with.
    pub settings: Settings,
    base: Url,
    http: reqwest::Client,
    clock: Clock,
    /// When the call began whose answer set the clock last: of two answers that overtake each other, the call that
    /// began later knows better.
    clock_told: Mutex<Option<Instant>>,
}

impl Meta {
    /// Makes the client; calls nothing.
    ///
    /// # Errors
    /// When the base address is none, or the system's certificates cannot be used.
    pub fn new(settings: Settings, clock: Clock) -> anyhow::Result<Self> {
        let reach = if settings.simulator.is_some() { Reach::Beside } else { Reach::Internet };
        let http = http_client(reach).context("cannot make an HTTP client")?;
        let base =
            Url::parse(&settings.base).with_context(|| format!("{:?} is no address", settings.base))?;
        anyhow::ensure!(!base.cannot_be_a_base(), "{base} cannot be called");
        Ok(Self { settings, base, http, clock, clock_told: Mutex::default() })
    }

    /// The token of one client, for the code that Embedded Signup gave. A code lives 30 seconds and works once.
    ///
    /// # Errors
    /// Code 100: used or too old.
    pub async fn exchange_code(&self, code: &str) -> Result<Token, CallError> {
        let secret = self.app_secret();
        let query = [
            ("client_id", self.settings.app_id.as_str()),
            ("client_secret", secret.expose_secret()),
            ("code", code),
        ];
        self.call(self.request(Method::GET, &["oauth", "access_token"], &query)).await
    }

    /// What a token may do, and for which accounts.
    ///
    /// # Errors
    /// See [`CallError`]. A token that is no good is not an error: `is_valid` says so.
    pub async fn debug_token(&self, token: &SecretString) -> Result<TokenInfo, CallError> {
        let request = self.request(Method::GET, &["debug_token"], &[("input_token", token.expose_secret())]);
        let answer: answers::Data<answers::DebugToken> =
            self.call(bearer(request, &self.app_token())).await?;
        Ok(answer.data.into())
    }

    /// The numbers of an account. Not every version of the Graph API knows every field: then fewer are asked for.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn phone_numbers(
        &self,
        waba: &str,
        token: &SecretString,
    ) -> Result<Vec<PhoneNumber>, CallError> {
        const SETS_OF_FIELDS: [&str; 3] = [
            "id,display_phone_number,verified_name,platform_type,is_on_biz_app,last_onboarded_time",
            "id,display_phone_number,verified_name,platform_type,is_on_biz_app",
            "id,display_phone_number,verified_name",
        ];
        let mut refused = None;
        for fields in SETS_OF_FIELDS {
            match self.phone_numbers_with(waba, token, fields).await {
                Err(CallError::Refused(error)) if error.code == 100 && error.class() == Class::Request => {
                    refused = Some(error);
                }
                done => return done,
            }
        }
        Err(refused.map_or_else(|| CallError::Unclear("no fields".to_owned()), CallError::Refused))
    }

    async fn phone_numbers_with(
        &self,
        waba: &str,
        token: &SecretString,
        fields: &str,
    ) -> Result<Vec<PhoneNumber>, CallError> {
        let mut numbers = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut query = vec![("fields", fields), ("limit", "100")];
            query.extend(after.as_deref().map(|after| ("after", after)));
            let request = self.request(Method::GET, &[waba, "phone_numbers"], &query);
            let page: answers::Page<answers::Number> = self.call(bearer(request, token)).await?;
            numbers.extend(page.data.into_iter().map(PhoneNumber::from));
            after = page.paging.and_then(answers::Paging::next);
            if after.is_none() {
                break;
            }
        }
        Ok(numbers)
    }

    /// Lets the app hear of an account. Before any sync is asked for: what is sent to nobody is lost.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn subscribe(&self, waba: &str, token: &SecretString) -> Result<(), CallError> {
        self.done(bearer(self.request(Method::POST, &[waba, "subscribed_apps"], &[]), token)).await
    }

    /// Whether the app hears of an account.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn subscribed(&self, waba: &str, token: &SecretString) -> Result<bool, CallError> {
        let request = bearer(self.request(Method::GET, &[waba, "subscribed_apps"], &[]), token);
        let answer: answers::Data<Vec<answers::SubscribedApp>> = self.call(request).await?;
        Ok(answer.data.iter().any(|app| app.whatsapp_business_api_data.id == self.settings.app_id))
    }

    /// The app hears of an account no longer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn unsubscribe(&self, waba: &str, token: &SecretString) -> Result<(), CallError> {
        self.done(bearer(self.request(Method::DELETE, &[waba, "subscribed_apps"], &[]), token)).await
    }

    /// The webhook fields that the app is subscribed to; empty when it has no webhook address.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn app_subscriptions(&self) -> Result<Vec<String>, CallError> {
        let request = self.request(Method::GET, &[&self.settings.app_id, "subscriptions"], &[]);
        let answer: answers::Data<Vec<answers::Subscription>> =
            self.call(bearer(request, &self.app_token())).await?;
        let ours = answer.data.into_iter().filter(|one| one.object == WEBHOOK_OBJECT && one.active);
        Ok(ours.flat_map(|one| one.fields).map(answers::Field::name).collect())
    }

    /// Sets the app's webhook address and fields. Meta asks the address for the verify token before it answers.
    ///
    /// # Errors
    /// Code 2200: the address did not prove itself.
    pub async fn set_app_subscriptions(&self, callback_url: &str, fields: &[&str]) -> Result<(), CallError> {
        let fields = fields.join(",");
        let form = [
            ("object", WEBHOOK_OBJECT),
            ("callback_url", callback_url),
            ("verify_token", self.settings.verify_token.expose_secret()),
            ("fields", &fields),
        ];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self
            .request(Method::POST, &[&self.settings.app_id, "subscriptions"], &[])
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        self.done(bearer(request, &self.app_token())).await
    }

    /// Registers a number that lives on the API alone, with six digits that turn on two-step verification, or are those that
    /// it was registered with before. Never for a number in the app: it would leave the phone.
    ///
    /// # Errors
    /// Code 133005: it has another PIN; 133016: ten tries in 72 hours.
    pub async fn register(
        &self,
        phone_number_id: &str,
        token: &SecretString,
        pin: &SecretString,
    ) -> Result<(), CallError> {
        let request = self
            .request(Method::POST, &[phone_number_id, "register"], &[])
            .json(&json!({ "messaging_product": "whatsapp", "pin": pin.expose_secret() }));
        self.done(bearer(request, token)).await
    }

    /// Changes the profile of a number that lives on the API alone; what is left out of `change` stays.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn set_profile(
        &self,
        phone_number_id: &str,
        token: &SecretString,
        mut change: Value,
    ) -> Result<(), CallError> {
        change["messaging_product"] = json!("whatsapp");
        let request =
            self.request(Method::POST, &[phone_number_id, "whatsapp_business_profile"], &[]).json(&change);
        self.done(bearer(request, token)).await
    }

    /// Asks for an import; answers Meta's id of the request. Each kind works once after a connection.
    ///
    /// # Errors
    /// [`SYNC_ALREADY_REQUESTED`], [`SYNC_DEADLINE_PASSED`]; an unclear outcome may have used the one try.
    pub async fn request_sync(
        &self,
        phone_number_id: &str,
        token: &SecretString,
        kind: SyncKind,
    ) -> Result<String, CallError> {
        let sync_type = match kind {
            SyncKind::History => "history",
            SyncKind::Contacts => "smb_app_state_sync",
        };
        let request = self
            .request(Method::POST, &[phone_number_id, "smb_app_data"], &[])
            .json(&json!({ "messaging_product": "whatsapp", "sync_type": sync_type }));
        let answer: answers::SyncRequest = self.call(bearer(request, token)).await?;
        Ok(answer.request_id)
    }

    /// Sends a message. Meta knows no idempotency: after [`CallError::Unclear`] nobody can say whether it left.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn send(
        &self,
        phone_number_id: &str,
        token: &SecretString,
        body: &Value,
    ) -> Result<Accepted, CallError> {
        let request = self
            .request(Method::POST, &[phone_number_id, "messages"], &[])
            .timeout(self.settings.send_timeout)
            .json(body);
        let answer: answers::Sent = self.call(bearer(request, token)).await?;
        answer.accepted().ok_or_else(|| CallError::Unclear("the answer names no message".to_owned()))
    }

    /// Shows the customer that this message and all before it were read; `typing` that an answer is being written.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn mark_read(
        &self,
        phone_number_id: &str,
        token: &SecretString,
        whatsapp_id: &str,
        typing: bool,
    ) -> Result<(), CallError> {
        let mut body =
            json!({ "messaging_product": "whatsapp", "status": "read", "message_id": whatsapp_id });
        if typing {
            body["typing_indicator"] = json!({ "type": "text" });
        }
        let request = self.request(Method::POST, &[phone_number_id, "messages"], &[]).json(&body);
        self.done(bearer(request, token)).await
    }

    /// The profile that the client set: `about`, `address`, `description`, `email`, `pictureUrl`, `websites`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn profile(&self, phone_number_id: &str, token: &SecretString) -> Result<Value, CallError> {
        let fields = [("fields", "about,address,description,email,profile_picture_url,websites")];
        let request = self.request(Method::GET, &[phone_number_id, "whatsapp_business_profile"], &fields);
        let answer: answers::Data<Vec<answers::Profile>> = self.call(bearer(request, token)).await?;
        Ok(answer.data.into_iter().next().unwrap_or_default().known())
    }

    /// The templates of an account.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn templates(&self, waba: &str, token: &SecretString) -> Result<Templates, CallError> {
        const FIELDS: &str = "id,name,language,status,category,components,quality_score,parameter_format";
        let mut found = Templates::default();
        let mut after: Option<String> = None;
        for _ in 0..MOST_TEMPLATE_PAGES {
            let mut query = vec![("fields", FIELDS), ("limit", TEMPLATES)];
            query.extend(after.as_deref().map(|after| ("after", after)));
            let request = self.request(Method::GET, &[waba, "message_templates"], &query);
            let page: answers::Page<answers::TemplateShown> = self.call(bearer(request, token)).await?;
            found.all.extend(page.data.into_iter().map(Template::from));
            after = page.paging.and_then(answers::Paging::next);
            if after.is_none() {
                found.complete = true;
                break;
            }
        }
        Ok(found)
    }

    /// Makes a template; Meta reviews it afterwards. Nothing tells two tries apart but name and language, which are unique.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn create_template(
        &self,
        waba: &str,
        token: &SecretString,
        body: &Value,
    ) -> Result<MadeTemplate, CallError> {
        let request = self.request(Method::POST, &[waba, "message_templates"], &[]).json(body);
        let made: MadeTemplate = self.call(bearer(request, token)).await?;
        if made.id.is_empty() {
            return Err(CallError::Unclear("the answer names no template".to_owned()));
        }
        Ok(made)
    }

    /// Deletes one language of a template.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn delete_template(
        &self,
        waba: &str,
        token: &SecretString,
        name: &str,
        id: &str,
    ) -> Result<(), CallError> {
        let query = [("name", name), ("hsm_id", id)];
        self.done(bearer(self.request(Method::DELETE, &[waba, "message_templates"], &query), token)).await
    }

    /// Asks the simulator for its clock and follows it. Does nothing when the upstream is not a simulator.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn simulator_clock(&self) -> Result<(), CallError> {
        let Some(simulator) = &self.settings.simulator else { return Ok(()) };
        let began = Instant::now();
        let request = self.http.post(format!("{simulator}/graphql")).json(&json!({ "query": "{ clock }" }));
        let response = request.send().await.map_err(not_sent)?;
        if response.headers().contains_key(CLOCK_HEADER) {
            self.follow_clock(&response, began);
            return Ok(());
        }
        let (_, body) = read(response).await?;
        let told: answers::ClockAnswer = serde_json::from_slice(&body)
            .map_err(|_| CallError::Unclear("the simulator tells no clock".to_owned()))?;
        let offset = from_datetime(told.data.clock).0 - Clock::real_now().0;
        self.set_offset(offset.div_euclid(1000), began);
        Ok(())
    }

    /// `APP_ID|SECRET`: the app itself, for calls that concern no client.
    fn app_token(&self) -> SecretString {
        SecretString::from(format!("{}|{}", self.settings.app_id, self.app_secret().expose_secret()))
    }

    fn app_secret(&self) -> SecretString {
        self.settings.app_secrets.first().cloned().unwrap_or_default()
    }

    /// Pieces of the path are never more than that: some come from a browser.
    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut pieces) = url.path_segments_mut() {
            pieces.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url)
    }

    /// A call whose answer is only that it was done.
    async fn done(&self, request: RequestBuilder) -> Result<(), CallError> {
        let answer: Value = self.call(request).await?;
        match answer.get("success") {
            Some(Value::Bool(false)) => Err(CallError::Unclear("it answers success: false".to_owned())),
            _ => Ok(()),
        }
    }

    /// The one way to Meta.
    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CallError> {
        let began = Instant::now();
        let response = request.send().await.map_err(not_sent)?;
        self.follow_clock(&response, began);
        let (status, body) = read(response).await?;
        let parsed: Option<Value> = serde_json::from_slice(&body).ok();
        if let Some(error) = parsed.as_ref().and_then(|body| GraphError::read(status, body)) {
            return Err(CallError::Refused(error));
        }
        if !(200..300).contains(&status) {
            return Err(CallError::Unclear(format!("HTTP status {status} without WhatsApp's error body")));
        }
        let parsed = parsed.ok_or_else(|| CallError::Unclear("the answer is not JSON".to_owned()))?;
        // serde's message quotes the answer, which may hold a token.
        serde_json::from_value(parsed)
            .map_err(|_| CallError::Unclear("the answer has an unknown shape".to_owned()))
    }

    fn follow_clock(&self, response: &Response, began: Instant) {
        if self.settings.simulator.is_none() {
            return;
        }
        let offset =
            response.headers().get(CLOCK_HEADER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        if let Some(offset) = offset {
            self.set_offset(offset, began);
        }
    }

    fn set_offset(&self, millis: i64, began: Instant) {
        let mut told = self.clock_told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|last| last <= began) {
            *told = Some(began);
            self.clock.set_offset_millis(millis);
        }
    }
}

fn bearer(request: RequestBuilder, token: &SecretString) -> RequestBuilder {
    request.bearer_auth(token.expose_secret())
}

/// What became of a request without an answer. The address is left out: some carry secrets.
fn not_sent(error: reqwest::Error) -> CallError {
    let error = error.without_url();
    if error.is_connect() || error.is_builder() {
        CallError::NotConnected(error.into())
    } else if error.is_timeout() {
        CallError::Unclear("no answer in time".to_owned())
    } else {
        CallError::Unclear(format!("the connection was lost: {}", chain(&error)))
    }
}

/// Status and body, which ends at 4 MB.
async fn read(mut response: Response) -> Result<(u16, Vec<u8>), CallError> {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| match error.is_timeout() {
            true => CallError::Unclear("the answer did not end in time".to_owned()),
            false => CallError::Unclear(format!("the answer was cut off: {}", chain(&error.without_url()))),
        })?;
        let Some(chunk) = chunk else { return Ok((status, body)) };
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(CallError::Unclear("the answer has more than 4 MB".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
}

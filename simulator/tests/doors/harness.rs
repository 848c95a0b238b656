//! A simulator on a port of its own, and a receiver for its webhooks.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use simulator::{Options, Simulator};
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::sync::Notify;

pub(crate) const SHOP: &str = "+4915120000011";
pub(crate) const ANNA: &str = "+491512777001";
pub(crate) const BEN: &str = "+491512777002";
const VERIFY: &str = "let me in";

/// A webhook as it was posted.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) signature: String,
    pub(crate) offset: i64,
    pub(crate) raw: Bytes,
    pub(crate) body: Value,
    /// What it was answered with.
    pub(crate) status: u16,
}

impl Posted {
    /// Its changes: the field and the value of each.
    pub(crate) fn changes(&self) -> Vec<(String, Value)> {
        let entries = self.body["entry"].as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .flat_map(|entry| entry["changes"].as_array().cloned().unwrap_or_default())
            .map(|change| (change["field"].as_str().unwrap().to_owned(), change["value"].clone()))
            .collect()
    }
}

#[derive(Default)]
struct Inbox {
    posted: Mutex<Vec<Posted>>,
    /// Statuses to answer with, before 200.
    moods: Mutex<VecDeque<u16>>,
    came: Notify,
}

/// Everything that a test needs.
pub(crate) struct Town {
    pub(crate) simulator: Option<Simulator>,
    pub(crate) dir: TempDir,
    pub(crate) http: reqwest::Client,
    pub(crate) callback: String,
    pub(crate) app_id: String,
    pub(crate) app_secret: String,
    inbox: Arc<Inbox>,
}

/// A connected number, as the service knows it.
pub(crate) struct Line {
    pub(crate) token: String,
    pub(crate) waba: String,
    pub(crate) id: String,
}

async fn start(dir: &Path) -> Simulator {
    let listen = "127.0.0.1:0".parse().unwrap();
    Simulator::start(Options { listen, data_dir: dir.to_owned(), demo_shop: false }).await.unwrap()
}

async fn verify(Query(given): Query<HashMap<String, String>>) -> (StatusCode, String) {
    if given.get("hub.verify_token").map(String::as_str) == Some(VERIFY) {
        (StatusCode::OK, given["hub.challenge"].clone())
    } else {
        (StatusCode::FORBIDDEN, String::new())
    }
}

async fn receive(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, raw: Bytes) -> StatusCode {
    let status = inbox.moods.lock().unwrap().pop_front().unwrap_or(200);
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let posted = Posted {
        signature: header("x-hub-signature-256"),
        offset: header(simulator::CLOCK_HEADER).parse().unwrap(),
        body: serde_json::from_slice(&raw).unwrap(),
        raw,
        status,
    };
    inbox.posted.lock().unwrap().push(posted);
    inbox.came.notify_waiters();
    StatusCode::from_u16(status).unwrap()
}

impl Town {
    /// A world without phones, whose webhooks reach the test.
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let simulator = start(dir.path()).await;
        let inbox = Arc::new(Inbox::default());
        let router = Router::new().route("/hook", get(verify).post(receive)).with_state(inbox.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let callback = format!("http://{}/hook", listener.local_addr().unwrap());
        let tracker = tokio_util::task::TaskTracker::new();
        tracker.spawn(async move { axum::serve(listener, router).await });
        let http = reqwest::ClientBuilder::new().no_proxy().build().unwrap();
        let (app_id, app_secret) = (String::new(), String::new());
        let mut town = Self { simulator: Some(simulator), dir, http, callback, app_id, app_secret, inbox };
        let app = town.door("{ development { appId appSecret } }", json!({})).await;
        town.app_id = app["development"]["appId"].as_str().unwrap().to_owned();
        town.app_secret = app["development"]["appSecret"].as_str().unwrap().to_owned();
        town
    }

    /// A world with one phone, connected and subscribed. `past` are more fields of its input.
    pub(crate) async fn with_shop(past: Value) -> (Self, Line) {
        let town = Self::new().await;
        town.create(SHOP, past).await;
        town.listen().await;
        let line = town.connect(SHOP, true).await;
        (town, line)
    }

    pub(crate) fn url(&self) -> String {
        self.simulator.as_ref().unwrap().url()
    }

    /// Stops the simulator and starts another on the same file.
    pub(crate) async fn restart(&mut self) {
        self.simulator.take().unwrap().stop().await;
        self.simulator = Some(start(self.dir.path()).await);
    }

    /// What the GraphQL door answers, errors included.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables });
        let url = format!("{}/graphql", self.url());
        self.http.post(url).json(&body).send().await.unwrap().json().await.unwrap()
    }

    /// The data of an answer that must have no errors.
    pub(crate) async fn door(&self, query: &str, variables: Value) -> Value {
        let answer = self.ask(query, variables).await;
        assert!(answer.get("errors").is_none(), "{query}: {answer}");
        answer["data"].clone()
    }

    /// One mutation: its name, the type of its input, the input and the selection.
    pub(crate) async fn act(&self, name: &str, kind: &str, input: Value, selection: &str) -> Value {
        let query = format!("mutation($input: {kind}!) {{ {name}(input: $input) {selection} }}");
        self.door(&query, json!({ "input": input })).await[name].clone()
    }

    pub(crate) async fn create(&self, number: &str, past: Value) {
        let mut input = json!({ "phoneNumber": number, "displayName": "Salon Süß", "messages": 0, "contacts": 0,
            "groups": 0 });
        input.as_object_mut().unwrap().extend(past.as_object().unwrap().clone());
        self.act("createPhone", "CreatePhoneInput", input, "{ phoneNumber }").await;
    }

    pub(crate) async fn trouble(&self, input: Value) {
        self.act("trouble", "TroubleInput", input, "").await;
    }

    pub(crate) async fn write(&self, by: &str, input: Value) -> Value {
        let mut whole = json!({ "phoneNumber": SHOP, "with": ANNA });
        whole.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        self.act(by, "WriteInput", whole, "{ id from to text at status madeBy group device media }").await
    }

    /// Waits for all webhooks that are due.
    pub(crate) async fn settle(&self) {
        let left = self.door("mutation { settle }", json!({})).await;
        assert_eq!(left["settle"], 0);
    }

    /// Makes the next webhooks be answered with these statuses, and all later ones with 200.
    pub(crate) fn answer_with(&self, statuses: &[u16]) {
        *self.inbox.moods.lock().unwrap() = statuses.iter().copied().collect();
    }

    /// Everything posted so far.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.inbox.posted.lock().unwrap().clone()
    }

    /// Waits until something has been posted that fits.
    pub(crate) async fn until(&self, fits: impl Fn(&[Posted]) -> bool) {
        loop {
            let came = self.inbox.came.notified();
            if fits(&self.posted()) {
                return;
            }
            came.await;
        }
    }

    /// Settles, and gives the changes that came under `field` and were taken, and forgets all that was posted.
    pub(crate) async fn heard(&self, field: &str) -> Vec<Value> {
        self.settle().await;
        self.inbox
            .posted
            .lock()
            .unwrap()
            .drain(..)
            .filter(|posted| posted.status == 200)
            .flat_map(|posted| posted.changes())
            .filter(|(name, _)| name == field)
            .map(|(_, value)| value)
            .collect()
    }

    /// A call to Meta: the status and the body.
    pub(crate) async fn graph(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let url = format!("{}/v25.0/{path}", self.url());
        let mut request = self.http.request(method.parse().unwrap(), url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        assert!(answer.headers().contains_key(simulator::CLOCK_HEADER));
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) fn app_token(&self) -> String {
        format!("{}|{}", self.app_id, self.app_secret)
    }

    /// Sets the app's callback to the test's receiver.
    pub(crate) async fn listen(&self) {
        let body = json!({ "object": "whatsapp_business_account", "callback_url": self.callback,
            "verify_token": VERIFY });
        let path = format!("{}/subscriptions", self.app_id);
        let (status, body) = self.graph("POST", &path, &self.app_token(), Some(body)).await;
        assert_eq!((status, body), (200, json!({ "success": true })));
    }

    pub(crate) async fn signup(&self, number: &str, share: bool) -> Value {
        let input = json!({ "phoneNumber": number, "shareHistory": share });
        self.act("completeSignup", "CompleteSignupInput", input, "{ code wabaId event error { code } }").await
    }

    pub(crate) async fn exchange(&self, code: &Value) -> (u16, Value) {
        let path = format!(
            "oauth/access_token?client_id={}&client_secret={}&code={}",
            self.app_id,
            self.app_secret,
            code.as_str().unwrap()
        );
        self.graph("GET", &path, "", None).await
    }

    /// Signs a number up and does what a service does after that, but for the syncs.
    pub(crate) async fn connect(&self, number: &str, share: bool) -> Line {
        let signup = self.signup(number, share).await;
        let (status, token) = self.exchange(&signup["code"]).await;
        assert_eq!(status, 200, "{token}");
        let token = token["access_token"].as_str().unwrap().to_owned();
        let waba = signup["wabaId"].as_str().unwrap().to_owned();
        let (_, numbers) = self.graph("GET", &format!("{waba}/phone_numbers"), &token, None).await;
        let id = numbers["data"][0]["id"].as_str().unwrap().to_owned();
        let (status, _) = self.graph("POST", &format!("{waba}/subscribed_apps"), &token, None).await;
        assert_eq!(status, 200);
        Line { token, waba, id }
    }

    pub(crate) async fn sync(&self, line: &Line, kind: &str) -> (u16, Value) {
        let body = json!({ "messaging_product": "whatsapp", "sync_type": kind });
        self.graph("POST", &format!("{}/smb_app_data", line.id), &line.token, Some(body)).await
    }

    pub(crate) async fn send(&self, line: &Line, message: Value) -> (u16, Value) {
        let mut body = json!({ "messaging_product": "whatsapp", "to": ANNA });
        body.as_object_mut().unwrap().extend(message.as_object().unwrap().clone());
        self.graph("POST", &format!("{}/messages", line.id), &line.token, Some(body)).await
    }

    pub(crate) async fn send_text(&self, line: &Line, text: &str) -> (u16, Value) {
        self.send(line, json!({ "type": "text", "text": { "body": text } })).await
    }

    pub(crate) async fn messages(&self) -> Vec<Value> {
        let query = "query($n: PhoneNumber!) { phone(phoneNumber: $n) { messages(first: 1000000) {
            id from to text at status madeBy group device media deleted edited } } }";
        self.door(query, json!({ "n": SHOP })).await["phone"]["messages"].as_array().unwrap().clone()
    }
}

/// The signature that a body must bear.
pub(crate) fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// The error code of Meta's answer.
pub(crate) fn code(answer: &(u16, Value)) -> u64 {
    assert!(answer.1["error"]["fbtrace_id"].is_string(), "{answer:?}");
    answer.1["error"]["code"].as_u64().unwrap()
}

//! A whole installation for one test: service and simulator on ports of their own, a database of its own, a partner.
//!
//! `TEST_POSTGRES_URL` (set by `make test` for its second round) makes a Postgres database for each test instead of SQLite
//! files. Nothing here sleeps: tests wait for what they expect to hear, on a subscription.

mod socket;

use std::path::Path;
use std::time::Duration;

use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use simulator::{Options, Simulator};
use tandem::app::Installation;
use tandem::config::Config;
use tandem::partners;
use tandem::serve::Running;
use tempfile::TempDir;

pub use socket::Subscription;

/// Longest wait for anything that a test expects.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Service, simulator and a partner.
pub struct Tandem {
    running: Option<Running>,
    simulator: Option<Simulator>,
    /// Of the partner, with all scopes.
    pub key: String,
    /// The partner.
    pub partner: String,
    pub http: reqwest::Client,
    environment: Vec<(String, String)>,
    simulator_url: String,
    postgres: Option<(String, String)>,
    _dir: TempDir,
}

impl Tandem {
    /// A fresh installation.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A fresh installation with these settings, as environment variables.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            listen: ([127, 0, 0, 1], 0).into(),
            data_dir: dir.path().join("simulator"),
            demo_shop: false,
        };
        let simulator = Simulator::start(options).await.unwrap();
        let simulator_url = simulator.url();
        let postgres = database().await;
        let mut environment = vec![
            ("TANDEM_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("TANDEM_DATA_DIR".to_owned(), dir.path().join("data").display().to_string()),
            ("TANDEM_SIMULATOR_URL".to_owned(), simulator_url.clone()),
        ];
        if let Some((_, url)) = &postgres {
            environment.push(("DATABASE_URL".to_owned(), url.clone()));
        }
        for (name, value) in settings {
            environment.push(((*name).to_owned(), (*value).to_owned()));
        }
        let installation = Installation::open(config(&environment)).await.unwrap();
        let created = partners::create(&installation, "Acme").await.unwrap();
        close(installation).await;
        let running = Running::start(config(&environment), false).await.unwrap();
        use tandem::ids::PublicId;
        Self {
            running: Some(running),
            simulator: Some(simulator),
            key: created.api_key,
            partner: created.partner.public(),
            http: client(),
            environment,
            simulator_url,
            postgres,
            _dir: dir,
        }
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.running().address)
    }

    /// Stops the service and starts it again, on another port, over the same data.
    pub async fn restart(&mut self) {
        assert!(self.running.take().unwrap().stop().await, "an engine died");
        self.running = Some(Running::start(config(&self.environment), false).await.unwrap());
    }

    /// Another partner of the same installation: its key.
    pub async fn another_partner(&self) -> String {
        let installation = Installation::open(config(&self.environment)).await.unwrap();
        let created = partners::create(&installation, "Rival").await.unwrap();
        close(installation).await;
        created.api_key
    }

    /// A key as the command line makes it: restricted, or for a time.
    pub async fn make_key(&self, clients: &[&str], scopes: &[&str], lives: Option<i64>) -> String {
        use tandem::{auth::Permission, clock::Clock, ids::PublicId, partners::NewKey};
        let installation = Installation::open(config(&self.environment)).await.unwrap();
        let clients: Vec<_> = clients.iter().map(|id| entity::ClientId::parse(id).unwrap()).collect();
        let new = NewKey {
            name: "test",
            clients: (!clients.is_empty()).then_some(clients),
            permissions: scopes.iter().map(|word| Permission::parse(word).unwrap()).collect(),
            expires_at: lives.map(|seconds| Clock::real_now().plus_seconds(seconds)),
        };
        let partner = entity::PartnerId::parse(&self.partner).unwrap();
        let created = partners::create_key(&installation, partner, new).await.unwrap();
        close(installation).await;
        created.secret
    }

    /// One GraphQL request with this key, as it is answered.
    pub async fn ask_as(&self, key: Option<&str>, query: &str, variables: Value) -> Value {
        let mut request = self.http.post(format!("{}/graphql", self.url()));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let body = json!({ "query": query, "variables": variables });
        request.json(&body).send().await.unwrap().json().await.unwrap()
    }

    /// One GraphQL request as the partner, as it is answered.
    pub async fn ask(&self, query: &str, variables: Value) -> Value {
        self.ask_as(Some(&self.key.clone()), query, variables).await
    }

    /// The data of a request that must succeed.
    pub async fn data(&self, query: &str, variables: Value) -> Value {
        let answer = self.ask(query, variables).await;
        assert!(answer.get("errors").is_none(), "{answer:#}");
        answer["data"].clone()
    }

    /// One request to the simulator's own door, which must succeed.
    pub async fn simulate(&self, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables });
        let url = format!("{}/graphql", self.simulator_url);
        let answer: Value = self.http.post(url).json(&body).send().await.unwrap().json().await.unwrap();
        assert!(answer.get("errors").is_none(), "{answer:#}");
        answer["data"].clone()
    }

    /// A phone with a past.
    pub async fn phone(&self, number: &str, contacts: u32, messages: u32) {
        let input = json!({ "phoneNumber": number, "displayName": "Café Test", "contacts": contacts, "messages": messages });
        self.create_phone(input).await;
    }

    pub async fn create_phone(&self, input: Value) {
        self.simulate("mutation($input: CreatePhoneInput!) { createPhone(input: $input) { phoneNumber } }", json!({ "input": input }))
            .await;
    }

    /// A new onboarding: its id.
    pub async fn onboarding(&self, extra: Value) -> String {
        let mut input = json!({ "businessName": "Café Test" });
        for (name, value) in extra.as_object().unwrap() {
            input[name] = value.clone();
        }
        let data = self
            .data(
                "mutation($input: CreateOnboardingInput!) { createOnboarding(input: $input) {
                    onboarding { id } userErrors { code field message } } }",
                json!({ "input": input }),
            )
            .await;
        let payload = &data["createOnboarding"];
        assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
        payload["onboarding"]["id"].as_str().unwrap().to_owned()
    }

    /// What the client does in Embedded Signup.
    pub async fn signup(&self, number: &str, share_history: bool) -> Value {
        let query = "mutation($input: CompleteSignupInput!) { completeSignup(input: $input) {
            code wabaId event error { code message } } }";
        let input = json!({ "phoneNumber": number, "shareHistory": share_history });
        self.simulate(query, json!({ "input": input })).await["completeSignup"].clone()
    }

    /// Hands over what the browser got: the payload of `completeOnboarding`.
    pub async fn complete(&self, onboarding: &str, signup: &Value) -> Value {
        let query = "mutation($input: CompleteOnboardingInput!) { completeOnboarding(input: $input) {
            onboarding { id status failure { code message remedy upstreamCode } client { id status phoneNumber } }
            userErrors { code field message } } }";
        let mut input = json!({ "onboardingId": onboarding });
        for name in ["code", "wabaId", "event"] {
            if !signup[name].is_null() {
                input[name] = signup[name].clone();
            }
        }
        if !signup["error"].is_null() {
            input["error"] = signup["error"].clone();
        }
        self.data(query, json!({ "input": input })).await["completeOnboarding"].clone()
    }

    /// Connects a phone: the client's id.
    pub async fn connect(&self, number: &str, share_history: bool, extra: Value) -> String {
        let onboarding = self.onboarding(extra).await;
        let signup = self.signup(number, share_history).await;
        let payload = self.complete(&onboarding, &signup).await;
        assert_eq!(payload["onboarding"]["status"], "CONNECTED", "{payload:#}");
        payload["onboarding"]["client"]["id"].as_str().unwrap().to_owned()
    }

    /// A phone without a past, connected, its imports over: the client's id.
    pub async fn connected(&self, number: &str) -> String {
        self.phone(number, 2, 0).await;
        let client = self.connect(number, true, json!({ "history": "NEVER" })).await;
        self.open_app(number).await;
        self.settle().await;
        client
    }

    pub async fn open_app(&self, number: &str) {
        let query = "mutation($input: PhoneRef!) { openApp(input: $input) { connected } }";
        self.simulate(query, json!({ "input": { "phoneNumber": number } })).await;
    }

    /// Waits until every webhook was taken and applied.
    pub async fn settle(&self) {
        let left = self.simulate("mutation { settle(timeoutSeconds: 30) }", json!({})).await;
        assert_eq!(left["settle"], 0, "webhooks are left");
        let idle = self.running().app.inbox.idle();
        tokio::time::timeout(PATIENCE, idle).await.expect("webhooks are not applied");
    }

    /// The client writes in the app: the message's WhatsApp id.
    pub async fn app_writes(&self, number: &str, with: &str, text: &str) -> String {
        let input = json!({ "phoneNumber": number, "with": with, "text": text });
        self.write("writeFromApp", input).await
    }

    /// A customer writes: the message's WhatsApp id.
    pub async fn customer_writes(&self, number: &str, with: &str, text: &str) -> String {
        let input = json!({ "phoneNumber": number, "with": with, "text": text });
        self.write("writeAsCustomer", input).await
    }

    pub async fn write(&self, mutation: &str, input: Value) -> String {
        let query = format!("mutation($input: WriteInput!) {{ {mutation}(input: $input) {{ id }} }}");
        self.simulate(&query, json!({ "input": input })).await[mutation]["id"].as_str().unwrap().to_owned()
    }

    pub async fn customer_sees(&self, number: &str, message: &str, status: &str) {
        let query = "mutation($input: SeesInput!) { customerSees(input: $input) { id } }";
        let input = json!({ "phoneNumber": number, "messageId": message, "status": status });
        self.simulate(query, json!({ "input": input })).await;
    }

    pub async fn advance_clock(&self, seconds: i64) {
        self.simulate("mutation($seconds: Int!) { advanceClock(seconds: $seconds) }", json!({ "seconds": seconds })).await;
    }

    /// What the phone's screen shows, newest first.
    pub async fn screen(&self, number: &str) -> Vec<Value> {
        let query = "query($number: PhoneNumber!) { phone(phoneNumber: $number) {
            messages(first: 1000000) { id from to text status madeBy group } } }";
        let data = self.simulate(query, json!({ "number": number })).await;
        data["phone"]["messages"].as_array().unwrap().clone()
    }

    /// What reached the simulator as sends.
    pub async fn arrivals(&self, number: &str) -> Vec<Value> {
        let query = "query($number: PhoneNumber!) { arrivals(phoneNumber: $number) { at to type text callbackData accepted } }";
        let data = self.simulate(query, json!({ "number": number })).await;
        data["arrivals"].as_array().unwrap().clone()
    }

    /// sendMessage, as it is answered.
    pub async fn send(&self, client: &str, to: &str, content: Value, key: &str) -> Value {
        let query = "mutation($input: SendMessageInput!) { sendMessage(input: $input) {
            message { id status text origin direction } eventCursor userErrors { code field message } } }";
        let input = json!({ "clientId": client, "to": to, "content": content, "idempotencyKey": key });
        self.data(query, json!({ "input": input })).await["sendMessage"].clone()
    }

    /// Subscribes as the partner.
    pub async fn subscribe(&self, query: &str, variables: Value) -> Subscription {
        self.subscribe_as(&self.key, query, variables).await
    }

    pub async fn subscribe_as(&self, key: &str, query: &str, variables: Value) -> Subscription {
        Subscription::open(&format!("ws://{}/graphql", self.running().address), key, query, variables).await
    }

    /// Posts a body as Meta would: the status of the answer.
    pub async fn post(&self, body: Vec<u8>) -> u16 {
        let secret = &self.running().app.upstream.settings.app_secrets[0];
        let signature = tandem::upstream::meta::signature::sign(secret, &body);
        let request = self.http.post(format!("{}/webhooks/meta", self.url())).header("x-hub-signature-256", signature);
        request.body(body).send().await.unwrap().status().as_u16()
    }
}

impl Drop for Tandem {
    fn drop(&mut self) {
        let (running, simulator, postgres) = (self.running.take(), self.simulator.take(), self.postgres.take());
        let healthy = running.as_ref().is_none_or(|running| !running.app.tasks.failed());
        if let Some(running) = &running {
            running.app.tasks.stopping().cancel();
        }
        drop((running, simulator));
        if let Some((admin, url)) = postgres {
            // The server itself is thrown away after the run; this keeps it small meanwhile.
            drop((admin, url));
        }
        assert!(healthy || std::thread::panicking(), "an engine died during the test");
    }
}

fn config(environment: &[(String, String)]) -> Config {
    Config::from_layers(None::<&Path>, environment).unwrap()
}

async fn close(installation: Installation) {
    installation.db.close().await.unwrap();
    installation.inbound_db.close().await.unwrap();
}

/// A Postgres database of its own, if a server was named: the server's address and the database's.
async fn database() -> Option<(String, String)> {
    #[expect(clippy::disallowed_methods, reason = "the test run's own setting")]
    let admin = std::env::var("TEST_POSTGRES_URL").ok()?;
    let name = format!("t_{}", tandem::secrets::random_hex(8));
    let connection = Database::connect(&admin).await.unwrap();
    connection.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    connection.close().await.unwrap();
    let (server, _) = admin.rsplit_once('/').unwrap();
    Some((admin.clone(), format!("{server}/{name}")))
}

fn client() -> reqwest::Client {
    #[expect(clippy::disallowed_methods, reason = "the tests' own client, with a time-out")]
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}

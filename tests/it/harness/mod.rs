//! A whole installation for one test: service and simulator on ports of their own, a database of its own, a partner.
//!
//! `TEST_POSTGRES_URL` (set by `make test` for its second round) makes a Postgres database for each test instead of SQLite
//! files. Nothing here sleeps: tests wait for what they expect to hear, on a subscription.

mod cable;
mod events;
pub mod meta;
pub mod process;
pub mod receiver;
mod socket;
pub mod wire;
mod world;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, DatabaseBackend, Statement};
use serde_json::{Value, json};
use simulator::{Options, Simulator};
use tandem::app::Installation;
use tandem::config::Config;
use tandem::partners;
use tandem::serve::Running;
use tempfile::TempDir;

pub use cable::Cable;
pub use events::EventStream;
pub use socket::Subscription;
pub use world::{ADA, BEN, DAY, FIXED, SHOP};

/// Longest wait for anything that a test expects.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the long loads were asked for (`make soak`).
pub fn is_soak() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the test run's own setting")]
    std::env::var("TEST_SOAK").is_ok()
}

/// The seed of random cases: that of a run to be repeated (`TEST_SEED`), else another one each time.
pub fn seed() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the test run's own setting")]
    std::env::var("TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap())
}

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
        if let Some(url) = postgres {
            environment.push(("DATABASE_URL".to_owned(), url));
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
            http: http_client(),
            environment,
            simulator_url,
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
        self.stop().await;
        self.start().await;
    }

    /// Stops the service: commands find the installation without one.
    pub async fn stop(&mut self) {
        assert!(self.running.take().unwrap().stop().await, "an engine died");
    }

    /// How many rows of each table Postgres has read by now, for a service that has stopped: a connection's counts are
    /// complete once it is gone.
    pub async fn rows_read(&self) -> HashMap<String, i64> {
        assert!(self.running.is_none(), "it is still counting");
        let (_, url) = self.environment.iter().find(|(name, _)| name == "DATABASE_URL").unwrap();
        let database = Database::connect(url).await.unwrap();
        let others =
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let gone = async { while !database.query_all_raw(sql(others)).await.unwrap().is_empty() {} };
        tokio::time::timeout(PATIENCE, gone).await.unwrap();
        let counts = "SELECT relname::text AS name, seq_tup_read + coalesce(idx_tup_fetch, 0) AS read FROM pg_stat_user_tables";
        let rows = database.query_all_raw(sql(counts)).await.unwrap();
        database.close().await.unwrap();
        rows.iter().map(|row| (row.try_get("", "name").unwrap(), row.try_get("", "read").unwrap())).collect()
    }

    /// A copy of the database of a service that has stopped: where it is.
    pub async fn backup(&self) -> String {
        assert!(self.running.is_none(), "it is still writing");
        match self.environment.iter().find(|(name, _)| name == "DATABASE_URL") {
            Some((_, url)) => copy_database(url).await,
            None => {
                let place = self._dir.path().join(format!("backup-{}", tandem::secrets::random_hex(4)));
                std::fs::create_dir(&place).unwrap();
                copy_files(&self.data_dir(), &place);
                place.display().to_string()
            }
        }
    }

    /// Writes a backup over the database of a service that has stopped.
    pub async fn restore(&mut self, backup: &str) {
        assert!(self.running.is_none(), "it is still writing");
        match self.environment.iter_mut().find(|(name, _)| name == "DATABASE_URL") {
            Some((_, url)) => *url = copy_database(backup).await,
            None => copy_files(Path::new(backup), &self.data_dir()),
        }
    }

    /// Where the service keeps its files.
    pub fn data_dir(&self) -> std::path::PathBuf {
        let (_, path) = self.environment.iter().find(|(name, _)| name == "TANDEM_DATA_DIR").unwrap();
        path.into()
    }

    /// The service works in another directory from its next start on.
    pub fn move_to(&mut self, data_dir: &str) {
        let (_, path) = self.environment.iter_mut().find(|(name, _)| name == "TANDEM_DATA_DIR").unwrap();
        data_dir.clone_into(path);
    }

    /// Starts it again.
    pub async fn start(&mut self) {
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
        self.simulate(
            "mutation($input: CreatePhoneInput!) { createPhone(input: $input) { phoneNumber } }",
            json!({ "input": input }),
        )
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
            code wabaId phoneNumberId event error { code message } } }";
        let input = json!({ "phoneNumber": number, "shareHistory": share_history });
        self.simulate(query, json!({ "input": input })).await["completeSignup"].clone()
    }

    /// Hands over what the browser got: the payload of `completeOnboarding`.
    pub async fn complete(&self, onboarding: &str, signup: &Value) -> Value {
        let query = "mutation($input: CompleteOnboardingInput!) { completeOnboarding(input: $input) {
            onboarding { id status failure { code message remedy upstreamCode } client { id status phoneNumber } }
            userErrors { code field message } } }";
        let mut input = json!({ "onboardingId": onboarding });
        for name in ["code", "wabaId", "phoneNumberId", "event"] {
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

    /// Meta's id of a client's number, which only the database knows.
    pub async fn phone_number_id(&self, client: &str) -> String {
        self.client_row(client).await.phone_number_id.unwrap()
    }

    /// A client's row, as the database has it.
    pub async fn client_row(&self, client: &str) -> entity::client::Model {
        use sea_orm::EntityTrait;
        use tandem::ids::PublicId;
        let id = entity::ClientId::parse(client).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the database's view")]
        let row = entity::client::Entity::find_by_id(id).one(self.running().app.db.read()).await.unwrap();
        row.unwrap()
    }

    /// Writes clients' rows as no command would leave them.
    pub async fn put_client_rows(&self, rows: Vec<entity::client::Model>) {
        tandem::db::upsert::<entity::client::Entity, _>(self.running().app.db.write(), rows).await.unwrap();
    }

    /// Puts the second client's number into the account of the first one: the simulator gives each number one of its own.
    pub async fn share_account(&self, first: &str, second: &str) {
        let waba_id = self.client_row(first).await.waba_id;
        self.put_client_rows(vec![entity::client::Model { waba_id, ..self.client_row(second).await }]).await;
    }

    /// A phone without a past, connected, its imports over: the client's id.
    pub async fn connected(&self, number: &str) -> String {
        self.phone(number, 2, 0).await;
        self.imported(number, true, json!({ "history": "NEVER" })).await
    }

    /// Connects a phone, opens the app, and waits until all that was asked for has come: the client's id.
    pub async fn imported(&self, number: &str, share_history: bool, extra: Value) -> String {
        let client = self.connect(number, share_history, extra).await;
        self.open_app(number).await;
        self.settle().await;
        client
    }

    /// Follows the imports of a client.
    pub async fn imports(&self, client: &str, after: Option<&str>) -> Subscription {
        let query =
            "subscription($id: ID!, $after: EventCursor) { syncProgress(clientId: $id, after: $after) {
            kind state percent items since until conversationIds progress { state percent items remedy } } }";
        self.subscribe(query, json!({ "id": client, "after": after })).await
    }

    pub async fn open_app(&self, number: &str) {
        let query = "mutation($input: PhoneRef!) { openApp(input: $input) { connected } }";
        self.simulate(query, json!({ "input": { "phoneNumber": number } })).await;
    }

    /// Waits until every webhook was taken and applied, and every file that can be had was fetched.
    pub async fn settle(&self) {
        let left = self.simulate("mutation { settle(timeoutSeconds: 30) }", json!({})).await;
        assert_eq!(left["settle"], 0, "webhooks are left");
        let idle = self.running().app.inbox.idle();
        tokio::time::timeout(PATIENCE, idle).await.expect("webhooks are not applied");
        let idle = tandem::media::transfers::idle(&self.running().app);
        tokio::time::timeout(PATIENCE, idle).await.expect("files are not fetched").unwrap();
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

    /// Moves the simulator's clock; when this returns the service has heard of it, which it otherwise does in a second.
    pub async fn advance_clock(&self, seconds: i64) {
        self.simulate(
            "mutation($seconds: Int!) { advanceClock(seconds: $seconds) }",
            json!({ "seconds": seconds }),
        )
        .await;
        self.running().app.upstream.simulator_clock().await.unwrap();
    }

    /// Simulated now, in seconds since 1970.
    pub async fn clock(&self) -> i64 {
        let data = self.simulate("{ clock }", json!({})).await;
        chrono::DateTime::parse_from_rfc3339(data["clock"].as_str().unwrap()).unwrap().timestamp()
    }

    /// The connection of a phone ends, for a reason as WhatsApp names it.
    pub async fn disconnect(&self, number: &str, reason: &str, initiated_by: &str) {
        let input = json!({ "phoneNumber": number, "reason": reason, "initiatedBy": initiated_by });
        self.act("disconnect", input).await;
    }

    /// Calls to WhatsApp's endpoints whose path contains this, oldest first.
    pub async fn graph_calls(&self, path: &str) -> Vec<Value> {
        let query = "query($path: String) { graphCalls(path: $path) { method path status } }";
        let data = self.simulate(query, json!({ "path": path })).await;
        data["graphCalls"].as_array().unwrap().clone()
    }

    /// One of the service's mutations that take an `input`: its payload.
    pub async fn mutate(&self, mutation: &str, input: Value, selection: &str) -> Value {
        let name = format!("{}{}", mutation[..1].to_uppercase(), &mutation[1..]);
        // Some share an input type.
        let input_type = match mutation {
            "requestHistorySync" | "requestContactSync" | "confirmAppVisit" | "resumeClient"
            | "disconnectClient" => "ClientInput".to_owned(),
            "cancelMessage" | "resendMessage" => "MessageInput".to_owned(),
            "deleteTemplate" => "TemplateInput".to_owned(),
            "deleteWebhookEndpoint" | "rotateWebhookSecret" | "sendTestEvent" => {
                "WebhookEndpointInput".to_owned()
            }
            _ => format!("{name}Input"),
        };
        let query = format!(
            "mutation($input: {input_type}!) {{ {mutation}(input: $input) {{ {selection} userErrors {{ code field message }} }} }}"
        );
        self.data(&query, json!({ "input": input })).await[mutation].clone()
    }

    /// A client, with these fields.
    pub async fn client(&self, id: &str, fields: &str) -> Value {
        let query = format!("query($id: ID!) {{ client(id: $id) {{ {fields} }} }}");
        self.data(&query, json!({ "id": id })).await["client"].clone()
    }

    /// An onboarding, with these fields.
    pub async fn onboarding_now(&self, id: &str, fields: &str) -> Value {
        let query = format!("query($id: ID!) {{ onboarding(id: $id) {{ {fields} }} }}");
        self.data(&query, json!({ "id": id })).await["onboarding"].clone()
    }

    /// Up to 100 messages of a client, newest first, with these fields.
    pub async fn history(&self, client: &str, fields: &str) -> Vec<Value> {
        let query =
            format!("query($id: ID!) {{ history(clientId: $id, first: 100) {{ nodes {{ {fields} }} }} }}");
        self.data(&query, json!({ "id": client })).await["history"]["nodes"].as_array().unwrap().clone()
    }

    /// Where the stream stands now.
    pub async fn cursor(&self) -> String {
        self.data("{ viewer { eventCursor } }", json!({})).await["viewer"]["eventCursor"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// What the stream holds after a cursor, of these types, with these fields of an entry.
    pub async fn told(&self, after: &str, types: &[&str], fields: &str) -> Vec<Value> {
        let query = format!(
            "query($after: EventCursor, $types: [EventType!]) {{ events(after: $after, filter: {{ types: $types }}, first: 100) {{
                nodes {{ {fields} }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        let (mut told, mut after) = (Vec::new(), after.to_owned());
        loop {
            let data = self.data(&query, json!({ "after": after, "types": types })).await;
            told.extend(data["events"]["nodes"].as_array().unwrap().clone());
            if data["events"]["pageInfo"]["hasNextPage"] == false {
                return told;
            }
            after = data["events"]["pageInfo"]["endCursor"].as_str().unwrap().to_owned();
        }
    }

    /// What `tandem inbound list` shows: bodies that were not applied whole, newest first.
    pub async fn inbound_list(&self) -> Vec<Value> {
        self.lines(&["inbound", "list"]).await
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

    /// Subscribes as the partner. A query that takes `$after` begins at this moment unless it is told where: without a
    /// cursor a subscription begins some time after it was asked for, and what happens until then is missed.
    pub async fn subscribe(&self, query: &str, mut variables: Value) -> Subscription {
        if !query.contains("$after") || !variables["after"].is_null() {
            return self.subscribe_as(&self.key, query, variables).await;
        }
        let place = self.cursor().await;
        variables["after"] = json!(place);
        let mut subscription = self.subscribe_as(&self.key, query, variables).await;
        if query.contains("events(") {
            subscription.pass_over_caught_up(&place);
        }
        subscription
    }

    /// Subscribes from here on. Nobody is told when a subscription has begun, so without an `after` of its own it goes on
    /// from where the stream stands before: what the test does next cannot be missed.
    pub async fn subscribe_as(&self, key: &str, query: &str, variables: Value) -> Subscription {
        let url = format!("ws://{}/graphql", self.running().address);
        if query.contains("after:") {
            return Subscription::open(&url, key, query, variables).await;
        }
        let viewer = self.ask_as(Some(key), "{ viewer { eventCursor } }", json!({})).await;
        let place = viewer["data"]["viewer"]["eventCursor"].as_str().unwrap();
        let (head, root) = query.split_once('{').unwrap();
        let root = root.trim_start();
        let end = root.find(|c: char| !c.is_alphanumeric()).unwrap();
        let (field, rest) = root.split_at(end);
        let query = match rest.strip_prefix('(') {
            Some(arguments) => format!("{head}{{ {field}(after: \"{place}\", {arguments}"),
            None => format!("{head}{{ {field}(after: \"{place}\"){rest}"),
        };
        let mut subscription = Subscription::open(&url, key, &query, variables).await;
        if field == "events" {
            subscription.pass_over_caught_up(place);
        }
        subscription
    }

    /// The ids under which WhatsApp knows a phone: of its number and of its account.
    pub async fn wire_ids(&self, number: &str) -> wire::Ids {
        let query = "query($number: PhoneNumber!) { phone(phoneNumber: $number) { phoneNumberId wabaId } }";
        let phone = self.simulate(query, json!({ "number": number })).await["phone"].clone();
        let word = |name: &str| phone[name].as_str().unwrap().to_owned();
        wire::Ids { number: number.to_owned(), number_id: word("phoneNumberId"), waba_id: word("wabaId") }
    }

    /// Posts a body as Meta would; it must be taken. Returns when it is applied.
    pub async fn hear(&self, body: &Value) {
        assert_eq!(self.post(body.to_string().into_bytes()).await, 200);
        self.settle().await;
    }

    /// Posts a body as Meta would: the status of the answer.
    pub async fn post(&self, body: Vec<u8>) -> u16 {
        let secret = &self.running().app.upstream.settings.app_secrets[0];
        let signature = tandem::upstream::meta::signature::sign(secret, &body);
        let request =
            self.http.post(format!("{}/webhooks/meta", self.url())).header("x-hub-signature-256", signature);
        request.body(body).send().await.unwrap().status().as_u16()
    }
}

impl Drop for Tandem {
    fn drop(&mut self) {
        let (running, simulator) = (self.running.take(), self.simulator.take());
        let healthy = running.as_ref().is_none_or(|running| !running.app.tasks.failed());
        if let Some(running) = &running {
            running.app.tasks.stopping().cancel();
        }
        drop((running, simulator));
        assert!(healthy || std::thread::panicking(), "an engine died during the test");
    }
}

/// What SQLite keeps, over what is there: each file stays the same one.
fn copy_files(from: &Path, to: &Path) {
    let names = |dir: &Path| -> Vec<std::ffi::OsString> {
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    let is_kept = |name: &std::ffi::OsStr| {
        let name = name.to_str().unwrap();
        name.contains("sqlite") && !name.ends_with(".told") && !name.ends_with(".lock")
    };
    for name in names(to).into_iter().filter(|name| is_kept(name)) {
        let beside = ["-wal", "-shm"].iter().any(|end| name.to_str().unwrap().ends_with(end));
        if beside {
            std::fs::remove_file(to.join(name)).unwrap();
        }
    }
    for name in names(from).into_iter().filter(|name| is_kept(name) || name == "installation.key") {
        std::fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

/// A database like this one, on the same server: its address.
async fn copy_database(url: &str) -> String {
    let (_, name) = url.rsplit_once('/').unwrap();
    new_database(&format!("TEMPLATE {name}")).await.unwrap()
}

fn sql(text: &str) -> Statement {
    Statement::from_string(DatabaseBackend::Postgres, text)
}

fn config(environment: &[(String, String)]) -> Config {
    Config::from_layers(None::<&Path>, environment).unwrap()
}

async fn close(installation: Installation) {
    installation.db.close().await.unwrap();
    installation.inbound_db.close().await.unwrap();
}

/// A Postgres database of its own, if a server was named; it goes when the server is thrown away after the run.
pub async fn database() -> Option<String> {
    new_database("").await
}

async fn new_database(like: &str) -> Option<String> {
    let admin = postgres()?;
    let name = format!("t_{}", tandem::secrets::random_hex(8));
    let connection = Database::connect(&admin).await.unwrap();
    connection.execute_unprepared(&format!("CREATE DATABASE {name} {like}")).await.unwrap();
    connection.close().await.unwrap();
    let (server, _) = admin.rsplit_once('/').unwrap();
    Some(format!("{server}/{name}"))
}

/// Whether the run is the one on Postgres, where several processes can share a database.
pub fn on_postgres() -> bool {
    postgres().is_some()
}

fn postgres() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the test run's own setting")]
    std::env::var("TEST_POSTGRES_URL").ok()
}

/// A client of its own, with a time-out.
pub fn http_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    #[expect(clippy::disallowed_methods, reason = "the tests' own client, with a time-out")]
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}

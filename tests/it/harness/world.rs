//! What people do in the simulator's world beside writing, and what tests ask the doors again and again.

use std::process::Output;

use serde_json::{Value, json};

use super::{Tandem, http_client};

/// The number of the shop that most tests are about.
pub const SHOP: &str = "+4915120000001";
/// A customer of theirs.
pub const ADA: &str = "+4915770000001";
/// Another one.
pub const BEN: &str = "+4915770000002";
/// A day in seconds.
pub const DAY: i64 = 86_400;

/// What tests look at in a message.
const MESSAGE: &str = "id whatsappId direction origin imported from to text status sentAt editedAt deletedAt
    error { code message details retryable } content { __typename } pricing { billable category model type }
    replyTo { id } reactions { emoji by } idempotencyKey sentBy { kind } statusHistory { status }
    conversation { id contact { id phoneNumber waUserId } }";

/// What an entry of the stream fixes: the same whenever it is read.
pub const FIXED: &str = "__typename ... on CaughtUp { cursor }
    ... on Event { id type cursor occurredAt client { id } }
    ... on IncomingMessageEvent { message { id } }
    ... on OutgoingMessageEvent { message { id } }
    ... on MessageStatusEvent { status error { code } message { id } }
    ... on MessageChangedEvent { mergedId message { id } }
    ... on ContactEvent { mergedId contact { id } }
    ... on OnboardingEvent { step: status onboarding { id } }
    ... on SyncEvent { kind stage: state percent items since until conversationIds }
    ... on ClientEvent { reason days daysLeft merged: mergedId }";

/// One of the counters of the service at this address.
pub(super) async fn metric(address: &str, name: &str) -> i64 {
    let url = format!("http://{address}/metrics");
    let text = http_client().get(url).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))[name.len()..].trim().parse().unwrap()
}

impl Tandem {
    /// An installation with one connected shop: its client's id.
    pub async fn shop() -> (Self, String) {
        let t = Self::new().await;
        let client = t.connected(SHOP).await;
        (t, client)
    }

    /// Something that the simulator's mutation of this name does with this input.
    pub async fn act(&self, mutation: &str, input: Value) {
        let kind = match mutation {
            "openApp" | "changePhone" => "PhoneRef".to_owned(),
            "delete" => "MessageRef".to_owned(),
            "customerSees" => "SeesInput".to_owned(),
            name => format!("{}{}Input", name[..1].to_uppercase(), &name[1..]),
        };
        let selection = match mutation {
            "trouble" | "refuse" | "reviewTemplates" | "setPrices" => "",
            _ => "{ __typename }",
        };
        let query = format!("mutation($input: {kind}!) {{ {mutation}(input: $input) {selection} }}");
        self.simulate(&query, json!({ "input": input })).await;
    }

    /// WhatsApp changes a template of the shop, and the service does not hear of it.
    pub async fn template_changes_unheard(&self, name: &str, language: &str, change: Value) {
        let heard = ["messages", "account_update", "smb_message_echoes", "smb_app_state_sync", "history"];
        let query = "mutation($fields: [String!]!) { subscribeFields(fields: $fields) }";
        self.simulate(query, json!({ "fields": heard })).await;
        let mut input = json!({ "phoneNumber": SHOP, "name": name, "language": language });
        input.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.act("changeTemplate", input).await;
    }

    /// Simulated time passes, and the service knows.
    pub async fn time_passes(&self, seconds: i64) {
        self.advance_clock(seconds).await;
        self.running().app.upstream.simulator_clock().await.unwrap();
    }

    /// Messages of a client, newest first.
    pub async fn messages(&self, client: &str) -> Vec<Value> {
        let query =
            format!("query($id: ID!) {{ history(clientId: $id, first: 100) {{ nodes {{ {MESSAGE} }} }} }}");
        let data = self.data(&query, json!({ "id": client })).await;
        data["history"]["nodes"].as_array().unwrap().clone()
    }

    /// A message by its id, whatever it was merged into.
    pub async fn message(&self, id: &str) -> Value {
        let query = format!("query($id: ID!) {{ node(id: $id) {{ ... on Message {{ {MESSAGE} }} }} }}");
        self.data(&query, json!({ "id": id })).await["node"].clone()
    }

    /// Waits until what was sent is on the wire; it must stay there a while.
    pub async fn leaves(&self, payload: &Value) {
        let id = payload["message"]["id"].as_str().unwrap();
        let wait = async { while self.message(id).await["status"] != "SENDING" {} };
        tokio::time::timeout(super::PATIENCE, wait).await.expect("it does not leave");
    }

    /// The message that says this, which must be the only one.
    pub async fn saying(&self, client: &str, text: &str) -> Value {
        let mut found: Vec<Value> =
            self.messages(client).await.into_iter().filter(|message| message["text"] == text).collect();
        assert_eq!(found.len(), 1, "{text:?}: {found:#?}");
        found.remove(0)
    }

    /// The conversation with somebody.
    pub async fn conversation(&self, client: &str, with: &str) -> Value {
        let query = "query($id: ID!, $with: String!) { conversation(clientId: $id, with: $with) {
            id unreadCount lastActivityAt lastMessage { id text } window { isOpen closesAt openedBy { id text } }
            contact { id phoneNumber waUserId profileName fullName inPhoneBook } } }";
        self.data(query, json!({ "id": client, "with": with })).await["conversation"].clone()
    }

    /// Where the stream stands.
    pub async fn place(&self) -> String {
        let data = self.data("{ viewer { eventCursor } }", json!({})).await;
        data["viewer"]["eventCursor"].as_str().unwrap().to_owned()
    }

    /// What was told after a place.
    pub async fn told_since(&self, place: &str) -> Vec<Value> {
        let query = format!(
            "query($after: EventCursor) {{ events(after: $after, first: 100) {{
                nodes {{ {} }} pageInfo {{ hasNextPage endCursor }} }} }}",
            FIXED.replace("... on CaughtUp { cursor }", "")
        );
        let (mut told, mut after) = (Vec::new(), place.to_owned());
        loop {
            let data = self.data(&query, json!({ "after": after })).await;
            let page = &data["events"];
            told.extend(page["nodes"].as_array().unwrap().iter().cloned());
            after = page["pageInfo"]["endCursor"].as_str().unwrap().to_owned();
            if page["pageInfo"]["hasNextPage"] != true {
                return told;
            }
        }
    }

    /// The types of what was told after a place.
    pub async fn types_since(&self, place: &str) -> Vec<String> {
        let told = self.told_since(place).await;
        told.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Sends words that must be taken: the message's id. Waits until WhatsApp has sent it, and all is heard.
    pub async fn sent(&self, client: &str, to: &str, text: &str) -> String {
        let payload = self.send(client, to, json!({ "text": { "body": text } }), text).await;
        let id = self.until(&payload, "SENT").await;
        self.settle().await;
        id
    }

    /// Waits until a message that `sendMessage` queued has a status: its id.
    pub async fn until(&self, payload: &Value, status: &str) -> String {
        assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
        let query = "subscription($after: EventCursor) {
            messageStatuses(after: $after) { status message { id } } }";
        let mut statuses = self.subscribe(query, json!({ "after": payload["eventCursor"] })).await;
        let id = &payload["message"]["id"];
        let heard = |data: &Value| &data["messageStatuses"]["message"]["id"] == id;
        statuses.until(|data| heard(data) && data["messageStatuses"]["status"] == status).await;
        id.as_str().unwrap().to_owned()
    }

    /// Words that must be refused: the only error.
    pub async fn refused(&self, client: &str, to: &str, content: Value) -> Value {
        let key: String = format!("refused {to} {content}").chars().take(200).collect();
        let payload = self.send(client, to, content, &key).await;
        assert_eq!(payload["message"], Value::Null, "{payload:#}");
        assert_eq!(payload["eventCursor"], Value::Null, "{payload:#}");
        assert_eq!(payload["userErrors"].as_array().unwrap().len(), 1, "{payload:#}");
        payload["userErrors"][0].clone()
    }

    /// One of the counters of `/metrics`.
    pub async fn metric(&self, name: &str) -> i64 {
        metric(&self.running().address.to_string(), name).await
    }

    /// Waits until one of the counters of `/metrics` is this: what is counted is counted a moment after it was done.
    pub async fn until_metric(&self, name: &str, wanted: i64) {
        let wait = async { while self.metric(name).await != wanted {} };
        if tokio::time::timeout(super::PATIENCE, wait).await.is_err() {
            panic!("{name} stays {}, not {wanted}", self.metric(name).await);
        }
    }

    /// A body of Meta's about the shop's number, with these lists in its value.
    pub fn body(field: &str, lists: &Value) -> Value {
        let mut value = json!({
            "messaging_product": "whatsapp", "metadata": { "display_phone_number": &SHOP[1..] },
        });
        for (name, list) in lists.as_object().unwrap() {
            value[name] = list.clone();
        }
        json!({ "object": "whatsapp_business_account",
            "entry": [{ "id": "1", "changes": [{ "field": field, "value": value }] }] })
    }

    /// Posts a body of Meta's about the shop's number, signed, and waits until it is applied.
    pub async fn hears(&self, field: &str, lists: Value) {
        let body = Self::body(field, &lists).to_string();
        assert_eq!(self.post(body.into_bytes()).await, 200);
        self.settle().await;
    }

    /// A command of the binary, over the same installation.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tandem"));
        command.args(arguments).env("TANDEM_LOG", "error").kill_on_drop(true);
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        tokio::time::timeout(super::PATIENCE, command.output()).await.expect("the command hangs").unwrap()
    }

    /// The lines of JSON that a command prints.
    pub async fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.command(arguments).await;
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}"))).collect()
    }
}

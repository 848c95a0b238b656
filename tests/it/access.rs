//! Who may see and do what: every root field with every kind of caller (invariant 8).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{ADA, SHOP, Subscription, Tandem};

/// How a root field answers somebody who names what they may not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// About the caller's own affairs only.
    Own,
    /// Null, without an error.
    Null,
    /// A list with nothing in it, or of nothing but nulls.
    Nothing,
    /// Null, with the error NOT_FOUND.
    NotFound,
    /// The payload's `userErrors` say NOT_FOUND.
    Refused,
    /// Nothing is told, and nothing wrong: what the caller may see did not happen.
    Silence,
}

/// A root field, a document that asks it for the shop's things, and what strangers are told.
struct Field {
    name: &'static str,
    needs: &'static str,
    document: &'static str,
    told: Told,
}

const fn field(name: &'static str, needs: &'static str, told: Told, document: &'static str) -> Field {
    Field { name, needs, document, told }
}

/// All root fields. One that is missing here fails the test that walks the schema.
const FIELDS: &[Field] = &[
    field("viewer", "", Told::Own, "{ viewer { partner { name } clientIds } }"),
    field("node", "READ", Told::Null, "{ node(id: $MESSAGE) { id } }"),
    field(
        "nodes",
        "READ",
        Told::Nothing,
        "{ nodes(ids: [$CLIENT, $ONBOARDING, $CONTACT, $CONVERSATION, $MESSAGE, $EVENT, $ENDPOINT,
            $TEMPLATE]) { id } }",
    ),
    field("client", "READ", Told::Null, "{ client(id: $CLIENT) { id } }"),
    field("clients", "READ", Told::Nothing, "{ clients(filter: { search: \"Shop\" }) { nodes { id } } }"),
    field("onboarding", "READ", Told::Null, "{ onboarding(id: $ONBOARDING) { id } }"),
    field(
        "onboardings",
        "READ",
        Told::Nothing,
        "{ onboardings(filter: { reference: \"shop\" }) { nodes { id } } }",
    ),
    field("history", "READ", Told::NotFound, "{ history(clientId: $CLIENT) { nodes { id } } }"),
    field("contacts", "READ", Told::NotFound, "{ contacts(clientId: $CLIENT) { nodes { id } } }"),
    field(
        "conversation",
        "READ",
        Told::NotFound,
        "{ conversation(clientId: $CLIENT, with: \"+4915770000001\") { id } }",
    ),
    field(
        "conversations",
        "READ",
        Told::NotFound,
        "{ conversations(clientIds: [$CLIENT]) { nodes { id } } }",
    ),
    field("templates", "READ", Told::NotFound, "{ templates(clientId: $CLIENT) { nodes { id } } }"),
    field(
        "createTemplate",
        "ADMIN",
        Told::Refused,
        "mutation { createTemplate(input: { clientId: $CLIENT, name: \"new\", language: \"de\", category: UTILITY,
            body: { text: \"Hallo\" } }) { template { id } eventCursor userErrors { code } } }",
    ),
    field("events", "READ", Told::NotFound, "{ events(filter: { clientIds: [$CLIENT] }) { nodes { id } } }"),
    field(
        "createOnboarding",
        "ADMIN",
        Told::Refused,
        "mutation { createOnboarding(input: { businessName: \"X\", clientId: $CLIENT }) {
            onboarding { id } userErrors { code } } }",
    ),
    field(
        "revokeOnboarding",
        "ADMIN",
        Told::Refused,
        "mutation { revokeOnboarding(input: { onboardingId: $ONBOARDING }) {
            onboarding { id } userErrors { code } } }",
    ),
    field(
        "completeOnboarding",
        "ADMIN",
        Told::Refused,
        "mutation { completeOnboarding(input: { onboardingId: $ONBOARDING, code: \"x\" }) {
            onboarding { id } userErrors { code } } }",
    ),
    field(
        "requestHistorySync",
        "ADMIN",
        Told::Refused,
        "mutation { requestHistorySync(input: { clientId: $CLIENT }) { client { id } userErrors { code } } }",
    ),
    field(
        "requestContactSync",
        "ADMIN",
        Told::Refused,
        "mutation { requestContactSync(input: { clientId: $CLIENT }) { client { id } userErrors { code } } }",
    ),
    field(
        "confirmAppVisit",
        "ADMIN",
        Told::Refused,
        "mutation { confirmAppVisit(input: { clientId: $CLIENT }) { client { id } userErrors { code } } }",
    ),
    field(
        "updateProfile",
        "ADMIN",
        Told::Refused,
        "mutation { updateProfile(input: { clientId: $CLIENT, about: \"X\" }) { client { id } userErrors { code } } }",
    ),
    field(
        "sendMessage",
        "SEND",
        Told::Refused,
        "mutation { sendMessage(input: { clientId: $CLIENT, to: \"+4915770000001\", idempotencyKey: \"x\",
            content: { text: { body: \"X\" } } }) { message { id } userErrors { code } } }",
    ),
    field(
        "markAsRead",
        "SEND",
        Told::Refused,
        "mutation { markAsRead(input: { messageId: $MESSAGE }) { message { id } userErrors { code } } }",
    ),
    field("webhookEndpoints", "ADMIN", Told::Nothing, "{ webhookEndpoints { nodes { id } } }"),
    field(
        "webhookDeliveries",
        "ADMIN",
        Told::NotFound,
        "{ webhookDeliveries(endpointId: $ENDPOINT) { nodes { id } } }",
    ),
    field(
        "createWebhookEndpoint",
        "ADMIN",
        Told::Refused,
        "mutation { createWebhookEndpoint(input: { url: \"http://127.0.0.1:9/\", clientIds: [$CLIENT] }) {
            endpoint { id } secret userErrors { code } } }",
    ),
    field(
        "updateWebhookEndpoint",
        "ADMIN",
        Told::Refused,
        "mutation { updateWebhookEndpoint(input: { endpointId: $ENDPOINT, parallel: true }) {
            endpoint { id } userErrors { code } } }",
    ),
    field(
        "rotateWebhookSecret",
        "ADMIN",
        Told::Refused,
        "mutation { rotateWebhookSecret(input: { endpointId: $ENDPOINT }) {
            endpoint { id } secret userErrors { code } } }",
    ),
    field(
        "sendTestEvent",
        "ADMIN",
        Told::Refused,
        "mutation { sendTestEvent(input: { endpointId: $ENDPOINT }) {
            endpoint { id } eventCursor userErrors { code } } }",
    ),
    field(
        "replayWebhooks",
        "ADMIN",
        Told::Refused,
        "mutation { replayWebhooks(input: { endpointId: $ENDPOINT }) {
            endpoint { id } upTo userErrors { code } } }",
    ),
    // The last of them: what is gone is found by nobody.
    field(
        "deleteWebhookEndpoint",
        "ADMIN",
        Told::Refused,
        "mutation { deleteWebhookEndpoint(input: { endpointId: $ENDPOINT }) {
            endpoint { id } userErrors { code } } }",
    ),
    field(
        "cancelMessage",
        "SEND",
        Told::Refused,
        "mutation { cancelMessage(input: { messageId: $MESSAGE }) { message { id } userErrors { code } } }",
    ),
    field(
        "resendMessage",
        "SEND",
        Told::Refused,
        "mutation { resendMessage(input: { messageId: $MESSAGE }) { message { id } userErrors { code } } }",
    ),
    // After all that names it.
    field(
        "deleteTemplate",
        "ADMIN",
        Told::Refused,
        "mutation { deleteTemplate(input: { templateId: $TEMPLATE }) {
            template { id } eventCursor userErrors { code } } }",
    ),
    field(
        "resumeClient",
        "ADMIN",
        Told::Refused,
        "mutation { resumeClient(input: { clientId: $CLIENT }) { client { id } userErrors { code } } }",
    ),
    field(
        "disconnectClient",
        "ADMIN",
        Told::Refused,
        "mutation { disconnectClient(input: { clientId: $CLIENT }) { client { id } userErrors { code } } }",
    ),
    field("events", "READ", Told::Silence, "subscription { events { __typename } }"),
    field(
        "events",
        "READ",
        Told::NotFound,
        "subscription { events(filter: { clientIds: [$CLIENT] }) { __typename } }",
    ),
    field(
        "outgoingMessages",
        "READ",
        Told::NotFound,
        "subscription { outgoingMessages(clientIds: [$CLIENT]) { id } }",
    ),
    field(
        "incomingMessages",
        "READ",
        Told::NotFound,
        "subscription { incomingMessages(clientIds: [$CLIENT]) { id } }",
    ),
    field(
        "messageStatuses",
        "READ",
        Told::NotFound,
        "subscription { messageStatuses(clientIds: [$CLIENT]) { id } }",
    ),
    field(
        "contactChanges",
        "READ",
        Told::NotFound,
        "subscription { contactChanges(clientIds: [$CLIENT]) { id } }",
    ),
    field(
        "onboardingProgress",
        "READ",
        Told::NotFound,
        "subscription { onboardingProgress(onboardingId: $ONBOARDING) { id } }",
    ),
    field("syncProgress", "READ", Told::NotFound, "subscription { syncProgress(clientId: $CLIENT) { id } }"),
    field(
        "clientChanges",
        "READ",
        Told::NotFound,
        "subscription { clientChanges(clientIds: [$CLIENT]) { id } }",
    ),
];

/// The shop's things, and somebody who may see none of them.
struct Scene {
    t: Tandem,
    ids: Vec<(&'static str, String)>,
    /// Another client of the same partner.
    neighbour: String,
}

impl Scene {
    async fn new() -> Self {
        let t = Tandem::new().await;
        t.phone(SHOP, 2, 0).await;
        let onboarding = t.onboarding(json!({ "reference": "shop", "businessName": "Shop" })).await;
        let signup = t.signup(SHOP, false).await;
        let payload = t.complete(&onboarding, &signup).await;
        let client = payload["onboarding"]["client"]["id"].as_str().unwrap().to_owned();
        t.customer_writes(SHOP, ADA, "Geheim").await;
        t.settle().await;
        let message = t.saying(&client, "Geheim").await;
        let events = t.data("{ events { nodes { id } } }", json!({})).await;
        let neighbour = t.connected("+4915120000002").await;
        // Nobody listens there, which is all the same to who may see it.
        let (endpoint, _) = t.endpoint("http://127.0.0.1:9/", json!({ "eventTypes": ["TEST"] })).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let templates = "query($id: ID!) { templates(clientId: $id) { nodes { id } } }";
        let templates = t.data(templates, json!({ "id": client })).await;
        let ids = vec![
            ("$TEMPLATE", text(&templates["templates"]["nodes"][0]["id"])),
            ("$CLIENT", client),
            ("$ONBOARDING", onboarding),
            ("$ENDPOINT", endpoint),
            ("$MESSAGE", text(&message["id"])),
            ("$CONVERSATION", text(&message["conversation"]["id"])),
            ("$CONTACT", text(&message["conversation"]["contact"]["id"])),
            ("$EVENT", text(&events["events"]["nodes"][0]["id"])),
        ];
        Self { t, ids, neighbour }
    }

    fn document(&self, field: &Field) -> String {
        let mut document = field.document.to_owned();
        for (name, id) in &self.ids {
            document = document.replace(name, &format!("\"{id}\""));
        }
        document
    }

    /// What a field answers, as over HTTP: a subscription's refusal as an error, its silence as no data.
    async fn answer(&self, key: &str, field: &Field) -> Value {
        let document = self.document(field);
        if !document.starts_with("subscription") {
            return self.t.ask_as(Some(key), &document, json!({})).await;
        }
        let mut subscription = self.t.subscribe_as(key, &document, json!({})).await;
        let frame = subscription.first_or_silence().await;
        let is_silent =
            frame["id"] == "silence" || frame["payload"]["data"]["events"]["__typename"] == "CaughtUp";
        match frame["type"].as_str() {
            Some("error") => json!({ "data": null, "errors": frame["payload"] }),
            _ if is_silent => json!({ "data": { field.name: [] } }),
            _ => frame["payload"].clone(),
        }
    }

    async fn strangers_are_told(&self, who: &str, key: &str) {
        for field in FIELDS {
            let answer = self.answer(key, field).await;
            let what = format!("{who}: {}: {answer:#}", field.document);
            let value = &answer["data"][field.name];
            let code = &answer["errors"][0]["extensions"]["code"];
            match field.told {
                Told::Own => assert!(code.is_null() && value.is_object(), "{what}"),
                Told::Null => assert!(code.is_null() && value.is_null(), "{what}"),
                Told::Nothing | Told::Silence => {
                    let list = value.get("nodes").unwrap_or(value).as_array().expect(&what);
                    assert!(code.is_null() && list.iter().all(Value::is_null), "{what}");
                }
                Told::NotFound => assert!(*code == "NOT_FOUND" && value.is_null(), "{what}"),
                Told::Refused => {
                    assert!(code.is_null(), "{what}");
                    assert_eq!(value["userErrors"][0]["code"], "NOT_FOUND", "{what}");
                    let made = value.as_object().unwrap().iter().filter(|(name, _)| *name != "userErrors");
                    assert!(made.map(|(_, made)| made).all(Value::is_null), "{what}");
                }
            }
            // Nobody is told that it is there, and for somebody else.
            assert!(!answer.to_string().contains("FORBIDDEN"), "{what}");
        }
    }

    /// Each field answers FORBIDDEN exactly where the key's scopes do not suffice.
    async fn scopes_hold(&self, scopes: &[&str]) {
        let key = self.t.make_key(&[], scopes, None).await;
        for field in FIELDS {
            let answer = self.answer(&key, field).await;
            let forbidden = answer["errors"][0]["extensions"]["code"] == "FORBIDDEN";
            let suffices = field.needs.is_empty() || scopes.contains(&field.needs);
            assert_eq!(forbidden, !suffices, "{scopes:?}: {}: {answer:#}", field.document);
            if forbidden {
                let data = &answer["data"];
                assert!(data.is_null() || data[field.name].is_null(), "{answer:#}");
            }
        }
    }
}

/// What others wrote is for keys with READ, also in what a mutation gives back.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_only_sends_reads_nothing_that_others_wrote() {
    let (t, client) = Tandem::shop().await;
    t.customer_writes(SHOP, ADA, "Geheim").await;
    t.settle().await;
    let id = t.saying(&client, "Geheim").await["id"].clone();
    let key = t.make_key(&[], &["SEND"], None).await;
    for field in ["text", "from", "content { __typename }"] {
        let query = format!(
            "mutation($id: ID!) {{ markAsRead(input: {{ messageId: $id }}) {{ message {{ id status {field} }} }} }}"
        );
        let answer = t.ask_as(Some(&key), &query, json!({ "id": id })).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{field}: {answer:#}");
        assert!(!answer.to_string().contains("Geheim") && !answer.to_string().contains(ADA), "{answer:#}");
    }
    let query = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { text } userErrors { code } } }";
    let input = json!({ "clientId": client, "to": ADA, "content": { "text": { "body": "Von mir" } }, "idempotencyKey": "k" });
    let answer = t.ask_as(Some(&key), query, json!({ "input": input })).await;
    assert_eq!(answer["data"]["sendMessage"]["message"]["text"], "Von mir", "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_root_field_is_walked() {
    let t = Tandem::new().await;
    let query = "{ __schema { queryType { fields { name } } mutationType { fields { name } }
        subscriptionType { fields { name } } } }";
    let data = t.data(query, json!({})).await;
    for (kind, word) in
        [("queryType", "{"), ("mutationType", "mutation"), ("subscriptionType", "subscription")]
    {
        let fields = data["__schema"][kind]["fields"].as_array().unwrap();
        let there: BTreeSet<&str> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
        let walked: BTreeSet<&str> =
            FIELDS.iter().filter(|field| field.document.starts_with(word)).map(|field| field.name).collect();
        assert_eq!(there, walked, "give each field of {kind} its line in FIELDS");
    }
    // No mutation changes the phone's profile, groups or connection, or overrides the app (S11).
    let mutations = data["__schema"]["mutationType"]["fields"].as_array().unwrap();
    for mutation in mutations {
        let name = mutation["name"].as_str().unwrap().to_lowercase();
        assert!(
            !["group", "register", "block", "displayname"].iter().any(|word| name.contains(word)),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nothing_is_answered() {
    let scene = Scene::new().await;
    let t = &scene.t;
    let wrong = format!("{}0", t.key);
    for field in FIELDS.iter().filter(|field| !field.document.starts_with("subscription")) {
        for key in [None, Some("nonsense"), Some(wrong.as_str())] {
            let mut request = t.http.post(format!("{}/graphql", t.url()));
            if let Some(key) = key {
                request = request.bearer_auth(key);
            }
            let response = request.json(&json!({ "query": scene.document(field) })).send().await.unwrap();
            assert_eq!(response.status().as_u16(), 401, "{}", field.document);
            let answer: Value = response.json().await.unwrap();
            assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{answer:#}");
            assert!(answer.get("data").is_none(), "{answer:#}");
        }
    }
    let url = format!("ws://{}/graphql", t.running().address);
    for init in [json!({}), json!({ "authorization": "Bearer nonsense" }), json!({ "authorization": t.key })]
    {
        let mut socket = Subscription::greet(&url, init.clone()).await;
        assert_eq!(socket.closed().await.0, 4403, "{init}");
    }
    assert_eq!(t.arrivals(SHOP).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_partner_finds_nothing() {
    let scene = Scene::new().await;
    let rival = scene.t.another_partner().await;
    scene.strangers_are_told("another partner", &rival).await;
    let query = "{ clients { nodes { id } } onboardings { nodes { id } } conversations { nodes { id } }
        events { nodes { id } } viewer { partner { name } } }";
    let data = scene.t.ask_as(Some(&rival), query, json!({})).await["data"].clone();
    for list in ["clients", "onboardings", "conversations", "events"] {
        assert_eq!(data[list]["nodes"], json!([]), "{list}");
    }
    assert_eq!(data["viewer"]["partner"]["name"], "Rival");
    // Nor does a known number lead anywhere: to its holder's rows least of all.
    let query = "query($n: String!) { conversations(filter: { search: $n }) { nodes { id contact { phoneNumber } } } }";
    let data = scene.t.ask_as(Some(&rival), query, json!({ "n": ADA })).await["data"].clone();
    assert_eq!(data["conversations"]["nodes"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_one_client_finds_nothing_of_the_others() {
    let scene = Scene::new().await;
    let t = &scene.t;
    let key = t.make_key(&[&scene.neighbour], &["READ", "SEND", "ADMIN"], None).await;
    scene.strangers_are_told("a key for another client", &key).await;
    let query = "{ clients { nodes { id } } conversations { nodes { client { id } } }
        onboardings { nodes { client { id } } } events(first: 100) { nodes { client { id } } } viewer { clientIds } }";
    let data = t.ask_as(Some(&key), query, json!({})).await["data"].clone();
    assert_eq!(data["clients"]["nodes"], json!([{ "id": scene.neighbour }]));
    assert_eq!(data["viewer"]["clientIds"], json!([scene.neighbour]));
    for list in ["conversations", "onboardings", "events"] {
        let nodes = data[list]["nodes"].as_array().unwrap();
        assert!(
            nodes.iter().all(|node| node["client"]["id"] == json!(scene.neighbour)),
            "{list}: {nodes:#?}"
        );
    }
    assert!(!data["events"]["nodes"].as_array().unwrap().is_empty());
    // It makes no clients beside its own.
    let document = "mutation { createOnboarding(input: { businessName: \"X\" }) { onboarding { id } userErrors { code } } }";
    let answer = t.ask_as(Some(&key), document, json!({})).await;
    assert_eq!(answer["data"]["createOnboarding"]["onboarding"], Value::Null, "{answer:#}");
    // Live, it hears of its own client and of no other.
    let query = "subscription { incomingMessages { client { id } } }";
    let mut heard = t.subscribe_as(&key, query, json!({})).await;
    t.customer_writes(SHOP, ADA, "Für den Laden").await;
    t.settle().await;
    t.customer_writes("+4915120000002", ADA, "Für den Nachbarn").await;
    assert_eq!(heard.next().await["incomingMessages"]["client"]["id"], json!(scene.neighbour));
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_allow_what_they_say_and_no_more() {
    let scene = Scene::new().await;
    scene.scopes_hold(&["READ"]).await;
    scene.scopes_hold(&["SEND"]).await;
    scene.scopes_hold(&["ADMIN"]).await;
    scene.scopes_hold(&["READ", "SEND"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_would_see_it_if_a_field_answered() {
    // What strangers are denied is there: the partner's own key finds each of it.
    let scene = Scene::new().await;
    for field in FIELDS.iter().filter(|field| !matches!(field.told, Told::Own | Told::Silence)) {
        let answer = scene.answer(&scene.t.key, field).await;
        let text = answer.to_string();
        assert!(!text.contains("NOT_FOUND") && !text.contains("FORBIDDEN"), "{}: {answer:#}", field.document);
        if matches!(field.told, Told::Null | Told::Nothing) {
            let value = &answer["data"][field.name];
            let list = value.get("nodes").unwrap_or(value);
            assert!(
                list.is_object()
                    || list.as_array().is_some_and(|l| !l.is_empty() && !l.contains(&Value::Null))
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_ended_opens_nothing_and_closes_its_sockets() {
    let t = Tandem::new().await;
    let query = "subscription { events { __typename } }";
    let refused = async |key: &str| {
        let answer = t.ask_as(Some(key), "{ viewer { scopes } }", json!({})).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{answer:#}");
    };
    // One whose time is over.
    let brief = t.make_key(&[], &["READ"], Some(2)).await;
    let mut socket = t.subscribe_as(&brief, query, json!({})).await;
    assert_eq!(socket.closed().await, (4403, "Credential expired".to_owned()));
    refused(&brief).await;
    // One that is taken back, by the command line.
    let lines = t
        .lines(&["key", "create", "--partner", &t.partner, "--scope", "READ", "--expires", "1d", "--json"])
        .await;
    let (id, key) = (lines[0]["id"].as_str().unwrap(), lines[0]["apiKey"].as_str().unwrap());
    assert_eq!(lines[0]["scopes"], json!(["READ"]));
    let data =
        t.ask_as(Some(key), "{ viewer { scopes expiresAt credentialId } }", json!({})).await["data"].clone();
    assert_eq!((&data["viewer"]["scopes"], &data["viewer"]["credentialId"]), (&json!(["READ"]), &json!(id)));
    assert!(data["viewer"]["expiresAt"].is_string());
    let mut socket = t.subscribe_as(key, query, json!({})).await;
    assert!(t.command(&["key", "revoke", id]).await.status.success());
    assert_eq!(socket.closed().await, (4403, "Credential revoked".to_owned()));
    refused(key).await;
    assert!(!t.command(&["key", "revoke", id]).await.status.success(), "it holds no more");
}

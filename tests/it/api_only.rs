//! Numbers that live on the API alone, without any app.

use sea_orm::EntityTrait;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tandem::ids::PublicId;

use crate::harness::{ADA, Tandem};

const NUMBER: &str = "+4915120000901";
const OTHER: &str = "+4915120000902";

/// A number without an app, in the simulator.
async fn number(t: &Tandem, number: &str) {
    t.create_phone(json!({ "phoneNumber": number, "displayName": "Café Test", "app": "API_ONLY" })).await;
}

/// Connects it: the client's id.
async fn connect(t: &Tandem, number: &str, extra: Value) -> String {
    let mut input = extra;
    input["coexistence"] = json!(false);
    t.connect(number, true, input).await
}

fn confirmed(when: &str) -> Value {
    let parameters = json!([{ "text": "Ada" }, { "text": when }]);
    json!({ "template": { "name": "appointment_confirmed", "language": "de",
        "components": [{ "type": "BODY", "parameters": parameters }] } })
}

/// The row of a client, as only the database shows it.
async fn row(t: &Tandem, client: &str) -> entity::client::Model {
    let id = entity::ClientId::parse(client).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the database's view of what no door shows")]
    let row = entity::client::Entity::find_by_id(id).one(t.running().app.db.read()).await.unwrap();
    row.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_on_the_api_alone_is_registered_and_has_no_app() {
    let t = Tandem::new().await;
    // What only an app needs need not be subscribed.
    let fields = json!({ "fields": ["messages", "account_update"] });
    t.simulate("mutation($fields: [String!]!) { subscribeFields(fields: $fields) }", fields).await;
    number(&t, NUMBER).await;
    let client = connect(&t, NUMBER, json!({})).await;
    let fields = "mode status phoneNumber historyImport sendLimit { messagesPerSecond } app { basis }
        historySync { state deadlineAt } contactSync { state }";
    let now = t.client(&client, fields).await;
    assert_eq!(
        (&now["mode"], &now["status"], &now["phoneNumber"], &now["historyImport"]),
        (&json!("API_ONLY"), &json!("CONNECTED"), &json!(NUMBER), &json!("NEVER"))
    );
    assert_eq!((&now["sendLimit"]["messagesPerSecond"], &now["app"]), (&json!(80), &Value::Null));
    assert_eq!(now["historySync"]["state"], "UNAVAILABLE");
    assert_eq!(now["contactSync"]["state"], "UNAVAILABLE");
    for mutation in ["requestHistorySync", "requestContactSync"] {
        let payload = t.mutate(mutation, json!({ "clientId": client }), "client { id }").await;
        assert_eq!(payload["userErrors"][0]["code"], "INVALID", "{mutation}");
    }
    assert_eq!(t.graph_calls("register").await.len(), 1);
    assert_eq!(t.graph_calls("smb_app_data").await, Vec::<Value>::new(), "there is nothing to import");

    // The PIN is kept, and not as it is.
    let kept = row(&t, &client).await;
    let sealed = kept.pin_sealed.unwrap();
    let pin = t.running().app.key.open(kept.id.uuid().as_bytes(), &sealed).unwrap();
    let pin = pin.expose_secret();
    assert!(pin.len() == 6 && pin.bytes().all(|byte| byte.is_ascii_digit()));
    assert!(!sealed.windows(6).any(|bytes| bytes == pin.as_bytes()));

    let payload = t.send(&client, ADA, confirmed("heute"), "k").await;
    t.until(&payload, "SENT").await;
    t.customer_writes(NUMBER, ADA, "Danke").await;
    t.settle().await;
    let payload = t.send(&client, ADA, json!({ "text": { "body": "Gern" } }), "k2").await;
    t.until(&payload, "SENT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_profile_of_a_number_on_the_api_alone_is_set_here() {
    let t = Tandem::new().await;
    number(&t, NUMBER).await;
    let client = connect(&t, NUMBER, json!({})).await;
    let before = t.cursor().await;
    let set = async |change: Value| {
        let mut input = change;
        input["clientId"] = json!(client);
        t.mutate("updateProfile", input, "client { profile { about } }").await
    };
    let payload = set(json!({ "about": "Täglich frisch", "websites": ["https://example.test/"] })).await;
    assert_eq!(
        (&payload["userErrors"], &payload["client"]["profile"]["about"]),
        (&json!([]), &json!("Täglich frisch"))
    );
    assert_eq!(t.told(&before, &["CLIENT_PROFILE_CHANGED"], "... on Event { type }").await.len(), 1);
    for (change, field) in [
        (json!({ "displayName": "Another name" }), json!(["displayName"])),
        (json!({ "about": "" }), json!(["about"])),
        (json!({ "about": "x".repeat(140) }), json!(["about"])),
        (json!({ "email": "x".repeat(129) }), json!(["email"])),
        (json!({}), json!([])),
    ] {
        let error = set(change).await["userErrors"][0].clone();
        assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &field));
    }
    t.act("refuse", json!({ "path": "whatsapp_business_profile", "code": 100 })).await;
    let error = set(json!({ "about": "Heute zu" })).await["userErrors"][0].clone();
    assert_eq!(error["code"], "UPSTREAM_REJECTED", "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_in_the_app_is_never_registered() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 2, 0).await;
    let onboarding = t.onboarding(json!({ "coexistence": false })).await;
    let signup = t.signup(NUMBER, true).await;
    let payload = t.complete(&onboarding, &signup).await;
    assert_eq!(payload["onboarding"]["failure"]["code"], "IN_BUSINESS_APP", "{payload:#}");
    // Nor when the browser keeps the event to itself, or lies.
    t.disconnect(NUMBER, "ACCOUNT_DISCONNECTED", "USER").await;
    for event in [Value::Null, json!("FINISH")] {
        let signup = t.signup(NUMBER, true).await;
        let lie = json!({ "code": signup["code"], "wabaId": signup["wabaId"], "event": event });
        let payload = t.complete(&onboarding, &lie).await;
        assert_eq!(payload["onboarding"]["failure"]["code"], "IN_BUSINESS_APP", "{payload:#}");
        assert!(payload["onboarding"]["failure"]["remedy"].as_str().unwrap().contains("coexistence: true"));
        t.disconnect(NUMBER, "ACCOUNT_DISCONNECTED", "USER").await;
    }
    assert_eq!(t.graph_calls("register").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_whatsapp_does_not_register_is_tried_again_with_the_same_link() {
    let t = Tandem::new().await;
    number(&t, NUMBER).await;
    let onboarding = t.onboarding(json!({ "coexistence": false })).await;
    t.act("refuse", json!({ "path": "register", "code": 133_016 })).await;
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    let failure = &payload["onboarding"]["failure"];
    assert_eq!(
        (&failure["code"], &failure["upstreamCode"]),
        (&json!("REGISTRATION_REFUSED"), &json!("133016"))
    );
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    assert_eq!(payload["onboarding"]["status"], "CONNECTED", "{payload:#}");
    assert_eq!(t.graph_calls("register").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_on_the_api_alone_leaves_and_comes_back_with_its_pin() {
    let t = Tandem::new().await;
    number(&t, NUMBER).await;
    let client = connect(&t, NUMBER, json!({})).await;
    let kept = row(&t, &client).await;
    let app = t.running().app.clone();
    let token = app.key.open(kept.id.uuid().as_bytes(), &kept.token_sealed.unwrap()).unwrap();

    // A permission that is lost pauses; a new signup resumes, and what waited leaves.
    t.act("refuse", json!({ "code": 190 })).await;
    let changes = "subscription { clientChanges { type reason } }";
    let mut changes = t.subscribe(changes, json!({})).await;
    let queued = t.send(&client, ADA, confirmed("heute"), "k").await;
    let paused = changes.next().await["clientChanges"].clone();
    assert_eq!(paused["type"], "CLIENT_PAUSED");
    assert!(paused["reason"].as_str().unwrap().contains("new onboarding"), "{paused:#}");
    assert_eq!(connect(&t, NUMBER, json!({ "clientId": client })).await, client);
    assert_eq!(changes.next().await["clientChanges"]["type"], "CLIENT_CONNECTED");
    t.until(&queued, "SENT").await;
    assert_eq!(t.graph_calls("register").await.len(), 1, "it is registered already");

    let payload = t.mutate("disconnectClient", json!({ "clientId": client }), "client { status }").await;
    assert_eq!(payload["client"]["status"], "DISCONNECTED");
    assert!(row(&t, &client).await.token_sealed.is_none());
    // Somebody takes it off the API: only the PIN that was kept registers it again.
    let number_id = t.phone_number_id(&client).await;
    let url = format!("{}/{number_id}/deregister", app.upstream.settings.base);
    let answer = t.http.post(url).bearer_auth(token.expose_secret()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(connect(&t, NUMBER, json!({ "clientId": client })).await, client);
    assert_eq!(t.graph_calls("register").await.len(), 3, "with the deregistration");
    // A fresh link leads to the same client, whose PIN it is.
    t.mutate("disconnectClient", json!({ "clientId": client }), "client { status }").await;
    let token = row(&t, &client).await.token_sealed;
    assert!(token.is_none());
    assert_eq!(connect(&t, NUMBER, json!({})).await, client);
    // A link for it takes no other number, and registers none.
    t.mutate("disconnectClient", json!({ "clientId": client }), "client { status }").await;
    number(&t, OTHER).await;
    let onboarding = t.onboarding(json!({ "clientId": client, "coexistence": false })).await;
    let payload = t.complete(&onboarding, &t.signup(OTHER, true).await).await;
    assert_eq!(payload["onboarding"]["failure"]["code"], "OTHER", "{payload:#}");
    assert_eq!(t.graph_calls("register").await.len(), 3);
}

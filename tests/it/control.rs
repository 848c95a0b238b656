//! The client is in control: S11.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::Tandem;

const NUMBER: &str = "+4915120000701";
const CUSTOMER: &str = "+4915770000701";

/// All of the phone that is the client's own, and not a chat with a customer.
async fn own(t: &Tandem) -> Value {
    let query = "query($n: PhoneNumber!) { phone(phoneNumber: $n) { phoneNumber displayName about app appVersion connected
        sharesHistory disappearingMessages viewOnce linkedDevices contacts { phoneNumber fullName }
        messages(first: 1000) { id text group madeBy status deleted edited } } }";
    let mut phone = t.simulate(query, json!({ "n": NUMBER })).await["phone"].clone();
    let messages = phone["messages"].as_array_mut().unwrap();
    // What the API is for: messages of its own, and that a customer's message was read.
    messages.retain(|message| message["madeBy"] != "API");
    for message in messages {
        if message["madeBy"] == "CUSTOMER" && message["group"].is_null() {
            message["status"] = Value::Null;
        }
    }
    phone
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_no_operation_changes_the_phones_profile_groups_or_connection() {
    let t = Tandem::new().await;
    t.create_phone(json!({
        "phoneNumber": NUMBER, "displayName": "Café Test", "contacts": 5, "messages": 20, "groups": 2,
    }))
    .await;
    let client = t.imported(NUMBER, true, json!({ "history": "ON_REQUEST" })).await;
    t.act("link", json!({ "phoneNumber": NUMBER, "device": "WEB" })).await;
    let incoming = t.customer_writes(NUMBER, CUSTOMER, "Hallo").await;
    t.write(
        "writeAsCustomer",
        json!({ "phoneNumber": NUMBER, "with": CUSTOMER, "text": "Hallo alle", "group": "Team" }),
    )
    .await;
    t.app_writes(NUMBER, CUSTOMER, "Guten Tag").await;
    t.settle().await;
    let message = t
        .history(&client, "id whatsappId")
        .await
        .into_iter()
        .find(|message| message["whatsappId"] == json!(incoming));
    let message = message.unwrap()["id"].clone();
    let onboarding = t.onboarding(json!({})).await;
    // Nobody listens there, and nothing of the phone depends on it.
    let hook = json!({ "url": "http://127.0.0.1:9/hook" });
    let made = t.mutate("createWebhookEndpoint", hook.clone(), "endpoint { id }").await;
    let endpoint = made["endpoint"]["id"].clone();
    let templates = "query($id: ID!) { templates(clientId: $id) { nodes { id } } }";
    let template = t.data(templates, json!({ "id": client })).await["templates"]["nodes"][0]["id"].clone();
    let before = own(&t).await;
    assert!(before["messages"].as_array().unwrap().iter().any(|message| !message["group"].is_null()));

    let send = |content: Value, key: &str| json!({ "clientId": client, "to": CUSTOMER, "content": content, "idempotencyKey": key });
    // Every mutation, with what could do the most harm. One that is new has to find its place here.
    let mutations = [
        ("createOnboarding", json!({ "businessName": "Another name", "displayName": "Another name" })),
        ("completeOnboarding", json!({ "onboardingId": onboarding, "code": "AQnothing" })),
        ("revokeOnboarding", json!({ "onboardingId": onboarding })),
        ("requestHistorySync", json!({ "clientId": client })),
        ("requestContactSync", json!({ "clientId": client })),
        ("confirmAppVisit", json!({ "clientId": client })),
        (
            "updateProfile",
            json!({ "clientId": client, "displayName": "Another name", "about": "Taken over" }),
        ),
        ("sendMessage", send(json!({ "text": { "body": "Von der API" } }), "text")),
        ("sendMessage", send(json!({ "reaction": { "messageId": message, "emoji": "👍" } }), "reaction")),
        (
            "sendMessage",
            json!({
                "clientId": client, "to": "120363012345678901@g.us", "content": { "text": { "body": "An alle" } },
                "idempotencyKey": "group",
            }),
        ),
        ("markAsRead", json!({ "messageId": message, "typing": true })),
        (
            "createTemplate",
            json!({ "clientId": client, "name": "new", "language": "de", "category": "UTILITY",
                "body": { "text": "Hallo" } }),
        ),
        ("deleteTemplate", json!({ "templateId": template })),
        ("createWebhookEndpoint", hook),
        ("updateWebhookEndpoint", json!({ "endpointId": endpoint, "description": "Another name" })),
        ("rotateWebhookSecret", json!({ "endpointId": endpoint })),
        ("sendTestEvent", json!({ "endpointId": endpoint })),
        ("replayWebhooks", json!({ "endpointId": endpoint, "since": "2020-01-01T00:00:00Z" })),
        ("deleteWebhookEndpoint", json!({ "endpointId": endpoint })),
        ("cancelMessage", json!({ "messageId": message })),
        ("resendMessage", json!({ "messageId": message })),
        ("resumeClient", json!({ "clientId": client })),
        // Last: after it nothing is sent any more.
        ("disconnectClient", json!({ "clientId": client })),
    ];
    let known = "{ __schema { mutationType { fields { name } } } }";
    let known = t.data(known, json!({})).await["__schema"]["mutationType"]["fields"].clone();
    let known: BTreeSet<&str> =
        known.as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(known, mutations.iter().map(|(name, _)| *name).collect(), "all of the schema's mutations");

    let mut refused = BTreeSet::new();
    for (mutation, input) in &mutations {
        let payload = t.mutate(mutation, input.clone(), "__typename").await;
        t.settle().await;
        assert_eq!(own(&t).await, before, "{mutation}");
        for error in payload["userErrors"].as_array().unwrap() {
            refused.insert((*mutation, error["code"].as_str().unwrap().to_owned()));
        }
    }
    let expected = [
        ("cancelMessage", "INVALID"),
        ("requestContactSync", "SYNC_ALREADY_REQUESTED"),
        ("resendMessage", "INVALID"),
        ("resumeClient", "INVALID"),
        ("sendMessage", "GROUPS_NOT_SUPPORTED"),
        ("updateProfile", "MANAGED_IN_APP"),
    ];
    assert_eq!(refused, expected.map(|(name, code)| (name, code.to_owned())).into());

    // Nor behind their backs: the client's number is never registered, and nothing but the messages is written.
    assert_eq!(t.graph_calls("register").await, Vec::<Value>::new());
    let calls = t.graph_calls("").await;
    let written: BTreeSet<&str> = calls
        .iter()
        .filter(|call| call["method"] != "GET")
        .map(|call| call["path"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    assert_eq!(
        written,
        ["message_templates", "messages", "smb_app_data", "subscribed_apps", "subscriptions"].into()
    );
    let deleted: Vec<&str> = calls
        .iter()
        .filter(|call| call["method"] == "DELETE")
        .map(|call| call["path"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    assert_eq!(
        deleted,
        ["message_templates", "subscribed_apps"],
        "what the service itself set up: {calls:#?}"
    );
}

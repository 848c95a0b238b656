//! Name, picture and profile belong to the client: R17.

use serde_json::{Value, json};

use crate::harness::Tandem;

const NUMBER: &str = "+4915120000601";
const OTHER: &str = "+4915120000602";
const DAY: i64 = 86_400;
const CHANGES: &str = "subscription($after: EventCursor) { clientChanges(after: $after) {
    type client { displayName profile { about pictureUrl } } } }";

async fn set_profile(t: &Tandem, name: Option<&str>, about: Option<&str>) {
    let mut input = json!({ "phoneNumber": NUMBER });
    for (field, value) in [("displayName", name), ("about", about)] {
        if let Some(value) = value {
            input[field] = json!(value);
        }
    }
    t.act("setProfile", input).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r17_the_profile_cannot_be_changed_through_the_api() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let query = "query($n: PhoneNumber!) { phone(phoneNumber: $n) { displayName about } }";
    let before = t.simulate(query, json!({ "n": NUMBER })).await;
    let changes = json!({
        "displayName": "Another name", "about": "Open", "description": "A shop", "address": "Here 1",
        "email": "shop@example.org", "websites": ["https://example.org"],
    });
    for (field, value) in changes.as_object().unwrap() {
        let payload =
            t.mutate("updateProfile", json!({ "clientId": client, (field): value }), "client { id }").await;
        assert_eq!(payload["userErrors"][0]["code"], "MANAGED_IN_APP", "{field}");
        assert_eq!(payload["client"], Value::Null);
        assert!(
            payload["userErrors"][0]["message"].as_str().unwrap().contains("in the WhatsApp Business app")
        );
    }
    assert_eq!(t.simulate(query, json!({ "n": NUMBER })).await, before);
    let calls = t.graph_calls("whatsapp_business_profile").await;
    assert!(calls.iter().all(|call| call["method"] == "GET"), "{calls:#?}");
    let payload =
        t.mutate("updateProfile", json!({ "clientId": "cli_nobody", "about": "x" }), "client { id }").await;
    assert_eq!(payload["userErrors"][0]["code"], "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn r17_the_profile_is_readable_as_soon_as_the_number_is_connected() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 2, 0).await;
    set_profile(&t, None, Some("Kaffee und Kuchen")).await;
    let mut changes = t.subscribe(CHANGES, json!({})).await;
    t.connect(NUMBER, true, json!({ "history": "NEVER" })).await;
    let told = changes.next().await["clientChanges"].clone();
    assert_eq!(
        (&told["type"], &told["client"]["displayName"]),
        (&json!("CLIENT_CONNECTED"), &json!("Café Test"))
    );
    assert_eq!(told["client"]["profile"]["about"], "Kaffee und Kuchen");
    assert!(told["client"]["profile"]["pictureUrl"].as_str().unwrap().starts_with("http"), "{told:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r17_a_new_name_is_told_at_once() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let mut changes = t.subscribe(CHANGES, json!({})).await;
    // Several, within a second or not, in whatever order of the alphabet.
    for name in ["Café Zuckersüß", "Anna's Café", "Café Test"] {
        set_profile(&t, Some(name), None).await;
        let told = changes.next().await["clientChanges"].clone();
        assert_eq!(
            (&told["type"], &told["client"]["displayName"]),
            (&json!("CLIENT_PROFILE_CHANGED"), &json!(name))
        );
        assert_eq!(t.client(&client, "displayName").await["displayName"], json!(name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r17_what_changes_without_a_webhook_is_seen_the_next_day() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let mut changes = t.subscribe(CHANGES, json!({})).await;
    set_profile(&t, None, Some("Heute Apfelkuchen")).await;
    t.settle().await;
    t.advance_clock(DAY / 2).await;
    assert_eq!(t.client(&client, "profile { about }").await["profile"]["about"], Value::Null);
    t.advance_clock(DAY / 2 + 60).await;
    let told = changes.next().await["clientChanges"].clone();
    assert_eq!(told["type"], "CLIENT_PROFILE_CHANGED");
    assert_eq!(told["client"]["profile"]["about"], "Heute Apfelkuchen");
    // Once: the days after bring nothing new until something changes again.
    let before = t.cursor().await;
    let looks = t.graph_calls("whatsapp_business_profile").await.len();
    t.advance_clock(DAY).await;
    set_profile(&t, None, Some("Heute Käsekuchen")).await;
    t.advance_clock(DAY).await;
    let told = changes.next().await["clientChanges"].clone();
    assert_eq!(told["client"]["profile"]["about"], "Heute Käsekuchen");
    assert!(t.graph_calls("whatsapp_business_profile").await.len() > looks);
    assert_eq!(t.told(&before, &["CLIENT_PROFILE_CHANGED"], "... on Event { type }").await.len(), 1);
}

/// A token that cannot be opened is one client's trouble.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_opened_holds_up_nobody_else() {
    let t = Tandem::new().await;
    let broken = t.connected(OTHER).await;
    let client = t.connected(NUMBER).await;
    let row = t.client_row(&broken).await;
    t.put_client_rows(vec![entity::client::Model { token_sealed: Some(vec![0; 64]), ..row }]).await;
    let mut changes = t.subscribe(CHANGES, json!({})).await;
    for about in ["Heute offen", "Morgen zu", "Wieder da"] {
        set_profile(&t, None, Some(about)).await;
        t.time_passes(DAY + 60).await;
        let told = changes.next().await["clientChanges"].clone();
        assert_eq!(told["client"]["profile"]["about"], about, "{told:#}");
    }
    let read = t.client_row(&client).await.templates_at;
    assert!(read > t.client_row(&broken).await.templates_at, "the list of templates was read as well");
}

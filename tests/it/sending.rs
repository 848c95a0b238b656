//! `sendMessage`: the rate, the queue, and everything that is refused before it costs anything.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{ADA, BEN, DAY, SHOP, Tandem};

const SEND: &str = "mutation($input: SendMessageInput!) { sendMessage(input: $input) {
    message { id status } eventCursor userErrors { code field message } } }";

fn text(body: &str) -> Value {
    json!({ "text": { "body": body } })
}

/// A template with two numbered places.
fn confirmed(name: &str, when: &str) -> Value {
    let parameters = json!([{ "text": name }, { "text": when }]);
    json!({ "template": { "name": "appointment_confirmed", "language": "de",
        "components": [{ "type": "BODY", "parameters": parameters }] } })
}

/// A shop with an open window to Ada.
async fn open_shop() -> (Tandem, String) {
    let (t, client) = Tandem::shop().await;
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    (t, client)
}

async fn send_limit(t: &Tandem, client: &str) -> Value {
    let query = "query($id: ID!) { client(id: $id) { sendLimit { messagesPerSecond queued } } }";
    t.data(query, json!({ "id": client })).await["client"]["sendLimit"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn r08_a_burst_waits_and_never_exceeds_20_a_second() {
    let (mut t, client) = Tandem::shop().await;
    let query = "subscription { messageStatuses(statuses: [SENT]) { message { id } } }";
    let mut sent = t.subscribe(query, json!({})).await;
    assert_eq!(send_limit(&t, &client).await, json!({ "messagesPerSecond": 20, "queued": 0 }));

    let people: Vec<String> = (0..30).map(|number| format!("+49157710000{number:02}")).collect();
    let mut waits = BTreeSet::new();
    for wave in ["erst", "dann"] {
        let sends = people.iter().map(|to| {
            let (t, client) = (&t, &client);
            async move { t.send(client, to, confirmed(to, wave), &format!("{to} {wave}")).await }
        });
        for payload in join_all(sends).await {
            assert_eq!(payload["userErrors"], json!([]), "queued, never refused: {payload:#}");
            waits.insert(payload["message"]["id"].as_str().unwrap().to_owned());
        }
    }
    let queued = send_limit(&t, &client).await["queued"].as_i64().unwrap();
    assert!((20..=60).contains(&queued), "{queued} wait");
    while !waits.is_empty() {
        let id = sent.next().await["messageStatuses"]["message"]["id"].clone();
        waits.remove(id.as_str().unwrap());
    }

    let arrivals = t.arrivals(SHOP).await;
    assert_eq!(arrivals.len(), 60);
    assert!(arrivals.iter().all(|arrival| arrival["accepted"] == true), "{arrivals:#?}");
    let at: Vec<f64> = arrivals.iter().map(|arrival| arrival["at"].as_f64().unwrap()).collect();
    for burst in at.windows(21) {
        assert!(burst[20] - burst[0] >= 1000.0, "21 in less than a second: {at:?}");
    }
    let mut order: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
    for arrival in &arrivals {
        let text = arrival["text"].as_str().unwrap();
        order.entry(arrival["to"].as_str().unwrap()).or_default().push(text.contains("dann"));
    }
    assert_eq!(order.len(), 30);
    assert!(order.values().all(|sent| *sent == [false, true]), "each recipient's in their order: {order:#?}");
    // A status may overtake the answer to its send; an orderly end waits for both.
    t.restart().await;
    assert_eq!(send_limit(&t, &client).await["queued"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_sends_once() {
    let (t, client) = open_shop().await;
    let first = t.send(&client, ADA, text("Einmal"), "key").await;
    t.until(&first, "SENT").await;
    // However the number is written; what was answered then is answered now.
    let (place, message) = (&first["eventCursor"], &first["message"]["id"]);
    for to in [ADA, "+49 (1577) 000-0001", "4915770000001"] {
        let again = t.send(&client, to, text("Einmal"), "key").await;
        assert_eq!((&again["eventCursor"], &again["message"]["id"]), (place, message), "{again:#}");
        assert_eq!(again["userErrors"], json!([]));
    }
    for (to, content) in [(ADA, text("Anders")), (BEN, text("Einmal")), (ADA, confirmed("Ada", "heute"))] {
        let payload = t.send(&client, to, content, "key").await;
        let error = &payload["userErrors"][0];
        assert_eq!((&payload["message"], &error["code"]), (&Value::Null, &json!("IDEMPOTENCY_CONFLICT")));
        assert_eq!(error["field"], json!(["idempotencyKey"]));
    }
    // Also when all ask at once.
    let race = (0..8).map(|_| t.send(&client, ADA, text("Zugleich"), "race"));
    let answers: BTreeSet<String> =
        join_all(race).await.iter().map(|p| p["message"]["id"].to_string()).collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let racer = t.send(&client, ADA, text("Zugleich"), "race").await;
    t.until(&racer, "SENT").await;
    let texts: Vec<Value> = t.arrivals(SHOP).await.iter().map(|arrival| arrival["text"].clone()).collect();
    assert_eq!(texts, ["Einmal", "Zugleich"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_refused_with_the_field_at_fault() {
    let (t, client) = open_shop().await;
    let place = t.place().await;
    for to in ["", "12345", "nobody", "+49 1577 x", "+97257123456", SHOP, "+1234567890123456"] {
        let error = t.refused(&client, to, text("Hallo")).await;
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!("INVALID"), &json!(["to"])),
            "{to:?}: {error:#}"
        );
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    let long = "x".repeat(4097);
    for (content, field) in [
        (text("  "), "text.body"),
        (text(&long), "text.body"),
        (json!({ "template": { "name": "Hello World", "language": "en_US" } }), "template.name"),
        (json!({ "template": { "name": "hello_world", "language": "" } }), "template.language"),
        (
            json!({ "template": { "name": "a", "language": "de", "components": [
                { "type": "BODY", "parameters": [{ "type": "CURRENCY", "text": "1 €" }] }] } }),
            "template.components.0.parameters.0.currency",
        ),
        (
            json!({ "template": { "name": "a", "language": "de", "components": [
                { "type": "BUTTON", "parameters": [] }] } }),
            "template.components.0.subType",
        ),
    ] {
        let error = t.refused(&client, ADA, content).await;
        let path: Vec<&str> = std::iter::once("content").chain(field.split('.')).collect();
        assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(path)), "{error:#}");
    }
    let input = |extra: Value| {
        let mut input =
            json!({ "clientId": client, "to": ADA, "content": text("Hallo"), "idempotencyKey": "k" });
        input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        input
    };
    let clock = t.simulate("{ clock }", json!({})).await["clock"].as_str().unwrap().to_owned();
    let now = chrono::DateTime::parse_from_rfc3339(&clock).unwrap();
    let at = |seconds: i64| (now + chrono::TimeDelta::seconds(seconds)).to_rfc3339();
    for (extra, code, field) in [
        (json!({ "idempotencyKey": "" }), "INVALID", "idempotencyKey"),
        (json!({ "idempotencyKey": "k".repeat(257) }), "INVALID", "idempotencyKey"),
        (json!({ "sendAt": at(-3600) }), "INVALID", "sendAt"),
        (json!({ "sendAt": at(31 * DAY) }), "INVALID", "sendAt"),
        (json!({ "replyTo": "msg_00000000000000000000000000000000" }), "NOT_FOUND", "replyTo"),
        (json!({ "replyTo": "nonsense" }), "NOT_FOUND", "replyTo"),
        (json!({ "clientId": "cli_00000000000000000000000000000000" }), "NOT_FOUND", "clientId"),
        (json!({ "clientId": "nonsense" }), "NOT_FOUND", "clientId"),
    ] {
        let data = t.data(SEND, json!({ "input": input(extra.clone()) })).await;
        let error = &data["sendMessage"]["userErrors"][0];
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!([field])), "{extra}");
    }
    // Exactly one content: the schema itself says so.
    for content in [
        json!({}),
        json!({ "text": { "body": "a" }, "template": { "name": "a", "language": "de" } }),
        json!({ "text": null }),
    ] {
        let answer = t.ask(SEND, json!({ "input": input(json!({ "content": content })) })).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{content}: {answer:#}");
        assert_eq!(answer["data"]["sendMessage"], Value::Null);
    }
    assert_eq!(t.arrivals(SHOP).await, Vec::<Value>::new(), "nothing left");
    assert_eq!(t.told_since(&place).await, Vec::<Value>::new(), "nothing was queued");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_connection_sends_nothing() {
    let (t, client) = open_shop().await;
    // One that was never connected.
    let onboarding = t.onboarding(json!({})).await;
    let query = "query($id: ID!) { onboarding(id: $id) { client { id } } }";
    let fresh = t.data(query, json!({ "id": onboarding })).await["onboarding"]["client"]["id"].clone();
    let error = t.refused(fresh.as_str().unwrap(), ADA, text("Hallo")).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("CLIENT_NOT_CONNECTED"), &json!(["clientId"])));
    // One that left.
    let query = "subscription { clientChanges { type } }";
    let mut changes = t.subscribe(query, json!({})).await;
    t.act("disconnect", json!({ "phoneNumber": SHOP })).await;
    changes.until(|data| data["clientChanges"]["type"] == "CLIENT_DISCONNECTED").await;
    let error = t.refused(&client, ADA, text("Hallo")).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("CLIENT_NOT_CONNECTED"), &json!(["clientId"])));
    assert!(error["message"].as_str().unwrap().contains("createOnboarding"), "it says what to do: {error:#}");
    let id = t.saying(&client, "Hallo").await["id"].clone();
    let query = "mutation($id: ID!) { markAsRead(input: { messageId: $id }) { userErrors { code } } }";
    let data = t.data(query, json!({ "id": id })).await;
    assert_eq!(data["markAsRead"]["userErrors"][0]["code"], "CLIENT_NOT_CONNECTED");
    assert_eq!(t.arrivals(SHOP).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_are_filled_and_what_whatsapp_refuses_is_told() {
    let (t, client) = Tandem::shop().await;
    let named = json!({ "template": { "name": "appointment_reminder", "language": "de", "components": [
        { "type": "BODY", "parameters": [{ "parameterName": "first_name", "text": "Ada" }] }] } });
    let payload = t.send(&client, ADA, named, "named").await;
    t.until(&payload, "SENT").await;
    let payload = t.send(&client, ADA, confirmed("Ada", "Montag"), "numbered").await;
    let id = t.until(&payload, "SENT").await;
    let screen = t.screen(SHOP).await;
    assert!(screen[1]["text"].as_str().unwrap().contains("Hallo Ada"), "{}", screen[1]);
    assert!(
        screen[0]["text"].as_str().unwrap().contains("Ada, wir erinnern an Ihren Termin am Montag"),
        "{}",
        screen[0]
    );
    let query = "query($id: ID!) { node(id: $id) { ... on Message { content {
        ... on TemplateContent { name language components } } } } }";
    let content = t.data(query, json!({ "id": id })).await["node"]["content"].clone();
    let places = json!([{ "type": "text", "text": "Ada" }, { "type": "text", "text": "Montag" }]);
    let components = json!([{ "type": "body", "parameters": places }]);
    assert_eq!(
        content,
        json!({ "name": "appointment_confirmed", "language": "de", "components": components })
    );

    // One that is not there, and one with too few values: refused by WhatsApp, with its own words.
    let missing = json!({ "template": { "name": "no_such_template", "language": "de" } });
    let unfilled = json!({ "template": { "name": "appointment_confirmed", "language": "de" } });
    for (content, code, words) in [(missing, 132_001, "no_such_template"), (unfilled, 132_000, "number of")] {
        let payload = t.send(&client, ADA, content, words).await;
        let id = t.until(&payload, "FAILED").await;
        let row = t.message(&id).await;
        assert_eq!((&row["status"], &row["error"]["code"]), (&json!("FAILED"), &json!(code)), "{row:#}");
        assert_eq!(row["error"]["retryable"], false);
        assert!(row["error"]["details"].as_str().unwrap().contains(words), "{row:#}");
        assert_eq!(row["pricing"], Value::Null);
    }
    // The lane goes on.
    let payload = t.send(&client, ADA, confirmed("Ada", "Dienstag"), "after").await;
    t.until(&payload, "SENT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_can_wait_for_its_time() {
    let (t, client) = open_shop().await;
    let clock = t.simulate("{ clock }", json!({})).await["clock"].as_str().unwrap().to_owned();
    let later = chrono::DateTime::parse_from_rfc3339(&clock).unwrap() + chrono::TimeDelta::hours(2);
    let input = json!({ "clientId": client, "to": ADA, "content": text("Später"), "idempotencyKey": "later",
        "sendAt": later.to_rfc3339() });
    let payload = t.data(SEND, json!({ "input": input })).await["sendMessage"].clone();
    assert_eq!((&payload["userErrors"], &payload["message"]["status"]), (&json!([]), &json!("QUEUED")));
    // What is queued after it does not wait for it, also to the same person.
    t.sent(&client, ADA, "Sofort").await;
    let texts = async || -> Vec<Value> { t.arrivals(SHOP).await.iter().map(|a| a["text"].clone()).collect() };
    assert_eq!(texts().await, ["Sofort"]);
    t.time_passes(2 * 3600).await;
    t.until(&payload, "SENT").await;
    assert_eq!(texts().await, ["Sofort", "Später"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_is_forgotten_when_its_time_is_over() {
    let (t, client) = Tandem::shop().await;
    let app = t.running().app.clone();
    let now = tandem::clock::Clock::real_now();
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    let first = t.send(&client, ADA, json!({ "text": { "body": "Einmal" } }), "key").await;
    let forget = async |before| tandem::messages::send::forget_keys(&app.db, before).await.unwrap();
    assert_eq!(forget(now).await, 0);
    let again = t.send(&client, ADA, json!({ "text": { "body": "Einmal" } }), "key").await;
    assert_eq!(again["message"]["id"], first["message"]["id"]);
    assert_eq!(forget(now.plus_seconds(DAY)).await, 1);
    let fresh = t.send(&client, ADA, json!({ "text": { "body": "Einmal" } }), "key").await;
    assert_ne!(fresh["message"]["id"], first["message"]["id"]);
}

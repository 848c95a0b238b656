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
        (
            json!({ "image": { "link": "https://example.test/a", "caption": "x".repeat(1025) } }),
            "image.caption",
        ),
        (json!({ "audio": { "link": "https://example.test/a", "caption": "x" } }), "audio.caption"),
        (json!({ "location": { "latitude": 91, "longitude": 0 } }), "location.latitude"),
        (json!({ "contacts": { "cards": [] } }), "contacts.cards"),
        (
            json!({ "interactive": { "buttons": { "body": "a", "buttons": [
                { "id": "1", "title": "a" }, { "id": "2", "title": "x".repeat(21) }] } } }),
            "interactive.buttons.buttons.1.title",
        ),
        (
            json!({ "interactive": { "list": { "body": "a", "button": "a", "sections": [
                { "rows": [{ "id": "1", "title": "a", "description": "x".repeat(73) }] }] } } }),
            "interactive.list.sections.0.rows.0.description",
        ),
        (
            json!({ "interactive": { "ctaUrl": { "body": "x".repeat(1025), "label": "a",
                "url": "https://example.test" } } }),
            "interactive.ctaUrl.body",
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
        json!({ "image": { "link": "ftp://example.test/a" } }),
        json!({ "interactive": {} }),
        json!({ "interactive": { "ctaUrl": { "body": "a", "label": "a", "url": "https://example.test" },
            "list": { "body": "a", "button": "a", "sections": [] } } }),
    ] {
        let answer = t.ask(SEND, json!({ "input": input(json!({ "content": content })) })).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{content}: {answer:#}");
        assert_eq!(answer["data"]["sendMessage"], Value::Null);
    }
    assert_eq!(t.arrivals(SHOP).await, Vec::<Value>::new(), "nothing left");
    assert_eq!(t.told_since(&place).await, Vec::<Value>::new(), "nothing was queued");
}

/// One of each kind that is no words and no template: what is sent, the words on the phone, Meta's type, and what is read
/// back.
fn kinds() -> Vec<(Value, &'static str, &'static str, Value)> {
    let file = |name: &str| format!("https://files.example.test/{name}");
    let media = |kind: &str, name: &str, caption: Value, filename: Value, voice: bool| {
        json!({ "__typename": "MediaContent", "kind": kind, "state": "READY", "url": file(name),
            "caption": caption, "filename": filename, "voice": voice })
    };
    let none = Value::Null;
    let option = |id: Value, title: &str, description: Value| json!({ "id": id, "title": title, "description": description });
    let rows = |ids: [&str; 2]| json!([{ "id": ids[0], "title": ids[0], "description": "cold" }, { "id": ids[1], "title": ids[1] }]);
    let offered = |kind: &str, body: &str, button: Value, url: Value, options: Value| {
        json!({ "__typename": "InteractiveContent", "type": kind, "headline": null, "headerFile": null,
            "body": body, "footer": null, "button": button, "link": url, "options": options })
    };
    let mut asked = offered(
        "button",
        "Passt Montag?",
        Value::Null,
        Value::Null,
        json!([option(json!("yes"), "Ja", Value::Null), option(json!("no"), "Nein", Value::Null)]),
    );
    asked["headerFile"] = json!({ "kind": "IMAGE", "state": "READY", "url": file("map.png") });
    asked["footer"] = json!("Café Test");
    let mut menu = offered(
        "list",
        "Was darf es sein?",
        json!("Karte"),
        Value::Null,
        json!([
            option(json!("Cola"), "Cola", json!("cold")),
            option(json!("Saft"), "Saft", Value::Null),
            option(json!("Tee"), "Tee", json!("cold")),
            option(json!("Kakao"), "Kakao", Value::Null),
        ]),
    );
    menu["headline"] = json!("Getränke");
    vec![
        (
            json!({ "image": { "link": file("a.png"), "caption": "Unser Laden" } }),
            "Unser Laden",
            "image",
            media("IMAGE", "a.png", json!("Unser Laden"), none.clone(), false),
        ),
        (
            json!({ "video": { "link": file("a.mp4") } }),
            "",
            "video",
            media("VIDEO", "a.mp4", none.clone(), none.clone(), false),
        ),
        (
            json!({ "audio": { "link": file("a.ogg"), "voice": true } }),
            "",
            "audio",
            media("AUDIO", "a.ogg", none.clone(), none.clone(), true),
        ),
        (
            json!({ "document": { "link": file("a.pdf"), "caption": "Bitte sehr", "filename": "Karte.pdf" } }),
            "Bitte sehr",
            "document",
            media("DOCUMENT", "a.pdf", json!("Bitte sehr"), json!("Karte.pdf"), false),
        ),
        (
            json!({ "sticker": { "link": file("a.webp") } }),
            "",
            "sticker",
            media("STICKER", "a.webp", none.clone(), none, false),
        ),
        (
            json!({ "location": { "latitude": 52.5, "longitude": 13.25, "name": "Laden", "address": "Ring 1" } }),
            "Laden, Ring 1",
            "location",
            json!({ "__typename": "LocationContent", "latitude": 52.5, "longitude": 13.25, "name": "Laden",
                "address": "Ring 1" }),
        ),
        (
            json!({ "contacts": { "cards": [{ "formattedName": "Ayşe Öz", "firstName": "Ayşe",
                "phones": [{ "phone": "+49 1577 1", "type": "WORK", "waId": "4915771" }],
                "emails": ["ayse@example.test"], "organization": "Öz" }] } }),
            "Ayşe Öz",
            "contacts",
            json!({ "__typename": "ContactsContent", "cards": [{ "formattedName": "Ayşe Öz",
                "phones": ["+49 1577 1"], "emails": ["ayse@example.test"], "organization": "Öz" }] }),
        ),
        (
            json!({ "interactive": { "buttons": { "header": { "image": { "link": file("map.png") } },
                "body": "Passt Montag?", "footer": "Café Test",
                "buttons": [{ "id": "yes", "title": "Ja" }, { "id": "no", "title": "Nein" }] } } }),
            "Passt Montag?",
            "interactive",
            asked,
        ),
        (
            json!({ "interactive": { "list": { "header": "Getränke", "body": "Was darf es sein?",
                "button": "Karte", "sections": [{ "title": "Kalt", "rows": rows(["Cola", "Saft"]) },
                    { "title": "Warm", "rows": rows(["Tee", "Kakao"]) }] } } }),
            "Was darf es sein?",
            "interactive",
            menu,
        ),
        (
            json!({ "interactive": { "ctaUrl": { "body": "Alles im Netz", "label": "Öffnen",
                "url": file("x") } } }),
            "Alles im Netz",
            "interactive",
            offered(
                "cta_url",
                "Alles im Netz",
                Value::Null,
                json!(file("x")),
                json!([option(Value::Null, "Öffnen", Value::Null)]),
            ),
        ),
    ]
}

const CONTENT: &str = "query($id: ID!) { node(id: $id) { ... on Message { text replyTo { text } content { __typename
    ... on MediaContent { kind state url caption filename voice }
    ... on LocationContent { latitude longitude name address }
    ... on ContactsContent { cards { formattedName phones emails organization } }
    ... on InteractiveContent { type headline: header headerFile { kind state url } body footer button link: url
        options { id title description } } } } } }";

async fn every_kind_arrives(t: &Tandem, client: &str) {
    let question = t.saying(client, "Hallo").await["id"].clone();
    for (place, (content, words, kind, read)) in kinds().into_iter().enumerate() {
        let mut input = json!({ "clientId": client, "to": ADA, "content": content,
            "idempotencyKey": format!("kind {place}") });
        if place % 2 == 0 {
            input["replyTo"] = question.clone();
        }
        let payload = t.data(SEND, json!({ "input": input })).await["sendMessage"].clone();
        let id = t.until(&payload, "SENT").await;
        t.settle().await;
        let query = "query($n: PhoneNumber!) { phone(phoneNumber: $n) {
            messages(first: 1) { id text type content madeBy status } } }";
        let shown = t.simulate(query, json!({ "n": SHOP })).await["phone"]["messages"][0].clone();
        assert_eq!(
            (&shown["text"], &shown["type"], &shown["madeBy"]),
            (&json!(words), &json!(kind), &json!("API")),
            "{shown:#}"
        );
        if kind == "interactive" {
            assert_eq!(shown["content"]["body"]["text"], words, "{shown:#}");
        }
        t.customer_sees(SHOP, shown["id"].as_str().unwrap(), "read").await;
        t.until(&payload, "READ").await;
        let message = t.data(CONTENT, json!({ "id": id })).await["node"].clone();
        assert_eq!(message["content"], read, "{content:#}");
        let text = match kind {
            "location" => json!("Laden"),
            _ if words.is_empty() => Value::Null,
            _ => json!(words),
        };
        assert_eq!(message["text"], text);
        let answered = if place % 2 == 0 { json!("Hallo") } else { Value::Null };
        assert_eq!(message["replyTo"]["text"], answered, "{message:#}");
    }
    let rows = t.messages(client).await;
    assert_eq!(rows.len(), kinds().len() + 1, "one row for each");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_content_arrives_and_is_read_back() {
    let (t, client) = open_shop().await;
    every_kind_arrives(&t, &client).await;
    // The same key with the same content is the same message, with another one it is not.
    let (first, second) = (kinds()[0].0.clone(), kinds()[1].0.clone());
    let input = |content: &Value| json!({ "clientId": client, "to": ADA, "content": content, "idempotencyKey": "kind 1" });
    let again = t.data(SEND, json!({ "input": input(&second) })).await["sendMessage"].clone();
    assert_eq!((&again["userErrors"], &again["message"]["status"]), (&json!([]), &json!("READ")));
    let other = t.data(SEND, json!({ "input": input(&first) })).await["sendMessage"].clone();
    assert_eq!(other["userErrors"][0]["code"], "IDEMPOTENCY_CONFLICT");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_before_the_answer_leaves_every_kind_of_content_as_it_was_sent() {
    let (t, client) = open_shop().await;
    t.act("trouble", json!({ "echoBeforeAnswer": 1.0 })).await;
    every_kind_arrives(&t, &client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r09_every_kind_but_templates_needs_an_open_window() {
    let (t, client) = Tandem::shop().await;
    for (content, ..) in kinds() {
        let error = t.refused(&client, ADA, content).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("WINDOW_CLOSED"), &json!(["content"])));
    }
    assert_eq!(t.arrivals(SHOP).await, Vec::<Value>::new());
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

    // What WhatsApp changed a moment ago, and did not tell: refused by it, with its own words.
    t.template_changes_unheard("appointment_confirmed", "de", json!({ "body": "Am {{1}}, ja." })).await;
    t.template_changes_unheard("hello_world", "en_US", json!({ "status": "PAUSED" })).await;
    let paused = json!({ "template": { "name": "hello_world", "language": "en_US" } });
    let other = confirmed("Ada", "Mittwoch");
    // Both before the first refusal is heard: it has the list read again, and then they are refused here.
    t.act("trouble", json!({ "graphSlowMs": 1_500 })).await;
    let refused = [(paused, 132_015, "paused"), (other, 132_000, "number of")];
    let mut queued = Vec::new();
    for (content, code, words) in refused {
        queued.push((t.send(&client, ADA, content, words).await, code, words));
    }
    t.act("trouble", json!({})).await;
    for (payload, code, words) in queued {
        let id = t.until(&payload, "FAILED").await;
        let row = t.message(&id).await;
        assert_eq!((&row["status"], &row["error"]["code"]), (&json!("FAILED"), &json!(code)), "{row:#}");
        assert_eq!(row["error"]["retryable"], false);
        assert!(row["error"]["details"].as_str().unwrap().contains(words), "{row:#}");
        assert_eq!(row["pricing"], Value::Null);
    }
    // The lane goes on.
    let named = json!({ "template": { "name": "appointment_reminder", "language": "de", "components": [
        { "type": "BODY", "parameters": [{ "parameterName": "first_name", "text": "Ben" }] }] } });
    let payload = t.send(&client, ADA, named, "after").await;
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

/// The error of a mutation that must be refused.
async fn refused(t: &Tandem, mutation: &str, input: Value) -> (Value, Value) {
    let payload = t.mutate(mutation, input, "__typename").await;
    let error = &payload["userErrors"][0];
    (error["code"].clone(), error["field"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_still_waits_can_be_taken_back() {
    let (t, client) = open_shop().await;
    let later = chrono::DateTime::from_timestamp(t.clock().await + 3600, 0).unwrap().to_rfc3339();
    let mut queued = Vec::new();
    for words in ["Doch nicht", "Bleibt"] {
        let input = json!({ "clientId": client, "to": ADA, "content": text(words), "idempotencyKey": words,
            "sendAt": later });
        queued.push(t.data(SEND, json!({ "input": input })).await["sendMessage"].clone());
    }
    let sent = t.sent(&client, ADA, "Sofort").await;
    let id = queued[0]["message"]["id"].clone();
    let place = t.place().await;
    let selection = "message { id status error { code } statusHistory { status } } eventCursor";
    let input = json!({ "messageId": id });
    let payload = t.mutate("cancelMessage", input.clone(), selection).await;
    let canceled = json!({ "id": id, "status": "CANCELED", "error": null,
        "statusHistory": [{ "status": "QUEUED" }, { "status": "CANCELED" }] });
    assert_eq!((&payload["userErrors"], &payload["message"]), (&json!([]), &canceled));
    let told = t.told_since(&place).await;
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((&told[0]["type"], &told[0]["status"]), (&json!("MESSAGE_STATUS"), &json!("CANCELED")));
    assert_eq!(payload["eventCursor"], json!(t.place().await), "where the stream shows it");
    // Once more changes nothing and tells nothing.
    let again = t.mutate("cancelMessage", input, selection).await;
    assert_eq!((&again["message"], &again["eventCursor"]), (&canceled, &payload["eventCursor"]));
    assert_eq!(t.told_since(&place).await.len(), 1);

    let incoming = t.saying(&client, "Hallo").await["id"].clone();
    for (id, code) in [
        (json!(sent), "INVALID"),
        (incoming, "INVALID"),
        (json!("msg_00000000000000000000000000000000"), "NOT_FOUND"),
        (json!("nonsense"), "NOT_FOUND"),
    ] {
        let error = refused(&t, "cancelMessage", json!({ "messageId": id })).await;
        assert_eq!(error, (json!(code), json!(["messageId"])), "{id}");
    }
    t.time_passes(3600).await;
    t.until(&queued[1], "SENT").await;
    let texts: Vec<Value> = t.arrivals(SHOP).await.iter().map(|a| a["text"].clone()).collect();
    assert_eq!(texts, ["Sofort", "Bleibt"], "what was taken back never leaves");
    let key = t.send(&client, ADA, text("Doch nicht"), "Doch nicht").await;
    assert_eq!(key["userErrors"][0]["code"], "IDEMPOTENCY_CONFLICT", "its key stays used: it had a sendAt");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_or_is_unknown_can_be_sent_again_as_a_new_message() {
    let (t, client) = open_shop().await;
    let selection = "message { id status text idempotencyKey } eventCursor";
    let resend = async |id: &str| t.mutate("resendMessage", json!({ "messageId": id }), selection).await;
    // WhatsApp answers nothing that could be read: nobody knows.
    t.act("trouble", json!({ "sendFails": 1.0 })).await;
    let mut unknown = Vec::new();
    let all = kinds().into_iter().map(|(content, ..)| content).chain([text("Wort")]);
    for (place, content) in all.enumerate() {
        let payload = t.send(&client, ADA, content.clone(), &format!("first {place}")).await;
        unknown.push((t.until(&payload, "UNKNOWN").await, content));
    }
    t.act("trouble", json!({})).await;
    // For a minute, what is told of this conversation may be about one of them, and waits.
    t.time_passes(61).await;
    let query =
        "query($n: PhoneNumber!) { phone(phoneNumber: $n) { messages(first: 1) { type text content } } }";
    for (id, content) in &unknown {
        let again = resend(id).await;
        let new = t.until(&again, "SENT").await;
        assert_ne!(&new, id);
        assert_eq!(again["message"]["idempotencyKey"], json!(format!("resend {id}")));
        assert_eq!(t.message(id).await["status"], "UNKNOWN", "the first one stays as it is");
        let shown = t.simulate(query, json!({ "n": SHOP })).await["phone"]["messages"][0].clone();
        t.settle().await;
        // The same as if it were sent now.
        t.until(&t.send(&client, ADA, content.clone(), &format!("{id} now")).await, "SENT").await;
        let now = t.simulate(query, json!({ "n": SHOP })).await["phone"]["messages"][0].clone();
        assert_eq!(shown, now, "{content:#}");
        let (first, second) = (t.data(CONTENT, json!({ "id": id })), t.data(CONTENT, json!({ "id": new })));
        assert_eq!(first.await, second.await);
    }
    // Twice asked is once more sent.
    let count = t.arrivals(SHOP).await.len();
    let (id, _) = &unknown[0];
    let (once, twice) = (resend(id).await, resend(id).await);
    assert_eq!((&once["userErrors"], &once["message"]["id"]), (&json!([]), &twice["message"]["id"]));
    assert_eq!(t.arrivals(SHOP).await.len(), count);

    // One that failed, and fails again.
    let mut failed: Vec<String> = Vec::new();
    for place in 0..3 {
        t.act("refuse", json!({ "to": ADA, "code": 131_026 })).await;
        let payload = match failed.last() {
            None => t.send(&client, ADA, text("Kommt nicht an"), &format!("refused {place}")).await,
            Some(id) => resend(id).await,
        };
        failed.push(t.until(&payload, "FAILED").await.clone());
    }
    assert_eq!(failed.iter().collect::<BTreeSet<_>>().len(), 3);

    let sent = t.sent(&client, ADA, "Kam an").await;
    let incoming = t.saying(&client, "Hallo").await["id"].clone();
    for (id, code) in [
        (json!(sent), "INVALID"),
        (incoming, "INVALID"),
        (json!("msg_00000000000000000000000000000000"), "NOT_FOUND"),
    ] {
        let error = refused(&t, "resendMessage", json!({ "messageId": id })).await;
        assert_eq!(error, (json!(code), json!(["messageId"])), "{id}");
    }
    // The window counts now, not then.
    t.act("trouble", json!({ "sendFails": 1.0 })).await;
    let late = t.until(&t.send(&client, ADA, text("Zu spät"), "late").await, "UNKNOWN").await;
    t.act("trouble", json!({})).await;
    t.time_passes(DAY + 60).await;
    let error = refused(&t, "resendMessage", json!({ "messageId": late })).await;
    assert_eq!(error, (json!("WINDOW_CLOSED"), json!(["messageId"])));
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

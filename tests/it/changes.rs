//! What becomes of a message after it was written: statuses, edits, deletions, reactions, answers, and the ids and orders
//! in which WhatsApp tells of them.

use serde_json::{Value, json};

use crate::harness::{ADA, BEN, SHOP, Tandem};

const STATUSES: &str = "subscription($statuses: [MessageStatus!]) { messageStatuses(statuses: $statuses) {
    type status message { text origin } } }";

fn status(status: &str, text: &str, origin: &str) -> Value {
    json!({ "type": "MESSAGE_STATUS", "status": status, "message": { "text": text, "origin": origin } })
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_statuses_of_app_and_api_messages_are_told() {
    let (t, client) = Tandem::shop().await;
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    let mut all = t.subscribe(STATUSES, json!({})).await;
    let mut reads = t.subscribe(STATUSES, json!({ "statuses": ["READ"] })).await;

    let app = t.app_writes(SHOP, ADA, "Aus der App").await;
    t.customer_sees(SHOP, &app, "delivered").await;
    assert_eq!(all.next().await["messageStatuses"], status("DELIVERED", "Aus der App", "APP"));
    t.customer_sees(SHOP, &app, "read").await;
    assert_eq!(all.next().await["messageStatuses"], status("READ", "Aus der App", "APP"));

    let id = t.sent(&client, ADA, "Aus der API").await;
    all.until(|data| data["messageStatuses"] == status("SENT", "Aus der API", "API")).await;
    // Read at once, as on a phone that lies open: delivered is never told.
    let whatsapp_id = t.message(&id).await["whatsappId"].as_str().unwrap().to_owned();
    t.customer_sees(SHOP, &whatsapp_id, "read").await;
    assert_eq!(all.next().await["messageStatuses"], status("READ", "Aus der API", "API"));

    // The provider's "read status" webhook: those alone, of both.
    assert_eq!(reads.next().await["messageStatuses"], status("READ", "Aus der App", "APP"));
    assert_eq!(reads.next().await["messageStatuses"], status("READ", "Aus der API", "API"));
    let row = t.message(&id).await;
    let steps: Vec<&str> =
        row["statusHistory"].as_array().unwrap().iter().map(|s| s["status"].as_str().unwrap()).collect();
    assert_eq!((steps.first(), steps.last()), (Some(&"QUEUED"), Some(&"READ")), "{row:#}");
    assert!(!steps.contains(&"DELIVERED"), "{row:#}");

    // Meta does not promise statuses of app messages: without them all goes on.
    t.act("trouble", json!({ "appStatuses": false })).await;
    let silent = t.app_writes(SHOP, ADA, "Ohne Status").await;
    t.customer_sees(SHOP, &silent, "read").await;
    t.settle().await;
    assert_eq!(t.saying(&client, "Ohne Status").await["status"], "SENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_a_status_that_comes_late_never_lowers() {
    let (t, client) = Tandem::shop().await;
    let id = t.app_writes(SHOP, ADA, "Voice").await;
    t.customer_sees(SHOP, &id, "played").await;
    t.settle().await;
    let place = t.place().await;
    let late =
        json!({ "id": id, "status": "delivered", "timestamp": "1790000000", "recipient_id": &ADA[1..] });
    t.hears("messages", json!({ "statuses": [late] })).await;
    assert_eq!(t.saying(&client, "Voice").await["status"], "PLAYED");
    assert_eq!(t.told_since(&place).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_what_comes_before_its_message_waits_for_it() {
    let (t, client) = Tandem::shop().await;
    let id = "wamid.HBgNNDkxNTc3MDAwMDAwMRUCABEYEjAwMDAwMDAwMDAwMDAwMDBBQQA=";
    let now = t.simulate("{ clock }", json!({})).await["clock"].as_str().unwrap().to_owned();
    let now = chrono::DateTime::parse_from_rfc3339(&now).unwrap().timestamp();
    let at = |seconds: i64| (now + seconds).to_string();
    let place = t.place().await;
    let read = json!({ "id": id, "status": "read", "timestamp": at(5), "recipient_id": &ADA[1..] });
    t.hears("messages", json!({ "statuses": [read] })).await;
    let heart = json!({ "id": "wamid.r1", "from": &ADA[1..], "timestamp": at(6), "type": "reaction",
        "reaction": { "message_id": id, "emoji": "❤️" } });
    t.hears("messages", json!({ "messages": [heart] })).await;
    let edit = json!({ "id": "wamid.e1", "from": &SHOP[1..], "to": &ADA[1..], "timestamp": at(4), "type": "edit",
        "edit": { "original_message_id": id, "message": { "type": "text", "text": { "body": "Bis neun!" } } } });
    t.hears("smb_message_echoes", json!({ "message_echoes": [edit] })).await;
    assert_eq!(t.messages(&client).await, Vec::<Value>::new());
    assert_eq!(t.told_since(&place).await, Vec::<Value>::new(), "of nothing nothing is told");

    let echo = json!({ "id": id, "from": &SHOP[1..], "to": &ADA[1..], "timestamp": at(1), "type": "text",
        "text": { "body": "Bis acht!" } });
    t.hears("smb_message_echoes", json!({ "message_echoes": [echo] })).await;
    let row = t.saying(&client, "Bis neun!").await;
    assert_eq!((&row["status"], &row["origin"]), (&json!("READ"), &json!("APP")));
    assert_eq!(row["reactions"], json!([{ "emoji": "❤️", "by": "CUSTOMER" }]));
    assert!(row["editedAt"].is_string(), "{row:#}");
    let mut types = t.types_since(&place).await;
    types.retain(|kind| kind != "CONTACT_ADDED");
    types.sort_unstable();
    assert_eq!(types, ["MESSAGE_EDITED", "MESSAGE_OUTGOING", "MESSAGE_REACTION", "MESSAGE_STATUS"]);
}

/// A message of each side, by the customer, the app and the API: ids here and in WhatsApp.
async fn one_of_each(t: &Tandem, client: &str) -> [(String, String); 3] {
    let mut all = Vec::new();
    for text in ["Kunde", "App", "API"] {
        match text {
            "Kunde" => drop(t.customer_writes(SHOP, ADA, text).await),
            "App" => drop(t.app_writes(SHOP, ADA, text).await),
            _ => drop(t.sent(client, ADA, text).await),
        }
        t.settle().await;
        let row = t.saying(client, text).await;
        let text = |field: &str| row[field].as_str().unwrap().to_owned();
        all.push((text("id"), text("whatsappId")));
    }
    all.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_and_deletions_of_both_sides_change_the_message() {
    let (t, client) = Tandem::shop().await;
    let messages = one_of_each(&t, &client).await;
    for (id, whatsapp_id) in &messages {
        let place = t.place().await;
        let input = json!({ "phoneNumber": SHOP, "messageId": whatsapp_id, "text": "Anders" });
        t.act("edit", input).await;
        t.settle().await;
        let row = t.message(id).await;
        assert_eq!((&row["text"], &row["deletedAt"]), (&json!("Anders"), &Value::Null), "{row:#}");
        assert!(row["editedAt"].is_string(), "{row:#}");
        let told = t.told_since(&place).await;
        assert_eq!(told.len(), 1, "{told:#?}");
        assert_eq!((&told[0]["type"], &told[0]["message"]["id"]), (&json!("MESSAGE_EDITED"), &json!(id)));
    }
    for (id, whatsapp_id) in &messages {
        let place = t.place().await;
        t.act("delete", json!({ "phoneNumber": SHOP, "messageId": whatsapp_id })).await;
        t.settle().await;
        let row = t.message(id).await;
        assert_eq!(
            (&row["text"], &row["content"]["__typename"]),
            (&Value::Null, &json!("DeletedContent")),
            "{row:#}"
        );
        assert!(row["deletedAt"].is_string(), "{row:#}");
        let told = t.told_since(&place).await;
        assert_eq!(told.len(), 1, "{told:#?}");
        assert_eq!((&told[0]["type"], &told[0]["message"]["id"]), (&json!("MESSAGE_DELETED"), &json!(id)));
    }
    assert_eq!(t.messages(&client).await.len(), 3, "neither is a message of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn reactions_of_both_sides_live_on_their_message() {
    let (t, client) = Tandem::shop().await;
    let messages = one_of_each(&t, &client).await;
    let react = async |whatsapp_id: &str, by: &str, emoji: Option<&str>| {
        let input = json!({ "phoneNumber": SHOP, "messageId": whatsapp_id, "emoji": emoji, "by": by });
        t.act("react", input).await;
        t.settle().await;
    };
    for (id, whatsapp_id) in &messages {
        let place = t.place().await;
        react(whatsapp_id, "CUSTOMER", Some("👍")).await;
        react(whatsapp_id, "APP", Some("🎉")).await;
        let both = json!([{ "emoji": "👍", "by": "CUSTOMER" }, { "emoji": "🎉", "by": "BUSINESS" }]);
        let of = async || {
            let mut reactions = t.message(id).await["reactions"].clone();
            reactions.as_array_mut().unwrap().sort_by_key(|r| r["by"] != "CUSTOMER");
            reactions
        };
        assert_eq!(of().await, both);
        // Another one takes its place; none takes it away.
        react(whatsapp_id, "CUSTOMER", Some("😍")).await;
        react(whatsapp_id, "APP", None).await;
        assert_eq!(of().await, json!([{ "emoji": "😍", "by": "CUSTOMER" }]));
        let told = t.told_since(&place).await;
        assert_eq!(told.len(), 4, "{told:#?}");
        assert!(
            told.iter().all(|e| e["type"] == "MESSAGE_REACTION" && e["message"]["id"] == *id),
            "{told:#?}"
        );
    }
    assert_eq!(t.messages(&client).await.len(), 3, "a reaction is no message");
    assert_eq!(t.conversation(&client, ADA).await["lastMessage"]["text"], "API");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_reacts_and_takes_it_away() {
    let (t, client) = Tandem::shop().await;
    let [(id, _), ..] = one_of_each(&t, &client).await;
    let query = "subscription { events(filter: { types: [MESSAGE_REACTION] }) {
        ... on MessageChangedEvent { message { id reactions { emoji by } } } } }";
    let mut reactions = t.subscribe(query, json!({})).await;
    for (emoji, shown) in
        [(json!("🙏"), json!([{ "emoji": "🙏", "by": "BUSINESS" }])), (Value::Null, json!([]))]
    {
        let content = json!({ "reaction": { "messageId": id, "emoji": emoji } });
        let payload = t.send(&client, ADA, content, &format!("react {emoji}")).await;
        assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
        assert_eq!(payload["message"]["id"], json!(id), "the message reacted to");
        let heard = reactions.next().await["events"]["message"].clone();
        assert_eq!(heard, json!({ "id": id, "reactions": shown }));
    }
    t.settle().await;
    assert_eq!(t.messages(&client).await.len(), 3, "a reaction is no message");
    let arrived: Vec<Value> = t.arrivals(SHOP).await.iter().map(|arrival| arrival["type"].clone()).collect();
    assert_eq!(arrived, ["text", "reaction", "reaction"]);

    // One that is not one, and a message that is not there or somebody else's.
    for (message, emoji, code, field) in [
        (id.as_str(), "ok", "INVALID", "emoji"),
        ("msg_00000000000000000000000000000000", "👍", "NOT_FOUND", "messageId"),
        (client.as_str(), "👍", "NOT_FOUND", "messageId"),
    ] {
        let error =
            t.refused(&client, ADA, json!({ "reaction": { "messageId": message, "emoji": emoji } })).await;
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(["content", "reaction", field])));
    }
    t.customer_writes(SHOP, BEN, "Ich auch").await;
    t.settle().await;
    let error = t.refused(&client, BEN, json!({ "reaction": { "messageId": id, "emoji": "👍" } })).await;
    assert_eq!(error["code"], "INVALID", "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_names_what_it_answers_on_both_sides() {
    let (t, client) = Tandem::shop().await;
    let messages = one_of_each(&t, &client).await;
    for (number, (id, whatsapp_id)) in messages.iter().enumerate() {
        for (mutation, text) in [("writeAsCustomer", "Antwort"), ("writeFromApp", "Gegenantwort")] {
            let text = format!("{text} {number}");
            let input = json!({ "phoneNumber": SHOP, "with": ADA, "text": text, "replyTo": whatsapp_id });
            t.write(mutation, input).await;
            t.settle().await;
            assert_eq!(t.saying(&client, &text).await["replyTo"]["id"], json!(id), "{text}");
        }
        // From the API.
        let query = "mutation($input: SendMessageInput!) { sendMessage(input: $input) {
            message { id replyTo { id } } eventCursor userErrors { code } } }";
        let text = format!("API antwortet {number}");
        let input = json!({ "clientId": client, "to": ADA, "content": { "text": { "body": text } },
            "replyTo": id, "idempotencyKey": text });
        let payload = t.data(query, json!({ "input": input })).await["sendMessage"].clone();
        assert_eq!(payload["message"]["replyTo"]["id"], json!(id));
        t.until(&payload, "SENT").await;
        let query =
            "query($number: PhoneNumber!) { phone(phoneNumber: $number) { messages { text replyTo } } }";
        let data = t.simulate(query, json!({ "number": SHOP })).await;
        let screen = data["phone"]["messages"].as_array().unwrap();
        let shown = screen.iter().find(|message| message["text"] == json!(text)).unwrap();
        assert_eq!(shown["replyTo"], json!(whatsapp_id), "the customer sees what it answers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_under_two_ids_is_one_message() {
    let (t, client) = Tandem::shop().await;
    let messages = one_of_each(&t, &client).await;
    let place = t.place().await;
    // From now on WhatsApp speaks of each message under its other id.
    t.act("trouble", json!({ "secondIds": 1.0 })).await;
    for (number, (_, whatsapp_id)) in messages.iter().enumerate() {
        let message = |extra: Value| {
            let mut input = json!({ "phoneNumber": SHOP, "messageId": whatsapp_id });
            input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            input
        };
        t.act("react", message(json!({ "emoji": "👍" }))).await;
        if number > 0 {
            t.act("customerSees", message(json!({ "status": "read" }))).await;
        }
        t.act("edit", message(json!({ "text": format!("Anders {number}") }))).await;
        let answer = json!({ "phoneNumber": SHOP, "with": ADA, "text": format!("Antwort {number}"), "replyTo": whatsapp_id });
        t.write("writeAsCustomer", answer).await;
    }
    t.settle().await;
    for (number, (id, _)) in messages.iter().enumerate() {
        let row = t.message(id).await;
        assert_eq!(row["text"], json!(format!("Anders {number}")));
        assert_eq!(row["reactions"], json!([{ "emoji": "👍", "by": "CUSTOMER" }]));
        assert_eq!(row["status"], json!(if number == 0 { "RECEIVED" } else { "READ" }));
        let answer = t.saying(&client, &format!("Antwort {number}")).await;
        assert_eq!(answer["replyTo"]["id"], json!(id), "an answer may point to an id that was never seen");
    }
    assert_eq!(t.messages(&client).await.len(), 6);
    // New ones too: an API message whose answer and statuses bear different ids, and one that is told twice.
    t.sent(&client, ADA, "Neu von der API").await;
    t.act("trouble", json!({ "duplicateWebhooks": 1.0 })).await;
    t.customer_writes(SHOP, ADA, "Zweimal gesagt").await;
    t.settle().await;
    t.saying(&client, "Neu von der API").await;
    t.saying(&client, "Zweimal gesagt").await;
    let types = t.types_since(&place).await;
    assert_eq!(types.iter().filter(|kind| *kind == "MESSAGE_INCOMING").count(), 4, "{types:?}");
    assert_eq!(types.iter().filter(|kind| *kind == "MESSAGE_OUTGOING").count(), 0, "{types:?}");
    assert_eq!(types.iter().filter(|kind| *kind == "MESSAGE_MERGED").count(), 0, "{types:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_before_the_answer_to_its_send_is_the_same_message() {
    let (t, client) = Tandem::shop().await;
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    for second_ids in [0.0, 1.0] {
        let place = t.place().await;
        t.act("trouble", json!({ "echoBeforeAnswer": 1.0, "secondIds": second_ids })).await;
        let text = format!("Schneller als die Antwort {second_ids}");
        let id = t.sent(&client, ADA, &text).await;
        let row = t.saying(&client, &text).await;
        assert_eq!(
            (&row["id"], &row["origin"], &row["imported"]),
            (&json!(id), &json!("API"), &json!(false))
        );
        let types = t.types_since(&place).await;
        assert!(!types.contains(&"MESSAGE_OUTGOING".to_owned()), "{types:?}");
        assert!(types.contains(&"MESSAGE_QUEUED".to_owned()), "{types:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_messages_are_counted_until_somebody_reads_or_answers() {
    let (t, client) = Tandem::shop().await;
    let unread = async || t.conversation(&client, ADA).await["unreadCount"].clone();
    let mut ids = Vec::new();
    for text in ["eins", "zwei", "drei"] {
        t.time_passes(2).await;
        t.customer_writes(SHOP, ADA, text).await;
        t.settle().await;
        ids.push(t.saying(&client, text).await["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(unread().await, 3);
    let query = "mutation($input: MarkAsReadInput!) { markAsRead(input: $input) {
        message { id } eventCursor userErrors { code field } } }";
    let read = async |id: &str| {
        let data = t.data(query, json!({ "input": { "messageId": id, "typing": true } })).await;
        data["markAsRead"].clone()
    };
    // It and all before it, here and on WhatsApp.
    let payload = read(&ids[1]).await;
    assert_eq!((&payload["message"]["id"], &payload["userErrors"]), (&json!(ids[1]), &json!([])));
    assert_eq!(unread().await, 1);
    let screen = t.screen(SHOP).await;
    let chat = screen.iter().rev().filter(|message| message["from"] == ADA && message["group"].is_null());
    let states: Vec<&Value> = chat.map(|message| &message["status"]).collect();
    assert_eq!(states, ["read", "read", "received"]);
    read(&ids[0]).await;
    assert_eq!(unread().await, 1, "reading an older one takes nothing back");

    // An answer of either kind reads all that was there.
    t.time_passes(2).await;
    t.app_writes(SHOP, ADA, "aus der App").await;
    t.settle().await;
    assert_eq!(unread().await, 0);
    t.time_passes(2).await;
    t.customer_writes(SHOP, ADA, "vier").await;
    t.settle().await;
    assert_eq!(unread().await, 1);
    t.time_passes(2).await;
    t.sent(&client, ADA, "aus der API").await;
    assert_eq!(unread().await, 0);

    let own = t.saying(&client, "aus der API").await["id"].as_str().unwrap().to_owned();
    let error = read(&own).await["userErrors"][0].clone();
    assert_eq!(error, json!({ "code": "INVALID", "field": ["messageId"] }));
    let error = read("msg_00000000000000000000000000000000").await["userErrors"][0].clone();
    assert_eq!(error, json!({ "code": "NOT_FOUND", "field": ["messageId"] }));
}

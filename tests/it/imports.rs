//! Six months of chats: R3, S6, S7.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::{Value, json};

use crate::harness::Tandem;

const NUMBER: &str = "+4915120000201";
const ANNA: &str = "+4915770000201";
const BEN: &str = "+4915770000202";
const DAY: i64 = 86_400;
const SYNC: &str =
    "historySync { state percent items requestedAt deadlineAt startedAt finishedAt remedy } status";

fn seconds(at: &Value) -> i64 {
    DateTime::parse_from_rfc3339(at.as_str().unwrap()).unwrap().timestamp()
}

/// All messages of a client, page by page, by WhatsApp's id.
async fn everything(t: &Tandem, client: &str) -> BTreeMap<String, Value> {
    let query = "query($id: ID!, $after: String) { history(clientId: $id, first: 100, after: $after) {
        pageInfo { hasNextPage endCursor }
        nodes { whatsappId text imported sentAt status direction origin
            content { __typename ... on MediaContent { kind state url mimeType } } } } }";
    let (mut found, mut after) = (BTreeMap::new(), Value::Null);
    loop {
        let page = t.data(query, json!({ "id": client, "after": after })).await["history"].clone();
        for node in page["nodes"].as_array().unwrap() {
            let known = found.insert(node["whatsappId"].as_str().unwrap().to_owned(), node.clone());
            assert_eq!(known, None, "no message twice");
        }
        if page["pageInfo"]["hasNextPage"] == false {
            return found;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

/// What the phone's screen shows outside of groups, by WhatsApp's id.
async fn chats(t: &Tandem) -> BTreeMap<String, Value> {
    let query = "query($n: PhoneNumber!) { phone(phoneNumber: $n) { messages(first: 1000000) { id text at media group } } }";
    let data = t.simulate(query, json!({ "n": NUMBER })).await;
    let all =
        data["phone"]["messages"].as_array().unwrap().iter().filter(|message| message["group"].is_null());
    all.map(|message| (message["id"].as_str().unwrap().to_owned(), message.clone())).collect()
}

async fn history_calls(t: &Tandem) -> usize {
    t.graph_calls("smb_app_data").await.len() - 1
}

fn code(payload: &Value) -> &Value {
    &payload["userErrors"][0]["code"]
}

#[tokio::test(flavor = "multi_thread")]
async fn r03_six_months_of_single_chats_are_imported_and_nothing_else() {
    let t = Tandem::new().await;
    t.create_phone(json!({
        "phoneNumber": NUMBER, "displayName": "Café Test", "contacts": 20, "messages": 600, "groups": 3, "days": 300, "seed": 5,
    }))
    .await;
    let before = t.cursor().await;
    let client = t.imported(NUMBER, true, json!({ "history": "AUTOMATIC" })).await;
    let connected_at = seconds(&t.client(&client, "connectedAt").await["connectedAt"]);
    let (chats, here) = (chats(&t).await, everything(&t, &client).await);

    let shared: BTreeSet<&String> = chats
        .iter()
        .filter(|(_, m)| connected_at - seconds(&m["at"]) < 180 * DAY - 60)
        .map(|(id, _)| id)
        .collect();
    let too_old: BTreeSet<&String> = chats
        .iter()
        .filter(|(_, m)| connected_at - seconds(&m["at"]) > 180 * DAY + 60)
        .map(|(id, _)| id)
        .collect();
    assert!(!too_old.is_empty() && shared.len() > 200, "{} {}", too_old.len(), shared.len());
    assert!(shared.iter().all(|id| here.contains_key(*id)), "all of the six months");
    assert!(too_old.iter().all(|id| !here.contains_key(*id)), "and not a day more");
    assert!(here.keys().all(|id| chats.contains_key(id)), "and nothing of groups");

    for (id, message) in &here {
        let on_the_phone = &chats[id];
        assert_eq!(message["imported"], true);
        assert_eq!(seconds(&message["sentAt"]), seconds(&on_the_phone["at"]), "the time of then");
        let media = !on_the_phone["media"].is_null();
        assert_eq!(message["content"]["__typename"] == "MediaContent", media, "{message:#} {on_the_phone:#}");
        if !media {
            assert_eq!(message["text"], on_the_phone["text"]);
            continue;
        }
        // Files are placeholders, but for those of the last 14 days, which follow.
        let age = connected_at - seconds(&message["sentAt"]);
        if age < 14 * DAY - 60 {
            assert_eq!(message["content"]["state"], "READY", "{message:#}");
            let url = message["content"]["url"].as_str().unwrap();
            assert_eq!(t.http.get(url).send().await.unwrap().status(), 200);
            assert_eq!(
                message["content"]["kind"].as_str().unwrap().to_lowercase(),
                on_the_phone["media"].as_str().unwrap()
            );
        } else if age > 14 * DAY + 60 {
            assert_eq!(message["content"]["state"], "PLACEHOLDER", "{message:#}");
        }
    }
    let late = here.values().filter(|message| message["content"]["state"] == "READY").count();
    assert!(late > 0 && here.values().any(|message| message["content"]["state"] == "PLACEHOLDER"));

    let sync = t.client(&client, SYNC).await["historySync"].clone();
    assert_eq!(
        (&sync["state"], &sync["percent"], &sync["items"]),
        (&json!("DONE"), &json!(100), &json!(here.len()))
    );

    // Imports are quiet: no message is told, no window opens, nothing is unread; only files may be told: that there is one, when
    // it fills a placeholder, and that it is here.
    let types =
        ["MESSAGE_INCOMING", "MESSAGE_OUTGOING", "MESSAGE_STATUS", "MESSAGE_UPDATED", "MESSAGE_REACTION"];
    let told = t.told(&before, &types, "... on Event { type }").await;
    assert!(
        told.iter().all(|event| event["type"] == "MESSAGE_UPDATED") && told.len() <= 2 * late,
        "{told:#?}"
    );
    let query = "query($id: ID!) { conversations(clientIds: [$id], first: 100) { nodes { unreadCount window { isOpen } } } }";
    let conversations = t.data(query, json!({ "id": client })).await;
    for conversation in conversations["conversations"]["nodes"].as_array().unwrap() {
        assert_eq!(conversation, &json!({ "unreadCount": 0, "window": { "isOpen": false } }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r03_a_file_that_comes_late_fills_its_placeholder() {
    let t = Tandem::new().await;
    let (client, ids) = silent(&t).await;
    let at = t.clock().await - 3 * DAY;
    let mut chunk = ids.chunk(1, 1, 100, &[(ANNA, "", at)]);
    let message = &mut chunk["entry"][0]["changes"][0]["value"]["history"][0]["threads"][0]["messages"][0];
    message["type"] = json!("media_placeholder");
    message.as_object_mut().unwrap().remove("text");
    let id = message["id"].clone();
    t.hear(&chunk).await;
    let fields =
        "id text imported content { __typename ... on MediaContent { kind state mimeType caption } }";
    let placeholder = t.history(&client, fields).await;
    let shown = json!({ "__typename": "MediaContent", "kind": null, "state": "PLACEHOLDER", "mimeType": null, "caption": null });
    assert_eq!(placeholder[0]["content"], shown);

    let query = "subscription($after: EventCursor) { events(after: $after, filter: { types: [MESSAGE_UPDATED] }) {
        ... on MessageChangedEvent { type message { id text imported content { __typename ... on MediaContent {
            kind state mimeType caption } } } } } }";
    let mut updates = t.subscribe(query, json!({})).await;
    let file = json!({
        "from": &ANNA[1..], "id": id, "timestamp": at.to_string(), "type": "image",
        "image": { "id": "5550001", "mime_type": "image/jpeg", "sha256": "00", "caption": "So sah es aus" },
    });
    let body = ids.body("history", json!({ "contacts": [{ "wa_id": &ANNA[1..] }], "messages": [file] }));
    t.hear(&body).await;
    let told =
        updates.until(|data| data["events"]["type"] == "MESSAGE_UPDATED").await["events"]["message"].clone();
    assert_eq!((&told["id"], &told["text"]), (&placeholder[0]["id"], &json!("So sah es aus")));
    assert_eq!(told["imported"], true, "an image of three days ago is not news");
    assert_eq!((&told["content"]["kind"], &told["content"]["state"]), (&json!("IMAGE"), &json!("PENDING")));
    t.hear(&body).await;
    assert_eq!(t.history(&client, fields).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r03_on_request_waits_to_be_asked_for() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 5, 90).await;
    let client = t.imported(NUMBER, true, json!({ "history": "ON_REQUEST" })).await;
    assert_eq!(history_calls(&t).await, 0);
    let now = t.client(&client, &format!("connectedAt historyImport {SYNC}")).await;
    let sync = &now["historySync"];
    assert_eq!((&now["historyImport"], &sync["state"]), (&json!("ON_REQUEST"), &json!("NOT_REQUESTED")));
    assert_eq!(seconds(&sync["deadlineAt"]), seconds(&now["connectedAt"]) + DAY);
    assert!(sync["remedy"].as_str().unwrap().contains("requestHistorySync"));
    assert_eq!(sync["requestedAt"], Value::Null);

    let ask = async || {
        t.mutate(
            "requestHistorySync",
            json!({ "clientId": client }),
            "sync { state deadlineAt } client { id }",
        )
        .await
    };
    let payload = ask().await;
    assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
    assert_eq!(payload["client"]["id"], json!(client));
    t.settle().await;
    assert_eq!(t.client(&client, SYNC).await["historySync"]["state"], "DONE");
    assert_eq!(everything(&t, &client).await.len(), 90);
    assert_eq!(code(&ask().await), "SYNC_ALREADY_REQUESTED");
    assert_eq!(history_calls(&t).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r03_on_request_is_over_after_a_day() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 5, 30).await;
    let client = t.imported(NUMBER, true, json!({ "history": "ON_REQUEST" })).await;
    t.advance_clock(DAY + 1).await;
    let payload =
        t.mutate("requestHistorySync", json!({ "clientId": client }), "sync { state } client { id }").await;
    assert_eq!(code(&payload), "SYNC_DEADLINE_PASSED");
    assert_eq!((&payload["sync"], &payload["client"]), (&Value::Null, &Value::Null));
    assert_eq!(history_calls(&t).await, 0, "WhatsApp is not asked in vain");
    let remedy = t.client(&client, SYNC).await["historySync"]["remedy"].as_str().unwrap().to_owned();
    assert!(remedy.contains("createOnboarding"), "{remedy}");

    // A new connection begins a new day.
    t.disconnect(NUMBER, "ACCOUNT_DISCONNECTED", "USER").await;
    t.settle().await;
    assert_eq!(
        code(&t.mutate("requestHistorySync", json!({ "clientId": client }), "sync { state }").await),
        "CLIENT_NOT_CONNECTED"
    );
    assert_eq!(
        t.imported(NUMBER, true, json!({ "history": "ON_REQUEST", "clientId": client })).await,
        client
    );
    let payload = t.mutate("requestHistorySync", json!({ "clientId": client }), "sync { state }").await;
    assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
    t.settle().await;
    assert_eq!(everything(&t, &client).await.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn r03_never_asks_for_nothing_and_discards_what_comes_unread() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 5, 30).await;
    let client = t.imported(NUMBER, true, json!({ "history": "NEVER" })).await;
    let sync = t.client(&client, SYNC).await["historySync"].clone();
    assert_eq!((&sync["state"], &sync["remedy"]), (&json!("UNAVAILABLE"), &Value::Null));
    assert_eq!(history_calls(&t).await, 0);
    let payload = t.mutate("requestHistorySync", json!({ "clientId": client }), "sync { state }").await;
    assert_eq!(code(&payload), "INVALID");
    assert!(payload["userErrors"][0]["message"].as_str().unwrap().contains("NEVER"));

    let before = t.cursor().await;
    let ids = t.wire_ids(NUMBER).await;
    let at = t.clock().await - 5 * DAY;
    t.hear(&ids.chunk(1, 1, 100, &[(ANNA, "from the past", at)])).await;
    assert_eq!(everything(&t, &client).await, BTreeMap::new());
    assert_eq!(
        t.told(&before, &["SYNC_PROGRESS", "ONBOARDING_CHANGED", "CONTACT_ADDED"], "type").await,
        Vec::<Value>::new()
    );
    assert_eq!(t.client(&client, SYNC).await["historySync"], sync);
    let search = json!({ "id": client, "search": "from the past" });
    let query = "query($id: ID!, $search: String) { contacts(clientId: $id, filter: { inPhoneBook: false }) { nodes { id } }
        history(clientId: $id, filter: { search: $search }) { nodes { id } } }";
    let found = t.data(query, search).await;
    assert_eq!(found, json!({ "contacts": { "nodes": [] }, "history": { "nodes": [] } }));
    assert_eq!(t.inbound_list().await, Vec::<Value>::new(), "it was taken, and is no trouble");

    // What is written from now on has nothing to do with it.
    t.customer_writes(NUMBER, ANNA, "live").await;
    t.settle().await;
    assert_eq!(everything(&t, &client).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_permission_that_was_not_given_is_declined() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 5, 90).await;
    let before = t.cursor().await;
    let client = t.imported(NUMBER, false, json!({})).await;
    let sync = t.client(&client, "historySync { state items percent finishedAt refusal remedy }").await["historySync"].clone();
    assert_eq!(
        (&sync["state"], &sync["items"], &sync["percent"]),
        (&json!("DECLINED"), &json!(0), &json!(0))
    );
    assert!(sync["refusal"].as_str().unwrap().contains("not shared"), "{sync:#}");
    assert!(sync["remedy"].as_str().unwrap().contains("chose not to share"), "{sync:#}");
    assert_eq!(everything(&t, &client).await, BTreeMap::new());
    let told = t.told(&before, &["SYNC_PROGRESS"], "... on SyncEvent { kind state }").await;
    let states: Vec<&Value> =
        told.iter().filter(|event| event["kind"] == "HISTORY").map(|event| &event["state"]).collect();
    assert_eq!(states.last(), Some(&&json!("DECLINED")), "{told:#?}");

    // Silence afterwards is no stall: nobody has to guess.
    t.advance_clock(3_600).await;
    let other = t.onboarding(json!({ "expiresInSeconds": 60 })).await;
    let query = "subscription($id: ID!, $after: EventCursor) { onboardingProgress(onboardingId: $id, after: $after) { status } }";
    let mut progress = t.subscribe(query, json!({ "id": other })).await;
    t.advance_clock(60).await;
    progress.until(|data| data["onboardingProgress"]["status"] == "EXPIRED").await;
    assert_eq!(t.client(&client, SYNC).await["historySync"]["state"], "DECLINED");
    // Who changes their mind connects anew.
    t.disconnect(NUMBER, "ACCOUNT_DISCONNECTED", "USER").await;
    t.settle().await;
    t.imported(NUMBER, true, json!({ "clientId": client })).await;
    assert_eq!(t.client(&client, SYNC).await["historySync"]["state"], "DONE");
    assert_eq!(everything(&t, &client).await.len(), 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_an_import_can_be_watched_although_its_chunks_come_out_of_order() {
    let t = Tandem::new().await;
    t.create_phone(json!({
        "phoneNumber": NUMBER, "displayName": "Café Test", "contacts": 20, "messages": 900, "groups": 1, "days": 178, "seed": 3,
    }))
    .await;
    let before = t.cursor().await;
    let client = t.imported(NUMBER, true, json!({})).await;
    let mut imports = t.imports(&client, Some(&before)).await;
    let (mut percents, mut items, mut changed) = (Vec::new(), Vec::new(), BTreeSet::new());
    loop {
        let told = imports.next().await["syncProgress"].clone();
        if told["kind"] != "HISTORY" {
            continue;
        }
        let state = told["state"].as_str().unwrap();
        if state == "REQUESTED" {
            continue;
        }
        percents.push(told["percent"].as_i64().unwrap());
        items.push(told["items"].as_i64().unwrap());
        assert!(seconds(&told["since"]) <= seconds(&told["until"]), "{told:#}");
        let ids = told["conversationIds"].as_array().unwrap();
        assert!(!ids.is_empty());
        changed.extend(ids.iter().map(|id| id.as_str().unwrap().to_owned()));
        assert_eq!(
            told["progress"]["state"], "DONE",
            "the node shows the present state, the event what it was then"
        );
        // It can be done before all is here: no gap shows that the last chunk of a phase is still to come.
        assert!(state == "RUNNING" || state == "DONE", "{state}");
        if items.last() == Some(&900) {
            assert_eq!(state, "DONE");
            break;
        }
    }
    assert!(percents.len() >= 3, "{percents:?}");
    assert!(percents.is_sorted() && items.is_sorted(), "never back: {percents:?} {items:?}");
    assert_eq!((percents.last(), items.last()), (Some(&100), Some(&900)));
    assert!(percents[0] < 100);
    let query = "query($id: ID!) { conversations(clientIds: [$id], first: 100) { nodes { id } } }";
    let conversations = t.data(query, json!({ "id": client })).await["conversations"]["nodes"].clone();
    let all: BTreeSet<String> = conversations
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        changed, all,
        "every conversation was named, so that an open frontend knows what to read again"
    );
}

/// A connected phone whose past comes by hand: WhatsApp is asked, and stays silent.
async fn silent(t: &Tandem) -> (String, crate::harness::wire::Ids) {
    t.phone(NUMBER, 2, 60).await;
    let onboarding = t.onboarding(json!({})).await;
    let fields =
        json!({ "fields": ["messages", "smb_message_echoes", "smb_app_state_sync", "account_update"] });
    t.simulate("mutation($fields: [String!]!) { subscribeFields(fields: $fields) }", fields).await;
    let signup = t.signup(NUMBER, true).await;
    let payload = t.complete(&onboarding, &signup).await;
    assert_eq!(payload["onboarding"]["status"], "CONNECTED", "{payload:#}");
    t.settle().await;
    let client = payload["onboarding"]["client"]["id"].as_str().unwrap().to_owned();
    (client, t.wire_ids(NUMBER).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn s06_s07_an_import_that_fell_silent_says_what_to_do_and_goes_on_by_itself() {
    let t = Tandem::new().await;
    let (client, ids) = silent(&t).await;
    let mut imports = t.imports(&client, None).await;
    let sync = t.client(&client, SYNC).await["historySync"].clone();
    assert_eq!((&sync["state"], &sync["remedy"]), (&json!("REQUESTED"), &Value::Null));
    t.advance_clock(590).await;
    assert_eq!(t.client(&client, SYNC).await["historySync"]["state"], "REQUESTED");
    t.advance_clock(15).await;
    let told = imports.next().await["syncProgress"].clone();
    assert_eq!((&told["kind"], &told["state"]), (&json!("HISTORY"), &json!("STALLED")));
    let remedy = told["progress"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("open the WhatsApp Business app on the phone"), "{remedy}");
    assert_eq!(
        code(&t.mutate("requestHistorySync", json!({ "clientId": client }), "sync { state }").await),
        "SYNC_ALREADY_REQUESTED",
        "what can be asked only once is not wasted"
    );

    let at = t.clock().await;
    t.hear(&ids.chunk(0, 1, 40, &[(ANNA, "yesterday", at - 3_600)])).await;
    let told = imports.next().await["syncProgress"].clone();
    assert_eq!(
        (&told["state"], &told["percent"], &told["items"]),
        (&json!("RUNNING"), &json!(40), &json!(1))
    );
    assert_eq!(told["progress"]["remedy"], Value::Null);
    t.advance_clock(605).await;
    assert_eq!(imports.next().await["syncProgress"]["state"], "STALLED", "again, after ten minutes more");
    t.hear(&ids.chunk(1, 1, 100, &[(BEN, "last month", at - 30 * DAY)])).await;
    let told = imports.next().await["syncProgress"].clone();
    assert_eq!((&told["state"], &told["percent"], &told["items"]), (&json!("DONE"), &json!(100), &json!(2)));
    assert_eq!(everything(&t, &client).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_a_hundred_percent_is_not_done_while_a_chunk_is_missing() {
    let t = Tandem::new().await;
    let (client, ids) = silent(&t).await;
    let mut imports = t.imports(&client, None).await;
    let at = t.clock().await;
    let mut hear = async |phase: i32, order: i32, progress: i32, days: i64| {
        t.hear(&ids.chunk(phase, order, progress, &[(ANNA, "then", at - days * DAY)])).await;
        let told = imports.next().await["syncProgress"].clone();
        (
            told["state"].as_str().unwrap().to_owned(),
            told["percent"].as_i64().unwrap(),
            told["items"].as_i64().unwrap(),
        )
    };
    assert_eq!(hear(2, 1, 100, 100).await, ("RUNNING".to_owned(), 100, 1), "the last one first");
    assert_eq!(hear(1, 2, 60, 50).await, ("RUNNING".to_owned(), 100, 2));
    assert_eq!(hear(0, 1, 20, 0).await, ("RUNNING".to_owned(), 100, 3));
    assert_eq!(hear(0, 1, 20, 0).await, ("RUNNING".to_owned(), 100, 3), "the same once more");
    assert_eq!(hear(1, 1, 40, 20).await, ("DONE".to_owned(), 100, 4), "the gap is filled");
    assert_eq!(
        hear(1, 3, 70, 60).await,
        ("DONE".to_owned(), 100, 5),
        "what comes after is applied all the same"
    );
    assert_eq!(everything(&t, &client).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_a_gap_that_nobody_fills_ends_the_import_after_a_minute() {
    let t = Tandem::new().await;
    let (client, ids) = silent(&t).await;
    let mut imports = t.imports(&client, None).await;
    let at = t.clock().await;
    t.hear(&ids.chunk(2, 1, 100, &[(ANNA, "then", at - 100 * DAY)])).await;
    assert_eq!(imports.next().await["syncProgress"]["state"], "RUNNING");
    t.advance_clock(50).await;
    assert_eq!(t.client(&client, SYNC).await["historySync"]["state"], "RUNNING");
    t.advance_clock(15).await;
    let told = imports.next().await["syncProgress"].clone();
    assert_eq!((&told["state"], &told["percent"]), (&json!("DONE"), &json!(100)));
    assert_ne!(t.client(&client, SYNC).await["historySync"]["finishedAt"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_a_live_message_that_the_import_brings_too_is_one_message() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 5, 90).await;
    let before = t.cursor().await;
    let client = t.connect(NUMBER, true, json!({})).await;
    let id = t.customer_writes(NUMBER, ANNA, "while it comes in").await;
    t.open_app(NUMBER).await;
    t.settle().await;
    let ids = t.wire_ids(NUMBER).await;
    let at = t.clock().await;
    // The import tells of it as well.
    let mut chunk = ids.chunk(0, 9, 100, &[(ANNA, "while it comes in", at)]);
    chunk["entry"][0]["changes"][0]["value"]["history"][0]["threads"][0]["messages"][0]["id"] = json!(id);
    t.hear(&chunk).await;
    let here = everything(&t, &client).await;
    assert_eq!(here.len(), 91);
    assert_eq!(here[&id]["imported"], false);
    let told = t
        .told(&before, &["MESSAGE_INCOMING"], "... on IncomingMessageEvent { message { whatsappId } }")
        .await;
    assert_eq!(told, [json!({ "message": { "whatsappId": id } })]);
}

/// A wish that WhatsApp does not take yet can be told from one that nobody made, and from one that is too late.
#[tokio::test(flavor = "multi_thread")]
async fn s07_a_request_that_whatsapp_refuses_is_seen_and_asked_again_until_it_is_too_late() {
    let t = Tandem::new().await;
    let fields = "historySync { state refusal remedy requestedAt }";
    t.phone(NUMBER, 2, 10).await;
    let client = t.connect(NUMBER, true, json!({ "history": "ON_REQUEST" })).await;
    let told = t.client(&client, fields).await["historySync"].clone();
    assert!(told["remedy"].as_str().unwrap().contains("call requestHistorySync"), "{told:#}");

    t.act("refuse", json!({ "path": "smb_app_data", "code": 10, "times": 1000 })).await;
    let mut imports = t.imports(&client, None).await;
    let payload = t.mutate("requestHistorySync", json!({ "clientId": client }), "sync { state }").await;
    assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
    imports.until(|data| data["syncProgress"]["kind"] == "HISTORY").await;
    let told = t.client(&client, fields).await["historySync"].clone();
    assert_eq!((&told["state"], &told["requestedAt"]), (&json!("NOT_REQUESTED"), &Value::Null));
    assert!(told["refusal"].as_str().unwrap().contains("10"), "{told:#}");
    assert!(told["remedy"].as_str().unwrap().contains("asked again by itself"), "{told:#}");
    let again = t.mutate("requestHistorySync", json!({ "clientId": client }), "sync { state }").await;
    assert_eq!(code(&again), "SYNC_ALREADY_REQUESTED");
    assert!(
        again["userErrors"][0]["message"].as_str().unwrap().contains("asked again by itself"),
        "{again:#}"
    );

    t.advance_clock(DAY + 60).await;
    let late = |data: &Value| {
        data["syncProgress"]["kind"] == "HISTORY" && data["syncProgress"]["state"] == "STALLED"
    };
    imports.until(late).await;
    let told = t.client(&client, fields).await["historySync"].clone();
    let remedy = told["remedy"].as_str().unwrap();
    assert!(remedy.contains("connects anew") && !remedy.contains("goes on by itself"), "{remedy}");
}

/// Invariant 10, and R3: what was edited or deleted long ago is no news, and NEVER means never.
#[tokio::test(flavor = "multi_thread")]
async fn r03_edits_and_deletions_of_the_past_are_told_to_nobody() {
    let t = Tandem::new().await;
    let (client, ids) = silent(&t).await;
    let at = t.clock().await - 3 * DAY;
    let before = t.cursor().await;
    let mut chunk = ids.chunk(1, 1, 100, &[(ANNA, "Alt", at), (BEN, "Weg", at + 1)]);
    let threads = &mut chunk["entry"][0]["changes"][0]["value"]["history"][0]["threads"];
    for (thread, later) in [
        (0, json!({ "type": "edit", "edit": { "message": { "type": "text", "text": { "body": "Neu" } } } })),
        (1, json!({ "type": "revoke", "revoke": {} })),
    ] {
        let first = threads[thread]["messages"][0].clone();
        let mut change = first.clone();
        change.as_object_mut().unwrap().remove("text");
        change["id"] = json!(format!("wamid.later.{thread}"));
        change["timestamp"] = json!((at + 60).to_string());
        for (name, value) in later.as_object().unwrap() {
            change[name] = value.clone();
        }
        let kind = later["type"].as_str().unwrap();
        change[kind]["original_message_id"] = first["id"].clone();
        threads[thread]["messages"].as_array_mut().unwrap().push(change);
    }
    t.hear(&chunk).await;
    let history = t.history(&client, "text deletedAt").await;
    assert!(history.iter().any(|message| message["text"] == "Neu"), "{history:#?}");
    assert!(history.iter().any(|message| !message["deletedAt"].is_null()), "{history:#?}");
    let told = t
        .told(&before, &["MESSAGE_EDITED", "MESSAGE_DELETED", "MESSAGE_INCOMING"], "... on Event { type }")
        .await;
    assert_eq!(told, [] as [Value; 0]);
}

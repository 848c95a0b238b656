//! The stream of events: the same items in the same order, however it is read.

use serde_json::{Value, json};

use crate::harness::{ADA, BEN, FIXED, SHOP, Subscription, Tandem};

/// Whatever makes events: an onboarding, imports, messages of all sides, changes of them, contacts, a disconnection.
async fn much_happens(t: &Tandem) -> String {
    t.phone(SHOP, 5, 40).await;
    let client = t.imported(SHOP, true, json!({})).await;
    let question = t.customer_writes(SHOP, ADA, "Habt ihr offen?").await;
    t.settle().await;
    t.sent(&client, ADA, "Bis acht.").await;
    let answer = t.app_writes(SHOP, BEN, "Guten Tag!").await;
    t.customer_sees(SHOP, &answer, "read").await;
    t.act("react", json!({ "phoneNumber": SHOP, "messageId": question, "emoji": "👍", "by": "APP" })).await;
    t.act("edit", json!({ "phoneNumber": SHOP, "messageId": question, "text": "Offen?" })).await;
    t.act("delete", json!({ "phoneNumber": SHOP, "messageId": answer })).await;
    t.act("changeContact", json!({ "phoneNumber": SHOP, "contact": BEN, "fullName": "Ben Kaya" })).await;
    t.act("setProfile", json!({ "phoneNumber": SHOP, "displayName": "Café Neu" })).await;
    t.settle().await;
    t.act("disconnect", json!({ "phoneNumber": SHOP })).await;
    t.settle().await;
    client
}

/// All that a subscription tells up to its sign that it caught up.
async fn replayed(subscription: &mut Subscription, field: &str) -> Vec<Value> {
    let mut told = Vec::new();
    loop {
        let item = subscription.next().await[field].clone();
        if item["__typename"] == "CaughtUp" {
            return told;
        }
        assert_eq!(Some(item["cursor"].as_str().unwrap()), subscription.cursor.as_deref());
        told.push(item);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_and_the_subscription_tell_the_same() {
    let t = Tandem::new().await;
    let start = t.place().await;
    let query = format!(
        "subscription($after: EventCursor, $filter: EventFilter) {{
        events(after: $after, filter: $filter) {{ {FIXED} }} }}"
    );
    let mut live = t.subscribe(&query, json!({})).await;
    let client = much_happens(&t).await;
    let told = t.told_since(&start).await;
    let types: std::collections::BTreeSet<&str> =
        told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    for kind in [
        "ONBOARDING_CHANGED",
        "CLIENT_CONNECTED",
        "SYNC_PROGRESS",
        "CONTACT_ADDED",
        "CONTACT_UPDATED",
        "MESSAGE_INCOMING",
        "MESSAGE_OUTGOING",
        "MESSAGE_QUEUED",
        "MESSAGE_STATUS",
        "MESSAGE_REACTION",
        "MESSAGE_EDITED",
        "MESSAGE_DELETED",
        "CLIENT_DISCONNECTED",
    ] {
        assert!(types.contains(kind), "{kind} is missing in {types:?}");
    }
    // Live, replayed from the beginning, and replayed from the middle.
    for expected in &told {
        assert_eq!(&live.next().await["events"], expected);
    }
    let mut replay = t.subscribe(&query, json!({ "after": start })).await;
    assert_eq!(replayed(&mut replay, "events").await, told);
    let middle = told.len() / 2;
    let mut replay = t.subscribe(&query, json!({ "after": told[middle - 1]["cursor"] })).await;
    assert_eq!(replayed(&mut replay, "events").await, told[middle..]);
    // Pages of any size are the same list, and each edge's cursor is its event's.
    let paged = "query($after: EventCursor) { events(after: $after, first: 7) {
        edges { cursor node { id cursor } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
    let (mut after, mut ids) = (start.clone(), Vec::new());
    loop {
        let page = t.data(paged, json!({ "after": after })).await["events"].clone();
        let edges = page["edges"].as_array().unwrap();
        assert!(edges.iter().all(|edge| edge["cursor"] == edge["node"]["cursor"]));
        assert_eq!(page["pageInfo"]["startCursor"], edges[0]["cursor"]);
        ids.extend(edges.iter().map(|edge| edge["node"]["id"].clone()));
        after = page["pageInfo"]["endCursor"].as_str().unwrap().to_owned();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    let all: Vec<Value> = told.iter().map(|event| event["id"].clone()).collect();
    assert_eq!(ids, all);
    // A filter takes the same out of both.
    for filter in [
        json!({ "types": ["MESSAGE_STATUS", "CLIENT_CONNECTED"] }),
        json!({ "clientIds": [client] }),
        json!({ "clientIds": [client], "types": ["CONTACT_ADDED"] }),
    ] {
        let mut replay = t.subscribe(&query, json!({ "after": start, "filter": filter })).await;
        let replay = replayed(&mut replay, "events").await;
        let asked = format!(
            "query($after: EventCursor, $filter: EventFilter) {{
            events(after: $after, filter: $filter, first: 100) {{ nodes {{ {} }} }} }}",
            FIXED.replace("... on CaughtUp { cursor }", "")
        );
        let data = t.data(&asked, json!({ "after": start, "filter": filter })).await;
        assert_eq!(data["events"]["nodes"].as_array().unwrap(), &replay, "{filter}");
        let admitted = |event: &&Value| {
            filter["types"].as_array().is_none_or(|types| types.contains(&event["type"]))
                && (filter["clientIds"].is_null() || event["client"]["id"] == json!(client))
        };
        let expected: Vec<&Value> = told.iter().filter(admitted).collect();
        assert_eq!(replay.iter().collect::<Vec<_>>(), expected, "{filter}");
    }
    // Events are nodes.
    let query = format!(
        "query($ids: [ID!]!) {{ nodes(ids: $ids) {{ {} }} }}",
        FIXED.replace("... on CaughtUp { cursor }", "")
    );
    let ids: Vec<Value> = all.into_iter().take(100).collect();
    let data = t.data(&query, json!({ "ids": ids })).await;
    assert_eq!(data["nodes"].as_array().unwrap(), &told[..ids.len()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_typed_subscription_tells_its_part_of_the_stream() {
    let t = Tandem::new().await;
    let start = t.place().await;
    let client = much_happens(&t).await;
    let told = t.told_since(&start).await;
    let onboarding =
        told.iter().find(|event| event["type"] == "ONBOARDING_CHANGED").unwrap()["onboarding"]["id"].clone();
    for (field, types, arguments) in [
        ("outgoingMessages", &["MESSAGE_OUTGOING"][..], String::new()),
        ("incomingMessages", &["MESSAGE_INCOMING"], format!(", clientIds: [\"{client}\"]")),
        ("messageStatuses", &["MESSAGE_STATUS"], String::new()),
        (
            "contactChanges",
            &["CONTACT_ADDED", "CONTACT_UPDATED", "CONTACT_REMOVED", "CONTACT_MERGED"],
            String::new(),
        ),
        ("onboardingProgress", &["ONBOARDING_CHANGED"], format!(", onboardingId: {onboarding}")),
        ("syncProgress", &["SYNC_PROGRESS"], format!(", clientId: \"{client}\"")),
        (
            "clientChanges",
            &["CLIENT_CONNECTED", "CLIENT_DISCONNECTED", "CLIENT_PROFILE_CHANGED"],
            String::new(),
        ),
    ] {
        let expected: Vec<&Value> = told
            .iter()
            .filter(|event| types.contains(&event["type"].as_str().unwrap()))
            .map(|event| &event["id"])
            .collect();
        assert!(!expected.is_empty(), "nothing to tell in {field}");
        let query =
            format!("subscription($after: EventCursor) {{ {field}(after: $after{arguments}) {{ id }} }}");
        let mut typed = t.subscribe(&query, json!({ "after": start })).await;
        for id in expected {
            assert_eq!(&typed.next().await[field]["id"], id, "{field}");
        }
        // Nothing more: the next that it tells is what happens next.
        assert!(typed.is_silent().await, "{field} tells more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_no_use_is_refused_at_once() {
    let (t, _) = Tandem::shop().await;
    let place = t.place().await;
    let rival = t.another_partner().await;
    let query = "query($after: EventCursor) { events(after: $after) { nodes { id } } }";
    let subscription = "subscription($after: EventCursor) { events(after: $after) { __typename } }";
    for (key, cursor) in [(&t.key, "nonsense"), (&t.key, ""), (&rival, place.as_str())] {
        let answer = t.ask_as(Some(key), query, json!({ "after": cursor })).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{answer:#}");
        assert_eq!(answer["data"]["events"], Value::Null);
        let mut refused = t.subscribe_as(key, subscription, json!({ "after": cursor })).await;
        let frame = refused.frame().await;
        assert_eq!(frame["type"], "error", "{frame:#}");
        assert_eq!(frame["payload"][0]["extensions"]["code"], "BAD_USER_INPUT");
    }
    // One of another time of this database: beyond its head.
    let mut bytes = base64_decoded(&place);
    *bytes.last_mut().unwrap() = 0xff;
    let beyond = base64_encoded(&bytes);
    let answer = t.ask(query, json!({ "after": beyond })).await;
    let error = &answer["errors"][0]["extensions"];
    assert_eq!(error["code"], "CURSOR_EXPIRED", "{answer:#}");
    let oldest = error["oldestCursor"].as_str().unwrap();
    assert!(!t.told_since(oldest).await.is_empty(), "from there one reads on");
}

fn base64_decoded(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn base64_encoded(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

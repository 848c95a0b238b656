//! What messages cost in WhatsApp's words, and how many there were.

use serde_json::{Value, json};

use crate::harness::{ADA, BEN, DAY, SHOP, Tandem};

const USAGE: &str = "query($id: ID!, $since: DateTime!, $until: DateTime!) { client(id: $id) {
    usage(since: $since, until: $until) { total { ...count } byDay { ...count } } } }
    fragment count on UsageCount { day origin category billable count }";

fn instant(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0).unwrap().to_rfc3339()
}

async fn usage(t: &Tandem, client: &str, since: i64, until: i64) -> Value {
    let variables = json!({ "id": client, "since": instant(since), "until": instant(until) });
    t.data(USAGE, variables).await["client"]["usage"].clone()
}

fn count(origin: &str, category: Option<&str>, billable: Option<bool>, count: i64) -> Value {
    json!({ "day": null, "origin": origin, "category": category, "billable": billable, "count": count })
}

fn sorted(counts: &Value) -> Vec<String> {
    let mut counts: Vec<String> = counts.as_array().unwrap().iter().map(Value::to_string).collect();
    counts.sort_unstable();
    counts
}

fn hello() -> Value {
    json!({ "template": { "name": "hello_world", "language": "en_US" } })
}

fn offer() -> Value {
    json!({ "template": { "name": "weekly_offer", "language": "de", "components": [
        { "type": "BODY", "parameters": [{ "text": "Ada" }, { "text": "20" }] }] } })
}

async fn send(t: &Tandem, client: &str, to: &str, content: Value, key: &str) -> Value {
    let sent = t.send(client, to, content, key).await;
    let id = t.until(&sent, "SENT").await;
    t.settle().await;
    t.message(&id).await["pricing"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn r09_what_a_message_costs_is_told_by_the_rules_of_the_day() {
    let (t, client) = Tandem::shop().await;
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    let text = || json!({ "text": { "body": "Gern!" } });
    let free = |category: &str| json!({ "billable": false, "category": category, "model": "PMP", "type": "free_customer_service" });
    let paid =
        |category: &str| json!({ "billable": true, "category": category, "model": "PMP", "type": "regular" });
    for (rules, service, utility) in [
        (json!({ "rules": "BEFORE_OCTOBER_2026" }), free("service"), free("utility")),
        (json!({ "rules": "SINCE_OCTOBER_2026" }), free("service"), paid("utility")),
        (json!({ "rules": "SINCE_OCTOBER_2026", "freeServices": 0 }), paid("service"), paid("utility")),
        // The flag is to go some day: the type says the same.
        (
            json!({ "rules": "SINCE_OCTOBER_2026", "freeServices": 0, "tellsBillable": false }),
            paid("service"),
            paid("utility"),
        ),
        (json!({ "rules": "BEFORE_OCTOBER_2026", "tellsBillable": false }), free("service"), free("utility")),
    ] {
        t.act("setPrices", rules.clone()).await;
        assert_eq!(send(&t, &client, ADA, text(), &format!("text {rules}")).await, service, "{rules}");
        assert_eq!(send(&t, &client, ADA, hello(), &format!("utility {rules}")).await, utility, "{rules}");
        // Without a window every template costs, and marketing does always.
        assert_eq!(
            send(&t, &client, BEN, hello(), &format!("closed {rules}")).await,
            paid("utility"),
            "{rules}"
        );
        assert_eq!(
            send(&t, &client, ADA, offer(), &format!("offer {rules}")).await,
            paid("marketing"),
            "{rules}"
        );
    }
    // What the app sends is free whatever is told.
    t.app_writes(SHOP, ADA, "Vom Telefon").await;
    t.settle().await;
    assert_eq!(t.saying(&client, "Vom Telefon").await["pricing"]["billable"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn r09_usage_counts_what_was_sent_and_received_by_day_and_kind() {
    let t = Tandem::new().await;
    // An old chat is no traffic.
    t.phone(SHOP, 5, 60).await;
    let start = t.clock().await - 1;
    let client = t.imported(SHOP, true, json!({})).await;
    assert!(!t.messages(&client).await.is_empty(), "imported");
    let none = usage(&t, &client, start, start + 92 * DAY).await;
    assert_eq!(none, json!({ "total": [], "byDay": [] }));

    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.app_writes(SHOP, ADA, "Moment").await;
    t.app_writes(SHOP, ADA, "Gleich").await;
    t.settle().await;
    t.act("setPrices", json!({ "rules": "SINCE_OCTOBER_2026", "freeServices": 1 })).await;
    for key in ["one", "two", "three"] {
        send(&t, &client, ADA, json!({ "text": { "body": key } }), key).await;
    }
    send(&t, &client, ADA, hello(), "utility").await;
    // What failed or was taken back costs nothing, and does not count.
    t.act("setPrices", json!({})).await;
    let later = json!({ "clientId": client, "to": ADA, "content": hello(), "idempotencyKey": "later",
        "sendAt": instant(t.clock().await + 3600) });
    let queued = t.mutate("sendMessage", later, "message { id }").await["message"]["id"].clone();
    t.mutate("cancelMessage", json!({ "messageId": queued }), "message { id }").await;

    let today = usage(&t, &client, start, t.clock().await + 60).await;
    let expected = vec![
        count("CUSTOMER", None, Some(false), 1),
        count("APP", None, Some(false), 2),
        count("API", Some("service"), Some(false), 1),
        count("API", Some("service"), Some(true), 2),
        count("API", Some("utility"), Some(true), 1),
    ];
    assert_eq!(sorted(&today["total"]), sorted(&json!(expected)), "{today:#}");

    t.time_passes(DAY).await;
    let tomorrow = t.clock().await - 1;
    send(&t, &client, BEN, hello(), "tomorrow").await;
    let whole = usage(&t, &client, start, t.clock().await + 60).await;
    let utility = |counts: &Value| -> Vec<i64> {
        let of_utility = counts.as_array().unwrap().iter().filter(|count| count["category"] == "utility");
        of_utility.map(|count| count["count"].as_i64().unwrap()).collect()
    };
    assert_eq!((utility(&whole["total"]), utility(&whole["byDay"])), (vec![2], vec![1, 1]), "{whole:#}");
    let days: Vec<&str> =
        whole["byDay"].as_array().unwrap().iter().map(|count| count["day"].as_str().unwrap()).collect();
    assert!(days.is_sorted(), "{days:?}");
    let last = usage(&t, &client, tomorrow, tomorrow + DAY).await;
    assert_eq!(last["total"], json!([count("API", Some("utility"), Some(true), 1)]));
    let day = chrono::DateTime::from_timestamp(tomorrow + 1, 0).unwrap().format("%Y-%m-%d").to_string();
    assert_eq!(last["byDay"][0]["day"], json!(day));
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_of_too_long_a_time_is_refused() {
    let (t, client) = Tandem::shop().await;
    let now = t.clock().await;
    for (since, until) in [(now, now), (now, now - 1), (now - 92 * DAY, now + 1)] {
        let variables = json!({ "id": client, "since": instant(since), "until": instant(until) });
        let answer = t.ask(USAGE, variables).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{answer:#}");
    }
    usage(&t, &client, now - 92 * DAY, now).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_costs_one_statement_however_many_messages_and_clients() {
    let t = Tandem::with(&[("TANDEM_UPKEEP_INTERVAL_SECONDS", "3600")]).await;
    let client = t.connected(SHOP).await;
    t.connected("+4915120000002").await;
    let start = t.clock().await - 1;
    for word in ["a", "b", "c"] {
        t.customer_writes(SHOP, ADA, word).await;
    }
    t.settle().await;
    let db = &t.running().app.db;
    let client = entity_client(&client);
    let until = entity::Timestamp::from_seconds(start + DAY);
    let since = entity::Timestamp::from_seconds(start);
    let of = async |clients: &[entity::ClientId]| {
        tandem::messages::usage::of_clients(db, clients, since, until).await.unwrap()
    };
    // What the engines ask for meanwhile is counted too: the least of several tries is the question's own.
    let mut least = u64::MAX;
    for _ in 0..20 {
        let before = db.statements();
        let counts = of(&[client]).await;
        least = least.min(db.statements() - before);
        assert_eq!(counts[&client].iter().map(|count| count.count).sum::<i64>(), 3);
    }
    assert_eq!(least, 1);
    let query = "query($since: DateTime!, $until: DateTime!) { clients { nodes { usage(since: $since, until: $until) {
        total { count } } } } }";
    let variables = json!({ "since": instant(start), "until": instant(start + DAY) });
    let data = t.data(query, variables).await;
    let counts: Vec<&Value> =
        data["clients"]["nodes"].as_array().unwrap().iter().map(|node| &node["usage"]["total"]).collect();
    assert_eq!(counts, [&json!([{ "count": 3 }]), &json!([])]);
}

fn entity_client(id: &str) -> entity::ClientId {
    use tandem::ids::PublicId;
    entity::ClientId::parse(id).unwrap()
}

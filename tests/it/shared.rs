//! Execute once, deliver to many: who asks the same shares one execution, and only who may see the same.

use serde_json::{Value, json};

use crate::harness::{ADA, BEN, EventStream, SHOP, Subscription, Tandem};

const ASKED: &str = "subscription($after: EventCursor) { incomingMessages(after: $after) {
    message { id text client { id } conversation { window { isOpen } contact { id phoneNumber } } } } }";
/// Upkeep that does not come by itself during a test that counts.
const QUIET: (&str, &str) = ("TANDEM_UPKEEP_INTERVAL_SECONDS", "3600");
const OTHER: &str = "+4930202020";

fn text(result: &Value) -> &str {
    result["incomingMessages"]["message"]["text"].as_str().unwrap()
}

async fn together(t: &Tandem, key: &str, query: &str, after: &str) -> Subscription {
    let mut subscription = t.subscribe_as(key, query, json!({ "after": after })).await;
    // With its first place it is at the head, and among those who ask the same.
    subscription.beat().await;
    subscription
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_the_same_shares_one_execution() {
    let t = Tandem::with(&[QUIET]).await;
    t.phone(SHOP, 0, 0).await;
    let client = t.imported(SHOP, true, json!({})).await;
    let (from, late) = (t.cursor().await, 20);
    t.customer_writes(SHOP, ADA, "before").await;
    t.settle().await;
    let now = t.cursor().await;
    // Half of them come back with an older place, some ask by server-sent events, and one writes it in another way.
    let mut all = Vec::new();
    for number in 0..2 * late {
        let after = if number < late { &from } else { &now };
        let query = if number == 0 { ASKED.replace('\n', " , # the same\n") } else { ASKED.to_owned() };
        let mut one = t.subscribe_as(&t.key, &query, json!({ "after": after })).await;
        if number < late {
            assert_eq!(text(&one.next().await), "before");
        }
        all.push(one);
    }
    let url = format!("{}/graphql", t.url());
    let mut streamed = EventStream::open(&url, &t.key, ASKED, json!({ "after": now }), None).await;
    t.customer_writes(SHOP, ADA, "first").await;
    let id = streamed.payload().await["data"]["incomingMessages"]["message"]["id"].clone();
    for one in &mut all {
        let told = one.next().await;
        assert_eq!((text(&told), &told["incomingMessages"]["message"]["id"]), ("first", &id));
    }
    let (executed, told) =
        ("tandem_subscription_results_executed_total", "tandem_subscription_results_told_total");
    let before = (t.metric(executed).await, t.metric(told).await);
    t.customer_writes(SHOP, ADA, "to many").await;
    for one in &mut all {
        assert_eq!(text(&one.next().await), "to many");
    }
    assert_eq!(text(&streamed.payload().await["data"]), "to many");
    assert_eq!(t.metric(executed).await - before.0, 1, "one execution");
    assert_eq!(t.metric(told).await - before.1, 2 * late + 1, "for all of them");
    // Its places are those of the log, whoever executed.
    let place = all[0].cursor.clone().unwrap();
    let told = t.told(&place, &["MESSAGE_INCOMING"], "id").await;
    assert!(told.is_empty(), "{told:?} came after the last one of {client}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_something_else_is_told_of_the_same_rows_read_once() {
    let t = Tandem::with(&[QUIET]).await;
    t.phone(SHOP, 0, 0).await;
    t.imported(SHOP, true, json!({})).await;
    t.customer_writes(SHOP, ADA, "before").await;
    t.settle().await;
    let (now, mut all) = (t.cursor().await, Vec::new());
    for number in 0..20 {
        let query = ASKED.replace("message {", &format!("message {{ n{number}: id"));
        all.push(together(&t, &t.key, &query, &now).await);
    }
    let (executed, statements) =
        ("tandem_subscription_results_executed_total", "tandem_sql_statements_total");
    let mut cost = Vec::new();
    for words in ["to many", "to one"] {
        let before = (t.metric(executed).await, t.metric(statements).await);
        t.customer_writes(SHOP, ADA, words).await;
        for one in &mut all {
            assert_eq!(text(&one.next().await), words);
        }
        let (executions, read) = (t.metric(executed).await - before.0, t.metric(statements).await - before.1);
        assert_eq!(executions, i64::try_from(all.len()).unwrap(), "each asks something of its own");
        cost.push(read);
        all.truncate(1);
    }
    // Message, conversation, contact and client for each of them would be 76 more.
    assert!(cost[0] < cost[1] + 20, "{cost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_see_different_things_never_shares() {
    let t = Tandem::new().await;
    let mut keys = vec![t.key.clone()];
    for number in [SHOP, OTHER] {
        t.phone(number, 0, 0).await;
        let client = t.imported(number, true, json!({})).await;
        keys.push(t.make_key(&[&client], &["READ"], None).await);
    }
    let now = t.cursor().await;
    let mut all = Vec::new();
    for key in keys.iter().chain(&keys) {
        all.push(together(&t, key, ASKED, &now).await);
    }
    t.customer_writes(SHOP, ADA, "to the shop").await;
    t.settle().await;
    t.customer_writes(OTHER, BEN, "to the other").await;
    for (number, one) in all.iter_mut().enumerate() {
        let expected: &[&str] = match number % 3 {
            0 => &["to the shop", "to the other"],
            1 => &["to the shop"],
            _ => &["to the other"],
        };
        for words in expected {
            assert_eq!(text(&one.next().await), *words);
        }
        assert!(one.is_silent().await, "subscriber {number} hears more than it may");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_ends_takes_nobody_along() {
    let t = Tandem::new().await;
    t.phone(SHOP, 0, 0).await;
    t.imported(SHOP, true, json!({})).await;
    let now = t.cursor().await;
    let (first, second) = (t.make_key(&[], &["READ"], None).await, t.make_key(&[], &["READ"], None).await);
    // The first one's execution serves both.
    let mut goes = together(&t, &first, ASKED, &now).await;
    let mut stays = together(&t, &second, ASKED, &now).await;
    t.customer_writes(SHOP, ADA, "one").await;
    for one in [&mut goes, &mut stays] {
        assert_eq!(text(&one.next().await), "one");
    }
    let data = t.ask_as(Some(&first), "{ viewer { credentialId } }", json!({})).await;
    let id = data["data"]["viewer"]["credentialId"].as_str().unwrap();
    assert!(t.command(&["key", "revoke", id]).await.status.success());
    assert_eq!(goes.closed().await.0, 4403);
    t.customer_writes(SHOP, ADA, "two").await;
    assert_eq!(text(&stays.next().await), "two");
}

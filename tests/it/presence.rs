//! Whether the app on the phone still keeps the connection alive: R16.

use entity::ClientId;
use serde_json::{Value, json};
use tandem::ids::PublicId;

use crate::harness::{Subscription, Tandem};

const NUMBER: &str = "+4915120000501";
const OTHER: &str = "+4915120000502";
const CUSTOMER: &str = "+4915770000501";
const DAY: i64 = 86_400;
const VISITS: &str = "subscription($after: EventCursor) { events(after: $after, filter: { types: [APP_VISIT_DUE] }) {
    ... on ClientEvent { type days daysLeft daysLeftMeta client { id app { risk daysLeft daysLeftMeta } } } } }";
const APP: &str = "app { lastSeenAt basis visitDueAt risk daysLeft daysLeftMeta version }";

async fn visits(t: &Tandem) -> Subscription {
    t.subscribe(VISITS, json!({})).await
}

/// The next visit that is due.
async fn due(visits: &mut Subscription) -> Value {
    visits.until(|data| data["events"]["type"] == "APP_VISIT_DUE").await["events"].clone()
}

async fn app(t: &Tandem, client: &str) -> Value {
    t.client(client, APP).await["app"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn r16_a_visit_that_is_due_is_told_step_by_step_with_the_days_left_by_both_figures() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let fresh = app(&t, &client).await;
    assert_eq!(
        (&fresh["basis"], &fresh["risk"], &fresh["version"]),
        (&json!("CONNECTION"), &json!("NONE"), &Value::Null)
    );
    let mut visits = visits(&t).await;
    let mut passed = 0;
    for (days, left, left_meta, risk) in [
        (9, 11, 5, "DUE_SOON"),
        (12, 8, 2, "DUE_SOON"),
        (15, 5, 0, "DUE_SOON"),
        (18, 2, 0, "DUE_SOON"),
        (20, 0, 0, "OVERDUE"),
    ] {
        t.advance_clock((days - passed) * DAY).await;
        passed = days;
        let told = due(&mut visits).await;
        let expected = json!({
            "type": "APP_VISIT_DUE", "days": days, "daysLeft": left, "daysLeftMeta": left_meta,
            "client": { "id": client, "app": { "risk": risk, "daysLeft": left, "daysLeftMeta": left_meta } },
        });
        assert_eq!(told, expected);
    }
    // Nothing more to tell: the next one heard is of a connection that began later.
    t.advance_clock(5 * DAY).await;
    let other = t.connected(OTHER).await;
    t.advance_clock(9 * DAY).await;
    assert_eq!(due(&mut visits).await["client"]["id"], json!(other));
    assert_eq!(app(&t, &client).await["risk"], "OVERDUE");
    assert_eq!(t.client(&client, "status").await["status"], "CONNECTED", "an estimate ends nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn r16_nineteen_days_at_once_raise_only_the_last_step() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let before = t.cursor().await;
    let mut visits = visits(&t).await;
    // Without a hint: the service follows the simulator's clock by itself.
    t.simulate("mutation($s: Int!) { advanceClock(seconds: $s) }", json!({ "s": 19 * DAY })).await;
    let told = due(&mut visits).await;
    assert_eq!((&told["days"], &told["daysLeft"], &told["daysLeftMeta"]), (&json!(19), &json!(1), &json!(0)));
    t.advance_clock(DAY).await;
    let told = due(&mut visits).await;
    assert_eq!((&told["days"], &told["daysLeft"]), (&json!(20), &json!(0)));
    let fields = "... on ClientEvent { days client { id } }";
    let all = t.told(&before, &["APP_VISIT_DUE"], fields).await;
    assert_eq!(all, [19, 20].map(|days| json!({ "days": days, "client": { "id": client } })));
}

#[tokio::test(flavor = "multi_thread")]
async fn r16_a_confirmed_visit_begins_anew() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let mut visits = visits(&t).await;
    t.advance_clock(12 * DAY).await;
    assert_eq!(due(&mut visits).await["days"], 12);
    let payload =
        t.mutate("confirmAppVisit", json!({ "clientId": client }), &format!("client {{ id {APP} }}")).await;
    assert_eq!(payload["userErrors"], json!([]));
    let seen = &payload["client"]["app"];
    assert_eq!((&seen["basis"], &seen["risk"]), (&json!("CONFIRMED"), &json!("NONE")), "{seen:#}");
    assert_eq!((&seen["daysLeft"], &seen["daysLeftMeta"]), (&json!(20), &json!(14)));
    let at =
        |name: &str| chrono::DateTime::parse_from_rfc3339(seen[name].as_str().unwrap()).unwrap().timestamp();
    assert_eq!(at("visitDueAt") - at("lastSeenAt"), 20 * DAY);
    assert!((t.clock().await - at("lastSeenAt")).abs() < 60);
    t.advance_clock(9 * DAY).await;
    assert_eq!(due(&mut visits).await["days"], 9, "the steps begin anew");

    let waiting = t.onboarding(json!({})).await;
    let id = t.onboarding_now(&waiting, "client { id app { risk } }").await["client"].clone();
    assert_eq!(id["app"], Value::Null, "never connected");
    let payload = t.mutate("confirmAppVisit", json!({ "clientId": id["id"] }), "client { id }").await;
    assert_eq!(payload["userErrors"][0]["code"], "CLIENT_NOT_CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn r16_what_only_the_phone_does_is_a_sign_of_life() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let mut visits = visits(&t).await;
    t.advance_clock(10 * DAY).await;
    assert_eq!(due(&mut visits).await["days"], 10);

    // Customers write and the API answers whether or not anybody opens the app.
    t.customer_writes(NUMBER, CUSTOMER, "Hallo?").await;
    t.settle().await;
    let sent = t.send(&client, CUSTOMER, json!({ "text": { "body": "Ja?" } }), "k").await;
    assert_eq!(sent["userErrors"], json!([]), "{sent:#}");
    t.settle().await;
    let now = app(&t, &client).await;
    assert_eq!((&now["basis"], &now["daysLeft"]), (&json!("CONNECTION"), &json!(10)));

    let query = "subscription($after: EventCursor) { outgoingMessages(after: $after) { message { text } } }";
    let mut outgoing = t.subscribe(query, json!({})).await;
    t.app_writes(NUMBER, CUSTOMER, "Ich bin da.").await;
    outgoing.next().await;
    let now = app(&t, &client).await;
    assert_eq!(
        (&now["basis"], &now["risk"], &now["daysLeft"]),
        (&json!("OUTGOING_MESSAGE"), &json!("NONE"), &json!(20))
    );
    t.advance_clock(9 * DAY).await;
    assert_eq!(due(&mut visits).await["days"], 9, "the steps begin anew");

    let input = json!({ "phoneNumber": NUMBER, "contact": CUSTOMER, "fullName": "Anna" });
    t.act("changeContact", input).await;
    t.settle().await;
    let now = app(&t, &client).await;
    assert_eq!(
        (&now["basis"], &now["daysLeft"], &now["daysLeftMeta"]),
        (&json!("CONTACT_CHANGE"), &json!(20), &json!(14))
    );
    t.advance_clock(15 * DAY).await;
    assert_eq!(due(&mut visits).await["days"], 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn r16_who_is_not_connected_need_not_visit() {
    let t = Tandem::new().await;
    let gone = t.connected(OTHER).await;
    let client = t.connected(NUMBER).await;
    t.disconnect(OTHER, "ACCOUNT_DISCONNECTED", "USER").await;
    t.settle().await;
    let before = t.cursor().await;
    let mut visits = visits(&t).await;
    t.advance_clock(9 * DAY).await;
    assert_eq!(due(&mut visits).await["client"]["id"], json!(client));
    t.advance_clock(3 * DAY).await;
    assert_eq!(due(&mut visits).await["client"]["id"], json!(client));
    assert_eq!(t.told(&before, &["APP_VISIT_DUE"], "... on Event { client { id } }").await.len(), 2);

    // The way back is a sign of life.
    t.imported(OTHER, true, json!({ "clientId": gone, "history": "NEVER" })).await;
    let now = app(&t, &gone).await;
    assert_eq!(
        (&now["basis"], &now["daysLeft"], &now["risk"]),
        (&json!("CONNECTION"), &json!(20), &json!("NONE"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r16_the_days_are_settings() {
    let settings = [
        ("TANDEM_PRESENCE_DUE_DAYS", "2,4"),
        ("TANDEM_META_APP_VISIT_DAYS", "6"),
        ("TANDEM_META_APP_VISIT_DAYS_META", "3"),
    ];
    let t = Tandem::with(&settings).await;
    let client = t.connected(NUMBER).await;
    let mut visits = visits(&t).await;
    t.advance_clock(2 * DAY).await;
    let told = due(&mut visits).await;
    assert_eq!((&told["days"], &told["daysLeft"], &told["daysLeftMeta"]), (&json!(2), &json!(4), &json!(1)));
    t.advance_clock(2 * DAY).await;
    assert_eq!(due(&mut visits).await["days"], 4);
    t.advance_clock(2 * DAY).await;
    assert_eq!(app(&t, &client).await["risk"], "OVERDUE");
}

/// However many clients are between two steps: a round looks at those that are due.
#[tokio::test(flavor = "multi_thread")]
async fn r16_those_whose_time_has_not_come_hide_nobody() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let mut visits = visits(&t).await;
    let silent = t.client_row(&client).await;
    let told_already = (0..300).map(|n| entity::client::Model {
        id: ClientId::generate(),
        // Before the one that is due, in any order by ids or by time.
        last_seen_at: silent.last_seen_at.map(|at| at.plus_seconds(-DAY)),
        visit_raised_days: 9,
        phone_number: Some(format!("+4915129{n:06}")),
        temporary_number: format!("+972579{n:06}"),
        phone_number_id: Some(format!("9{n:06}")),
        ..silent.clone()
    });
    t.put_client_rows(told_already.collect()).await;
    t.advance_clock(9 * DAY).await;
    assert_eq!(due(&mut visits).await["client"]["id"], json!(client));
}

/// What a bot sends through the API says nothing of the phone, also where WhatsApp echoes it.
#[tokio::test(flavor = "multi_thread")]
async fn r16_an_echo_of_an_api_message_is_no_sign_of_life() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    t.time_passes(5 * DAY).await;
    t.customer_writes(NUMBER, CUSTOMER, "Hallo").await;
    t.settle().await;
    t.act("trouble", json!({ "echoBeforeAnswer": 1.0 })).await;
    t.sent(&client, CUSTOMER, "Vom Bot").await;
    t.settle().await;
    assert_eq!(app(&t, &client).await["basis"], "CONNECTION");
    t.app_writes(NUMBER, CUSTOMER, "Vom Telefon").await;
    t.settle().await;
    assert_eq!(app(&t, &client).await["basis"], "OUTGOING_MESSAGE");
    let payload = t.mutate("confirmAppVisit", json!({ "clientId": client }), "client { id }").await;
    assert_eq!(payload["userErrors"], json!([]));
}

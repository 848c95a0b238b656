//! The journey of the README, from a link to a live conversation.

use serde_json::json;

use crate::harness::Tandem;

const EVENTS: &str = "subscription($after: EventCursor) { events(after: $after) { __typename
    ... on Event { type client { id } }
    ... on IncomingMessageEvent { message { text } }
    ... on OutgoingMessageEvent { message { text origin } } } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_connected_its_past_arrives_and_both_sides_chat_live() {
    let t = Tandem::new().await;
    t.phone("+4915120000001", 25, 240).await;
    let mut events = t.subscribe(EVENTS, json!({})).await;
    let client = t.connect("+4915120000001", true, json!({})).await;
    events.until(|data| data["events"]["type"] == "CLIENT_CONNECTED").await;
    t.open_app("+4915120000001").await;
    t.settle().await;

    let query = "query($id: ID!) { client(id: $id) { status phoneNumber phoneNumberIsTemporary displayName
        historySync { state percent items } contactSync { state items } sendLimit { messagesPerSecond queued } } }";
    let data = t.data(query, json!({ "id": client })).await;
    assert_eq!(data["client"]["status"], "CONNECTED");
    assert_eq!(data["client"]["phoneNumber"], "+4915120000001");
    assert_eq!(data["client"]["phoneNumberIsTemporary"], false);
    assert_eq!(data["client"]["historySync"]["state"], "DONE", "{data:#}");
    assert_eq!(data["client"]["historySync"]["items"], 240);
    assert_eq!(data["client"]["contactSync"]["state"], "DONE");
    assert_eq!(data["client"]["contactSync"]["items"], 25);

    t.customer_writes("+4915120000001", "+4915770000001", "Habt ihr offen?").await;
    let heard = events.until(|data| data["events"]["__typename"] == "IncomingMessageEvent").await;
    assert_eq!(heard["events"]["message"]["text"], "Habt ihr offen?");

    let sent =
        t.send(&client, "+49 1577 0000001", json!({ "text": { "body": "Ja, bis acht." } }), "k1").await;
    assert_eq!(sent["userErrors"], json!([]), "{sent:#}");
    events.until(|data| data["events"]["type"] == "MESSAGE_STATUS").await;

    t.app_writes("+4915120000001", "+4915770000001", "Und sonntags ab zehn!").await;
    let heard = events.until(|data| data["events"]["__typename"] == "OutgoingMessageEvent").await;
    assert_eq!(heard["events"]["message"]["origin"], "APP");
}

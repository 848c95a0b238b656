//! What is written in the app while the API writes to the same person: R6.

use serde_json::{Value, json};

use crate::harness::Tandem;

const NUMBER: &str = "+4915120000801";
const CUSTOMER: &str = "+4915770000801";

#[tokio::test(flavor = "multi_thread")]
async fn r06_a_message_of_the_app_waits_for_a_send_that_says_the_same_and_no_longer() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    t.customer_writes(NUMBER, CUSTOMER, "Hallo?").await;
    t.settle().await;
    let before = t.cursor().await;
    let query = "subscription($after: EventCursor) { events(after: $after) { ... on Event { type }
        ... on MessageStatusEvent { status } ... on OutgoingMessageEvent { message { text origin } } } }";
    let mut events = t.subscribe(query, json!({})).await;
    let slow = json!({ "input": { "graphSlowMs": 3_000 } });
    t.simulate("mutation($input: TroubleInput!) { trouble(input: $input) }", slow).await;
    let sent = t.send(&client, CUSTOMER, json!({ "text": { "body": "Bis gleich!" } }), "k").await;
    assert_eq!(sent["userErrors"], json!([]), "{sent:#}");
    t.leaves(&sent).await;
    // While that is on the wire nobody can say that this is not its echo.
    t.app_writes(NUMBER, CUSTOMER, "Bis  gleich! ").await;
    // But this is not.
    t.app_writes(NUMBER, CUSTOMER, "from the app").await;
    let outgoing = |data: &Value| data["events"]["type"] == "MESSAGE_OUTGOING";
    let heard = events.until(|data| outgoing(data) || data["events"]["status"].is_string()).await;
    assert_eq!(heard["events"]["message"], json!({ "text": "from the app", "origin": "APP" }), "at once");
    // The answer, or the status that overtook it.
    events.until(|data| data["events"]["status"].is_string()).await;
    let heard = events.until(outgoing).await;
    assert_eq!(heard["events"]["message"], json!({ "text": "Bis  gleich! ", "origin": "APP" }));
    t.settle().await;
    let texts: Vec<Value> = t.history(&client, "text origin").await;
    assert_eq!(texts.len(), 4, "{texts:#?}");
    let told = t.told(&before, &["MESSAGE_OUTGOING", "MESSAGE_MERGED"], "... on Event { type }").await;
    assert_eq!(told, vec![json!({ "type": "MESSAGE_OUTGOING" }); 2]);
}

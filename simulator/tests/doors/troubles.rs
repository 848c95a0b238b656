//! Trouble on purpose.

use crate::harness::{ANNA, SHOP, Town, code};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test]
async fn webhooks_come_twice_overtake_each_other_and_lack_what_is_optional() {
    let (town, _line) = Town::with_shop(json!({})).await;
    town.heard("account_update").await;
    town.trouble(json!({ "duplicateWebhooks": 1.0, "dropOptionalFields": 1.0, "shuffleWebhooks": true }))
        .await;
    for n in 0..40 {
        town.write("writeAsCustomer", json!({ "text": n.to_string() })).await;
    }
    let heard = town.heard("messages").await;
    assert_eq!(heard.len(), 80);
    let texts: Vec<u32> =
        heard.iter().map(|v| v["messages"][0]["text"]["body"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), 40);
    assert!(!texts.is_sorted());
    for value in &heard {
        let message = &value["messages"][0];
        assert!(
            value.get("contacts").is_none()
                && message.get("from").is_none()
                && message["from_user_id"].is_string()
        );
    }
    town.trouble(json!({})).await;
    town.write("writeAsCustomer", json!({ "text": "ruhig" })).await;
    assert_eq!(town.heard("messages").await.len(), 1);
}

#[tokio::test]
async fn unknown_things_stand_beside_the_known_ones() {
    let (town, _line) = Town::with_shop(json!({ "messages": 40 })).await;
    town.trouble(json!({ "unknownFields": 1.0 })).await;
    for n in 0..20 {
        town.write("writeAsCustomer", json!({ "text": n.to_string() })).await;
    }
    town.settle().await;
    let changes: Vec<_> = town.posted().iter().flat_map(|p| p.changes()).collect();
    assert_eq!(changes.iter().filter(|(_, v)| v["messages"][0]["text"].is_object()).count(), 20);
    assert!(changes.iter().any(|(field, _)| field == "nebula_update"));
    assert!(changes.iter().any(|(_, value)| value["event"] == "ACCOUNT_DRIFTED"));
}

#[tokio::test]
async fn a_second_id_names_the_same_message() {
    let (town, line) = Town::with_shop(json!({})).await;
    let written = town.write("writeAsCustomer", json!({ "text": "Eins" })).await;
    assert_eq!(town.heard("messages").await[0]["messages"][0]["id"], written["id"]);
    town.trouble(json!({ "secondIds": 1.0 })).await;
    town.act("delete", "MessageRef", json!({ "phoneNumber": SHOP, "messageId": written["id"] }), "{ id }")
        .await;
    let heard = town.heard("messages").await;
    let second = heard[0]["messages"][0]["revoke"]["original_message_id"].clone();
    assert_ne!(second, written["id"]);
    let (status, _) = town.send(&line, json!({ "status": "read", "message_id": second })).await;
    assert_eq!(status, 200);
    let (_, answer) = town.send_text(&line, "Zwei").await;
    let heard = town.heard("messages").await;
    assert_ne!(heard[0]["statuses"][0]["id"], answer["messages"][0]["id"]);
}

#[tokio::test]
async fn sends_fail_in_three_ways() {
    let (town, line) = Town::with_shop(json!({})).await;
    town.write("writeAsCustomer", json!({ "text": "Los" })).await;
    town.heard("messages").await;
    town.trouble(json!({ "sendFails": 1.0 })).await;
    let failed = town.send_text(&line, "a").await;
    assert_eq!((failed.0, failed.1.get("error")), (500, None));
    town.trouble(json!({ "sendRateLimited": 1.0 })).await;
    assert_eq!(code(&town.send_text(&line, "b").await), 130_429);
    assert!(town.heard("messages").await.is_empty());

    town.trouble(json!({ "sendTimesOutAfterAccepting": 1.0 })).await;
    let impatient =
        reqwest::ClientBuilder::new().no_proxy().timeout(Duration::from_millis(200)).build().unwrap();
    let body = json!({ "messaging_product": "whatsapp", "to": ANNA, "type": "text", "text": { "body": "c" },
        "biz_opaque_callback_data": "job-c" });
    let url = format!("{}/v25.0/{}/messages", town.url(), line.id);
    let lost = impatient.post(url).bearer_auth(&line.token).json(&body).send().await;
    assert!(lost.unwrap_err().is_timeout());
    let heard = town.heard("messages").await;
    assert_eq!(heard[0]["statuses"][0]["biz_opaque_callback_data"], "job-c");
    let query = "query($n: PhoneNumber!) { arrivals(phoneNumber: $n) { text accepted } }";
    assert_eq!(
        town.door(query, json!({ "n": SHOP })).await["arrivals"],
        json!([
        { "text": "a", "accepted": false }, { "text": "b", "accepted": false }, { "text": "c", "accepted": true }])
    );
    let wrong = town.ask("mutation { trouble(input: { sendFails: 1.5 }) }", json!({})).await;
    assert!(wrong["errors"][0]["message"].as_str().unwrap().contains("sendFails"));
}

#[tokio::test]
async fn an_echo_can_come_before_the_answer() {
    let (town, line) = Town::with_shop(json!({})).await;
    town.write("writeAsCustomer", json!({ "text": "Los" })).await;
    town.heard("messages").await;
    town.trouble(json!({ "echoBeforeAnswer": 1.0, "pairLimit": true })).await;
    let (_, answer) = town.send_text(&line, "Erst das Echo").await;
    // It has been taken by the time of the answer.
    let changes: Vec<(String, Value)> = town.posted().iter().flat_map(|p| p.changes()).collect();
    assert_eq!(changes[0].0, "smb_message_echoes");
    assert_eq!(changes[0].1["message_echoes"][0]["id"], answer["messages"][0]["id"]);
    assert_eq!(town.heard("messages").await[0]["statuses"][0]["status"], "sent");
    assert_eq!(code(&town.send_text(&line, "Zu schnell").await), 131_056);
}

#[tokio::test]
async fn delayed_webhooks_are_late() {
    let (town, _line) = Town::with_shop(json!({})).await;
    town.heard("account_update").await;
    town.trouble(json!({ "delayWebhooksMs": 150, "graphSlowMs": 1 })).await;
    let before = std::time::Instant::now();
    town.write("writeAsCustomer", json!({ "text": "spät" })).await;
    assert!(town.posted().is_empty());
    assert_eq!(town.heard("messages").await.len(), 1);
    assert!(before.elapsed() >= Duration::from_millis(150));
}

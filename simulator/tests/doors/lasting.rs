//! What lasts: refused webhooks, and the world after a restart.

use crate::harness::{ANNA, SHOP, Town};
use serde_json::{Value, json};

#[tokio::test]
async fn a_refused_webhook_comes_again_in_its_place() {
    let (town, _line) = Town::with_shop(json!({})).await;
    town.heard("account_update").await;
    town.answer_with(&[503]);
    for text in ["eins", "zwei", "drei"] {
        town.write("writeAsCustomer", json!({ "text": text })).await;
    }
    let left = town.door("mutation { settle(timeoutSeconds: 0) }", json!({})).await;
    assert!(left["settle"].as_i64().unwrap() > 0);
    town.settle().await;
    assert_eq!(town.posted()[0].status, 503);
    let texts: Vec<Value> =
        town.heard("messages").await.iter().map(|v| v["messages"][0]["text"]["body"].clone()).collect();
    assert_eq!(texts, ["eins", "zwei", "drei"]);
}

#[tokio::test]
async fn the_world_and_what_is_due_survive_a_restart() {
    let (mut town, line) = Town::with_shop(json!({ "contacts": 4, "messages": 60 })).await;
    town.heard("account_update").await;
    let question = town.write("writeAsCustomer", json!({ "text": "Noch da?" })).await;
    assert_eq!(town.send_text(&line, "Ja").await.0, 200);
    town.door("mutation { advanceClock(seconds: 3600) }", json!({})).await;
    town.heard("messages").await;
    let before = town.messages().await;
    town.answer_with(&[500, 500, 500, 500]);
    town.write("writeFromApp", json!({ "text": "Gleich" })).await;
    assert_eq!(town.sync(&line, "history").await.0, 200);
    town.until(|posted| !posted.is_empty()).await;

    town.restart().await;
    town.answer_with(&[]);
    let after = town.messages().await;
    assert_eq!(after[1..], before[..]);
    let app = town.door("{ development { appId appSecret graphVersion } }", json!({})).await;
    assert_eq!(
        app["development"],
        json!({ "appId": town.app_id, "appSecret": town.app_secret, "graphVersion": "v25.0" })
    );
    town.act("openApp", "PhoneRef", json!({ "phoneNumber": SHOP }), "{ app }").await;
    town.settle().await;
    let posted = town.posted();
    assert!(posted.iter().any(|p| p.offset == 3_600_000));
    let changes: Vec<_> = posted.iter().filter(|p| p.status == 200).flat_map(|p| p.changes()).collect();
    let echoes: Vec<_> = changes.iter().filter(|(field, _)| field == "smb_message_echoes").collect();
    assert_eq!(echoes[0].1["message_echoes"][0]["text"]["body"], "Gleich");
    assert!(changes.iter().filter(|(_, value)| value.get("history").is_some()).count() >= 3);

    let query = "query($n: PhoneNumber!) { arrivals(phoneNumber: $n) { text } }";
    assert_eq!(town.door(query, json!({ "n": SHOP })).await["arrivals"], json!([{ "text": "Ja" }]));
    // The token, the window and the message ids still work, and a sync stays asked for.
    assert_eq!(town.send_text(&line, "Weiter").await.0, 200);
    assert_eq!(town.sync(&line, "history").await.0, 400);
    town.write("writeFromApp", json!({ "with": ANNA, "text": "Gern", "replyTo": question["id"] })).await;
    assert_eq!(
        town.heard("smb_message_echoes").await.last().unwrap()["message_echoes"][0]["text"]["body"],
        "Gern"
    );
}

#[tokio::test]
async fn what_was_answered_is_on_disk_even_if_the_process_is_killed() {
    let (mut town, line) = Town::with_shop(json!({})).await;
    town.heard("account_update").await;
    town.answer_with(&[500; 9]);
    let written = town.write("writeAsCustomer", json!({ "text": "Gerade noch" })).await;
    let (_, sent) = town.send_text(&line, "Angekommen").await;
    // A copy of the files, taken while the simulator runs, is what a killed process leaves.
    let left = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(town.dir.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), left.path().join(file.file_name())).unwrap();
    }
    town.dir = left;
    town.restart().await;
    town.answer_with(&[]);
    let ids: Vec<Value> = town.messages().await.iter().map(|m| m["id"].clone()).collect();
    assert_eq!(ids, [sent["messages"][0]["id"].clone(), written["id"].clone()]);
    let heard = town.heard("messages").await;
    assert_eq!(heard[0]["messages"][0]["id"], written["id"]);
    assert_eq!(heard[1]["statuses"][0]["id"], sent["messages"][0]["id"]);
}

#[tokio::test]
async fn a_callback_that_is_set_again_gets_what_is_due_at_once() {
    let (town, _line) = Town::with_shop(json!({})).await;
    town.heard("account_update").await;
    town.answer_with(&[500]);
    let before = std::time::Instant::now();
    town.write("writeAsCustomer", json!({ "text": "eins" })).await;
    town.until(|posted| !posted.is_empty()).await;
    // The refusal has been noted once the line stands still; the callback is set until then and after.
    while town.posted().len() < 2 && before.elapsed().as_millis() < 900 {
        town.listen().await;
    }
    assert!(before.elapsed().as_millis() < 900);
}

#[tokio::test]
async fn the_same_seed_makes_the_same_past() {
    let (one, two) = (Town::new().await, Town::new().await);
    let query = "query($n: PhoneNumber!) { phone(phoneNumber: $n) { contacts { phoneNumber fullName }
        messages(first: 1000) { id from to text status madeBy group media } } }";
    let past = json!({ "contacts": 12, "messages": 150, "groups": 2, "seed": 42 });
    one.create(SHOP, past.clone()).await;
    two.create(SHOP, past).await;
    let (first, second) =
        (one.door(query, json!({ "n": SHOP })).await, two.door(query, json!({ "n": SHOP })).await);
    assert_eq!(first, second);
    assert_eq!(first["phone"]["contacts"].as_array().unwrap().len(), 12);
    let messages = first["phone"]["messages"].as_array().unwrap();
    assert_eq!(messages.iter().filter(|m| m["group"].is_null()).count(), 150);
    assert!(messages.iter().any(|m| !m["group"].is_null()) && messages.iter().any(|m| m["media"] == "image"));
}

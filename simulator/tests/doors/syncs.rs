//! Contact sync and history sync.

use crate::harness::{SHOP, Town, code};
use chrono::DateTime;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

/// The messages of history chunks, by phase.
fn threads(chunks: &[Value]) -> HashMap<u64, Vec<Value>> {
    let mut found: HashMap<u64, Vec<Value>> = HashMap::new();
    for chunk in chunks.iter().flat_map(|value| value["history"].as_array().cloned().unwrap_or_default()) {
        let phase = chunk["metadata"]["phase"].as_u64().unwrap();
        for thread in chunk["threads"].as_array().unwrap() {
            found.entry(phase).or_default().extend(thread["messages"].as_array().unwrap().clone());
        }
    }
    found
}

#[tokio::test]
async fn contacts_come_in_bulk_and_then_on_each_change() {
    let (town, line) = Town::with_shop(json!({ "contacts": 30, "messages": 30 })).await;
    assert!(town.heard("smb_app_state_sync").await.is_empty());
    let (status, answer) = town.sync(&line, "smb_app_state_sync").await;
    assert_eq!((status, answer["request_id"].is_string()), (200, true));
    let heard = town.heard("smb_app_state_sync").await;
    let added: Vec<_> = heard.iter().flat_map(|value| value["state_sync"].as_array().unwrap()).collect();
    assert_eq!(added.len(), 30);
    assert!(added.iter().all(|item| item["action"] == "add" && item["contact"]["full_name"].is_string()));

    let contact = "+905550000001";
    let input = json!({ "phoneNumber": SHOP, "contact": contact, "fullName": "Ayşe Kaya" });
    town.act("changeContact", "ChangeContactInput", input, "{ app }").await;
    let input = json!({ "phoneNumber": SHOP, "contact": contact, "fullName": null });
    town.act("changeContact", "ChangeContactInput", input, "{ app }").await;
    let heard = town.heard("smb_app_state_sync").await;
    let changes: Vec<_> = heard.iter().map(|value| &value["state_sync"][0]).collect();
    assert_eq!((&changes[0]["action"], &changes[1]["action"]), (&json!("add"), &json!("remove")));
    assert_eq!(changes[0]["contact"]["first_name"], "Ayşe");
    assert_eq!(changes[1]["contact"].get("full_name"), None);
    let at = |change: &Value| change["metadata"]["timestamp"].as_str().unwrap().parse::<i64>().unwrap();
    assert!(at(changes[0]) < at(changes[1]));
    assert!(at(changes[0]) >= added.iter().map(|item| at(item)).max().unwrap());
}

#[tokio::test]
async fn each_sync_is_asked_for_once_within_a_day() {
    let (town, line) = Town::with_shop(json!({})).await;
    assert_eq!(town.sync(&line, "history").await.0, 200);
    let again = town.sync(&line, "history").await;
    assert_eq!((again.0, code(&again)), (400, 2_593_107));
    town.door("mutation { advanceClock(seconds: 86402) }", json!({})).await;
    let late = town.sync(&line, "smb_app_state_sync").await;
    assert_eq!((late.0, code(&late)), (400, 2_593_108));
    assert_eq!(code(&town.sync(&line, "everything").await), 100);
}

#[tokio::test]
async fn history_comes_in_phases_out_of_order_and_only_180_days_of_it() {
    let past = json!({ "contacts": 20, "messages": 2000, "groups": 2, "days": 300, "seed": 7 });
    let (town, line) = Town::with_shop(past).await;
    town.act("openApp", "PhoneRef", json!({ "phoneNumber": SHOP }), "{ app }").await;
    assert_eq!(town.sync(&line, "history").await.0, 200);
    let heard = town.heard("history").await;
    let chunks: Vec<Value> = heard.iter().filter(|value| value.get("history").is_some()).cloned().collect();
    let order: Vec<(u64, u64, u64)> = chunks
        .iter()
        .map(|value| &value["history"][0]["metadata"])
        .map(|m| {
            (
                m["phase"].as_u64().unwrap(),
                m["chunk_order"].as_u64().unwrap(),
                m["progress"].as_u64().unwrap(),
            )
        })
        .collect();
    assert!(order.len() >= 3, "{order:?}");
    assert!(!order.is_sorted(), "{order:?}");
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert!(sorted.is_sorted_by_key(|(.., progress)| *progress));
    assert_eq!(sorted.last().unwrap().2, 100);
    assert_eq!(sorted.iter().filter(|(.., progress)| *progress == 100).count(), 1);

    let all = town.messages().await;
    let newest = DateTime::parse_from_rfc3339(all[0]["at"].as_str().unwrap()).unwrap().timestamp();
    let shared: BTreeSet<&str> = all
        .iter()
        .filter(|m| m["group"].is_null())
        .filter(|m| {
            let at = DateTime::parse_from_rfc3339(m["at"].as_str().unwrap()).unwrap().timestamp();
            newest - at < 179 * 86_400
        })
        .map(|m| m["id"].as_str().unwrap())
        .collect();
    let phases = threads(&chunks);
    let told: Vec<&Value> = phases.values().flatten().collect();
    let ids: BTreeSet<&str> = told.iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), told.len());
    assert!(
        shared.is_subset(&ids) && ids.len() < 2000 && phases.len() == 3,
        "{} {}",
        shared.len(),
        ids.len()
    );
    for (phase, (from, to)) in [(0, (-1.0, 1.0)), (1, (1.0, 90.0)), (2, (90.0, 180.01))] {
        for message in &phases[&phase] {
            let at: i64 = message["timestamp"].as_str().unwrap().parse().unwrap();
            let age = (newest - at) as f64 / 86_400.0;
            // The newest message is a little older than the signup.
            assert!(age >= from - 0.2 && age <= to, "{phase} {age}");
        }
    }

    // Files of the last 14 days follow under their placeholders' ids.
    let placeholders: BTreeSet<&str> =
        told.iter().filter(|m| m["type"] == "media_placeholder").map(|m| m["id"].as_str().unwrap()).collect();
    let mut files = 0;
    for value in heard.iter().filter(|value| value.get("history").is_none()) {
        for list in ["messages", "message_echoes"] {
            for file in value[list].as_array().into_iter().flatten() {
                assert!(placeholders.contains(file["id"].as_str().unwrap()));
                let kind = file["type"].as_str().unwrap();
                let (status, found) =
                    town.graph("GET", file[kind]["id"].as_str().unwrap(), &line.token, None).await;
                assert_eq!((status, &found["sha256"]), (200, &file[kind]["sha256"]));
                files += 1;
            }
        }
    }
    assert!(files > 0 && files < placeholders.len());
}

#[tokio::test]
async fn chunks_come_slowly_until_the_app_is_opened_and_live_traffic_goes_on() {
    let (town, line) = Town::with_shop(json!({ "contacts": 5, "messages": 300 })).await;
    assert_eq!(town.sync(&line, "history").await.0, 200);
    town.write("writeAsCustomer", json!({ "text": "Mitten hinein" })).await;
    town.until(|posted| posted.iter().flat_map(|p| p.changes()).any(|(field, _)| field == "messages")).await;
    let chunks = |posted: &[crate::harness::Posted]| {
        posted.iter().flat_map(|p| p.changes()).filter(|(field, _)| field == "history").count()
    };
    assert_eq!(chunks(&town.posted()), 1);
    town.act("openApp", "PhoneRef", json!({ "phoneNumber": SHOP }), "{ app }").await;
    assert!(town.heard("history").await.len() >= 3);
}

#[tokio::test]
async fn who_does_not_share_says_so_once() {
    let town = Town::new().await;
    town.create(SHOP, json!({ "contacts": 5, "messages": 100 })).await;
    town.listen().await;
    let line = town.connect(SHOP, false).await;
    assert_eq!(town.sync(&line, "history").await.0, 200);
    let heard = town.heard("history").await;
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0]["history"][0]["errors"][0]["code"], 2_593_109);
}

#[tokio::test]
async fn a_sync_without_a_subscription_is_lost() {
    let (town, line) = Town::with_shop(json!({ "contacts": 5, "messages": 50 })).await;
    town.graph("DELETE", &format!("{}/subscribed_apps", line.waba), &line.token, None).await;
    assert_eq!(town.sync(&line, "history").await.0, 200);
    town.graph("POST", &format!("{}/subscribed_apps", line.waba), &line.token, None).await;
    town.door("mutation { subscribeFields(fields: [\"messages\", \"history\"]) }", json!({})).await;
    assert_eq!(town.sync(&line, "smb_app_state_sync").await.0, 200);
    town.settle().await;
    assert!(town.posted().iter().flat_map(|p| p.changes()).all(|(field, _)| field == "account_update"));
    let path = format!("{}/subscriptions", town.app_id);
    let (_, told) = town.graph("GET", &path, &town.app_token(), None).await;
    let names: Vec<_> =
        told["data"][0]["fields"].as_array().unwrap().iter().map(|f| f["name"].clone()).collect();
    assert_eq!(names, ["history", "messages"]);
}

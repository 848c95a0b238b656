//! Templates, who wants marketing, and what messages cost, as Meta tells it.

use serde_json::{Value, json};

use crate::harness::{ANNA, BEN, Line, SHOP, Town, code};

fn body(text: &str, examples: &[&str]) -> Value {
    json!([{ "type": "BODY", "text": text, "example": { "body_text": [examples] } }])
}

async fn create(town: &Town, line: &Line, name: &str, components: Value) -> (u16, Value) {
    let template = json!({ "name": name, "language": "de", "category": "UTILITY", "components": components });
    town.graph("POST", &format!("{}/message_templates", line.waba), &line.token, Some(template)).await
}

async fn change(town: &Town, what: Value) {
    let mut input = json!({ "phoneNumber": SHOP, "name": "weekly_offer", "language": "de" });
    input.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    town.act("changeTemplate", "ChangeTemplateInput", input, "{ phoneNumber }").await;
}

#[tokio::test]
async fn templates_are_reviewed_as_the_world_says() {
    let (town, line) = Town::with_shop(json!({})).await;
    let (status, made) = create(&town, &line, "order", body("Hallo {{1}}!", &["Ada"])).await;
    assert_eq!((status, &made["status"]), (200, &json!("PENDING")), "{made}");
    let told = town.heard("message_template_status_update").await;
    assert_eq!((&told[0]["event"], &told[0]["reason"]), (&json!("APPROVED"), &json!("NONE")));
    assert_eq!(told[0]["message_template_id"].as_u64().unwrap().to_string(), made["id"].as_str().unwrap());
    let review = json!({ "outcome": "REJECTED", "reason": "SCAM" });
    town.act("reviewTemplates", "ReviewTemplatesInput", review, "").await;
    create(&town, &line, "another", body("Hallo {{1}}!", &["Ada"])).await;
    let told = town.heard("message_template_status_update").await;
    assert_eq!((&told[0]["event"], &told[0]["reason"]), (&json!("REJECTED"), &json!("SCAM")));
    assert!(told[0]["rejection_info"]["recommendation"].is_string());
    town.act("reviewTemplates", "ReviewTemplatesInput", json!({ "outcome": "PENDING" }), "").await;
    create(&town, &line, "a_third", body("Hallo {{1}}!", &["Ada"])).await;
    assert_eq!(town.heard("message_template_status_update").await, Vec::<Value>::new());
    let list = format!("{}/message_templates?fields=name,status&limit=6", line.waba);
    let (_, page) = town.graph("GET", &list, &line.token, None).await;
    assert_eq!(page["data"][5]["status"], "REJECTED", "{page}");
    assert!(page["paging"]["next"].is_string());
    let next = format!("{list}&after={}", page["paging"]["cursors"]["after"].as_str().unwrap());
    let (_, rest) = town.graph("GET", &next, &line.token, None).await;
    assert_eq!(rest["data"][0]["name"], "a_third");
    assert!(rest["paging"].get("next").is_none());
}

#[tokio::test]
async fn what_meta_refuses_to_review_is_told_with_its_subcode() {
    let (town, line) = Town::with_shop(json!({})).await;
    for (name, components, subcode) in [
        ("Order", body("Hallo", &[]), Value::Null),
        ("a", json!([{ "type": "FOOTER", "text": "x" }]), Value::Null),
        ("a", body("", &[]), json!(2_388_072)),
        ("a", body("Hallo {{1}}!", &[]), json!(2_388_072)),
        ("a", body("{{1}} Hallo", &["x"]), json!(2_388_299)),
        ("a", body(&"x".repeat(1025), &[]), json!(2_388_040)),
        ("weekly_offer", body("Hallo", &[]), json!(2_388_024)),
    ] {
        let answer = create(&town, &line, name, components).await;
        assert_eq!((code(&answer), &answer.1["error"]["error_subcode"]), (100, &subcode), "{answer:?}");
        assert_eq!(answer.1["error"]["error_user_msg"].is_string(), !subcode.is_null());
    }
    let gone = format!("{}/message_templates?name=nothing", line.waba);
    assert_eq!(code(&town.graph("DELETE", &gone, &line.token, None).await), 100);
}

#[tokio::test]
async fn each_change_of_a_template_has_its_webhook() {
    let (town, line) = Town::with_shop(json!({})).await;
    town.settle().await;
    change(&town, json!({ "quality": "RED" })).await;
    let told = town.heard("message_template_quality_update").await;
    assert_eq!(
        (&told[0]["previous_quality_score"], &told[0]["new_quality_score"]),
        (&json!("UNKNOWN"), &json!("RED"))
    );
    change(&town, json!({ "upcomingCategory": "UTILITY" })).await;
    let told = town.heard("template_category_update").await;
    assert_eq!(
        (&told[0]["new_category"], &told[0]["correct_category"]),
        (&json!("MARKETING"), &json!("UTILITY"))
    );
    change(&town, json!({ "category": "UTILITY" })).await;
    let told = town.heard("template_category_update").await;
    assert_eq!(
        (&told[0]["previous_category"], &told[0]["new_category"]),
        (&json!("MARKETING"), &json!("UTILITY"))
    );
    change(&town, json!({ "body": "Hallo {{1}}, {{2}}." })).await;
    let told = town.heard("message_template_components_update").await;
    assert_eq!(told[0]["message_template_element"], "Hallo {{1}}, {{2}}.");
    // What is not approved is not sent, and Meta says why.
    let words = |text: &str| json!({ "type": "text", "text": text });
    let offer = json!({ "type": "template", "template": { "name": "weekly_offer", "language": { "code": "de" },
        "components": [{ "type": "body", "parameters": [words("Ada"), words("20")] }] } });
    for (status, expected) in [("PAUSED", 132_015), ("DISABLED", 132_016), ("REJECTED", 132_001)] {
        change(&town, json!({ "status": status })).await;
        assert_eq!(code(&town.send(&line, offer.clone()).await), expected);
    }
    change(&town, json!({ "status": "APPROVED" })).await;
    assert_eq!(town.send(&line, offer).await.0, 200);
}

#[tokio::test]
async fn whoever_stopped_marketing_gets_none() {
    let (town, line) = Town::with_shop(json!({})).await;
    let words = |text: &str| json!({ "type": "text", "text": text });
    let offer = json!({ "type": "template", "template": { "name": "weekly_offer", "language": { "code": "de" },
        "components": [{ "type": "body", "parameters": [words("Ada"), words("20")] }] } });
    let plain =
        json!({ "type": "template", "template": { "name": "hello_world", "language": { "code": "en_US" } } });
    let set = async |wanted: bool| {
        let input = json!({ "phoneNumber": SHOP, "customer": ANNA, "wanted": wanted });
        town.act("setMarketing", "SetMarketingInput", input, "{ phoneNumber }").await;
        let told = town.heard("user_preferences").await;
        told[0]["user_preferences"][0].clone()
    };
    let stop = set(false).await;
    assert_eq!((&stop["value"], &stop["wa_id"]), (&json!("stop"), &json!(&ANNA[1..])));
    assert_eq!(code(&town.send(&line, offer.clone()).await), 131_050);
    assert_eq!(town.send(&line, plain).await.0, 200, "all else reaches them");
    let mut other = offer.clone();
    other["to"] = json!(BEN);
    assert_eq!(town.send(&line, other).await.0, 200);
    let resume = set(true).await;
    assert!(resume["timestamp"].as_i64() > stop["timestamp"].as_i64(), "{resume} {stop}");
    assert_eq!(town.send(&line, offer).await.0, 200);
}

#[tokio::test]
async fn prices_follow_the_rules_that_were_set() {
    let (town, line) = Town::with_shop(json!({})).await;
    town.write("writeAsCustomer", json!({ "text": "Hallo" })).await;
    let plain =
        json!({ "type": "template", "template": { "name": "hello_world", "language": { "code": "en_US" } } });
    for (rules, text, template) in [
        (
            json!({ "rules": "BEFORE_OCTOBER_2026" }),
            (Some(false), "free_customer_service"),
            (Some(false), "free_customer_service"),
        ),
        (
            json!({ "rules": "SINCE_OCTOBER_2026" }),
            (Some(false), "free_customer_service"),
            (Some(true), "regular"),
        ),
        (
            json!({ "rules": "SINCE_OCTOBER_2026", "freeServices": 0, "tellsBillable": false }),
            (None, "regular"),
            (None, "regular"),
        ),
    ] {
        town.act("setPrices", "SetPricesInput", rules.clone(), "").await;
        town.heard("messages").await;
        town.send_text(&line, "Hallo").await;
        town.send(&line, plain.clone()).await;
        let told: Vec<(Option<bool>, String)> = town
            .heard("messages")
            .await
            .iter()
            .map(|value| {
                let pricing = &value["statuses"][0]["pricing"];
                (pricing["billable"].as_bool(), pricing["type"].as_str().unwrap().to_owned())
            })
            .collect();
        let expected = [text, template].map(|(billable, kind)| (billable, kind.to_owned()));
        assert_eq!(told, expected, "{rules}");
    }
}

//! What the service sends.

use crate::harness::{ANNA, BEN, SHOP, Town, code};
use serde_json::{Value, json};

async fn arrivals(town: &Town) -> Vec<Value> {
    let query =
        "query($n: PhoneNumber!) { arrivals(phoneNumber: $n) { at to type text callbackData accepted } }";
    town.door(query, json!({ "n": SHOP })).await["arrivals"].as_array().unwrap().clone()
}

async fn sees(town: &Town, id: &Value, status: &str) -> Value {
    let input = json!({ "phoneNumber": SHOP, "messageId": id, "status": status });
    town.act("customerSees", "SeesInput", input, "{ status }").await["status"].clone()
}

#[tokio::test]
async fn only_a_customers_live_message_opens_the_window() {
    let (town, line) = Town::with_shop(json!({ "contacts": 3, "messages": 50 })).await;
    assert_eq!(code(&town.send_text(&line, "Hallo").await), 131_047);
    town.write("writeFromApp", json!({ "text": "Aus der App" })).await;
    assert_eq!(code(&town.send_text(&line, "Hallo").await), 131_047);
    let question = town.write("writeAsCustomer", json!({ "text": "Hallo?" })).await;
    let (status, answer) = town
        .send(
            &line,
            json!({ "type": "text", "text": { "body": "Hallo" },
        "biz_opaque_callback_data": "job-1", "context": { "message_id": question["id"] } }),
        )
        .await;
    assert_eq!(status, 200);
    assert_eq!(answer["contacts"], json!([{ "input": ANNA, "wa_id": ANNA.trim_start_matches('+') }]));
    let id = &answer["messages"][0]["id"];

    // Only `sent` comes by itself.
    let statuses = |heard: Vec<Value>| -> Vec<Value> {
        heard.iter().filter_map(|v| v["statuses"].get(0).cloned()).collect()
    };
    let heard = statuses(town.heard("messages").await);
    assert_eq!(heard.len(), 1);
    assert_eq!((&heard[0]["id"], &heard[0]["status"]), (id, &json!("sent")));
    assert_eq!(heard[0]["biz_opaque_callback_data"], "job-1");
    assert_eq!(
        (&heard[0]["pricing"]["category"], &heard[0]["pricing"]["pricing_model"]),
        (&json!("service"), &json!("PMP"))
    );
    assert_eq!(sees(&town, id, "read").await, "read");
    assert_eq!(sees(&town, id, "delivered").await, "read");
    let heard = statuses(town.heard("messages").await);
    let names: Vec<_> = heard.iter().map(|s| s["status"].as_str().unwrap()).collect();
    assert_eq!(names, ["read", "delivered"]);
    assert!(heard.iter().all(|s| s["biz_opaque_callback_data"] == "job-1"));

    town.door("mutation { advanceClock(seconds: 86401) }", json!({})).await;
    assert_eq!(code(&town.send_text(&line, "Zu spät").await), 131_047);
    let told = arrivals(&town).await;
    let accepted: Vec<_> = told.iter().map(|a| a["accepted"].as_bool().unwrap()).collect();
    assert_eq!(accepted, [false, false, true, false]);
    assert_eq!(
        (&told[2]["to"], &told[2]["callbackData"], &told[2]["text"]),
        (&json!(ANNA), &json!("job-1"), &json!("Hallo"))
    );

    let path = format!("{}/message_history?message_id={}", line.id, id.as_str().unwrap());
    let (_, history) = town.graph("GET", &path, &line.token, None).await;
    let events: Vec<_> = history["data"][0]["events"]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["delivery_status"].clone())
        .collect();
    assert_eq!(events, ["SENT", "READ", "DELIVERED"]);
}

#[tokio::test]
async fn app_messages_have_statuses_unless_told_otherwise() {
    let (town, _line) = Town::with_shop(json!({})).await;
    let written = town.write("writeFromApp", json!({ "text": "Bis gleich" })).await;
    assert!(town.heard("messages").await.is_empty());
    sees(&town, &written["id"], "delivered").await;
    let heard = town.heard("messages").await;
    assert_eq!(heard[0]["statuses"][0]["id"], written["id"]);
    town.trouble(json!({ "appStatuses": false })).await;
    assert_eq!(sees(&town, &written["id"], "read").await, "read");
    assert!(town.heard("messages").await.is_empty());
    let theirs = town.write("writeAsCustomer", json!({ "text": "?" })).await;
    let input = json!({ "input": { "phoneNumber": SHOP, "messageId": theirs["id"], "status": "read" } });
    let answer = town.ask("mutation($input: SeesInput!) { customerSees(input: $input) { id } }", input).await;
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("customer's own"));
}

#[tokio::test]
async fn templates_go_out_of_the_window_and_their_parameters_count() {
    let (town, line) = Town::with_shop(json!({})).await;
    let (_, list) =
        town.graph("GET", &format!("{}/message_templates?limit=1", line.waba), &line.token, None).await;
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    let next = list["paging"]["next"].as_str().unwrap();
    let rest: Value =
        town.http.get(next).bearer_auth(&line.token).send().await.unwrap().json().await.unwrap();
    assert_ne!(rest["data"][0]["id"], list["data"][0]["id"]);

    let template = |name: &str, language: &str, parameters: Value| {
        json!({ "type": "template", "template": { "name": name, "language": { "code": language },
            "components": [{ "type": "body", "parameters": parameters }] } })
    };
    let (status, answer) = town.send(&line, template("hello_world", "en_US", json!([]))).await;
    assert_eq!((status, &answer["messages"][0]["message_status"]), (200, &json!("accepted")));
    let name = json!([{ "type": "text", "parameter_name": "first_name", "text": "Ayşe" }]);
    assert_eq!(town.send(&line, template("appointment_reminder", "de", name.clone())).await.0, 200);
    assert_eq!(code(&town.send(&line, template("appointment_reminder", "de", json!([]))).await), 132_000);
    assert_eq!(code(&town.send(&line, template("appointment_reminder", "fr", name)).await), 132_001);
    let unnamed = json!([{ "type": "text", "text": "Ayşe" }]);
    assert_eq!(code(&town.send(&line, template("appointment_reminder", "de", unnamed)).await), 132_012);
    assert!(town.messages().await[0]["text"].as_str().unwrap().starts_with("Hallo Ayşe"));

    let path = format!("{}/message_templates", line.waba);
    let made = json!({ "name": "thanks", "language": "de", "category": "MARKETING",
        "components": [{ "type": "BODY", "text": "Danke, {{1}}!", "example": { "body_text": [["Ada"]] } }] });
    let (_, answer) = town.graph("POST", &path, &line.token, Some(made)).await;
    assert_eq!(answer["status"], "PENDING");
    assert_eq!(town.heard("message_template_status_update").await[0]["event"], "APPROVED");
    let one = json!([{ "type": "text", "text": "Ayşe" }]);
    assert_eq!(town.send(&line, template("thanks", "de", one.clone())).await.0, 200);
    town.graph("DELETE", &format!("{path}?name=thanks"), &line.token, None).await;
    assert_eq!(code(&town.send(&line, template("thanks", "de", one)).await), 132_001);
}

#[tokio::test]
async fn more_than_twenty_a_second_are_refused() {
    let (town, line) = Town::with_shop(json!({})).await;
    town.write("writeAsCustomer", json!({ "text": "Los!" })).await;
    let mut refused = 0;
    for n in 0..30 {
        let answer = town.send_text(&line, &n.to_string()).await;
        if answer.0 != 200 {
            assert_eq!(code(&answer), 130_429);
            refused += 1;
        }
    }
    let told = arrivals(&town).await;
    assert_eq!(told.len(), 30);
    assert_eq!(told.iter().filter(|a| a["accepted"] == false).count(), refused);
    let times: Vec<f64> =
        told.iter().filter(|a| a["accepted"] == true).map(|a| a["at"].as_f64().unwrap()).collect();
    assert!(times.windows(21).all(|w| w[20] - w[0] >= 1000.0), "{times:?}");
    if times.last().unwrap() - times[0] < 1000.0 {
        assert_eq!(refused, 10);
    }
}

fn buttons(count: usize, title: &str) -> Value {
    let button = |n: usize| json!({ "type": "reply", "reply": { "id": n.to_string(), "title": title } });
    let buttons: Vec<Value> = (0..count).map(button).collect();
    json!({ "type": "button", "body": { "text": "Passt das?" }, "action": { "buttons": buttons } })
}

#[tokio::test]
async fn every_kind_is_sent_and_nonsense_is_not() {
    let (town, line) = Town::with_shop(json!({})).await;
    let question = town.write("writeAsCustomer", json!({ "text": "Wo?" })).await;
    let form = "--x\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n--x\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"m.pdf\"\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n--x--\r\n";
    let uploaded: Value = town
        .http
        .post(format!("{}/v26.0/{}/media", town.url(), line.id))
        .bearer_auth(&line.token)
        .header("content-type", "multipart/form-data; boundary=x")
        .body(form)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let good = [
        json!({ "type": "document", "document": { "id": uploaded["id"], "filename": "m.pdf", "caption": "Speisekarte" } }),
        json!({ "type": "image", "image": { "link": "https://example.test/a.png" } }),
        json!({ "type": "location", "location": { "latitude": 52.5, "longitude": 13.4, "name": "Laden" } }),
        json!({ "type": "contacts", "contacts": [{ "name": { "formatted_name": "Öz", "first_name": "Öz" } }] }),
        json!({ "type": "interactive", "interactive": buttons(1, "Ja") }),
        json!({ "type": "reaction", "reaction": { "message_id": question["id"], "emoji": "👍" } }),
    ];
    for message in good {
        let answer = town.send(&line, message.clone()).await;
        assert_eq!(answer.0, 200, "{message} {answer:?}");
    }
    let shown: Vec<_> =
        town.messages().await.iter().map(|m| m["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(shown, ["Passt das?", "Öz", "Laden", "", "Speisekarte", "Wo?"]);
    let bad = [
        (json!({ "type": "text" }), 100),
        (json!({ "type": "text", "text": { "body": "x".repeat(4097) } }), 100),
        (json!({ "type": "hologram", "hologram": {} }), 100),
        (json!({ "type": "image", "image": { "id": "12345" } }), 131_009),
        (json!({ "type": "contacts", "contacts": [{ "name": { "formatted_name": "Öz" } }] }), 100),
        (json!({ "type": "location", "location": { "latitude": 52.5 } }), 100),
        (json!({ "type": "interactive", "interactive": buttons(4, "Ja") }), 131_009),
        (json!({ "type": "interactive", "interactive": buttons(1, &"x".repeat(21)) }), 131_009),
        (
            json!({ "type": "interactive", "interactive": { "type": "list", "body": { "text": "?" } } }),
            131_009,
        ),
        (json!({ "type": "reaction", "reaction": { "message_id": "wamid.x", "emoji": "👍" } }), 131_009),
        (json!({ "type": "text", "text": { "body": "x" }, "to": SHOP }), 131_021),
        (json!({ "type": "text", "text": { "body": "x" }, "to": "nobody" }), 131_026),
        (json!({ "type": "text", "text": { "body": "x" }, "recipient_type": "group" }), 100),
        (json!({ "type": "text", "text": { "body": "x" }, "messaging_product": "pigeon" }), 100),
    ];
    for (message, expected) in bad {
        let answer = town.send(&line, message.clone()).await;
        assert_eq!(code(&answer), expected, "{message}");
    }
    assert!(arrivals(&town).await.iter().rev().take(14).all(|a| a["accepted"] == false));
    let mark =
        json!({ "status": "read", "message_id": question["id"], "typing_indicator": { "type": "text" } });
    let read = town.send(&line, mark).await;
    assert_eq!(read, (200, json!({ "success": true })));
    assert_eq!(town.messages().await.last().unwrap()["status"], "read");
    assert_eq!(arrivals(&town).await.len(), 20);
    town.write("writeAsCustomer", json!({ "with": BEN, "text": "Und ich?" })).await;
}

//! What people write, and what is told of it.

use crate::harness::{ANNA, BEN, SHOP, Town, signature};
use serde_json::json;

#[tokio::test]
async fn what_customers_and_the_app_write_is_told_signed_and_in_order() {
    let (town, line) = Town::with_shop(json!({})).await;
    town.heard("account_update").await;
    for n in 0..50 {
        town.write(
            "writeAsCustomer",
            json!({ "text": format!("{n} 🌻"), "with": if n % 2 == 0 { ANNA } else { BEN } }),
        )
        .await;
    }
    town.settle().await;
    let posted = town.posted();
    for webhook in &posted {
        assert_eq!(webhook.signature, signature(&town.app_secret, &webhook.raw));
        assert_eq!(webhook.offset, 0);
        assert_eq!(webhook.body["entry"][0]["id"], line.waba);
    }
    let texts: Vec<String> = posted
        .iter()
        .flat_map(|p| p.changes())
        .map(|(_, value)| value["messages"][0]["text"]["body"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts, (0..50).map(|n| format!("{n} 🌻")).collect::<Vec<_>>());

    let heard = town.heard("messages").await;
    let first = &heard[0];
    assert_eq!(first["metadata"]["display_phone_number"], "4915120000011");
    assert_eq!(first["messages"][0]["from"], ANNA.trim_start_matches('+'));
    assert!(first["messages"][0]["from_user_id"].as_str().unwrap().starts_with("DE."));
    assert_eq!(first["contacts"][0]["user_id"], first["messages"][0]["from_user_id"]);
    assert!(first["contacts"][0]["profile"]["name"].is_string());

    let question = heard[0]["messages"][0]["id"].as_str().unwrap();
    let written =
        town.write("writeFromApp", json!({ "text": "Gern!", "replyTo": question, "device": "WEB" })).await;
    assert_eq!(
        (&written["from"], &written["to"], &written["madeBy"]),
        (&json!(SHOP), &json!(ANNA), &json!("APP"))
    );
    let echoes = town.heard("smb_message_echoes").await;
    let echo = &echoes[0]["message_echoes"][0];
    assert_eq!((&echo["id"], &echo["text"]["body"]), (&written["id"], &json!("Gern!")));
    assert_eq!((&echo["from"], &echo["context"]["id"]), (&json!("4915120000011"), &json!(question)));
    assert_eq!(town.messages().await.len(), 51);
}

#[tokio::test]
async fn windows_watches_and_groups_stay_silent() {
    let (town, line) = Town::with_shop(json!({})).await;
    let mut ids = Vec::new();
    for device in ["WINDOWS", "WEAROS"] {
        for by in ["writeFromApp", "writeAsCustomer"] {
            ids.push(town.write(by, json!({ "text": "hört keiner", "device": device })).await["id"].clone());
        }
    }
    let grouped = town.write("writeFromApp", json!({ "text": "Wer kommt?", "group": "Team" })).await;
    ids.push(grouped["id"].clone());
    for id in &ids {
        let input = json!({ "phoneNumber": SHOP, "messageId": id, "text": "anders" });
        town.act("edit", "EditInput", input, "{ edited }").await;
        let input = json!({ "phoneNumber": SHOP, "messageId": id, "emoji": "👍" });
        town.act("react", "ReactInput", input, "{ id }").await;
        town.act("delete", "MessageRef", json!({ "phoneNumber": SHOP, "messageId": id }), "{ deleted }")
            .await;
    }
    town.settle().await;
    assert!(town.posted().iter().flat_map(|p| p.changes()).all(|(field, _)| field == "account_update"));
    assert_eq!(town.messages().await.len(), 5);
    // They open no window, and history does not bring them after all.
    assert_eq!(crate::harness::code(&town.send_text(&line, "Hallo").await), 131_047);
    assert_eq!(town.sync(&line, "history").await.0, 200);
    assert!(town.heard("history").await.is_empty());
}

#[tokio::test]
async fn edits_deletions_and_reactions_name_their_message() {
    let (town, _line) = Town::with_shop(json!({})).await;
    let theirs = town.write("writeAsCustomer", json!({ "text": "Um 9?", "media": "image" })).await;
    let ours = town.write("writeFromApp", json!({ "text": "Ja" })).await;
    let (theirs, ours) = (&theirs["id"], &ours["id"]);
    town.settle().await;
    town.heard("messages").await;

    let edit = |id, text: &str| json!({ "phoneNumber": SHOP, "messageId": id, "text": text });
    town.act("edit", "EditInput", edit(theirs, "Um 10?"), "{ text edited }").await;
    let react =
        |id, emoji, by: &str| json!({ "phoneNumber": SHOP, "messageId": id, "emoji": emoji, "by": by });
    town.act("react", "ReactInput", react(ours, Some("❤️"), "CUSTOMER"), "{ id }").await;
    town.act("react", "ReactInput", react(ours, None, "CUSTOMER"), "{ id }").await;
    town.act("delete", "MessageRef", json!({ "phoneNumber": SHOP, "messageId": theirs }), "{ deleted }")
        .await;
    let heard = town.heard("messages").await;
    let items: Vec<_> = heard.iter().map(|value| &value["messages"][0]).collect();
    let kinds: Vec<_> = items.iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["edit", "reaction", "reaction", "revoke"]);
    assert_eq!(&items[0]["edit"]["original_message_id"], theirs);
    assert_eq!(items[0]["edit"]["message"]["image"], json!({ "caption": "Um 10?" }));
    assert_eq!(items[1]["reaction"], json!({ "message_id": ours, "emoji": "❤️" }));
    assert_eq!(items[2]["reaction"], json!({ "message_id": ours }));
    assert!(items[1]["timestamp"].as_str() < items[2]["timestamp"].as_str());
    assert_eq!(&items[3]["revoke"]["original_message_id"], theirs);

    town.act("edit", "EditInput", edit(ours, "Ja!"), "{ text edited }").await;
    town.act("react", "ReactInput", react(ours, Some("✅"), "APP"), "{ id }").await;
    town.act("delete", "MessageRef", json!({ "phoneNumber": SHOP, "messageId": ours }), "{ deleted }").await;
    let heard = town.heard("smb_message_echoes").await;
    let kinds: Vec<_> =
        heard.iter().map(|value| value["message_echoes"][0]["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["edit", "reaction", "revoke"]);
    let again = town
        .ask(
            "mutation($input: EditInput!) { edit(input: $input) { id } }",
            json!({ "input": edit(ours, "?") }),
        )
        .await;
    assert!(again["errors"][0]["message"].as_str().unwrap().contains("deleted"));
    assert_eq!(town.messages().await.len(), 2);
}

#[tokio::test]
async fn a_hidden_number_shows_nowhere() {
    let (town, line) = Town::with_shop(json!({})).await;
    town.heard("account_update").await;
    town.write("writeAsCustomer", json!({ "text": "Wer bin ich?", "hiddenNumber": true })).await;
    town.settle().await;
    let digits = ANNA.trim_start_matches('+');
    let posted = town.posted().last().unwrap().clone();
    assert!(!String::from_utf8_lossy(&posted.raw).contains(digits), "{}", posted.body);
    let heard = town.heard("messages").await;
    let message = &heard[0]["messages"][0];
    assert_eq!(message.get("from"), None);
    let user_id = &message["from_user_id"];
    assert_eq!(
        heard[0]["contacts"][0],
        json!({ "user_id": user_id, "profile": heard[0]["contacts"][0]["profile"] })
    );

    // The same person with their number shown bears the same user id, and can be written to under it.
    town.write("writeAsCustomer", json!({ "text": "Ich bin's" })).await;
    assert_eq!(&town.heard("messages").await[0]["messages"][0]["from_user_id"], user_id);
    let body = json!({ "messaging_product": "whatsapp", "recipient": user_id, "type": "text", "text": { "body": "Ah!" } });
    let (status, answer) =
        town.graph("POST", &format!("{}/messages", line.id), &line.token, Some(body)).await;
    assert_eq!((status, &answer["contacts"][0]), (200, &json!({ "input": user_id, "user_id": user_id })));
    let all = town.messages().await;
    assert_eq!((&all[0]["to"], &all[0]["madeBy"]), (&json!(ANNA), &json!("API")));
}

#[tokio::test]
async fn media_can_be_fetched() {
    let (town, line) = Town::with_shop(json!({})).await;
    town.write("writeAsCustomer", json!({ "text": "Meine Katze", "media": "image" })).await;
    let heard = town.heard("messages").await;
    let image = &heard[0]["messages"][0]["image"];
    assert_eq!((&image["mime_type"], &image["caption"]), (&json!("image/png"), &json!("Meine Katze")));
    let id = image["id"].as_str().unwrap();
    let (_, found) = town.graph("GET", &format!("{id}?phone_number_id={}", line.id), &line.token, None).await;
    let url = found["url"].as_str().unwrap();
    assert_eq!(town.http.get(url).send().await.unwrap().status(), 401);
    let bytes = town.http.get(url).bearer_auth(&line.token).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(found["file_size"], bytes.len());
    use sha2::Digest as _;
    assert_eq!(image["sha256"], hex::encode(sha2::Sha256::digest(&bytes)));
    let bad = json!({ "input": { "phoneNumber": SHOP, "with": ANNA, "text": "", "media": "hologram" } });
    let answer = town.ask("mutation($input: WriteInput!) { writeFromApp(input: $input) { id } }", bad).await;
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("use image, video"));
}

#[tokio::test]
async fn only_what_stands_there_can_be_chosen() {
    let (town, line) = Town::with_shop(json!({})).await;
    town.write("writeAsCustomer", json!({ "text": "Hallo" })).await;
    let interactive = json!({ "type": "button", "body": { "text": "Ja?" }, "action": { "buttons": [
        { "type": "reply", "reply": { "id": "y", "title": "Ja" } }] } });
    let message = json!({ "to": ANNA, "type": "interactive", "interactive": interactive });
    let (status, sent) = town.send(&line, message).await;
    assert_eq!(status, 200, "{sent}");
    let (_, plain) = town.send_text(&line, "Gern").await;
    let id = |sent: &serde_json::Value| sent["messages"][0]["id"].clone();
    let shown = town
        .door(
            "query($n: PhoneNumber!) { phone(phoneNumber: $n) { messages { id choices { id title } } } }",
            json!({ "n": SHOP }),
        )
        .await;
    let messages = shown["phone"]["messages"].as_array().unwrap();
    let asked = messages.iter().find(|message| message["id"] == id(&sent)).unwrap();
    assert_eq!(asked["choices"], json!([{ "id": "y", "title": "Ja" }]));
    let choose = "mutation($input: ChooseInput!) { choose(input: $input) { type text replyTo } }";
    for (message, choice, why) in [
        (id(&sent), "n", "none of the choices"),
        (id(&plain), "y", "nothing to choose from"),
        (json!("wamid.x"), "y", "no message"),
    ] {
        let input = json!({ "phoneNumber": SHOP, "messageId": message, "choice": choice });
        let refused = town.ask(choose, json!({ "input": input })).await;
        let said = refused["errors"][0]["message"].as_str().unwrap();
        assert!(said.contains(why), "{said}");
    }
    let input = json!({ "phoneNumber": SHOP, "messageId": id(&sent), "choice": "Ja" });
    let chosen = town.ask(choose, json!({ "input": input })).await;
    assert_eq!(
        chosen["data"]["choose"],
        json!({ "type": "interactive", "text": "Ja", "replyTo": id(&sent) })
    );
}

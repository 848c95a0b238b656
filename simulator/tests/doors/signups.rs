//! Embedded Signup, and the end of a connection.

use crate::harness::{ANNA, SHOP, Town, code};
use serde_json::json;

#[tokio::test]
async fn numbers_that_cannot_be_connected_say_why() {
    let town = Town::new().await;
    town.create("+4915120000021", json!({ "app": "REGULAR" })).await;
    town.create("+4915120000022", json!({ "appVersion": "2.24.16" })).await;
    town.create(SHOP, json!({})).await;
    for (number, expected) in [("+4915120000021", "2655095"), ("+4915120000022", "4563015")] {
        let signup = town.signup(number, true).await;
        assert_eq!(
            signup,
            json!({ "code": null, "wabaId": null, "event": null, "error": { "code": expected } })
        );
    }
    assert_eq!(town.signup(SHOP, true).await["error"], json!(null));
    assert_eq!(town.signup(SHOP, true).await["error"]["code"], "2655093");

    // Once the number has moved to the right app, the same succeeds.
    let input = json!({ "phoneNumber": "+4915120000021", "app": "BUSINESS" });
    town.act("setApp", "SetAppInput", input, "{ app }").await;
    let signup = town.signup("+4915120000021", true).await;
    assert_eq!(signup["event"], "FINISH_WHATSAPP_BUSINESS_APP_ONBOARDING");

    town.create("+4915120000023", json!({ "app": "API_ONLY" })).await;
    assert_eq!(town.signup("+4915120000023", true).await["event"], "FINISH");
    let again = town
        .ask("mutation { createPhone(input: { phoneNumber: \"+49 1512 (0000011)\", displayName: \"x\" }) { app } }", json!({}))
        .await;
    assert!(
        again["errors"][0]["message"].as_str().unwrap().contains("already a phone +4915120000011"),
        "{again}"
    );
}

#[tokio::test]
async fn a_code_works_once_and_leads_to_the_number() {
    let town = Town::new().await;
    town.create(SHOP, json!({})).await;
    let link = json!({ "phoneNumber": SHOP, "device": "MAC" });
    let linked = town.act("link", "LinkInput", link, "{ linkedDevices }").await;
    assert_eq!(linked["linkedDevices"], json!(["WEB", "MAC"]));
    town.listen().await;
    let signup = town.signup(SHOP, true).await;
    let waba = signup["wabaId"].as_str().unwrap();

    let heard = town.heard("account_update").await;
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0]["event"], "PARTNER_ADDED");
    assert_eq!(heard[0]["waba_info"]["waba_id"], waba);

    let phone = town
        .door(
            "query($n: PhoneNumber!) { phone(phoneNumber: $n) { connected sharesHistory linkedDevices
        disappearingMessages viewOnce } }",
            json!({ "n": SHOP }),
        )
        .await;
    assert_eq!(
        phone["phone"],
        json!({ "connected": true, "sharesHistory": true, "linkedDevices": [],
        "disappearingMessages": false, "viewOnce": false })
    );

    let (status, token) = town.exchange(&signup["code"]).await;
    assert_eq!((status, &token["token_type"]), (200, &json!("bearer")));
    assert_eq!(code(&town.exchange(&signup["code"]).await), 100);
    let token = token["access_token"].as_str().unwrap();
    let (_, debug) =
        town.graph("GET", &format!("debug_token?input_token={token}"), &town.app_token(), None).await;
    assert_eq!(debug["data"]["is_valid"], true);
    assert_eq!(debug["data"]["app_id"], town.app_id);
    assert_eq!(debug["data"]["granular_scopes"][0]["target_ids"], json!([waba]));

    let path = format!(
        "{waba}/phone_numbers?fields=id,display_phone_number,verified_name,is_on_biz_app,platform_type"
    );
    let (_, numbers) = town.graph("GET", &path, token, None).await;
    let number = &numbers["data"][0];
    assert_eq!(number["display_phone_number"], "+49 1512 0000011");
    assert_eq!(number["verified_name"], "Salon Süß");
    assert_eq!((&number["is_on_biz_app"], &number["platform_type"]), (&json!(true), &json!("CLOUD_API")));

    let wrong = town.graph("GET", &format!("{waba}/phone_numbers?fields=colour"), token, None).await;
    assert_eq!(code(&wrong), 100);
    assert_eq!(code(&town.graph("GET", &format!("{waba}/phone_numbers"), "EAAwrong", None).await), 190);
    let unknown = town.graph("GET", "123456789012345/phone_numbers", token, None).await;
    assert_eq!(unknown.1["error"]["error_subcode"], 33);
    let id = number["id"].as_str().unwrap();
    assert_eq!(
        code(&town.graph("POST", &format!("{id}/register"), token, Some(json!({ "pin": "1" }))).await),
        100
    );
    let calls = town.door("{ graphCalls(path: \"/register\") { method status } }", json!({})).await;
    assert_eq!(calls["graphCalls"], json!([{ "method": "POST", "status": 400 }]));
}

#[tokio::test]
async fn who_has_left_can_come_back_under_the_same_ids() {
    let (town, line) = Town::with_shop(json!({ "contacts": 3 })).await;
    assert_eq!(town.sync(&line, "smb_app_state_sync").await.0, 200);
    town.heard("account_update").await;
    let input = json!({ "phoneNumber": SHOP, "reason": "PRIMARY_INACTIVITY", "initiatedBy": "SYSTEM" });
    town.act("disconnect", "DisconnectInput", input.clone(), "{ connected }").await;
    let gone = town.heard("account_update").await;
    assert_eq!(gone[0]["event"], "PARTNER_REMOVED");
    assert_eq!(gone[0]["waba_info"]["waba_id"], line.waba);
    assert_eq!(
        gone[0]["disconnection_info"],
        json!({ "reason": "PRIMARY_INACTIVITY", "initiated_by": "SYSTEM" })
    );
    assert_eq!(code(&town.send_text(&line, "Hallo?").await), 190);
    let again = town
        .ask(
            "mutation($input: DisconnectInput!) { disconnect(input: $input) { app } }",
            json!({ "input": input }),
        )
        .await;
    assert!(again["errors"][0]["message"].as_str().unwrap().contains("not connected"));

    let back = town.connect(SHOP, true).await;
    assert_eq!((&back.id, &back.waba), (&line.id, &line.waba));
    assert_ne!(back.token, line.token);
    assert_eq!(town.sync(&back, "smb_app_state_sync").await.0, 200);
    assert_eq!(town.heard("smb_app_state_sync").await.len(), 1);
}

#[tokio::test]
async fn a_new_phone_an_other_app_and_a_new_name_are_told() {
    let (town, line) = Town::with_shop(json!({})).await;
    town.heard("account_update").await;
    town.act("changePhone", "PhoneRef", json!({ "phoneNumber": SHOP }), "{ connected }").await;
    let heard = town.heard("account_update").await;
    let events: Vec<_> = heard.iter().map(|value| value["event"].clone()).collect();
    assert_eq!(events, ["ACCOUNT_OFFBOARDED", "ACCOUNT_RECONNECTED"]);

    let name = json!({ "phoneNumber": SHOP, "displayName": "Salon Süß & Söhne", "about": "Haare 💇" });
    town.act("setProfile", "SetProfileInput", name, "{ displayName }").await;
    let heard = town.heard("phone_number_name_update").await;
    assert_eq!(heard[0]["requested_verified_name"], "Salon Süß & Söhne");
    assert_eq!(heard[0]["decision"], "APPROVED");
    let path = format!("{}/whatsapp_business_profile", line.id);
    let (_, profile) = town.graph("GET", &path, &line.token, None).await;
    assert_eq!(profile["data"][0]["about"], "Haare 💇");
    let change = Some(json!({ "messaging_product": "whatsapp", "about": "x" }));
    assert_eq!(code(&town.graph("POST", &path, &line.token, change).await), 100);

    let app = json!({ "phoneNumber": SHOP, "app": "REGULAR" });
    town.act("setApp", "SetAppInput", app, "{ connected }").await;
    let heard = town.heard("account_update").await;
    assert_eq!(
        heard[0]["disconnection_info"],
        json!({ "reason": "BUSINESS_DOWNGRADE", "initiated_by": "SYSTEM" })
    );
    town.write("writeAsCustomer", json!({ "with": ANNA, "text": "Noch da?" })).await;
    assert!(town.heard("messages").await.is_empty());
}

#[tokio::test]
async fn a_callback_must_know_its_token_and_an_account_may_have_its_own() {
    let (town, line) = Town::with_shop(json!({})).await;
    let path = format!("{}/subscriptions", town.app_id);
    let wrong =
        json!({ "object": "whatsapp_business_account", "callback_url": town.callback, "verify_token": "?" });
    assert_eq!(code(&town.graph("POST", &path, &town.app_token(), Some(wrong.clone())).await), 2200);
    assert_eq!(code(&town.graph("POST", &path, &line.token, Some(wrong)).await), 190);
    let right =
        json!({ "callback_url": town.callback, "verify_token": "let me in", "fields": "messages,history" });
    assert_eq!(town.graph("POST", &path, &town.app_token(), Some(right)).await.0, 200);

    let path = format!("{}/subscribed_apps", line.waba);
    let own = format!("{}?own=1", town.callback);
    let body = json!({ "override_callback_uri": own, "verify_token": "let me in" });
    assert_eq!(town.graph("POST", &path, &line.token, Some(body)).await.0, 200);
    let (_, apps) = town.graph("GET", &path, &line.token, None).await;
    assert_eq!(apps["data"][0]["override_callback_uri"], own);
    town.write("writeAsCustomer", json!({ "text": "Hierher" })).await;
    assert_eq!(town.heard("messages").await.len(), 1);
    town.write("writeFromApp", json!({ "text": "Nicht abonniert" })).await;
    assert!(town.heard("smb_message_echoes").await.is_empty());
}

//! Templates: in step with the account, checked before they are sent, made and deleted; and who stopped marketing.

use serde_json::{Value, json};

use crate::harness::receiver::Receiver;
use crate::harness::{ADA, BEN, DAY, SHOP, Subscription, Tandem};

/// Looks at nothing by itself: what is read, somebody asked for.
const QUIET: (&str, &str) = ("TANDEM_UPKEEP_INTERVAL_SECONDS", "3600");
const NEIGHBOUR: &str = "+4915120000002";

const FIELDS: &str =
    "id name language status category upcomingCategory upcomingCategoryAt quality reason body footer
    header { format text } buttons { type text url phoneNumber } client { id }";

const EVENTS: &str = "subscription($after: EventCursor) {
    events(after: $after, filter: { types: [TEMPLATE_CHANGED] }) {
        ... on TemplateEvent { type now: status client { id } template { id name language status reason category
            upcomingCategory upcomingCategoryAt quality body } } } }";

async fn templates(t: &Tandem, client: &str) -> Vec<Value> {
    let query = format!("query($id: ID!) {{ templates(clientId: $id) {{ nodes {{ {FIELDS} }} }} }}");
    let data = t.data(&query, json!({ "id": client })).await;
    data["templates"]["nodes"].as_array().unwrap().clone()
}

async fn template(t: &Tandem, client: &str, name: &str) -> Value {
    let all = templates(t, client).await;
    let mut found: Vec<Value> = all.into_iter().filter(|template| template["name"] == name).collect();
    assert_eq!(found.len(), 1, "{name}: {found:#?}");
    found.remove(0)
}

/// WhatsApp changes a template of the shop.
async fn change(t: &Tandem, name: &str, language: &str, what: Value) {
    let mut input = json!({ "phoneNumber": SHOP, "name": name, "language": language });
    input.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    t.act("changeTemplate", input).await;
}

/// The next news of a template.
async fn news(events: &mut Subscription) -> Value {
    let told = events.next().await["events"].clone();
    assert_eq!(told["type"], "TEMPLATE_CHANGED", "{told:#}");
    told
}

fn content(name: &str, language: &str, components: Value) -> Value {
    json!({ "template": { "name": name, "language": language, "components": components } })
}

fn body(parameters: Value) -> Value {
    json!({ "type": "BODY", "parameters": parameters })
}

fn offer() -> Value {
    content("weekly_offer", "de", json!([body(json!([{ "text": "Ada" }, { "text": "20" }]))]))
}

fn reminder() -> Value {
    let parameters = json!([{ "parameterName": "first_name", "text": "Ada" }]);
    content("appointment_reminder", "de", json!([body(parameters)]))
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_are_listed_as_the_account_has_them() {
    let (t, client) = Tandem::shop().await;
    let place = t.cursor().await;
    let all = templates(&t, &client).await;
    let names: Vec<&str> = all.iter().map(|template| template["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hello_world", "appointment_reminder", "appointment_confirmed", "weekly_offer"]);
    let offer = &all[3];
    assert!(offer["id"].as_str().unwrap().starts_with("tpl_"));
    for (field, value) in [
        ("language", json!("de")),
        ("status", json!("APPROVED")),
        ("category", json!("MARKETING")),
        ("quality", json!("UNKNOWN")),
        ("reason", Value::Null),
        ("body", json!("{{1}}, diese Woche gibt es {{2}} Prozent auf alles.")),
        ("footer", Value::Null),
        ("header", Value::Null),
        (
            "buttons",
            json!([{ "type": "QUICK_REPLY", "text": "Nichts mehr schicken", "url": null, "phoneNumber": null }]),
        ),
        ("client", json!({ "id": client })),
    ] {
        assert_eq!(offer[field], value, "{field}");
    }
    assert_eq!(all[0]["header"], json!({ "format": "TEXT", "text": "Hello World" }));
    // By pages, each once.
    let query = "query($id: ID!, $after: String) { templates(clientId: $id, first: 3, after: $after) {
        nodes { name } pageInfo { hasNextPage endCursor } } }";
    let first = t.data(query, json!({ "id": client })).await["templates"].clone();
    assert_eq!(
        (first["nodes"].as_array().unwrap().len(), &first["pageInfo"]["hasNextPage"]),
        (3, &json!(true))
    );
    let rest = t.data(query, json!({ "id": client, "after": first["pageInfo"]["endCursor"] })).await;
    assert_eq!(rest["templates"]["nodes"], json!([{ "name": "weekly_offer" }]));
    assert_eq!(rest["templates"]["pageInfo"]["hasNextPage"], false);
    // By its id, and what was there from the beginning is no news.
    let node = t
        .data("query($id: ID!) { node(id: $id) { ... on Template { name } } }", json!({ "id": offer["id"] }));
    assert_eq!(node.await["node"]["name"], "weekly_offer");
    assert_eq!(t.told(&place, &["TEMPLATE_CHANGED"], "type").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_template_is_told_and_kept() {
    let (t, client) = Tandem::shop().await;
    let id = template(&t, &client, "weekly_offer").await["id"].clone();
    let mut events = t.subscribe(EVENTS, json!({})).await;
    change(&t, "weekly_offer", "de", json!({ "status": "REJECTED", "reason": "SCAM" })).await;
    let told = news(&mut events).await;
    assert_eq!((&told["now"], &told["template"]["id"]), (&json!("REJECTED"), &id));
    assert_eq!(told["client"]["id"], json!(client));
    assert!(told["template"]["reason"].as_str().unwrap().starts_with("SCAM: "), "{told:#}");
    change(&t, "weekly_offer", "de", json!({ "status": "APPROVED" })).await;
    let told = news(&mut events).await;
    assert_eq!((&told["now"], &told["template"]["reason"]), (&json!("APPROVED"), &Value::Null));
    change(&t, "weekly_offer", "de", json!({ "quality": "RED" })).await;
    assert_eq!(news(&mut events).await["template"]["quality"], "RED");
    change(&t, "weekly_offer", "de", json!({ "upcomingCategory": "UTILITY" })).await;
    let told = news(&mut events).await["template"].clone();
    assert_eq!((&told["category"], &told["upcomingCategory"]), (&json!("MARKETING"), &json!("UTILITY")));
    assert!(told["upcomingCategoryAt"].is_string());
    change(&t, "weekly_offer", "de", json!({ "category": "UTILITY" })).await;
    let told = news(&mut events).await["template"].clone();
    assert_eq!((&told["category"], &told["upcomingCategory"]), (&json!("UTILITY"), &Value::Null));
    // A webhook does not say all of the words: they are read.
    change(&t, "weekly_offer", "de", json!({ "body": "Hallo {{1}}, alles neu." })).await;
    assert_eq!(news(&mut events).await["template"]["body"], "Hallo {{1}}, alles neu.");
    change(&t, "weekly_offer", "de", json!({ "status": "DELETED" })).await;
    assert_eq!(news(&mut events).await["now"], "DELETED");
    assert_eq!(templates(&t, &client).await.len(), 3);
    let node =
        t.data("query($id: ID!) { node(id: $id) { ... on Template { status } } }", json!({ "id": id }));
    assert_eq!(node.await["node"]["status"], "DELETED", "what events tell of is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_tells_a_partners_server_of_a_template() {
    let (t, client) = Tandem::shop().await;
    let before = template(&t, &client, "hello_world").await;
    let receiver = Receiver::new().await;
    t.endpoint(&receiver.url, json!({ "eventTypes": ["TEMPLATE_CHANGED"] })).await;
    change(&t, "hello_world", "en_US", json!({ "status": "PAUSED" })).await;
    let told = receiver.count(1).await[0].json();
    assert_eq!((&told["type"], &told["data"]["status"]), (&json!("TEMPLATE_CHANGED"), &json!("PAUSED")));
    assert_eq!(told["data"]["template"]["id"], before["id"]);
    assert_eq!(told["data"]["template"]["header"], json!({ "format": "TEXT", "text": "Hello World" }));
    assert_eq!(told["data"]["client"]["id"], json!(client));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_read_on_first_use_and_then_now_and_then() {
    let t = Tandem::with(&[QUIET]).await;
    let client = t.connected(SHOP).await;
    assert_eq!(t.graph_calls("message_templates").await.len(), 0);
    let sent = t.send(&client, ADA, offer(), "first").await;
    assert_eq!(sent["userErrors"], json!([]), "{sent:#}");
    assert_eq!(sent["message"]["text"], "Ada, diese Woche gibt es 20 Prozent auf alles.");
    assert_eq!(t.graph_calls("message_templates").await.len(), 1);
    templates(&t, &client).await;
    t.send(&client, BEN, offer(), "second").await;
    assert_eq!(t.graph_calls("message_templates").await.len(), 1, "once is enough");

    // What no webhook told is seen by reading again.
    let t = Tandem::new().await;
    let client = t.connected(SHOP).await;
    templates(&t, &client).await;
    let mut events = t.subscribe(EVENTS, json!({})).await;
    t.template_changes_unheard("weekly_offer", "de", json!({ "status": "PAUSED" })).await;
    t.template_changes_unheard("hello_world", "en_US", json!({ "status": "DELETED" })).await;
    t.time_passes(DAY + 60).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        let one = news(&mut events).await;
        told.push(format!("{} {}", one["template"]["name"], one["now"]));
    }
    told.sort_unstable();
    assert_eq!(told, ["\"hello_world\" \"DELETED\"", "\"weekly_offer\" \"PAUSED\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_of_which_a_webhook_told_first_is_there_at_once() {
    let (t, client) = Tandem::shop().await;
    templates(&t, &client).await;
    let waba = t.wire_ids(SHOP).await.waba_id;
    let mut events = t.subscribe(EVENTS, json!({})).await;
    let body = |event: &str, at: i64| {
        json!({ "object": "whatsapp_business_account", "entry": [{ "id": waba, "time": at, "changes": [{
            "field": "message_template_status_update", "value": { "event": event, "reason": null,
            "message_template_id": 7, "message_template_name": "new_one", "message_template_language": "de",
            "message_template_category": "UTILITY" } }] }] })
    };
    let now = t.clock().await;
    t.hear(&body("APPROVED", now)).await;
    let told = news(&mut events).await;
    assert_eq!((&told["now"], &told["template"]["name"]), (&json!("APPROVED"), &json!("new_one")));
    // The whole list, which is read then, does not have it; one that was asked for in the same second says nothing.
    t.time_passes(120).await;
    assert_eq!(news(&mut events).await["now"], "DELETED");
    // Older news come late: they change nothing.
    t.hear(&body("PENDING", now - 60)).await;
    assert_eq!(templates(&t, &client).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_approved_templates_are_sent() {
    let (t, client) = Tandem::shop().await;
    templates(&t, &client).await;
    for (name, language, field) in
        [("no_such", "de", "name"), ("hello_world", "de", "language"), ("hello_world", "en", "language")]
    {
        let error = t.refused(&client, ADA, content(name, language, json!([]))).await;
        assert_eq!(error["code"], "TEMPLATE_NOT_APPROVED", "{error:#}");
        assert_eq!(error["field"], json!(["content", "template", field]));
    }
    let mut events = t.subscribe(EVENTS, json!({})).await;
    for status in ["PAUSED", "REJECTED", "DISABLED", "PENDING_DELETION"] {
        change(&t, "weekly_offer", "de", json!({ "status": status })).await;
        news(&mut events).await;
        let error = t.refused(&client, ADA, offer()).await;
        assert_eq!(error["code"], "TEMPLATE_NOT_APPROVED", "{error:#}");
        assert!(error["message"].as_str().unwrap().contains(status), "{error:#}");
    }
    assert_eq!(t.arrivals(SHOP).await, Vec::<Value>::new(), "nothing left");
    change(&t, "weekly_offer", "de", json!({ "status": "REINSTATED" })).await;
    assert_eq!(news(&mut events).await["now"], "APPROVED");
    // What was refused was no use of its key.
    let sent = t.send(&client, ADA, offer(), &format!("refused {ADA}")).await;
    assert_eq!(sent["userErrors"], json!([]), "{sent:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_too_much_in_a_template_is_refused_with_its_path() {
    let (t, client) = Tandem::shop().await;
    let words = |text: &str| json!({ "text": text });
    let named = |name: &str, text: &str| json!({ "parameterName": name, "text": text });
    let image = json!({ "type": "IMAGE", "link": "https://example.test/a.png" });
    let confirmed = |components: Value| content("appointment_confirmed", "de", components);
    let reminder = |components: Value| content("appointment_reminder", "de", components);
    let hello = |components: Value| content("hello_world", "en_US", components);
    for (content, path) in [
        (confirmed(json!([])), "components"),
        (confirmed(json!([body(json!([words("Ada")]))])), "components.0.parameters"),
        (confirmed(json!([body(json!([words("a"), words("b"), words("c")]))])), "components.0.parameters.2"),
        (
            confirmed(json!([body(json!([named("name", "a"), words("b")]))])),
            "components.0.parameters.0.parameterName",
        ),
        (confirmed(json!([body(json!([words("a"), words(" ")]))])), "components.0.parameters.1.text"),
        (confirmed(json!([body(json!([words("a"), image]))])), "components.0.parameters.1.type"),
        (reminder(json!([body(json!([words("Ada")]))])), "components.0.parameters.0.parameterName"),
        (
            reminder(json!([body(json!([named("last_name", "b")]))])),
            "components.0.parameters.0.parameterName",
        ),
        (hello(json!([body(json!([words("Ada")]))])), "components.0"),
        (hello(json!([{ "type": "HEADER", "parameters": [image] }])), "components.0"),
        (
            hello(json!([{ "type": "BUTTON", "subType": "URL", "index": 0, "parameters": [words("a")] }])),
            "components.0",
        ),
    ] {
        let error = t.refused(&client, ADA, content.clone()).await;
        let path: Vec<&str> = ["content", "template"].into_iter().chain(path.split('.')).collect();
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!("INVALID"), &json!(path)),
            "{content} {error:#}"
        );
    }
    assert_eq!(t.arrivals(SHOP).await, Vec::<Value>::new(), "nothing left");
    // A button that answers needs no payload of ours, and takes one.
    let reply = json!({ "type": "BUTTON", "subType": "QUICK_REPLY", "index": 0,
        "parameters": [{ "type": "PAYLOAD", "payload": "stop" }] });
    let values = body(json!([words("Ada"), words("20")]));
    let sent =
        t.send(&client, ADA, content("weekly_offer", "de", json!([values, reply])), "with payload").await;
    let id = t.until(&sent, "SENT").await;
    let message = t.message(&id).await;
    assert_eq!(message["text"], "Ada, diese Woche gibt es 20 Prozent auf alles.");
    assert_eq!(message["content"]["__typename"], "TemplateContent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_made_reviewed_sent_and_deleted() {
    let (t, client) = Tandem::shop().await;
    templates(&t, &client).await;
    let draft = json!({ "clientId": client, "name": "order_ready", "language": "de", "category": "UTILITY",
        "header": { "image": { "exampleHandle": "4::aW" } },
        "body": { "text": "Hallo {{first_name}}, die Bestellung ist da.",
            "examples": [{ "name": "first_name", "value": "Ada" }] },
        "footer": "Bis gleich",
        "buttons": [{ "quickReply": { "text": "Danke" } },
            { "url": { "text": "Ansehen", "url": "https://example.test/{{1}}", "example": "https://example.test/7" } }],
        "lifetimeSeconds": 3600 });
    let selection =
        "template { id name status category body footer header { format } buttons { type url } } eventCursor";
    t.act("reviewTemplates", json!({ "outcome": "PENDING" })).await;
    let mut events = t.subscribe(EVENTS, json!({})).await;
    let made = t.mutate("createTemplate", draft.clone(), selection).await;
    assert_eq!(made["userErrors"], json!([]), "{made:#}");
    let template = &made["template"];
    assert_eq!((&template["status"], &template["category"]), (&json!("PENDING"), &json!("UTILITY")));
    assert_eq!(template["header"], json!({ "format": "IMAGE" }));
    assert_eq!(template["buttons"][1], json!({ "type": "URL", "url": "https://example.test/{{1}}" }));
    let told = news(&mut events).await;
    assert_eq!((&told["now"], &told["template"]["id"]), (&json!("PENDING"), &template["id"]));
    let filled = content(
        "order_ready",
        "de",
        json!([
            { "type": "HEADER", "parameters": [{ "type": "IMAGE", "link": "https://example.test/a.png" }] },
            body(json!([{ "parameterName": "first_name", "text": "Ada" }])),
            { "type": "BUTTON", "subType": "URL", "index": 1, "parameters": [{ "text": "7" }] },
        ]),
    );
    assert_eq!(t.refused(&client, ADA, filled.clone()).await["code"], "TEMPLATE_NOT_APPROVED");
    change(&t, "order_ready", "de", json!({ "status": "APPROVED" })).await;
    assert_eq!(news(&mut events).await["now"], "APPROVED");
    let sent = t.send(&client, ADA, filled.clone(), "ready").await;
    t.until(&sent, "SENT").await;
    assert_eq!(sent["message"]["text"], "Hallo Ada, die Bestellung ist da.");

    // What WhatsApp says no to is told with its words; what it would say no to is not even asked.
    let again = t.mutate("createTemplate", draft.clone(), selection).await;
    assert_eq!(again["userErrors"][0]["code"], "UPSTREAM_REJECTED", "{again:#}");
    let calls = t.graph_calls("message_templates").await.len();
    for (field, value, path) in [
        ("name", json!("Order"), vec!["name"]),
        ("category", json!("AUTHENTICATION"), vec!["lifetimeSeconds"]),
        ("category", json!("OTHER"), vec!["category"]),
        ("body", json!({ "text": "Hallo {{1}}" }), vec!["body", "text"]),
        ("body", json!({ "text": "Hallo {{1}}!" }), vec!["body", "examples"]),
        ("footer", json!("x".repeat(61)), vec!["footer"]),
    ] {
        let mut bad = draft.clone();
        bad[field] = value;
        let refused = t.mutate("createTemplate", bad, selection).await;
        let error = &refused["userErrors"][0];
        assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(path)), "{refused:#}");
        assert_eq!(refused["template"], Value::Null);
    }
    assert_eq!(t.graph_calls("message_templates").await.len(), calls);
    t.act("reviewTemplates", json!({ "outcome": "REJECTED", "reason": "TAG_CONTENT_MISMATCH" })).await;
    let mut other = draft.clone();
    other["name"] = json!("another");
    t.mutate("createTemplate", other, selection).await;
    let told = [news(&mut events).await, news(&mut events).await];
    let rejected = told.iter().find(|one| one["now"] == "REJECTED").unwrap();
    assert!(
        rejected["template"]["reason"].as_str().unwrap().starts_with("TAG_CONTENT_MISMATCH"),
        "{rejected:#}"
    );

    let gone = t.mutate("deleteTemplate", json!({ "templateId": template["id"] }), selection).await;
    assert_eq!(
        (&gone["template"]["status"], &gone["userErrors"]),
        (&json!("DELETED"), &json!([])),
        "{gone:#}"
    );
    assert_eq!(news(&mut events).await["now"], "DELETED");
    assert_eq!(t.refused(&client, ADA, filled).await["code"], "TEMPLATE_NOT_APPROVED");
    let twice = t.mutate("deleteTemplate", json!({ "templateId": template["id"] }), selection).await;
    assert_eq!(twice["template"]["status"], "DELETED");
    let deleted: Vec<Value> = t
        .graph_calls("message_templates")
        .await
        .into_iter()
        .filter(|call| call["method"] == "DELETE")
        .collect();
    assert_eq!(deleted.len(), 1, "asked twice, deleted once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_to_sign_in_with_has_whatsapps_words() {
    let (t, client) = Tandem::shop().await;
    templates(&t, &client).await;
    let draft = json!({ "clientId": client, "name": "sign_in", "language": "en_US", "category": "AUTHENTICATION",
        "authentication": { "securityRecommendation": true, "codeExpiresMinutes": 5, "buttonText": "Copy" } });
    let query =
        "subscription($after: EventCursor) { events(after: $after, filter: { types: [TEMPLATE_CHANGED] }) {
        ... on TemplateEvent { template { name status body footer } } } }";
    let mut events = t.subscribe(query, json!({})).await;
    let made = t.mutate("createTemplate", draft.clone(), "template { status body }").await;
    assert_eq!(made["userErrors"], json!([]), "{made:#}");
    let known = |data: &Value| {
        let template = &data["events"]["template"];
        template["status"] == "APPROVED" && !template["body"].is_null()
    };
    let told = events.until(known).await["events"]["template"].clone();
    assert_eq!(told["footer"], "This code expires in 5 minutes.", "{told:#}");
    let code = || json!([{ "text": "123456" }]);
    let button = json!({ "type": "BUTTON", "subType": "URL", "index": 0, "parameters": code() });
    let error = t.refused(&client, ADA, content("sign_in", "en_US", json!([body(code())]))).await;
    assert_eq!(error["field"], json!(["content", "template", "components"]), "twice: {error:#}");
    let sent = t.send(&client, ADA, content("sign_in", "en_US", json!([body(code()), button])), "code").await;
    t.until(&sent, "SENT").await;
    let words = "*123456* is your verification code. For your security, do not share this code.";
    assert_eq!(sent["message"]["text"], words);
    let mut bad = draft;
    bad["body"] = json!({ "text": "Hallo" });
    let refused = t.mutate("createTemplate", bad, "template { id }").await;
    assert_eq!(refused["userErrors"][0]["field"], json!(["body"]), "{refused:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_one_account_each_hear_for_themselves() {
    let (t, first) = Tandem::shop().await;
    let second = t.connected(NEIGHBOUR).await;
    for client in [&first, &second] {
        templates(&t, client).await;
    }
    t.share_account(&first, &second).await;
    let mut events = t.subscribe(EVENTS, json!({})).await;
    change(&t, "weekly_offer", "de", json!({ "status": "PAUSED" })).await;
    let told = [news(&mut events).await, news(&mut events).await];
    assert_ne!(told[0]["client"]["id"], told[1]["client"]["id"], "{told:#?}");
    assert_ne!(told[0]["template"]["id"], told[1]["template"]["id"], "no row belongs to two");
    for one in &told {
        assert_eq!((&one["now"], &one["template"]["name"]), (&json!("PAUSED"), &json!("weekly_offer")));
    }
    // Whose connection ended hears nothing more: the account may be somebody else's.
    t.mutate("disconnectClient", json!({ "clientId": second }), "client { id }").await;
    change(&t, "weekly_offer", "de", json!({ "status": "APPROVED" })).await;
    assert_eq!(news(&mut events).await["client"]["id"], json!(first));
    t.settle().await;
    let place = t.cursor().await;
    let told = t.told(&place, &["TEMPLATE_CHANGED"], "client { id }").await;
    assert_eq!(told, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stopped_marketing_gets_no_marketing() {
    let (t, client) = Tandem::shop().await;
    let contact = async || {
        let data = t.conversation(&client, ADA).await;
        let query = "query($id: ID!) { node(id: $id) { ... on Contact { marketingStoppedAt } } }";
        t.data(query, json!({ "id": data["contact"]["id"] })).await["node"]["marketingStoppedAt"].clone()
    };
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    assert_eq!(contact().await, Value::Null);
    let place = t.cursor().await;
    let set = async |customer: &str, wanted: bool| {
        let input = json!({ "phoneNumber": SHOP, "customer": customer, "wanted": wanted });
        t.act("setMarketing", input).await;
        t.settle().await;
    };
    set(ADA, false).await;
    assert!(contact().await.is_string());
    let told =
        t.told(&place, &["CONTACT_UPDATED"], "... on ContactEvent { contact { marketingStoppedAt } }").await;
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0]["contact"]["marketingStoppedAt"].is_string());
    let error = t.refused(&client, ADA, offer()).await;
    assert_eq!(
        (&error["code"], &error["field"]),
        (&json!("RECIPIENT_OPTED_OUT"), &json!(["to"])),
        "{error:#}"
    );
    // All else reaches them, and marketing reaches all others.
    for (to, content, key) in [
        (ADA, reminder(), "utility"),
        (ADA, json!({ "text": { "body": "Gern!" } }), "text"),
        (BEN, offer(), "somebody else"),
    ] {
        let sent = t.send(&client, to, content, key).await;
        t.until(&sent, "SENT").await;
    }
    // The category decides, whatever the name says.
    let mut events = t.subscribe(EVENTS, json!({})).await;
    change(&t, "weekly_offer", "de", json!({ "category": "UTILITY" })).await;
    news(&mut events).await;
    let sent = t.send(&client, ADA, offer(), "as utility").await;
    t.until(&sent, "SENT").await;
    change(&t, "weekly_offer", "de", json!({ "category": "MARKETING" })).await;
    news(&mut events).await;
    assert_eq!(t.refused(&client, ADA, offer()).await["code"], "RECIPIENT_OPTED_OUT");
    set(ADA, true).await;
    assert_eq!(contact().await, Value::Null);
    let sent = t.send(&client, ADA, offer(), "again").await;
    t.until(&sent, "SENT").await;
    // Somebody of whom nothing else was heard is remembered too.
    set("+4915770000009", false).await;
    assert_eq!(t.refused(&client, "+4915770000009", offer()).await["code"], "RECIPIENT_OPTED_OUT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_fails_since_marketing_was_stopped_is_the_last_one() {
    let (t, client) = Tandem::shop().await;
    let stopped = async |who: &str| {
        let data = t.conversation(&client, who).await;
        let query = "query($id: ID!) { node(id: $id) { ... on Contact { marketingStoppedAt } } }";
        t.data(query, json!({ "id": data["contact"]["id"] })).await["node"]["marketingStoppedAt"].clone()
    };
    let updated = async |place: &str| {
        let told =
            t.told(place, &["CONTACT_UPDATED"], "... on ContactEvent { contact { phoneNumber } }").await;
        told.iter().map(|event| event["contact"]["phoneNumber"].clone()).collect::<Vec<_>>()
    };
    let place = t.cursor().await;
    // WhatsApp's answer says it, or a status later.
    t.act("refuse", json!({ "to": ADA, "code": 131_050 })).await;
    t.until(&t.send(&client, ADA, offer(), "ada").await, "FAILED").await;
    assert_eq!(updated(&place).await, [ADA]);
    let sent = t.until(&t.send(&client, BEN, offer(), "ben").await, "SENT").await;
    t.settle().await;
    assert_eq!(stopped(BEN).await, Value::Null);
    let place = t.cursor().await;
    let status = json!({ "id": t.message(&sent).await["whatsappId"], "status": "failed", "timestamp": t.clock().await.to_string(),
        "recipient_id": &BEN[1..], "errors": [{ "code": 131_050, "title": "Unable to deliver the message" }] });
    t.hear(&t.wire_ids(SHOP).await.body("messages", json!({ "statuses": [status] }))).await;
    assert_eq!(t.message(&sent).await["status"], "FAILED");
    assert_eq!(updated(&place).await, [BEN]);
    for who in [ADA, BEN] {
        assert!(stopped(who).await.is_string(), "{who}");
        assert_eq!(t.refused(&client, who, offer()).await["code"], "RECIPIENT_OPTED_OUT");
        let utility = t.send(&client, who, reminder(), who).await;
        t.until(&utility, "SENT").await;
    }
    // Until they want them again.
    for wanted in [false, true] {
        let input = json!({ "phoneNumber": SHOP, "customer": ADA, "wanted": wanted });
        t.act("setMarketing", input).await;
    }
    t.settle().await;
    let again = t.send(&client, ADA, offer(), "again").await;
    t.until(&again, "SENT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_that_fail_for_their_template_have_the_list_read_again_but_not_once_for_each() {
    let (t, client) = Tandem::shop().await;
    templates(&t, &client).await;
    let reads = async || t.graph_calls("message_templates").await.len();
    let before = reads().await;
    let mut events = t.subscribe(EVENTS, json!({})).await;
    t.template_changes_unheard("weekly_offer", "de", json!({ "status": "PAUSED" })).await;
    // Just read: not again within the minute, however many fail.
    for n in 0..5 {
        let sent = t.send(&client, ADA, offer(), &format!("failing {n}")).await;
        t.until(&sent, "FAILED").await;
    }
    assert_eq!(reads().await, before);
    t.time_passes(61).await;
    assert_eq!(news(&mut events).await["now"], "PAUSED");
    let error = t.refused(&client, ADA, offer()).await;
    assert_eq!(error["code"], "TEMPLATE_NOT_APPROVED", "{error:#}");
    assert_eq!(reads().await, before + 1);
    // A status that says it does the same, at once when the list is old enough.
    let sent = t.until(&t.send(&client, ADA, reminder(), "by status").await, "SENT").await;
    t.time_passes(61).await;
    t.template_changes_unheard("appointment_reminder", "de", json!({ "status": "DISABLED" })).await;
    let status = json!({ "id": t.message(&sent).await["whatsappId"], "status": "failed", "timestamp": t.clock().await.to_string(),
        "recipient_id": &ADA[1..], "errors": [{ "code": 132_016, "title": "Template is Disabled" }] });
    t.hear(&t.wire_ids(SHOP).await.body("messages", json!({ "statuses": [status] }))).await;
    assert_eq!(news(&mut events).await["now"], "DISABLED");
    assert_eq!(t.refused(&client, ADA, reminder()).await["code"], "TEMPLATE_NOT_APPROVED");
    assert_eq!(reads().await, before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_words_about_marketing_the_later_one_holds() {
    let (t, client) = Tandem::shop().await;
    let ids = t.wire_ids(SHOP).await;
    let say = async |value: &str, at: i64| {
        let one =
            json!({ "wa_id": &ADA[1..], "category": "marketing_messages", "value": value, "timestamp": at });
        t.hear(&ids.body("user_preferences", json!({ "user_preferences": [one] }))).await;
    };
    let now = t.clock().await;
    say("resume", now).await;
    say("stop", now - 60).await;
    let sent = t.send(&client, ADA, offer(), "first").await;
    assert_eq!(sent["userErrors"], json!([]), "what came late is older: {sent:#}");
    say("stop", now).await;
    assert_eq!(
        t.refused(&client, ADA, offer()).await["code"],
        "RECIPIENT_OPTED_OUT",
        "of one second the stop"
    );
}

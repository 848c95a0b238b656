//! Who sees which message: customer, app and API in the same chat (R4 to R7, R9 to R13).

use serde_json::{Value, json};

use crate::harness::{ADA, BEN, DAY, SHOP, Tandem};

/// The message on the phone's screen that says this.
async fn on_screen(t: &Tandem, text: &str) -> Value {
    let screen = t.screen(SHOP).await;
    let found: Vec<&Value> = screen.iter().filter(|message| message["text"] == text).collect();
    assert_eq!(found.len(), 1, "{text:?} on {screen:#?}");
    found[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn r04_an_incoming_message_reaches_the_app_and_the_api() {
    let (t, client) = Tandem::shop().await;
    let query = "subscription { incomingMessages { type occurredAt client { id }
        message { id text direction origin imported from to status } } }";
    let mut incoming = t.subscribe(query, json!({})).await;
    t.customer_writes(SHOP, ADA, "Habt ihr Kuchen?").await;

    let heard = incoming.next().await["incomingMessages"].clone();
    assert_eq!(heard["type"], "MESSAGE_INCOMING");
    assert_eq!(heard["client"]["id"], client);
    let id = heard["message"]["id"].clone();
    assert_eq!(
        heard["message"],
        json!({ "id": id, "text": "Habt ihr Kuchen?", "direction": "INBOUND", "origin": "CUSTOMER",
            "imported": false, "from": ADA, "to": SHOP, "status": "RECEIVED" })
    );
    let shown = on_screen(&t, "Habt ihr Kuchen?").await;
    assert_eq!((&shown["madeBy"], &shown["from"]), (&json!("CUSTOMER"), &json!(ADA)));
    assert_eq!(t.saying(&client, "Habt ihr Kuchen?").await["whatsappId"], shown["id"]);

    // Files too, with their words.
    let photo = json!({ "phoneNumber": SHOP, "with": ADA, "text": "So einen!", "media": "image" });
    t.write("writeAsCustomer", photo).await;
    let heard = incoming.next().await["incomingMessages"]["message"].clone();
    assert_eq!(heard["text"], "So einen!");
    assert_eq!(t.saying(&client, "So einen!").await["content"]["__typename"], "MediaContent");
    on_screen(&t, "So einen!").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r05_a_message_of_the_api_shows_in_the_app() {
    let (t, client) = Tandem::shop().await;
    t.customer_writes(SHOP, ADA, "Hallo?").await;
    t.settle().await;
    t.sent(&client, ADA, "Guten Tag, hier ist die API.").await;
    let shown = on_screen(&t, "Guten Tag, hier ist die API.").await;
    assert_eq!((&shown["madeBy"], &shown["from"], &shown["to"]), (&json!("API"), &json!(SHOP), &json!(ADA)));
    let row = t.saying(&client, "Guten Tag, hier ist die API.").await;
    assert_eq!(row["whatsappId"], shown["id"]);
    assert_eq!((&row["origin"], &row["direction"]), (&json!("API"), &json!("OUTBOUND")));
}

#[tokio::test(flavor = "multi_thread")]
async fn r06_a_message_of_the_app_is_told_and_never_taken_for_the_apis() {
    let (t, client) = Tandem::shop().await;
    let query = "subscription { outgoingMessages { type message {
        text direction origin from to status idempotencyKey sentBy { kind } } } }";
    let mut outgoing = t.subscribe(query, json!({})).await;
    t.app_writes(SHOP, ADA, "Vom Handy.").await;
    let told = |text: &str| {
        json!({ "type": "MESSAGE_OUTGOING", "message": { "text": text, "direction": "OUTBOUND", "origin": "APP",
            "from": SHOP, "to": ADA, "status": "SENT", "idempotencyKey": null, "sentBy": null } })
    };
    assert_eq!(outgoing.next().await["outgoingMessages"], told("Vom Handy."));

    // So is one of a linked device; one of the API is not, even where WhatsApp echoes it.
    t.act("link", json!({ "phoneNumber": SHOP, "device": "WEB" })).await;
    t.customer_writes(SHOP, ADA, "Ja?").await;
    t.settle().await;
    t.act("trouble", json!({ "echoBeforeAnswer": 1.0 })).await;
    t.sent(&client, ADA, "Von der API.").await;
    t.act("trouble", json!({})).await;
    let web = json!({ "phoneNumber": SHOP, "with": ADA, "text": "Vom Browser.", "device": "WEB" });
    t.write("writeFromApp", web).await;
    assert_eq!(outgoing.next().await["outgoingMessages"], told("Vom Browser."));

    let row = t.saying(&client, "Von der API.").await;
    assert_eq!((&row["origin"], &row["sentBy"]["kind"]), (&json!("API"), &json!("API_KEY")));
    on_screen(&t, "Vom Browser.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r07_groups_stay_in_the_app() {
    let (t, client) = Tandem::shop().await;
    let place = t.place().await;
    for mutation in ["writeFromApp", "writeAsCustomer"] {
        let input =
            json!({ "phoneNumber": SHOP, "with": ADA, "text": "In der Gruppe", "group": "Stammtisch" });
        t.write(mutation, input).await;
    }
    t.settle().await;
    // The phone has them; and a webhook that tells of one all the same is dropped.
    assert_eq!(t.screen(SHOP).await.iter().filter(|message| message["group"] == "Stammtisch").count(), 2);
    let group = "Y2FwaV9ncm91cDoxMjAzNjMwMjE=";
    let item = |id: &str, extra: Value| {
        let mut item = json!({ "id": id, "timestamp": "1790000000", "type": "text",
            "text": { "body": "Aus der Gruppe" } });
        for (name, value) in extra.as_object().unwrap() {
            item[name] = value.clone();
        }
        item
    };
    let from_customer = item("wamid.group1", json!({ "from": &ADA[1..], "group_id": group }));
    t.hears("messages", json!({ "messages": [from_customer] })).await;
    let echo = item("wamid.group2", json!({ "from": &SHOP[1..], "to": group, "group_id": group }));
    t.hears("smb_message_echoes", json!({ "message_echoes": [echo] })).await;
    let status = json!({ "id": "wamid.group3", "status": "read", "timestamp": "1790000000",
        "recipient_id": group, "recipient_type": "group", "recipient_participant_id": &ADA[1..] });
    t.hears("messages", json!({ "statuses": [status] })).await;
    assert_eq!(t.messages(&client).await, Vec::<Value>::new());
    assert_eq!(t.told_since(&place).await, Vec::<Value>::new());
    assert_eq!(t.conversation(&client, ADA).await, Value::Null);

    for to in ["120363021234567890@g.us", "4915120000001-1601234567@g.us", "4915120000001-1601234567", group]
    {
        let error = t.refused(&client, to, json!({ "text": { "body": "Hallo Gruppe" } })).await;
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!("GROUPS_NOT_SUPPORTED"), &json!(["to"])),
            "{to}"
        );
    }
    assert_eq!(t.arrivals(SHOP).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn r07_groups_are_no_part_of_the_history() {
    let t = Tandem::new().await;
    t.create_phone(json!({ "phoneNumber": SHOP, "displayName": "Café Test", "contacts": 5, "messages": 30, "groups": 3 }))
        .await;
    let client = t.imported(SHOP, true, json!({})).await;
    let screen = t.screen(SHOP).await;
    let (groups, chats): (Vec<_>, Vec<_>) = screen.iter().partition(|message| !message["group"].is_null());
    assert!(!groups.is_empty() && chats.len() == 30, "{} and {}", groups.len(), chats.len());
    let ids = |messages: &[&Value], field: &str| {
        let mut ids: Vec<String> = messages.iter().map(|m| m[field].as_str().unwrap().to_owned()).collect();
        ids.sort_unstable();
        ids
    };
    // Imported chats ring no bell and open no window.
    let query = "query($id: ID!) { client(id: $id) {
        unread: conversations(filter: { unread: true }) { nodes { id } }
        open: conversations(filter: { windowOpen: true }) { nodes { id } } } }";
    let data = t.data(query, json!({ "id": client })).await["client"].clone();
    assert_eq!((&data["unread"]["nodes"], &data["open"]["nodes"]), (&json!([]), &json!([])));
    let stored = t.messages(&client).await;
    let stored: Vec<&Value> = stored.iter().collect();
    assert_eq!(ids(&stored, "whatsappId"), ids(&chats, "id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn r09_the_pages_example_step_by_step() {
    let (t, client) = Tandem::shop().await;
    let template = json!({ "template": { "name": "hello_world", "language": "en_US" } });

    // "If you want to send a message to an end user from the API, you must send a template if no open session."
    let error = t.refused(&client, ADA, json!({ "text": { "body": "Frei" } })).await;
    assert_eq!(
        (&error["code"], &error["field"]),
        (&json!("WINDOW_CLOSED"), &json!(["content"])),
        "{error:#}"
    );
    assert_eq!(t.arrivals(SHOP).await, Vec::<Value>::new(), "nothing leaves");
    let sent = t.send(&client, ADA, template.clone(), "first").await;
    let id = t.until(&sent, "SENT").await;
    t.settle().await;
    let pricing = t.message(&id).await["pricing"].clone();
    assert_eq!(
        pricing,
        json!({ "billable": true, "category": "utility", "model": "PMP", "type": "regular" })
    );
    let error = t.refused(&client, ADA, json!({ "text": { "body": "Noch frei?" } })).await;
    assert_eq!(error["code"], "WINDOW_CLOSED", "a template opens nothing");

    // "The client however can send a message freely to new numbers", for nothing; it opens nothing.
    t.app_writes(SHOP, BEN, "Guten Tag, wir kennen uns noch nicht.").await;
    t.settle().await;
    let row = t.saying(&client, "Guten Tag, wir kennen uns noch nicht.").await;
    assert_eq!(row["pricing"]["billable"], false);
    let conversation = t.conversation(&client, BEN).await;
    assert_eq!(conversation["window"], json!({ "isOpen": false, "closesAt": null, "openedBy": null }));
    let error = t.refused(&client, BEN, json!({ "text": { "body": "Von der API" } })).await;
    assert_eq!(error["code"], "WINDOW_CLOSED");

    // "If the end user sends a message to your client … it opens a 24 hours session."
    t.customer_writes(SHOP, BEN, "Guten Tag!").await;
    t.settle().await;
    let opener = t.saying(&client, "Guten Tag!").await;
    let window = t.conversation(&client, BEN).await["window"].clone();
    let opened = chrono::DateTime::parse_from_rfc3339(opener["sentAt"].as_str().unwrap()).unwrap();
    let closes = chrono::DateTime::parse_from_rfc3339(window["closesAt"].as_str().unwrap()).unwrap();
    assert_eq!((closes - opened).num_seconds(), DAY);
    assert_eq!((&window["isOpen"], &window["openedBy"]["id"]), (&json!(true), &opener["id"]));

    // "So you can send free messages without templates from the API."
    let id = t.sent(&client, BEN, "Womit können wir dienen?").await;
    let pricing = t.message(&id).await["pricing"].clone();
    assert_eq!(
        pricing,
        json!({ "billable": false, "category": "service", "model": "PMP", "type": "free_customer_service" })
    );

    // A day later it is closed again, whatever the client has written in the app meanwhile.
    t.time_passes(DAY - 3600).await;
    t.app_writes(SHOP, BEN, "Noch da?").await;
    t.settle().await;
    assert_eq!(t.conversation(&client, BEN).await["window"]["isOpen"], true);
    t.time_passes(3600).await;
    let closed = t.conversation(&client, BEN).await["window"].clone();
    assert_eq!((&closed["isOpen"], &closed["closesAt"]), (&json!(false), &window["closesAt"]));
    let before = t.arrivals(SHOP).await.len();
    let error = t.refused(&client, BEN, json!({ "text": { "body": "Zu spät" } })).await;
    assert_eq!(error["code"], "WINDOW_CLOSED");
    let closed_at = closes.to_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert!(error["message"].as_str().unwrap().contains(&closed_at), "{error:#}");
    assert_eq!(t.arrivals(SHOP).await.len(), before);
    let sent = t.send(&client, BEN, template, "last").await;
    t.until(&sent, "SENT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_r11_r12_every_feature_of_the_page_has_its_answer() {
    let t = Tandem::new().await;
    t.phone(SHOP, 2, 0).await;
    let chat_features =
        "query($number: PhoneNumber!) { phone(phoneNumber: $number) { disappearingMessages viewOnce } }";
    let on_phone = async || t.simulate(chat_features, json!({ "number": SHOP })).await["phone"].clone();
    assert_eq!(on_phone().await, json!({ "disappearingMessages": true, "viewOnce": true }));
    let client = t.connect(SHOP, false, json!({})).await;
    assert_eq!(on_phone().await, json!({ "disappearingMessages": false, "viewOnce": false }));

    let query = "query($id: ID!) { client(id: $id) { capabilities { feature availability note } } }";
    let data = t.data(query, json!({ "id": client })).await;
    let capabilities = data["client"]["capabilities"].as_array().unwrap();
    let expected = [
        ("MESSAGES", "APP_AND_API"),
        ("GROUPS", "APP_ONLY"),
        ("DISAPPEARING_MESSAGES", "DISABLED_EXCEPT_GROUPS"),
        ("VIEW_ONCE", "DISABLED_EXCEPT_GROUPS"),
        ("CHANNELS", "APP_ONLY"),
        ("STATUS", "APP_ONLY"),
        ("GREETING_MESSAGES", "APP_ONLY"),
        ("AWAY_MESSAGES", "APP_ONLY"),
        ("CALLS", "APP_ONLY"),
        ("BROADCAST_LISTS", "APP_ONLY"),
        ("LIVE_LOCATION", "APP_ONLY"),
        ("PROFILE", "APP_ONLY"),
        ("LINKED_WEB", "APP_AND_API"),
        ("LINKED_MAC", "APP_AND_API"),
        ("LINKED_WINDOWS", "APP_ONLY"),
        ("LINKED_WEAROS", "APP_ONLY"),
    ];
    let answers: Vec<(&str, &str)> = capabilities
        .iter()
        .map(|c| (c["feature"].as_str().unwrap(), c["availability"].as_str().unwrap()))
        .collect();
    assert_eq!(answers, expected);
    // Each value of the enum is answered for, also one that is added later.
    let data = t.data("{ __type(name: \"AppFeature\") { enumValues { name } } }", json!({})).await;
    for value in data["__type"]["enumValues"].as_array().unwrap() {
        assert!(answers.iter().any(|(feature, _)| value["name"] == *feature), "{value}");
    }
    // Where Meta's pages say something else, the note tells both.
    for feature in ["BROADCAST_LISTS", "LIVE_LOCATION", "LINKED_WINDOWS", "LINKED_WEAROS"] {
        let note = capabilities.iter().find(|c| c["feature"] == feature).unwrap()["note"].as_str().unwrap();
        assert!(note.contains("provider") && note.contains("Meta"), "{feature}: {note}");
    }
    // In groups both go on: the phone says so by its words alone, the API by the availability.
    t.act("disconnect", json!({ "phoneNumber": SHOP })).await;
    assert_eq!(on_phone().await, json!({ "disappearingMessages": true, "viewOnce": true }));
}

#[tokio::test(flavor = "multi_thread")]
async fn r13_what_is_written_on_windows_reaches_the_customer_and_nobody_else() {
    let t = Tandem::new().await;
    t.phone(SHOP, 2, 0).await;
    for device in ["WEB", "WINDOWS"] {
        t.act("link", json!({ "phoneNumber": SHOP, "device": device })).await;
    }
    let devices = "query($number: PhoneNumber!) { phone(phoneNumber: $number) { linkedDevices } }";
    let linked =
        async || t.simulate(devices, json!({ "number": SHOP })).await["phone"]["linkedDevices"].clone();
    assert_eq!(linked().await, json!(["WEB", "WINDOWS"]));
    let client = t.imported(SHOP, true, json!({ "history": "NEVER" })).await;
    assert_eq!(linked().await, json!([]), "unlinked by the onboarding");
    t.act("link", json!({ "phoneNumber": SHOP, "device": "WINDOWS" })).await;

    let place = t.place().await;
    for (mutation, device) in
        [("writeFromApp", "WINDOWS"), ("writeFromApp", "WEAROS"), ("writeAsCustomer", "WINDOWS")]
    {
        let text = format!("{mutation} {device}");
        let input = json!({ "phoneNumber": SHOP, "with": ADA, "text": text, "device": device });
        let id = t.write(mutation, input).await;
        if mutation == "writeFromApp" {
            t.customer_sees(SHOP, &id, "read").await;
            assert_eq!(on_screen(&t, &text).await["status"], "read", "the customer has it");
        }
    }
    t.settle().await;
    assert_eq!(t.told_since(&place).await, Vec::<Value>::new());
    assert_eq!(t.messages(&client).await, Vec::<Value>::new());

    // Nothing rests on having seen all that the business wrote: the chat goes on.
    t.customer_writes(SHOP, ADA, "Danke!").await;
    t.settle().await;
    assert_eq!(t.saying(&client, "Danke!").await["origin"], "CUSTOMER");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_customer_chooses_is_shown_as_an_answer_to_what_was_asked() {
    let (t, client) = Tandem::shop().await;
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    let buttons = json!({ "interactive": { "buttons": { "body": "Kommen Sie?", "buttons": [
        { "id": "yes", "title": "Ja" }, { "id": "no", "title": "Nein" }] } } });
    let list = json!({ "interactive": { "list": { "body": "Welche?", "button": "Auswahl", "sections": [
        { "title": "Tee", "rows": [{ "id": "green", "title": "Grün", "description": "aus Japan" }] },
        { "title": "Kaffee", "rows": [{ "id": "black", "title": "Schwarz" }] }] } } });
    let offer = |button: Value| {
        let body = json!({ "type": "BODY", "parameters": [{ "text": "Ada" }, { "text": "20" }] });
        let components: Vec<Value> = [body, button].into_iter().filter(Value::is_object).collect();
        json!({ "template": { "name": "weekly_offer", "language": "de", "components": components } })
    };
    let payload = json!({ "type": "BUTTON", "subType": "QUICK_REPLY", "index": 0,
        "parameters": [{ "type": "PAYLOAD", "payload": "stop-7" }] });
    let words = "Nichts mehr schicken";
    for (key, asked, choice, kind, answer) in [
        ("1", buttons, "Nein", "button_reply", json!({ "id": "no", "title": "Nein", "description": null })),
        (
            "2",
            list.clone(),
            "green",
            "list_reply",
            json!({ "id": "green", "title": "Grün", "description": "aus Japan" }),
        ),
        ("3", list, "black", "list_reply", json!({ "id": "black", "title": "Schwarz", "description": null })),
        (
            "4",
            offer(payload),
            words,
            "button",
            json!({ "id": "stop-7", "title": words, "description": null }),
        ),
        (
            "5",
            offer(Value::Null),
            words,
            "button",
            json!({ "id": words, "title": words, "description": null }),
        ),
    ] {
        let payload = t.send(&client, ADA, asked, key).await;
        let asked = t.until(&payload, "SENT").await;
        let whatsapp_id = t.message(&asked).await["whatsappId"].clone();
        // WhatsApp counts in whole seconds.
        t.time_passes(2).await;
        t.act("choose", json!({ "phoneNumber": SHOP, "messageId": whatsapp_id, "choice": choice })).await;
        t.settle().await;
        let fields = "direction origin text replyTo { id } content { ... on InteractiveContent {
            type body options { id } reply { id title description } } }";
        let mut shown = t.history(&client, fields).await;
        shown.retain(|message| message["replyTo"]["id"] == asked.as_str());
        assert_eq!(shown.len(), 1, "{shown:#?}");
        let shown = shown.remove(0);
        let title = answer["title"].clone();
        assert_eq!(
            shown,
            json!({ "direction": "INBOUND", "origin": "CUSTOMER", "text": title, "replyTo": { "id": asked },
                "content": { "type": kind, "body": null, "options": [], "reply": answer } })
        );
    }
    let conversation = t.conversation(&client, ADA).await;
    assert_eq!(
        (&conversation["window"]["isOpen"], &conversation["unreadCount"]),
        (&json!(true), &json!(1)),
        "sending reads what came before"
    );
    assert_eq!(conversation["window"]["openedBy"]["text"], words, "a choice opens the window like words");
}

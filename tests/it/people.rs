//! Customers whose numbers are hidden, and people under several names.

use serde_json::{Value, json};

use crate::harness::{ADA, BEN, SHOP, Tandem};

async fn contact(t: &Tandem, id: &Value) -> Value {
    let query = "query($id: ID!) { node(id: $id) { id ... on Contact { phoneNumber waUserId fullName profileName } } }";
    t.data(query, json!({ "id": id })).await["node"].clone()
}

/// A customer writes without showing their number: their user id.
async fn hidden(t: &Tandem, client: &str, text: &str) -> String {
    let input = json!({ "phoneNumber": SHOP, "with": ADA, "text": text, "hiddenNumber": true });
    t.write("writeAsCustomer", input).await;
    t.settle().await;
    let row = t.saying(client, text).await;
    row["conversation"]["contact"]["waUserId"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_whose_number_is_hidden_goes_by_their_user_id() {
    let (t, client) = Tandem::shop().await;
    let user_id = hidden(&t, &client, "Wer bin ich?").await;
    let row = t.saying(&client, "Wer bin ich?").await;
    assert_eq!((&row["from"], &row["to"]), (&Value::Null, &json!(SHOP)));
    assert_eq!(row["conversation"]["contact"]["phoneNumber"], Value::Null);
    let conversation = t.conversation(&client, &user_id).await;
    assert_eq!(conversation["id"], row["conversation"]["id"]);
    assert_eq!(conversation["window"]["isOpen"], true);
    assert!(conversation["contact"]["profileName"].is_string(), "{conversation:#}");
    assert_eq!(t.conversation(&client, ADA).await, Value::Null, "nobody knows the number");

    // They are written to by that id, and get it.
    t.sent(&client, &user_id, "Sie sind es!").await;
    let screen = t.screen(SHOP).await;
    assert_eq!((&screen[0]["text"], &screen[0]["to"]), (&json!("Sie sind es!"), &json!(ADA)));
    let row = t.saying(&client, "Sie sind es!").await;
    assert_eq!(row["conversation"]["id"], conversation["id"]);
    // A user id that nobody has met cannot be written to.
    let error = t.refused(&client, "DE.99999999999999999999", json!({ "text": { "body": "?" } })).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("NOT_FOUND"), &json!(["to"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_and_a_user_id_seen_together_become_one_contact() {
    let (t, client) = Tandem::shop().await;
    // The phone book tells of a number alone; a customer writes without theirs.
    let entry = json!({ "type": "contact", "action": "add", "metadata": { "timestamp": "1790000000" },
        "contact": { "full_name": "Ada Weber", "first_name": "Ada", "phone_number": &ADA[1..] } });
    t.hears("smb_app_state_sync", json!({ "state_sync": [entry] })).await;
    let query =
        "query($id: ID!) { contacts(clientId: $id, filter: { search: \"ada weber\" }) { nodes { id } } }";
    let older = t.data(query, json!({ "id": client })).await["contacts"]["nodes"][0]["id"].clone();
    let user_id = hidden(&t, &client, "Ohne Nummer").await;
    let row = t.saying(&client, "Ohne Nummer").await;
    let (newer, chat) = (row["conversation"]["contact"]["id"].clone(), row["conversation"]["id"].clone());
    assert_ne!(older, newer);

    let place = t.place().await;
    t.customer_writes(SHOP, ADA, "Mit Nummer").await;
    t.settle().await;
    // The older id survives; the other one leads to it, everywhere.
    let one = contact(&t, &newer).await;
    assert_eq!(one["id"], older);
    assert_eq!((&one["phoneNumber"], &one["waUserId"]), (&json!(ADA), &json!(user_id)));
    assert_eq!(one["fullName"], "Ada Weber");
    let told = t.told_since(&place).await;
    let merged: Vec<&Value> = told.iter().filter(|event| event["type"] == "CONTACT_MERGED").collect();
    assert_eq!(merged.len(), 1, "{told:#?}");
    assert_eq!((&merged[0]["contact"]["id"], &merged[0]["mergedId"]), (&older, &newer));
    let (by_number, by_id) = (t.conversation(&client, ADA).await, t.conversation(&client, &user_id).await);
    assert_eq!(by_number, by_id);
    assert_eq!(by_number["unreadCount"], 2);
    let query =
        "query($id: ID!) { node(id: $id) { id ... on Conversation { messages { nodes { text } } } } }";
    let data = t.data(query, json!({ "id": chat })).await;
    let texts: Vec<&Value> = data["node"]["messages"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| &message["text"])
        .collect();
    assert_eq!(texts, ["Mit Nummer", "Ohne Nummer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_to_the_number_of_a_hidden_customer_ends_in_one_conversation() {
    let (t, client) = Tandem::shop().await;
    let user_id = hidden(&t, &client, "Ohne Nummer").await;
    let hidden_chat = t.conversation(&client, &user_id).await;
    let place = t.place().await;
    // The API writes to the number, not knowing whose it is: the status tells.
    let content = json!({ "template": { "name": "hello_world", "language": "en_US" } });
    let payload = t.send(&client, ADA, content, "template").await;
    let id = t.until(&payload, "SENT").await;
    t.settle().await;
    let chat = t.conversation(&client, ADA).await;
    assert_eq!(chat["id"], hidden_chat["id"]);
    assert_eq!(chat["contact"]["id"], hidden_chat["contact"]["id"]);
    assert_eq!(
        (&chat["contact"]["waUserId"], &chat["contact"]["phoneNumber"]),
        (&json!(user_id), &json!(ADA))
    );
    assert_eq!(t.message(&id).await["conversation"]["id"], chat["id"]);
    assert_eq!(chat["lastMessage"]["id"], json!(id));
    // Who was shown the contact of the queued message hears that it has another id now.
    let told = t.told_since(&place).await;
    assert!(told.iter().any(|event| event["type"] == "CONTACT_MERGED"), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_the_phone_book_is_told_as_it_changes() {
    let (t, client) = Tandem::shop().await;
    let query = "subscription { contactChanges { type contact { phoneNumber fullName inPhoneBook } } }";
    let mut changes = t.subscribe(query, json!({})).await;
    for (name, kind) in [
        (Some("Ben Öztürk"), "CONTACT_ADDED"),
        (Some("Ben Kaya"), "CONTACT_UPDATED"),
        (None, "CONTACT_REMOVED"),
    ] {
        t.act("changeContact", json!({ "phoneNumber": SHOP, "contact": BEN, "fullName": name })).await;
        let heard = changes.next().await["contactChanges"].clone();
        let contact = json!({ "phoneNumber": BEN, "fullName": name, "inPhoneBook": name.is_some() });
        assert_eq!(heard, json!({ "type": kind, "contact": contact }));
    }
    // Somebody who writes and stands in no phone book is a contact too.
    t.customer_writes(SHOP, ADA, "Neu hier").await;
    let heard = changes.next().await["contactChanges"].clone();
    assert_eq!((&heard["type"], &heard["contact"]["inPhoneBook"]), (&json!("CONTACT_ADDED"), &json!(false)));
    assert_eq!(t.conversation(&client, ADA).await["contact"]["inPhoneBook"], false);
}

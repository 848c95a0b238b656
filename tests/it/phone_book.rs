//! The phone book as events and as a list: S10.

use serde_json::{Value, json};

use crate::harness::Tandem;

const NUMBER: &str = "+4915120000301";
const CHANGES: &str =
    "subscription($ids: [ID!], $after: EventCursor) { contactChanges(clientIds: $ids, after: $after) {
    type client { id } contact { id fullName firstName phoneNumber inPhoneBook } } }";

async fn contacts(t: &Tandem, client: &str, filter: Value) -> Vec<Value> {
    let query = "query($id: ID!, $filter: ContactFilter) { contacts(clientId: $id, filter: $filter, first: 100) { nodes {
        id fullName firstName phoneNumber inPhoneBook conversation { id } } } }";
    let data = t.data(query, json!({ "id": client, "filter": filter })).await;
    data["contacts"]["nodes"].as_array().unwrap().clone()
}

async fn change(t: &Tandem, contact: &str, name: Option<&str>) {
    let input = json!({ "phoneNumber": NUMBER, "contact": contact, "fullName": name });
    t.act("changeContact", input).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_the_phone_book_arrives_with_the_onboarding_and_can_be_listed() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 37, 0).await;
    let after = t.cursor().await;
    let client = t.imported(NUMBER, true, json!({})).await;
    let sync =
        t.client(&client, "contactSync { state percent items finishedAt remedy }").await["contactSync"]
            .clone();
    assert_eq!((&sync["state"], &sync["percent"], &sync["items"]), (&json!("DONE"), &json!(100), &json!(37)));
    assert_ne!(sync["finishedAt"], Value::Null);

    let fields = "... on SyncEvent { kind state items }";
    let told = t.told(&after, &["SYNC_PROGRESS"], fields).await;
    let done = json!({ "kind": "CONTACTS", "state": "DONE", "items": 37 });
    assert!(told.contains(&done), "what it tells is all that came: {told:#?}");

    let fields = "... on ContactEvent { type contact { phoneNumber fullName } client { id } }";
    let told = t.told(&after, &["CONTACT_ADDED", "CONTACT_UPDATED", "CONTACT_REMOVED"], fields).await;
    assert_eq!(told.len(), 37, "each entry once");
    assert!(
        told.iter().all(|event| event["type"] == "CONTACT_ADDED" && event["client"]["id"] == json!(client))
    );

    let query = "query($n: PhoneNumber!) { phone(phoneNumber: $n) { contacts { phoneNumber fullName } } }";
    let phone = t.simulate(query, json!({ "n": NUMBER })).await["phone"]["contacts"].clone();
    let mut on_the_phone = phone.as_array().unwrap().clone();
    let listed = contacts(&t, &client, Value::Null).await;
    let short =
        |contact: &Value| json!({ "phoneNumber": contact["phoneNumber"], "fullName": contact["fullName"] });
    let mut here: Vec<Value> = listed.iter().map(short).collect();
    let by_number = |a: &Value, b: &Value| a["phoneNumber"].as_str().cmp(&b["phoneNumber"].as_str());
    on_the_phone.sort_by(by_number);
    here.sort_by(by_number);
    assert_eq!(here, on_the_phone);
    assert!(
        listed.iter().all(|contact| contact["inPhoneBook"] == true && contact["conversation"] == Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_every_change_of_the_phone_book_is_told() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let mut changes = t.subscribe(CHANGES, json!({ "ids": [client] })).await;
    let mut next = async || changes.next().await["contactChanges"].clone();
    let person = "+4915770000301";

    change(&t, person, Some("Wiebke Größmann")).await;
    let added = next().await;
    assert_eq!(added["type"], "CONTACT_ADDED");
    let id = added["contact"]["id"].clone();
    let shown = json!({ "id": id, "fullName": "Wiebke Größmann", "firstName": "Wiebke", "phoneNumber": person, "inPhoneBook": true });
    assert_eq!(added["contact"], shown);

    change(&t, person, Some("Wiebke Nowak")).await;
    let renamed = next().await;
    assert_eq!(
        (&renamed["type"], &renamed["contact"]["fullName"]),
        (&json!("CONTACT_UPDATED"), &json!("Wiebke Nowak"))
    );
    assert_eq!(renamed["contact"]["id"], id, "the same contact");
    assert_eq!(contacts(&t, &client, json!({ "search": "nowak" })).await.len(), 1);
    assert_eq!(contacts(&t, &client, json!({ "search": "größmann" })).await, Vec::<Value>::new());

    t.customer_writes(NUMBER, person, "Hallo!").await;
    t.settle().await;
    change(&t, person, None).await;
    let removed = next().await;
    assert_eq!(
        (&removed["type"], &removed["contact"]["id"]),
        (&json!("CONTACT_UPDATED"), &id),
        "their own name came with it"
    );
    let removed = next().await;
    assert_eq!((&removed["type"], &removed["contact"]["id"]), (&json!("CONTACT_REMOVED"), &id));
    assert_eq!(
        (&removed["contact"]["inPhoneBook"], &removed["contact"]["fullName"]),
        (&json!(false), &Value::Null)
    );
    let rest = contacts(&t, &client, json!({ "inPhoneBook": false })).await;
    assert_eq!(
        rest.iter().map(|contact| &contact["id"]).collect::<Vec<_>>(),
        [&id],
        "there as long as there is a chat"
    );
    assert_ne!(rest[0]["conversation"], Value::Null);
    assert_eq!(contacts(&t, &client, json!({ "inPhoneBook": true })).await.len(), 2);

    // A customer who writes for the first time is a contact too, though not of the phone book.
    t.customer_writes(NUMBER, "+4915770000302", "Guten Tag").await;
    let stranger = next().await;
    assert_eq!(
        (&stranger["type"], &stranger["contact"]["inPhoneBook"]),
        (&json!("CONTACT_ADDED"), &json!(false))
    );

    change(&t, person, Some("Wiebke N.")).await;
    let back = next().await;
    assert_eq!((&back["type"], &back["contact"]["id"]), (&json!("CONTACT_UPDATED"), &id));
    assert_eq!(back["contact"]["inPhoneBook"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_the_phone_book_is_asked_for_once() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    assert_eq!(t.graph_calls("smb_app_data").await.len(), 1);
    let payload = t.mutate("requestContactSync", json!({ "clientId": client }), "sync { state }").await;
    assert_eq!(payload["userErrors"][0]["code"], "SYNC_ALREADY_REQUESTED");
    assert_eq!(payload["userErrors"][0]["field"], json!(["clientId"]));
    assert_eq!(t.graph_calls("smb_app_data").await.len(), 1, "a known outcome is never asked again");
}

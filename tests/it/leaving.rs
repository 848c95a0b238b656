//! The end of a connection, and the way back: R15.

use serde_json::{Value, json};
use tandem::ids::PublicId;

use crate::harness::{PATIENCE, Tandem};

const NUMBER: &str = "+4915120000401";
const OTHER: &str = "+4915120000402";
const CUSTOMER: &str = "+4915770000401";
const CHANGES: &str = "subscription($ids: [ID!], $after: EventCursor) { clientChanges(clientIds: $ids, after: $after) {
    type state reason disconnectionReason initiatedBy mergedId client { id status phoneNumber pauseReason } } }";
const STATE: &str = "id status phoneNumber connectedAt disconnection { reason initiatedBy at remedy reconnectable upstreamReason }";

async fn texts(t: &Tandem, client: &str) -> Vec<String> {
    let nodes = t.history(client, "text").await;
    nodes.iter().map(|node| node["text"].as_str().unwrap_or_default().to_owned()).collect()
}

fn code(payload: &Value) -> &Value {
    &payload["userErrors"][0]["code"]
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_every_end_has_a_reason_and_a_remedy_and_the_same_client_comes_back() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let mut changes = t.subscribe(CHANGES, json!({ "ids": [client] })).await;
    for (word, by, reason, hint) in [
        ("ACCOUNT_DISCONNECTED", "USER", "BY_CLIENT", "deleted the account"),
        ("ACCOUNT_DISCONNECTED", "SYSTEM", "OTHER", "upstreamReason"),
        ("BUSINESS_DOWNGRADE", "SYSTEM", "BUSINESS_DOWNGRADE", "back to the WhatsApp Business app"),
        ("CHANGE_NUMBER", "USER", "NUMBER_CHANGED", "another number"),
        ("PRIMARY_INACTIVITY", "SYSTEM", "PHONE_INACTIVE", "opening it every few days"),
        ("COMPANION_INACTIVITY", "SYSTEM", "COMPANION_INACTIVE", "not used for too long"),
        ("USER_RE_REGISTERED", "USER", "RE_REGISTERED", "registered again"),
        ("SOMETHING_NEW", "SYSTEM", "OTHER", "upstreamReason"),
    ] {
        t.disconnect(NUMBER, word, by).await;
        let told = changes.next().await["clientChanges"].clone();
        assert_eq!(
            (&told["type"], &told["state"]),
            (&json!("CLIENT_DISCONNECTED"), &json!("DISCONNECTED")),
            "{told:#}"
        );
        assert_eq!(
            (&told["disconnectionReason"], &told["initiatedBy"]),
            (&json!(reason), &json!(by)),
            "{word}"
        );
        let now = t.client(&client, STATE).await;
        let end = &now["disconnection"];
        assert_eq!((&now["status"], &now["phoneNumber"]), (&json!("DISCONNECTED"), &json!(NUMBER)));
        assert_eq!(
            (&end["reason"], &end["initiatedBy"], &end["upstreamReason"]),
            (&json!(reason), &json!(by), &json!(word))
        );
        assert_eq!(end["reconnectable"], reason != "NUMBER_CHANGED", "{word}");
        let remedy = end["remedy"].as_str().unwrap();
        assert!(remedy.contains(hint), "{word}: {remedy}");

        let again = t.imported(NUMBER, true, json!({ "clientId": client, "history": "NEVER" })).await;
        assert_eq!(again, client, "the same client under its old id");
        assert_eq!(changes.next().await["clientChanges"]["type"], "CLIENT_CONNECTED");
        assert_eq!(t.client(&client, STATE).await["disconnection"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_a_deleted_account_is_told_as_one() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let mut changes = t.subscribe(CHANGES, json!({})).await;
    let ids = t.wire_ids(NUMBER).await;
    t.advance_clock(5).await;
    let at = t.clock().await;
    t.hear(&ids.account(at, &json!({ "event": "ACCOUNT_DELETED" }))).await;
    assert_eq!(changes.next().await["clientChanges"]["disconnectionReason"], "ACCOUNT_DELETED");
    let end = t.client(&client, STATE).await["disconnection"].clone();
    assert!(end["remedy"].as_str().unwrap().contains("sets it up again"), "{end:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_after_the_end_nothing_is_sent_and_the_data_stays() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 4, 0).await;
    let client = t.imported(NUMBER, true, json!({})).await;
    t.customer_writes(NUMBER, CUSTOMER, "Habt ihr offen?").await;
    t.settle().await;
    let soon = t.clock().await + 3_600;
    let at = chrono::DateTime::from_timestamp(soon, 0).unwrap().to_rfc3339();
    let query = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id status } userErrors { code } } }";
    let input = json!({
        "clientId": client, "to": CUSTOMER, "content": { "text": { "body": "In einer Stunde" } },
        "idempotencyKey": "later", "sendAt": at,
    });
    let queued = t.data(query, json!({ "input": input })).await["sendMessage"].clone();
    assert_eq!((&queued["userErrors"], &queued["message"]["status"]), (&json!([]), &json!("QUEUED")));

    let query = "subscription($after: EventCursor) { messageStatuses(statuses: [CANCELED], after: $after) {
        status error { message details } message { id status } } }";
    let mut canceled = t.subscribe(query, json!({})).await;
    t.disconnect(NUMBER, "ACCOUNT_DISCONNECTED", "USER").await;
    let told = canceled.next().await["messageStatuses"].clone();
    assert_eq!(told["message"]["id"], queued["message"]["id"]);
    assert_eq!((&told["status"], &told["message"]["status"]), (&json!("CANCELED"), &json!("CANCELED")));
    assert_eq!(told["error"]["message"], "CLIENT_DISCONNECTED");
    assert!(told["error"]["details"].as_str().unwrap().contains("nothing was sent"), "{told:#}");
    t.settle().await;

    let payload = t.send(&client, CUSTOMER, json!({ "text": { "body": "Noch da?" } }), "after").await;
    assert_eq!(code(&payload), "CLIENT_NOT_CONNECTED");
    for mutation in ["requestHistorySync", "requestContactSync", "confirmAppVisit"] {
        let payload = t.mutate(mutation, json!({ "clientId": client }), "client { id }").await;
        assert_eq!(code(&payload), "CLIENT_NOT_CONNECTED", "{mutation}");
    }
    assert_eq!(t.arrivals(NUMBER).await, Vec::<Value>::new());
    assert_eq!(texts(&t, &client).await, ["In einer Stunde", "Habt ihr offen?"]);
    let contacts =
        "contacts(first: 100) { nodes { id } } conversations { nodes { id window { isOpen closesAt } } }";
    let before = t.client(&client, contacts).await;
    assert_eq!(before["contacts"]["nodes"].as_array().unwrap().len(), 5);

    // What happens while nobody is connected is not told; the next import brings it.
    t.customer_writes(NUMBER, CUSTOMER, "in between").await;
    t.settle().await;
    assert_eq!(texts(&t, &client).await, ["In einer Stunde", "Habt ihr offen?"]);
    // WhatsApp's stamps are whole seconds: what was written in the very second of the connection would count for it.
    t.advance_clock(5).await;
    t.imported(NUMBER, true, json!({ "clientId": client })).await;
    let after = t.client(&client, contacts).await;
    assert_eq!(after["contacts"], before["contacts"], "no contact twice");
    let conversations = after["conversations"]["nodes"].as_array().unwrap();
    assert_eq!(conversations.len(), 1);
    assert_eq!(
        conversations[0]["window"],
        json!({ "isOpen": false, "closesAt": null }),
        "a window of the old connection"
    );
    let here = t.history(&client, "text imported").await;
    let of = |text: &str| here.iter().filter(|message| message["text"] == text).collect::<Vec<_>>();
    assert_eq!((here.len(), of("Habt ihr offen?").len()), (3, 1), "nothing twice: {here:#?}");
    assert_eq!(of("in between"), [&json!({ "text": "in between", "imported": true })]);
    assert_eq!(of("Habt ihr offen?")[0]["imported"], false);
    t.customer_writes(NUMBER, CUSTOMER, "Jetzt aber").await;
    t.settle().await;
    let payload = t.send(&client, CUSTOMER, json!({ "text": { "body": "Ja!" } }), "now").await;
    assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_moving_to_the_regular_app_ends_the_connection() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let mut changes = t.subscribe(CHANGES, json!({ "ids": [client] })).await;
    t.act("setApp", json!({ "phoneNumber": NUMBER, "app": "REGULAR" })).await;
    assert_eq!(changes.next().await["clientChanges"]["disconnectionReason"], "BUSINESS_DOWNGRADE");
    let onboarding = t.onboarding(json!({ "clientId": client })).await;
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    assert_eq!(payload["onboarding"]["failure"]["code"], "NOT_A_BUSINESS_APP_NUMBER");
    assert_eq!(t.client(&client, "status").await["status"], "DISCONNECTED", "a failed try changes nothing");
    t.act("setApp", json!({ "phoneNumber": NUMBER, "app": "BUSINESS" })).await;
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    assert_eq!(
        payload["onboarding"]["client"],
        json!({ "id": client, "status": "CONNECTED", "phoneNumber": NUMBER })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_a_new_phone_pauses_and_resumes() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    t.customer_writes(NUMBER, CUSTOMER, "Hallo").await;
    t.settle().await;
    let mut changes = t.subscribe(CHANGES, json!({ "ids": [client] })).await;
    t.act("changePhone", json!({ "phoneNumber": NUMBER })).await;
    let paused = changes.next().await["clientChanges"].clone();
    assert_eq!(paused["type"], "CLIENT_PAUSED");
    assert!(paused["reason"].as_str().unwrap().contains("phone"), "{paused:#}");
    assert_eq!(changes.next().await["clientChanges"]["type"], "CLIENT_RESUMED");
    assert_eq!(
        t.client(&client, "status pauseReason").await,
        json!({ "status": "CONNECTED", "pauseReason": null })
    );
    t.settle().await;

    // Step by step: while it is paused nothing is sent, and all that comes is taken.
    let ids = t.wire_ids(NUMBER).await;
    t.advance_clock(5).await;
    t.hear(&ids.account(t.clock().await, &json!({ "event": "ACCOUNT_OFFBOARDED" }))).await;
    assert_eq!(changes.next().await["clientChanges"]["client"]["status"], "PAUSED");
    let payload = t.send(&client, CUSTOMER, json!({ "text": { "body": "Ja?" } }), "k").await;
    assert_eq!(code(&payload), "CLIENT_NOT_CONNECTED");
    t.customer_writes(NUMBER, CUSTOMER, "Noch etwas").await;
    t.settle().await;
    assert_eq!(texts(&t, &client).await, ["Noch etwas", "Hallo"]);
    t.advance_clock(5).await;
    t.hear(&ids.account(t.clock().await, &json!({ "event": "ACCOUNT_RECONNECTED" }))).await;
    assert_eq!(changes.next().await["clientChanges"]["type"], "CLIENT_RESUMED");
    let payload = t.send(&client, CUSTOMER, json!({ "text": { "body": "Ja!" } }), "k").await;
    assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_a_fresh_link_that_brings_a_known_number_leads_to_the_known_client() {
    let t = Tandem::new().await;
    let known = t.connected(NUMBER).await;
    t.customer_writes(NUMBER, CUSTOMER, "Hallo").await;
    t.settle().await;
    t.disconnect(NUMBER, "ACCOUNT_DISCONNECTED", "USER").await;
    t.settle().await;

    let before = t.cursor().await;
    let onboarding = t.onboarding(json!({ "reference": "new-link", "history": "NEVER" })).await;
    let made =
        t.onboarding_now(&onboarding, "client { id }").await["client"]["id"].as_str().unwrap().to_owned();
    assert_ne!(made, known);
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    assert_eq!(
        payload["onboarding"]["client"],
        json!({ "id": known, "status": "CONNECTED", "phoneNumber": NUMBER })
    );
    t.settle().await;

    let fields = "... on ClientEvent { type mergedId client { id } }";
    let told = t.told(&before, &["CLIENT_MERGED", "CLIENT_CONNECTED"], fields).await;
    let merged = json!({ "type": "CLIENT_MERGED", "mergedId": made, "client": { "id": known } });
    assert!(told.contains(&merged), "{told:#?}");
    assert!(
        told.contains(&json!({ "type": "CLIENT_CONNECTED", "mergedId": null, "client": { "id": known } }))
    );
    assert_eq!(told.len(), 2, "once: {told:#?}");
    // The link is found by the key that it was made with, which the client has now, too.
    let query =
        "{ onboardings(filter: { reference: \"new-link\" }) { nodes { id client { id reference } } } }";
    let found = t.data(query, json!({})).await["onboardings"]["nodes"].clone();
    let link = json!({ "id": onboarding, "client": { "id": known, "reference": "new-link" } });
    assert!(found.as_array().unwrap().contains(&link), "{found:#}");

    // Both ids answer, everywhere.
    for id in [&known, &made] {
        assert_eq!(t.client(id, "id status").await, json!({ "id": known, "status": "CONNECTED" }));
        assert_eq!(texts(&t, id).await, ["Hallo"]);
        let query = "query($id: ID!, $with: String!) { node(id: $id) { id } nodes(ids: [$id]) { id }
            contacts(clientId: $id) { nodes { id } } conversation(clientId: $id, with: $with) { client { id } }
            conversations(clientIds: [$id]) { nodes { client { id } } }
            events(filter: { clientIds: [$id], types: [MESSAGE_INCOMING] }) { nodes { ... on Event { client { id } } } } }";
        let data = t.data(query, json!({ "id": id, "with": CUSTOMER })).await;
        assert_eq!(data["node"]["id"], json!(known));
        assert_eq!(data["nodes"], json!([{ "id": known }]));
        assert_eq!(data["contacts"]["nodes"].as_array().unwrap().len(), 3);
        assert_eq!(data["conversation"]["client"]["id"], json!(known));
        assert_eq!(data["conversations"]["nodes"], json!([{ "client": { "id": known } }]));
        assert_eq!(data["events"]["nodes"], json!([{ "client": { "id": known } }]));
        let mut changes = t.subscribe(CHANGES, json!({ "ids": [id], "after": before })).await;
        changes.until(|data| data["clientChanges"]["mergedId"] == json!(made)).await;
        let payload = t.mutate("confirmAppVisit", json!({ "clientId": id }), "client { id }").await;
        assert_eq!(payload["client"]["id"], json!(known));
    }
    let listed = t.data("{ clients { nodes { id } } }", json!({})).await;
    assert_eq!(listed["clients"]["nodes"], json!([{ "id": known }]), "the one made for the link is closed");
    assert_eq!(t.onboarding_now(&onboarding, "client { id }").await["client"]["id"], json!(known));

    // Once more: every id that ever stood for it goes on answering.
    t.disconnect(NUMBER, "ACCOUNT_DISCONNECTED", "USER").await;
    t.settle().await;
    let third = t.onboarding(json!({ "history": "NEVER" })).await;
    let second_made =
        t.onboarding_now(&third, "client { id }").await["client"]["id"].as_str().unwrap().to_owned();
    t.complete(&third, &t.signup(NUMBER, true).await).await;
    for id in [&known, &made, &second_made] {
        assert_eq!(t.client(id, "id").await["id"], json!(known));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_a_link_for_one_number_does_not_take_another() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let payload = t
        .mutate(
            "createOnboarding",
            json!({ "businessName": "Shop", "clientId": client }),
            "onboarding { id }",
        )
        .await;
    assert_eq!(
        (code(&payload), &payload["userErrors"][0]["field"]),
        (&json!("INVALID"), &json!(["clientId"]))
    );
    t.disconnect(NUMBER, "CHANGE_NUMBER", "USER").await;
    t.settle().await;
    let onboarding = t.onboarding(json!({ "clientId": client, "history": "NEVER" })).await;
    t.phone(OTHER, 2, 0).await;
    let payload = t.complete(&onboarding, &t.signup(OTHER, true).await).await;
    let failure = &payload["onboarding"]["failure"];
    assert_eq!(
        (&payload["onboarding"]["status"], &failure["code"]),
        (&json!("FAILED"), &json!("OTHER")),
        "{payload:#}"
    );
    assert!(failure["message"].as_str().unwrap().contains(NUMBER), "{failure:#}");
    assert_eq!(
        t.client(&client, "status phoneNumber").await,
        json!({ "status": "DISCONNECTED", "phoneNumber": NUMBER })
    );
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    assert_eq!(
        payload["onboarding"]["client"],
        json!({ "id": client, "status": "CONNECTED", "phoneNumber": NUMBER })
    );
}

/// What a partner asks, with its own key.
async fn as_rival(t: &Tandem, key: &str, query: &str, variables: Value) -> Value {
    let answer = t.ask_as(Some(key), query, variables).await;
    assert!(answer.get("errors").is_none(), "{answer:#}");
    answer["data"].clone()
}

const CREATE: &str = "mutation { createOnboarding(input: { businessName: \"Rival's\", history: NEVER }) {
    onboarding { id client { id } } userErrors { code } } }";
const COMPLETE: &str = "mutation($input: CompleteOnboardingInput!) { completeOnboarding(input: $input) {
    onboarding { status failure { code message remedy upstreamCode } client { id status phoneNumber displayName } }
    userErrors { code } } }";

#[tokio::test(flavor = "multi_thread")]
async fn r15_a_number_in_use_by_another_partner_is_refused_telling_nothing() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    let rival = t.another_partner().await;
    let made = as_rival(&t, &rival, CREATE, json!({})).await["createOnboarding"]["onboarding"].clone();
    // The end of the first connection never reaches the service: as far as it knows, the number is in use.
    let fields = json!({ "fields": ["messages"] });
    t.simulate("mutation($fields: [String!]!) { subscribeFields(fields: $fields) }", fields).await;
    t.disconnect(NUMBER, "ACCOUNT_DISCONNECTED", "USER").await;
    t.settle().await;
    let before = t.cursor().await;
    let signup = t.signup(NUMBER, true).await;
    let input = json!({
        "onboardingId": made["id"], "code": signup["code"], "wabaId": signup["wabaId"], "event": signup["event"],
    });
    let payload =
        as_rival(&t, &rival, COMPLETE, json!({ "input": input })).await["completeOnboarding"].clone();
    let onboarding = &payload["onboarding"];
    assert_eq!(
        (&onboarding["status"], &onboarding["failure"]["code"]),
        (&json!("FAILED"), &json!("NUMBER_IN_USE"))
    );
    assert_eq!(onboarding["failure"]["upstreamCode"], Value::Null);
    let words = format!("{} {}", onboarding["failure"]["message"], onboarding["failure"]["remedy"]);
    for secret in [client.as_str(), t.partner.as_str(), "Acme", "Café Test"] {
        assert!(!words.contains(secret), "{words}");
    }
    assert_eq!(onboarding["client"]["id"], made["client"]["id"]);
    assert_eq!(
        (&onboarding["client"]["status"], &onboarding["client"]["displayName"]),
        (&json!("ONBOARDING"), &Value::Null)
    );
    assert!(onboarding["client"]["phoneNumber"].as_str().unwrap().starts_with("+97257"));

    assert_eq!(t.client(&client, "status").await["status"], "CONNECTED", "the first one notices nothing");
    assert_eq!(
        t.told(
            &before,
            &["CLIENT_CONNECTED", "CLIENT_DISCONNECTED", "CLIENT_MERGED"],
            "... on Event { type }"
        )
        .await,
        Vec::<Value>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_a_client_of_another_partner_is_never_resumed() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    t.customer_writes(NUMBER, CUSTOMER, "for the first").await;
    t.settle().await;
    t.disconnect(NUMBER, "ACCOUNT_DISCONNECTED", "USER").await;
    t.settle().await;
    let rival = t.another_partner().await;
    let made = as_rival(&t, &rival, CREATE, json!({})).await["createOnboarding"]["onboarding"].clone();
    let signup = t.signup(NUMBER, true).await;
    let input = json!({
        "onboardingId": made["id"], "code": signup["code"], "wabaId": signup["wabaId"], "event": signup["event"],
    });
    let payload =
        as_rival(&t, &rival, COMPLETE, json!({ "input": input })).await["completeOnboarding"].clone();
    assert_eq!(payload["onboarding"]["status"], "CONNECTED", "{payload:#}");
    assert_eq!(payload["onboarding"]["client"]["id"], made["client"]["id"], "a client of its own");
    let theirs = made["client"]["id"].as_str().unwrap();
    t.customer_writes(NUMBER, CUSTOMER, "for the second").await;
    t.settle().await;

    let query = "query($id: ID!) { history(clientId: $id) { nodes { text } } }";
    let data = as_rival(&t, &rival, query, json!({ "id": theirs })).await;
    assert_eq!(data["history"]["nodes"], json!([{ "text": "for the second" }]));
    assert_eq!(
        texts(&t, &client).await,
        ["for the first"],
        "what was written then stays, what is written now is not theirs"
    );
    assert_eq!(t.client(&client, "status").await["status"], "DISCONNECTED");
    let query = "query($id: ID!) { client(id: $id) { id } }";
    assert_eq!(as_rival(&t, &rival, query, json!({ "id": client })).await["client"], Value::Null);
    let query = "mutation($id: ID!) { createOnboarding(input: { businessName: \"x\", clientId: $id }) { userErrors { code } } }";
    let data = as_rival(&t, &rival, query, json!({ "id": client })).await;
    assert_eq!(data["createOnboarding"]["userErrors"], json!([{ "code": "NOT_FOUND" }]));

    // The first partner can have it back only when the second lost it.
    let onboarding = t.onboarding(json!({ "clientId": client, "history": "NEVER" })).await;
    t.disconnect(NUMBER, "ACCOUNT_DISCONNECTED", "USER").await;
    t.settle().await;
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    assert_eq!(
        payload["onboarding"]["client"],
        json!({ "id": client, "status": "CONNECTED", "phoneNumber": NUMBER })
    );
    t.customer_writes(NUMBER, CUSTOMER, "for the first again").await;
    t.settle().await;
    assert_eq!(texts(&t, &client).await, ["for the first again", "for the first"]);
}

/// A message that waits for an hour: its payload.
async fn in_an_hour(t: &Tandem, client: &str, words: &str) -> Value {
    let at = chrono::DateTime::from_timestamp(t.clock().await + 3_600, 0).unwrap().to_rfc3339();
    let query = "mutation($input: SendMessageInput!) { sendMessage(input: $input) {
        message { id status } eventCursor userErrors { code } } }";
    let input = json!({ "clientId": client, "to": CUSTOMER, "content": { "text": { "body": words } },
        "idempotencyKey": words, "sendAt": at });
    t.data(query, json!({ "input": input })).await["sendMessage"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_client_is_resumed_and_what_waited_goes_on() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    t.customer_writes(NUMBER, CUSTOMER, "Hallo").await;
    t.settle().await;
    let resume = async || t.mutate("resumeClient", json!({ "clientId": client }), "client { status }").await;
    let refused = resume().await;
    assert_eq!((code(&refused), &refused["client"]), (&json!("INVALID"), &Value::Null), "it is not paused");
    let queued = in_an_hour(&t, &client, "Später").await;
    let ids = t.wire_ids(NUMBER).await;
    t.advance_clock(5).await;
    t.hear(&ids.account(t.clock().await, &json!({ "event": "ACCOUNT_OFFBOARDED" }))).await;
    assert_eq!(t.client(&client, "status").await["status"], "PAUSED");
    t.time_passes(3_700).await;
    assert_eq!(t.message(queued["message"]["id"].as_str().unwrap()).await["status"], "QUEUED");
    let mut changes = t.subscribe(CHANGES, json!({ "ids": [client] })).await;
    let resumed = resume().await;
    assert_eq!((&resumed["userErrors"], &resumed["client"]["status"]), (&json!([]), &json!("CONNECTED")));
    let told = changes.next().await["clientChanges"].clone();
    assert_eq!((&told["type"], &told["client"]["pauseReason"]), (&json!("CLIENT_RESUMED"), &Value::Null));
    t.until(&queued, "SENT").await;
    assert_eq!(code(&resume().await), "INVALID");

    t.disconnect(NUMBER, "ACCOUNT_DISCONNECTED", "USER").await;
    t.settle().await;
    assert_eq!(code(&resume().await), "CLIENT_NOT_CONNECTED", "that needs a new onboarding");
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_a_partner_ends_the_connection_and_the_same_client_comes_back() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    t.customer_writes(NUMBER, CUSTOMER, "Hallo").await;
    t.settle().await;
    let queued = in_an_hour(&t, &client, "Kommt nicht mehr").await;
    let ids = t.wire_ids(NUMBER).await;
    let mut changes = t.subscribe(CHANGES, json!({ "ids": [client] })).await;
    let end = async || {
        let selection = "client { status disconnection { reason initiatedBy remedy reconnectable } }";
        t.mutate("disconnectClient", json!({ "clientId": client }), selection).await
    };
    let payload = end().await;
    assert_eq!((&payload["userErrors"], &payload["client"]["status"]), (&json!([]), &json!("DISCONNECTED")));
    let why = &payload["client"]["disconnection"];
    assert_eq!((&why["reason"], &why["initiatedBy"]), (&json!("BY_PARTNER"), &json!("PARTNER")));
    assert!(why["remedy"].as_str().unwrap().contains("new onboarding"), "{why:#}");
    assert_eq!(why["reconnectable"], true);
    let told = changes.next().await["clientChanges"].clone();
    assert_eq!(
        (&told["type"], &told["disconnectionReason"], &told["initiatedBy"]),
        (&json!("CLIENT_DISCONNECTED"), &json!("BY_PARTNER"), &json!("PARTNER"))
    );
    let row = t.message(queued["message"]["id"].as_str().unwrap()).await;
    assert_eq!(
        (&row["status"], &row["error"]["message"]),
        (&json!("CANCELED"), &json!("CLIENT_DISCONNECTED"))
    );
    let calls = t.graph_calls("subscribed_apps").await;
    assert_eq!(calls.iter().filter(|call| call["method"] == "DELETE").count(), 1, "{calls:#?}");
    // The phone shows it until the client ends it there; nothing is sent, and the data stays.
    let query = "query($n: PhoneNumber!) { phone(phoneNumber: $n) { connected } }";
    assert_eq!(t.simulate(query, json!({ "n": NUMBER })).await["phone"]["connected"], true);
    let refused = t.send(&client, CUSTOMER, json!({ "text": { "body": "Noch da?" } }), "after").await;
    assert_eq!(code(&refused), "CLIENT_NOT_CONNECTED");
    assert_eq!(texts(&t, &client).await, ["Kommt nicht mehr", "Hallo"]);
    assert_eq!(code(&end().await), "CLIENT_NOT_CONNECTED", "once");
    // What WhatsApp tells later does not bring it back, nor pause it.
    t.advance_clock(5).await;
    for event in ["ACCOUNT_OFFBOARDED", "ACCOUNT_RECONNECTED"] {
        t.hear(&ids.account(t.clock().await, &json!({ "event": event }))).await;
        assert_eq!(t.client(&client, "status").await["status"], "DISCONNECTED", "{event}");
    }
    t.disconnect(NUMBER, "ACCOUNT_DISCONNECTED", "USER").await;
    t.advance_clock(5).await;
    let again = t.imported(NUMBER, true, json!({ "clientId": client, "history": "NEVER" })).await;
    assert_eq!(again, client);
    assert_eq!(t.client(&client, "status").await["status"], "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_shared_stays_subscribed_until_its_last_client_is_gone() {
    let t = Tandem::new().await;
    let first = t.connected(NUMBER).await;
    let second = t.connected(OTHER).await;
    t.share_account(&first, &second).await;
    let deleted = async || {
        let calls = t.graph_calls("subscribed_apps").await;
        calls.iter().filter(|call| call["method"] == "DELETE").count()
    };
    for (client, count) in [(&first, 0), (&second, 1)] {
        let payload = t.mutate("disconnectClient", json!({ "clientId": client }), "client { status }").await;
        assert_eq!(payload["client"]["status"], "DISCONNECTED", "{payload:#}");
        assert_eq!(deleted().await, count);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_not_ended_while_whatsapp_cannot_be_told() {
    let t = Tandem::new().await;
    let client = t.connected(NUMBER).await;
    t.customer_writes(NUMBER, CUSTOMER, "Hallo").await;
    t.settle().await;
    let queued = in_an_hour(&t, &client, "Später").await;
    let before = t.cursor().await;
    // Meta's own words for: try again later.
    t.act("refuse", json!({ "path": "subscribed_apps", "code": 2 })).await;
    let query = "mutation($id: ID!) { disconnectClient(input: { clientId: $id }) { userErrors { code } } }";
    let answer = t.ask(query, json!({ "id": client })).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAVAILABLE", "{answer:#}");
    assert_eq!(t.client(&client, "status").await["status"], "CONNECTED", "nothing was changed");
    assert_eq!(t.message(queued["message"]["id"].as_str().unwrap()).await["status"], "QUEUED");
    let told = t.told(&before, &["CLIENT_DISCONNECTED", "MESSAGE_STATUS"], "... on Event { type }").await;
    assert_eq!(told, Vec::<Value>::new());
    let payload = t.mutate("disconnectClient", json!({ "clientId": client }), "client { status }").await;
    assert_eq!(payload["client"]["status"], "DISCONNECTED", "the same again succeeds: {payload:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_stays_subscribed_when_a_number_joins_it_while_another_leaves() {
    let t = Tandem::new().await;
    let first = t.connected(NUMBER).await;
    let second = t.connected(OTHER).await;
    let account = t.wire_ids(NUMBER).await.waba_id;
    let known = t.graph_calls("subscribed_apps").await.len();
    // Between the end at WhatsApp's and the end here, the other number comes to the same account.
    let held = t.running().app.db.hold([entity::ClientId::parse(&first).unwrap()]).await;
    let leaves = t.mutate("disconnectClient", json!({ "clientId": first }), "client { status }");
    let joins = async {
        while t.graph_calls("subscribed_apps").await.len() == known {}
        t.share_account(&first, &second).await;
        drop(held);
    };
    let (payload, ()) = tokio::join!(leaves, joins);
    assert_eq!(payload["client"]["status"], "DISCONNECTED", "{payload:#}");
    let calls = t.graph_calls("subscribed_apps").await;
    let told: Vec<(&str, bool)> = calls[known..]
        .iter()
        .map(|call| (call["method"].as_str().unwrap(), call["path"].as_str().unwrap().contains(&account)))
        .collect();
    assert_eq!(told, [("DELETE", true), ("POST", true)], "{calls:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_joins_an_account_is_heard_although_another_left_it_that_very_moment() {
    use sea_orm::EntityTrait;
    let t = Tandem::new().await;
    let first = t.connected(NUMBER).await;
    // One on the API alone can sign up again although nobody disconnected it at WhatsApp's.
    t.create_phone(json!({ "phoneNumber": OTHER, "displayName": "Hotline", "app": "API_ONLY" })).await;
    let second = t.connect(OTHER, true, json!({ "coexistence": false })).await;
    // The simulator gives each number an account of its own: the first one moves into the second one's.
    let app = t.running().app.clone();
    let row = async |id: &str| {
        let id = entity::ClientId::parse(id).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the simulator knows no shared accounts")]
        let row = entity::client::Entity::find_by_id(id).one(app.db.read()).await.unwrap();
        row.unwrap()
    };
    let of_second = row(&second).await;
    let token = app.key.open(of_second.id.uuid().as_bytes(), &of_second.token_sealed.unwrap()).unwrap();
    let of_first = row(&first).await;
    let sealed = app.key.seal(of_first.id.uuid().as_bytes(), &token).unwrap();
    let of_first =
        entity::client::Model { waba_id: of_second.waba_id, token_sealed: Some(sealed), ..of_first };
    tandem::db::upsert::<entity::client::Entity, _>(app.db.write(), vec![of_first]).await.unwrap();
    t.mutate("disconnectClient", json!({ "clientId": second }), "client { status }").await;

    // The second one comes back; when its subscription was read back and it is not connected yet, the first one leaves.
    let onboarding = t.onboarding(json!({ "clientId": second, "coexistence": false })).await;
    let signup = t.signup(OTHER, true).await;
    assert!(signup["code"].is_string(), "{signup:#}");
    let known = t.graph_calls("subscribed_apps").await.len();
    let held = app.db.hold([of_second.id]).await;
    let joins = t.complete(&onboarding, &signup);
    let leaves = async {
        while t.graph_calls("subscribed_apps").await.len() < known + 2 {}
        let payload = t.mutate("disconnectClient", json!({ "clientId": first }), "client { status }").await;
        assert_eq!(payload["client"]["status"], "DISCONNECTED", "{payload:#}");
        drop(held);
    };
    let both = async { tokio::join!(joins, leaves) };
    let (payload, ()) = tokio::time::timeout(PATIENCE, both).await.expect("they wait for each other");
    assert_eq!(payload["onboarding"]["status"], "CONNECTED", "{payload:#}");
    let calls = t.graph_calls("subscribed_apps").await;
    let told: Vec<(&str, i64)> = calls[known..]
        .iter()
        .map(|call| (call["method"].as_str().unwrap(), call["status"].as_i64().unwrap()))
        .collect();
    assert_eq!(told, [("POST", 200), ("GET", 200), ("DELETE", 200), ("GET", 200), ("POST", 200)]);
    t.customer_writes(OTHER, CUSTOMER, "Hört ihr mich?").await;
    t.settle().await;
    t.saying(&second, "Hört ihr mich?").await;
}

//! From a link to a connected number: R1, R2, R13, R14, S1 to S5, S8.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::Tandem;

const NUMBER: &str = "+4915120000101";
const CUSTOMER: &str = "+4915770000101";
const STATE: &str = "status failure { code message remedy upstreamCode } steps { status }";
const OUTGOING: &str =
    "subscription($after: EventCursor) { outgoingMessages(after: $after) { message { text } } }";
const INCOMING: &str = "subscription($after: EventCursor) { incomingMessages(after: $after) { message { text client { id } } } }";
const PROGRESS: &str =
    "subscription($id: ID!, $after: EventCursor) { onboardingProgress(onboardingId: $id, after: $after) {
    type status onboarding { id status sharesHistory } } }";

/// The codes of a payload's user errors, with the fields that they name.
fn refusals(payload: &Value) -> Vec<(String, Value)> {
    let errors = payload["userErrors"].as_array().unwrap();
    errors.iter().map(|error| (error["code"].as_str().unwrap().to_owned(), error["field"].clone())).collect()
}

fn refused(payload: &Value, code: &str) {
    assert_eq!(
        refusals(payload).iter().map(|(code, _)| code.as_str()).collect::<Vec<_>>(),
        [code],
        "{payload:#}"
    );
}

fn steps(onboarding: &Value) -> Vec<&str> {
    onboarding["steps"].as_array().unwrap().iter().map(|step| step["status"].as_str().unwrap()).collect()
}

/// What a browser sees behind the link.
async fn page(t: &Tandem, onboarding: &str) -> (u16, String) {
    let link = t.onboarding_now(onboarding, "link").await["link"].as_str().unwrap().to_owned();
    assert!(link.starts_with(&t.url()), "{link}");
    let answer = t.http.get(link).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn r01_a_number_of_the_regular_app_is_moved_and_the_same_link_then_succeeds() {
    let t = Tandem::new().await;
    t.create_phone(json!({ "phoneNumber": NUMBER, "displayName": "Café Test", "app": "REGULAR" })).await;
    let onboarding = t.onboarding(json!({})).await;
    let signup = t.signup(NUMBER, true).await;
    assert_eq!(signup["code"], Value::Null);
    let payload = t.complete(&onboarding, &signup).await;
    assert_eq!(payload["userErrors"], json!([]), "a failed signup is a state, not an error");
    let failure = &payload["onboarding"]["failure"];
    assert_eq!(payload["onboarding"]["status"], "FAILED");
    assert_eq!(
        (&failure["code"], &failure["upstreamCode"]),
        (&json!("NOT_A_BUSINESS_APP_NUMBER"), &json!("2655095"))
    );
    let remedy = failure["remedy"].as_str().unwrap();
    assert!(remedy.contains("WhatsApp Business app") && remedy.contains("same number"), "{remedy}");
    assert_eq!(payload["onboarding"]["client"]["status"], "ONBOARDING");
    assert!(page(&t, &onboarding).await.1.contains(remedy), "it is on the page, too");

    t.act("setApp", json!({ "phoneNumber": NUMBER, "app": "BUSINESS" })).await;
    let client = payload["onboarding"]["client"]["id"].clone();
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    assert_eq!(payload["onboarding"]["status"], "CONNECTED", "{payload:#}");
    assert_eq!(payload["onboarding"]["failure"], Value::Null);
    assert_eq!(
        payload["onboarding"]["client"],
        json!({ "id": client, "status": "CONNECTED", "phoneNumber": NUMBER })
    );
    let now = t.onboarding_now(&onboarding, STATE).await;
    assert!(steps(&now).contains(&"FAILED") && steps(&now).contains(&"CONNECTED"), "{now:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r02_an_app_that_is_too_old_is_told_the_version_that_it_needs() {
    let t = Tandem::new().await;
    let phone = json!({ "phoneNumber": NUMBER, "displayName": "Café Test", "appVersion": "2.24.16" });
    t.create_phone(phone).await;
    let onboarding = t.onboarding(json!({})).await;
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    let failure = &payload["onboarding"]["failure"];
    assert_eq!((&failure["code"], &failure["upstreamCode"]), (&json!("APP_TOO_OLD"), &json!("4563015")));
    assert!(failure["message"].as_str().unwrap().contains("2.24.17"), "{failure:#}");
    assert!(failure["remedy"].as_str().unwrap().contains("same link"), "{failure:#}");

    t.act("setApp", json!({ "phoneNumber": NUMBER, "appVersion": "2.24.17" })).await;
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    assert_eq!(payload["onboarding"]["status"], "CONNECTED", "{payload:#}");
    let client = payload["onboarding"]["client"]["id"].as_str().unwrap();
    assert_eq!(
        t.client(client, "app { version }").await["app"]["version"],
        Value::Null,
        "Meta does not tell it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r02_the_version_needed_is_a_setting() {
    let t = Tandem::with(&[("TANDEM_META_MINIMUM_APP_VERSION", "2.26.1")]).await;
    let onboarding = t.onboarding(json!({})).await;
    let error = json!({ "error": { "code": "4563015", "message": "Update." } });
    let payload = t.complete(&onboarding, &error).await;
    let message = payload["onboarding"]["failure"]["message"].as_str().unwrap();
    assert!(message.contains("2.26.1") && !message.contains("2.24.17"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r13_devices_are_unlinked_and_windows_and_watches_are_invisible_to_the_api() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 2, 0).await;
    for device in ["MAC", "WINDOWS"] {
        t.act("link", json!({ "phoneNumber": NUMBER, "device": device })).await;
    }
    let devices = "query($n: PhoneNumber!) { phone(phoneNumber: $n) { linkedDevices } }";
    let linked = t.simulate(devices, json!({ "n": NUMBER })).await;
    assert_eq!(linked["phone"]["linkedDevices"], json!(["WEB", "MAC", "WINDOWS"]));
    let client = t.imported(NUMBER, true, json!({ "history": "NEVER" })).await;
    let linked = t.simulate(devices, json!({ "n": NUMBER })).await;
    assert_eq!(linked["phone"]["linkedDevices"], json!([]));

    let capabilities =
        t.client(&client, "capabilities { feature availability note }").await["capabilities"].clone();
    let of = |feature: &str| {
        let all = capabilities.as_array().unwrap();
        all.iter()
            .find(|one| one["feature"] == feature)
            .unwrap_or_else(|| panic!("no {feature}: {all:#?}"))
            .clone()
    };
    for (feature, availability) in [
        ("LINKED_WEB", "APP_AND_API"),
        ("LINKED_MAC", "APP_AND_API"),
        ("LINKED_WINDOWS", "APP_ONLY"),
        ("LINKED_WEAROS", "APP_ONLY"),
    ] {
        assert_eq!(of(feature)["availability"], availability);
        assert!(of(feature)["note"].as_str().unwrap().contains("Unlinked when the number is connected"));
    }
    for feature in ["LINKED_WINDOWS", "LINKED_WEAROS"] {
        let note = of(feature)["note"].as_str().unwrap().to_owned();
        assert!(note.contains("provider") && note.contains("Meta"), "where they differ, both: {note}");
    }

    let mut outgoing = t.subscribe(OUTGOING, json!({})).await;
    for (device, text) in
        [("WINDOWS", "from the PC"), ("WEAROS", "from the watch"), ("WEB", "from the browser")]
    {
        t.act("link", json!({ "phoneNumber": NUMBER, "device": device })).await;
        let input = json!({ "phoneNumber": NUMBER, "with": CUSTOMER, "text": text, "device": device });
        t.write("writeFromApp", input).await;
    }
    let heard = outgoing.next().await;
    assert_eq!(heard["outgoingMessages"]["message"]["text"], "from the browser");
    t.settle().await;
    let texts: Vec<Value> =
        t.history(&client, "text").await.iter().map(|message| message["text"].clone()).collect();
    assert_eq!(texts, ["from the browser"], "the others reach the customer and no one else");
    let screen = t.screen(NUMBER).await;
    assert_eq!(screen.iter().filter(|message| message["group"].is_null()).count(), 3, "{screen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r14_only_what_whatsapp_confirms_connects_a_number() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 2, 0).await;
    let onboarding = t.onboarding(json!({})).await;
    let signup = t.signup(NUMBER, true).await;

    // The browser's word alone proves nothing.
    let mut alone = signup.clone();
    alone["code"] = Value::Null;
    let payload = t.complete(&onboarding, &alone).await;
    assert_eq!(payload["onboarding"]["status"], "CREATED");
    assert_eq!(payload["onboarding"]["client"]["status"], "ONBOARDING");

    let mut invented = signup.clone();
    invented["code"] = json!("AQinvented");
    let payload = t.complete(&onboarding, &invented).await;
    assert_eq!(payload["onboarding"]["failure"]["code"], "TOKEN_REFUSED", "{payload:#}");
    assert_eq!(payload["onboarding"]["client"]["status"], "ONBOARDING");

    let mut other_account = signup.clone();
    other_account["wabaId"] = json!("123456789012345");
    let fresh = t.onboarding(json!({})).await;
    let payload = t.complete(&fresh, &other_account).await;
    assert_eq!(payload["onboarding"]["failure"]["code"], "TOKEN_REFUSED", "{payload:#}");

    // That used up the code: it works once.
    let payload = t.complete(&onboarding, &signup).await;
    assert_eq!(payload["onboarding"]["failure"]["code"], "TOKEN_REFUSED", "{payload:#}");
    assert_eq!(
        t.client(payload["onboarding"]["client"]["id"].as_str().unwrap(), "phoneNumberIsTemporary").await,
        json!({ "phoneNumberIsTemporary": true })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r14_a_signup_that_is_left_or_ends_without_the_app_connects_nothing() {
    let t = Tandem::new().await;
    let onboarding = t.onboarding(json!({})).await;
    let input = json!({ "onboardingId": onboarding, "event": "CANCEL", "currentStep": "PHONE_NUMBER_SETUP" });
    let payload =
        t.mutate("completeOnboarding", input, "onboarding { status failure { code message } }").await;
    assert_eq!(payload["onboarding"]["failure"]["code"], "CANCELED");
    assert!(payload["onboarding"]["failure"]["message"].as_str().unwrap().contains("PHONE_NUMBER_SETUP"));

    // A number on the API alone is not what was asked for, and is not registered either.
    t.create_phone(json!({ "phoneNumber": NUMBER, "displayName": "Café Test", "app": "API_ONLY" })).await;
    let signup = t.signup(NUMBER, true).await;
    assert_eq!(signup["event"], "FINISH");
    let payload = t.complete(&onboarding, &signup).await;
    assert_eq!(payload["onboarding"]["failure"]["code"], "NOT_COEXISTENCE", "{payload:#}");
    // Nor when the browser keeps the event to itself.
    let silent = json!({ "code": signup["code"], "wabaId": signup["wabaId"] });
    let payload = t.complete(&onboarding, &silent).await;
    assert_eq!(payload["onboarding"]["failure"]["code"], "NOT_COEXISTENCE", "{payload:#}");
    assert_eq!(t.graph_calls("register").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_a_temporary_number_of_its_own_stands_in_until_the_real_one_replaces_it() {
    let t = Tandem::new().await;
    let fields = "onboarding { client { id phoneNumber phoneNumberIsTemporary status mode } }";
    let mut clients = Vec::new();
    for index in 0..40 {
        let input = json!({ "businessName": format!("Shop {index}") });
        let payload = t.mutate("createOnboarding", input, fields).await;
        clients.push(payload["onboarding"]["client"].clone());
    }
    let mut numbers: Vec<&str> =
        clients.iter().map(|client| client["phoneNumber"].as_str().unwrap()).collect();
    for number in &numbers {
        assert!(number.starts_with("+97257") && number.len() == 13, "{number}");
        assert!(number[1..].bytes().all(|byte| byte.is_ascii_digit()), "{number}");
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 40, "each has its own");
    assert!(
        clients
            .iter()
            .all(|client| client["phoneNumberIsTemporary"] == true && client["status"] == "ONBOARDING")
    );
    assert!(clients.iter().all(|client| client["mode"] == "COEXISTENCE"));

    t.phone(NUMBER, 2, 0).await;
    let onboarding = t.onboarding(json!({})).await;
    let before = t.onboarding_now(&onboarding, "client { id phoneNumber }").await["client"].clone();
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    assert_eq!(payload["onboarding"]["client"]["id"], before["id"], "the same client");
    let after = t.client(before["id"].as_str().unwrap(), "phoneNumber phoneNumberIsTemporary").await;
    assert_eq!(after, json!({ "phoneNumber": NUMBER, "phoneNumberIsTemporary": false }));
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_a_temporary_number_is_no_recipient_and_matches_no_webhook() {
    let t = Tandem::new().await;
    let sender = t.connected(NUMBER).await;
    let onboarding = t.onboarding(json!({})).await;
    let waiting = t.onboarding_now(&onboarding, "client { id phoneNumber }").await["client"].clone();
    let (id, temporary) = (waiting["id"].as_str().unwrap(), waiting["phoneNumber"].as_str().unwrap());

    let payload = t.send(&sender, temporary, json!({ "text": { "body": "Hallo?" } }), "k1").await;
    assert_eq!(refusals(&payload), [("INVALID".to_owned(), json!(["to"]))], "{payload:#}");
    let payload = t.send(id, CUSTOMER, json!({ "text": { "body": "Hallo?" } }), "k2").await;
    assert_eq!(refusals(&payload), [("CLIENT_NOT_CONNECTED".to_owned(), json!(["clientId"]))], "{payload:#}");

    let ids = crate::harness::wire::Ids {
        number: temporary.to_owned(),
        number_id: "700000000000001".to_owned(),
        waba_id: "700000000000002".to_owned(),
    };
    let at = t.clock().await;
    t.hear(&ids.incoming(CUSTOMER, "wamid.S01", at, "Is this you?")).await;
    let removed = json!({
        "event": "PARTNER_REMOVED", "phone_number": &temporary[1..],
        "disconnection_info": { "reason": "ACCOUNT_DISCONNECTED", "initiated_by": "USER" },
    });
    t.hear(&ids.account(at, &removed)).await;
    assert_eq!(t.client(id, "status").await["status"], "ONBOARDING");
    assert_eq!(t.history(id, "id").await, Vec::<Value>::new());
    let listed = t.inbound_list().await;
    assert_eq!(listed.len(), 2, "{listed:#?}");
    assert!(listed.iter().all(|body| body["state"] == "UNMATCHED"), "{listed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_s04_every_step_is_told_when_there_is_evidence_for_it() {
    let t = Tandem::new().await;
    let after = t.cursor().await;
    t.phone(NUMBER, 2, 12).await;
    let onboarding = t.onboarding(json!({})).await;
    let mut progress = t.subscribe(PROGRESS, json!({ "id": onboarding, "after": after })).await;
    let mut next = async || progress.next().await["onboardingProgress"].clone();
    assert_eq!(next().await["status"], "CREATED");

    let (status, text) = page(&t, &onboarding).await;
    assert_eq!(status, 200);
    assert!(text.contains("WhatsApp Business app"), "{text}");
    assert_eq!(next().await["status"], "OPENED");
    assert_eq!(t.onboarding_now(&onboarding, "status").await["status"], "OPENED");
    page(&t, &onboarding).await;

    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    let client = payload["onboarding"]["client"]["id"].as_str().unwrap().to_owned();
    for step in ["SIGNED_IN", "NUMBER_CONFIRMED", "CONNECTED"] {
        let heard = next().await;
        assert_eq!((&heard["status"], &heard["type"]), (&json!(step), &json!("ONBOARDING_CHANGED")));
    }
    assert!(page(&t, &onboarding).await.1.contains("is connected"));

    // The choice is known from the first piece of history: a step and an event, while the status stays.
    let heard = next().await;
    assert_eq!(heard["status"], "HISTORY_CHOSEN");
    assert_eq!(
        heard["onboarding"],
        json!({ "id": onboarding, "status": "CONNECTED", "sharesHistory": true })
    );
    t.open_app(NUMBER).await;
    t.settle().await;
    let now = t.onboarding_now(&onboarding, STATE).await;
    assert_eq!(now["status"], "CONNECTED");
    let taken = ["CREATED", "OPENED", "SIGNED_IN", "NUMBER_CONFIRMED", "CONNECTED", "HISTORY_CHOSEN"];
    assert_eq!(steps(&now), taken, "each once");
    let all =
        t.told(&after, &["ONBOARDING_CHANGED"], "... on OnboardingEvent { status client { id } }").await;
    assert_eq!(all.iter().map(|event| event["status"].as_str().unwrap()).collect::<Vec<_>>(), taken);
    assert!(all.iter().all(|event| event["client"]["id"] == json!(client)));
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_a_client_that_shares_nothing_has_chosen_too() {
    let t = Tandem::new().await;
    let after = t.cursor().await;
    t.phone(NUMBER, 2, 12).await;
    let onboarding = t.onboarding(json!({})).await;
    assert_eq!(t.onboarding_now(&onboarding, "sharesHistory").await["sharesHistory"], Value::Null);
    t.complete(&onboarding, &t.signup(NUMBER, false).await).await;
    let mut progress = t.subscribe(PROGRESS, json!({ "id": onboarding, "after": after })).await;
    let heard = progress.until(|data| data["onboardingProgress"]["status"] == "HISTORY_CHOSEN").await;
    assert_eq!(heard["onboardingProgress"]["onboarding"]["sharesHistory"], false);
    assert_eq!(heard["onboardingProgress"]["onboarding"]["status"], "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn s05_the_partner_is_told_with_the_real_number() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 2, 0).await;
    let query = "subscription($after: EventCursor) { clientChanges(after: $after) { type state client { id phoneNumber phoneNumberIsTemporary status mode
        displayName connectedAt } } }";
    let mut changes = t.subscribe(query, json!({})).await;
    let client = t.connect(NUMBER, true, json!({})).await;
    let told = changes.next().await["clientChanges"].clone();
    assert_eq!((&told["type"], &told["state"]), (&json!("CLIENT_CONNECTED"), &json!("CONNECTED")));
    let shown = &told["client"];
    assert_eq!(shown["id"], json!(client));
    assert_eq!((&shown["phoneNumber"], &shown["phoneNumberIsTemporary"]), (&json!(NUMBER), &json!(false)));
    assert_eq!((&shown["displayName"], &shown["mode"]), (&json!("Café Test"), &json!("COEXISTENCE")));
    assert_ne!(shown["connectedAt"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_who_does_not_listen_yet_is_warned() {
    let t = Tandem::new().await;
    let create = async || t.mutate("createOnboarding", json!({ "businessName": "Shop" }), "warnings").await;
    let warnings = create().await["warnings"].clone();
    assert_eq!(warnings.as_array().unwrap().len(), 1, "{warnings:#}");
    assert!(warnings[0].as_str().unwrap().contains("subscription"), "{warnings:#}");
    let query = "subscription($after: EventCursor) { events(after: $after) { __typename } }";
    let mut events = t.subscribe(query, json!({ "after": t.cursor().await })).await;
    assert_eq!(events.next().await["events"]["__typename"], "CaughtUp");
    assert_eq!(create().await["warnings"], json!([]), "somebody has opened a stream");
    events.cut();
    assert_eq!(create().await["warnings"], json!([]), "ever");

    let rival = t.another_partner().await;
    let query = "mutation { createOnboarding(input: { businessName: \"Shop\" }) { warnings } }";
    let answer = t.ask_as(Some(&rival), query, json!({})).await;
    let warnings = answer["data"]["createOnboarding"]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "another partner still has to: {answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_nobody_is_onboarded_while_whatsapp_does_not_tell_what_is_needed() {
    let t = Tandem::new().await;
    let fields = "mutation($fields: [String!]!) { subscribeFields(fields: $fields) }";
    let create =
        async || t.mutate("createOnboarding", json!({ "businessName": "Shop" }), "onboarding { id }").await;
    t.simulate(fields, json!({ "fields": ["messages", "account_update", "history"] })).await;
    let payload = create().await;
    refused(&payload, "UPSTREAM_NOT_LISTENING");
    assert_eq!(payload["onboarding"], Value::Null);
    let message = payload["userErrors"][0]["message"].as_str().unwrap();
    for (field, missing) in [
        ("smb_message_echoes", true),
        ("smb_app_state_sync", true),
        ("history", false),
        ("account_update", false),
    ] {
        let named = message.split(':').next().unwrap();
        assert_eq!(named.split([' ', ',']).any(|word| word == field), missing, "{field}: {message}");
    }
    t.simulate(fields, json!({ "fields": [] })).await;
    refused(&create().await, "UPSTREAM_NOT_LISTENING");

    let needed = ["messages", "smb_message_echoes", "smb_app_state_sync", "history", "account_update"];
    t.simulate(fields, json!({ "fields": needed })).await;
    let payload = create().await;
    assert_eq!(payload["userErrors"], json!([]), "right away: {payload:#}");
    let count = t.data("{ onboardings { nodes { id } } }", json!({})).await;
    assert_eq!(
        count["onboardings"]["nodes"].as_array().unwrap().len(),
        1,
        "what was refused left nothing behind"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_a_link_that_was_called_back_leads_nowhere() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 2, 0).await;
    let onboarding = t.onboarding(json!({})).await;
    let mut progress = t.subscribe(PROGRESS, json!({ "id": onboarding })).await;
    let revoke = async |id: &str| {
        t.mutate("revokeOnboarding", json!({ "onboardingId": id }), "onboarding { status }").await
    };
    assert_eq!(revoke(&onboarding).await["onboarding"]["status"], "REVOKED");
    assert_eq!(progress.next().await["onboardingProgress"]["status"], "REVOKED");
    assert!(page(&t, &onboarding).await.1.contains("taken back"));
    refused(&revoke(&onboarding).await, "ONBOARDING_CLOSED");
    let signup = t.signup(NUMBER, true).await;
    let payload = t.complete(&onboarding, &signup).await;
    refused(&payload, "ONBOARDING_CLOSED");
    let steps_taken = t.onboarding_now(&onboarding, STATE).await;
    assert_eq!(steps(&steps_taken), ["CREATED", "REVOKED"], "a closed link takes no step");

    // The code was not touched: another link takes it.
    let other = t.onboarding(json!({})).await;
    let payload = t.complete(&other, &signup).await;
    assert_eq!(payload["onboarding"]["status"], "CONNECTED", "{payload:#}");
    refused(&revoke(&other).await, "ONBOARDING_CLOSED");
    refused(&t.complete(&other, &signup).await, "ONBOARDING_CLOSED");
    assert_eq!(t.onboarding_now(&other, "status").await["status"], "CONNECTED");
    refused(&revoke("onb_nothing").await, "NOT_FOUND");
    let rival = t.another_partner().await;
    let query = "mutation($input: RevokeOnboardingInput!) { revokeOnboarding(input: $input) { userErrors { code } } }";
    let fresh = t.onboarding(json!({})).await;
    let answer = t.ask_as(Some(&rival), query, json!({ "input": { "onboardingId": fresh } })).await;
    assert_eq!(answer["data"]["revokeOnboarding"]["userErrors"], json!([{ "code": "NOT_FOUND" }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_a_link_ends_when_its_time_is_over() {
    let t = Tandem::new().await;
    let create = async |seconds: i64| {
        let input = json!({ "businessName": "Shop", "expiresInSeconds": seconds });
        t.mutate("createOnboarding", input, "onboarding { id }").await
    };
    for seconds in [0, -1, 59, 30 * 86_400 + 1] {
        assert_eq!(
            refusals(&create(seconds).await),
            [("INVALID".to_owned(), json!(["expiresInSeconds"]))],
            "{seconds}"
        );
    }
    let short = create(3_600).await["onboarding"]["id"].as_str().unwrap().to_owned();
    let long = create(86_400).await["onboarding"]["id"].as_str().unwrap().to_owned();
    let mut progress = t.subscribe(PROGRESS, json!({ "id": short })).await;
    t.advance_clock(3_590).await;
    assert_eq!(t.onboarding_now(&short, "status").await["status"], "CREATED");
    t.advance_clock(20).await;
    assert_eq!(progress.next().await["onboardingProgress"]["status"], "EXPIRED");
    assert!(page(&t, &short).await.1.contains("expired"));
    t.phone(NUMBER, 2, 0).await;
    let signup = t.signup(NUMBER, true).await;
    let payload = t.complete(&short, &signup).await;
    refused(&payload, "ONBOARDING_CLOSED");
    let payload = t.complete(&long, &signup).await;
    assert_eq!(payload["onboarding"]["status"], "CONNECTED", "the other one has time left: {payload:#}");
    // What is finished does not expire.
    t.advance_clock(90_000).await;
    let other = create(60).await["onboarding"]["id"].as_str().unwrap().to_owned();
    let mut progress = t.subscribe(PROGRESS, json!({ "id": other })).await;
    t.advance_clock(60).await;
    assert_eq!(progress.next().await["onboardingProgress"]["status"], "EXPIRED");
    assert_eq!(t.onboarding_now(&long, "status").await["status"], "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_makes_one_onboarding() {
    let t = Tandem::new().await;
    let create = async |key: &str, name: &str| {
        let input = json!({ "businessName": name, "reference": "shop-1", "idempotencyKey": key });
        t.mutate("createOnboarding", input, "onboarding { id client { id } }").await
    };
    let many = join_all((0..8).map(|_| create("first", "Shop"))).await;
    assert!(many.iter().all(|payload| *payload == many[0]), "{many:#?}");
    assert_ne!(many[0]["onboarding"], Value::Null);
    let again = create("first", "Shop").await;
    assert_eq!(again, many[0]);
    assert_eq!(
        refusals(&create("first", "Another shop").await),
        [("IDEMPOTENCY_CONFLICT".to_owned(), json!(["idempotencyKey"]))]
    );
    let other = create("second", "Shop").await;
    assert_ne!(other["onboarding"]["id"], many[0]["onboarding"]["id"]);
    let query =
        "{ onboardings(filter: { reference: \"shop-1\" }) { nodes { id } } clients { nodes { id } } }";
    let listed = t.data(query, json!({})).await;
    assert_eq!(listed["onboardings"]["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(listed["clients"]["nodes"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn s05_webhooks_that_come_before_the_onboarding_is_finished_are_applied() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 2, 0).await;
    let ids = t.wire_ids(NUMBER).await;
    let nobodys = crate::harness::wire::Ids {
        number: "+4915120000199".to_owned(),
        number_id: "700000000000009".to_owned(),
        waba_id: "700000000000008".to_owned(),
    };
    // Before there was an onboarding: nobody here asked for it.
    t.hear(&ids.incoming(CUSTOMER, "wamid.EARLY", t.clock().await, "too early")).await;
    t.advance_clock(5).await;
    let onboarding = t.onboarding(json!({ "history": "NEVER" })).await;
    t.hear(&ids.incoming(CUSTOMER, "wamid.MEANWHILE", t.clock().await, "meanwhile")).await;
    t.hear(&nobodys.incoming(CUSTOMER, "wamid.NOBODY", t.clock().await, "for nobody")).await;
    let states =
        async || -> Vec<Value> { t.inbound_list().await.iter().map(|body| body["state"].clone()).collect() };
    assert_eq!(states().await, ["UNMATCHED", "UNMATCHED", "UNMATCHED"]);

    let mut incoming = t.subscribe(INCOMING, json!({})).await;
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    let client = payload["onboarding"]["client"]["id"].as_str().unwrap();
    let heard = incoming.next().await["incomingMessages"]["message"].clone();
    assert_eq!(heard, json!({ "text": "meanwhile", "client": { "id": client } }));
    t.settle().await;
    let texts = t.history(client, "text").await;
    assert_eq!(texts, [json!({ "text": "meanwhile" })]);
    let listed = t.inbound_list().await;
    assert_eq!(
        listed.iter().map(|body| &body["state"]).collect::<Vec<_>>(),
        ["UNMATCHED", "UNMATCHED"],
        "{listed:#?}"
    );
    assert!(listed[0]["error"].as_str().unwrap().contains("number"), "{listed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s05_webhooks_of_an_unknown_number_wait_a_day_for_its_onboarding() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 2, 0).await;
    let ids = t.wire_ids(NUMBER).await;
    let onboarding = t.onboarding(json!({ "history": "NEVER" })).await;
    t.hear(&ids.incoming(CUSTOMER, "wamid.OLD", t.clock().await, "yesterday")).await;
    t.advance_clock(25 * 3_600).await;
    t.hear(&ids.incoming(CUSTOMER, "wamid.NEW", t.clock().await, "today")).await;
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    let client = payload["onboarding"]["client"]["id"].as_str().unwrap();
    t.settle().await;
    assert_eq!(t.history(client, "text").await, [json!({ "text": "today" })]);
    let listed = t.inbound_list().await;
    assert_eq!(listed.len(), 1, "{listed:#?}");
}

/// A double click, or a request that is sent again: the code works once, and one of them uses it.
#[tokio::test(flavor = "multi_thread")]
async fn r14_the_same_signup_handed_over_at_once_several_times_succeeds_once_and_never_fails() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 2, 0).await;
    let before = t.cursor().await;
    let onboarding = t.onboarding(json!({})).await;
    let signup = t.signup(NUMBER, true).await;
    let payloads = join_all((0..6).map(|_| t.complete(&onboarding, &signup))).await;
    let connected = |payload: &&Value| payload["onboarding"]["status"] == "CONNECTED";
    assert_eq!(payloads.iter().filter(connected).count(), 1, "{payloads:#?}");
    for payload in payloads.iter().filter(|payload| !connected(payload)) {
        refused(payload, "ONBOARDING_CLOSED");
    }
    let told = t.told(&before, &["ONBOARDING_CHANGED"], "... on OnboardingEvent { status }").await;
    let told: Vec<&str> = told.iter().map(|event| event["status"].as_str().unwrap()).collect();
    assert!(
        !told.contains(&"FAILED") && told.iter().filter(|status| **status == "CONNECTED").count() == 1,
        "{told:?}"
    );
}

/// Whoever hangs up changes nothing: WhatsApp has been told, so that the rest is done as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_signup_goes_on_when_its_caller_does_not_wait_for_it() {
    let t = Tandem::new().await;
    t.phone(NUMBER, 2, 10).await;
    let before = t.cursor().await;
    let onboarding = t.onboarding(json!({})).await;
    let signup = t.signup(NUMBER, true).await;
    let mut told = t.subscribe(PROGRESS, json!({ "id": onboarding })).await;
    let mut incoming = t.subscribe(INCOMING, json!({})).await;
    t.act("trouble", json!({ "graphSlowMs": 300 })).await;
    let mut waiting = Box::pin(t.complete(&onboarding, &signup));
    let signed_in = told.until(|data| data["onboardingProgress"]["status"] == "SIGNED_IN");
    tokio::select! {
        _ = &mut waiting => panic!("it was to be slow"),
        _ = signed_in => {}
    }
    drop(waiting);
    // Before the number is known here: it waits, and is told live once it is.
    let ids = t.wire_ids(NUMBER).await;
    let body = ids.incoming(CUSTOMER, "wamid.early", t.clock().await, "Schon da?");
    assert_eq!(t.post(body.to_string().into_bytes()).await, 200);
    told.until(|data| data["onboardingProgress"]["status"] == "CONNECTED").await;
    assert_eq!(incoming.next().await["incomingMessages"]["message"]["text"], "Schon da?");
    let client = t.onboarding_now(&onboarding, "client { id }").await["client"]["id"].clone();
    let mut imports = t.imports(client.as_str().unwrap(), Some(&before)).await;
    let history = |state: &'static str| {
        move |data: &Value| {
            data["syncProgress"]["kind"] == "HISTORY" && data["syncProgress"]["state"] == state
        }
    };
    imports.until(history("REQUESTED")).await;
    t.open_app(NUMBER).await;
    imports.until(history("DONE")).await;
}

/// What a browser reports is bounded, and what WhatsApp's support asks for is kept.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_browser_reports_is_short_and_names_its_session() {
    let t = Tandem::new().await;
    let onboarding = t.onboarding(json!({})).await;
    let payload =
        t.complete(&onboarding, &json!({ "error": { "code": "2655093", "sessionId": "S-17" } })).await;
    assert_eq!(payload["onboarding"]["failure"]["code"], "CONNECTED_ELSEWHERE");
    let failure = t.onboarding_now(&onboarding, "failure { sessionId }").await["failure"].clone();
    assert_eq!(failure["sessionId"], "S-17");
    for (input, field) in [
        (json!({ "error": { "code": "1", "message": "x".repeat(2001) } }), json!(["error", "message"])),
        (json!({ "code": "x".repeat(4097) }), json!(["code"])),
    ] {
        let payload = t.complete(&onboarding, &input).await;
        assert_eq!(refusals(&payload), [("INVALID".to_owned(), field)]);
    }
    for (name, length) in [("message", 2001), ("buttonLabel", 101)] {
        let input = json!({ "businessName": "X", "branding": { (name): "x".repeat(length) } });
        let payload = t.mutate("createOnboarding", input, "onboarding { id }").await;
        assert_eq!(refusals(&payload), [("INVALID".to_owned(), json!(["branding", name]))]);
    }
}

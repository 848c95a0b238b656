//! The lanes: what each of WhatsApp's answers does, and whose turn it is.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{ADA, BEN, SHOP, Subscription, Tandem};

fn text(body: &str) -> Value {
    json!({ "text": { "body": body } })
}

fn confirmed(name: &str, when: &str) -> Value {
    let parameters = json!([{ "text": name }, { "text": when }]);
    json!({ "template": { "name": "appointment_confirmed", "language": "de",
        "components": [{ "type": "BODY", "parameters": parameters }] } })
}

/// Of WhatsApp's errors: final for the message; and whether sending it again can help.
const FINAL: &[(i64, bool)] = &[
    (131_047, false),
    (131_026, false),
    (131_021, false),
    (131_030, false),
    (130_472, false),
    (131_049, true),
    (131_050, false),
    (131_062, false),
    (100, false),
    (131_008, false),
    (131_009, false),
    (135_000, false),
    (131_052, false),
    (131_053, false),
    (131_051, false),
    (132_000, false),
    (132_001, false),
    (132_005, false),
    (132_007, false),
    (132_012, false),
    (132_015, false),
    (132_016, false),
    (132_068, false),
    (132_069, false),
    (133_000, false),
    (133_005, false),
    (133_006, false),
    (133_008, false),
    (133_009, false),
    (133_015, false),
    (133_016, false),
    (2_593_107, false),
    (2_593_108, false),
    (2_593_109, false),
    (131_060, false),
];
/// The message is tried again.
const AGAIN: &[i64] = &[1, 2, 131_000, 131_016, 133_004, 131_057];
/// And the lane, or for 131056 the recipient, slows down.
const SLOWER: &[i64] = &[4, 80_007, 130_429, 131_056, 131_048];
/// The client is paused, with words that say what to do.
const STOPS: &[(i64, &str)] = &[
    (0, "new onboarding"),
    (190, "new onboarding"),
    (3, "new onboarding"),
    (10, "new onboarding"),
    (200, "new onboarding"),
    (299, "new onboarding"),
    (131_005, "new onboarding"),
    (368, "appeal"),
    (131_031, "appeal"),
    (130_497, "country"),
    (131_042, "payment method"),
    (133_010, "not on the API any more"),
    (33, "not on the API any more"),
];

/// Somebody for each of the codes.
fn somebody(place: usize) -> String {
    format!("+4915773000{place:03}")
}

/// Queues something for somebody whose next sends WhatsApp refuses with this code.
async fn queued(t: &Tandem, client: &str, place: usize, code: i64) -> Value {
    let to = somebody(place);
    t.act("refuse", json!({ "to": to, "code": code })).await;
    let payload = t.send(client, &to, confirmed("Ada", &code.to_string()), &code.to_string()).await;
    assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
    payload["message"]["id"].clone()
}

/// Hears statuses until all of these messages have this one.
async fn all(statuses: &mut Subscription, ids: &BTreeMap<String, i64>, status: &str) {
    let mut left: BTreeSet<&str> = ids.keys().map(String::as_str).collect();
    while !left.is_empty() {
        let told = statuses.next().await["messageStatuses"].clone();
        if told["status"] == status {
            left.remove(told["message"]["id"].as_str().unwrap());
        }
    }
}

const STATUSES: &str = "subscription { messageStatuses { status message { id } } }";

#[tokio::test(flavor = "multi_thread")]
async fn every_code_that_is_final_fails_its_message_and_says_whether_trying_again_can_help() {
    let (t, client) = Tandem::shop().await;
    let mut statuses = t.subscribe(STATUSES, json!({})).await;
    let mut ids = BTreeMap::new();
    for (place, (code, _)) in FINAL.iter().enumerate() {
        ids.insert(queued(&t, &client, place, *code).await.as_str().unwrap().to_owned(), *code);
    }
    all(&mut statuses, &ids, "FAILED").await;
    for (id, code) in &ids {
        let error = t.message(id).await["error"].clone();
        let retryable = FINAL.iter().find(|(known, _)| known == code).unwrap().1;
        assert_eq!(
            (&error["code"], &error["retryable"], &error["details"]),
            (&json!(code), &json!(retryable), &json!("as the simulator was told")),
            "{error:#}"
        );
        assert!(error["message"].as_str().unwrap().contains(&code.to_string()), "{error:#}");
    }
    assert_eq!(t.arrivals(SHOP).await.len(), FINAL.len(), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_that_passes_is_tried_again_and_whoever_waits_behind_it_waits() {
    let (t, client) = Tandem::shop().await;
    let mut statuses = t.subscribe(STATUSES, json!({})).await;
    let mut ids = BTreeMap::new();
    for (place, code) in AGAIN.iter().chain(SLOWER).enumerate() {
        ids.insert(queued(&t, &client, place, *code).await.as_str().unwrap().to_owned(), *code);
        let behind =
            t.send(&client, &somebody(place), confirmed("Ada", "danach"), &format!("{code} b")).await;
        ids.insert(behind["message"]["id"].as_str().unwrap().to_owned(), *code);
    }
    all(&mut statuses, &ids, "SENT").await;
    let arrivals = t.arrivals(SHOP).await;
    for (place, code) in AGAIN.iter().chain(SLOWER).enumerate() {
        let to = somebody(place);
        let tries: Vec<(&Value, &Value)> = arrivals
            .iter()
            .filter(|arrival| arrival["to"] == to.as_str())
            .map(|arrival| (&arrival["callbackData"], &arrival["accepted"]))
            .collect();
        assert_eq!(tries.len(), 3, "{code}: {tries:#?}");
        assert!(tries[0].0 == tries[1].0 && tries[1].0 != tries[2].0, "{code}: {tries:#?}");
        assert_eq!(
            tries.iter().map(|(_, accepted)| **accepted == true).collect::<Vec<_>>(),
            [false, true, true]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_of_token_and_account_pauses_the_client_with_a_remedy_and_loses_nothing() {
    let (t, client) = Tandem::shop().await;
    let query = "subscription { clientChanges { type reason client { status pauseReason } } }";
    let mut changes = t.subscribe(query, json!({})).await;
    let mut statuses = t.subscribe(STATUSES, json!({})).await;
    for (place, (code, remedy)) in STOPS.iter().enumerate() {
        let id = queued(&t, &client, place, *code).await;
        let paused = changes.next().await["clientChanges"].clone();
        assert_eq!(
            (&paused["type"], &paused["client"]["status"]),
            (&json!("CLIENT_PAUSED"), &json!("PAUSED"))
        );
        let reason = paused["reason"].as_str().unwrap();
        assert!(reason.contains(&format!(" {code}: ")) && reason.contains(remedy), "{code}: {reason}");
        assert_eq!(paused["client"]["pauseReason"], paused["reason"]);
        assert_eq!(t.message(id.as_str().unwrap()).await["status"], "QUEUED", "{code}");
        let refused = t.send(&client, BEN, confirmed("Ben", "jetzt"), "meanwhile").await;
        assert_eq!(refused["userErrors"][0]["code"], "CLIENT_NOT_CONNECTED");
        let resumed = t.mutate("resumeClient", json!({ "clientId": client }), "client { status }").await;
        assert_eq!(resumed["client"]["status"], "CONNECTED", "{resumed:#}");
        assert_eq!(changes.next().await["clientChanges"]["type"], "CLIENT_RESUMED");
        all(&mut statuses, &[(id.as_str().unwrap().to_owned(), *code)].into(), "SENT").await;
    }
    assert_eq!(t.arrivals(SHOP).await.len(), 2 * STOPS.len());
}

#[test]
fn every_code_has_its_row_in_the_documentation() {
    let documentation = include_str!("../../docs/errors.md");
    let codes = FINAL.iter().map(|(code, _)| code).chain(AGAIN).chain(SLOWER);
    for code in codes.chain(STOPS.iter().map(|(code, _)| code)) {
        // One row stands for 200 to 299.
        let row = if (200..=299).contains(code) { "| 200-299 |".to_owned() } else { format!("| {code} |") };
        let found = documentation.lines().filter(|line| line.starts_with(&row)).count();
        assert_eq!(found, 1, "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r09_what_whatsapp_says_of_the_window_counts() {
    let (t, client) = Tandem::shop().await;
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    assert_eq!(t.conversation(&client, ADA).await["window"]["isOpen"], true);
    t.act("refuse", json!({ "code": 131_047 })).await;
    t.until(&t.send(&client, ADA, text("Zu spät?"), "k").await, "FAILED").await;
    assert_eq!(t.conversation(&client, ADA).await["window"]["isOpen"], false);
    let error = t.refused(&client, ADA, text("Und jetzt?")).await;
    assert_eq!(error["code"], "WINDOW_CLOSED");
    let why = error["message"].as_str().unwrap();
    assert!(why.contains("131047") && !why.contains("has not written"), "{why}");
    // The customer's next message opens it again.
    t.time_passes(2).await;
    t.customer_writes(SHOP, ADA, "Ja").await;
    t.settle().await;
    t.sent(&client, ADA, "Danke").await;
}

/// Milliseconds since 1970, as the simulator counts arrivals.
fn millis() -> f64 {
    tandem::clock::Clock::real_now().0 as f64 / 1000.0
}

/// How many sends to others arrived after an instant and before the first that fits.
fn before<'a>(arrivals: &'a [Value], since: f64, fits: impl Fn(&'a Value) -> bool) -> usize {
    let place = arrivals.iter().position(fits).expect("it arrived");
    arrivals[..place].iter().filter(|arrival| arrival["at"].as_f64().unwrap() > since).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_recipient_with_much_waiting_delays_nobodys_first() {
    let (t, client) = Tandem::shop().await;
    let mut statuses = t.subscribe(STATUSES, json!({})).await;
    let mut ids = BTreeMap::new();
    for number in 0..100 {
        let payload = t.send(&client, ADA, confirmed("Ada", &number.to_string()), &number.to_string()).await;
        ids.insert(payload["message"]["id"].as_str().unwrap().to_owned(), number);
    }
    let payload = t.send(&client, BEN, confirmed("Ben", "dazwischen"), "ben").await;
    let since = millis();
    ids.insert(payload["message"]["id"].as_str().unwrap().to_owned(), 100);
    all(&mut statuses, &ids, "SENT").await;
    let arrivals = t.arrivals(SHOP).await;
    assert_eq!(arrivals.len(), 101);
    // The one that was chosen already, and one turn.
    let waited = before(&arrivals, since, |arrival| arrival["to"] == BEN);
    assert!(waited <= 2, "{waited} to somebody else went first");
    let to_ada: Vec<&str> = arrivals
        .iter()
        .filter(|arrival| arrival["to"] == ADA)
        .map(|arrival| arrival["callbackData"].as_str().unwrap())
        .collect();
    assert!(to_ada.windows(2).all(|pair| ids[pair[0]] < ids[pair[1]]), "in their order");
    // Each goes when the one before it is answered, not when the queue is looked at again: 20 a second make five seconds.
    let took = arrivals[100]["at"].as_f64().unwrap() - arrivals[0]["at"].as_f64().unwrap();
    assert!(took < 30_000.0, "{took} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_goes_before_templates_and_takes_along_what_it_waits_behind() {
    let (t, client) = Tandem::shop().await;
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    let mut statuses = t.subscribe(STATUSES, json!({})).await;
    let mut ids = BTreeMap::new();
    let sends = (0..100).map(|place| {
        let (t, client) = (&t, &client);
        async move { t.send(client, &somebody(place), confirmed("Sie", "Montag"), &place.to_string()).await }
    });
    for payload in join_all(sends).await {
        ids.insert(payload["message"]["id"].as_str().unwrap().to_owned(), 0);
    }
    for (content, key) in [(confirmed("Ada", "Montag"), "erst"), (text("Bis Montag!"), "dann")] {
        let payload = t.send(&client, ADA, content, key).await;
        ids.insert(payload["message"]["id"].as_str().unwrap().to_owned(), 0);
    }
    let since = millis();
    all(&mut statuses, &ids, "SENT").await;
    let arrivals = t.arrivals(SHOP).await;
    assert_eq!(arrivals.len(), 102);
    let to_ada: Vec<&Value> =
        arrivals.iter().filter(|arrival| arrival["to"] == ADA).map(|arrival| &arrival["type"]).collect();
    assert_eq!(to_ada, ["template", "text"], "each recipient's in their order");
    // A second's worth of others may have been chosen already, for each of the two.
    let waited = before(&arrivals, since, |arrival| arrival["type"] == "text");
    assert!(waited <= 41, "{waited} templates went first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_is_taken_back_while_it_waits() {
    let (t, client) = Tandem::shop().await;
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    let hello = t.saying(&client, "Hallo").await["id"].clone();
    // Ada's limit: what is for her waits.
    t.act("refuse", json!({ "to": ADA, "code": 131_056, "times": 3 })).await;
    let first = t.send(&client, ADA, text("Moment"), "k").await;
    let react = json!({ "reaction": { "messageId": hello, "emoji": "👍" } });
    let payload = t.send(&client, ADA, react, "r").await;
    assert_eq!((&payload["userErrors"], &payload["message"]["id"]), (&json!([]), &hello));
    let place = t.place().await;
    let selection = "message { id status }";
    let payload = t.mutate("cancelMessage", json!({ "messageId": hello }), selection).await;
    assert_eq!(payload["message"], json!({ "id": hello, "status": "RECEIVED" }), "{payload:#}");
    let told = t.told(&place, &["MESSAGE_REACTION"], "... on MessageChangedEvent { message { id } }").await;
    assert_eq!(told, [json!({ "message": { "id": hello } })]);
    let again = t.mutate("cancelMessage", json!({ "messageId": hello }), selection).await;
    assert_eq!(again["userErrors"][0]["code"], "INVALID");
    t.time_passes(60).await;
    t.time_passes(60).await;
    t.until(&first, "SENT").await;
    let kinds: BTreeSet<String> = t.arrivals(SHOP).await.iter().map(|a| a["type"].to_string()).collect();
    assert_eq!(kinds, ["\"text\"".to_owned()].into(), "it never left");
}

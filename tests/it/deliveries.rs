//! Webhooks to partners: what they say, that none is missed, who gets them, and what happens when nobody takes them.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};
use tokio::io::AsyncBufReadExt;

use crate::harness::receiver::{Received, Receiver, Reply};
use crate::harness::{ADA, BEN, DAY, SHOP, Tandem};

const HOUR: i64 = 3600;

fn texts(received: &[Received]) -> Vec<String> {
    received.iter().filter(|one| one.status == 200).map(Received::text).collect()
}

/// How often the oldest delivery was tried.
fn attempts(deliveries: &[Value]) -> usize {
    deliveries.last().map_or(0, |one| one["attempts"].as_array().unwrap().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_says_what_the_api_says() {
    let (t, client) = Tandem::shop().await;
    let receiver = Receiver::new().await;
    let types = json!({ "eventTypes": ["MESSAGE_INCOMING"] });
    let (endpoint, secret) = t.endpoint(&receiver.url, types).await;
    let place = t.cursor().await;
    t.customer_writes(SHOP, ADA, "Habt ihr auf?").await;
    let webhook = receiver.hears("Habt ihr auf?").await;
    assert!(webhook.is_signed_by(&secret) && !webhook.is_signed_by("whsec_AAAA"));
    assert_eq!(webhook.headers["content-type"], "application/json");
    let told = &t.told(&place, &["MESSAGE_INCOMING"], "id type cursor occurredAt __typename client { id displayName }
        ... on IncomingMessageEvent { message { id text from to sentAt status content { __typename ... on TextContent { body } }
        conversation { id unreadCount window { isOpen closesAt } contact { id phoneNumber profileName } } } }").await[0];
    let body = webhook.json();
    assert_eq!((&body["type"], &body["timestamp"]), (&told["type"], &told["occurredAt"]));
    assert_eq!(webhook.id, told["id"].as_str().unwrap());
    assert!(contains(&body["data"], told), "{body:#}\n{told:#}");
    assert_eq!(told["client"]["id"], json!(client));
    let delivered =
        t.until_deliveries(&endpoint, |all| all.iter().all(|one| one["status"] == "DELIVERED")).await;
    assert_eq!(delivered.len(), 1, "{delivered:#?}");
    assert_eq!(delivered[0]["eventId"], told["id"]);
    assert_eq!(delivered[0]["attempts"][0]["httpStatus"], 200);
    assert_eq!(
        (&delivered[0]["nextAttemptAt"], &delivered[0]["attempts"][0]["error"]),
        (&Value::Null, &Value::Null)
    );
}

/// Whether everything in `part` is in `whole`.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|whole| contains(whole, value)))
        }
        _ => whole == part,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_what_the_app_sends_contacts_and_reads_come_as_webhooks() {
    let t = Tandem::new().await;
    let receiver = Receiver::new().await;
    // Listen before you onboard: nobody is warned who has an endpoint.
    let query = "mutation { createOnboarding(input: { businessName: \"X\" }) { warnings } }";
    let warned = t.data(query, json!({})).await;
    assert_eq!(warned["createOnboarding"]["warnings"].as_array().unwrap().len(), 1);
    t.endpoint(&receiver.url, json!({})).await;
    let place = t.cursor().await;
    let warned = t.data(query, json!({})).await;
    assert_eq!(warned["createOnboarding"]["warnings"], json!([]));

    let client = t.connected(SHOP).await;
    let sent = t.app_writes(SHOP, ADA, "Bis gleich").await;
    t.settle().await;
    t.customer_sees(SHOP, &sent, "READ").await;
    let read = |one: &Received| one.kind() == "MESSAGE_STATUS" && one.json()["data"]["status"] == "READ";
    let all = receiver.until(|all| all.iter().any(read)).await;
    let outgoing = all.iter().find(|one| one.kind() == "MESSAGE_OUTGOING").unwrap().json();
    assert_eq!(outgoing["data"]["message"]["text"], "Bis gleich");
    assert_eq!(outgoing["data"]["message"]["origin"], "APP");
    assert_eq!(outgoing["data"]["message"]["conversation"]["contact"]["phoneNumber"], ADA);
    assert_eq!(outgoing["data"]["client"]["id"], json!(client));
    let read = all.iter().find(|one| read(one)).unwrap().json();
    assert_eq!(read["data"]["message"]["origin"], "APP");
    let contact = all.iter().find(|one| one.kind() == "CONTACT_ADDED").unwrap().json();
    assert_eq!(contact["data"]["contact"]["inPhoneBook"], true);
    assert!(contact["data"]["contact"]["fullName"].is_string());
    // The whole stream came, each event once, in the order of the stream for each client.
    t.settle().await;
    let told = t.told_since(&place).await;
    assert!(told.len() > 5);
    let ids = |events: &[&Value]| -> Vec<String> {
        events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    let expected = ids(&told.iter().collect::<Vec<_>>());
    let all = receiver.until(|all| expected.iter().all(|id| all.iter().any(|one| one.id == *id))).await;
    let came: Vec<&Received> = all.iter().filter(|one| expected.contains(&one.id)).collect();
    assert_eq!(came.len(), expected.len());
    let of_client = |event: &Value| event["client"]["id"] == json!(client);
    let came: Vec<String> =
        came.iter().filter(|one| of_client(&one.json()["data"])).map(|one| one.id.clone()).collect();
    assert_eq!(came, ids(&told.iter().filter(|event| of_client(event)).collect::<Vec<_>>()));
}

#[tokio::test(flavor = "multi_thread")]
async fn s05_the_endpoint_that_asked_gets_the_clients_key_and_nobody_else_sees_it() {
    let t = Tandem::new().await;
    let (keyed, plain) =
        (Receiver::scripted(vec![Reply::Status(500), Reply::Status(503)]).await, Receiver::new().await);
    let only = json!({ "eventTypes": ["CLIENT_CONNECTED"], "includeClientKey": true });
    let (endpoint, _) = t.endpoint(&keyed.url, only.clone()).await;
    let (other, _) = t.endpoint(&plain.url, json!({ "eventTypes": ["CLIENT_CONNECTED"] })).await;
    let input = json!({ "url": plain.url, "includeClientKey": true });
    let second = t.mutate("createWebhookEndpoint", input, "endpoint { id }").await;
    assert_eq!(second["userErrors"][0]["field"], json!(["includeClientKey"]), "{second:#}");

    let query = "subscription { events { __typename ... on Event { id type }
        ... on ClientEvent { reason client { id reference } } } }";
    let mut live = t.subscribe(query, json!({})).await;
    let place = t.cursor().await;
    let client = t.connected(SHOP).await;
    // Twice in vain, and the third time: the same bytes, the same key.
    for tries in 1..=2 {
        keyed.count(tries).await;
        t.until_deliveries(&endpoint, |all| attempts(all) >= tries).await;
        t.time_passes(60).await;
    }
    let came = keyed.until(|all| all.iter().any(|one| one.status == 200)).await;
    assert_eq!(came.iter().map(|one| one.status).collect::<Vec<_>>(), [500, 503, 200]);
    assert!(came.iter().all(|one| one.body == came[0].body && one.id == came[0].id));
    let body = came[0].json();
    let key = body["data"]["clientKey"].as_str().unwrap().to_owned();
    // The real number has replaced the temporary one, and the key is for this client alone.
    assert_eq!(body["data"]["client"]["phoneNumber"], SHOP);
    assert_eq!(body["data"]["client"]["phoneNumberIsTemporary"], false);
    let viewer =
        t.ask_as(Some(&key), "{ viewer { scopes clientIds } clients { nodes { id } } }", json!({})).await;
    assert_eq!(viewer["data"]["viewer"]["clientIds"], json!([client]));
    assert_eq!(viewer["data"]["viewer"]["scopes"], json!(["READ", "SEND"]));
    assert_eq!(viewer["data"]["clients"]["nodes"], json!([{ "id": client }]));

    // Nobody else saw it: not the other endpoint, the stream, its replay, or the list of deliveries.
    let elsewhere = plain.count(1).await[0].clone();
    assert_eq!(elsewhere.id, came[0].id);
    assert!(elsewhere.json()["data"].get("clientKey").is_none());
    let connected = live.until(|data| data["events"]["type"] == "CLIENT_CONNECTED").await;
    let told = t.told(&place, &[], "id").await;
    let told = format!("{connected} {told:?} {:?}", t.told_since(&place).await);
    let listed = t.until_deliveries(&endpoint, |all| all[0]["status"] == "DELIVERED").await;
    let replayed = t
        .mutate("replayWebhooks", json!({ "endpointId": endpoint, "after": place }), "endpoint { pending }")
        .await;
    assert_eq!(replayed["userErrors"], json!([]), "{replayed:#}");
    let again = keyed.count(4).await[3].clone();
    assert_eq!((again.id.as_str(), again.json()["data"].get("clientKey")), (came[0].id.as_str(), None));
    let others = format!("{:?} {listed:?}", t.deliveries(&other).await);
    for (place, text) in [("stream", told), ("deliveries", others), ("replay", format!("{replayed}"))] {
        assert!(!text.contains("tdm_") && !text.contains("clientKey"), "{place}: {text}");
    }
    // In the database it was sealed, and is erased since the first success.
    use sea_orm::EntityTrait;
    #[expect(clippy::disallowed_methods, reason = "the database's view")]
    let rows = entity::webhook_delivery::Entity::find().all(t.running().app.db.read()).await.unwrap();
    assert!(rows.iter().all(|row| row.client_key_sealed.is_none()));
    assert!(rows.iter().all(|row| !row.data.as_deref().unwrap_or_default().contains(&key)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_waits_for_its_failed_event_and_other_clients_do_not() {
    let (t, _) = Tandem::shop().await;
    let other = "+4915120000002";
    t.connected(other).await;
    let receiver =
        Receiver::answering(|one| Reply::Status(if one.text() == "eins" { 500 } else { 200 })).await;
    let (endpoint, _) = t.endpoint(&receiver.url, json!({ "eventTypes": ["MESSAGE_INCOMING"] })).await;
    t.customer_writes(SHOP, ADA, "eins").await;
    t.customer_writes(SHOP, ADA, "zwei").await;
    t.customer_writes(SHOP, BEN, "drei").await;
    t.settle().await;
    t.customer_writes(other, ADA, "vier").await;
    receiver.hears("vier").await;
    t.until_deliveries(&endpoint, |all| all.iter().any(|one| one["attempts"][0]["httpStatus"] == 500)).await;
    assert_eq!(texts(&receiver.all()), ["vier"]);
    // It is taken, and the others follow in order.
    receiver.answer(|_| Reply::Status(200));
    t.time_passes(HOUR / 2).await;
    receiver.hears("drei").await;
    assert_eq!(texts(&receiver.all()), ["vier", "eins", "zwei", "drei"]);
    let tried: Vec<_> = receiver.all().into_iter().filter(|one| one.text() == "eins").collect();
    assert!(tried.len() >= 2);
    assert!(tried.iter().all(|one| one.id == tried[0].id && one.body == tried[0].body));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_hour_of_failures_later_events_of_the_client_pass() {
    let (t, _) = Tandem::shop().await;
    let receiver =
        Receiver::answering(|one| Reply::Status(if one.text() == "eins" { 500 } else { 200 })).await;
    let (endpoint, _) = t.endpoint(&receiver.url, json!({ "eventTypes": ["MESSAGE_INCOMING"] })).await;
    t.customer_writes(SHOP, ADA, "eins").await;
    receiver.count(1).await;
    t.customer_writes(SHOP, ADA, "zwei").await;
    t.settle().await;
    for tries in 1..=2 {
        t.until_deliveries(&endpoint, |all| attempts(all) >= tries).await;
        assert_eq!(texts(&receiver.all()), [""; 0]);
        t.time_passes(HOUR / 2).await;
    }
    receiver.hears("zwei").await;
    assert_eq!(texts(&receiver.all()), ["zwei"]);
    assert!(receiver.all().iter().filter(|one| one.text() == "eins").count() >= 3);
    // It goes on alone, and arrives in the end.
    receiver.answer(|_| Reply::Status(200));
    t.time_passes(3 * HOUR).await;
    receiver.hears("eins").await;
    let all = t.until_deliveries(&endpoint, |all| all.iter().all(|one| one["status"] == "DELIVERED")).await;
    assert_eq!(all.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_in_parallel_waits_for_nothing() {
    let (t, _) = Tandem::shop().await;
    let receiver =
        Receiver::answering(|one| Reply::Status(if one.text() == "eins" { 500 } else { 200 })).await;
    let wanted = json!({ "eventTypes": ["MESSAGE_INCOMING"], "parallel": true });
    t.endpoint(&receiver.url, wanted).await;
    t.customer_writes(SHOP, ADA, "eins").await;
    t.customer_writes(SHOP, ADA, "zwei").await;
    receiver.hears("zwei").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_410_switches_the_endpoint_off_and_it_goes_on_where_it_was() {
    let (t, _) = Tandem::shop().await;
    let receiver = Receiver::scripted(vec![Reply::Status(410)]).await;
    let witness = Receiver::new().await;
    let (endpoint, _) = t.endpoint(&receiver.url, json!({ "eventTypes": ["MESSAGE_INCOMING"] })).await;
    t.endpoint(&witness.url, json!({ "eventTypes": ["WEBHOOK_ENDPOINT_DISABLED"] })).await;
    let place = t.cursor().await;
    t.customer_writes(SHOP, ADA, "eins").await;
    let told = witness.count(1).await[0].json();
    assert_eq!(told["data"]["endpoint"]["id"], json!(endpoint));
    assert_eq!(told["data"]["disabledReason"], "GONE");
    let event = &t
        .told(
            &place,
            &["WEBHOOK_ENDPOINT_DISABLED"],
            "... on WebhookEndpointEvent { endpointId endpoint { enabled disabledReason } }",
        )
        .await[0];
    assert_eq!(event["endpoint"], json!({ "enabled": false, "disabledReason": "GONE" }));
    let waiting = t.deliveries(&endpoint).await;
    assert_eq!(
        (&waiting[0]["status"], &waiting[0]["attempts"][0]["httpStatus"]),
        (&json!("PENDING"), &json!(410))
    );
    // Nothing comes while it is off; then it goes on.
    t.customer_writes(SHOP, ADA, "zwei").await;
    t.settle().await;
    let test = t.mutate("sendTestEvent", json!({ "endpointId": endpoint }), "eventCursor").await;
    assert_eq!(test["userErrors"][0]["code"], "INVALID");
    let input = json!({ "endpointId": endpoint, "enabled": true });
    let on = t.mutate("updateWebhookEndpoint", input, "endpoint { enabled disabledAt disabledReason }").await;
    assert_eq!(on["endpoint"], json!({ "enabled": true, "disabledAt": null, "disabledReason": null }));
    t.time_passes(10).await;
    receiver.hears("zwei").await;
    assert_eq!(texts(&receiver.all()), ["eins", "zwei"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_days_of_nothing_but_failures_switch_an_endpoint_off() {
    let (t, _) = Tandem::shop().await;
    let receiver = Receiver::answering(|_| Reply::Status(500)).await;
    let (endpoint, _) = t.endpoint(&receiver.url, json!({ "eventTypes": ["MESSAGE_INCOMING"] })).await;
    let mut disabled = t
        .subscribe(
            "subscription($after: EventCursor) { events(after: $after, filter: { types: [WEBHOOK_ENDPOINT_DISABLED] }) {
                ... on WebhookEndpointEvent { endpointId disabledReason } } }",
            json!({}),
        )
        .await;
    t.customer_writes(SHOP, ADA, "eins").await;
    let mut tried = 0;
    for _ in 0..3 {
        let all = t.until_deliveries(&endpoint, |all| attempts(all) > tried).await;
        assert_eq!(all[0]["status"], "PENDING");
        tried = attempts(&all);
        t.time_passes(DAY + 60).await;
    }
    let all = t.until_deliveries(&endpoint, |all| all[0]["status"] == "FAILED").await;
    tried = attempts(&all);
    assert!(tried >= 4);
    let told = disabled.next().await;
    assert_eq!(told["events"], json!({ "endpointId": endpoint, "disabledReason": "FAILING" }));
    let query = "{ webhookEndpoints { nodes { enabled disabledReason pending } } }";
    let off = t.data(query, json!({})).await["webhookEndpoints"]["nodes"][0].clone();
    assert_eq!(off, json!({ "enabled": false, "disabledReason": "FAILING", "pending": 0 }));
    // The operator lets it be tried once more, when the receiver works again.
    receiver.answer(|_| Reply::Status(200));
    t.mutate("updateWebhookEndpoint", json!({ "endpointId": endpoint, "enabled": true }), "endpoint { id }")
        .await;
    let output = t.command(&["webhooks", "retry", "--endpoint", &endpoint]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.starts_with("1 deliveries"), "{said}");
    receiver.hears("eins").await;
    let all = t.until_deliveries(&endpoint, |all| all[0]["status"] == "DELIVERED").await;
    assert_eq!(attempts(&all), tried + 1);
    let bodies: BTreeSet<_> = receiver.all().into_iter().map(|one| one.body.to_vec()).collect();
    assert_eq!(bodies.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_to_be_left_alone_is() {
    let (t, _) = Tandem::shop().await;
    let receiver = Receiver::scripted(vec![Reply::With(429, "retry-after", "600".to_owned())]).await;
    let witness = Receiver::new().await;
    let types = json!({ "eventTypes": ["MESSAGE_INCOMING"] });
    let (endpoint, _) = t.endpoint(&receiver.url, types.clone()).await;
    t.endpoint(&witness.url, types).await;
    t.customer_writes(SHOP, ADA, "eins").await;
    t.until_deliveries(&endpoint, |all| all.iter().any(|one| one["attempts"][0]["httpStatus"] == 429)).await;
    // Other clients wait too: it is the receiver that asked to be left alone.
    let other = "+4915120000002";
    t.connected(other).await;
    t.customer_writes(other, ADA, "zwei").await;
    t.until_deliveries(&endpoint, |all| all.len() == 2).await;
    t.time_passes(400).await;
    t.customer_writes(other, ADA, "drei").await;
    t.until_deliveries(&endpoint, |all| all.len() == 3).await;
    witness.hears("drei").await;
    assert_eq!(receiver.all().len(), 1);
    t.time_passes(210).await;
    receiver.hears("eins").await;
    receiver.hears("zwei").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed_and_long_answers_not_read() {
    let (t, _) = Tandem::shop().await;
    let elsewhere = Receiver::new().await;
    let receiver =
        Receiver::scripted(vec![Reply::With(307, "location", elsewhere.url.clone()), Reply::Long(8 << 20)])
            .await;
    let (endpoint, _) = t.endpoint(&receiver.url, json!({ "eventTypes": ["MESSAGE_INCOMING"] })).await;
    t.customer_writes(SHOP, ADA, "eins").await;
    t.until_deliveries(&endpoint, |all| {
        let error = all.first().and_then(|one| one["attempts"][0]["error"].as_str());
        error.is_some_and(|error| error.contains("redirects are not followed"))
    })
    .await;
    t.time_passes(10).await;
    t.until_deliveries(&endpoint, |all| all[0]["status"] == "DELIVERED").await;
    assert_eq!((receiver.all().len(), elsewhere.all().len()), (2, 0));
}

impl Tandem {
    /// Whoever delivers hears of a new secret a moment after it was drawn: the first webhook that both sign. Those before
    /// were signed by the old one.
    async fn signed_by_both(&self, receiver: &Receiver, endpoint: &str, secrets: [&str; 2]) -> Received {
        loop {
            let before = receiver.all().len();
            self.mutate("sendTestEvent", json!({ "endpointId": endpoint }), "eventCursor").await;
            let webhook = receiver.count(before + 1).await[before].clone();
            assert!(webhook.is_signed_by(secrets[0]));
            if webhook.is_signed_by(secrets[1]) {
                return webhook;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_both_secrets_sign_for_a_day() {
    let (t, _) = Tandem::shop().await;
    let receiver = Receiver::new().await;
    let (endpoint, old) = t.endpoint(&receiver.url, json!({ "eventTypes": ["TEST"] })).await;
    let rotated = t
        .mutate(
            "rotateWebhookSecret",
            json!({ "endpointId": endpoint }),
            "secret endpoint { formerSecretUntil }",
        )
        .await;
    let new = rotated["secret"].as_str().unwrap();
    assert!(rotated["endpoint"]["formerSecretUntil"].is_string());
    let both = t.signed_by_both(&receiver, &endpoint, [&old, new]).await;
    assert_eq!(both.json()["data"]["endpoint"]["id"], json!(endpoint));
    t.time_passes(DAY + 1).await;
    let before = receiver.all().len();
    t.mutate("sendTestEvent", json!({ "endpointId": endpoint }), "eventCursor").await;
    let one = receiver.count(before + 1).await[before].clone();
    assert!(!one.is_signed_by(&old) && one.is_signed_by(new));
    let query = "{ webhookEndpoints { nodes { formerSecretUntil } } }";
    let now = t.data(query, json!({})).await["webhookEndpoints"]["nodes"][0].clone();
    assert_eq!(now["formerSecretUntil"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_brings_a_part_of_the_stream_once_more() {
    let (t, _) = Tandem::shop().await;
    let receiver = Receiver::new().await;
    let types = json!({ "eventTypes": ["MESSAGE_INCOMING", "MESSAGE_OUTGOING"] });
    let (endpoint, _) = t.endpoint(&receiver.url, types).await;
    let says = async |text: &str| {
        t.customer_writes(SHOP, ADA, text).await;
        receiver.hears(text).await;
        t.settle().await;
    };
    says("eins").await;
    let after = t.cursor().await;
    says("zwei").await;
    t.time_passes(HOUR).await;
    let up_to = t.cursor().await;
    says("drei").await;
    t.app_writes(SHOP, ADA, "vier").await;
    receiver.hears("vier").await;
    let replay = async |extra: Value| {
        let before = receiver.all().len();
        let mut input = json!({ "endpointId": endpoint });
        input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let asked = t.mutate("replayWebhooks", input, "upTo endpoint { id }").await;
        assert_eq!(asked["userErrors"], json!([]), "{asked:#}");
        before
    };
    let first_id = receiver.all()[0].id.clone();
    let before = replay(json!({})).await;
    let again = receiver.count(before + 4).await;
    assert_eq!(texts(&again[before..]), ["eins", "zwei", "drei", "vier"]);
    assert_eq!(again[before].id, first_id);
    let before = replay(json!({ "after": after, "upTo": up_to })).await;
    let again = receiver.count(before + 1).await;
    assert_eq!(texts(&again[before..]), ["zwei"]);
    let before = replay(json!({ "types": ["MESSAGE_OUTGOING"] })).await;
    let again = receiver.count(before + 1).await;
    assert_eq!(texts(&again[before..]), ["vier"]);
    let deliveries = t.deliveries(&endpoint).await;
    assert_eq!(deliveries.iter().filter(|one| one["replay"] == true).count(), 6);
    let backwards =
        json!({ "endpointId": endpoint, "since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z" });
    let refused = t.mutate("replayWebhooks", backwards, "upTo").await;
    assert_eq!(refused["userErrors"][0]["field"], json!(["until"]));
}

/// A receiver that fails at random, in every way that there is.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_at_a_receiver_that_fails_at_random() {
    let t = Tandem::with(&[("TANDEM_WEBHOOKS_TIMEOUT_SECONDS", "1")]).await;
    let shops = [SHOP, "+4915120000002", "+4915120000003"];
    for shop in shops {
        t.connected(shop).await;
    }
    let mut draw: u64 = 7;
    let mut failures: HashMap<String, u32> = HashMap::new();
    let receiver = Receiver::answering(move |one| {
        // An event that failed for an hour would let later ones pass, as it should: none fails for so long.
        let failed = failures.entry(one.id.clone()).or_default();
        if *failed == 2 {
            return Reply::Status(200);
        }
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let drawn = (draw >> 33) % 24;
        *failed += u32::from(drawn <= 10);
        match drawn {
            0..=2 => Reply::Status(500),
            3 => Reply::Silence,
            4 | 5 => Reply::Cut,
            6 => Reply::Status(410),
            7 | 8 => Reply::With(429, "retry-after", "30".to_owned()),
            9 => Reply::With(503, "retry-after", "soon".to_owned()),
            10 => Reply::Long(1 << 20),
            _ => Reply::Status(200),
        }
    })
    .await;
    let (endpoint, secret) = t.endpoint(&receiver.url, json!({ "eventTypes": ["MESSAGE_INCOMING"] })).await;
    for number in 0..12 {
        for shop in shops {
            t.customer_writes(shop, ADA, &format!("{shop} {number}")).await;
        }
    }
    t.settle().await;
    let on = json!({ "endpointId": endpoint, "enabled": true });
    let mut all = t.deliveries(&endpoint).await;
    for round in 0.. {
        assert!(round < 500, "{all:#?}");
        if all.len() == 36 && all.iter().all(|one| one["status"] == "DELIVERED") {
            break;
        }
        // Whoever said 410 did not mean it.
        let enabled = t.data("{ webhookEndpoints { nodes { enabled } } }", json!({})).await;
        if enabled["webhookEndpoints"]["nodes"][0]["enabled"] == false {
            t.mutate("updateWebhookEndpoint", on.clone(), "endpoint { id }").await;
        }
        // Time passes only when all that is due has been tried: on a slow machine an event would else have failed for an hour.
        let before = receiver.all().len();
        let more = receiver.until(|all| all.len() > before);
        if tokio::time::timeout(std::time::Duration::from_millis(200), more).await.is_err() {
            t.time_passes(30).await;
        }
        all = t.deliveries(&endpoint).await;
    }
    let received = receiver.all();
    // Every client's in their order, and each event under one id with one body.
    for shop in shops {
        // One that was answered too late comes again.
        let mut seen = BTreeSet::new();
        let of_shop: Vec<String> = texts(&received)
            .into_iter()
            .filter(|text| text.starts_with(shop) && seen.insert(text.clone()))
            .collect();
        let expected: Vec<String> = (0..12).map(|number| format!("{shop} {number}")).collect();
        assert_eq!(of_shop, expected);
    }
    for one in &received {
        assert!(one.is_signed_by(&secret));
        assert!(received.iter().all(|other| (other.id == one.id) == (other.body == one.body)));
    }
    // Every attempt is there to be seen.
    for delivery in &all {
        let attempts = delivery["attempts"].as_array().unwrap();
        let posts: Vec<&Received> = received.iter().filter(|one| delivery["eventId"] == one.id).collect();
        assert_eq!(attempts.len(), posts.len(), "{delivery:#}");
        for (number, (attempt, post)) in attempts.iter().zip(&posts).enumerate() {
            assert_eq!(attempt["number"], number + 1);
            // Whatever the receiver says later is not heard.
            let status = if attempt["error"] == "no answer in time" { 0 } else { post.status };
            assert_eq!(attempt["httpStatus"].as_u64().unwrap_or(0), u64::from(status), "{attempt:#}");
            assert_eq!(attempt["error"].is_null(), status == 200, "{attempt:#}");
        }
    }
    assert!(received.len() > 40, "it hardly failed: {}", received.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_over_a_restart() {
    let (mut t, _) = Tandem::shop().await;
    let receiver =
        Receiver::answering(|one| if one.text() == "eins" { Reply::Silence } else { Reply::Status(500) })
            .await;
    let (endpoint, _) = t.endpoint(&receiver.url, json!({ "eventTypes": ["MESSAGE_INCOMING"] })).await;
    t.customer_writes(SHOP, ADA, "eins").await;
    t.customer_writes(SHOP, ADA, "zwei").await;
    receiver.count(1).await;
    t.settle().await;
    // It ends while nobody knows whether the first one arrived; until then nothing else is sent.
    receiver.answer(|_| Reply::Status(200));
    t.restart().await;
    t.customer_writes(SHOP, ADA, "drei").await;
    receiver.hears("drei").await;
    let received = receiver.all();
    assert_eq!(texts(&received), ["eins", "zwei", "drei"]);
    let eins: Vec<_> = received.iter().filter(|one| one.text() == "eins").collect();
    assert!(eins.len() == 2 && eins[0].id == eins[1].id && eins[0].body == eins[1].body);
    let all = t.until_deliveries(&endpoint, |all| all.iter().all(|one| one["status"] == "DELIVERED")).await;
    assert_eq!(all.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_waits_in_the_stream() {
    let t = Tandem::with(&[("TANDEM_WEBHOOKS_BACKLOG", "5")]).await;
    t.connected(SHOP).await;
    let receiver = Receiver::answering(|_| Reply::Status(500)).await;
    let (endpoint, _) = t.endpoint(&receiver.url, json!({ "eventTypes": ["MESSAGE_INCOMING"] })).await;
    let expected: Vec<String> = (0..30).map(|number| format!("Nummer {number}")).collect();
    for text in &expected {
        t.customer_writes(SHOP, ADA, text).await;
        if text == "Nummer 9" {
            t.settle().await;
            // From here on there is no room, but for one while the one that fails is being tried.
            t.until_deliveries(&endpoint, |all| all.len() >= 5 && attempts(all) > 0).await;
        }
    }
    t.settle().await;
    assert!(t.deliveries(&endpoint).await.len() <= 10);
    receiver.answer(|_| Reply::Status(200));
    t.time_passes(HOUR / 2).await;
    receiver.hears("Nummer 29").await;
    assert_eq!(texts(&receiver.all()), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_gets_what_it_asked_for() {
    let (t, known) = Tandem::shop().await;
    t.disconnect(SHOP, "ACCOUNT_DISCONNECTED", "USER").await;
    t.settle().await;
    // The client that was made for a fresh link turns out to be the known one: the endpoint follows.
    let onboarding = t.onboarding(json!({})).await;
    let fresh = t.onboarding_now(&onboarding, "client { id }").await["client"]["id"].clone();
    assert_ne!(fresh, json!(known));
    let (of_client, of_all) = (Receiver::new().await, Receiver::new().await);
    let wanted = json!({ "clientIds": [fresh], "eventTypes": ["MESSAGE_INCOMING", "CLIENT_MERGED"] });
    t.endpoint(&of_client.url, wanted).await;
    t.endpoint(&of_all.url, json!({ "eventTypes": ["MESSAGE_INCOMING"] })).await;
    let signup = t.signup(SHOP, false).await;
    t.complete(&onboarding, &signup).await;
    let other = "+4915120000002";
    t.connected(other).await;
    t.customer_writes(other, ADA, "für den anderen").await;
    t.settle().await;
    t.customer_writes(SHOP, ADA, "für den einen").await;
    of_client.hears("für den einen").await;
    of_all.hears("für den einen").await;
    of_all.hears("für den anderen").await;
    let kinds: Vec<String> = of_client.all().iter().map(Received::kind).collect();
    assert_eq!(kinds, ["CLIENT_MERGED", "MESSAGE_INCOMING"]);
    assert_eq!(texts(&of_all.all()).into_iter().collect::<BTreeSet<_>>().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_address_that_is_none_is_refused_with_the_reason() {
    let t = Tandem::with(&[("TANDEM_WEBHOOKS_ENDPOINTS_PER_PARTNER", "1")]).await;
    let long = format!("https://example.org/{}", "x".repeat(2100));
    for (url, code, reason) in [
        ("ftp://example.org/", "INVALID", "https"),
        ("example.org", "INVALID", "not an address"),
        ("https://user:word@example.org/", "INVALID", "password"),
        (long.as_str(), "INVALID", "too long"),
        ("https://10.1.2.3/", "URL_NOT_ALLOWED", "private"),
        ("https://169.254.169.254/latest/meta-data", "URL_NOT_ALLOWED", "private"),
        ("https://[fe80::1]/", "URL_NOT_ALLOWED", "private"),
        ("https://[::ffff:192.168.0.1]/", "URL_NOT_ALLOWED", "private"),
    ] {
        let refused =
            t.mutate("createWebhookEndpoint", json!({ "url": url }), "secret endpoint { id }").await;
        let error = &refused["userErrors"][0];
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(["url"])), "{url}: {refused:#}");
        assert!(error["message"].as_str().unwrap().contains(reason), "{error:#}");
        assert_eq!((&refused["secret"], &refused["endpoint"]), (&Value::Null, &Value::Null));
    }
    let receiver = Receiver::new().await;
    let (endpoint, _) = t.endpoint(&receiver.url, json!({})).await;
    let input = json!({ "endpointId": endpoint, "url": "https://10.1.2.3/" });
    let refused = t.mutate("updateWebhookEndpoint", input, "endpoint { id }").await;
    assert_eq!(refused["userErrors"][0]["code"], "URL_NOT_ALLOWED");
    for input in [
        json!({ "endpointId": endpoint, "eventTypes": [] }),
        json!({ "endpointId": endpoint, "clientIds": [] }),
        json!({ "endpointId": endpoint, "description": "x".repeat(501) }),
    ] {
        let refused = t.mutate("updateWebhookEndpoint", input, "endpoint { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "INVALID", "{refused:#}");
    }
    let full = t.mutate("createWebhookEndpoint", json!({ "url": receiver.url }), "endpoint { id }").await;
    assert!(full["userErrors"][0]["message"].as_str().unwrap().contains("limit"), "{full:#}");
    // Whose place is free again when it is deleted.
    let gone = t.mutate("deleteWebhookEndpoint", json!({ "endpointId": endpoint }), "endpoint { id }").await;
    assert_eq!(gone["endpoint"]["id"], json!(endpoint));
    let node = t
        .data(
            "query($id: ID!) { node(id: $id) { id } webhookEndpoints { nodes { id } } }",
            json!({ "id": endpoint }),
        )
        .await;
    assert_eq!(node, json!({ "node": null, "webhookEndpoints": { "nodes": [] } }));
    t.endpoint(&receiver.url, json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_some_clients_manages_endpoints_for_no_others() {
    let (t, client) = Tandem::shop().await;
    let receiver = Receiver::new().await;
    let key = t.make_key(&[&client], &["ADMIN", "READ"], None).await;
    let create = "mutation($input: CreateWebhookEndpointInput!) { createWebhookEndpoint(input: $input) {
        endpoint { id } userErrors { code field } } }";
    let ask = async |input: Value| {
        let answer = t.ask_as(Some(&key), create, json!({ "input": input })).await;
        answer["data"]["createWebhookEndpoint"].clone()
    };
    let all = ask(json!({ "url": receiver.url })).await;
    assert_eq!(all["userErrors"], json!([{ "code": "INVALID", "field": ["clientIds"] }]));
    let keys = ask(json!({ "url": receiver.url, "clientIds": [client], "includeClientKey": true })).await;
    assert_eq!(keys["userErrors"], json!([{ "code": "INVALID", "field": ["includeClientKey"] }]));
    let own = ask(json!({ "url": receiver.url, "clientIds": [client] })).await;
    assert_eq!(own["userErrors"], json!([]));
    t.endpoint(&receiver.url, json!({})).await;
    let seen = t.ask_as(Some(&key), "{ webhookEndpoints { nodes { id } } }", json!({})).await;
    assert_eq!(seen["data"]["webhookEndpoints"]["nodes"], json!([own["endpoint"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_shows_a_contact_is_erased_with_it() {
    let (t, client) = Tandem::shop().await;
    let receiver =
        Receiver::answering(|one| Reply::Status(if one.text() == "Offen" { 500 } else { 200 })).await;
    let (endpoint, _) = t.endpoint(&receiver.url, json!({ "eventTypes": ["MESSAGE_INCOMING"] })).await;
    t.customer_writes(SHOP, BEN, "Bleibt").await;
    t.customer_writes(SHOP, ADA, "Geheim").await;
    t.customer_writes(SHOP, ADA, "Offen").await;
    t.until_deliveries(&endpoint, |all| all.len() == 3 && all[0]["attempts"][0].is_object()).await;
    let message = t.saying(&client, "Geheim").await;
    let contact = message["conversation"]["contact"]["id"].as_str().unwrap();
    use sea_orm::EntityTrait;
    use tandem::ids::PublicId;
    let app = t.running().app.clone();
    let tx = app.db.begin_write().await.unwrap();
    let partner = entity::PartnerId::parse(&t.partner).unwrap();
    let (client, contact) =
        (entity::ClientId::parse(&client).unwrap(), entity::ContactId::parse(contact).unwrap());
    let erased = tandem::webhooks::keep::erase_contact(&tx, partner, client, contact).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(erased, 2);
    #[expect(clippy::disallowed_methods, reason = "the database's view")]
    let rows = entity::webhook_delivery::Entity::find().all(app.db.read()).await.unwrap();
    let kept: Vec<&str> = rows.iter().filter_map(|row| row.data.as_deref()).collect();
    assert!(kept.len() == 1 && kept[0].contains("Bleibt") && !kept[0].contains("Geheim"), "{kept:?}");
    // What still waited is never sent.
    receiver.answer(|_| Reply::Status(200));
    t.time_passes(HOUR / 2).await;
    let all = t.until_deliveries(&endpoint, |all| all[0]["status"] != "PENDING").await;
    assert_eq!(all[0]["status"], "CANCELED");
    assert_eq!(texts(&receiver.all()), ["Bleibt", "Geheim"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_deliveries_go_and_so_do_those_of_an_endpoint_that_went() {
    let (t, _) = Tandem::shop().await;
    let receiver = Receiver::new().await;
    let types = json!({ "eventTypes": ["MESSAGE_INCOMING"] });
    let (endpoint, _) = t.endpoint(&receiver.url, types.clone()).await;
    let (other, _) = t.endpoint(&receiver.url, types).await;
    t.customer_writes(SHOP, ADA, "eins").await;
    for id in [&endpoint, &other] {
        t.until_deliveries(id, |all| all.iter().any(|one| one["status"] == "DELIVERED")).await;
    }
    t.mutate("deleteWebhookEndpoint", json!({ "endpointId": other }), "endpoint { id }").await;
    let app = t.running().app.clone();
    use sea_orm::{EntityTrait, PaginatorTrait};
    let left = async || {
        for _ in 0..3 {
            tandem::webhooks::keep::prune(&app).await.unwrap();
        }
        #[expect(clippy::disallowed_methods, reason = "the database's view")]
        let counts = (
            entity::webhook_endpoint::Entity::find().count(app.db.read()).await.unwrap(),
            entity::webhook_delivery::Entity::find().count(app.db.read()).await.unwrap(),
            entity::webhook_attempt::Entity::find().count(app.db.read()).await.unwrap(),
        );
        counts
    };
    assert_eq!(left().await, (1, 1, 1));
    t.time_passes(3 * DAY + 60).await;
    assert_eq!(left().await, (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_replays_a_part_of_the_stream_from_the_shell() {
    let (mut t, _) = Tandem::shop().await;
    let receiver = Receiver::new().await;
    let types = json!({ "eventTypes": ["MESSAGE_INCOMING", "MESSAGE_OUTGOING"] });
    let (endpoint, _) = t.endpoint(&receiver.url, types).await;
    let start = t.cursor().await;
    for text in ["eins", "zwei"] {
        t.customer_writes(SHOP, ADA, text).await;
        receiver.hears(text).await;
    }
    t.settle().await;
    let middle = t.cursor().await;
    t.time_passes(HOUR).await;
    let instant = chrono::DateTime::from_timestamp(t.clock().await, 0).unwrap().to_rfc3339();
    t.customer_writes(SHOP, ADA, "drei").await;
    t.app_writes(SHOP, ADA, "vier").await;
    receiver.hears("drei").await;
    receiver.hears("vier").await;
    let first = receiver.all();
    let mut heard = first.len();
    for (options, expected) in [
        (vec![], vec!["eins", "zwei", "drei", "vier"]),
        (vec!["--after", &start, "--up-to", &middle], vec!["eins", "zwei"]),
        (vec!["--since", &instant], vec!["drei", "vier"]),
        (vec!["--until", &instant, "--type", "MESSAGE_INCOMING", "--type", "TEST"], vec!["eins", "zwei"]),
        (vec!["--type", "MESSAGE_OUTGOING"], vec!["vier"]),
    ] {
        let mut arguments = vec!["events", "replay", "--endpoint", &endpoint];
        arguments.extend(&options);
        let output = t.command(&arguments).await;
        assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
        let all = receiver.count(heard + expected.len()).await;
        let again = &all[heard..];
        assert_eq!(texts(again), expected, "{options:?}");
        assert!(again.iter().all(|one| first.iter().any(|other| other.id == one.id)));
        heard = all.len();
    }
    // One that is asked for while no service runs waits for the next one.
    t.stop().await;
    let output = t.command(&["events", "replay", "--endpoint", &endpoint, "--after", &middle]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    t.start().await;
    assert_eq!(texts(&receiver.count(heard + 2).await[heard..]), ["drei", "vier"]);
    let replayed =
        t.until_deliveries(&endpoint, |all| all.iter().all(|one| one["status"] == "DELIVERED")).await;
    assert_eq!(replayed.iter().filter(|one| one["replay"] == true).count(), 13);

    let nobody = "whe_00000000000000000000000000000000";
    for (options, says) in [
        (vec!["--endpoint", "whe_"], "whe_ and 32 digits"),
        (vec!["--endpoint", nobody], "no endpoint"),
        (vec!["--endpoint", &endpoint, "--after", "nonsense"], "not a cursor"),
        (vec!["--endpoint", &endpoint, "--type", "NO_SUCH_TYPE"], "MESSAGE_INCOMING"),
        (vec!["--endpoint", &endpoint, "--since", "yesterday"], "an instant"),
        (vec!["--endpoint", &endpoint, "--since", &instant, "--until", &instant], "not after since"),
    ] {
        let mut arguments = vec!["events", "replay"];
        arguments.extend(&options);
        let output = t.command(&arguments).await;
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && words.contains(says), "{options:?}: {words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_deliveries_is_counted() {
    let [taken, failed, given_up, pending] =
        ["taken_total", "failed_attempts_total", "given_up_total", "pending"]
            .map(|name| format!("tandem_deliveries_{name}"));
    let (mut t, _) = Tandem::shop().await;
    let receiver = Receiver::scripted(vec![Reply::Status(500)]).await;
    t.endpoint(&receiver.url, json!({ "eventTypes": ["MESSAGE_INCOMING"] })).await;
    for name in [&taken, &failed, &given_up, &pending] {
        assert_eq!(t.metric(name).await, 0);
    }
    t.customer_writes(SHOP, ADA, "eins").await;
    receiver.count(1).await;
    t.until_metric(&failed, 1).await;
    t.time_passes(HOUR / 2).await;
    t.until_metric(&taken, 1).await;
    t.until_metric(&pending, 0).await;
    assert_eq!((t.metric(&failed).await, t.metric(&given_up).await), (1, 0));
    // What waits is known to the next process too.
    receiver.answer(|one| Reply::Status(if one.text() == "zwei" { 500 } else { 200 }));
    t.customer_writes(SHOP, ADA, "zwei").await;
    receiver.until(|all| all.iter().any(|one| one.text() == "zwei")).await;
    t.customer_writes(SHOP, ADA, "drei").await;
    t.until_metric(&pending, 2).await;
    t.restart().await;
    t.until_metric(&pending, 2).await;
    assert_eq!(t.metric(&taken).await, 0);
    // One passes after an hour; the other is given up after three days.
    t.time_passes(HOUR + 60).await;
    t.until_metric(&taken, 1).await;
    t.until_metric(&pending, 1).await;
    t.time_passes(3 * DAY).await;
    t.until_metric(&given_up, 1).await;
    t.until_metric(&pending, 0).await;
    assert_eq!(t.metric(&taken).await, 1);
    assert!(t.metric(&failed).await >= 2);
}

/// The receiver that docs/webhooks.md shows, as it stands there, with the library that it names.
#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_in_the_docs_takes_what_is_ours_once() {
    let docs = include_str!("../../docs/webhooks.md");
    let example = docs.split("```js\n").nth(1).unwrap().split("```").next().unwrap();
    let others = ["```", "```js", "```json", "```graphql"];
    let untried = docs.lines().find(|line| line.starts_with("```") && !others.contains(line));
    assert_eq!((docs.matches("```js\n").count(), untried), (1, None), "a program that nobody tries");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert!(example.contains(".listen(3000)"));
    let script = example.replace(".listen(3000)", &format!(".listen({port})"));
    let (t, _) = Tandem::shop().await;
    let url = format!("http://127.0.0.1:{port}/webhooks/tandem");
    let (endpoint, secret) = t.endpoint(&url, json!({ "eventTypes": ["MESSAGE_INCOMING"] })).await;
    let mut node = tokio::process::Command::new("node");
    node.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance")).kill_on_drop(true);
    node.args(["--input-type=module", "--eval", &script]).env("TANDEM_WEBHOOK_SECRET", &secret);
    let mut node = node.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(node.stdout.take().unwrap()).lines();
    let listens = async { while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {} };
    tokio::time::timeout(crate::harness::PATIENCE, listens).await.expect("it does not listen");
    let mut line = async || {
        let line = tokio::time::timeout(crate::harness::PATIENCE, lines.next_line()).await;
        line.expect("it says nothing").unwrap().expect("it has ended")
    };

    t.customer_writes(SHOP, ADA, "Habt ihr auf?").await;
    assert_eq!(line().await, "MESSAGE_INCOMING Habt ihr auf?");
    // What it knows it takes, and does nothing; what is signed by another it refuses.
    let is_settled = |one: &Value| one["attempts"][0]["httpStatus"] == 204;
    t.until_deliveries(&endpoint, |all| all.iter().all(is_settled)).await;
    t.mutate("replayWebhooks", json!({ "endpointId": endpoint }), "upTo").await;
    t.until_deliveries(&endpoint, |all| all.len() == 2 && all.iter().all(is_settled)).await;
    t.customer_writes(SHOP, ADA, "Hallo?").await;
    assert_eq!(line().await, "MESSAGE_INCOMING Hallo?");
    let (stranger, _) = t.endpoint(&url, json!({ "eventTypes": ["TEST"] })).await;
    t.mutate("sendTestEvent", json!({ "endpointId": stranger }), "eventCursor").await;
    t.until_deliveries(&stranger, |all| all.iter().any(|one| one["attempts"][0]["httpStatus"] == 401)).await;
    let unsigned = t.http.post(&url).body("{}").send().await.unwrap();
    assert_eq!(unsigned.status(), 401);
}

/// The public library of the specification verifies our signatures. `npm ci` in tests/conformance brings it.
#[tokio::test(flavor = "multi_thread")]
async fn a_standard_library_verifies_the_signature() {
    let t = Tandem::new().await;
    let receiver = Receiver::new().await;
    let (endpoint, old) = t.endpoint(&receiver.url, json!({ "eventTypes": ["TEST"] })).await;
    let rotated = t.mutate("rotateWebhookSecret", json!({ "endpointId": endpoint }), "secret").await;
    let webhook = t.signed_by_both(&receiver, &endpoint, [&old, rotated["secret"].as_str().unwrap()]).await;
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance");
    let case = json!({
        "secrets": [old, rotated["secret"]],
        "headers": { "webhook-id": webhook.id, "webhook-timestamp": webhook.timestamp, "webhook-signature": webhook.signature },
        "body": String::from_utf8(webhook.body.to_vec()).unwrap(),
    });
    let mut verify = tokio::process::Command::new("node");
    verify.current_dir(directory).args(["verify.mjs", &case.to_string()]).kill_on_drop(true);
    let output = tokio::time::timeout(crate::harness::PATIENCE, verify.output()).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(told.trim(), "verified by 2 secrets, refused when changed");
}

//! The real binary, killed again and again: what was answered 200 is applied exactly once (invariant 1), whatever is to be
//! sent arrives at most once (invariant 7), and every event reaches its webhook receiver and its subscribers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tandem::clock::Clock;
use tokio::sync::watch;

use crate::harness::meta::{Business, Customer, Shown, text};
use crate::harness::process::{Binary, Process};
use crate::harness::receiver::{Received, Receiver, Reply};
use crate::harness::{Subscription, Tandem, http_client, is_soak, on_postgres};

/// A body in which customers of a number write `m` and these numbers.
fn writes(business: &Business, at: i64, numbers: std::ops::Range<u64>) -> Vec<u8> {
    let change = |n: u64| {
        let who =
            Customer { number: format!("+49157700{:05}", n % 200), user_id: format!("DE.77{:08}", n % 200) };
        let (id, words) = (who.wamid(n, false), text(&format!("m{n}")));
        business.incoming(&who, Shown::Both, &id, at, "Somebody", words)
    };
    business.body(&numbers.map(change).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_200_is_applied_exactly_once_however_often_the_process_is_killed() {
    let (webhooks, kills) = if is_soak() { (20_000, 20) } else { (2_000, 5) };
    let installation = Binary::new(&[]).await;
    let mut service = installation.serve().await;
    let (client, business) = installation.connect(&service, "+4915120000001").await;
    let begin = installation.place(&service).await;

    let base = Clock::real_now().seconds();
    let bodies: Arc<Vec<(Vec<u8>, String)>> = Arc::new(
        (0..webhooks)
            .map(|n| {
                let body = writes(&business, base, n..n + 1);
                let signature = installation.signature(&body);
                (body, signature)
            })
            .collect(),
    );
    // Eight senders, each sending a body again and again until it is taken, as Meta does.
    let (address, watching) = watch::channel(service.address.clone());
    let (next, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (bodies, next, taken, mut watching) =
            (bodies.clone(), next.clone(), taken.clone(), watching.clone());
        senders.spawn(async move {
            let http = http_client();
            while let Some((body, signature)) = bodies.get(next.fetch_add(1, Ordering::SeqCst)) {
                loop {
                    let url = format!("http://{}/webhooks/meta", *watching.borrow_and_update());
                    let request = http.post(url).header("x-hub-signature-256", signature).body(body.clone());
                    match request.send().await {
                        Ok(answer) if answer.status() == 200 => break,
                        Ok(answer) => assert_eq!(answer.status(), 503),
                        // It was killed: the next one has another address.
                        Err(_) => watching.changed().await.unwrap(),
                    }
                }
                taken.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    for kill in 1..=kills {
        let enough = usize::try_from(webhooks).unwrap() * kill / (kills + 1);
        while taken.load(Ordering::SeqCst) < enough {
            tokio::task::yield_now().await;
        }
        service.kill().await;
        service = installation.serve().await;
        address.send(service.address.clone()).unwrap();
    }
    while let Some(sender) = senders.join_next().await {
        sender.unwrap();
    }
    service.kill().await;
    let service = installation.serve().await;

    let query =
        "subscription($after: EventCursor) { events(after: $after, filter: { types: [MESSAGE_INCOMING] }) {
        ... on IncomingMessageEvent { message { id text client { id } } } } }";
    let url = format!("ws://{}/graphql", service.address);
    let mut subscription =
        Subscription::open(&url, &installation.key, query, json!({ "after": begin })).await;
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut count = 0;
    while told.len() < bodies.len() {
        let data = subscription.next().await;
        let message = &data["events"]["message"];
        if let Some(text) = message["text"].as_str() {
            assert_eq!(message["client"]["id"], client.as_str());
            told.entry(text.to_owned()).or_default().insert(message["id"].as_str().unwrap().to_owned());
            count += 1;
        }
    }
    assert_eq!(count, bodies.len(), "a message was told twice");
    assert!(told.values().all(|ids| ids.len() == 1), "a message has two rows");
    let data_dir = Path::new(&installation.environment[0].1);
    assert_eq!(data_dir.join("tandem.sqlite").exists(), !on_postgres());
    service.kill().await;
}

/// The endpoint of a receiver of what customers write: its secret.
async fn endpoint(installation: &Binary, service: &Process, receiver: &Receiver) -> String {
    let query = "mutation($url: String!) { createWebhookEndpoint(input: { url: $url, eventTypes: [MESSAGE_INCOMING] }) {
        secret userErrors { message } } }";
    let made = service.ask(&installation.key, query, json!({ "url": receiver.url })).await;
    made["createWebhookEndpoint"]["secret"].as_str().unwrap_or_else(|| panic!("{made:#}")).to_owned()
}

/// How many events were taken.
fn taken(received: &[Received]) -> usize {
    let taken = received.iter().filter(|one| one.status == 200);
    taken.map(|one| one.id.as_str()).collect::<HashSet<_>>().len()
}

/// Every event of the log was taken, each under one id with one signed body, and those of a client in their order.
fn assert_all_came(log: &[(String, String)], received: &[Received], secret: &str) {
    let mut bodies: HashMap<&str, &[u8]> = HashMap::new();
    let mut first: HashMap<String, Vec<&str>> = HashMap::new();
    let mut seen = HashSet::new();
    for one in received {
        assert!(one.is_signed_by(secret));
        let body = bodies.entry(&one.id).or_insert(&one.body);
        assert!(*body == &one.body[..], "{} came with another body", one.id);
        if one.status == 200 && seen.insert(one.id.as_str()) {
            let client = one.json()["data"]["client"]["id"].as_str().unwrap().to_owned();
            first.entry(client).or_default().push(&one.id);
        }
    }
    assert_eq!(bodies.values().collect::<HashSet<_>>().len(), bodies.len(), "two events share a body");
    let mut expected: HashMap<String, Vec<&str>> = HashMap::new();
    for (event, client) in log {
        expected.entry(client.clone()).or_default().push(event);
    }
    assert_eq!(first, expected);
}

/// Without 410, which switches an endpoint off: tests/it/deliveries.rs has that too.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_reaches_its_receiver_however_often_the_process_is_killed() {
    let (kills, clients, each) = if is_soak() { (20, 6, 40) } else { (3, 3, 10) };
    let installation = Binary::new(&[("TANDEM_WEBHOOKS_TIMEOUT_SECONDS", "1")]).await;
    let mut service = installation.serve().await;
    let mut businesses = Vec::new();
    for number in 1..=clients {
        businesses.push(installation.connect(&service, &format!("+49151200000{number:02}")).await.1);
    }
    let mut failures: HashMap<String, u32> = HashMap::new();
    let receiver = Receiver::answering(move |one| {
        // An event that failed for an hour would let later ones pass, as it should: none fails for so long.
        let failed = failures.entry(one.id.clone()).or_default();
        if *failed >= 3 || rand::random_range(0..6) > 0 {
            return Reply::Status(200);
        }
        *failed += 1;
        match rand::random_range(0..6) {
            0 => Reply::Silence,
            1 | 2 => Reply::Cut,
            3 => Reply::With(503, "retry-after", "30".to_owned()),
            _ => Reply::Status(500),
        }
    })
    .await;
    let place = installation.place(&service).await;
    let secret = endpoint(&installation, &service, &receiver).await;

    let base = Clock::real_now().seconds();
    let mut next = 0;
    for round in 0..=kills {
        let before = receiver.all().len();
        for business in &businesses {
            installation.post(&service, writes(business, base, next..next + each)).await;
            next += each;
        }
        if round == kills {
            break;
        }
        // Anywhere between the first one and the last.
        let enough = before + rand::random_range(1..=businesses.len() * usize::try_from(each).unwrap());
        while receiver.all().len() < enough {
            time_passes(&installation, &receiver, enough).await;
        }
        service.kill().await;
        service = installation.serve().await;
    }
    let all = usize::try_from(next).unwrap();
    while taken(&receiver.all()) < all {
        time_passes(&installation, &receiver, usize::MAX).await;
    }
    // What was taken is recorded a moment later, or sent once more if its record was lost with a process.
    let query = "{ webhookEndpoints { nodes { enabled pending } } }";
    let over = json!({ "webhookEndpoints": { "nodes": [{ "enabled": true, "pending": 0 }] } });
    while service.ask(&installation.key, query, json!({})).await != over {
        time_passes(&installation, &receiver, usize::MAX).await;
    }
    while service.metric("tandem_deliveries_pending").await != 0 {
        tokio::task::yield_now().await;
    }
    let log = installation.incoming(&service, &place).await;
    assert_eq!(log.len(), all);
    assert_all_came(&log, &receiver.all(), &secret);
    service.kill().await;
}

/// Lets so much time pass that what failed is due again, and waits for it, or for so long that the service has heard of it.
async fn time_passes(installation: &Binary, receiver: &Receiver, enough: usize) {
    installation.time_passes(150).await;
    let more = receiver.until(|all| all.len() >= enough);
    let _ = tokio::time::timeout(Duration::from_millis(1_100), more).await;
}

/// A subscriber of what customers write, who goes on elsewhere when its process dies.
struct Watcher {
    subscription: Subscription,
    told: Vec<String>,
}

const WATCHED: &str = "subscription($after: EventCursor) {
    events(after: $after, filter: { types: [MESSAGE_INCOMING] }) { ... on Event { id } } }";

impl Watcher {
    async fn open(installation: &Binary, service: &Process, place: &str) -> Self {
        let url = format!("ws://{}/graphql", service.address);
        let after = json!({ "after": place });
        let mut subscription = Subscription::open(&url, &installation.key, WATCHED, after).await;
        subscription.pass_over_caught_up(place);
        Self { subscription, told: Vec::new() }
    }

    async fn moves(self, installation: &Binary, service: &Process) -> Self {
        let place = self.subscription.cut().unwrap();
        Self { told: self.told, ..Self::open(installation, service, &place).await }
    }

    async fn hears(&mut self, count: usize) {
        while self.told.len() < count {
            let data = self.subscription.next().await;
            if let Some(id) = data["events"]["id"].as_str() {
                self.told.push(id.to_owned());
            }
        }
    }
}

/// Much rests on it: locks in memory, and that claims of whoever was there before end at once.
#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_second_service_does_not_start() {
    if on_postgres() {
        return;
    }
    let t = Tandem::new().await;
    let refused = t.command(&["serve"]).await;
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("another `tandem serve` works on"), "{said}");
    // Commands are none.
    assert!(t.command(&["inbound", "list"]).await.status.success());
}

/// Several processes need Postgres: on SQLite there is nothing to be tested, and `make test` comes here again.
#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_another_process_takes_over_when_the_one_that_works_is_killed() {
    if !on_postgres() {
        return;
    }
    let (kills, each) = if is_soak() { (6, 50) } else { (1, 20) };
    let installation = Binary::new(&[]).await;
    let mut works = installation.serve().await;
    let mut businesses = Vec::new();
    for number in ["+4915120000001", "+4915120000002"] {
        businesses.push(installation.connect(&works, number).await.1);
    }
    let receiver = Receiver::new().await;
    let place = installation.place(&works).await;
    let secret = endpoint(&installation, &works, &receiver).await;
    let base = Clock::real_now().seconds();
    // It works before there is another one.
    installation.post(&works, writes(&businesses[0], base, 0..1)).await;
    receiver.count(1).await;
    let mut next = 1;
    let mut waits = installation.serve().await;
    let mut moving = Watcher::open(&installation, &works, &place).await;
    let mut staying = Watcher::open(&installation, &waits, &place).await;
    let applied = "tandem_webhooks_applied_total";
    for _ in 0..kills {
        let before = usize::try_from(next).unwrap();
        // Each takes bodies; one applies and delivers them all, and both tell them.
        for (service, business) in [(&works, &businesses[0]), (&waits, &businesses[1])] {
            installation.post(service, writes(business, base, next..next + each)).await;
            next += each;
        }
        moving.hears(before + 1).await;
        staying.hears(before + 1).await;
        receiver.until(|all| taken(all) > before).await;
        // A body counts as applied a moment after its events are told.
        while works.metric(applied).await == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(waits.metric(applied).await, 0);
        works.kill().await;
        installation.post(&waits, writes(&businesses[0], base, next..next + each)).await;
        next += each;
        moving = moving.moves(&installation, &waits).await;
        let all = usize::try_from(next).unwrap();
        moving.hears(all).await;
        staying.hears(all).await;
        // A lease of an endpoint lives for 10 s; this waits for three of them.
        receiver.until(|received| taken(received) == all).await;
        let log = installation.incoming(&waits, &place).await;
        let ids: Vec<&str> = log.iter().map(|(event, _)| event.as_str()).collect();
        assert_eq!(moving.told, ids, "not once each, in the order of the log");
        assert_eq!(staying.told, ids, "not once each, in the order of the log");
        assert_all_came(&log, &receiver.all(), &secret);
        // The one that worked comes back, and is the one that waits.
        works = waits;
        waits = installation.serve().await;
        (moving, staying) = (staying, moving.moves(&installation, &waits).await);
    }
    works.kill().await;
    waits.kill().await;
}

/// Sends messages to people, one of each after another, each with a key of its own, until it is taken, as a partner does: the
/// ids of the messages.
async fn send_all(
    address: watch::Receiver<String>,
    key: String,
    client: String,
    messages: usize,
) -> BTreeSet<String> {
    let mut senders = tokio::task::JoinSet::new();
    for person in 0..8 {
        let (mut address, key, client) = (address.clone(), key.clone(), client.clone());
        senders.spawn(async move {
            let (http, mut ids) = (http_client(), Vec::new());
            let query = "mutation($input: SendMessageInput!) { sendMessage(input: $input) {
                message { id } userErrors { code message } } }";
            for number in (person..messages).step_by(8) {
                let content = json!({ "template": { "name": "appointment_confirmed", "language": "de",
                    "components": [{ "type": "BODY", "parameters": [{ "text": "Sie" }, { "text": number.to_string() }] }] } });
                let input = json!({ "clientId": client, "to": format!("+4915770000{:03}", number % 40),
                    "content": content, "idempotencyKey": number.to_string() });
                let id = loop {
                    let url = format!("http://{}/graphql", *address.borrow_and_update());
                    let request = http.post(url).bearer_auth(&key);
                    let body = json!({ "query": query, "variables": { "input": input } });
                    let answer: Option<Value> = match request.json(&body).send().await {
                        Ok(answer) => answer.json().await.ok(),
                        Err(_) => None,
                    };
                    match answer {
                        Some(answer) => {
                            let payload = &answer["data"]["sendMessage"];
                            break payload["message"]["id"].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned();
                        }
                        // It was killed: the next one has another address.
                        None => address.changed().await.unwrap(),
                    }
                };
                ids.push(id);
            }
            ids
        });
    }
    let mut all = BTreeSet::new();
    while let Some(ids) = senders.join_next().await {
        all.extend(ids.unwrap());
    }
    all
}

/// What was told of sends, over the lives of several processes.
#[derive(Default)]
struct Told {
    statuses: BTreeMap<String, BTreeSet<String>>,
    cursor: Value,
}

impl Told {
    async fn subscribe(&self, address: &str, key: &str) -> Subscription {
        let query = "subscription($after: EventCursor) { messageStatuses(after: $after) {
            status message { id } } }";
        let url = format!("ws://{address}/graphql");
        Subscription::open(&url, key, query, json!({ "after": self.cursor })).await
    }

    /// Hears one more: whether it was sent.
    async fn hear(&mut self, statuses: &mut Subscription) -> bool {
        let told = statuses.next().await["messageStatuses"].clone();
        self.cursor = json!(statuses.cursor);
        let status = told["status"].as_str().unwrap().to_owned();
        let sent = status == "SENT";
        self.statuses.entry(told["message"]["id"].as_str().unwrap().to_owned()).or_default().insert(status);
        sent
    }

    fn has(&self, id: &str, status: &str) -> bool {
        self.statuses.get(id).is_some_and(|statuses| statuses.contains(status))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_sent_arrives_at_most_once_however_often_the_process_is_killed() {
    let (messages, kills) = if is_soak() { (2_000, 20) } else { (300, 3) };
    let installation = Binary::new(&[]).await;
    let key = installation.key.clone();
    let mut service = installation.serve().await;
    let (client, business) = installation.connect(&service, "+4915120000001").await;
    let mut told = Told { cursor: json!(installation.place(&service).await), ..Told::default() };

    let (address, watching) = watch::channel(service.address.clone());
    let mut asked = tokio::task::JoinSet::new();
    asked.spawn(send_all(watching, key.clone(), client.clone(), messages));
    for _ in 0..kills {
        // At any moment of a burst: while messages are queued, sent and answered.
        let mut statuses = told.subscribe(&service.address, &key).await;
        let most = messages / (kills + 1);
        let mut left = rand::random_range(1..most);
        while left > 0 {
            left -= usize::from(told.hear(&mut statuses).await);
        }
        service.kill().await;
        service = installation.serve().await;
        address.send_replace(service.address.clone());
    }
    let ids = asked.join_next().await.unwrap().unwrap();
    assert_eq!(ids.len(), messages, "a key makes one message, however often it is asked");

    // Whatever was on the wire when a process died is unknown, and all else is sent.
    let mut statuses = told.subscribe(&service.address, &key).await;
    while !ids.iter().all(|id| told.has(id, "SENT") || told.has(id, "UNKNOWN")) {
        told.hear(&mut statuses).await;
    }
    let query = format!("{{ arrivals(phoneNumber: \"{}\") {{ callbackData accepted }} }}", business.number);
    let arrivals = installation.simulate(&query, json!({})).await["arrivals"].clone();
    let mut arrived: BTreeMap<&str, usize> = BTreeMap::new();
    for arrival in arrivals.as_array().unwrap() {
        assert_eq!(arrival["accepted"], true, "never above the rate: {arrival:#}");
        *arrived.entry(arrival["callbackData"].as_str().unwrap()).or_default() += 1;
    }
    assert!(arrived.values().all(|times| *times == 1), "each at most once");
    // Each one that arrived is settled, by its status webhook where its answer was lost.
    while !arrived.keys().all(|id| told.has(id, "SENT")) {
        told.hear(&mut statuses).await;
    }
    let unknown: Vec<&String> = ids.iter().filter(|id| !told.has(id, "SENT")).collect();
    assert!(unknown.len() <= 20 * kills, "more than a second's worth for each kill: {}", unknown.len());
    assert!(ids.iter().all(|id| arrived.contains_key(id.as_str()) || unknown.contains(&id)));
    // Asked one by one: none is left on its way.
    for id in &ids {
        let query = "query($id: ID!) { node(id: $id) { ... on Message { status } } }";
        let status = service.ask(&key, query, json!({ "id": id })).await["node"]["status"].clone();
        let expected = if unknown.contains(&id) { "UNKNOWN" } else { "SENT" };
        assert_eq!(status, expected, "{id}");
    }
    if is_soak() {
        println!("{messages} messages, {kills} kills: {} unknown", unknown.len());
    }
    service.kill().await;
}

//! On the real binary, however often the process is killed: whatever was answered 200 is applied exactly once (invariant 1),
//! and whatever is to be sent arrives at most once (invariant 7).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tandem::clock::Clock;
use tokio::sync::watch;

use crate::harness::meta::{Business, Customer, Shown, text};
use crate::harness::process::{Process, command, start};
use crate::harness::{Subscription, database, http_client, is_soak};

/// A simulator, the settings of a service beside it, and the key of a partner.
async fn installation(dir: &Path) -> (Process, Vec<(&'static str, String)>, String) {
    let simulator_environment = [
        ("TANDEM_DATA_DIR", dir.join("simulator").display().to_string()),
        ("TANDEM_SIMULATOR_LISTEN", "127.0.0.1:0".to_owned()),
    ];
    let simulator = start(&simulator_environment, &["simulator"], "the simulator serves at http://").await;
    let mut environment = vec![
        ("TANDEM_DATA_DIR", dir.join("data").display().to_string()),
        ("TANDEM_LISTEN", "127.0.0.1:0".to_owned()),
        ("TANDEM_SIMULATOR_URL", format!("http://{}", simulator.address)),
    ];
    if let Some(url) = database().await {
        environment.push(("DATABASE_URL", url));
    }
    let made =
        command(&environment).args(["partner", "create", "--name", "Acme", "--json"]).output().await.unwrap();
    let made: Value = serde_json::from_slice(&made.stdout).expect("one JSON object alone on standard output");
    (simulator, environment, made["apiKey"].as_str().unwrap().to_owned())
}

pub async fn ask(address: &str, key: &str, query: &str, variables: Value) -> Value {
    let body = json!({ "query": query, "variables": variables });
    let request = http_client().post(format!("http://{address}/graphql")).bearer_auth(key).json(&body);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert!(answer.get("errors").is_none(), "{answer:#}");
    answer["data"].clone()
}

pub async fn simulate(address: &str, query: &str) -> Value {
    ask(address, "none", query, json!({})).await
}

/// Connects a phone without a past: the client's id and the number as bodies name it.
pub async fn connect(service: &str, simulator: &str, key: &str) -> (String, Business) {
    simulate(simulator, r#"mutation { createPhone(input: { phoneNumber: "+4915120000001", displayName: "Crash", contacts: 0, messages: 0 }) { connected } }"#).await;
    let create = r#"mutation { createOnboarding(input: { businessName: "Crash", history: NEVER }) { onboarding { id } } }"#;
    let data = ask(service, key, create, json!({})).await;
    let onboarding = data["createOnboarding"]["onboarding"]["id"].clone();
    let signup = simulate(
        simulator,
        r#"mutation { completeSignup(input: { phoneNumber: "+4915120000001" }) { code wabaId event } }"#,
    )
    .await;
    let mut input = signup["completeSignup"].clone();
    input["onboardingId"] = onboarding;
    let complete = "mutation($input: CompleteOnboardingInput!) { completeOnboarding(input: $input) { onboarding { status client { id } } } }";
    let data = ask(service, key, complete, json!({ "input": input })).await;
    let onboarding = &data["completeOnboarding"]["onboarding"];
    assert_eq!(onboarding["status"], "CONNECTED");
    // What Meta calls the number: it stands in the path of the calls that reached the simulator.
    let calls = simulate(simulator, r#"{ graphCalls(path: "smb_app_data") { path } }"#).await;
    let path = calls["graphCalls"][0]["path"].as_str().unwrap();
    let phone_number_id = path.trim_end_matches("/smb_app_data").rsplit('/').next().unwrap().to_owned();
    let waba_id = input["wabaId"].as_str().unwrap().to_owned();
    let business = Business { phone_number_id, waba_id, number: "+4915120000001".to_owned() };
    (onboarding["client"]["id"].as_str().unwrap().to_owned(), business)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_200_is_applied_exactly_once_however_often_the_process_is_killed() {
    let (webhooks, kills) = if is_soak() { (20_000, 20) } else { (2_000, 5) };
    let dir = tempfile::tempdir().unwrap();
    let (simulator, environment, key) = installation(dir.path()).await;

    let mut service = start(&environment, &["serve"], "serving at http://").await;
    let (client, business) = connect(&service.address, &simulator.address, &key).await;
    let data =
        ask(&service.address, &key, "{ events(first: 100) { pageInfo { endCursor } } }", json!({})).await;
    let begin = data["events"]["pageInfo"]["endCursor"].clone();
    let secret = simulate(&simulator.address, "{ development { appSecret } }").await;
    let secret = secrecy::SecretString::from(secret["development"]["appSecret"].as_str().unwrap());

    let base = Clock::real_now().seconds();
    let bodies: Arc<Vec<(Vec<u8>, String)>> = Arc::new(
        (0..webhooks)
            .map(|n| {
                let who = Customer {
                    number: format!("+49157700{:05}", n % 200),
                    user_id: format!("DE.77{:08}", n % 200),
                };
                let change = business.incoming(
                    &who,
                    Shown::Both,
                    &who.wamid(n, false),
                    base,
                    "Somebody",
                    text(&format!("m{n}")),
                );
                let body = business.body(&[change]);
                let signature = tandem::upstream::meta::signature::sign(&secret, &body);
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
        service = start(&environment, &["serve"], "serving at http://").await;
        address.send(service.address.clone()).unwrap();
    }
    while let Some(sender) = senders.join_next().await {
        sender.unwrap();
    }
    service.kill().await;
    let service = start(&environment, &["serve"], "serving at http://").await;

    let query =
        "subscription($after: EventCursor) { events(after: $after, filter: { types: [MESSAGE_INCOMING] }) {
        ... on IncomingMessageEvent { message { id text client { id } } } } }";
    let url = format!("ws://{}/graphql", service.address);
    let mut subscription = Subscription::open(&url, &key, query, json!({ "after": begin })).await;
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
    assert!(Path::new(&environment[0].1).join("tandem.sqlite").exists() || environment.len() > 3);
    service.kill().await;
    simulator.kill().await;
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
    let dir = tempfile::tempdir().unwrap();
    let (simulator, environment, key) = installation(dir.path()).await;
    let mut service = start(&environment, &["serve"], "serving at http://").await;
    let (client, business) = connect(&service.address, &simulator.address, &key).await;
    let data = ask(&service.address, &key, "{ viewer { eventCursor } }", json!({})).await;
    let mut told = Told { cursor: data["viewer"]["eventCursor"].clone(), ..Told::default() };

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
        service = start(&environment, &["serve"], "serving at http://").await;
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
    let arrivals = simulate(&simulator.address, &query).await["arrivals"].clone();
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
        let status = ask(&service.address, &key, query, json!({ "id": id })).await["node"]["status"].clone();
        let expected = if unknown.contains(&id) { "UNKNOWN" } else { "SENT" };
        assert_eq!(status, expected, "{id}");
    }
    if is_soak() {
        println!("{messages} messages, {kills} kills: {} unknown", unknown.len());
    }
    service.kill().await;
    simulator.kill().await;
}

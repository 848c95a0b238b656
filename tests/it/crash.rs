//! Invariant 1 on the real binary: whatever was answered 200 is applied exactly once, however often the process is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tandem::clock::Clock;
use tokio::sync::watch;

use crate::harness::meta::{Business, Customer, Shown, text};
use crate::harness::process::{command, start};
use crate::harness::{Subscription, database, http_client, is_soak};

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
    let simulator_environment = [
        ("TANDEM_DATA_DIR", dir.path().join("simulator").display().to_string()),
        ("TANDEM_SIMULATOR_LISTEN", "127.0.0.1:0".to_owned()),
    ];
    let simulator = start(&simulator_environment, &["simulator"], "the simulator serves at http://").await;
    let mut environment = vec![
        ("TANDEM_DATA_DIR", dir.path().join("data").display().to_string()),
        ("TANDEM_LISTEN", "127.0.0.1:0".to_owned()),
        ("TANDEM_SIMULATOR_URL", format!("http://{}", simulator.address)),
    ];
    if let Some(url) = database().await {
        environment.push(("DATABASE_URL", url));
    }
    let made =
        command(&environment).args(["partner", "create", "--name", "Acme", "--json"]).output().await.unwrap();
    let made: Value = serde_json::from_slice(&made.stdout).expect("one JSON object alone on standard output");
    let key = made["apiKey"].as_str().unwrap().to_owned();

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

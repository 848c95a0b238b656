//! Sends under load: the rate, the order, and at most once with an upstream that answers badly. The loads are short; `make
//! soak` makes them long, and judges speed too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::harness::{Subscription, Tandem, is_soak};

/// Somebody whom a shop writes to.
fn person(shop: usize, place: usize) -> String {
    format!("+49157{shop:03}{place:05}")
}

fn shop_number(place: usize) -> String {
    format!("+491512{place:07}")
}

fn numbered(number: usize) -> Value {
    let parameters = json!([{ "text": "Sie" }, { "text": number.to_string() }]);
    json!({ "template": { "name": "appointment_confirmed", "language": "de",
        "components": [{ "type": "BODY", "parameters": parameters }] } })
}

/// A client that is to send, and how much.
struct Shop {
    client: String,
    number: String,
    place: usize,
    limit: usize,
    messages: usize,
    people: usize,
}

impl Shop {
    async fn new(t: &Tandem, place: usize, with_app: bool, messages: usize, people: usize) -> Self {
        let number = shop_number(place);
        let app = if with_app { "BUSINESS" } else { "API_ONLY" };
        t.create_phone(json!({ "phoneNumber": number, "displayName": "Shop", "app": app, "contacts": 0,
            "messages": 0, "groups": 0 }))
            .await;
        let client = t.connect(&number, true, json!({ "coexistence": with_app, "history": "NEVER" })).await;
        Self { client, number, place, limit: if with_app { 20 } else { 80 }, messages, people }
    }
}

/// What was asked for: each message's shop and place among those to its recipient, and how long each call took.
#[derive(Default)]
struct Asked {
    messages: HashMap<String, (usize, usize)>,
    took: Vec<Duration>,
}

/// Sends everything of all shops at once: to each person one after another, to many persons at a time.
async fn burst(t: &Tandem, shops: &[Shop]) -> Asked {
    let people = shops.iter().flat_map(|shop| (0..shop.people).map(move |person| (shop, person)));
    let sends = people.map(|(shop, place)| async move {
        let mut asked = Vec::new();
        for number in (place..shop.messages).step_by(shop.people) {
            let (to, key) = (person(shop.place, place), format!("{} {number}", shop.place));
            let began = Instant::now();
            let payload = t.send(&shop.client, &to, numbered(number), &key).await;
            let took = began.elapsed();
            assert_eq!(payload["userErrors"], json!([]), "queued, never refused: {payload:#}");
            asked.push((payload["message"]["id"].as_str().unwrap().to_owned(), number, took));
        }
        (shop.place, asked)
    });
    let mut all = Asked::default();
    let mut done = futures_util::stream::iter(sends).buffer_unordered(16);
    while let Some((shop, asked)) = done.next().await {
        for (id, number, took) in asked {
            all.messages.insert(id, (shop, number));
            all.took.push(took);
        }
    }
    all
}

const STATUSES: &str =
    "subscription($after: EventCursor) { messageStatuses(after: $after) { status message { id } } }";

/// Hears statuses until all of these messages have one of those: how often each had which.
async fn until_all(
    statuses: &mut Subscription,
    ids: impl Iterator<Item = &String>,
    wanted: &[&str],
) -> BTreeMap<String, BTreeSet<String>> {
    let mut left: BTreeSet<&String> = ids.collect();
    let mut heard: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while !left.is_empty() {
        let told = statuses.next().await["messageStatuses"].clone();
        let (id, status) = (told["message"]["id"].as_str().unwrap(), told["status"].as_str().unwrap());
        heard.entry(id.to_owned()).or_default().insert(status.to_owned());
        if wanted.contains(&status) {
            left.remove(&id.to_owned());
        }
    }
    heard
}

/// All messages of a client.
async fn rows(t: &Tandem, client: &str) -> Vec<Value> {
    let query = "query($id: ID!, $after: String) { history(clientId: $id, first: 100, after: $after) {
        nodes { id origin } pageInfo { hasNextPage endCursor } } }";
    let (mut rows, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = t.data(query, json!({ "id": client, "after": after })).await["history"].clone();
        rows.extend(page["nodes"].as_array().unwrap().clone());
        if page["pageInfo"]["hasNextPage"] == false {
            return rows;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

fn at(arrival: &Value) -> f64 {
    arrival["at"].as_f64().unwrap()
}

/// No second sees more than the limit; each recipient's messages are in their order.
fn holds(arrivals: &[Value], limit: usize, asked: &Asked) {
    for second in arrivals.windows(limit + 1) {
        let apart = at(&second[limit]) - at(&second[0]);
        assert!(apart >= 1000.0, "{} within {apart} ms", limit + 1);
    }
    let mut last: HashMap<&str, usize> = HashMap::new();
    for arrival in arrivals {
        let (_, number) = asked.messages[arrival["callbackData"].as_str().unwrap()];
        let before = last.insert(arrival["to"].as_str().unwrap(), number);
        assert!(before.is_none_or(|before| before < number), "{before:?} before {number}");
    }
}

/// Sends a second, from the first to the last.
fn average(arrivals: &[Value]) -> f64 {
    let seconds = (at(arrivals.last().unwrap()) - at(&arrivals[0])) / 1000.0;
    (arrivals.len() - 1) as f64 / seconds
}

fn p99(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread")]
async fn r08_a_long_burst_to_one_client_keeps_the_rate_and_the_order() {
    let t = Tandem::new().await;
    let messages = if is_soak() { 2_000 } else { 300 };
    let shops = [Shop::new(&t, 1, true, messages, 50).await];
    let place = t.place().await;
    let mut asked = burst(&t, &shops).await;
    // Nobody reads while the burst is queued, so the listening begins after it.
    let mut statuses = t.subscribe(STATUSES, json!({ "after": place })).await;
    until_all(&mut statuses, asked.messages.keys(), &["SENT"]).await;
    let arrivals = t.arrivals(&shops[0].number).await;
    assert_eq!(arrivals.len(), messages, "each once");
    holds(&arrivals, 20, &asked);
    let (average, slow) = (average(&arrivals), p99(&mut asked.took));
    if is_soak() {
        println!("one client: {average:.2} messages/s, sendMessage p99 {slow:?}");
        assert!(average > 19.0, "{average} a second");
        // Sixteen callers keep an unoptimised build busy: that says nothing of an answer's time.
        if cfg!(not(debug_assertions)) {
            assert!(slow < Duration::from_millis(20), "sendMessage p99 {slow:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r08_many_clients_at_once_go_each_at_their_own_rate() {
    let t = Tandem::new().await;
    let (clients, with_app, alone) = if is_soak() { (50, 200, 800) } else { (4, 50, 100) };
    let mut shops = Vec::new();
    for place in 0..clients {
        let (with_app, messages) = if place % 2 == 0 { (true, with_app) } else { (false, alone) };
        shops.push(Shop::new(&t, 1 + place, with_app, messages, messages / 10).await);
    }
    let place = t.place().await;
    let mut asked = burst(&t, &shops).await;
    // Nobody reads while the burst is queued, so the listening begins after it.
    let mut statuses = t.subscribe(STATUSES, json!({ "after": place })).await;
    until_all(&mut statuses, asked.messages.keys(), &["SENT"]).await;
    if is_soak() {
        println!("many clients: sendMessage p99 {:?}", p99(&mut asked.took));
    }
    for shop in &shops {
        let arrivals = t.arrivals(&shop.number).await;
        assert_eq!(arrivals.len(), shop.messages, "each once");
        holds(&arrivals, shop.limit, &asked);
        if is_soak() {
            let average = average(&arrivals);
            println!("{} of {}: {average:.2} messages/s", shop.number, shop.limit);
            assert!(average > 0.9 * shop.limit as f64, "{average} of {} a second", shop.limit);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_answers_badly_gets_each_message_at_most_once_and_loses_none() {
    let t = Tandem::with(&[("TANDEM_LANES_TIMEOUT_SECONDS", "2")]).await;
    let messages = if is_soak() { 2_000 } else { 300 };
    let shop = [Shop::new(&t, 1, true, messages, 50).await];
    let (client, number) = (&shop[0].client, &shop[0].number);
    let place = t.place().await;
    let trouble = json!({ "sendRateLimited": 0.1, "sendFails": 0.05, "sendTimesOutAfterAccepting": 0.02,
        "echoBeforeAnswer": 0.3 });
    t.act("trouble", trouble).await;
    let asked = burst(&t, &shop).await;
    // Nobody reads while the burst is queued, so the listening begins after it.
    let mut statuses = t.subscribe(STATUSES, json!({ "after": place })).await;
    let heard = until_all(&mut statuses, asked.messages.keys(), &["SENT", "UNKNOWN"]).await;
    t.act("trouble", json!({})).await;
    t.settle().await;

    let arrivals = t.arrivals(number).await;
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    for arrival in &arrivals {
        let id = arrival["callbackData"].as_str().unwrap();
        assert!(asked.messages.contains_key(id), "{arrival:#}");
        *taken.entry(id).or_default() += usize::from(arrival["accepted"] == true);
    }
    assert!(taken.values().all(|count| *count <= 1), "at most once");
    // What WhatsApp took is settled, however its answer went; what it did not, and would not say so, stays unknown.
    let unknown: BTreeSet<&String> = asked.messages.keys().filter(|id| taken[id.as_str()] == 0).collect();
    assert!(unknown.len() < messages / 4, "{} of {messages}", unknown.len());
    for id in asked.messages.keys() {
        let status = t.message(id).await["status"].clone();
        let expected = if unknown.contains(id) { "UNKNOWN" } else { "SENT" };
        assert_eq!(status, expected, "{id}: {:?}", heard[id]);
    }
    // One row for each, whatever echoes and statuses came first.
    let rows = rows(&t, client).await;
    assert_eq!(rows.len(), messages, "one row for each");
    assert!(rows.iter().all(|row| row["origin"] == "API"));

    // And the lane is as fast as before.
    let before = arrivals.len();
    let messages = if is_soak() { 400 } else { 60 };
    let again =
        [Shop { client: client.clone(), number: number.clone(), place: 2, limit: 20, messages, people: 20 }];
    let asked = burst(&t, &again).await;
    until_all(&mut statuses, asked.messages.keys(), &["SENT"]).await;
    let arrivals = t.arrivals(number).await[before..].to_vec();
    assert_eq!(arrivals.len(), messages);
    holds(&arrivals, 20, &asked);
    if is_soak() {
        // The slots that were too fast have rested by then.
        let average = average(&arrivals[100..]);
        println!("after the trouble: {average:.2} messages/s");
        assert!(average > 19.0, "{average} a second");
    }
}

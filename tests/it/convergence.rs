//! Invariant 3: any order, any split and any repetition of the same webhooks ends in the same rows; of the log, each live
//! message is told once. And invariant 6: whoever disconnects and resumes sees every event once, in order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use tandem::clock::Clock;

use crate::harness::meta::{Business, Customer, Shown, text};
use crate::harness::{Tandem, is_soak, seed};

/// A webhook body of the generated shop, before it is split and repeated.
#[derive(Clone, Debug)]
enum Unit {
    /// A customer wrote.
    Incoming {
        who: usize,
        shown: Shown,
        second_id: bool,
        token: u64,
        unsupported: bool,
        /// Answers another message, named by this one of its ids.
        answers: Option<bool>,
    },
    /// The client wrote in the app.
    Echo {
        who: usize,
        shown: Shown,
        second_id: bool,
        token: u64,
    },
    /// The same message in the history.
    Past {
        who: usize,
        shown: Shown,
        second_id: bool,
        token: u64,
        from_app: bool,
        placeholder: bool,
        status: usize,
        /// Stamped a second later than the live one.
        later: bool,
    },
    /// A medium of the history.
    LateMedium {
        who: usize,
        shown: Shown,
        second_id: bool,
        token: u64,
    },
    Status {
        who: usize,
        shown: Shown,
        second_id: bool,
        token: u64,
        status: usize,
        /// Of a failure.
        code: i32,
    },
    Edit {
        who: usize,
        shown: Shown,
        second_id: bool,
        token: u64,
        by_app: bool,
        version: u64,
        /// Of the words beside a file.
        caption: bool,
    },
    Delete {
        who: usize,
        shown: Shown,
        second_id: bool,
        token: u64,
        by_app: bool,
    },
    React {
        who: usize,
        shown: Shown,
        second_id: bool,
        token: u64,
        by_app: bool,
        emoji: usize,
        version: u64,
    },
    PhoneBook {
        who: usize,
        shown: Shown,
        version: u64,
        name: usize,
    },
    Preference {
        who: usize,
        shown: Shown,
        version: u64,
        stop: bool,
    },
    Account {
        event: usize,
        version: u64,
    },
}

const STATUSES: [&str; 4] = ["sent", "delivered", "read", "failed"];
const HISTORY_STATUSES: [&str; 5] = ["SENT", "DELIVERED", "READ", "ERROR", "PENDING"];
const EMOJI: [Option<&str>; 3] = [Some("👍"), Some("🎉"), None];
const NAMES: [Option<&str>; 3] = [Some("Ada Example"), Some("Bo Example"), None];
const ACCOUNT: [&str; 3] = ["ACCOUNT_OFFBOARDED", "ACCOUNT_RECONNECTED", "PARTNER_REMOVED"];
const CUSTOMERS: usize = 3;

fn shown() -> impl Strategy<Value = Shown> {
    prop_oneof![
        6 => Just(Shown::Both),
        3 => Just(Shown::Number),
        3 => Just(Shown::UserId),
        1 => Just(Shown::UserIds),
        1 => Just(Shown::Parent),
    ]
}

/// Few messages and much that happens to them, so that everything meets everything. Even tokens are the customer's
/// messages, odd ones the app's; the customer follows from the token, so that no two people share a message.
fn unit() -> impl Strategy<Value = Unit> {
    let token = prop_oneof![0..4u64, 0..10u64];
    let who = |token: u64| usize::try_from(token).unwrap_or(0) % CUSTOMERS;
    prop_oneof![
        3 => (shown(), any::<bool>(), token.clone(), any::<bool>(), any::<Option<bool>>()).prop_map(
            move |(shown, second_id, token, unsupported, answers)| {
                let token = token & !1;
                Unit::Incoming { who: who(token), shown, second_id, token, unsupported, answers }
            }
        ),
        2 => (shown(), any::<bool>(), token.clone()).prop_map(move |(shown, second_id, token)| {
            let token = token | 1;
            Unit::Echo { who: who(token), shown, second_id, token }
        }),
        3 => (shown(), any::<bool>(), token.clone(), any::<bool>(), 0..5usize, any::<bool>()).prop_map(
            move |(shown, second_id, token, placeholder, status, later)| Unit::Past {
                who: who(token), shown, second_id, token, from_app: token % 2 == 1, placeholder, status, later
            }
        ),
        1 => (shown(), any::<bool>(), token.clone()).prop_map(move |(shown, second_id, token)| {
            let token = token & !1;
            Unit::LateMedium { who: who(token), shown, second_id, token }
        }),
        3 => (shown(), any::<bool>(), token.clone(), 0..4usize, 0..3usize).prop_map(
            move |(shown, second_id, token, status, why)| {
                let token = token | 1;
                let code = [131_026, 131_047, 131_050][why];
                Unit::Status { who: who(token), shown, second_id, token, status, code }
            }
        ),
        2 => (shown(), any::<bool>(), token.clone(), 0..3u64, any::<bool>()).prop_map(
            move |(shown, second_id, token, version, caption)| Unit::Edit {
                who: who(token), shown, second_id, token, by_app: token % 2 == 1, version, caption
            }
        ),
        1 => (shown(), any::<bool>(), token.clone()).prop_map(move |(shown, second_id, token)| {
            Unit::Delete { who: who(token), shown, second_id, token, by_app: token % 2 == 1 }
        }),
        2 => (shown(), any::<bool>(), token, any::<bool>(), 0..3usize, 0..3u64).prop_map(
            move |(shown, second_id, token, by_app, emoji, version)| Unit::React {
                who: who(token), shown, second_id, token, by_app, emoji, version
            }
        ),
        2 => (0..CUSTOMERS, shown(), 0..3u64, 0..3usize)
            .prop_map(|(who, shown, version, name)| Unit::PhoneBook { who, shown, version, name }),
        1 => (0..CUSTOMERS, shown(), 0..3u64, any::<bool>())
            .prop_map(|(who, shown, version, stop)| Unit::Preference { who, shown, version, stop }),
        1 => (0..3usize, 0..4u64).prop_map(|(event, version)| Unit::Account { event, version }),
    ]
}

/// Seconds from the connection at which things happen, all different.
fn at(unit: &Unit) -> i64 {
    let second = match unit {
        Unit::Past { token, later: true, .. } => 11 + 2 * token,
        Unit::Incoming { token, .. }
        | Unit::Echo { token, .. }
        | Unit::Past { token, .. }
        | Unit::LateMedium { token, .. } => 10 + 2 * token,
        Unit::Status { token, status, .. } => 100 + token * 10 + u64::try_from(*status).unwrap(),
        Unit::Edit { token, version, .. } => 300 + token * 10 + version,
        Unit::Delete { token, .. } => 500 + token,
        Unit::React { token, version, .. } => 600 + token * 10 + version,
        Unit::PhoneBook { version, .. } => 800 + version,
        Unit::Preference { version, .. } => 850 + version,
        Unit::Account { version, .. } => 900 + version,
    };
    i64::try_from(second).unwrap()
}

fn body(business: &Business, customers: &[Customer], base: i64, unit: &Unit) -> Vec<u8> {
    let at = base + at(unit);
    let one = |change| business.body(&[change]);
    match unit {
        Unit::Incoming { who, shown, second_id, token, unsupported, answers } => {
            let mut content = if *unsupported {
                json!({ "type": "unsupported", "errors": [{ "code": 131060, "title": "not available" }] })
            } else {
                text(&format!("customer {token}"))
            };
            if let Some(second_id) = answers {
                let answered = (token + 6) % 12;
                content["context"] = json!({ "id": customers[*who].wamid(answered, *second_id) });
            }
            let id = customers[*who].wamid(*token, *second_id);
            one(business.incoming(&customers[*who], *shown, &id, at, &format!("Name {who}"), content))
        }
        Unit::Echo { who, shown, second_id, token } => {
            let id = customers[*who].wamid(*token, *second_id);
            one(business.echo(&customers[*who], *shown, &id, at, text(&format!("app {token}"))))
        }
        Unit::Past { who, shown, second_id, token, from_app, placeholder, status, .. } => {
            let content = if *placeholder {
                json!({ "type": "media_placeholder" })
            } else {
                text(&format!("{} {token}", if *from_app { "app" } else { "customer" }))
            };
            let customer = &customers[*who];
            let id = customer.wamid(*token, *second_id);
            let message =
                business.past(customer, *shown, *from_app, &id, at, content, HISTORY_STATUSES[*status]);
            one(business.history(1, 1, 50, &[(customer, *shown, vec![message])]))
        }
        Unit::LateMedium { who, shown, second_id, token } => one(business.late_medium(
            &customers[*who],
            *shown,
            &customers[*who].wamid(*token, *second_id),
            at,
        )),
        Unit::Status { who, shown, second_id, token, status, code } => {
            let id = customers[*who].wamid(*token, *second_id);
            one(business.status(&customers[*who], *shown, &id, at, STATUSES[*status], *code))
        }
        Unit::Edit { who, shown, second_id, token, by_app, version, caption } => {
            let customer = &customers[*who];
            let words = format!("edit {version}");
            let message = if *caption {
                json!({ "type": "image", "image": { "caption": words, "mime_type": "image/jpeg" } })
            } else {
                text(&words)
            };
            let content = json!({ "type": "edit", "edit": {
                "original_message_id": customer.wamid(*token, *second_id), "message": message } });
            own(business, customer, *shown, *by_app, 10_000 + token * 10 + version, at, content)
        }
        Unit::Delete { who, shown, second_id, token, by_app } => {
            let customer = &customers[*who];
            let id = customer.wamid(*token, *second_id);
            let content = json!({ "type": "revoke", "revoke": { "original_message_id": id } });
            own(business, customer, *shown, *by_app, 20_000 + token, at, content)
        }
        Unit::React { who, shown, second_id, token, by_app, emoji, version } => {
            let customer = &customers[*who];
            let mut reaction = json!({ "message_id": customer.wamid(*token, *second_id) });
            if let Some(emoji) = EMOJI[*emoji] {
                reaction["emoji"] = json!(emoji);
            }
            let content = json!({ "type": "reaction", "reaction": reaction });
            own(business, customer, *shown, *by_app, 30_000 + token * 10 + version, at, content)
        }
        Unit::PhoneBook { who, shown, name, .. } => {
            one(business.phone_book(&customers[*who], *shown, at, NAMES[*name]))
        }
        Unit::Preference { who, shown, stop, .. } => {
            one(business.preference(&customers[*who], *shown, at, *stop))
        }
        Unit::Account { event, .. } => business.stamped_body(&business.account(ACCOUNT[*event], at)),
    }
}

/// Something that somebody did, with an id of its own.
fn own(
    business: &Business,
    customer: &Customer,
    shown: Shown,
    by_app: bool,
    token: u64,
    at: i64,
    content: Value,
) -> Vec<u8> {
    let id = customer.wamid(token, false);
    business.body(&[if by_app {
        business.echo(customer, shown, &id, at, content)
    } else {
        business.incoming(customer, shown, &id, at, "Name", content)
    }])
}

/// The parts of several bodies in one.
fn together(bodies: &[Vec<u8>]) -> Vec<u8> {
    let entries: Vec<Value> = bodies
        .iter()
        .flat_map(|body| serde_json::from_slice::<Value>(body).unwrap()["entry"].as_array().unwrap().clone())
        .collect();
    json!({ "object": "whatsapp_business_account", "entry": entries }).to_string().into_bytes()
}

const DUMP: &str = "query($id: ID!) {
  client(id: $id) { status disconnection { reason at } sharesHistory: historySync { percent items } contactSync { items } }
  contacts(clientId: $id, first: 100) { nodes {
    phoneNumber waUserId username fullName firstName profileName inPhoneBook marketingStoppedAt
    conversation { unreadCount lastActivityAt lastMessage { text sentAt } window { closesAt openedBy { text } } } } }
  history(clientId: $id, first: 100) { nodes {
    whatsappId direction origin imported from to text status statusAt sentAt editedAt deletedAt forwarded
    pricing { billable category } error { code }
    content { __typename } replyTo { text } statusHistory { status at error { code } } reactions { by emoji at }
    conversation { contact { phoneNumber waUserId } } } }
}";

/// Everything that can be seen of a client, without ids and without what only this client has.
async fn dump(t: &Tandem, client: &str, number: &str) -> Value {
    let mut data = t.data(DUMP, json!({ "id": client })).await;
    for list in ["contacts", "history"] {
        let nodes = data[list]["nodes"].as_array_mut().unwrap();
        nodes.sort_by_key(|node| node.to_string());
        for node in nodes {
            for list in ["statusHistory", "reactions"] {
                if let Some(list) = node.get_mut(list).and_then(Value::as_array_mut) {
                    list.sort_by_key(|entry| entry.to_string());
                }
            }
        }
    }
    let text = data.to_string().replace(number, "BUSINESS");
    serde_json::from_str(&text).unwrap()
}

/// The lines in which two dumps differ: all that a person wants to read of a failure.
fn differences(a: &Value, b: &Value) -> String {
    let (a, b) = (format!("{a:#}"), format!("{b:#}"));
    let only = |one: &str, other: &str, sign: &str| {
        let other: BTreeSet<&str> = other.lines().collect();
        one.lines()
            .filter(|line| !other.contains(line))
            .map(|line| format!("{sign} {line}\n"))
            .collect::<String>()
    };
    let lines = format!("{}{}", only(&a, &b, "in order:"), only(&b, &a, "shuffled:"));
    if lines.is_empty() { format!("the same lines, elsewhere:\n{a}\n---\n{b}") } else { lines }
}

/// How often each live message was told: at most once for each row that it had, and each such row is accounted for.
async fn told_once(t: &Tandem, client: &str) -> Result<(), String> {
    let query = "query($after: EventCursor, $filter: EventFilter) { events(after: $after, first: 100, filter: $filter) {
        pageInfo { hasNextPage endCursor } nodes { __typename ... on Event { type }
        ... on IncomingMessageEvent { message { id imported } } ... on OutgoingMessageEvent { message { id imported } }
        ... on MessageChangedEvent { message { id } } } } }";
    let (mut told, mut merged) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
    let mut after = Value::Null;
    loop {
        let filter = json!({ "clientIds": [client] });
        let data = t.data(query, json!({ "after": after, "filter": filter })).await;
        for node in data["events"]["nodes"].as_array().unwrap() {
            let id = node["message"]["id"].as_str().unwrap_or_default().to_owned();
            match node["type"].as_str().unwrap() {
                "MESSAGE_INCOMING" | "MESSAGE_OUTGOING" => {
                    if node["message"]["imported"] != false {
                        return Err(format!("told, though only imported: {node}"));
                    }
                    *told.entry(id).or_default() += 1;
                }
                "MESSAGE_MERGED" => *merged.entry(id).or_default() += 1,
                _ => {}
            }
        }
        if data["events"]["pageInfo"]["hasNextPage"] != true {
            break;
        }
        after = data["events"]["pageInfo"]["endCursor"].clone();
    }
    for (id, count) in &told {
        let rows = 1 + merged.get(id).copied().unwrap_or(0);
        if *count > rows {
            return Err(format!("{id} was told {count} times, and was {rows} rows"));
        }
    }
    let data = t
        .data(
            "query($id: ID!) { history(clientId: $id, first: 100) { nodes { id imported origin } } }",
            json!({ "id": client }),
        )
        .await;
    for node in data["history"]["nodes"].as_array().unwrap() {
        let is_told = told.contains_key(node["id"].as_str().unwrap());
        if is_told == (node["imported"] == true) {
            return Err(format!("told: {is_told}, but {node}"));
        }
    }
    Ok(())
}

/// A connected client without a past, as bodies name it.
async fn business(t: &Tandem, number: &str) -> (String, Business) {
    t.phone(number, 0, 0).await;
    let onboarding = t.onboarding(json!({})).await;
    let signup = t.signup(number, true).await;
    let payload = t.complete(&onboarding, &signup).await;
    assert_eq!(payload["onboarding"]["status"], "CONNECTED", "{payload:#}");
    let client = payload["onboarding"]["client"]["id"].as_str().unwrap().to_owned();
    let waba_id = signup["wabaId"].as_str().unwrap().to_owned();
    let phone_number_id = t.phone_number_id(&client).await;
    (client, Business { phone_number_id, waba_id, number: number.to_owned() })
}

fn customers() -> Vec<Customer> {
    (0..CUSTOMERS)
        .map(|n| Customer { number: format!("+4915770000{n:03}"), user_id: format!("DE.9000000000{n:03}") })
        .collect()
}

async fn post_all(t: &Tandem, bodies: &[Vec<u8>]) {
    for body in bodies {
        assert_eq!(t.post(body.clone()).await, 200);
    }
    t.running().app.inbox.idle().await;
}

#[test]
fn any_order_split_and_repetition_of_webhooks_ends_in_the_same_rows() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let t = runtime.block_on(Tandem::new());
    let cases = if is_soak() { 400 } else { 24 };
    let seed = seed();
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let next = std::cell::Cell::new(0u32);
    let strategy = prop::collection::vec((unit(), any::<u32>(), any::<bool>(), any::<bool>()), 1..30);
    // Other cases each time; a failure says how to repeat them.
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    runner
        .run(&strategy, |script| {
            let case = next.get();
            next.set(case + 1);
            runtime.block_on(async {
                let numbers = [format!("+49160{case:07}"), format!("+49161{case:07}")];
                let (in_order, first) = business(&t, &numbers[0]).await;
                let (shuffled, second) = business(&t, &numbers[1]).await;
                let customers = customers();
                let base = Clock::real_now().seconds() + 60;
                let straight: Vec<_> =
                    script.iter().map(|(unit, ..)| body(&first, &customers, base, unit)).collect();
                post_all(&t, &straight).await;

                // By another order, some twice, some together.
                let mut order: Vec<usize> = (0..script.len()).collect();
                order.extend(
                    script.iter().enumerate().filter(|(_, (_, _, twice, _))| *twice).map(|(index, _)| index),
                );
                order.sort_by_key(|index| (script[*index].1.wrapping_mul(2_654_435_761), *index));
                let mut bodies: Vec<Vec<u8>> = Vec::new();
                for index in order {
                    let one = body(&second, &customers, base, &script[index].0);
                    match bodies.last_mut() {
                        Some(last) if script[index].3 => *last = together(&[last.clone(), one]),
                        _ => bodies.push(one),
                    }
                }
                post_all(&t, &bodies).await;

                let a = dump(&t, &in_order, &numbers[0]).await;
                let b = dump(&t, &shuffled, &numbers[1]).await;
                prop_assert!(a == b, "{}", differences(&a, &b));
                for client in [&in_order, &shuffled] {
                    let told = told_once(&t, client).await;
                    prop_assert!(told.is_ok(), "{:?}", told);
                }
                Ok(())
            })
        })
        .unwrap_or_else(|error| panic!("TEST_SEED={seed} repeats this: {error}"));
}

/// Every order of these few webhooks ends in the same rows.
async fn every_order(units: &[Unit]) -> Value {
    let t = Tandem::new().await;
    let base = Clock::real_now().seconds() + 60;
    let mut orders = vec![Vec::new()];
    for place in 0..units.len() {
        let longer = |order: Vec<usize>| {
            (0..=order.len()).map(move |at| {
                let mut order = order.clone();
                order.insert(at, place);
                order
            })
        };
        orders = orders.into_iter().flat_map(longer).collect();
    }
    let mut rows: Option<Value> = None;
    for (n, order) in orders.iter().enumerate() {
        let number = format!("+49160{n:07}");
        let (client, business) = business(&t, &number).await;
        let bodies: Vec<_> =
            order.iter().map(|place| body(&business, &customers(), base, &units[*place])).collect();
        // One by one; the other way round all in one body.
        post_all(&t, &if n % 2 == 0 { bodies } else { vec![together(&bodies)] }).await;
        let dump = dump(&t, &client, &number).await;
        told_once(&t, &client).await.unwrap();
        let first = rows.get_or_insert_with(|| dump.clone());
        assert!(*first == dump, "{order:?}\n{}", differences(first, &dump));
    }
    rows.unwrap()
}

fn texts(rows: &Value) -> Vec<&Value> {
    rows["history"]["nodes"].as_array().unwrap().iter().map(|node| &node["text"]).collect()
}

const HIDDEN: Shown = Shown::UserId;
const NUMBER: Shown = Shown::Number;

fn incoming(shown: Shown, second_id: bool) -> Unit {
    Unit::Incoming { who: 0, shown, second_id, token: 0, unsupported: false, answers: None }
}

fn past(shown: Shown, second_id: bool, later: bool) -> Unit {
    let (token, from_app, placeholder, status) = (0, false, false, 1);
    Unit::Past { who: 0, shown, second_id, token, from_app, placeholder, status, later }
}

fn late_medium(shown: Shown, second_id: bool) -> Unit {
    Unit::LateMedium { who: 0, shown, second_id, token: 0 }
}

fn status(shown: Shown, second_id: bool) -> Unit {
    Unit::Status { who: 0, shown, second_id, token: 3, status: 1, code: 0 }
}

fn echo(shown: Shown, second_id: bool) -> Unit {
    Unit::Echo { who: 0, shown, second_id, token: 3 }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rows_that_prove_to_be_one_message_say_what_one_row_would() {
    // The status shows whose number it is: only then the two are one.
    let rows =
        every_order(&[late_medium(HIDDEN, false), incoming(NUMBER, true), status(Shown::Both, false)]).await;
    assert_eq!(texts(&rows).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_told_of_a_number_and_of_a_user_id_is_in_one_chat() {
    let rows =
        every_order(&[incoming(NUMBER, false), past(HIDDEN, false, false), past(HIDDEN, true, false)]).await;
    assert_eq!(texts(&rows).len(), 1);
    assert_eq!(rows["contacts"]["nodes"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_shows_that_two_ids_are_of_one_message() {
    // Under the first id of the hidden number's chat, and under the same id of the number's: only the other id is seen.
    let rows = every_order(&[status(HIDDEN, false), status(NUMBER, false), echo(HIDDEN, true)]).await;
    assert_eq!(rows["history"]["nodes"][0]["status"], "DELIVERED");
    let rows = every_order(&[status(HIDDEN, false), echo(NUMBER, false), echo(HIDDEN, true)]).await;
    assert_eq!(texts(&rows).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_hidden_number_finds_its_message_once_the_number_is_known() {
    let names = Unit::PhoneBook { who: 0, shown: Shown::Both, version: 0, name: 0 };
    let rows = every_order(&[status(HIDDEN, true), echo(NUMBER, false), names]).await;
    assert_eq!(rows["history"]["nodes"][0]["status"], "DELIVERED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_user_id_becomes_one_contact_with_the_user_id_seen_beside_it() {
    let rows = every_order(&[
        incoming(Shown::Parent, false),
        past(HIDDEN, true, false),
        status(Shown::UserIds, false),
    ])
    .await;
    assert_eq!(rows["contacts"]["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(texts(&rows).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_earliest_stamp_of_a_message_holds_for_its_conversation_too() {
    let rows = every_order(&[incoming(NUMBER, false), past(NUMBER, false, true), echo(NUMBER, false)]).await;
    assert_eq!(rows["contacts"]["nodes"][0]["conversation"]["unreadCount"], 0);
    every_order(&[incoming(NUMBER, false), past(NUMBER, false, true)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caption_edited_before_its_file_came_keeps_the_file() {
    let edit = |version| Unit::Edit {
        who: 0,
        shown: NUMBER,
        second_id: false,
        token: 0,
        by_app: false,
        version,
        caption: true,
    };
    let rows = every_order(&[late_medium(NUMBER, false), edit(1), edit(2)]).await;
    assert_eq!(rows["history"]["nodes"][0]["content"]["__typename"], "MediaContent");
    assert_eq!(texts(&rows), ["edit 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_medium_that_names_nobody_waits_for_its_message() {
    let (who, token, second_id) = (0, 3, false);
    let placeholder = Unit::Past {
        who,
        shown: NUMBER,
        second_id,
        token,
        from_app: true,
        placeholder: true,
        status: 1,
        later: false,
    };
    let medium = Unit::LateMedium { who, shown: Shown::Nobody, second_id: true, token };
    let rows = every_order(&[medium, placeholder, status(NUMBER, false)]).await;
    assert_eq!(texts(&rows), ["late"]);
}

/// The echo of the app's message waits, since it may be of the send; the history brings the same message meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_echo_that_waits_is_told_although_the_history_brings_its_message_first() {
    let t = Tandem::new().await;
    let (client, business) = business(&t, "+491600000000").await;
    let customer = &customers()[0];
    let at = Clock::real_now().seconds() + 60;
    let hello = business.incoming(customer, NUMBER, &customer.wamid(0, false), at, "Name", text("hello"));
    post_all(&t, &[business.body(&[hello])]).await;
    let before = t.cursor().await;
    let slow = json!({ "input": { "graphSlowMs": 2_000 } });
    t.simulate("mutation($input: TroubleInput!) { trouble(input: $input) }", slow).await;
    let sent = t.send(&client, &customer.number, json!({ "text": { "body": "from the API" } }), "k").await;
    assert_eq!(sent["userErrors"], json!([]), "{sent:#}");
    let (id, words) = (customer.wamid(1, false), text("from the app"));
    let echo = business.echo(customer, NUMBER, &id, at + 1, words.clone());
    let past = business.past(customer, NUMBER, true, &id, at + 1, words, "SENT");
    let history = business.history(1, 1, 50, &[(customer, NUMBER, vec![past])]);
    post_all(&t, &[business.body(&[echo]), business.body(&[history])]).await;
    t.settle().await;
    let rows = t.history(&client, "text imported").await;
    assert!(rows.contains(&json!({ "text": "from the app", "imported": false })), "{rows:#?}");
    let told = t.told(&before, &["MESSAGE_OUTGOING", "MESSAGE_MERGED"], "... on Event { type }").await;
    assert_eq!(told, [json!({ "type": "MESSAGE_OUTGOING" })]);
}

/// Nobody knew what became of the send, and the history showed it as the app's: the status names both.
#[tokio::test(flavor = "multi_thread")]
async fn a_send_without_an_answer_is_the_message_whose_status_bears_its_mark() {
    let t = Tandem::new().await;
    let (client, business) = business(&t, "+491600000000").await;
    let customer = &customers()[0];
    let at = Clock::real_now().seconds() + 60;
    let hello = business.incoming(customer, NUMBER, &customer.wamid(0, false), at, "Name", text("hello"));
    post_all(&t, &[business.body(&[hello])]).await;
    let fails = json!({ "input": { "sendFails": 1.0 } });
    t.simulate("mutation($input: TroubleInput!) { trouble(input: $input) }", fails).await;
    let sent = t.send(&client, &customer.number, json!({ "text": { "body": "from the API" } }), "k").await;
    let message = t.until(&sent, "UNKNOWN").await;
    let id = customer.wamid(1, false);
    let past = business.past(customer, NUMBER, true, &id, at + 1, text("from the API"), "SENT");
    let history = business.history(1, 1, 50, &[(customer, NUMBER, vec![past])]);
    post_all(&t, &[business.body(&[history])]).await;
    assert_eq!(t.history(&client, "text").await.len(), 3);
    let (field, mut value) = business.status(customer, NUMBER, &id, at + 2, "delivered", 0);
    value["statuses"][0]["biz_opaque_callback_data"] = json!(message);
    post_all(&t, &[business.body(&[(field, value)])]).await;
    let rows = t.history(&client, "id text origin status").await;
    let expected = json!({ "id": message, "text": "from the API", "origin": "API", "status": "DELIVERED" });
    assert_eq!(rows.len(), 2, "{rows:#?}");
    assert!(rows.contains(&expected), "{rows:#?}");
}

const ALL: &str = "subscription($after: EventCursor) { events(after: $after) { __typename
    ... on CaughtUp { cursor } ... on Event { id cursor type } } }";

#[tokio::test(flavor = "multi_thread")]
async fn who_disconnects_at_random_and_resumes_sees_every_event_once_in_order() {
    let mut t = Tandem::new().await;
    let client = t.connected("+4915120000001").await;
    let writes = if is_soak() { 400 } else { 60 };
    let mut subscription = t.subscribe(ALL, json!({ "after": null })).await;
    t.customer_writes("+4915120000001", "+4915770000001", "first").await;
    subscription.next().await;
    let start = subscription.cursor.clone().unwrap();
    let (mut seen, mut after) = (Vec::new(), start.clone());
    for n in 0..writes {
        t.customer_writes("+4915120000001", &format!("+49157700000{:02}", n % 20), &format!("message {n}"))
            .await;
        // Pseudo-random, so that a failure can be repeated.
        if (n * 7919) % 5 == 0 {
            drop(subscription.cut());
            if n == writes / 2 {
                t.restart().await;
            }
            subscription = t.subscribe(ALL, json!({ "after": after })).await;
        }
        if (n * 104_729) % 3 == 0 {
            let data = subscription.next().await;
            if data["events"]["__typename"] != "CaughtUp" {
                seen.push(data["events"]["id"].as_str().unwrap().to_owned());
            }
            after = subscription.cursor.clone().unwrap();
        }
    }
    t.settle().await;
    let mut log = Vec::new();
    let mut page = Value::from(start);
    loop {
        let query = "query($after: EventCursor) { events(after: $after, first: 100) { nodes { ... on Event { id } } pageInfo { hasNextPage endCursor } } }";
        let data = t.data(query, json!({ "after": page })).await;
        let nodes = data["events"]["nodes"].as_array().unwrap();
        log.extend(nodes.iter().map(|node| node["id"].as_str().unwrap().to_owned()));
        page = data["events"]["pageInfo"]["endCursor"].clone();
        if data["events"]["pageInfo"]["hasNextPage"] != true {
            break;
        }
    }
    while seen.len() < log.len() {
        let data = subscription.next().await;
        if data["events"]["__typename"] != "CaughtUp" {
            seen.push(data["events"]["id"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(seen, log);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
    assert!(!client.is_empty() && log.len() >= writes);
}

/// Invariant 10: whichever way a message is seen first, it is told once, and once only.
#[tokio::test(flavor = "multi_thread")]
async fn live_traffic_during_an_import_is_told_once_whichever_way_it_was_seen_first() {
    let t = Tandem::new().await;
    t.phone("+4915120000001", 5, 300).await;
    let mut events = t
        .subscribe(
            "subscription { events { __typename ... on Event { type } ... on IncomingMessageEvent { message { text } }
             ... on OutgoingMessageEvent { message { text } } } }",
            json!({}),
        )
        .await;
    let client = t.connect("+4915120000001", true, json!({})).await;
    t.open_app("+4915120000001").await;
    let mut expected = BTreeSet::new();
    for n in 0..20 {
        let (from_customer, from_app) = (format!("customer {n}"), format!("app {n}"));
        t.customer_writes("+4915120000001", &format!("+49157700000{n:02}"), &from_customer).await;
        t.app_writes("+4915120000001", &format!("+49157700000{n:02}"), &from_app).await;
        expected.extend([from_customer, from_app]);
    }
    t.settle().await;
    t.app_writes("+4915120000001", "+4915770000099", "the end").await;
    let mut told = Vec::new();
    loop {
        let data = events.until(|data| data["events"]["message"]["text"].is_string()).await;
        let text = data["events"]["message"]["text"].as_str().unwrap().to_owned();
        if text == "the end" {
            break;
        }
        told.push(text);
    }
    assert_eq!(told.len(), expected.len(), "{told:?}");
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), expected);
    let data = t
        .data("query($id: ID!) { client(id: $id) { historySync { state items } } }", json!({ "id": client }))
        .await;
    assert_eq!(data["client"]["historySync"]["state"], "DONE");
    assert_eq!(data["client"]["historySync"]["items"], 300);
}

//! Resuming as a contract: whatever happens in between, nothing is missed and nothing is told twice.

use std::collections::HashSet;

use entity::{ClientId, EventType, PartnerId};
use serde_json::{Value, json};
use tandem::auth::Scope;
use tandem::events::filter::Filter;
use tandem::events::queries::CursorError;
use tandem::events::{self, NewEvent, retention};
use tandem::feed::stream::{Item, Joined};
use tandem::ids::PublicId;

use crate::harness::{ADA, EventStream, SHOP, Tandem};

const DAY: i64 = 86_400;
/// Upkeep that does not come by itself during a test that counts or prunes.
const QUIET: (&str, &str) = ("TANDEM_UPKEEP_INTERVAL_SECONDS", "3600");

impl Tandem {
    async fn scope(&self) -> Scope {
        let app = &self.running().app;
        let bearer = format!("Bearer {}", self.key);
        app.keys.authenticate(&app.db, &app.key, Some(&bearer)).await.ok().unwrap()
    }

    /// Puts entries into the partner's log.
    async fn log(&self, entries: impl IntoIterator<Item = (EventType, Option<ClientId>)>) {
        let app = &self.running().app;
        let partner = PartnerId::parse(&self.partner).unwrap();
        let entries: Vec<NewEvent> = entries
            .into_iter()
            .map(|(kind, client)| NewEvent {
                partner,
                kind,
                occurred_at: app.now(),
                client,
                subject: None,
                data: None,
            })
            .collect();
        for chunk in entries.chunks(5_000) {
            let tx = app.db.begin_write().await.unwrap();
            events::commit(&app.hub, tx, chunk.to_vec()).await.unwrap();
        }
    }

    /// All that was told until now is too old.
    pub async fn forgets(&self) {
        let app = &self.running().app;
        let now = app.now();
        retention::mark(app, now).await.unwrap();
        while retention::prune(app, now.plus_seconds(31 * DAY)).await.unwrap() > 0 {}
    }
}

fn code(error: &Value) -> &str {
    error["extensions"]["code"].as_str().unwrap_or_else(|| panic!("{error:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_retention_is_gone_and_its_cursors_say_so() {
    let t = Tandem::with(&[QUIET]).await;
    let client = t.connected(SHOP).await;
    let start = t.place().await;
    t.customer_writes(SHOP, ADA, "Alt").await;
    t.settle().await;
    // Nobody has anything for this one to hear, and it never expires while it is connected.
    let mut patient = t
        .subscribe(
            "subscription($after: EventCursor) { outgoingMessages(after: $after) { message { text } } }",
            json!({}),
        )
        .await;
    assert!(patient.is_silent().await);
    assert_eq!(patient.frame().await["type"], "complete", "of the question");
    let kept = t.place().await;
    t.forgets().await;
    t.customer_writes(SHOP, ADA, "Neu").await;
    t.settle().await;
    let fresh = t.told_since(&kept).await;
    assert!(!fresh.is_empty());

    let url = format!("{}/graphql", t.url());
    let query = "query($after: EventCursor) { events(after: $after) { nodes { id } } }";
    let answer = t.ask(query, json!({ "after": start })).await;
    let mut refusals = vec![answer["errors"][0].clone()];
    for root in ["events(after: $after) { __typename }", "incomingMessages(after: $after) { id }"] {
        let query = format!("subscription($after: EventCursor) {{ {root} }}");
        let mut refused = t.subscribe(&query, json!({ "after": start })).await;
        let frame = refused.frame().await;
        assert_eq!(frame["type"], "error", "{frame:#}");
        refusals.push(frame["payload"][0].clone());
        let mut refused = EventStream::open(&url, &t.key, &query, json!({ "after": start }), None).await;
        refusals.push(refused.payload().await["errors"][0].clone());
        assert_eq!(refused.next().await.unwrap().kind, "complete");
    }
    for refusal in refusals {
        assert_eq!(code(&refusal), "CURSOR_EXPIRED");
        // The oldest that still works: from there on everything is there.
        assert_eq!(refusal["extensions"]["oldestCursor"], kept);
    }
    // Without a cursor, pages begin with what is left.
    let query = "{ events { nodes { id } } }";
    let page = t.data(query, json!({})).await;
    let ids: Vec<&Value> = fresh.iter().map(|event| &event["id"]).collect();
    assert_eq!(
        page["events"]["nodes"].as_array().unwrap().iter().map(|node| &node["id"]).collect::<Vec<_>>(),
        ids
    );

    t.app_writes(SHOP, ADA, "Auch neu").await;
    assert_eq!(patient.next().await["outgoingMessages"]["message"]["text"], "Auch neu");
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_at_the_head_outlives_everything_that_was_told() {
    let t = Tandem::with(&[QUIET]).await;
    t.log([(EventType::Test, None), (EventType::Test, None)]).await;
    let head = t.place().await;
    t.forgets().await;
    assert_eq!(t.place().await, head);
    assert_eq!(t.told_since(&head).await, Vec::<Value>::new());
    t.log([(EventType::ClientPaused, None)]).await;
    assert_eq!(t.types_since(&head).await, ["CLIENT_PAUSED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_go_by_when_they_were_told_and_marks_go_with_them() {
    let t = Tandem::with(&[QUIET, ("TANDEM_EVENTS_KEEP_DAYS", "2")]).await;
    let app = t.running().app.clone();
    let now = app.now();
    t.log(vec![(EventType::Test, None); 1_200]).await;
    retention::mark(&app, now.plus_seconds(-3 * DAY)).await.unwrap();
    t.log(vec![(EventType::Test, None); 10]).await;
    retention::mark(&app, now.plus_seconds(-DAY)).await.unwrap();
    // A log that did not move needs no further note.
    retention::mark(&app, now).await.unwrap();
    assert_eq!(retention::prune(&app, now).await.unwrap(), 1_200);
    let partner = PartnerId::parse(&t.partner).unwrap();
    assert_eq!(app.hub.bounds(partner).await.unwrap().floor, 1_200);
    assert_eq!(retention::prune(&app, now).await.unwrap(), 0);
    assert_eq!(retention::prune(&app, now.plus_seconds(2 * DAY)).await.unwrap(), 10);
    let bounds = app.hub.bounds(partner).await.unwrap();
    assert_eq!((bounds.floor, bounds.head), (1_210, 1_210));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_retention_overtakes_ends_with_cursor_expired() {
    for types in [None, Some(HashSet::from([EventType::Test]))] {
        let t = Tandem::with(&[QUIET, ("TANDEM_EVENTS_RING", "10")]).await;
        let app = t.running().app.clone();
        let scope = t.scope().await;
        let start = t.place().await;
        t.log(vec![(EventType::Test, None); 3_000]).await;
        let joined = Joined::new(&app, &scope).await.unwrap();
        let filter = Filter { types, ..Filter::default() };
        let mut reader = joined.read(Some(&start), filter, false).await.ok().unwrap();
        let mut told = 0;
        let oldest = loop {
            let Some(items) = reader.next(64, &|_, _| ()).await else { panic!("it ended without an error") };
            for item in &items {
                match item {
                    Ok(Item::Event(row, _)) => {
                        told += 1;
                        assert_eq!(row.position, told);
                    }
                    Ok(Item::CaughtUp(_)) => panic!("it caught up with what is gone"),
                    Err(_) => {}
                }
            }
            if told == 64 {
                t.forgets().await;
            }
            if let Some(Err(CursorError::Expired { oldest })) = items.last() {
                break oldest.clone();
            }
        };
        assert_eq!(oldest, t.place().await);
        assert!(told < 3_000);
        assert!(reader.next(64, &|_, _| ()).await.is_none());
    }
}

/// How many statements a search costs, and what it finds.
async fn cost<T>(t: &Tandem, search: impl Future<Output = T>) -> (u64, T) {
    let before = t.running().app.db.statements();
    let found = search.await;
    (t.running().app.db.statements() - before, found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rare_filter_does_not_walk_the_log() {
    let t = Tandem::with(&[QUIET, ("TANDEM_EVENTS_RING", "10")]).await;
    let rare = t.connected(SHOP).await;
    let busy = t.connected("+4915120000002").await;
    let [rare_id, busy_id] = [&rare, &busy].map(|id| ClientId::parse(id).unwrap());
    let start = t.place().await;
    let common = |count: usize| vec![(EventType::AppVisitDue, Some(busy_id)); count];
    t.log(common(50_000)).await;
    t.log([(EventType::ClientPaused, Some(rare_id))]).await;
    t.log(common(50_000)).await;
    t.log([(EventType::ClientResumed, Some(rare_id))]).await;
    t.log(common(100)).await;

    let query = "subscription($after: EventCursor, $filter: EventFilter) {
        events(after: $after, filter: $filter) { __typename ... on Event { type } } }";
    for filter in [json!({ "clientIds": [rare] }), json!({ "types": ["CLIENT_PAUSED", "CLIENT_RESUMED"] })] {
        let variables = json!({ "after": start, "filter": filter });
        let replay = async {
            let mut replay = t.subscribe(query, variables.clone()).await;
            let mut told = Vec::new();
            loop {
                let item = replay.next().await["events"].clone();
                if item["__typename"] == "CaughtUp" {
                    return told;
                }
                told.push(item["type"].as_str().unwrap().to_owned());
            }
        };
        let (statements, told) = Box::pin(cost(&t, replay)).await;
        assert_eq!(told, ["CLIENT_PAUSED", "CLIENT_RESUMED"], "{filter}");
        // 200 pages of 500 would be the whole log.
        assert!(statements < 40, "{statements} statements with {filter}");
        let page = "query($after: EventCursor, $filter: EventFilter) {
            events(after: $after, filter: $filter) { nodes { type } pageInfo { hasNextPage } } }";
        let (statements, data) = Box::pin(cost(&t, t.data(page, variables))).await;
        let types: Vec<&Value> =
            data["events"]["nodes"].as_array().unwrap().iter().map(|node| &node["type"]).collect();
        assert_eq!(types, ["CLIENT_PAUSED", "CLIENT_RESUMED"], "{filter}");
        assert_eq!(data["events"]["pageInfo"]["hasNextPage"], false);
        assert!(statements < 20, "{statements} statements with {filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_ends_with_the_newest_entry_goes_on_live() {
    let t = Tandem::with(&[QUIET, ("TANDEM_EVENTS_RING", "10")]).await;
    let client = t.connected(SHOP).await;
    let id = ClientId::parse(&client).unwrap();
    let query = "subscription($after: EventCursor, $filter: EventFilter) {
        events(after: $after, filter: $filter) { __typename ... on Event { type } } }";
    // Fewer entries than one look brings, as many, and more.
    for count in [1, 499, 500, 501] {
        let start = t.place().await;
        t.log(vec![(EventType::AppVisitDue, Some(id)); 11]).await;
        t.log(vec![(EventType::ClientPaused, Some(id)); count]).await;
        let variables = json!({ "after": start, "filter": { "types": ["CLIENT_PAUSED", "CLIENT_RESUMED"] } });
        let mut told = t.subscribe(query, variables).await;
        for _ in 0..count {
            assert_eq!(told.next().await["events"]["type"], "CLIENT_PAUSED");
        }
        assert_eq!(told.next().await["events"]["__typename"], "CaughtUp");
        t.log([(EventType::ClientResumed, Some(id))]).await;
        assert_eq!(told.next().await["events"]["type"], "CLIENT_RESUMED", "after {count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_tell_a_narrow_subscriber_how_far_the_stream_is_complete() {
    let t = Tandem::with(&[("TANDEM_GRAPHQL_HEARTBEAT_SECONDS", "1")]).await;
    let client = t.connected(SHOP).await;
    let start = t.place().await;
    let query = "subscription { outgoingMessages { message { text } } }";
    let ws = format!("ws://{}/graphql", t.running().address);
    let url = format!("{}/graphql", t.url());
    // Also without `after`: the first place comes at once.
    let mut narrow = crate::harness::Subscription::open(&ws, &t.key, query, json!({})).await;
    assert_eq!(narrow.beat().await, start);
    t.customer_writes(SHOP, ADA, "Nicht für dich").await;
    t.settle().await;
    let place = t.place().await;
    while narrow.beat().await != place {}
    // As an id without data on an event stream.
    t.app_writes(SHOP, ADA, "Für dich").await;
    t.settle().await;
    let mut stream = EventStream::open(&url, &t.key, query, json!({}), Some(&place)).await;
    let event = stream.next().await.unwrap();
    assert!(event.data.contains("Für dich"));
    assert_eq!(event.id, stream.last_id);
    t.customer_writes(SHOP, ADA, "Wieder nicht").await;
    t.settle().await;
    let place = t.place().await;
    let waiting = async {
        while stream.last_id.as_deref() != Some(place.as_str()) {
            // Only heartbeats come: what is read never ends with data.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(50), stream.next()).await;
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, waiting).await.expect("no heartbeat on the event stream");
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_event_s_id_wins_over_after() {
    let (t, _) = Tandem::shop().await;
    let start = t.place().await;
    t.log([(EventType::ClientPaused, None), (EventType::ClientResumed, None)]).await;
    let first = t.told_since(&start).await[0]["cursor"].as_str().unwrap().to_owned();
    let query = "subscription($after: EventCursor) { events(after: $after) { __typename ... on Event { type cursor } } }";
    let url = format!("{}/graphql", t.url());
    let variables = json!({ "after": start });
    let mut stream = EventStream::open(&url, &t.key, query, variables.clone(), Some(&first)).await;
    assert_eq!(stream.payload().await["data"]["events"]["type"], "CLIENT_RESUMED");
    let event = stream.next().await.unwrap();
    assert!(event.data.contains("CaughtUp"));
    // One of no use is told as one, whatever `after` says.
    let mut stream = EventStream::open(&url, &t.key, query, variables, Some("nonsense")).await;
    assert_eq!(code(&stream.payload().await["errors"][0]), "BAD_USER_INPUT");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_ends_with_its_key() {
    let (t, _) = Tandem::shop().await;
    let key = t.make_key(&[], &["READ"], Some(3)).await;
    let url = format!("{}/graphql", t.url());
    let query = "subscription { events { __typename } }";
    let mut stream = EventStream::open(&url, &key, query, json!({}), None).await;
    // Not complete: clients come back, and are told then.
    assert!(stream.next().await.is_none());
    assert!(EventStream::try_open(&url, &key, query, json!({}), None).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_has_so_many_sockets_and_streams_whatever_its_keys() {
    let t = Tandem::with(&[("TANDEM_GRAPHQL_SOCKETS_PER_PARTNER", "2")]).await;
    let other = t.make_key(&[], &["READ"], None).await;
    let (ws, url) = (format!("ws://{}/graphql", t.running().address), format!("{}/graphql", t.url()));
    let query = "subscription { events { __typename } }";
    let _first = crate::harness::Subscription::open(&ws, &t.key, query, json!({})).await;
    let _second = EventStream::open(&url, &other, query, json!({}), None).await;
    assert!(EventStream::try_open(&url, &t.key, query, json!({}), None).await.is_none());
    let init = json!({ "authorization": format!("Bearer {other}") });
    let mut refused = crate::harness::Subscription::greet(&ws, init).await;
    assert_eq!(refused.closed().await.0, 1013);
    let rival = t.another_partner().await;
    let _theirs = crate::harness::Subscription::open(&ws, &rival, query, json!({})).await;
}

mod many {
    //! A hundred subscribers under load, over everything that breaks.

    use std::net::SocketAddr;
    use std::time::Duration;

    use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
    use serde_json::{Value, json};
    use tokio::sync::watch;
    use tokio::task::JoinSet;

    use crate::harness::{EventStream, PATIENCE, SHOP, Subscription, Tandem, is_soak};

    const QUERY: &str = "subscription($after: EventCursor) { events(after: $after) {
        __typename ... on Event { id cursor } } }";

    /// Where the service is, and where the stream ends, once that is known.
    #[derive(Clone)]
    struct World {
        key: String,
        service: watch::Receiver<SocketAddr>,
        end: watch::Receiver<Option<String>>,
    }

    /// One subscriber: what it was told, in order. It breaks its own connections at random moments, and goes on.
    async fn subscriber(world: World, start: String, seed: u64) -> Vec<String> {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut service, mut end) = (world.service.clone(), world.end.clone());
        let (mut told, mut place) = (Vec::new(), start);
        loop {
            let address = *service.borrow_and_update();
            let results = random.random_range(1..80);
            let reading = async {
                if seed.is_multiple_of(2) {
                    socket(&world, address, &mut told, &mut place, results).await;
                } else {
                    events(&world, address, &mut told, &mut place, results).await;
                }
            };
            tokio::select! {
                () = reading => {}
                // The service is elsewhere by now.
                _ = service.changed() => continue,
                // The end was announced: whoever has all goes home.
                _ = end.changed() => {}
            }
            if world.end.borrow().as_ref() == Some(&place) {
                return told;
            }
            // Nobody there, or the connection is broken: some other moment.
            let pause = Duration::from_millis(random.next_u64() % 20);
            let _ = tokio::time::timeout(pause, service.changed()).await;
        }
    }

    fn take(payload: &Value, told: &mut Vec<String>, place: &mut String) {
        let item = &payload["data"]["events"];
        assert!(payload["errors"].is_null(), "{payload:#}");
        if let Some(id) = item["id"].as_str() {
            told.push(id.to_owned());
        }
        *place = payload["extensions"]["cursor"].as_str().unwrap().to_owned();
    }

    async fn socket(
        world: &World,
        address: SocketAddr,
        told: &mut Vec<String>,
        place: &mut String,
        results: usize,
    ) {
        let url = format!("ws://{address}/graphql");
        let variables = json!({ "after": place });
        let Some(mut socket) = Subscription::try_open(&url, &world.key, QUERY, variables).await else {
            return;
        };
        for _ in 0..results {
            let Some(frame) = socket.try_frame().await else { return };
            if frame["type"] == "next" {
                take(&frame["payload"], told, place);
            }
            if world.end.borrow().as_ref() == Some(place) {
                return;
            }
        }
    }

    async fn events(
        world: &World,
        address: SocketAddr,
        told: &mut Vec<String>,
        place: &mut String,
        results: usize,
    ) {
        let url = format!("http://{address}/graphql");
        let opened = EventStream::try_open(&url, &world.key, QUERY, json!({}), Some(place)).await;
        let Some(mut stream) = opened else { return };
        for _ in 0..results {
            let Some(event) = stream.next().await else { return };
            assert_eq!(event.kind, "next", "the stream never completes");
            take(&serde_json::from_str(&event.data).unwrap(), told, place);
            assert_eq!(event.id.as_deref(), Some(place.as_str()));
            if world.end.borrow().as_ref() == Some(place) {
                return;
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hundred_subscribers_have_the_whole_log_once_over_cuts_and_two_restarts() {
        let bodies = if is_soak() { 10_000 } else { 60 };
        let mut t = Tandem::new().await;
        let client = t.connected(SHOP).await;
        let ids = t.wire_ids(SHOP).await;
        let start = t.place().await;
        let (moved, service) = watch::channel(t.running().address);
        let (ended, end) = watch::channel(None);
        let world = World { key: t.key.clone(), service, end };
        let mut subscribers = JoinSet::new();
        for seed in 0..100 {
            subscribers.spawn(subscriber(world.clone(), start.clone(), seed));
        }
        let now = t.clock().await;
        for number in 0..bodies {
            if number > 0 && number % (bodies / 3) == 0 {
                t.restart().await;
                moved.send(t.running().address).unwrap();
            }
            let from = format!("+49157800{:05}", number % 50);
            let body = ids.incoming(&from, &format!("wamid.{number}"), now, &format!("Nummer {number}"));
            assert_eq!(t.post(body.to_string().into_bytes()).await, 200);
        }
        t.running().app.inbox.idle().await;
        let place = t.place().await;
        let expected: Vec<String> =
            t.told_since(&start).await.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        assert!(expected.len() >= bodies);
        ended.send(Some(place)).unwrap();
        let all = async {
            while let Some(told) = subscribers.join_next().await {
                assert_eq!(told.unwrap(), expected);
            }
        };
        tokio::time::timeout(PATIENCE * 4, all).await.expect("not all have the whole log");
        drop(client);
    }
}

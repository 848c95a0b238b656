//! From `sendMessage` to a Graph endpoint that notes what it gets and answers as it is told, over real sockets and a
//! real database file.

#![expect(clippy::disallowed_methods, reason = "the tests look at the rows themselves")]

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use entity::{
    ClientId, ClientMode, ClientStatus, EventType, HistoryImport, LaneEntryKind, MessageStatus, PartnerId,
    ReactionBy, Timestamp, client, contact_key, conversation, event, lane, lane_entry, message, message_key,
    message_status, reaction, template,
};
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel};
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{App, Installation};
use crate::auth::Scope;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::WriteExt;
use crate::failure::{Failure, Outcome, RefusalCode};
use crate::ids::PublicId;
use crate::inbound::Inbox;
use crate::lifecycle::Tasks;
use crate::media::Files;
use crate::media::store::Store;
use crate::messages::outgoing::Outgoing;
use crate::messages::send::{Send, Sent, mark_as_read, send};
use crate::partners;
use crate::templates::state::{Owner, blank};
use crate::upstream::meta::{Meta, Settings, common_part};

/// What the endpoint does with the next send; `Accept` when nothing else was said.
#[derive(Clone)]
enum Answer {
    Accept,
    Refuse(u16, i64),
    Hang,
    Bare500,
}

#[derive(Default)]
struct Graph {
    arrivals: Mutex<Vec<(Instant, Value)>>,
    answers: Mutex<HashMap<String, Vec<Answer>>>,
    latency: Mutex<Duration>,
}

impl Graph {
    async fn serve(self: &Arc<Self>, listener: tokio::net::TcpListener) {
        let router = Router::new().route("/v1.0/{id}/messages", post(answer)).with_state(self.clone());
        tokio::task::spawn_local(async move { axum::serve(listener, router).await });
    }

    fn bodies(&self) -> Vec<Value> {
        self.arrivals.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }

    fn will(&self, to: &str, answers: &[Answer]) {
        self.answers.lock().unwrap().insert(to.into(), answers.iter().rev().cloned().collect());
    }
}

async fn answer(State(graph): State<Arc<Graph>>, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    graph.arrivals.lock().unwrap().push((Instant::now(), body.clone()));
    let to = body["to"].as_str().unwrap_or_default().to_owned();
    let next = graph.answers.lock().unwrap().get_mut(&to).and_then(Vec::pop).unwrap_or(Answer::Accept);
    let latency = *graph.latency.lock().unwrap();
    tokio::time::sleep(latency).await;
    match next {
        Answer::Accept if body["status"] == "read" => json!({ "success": true }).to_string().into_response(),
        Answer::Accept => {
            let number = graph.arrivals.lock().unwrap().len();
            json!({ "messaging_product": "whatsapp",
                "contacts": [{ "input": to, "wa_id": to.trim_start_matches('+') }],
                "messages": [{ "id": format!("wamid.{number}.{}", body["biz_opaque_callback_data"]) }] })
            .to_string()
            .into_response()
        }
        Answer::Refuse(status, code) => {
            let body =
                json!({ "error": { "message": "no", "code": code, "error_data": { "details": "why" } } });
            (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
        }
        Answer::Hang => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            StatusCode::OK.into_response()
        }
        Answer::Bare500 => (StatusCode::INTERNAL_SERVER_ERROR, "oops").into_response(),
    }
}

struct World {
    app: Arc<App>,
    scope: Scope,
    partner: PartnerId,
    client: ClientId,
    graph: Arc<Graph>,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let world = Self::at(address).await;
        world.graph.serve(listener).await;
        world
    }

    async fn at(address: std::net::SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::load(None).unwrap();
        config.data_dir = dir.path().to_owned();
        let installation = Installation::open(config).await.unwrap();
        let created = partners::create(&installation, "p").await.unwrap();
        let settings = Settings {
            base: format!("http://{address}/v1.0"),
            app_id: "1".into(),
            app_secrets: vec![SecretString::from("s")],
            verify_token: SecretString::from("v"),
            config_id: "c".into(),
            simulator: Some(format!("http://{address}")),
            send_timeout: Duration::from_secs(1),
        };
        let meta = Meta::new(settings, installation.clock.clone()).unwrap();
        let inbound = &installation.config.inbound;
        let (inbox, _committer) = Inbox::open(&installation.inbound_db, inbound).await.unwrap();
        let files = Files::new(Store::open(&installation.config).unwrap(), &installation.config.media);
        let app =
            Arc::new(App::new(installation, meta, inbox, files, "http://here".into(), Tasks::default()));
        app.tasks.engine("sends", crate::messages::accept::run(app.clone()));
        let bearer = format!("Bearer {}", created.api_key);
        let scope = app.keys.authenticate(&app.db, &app.key, Some(&bearer)).await.unwrap();
        let mut world = Self {
            app,
            scope,
            partner: created.partner,
            client: ClientId(Uuid::nil()),
            graph: Arc::default(),
            _dir: dir,
        };
        world.client = world.connected("+491511", "1001").await;
        world
    }

    async fn connected(&self, number: &str, number_id: &str) -> ClientId {
        let id = ClientId::generate();
        let now = self.app.now();
        let token = self.app.key.seal(id.0.as_bytes(), &SecretString::from("token")).unwrap();
        let row = client::Model {
            id,
            partner_id: self.partner,
            mode: ClientMode::Coexistence,
            status: ClientStatus::Connected,
            temporary_number: format!("+97257{number_id}"),
            phone_number: Some(number.into()),
            phone_number_id: Some(number_id.into()),
            waba_id: Some("9".into()),
            display_name: None,
            display_name_at: Timestamp(0),
            profile: None,
            profile_at: now,
            templates_at: now,
            templates_due_at: now,
            business_name: "B".into(),
            business_email: None,
            reference: None,
            token_sealed: Some(token),
            token_expires_at: None,
            pin_sealed: None,
            history_import: HistoryImport::Never,
            shares_history: None,
            first_connected_at: Some(now),
            connected_at: Some(now.plus_seconds(-3600)),
            account_at: Timestamp(0),
            account_rank: 0,
            disconnected_at: None,
            disconnect_reason: None,
            disconnect_upstream_reason: None,
            disconnect_initiated_by: None,
            pause_reason: None,
            last_seen_at: None,
            last_seen_basis: None,
            visit_raised_days: 0,
            created_at: now,
        };
        client::Entity::insert(row.into_active_model().reset_all()).put(self.app.db.write()).await.unwrap();
        let owner = Owner { partner: self.partner, client: id, waba_id: "9" };
        let mut hello = blank(owner, "7", "hello", "de", now);
        hello.status = "APPROVED".into();
        hello.components = Some(json!([{ "type": "BODY", "text": "Hello" }]));
        crate::db::insert::<template::Entity, _>(self.app.db.write(), vec![hello]).await.unwrap();
        id
    }

    fn start(&self) {
        self.app.tasks.engine("lanes", super::run(self.app.clone()));
    }

    async fn stop(self) {
        tokio::time::timeout(Duration::from_secs(15), self.app.tasks.finish()).await.unwrap();
        assert!(!self.app.tasks.failed());
    }

    fn input(&self, to: &str, content: Outgoing, key: &str) -> Send {
        Send {
            client: self.client,
            to: to.into(),
            content,
            reply_to: None,
            idempotency_key: key.into(),
            send_at: None,
        }
    }

    async fn template(&self, to: &str, key: &str) -> Outcome<Sent> {
        send(&self.app, &self.scope, self.input(to, template(), key)).await
    }

    async fn text(&self, to: &str, key: &str) -> Outcome<Sent> {
        send(&self.app, &self.scope, self.input(to, text(key), key)).await
    }

    /// Waits until a message has a status; fails after ten seconds.
    async fn until(&self, sent: &Sent, status: MessageStatus) -> message::Model {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let row =
                message::Entity::find_by_id(sent.message.id).one(self.app.db.read()).await.unwrap().unwrap();
            if row.status == status {
                return row;
            }
            assert!(Instant::now() < deadline, "{:?} is not {status:?}", row.status);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the queue is empty.
    async fn until_sent(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.queued().await.is_empty() {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn opens_window(&self, sent: &Sent) {
        let mut row = self.conversation(sent).await;
        row.window_opened_at = Some(self.app.now().floor_second());
        crate::db::upsert::<conversation::Entity, _>(self.app.db.write(), vec![row]).await.unwrap();
    }

    async fn conversation(&self, sent: &Sent) -> conversation::Model {
        let id = sent.message.conversation_id;
        conversation::Entity::find_by_id(id).one(self.app.db.read()).await.unwrap().unwrap()
    }

    async fn events(&self) -> Vec<(EventType, Option<Uuid>, Option<Value>)> {
        let rows = event::Entity::find().all(self.app.db.read()).await.unwrap();
        rows.into_iter().map(|row| (row.kind, row.subject_id, row.data)).collect()
    }

    async fn queued(&self) -> Vec<lane_entry::Model> {
        lane_entry::Entity::find().all(self.app.db.read()).await.unwrap()
    }

    async fn client(&self) -> client::Model {
        client::Entity::find_by_id(self.client).one(self.app.db.read()).await.unwrap().unwrap()
    }
}

fn template() -> Outgoing {
    Outgoing::Template { name: "hello".into(), language: "de".into(), components: None }
}

fn text(body: &str) -> Outgoing {
    Outgoing::Text { body: body.into(), preview_url: false }
}

fn refused<T: std::fmt::Debug>(outcome: Outcome<T>) -> RefusalCode {
    match outcome {
        Err(Failure::Refused(refusal)) => refusal.code,
        other => panic!("{other:?}"),
    }
}

/// Everything on one thread, so that the endpoint's clock tells the order of things.
fn local(test: impl Future<Output = ()> + 'static) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async { tokio::task::LocalSet::new().run_until(Box::pin(test)).await })
}

#[tokio::test]
async fn r08_no_second_sees_more_than_twenty_and_each_is_sent_once_in_order() {
    local(async {
        let world = World::new().await;
        *world.graph.latency.lock().unwrap() = Duration::from_millis(20);
        let mut sent = Vec::new();
        for n in 0..45 {
            sent.push(world.template(&format!("+49151200{:03}", n % 15), &format!("k{n}")).await.unwrap());
        }
        world.start();
        for one in &sent {
            world.until(one, MessageStatus::Accepted).await;
        }
        let arrivals = world.graph.arrivals.lock().unwrap().clone();
        assert_eq!(arrivals.len(), 45);
        for window in arrivals.windows(21) {
            assert!(window[20].0 - window[0].0 >= Duration::from_secs(1), "{:?}", window[20].0 - window[0].0);
        }
        assert!(arrivals[44].0 - arrivals[0].0 < Duration::from_secs(4), "slower than the rate asks for");
        let mut by_recipient: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (_, body) in &arrivals {
            let of = by_recipient.entry(body["to"].to_string()).or_default();
            of.push(body["biz_opaque_callback_data"].as_str().unwrap().to_owned());
        }
        for (n, order) in by_recipient.values().enumerate() {
            let asked: Vec<String> = (0..3).map(|round| sent[n + round * 15].message.id.public()).collect();
            assert_eq!(order, &asked);
        }
        assert!(world.queued().await.is_empty());
        let statuses =
            world.events().await.into_iter().filter(|(kind, ..)| *kind == EventType::MessageStatus).count();
        assert_eq!(statuses, 45);
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_accepted_message_has_its_id_its_rungs_and_its_events() {
    local(async {
        let world = World::new().await;
        world.start();
        let sent = world.template("+4915120000001", "k").await.unwrap();
        // The first place is the contact's: nobody was told of the recipient before.
        assert_eq!((sent.message.status, sent.position), (MessageStatus::Queued, 2));
        let row = world.until(&sent, MessageStatus::Accepted).await;
        let id = row.whatsapp_id.clone().unwrap();
        let key = message_key::Entity::find_by_id((common_part(&id), world.client, id))
            .one(world.app.db.read())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(key.message_id, row.id);
        let rungs = message_status::Entity::find().all(world.app.db.read()).await.unwrap();
        let mut rungs: Vec<MessageStatus> = rungs.into_iter().map(|rung| rung.status).collect();
        rungs.sort_unstable();
        assert_eq!(rungs, [MessageStatus::Queued, MessageStatus::Accepted]);
        let subject = Some(row.id.uuid());
        let events = world.events().await;
        assert_eq!(events[0].0, EventType::ContactAdded);
        assert_eq!(
            events[1..],
            [
                (EventType::MessageQueued, subject, None),
                (EventType::MessageStatus, subject, Some(json!({ "status": "ACCEPTED" }))),
            ]
        );
        let body = &world.graph.bodies()[0];
        assert_eq!(body["to"], "+4915120000001");
        assert_eq!(body["biz_opaque_callback_data"], row.id.public());
        assert_eq!(body["template"], json!({ "name": "hello", "language": { "code": "de" } }));
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn one_key_sends_once() {
    local(async {
        let world = World::new().await;
        let first = world.template("+4915120000001", "k").await.unwrap();
        world.template("+4915120000002", "other").await.unwrap();
        let again = world.template("+49 1512 0000001", "k").await.unwrap();
        assert_eq!((again.message.id, again.position), (first.message.id, first.position));
        assert_eq!(refused(world.template("+4915120000003", "k").await), RefusalCode::IdempotencyConflict);
        assert_eq!(world.queued().await.len(), 2);
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn r09_words_need_an_open_window() {
    local(async {
        let world = World::new().await;
        assert_eq!(refused(world.text("+4915120000001", "a").await), RefusalCode::WindowClosed);
        let opened = world.template("+4915120000001", "b").await.unwrap();
        assert_eq!(refused(world.text("+4915120000001", "a").await), RefusalCode::WindowClosed);
        world.opens_window(&opened).await;
        let inside = world.text("+4915120000001", "a").await.unwrap();
        // Queued inside, its turn comes outside.
        world.app.clock.set_offset_millis(25 * 3600 * 1000);
        world.start();
        let late = world.until(&inside, MessageStatus::Failed).await;
        let error = late.error.unwrap();
        assert_eq!(error["code"], 131_047);
        assert!(error["details"].as_str().unwrap().starts_with("WINDOW_CLOSED"));
        assert_eq!(world.graph.bodies().len(), 1, "only the template left");
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_anything_is_written() {
    local(async {
        let world = World::new().await;
        assert_eq!(refused(world.template("1@g.us", "a").await), RefusalCode::GroupsNotSupported);
        assert_eq!(refused(world.template("+491511", "a").await), RefusalCode::Invalid, "its own number");
        assert_eq!(refused(world.template("DE.77", "a").await), RefusalCode::NotFound);
        let stranger =
            Send { client: ClientId::generate(), ..world.input("+4915120000001", template(), "a") };
        assert_eq!(refused(send(&world.app, &world.scope, stranger).await), RefusalCode::NotFound);
        for status in [ClientStatus::Onboarding, ClientStatus::Paused, ClientStatus::Disconnected] {
            let row = client::Model { status, ..world.client().await };
            crate::db::upsert::<client::Entity, _>(world.app.db.write(), vec![row]).await.unwrap();
            assert_eq!(refused(world.template("+4915120000001", "a").await), RefusalCode::ClientNotConnected);
        }
        assert!(message::Entity::find().all(world.app.db.read()).await.unwrap().is_empty());
        assert!(contact_key::Entity::find().all(world.app.db.read()).await.unwrap().is_empty());
        assert!(world.events().await.is_empty());
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn each_outcome_ends_as_the_ladder_says() {
    local(async {
        let world = World::new().await;
        world.graph.will("+4915120000001", &[Answer::Refuse(500, 131_016), Answer::Accept]);
        world.graph.will("+4915120000002", &[Answer::Refuse(400, 131_026)]);
        world.graph.will("+4915120000003", &[Answer::Refuse(400, 131_047)]);
        world.graph.will("+4915120000004", &[Answer::Hang]);
        world.graph.will("+4915120000005", &[Answer::Bare500]);
        let mut sent = Vec::new();
        for n in 1..=5 {
            sent.push(world.template(&format!("+491512000000{n}"), &format!("k{n}")).await.unwrap());
        }
        let behind = world.template("+4915120000001", "behind").await.unwrap();
        world.start();
        world.until(&sent[0], MessageStatus::Accepted).await;
        let failed = world.until(&sent[1], MessageStatus::Failed).await;
        assert_eq!(failed.error, Some(json!({ "code": 131_026, "title": "no", "details": "why" })));
        world.until(&sent[2], MessageStatus::Failed).await;
        assert!(world.conversation(&sent[2]).await.window_refused_at.is_some());
        world.until(&sent[3], MessageStatus::Unknown).await;
        world.until(&sent[4], MessageStatus::Unknown).await;
        world.until(&behind, MessageStatus::Accepted).await;
        let to_first: Vec<Value> =
            world.graph.bodies().into_iter().filter(|body| body["to"] == "+4915120000001").collect();
        let ids: Vec<&str> =
            to_first.iter().map(|body| body["biz_opaque_callback_data"].as_str().unwrap()).collect();
        let (first, second) = (sent[0].message.id.public(), behind.message.id.public());
        assert_eq!(ids, [first.as_str(), first.as_str(), second.as_str()], "whoever waits behind waits too");
        assert_eq!(world.graph.bodies().len(), 7, "what is unknown is not sent again");
        assert!(world.queued().await.is_empty());
        world.stop().await;
    })
    .await;
}

/// Sends one to A, which is refused once with this code, one more to A and one to B; says when each try arrived after the
/// first one, and for whom.
async fn refused_once(code: i64) -> Vec<(Duration, String)> {
    let world = World::new().await;
    world.graph.will("+491512001", &[Answer::Refuse(400, code)]);
    let mut sent = Vec::new();
    for (to, key) in [("+491512001", "a"), ("+491512001", "b"), ("+491512002", "c")] {
        sent.push(world.template(to, key).await.unwrap());
    }
    world.start();
    for one in &sent {
        world.until(one, MessageStatus::Accepted).await;
    }
    let arrivals = world.graph.arrivals.lock().unwrap().clone();
    let tried: Vec<String> =
        arrivals.iter().map(|(_, body)| body["biz_opaque_callback_data"].to_string()).collect();
    let to_a: Vec<&String> = arrivals
        .iter()
        .zip(&tried)
        .filter(|((_, body), _)| body["to"] == "+491512001")
        .map(|(_, id)| id)
        .collect();
    assert_eq!(to_a.len(), 3);
    assert!(to_a[0] == to_a[1] && to_a[1] != to_a[2], "whoever waits behind it waits too: {to_a:?}");
    world.stop().await;
    let began = arrivals[0].0;
    arrivals.iter().map(|(at, body)| (*at - began, body["to"].as_str().unwrap().to_owned())).collect()
}

#[tokio::test]
async fn the_limit_of_one_recipient_holds_up_nobody_else() {
    local(async {
        let tries = refused_once(131_056).await;
        let of_b = tries.iter().find(|(_, to)| to == "+491512002").unwrap().0;
        let again = tries.iter().filter(|(_, to)| to == "+491512001").nth(1).unwrap().0;
        assert!(of_b < Duration::from_millis(500), "{tries:?}");
        assert!(again >= Duration::from_millis(900), "4^0 seconds: {tries:?}");
    })
    .await;
}

#[tokio::test]
async fn a_limit_of_the_number_slows_the_whole_lane() {
    local(async {
        for code in [130_429, 80_007] {
            let tries = refused_once(code).await;
            // What left together with the refused one is there already.
            let later = tries.iter().filter(|(at, _)| *at >= Duration::from_millis(500));
            assert!(later.clone().count() >= 2, "{tries:?}");
            assert!(later.clone().all(|(at, _)| *at >= Duration::from_millis(900)), "{tries:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_token_pauses_the_lane_and_keeps_the_queue() {
    local(async {
        let world = World::new().await;
        world.graph.will("+4915120000001", &[Answer::Refuse(401, 190), Answer::Accept]);
        let sent = world.template("+4915120000001", "k").await.unwrap();
        let behind = world.template("+4915120000001", "k2").await.unwrap();
        world.start();
        let deadline = Instant::now() + Duration::from_secs(5);
        while world.client().await.status != ClientStatus::Paused {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.until(&sent, MessageStatus::Queued).await;
        assert_eq!(world.queued().await.len(), 2);
        let paused: Vec<_> =
            world.events().await.into_iter().filter(|(kind, ..)| *kind == EventType::ClientPaused).collect();
        assert_eq!(paused.len(), 1);
        assert!(paused[0].2.as_ref().unwrap()["reason"].as_str().unwrap().contains("190"));
        assert_eq!(refused(world.template("+4915120000009", "k3").await), RefusalCode::ClientNotConnected);
        let row = client::Model { status: ClientStatus::Connected, ..world.client().await };
        crate::db::upsert::<client::Entity, _>(world.app.db.write(), vec![row]).await.unwrap();
        world.app.lanes_wake.notify_one();
        world.until(&sent, MessageStatus::Accepted).await;
        world.until(&behind, MessageStatus::Accepted).await;
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_never_left_waits_for_the_upstream_to_come_back() {
    local(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let world = World::at(address).await;
        let sent = world.template("+4915120000001", "k").await.unwrap();
        world.start();
        let deadline = Instant::now() + Duration::from_secs(5);
        while world.queued().await[0].attempts == 0 {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.until(&sent, MessageStatus::Queued).await;
        world.graph.serve(tokio::net::TcpListener::bind(address).await.unwrap()).await;
        world.until(&sent, MessageStatus::Accepted).await;
        assert_eq!(world.graph.bodies().len(), 1);
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_a_dead_owner_was_sending_is_unknown_and_the_lane_waits_a_second() {
    local(async {
        let world = World::new().await;
        let lost = world.template("+4915120000001", "k").await.unwrap();
        let next = world.template("+4915120000001", "k2").await.unwrap();
        let mut entry =
            world.queued().await.into_iter().find(|entry| entry.message_id == lost.message.id).unwrap();
        entry.sending = true;
        entry.fence = 4;
        crate::db::upsert::<lane_entry::Entity, _>(world.app.db.write(), vec![entry]).await.unwrap();
        let mut row = lost.message.clone();
        row.status = MessageStatus::Sending;
        crate::db::upsert::<message::Entity, _>(world.app.db.write(), vec![row]).await.unwrap();
        let other =
            lane::Model { client_id: world.client, owner: Some(Uuid::max()), fence: 4, until: Timestamp(1) };
        crate::db::upsert::<lane::Entity, _>(world.app.db.write(), vec![other]).await.unwrap();
        let started = Instant::now();
        world.start();
        world.until(&lost, MessageStatus::Unknown).await;
        world.until(&next, MessageStatus::Accepted).await;
        let arrivals = world.graph.arrivals.lock().unwrap().clone();
        assert_eq!(arrivals.len(), 1);
        assert!(arrivals[0].0 - started >= Duration::from_secs(1));
        let lane = lane::Entity::find_by_id(world.client).one(world.app.db.read()).await.unwrap().unwrap();
        assert_eq!(lane.fence, 5);
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn another_owners_lane_is_left_alone() {
    local(async {
        let world = World::new().await;
        let sent = world.template("+4915120000001", "k").await.unwrap();
        let until = Clock::real_now().plus_seconds(3600);
        let other = lane::Model { client_id: world.client, owner: Some(Uuid::max()), fence: 4, until };
        crate::db::upsert::<lane::Entity, _>(world.app.db.write(), vec![other]).await.unwrap();
        world.start();
        tokio::time::sleep(Duration::from_millis(1300)).await;
        world.until(&sent, MessageStatus::Queued).await;
        assert!(world.graph.bodies().is_empty());
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn who_is_alone_does_not_wait_for_the_lease_of_a_dead_process_but_for_its_last_second() {
    local(async {
        let world = World::new().await;
        let sent = world.template("+4915120000001", "k").await.unwrap();
        let until = Clock::real_now().plus_seconds(3600);
        let other = lane::Model { client_id: world.client, owner: Some(Uuid::max()), fence: 4, until };
        crate::db::upsert::<lane::Entity, _>(world.app.db.write(), vec![other]).await.unwrap();
        super::inherit(&world.app.db).await.unwrap();
        let started = Instant::now();
        world.start();
        world.until(&sent, MessageStatus::Accepted).await;
        let arrivals = world.graph.arrivals.lock().unwrap().clone();
        assert!(arrivals[0].0 - started >= Duration::from_secs(1));
        let lane = lane::Entity::find_by_id(world.client).one(world.app.db.read()).await.unwrap().unwrap();
        assert_eq!(lane.fence, 5);
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn r15_a_disconnection_cancels_what_waits() {
    local(async {
        let world = World::new().await;
        let sent = world.template("+4915120000001", "k").await.unwrap();
        let tx = world.app.db.begin_write().await.unwrap();
        let events = super::cancel_all(&tx, world.client, world.app.now()).await.unwrap();
        crate::events::commit(&world.app.hub, tx, events).await.unwrap();
        let row = world.until(&sent, MessageStatus::Canceled).await;
        assert_eq!(row.error.unwrap()["title"], "CLIENT_DISCONNECTED");
        assert!(world.queued().await.is_empty());
        let (kind, subject, data) = world.events().await.pop().unwrap();
        assert_eq!((kind, subject), (EventType::MessageStatus, Some(sent.message.id.uuid())));
        assert_eq!(data.unwrap()["status"], "CANCELED");
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_reaction_lives_on_its_message_once_it_is_taken() {
    local(async {
        let world = World::new().await;
        world.start();
        let to = "+4915120000001";
        let sent = world.template(to, "k").await.unwrap();
        let react = |emoji: Option<&str>, key: &str| {
            let content = Outgoing::Reaction { message: sent.message.id, emoji: emoji.map(str::to_owned) };
            world.input(to, content, key)
        };
        world.until(&sent, MessageStatus::Accepted).await;
        world.opens_window(&sent).await;
        let first = send(&world.app, &world.scope, react(Some("👍"), "r")).await.unwrap();
        assert_eq!(first.message.id, sent.message.id);
        let again = send(&world.app, &world.scope, react(Some("👍"), "r")).await.unwrap();
        assert_eq!(again.position, first.position);
        send(&world.app, &world.scope, react(None, "r2")).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let key = (sent.message.id, ReactionBy::Business);
            let row = reaction::Entity::find_by_id(key).one(world.app.db.read()).await.unwrap();
            if row.is_some_and(|row| row.emoji.is_none()) {
                break;
            }
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let reactions: Vec<Value> =
            world.graph.bodies().into_iter().filter(|body| body["type"] == "reaction").collect();
        assert_eq!(reactions.len(), 2);
        assert_eq!(
            (&reactions[0]["reaction"]["emoji"], &reactions[1]["reaction"]["emoji"]),
            (&json!("👍"), &json!(""))
        );
        assert!(reactions[0]["biz_opaque_callback_data"].as_str().unwrap().starts_with("lan_"));
        assert_eq!(message::Entity::find().all(world.app.db.read()).await.unwrap().len(), 1);
        let told =
            world.events().await.into_iter().filter(|(kind, ..)| *kind == EventType::MessageReaction).count();
        assert_eq!(told, 2);
        assert!(world.queued().await.iter().all(|entry| entry.kind == LaneEntryKind::Reaction));
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_message_for_later_waits_without_holding_up_others() {
    local(async {
        let world = World::new().await;
        world.start();
        let at = world.app.now().plus_seconds(3600);
        let later = Send { send_at: Some(at), ..world.input("+4915120000001", template(), "later") };
        let later = send(&world.app, &world.scope, later).await.unwrap();
        let now = world.template("+4915120000001", "now").await.unwrap();
        world.until(&now, MessageStatus::Accepted).await;
        world.until(&later, MessageStatus::Queued).await;
        world.app.clock.set_offset_millis(3600 * 1000);
        world.until(&later, MessageStatus::Accepted).await;
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn marking_read_moves_the_mark_and_counts_anew() {
    local(async {
        let world = World::new().await;
        let sent = world.template("+4915120000001", "k").await.unwrap();
        assert_eq!(
            refused(mark_as_read(&world.app, &world.scope, sent.message.id, false).await),
            RefusalCode::Invalid
        );
        let incoming = |id: entity::MessageId, seconds: i64| message::Model {
            id,
            direction: entity::MessageDirection::Inbound,
            origin: entity::MessageOrigin::Customer,
            status: MessageStatus::Received,
            whatsapp_id: Some(format!("wamid.{seconds}")),
            sent_at: sent.message.sent_at.plus_seconds(seconds),
            idempotency_key: None,
            ..sent.message.clone()
        };
        let ids: Vec<entity::MessageId> = (0..3).map(|_| entity::MessageId::generate()).collect();
        let rows = ids.iter().zip(1..).map(|(id, seconds)| incoming(*id, seconds)).collect();
        crate::db::upsert::<message::Entity, _>(world.app.db.write(), rows).await.unwrap();
        let marked = mark_as_read(&world.app, &world.scope, ids[1], true).await.unwrap();
        assert_eq!(marked.message.id, ids[1]);
        let conversation = world.conversation(&sent).await;
        assert_eq!(conversation.unread_count, 1);
        assert_eq!(conversation.read_at, sent.message.sent_at.plus_seconds(2));
        mark_as_read(&world.app, &world.scope, ids[0], false).await.unwrap();
        assert_eq!(world.conversation(&sent).await.read_at, sent.message.sent_at.plus_seconds(2));
        let body = &world.graph.bodies()[0];
        assert_eq!(
            (&body["message_id"], &body["typing_indicator"]["type"]),
            (&json!("wamid.2"), &json!("text"))
        );
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_status_that_overtakes_the_answer_stays() {
    local(async {
        let world = World::new().await;
        *world.graph.latency.lock().unwrap() = Duration::from_millis(300);
        let sent = world.template("+4915120000001", "k").await.unwrap();
        world.start();
        world.until(&sent, MessageStatus::Sending).await;
        let mut row = sent.message.clone();
        row.status = MessageStatus::Delivered;
        row.whatsapp_id = Some("wamid.first".into());
        crate::db::upsert::<message::Entity, _>(world.app.db.write(), vec![row]).await.unwrap();
        world.until_sent().await;
        let row = world.until(&sent, MessageStatus::Delivered).await;
        assert_eq!(row.whatsapp_id.as_deref(), Some("wamid.first"));
        let key = message_key::Entity::find().one(world.app.db.read()).await.unwrap().unwrap();
        assert_eq!(key.message_id, row.id, "the answer's id stands for it too");
        let told: Vec<EventType> = world.events().await.into_iter().map(|event| event.0).collect();
        assert_eq!(told, [EventType::ContactAdded, EventType::MessageQueued], "no step down is told");
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_echo_that_overtook_the_answer_is_the_same_message() {
    local(async {
        let world = World::new().await;
        *world.graph.latency.lock().unwrap() = Duration::from_millis(300);
        let sent = world.template("+4915120000001", "k").await.unwrap();
        world.start();
        world.until(&sent, MessageStatus::Sending).await;
        let whatsapp_id = format!("wamid.1.{:?}", sent.message.id.public());
        let echo = message::Model {
            id: entity::MessageId::generate(),
            origin: entity::MessageOrigin::App,
            status: MessageStatus::Sent,
            whatsapp_id: Some(whatsapp_id.clone()),
            idempotency_key: None,
            ..sent.message.clone()
        };
        let key = message_key::Model {
            token: common_part(&whatsapp_id),
            client_id: world.client,
            whatsapp_id,
            message_id: echo.id,
        };
        crate::db::upsert::<message::Entity, _>(world.app.db.write(), vec![echo.clone()]).await.unwrap();
        crate::db::upsert::<message_key::Entity, _>(world.app.db.write(), vec![key]).await.unwrap();
        world.until_sent().await;
        let row = world.until(&sent, MessageStatus::Sent).await;
        assert_eq!(row.id, sent.message.id, "the API's row survives");
        assert_eq!(message::Entity::find().all(world.app.db.read()).await.unwrap().len(), 1);
        let (kind, subject, data) = world.events().await.pop().unwrap();
        assert_eq!((kind, subject), (EventType::MessageMerged, Some(row.id.uuid())));
        assert_eq!(data, Some(json!({ "mergedId": echo.id })));
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_marked_without_our_knowing_goes_back_to_its_place() {
    local(async {
        let world = World::new().await;
        let sent = world.template("+4915120000001", "k").await.unwrap();
        let engine = super::engine::Engine::new(world.app.clone());
        // A commit that was done, though we heard that it failed.
        let tx = world.app.db.begin_write().await.unwrap();
        let held = super::lease::hold(&tx, &world.app.db.beside(&tx), engine.owner(), &[world.client])
            .await
            .unwrap();
        let fences = HashMap::from([(world.client, held[&world.client].fence)]);
        let wanted = HashMap::from([(world.client, vec![world.queued().await[0].id])]);
        let taken = super::claim::take(&tx, &wanted, &fences, world.app.now()).await.unwrap();
        assert_eq!(taken.entries.len(), 1);
        tx.commit().await.unwrap();
        world.until(&sent, MessageStatus::Sending).await;
        let app = world.app.clone();
        let running = tokio::task::spawn_local(async move { engine.run().await });
        world.until(&sent, MessageStatus::Accepted).await;
        assert_eq!(world.graph.bodies().len(), 1);
        app.tasks.stopping().cancel();
        running.await.unwrap();
        let lane = lane::Entity::find_by_id(world.client).one(world.app.db.read()).await.unwrap().unwrap();
        assert_eq!(lane.owner, None, "given back at the end");
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_end_waits_for_answers() {
    local(async {
        let world = World::new().await;
        *world.graph.latency.lock().unwrap() = Duration::from_millis(700);
        let first = world.template("+4915120000001", "k").await.unwrap();
        let second = world.template("+4915120000001", "k2").await.unwrap();
        world.start();
        world.until(&first, MessageStatus::Sending).await;
        let app = world.app.clone();
        tokio::time::timeout(Duration::from_secs(5), app.tasks.finish()).await.unwrap();
        world.until(&first, MessageStatus::Accepted).await;
        world.until(&second, MessageStatus::Queued).await;
        assert_eq!(world.graph.bodies().len(), 1);
    })
    .await;
}

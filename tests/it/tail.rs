//! `tandem events tail`: an installation's stream, on any shell.

use std::process::Stdio;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tandem::webhooks::signing;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{Mutex, mpsc};

use crate::harness::{ADA, Cable, PATIENCE, SHOP, Tandem};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

struct Tail {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tail {
    fn start(url: &str, key: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
        command.args(["events", "tail", "--url", url]).args(arguments);
        command.env("TANDEM_API_KEY", key).env("TANDEM_WEBHOOK_SECRET", SECRET);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    async fn event(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("it says nothing");
        serde_json::from_str(&line.unwrap().expect("it has ended")).unwrap()
    }

    /// How it failed, in its own words.
    async fn failed(mut self) -> String {
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await.expect("it goes on").unwrap();
        assert!(!status.success());
        let mut words = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut words).await.unwrap();
        words
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_goes_on_where_it_was_cut() {
    let (t, client) = Tandem::shop().await;
    let cable = Cable::new(t.running().address).await;
    let start = t.place().await;
    let url = format!("http://{}", cable.address);
    let mut tail =
        Tail::start(&url, &t.key, &["--after", &start, "--type", "MESSAGE_INCOMING", "--client", &client]);
    for number in 0..6 {
        t.customer_writes(SHOP, ADA, &format!("Nummer {number}")).await;
        if number % 2 == 1 {
            cable.cut();
        }
    }
    for number in 0..6 {
        let event = tail.event().await;
        assert_eq!(event["type"], "MESSAGE_INCOMING");
        assert_eq!(event["message"]["text"], format!("Nummer {number}"));
        assert_eq!(event["client"]["id"], client);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_says_why_it_is_refused() {
    let (t, _) = Tandem::shop().await;
    let url = t.url();
    for (key, arguments, says) in [
        ("tdm_wrong", &[][..], "4403"),
        (t.key.as_str(), &["--after", "nonsense"], "BAD_USER_INPUT"),
        (t.key.as_str(), &["--type", "NO_SUCH_TYPE"], "BAD_USER_INPUT"),
        (t.key.as_str(), &["--client", "cli_00000000000000000000000000000000"], "NOT_FOUND"),
    ] {
        let words = Tail::start(&url, key, arguments).failed().await;
        assert!(words.contains(says), "{arguments:?}: {words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_posts_each_event_signed_to_a_local_receiver() {
    let (t, _) = Tandem::shop().await;
    let (told, mut posts) = mpsc::unbounded_channel();
    // It fails every other time: each event is posted until it is taken.
    let calls = Arc::new(Mutex::new(0));
    let receive = axum::routing::post(move |headers: HeaderMap, body: Bytes| async move {
        let mut calls = calls.lock().await;
        *calls += 1;
        if *calls % 2 == 1 {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        told.send((headers, body)).unwrap();
        StatusCode::NO_CONTENT
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("http://{}/hook", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/hook", receive)).await });

    let start = t.place().await;
    let mut tail = Tail::start(&t.url(), &t.key, &["--after", &start, "--forward", &to]);
    t.customer_writes(SHOP, ADA, "Weiter damit").await;
    t.settle().await;
    for expected in t.told_since(&start).await {
        let event = tail.event().await;
        assert_eq!(event["id"], expected["id"]);
        let (headers, body) = tokio::time::timeout(PATIENCE, posts.recv()).await.unwrap().unwrap();
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("webhook-id"), event["id"]);
        let timestamp: i64 = header("webhook-timestamp").parse().unwrap();
        let secret = [SecretString::from(SECRET)];
        let signature = signing::sign(&secret, &header("webhook-id"), timestamp, &body).unwrap();
        assert_eq!(header("webhook-signature"), signature);
        let body: Value = serde_json::from_slice(&body).unwrap();
        let expected = json!({ "type": event["type"], "timestamp": event["occurredAt"], "data": event });
        assert_eq!(body, expected);
    }
}

//! Stock GraphQL clients from npm. `npm ci` and `npm run build` in tests/clients bring them.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::{ADA, BEN, Cable, PATIENCE, SHOP, Tandem};

/// A subscriber in a process of its own.
struct Stock {
    _process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Stock {
    fn start(kind: &str, address: &str, key: &str, after: Option<&str>) -> Self {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
        let mut command = Command::new("node");
        command.current_dir(directory).args(["build/tests/clients/subscriber.js", kind, address]).args(after);
        command.env("TANDEM_API_KEY", key).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { _process: process, lines }
    }

    async fn says(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("it says nothing");
        serde_json::from_str(&line.unwrap().expect("it has ended")).unwrap()
    }

    /// The next event.
    async fn event(&mut self) -> Value {
        loop {
            let said = self.says().await;
            assert!(said["error"].is_null() && said["complete"].is_null(), "{said:#}");
            let result = &said["result"];
            assert!(result["errors"].is_null() && result["extensions"]["heartbeat"].is_null(), "{said:#}");
            let event = &result["data"]["events"];
            if event["__typename"] == "IncomingMessageEvent" {
                return event.clone();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_clients_with_resume_miss_nothing_when_their_connection_is_cut() {
    let (t, _) = Tandem::shop().await;
    for kind in ["ws", "sse", "iterate"] {
        let cable = Cable::new(t.running().address).await;
        let start = t.place().await;
        // Without a cursor of its own: the first heartbeat brings one, and from there on nothing is missed.
        let mut stock = Stock::start(kind, &cable.address.to_string(), &t.key, None);
        assert_eq!(stock.says().await["cursor"], start, "{kind}");
        let messages = 30;
        for number in 0..messages {
            let from = if number % 2 == 0 { ADA } else { BEN };
            t.customer_writes(SHOP, from, &format!("{kind} {number}")).await;
            if number % 4 == 3 {
                cable.cut();
            }
            if number % 10 == 9 {
                t.settle().await;
                cable.cut();
            }
        }
        t.settle().await;
        let mut expected = t.told_since(&start).await;
        expected.retain(|event| event["type"] == "MESSAGE_INCOMING");
        assert_eq!(expected.len(), messages);
        for event in &expected {
            assert_eq!(stock.event().await["id"], event["id"], "{kind}");
        }
        // Nothing more: the next that it hears is what happens next.
        t.customer_writes(SHOP, ADA, "Das war's").await;
        assert_eq!(stock.event().await["message"]["text"], "Das war's", "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_clients_with_resume_are_told_that_their_place_is_gone() {
    let (t, _) = Tandem::shop().await;
    let start = t.place().await;
    t.customer_writes(SHOP, ADA, "Lang her").await;
    t.settle().await;
    let oldest = t.place().await;
    t.forgets().await;
    for kind in ["ws", "sse"] {
        let mut stock = Stock::start(kind, &t.running().address.to_string(), &t.key, Some(&start));
        assert_eq!(stock.says().await, json!({ "expired": oldest }), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_client_of_mobile_apps_is_served() {
    let (t, _) = Tandem::shop().await;
    let start = t.place().await;
    let mut stock = Stock::start("older", &t.running().address.to_string(), &t.key, Some(&start));
    t.customer_writes(SHOP, ADA, "Hallo").await;
    assert_eq!(stock.event().await["message"]["text"], "Hallo");
}

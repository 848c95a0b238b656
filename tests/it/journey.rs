//! The journey of the README, from a link to a live conversation.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::harness::process::start;
use crate::harness::{Tandem, database};

const EVENTS: &str = "subscription($after: EventCursor) { events(after: $after) { __typename
    ... on Event { type client { id } }
    ... on IncomingMessageEvent { message { text } }
    ... on OutgoingMessageEvent { message { text origin } } } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_connected_its_past_arrives_and_both_sides_chat_live() {
    let t = Tandem::new().await;
    t.phone("+4915120000001", 25, 240).await;
    let mut events = t.subscribe(EVENTS, json!({})).await;
    let client = t.connect("+4915120000001", true, json!({})).await;
    events.until(|data| data["events"]["type"] == "CLIENT_CONNECTED").await;
    t.open_app("+4915120000001").await;
    t.settle().await;

    let query = "query($id: ID!) { client(id: $id) { status phoneNumber phoneNumberIsTemporary displayName
        historySync { state percent items } contactSync { state items } sendLimit { messagesPerSecond queued } } }";
    let data = t.data(query, json!({ "id": client })).await;
    assert_eq!(data["client"]["status"], "CONNECTED");
    assert_eq!(data["client"]["phoneNumber"], "+4915120000001");
    assert_eq!(data["client"]["phoneNumberIsTemporary"], false);
    assert_eq!(data["client"]["historySync"]["state"], "DONE", "{data:#}");
    assert_eq!(data["client"]["historySync"]["items"], 240);
    assert_eq!(data["client"]["contactSync"]["state"], "DONE");
    assert_eq!(data["client"]["contactSync"]["items"], 25);

    t.customer_writes("+4915120000001", "+4915770000001", "Habt ihr offen?").await;
    let heard = events.until(|data| data["events"]["__typename"] == "IncomingMessageEvent").await;
    assert_eq!(heard["events"]["message"]["text"], "Habt ihr offen?");

    let sent =
        t.send(&client, "+49 1577 0000001", json!({ "text": { "body": "Ja, bis acht." } }), "k1").await;
    assert_eq!(sent["userErrors"], json!([]), "{sent:#}");
    events.until(|data| data["events"]["type"] == "MESSAGE_STATUS").await;

    t.app_writes("+4915120000001", "+4915770000001", "Und sonntags ab zehn!").await;
    let heard = events.until(|data| data["events"]["__typename"] == "OutgoingMessageEvent").await;
    assert_eq!(heard["events"]["message"]["origin"], "APP");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journey_of_the_readme_pasted_into_a_shell_does_what_the_readme_says() {
    let dir = tempfile::tempdir().unwrap();
    // The ports of the README may be taken: these are free, and nobody else asks for them.
    let simulator = free_port();
    let mut environment = vec![
        ("TANDEM_DATA_DIR", dir.path().join("data").display().to_string()),
        ("TANDEM_LISTEN", "127.0.0.1:0".to_owned()),
        ("TANDEM_SIMULATOR_LISTEN", format!("127.0.0.1:{simulator}")),
    ];
    if let Some(url) = database().await {
        environment.push(("DATABASE_URL", url));
    }
    let service = start(&environment, &["serve", "--welcome"], "serving at http://").await;

    let readme = include_str!("../../README.md");
    let journey = readme.split("\n## The journey\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut script = String::from("set -eu\n");
    for block in journey.split("```sh\n").skip(1) {
        script.push_str(block.split("```").next().unwrap());
        script.push('\n');
    }
    let script = script
        .replace("127.0.0.1:8080", &service.address)
        .replace("127.0.0.1:8090", &format!("127.0.0.1:{simulator}"));
    let mut shell = tokio::process::Command::new("bash")
        .current_dir(dir.path())
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).await.unwrap();
    let output = shell.wait_with_output().await.unwrap();
    let (said, complaints) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{said}\n{complaints}");
    let answers: Vec<Value> = said
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for answer in &answers {
        assert!(answer.get("errors").is_none(), "{answer}");
        assert!(!answer.to_string().contains("\"userErrors\":[{"), "{answer}");
    }
    let told =
        |field: &str| answers.iter().filter(|answer| !answer["data"][field].is_null()).collect::<Vec<_>>();
    let client = &told("client")[0]["data"]["client"];
    assert_eq!(client["status"], "CONNECTED");
    assert_eq!(
        (&client["historySync"]["state"], &client["contactSync"]["state"]),
        (&json!("DONE"), &json!("DONE"))
    );
    assert_eq!(told("history")[0]["data"]["history"]["nodes"].as_array().unwrap().len(), 5);
    let conversations = told("conversation");
    assert_eq!(conversations[0]["data"]["conversation"]["window"]["isOpen"], true);
    let messages = conversations[1]["data"]["conversation"]["messages"]["nodes"].as_array().unwrap();
    // WhatsApp's stamps are whole seconds: within one the order is open.
    let texts: BTreeSet<&str> = messages.iter().filter_map(|message| message["text"].as_str()).collect();
    assert_eq!(texts, BTreeSet::from(["And on Sunday from ten.", "Until eight!", "Are you open?"]));
    let phone = told("phone")[0]["data"]["phone"]["messages"].as_array().unwrap();
    let by: BTreeSet<&str> = phone.iter().filter_map(|message| message["madeBy"].as_str()).collect();
    assert_eq!(by, BTreeSet::from(["API", "APP", "CUSTOMER"]));
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

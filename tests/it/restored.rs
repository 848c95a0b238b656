//! A database that is a copy of another one, or was restored from a backup: its log goes on differently than the one that its
//! readers know, and its queue may have been sent already (invariants 6 and 7).

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use chrono::{SecondsFormat, TimeDelta};
use serde_json::json;
use tandem::clock::to_datetime;

use crate::harness::{ADA, SHOP, Tandem, on_postgres};

const EVENTS: &str = "query($after: EventCursor) { events(after: $after) { nodes { id } } }";

/// What a read from a place is refused with; none if it is not.
async fn refusal(t: &Tandem, after: &str) -> Option<String> {
    let answer = t.ask(EVENTS, json!({ "after": after })).await;
    let error = answer.get("errors")?[0]["extensions"].clone();
    let oldest = error["oldestCursor"].as_str().unwrap();
    assert!(!t.told_since(oldest).await.is_empty(), "from there one reads on");
    Some(error["code"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_begins_a_new_epoch() {
    let (mut t, _) = Tandem::shop().await;
    t.stop().await;
    let backup = t.backup().await;
    t.start().await;
    let kept = t.place().await;
    t.customer_writes(SHOP, ADA, "Erst").await;
    t.settle().await;
    let later = t.place().await;
    t.restart().await;
    assert_eq!(refusal(&t, &kept).await, None, "a start alone changes nothing");

    t.stop().await;
    t.restore(&backup).await;
    t.start().await;
    // Also once the log is as long again: what a reader has by then is something else.
    t.customer_writes(SHOP, ADA, "Anders").await;
    t.settle().await;
    for cursor in [&kept, &later] {
        assert_eq!(refusal(&t, cursor).await.as_deref(), Some("CURSOR_EXPIRED"));
    }
    let fresh = t.place().await;
    assert_ne!(fresh, later);
    t.restart().await;
    assert_eq!(refusal(&t, &fresh).await, None, "one new epoch, not one a start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_database_begins_a_new_epoch_and_the_first_one_goes_on() {
    let (mut t, _) = Tandem::shop().await;
    if on_postgres() {
        return a_restored_copy_on_postgres(t).await;
    }
    t.stop().await;
    let (first, copy) = (t.data_dir().display().to_string(), t.backup().await);
    // The note beside the database comes along when a whole directory is copied.
    std::fs::copy(format!("{first}/tandem.sqlite.told"), format!("{copy}/tandem.sqlite.told")).unwrap();
    t.start().await;
    let place = t.place().await;
    t.stop().await;
    t.move_to(&copy);
    t.start().await;
    assert_eq!(refusal(&t, &place).await.as_deref(), Some("CURSOR_EXPIRED"));
    t.stop().await;
    t.move_to(&first);
    t.start().await;
    assert_eq!(refusal(&t, &place).await, None);
}

/// There, another database of the same server is the copy.
async fn a_restored_copy_on_postgres(mut t: Tandem) {
    let place = t.place().await;
    t.stop().await;
    let copy = t.backup().await;
    t.restore(&copy).await;
    t.start().await;
    assert_eq!(refusal(&t, &place).await.as_deref(), Some("CURSOR_EXPIRED"));
}

/// A snapshot of a whole disk brings back every sign: then somebody has to say so.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_can_say_that_a_database_was_restored() {
    let (mut t, _) = Tandem::shop().await;
    let place = t.place().await;
    if !on_postgres() {
        let beside = t.command(&["restored"]).await;
        assert!(!beside.status.success(), "not while a service works on it");
    }
    t.stop().await;
    assert!(t.command(&["restored"]).await.status.success());
    t.start().await;
    assert_eq!(refusal(&t, &place).await.as_deref(), Some("CURSOR_EXPIRED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restored_queue_may_have_sent_is_not_sent_again() {
    let (mut t, client) = Tandem::shop().await;
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    let query = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } userErrors { message } } }";
    let at =
        (to_datetime(t.running().app.now()) + TimeDelta::hours(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let later = json!({ "clientId": client, "to": ADA, "content": { "text": { "body": "Später" } },
        "idempotencyKey": "later", "sendAt": at });
    t.data(query, json!({ "input": later })).await;
    let sends = (0..60).map(|n| {
        let (t, client) = (&t, &client);
        async move {
            let text = json!({ "text": { "body": format!("Nr. {n}") } });
            t.send(client, ADA, text, &n.to_string()).await["message"]["id"].clone()
        }
    });
    futures_util::future::join_all(sends).await;
    // Most of them wait still: twenty a second leave.
    t.stop().await;
    let backup = t.backup().await;
    t.start().await;
    let mut sent =
        t.subscribe("subscription { messageStatuses(statuses: [SENT]) { message { id } } }", json!({})).await;
    while t.arrivals(SHOP).await.len() < 60 {
        sent.next().await;
    }
    t.stop().await;
    t.restore(&backup).await;
    t.start().await;

    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let all = async {
        loop {
            counts.clear();
            for message in t.messages(&client).await {
                *counts.entry(message["status"].as_str().unwrap().to_owned()).or_default() += 1;
            }
            let queued = t.client(&client, "sendLimit { queued }").await["sendLimit"]["queued"].clone();
            if queued == 1 && counts.get("QUEUED") == Some(&1) && !counts.contains_key("SENDING") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, all).await.unwrap();
    assert!(counts.get("UNKNOWN").is_some_and(|unknown| *unknown >= 30), "{counts:?}");
    assert_eq!(t.arrivals(SHOP).await.len(), 60, "each reached WhatsApp once");
    assert_eq!(
        t.saying(&client, "Später").await["status"],
        "QUEUED",
        "what is for later has left in no life"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_on_the_machine_reads_the_chats() {
    let (t, _) = Tandem::shop().await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&t.data_dir()), 0o700);
    for entry in std::fs::read_dir(t.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".key")
            || (name.contains("sqlite") && !name.ends_with(".told") && !name.ends_with(".lock"))
        {
            assert_eq!(mode(&path), 0o600, "{name}");
        }
    }
}

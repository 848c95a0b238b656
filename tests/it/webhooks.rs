//! The door where WhatsApp posts: what is taken, what is refused, and what becomes of what makes no sense.

use serde_json::{Value, json};

use crate::harness::{ADA, SHOP, Tandem};

fn message(id: &str, text: &str) -> Value {
    let item = json!({ "from": &ADA[1..], "id": id, "timestamp": "1790000000", "type": "text",
        "text": { "body": text } });
    json!({ "messages": [item] })
}

impl Tandem {
    /// Posts a body with this signature: status, `Retry-After`, words.
    async fn post_signed(&self, body: Vec<u8>, signature: Option<String>) -> (u16, Option<String>, String) {
        let mut request = self.http.post(format!("{}/webhooks/meta", self.url())).body(body);
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        (status, retry_after, response.text().await.unwrap())
    }

    fn signature(&self, body: &[u8]) -> String {
        tandem::upstream::meta::signature::sign(&self.running().app.upstream.settings.app_secrets[0], body)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_or_missing_signature_is_refused_and_counted() {
    let (t, client) = Tandem::shop().await;
    let body = Tandem::body("messages", &message("wamid.forged", "Gefälscht")).to_string().into_bytes();
    let good = t.signature(&body);
    let (accepted, refused) = ("tandem_webhooks_accepted_total", "tandem_webhooks_refused_total");
    let before = (t.metric(accepted).await, t.metric(refused).await);
    let other = t.signature(b"another body");
    let bare = good.trim_start_matches("sha256=").to_owned();
    let bad = [
        None,
        Some(String::new()),
        Some("sha256=".into()),
        Some(other),
        Some(bare),
        Some(good.replace("sha256", "sha1")),
    ];
    for (number, signature) in bad.into_iter().enumerate() {
        let (status, _, _) = t.post_signed(body.clone(), signature.clone()).await;
        assert_eq!(status, 401, "{signature:?}");
        let counted = before.1 + i64::try_from(number).unwrap() + 1;
        assert_eq!((t.metric(accepted).await, t.metric(refused).await), (before.0, counted));
    }
    // The bytes are signed, not their meaning.
    let (status, _, _) = t.post_signed([&body[..], b" "].concat(), Some(good.clone())).await;
    assert_eq!(status, 401);
    t.settle().await;
    assert_eq!(t.messages(&client).await, Vec::<Value>::new(), "nothing is stored");
    assert_eq!(t.lines(&["inbound", "list"]).await, Vec::<Value>::new());
    // The same body, signed, is taken.
    assert_eq!(t.post_signed(body, Some(good)).await.0, 200);
    t.settle().await;
    t.saying(&client, "Gefälscht").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_kept_with_its_reason() {
    let (t, client) = Tandem::shop().await;
    let bodies: [(&[u8], &str, &str); 4] = [
        (b"<html>no JSON</html>", "REJECTED", "not JSON"),
        (b"[1, 2]", "REJECTED", "not a webhook"),
        (b"{\"object\": \"page\"}", "REJECTED", "entry"),
        (b"\xff\xfe\x00", "REJECTED", "not JSON"),
    ];
    for (body, _, _) in bodies {
        assert_eq!(t.post(body.to_vec()).await, 200);
        t.settle().await;
    }
    // For a number that nobody holds; and of a kind that nobody knows, beside one that is understood.
    let mut stranger = Tandem::body("messages", &message("wamid.stranger", "Wem?"));
    stranger["entry"][0]["changes"][0]["value"]["metadata"]["display_phone_number"] = json!("4915129999999");
    assert_eq!(t.post(stranger.to_string().into_bytes()).await, 200);
    t.settle().await;
    let mut odd = Tandem::body("messages", &message("wamid.known", "Verstanden"));
    odd["entry"][0]["changes"][0]["value"]["nebula"] = json!([1]);
    assert_eq!(t.post(odd.to_string().into_bytes()).await, 200);
    t.settle().await;

    let mut listed = t.lines(&["inbound", "list"]).await;
    listed.reverse();
    assert_eq!(listed.len(), 6, "{listed:#?}");
    for ((_, state, reason), line) in bodies.iter().zip(&listed) {
        assert_eq!(line["state"], *state, "{line:#}");
        assert!(line["error"].as_str().unwrap().contains(reason), "{line:#}");
        assert!(line["id"].is_string() && line["receivedAt"].is_string(), "{line:#}");
    }
    assert_eq!(listed[4]["state"], "UNMATCHED", "{:#}", listed[4]);
    assert!(listed[4]["error"].as_str().unwrap().contains("number"));
    assert_eq!((&listed[5]["state"], &listed[5]["partlyUnknown"]), (&json!("APPLIED"), &json!(true)));
    assert_eq!(t.lines(&["inbound", "list", "--most", "2"]).await.len(), 2);
    t.saying(&client, "Verstanden").await;
    assert!(!listed.iter().any(|line| line.to_string().contains("Wem?")), "no words of people");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_at_most_4_megabytes() {
    let (t, client) = Tandem::shop().await;
    let of_size = |size: usize, id: &str| {
        let mut body = Tandem::body("messages", &message(id, id)).to_string().into_bytes();
        body.resize(size, b' ');
        body
    };
    assert_eq!(t.post(of_size(4 << 20, "Gerade noch")).await, 200);
    let before = t.metric("tandem_webhooks_accepted_total").await;
    assert_eq!(t.post(of_size((4 << 20) + 1, "Zu viel")).await, 413);
    assert_eq!(t.metric("tandem_webhooks_accepted_total").await, before);
    t.settle().await;
    t.saying(&client, "Gerade noch").await;
    assert_eq!(t.messages(&client).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_again_changes_nothing() {
    let (t, client) = Tandem::shop().await;
    t.hears("messages", message("wamid.twice", "Doppelt")).await;
    let row = t.saying(&client, "Doppelt").await;
    let chat = t.conversation(&client, ADA).await;
    let place = t.place().await;
    for _ in 0..3 {
        t.hears("messages", message("wamid.twice", "Doppelt")).await;
    }
    assert_eq!(t.saying(&client, "Doppelt").await, row);
    assert_eq!(t.conversation(&client, ADA).await, chat);
    assert_eq!(t.told_since(&place).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_verifies_the_address_with_the_token() {
    use secrecy::ExposeSecret;
    let t = Tandem::new().await;
    let token = t.running().app.upstream.settings.verify_token.expose_secret().to_owned();
    let get = async |query: &[(&str, &str)]| {
        let mut url = url::Url::parse(&format!("{}/webhooks/meta", t.url())).unwrap();
        url.query_pairs_mut().extend_pairs(query);
        let response = t.http.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let right =
        [("hub.mode", "subscribe"), ("hub.challenge", "1158201444"), ("hub.verify_token", token.as_str())];
    assert_eq!(get(&right).await, (200, "1158201444".to_owned()));
    for (name, value) in
        [("hub.verify_token", "wrong"), ("hub.verify_token", ""), ("hub.mode", "unsubscribe")]
    {
        let mut wrong = right;
        wrong.iter_mut().find(|(known, _)| *known == name).unwrap().1 = value;
        let (status, words) = get(&wrong).await;
        assert_eq!(status, 403, "{name}={value}");
        assert!(!words.contains("1158201444") && !words.contains(&token));
    }
    assert_eq!(get(&right[..2]).await.0, 403);
    assert_eq!(get(&[]).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_backlog_the_sender_is_told_to_come_again() {
    let t = Tandem::with(&[("TANDEM_INBOUND_BACKLOG", "1")]).await;
    let client = t.connected(SHOP).await;
    // It takes a while to apply, and that while is the backlog.
    let items: Vec<Value> =
        (0..4000).map(|number| message(&format!("wamid.{number}"), "Viel")["messages"][0].clone()).collect();
    let much = Tandem::body("messages", &json!({ "messages": items })).to_string().into_bytes();
    assert_eq!(t.post(much).await, 200);
    let body = Tandem::body("messages", &message("wamid.later", "Später")).to_string().into_bytes();
    let signature = t.signature(&body);
    let (status, retry_after, _) = t.post_signed(body.clone(), Some(signature.clone())).await;
    assert_eq!(status, 503);
    assert!(retry_after.unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(t.metric("tandem_webhooks_backlog").await, 1);
    t.settle().await;
    assert_eq!(t.post_signed(body, Some(signature)).await.0, 200);
    t.settle().await;
    t.saying(&client, "Später").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_200_is_on_the_disk() {
    let t = Tandem::new().await;
    let app = &t.running().app;
    for db in [&app.db, &app.inbound_db] {
        let synchronous = db.synchronous().await.unwrap();
        let full = (db.backend() == sea_orm::DatabaseBackend::Sqlite).then_some(2);
        assert_eq!(synchronous, full, "PRAGMA synchronous is FULL");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inbound_check_says_what_a_body_would_do_and_stores_nothing() {
    let t = Tandem::new().await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, body: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, body).unwrap();
        path.display().to_string()
    };
    let mut several = Tandem::body("messages", &message("wamid.1", "Geheimes Wort"));
    several["entry"][0]["changes"][0]["value"]["statuses"] =
        json!([{ "id": "wamid.2", "status": "read", "timestamp": "1790000000", "recipient_id": &ADA[1..] }]);
    several["entry"][0]["changes"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "field": "nebula_update", "value": { "x": 1 } }));
    let mut group = Tandem::body("messages", &message("wamid.3", "In der Gruppe"));
    group["entry"][0]["changes"][0]["value"]["messages"][0]["group_id"] = json!("Y2FwaV9ncm91cDox");
    let files = [file("several.json", &several.to_string()), file("group.json", &group.to_string())];
    let output = t.command(&["inbound", "check", &files[0], &files[1]]).await;
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("Geheimes Wort") && !text.contains(&ADA[1..]), "no words, no numbers: {text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "one object a line");
    for (line, file) in lines.iter().zip(&files) {
        let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ["changes", "error", "fields", "file", "unknown"]);
        assert_eq!((&line["file"], &line["error"]), (&json!(file), &Value::Null));
    }
    assert_eq!(lines[0]["fields"], json!(["messages", "nebula_update"]));
    let changes = lines[0]["changes"].as_array().unwrap();
    let told: Vec<(&str, &Value)> =
        changes.iter().map(|c| (c["kind"].as_str().unwrap(), &c["whatsappId"])).collect();
    assert_eq!(told[..2], [("message", &json!("wamid.1")), ("status", &json!("wamid.2"))]);
    let covered = !lines[0]["unknown"].as_array().unwrap().is_empty() || told.len() > 2;
    assert!(covered, "the unknown field is not passed over: {:#}", lines[0]);
    let ignored = &lines[1]["changes"][0];
    assert_eq!((&ignored["kind"], &ignored["whatsappId"]), (&json!("ignored"), &json!("wamid.3")));
    assert!(ignored["reason"].as_str().unwrap().to_lowercase().contains("group"), "{ignored:#}");

    // What is no JSON, or not there, makes the command fail, and is told all the same.
    let broken = file("broken.json", "<html>");
    for path in [broken.as_str(), "/nowhere/at/all.json"] {
        let output = t.command(&["inbound", "check", path, &files[1]]).await;
        assert_eq!(output.status.code(), Some(1), "{path}");
        let text = String::from_utf8(output.stdout).unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert!(first["error"].is_string(), "{first:#}");
        assert_eq!(text.lines().count(), 2);
    }
    assert_eq!(t.lines(&["inbound", "list"]).await, Vec::<Value>::new());
}

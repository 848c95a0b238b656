//! Files: fetched, served, uploaded, sent, removed.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::multipart::{Form, Part};
use reqwest::{Response, StatusCode};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tandem::clock::Clock;
use tandem::db::WriteExt;
use tandem::ids::PublicId;
use tandem::media::{keep, links};

use crate::harness::process::Binary;
use crate::harness::{ADA, BEN, DAY, PATIENCE, SHOP, Subscription, Tandem, http_client};

const CONTENT: &str = "content { __typename ... on MediaContent {
    kind state url urlExpiresAt mimeType sizeBytes filename caption } }";

/// The content of the only message that says this.
async fn content(t: &Tandem, client: &str, text: &str) -> Value {
    let mut found = t.history(client, &format!("id text {CONTENT}")).await;
    found.retain(|message| message["text"] == text);
    assert_eq!(found.len(), 1, "{text}: {found:#?}");
    found.remove(0)["content"].take()
}

/// A customer sends a file.
async fn customer_sends(t: &Tandem, text: &str, kind: &str, file: Value) -> String {
    let input = json!({ "phoneNumber": SHOP, "with": ADA, "text": text, "media": kind, "file": file });
    t.write("writeAsCustomer", input).await
}

async fn get(t: &Tandem, url: &Value, headers: &[(&str, &str)]) -> Response {
    let mut request = t.http.get(url.as_str().unwrap());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// Uploads a file: the status and the body of the answer.
async fn upload(t: &Tandem, key: &str, address: &str, bytes: &[u8], mime: &str) -> (StatusCode, Value) {
    let part = Part::bytes(bytes.to_vec()).file_name("Karte.pdf").mime_str(mime).unwrap();
    let form = Form::new().part("file", part);
    let request = t.http.post(format!("{}/media{address}", t.url())).bearer_auth(key).multipart(form);
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

fn png(of: &str) -> Vec<u8> {
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), of.as_bytes()].concat()
}

/// Bytes that are in the store, and what is left of writing some.
fn objects(t: &Tandem) -> Vec<PathBuf> {
    let root = t.running().app.config.data_dir.join("media");
    let mut found = Vec::new();
    for directory in std::fs::read_dir(root).unwrap() {
        let files = std::fs::read_dir(directory.unwrap().path()).unwrap();
        found.extend(files.map(|file| file.unwrap().path()));
    }
    found
}

async fn tidy(t: &Tandem) {
    keep::round(&t.running().app, &mut None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_in_is_fetched_at_once_and_served_at_a_signed_address() {
    let (t, client) = Tandem::shop().await;
    let query = "subscription { events(filter: { types: [MESSAGE_INCOMING, MESSAGE_UPDATED] }) { ... on Event { type } } }";
    let mut events = t.subscribe(query, json!({})).await;
    customer_sends(&t, "Meine Katze", "image", json!({ "sizeBytes": 100_000 })).await;
    assert_eq!(events.next().await["events"]["type"], "MESSAGE_INCOMING");
    assert_eq!(events.next().await["events"]["type"], "MESSAGE_UPDATED");

    let shown = content(&t, &client, "Meine Katze").await;
    let (url, expires_at) = (shown["url"].clone(), shown["urlExpiresAt"].clone());
    assert_eq!(
        shown,
        json!({ "__typename": "MediaContent", "kind": "IMAGE", "state": "READY", "url": url, "urlExpiresAt": expires_at,
            "mimeType": "image/png", "sizeBytes": 100_000, "filename": null, "caption": "Meine Katze" })
    );
    let expires_at = chrono::DateTime::parse_from_rfc3339(expires_at.as_str().unwrap()).unwrap().timestamp();
    let lives = expires_at - Clock::real_now().seconds();
    assert!((3_500..=3_660).contains(&lives), "{lives}");

    let whole = get(&t, &url, &[]).await;
    assert_eq!(whole.status(), 200);
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-length", "100000"),
        ("content-disposition", "inline"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(header(&whole, name), value);
    }
    let tag = header(&whole, "etag");
    let bytes = whole.bytes().await.unwrap();
    assert_eq!(tag, format!("\"{}\"", hex::encode(Sha256::digest(&bytes))));

    let part = get(&t, &url, &[("range", "bytes=10-19")]).await;
    assert_eq!(
        (part.status().as_u16(), header(&part, "content-range").as_str()),
        (206, "bytes 10-19/100000")
    );
    assert_eq!(part.bytes().await.unwrap(), bytes.slice(10..20));
    let end = get(&t, &url, &[("range", "bytes=-7"), ("if-range", &tag)]).await;
    assert_eq!(end.status(), 206);
    assert_eq!(end.bytes().await.unwrap(), bytes.slice(99_993..));
    let other = get(&t, &url, &[("range", "bytes=-7"), ("if-range", "\"another\"")]).await;
    assert_eq!((other.status().as_u16(), other.bytes().await.unwrap().len()), (200, 100_000));
    let beyond = get(&t, &url, &[("range", "bytes=100000-")]).await;
    assert_eq!(
        (beyond.status().as_u16(), header(&beyond, "content-range").as_str()),
        (416, "bytes */100000")
    );
    assert_eq!(get(&t, &url, &[("if-none-match", &tag)]).await.status(), 304);
    let head = t.http.head(url.as_str().unwrap()).send().await.unwrap();
    assert_eq!((head.status().as_u16(), header(&head, "content-length").as_str()), (200, "100000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_cannot_be_guessed_and_ends() {
    let (t, client) = Tandem::shop().await;
    customer_sends(&t, "Geheim", "image", json!({})).await;
    t.settle().await;
    let url = content(&t, &client, "Geheim").await["url"].as_str().unwrap().to_owned();
    let (base, token) = url.rsplit_once('/').unwrap();
    assert_eq!(base, format!("{}/media", t.url()));

    let mut bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
    bytes[20] ^= 1;
    let longer = URL_SAFE_NO_PAD.encode(&bytes);
    let nobody = t.http.get(format!("{base}/AAAA")).send().await.unwrap();
    let (status, nothing) = (nobody.status(), nobody.text().await.unwrap());
    assert_eq!(status, 404);
    let forged = t.http.get(format!("{base}/{longer}")).send().await.unwrap();
    assert_eq!((forged.status(), forged.text().await.unwrap()), (status, nothing));

    // One that was made here, but an hour ago.
    let app = &t.running().app;
    let id = entity::MediaId(uuid::Uuid::from_slice(&bytes[..16]).unwrap());
    let old = links::token(&app.key, id, Clock::real_now().seconds() - 1);
    let ended = t.http.get(format!("{base}/{old}")).send().await.unwrap();
    assert_eq!(ended.status(), 410);
    assert_eq!(ended.json::<Value>().await.unwrap()["error"]["code"], "MEDIA_URL_EXPIRED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_a_customer_sends_cannot_run_under_our_name() {
    let (t, client) = Tandem::shop().await;
    let script = "<!doctype html><script>fetch('/graphql')</script>";
    for (name, mime) in
        [("böse \"a\".html", "text/html"), ("bild.svg", "image/svg+xml"), ("brief.pdf", "application/pdf")]
    {
        let file = json!({ "mimeType": mime, "filename": name, "text": script });
        customer_sends(&t, name, "document", file).await;
        t.settle().await;
        let shown = content(&t, &client, name).await;
        assert_eq!((&shown["state"], &shown["mimeType"]), (&json!("READY"), &json!(mime)));
        let served = get(&t, &shown["url"], &[]).await;
        assert_eq!((served.status().as_u16(), header(&served, "content-type").as_str()), (200, mime));
        assert!(header(&served, "content-disposition").starts_with("attachment; filename*=UTF-8''"));
        assert_eq!(header(&served, "x-content-type-options"), "nosniff");
        assert!(header(&served, "content-security-policy").starts_with("sandbox; default-src 'none'"));
        assert_eq!(served.text().await.unwrap(), script);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_fetched_is_tried_again_also_after_a_restart_until_whatsapp_has_it_no_longer() {
    let (mut t, client) = Tandem::shop().await;
    t.act("trouble", json!({ "mediaFails": 1.0 })).await;
    customer_sends(&t, "Erst später", "document", json!({})).await;
    customer_sends(&t, "Nie", "image", json!({})).await;
    t.settle().await;
    for _ in 0..6 {
        t.time_passes(3_601).await;
        t.settle().await;
    }
    assert_eq!(content(&t, &client, "Erst später").await["state"], "PENDING");
    assert_eq!(content(&t, &client, "Erst später").await["url"], Value::Null);
    t.restart().await;
    t.act("trouble", json!({})).await;
    // The second one's id is forgotten by WhatsApp: a refusal is believed in the end.
    forget_at_whatsapp(&t, &client, "Nie").await;
    let place = t.place().await;
    for _ in 0..6 {
        t.time_passes(3_601).await;
        t.settle().await;
    }
    assert_eq!(content(&t, &client, "Erst später").await["state"], "READY");
    assert_eq!(content(&t, &client, "Nie").await["state"], "FAILED");
    assert_eq!(t.types_since(&place).await, ["MESSAGE_UPDATED", "MESSAGE_UPDATED"]);
    let counted =
        (t.metric("tandem_files_fetched_total").await, t.metric("tandem_files_given_up_total").await);
    assert_eq!(counted, (1, 1));

    t.act("trouble", json!({ "mediaFails": 1.0 })).await;
    customer_sends(&t, "Zu spät", "image", json!({})).await;
    t.settle().await;
    t.time_passes(8 * DAY).await;
    t.settle().await;
    assert_eq!(content(&t, &client, "Zu spät").await["state"], "EXPIRED");
}

/// Lets the row of a file name one that WhatsApp never had.
async fn forget_at_whatsapp(t: &Tandem, client: &str, text: &str) {
    use sea_orm::sea_query::Expr;
    let mut found = t.history(client, "id text").await;
    found.retain(|message| message["text"] == text);
    let id = entity::MessageId::parse(found[0]["id"].as_str().unwrap()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the simulator forgets no file by itself")]
    entity::media::Entity::update_many()
        .col_expr(entity::media::Column::UpstreamId, Expr::value("1"))
        .col_expr(entity::media::Column::Attempts, Expr::value(0))
        .filter(entity::media::Column::MessageId.eq(id))
        .put(t.running().app.db.write())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_handed_to_whatsapp_when_a_message_needs_it_and_again_when_it_is_forgotten_there() {
    let (t, client) = Tandem::shop().await;
    let bytes = png("Speisekarte");
    let (status, made) = upload(&t, &t.key, &format!("?clientId={client}"), &bytes, "image/png").await;
    assert_eq!(status, 201, "{made}");
    let (id, expires_at) = (made["id"].as_str().unwrap().to_owned(), made["expiresAt"].clone());
    assert!(id.starts_with("med_") && expires_at.is_string());
    assert_eq!(
        made,
        json!({ "id": id, "kind": "IMAGE", "mimeType": "image/png", "sizeBytes": bytes.len(),
            "sha256": hex::encode(Sha256::digest(&bytes)), "expiresAt": expires_at })
    );
    assert_eq!(handed_over(&t).await, 0, "nothing needs it yet");

    t.customer_writes(SHOP, ADA, "Was gibt es?").await;
    t.settle().await;
    for (key, content) in [
        ("a", json!({ "image": { "mediaId": id, "caption": "Heute" } })),
        ("b", json!({ "document": { "mediaId": id } })),
    ] {
        let payload = t.send(&client, ADA, content, key).await;
        t.until(&payload, "SENT").await;
    }
    t.settle().await;
    assert_eq!(handed_over(&t).await, 1);
    let query =
        "query($n: PhoneNumber!) { phone(phoneNumber: $n) { messages { madeBy type text content } } }";
    let screen = t.simulate(query, json!({ "n": SHOP })).await["phone"]["messages"].clone();
    let sent: Vec<&Value> =
        screen.as_array().unwrap().iter().filter(|message| message["madeBy"] == "API").collect();
    assert_eq!(sent.len(), 2, "{screen:#?}");
    assert_eq!(
        (&sent[0]["type"], &sent[0]["content"]["filename"]),
        (&json!("document"), &json!("Karte.pdf"))
    );
    assert_eq!((&sent[1]["type"], &sent[1]["text"]), (&json!("image"), &json!("Heute")));
    let file = "query($id: ID!) { file(id: $id) { mimeType sha256 sizeBytes } }";
    let there = t.simulate(file, json!({ "id": sent[1]["content"]["id"] })).await;
    assert_eq!(
        there["file"],
        json!({ "mimeType": "image/png", "sha256": made["sha256"], "sizeBytes": bytes.len() })
    );
    // It is shown as what it is, and can be had.
    let shown = content(&t, &client, "Heute").await;
    assert_eq!((&shown["state"], &shown["mimeType"]), (&json!("READY"), &json!("image/png")));
    assert_eq!(get(&t, &shown["url"], &[]).await.bytes().await.unwrap(), bytes);

    t.time_passes(31 * DAY).await;
    t.customer_writes(SHOP, ADA, "Und jetzt?").await;
    t.settle().await;
    let again = t.send(&client, ADA, json!({ "image": { "mediaId": id } }), "c").await;
    t.until(&again, "SENT").await;
    assert_eq!(handed_over(&t).await, 2, "WhatsApp keeps uploads for 30 days");
}

/// How often files were handed to WhatsApp.
async fn handed_over(t: &Tandem) -> usize {
    let calls = t.graph_calls("/media").await;
    calls.iter().filter(|call| call["method"] == "POST").count()
}

/// What the shop's phone shows of what the API sent: newest first.
async fn sent_content(t: &Tandem) -> Vec<Value> {
    let query = "query($n: PhoneNumber!) { phone(phoneNumber: $n) { messages { madeBy content } } }";
    let shown = t.simulate(query, json!({ "n": SHOP })).await["phone"]["messages"].clone();
    let sent = shown.as_array().unwrap().iter().filter(|message| message["madeBy"] == "API");
    sent.map(|message| message["content"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_stands_above_templates_and_choices_too() {
    let (t, client) = Tandem::shop().await;
    let to = format!("?clientId={client}");
    let bytes = png("Anzeige");
    let (_, image) = upload(&t, &t.key, &to, &bytes, "image/png").await;
    let (_, pdf) = upload(&t, &t.key, &to, b"%PDF-1.7", "application/pdf").await;
    for kind in ["image", "document"] {
        let draft = json!({ "clientId": client, "name": format!("with_{kind}"), "language": "de",
            "category": "UTILITY", "header": { kind: { "exampleHandle": "4::aW" } }, "body": { "text": "Bitte sehr." } });
        let made = t.mutate("createTemplate", draft, "template { status }").await;
        assert_eq!(made["userErrors"], json!([]), "{made:#}");
    }
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    let template = |kind: &str, file: &Value| {
        let parameter = json!({ "type": kind.to_uppercase(), "mediaId": file["id"] });
        let header = json!({ "type": "HEADER", "parameters": [parameter] });
        json!({ "template": { "name": format!("with_{kind}"), "language": "de", "components": [header] } })
    };
    let choices = |kind: &str, file: &Value| {
        // The id of a button is the caller's own, whatever it looks like.
        let button = json!({ "id": file["id"], "title": "Gern" });
        json!({ "interactive": { "buttons": { "header": { kind: { "mediaId": file["id"] } }, "body": "Möchten Sie?",
            "buttons": [button] } } })
    };
    for (key, content) in [
        ("1", template("image", &image)),
        ("2", template("document", &pdf)),
        ("3", choices("image", &image)),
        ("4", choices("document", &pdf)),
        ("5", json!({ "image": { "mediaId": image["id"] } })),
    ] {
        let payload = t.send(&client, ADA, content, key).await;
        t.until(&payload, "SENT").await;
    }
    t.settle().await;
    assert_eq!(handed_over(&t).await, 2, "each once, for all kinds of messages");
    let sent = sent_content(&t).await;
    let there = sent[0]["id"].clone();
    let file = "query($id: ID!) { file(id: $id) { sha256 } }";
    assert_eq!(t.simulate(file, json!({ "id": there })).await["file"]["sha256"], image["sha256"]);
    let document = &sent[1]["header"]["document"];
    assert_eq!(document["filename"], "Karte.pdf");
    assert_eq!(sent[1]["action"]["buttons"][0]["reply"]["id"], pdf["id"]);
    assert_eq!(sent[2]["header"], json!({ "type": "image", "image": { "id": there } }));
    let filled = |sent: &Value| sent["components"][0]["parameters"][0].clone();
    assert_eq!(filled(&sent[3]), json!({ "type": "document", "document": document }));
    assert_eq!(filled(&sent[4]), json!({ "type": "image", "image": { "id": there } }));

    // It is shown above the words, and can be had.
    let query =
        "id content { ... on InteractiveContent { headerFile { kind state url mimeType filename } } }";
    let shown = t.history(&client, query).await;
    let above = shown.iter().map(|message| &message["content"]["headerFile"]);
    let above: Vec<&Value> = above.filter(|file| file.is_object()).collect();
    let kinds: Vec<_> = above.iter().map(|file| (&file["kind"], &file["state"])).collect();
    assert_eq!(kinds, [(&json!("DOCUMENT"), &json!("READY")), (&json!("IMAGE"), &json!("READY"))]);
    assert_eq!(get(&t, &above[1]["url"], &[]).await.bytes().await.unwrap(), bytes);

    // What failed is sent again with its file.
    t.act("refuse", json!({ "code": 131_026 })).await;
    let failed = t.send(&client, ADA, choices("image", &image), "6").await;
    let failed = t.until(&failed, "FAILED").await;
    let again = t.mutate("resendMessage", json!({ "messageId": failed }), "message { id } eventCursor").await;
    t.until(&again, "SENT").await;
    assert_eq!(sent_content(&t).await[0]["header"], sent[2]["header"]);
    assert_eq!(handed_over(&t).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_above_the_words_is_checked_like_any_other() {
    let (t, client) = Tandem::shop().await;
    let neighbour = t.connected("+4915120000002").await;
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    let (_, image) = upload(&t, &t.key, &format!("?clientId={client}"), &png("x"), "image/png").await;
    let (_, theirs) = upload(&t, &t.key, &format!("?clientId={neighbour}"), &png("y"), "image/png").await;
    let draft = json!({ "clientId": client, "name": "with_video", "language": "de", "category": "UTILITY",
        "header": { "video": { "exampleHandle": "4::aW" } }, "body": { "text": "Bitte sehr." } });
    t.mutate("createTemplate", draft, "template { status }").await;
    t.settle().await;
    let template = |parameter: Value| {
        let header = json!({ "type": "HEADER", "parameters": [parameter] });
        json!({ "template": { "name": "with_video", "language": "de", "components": [header] } })
    };
    let choices = |header: Value| {
        let button = json!({ "id": "1", "title": "Gern" });
        json!({ "interactive": { "buttons": { "header": header, "body": "?", "buttons": [button] } } })
    };
    let link = "https://example.test/a.png";
    let (parameter, header) =
        ("content.template.components.0.parameters.0", "content.interactive.buttons.header.image");
    for (content, path, code) in [
        // An image is no video.
        (
            template(json!({ "type": "VIDEO", "mediaId": image["id"] })),
            format!("{parameter}.mediaId"),
            "INVALID",
        ),
        (
            template(json!({ "type": "VIDEO", "mediaId": theirs["id"] })),
            format!("{parameter}.mediaId"),
            "NOT_FOUND",
        ),
        (
            template(json!({ "type": "VIDEO", "mediaId": "4711" })),
            format!("{parameter}.mediaId"),
            "NOT_FOUND",
        ),
        (template(json!({ "type": "VIDEO" })), parameter.to_owned(), "INVALID"),
        (
            choices(json!({ "document": { "mediaId": theirs["id"] } })),
            "content.interactive.buttons.header.document.mediaId".to_owned(),
            "NOT_FOUND",
        ),
        (
            choices(json!({ "video": { "mediaId": image["id"] } })),
            "content.interactive.buttons.header.video.mediaId".to_owned(),
            "INVALID",
        ),
        (choices(json!({ "image": { "mediaId": "4711" } })), format!("{header}.mediaId"), "NOT_FOUND"),
        (choices(json!({ "image": { "mediaId": image["id"], "link": link } })), header.to_owned(), "INVALID"),
        (choices(json!({ "image": {} })), header.to_owned(), "INVALID"),
    ] {
        let error = t.refused(&client, ADA, content.clone()).await;
        let path: Vec<&str> = path.split('.').collect();
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(path)), "{content} {error:#}");
    }
    assert_eq!(handed_over(&t).await, 0, "nothing needs them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_permission_that_an_upload_meets_pauses_the_client_and_loses_nothing() {
    let (t, client) = Tandem::shop().await;
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    let changes = "subscription { clientChanges { type reason client { status } } }";
    let mut changes = t.subscribe(changes, json!({})).await;
    // Of the token, and of the account.
    for (code, remedy) in [(190, "new onboarding"), (131_031, "WhatsApp Manager")] {
        let (_, made) = upload(&t, &t.key, &format!("?clientId={client}"), &png("x"), "image/png").await;
        t.act("refuse", json!({ "path": "media", "code": code })).await;
        let content = json!({ "image": { "mediaId": made["id"] } });
        let waiting = t.send(&client, ADA, content, &code.to_string()).await;
        let paused = changes.next().await["clientChanges"].clone();
        assert_eq!(
            (&paused["type"], &paused["client"]["status"]),
            (&json!("CLIENT_PAUSED"), &json!("PAUSED"))
        );
        let reason = paused["reason"].as_str().unwrap();
        assert!(reason.contains(&code.to_string()) && reason.contains(remedy), "{reason}");
        assert_eq!(t.message(waiting["message"]["id"].as_str().unwrap()).await["status"], "QUEUED");
        let refused = t.refused(&client, ADA, json!({ "text": { "body": format!("{code}?") } })).await;
        assert_eq!(refused["code"], "CLIENT_NOT_CONNECTED");

        t.mutate("resumeClient", json!({ "clientId": client }), "client { status }").await;
        assert_eq!(changes.next().await["clientChanges"]["type"], "CLIENT_RESUMED");
        t.until(&waiting, "SENT").await;
    }
    assert_eq!(handed_over(&t).await, 4, "each was tried once, and once more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_whatsapp_does_not_take_yet_holds_up_its_own_recipient_only() {
    let (t, client) = Tandem::shop().await;
    let (_, made) = upload(&t, &t.key, &format!("?clientId={client}"), &png("x"), "image/png").await;
    for who in [ADA, BEN] {
        t.customer_writes(SHOP, who, "Hallo").await;
    }
    t.settle().await;
    t.act("trouble", json!({ "mediaFails": 1.0 })).await;
    let file = t.send(&client, ADA, json!({ "image": { "mediaId": made["id"] } }), "file").await;
    let behind = t.send(&client, ADA, json!({ "text": { "body": "dahinter" } }), "behind").await;
    t.sent(&client, BEN, "daneben").await;
    for waiting in [&file, &behind] {
        assert_eq!(t.message(waiting["message"]["id"].as_str().unwrap()).await["status"], "QUEUED");
    }
    t.act("trouble", json!({})).await;
    t.time_passes(3_600).await;
    t.until(&behind, "SENT").await;
    let status = t.message(file["message"]["id"].as_str().unwrap()).await["status"].clone();
    assert!(status == "SENT" || status == "ACCEPTED", "{status}: in their order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_lies_or_that_whatsapp_does_not_take_is_refused() {
    let (t, client) = Tandem::shop().await;
    let to = format!("?clientId={client}");
    let html = b"<!DOCTYPE html><script>alert(1)</script>".as_slice();
    let large = [png("").as_slice(), &vec![b'x'; 5 << 20]].concat();
    let rival = t.another_partner().await;
    let reader = t.make_key(&[], &["READ"], None).await;
    let own = t.key.clone();
    for (key, address, bytes, mime, status, code) in [
        (&own, to.clone(), html, "image/png", 415, "MEDIA_TYPE_MISMATCH"),
        (&own, to.clone(), html, "text/plain", 415, "MEDIA_TYPE_MISMATCH"),
        (&own, to.clone(), html, "text/html", 415, "MEDIA_TYPE_NOT_SUPPORTED"),
        (
            &own,
            to.clone(),
            b"\x00\x01\x02".as_slice(),
            "application/octet-stream",
            415,
            "MEDIA_TYPE_NOT_SUPPORTED",
        ),
        (&own, to.clone(), b"%PDF-1.7".as_slice(), "image/jpeg", 415, "MEDIA_TYPE_MISMATCH"),
        (
            &own,
            format!("{to}&kind=IMAGE"),
            b"%PDF-1.7".as_slice(),
            "application/pdf",
            415,
            "MEDIA_TYPE_NOT_SUPPORTED",
        ),
        (&own, format!("{to}&kind=PAPER"), b"%PDF-1.7".as_slice(), "application/pdf", 400, "INVALID"),
        (&own, to.clone(), large.as_slice(), "image/png", 413, "MEDIA_TOO_LARGE"),
        (&own, to.clone(), b"".as_slice(), "image/png", 400, "INVALID"),
        (&own, String::new(), b"%PDF-1.7".as_slice(), "application/pdf", 400, "INVALID"),
        (&rival, to.clone(), b"%PDF-1.7".as_slice(), "application/pdf", 404, "NOT_FOUND"),
        (&reader, to.clone(), b"%PDF-1.7".as_slice(), "application/pdf", 403, "FORBIDDEN"),
        (&"wrong".to_owned(), to.clone(), b"%PDF-1.7".as_slice(), "application/pdf", 401, "UNAUTHENTICATED"),
    ] {
        let (found, body) = upload(&t, key, &address, bytes, mime).await;
        assert_eq!(
            (found.as_u16(), &body["error"]["code"]),
            (status, &json!(code)),
            "{mime} {address}: {body}"
        );
    }
    tidy(&t).await;
    assert_eq!(objects(&t), Vec::<PathBuf>::new(), "nothing of them is kept");

    // The same files as what they are.
    let (status, made) = upload(&t, &t.key, &format!("{to}&kind=DOCUMENT"), &large, "image/png").await;
    assert_eq!((status.as_u16(), &made["kind"]), (201, &json!("DOCUMENT")));
    t.customer_writes(SHOP, ADA, "Hallo").await;
    t.settle().await;
    let large = made["id"].clone();
    let (_, pdf) = upload(&t, &t.key, &to, b"%PDF-1.7", "application/octet-stream").await;
    let both = json!({ "mediaId": pdf["id"], "link": "https://example.test/a.pdf" });
    for (content, field, code) in [
        (json!({ "image": { "mediaId": large } }), json!(["content", "image", "mediaId"]), "INVALID"),
        (json!({ "image": { "mediaId": pdf["id"] } }), json!(["content", "image", "mediaId"]), "INVALID"),
        (json!({ "document": both }), json!(["content", "document"]), "INVALID"),
        (json!({ "document": {} }), json!(["content", "document"]), "INVALID"),
        (
            json!({ "document": { "mediaId": "med_1" } }),
            json!(["content", "document", "mediaId"]),
            "NOT_FOUND",
        ),
    ] {
        let error = t.refused(&client, ADA, content).await;
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &field), "{error}");
    }
    // Another partner's file is no file.
    let rivals = t.ask_as(Some(&rival), "{ viewer { partner { id } } }", json!({})).await;
    assert!(rivals["data"]["viewer"]["partner"]["id"].is_string());
}

/// An upload that goes on until its sender is dropped: the status of the answer.
fn slow_upload(
    t: &Tandem,
    client: &str,
) -> (tokio::sync::mpsc::UnboundedSender<Vec<u8>>, impl Future<Output = u16> + use<>) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Vec<u8>>();
    // More than is read before the file is begun.
    sender.send([png("langsam"), vec![b'.'; 128 << 10]].concat()).unwrap();
    let bytes = futures_util::stream::unfold(receiver, |mut receiver| async {
        Some((Ok::<_, std::io::Error>(receiver.recv().await?), receiver))
    });
    let body = reqwest::Body::wrap_stream(bytes);
    let part = Part::stream(body).file_name("a.png").mime_str("image/png").unwrap();
    let request = t.http.post(format!("{}/media?clientId={client}", t.url())).bearer_auth(&t.key);
    let request = request.multipart(Form::new().part("file", part));
    (sender, async move { request.send().await.unwrap().status().as_u16() })
}

/// Waits until so many files were begun.
async fn until_begun(t: &Tandem, wanted: usize) {
    let db = &t.running().app.db;
    let begun = async {
        #[expect(clippy::disallowed_methods, reason = "the database's view of bytes that are being written")]
        while entity::blob::Entity::find().all(db.read()).await.unwrap().len() < wanted {}
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("the uploads do not begin");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_partner_does_not_take_all_places_for_uploads() {
    let mut t =
        Tandem::with(&[("TANDEM_MEDIA_UPLOADS", "3"), ("TANDEM_MEDIA_UPLOADS_PER_PARTNER", "2")]).await;
    let client = t.connected(SHOP).await;
    let (own, rival) = (t.key.clone(), t.another_partner().await);
    let (first_bytes, first) = slow_upload(&t, &client);
    let (second_bytes, second) = slow_upload(&t, &client);
    let address = format!("?clientId={client}");
    let meanwhile = async {
        until_begun(&t, 2).await;
        let (status, refused) = upload(&t, &own, &address, &png("x"), "image/png").await;
        assert_eq!((status.as_u16(), &refused["error"]["code"]), (429, &json!("RATE_LIMITED")));
        assert!(refused["error"]["message"].as_str().unwrap().contains("2 files"), "{refused}");
        t.key.clone_from(&rival);
        let theirs = t.connected("+4915120000002").await;
        let to = format!("?clientId={theirs}");
        let (status, made) = upload(&t, &rival, &to, &png("y"), "image/png").await;
        assert_eq!(status, 201, "one is left for others: {made}");
        drop((first_bytes, second_bytes));
    };
    let (first, second, ()) = tokio::join!(first, second, meanwhile);
    assert_eq!((first, second), (201, 201));
    let (status, made) = upload(&t, &own, &address, &png("z"), "image/png").await;
    assert_eq!(status, 201, "{made}");
}

/// What a browser asks before a page of this origin may call.
async fn preflight(t: &Tandem, path: &str, origin: &str, method: &str) -> Response {
    let request = t.http.request(reqwest::Method::OPTIONS, format!("{}{path}", t.url()));
    let request = request.header("origin", origin).header("access-control-request-method", method);
    let response =
        request.header("access-control-request-headers", "authorization,content-type").send().await;
    response.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_call_media_like_graphql() {
    let page = "https://app.example.org";
    for (origins, others) in [("*", "*"), (page, "")] {
        let t = Tandem::with(&[("TANDEM_BROWSER_ORIGINS", origins)]).await;
        let client = t.connected(SHOP).await;
        for path in ["/graphql", "/media"] {
            let allowed = preflight(&t, path, page, "POST").await;
            assert!(allowed.status().is_success());
            assert_eq!(header(&allowed, "access-control-allow-origin"), origins);
            assert!(header(&allowed, "access-control-allow-methods").contains("POST"));
            assert_eq!(header(&allowed, "access-control-allow-headers"), "authorization,content-type");
            assert_eq!(header(&allowed, "access-control-allow-credentials"), "", "no cookies");
            let other = preflight(&t, path, "https://else.example.org", "POST").await;
            assert_eq!(header(&other, "access-control-allow-origin"), others);
        }
        // The calls themselves, refusals too: a page has to be able to read why.
        let part = Part::bytes(png("x")).file_name("a.png").mime_str("image/png").unwrap();
        let form = Form::new().part("file", part);
        let request = t.http.post(format!("{}/media?clientId={client}", t.url())).header("origin", page);
        let made = request.bearer_auth(&t.key).multipart(form).send().await.unwrap();
        assert_eq!(
            (made.status().as_u16(), header(&made, "access-control-allow-origin").as_str()),
            (201, origins)
        );
        let refused = t.http.post(format!("{}/graphql", t.url())).header("origin", page);
        let refused = refused.json(&json!({ "query": "{ viewer { eventCursor } }" })).send().await.unwrap();
        assert_eq!(
            (refused.status().as_u16(), header(&refused, "access-control-allow-origin").as_str()),
            (401, origins)
        );

        customer_sends(&t, "Katze", "image", json!({})).await;
        t.settle().await;
        let url = content(&t, &client, "Katze").await["url"].clone();
        let path = url.as_str().unwrap().strip_prefix(&t.url()).unwrap().to_owned();
        let allowed = preflight(&t, &path, page, "GET").await;
        assert_eq!(header(&allowed, "access-control-allow-origin"), origins);
        let file = get(&t, &url, &[("origin", page), ("range", "bytes=0-3")]).await;
        assert_eq!(
            (file.status().as_u16(), header(&file, "access-control-allow-origin").as_str()),
            (206, origins)
        );
        let shown = header(&file, "access-control-expose-headers");
        for name in ["content-range", "etag", "content-disposition"] {
            assert!(shown.contains(name), "{name} in {shown}");
        }
        // The pages with the development key are nobody else's.
        let start = format!("{}/graphiql/start.json", t.url());
        let start = t.http.get(start).header("origin", page).send().await.unwrap();
        assert_eq!(header(&start, "access-control-allow-origin"), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_the_same_are_kept_once_and_as_long_as_one_message_has_them() {
    let (t, client) = Tandem::shop().await;
    let first = customer_sends(&t, "eins", "document", json!({ "text": "Rechnung 7" })).await;
    customer_sends(&t, "zwei", "document", json!({ "text": "Rechnung 7" })).await;
    t.settle().await;
    tidy(&t).await;
    assert_eq!(objects(&t).len(), 1);

    t.act("delete", json!({ "phoneNumber": SHOP, "messageId": first })).await;
    t.settle().await;
    tidy(&t).await;
    let left = content(&t, &client, "zwei").await;
    assert_eq!(get(&t, &left["url"], &[]).await.text().await.unwrap(), "Rechnung 7");

    t.time_passes(181 * DAY).await;
    tidy(&t).await;
    tidy(&t).await;
    let gone = content(&t, &client, "zwei").await;
    assert_eq!((&gone["state"], &gone["url"]), (&json!("EXPIRED"), &Value::Null));
    let served = get(&t, &left["url"], &[]).await;
    assert_eq!(served.status(), 410);
    assert_eq!(served.json::<Value>().await.unwrap()["error"]["code"], "MEDIA_EXPIRED");
    assert_eq!(objects(&t), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_a_partners_limit_the_oldest_files_go() {
    let t = Tandem::with(&[("TANDEM_MEDIA_PARTNER_BYTES", "250000")]).await;
    let client = t.connected(SHOP).await;
    for n in 1..=4 {
        customer_sends(&t, &format!("Bild {n}"), "image", json!({ "sizeBytes": 100_000 })).await;
        t.settle().await;
        t.time_passes(1).await;
    }
    tidy(&t).await;
    for (n, state) in [(1, "EXPIRED"), (2, "EXPIRED"), (3, "READY"), (4, "READY")] {
        assert_eq!(content(&t, &client, &format!("Bild {n}")).await["state"], state, "{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broken_off_transfer_left_behind_is_removed() {
    use sea_orm::sea_query::Expr;
    let t = Tandem::new().await;
    let app = &t.running().app;
    let id = keep::begin(app).await.unwrap();
    let mut writing = app.media.store.write(id).await.unwrap();
    for _ in 0..8 {
        writing.put(&[b'x'; 256 << 10]).await.unwrap();
    }
    // As if the process had been killed.
    std::mem::forget(writing);
    assert_eq!(objects(&t).len(), 1);
    tidy(&t).await;
    assert_eq!(objects(&t).len(), 1, "it might still be written");
    #[expect(clippy::disallowed_methods, reason = "its time is real time, which no test moves")]
    entity::blob::Entity::update_many()
        .col_expr(entity::blob::Column::FreeAt, Expr::value(1_i64))
        .put(app.db.write())
        .await
        .unwrap();
    tidy(&t).await;
    assert_eq!(objects(&t), Vec::<PathBuf>::new());
    #[expect(clippy::disallowed_methods, reason = "the database's view")]
    let rows = entity::blob::Entity::find().all(app.db.read()).await.unwrap();
    assert_eq!(rows, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_100_mb_goes_up_and_down_with_flat_memory() {
    const SIZE: usize = 100 << 20;
    /// Kilobytes that transfers may take beside what the process has when it begins: the allocator keeps some 45 MB, once
    /// and for all transfers (measured; a second and a tenth one take no more).
    const FLAT: u64 = 64 << 10;
    let installation = Binary::new(&[]).await;
    let key = installation.key.clone();
    let service = installation.serve().await;
    let (client, _) = installation.connect(&service, "+4915120000001").await;
    let place = installation.place(&service).await;
    let query = "subscription($after: EventCursor) { events(after: $after) { ... on Event { type }
        ... on MessageStatusEvent { status } ... on MessageChangedEvent { message { content {
        ... on MediaContent { state url sizeBytes } } } } } }";
    let url = format!("ws://{}/graphql", service.address);
    let after = json!({ "after": place });
    let mut events = Subscription::open(&url, &key, query, after).await.patient(Duration::from_secs(120));
    let write = "mutation($input: WriteInput!) { writeAsCustomer(input: $input) { id } }";
    let input = json!({ "phoneNumber": "+4915120000001", "with": "+4915770000001", "text": "?" });
    installation.simulate(write, json!({ "input": input })).await;
    events.until(|data| data["events"]["type"] == "MESSAGE_INCOMING").await;

    // Up: from the partner to us, and from us to WhatsApp.
    let http = http_client();
    let (rests, _) = service.memory();
    let mut bytes = b"%PDF-1.7\n".to_vec();
    bytes.resize(SIZE, b'.');
    let part = Part::bytes(bytes).file_name("Katalog.pdf").mime_str("application/pdf").unwrap();
    let request = http.post(format!("http://{}/media?clientId={client}", service.address)).bearer_auth(&key);
    let request = request.multipart(Form::new().part("file", part)).timeout(Duration::from_secs(120));
    let made: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(made["sizeBytes"], SIZE, "{made}");
    let (_, most) = service.memory();
    assert!(most < rests + FLAT, "an upload took {} KB", most - rests);

    let send =
        "mutation($input: SendMessageInput!) { sendMessage(input: $input) { userErrors { message } } }";
    let input = json!({ "clientId": client, "to": "+4915770000001", "idempotencyKey": "1",
        "content": { "document": { "mediaId": made["id"] } } });
    let sent = service.ask(&key, send, json!({ "input": input })).await;
    assert_eq!(sent["sendMessage"]["userErrors"], json!([]));
    events.until(|data| data["events"]["status"] == "SENT").await;
    let (_, most) = service.memory();
    assert!(most < rests + FLAT, "handing it to WhatsApp took {} KB", most - rests);

    // Down: from WhatsApp to us, and from us to whoever has the address.
    let input = json!({ "phoneNumber": "+4915120000001", "with": "+4915770000001", "text": "",
        "media": "document", "file": { "sizeBytes": SIZE } });
    installation.simulate(write, json!({ "input": input })).await;
    let there = events.until(|data| data["events"]["type"] == "MESSAGE_UPDATED").await;
    let file = &there["events"]["message"]["content"];
    assert_eq!((&file["state"], &file["sizeBytes"]), (&json!("READY"), &json!(SIZE)));
    let (_, most) = service.memory();
    assert!(most < rests + FLAT, "fetching it took {} KB", most - rests);
    let request = http.get(file["url"].as_str().unwrap()).timeout(Duration::from_secs(120));
    let mut response = request.send().await.unwrap();
    let mut came = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        came += chunk.len();
    }
    assert_eq!(came, SIZE);
    let (_, most) = service.memory();
    assert!(most < rests + FLAT, "serving it took {} KB", most - rests);
    service.kill().await;
}

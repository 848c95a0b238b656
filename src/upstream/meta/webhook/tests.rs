use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::messages::content::{Card, Content, Media, MediaKind};
use crate::upstream::change::{
    AccountEvent, AccountSeen, Author, DeleteSeen, EditSeen, HistoryChunk, IdentitySeen, MessageSeen, Party,
    PhoneBookSeen, ReactionSeen, ReportedPricing, ReportedStatus, Restriction, StatusSeen, TemplateNews,
};

const CUSTOMER: &str = "436645550177";
const USER_ID: &str = "AT.88000000000000000031";
const BUSINESS: &str = "493055500101";

fn metadata() -> Value {
    json!({ "display_phone_number": "+49 30 555-00101", "phone_number_id": "700100200300401" })
}

fn account() -> Account {
    Account {
        phone_number_id: Some("700100200300401".into()),
        waba_id: Some("880100200300400".into()),
        phone_number: Some("+493055500101".into()),
    }
}

/// A body of one change, with metadata.
fn body(field: &str, mut value: Value) -> Value {
    value["messaging_product"] = "whatsapp".into();
    value["metadata"] = metadata();
    bare(field, value)
}

/// A body of one change, as it stands.
fn bare(field: &str, value: Value) -> Value {
    let mut change = json!({ "field": field });
    change["value"] = value;
    let entry = json!({ "id": "880100200300400", "time": 1_801_000_000, "changes": [change] });
    json!({ "object": "whatsapp_business_account", "entry": [entry] })
}

fn read(body: &Value) -> Decoded {
    let decoded = decode(body.to_string().as_bytes());
    assert_eq!(decoded.error, None, "{body}");
    decoded
}

fn unknown(decoded: &Decoded) -> Vec<(&str, &str)> {
    decoded.unknown.iter().map(|unknown| (unknown.what.as_str(), unknown.value.as_str())).collect()
}

/// What a body says of which everything is understood.
fn kinds(body: &Value) -> Vec<ChangeKind> {
    let decoded = read(body);
    assert_eq!(unknown(&decoded), [], "{body}");
    for change in &decoded.changes {
        assert_eq!(change.account, account(), "{body}");
    }
    decoded.changes.into_iter().map(|change| change.kind).collect()
}

fn only(body: &Value) -> ChangeKind {
    let mut kinds = kinds(body);
    assert_eq!(kinds.len(), 1, "{kinds:?}");
    kinds.remove(0)
}

fn only_message(body: &Value) -> MessageSeen {
    match only(body) {
        ChangeKind::Message(message) => *message,
        other => panic!("{other:?}"),
    }
}

fn message_of(decoded: &Decoded) -> &MessageSeen {
    decoded
        .changes
        .iter()
        .find_map(
            |change| if let ChangeKind::Message(message) = &change.kind { Some(&**message) } else { None },
        )
        .unwrap()
}

/// A message of the customer, with what `more` adds.
fn incoming(more: Value) -> Value {
    let message = json!({ "from": CUSTOMER, "id": "wamid.one", "timestamp": "1801000100" });
    body("messages", json!({ "messages": [merged(message, more)] }))
}

fn merged(mut one: Value, more: Value) -> Value {
    if let (Some(one), Value::Object(more)) = (one.as_object_mut(), more) {
        one.extend(more);
    }
    one
}

fn content(more: Value) -> Content {
    only_message(&incoming(more)).content
}

fn number(number: &str) -> Party {
    Party { phone_number: Some(format!("+{number}")), ..Party::default() }
}

fn text(body: &str) -> Content {
    Content::Text { body: body.into(), preview_url: false }
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_seconds(seconds))
}

// --- incoming

#[test]
fn an_incoming_text_names_its_customer_in_every_way() {
    let body = body(
        "messages",
        json!({
            "contacts": [{
                "profile": { "name": "Élodie 🌵", "username": "@elodie.g" }, "wa_id": CUSTOMER,
                "user_id": USER_ID, "parent_user_id": "AT.ENT.9900",
            }],
            "messages": [{
                "from": CUSTOMER, "from_user_id": USER_ID, "id": "wamid.one", "timestamp": "1801000100",
                "type": "text", "text": { "body": "Grüß Gott" }, "context": { "from": BUSINESS, "id": "wamid.zero" },
            }],
        }),
    );
    let seen = MessageSeen {
        whatsapp_id: "wamid.one".into(),
        at: at(1_801_000_100),
        author: Author::Customer,
        via: Via::Live,
        customer: Party {
            phone_number: Some("+436645550177".into()),
            user_id: Some(USER_ID.into()),
            parent_user_id: Some("AT.ENT.9900".into()),
            username: Some("elodie.g".into()),
            profile_name: Some("Élodie 🌵".into()),
        },
        content: text("Grüß Gott"),
        reply_to: Some("wamid.zero".into()),
        forwarded: false,
        status: None,
    };
    assert_eq!(only_message(&body), seen);
    assert_eq!(read(&body).fields, ["messages"]);
}

#[test]
fn a_customer_without_a_number_is_named_by_the_user_id_wherever_it_stands() {
    let by_user_id = Party { user_id: Some(USER_ID.into()), ..Party::default() };
    for named in [
        json!({ "from": USER_ID }),
        json!({ "from": "", "from_user_id": USER_ID }),
        json!({ "from": null, "from_user_id": USER_ID }),
        json!({ "from": "<PHONE>", "from_user_id": USER_ID }),
    ] {
        let message = merged(json!({ "type": "text", "text": { "body": "a" } }), named);
        assert_eq!(only_message(&incoming(message)).customer, by_user_id);
    }
    let by_contact = body(
        "messages",
        json!({
            "contacts": [{ "wa_id": "", "user_id": USER_ID }],
            "messages": [{ "id": "wamid.one", "type": "text", "text": { "body": "a" } }],
        }),
    );
    assert_eq!(only_message(&by_contact).customer, by_user_id);
    let parent =
        only_message(&incoming(json!({ "from": "AT.ENT.77", "type": "text", "text": { "body": "a" } })));
    assert_eq!(parent.customer, Party { parent_user_id: Some("AT.ENT.77".into()), ..Party::default() });
}

#[test]
fn a_message_of_nobody_is_unknown() {
    for from in
        [json!(null), json!(""), json!("<PHONE_NUMBER>"), json!("somebody"), json!("1.2.3"), json!({})]
    {
        let decoded = read(&incoming(json!({ "from": from, "type": "text", "text": { "body": "a" } })));
        assert_eq!(decoded.changes, []);
        assert_eq!(unknown(&decoded), [("messages.from", "nobody")]);
    }
}

#[test]
fn each_message_finds_its_own_contact() {
    let contact = |number: &str, name: &str| json!({ "wa_id": number, "profile": { "name": name } });
    let message = |from: &str| json!({ "from": from, "id": from, "type": "text", "text": { "body": "a" } });
    let names = |value: Value| -> Vec<Option<String>> {
        kinds(&body("messages", value))
            .into_iter()
            .map(|kind| if let ChangeKind::Message(seen) = kind { seen.customer.profile_name } else { None })
            .collect()
    };
    let two = json!({
        "contacts": [contact("43111000001", "Eins"), contact("43111000002", "Zwei")],
        "messages": [message("43111000002"), message("43111000001"), message("43111000003")],
    });
    assert_eq!(names(two), [Some("Zwei".into()), Some("Eins".into()), None]);
    // A single contact belongs to the single sender, even if the numbers differ …
    let single = json!({
        "contacts": [contact("5511987650001", "Única")], "messages": [message("551187650001"), message("551187650001")],
    });
    assert_eq!(names(single), [Some("Única".into()), Some("Única".into())]);
    // … but not to everybody.
    let mixed = json!({
        "contacts": [contact("43111000001", "Eins")], "messages": [message("43111000001"), message("43111000002")],
    });
    assert_eq!(names(mixed), [Some("Eins".into()), None]);
    let contradicting = json!({
        "contacts": [{ "user_id": "AT.1", "profile": { "name": "Eins" } }],
        "messages": [merged(message("43111000001"), json!({ "from_user_id": "AT.2" }))],
    });
    assert_eq!(names(contradicting), [None]);
}

#[test]
fn every_type_of_content_is_read() {
    let file = json!({ "id": "f1", "mime_type": "x/y", "sha256": "abc", "url": "https://files.test/1" });
    let media = |kind| Media {
        media: kind,
        upstream_id: Some("f1".into()),
        mime_type: Some("x/y".into()),
        sha256: Some("abc".into()),
        ..Media::default()
    };
    let with = |more| merged(file.clone(), more);
    for (sent, read) in [
        (
            json!({ "type": "text", "text": { "body": "a", "preview_url": true } }),
            Content::Text { body: "a".into(), preview_url: true },
        ),
        (
            json!({ "type": "image", "image": with(json!({ "caption": "c" })) }),
            Content::Media(Media { caption: Some("c".into()), ..media(MediaKind::Image) }),
        ),
        (json!({ "type": "video", "video": file }), Content::Media(media(MediaKind::Video))),
        (
            json!({ "type": "audio", "audio": with(json!({ "voice": true })) }),
            Content::Media(Media { voice: true, ..media(MediaKind::Audio) }),
        ),
        (
            json!({ "type": "voice", "voice": file }),
            Content::Media(Media { voice: true, ..media(MediaKind::Audio) }),
        ),
        (
            json!({ "type": "document", "document": with(json!({ "filename": "a.pdf" })) }),
            Content::Media(Media { filename: Some("a.pdf".into()), ..media(MediaKind::Document) }),
        ),
        (
            json!({ "type": "sticker", "sticker": with(json!({ "animated": true })) }),
            Content::Media(Media { animated: true, ..media(MediaKind::Sticker) }),
        ),
        (json!({ "type": "media_placeholder" }), Content::MediaPlaceholder),
        (
            json!({ "type": "location", "location": { "latitude": 48.2, "longitude": "16.37", "name": "Naschmarkt" } }),
            Content::Location {
                latitude: 48.2,
                longitude: 16.37,
                name: Some("Naschmarkt".into()),
                address: None,
                url: None,
            },
        ),
        (
            json!({ "type": "contacts", "contacts": [{
                "name": { "first_name": "Ida", "last_name": "Brandl" }, "org": { "company": "Brandl OG" },
                "phones": [{ "phone": "+43 1 555" }, { "wa_id": "431555" }, 7], "emails": [{ "email": "ida@brandl.test" }],
            }] }),
            Content::Contacts {
                data: None,
                cards: vec![Card {
                    formatted_name: "Ida Brandl".into(),
                    phones: vec!["+43 1 555".into(), "431555".into()],
                    emails: vec!["ida@brandl.test".into()],
                    organization: Some("Brandl OG".into()),
                }],
            },
        ),
        (
            json!({ "type": "order", "order": { "catalog_id": "1", "text": "Bitte", "product_items": [] } }),
            Content::Order {
                text: Some("Bitte".into()),
                data: json!({ "catalog_id": "1", "text": "Bitte", "product_items": [] }),
            },
        ),
    ] {
        assert_eq!(content(sent.clone()), read, "{sent}");
    }
}

#[test]
fn what_customers_choose_is_a_reply() {
    let reply = |reply: &str, id: Option<&str>, title: Option<&str>, description: Option<&str>, data| {
        Content::Reply {
            reply: reply.into(),
            id: id.map(Into::into),
            title: title.map(Into::into),
            description: description.map(Into::into),
            data,
        }
    };
    let form = |response: &str| {
        json!({ "type": "interactive", "interactive": {
            "type": "nfm_reply", "nfm_reply": { "name": "flow", "body": "Gesendet", "response_json": response },
        } })
    };
    for (sent, read) in [
        (json!({ "type": "button", "button": { "payload": "P", "text": "Ja" } }), {
            reply("button", Some("P"), Some("Ja"), None, None)
        }),
        (
            json!({ "type": "interactive", "interactive": {
                "type": "button_reply", "button_reply": { "id": "b1", "title": "Ja" },
            } }),
            reply("button_reply", Some("b1"), Some("Ja"), None, None),
        ),
        (
            json!({ "type": "interactive", "interactive": {
                "type": "list_reply", "list_reply": { "id": "l1", "title": "Rot", "description": "Größe M" },
            } }),
            reply("list_reply", Some("l1"), Some("Rot"), Some("Größe M"), None),
        ),
        (form(r#"{"flow_token":"t","n":"4"}"#), {
            reply("nfm_reply", None, Some("Gesendet"), None, Some(json!({ "flow_token": "t", "n": "4" })))
        }),
        (form("[1,2]"), reply("nfm_reply", None, Some("Gesendet"), None, Some(json!([1, 2])))),
        (form("not json"), reply("nfm_reply", None, Some("Gesendet"), None, Some(json!("not json")))),
        (form(r#"{"a":"\u0000"}"#), {
            reply("nfm_reply", None, Some("Gesendet"), None, Some(json!({ "a": "\u{fffd}" })))
        }),
        (
            json!({ "type": "interactive", "interactive": {
                "type": "call_permission_reply", "call_permission_reply": { "response": "accept" },
            } }),
            reply("call_permission_reply", None, None, None, Some(json!({ "response": "accept" }))),
        ),
    ] {
        assert_eq!(content(sent.clone()), read, "{sent}");
    }
}

#[test]
fn what_whatsapp_does_not_hand_over_is_still_a_message() {
    let errors = json!([{
        "code": 131060, "title": "t", "message": "m", "error_data": { "details": "Look at the phone" },
    }]);
    let unsupported =
        |wire_type: Option<&str>, code, details: Option<&str>, text: Option<&str>| Content::Unsupported {
            wire_type: wire_type.map(Into::into),
            code,
            details: details.map(Into::into),
            text: text.map(Into::into),
        };
    assert_eq!(
        content(
            json!({ "type": "unsupported", "errors": errors, "unsupported": { "type": "poll_creation" } })
        ),
        unsupported(Some("poll_creation"), Some(131_060), Some("Look at the phone"), None)
    );
    assert_eq!(
        content(json!({
            "type": "unsupported", "errors": [{ "code": "131051", "details": "d" }], "text": { "body": "Hallo" },
        })),
        unsupported(None, Some(131_051), Some("d"), Some("Hallo"))
    );
    assert_eq!(content(json!({ "type": "unknown" })), unsupported(None, None, None, None));
    assert_eq!(
        content(json!({ "type": "request_welcome" })),
        unsupported(Some("request_welcome"), None, None, None)
    );
}

#[test]
fn an_unknown_type_and_a_broken_one_are_told_and_still_messages() {
    let decoded = read(&incoming(json!({ "type": "hologram", "hologram": {} })));
    assert_eq!(unknown(&decoded), [("messages.type", "hologram")]);
    assert!(
        matches!(&message_of(&decoded).content, Content::Unsupported { wire_type: Some(word), .. } if word == "hologram")
    );
    for (sent, told) in [
        (json!({ "type": "image" }), ("messages.image", "missing")),
        (json!({ "type": "image", "image": "f1" }), ("messages.image", "string")),
        (json!({ "type": "text", "text": { "body": "" } }), ("messages.text", "object")),
        (json!({ "type": "location", "location": { "latitude": "north" } }), ("messages.location", "object")),
        (json!({ "type": "contacts", "contacts": [] }), ("messages.contacts", "list")),
        (json!({ "type": 5 }), ("messages.type", "5")),
        (json!({}), ("messages.type", "")),
    ] {
        let decoded = read(&incoming(sent.clone()));
        assert_eq!(unknown(&decoded), [told], "{sent}");
        assert!(matches!(message_of(&decoded).content, Content::Unsupported { .. }), "{sent}");
    }
    // Without a type, the object tells it.
    assert_eq!(content(json!({ "text": { "body": "a" } })), text("a"));
}

#[test]
fn a_message_without_an_id_is_unknown_only() {
    for id in [json!(""), json!(null), json!([]), json!("x".repeat(600))] {
        let decoded = read(&incoming(json!({ "id": id, "type": "text", "text": { "body": "a" } })));
        assert_eq!(decoded.changes, []);
        assert_eq!(unknown(&decoded), [("messages.id", "missing")]);
    }
}

#[test]
fn stamps_are_read_as_text_and_as_numbers() {
    let stamped = |stamp: Value| {
        let decoded = read(&incoming(json!({ "timestamp": stamp, "type": "text", "text": { "body": "a" } })));
        (
            message_of(&decoded).at,
            decoded.unknown.into_iter().map(|unknown| unknown.value).collect::<Vec<_>>(),
        )
    };
    for good in
        [json!("1801000100"), json!(1_801_000_100), json!(1_801_000_100.0), json!(1_801_000_100_000_i64)]
    {
        assert_eq!(stamped(good), (at(1_801_000_100), vec![]));
    }
    assert_eq!(stamped(json!("")), (None, vec![]));
    assert_eq!(stamped(json!(null)), (None, vec![]));
    for garbage in ["soon", "<TIMESTAMP>", "-5", "0"] {
        assert_eq!(stamped(json!(garbage)), (None, vec![garbage.to_owned()]));
    }
    assert_eq!(stamped(json!([1])), (None, vec!["list".to_owned()]));
}

#[test]
fn forwarded_messages_say_so() {
    for (context, forwarded, reply_to) in [
        (json!({ "forwarded": true }), true, None),
        (json!({ "frequently_forwarded": true }), true, None),
        (json!({ "forwarded": false, "id": "wamid.zero" }), false, Some("wamid.zero")),
        (json!("odd"), false, None),
    ] {
        let message = only_message(&incoming(json!({
            "type": "text", "text": { "body": "a" }, "context": context,
        })));
        assert_eq!((message.forwarded, message.reply_to.as_deref()), (forwarded, reply_to));
    }
}

#[test]
fn a_malformed_item_spoils_none_of_its_neighbours() {
    let decoded = read(&body(
        "messages",
        json!({
            "messages": [
                5, "text", null, [],
                { "from": CUSTOMER, "id": "wamid.one", "type": "text", "text": { "body": "a" } },
            ],
            "statuses": { "id": "wamid.two" },
            "novelty": [1],
        }),
    ));
    assert_eq!(message_of(&decoded).whatsapp_id, "wamid.one");
    assert_eq!(decoded.changes.len(), 1);
    let mut told = unknown(&decoded);
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("messages", "list"),
            ("messages", "null"),
            ("messages", "number"),
            ("messages", "string"),
            ("messages.value", "novelty"),
            ("statuses", "object"),
        ]
    );
    // Nesting that no reader follows, in one message of two.
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    let json = incoming(json!({ "type": "text", "text": { "body": "b" } })).to_string();
    let json = json.replace(r#""messages":[{"#, &format!(r#""messages":[{deep},{{"#));
    let decoded = decode(json.as_bytes());
    assert_eq!(decoded.error, None);
    assert_eq!(message_of(&decoded).content, text("b"));
    assert_eq!(unknown(&decoded), [("messages", "unreadable")]);
}

#[test]
fn entries_and_changes_stand_each_on_their_own() {
    let good = |id: &str| {
        json!({ "field": "messages", "value": { "metadata": metadata(), "messages": [
            { "from": CUSTOMER, "id": id, "type": "text", "text": { "body": "a" } },
        ] } })
    };
    let decoded = read(&json!({ "object": "whatsapp_business_account", "entry": [
        7,
        { "id": "1" },
        { "id": "2", "changes": {} },
        { "id": "3", "changes": [0, { "field": "messages", "value": "?" }, { "value": {} }, good("wamid.one")] },
        { "id": "4", "changes": [{ "field": "tea_leaves", "value": {} }, good("wamid.two")] },
    ] }));
    let seen: Vec<_> = decoded
        .changes
        .iter()
        .map(|change| match &change.kind {
            ChangeKind::Message(message) => (change.account.waba_id.as_deref(), message.whatsapp_id.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seen, [(Some("3"), "wamid.one"), (Some("4"), "wamid.two")]);
    assert_eq!(
        unknown(&decoded),
        [
            ("entry", "number"),
            ("entry.changes", "missing"),
            ("entry.changes", "object"),
            ("entry.changes", "number"),
            ("changes.value", "string"),
            ("changes.field", "missing"),
            ("changes.field", "tea_leaves"),
        ]
    );
    assert_eq!(decoded.fields, ["messages", "tea_leaves"]);
}

// --- actions

#[test]
fn edits_deletions_and_reactions_of_both_sides() {
    let sides = [
        (json!({ "from": CUSTOMER }), "messages", "messages", Author::Customer),
        (json!({ "from": BUSINESS, "to": CUSTOMER }), "smb_message_echoes", "message_echoes", Author::App),
    ];
    for (names, field, list, by) in sides {
        let send = |more: Value| {
            let message = merged(json!({ "id": "wamid.new", "timestamp": "1801000100" }), names.clone());
            only(&body(field, json!({ list: [merged(message, more)] })))
        };
        let customer = number(CUSTOMER);
        let (target, at) = ("wamid.old".to_owned(), at(1_801_000_100));
        assert_eq!(
            send(json!({ "type": "revoke", "revoke": { "original_message_id": "wamid.old" } })),
            ChangeKind::Delete(DeleteSeen {
                target: target.clone(),
                at,
                by,
                customer: customer.clone(),
                via: Via::Live,
            })
        );
        assert_eq!(
            send(json!({ "type": "edit", "edit": { "original_message_id": "wamid.old", "message": {
                "type": "text", "text": { "body": "neu" }, "context": { "id": "M0" },
            } } })),
            ChangeKind::Edit(Box::new(EditSeen {
                target: target.clone(),
                at,
                by,
                customer: customer.clone(),
                content: text("neu"),
                via: Via::Live,
            }))
        );
        let caption = Media { caption: Some("neu".into()), ..Media::default() };
        assert_eq!(
            send(json!({ "type": "edit", "edit": { "original_message_id": "wamid.old", "message": {
                "type": "image", "image": { "caption": "neu" },
            } } })),
            ChangeKind::Edit(Box::new(EditSeen {
                target: target.clone(),
                at,
                by,
                customer: customer.clone(),
                content: Content::Media(caption),
                via: Via::Live,
            }))
        );
        for (sent, emoji) in [
            (json!({ "message_id": "wamid.old", "emoji": "🌵" }), Some("🌵".to_owned())),
            (json!({ "message_id": "wamid.old", "emoji": "" }), None),
            (json!({ "message_id": "wamid.old" }), None),
        ] {
            assert_eq!(
                send(json!({ "type": "reaction", "reaction": sent })),
                ChangeKind::Reaction(ReactionSeen {
                    target: target.clone(),
                    at,
                    by,
                    customer: customer.clone(),
                    emoji,
                    via: Via::Live,
                })
            );
        }
    }
}

#[test]
fn actions_without_a_target_are_unknown() {
    for (sent, told) in [
        (json!({ "type": "revoke", "revoke": {} }), vec![("messages.revoke", "incomplete")]),
        (json!({ "type": "reaction", "reaction": "🌵" }), vec![("messages.reaction", "incomplete")]),
        (json!({ "type": "edit" }), vec![("messages.edit", "incomplete")]),
        (
            json!({ "type": "edit", "edit": { "original_message_id": "a", "message": { "type": "hologram" } } }),
            vec![("messages.edit.type", "hologram"), ("messages.edit", "incomplete")],
        ),
    ] {
        let decoded = read(&incoming(sent));
        assert_eq!(decoded.changes, []);
        assert_eq!(unknown(&decoded), told);
    }
}

// --- echoes

fn echo(more: Value) -> Value {
    let echo = json!({
        "from": BUSINESS, "to": CUSTOMER, "id": "wamid.e", "timestamp": "1801000100", "type": "text",
        "text": { "body": "Bis morgen" },
    });
    body("smb_message_echoes", json!({ "message_echoes": [merged(echo, more)] }))
}

#[test]
fn an_echo_is_the_apps_and_its_customer_is_the_recipient() {
    let message = only_message(&echo(json!({ "to_user_id": USER_ID })));
    assert_eq!((message.author, message.via), (Author::App, Via::Live));
    assert_eq!(message.customer, Party { user_id: Some(USER_ID.into()), ..number(CUSTOMER) });
    let hidden =
        only_message(&echo(json!({ "to": null, "to_user_id": USER_ID, "to_parent_user_id": "AT.ENT.9" })));
    assert_eq!(
        hidden.customer,
        Party { user_id: Some(USER_ID.into()), parent_user_id: Some("AT.ENT.9".into()), ..Party::default() }
    );
}

#[test]
fn an_echo_with_swapped_numbers_is_still_the_apps() {
    let message = only_message(&echo(json!({ "from": CUSTOMER, "to": BUSINESS })));
    assert_eq!((message.author, message.customer), (Author::App, number(CUSTOMER)));
}

#[test]
fn an_echo_to_nobody_is_told_twice() {
    let decoded = read(&echo(json!({ "to": "<TO>" })));
    assert_eq!(unknown(&decoded), [("message_echoes.to", "nobody")]);
    assert_eq!(message_of(&decoded).customer, Party::default());
}

#[test]
fn echoes_come_under_other_fields_and_beside_messages() {
    for field in ["message_echoes", "messages"] {
        let mut body = echo(json!({}));
        body["entry"][0]["changes"][0]["field"] = field.into();
        assert_eq!(only_message(&body).author, Author::App);
    }
    let both = kinds(&body(
        "messages",
        json!({
            "messages": [{ "from": CUSTOMER, "id": "wamid.in", "type": "text", "text": { "body": "a" } }],
            "message_echoes": [{ "from": BUSINESS, "to": CUSTOMER, "id": "wamid.out", "type": "text", "text": { "body": "b" } }],
            "statuses": [{ "id": "wamid.sent", "status": "sent", "recipient_id": CUSTOMER }],
            "calls": [{ "event": "connect" }],
        }),
    ));
    let authors: Vec<_> = both
        .iter()
        .filter_map(|kind| if let ChangeKind::Message(seen) = kind { Some(seen.author) } else { None })
        .collect();
    assert!(authors.contains(&Author::App) && authors.contains(&Author::Customer));
    assert!(both.iter().any(|kind| matches!(kind, ChangeKind::Status(_))));
    assert!(both.iter().any(|kind| matches!(kind, ChangeKind::Notice(notice) if notice.topic == "calls")));
    // In the list of incoming ones, the business's own message to a customer is no customer's.
    let own = only_message(&incoming(json!({
        "from": BUSINESS, "to": CUSTOMER, "type": "text", "text": { "body": "a" },
    })));
    assert_eq!((own.author, own.customer), (Author::App, number(CUSTOMER)));
}

#[test]
fn echoes_without_metadata_name_the_business_by_its_number() {
    let mut body = echo(json!({ "from": format!("+{BUSINESS}") }));
    body["entry"][0]["changes"][0]["value"].as_object_mut().unwrap().remove("metadata");
    let decoded = read(&body);
    assert_eq!(decoded.changes[0].account, Account { phone_number_id: None, ..account() });
    assert_eq!(message_of(&decoded).customer, number(CUSTOMER));
}

#[test]
fn what_the_business_offers_is_interactive() {
    let offered = json!({ "type": "button", "body": { "text": "Wann?" }, "action": { "buttons": [] } });
    let message = only_message(&echo(json!({ "type": "interactive", "interactive": offered })));
    assert_eq!(message.content, Content::Interactive { body: Some("Wann?".into()), data: offered });
    let template = json!({ "name": "hello", "language": { "code": "de" }, "components": [] });
    let message = only_message(&echo(json!({ "type": "template", "template": template })));
    assert_eq!(
        message.content,
        Content::Template { name: "hello".into(), language: "de".into(), components: json!([]), text: None }
    );
}

// --- statuses

#[test]
fn a_status_says_everything() {
    let body = body(
        "messages",
        json!({
            "contacts": [{ "wa_id": CUSTOMER, "user_id": USER_ID, "profile": { "name": "Élodie" } }],
            "statuses": [{
                "id": "wamid.s", "status": "failed", "timestamp": 1_801_000_100, "recipient_id": CUSTOMER,
                "biz_opaque_callback_data": "job 7", "conversation": { "id": "c" },
                "pricing": {
                    "billable": "true", "pricing_model": "PMP", "type": "regular", "category": "authentication-international",
                },
                "errors": [{ "code": 131026, "title": "No", "error_data": { "details": "Not on WhatsApp" } }],
            }],
        }),
    );
    let seen = StatusSeen {
        whatsapp_id: "wamid.s".into(),
        status: ReportedStatus::Failed,
        at: at(1_801_000_100),
        customer: Party {
            user_id: Some(USER_ID.into()),
            profile_name: Some("Élodie".into()),
            ..number(CUSTOMER)
        },
        error: Some(ReportedError {
            code: 131_026,
            title: "No".into(),
            details: Some("Not on WhatsApp".into()),
        }),
        pricing: Some(ReportedPricing {
            billable: Some(true),
            model: Some("PMP".into()),
            kind: Some("regular".into()),
            category: Some("authentication-international".into()),
        }),
        callback_data: Some("job 7".into()),
    };
    assert_eq!(only(&body), ChangeKind::Status(Box::new(seen)));
}

#[test]
fn statuses_of_every_word() {
    let send = |status: Value| {
        read(&body("messages", json!({ "statuses": [merged(json!({ "id": "wamid.s" }), status)] })))
    };
    for (word, status) in [
        ("sent", ReportedStatus::Sent),
        ("delivered", ReportedStatus::Delivered),
        ("READ", ReportedStatus::Read),
        ("played", ReportedStatus::Played),
        ("failed", ReportedStatus::Failed),
    ] {
        let decoded = send(json!({ "status": word }));
        assert!(matches!(&decoded.changes[0].kind, ChangeKind::Status(seen) if seen.status == status));
        assert_eq!(decoded.unknown, []);
    }
    for (status, told) in [
        (json!({ "status": "vanished" }), ("statuses.status", "vanished")),
        (json!({}), ("statuses.status", "")),
        (json!({ "status": "sent", "id": "" }), ("statuses.id", "missing")),
    ] {
        let decoded = send(status);
        assert_eq!(decoded.changes, []);
        assert_eq!(unknown(&decoded), [told]);
    }
}

#[test]
fn groups_are_left_out() {
    let group = |whatsapp_id: Option<&str>| {
        ChangeKind::Ignored(Ignored { whatsapp_id: whatsapp_id.map(Into::into), reason: IgnoreReason::Group })
    };
    let message = json!({ "group_id": "g1", "type": "text", "text": { "body": "a" } });
    assert_eq!(only(&incoming(message)), group(Some("wamid.one")));
    assert_eq!(only(&echo(json!({ "recipient_type": "group", "to": "g1" }))), group(Some("wamid.e")));
    for status in [
        json!({ "id": "wamid.s", "status": "read", "recipient_type": "group", "recipient_id": "g1" }),
        json!({ "id": "wamid.s", "status": "read", "recipient_participant_id": CUSTOMER }),
    ] {
        assert_eq!(only(&body("messages", json!({ "statuses": [status] }))), group(Some("wamid.s")));
    }
    let history = body(
        "history",
        json!({ "history": [{ "metadata": { "phase": 0, "progress": 1 }, "threads": [
            { "id": "436640001-1600000000@g.us", "messages": [{ "id": "wamid.h" }] },
        ] }] }),
    );
    assert_eq!(kinds(&history)[0], group(None));
    for field in ["group_settings_update", "group_lifecycle_update", "group_of_tomorrow"] {
        assert_eq!(only(&body(field, json!({ "groups": [{}] }))), group(None));
    }
    // An empty group id is none.
    only_message(&incoming(json!({ "group_id": "", "type": "text", "text": { "body": "a" } })));
}

// --- history

/// A chunk with one thread of one message.
fn old(thread: Value, message: Value) -> Value {
    let message = merged(json!({ "id": "wamid.h", "timestamp": "1790000000" }), message);
    let message = merged(json!({ "type": "text", "text": { "body": "alt" } }), message);
    body(
        "history",
        json!({ "history": [{
            "metadata": { "phase": 1, "chunk_order": 2, "progress": 40 },
            "threads": [merged(thread, json!({ "messages": [message] }))],
        }] }),
    )
}

#[test]
fn a_chunk_brings_its_messages_and_then_its_progress() {
    let body = body(
        "history",
        json!({ "history": [{
            "metadata": { "phase": "2", "chunk_order": "3", "progress": "100" },
            "threads": [{
                "id": CUSTOMER,
                "context": { "wa_id": CUSTOMER, "user_id": USER_ID, "username": "elodie.g" },
                "messages": [
                    { "from": BUSINESS, "to": CUSTOMER, "id": "wamid.a", "timestamp": "1790000000", "type": "text",
                      "text": { "body": "Ja" }, "history_context": { "status": "read" } },
                    { "from": CUSTOMER, "id": "wamid.b", "timestamp": "1790000010", "type": "media_placeholder",
                      "history_context": { "status": "PLAYED" } },
                    { "from": CUSTOMER, "id": "wamid.c", "timestamp": "1790000020", "type": "image",
                      "image": { "mime_type": "image/jpeg", "caption": "da" } },
                ],
            }, { "id": "43111000001", "messages": [] }],
        }] }),
    );
    let customer =
        Party { user_id: Some(USER_ID.into()), username: Some("elodie.g".into()), ..number(CUSTOMER) };
    let message = |id: &str, seconds, author, content, status| {
        ChangeKind::Message(Box::new(MessageSeen {
            whatsapp_id: id.into(),
            at: at(seconds),
            author,
            via: Via::History,
            customer: customer.clone(),
            content,
            reply_to: None,
            forwarded: false,
            status,
        }))
    };
    let described =
        Media { mime_type: Some("image/jpeg".into()), caption: Some("da".into()), ..Media::default() };
    assert_eq!(
        kinds(&body),
        [
            message("wamid.a", 1_790_000_000, Author::App, text("Ja"), Some(ReportedStatus::Read)),
            message(
                "wamid.b",
                1_790_000_010,
                Author::Customer,
                Content::MediaPlaceholder,
                Some(ReportedStatus::Played)
            ),
            message("wamid.c", 1_790_000_020, Author::Customer, Content::Media(described), None),
            ChangeKind::HistoryChunk(HistoryChunk { phase: 2, chunk_order: Some(3), progress: 100 }),
        ]
    );
}

#[test]
fn the_direction_of_old_messages() {
    let by_number = json!({ "id": CUSTOMER });
    let by_user_id = json!({ "context": { "user_id": USER_ID } });
    for (thread, names, author, certain) in [
        (&by_number, json!({ "from": BUSINESS }), Author::App, true),
        (&by_number, json!({ "from": "+49 (30) 555 00101" }), Author::App, true),
        (&by_number, json!({ "from": CUSTOMER }), Author::Customer, true),
        (&by_number, json!({ "from": CUSTOMER, "to": BUSINESS }), Author::Customer, true),
        (&by_number, json!({ "from": "43999000001" }), Author::Customer, true),
        (&by_number, json!({ "from": "43999000001", "to": CUSTOMER }), Author::App, true),
        (&by_user_id, json!({ "from": BUSINESS }), Author::App, true),
        (&by_user_id, json!({ "from": "43999000001", "from_user_id": USER_ID }), Author::Customer, true),
        (&by_user_id, json!({ "from": USER_ID }), Author::Customer, true),
        (&by_user_id, json!({ "from_user_id": USER_ID }), Author::Customer, true),
        (&by_user_id, json!({ "to_user_id": USER_ID }), Author::App, true),
        (&by_number, json!({ "to": CUSTOMER }), Author::App, true),
        (&by_number, json!({ "to": BUSINESS }), Author::Customer, true),
        (&by_number, json!({}), Author::Customer, false),
        (&json!({ "id": BUSINESS }), json!({ "from": BUSINESS }), Author::Customer, false),
        (&json!({ "id": BUSINESS }), json!({ "from": BUSINESS, "to": BUSINESS }), Author::App, true),
    ] {
        let decoded = read(&old(thread.clone(), names.clone()));
        assert_eq!(message_of(&decoded).author, author, "{thread} {names}");
        let told = if certain { vec![] } else { vec![("history.direction", "undecidable")] };
        assert_eq!(unknown(&decoded), told, "{thread} {names}");
        let customer = &message_of(&decoded).customer;
        assert!(customer.phone_number.is_some() || customer.user_id.is_some());
    }
    // Both sides masked alike, as in samples: nothing can be said, and nobody is named.
    let mut masked = old(json!({ "id": "xxxx" }), json!({ "from": "xxxx" }));
    masked["entry"][0]["changes"][0]["value"]["metadata"]["display_phone_number"] = "xxxx".into();
    let decoded = read(&masked);
    assert_eq!(unknown(&decoded), [("history.direction", "undecidable"), ("history.from", "nobody")]);
    assert_eq!(decoded.changes.len(), 1);
}

#[test]
fn old_customers_are_named_by_thread_context_and_message() {
    for (thread, names, customer) in [
        (json!({ "id": CUSTOMER }), json!({ "from": BUSINESS }), number(CUSTOMER)),
        (
            json!({ "id": USER_ID }),
            json!({ "from": BUSINESS }),
            Party { user_id: Some(USER_ID.into()), ..Party::default() },
        ),
        (json!({ "context": { "wa_id": CUSTOMER } }), json!({ "from": BUSINESS }), number(CUSTOMER)),
        (json!({}), json!({ "from": BUSINESS, "to": CUSTOMER }), number(CUSTOMER)),
        (
            json!({ "id": CUSTOMER }),
            json!({ "from": "43999000001", "from_user_id": USER_ID }),
            Party { user_id: Some(USER_ID.into()), ..number(CUSTOMER) },
        ),
    ] {
        assert_eq!(message_of(&read(&old(thread.clone(), names))).customer, customer, "{thread}");
    }
}

#[test]
fn old_statuses_in_any_case() {
    for (word, status) in [
        ("DELIVERED", ReportedStatus::Delivered),
        ("error", ReportedStatus::Failed),
        ("Pending", ReportedStatus::Pending),
        ("SENT", ReportedStatus::Sent),
    ] {
        let decoded = read(&old(
            json!({ "id": CUSTOMER }),
            json!({ "from": BUSINESS, "history_context": { "status": word } }),
        ));
        assert_eq!(message_of(&decoded).status, Some(status));
        assert_eq!(decoded.unknown, []);
    }
    let decoded = read(&old(
        json!({ "id": CUSTOMER }),
        json!({ "from": BUSINESS, "history_context": { "status": "LOST" } }),
    ));
    assert_eq!(message_of(&decoded).status, None);
    assert_eq!(unknown(&decoded), [("history.status", "LOST")]);
}

#[test]
fn reactions_edits_and_deletions_in_the_history() {
    let action = |more: Value| {
        let mut kinds = kinds(&old(json!({ "id": CUSTOMER }), merged(json!({ "from": CUSTOMER }), more)));
        kinds.remove(0)
    };
    let (target, at, by, customer) =
        ("wamid.t".to_owned(), at(1_790_000_000), Author::Customer, number(CUSTOMER));
    assert_eq!(
        action(json!({ "type": "reaction", "reaction": { "message_id": "wamid.t", "emoji": "🌵" } })),
        ChangeKind::Reaction(ReactionSeen {
            target: target.clone(),
            at,
            by,
            customer: customer.clone(),
            emoji: Some("🌵".into()),
            via: Via::History,
        })
    );
    assert_eq!(
        action(json!({ "type": "revoke", "revoke": { "original_message_id": "wamid.t" } })),
        ChangeKind::Delete(DeleteSeen { target, at, by, customer, via: Via::History })
    );
    assert!(matches!(
        action(json!({ "type": "edit", "edit": { "original_message_id": "wamid.t", "message": {
            "type": "text", "text": { "body": "b" },
        } } })),
        ChangeKind::Edit(_)
    ));
    assert!(matches!(
        action(
            json!({ "type": "system", "system": { "type": "user_changed_number", "wa_id": "43999000001" } })
        ),
        ChangeKind::Notice(_)
    ));
}

#[test]
fn later_media_of_the_history() {
    let image = json!({ "id": "f9", "mime_type": "image/png" });
    for (list, names, author) in [
        ("messages", json!({ "from": CUSTOMER }), Author::Customer),
        ("messages", json!({ "from": BUSINESS }), Author::App),
        ("message_echoes", json!({ "from": BUSINESS, "to": CUSTOMER }), Author::App),
    ] {
        let message = merged(json!({ "id": "wamid.m", "type": "image", "image": image }), names);
        let body = body("history", json!({ "contacts": [{ "wa_id": CUSTOMER }], list: [message] }));
        let message = only_message(&body);
        assert_eq!((message.via, message.author), (Via::History, author));
        assert_eq!(message.customer, number(CUSTOMER));
        assert!(matches!(message.content, Content::Media(media) if media.upstream_id.is_some()));
    }
    // Without a word of whom it went to, it can still fill its placeholder.
    let alone = json!({ "from": BUSINESS, "id": "wamid.m", "type": "image", "image": image });
    let decoded = read(&body("history", json!({ "messages": [alone] })));
    assert_eq!(
        (message_of(&decoded).author, &message_of(&decoded).customer),
        (Author::App, &Party::default())
    );
}

#[test]
fn a_declined_history_in_all_its_shapes() {
    let error = json!({
        "code": 2_593_109, "title": "off", "message": "off", "error_data": { "details": "not shared" },
    });
    let declined = ReportedError { code: 2_593_109, title: "off".into(), details: Some("not shared".into()) };
    let chunk = json!({ "errors": [error] });
    let with_metadata = json!({ "metadata": { "phase": 0, "progress": 0 }, "errors": [error] });
    for value in [
        json!({ "history": [chunk] }),
        json!({ "history": [with_metadata] }),
        json!({ "errors": [error] }),
        json!({ "history": [], "errors": [error] }),
    ] {
        assert_eq!(only(&body("history", value)), ChangeKind::HistoryDeclined(declined.clone()));
    }
    let bare = json!({ "messaging_product": "whatsapp", "metadata": metadata(), "history": [chunk] });
    let decoded = read(&bare);
    assert_eq!(decoded.fields, ["history"]);
    assert_eq!(
        decoded.changes,
        [Change {
            account: Account { waba_id: None, ..account() },
            kind: ChangeKind::HistoryDeclined(declined),
        }]
    );
    let other = only(&body("history", json!({ "history": [{ "errors": [{ "code": 5 }] }] })));
    assert!(matches!(other, ChangeKind::Notice(notice) if notice.topic == "history.errors"));
}

#[test]
fn odd_histories_are_unknown() {
    for (value, told) in [
        (json!({ "history": "none" }), vec![("history", "string")]),
        (json!({ "history": [1] }), vec![("history", "number")]),
        (json!({ "history": [{}] }), vec![("history.metadata", "incomplete")]),
        (json!({ "history": [{ "threads": 1, "metadata": { "phase": 0, "progress": 1 } }] }), {
            vec![("history.threads", "number")]
        }),
        (
            json!({ "history": [{ "threads": [1, { "messages": {} }, { "messages": [2] }] }] }),
            vec![
                ("history.threads", "number"),
                ("history.messages", "object"),
                ("history.messages", "number"),
                ("history.metadata", "incomplete"),
            ],
        ),
    ] {
        assert_eq!(unknown(&read(&body("history", value))), told);
    }
    // Progress without a phase is progress, but its place in the phase says nothing.
    let decoded = read(&body(
        "history",
        json!({ "history": [{ "metadata": { "chunk_order": 4, "progress": 100 }, "threads": [] }] }),
    ));
    assert_eq!(
        decoded.changes[0].kind,
        ChangeKind::HistoryChunk(HistoryChunk { phase: 0, chunk_order: None, progress: 100 })
    );
}

// --- people

#[test]
fn the_phone_book() {
    let body = body(
        "smb_app_state_sync",
        json!({ "state_sync": [
            { "type": "contact", "action": "add", "contact": {
                "full_name": "Élodie Gruber", "first_name": "Élodie", "phone_number": "+43 664 555-0177",
                "user_id": USER_ID, "username": "elodie.g",
            }, "metadata": { "timestamp": "1801000100" } },
            { "type": "contact", "action": "remove", "contact": { "user_id": USER_ID }, "metadata": {} },
        ] }),
    );
    let added = PhoneBookSeen {
        party: Party { user_id: Some(USER_ID.into()), username: Some("elodie.g".into()), ..number(CUSTOMER) },
        present: true,
        full_name: Some("Élodie Gruber".into()),
        first_name: Some("Élodie".into()),
        at: at(1_801_000_100),
    };
    let removed = PhoneBookSeen {
        party: Party { user_id: Some(USER_ID.into()), ..Party::default() },
        present: false,
        full_name: None,
        first_name: None,
        at: None,
    };
    assert_eq!(kinds(&body), [ChangeKind::PhoneBook(added), ChangeKind::PhoneBook(removed)]);
    let odd = read(&self::body(
        "smb_app_state_sync",
        json!({ "state_sync": [
            { "type": "label", "action": "add" },
            { "type": "contact", "action": "frame", "contact": { "phone_number": CUSTOMER } },
            { "type": "contact", "action": "add", "contact": { "phone_number": "xxxx", "full_name": "X" } },
            { "type": "contact", "action": "add" },
        ] }),
    ));
    assert_eq!(odd.changes, []);
    assert_eq!(
        unknown(&odd),
        [
            ("state_sync.type", "label"),
            ("state_sync.action", "frame"),
            ("state_sync.contact", "nobody"),
            ("state_sync.contact", "nobody"),
        ]
    );
}

#[test]
fn changed_numbers_and_user_ids() {
    let system = |message: Value, system: Value| {
        only(&incoming(merged(message, json!({ "type": "system", "system": system }))))
    };
    let user = |id: &str| Party { user_id: Some(id.into()), ..Party::default() };
    let identity = |before, after, at| ChangeKind::Identity(IdentitySeen { before, after, at });
    let stamp = at(1_801_000_100);
    assert_eq!(
        system(
            json!({}),
            json!({
                "body": "X changed", "type": "user_changed_number", "wa_id": "436645550188", "user_id": "AT.2",
            })
        ),
        identity(number(CUSTOMER), Party { user_id: Some("AT.2".into()), ..number("436645550188") }, stamp)
    );
    assert_eq!(
        system(json!({}), json!({ "type": "customer_changed_number", "new_wa_id": "436645550188" })),
        identity(number(CUSTOMER), number("436645550188"), stamp)
    );
    assert_eq!(
        system(
            json!({ "from": null, "timestamp": null }),
            json!({
                "type": "user_changed_user_id", "previous_user_id": "AT.1", "user_id": "AT.2",
            })
        ),
        identity(user("AT.1"), user("AT.2"), None)
    );
    let update = body(
        "user_id_update",
        json!({ "user_id_update": [{
            "wa_id": CUSTOMER, "timestamp": "1801000100", "user_id": { "previous": "AT.1", "current": "AT.2" },
            "parent_user_id": { "previous": "AT.ENT.1", "current": "AT.ENT.2" },
        }] }),
    );
    assert_eq!(
        only(&update),
        identity(
            Party { parent_user_id: Some("AT.ENT.1".into()), ..user("AT.1") },
            Party {
                user_id: Some("AT.2".into()),
                parent_user_id: Some("AT.ENT.2".into()),
                ..number(CUSTOMER)
            },
            stamp
        )
    );
    assert!(matches!(
        system(json!({}), json!({ "type": "customer_identity_changed" })),
        ChangeKind::Notice(notice) if notice.topic == "messages.system.customer_identity_changed"
    ));
    for (system, told) in [
        (json!({ "type": "user_grew_wings" }), ("messages.system.type", "user_grew_wings")),
        (json!({ "type": "user_changed_number", "wa_id": "<NEW>" }), ("messages.system", "nobody")),
        (json!(null), ("messages.system.type", "")),
    ] {
        let decoded = read(&incoming(json!({ "type": "system", "system": system })));
        assert_eq!(decoded.changes, []);
        assert_eq!(unknown(&decoded), [told]);
    }
}

// --- the account

#[test]
fn events_of_the_account() {
    let account_at = |event, value: Value| {
        let decoded = read(&bare("account_update", merged(json!({ "event": event }), value)));
        assert_eq!(unknown(&decoded), []);
        let change = decoded.changes.into_iter().next().unwrap();
        match change.kind {
            ChangeKind::Account(AccountSeen { event, at: stamp }) => {
                assert_eq!(stamp, at(1_801_000_000));
                (change.account, event)
            }
            other => panic!("{other:?}"),
        }
    };
    let of_entry = Account { waba_id: Some("880100200300400".into()), ..Account::default() };
    let of_info = Account { waba_id: Some("9100".into()), ..Account::default() };
    let info = json!({ "waba_info": { "waba_id": "9100", "owner_business_id": "5" } });
    assert_eq!(account_at("PARTNER_ADDED", info.clone()), (of_info.clone(), AccountEvent::PartnerAdded));
    assert_eq!(
        account_at(
            "PARTNER_REMOVED",
            merged(
                info,
                json!({ "disconnection_info": { "reason": "PRIMARY_INACTIVITY", "initiated_by": "SYSTEM" } })
            )
        ),
        (
            of_info,
            AccountEvent::PartnerRemoved {
                reason: Some("PRIMARY_INACTIVITY".into()),
                initiated_by: Some("SYSTEM".into()),
            }
        )
    );
    assert_eq!(
        account_at("PARTNER_REMOVED", json!({ "phone_number": "493055500101" })),
        (
            Account { phone_number: Some("+493055500101".into()), ..of_entry.clone() },
            AccountEvent::PartnerRemoved { reason: None, initiated_by: None }
        )
    );
    for (word, event) in [
        ("ACCOUNT_OFFBOARDED", AccountEvent::Offboarded),
        ("account_reconnected", AccountEvent::Reconnected),
        ("ACCOUNT_DELETED", AccountEvent::Deleted),
    ] {
        assert_eq!(account_at(word, json!({})), (of_entry.clone(), event));
    }
    assert_eq!(
        account_at("DISABLED_UPDATE", json!({ "ban_info": { "waba_ban_state": "REINSTATE" } })).1,
        AccountEvent::Ban { state: "REINSTATE".into() }
    );
    assert_eq!(
        account_at(
            "ACCOUNT_RESTRICTION",
            json!({ "restriction_info": [
            { "restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": 1_802_000_000 },
            { "restriction_type": "RESTRICTED_ADD_PHONE_NUMBER_ACTION" },
        ] })
        )
        .1,
        AccountEvent::Restricted {
            restrictions: vec![
                Restriction { kind: "RESTRICTED_BIZ_INITIATED_MESSAGING".into(), until: at(1_802_000_000) },
                Restriction { kind: "RESTRICTED_ADD_PHONE_NUMBER_ACTION".into(), until: None },
            ],
        }
    );
}

#[test]
fn the_fields_of_a_phone_change_come_in_several_spellings() {
    for (field, expected) in [
        ("account_offboarded", AccountEvent::Offboarded),
        ("ACCOUNT_OFFBOARDED", AccountEvent::Offboarded),
        ("account_reconnected", AccountEvent::Reconnected),
    ] {
        for body in [body(field, json!({})), body(field, json!({ "event": "whatever" }))] {
            assert!(
                matches!(only(&body), ChangeKind::Account(AccountSeen { event, .. }) if event == expected)
            );
        }
    }
    let named = body(
        "phone_number_name_update",
        json!({ "decision": "APPROVED", "requested_verified_name": "Kakteen Gruber", "rejection_reason": null }),
    );
    assert!(matches!(
        only(&named),
        ChangeKind::Account(AccountSeen { event: AccountEvent::DisplayName { decision, name: Some(_) }, .. })
            if decision == "APPROVED"
    ));
}

#[test]
fn known_fields_without_effect_are_notices_without_words() {
    for field in ["security", "account_alerts", "account_review_update", "flows", "standby"] {
        let value = json!({ "event": "E", "messages": [{ "text": { "body": "geheim" } }] });
        match only(&body(field, value)) {
            ChangeKind::Notice(Notice { topic, at: stamp, detail }) => {
                assert_eq!((topic.as_str(), stamp), (field, at(1_801_000_000)));
                assert_eq!(detail, json!({ "event": "E" }));
            }
            other => panic!("{other:?}"),
        }
    }
    let violation =
        only(&body("account_update", json!({ "event": "ACCOUNT_VIOLATION", "violation_info": {} })));
    assert!(
        matches!(violation, ChangeKind::Notice(notice) if notice.topic == "account_update.ACCOUNT_VIOLATION")
    );
    let errors = only(&body("messages", json!({ "errors": [{ "code": 130_429, "title": "Rate" }] })));
    assert!(matches!(errors, ChangeKind::Notice(notice) if notice.topic == "errors"));
    let decoded = read(&bare("account_update", json!({ "event": "ACCOUNT_SANG" })));
    assert_eq!(unknown(&decoded), [("account_update.event", "ACCOUNT_SANG")]);
}

#[test]
fn what_becomes_of_a_template_is_read_by_what_is_told() {
    let named = |extra: Value| {
        let mut value = json!({ "message_template_id": 4401, "message_template_name": "offer",
            "message_template_language": "de" });
        value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        value
    };
    let news = |field: &str, extra: Value| match only(&body(field, named(extra))) {
        ChangeKind::Template(seen) => {
            assert_eq!((seen.upstream_id.as_str(), seen.at), ("4401", at(1_801_000_000)));
            assert_eq!((seen.name.as_deref(), seen.language.as_deref()), (Some("offer"), Some("de")));
            seen.news
        }
        other => panic!("{other:?}"),
    };
    let status = |status: Option<&str>, category: Option<&str>, reason: Option<&str>| TemplateNews::Status {
        status: status.map(str::to_owned),
        category: category.map(str::to_owned),
        reason: reason.map(str::to_owned),
    };
    let field = "message_template_status_update";
    let approved = json!({ "event": "APPROVED", "reason": "NONE", "message_template_category": "UTILITY" });
    assert_eq!(news(field, approved), status(Some("APPROVED"), Some("UTILITY"), None));
    let rejected = json!({ "event": "REJECTED", "reason": "INVALID_FORMAT",
        "rejection_info": { "reason": "Too short.", "recommendation": "Say more." } });
    let why = "INVALID_FORMAT: Too short.: Say more.";
    assert_eq!(news(field, rejected), status(Some("REJECTED"), None, Some(why)));
    let paused = json!({ "event": "PAUSED", "reason": null, "other_info": { "title": "FIRST_PAUSE" } });
    assert_eq!(news(field, paused), status(Some("PAUSED"), None, Some("FIRST_PAUSE")));
    assert_eq!(news(field, json!({ "event": "REINSTATED" })), status(Some("APPROVED"), None, None));
    assert_eq!(news(field, json!({ "event": "FLAGGED" })), status(None, None, Some("FLAGGED")));
    // A new word is a status all the same.
    assert_eq!(news(field, json!({ "event": "SANG" })), status(Some("SANG"), None, None));
    // Meta's own sample stands under the wrong field.
    let quality = json!({ "previous_quality_score": "GREEN", "new_quality_score": "RED" });
    for field in ["message_template_quality_update", field] {
        assert_eq!(news(field, quality.clone()), TemplateNews::Quality("RED".into()));
    }
    let field = "template_category_update";
    let done = json!({ "previous_category": "UTILITY", "new_category": "MARKETING" });
    assert_eq!(news(field, done), TemplateNews::Category("MARKETING".into()));
    let coming = json!({ "new_category": "UTILITY", "correct_category": "MARKETING",
        "category_update_timestamp": 1_801_086_400 });
    let from = at(1_801_086_400);
    assert_eq!(news(field, coming), TemplateNews::NextCategory { category: "MARKETING".into(), from });
    let words = json!({ "message_template_element": "Hallo {{1}}" });
    assert_eq!(news("message_template_components_update", words), TemplateNews::Components);
    let decoded = read(&body("message_template_status_update", json!({ "event": "APPROVED" })));
    assert_eq!(unknown(&decoded), [("message_template_status_update.message_template_id", "missing")]);
}

#[test]
fn who_wants_no_marketing_is_read_from_all_items() {
    let value = json!({
        "metadata": { "phone_number_id": "7001" },
        "contacts": [{ "wa_id": "436645550177", "user_id": "AT.1", "profile": { "name": "Elodie" } }],
        "user_preferences": [
            { "wa_id": "436645550177", "category": "marketing_messages", "value": "stop",
              "timestamp": 1_801_000_100 },
            { "user_id": "AT.2", "category": "marketing_messages", "value": "resume", "timestamp": 1_801_000_101 },
            { "wa_id": "436645550178", "category": "marketing_messages", "value": "signup", "signup_id": "1" },
            { "wa_id": "436645550178", "category": "weather", "value": "stop" },
            { "wa_id": "436645550178", "category": "marketing_messages", "value": "hum" },
            { "category": "marketing_messages", "value": "stop" }] });
    let decoded = read(&body("user_preferences", value));
    let seen: Vec<Value> = decoded
        .changes
        .iter()
        .map(|change| match &change.kind {
            ChangeKind::Preference(seen) => {
                let Party { phone_number, user_id, .. } = &seen.customer;
                json!([phone_number, user_id, seen.stopped, seen.at.map(Timestamp::seconds)])
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        seen,
        [
            json!(["+436645550177", "AT.1", true, 1_801_000_100]),
            json!([null, "AT.2", false, 1_801_000_101]),
            json!(["+436645550178", null, false, null]),
        ]
    );
    assert_eq!(
        unknown(&decoded),
        [
            ("user_preferences.category", "weather"),
            ("user_preferences.value", "hum"),
            ("user_preferences", "nobody")
        ]
    );
}

#[test]
fn what_a_message_costs_is_read_in_all_its_shapes() {
    let pricing = |pricing: Value| {
        let status = json!({ "id": "wamid.a", "status": "sent", "pricing": pricing });
        match only(&body("messages", json!({ "statuses": [status] }))) {
            ChangeKind::Status(seen) => seen.pricing.unwrap().billable,
            other => panic!("{other:?}"),
        }
    };
    for (shape, billable) in [
        (json!({ "billable": true, "pricing_model": "CBP", "category": "marketing" }), Some(true)),
        (json!({ "billable": false, "pricing_model": "PMP", "type": "free_customer_service" }), Some(false)),
        (json!({ "billable": true, "pricing_model": "PMP", "type": "regular" }), Some(true)),
        // Without the flag, which is to go: the type says the same.
        (json!({ "pricing_model": "PMP", "type": "regular", "category": "service" }), Some(true)),
        (json!({ "type": "free_customer_service" }), Some(false)),
        (json!({ "type": "free_entry_point" }), Some(false)),
        (json!({ "type": "sung" }), None),
        (json!({ "category": "service" }), None),
    ] {
        assert_eq!(pricing(shape.clone()), billable, "{shape}");
    }
}

#[test]
fn a_message_with_words_and_errors_is_both() {
    let kinds =
        kinds(&incoming(json!({ "type": "text", "text": { "body": "a" }, "errors": [{ "code": 1 }] })));
    assert!(matches!(&kinds[0], ChangeKind::Notice(notice) if notice.topic == "messages.errors"));
    assert!(matches!(&kinds[1], ChangeKind::Message(_)));
}

// --- the envelope

#[test]
fn a_misplaced_field_is_found() {
    let event = json!({ "event": "PARTNER_ADDED", "waba_info": { "waba_id": "9100" } });
    for body in [
        json!({ "entry": [{ "id": "1", "field": "account_update", "changes": [{ "value": event }] }] }),
        json!({ "entry": [{ "id": "1", "changes": [{ "value": merged(event.clone(), json!({ "field": "account_update" })) }] }] }),
        json!({ "entry": [{ "id": "1", "changes": [{ "value": event }] }] }),
        json!({ "field": "account_update", "value": event }),
    ] {
        let decoded = read(&body);
        assert_eq!(decoded.fields, ["account_update"], "{body}");
        assert_eq!(unknown(&decoded), []);
        assert!(matches!(decoded.changes[0].kind, ChangeKind::Account(_)));
    }
}

#[test]
fn what_led_a_customer_here_is_kept_beside_the_message() {
    let message = |more: Value| {
        let message = merged(
            json!({ "from": CUSTOMER, "id": "wamid.ad", "timestamp": "1801000100", "type": "text" }),
            more,
        );
        body("messages", json!({ "messages": [merged(message, json!({ "text": { "body": "Hallo" } }))] }))
    };
    for (more, topic) in [
        (json!({ "referral": { "source_type": "ad", "source_id": "7" } }), "messages.referral"),
        (json!({ "context": { "referred_product": { "catalog_id": "7" } } }), "messages.referred_product"),
    ] {
        let kinds = kinds(&message(more));
        assert!(matches!(&kinds[0], ChangeKind::Notice(notice) if notice.topic == topic), "{kinds:?}");
        assert!(matches!(&kinds[1], ChangeKind::Message(_)), "{kinds:?}");
    }
    assert_eq!(kinds(&message(json!({}))).len(), 1);
}

#[test]
fn nothing_to_act_on_is_said_to_be_so() {
    let empty = ChangeKind::Ignored(Ignored { whatsapp_id: None, reason: IgnoreReason::Empty });
    for value in
        [json!({}), json!({ "messages": [] }), json!({ "statuses": [], "contacts": [{ "wa_id": CUSTOMER }] })]
    {
        assert_eq!(only(&body("messages", value)), empty);
    }
    for body in [json!({ "entry": [] }), json!({ "entry": [{ "id": "1", "changes": [] }] })] {
        assert_eq!(read(&body).changes, [Change { account: Account::default(), kind: empty.clone() }]);
    }
}

#[test]
fn only_what_is_no_webhook_is_an_error() {
    for body in
        ["", "{", "null", "[]", "7", "\"entry\"", "{}", r#"{"hello":"world"}"#, r#"{"entry":{}}"#, "\u{7f}"]
    {
        let decoded = decode(body.as_bytes());
        assert!(decoded.error.is_some(), "{body}");
        assert_eq!((decoded.changes.len(), decoded.unknown.len()), (0, 0), "{body}");
    }
    let other = read(&json!({ "object": "lighthouse", "entry": [] }));
    assert_eq!(unknown(&other), [("object", "lighthouse")]);
}

#[test]
fn text_that_no_database_takes_is_mended() {
    let json = incoming(json!({ "type": "text", "text": { "body": "BODY" } })).to_string();
    let sent = json.replace("BODY", r"cut \ud83c, zero \u0000, whole \ud83c\udf35");
    let decoded = decode(sent.as_bytes());
    assert_eq!(message_of(&decoded).content, text("cut \u{fffd}, zero \u{fffd}, whole 🌵"));
    let mut broken = json.replace("BODY", "a?b").into_bytes();
    let at = broken.iter().position(|byte| *byte == b'?').unwrap();
    broken[at] = 0xff;
    assert_eq!(message_of(&decode(&broken)).content, text("a\u{fffd}b"));
    let marked = format!("\u{feff}{json}");
    assert_eq!(message_of(&decode(marked.as_bytes())).content, text("BODY"));
}

#[test]
fn unknown_words_are_cut() {
    let decoded = read(&bare(&"é".repeat(100), json!({})));
    assert_eq!(decoded.unknown[0].value.chars().count(), 64);
}

#[test]
fn thousands_of_old_messages_in_one_body() {
    let messages: Vec<Value> = (0..10_000)
        .map(|n| {
            json!({
                "from": if n % 2 == 0 { BUSINESS } else { CUSTOMER }, "id": format!("wamid.{n}"),
                "timestamp": (1_790_000_000 + n).to_string(), "type": "text", "text": { "body": format!("Nummer {n}") },
                "history_context": { "status": "READ" },
            })
        })
        .collect();
    let body = body(
        "history",
        json!({ "history": [{
            "metadata": { "phase": 0, "chunk_order": 0, "progress": 100 },
            "threads": [{ "id": CUSTOMER, "messages": messages }],
        }] }),
    );
    assert_eq!(kinds(&body).len(), 10_001);
}

// --- anything at all

/// What must hold for any body.
fn holds(body: &[u8]) {
    let decoded = decode(body);
    assert!(
        !decoded.changes.is_empty() || !decoded.unknown.is_empty() || decoded.error.is_some(),
        "silent about {}",
        String::from_utf8_lossy(body)
    );
    assert!(decoded.error.is_none() || decoded.changes.is_empty());
    let again = decode(body);
    assert_eq!((decoded.changes, decoded.unknown), (again.changes, again.unknown));
    let line = crate::upstream::meta::check::check_line("body.json", body);
    assert!(line["changes"].is_array());
}

/// Words that lead into every branch.
const WORDS: &[&str] = &[
    "object",
    "entry",
    "id",
    "time",
    "changes",
    "field",
    "value",
    "metadata",
    "display_phone_number",
    "contacts",
    "messages",
    "message_echoes",
    "statuses",
    "history",
    "threads",
    "context",
    "state_sync",
    "user_id_update",
    "errors",
    "code",
    "type",
    "from",
    "to",
    "from_user_id",
    "to_user_id",
    "wa_id",
    "user_id",
    "timestamp",
    "text",
    "body",
    "image",
    "interactive",
    "nfm_reply",
    "response_json",
    "reaction",
    "message_id",
    "edit",
    "message",
    "revoke",
    "original_message_id",
    "system",
    "status",
    "recipient_id",
    "phase",
    "progress",
    "chunk_order",
    "contact",
    "action",
    "phone_number",
    "event",
    "waba_info",
    "waba_id",
    "restriction_info",
    "location",
    "latitude",
    "profile",
    "name",
    "smb_message_echoes",
    "smb_app_state_sync",
    "account_update",
    "PARTNER_ADDED",
    "ACCOUNT_RESTRICTION",
    "sent",
    "add",
    "user_changed_number",
    "group_id",
    "1801000100",
    "+43 664 5550177",
    "AT.1",
    "AT.ENT.1",
    "button_reply",
    "phones",
    "history_context",
    "calls",
    "user_preferences",
    "",
    "2593109",
    "unsupported",
    "media_placeholder",
    "previous",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![8 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()]
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        2 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        6 => word().prop_map(Value::String),
    ];
    leaf.prop_recursive(7, 80, 7, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            5 => prop::collection::vec((word(), inner), 0..7).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Bodies of every kind, to be spoilt.
fn samples() -> Vec<Value> {
    vec![
        incoming(
            json!({ "type": "text", "text": { "body": "a" }, "context": { "id": "b" }, "errors": [{ "code": 1 }] }),
        ),
        incoming(
            json!({ "type": "interactive", "interactive": { "type": "nfm_reply", "nfm_reply": { "response_json": "{}" } } }),
        ),
        incoming(
            json!({ "type": "contacts", "contacts": [{ "name": { "formatted_name": "I" }, "phones": [{ "phone": "1" }] }] }),
        ),
        incoming(
            json!({ "type": "system", "system": { "type": "user_changed_number", "wa_id": "43999000001" } }),
        ),
        echo(
            json!({ "type": "edit", "edit": { "original_message_id": "a", "message": { "type": "image", "image": {} } } }),
        ),
        old(json!({ "id": CUSTOMER, "context": { "user_id": USER_ID } }), json!({ "from": CUSTOMER })),
        body(
            "messages",
            json!({ "contacts": [{ "wa_id": CUSTOMER }], "statuses": [{ "id": "a", "status": "sent", "pricing": {} }] }),
        ),
        body(
            "smb_app_state_sync",
            json!({ "state_sync": [{ "type": "contact", "action": "add", "contact": { "phone_number": CUSTOMER } }] }),
        ),
        body(
            "user_id_update",
            json!({ "user_id_update": [{ "user_id": { "previous": "AT.1", "current": "AT.2" } }] }),
        ),
        bare(
            "account_update",
            json!({ "event": "ACCOUNT_RESTRICTION", "restriction_info": [{ "restriction_type": "R" }] }),
        ),
        json!({ "metadata": metadata(), "history": [{ "errors": [{ "code": 2_593_109 }] }] }),
    ]
}

/// Every place in a value, as a path of steps.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    if let Value::Object(map) = value {
        for (key, value) in map {
            places(value, &format!("{here}/{key}"), found);
        }
    }
    if let Value::Array(list) = value {
        for (index, value) in list.iter().enumerate() {
            places(value, &format!("{here}/{index}"), found);
        }
    }
}

#[test]
fn samples_with_every_single_part_spoilt() {
    let spoilt = [
        json!(null),
        json!(""),
        json!(0),
        json!(-1.5),
        json!(true),
        json!([]),
        json!({}),
        json!([[1]]),
        json!("x"),
    ];
    for sample in samples() {
        holds(sample.to_string().as_bytes());
        let mut found = Vec::new();
        places(&sample, "", &mut found);
        for place in found {
            for other in &spoilt {
                let mut sample = sample.clone();
                *sample.pointer_mut(&place).unwrap() = other.clone();
                holds(sample.to_string().as_bytes());
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        holds(&bytes);
    }

    #[test]
    fn any_json(value in anything()) {
        holds(value.to_string().as_bytes());
    }

    #[test]
    fn any_json_in_an_envelope(field in word(), value in anything()) {
        holds(bare(&field, value).to_string().as_bytes());
    }

    #[test]
    fn any_items_of_any_list(
        list in prop::sample::select(&LISTS[..]),
        items in prop::collection::vec(anything(), 0..4),
    ) {
        holds(body("messages", json!({ list: items })).to_string().as_bytes());
    }

    #[test]
    fn any_change_of_bytes(
        sample in prop::sample::select(samples()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = sample.to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        holds(&bytes);
    }

    /// What is odd in one change leaves what its neighbours say.
    #[test]
    fn neighbours_of_anything_are_told(odd in anything()) {
        let good = incoming(json!({ "type": "text", "text": { "body": "a" } }));
        let alone = decode(good.to_string().as_bytes()).changes;
        let mut crowded = good;
        let change = crowded["entry"][0]["changes"][0].clone();
        crowded["entry"][0]["changes"] = json!([odd, change, odd]);
        let decoded = decode(crowded.to_string().as_bytes());
        prop_assert!(decoded.changes.contains(&alone[0]));
    }
}

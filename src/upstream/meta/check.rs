//! What a body would do, told to an operator: one JSON object for each file. No message text, no names, and no
//! number of a customer, so that it can be pasted into a report.

use chrono::{DateTime, SecondsFormat};
use entity::Timestamp;
use serde_json::{Map, Value, json};

use super::webhook::decode;
use crate::messages::content::{Content, MediaKind};
use crate::upstream::change::{AccountEvent, Change, ChangeKind, Decoded, Party, TemplateNews};

/// What `decode` makes of `body`, the content of `file`.
pub fn check_line(file: &str, body: &[u8]) -> Value {
    let Decoded { fields, changes, unknown, error } = decode(body);
    let changes: Vec<Value> = changes.iter().map(line).collect();
    json!({ "file": file, "fields": fields, "changes": changes, "unknown": unknown, "error": error })
}

fn line(change: &Change) -> Value {
    let (kind, whatsapp_id, rest) = told(&change.kind);
    let mut line = Map::new();
    line.insert("kind".into(), kind.into());
    line.insert("whatsappId".into(), whatsapp_id.into());
    line.insert("phoneNumberId".into(), change.account.phone_number_id.clone().into());
    line.insert("wabaId".into(), change.account.waba_id.clone().into());
    if let Value::Object(rest) = rest {
        line.extend(rest);
    }
    Value::Object(line)
}

/// The word for a change, the message it is about, and what else may be shown of it.
fn told(kind: &ChangeKind) -> (&'static str, Option<&str>, Value) {
    match kind {
        ChangeKind::Message(seen) => {
            let rest = json!({
                "via": seen.via, "author": seen.author, "type": content_kind(&seen.content), "at": at(seen.at),
                "status": seen.status, "hasText": has_text(&seen.content), "replyTo": seen.reply_to,
                "forwarded": seen.forwarded, "customerBy": named_by(&seen.customer),
            });
            ("message", Some(&seen.whatsapp_id), rest)
        }
        ChangeKind::Status(seen) => {
            let rest = json!({
                "status": seen.status, "at": at(seen.at), "errorCode": seen.error.as_ref().map(|error| error.code),
                "pricing": seen.pricing, "customerBy": named_by(&seen.customer),
            });
            ("status", Some(&seen.whatsapp_id), rest)
        }
        ChangeKind::Edit(seen) => {
            let rest = json!({
                "author": seen.by, "type": content_kind(&seen.content), "at": at(seen.at),
                "hasText": has_text(&seen.content), "customerBy": named_by(&seen.customer),
            });
            ("edit", Some(&seen.target), rest)
        }
        ChangeKind::Delete(seen) => {
            let rest =
                json!({ "author": seen.by, "at": at(seen.at), "customerBy": named_by(&seen.customer) });
            ("delete", Some(&seen.target), rest)
        }
        ChangeKind::Reaction(seen) => {
            let rest = json!({
                "via": seen.via, "author": seen.by, "at": at(seen.at), "removed": seen.emoji.is_none(),
                "customerBy": named_by(&seen.customer),
            });
            ("reaction", Some(&seen.target), rest)
        }
        ChangeKind::PhoneBook(seen) => {
            let rest =
                json!({ "present": seen.present, "at": at(seen.at), "customerBy": named_by(&seen.party) });
            ("phoneBook", None, rest)
        }
        ChangeKind::Identity(seen) => {
            let rest = json!({ "at": at(seen.at), "before": named_by(&seen.before), "after": named_by(&seen.after) });
            ("identity", None, rest)
        }
        ChangeKind::HistoryChunk(chunk) => {
            let rest = json!({
                "phase": chunk.phase, "chunkOrder": chunk.chunk_order, "progress": chunk.progress,
            });
            ("historyChunk", None, rest)
        }
        ChangeKind::HistoryDeclined(error) => ("historyDeclined", None, json!({ "errorCode": error.code })),
        ChangeKind::Preference(seen) => {
            let rest = json!({
                "stopped": seen.stopped, "at": at(seen.at), "customerBy": named_by(&seen.customer),
            });
            ("preference", None, rest)
        }
        ChangeKind::Template(seen) => {
            let (news, word) = match &seen.news {
                TemplateNews::Status { status, .. } => ("status", status.as_deref()),
                TemplateNews::Quality(quality) => ("quality", Some(quality.as_str())),
                TemplateNews::Category(category) => ("category", Some(category.as_str())),
                TemplateNews::NextCategory { category, .. } => ("nextCategory", Some(category.as_str())),
                TemplateNews::Components => ("components", None),
            };
            let rest = json!({
                "template": seen.upstream_id, "news": news, "word": word, "at": at(seen.at),
            });
            ("template", None, rest)
        }
        ChangeKind::Account(seen) => {
            let (event, detail) = event(&seen.event);
            ("account", None, json!({ "event": event, "at": at(seen.at), "detail": detail }))
        }
        ChangeKind::Notice(notice) => ("notice", None, json!({ "topic": notice.topic, "at": at(notice.at) })),
        ChangeKind::Ignored(ignored) => {
            ("ignored", ignored.whatsapp_id.as_deref(), json!({ "reason": ignored.reason }))
        }
    }
}

fn at(instant: Option<Timestamp>) -> Option<String> {
    let instant = DateTime::from_timestamp_micros(instant?.0)?;
    Some(instant.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// By what a person is known here; not the names themselves.
fn named_by(party: &Party) -> Vec<&'static str> {
    let Party { phone_number, user_id, parent_user_id, username, profile_name } = party;
    [
        ("phoneNumber", phone_number),
        ("userId", user_id),
        ("parentUserId", parent_user_id),
        ("username", username),
        ("profileName", profile_name),
    ]
    .into_iter()
    .filter_map(|(kind, name)| name.as_ref().map(|_| kind))
    .collect()
}

fn has_text(content: &Content) -> bool {
    content.text().is_some_and(|text| !text.is_empty())
}

fn content_kind(content: &Content) -> &'static str {
    match content {
        Content::Text { .. } => "text",
        Content::Media(media) => match media.media {
            MediaKind::Image => "image",
            MediaKind::Video => "video",
            MediaKind::Audio => "audio",
            MediaKind::Document => "document",
            MediaKind::Sticker => "sticker",
        },
        Content::MediaPlaceholder => "mediaPlaceholder",
        Content::Location { .. } => "location",
        Content::Contacts { .. } => "contacts",
        Content::Reply { .. } => "reply",
        Content::Template { .. } => "template",
        Content::Interactive { .. } => "interactive",
        Content::Order { .. } => "order",
        Content::Unsupported { .. } => "unsupported",
        Content::Deleted => "deleted",
    }
}

fn event(event: &AccountEvent) -> (&'static str, Value) {
    match event {
        AccountEvent::PartnerAdded => ("PARTNER_ADDED", Value::Null),
        AccountEvent::PartnerRemoved { reason, initiated_by } => {
            ("PARTNER_REMOVED", json!({ "reason": reason, "initiatedBy": initiated_by }))
        }
        AccountEvent::Offboarded => ("ACCOUNT_OFFBOARDED", Value::Null),
        AccountEvent::Reconnected => ("ACCOUNT_RECONNECTED", Value::Null),
        AccountEvent::Deleted => ("ACCOUNT_DELETED", Value::Null),
        AccountEvent::Restricted { restrictions } => {
            let restrictions: Vec<Value> = restrictions
                .iter()
                .map(|restriction| json!({ "kind": restriction.kind, "until": at(restriction.until) }))
                .collect();
            ("ACCOUNT_RESTRICTION", json!({ "restrictions": restrictions }))
        }
        AccountEvent::Ban { state } => ("DISABLED_UPDATE", json!({ "state": state })),
        AccountEvent::DisplayName { decision, name: _ } => {
            ("PHONE_NUMBER_NAME_UPDATE", json!({ "decision": decision }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhook_check_tells_what_without_whom_and_words() {
        let body = br#"{"object":"whatsapp_business_account","entry":[{"id":"880100200300400","changes":[
            {"field":"messages","value":{"metadata":{"display_phone_number":"493055500101","phone_number_id":"7001"},
             "contacts":[{"profile":{"name":"Elodie","username":"elodie.g"},"wa_id":"436645550177"}],
             "messages":[
              {"from":"436645550177","id":"wamid.a","timestamp":"1801000100","type":"text","text":{"body":"Geheim"}},
              {"from":"436645550177","id":"wamid.b","type":"image","image":{"id":"1","caption":"Geheim"}},
              {"from":"436645550177","id":"wamid.c","timestamp":"1801000100","type":"hologram"},
              {"from":"436645550177","type":"reaction","reaction":{"message_id":"wamid.a"}},
              {"from":"436645550177","group_id":"g","id":"wamid.d"}],
             "statuses":[{"id":"wamid.e","status":"failed","recipient_id":"436645550177","errors":[{"code":131026}]}]}},
            {"field":"smb_app_state_sync","value":{"state_sync":[
              {"type":"contact","action":"remove","contact":{"phone_number":"436645550177","full_name":"Elodie"}}]}},
            {"field":"account_update","value":{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":"DISABLE"}}},
            {"field":"history","value":{"history":[{"metadata":{"phase":1,"chunk_order":2,"progress":30},"threads":[]}]}},
            {"field":"security","value":{"event":"PIN_CHANGED"}}]}]}"#;
        let line = check_line("a.json", body);
        for secret in ["Geheim", "lodie", "436645550177", "493055500101"] {
            assert!(!line.to_string().contains(secret), "{secret} in {line}");
        }
        assert_eq!(line["file"], "a.json");
        assert_eq!(line["error"], Value::Null);
        assert_eq!(
            line["fields"],
            json!(["messages", "smb_app_state_sync", "account_update", "history", "security"])
        );
        assert_eq!(line["unknown"], json!([{ "what": "messages.type", "value": "hologram" }]));
        let kinds: Vec<_> =
            line["changes"].as_array().into_iter().flatten().map(|change| &change["kind"]).collect();
        assert_eq!(
            kinds,
            [
                "message",
                "message",
                "message",
                "reaction",
                "ignored",
                "status",
                "phoneBook",
                "account",
                "historyChunk",
                "notice"
            ]
        );
        assert_eq!(
            line["changes"][0],
            json!({
                "kind": "message", "whatsappId": "wamid.a", "phoneNumberId": "7001", "wabaId": "880100200300400",
                "via": "live", "author": "customer", "type": "text", "at": "2027-01-26T21:48:20Z", "status": null,
                "hasText": true, "replyTo": null, "forwarded": false,
                "customerBy": ["phoneNumber", "username", "profileName"],
            })
        );
        assert_eq!(line["changes"][1]["at"], Value::Null);
        assert_eq!(line["changes"][3]["removed"], true);
        assert_eq!(line["changes"][4]["reason"], "GROUP");
        assert_eq!(line["changes"][5]["status"], "failed");
        assert_eq!(line["changes"][5]["errorCode"], 131_026);
        assert_eq!(line["changes"][7]["event"], "DISABLED_UPDATE");
        assert_eq!(line["changes"][8]["chunkOrder"], 2);
        for change in line["changes"].as_array().into_iter().flatten() {
            assert!(change.get("whatsappId").is_some(), "{change}");
        }
    }

    #[test]
    fn webhook_check_tells_of_what_is_no_webhook() {
        let line = check_line("b.json", b"<html>");
        assert_eq!(line["changes"], json!([]));
        assert!(line["error"].as_str().is_some_and(|error| error.starts_with("not JSON")));
    }
}

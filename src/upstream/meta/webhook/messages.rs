//! Messages, echoes and statuses.

use entity::Timestamp;
use serde_json::value::RawValue;

use super::node::{Map, object};
use super::{Reader, Scene, names, reported_error};
use crate::messages::content::Content;
use crate::upstream::change::{
    Author, ChangeKind, DeleteSeen, EditSeen, IgnoreReason, MessageSeen, Notice, Party, ReactionSeen,
    ReportedPricing, ReportedStatus, StatusSeen, Via,
};

/// A message of whichever list, once it is known who wrote it and to whom.
pub(super) struct Said<'v, 'a> {
    /// The list it stands in, to name what is unknown.
    pub(super) list: &'static str,
    pub(super) map: &'v Map<'a>,
    pub(super) via: Via,
    pub(super) author: Author,
    pub(super) customer: Party,
    pub(super) status: Option<ReportedStatus>,
}

impl Reader {
    /// `messages[]`: what customers wrote. Of the history's later media also, in some bodies, what the business did.
    pub(super) fn messages(&mut self, scene: &Scene, items: &[&RawValue]) {
        let items = self.objects("messages", items);
        let alone = all_same(&items, &["from", "from_user_id"]);
        for map in &items {
            if self.is_of_a_group(scene, map) {
                continue;
            }
            if map.word("type").is_some_and(|kind| kind == "system") {
                self.system(scene, "messages", scene.via, map);
                continue;
            }
            let author = if scene.is_from_business_to_another(map) { Author::App } else { Author::Customer };
            let mut customer = match author {
                Author::Customer => Party::at(map, "from", "from_user_id", "from_parent_user_id"),
                Author::App => Party::at(map, "to", "to_user_id", "to_parent_user_id"),
            };
            scene.contacts.complete(&mut customer, alone);
            let said = Said { list: "messages", map, via: scene.via, author, customer, status: None };
            self.message(scene, said);
        }
    }

    /// `message_echoes[]`: what the business typed on its phone. Whose words they are, the list says; the numbers
    /// are swapped in some bodies.
    pub(super) fn echoes(&mut self, scene: &Scene, items: &[&RawValue]) {
        let items = self.objects("message_echoes", items);
        let alone = all_same(&items, &["to", "to_user_id"]);
        for map in &items {
            if self.is_of_a_group(scene, map) {
                continue;
            }
            let to = map.word("to");
            let from = map.word("from");
            let swapped = scene.is_business(to.as_deref())
                && from.as_deref().is_some_and(|from| names::Name::of(from).is_some())
                && !scene.is_business(from.as_deref());
            let mut customer = if swapped {
                Party::at(map, "from", "from_user_id", "from_parent_user_id")
            } else {
                Party::at(map, "to", "to_user_id", "to_parent_user_id")
            };
            scene.contacts.complete(&mut customer, alone);
            let said = Said {
                list: "message_echoes",
                map,
                via: scene.via,
                author: Author::App,
                customer,
                status: None,
            };
            self.message(scene, said);
        }
    }

    /// One message: an edit, a deletion, a reaction, or words.
    pub(super) fn message(&mut self, scene: &Scene, said: Said<'_, '_>) {
        let Said { list, map, via, author, customer, status } = said;
        let at = self.timestamp(map, list, "timestamp");
        let target = |key: &str| {
            let action = map.map(key)?;
            action.id("original_message_id").or_else(|| action.id("message_id"))
        };
        let kind = match map.word("type").as_deref() {
            Some("reaction") => target("reaction").map(|target| {
                let emoji = map.map("reaction").and_then(|reaction| reaction.id("emoji"));
                ChangeKind::Reaction(ReactionSeen { target, at, by: author, customer, emoji, via })
            }),
            Some("revoke") => target("revoke")
                .map(|target| ChangeKind::Delete(DeleteSeen { target, at, by: author, customer, via })),
            Some("edit") => target("edit").zip(self.edited(list, map)).map(|(target, content)| {
                ChangeKind::Edit(Box::new(EditSeen { target, at, by: author, customer, content, via }))
            }),
            _ => return self.words(scene, Said { list, map, via, author, customer, status }, at),
        };
        match kind {
            Some(kind) => self.push(&scene.account, kind),
            None => self.unknown(&format!("{list}.{}", map.word("type").unwrap_or_default()), "incomplete"),
        }
    }

    fn words(&mut self, scene: &Scene, said: Said<'_, '_>, at: Option<Timestamp>) {
        let Said { list, map, via, author, customer, status } = said;
        let Some(whatsapp_id) = map.id("id") else {
            return self.unknown(&format!("{list}.id"), "missing");
        };
        if customer.is_nobody() {
            let place = match author {
                Author::Customer => "from",
                Author::App => "to",
            };
            self.unknown(&format!("{list}.{place}"), "nobody");
            // Its author is known, and its id may be: it can still fill what an import has left open.
            if author == Author::Customer {
                return;
            }
        }
        let content = self.content(list, map, author);
        if !map.list("errors").is_empty() && !matches!(content, Content::Unsupported { .. }) {
            let notice = Notice { topic: format!("{list}.errors"), at, detail: map.value("errors") };
            self.push(&scene.account, ChangeKind::Notice(notice));
        }
        let context = map.map("context");
        // What led the customer here: nothing rests on it yet, so that it is kept with the body and can be seen.
        for (topic, detail) in [
            ("referral", map.value("referral")),
            (
                "referred_product",
                context.map(|context| context.value("referred_product")).unwrap_or_default(),
            ),
        ] {
            if !detail.is_null() {
                let notice = Notice { topic: format!("{list}.{topic}"), at, detail };
                self.push(&scene.account, ChangeKind::Notice(notice));
            }
        }
        let marked = |mark| context.and_then(|context| context.flag(mark)).unwrap_or(false);
        let message = MessageSeen {
            whatsapp_id,
            at,
            author,
            via,
            customer,
            content,
            reply_to: context.and_then(|context| context.id("id").or_else(|| context.id("message_id"))),
            forwarded: marked("forwarded") || marked("frequently_forwarded"),
            status,
        };
        self.push(&scene.account, ChangeKind::Message(Box::new(message)));
    }

    /// Leaves out what was said in a group.
    pub(super) fn is_of_a_group(&mut self, scene: &Scene, map: &Map<'_>) -> bool {
        let group = names::is_group(map);
        if group {
            self.ignore(&scene.account, map.id("id"), IgnoreReason::Group);
        }
        group
    }

    /// `statuses[]`.
    pub(super) fn statuses(&mut self, scene: &Scene, items: &[&RawValue]) {
        for map in &self.objects("statuses", items) {
            if !self.is_of_a_group(scene, map) {
                self.status(scene, map, items.len() == 1);
            }
        }
    }

    fn status(&mut self, scene: &Scene, map: &Map<'_>, single: bool) {
        let Some(whatsapp_id) = map.id("id") else {
            return self.unknown("statuses.id", "missing");
        };
        let word = map.word("status").unwrap_or_default();
        let status = match word.to_ascii_lowercase().as_str() {
            "sent" => ReportedStatus::Sent,
            "delivered" => ReportedStatus::Delivered,
            "read" => ReportedStatus::Read,
            "played" => ReportedStatus::Played,
            "failed" => ReportedStatus::Failed,
            _ => return self.unknown("statuses.status", &word),
        };
        let mut customer = Party::at(map, "recipient_id", "recipient_user_id", "recipient_parent_user_id");
        let alone = single && customer.is_nobody();
        scene.contacts.complete(&mut customer, alone);
        let pricing = map.map("pricing").map(|pricing| {
            let kind = pricing.id("type");
            // Meta means to leave `billable` out some day; the type says the same.
            let by_kind = kind.as_deref().and_then(|kind| match kind {
                "regular" => Some(true),
                free if free.starts_with("free_") => Some(false),
                _ => None,
            });
            ReportedPricing {
                billable: pricing.flag("billable").or(by_kind),
                model: pricing.id("pricing_model"),
                kind,
                category: pricing.id("category"),
            }
        });
        let status = StatusSeen {
            whatsapp_id,
            status,
            at: self.timestamp(map, "statuses", "timestamp"),
            customer,
            error: map
                .list("errors")
                .iter()
                .find_map(|error| object(error).ok())
                .map(|error| reported_error(&error)),
            pricing,
            callback_data: map.string("biz_opaque_callback_data"),
        };
        self.push(&scene.account, ChangeKind::Status(Box::new(status)));
    }
}

impl Scene {
    pub(super) fn is_business(&self, word: Option<&str>) -> bool {
        match (self.business.as_deref(), word) {
            (Some(business), Some(word)) => names::same(business, word),
            _ => false,
        }
    }

    /// Whether a message in the list of incoming ones is the business's own: of the history's media always, live
    /// only if it also says to whom. A message to oneself stays one.
    fn is_from_business_to_another(&self, map: &Map<'_>) -> bool {
        let from = map.word("from").filter(|from| names::number(from).is_some());
        let to = Party::at(map, "to", "to_user_id", "to_parent_user_id");
        let to_another = !to.is_nobody() && !self.is_business(to.phone_number.as_deref());
        self.is_business(from.as_deref()) && (to_another || (self.via == Via::History && to.is_nobody()))
    }
}

/// Whether all items say the same at these keys.
fn all_same(items: &[Map<'_>], keys: &[&str]) -> bool {
    items.windows(2).all(|pair| keys.iter().all(|key| pair[0].word(key) == pair[1].word(key)))
}

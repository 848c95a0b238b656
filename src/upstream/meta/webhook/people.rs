//! The phone book, changed numbers and changed user ids.

use serde_json::value::RawValue;

use super::node::Map;
use super::{Reader, Scene};
use crate::upstream::change::{ChangeKind, IdentitySeen, Notice, Party, PhoneBookSeen, Via};

impl Reader {
    /// `state_sync[]`: the phone's address book.
    pub(super) fn phone_book(&mut self, scene: &Scene, items: &[&RawValue]) {
        for map in &self.objects("state_sync", items) {
            if let Some(kind) = map.word("type").filter(|kind| kind != "contact") {
                self.unknown("state_sync.type", &kind);
                continue;
            }
            let action = map.word("action").unwrap_or_default();
            let present = match action.to_ascii_lowercase().as_str() {
                "add" | "edit" | "update" => true,
                "remove" | "delete" => false,
                _ => {
                    self.unknown("state_sync.action", &action);
                    continue;
                }
            };
            let party = map.map("contact").map(Party::described).unwrap_or_default();
            if party.is_nobody() {
                self.unknown("state_sync.contact", "nobody");
                continue;
            }
            let name = |key| map.map("contact").and_then(|contact| contact.string(key));
            let at =
                map.map("metadata").and_then(|metadata| self.timestamp(metadata, "state_sync", "timestamp"));
            let entry = PhoneBookSeen {
                party,
                present,
                full_name: name("full_name"),
                first_name: name("first_name"),
                at,
            };
            self.push(&scene.account, ChangeKind::PhoneBook(entry));
        }
    }

    /// A message of type `system`: a person has another number or another user id. In the history it is no news:
    /// the chat already stands under the new one.
    pub(super) fn system(&mut self, scene: &Scene, list: &str, via: Via, map: &Map<'_>) {
        let nothing = Map::default();
        let system = map.map("system").unwrap_or(&nothing);
        let kind = system.word("type").unwrap_or_default();
        let at = self.timestamp(map, list, "timestamp");
        match &*kind {
            "user_changed_number" | "customer_changed_number" | "user_changed_user_id"
                if via == Via::Live =>
            {
                let mut before = Party::default();
                before.learn_user_id(system, "previous_user_id");
                before.learn_user_id(system, "previous_parent_user_id");
                before.learn_number(map, "from");
                before.learn_user_id(map, "from_user_id");
                before.learn_user_id(map, "from_parent_user_id");
                before.learn_number(system, "customer");
                let mut after = Party::at(system, "wa_id", "user_id", "parent_user_id");
                after.learn_number(system, "new_wa_id");
                self.identity(scene, &format!("{list}.system"), IdentitySeen { before, after, at });
            }
            "user_changed_number"
            | "customer_changed_number"
            | "user_changed_user_id"
            | "customer_identity_changed"
            | "user_identity_changed" => {
                let topic = format!("{list}.system.{kind}");
                let detail = system.to_value(&["body"]);
                self.push(&scene.account, ChangeKind::Notice(Notice { topic, at, detail }));
            }
            _ => self.unknown(&format!("{list}.system.type"), &kind),
        }
    }

    /// `user_id_update[]`.
    pub(super) fn user_ids(&mut self, scene: &Scene, items: &[&RawValue]) {
        for map in &self.objects("user_id_update", items) {
            let mut before = Party::default();
            let mut after = Party::default();
            for key in ["user_id", "parent_user_id"] {
                match map.map(key) {
                    Some(change) => {
                        before.learn_user_id(change, "previous");
                        after.learn_user_id(change, "current");
                    }
                    None => after.learn_user_id(map, key),
                }
            }
            // The number as it is now; before, it may have been another one.
            after.learn_number(map, "wa_id");
            scene.contacts.complete(&mut after, false);
            let at = self.timestamp(map, "user_id_update", "timestamp");
            self.identity(scene, "user_id_update", IdentitySeen { before, after, at });
        }
    }

    fn identity(&mut self, scene: &Scene, what: &str, seen: IdentitySeen) {
        if seen.before.is_nobody() || seen.after.is_nobody() {
            self.unknown(what, "nobody");
        } else {
            self.push(&scene.account, ChangeKind::Identity(seen));
        }
    }
}

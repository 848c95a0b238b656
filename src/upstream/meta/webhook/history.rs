//! The import of old chats.

use serde_json::value::RawValue;

use super::messages::Said;
use super::names;
use super::node::{Map, Node, object};
use super::{Reader, Scene};
use crate::upstream::change::{Author, ChangeKind, HistoryChunk, IgnoreReason, Party, ReportedStatus, Via};

/// A chat of the history.
struct Thread {
    customer: Party,
    /// The customer's names as the wire writes them.
    words: Vec<String>,
}

impl Reader {
    /// `history[]`: chunks, or the refusal to share any.
    pub(super) fn history(&mut self, scene: &Scene, chunks: &[&RawValue]) {
        for chunk in chunks {
            match object(chunk) {
                Ok(chunk) => self.chunk(scene, &chunk),
                Err(shape) => self.unknown("history", shape),
            }
        }
    }

    fn chunk(&mut self, scene: &Scene, chunk: &Map<'_>) {
        let said = self.said();
        match chunk.get("threads") {
            Some(Node::List(threads)) => {
                for thread in threads {
                    match object(thread) {
                        Ok(thread) => self.thread(scene, &thread),
                        Err(shape) => self.unknown("history.threads", shape),
                    }
                }
            }
            Some(other) => self.unknown("history.threads", other.shape()),
            None => {}
        }
        match chunk.get("errors") {
            Some(Node::List(_)) => self.errors(&scene.account, None, "history.errors", chunk),
            Some(other) => self.unknown("history.errors", other.shape()),
            None => {}
        }
        // A refusal may carry the metadata of a chunk, but no chunk comes with it.
        if chunk.has("threads") || self.said() == said {
            self.progress(scene, chunk);
        }
    }

    fn progress(&mut self, scene: &Scene, chunk: &Map<'_>) {
        let number = |key: &str| {
            let number = chunk.map("metadata").and_then(|metadata| metadata.integer(key));
            number.and_then(|number| i32::try_from(number).ok())
        };
        let (phase, chunk_order, progress) = (number("phase"), number("chunk_order"), number("progress"));
        if phase.is_none() || progress.is_none() {
            self.unknown("history.metadata", "incomplete");
        }
        if phase.is_none() && progress.is_none() {
            return;
        }
        let chunk = HistoryChunk {
            phase: phase.unwrap_or_default(),
            // The place in an unknown phase says nothing.
            chunk_order: chunk_order.filter(|_| phase.is_some()),
            progress: progress.unwrap_or_default().clamp(0, 100),
        };
        self.push(&scene.account, ChangeKind::HistoryChunk(chunk));
    }

    fn thread(&mut self, scene: &Scene, map: &Map<'_>) {
        if names::is_group(map) {
            return self.ignore(&scene.account, None, IgnoreReason::Group);
        }
        let thread = Thread::of(map);
        match map.get("messages") {
            Some(Node::List(messages)) => {
                for message in messages {
                    match object(message) {
                        Ok(message) => self.old_message(scene, &thread, &message),
                        Err(shape) => self.unknown("history.messages", shape),
                    }
                }
            }
            Some(other) => self.unknown("history.messages", other.shape()),
            None => {}
        }
    }

    fn old_message(&mut self, scene: &Scene, thread: &Thread, map: &Map<'_>) {
        if self.is_of_a_group(scene, map) {
            return;
        }
        if map.word("type").is_some_and(|kind| kind == "system") {
            return self.system(scene, "history", Via::History, map);
        }
        let (author, certain) = direction(scene, thread, map);
        if !certain {
            self.unknown("history.direction", "undecidable");
        }
        let mut customer = thread.customer.clone();
        let mut named = match author {
            Author::Customer => Party::at(map, "from", "from_user_id", "from_parent_user_id"),
            Author::App => Party::at(map, "to", "to_user_id", "to_parent_user_id"),
        };
        if scene.is_business(named.phone_number.as_deref()) {
            named.phone_number = None;
        }
        customer.complete(&named);
        scene.contacts.complete(&mut customer, false);
        let status = self.last_known(map);
        let said = Said { list: "history", map, via: Via::History, author, customer, status };
        self.message(scene, said);
    }

    /// The state in which a message was when the history was taken.
    fn last_known(&mut self, map: &Map<'_>) -> Option<ReportedStatus> {
        let word = map.map("history_context")?.word("status")?;
        match word.to_ascii_uppercase().as_str() {
            "PENDING" => Some(ReportedStatus::Pending),
            "SENT" => Some(ReportedStatus::Sent),
            "DELIVERED" => Some(ReportedStatus::Delivered),
            "READ" => Some(ReportedStatus::Read),
            "PLAYED" => Some(ReportedStatus::Played),
            "ERROR" | "FAILED" => Some(ReportedStatus::Failed),
            _ => {
                self.unknown("history.status", &word);
                None
            }
        }
    }
}

impl Thread {
    fn of(map: &Map<'_>) -> Self {
        let mut customer = Party::default();
        customer.learn_number(map, "id");
        let mut words: Vec<String> = map.id("id").into_iter().collect();
        if let Some(context) = map.map("context") {
            customer.complete(&Party::described(context));
            words.extend(["wa_id", "user_id", "parent_user_id"].iter().filter_map(|key| context.id(key)));
        }
        Self { customer, words }
    }

    fn is_customer(&self, word: &str) -> bool {
        self.words.iter().any(|known| names::same(known, word))
    }
}

/// Who wrote an old message, and whether that is certain.
fn direction(scene: &Scene, thread: &Thread, map: &Map<'_>) -> (Author, bool) {
    let customer_by = |key| map.word(key).is_some_and(|word| thread.is_customer(&word));
    let business_by = |key| scene.is_business(map.word(key).as_deref());
    if map.word("from").is_some() {
        return match (business_by("from"), customer_by("from")) {
            (true, false) => (Author::App, true),
            (false, true) => (Author::Customer, true),
            (true, true) if customer_by("from_user_id") => (Author::Customer, true),
            // A chat with oneself: only what the business sent says to whom.
            (true, true) if map.word("to").is_some() => (Author::App, true),
            (true, true) => (Author::Customer, false),
            (false, false) if customer_by("from_user_id") => (Author::Customer, true),
            (false, false) if customer_by("to") || customer_by("to_user_id") => (Author::App, true),
            // The customer's other number. Without the business's own it could as well be that one.
            (false, false) => (Author::Customer, scene.business.is_some()),
        };
    }
    if map.word("to").is_some() {
        let to_business = business_by("to") && !customer_by("to");
        return (if to_business { Author::Customer } else { Author::App }, true);
    }
    if map.word("to_user_id").is_some() {
        return (Author::App, true);
    }
    (Author::Customer, map.word("from_user_id").is_some())
}

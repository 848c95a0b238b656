//! What people do in chats: write, read, edit, delete, react; and the phone book.

use super::connection::stamp;
use super::media::WrittenFile;
use super::message::{Device, MadeBy, Message, Status};
use super::phone::AppKind;
use super::{Ledger, Refusal, World, ordered};
use crate::chance::Chance;
use crate::number::Number;
use crate::store::Kind;
use crate::webhooks::bodies::{self, Act};
use crate::webhooks::queue::{Notice, Reach};

/// What somebody writes.
pub(crate) struct Writing {
    pub(crate) with: Number,
    pub(crate) text: String,
    pub(crate) group: Option<String>,
    pub(crate) media: Option<String>,
    pub(crate) file: Option<WrittenFile>,
    pub(crate) reply_to: Option<String>,
    pub(crate) hidden: bool,
    pub(crate) device: Device,
}

impl World {
    /// A message written on the business's phone or a linked device, or by a customer.
    pub(crate) fn write(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        by: MadeBy,
        writing: Writing,
    ) -> Result<u32, Refusal> {
        let phone = self.phone(number)?;
        if by == MadeBy::App && phone.card.app == AppKind::ApiOnly {
            return Err(Refusal(format!("{number} lives on the API alone: there is no app to write from")));
        }
        if writing.with == number {
            return Err(Refusal(format!(
                "{number} cannot write to itself; choose another number for `with`"
            )));
        }
        let reply_to = match &writing.reply_to {
            Some(id) => {
                let answered = phone.message(id)?;
                if answered.group != writing.group
                    || (answered.group.is_none() && answered.with != writing.with)
                {
                    return Err(Refusal(format!("the message {id} is in another chat; answer it there")));
                }
                Some(answered.token)
            }
            None => None,
        };
        let live = phone.card.connected;
        let kind = writing.media.as_deref().unwrap_or("text").to_owned();
        let media = match &writing.media {
            Some(kind) => Some(self.make_media(ledger, number, kind, writing.file.clone())?),
            None => None,
        };
        let message = Message {
            sequence: 0,
            token: Chance::fresh().token(),
            with: writing.with,
            made_by: by,
            device: writing.device,
            group: writing.group,
            kind,
            text: writing.text,
            at: ledger.now_ms,
            status: if by == MadeBy::Customer { Status::Received } else { Status::Sent },
            media,
            reply_to,
            callback_data: None,
            pricing: None,
            content: None,
            choices: Vec::new(),
            hidden: writing.hidden,
            live,
            deleted: false,
            edited: false,
            changed_at: ledger.now(),
            trail: Vec::new(),
        };
        self.arrive(ledger, number, message)
    }

    /// A message that somebody wrote, or a choice that a customer made: on the screen, and told.
    pub(super) fn arrive(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        message: Message,
    ) -> Result<u32, Refusal> {
        let (with, by) = (message.with, message.made_by);
        let opens_window = message.live && by == MadeBy::Customer && message.is_told();
        let sequence = self.append(ledger, number, message)?;
        let phone = self.phone_mut(number)?;
        let mut person = phone.person(with);
        if opens_window {
            person.wrote_at = Some(ledger.now_ms);
        }
        if opens_window || !phone.people.contains_key(&with) {
            ledger.put(Kind::Person, number.digits(), with.digits(), &person);
            phone.admit(person);
        }
        self.tell_of(ledger, number, sequence, by, &Act::Written);
        Ok(sequence)
    }

    /// Puts a message on the phone's screen.
    pub(crate) fn append(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        message: Message,
    ) -> Result<u32, Refusal> {
        let phone = self.phone_mut(number)?;
        let sequence = phone.append(message);
        self.keep_message(ledger, number, sequence);
        Ok(sequence)
    }

    /// Tells the API what was done to a message, if it hears of such messages.
    pub(crate) fn tell_of(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        sequence: u32,
        by: MadeBy,
        act: &Act,
    ) -> Option<u64> {
        let phone = self.phones.get(&number)?;
        let message = phone.messages.get(sequence as usize)?;
        if !phone.card.connected || !message.is_told() {
            return None;
        }
        let (field, value) = bodies::message(self, phone, message, by, act);
        let entry = phone.card.waba_id.clone();
        self.tell(ledger, number, Notice { field, entry, time: None, value, reach: Reach::Account })
    }

    /// The customer got a message, read it or listened to it.
    pub(crate) fn see(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        id: &str,
        status: &str,
    ) -> Result<u32, Refusal> {
        let status = match status.to_ascii_lowercase().as_str() {
            "delivered" => Status::Delivered,
            "read" => Status::Read,
            "played" => Status::Played,
            other => {
                return Err(Refusal(format!(
                    "{other:?} is nothing a customer does; use delivered, read or played"
                )));
            }
        };
        let app_statuses = self.settings.trouble.app_statuses;
        let message = self.phone(number)?.message(id)?;
        let sequence = message.sequence;
        if message.made_by == MadeBy::Customer {
            return Err(Refusal(format!(
                "the message {id} is the customer's own; take one that they received"
            )));
        }
        let told = message.made_by == MadeBy::Api || app_statuses;
        self.change_message(number, sequence, |message| {
            message.status = message.status.max(status);
            if message.made_by == MadeBy::Api {
                message.trail.push((status, ledger.now()));
            }
        })?;
        self.keep_message(ledger, number, sequence);
        if told {
            let act = Act::Seen(status, ledger.now());
            self.tell_of(ledger, number, sequence, MadeBy::Customer, &act);
        }
        Ok(sequence)
    }

    /// Whoever made the message puts other words in it. Those of the API can be changed in the app.
    pub(crate) fn edit(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        id: &str,
        text: String,
    ) -> Result<u32, Refusal> {
        let sequence = self.unless_deleted(number, id)?;
        let mut by = MadeBy::App;
        self.change_message(number, sequence, |message| {
            message.text = text;
            message.edited = true;
            stamp(&mut message.changed_at, ledger.now());
            by = message.made_by;
        })?;
        self.keep_message(ledger, number, sequence);
        self.tell_of(ledger, number, sequence, by, &Act::Edited);
        Ok(sequence)
    }

    /// Whoever made the message takes it back for everyone.
    pub(crate) fn delete(&mut self, ledger: &mut Ledger, number: Number, id: &str) -> Result<u32, Refusal> {
        let sequence = self.unless_deleted(number, id)?;
        let mut by = MadeBy::App;
        self.change_message(number, sequence, |message| {
            message.deleted = true;
            stamp(&mut message.changed_at, ledger.now());
            by = message.made_by;
        })?;
        self.keep_message(ledger, number, sequence);
        self.tell_of(ledger, number, sequence, by, &Act::Deleted);
        Ok(sequence)
    }

    /// The customer or the app puts an emoji on a message, or takes it away.
    pub(crate) fn react(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        id: &str,
        emoji: Option<String>,
        by: MadeBy,
    ) -> Result<u32, Refusal> {
        if by == MadeBy::Api {
            return Err(Refusal::new(
                "the API reacts through its own endpoint: POST a reaction to /messages",
            ));
        }
        let sequence = self.unless_deleted(number, id)?;
        self.change_message(number, sequence, |message| {
            stamp(&mut message.changed_at, ledger.now());
        })?;
        self.keep_message(ledger, number, sequence);
        self.tell_of(ledger, number, sequence, by, &Act::Reacted(emoji));
        Ok(sequence)
    }

    /// Adds, renames or removes an entry of the phone book.
    pub(crate) fn change_contact(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        contact: Number,
        full_name: Option<String>,
    ) -> Result<(), Refusal> {
        let phone = self.phone_mut(number)?;
        if phone.card.app == AppKind::ApiOnly {
            return Err(Refusal(format!("{number} lives on the API alone and has no phone book")));
        }
        let mut person = phone.person(contact);
        if full_name.is_none() && person.full_name.is_none() {
            return Err(Refusal(format!(
                "{contact} is not in the phone book of {number}; there is nothing to remove"
            )));
        }
        person.full_name = full_name;
        stamp(&mut person.listed_at, ledger.now());
        ledger.put(Kind::Person, number.digits(), contact.digits(), &person);
        phone.admit(person.clone());
        if phone.card.connected {
            let entry = phone.card.waba_id.clone();
            let value = bodies::state_sync(phone, &[&person]);
            let notice =
                Notice { field: "smb_app_state_sync", entry, time: None, value, reach: Reach::Account };
            self.tell(ledger, number, notice);
        }
        Ok(())
    }

    pub(super) fn unless_deleted(&self, number: Number, id: &str) -> Result<u32, Refusal> {
        let message = self.phone(number)?.message(id)?;
        if message.deleted {
            return Err(Refusal(format!("the message {id} was deleted; nothing can be done to it any more")));
        }
        Ok(message.sequence)
    }

    pub(crate) fn change_message(
        &mut self,
        number: Number,
        sequence: u32,
        change: impl FnOnce(&mut Message),
    ) -> Result<(), Refusal> {
        if let Some(message) = self.phone_mut(number)?.messages.get_mut(sequence as usize) {
            change(message);
        }
        Ok(())
    }

    pub(crate) fn keep_message(&self, ledger: &mut Ledger, number: Number, sequence: u32) {
        let message = self.phones.get(&number).and_then(|phone| phone.messages.get(sequence as usize));
        if let Some(message) = message {
            ledger.put(Kind::Message, number.digits(), ordered(u64::from(sequence)), message);
        }
    }
}

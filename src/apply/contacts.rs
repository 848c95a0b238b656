//! People: one row each, found by any of their names (invariant 4), and the phone book (S10).

use entity::{
    AppPresenceBasis, ClientId, ContactId, ContactKeyKind, EventType, SyncKind, Timestamp, contact,
};

use super::work::Work;
use super::{Halt, Interrupt, account, sync};
use crate::ids::PublicId;
use crate::upstream::change::{IdentitySeen, Party, PhoneBookSeen};

/// The contact that a party names, its names learnt on the way. A WhatsApp user id names the contact; a number belongs
/// to the user id with which it was last seen; a number seen alone has a contact of its own until both are seen
/// together: then the two are merged. Whoever is named has a row from then on, whatever names them: what is learnt of a person
/// must not depend on whether their first message came before it. A row alone is shown to nobody.
pub(super) fn resolve(
    work: &mut Work<'_>,
    client: ClientId,
    party: &Party,
    at: Timestamp,
) -> Result<Option<ContactId>, Halt> {
    use ContactKeyKind::{ParentUserId, Phone, UserId};
    let user = party.user_id.as_deref();
    let by =
        |kind, name: &Option<String>| name.as_deref().and_then(|name| work.contact_by(client, kind, name));
    let mut found = by(UserId, &party.user_id);
    let others =
        [(ParentUserId, by(ParentUserId, &party.parent_user_id)), (Phone, by(Phone, &party.phone_number))];
    let mut seconds = None;
    for (kind, other) in others {
        match (found, other) {
            (_, None) => {}
            (Some(id), Some(other)) if id == other => {}
            (Some(id), Some(other)) if may_be_one(work, id, other) => {
                return Err(Halt::Interrupt(Interrupt::Contacts(client, id, other)));
            }
            (None, Some(other)) if user.is_none() || !has_user_id(work, other) => found = Some(other),
            (_, Some(other)) if kind == Phone => seconds = Some(other),
            // A parent id that stands for somebody else goes on doing so.
            _ => {}
        }
    }
    let id = match found {
        Some(id) => id,
        None => {
            if user.is_none() && party.phone_number.is_none() && party.parent_user_id.is_none() {
                return Ok(None);
            }
            let Some(fresh) = blank(work, client) else { return Ok(None) };
            work.add_contact(fresh)
        }
    };
    let Some(other) = seconds else {
        learn(work, client, id, party, at);
        return Ok(Some(id));
    };
    // A number that is seen with a second user id: marked, not merged; it belongs to the one seen with it last.
    mark_ambiguous(work, id);
    mark_ambiguous(work, other);
    let newer =
        party.phone_number.as_deref().is_some_and(|number| at >= work.name_seen_at(client, Phone, number));
    if !newer {
        learn(work, client, id, &Party { phone_number: None, ..party.clone() }, at);
        return Ok(Some(id));
    }
    if let Some(row) = work.contacts.get_mut(&other) {
        row.dirty = true;
        row.model.phone_number = None;
        row.model.search = search_words(&row.model);
    }
    learn(work, client, id, party, at);
    Ok(Some(id))
}

fn has_user_id(work: &Work<'_>, id: ContactId) -> bool {
    work.contacts.get(&id).is_some_and(|row| row.model.wa_user_id.is_some())
}

/// Whether two contacts can be the same person: two that each have a user id of their own are not.
pub(super) fn may_be_one(work: &Work<'_>, a: ContactId, b: ContactId) -> bool {
    let known = work.contacts.contains_key(&a) && work.contacts.contains_key(&b);
    known && a != b && !(has_user_id(work, a) && has_user_id(work, b))
}

fn mark_ambiguous(work: &mut Work<'_>, id: ContactId) {
    if let Some(row) = work.contacts.get_mut(&id)
        && !row.model.ambiguous
    {
        row.dirty = true;
        row.model.ambiguous = true;
    }
}

fn blank(work: &Work<'_>, client: ClientId) -> Option<contact::Model> {
    let never = Timestamp(0);
    Some(contact::Model {
        id: ContactId::generate(),
        partner_id: work.partner(client)?,
        client_id: client,
        phone_number: None,
        phone_at: never,
        wa_user_id: None,
        user_id_at: never,
        username: None,
        username_at: never,
        profile_name: None,
        profile_name_at: never,
        full_name: None,
        first_name: None,
        in_phone_book: false,
        book_at: never,
        marketing_stopped: false,
        marketing_at: never,
        ambiguous: false,
        announced: false,
        search: String::new(),
        changed_at: work.now,
        created_at: work.now,
    })
}

/// Lower-cased names and number, for searching.
pub(crate) fn search_words(contact: &contact::Model) -> String {
    [&contact.full_name, &contact.first_name, &contact.profile_name, &contact.username, &contact.phone_number]
        .into_iter()
        .flatten()
        .map(|word| word.to_lowercase())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether a value seen at `at` replaces the one that holds: the later one, of equals the greater one.
fn later<T: Ord>(at: Timestamp, value: &T, holds_at: Timestamp, holds: Option<&T>) -> bool {
    (at, Some(value)) > (holds_at, holds)
}

/// Takes the names and words that a party carries into its contact.
fn learn(work: &mut Work<'_>, client: ClientId, id: ContactId, party: &Party, at: Timestamp) {
    for (kind, value) in [
        (ContactKeyKind::Phone, &party.phone_number),
        (ContactKeyKind::UserId, &party.user_id),
        (ContactKeyKind::ParentUserId, &party.parent_user_id),
    ] {
        let Some(value) = value else { continue };
        match work.contact_by(client, kind, value) {
            Some(known) if known == id => {
                // Only who a number was seen with last depends on it: a day's precision saves a write for each message.
                if at > work.name_seen_at(client, kind, value).plus_seconds(86_400) {
                    work.name(client, kind, value, id, at);
                }
            }
            Some(_) if kind == ContactKeyKind::ParentUserId => {}
            _ => work.name(client, kind, value, id, at),
        }
    }
    let Some(row) = work.contacts.get_mut(&id) else { return };
    let before = row.model.clone();
    let contact = &mut row.model;
    let set = |value: &Option<String>, holds: &mut Option<String>, holds_at: &mut Timestamp| {
        if let Some(value) = value
            && later(at, value, *holds_at, holds.as_ref())
        {
            *holds = Some(value.clone());
            *holds_at = at;
        }
    };
    set(&party.phone_number, &mut contact.phone_number, &mut contact.phone_at);
    set(&party.user_id, &mut contact.wa_user_id, &mut contact.user_id_at);
    set(&party.username, &mut contact.username, &mut contact.username_at);
    set(&party.profile_name, &mut contact.profile_name, &mut contact.profile_name_at);
    if *contact == before {
        return;
    }
    row.dirty = true;
    let shown = |contact: &contact::Model| {
        (
            contact.phone_number.clone(),
            contact.wa_user_id.clone(),
            contact.username.clone(),
            contact.profile_name.clone(),
        )
    };
    let visible = shown(contact) != shown(&before);
    let told = contact.announced;
    if visible {
        contact.search = search_words(contact);
        contact.changed_at = contact.changed_at.max(at);
        if told {
            tell_once(work, client, id, EventType::ContactUpdated, at);
        }
    }
}

/// One event a contact and batch: its state is read from the node anyway.
fn tell_once(work: &mut Work<'_>, client: ClientId, id: ContactId, kind: EventType, at: Timestamp) {
    let told = work.events.iter().any(|event| {
        event.subject == Some(id.uuid())
            && (event.kind == kind
                || (event.kind == EventType::ContactAdded && kind == EventType::ContactUpdated))
    });
    if !told {
        work.tell(client, kind, at, Some(id.uuid()), None);
    }
}

/// Raises CONTACT_ADDED the first time that somebody is in the phone book or part of live traffic.
pub(super) fn announce(work: &mut Work<'_>, client: ClientId, id: ContactId, at: Timestamp) {
    let Some(row) = work.contacts.get_mut(&id) else { return };
    if row.model.announced {
        return;
    }
    row.model.announced = true;
    row.dirty = true;
    work.tell(client, EventType::ContactAdded, at, Some(id.uuid()), None);
}

/// An entry of the phone book was added, edited or removed.
pub(super) fn phone_book(
    work: &mut Work<'_>,
    client: ClientId,
    entry: &PhoneBookSeen,
    at: Timestamp,
) -> Result<(), Halt> {
    let Some(id) = resolve(work, client, &entry.party, at)? else { return Ok(()) };
    account::sign_of_life(work, client, AppPresenceBasis::ContactChange, at);
    sync::phone_book_heard(work, client);
    let Some(row) = work.contacts.get_mut(&id) else { return Ok(()) };
    let contact = &mut row.model;
    // Later beats earlier, remove beats add, then the bytes decide.
    let rank = |present: bool, full: &Option<String>, first: &Option<String>| {
        (!present, full.clone(), first.clone())
    };
    let full_name = entry.full_name.clone().filter(|_| entry.present);
    let first_name = entry.first_name.clone().filter(|_| entry.present);
    let new = (at, rank(entry.present, &full_name, &first_name));
    let holds = (contact.book_at, rank(contact.in_phone_book, &contact.full_name, &contact.first_name));
    let first_time = contact.book_at == Timestamp(0);
    if !first_time && new <= holds {
        return Ok(());
    }
    let was_present = contact.in_phone_book;
    contact.book_at = at;
    contact.in_phone_book = entry.present;
    contact.full_name = full_name;
    contact.first_name = first_name;
    contact.search = search_words(contact);
    contact.changed_at = contact.changed_at.max(at);
    row.dirty = true;
    if first_time {
        sync::count(work, client, SyncKind::Contacts, 1);
    }
    let announced = work.contacts.get(&id).is_some_and(|row| row.model.announced);
    match (entry.present, was_present) {
        (true, _) if !announced => announce(work, client, id, at),
        (true, _) => tell_once(work, client, id, EventType::ContactUpdated, at),
        (false, true) => tell_once(work, client, id, EventType::ContactRemoved, at),
        (false, false) => {}
    }
    Ok(())
}

/// Somebody stopped marketing messages, or wants them again: the later word holds, of one second the stop.
pub(super) fn preference(
    work: &mut Work<'_>,
    client: ClientId,
    customer: &Party,
    stopped: bool,
    at: Timestamp,
) -> Result<(), Halt> {
    let Some(id) = resolve(work, client, customer, at)? else { return Ok(()) };
    let Some(row) = work.contacts.get_mut(&id) else { return Ok(()) };
    let contact = &mut row.model;
    if (at, stopped) <= (contact.marketing_at, contact.marketing_stopped) {
        return Ok(());
    }
    let changed = contact.marketing_stopped != stopped;
    contact.marketing_at = at;
    contact.marketing_stopped = stopped;
    row.dirty = true;
    if changed {
        contact.changed_at = contact.changed_at.max(at);
        if contact.announced {
            tell_once(work, client, id, EventType::ContactUpdated, at);
        }
    }
    Ok(())
}

/// A person has another number or user id: the same contact goes by both from now on. Where the new name belongs to
/// somebody else already, nothing is merged: the two are marked.
pub(super) fn identity(
    work: &mut Work<'_>,
    client: ClientId,
    seen: &IdentitySeen,
    at: Timestamp,
) -> Result<(), Halt> {
    let Some(id) = resolve(work, client, &seen.before, at)? else { return Ok(()) };
    let mut after = seen.after.clone();
    for (kind, name) in [
        (ContactKeyKind::Phone, &mut after.phone_number),
        (ContactKeyKind::UserId, &mut after.user_id),
        (ContactKeyKind::ParentUserId, &mut after.parent_user_id),
    ] {
        let taken =
            name.as_deref().and_then(|name| work.contact_by(client, kind, name)).filter(|other| *other != id);
        if let Some(other) = taken {
            mark_ambiguous(work, id);
            mark_ambiguous(work, other);
            *name = None;
        }
    }
    learn(work, client, id, &after, at);
    Ok(())
}

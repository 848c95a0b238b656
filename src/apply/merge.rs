//! Two rows that proved to be one (invariants 2 and 4). The older id survives (of messages: the API's), the other goes on
//! resolving to it.

use std::collections::BTreeSet;

use entity::{
    AliasKind, ClientId, ContactId, ConversationId, EventType, MessageId, MessageOrigin, MessageStatus,
    ReactionBy, SyncKind, Timestamp, alias, contact, contact_key, conversation, lane_entry, message,
    message_key, message_status, reaction, sync,
};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::contacts::search_words;
use super::messages::{improve, join_error, join_names, join_pricing};
use super::work::refresh;
use crate::db::{self, SelectExt, Sql, Tx, WriteExt};
use crate::events::NewEvent;
use crate::ids::PublicId;
use crate::media::keep;
use crate::messages::content::{Content, Substance};

/// From now on `gone` stands for `stays`, and so does everything that stood for `gone`.
pub(crate) async fn stands_for<C: Sql>(
    tx: &C,
    partner: entity::PartnerId,
    kind: AliasKind,
    gone: Uuid,
    stays: Uuid,
) -> Result<(), DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the engine moves all that pointed to the merged id")]
    alias::Entity::update_many()
        .col_expr(alias::Column::Target, Expr::value(stays))
        .filter(alias::Column::Target.eq(gone))
        .put(tx)
        .await?;
    db::upsert::<alias::Entity, _>(
        tx,
        vec![alias::Model { id: gone, kind, target: stays, partner_id: partner }],
    )
    .await
}

/// What an import counted as two is one.
#[expect(clippy::disallowed_methods, reason = "the import of the client whose rows are merged")]
async fn counted_twice(tx: &Tx, client: ClientId, kind: SyncKind) -> Result<(), DbErr> {
    sync::Entity::update_many()
        .col_expr(sync::Column::Items, sea_orm::sea_query::ExprTrait::sub(Expr::col(sync::Column::Items), 1))
        .filter(sync::Column::ClientId.eq(client))
        .filter(sync::Column::Kind.eq(kind))
        .filter(sync::Column::Items.gt(0))
        .put(tx)
        .await?;
    Ok(())
}

/// Merges two contacts of one client, their conversations, and messages that turn out to be the same. Returns the
/// conversation that is left, if there is one.
#[expect(clippy::disallowed_methods, reason = "the engine addresses the rows of one client by their own ids")]
pub(crate) async fn contacts(
    tx: &Tx,
    client: ClientId,
    a: ContactId,
    b: ContactId,
    events: &mut Vec<NewEvent>,
) -> Result<Option<ConversationId>, DbErr> {
    let both = contact::Entity::find().filter(contact::Column::Id.is_in([a, b])).rows(tx).await?;
    let Ok([first, second]) = <[contact::Model; 2]>::try_from(both) else { return Ok(None) };
    let (mut stays, gone) = if first.id < second.id { (first, second) } else { (second, first) };
    if stays.client_id != client || gone.client_id != client {
        return Ok(None);
    }
    let announced = (stays.announced, gone.announced);
    if stays.book_at != Timestamp(0) && gone.book_at != Timestamp(0) {
        counted_twice(tx, client, SyncKind::Contacts).await?;
    }
    join_contact(&mut stays, &gone);
    let occurred_at = stays.changed_at;

    contact_key::Entity::update_many()
        .col_expr(contact_key::Column::ContactId, Expr::value(stays.id))
        .filter(contact_key::Column::ContactId.eq(gone.id))
        .put(tx)
        .await?;
    contact::Entity::delete_by_id(gone.id).put(tx).await?;
    db::upsert::<contact::Entity, _>(tx, vec![stays.clone()]).await?;
    stands_for(tx, stays.partner_id, AliasKind::Contact, gone.id.uuid(), stays.id.uuid()).await?;

    let of =
        |id: ContactId| conversation::Entity::find().filter(conversation::Column::ContactId.eq(id)).row(tx);
    let conversation = match (of(stays.id).await?, of(gone.id).await?) {
        (Some(kept), Some(lost)) => Some(conversations(tx, client, kept, lost, stays.id, events).await?),
        (None, Some(mut lost)) => {
            let id = lost.id;
            lost.contact_id = stays.id;
            db::upsert::<conversation::Entity, _>(tx, vec![lost]).await?;
            Some(id)
        }
        (kept, None) => kept.map(|kept| kept.id),
    };
    // Told only if somebody was told of the one that goes; if only that one was told of, the other takes its place.
    if announced.1 {
        events.push(NewEvent {
            partner: stays.partner_id,
            kind: EventType::ContactMerged,
            occurred_at,
            client: Some(client),
            subject: Some(stays.id.uuid()),
            data: Some(json!({ "mergedId": gone.id })),
        });
    }
    Ok(conversation)
}

/// The later word of each field holds.
fn join_contact(stays: &mut contact::Model, gone: &contact::Model) {
    fn later(
        stays: &mut Option<String>,
        stays_at: &mut Timestamp,
        gone: &Option<String>,
        gone_at: Timestamp,
    ) {
        if (gone_at, gone) > (*stays_at, &*stays) {
            stays.clone_from(gone);
            *stays_at = gone_at;
        }
    }
    later(&mut stays.phone_number, &mut stays.phone_at, &gone.phone_number, gone.phone_at);
    later(&mut stays.wa_user_id, &mut stays.user_id_at, &gone.wa_user_id, gone.user_id_at);
    later(&mut stays.username, &mut stays.username_at, &gone.username, gone.username_at);
    later(&mut stays.profile_name, &mut stays.profile_name_at, &gone.profile_name, gone.profile_name_at);
    let book = |c: &contact::Model| (c.book_at, !c.in_phone_book, c.full_name.clone(), c.first_name.clone());
    if gone.book_at != Timestamp(0) && (stays.book_at == Timestamp(0) || book(gone) > book(stays)) {
        stays.book_at = gone.book_at;
        stays.in_phone_book = gone.in_phone_book;
        stays.full_name.clone_from(&gone.full_name);
        stays.first_name.clone_from(&gone.first_name);
    }
    if (gone.marketing_at, gone.marketing_stopped) > (stays.marketing_at, stays.marketing_stopped) {
        stays.marketing_at = gone.marketing_at;
        stays.marketing_stopped = gone.marketing_stopped;
    }
    stays.ambiguous |= gone.ambiguous;
    stays.announced |= gone.announced;
    stays.changed_at = stays.changed_at.max(gone.changed_at);
    stays.created_at = stays.created_at.min(gone.created_at);
    stays.search = search_words(stays);
}

#[expect(clippy::disallowed_methods, reason = "the engine addresses the rows of one client by their own ids")]
async fn conversations(
    tx: &Tx,
    client: ClientId,
    a: conversation::Model,
    b: conversation::Model,
    contact: ContactId,
    events: &mut Vec<NewEvent>,
) -> Result<ConversationId, DbErr> {
    let (mut stays, gone) = if a.id < b.id { (a, b) } else { (b, a) };
    message::Entity::update_many()
        .col_expr(message::Column::ConversationId, Expr::value(stays.id))
        .filter(message::Column::ConversationId.eq(gone.id))
        .put(tx)
        .await?;
    lane_entry::Entity::update_many()
        .col_expr(lane_entry::Column::ConversationId, Expr::value(stays.id))
        .filter(lane_entry::Column::ConversationId.eq(gone.id))
        .put(tx)
        .await?;
    stays.window_refused_at = stays.window_refused_at.max(gone.window_refused_at);
    stays.read_at = stays.read_at.max(gone.read_at);
    stays.contact_id = contact;
    conversation::Entity::delete_by_id(gone.id).put(tx).await?;
    let (id, partner) = (stays.id, stays.partner_id);
    db::upsert::<conversation::Entity, _>(tx, vec![stays]).await?;
    stands_for(tx, partner, AliasKind::Conversation, gone.id.uuid(), id.uuid()).await?;
    twins(tx, client, id, events).await?;
    refresh(tx, &BTreeSet::from([id])).await?;
    Ok(id)
}

/// Two rows of one message.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Pair {
    a: MessageId,
    b: MessageId,
}

/// Messages that were kept apart because their conversations were: the same trailing part of their ids.
async fn twins(
    tx: &Tx,
    client: ClientId,
    conversation: ConversationId,
    events: &mut Vec<NewEvent>,
) -> Result<(), DbErr> {
    let pairs = sea_orm::Statement::from_sql_and_values(
        tx.backend(),
        "SELECT a.message_id AS a, b.message_id AS b FROM message m \
         JOIN message_key a ON a.message_id = m.id \
         JOIN message_key b ON b.token = a.token AND b.client_id = a.client_id AND b.message_id > a.message_id \
         JOIN message n ON n.id = b.message_id AND n.conversation_id = m.conversation_id \
         WHERE m.conversation_id = $1",
        [conversation.0.into()],
    );
    let mut found: Vec<Pair> = tx.read(pairs).await?;
    found.sort_unstable();
    found.dedup();
    for Pair { a, b } in found {
        messages(tx, client, a, b, events).await?;
    }
    Ok(())
}

/// Merges two rows that are one message.
#[expect(clippy::disallowed_methods, reason = "the engine addresses the rows of one client by their own ids")]
pub(crate) async fn messages(
    tx: &Tx,
    client: ClientId,
    a: MessageId,
    b: MessageId,
    events: &mut Vec<NewEvent>,
) -> Result<(), DbErr> {
    let both = message::Entity::find().filter(message::Column::Id.is_in([a, b])).rows(tx).await?;
    let Ok([first, second]) = <[message::Model; 2]>::try_from(both) else { return Ok(()) };
    if first.client_id != client || second.client_id != client {
        return Ok(());
    }
    let authority = |m: &message::Model| (std::cmp::Reverse(m.origin), m.id);
    let (mut stays, gone) =
        if authority(&first) < authority(&second) { (first, second) } else { (second, first) };
    let was_told = !gone.imported;
    if stays.in_history && gone.in_history {
        counted_twice(tx, client, SyncKind::History).await?;
    }
    let held = [&stays, &gone].map(|message| message_status::Model {
        message_id: stays.id,
        status: message.status,
        at: message.status_at,
        error: message.error.clone().filter(|_| message.status == MessageStatus::Failed),
    });
    join_message(&mut stays, &gone).map_err(|error| DbErr::Json(error.to_string()))?;

    message_key::Entity::update_many()
        .col_expr(message_key::Column::MessageId, Expr::value(stays.id))
        .filter(message_key::Column::MessageId.eq(gone.id))
        .put(tx)
        .await?;
    let rungs = message_status::Entity::find()
        .filter(message_status::Column::MessageId.is_in([stays.id, gone.id]))
        .rows(tx)
        .await?;
    message_status::Entity::delete_many()
        .filter(message_status::Column::MessageId.is_in([stays.id, gone.id]))
        .put(tx)
        .await?;
    let mut kept: Vec<message_status::Model> = Vec::new();
    for rung in rungs.into_iter().chain(held) {
        match kept.iter_mut().find(|known| known.status == rung.status) {
            Some(known) => {
                known.at = known.at.min(rung.at);
                join_error(&mut known.error, rung.error);
            }
            None => kept.push(message_status::Model { message_id: stays.id, ..rung }),
        }
    }
    // The rung that holds is in the message itself.
    kept.retain(|rung| rung.status != stays.status);
    db::upsert::<message_status::Entity, _>(tx, kept).await?;
    join_reactions(tx, stays.id, gone.id).await?;
    // A reaction that waits in a lane names the message reacted to.
    lane_entry::Entity::update_many()
        .col_expr(lane_entry::Column::MessageId, Expr::value(stays.id))
        .filter(lane_entry::Column::MessageId.eq(gone.id))
        .put(tx)
        .await?;
    keep::merge(tx, stays.id, gone.id).await?;
    message::Entity::delete_by_id(gone.id).put(tx).await?;
    let (id, partner, conversation, occurred_at) =
        (stays.id, stays.partner_id, stays.conversation_id, stays.sent_at);
    db::upsert::<message::Entity, _>(tx, vec![stays]).await?;
    message::Entity::update_many()
        .col_expr(message::Column::ReplyToId, Expr::value(id))
        .filter(message::Column::ConversationId.eq(conversation))
        .filter(message::Column::ReplyToId.eq(gone.id))
        .put(tx)
        .await?;
    stands_for(tx, partner, AliasKind::Message, gone.id.uuid(), id.uuid()).await?;
    refresh(tx, &BTreeSet::from([conversation, gone.conversation_id])).await?;
    if was_told {
        events.push(NewEvent {
            partner,
            kind: EventType::MessageMerged,
            occurred_at,
            client: Some(client),
            subject: Some(id.uuid()),
            data: Some(json!({ "mergedId": gone.id })),
        });
    }
    Ok(())
}

/// What the row would be if it had been one from the beginning.
fn join_message(stays: &mut message::Model, gone: &message::Model) -> Result<(), serde_json::Error> {
    stays.imported &= gone.imported;
    stays.in_history |= gone.in_history;
    stays.opens_window |= gone.opens_window;
    stays.forwarded |= gone.forwarded;
    join_names(stays, (gone.whatsapp_id.clone(), gone.reply_to.clone()));
    let sent = stays.origin == MessageOrigin::Api;
    if !sent {
        stays.sent_at = stays.sent_at.min(gone.sent_at);
    }
    // Of what was sent the words are known; only an edit or a deletion says more.
    if !sent || gone.substance >= Substance::Edited as i32 {
        let content: Content = serde_json::from_value(gone.content.clone())?;
        improve(stays, &content, gone.substance, gone.content_at)?;
    }
    stays.edited_at = stays.edited_at.max(gone.edited_at);
    stays.deleted_at = match (stays.deleted_at, gone.deleted_at) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    if gone.status.rank() > stays.status.rank() && gone.status != MessageStatus::Received {
        stays.status = gone.status;
        stays.status_at = gone.status_at;
    } else if gone.status == stays.status {
        stays.status_at = stays.status_at.min(gone.status_at);
    }
    join_error(&mut stays.error, gone.error.clone());
    join_pricing(&mut stays.pricing, gone.pricing.clone());
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the engine addresses the rows of one client by their own ids")]
async fn join_reactions(tx: &Tx, stays: MessageId, gone: MessageId) -> Result<(), DbErr> {
    let rows =
        reaction::Entity::find().filter(reaction::Column::MessageId.is_in([stays, gone])).rows(tx).await?;
    let rank = |row: &reaction::Model| (row.at, row.emoji.is_none(), row.emoji.clone());
    let mut kept = Vec::new();
    for by in [ReactionBy::Customer, ReactionBy::Business] {
        let latest = rows.iter().filter(|row| row.by == by).max_by_key(|row| rank(row));
        kept.extend(latest.map(|row| reaction::Model { message_id: stays, ..row.clone() }));
    }
    reaction::Entity::delete_many().filter(reaction::Column::MessageId.eq(gone)).put(tx).await?;
    db::upsert::<reaction::Entity, _>(tx, kept).await
}

//! What WhatsApp's refusals say of messages to come, kept in the round's transaction, so that the next one is refused here
//! before it costs anything. Statuses that tell of such a refusal later teach the same: `apply`.

use std::collections::{BTreeMap, BTreeSet};

use entity::{ClientId, ConversationId, EventType, Timestamp, client, contact, conversation};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};

use super::record::Judged;
use crate::db::{SelectExt, Sql, UpdateExt, WriteExt};
use crate::events::NewEvent;
use crate::ids::PublicId;
use crate::messages::errors::Lesson;
use crate::templates::refresh;

/// Keeps what a round was taught, each thing once.
pub(super) async fn keep<C: Sql>(
    tx: &C,
    taught: &[(Lesson, &Judged)],
    events: &mut Vec<NewEvent>,
) -> Result<(), DbErr> {
    let mut windows: BTreeMap<ConversationId, Timestamp> = BTreeMap::new();
    let mut people: BTreeMap<ConversationId, &Judged> = BTreeMap::new();
    let mut clients: BTreeSet<ClientId> = BTreeSet::new();
    for (lesson, one) in taught {
        let conversation = one.entry.conversation_id;
        match lesson {
            Lesson::WindowClosed => {
                let refused_at = windows.entry(conversation).or_insert(one.at);
                *refused_at = Ord::max(*refused_at, one.at);
            }
            Lesson::MarketingStopped => {
                people.insert(conversation, one);
            }
            Lesson::TemplatesChanged => {
                clients.insert(one.entry.client_id);
            }
        }
    }
    for (conversation, at) in windows {
        refuse_window(tx, conversation, at).await?;
    }
    for one in people.into_values() {
        events.extend(stop_marketing(tx, one).await?);
    }
    for client in clients {
        doubt_templates(tx, client).await?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the conversation of the engine's own entry, by its id")]
async fn refuse_window<C: Sql>(tx: &C, id: ConversationId, at: Timestamp) -> Result<(), DbErr> {
    use conversation::Column::{Id, WindowRefusedAt};
    conversation::Entity::update_many()
        .set(conversation::ActiveModel { window_refused_at: Set(Some(at)), ..Default::default() })
        .filter(Id.eq(id))
        .filter(WindowRefusedAt.is_null().or(WindowRefusedAt.lt(at)))
        .write(tx)
        .await?;
    Ok(())
}

/// As if the person had said so themselves; a word of theirs that is later holds.
#[expect(clippy::disallowed_methods, reason = "the contact of the engine's own entry's conversation")]
async fn stop_marketing<C: Sql>(tx: &C, one: &Judged) -> Result<Option<NewEvent>, DbErr> {
    use contact::Column::{ChangedAt, Id, MarketingAt, MarketingStopped};
    let of = Query::select()
        .column(conversation::Column::ContactId)
        .from(conversation::Entity)
        .and_where(conversation::Column::Id.eq(one.entry.conversation_id))
        .to_owned();
    let stopped = contact::Entity::update_many()
        .col_expr(MarketingStopped, Expr::value(true))
        .col_expr(MarketingAt, Expr::value(one.at))
        .col_expr(ChangedAt, Expr::value(one.at))
        .filter(Id.in_subquery(of))
        .filter(MarketingStopped.eq(false))
        .filter(MarketingAt.lte(one.at))
        .write_and_tell(tx)
        .await?;
    let told = stopped.into_iter().next().filter(|contact| contact.announced);
    Ok(told.map(|contact| NewEvent {
        partner: contact.partner_id,
        kind: EventType::ContactUpdated,
        occurred_at: one.at,
        client: Some(contact.client_id),
        subject: Some(contact.id.uuid()),
        data: None,
    }))
}

/// The list is read again soon, however many messages it failed.
#[expect(clippy::disallowed_methods, reason = "the client whose lane the engine holds, by its id")]
async fn doubt_templates<C: Sql>(tx: &C, id: ClientId) -> Result<(), DbErr> {
    let Some(row) = client::Entity::find_by_id(id).row(tx).await? else { return Ok(()) };
    let soon = refresh::soonest(&row);
    client::Entity::update_many()
        .col_expr(client::Column::TemplatesDueAt, Expr::value(soon))
        .filter(client::Column::Id.eq(id))
        .filter(client::Column::TemplatesDueAt.gt(soon))
        .put(tx)
        .await?;
    Ok(())
}

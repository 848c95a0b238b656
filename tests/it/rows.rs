//! Rows of both databases as models: what every list stands on. SeaORM's own reading says what they are.

use std::sync::Arc;

use entity::{
    AppPresenceBasis, ClientId, ClientMode, ClientStatus, ContactId, ConversationId, HistoryImport,
    MessageDirection, MessageId, MessageOrigin, MessageStatus, PartnerId, Timestamp, client, contact,
    conversation, message,
};
use migration::Migrator;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use sea_orm::{
    ColumnTrait, EntityTrait, Iterable, QueryFilter, QueryOrder, QuerySelect, Select, Statement, Value,
};
use serde_json::json;
use tandem::db::{Columns, Db, Join, Joined, Purpose, Shared, Sql as _, insert};
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::{database, on_postgres};

async fn open() -> (Db, TempDir) {
    let place = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}?mode=rwc", place.path().join("rows.sqlite").display());
    let url = database().await.unwrap_or(file).into();
    (Db::open::<Migrator>(&url, Purpose::Rows).await.unwrap(), place)
}

#[expect(clippy::disallowed_methods, reason = "all that the test wrote")]
fn messages() -> Select<message::Entity> {
    message::Entity::find().order_by_asc(message::Column::Id)
}

#[expect(clippy::disallowed_methods, reason = "all that the test wrote")]
fn clients() -> Select<client::Entity> {
    client::Entity::find().order_by_asc(client::Column::Id)
}

fn id() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn maybe<S: Strategy>(some: S) -> impl Strategy<Value = Option<S::Value>> {
    proptest::option::of(some)
}

/// Anything, NUL included where the database takes it; often what looks like a value of another kind.
fn text() -> impl Strategy<Value = String> {
    let any = prop_oneof![
        any::<String>(),
        "[0-9]{1,20}",
        Just("null".into()),
        Just("\0a\0".into()),
        Just("{}".into())
    ];
    any.prop_map(|text: String| if on_postgres() { text.replace('\0', "") } else { text })
}

fn instant() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1e300..1e300).prop_map(Into::into),
        text().prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::hash_map(text(), inner, 0..5)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

prop_compose! {
    fn any_message()(
        (id, partner, client, conversation, last) in (id(), id(), id(), id(), maybe(id())),
        (imported, in_history, opens_window, forwarded) in any::<(bool, bool, bool, bool)>(),
        (sent_at, content_at, status_at, created_at) in (instant(), instant(), instant(), instant()),
        (edited_at, deleted_at) in (maybe(instant()), maybe(instant())),
        (content, error, pricing, sent_by) in
            (document(), maybe(document()), maybe(document()), maybe(document())),
        (whatsapp_id, text, reply_to, idempotency_key) in
            (maybe(text()), maybe(text()), maybe(text()), maybe(text())),
        substance in any::<i32>(),
        direction in proptest::sample::select(vec![MessageDirection::Inbound, MessageDirection::Outbound]),
        origin in proptest::sample::select(vec![MessageOrigin::Customer, MessageOrigin::App, MessageOrigin::Api]),
        status in proptest::sample::select(vec![MessageStatus::Received, MessageStatus::Failed]),
    ) -> message::Model {
        message::Model {
            id: MessageId(id),
            partner_id: PartnerId(partner),
            client_id: ClientId(client),
            conversation_id: ConversationId(conversation),
            reply_to_id: last.map(MessageId),
            request_hash: text.clone(),
            whatsapp_id, direction, origin, imported, in_history, opens_window, sent_at, content, substance,
            content_at, text, status, status_at, error, pricing, reply_to, forwarded, edited_at, deleted_at,
            idempotency_key, sent_by, created_at,
        }
    }
}

prop_compose! {
    fn any_client()(
        (id, partner) in (id(), id()),
        (required, optional, phone) in (text(), maybe(text()), maybe(text())),
        (always, sometimes, seen) in (instant(), maybe(instant()), maybe(instant())),
        (token, pin) in (maybe(any::<Vec<u8>>()), maybe(any::<Vec<u8>>())),
        (shares_history, rank, profile) in (any::<Option<bool>>(), any::<i32>(), maybe(document())),
        mode in proptest::sample::select(vec![ClientMode::Coexistence, ClientMode::ApiOnly]),
        basis in proptest::sample::select(vec![None, Some(AppPresenceBasis::Confirmed)]),
    ) -> client::Model {
        client::Model {
            id: ClientId(id),
            partner_id: PartnerId(partner),
            mode,
            status: ClientStatus::Paused,
            temporary_number: required.clone(),
            phone_number: phone.clone(),
            phone_number_id: phone,
            waba_id: optional.clone(),
            display_name: optional.clone(),
            display_name_at: always,
            profile,
            profile_at: always,
            templates_at: always,
            templates_due_at: always,
            business_name: required,
            business_email: optional.clone(),
            reference: optional.clone(),
            token_sealed: token,
            token_expires_at: seen,
            pin_sealed: pin,
            history_import: HistoryImport::Never,
            shares_history,
            first_connected_at: sometimes,
            connected_at: sometimes,
            account_at: always,
            account_rank: rank,
            disconnected_at: sometimes,
            disconnect_reason: optional.clone(),
            disconnect_upstream_reason: optional.clone(),
            disconnect_initiated_by: optional.clone(),
            pause_reason: optional,
            last_seen_at: seen,
            last_seen_basis: basis,
            visit_raised_days: rank,
            created_at: always,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rows_are_what_the_other_driver_reads(
        messages_in in proptest::collection::vec(any_message(), 1..8),
        client_in in any_client(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (db, _place) = open().await;
            insert::<client::Entity, _>(db.write(), vec![client_in]).await.unwrap();
            insert::<message::Entity, _>(db.write(), messages_in.clone()).await.unwrap();
            assert_eq!(db.rows(clients()).await.unwrap(), clients().all(db.read()).await.unwrap());
            let all = messages().all(db.read()).await.unwrap();
            assert_eq!(db.rows(messages()).await.unwrap(), all);
            // What is asked is bound alike.
            let one = &messages_in[0];
            let same = |column: message::Column, value: Value| messages().filter(column.eq(value));
            for select in [
                same(message::Column::Id, one.id.into()),
                same(message::Column::Text, one.text.clone().into()),
                same(message::Column::SentAt, one.sent_at.into()),
                same(message::Column::Imported, one.imported.into()),
                same(message::Column::Substance, one.substance.into()),
                same(message::Column::Status, one.status.into()),
                messages().limit(1),
            ] {
                let read = db.rows(select.clone()).await.unwrap();
                assert!(one.text.is_none() || !read.is_empty());
                assert_eq!(read, select.all(db.read()).await.unwrap());
            }
            db.close().await.unwrap();
        });
    }
}

fn a_message() -> message::Model {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    any_message().new_tree(&mut runner).unwrap().current()
}

#[tokio::test]
async fn what_is_no_row_of_the_table_is_an_error_that_names_the_column() {
    let (db, _place) = open().await;
    insert::<message::Entity, _>(db.write(), vec![a_message()]).await.unwrap();
    let other_columns = messages().select_only().column(message::Column::Id);
    let same = other_columns.clone().columns(message::Column::iter().skip(1));
    assert_eq!(db.rows(same).await.unwrap().len(), 1);
    let swapped = messages()
        .select_only()
        .column(message::Column::PartnerId)
        .column(message::Column::Id)
        .columns(message::Column::iter().skip(2));
    for select in [other_columns, swapped] {
        assert!(db.rows(select).await.unwrap_err().to_string().contains("columns"));
    }
    // Postgres keeps all but words from being written.
    let kinds = [("content", "'no JSON'"), ("content", "'{} {}'"), ("id", "'x'")];
    let kinds = if on_postgres() { &[][..] } else { &kinds };
    for (column, wrong) in [("status", "'NO_WORD'")].iter().chain(kinds) {
        let sql = format!("UPDATE message SET {column} = {wrong}");
        db.write().put(Statement::from_string(db.backend(), sql)).await.unwrap();
        let error = db.rows(messages()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("column {column}: ")), "{error}");
        assert!(messages().all(db.read()).await.is_err());
        let clear = Statement::from_string(db.backend(), "DELETE FROM message");
        db.write().put(clear).await.unwrap();
        insert::<message::Entity, _>(db.write(), vec![a_message()]).await.unwrap();
    }
}

#[tokio::test]
async fn columns_that_were_not_asked_for_are_empty_and_the_others_stand_in_their_fields() {
    let (db, _place) = open().await;
    let stored = a_message();
    insert::<message::Entity, _>(db.write(), vec![stored.clone()]).await.unwrap();
    // In another order than the table's.
    let wanted = vec![message::Column::Status, message::Column::SentAt, message::Column::Id];
    let read: Vec<message::Model> =
        db.rows_with(messages(), &Columns::Some(wanted), Vec::new()).await.unwrap();
    let read = read.into_iter().next().unwrap();
    assert_eq!((read.id, read.sent_at, read.status), (stored.id, stored.sent_at, stored.status));
    assert_eq!((read.partner_id, read.content_at), (PartnerId(Uuid::nil()), Timestamp(0)));
    assert_eq!((read.content, read.text, read.sent_by), (serde_json::Value::Null, None, None));
    assert_eq!((read.substance, read.forwarded, read.direction), (0, false, MessageDirection::Inbound));
    let whole: Vec<message::Model> = db.rows_with(messages(), &Columns::All, Vec::new()).await.unwrap();
    assert_eq!(whole, [stored]);
}

#[tokio::test]
async fn rows_stand_beside_what_they_lead_to_and_beside_nothing_where_that_is_gone() {
    type Row = Joined<message::Model, Joined<conversation::Model, Shared<contact::Model>>>;
    let (db, _place) = open().await;
    let [a, b, c] = [1, 2, 3].map(|n| message::Model { id: MessageId(Uuid::from_u128(n)), ..a_message() });
    let here = conversation::Model {
        id: a.conversation_id,
        partner_id: a.partner_id,
        client_id: a.client_id,
        contact_id: ContactId(Uuid::from_u128(9)),
        last_activity_at: Timestamp(7),
        last_message_id: None,
        window_opened_at: Some(Timestamp(5)),
        window_message_id: None,
        window_refused_at: None,
        read_at: Timestamp(6),
        unread_count: 3,
        created_at: Timestamp(1),
    };
    let alone = conversation::Model {
        id: ConversationId(Uuid::from_u128(8)),
        contact_id: ContactId(Uuid::from_u128(10)),
        ..here.clone()
    };
    let person = contact::Model {
        id: here.contact_id,
        partner_id: a.partner_id,
        client_id: a.client_id,
        phone_number: None,
        phone_at: Timestamp(1),
        wa_user_id: Some("one".into()),
        user_id_at: Timestamp(2),
        username: None,
        username_at: Timestamp(3),
        profile_name: Some("Ada".into()),
        profile_name_at: Timestamp(4),
        full_name: None,
        first_name: None,
        in_phone_book: true,
        book_at: Timestamp(5),
        marketing_stopped: false,
        marketing_at: Timestamp(6),
        ambiguous: false,
        announced: true,
        search: "ada".into(),
        changed_at: Timestamp(7),
        created_at: Timestamp(8),
    };
    let b = message::Model { conversation_id: alone.id, ..b };
    let c = message::Model { conversation_id: ConversationId(Uuid::nil()), ..c };
    insert::<contact::Entity, _>(db.write(), vec![person.clone()]).await.unwrap();
    insert::<conversation::Entity, _>(db.write(), vec![here.clone(), alone.clone()]).await.unwrap();
    insert::<message::Entity, _>(db.write(), vec![a.clone(), b.clone(), c.clone()]).await.unwrap();
    let joins = |columns, people| {
        vec![
            Join::new::<conversation::Entity>(
                message::Column::ConversationId,
                conversation::Column::Id,
                columns,
            ),
            Join::new::<contact::Entity>(conversation::Column::ContactId, contact::Column::Id, people),
        ]
    };
    let with = |row: &message::Model, rest| Joined(Arc::new(row.clone()), rest);
    let read: Vec<Row> =
        db.rows_with(messages(), &Columns::All, joins(&Columns::All, &Columns::All)).await.unwrap();
    let expected = [
        with(&a, Some(Joined(Arc::new(here.clone()), Some(Shared(Arc::new(person)))))),
        with(&b, Some(Joined(Arc::new(alone.clone()), None))),
        with(&c, None),
    ];
    assert_eq!(read, expected);

    // Some columns of each; and without the last table.
    let some = Columns::Some(vec![conversation::Column::UnreadCount, conversation::Column::Id]);
    let name = Columns::Some(vec![contact::Column::Id, contact::Column::ProfileName]);
    let ids = Columns::Some(vec![message::Column::Id]);
    for most in [2, 1] {
        let mut joins = joins(&some, &name);
        joins.truncate(most);
        let read: Vec<Row> = db.rows_with(messages(), &ids, joins).await.unwrap();
        let told: Vec<_> = read
            .iter()
            .map(|Joined(row, rest)| {
                let rest = rest.as_ref().map(|Joined(its, who)| {
                    (
                        its.id,
                        its.unread_count,
                        its.contact_id.0,
                        who.as_ref().map(|Shared(who)| who.profile_name.clone()),
                    )
                });
                (row.id, row.text.clone(), rest)
            })
            .collect();
        let ada = (most == 2).then(|| Some("Ada".to_owned()));
        assert_eq!(
            told,
            [
                (a.id, None, Some((here.id, 3, Uuid::nil(), ada))),
                (b.id, None, Some((alone.id, 3, Uuid::nil(), None))),
                (c.id, None, None),
            ]
        );
    }
    let read: Vec<Row> = db.rows_with(messages(), &ids, Vec::new()).await.unwrap();
    assert!(read.iter().all(|Joined(_, rest)| rest.is_none()));
    // What is no column of the table beside is no row of it.
    let mut twice = joins(&some, &name);
    twice.extend(joins(&some, &name).drain(..1));
    assert!(db.rows_with::<_, Row>(messages(), &ids, twice).await.is_err());
}

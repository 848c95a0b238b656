//! Which client a change concerns.

use std::collections::{BTreeSet, HashMap, HashSet};

use entity::{ClientId, Timestamp, client};
use sea_orm::{ColumnTrait, Condition, DbErr, EntityTrait, QueryFilter};

use crate::db::{SelectExt, Sql, padded};
use crate::upstream::change::{Account, Change, ChangeKind, Via};

/// A client that holds or held a number.
#[derive(Clone, Debug)]
struct Holder {
    client: ClientId,
    created_at: Timestamp,
    first_connected_at: Timestamp,
    connected_at: Timestamp,
}

/// Who holds the numbers that a batch of bodies names.
#[derive(Default)]
pub(super) struct Routes {
    by_number_id: HashMap<String, Vec<Holder>>,
    by_number: HashMap<String, Vec<Holder>>,
    by_account: HashMap<String, Vec<Holder>>,
}

impl Routes {
    /// Looks up all numbers and accounts that the changes name.
    #[expect(clippy::disallowed_methods, reason = "this look-up decides whose rows a body concerns")]
    pub(super) async fn load<C: Sql>(connection: &C, accounts: &HashSet<Account>) -> Result<Self, DbErr> {
        let (mut ids, mut numbers, mut wabas) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for account in accounts {
            ids.extend(account.phone_number_id.clone());
            if account.phone_number_id.is_none() {
                numbers.extend(account.phone_number.clone());
                wabas.extend(account.waba_id.clone());
            }
        }
        let mut routes = Self::default();
        if ids.is_empty() && numbers.is_empty() && wabas.is_empty() {
            return Ok(routes);
        }
        let mut named = Condition::any();
        for (column, values) in [
            (client::Column::PhoneNumberId, ids),
            (client::Column::PhoneNumber, numbers),
            (client::Column::WabaId, wabas),
        ] {
            if !values.is_empty() {
                named = named.add(column.is_in(padded(values)));
            }
        }
        for row in client::Entity::find().filter(named).rows(connection).await? {
            let (Some(connected_at), Some(first_connected_at)) = (row.connected_at, row.first_connected_at)
            else {
                continue;
            };
            let holder =
                Holder { client: row.id, created_at: row.created_at, first_connected_at, connected_at };
            for (map, key) in [
                (&mut routes.by_number_id, &row.phone_number_id),
                (&mut routes.by_number, &row.phone_number),
                (&mut routes.by_account, &row.waba_id),
            ] {
                if let Some(key) = key {
                    map.entry(key.clone()).or_default().push(holder.clone());
                }
            }
        }
        for map in [&mut routes.by_number_id, &mut routes.by_number, &mut routes.by_account] {
            for holders in map.values_mut() {
                holders.sort_by_key(|holder| std::cmp::Reverse(holder.connected_at));
            }
        }
        Ok(routes)
    }

    /// The clients that a change concerns: one, but for an account's change that names no number. None: nobody holds
    /// the number, or nobody did when the body came.
    pub(super) fn of(&self, change: &Change, received_at: Timestamp) -> Vec<ClientId> {
        let account = &change.account;
        if let Some(id) = &account.phone_number_id {
            return self
                .by_number_id
                .get(id)
                .and_then(|all| holder(all, change, received_at))
                .into_iter()
                .collect();
        }
        if let Some(number) = &account.phone_number
            && let Some(all) = self.by_number.get(number)
        {
            return holder(all, change, received_at).into_iter().collect();
        }
        let Some(all) = account.waba_id.as_ref().and_then(|waba| self.by_account.get(waba)) else {
            return Vec::new();
        };
        all.iter().filter(|holder| received_at >= holder.created_at).map(|holder| holder.client).collect()
    }
}

/// Of those who hold or held a number (latest connection first), the one whom a change concerns: the present holder,
/// or, for what happened before the present one was first connected, the one who held it then. A body that came before
/// the holder's first onboarding was made concerns nobody.
fn holder(holders: &[Holder], change: &Change, received_at: Timestamp) -> Option<ClientId> {
    let (present, former) = holders.split_first()?;
    let stamp = match &change.kind {
        ChangeKind::Message(seen) if seen.via == Via::Live => seen.at,
        ChangeKind::Status(seen) => seen.at,
        ChangeKind::Edit(seen) => seen.at,
        ChangeKind::Delete(seen) => seen.at,
        ChangeKind::Reaction(seen) if seen.via == Via::Live => seen.at,
        ChangeKind::Account(seen) => seen.at,
        // Of the history, the phone book and the rest nobody hears who did not ask.
        _ => None,
    };
    if let Some(at) = stamp
        && at < present.first_connected_at.floor_second()
        && let Some(then) = former.iter().find(|holder| holder.first_connected_at.floor_second() <= at)
    {
        return Some(then.client);
    }
    // The service's clock may follow the simulator's by a second's delay.
    (received_at.plus_seconds(1) >= present.created_at).then_some(present.client)
}

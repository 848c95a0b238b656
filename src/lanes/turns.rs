//! Fair between the recipients of one client: they take turns. A recipient of whom much waits has one turn and then lets
//! everybody go first who waited at that time, so that nobody's first message waits behind somebody's thousand. In memory
//! only: after a restart the turns begin anew.

use std::collections::HashMap;

use entity::{ConversationId, LaneEntryId, Timestamp};

/// Recipients whose turns are remembered, per client.
const MOST: usize = 256;

/// The first entry of a recipient, which may go now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: LaneEntryId,
    pub(super) conversation: ConversationId,
    pub(super) due_at: Timestamp,
    /// Whether more waits for the same recipient.
    pub(super) more: bool,
}

/// When recipients of whom more waits had their last turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    last: HashMap<ConversationId, Timestamp>,
}

impl Turns {
    /// How many heads have to be looked at beyond those that are wanted: so many may have to let others go first.
    pub(super) fn known(&self) -> usize {
        self.last.len()
    }

    /// Takes out of heads the `most` whose turn it is, and has been from now on.
    pub(super) fn take(&mut self, heads: &mut Vec<Head>, most: usize, now: Timestamp) -> Vec<Head> {
        let waits_since = |head: &Head| match self.last.get(&head.conversation) {
            Some(last) => (Ord::max(head.due_at, *last), true),
            None => (head.due_at, false),
        };
        heads.sort_by_key(waits_since);
        let taken: Vec<Head> = heads.drain(..most.min(heads.len())).collect();
        for head in &taken {
            if head.more {
                self.last.insert(head.conversation, now);
            } else {
                self.last.remove(&head.conversation);
            }
        }
        while self.last.len() > MOST {
            let Some(oldest) = self.last.iter().min_by_key(|(_, last)| **last).map(|(id, _)| *id) else {
                break;
            };
            self.last.remove(&oldest);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn head(recipient: u128, due_at: i64, more: bool) -> Head {
        Head {
            id: LaneEntryId(Uuid::from_u128(recipient << 32 | due_at as u128)),
            conversation: ConversationId(Uuid::from_u128(recipient)),
            due_at: Timestamp(due_at),
            more,
        }
    }

    /// What leaves one by one, each in its turn, when each of these recipients queued at these instants.
    fn order(queues: &[(u128, &[i64])]) -> Vec<u128> {
        let mut queues: Vec<(u128, Vec<i64>)> =
            queues.iter().map(|(recipient, due)| (*recipient, due.to_vec())).collect();
        let (mut turns, mut order) = (Turns::default(), Vec::new());
        for now in 100.. {
            let mut heads: Vec<Head> = queues
                .iter()
                .filter(|(_, due)| due.first().is_some_and(|due| *due <= now))
                .map(|(recipient, due)| head(*recipient, due[0], due.len() > 1))
                .collect();
            heads.sort_by_key(|head| head.due_at);
            heads.truncate(1 + turns.known());
            for head in turns.take(&mut heads, 1, Timestamp(now)) {
                let recipient = head.conversation.0.as_u128();
                order.push(recipient);
                queues.iter_mut().find(|(other, _)| *other == recipient).unwrap().1.remove(0);
            }
            if queues.iter().all(|(_, due)| due.is_empty()) {
                break;
            }
        }
        order
    }

    #[test]
    fn recipients_take_turns_and_who_comes_new_waits_for_one_turn_of_each() {
        assert_eq!(order(&[(1, &[1, 2, 3, 4]), (2, &[5, 6])]), [1, 2, 1, 2, 1, 1]);
        assert_eq!(order(&[(1, &[1, 2, 3, 4, 5]), (2, &[102]), (3, &[102])]), [1, 1, 1, 2, 3, 1, 1]);
        // Who waits once waits in the order of the queue, also when somebody's second was queued before.
        assert_eq!(order(&[(1, &[1, 2]), (2, &[3]), (3, &[4]), (4, &[5])]), [1, 2, 3, 4, 1]);
    }

    #[test]
    fn few_recipients_are_remembered_and_none_of_whom_nothing_waits() {
        let mut turns = Turns::default();
        let mut heads: Vec<Head> = (0..1000).map(|n| head(n, 1, true)).collect();
        assert_eq!(turns.take(&mut heads, 500, Timestamp(2)).len(), 500);
        assert_eq!(heads.len(), 500);
        assert_eq!(turns.known(), MOST);
        for n in 0..1000 {
            turns.take(&mut vec![head(n, 2, false)], 1, Timestamp(3));
        }
        assert_eq!(turns.known(), 0);
    }
}

//! What waits to be applied, as far as memory knows. Bodies that were just committed are here and need not be read back; of
//! those that are on the disk alone it is known where they begin. The disk stays the truth: a look at it finds what other
//! processes accepted, or an operator wants tried again.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use entity::{InboundId, inbound};
use uuid::Uuid;

/// Bodies kept at most.
const BODIES: usize = 4096;
/// Bytes kept at most, beside one body.
const BYTES: usize = 4 * 1024 * 1024;
/// Bodies asked for at once.
const PAGE: usize = 1000;
/// Before all bodies.
const START: InboundId = InboundId(Uuid::nil());

/// The bodies that wait, as far as memory knows them.
pub(super) struct Fresh {
    inner: Mutex<Inner>,
}

struct Inner {
    /// What is applied next.
    bodies: VecDeque<inbound::Model>,
    bytes: usize,
    /// Those bodies, and what was taken and is not settled: on the disk they wait still.
    known: HashSet<InboundId>,
    /// Those that were settled while the disk was asked: what it answers may be of the time before.
    settled: Option<Vec<InboundId>>,
    /// From this body on there may be some that wait on the disk and are not here.
    rest: Option<InboundId>,
    /// The disk may hold what nobody told of.
    looks: bool,
}

/// What has to be asked of the disk: which bodies wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// From this one on.
    pub(super) from: InboundId,
    /// So many at most.
    pub(super) most: usize,
    /// To read them. Else only to see whether there are any that nobody told of.
    reads: bool,
}

impl Default for Fresh {
    fn default() -> Self {
        // What a former process left is on the disk alone.
        Self {
            inner: Mutex::new(Inner {
                bodies: VecDeque::new(),
                bytes: 0,
                known: HashSet::new(),
                settled: None,
                rest: Some(START),
                looks: false,
            }),
        }
    }
}

impl Fresh {
    /// Takes in what was committed. An import stays on the disk: it is large, and waits for live traffic anyway.
    pub(super) fn push(&self, committed: Vec<inbound::Model>) {
        let mut inner = self.lock();
        for body in committed {
            // Where the disk is read, it comes from there, in its turn.
            if body.history || inner.rest.is_some_and(|from| body.id >= from) {
                continue;
            }
            if inner.bytes > BYTES || inner.bodies.len() >= BODIES {
                inner.unread(body.id);
            } else {
                inner.add(body);
            }
        }
    }

    /// The oldest bodies that are here.
    pub(super) fn take(&self, most: usize) -> Vec<inbound::Model> {
        let mut inner = self.lock();
        let count = inner.bodies.len().min(most);
        let taken: Vec<_> = inner.bodies.drain(..count).collect();
        inner.bytes -= taken.iter().map(|body| body.body.len()).sum::<usize>();
        taken
    }

    /// What has to be asked of the disk before so many bodies can be taken. What is committed from now on is taken in.
    pub(super) fn ask(&self, most: usize) -> Option<Ask> {
        let mut inner = self.lock();
        let mut ask = None;
        if std::mem::take(&mut inner.looks) {
            match inner.rest {
                None => ask = Some(Ask { from: START, most: inner.known.len() + 1, reads: false }),
                Some(_) => inner.rest = Some(START),
            }
        }
        if ask.is_none() && inner.bodies.len() < most && inner.bytes <= BYTES {
            ask = inner.rest.take().map(|from| Ask { from, most: PAGE, reads: true });
        }
        inner.settled = ask.map(|_| Vec::new());
        ask
    }

    /// The disk did not answer.
    pub(super) fn missed(&self, ask: Ask) {
        let mut inner = self.lock();
        inner.unread(ask.from);
        inner.end_asking();
    }

    /// What waits on the disk, oldest first and each with its size: as many as was asked for, or all. Which of them are to be
    /// read now: those that are not here, as many as there is room for.
    pub(super) fn choose(&self, ask: Ask, waiting: &[(InboundId, usize)]) -> Vec<InboundId> {
        let mut inner = self.lock();
        let (mut chosen, mut bytes) = (Vec::new(), inner.bytes);
        for (id, size) in waiting {
            if inner.known.contains(id) {
                continue;
            }
            if !ask.reads || bytes > BYTES {
                inner.unread(*id);
                return chosen;
            }
            bytes += size;
            chosen.push(*id);
        }
        if let Some((last, _)) = waiting.last().filter(|_| ask.reads && waiting.len() == ask.most) {
            inner.unread(*last);
        }
        chosen
    }

    /// Takes in what was read.
    pub(super) fn was_read(&self, bodies: Vec<inbound::Model>) {
        let mut inner = self.lock();
        for body in bodies {
            inner.add(body);
        }
        inner.end_asking();
        // What was committed meanwhile is younger.
        inner.bodies.make_contiguous().sort_by_key(|body| body.id);
    }

    /// These wait no longer.
    pub(super) fn settled(&self, ids: &[InboundId]) {
        let mut inner = self.lock();
        match &mut inner.settled {
            Some(settled) => settled.extend(ids),
            None => inner.no_longer_known(ids),
        }
    }

    /// The disk may hold what nobody told of.
    pub(super) fn look_again(&self) {
        self.lock().looks = true;
    }

    /// Nothing is known any more: what was taken comes again from the disk, unless it is settled by then.
    pub(super) fn forget(&self) {
        let mut inner = self.lock();
        inner.bodies = VecDeque::new();
        inner.bytes = 0;
        inner.known.clear();
        inner.settled = None;
        inner.rest = Some(START);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn no_longer_known(&mut self, ids: &[InboundId]) {
        for id in ids {
            self.known.remove(id);
        }
    }

    fn end_asking(&mut self) {
        let settled = self.settled.take().unwrap_or_default();
        self.no_longer_known(&settled);
    }

    fn unread(&mut self, from: InboundId) {
        self.rest = Some(self.rest.map_or(from, |rest| rest.min(from)));
    }

    /// A body may be read from the disk before its commit is heard of here: it must not come twice.
    fn add(&mut self, body: inbound::Model) {
        if self.known.insert(body.id) {
            self.bytes += body.body.len();
            self.bodies.push_back(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use entity::{InboundState, Timestamp};

    use super::*;
    use crate::ids::PublicId;

    fn body(size: usize) -> inbound::Model {
        inbound::Model {
            id: InboundId::generate(),
            received_at: Timestamp(0),
            history: false,
            state: InboundState::Pending,
            body: vec![0; size],
            error: None,
            partly_unknown: false,
            settled_at: None,
        }
    }

    fn ids(bodies: &[inbound::Model]) -> Vec<InboundId> {
        bodies.iter().map(|body| body.id).collect()
    }

    /// Asks what has to be asked, of a disk that holds these, until so many are here. How many it was asked for.
    fn read(fresh: &Fresh, disk: &[inbound::Model], most: usize) -> usize {
        let mut count = 0;
        while let Some(ask) = fresh.ask(most) {
            let waiting = disk.iter().filter(|body| body.id >= ask.from).take(ask.most);
            let waiting: Vec<_> = waiting.map(|body| (body.id, body.body.len())).collect();
            let chosen = fresh.choose(ask, &waiting);
            count += chosen.len();
            fresh.was_read(disk.iter().filter(|body| chosen.contains(&body.id)).cloned().collect());
        }
        count
    }

    /// Nothing waits on the disk that is not here.
    fn level() -> Fresh {
        let fresh = Fresh::default();
        assert_eq!(read(&fresh, &[], 1), 0, "what a former process left is on the disk");
        fresh
    }

    #[test]
    fn bodies_come_in_the_order_of_their_commits() {
        let fresh = level();
        let (one, two, three) = (body(1), body(1), body(1));
        fresh.push(vec![one.clone(), two.clone()]);
        fresh.push(vec![three.clone()]);
        assert_eq!(ids(&fresh.take(2)), ids(&[one, two]));
        assert_eq!(ids(&fresh.take(2)), ids(&[three]));
        assert_eq!(fresh.take(2), []);
        assert!(fresh.ask(1).is_none(), "the disk need not be asked");
    }

    #[test]
    fn what_the_disk_gave_does_not_come_once_more() {
        let fresh = Fresh::default();
        let (early, late, new) = (body(1), body(1), body(1));
        let ask = fresh.ask(1).unwrap();
        fresh.push(vec![early.clone(), new.clone()]);
        assert_eq!(fresh.choose(ask, &[(early.id, 1), (late.id, 1)]), [late.id]);
        fresh.was_read(vec![late.clone()]);
        // Its commit is heard of after it was read.
        fresh.push(vec![late.clone()]);
        assert_eq!(ids(&fresh.take(9)), ids(&[early, late, new]), "in their order");
    }

    #[test]
    fn what_is_settled_while_the_disk_is_asked_does_not_come_once_more() {
        let fresh = level();
        let body = body(1);
        fresh.push(vec![body.clone()]);
        fresh.take(1);
        fresh.look_again();
        let ask = fresh.ask(1).unwrap();
        // The disk answered before it was told.
        fresh.settled(&[body.id]);
        assert_eq!(fresh.choose(ask, &[(body.id, 1)]), []);
        fresh.was_read(Vec::new());
        assert!(fresh.ask(1).is_none());
        assert!(fresh.lock().known.is_empty());
    }

    #[test]
    fn what_memory_does_not_hold_is_read_later_and_once() {
        let fresh = level();
        let disk = [body(BYTES), body(1), body(1), body(1)];
        fresh.push(disk[..2].to_vec());
        fresh.push(disk[2..].to_vec());
        assert_eq!(ids(&fresh.take(9)), ids(&disk[..2]), "then there were too many bytes");
        assert_eq!(read(&fresh, &disk, 9), 2);
        assert_eq!(ids(&fresh.take(9)), ids(&disk[2..]));
        assert!(fresh.ask(9).is_none());
    }

    #[test]
    fn a_long_backlog_is_read_page_by_page() {
        let fresh = Fresh::default();
        let disk: Vec<_> = (0..2 * PAGE + 10).map(|_| body(1)).collect();
        let (mut count, mut taken) = (0, Vec::new());
        for _ in 0..6 {
            count += read(&fresh, &disk, 400);
            taken.extend(fresh.take(400));
        }
        assert_eq!((count, ids(&taken)), (disk.len(), ids(&disk)));
    }

    #[test]
    fn large_bodies_are_read_a_few_at_a_time() {
        let fresh = Fresh::default();
        let disk: Vec<_> = (0..4).map(|_| body(BYTES / 2 + 1)).collect();
        assert_eq!(read(&fresh, &disk, 9), 2);
        fresh.take(9);
        assert_eq!(read(&fresh, &disk, 9), 2);
    }

    #[test]
    fn a_look_finds_what_nobody_told_of_and_nothing_else() {
        let fresh = level();
        let (taken, here, foreign) = (body(1), body(1), body(1));
        fresh.push(vec![taken.clone(), here.clone()]);
        fresh.take(1);
        fresh.look_again();
        let disk = [taken.clone(), here.clone()];
        assert_eq!(read(&fresh, &disk, 9), 0);
        fresh.look_again();
        assert_eq!(read(&fresh, &[taken.clone(), here.clone(), foreign.clone()], 9), 1);
        assert_eq!(ids(&fresh.take(9)), ids(&[here, foreign]));
        // Settled, and then an operator wants it tried again.
        fresh.settled(&[taken.id]);
        fresh.look_again();
        assert_eq!(read(&fresh, std::slice::from_ref(&taken), 9), 1);
    }

    #[test]
    fn what_could_not_be_read_is_asked_for_again() {
        let fresh = Fresh::default();
        let ask = fresh.ask(1).unwrap();
        fresh.missed(ask);
        assert!(fresh.ask(1).is_some());
    }

    #[test]
    fn what_was_forgotten_comes_again_from_the_disk() {
        let fresh = level();
        let (taken, here) = (body(1), body(1));
        fresh.push(vec![taken.clone(), here.clone()]);
        fresh.take(1);
        fresh.forget();
        assert_eq!(read(&fresh, &[taken, here], 9), 2);
    }
}

//! The rate of a lane: a send holds a slot from its start until one second after its answer. So between two starts in
//! one slot lies more than a second, and whoever receives what N slots send sees at most N in any second, whatever the
//! latency. Always by real time.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How long a slot rests after an answer.
pub(super) const REST: Duration = Duration::from_secs(1);
/// How long it rests after an answer that said: too fast. So where WhatsApp allows less than we are set to, as many slots
/// stay in use as it allows.
pub(super) const LONG_REST: Duration = Duration::from_secs(5);

/// The slots of a lane.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// On the wire.
    held: usize,
    /// When those that rest are free again, in ascending order.
    resting: VecDeque<Instant>,
}

impl Slots {
    /// How many of `limit` slots can be taken now.
    pub(super) fn free(&mut self, limit: usize, now: Instant) -> usize {
        while self.resting.front().is_some_and(|free_at| *free_at <= now) {
            self.resting.pop_front();
        }
        limit.saturating_sub(self.held + self.resting.len())
    }

    /// Something is about to start.
    pub(super) fn take(&mut self) {
        self.held += 1;
    }

    /// It was answered at this instant, or given up.
    pub(super) fn rest(&mut self, answered_at: Instant, rest: Duration) {
        self.held = self.held.saturating_sub(1);
        let free_at = answered_at + rest;
        let place = self.resting.partition_point(|other| *other <= free_at);
        self.resting.insert(place, free_at);
    }

    /// When the next resting slot is free.
    pub(super) fn next(&self) -> Option<Instant> {
        self.resting.front().copied()
    }

    /// On the wire.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Nothing is on the wire, nothing rests.
    pub(super) fn is_idle(&mut self, now: Instant) -> bool {
        self.free(usize::MAX, now);
        self.held == 0 && self.resting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slot_rests_a_second_after_its_answer() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut slots = Slots::default();
        assert_eq!(slots.free(2, at(0)), 2);
        slots.take();
        slots.take();
        assert_eq!((slots.free(2, at(500)), slots.next()), (0, None));
        slots.rest(at(600), REST);
        assert_eq!(slots.free(2, at(1599)), 0);
        assert_eq!(slots.next(), Some(at(1600)));
        assert_eq!(slots.free(2, at(1600)), 1);
        assert!(!slots.is_idle(at(1600)));
        slots.rest(at(700), REST);
        assert!(slots.is_idle(at(1700)));

        slots.take();
        slots.rest(at(2000), LONG_REST);
        assert_eq!((slots.free(2, at(3500)), slots.free(2, at(7000))), (1, 2));
    }

    proptest! {
        /// Whatever the latencies and pauses: no second sees more arrivals than there are slots.
        #[test]
        fn no_second_sees_more_than_the_limit(
            limit in 1_usize..25,
            sends in prop::collection::vec((0_u64..2500, 0_u64..400, 0.0_f64..1.0), 1..200),
        ) {
            let start = Instant::now();
            let at = |millis| start + Duration::from_millis(millis);
            let mut slots = Slots::default();
            let mut now = 0;
            let mut flying: Vec<u64> = Vec::new();
            let mut arrivals: Vec<u64> = Vec::new();
            for (latency, pause, way) in sends {
                now += pause;
                loop {
                    flying.retain(|answered| {
                        let over = *answered <= now;
                        if over {
                            slots.rest(at(*answered), REST);
                        }
                        !over
                    });
                    if slots.free(limit, at(now)) > 0 {
                        break;
                    }
                    now += 1;
                }
                slots.take();
                arrivals.push(now + (latency as f64 * way) as u64);
                flying.push(now + latency);
            }
            arrivals.sort_unstable();
            for window in arrivals.windows(limit + 1) {
                prop_assert!(window[limit] - window[0] >= 1000, "{window:?}");
            }
        }
    }
}

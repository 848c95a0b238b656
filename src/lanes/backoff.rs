//! How long to wait after a try in vain.

use std::time::Duration;

use crate::upstream::meta::client::PAIR_LIMIT;

/// Longest wait of one message, seconds.
const LONGEST: i64 = 60;
/// Longest wait for the limit of one recipient, seconds.
const LONGEST_PAIR: i64 = 1024;
/// Longest wait of a whole lane.
const LONGEST_LANE: Duration = Duration::from_secs(30);
/// Tries that WhatsApp may refuse, in an hour at least, before its word is final.
pub(super) const MOST_REFUSALS: i32 = 60;

/// Seconds until a message is tried again, after `attempts` tries in vain before this one.
pub(super) fn of_message(attempts: i32) -> i64 {
    power(2, attempts, LONGEST)
}

/// The same, after Meta's refusal: of the limit per recipient Meta says 4 to the power of n.
pub(super) fn of_refusal(code: i64, attempts: i32) -> i64 {
    if code == PAIR_LIMIT { power(4, attempts, LONGEST_PAIR) } else { of_message(attempts) }
}

/// How long a lane pauses after the upstream could not be reached or asked to slow down, `times` in a row.
pub(super) fn of_lane(times: u32) -> Duration {
    Duration::from_secs(1 << times.min(8)).min(LONGEST_LANE)
}

fn power(base: i64, exponent: i32, most: i64) -> i64 {
    let exponent = u32::try_from(exponent).unwrap_or(0);
    base.checked_pow(exponent).unwrap_or(most).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let waits: Vec<i64> = (0..9).map(of_message).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(of_message(i32::MAX), 60);
        assert_eq!(of_message(-1), 1);
    }

    #[test]
    fn the_limit_per_recipient_waits_as_meta_says() {
        let waits: Vec<i64> = (0..7).map(|n| of_refusal(PAIR_LIMIT, n)).collect();
        assert_eq!(waits, [1, 4, 16, 64, 256, 1024, 1024]);
        assert_eq!(of_refusal(131_016, 1), 2);
    }

    #[test]
    fn a_lane_pauses_half_a_minute_at_most() {
        assert_eq!(of_lane(0), Duration::from_secs(1));
        assert_eq!(of_lane(3), Duration::from_secs(8));
        assert_eq!(of_lane(u32::MAX), Duration::from_secs(30));
    }
}

//! When a delivery is tried again: soon at first, then less and less often, for three days after its first attempt.

use entity::Timestamp;

/// Seconds between attempts; the last one repeats. The first eight make about an hour.
const PAUSES: [i64; 13] =
    [5, 30, 120, 300, 600, 900, 900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600];
/// Seconds after the first attempt for which it is tried: three days.
pub const WHOLE: i64 = 3 * 86_400;
/// Seconds of failures after which a delivery no longer holds up later ones of its client.
pub const IN_ORDER: i64 = 3600;
/// Longest wait that a receiver can ask for, seconds.
const LONGEST_ASKED: i64 = 86_400;
/// A pause is shortened or prolonged by up to this part of it, so that receivers that were away are not met by all at
/// once.
const JITTER: f64 = 0.2;

/// When to try again after `attempts` attempts in vain, the last of them at `now`. `asked`: the seconds that the receiver
/// wants to be left alone. None: that was the last attempt.
pub fn next(
    attempts: i32,
    first: Timestamp,
    now: Timestamp,
    asked: Option<i64>,
    random: f64,
) -> Option<Timestamp> {
    let end = first.plus_seconds(WHOLE);
    if now >= end {
        return None;
    }
    let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(0);
    let pause = PAUSES.get(index).or(PAUSES.last()).copied().unwrap_or(LONGEST_ASKED);
    let jittered = pause as f64 * 1e6 * (1.0 + JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0));
    let asked = asked.unwrap_or(0).clamp(0, LONGEST_ASKED) * 1_000_000;
    // The last attempt is made when the time is over, not before.
    Some(Timestamp(now.0.saturating_add((jittered as i64).max(asked))).min(end))
}

/// Seconds that a `Retry-After` asks for: a number, or the instant of a date.
pub fn retry_after(value: &str, now: Timestamp) -> Option<i64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(i64::from(seconds).min(LONGEST_ASKED));
    }
    let date = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    Some((date.timestamp() - now.seconds()).clamp(0, LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_700_000_000_000_000);

    #[test]
    fn it_is_tried_for_three_days_and_once_more_at_their_end() {
        for random in [0.0, 0.5, 1.0] {
            let (mut now, mut attempts, mut in_first_hour) = (START, 1, 1);
            while let Some(then) = next(attempts, START, now, None, random) {
                assert!(then > now);
                now = then;
                attempts += 1;
                in_first_hour += i32::from(now < START.plus_seconds(IN_ORDER));
            }
            assert_eq!(now, START.plus_seconds(WHOLE));
            assert!((16..=22).contains(&attempts), "{attempts}");
            assert!((7..=9).contains(&in_first_hour), "{in_first_hour}");
        }
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_ever() {
        assert_eq!(next(1, START, START, Some(60), 0.5), Some(START.plus_seconds(60)));
        assert_eq!(next(1, START, START, Some(2), 0.5), Some(START.plus_seconds(5)));
        assert_eq!(next(1, START, START, Some(i64::MAX), 0.5), Some(START.plus_seconds(86_400)));
        assert_eq!(retry_after("120", START), Some(120));
        assert_eq!(retry_after("4000000000", START), Some(86_400));
        let date = "Tue, 14 Nov 2023 22:13:50 GMT";
        assert_eq!(retry_after(date, START), Some(30));
        assert_eq!(retry_after("Mon, 13 Nov 2023 22:13:50 GMT", START), Some(0));
        assert_eq!(retry_after("soon", START), None);
    }
}

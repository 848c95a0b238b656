//! Connections that send what is ready, and what they saw.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::http::Connection;
use crate::webhooks::{Batch, Writer};

/// How long answers may stay away after the end.
const PATIENCE: Duration = Duration::from_secs(30);

/// When the next request may go out.
#[derive(Clone)]
pub(crate) enum Pace {
    /// At once.
    Free,
    /// When somebody allows it.
    Allowed(Arc<Semaphore>),
    /// The n-th so many n-ths of a second after the beginning, whatever became of those before.
    Every(Instant, Duration),
}

/// What to send.
pub(crate) trait Source: Send + Sync + 'static {
    /// The next request, with a number of its own; into `buffer` if it has to be made first. None: no more.
    fn next<'a>(&'a self, buffer: &'a mut Vec<u8>) -> Option<(u64, &'a [u8])>;

    /// Something goes out this moment.
    fn sending(&self, _number: u64) {}

    /// Whether an answer is the one that was asked for.
    fn is_good(&self, status: u16, body: &[u8]) -> bool;
}

/// Webhooks, made before the clock starts; should they run out, the rest is made on the way.
pub(crate) struct Webhooks {
    ready: Batch,
    next: AtomicUsize,
    late: Mutex<Writer>,
    /// When each went out, in microseconds after `began`; by its place in the batch.
    sent: Option<(Instant, Vec<AtomicU32>)>,
}

impl Webhooks {
    pub(crate) fn new(mut writer: Writer, count: usize) -> Self {
        Self { ready: writer.batch(count), next: AtomicUsize::new(0), late: Mutex::new(writer), sent: None }
    }

    /// The same, noting when each goes out.
    pub(crate) fn noting(writer: Writer, count: usize) -> Self {
        let mut webhooks = Self::new(writer, count);
        webhooks.sent = Some((Instant::now(), (0..count).map(|_| AtomicU32::new(0)).collect()));
        webhooks
    }

    /// To make more of them.
    pub(crate) fn into_writer(self) -> Writer {
        self.late.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago a message went out.
    pub(crate) fn since_sent(&self, serial: u64) -> Option<Duration> {
        let (began, sent) = self.sent.as_ref()?;
        let at = sent.get(self.ready.place_of(serial)?)?.load(Ordering::Relaxed);
        let at = Duration::from_micros(u64::from(at));
        (!at.is_zero()).then(|| began.elapsed().saturating_sub(at))
    }

    /// Mean size of a request.
    pub(crate) fn mean_bytes(&self) -> usize {
        self.ready.mean_bytes()
    }
}

impl Source for Webhooks {
    fn next<'a>(&'a self, buffer: &'a mut Vec<u8>) -> Option<(u64, &'a [u8])> {
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(ready) = self.ready.get(place) {
            return Some(ready);
        }
        buffer.clear();
        let serial = self.late.lock().unwrap_or_else(PoisonError::into_inner).write(buffer);
        Some((serial, buffer))
    }

    fn sending(&self, serial: u64) {
        let Some((began, sent)) = &self.sent else { return };
        if let Some(at) = self.ready.place_of(serial).and_then(|place| sent.get(place)) {
            let micros = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
            at.store(micros.max(1), Ordering::Relaxed);
        }
    }

    fn is_good(&self, status: u16, _: &[u8]) -> bool {
        status == 200
    }
}

/// The same few requests again and again.
pub(crate) struct Again {
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) next: AtomicUsize,
}

impl Source for Again {
    fn next<'a>(&'a self, _: &'a mut Vec<u8>) -> Option<(u64, &'a [u8])> {
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        let request = self.requests.get(place % self.requests.len())?;
        Some((place as u64, request))
    }

    fn is_good(&self, status: u16, body: &[u8]) -> bool {
        status == 200 && body.starts_with(b"{\"data\":{")
    }
}

/// What a load saw.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Of requests that began after the warm-up, in microseconds, in order of size.
    pub(crate) latencies: Vec<u32>,
    /// All that were answered as they should be, warm-up included.
    pub(crate) good: u64,
    /// All others.
    pub(crate) bad: u64,
    /// How long it was counted.
    pub(crate) seconds: f64,
}

impl Outcome {
    /// Requests answered in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    /// What a part of it, or another one, saw besides; times are no longer in order then.
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.good += other.good;
        self.bad += other.bad;
        self.seconds += other.seconds;
    }

    /// The same load, in several turns.
    pub(crate) fn of(turns: Vec<Self>) -> Self {
        let mut whole = Self::default();
        turns.into_iter().for_each(|turn| whole.add(turn));
        whole.latencies.sort_unstable();
        whole
    }

    /// A percentile, in milliseconds.
    pub(crate) fn ms(&self, percent: f64) -> f64 {
        percentile_ms(&self.latencies, percent)
    }
}

/// A percentile of times in microseconds that are in order of size; in milliseconds.
pub(crate) fn percentile_ms(sorted: &[u32], percent: f64) -> f64 {
    let place = (sorted.len() as f64 * percent / 100.0).ceil().max(1.0) as usize - 1;
    sorted
        .get(place.min(sorted.len().saturating_sub(1)))
        .map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
}

/// Sends from so many connections until `until`; times are counted from `from` on.
pub(crate) async fn drive<S: Source>(
    address: SocketAddr,
    connections: usize,
    source: &Arc<S>,
    pace: Pace,
    from: Instant,
    until: Instant,
) -> anyhow::Result<Outcome> {
    let mut workers = JoinSet::new();
    let turn = Arc::new(AtomicUsize::new(0));
    for _ in 0..connections {
        let connection = Connection::open(address).await?;
        workers.spawn(work(connection, source.clone(), pace.clone(), turn.clone(), from, until));
    }
    let mut whole = Outcome { seconds: (until - from).as_secs_f64(), ..Outcome::default() };
    let deadline = tokio::time::Instant::from_std(until + PATIENCE);
    while let Some(done) =
        tokio::time::timeout_at(deadline, workers.join_next()).await.context("answers stay away")?
    {
        whole.add(done.context("a worker died")??);
    }
    whole.latencies.sort_unstable();
    Ok(whole)
}

async fn work<S: Source>(
    mut connection: Connection,
    source: Arc<S>,
    pace: Pace,
    turn: Arc<AtomicUsize>,
    from: Instant,
    until: Instant,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut buffer = Vec::new();
    loop {
        match &pace {
            Pace::Free => {}
            Pace::Allowed(permits) => {
                let deadline = tokio::time::Instant::from_std(until);
                match tokio::time::timeout_at(deadline, permits.acquire()).await {
                    Ok(Ok(permit)) => permit.forget(),
                    _ => return Ok(outcome),
                }
            }
            Pace::Every(began, each) => {
                let turn = u32::try_from(turn.fetch_add(1, Ordering::Relaxed)).unwrap_or(u32::MAX);
                let due = *began + *each * turn;
                if due >= until {
                    return Ok(outcome);
                }
                tokio::time::sleep_until(due.into()).await;
            }
        }
        // What is due goes out, late or not.
        if !matches!(pace, Pace::Every(..)) && Instant::now() >= until {
            return Ok(outcome);
        }
        let Some((number, request)) = source.next(&mut buffer) else { return Ok(outcome) };
        source.sending(number);
        let begun = Instant::now();
        let answer = connection.send(request).await?;
        if source.is_good(answer.status, answer.body) {
            outcome.good += 1;
            if begun >= from {
                outcome.latencies.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
        } else {
            outcome.bad += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::percentile_ms;

    #[test]
    fn percentiles_are_of_what_was_seen() {
        let times: Vec<u32> = (1..=100).map(|n| n * 1000).collect();
        assert_eq!([50.0, 99.0, 100.0].map(|percent| percentile_ms(&times, percent)), [50.0, 99.0, 100.0]);
        assert!(percentile_ms(&[], 50.0).is_nan());
    }
}

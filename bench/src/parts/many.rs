//! Many subscribers with one question: how much of what they are told is shared, and what each of them costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use memchr::memmem;
use serde_json::json;
use tokio::task::JoinSet;

use super::bare::Bare;
use super::subscriber::Subscriber;
use super::{CUSTOMERS, SHOPS};
use crate::Bench;
use crate::load::{Pace, Webhooks, drive, percentile_ms};
use crate::report::Section;
use crate::stand::{Stand, free_address};
use crate::webhooks::{Writer, serial_in};

/// How long the last frames may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// One subscriber in so many is timed.
const TIMED: usize = 10;
/// Different places from which subscribers come back.
const PLACES: usize = 100;

/// A round: events a second, messages of a webhook, and the figures' names and words.
struct Round {
    rate: u32,
    each: u32,
    keys: [&'static str; 5],
    words: &'static str,
}

/// One question; the same events as webhooks of ten messages, and of one.
const SAME: [Round; 3] = [
    Round {
        rate: 50,
        each: 10,
        keys: ["same50", "same50p50", "same50p99", "same50cpu", "same50bare"],
        words: "one question, 50 events/s: deliveries",
    },
    Round {
        rate: 200,
        each: 10,
        keys: ["same200", "same200p50", "same200p99", "same200cpu", "same200bare"],
        words: "one question, 200 events/s: deliveries",
    },
    Round {
        rate: 500,
        each: 10,
        keys: ["same500", "same500p50", "same500p99", "same500cpu", "same500bare"],
        words: "one question, 500 events/s: deliveries",
    },
];
const BACK: Round = Round {
    rate: 500,
    each: 10,
    keys: ["back500", "back500p50", "back500p99", "back500cpu", ""],
    words: "the same after all came back with other cursors: deliveries",
};
const SINGLE: Round = Round {
    rate: 200,
    each: 1,
    keys: ["single200", "single200p50", "single200p99", "single200cpu", ""],
    words: "one question, 200 webhooks/s of one message: deliveries",
};
/// Each subscriber asks something else, and nothing can be shared.
const DIFFER: Round = Round {
    rate: 5,
    each: 1,
    keys: ["differ", "differP50", "differP99", "differCpu", ""],
    words: "a question each, 5 webhooks/s: deliveries",
};

/// What everybody asks for; `ALIAS` makes it another question.
fn query(alias: &str) -> String {
    format!(
        "subscription($after: EventCursor) {{ incomingMessages(after: $after) {{ cursor {alias}: message {{ id text status sentAt
        conversation {{ id unreadCount contact {{ id phoneNumber profileName }} }} }} }} }}"
    )
}

/// What a round showed.
struct Shown {
    deliveries: f64,
    cpu: f64,
    latencies: Vec<u32>,
    late: f64,
    /// Mean size of a result.
    bytes: usize,
    /// The newest places.
    cursors: Vec<String>,
}

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "many",
        "many subscribers over graphql-transport-ws, told of webhooks that are committed first",
    );
    let (count, idle) = (bench.lengths.subscribers, bench.lengths.idle);
    let mut stand = Stand::start(&bench.place, &[]).await?;
    let shops = stand.shops(SHOPS).await?;
    let mut writer = Writer::new(stand.address, &stand.secret, shops, CUSTOMERS)?;
    section.setting("subscribers", count);
    section.setting("idle subscribers", idle);
    section.setting("seconds a round", bench.lengths.many.as_secs());

    let process = stand.process()?;
    let before = process.memory_mb()?;
    let mut sleepers = Vec::with_capacity(idle);
    for _ in 0..idle {
        sleepers.push(Subscriber::open(stand.address, &stand.key, &query("message"), &json!({})).await?);
    }
    let each = (process.memory_mb()? - before) * 1024.0 / idle as f64;
    section.figure("idle", "service memory of an idle subscription, its socket included", each, "kB");
    drop(sleepers);

    let same = vec![query("message"); count];
    let mut cursors = Vec::new();
    let mut shared = 0.0;
    for spec in &SAME {
        let (shown, left) = round(bench, &stand, writer, &same, &[], spec).await?;
        writer = left;
        tell(&mut section, spec, &shown);
        let bare = bare(bench, spec, count, shown.bytes).await?;
        section.figure(spec.keys[4], "  bare loop CPU, as many texts as long", bare, "s per million");
        (cursors, shared) = (shown.cursors, shown.cpu);
    }
    let (shown, mut writer) = round(bench, &stand, writer, &same, &cursors, &BACK).await?;
    tell(&mut section, &BACK, &shown);
    section.figure("backRatio", "  service CPU, of what it was before", shown.cpu / shared, "x");
    let all_differ: Vec<String> = (0..count).map(|number| query(&format!("m{number}"))).collect();
    for (queries, spec) in [(&same, &SINGLE), (&all_differ, &DIFFER)] {
        let shown;
        (shown, writer) = round(bench, &stand, writer, queries, &[], spec).await?;
        tell(&mut section, spec, &shown);
    }
    stand.end().await?;
    Ok(section)
}

fn tell(section: &mut Section, spec: &Round, shown: &Shown) {
    let [deliveries, p50, p99, cpu, _] = spec.keys;
    if shown.late > 0.5 {
        section.note(format!("{}/s were not kept up with: told {:.1} s late", spec.rate, shown.late));
    }
    section.figure(deliveries, spec.words, shown.deliveries, "/s");
    section.figure(p50, "  webhook to subscriber p50", percentile_ms(&shown.latencies, 50.0), "ms");
    section.figure(p99, "  webhook to subscriber p99", percentile_ms(&shown.latencies, 99.0), "ms");
    section.figure(cpu, "  service CPU, accepting and applying included", shown.cpu, "s per million");
}

/// Opens the subscribers, posts at this rate, waits until everybody was told of everything. `cursors`: where they come
/// back; none: they begin now.
async fn round(
    bench: &Bench,
    stand: &Stand,
    mut writer: Writer,
    queries: &[String],
    cursors: &[String],
    spec: &Round,
) -> anyhow::Result<(Shown, Writer)> {
    // What happens from here on is for everybody, however long their subscriptions take to begin.
    let place = stand.ask("{ viewer { eventCursor } }", json!({})).await?;
    let place = place["viewer"]["eventCursor"].as_str().context("no place")?.to_owned();
    let mut open = Vec::with_capacity(queries.len());
    for (number, query) in queries.iter().enumerate() {
        let after = cursors.get(number % cursors.len().max(1)).unwrap_or(&place);
        open.push(Subscriber::open(stand.address, &stand.key, query, &json!({ "after": after })).await?);
    }
    for (number, subscriber) in open.iter_mut().enumerate() {
        // The n-th place has as many after it as come behind it.
        let missed = cursors.len().saturating_sub(1 + number % cursors.len().max(1));
        tokio::time::timeout(PATIENCE, subscriber.catch_up(missed))
            .await
            .with_context(|| format!("who came back was not told of {missed} messages"))??;
    }
    let posts = usize::try_from((bench.lengths.many * spec.rate / spec.each).as_secs())?;
    let count = posts * usize::try_from(spec.each)?;
    writer.messages(spec.each.into());
    let source = Arc::new(Webhooks::noting(writer, posts));
    let told = Arc::new(AtomicU64::new(0));
    let all = (count * queries.len()) as u64;
    let mut listeners = JoinSet::new();
    for (number, mut subscriber) in open.into_iter().enumerate() {
        let (told, source) = (told.clone(), source.clone());
        listeners.spawn(async move {
            let (mut latencies, mut cursors, mut bytes) = (Vec::new(), Vec::new(), 0);
            for turn in 0..count {
                subscriber
                    .told(|frame| {
                        if number % TIMED == 0 {
                            let serial = serial_in(frame).context("a frame without our text")?;
                            let latency = source.since_sent(serial).context("a message that was not sent")?;
                            latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
                        }
                        if number == 0 && turn + PLACES >= count {
                            cursors.push(cursor_in(frame).context("a frame without a cursor")?);
                            bytes = frame.len();
                        }
                        Ok(())
                    })
                    .await?;
                told.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok((latencies, cursors, bytes))
        });
    }
    let process = stand.process()?;
    let cpu = process.cpu_seconds()?;
    let began = Instant::now();
    let each = Duration::from_secs(1) * spec.each / spec.rate;
    let until = began + each * u32::try_from(posts)?;
    let outcome =
        drive(stand.address, bench.connections, &source, Pace::Every(began, each), began, until).await?;
    ensure!(outcome.bad == 0, "{} webhooks were not answered 200", outcome.bad);
    let deadline = tokio::time::Instant::from_std(until + PATIENCE);
    let (mut latencies, mut places, mut bytes) = (Vec::new(), Vec::new(), 0);
    while let Some(done) =
        tokio::time::timeout_at(deadline, listeners.join_next()).await.with_context(|| {
            format!("at {}/s {} of {all} were told in time", spec.rate, told.load(Ordering::Relaxed))
        })?
    {
        let (timed, cursors, length) = done??;
        latencies.extend(timed);
        places.extend(cursors);
        bytes = bytes.max(length);
    }
    let took = began.elapsed();
    latencies.sort_unstable();
    let cpu = process.cpu_seconds()? - cpu;
    let shown = Shown {
        deliveries: all as f64 / took.as_secs_f64(),
        cpu: cpu / all as f64 * 1_000_000.0,
        latencies,
        late: took.saturating_sub(bench.lengths.many).as_secs_f64(),
        bytes,
        cursors: places,
    };
    let source = Arc::into_inner(source).context("the load still runs")?;
    Ok((shown, source.into_writer()))
}

/// CPU of the bare loop for a million texts, at the same rate to as many sockets.
async fn bare(bench: &Bench, spec: &Round, sockets: usize, bytes: usize) -> anyhow::Result<f64> {
    let mut bare = Bare::start(free_address()?, sockets).await?;
    let count = usize::try_from((bench.lengths.many * spec.rate).as_secs())?;
    let process = bare.process()?;
    let cpu = process.cpu_seconds()?;
    bare.order(count, spec.rate, bytes).await?;
    let mut listeners = JoinSet::new();
    for mut subscriber in std::mem::take(&mut bare.subscribers) {
        listeners.spawn(async move {
            for _ in 0..count {
                subscriber.told(|_| Ok(())).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = listeners.join_next().await {
        done??;
    }
    let cpu = process.cpu_seconds()? - cpu;
    bare.end().await?;
    Ok(cpu / (count * sockets) as f64 * 1_000_000.0)
}

/// The place that a result tells.
fn cursor_in(frame: &[u8]) -> Option<String> {
    let key = b"\"cursor\":\"";
    let start = memmem::rfind(frame, key)? + key.len();
    let length = memchr::memchr(b'"', frame.get(start..)?)?;
    String::from_utf8(frame.get(start..start + length)?.to_vec()).ok()
}

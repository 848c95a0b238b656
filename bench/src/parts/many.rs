//! Many subscribers with one question: how much of what they are told is shared, and what each of them costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use super::subscriber::Subscriber;
use super::{CUSTOMERS, SHOPS};
use crate::Bench;
use crate::load::{Pace, Webhooks, drive, percentile_ms};
use crate::report::Section;
use crate::stand::Stand;
use crate::webhooks::{Writer, serial_in};

/// Webhooks a second.
const RATES: [u32; 3] = [50, 200, 500];
/// The same where each subscriber asks something else, and nothing can be shared.
const ALONE: u32 = 5;
/// How long the last frames may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// One subscriber in so many is timed.
const TIMED: usize = 10;

/// What everybody asks for; `ALIAS` makes it another question.
fn query(alias: &str) -> String {
    format!(
        "subscription($after: EventCursor) {{ incomingMessages(after: $after) {{ cursor {alias}: message {{ id text status sentAt
        conversation {{ id unreadCount contact {{ id phoneNumber profileName }} }} }} }} }}"
    )
}

/// What a round showed.
struct Round {
    deliveries: f64,
    cpu: f64,
    latencies: Vec<u32>,
    late: f64,
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
    section.setting("seconds a rate", bench.lengths.many.as_secs());

    let process = stand.process()?;
    let before = process.memory_mb()?;
    let mut sleepers = Vec::with_capacity(idle);
    for _ in 0..idle {
        sleepers.push(Subscriber::open(stand.address, &stand.key, &query("message"), &json!({})).await?);
    }
    let each = (process.memory_mb()? - before) * 1024.0 / idle as f64;
    section.figure("idle", "service memory of an idle subscription, its socket included", each, "kB");
    drop(sleepers);
    tokio::time::sleep(Duration::from_millis(500)).await;

    let same = vec![query("message"); count];
    for rate in RATES {
        let (round, left) = round(bench, &stand, writer, &same, rate).await?;
        writer = left;
        let (deliveries, cpu) = (round.deliveries, round.cpu);
        let [rate_of, p50, p99, cpu_of] = match rate {
            50 => [
                ("same50", "at 50 webhooks/s, one question: deliveries"),
                ("same50p50", "  webhook to subscriber p50"),
                ("same50p99", "  webhook to subscriber p99"),
                ("same50cpu", "  service CPU"),
            ],
            200 => [
                ("same200", "at 200 webhooks/s, one question: deliveries"),
                ("same200p50", "  webhook to subscriber p50"),
                ("same200p99", "  webhook to subscriber p99"),
                ("same200cpu", "  service CPU"),
            ],
            _ => [
                ("same500", "at 500 webhooks/s, one question: deliveries"),
                ("same500p50", "  webhook to subscriber p50"),
                ("same500p99", "  webhook to subscriber p99"),
                ("same500cpu", "  service CPU"),
            ],
        };
        if round.late > 0.5 {
            section.note(format!("{rate} webhooks/s were not kept up with: told {:.1} s late", round.late));
        }
        section.figure(rate_of.0, rate_of.1, deliveries, "/s");
        section.figure(p50.0, p50.1, percentile_ms(&round.latencies, 50.0), "ms");
        section.figure(p99.0, p99.1, percentile_ms(&round.latencies, 99.0), "ms");
        section.figure(cpu_of.0, cpu_of.1, cpu, "s per million");
    }
    let all_differ: Vec<String> = (0..count).map(|number| query(&format!("m{number}"))).collect();
    let (round, _) = round(bench, &stand, writer, &all_differ, ALONE).await?;
    section.figure("differ", "at 5 webhooks/s, a question each: deliveries", round.deliveries, "/s");
    section.figure("differCpu", "  service CPU", round.cpu, "s per million");
    section.figure("differP99", "  webhook to subscriber p99", percentile_ms(&round.latencies, 99.0), "ms");
    stand.end().await?;
    Ok(section)
}

/// Opens the subscribers, posts at this rate, waits until everybody was told of everything.
async fn round(
    bench: &Bench,
    stand: &Stand,
    writer: Writer,
    queries: &[String],
    rate: u32,
) -> anyhow::Result<(Round, Writer)> {
    // What happens from here on is for everybody, however long their subscriptions take to begin.
    let place = stand.ask("{ viewer { eventCursor } }", json!({})).await?;
    let after = json!({ "after": place["viewer"]["eventCursor"] });
    let mut open = Vec::with_capacity(queries.len());
    for query in queries {
        open.push(Subscriber::open(stand.address, &stand.key, query, &after).await?);
    }
    // Those that have just come find each other.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let count = usize::try_from((bench.lengths.many * rate).as_secs())?;
    let source = Arc::new(Webhooks::noting(writer, count));
    let told = Arc::new(AtomicU64::new(0));
    let all = (count * queries.len()) as u64;
    let mut listeners = JoinSet::new();
    for (number, mut subscriber) in open.into_iter().enumerate() {
        let (told, source) = (told.clone(), source.clone());
        listeners.spawn(async move {
            let mut latencies = Vec::new();
            for _ in 0..count {
                let frame = subscriber.next().await?;
                told.fetch_add(1, Ordering::Relaxed);
                if number % TIMED == 0 {
                    let serial = serial_in(frame.as_bytes()).context("a frame without our text")?;
                    let latency = source.since_sent(serial).context("a message that was not sent")?;
                    latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
                }
            }
            anyhow::Ok(latencies)
        });
    }
    let process = stand.process()?;
    let cpu = process.cpu_seconds()?;
    let began = Instant::now();
    let each = Duration::from_secs(1) / rate;
    let until = began + each * u32::try_from(count)?;
    let outcome =
        drive(stand.address, bench.connections, &source, Pace::Every(began, each), began, until).await?;
    ensure!(outcome.bad == 0, "{} webhooks were not answered 200", outcome.bad);
    let mut latencies = Vec::new();
    let deadline = tokio::time::Instant::from_std(until + PATIENCE);
    while let Some(done) =
        tokio::time::timeout_at(deadline, listeners.join_next()).await.with_context(|| {
            format!("at {rate} webhooks/s {} of {all} were told in time", told.load(Ordering::Relaxed))
        })?
    {
        latencies.extend(done??);
    }
    let took = began.elapsed();
    latencies.sort_unstable();
    let cpu = process.cpu_seconds()? - cpu;
    let round = Round {
        deliveries: all as f64 / took.as_secs_f64(),
        cpu: cpu / all as f64 * 1_000_000.0,
        latencies,
        late: took.saturating_sub(bench.lengths.many).as_secs_f64(),
    };
    let source = Arc::into_inner(source).context("the load still runs")?;
    Ok((round, source.into_writer()))
}

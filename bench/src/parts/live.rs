//! From the moment a webhook is posted to the frame that tells a subscriber of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::json;

use super::subscriber::Subscriber;
use super::{CUSTOMERS, SHOPS};
use crate::Bench;
use crate::load::{Pace, Webhooks, drive, percentile_ms};
use crate::report::Section;
use crate::stand::Stand;
use crate::webhooks::{Writer, serial_in};

/// Webhooks a second.
const PER_SECOND: u32 = 500;
/// How long the last frames may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the subscriber asks for.
const QUERY: &str = "subscription { incomingMessages { cursor message { id text status sentAt
    conversation { id unreadCount contact { id phoneNumber profileName } } } } }";

/// Posts at a fixed rate, whatever becomes of each, and listens.
pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::new("live", "from the POST of a webhook to its frame at a subscriber");
    let mut stand = Stand::start(&bench.place, &[]).await?;
    let shops = stand.shops(SHOPS).await?;
    let writer = Writer::new(stand.address, &stand.secret, shops, CUSTOMERS)?;
    let mut subscriber = Subscriber::open(stand.address, &stand.key, QUERY, &json!({})).await?;

    // The first message of each customer makes a contact and a conversation: that belongs to the warm-up.
    let warm = bench.lengths.warm * PER_SECOND;
    let warm = usize::try_from(warm.as_secs())?;
    let counted = usize::try_from((bench.lengths.live * PER_SECOND).as_secs())?;
    let source = Arc::new(Webhooks::noting(writer, warm + counted));
    let began = Instant::now();
    let each = Duration::from_secs(1) / PER_SECOND;
    let until = began + each * u32::try_from(warm + counted)?;
    let process = stand.process()?;
    let before = stand.metrics().await?;
    let cpu = process.cpu_seconds()?;
    let load = drive(stand.address, bench.connections, &source, Pace::Every(began, each), began, until);
    let listen = async {
        let mut latencies = Vec::with_capacity(counted);
        let mut missing: BTreeSet<u64> = (0..(warm + counted) as u64).collect();
        let deadline = tokio::time::Instant::from_std(until + PATIENCE);
        while !missing.is_empty() {
            let Ok(frame) = tokio::time::timeout_at(deadline, subscriber.next()).await else { break };
            let frame = frame?;
            let serial =
                serial_in(frame.as_bytes()).with_context(|| format!("a frame without our text: {frame}"))?;
            let latency = source.since_sent(serial).context("a message that was not sent")?;
            ensure!(missing.remove(&serial), "message {serial} was told twice, or never sent");
            if serial >= warm as u64 {
                latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
            }
        }
        anyhow::Ok((latencies, missing))
    };
    let load = async { anyhow::Ok((load.await?, Instant::now())) };
    let ((outcome, ended), (mut latencies, missing)) = tokio::try_join!(load, listen)?;
    let cpu = process.cpu_seconds()? - cpu;
    ensure!(outcome.bad == 0, "{} webhooks were not answered 200", outcome.bad);
    if !missing.is_empty() {
        let (messages, backlog) = (stand.messages().await?, stand.metrics().await?.backlog);
        bail!(
            "no frame came for {} of {} webhooks, the first of them number {:?}; {messages} messages are in the \
             database, {backlog} bodies wait",
            missing.len(),
            warm + counted,
            missing.first()
        );
    }
    latencies.sort_unstable();
    section.setting("webhooks", format!("{PER_SECOND}/s"));
    section.setting("connections", bench.connections);
    section.setting("seconds", bench.lengths.live.as_secs());
    section.setting("warm-up", bench.lengths.warm.as_secs_f64());
    section.setting("subscribers", 1);
    let late = ended.saturating_duration_since(until).as_secs_f64();
    if late > 0.5 {
        section.note(format!("the rate was not reached: the last webhook was answered {late:.1} s late"));
    }
    section.figure("p50", "webhook to subscriber p50", percentile_ms(&latencies, 50.0), "ms");
    section.figure("p99", "webhook to subscriber p99", percentile_ms(&latencies, 99.0), "ms");
    section.figure("most", "webhook to subscriber, longest", percentile_ms(&latencies, 100.0), "ms");
    section.figure("answerP50", "answer to the webhook p50", outcome.ms(50.0), "ms");
    section.figure("answerP99", "answer to the webhook p99", outcome.ms(99.0), "ms");
    let after = stand.metrics().await?;
    let statements = (after.statements - before.statements) / outcome.good as f64;
    section.figure("statements", "SQL statements a webhook, accepting left out", statements, "");
    section.figure("cpu", "service CPU", cpu / outcome.good as f64 * 1000.0, "s per 1,000");
    stand.end().await?;
    Ok(section)
}

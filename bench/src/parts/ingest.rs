//! Accepting and applying together, at the highest rate that keeps up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::sync::Semaphore;

use super::{CUSTOMERS, SHOPS};
use crate::Bench;
use crate::load::{Pace, Webhooks, drive};
use crate::report::Section;
use crate::stand::{Metrics, Stand};
use crate::webhooks::Writer;

/// Webhooks made before the clock starts, for each second.
const READY: u64 = 6_000;
/// How often permits are given out.
const TICK: Duration = Duration::from_millis(5);
/// How often the rate is set anew.
const LOOK: Duration = Duration::from_millis(250);
/// What is aimed at: seconds of backlog.
const BACKLOG: f64 = 0.3;
/// Permits that may pile up, in ticks: a service that stalls is not flooded afterwards.
const BURST: f64 = 4.0;

/// Sends at a rate that follows what is applied, so that a steady backlog of some tenths of a second remains.
pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::new("ingest", "signed webhooks of one message, accepted and applied together");
    let mut stand = Stand::start(&bench.place, &[]).await?;
    let shops = stand.shops(SHOPS).await?;
    let writer = Writer::new(stand.address, &stand.secret, shops, CUSTOMERS)?;
    let length = bench.lengths.settle + bench.lengths.ingest;
    let source = Arc::new(Webhooks::new(writer, usize::try_from(length.as_secs() * READY)?));

    let permits = Arc::new(Semaphore::new(0));
    let process = stand.process()?;
    let began = Instant::now();
    let (from, until) = (began + bench.lengths.settle, began + length);
    let load = drive(stand.address, bench.connections, &source, Pace::Allowed(permits.clone()), from, until);
    let steer = steer(&mut stand, &permits, process, from, until);
    let (outcome, steered) = tokio::try_join!(load, steer)?;
    ensure!(outcome.bad == 0, "{} webhooks were not answered 200", outcome.bad);

    let drained = Instant::now();
    stand.idle().await?;
    let drained = drained.elapsed();
    let messages = stand.messages().await?;
    ensure!(messages == outcome.good, "{messages} messages of {} webhooks answered 200", outcome.good);

    section.setting("connections", bench.connections);
    section.setting("seconds", bench.lengths.ingest.as_secs());
    section.setting("warm-up", bench.lengths.settle.as_secs_f64());
    section.setting("bytes a request", source.mean_bytes());
    section.setting("numbers", SHOPS);
    section.setting("customers", CUSTOMERS);
    section.setting("backlog aimed at", format!("{BACKLOG} s"));
    section.figure("accepted", "accepted", outcome.rate(), "webhooks/s");
    section.figure("applied", "applied", steered.applied, "webhooks/s");
    section.figure("p50", "answer p50", outcome.ms(50.0), "ms");
    section.figure("p99", "answer p99", outcome.ms(99.0), "ms");
    section.figure("backlog", "largest backlog", steered.backlog, "s");
    section.figure("statements", "SQL statements a webhook, accepting left out", steered.statements, "");
    section.figure("cpu", "service CPU", steered.cpu_per_1000, "s per 1,000");
    section.figure("drained", "drained after the last answer", drained.as_secs_f64(), "s");
    section.figure("messages", "messages in the database", messages as f64, "= answered 200");
    if steered.backlog > 1.0 {
        section.note(
            "the backlog went above a second: the machine was busy with something else, or applying stalled",
        );
    }
    stand.end().await?;
    Ok(section)
}

struct Steered {
    applied: f64,
    backlog: f64,
    cpu_per_1000: f64,
    statements: f64,
}

/// Gives out permits; the rate is what was applied in the last second, and more or less as the backlog is short or long.
async fn steer(
    stand: &mut Stand,
    permits: &Semaphore,
    process: crate::machine::Process,
    from: Instant,
    until: Instant,
) -> anyhow::Result<Steered> {
    let mut tick = tokio::time::interval(TICK);
    let (mut rate, mut owed, mut speed) = (1_000.0_f64, 0.0_f64, 0.0_f64);
    let mut looked: Option<(Instant, Metrics)> = None;
    let mut counted: Option<(Instant, Metrics, f64)> = None;
    let mut longest = 0.0_f64;
    loop {
        tick.tick().await;
        let now = Instant::now();
        if now >= until {
            break;
        }
        owed += rate * TICK.as_secs_f64();
        let most = rate * TICK.as_secs_f64() * BURST;
        let room = (most - permits.available_permits() as f64).max(0.0);
        let give = owed.min(room).floor();
        permits.add_permits(give as usize);
        owed = (owed - give).min(most);
        if looked.is_some_and(|(at, _)| now - at < LOOK) {
            continue;
        }
        let metrics = stand.metrics().await?;
        if let Some((at, before)) = looked {
            let applied = (metrics.applied - before.applied) / (now - at).as_secs_f64();
            speed = if speed > 0.0 { speed * 0.75 + applied * 0.25 } else { applied };
            let backlog = metrics.backlog / speed.max(1.0);
            rate = (speed * (1.0 + (BACKLOG - backlog).clamp(-0.9, 0.3))).max(200.0);
            if now >= from {
                longest = longest.max(backlog);
            }
        }
        looked = Some((now, metrics));
        if counted.is_none() && now >= from {
            counted = Some((now, metrics, process.cpu_seconds()?));
        }
    }
    let end = stand.metrics().await?;
    let Some((at, before, cpu)) = counted else { anyhow::bail!("the measurement ended before it began") };
    let applied = end.applied - before.applied;
    Ok(Steered {
        applied: applied / at.elapsed().as_secs_f64(),
        backlog: longest,
        statements: (end.statements - before.statements) / applied,
        cpu_per_1000: (process.cpu_seconds()? - cpu) / applied * 1000.0,
    })
}

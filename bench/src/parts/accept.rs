//! Accepting alone, then applying alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{CUSTOMERS, SHOPS, floor};
use crate::Bench;
use crate::load::{Pace, Webhooks, drive};
use crate::report::Section;
use crate::stand::Stand;
use crate::webhooks::Writer;

/// Webhooks made before the clock starts, for each second; a faster service gets the rest made on the way.
const READY: u64 = 12_000;
/// How often the service's counters are read while it applies what piled up.
const LOOK: Duration = Duration::from_millis(50);
/// Longest wait for what piled up.
const LONGEST: Duration = Duration::from_secs(600);

/// Holds a lock on the main database, so that nothing is applied; sends as fast as answers come; lets go, and watches
/// what piled up being applied.
pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Section> {
    let mut section =
        Section::new("accept", "signed webhooks of one message, accepted alone; then applied alone");
    // Nothing is refused for what has piled up.
    let mut stand = Stand::start(&bench.place, &[("TANDEM_INBOUND_BACKLOG", "100000000")]).await?;
    let shops = stand.shops(SHOPS).await?;
    let before = stand.metrics().await?;
    let writer = Writer::new(stand.address, &stand.secret, shops, CUSTOMERS)?;
    let length = bench.lengths.warm + bench.lengths.accept;
    let source = Arc::new(Webhooks::new(writer, usize::try_from(length.as_secs() * READY)?));
    let hold = stand.hold().await?;

    let process = stand.process()?;
    let began = Instant::now();
    let (from, until) = (began + bench.lengths.warm, began + length);
    let cpu = process.cpu_seconds()?;
    let outcome = drive(stand.address, bench.connections, &source, Pace::Free, from, until).await?;
    let cpu = process.cpu_seconds()? - cpu;
    ensure!(outcome.bad == 0, "{} webhooks were not answered 200", outcome.bad);
    let stored = stand.metrics().await?;
    ensure!(stored.accepted - before.accepted >= outcome.good as f64, "fewer stored than answered 200");

    section.setting("connections", bench.connections);
    section.setting("seconds", bench.lengths.accept.as_secs());
    section.setting("warm-up", bench.lengths.warm.as_secs_f64());
    section.setting("bytes a request", source.mean_bytes());
    section.setting("numbers", SHOPS);
    section.setting("customers", CUSTOMERS);
    section.setting("inbound.batch", 512);
    section.figure("accepted", "accepted alone", outcome.rate(), "webhooks/s");
    section.figure("p50", "  answer p50", outcome.ms(50.0), "ms");
    section.figure("p99", "  answer p99", outcome.ms(99.0), "ms");
    section.figure("acceptCpu", "  service CPU", cpu / outcome.good as f64 * 1000.0, "s per 1,000");

    let cpu = process.cpu_seconds()?;
    hold.let_go().await?;
    let deadline = Instant::now() + LONGEST;
    let mut first = None;
    let rate = loop {
        let now = stand.metrics().await?;
        if first.is_none() && now.applied > before.applied {
            first = Some((Instant::now(), now.applied));
        }
        if now.backlog <= 0.0
            && let Some((began, applied)) = first
        {
            break (now.applied - applied) / began.elapsed().as_secs_f64();
        }
        ensure!(Instant::now() < deadline, "{} webhooks are still not applied", now.backlog);
        tokio::time::sleep(LOOK).await;
    };
    let cpu = process.cpu_seconds()? - cpu;
    let messages = stand.messages().await?;
    ensure!(messages == outcome.good, "{messages} messages of {} webhooks answered 200", outcome.good);
    section.figure("applied", "applied alone", rate, "webhooks/s");
    section.figure("applyCpu", "  service CPU", cpu / outcome.good as f64 * 1000.0, "s per 1,000");
    section.figure("messages", "messages in the database", messages as f64, "= answered 200");
    if !bench.place.on_postgres() {
        let floors = floor::measure(&stand, bench.connections).await?;
        section.setting("bare bodies a commit", floors.bodies_batch);
        section.setting("bare messages a commit", floor::CHANGES);
        section.figure("floorAccept", "bare SQLite, the same bodies", floors.bodies, "webhooks/s");
        section.figure("floorApply", "bare SQLite, the same rows", floors.rows, "webhooks/s");
        section.figure("acceptRatio", "  bare ÷ accepted alone", floors.bodies / outcome.rate(), "×");
        section.figure("applyRatio", "  bare ÷ applied alone", floors.rows / rate, "×");
    }
    section.note("applying is held back by a lock on the main database, which accepting does not need");
    stand.end().await?;
    Ok(section)
}

//! Many lanes at once, each at its own rate: numbers on the API alone, 80 messages a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::json;

use super::send::Sends;
use crate::Bench;
use crate::load::{Pace, drive};
use crate::report::Section;
use crate::stand::Stand;

/// Messages a second of each number.
const PER_SECOND: f64 = 80.0;
/// How far ahead the messages are queued, in simulated seconds: no longer is the queue filled.
const AHEAD: i64 = 1_800;
/// How often the queue is counted.
const LOOK: Duration = Duration::from_millis(100);
/// How long nothing may leave.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fills the queues for a time that is not yet; then that time comes, and what leaves is counted.
pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Section> {
    let mut section =
        Section::new("lanes", "many lanes at once: numbers on the API alone, 80 messages a second each");
    let mut stand = Stand::start(&bench.place, &[]).await?;
    let (lanes, each) = (bench.lengths.lanes, bench.lengths.lane_messages);
    let mut shops = Vec::new();
    for n in 0..lanes {
        shops.push(stand.shop_without_app(&format!("+49301234{n:04}")).await?);
    }
    stand.settle().await?;
    let all = u64::from(lanes) * each;
    let clock = stand.simulate("{ clock }", json!({})).await?;
    let clock = clock["clock"].as_str().context("the simulator tells no clock")?;
    let clock = chrono::DateTime::parse_from_rfc3339(clock)?;
    let due = (clock + chrono::TimeDelta::seconds(AHEAD)).to_rfc3339();
    let source = Arc::new(Sends::new(&stand, shops, all, Some(due)));
    let began = Instant::now();
    let until = began + Duration::from_secs(AHEAD.unsigned_abs() / 2);
    let outcome = drive(stand.address, bench.connections, &source, Pace::Free, began, until).await?;
    ensure!(outcome.good == all, "{} of {all} messages were queued", outcome.good);

    let database = stand.database().await?;
    let (process, simulator) = (stand.process()?, stand.simulator_process()?);
    let (before, cpu) = (stand.metrics().await?, (process.cpu_seconds()?, simulator.cpu_seconds()?));
    let query = "mutation($seconds: Int!) { advanceClock(seconds: $seconds) }";
    stand.simulate(query, json!({ "seconds": AHEAD })).await?;
    let seconds = empty(&database, all).await?;
    database.close().await?;
    let cpu = (process.cpu_seconds()? - cpu.0, simulator.cpu_seconds()? - cpu.1);
    let after = stand.metrics().await?;
    section.setting("numbers", lanes);
    section.setting("messages", all);
    section.setting("limit", format!("{PER_SECOND}/s each"));
    let rate = all as f64 / seconds;
    section.figure("rate", "sent", rate, "messages/s");
    // The first second's worth leaves at once, and each slot rests a second after its answer.
    section.figure("share", "of what the limits allow", rate / (PER_SECOND * f64::from(lanes)) * 100.0, "%");
    section.figure("cpu", "service CPU", cpu.0 / all as f64 * 1000.0, "s per 1,000");
    section.figure("simulator", "simulator CPU", cpu.1 / all as f64 * 1000.0, "s per 1,000");
    let statements = (after.statements - before.statements) / all as f64;
    section.figure("statements", "SQL statements a message, statuses included", statements, "");
    stand.end().await?;
    Ok(section)
}

/// Waits until nothing is queued: seconds from the first message that left.
async fn empty(database: &DatabaseConnection, all: u64) -> anyhow::Result<f64> {
    let (mut left, mut since, mut began) = (all, Instant::now(), None);
    loop {
        let sql = "SELECT count(*) AS n FROM lane_entry";
        let row =
            database.query_one_raw(Statement::from_string(database.get_database_backend(), sql)).await?;
        let count: i64 = row.context("no count")?.try_get("", "n")?;
        let now = u64::try_from(count)?;
        if now < left {
            (left, since) = (now, Instant::now());
            began.get_or_insert(since);
        }
        if left == 0 {
            return Ok(began.map_or(f64::NAN, |began| began.elapsed().as_secs_f64()));
        }
        ensure!(since.elapsed() < PATIENCE, "{left} of {all} messages do not leave");
        tokio::time::sleep(LOOK).await;
    }
}

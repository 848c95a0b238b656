//! The import of a shop's past.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::subscriber::Subscriber;
use crate::Bench;
use crate::report::Section;
use crate::stand::Stand;

/// Longest wait for the end of an import.
const LONGEST: Duration = Duration::from_secs(900);
/// The people of the shop's past.
const CONTACTS: u32 = 500;
/// What the watcher asks for.
const QUERY: &str = "subscription($client: ID!) { syncProgress(clientId: $client) { kind progress { state percent items } } }";

/// Connects a phone with a past, and waits until it is all there.
pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::new("import", "the six months of a shop");
    let messages = bench.lengths.messages;
    let stand = Stand::start(&bench.place, &[]).await?;
    let shop = stand.shop("+493098765432", CONTACTS, messages, "AUTOMATIC").await?;
    let (service, simulator) = (stand.process()?, stand.simulator_process()?);
    let mut watcher =
        Subscriber::open(stand.address, &stand.key, QUERY, &json!({ "client": shop.client })).await?;
    // What the making of the connection used is not the import's.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = service.memory_mb()?;
    service.forget_peak()?;
    let (cpu, simulator_cpu) = (service.cpu_seconds()?, simulator.cpu_seconds()?);
    let opened = Instant::now();
    stand.open_app(&shop).await?;
    let mut running = None;
    let deadline = tokio::time::Instant::now() + LONGEST;
    let done = loop {
        let text =
            tokio::time::timeout_at(deadline, watcher.next()).await.context("the import does not end")??;
        let frame: Value = serde_json::from_str(&text)?;
        let event = &frame["payload"]["data"]["syncProgress"];
        if event["kind"] != "HISTORY" {
            continue;
        }
        let state = event["progress"]["state"].as_str().unwrap_or_default();
        if state == "RUNNING" && running.is_none() {
            running = Some(Instant::now());
        }
        if state == "DONE" {
            break Instant::now();
        }
    };
    let peak = service.peak_mb()?;
    let (cpu, simulator_cpu) = (service.cpu_seconds()? - cpu, simulator.cpu_seconds()? - simulator_cpu);
    let stored = stand.messages().await?;
    let query = "query($id: ID!) { client(id: $id) { historySync { state items } } }";
    let told = stand.ask(query, json!({ "id": shop.client })).await?;
    let told = &told["client"]["historySync"]["items"];
    ensure!(*told == stored, "the import counts {told} messages, the database {stored}");

    let whole = (done - opened).as_secs_f64();
    section.setting("messages", messages);
    section.setting("people", CONTACTS);
    section.setting("in a transaction", "200");
    let running = running.map_or(f64::NAN, |running| (done - running).as_secs_f64());
    section.figure("runningToDone", "first RUNNING to DONE", running, "s");
    section.figure("openedToDone", "app opened to DONE", whole, "s");
    section.figure("messagesPerSecond", "messages", stored as f64 / whole, "/s");
    section.figure("stored", "messages in the database", stored as f64, "= counted by the import");
    section.figure("idleMb", "service memory before", idle, "MB");
    section.figure("peakMb", "service memory, peak above that", peak - idle, "MB");
    section.figure("cpu", "service CPU", cpu / stored as f64 * 1000.0, "s per 1,000");
    section.figure("simulatorCpu", "simulator CPU", simulator_cpu / stored as f64 * 1000.0, "s per 1,000");
    stand.end().await?;
    Ok(section)
}

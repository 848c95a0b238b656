//! Pages of 50 messages, from the database and from memory.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::Bench;
use crate::http::{self, Connection};
use crate::load::{Again, Outcome, Pace, drive};
use crate::machine::Process;
use crate::report::Section;
use crate::stand::{Stand, first_answer, free_address};

/// What is asked.
const QUERY: &str = "query History($client: ID!) { history(clientId: $client, first: 50) {
  edges { cursor node { id direction status sentAt text
    conversation { id unreadCount lastActivityAt window { isOpen closesAt }
      contact { id phoneNumber fullName profileName } } } }
  pageInfo { hasNextPage endCursor } } }";
/// The people of each shop's past.
const CONTACTS: u32 = 200;

/// Asks for the newest page of one shop after another.
pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Section> {
    let mut section =
        Section::new("page", "history of 50 messages, each with conversation, window and contact");
    let mut stand = Stand::start(&bench.place, &[]).await?;
    let mut requests = Vec::new();
    for n in 0..bench.lengths.page_shops {
        let number = format!("+49301234{n:04}");
        let shop = stand.shop(&number, CONTACTS, bench.lengths.page_messages, "AUTOMATIC").await?;
        stand.open_app(&shop).await?;
        requests.push(http::graphql(
            stand.address,
            Some(&stand.key),
            QUERY,
            &json!({ "client": shop.client }),
        ));
    }
    stand.settle().await?;
    let mut connection = Connection::open(stand.address).await?;
    let (mut bytes, mut sample) = (0, Vec::new());
    for request in &requests {
        let answer = connection.send(request).await?;
        let told: Value = serde_json::from_slice(answer.body)?;
        let edges = told["data"]["history"]["edges"].as_array().map_or(0, Vec::len);
        ensure!(edges == 50, "a page of {edges} messages: {}", String::from_utf8_lossy(answer.body));
        bytes += answer.body.len();
        sample = answer.body.to_vec();
    }
    let bytes = bytes / requests.len().max(1);

    let source = Arc::new(Again { requests, next: AtomicUsize::new(0) });
    let before = stand.metrics().await?;
    let (served, cpu) = pages(bench, stand.address, stand.process()?, &source).await?;
    let after = stand.metrics().await?;
    let statements = (after.statements - before.statements) / served.good as f64;

    // The same rows, the same door, the same engine; only that the rows are in memory.
    let file = stand.directory().join("page.json");
    std::fs::write(&file, &sample)?;
    let address = free_address()?;
    let mut memory = Command::new(std::env::current_exe()?)
        .arg("--memory")
        .args([file.as_os_str(), address.to_string().as_ref()])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    first_answer(&mut memory, address).await.context("pages from memory are not served")?;
    let request = http::graphql(address, Some("memory"), QUERY, &json!({ "client": "cli_memory" }));
    let mut connection = Connection::open(address).await?;
    let answer = connection.send(&request).await?;
    let (told, meant): (Value, Value) =
        (serde_json::from_slice(answer.body)?, serde_json::from_slice(&sample)?);
    ensure!(told == meant, "memory answers otherwise: {told:#}");
    let source = Arc::new(Again { requests: vec![request], next: AtomicUsize::new(0) });
    let process = Process(memory.id().context("pages from memory are not served")?);
    let (remembered, memory_cpu) = pages(bench, address, process, &source).await?;
    memory.kill().await?;

    section.setting("connections", bench.connections);
    section.setting("seconds", bench.lengths.page.as_secs());
    section.setting("warm-up", bench.lengths.warm.as_secs_f64());
    section.setting("shops", bench.lengths.page_shops);
    section.setting("messages each", bench.lengths.page_messages);
    section.figure("bytes", "a page", bytes as f64, "bytes");
    section.figure("pages", "pages", served.rate(), "/s");
    section.figure("p50", "  p50", served.ms(50.0), "ms");
    section.figure("p99", "  p99", served.ms(99.0), "ms");
    section.figure("cpu", "  service CPU", cpu, "s per 1,000");
    section.figure("statements", "  SQL statements a page", statements, "");
    section.figure("memoryPages", "pages from memory", remembered.rate(), "/s");
    section.figure("memoryP50", "  p50", remembered.ms(50.0), "ms");
    section.figure("memoryP99", "  p99", remembered.ms(99.0), "ms");
    section.figure("memoryCpu", "  CPU", memory_cpu, "s per 1,000");
    section.figure("ratio", "memory ÷ database, pages", remembered.rate() / served.rate(), "×");
    section.figure("cpuRatio", "database ÷ memory, CPU", cpu / memory_cpu, "×");
    stand.end().await?;
    Ok(section)
}

/// Asks as fast as answers come: what was seen, and CPU seconds of the process per 1,000.
async fn pages(
    bench: &Bench,
    address: std::net::SocketAddr,
    process: Process,
    source: &Arc<Again>,
) -> anyhow::Result<(Outcome, f64)> {
    let began = Instant::now();
    let (from, until) = (began + bench.lengths.warm, began + bench.lengths.warm + bench.lengths.page);
    let cpu = process.cpu_seconds()?;
    let outcome = drive(address, bench.connections, source, Pace::Free, from, until).await?;
    let cpu = process.cpu_seconds()? - cpu;
    ensure!(outcome.bad == 0, "{} pages of {} failed", outcome.bad, outcome.bad + outcome.good);
    let cpu = cpu / outcome.good as f64 * 1000.0;
    Ok((outcome, cpu))
}

//! Pages of 50 messages, from the database and from memory.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

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
/// How often database and memory take turns.
const TURNS: u32 = 10;
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
    let process = Process(memory.id().context("pages from memory are not served")?);

    let mut served = Server::new(stand.address, stand.process()?, requests);
    let mut remembered = Server::new(address, process, vec![request]);
    let before = stand.metrics().await?;
    // In short turns: a machine that grows faster or slower on the way does so for both.
    for turn in 0..TURNS {
        let warm = if turn == 0 { bench.lengths.warm } else { bench.lengths.warm / TURNS };
        served.answer(bench.connections, warm, bench.lengths.page / TURNS).await?;
        remembered.answer(bench.connections, warm, bench.lengths.page / TURNS).await?;
    }
    let after = stand.metrics().await?;
    memory.kill().await?;
    let ((served, cpu), (remembered, memory_cpu)) = (served.seen(), remembered.seen());
    let statements = (after.statements - before.statements) / served.good as f64;

    section.setting("connections", bench.connections);
    section.setting("seconds", bench.lengths.page.as_secs());
    section.setting("turns", TURNS);
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

/// Who answers pages, and how that went so far.
struct Server {
    address: SocketAddr,
    process: Process,
    source: Arc<Again>,
    turns: Vec<Outcome>,
    cpu_seconds: f64,
}

impl Server {
    fn new(address: SocketAddr, process: Process, requests: Vec<Vec<u8>>) -> Self {
        let source = Arc::new(Again { requests, next: AtomicUsize::new(0) });
        Self { address, process, source, turns: Vec::new(), cpu_seconds: 0.0 }
    }

    /// Asks as fast as answers come.
    async fn answer(&mut self, connections: usize, warm: Duration, counted: Duration) -> anyhow::Result<()> {
        let from = Instant::now() + warm;
        let cpu = self.process.cpu_seconds()?;
        let seen = drive(self.address, connections, &self.source, Pace::Free, from, from + counted).await?;
        self.cpu_seconds += self.process.cpu_seconds()? - cpu;
        ensure!(seen.bad == 0, "{} pages of {} failed", seen.bad, seen.bad + seen.good);
        self.turns.push(seen);
        Ok(())
    }

    /// What was seen, and CPU seconds of the process per 1,000.
    fn seen(self) -> (Outcome, f64) {
        let whole = Outcome::of(self.turns);
        let cpu = self.cpu_seconds / whole.good as f64 * 1000.0;
        (whole, cpu)
    }
}

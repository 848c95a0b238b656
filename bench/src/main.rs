//! `make bench`: starts a service and a simulator of its own, loads them from this process, and prints what they reach.
//!
//! | module | holds |
//! |---|---|
//! | `stand` | the service and the simulator as child processes, over a throw-away data directory |
//! | `http` | a hand-made HTTP/1.1 client, since the load generator shares the cores with the service |
//! | `webhooks` | signed bodies, made before the clock starts |
//! | `load` | connections that send what is ready, paced or not, and what they saw |
//! | `machine` | the disk's bare commit; CPU seconds and memory of a process |
//! | `parts` | one measurement each |
//! | `report` | figures with the settings they were measured under, as text and as JSON |

mod http;
mod load;
mod machine;
mod parts;
mod report;
mod stand;
mod webhooks;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use report::Report;
use stand::Place;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures a service on this machine. Everything is local, thrown away afterwards, and ends by itself.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    /// What to measure; all of it if nothing is named.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// A Postgres server on which databases may be made, such as postgres://user@127.0.0.1/postgres. Without: SQLite.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// A few seconds each: shows that everything runs, measures nothing.
    #[arg(long)]
    quick: bool,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Connections of the load generator.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// Messages of the imported shop.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(200..=5_000_000))]
    messages: u32,
    /// The service to measure. Without: `tandem` beside this program.
    #[arg(long, value_name = "FILE")]
    service: Option<PathBuf>,
    /// Where the throw-away data goes. Without: beside this program, on the disk of the checkout.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Answers pages from memory for another `bench`: the rows' file, and where to listen.
    #[arg(long, hide = true, num_args = 2, value_names = ["FILE", "ADDRESS"])]
    memory: Option<Vec<String>>,
    /// Writes ready texts for another `bench`: where to listen, and for how many sockets.
    #[arg(long, hide = true, num_args = 2, value_names = ["ADDRESS", "SOCKETS"])]
    bare: Option<Vec<String>>,
}

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Part {
    /// The disk: one 4 kB write and fdatasync after another.
    Disk,
    /// Webhooks accepted while nothing is applied; then what piled up, applied alone.
    Accept,
    /// Webhooks accepted and applied together, as many as keep the backlog under a second.
    Ingest,
    /// From a webhook to a subscriber, at 500 a second.
    Live,
    /// Many subscribers: those who ask the same, those who do not, and those who only wait.
    Many,
    /// Webhooks to a partner's server.
    Webhooks,
    /// The import of a shop.
    Import,
    /// Pages of 50 messages; and the same selection answered from memory.
    Page,
    /// `sendMessage`, each durable before it is answered.
    Send,
    /// Many lanes at once: numbers on the API alone, 80 messages a second each.
    Lanes,
}

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    disk: Duration,
    warm: Duration,
    accept: Duration,
    settle: Duration,
    ingest: Duration,
    live: Duration,
    deliveries: Duration,
    many: Duration,
    subscribers: usize,
    idle: usize,
    page: Duration,
    page_shops: u32,
    page_messages: u32,
    messages: u32,
    send: Duration,
    lanes: u32,
    lane_messages: u64,
}

impl Lengths {
    fn of(cli: &Cli) -> Self {
        let seconds = Duration::from_secs;
        if cli.quick {
            return Self {
                disk: Duration::from_millis(300),
                warm: Duration::from_millis(300),
                accept: seconds(2),
                settle: seconds(1),
                ingest: seconds(3),
                live: seconds(2),
                deliveries: seconds(1),
                many: seconds(1),
                subscribers: 20,
                idle: 20,
                page: seconds(2),
                page_shops: 2,
                page_messages: 300,
                messages: cli.messages.min(2_000),
                send: seconds(1),
                lanes: 3,
                lane_messages: 100,
            };
        }
        Self {
            disk: seconds(3),
            warm: seconds(3),
            accept: seconds(20),
            settle: seconds(10),
            ingest: seconds(60),
            live: seconds(20),
            deliveries: seconds(10),
            many: seconds(10),
            subscribers: 1_000,
            idle: 5_000,
            page: seconds(20),
            page_shops: 8,
            page_messages: 5_000,
            messages: cli.messages,
            send: seconds(20),
            lanes: 50,
            lane_messages: 800,
        }
    }
}

/// What every measurement needs.
struct Bench {
    place: Place,
    lengths: Lengths,
    connections: usize,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Fails only where a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match (&cli.memory, &cli.bare) {
        (Some(memory), _) => answer_from_memory(memory),
        (None, Some(bare)) => write_ready_texts(bare),
        (None, None) => measure(&cli),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The load is one thread: what it uses, the service cannot.
fn measure(cli: &Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(cli))
}

/// As many threads as the service has.
fn answer_from_memory(arguments: &[String]) -> anyhow::Result<()> {
    let [file, address] = arguments else { anyhow::bail!("--memory takes a file and an address") };
    let address: SocketAddr = address.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(parts::memory::serve(file.as_ref(), address))
}

/// The same.
fn write_ready_texts(arguments: &[String]) -> anyhow::Result<()> {
    let [address, sockets] = arguments else { anyhow::bail!("--bare takes an address and a number") };
    let (address, sockets) = (address.parse()?, sockets.parse()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(parts::bare::serve(address, sockets))
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    let place = Place::find(cli.service.clone(), cli.scratch.clone(), cli.database.clone())?;
    let mut report = Report::new(&place, cli.quick, cli.json);
    let bench = Bench { place, lengths: Lengths::of(cli), connections: usize::from(cli.connections) };
    let mut parts = cli.parts.clone();
    if parts.is_empty() {
        parts = Part::value_variants().to_vec();
    }
    parts.sort_unstable();
    parts.dedup();
    for part in parts {
        let elsewhere = machine::Elsewhere::begin()?;
        let mut section = match part {
            Part::Disk => parts::disk::measure(&bench).await?,
            Part::Accept => parts::accept::measure(&bench).await?,
            Part::Ingest => parts::ingest::measure(&bench).await?,
            Part::Live => parts::live::measure(&bench).await?,
            Part::Many => parts::many::measure(&bench).await?,
            Part::Webhooks => parts::deliveries::measure(&bench).await?,
            Part::Import => parts::import::measure(&bench).await?,
            Part::Page => parts::page::measure(&bench).await?,
            Part::Send => parts::send::measure(&bench).await?,
            Part::Lanes => parts::lanes::measure(&bench).await?,
        };
        let percent = elsewhere.percent()?;
        section.figure("elsewhere", "all cores, used by others meanwhile", percent, "%");
        report.add(section);
    }
    report.finish();
    Ok(())
}

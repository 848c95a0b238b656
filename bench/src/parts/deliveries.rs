//! Webhooks to a partner's server on this machine, as fast as they go out.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{CUSTOMERS, SHOPS};
use crate::Bench;
use crate::load::{Pace, Webhooks, drive};
use crate::report::Section;
use crate::stand::Stand;
use crate::webhooks::{Writer, serial_in};

/// Webhooks made before the clock starts, for each second.
const READY: u64 = 6_000;
/// How long the receiver may hear nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the receiver answers.
const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What the receiver heard.
#[derive(Default)]
struct Heard {
    serials: BTreeSet<u64>,
    /// In the order in which they came, by the number that was written to.
    last: std::collections::HashMap<Vec<u8>, u64>,
    out_of_order: u64,
    posts: u64,
    bytes: u64,
    first: Option<Instant>,
    latest: Option<Instant>,
}

/// Fills the log while the endpoint is off; then switches it on, and counts what comes.
pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Section> {
    let mut section =
        Section::new("webhooks", "deliveries to a local receiver, in order for each of the numbers");
    let mut stand = Stand::start(&bench.place, &[]).await?;
    let shops = stand.shops(SHOPS).await?;
    let writer = Writer::new(stand.address, &stand.secret, shops, CUSTOMERS)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let endpoint = endpoint(&stand, address).await?;

    let length = bench.lengths.deliveries;
    let source = Arc::new(Webhooks::new(writer, usize::try_from((length.as_secs() * READY).max(READY))?));
    let began = Instant::now();
    let until = began + length;
    let load = drive(stand.address, bench.connections, &source, Pace::Free, began, until).await?;
    ensure!(load.bad == 0, "{} webhooks were not answered 200", load.bad);
    stand.idle().await?;

    let heard = Arc::new(Mutex::new(Heard::default()));
    let process = stand.process()?;
    let (before, cpu) = (stand.metrics().await?, process.cpu_seconds()?);
    switch(&stand, &endpoint, true).await?;
    receive(listener, &heard, load.good).await?;
    let cpu = process.cpu_seconds()? - cpu;
    let after = stand.metrics().await?;
    let heard = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
    let seconds =
        heard.first.zip(heard.latest).map_or(f64::NAN, |(first, last)| (last - first).as_secs_f64());
    ensure!(
        heard.serials.len() as u64 == load.good,
        "{} of {} messages came",
        heard.serials.len(),
        load.good
    );
    let good = load.good as f64;
    section.setting("events", load.good);
    section.setting("numbers", SHOPS);
    section.setting("bytes a request", heard.bytes / heard.posts.max(1));
    section.figure("rate", "delivered", good / seconds, "webhooks/s");
    section.figure("cpu", "service CPU", cpu / good * 1000.0, "s per 1,000");
    let statements = (after.statements - before.statements) / good;
    section.figure("statements", "SQL statements a webhook", statements, "");
    section.figure("again", "delivered more than once", (heard.posts - load.good) as f64, "");
    section.figure("outOfOrder", "out of the order of their number", heard.out_of_order as f64, "");
    stand.end().await?;
    Ok(section)
}

/// An endpoint that is off.
async fn endpoint(stand: &Stand, address: SocketAddr) -> anyhow::Result<String> {
    let query = "mutation($input: CreateWebhookEndpointInput!) { createWebhookEndpoint(input: $input) {
        endpoint { id } userErrors { message } } }";
    let input = json!({ "url": format!("http://{address}/"), "eventTypes": ["MESSAGE_INCOMING"] });
    let made = stand.ask(query, json!({ "input": input })).await?;
    let id = made["createWebhookEndpoint"]["endpoint"]["id"].as_str();
    let id = id.with_context(|| format!("no endpoint: {made:#}"))?.to_owned();
    switch(stand, &id, false).await?;
    Ok(id)
}

async fn switch(stand: &Stand, endpoint: &str, on: bool) -> anyhow::Result<()> {
    let query = "mutation($input: UpdateWebhookEndpointInput!) { updateWebhookEndpoint(input: $input) {
        endpoint { enabled } } }";
    let done = stand.ask(query, json!({ "input": { "endpointId": endpoint, "enabled": on } })).await?;
    ensure!(done["updateWebhookEndpoint"]["endpoint"]["enabled"] == on, "{done:#}");
    Ok(())
}

/// Takes posts until so many different messages came.
async fn receive(listener: TcpListener, heard: &Arc<Mutex<Heard>>, count: u64) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let tick = tokio::time::sleep(Duration::from_millis(100));
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                connections.spawn(take(stream, heard.clone()));
            }
            () = tick => {}
        }
        let now = heard.lock().unwrap_or_else(PoisonError::into_inner).serials.len() as u64;
        if now >= count {
            return Ok(());
        }
        if now > seen {
            (seen, since) = (now, Instant::now());
        }
        ensure!(since.elapsed() < PATIENCE, "{now} of {count} webhooks came, and then none");
    }
}

/// One connection: answers each post with 200.
async fn take(mut stream: TcpStream, heard: Arc<Mutex<Heard>>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(64 << 10);
    loop {
        let end = loop {
            if let Some(end) = whole(&buffer) {
                break end;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        note(&heard, buffer.get(..end).unwrap_or_default());
        buffer.drain(..end);
        stream.write_all(TAKEN).await?;
    }
}

/// Where the first request in the buffer ends; none: it is not all there.
fn whole(buffer: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(buffer, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(buffer.get(..head)?).ok()?;
    let length: usize = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })?;
    (buffer.len() >= head + length).then_some(head + length)
}

fn note(heard: &Mutex<Heard>, request: &[u8]) {
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    heard.first.get_or_insert(now);
    heard.posts += 1;
    heard.bytes += request.len() as u64;
    let Some(serial) = serial_in(request) else { return };
    if heard.serials.insert(serial) {
        heard.latest = Some(now);
        if let (Some(client), Some(place)) = (after(request, b"\"cli_", 32), event_place(request)) {
            let last = heard.last.insert(client.to_vec(), place);
            heard.out_of_order += u64::from(last.is_some_and(|last| last > place));
        }
    }
}

/// So many bytes that follow the first of these words.
fn after<'a>(text: &'a [u8], words: &[u8], count: usize) -> Option<&'a [u8]> {
    let start = memchr::memmem::find(text, words)? + words.len();
    text.get(start..start + count)
}

/// The event's place in the stream: the last 16 digits of its id.
fn event_place(request: &[u8]) -> Option<u64> {
    let digits = after(request, b"evt_", 48)?.get(32..)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

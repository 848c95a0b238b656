//! `sendMessage`: each is on the disk before it is answered. The lanes send meanwhile, 20 a second for each number.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use super::{CUSTOMERS, SHOPS};
use crate::Bench;
use crate::http;
use crate::load::{Pace, Source, drive};
use crate::report::Section;
use crate::stand::Stand;
use crate::webhooks::Shop;

const QUERY: &str = "mutation Send($input: SendMessageInput!) { sendMessage(input: $input) {
    message { id status } eventCursor userErrors { code message } } }";

/// Mutations a second of the paced round: more than four numbers in coexistence can send.
const CALM: u32 = 200;

/// Messages to many people, each under a key of its own.
pub(super) struct Sends {
    host: SocketAddr,
    key: String,
    shops: Vec<Shop>,
    next: AtomicU64,
    most: u64,
    /// Not before: an instant as the API takes it.
    send_at: Option<String>,
}

impl Sends {
    /// `most` messages, in turns from each of the numbers.
    pub(super) fn new(stand: &Stand, shops: Vec<Shop>, most: u64, send_at: Option<String>) -> Self {
        Self { host: stand.address, key: stand.key.clone(), shops, next: AtomicU64::new(0), most, send_at }
    }
}

impl Source for Sends {
    fn next<'a>(&'a self, buffer: &'a mut Vec<u8>) -> Option<(u64, &'a [u8])> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.most {
            return None;
        }
        let shops = self.shops.len() as u64;
        let shop = self.shops.get(usize::try_from(number % shops).ok()?)?;
        let customer = number / shops % CUSTOMERS;
        let content = json!({ "template": { "name": "appointment_confirmed", "language": "de",
            "components": [{ "type": "BODY", "parameters": [{ "text": "Ada" }, { "text": number.to_string() }] }] } });
        let input = json!({ "clientId": shop.client, "to": format!("+49157{customer:08}"), "content": content,
            "idempotencyKey": number.to_string(), "sendAt": self.send_at });
        *buffer = http::graphql(self.host, Some(&self.key), QUERY, &json!({ "input": input }));
        Some((number, buffer))
    }

    fn is_good(&self, status: u16, body: &[u8]) -> bool {
        status == 200 && memchr::memmem::find(body, b"\"id\":\"msg_").is_some()
    }
}

/// Sends from all connections for a while.
pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::new("send", "sendMessage, each durable before it is answered");
    let mut stand = Stand::start(&bench.place, &[]).await?;
    let shops = stand.shops(SHOPS).await?;
    let source = Arc::new(Sends::new(&stand, shops, u64::MAX, None));
    let process = stand.process()?;
    let began = Instant::now();
    // The first message to each customer makes a contact and a conversation: that belongs to the warm-up.
    let warm = bench.lengths.warm + Duration::from_secs(1);
    let (from, until) = (began + warm, began + warm + bench.lengths.send);
    let (before, cpu) = (stand.metrics().await?, process.cpu_seconds()?);
    let outcome = drive(stand.address, bench.connections, &source, Pace::Free, from, until).await?;
    let (cpu, after) = (process.cpu_seconds()? - cpu, stand.metrics().await?);
    ensure!(outcome.bad == 0, "{} messages were not taken", outcome.bad);
    let calm = began + warm + bench.lengths.send;
    let pace = Pace::Every(calm, Duration::from_secs(1) / CALM);
    let paced =
        drive(stand.address, bench.connections, &source, pace, calm, calm + bench.lengths.send).await?;
    ensure!(paced.bad == 0, "{} messages were not taken", paced.bad);
    let messages = stand.messages().await?;
    ensure!(
        messages == outcome.good + paced.good,
        "{messages} messages of {} that were taken",
        outcome.good + paced.good
    );
    let good = outcome.good as f64;
    section.setting("connections", bench.connections);
    section.setting("seconds", bench.lengths.send.as_secs());
    section.setting("numbers", SHOPS);
    section.setting("customers", CUSTOMERS);
    section.figure("rate", "sendMessage", outcome.rate(), "mutations/s");
    section.figure("p50", "answer p50", outcome.ms(50.0), "ms");
    section.figure("p99", "answer p99", outcome.ms(99.0), "ms");
    section.figure("cpu", "service CPU, sending included", cpu / good * 1000.0, "s per 1,000");
    section.setting("paced, mutations/s", CALM);
    section.figure("paced_p50", "answer p50, paced", paced.ms(50.0), "ms");
    section.figure("paced_p99", "answer p99, paced", paced.ms(99.0), "ms");
    let statements = (after.statements - before.statements) / good;
    section.figure("statements", "SQL statements a mutation, sending included", statements, "");
    stand.end().await?;
    Ok(section)
}

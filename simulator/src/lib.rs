//! WhatsApp on a laptop.
//!
//! A small world of phones, customers and chats, with two doors on one port. Meta's door is the Graph API and the
//! webhooks that follow from what happens; the other one is GraphQL, where tests and pages do what people do: write
//! from the app, write as a customer, connect, disconnect, make trouble. A service runs the same code against this
//! as against Meta, and is told nothing that Meta would not tell it.
//!
//! | room | holds |
//! |---|---|
//! | `world` | phones, people, chats, signups; made from a seed, changed under one lock |
//! | `graph` | Meta's endpoints: tokens, numbers, sends, templates, media |
//! | `webhooks` | what is told, to whom, in which order; signing, posting, trying again |
//! | `door` | the GraphQL schema and its guards |
//! | `engine` | the world behind its lock, the file's writer, the deliveries |
//! | `store` | the file: every change is on disk before anybody hears of it |
//!
//! Untroubled, nothing happens but what the door's mutations cause: no traffic of its own, one id a message, numbers
//! shown, the webhooks of one phone one after another. Time is simulated: real time plus what `advanceClock` has
//! added; answers and webhooks carry the difference in a header. What guards (codes, rates, retries,
//! the life of download addresses) goes by real time.

mod chance;
mod create;
mod door;
mod engine;
mod graph;
mod http;
mod number;
mod store;
mod wamid;
mod webhooks;
mod world;

use engine::Engine;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use world::World;

/// Simulated time minus real time, in milliseconds: on every answer and on every webhook.
pub const CLOCK_HEADER: &str = "x-simulator-clock-offset-ms";

/// How a simulator is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it answers; port 0 takes a free one. On a loopback address only callers that name one are answered.
    pub listen: SocketAddr,
    /// Where its file `simulator.sqlite` is; made if missing.
    pub data_dir: PathBuf,
    /// Whether an empty world begins with a shop to play with.
    pub demo_shop: bool,
}

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address could not be taken.
    #[error("the simulator cannot listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file could not be opened or read.
    #[error("the simulator's file cannot be used: {0}")]
    File(#[from] sea_orm::DbErr),
    /// The file holds what this version does not understand.
    #[error("the simulator's file is not understood: {0}")]
    Content(#[from] serde_json::Error),
    /// The HTTP client could not be made.
    #[error("the simulator cannot post webhooks: {0}")]
    Client(#[from] reqwest::Error),
    /// The world could not be set up.
    #[error("the simulator's world cannot be set up: {0}")]
    World(String),
}

/// A running simulator. It stops when [`Simulator::stop`] is called.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
    writer_stop: CancellationToken,
    writer: TaskTracker,
}

impl Simulator {
    #[expect(
        clippy::disallowed_methods,
        reason = "the simulator's own client; each of its requests has a time-out"
    )]
    /// Opens the file, takes the address and returns once the doors are open.
    pub async fn start(options: Options) -> Result<Self, Error> {
        // Fails only if somebody has installed a provider before, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listening = |source| Error::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;

        let store = Store::open(&options.data_dir).await?;
        let mut rows = Vec::new();
        for kind in world::KINDS {
            rows.push((kind, store.load(kind).await?));
        }
        let world = World::restore(rows, url_of(address))?;
        let is_empty = world.phones.is_empty();

        let (submissions, incoming) = mpsc::unbounded_channel();
        let (committed, is_committed) = watch::channel(0);
        let http =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        let engine = Arc::new(Engine::new(world, submissions, is_committed, http));
        let (writer, writer_stop) = (TaskTracker::new(), CancellationToken::new());
        writer.spawn(store::keep(store, incoming, committed, writer_stop.clone()));
        writer.close();

        let refused = |refusal: world::Refusal| Error::World(refusal.0);
        engine.keep_beginnings().await.map_err(refused)?;
        engine.start_deliveries();
        if is_empty && options.demo_shop {
            create::demo_shop(&engine).await.map_err(refused)?;
        }
        let (stop, tasks) = (engine.stop.clone(), engine.tasks.clone());
        let router = http::router(engine, address.ip().is_loopback());
        let stopped = stop.clone();
        tasks.spawn(async move {
            let served =
                axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "the simulator's doors closed by themselves");
            }
        });
        tracing::info!(%address, "the simulator is open");
        Ok(Self { address, stop, tasks, writer_stop, writer })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers, as the beginning of an address without a slash at its end.
    pub fn url(&self) -> String {
        url_of(self.address)
    }

    /// Closes the doors, ends what is under way and closes the file. Webhooks that are due stay due.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        // A connection that a caller keeps open and silent does not hold the end up.
        let patience = std::time::Duration::from_secs(5);
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!("the simulator stops although a caller is still connected");
        }
        self.writer_stop.cancel();
        self.writer.wait().await;
    }
}

/// The address for callers on this machine if it listens everywhere.
fn url_of(address: SocketAddr) -> String {
    let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

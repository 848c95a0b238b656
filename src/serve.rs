//! `tandem serve`: everything together, until a signal.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use simulator::{Options, Simulator};
use tokio::net::TcpListener;

use crate::app::{App, Installation};
use crate::config::Config;
use crate::db::Alone;
use crate::events::epoch;
use crate::http::{self, Connections, Development};
use crate::inbound::{self, Inbox};
use crate::lifecycle::{Tasks, signal};
use crate::media::Files;
use crate::media::store::Store;
use crate::upstream::meta::{KNOWN_FIELDS, Meta, Settings};
use crate::{
    apply, clients, graphql, lanes, media, messages, partners, secrets, sync, templates, upkeep, webhooks,
};

/// The file in `data_dir` that keeps the development partner's key, so that the next start finds it.
const DEVELOPMENT_KEY: &str = "development.key";
/// How long the simulator is waited for at the start.
const SIMULATOR_WAIT: Duration = Duration::from_secs(30);
/// How long a connection may be silent before its first request.
const FIRST: Duration = Duration::from_secs(30);
/// How long it may be silent between requests. Load balancers reuse connections for 60 s, HTTP clients for 90.
const NEXT: Duration = Duration::from_secs(120);
/// How long an orderly end may take.
const END: Duration = Duration::from_secs(20);
/// And closing the databases after it.
const CLOSE: Duration = Duration::from_secs(5);

/// A service that serves, with everything behind it.
pub struct Running {
    /// The parts.
    pub app: Arc<App>,
    /// Where it listens.
    pub address: SocketAddr,
    /// The development partner's key, if one was asked for.
    pub key: Option<String>,
    /// The simulator that was started inside.
    pub simulator: Option<Simulator>,
    /// On SQLite: no other service works on the database.
    _alone: Option<Alone>,
}

/// Serves until a signal. The exit code says whether an engine died.
///
/// # Errors
/// When it cannot start: a sentence that says why.
pub async fn serve(config: Config, welcome: bool) -> anyhow::Result<ExitCode> {
    let running = Running::start(config, welcome).await?;
    tracing::info!(address = %running.address, "serving at http://{}", running.address);
    if welcome {
        running.greet();
    }
    tokio::select! {
        heard = signal() => heard?,
        () = running.app.tasks.stopping().cancelled() => {}
    }
    tracing::info!("stopping");
    Ok(if running.stop().await { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Running {
    /// Starts everything; returns when it serves.
    ///
    /// # Errors
    /// When it cannot start: a sentence that says why.
    pub async fn start(config: Config, welcome: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen at {}; set `listen` to a free address", config.listen))?;
        let address = listener.local_addr()?;
        let public_url = config.public_url(address);
        let installation = Installation::open(config).await?;
        let config = installation.config.clone();
        let alone = config.database_file().map(|file| Alone::claim(&file)).transpose()?;
        epoch::settle(&installation).await?;
        let (settings, simulator) = upstream_settings(&config).await?;
        let upstream = Meta::new(settings, installation.clock.clone())?;
        let key = if config.is_development() && welcome {
            Some(development_key(&installation).await?)
        } else {
            None
        };
        let (inbox, committer) = Inbox::open(&installation.inbound_db, &config.inbound).await?;
        let files = Files::new(Store::open(&config)?, &config.media);
        let tasks = Tasks::default();
        let app = Arc::new(App::new(installation, upstream, inbox, files, public_url, tasks.clone()));

        if config.is_development() {
            // Right from the first request on: what it writes is stamped by the simulator's clock.
            app.upstream
                .simulator_clock()
                .await
                .map_err(|error| anyhow::anyhow!("the simulator's clock: {error}"))?;
            tasks.engine("simulator's clock", upkeep::follow_clock(app.clone()));
        }
        tasks.engine("committer", inbound::commit(app.clone(), committer));
        // A process that connected a number may have ended before it came to this.
        inbound::try_unmatched(&app, inbound::unmatched_since(&app)).await?;
        tasks.engine("applier", apply::engine::run(app.clone()));
        if alone.is_some() {
            lanes::inherit(&app.db).await?;
        }
        tasks.engine("sends", messages::accept::run(app.clone()));
        tasks.engine("lanes", lanes::run(app.clone()));
        tasks.engine("files", media::transfers::run(app.clone()));
        tasks.engine("old files", media::keep::run(app.clone()));
        tasks.engine("imports", sync::run(app.clone()));
        tasks.engine("profiles", clients::profile::run(app.clone()));
        tasks.engine("templates", templates::refresh::run(app.clone()));
        let render = Arc::new(graphql::WebhookData::new());
        tasks.engine("webhooks", webhooks::run(app.clone(), render));
        tasks.engine("upkeep", upkeep::run(app.clone()));
        let router = http::router(app.clone(), &Development { key: key.clone() });
        let stop = tasks.stopping().clone();
        let bounds = Connections {
            most: config.connections,
            first: FIRST,
            next: NEXT,
            slow_reader: Duration::from_secs(config.graphql.slow_reader_seconds),
        };
        tasks.engine("http", http::serve(listener, router, stop, bounds));
        if config.is_development() {
            listen_to_simulator(&app, address).await?;
        }
        app.ready.store(true, Ordering::Relaxed);
        Ok(Self { app, address, key, simulator, _alone: alone })
    }

    /// Ends everything in order. Says whether all went well until then.
    pub async fn stop(self) -> bool {
        let tasks = self.app.tasks.clone();
        let end = tokio::time::Instant::now() + END;
        if tokio::time::timeout_at(end, tasks.finish()).await.is_err() {
            tracing::warn!("not everything ended in {} s", END.as_secs());
        }
        // Last: what the engines did at their end is on the disk, and nobody writes any more.
        let (rows, bodies) = (self.app.db.clone(), self.app.inbound_db.clone());
        drop(self.app);
        for database in [rows, bodies] {
            match tokio::time::timeout_at(end + CLOSE, database.close()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a database could not be closed in order"),
                Err(_) => tracing::warn!("a database is still in use"),
            }
        }
        if let Some(simulator) = self.simulator {
            simulator.stop().await;
        }
        !tasks.failed()
    }

    fn greet(&self) {
        let simulator = self.app.upstream.settings.simulator.clone().unwrap_or_default();
        let (address, key) = (self.address, self.key.as_deref().unwrap_or_default());
        let _ = writeln!(
            std::io::stdout(),
            "\nTandem serves at   http://{address}/graphql\nAPI key            {key}\nSimulator          {simulator}/graphql\n\n\
             Next steps:\n  1. Open http://{address}/graphiql: the key is filled in, and each tab is a step of the journey.\n  \
             2. Run the first tab, createOnboarding, and connect the demo shop's phone as the README shows.\n  \
             3. Leave the `events` subscription open and watch chats, contacts and messages arrive.\n"
        );
    }
}

/// Runs the simulator alone, until a signal.
///
/// # Errors
/// When it cannot start.
pub async fn simulator(config: Config) -> anyhow::Result<ExitCode> {
    let options =
        Options { listen: config.simulator.listen, data_dir: config.data_dir.clone(), demo_shop: false };
    let simulator = Simulator::start(options).await?;
    tracing::info!(url = simulator.url(), "the simulator serves at {}", simulator.url());
    signal().await?;
    simulator.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// How to speak to the upstream: as configured, or as the simulator tells; one is started if none is named.
async fn upstream_settings(config: &Config) -> anyhow::Result<(Settings, Option<Simulator>)> {
    if !config.is_development() {
        return Ok((Settings::from_config(config), None));
    }
    if let Some(url) = &config.simulator.url {
        let deadline = tokio::time::Instant::now() + SIMULATOR_WAIT;
        loop {
            match Settings::from_simulator(url.as_str(), config).await {
                Ok(settings) => return Ok((settings, None)),
                Err(error) if tokio::time::Instant::now() >= deadline => {
                    return Err(
                        error.context(format!("simulator.url is {url}, and nothing useful answers there"))
                    );
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
    let options = Options {
        listen: config.simulator.listen,
        data_dir: config.data_dir.clone(),
        demo_shop: config.simulator.demo,
    };
    let simulator = Simulator::start(options)
        .await
        .with_context(|| format!("cannot start the simulator at {}", config.simulator.listen))?;
    tracing::info!(
        url = simulator.url(),
        "no WhatsApp app is configured: the simulator runs inside, at {}",
        simulator.url()
    );
    let settings = Settings::from_simulator(&simulator.url(), config).await?;
    Ok((settings, Some(simulator)))
}

/// Tells the simulator where to post, as Meta's dashboard would be told. Fields that were chosen stay as they are.
async fn listen_to_simulator(app: &App, address: SocketAddr) -> anyhow::Result<()> {
    let here = match address.ip() {
        ip if ip.is_unspecified() => format!("http://127.0.0.1:{}", address.port()),
        _ => format!("http://{address}"),
    };
    let chosen = app.upstream.app_subscriptions().await.unwrap_or_default();
    let mut fields: Vec<&str> = chosen.iter().map(String::as_str).collect();
    if fields.is_empty() {
        fields = KNOWN_FIELDS.to_vec();
    }
    app.upstream
        .set_app_subscriptions(&format!("{here}/webhooks/meta"), &fields)
        .await
        .map_err(|error| anyhow::anyhow!("the simulator does not take our webhook address: {error}"))
}

/// The key of the development partner: made on the first start, the same on every other.
async fn development_key(installation: &Installation) -> anyhow::Result<String> {
    let path = installation.config.data_dir.join(DEVELOPMENT_KEY);
    if let Ok(key) = std::fs::read_to_string(&path) {
        return Ok(key.trim().to_owned());
    }
    let created = partners::create(installation, "Development").await?;
    secrets::write_private(&path, &created.api_key)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(created.api_key)
}

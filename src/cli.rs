//! The commands of the binary.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Parser, Subcommand};
use entity::{
    ApiKeyId, ClientId, EventType, InboundState, PartnerId, Timestamp, WebhookDeliveryId, WebhookEndpointId,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;

use crate::app::Installation;
use crate::auth::{Permission, Scope};
use crate::clock::{Clock, from_datetime, to_datetime};
use crate::config::{Config, DEFAULTS};
use crate::db::Alone;
use crate::events::epoch;
use crate::events::queries::CursorError;
use crate::failure::Failure;
use crate::ids::PublicId;
use crate::inbound::store;
use crate::partners::{self, NewKey};
use crate::tail::{Forward, Tail};
use crate::upstream::meta::check::check_line;
use crate::webhooks::endpoints::{self, Part};
use crate::webhooks::keep::{self, Retry};
use crate::webhooks::{queries, signing};
use crate::{serve, telemetry};

/// How long a thread that does what others must not wait for (a large webhook, a slow statement) stays when it has nothing
/// to do. The allocator gives back what was freed for a thread only when that thread asks for more or ends: with the usual ten
/// seconds an import leaves a heap with each of many (measured: some 15 MB).
const IDLE_THREAD: Duration = Duration::from_millis(10);

/// A self-hosted GraphQL backend for WhatsApp coexistence.
#[derive(Parser)]
#[command(name = "tandem", version)]
struct Cli {
    /// A file of settings, laid over the defaults; environment variables are laid over both.
    #[arg(long, global = true, env = "TANDEM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API; with no WhatsApp app configured, with the simulator.
    Serve {
        /// Make a development partner with a key on the first start, and print the first steps.
        #[arg(long)]
        welcome: bool,
    },
    /// Bring the databases up to date, and make what is missing.
    Migrate,
    /// Say that the database was restored from what brings back the whole disk, such as a snapshot: cursors from before are
    /// refused from then on, and what is queued is not sent again. Not beside a service that serves.
    Restored,
    /// Print the GraphQL schema.
    Schema,
    /// Say whether the settings can be used.
    CheckConfig {
        /// Print all settings with their defaults instead.
        #[arg(long)]
        defaults: bool,
    },
    /// Partners: your tenants.
    #[command(subcommand)]
    Partner(PartnerCommand),
    /// API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Raw webhook bodies.
    #[command(subcommand)]
    Inbound(InboundCommand),
    /// Webhooks to partners.
    #[command(subcommand)]
    Webhooks(WebhooksCommand),
    /// The stream of events.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Run the WhatsApp simulator alone.
    Simulator,
}

/// The longest life of a key, seconds: a hundred years.
const LONGEST_LIFE: i64 = 36_500 * 86_400;
/// The longest name of a partner.
const LONGEST_NAME: usize = 256;

#[derive(Subcommand)]
enum PartnerCommand {
    /// Make a partner; prints its API key once.
    Create {
        /// Shown to people only.
        #[arg(long)]
        name: String,
        /// One JSON object alone on standard output.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a key; prints it once.
    Create {
        /// The partner's id, such as prt_….
        #[arg(long)]
        partner: String,
        /// Only these clients, such as cli_…; may be repeated.
        #[arg(long)]
        client: Vec<String>,
        /// READ, SEND or ADMIN; may be repeated. Without: all.
        #[arg(long)]
        scope: Vec<String>,
        /// Life of the key, such as 30d or 12h. Without: it does not end.
        #[arg(long, value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
        /// One JSON object alone on standard output.
        #[arg(long)]
        json: bool,
    },
    /// End a key.
    Revoke {
        /// Such as key_….
        id: String,
    },
}

#[derive(Subcommand)]
enum InboundCommand {
    /// Say what files of webhook bodies mean, without storing anything.
    Check {
        /// One body a file.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Bodies that were not applied, or not understood whole; newest first, one JSON object a line.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        most: u64,
    },
    /// Try bodies again that failed, made no sense or matched no number; after a fix.
    Retry,
}

#[derive(Subcommand)]
enum WebhooksCommand {
    /// Send failed deliveries once more, each with its three days anew; after a receiver's fix.
    Retry {
        /// Only these, such as whd_…; may be repeated.
        #[arg(long)]
        delivery: Vec<String>,
        /// Only to this endpoint, such as whe_….
        #[arg(long)]
        endpoint: Option<String>,
        /// Only what failed for good within this time, such as 2d.
        #[arg(long, value_parser = humantime::parse_duration)]
        within: Option<Duration>,
    },
}

#[derive(Subcommand)]
enum EventsCommand {
    /// Follow the stream of any installation: one event a line, as JSON. Reconnects, and goes on where it was cut. The API
    /// key (scope READ) is read from TANDEM_API_KEY.
    Tail {
        /// Address of the installation.
        #[arg(long, default_value = "http://127.0.0.1:8080")]
        url: Url,
        /// Only this type, such as MESSAGE_INCOMING; may be repeated.
        #[arg(long = "type")]
        types: Vec<String>,
        /// Only this client, such as cli_…; may be repeated.
        #[arg(long)]
        client: Vec<String>,
        /// Go on after this cursor. Without: from now on.
        #[arg(long)]
        after: Option<String>,
        /// Post each event to this address, such as http://localhost:3000/hook, signed as webhooks are: with the secret in
        /// TANDEM_WEBHOOK_SECRET (whsec_…), or one made up for this run and printed at its start.
        #[arg(long)]
        forward: Option<Url>,
        #[arg(hide = true, long, env = "TANDEM_API_KEY", hide_env_values = true)]
        api_key: Option<SecretString>,
        #[arg(hide = true, long, env = "TANDEM_WEBHOOK_SECRET", hide_env_values = true)]
        webhook_secret: Option<SecretString>,
    },
    /// Send a part of a partner's stream to one of its endpoints once more, as `replayWebhooks` does; all conditions hold at
    /// once.
    Replay(ReplayOptions),
}

#[derive(clap::Args)]
struct ReplayOptions {
    /// To this endpoint, such as whe_….
    #[arg(long)]
    endpoint: String,
    /// Only what happened at this instant or later, such as 2026-11-22T08:00:00Z.
    #[arg(long, value_parser = parse_instant)]
    since: Option<Timestamp>,
    /// Only what happened before this instant.
    #[arg(long, value_parser = parse_instant)]
    until: Option<Timestamp>,
    /// Only what follows this cursor. Without: from the oldest entry that is kept.
    #[arg(long)]
    after: Option<String>,
    /// Only what lies up to this cursor, itself included. Without: up to now.
    #[arg(long)]
    up_to: Option<String>,
    /// Only this type, such as MESSAGE_INCOMING; may be repeated.
    #[arg(long = "type", value_parser = parse_event_type)]
    types: Vec<EventType>,
}

fn parse_instant(text: &str) -> Result<Timestamp, String> {
    let at = chrono::DateTime::parse_from_rfc3339(text);
    at.map(|at| from_datetime(at.to_utc()))
        .map_err(|_| "it needs an instant such as 2026-11-22T08:00:00Z".into())
}

fn parse_event_type(word: &str) -> Result<EventType, String> {
    serde_json::from_value(json!(word)).map_err(|_| "it needs a type such as MESSAGE_INCOMING".into())
}

/// Runs the command line; the exit code says how it went.
pub fn main() -> ExitCode {
    // The one TLS provider, before any client is made; a second try changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.enable_all().thread_keep_alive(IDLE_THREAD).build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "tandem: {error:#}");
    ExitCode::FAILURE
}

/// Prints a line on standard output. A reader that went away is no failure.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::CheckConfig { defaults: true } => {
            say(DEFAULTS.trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        Command::Schema => {
            say(crate::graphql::sdl().trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        Command::Inbound(InboundCommand::Check { files }) => return Ok(check_files(&files)),
        // Speaks to any installation: the settings of this one mean nothing to it.
        Command::Events(EventsCommand::Tail {
            url,
            types,
            client,
            after,
            forward,
            api_key,
            webhook_secret,
        }) => {
            let key = api_key.context("TANDEM_API_KEY is empty; it needs an API key with the scope READ")?;
            let forward = forward.map(|url| forward_to(url, webhook_secret)).transpose()?;
            let tail = Tail { url, key, types, clients: client, after, forward };
            Box::pin(tail.run(&mut std::io::stdout())).await?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let config = Config::load(cli.config.as_deref())?;
    telemetry::start(&config)?;
    match cli.command {
        Command::Serve { welcome } => return serve::serve(config, welcome).await,
        Command::Simulator => return serve::simulator(config).await,
        Command::Migrate => {
            Installation::open(config).await?;
            say("The databases are up to date.");
        }
        Command::Restored => {
            let installation = Installation::open(config).await?;
            let _alone = installation.config.database_file().map(|file| Alone::claim(&file)).transpose()?;
            epoch::restored(&installation).await?;
            say("A new epoch of the log has begun; start the service.");
        }
        Command::Partner(PartnerCommand::Create { name, json }) => {
            if name.trim().is_empty() || name.chars().count() > LONGEST_NAME {
                bail!("--name needs 1 to {LONGEST_NAME} characters");
            }
            create_partner(config, &name, json).await?;
        }
        Command::Key(KeyCommand::Create { partner, client, scope, expires, json }) => {
            create_key(config, &partner, &client, &scope, expires, json).await?;
        }
        Command::Key(KeyCommand::Revoke { id }) => revoke_key(config, &id).await?,
        Command::Inbound(InboundCommand::List { most }) => list_bodies(config, most).await?,
        Command::Inbound(InboundCommand::Retry) => {
            let installation = Installation::open(config).await?;
            let states = [InboundState::Failed, InboundState::Rejected, InboundState::Unmatched];
            let count = store::again(installation.inbound_db.write(), &states, Timestamp(0)).await?;
            say(format!("{count} bodies wait to be applied again; `tandem serve` does it."));
        }
        Command::Webhooks(WebhooksCommand::Retry { delivery, endpoint, within }) => {
            retry_webhooks(config, &delivery, endpoint.as_deref(), within).await?;
        }
        Command::Events(EventsCommand::Replay(options)) => replay_events(config, options).await?,
        Command::CheckConfig { .. } => {
            let kind =
                if config.is_development() { "development, with the simulator" } else { "a real upstream" };
            say(format!("The settings can be used: {kind}."));
        }
        Command::Schema
        | Command::Inbound(InboundCommand::Check { .. })
        | Command::Events(EventsCommand::Tail { .. }) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The receiver of `events tail --forward`. A secret that nobody gave is made up, and shown.
fn forward_to(url: Url, secret: Option<SecretString>) -> anyhow::Result<Forward> {
    let secret = secret.unwrap_or_else(|| {
        let secret = signing::new_secret();
        let _ = writeln!(std::io::stderr(), "signing with the secret {}", secret.expose_secret());
        secret
    });
    Forward::new(url, secret)
}

fn check_files(files: &[PathBuf]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let name = file.display().to_string();
        match std::fs::read(file) {
            Ok(body) => {
                say(check_line(&name, &body));
                if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_err() {
                    code = ExitCode::FAILURE;
                }
            }
            Err(error) => {
                let error = format!("cannot be read: {error}");
                say(json!({ "file": name, "fields": [], "changes": [], "unknown": [], "error": error }));
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

async fn create_partner(config: Config, name: &str, as_json: bool) -> anyhow::Result<()> {
    if name.trim().is_empty() {
        bail!("--name is empty; it needs the partner's name");
    }
    let installation = Installation::open(config).await?;
    let created = partners::create(&installation, name.trim()).await?;
    let id = created.partner.public();
    if as_json {
        say(json!({ "id": id, "name": name.trim(), "apiKey": created.api_key }));
    } else {
        say(format!("Partner {name} is {id}.\nIts API key, shown this once: {}", created.api_key));
    }
    Ok(())
}

async fn create_key(
    config: Config,
    partner: &str,
    clients: &[String],
    scopes: &[String],
    expires: Option<Duration>,
    as_json: bool,
) -> anyhow::Result<()> {
    let partner = PartnerId::parse(partner)
        .with_context(|| format!("--partner is {partner:?}; it needs an id such as prt_ and 32 digits"))?;
    let mut permissions = Vec::new();
    for word in scopes {
        let permission = Permission::parse(word);
        let permission =
            permission.with_context(|| format!("--scope is {word:?}; it needs READ, SEND or ADMIN"))?;
        if !permissions.contains(&permission) {
            permissions.push(permission);
        }
    }
    if permissions.is_empty() {
        permissions = Permission::ALL.to_vec();
    }
    let mut ids = Vec::new();
    for text in clients {
        let id = ClientId::parse(text);
        ids.push(
            id.with_context(|| format!("--client is {text:?}; it needs an id such as cli_ and 32 digits"))?,
        );
    }
    let installation = Installation::open(config).await?;
    if !partners::exists(&installation, partner).await? {
        bail!("there is no partner {}", partner.public());
    }
    let ids = partners::own_clients(&installation, partner, ids).await?;
    let lives = expires.map(|life| i64::try_from(life.as_secs()).unwrap_or(i64::MAX));
    if lives.is_some_and(|seconds| !(1..=LONGEST_LIFE).contains(&seconds)) {
        bail!("--expires needs 1s to 36500d; without it the key does not end");
    }
    let expires_at = lives.map(|seconds| Clock::real_now().plus_seconds(seconds));
    let new = NewKey {
        name: "made on the command line",
        clients: (!ids.is_empty()).then_some(ids),
        permissions: permissions.clone(),
        expires_at,
    };
    let created = partners::create_key(&installation, partner, new).await?;
    let id = created.id.public();
    if as_json {
        let words: Vec<&str> = permissions.iter().map(|permission| permission.word()).collect();
        let until = expires_at.map(|at| to_datetime(at).to_rfc3339());
        say(
            json!({ "id": id, "apiKey": created.secret, "scopes": words, "clientIds": clients, "expiresAt": until }),
        );
    } else {
        say(format!("Key {id}, shown this once: {}", created.secret));
    }
    Ok(())
}

async fn revoke_key(config: Config, id: &str) -> anyhow::Result<()> {
    let key =
        ApiKeyId::parse(id).with_context(|| format!("{id:?} is no key's id, such as key_ and 32 digits"))?;
    let installation = Installation::open(config).await?;
    if !partners::revoke_key(&installation, key).await? {
        bail!("there is no key {id} that still holds");
    }
    say(format!("Key {id} is revoked; within seconds nothing accepts it."));
    Ok(())
}

async fn retry_webhooks(
    config: Config,
    deliveries: &[String],
    endpoint: Option<&str>,
    within: Option<Duration>,
) -> anyhow::Result<()> {
    let mut which = Retry::default();
    for text in deliveries {
        let id = WebhookDeliveryId::parse(text);
        which.deliveries.push(
            id.with_context(|| format!("--delivery is {text:?}; it needs an id such as whd_ and 32 digits"))?,
        );
    }
    which.endpoint = endpoint.map(parse_endpoint).transpose()?;
    let installation = Installation::open(config).await?;
    let now = installation.clock.now();
    let back = within.map(|within| i64::try_from(within.as_secs()).unwrap_or(i64::MAX));
    which.since = back.map(|seconds| now.plus_seconds(seconds.saturating_neg()));
    let count = keep::retry(&installation.db, &which, now).await?;
    say(format!("{count} deliveries wait again; `tandem serve` sends them."));
    Ok(())
}

fn parse_endpoint(text: &str) -> anyhow::Result<WebhookEndpointId> {
    WebhookEndpointId::parse(text)
        .with_context(|| format!("--endpoint is {text:?}; it needs an id such as whe_ and 32 digits"))
}

async fn replay_events(config: Config, options: ReplayOptions) -> anyhow::Result<()> {
    let ReplayOptions { endpoint, since, until, after, up_to, types } = options;
    let id = parse_endpoint(&endpoint)?;
    let installation = Installation::open(config).await?;
    let partner = queries::partner_of(&installation.db, id).await?;
    let scope = Scope::of_webhooks(partner.with_context(|| format!("there is no endpoint {endpoint}"))?);
    let part = Part::between(&installation, &scope, after.as_deref(), up_to.as_deref()).await;
    let part = part.map_err(|error| match error {
        CursorError::Broken => anyhow!("--after or --up-to is not a cursor of this partner's stream"),
        CursorError::Expired { oldest } => {
            anyhow!("the stream is not kept at --after or --up-to; the oldest cursor that works is {oldest}")
        }
        CursorError::Database(error) => error.into(),
    })?;
    let part = Part { since, until, types: (!types.is_empty()).then_some(types), ..part };
    let up_to = installation.cursor(scope.partner(), part.until_position);
    endpoints::replay(&installation, &scope, id, part).await.map_err(|failure| match failure {
        Failure::Refused(refusal) => anyhow!(refusal.message),
        Failure::Forbidden(word) => anyhow!("this needs the scope {word}"),
        Failure::Unavailable(error) | Failure::Internal(error) => error,
    })?;
    say(format!("The stream up to {up_to} goes out once more; `tandem serve` sends it."));
    Ok(())
}

async fn list_bodies(config: Config, most: u64) -> anyhow::Result<()> {
    let installation = Installation::open(config).await?;
    for body in store::troubled(&installation.inbound_db, most).await? {
        say(json!({
            "id": body.id.public(),
            "receivedAt": to_datetime(body.received_at).to_rfc3339(),
            "state": body.state.word(),
            "error": body.error,
            "partlyUnknown": body.partly_unknown,
        }));
    }
    Ok(())
}

//! Settings: the commented defaults compiled in, a file over them, the environment over both. Nothing else in the
//! service reads the environment.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use config::{ConfigError, FileFormat, Value, ValueKind};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use url::Url;

/// The reference: every key, its default, a comment.
pub const DEFAULTS: &str = include_str!("default.toml");

/// All settings, checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the service listens.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    #[serde(deserialize_with = "optional_url")]
    public_url: Option<Url>,
    /// Most HTTP connections at once.
    pub connections: usize,
    /// Origins of pages whose scripts may call us; `*`: all.
    pub browser_origins: Vec<String>,
    /// Files of the installation.
    pub data_dir: PathBuf,
    database_url: SecretString,
    /// 64 hexadecimal digits, or empty.
    pub installation_key: SecretString,
    /// Log filter.
    pub log: String,
    /// How logs look.
    #[serde(deserialize_with = "log_format")]
    pub log_format: LogFormat,
    /// What only development may do.
    pub development: DevelopmentConfig,
    /// The simulator.
    pub simulator: SimulatorConfig,
    /// The upstream.
    pub meta: MetaConfig,
    /// Links.
    pub onboarding: OnboardingConfig,
    /// Imports.
    pub sync: SyncConfig,
    /// The app on the phone.
    pub presence: PresenceConfig,
    /// `[upkeep]`
    pub upkeep: UpkeepConfig,
    /// Raw bodies.
    pub inbound: InboundConfig,
    /// Sending.
    pub lanes: LanesConfig,
    /// Templates.
    pub templates: TemplatesConfig,
    /// The stream.
    pub events: EventsConfig,
    /// Webhooks to partners.
    pub webhooks: WebhooksConfig,
    /// Files of messages.
    pub media: MediaConfig,
    /// The API's limits.
    pub graphql: GraphqlConfig,
}

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// `[development]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevelopmentConfig {
    /// Listen on other addresses than loopback all the same.
    pub open: bool,
}

/// `[simulator]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulatorConfig {
    /// Where it listens.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// One that runs already.
    #[serde(deserialize_with = "optional_url")]
    pub url: Option<Url>,
    /// Start with a demo shop.
    pub demo: bool,
}

/// `[meta]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaConfig {
    /// The Meta app; empty in development.
    pub app_id: String,
    /// Its secrets, the current one first.
    pub app_secrets: Vec<SecretString>,
    /// Presented by Meta when it verifies the address.
    pub verify_token: SecretString,
    /// Of Embedded Signup.
    pub config_id: String,
    /// Of Embedded Signup, JSON.
    pub signup_extras: String,
    /// Such as `v25.0`.
    pub graph_version: String,
    /// Base address.
    #[serde(deserialize_with = "required_url")]
    pub graph_url: Url,
    /// R2.
    pub minimum_app_version: String,
    /// R16, days, as the provider says.
    pub app_visit_days: i64,
    /// R16, days, as Meta says.
    pub app_visit_days_meta: i64,
}

/// `[onboarding]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnboardingConfig {
    /// Life of a link, seconds.
    pub expires_seconds: i64,
}

/// `[sync]`, all in seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncConfig {
    /// Silence after a request that means STALLED.
    pub stalled_seconds: i64,
    /// Silence after progress 100 that means DONE.
    pub settle_seconds: i64,
    /// How long WhatsApp accepts a request.
    pub deadline_seconds: i64,
    /// First pause before a request without outcome is asked again.
    pub retry_seconds: i64,
}

/// `[presence]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceConfig {
    /// Days without a sign at which APP_VISIT_DUE is raised.
    pub due_days: Vec<i64>,
}

/// `[upkeep]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpkeepConfig {
    /// Seconds between two rounds.
    pub interval_seconds: u64,
}

/// `[inbound]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundConfig {
    /// Largest body.
    pub body_bytes: usize,
    /// Bytes of all bodies in memory until they are on the disk.
    pub buffer_bytes: usize,
    /// Most bodies that wait.
    pub backlog: i64,
    /// Most bodies in a commit.
    pub batch: usize,
    /// Most bytes in a commit.
    pub batch_bytes: usize,
    /// Days that applied bodies are kept.
    pub keep_applied_days: i64,
    /// Days that all other bodies are kept.
    pub keep_other_days: i64,
    /// Hours that a body for an unknown number waits.
    pub unmatched_hours: i64,
}

/// `[lanes]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanesConfig {
    /// R8.
    pub coexistence_per_second: u32,
    /// R8.
    pub api_only_per_second: u32,
    /// Longest wait for an answer.
    pub timeout_seconds: u64,
    /// Hours that idempotency keys are remembered.
    pub keep_keys_hours: i64,
}

/// `[templates]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplatesConfig {
    /// Hours after which a client's list is read again.
    pub refresh_hours: i64,
}

/// `[events]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsConfig {
    /// Events in memory for each partner.
    pub ring: usize,
    /// Days that the stream is kept.
    pub keep_days: i64,
}

/// `[webhooks]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhooksConfig {
    /// Most endpoints of a partner.
    pub endpoints_per_partner: usize,
    /// Most replays of an endpoint that wait.
    pub replays_per_endpoint: usize,
    /// Most posts on the wire, of an endpoint.
    pub concurrency: usize,
    /// Most posts on the wire, of the process.
    pub process_concurrency: usize,
    /// Longest wait for an answer.
    pub timeout_seconds: u64,
    /// Most deliveries of an endpoint that wait.
    pub backlog: usize,
    /// Private networks that are allowed.
    #[serde(deserialize_with = "subnets")]
    pub allowed_subnets: Vec<IpNet>,
    /// Days that deliveries are kept that arrived.
    pub keep_delivered_days: i64,
    /// Days that all others are kept.
    pub keep_failed_days: i64,
}

/// `[media]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaConfig {
    /// `s3://BUCKET/PREFIX`; empty: a directory.
    pub store: String,
    /// Address of the S3 store.
    #[serde(deserialize_with = "optional_url")]
    pub s3_endpoint: Option<Url>,
    /// Its region.
    pub s3_region: String,
    /// Who we are there.
    pub s3_access_key_id: String,
    /// Proves it.
    pub s3_secret_access_key: SecretString,
    /// Files on their way from or to WhatsApp.
    pub transfers: usize,
    /// Uploads on their way, of all partners.
    pub uploads: usize,
    /// Of one partner.
    pub uploads_per_partner: usize,
    /// Longest time for a file.
    pub timeout_seconds: u64,
    /// Life of a file's address.
    pub url_seconds: i64,
    /// Days that files are kept; 0: for ever.
    pub keep_days: i64,
    /// Most bytes of one partner; 0: no limit.
    pub partner_bytes: i64,
}

/// `[graphql]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphqlConfig {
    /// Largest request body.
    pub body_bytes: usize,
    /// Longest query text.
    pub query_bytes: usize,
    /// Brackets in a query text.
    pub nesting: usize,
    /// Fields in a selection.
    pub depth: usize,
    /// Fields resolved.
    pub complexity: usize,
    /// Fragments in a document.
    pub fragments: usize,
    /// Operations in a batch.
    pub batch: usize,
    /// Longest query or mutation.
    pub timeout_seconds: u64,
    /// Sockets and event streams of one partner.
    pub sockets_per_partner: usize,
    /// Subscriptions on one socket.
    pub subscriptions_per_socket: usize,
    /// Largest message of a client.
    pub message_bytes: usize,
    /// Between two heartbeats.
    pub heartbeat_seconds: u64,
    /// How long a reader may take nothing.
    pub slow_reader_seconds: u64,
    /// Days that one question about usage may span.
    pub usage_days: i64,
    /// Introspection outside development.
    pub introspection: bool,
}

/// Why the settings cannot be used, as a sentence that names the key, what it got and what it needs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Config {
    /// Reads all layers.
    ///
    /// # Errors
    /// A sentence that names the key at fault.
    pub fn load(file: Option<&Path>) -> Result<Self, Invalid> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::from_layers(file, &environment)
    }

    /// The defaults, a file over them, and these environment variables over both.
    ///
    /// # Errors
    /// A sentence that names the key at fault.
    pub fn from_layers(file: Option<&Path>, environment: &[(String, String)]) -> Result<Self, Invalid> {
        let defaults =
            config::Config::builder().add_source(config::File::from_str(DEFAULTS, FileFormat::Toml));
        let mut keys = Vec::new();
        collect_keys("", &defaults.clone().build().map_err(sentence)?.cache, &mut keys);

        let mut builder = defaults;
        if let Some(file) = file {
            builder = builder.add_source(config::File::from(file).format(FileFormat::Toml));
        }
        // The last two are for `tandem events tail` alone.
        let mut known = BTreeSet::from(
            ["TANDEM_CONFIG", "TANDEM_API_KEY", "TANDEM_WEBHOOK_SECRET"].map(ToOwned::to_owned),
        );
        for key in &keys {
            let mut names = vec![format!("TANDEM_{}", key.path.replace('.', "_").to_uppercase())];
            if key.path == "database_url" {
                names.insert(0, "DATABASE_URL".to_owned());
            }
            for name in names {
                known.insert(name.clone());
                let Some((_, value)) = environment.iter().find(|(candidate, _)| *candidate == name) else {
                    continue;
                };
                let value = if key.list {
                    let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
                    Value::new(
                        Some(&name),
                        ValueKind::Array(items.map(|item| Value::new(Some(&name), item)).collect()),
                    )
                } else {
                    Value::new(Some(&name), value.as_str())
                };
                builder = builder.set_override(&key.path, value).map_err(sentence)?;
            }
        }
        if let Some((name, _)) =
            environment.iter().find(|(name, _)| name.starts_with("TANDEM_") && !known.contains(name))
        {
            return Err(Invalid(format!(
                "{name} is not a setting: see `tandem check-config --defaults` for all of them"
            )));
        }
        let layers = builder.build().map_err(sentence)?;
        // Before the types have their say, which know no range but their own.
        for key in keys.iter().filter(|key| key.number) {
            check_number(&key.path, layers.get_int(&key.path).map_err(sentence)?)?;
        }
        let config: Config = layers.try_deserialize().map_err(sentence)?;
        config.checked()
    }

    fn checked(self) -> Result<Self, Invalid> {
        if self.lanes.keep_keys_hours < 24 {
            return Err(Invalid(format!(
                "lanes.keep_keys_hours is {}; it needs 24 at least, which the API promises",
                self.lanes.keep_keys_hours
            )));
        }
        if let Some(days) = self.presence.due_days.iter().find(|days| !(1..=MOST_DAYS).contains(*days)) {
            return Err(Invalid(format!(
                "presence.due_days has {days}; it needs days from 1 to {MOST_DAYS}"
            )));
        }
        if self.inbound.buffer_bytes < self.inbound.body_bytes {
            return Err(Invalid(format!(
                "inbound.buffer_bytes is {}; it needs room for one body at least, which is inbound.body_bytes ({})",
                self.inbound.buffer_bytes, self.inbound.body_bytes
            )));
        }
        if let Some(wrong) = self.browser_origins.iter().find(|origin| !is_origin(origin)) {
            return Err(Invalid(format!(
                "browser_origins has {wrong:?}; it needs origins such as https://app.example.org, without a path, or \"*\""
            )));
        }
        let bucket = self.media.store.strip_prefix("s3://");
        if !self.media.store.is_empty() && bucket.is_none_or(|bucket| bucket.split('/').next() == Some("")) {
            return Err(Invalid(format!(
                "media.store is {:?}; it needs s3://BUCKET or s3://BUCKET/PREFIX, or nothing for a directory in data_dir",
                self.media.store
            )));
        }
        if serde_json::from_str::<serde_json::Map<_, _>>(&self.meta.signup_extras).is_err() {
            return Err(Invalid(format!(
                "meta.signup_extras is {:?}; it needs a JSON object such as {{\"setup\":{{}}}}",
                self.meta.signup_extras
            )));
        }
        if self.data_dir.as_os_str().is_empty() {
            return Err(Invalid(
                "data_dir is empty; it needs a directory, which is made if it is missing".to_owned(),
            ));
        }
        let version = &self.meta.minimum_app_version;
        if version.is_empty() || !version.split('.').all(|part| part.parse::<u32>().is_ok()) {
            return Err(Invalid(format!(
                "meta.minimum_app_version is {version:?}; it needs numbers and dots, such as 2.24.17"
            )));
        }
        let key = self.installation_key.expose_secret();
        if !key.is_empty() && hex::decode(key).map_or(true, |bytes| bytes.len() != 32) {
            return Err(Invalid(format!(
                "installation_key has {} characters that are not 32 bytes in hexadecimal; it needs 64 hexadecimal \
                 digits, such as `openssl rand -hex 32` prints",
                key.len()
            )));
        }
        let database = self.database_url.expose_secret();
        if !database.is_empty()
            && !["postgres://", "postgresql://", "sqlite:"].iter().any(|s| database.starts_with(s))
        {
            return Err(Invalid(
                "database_url begins with neither postgres:// nor sqlite:; it needs one of them, or nothing for SQLite \
                 files in data_dir"
                    .to_owned(),
            ));
        }
        if self.is_development() {
            if !self.listen.ip().is_loopback() && !self.development.open {
                return Err(Invalid(format!(
                    "listen is {}, which others can reach; with the simulator as upstream it needs a loopback address \
                     such as 127.0.0.1:8080, or development.open = true where nobody else can reach it",
                    self.listen
                )));
            }
            return Ok(self);
        }
        let needed = [
            (
                "meta.app_secrets",
                self.meta.app_secrets.iter().any(|secret| !secret.expose_secret().is_empty()),
            ),
            ("meta.verify_token", !self.meta.verify_token.expose_secret().is_empty()),
            ("meta.config_id", !self.meta.config_id.is_empty()),
            ("installation_key", !key.is_empty()),
            ("public_url", self.public_url.is_some()),
        ];
        if let Some((key, _)) = needed.iter().find(|(_, given)| !given) {
            return Err(Invalid(format!(
                "{key} is empty; with meta.app_id set (a real upstream) it needs a value, or empty meta.app_id to work \
                 with the simulator"
            )));
        }
        if self.simulator.url.is_some() {
            return Err(Invalid(
                "simulator.url and meta.app_id are both set; the upstream is either the simulator or Meta: empty one"
                    .to_owned(),
            ));
        }
        Ok(self)
    }

    /// Whether the upstream is the simulator (invariant 13).
    pub fn is_development(&self) -> bool {
        self.meta.app_id.is_empty()
    }

    /// The address under which others reach the service, without a slash at its end.
    pub fn public_url(&self, listening: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{listening}"),
        }
    }

    /// Where the main database is.
    pub fn database_url(&self) -> SecretString {
        match self.database_url.expose_secret() {
            "" => SecretString::from(format!(
                "sqlite://{}?mode=rwc",
                self.data_dir.join("tandem.sqlite").display()
            )),
            url => SecretString::from(url.to_owned()),
        }
    }

    /// Where the raw bodies are: on SQLite a file beside the main one, on Postgres the same database.
    pub fn inbound_url(&self) -> SecretString {
        match self.database_file() {
            None => self.database_url(),
            Some(file) => SecretString::from(format!("sqlite://{}.inbound?mode=rwc", file.display())),
        }
    }

    /// The file of the main database; none on Postgres.
    pub fn database_file(&self) -> Option<PathBuf> {
        let url = self.database_url();
        let path = url.expose_secret().strip_prefix("sqlite:")?.trim_start_matches("//");
        Some(PathBuf::from(path.split('?').next().unwrap_or(path)))
    }
}

struct Key {
    path: String,
    list: bool,
    number: bool,
}

/// Numbers of which 0 says something: without a limit, or at once.
const MAY_BE_ZERO: [&str; 4] =
    ["media.keep_days", "media.partner_bytes", "inbound.keep_applied_days", "inbound.unmatched_hours"];
/// A hundred years: more than anybody waits, and far from where instants overflow.
const MOST_DAYS: i64 = 36_500;
/// More than a system has ports for one address.
const MOST_CONNECTIONS: i64 = 1_000_000;
/// What WhatsApp raises large numbers to.
const MOST_PER_SECOND: i64 = 1_000;

/// Nothing works with a number below 1, and some things fail late and badly: with a time-out of 0 every send is UNKNOWN.
fn check_number(key: &str, value: i64) -> Result<(), Invalid> {
    let least = if MAY_BE_ZERO.contains(&key) { 0 } else { 1 };
    let most = match key.rsplit('_').next() {
        // The parser recurses on them: some 500 levels fill a thread's stack.
        _ if matches!(key, "graphql.nesting" | "graphql.depth") => 200,
        _ if key == "connections" => MOST_CONNECTIONS,
        _ if key == "meta.app_visit_days_meta" => MOST_DAYS,
        Some("second") => MOST_PER_SECOND,
        Some("days") => MOST_DAYS,
        Some("hours") => MOST_DAYS * 24,
        Some("seconds") => MOST_DAYS * 86_400,
        _ => i64::MAX,
    };
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let needs = match (value < least, least) {
        (true, 0) => "0 or more".to_owned(),
        (true, _) => "a number above 0".to_owned(),
        (false, _) => format!("{most} at most"),
    };
    Err(Invalid(format!("{key} is {value}; it needs {needs}")))
}

fn collect_keys(prefix: &str, value: &Value, keys: &mut Vec<Key>) {
    if let ValueKind::Table(table) = &value.kind {
        for (name, value) in table {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            collect_keys(&path, value, keys);
        }
    } else {
        keys.push(Key {
            path: prefix.to_owned(),
            list: matches!(value.kind, ValueKind::Array(_)),
            number: matches!(value.kind, ValueKind::I64(_)),
        });
    }
}

/// A library's error as a sentence for the operator.
fn sentence(error: ConfigError) -> Invalid {
    Invalid(match error {
        ConfigError::Type { origin, unexpected, expected, key } => format!(
            "{} is {unexpected}; it needs {expected}{}",
            key.unwrap_or_else(|| "a setting".to_owned()),
            origin.map(|origin| format!(" (set in {origin})")).unwrap_or_default()
        ),
        ConfigError::At { error, origin, key } => {
            let inner = sentence(*error).0;
            let place = origin.map(|origin| format!(" (set in {origin})")).unwrap_or_default();
            match key {
                Some(key) if !inner.starts_with(&key) => format!("{key}: {inner}{place}"),
                _ => format!("{inner}{place}"),
            }
        }
        other => other.to_string(),
    })
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let needs = || {
        D::Error::custom(format!("it is {text:?}; it needs an IP address and a port, such as 127.0.0.1:8080"))
    };
    text.parse().map_err(|_| needs())
}

fn log_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogFormat, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(D::Error::custom(format!("it is {other:?}; it needs \"text\" or \"json\""))),
    }
}

fn subnets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let read = |text: String| {
        let needs = || D::Error::custom(format!("it has {text:?}; it needs subnets such as 10.1.0.0/16"));
        text.parse().map_err(|_| needs())
    };
    Vec::<String>::deserialize(deserializer)?.into_iter().map(read).collect()
}

fn optional_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { parse_url(&text).map(Some).map_err(D::Error::custom) }
}

fn required_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    parse_url(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// `*`, or an origin as browsers write it.
fn is_origin(text: &str) -> bool {
    let of_page =
        |url: Url| matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text;
    text == "*" || Url::parse(text).is_ok_and(of_page)
}

fn parse_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(format!("it is {text:?}; it needs an address such as https://example.org")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(environment: &[(&str, &str)]) -> Result<Config, Invalid> {
        let environment: Vec<_> =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::from_layers(None, &environment)
    }

    #[test]
    fn the_defaults_are_development() {
        assert!(with(&[]).unwrap().is_development());
    }

    #[test]
    fn a_wrong_value_is_named_with_what_it_needs() {
        for (name, value, needs) in [
            ("TANDEM_INBOUND_BACKLOG", "many", "inbound.backlog"),
            ("TANDEM_INBOUND_BACKLOG", "0", "above 0"),
            (
                "TANDEM_LISTEN",
                "everywhere",
                "listen: it is \"everywhere\"; it needs an IP address and a port",
            ),
            ("TANDEM_SIMULATOR_LISTEN", "8090", "simulator.listen: it is \"8090\"; it needs"),
            ("TANDEM_LOG_FORMAT", "xml", "log_format: it is \"xml\"; it needs \"text\" or \"json\""),
            ("TANDEM_WEBHOOKS_ALLOWED_SUBNETS", "10.0.0.0/99", "it has \"10.0.0.0/99\"; it needs subnets"),
            ("TANDEM_GRAPHQL_DEPTH", "-1", "graphql.depth is -1; it needs a number above 0"),
            ("TANDEM_GRAPHQL_NESTING", "100000", "graphql.nesting is 100000; it needs 200 at most"),
            ("TANDEM_DATA_DIR", "", "data_dir is empty"),
            ("TANDEM_META_MINIMUM_APP_VERSION", "abc", "such as 2.24.17"),
            ("TANDEM_LISTEN", "0.0.0.0:80", "loopback"),
            ("TANDEM_PUBLIC_URL", "example", "https://example.org"),
            ("TANDEM_INSTALLATION_KEY", "abc", "64 hexadecimal"),
            ("TANDEM_META_APP_ID", "1", "meta.app_secrets"),
            ("TANDEM_NO_SUCH", "1", "TANDEM_NO_SUCH"),
            ("TANDEM_MEDIA_STORE", "/srv/files", "s3://BUCKET"),
            ("TANDEM_MEDIA_STORE", "s3:///files", "s3://BUCKET"),
            ("DATABASE_URL", "mysql://x", "postgres://"),
            ("TANDEM_BROWSER_ORIGINS", "https://app.example.org,app.example.org", "\"app.example.org\""),
            ("TANDEM_BROWSER_ORIGINS", "https://app.example.org/", "without a path"),
            ("TANDEM_MEDIA_UPLOADS_PER_PARTNER", "0", "above 0"),
        ] {
            let message = with(&[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(needs), "{name}={value}: {message}");
        }
    }

    /// None is forgotten: what is a number in the defaults is bounded.
    #[test]
    fn no_number_may_be_one_with_which_nothing_works() {
        let defaults =
            config::Config::builder().add_source(config::File::from_str(DEFAULTS, FileFormat::Toml));
        let mut keys = Vec::new();
        collect_keys("", &defaults.build().unwrap().cache, &mut keys);
        let numbers: Vec<&str> = keys.iter().filter(|key| key.number).map(|key| key.path.as_str()).collect();
        assert!(numbers.len() > 40, "{numbers:?}");
        for key in numbers {
            let name = format!("TANDEM_{}", key.replace('.', "_").to_uppercase());
            let message = with(&[(&name, "-1")]).unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
            let zero = with(&[(&name, "0")]);
            assert_eq!(zero.is_ok(), MAY_BE_ZERO.contains(&key), "{name}");
        }
        let message = with(&[("TANDEM_EVENTS_KEEP_DAYS", "9223372036854775807")]).unwrap_err().to_string();
        assert!(message.contains("events.keep_days") && message.contains("36500"), "{message}");
        assert!(
            with(&[("TANDEM_PRESENCE_DUE_DAYS", "0")]).unwrap_err().to_string().contains("presence.due_days")
        );
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let config =
            with(&[("TANDEM_META_APP_SECRETS", "a, b"), ("TANDEM_PRESENCE_DUE_DAYS", "1,2")]).unwrap();
        assert_eq!(config.meta.app_secrets.len(), 2);
        assert_eq!(config.presence.due_days, [1, 2]);
    }
}

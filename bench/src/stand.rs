//! The service and the simulator as processes of their own, over a throw-away data directory and database.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::http::{self, Connection};
use crate::machine::Process;
use crate::webhooks::Shop;

/// How long a process may take to answer for the first time.
const START: Duration = Duration::from_secs(60);
/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// What is measured, and where its data goes.
pub(crate) struct Place {
    service: PathBuf,
    scratch: PathBuf,
    database: Option<String>,
}

impl Place {
    pub(crate) fn find(
        service: Option<PathBuf>,
        scratch: Option<PathBuf>,
        database: Option<String>,
    ) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("cannot tell where this program is")?;
        let beside = own.parent().context("this program has no directory")?.to_owned();
        let service = service.unwrap_or_else(|| beside.join("tandem"));
        ensure!(
            service.is_file(),
            "{} is missing: `cargo build` it with the same profile",
            service.display()
        );
        Ok(Self { service, scratch: scratch.unwrap_or(beside), database })
    }

    pub(crate) fn on_postgres(&self) -> bool {
        self.database.is_some()
    }

    /// The profile that the service was built with, as its directory says.
    pub(crate) fn build(&self) -> String {
        let directory = self.service.parent().and_then(Path::file_name);
        directory.map_or_else(|| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// A directory that is thrown away.
    pub(crate) fn directory(&self) -> anyhow::Result<TempDir> {
        Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(&self.scratch)?)
    }
}

/// Counters of the service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) accepted: f64,
    pub(crate) applied: f64,
    pub(crate) backlog: f64,
    pub(crate) statements: f64,
}

/// A service, its simulator, and a partner.
pub(crate) struct Stand {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    /// Signs webhooks.
    pub(crate) secret: String,
    service: Child,
    simulator: Child,
    simulator_address: SocketAddr,
    metrics: Connection,
    metrics_request: Vec<u8>,
    directory: TempDir,
    database: Option<(String, String)>,
}

impl Stand {
    /// Starts both, with these settings of the service as environment variables.
    pub(crate) async fn start(place: &Place, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let directory = place.directory()?;
        let data = directory.path().join("data");
        let database = match &place.database {
            Some(admin) => Some((admin.clone(), make_database(admin, directory.path()).await?)),
            None => None,
        };
        let simulator_address = free_address()?;
        let simulator = Command::new(&place.service)
            .arg("simulator")
            .env_clear()
            .env("TANDEM_LOG", "warn")
            .env("TANDEM_DATA_DIR", directory.path().join("simulator"))
            .env("TANDEM_SIMULATOR_LISTEN", simulator_address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("simulator.log"))?)
            .kill_on_drop(true)
            .spawn()?;
        let address = free_address()?;
        let command = |words: &[&str]| {
            let mut command = Command::new(&place.service);
            command.args(words).env_clear().stdin(Stdio::null()).kill_on_drop(true);
            command
                .env("TANDEM_LOG", "warn")
                .env("TANDEM_DATA_DIR", &data)
                .env("TANDEM_LISTEN", address.to_string())
                .env("TANDEM_SIMULATOR_URL", format!("http://{simulator_address}"));
            if let Some((_, url)) = &database {
                command.env("DATABASE_URL", url);
            }
            command.envs(settings.iter().copied());
            command
        };
        let made = command(&["partner", "create", "--name", "Bench", "--json"]).output().await?;
        ensure!(made.status.success(), "no partner: {}", String::from_utf8_lossy(&made.stderr));
        let made: Value = serde_json::from_slice(&made.stdout).context("no partner")?;
        let key = made["apiKey"].as_str().context("a partner without a key")?.to_owned();
        let mut service = command(&["serve"])
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("service.log"))?)
            .spawn()?;
        let metrics = match first_answer(&mut service, address).await {
            Ok(connection) => connection,
            Err(error) => {
                let log = std::fs::read_to_string(directory.path().join("service.log")).unwrap_or_default();
                bail!("the service does not start: {error:#}\n{log}");
            }
        };
        let told = http::ask(simulator_address, None, "{ development { appSecret } }", &json!({})).await?;
        let secret =
            told["development"]["appSecret"].as_str().context("the simulator has no secret")?.to_owned();
        Ok(Self {
            address,
            key,
            secret,
            service,
            simulator,
            simulator_address,
            metrics,
            metrics_request: http::request("GET", address, "/metrics", "", b""),
            directory,
            database,
        })
    }

    /// The service.
    pub(crate) fn process(&self) -> anyhow::Result<Process> {
        self.service.id().map(Process).context("the service is gone")
    }

    /// The simulator.
    pub(crate) fn simulator_process(&self) -> anyhow::Result<Process> {
        self.simulator.id().map(Process).context("the simulator is gone")
    }

    /// The data of a request to the service that must succeed.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> anyhow::Result<Value> {
        http::ask(self.address, Some(&self.key), query, &variables).await
    }

    /// The data of a request to the simulator that must succeed.
    pub(crate) async fn simulate(&self, query: &str, variables: Value) -> anyhow::Result<Value> {
        http::ask(self.simulator_address, None, query, &variables).await
    }

    /// Makes a phone, and connects it.
    pub(crate) async fn shop(
        &self,
        number: &str,
        contacts: u32,
        messages: u32,
        history: &str,
    ) -> anyhow::Result<Shop> {
        let phone = json!({ "phoneNumber": number, "displayName": "Café Bench", "contacts": contacts,
            "messages": messages, "groups": 0 });
        self.connect(number, phone, json!({ "businessName": "Café Bench", "history": history })).await
    }

    /// Connects a number that lives on the API alone.
    pub(crate) async fn shop_without_app(&self, number: &str) -> anyhow::Result<Shop> {
        let phone = json!({ "phoneNumber": number, "displayName": "Café Bench", "app": "API_ONLY", "contacts": 0,
            "messages": 0, "groups": 0 });
        self.connect(number, phone, json!({ "businessName": "Café Bench", "coexistence": false })).await
    }

    async fn connect(&self, number: &str, phone: Value, onboarding: Value) -> anyhow::Result<Shop> {
        let input = phone;
        let query = "mutation($input: CreatePhoneInput!) { createPhone(input: $input) { phoneNumber } }";
        self.simulate(query, json!({ "input": input })).await?;
        let query = "mutation($input: CreateOnboardingInput!) { createOnboarding(input: $input) {
            onboarding { id client { id } } userErrors { code message } } }";
        let input = onboarding;
        let deadline = Instant::now() + START;
        let onboarding = loop {
            let made = self.ask(query, json!({ "input": input })).await?;
            let made = &made["createOnboarding"];
            // The service answers a moment before it has told the simulator where to post.
            let early =
                made["userErrors"][0]["code"] == "UPSTREAM_NOT_LISTENING" && Instant::now() < deadline;
            if !early {
                ensure!(made["userErrors"] == json!([]), "no onboarding: {made:#}");
                break made["onboarding"].clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let query = "mutation($input: CompleteSignupInput!) { completeSignup(input: $input) {
            code wabaId phoneNumberId event } }";
        let signup =
            self.simulate(query, json!({ "input": { "phoneNumber": number, "shareHistory": true } })).await?;
        let mut input = signup["completeSignup"].clone();
        input["onboardingId"] = onboarding["id"].clone();
        let query = "mutation($input: CompleteOnboardingInput!) { completeOnboarding(input: $input) {
            onboarding { status client { id } failure { code message } } userErrors { code message } } }";
        let done = self.ask(query, json!({ "input": input })).await?;
        let done = &done["completeOnboarding"]["onboarding"];
        ensure!(done["status"] == "CONNECTED", "the number is not connected: {done:#}");
        let client = done["client"]["id"].as_str().context("a client without an id")?.to_owned();
        let digits = number.trim_start_matches('+').to_owned();
        let (number_id, waba) = self.number_id(number).await?;
        Ok(Shop { client, number_id, waba, number: digits })
    }

    /// The ids that WhatsApp gave a number and its account: no door tells them.
    async fn number_id(&self, number: &str) -> anyhow::Result<(String, String)> {
        let database = self.database().await?;
        let sql = format!("SELECT phone_number_id, waba_id FROM client WHERE phone_number = '{number}'");
        let row =
            database.query_one_raw(Statement::from_string(database.get_database_backend(), sql)).await?;
        let row = row.context("the client has no number")?;
        let ids = (row.try_get("", "phone_number_id")?, row.try_get("", "waba_id")?);
        database.close().await?;
        Ok(ids)
    }

    /// The owner looks into the app: what is asked for is sent.
    pub(crate) async fn open_app(&self, shop: &Shop) -> anyhow::Result<()> {
        let query = "mutation($input: PhoneRef!) { openApp(input: $input) { connected } }";
        self.simulate(query, json!({ "input": { "phoneNumber": format!("+{}", shop.number) } })).await?;
        Ok(())
    }

    /// Numbers without a past, connected, with nothing under way.
    pub(crate) async fn shops(&mut self, count: u32) -> anyhow::Result<Vec<Shop>> {
        let mut shops = Vec::new();
        for n in 0..count {
            let shop = self.shop(&format!("+49301234{n:04}"), 2, 0, "NEVER").await?;
            self.open_app(&shop).await?;
            shops.push(shop);
        }
        self.settle().await?;
        Ok(shops)
    }

    /// Waits until the simulator has told everything and the service has applied it.
    pub(crate) async fn settle(&mut self) -> anyhow::Result<()> {
        let left = self.simulate("mutation { settle(timeoutSeconds: 300) }", json!({})).await?;
        ensure!(left["settle"] == 0, "the simulator keeps {} webhooks", left["settle"]);
        self.idle().await
    }

    /// Waits until nothing waits to be applied.
    pub(crate) async fn idle(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.metrics().await?.backlog > 0.0 {
            ensure!(Instant::now() < deadline, "webhooks are still not applied");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The service's counters.
    pub(crate) async fn metrics(&mut self) -> anyhow::Result<Metrics> {
        let answer = self.metrics.send(&self.metrics_request).await?;
        let text = std::str::from_utf8(answer.body)?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse().ok())
                .with_context(|| format!("/metrics tells no {name}"))
        };
        Ok(Metrics {
            accepted: value("tandem_webhooks_accepted_total")?,
            applied: value("tandem_webhooks_applied_total")?,
            backlog: value("tandem_webhooks_backlog")?,
            statements: value("tandem_sql_statements_total")?,
        })
    }

    /// The main database, on one connection.
    pub(crate) async fn database(&self) -> anyhow::Result<DatabaseConnection> {
        let url = match &self.database {
            Some((_, url)) => url.clone(),
            None => format!("sqlite://{}?mode=rw", self.main_file().display()),
        };
        Ok(Database::connect(ConnectOptions::new(url).max_connections(1).sqlx_logging(false).to_owned())
            .await?)
    }

    /// Messages in the database.
    pub(crate) async fn messages(&self) -> anyhow::Result<u64> {
        let database = self.database().await?;
        let sql = "SELECT count(*) AS n FROM message";
        let row =
            database.query_one_raw(Statement::from_string(database.get_database_backend(), sql)).await?;
        let count: i64 = row.context("no count")?.try_get("", "n")?;
        database.close().await?;
        Ok(u64::try_from(count)?)
    }

    /// Keeps the service from applying anything, until it is let go: accepting needs nothing that this holds.
    pub(crate) async fn hold(&self) -> anyhow::Result<Hold> {
        let database = self.database().await?;
        let sql = match database.get_database_backend() {
            DbBackend::Sqlite => "PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE",
            _ => "BEGIN; LOCK TABLE message_key IN ACCESS EXCLUSIVE MODE",
        };
        database.execute_unprepared(sql).await?;
        Ok(Hold(database))
    }

    /// On SQLite: the file of everything but raw bodies.
    pub(crate) fn main_file(&self) -> PathBuf {
        self.directory.path().join("data/tandem.sqlite")
    }

    /// On SQLite: the file of raw bodies.
    pub(crate) fn inbound_file(&self) -> PathBuf {
        self.directory.path().join("data/tandem.sqlite.inbound")
    }

    /// For files that go with the data.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends both, and throws the data away.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        self.service.kill().await?;
        self.simulator.kill().await?;
        if let Some((admin, url)) = &self.database {
            let name = url.rsplit('/').next().unwrap_or_default();
            let connection =
                Database::connect(ConnectOptions::new(admin).max_connections(1).to_owned()).await?;
            connection.execute_unprepared(&format!("DROP DATABASE \"{name}\" WITH (FORCE)")).await?;
            connection.close().await?;
        }
        Ok(())
    }
}

/// A lock on the main database.
pub(crate) struct Hold(DatabaseConnection);

impl Hold {
    pub(crate) async fn let_go(self) -> anyhow::Result<()> {
        self.0.execute_unprepared("ROLLBACK").await?;
        self.0.close().await?;
        Ok(())
    }
}

/// A port of this machine that nobody else has now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Waits until a process listens.
pub(crate) async fn first_answer(process: &mut Child, address: SocketAddr) -> anyhow::Result<Connection> {
    let deadline = Instant::now() + START;
    loop {
        if let Some(status) = process.try_wait()? {
            bail!("it ended with {status}");
        }
        match Connection::open(address).await {
            Ok(connection) => return Ok(connection),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A database of its own on a Postgres server; named after the directory, whose name is random.
async fn make_database(admin: &str, directory: &Path) -> anyhow::Result<String> {
    let random = directory.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String =
        random.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    let connection = Database::connect(ConnectOptions::new(admin).max_connections(1).to_owned())
        .await
        .context("--database does not lead to a Postgres server")?;
    connection.execute_unprepared(&format!("CREATE DATABASE \"{name}\"")).await?;
    connection.close().await?;
    let (server, _) = admin.rsplit_once('/').context("--database needs a path, such as /postgres")?;
    Ok(format!("{server}/{name}"))
}

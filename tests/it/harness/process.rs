//! The real binary as a process of its own.

use std::process::Stdio;

use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::meta::Business;
use super::world::metric;
use super::{database, http_client};

/// A child of the real binary; killed when it is dropped.
pub struct Process {
    child: Child,
    /// Where it serves.
    pub address: String,
}

/// The binary with these settings.
pub fn command(environment: &[(&str, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
    command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, value) in environment {
        command.env(name, value);
    }
    command
}

/// Starts it and waits until its log says where it serves.
pub async fn start(environment: &[(&str, String)], arguments: &[&str], says: &str) -> Process {
    let mut child = command(environment).args(arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log = String::new();
    loop {
        let line =
            lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended before it served:\n{log}"));
        if let Some((_, address)) = line.split_once(says) {
            let address = address.split_whitespace().next().unwrap().to_owned();
            // The rest of its log must go somewhere, or it would wait for a reader.
            #[expect(clippy::disallowed_methods, reason = "ends with the child")]
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Process { child, address };
        }
        log.push_str(&line);
        log.push('\n');
    }
}

impl Process {
    /// Kilobytes of memory that it has, and had at most since the last look.
    pub fn memory(&self) -> (u64, u64) {
        let pid = self.child.id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let found = (of("VmRSS:"), of("VmHWM:"));
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        found
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// The data of a GraphQL request that must succeed.
    pub async fn ask(&self, key: &str, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables });
        let url = format!("http://{}/graphql", self.address);
        let request = http_client().post(url).bearer_auth(key).json(&body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert!(answer.get("errors").is_none(), "{answer:#}");
        answer["data"].clone()
    }

    /// One of the counters of `/metrics`.
    pub async fn metric(&self, name: &str) -> i64 {
        metric(&self.address, name).await
    }
}

/// An installation whose service is the real binary: killed and started again, or several at once (on Postgres).
pub struct Binary {
    /// Its settings.
    pub environment: Vec<(&'static str, String)>,
    simulator: Process,
    /// Of its only partner, with all scopes.
    pub key: String,
    app_secret: SecretString,
    _dir: TempDir,
}

impl Binary {
    /// An installation with these settings, none of whose services runs yet.
    pub async fn new(settings: &[(&'static str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let of_simulator = [
            ("TANDEM_DATA_DIR", dir.path().join("simulator").display().to_string()),
            ("TANDEM_SIMULATOR_LISTEN", "127.0.0.1:0".to_owned()),
        ];
        let simulator = start(&of_simulator, &["simulator"], "the simulator serves at http://").await;
        let mut environment = vec![
            ("TANDEM_DATA_DIR", dir.path().join("data").display().to_string()),
            ("TANDEM_LISTEN", "127.0.0.1:0".to_owned()),
            ("TANDEM_SIMULATOR_URL", format!("http://{}", simulator.address)),
        ];
        if let Some(url) = database().await {
            environment.push(("DATABASE_URL", url));
        }
        environment.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut create = command(&environment);
        create.args(["partner", "create", "--name", "Acme", "--json"]);
        let made = create.output().await.unwrap();
        let made: Value =
            serde_json::from_slice(&made.stdout).expect("one JSON object alone on standard output");
        let key = made["apiKey"].as_str().unwrap().to_owned();
        let secret = simulator.ask("none", "{ development { appSecret } }", json!({})).await;
        let app_secret = SecretString::from(secret["development"]["appSecret"].as_str().unwrap());
        Self { environment, simulator, key, app_secret, _dir: dir }
    }

    /// Starts a service.
    pub async fn serve(&self) -> Process {
        start(&self.environment, &["serve"], "serving at http://").await
    }

    /// One request to the simulator's own door, which must succeed.
    pub async fn simulate(&self, query: &str, variables: Value) -> Value {
        self.simulator.ask("none", query, variables).await
    }

    /// Simulated time passes. The services hear of it within a second.
    pub async fn time_passes(&self, seconds: i64) {
        let query = "mutation($seconds: Int!) { advanceClock(seconds: $seconds) }";
        self.simulate(query, json!({ "seconds": seconds })).await;
    }

    /// Connects a phone without a past: the client's id, and the number as bodies name it.
    pub async fn connect(&self, service: &Process, number: &str) -> (String, Business) {
        let input = json!({ "phoneNumber": number, "displayName": "Crash", "contacts": 0, "messages": 0 });
        let query = "mutation($input: CreatePhoneInput!) { createPhone(input: $input) { phoneNumber } }";
        self.simulate(query, json!({ "input": input })).await;
        let create = r#"mutation { createOnboarding(input: { businessName: "Crash", history: NEVER }) { onboarding { id } } }"#;
        let data = service.ask(&self.key, create, json!({})).await;
        let onboarding = data["createOnboarding"]["onboarding"]["id"].clone();
        let signup =
            "mutation($input: CompleteSignupInput!) { completeSignup(input: $input) { code wabaId event } }";
        let signup = self.simulate(signup, json!({ "input": { "phoneNumber": number } })).await;
        let mut input = signup["completeSignup"].clone();
        input["onboardingId"] = onboarding;
        let complete = "mutation($input: CompleteOnboardingInput!) { completeOnboarding(input: $input) { onboarding { status client { id } } } }";
        let data = service.ask(&self.key, complete, json!({ "input": input })).await;
        let onboarding = &data["completeOnboarding"]["onboarding"];
        assert_eq!(onboarding["status"], "CONNECTED");
        let query = "query($number: PhoneNumber!) { phone(phoneNumber: $number) { phoneNumberId wabaId } }";
        let phone = self.simulate(query, json!({ "number": number })).await["phone"].clone();
        let word = |name: &str| phone[name].as_str().unwrap().to_owned();
        let business = Business {
            phone_number_id: word("phoneNumberId"),
            waba_id: word("wabaId"),
            number: number.to_owned(),
        };
        (onboarding["client"]["id"].as_str().unwrap().to_owned(), business)
    }

    /// How Meta signs a body.
    pub fn signature(&self, body: &[u8]) -> String {
        tandem::upstream::meta::signature::sign(&self.app_secret, body)
    }

    /// Posts a body as Meta would: it must be taken.
    pub async fn post(&self, service: &Process, body: Vec<u8>) {
        let url = format!("http://{}/webhooks/meta", service.address);
        let signature = self.signature(&body);
        let request = http_client().post(url).header("x-hub-signature-256", signature).body(body);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }

    /// Where the stream stands.
    pub async fn place(&self, service: &Process) -> String {
        let data = service.ask(&self.key, "{ viewer { eventCursor } }", json!({})).await;
        data["viewer"]["eventCursor"].as_str().unwrap().to_owned()
    }

    /// What customers wrote after a place, as the log has it: of each entry its id and that of the client.
    pub async fn incoming(&self, service: &Process, place: &str) -> Vec<(String, String)> {
        let query = "query($after: EventCursor) { events(after: $after, first: 100, filter: { types: [MESSAGE_INCOMING] }) {
            nodes { ... on Event { id client { id } } } pageInfo { hasNextPage endCursor } } }";
        let (mut told, mut after) = (Vec::new(), json!(place));
        loop {
            let data = service.ask(&self.key, query, json!({ "after": after })).await;
            let word = |value: &Value| value.as_str().unwrap().to_owned();
            let nodes = data["events"]["nodes"].as_array().unwrap();
            told.extend(nodes.iter().map(|event| (word(&event["id"]), word(&event["client"]["id"]))));
            after = data["events"]["pageInfo"]["endCursor"].clone();
            if data["events"]["pageInfo"]["hasNextPage"] == false {
                return told;
            }
        }
    }
}

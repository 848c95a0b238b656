//! A partner's server: takes webhooks, answers as it is told, and remembers everything.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{PATIENCE, Tandem};

/// What a receiver answers.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16),
    /// With a header.
    With(u16, &'static str, String),
    /// With so many bytes.
    Long(usize),
    /// Nothing, ever.
    Silence,
    /// The connection is cut.
    Cut,
}

/// One post.
#[derive(Clone, Debug)]
pub struct Received {
    pub id: String,
    pub timestamp: String,
    pub signature: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What it was answered.
    pub status: u16,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    /// The words of the message that it tells of.
    pub fn text(&self) -> String {
        self.json()["data"]["message"]["text"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether the signature is this secret's, by the specification and with none of the service's code.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        use hmac::{Hmac, KeyInit, Mac};
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.", self.id, self.timestamp).as_bytes());
        mac.update(&self.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.signature.split(' ').any(|one| one == expected)
    }
}

type Decide = Box<dyn FnMut(&Received) -> Reply + Send>;

struct Inner {
    received: Mutex<Vec<Received>>,
    decide: Mutex<Decide>,
    count: watch::Sender<usize>,
}

/// A partner's server.
pub struct Receiver {
    inner: Arc<Inner>,
    pub url: String,
    server: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// One that takes everything.
    pub async fn new() -> Self {
        Self::answering(|_| Reply::Status(200)).await
    }

    /// One that answers so.
    pub async fn answering(decide: impl FnMut(&Received) -> Reply + Send + 'static) -> Self {
        let inner = Arc::new(Inner {
            received: Mutex::default(),
            decide: Mutex::new(Box::new(decide)),
            count: watch::Sender::new(0),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(inner.clone());
        #[expect(clippy::disallowed_methods, reason = "the partner's server is none of the service's tasks")]
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { inner, url: format!("http://{address}/hooks"), server }
    }

    /// One that answers so at first, then 200.
    pub async fn scripted(replies: Vec<Reply>) -> Self {
        let mut replies = VecDeque::from(replies);
        Self::answering(move |_| replies.pop_front().unwrap_or(Reply::Status(200))).await
    }

    /// From now on.
    pub fn answer(&self, decide: impl FnMut(&Received) -> Reply + Send + 'static) {
        *self.inner.decide.lock().unwrap() = Box::new(decide);
    }

    pub fn all(&self) -> Vec<Received> {
        self.inner.received.lock().unwrap().clone()
    }

    /// Waits until what came is enough: all of it.
    pub async fn until(&self, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let mut count = self.inner.count.subscribe();
        let wait = async {
            loop {
                let all = self.all();
                if enough(&all) {
                    return all;
                }
                count.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(all) => all,
            Err(_) => {
                let seen: Vec<_> =
                    self.all().iter().map(|one| (one.kind(), one.text(), one.status)).collect();
                panic!("what was expected did not come; this did: {seen:#?}")
            }
        }
    }

    /// Waits until so many came.
    pub async fn count(&self, count: usize) -> Vec<Received> {
        self.until(|all| all.len() >= count).await
    }

    /// Waits for the next message that says this, and was taken.
    pub async fn hears(&self, text: &str) -> Received {
        let all = self.until(|all| all.iter().any(|one| one.status == 200 && one.text() == text)).await;
        all.into_iter().find(|one| one.status == 200 && one.text() == text).unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let mut received = Received {
        id: text("webhook-id"),
        timestamp: text("webhook-timestamp"),
        signature: text("webhook-signature"),
        headers: headers.clone(),
        body,
        status: 0,
    };
    let reply = (inner.decide.lock().unwrap())(&received);
    received.status = match &reply {
        Reply::Status(status) | Reply::With(status, ..) => *status,
        Reply::Long(_) => 200,
        Reply::Silence | Reply::Cut => 0,
    };
    let count = {
        let mut all = inner.received.lock().unwrap();
        all.push(received.clone());
        all.len()
    };
    inner.count.send_replace(count);
    let response = Response::builder().status(received.status.max(200));
    match reply {
        Reply::Status(_) => response.body(Body::empty()).unwrap(),
        Reply::With(_, name, value) => response.header(name, value).body(Body::empty()).unwrap(),
        Reply::Long(bytes) => response.body(Body::from(vec![b'x'; bytes])).unwrap(),
        // The task of the connection ends, without the words of a panic.
        Reply::Cut => std::panic::resume_unwind(Box::new("cut")),
        Reply::Silence => std::future::pending().await,
    }
}

impl Tandem {
    /// A new endpoint that must be taken: its id and its secret.
    pub async fn endpoint(&self, url: &str, extra: Value) -> (String, String) {
        let mut input = json!({ "url": url });
        for (name, value) in extra.as_object().unwrap() {
            input[name] = value.clone();
        }
        let made = self.mutate("createWebhookEndpoint", input, "secret endpoint { id }").await;
        assert_eq!(made["userErrors"], json!([]), "{made:#}");
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        (word(&made["endpoint"]["id"]), word(&made["secret"]))
    }

    /// Deliveries of an endpoint, newest first.
    pub async fn deliveries(&self, endpoint: &str) -> Vec<Value> {
        let query = "query($id: ID!) { webhookDeliveries(endpointId: $id, first: 100) { nodes {
            id eventId eventType status replay nextAttemptAt settledAt
            attempts { number at durationMs httpStatus error } } } }";
        let data = self.data(query, json!({ "id": endpoint })).await;
        data["webhookDeliveries"]["nodes"].as_array().unwrap().clone()
    }

    /// Waits until the deliveries of an endpoint are as wanted.
    pub async fn until_deliveries(&self, endpoint: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let wait = async {
            loop {
                let all = self.deliveries(endpoint).await;
                if wanted(&all) {
                    return all;
                }
                // What becomes of a post is written down a moment after it was answered, and nobody is told.
                tokio::task::yield_now().await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(all) => all,
            Err(_) => panic!("the deliveries stay {:#?}", self.deliveries(endpoint).await),
        }
    }
}

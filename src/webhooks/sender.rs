//! The posts themselves.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entity::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use url::Url;

use super::address::{Guard, NotAllowed, Policy};
use super::schedule;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Idle connections are closed before most receivers do it.
const IDLE: Duration = Duration::from_secs(15);
/// As much of an answer is read, so that its connection can be used again; what is longer is cut off. Nothing of it is kept.
const ANSWER: usize = 64 << 10;
/// Longest error that is kept, characters.
const WORDS: usize = 200;

/// What became of a post.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) http_status: Option<u16>,
    /// Why it counts as failed; none: it was taken.
    pub(super) error: Option<String>,
    /// Seconds that the receiver wants to be left alone.
    pub(super) retry_after: Option<i64>,
    pub(super) duration: Duration,
}

/// Where to, and what.
pub(super) struct Post<'a> {
    pub(super) url: &'a Url,
    pub(super) id: &'a str,
    /// Seconds since 1970, by real time.
    pub(super) timestamp: i64,
    pub(super) signature: &'a str,
    pub(super) body: Vec<u8>,
}

/// Posts.
pub(super) struct Sender {
    client: reqwest::Client,
    policy: Arc<Policy>,
}

impl Sender {
    pub(super) fn new(policy: Policy, timeout: Duration) -> reqwest::Result<Self> {
        let policy = Arc::new(policy);
        let _ = rustls::crypto::ring::default_provider().install_default();
        #[expect(clippy::disallowed_methods, reason = "to addresses of strangers: with a guard of its own")]
        let client = reqwest::Client::builder()
            .dns_resolver(Guard(policy.clone()))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .timeout(timeout)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .no_gzip()
            .http1_only()
            .https_only(!policy.development)
            .user_agent(concat!("tandem-webhooks/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, policy })
    }

    /// Posts once. `now` is what a date in `Retry-After` is compared with.
    pub(super) async fn post(&self, post: Post<'_>, now: Timestamp) -> Answer {
        let started = Instant::now();
        let mut answer = self.attempt(post, now).await;
        answer.duration = started.elapsed();
        answer
    }

    async fn attempt(&self, post: Post<'_>, now: Timestamp) -> Answer {
        let failed = |error: String| Answer {
            http_status: None,
            error: Some(error),
            retry_after: None,
            duration: Duration::ZERO,
        };
        // An address in figures is never resolved.
        if !self.policy.admits_host(post.url) {
            return failed(NotAllowed.to_string());
        }
        let request = self
            .client
            .post(post.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("webhook-id", post.id)
            .header("webhook-timestamp", post.timestamp)
            .header("webhook-signature", post.signature)
            .body(post.body);
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return failed(words(&error.without_url())),
        };
        let status = response.status();
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|value| schedule::retry_after(value, now));
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read > ANSWER {
                break;
            }
        }
        let error = match status.as_u16() {
            200..=299 => None,
            300..=399 => Some(format!("HTTP {status}: redirects are not followed")),
            _ => Some(format!("HTTP {status}")),
        };
        Answer { http_status: Some(status.as_u16()), error, retry_after, duration: Duration::ZERO }
    }
}

/// An error in words, without the address, which may be a secret.
fn words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut source: Option<&dyn Error> = error.source();
    let mut deepest = error.to_string();
    while let Some(inner) = source {
        if inner.downcast_ref::<NotAllowed>().is_some() {
            return NotAllowed.to_string();
        }
        deepest = inner.to_string();
        source = inner.source();
    }
    let kind = if error.is_connect() { "no connection" } else { "the connection broke" };
    format!("{kind}: {deepest}").chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_sent_to_an_address_that_is_not_allowed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sender = Sender::new(Policy::default(), Duration::from_secs(5)).unwrap();
        // In figures, in another dress, and by a name that leads there when it is resolved.
        for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
            let url = Url::parse(&format!("https://{host}:{port}/")).unwrap();
            let post = Post { url: &url, id: "evt_1", timestamp: 1, signature: "v1,x", body: b"{}".to_vec() };
            let answer = sender.post(post, Timestamp(0)).await;
            assert_eq!(answer.error, Some(NotAllowed.to_string()), "{host}");
        }
        let nobody = tokio::time::timeout(Duration::from_millis(10), listener.accept()).await;
        assert!(nobody.is_err(), "somebody connected");
    }
}

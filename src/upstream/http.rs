//! The one HTTP client: with time-outs, without redirects, without second tries of its own.

use std::time::Duration;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for a whole answer, where a call names no other.
const TOTAL: Duration = Duration::from_secs(30);
/// Idle connections are closed before the other side does it: a request that meets the other side's closing is lost
/// without a word, and a send lost so is UNKNOWN.
const IDLE: Duration = Duration::from_secs(15);

/// Whom a client speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The world; through the system's proxy, if there is one.
    Internet,
    /// A simulator beside us; never through a proxy.
    Beside,
}

/// Makes a client.
///
/// # Errors
/// When the system's certificates cannot be used.
pub fn http_client(reach: Reach) -> reqwest::Result<reqwest::Client> {
    // `main` has installed it; tests and tools may not have. The second time is refused, which is all right.
    let _ = rustls::crypto::ring::default_provider().install_default();
    #[expect(clippy::disallowed_methods, reason = "this is the way that the lint points to")]
    let builder = reqwest::Client::builder();
    let builder = builder
        .connect_timeout(CONNECT)
        .timeout(TOTAL)
        .pool_idle_timeout(IDLE)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        // Whether a request may be repeated is the domain's decision (invariant 7).
        .retry(reqwest::retry::never())
        .user_agent(concat!("tandem/", env!("CARGO_PKG_VERSION")));
    match reach {
        Reach::Internet => builder.build(),
        Reach::Beside => builder.no_proxy().build(),
    }
}

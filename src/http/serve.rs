//! Connections: how they are taken, how long they may be silent, and how they end.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

/// Bounds of connections.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// Most at once: more wait until one of them ends. Those that became WebSockets count no longer, they have limits of their
    /// own.
    pub most: usize,
    /// How long one may take until its first request is there.
    pub first: Duration,
    /// How long it may take until the head of the next one is there. Longer than proxies and clients keep a connection for later,
    /// or they would send requests to one that ends this very moment.
    pub next: Duration,
    /// How long one may take nothing of what was sent (on Linux).
    pub slow_reader: Duration,
}

/// How long nothing is accepted after the system refused to: it has no more file descriptors, say.
const REFUSED: Duration = Duration::from_secs(1);

/// Serves until told to stop, then lets requests under way end. A connection whose other side takes nothing, or from which no
/// request comes, is ended. What the system refuses is tried again.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, bounds: Connections) {
    let places = Arc::new(Semaphore::new(bounds.most));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = async {
                let place = places.clone().acquire_owned().await;
                (listener.accept().await, place)
            } => accepted,
        };
        match accepted {
            (Ok((stream, _)), place) => {
                ready(&stream, bounds.slow_reader);
                let connection = connection(stream, router.clone(), stop.clone(), bounds);
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            // The other side was gone before it was accepted.
            (Err(error), _) if is_of_connection(&error) => {}
            (Err(error), _) => {
                tracing::error!(%error, "no connection can be accepted right now");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(REFUSED) => {}
                }
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn ready(stream: &TcpStream, patience: Duration) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(patience)) {
        tracing::debug!(%error, "a connection waits for its other side as long as the system likes");
    }
    // Small frames go out at once: with Nagle's algorithm an event waits for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps Nagle's algorithm");
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken, bounds: Connections) {
    let requests = Arc::new(AtomicU64::new(0));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(bounds.next);
    // CONNECT is how WebSockets come over HTTP/2. Pings find out whose other side is gone.
    builder.http2().timer(TokioTimer::new()).enable_connect_protocol().keep_alive_interval(bounds.first);
    let counted = requests.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        counted.fetch_add(1, Ordering::Relaxed);
        router.clone().call(request)
    });
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    // Which version of HTTP it speaks is found out without a time limit of the library's, and HTTP/2 knows no silence.
    let mut silence = pin!(tokio::time::sleep(bounds.first));
    let (mut before, mut ending) = (0, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::trace!(error, "a connection broke");
                }
                return;
            }
            () = stop.cancelled(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            () = silence.as_mut(), if !ending => {
                let now = requests.load(Ordering::Relaxed);
                if now == 0 {
                    return;
                }
                if now == before {
                    // What is under way goes to its end, a stream of events too.
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                before = now;
                silence.as_mut().reset(tokio::time::Instant::now() + bounds.next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Whoever connects and says nothing, or stops in the middle, is not waited for; one that asks is answered.
    #[tokio::test]
    async fn a_connection_from_which_no_request_comes_is_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let second = Duration::from_secs(1);
        let bounds = Connections { most: 8, first: second / 4, next: second / 2, slow_reader: second };
        let router = Router::new().route("/", get(|| async { "here" }));
        let serving = serve(listener, router, stop.clone(), bounds);
        let clients = async {
            for said in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTT", "GET / HTTP/1.1\r\nhost: x\r\n"] {
                let mut client = TcpStream::connect(address).await.unwrap();
                client.write_all(said.as_bytes()).await.unwrap();
                let mut heard = Vec::new();
                let end = tokio::time::timeout(30 * second, client.read_to_end(&mut heard)).await;
                assert!(end.is_ok(), "{said:?} is waited for");
            }
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut heard = String::new();
            // The next request of the same connection does not come either.
            tokio::time::timeout(30 * second, client.read_to_string(&mut heard)).await.unwrap().unwrap();
            assert!(heard.starts_with("HTTP/1.1 200") && heard.ends_with("here"), "{heard}");
            stop.cancel();
        };
        tokio::time::timeout(120 * second, async { tokio::join!(serving, clients) }).await.unwrap();
    }

    /// More than there is room for wait; they are served when another one ends.
    #[tokio::test]
    async fn connections_are_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let minute = Duration::from_secs(60);
        let bounds = Connections { most: 1, first: minute, next: minute, slow_reader: minute };
        let router = Router::new().route("/", get(|| async { "here" }));
        let serving = serve(listener, router, stop.clone(), bounds);
        let clients = async {
            let first = TcpStream::connect(address).await.unwrap();
            let mut second = TcpStream::connect(address).await.unwrap();
            let ask = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            second.write_all(ask).await.unwrap();
            let mut byte = [0];
            let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut byte)).await;
            assert!(early.is_err(), "there was room for one");
            drop(first);
            tokio::time::timeout(minute / 2, second.read_exact(&mut byte)).await.unwrap().unwrap();
            stop.cancel();
        };
        tokio::time::timeout(2 * minute, async { tokio::join!(serving, clients) }).await.unwrap();
    }
}

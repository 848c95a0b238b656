//! A cable between a client and the service that can be cut: a TCP relay.

use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Whoever connects to `address` reaches the service, until the cable is cut; and again after that.
pub struct Cable {
    pub address: SocketAddr,
    cut: std::sync::Arc<Mutex<CancellationToken>>,
    end: CancellationToken,
}

impl Cable {
    pub async fn new(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = std::sync::Arc::new(Mutex::new(CancellationToken::new()));
        let end = CancellationToken::new();
        let (cuts, ends) = (cut.clone(), end.clone());
        #[expect(clippy::disallowed_methods, reason = "ends with the cable")]
        tokio::spawn(ends.run_until_cancelled_owned(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let cut = cuts.lock().unwrap().clone();
                #[expect(clippy::disallowed_methods, reason = "ends with the cable, or when it is cut")]
                tokio::spawn(cut.run_until_cancelled_owned(async move {
                    if let Ok(mut far) = TcpStream::connect(service).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                }));
            }
        }));
        Self { address, cut, end }
    }

    /// Everything that is connected now breaks, wherever it stands.
    pub fn cut(&self) {
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.end.cancel();
        self.cut();
    }
}

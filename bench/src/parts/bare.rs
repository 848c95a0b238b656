//! What the same deliveries cost if nothing had to be known: one ready text is written to all sockets, each time anew.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::subscriber::Subscriber;
use crate::machine::Process;

/// The loop as a process of its own, with its subscribers.
pub(crate) struct Bare {
    child: Child,
    orders: TcpStream,
    pub(crate) subscribers: Vec<Subscriber>,
}

impl Bare {
    /// Starts it, with so many sockets.
    pub(crate) async fn start(address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--bare", &address.to_string(), &count.to_string()])
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut said = BufReader::new(child.stdout.take().context("no output")?);
        // It listens.
        said.read_line(&mut String::new()).await?;
        // The first one to connect gives the orders.
        let orders = TcpStream::connect(address).await?;
        let mut subscribers = Vec::with_capacity(count);
        for _ in 0..count {
            subscribers.push(Subscriber::bare(address).await?);
        }
        Ok(Self { child, orders, subscribers })
    }

    pub(crate) fn process(&self) -> anyhow::Result<Process> {
        self.child.id().map(Process).context("the bare loop is gone")
    }

    /// So many texts of this size to each, at this rate a second.
    pub(crate) async fn order(&mut self, count: usize, rate: u32, bytes: usize) -> anyhow::Result<()> {
        Ok(self.orders.write_all(format!("{count} {rate} {bytes}\n").as_bytes()).await?)
    }

    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// The process: takes orders until there are no more.
pub(crate) async fn serve(address: SocketAddr, count: usize) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await?;
    std::io::stdout().write_all(b"listening\n")?;
    let (orders, _) = listener.accept().await?;
    let mut sockets = Vec::with_capacity(count);
    while sockets.len() < count {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        sockets.push(socket);
    }
    // One half for each of two cores.
    let other = sockets.split_off(count / 2);
    let mut halves = vec![sockets, other];
    let mut orders = BufReader::new(orders).lines();
    while let Some(order) = orders.next_line().await? {
        let words: Vec<u32> = order.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [count, rate, bytes] = words[..] else { bail!("an order is three numbers") };
        ensure!(rate > 0, "a rate of 0");
        let frame = frame(usize::try_from(bytes)?)?;
        let mut writing = JoinSet::new();
        for mut sockets in halves.drain(..) {
            let frame = frame.clone();
            writing.spawn(async move {
                write(&mut sockets, &frame, count, rate).await?;
                anyhow::Ok(sockets)
            });
        }
        while let Some(written) = writing.join_next().await {
            halves.push(written??);
        }
    }
    Ok(())
}

async fn write(sockets: &mut [TcpStream], frame: &[u8], count: u32, rate: u32) -> anyhow::Result<()> {
    let (began, each) = (Instant::now(), Duration::from_secs(1) / rate);
    for turn in 0..count {
        tokio::time::sleep_until((began + each * turn).into()).await;
        for socket in &mut *sockets {
            socket.write_all(frame).await?;
        }
    }
    Ok(())
}

/// A WebSocket frame with a text of this length that begins as a result does.
fn frame(bytes: usize) -> anyhow::Result<Vec<u8>> {
    let text = format!("{:x<bytes$}", "{\"id\":\"1\",\"type\":\"next\",\"payload\":\"");
    let length = u16::try_from(text.len())?;
    ensure!(length > 125, "too short a text");
    let mut frame = vec![0x81, 126];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    Ok(frame)
}

//! A TCP proxy that delays what it forwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

/// A proxy in front of a server on this machine. It is stopped when this is dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    faults: Arc<Faults>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Faults {
    /// Milliseconds in each direction.
    each_way: AtomicU64,
    /// Every so many responses are late by so many milliseconds more. 0 for none.
    every: AtomicU64,
    late: AtomicU64,
    responses: AtomicU64,
    stalled: AtomicBool,
    connections: AtomicU64,
}

impl Proxy {
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::<Faults>::default();
        let shared = faults.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let faults = shared.clone();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
                        return;
                    };
                    for stream in [&client, &server] {
                        stream.set_nodelay(true).unwrap();
                    }
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::join!(
                        forward(from_client, to_server, &faults, false),
                        forward(from_server, to_client, &faults, true),
                    );
                });
            }
        });
        Self { port, faults, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn delay_each_way(&self, time: Duration) {
        self.faults.each_way.store(millis(time), Ordering::Relaxed);
    }

    /// Delays every so many responses, and all that come after them on the same connection.
    pub(crate) fn delay_every(&self, responses: u64, time: Duration) {
        self.faults.late.store(millis(time), Ordering::Relaxed);
        self.faults.every.store(responses, Ordering::Relaxed);
    }

    /// Forwards nothing until it is called again.
    pub(crate) fn stall(&self, stalled: bool) {
        self.faults.stalled.store(stalled, Ordering::Relaxed);
    }

    pub(crate) fn connections(&self) -> u64 {
        self.faults.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    faults: &Faults,
    is_response: bool,
) {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(1000);
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let mut delay = faults.each_way.load(Ordering::Relaxed);
            let every = faults.every.load(Ordering::Relaxed);
            if is_response && every > 0 {
                let number = faults.responses.fetch_add(1, Ordering::Relaxed) + 1;
                if number.is_multiple_of(every) {
                    delay += faults.late.load(Ordering::Relaxed);
                }
            }
            let due = Instant::now() + Duration::from_millis(delay);
            if queue.send((due, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = queued.recv().await {
            sleep_until(due).await;
            while faults.stalled.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(5)).await;
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

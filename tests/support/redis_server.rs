//! A Redis for one test.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::ports::free_port;

/// A server on a port of its own, without a file. It ends when this is dropped.
pub(crate) struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// Starts a server on a free port, or says that none is installed. With `TOWER_CHAIN_NEEDS_REDIS` set, that fails the test.
    pub(crate) fn start() -> Option<Self> {
        Self::start_on(free_port())
    }

    pub(crate) fn start_on(port: u16) -> Option<Self> {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let needed = std::env::var_os("TOWER_CHAIN_NEEDS_REDIS").is_some();
                assert!(!needed, "redis-server is not installed");
                eprintln!("SKIPPED: redis-server is not installed, nothing was tested");
                return None;
            }
            Err(error) => panic!("redis-server: {error}"),
        };
        let redis = Self { child, port };
        let start = Instant::now();
        while !redis.answers() {
            assert!(start.elapsed() < Duration::from_secs(20), "redis-server does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(redis)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    fn answers(&self) -> bool {
        let mut answer = [0; 7];
        let asked = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"PING\r\n")?;
            stream.read_exact(&mut answer)
        });
        asked.is_ok() && answer == *b"+PONG\r\n"
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

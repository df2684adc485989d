//! Ports for programs that tests start.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Returns an unused port, a different one each time.
///
/// It is below the ephemeral ports: a client that repeatedly connects to an unused ephemeral port may connect to itself.
pub(crate) fn free_port() -> u16 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(50);
    loop {
        let number = first.wrapping_add(COUNT.fetch_add(1, Ordering::SeqCst)) % 10_000;
        let port = 20_000 + number as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

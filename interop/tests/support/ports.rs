//! Ports for programs that tests start.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// A port that nobody listens on, another one each time.
///
/// It is below those that the system gives to clients: who asks such a port until somebody listens may be connected to itself.
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

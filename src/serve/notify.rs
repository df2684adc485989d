//! Reports the state of the server to a service manager, by the protocol of systemd.
//!
//! Source: `sd_notify(3)`.

#[cfg(all(unix, feature = "systemd"))]
use std::{env, io, os::unix::net::UnixDatagram};

/// Reports the state of the server to the service manager, if it has asked for that (`NOTIFY_SOCKET`). Without the feature `systemd` it does
/// nothing.
#[cfg(all(unix, feature = "systemd"))]
pub(super) fn notify(state: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET").and_then(|path| path.into_string().ok()) else {
        return;
    };
    if let Err(error) = send(&path, state) {
        tracing::debug!(%error, "can't notify the service manager");
    }
}

#[cfg(not(all(unix, feature = "systemd")))]
pub(super) fn notify(_state: &str) {}

#[cfg(all(unix, feature = "systemd"))]
fn send(path: &str, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // A service manager that doesn't read must not delay the server.
    socket.set_nonblocking(true)?;
    match path.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let addr = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(state.as_bytes(), &addr)?;
        }
        _ => {
            socket.send_to(state.as_bytes(), path)?;
        }
    }
    Ok(())
}

//! How many files the process may have open. Each connection is one.

/// Raises the soft limit of the process (`RLIMIT_NOFILE`), which is often 1,024, as far as this many connections need it and the hard limit
/// permits it.
#[cfg(unix)]
pub(super) fn permit(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    let Some(current) = current.filter(|&current| current < needed) else { return };
    let permitted = maximum.map_or(needed, |maximum| maximum.min(needed));
    if permitted > current
        && let Err(error) =
            setrlimit(Resource::Nofile, Rlimit { current: Some(permitted), maximum })
    {
        tracing::warn!(%error, current, needed, "can't raise the limit of open files");
    } else if permitted < needed {
        tracing::info!(permitted, needed, "fewer files may be open than `max_connections` needs");
    }
}

#[cfg(not(unix))]
pub(super) fn permit(_connections: usize) {}

/// Files, listeners, and connections to other servers.
#[cfg(unix)]
const OTHER_FILES: u64 = 256;

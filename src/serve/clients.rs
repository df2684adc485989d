//! The number of connections of each client.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the connections of each client. Has at most one entry for each open connection.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    limit: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Clients {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, open: Arc::default() }
    }

    /// Counts a connection. Returns `None` if its client has reached the limit.
    pub(super) fn admit(&self, addr: IpAddr) -> Option<ClientSlot> {
        let client = client(addr);
        let mut open = self.lock();
        let count = open.entry(client).or_insert(0);
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(open);
        Some(ClientSlot { clients: self.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub(super) struct ClientSlot {
    clients: Clients,
    client: IpAddr,
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.clients.lock().entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// A client with one IPv6 address usually has all 2^64 addresses of its network (RFC 4291, 2.5.1).
fn client(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv4_and_a_network_of_ipv6_is_a_client() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let clients = Clients::new(1);
            let _first = clients.admit(one.parse().unwrap());
            let second = clients.admit(other.parse().unwrap());
            assert_eq!(second.is_none(), same, "{one} {other}");
        }
    }

    #[test]
    fn a_client_without_connections_has_no_entry() {
        let clients = Clients::new(2);
        let addr = IpAddr::from([192, 0, 2, 1]);
        let slots: Vec<_> = (0..3).map(|_| clients.admit(addr)).collect();
        assert_eq!(slots.iter().flatten().count(), 2);
        drop(slots);
        assert!(clients.lock().is_empty());
    }
}

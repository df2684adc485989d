//! How many connections each client has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of each client, of whom there are at most as many as there are connections.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    limit: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Clients {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, open: Arc::default() }
    }

    /// Notes a connection. `None` if its client has as many as it may have.
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

/// A connection that counts until this is dropped.
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

/// Who holds one address of IPv6 holds the other 2^64 of its network as well (RFC 4291, 2.5.1).
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
    fn nothing_is_kept_of_a_client_that_is_gone() {
        let clients = Clients::new(2);
        let addr = IpAddr::from([192, 0, 2, 1]);
        let places: Vec<_> = (0..3).map(|_| clients.admit(addr)).collect();
        assert_eq!(places.iter().flatten().count(), 2);
        drop(places);
        assert!(clients.lock().is_empty());
    }
}

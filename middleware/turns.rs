//! Fair turns for work of which little can run at the same time, such as slow password hashes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use http::{Extensions, HeaderMap};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::extract::ClientAddr;

/// Limits how many turns there are at the same time, and how many of them one client has.
///
/// A client first waits for one of its own turns, and only then for one of all. A client that sends a thousand requests at once therefore has few
/// entries in the queue that it shares with the others. Requests without a known address wait in the shared queue only.
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    per_client: usize,
    clients: Mutex<ClientQueues>,
}

#[derive(Default)]
struct ClientQueues {
    /// Each is kept alive by its turns and by the requests that wait for one.
    queues: HashMap<ClientNetwork, Weak<Semaphore>>,
    /// The number of entries at which dead ones are removed.
    sweep_at: usize,
}

/// A turn. It ends when it is dropped.
pub(crate) struct Turn {
    _of_client: Option<OwnedSemaphorePermit>,
    _of_all: OwnedSemaphorePermit,
}

impl Turns {
    pub(crate) fn new(all: usize, per_client: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), per_client, clients: Mutex::default() }
    }

    pub(crate) async fn take(&self, client: Option<ClientNetwork>) -> Result<Turn, AcquireError> {
        let of_client = match client {
            Some(client) => Some(self.queue(client).acquire_owned().await?),
            None => None,
        };
        Ok(Turn { _of_client: of_client, _of_all: self.all.clone().acquire_owned().await? })
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> Arc<Semaphore> {
        self.all.clone()
    }

    fn queue(&self, client: ClientNetwork) -> Arc<Semaphore> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = clients.queues.get(&client).and_then(Weak::upgrade) {
            return queue;
        }
        if clients.queues.len() >= clients.sweep_at {
            clients.queues.retain(|_, queue| queue.strong_count() > 0);
            // Doubled, so the sweeps take constant time per client on average.
            clients.sweep_at = (clients.queues.len() * 2).max(SWEEP_FROM);
        }
        let queue = Arc::new(Semaphore::new(self.per_client));
        clients.queues.insert(client, Arc::downgrade(&queue));
        queue
    }
}

/// The network of a client: an IPv4 address, or the /64 of an IPv6 address, because a host can choose the rest freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// `None` if the host does not provide the address of the peer.
    pub(crate) fn of(headers: &HeaderMap, extensions: &Extensions) -> Option<Self> {
        ClientAddr::of(headers, extensions).map(Self::from)
    }
}

impl From<ClientAddr> for ClientNetwork {
    fn from(ClientAddr(address): ClientAddr) -> Self {
        Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
            }
        })
    }
}

const SWEEP_FROM: usize = 64;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn client(last: u8) -> Option<ClientNetwork> {
        Some(ClientNetwork(IpAddr::from([192, 0, 2, last])))
    }

    #[test]
    fn no_client_has_all_turns() {
        let turns = Turns::new(2, 1);
        let take = |client| turns.take(client).now_or_never();
        let first = take(client(1));
        assert!(first.is_some());
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(turns.take(client(1)))).collect();
        assert!(waiting.iter_mut().all(|turn| turn.now_or_never().is_none()));
        let other = take(client(2));
        assert!(other.is_some(), "a hundred requests of another client wait");
        assert!(take(client(3)).is_none() && take(None).is_none(), "both turns are taken");
        drop(first);
        let second = waiting[0].as_mut().now_or_never();
        assert!(second.is_some(), "its client has a turn again");
        assert!(waiting[1].as_mut().now_or_never().is_none());
    }

    #[test]
    fn without_an_address_the_turns_are_those_of_all() {
        let turns = Turns::new(2, 1);
        let (first, second) = (turns.take(None).now_or_never(), turns.take(None).now_or_never());
        assert!(first.is_some() && second.is_some());
        assert!(turns.take(None).now_or_never().is_none());
    }

    #[test]
    fn nothing_is_kept_of_clients_that_are_gone() {
        let turns = Turns::new(2, 1);
        for n in 0..10_000_u32 {
            let client = ClientNetwork(IpAddr::from(n.to_be_bytes()));
            assert!(turns.take(Some(client)).now_or_never().is_some());
        }
        let clients = turns.clients.lock().expect("not poisoned");
        assert!(clients.queues.len() <= SWEEP_FROM);
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let of = |address: &str| {
            let mut extensions = Extensions::new();
            let peer =
                crate::extract::PeerAddr(format!("{address}:1").parse().expect("an address"));
            extensions.insert(peer);
            ClientNetwork::of(&HeaderMap::new(), &extensions)
        };
        assert_eq!(of("[2001:db8::1]"), of("[2001:db8::ffff:1]"));
        assert_ne!(of("[2001:db8::1]"), of("[2001:db8:0:1::1]"));
        assert_eq!(of("[::ffff:192.0.2.1]"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.2"), of("192.0.2.1"));
        assert_eq!(ClientNetwork::of(&HeaderMap::new(), &Extensions::new()), None);
    }
}

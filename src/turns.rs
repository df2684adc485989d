//! Fair turns for work of which little can run at the same time, such as slow password hashes.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::header::FORWARDED;
use http::{Extensions, HeaderMap};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::extract::{ClientAddr, ForwardedHeader, TrustedProxies};

/// Limits how many turns there are at the same time, how many of them one client and one network have, and how many requests wait for one.
///
/// A request first waits for a turn of its client, then for one of its network, and only then for one of all. A client that sends a thousand
/// requests at once therefore has few entries in the queue that it shares with the others. Requests without a known address wait in the
/// shared queue only.
pub(crate) struct Turns {
    all: Arc<Share>,
    clients: Shares<(IpAddr, Option<IpAddr>)>,
    networks: Shares<IpAddr>,
    warned: AtomicBool,
}

/// How many turns there are at the same time.
#[derive(Clone, Copy)]
pub(crate) struct TurnLimits {
    pub(crate) all: usize,
    pub(crate) network: usize,
    pub(crate) client: usize,
}

/// A turn. It ends when it is dropped.
pub(crate) struct Turn {
    /// A share is removed from its map when neither a turn nor a waiting request has it.
    _shares: Vec<(OwnedSemaphorePermit, Arc<Share>)>,
}

/// Why a request gets no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// Too many requests of its client or of its network wait already.
    TooMany,
    /// Too many requests of all clients wait already, or it has waited too long.
    Overloaded,
}

impl Turns {
    pub(crate) fn new(limits: TurnLimits) -> Self {
        Self {
            all: Arc::new(Share::new(limits.all, WAITING_OF_ALL)),
            clients: Shares::new(limits.client, WAITING_OF_CLIENT),
            networks: Shares::new(limits.network, WAITING_OF_NETWORK),
            warned: AtomicBool::new(false),
        }
    }

    /// Waits for a turn, but not for long. A request that is dropped no longer waits.
    pub(crate) async fn take(&self, client: Option<Client>) -> Result<Turn, NoTurn> {
        if client.is_some_and(|client| client.address.1.is_some())
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "a request has a forwarding header, but no proxy is trusted: if there is a proxy, all its clients share one limit of concurrent checks; provide `TrustedProxies`"
            );
        }
        let waits = self.wait(client);
        // Outside of Tokio there is no timer.
        match tokio::runtime::Handle::try_current() {
            Ok(_) => {
                let waited = tokio::time::timeout(LONGEST_WAIT, waits).await;
                waited.unwrap_or(Err(NoTurn::Overloaded))
            }
            Err(_) => waits.await,
        }
    }

    async fn wait(&self, client: Option<Client>) -> Result<Turn, NoTurn> {
        let mut turn = Turn { _shares: Vec::with_capacity(3) };
        // Checked at once, so that a request that can't wait takes no turn of another one.
        let _waits_of_all = self.all.enter().ok_or(NoTurn::Overloaded)?;
        let (_waits_of_client, _waits_of_network);
        if let Some(Client { address, network }) = client {
            let (client, network) = (self.clients.of(address), self.networks.of(network));
            _waits_of_client = client.enter().ok_or(NoTurn::TooMany)?;
            _waits_of_network = network.enter().ok_or(NoTurn::TooMany)?;
            turn._shares.push(client.turn().await?);
            turn._shares.push(network.turn().await?);
        }
        turn._shares.push(self.all.turn().await?);
        Ok(turn)
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> Arc<Semaphore> {
        self.all.turns.clone()
    }
}

/// The turns of one client, of one network, or of all.
struct Share {
    turns: Arc<Semaphore>,
    /// A request has one of these while it waits.
    waiting: Arc<Semaphore>,
}

impl Share {
    fn new(turns: usize, waiting: usize) -> Self {
        let [turns, waiting] = [turns, waiting].map(|permits| Arc::new(Semaphore::new(permits)));
        Self { turns, waiting }
    }

    /// `None` if too many requests wait already.
    fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.waiting.clone().try_acquire_owned().ok()
    }

    async fn turn(self: &Arc<Self>) -> Result<(OwnedSemaphorePermit, Arc<Self>), NoTurn> {
        // A semaphore is never closed.
        let permit = self.turns.clone().acquire_owned().await.map_err(|_| NoTurn::Overloaded)?;
        Ok((permit, self.clone()))
    }
}

/// The shares of those that have turns now or wait for one.
struct Shares<K> {
    turns: usize,
    waiting: usize,
    present: Mutex<PresentShares<K>>,
}

struct PresentShares<K> {
    shares: HashMap<K, Weak<Share>>,
    /// The number of entries at which dead ones are removed.
    sweep_at: usize,
}

impl<K: Eq + Hash> Shares<K> {
    fn new(turns: usize, waiting: usize) -> Self {
        let present = PresentShares { shares: HashMap::new(), sweep_at: SWEEP_FROM };
        Self { turns, waiting, present: Mutex::new(present) }
    }

    fn of(&self, key: K) -> Arc<Share> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = present.shares.get(&key).and_then(Weak::upgrade) {
            return share;
        }
        if present.shares.len() >= present.sweep_at {
            present.shares.retain(|_, share| share.strong_count() > 0);
            // Doubled, so the sweeps take constant time per client on average.
            present.sweep_at = (present.shares.len() * 2).max(SWEEP_FROM);
        }
        let share = Arc::new(Share::new(self.turns, self.waiting));
        present.shares.insert(key, Arc::downgrade(&share));
        share
    }
}

/// The sender of a request, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// An IPv4 address, or the /64 of an IPv6 address, because a host can choose the rest freely. The second one is what an untrusted proxy
    /// reports.
    address: (IpAddr, Option<IpAddr>),
    /// The same IPv4 address, or the /48 of the IPv6 address, which a customer of a provider may have.
    network: IpAddr,
}

impl Client {
    /// `None` if the host does not provide the address of the peer.
    pub(crate) fn of(headers: &HeaderMap, extensions: &Extensions) -> Option<Self> {
        let ClientAddr(address) = ClientAddr::of(headers, extensions)?;
        // Without a trusted proxy, any client can send these fields. They only divide the share of the peer, so a client that invents addresses
        // gets what a network may have.
        let forwarded = match extensions.get::<TrustedProxies>() {
            Some(_) => None,
            None => forwarded(address, headers).map(|address| prefix(address, 64)),
        };
        Some(Self { address: (prefix(address, 64), forwarded), network: prefix(address, 48) })
    }
}

/// The address that the nearest proxy reports, if there is one.
fn forwarded(peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
    let header = if headers.contains_key("x-forwarded-for") {
        ForwardedHeader::XForwardedFor
    } else if headers.contains_key(FORWARDED) {
        ForwardedHeader::Forwarded
    } else {
        return None;
    };
    Some(TrustedProxies::hops(header, 1).ok()?.client(peer, headers))
}

impl From<ClientAddr> for Client {
    fn from(ClientAddr(address): ClientAddr) -> Self {
        Self { address: (prefix(address, 64), None), network: prefix(address, 48) }
    }
}

/// The first bits of an IPv6 address. An IPv4 address is kept.
fn prefix(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - bits))))
        }
    }
}

/// How long a request may wait for its turn.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How many requests may wait at the same time.
pub(crate) const WAITING_OF_CLIENT: usize = 1024;
const WAITING_OF_NETWORK: usize = 2048;
const WAITING_OF_ALL: usize = 8192;
const SWEEP_FROM: usize = 64;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::extract::PeerAddr;

    fn turns(all: usize, network: usize, client: usize) -> Turns {
        Turns::new(TurnLimits { all, network, client })
    }

    fn client(last: u8) -> Option<Client> {
        of(&format!("192.0.2.{last}"), &[])
    }

    fn of(peer: &str, forwarded: &[(&'static str, &str)]) -> Option<Client> {
        let (mut headers, mut extensions) = (HeaderMap::new(), Extensions::new());
        for (name, value) in forwarded {
            headers.append(*name, value.parse().expect("a value"));
        }
        let address = peer.parse().expect("an address");
        extensions.insert(PeerAddr(std::net::SocketAddr::new(address, 1)));
        Client::of(&headers, &extensions)
    }

    #[test]
    fn no_client_has_all_turns() {
        let turns = turns(2, 2, 1);
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

    /// A /48 contains 65,536 clients.
    #[test]
    fn no_network_has_all_turns() {
        let turns = turns(8, 6, 4);
        let of = |peer: &str| of(peer, &[]);
        let mut taken = Vec::new();
        for n in 0..100 {
            taken.extend(turns.take(of(&format!("2001:db8:1:{n:x}::1"))).now_or_never());
        }
        assert_eq!(taken.len(), 6);
        for n in 0..100 {
            taken.extend(turns.take(of(&format!("2001:db8:2:{n:x}::1"))).now_or_never());
        }
        assert_eq!(taken.len(), 8);
    }

    /// Without `TrustedProxies`, all requests come from the address of the proxy.
    #[test]
    fn one_client_behind_a_proxy_that_is_not_trusted_does_not_have_all_turns_of_the_proxy() {
        for (first, other) in [
            ([("x-forwarded-for", "203.0.113.1")], [("x-forwarded-for", "203.0.113.2")]),
            ([("x-forwarded-for", "1.1.1.1, 203.0.113.1")], [("x-forwarded-for", "203.0.113.2")]),
            ([("forwarded", "for=203.0.113.1")], [("forwarded", "for=203.0.113.2")]),
            ([("x-forwarded-for", "2001:db8::1")], [("x-forwarded-for", "2001:db8:0:1::1")]),
        ] {
            let turns = turns(100, 6, 4);
            let mut taken = Vec::new();
            for _ in 0..10 {
                taken.extend(turns.take(of("192.0.2.1", &first)).now_or_never());
            }
            assert_eq!(taken.len(), 4, "{first:?}");
            let unrelated = turns.take(of("192.0.2.1", &other)).now_or_never();
            assert!(unrelated.is_some(), "{other:?}");
        }
        // A client that invents addresses gets what a network may have.
        let turns = turns(100, 6, 4);
        let invented = |n: u32| [("x-forwarded-for", format!("203.0.113.{n}"))];
        let taken: Vec<_> = (0..50)
            .filter_map(|n| {
                let [(name, value)] = invented(n);
                turns.take(of("192.0.2.1", &[(name, &value)])).now_or_never()
            })
            .collect();
        assert_eq!(taken.len(), 6);
    }

    #[test]
    fn what_may_wait_is_bounded_for_each_client_each_network_and_all() {
        let turns = turns(1, 1, 1);
        let _first = turns.take(None).now_or_never().expect("a free turn");
        let mut waiting = Vec::new();
        let mut fill = |client: Option<Client>| loop {
            let mut request = Box::pin(turns.take(client));
            match (&mut request).now_or_never() {
                None => waiting.push(request),
                Some(taken) => break (taken.map(drop), waiting.len()),
            }
        };
        let table = [
            ("192.0.2.1", NoTurn::TooMany, 1024),
            ("192.0.2.1", NoTurn::TooMany, 1024),
            ("2001:db8:1:1::1", NoTurn::TooMany, 2048),
            ("2001:db8:1:2::1", NoTurn::TooMany, 3072),
            ("2001:db8:1:3::1", NoTurn::TooMany, 3072),
            ("2001:db8:2:3::1", NoTurn::TooMany, 4096),
        ];
        for (peer, refused, length) in table {
            assert_eq!(fill(of(peer, &[])), (Err(refused), length), "{peer}");
        }
        assert_eq!(fill(None), (Err(NoTurn::Overloaded), 8192));
        assert_eq!(fill(client(9)), (Err(NoTurn::Overloaded), 8192));
        // A request that is dropped no longer waits.
        waiting.clear();
        assert!(turns.take(client(1)).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_does_not_wait_for_ever() {
        let turns = turns(2, 2, 1);
        let start = tokio::time::Instant::now();
        let _first = turns.take(client(1)).await.expect("a free turn");
        assert_eq!(turns.take(client(1)).await.err(), Some(NoTurn::Overloaded));
        assert_eq!(start.elapsed(), LONGEST_WAIT);
        let _second = turns.take(None).await.expect("what waited has no turn");
        assert_eq!(turns.take(None).await.err(), Some(NoTurn::Overloaded));
    }

    #[test]
    fn without_an_address_the_turns_are_those_of_all() {
        let turns = turns(2, 2, 1);
        let (first, second) = (turns.take(None).now_or_never(), turns.take(None).now_or_never());
        assert!(first.is_some() && second.is_some());
        assert!(turns.take(None).now_or_never().is_none());
    }

    #[test]
    fn nothing_is_kept_of_clients_that_are_gone() {
        let turns = turns(2, 2, 1);
        for n in 0..10_000_u32 {
            let peer = std::net::Ipv4Addr::from(n.to_be_bytes()).to_string();
            assert!(turns.take(of(&peer, &[])).now_or_never().is_some());
        }
        let clients = turns.clients.present.lock().expect("not poisoned");
        let networks = turns.networks.present.lock().expect("not poisoned");
        assert!(clients.shares.len() <= SWEEP_FROM && networks.shares.len() <= SWEEP_FROM);
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let address = |peer: &str| of(peer, &[]).map(|client| client.address);
        let network = |peer: &str| of(peer, &[]).map(|client| client.network);
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(network("2001:db8::1"), network("2001:db8:0:ffff::1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:1::1"));
        assert_eq!(of("::ffff:192.0.2.1", &[]), of("192.0.2.1", &[]));
        assert_ne!(of("192.0.2.2", &[]), of("192.0.2.1", &[]));
        assert_eq!(Client::of(&HeaderMap::new(), &Extensions::new()), None);
    }
}

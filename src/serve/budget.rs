//! How many bytes the server holds for requests in flight: their heads, and responses that clients have not taken yet.
//!
//! A client that doesn't read makes the server hold what was made for it. Streams, connections and hosts multiply that, so there are three
//! accounts for responses: of the connection, of the network of the client, and of all connections together. Heads have three accounts of
//! their own, as they must not take the memory without which no response can be sent.
//!
//! A frame of a body is charged when it exists, and is always sent: holding it back would free nothing. An account may therefore be
//! overdrawn by one frame. While it is overdrawn or has nothing left, no body is polled for its next frame and no handler starts. A frame is
//! refunded once hyper has written the last of it to the socket, as its memory can't be freed in parts. A head is in memory already and can't
//! wait: without memory it is refused.
//!
//! A body or handler that waits reserves a part of each account. The charge of its frame takes that reservation first, so that the memory of
//! one refund is given to one waiter only. What the frame exceeds its reservation by is overdrawn, and is paid by the next refunds and
//! reservations.
//!
//! One frame of each connection, the response of one of its handlers, and the heads of its first requests need nothing of the shared accounts.
//! Without this exception, a few clients that don't read would stop the server for all others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::limits::Limits;

/// The budget of all connections together.
#[derive(Clone, Debug)]
pub(super) struct TotalBudget {
    total: Arc<Shared>,
    per_network: usize,
    per_connection: usize,
    /// The networks that have a connection.
    networks: Arc<Mutex<HashMap<IpAddr, Weak<Shared>>>>,
}

impl TotalBudget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            total: Arc::new(Shared::new(limits.max_buffered)),
            per_network: limits.max_buffered_per_network,
            per_connection: limits.max_buffered_per_connection,
            networks: Arc::default(),
        }
    }

    /// The budget of a connection from this address. Without an address, as on a Unix socket, it has no share of a network.
    pub(super) fn connection(&self, addr: Option<IpAddr>) -> Arc<ConnectionBudget> {
        Arc::new(ConnectionBudget {
            account: Account::new(self.per_connection),
            heads: permits(self.per_connection),
            network: addr.map(|addr| self.network(network(addr))),
            total: self.total.clone(),
            exempt_frame: permits(1),
            exempt_handler: permits(1),
            turn: permits(1),
        })
    }

    fn network(&self, network: IpAddr) -> Arc<Shared> {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = networks.get(&network).and_then(Weak::upgrade) {
            return shared;
        }
        // At most half of the entries are of networks without connections.
        if networks.len() == networks.capacity() {
            networks.retain(|_, shared| shared.strong_count() > 0);
            let used = networks.len();
            networks.reserve(used + 1);
        }
        let shared = Arc::new(Shared::new(self.per_network));
        networks.insert(network, Arc::downgrade(&shared));
        shared
    }
}

/// The accounts that connections share: those of one network, or of all of them.
#[derive(Debug)]
struct Shared {
    account: Account,
    heads: Arc<Semaphore>,
}

impl Shared {
    fn new(bytes: usize) -> Self {
        Self { account: Account::new(bytes), heads: permits((bytes / HEADS).max(1)) }
    }
}

/// The budget of one connection.
#[derive(Debug)]
pub(super) struct ConnectionBudget {
    account: Account,
    heads: Arc<Semaphore>,
    network: Option<Arc<Shared>>,
    total: Arc<Shared>,
    /// For the one frame that is not charged to the shared accounts.
    exempt_frame: Arc<Semaphore>,
    /// For the one handler that may start while the shared accounts have nothing left.
    exempt_handler: Arc<Semaphore>,
    /// For the handler that waits to be started.
    turn: Arc<Semaphore>,
}

impl ConnectionBudget {
    /// Whether a body may be polled for its next frame. If not, [`frame`](ConnectionBudget::frame) waits for it.
    pub(super) fn has_room_for_frame(&self) -> bool {
        self.account.has_room()
            && (self.exempt_frame.available_permits() > 0 || self.shared().all(Account::has_room))
    }

    /// Whether a handler may start. If not, [`handler`](ConnectionBudget::handler) waits for it.
    pub(super) fn has_room_for_handler(&self) -> bool {
        self.account.has_room() && self.shared().all(Account::has_room)
    }

    /// Waits until a body may be polled for its next frame, which is expected to have this length.
    pub(super) async fn frame(self: Arc<Self>, bytes: usize) -> Room {
        // The semaphores are never closed.
        self.wait(&self.exempt_frame, bytes).await.unwrap_or_default()
    }

    /// Waits until a handler may start. The result is for the first frame of the handler's response.
    ///
    /// Handlers wait here one behind the other, and only the first of them in the queue of the account. The bodies of responses that exist
    /// are therefore sent before handlers make further ones.
    pub(super) async fn handler(self: Arc<Self>) -> Room {
        let turn = self.turn.acquire().await;
        let room = self.wait(&self.exempt_handler, HANDLER).await.unwrap_or_default();
        drop(turn);
        room
    }

    /// Charges a frame. `room` is what was reserved for it, if its body or handler had to wait.
    pub(super) fn charge(self: &Arc<Self>, bytes: usize, room: Option<Room>) -> Charge {
        let Room { own, shared, exempt } = room.unwrap_or_default();
        // The exemption of a handler is left to the next handler, if possible.
        let exempt = self.exempt_frame.clone().try_acquire_owned().ok().or(exempt);
        // A single frame must not stop the other streams of its connection.
        let connection = bytes.min((self.account.limit / LARGEST_CHARGE).max(1));
        self.account.charge(connection, own);
        let is_shared = exempt.is_none();
        if is_shared {
            let mut reserved = shared.into_iter();
            self.shared().for_each(|account| account.charge(bytes, reserved.next()));
        }
        Charge { budget: Some(self.clone()), bytes, connection, is_shared, _exempt: exempt }
    }

    /// Reserves memory for a head, if it is free.
    pub(super) fn try_reserve_head(&self, bytes: usize) -> Option<HeadReservation> {
        let bytes = u32::try_from(bytes).ok()?;
        let reserve = |heads: &Arc<Semaphore>| heads.clone().try_acquire_many_owned(bytes).ok();
        let network = match &self.network {
            Some(network) => Some(reserve(&network.heads)?),
            None => None,
        };
        let own = reserve(&self.heads)?;
        Some(HeadReservation { _permits: Box::new((own, network, reserve(&self.total.heads)?)) })
    }

    fn shared(&self) -> impl Iterator<Item = &Account> {
        self.network.iter().chain([&self.total]).map(|shared| &shared.account)
    }

    async fn wait(&self, exempt: &Arc<Semaphore>, bytes: usize) -> Result<Room, AcquireError> {
        loop {
            let mut room = Room { own: Some(self.account.room(bytes).await?), ..Room::default() };
            let shared = async {
                let mut permits = Vec::new();
                for account in self.shared() {
                    permits.push(account.room(bytes).await?);
                }
                Ok(permits)
            };
            tokio::select! {
                biased;
                acquired = exempt.clone().acquire_owned() => room.exempt = Some(acquired?),
                acquired = shared => room.shared = acquired?,
            }
            if self.is_covered(&mut room) {
                return Ok(room);
            }
        }
    }

    /// Whether a reservation is still worth something after it has paid for what is overdrawn.
    fn is_covered(&self, room: &mut Room) -> bool {
        let accounts = [&self.account].into_iter().chain(self.shared());
        let permits = room.own.iter_mut().chain(&mut room.shared);
        // Each account is to be repaid, so this doesn't stop at the first.
        accounts.zip(permits).fold(true, |covered, (account, permit)| {
            account.repay_from(permit);
            covered && permit.num_permits() > 0
        })
    }
}

/// A number of bytes, of which charges take some until they are refunded.
#[derive(Debug)]
struct Account {
    limit: usize,
    free: Arc<Semaphore>,
    /// By how much the charges exceed the limit. Refunds reduce it first.
    overdrawn: AtomicUsize,
}

impl Account {
    fn new(bytes: usize) -> Self {
        let free = permits(bytes);
        Self { limit: free.available_permits(), free, overdrawn: AtomicUsize::new(0) }
    }

    fn has_room(&self) -> bool {
        self.free.available_permits() > 0 && self.overdrawn.load(Ordering::Acquire) == 0
    }

    /// Waits until these bytes are free, or a part of the account for a large frame. They are taken until the result is dropped: only as many
    /// bodies as there is memory for continue at once.
    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, AcquireError> {
        let bytes = bytes.clamp(1, self.limit.div_ceil(LARGEST_CHARGE));
        self.free.clone().acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX)).await
    }

    /// Takes these bytes from what was reserved for them, then from what is free. The rest is overdrawn.
    fn charge(&self, bytes: usize, reserved: Option<OwnedSemaphorePermit>) {
        let bytes = bytes - reserved.map_or(0, |mut reserved| forget(&mut reserved, bytes));
        let taken = self.free.forget_permits(bytes);
        self.overdrawn.fetch_add(bytes - taken, Ordering::AcqRel);
    }

    fn refund(&self, bytes: usize) {
        self.free.add_permits(bytes - self.repay(bytes));
    }

    /// Pays for what is overdrawn from a reservation.
    fn repay_from(&self, reserved: &mut OwnedSemaphorePermit) {
        let repaid = self.repay(reserved.num_permits());
        forget(reserved, repaid);
    }

    /// Reduces what is overdrawn by at most this number. Returns by how much.
    fn repay(&self, bytes: usize) -> usize {
        let reduce = |overdrawn: usize| Some(overdrawn.saturating_sub(bytes));
        let before = self.overdrawn.fetch_update(Ordering::AcqRel, Ordering::Acquire, reduce);
        before.map_or(0, |overdrawn| overdrawn.min(bytes))
    }
}

/// The permission to make a further frame or to start a handler.
#[derive(Debug, Default)]
pub(super) struct Room {
    own: Option<OwnedSemaphorePermit>,
    /// In the order of the accounts. Empty with an exemption.
    shared: Vec<OwnedSemaphorePermit>,
    exempt: Option<OwnedSemaphorePermit>,
}

/// What a frame was charged. Dropping it refunds that.
#[derive(Debug, Default)]
pub(super) struct Charge {
    budget: Option<Arc<ConnectionBudget>>,
    bytes: usize,
    /// The part that its connection was charged.
    connection: usize,
    /// Whether the shared accounts were charged.
    is_shared: bool,
    _exempt: Option<OwnedSemaphorePermit>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        let Some(budget) = &self.budget else { return };
        budget.account.refund(self.connection);
        if self.is_shared {
            budget.shared().for_each(|account| account.refund(self.bytes));
        }
    }
}

/// Memory for a head, reserved until this is dropped.
#[derive(Debug)]
pub(super) struct HeadReservation {
    _permits: Box<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>, OwnedSemaphorePermit)>,
}

fn permits(count: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
}

/// Takes at most this many permits from their semaphore for good. Returns how many.
fn forget(permit: &mut OwnedSemaphorePermit, count: usize) -> usize {
    let count = count.min(permit.num_permits());
    if let Some(part) = permit.split(count) {
        part.forget();
    }
    count
}

/// A site has usually a network of 24 bits of IPv4, or of 48 bits of IPv6 (RFC 6177).
fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V4(addr) => Ipv4Addr::from_bits(addr.to_bits() & !0xff).into(),
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & !0 << 80).into(),
    }
}

/// How many bytes are expected of the response of a handler that had to wait.
const HANDLER: usize = 16 * 1024;
/// A frame is charged at most this fraction of the account of its connection.
const LARGEST_CHARGE: usize = 4;
/// The fraction of a shared account that is added to it for heads.
const HEADS: usize = 4;

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::FutureExt;

    use super::*;

    fn budget(per_connection: usize, total: usize) -> TotalBudget {
        TotalBudget::new(&Limits {
            max_buffered_per_connection: per_connection,
            max_buffered_per_network: total,
            max_buffered: total,
            ..Limits::default()
        })
    }

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        future.now_or_never()
    }

    #[test]
    fn a_connection_holds_its_budget_and_at_most_one_frame_more() {
        let connection = budget(100, 1000).connection(None);
        let frames: Vec<_> = std::iter::from_fn(|| {
            connection.has_room_for_frame().then(|| connection.charge(15, None))
        })
        .collect();
        assert_eq!(frames.len(), 7);
        assert!(now(connection.clone().frame(10)).is_none());
        assert!(now(connection.clone().handler()).is_none());
        let mut frames = frames.into_iter();
        // The first refund pays for the excess.
        drop(frames.next());
        assert!(connection.has_room_for_frame());
        drop(frames);
        assert_eq!(connection.account.free.available_permits(), 100);
    }

    #[test]
    fn a_frame_that_is_larger_than_the_budget_leaves_some_for_the_other_streams() {
        for length in [100, 101, 1000, usize::MAX >> 4] {
            let connection = budget(100, 1000).connection(None);
            let frame = connection.charge(length, None);
            assert_eq!(connection.account.free.available_permits(), 75, "{length}");
            assert!(connection.has_room_for_frame() && now(connection.clone().frame(10)).is_some());
            drop(frame);
            assert_eq!(connection.account.free.available_permits(), 100, "{length}");
        }
    }

    #[test]
    fn all_connections_hold_the_total_and_one_frame_each() {
        let total = budget(1000, 150);
        let connections: Vec<_> = (0..10).map(|_| total.connection(None)).collect();
        let mut held = Vec::new();
        for connection in &connections {
            held.extend(std::iter::from_fn(|| {
                connection.has_room_for_frame().then(|| connection.charge(10, None))
            }));
        }
        // The exempt frame of each, and 15 frames of the total.
        assert_eq!(held.len(), 10 + 15);
        drop(held);
        assert_eq!(total.total.account.free.available_permits(), 150);
    }

    #[test]
    fn one_network_leaves_memory_for_the_others() {
        for (one, same, other) in [
            ("192.0.2.1", "192.0.2.255", "192.0.3.1"),
            ("192.0.2.1", "::ffff:192.0.2.7", "2001:db8::1"),
            ("2001:db8:1::1", "2001:db8:1:ffff::1", "2001:db8:2::1"),
        ] {
            let total = TotalBudget::new(&Limits {
                max_buffered_per_connection: 1000,
                max_buffered_per_network: 400,
                max_buffered: 800,
                ..Limits::default()
            });
            let connect = |addr: &str| total.connection(Some(addr.parse().unwrap()));
            let (one, same, other) = (connect(one), connect(same), connect(other));
            let (exempt, frames) = (one.charge(1, None), one.charge(500, None));
            let _exempt = [same.charge(1, None), other.charge(1, None)];
            assert!(!same.has_room_for_frame() && !same.has_room_for_handler());
            assert!(other.has_room_for_frame() && other.has_room_for_handler());
            let heads = one.try_reserve_head(100).unwrap();
            assert!(same.try_reserve_head(1).is_none());
            assert!(other.try_reserve_head(100).is_some());
            drop((exempt, frames, heads));
            assert!(same.has_room_for_frame() && same.try_reserve_head(100).is_some());
        }
    }

    #[test]
    fn a_network_without_connections_has_no_share() {
        let total = budget(100, 100);
        let address = |number: u32| IpAddr::from(Ipv4Addr::from_bits(number << 8));
        let open: Vec<_> = (0..10).map(|number| total.connection(Some(address(number)))).collect();
        for number in 10..10_000 {
            total.connection(Some(address(number)));
        }
        assert!(total.networks.lock().unwrap().len() < 100);
        // The connections that are open still share one account.
        let again = total.connection(Some(address(3)));
        let network = again.network.as_ref().unwrap();
        assert!(open.iter().any(|open| Arc::ptr_eq(open.network.as_ref().unwrap(), network)));
    }

    #[tokio::test]
    async fn a_waiting_body_takes_whichever_is_free_first() {
        let total = budget(100, 100);
        let (one, other) = (total.connection(None), total.connection(None));
        let held = (other.charge(10, None), other.charge(100, None));
        let (own, more) = (one.charge(10, None), one.charge(10, None));
        assert!(!one.has_room_for_frame());
        let mut by_exemption = Box::pin(one.clone().frame(10));
        assert!(by_exemption.as_mut().now_or_never().is_none());
        drop(own);
        let room = by_exemption.await;
        let exempt = one.charge(10, Some(room));
        assert!(!exempt.is_shared);
        let mut by_total = Box::pin(one.clone().frame(10));
        assert!(by_total.as_mut().now_or_never().is_none());
        drop((held, more));
        by_total.await;
        drop(exempt);
    }

    #[test]
    fn heads_take_no_memory_of_responses() {
        let total = budget(100, 1000);
        let connection = total.connection(None);
        let head = connection.try_reserve_head(60);
        assert!(head.is_some() && connection.try_reserve_head(60).is_none());
        assert_eq!(connection.account.free.available_permits(), 100);
        drop(head);
        assert!(connection.try_reserve_head(60).is_some());
        let all: Vec<_> = (0..20).map(|_| total.connection(None).try_reserve_head(100)).collect();
        assert_eq!(all.iter().flatten().count(), 1000 / HEADS / 100);
        assert_eq!(total.total.account.free.available_permits(), 1000);
        assert!(total.connection(None).has_room_for_handler());
    }

    #[tokio::test]
    async fn handlers_wait_for_bodies_that_exist() {
        let connection = budget(64 * 1024, 1_000_000).connection(None);
        let held: Vec<_> = (0..4).map(|_| connection.charge(16 * 1024, None)).collect();
        let mut handlers: Vec<_> = (0..2).map(|_| Box::pin(connection.clone().handler())).collect();
        for handler in &mut handlers {
            assert!(handler.as_mut().now_or_never().is_none());
        }
        let mut bodies: Vec<_> =
            (0..4).map(|_| Box::pin(connection.clone().frame(16 * 1024))).collect();
        for body in &mut bodies {
            assert!(body.as_mut().now_or_never().is_none());
        }
        drop(held);
        let [first, second] = &mut *handlers else { panic!() };
        let started = first.as_mut().now_or_never();
        assert!(started.is_some());
        drop(started);
        // The second handler was behind the first one, the bodies are in the queue before it.
        assert!(second.as_mut().now_or_never().is_none());
        for body in bodies {
            assert!(body.now_or_never().is_some());
        }
    }

    #[test]
    fn only_as_many_bodies_continue_as_there_is_memory_for() {
        let connection = budget(1000, 10_000).connection(None);
        let held: Vec<_> = (0..10).map(|_| connection.charge(100, None)).collect();
        let mut bodies: Vec<_> = (0..50).map(|_| Box::pin(connection.clone().frame(100))).collect();
        for body in &mut bodies {
            assert!(body.as_mut().now_or_never().is_none());
        }
        drop(held);
        let rooms: Vec<_> = bodies.iter_mut().map(|body| body.as_mut().now_or_never()).collect();
        assert_eq!(rooms.iter().flatten().count(), 10);
    }

    #[test]
    fn one_refund_lets_one_waiter_through() {
        const KIB: usize = 1024;
        for (waiter, limits, frame, held) in [
            ("body", (1024, 100_000), 16, 64),
            ("body", (1024, 100_000), 100, 11),
            ("body", (1024, 100_000), 400, 4),
            ("body", (1024, 100_000), 4000, 4),
            ("body", (100_000, 1024), 16, 65),
            ("body", (100_000, 1024), 400, 4),
            ("handler", (1024, 100_000), 16, 64),
            ("handler", (1024, 100_000), 400, 4),
            ("handler", (100_000, 1024), 400, 4),
        ] {
            let case = format!("{waiter} {limits:?} {frame}");
            let connection = budget(limits.0 * KIB, limits.1 * KIB).connection(None);
            let accounts = [&connection.account, &connection.total.account];
            let before = accounts.map(|account| account.free.available_permits());
            // The exemptions are in use.
            let mut charges: Vec<_> = std::iter::from_fn(|| {
                connection.has_room_for_handler().then(|| connection.charge(frame * KIB, None))
            })
            .collect();
            assert_eq!(charges.len(), held, "{case}");
            let exempt = connection.exempt_handler.clone().try_acquire_owned().unwrap();
            let mut waiting: Vec<_> = (0..200)
                .map(|_| -> Pin<Box<dyn Future<Output = Room>>> {
                    match waiter {
                        "body" => Box::pin(connection.clone().frame(16 * KIB)),
                        _ => Box::pin(connection.clone().handler()),
                    }
                })
                .collect();
            for waiter in &mut waiting {
                assert!(waiter.as_mut().now_or_never().is_none());
            }
            for _ in 0..100 {
                // The client reads one frame that is charged to all accounts. The frames before it have the exemption.
                drop(charges.pop());
                waiting.retain_mut(|waiter| match waiter.as_mut().now_or_never() {
                    Some(room) => {
                        charges.push(connection.charge(frame * KIB, Some(room)));
                        false
                    }
                    None => true,
                });
                assert!(charges.len() <= held, "{case}: {}", charges.len());
                let largest = accounts.map(|account| account.overdrawn.load(Ordering::Relaxed));
                assert!(largest.iter().all(|bytes| *bytes < frame * KIB), "{case}: {largest:?}");
            }
            assert!(waiting.len() <= 150, "{case}: {}", waiting.len());
            drop((waiting, charges, exempt));
            assert_eq!(accounts.map(|a| a.free.available_permits()), before, "{case}");
            assert!(accounts.iter().all(|a| a.overdrawn.load(Ordering::Relaxed) == 0), "{case}");
        }
    }

    #[test]
    fn one_refund_lets_one_connection_through() {
        let total = budget(1_000_000, 1_000_000);
        let connections: Vec<_> = (0..100).map(|_| total.connection(None)).collect();
        let exempt: Vec<_> = connections.iter().map(|on| on.charge(1, None)).collect();
        let mut held: Vec<_> = (0..10).map(|at| connections[at].charge(100_000, None)).collect();
        let mut bodies: Vec<_> = connections
            .iter()
            .flat_map(|on| (0..20).map(move |_| (on, Box::pin(on.clone().frame(1000)))))
            .collect();
        for (_, body) in &mut bodies {
            assert!(body.as_mut().now_or_never().is_none());
        }
        for _ in 0..20 {
            held.remove(0);
            bodies.retain_mut(|(on, body)| match body.as_mut().now_or_never() {
                Some(room) => {
                    held.push(on.charge(100_000, Some(room)));
                    false
                }
                None => true,
            });
            assert_eq!(held.len(), 10);
        }
        drop((bodies, held, exempt));
        assert_eq!(total.total.account.free.available_permits(), 1_000_000);
    }

    #[test]
    fn a_reservation_that_is_not_used_is_free_for_the_next() {
        let connection = budget(1000, 10_000).connection(None);
        let held = connection.charge(250, None);
        let more = [(); 3].map(|()| connection.charge(250, None));
        let [mut first, mut second] = [(); 2].map(|()| Box::pin(connection.clone().frame(200)));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(held);
        let room = first.as_mut().now_or_never();
        assert!(room.is_some() && second.as_mut().now_or_never().is_none());
        // Its frame is smaller than expected.
        let small = connection.charge(40, room);
        assert_eq!(connection.account.overdrawn.load(Ordering::Relaxed), 0);
        assert!(now(second).is_some());
        drop((small, more));
        assert_eq!(connection.account.free.available_permits(), 1000);
    }

    #[test]
    fn a_running_handler_does_not_stop_the_frames_of_its_connection() {
        let total = budget(1000, 100);
        let _full = [total.connection(None), total.connection(None)]
            .map(|other| (other.charge(1, None), other.charge(100, None)));
        let connection = total.connection(None);
        assert!(!connection.has_room_for_handler());
        let _running = now(connection.clone().handler()).unwrap();
        assert!(connection.has_room_for_frame());
        let frame = connection.charge(10, None);
        assert!(!frame.is_shared);
    }
}

//! How many bytes the server holds for requests in flight: their heads, and responses that clients have not taken yet.
//!
//! A client that doesn't read makes the server hold what was made for it. Streams and connections multiply that, so there are two budgets: one
//! of each connection, and one of all connections together. A frame of a body reserves its length before it is passed to hyper, and each
//! piece of it frees its part once hyper has written that piece to the socket. Reservations are granted in the order in which they are
//! asked for, so a large body doesn't starve small ones. A head can't wait, as it is in memory already: without memory it is refused.
//!
//! One frame of each connection, and the heads of its first requests, need nothing of the common budget. Without this exception, a few clients
//! that don't read would stop the server for all others.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::limits::Limits;

/// The budget of all connections together.
#[derive(Clone, Debug)]
pub(super) struct TotalBudget {
    free: Arc<Semaphore>,
    per_connection: u32,
}

impl TotalBudget {
    pub(super) fn new(limits: &Limits) -> Self {
        let total = limits.max_buffered.min(Semaphore::MAX_PERMITS);
        // A reservation of more than the total would never be granted.
        let per_connection = limits.max_buffered_per_connection.min(total);
        Self {
            free: Arc::new(Semaphore::new(total)),
            per_connection: u32::try_from(per_connection).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn connection(&self) -> Arc<ConnectionBudget> {
        Arc::new(ConnectionBudget {
            limit: self.per_connection,
            free: Arc::new(Semaphore::new(self.per_connection as usize)),
            heads: Arc::new(Semaphore::new(self.per_connection as usize)),
            total: self.free.clone(),
            exempt: Arc::new(Semaphore::new(1)),
            turn: Arc::new(Semaphore::new(1)),
        })
    }
}

/// The budget of one connection.
#[derive(Debug)]
pub(super) struct ConnectionBudget {
    limit: u32,
    free: Arc<Semaphore>,
    /// For heads, which must not take the memory without which no response can be sent.
    heads: Arc<Semaphore>,
    total: Arc<Semaphore>,
    /// For the one frame that needs nothing of the total.
    exempt: Arc<Semaphore>,
    /// For the handler that waits to be started.
    turn: Arc<Semaphore>,
}

impl ConnectionBudget {
    /// Reserves memory for a frame, if it is free. A frame larger than the budget reserves all of it.
    pub(super) fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let bytes = self.clamp(bytes);
        let connection = self.free.clone().try_acquire_many_owned(bytes).ok()?;
        let mut reserved = Reservation { connection: Some(connection), ..Reservation::default() };
        match self.exempt.clone().try_acquire_owned() {
            Ok(exempt) => reserved.exempt = Some(exempt),
            Err(_) => {
                reserved.total = Some(self.total.clone().try_acquire_many_owned(bytes).ok()?);
            }
        }
        Some(reserved)
    }

    /// Reserves memory for a head, if it is free.
    pub(super) fn try_reserve_head(&self, bytes: usize) -> Option<Reservation> {
        let bytes = self.clamp(bytes);
        let connection = self.heads.clone().try_acquire_many_owned(bytes).ok()?;
        let total = self.total.clone().try_acquire_many_owned(bytes).ok()?;
        Some(Reservation { connection: Some(connection), total: Some(total), exempt: None })
    }

    /// Waits until memory for a frame is free.
    pub(super) async fn reserve(self: Arc<Self>, bytes: usize) -> Reservation {
        // The semaphores are never closed.
        self.acquire(self.clamp(bytes)).await.unwrap_or_default()
    }

    /// Whether a handler may start. If not, [`turn`](ConnectionBudget::turn) waits for it.
    pub(super) fn has_room(&self) -> bool {
        self.free.available_permits() > 0 && self.total.available_permits() > 0
    }

    /// Waits until a handler may start. What this reserves is for the handler's response, and is to be dropped once that exists.
    ///
    /// Handlers wait here one behind the other, and only the first of them in the queue of the budget. Frames that exist already are therefore
    /// sent before handlers make further ones.
    pub(super) async fn turn(self: Arc<Self>) -> Reservation {
        let turn = self.turn.acquire().await;
        let reserved = self.clone().reserve(HANDLER).await;
        drop(turn);
        reserved
    }

    async fn acquire(&self, bytes: u32) -> Result<Reservation, AcquireError> {
        let connection = Some(self.free.clone().acquire_many_owned(bytes).await?);
        let (mut exempt, mut total) = (None, None);
        tokio::select! {
            biased;
            acquired = self.exempt.clone().acquire_owned() => exempt = Some(acquired?),
            acquired = self.total.clone().acquire_many_owned(bytes) => total = Some(acquired?),
        }
        Ok(Reservation { connection, total, exempt })
    }

    fn clamp(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.limit)
    }
}

/// Memory that is reserved until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Reservation {
    connection: Option<OwnedSemaphorePermit>,
    total: Option<OwnedSemaphorePermit>,
    exempt: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    /// Takes the part of a piece out of this. The exemption stays with the rest.
    pub(super) fn split(&mut self, bytes: usize) -> Self {
        let part = |permit: &mut Option<OwnedSemaphorePermit>| {
            let permit = permit.as_mut()?;
            permit.split(bytes.min(permit.num_permits()))
        };
        Self { connection: part(&mut self.connection), total: part(&mut self.total), exempt: None }
    }
}

/// How much is reserved for the response of a handler that had to wait.
const HANDLER: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn budget(per_connection: usize, total: usize) -> TotalBudget {
        TotalBudget::new(&Limits {
            max_buffered_per_connection: per_connection,
            max_buffered: total,
            ..Limits::default()
        })
    }

    #[test]
    fn a_connection_holds_at_most_its_budget() {
        let connection = budget(100, 1000).connection();
        let first = connection.try_reserve(60).unwrap();
        assert!(connection.try_reserve(60).is_none());
        assert!(connection.has_room());
        let second = connection.try_reserve(40).unwrap();
        assert!(!connection.has_room());
        drop(first);
        assert!(connection.try_reserve(60).is_some());
        drop(second);
        // A frame that is larger than the budget has it for itself.
        let large = connection.try_reserve(usize::MAX).unwrap();
        assert!(connection.try_reserve(1).is_none());
        drop(large);
        assert!(connection.try_reserve(1).is_some());
    }

    #[test]
    fn all_connections_hold_the_total_and_one_frame_each() {
        let total = budget(100, 150);
        let connections: Vec<_> = (0..10).map(|_| total.connection()).collect();
        let mut held = Vec::new();
        for connection in &connections {
            held.extend(std::iter::from_fn(|| connection.try_reserve(10)));
        }
        // The exempt frame of each, and 15 frames of the total.
        assert_eq!(held.len(), 10 + 15);
        drop(held);
        assert_eq!(total.free.available_permits(), 150);
    }

    #[tokio::test]
    async fn a_waiting_frame_takes_whichever_is_free_first() {
        let total = budget(100, 100);
        let (one, other) = (total.connection(), total.connection());
        let (exempt, all) = (other.try_reserve(10).unwrap(), other.try_reserve(90).unwrap());
        let (own, more) = (one.try_reserve(10).unwrap(), one.try_reserve(10).unwrap());
        assert!(one.try_reserve(10).is_none());
        let mut by_exemption = Box::pin(one.clone().reserve(10));
        assert!(by_exemption.as_mut().now_or_never().is_none());
        drop(own);
        let by_exemption = by_exemption.await;
        let mut by_total = Box::pin(one.clone().reserve(10));
        assert!(by_total.as_mut().now_or_never().is_none());
        drop((exempt, all, more));
        by_total.await;
        drop(by_exemption);
    }

    #[test]
    fn heads_leave_memory_for_responses() {
        let total = budget(100, 1000);
        let connection = total.connection();
        let head = connection.try_reserve_head(60);
        assert!(head.is_some() && connection.try_reserve_head(60).is_none());
        assert!(connection.try_reserve(100).is_some());
        drop(head);
        assert!(connection.try_reserve_head(60).is_some());
        let all: Vec<_> = (0..20).map(|_| total.connection().try_reserve_head(100)).collect();
        assert_eq!(all.iter().flatten().count(), 10);
    }

    #[test]
    fn a_piece_frees_its_part() {
        let total = budget(100, 100);
        let connection = total.connection();
        let _exempt = connection.try_reserve(10).unwrap();
        let mut frame = connection.try_reserve(90).unwrap();
        assert_eq!(total.free.available_permits(), 10);
        let piece = frame.split(50);
        drop(frame);
        assert_eq!(total.free.available_permits(), 50);
        drop(piece);
        assert_eq!(total.free.available_permits(), 100);
        // A frame that is larger than the budget has reserved less than its length.
        let mut frame = connection.try_reserve(1000).unwrap_or_default();
        drop(frame.split(1000));
        drop(frame.split(1000));
    }

    #[tokio::test]
    async fn handlers_wait_for_frames_that_exist() {
        let connection = budget(20_000, 1_000_000).connection();
        let held = connection.try_reserve(20_000).unwrap();
        let mut handlers: Vec<_> = (0..2).map(|_| Box::pin(connection.clone().turn())).collect();
        for handler in &mut handlers {
            assert!(handler.as_mut().now_or_never().is_none());
        }
        let mut frame = Box::pin(connection.clone().reserve(20_000));
        assert!(frame.as_mut().now_or_never().is_none());
        drop(held);
        let [first, second] = &mut *handlers else { panic!() };
        let started = first.as_mut().now_or_never();
        assert!(started.is_some());
        drop(started);
        // The second handler was behind the first one, the frame is in the queue before it.
        assert!(second.as_mut().now_or_never().is_none());
        assert!(frame.as_mut().now_or_never().is_some());
    }
}

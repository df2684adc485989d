//! The queue of those who wait for a slot of `concurrency`.
//!
//! Each subject has a queue of its own. In it, the clients take turns, and each client's requests are in order of their arrival. Only the waiter whose turn
//! it is tries to get a slot: it is woken when one is released. In a shared store, where other servers release slots, it also tries from time to
//! time. A waiter that leaves, for whatever reason, passes its turn on.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::config::error::{RateLimitError, checked};
use super::response::decision::Verdict;

/// How requests wait for a slot, for [`RateLimit::queue`](crate::RateLimit::queue).
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_chain::RateLimit;
/// use tower_chain::middleware::rate_limit::{LimitKey, SlotQueue};
///
/// // At most eight reports at once, of all clients. Others wait for up to 20 s: at most 4 of a client and 100 in total.
/// let reports = RateLimit::concurrent(8)
///     .key(LimitKey::everyone())
///     .queue(SlotQueue::new(Duration::from_secs(20)).per_client(4).overall(100));
/// # let _ = reports;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotQueue {
    pub(crate) longest: Duration,
    per_client: u32,
    overall: u32,
}

impl SlotQueue {
    /// A queue in which a request waits for up to this time.
    ///
    /// # Panics
    ///
    /// If [`try_new`](SlotQueue::try_new) fails.
    #[track_caller]
    pub fn new(longest_wait: Duration) -> Self {
        checked(Self::try_new(longest_wait))
    }

    /// A queue in which a request waits for up to a time that comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::ZeroTime`] if it is zero.
    pub fn try_new(longest_wait: Duration) -> Result<Self, RateLimitError> {
        if longest_wait.is_zero() {
            return Err(RateLimitError::ZeroTime("the longest wait for a slot"));
        }
        Ok(Self { longest: longest_wait.min(LONGEST_WAIT), per_client: 16, overall: 1024 })
    }

    /// Sets how many requests of a client may wait. Further ones are refused with 429. Defaults to 16.
    ///
    /// A client is an address, or a /64 of IPv6, whatever the [key](crate::RateLimit::key) of the limiter is. For
    /// [`SlotHandle::acquire`](super::SlotHandle::acquire), it is the subject.
    #[must_use]
    pub fn per_client(mut self, most: u32) -> Self {
        self.per_client = most;
        self
    }

    /// Sets how many requests of all clients may wait on this server. Further ones are refused with 503. Defaults to 1,024.
    #[must_use]
    pub fn overall(mut self, most: u32) -> Self {
        self.overall = most;
        self
    }
}

/// The queues of a limiter, by the key of the subject whose slots they wait for.
#[derive(Debug)]
pub(crate) struct SlotQueues {
    pub(crate) settings: SlotQueue,
    waiting: AtomicU32,
    state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    subjects: HashMap<u64, SubjectQueue>,
    /// How many requests of each client wait.
    clients: HashMap<u64, u32>,
    last: u64,
}

#[derive(Debug)]
struct SubjectQueue {
    /// The waiter that tries to get a slot.
    turn: Waiter,
    /// The clients whose waiters come next, in the order of their turns.
    order: VecDeque<u64>,
    waiters: HashMap<u64, VecDeque<Waiter>>,
}

#[derive(Clone, Debug)]
struct Waiter {
    number: u64,
    client: u64,
    wake: Arc<Notify>,
}

/// A waiter in the queue. Dropping it leaves the queue.
pub(crate) struct Ticket {
    queues: Arc<SlotQueues>,
    subject: u64,
    waiter: Waiter,
}

impl SlotQueues {
    pub(crate) fn new(settings: SlotQueue) -> Self {
        Self { settings, waiting: AtomicU32::new(0), state: Mutex::default() }
    }

    /// A slot of this subject was released.
    pub(crate) fn released(&self, subject: u64) {
        // The slot was released under the lock of its shard. A waiter that enters after this check finds it there.
        if self.waiting.load(Ordering::Acquire) > 0
            && let Some(queue) = self.lock().subjects.get(&subject)
        {
            queue.turn.wake.notify_one();
        }
    }

    /// The number of requests that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire) as usize
    }

    pub(crate) fn has_waiters(&self, subject: u64) -> bool {
        self.waiting.load(Ordering::Acquire) > 0 && self.lock().subjects.contains_key(&subject)
    }

    /// Enters the queue of a subject. `Err` is the verdict if it is full.
    pub(crate) fn enter(self: &Arc<Self>, subject: u64, client: u64) -> Result<Ticket, Verdict> {
        let mut state = self.lock();
        if state.clients.get(&client).is_some_and(|count| *count >= self.settings.per_client)
            || self.settings.per_client == 0
        {
            return Err(Verdict::Busy);
        }
        if self.waiting.load(Ordering::Acquire) >= self.settings.overall {
            return Err(Verdict::QueueFull);
        }
        state.last += 1;
        let waiter = Waiter { number: state.last, client, wake: Arc::default() };
        match state.subjects.get_mut(&subject) {
            None => {
                let turn = waiter.clone();
                let queue = SubjectQueue { turn, order: VecDeque::new(), waiters: HashMap::new() };
                state.subjects.insert(subject, queue);
            }
            Some(queue) => {
                let waiters = queue.waiters.entry(client).or_default();
                if waiters.is_empty() {
                    queue.order.push_back(client);
                }
                waiters.push_back(waiter.clone());
            }
        }
        *state.clients.entry(client).or_default() += 1;
        self.waiting.fetch_add(1, Ordering::AcqRel);
        drop(state);
        Ok(Ticket { queues: self.clone(), subject, waiter })
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SubjectQueue {
    /// The waiter whose turn is next: the first one of the next client, which then goes to the end. Other clients come before the one whose turn it was.
    fn next(&mut self) -> Option<Waiter> {
        if self.order.front() == Some(&self.turn.client) {
            self.order.rotate_left(1);
        }
        let client = self.order.pop_front()?;
        let waiters = self.waiters.get_mut(&client)?;
        let next = waiters.pop_front();
        match waiters.is_empty() {
            true => drop(self.waiters.remove(&client)),
            false => self.order.push_back(client),
        }
        next
    }

    fn remove(&mut self, &Waiter { client, number, .. }: &Waiter) {
        let Some(waiters) = self.waiters.get_mut(&client) else { return };
        waiters.retain(|waiter| waiter.number != number);
        if waiters.is_empty() {
            self.waiters.remove(&client);
            self.order.retain(|other| *other != client);
        }
    }
}

impl Ticket {
    pub(crate) fn has_turn(&self) -> bool {
        let state = self.queues.lock();
        let queue = state.subjects.get(&self.subject);
        queue.is_some_and(|queue| queue.turn.number == self.waiter.number)
    }

    /// Waits until this waiter is woken: because it is its turn, or because a slot was released.
    pub(crate) async fn woken(&self) {
        self.waiter.wake.notified().await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.queues.lock();
        if let Some(queue) = state.subjects.get_mut(&self.subject) {
            if queue.turn.number != self.waiter.number {
                queue.remove(&self.waiter);
            } else if let Some(next) = queue.next() {
                // It tries at once: more than one slot may be free.
                next.wake.notify_one();
                queue.turn = next;
            } else {
                state.subjects.remove(&self.subject);
            }
        }
        if let Some(count) = state.clients.get_mut(&self.waiter.client) {
            *count -= 1;
            if *count == 0 {
                state.clients.remove(&self.waiter.client);
            }
        }
        self.queues.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

//! The queue of those who wait for a slot of `concurrency`.
//!
//! Each subject has a queue of its own. In it, the clients take turns, and each client's requests are in order of their arrival. Only the waiter whose turn
//! it is tries to get a slot: it is woken when one is released. In a shared store, where other servers release slots, it also tries from time to
//! time. A waiter that leaves, for whatever reason, passes its turn on.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::checks::CheckPlan;
use super::limiter::Limiter;
use super::memory::gcra::{CheckKind, CheckOutcome, governed};
use super::response::decision::Verdict;
use super::shared::client::StoreClient;
use super::shared::store::StoreTurn;
use super::verdict::RequestOutcome;

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
    longest: Duration,
    per_client: u32,
    overall: u32,
}

impl SlotQueue {
    /// A queue in which a request waits for up to this time.
    pub fn new(longest_wait: Duration) -> Self {
        Self { longest: longest_wait.min(LONGEST_WAIT), per_client: 16, overall: 1024 }
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
    settings: SlotQueue,
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
struct Ticket {
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

    fn has_waiters(&self, subject: u64) -> bool {
        self.waiting.load(Ordering::Acquire) > 0 && self.lock().subjects.contains_key(&subject)
    }

    /// Enters the queue of a subject. `Err` is the verdict if it is full.
    fn enter(self: &Arc<Self>, subject: u64, client: u64) -> Result<Ticket, Verdict> {
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
    fn has_turn(&self) -> bool {
        let state = self.queues.lock();
        let queue = state.subjects.get(&self.subject);
        queue.is_some_and(|queue| queue.turn.number == self.waiter.number)
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

/// The place of this server in the line of a subject in the store, for the waiters of this server. The line is left when no one waits any more.
struct ServerInLine {
    store: Arc<StoreClient>,
    turn: StoreTurn,
    queues: Arc<SlotQueues>,
    subject: u64,
    is_in_line: bool,
}

impl Drop for ServerInLine {
    fn drop(&mut self) {
        if self.is_in_line && !self.queues.has_waiters(self.subject) {
            self.store.leave_line(self.turn.clone());
        }
    }
}

impl Limiter {
    /// Runs the checks of a plan, and waits for a slot if nothing else refuses the request. `client` is the client that takes turns with others.
    pub(crate) async fn decide_in_turn(
        self: &Arc<Self>,
        client: Option<u64>,
        plan: CheckPlan,
    ) -> RequestOutcome {
        let slot = plan.checks.iter().find(|check| matches!(check.kind, CheckKind::Slot { .. }));
        let (Some(queues), Some(subject)) = (&self.queues, slot.map(|slot| slot.key)) else {
            return self.run(plan).await;
        };
        // Without a runtime, no timer would end the wait.
        if self.settings.shadow || Handle::try_current().is_err() {
            return self.run(plan).await;
        }
        if !queues.has_waiters(subject) {
            let outcome = self.run(plan.clone()).await;
            if outcome.verdict != Verdict::Busy {
                return outcome;
            }
        }
        let deadline = Instant::now() + queues.settings.longest;
        // Dropped after the ticket.
        let mut server = self.server_in_line(queues, subject, &plan);
        let ticket = match queues.enter(subject, client.unwrap_or(subject)) {
            Ok(ticket) => ticket,
            Err(verdict) => return self.refuse_slot(plan, verdict),
        };
        let turn = self.wait_for_slot(&ticket, &plan, server.as_mut());
        match timeout_at(deadline, turn).await {
            Ok(outcome) => outcome,
            Err(_) => self.refuse_slot(plan, Verdict::Busy),
        }
    }

    async fn wait_for_slot(
        self: &Arc<Self>,
        ticket: &Ticket,
        plan: &CheckPlan,
        mut server: Option<&mut ServerInLine>,
    ) -> RequestOutcome {
        let mut pause = FIRST_PAUSE;
        loop {
            if !ticket.has_turn() {
                ticket.waiter.wake.notified().await;
                continue;
            }
            let attempt = CheckPlan { waits: true, ..plan.clone() };
            if let Some(server) = &mut server {
                server.is_in_line = true;
            }
            let outcome = self.run(attempt).await;
            if outcome.verdict != Verdict::Busy {
                if let (Verdict::Admitted, Some(server)) = (outcome.verdict, &mut server) {
                    // The store has removed it.
                    server.is_in_line = false;
                }
                return outcome;
            }
            // Another server may release a slot.
            let patience = if server.is_some() { pause } else { LONGEST_WAIT };
            pause = match timeout(patience, ticket.waiter.wake.notified()).await {
                Ok(()) => FIRST_PAUSE,
                Err(_) => (pause * 2).min(LONGEST_PAUSE),
            };
        }
    }

    fn server_in_line(
        self: &Arc<Self>,
        queues: &Arc<SlotQueues>,
        subject: u64,
        plan: &CheckPlan,
    ) -> Option<ServerInLine> {
        let store = self.shared_store()?.clone();
        let turn = store.turn(&plan.subjects.first()?.name, true);
        Some(ServerInLine { store, turn, queues: queues.clone(), subject, is_in_line: false })
    }

    /// The refusal of a request that gets no slot. The state of its quotas is that in the memory of this server.
    fn refuse_slot(self: &Arc<Self>, mut plan: CheckPlan, verdict: Verdict) -> RequestOutcome {
        let now = self.clock.now();
        for check in &mut plan.checks {
            check.until = self.memory.look(check.shard, check.key).0;
            check.outcome = match check.kind {
                CheckKind::Charge { rate, cost, further } => {
                    governed(rate, further, cost, check.until, now).0
                }
                CheckKind::Slot { .. } => CheckOutcome::Busy,
                CheckKind::NotBlocked => CheckOutcome::Admitted,
            };
        }
        let mut outcome = self.outcome(&mut plan, (false, now));
        if outcome.verdict == Verdict::Busy {
            outcome.verdict = verdict;
        }
        outcome
    }
}

/// How long the waiter whose turn it is waits between two calls of a shared store. The time doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

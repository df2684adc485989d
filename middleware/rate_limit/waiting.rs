//! How a request waits for a slot.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use super::checks::CheckPlan;
use super::limiter::Limiter;
use super::memory::gcra::{CheckKind, CheckOutcome, governed};
use super::queue::{LONGEST_WAIT, SlotQueues, Ticket};
use super::response::decision::Verdict;
use super::shared::client::StoreClient;
use super::shared::store::StoreTurn;
use super::verdict::RequestOutcome;

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
                ticket.woken().await;
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
            pause = match timeout(patience, ticket.woken()).await {
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

/// How long the waiter whose turn it is waits between two calls of a shared store. The time doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

//! The supervisor of a shared store: it probes an unreachable store, and sends what its limiters have in their outboxes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::health::{StoreHealth, StoreUser};

/// Starts the supervisor of a store, unless it runs, for this limiter and for those that were added before.
pub(crate) fn supervise(health: &Arc<StoreHealth>, client: &Arc<impl StoreUser + 'static>) {
    let Ok(runtime) = Handle::try_current() else { return };
    health.add(client);
    if !health.is_supervised.load(Ordering::Relaxed)
        && !health.is_supervised.swap(true, Ordering::AcqRel)
    {
        runtime.spawn(StoreSupervisor(Arc::downgrade(health)).run());
    }
}

/// The one task of a store, however many limiters use it. It ends when the store is reachable and all outboxes are empty.
struct StoreSupervisor(Weak<StoreHealth>);

impl StoreSupervisor {
    async fn run(self) {
        // How many probes in a row have succeeded while the breaker is open.
        let (mut answers, mut pause) = (0, PROBE_EVERY);
        loop {
            sleep(pause).await;
            let Some(health) = self.0.upgrade() else { return };
            let clients = health.clients();
            let Some(first) = clients.first() else { return };
            if !health.is_unreachable() {
                (answers, pause) = (0, PROBE_EVERY);
                send_updates(&clients).await;
                send_charges(&clients).await;
                if !health.is_unreachable() && clients.iter().all(|client| client.is_done()) {
                    return;
                }
                continue;
            }
            let answered = first.clone().probe().await;
            (answers, pause) = match answered {
                true => (answers + 1, PROBE_EVERY),
                false => (0, (pause * 2).min(PROBE_AT_LEAST_EVERY)),
            };
            // Each server sends first its released slots and refunds, then its charges, and only after that closes the breaker. When the first
            // request reaches the store again, the store knows what all servers have admitted.
            match answers {
                0 => {}
                1 => send_updates(&clients).await,
                2 if send_charges(&clients).await => {}
                2 => answers = 0,
                _ => {
                    health.close();
                    tracing::warn!("the shared store is reachable again");
                }
            }
        }
    }
}

/// The runtime may end while the store is unreachable. Then the next request calls the store, and starts a new supervisor if that fails.
impl Drop for StoreSupervisor {
    fn drop(&mut self) {
        if let Some(health) = self.0.upgrade() {
            if health.is_unreachable() {
                health.close();
            }
            health.is_supervised.store(false, Ordering::Release);
        }
    }
}

async fn send_updates(clients: &[Arc<dyn StoreUser>]) {
    join_all(clients.iter().map(|client| client.clone().send_updates())).await;
}

async fn send_charges(clients: &[Arc<dyn StoreUser>]) -> bool {
    let sent = clients.iter().map(|client| client.clone().send_charges());
    !join_all(sent).await.contains(&false)
}

/// The pause between two probes. It doubles while the store does not answer.
const PROBE_EVERY: Duration = Duration::from_millis(150);
const PROBE_AT_LEAST_EVERY: Duration = Duration::from_millis(300);

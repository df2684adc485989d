//! The slots in the shared store that the work on this server has.

use std::collections::HashMap;

use tokio::time::Instant;

use super::store::StoreSlot;

/// The slots that are renewed, by their identity.
#[derive(Default)]
pub(crate) struct RenewedSlots {
    pub(super) slots: HashMap<String, RenewedSlot>,
    /// Whether the task runs.
    pub(super) has_task: bool,
}

pub(super) struct RenewedSlot {
    pub(super) slot: StoreSlot,
    /// When it is renewed the next time.
    pub(super) due: Instant,
    /// Whether the store may contain it.
    pub(super) is_sent: bool,
}

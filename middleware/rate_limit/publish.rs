//! The numbers of a limiter in the facade `metrics`.

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, gauge};

use super::handle::RateLimitHandle;
use super::response::decision::Verdict;
use super::shared::report::StoreState;

impl RateLimitHandle {
    /// Publishes the numbers of this limiter in the facade [`metrics`], under the label `limiter`.
    ///
    /// Call it when the metrics are read, such as in the handler that a Prometheus server calls, or from time to time. A limiter whose numbers are not
    /// published does nothing for them. All counters start with the limiter and never decrease.
    ///
    /// | metric | kind | further labels | meaning |
    /// | --- | --- | --- | --- |
    /// | `rate_limit.decisions` | counter | `verdict`: `admitted`, `skipped`, `exceeded`, `too_costly`, `busy`, `blocked`, `unavailable`, `queue_full` | decisions, see [`totals`](RateLimitHandle::totals) |
    /// | `rate_limit.near_limit` | counter | | requests that were admitted when a fifth or less of a quota was left |
    /// | `rate_limit.refusals` | counter | `policy`, `shadow`: `true`, `false` | requests that a policy has refused, or would have refused without shadow mode |
    /// | `rate_limit.local_decisions` | counter | `policy` | requests that were decided without the shared store |
    /// | `rate_limit.overflows` | counter | `policy` | checks of clients that share a counter, because the memory was full |
    /// | `rate_limit.keys`, `rate_limit.max_keys` | gauge | | keys in the memory of this server, and the largest number of them |
    /// | `rate_limit.bytes` | gauge | | their size in bytes |
    /// | `rate_limit.waiting` | gauge | | requests in the [queue](crate::RateLimit::queue) |
    /// | `rate_limit.store.state` | gauge | `state`: `answering`, `late`, `unreachable` | 1 for the state of the shared store, and 0 for the others |
    /// | `rate_limit.store.answers` | counter | | calls of the store that were answered |
    /// | `rate_limit.store.late_answers` | counter | | how many of these were answered after the deadline |
    /// | `rate_limit.store.failures` | counter | | calls that failed |
    /// | `rate_limit.store.timeouts` | gauge | | calls that were not answered in time, and have not been answered since |
    /// | `rate_limit.store.latency_sum` | gauge | | how long all answers together have taken, in seconds: its increase divided by that of `answers` is the mean latency |
    ///
    /// The metrics of the store exist only with a [shared](crate::RateLimit::shared) store. No label contains a client.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, RateLimit};
    ///
    /// let limit = RateLimit::per_minute(60);
    /// let handle = limit.handle();
    /// let chain = Chain::new()
    ///     .at("/metrics", |c| {
    ///         c.get(move || {
    ///             handle.publish("api");
    ///             async { "what the exporter renders" }
    ///         })
    ///     })
    ///     .use_(limit)
    ///     .get(async || "hello");
    /// # let _ = chain.build();
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "telemetry")))]
    pub fn publish(&self, limiter: &str) {
        describe();
        let labels = |more: &[(&'static str, &str)]| {
            let all = std::iter::once(("limiter", limiter)).chain(more.iter().copied());
            all.map(|(key, value)| Label::new(key, value.to_owned())).collect::<Vec<_>>()
        };
        let count = |name: &'static str, more: &[(&'static str, &str)], value: u64| {
            counter!(name, labels(more)).absolute(value);
        };
        let set = |name: &'static str, more: &[(&'static str, &str)], value: f64| {
            gauge!(name, labels(more)).set(value);
        };
        let totals = self.totals();
        for (verdict, text) in VERDICTS {
            count(DECISIONS, &[("verdict", text)], totals.count(verdict));
        }
        count(NEAR_LIMIT, &[], totals.near_limit());
        for policy in &self.limiter.settings.policies {
            let Some(of_policy) = self.refusals(&policy.name) else { continue };
            let name = ("policy", &*policy.name);
            count(REFUSALS, &[name, ("shadow", "false")], of_policy.refused());
            count(REFUSALS, &[name, ("shadow", "true")], of_policy.shadowed());
            count(OVERFLOWS, &[name], of_policy.overflowed());
        }
        set(KEYS, &[], self.keys() as f64);
        set(MAX_KEYS, &[], self.max_keys() as f64);
        set(BYTES, &[], self.bytes() as f64);
        set(WAITING, &[], self.waiting() as f64);
        let Some(store) = self.store() else { return };
        for (policy, decisions) in &store.local_decisions {
            count(LOCAL_DECISIONS, &[("policy", policy)], *decisions);
        }
        for (state, text) in STATES {
            set(STATE, &[("state", text)], f64::from(u8::from(store.state == state)));
        }
        count(ANSWERS, &[], store.answered);
        count(LATE_ANSWERS, &[], store.late);
        count(FAILURES, &[], store.failed);
        set(TIMEOUTS, &[], store.unanswered as f64);
        set(LATENCY_SUM, &[], store.total_latency.as_secs_f64());
    }
}

fn describe() {
    describe_counter!(DECISIONS, Unit::Count, "Decisions of a rate limiter");
    describe_counter!(NEAR_LIMIT, Unit::Count, "Requests admitted near a limit");
    describe_counter!(REFUSALS, Unit::Count, "Requests that a policy has refused");
    describe_counter!(LOCAL_DECISIONS, Unit::Count, "Requests decided without the shared store");
    describe_counter!(OVERFLOWS, Unit::Count, "Checks of clients that share a counter");
    describe_gauge!(KEYS, Unit::Count, "Keys in memory");
    describe_gauge!(MAX_KEYS, Unit::Count, "The largest number of keys in memory");
    describe_gauge!(BYTES, Unit::Bytes, "The size of the keys in memory");
    describe_gauge!(WAITING, Unit::Count, "Requests that wait for a slot");
    describe_gauge!(STATE, "The state of the shared store");
    describe_counter!(ANSWERS, Unit::Count, "Calls of the shared store that were answered");
    describe_counter!(LATE_ANSWERS, Unit::Count, "Calls that were answered after the deadline");
    describe_counter!(FAILURES, Unit::Count, "Calls of the shared store that failed");
    describe_gauge!(TIMEOUTS, Unit::Count, "Calls of the shared store without an answer");
    describe_gauge!(LATENCY_SUM, Unit::Seconds, "How long all answers together have taken");
}

const VERDICTS: [(Verdict, &str); 8] = [
    (Verdict::Admitted, "admitted"),
    (Verdict::Skipped, "skipped"),
    (Verdict::Exceeded, "exceeded"),
    (Verdict::TooCostly, "too_costly"),
    (Verdict::Busy, "busy"),
    (Verdict::Blocked, "blocked"),
    (Verdict::Unavailable, "unavailable"),
    (Verdict::QueueFull, "queue_full"),
];
const STATES: [(StoreState, &str); 3] = [
    (StoreState::Answering, "answering"),
    (StoreState::Late, "late"),
    (StoreState::Unreachable, "unreachable"),
];
const DECISIONS: &str = "rate_limit.decisions";
const NEAR_LIMIT: &str = "rate_limit.near_limit";
const REFUSALS: &str = "rate_limit.refusals";
const LOCAL_DECISIONS: &str = "rate_limit.local_decisions";
const OVERFLOWS: &str = "rate_limit.overflows";
const KEYS: &str = "rate_limit.keys";
const MAX_KEYS: &str = "rate_limit.max_keys";
const BYTES: &str = "rate_limit.bytes";
const WAITING: &str = "rate_limit.waiting";
const STATE: &str = "rate_limit.store.state";
const ANSWERS: &str = "rate_limit.store.answers";
const LATE_ANSWERS: &str = "rate_limit.store.late_answers";
const FAILURES: &str = "rate_limit.store.failures";
const TIMEOUTS: &str = "rate_limit.store.timeouts";
const LATENCY_SUM: &str = "rate_limit.store.latency_sum";

//! The plan of a request: which steps may answer it, and where it ends if none does.
//!
//! When a chain is built, its steps are numbered in the order in which they are written. The end of each scope gets a number
//! as well, after the steps of the scope. A [`Plan`] lists some of these numbers. There is one plan for each pattern and
//! method; serving a request only looks it up (`routes.rs`). The steps read it (`step/around.rs`, `chain/table.rs` and
//! `step/end.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderValue, Method};

/// The decisions for all requests of one pattern and method.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The index of this plan in `Routes::plans`. A later pass has the index of the plan that it is made from.
    pub(crate) index: usize,
    /// The handlers that match. Middleware runs if it covers one of them.
    pub(crate) handlers: Handlers,
    /// The numbers of these handlers and of the scope ends that the request can reach, in ascending order. A path table uses
    /// them to choose the entry that the request enters. The last number is the scope end that answers if no handler does.
    pub(crate) stops: Box<[u32]>,
    /// Which answer that scope end gives.
    pub(crate) outcome: Outcome,
    /// The index of the hook that makes this answer. `None`: the default answer.
    pub(crate) hook: Option<usize>,
    /// The index of the pattern that matched. `None` if no pattern did.
    pub(crate) route: Option<usize>,
}

impl Plan {
    /// The plan of a later pass: every handler of `self` passed the request on, and `broader` is the plan of the next pattern that
    /// matches. `None` if the request has already reached all handlers of that plan.
    pub(crate) fn followed_by(&self, broader: &Self) -> Option<Self> {
        let mut done = match &self.handlers {
            Handlers::Later { done, .. } => done.to_vec(),
            _ => Vec::new(),
        };
        done.push(Pass { handlers: self.handlers.numbers().into(), stops: self.stops.clone() });
        let is_new = |step: &u32| !done.iter().any(|pass| pass.handlers.contains(step));
        let numbers: Box<[u32]> =
            broader.handlers.numbers().iter().copied().filter(is_new).collect();
        (!numbers.is_empty()).then(|| Self {
            handlers: Handlers::Later { numbers, done: done.into() },
            stops: broader.stops.clone(),
            outcome: broader.outcome.clone(),
            ..*broader
        })
    }
}

/// The numbers of the handlers that match a request, in ascending order.
#[derive(Debug)]
pub(crate) enum Handlers {
    One(u32),
    Several(Box<[u32]>),
    /// All handlers of the patterns before passed the request on. It runs through the chain once more, from within the end of the
    /// pass before. Middleware that ran in an earlier pass wraps this one, and doesn't run again.
    Later {
        numbers: Box<[u32]>,
        done: Box<[Pass]>,
    },
}

impl Handlers {
    pub(crate) fn new(numbers: Vec<u32>) -> Self {
        match *numbers {
            [number] => Self::One(number),
            _ => Self::Several(numbers.into()),
        }
    }

    pub(crate) fn numbers(&self) -> &[u32] {
        match self {
            Self::One(number) => std::slice::from_ref(number),
            Self::Several(numbers) | Self::Later { numbers, .. } => numbers,
        }
    }

    /// Whether a middleware that covers the handlers `low..=high` takes part. `ran_before`: whether it ran in an earlier pass, if that
    /// pass had one of these handlers.
    pub(crate) fn reach(&self, low: u32, high: u32, ran_before: impl FnOnce() -> bool) -> bool {
        let within = |step: &u32| low <= *step && *step <= high;
        match self {
            Self::One(step) => within(step),
            Self::Several(steps) => steps.iter().any(within),
            Self::Later { numbers, done } => {
                let ran =
                    || done.iter().any(|pass| pass.handlers.iter().any(within)) && ran_before();
                numbers.iter().any(within) && !ran()
            }
        }
    }

    /// Whether an `always` step takes part, by its number and the numbers of the first step and the end of its scope.
    pub(crate) fn reach_always(&self, first: u32, number: u32, end: u32) -> bool {
        let Self::Later { done, .. } = self else { return true };
        // It ran in an earlier pass that entered its scope and went on behind the step.
        !done.iter().any(|pass| {
            pass.stops.iter().any(|stop| first <= *stop && *stop <= end)
                && pass.stops.last().is_some_and(|last| *last > number)
        })
    }
}

/// A pass of a request through the chain, in which all handlers passed the request on.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    handlers: Box<[u32]>,
    stops: Box<[u32]>,
}

/// The path and the method by which a request was matched. Kept where a step needs them later: a prefix, or a further match after
/// all handlers of a pattern passed the request on. Middleware may have changed both in the request.
#[derive(Debug)]
pub(crate) struct Original {
    pub(crate) path: Box<str>,
    pub(crate) method: Method,
    /// The plan, if this is not the first pass of the request.
    pub(crate) later: Option<Plan>,
    /// Where the first pass keeps the route of the last one. `None` in the first pass.
    first: Option<Arc<Original>>,
    /// The route of the last pass, plus two; 1 if it has none, 0 if there was only one pass. Set in the first pass alone.
    last_route: AtomicUsize,
}

impl Original {
    pub(crate) fn new(path: Box<str>, method: Method) -> Self {
        Self { path, method, later: None, first: None, last_route: AtomicUsize::new(0) }
    }

    /// The state of the next pass, and its route for the steps of the passes before.
    pub(crate) fn followed_by(self: &Arc<Self>, plan: Plan) -> Self {
        let first = self.first.as_ref().unwrap_or(self);
        first.last_route.store(plan.route.map_or(1, |route| route + 2), Ordering::Relaxed);
        Self {
            later: Some(plan),
            first: Some(first.clone()),
            ..Self::new(self.path.clone(), self.method.clone())
        }
    }

    /// The route of the last pass: `None` if there was only one pass, `Some(None)` if the last one matched no pattern.
    pub(crate) fn last_route(&self) -> Option<Option<usize>> {
        let first = self.first.as_deref().unwrap_or(self);
        match first.last_route.load(Ordering::Relaxed) {
            0 => None,
            route => Some(route.checked_sub(2)),
        }
    }
}

/// The answer of the last scope end, which a request reaches only if no handler answers it.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Handlers match, but all of them passed the request on: the next pattern that matches answers, or 404.
    Found,
    /// No path matches: 404.
    NotFound,
    /// The path can't be decoded: 400.
    BadEncoding,
    /// The path matches, but not the method: 405 with this `Allow`. `allow` (`route/planner.rs`) makes the value, `End`
    /// (`step/end.rs`) sends it.
    NotAllowed(HeaderValue),
    /// The automatic answer to OPTIONS: 204 with this `Allow`.
    Options(HeaderValue),
}

/// The hooks that are in force at some point of a chain, as indexes of `Built::hooks`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hooks {
    pub(crate) no_match: Option<usize>,
    pub(crate) not_allowed: Option<usize>,
}

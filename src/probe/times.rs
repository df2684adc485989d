//! The time of each step, for middleware that reports it.

use std::time::Duration;

use super::record::{Recorded, Recording};
use crate::Response;
use crate::step::next::Next;
use crate::step::reach::Endpoint;

/// The time that a step took for a request, without the steps inside it. See [`Next::run_timed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTime<'a> {
    name: &'a str,
    time: Duration,
}

impl<'a> StepTime<'a> {
    /// The name of the step, as in the tree of the chain: `use Jwt<Member>`. `/` is the chain itself.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The time of the step, without the steps inside it.
    pub fn time(&self) -> Duration {
        self.time
    }
}

impl<'a, N: Endpoint> Next<'a, N> {
    /// Passes the request on like [`run`](Next::run), and also returns how long each of the steps after this one took, in the order in which
    /// they began. The first entry is the chain itself: the time between the steps.
    ///
    /// Waiting is attributed to the innermost step that waits. While such a request is in flight, each step of all other requests checks
    /// whether it belongs to that request, which takes some nanoseconds.
    pub async fn run_timed(self) -> (Response, Vec<StepTime<'a>>) {
        let routes = &self.cx().built.routes;
        let rest = async { self.run().await };
        let (response, recording) = Recorded::new(Recording::new(routes, None), rest).await;
        let taken = recording.iter().flat_map(|recording| recording.taken());
        let times = taken.map(|(site, taken)| StepTime {
            name: site.number().and_then(|step| routes.node(step)).map_or("/", |node| &node.text),
            time: taken.time,
        });
        (response, times.collect())
    }
}

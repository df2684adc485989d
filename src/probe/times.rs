//! The time of each step, for middleware that tells it.

use std::time::Duration;

use super::record::{Recorded, Recording};
use crate::Response;
use crate::step::next::{Endpoint, Next};

/// How long a step itself took for a request. See [`Next::run_timed`].
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

    /// How long the step itself took, without the steps inside of it.
    pub fn time(&self) -> Duration {
        self.time
    }
}

impl<'a, N: Endpoint> Next<'a, N> {
    /// Passes the request on as [`run`](Next::run) does, and tells how long each of the steps after this one took, in the order in which
    /// they began. The first one is the chain itself: what went by between the steps.
    ///
    /// Waiting belongs to the innermost step that waits. This request pays for it; while there is one in the program, each step of the
    /// others looks whether it is theirs, which takes some nanoseconds.
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

//! The result of a measurement: figures, a table and JSON.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::time::Duration;

use http::StatusCode;

use crate::probe::Site;
use crate::probe::record::{Recording, SiteCost};
use crate::route::listing::{Node, write_branch};

/// What the steps of a chain cost. Made by [`Overhead::run`](super::Overhead::run).
///
/// Its `Display` is a table.
#[derive(Clone, Debug)]
pub struct OverheadReport {
    request: String,
    statuses: Vec<(StatusCode, usize)>,
    lines: Vec<TreeLine>,
    steps: Vec<StepCost>,
    unprobed: Duration,
}

/// What a step costs a request: the median of all requests that reached it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepCost {
    name: String,
    path: String,
    nanos: f64,
    waited: Duration,
    allocations: Option<u64>,
    share: f64,
}

/// A line of the tree: a step, or a path with steps in it.
#[derive(Clone, Debug)]
pub(super) struct TreeLine {
    pub(super) depth: usize,
    pub(super) text: String,
    /// The index of the step, if it is one.
    pub(super) step: Option<usize>,
}

/// The measurements of all requests.
#[derive(Default)]
pub(super) struct Samples {
    statuses: Vec<(StatusCode, usize)>,
    unprobed: Vec<f64>,
    taken: HashMap<Site, Vec<SiteCost>>,
}

impl Samples {
    pub(super) fn add(&mut self, status: StatusCode, unprobed: Duration, recording: &Recording) {
        match self.statuses.iter_mut().find(|(other, _)| *other == status) {
            Some((_, count)) => *count += 1,
            None => self.statuses.push((status, 1)),
        }
        self.unprobed.push(unprobed.as_nanos() as f64);
        for (site, taken) in recording.taken().filter(|(_, taken)| taken.readings > 0) {
            self.taken.entry(site).or_default().push(taken);
        }
    }

    /// The medians of a site, over the requests that reached it.
    fn cost(&self, site: Site, reading: f64, counted: bool) -> Option<StepCost> {
        let taken = self.taken.get(&site)?;
        let medians =
            |of: &dyn Fn(&SiteCost) -> f64| median(&mut taken.iter().map(of).collect::<Vec<_>>());
        let nanos = |taken: &SiteCost| {
            (taken.time.as_nanos() as f64 - reading * f64::from(taken.readings)).max(0.0)
        };
        Some(StepCost {
            nanos: medians(&nanos),
            waited: nanoseconds(medians(&|taken| taken.waited.as_nanos() as f64)),
            allocations: counted.then(|| medians(&|taken| taken.allocations as f64) as u64),
            ..StepCost::default()
        })
    }
}

impl OverheadReport {
    /// `reading` is the time of one reading of the clock, in nanoseconds. It is subtracted for each reading.
    pub(super) fn new(
        request: String,
        tree: &[Node],
        mut samples: Samples,
        reading: f64,
        counted: bool,
    ) -> Self {
        let cost = |site| samples.cost(site, reading, counted);
        let costs: Vec<Option<StepCost>> =
            tree.iter().map(|node| cost(Site::step(node.step?))).collect();
        let chain = StepCost { name: "/".to_owned(), ..cost(Site::CHAIN).unwrap_or_default() };
        let mut steps = vec![chain];
        let mut lines = vec![TreeLine { depth: 0, text: "/".to_owned(), step: Some(0) }];
        // The paths that contain the current node.
        let mut paths: Vec<&str> = Vec::new();
        for (index, node) in tree.iter().enumerate() {
            paths.truncate(node.depth - 1);
            let after = &tree[index + 1..];
            let inside = after.iter().take_while(|inner| inner.depth > node.depth).count();
            let step = costs[index].clone().map(|cost| {
                steps.push(StepCost { name: node.text.clone(), path: paths.concat(), ..cost });
                steps.len() - 1
            });
            if costs[index..=index + inside].iter().any(Option::is_some) {
                lines.push(TreeLine { depth: node.depth, text: node.text.clone(), step });
            }
            paths.push(&node.text);
        }
        let whole: f64 = steps.iter().map(|step| step.nanos).sum();
        for step in &mut steps {
            // The total may be too short to measure.
            step.share = if whole > 0.0 { step.nanos / whole } else { 0.0 };
        }
        let unprobed = nanoseconds(median(&mut samples.unprobed));
        Self { request, statuses: samples.statuses, lines, steps, unprobed }
    }

    /// The steps that the requests reached, in the order of the chain. The first one, `/`, is the chain itself.
    pub fn steps(&self) -> &[StepCost] {
        &self.steps
    }

    /// The time of all steps together.
    pub fn total(&self) -> Duration {
        nanoseconds(self.steps.iter().map(|step| step.nanos).sum())
    }

    /// The allocations of all steps together. `None` if they were [not counted](super::Overhead::allocations).
    pub fn allocations(&self) -> Option<u64> {
        self.steps.iter().map(|step| step.allocations).sum()
    }

    /// The median time of a request, measured from outside without probes. [`total`](Self::total) should be close to it; if it is not, the
    /// probes themselves disturb the measurement.
    pub fn unprobed(&self) -> Duration {
        self.unprobed
    }

    /// Whether the program was compiled without optimizations, or with debug assertions. Its times then have no relation to those of a release
    /// build.
    pub fn is_debug_build(&self) -> bool {
        cfg!(debug_assertions)
    }

    /// How many responses had each status.
    pub fn statuses(&self) -> &[(StatusCode, usize)] {
        &self.statuses
    }

    /// Writes the report as a JSON object, with times in nanoseconds.
    ///
    /// ```json
    /// {"request": "GET /", "statuses": [{"status": 200, "requests": 1000}], "total_ns": 2400, "unprobed_ns": 2396, "debug_build": false,
    ///  "allocations": 8,
    ///  "steps": [{"name": "GET user", "path": "/users/{id}", "time_ns": 549, "waited_ns": 0, "share": 0.229, "allocations": 1}]}
    /// ```
    ///
    /// `allocations` is `null` where they were not counted.
    pub fn to_json(&self) -> String {
        let mut json = String::new();
        // Writing to a `String` never fails.
        let _ = self.write_json(&mut json);
        json
    }

    fn write_json(&self, to: &mut String) -> fmt::Result {
        let null = |count: Option<u64>| count.map_or("null".to_owned(), |count| count.to_string());
        write!(to, "{{\"request\": {}, \"statuses\": [", Quoted(&self.request))?;
        for (index, (status, requests)) in self.statuses.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let status = status.as_u16();
            write!(to, "{comma}{{\"status\": {status}, \"requests\": {requests}}}")?;
        }
        let (total, unprobed) = (self.total().as_nanos(), self.unprobed.as_nanos());
        let allocations = null(self.allocations());
        write!(to, "], \"total_ns\": {total}, \"unprobed_ns\": {unprobed}, ")?;
        write!(to, "\"debug_build\": {}, ", self.is_debug_build())?;
        write!(to, "\"allocations\": {allocations}, \"steps\": [")?;
        for (index, step) in self.steps.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let (name, path) = (Quoted(&step.name), Quoted(&step.path));
            let (time, waited) = (step.time().as_nanos(), step.waited.as_nanos());
            let allocations = null(step.allocations);
            write!(to, "{comma}{{\"name\": {name}, \"path\": {path}, \"time_ns\": {time}, ")?;
            write!(to, "\"waited_ns\": {waited}, \"share\": {:.6}, ", step.share)?;
            write!(to, "\"allocations\": {allocations}}}")?;
        }
        to.write_str("]}\n")
    }

    pub(super) fn title(&self) -> String {
        let count = |&(status, requests): &(StatusCode, usize)| match self.statuses.len() {
            1 => status.as_u16().to_string(),
            _ => format!("{} ({requests} times)", status.as_u16()),
        };
        let statuses: Vec<String> = self.statuses.iter().map(count).collect();
        let requests: usize = self.statuses.iter().map(|(_, requests)| requests).sum();
        format!("{} answers {}, median of {requests} requests", self.request, statuses.join(", "))
    }

    /// The lines of the tree with their branches, and the cost of each.
    pub(super) fn tree(&self) -> impl Iterator<Item = (String, Option<&StepCost>)> {
        self.lines.iter().enumerate().map(|(index, line)| {
            let mut label = String::new();
            let _ = write_branch(&mut label, self.lines[index..].iter().map(|line| line.depth));
            label.push_str(&line.text);
            (label, line.step.map(|step| &self.steps[step]))
        })
    }
}

impl StepCost {
    /// The name of the step, as in the tree of the chain: `use Jwt<Member>`. `/` is the chain itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path that contains the step, such as `/users/{id}`. Empty in the outermost chain.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How long the step itself took, without the steps inside it. Zero if it is below the noise of the measurement.
    pub fn time(&self) -> Duration {
        nanoseconds(self.nanos)
    }

    /// The time as text. A step whose time is not longer than the readings of the clock around it is not measured.
    pub(super) fn shown_time(&self) -> String {
        if self.nanos > 0.0 { micros(self.time()) } else { "below noise".to_owned() }
    }

    /// The part of [`time`](Self::time) in which the step waited.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// How many allocations the step itself made. `None` if they were [not counted](super::Overhead::allocations).
    pub fn allocations(&self) -> Option<u64> {
        self.allocations
    }

    /// The share of the step in the total time, from 0 to 1. The shares of all steps add up to 1.
    pub fn share(&self) -> f64 {
        self.share
    }
}

impl fmt::Display for OverheadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WHOLE: &str = "total";
        const UNPROBED: &str = "without probes";
        let counted = self.allocations().is_some();
        let waits = self.steps.iter().any(|step| step.waited > Duration::ZERO);
        let lines: Vec<_> = self.tree().collect();
        let width = lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        let width = width.max(UNPROBED.len());
        let mut line = |label: &str, time: &str, waited: &str, share: &str, allocations: &str| {
            let mut line = format!("{label:width$} {time:>14}");
            if waits {
                let _ = write!(line, " {waited:>14}");
            }
            let _ = write!(line, " {share:>7}");
            if counted {
                let _ = write!(line, " {allocations:>12}");
            }
            writeln!(f, "{}", line.trim_end_matches(' '))
        };
        line(&self.title(), "", "", "", "")?;
        line("", "", "", "", "")?;
        line("step", "time", "waiting", "share", "allocations")?;
        let count = |count: Option<u64>| count.map_or(String::new(), |count| count.to_string());
        for (label, step) in &lines {
            let Some(step) = step else {
                line(label, "", "", "", "")?;
                continue;
            };
            let (time, waited) = (step.shown_time(), micros(step.waited));
            line(label, &time, &waited, &percent(step.share), &count(step.allocations))?;
        }
        let waited = micros(self.steps.iter().map(|step| step.waited).sum());
        let whole = micros(self.total());
        line(WHOLE, &whole, &waited, &percent(1.0), &count(self.allocations()))?;
        line(UNPROBED, &micros(self.unprobed), "", "", "")?;
        if self.is_debug_build() {
            writeln!(f, "\n{DEBUG_BUILD}")?;
        }
        Ok(())
    }
}

pub(super) const DEBUG_BUILD: &str =
    "This is a debug build: measure a release build instead, with `cargo run --release`.";

pub(super) fn micros(time: Duration) -> String {
    format!("{:.3} µs", time.as_nanos() as f64 / 1e3)
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `0` without values.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn nanoseconds(nanos: f64) -> Duration {
    Duration::from_nanos(nanos.round() as u64)
}

/// A JSON string (RFC 8259, 7).
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

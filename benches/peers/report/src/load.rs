//! Measures each peer under load, in rounds, so disturbances of the machine affect all peers.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use crate::Result;
use crate::check::{TOKEN, USER, head_size};
use crate::options::Options;
use crate::peers::{Job, Peer};
use crate::server::{NO_LIMIT, Server, Usage};

/// The cost of one job for one peer.
pub struct Load {
    pub peer: &'static Peer,
    pub job: Job,
    /// CPU time per request of each round, in microseconds, in order of size.
    rounds: Vec<f64>,
    /// Requests per second of each round, in order of size.
    rates: Vec<f64>,
    /// The part of the CPU time that isn't the kernel's, over all rounds.
    user_share: f64,
    /// The peak resident memory, in KiB.
    pub memory: u64,
    /// The size of the response's head, in bytes.
    pub head: usize,
}

impl Load {
    /// CPU time per request, user and system, in microseconds: the minimum of the rounds, because disturbances only add time.
    pub fn total(&self) -> f64 {
        self.rounds[0]
    }

    pub fn user(&self) -> f64 {
        self.total() * self.user_share
    }

    pub fn median(&self) -> f64 {
        median(&self.rounds)
    }

    pub fn most(&self) -> f64 {
        self.rounds[self.rounds.len() - 1]
    }

    pub fn rate(&self) -> f64 {
        self.rates[self.rates.len() - 1]
    }
}

/// Returns the median of sorted figures; for an even number of them, the mean of the middle two.
pub fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    let below = (sorted.len() - 1) / 2;
    (sorted[below] + sorted[middle]) / 2.0
}

pub fn all(options: &Options) -> Result<Vec<Load>> {
    let mut loads = Vec::new();
    for &job in &options.jobs {
        loads.extend(one_job(options, job)?);
    }
    Ok(loads)
}

fn one_job(options: &Options, job: Job) -> Result<Vec<Load>> {
    let script = script(job)?;
    let mut running = Vec::new();
    for &peer in options.peers.iter().filter(|peer| peer.has(job)) {
        let server = Server::start(peer, job, NO_LIMIT)?;
        let head = head_size(job, server.addr)?;
        let rounds = Vec::with_capacity(options.rounds);
        let rates = rounds.clone();
        running.push((
            server,
            Usage::default(),
            Load { peer, job, rounds, rates, user_share: 0.0, memory: 0, head },
        ));
    }
    // The first round warms up.
    for round in 0..=options.rounds {
        eprintln!("{}: round {round} of {}", job.name(), options.rounds);
        for (server, used, load) in &mut running {
            let before = server.usage()?;
            let (requests, rate) = wrk(options, server.addr, job, &script, "1")
                .map_err(|error| format!("{}, {}: {error}", load.peer.id, job.name()))?;
            let after = server.usage()?;
            if round > 0 {
                load.rounds.push((after.cpu - before.cpu) as f64 / 1e3 / requests as f64);
                load.rates.push(rate);
                used.user += after.user - before.user;
                used.system += after.system - before.system;
            }
        }
    }
    let mut loads = Vec::with_capacity(running.len());
    for (server, used, mut load) in running {
        load.rounds.sort_by(f64::total_cmp);
        load.rates.sort_by(f64::total_cmp);
        load.user_share = used.user as f64 / (used.user + used.system).max(1) as f64;
        load.memory = server.memory("VmHWM")?;
        loads.push(load);
    }
    Ok(loads)
}

/// The request that the load generator sends.
pub fn script(job: Job) -> Result<std::path::PathBuf> {
    let path =
        std::env::temp_dir().join(format!("peers-{}-{}.lua", job.name(), std::process::id()));
    let authorization = format!("wrk.headers[\"Authorization\"] = \"Bearer {TOKEN}\"\n");
    let lines = match job {
        Job::Bare | Job::Pass4 | Job::Pass16 => String::new(),
        Job::Jwt => authorization,
        Job::Post => format!(
            "{authorization}wrk.headers[\"Content-Type\"] = \"application/json\"\n\
             wrk.method = \"POST\"\nwrk.body = '{USER}'\n"
        ),
    };
    fs::write(&path, lines)?;
    Ok(path)
}

/// Runs the load generator, and returns the number of requests, and of those per second. All must succeed.
pub fn wrk(
    options: &Options,
    addr: SocketAddr,
    job: Job,
    script: &std::path::Path,
    core: &str,
) -> Result<(u64, f64)> {
    let path = match job {
        Job::Bare | Job::Pass4 | Job::Pass16 => "/hello",
        Job::Jwt => "/me",
        Job::Post => "/api/users",
    };
    let output = Command::new("taskset")
        .args(["-c", core, "timeout", "-k", "1", "120", "wrk", "--threads", "1"])
        .args(["--connections", &options.connections.to_string()])
        .args(["--duration", &format!("{}s", options.seconds)])
        .arg("--script")
        .arg(script)
        .arg(format!("http://{addr}{path}"))
        .output()
        .map_err(|error| format!("wrk doesn't run, is it installed? {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || text.contains("Socket errors") || !output.status.success() {
        return Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    match (requests, rate) {
        (Some((requests, _)), Some(rate)) => Ok((requests.parse()?, rate.trim().parse()?)),
        _ => Err(format!("wrk says something else: {text}").into()),
    }
}

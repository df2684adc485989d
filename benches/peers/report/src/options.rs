//! The command line.

use std::path::PathBuf;

use crate::Result;
use crate::growth::{PARTS, Part};
use crate::peers::{JOBS, Job, PEERS, Peer};

pub const HELP: &str = "\
report [OPTIONS]           measures the peers, and what can be counted; writes benches/RESULTS.md
report growth [OPTIONS]    measures memory per connection, two cores, build time and size
report plots               redraws the plots from the tables of benches/RESULTS.md

  --peers A,B       only these peers (default: all)
  --jobs A,B        only these jobs of bare, pass4, pass16, jwt, post (default: all)
  --rounds N        so many rounds, after one to warm up (default: 5)
  --seconds S       so long is each peer under load in each round (default: 1)
  --connections N   of the load generator (default: 64)
  --no-build        takes the programs as they are
  --no-counts       leaves out what is measured in process
  --check-only      only looks whether all answer alike
  --parts A,B       growth: only these of connections, cores, builds, application (default: all)
  --quick           growth: few connections, few and debug builds";

pub struct Options {
    pub growth: bool,
    pub plots: bool,
    pub peers: Vec<&'static Peer>,
    pub jobs: Vec<Job>,
    pub rounds: usize,
    pub seconds: u64,
    pub connections: usize,
    pub build: bool,
    pub counts: bool,
    pub check_only: bool,
    pub quick: bool,
    pub parts: Vec<Part>,
    /// The command, for the report.
    pub command: String,
}

impl Options {
    /// `None` for `--help`.
    pub fn read() -> Result<Option<Self>> {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let mut options = Self {
            growth: false,
            plots: false,
            peers: PEERS.iter().collect(),
            jobs: JOBS.to_vec(),
            rounds: 5,
            seconds: 1,
            connections: 64,
            build: true,
            counts: true,
            check_only: false,
            quick: false,
            parts: PARTS.to_vec(),
            command: format!("cargo run --release -p report -- {}", args.join(" ")),
        };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} takes a value"));
            match arg.as_str() {
                "growth" => options.growth = true,
                "plots" => options.plots = true,
                "--peers" => {
                    let find = |id: &str| {
                        let peer = PEERS.iter().find(|peer| peer.id == id);
                        peer.ok_or(format!("no peer is called {id:?}"))
                    };
                    options.peers = value()?.split(',').map(find).collect::<Result<_, _>>()?;
                }
                "--jobs" => {
                    let find = |name: &str| {
                        let job = JOBS.into_iter().find(|job| job.name() == name);
                        job.ok_or(format!("no job is called {name:?}"))
                    };
                    options.jobs = value()?.split(',').map(find).collect::<Result<_, _>>()?;
                }
                "--parts" => {
                    let find = |name: &str| {
                        let part = PARTS.into_iter().find(|part| part.name() == name);
                        part.ok_or(format!("no part is called {name:?}"))
                    };
                    options.parts = value()?.split(',').map(find).collect::<Result<_, _>>()?;
                }
                "--rounds" => options.rounds = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--connections" => options.connections = value()?.parse()?,
                "--no-build" => options.build = false,
                "--no-counts" => options.counts = false,
                "--check-only" => options.check_only = true,
                "--quick" => options.quick = true,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("{arg:?} is no option\n\n{HELP}").into()),
            }
        }
        if options.rounds == 0 || options.seconds == 0 {
            return Err("at least one round, of at least a second".into());
        }
        Ok(Some(options))
    }
}

/// The folder of this workspace.
pub fn workspace() -> PathBuf {
    let report = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    report.parent().map(PathBuf::from).unwrap_or(report)
}

/// The folder in which cargo put this program, and the others.
pub fn programs() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().ok_or("the program stands nowhere")?.to_path_buf())
}

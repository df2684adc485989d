//! What a request takes in process: the benchmarks of the main package, run and read.

use std::collections::HashMap;
use std::process::Command;

use crate::Result;
use crate::options::{Options, programs};

/// Instructions, allocations and bytes.
pub type Count = (u64, u64, u64);

pub struct Counts {
    /// By group and case.
    counts: HashMap<(String, String), Count>,
    /// In nanoseconds, by group and case.
    times: HashMap<(String, String), f64>,
    /// The lines of the benchmark `jwt`.
    pub jwt: Vec<String>,
    /// How many crates the chain and each feature need.
    pub crates: Vec<(String, usize)>,
}

impl Counts {
    pub fn count(&self, group: &str, case: &str) -> Option<Count> {
        self.counts.get(&(group.to_owned(), case.to_owned())).copied()
    }

    pub fn time(&self, group: &str, case: &str) -> Option<f64> {
        self.times.get(&(group.to_owned(), case.to_owned())).copied()
    }

    /// A figure of the benchmark `jwt`: what stands between these words in the line of an algorithm.
    pub fn jwt(&self, algorithm: &str, before: &str, after: &str) -> Option<f64> {
        let line = self.jwt.iter().find(|line| line.starts_with(&format!("jwt/{algorithm}:")))?;
        line.split_once(before)?.1.split_once(after)?.0.trim().parse().ok()
    }
}

pub fn run(_: &Options) -> Result<Counts> {
    let mut counts = HashMap::new();
    for filter in COUNTED {
        eprintln!("counting {filter}");
        for line in lines("counts", &[filter])? {
            let fields: Vec<_> = line.split('|').map(str::trim).collect();
            if let ["", group, case, instructions, allocations, bytes, ""] = fields[..]
                && let Ok(instructions) = instructions.parse()
            {
                let count = (instructions, allocations.parse()?, bytes.parse()?);
                counts.insert((group.to_owned(), case.to_owned()), count);
            }
        }
    }
    eprintln!("timing in process");
    let mut times = HashMap::new();
    for line in lines("times", &TIMED)? {
        let fields: Vec<_> = line.split('|').map(str::trim).collect();
        if let ["", group, case, time, ""] = fields[..] {
            times.insert((group.to_owned(), case.to_owned()), time.parse()?);
        }
    }
    let jwt = lines("jwt", &[])?;
    Ok(Counts { counts, times, jwt, crates: crates()? })
}

/// Whatever holds one of these is counted.
const COUNTED: [&str; 8] =
    ["whole job", "steps/bare", "steps/chain", "x 8", "x 16", "x 100", "one of 10", "validation"];

/// Whatever holds one of these is timed.
const TIMED: [&str; 8] =
    ["whole job", "bare handler", "chain of 0", "x 8", "x 16", "x 100", "one of 10", "validation"];

fn lines(program: &str, args: &[&str]) -> Result<Vec<String>> {
    let output = Command::new("taskset")
        .args(["-c", "0"])
        .arg(programs()?.join(program))
        .args(args)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {args:?}: {}\n{text}{error}", output.status).into());
    }
    Ok(text.lines().map(str::to_owned).collect())
}

fn crates() -> Result<Vec<(String, usize)>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../Cargo.toml");
    let mut crates = Vec::new();
    for features in ["", "full"] {
        let mut args = vec!["tree", "--manifest-path", manifest, "--edges", "normal,build"];
        args.extend(["--prefix", "none", "--no-dedupe", "--features", features]);
        let tree = crate::machine::output("cargo", &args)?;
        let mut names: Vec<_> =
            tree.lines().map(|line| line.split(" (").next().unwrap_or(line)).collect();
        names.sort_unstable();
        names.dedup();
        // The project itself is one of them.
        let name =
            if features.is_empty() { "no feature".to_owned() } else { format!("`{features}`") };
        crates.push((name, names.len().saturating_sub(1)));
    }
    Ok(crates)
}

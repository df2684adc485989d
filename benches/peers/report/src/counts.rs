//! The cost of a request in process: runs the benchmarks of the main package, and the whole job without it, and parses their output.

use std::path::PathBuf;
use std::process::Command;

use crate::Result;
use crate::options::{programs, workspace};
use crate::peers::build_package;

/// Instructions, allocations and bytes.
pub type Count = (u64, u64, u64);

pub struct Counts {
    /// By group and case, in the order of the benchmark.
    counts: Vec<(Case, Count)>,
    /// The steps, with an allocator that caches all freed blocks.
    at_hand: Vec<(Case, Count)>,
    /// In nanoseconds.
    times: Vec<(Case, f64)>,
    /// The lines of the benchmark `jwt`.
    pub jwt: Vec<String>,
    /// The instructions by crate of the whole job: by hand and on axum, both without this crate, and in a chain.
    pub profile: Vec<(String, [u64; 3])>,
    /// How many crates the chain and each feature need.
    pub crates: Vec<(String, usize)>,
}

type Case = (String, String);

impl Counts {
    pub fn count(&self, group: &str, case: &str) -> Option<Count> {
        find(&self.counts, group, case)
    }

    /// The instructions of this number of steps, with an allocator that caches all freed blocks.
    pub fn at_hand(&self, case: &str) -> Option<f64> {
        find(&self.at_hand, "steps", case).map(|count| count.0 as f64)
    }

    pub fn time(&self, group: &str, case: &str) -> Option<f64> {
        find(&self.times, group, case)
    }

    pub fn cases<'a>(&'a self, group: &str) -> impl Iterator<Item = &'a str> {
        let counts = self.counts.iter().filter(move |((of, _), _)| of == group);
        counts.map(|((_, case), _)| case.as_str())
    }

    /// The results of the benchmark `jwt` for an algorithm, in nanoseconds.
    pub fn jwt(&self, algorithm: &str) -> Option<Jwt> {
        let line = self.jwt.iter().find_map(|line| line.strip_prefix(algorithm))?;
        let figure = |name: &str| {
            let figure = line.split_once(name)?.1.split_once(" ns")?.0;
            figure.trim().parse().ok()
        };
        let (verify, hit) = (figure(":")?, figure("hit")?);
        Some(Jwt { verify, hit, library: figure("library")?, bare: figure("bare")? })
    }
}

pub struct Jwt {
    pub verify: f64,
    /// The same, from the cache.
    pub hit: f64,
    pub library: f64,
    /// The check of the signature alone, with a prepared key.
    pub bare: f64,
}

fn find<T: Copy>(all: &[(Case, T)], group: &str, case: &str) -> Option<T> {
    let found = all.iter().find(|((of, name), _)| of == group && name == case);
    found.map(|(_, figure)| *figure)
}

/// Builds the programs that count and time.
pub fn build() -> Result<()> {
    ["in-process", "alone"].into_iter().try_for_each(build_package)
}

pub fn run() -> Result<Counts> {
    eprintln!("counting in process");
    let program = programs()?.join("counts");
    let mut table = lines(&mut Command::new(programs()?.join("alone-counts")))?;
    for filter in COUNTED {
        table.extend(lines(Command::new(&program).arg(filter))?);
    }
    let counts = counted(table)?;
    let at_hand = counted(lines(Command::new(&program).arg("steps").env(TUNABLES, AT_HAND))?)?;
    eprintln!("timing in process");
    let mut times = times("times", &TIMED)?;
    times.extend(in_turns(&counts)?);
    // No criterion benchmark has this name, so only the program's own lines remain.
    let jwt = lines(on_core_0(programs()?.join("jwt")).arg("no benchmark"))?;
    Ok(Counts { counts, at_hand, times, jwt, profile: profile()?, crates: crates()? })
}

fn counted(table: Vec<String>) -> Result<Vec<(Case, Count)>> {
    let mut counts = Vec::new();
    for line in table {
        let fields: Vec<_> = line.split('|').map(str::trim).collect();
        if let ["", group, case, instructions, allocations, bytes, ""] = fields[..]
            && let Ok(instructions) = instructions.parse()
        {
            let count = (instructions, allocations.parse()?, bytes.parse()?);
            counts.push(((group.to_owned(), case.to_owned()), count));
        }
    }
    Ok(counts)
}

/// Returns the minimum of several runs of each case of the whole job. The cases are in two programs, so each run is of one case, and the cases alternate.
fn in_turns(counts: &[(Case, Count)]) -> Result<Vec<(Case, f64)>> {
    let cases = counts.iter().map(|(case, _)| case).filter(|(group, _)| group == "whole job");
    let mut least: Vec<_> = cases.map(|case| (case.clone(), f64::MAX)).collect();
    for _ in 0..TURNS {
        for ((group, case), least) in &mut least {
            let program = if ALONE.contains(&&**case) { "alone-times" } else { "times" };
            for (_, time) in times(program, &[&format!("| {group} | {case} |")])? {
                *least = least.min(time);
            }
        }
    }
    Ok(least)
}

fn times(program: &str, filters: &[&str]) -> Result<Vec<(Case, f64)>> {
    let mut times = Vec::new();
    for line in lines(on_core_0(programs()?.join(program)).args(filters))? {
        let fields: Vec<_> = line.split('|').map(str::trim).collect();
        if let ["", group, case, time, ""] = fields[..] {
            times.push(((group.to_owned(), case.to_owned()), time.parse()?));
        }
    }
    Ok(times)
}

fn profile() -> Result<Vec<(String, [u64; 3])>> {
    let mut crates: Vec<(String, [u64; 3])> = Vec::new();
    for (column, (package, program, case)) in PROFILED.into_iter().enumerate() {
        let mut cargo = Command::new("cargo");
        cargo.args(["run", "--quiet", "--profile", "counts", "--package", package]);
        cargo.args(["--bin", program, "--", "--profile", case]).current_dir(workspace());
        for line in lines(&mut cargo)? {
            let fields: Vec<_> = line.split('|').map(str::trim).collect();
            let ["", name, instructions, ""] = fields[..] else { continue };
            let Ok(instructions) = instructions.parse() else { continue };
            let at = crates.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                crates.push((name.to_owned(), [0; 3]));
                crates.len() - 1
            });
            crates[at].1[column] = instructions;
        }
    }
    Ok(crates)
}

/// The suffix of the cases of `alone` that are built with this crate.
pub const WITH_OUR_REGEX: &str = ", with this crate's regex";

/// The cases of the package `alone`.
const ALONE: [&str; 2] = ["by hand", "axum"];

/// The number of runs of each case of the whole job.
const TURNS: usize = 20;

/// The allocator of the GNU C library caches seven free blocks of each size. A hundred steps have more boxes than that, and the others use its slow path.
const TUNABLES: &str = "GLIBC_TUNABLES";
const AT_HAND: &str = "glibc.malloc.tcache_count=100";

/// Package, program and case.
const PROFILED: [(&str, &str, &str); 3] = [
    ("alone", "alone-counts", "whole job/by hand"),
    ("alone", "alone-counts", "whole job/axum"),
    ("in-process", "counts", "whole job/chain"),
];

/// Cases whose name contains one of these are counted. Only one of the large path tables is, because they are slow under valgrind.
const COUNTED: [&str; 4] = ["steps", "whole job", "built-ins", "static, one of 10"];

/// Cases whose name contains one of these are timed, in addition to the whole job.
const TIMED: [&str; 7] =
    ["bare handler", "chain of 0", "x 8", "x 16", "x 100", "one of 10", "built-ins"];

fn on_core_0(program: PathBuf) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program);
    command
}

fn lines(command: &mut Command) -> Result<Vec<String>> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}\n{text}{error}", output.status).into());
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
        // The crate itself is one of them.
        let name =
            if features.is_empty() { "no feature".to_owned() } else { format!("`{features}`") };
        crates.push((name, names.len().saturating_sub(1)));
    }
    Ok(crates)
}

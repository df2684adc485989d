//! The machine and the tools of a measurement.

use std::fs;
use std::process::Command;

use crate::Result;
use crate::options::{Options, workspace};
use crate::peers::Program;

/// A table of the machine, the tools and the versions of the peers.
pub fn describe(options: &Options) -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut rows = vec![
        ("command", format!("`{}`, in `benches/peers`", options.command.trim_end_matches(" -- "))),
        ("day", output("date", &["-u", "+%Y-%m-%d"])?),
        ("CPU", format!("{}, {cores} cores", model.map_or("unknown", |(_, name)| name))),
        ("kernel", format!("Linux {}", kernel.split('-').next().unwrap_or_default().trim())),
        ("load of the machine at the end", load()?),
        ("Rust", output("rustc", &["--version"])?),
        ("profile", PROFILE.to_owned()),
        ("wrk", wrk_version()?),
    ];
    if options.peers.iter().any(|peer| peer.is_node()) {
        rows.push(("Node.js", output("node", &["--version"])?));
    }
    let lock = fs::read_to_string(workspace().join("Cargo.lock"))?;
    let mut peers = Vec::new();
    for peer in options.peers.iter().filter(|peer| peer.variant.is_empty()) {
        let version = match peer.program {
            Program::Rust(_) => locked(&lock, peer.package),
            Program::Node(_) => installed(peer.package),
        };
        peers.push(format!("{} {}", peer.package, version.unwrap_or_default()));
    }
    let rows: String = rows.iter().map(|(key, value)| format!("| {key} | {value} |\n")).collect();
    Ok(format!("| | |\n| --- | --- |\n{rows}| versions | {} |\n", peers.join(", ")))
}

const PROFILE: &str =
    "release, fat LTO, one codegen unit, the system's allocator; each peer built by itself";

/// The CPU time of all programs that this one has run and waited for, in seconds (proc_pid_stat(5): `cutime` and `cstime`).
pub fn time_of_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    let ticks = fields.skip(13).take(2).map(str::parse::<f64>).sum::<std::result::Result<f64, _>>();
    // The kernel reports hundredths of a second to programs on every architecture that Rust supports.
    Ok(ticks? / 100.0)
}

/// The load average of the last minute.
pub fn load() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').next().unwrap_or_default().to_owned())
}

pub fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn wrk_version() -> Result<String> {
    let text = output("wrk", &["--version"])?;
    Ok(text.split(" [").next().unwrap_or_default().to_owned())
}

fn locked(lock: &str, package: &str) -> Option<String> {
    // There may be several versions: the newest is the peer, older ones are dependencies of others.
    let start = format!("name = \"{package}\"\nversion = \"");
    let versions = lock.split(&start).skip(1).filter_map(|rest| rest.split('"').next());
    versions.last().map(str::to_owned)
}

fn installed(package: &str) -> Option<String> {
    let manifest = workspace().join("node/node_modules").join(package).join("package.json");
    let manifest = fs::read_to_string(manifest).ok()?;
    let version = manifest.split("\"version\":").nth(1)?.split('"').nth(1)?;
    Some(version.to_owned())
}

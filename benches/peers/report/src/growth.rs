//! Growth: memory with connections, throughput with cores, and build time with steps and paths.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::document::replace;
use crate::load::{median, script, wrk};
use crate::options::{Options, workspace};
use crate::peers::{Job, PEERS, Peer, build, run as run_command};
use crate::server::{NO_LIMIT, Server};
use crate::{Result, machine};

pub fn run(options: &Options) -> Result<()> {
    let peers: Vec<_> = PEERS.iter().filter(|peer| MEASURED.contains(&peer.id)).collect();
    if options.build {
        build(&peers)?;
    }
    for part in &options.parts {
        let text = match part {
            Part::Connections => connections_table(options, &peers)?,
            Part::Cores => cores_table(options, &peers)?,
            Part::Builds => builds_table(options)?,
            Part::Application => crate::application::table(options)?,
        };
        let day = machine::output("date", &["-u", "+%Y-%m-%d"])?;
        let load = machine::load()?;
        let command = &options.command;
        let text = format!(
            "{text}\n`{command}`, in `benches/peers`, {day}; load of the machine at the end: {load}.\n"
        );
        replace(&[(part.name(), text)])?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
pub enum Part {
    Connections,
    Cores,
    Builds,
    Application,
}

pub const PARTS: [Part; 4] = [Part::Connections, Part::Cores, Part::Builds, Part::Application];

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Cores => "cores",
            Self::Builds => "builds",
            Self::Application => "application",
        }
    }
}

const MEASURED: [&str; 3] = ["hyper", "tower-chain", "axum"];

/// Measures the server's memory per connection: before any data, and after a response.
fn connections_table(options: &Options, peers: &[&Peer]) -> Result<String> {
    let number = if options.quick { 1_000 } else { 10_000 };
    let mut table = format!(
        "{number} connections over loopback to one process. Idle: open, without data. Active: kept open after a response to `GET /hello`. The figures \
         are KiB of resident memory of the server per connection, without the kernel's memory for its sockets.\n\n\
         | | before, MiB | idle, KiB | active, KiB |\n| --- | ---: | ---: | ---: |\n"
    );
    for peer in peers {
        let (before, idle) = connection(peer, number, false)?;
        let (_, active) = connection(peer, number, true)?;
        let title = peer.title;
        writeln!(table, "| {title} | {before:.1} | {idle:.2} | {active:.2} |")?;
        eprintln!("{title}: {number} connections");
    }
    Ok(table)
}

/// Returns the memory before, in MiB, and the memory that each connection adds, in KiB.
fn connection(peer: &Peer, number: usize, active: bool) -> Result<(f64, f64)> {
    let patience = [("PATIENCE", "300")];
    let server = Server::start_on(peer, Job::Bare, NO_LIMIT, "0", &patience)?;
    // The first connections cause one-time allocations.
    open(server.addr, 50)?.into_iter().try_for_each(ask)?;
    settle(&server)?;
    let before = server.memory("VmRSS")?;
    let connections = open(server.addr, number)?;
    if active {
        connections.iter().try_for_each(ask)?;
    }
    settle(&server)?;
    let after = server.memory("VmRSS")?;
    if server.open_files()? < number {
        return Err(format!("{}: the server ended connections too early", peer.title).into());
    }
    Ok((before as f64 / 1024.0, (after as f64 - before as f64) / number as f64))
}

fn open(addr: SocketAddr, number: usize) -> Result<Vec<TcpStream>> {
    let open = |_| {
        let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    };
    let hint = |error: std::io::Error| {
        format!("{error}: are {number} open files too many? See `ulimit -n`.").into()
    };
    (0..number).map(open).collect::<std::io::Result<_>>().map_err(hint)
}

fn ask(stream: impl std::borrow::Borrow<TcpStream>) -> Result<()> {
    let mut stream = stream.borrow();
    stream.write_all(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"Hello, world!") {
        let mut buffer = [0; 512];
        match stream.read(&mut buffer)? {
            0 => return Err("the server ended a connection".into()),
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(())
}

/// Waits until the server is idle.
fn settle(server: &Server) -> Result<()> {
    let begin = Instant::now();
    let mut before = server.usage()?.cpu;
    while begin.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(300));
        let now = server.usage()?.cpu;
        if now - before < 1_000_000 {
            break;
        }
        before = now;
    }
    Ok(())
}

/// Compares a server with two workers on two cores to one with one. On a machine with only two cores, the load shares them with the server.
fn cores_table(options: &Options, peers: &[&Peer]) -> Result<String> {
    let cores = std::thread::available_parallelism()?.get();
    let (load, note) = match cores {
        0..=2 => (
            "0,1",
            "The load runs on the same two cores, so the rate can't double: compare the CPU time per request.",
        ),
        _ => ("2", "The load runs on a third core."),
    };
    let mut table = format!(
        "`GET /hello` with 16 middleware, with one worker on one core and with two on two. {note}\n\n\
         | | requests/s, 1 core | 2 cores | ratio | CPU per request, us, 1 core | 2 cores |\n| --- | ---: | ---: | ---: | ---: | ---: |\n"
    );
    let path = script(Job::Pass16)?;
    for peer in peers {
        let mut rates = Vec::new();
        let mut costs = Vec::new();
        for (workers, on) in [("1", "0"), ("2", "0,1")] {
            let env = [("WORKERS", workers)];
            let server = Server::start_on(peer, Job::Pass16, NO_LIMIT, on, &env)?;
            wrk(options, server.addr, Job::Pass16, &path, load)?;
            let (mut rounds, before) = (Vec::new(), server.usage()?.cpu);
            let mut requests = 0;
            for _ in 0..options.rounds {
                let (number, rate) = wrk(options, server.addr, Job::Pass16, &path, load)?;
                requests += number;
                rounds.push(rate);
            }
            rounds.sort_by(f64::total_cmp);
            rates.push(median(&rounds));
            costs.push((server.usage()?.cpu - before) as f64 / 1e3 / requests as f64);
        }
        let ratio = rates[1] / rates[0];
        let rates = format!("{:.0} | {:.0} | {ratio:.2}x", rates[0], rates[1]);
        writeln!(table, "| {} | {rates} | {:.2} | {:.2} |", peer.title, costs[0], costs[1])?;
    }
    Ok(table)
}

/// Clean builds of programs with different numbers of steps and paths, without their dependencies.
fn builds_table(options: &Options) -> Result<String> {
    let mut table = "A program that serves one chain, built after its dependencies: `cargo build`, in seconds, and the size of the program, \
                     stripped, in MiB. A third of the steps each are native, `async fn` and guards.\n\n\
                     | | debug, s | size | release, s | size |\n| --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    let points: &[(&str, usize)] = match options.quick {
        true => &[("steps", 0), ("steps", 30)],
        false => &[
            ("steps", 0),
            ("steps", 10),
            ("steps", 30),
            ("steps", 100),
            ("paths", 10),
            ("paths", 100),
            ("paths", 1_000),
        ],
    };
    let folder = std::env::temp_dir().join(format!("growth-{}", std::process::id()));
    let mut debug = Vec::new();
    for (kind, number) in points {
        write_program(&folder, kind, *number)?;
        let mut cells = Vec::new();
        for release in [false, true] {
            if release && options.quick {
                cells.push("- | -".to_owned());
                continue;
            }
            let Built { wall: seconds, size, .. } = timed_build(&folder, release)?;
            if !release {
                debug.push((*kind, *number, seconds));
            }
            cells.push(format!("{seconds:.1} | {size:.1}"));
        }
        writeln!(table, "| {number} {kind} | {} | {} |", cells[0], cells[1])?;
        eprintln!("built {number} {kind}");
    }
    fs::remove_dir_all(&folder)?;
    let of = |number| debug.iter().find(|(kind, n, _)| *kind == "steps" && *n == number);
    if let (Some((.., none)), Some((.., thirty))) = (of(0), of(30)) {
        let more = thirty - none;
        let verdict = if more <= 2.0 { "met" } else { "**missed**" };
        writeln!(table, "\n| what | budget | measured | |\n| --- | --- | --- | --- |")?;
        writeln!(
            table,
            "| 30 steps more in a debug build | at most 2 s | {more:.1} s | {verdict} |"
        )?;
    }
    Ok(table)
}

/// What the build of a program takes: the minimum of three builds.
pub struct Built {
    /// Seconds until it is there.
    pub wall: f64,
    /// Seconds of all processors. Unlike `wall`, it depends little on what else the machine does.
    pub cpu: f64,
    /// The size of the program without symbols, in MiB.
    pub size: f64,
}

/// Builds a program three times, without its dependencies.
pub fn timed_build(folder: &Path, release: bool) -> Result<Built> {
    let target = target()?;
    let profile = if release { "release" } else { "debug" };
    let (mut wall, mut cpu) = (f64::MAX, f64::MAX);
    // The first one builds the dependencies.
    for _ in 0..3 {
        let main = folder.join("src/main.rs");
        let text = fs::read_to_string(&main)?;
        fs::write(&main, text + "\n")?;
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--quiet"]).current_dir(folder).env("CARGO_TARGET_DIR", &target);
        // Without this, incremental results of the build before would make it faster.
        cargo.env("CARGO_INCREMENTAL", "0");
        if release {
            cargo.arg("--release");
        }
        let (begin, before) = (Instant::now(), machine::time_of_children()?);
        run_command(&mut cargo)?;
        wall = wall.min(begin.elapsed().as_secs_f64());
        cpu = cpu.min(machine::time_of_children()? - before);
    }
    let stripped = folder.join("stripped");
    let program = target.join(profile).join("grown");
    run_command(Command::new("strip").arg("-o").arg(&stripped).arg(program))?;
    let size = fs::metadata(stripped)?.len() as f64 / f64::from(1 << 20);
    Ok(Built { wall, cpu, size })
}

/// One folder for all programs, to build the dependencies only once.
fn target() -> Result<PathBuf> {
    Ok(crate::options::programs()?.join("growth"))
}

/// Writes the manifest of a program. `PATH` in its dependencies is the folder of this crate.
pub fn write_manifest(folder: &Path, dependencies: &str) -> Result<()> {
    let root = workspace().join("../..").canonicalize()?;
    fs::create_dir_all(folder.join("src"))?;
    let dependencies = dependencies.replace("PATH", &format!("{root:?}"));
    let manifest = format!(
        "[package]\nname = \"grown\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         tokio = {{ version = \"1\", features = [\"macros\", \"net\", \"rt\"] }}\n{dependencies}"
    );
    fs::write(folder.join("Cargo.toml"), manifest)?;
    // The versions of this workspace, which are already downloaded.
    fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}

fn write_program(folder: &Path, kind: &str, number: usize) -> Result<()> {
    write_manifest(folder, "tower-chain = { path = PATH, features = [\"serve\"] }\n")?;
    let mut main = HEAD.to_owned();
    match kind {
        "steps" => {
            for i in 0..number {
                let step = ["use_(Native)", "use_(function)", "guard(check)"][i % 3];
                writeln!(main, "    let api = api.{step};")?;
            }
            main.push_str("    let api = api.at(\"/hello\", |c| c.get(hello));\n");
        }
        _ => {
            for i in 0..number {
                let path = format!("/resource{i}/{{id}}");
                writeln!(main, "    let api = api.at({path:?}, |c| c.get(hello));")?;
            }
        }
    }
    main.push_str(TAIL);
    fs::write(folder.join("src/main.rs"), main)?;
    Ok(())
}

const HEAD: &str = r#"#![allow(dead_code)]
use tower_chain::{Chain, Endpoint, Error, Middleware, Next, Response};

struct Native;

impl Middleware for Native {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        next.run().await
    }
}

async fn function(next: Next<'_>) -> Response {
    next.run().await
}

async fn check() -> Result<(), Error> {
    Ok(())
}

async fn hello() -> &'static str {
    "hello"
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), tower_chain::serve::ServeError> {
    let api = Chain::new();
"#;

const TAIL: &str = r#"    tower_chain::serve("127.0.0.1:0", api.build()).await
}
"#;
